/* SPDX-License-Identifier: Apache-2.0 */
/* port.c - requests in, episodes and rows out, under one mutex.
 *
 * WHY  The trainer's schedule is a straight story only if waiting for the network looks like a
 * function call. Everything that can go wrong while waiting (a signal, a failure elsewhere, a
 * wish for a checkpoint) is an error code of that call.
 *
 * LAYOUT  `play` has one slot per requested episode, filled by number whatever the order of
 * arrival. `plan` has one entry per job; `copying` counts copies under way outside the mutex,
 * and port_plan_end waits for 0, so the trainer's arrays are never touched afterwards. `done`
 * remembers the digests of recent jobs for late second results.
 *
 * INVARIANTS
 *   1. a slot goes OPEN -> FILLED -> TAKEN, a job OPEN -> COPYING -> DONE, never back
 *   2. rows of a job are written by exactly one copy
 *   3. PPO's rows exist only after every job of the batch is DONE */
#include "port.h"

#include "base/clock.h"
#include "base/err.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum slot_state { SLOT_OPEN, SLOT_FILLED, SLOT_TAKEN };
enum job_state { JOB_OPEN, JOB_COPYING, JOB_DONE };
enum { DONE_RING = 4096 };

struct slot {
    enum slot_state state;
    struct port_episode episode;
};

struct done_job {
    uint64_t job_id;
    uint32_t rows;
    unsigned char worker[WIRE_ID];
    struct digest digest, set_digest;
    size_t starts, steps;
    struct mag_dims dims;
};

struct port {
    pthread_mutex_t mu;
    pthread_cond_t changed;
    void (*wake)(void *arg);
    void *wake_arg;

    bool interrupted, checkpoint;
    int failure;
    char failure_text[512];
    size_t actors, planners;

    struct {
        struct port_play req;
        struct slot *slot; /* [PORT_EPISODES_MAX] */
        size_t missing;
        bool open;
        uint64_t generation;
    } play;

    struct {
        struct port_batch b;
        enum job_state *state; /* [PORT_JOBS_MAX] */
        struct mag_plan_stats *stats;
        size_t done, copying;
        bool open;
        uint64_t generation;
    } plan;

    struct done_job *done; /* [DONE_RING] */
    uint64_t done_count;
};

int port_open(struct port **out, void (*wake)(void *arg), void *arg)
{
    struct port *p = calloc(1, sizeof *p);
    if (!p)
        return ERR_NOMEM;
    pthread_mutex_init(&p->mu, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&p->changed, &attr);
    pthread_condattr_destroy(&attr);
    p->wake = wake;
    p->wake_arg = arg;
    p->play.slot = calloc(PORT_EPISODES_MAX, sizeof *p->play.slot);
    p->plan.state = calloc(PORT_JOBS_MAX, sizeof *p->plan.state);
    p->plan.stats = calloc(PORT_JOBS_MAX, sizeof *p->plan.stats);
    p->done = calloc(DONE_RING, sizeof *p->done);
    if (!p->play.slot || !p->plan.state || !p->plan.stats || !p->done) {
        port_close(p);
        return ERR_NOMEM;
    }
    *out = p;
    return 0;
}

static void drop_slots(struct port *p)
{
    for (size_t i = 0; p->play.slot && i < p->play.req.count; i++)
        if (p->play.slot[i].state == SLOT_FILLED)
            port_episode_free(&p->play.slot[i].episode);
}

void port_close(struct port *p)
{
    if (!p)
        return;
    drop_slots(p);
    free(p->play.slot);
    free(p->plan.state);
    free(p->plan.stats);
    free(p->done);
    pthread_cond_destroy(&p->changed);
    pthread_mutex_destroy(&p->mu);
    free(p);
}

void port_episode_free(struct port_episode *e)
{
    if (e->msg)
        link_msg_free(e->msg);
    free(e->body);
    e->msg = NULL;
    e->body = NULL;
}

/* ------------------------------------------------------------------------- any thread */

static void lock(struct port *p)
{
    pthread_mutex_lock(&p->mu);
}

static void unlock(struct port *p)
{
    pthread_mutex_unlock(&p->mu);
}

static void unlock_changed(struct port *p)
{
    pthread_cond_broadcast(&p->changed);
    unlock(p);
}

static void wake_loop(struct port *p)
{
    if (p->wake)
        p->wake(p->wake_arg);
}

void port_interrupt(struct port *p)
{
    lock(p);
    p->interrupted = true;
    unlock_changed(p);
}

void port_fail(struct port *p, int err, const char *text)
{
    lock(p);
    if (!p->failure) {
        p->failure = err;
        snprintf(p->failure_text, sizeof p->failure_text, "%s", text);
    }
    unlock_changed(p);
    wake_loop(p);
}

