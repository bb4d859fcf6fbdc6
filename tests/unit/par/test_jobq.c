/* SPDX-License-Identifier: Apache-2.0 */
/* test_jobq.c - order, bounds, closing, and many threads at both ends. */
#include "suite.h"

#include "base/err.h"
#include "par/jobq.h"

#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

static int items[1000];

START_TEST(items_leave_in_order_and_a_full_queue_says_so)
{
    struct jobq *q = NULL;
    void *got = NULL;
    ck_assert_int_eq(jobq_open(&q, 3), 0);
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < 3; i++)
            ck_assert_int_eq(jobq_push(q, &items[i]), 0);
        ck_assert_int_eq(jobq_push(q, &items[3]), ERR_AGAIN);
        ck_assert_uint_eq(jobq_len(q), 3);
        for (int i = 0; i < 3; i++) {
            ck_assert_int_eq(jobq_pop(q, &got, -1), 0);
            ck_assert_ptr_eq(got, &items[i]);
        }
        ck_assert_int_eq(jobq_pop(q, &got, 0), ERR_AGAIN);
        ck_assert_int_eq(jobq_pop(q, &got, 1), ERR_AGAIN);
    }
    jobq_close(q);
}
END_TEST

START_TEST(a_shut_queue_takes_nothing_and_gives_what_it_has)
{
    struct jobq *q = NULL;
    void *got = NULL;
    ck_assert_int_eq(jobq_open(&q, 2), 0);
    ck_assert_int_eq(jobq_push(q, &items[0]), 0);
    jobq_shut(q);
    ck_assert_int_eq(jobq_push(q, &items[1]), ERR_CLOSED);
    ck_assert_int_eq(jobq_push_wait(q, &items[1]), ERR_CLOSED);
    ck_assert_int_eq(jobq_pop(q, &got, -1), 0);
    ck_assert_ptr_eq(got, &items[0]);
    ck_assert_int_eq(jobq_pop(q, &got, -1), ERR_CLOSED);
    ck_assert_int_eq(jobq_pop(q, &got, 0), ERR_CLOSED);
    jobq_close(q);
}
END_TEST

START_TEST(a_queue_without_room_is_refused)
{
    struct jobq *q = NULL;
    ck_assert_int_eq(jobq_open(&q, 0), ERR_INVAL);
    ck_assert_int_eq(jobq_open(&q, SIZE_MAX), ERR_INVAL);
    ck_assert_ptr_null(q);
    jobq_close(NULL);
}
END_TEST

static _Atomic int popped[1000];

static void *popper(void *arg)
{
    void *item;
    while (jobq_pop(arg, &item, -1) == 0)
        atomic_fetch_add(&popped[(int *)item - items], 1);
    return NULL;
}

struct pusher {
    struct jobq *q;
    int from;
};

static void *pusher(void *arg)
{
    struct pusher *p = arg;
    for (int i = p->from; i < 1000; i += 2)
        if (jobq_push_wait(p->q, &items[i]) != 0)
            return p;
    return NULL;
}

START_TEST(every_item_of_two_pushers_reaches_one_of_two_poppers)
{
    struct jobq *q = NULL;
    ck_assert_int_eq(jobq_open(&q, 4), 0);
    pthread_t pop[2], push[2];
    struct pusher args[2] = {{q, 0}, {q, 1}};
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(pthread_create(&pop[i], NULL, popper, q), 0);
        ck_assert_int_eq(pthread_create(&push[i], NULL, pusher, &args[i]), 0);
    }
    for (int i = 0; i < 2; i++) {
        void *failed;
        pthread_join(push[i], &failed);
        ck_assert_ptr_null(failed);
    }
    jobq_shut(q); /* wakes the poppers once the queue is empty */
    for (int i = 0; i < 2; i++)
        pthread_join(pop[i], NULL);
    for (int i = 0; i < 1000; i++)
        ck_assert_int_eq(atomic_load(&popped[i]), 1);
    jobq_close(q);
}
END_TEST

static void *blocked_push(void *arg)
{
    static int refused;
    refused = jobq_push_wait(arg, &items[1]) == ERR_CLOSED;
    return refused ? &refused : NULL;
}

START_TEST(shutting_wakes_a_pusher_that_waits_for_room)
{
    struct jobq *q = NULL;
    ck_assert_int_eq(jobq_open(&q, 1), 0);
    ck_assert_int_eq(jobq_push(q, &items[0]), 0);
    pthread_t t;
    ck_assert_int_eq(pthread_create(&t, NULL, blocked_push, q), 0);
    usleep(20000);
    jobq_shut(q); /* most likely after it began to wait; both orders must end */
    void *refused;
    pthread_join(t, &refused);
    ck_assert_ptr_nonnull(refused);
    jobq_close(q);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("jobq");
    TCase *t = tcase_create("jobq");
    tcase_add_test(t, items_leave_in_order_and_a_full_queue_says_so);
    tcase_add_test(t, a_shut_queue_takes_nothing_and_gives_what_it_has);
    tcase_add_test(t, a_queue_without_room_is_refused);
    tcase_add_test(t, every_item_of_two_pushers_reaches_one_of_two_poppers);
    tcase_add_test(t, shutting_wakes_a_pusher_that_waits_for_room);
    suite_add_tcase(s, t);
    return run_suite(s);
}
