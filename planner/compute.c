/* SPDX-License-Identifier: Apache-2.0 */
/* compute.c - one job at a time: load weights, imagine, cut the rows into parts, pack.
 *
 * WHY ONE  A job uses the whole pool; a second one would only fight for it. The queue in front
 * is what keeps the pool busy while results travel.
 *
 * KEYS  Every draw is keyed by iteration, batch and global start (docs/wire.md 4), all of them
 * functions of job_id: whichever planner computes a job, in whatever company, the bits are the
 * same. Row p of a job is window `first row + p` of the batch of train.windows.
 *
 * LAYOUT  rows: the transitions of the whole job, [steps][S = (W-2)*rows][N][...], start =
 * t*rows + p. A part is window p: for every step and t the start t*rows + p, copied side by
 * side into `cut`, then packed. */
#include "compute.h"

#include "algo/mag.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fault.h"
#include "base/log.h"
#include "par/jobq.h"
#include "par/pool.h"
#include "work/model.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { QUEUE = 2 * DESK_MAX, CANCELS = DESK_MAX };

struct order {
    struct wire_job job; /* tensors are views into msg */
    struct link_msg *msg;
    struct blob_set *weights;
};

struct compute {
    struct compute_cfg c;
    struct mag_dims d;
    size_t W, rows_max, B_global, steps;
    struct work_model model;
    struct mag_imagine *imagine;
    struct pool *pool;
    struct arena arena;
    /* one job's input, aligned, and one part's output */
    float *obs;
    uint8_t *action, *last;
    uint32_t *row;
    struct mag_rows cut;
    size_t job_mark; /* arena position before the rows of a job */
    struct jobq *in, *out;
    atomic_bool stop;
    _Atomic uint64_t running;
    _Atomic uint64_t cancel[CANCELS]; /* UINT64_MAX: empty */
    pthread_t thread;
    bool threaded;
};

/* ----------------------------------------------------------------------------- one job */

static int fits(const struct compute *c, const struct wire_job *j)
{
    uint64_t first = j->job_id & 0xffff;
    if (j->W != c->W || j->N != c->d.N || j->O != c->d.O || j->rows > c->rows_max ||
        first + j->rows > c->B_global)
        return err_set(ERR_PROTO,
                       "JOB of %u windows of %u records from %llu, N=%u O=%u does not fit this "
                       "run",
                       j->rows, j->W, (unsigned long long)first, j->N, j->O);
    const uint8_t *a = j->action;
    for (size_t i = 0; i < (size_t)j->W * j->rows * j->N; i++) {
        if (a[i] >= c->d.A)
            return err_set(ERR_PROTO, "JOB with action %u of %zu", a[i], c->d.A);
    }
    return 0;
}

/* Copies into aligned memory: what came over the wire may lie anywhere. */
static void unpack_windows(struct compute *c, const struct wire_job *j, struct mag_windows *w)
{
    size_t records = (size_t)j->W * j->rows;
    memcpy(c->obs, j->obs, records * j->N * j->O * sizeof(float));
    memcpy(c->action, j->action, records * j->N);
    memcpy(c->last, j->last, records);
    for (uint32_t p = 0; p < j->rows; p++)
        c->row[p] = (uint32_t)(j->job_id & 0xffff) + p;
    *w = (struct mag_windows){
        .W = j->W, .B = j->rows, .obs = c->obs, .action = c->action, .last = c->last};
}

