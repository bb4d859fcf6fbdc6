/* SPDX-License-Identifier: Apache-2.0 */
/* evaluate.c - many episodes side by side, one batch of acting per step.
 *
 * The bits of an episode do not depend on its company (mag_act_step), so LANES environments act
 * together; a lane that ends takes the next episode number. */
#include "evaluate.h"

#include "record.h"
#include "rundir.h"

#include "algo/mag.h"
#include "base/err.h"
#include "base/wilson.h"
#include "env/env.h"
#include "learner/ckpt.h"
#include "par/pool.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { LANES = 16 };

/* Added to the numbers that key draws: a run's own evaluations use those below, and the best of
 * many must be measured on starts that did not choose it. */
enum { FRESH = 1 << 20 };

/* One environment being played. */
struct lane {
    struct env *env;
    float *obs;      /* [N][O] */
    uint8_t *avail;  /* [N][A] */
    uint8_t *action; /* [N] */
    bool busy;
    uint64_t k;
    double ret;
    uint64_t length;
    struct film_take *take; /* this episode on film, or NULL */
};

struct player {
    struct config cfg;
    const struct env_class *env;
    struct env_spec spec;
    struct mag_model *model; /* NULL: no network plays */
    struct mag_act *act;
    struct pool *pool; /* of acting */
    struct philox philox;
    struct draws draws;
    struct lane lane[LANES];
    struct arena arena;
    const char *script;    /* NULL, "random" or a policy of env->step_script */
    struct record *record; /* NULL: no film is made */
};

/* --------------------------------------------------------------------------------- set up */

static int open_lanes(struct player *p)
{
    size_t N = p->spec.n_agents, O = p->spec.obs, A = p->spec.actions;
    size_t each = N * O * sizeof(float) + N * A + N + 4 * 64;
    int err = arena_init(&p->arena, LANES * each);
    for (size_t i = 0; i < LANES && !err; i++) {
        struct lane *l = &p->lane[i];
        l->obs = ARENA_NEW(&p->arena, float, N *O);
        l->avail = ARENA_NEW(&p->arena, uint8_t, N * A);
        l->action = ARENA_NEW(&p->arena, uint8_t, N);
        err = p->env->open(&p->cfg, &l->env);
    }
    return err;
}

static int open_model(struct player *p, const char *checkpoint)
{
    struct mag_dims dims;
    mag_dims_of(&dims, &p->cfg, p->spec.n_agents, p->spec.obs, p->spec.actions);
    int err = mag_model_open(&p->model, &dims, p->cfg.compute.isa);
    if (err)
        return err;
    if (checkpoint)
        err = ckpt_load(checkpoint, &p->model->params, p->model->params.value, NULL, NULL);
    else
        mag_init(p->model, &p->draws);
    if (err)
        return err;
    mag_refresh(p->model, MAG_NEEDS_ACTOR);
    err = pool_open(&p->pool, pool_team(p->cfg.compute.threads));
    return err ? err : mag_act_open(&p->act, p->model, LANES, p->pool);
}

static int player_open(struct player *p, const struct eval_request *rq, struct eval_report *out)
{
    struct ckpt_state state = {0};
    char run_dir[RUN_PATH];
    int err = 0;
    if (rq->path) {
        err = rundir_of(rq->path, run_dir);
        if (!err)
            err = ckpt_find_best(rq->path, out->checkpoint, sizeof out->checkpoint);
        if (!err && rq->cfg)
            p->cfg = *rq->cfg;
        else if (!err)
            err = rundir_config(run_dir, &p->cfg);
        if (!err)
            err = ckpt_read_state(out->checkpoint, &state, NULL);
    } else {
        p->cfg = *rq->cfg;
    }
    if (!err)
        err = env_find(p->cfg.env.name, &p->env);
    if (!err)
        err = p->env->spec(&p->cfg, &p->spec);
    if (err)
        return err;
    p->philox = (struct philox){.seed = rq->seed ? rq->seed : p->cfg.seed};
    p->draws = philox_draws(&p->philox);
    bool network = !rq->policy || !strcmp(rq->policy, "untrained");
    p->script = network ? NULL : rq->policy;
    err = open_lanes(p);
    if (!err && network)
        err = open_model(p, rq->path ? out->checkpoint : NULL);
    out->best = rq->path && strcmp(rq->path, out->checkpoint) != 0 &&
                state.best_iteration > 0 && state.best_iteration == state.iteration;
    snprintf(out->map, sizeof out->map, "%s", p->cfg.env.map);
    snprintf(out->policy, sizeof out->policy, "%s", rq->policy ? rq->policy : p->cfg.algo);
    out->set_id = state.set_id;
    out->iteration = state.iteration;
    out->env_steps = state.env_steps;
    out->seed = p->philox.seed;
    out->episodes = rq->episodes;
    return err;
}

