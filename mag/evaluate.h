/* SPDX-License-Identifier: Apache-2.0 */
/* evaluate.h - evaluation episodes in this process, for `mag eval` and the end of `mag train`.
 *
 * Greedy (arg max of the masked logits) and sampled, with EVAL keys: episode k starts from the
 * same seed at every evaluation, disjoint from training's and from those by which a run chooses
 * its best checkpoint, which is the one that is played where a run keeps it (ckpt.best). */
#ifndef MAG_EVALUATE_H
#define MAG_EVALUATE_H

#include "base/config.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct eval_request {
    const char *path; /* a run or a checkpoint; NULL: policy below, settings in cfg */
    const char
        *policy; /* "random", "untrained", or a scripted one ("attack_nearest", "kiting") */
    const struct config *cfg; /* NULL: the run's own */
    uint32_t episodes;        /* of each kind */
    uint64_t seed;            /* 0: the run's */
    const char
        *record; /* film of the greedy (or scripted) episodes: file or directory; or NULL */
};

struct eval_side {
    uint32_t wins, episodes;
    double win_rate, lo, hi; /* 95 % Wilson interval */
    double mean_return, mean_length;
};

struct eval_report {
    char map[CONFIG_NAME], policy[CONFIG_NAME], checkpoint[CONFIG_PATH * 4];
    uint64_t set_id, seed, iteration, env_steps;
    uint32_t episodes;
    bool best;                        /* the run's best checkpoint, not simply its newest */
    struct eval_side greedy, sampled; /* a scripted or random policy fills `sampled` only */
    char film[4096];                  /* where the film went, or "" */
};

/* ERR_NOTFOUND, ERR_CONFIG, ERR_CORRUPT with err_text(). */
int evaluate_run(const struct eval_request *request, struct eval_report *out);

void eval_print(const struct eval_report *r, FILE *out); /* for people */
int eval_json(const struct eval_report *r, FILE *out);

#endif
