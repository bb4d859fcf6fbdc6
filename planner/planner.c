/* SPDX-License-Identifier: Apache-2.0 */
/* planner.c - the loop's side of a planner: JOBs in, RESULTs out.
 *
 * The session is common/work's, the imagination compute.c's, what is owed to the learner is
 * desk.c's. This file connects the three.
 *
 * FLOW  WANT says how many jobs could be taken now. It is sent when a session begins, when a
 * job leaves, and with every heartbeat while there is room: it is absolute, so that a lost one
 * costs a second, not a job. By default two jobs are held: one computed, one ready to follow.
 *
 * LEAVING  Jobs are abandoned, finished results get a moment to be acknowledged: any other
 * planner computes the same numbers, and BYE returns the leases at once. */
#include "planner/planner.h"

#include "compute.h"
#include "desk.h"

#include "algo/mag.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fault.h"
#include "base/log.h"
#include "work/worker.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    REPORT_MS = 10000,
    BUSY_EXIT_MS = 1000,    /* how long leaving waits for the job in hand */
    UNACKED_EXIT_MS = 1500, /* and for results under way */
};

struct planner {
    struct worker *worker;
    const struct worker_run *run;
    struct compute *compute;
    struct desk desk;
    uint32_t slots;
    uint64_t set_id, done, tokens, reported, reported_tokens;
    int64_t report_ms, busy_ms, want_ms;
    bool draining;
    int64_t drain_deadline_ms;
};

/* --------------------------------------------------------------------------------- WANT */

static void send_want(struct planner *p)
{
    struct wire_want w = {.set_id = p->set_id,
                          .free_slots = p->draining ? 0 : desk_free(&p->desk, p->slots)};
    unsigned char *body;
    size_t n;
    memcpy(w.token, worker_token(p->worker), WIRE_ID);
    p->want_ms = clock_mono_ms();
    if (worker_active(p->worker) && wire_want_pack(&w, &body, &n) == 0)
        worker_send(p->worker, PLANE_DATA, WIRE_WANT, body, n);
}

/* ------------------------------------------------------------------------------ jobs in */

static void start_waiting(struct planner *p)
{
    for (size_t i = 0; i < DESK_MAX; i++) {
        struct task *t = &p->desk.t[i];
        struct blob_set *weights;
        if (t->state != TASK_WAITING)
            continue;
        enum fetch_state got = worker_weights(p->worker, &t->job.set, &weights);
        if (got == FETCH_PENDING)
            continue;
        struct link_msg *msg = t->msg;
        t->msg = NULL;
        if (got == FETCH_GONE) {
            /* No lease is renewed for it: the learner gives it away again. */
            log_warn("job dropped: its weights are gone", "job=%llu set=%llu",
                     (unsigned long long)t->job.job_id, (unsigned long long)t->job.set.set_id);
            link_msg_free(msg);
            desk_drop(t);
            continue;
        }
        p->set_id = t->job.set.set_id;
        if (compute_push(p->compute, &t->job, msg, weights))
            desk_drop(t);
        else
            t->state = TASK_QUEUED;
    }
}

static void on_job(struct planner *p, struct link_msg *m)
{
    struct wire_job job;
    if (p->draining)
        return;
    struct link_msg *kept = link_msg_take(m); /* first: the job's tensors point into it */
    if (!kept)
        return;
    int err = wire_job_parse(&job, kept->frame[1].data, kept->frame[1].n);
    if (!err)
        log_debug("job received", "job=%llu attempt=%u set=%llu",
                  (unsigned long long)job.job_id, job.attempt,
                  (unsigned long long)job.set.set_id);
    if (err)
        log_warn("job ignored", "why=\"%s\"", err_text());
    if (err || !desk_add(&p->desk, &job, kept))
        link_msg_free(kept);
    start_waiting(p);
}

static void on_cancel(struct planner *p, uint64_t job_id)
{
    if (desk_cancel(&p->desk, job_id))
        send_want(p);
    else if (desk_find(&p->desk, job_id))
        compute_cancel(p->compute, job_id);
}

/* ----------------------------------------------------------------------------- results out */

static bool send_part(struct planner *p, const struct part *part)
{
    unsigned char *copy = malloc(part->n); /* ours stays until the ACK */
    if (!copy)
        return false;
    memcpy(copy, part->body, part->n);
    wire_body_token(copy, worker_token(p->worker));
    return worker_send(p->worker, PLANE_DATA, WIRE_RESULT, copy, part->n) == 0;
}