static void player_close(struct player *p)
{
    for (size_t i = 0; i < LANES; i++) {
        take_discard(p->lane[i].take);
        if (p->lane[i].env)
            p->env->close(p->lane[i].env);
    }
    record_close(p->record);
    mag_act_close(p->act);
    pool_close(p->pool);
    mag_model_close(p->model);
    arena_fini(&p->arena);
}

/* -------------------------------------------------------------------------------- playing */

static void observe(struct player *p, struct lane *l)
{
    p->env->observe(l->env, l->obs, l->avail, NULL);
}

static int start_episode(struct player *p, size_t lane, uint64_t k)
{
    struct lane *l = &p->lane[lane];
    uint64_t seed = draws_seed(&p->draws, DRAW_EVAL_ENV, FRESH + k);
    int err = p->env->reset(l->env, seed);
    if (!err && p->record)
        err = record_begin(p->record, &l->take, l->env, k, seed);
    if (err)
        return err;
    if (p->act)
        mag_act_reset(p->act, lane);
    l->busy = true;
    l->k = k;
    l->ret = 0;
    l->length = 0;
    observe(p, l);
    return 0;
}

/* Uniform over what is available, keyed as a policy's own action draw would be. */
static void random_action(struct player *p, struct lane *l)
{
    size_t N = p->spec.n_agents, A = p->spec.actions;
    uint32_t word[256];
    draws_words(&p->draws, DRAW_EVAL_ACT, FRESH + l->k, (uint32_t)l->length, word, N);
    for (size_t n = 0; n < N; n++) {
        uint32_t open = 0;
        for (size_t a = 0; a < A; a++)
            open += l->avail[n * A + a];
        uint32_t pick = word_below(word[n], open);
        for (size_t a = 0; a < A; a++)
            if (l->avail[n * A + a] && pick-- == 0)
                l->action[n] = (uint8_t)a;
    }
}

/* Every busy lane chooses its joint action; networks act in one batch. */
static void choose(struct player *p, bool greedy)
{
    struct mag_act_row row[LANES];
    size_t n = 0;
    for (size_t i = 0; i < LANES; i++) {
        struct lane *l = &p->lane[i];
        if (!l->busy)
            continue;
        if (p->script) {
            if (!strcmp(p->script, "random"))
                random_action(p, l);
            continue;
        }
        row[n++] = (struct mag_act_row){.row = i,
                                        .obs = l->obs,
                                        .avail = l->avail,
                                        .item = FRESH + l->k,
                                        .eval = true,
                                        .latent_mode = p->cfg.eval.latent == LATENT_MODE,
                                        .mode = greedy ? MAG_ACT_GREEDY : MAG_ACT_SAMPLE,
                                        .action = l->action};
    }
    if (n)
        mag_act_step(p->act, &p->draws, row, n);
}

/* Does the environment choose the actions itself? */
static bool by_script(const struct player *p)
{
    return p->script && strcmp(p->script, "random");
}

static int step_lane(struct player *p, struct lane *l, struct eval_side *side)
{
    struct env_step s;
    int err = by_script(p) ? p->env->step_script(l->env, p->script, &s)
                           : p->env->step(l->env, l->action, &s);
    if (!err && l->take)
        err = record_step(p->record, &l->take, l->env, l->action, &s);
    if (err)
        return err;
    l->ret += (double)s.reward;
    l->length++;
    if (s.end == ENV_RUNNING) {
        observe(p, l);
        return 0;
    }
    l->busy = false;
    side->wins += s.won;
    side->episodes++;
    side->mean_return += l->ret;
    side->mean_length += (double)l->length;
    return 0;
}

static int play_side(struct player *p, uint32_t episodes, bool greedy, struct eval_side *side)
{
    uint64_t next = 0;
    int err = 0;
    while (side->episodes < episodes && !err) {
        for (size_t i = 0; i < LANES && !err; i++)
            if (!p->lane[i].busy && next < episodes)
                err = start_episode(p, i, next++);
        if (!err)
            choose(p, greedy);
        for (size_t i = 0; i < LANES && !err; i++)
            if (p->lane[i].busy)
                err = step_lane(p, &p->lane[i], side);
    }
    if (err)
        return err;
    side->mean_return /= side->episodes;
    side->mean_length /= side->episodes;
    side->win_rate = (double)side->wins / side->episodes;
    wilson_interval(side->wins, side->episodes, &side->lo, &side->hi);
    return 0;
}

