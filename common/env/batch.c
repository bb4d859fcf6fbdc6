/* SPDX-License-Identifier: Apache-2.0 */
/* batch.c - K environments side by side, one task each.
 *
 * WHY ONE TASK EACH  A step of a large battle takes a hundred times as long as one of a battle
 * that is nearly over, so fixed shares would wait for the slowest. Environments share nothing,
 * write to rows of their own, and which thread steps one never enters its result.
 *
 * ERRORS  err_text() belongs to a thread, and the thread that steps an environment may not be
 * the caller's. So a slot keeps the sentence, and the caller reports that of the lowest k. */
#include "env/batch.h"

#include "base/err.h"
#include "base/rng.h"

#include <stdio.h>
#include <stdlib.h>

enum { WHY = 400 };

struct slot {
    struct env *env;
    uint64_t seed, episode; /* of the sequence; number of the next episode in it */
    uint64_t playing;       /* seed of the present episode */
    struct rng random;      /* of batch_sample, per episode */
    bool ready;             /* an episode has been started and its reset did not fail */
    enum env_end end;
    bool won;
    int err;
    char why[WHY]; /* the last error's sentence */
};

struct batch {
    const struct env_class *class;
    struct env_spec spec;
    struct batch_options o;
    /* the call under way, read by its tasks */
    int (*work)(struct batch *b, size_t k);
    const struct batch_arrays *to;
    const uint64_t *seeds;
    const uint8_t *which, *actions;
    const char *policy;
    struct slot slots[];
};

/* --- life --- */

int batch_open(struct batch **out, const struct env_class *class, const struct config *cfg,
               const struct batch_options *o)
{
    if (o->envs < 1 || o->envs > BATCH_ENVS_MAX)
        return err_set(ERR_INVAL, "a batch of %zu environments; use 1 to %d", o->envs,
                       BATCH_ENVS_MAX);
    if (o->autoreset > BATCH_NEXT_STEP)
        return err_set(ERR_INVAL, "autoreset %d; use 0 (manual), 1 (same step), 2 (next step)",
                       (int)o->autoreset);
    struct batch *b = calloc(1, sizeof *b + o->envs * sizeof(struct slot));
    if (!b)
        return err_set(ERR_NOMEM, "no memory for %zu environments", o->envs);
    b->class = class;
    b->o = *o;
    int err = class->spec(cfg, &b->spec);
    for (size_t k = 0; !err && k < o->envs; k++) {
        b->slots[k].seed = k;
        err = class->open(cfg, &b->slots[k].env);
    }
    if (err) {
        batch_close(b);
        return err;
    }
    *out = b;
    return 0;
}

void batch_close(struct batch *b)
{
    if (!b)
        return;
    for (size_t k = 0; k < b->o.envs; k++)
        if (b->slots[k].env)
            b->class->close(b->slots[k].env);
    free(b);
}

const struct env_spec *batch_spec(const struct batch *b)
{
    return &b->spec;
}

/* --- what a task does --- */

/* Row k of an array whose rows have `width` elements; NULL stays NULL. */
static float *floats(float *array, size_t k, size_t width)
{
    return array ? array + k * width : NULL;
}

static void observe(struct batch *b, size_t k, float *obs, uint8_t *avail, float *state)
{
    const struct env_spec *s = &b->spec;
    b->class->observe(b->slots[k].env, floats(obs, k, s->n_agents * s->obs),
                      avail + k * s->n_agents * s->actions, floats(state, k, s->state));
}

static void report(struct batch *b, size_t k, float reward, enum env_end end, bool won)
{
    b->to->reward[k] = reward;
    b->to->end[k] = (uint8_t)end;
    if (b->to->won)
        b->to->won[k] = won;
    if (b->to->seed)
        b->to->seed[k] = b->slots[k].playing;
}

/* A stream of its own: environments seed the same generator with the episode's seed itself. */
static void seed_random(struct rng *r, uint64_t episode_seed)
{
    struct philox philox = {.seed = episode_seed};
    struct draws draws = philox_draws(&philox);
    rng_seed(r, draws_seed(&draws, DRAW_ACT_ACTION, 0));
}

static int next_episode(struct batch *b, struct slot *s)
{
    uint64_t seed = batch_episode_seed(s->seed, s->episode);
    s->ready = false;
    int err = b->class->reset(s->env, seed);
    if (err)
        return err;
    s->episode++;
    s->playing = seed;
    s->ready = true;
    s->end = ENV_RUNNING;
    s->won = false;
    seed_random(&s->random, seed);
    return 0;
}

static int reset_one(struct batch *b, size_t k)
{
    struct slot *s = &b->slots[k];
    if (b->which && !b->which[k])
        return 0;
    if (b->seeds) {
        s->seed = b->seeds[k];
        s->episode = 0;
    }
    int err = next_episode(b, s);
    if (err)
        return err;
    observe(b, k, b->to->obs, b->to->avail, b->to->state);
    report(b, k, 0, ENV_RUNNING, false);
    return 0;
}

