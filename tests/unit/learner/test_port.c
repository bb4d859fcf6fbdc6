/* SPDX-License-Identifier: Apache-2.0 */
/* The port with threads in place of actors and planners. */
#include "port.h"
#include "suite.h"

#include "base/err.h"

#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static struct port *p;
static bool stepped; /* whoever read the wall clock read it an hour before it was set back */

int clock_gettime(clockid_t id, struct timespec *ts)
{
    int rc = (int)syscall(SYS_clock_gettime, id, ts);
    if (id == CLOCK_REALTIME && stepped)
        ts->tv_sec += 3600;
    return rc;
}

static atomic_int wakes;

static void on_wake(void *arg)
{
    (void)arg;
    atomic_fetch_add(&wakes, 1);
}

static void open_port(void)
{
    ck_assert_int_eq(port_open(&p, on_wake, NULL), 0);
}

static void close_port(void)
{
    port_close(p);
}

static struct port_episode episode(uint64_t no, enum wire_kind kind)
{
    struct port_episode e = {.body = malloc(16)};
    e.e.kind = kind;
    e.e.episode_no = no;
    e.e.T = (uint32_t)(10 + no);
    return e;
}

static void ask(uint64_t first, uint32_t count, const bool *have)
{
    struct port_play play = {.kind = KIND_TRAIN, .first = first, .count = count, .set_id = 1};
    ck_assert_int_eq(port_play(p, &play, have), 0);
}

static void *deliver_backwards(void *arg)
{
    (void)arg;
    for (uint64_t no = 8; no-- > 5;) {
        struct port_episode e = episode(no, KIND_TRAIN);
        port_deliver(p, &e);
    }
    return NULL;
}

START_TEST(episodes_come_out_by_number_whatever_their_order_of_arrival)
{
    pthread_t actor;
    ask(5, 3, NULL);
    pthread_create(&actor, NULL, deliver_backwards, NULL);
    for (uint64_t no = 5; no < 8; no++) {
        struct port_episode e;
        ck_assert_int_eq(port_episode(p, no, &e), 0);
        ck_assert_uint_eq(e.e.episode_no, no);
        ck_assert_uint_eq(e.e.T, 10 + no);
        port_episode_free(&e);
    }
    pthread_join(actor, NULL);
    ck_assert_uint_eq(port_episodes_missing(p), 0);
    ck_assert_int_gt(atomic_load(&wakes), 0);
}
END_TEST

START_TEST(only_numbers_that_are_missing_are_handed_out)
{
    struct port_play req;
    uint64_t *missing = calloc(PORT_EPISODES_MAX, sizeof *missing);
    const bool have[4] = {true, false, true, false};
    ask(20, 4, have);
    ck_assert_uint_eq(port_play_get(p, &req, missing), 2);
    ck_assert_uint_eq(missing[0], 21);
    ck_assert_uint_eq(missing[1], 23);
    free(missing);
}
END_TEST

START_TEST(what_nobody_asked_for_is_freed_and_forgotten)
{
    bool greedy;
    struct digest d;
    ask(5, 2, NULL);
    struct port_episode e = episode(7, KIND_TRAIN), f = episode(5, KIND_EVAL);
    port_deliver(p, &e);
    port_deliver(p, &f);
    ck_assert_uint_eq(port_episodes_missing(p), 2);
    ck_assert_int_eq(port_wants_episode(p, KIND_TRAIN, 5, &greedy, &d), WANT_OPEN);
    ck_assert_int_eq(port_wants_episode(p, KIND_EVAL, 5, &greedy, &d), WANT_UNKNOWN);
    ck_assert_int_eq(port_wants_episode(p, KIND_TRAIN, 7, &greedy, &d), WANT_UNKNOWN);
}
END_TEST

static void *interrupt(void *arg)
{
    (void)arg;
    port_interrupt(p);
    return NULL;
}

START_TEST(a_wait_ends_when_the_run_is_interrupted)
{
    pthread_t other;
    struct port_episode e;
    ask(0, 1, NULL);
    pthread_create(&other, NULL, interrupt, NULL);
    ck_assert_int_eq(port_episode(p, 0, &e), ERR_INTERRUPTED);
    pthread_join(other, NULL);
    ck_assert(port_stopping(p));
}
END_TEST