/* The first kind of episodes played goes onto film: greedy, or the script's. */
static int open_record(struct player *p, const struct eval_request *rq,
                       const struct eval_report *out)
{
    char policy[CONFIG_NAME + 24];
    if (out->checkpoint[0])
        snprintf(policy, sizeof policy, "%s-%llu", p->cfg.algo,
                 (unsigned long long)out->iteration);
    else
        snprintf(policy, sizeof policy, "%s", rq->policy);
    return record_open(&p->record, rq->record, &p->cfg, p->env, p->lane[0].env, policy,
                       by_script(p), out->seed);
}

static int close_record(struct player *p, struct eval_report *out)
{
    const char *path;
    int err = record_save(p->record, &path);
    if (!err)
        snprintf(out->film, sizeof out->film, "%s", path);
    record_close(p->record);
    p->record = NULL;
    return err;
}

int evaluate_run(const struct eval_request *request, struct eval_report *out)
{
    struct player *p = calloc(1, sizeof *p);
    if (!p)
        return ERR_NOMEM;
    *out = (struct eval_report){0};
    int err = player_open(p, request, out);
    if (!err && request->record)
        err = open_record(p, request, out);
    if (!err && !p->script)
        err = play_side(p, request->episodes, true, &out->greedy);
    if (!err && p->record && !p->script)
        err = close_record(p, out);
    if (!err)
        err = play_side(p, request->episodes, false, &out->sampled);
    if (!err && p->record)
        err = close_record(p, out);
    player_close(p);
    free(p);
    return err;
}

/* -------------------------------------------------------------------------------- printing */

static void print_side(const char *name, const struct eval_side *s, FILE *out)
{
    fprintf(out,
            "  %-8s won %u of %u: %.0f %% (95 %% interval %.0f to %.0f), return %.2f, length "
            "%.0f\n",
            name, s->wins, s->episodes, 100 * s->win_rate, 100 * s->lo, 100 * s->hi,
            s->mean_return, s->mean_length);
}

void eval_print(const struct eval_report *r, FILE *out)
{
    fprintf(out, "evaluation of %s on %s, seed %llu", r->policy, r->map,
            (unsigned long long)r->seed);
    if (r->checkpoint[0])
        fprintf(out, ", after %llu environment steps%s", (unsigned long long)r->env_steps,
                r->best ? ", the best by the run's own evaluations" : "");
    fputc('\n', out);
    if (r->greedy.episodes)
        print_side("greedy", &r->greedy, out);
    print_side(r->greedy.episodes ? "sampled" : "played", &r->sampled, out);
    if (r->film[0])
        fprintf(out, "  recorded %s: see it with mag replay %s\n", r->film, r->film);
}

static json_t *side_json(const struct eval_side *s)
{
    return json_pack("{s:i,s:i,s:f,s:f,s:f,s:f,s:f}", "wins", (int)s->wins, "episodes",
                     (int)s->episodes, "win_rate", s->win_rate, "lo", s->lo, "hi", s->hi,
                     "return", s->mean_return, "length", s->mean_length);
}

int eval_json(const struct eval_report *r, FILE *out)
{
    json_t *o = json_pack("{s:s,s:s,s:I,s:i,s:I,s:I,s:I}", "map", r->map, "policy", r->policy,
                          "set_id", (json_int_t)r->set_id, "episodes", (int)r->episodes, "seed",
                          (json_int_t)r->seed, "iteration", (json_int_t)r->iteration,
                          "env_steps", (json_int_t)r->env_steps);
    if (!o)
        return ERR_NOMEM;
    if (r->greedy.episodes)
        json_object_set_new(o, "greedy", side_json(&r->greedy));
    json_object_set_new(o, "sampled", side_json(&r->sampled));
    if (r->checkpoint[0])
        json_object_set_new(o, "checkpoint", json_string(r->checkpoint));
    if (r->film[0])
        json_object_set_new(o, "film", json_string(r->film));
    int err = json_dumpf(o, out, JSON_INDENT(2) | JSON_REAL_PRECISION(6)) ? ERR_IO : 0;
    fputc('\n', out);
    json_decref(o);
    return err;
}
