/* SPDX-License-Identifier: Apache-2.0 */
/* worker_hello.h - what a worker says of itself, and what it makes of the answer. */
#ifndef WORK_WORKER_HELLO_H
#define WORK_WORKER_HELLO_H

#include "work/worker.h"

/* The HELLO of this process; run_id: of the last run, zeros for none. */
void hello_fill(struct wire_hello *h, const struct worker_cfg *c,
                const unsigned char worker_id[WIRE_ID], uint64_t incarnation,
                const unsigned char run_id[WIRE_ID]);

/* Understand a WELCOME: configuration, environment, pin. ERR_CONFIG or ERR_UNSUPPORTED with
 * err_text() when this worker cannot take part: the program exits with EXIT_CONFIG. */
int welcome_understand(struct worker_run *run, const struct worker_cfg *c,
                       const struct wire_welcome *w);

#endif
