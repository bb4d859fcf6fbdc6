/* SPDX-License-Identifier: Apache-2.0 */
/* test_replay.c - D_e holds the records of mag.md 2 and cuts the windows of mag.md 3.
 *
 * Every field of a real record is a function of (episode, step, agent), so that a test can ask
 * of any sampled record where it came from and whether all its fields agree. */
#include "alloc_count.h"
#include "base/err.h"
#include "learner/replay.h"
#include "suite.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

enum { N = 3, O = 4, A = 11, AB = (A + 7) / 8, T_MAX = 64, W = 6 };

struct made {
    float obs[(T_MAX + 1) * N * O], reward[T_MAX];
    uint8_t avail[(T_MAX + 1) * N * AB], action[T_MAX * N];
};

static float obs_value(uint64_t no, size_t t, size_t agent, size_t o)
{
    return (float)(no * 10000 + t * 100 + agent * 10 + o + 1);
}
static bool avail_value(uint64_t no, size_t t, size_t agent, size_t a)
{
    return (no + t * 3 + agent * 5 + a * 7) % 3 != 0;
}
static uint8_t action_value(uint64_t no, size_t t, size_t agent)
{
    return (uint8_t)((no + 2 * t + agent) % A);
}
static float reward_value(uint64_t no, size_t t)
{
    return (float)no + (float)t / 64;
}

static struct wire_episode make(struct made *m, uint64_t no, size_t T, enum wire_end end)
{
    memset(m, 0, sizeof *m);
    for (size_t t = 0; t <= T; t++)
        for (size_t n = 0; n < N; n++) {
            for (size_t o = 0; o < O; o++)
                m->obs[(t * N + n) * O + o] = obs_value(no, t, n, o);
            for (size_t a = 0; a < A; a++)
                if (avail_value(no, t, n, a))
                    m->avail[(t * N + n) * AB + a / 8] |= (uint8_t)(1 << a % 8);
            if (t < T)
                m->action[t * N + n] = action_value(no, t, n);
        }
    for (size_t t = 0; t < T; t++)
        m->reward[t] = reward_value(no, t);
    return (struct wire_episode){.episode_no = no,
                                 .T = (uint32_t)T,
                                 .N = N,
                                 .O = O,
                                 .A = A,
                                 .end = end,
                                 .obs = m->obs,
                                 .avail = m->avail,
                                 .action = m->action,
                                 .reward = m->reward};
}

static struct philox philox = {.seed = 5, .iteration = 9};
static struct draws draws;
static struct arena arena;
static struct replay_batch batch;
static struct replay *r;

static void set_up(void)
{
    draws = philox_draws(&philox);
    ck_assert_int_eq(arena_init(&arena, 1 << 22), 0);
}

static void tear_down(void)
{
    replay_close(r);
    r = NULL;
    arena_fini(&arena);
}

static void open_ring(size_t capacity, size_t B)
{
    replay_close(r);
    r = NULL;
    ck_assert_int_eq(replay_open(&r, capacity, N, O, A), 0);
    ck_assert_int_eq(replay_batch_carve(&batch, r, W, B, &arena), 0);
}

static void add(uint64_t no, size_t T, enum wire_end end)
{
    static struct made m;
    struct wire_episode e = make(&m, no, T, end);
    ck_assert_int_eq(replay_add(r, &e, &draws), 0);
}

/* ------------------------------------------------------------- looking at a sampled record */

struct seen {
    bool absorbing;
    uint64_t no;
    size_t t;
};

static void check_absorbing(size_t at)
{
    for (size_t i = 0; i < N * O; i++)
        ck_assert(batch.w.obs[at * N * O + i] == 0);
    for (size_t i = 0; i < N * A; i++)
        ck_assert_uint_eq(batch.w.avail[at * N * A + i], 1);
    for (size_t i = 0; i < N; i++) {
        ck_assert(batch.w.reward[at * N + i] == 0);
        ck_assert_uint_lt(batch.w.action[at * N + i], A);
    }
    ck_assert_uint_eq(batch.w.done[at], 1);
}

