/* SPDX-License-Identifier: Apache-2.0 */
/* test_learnable.c - a world that can be learned, and the same world with one field shifted.
 *
 * Two agents walk on a ring of four places; an observation is the place as a one-hot. The next
 * observation, the reward and the end flag are known functions of (o_k, a_k), actions are
 * uniform. Aligned as records are, everything is predictable and the losses fall to nearly
 * nothing. With actions read one record too late (the one that led to obs_t arrives at t+1),
 * or rewards or ends one record too early, the model is asked for what it cannot know, and the
 * loss must stay where guessing leaves it. Acceptance check 6 of the specification. */
#include "suite.h"

#include "algo/mag.h"

#include "base/rng.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

enum {
    AGENTS = 2,
    PLACES = 4,
    MOVES = 3,
    RECORDS = 6,
    WINDOWS = 16,
    STEPS = 900,
    MEASURED = 25
};

enum shift { NOTHING, ACTION, REWARD, DONE, SHIFTS };

/* Windows of RECORDS + 2, so that a field can be read one record earlier or later. */
struct world {
    float obs[RECORDS + 2][WINDOWS][AGENTS][PLACES];
    float reward[RECORDS + 2][WINDOWS][AGENTS];
    uint8_t action[RECORDS + 2][WINDOWS][AGENTS];
    uint8_t avail[RECORDS + 2][WINDOWS][AGENTS][MOVES];
    uint8_t done[RECORDS + 2][WINDOWS], zero[RECORDS + 2][WINDOWS];
};

static void play(struct world *w, struct rng *r)
{
    memset(w, 0, sizeof *w);
    memset(w->avail, 1, sizeof w->avail);
    for (size_t b = 0; b < WINDOWS; b++) {
        uint32_t place[AGENTS];
        for (size_t i = 0; i < AGENTS; i++)
            place[i] = rng_below(r, PLACES);
        for (size_t k = 0; k < RECORDS + 2; k++) {
            uint32_t first = 0;
            float team = 0;
            for (size_t i = 0; i < AGENTS; i++) {
                uint32_t a = rng_below(r, MOVES);
                w->obs[k][b][i][place[i]] = 1;
                w->action[k][b][i] = (uint8_t)a;
                /* Good moves: right on even places, left on odd ones. */
                team += a == (place[i] % 2 ? 2 : 1) ? 2.0f : -1.0f;
                if (i == 0)
                    first = place[i] / 2 == (a == 0);
                place[i] = (place[i] + a) % PLACES;
            }
            for (size_t i = 0; i < AGENTS; i++)
                w->reward[k][b][i] = team / AGENTS;
            w->done[k][b] = (uint8_t)first;
        }
    }
}

static struct mag_windows windows(const struct world *w, enum shift shift)
{
    /* Records 1 .. RECORDS, one field from another row. */
    return (struct mag_windows){.W = RECORDS,
                                .B = WINDOWS,
                                .obs = &w->obs[1][0][0][0],
                                .action = &w->action[shift == ACTION ? 0 : 1][0][0],
                                .avail = &w->avail[1][0][0][0],
                                .reward = &w->reward[shift == REWARD ? 2 : 1][0][0],
                                .done = &w->done[shift == DONE ? 2 : 1][0],
                                .fake = &w->zero[1][0],
                                .last = &w->zero[1][0]};
}

/* Mean losses over the last steps of training. */
static struct mag_model_stats learn(enum shift shift)
{
    struct config cfg;
    struct philox philox = {.seed = 11};
    struct draws draws = philox_draws(&philox);
    struct mag_dims d = {
        .N = AGENTS, .O = PLACES, .A = MOVES, .D = 32, .C = 4, .K = 4, .heads = 2, .layers = 1};
    struct mag_model *m;
    struct mag_train *t;
    struct world *w = malloc(sizeof *w);
    struct mag_model_stats sum = {0}, st;
    struct rng r;

    config_defaults(&cfg);
    cfg.lr.model = 4e-3;
    cfg.train.dropout = 0;
    struct mag_train_cfg c = {.W = RECORDS, .B = WINDOWS, .cfg = &cfg};
    ck_assert_int_eq(mag_model_open(&m, &d, ISA_AUTO), 0);
    mag_init(m, &draws);
    ck_assert_int_eq(mag_train_open(&t, m, &c, NULL), 0);
    rng_seed(&r, 5);
    for (uint64_t step = 0; step < STEPS; step++) {
        play(w, &r);
        struct mag_windows win = windows(w, shift);
        ck_assert_int_eq(mag_model_step(t, &win, &draws, step, &st), 0);
        ck_assert(!st.skipped);
        if (step + MEASURED < STEPS)
            continue;
        sum.rec += st.rec / MEASURED;
        sum.reward += st.reward / MEASURED;
        sum.cont += st.cont / MEASURED;
    }
    mag_train_close(t);
    mag_model_close(m);
    free(w);
    return sum;
}

START_TEST(a_known_world_is_learned_to_nearly_no_loss)
{
    struct mag_model_stats s = learn(NOTHING);
    ck_assert_msg(s.rec < 0.03 && s.reward < 0.05 && s.cont < 0.08,
                  "reconstruction %.4f, reward %.4f, continuation %.4f", s.rec, s.reward,
                  s.cont);
}
END_TEST

START_TEST(with_one_field_shifted_by_a_record_it_is_not)
{
    struct mag_model_stats s = learn((enum shift)_i);
    double worst = s.reward > s.cont ? s.reward : s.cont;
    ck_assert_msg(worst > 0.2, "shift %d: reward %.4f, continuation %.4f", _i, s.reward,
                  s.cont);
    ck_assert_msg(_i == DONE || s.reward > 0.2, "shift %d: reward %.4f", _i, s.reward);
    ck_assert_msg(_i == REWARD || s.cont > 0.3, "shift %d: continuation %.4f", _i, s.cont);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("learnable");
    TCase *c = tcase_create("learnable");
    tcase_set_timeout(c, 240);
    tcase_add_test(c, a_known_world_is_learned_to_nearly_no_loss);
    tcase_add_loop_test(c, with_one_field_shifted_by_a_record_it_is_not, ACTION, SHIFTS);
    suite_add_tcase(s, c);
    return run_suite(s);
}
