/* SPDX-License-Identifier: Apache-2.0 */
/* test_planner.c - a whole planner against a scripted learner, and its table of jobs. */
#include "fake_learner.h"
#include "suite.h"

#include "desk.h"

#include "base/err.h"
#include "base/log.h"
#include "planner/planner.h"

#include <check.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct fake_learner f;

static int run_planner(const struct config *cfg)
{
    struct planner_cfg c = {.cfg = cfg, .version = "test"};
    return planner_main(&c);
}

static void setup(void)
{
    log_init("planner", "", getenv("MAG_TEST_LOG") ? LOG_DEBUG : LOG_ERROR, LOG_TEXT);
    fake_open(&f, NULL);
}

static void teardown(void)
{
    fake_close(&f);
}

enum { ITERATION = 3, BATCH = 1, B = 4, W = 8 };

/* Windows of the batch: every value depends on its place in the batch alone. */
static float *obs;
static uint8_t *action, *last;

static void make_batch(void)
{
    size_t N = f.dims.N, O = f.dims.O;
    obs = calloc(W * B * N * O, sizeof *obs);
    action = calloc(W * B * N, 1);
    last = calloc(W * B, 1);
    for (size_t i = 0; i < W * B * N * O; i++)
        obs[i] = (float)((i * 2654435761u) % 1000) / 1000.0f;
    for (size_t i = 0; i < W * B * N; i++)
        action[i] = (uint8_t)(i % f.dims.A);
    last[5 * B + 2] = 1;
}

static void free_batch(void)
{
    free(obs);
    free(action);
    free(last);
}

/* The job of rows first .. first + rows - 1. */
static void send_job(uint32_t first, uint32_t rows, size_t set)
{
    size_t N = f.dims.N, O = f.dims.O;
    float *o = malloc(W * rows * N * O * sizeof *o);
    uint8_t *a = malloc(W * rows * N), *l = malloc(W * rows), *body;
    size_t n;
    for (size_t t = 0; t < W; t++) {
        memcpy(o + t * rows * N * O, obs + (t * B + first) * N * O, rows * N * O * sizeof *o);
        memcpy(a + t * rows * N, action + (t * B + first) * N, rows * N);
        memcpy(l + t * rows, last + t * B + first, rows);
    }
    struct wire_job j = {.job_id = wire_job_id(ITERATION, BATCH, first),
                         .attempt = 1,
                         .lease_ms = 5000,
                         .set = f.set[set],
                         .rows = rows,
                         .W = W,
                         .N = (uint32_t)N,
                         .O = (uint32_t)O,
                         .obs = o,
                         .action = a,
                         .last = l};
    ck_assert_msg(wire_job_pack(&j, &body, &n) == 0, "%s", err_text());
    fake_send(&f, PLANE_DATA, WIRE_JOB, body, n);
    free(o);
    free(a);
    free(l);
}

static void next_result(struct wire_result *r)
{
    fake_expect(&f, WIRE_RESULT);
    ck_assert_msg(wire_result_parse(r, f.msg.body, f.msg.n) == 0, "%s", err_text());
}

static uint32_t next_want(void)
{
    struct wire_want w;
    fake_expect(&f, WIRE_WANT);
    ck_assert_int_eq(wire_want_parse(&w, f.msg.body, f.msg.n), 0);
    ck_assert_mem_eq(w.token, f.token, WIRE_ID);
    return w.free_slots;
}

static void ack(uint64_t job_id, enum wire_verdict v)
{
    struct wire_result_ack a = {.job_id = job_id, .attempt = 1, .verdict = v};
    unsigned char *body;
    size_t n;
    ck_assert_int_eq(wire_result_ack_pack(&a, &body, &n), 0);
    fake_send(&f, PLANE_DATA, WIRE_RESULT_ACK, body, n);
}

static void leave(void)
{
    fake_drain(&f, 5000);
    fake_expect(&f, WIRE_BYE);
    ck_assert_int_eq(fake_join(&f), EXIT_OK);
}

static void digest_part(const struct wire_result *r, struct digest *out)
{
    struct digest_state s;
    digest_init(&s);
    wire_result_digest_add(&s, r);
    digest_end(&s, out);
}