static void check_real(size_t at, uint64_t no, size_t t)
{
    for (size_t n = 0; n < N; n++) {
        for (size_t o = 0; o < O; o++)
            ck_assert(batch.w.obs[(at * N + n) * O + o] == obs_value(no, t, n, o));
        for (size_t a = 0; a < A; a++)
            ck_assert_uint_eq(batch.w.avail[(at * N + n) * A + a], avail_value(no, t, n, a));
        ck_assert_uint_eq(batch.w.action[at * N + n], action_value(no, t, n));
        ck_assert(batch.w.reward[at * N + n] == reward_value(no, t));
    }
}

/* Record k of window `row`: which one is it, and do all its fields agree? */
static struct seen look(size_t k, size_t row)
{
    size_t at = k * batch.w.B + row;
    if (batch.w.fake[at]) {
        check_absorbing(at);
        return (struct seen){.absorbing = true};
    }
    unsigned v = (unsigned)batch.w.obs[at * N * O] - 1;
    struct seen s = {.no = v / 10000, .t = v / 100 % 100};
    check_real(at, s.no, s.t);
    return s;
}

/* ---------------------------------------------------------------------------------- records */

START_TEST(an_end_by_anything_but_the_limit_appends_two_absorbing_records)
{
    open_ring(100, 1);
    add(0, 4, END_TERMINAL);
    ck_assert_uint_eq(replay_len(r), 6);
    static struct made m;
    struct wire_episode e = make(&m, 0, 4, END_TERMINAL);
    size_t count = 0;
    ck_assert_int_eq(replay_windows_of(&batch, r, &e, &draws, &count), 0);
    ck_assert_uint_eq(count, 1); /* six records, W = 6: the whole episode */
    for (size_t k = 0; k < 6; k++) {
        struct seen s = look(k, 0);
        ck_assert_int_eq(s.absorbing, k >= 4);
        ck_assert(k >= 4 || (s.t == k && s.no == 0));
        ck_assert_uint_eq(batch.w.done[k], k >= 3);
        ck_assert_uint_eq(batch.w.fake[k], k >= 4);
        ck_assert_uint_eq(batch.w.last[k], k == 5);
    }
    ck_assert_mem_eq(batch.w.action + 4 * N, batch.w.action + 5 * N, N); /* identical pair */
}
END_TEST

START_TEST(absorbing_actions_are_the_draws_of_their_episode_over_all_actions)
{
    open_ring(100, 1);
    static struct made m;
    size_t count = 0;
    bool high = false, differ = false;
    uint8_t first[N];
    for (uint64_t no = 0; no < 50; no++) {
        struct wire_episode e = make(&m, no, 4, END_TERMINAL);
        uint32_t words[N];
        ck_assert_int_eq(replay_windows_of(&batch, r, &e, &draws, &count), 0);
        draws_words(&draws, DRAW_ABSORB, no, 0, words, N);
        for (size_t n = 0; n < N; n++) {
            uint8_t a = batch.w.action[4 * N + n];
            ck_assert_uint_eq(a, word_below(words[n], A));
            high = high || a == A - 1;
        }
        if (no == 0)
            memcpy(first, batch.w.action + 4 * N, N);
        differ = differ || memcmp(first, batch.w.action + 4 * N, N) != 0;
    }
    ck_assert(high && differ);
}
END_TEST

START_TEST(the_time_limit_appends_nothing_and_marks_the_last_real_record)
{
    open_ring(100, 1);
    add(0, 6, END_LIMIT);
    ck_assert_uint_eq(replay_len(r), 6);
    static struct made m;
    struct wire_episode e = make(&m, 0, 6, END_LIMIT);
    size_t count = 0;
    ck_assert_int_eq(replay_windows_of(&batch, r, &e, &draws, &count), 0);
    for (size_t k = 0; k < 6; k++) {
        ck_assert(!look(k, 0).absorbing);
        ck_assert_uint_eq(batch.w.done[k], k == 5);
        ck_assert_uint_eq(batch.w.last[k], k == 5);
    }
}
END_TEST

START_TEST(episodes_of_another_shape_or_size_are_refused)
{
    static struct made m;
    open_ring(10, 1);
    struct wire_episode e = make(&m, 0, 9, END_TERMINAL); /* 11 records */
    ck_assert_int_eq(replay_add(r, &e, &draws), ERR_INVAL);
    e = make(&m, 0, 4, END_TERMINAL);
    e.N = N + 1;
    ck_assert_int_eq(replay_add(r, &e, &draws), ERR_INVAL);
    e.N = N;
    e.T = 0;
    ck_assert_int_eq(replay_add(r, &e, &draws), ERR_INVAL);
    ck_assert_uint_eq(replay_len(r), 0);
    ck_assert_uint_eq(replay_next(r), 0);
}
END_TEST

