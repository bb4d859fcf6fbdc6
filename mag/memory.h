/* SPDX-License-Identifier: Apache-2.0 */
/* memory.h - how much memory a configuration needs, by part, before anything is started. */
#ifndef MAG_MEMORY_H
#define MAG_MEMORY_H

#include "base/config.h"
#include "env/env.h"

#include <stddef.h>
#include <stdio.h>

/* Bytes, for one machine running cfg's learner, actors and planners. */
struct memory_budget {
    size_t replay, learner_model, learner_work, policy_rows, ingest; /* learner */
    size_t actor, planner;                                           /* each process */
    size_t total;
};
int memory_budget(struct memory_budget *out, const struct config *cfg,
                  const struct env_spec *spec);
void memory_print(const struct memory_budget *b, const struct config *cfg, FILE *out);

/* Bytes this machine (or its container) can still give. */
size_t memory_available(void);

#endif
