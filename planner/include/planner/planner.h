/* SPDX-License-Identifier: Apache-2.0 */
/* planner.h - the planner as one call: what the verb `mag planner` runs.
 *
 * A planner asks for jobs (WANT), fetches the weights each names, imagines with planning from
 * the job's windows (mag_imagine_windows), and returns the transitions in parts, one per
 * window, which it keeps until the learner says it has them.
 * Threads: the caller's becomes the loop (session, results); one compute thread works through
 * the jobs with a pool of compute.threads. */
#ifndef PLANNER_PLANNER_H
#define PLANNER_PLANNER_H

#include "base/config.h"

#include <stdint.h>

enum { PLANNER_SLOTS_DEFAULT = 2, PLANNER_SLOTS_MAX = 8 };

struct planner_cfg {
    const struct config *cfg; /* local keys: service.*, compute.*, log.*; the run's keys come
                                 from the learner */
    const char *state_dir;    /* keeps the worker's id over restarts; NULL or "": none */
    uint32_t slots;           /* jobs at once: one computed, the others queued so that it never
                                 idles; 0: PLANNER_SLOTS_DEFAULT */
    const char *version;      /* of the program, as the learner's (`mag version`) */
};

/* Serves until the run is complete, DRAIN, or a signal; jobs are abandoned then (their leases
 * return with BYE). Returns an exit status of base/err.h: EXIT_OK, EXIT_UNAVAILABLE (no learner
 * within service.connect_timeout_s), EXIT_CONFIG (refused, or cannot match the run's pin),
 * EXIT_INTERNAL (a job could not be computed). Logs why. */
int planner_main(const struct planner_cfg *c);

#endif