int port_failure(struct port *p, char *text, size_t n)
{
    lock(p);
    int err = p->failure;
    if (err && n)
        snprintf(text, n, "%s", p->failure_text);
    unlock(p);
    return err;
}

void port_ask_checkpoint(struct port *p)
{
    lock(p);
    p->checkpoint = true;
    unlock_changed(p);
}

bool port_checkpoint_asked(struct port *p)
{
    lock(p);
    bool asked = p->checkpoint;
    unlock(p);
    return asked;
}

bool port_stopping(struct port *p)
{
    lock(p);
    bool stop = p->interrupted || p->failure;
    unlock(p);
    return stop;
}

void port_workers(struct port *p, size_t actors, size_t planners)
{
    lock(p);
    bool news = p->actors != actors || p->planners != planners;
    p->actors = actors;
    p->planners = planners;
    if (news)
        pthread_cond_broadcast(&p->changed);
    unlock(p);
}

/* Why a wait must end, 0 to go on. Mutex held. */
static int reason(const struct port *p)
{
    if (p->failure)
        return err_set(p->failure, "%s", p->failure_text);
    if (p->interrupted)
        return err_set(ERR_INTERRUPTED, "stopped on request");
    return p->checkpoint ? ERR_AGAIN : 0;
}

/* ---------------------------------------------------------------------------- trainer */

int port_poll(struct port *p)
{
    lock(p);
    int err = reason(p);
    unlock(p);
    return err;
}

void port_checkpoint_taken(struct port *p)
{
    lock(p);
    p->checkpoint = false;
    unlock(p);
}

int port_wait_workers(struct port *p, size_t actors, size_t planners, int64_t patience_ms)
{
    int64_t patient_until = clock_mono_ms() + patience_ms;
    int err = 0;
    lock(p);
    while ((p->actors < actors || p->planners < planners) && !(err = reason(p))) {
        bool enough = p->actors >= (actors > 0) && p->planners >= (planners > 0);
        if (!enough) {
            pthread_cond_wait(&p->changed, &p->mu);
            continue;
        }
        if (clock_mono_ms() >= patient_until)
            break;
        struct timespec until = {.tv_sec = (time_t)(patient_until / 1000),
                                 .tv_nsec = (long)(patient_until % 1000) * 1000000};
        pthread_cond_timedwait(&p->changed, &p->mu, &until);
    }
    unlock(p);
    return err;
}

uint64_t port_request_seed(const struct draws *draws, enum wire_kind kind, uint64_t episode_no)
{
    /* An evaluation's number is round << 20 | k, and k names the start. */
    if (kind == KIND_EVAL)
        return draws_seed(draws, DRAW_EVAL_ENV, episode_no & 0xfffff);
    return draws_seed(draws, DRAW_ENV, episode_no);
}

int port_play(struct port *p, const struct port_play *play, const bool *have)
{
    if (play->count == 0 || play->count > PORT_EPISODES_MAX)
        return err_set(ERR_INVAL, "%u episodes in one request: 1 to %d", play->count,
                       PORT_EPISODES_MAX);
    lock(p);
    drop_slots(p);
    p->play.req = *play;
    p->play.missing = 0;
    for (uint32_t i = 0; i < play->count; i++) {
        bool here = have && have[i];
        p->play.slot[i].state = here ? SLOT_TAKEN : SLOT_OPEN;
        p->play.missing += !here;
    }
    p->play.open = true;
    p->play.generation++;
    unlock(p);
    wake_loop(p);
    return 0;
}

int port_episode(struct port *p, uint64_t episode_no, struct port_episode *out)
{
    int err = 0;
    lock(p);
    bug_on(episode_no - p->play.req.first >= p->play.req.count);
    struct slot *s = &p->play.slot[episode_no - p->play.req.first];
    while (s->state == SLOT_OPEN && !(err = reason(p)))
        pthread_cond_wait(&p->changed, &p->mu);
    if (!err) {
        bug_on(s->state != SLOT_FILLED);
        *out = s->episode;
        s->state = SLOT_TAKEN;
        memset(&s->episode, 0, sizeof s->episode);
    }
    unlock(p);
    return err;
}

void port_play_end(struct port *p)
{
    lock(p);
    drop_slots(p);
    p->play.req.count = 0;
    p->play.missing = 0;
    p->play.open = false;
    p->play.generation++;
    unlock(p);
    wake_loop(p);
}

int port_plan(struct port *p, const struct port_batch *b)
{
    if (b->jobs == 0 || b->jobs > PORT_JOBS_MAX)
        return err_set(ERR_INVAL, "%zu jobs in one batch: 1 to %d", b->jobs, PORT_JOBS_MAX);
    lock(p);
    p->plan.b = *b;
    p->plan.done = p->plan.copying = 0;
    for (size_t i = 0; i < b->jobs; i++)
        p->plan.state[i] = JOB_OPEN;
    p->plan.open = true;
    p->plan.generation++;
    unlock(p);
    wake_loop(p);
    return 0;
}