/* Window p of the job's rows, side by side. */
static void cut_part(struct compute *c, const struct mag_rows *r, size_t rows, size_t p)
{
    size_t N = c->d.N, mask = (c->d.A + 7) / 8, starts = c->W - 2;
    for (size_t i = 0; i < r->steps; i++) {
        for (size_t t = 0; t < starts; t++) {
            size_t from = (i * r->S + t * rows + p) * N, to = (i * starts + t) * N;
            memcpy(c->cut.index + to * c->d.C, r->index + from * c->d.C, N * c->d.C);
            memcpy(c->cut.h + to * c->d.D, r->h + from * c->d.D, N * c->d.D * sizeof(float));
            memcpy(c->cut.action + to, r->action + from, N);
            memcpy(c->cut.avail + to * mask, r->avail + from * mask, N * mask);
            memcpy(c->cut.logp + to, r->logp + from, N * sizeof(float));
            memcpy(c->cut.value + to, r->value + from, N * sizeof(float));
            memcpy(c->cut.ret + to, r->ret + from, N * sizeof(float));
        }
    }
}

/* Order of the figures: docs/wire.md 4. Counts are exact as doubles below 2^53. */
static void put_stats(struct wire_result *r, const struct mag_plan_stats *s)
{
    const double head[8] = {(double)s->choices, s->chosen,         s->mean,
                            s->within_sq,       s->between_sq,     s->score_sum,
                            s->reward_sum,      (double)s->rewards};
    memcpy(r->stats, head, sizeof head);
    for (size_t i = 0; i < 16; i++)
        r->stats[8 + i] = (double)s->picked[i];
    r->stats_count = WIRE_STATS;
}

static int pack_part(struct compute *c, const struct wire_job *j,
                     const struct mag_plan_stats *s, uint32_t p, struct part *out)
{
    struct wire_result r = {
        .job_id = j->job_id,
        .set_id = j->set.set_id,
        .attempt = j->attempt,
        .part = p,
        .parts = j->rows,
        .starts = (uint32_t)(c->W - 2),
        .steps = (uint32_t)c->steps,
        .N = (uint32_t)c->d.N,
        .C = (uint32_t)c->d.C,
        .D = (uint32_t)c->d.D,
        .A = (uint32_t)c->d.A,
        .index = c->cut.index,
        .h = c->cut.h,
        .action = c->cut.action,
        .avail = c->cut.avail,
        .logp = c->cut.logp,
        .value = c->cut.value,
        .ret = c->cut.ret,
    };
    if (p == 0)
        put_stats(&r, s);
    return wire_result_pack(&r, &out->body, &out->n);
}

static int imagine(struct compute *c, const struct order *o, struct mag_rows *rows,
                   struct mag_plan_stats *stats)
{
    struct mag_windows w;
    struct philox key = {.seed = c->c.run->cfg.seed,
                         .iteration = (uint32_t)(o->job.job_id >> 28)};
    struct draws draws = philox_draws(&key);
    uint64_t batch = o->job.job_id >> 16 & 0xfff;
    memset(stats, 0, sizeof *stats);
    unpack_windows(c, &o->job, &w);
    mag_rows_carve(rows, &c->d, (c->W - 2) * o->job.rows, c->steps, &c->arena);
    return mag_imagine_windows(c->imagine, &w, c->row, c->B_global, &draws, batch, rows, stats,
                               NULL);
}

static int run_job(struct compute *c, const struct order *o, struct computed *out)
{
    struct mag_rows rows;
    struct mag_plan_stats stats;
    fault_point("planner.job");
    int err = fits(c, &o->job);
    if (!err)
        err = work_model_load(&c->model, o->weights);
    if (!err)
        err = imagine(c, o, &rows, &stats);
    if (err)
        return err;
    out->part = calloc(o->job.rows, sizeof *out->part);
    if (!out->part)
        return err_set(ERR_NOMEM, "out of memory for a result");
    out->parts = o->job.rows;
    out->tokens = mag_plan_tokens(&c->c.run->cfg, &c->d, rows.S, rows.steps);
    for (uint32_t p = 0; p < o->job.rows && !err; p++) {
        cut_part(c, &rows, o->job.rows, p);
        err = pack_part(c, &o->job, &stats, p, &out->part[p]);
    }
    return err;
}

/* ---------------------------------------------------------------------------- the thread */

