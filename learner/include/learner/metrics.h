/* SPDX-License-Identifier: Apache-2.0 */
/* metrics.h - metrics.jsonl and TensorBoard event files, derived from what the trainer reports.
 *
 * The truth is run.db; these files are for tools. Names are stable and documented
 * (docs/metrics.md). The x-axis is env_steps. One writer per run directory; on resume the files
 * are cut back to the checkpoint. Used by the trainer thread only. */
#ifndef LEARNER_METRICS_H
#define LEARNER_METRICS_H

#include <stddef.h>
#include <stdint.h>

struct metrics; /* opaque */

/* On resume, iteration_cut is the checkpoint's iteration: lines of it and of later ones go, for
 * they will be written again (a checkpoint in the middle of an iteration has that iteration's
 * env_steps, so steps alone could not tell), and so do events past the last line that stays.
 * UINT64_MAX keeps all. */
int metrics_open(struct metrics **out, const char *run_dir, uint64_t iteration_cut);
void metrics_close(struct metrics *m);

struct metric {
    const char *name; /* "train/win_rate", "wm/kl", ... */
    double value;     /* non-finite values are written as null and left out of TensorBoard */
};
/* One line {"iteration":..,"env_steps":..,"time":..,"name":value,...} and one event per value. */
int metrics_write(struct metrics *m, uint64_t iteration, uint64_t env_steps, double elapsed_s,
                  const struct metric *values, size_t n);
int metrics_flush(struct metrics *m);

#endif