int port_plan_wait(struct port *p, struct mag_plan_stats *stats)
{
    int err = 0;
    lock(p);
    while (p->plan.done < p->plan.b.jobs && !(err = reason(p)))
        pthread_cond_wait(&p->changed, &p->mu);
    if (!err) {
        memset(stats, 0, sizeof *stats);
        for (size_t i = 0; i < p->plan.b.jobs; i++)
            mag_plan_stats_add(stats, &p->plan.stats[i]);
    }
    unlock(p);
    return err;
}

void port_plan_end(struct port *p)
{
    lock(p);
    p->plan.open = false;
    p->plan.generation++;
    while (p->plan.copying)
        pthread_cond_wait(&p->changed, &p->mu);
    unlock(p);
    wake_loop(p);
}

/* ------------------------------------------------------------------------------- loop */

uint64_t port_play_generation(struct port *p)
{
    lock(p);
    uint64_t g = p->play.generation;
    unlock(p);
    return g;
}

uint64_t port_plan_generation(struct port *p)
{
    lock(p);
    uint64_t g = p->plan.generation;
    unlock(p);
    return g;
}

size_t port_play_get(struct port *p, struct port_play *out, uint64_t *missing)
{
    size_t n = 0;
    lock(p);
    *out = p->play.req;
    for (uint32_t i = 0; p->play.open && i < p->play.req.count; i++)
        if (p->play.slot[i].state == SLOT_OPEN)
            missing[n++] = p->play.req.first + i;
    unlock(p);
    return n;
}

size_t port_plan_get(struct port *p, uint64_t *set_id, uint64_t *ids)
{
    size_t n = 0;
    lock(p);
    *set_id = p->plan.b.set_id;
    for (size_t i = 0; p->plan.open && i < p->plan.b.jobs; i++)
        if (p->plan.state[i] == JOB_OPEN)
            ids[n++] = p->plan.b.job[i].job_id;
    unlock(p);
    return n;
}

/* The open batch's job of this id, or NULL. Mutex held. */
static const struct port_job *find_job(const struct port *p, uint64_t job_id)
{
    for (size_t i = 0; p->plan.open && i < p->plan.b.jobs; i++)
        if (p->plan.b.job[i].job_id == job_id)
            return &p->plan.b.job[i];
    return NULL;
}

int port_job_pack(struct port *p, uint64_t job_id, uint32_t attempt, uint32_t lease_ms,
                  const struct wire_set *set, unsigned char **body, size_t *n)
{
    lock(p);
    const struct port_job *j = find_job(p, job_id);
    if (!j || p->plan.state[j - p->plan.b.job] != JOB_OPEN) {
        unlock(p);
        return ERR_NOTFOUND;
    }
    struct wire_job m = {
        .job_id = job_id,
        .attempt = attempt,
        .lease_ms = lease_ms,
        .set = *set,
        .rows = j->rows,
        .W = (uint32_t)p->plan.b.W,
        .N = (uint32_t)p->plan.b.dims.N,
        .O = (uint32_t)p->plan.b.dims.O,
        .obs = j->obs,
        .action = j->action,
        .last = j->last,
    };
    p->plan.copying++;
    unlock(p);
    int err = wire_job_pack(&m, body, n);
    lock(p);
    p->plan.copying--;
    unlock_changed(p);
    return err;
}

void port_progress(struct port *p, size_t *done, size_t *total, bool *planning)
{
    lock(p);
    *planning = p->plan.open;
    if (p->plan.open) {
        *done = p->plan.done;
        *total = p->plan.b.jobs;
    } else {
        *total = p->play.open ? p->play.req.count : 0;
        *done = *total - (p->play.open ? p->play.missing : 0);
    }
    unlock(p);
}

/* ----------------------------------------------------------------------- store thread */

enum port_want port_wants_episode(struct port *p, enum wire_kind kind, uint64_t episode_no,
                                  bool *greedy, struct digest *set_digest)
{
    enum port_want want = WANT_UNKNOWN;
    lock(p);
    const struct port_play *r = &p->play.req;
    if (r->kind == kind && episode_no >= r->first && episode_no - r->first < r->count) {
        want = p->play.slot[episode_no - r->first].state == SLOT_OPEN ? WANT_OPEN : WANT_DONE;
        *greedy = r->greedy;
        *set_digest = r->set_digest;
    }
    unlock(p);
    return want;
}

size_t port_episodes_missing(struct port *p)
{
    lock(p);
    size_t n = p->play.missing;
    unlock(p);
    return n;
}

