/* SPDX-License-Identifier: Apache-2.0 */
/* memory.c - a budget by part, from the very functions that reserve the memory.
 *
 * HOW  Arenas are mappings that cost nothing until they are touched, so the networks and work
 * spaces of each role are opened as the role would open them, asked for their sizes, and closed:
 * no formula beside the code can go stale. What is allocated as it is needed - published weights,
 * a checkpoint under way, messages - is bounded by a rule of its own, named at its line.
 *
 * tests/e2e/memory.py holds the budget against the peak of real processes. */
#include "memory.h"

#include "algo/mag.h"
#include "base/err.h"
#include "learner/replay.h"
#include "nn/kern.h"
#include "par/pool.h"
#include "proto/wire.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Program and libraries (file-backed pages counted), database, sockets: measured 45 to 55 MiB. */
enum { PROCESS_BASE = 64 << 20 };
/* Bounds kept elsewhere: planner/desk.h (results that wait for their ACK, two jobs in hand), the
 * learner's weights (the newest set, and one that open work names), an actor's two models. */
enum { RESULTS_HELD = 4 + 2, SETS_HELD = 2, ACTOR_MODELS = 2 };

static __attribute__((format(printf, 3, 4))) void part(struct memory_role *r, size_t bytes,
                                                       const char *fmt, ...)
{
    va_list ap;
    bug_on(r->count == MEMORY_PARTS);
    struct memory_part *p = &r->part[r->count++];
    va_start(ap, fmt);
    vsnprintf(p->what, sizeof p->what, fmt, ap);
    va_end(ap);
    p->bytes = bytes;
    r->total += bytes;
}

/* The networks once, opened and asked. */
struct opened {
    const struct config *cfg;
    const struct env_spec *spec;
    struct mag_dims d;
    struct mag_model *model;
    size_t params; /* bytes of one array of parameters, padding included */
    size_t W, B, S, steps;
};

static int imagine_bytes(const struct opened *o, struct pool *pool, size_t *out)
{
    struct mag_imagine_cfg c = {.W = o->W, .windows_max = o->cfg->job.windows, .cfg = o->cfg};
    struct mag_imagine *im;
    if (o->cfg->imagine.choice == CHOICE_BATCH || c.windows_max > o->B)
        c.windows_max = o->B;
    int err = mag_imagine_open(&im, o->model, &c, pool);
    if (err)
        return err;
    *out = mag_imagine_reserved(im);
    mag_imagine_close(im);
    return 0;
}

static int learner_parts(struct memory_role *r, const struct opened *o, struct pool *pool)
{
    const struct config *cfg = o->cfg;
    const struct mag_dims *d = &o->d;
    const struct mag_train_cfg tc = {.W = o->W,
                                     .B = o->B,
                                     .S = o->S,
                                     .rows_max = o->S * o->steps,
                                     .minibatch = cfg->train.minibatch,
                                     .cfg = cfg};
    size_t imagine = 0, windows = replay_batch_bytes(o->W, o->B, d->N, d->O, d->A);
    size_t work = mag_train_bytes(o->model, &tc, pool) - 3 * o->params;
    int err = 0;
    if (cfg->metrics.every && cfg->imagine.search == SEARCH_SHOOTING)
        err = imagine_bytes(o, pool, &imagine);
    part(r, replay_bytes(cfg->replay.capacity, d->N, d->O, d->A), "replay, %u records",
         cfg->replay.capacity);
    part(r, o->model->arena.size, "parameters, packed copies");
    part(r, 3 * o->params, "gradients, Adam's moments");
    part(r, work, "work space of gradient steps, %zu threads", pool_threads(pool));
    part(r, 3 * o->params, "copy for a signal in a policy update");
    part(r, 3 * windows, "sampled windows, held-out windows, jobs");
    part(r, mag_rows_bytes(d, o->S, o->steps), "imagined rows, D_m");
    if (imagine)
        part(r, imagine, "imagination for figures");
    part(r, SETS_HELD * o->params, "published weights, %d sets", SETS_HELD);
    part(r, 5 * o->params, "a checkpoint being written");
    part(r, (size_t)cfg->net_link.ingest_budget, "messages being received, at most");
    part(r, PROCESS_BASE, "program, libraries, database");
    return err;
}