static bool take_cancel(struct compute *c, uint64_t job_id)
{
    bool found = false;
    for (size_t i = 0; i < CANCELS; i++) {
        uint64_t expected = job_id;
        found |= atomic_compare_exchange_strong(&c->cancel[i], &expected, UINT64_MAX);
    }
    return found;
}

static void order_free(struct order *o)
{
    link_msg_free(o->msg);
    blob_set_free(o->weights);
    free(o);
}

static void computed_free(struct computed *d)
{
    for (uint32_t p = 0; d->part && p < d->parts; p++)
        free(d->part[p].body);
    free(d->part);
    free(d);
}

static void work_on(struct compute *c, struct order *o)
{
    struct computed *out = calloc(1, sizeof *out);
    bug_on(!out);
    int64_t start = clock_mono_ms();
    out->job_id = o->job.job_id;
    atomic_store(&c->running, out->job_id);
    c->job_mark = arena_mark(&c->arena);
    if (take_cancel(c, out->job_id))
        out->err = ERR_INTERRUPTED;
    else
        out->err = run_job(c, o, out);
    arena_rewind(&c->arena, c->job_mark);
    take_cancel(c, out->job_id); /* came too late: not to hit the same job's next lease */
    if (out->err)
        snprintf(out->text, sizeof out->text, "%s", err_text());
    out->run_ms = clock_mono_ms() - start;
    atomic_store(&c->running, UINT64_MAX);
    order_free(o);
    if (jobq_push_wait(c->out, out))
        computed_free(out); /* closed: the program ends */
    else if (!atomic_load(&c->stop))
        c->c.bell(c->c.arg);
}

static void *compute_thread(void *arg)
{
    struct compute *c = arg;
    void *item;
    pool_fp_mode();
    while (jobq_pop(c->in, &item, -1) == 0) {
        if (atomic_load(&c->stop))
            order_free(item);
        else
            work_on(c, item);
    }
    return NULL;
}

/* --------------------------------------------------------------------------- open, close */

static int open_memory(struct compute *c)
{
    size_t records = c->W * c->rows_max, N = c->d.N, starts = c->W - 2;
    size_t bytes = records * (N * c->d.O * sizeof(float) + N + 1) + c->rows_max * 4 +
                   mag_rows_bytes(&c->d, starts, c->steps) +
                   mag_rows_bytes(&c->d, starts * c->rows_max, c->steps) + 8192;
    int err = arena_init(&c->arena, bytes);
    if (err)
        return err_set(err, "out of memory: a job needs %zu MB", bytes >> 20);
    c->obs = ARENA_NEW(&c->arena, float, records *N * c->d.O);
    c->action = ARENA_NEW(&c->arena, uint8_t, records * N);
    c->last = ARENA_NEW(&c->arena, uint8_t, records);
    c->row = ARENA_NEW(&c->arena, uint32_t, c->rows_max);
    mag_rows_carve(&c->cut, &c->d, starts, c->steps, &c->arena);
    return 0;
}

static void log_precision(const struct mag_precision *p)
{
    if (p->measured)
        log_info("planning", "precision=%s float32_gflops=%.1f half_gflops=%.1f", p->name,
                 p->float32_gflops, p->half_gflops);
    else
        log_info("planning", "precision=%s", p->name);
}

static int open_model(struct compute *c)
{
    const struct config *cfg = &c->c.run->cfg;
    struct mag_imagine_cfg ic = {.W = c->W, .windows_max = c->rows_max, .cfg = cfg};
    int err = work_model_open(&c->model, &c->d, c->c.run->isa);
    if (!err)
        err = pool_open(&c->pool, cfg->compute.threads ? cfg->compute.threads : 1);
    if (!err)
        err = mag_imagine_open(&c->imagine, c->model.m, &ic, c->pool);
    if (!err)
        log_precision(mag_imagine_precision(c->imagine));
    return err;
}

