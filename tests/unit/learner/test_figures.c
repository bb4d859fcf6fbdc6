/* SPDX-License-Identifier: Apache-2.0 */
/* Rank correlation against hand-made cases; recent results. */
#include "figures.h"
#include "suite.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>

enum { N = 60, UNITS = 12 };
static float a[N], b[N];
static uint32_t unit[N];
static struct philox philox = {.seed = 3, .iteration = 1};
static struct draws draws;
static double *scratch;
static struct rank_figure f;

static void open_case(void)
{
    draws = philox_draws(&philox);
    scratch = calloc(rank_scratch(N, UNITS), sizeof *scratch);
    for (uint32_t i = 0; i < N; i++)
        unit[i] = i / (N / UNITS);
}

static void close_case(void)
{
    free(scratch);
}

static bool correlate(void)
{
    return rank_correlation(&f, a, b, unit, N, UNITS, 400, &draws, 0, scratch);
}

START_TEST(any_rising_function_has_rank_correlation_one)
{
    for (int i = 0; i < N; i++) {
        a[i] = (float)(i * 7 % N);
        b[i] = a[i] * a[i] * a[i];
    }
    ck_assert(correlate());
    ck_assert_double_eq_tol(f.rho, 1, 1e-12);
    ck_assert_double_eq_tol(f.lo, 1, 1e-12);
}
END_TEST

START_TEST(a_falling_function_has_minus_one)
{
    for (int i = 0; i < N; i++) {
        a[i] = (float)i;
        b[i] = -a[i];
    }
    ck_assert(correlate());
    ck_assert_double_eq_tol(f.rho, -1, 1e-12);
}
END_TEST

START_TEST(ties_share_their_mean_rank)
{
    /* ranks of x: 0 1 2 3, of y: 0.5 0.5 2 3 -> rho = 4.5 / sqrt(5 * 4.5) */
    const float x[4] = {1, 2, 3, 4}, y[4] = {5, 5, 6, 7};
    const uint32_t u[4] = {0, 1, 2, 3};
    ck_assert(rank_correlation(&f, x, y, u, 4, 4, 0, &draws, 0, scratch));
    ck_assert_double_eq_tol(f.rho, 4.5 / sqrt(22.5), 1e-12);
}
END_TEST

START_TEST(a_constant_has_no_correlation)
{
    for (int i = 0; i < N; i++) {
        a[i] = (float)i;
        b[i] = 1;
    }
    ck_assert(!correlate());
}
END_TEST

START_TEST(the_interval_surrounds_the_figure_and_is_the_same_every_time)
{
    struct rng rng;
    rng_seed(&rng, 5);
    for (int i = 0; i < N; i++) {
        a[i] = (float)rng_unit(&rng);
        b[i] = a[i] + (float)rng_unit(&rng);
    }
    ck_assert(correlate());
    struct rank_figure first = f;
    ck_assert_double_lt(f.lo, f.rho);
    ck_assert_double_gt(f.hi, f.rho);
    ck_assert_double_gt(f.hi - f.lo, 0.05);
    ck_assert(correlate());
    ck_assert_double_eq(f.lo, first.lo);
    ck_assert_double_eq(f.hi, first.hi);
}
END_TEST

START_TEST(recent_means_are_over_the_last_hundred)
{
    struct recent r = {.n = 0};
    double win, ret, length;
    for (int i = 0; i < 250; i++)
        recent_add(&r, i >= 200, i, 10);
    ck_assert_uint_eq(recent_means(&r, &win, &ret, &length), 100);
    ck_assert_double_eq(win, 0.5);
    ck_assert_double_eq_tol(ret, 199.5, 1e-9);
    ck_assert_double_eq(length, 10);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("figures");
    TCase *tc = tcase_create("figures");
    tcase_add_checked_fixture(tc, open_case, close_case);
    tcase_add_test(tc, any_rising_function_has_rank_correlation_one);
    tcase_add_test(tc, a_falling_function_has_minus_one);
    tcase_add_test(tc, ties_share_their_mean_rank);
    tcase_add_test(tc, a_constant_has_no_correlation);
    tcase_add_test(tc, the_interval_surrounds_the_figure_and_is_the_same_every_time);
    tcase_add_test(tc, recent_means_are_over_the_last_hundred);
    suite_add_tcase(s, tc);
    return s;
}

int main(void)
{
    return run_suite(suite());
}