START_TEST(a_job_comes_back_in_one_part_per_window)
{
    struct wire_result r;
    make_batch();
    fake_start(&f, run_planner);
    ck_assert_uint_eq(next_want(), 2);
    ck_assert_int_eq(f.hello.role, ROLE_PLANNER);
    send_job(0, 2, 0);
    for (uint32_t p = 0; p < 2; p++) {
        next_result(&r);
        ck_assert_mem_eq(r.token, f.token, WIRE_ID);
        ck_assert_uint_eq(r.job_id, wire_job_id(ITERATION, BATCH, 0));
        ck_assert_uint_eq(r.part, p);
        ck_assert_uint_eq(r.parts, 2);
        ck_assert_uint_eq(r.starts, W - 2);
        ck_assert_uint_eq(r.steps, f.cfg.imagine.steps - 1);
        ck_assert_uint_eq(r.D, 32);
        ck_assert_uint_eq(r.set_id, 1);
        ck_assert_uint_eq(r.stats_count, p ? 0 : WIRE_STATS);
        if (p == 0) /* every start chose at every step */
            ck_assert_double_eq(r.stats[0], 2 * (W - 2) * (f.cfg.imagine.steps - 1));
    }
    ack(r.job_id, VERDICT_ACCEPTED);
    leave();
    free_batch();
}
END_TEST

START_TEST(the_rows_do_not_depend_on_how_the_batch_is_cut)
{
    struct wire_result r;
    struct digest whole[B], cut;
    make_batch();
    fake_start(&f, run_planner);
    next_want();
    for (uint32_t first = 0; first < B; first += 2) {
        send_job(first, 2, 0);
        for (uint32_t p = 0; p < 2; p++) {
            next_result(&r);
            digest_part(&r, &whole[first + p]);
        }
        ack(r.job_id, VERDICT_ACCEPTED);
    }
    for (uint32_t first = B; first-- > 0;) { /* one by one, backwards */
        send_job(first, 1, 0);
        next_result(&r);
        digest_part(&r, &cut);
        ck_assert_msg(memcmp(cut.b, whole[first].b, DIGEST_BYTES) == 0, "window %u", first);
        ack(r.job_id, VERDICT_ACCEPTED);
    }
    ck_assert_mem_ne(whole[0].b, whole[1].b, DIGEST_BYTES);
    leave();
    free_batch();
}
END_TEST

START_TEST(the_rows_are_those_of_the_algorithm)
{
    struct wire_result r;
    struct mag_imagine *im;
    struct mag_imagine_cfg ic = {.W = W, .windows_max = B, .cfg = &f.cfg};
    struct philox key = {.seed = f.cfg.seed, .iteration = ITERATION};
    struct draws draws = philox_draws(&key);
    struct arena arena;
    struct mag_rows rows;
    struct mag_plan_stats stats = {0};
    const uint32_t all[B] = {0, 1, 2, 3};
    make_batch();
    struct mag_windows w = {.W = W, .B = B, .obs = obs, .action = action, .last = last};
    size_t steps = f.cfg.imagine.steps - 1, S = (W - 2) * B, N = f.dims.N, D = f.dims.D;
    ck_assert_int_eq(mag_imagine_open(&im, f.model[1], &ic, NULL), 0);
    ck_assert_int_eq(arena_init(&arena, mag_rows_bytes(&f.dims, S, steps) + 4096), 0);
    mag_rows_carve(&rows, &f.dims, S, steps, &arena);
    ck_assert_int_eq(mag_imagine_windows(im, &w, all, B, &draws, BATCH, &rows, &stats, NULL),
                     0);
    fake_start(&f, run_planner);
    next_want();
    send_job(2, 2, 1);
    for (uint32_t p = 0; p < 2; p++) {
        next_result(&r);
        for (size_t i = 0; i < steps; i++) {
            for (size_t t = 0; t < W - 2; t++) {
                size_t ours = (i * S + t * B + 2 + p) * N, theirs = (i * (W - 2) + t) * N;
                ck_assert_mem_eq((const float *)r.h + theirs * D, rows.h + ours * D, N * D * 4);
                ck_assert_mem_eq((const uint8_t *)r.action + theirs, rows.action + ours, N);
                ck_assert_mem_eq((const float *)r.ret + theirs, rows.ret + ours, N * 4);
            }
        }
    }
    ack(r.job_id, VERDICT_ACCEPTED);
    leave();
    mag_imagine_close(im);
    arena_fini(&arena);
    free_batch();
}
END_TEST

