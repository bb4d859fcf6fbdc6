/* SPDX-License-Identifier: Apache-2.0 */
/* learner.h - the learner as one call: what the verb `mag learner` runs.
 *
 * Threads inside (docs/threads.md): the caller's thread becomes the loop (sockets, sessions,
 * leases), a store thread owns run.db, a trainer thread owns the parameters, a pool computes.
 * Signals: SIGTERM and SIGINT save and stop, SIGUSR1 saves and goes on; a second SIGTERM or
 * SIGINT stops at once. One learner per process. */
#ifndef LEARNER_LEARNER_H
#define LEARNER_LEARNER_H

#include "base/config.h"

#include <stdbool.h>

struct learner_cfg {
    const struct config *cfg; /* resolved; an empty run_dir makes a new one under runs/ */
    int argc;                 /* recorded in run.json */
    char *const *argv;
    const char *version;  /* of the program, e.g. "0.1.0"; half of the run's pin */
    const char *revision; /* of the source, "" if not built in */
    bool final_eval;      /* one evaluation after the last iteration */
};

/* Runs until training is complete, a signal or DRAIN_ALL. Returns an exit status of base/err.h:
 * EXIT_OK when finished or stopped on request with everything saved, EXIT_INTERNAL when two
 * computations of one thing differed or a job could not be done by anyone. */
int learner_main(const struct learner_cfg *lc);

#endif
