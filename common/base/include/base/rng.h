/* SPDX-License-Identifier: Apache-2.0 */
/* rng.h - random numbers keyed by what they are for, never by who asks or when.
 *
 * Philox4x32-10 (Salmon et al., SC 2011), key = seed. The counter of draw number `draw` is
 *   c0 = draw >> 2 (word = draw & 3)   c1 = item bits 0-31
 *   c2 = item bits 32-39 << 24 | sub   c3 = domain << 24 | iteration
 * so any draw can be made anywhere, in any order, with the same bits.
 *
 * Consumers get a `const struct draws *` and call draws_fill: production passes Philox,
 * the parity program passes recorded arrays, and the code under test is the code that trains. */
#ifndef BASE_RNG_H
#define BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

/* Numbers are part of the contract: append, never renumber. Comment: item; sub; draw. */
enum draw_domain {
    DRAW_INIT = 1,       /* parameter row; 0; element */
    DRAW_ENV,            /* episode_no -> 64-bit seed */
    DRAW_ACT_LATENT,     /* episode; step; agent*C + categorical */
    DRAW_ACT_ACTION,     /* episode; step; agent */
    DRAW_ABSORB,         /* episode; 0; agent */
    DRAW_WINDOW_MODEL,   /* gradient step; row; try */
    DRAW_WINDOW_RM,      /* gradient step; row; try */
    DRAW_WINDOW_IMAGINE, /* batch; row; try */
    DRAW_DROPOUT,        /* step; (layer*4 + site) << 16 | t; element */
    DRAW_POST_MODEL,     /* step; t; (row*N + agent)*C + categorical */
    DRAW_POST_RM,
    DRAW_PRIOR_RM,
    DRAW_POST_RM2,
    DRAW_PRIOR_RM2,
    DRAW_POST_START,    /* batch; t; (row*N + agent)*C + categorical */
    DRAW_IM_AVAIL,      /* batch << 20 | start; i; agent*A + action */
    DRAW_IM_ACT,        /* batch << 20 | start; i; agent */
    DRAW_PLAN_LATENT,   /* batch << 20 | start; i << 16 | j << 8 | tau; agent*C + categorical */
    DRAW_PLAN_AVAIL,    /* likewise; agent*A + action */
    DRAW_PLAN_ACT,      /* likewise; agent */
    DRAW_PERM,          /* batch << 20 | epoch; 0; k */
    DRAW_EVAL_ENV,      /* k -> 64-bit seed */
    DRAW_EVAL_LATENT,   /* k; step; agent*C + categorical */
    DRAW_EVAL_ACT,      /* k; step; agent */
    DRAW_METRIC_WINDOW, /* DRAW_METRIC_x is keyed as x: figures change no weight */
    DRAW_METRIC_POST,
    DRAW_METRIC_PRIOR,
    DRAW_METRIC_IM_AVAIL,
    DRAW_METRIC_IM_ACT,
    DRAW_METRIC_PLAN_LATENT,
    DRAW_METRIC_PLAN_AVAIL,
    DRAW_METRIC_PLAN_ACT,
    DRAW_METRIC_BOOTSTRAP,
    DRAW_EPS_MPC, /* batch << 20 | start; i; 0 */
    DRAW_DOMAINS
};

/* sites of DRAW_DROPOUT */
enum drop_site { DROP_ATTN, DROP_OUT, DROP_FF, DROP_FFOUT };

/* A source of draws. `words` may be NULL (recordings hold uniforms only). */
struct draws {
    void (*fill)(void *state, enum draw_domain domain, uint64_t item, uint32_t sub, float *u,
                 size_t n);
    void (*words)(void *state, enum draw_domain domain, uint64_t item, uint32_t sub,
                  uint32_t *w, size_t n);
    void *state;
};

/* Draws 0..n-1 of (domain, item, sub), uniform in [0,1): multiples of 2^-24. Any thread. */
static inline void draws_fill(const struct draws *d, enum draw_domain domain, uint64_t item,
                              uint32_t sub, float *u, size_t n)
{
    d->fill(d->state, domain, item, sub, u, n);
}

/* The same draws as raw 32-bit words. */
static inline void draws_words(const struct draws *d, enum draw_domain domain, uint64_t item,
                               uint32_t sub, uint32_t *w, size_t n)
{
    d->words(d->state, domain, item, sub, w, n);
}

/* Philox as a source. `iteration` enters the counter of every domain but INIT, ENV, ACT_*,
 * ABSORB and EVAL_*. The struct must outlive the draws that point to it. */
struct philox {
    uint64_t seed;
    uint32_t iteration; /* < 2^24 */
};
struct draws philox_draws(struct philox *p);

/* One block: out = Philox4x32-10(counter, key). */
void philox4x32(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2]);

/* Integer in [0, n) from a word; 64-bit seed from words 0 and 1 of (domain, item). */
static inline uint32_t word_below(uint32_t word, uint32_t n)
{
    return (uint32_t)(((uint64_t)word * n) >> 32);
}
uint64_t draws_seed(const struct draws *d, enum draw_domain domain, uint64_t item);

/* A sequential generator for simulators (SplitMix64-seeded xoshiro256**): one per environment,
 * seeded per episode. */
struct rng {
    uint64_t s[4];
};
void rng_seed(struct rng *r, uint64_t seed);
uint64_t rng_u64(struct rng *r);
uint32_t rng_below(struct rng *r, uint32_t n); /* uniform in [0, n), n > 0, unbiased */
double rng_unit(struct rng *r);                /* [0,1), 53 bits */

#endif
