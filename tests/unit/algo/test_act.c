/* SPDX-License-Identifier: Apache-2.0 */
/* test_act.c - acting: episode starts, masks, greedy, draws' keys, independence of company and
 * of threads. */
#include "mag_small.h"
#include "suite.h"

#include "mag_priv.h"
#include "par/pool.h"

#include <math.h>

enum { ROWS = 4, STEPS = 3, N = 3, A = 5, O = 7, D = 32, C = 4 };

static struct small *s;
static struct mag_act *act;

/* What one row's step leaves behind. */
struct step_out {
    uint8_t action[N], index[N * C];
    float h[N * D], logits[N * A];
};

static void setup(void)
{
    pool_fp_mode();
    s = small_open(ISA_AUTO, 21);
    ck_assert_int_eq(mag_act_open(&act, s->m, ROWS, NULL), 0);
}
static void teardown(void)
{
    mag_act_close(act);
    small_close(s);
}

/* Recurrent state `row` acts on record `step` of window b, as episode `item`. */
static struct mag_act_row request(struct step_out *out, size_t row, size_t b, size_t step,
                                  uint64_t item)
{
    size_t at = (step * SMALL_B + b) * N;
    return (struct mag_act_row){.row = row,
                                .obs = s->obs + at * O,
                                .avail = s->avail + at * A,
                                .item = item,
                                .mode = MAG_ACT_SAMPLE,
                                .action = out->action,
                                .h = out->h,
                                .logits = out->logits,
                                .index = out->index};
}

static void assert_same(const struct step_out *a, const struct step_out *b)
{
    ck_assert_mem_eq(a->action, b->action, sizeof(a->action));
    ck_assert_mem_eq(a->index, b->index, sizeof(a->index));
    ck_assert_mem_eq(a->h, b->h, sizeof(a->h));
    ck_assert_mem_eq(a->logits, b->logits, sizeof(a->logits));
}

START_TEST(a_row_acts_the_same_alone_and_in_company)
{
    struct step_out together[STEPS][ROWS], alone[STEPS];
    struct mag_act_row rows[ROWS];
    for (size_t step = 0; step < STEPS; step++) {
        for (size_t k = 0; k < ROWS; k++) /* in another order every step */
            rows[k] = request(&together[step][(k + step) % ROWS], (k + step) % ROWS,
                              (k + step) % ROWS, step, 100 + (k + step) % ROWS);
        mag_act_step(act, &s->draws, rows, ROWS);
    }
    for (size_t b = 0; b < ROWS; b++) {
        mag_act_reset(act, 0);
        for (size_t step = 0; step < STEPS; step++) {
            struct mag_act_row row = request(&alone[step], 0, b, step, 100 + b);
            mag_act_step(act, &s->draws, &row, 1);
            assert_same(&alone[step], &together[step][b]);
        }
    }
}
END_TEST

/* Four rows on one thread, on two, on three (two, one and one) and on more threads than rows; the
 * last row begins a step later. */
START_TEST(threads_change_no_bit)
{
    static const size_t threads[] = {1, 2, 3, 7};
    struct step_out seen[sizeof threads / sizeof *threads][STEPS][ROWS] = {0};
    for (size_t i = 0; i < sizeof threads / sizeof *threads; i++) {
        struct pool *pool;
        struct mag_act *a;
        ck_assert_int_eq(pool_open(&pool, threads[i]), 0);
        ck_assert_int_eq(mag_act_open(&a, s->m, ROWS, pool), 0);
        for (size_t step = 0; step < STEPS; step++) {
            struct mag_act_row rows[ROWS];
            size_t n = step == 0 ? ROWS - 1 : ROWS;
            for (size_t k = 0; k < n; k++)
                rows[k] = request(&seen[i][step][k], k, k, step, 100 + k);
            mag_act_step(a, &s->draws, rows, n);
            for (size_t k = 0; k < n; k++)
                assert_same(&seen[i][step][k], &seen[0][step][k]);
        }
        mag_act_close(a);
        pool_close(pool);
    }
}
END_TEST