/* Everything but the thread. */
static void free_all(struct compute *c)
{
    void *item;
    while (c->in && jobq_pop(c->in, &item, 0) == 0)
        order_free(item);
    while (c->out && jobq_pop(c->out, &item, 0) == 0)
        computed_free(item);
    if (c->in)
        jobq_close(c->in);
    if (c->out)
        jobq_close(c->out);
    if (c->imagine)
        mag_imagine_close(c->imagine);
    pool_close(c->pool);
    work_model_close(&c->model);
    arena_fini(&c->arena);
    free(c);
}

int compute_open(struct compute **out, const struct compute_cfg *cc)
{
    const struct config *cfg = &cc->run->cfg;
    const struct env_spec *spec = &cc->run->spec;
    struct compute *c = calloc(1, sizeof *c);
    if (!c)
        return err_set(ERR_NOMEM, "out of memory for the compute thread");
    c->c = *cc;
    c->W = cfg->replay.window;
    c->B_global = cfg->train.windows;
    /* One index for the whole batch (imagine.choice batch) makes one job of it. */
    c->rows_max = cfg->imagine.choice == CHOICE_BATCH || cfg->job.windows > cfg->train.windows
                      ? cfg->train.windows
                      : cfg->job.windows;
    c->steps = cfg->imagine.steps - 1;
    mag_dims_of(&c->d, cfg, spec->n_agents, spec->obs, spec->actions);
    atomic_store(&c->running, UINT64_MAX);
    for (size_t i = 0; i < CANCELS; i++)
        atomic_store(&c->cancel[i], UINT64_MAX);
    int err = open_memory(c);
    if (!err)
        err = open_model(c);
    if (!err)
        err = jobq_open(&c->in, QUEUE);
    if (!err)
        err = jobq_open(&c->out, QUEUE);
    if (!err && pthread_create(&c->thread, NULL, compute_thread, c))
        err = err_set(ERR_NOMEM, "cannot start the compute thread");
    if (err) {
        free_all(c);
        return err;
    }
    c->threaded = true;
    *out = c;
    return 0;
}

size_t compute_bytes(const struct compute *c)
{
    return c->arena.size + c->model.m->arena.size;
}

/* True when the thread ended within the time. */
static bool join(struct compute *c, int64_t wait_ms)
{
    if (wait_ms < 0)
        return pthread_join(c->thread, NULL) == 0;
    /* pthread_clockjoin_np would wait by the same clock, but ThreadSanitizer does not know it. */
    const struct timespec nap = {.tv_nsec = 2000000};
    const int64_t until = clock_mono_ms() + wait_ms;
    while (pthread_tryjoin_np(c->thread, NULL)) {
        if (clock_mono_ms() >= until)
            return false;
        nanosleep(&nap, NULL);
    }
    return true;
}

bool compute_close(struct compute *c, int64_t wait_ms)
{
    atomic_store(&c->stop, true);
    jobq_shut(c->in);
    jobq_shut(c->out);
    if (!join(c, wait_ms))
        return false;
    free_all(c);
    return true;
}

/* -------------------------------------------------------------------------- for the loop */

int compute_push(struct compute *c, const struct wire_job *job, struct link_msg *msg,
                 struct blob_set *weights)
{
    struct order *o = calloc(1, sizeof *o);
    if (!o) {
        link_msg_free(msg);
        blob_set_free(weights);
        return err_set(ERR_NOMEM, "out of memory for a job");
    }
    *o = (struct order){.job = *job, .msg = msg, .weights = weights};
    int err = jobq_push(c->in, o);
    if (err)
        order_free(o);
    return err;
}

void compute_cancel(struct compute *c, uint64_t job_id)
{
    for (size_t i = 0; i < CANCELS; i++) {
        uint64_t expected = UINT64_MAX;
        if (atomic_compare_exchange_strong(&c->cancel[i], &expected, job_id))
            return;
    }
}

struct computed *compute_take(struct compute *c)
{
    void *item;
    return jobq_pop(c->out, &item, 0) == 0 ? item : NULL;
}

uint64_t compute_running(const struct compute *c)
{
    return atomic_load(&c->running);
}