START_TEST(a_wait_ends_for_a_checkpoint_and_can_be_taken_up_again)
{
    struct port_episode e;
    ask(0, 1, NULL);
    port_ask_checkpoint(p);
    ck_assert_int_eq(port_episode(p, 0, &e), ERR_AGAIN);
    port_checkpoint_taken(p);
    struct port_episode sent = episode(0, KIND_TRAIN);
    port_deliver(p, &sent);
    ck_assert_int_eq(port_episode(p, 0, &e), 0);
    port_episode_free(&e);
}
END_TEST

START_TEST(the_first_failure_is_what_every_wait_reports)
{
    char text[64];
    port_fail(p, ERR_DIVERGED, "episode 3 differs");
    port_fail(p, ERR_IO, "later");
    ck_assert_int_eq(port_poll(p), ERR_DIVERGED);
    ck_assert_str_eq(err_text(), "episode 3 differs");
    ck_assert_int_eq(port_failure(p, text, sizeof text), ERR_DIVERGED);
}
END_TEST

START_TEST(a_run_starts_with_all_workers_or_after_a_while_with_one_of_each)
{
    port_workers(p, 2, 2);
    ck_assert_int_eq(port_wait_workers(p, 2, 2, 1 << 30), 0);
    port_workers(p, 1, 1);
    ck_assert_int_eq(port_wait_workers(p, 2, 2, 0), 0);
    port_workers(p, 3, 0);
    port_interrupt(p); /* the only way out: no planner, however long it takes */
    ck_assert_int_eq(port_wait_workers(p, 2, 2, 0), ERR_INTERRUPTED);
}
END_TEST

/* ---------------------------------------------------------------------------- planning */

enum { W = 5, B = 3, STEPS = 2, STARTS = W - 2, S = STARTS * B };
static const struct mag_dims dims = {.N = 2, .O = 1, .A = 5, .D = 4, .C = 3, .K = 4};
static unsigned char memory[1 << 16];
static struct mag_rows rows;
static struct port_job jobs[2];
static const unsigned char worker[WIRE_ID] = {7};

START_TEST(a_step_of_the_wall_clock_does_not_prolong_a_wait)
{
    port_workers(p, 1, 1);
    stepped = true;
    ck_assert_int_eq(port_wait_workers(p, 2, 2, 20), 0);
    stepped = false;
}
END_TEST

static void submit(void)
{
    struct arena a = {.base = memory, .size = sizeof memory};
    memset(memory, 0xee, sizeof memory);
    mag_rows_carve(&rows, &dims, S, STEPS, &a);
    jobs[0] = (struct port_job){.job_id = 100, .first_row = 0, .rows = 2};
    jobs[1] = (struct port_job){.job_id = 102, .first_row = 2, .rows = 1};
    struct port_batch b = {
        .W = W, .B = B, .dims = dims, .job = jobs, .jobs = 2, .rows = &rows, .set_id = 4};
    ck_assert_int_eq(port_plan(p, &b), 0);
}

/* One part whose every value token says where it must end up. */
struct fake_part {
    unsigned char index[STEPS * STARTS * 2 * 3], action[STEPS * STARTS * 2],
        avail[STEPS * STARTS * 2];
    float h[STEPS * STARTS * 2 * 4], scalar[STEPS * STARTS * 2];
};

static struct wire_result make_part(struct fake_part *f, uint32_t row)
{
    memset(f, 0, sizeof *f);
    for (uint32_t i = 0; i < STEPS; i++)
        for (uint32_t t = 0; t < STARTS; t++)
            for (uint32_t n = 0; n < 2; n++)
                f->scalar[(i * STARTS + t) * 2 + n] =
                    (float)(i * 1000 + (t * B + row) * 10 + n);
    return (struct wire_result){.starts = STARTS,
                                .steps = STEPS,
                                .N = 2,
                                .C = 3,
                                .D = 4,
                                .A = 5,
                                .index = f->index,
                                .h = f->h,
                                .action = f->action,
                                .avail = f->avail,
                                .logp = f->scalar,
                                .value = f->scalar,
                                .ret = f->scalar};
}