/* The environment stands at an end: what this step does instead. */
static int step_ended(struct batch *b, size_t k)
{
    struct slot *s = &b->slots[k];
    if (b->o.autoreset == BATCH_NEXT_STEP) {
        int err = next_episode(b, s);
        if (err)
            return err;
    }
    observe(b, k, b->to->obs, b->to->avail, b->to->state);
    report(b, k, 0, s->end, s->won);
    return 0;
}

static int step_one(struct batch *b, size_t k)
{
    struct slot *s = &b->slots[k];
    struct env_step r;
    if (!s->ready)
        return err_set(ERR_INVAL, "no episode has been started, reset first");
    if (s->end != ENV_RUNNING)
        return step_ended(b, k);
    int err = b->policy ? b->class->step_script(s->env, b->policy, &r)
                        : b->class->step(s->env, b->actions + k * b->spec.n_agents, &r);
    if (err)
        return err;
    s->end = r.end;
    s->won = r.won;
    if (r.end != ENV_RUNNING && b->o.autoreset == BATCH_SAME_STEP) {
        if (b->to->final_obs)
            observe(b, k, b->to->final_obs, b->to->final_avail, b->to->final_state);
        err = next_episode(b, s);
        if (err)
            return err;
    }
    observe(b, k, b->to->obs, b->to->avail, b->to->state);
    report(b, k, r.reward, r.end, r.won);
    return 0;
}

/* --- calls --- */

static void task(void *arg, size_t k, size_t worker)
{
    struct batch *b = arg;
    struct slot *s = &b->slots[k];
    (void)worker;
    s->err = b->work(b, k);
    if (s->err)
        snprintf(s->why, sizeof s->why, "%s", err_text());
}

static int run(struct batch *b, int (*work)(struct batch *b, size_t k))
{
    b->work = work;
    if (b->o.run)
        b->o.run(b->o.team, task, b, b->o.envs);
    else
        for (size_t k = 0; k < b->o.envs; k++)
            task(b, k, 0);
    for (size_t k = 0; k < b->o.envs; k++)
        if (b->slots[k].err)
            return err_set(b->slots[k].err, "environment %zu: %s", k, b->slots[k].why);
    return 0;
}

static void check_arrays(const struct batch_arrays *to)
{
    bug_on(!to->obs || !to->avail || !to->reward || !to->end);
    bug_on(!to->final_obs != !to->final_avail || (to->final_state && !to->final_obs));
}

int batch_reset(struct batch *b, const struct batch_arrays *to, const uint64_t *seeds,
                const uint8_t *which)
{
    check_arrays(to);
    b->to = to;
    b->seeds = seeds;
    b->which = which;
    return run(b, reset_one);
}

uint64_t batch_episode_seed(uint64_t seed, uint64_t episode)
{
    struct philox philox = {.seed = seed};
    struct draws draws = philox_draws(&philox);
    return episode ? draws_seed(&draws, DRAW_ENV, episode) : seed;
}

static int step_all(struct batch *b, const struct batch_arrays *to, const uint8_t *actions,
                    const char *policy)
{
    check_arrays(to);
    b->to = to;
    b->actions = actions;
    b->policy = policy;
    return run(b, step_one);
}

int batch_step(struct batch *b, const struct batch_arrays *to, const uint8_t *actions)
{
    return step_all(b, to, actions, NULL);
}

int batch_step_script(struct batch *b, const struct batch_arrays *to, const char *policy)
{
    return step_all(b, to, NULL, policy);
}

/* The rank-th action that is available, or 0. */
static uint8_t pick(const uint8_t *avail, size_t n, struct rng *r)
{
    size_t count = 0, at = 0;
    for (size_t a = 0; a < n; a++)
        count += avail[a] != 0;
    if (!count)
        return 0;
    for (size_t rank = rng_below(r, (uint32_t)count) + 1; rank; at++)
        rank -= avail[at] != 0;
    return (uint8_t)(at - 1);
}

void batch_sample(struct batch *b, const uint8_t *avail, uint8_t *actions)
{
    size_t n_agents = b->spec.n_agents, n_actions = b->spec.actions;
    for (size_t row = 0; row < b->o.envs * n_agents; row++)
        actions[row] =
            pick(avail + row * n_actions, n_actions, &b->slots[row / n_agents].random);
}

static int check_row(const struct batch *b, size_t k)
{
    return k < b->o.envs
               ? 0
               : err_set(ERR_INVAL, "environment %zu of a batch of %zu", k, b->o.envs);
}

int batch_describe(struct batch *b, size_t k, char *out, size_t n)
{
    int err = check_row(b, k);
    if (err)
        return err;
    if (!b->class->describe)
        return err_set(ERR_UNSUPPORTED, "%s has no text frames", b->class->name);
    return b->class->describe(b->slots[k].env, out, n);
}

int batch_scene(const struct batch *b, size_t k, struct scene *out)
{
    int err = check_row(b, k);
    if (err)
        return err;
    if (!b->class->scene)
        return err_set(ERR_UNSUPPORTED, "%s has no units", b->class->name);
    b->class->scene(b->slots[k].env, out);
    return 0;
}
