/* SPDX-License-Identifier: Apache-2.0 */
/* bench_half.h - what half precision in planning costs and gains (imagine.precision).
 *
 * SPEED    The same windows are imagined in float32 and in half precision, in turn, by one
 *          thread; time is that thread's own. Product rates beside it.
 * CHOICES  Where both looked ahead from the same state with the same random numbers: how often
 *          they keep the same candidate, and what the other choice costs by float32's scores,
 *          as a share of what planning gains there (mean score less least score). A candidate
 *          differs mostly because a rounded probability let one inner draw fall elsewhere, so a
 *          third look ahead says how much such luck matters anyhow: float32 with other inner
 *          draws.
 *
 * States: those of a run's own episodes and weights (`run`), and what is imagined from them as
 * long as all earlier choices agree; without a run, made-up windows and initial weights, where
 * only the speed means something. */
#ifndef MAG_BENCH_HALF_H
#define MAG_BENCH_HALF_H

#include "base/config.h"

#include <jansson.h>

/* run: a run directory or a checkpoint, whose settings then count instead of cfg's except
 * compute.*; or NULL. Each of the two precisions gets about `seconds`. Prints, or fills `out`
 * if it is not NULL. Exit status, after one line on stderr if not 0. */
int bench_half(const char *verb, const struct config *cfg, const char *run, double seconds,
               json_t *out);

#endif
