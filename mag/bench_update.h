/* SPDX-License-Identifier: Apache-2.0 */
/* bench_update.h - where the time of one MAG update goes, phase by phase.
 *
 * Every phase runs the code that trains on windows of episodes that were really played, with
 * all counts of the configuration: model steps, R_m steps, imagined batches, PPO epochs. Only
 * such a run has a whole-update figure; a sampled one measures a part of every phase, scales,
 * and says so. While it runs, every call of the kernel table and of the draws is timed per
 * thread (about 40 ns each): that tells products from the rest. */
#ifndef MAG_BENCH_UPDATE_H
#define MAG_BENCH_UPDATE_H

#include "base/config.h"

#include <jansson.h>
#include <stdbool.h>

/* phases: "all", or names separated by commas (model,rm,imagine,ppo,act). Prints a table, or
 * fills `out` if it is not NULL. Exit status, after one line on stderr if not 0. */
int bench_update(const char *verb, const struct config *cfg, const char *phases, bool sample,
                 json_t *out);

#endif
