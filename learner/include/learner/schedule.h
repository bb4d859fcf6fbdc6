/* SPDX-License-Identifier: Apache-2.0 */
/* schedule.h - lockstep's order of things, as plain functions of counters.
 *
 *   iteration 0   episodes, E at a time, until D_e holds replay.min records; then the warm-up
 *                 steps of model and R_m; no policy update
 *   iteration k   E episodes -> model steps -> R_m steps -> imagined batches
 *
 * The update counts of mag.md 13 are per episode: times E, unless collect.scale_updates is
 * off. Where a run stands is (iteration, phase, step): all a cut needs to remember. */
#ifndef LEARNER_SCHEDULE_H
#define LEARNER_SCHEDULE_H

#include "base/config.h"
#include "learner/ckpt.h"

struct schedule_counts {
    uint64_t episodes; /* per collection */
    uint64_t model_steps, rm_steps, batches;
};
void schedule_counts(const struct config *cfg, uint64_t iteration, struct schedule_counts *out);

/* Share of the configured learning rates that an iteration uses, 1 before lr.anneal begins to
 * act: rates that fall leave the last policies less to chance. A function of the iteration
 * alone, so that a resumed run goes on with the same bits. */
double schedule_rate(const struct config *cfg, uint64_t iteration);

/* Steps of a phase; COLLECT counts as one. */
uint64_t schedule_phase_steps(const struct schedule_counts *c, enum train_phase phase);

/* A collection of this many records in D_e: may training start (iteration 0), or is it done
 * anyway (later iterations)? */
bool schedule_collected(const struct config *cfg, uint64_t iteration, uint64_t records);

/* One step of the present phase is done: where the run stands now. Empty phases are passed
 * over. True when this ended the iteration. */
bool schedule_advance(const struct config *cfg, struct ckpt_state *st);
/* The same for "this phase is complete". */
bool schedule_next_phase(const struct config *cfg, struct ckpt_state *st);

/* Which bound was reached between iterations; NULL: go on. iterations count from 1. */
const char *schedule_stop(const struct config *cfg, const struct ckpt_state *st,
                          double elapsed_s);

/* Evaluations use two rounds each: even greedy, odd sampled. True if one is due before the
 * iteration `st` stands at. */
bool schedule_eval_due(const struct config *cfg, const struct ckpt_state *st);

#endif
