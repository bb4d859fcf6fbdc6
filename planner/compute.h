/* SPDX-License-Identifier: Apache-2.0 */
/* compute.h - the compute thread: jobs in, packed RESULT parts out. */
#ifndef PLANNER_COMPUTE_H
#define PLANNER_COMPUTE_H

#include "desk.h"

#include "work/fetch.h"
#include "work/worker.h"

struct compute; /* opaque */

struct compute_cfg {
    const struct worker_run *run; /* outlives it */
    void (*bell)(void *arg);      /* rung from the compute thread */
    void *arg;
};

/* Opens model, work space and pool, starts the thread. ERR_* with err_text(). */
int compute_open(struct compute **out, const struct compute_cfg *c);
size_t compute_bytes(const struct compute *c); /* reserved, about */
/* Stop after the job in hand; `wait_ms` < 0: however long it takes. False: still busy, nothing
 * was freed. */
bool compute_close(struct compute *c, int64_t wait_ms);

/* Compute this job (message and weights are taken over, also on failure). Loop thread. */
int compute_push(struct compute *c, const struct wire_job *job, struct link_msg *msg,
                 struct blob_set *weights);
/* Do not begin this job if it has not begun. Loop thread. */
void compute_cancel(struct compute *c, uint64_t job_id);

struct computed {
    uint64_t job_id;
    int err; /* 0, ERR_INTERRUPTED (cancelled), or what went wrong, with text */
    char text[256];
    struct part *part;
    uint32_t parts;
    size_t tokens; /* mag_plan_tokens */
    int64_t run_ms;
};
struct computed *compute_take(struct compute *c); /* or NULL; free() it, parts go on */

/* How far the job in hand is cannot be told; whether there is one can. Any thread. */
uint64_t compute_running(const struct compute *c); /* job_id, UINT64_MAX: none */

#endif