/* ---------------------------------------------------------------------------------- windows */

START_TEST(windows_are_consecutive_records_across_episodes)
{
    enum { B = 200 };
    open_ring(1000, B);
    add(0, 9, END_TERMINAL); /* records 0..10 */
    add(1, 8, END_LIMIT);    /* 11..18 */
    add(2, 20, END_TERMINAL);
    ck_assert_int_eq(replay_sample(r, &batch, &draws, DRAW_WINDOW_MODEL, 3), 0);
    bool crossed = false;
    for (size_t row = 0; row < B; row++)
        for (size_t k = 0; k + 1 < W; k++) {
            struct seen a = look(k, row), b = look(k + 1, row);
            if (batch.w.last[k * B + row]) { /* the next record opens another episode */
                ck_assert(!b.absorbing && b.t == 0);
                crossed = true;
            } else if (!a.absorbing && !b.absorbing) {
                ck_assert(b.no == a.no && b.t == a.t + 1);
            } else {
                ck_assert(b.absorbing);
            }
        }
    ck_assert(crossed);
}
END_TEST

START_TEST(starts_cover_every_window_of_an_unfilled_ring_and_no_other)
{
    enum { B = 2000, RECORDS = 20 };
    open_ring(1000, B);
    add(0, RECORDS, END_LIMIT);
    bool hit[RECORDS] = {false};
    ck_assert_int_eq(replay_sample(r, &batch, &draws, DRAW_WINDOW_RM, 0), 0);
    for (size_t row = 0; row < B; row++)
        hit[look(0, row).t] = true;
    for (size_t k = 0; k < RECORDS; k++) /* k uniform in [0, next - W) */
        ck_assert_msg(hit[k] == (k < RECORDS - W), "start %zu", k);
}
END_TEST

START_TEST(too_few_records_are_worth_waiting_for)
{
    open_ring(1000, 2);
    ck_assert_int_eq(replay_sample(r, &batch, &draws, DRAW_WINDOW_MODEL, 0), ERR_AGAIN);
    add(0, W, END_LIMIT);
    ck_assert_int_eq(replay_sample(r, &batch, &draws, DRAW_WINDOW_MODEL, 0), ERR_AGAIN);
    add(1, 1, END_LIMIT);
    ck_assert_int_eq(replay_sample(r, &batch, &draws, DRAW_WINDOW_MODEL, 0), 0);
}
END_TEST

START_TEST(a_full_ring_forgets_the_oldest_and_never_crosses_its_head)
{
    enum { B = 4000, CAPACITY = 40 };
    open_ring(CAPACITY, B);
    add(0, 30, END_LIMIT);
    add(1, 30, END_LIMIT); /* head at 20: records 20..29 of episode 0, all of 1 */
    ck_assert_uint_eq(replay_len(r), CAPACITY);
    ck_assert_uint_eq(replay_next(r), 60);
    ck_assert_uint_eq(replay_first_episode(r), 0);
    ck_assert_int_eq(replay_sample(r, &batch, &draws, DRAW_WINDOW_MODEL, 1), 0);
    bool hit[2][T_MAX] = {{false}};
    for (size_t row = 0; row < B; row++) {
        struct seen s = look(0, row), prev = s;
        hit[s.no][s.t] = true;
        for (size_t k = 1; k < W;
             k++) { /* in time order: never from the newest to the oldest */
            struct seen now = look(k, row);
            ck_assert(now.no * 30 + now.t == prev.no * 30 + prev.t + 1);
            prev = now;
        }
    }
    for (size_t t = 0; t < 30; t++) {
        ck_assert_msg(hit[0][t] == (t >= 20), "episode 0 start %zu", t);
        ck_assert_msg(hit[1][t] == (t + W <= 30), "episode 1 start %zu", t);
    }
}
END_TEST

START_TEST(the_first_episode_still_held_is_known_after_every_addition)
{
    open_ring(40, 1);
    for (uint64_t no = 0; no < 2000; no++) {
        add(no, 8, END_TERMINAL); /* ten records each: four fit */
        ck_assert_uint_eq(replay_first_episode(r), no < 4 ? 0 : no - 3);
    }
    add(2000, 5, END_LIMIT); /* half of the oldest is left */
    ck_assert_uint_eq(replay_first_episode(r), 1996);
}
END_TEST

