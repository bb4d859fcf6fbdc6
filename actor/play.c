/* SPDX-License-Identifier: Apache-2.0 */
/* play.c - step several environments together and record what happens.
 *
 * WHY ONE BATCH  A step of the recurrent policy costs almost the same for one environment as
 * for four: products are wide enough only together. The bits of an episode do not depend on
 * its company (mag_act_step promises that), so which episodes share a batch is free.
 *
 * LAYOUT  slot[]: one environment each with room for one whole episode, reserved at open and
 * written in place: obs [limit+1][N][O], avail bits [limit+1][N][ceil(A/8)], action
 * [limit][N], reward [limit]. brain[2]: two models, so that episodes of two sets can be in
 * flight; an episode keeps its brain to the end. A PLAY of a third set waits until one brain
 * has no episode left. Both brains are loaded only between steps.
 *
 * QUEUES  in: PLAYs, at most HELD_MAX, none is refused while the loop keeps its table. out:
 * finished episodes, same bound; never full for the same reason.
 *
 * FAILURE  An environment that fails is closed, opened and the episode begun again: nobody saw
 * its first half. Three failures in a row end the actor. */
#include "play.h"

#include "algo/mag.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fault.h"
#include "base/log.h"
#include "par/jobq.h"
#include "par/pool.h"
#include "work/model.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BRAINS = 2, QUEUE = 2 * WIRE_RUNNING_MAX, FAILURES_MAX = 3, IDLE_MS = 200 };

struct order {
    struct wire_play play;
    struct blob_set *weights;
    struct order *next; /* among those that wait for a slot or a brain */
};

struct brain {
    struct work_model model;
    struct mag_act *act;
    size_t users; /* slots playing with it */
};

struct slot {
    struct env *env;
    struct brain *brain; /* NULL: idle */
    struct wire_play play;
    uint32_t t, failures;
    int64_t start_ms;
    double ret;
    float *obs, *reward;
    uint8_t *avail, *action;
    uint8_t *mask; /* [N][A], the present step's, as environments give it */
};

struct player {
    struct player_cfg c;
    struct mag_dims d;
    size_t limit, mask_bytes;
    struct philox philox;
    struct draws draws;
    struct brain brain[BRAINS];
    struct pool *pool; /* of acting */
    struct slot *slot;
    struct mag_act_row *row; /* [slots], of one call */
    struct order *waiting, **waiting_tail;
    struct arena arena;
    struct jobq *in, *out;
    atomic_bool stop;
    atomic_uint abandon; /* raised by the loop, cleared by the thread */
    uint64_t seq;        /* of the last finished episode */
    pthread_t thread;
    bool threaded;
};

/* ------------------------------------------------------------------------------ recording */

static size_t obs_floats(const struct player *p)
{
    return p->d.N * p->d.O;
}

/* Look at the environment: row t of obs and avail. */
static void observe(struct player *p, struct slot *s)
{
    const struct env_class *cls = p->c.run->env;
    uint8_t *bits = s->avail + s->t * p->d.N * p->mask_bytes;
    cls->observe(s->env, s->obs + s->t * obs_floats(p), s->mask, NULL);
    memset(bits, 0, p->d.N * p->mask_bytes);
    for (size_t i = 0; i < p->d.N; i++) {
        for (size_t a = 0; a < p->d.A; a++)
            bits[i * p->mask_bytes + a / 8] |=
                (uint8_t)((s->mask[i * p->d.A + a] != 0) << (a % 8));
    }
}

static enum wire_end wire_end_of(enum env_end e)
{
    return e == ENV_TERMINAL ? END_TERMINAL : e == ENV_LIMIT ? END_LIMIT : END_ABORT;
}

static int pack(struct player *p, const struct slot *s, const struct env_step *last,
                struct played *out)
{
    const struct worker_run *run = p->c.run;
    struct wire_episode e = {
        .incarnation = run->incarnation,
        .seq = p->seq + 1,
        .kind = s->play.kind,
        .episode_no = s->play.kind == KIND_FREE ? 0 : s->play.episode_no,
        .seed = s->play.seed,
        .set_id = s->play.set.set_id,
        .greedy = s->play.greedy,
        .T = s->t,
        .N = (uint32_t)p->d.N,
        .O = (uint32_t)p->d.O,
        .A = (uint32_t)p->d.A,
        .end = wire_end_of(last->end),
        .won = last->won,
        .ret = s->ret,
        .wall_ms = (uint64_t)(clock_mono_ms() - s->start_ms),
        .obs = s->obs,
        .avail = s->avail,
        .action = s->action,
        .reward = s->reward,
    };
    memcpy(e.worker_id, run->worker_id, WIRE_ID);
    memcpy(e.spec_hash, run->spec.hash, sizeof e.spec_hash);
    snprintf(e.env, sizeof e.env, "%s", run->cfg.env.name);
    snprintf(e.build, sizeof e.build, "%s", run->spec.build);
    int err = wire_episode_pack(&e, &out->body, &out->n);
    if (err)
        return err;
    p->seq++;
    out->seq = e.seq;
    out->steps = e.T;
    out->won = e.won;
    out->ret = e.ret;
    return 0;
}

