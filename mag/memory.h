/* SPDX-License-Identifier: Apache-2.0 */
/* memory.h - how much memory a configuration needs, by part, before anything is started. */
#ifndef MAG_MEMORY_H
#define MAG_MEMORY_H

#include "base/config.h"
#include "env/env.h"

#include <stddef.h>
#include <stdio.h>

/* One role's memory by part, in bytes; part names are for people. */
enum { MEMORY_PARTS = 12 };
struct memory_part {
    char what[48];
    size_t bytes;
};
struct memory_role {
    struct memory_part part[MEMORY_PARTS];
    size_t count, total;
};

/* Upper bounds for cfg's roles, each process, and for all of them on one machine. Opens and
 * closes the networks (milliseconds, touches about 20 MB). ERR_NOMEM, ERR_INVAL. */
struct memory_budget {
    struct memory_role learner, planner, actor;
    size_t total;
};
int memory_budget(struct memory_budget *out, const struct config *cfg,
                  const struct env_spec *spec);
void memory_print(const struct memory_budget *b, const struct config *cfg, FILE *out);

#endif
