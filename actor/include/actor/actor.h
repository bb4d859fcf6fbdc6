/* SPDX-License-Identifier: Apache-2.0 */
/* actor.h - the actor as one call: what the verb `mag actor` runs.
 *
 * An actor is told which episodes to play (PLAY), fetches the weights each names, plays several
 * at once in one batch, and keeps every finished episode until the learner says it is stored.
 * Threads: the caller's becomes the loop (session, uploads); one environment thread plays. */
#ifndef ACTOR_ACTOR_H
#define ACTOR_ACTOR_H

#include "base/config.h"

#include <stdint.h>

enum { ACTOR_SLOTS_DEFAULT = 4, ACTOR_SLOTS_MAX = 32 };

struct actor_cfg {
    const struct config *cfg; /* local keys: service.*, compute.*, log.*; the run's keys come
                                 from the learner */
    const char *state_dir;    /* keeps the worker's id over restarts; NULL or "": none */
    uint32_t slots;           /* environments stepped together; 0: ACTOR_SLOTS_DEFAULT */
    const char *version;      /* of the program, as the learner's (`mag version`) */
};

/* Serves until the run is complete, DRAIN, or a signal (SIGTERM, SIGINT: finish short episodes,
 * upload, leave; a second one leaves at once). Returns an exit status of base/err.h: EXIT_OK,
 * EXIT_UNAVAILABLE (no learner within service.connect_timeout_s, or an environment that keeps
 * failing), EXIT_CONFIG (refused, or cannot match the run's pin). Logs why. */
int actor_main(const struct actor_cfg *c);

#endif
