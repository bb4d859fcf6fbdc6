/* SPDX-License-Identifier: Apache-2.0 */
/* bench.c - the measured parts: engine, acting, gradient steps, planning.
 *
 * MACs are those that must be done (mag.md 20: one-hot inputs are gathers and count nothing),
 * so a share of the product rate says how much of the time is products at full speed. */
#include "bench.h"

#include "algo/mag.h"
#include "base/clock.h"
#include "base/err.h"
#include "env/batch.h"
#include "nn/kern.h"
#include "par/pool.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ACT_LANES = 16, AGENTS_MAX = 64, ACTIONS_MAX = 256, CLOCK_STEPS = 64 };

static double seconds_since(int64_t start_us)
{
    return (double)(clock_mono_us() - start_us) * 1e-6;
}

/* ------------------------------------------------------------------------------ the engine */

/* Time of this thread on a core: a machine that does other things, too, halves no figure. */
static double core_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int play(struct batch *b, const struct batch_arrays *to, uint8_t *actions, size_t envs,
                double seconds, double *steps_per_s, double *mean_length)
{
    uint64_t steps = 0, ends = 0;
    int err = batch_reset(b, to, NULL, NULL);
    double start = core_seconds(), spent = 0;
    while (!err && spent < seconds) {
        for (size_t i = 0; !err && i < CLOCK_STEPS; i += envs) {
            batch_sample(b, to->avail, actions);
            err = batch_step(b, to, actions);
            steps += envs;
            for (size_t k = 0; k < envs; k++)
                ends += to->end[k] != ENV_RUNNING;
        }
        spent = core_seconds() - start;
    }
    *steps_per_s = (double)steps / spent;
    *mean_length = (double)steps / (double)(ends ? ends : 1);
    return err;
}

static int bench_batch(const struct env_class *class, const struct config *cfg, size_t envs,
                       double seconds, double *steps_per_s, double *mean_length)
{
    struct batch *b = NULL;
    struct batch_options o = {.envs = envs, .autoreset = BATCH_SAME_STEP};
    int err = batch_open(&b, class, cfg, &o);
    if (err)
        return err;
    const struct env_spec *s = batch_spec(b);
    struct batch_arrays to = {.obs = calloc(envs * s->n_agents * s->obs, sizeof(float)),
                              .avail = calloc(envs * s->n_agents, s->actions),
                              .state = calloc(envs * s->state + 1, sizeof(float)),
                              .reward = calloc(envs, sizeof(float)),
                              .end = calloc(envs, 1)};
    uint8_t *actions = calloc(envs, s->n_agents);
    if (to.obs && to.avail && to.state && to.reward && to.end && actions)
        err = play(b, &to, actions, envs, seconds, steps_per_s, mean_length);
    else
        err = err_set(ERR_NOMEM, "no memory for %zu environments", envs);
    free(to.obs);
    free(to.avail);
    free(to.state);
    free(to.reward);
    free(to.end);
    free(actions);
    batch_close(b);
    return err;
}

int bench_env(struct bench_env *out, const struct config *cfg, const char *map, double seconds)
{
    struct config c = *cfg;
    const struct env_class *class = NULL;
    double length; /* of the batch's episodes: the same battles */
    snprintf(c.env.map, sizeof c.env.map, "%s", map);
    snprintf(out->map, sizeof out->map, "%s", map);
    int err = env_find(c.env.name, &class);
    if (!err)
        err = bench_batch(class, &c, 1, seconds, &out->steps_per_s, &out->mean_length);
    if (!err)
        err = bench_batch(class, &c, BENCH_BATCH, seconds, &out->batch_steps_per_s, &length);
    return err;
}

/* --------------------------------------------------------------------------------- the core */

struct core {
    struct config cfg;
    struct env_spec spec;
    struct mag_dims d;
    struct mag_model *model;
    struct pool *pool;
    struct philox philox;
    struct draws draws;
    struct mag_windows w;
    float *obs, *reward;
    uint8_t *action, *avail, *done, *fake, *last;
    double seconds;
};