static void hand_over(struct player *p, const struct wire_play *play, enum played_how how,
                      const struct slot *s, const struct env_step *last)
{
    struct played *out = calloc(1, sizeof *out);
    bug_on(!out);
    out->how = how;
    out->play = *play;
    if (how == PLAYED && pack(p, s, last, out))
        out->how = PLAYED_BROKEN;
    if (out->how == PLAYED_BROKEN)
        snprintf(out->text, sizeof out->text, "%s", err_text());
    if (jobq_push_wait(p->out, out)) { /* closed: the program ends */
        free(out->body);
        free(out);
    }
    p->c.bell(p->c.arg);
}

static void leave(struct slot *s)
{
    s->brain->users--;
    s->brain = NULL;
}

static void finish(struct player *p, struct slot *s, const struct env_step *last)
{
    observe(p, s); /* row T: what bootstrapping at a time limit needs */
    fault_point("actor.episode");
    fault_poison("actor.reward", s->reward);
    hand_over(p, &s->play, PLAYED, s, last);
    s->failures = 0;
    leave(s);
}

/* ------------------------------------------------------------------------------- starting */

static int begin(struct player *p, struct slot *s)
{
    int err = p->c.run->env->reset(s->env, s->play.seed);
    if (err)
        return err;
    s->t = 0;
    s->ret = 0;
    s->start_ms = clock_mono_ms();
    mag_act_reset(s->brain->act, (size_t)(s - p->slot));
    observe(p, s);
    return 0;
}

/* The world broke: a new one, the same episode from its start. */
static void mend(struct player *p, struct slot *s)
{
    const struct env_class *cls = p->c.run->env;
    char why[256];
    snprintf(why, sizeof why, "%s", err_text());
    while (++s->failures < FAILURES_MAX && !atomic_load(&p->stop)) {
        log_warn("environment failed, starting it again", "why=\"%s\"", why);
        cls->close(s->env);
        s->env = NULL;
        if (cls->open(&p->c.run->cfg, &s->env) == 0 && begin(p, s) == 0)
            return;
        snprintf(why, sizeof why, "%s", err_text());
        if (!s->env)
            break;
    }
    err_set(ERR_IO, "%s", why);
    hand_over(p, &s->play, PLAYED_BROKEN, s, NULL);
    leave(s);
}

/* A brain that holds the order's weights, or can be given them now. NULL: both are busy. */
static struct brain *brain_for(struct player *p, const struct order *o, int *err)
{
    struct brain *idle = NULL;
    for (size_t i = 0; i < BRAINS; i++) {
        struct brain *b = &p->brain[i];
        if (work_model_holds(&b->model, o->weights))
            return b;
        if (!b->users)
            idle = b;
    }
    if (!idle)
        return NULL;
    *err = work_model_load(&idle->model, o->weights);
    return *err ? NULL : idle;
}

static struct slot *idle_slot(struct player *p)
{
    for (size_t i = 0; i < p->c.slots; i++) {
        if (!p->slot[i].brain && p->slot[i].env)
            return &p->slot[i];
    }
    return NULL;
}

static void order_free(struct order *o)
{
    blob_set_free(o->weights);
    free(o);
}

static struct order *waiting_pop(struct player *p)
{
    struct order *o = p->waiting;
    p->waiting = o->next;
    if (!p->waiting)
        p->waiting_tail = &p->waiting;
    return o;
}

/* Give waiting orders to idle slots, in order of arrival. */
static void assign(struct player *p)
{
    struct slot *s;
    while (p->waiting && (s = idle_slot(p))) {
        int err = 0;
        struct brain *b = brain_for(p, p->waiting, &err);
        if (!b && !err)
            return; /* a third set waits until an earlier one is done with */
        struct order *o = waiting_pop(p);
        s->play = o->play;
        order_free(o);
        if (err) {
            hand_over(p, &s->play, PLAYED_BROKEN, s, NULL);
            continue;
        }
        s->brain = b;
        b->users++;
        if (begin(p, s))
            mend(p, s);
    }
}