START_TEST(want_counts_what_could_be_taken)
{
    struct wire_result r;
    make_batch();
    fake_start(&f, run_planner);
    ck_assert_uint_eq(next_want(), 2);
    f.hold_chunks = true; /* both jobs wait for weights */
    send_job(0, 2, 0);
    send_job(2, 2, 0);
    fake_expect(&f, WIRE_GET);
    fake_quiet(&f, WIRE_WANT, 1500); /* full: nothing to say */
    ck_assert_uint_eq(f.ping.running_count, 2);
    f.hold_chunks = false;
    f.token[0] = 50; /* a new session asks for the pieces again */
    next_result(&r);
    ck_assert_uint_gt(next_want(), 0);
    leave();
    free_batch();
}
END_TEST

START_TEST(a_result_is_sent_until_acknowledged)
{
    struct wire_result r;
    make_batch();
    fake_start(&f, run_planner);
    next_want();
    send_job(0, 1, 0);
    next_result(&r);
    next_result(&r); /* after a second without an answer */
    ck_assert_uint_eq(r.job_id, wire_job_id(ITERATION, BATCH, 0));
    f.token[0] = 60;
    do
        next_result(&r); /* and in a new session */
    while (r.token[0] != 60);
    ack(r.job_id, VERDICT_DUPLICATE);
    fake_quiet(&f, WIRE_RESULT, 1500);
    ck_assert_uint_eq(f.ping.running_count, 0);
    leave();
    free_batch();
}
END_TEST

START_TEST(a_restarted_learner_gets_the_result_of_a_job_it_forgot)
{
    struct wire_result r;
    make_batch();
    fake_start(&f, run_planner);
    next_want();
    send_job(0, 1, 0);
    next_result(&r);
    fake_restart(&f);
    do
        next_result(&r);
    while (r.token[0] != f.token[0]);
    ack(r.job_id, VERDICT_STALE);
    leave();
    free_batch();
}
END_TEST

START_TEST(a_cancelled_job_is_not_answered)
{
    struct wire_cancel c = {.job_id = wire_job_id(ITERATION, BATCH, 0)};
    unsigned char *body;
    size_t n;
    make_batch();
    fake_start(&f, run_planner);
    next_want();
    f.hold_chunks = true; /* it cannot begin */
    send_job(0, 1, 0);
    fake_expect(&f, WIRE_GET);
    ck_assert_int_eq(wire_cancel_pack(&c, &body, &n), 0);
    fake_send(&f, PLANE_DATA, WIRE_CANCEL, body, n);
    ck_assert_uint_eq(next_want(), 2);
    fake_quiet(&f, WIRE_RESULT, 500);
    leave();
    free_batch();
}
END_TEST

START_TEST(sigterm_abandons_jobs_and_says_bye)
{
    make_batch();
    fake_start(&f, run_planner);
    next_want();
    f.hold_chunks = true;
    send_job(0, 1, 0);
    fake_expect(&f, WIRE_GET);
    kill(getpid(), SIGTERM);
    fake_expect(&f, WIRE_BYE);
    ck_assert_int_eq(fake_join(&f), EXIT_OK);
    free_batch();
}
END_TEST

START_TEST(one_index_for_the_batch_takes_the_whole_batch)
{
    static const char *const keys[] = {"imagine.choice=batch", NULL};
    struct wire_result r;
    fake_close(&f);
    fake_open(&f, keys);
    make_batch();
    fake_start(&f, run_planner);
    next_want();
    send_job(0, B, 0);
    for (uint32_t p = 0; p < B; p++) {
        next_result(&r);
        ck_assert_uint_eq(r.part, p);
    }
    ack(r.job_id, VERDICT_ACCEPTED);
    leave();
    free_batch();
}
END_TEST

