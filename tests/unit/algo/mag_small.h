/* SPDX-License-Identifier: Apache-2.0 */
/* mag_small.h - a small model and made-up windows that tests of MAG share. */
#ifndef TEST_MAG_SMALL_H
#define TEST_MAG_SMALL_H

#include "algo/mag.h"
#include "base/config.h"
#include "base/rng.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

enum { SMALL_W = 8, SMALL_B = 5 };

struct small {
    struct config cfg;
    struct mag_dims d;
    struct mag_model *m;
    struct philox philox;
    struct draws draws;
    struct mag_windows w; /* [SMALL_W][SMALL_B] */
    float *obs, *reward;
    uint8_t *action, *avail, *done, *fake, *last;
};

static inline float small_unit(struct rng *r)
{
    return (float)rng_unit(r);
}

/* Observations in [-1, 1), any actions, about one record in eight the last of its episode. */
static inline void small_windows(struct small *s, uint64_t seed)
{
    const struct mag_dims *d = &s->d;
    size_t joint = (size_t)SMALL_W * SMALL_B, tokens = joint * d->N;
    struct rng r;
    rng_seed(&r, seed);
    s->obs = malloc(tokens * d->O * sizeof(float));
    s->reward = malloc(tokens * sizeof(float));
    s->action = malloc(tokens);
    s->avail = malloc(tokens * d->A);
    s->done = malloc(joint);
    s->fake = malloc(joint);
    s->last = malloc(joint);
    for (size_t k = 0; k < tokens * d->O; k++)
        s->obs[k] = 2 * small_unit(&r) - 1;
    for (size_t k = 0; k < tokens * d->A; k++)
        s->avail[k] = rng_below(&r, 4) > 0;
    for (size_t k = 0; k < tokens; k++) {
        s->action[k] = (uint8_t)rng_below(&r, (uint32_t)d->A);
        s->avail[k * d->A + s->action[k]] = 1;
        s->reward[k] = small_unit(&r);
    }
    for (size_t k = 0; k < joint; k++) {
        s->last[k] = s->done[k] = rng_below(&r, 8) == 0;
        s->fake[k] = 0;
    }
    s->w = (struct mag_windows){SMALL_W,   SMALL_B, s->obs,  s->action, s->avail,
                                s->reward, s->done, s->fake, s->last};
}

/* L 3, H 3, R 4, networks of any size. */
static inline struct small *small_open_dims(enum cfg_isa isa, uint64_t seed,
                                            const struct mag_dims *d)
{
    struct small *s = calloc(1, sizeof(*s));
    config_defaults(&s->cfg);
    s->cfg.imagine.search = SEARCH_SHOOTING;
    s->cfg.imagine.choice = CHOICE_START;
    s->cfg.imagine.steps = 4;
    s->cfg.imagine.candidates = 3;
    s->cfg.imagine.horizon = 3;
    s->cfg.imagine.discount = 1;
    s->cfg.imagine.epsilon = 0;
    s->cfg.imagine.greedy_inner = false;
    s->cfg.train.windows = SMALL_B;
    s->cfg.train.zero_first_action = false;
    s->d = *d;
    s->philox = (struct philox){.seed = seed, .iteration = 7};
    s->draws = philox_draws(&s->philox);
    ck_assert_int_eq(mag_model_open(&s->m, &s->d, isa), 0);
    mag_init(s->m, &s->draws);
    small_windows(s, seed);
    return s;
}

/* The same for N 3, O 7, A 5, D 32, 4 x 8 latent, 4 heads, 2 layers. */
static inline struct small *small_open(enum cfg_isa isa, uint64_t seed)
{
    static const struct mag_dims d = {
        .N = 3, .O = 7, .A = 5, .D = 32, .C = 4, .K = 8, .heads = 4, .layers = 2};
    return small_open_dims(isa, seed, &d);
}

static inline void small_close(struct small *s)
{
    mag_model_close(s->m);
    free(s->obs);
    free(s->reward);
    free(s->action);
    free(s->avail);
    free(s->done);
    free(s->fake);
    free(s->last);
    free(s);
}

/* The values of a parameter, kernel layout. */
static inline float *small_param(struct small *s, const char *name, size_t *count)
{
    size_t i = params_find(&s->m->params, name);
    ck_assert_msg(i != (size_t)-1, "no parameter %s", name);
    *count = s->m->params.table[i].count;
    return s->m->params.value + s->m->params.table[i].offset;
}

static inline void small_fill(struct small *s, const char *name, float value)
{
    size_t n;
    float *p = small_param(s, name, &n);
    for (size_t k = 0; k < n; k++)
        p[k] = value;
}

/* The first `out` values of a bias; padding stays zero. */
static inline void small_bias(struct small *s, const char *name, size_t out, float value)
{
    size_t n;
    float *p = small_param(s, name, &n);
    for (size_t k = 0; k < out; k++)
        p[k] = value;
}

/* An imagined batch with all extra outputs, and the memory of them. */
struct batch {
    struct arena arena;
    struct mag_rows rows;
    struct mag_trace trace;
    struct mag_plan_stats stats;
    size_t S, R, L;
};