START_TEST(rows_that_wait_keep_their_state)
{
    struct step_out first, second, other, again;
    struct mag_act_row row = request(&first, 1, 0, 0, 5);
    mag_act_step(act, &s->draws, &row, 1);
    row = request(&other, 2, 1, 0, 6);
    mag_act_step(act, &s->draws, &row, 1);
    row = request(&second, 1, 0, 1, 5);
    mag_act_step(act, &s->draws, &row, 1);

    row = request(&first, 3, 0, 0, 5);
    mag_act_step(act, &s->draws, &row, 1);
    row = request(&again, 3, 0, 1, 5);
    mag_act_step(act, &s->draws, &row, 1);
    assert_same(&second, &again);
}
END_TEST

START_TEST(reset_forgets_the_episode)
{
    struct step_out first, again;
    for (size_t step = 0; step < STEPS; step++) {
        struct mag_act_row row = request(&again, 0, 2, step, 9);
        mag_act_step(act, &s->draws, &row, 1);
    }
    mag_act_reset(act, 0);
    struct mag_act_row row = request(&again, 0, 3, 0, 10);
    mag_act_step(act, &s->draws, &row, 1);
    row = request(&first, 1, 3, 0, 10); /* a state never used */
    mag_act_step(act, &s->draws, &row, 1);
    assert_same(&first, &again);
}
END_TEST

START_TEST(the_first_step_sees_neither_state_nor_action)
{
    /* class and action rows of the transition's input layer do not matter at step 0 */
    struct step_out before, after, later;
    struct mag_act_row row = request(&before, 0, 0, 0, 3);
    mag_act_step(act, &s->draws, &row, 1);
    size_t n;
    float *w = small_param(s, "model.transition.input.weight", &n);
    for (size_t k = 0; k < n; k++)
        w[k] = -w[k];
    mag_refresh(s->m, 1 << MAG_FILTER);
    row = request(&after, 1, 0, 0, 3);
    mag_act_step(act, &s->draws, &row, 1);
    assert_same(&before, &after);
    row = request(&later, 1, 0, 1, 3);
    mag_act_step(act, &s->draws, &row, 1);
    row = request(&after, 0, 0, 1, 3);
    mag_act_step(act, &s->draws, &row, 1);
    assert_same(&later, &after); /* and both states went on alike */
}
END_TEST

START_TEST(unavailable_actions_are_never_taken)
{
    struct step_out out;
    for (uint64_t item = 0; item < 40; item++) {
        size_t b = item % SMALL_B, step = item % SMALL_W;
        struct mag_act_row row = request(&out, 0, b, step, item);
        row.mode = item % 2 ? MAG_ACT_GREEDY : MAG_ACT_SAMPLE;
        mag_act_reset(act, 0);
        mag_act_step(act, &s->draws, &row, 1);
        for (size_t k = 0; k < N; k++) {
            ck_assert_int_eq(row.avail[k * A + out.action[k]], 1);
            for (size_t a = 0; a < A; a++)
                ck_assert_int_eq(row.avail[k * A + a], out.logits[k * A + a] > -1e9f);
        }
    }
}
END_TEST

START_TEST(greedy_takes_the_largest_masked_logit)
{
    struct step_out out;
    for (size_t step = 0; step < SMALL_W; step++) {
        struct mag_act_row row = request(&out, 0, 1, step, 77);
        row.mode = MAG_ACT_GREEDY;
        mag_act_step(act, &s->draws, &row, 1);
        for (size_t k = 0; k < N; k++)
            for (size_t a = 0; a < A; a++)
                ck_assert_float_le(out.logits[k * A + a], out.logits[k * A + out.action[k]]);
    }
}
END_TEST

/* Which domains were asked, and with which keys. */
struct spy {
    const struct draws *real;
    size_t seen[DRAW_DOMAINS];
    uint64_t item;
    uint32_t sub;
};
static void spy_fill(void *state, enum draw_domain domain, uint64_t item, uint32_t sub,
                     float *u, size_t n)
{
    struct spy *spy = state;
    spy->seen[domain]++;
    spy->item = item;
    spy->sub = sub;
    draws_fill(spy->real, domain, item, sub, u, n);
}