/* Windows such as a running battle gives: everything available, no episode ends. */
static int make_windows(struct core *c)
{
    size_t W = c->cfg.replay.window, B = c->cfg.train.windows, rows = W * B, N = c->d.N;
    struct rng r;
    rng_seed(&r, 2);
    c->obs = malloc(rows * N * c->d.O * sizeof(float));
    c->reward = malloc(rows * N * sizeof(float));
    c->action = malloc(rows * N);
    c->avail = malloc(rows * N * c->d.A);
    c->done = calloc(3, rows);
    if (!c->obs || !c->reward || !c->action || !c->avail || !c->done)
        return ERR_NOMEM;
    c->fake = c->done + rows;
    c->last = c->fake + rows;
    for (size_t i = 0; i < rows * N * c->d.O; i++)
        c->obs[i] = (float)(rng_unit(&r) - 0.5);
    for (size_t i = 0; i < rows * N; i++) {
        c->reward[i] = (float)rng_unit(&r);
        c->action[i] = (uint8_t)rng_below(&r, (uint32_t)c->d.A);
    }
    memset(c->avail, 1, rows * N * c->d.A);
    c->w = (struct mag_windows){W,         B,       c->obs,  c->action, c->avail,
                                c->reward, c->done, c->fake, c->last};
    return 0;
}

static int core_open(struct core *c, const struct config *cfg, double seconds)
{
    const struct env_class *class = NULL;
    *c = (struct core){.cfg = *cfg, .philox = {.seed = 1, .iteration = 1}, .seconds = seconds};
    c->draws = philox_draws(&c->philox);
    int err = env_find(cfg->env.name, &class);
    if (!err)
        err = class->spec(cfg, &c->spec);
    if (!err) {
        mag_dims_of(&c->d, cfg, c->spec.n_agents, c->spec.obs, c->spec.actions);
        err = mag_model_open(&c->model, &c->d, cfg->compute.isa);
    }
    if (!err)
        err = pool_open(&c->pool, pool_team(cfg->compute.threads));
    if (err)
        return err;
    pool_fp_mode();
    mag_init(c->model, &c->draws);
    mag_refresh(c->model, MAG_NEEDS_ALL);
    return make_windows(c);
}

static void core_close(struct core *c)
{
    free(c->obs);
    free(c->reward);
    free(c->action);
    free(c->avail);
    free(c->done);
    pool_close(c->pool);
    mag_model_close(c->model);
}

static double act_rate(struct core *c, size_t lanes)
{
    struct mag_act *act = NULL;
    struct mag_act_row row[ACT_LANES];
    uint8_t action[ACT_LANES][AGENTS_MAX];
    if (mag_act_open(&act, c->model, lanes, c->pool))
        return NAN;
    for (size_t i = 0; i < lanes; i++)
        row[i] = (struct mag_act_row){.row = i,
                                      .obs = c->obs + i * c->d.N * c->d.O,
                                      .avail = c->avail,
                                      .item = i,
                                      .action = action[i]};
    uint64_t steps = 0;
    int64_t start = clock_mono_us();
    while (seconds_since(start) < c->seconds)
        for (int i = 0; i < 8; i++, steps += lanes)
            mag_act_step(act, &c->draws, row, lanes);
    double rate = (double)steps / seconds_since(start);
    mag_act_close(act);
    return rate;
}

/* Multiply-accumulates per token that must be done, forward (mag.md 19 less 20 (a)). */
static double transition_macs(const struct mag_dims *d)
{
    double D = (double)d->D, N = (double)d->N;
    return (double)d->layers * (6 * D * D + 2 * N * D) + 6 * D * D + D * D +
           D * (double)(d->C * d->K);
}

static double head_macs(const struct mag_dims *d, double layers, double out)
{
    double D = (double)d->D;
    return layers * D * D + D * out;
}

/* Forward and backward of one model step: three times the forward, and the first layers' dense
 * input gradient, which the straight-through latent needs. */
static double model_step_macs(const struct core *c)
{
    const struct mag_dims *d = &c->d;
    double D = (double)d->D, O = (double)d->O, A = (double)d->A, CK = (double)(d->C * d->K);
    double tokens = (double)((c->cfg.replay.window - 2) * c->cfg.train.windows * d->N);
    double forward = transition_macs(d) + O * D + 3 * D * D + 2 * D * D + D * CK +
                     head_macs(d, 3, O) + 2 * head_macs(d, 2, 1) + head_macs(d, 2, A) +
                     head_macs(d, 2, A);
    return tokens * (3 * forward + 5 * CK * D);
}