/* --------------------------------------------------------------------------------- acting */

/* The item that keys an episode's draws: its number, the start's number of an evaluation, or
 * for free play its seed. */
static uint64_t draw_item(const struct wire_play *play)
{
    if (play->kind == KIND_EVAL)
        return play->episode_no & 0xfffff;
    return (play->kind == KIND_FREE ? play->seed : play->episode_no) & UINT64_C(0xffffffffff);
}

static void fill_row(struct player *p, struct slot *s, struct mag_act_row *r)
{
    bool eval = s->play.kind == KIND_EVAL;
    *r = (struct mag_act_row){
        .row = (size_t)(s - p->slot),
        .obs = s->obs + s->t * obs_floats(p),
        .avail = s->mask,
        .item = draw_item(&s->play),
        .eval = eval,
        .latent_mode = eval && p->c.run->cfg.eval.latent == LATENT_MODE,
        .mode = s->play.greedy ? MAG_ACT_GREEDY : MAG_ACT_SAMPLE,
        .action = s->action + s->t * p->d.N,
    };
}

/* All environments of one brain choose together. */
static void act(struct player *p, struct brain *b)
{
    size_t n = 0;
    for (size_t i = 0; i < p->c.slots; i++) {
        if (p->slot[i].brain == b)
            fill_row(p, &p->slot[i], &p->row[n++]);
    }
    if (n)
        mag_act_step(b->act, &p->draws, p->row, n);
}

/* Carry the chosen actions out in one environment. */
static void advance(struct player *p, struct slot *s)
{
    struct env_step step;
    if (p->c.run->env->step(s->env, s->action + s->t * p->d.N, &step) ||
        step.end == ENV_ABORT) {
        mend(p, s);
        return;
    }
    s->reward[s->t] = step.reward;
    s->ret += (double)step.reward;
    s->t++;
    if (step.end == ENV_RUNNING && s->t == p->limit) {
        err_set(ERR_IO, "the environment did not end at its limit of %zu steps", p->limit);
        mend(p, s);
    } else if (step.end == ENV_RUNNING) {
        observe(p, s);
    } else {
        finish(p, s, &step);
    }
}

static bool busy(const struct player *p)
{
    return p->brain[0].users || p->brain[1].users;
}

static void step_all(struct player *p)
{
    for (size_t i = 0; i < BRAINS; i++) {
        if (p->brain[i].users)
            act(p, &p->brain[i]);
    }
    for (size_t i = 0; i < p->c.slots; i++) {
        if (p->slot[i].brain)
            advance(p, &p->slot[i]);
    }
}

/* ----------------------------------------------------------------------------- the thread */

static void abandon_all(struct player *p)
{
    while (p->waiting) {
        struct order *o = waiting_pop(p);
        hand_over(p, &o->play, PLAYED_ABANDONED, NULL, NULL);
        order_free(o);
    }
    for (size_t i = 0; i < p->c.slots; i++) {
        struct slot *s = &p->slot[i];
        if (!s->brain)
            continue;
        hand_over(p, &s->play, PLAYED_ABANDONED, NULL, NULL);
        leave(s);
    }
}

/* Orders in; waits only when there is nothing to play. */
static void take_orders(struct player *p)
{
    void *item;
    while (jobq_pop(p->in, &item, busy(p) || p->waiting ? 0 : IDLE_MS) == 0) {
        struct order *o = item;
        o->next = NULL;
        *p->waiting_tail = o;
        p->waiting_tail = &o->next;
    }
}

static void *play_thread(void *arg)
{
    struct player *p = arg;
    pool_fp_mode();
    while (!atomic_load(&p->stop)) {
        take_orders(p);
        if (atomic_exchange(&p->abandon, 0))
            abandon_all(p);
        assign(p);
        if (busy(p))
            step_all(p);
    }
    return NULL;
}

/* --------------------------------------------------------------------------- open, close */

static int open_brains(struct player *p)
{
    const uint32_t threads = p->c.run->cfg.compute.threads;
    int err = pool_open(&p->pool, threads ? threads : 1);
    for (size_t i = 0; i < BRAINS && !err; i++) {
        err = work_model_open(&p->brain[i].model, &p->d, p->c.run->isa);
        if (!err)
            err = mag_act_open(&p->brain[i].act, p->brain[i].model.m, p->c.slots, p->pool);
    }
    return err;
}