static void send_ready(struct planner *p)
{
    for (size_t i = 0; i < DESK_MAX && worker_active(p->worker); i++) {
        struct task *t = &p->desk.t[i];
        if (t->state != TASK_READY)
            continue;
        uint32_t k = 0;
        while (k < t->parts && send_part(p, &t->part[k])) {
            fault_point("planner.result.part");
            k++;
        }
        if (k < t->parts)
            return; /* all of it again at the next tick: parts are idempotent */
        t->state = TASK_SENT;
        t->sent_ms = clock_mono_ms();
    }
}

static void drop_parts(struct computed *d)
{
    for (uint32_t k = 0; d->part && k < d->parts; k++)
        free(d->part[k].body);
    free(d->part);
}

static void on_computed(struct planner *p, struct computed *d)
{
    struct task *t = desk_find(&p->desk, d->job_id);
    if (!t || t->state != TASK_QUEUED || t->cancelled || d->err) {
        drop_parts(d);
        if (t && t->state == TASK_QUEUED)
            desk_drop(t);
        if (d->err && d->err != ERR_INTERRUPTED) {
            log_error("job failed", "job=%llu why=\"%s\"", (unsigned long long)d->job_id,
                      d->text);
            worker_exit(p->worker, EXIT_INTERNAL, "a job could not be computed");
        }
        return;
    }
    desk_ready(t, d->part, d->parts);
    p->done++;
    p->tokens += d->tokens;
    p->busy_ms += d->run_ms;
    log_debug("job done", "job=%llu tokens=%zu ms=%lld", (unsigned long long)d->job_id,
              d->tokens, (long long)d->run_ms);
}

static void on_wake(void *arg)
{
    struct planner *p = arg;
    struct computed *d;
    while (p->compute && (d = compute_take(p->compute))) {
        on_computed(p, d);
        free(d);
    }
    if (!p->compute)
        return; /* on_computed may have ended the program */
    send_ready(p);
    send_want(p);
}

static void on_data(void *arg, enum wire_type type, struct link_msg *m)
{
    struct planner *p = arg;
    struct wire_result_ack ack;
    struct wire_cancel cancel;
    const unsigned char *b = m->frame[1].data;
    size_t n = m->frame[1].n;
    if (type == WIRE_JOB) {
        on_job(p, m);
    } else if (type == WIRE_RESULT_ACK && wire_result_ack_parse(&ack, b, n) == 0) {
        uint32_t before = desk_free(&p->desk, p->slots);
        if (ack.verdict != VERDICT_ACCEPTED)
            log_debug("result not used", "job=%llu verdict=%u", (unsigned long long)ack.job_id,
                      ack.verdict);
        desk_ack(&p->desk, &ack, clock_mono_ms());
        if (desk_free(&p->desk, p->slots) != before)
            send_want(p);
    } else if (type == WIRE_CANCEL && wire_cancel_parse(&cancel, b, n) == 0) {
        on_cancel(p, cancel.job_id);
    }
}

/* -------------------------------------------------------------------------------- session */

static void on_bell(void *arg)
{
    struct planner *p = arg;
    worker_wake(p->worker);
}

static int on_start(void *arg, const struct worker_run *run)
{
    struct planner *p = arg;
    struct compute_cfg cc = {.run = run, .bell = on_bell, .arg = p};
    int err = compute_open(&p->compute, &cc);
    if (err)
        return err;
    p->run = run;
    log_info("ready to plan",
             "threads=%u candidates=%u horizon=%u steps=%u job_windows=%u "
             "reserved_mb=%zu",
             run->cfg.compute.threads ? run->cfg.compute.threads : 1,
             run->cfg.imagine.candidates, run->cfg.imagine.horizon, run->cfg.imagine.steps,
             run->cfg.job.windows, compute_bytes(p->compute) >> 20);
    return 0;
}

static bool on_stop(void *arg, bool final)
{
    struct planner *p = arg;
    struct compute *c = p->compute;
    p->compute = NULL;
    desk_clear(&p->desk);
    return !c || compute_close(c, final ? BUSY_EXIT_MS : -1);
}

static void on_welcome(void *arg, uint64_t durable_seq)
{
    struct planner *p = arg;
    (void)durable_seq; /* episodes only */
    desk_welcome(&p->desk);
    start_waiting(p);
    send_want(p); /* binds the data plane to the session */
    send_ready(p);
}

static void on_weights(void *arg)
{
    struct planner *p = arg;
    start_waiting(p);
    send_want(p);
}

