/* SPDX-License-Identifier: Apache-2.0 */
/* test_pool.c - every task once, whatever the team; the floating-point mode of the team. */
#include "suite.h"

#include "base/err.h"
#include "par/pool.h"

#include <check.h>
#include <float.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TASKS = 500 };

struct count {
    _Atomic int times[TASKS];
    _Atomic size_t worker_max;
    float product[TASKS];
};

static void count_one(void *arg, size_t task, size_t worker)
{
    struct count *c = arg;
    atomic_fetch_add(&c->times[task], 1);
    size_t most = atomic_load(&c->worker_max);
    while (worker > most && !atomic_compare_exchange_weak(&c->worker_max, &most, worker))
        continue;
}

START_TEST(every_task_runs_once_in_every_run)
{
    size_t threads = (size_t)_i;
    struct pool *p = NULL;
    struct count *c = calloc(1, sizeof *c);
    ck_assert_int_eq(pool_open(&p, threads), 0);
    ck_assert_uint_eq(pool_threads(p), threads);
    int expected[TASKS] = {0};
    for (size_t run = 0; run < 300; run++) {
        size_t tasks = run * 7 % (TASKS + 1);
        pool_run(p, count_one, c, tasks);
        for (size_t i = 0; i < TASKS; i++) {
            expected[i] += i < tasks;
            ck_assert_int_eq(atomic_load(&c->times[i]), expected[i]);
        }
    }
    ck_assert_uint_lt(atomic_load(&c->worker_max), threads);
    pool_close(p);
    free(c);
}
END_TEST

static void only_mine(void *arg, size_t task, size_t worker)
{
    struct count *c = arg;
    (void)worker;
    for (int i = 0; i < 100; i++) /* plain memory: results must be visible to the caller */
        c->product[task] += (float)task;
}

START_TEST(results_are_seen_by_the_caller_without_further_care)
{
    struct pool *p = NULL;
    struct count *c = calloc(1, sizeof *c);
    ck_assert_int_eq(pool_open(&p, 4), 0);
    for (int run = 0; run < 100; run++) {
        memset(c->product, 0, sizeof c->product);
        pool_run(p, only_mine, c, TASKS);
        for (size_t i = 0; i < TASKS; i++)
            ck_assert(c->product[i] == 100 * (float)i);
    }
    pool_close(p);
    free(c);
}
END_TEST

static void slow(void *arg, size_t task, size_t worker)
{
    struct count *c = arg;
    usleep(worker ? 2000 : 1000); /* members finish after the caller */
    c->product[task] = 1;
}

START_TEST(the_caller_waits_for_the_last_task_of_every_member)
{
    struct pool *p = NULL;
    struct count *c = calloc(1, sizeof *c);
    ck_assert_int_eq(pool_open(&p, 3), 0);
    for (int run = 0; run < 10; run++) {
        memset(c->product, 0, sizeof c->product);
        pool_run(p, slow, c, 7);
        for (size_t i = 0; i < 7; i++)
            ck_assert_msg(c->product[i] == 1, "run %d returned before task %zu", run, i);
    }
    pool_close(p);
    free(c);
}
END_TEST

static void denormal(void *arg, size_t task, size_t worker)
{
    struct count *c = arg;
    (void)worker;
    volatile float tiny = FLT_MIN, input = FLT_MIN / 4;
    volatile float result = tiny * 0.25f, taken = input * 8.0f;
    c->product[task] = result + taken;
}

START_TEST(every_thread_flushes_denormals)
{
    struct pool *p = NULL;
    struct count *c = calloc(1, sizeof *c);
    ck_assert_int_eq(pool_open(&p, 3), 0);
    pool_run(p, denormal, c, TASKS);
    for (size_t i = 0; i < TASKS; i++)
        ck_assert_msg(c->product[i] == 0, "task %zu", i);
    pool_close(p);
    c->product[0] = 1;
    pool_run(NULL, denormal, c, 1);
    ck_assert(c->product[0] == 0);
    free(c);
}
END_TEST

START_TEST(no_pool_runs_in_the_caller_in_order)
{
    struct count *c = calloc(1, sizeof *c);
    pool_run(NULL, count_one, c, TASKS);
    for (size_t i = 0; i < TASKS; i++)
        ck_assert_int_eq(atomic_load(&c->times[i]), 1);
    ck_assert_uint_eq(pool_threads(NULL), 1);
    pool_close(NULL);
    free(c);
}
END_TEST

START_TEST(a_team_of_none_is_refused)
{
    struct pool *p = NULL;
    ck_assert_int_eq(pool_open(&p, 0), ERR_INVAL);
    ck_assert_ptr_null(p);
}
END_TEST

START_TEST(opening_and_closing_leaves_nothing_behind)
{
    for (int i = 0; i < 50; i++) {
        struct pool *p = NULL;
        ck_assert_int_eq(pool_open(&p, 3), 0);
        pool_close(p);
    }
}
END_TEST

START_TEST(cores_are_those_this_process_may_use)
{
    cpu_set_t before, one;
    ck_assert_int_eq(sched_getaffinity(0, sizeof before, &before), 0);
    ck_assert_uint_eq(pool_cores(), (size_t)CPU_COUNT(&before));
    size_t first = 0;
    while (!CPU_ISSET(first, &before))
        first++;
    CPU_ZERO(&one);
    CPU_SET(first, &one);
    ck_assert_int_eq(sched_setaffinity(0, sizeof one, &one), 0);
    size_t cores = pool_cores();
    sched_setaffinity(0, sizeof before, &before);
    ck_assert_uint_eq(cores, 1);
    ck_assert_uint_eq(pool_team(0), pool_cores());
    ck_assert_uint_eq(pool_team(3), 3);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("pool");
    TCase *t = tcase_create("pool");
    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, every_task_runs_once_in_every_run, 1, 6);
    tcase_add_test(t, results_are_seen_by_the_caller_without_further_care);
    tcase_add_test(t, the_caller_waits_for_the_last_task_of_every_member);
    tcase_add_test(t, every_thread_flushes_denormals);
    tcase_add_test(t, no_pool_runs_in_the_caller_in_order);
    tcase_add_test(t, a_team_of_none_is_refused);
    tcase_add_test(t, opening_and_closing_leaves_nothing_behind);
    tcase_add_test(t, cores_are_those_this_process_may_use);
    suite_add_tcase(s, t);
    return run_suite(s);
}