START_TEST(evaluation_draws_from_its_own_domains)
{
    struct spy spy = {.real = &s->draws};
    struct draws draws = {.fill = spy_fill, .state = &spy};
    struct step_out out;
    struct mag_act_row row = request(&out, 0, 0, 0, 31);
    mag_act_step(act, &draws, &row, 1);
    ck_assert_uint_eq(spy.seen[DRAW_ACT_LATENT], 1);
    ck_assert_uint_eq(spy.seen[DRAW_ACT_ACTION], 1);
    row = request(&out, 0, 0, 1, 31);
    row.eval = true;
    mag_act_step(act, &draws, &row, 1);
    ck_assert_uint_eq(spy.seen[DRAW_EVAL_LATENT], 1);
    ck_assert_uint_eq(spy.seen[DRAW_EVAL_ACT], 1);
    ck_assert_uint_eq(spy.item, 31);
    ck_assert_uint_eq(spy.sub, 1); /* the step since reset */
}
END_TEST

/* The likeliest latent of a first observation [N][O], from the networks themselves. */
static void first_mode(uint8_t *index, const float *obs)
{
    const struct nets *n = mag_nets(s->m);
    struct arena a;
    uint8_t none = 1, action[N] = {NETS_NO_ACTION, NETS_NO_ACTION, NETS_NO_ACTION};
    float e[N * D], h[N * D], logits[N * 32]; /* 4 categoricals of 8 classes */
    ck_assert_int_eq(arena_init(&a, nets_work_bytes(&n->d) + 256), 0);
    struct nets_work *w = nets_work_carve(&n->d, &a);
    memset(h, 0, sizeof(h));
    memset(index, 0, N * C);
    nets_encoder(n, w, e, obs, N);
    nets_transition(n, w, h, index, action, h, &none, 1);
    nets_posterior(n, w, logits, h, e, N);
    for (size_t k = 0; k < N * C; k++) {
        index[k] = 0;
        for (uint8_t c = 1; c < 8; c++)
            if (logits[k * 8 + c] > logits[k * 8 + index[k]])
                index[k] = c;
    }
    arena_fini(&a);
}

START_TEST(the_latents_mode_needs_no_draw_and_is_the_likeliest_class)
{
    struct spy spy = {.real = &s->draws};
    struct draws draws = {.fill = spy_fill, .state = &spy};
    struct step_out one, two;
    struct mag_act_row row = request(&one, 0, 0, 0, 1);
    row.latent_mode = true;
    row.mode = MAG_ACT_GREEDY;
    mag_act_step(act, &draws, &row, 1);
    row = request(&two, 1, 0, 0, 2); /* another episode, the same observation */
    row.latent_mode = true;
    row.mode = MAG_ACT_GREEDY;
    mag_act_step(act, &draws, &row, 1);
    assert_same(&one, &two);
    for (size_t d = 0; d < DRAW_DOMAINS; d++)
        ck_assert_uint_eq(spy.seen[d], 0);
    uint8_t expected[N * C];
    first_mode(expected, s->obs);
    ck_assert_mem_eq(one.index, expected, sizeof(expected));
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("act");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, a_row_acts_the_same_alone_and_in_company);
    tcase_add_test(tc, threads_change_no_bit);
    tcase_add_test(tc, rows_that_wait_keep_their_state);
    tcase_add_test(tc, reset_forgets_the_episode);
    tcase_add_test(tc, the_first_step_sees_neither_state_nor_action);
    tcase_add_test(tc, unavailable_actions_are_never_taken);
    tcase_add_test(tc, greedy_takes_the_largest_masked_logit);
    tcase_add_test(tc, evaluation_draws_from_its_own_domains);
    tcase_add_test(tc, the_latents_mode_needs_no_draw_and_is_the_likeliest_class);
    tcase_set_timeout(tc, 60);
    Suite *suite = suite_create("act");
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