/* ------------------------------------------------------------------------------ determinism */

static struct replay_batch sample_again(const struct replay *from, uint64_t item)
{
    struct replay_batch b;
    ck_assert_int_eq(replay_batch_carve(&b, from, W, batch.B_max, &arena), 0);
    ck_assert_int_eq(replay_sample(from, &b, &draws, DRAW_WINDOW_MODEL, item), 0);
    return b;
}

static bool equal(const struct replay_batch *a, const struct replay_batch *b)
{
    size_t rows = W * a->w.B;
    return a->w.B == b->w.B && !memcmp(a->obs, b->obs, rows * N * O * sizeof(float)) &&
           !memcmp(a->reward, b->reward, rows * N * sizeof(float)) &&
           !memcmp(a->action, b->action, rows * N) &&
           !memcmp(a->avail, b->avail, rows * N * A) && !memcmp(a->done, b->done, rows) &&
           !memcmp(a->fake, b->fake, rows) && !memcmp(a->last, b->last, rows);
}

START_TEST(a_sample_depends_on_its_keys_and_the_episodes_alone)
{
    open_ring(200, 8);
    add(0, 30, END_TERMINAL);
    struct replay_batch early = sample_again(r, 1); /* sampling leaves no trace */
    add(1, 30, END_LIMIT);
    struct replay_batch a = sample_again(r, 4), b = sample_again(r, 4), c = sample_again(r, 5);
    ck_assert(equal(&a, &b));
    ck_assert(!equal(&a, &c));
    ck_assert(!equal(&early, &a));
    philox.iteration++;
    c = sample_again(r, 4);
    philox.iteration--;
    ck_assert(!equal(&a, &c));
    struct replay *other = NULL;
    static struct made m;
    ck_assert_int_eq(replay_open(&other, 200, N, O, A), 0);
    for (uint64_t no = 0; no < 2; no++) {
        struct wire_episode e = make(&m, no, 30, no ? END_LIMIT : END_TERMINAL);
        ck_assert_int_eq(replay_add(other, &e, &draws), 0);
    }
    c = sample_again(other, 4);
    ck_assert(equal(&a, &c));
    replay_close(other);
}
END_TEST

START_TEST(rows_of_a_larger_batch_begin_like_a_smaller_one)
{
    open_ring(200, 3);
    add(0, 60, END_TERMINAL);
    struct replay_batch small = sample_again(r, 4);
    batch.B_max = 7;
    struct replay_batch large = sample_again(r, 4);
    for (size_t k = 0; k < W; k++)
        for (size_t row = 0; row < 3; row++)
            ck_assert(small.obs[(k * 3 + row) * N * O] == large.obs[(k * 7 + row) * N * O]);
}
END_TEST

START_TEST(skipping_overwritten_episodes_gives_the_same_ring)
{
    open_ring(40, 16);
    for (uint64_t no = 0; no < 9; no++)
        add(no, 11 + no, no % 2 ? END_LIMIT : END_TERMINAL);
    struct replay_batch whole = sample_again(r, 2);
    uint64_t next = replay_next(r), first = replay_first_episode(r);
    ck_assert_uint_gt(first, 0);
    size_t skipped = 0;
    for (uint64_t no = 0; no < first; no++)
        skipped += 11 + no + (no % 2 ? 0 : 2);
    open_ring(40, 16);
    replay_skip(r, skipped);
    for (uint64_t no = first; no < 9; no++)
        add(no, 11 + no, no % 2 ? END_LIMIT : END_TERMINAL);
    ck_assert_uint_eq(replay_next(r), next);
    ck_assert_uint_eq(replay_len(r), 40);
    ck_assert_uint_eq(replay_first_episode(r), first);
    struct replay_batch again = sample_again(r, 2);
    ck_assert(equal(&whole, &again));
}
END_TEST

/* ------------------------------------------------------------------------------- held-out */

