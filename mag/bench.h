/* SPDX-License-Identifier: Apache-2.0 */
/* bench.h - what this machine does per second, part by part.
 *
 * Each figure runs the code that trains, on made-up windows, for about `seconds`. Absolute
 * figures of shared machines are noisy: compare ratios within one run. */
#ifndef MAG_BENCH_H
#define MAG_BENCH_H

#include "base/config.h"

struct bench_env {
    char map[CONFIG_NAME];
    double steps_per_s;       /* one environment */
    double batch_steps_per_s; /* BENCH_BATCH in lock-step, all of them together */
    double mean_length;       /* steps of an episode */
};
enum { BENCH_BATCH = 16 };
/* Random available actions; observations, masks and state are written at every step. One thread,
 * by its own time on a core. */
int bench_env(struct bench_env *out, const struct config *cfg, const char *map, double seconds);

struct bench_core {
    double gflops;                /* product rate of one core, large operands */
    double act_one, act_many;     /* environment steps/s of acting: 1 and 16 environments */
    double model_ms, model_share; /* per gradient step; share of the product rate */
    double rm_ms;
    double plan_tokens, plan_share; /* agent tokens of candidate rollouts a second */
    unsigned threads;
    char kernel[64];
};
/* cfg resolved (map, preset, compute.*). ERR_CONFIG, ERR_NOMEM. */
enum { BENCH_PRODUCT = 1, BENCH_ACT = 2, BENCH_MODEL = 4, BENCH_PLAN = 8 };
int bench_core(struct bench_core *out, const struct config *cfg, unsigned what, double seconds);

#endif
