/* SPDX-License-Identifier: Apache-2.0 */
/* Leases on a fake clock: every `now` is a number the test chose. */
#include "lease.h"
#include "suite.h"

#include <check.h>
#include <stdlib.h>

enum { BASE_MS = 1000, ATTEMPTS = 5 };

static struct leases l;

static void open_table(void)
{
    leases_init(&l, BASE_MS, ATTEMPTS);
    for (uint64_t id = 10; id < 14; id++)
        ck_assert_int_eq(leases_add(&l, id), 0);
}

static void close_table(void)
{
    leases_fini(&l);
}

START_TEST(work_is_handed_out_in_the_order_it_was_added)
{
    for (uint64_t id = 10; id < 14; id++) {
        const struct lease *it = leases_take(&l, 1, 0);
        ck_assert_uint_eq(it->id, id);
        ck_assert_uint_eq(it->attempt, 1);
        ck_assert_int_eq(it->deadline_ms, BASE_MS);
    }
    ck_assert_ptr_null(leases_take(&l, 1, 0));
}
END_TEST

START_TEST(an_expired_lease_goes_to_the_head_of_the_queue_with_the_next_attempt)
{
    leases_take(&l, 1, 0);
    leases_take(&l, 2, 500);
    ck_assert_uint_eq(leases_expire(&l, BASE_MS - 1), 0);
    ck_assert_uint_eq(leases_expire(&l, BASE_MS), 1);
    const struct lease *it = leases_take(&l, 2, BASE_MS);
    ck_assert_uint_eq(it->id, 10);
    ck_assert_uint_eq(it->attempt, 2);
    ck_assert_uint_eq(leases_take(&l, 2, BASE_MS)->id, 12);
}
END_TEST

START_TEST(renewing_keeps_a_lease_and_only_its_holder_can)
{
    leases_take(&l, 1, 0);
    ck_assert(!leases_renew(&l, 10, 2, 900));
    ck_assert(leases_renew(&l, 10, 1, 900));
    ck_assert_uint_eq(leases_expire(&l, 1899), 0);
    ck_assert_uint_eq(leases_expire(&l, 1900), 1);
}
END_TEST

START_TEST(the_first_result_wins_and_a_late_one_is_not_news)
{
    leases_take(&l, 1, 0);
    leases_expire(&l, BASE_MS);
    leases_take(&l, 2, BASE_MS);
    ck_assert(leases_done(&l, 10, BASE_MS + 1)); /* the frozen worker 1 was faster after all */
    ck_assert(!leases_done(&l, 10, BASE_MS + 2));
    ck_assert_uint_eq(leases_expire(&l, 100000), 0);
    ck_assert_uint_eq(l.done, 1);
}
END_TEST

START_TEST(a_result_for_work_waiting_in_the_queue_again_is_taken)
{
    leases_take(&l, 1, 0);
    leases_expire(&l, BASE_MS);
    ck_assert(leases_done(&l, 10, BASE_MS));
    ck_assert_uint_eq(leases_take(&l, 2, BASE_MS)->id, 11);
    ck_assert_uint_eq(l.queued, 2);
}
END_TEST

START_TEST(all_work_of_a_worker_that_left_goes_back)
{
    leases_take(&l, 1, 0);
    leases_take(&l, 2, 0);
    leases_take(&l, 1, 0);
    ck_assert_uint_eq(leases_return(&l, 1, false), 2);
    ck_assert_uint_eq(leases_take(&l, 3, 1)->id, 10);
    ck_assert_uint_eq(leases_take(&l, 3, 1)->id, 12);
    ck_assert_uint_eq(leases_take(&l, 3, 1)->id, 13);
    ck_assert_uint_eq(leases_held_by(&l, 2), 1);
}
END_TEST

START_TEST(five_failures_make_an_item_dead_and_leaving_politely_is_no_failure)
{
    for (int i = 0; i < 20; i++) {
        leases_take(&l, 1, 0);
        leases_return(&l, 1, false);
    }
    ck_assert_ptr_null(leases_first_dead(&l));
    for (int i = 0; i < ATTEMPTS; i++) {
        ck_assert_uint_eq(leases_take(&l, 1, 0)->id, 10);
        leases_return(&l, 1, true);
    }
    ck_assert_uint_eq(leases_first_dead(&l)->id, 10);
    ck_assert_uint_eq(leases_take(&l, 1, 0)->id, 11);
}
END_TEST

START_TEST(the_term_is_three_median_run_times_but_not_below_the_base)
{
    const int64_t run_ms[] = {100, 5000, 2000};
    for (int i = 0; i < 3; i++) {
        leases_take(&l, 1, 0);
        leases_done(&l, 10 + (uint64_t)i, run_ms[i]);
    }
    ck_assert_int_eq(leases_term_ms(&l), 6000);
    leases_clear(&l);
    ck_assert_int_eq(leases_term_ms(&l), 6000); /* what was learned stays */
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("lease");
    TCase *tc = tcase_create("table");
    tcase_add_checked_fixture(tc, open_table, close_table);
    tcase_add_test(tc, work_is_handed_out_in_the_order_it_was_added);
    tcase_add_test(tc, an_expired_lease_goes_to_the_head_of_the_queue_with_the_next_attempt);
    tcase_add_test(tc, renewing_keeps_a_lease_and_only_its_holder_can);
    tcase_add_test(tc, the_first_result_wins_and_a_late_one_is_not_news);
    tcase_add_test(tc, a_result_for_work_waiting_in_the_queue_again_is_taken);
    tcase_add_test(tc, all_work_of_a_worker_that_left_goes_back);
    tcase_add_test(tc, five_failures_make_an_item_dead_and_leaving_politely_is_no_failure);
    tcase_add_test(tc, the_term_is_three_median_run_times_but_not_below_the_base);
    suite_add_tcase(s, tc);
    return s;
}

int main(void)
{
    return run_suite(suite());
}
