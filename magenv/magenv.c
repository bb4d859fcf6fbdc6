/* SPDX-License-Identifier: Apache-2.0 */
/* magenv.c - the shared library: env/batch.h behind a plain C interface.
 *
 * Nothing is decided here: settings go through the configuration table, environments through
 * the registry, so a new environment or key is there without a line of this file.
 *
 * FLOATING POINT  Training flushes denormals (par/pool.h), numerical Python does not and must
 * not be changed by a library it loads. So every call that computes saves the caller's mode,
 * computes in the trainer's, and restores it.
 *
 * FORK  A child has none of the parent's threads: waiting for them would never end. Handles
 * with a team remember their process; in another one they refuse to step, and closing them
 * leaves the team alone. */
#include "magenv.h"

#include "base/err.h"
#include "env/batch.h"
#include "env/scene.h"
#include "film/film.h"
#include "par/pool.h"

#include <fenv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CODE(name)                                                                             \
    _Static_assert((int)MAGENV_E##name == (int)ERR_##name, "magenv.h follows base/err.h")
CODE(NOMEM);
CODE(INVAL);
CODE(AGAIN);
CODE(IO);
CODE(NOTFOUND);
CODE(CONFIG);
CODE(UNSUPPORTED);
#define SAME(a, b) _Static_assert((int)(a) == (int)(b), "magenv.h follows env/")
SAME(MAGENV_MANUAL, BATCH_MANUAL);
SAME(MAGENV_SAME_STEP, BATCH_SAME_STEP);
SAME(MAGENV_NEXT_STEP, BATCH_NEXT_STEP);
SAME(MAGENV_RUNNING, ENV_RUNNING);
SAME(MAGENV_TERMINAL, ENV_TERMINAL);
SAME(MAGENV_LIMIT, ENV_LIMIT);
SAME(MAGENV_ABORT, ENV_ABORT);
SAME(MAGENV_UNITS_MAX, SCENE_UNITS);

struct magenv {
    struct batch *batch;
    struct pool *pool; /* NULL: the caller alone */
    pid_t process;
    uint8_t *actions; /* [K][N] */
    size_t n_actions; /* K * N */
};

uint32_t magenv_abi(void)
{
    return MAGENV_ABI;
}

const char *magenv_error(void)
{
    return err_text();
}

/* --- settings --- */

/* Only keys of the environment: anything else would be accepted and mean nothing here. */
static int assign_word(struct config_builder *b, const char *word, size_t n)
{
    char text[CONFIG_PATH * 2];
    if (n >= sizeof text)
        return err_set(ERR_CONFIG, "a setting of %zu characters: %.40s...; use key=value", n,
                       word);
    memcpy(text, word, n);
    text[n] = '\0';
    if (strncmp(text, "env.", 4) != 0)
        return err_set(ERR_CONFIG,
                       "\"%.80s\" is not a setting of environments, for example env.map=3m",
                       text);
    return config_assign(b, text);
}

static int assign_all(struct config_builder *b, const char *settings)
{
    static const char blanks[] = " \t\r\n";
    const char *at = settings + strspn(settings, blanks);
    while (*at) {
        size_t n = strcspn(at, blanks);
        int err = assign_word(b, at, n);
        if (err)
            return err;
        at += n;
        at += strspn(at, blanks);
    }
    return 0;
}

static int configure(const char *settings, struct config *cfg, const struct env_class **class)
{
    struct config_builder *b;
    int err = config_begin(&b);
    if (err)
        return err;
    err = assign_all(b, settings);
    if (!err)
        err = config_finish(b, cfg);
    if (!err)
        err = env_find(cfg->env.name, class);
    config_end(b);
    return err;
}

/* --- what there is --- */

/* A list of its own for every thread: two may ask at once. */
const char *const *magenv_names(void)
{
    enum { NAMES_MAX = 32 };
    static _Thread_local const char *names[NAMES_MAX + 1];
    size_t n = 0;
    for (const struct env_class *const *c = env_classes(); *c; c++) {
        bug_on(n == NAMES_MAX);
        names[n++] = (*c)->name;
    }
    return names;
}

const char *const *magenv_maps(const char *name)
{
    const struct env_class *class;
    return env_find(name, &class) ? NULL : class->maps();
}

_Static_assert(sizeof((struct magenv_spec *)0)->line >= sizeof((struct env_spec *)0)->line,
               "a specification line must fit magenv.h's");

static void fill_spec(struct magenv_spec *out, const struct env_spec *s)
{
    memset(out, 0, sizeof *out);
    out->n_agents = s->n_agents;
    out->obs = s->obs;
    out->state = s->state;
    out->actions = s->actions;
    out->episode_limit = s->episode_limit;
    snprintf(out->build, sizeof out->build, "%s", s->build);
    snprintf(out->line, sizeof out->line, "%s", s->line);
}

int magenv_spec(const char *settings, struct magenv_spec *out)
{
    struct config cfg;
    const struct env_class *class;
    struct env_spec spec;
    int err = configure(settings, &cfg, &class);
    if (!err)
        err = class->spec(&cfg, &spec);
    if (!err)
        fill_spec(out, &spec);
    return err;
}

/* --- life --- */

static void team(void *pool, batch_task *fn, void *arg, size_t tasks)
{
    pool_run(pool, fn, arg, tasks);
}

static int open_batch(struct magenv *v, const char *settings, const struct magenv_options *o)
{
    struct config cfg;
    const struct env_class *class;
    int err = configure(settings, &cfg, &class);
    if (err)
        return err;
    struct batch_options batch = {
        .envs = o->envs,
        .autoreset = (enum batch_autoreset)o->autoreset,
        .run = team, /* without a pool it runs in the caller, in the trainer's mode */
        .team = v->pool,
    };
    err = batch_open(&v->batch, class, &cfg, &batch);
    if (err)
        return err;
    v->n_actions = o->envs * batch_spec(v->batch)->n_agents;
    v->actions = malloc(v->n_actions);
    return v->actions ? 0 : err_set(ERR_NOMEM, "no memory for %zu actions", v->n_actions);
}

/* Set the caller's floating-point mode aside: the default one now, the trainer's on top of it
 * wherever something computes (pool_run). */
static void set_aside(fenv_t *callers)
{
    fegetenv(callers);
    fesetenv(FE_DFL_ENV);
}

/* Back to the caller's floating-point mode; err passes through. */
static int finish(const fenv_t *callers, int err)
{
    fesetenv(callers);
    return err;
}

static int open_team(struct magenv *v, uint32_t threads)
{
    int err = threads == 1 ? 0 : pool_open(&v->pool, threads);
    return err ? err_set(err, "a team of %u threads: %s; use 1 to 1024", threads, err_str(err))
               : 0;
}

int magenv_open(struct magenv **out, const char *settings, const struct magenv_options *o)
{
    fenv_t callers;
    struct magenv *v = calloc(1, sizeof *v);
    if (!v)
        return err_set(ERR_NOMEM, "no memory for a batch of environments");
    v->process = getpid();
    set_aside(&callers);
    pool_fp_mode(); /* threads inherit it, and opening an environment may compute */
    int err = open_team(v, o->threads);
    if (!err)
        err = open_batch(v, settings, o);
    if (finish(&callers, err)) {
        magenv_close(v);
        return err;
    }
    *out = v;
    return 0;
}

void magenv_close(struct magenv *v)
{
    if (!v)
        return;
    batch_close(v->batch);
    if (v->process == getpid())
        pool_close(v->pool);
    free(v->actions);
    free(v);
}

/* --- calls --- */

static int check_call(const struct magenv *v, const struct magenv_arrays *to)
{
    if (v->pool && v->process != getpid())
        return err_set(ERR_INVAL,
                       "opened in process %ld, whose threads are not here: open "
                       "another one after fork, or use threads = 1",
                       (long)v->process);
    if (!to->obs || !to->avail || !to->reward || !to->end)
        return err_set(ERR_INVAL, "arrays obs, avail, reward and end must be there");
    if (!to->final_obs != !to->final_avail || (to->final_state && !to->final_obs))
        return err_set(ERR_INVAL, "arrays final_obs and final_avail go together, final_state "
                                  "goes with them");
    return 0;
}

static struct batch_arrays arrays_of(const struct magenv_arrays *to)
{
    return (struct batch_arrays){
        .obs = to->obs,
        .avail = to->avail,
        .state = to->state,
        .reward = to->reward,
        .end = to->end,
        .won = to->won,
        .seed = to->seed,
        .final_obs = to->final_obs,
        .final_avail = to->final_avail,
        .final_state = to->final_state,
    };
}

/* n actions of rows of agents as bytes. */
static int narrow(uint8_t *out, const int32_t *actions, size_t n, const struct env_spec *s)
{
    for (size_t i = 0; i < n; i++) {
        if (actions[i] < 0 || (size_t)actions[i] >= s->actions)
            return err_set(ERR_INVAL, "environment %zu: agent %zu: action %d; use 0 to %zu",
                           i / s->n_agents, i % s->n_agents, actions[i], s->actions - 1);
        out[i] = (uint8_t)actions[i];
    }
    return 0;
}

/* Check, translate, and keep the caller's floating-point mode for finish. */
static int begin(const struct magenv *v, const struct magenv_arrays *to,
                 struct batch_arrays *arrays, fenv_t *callers)
{
    int err = check_call(v, to);
    if (err)
        return err;
    *arrays = arrays_of(to);
    set_aside(callers);
    return 0;
}

int magenv_reset(struct magenv *v, const struct magenv_arrays *to, const uint64_t *seeds,
                 const uint8_t *which)
{
    struct batch_arrays arrays;
    fenv_t callers;
    int err = begin(v, to, &arrays, &callers);
    return err ? err : finish(&callers, batch_reset(v->batch, &arrays, seeds, which));
}

int magenv_step(struct magenv *v, const struct magenv_arrays *to, const int32_t *actions)
{
    struct batch_arrays arrays;
    fenv_t callers;
    int err = narrow(v->actions, actions, v->n_actions, batch_spec(v->batch));
    if (!err)
        err = begin(v, to, &arrays, &callers);
    return err ? err : finish(&callers, batch_step(v->batch, &arrays, v->actions));
}

int magenv_step_script(struct magenv *v, const struct magenv_arrays *to, const char *policy)
{
    struct batch_arrays arrays;
    fenv_t callers;
    int err = begin(v, to, &arrays, &callers);
    return err ? err : finish(&callers, batch_step_script(v->batch, &arrays, policy));
}

void magenv_sample(struct magenv *v, const uint8_t *avail, int32_t *actions)
{
    batch_sample(v->batch, avail, v->actions);
    for (size_t i = 0; i < v->n_actions; i++)
        actions[i] = v->actions[i];
}

int magenv_units(struct magenv *v, uint64_t k, struct magenv_unit *out, uint64_t *count)
{
    struct scene scene;
    int err = batch_scene(v->batch, k, &scene);
    if (err)
        return err;
    for (size_t i = 0; i < scene.n_units; i++) {
        const struct scene_unit *u = &scene.unit[i];
        out[i] = (struct magenv_unit){.side = u->side,
                                      .kind = u->kind,
                                      .alive = u->alive,
                                      .x = u->x,
                                      .y = u->y,
                                      .health = u->health,
                                      .shield = u->shield,
                                      .energy = u->energy};
    }
    *count = scene.n_units;
    return 0;
}

int magenv_describe(struct magenv *v, uint64_t k, char *out, size_t n)
{
    return batch_describe(v->batch, k, out, n);
}

/* --- films --- */

/* One episode of one environment, into a film. */
struct shooting {
    const struct env_class *class;
    struct env *env;
    struct env_spec spec;
    struct film_writer *film;
    struct film_take *take;
    struct scene scene;
};

static int shoot_step(struct shooting *s, const int32_t *actions, struct env_step *r)
{
    uint8_t bytes[FILM_AGENTS];
    int err = narrow(bytes, actions, s->spec.n_agents, &s->spec);
    if (!err)
        err = s->class->step(s->env, bytes, r);
    if (err)
        return err;
    s->class->scene(s->env, &s->scene);
    take_step(s->take, bytes, r, &s->scene);
    return 0;
}

static int shoot(struct shooting *s, uint64_t seed, const int32_t *actions, uint64_t steps)
{
    struct env_step r = {.end = ENV_RUNNING};
    int err = s->class->reset(s->env, seed);
    if (err)
        return err;
    s->class->scene(s->env, &s->scene);
    err = take_begin(&s->take, s->film, 0, seed, &s->scene);
    for (uint64_t t = 0; !err && t < steps; t++)
        err = shoot_step(s, actions + t * s->spec.n_agents, &r);
    if (err)
        return err;
    struct film_take *done = s->take;
    s->take = NULL;
    return take_end(done);
}

static int open_shooting(struct shooting *s, const char *settings)
{
    struct config cfg;
    struct film_about about;
    struct scene_stage stage;
    int err = configure(settings, &cfg, &s->class);
    if (!err)
        err = film_about(&about, &cfg, s->class, "magenv", false);
    if (!err)
        err = s->class->spec(&cfg, &s->spec);
    if (!err)
        err = s->class->open(&cfg, &s->env);
    if (err)
        return err;
    s->class->stage(s->env, &stage);
    return film_create(&s->film, &about, &stage, s->spec.n_agents);
}

int magenv_film(const char *settings, uint64_t seed, const int32_t *actions, uint64_t steps,
                const char *path)
{
    fenv_t callers;
    struct shooting *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(ERR_NOMEM, "no memory for a film");
    set_aside(&callers);
    pool_fp_mode();
    int err = open_shooting(s, settings);
    if (!err)
        err = shoot(s, seed, actions, steps);
    if (!err)
        err = film_write(s->film, path);
    take_discard(s->take);
    film_discard(s->film);
    if (s->env)
        s->class->close(s->env);
    free(s);
    return finish(&callers, err);
}