static inline void batch_open(struct batch *b, const struct small *s, size_t windows)
{
    size_t N = s->d.N;
    b->R = s->cfg.imagine.steps;
    b->L = s->cfg.imagine.candidates ? s->cfg.imagine.candidates : 1;
    b->S = (SMALL_W - 2) * windows;
    size_t steps = b->R - 1, tokens = steps * b->S * N;
    ck_assert_int_eq(arena_init(&b->arena, (size_t)1 << 22), 0);
    mag_rows_carve(&b->rows, &s->d, b->S, steps, &b->arena);
    ck_assert_uint_le(b->arena.used, mag_rows_bytes(&s->d, b->S, steps));
    b->trace.logits = ARENA_ZNEW(&b->arena, float, tokens * s->d.A);
    b->trace.choice = ARENA_ZNEW(&b->arena, int64_t, steps * b->S);
    b->trace.scores = ARENA_ZNEW(&b->arena, float, steps * b->L * b->S);
    b->trace.reward = ARENA_ZNEW(&b->arena, float, steps * b->S);
    b->trace.cont = ARENA_ZNEW(&b->arena, float, tokens);
    b->trace.last_index = ARENA_ZNEW(&b->arena, uint8_t, b->S * N * s->d.C);
    b->trace.last_h = ARENA_ZNEW(&b->arena, float, b->S *N * s->d.D);
    b->trace.last_value = ARENA_ZNEW(&b->arena, float, b->S *N);
}

static inline void batch_close(struct batch *b)
{
    arena_fini(&b->arena);
}

/* Imagine the whole batch of s with s->cfg in `threads` threads. */
static inline void batch_imagine(struct batch *b, struct small *s, size_t threads)
{
    struct mag_imagine_cfg cfg = {.W = SMALL_W, .windows_max = SMALL_B, .cfg = &s->cfg};
    struct mag_imagine *im;
    struct pool *pool;
    uint32_t global[SMALL_B];
    for (uint32_t k = 0; k < SMALL_B; k++)
        global[k] = k;
    batch_open(b, s, SMALL_B);
    ck_assert_int_eq(pool_open(&pool, threads), 0);
    ck_assert_int_eq(mag_imagine_open(&im, s->m, &cfg, pool), 0);
    ck_assert_int_eq(mag_imagine_windows(im, &s->w, global, SMALL_B, &s->draws, 2, &b->rows,
                                         &b->stats, &b->trace),
                     0);
    mag_imagine_close(im);
    pool_close(pool);
}

/* All that an update needs: two epochs of PPO, two passes of R_m, the whole of s in a batch. */
struct learning {
    struct pool *pool;
    struct mag_train *t;
    struct mag_imagine *im;
    struct batch b;
};

static inline void learning_open(struct learning *l, struct small *s, size_t threads,
                                 size_t minibatch)
{
    s->cfg.train.ppo_epochs = 2;
    s->cfg.rm.passes = 2;
    *l = (struct learning){0};
    batch_open(&l->b, s, SMALL_B);
    struct mag_train_cfg tc = {.W = SMALL_W,
                               .B = SMALL_B,
                               .S = l->b.S,
                               .rows_max = l->b.S * l->b.rows.steps,
                               .minibatch = minibatch,
                               .cfg = &s->cfg};
    struct mag_imagine_cfg ic = {.W = SMALL_W, .windows_max = SMALL_B, .cfg = &s->cfg};
    ck_assert_int_eq(pool_open(&l->pool, threads), 0);
    ck_assert_int_eq(mag_train_open(&l->t, s->m, &tc, l->pool), 0);
    ck_assert_int_eq(mag_imagine_open(&l->im, s->m, &ic, l->pool), 0);
}

static inline void learning_close(struct learning *l)
{
    mag_imagine_close(l->im);
    mag_train_close(l->t);
    pool_close(l->pool);
    batch_close(&l->b);
}

/* Rows of PPO from all windows of s; key: which batch it is. */
static inline int learning_imagine(struct learning *l, struct small *s, uint64_t key)
{
    uint32_t row[SMALL_B];
    for (uint32_t i = 0; i < SMALL_B; i++)
        row[i] = i;
    return mag_imagine_windows(l->im, &s->w, row, SMALL_B, &s->draws, key, &l->b.rows,
                               &l->b.stats, NULL);
}

/* Whether every array of two batches of equal shape has the same bits. */
static inline void batch_same(const struct batch *a, const struct batch *b,
                              const struct mag_dims *d)
{
    size_t tokens = a->rows.steps * a->S * d->N;
    ck_assert_mem_eq(a->rows.index, b->rows.index, tokens * d->C);
    ck_assert_mem_eq(a->rows.h, b->rows.h, tokens * d->D * sizeof(float));
    ck_assert_mem_eq(a->rows.action, b->rows.action, tokens);
    ck_assert_mem_eq(a->rows.avail, b->rows.avail, tokens * ((d->A + 7) / 8));
    ck_assert_mem_eq(a->rows.logp, b->rows.logp, tokens * sizeof(float));
    ck_assert_mem_eq(a->rows.value, b->rows.value, tokens * sizeof(float));
    ck_assert_mem_eq(a->rows.ret, b->rows.ret, tokens * sizeof(float));
}

#endif