static int planner_parts(struct memory_role *r, const struct opened *o)
{
    const struct mag_dims *d = &o->d;
    size_t windows = o->cfg->job.windows < o->B ? o->cfg->job.windows : o->B, imagine = 0;
    if (o->cfg->imagine.choice == CHOICE_BATCH)
        windows = o->B;
    size_t starts = o->W - 2, job = o->W * windows * (d->N * d->O * sizeof(float) + d->N + 1);
    size_t rows = mag_rows_bytes(d, starts * windows, o->steps);
    int err = imagine_bytes(o, NULL, &imagine);
    part(r, o->model->arena.size, "parameters, packed copies");
    part(r, imagine, "work space, one thread");
    part(r, rows + mag_rows_bytes(d, starts, o->steps) + 3 * job, "jobs of %zu windows",
         windows);
    part(r, RESULTS_HELD * rows, "results not yet acknowledged, %d", RESULTS_HELD);
    part(r, SETS_HELD * o->params, "fetched weights, %d sets", SETS_HELD);
    part(r, PROCESS_BASE, "program, libraries");
    return err;
}

static int actor_parts(struct memory_role *r, const struct opened *o)
{
    const struct mag_dims *d = &o->d;
    size_t slots = 1, act; /* more environments per actor: --slots */
    size_t episode = wire_episode_bytes((uint32_t)o->spec->episode_limit, (uint32_t)d->N,
                                        (uint32_t)d->O, (uint32_t)d->A, 0);
    struct mag_act *a;
    int err = mag_act_open(&a, o->model, slots, NULL);
    if (err)
        return err;
    act = mag_act_reserved(a);
    mag_act_close(a);
    part(r, ACTOR_MODELS * o->model->arena.size, "parameters, packed copies, %d models",
         ACTOR_MODELS);
    part(r, ACTOR_MODELS * act, "work space, one thread");
    part(r, 4 * slots * episode, "episodes played and not yet acknowledged");
    part(r, SETS_HELD * o->params, "fetched weights, %d sets", SETS_HELD);
    part(r, PROCESS_BASE, "program, libraries");
    return 0;
}

int memory_budget(struct memory_budget *out, const struct config *cfg,
                  const struct env_spec *spec)
{
    struct opened o = {
        .cfg = cfg, .spec = spec, .W = cfg->replay.window, .B = cfg->train.windows};
    struct pool *pool = NULL;
    memset(out, 0, sizeof *out);
    mag_dims_of(&o.d, cfg, spec->n_agents, spec->obs, spec->actions);
    o.S = (o.W - 2) * o.B;
    o.steps = cfg->imagine.steps > 1 ? cfg->imagine.steps - 1 : 1;
    int err = mag_model_open(&o.model, &o.d, cfg->compute.isa);
    if (err)
        return err;
    o.params = o.model->params.count * sizeof(float);
    err = pool_open(&pool, pool_team(cfg->compute.threads));
    if (!err)
        err = learner_parts(&out->learner, &o, pool);
    if (!err)
        err = planner_parts(&out->planner, &o);
    if (!err)
        err = actor_parts(&out->actor, &o);
    pool_close(pool);
    mag_model_close(o.model);
    out->total = out->learner.total + cfg->workers.actors * out->actor.total +
                 cfg->workers.planners * out->planner.total;
    return err;
}

static double mib(size_t bytes)
{
    return (double)bytes / (1 << 20);
}

static void role(FILE *out, const char *name, const struct memory_role *r)
{
    fprintf(out, "%s\n", name);
    for (size_t i = 0; i < r->count; i++)
        fprintf(out, "  %-46s %9.1f MiB\n", r->part[i].what, mib(r->part[i].bytes));
    fprintf(out, "  %-46s %9.1f MiB\n", "together", mib(r->total));
}

void memory_print(const struct memory_budget *b, const struct config *cfg, FILE *out)
{
    char name[64];
    fprintf(out, "memory for %s, at most:\n", cfg->env.map);
    role(out, "learner", &b->learner);
    snprintf(name, sizeof name, "planner, each of %u", cfg->workers.planners);
    role(out, name, &b->planner);
    snprintf(name, sizeof name, "actor, each of %u", cfg->workers.actors);
    role(out, name, &b->actor);
    fprintf(out, "%-48s %9.1f MiB\n", "all on one machine", mib(b->total));
}
