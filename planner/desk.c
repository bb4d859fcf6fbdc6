/* SPDX-License-Identifier: Apache-2.0 */
/* desk.c - answer every job once it is done, again and again, until the learner has it.
 *
 * WHY  Jobs are leased: if this planner dies, another computes the same numbers. So nothing
 * here needs to last, but a finished result costs seconds to make again: it is kept until
 * RESULT_ACK, whatever happens to the session meanwhile.
 *
 * BOUND  Results are megabytes. While DESK_UNACKED_MAX of them wait for their ACK, no new jobs
 * are asked for. */
#include "desk.h"

#include <stdlib.h>
#include <string.h>

struct task *desk_find(struct desk *d, uint64_t job_id)
{
    for (size_t i = 0; i < DESK_MAX; i++) {
        if (d->t[i].state != TASK_FREE && d->t[i].job.job_id == job_id)
            return &d->t[i];
    }
    return NULL;
}

struct task *desk_add(struct desk *d, const struct wire_job *j, struct link_msg *msg)
{
    struct task *t = desk_find(d, j->job_id);
    if (t) {
        t->job.attempt = j->attempt;
        t->cancelled = false;
        return NULL;
    }
    for (size_t i = 0; i < DESK_MAX; i++) {
        t = &d->t[i];
        if (t->state != TASK_FREE)
            continue;
        memset(t, 0, sizeof *t);
        t->state = TASK_WAITING;
        t->job = *j;
        t->msg = msg;
        return t;
    }
    return NULL;
}

size_t desk_count(const struct desk *d, enum task_state s)
{
    size_t n = 0;
    for (size_t i = 0; i < DESK_MAX; i++)
        n += d->t[i].state == s;
    return n;
}

uint32_t desk_free(const struct desk *d, uint32_t slots)
{
    size_t work = desk_count(d, TASK_WAITING) + desk_count(d, TASK_QUEUED);
    size_t unacked = desk_count(d, TASK_READY) + desk_count(d, TASK_SENT);
    return work >= slots || unacked >= DESK_UNACKED_MAX ? 0 : slots - (uint32_t)work;
}

static void free_parts(struct part *part, uint32_t parts)
{
    for (uint32_t i = 0; part && i < parts; i++)
        free(part[i].body);
    free(part);
}

void desk_ready(struct task *t, struct part *part, uint32_t parts)
{
    t->state = TASK_READY;
    t->part = part;
    t->parts = parts;
}

void desk_drop(struct task *t)
{
    link_msg_free(t->msg);
    free_parts(t->part, t->parts);
    memset(t, 0, sizeof *t);
}

void desk_clear(struct desk *d)
{
    for (size_t i = 0; i < DESK_MAX; i++)
        desk_drop(&d->t[i]);
}

bool desk_cancel(struct desk *d, uint64_t job_id)
{
    struct task *t = desk_find(d, job_id);
    if (!t)
        return false;
    if (t->state == TASK_QUEUED) {
        t->cancelled = true; /* the compute thread has it */
        return false;
    }
    desk_drop(t);
    return true;
}

void desk_ack(struct desk *d, const struct wire_result_ack *a, int64_t now_ms)
{
    struct task *t = desk_find(d, a->job_id);
    if (!t)
        return;
    if (t->state == TASK_QUEUED) {
        t->cancelled = true; /* someone else was faster */
        return;
    }
    if (t->state == TASK_SENT && t->resends == 0)
        worker_rtt_add(&d->rtt, now_ms - t->sent_ms);
    desk_drop(t);
}

static void send_again(struct task *t)
{
    t->state = TASK_READY;
    t->resends++;
}

void desk_welcome(struct desk *d)
{
    for (size_t i = 0; i < DESK_MAX; i++) {
        if (d->t[i].state == TASK_SENT)
            send_again(&d->t[i]);
    }
}

void desk_tick(struct desk *d, int64_t now_ms)
{
    for (size_t i = 0; i < DESK_MAX; i++) {
        struct task *t = &d->t[i];
        if (t->state == TASK_SENT &&
            now_ms - t->sent_ms >= worker_rtt_timeout(&d->rtt, t->resends))
            send_again(t);
    }
}