void port_deliver(struct port *p, struct port_episode *e)
{
    lock(p);
    const struct port_play *r = &p->play.req;
    uint64_t at = e->e.episode_no - r->first;
    bool wanted = p->play.open && r->kind == e->e.kind && e->e.episode_no >= r->first &&
                  at < r->count && p->play.slot[at].state == SLOT_OPEN;
    if (wanted) {
        p->play.slot[at].episode = *e;
        p->play.slot[at].state = SLOT_FILLED;
        p->play.missing--;
    }
    unlock_changed(p);
    if (!wanted)
        port_episode_free(e);
}

static const struct done_job *find_done(const struct port *p, uint64_t job_id)
{
    for (size_t i = 0; i < DONE_RING && i < p->done_count; i++)
        if (p->done[i].job_id == job_id)
            return &p->done[i];
    return NULL;
}

void port_job_info(struct port *p, uint64_t job_id, struct port_job_info *out)
{
    memset(out, 0, sizeof *out);
    out->want = WANT_UNKNOWN;
    lock(p);
    const struct port_batch *b = &p->plan.b;
    const struct port_job *j = find_job(p, job_id);
    const struct done_job *d = find_done(p, job_id);
    if (d) {
        out->want = WANT_DONE;
        out->rows = d->rows;
        out->digest = d->digest;
        memcpy(out->worker, d->worker, WIRE_ID);
        out->set_digest = d->set_digest;
        out->starts = d->starts;
        out->steps = d->steps;
        out->dims = d->dims;
    } else if (j) {
        out->want = p->plan.state[j - b->job] == JOB_OPEN ? WANT_OPEN : WANT_UNKNOWN;
        out->rows = j->rows;
        out->set_digest = b->set_digest;
        out->starts = b->W - 2;
        out->steps = b->rows->steps;
        out->dims = b->dims;
    }
    unlock(p);
}

/* Interleave one window's tensor [steps][starts][bytes] into rows [steps][S][bytes]: its start
 * t is the batch's start t*B + row. */
static void scatter(void *to, const void *from, size_t steps, size_t starts, size_t S, size_t B,
                    size_t row, size_t bytes)
{
    unsigned char *dst = to;
    const unsigned char *src = from;
    for (size_t i = 0; i < steps; i++)
        for (size_t t = 0; t < starts; t++)
            memcpy(dst + (i * S + t * B + row) * bytes, src + (i * starts + t) * bytes, bytes);
}

static void scatter_part(struct mag_rows *r, const struct wire_result *p,
                         const struct mag_dims *d, size_t B, size_t row)
{
    size_t n = p->steps, m = p->starts, S = r->S;
    scatter(r->index, p->index, n, m, S, B, row, d->N * d->C);
    scatter(r->h, p->h, n, m, S, B, row, d->N * d->D * sizeof(float));
    scatter(r->action, p->action, n, m, S, B, row, d->N);
    scatter(r->avail, p->avail, n, m, S, B, row, d->N * ((d->A + 7) / 8));
    scatter(r->logp, p->logp, n, m, S, B, row, d->N * sizeof(float));
    scatter(r->value, p->value, n, m, S, B, row, d->N * sizeof(float));
    scatter(r->ret, p->ret, n, m, S, B, row, d->N * sizeof(float));
}

int port_job_take(struct port *p, uint64_t job_id, const struct wire_result *part, size_t parts,
                  const struct digest *digest, const unsigned char worker[WIRE_ID],
                  const struct mag_plan_stats *stats)
{
    lock(p);
    const struct port_job *j = find_job(p, job_id);
    if (!j || p->plan.state[j - p->plan.b.job] != JOB_OPEN) {
        unlock(p);
        return ERR_NOTFOUND;
    }
    size_t at = (size_t)(j - p->plan.b.job);
    struct port_batch b = p->plan.b;
    uint32_t first_row = j->first_row;
    p->plan.state[at] = JOB_COPYING;
    p->plan.copying++;
    unlock(p);

    for (size_t i = 0; i < parts; i++)
        scatter_part(b.rows, &part[i], &b.dims, b.B, first_row + i);

    lock(p);
    p->plan.state[at] = JOB_DONE;
    p->plan.stats[at] = *stats;
    p->plan.done++;
    p->plan.copying--;
    struct done_job *d = &p->done[p->done_count++ % DONE_RING];
    *d = (struct done_job){
        .job_id = job_id,
        .rows = (uint32_t)parts,
        .digest = *digest,
        .set_digest = b.set_digest,
        .starts = b.W - 2,
        .steps = b.rows->steps,
        .dims = b.dims,
    };
    memcpy(d->worker, worker, WIRE_ID);
    unlock_changed(p);
    return 0;
}
