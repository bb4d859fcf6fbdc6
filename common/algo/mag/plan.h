/* SPDX-License-Identifier: Apache-2.0 */
/* plan.h - the choice among candidates, and its statistics (private to the room; plan.c). */
#ifndef MAG_PLAN_H
#define MAG_PLAN_H

#include "algo/mag.h"

/* Scores lie as scores[j*stride + p], candidate j of start p. */

/* choice[p] = the candidate of least score, per start; ties to the lowest. */
void plan_choose(uint32_t *choice, const float *scores, size_t L, size_t P, size_t stride);

/* The same for one list of L mean scores (batch-wide choice). */
size_t plan_best(const double *score, size_t L);

/* Add one imagined step of P starts to the statistics. */
void plan_account(struct mag_plan_stats *st, const uint32_t *choice, const float *scores,
                  size_t L, size_t P, size_t stride);

#endif