static int open_slots(struct player *p)
{
    size_t N = p->d.N, rows = p->limit + 1;
    size_t one = rows * (obs_floats(p) * 4 + N * p->mask_bytes) + p->limit * (N + 4) +
                 N * p->d.A + 6 * 64;
    int err = arena_init(&p->arena, p->c.slots * one + 4096);
    if (err)
        return err;
    p->slot = calloc(p->c.slots, sizeof *p->slot);
    p->row = calloc(p->c.slots, sizeof *p->row);
    if (!p->slot || !p->row)
        return err_set(ERR_NOMEM, "out of memory for %u environments", p->c.slots);
    for (size_t i = 0; i < p->c.slots; i++) {
        struct slot *s = &p->slot[i];
        s->obs = ARENA_NEW(&p->arena, float, rows *obs_floats(p));
        s->reward = ARENA_NEW(&p->arena, float, p->limit);
        s->avail = ARENA_NEW(&p->arena, uint8_t, rows * N * p->mask_bytes);
        s->action = ARENA_NEW(&p->arena, uint8_t, p->limit * N);
        s->mask = ARENA_NEW(&p->arena, uint8_t, N * p->d.A);
        err = p->c.run->env->open(&p->c.run->cfg, &s->env);
        if (err)
            return err;
    }
    return 0;
}

int player_open(struct player **out, const struct player_cfg *c)
{
    struct player *p = calloc(1, sizeof *p);
    if (!p)
        return err_set(ERR_NOMEM, "out of memory for the environment thread");
    const struct env_spec *spec = &c->run->spec;
    p->c = *c;
    p->limit = spec->episode_limit;
    p->waiting_tail = &p->waiting;
    p->philox.seed = c->run->cfg.seed;
    p->draws = philox_draws(&p->philox);
    mag_dims_of(&p->d, &c->run->cfg, spec->n_agents, spec->obs, spec->actions);
    p->mask_bytes = (p->d.A + 7) / 8;
    int err = open_slots(p);
    if (!err)
        err = open_brains(p);
    if (!err)
        err = jobq_open(&p->in, QUEUE);
    if (!err)
        err = jobq_open(&p->out, QUEUE);
    if (!err && pthread_create(&p->thread, NULL, play_thread, p))
        err = err_set(ERR_NOMEM, "cannot start the environment thread");
    p->threaded = !err;
    if (err) {
        player_close(p);
        return err;
    }
    *out = p;
    return 0;
}

static void drain_queues(struct player *p)
{
    void *item;
    while (p->in && jobq_pop(p->in, &item, 0) == 0)
        order_free(item);
    while (p->waiting)
        order_free(waiting_pop(p));
    while (p->out && jobq_pop(p->out, &item, 0) == 0) {
        free(((struct played *)item)->body);
        free(item);
    }
}

void player_close(struct player *p)
{
    if (!p)
        return;
    atomic_store(&p->stop, true);
    if (p->in)
        jobq_shut(p->in);
    if (p->out)
        jobq_shut(p->out);
    if (p->threaded)
        pthread_join(p->thread, NULL);
    drain_queues(p);
    if (p->in)
        jobq_close(p->in);
    if (p->out)
        jobq_close(p->out);
    for (size_t i = 0; i < BRAINS; i++) {
        if (p->brain[i].act)
            mag_act_close(p->brain[i].act);
        work_model_close(&p->brain[i].model);
    }
    for (size_t i = 0; p->slot && i < p->c.slots; i++) {
        if (p->slot[i].env)
            p->c.run->env->close(p->slot[i].env);
    }
    pool_close(p->pool);
    free(p->slot);
    free(p->row);
    arena_fini(&p->arena);
    free(p);
}

/* -------------------------------------------------------------------------- for the loop */

int player_play(struct player *p, const struct wire_play *play, struct blob_set *weights)
{
    struct order *o = calloc(1, sizeof *o);
    if (!o) {
        blob_set_free(weights);
        return err_set(ERR_NOMEM, "out of memory for an episode");
    }
    o->play = *play;
    o->weights = weights;
    int err = jobq_push(p->in, o);
    if (err)
        order_free(o);
    return err;
}

void player_abandon(struct player *p)
{
    atomic_store(&p->abandon, 1);
}

struct played *player_take(struct player *p)
{
    void *item;
    return jobq_pop(p->out, &item, 0) == 0 ? item : NULL;
}