START_TEST(threads_change_nothing)
{
    struct wire_result r;
    struct digest one, three;
    make_batch();
    for (uint32_t threads = 1; threads <= 3; threads += 2) {
        f.local.compute.threads = threads;
        f.hellos = 0;
        fake_start(&f, run_planner);
        next_want();
        send_job(0, 1, 0);
        next_result(&r);
        digest_part(&r, threads == 1 ? &one : &three);
        ack(r.job_id, VERDICT_ACCEPTED);
        leave();
    }
    ck_assert_mem_eq(one.b, three.b, DIGEST_BYTES);
    free_batch();
}
END_TEST

/* ----------------------------------------------------------------------- the table alone */

static struct task *add(struct desk *d, uint64_t id)
{
    struct wire_job j = {.job_id = id, .attempt = 1};
    return desk_add(d, &j, NULL);
}

START_TEST(a_second_lease_of_a_job_takes_over_the_attempt)
{
    static struct desk d;
    struct wire_job j = {.job_id = 7, .attempt = 2};
    struct task *t = add(&d, 7);
    t->state = TASK_QUEUED;
    ck_assert(!desk_cancel(&d, 7));
    ck_assert(t->cancelled);
    ck_assert_ptr_null(desk_add(&d, &j, NULL));
    ck_assert_uint_eq(t->job.attempt, 2);
    ck_assert(!t->cancelled);
    desk_clear(&d);
}
END_TEST

START_TEST(unacknowledged_results_stop_the_asking)
{
    static struct desk d;
    ck_assert_uint_eq(desk_free(&d, 2), 2);
    for (uint64_t i = 0; i < DESK_UNACKED_MAX; i++) {
        ck_assert_uint_gt(desk_free(&d, 2), 0);
        desk_ready(add(&d, i), calloc(1, sizeof(struct part)), 1);
    }
    ck_assert_uint_eq(desk_free(&d, 2), 0);
    struct wire_result_ack a = {.job_id = 0, .verdict = VERDICT_ACCEPTED};
    desk_ack(&d, &a, 0);
    ck_assert_uint_eq(desk_free(&d, 2), 2);
    desk_clear(&d);
}
END_TEST

START_TEST(a_sent_result_waits_a_second_before_it_goes_again)
{
    static struct desk d;
    struct task *t = add(&d, 1);
    desk_ready(t, calloc(1, sizeof(struct part)), 1);
    t->state = TASK_SENT;
    t->sent_ms = 100;
    desk_tick(&d, 1099);
    ck_assert_int_eq(t->state, TASK_SENT);
    desk_tick(&d, 1100);
    ck_assert_int_eq(t->state, TASK_READY);
    t->state = TASK_SENT;
    desk_welcome(&d);
    ck_assert_int_eq(t->state, TASK_READY);
    desk_clear(&d);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("planner");
    TCase *tc = tcase_create("planner");
    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, a_job_comes_back_in_one_part_per_window);
    tcase_add_test(tc, the_rows_do_not_depend_on_how_the_batch_is_cut);
    tcase_add_test(tc, the_rows_are_those_of_the_algorithm);
    tcase_add_test(tc, want_counts_what_could_be_taken);
    tcase_add_test(tc, a_result_is_sent_until_acknowledged);
    tcase_add_test(tc, a_restarted_learner_gets_the_result_of_a_job_it_forgot);
    tcase_add_test(tc, a_cancelled_job_is_not_answered);
    tcase_add_test(tc, sigterm_abandons_jobs_and_says_bye);
    tcase_add_test(tc, one_index_for_the_batch_takes_the_whole_batch);
    tcase_add_test(tc, threads_change_nothing);
    suite_add_tcase(s, tc);
    TCase *table = tcase_create("desk");
    tcase_add_test(table, a_second_lease_of_a_job_takes_over_the_attempt);
    tcase_add_test(table, unacknowledged_results_stop_the_asking);
    tcase_add_test(table, a_sent_result_waits_a_second_before_it_goes_again);
    suite_add_tcase(s, table);
    return run_suite(s);
}
