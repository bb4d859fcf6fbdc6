/* SPDX-License-Identifier: Apache-2.0 */
/* bench_half.c - float32 and half precision planning side by side; bench_half.h says what is
 * compared.
 *
 * Three imaginations share model, windows and keys: float32, half, and float32 whose draws of
 * inner steps (tau >= 1) come from another domain. All three
 * start every imagined step alike until one of them chooses otherwise; a start is compared with
 * float32 up to and including that step. */
#include "bench_half.h"

#include "args.h"
#include "rundir.h"

#include "algo/mag.h"
#include "base/err.h"
#include "env/env.h"
#include "learner/ckpt.h"
#include "learner/replay.h"
#include "learner/store.h"
#include "nn/half.h"
#include "par/pool.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum side { FLOAT32, HALF, OTHER_DRAWS, SIDES };
enum { EPISODES_MAX = 400, RATE_RUNS = 20, BLOCK = 128 };

/* How the choices of a side compare with float32's. */
struct agreement {
    uint64_t states, same, first_states, first_same; /* first: states of real episodes */
    double lost, gain;                               /* sums of float32's scores */
};

struct work {
    struct config cfg;
    struct env_spec spec;
    struct mag_dims d;
    struct mag_model *model;
    struct pool *pool;
    struct replay *replay;
    struct replay_batch batch;
    struct philox philox;
    struct draws draws, other;
    struct arena arena;
    struct mag_imagine *im[SIDES];
    struct mag_trace trace[SIDES];
    struct mag_rows rows;
    uint32_t *global;
    size_t windows, S, steps;
    double seconds[SIDES];
    uint64_t calls;
    struct agreement agree[SIDES];
    double float32_gflops, half_gflops;
    uint64_t iteration; /* of the weights; 0: initial ones */
    int sides;          /* compared: the third needs a run to tell anything */
};

/* ---------------------------------------------------------------------------------- set up */

/* Inner steps draw from the domains of the figure, which are keyed alike and used by nobody
 * here. */
static void fill_otherwise(void *state, enum draw_domain domain, uint64_t item, uint32_t sub,
                           float *u, size_t n)
{
    if ((sub & 0xff) > 0 && domain == DRAW_PLAN_LATENT)
        domain = DRAW_METRIC_PLAN_LATENT;
    else if ((sub & 0xff) > 0 && domain == DRAW_PLAN_AVAIL)
        domain = DRAW_METRIC_PLAN_AVAIL;
    else if ((sub & 0xff) > 0 && domain == DRAW_PLAN_ACT)
        domain = DRAW_METRIC_PLAN_ACT;
    draws_fill(state, domain, item, sub, u, n);
}

/* Episodes of the run, the newest EPISODES_MAX. */
static int read_episodes(struct work *w, const char *run_dir, uint64_t next)
{
    char path[RUN_PATH + 32];
    struct store *s = NULL;
    snprintf(path, sizeof path, "%s/run.db", run_dir);
    int err = store_open_read(&s, path);
    for (uint64_t no = next > EPISODES_MAX ? next - EPISODES_MAX : 0; no < next && !err; no++) {
        struct wire_episode e;
        unsigned char *body = NULL;
        size_t n = 0;
        err = store_load(s, KIND_TRAIN, no, NULL, &body, &n);
        if (!err)
            err = wire_episode_parse(&e, body, n);
        if (!err)
            err = replay_add(w->replay, &e, &w->draws);
        free(body);
    }
    store_close(s);
    return err;
}

/* One long episode of numbers; nothing in them is learnt from. */
static int make_episode(struct work *w)
{
    size_t N = w->d.N, O = w->d.O, A = w->d.A, T = 4 * (size_t)w->cfg.replay.window;
    size_t floats = (T + 1) * N * O + T, bits = (T + 1) * N * ((A + 7) / 8);
    struct rng r;
    float *obs = calloc(floats, sizeof *obs);
    uint8_t *action = calloc(1, T * N + bits);
    if (!obs || !action) {
        free(obs);
        free(action);
        return ERR_NOMEM;
    }
    rng_seed(&r, 2);
    for (size_t i = 0; i < floats; i++)
        obs[i] = (float)(rng_unit(&r) - 0.5);
    for (size_t i = 0; i < T * N; i++)
        action[i] = (uint8_t)rng_below(&r, (uint32_t)A);
    memset(action + T * N, 0xff, bits);
    struct wire_episode e = {.kind = KIND_TRAIN,
                             .T = (uint32_t)T,
                             .N = (uint32_t)N,
                             .O = (uint32_t)O,
                             .A = (uint32_t)A,
                             .end = END_TERMINAL,
                             .obs = obs,
                             .avail = action + T * N,
                             .action = action,
                             .reward = obs + (T + 1) * N * O};
    int err = replay_add(w->replay, &e, &w->draws);
    free(obs);
    free(action);
    return err;
}