static void on_ping(void *arg, struct wire_ping *m)
{
    struct planner *p = arg;
    m->set_id = p->set_id;
    m->done = p->done;
    m->queue = (uint32_t)(desk_count(&p->desk, TASK_READY) + desk_count(&p->desk, TASK_SENT));
    uint64_t running = compute_running(p->compute);
    for (size_t i = 0; i < DESK_MAX; i++) {
        const struct task *t = &p->desk.t[i];
        if (t->state == TASK_FREE || t->cancelled)
            continue;
        m->running[m->running_count++] = (struct wire_running){
            .job_id = t->job.job_id,
            .attempt = t->job.attempt,
            .percent = t->state >= TASK_READY     ? 100
                       : t->job.job_id == running ? 50
                                                  : 0,
        };
    }
}

/* -------------------------------------------------------------------------------- leaving */

static void on_drain(void *arg, int64_t deadline_ms)
{
    struct planner *p = arg;
    int64_t soon = clock_mono_ms() + UNACKED_EXIT_MS;
    if (!p->draining)
        p->drain_deadline_ms = deadline_ms < soon ? deadline_ms : soon;
    else if (deadline_ms < p->drain_deadline_ms)
        p->drain_deadline_ms = deadline_ms;
    p->draining = true;
}

static void tick_drain(struct planner *p, int64_t now)
{
    size_t unacked = desk_count(&p->desk, TASK_READY) + desk_count(&p->desk, TASK_SENT);
    if (!unacked || now >= p->drain_deadline_ms)
        worker_exit(p->worker, EXIT_OK, "drained");
}

static void report(struct planner *p, int64_t now)
{
    if (!p->report_ms)
        p->report_ms = now;
    if (now - p->report_ms < REPORT_MS)
        return;
    double s = (double)(now - p->report_ms) / 1000.0;
    log_info("planning",
             "jobs=%llu jobs_per_s=%.2f tokens_per_s=%.0f busy=%.0f%% held=%zu "
             "unacknowledged=%zu set=%llu",
             (unsigned long long)p->done, (double)(p->done - p->reported) / s,
             (double)(p->tokens - p->reported_tokens) / s, (double)p->busy_ms / s / 10.0,
             desk_count(&p->desk, TASK_WAITING) + desk_count(&p->desk, TASK_QUEUED),
             desk_count(&p->desk, TASK_READY) + desk_count(&p->desk, TASK_SENT),
             (unsigned long long)p->set_id);
    p->report_ms = now;
    p->reported = p->done;
    p->reported_tokens = p->tokens;
    p->busy_ms = 0;
}

static void on_tick(void *arg, int64_t now)
{
    struct planner *p = arg;
    desk_tick(&p->desk, now);
    if (worker_active(p->worker)) {
        start_waiting(p);
        send_ready(p);
        if (now - p->want_ms >= (int64_t)p->run->cfg.net_link.heartbeat_ms &&
            desk_free(&p->desk, p->slots))
            send_want(p);
    }
    report(p, now);
    if (p->draining)
        tick_drain(p, now);
}

static const struct worker_role planner_role = {
    .start = on_start,
    .stop = on_stop,
    .welcome = on_welcome,
    .data = on_data,
    .weights = on_weights,
    .ping = on_ping,
    .drain = on_drain,
    .wake = on_wake,
    .tick = on_tick,
};

int planner_main(const struct planner_cfg *c)
{
    struct planner *p = calloc(1, sizeof *p);
    if (!p)
        return EXIT_INTERNAL;
    p->slots = c->slots ? c->slots : PLANNER_SLOTS_DEFAULT;
    struct worker_cfg wc = {.role = ROLE_PLANNER,
                            .name = "planner",
                            .version = c->version,
                            .cfg = c->cfg,
                            .state_dir = c->state_dir,
                            .slots = p->slots,
                            .needs = MAG_NEEDS_PLANNER,
                            .ops = &planner_role,
                            .arg = p};
    int status = EXIT_CONFIG;
    if (p->slots > PLANNER_SLOTS_MAX)
        log_error("too many slots", "slots=%u most=%d", p->slots, PLANNER_SLOTS_MAX);
    else if (worker_open(&p->worker, &wc))
        log_error("cannot start", "why=\"%s\"", err_text());
    else
        status = worker_run(p->worker);
    if (p->worker && !worker_close(p->worker)) {
        /* The job in hand outlasts the time to leave. Its thread still computes: returning to
         * main would free what it uses (atexit, libraries), so the process ends here. */
        _exit(status);
    }
    free(p);
    return status;
}