static int finish_job(uint64_t job_id, uint32_t first, uint32_t n, int digest)
{
    struct fake_part f[2];
    struct wire_result part[2];
    struct digest d;
    struct mag_plan_stats stats = {.choices = 1};
    memset(&d, digest, sizeof d);
    for (uint32_t i = 0; i < n; i++)
        part[i] = make_part(&f[i], first + i);
    return port_job_take(p, job_id, part, n, &d, worker, &stats);
}

START_TEST(rows_land_at_their_start_whichever_job_comes_first)
{
    struct mag_plan_stats stats;
    submit();
    ck_assert_int_eq(finish_job(102, 2, 1, 1), 0);
    ck_assert_int_eq(finish_job(100, 0, 2, 2), 0);
    ck_assert_int_eq(port_plan_wait(p, &stats), 0);
    ck_assert_uint_eq(stats.choices, 2);
    for (uint32_t i = 0; i < STEPS; i++)
        for (uint32_t s = 0; s < S; s++)
            for (uint32_t n = 0; n < 2; n++)
                ck_assert_float_eq(rows.value[(i * S + s) * 2 + n],
                                   (float)(i * 1000 + s * 10 + n));
    port_plan_end(p);
}
END_TEST

START_TEST(a_batch_is_not_ready_before_every_job_came_back)
{
    struct mag_plan_stats stats;
    submit();
    finish_job(100, 0, 2, 1);
    port_ask_checkpoint(p); /* the only way to get out of this wait */
    ck_assert_int_eq(port_plan_wait(p, &stats), ERR_AGAIN);
}
END_TEST

START_TEST(the_first_result_wins_and_the_second_finds_its_digest)
{
    struct port_job_info info;
    submit();
    ck_assert_int_eq(finish_job(100, 0, 2, 5), 0);
    ck_assert_int_eq(finish_job(100, 0, 2, 6), ERR_NOTFOUND);
    port_job_info(p, 100, &info);
    ck_assert_int_eq(info.want, WANT_DONE);
    ck_assert_int_eq(info.digest.b[0], 5);
    ck_assert_mem_eq(info.worker, worker, WIRE_ID);
    port_job_info(p, 102, &info);
    ck_assert_int_eq(info.want, WANT_OPEN);
    port_job_info(p, 999, &info);
    ck_assert_int_eq(info.want, WANT_UNKNOWN);
}
END_TEST

START_TEST(a_withdrawn_batch_takes_no_rows)
{
    submit();
    port_plan_end(p);
    ck_assert_int_eq(finish_job(100, 0, 2, 1), ERR_NOTFOUND);
    ck_assert_float_ne(rows.value[0], 0);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("port");
    TCase *tc = tcase_create("port");
    tcase_add_checked_fixture(tc, open_port, close_port);
    tcase_add_test(tc, episodes_come_out_by_number_whatever_their_order_of_arrival);
    tcase_add_test(tc, only_numbers_that_are_missing_are_handed_out);
    tcase_add_test(tc, what_nobody_asked_for_is_freed_and_forgotten);
    tcase_add_test(tc, a_wait_ends_when_the_run_is_interrupted);
    tcase_add_test(tc, a_wait_ends_for_a_checkpoint_and_can_be_taken_up_again);
    tcase_add_test(tc, the_first_failure_is_what_every_wait_reports);
    tcase_add_test(tc, a_run_starts_with_all_workers_or_after_a_while_with_one_of_each);
    tcase_add_test(tc, a_step_of_the_wall_clock_does_not_prolong_a_wait);
    tcase_add_test(tc, rows_land_at_their_start_whichever_job_comes_first);
    tcase_add_test(tc, a_batch_is_not_ready_before_every_job_came_back);
    tcase_add_test(tc, the_first_result_wins_and_the_second_finds_its_digest);
    tcase_add_test(tc, a_withdrawn_batch_takes_no_rows);
    suite_add_tcase(s, tc);
    return s;
}

int main(void)
{
    return run_suite(suite());
}