static int open_model(struct work *w, const char *checkpoint)
{
    const struct env_class *class = NULL;
    int err = env_find(w->cfg.env.name, &class);
    if (!err)
        err = class->spec(&w->cfg, &w->spec);
    if (err)
        return err;
    mag_dims_of(&w->d, &w->cfg, w->spec.n_agents, w->spec.obs, w->spec.actions);
    err = mag_model_open(&w->model, &w->d, w->cfg.compute.isa);
    if (err)
        return err;
    if (checkpoint)
        err = ckpt_load(checkpoint, &w->model->params, w->model->params.value, NULL, NULL);
    else
        mag_init(w->model, &w->draws);
    mag_refresh(w->model, MAG_NEEDS_ALL);
    return err;
}

/* Settings, weights and episodes of the run, or made-up ones. */
static int open_data(struct work *w, const struct config *cfg, const char *run)
{
    struct ckpt_state state = {0};
    char dir[RUN_PATH], checkpoint[RUN_PATH];
    int err = 0;
    w->cfg = *cfg;
    w->sides = run ? SIDES : OTHER_DRAWS;
    if (run) {
        err = rundir_of(run, dir);
        if (!err)
            err = rundir_config(dir, &w->cfg);
        if (!err)
            err = ckpt_find(run, checkpoint, sizeof checkpoint);
        if (!err)
            err = ckpt_read_state(checkpoint, &state, NULL);
        w->cfg.compute = cfg->compute;
        w->iteration = state.iteration;
    }
    w->philox = (struct philox){.seed = w->cfg.seed, .iteration = (uint32_t)state.iteration};
    w->draws = philox_draws(&w->philox);
    w->other = (struct draws){.fill = fill_otherwise, .state = &w->draws}; /* no words */
    if (!err)
        err = open_model(w, run ? checkpoint : NULL);
    if (!err)
        err = replay_open(&w->replay, w->cfg.replay.capacity, w->d.N, w->d.O, w->d.A);
    if (err)
        return err;
    return run ? read_episodes(w, dir, state.next_episode) : make_episode(w);
}

static int open_side(struct work *w, enum side side)
{
    struct config cfg = w->cfg;
    struct mag_imagine_cfg ic = {.W = cfg.replay.window, .windows_max = w->windows};
    struct mag_trace *t = &w->trace[side];
    cfg.imagine.precision = side == HALF ? PRECISION_HALF : PRECISION_FLOAT32;
    cfg.imagine.choice = CHOICE_START;
    cfg.imagine.epsilon = 0;
    ic.cfg = &cfg;
    t->choice = ARENA_NEW(&w->arena, int64_t, w->steps * w->S);
    t->scores = ARENA_NEW(&w->arena, float, w->steps * w->S * cfg.imagine.candidates);
    return mag_imagine_open(&w->im[side], w->model, &ic, w->pool);
}

static int open_sides(struct work *w)
{
    size_t W = w->cfg.replay.window, B = w->cfg.job.windows;
    B = w->windows = B < w->cfg.train.windows ? B : w->cfg.train.windows; /* a planner's job */
    const struct kern_half *half = NULL;
    if (w->cfg.imagine.search == SEARCH_NONE || !w->cfg.imagine.candidates ||
        !w->cfg.imagine.horizon)
        return err_set(ERR_CONFIG, "nothing is planned with these settings");
    w->S = (W - 2) * B;
    w->steps = w->cfg.imagine.steps - 1;
    size_t trace = w->steps * w->S * (8 + 4 * w->cfg.imagine.candidates) + 128;
    int err = kern_half_get(w->cfg.compute.isa, &half);
    if (!err)
        err = kern_half_rates(w->model->kern, half, BLOCK, w->d.D, w->d.D, RATE_RUNS,
                              &w->float32_gflops, &w->half_gflops);
    if (!err)
        err = pool_open(&w->pool, 1);
    if (!err)
        err = arena_init(&w->arena, replay_batch_bytes(W, B, w->d.N, w->d.O, w->d.A) +
                                        mag_rows_bytes(&w->d, w->S, w->steps) + SIDES * trace +
                                        B * sizeof(uint32_t) + 4096);
    if (!err)
        err = replay_batch_carve(&w->batch, w->replay, W, B, &w->arena);
    if (err)
        return err;
    mag_rows_carve(&w->rows, &w->d, w->S, w->steps, &w->arena);
    w->global = ARENA_NEW(&w->arena, uint32_t, B);
    for (size_t i = 0; i < B; i++)
        w->global[i] = (uint32_t)i;
    for (int side = 0; side < w->sides && !err; side++)
        err = open_side(w, (enum side)side);
    return err;
}

static void work_close(struct work *w)
{
    for (int side = 0; side < SIDES; side++)
        mag_imagine_close(w->im[side]);
    arena_fini(&w->arena);
    pool_close(w->pool);
    replay_close(w->replay);
    mag_model_close(w->model);
}

/* --------------------------------------------------------------------------------- compare */

static double thread_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int imagine(struct work *w, enum side side)
{
    struct mag_plan_stats stats;
    double start = thread_seconds();
    int err = mag_imagine_windows(w->im[side], &w->batch.w, w->global, w->batch.w.B,
                                  side == OTHER_DRAWS ? &w->other : &w->draws, w->calls,
                                  &w->rows, &stats, &w->trace[side]);
    w->seconds[side] += thread_seconds() - start;
    return err;
}