START_TEST(held_out_windows_spread_over_the_episode_and_match_what_the_ring_would_hold)
{
    static struct made m;
    size_t count = 0;
    open_ring(100, 4);
    struct wire_episode e = make(&m, 3, 30, END_TERMINAL); /* 32 records, 27 starts */
    ck_assert_int_eq(replay_windows_of(&batch, r, &e, &draws, &count), 0);
    ck_assert_uint_eq(count, 4);
    ck_assert_uint_eq(batch.w.B, 4);
    ck_assert_uint_eq(look(0, 0).t, 0);
    ck_assert_uint_gt(look(0, 1).t, 0);
    ck_assert_uint_gt(look(0, 2).t, look(0, 1).t);
    ck_assert_uint_eq(look(0, 3).t, 26); /* ends with the second absorbing record */
    ck_assert(look(W - 1, 3).absorbing);
    ck_assert_uint_eq(batch.w.last[(W - 1) * 4 + 3], 1);
    ck_assert_uint_eq(replay_len(r), 0);  /* the ring is untouched */
    e = make(&m, 3, W - 3, END_TERMINAL); /* one record short of a window */
    ck_assert_int_eq(replay_windows_of(&batch, r, &e, &draws, &count), 0);
    ck_assert_uint_eq(count, 0);
    e = make(&m, 3, W + 1, END_LIMIT);
    ck_assert_int_eq(replay_windows_of(&batch, r, &e, &draws, &count), 0);
    ck_assert_uint_eq(count, 2);
    e.A = A - 1;
    ck_assert_int_eq(replay_windows_of(&batch, r, &e, &draws, &count), ERR_INVAL);
}
END_TEST

START_TEST(sampling_and_cutting_windows_ask_for_no_memory)
{
    static struct made m;
    struct wire_episode e = make(&m, 3, 9, END_TERMINAL);
    size_t count = 0;
    open_ring(100, 4);
    add(0, 20, END_TERMINAL);
    size_t before = alloc_calls();
    int err = replay_sample(r, &batch, &draws, DRAW_WINDOW_MODEL, 0);
    err = err ? err : replay_windows_of(&batch, r, &e, &draws, &count);
    size_t asked = alloc_calls() - before;
    ck_assert_int_eq(err, 0);
    ck_assert_uint_eq(asked, 0);
}
END_TEST

START_TEST(budgets_say_what_is_used)
{
    open_ring(100, 4);
    size_t before = arena.used;
    ck_assert_int_eq(replay_batch_carve(&batch, r, W, 4, &arena), 0);
    ck_assert_uint_le(arena.used - before, replay_batch_bytes(W, 4, N, O, A));
    ck_assert_uint_ge(replay_bytes(100, N, O, A), 100 * (N * O * 4 + 4 + N + N * A + 3));
    struct arena small = {0};
    ck_assert_int_eq(arena_init(&small, 4096), 0);
    ck_assert_int_eq(replay_batch_carve(&batch, r, W, 400, &small), ERR_NOMEM);
    arena_fini(&small);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("replay");
    TCase *t = tcase_create("replay");
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, an_end_by_anything_but_the_limit_appends_two_absorbing_records);
    tcase_add_test(t, absorbing_actions_are_the_draws_of_their_episode_over_all_actions);
    tcase_add_test(t, the_time_limit_appends_nothing_and_marks_the_last_real_record);
    tcase_add_test(t, episodes_of_another_shape_or_size_are_refused);
    tcase_add_test(t, windows_are_consecutive_records_across_episodes);
    tcase_add_test(t, starts_cover_every_window_of_an_unfilled_ring_and_no_other);
    tcase_add_test(t, too_few_records_are_worth_waiting_for);
    tcase_add_test(t, a_full_ring_forgets_the_oldest_and_never_crosses_its_head);
    tcase_add_test(t, the_first_episode_still_held_is_known_after_every_addition);
    tcase_add_test(t, a_sample_depends_on_its_keys_and_the_episodes_alone);
    tcase_add_test(t, rows_of_a_larger_batch_begin_like_a_smaller_one);
    tcase_add_test(t, skipping_overwritten_episodes_gives_the_same_ring);
    tcase_add_test(t,
                   held_out_windows_spread_over_the_episode_and_match_what_the_ring_would_hold);
    tcase_add_test(t, sampling_and_cutting_windows_ask_for_no_memory);
    tcase_add_test(t, budgets_say_what_is_used);
    suite_add_tcase(suite, t);
    return run_suite(suite);
}
