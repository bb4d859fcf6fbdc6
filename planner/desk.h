/* SPDX-License-Identifier: Apache-2.0 */
/* desk.h - the jobs a planner answers for, from JOB to RESULT_ACK.
 *
 *     WAITING (weights) -> QUEUED (compute thread) -> READY -> SENT -> acknowledged
 *                                                       ^--------'  resend, a new session
 *
 * A pure state machine: no sockets, no clock. Loop thread only. */
#ifndef PLANNER_DESK_H
#define PLANNER_DESK_H

#include "net/link.h"
#include "proto/wire.h"
#include "work/worker.h"

#include <stdbool.h>

enum task_state { TASK_FREE, TASK_WAITING, TASK_QUEUED, TASK_READY, TASK_SENT };
enum { DESK_MAX = 16, DESK_UNACKED_MAX = 4 };

struct part {
    unsigned char *body; /* RESULT, token to be filled in */
    size_t n;
};

struct task {
    enum task_state state;
    struct wire_job job;  /* views into msg while WAITING */
    struct link_msg *msg; /* owned while WAITING */
    bool cancelled;       /* dropped when the compute thread is done with it */
    struct part *part;    /* READY, SENT */
    uint32_t parts;
    int64_t sent_ms;
    unsigned resends;
};

struct desk {
    struct task t[DESK_MAX];
    struct worker_rtt rtt;
};

/* Place a job. NULL: held already (its attempt is taken over) or no room; msg stays the
 * caller's then. */
struct task *desk_add(struct desk *d, const struct wire_job *j, struct link_msg *msg);
struct task *desk_find(struct desk *d, uint64_t job_id);
/* The newest set's first in line: lowest index that waits, or NULL. */
size_t desk_count(const struct desk *d, enum task_state s);
/* Jobs that could be taken now, given `slots`: 0 while too many results are unacknowledged. */
uint32_t desk_free(const struct desk *d, uint32_t slots);

void desk_ready(struct task *t, struct part *part, uint32_t parts); /* takes them over */
void desk_drop(struct task *t);
void desk_clear(struct desk *d);
/* CANCEL: true if it is gone at once. */
bool desk_cancel(struct desk *d, uint64_t job_id);
void desk_ack(struct desk *d, const struct wire_result_ack *a, int64_t now_ms);
void desk_welcome(struct desk *d);
void desk_tick(struct desk *d, int64_t now_ms);

#endif