/* One start: all steps up to the first other choice. */
static void compare_start(struct work *w, enum side side, size_t s)
{
    const struct mag_trace *f = &w->trace[FLOAT32], *o = &w->trace[side];
    struct agreement *a = &w->agree[side];
    const size_t L = w->cfg.imagine.candidates;
    for (size_t i = 0; i < w->steps; i++) {
        const float *score = f->scores + i * L * w->S + s;
        size_t mine = (size_t)f->choice[i * w->S + s], other = (size_t)o->choice[i * w->S + s];
        double sum = 0;
        for (size_t j = 0; j < L; j++)
            sum += (double)score[j * w->S];
        a->states++;
        a->same += mine == other;
        a->first_states += i == 0;
        a->first_same += i == 0 && mine == other;
        a->lost += (double)(score[other * w->S] - score[mine * w->S]);
        a->gain += sum / (double)L - (double)score[mine * w->S];
        if (mine != other)
            return;
    }
}

static int run(struct work *w, double seconds)
{
    int err = 0;
    while (!err && (w->seconds[HALF] < seconds || w->calls == 0)) {
        err = replay_sample(w->replay, &w->batch, &w->draws, DRAW_METRIC_WINDOW, w->calls);
        for (int side = 0; side < w->sides && !err; side++)
            err = imagine(w, (enum side)side);
        for (int side = HALF; side < w->sides && !err; side++)
            for (size_t s = 0; s < w->S; s++)
                compare_start(w, (enum side)side, s);
        w->calls++;
    }
    return err;
}

/* ----------------------------------------------------------------------------------- print */

static double tokens_per_s(const struct work *w, enum side side)
{
    double tokens = (double)mag_plan_tokens(&w->cfg, &w->d, w->S, w->steps);
    return (double)w->calls * tokens / w->seconds[side];
}

static double share(double part, double of)
{
    return of > 0 ? part / of : (double)NAN;
}

static void print_choices(const struct work *w, enum side side, const char *name)
{
    const struct agreement *a = &w->agree[side];
    printf("  %-30s %5.1f %% of %llu, %5.1f %% at states of episodes; costs %.1f %% of "
           "planning's gain\n",
           name, 100 * share((double)a->same, (double)a->states), (unsigned long long)a->states,
           100 * share((double)a->first_same, (double)a->first_states),
           100 * share(a->lost, a->gain));
}

static void print(const struct work *w, const char *run)
{
    printf("half precision in planning, %s, width %u, one thread, %s:\n", w->cfg.env.map,
           w->cfg.net.width, run ? run : "initial weights and made-up windows");
    printf("  products           %8.1f GFLOP/s in float32, %8.1f in half (x %.2f)\n",
           w->float32_gflops, w->half_gflops, w->half_gflops / w->float32_gflops);
    printf("  planning           %8.0f tokens/s in float32, %6.0f in half (x %.2f)\n",
           tokens_per_s(w, FLOAT32), tokens_per_s(w, HALF),
           w->seconds[FLOAT32] / w->seconds[HALF]);
    if (run)
        printf("  weights of iteration %llu; %u candidates, horizon %u; the same choice as "
               "float32:\n",
               (unsigned long long)w->iteration, w->cfg.imagine.candidates,
               w->cfg.imagine.horizon);
    if (run)
        print_choices(w, HALF, "half");
    if (run)
        print_choices(w, OTHER_DRAWS, "float32 with other inner draws");
}

static json_t *choices_json(const struct agreement *a)
{
    return json_pack("{s:I,s:f,s:f,s:f}", "states", (json_int_t)a->states, "same",
                     share((double)a->same, (double)a->states), "same_first",
                     share((double)a->first_same, (double)a->first_states), "lost_share",
                     share(a->lost, a->gain));
}

int bench_half(const char *verb, const struct config *cfg, const char *run_path, double seconds,
               json_t *out)
{
    struct work *w = calloc(1, sizeof *w);
    if (!w)
        return fail(EXIT_INTERNAL, verb, "out of memory");
    int err = open_data(w, cfg, run_path);
    if (!err)
        err = open_sides(w);
    if (!err)
        err = run(w, seconds);
    if (!err && out) {
        json_object_set_new(out, "half",
                            json_pack("{s:s,s:i,s:f,s:f,s:f,s:f}", "map", w->cfg.env.map,
                                      "width", (int)w->cfg.net.width, "float32_gflops",
                                      w->float32_gflops, "half_gflops", w->half_gflops,
                                      "float32_tokens_per_s", tokens_per_s(w, FLOAT32),
                                      "half_tokens_per_s", tokens_per_s(w, HALF)));
        json_t *half = json_object_get(out, "half");
        if (run_path) {
            json_object_set_new(half, "choices", choices_json(&w->agree[HALF]));
            json_object_set_new(half, "other_draws", choices_json(&w->agree[OTHER_DRAWS]));
        }
    } else if (!err) {
        print(w, run_path);
    }
    work_close(w);
    free(w);
    return err ? fail(EXIT_CONFIG, verb, "%s", err_text()) : EXIT_OK;
}
