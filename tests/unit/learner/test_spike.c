/* SPDX-License-Identifier: Apache-2.0 */
/* test_spike.c - what stands out is seen, what merely moves is not. */
#include "spike.h"
#include "suite.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>

static struct spike s;
static double median;

static void set_up(void)
{
    s = (struct spike){{0}, 0};
    median = -1;
}

static bool add(double v)
{
    return spike_add(&s, v, 10, &median);
}

/* 1, 2, 3, 1, 2, 3, ...: median 2 */
static void ordinary(size_t n)
{
    for (size_t i = 0; i < n; i++)
        ck_assert(!add(1 + (double)(i % 3)));
}

START_TEST(more_than_the_factor_times_the_median_is_a_spike)
{
    ordinary(60);
    ck_assert(!add(20));
    ck_assert_double_eq(median, 2);
    ck_assert(add(20.001));
    ck_assert_double_eq(median, 2);
}
END_TEST

START_TEST(nothing_is_judged_before_there_is_something_to_compare_with)
{
    ordinary(SPIKE_MIN - 1);
    ck_assert(!add(1e6));
    ck_assert_double_eq(median, -1);
    ck_assert(add(1e6));
}
END_TEST

START_TEST(spikes_do_not_hide_one_another)
{
    ordinary(60);
    for (int i = 0; i < 25; i++)
        ck_assert_msg(add(1000), "spike %d", i);
}
END_TEST

START_TEST(a_level_that_stays_is_the_new_normal)
{
    size_t alarms = 0;
    ordinary(64);
    for (int i = 0; i < 200; i++)
        alarms += add(1000) ? 1 : 0;
    ck_assert_uint_le(alarms, SPIKE_WINDOW / 2 + 1);
    ck_assert(!add(1000));
    ck_assert(!add(1));
}
END_TEST

START_TEST(a_falling_loss_and_a_flat_one_alarm_nobody)
{
    for (int i = 0; i < 500; i++)
        ck_assert(!add(100 * exp(-i / 50.0)));
    for (int i = 0; i < 100; i++)
        add(0);
    ck_assert(!add(0)); /* not more than ten times nothing */
    ck_assert(add(1e-9));
}
END_TEST

START_TEST(what_is_not_finite_is_left_to_others)
{
    ordinary(60);
    ck_assert(!add(NAN) && !add(INFINITY));
    ck_assert(!add(20) && add(21)); /* and the median has not moved */
}
END_TEST

START_TEST(factor_0_never_alarms)
{
    for (int i = 0; i < 100; i++)
        ck_assert(!spike_add(&s, i == 90 ? 1e9 : 1, 0, &median));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("spike");
    TCase *t = tcase_create("spike");
    tcase_add_checked_fixture(t, set_up, NULL);
    tcase_add_test(t, more_than_the_factor_times_the_median_is_a_spike);
    tcase_add_test(t, nothing_is_judged_before_there_is_something_to_compare_with);
    tcase_add_test(t, spikes_do_not_hide_one_another);
    tcase_add_test(t, a_level_that_stays_is_the_new_normal);
    tcase_add_test(t, a_falling_loss_and_a_flat_one_alarm_nobody);
    tcase_add_test(t, what_is_not_finite_is_left_to_others);
    tcase_add_test(t, factor_0_never_alarms);
    suite_add_tcase(suite, t);
    return run_suite(suite);
}