static double planning_token_macs(const struct core *c)
{
    const struct mag_dims *d = &c->d;
    double A = (double)d->A, H = c->cfg.imagine.horizon;
    double policy = 2 * head_macs(d, 2, A);
    return transition_macs(d) + head_macs(d, 4, 1) + policy * (H - 1) / H;
}

static int bench_training(struct core *c, struct bench_core *out)
{
    struct mag_train *t = NULL;
    struct mag_model_stats ms;
    struct mag_rm_stats rs;
    struct mag_train_cfg tc = {.W = c->cfg.replay.window,
                               .B = c->cfg.train.windows,
                               .S = (c->cfg.replay.window - 2) * c->cfg.train.windows,
                               .rows_max = (c->cfg.replay.window - 2) * c->cfg.train.windows *
                                           (c->cfg.imagine.steps - 1),
                               .minibatch = c->cfg.train.minibatch,
                               .cfg = &c->cfg};
    int err = mag_train_open(&t, c->model, &tc, c->pool);
    if (err)
        return err;
    uint64_t step = 0;
    err = mag_model_step(t, &c->w, &c->draws, step++, &ms); /* warm the caches */
    int64_t start = clock_mono_us();
    uint64_t first = step;
    while (!err && seconds_since(start) < c->seconds)
        err = mag_model_step(t, &c->w, &c->draws, step++, &ms);
    double each = seconds_since(start) / (double)(step - first);
    out->model_ms = 1e3 * each;
    out->model_share =
        2e-9 * model_step_macs(c) / each / (out->gflops * (double)pool_threads(c->pool));
    start = clock_mono_us();
    first = step;
    while (!err && seconds_since(start) < c->seconds)
        err = mag_rm_step(t, &c->w, &c->draws, step++, &rs);
    out->rm_ms = 1e3 * seconds_since(start) / (double)(step - first);
    mag_train_close(t);
    return err;
}

static int bench_planning(struct core *c, struct bench_core *out)
{
    struct mag_imagine *im = NULL;
    struct mag_rows rows;
    struct arena arena = {0};
    struct mag_plan_stats stats;
    size_t take = c->cfg.job.windows < c->w.B ? c->cfg.job.windows : c->w.B;
    size_t S = (c->w.W - 2) * take, steps = c->cfg.imagine.steps - 1;
    struct mag_imagine_cfg ic = {.W = c->w.W, .windows_max = take, .cfg = &c->cfg};
    uint32_t global[ACTIONS_MAX];
    for (size_t i = 0; i < take; i++)
        global[i] = (uint32_t)i;
    struct mag_windows w =
        c->w; /* made-up numbers serve any shape: fewer windows of the same */
    w.B = take;
    int err = arena_init(&arena, mag_rows_bytes(&c->d, S, steps) + 4096);
    if (!err)
        err = mag_imagine_open(&im, c->model, &ic, c->pool);
    if (!err)
        mag_rows_carve(&rows, &c->d, S, steps, &arena);
    uint64_t calls = 0;
    int64_t start = clock_mono_us();
    while (!err && seconds_since(start) < c->seconds)
        err = mag_imagine_windows(im, &w, global, c->cfg.train.windows, &c->draws, calls++,
                                  &rows, &stats, NULL);
    double spent = seconds_since(start);
    double tokens = (double)calls * (double)mag_plan_tokens(&c->cfg, &c->d, S, steps);
    out->plan_tokens = tokens / spent;
    out->plan_share = 2e-9 * out->plan_tokens * planning_token_macs(c) /
                      (out->gflops * (double)pool_threads(c->pool));
    mag_imagine_close(im);
    arena_fini(&arena);
    return err;
}

int bench_core(struct bench_core *out, const struct config *cfg, unsigned what, double seconds)
{
    struct core c;
    *out = (struct bench_core){0};
    int err = core_open(&c, cfg, seconds);
    if (!err) {
        const struct kern *k = c.model->kern;
        snprintf(out->kernel, sizeof out->kernel, "%s, products %s", k->name, k->products);
        out->threads = (unsigned)pool_threads(c.pool);
        out->gflops = kern_gflops(k, 240, 256, 256, seconds / 2);
    }
    if (!err && what & BENCH_ACT) {
        out->act_one = act_rate(&c, 1);
        out->act_many = act_rate(&c, ACT_LANES);
    }
    if (!err && what & BENCH_MODEL)
        err = bench_training(&c, out);
    if (!err && what & BENCH_PLAN)
        err = bench_planning(&c, out);
    core_close(&c);
    return err;
}
