/* SPDX-License-Identifier: Apache-2.0 */
/* env_traces.c - battles as hashes: whether two engines, compilers or machines play the same.
 *
 * A trace is everything a learner sees of N steps: observations, masks, state, reward and end of
 * every step, bit for bit, episodes with seeds 1, 2, ... Its hash stands for all of it. Modes:
 *
 *   plain    random available actions, default options
 *   varied   random actions; the options that change battle or view all differ from default
 *   attack_nearest, kiting, opponent   the scripts, spawn rings turned
 *
 *   env_traces [--map NAME] [--mode NAME] [--steps N]   print "map mode steps hash"
 *   env_traces --check FILE                             repeat what FILE lists and compare
 *
 * A change of the engine that is meant to be faster only must leave every hash alone. A change
 * of its rules changes most of them: then the committed file is printed anew, in the same
 * commit, with BATTLE_BUILD one higher. */
#include "base/config.h"
#include "base/err.h"
#include "base/rng.h"
#include "env/env.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS = 2000, AGENTS_MAX = 64 };

static const char *const MODE[] = {"plain", "varied", "attack_nearest", "kiting", "opponent"};
enum { PLAIN, VARIED, SCRIPTS, MODES = sizeof MODE / sizeof *MODE };

/* Eight bytes at a time; the last ones are filled up with zeros. */
static uint64_t hash_bytes(uint64_t h, const void *data, size_t n)
{
    const unsigned char *at = data;
    for (; n > 0; at += 8) {
        uint64_t word = 0;
        size_t take = n < 8 ? n : 8;
        memcpy(&word, at, take);
        h = (h ^ word) * UINT64_C(0x9e3779b97f4a7c15);
        h ^= h >> 29;
        n -= take;
    }
    return h;
}

struct trace {
    const struct env_class *class;
    struct env *env;
    struct env_spec spec;
    const char *script; /* NULL: random actions */
    struct rng rng;
    float *obs, *state;
    uint8_t *avail;
    uint64_t hash;
};

static void set_mode(struct config *cfg, size_t mode)
{
    cfg->env.spawn_rotation = mode != PLAIN;
    if (mode != VARIED)
        return;
    cfg->env.units = UNITS_LOTV_4_10;
    cfg->env.position_noise = 0.5;
    cfg->env.shuffle_enemy_order = false;
    cfg->env.continuing = !cfg->env.continuing;
    cfg->env.obs_last_action = !cfg->env.obs_last_action;
    cfg->env.obs_timestep = !cfg->env.obs_timestep;
    cfg->env.obs_pathing = !cfg->env.obs_pathing;
    cfg->env.obs_height = !cfg->env.obs_height;
    cfg->env.reward_only_positive = !cfg->env.reward_only_positive;
}

static int trace_open(struct trace *t, const char *map, size_t mode)
{
    struct config cfg;
    *t = (struct trace){.script = mode >= SCRIPTS ? MODE[mode] : NULL};
    config_defaults(&cfg);
    snprintf(cfg.env.map, sizeof cfg.env.map, "%s", map);
    set_mode(&cfg, mode);
    int err = env_find("smac", &t->class);
    if (!err)
        err = t->class->spec(&cfg, &t->spec);
    if (!err)
        err = t->class->open(&cfg, &t->env);
    if (err)
        return err;
    t->obs = calloc(t->spec.n_agents * t->spec.obs, sizeof *t->obs);
    t->state = calloc(t->spec.state, sizeof *t->state);
    t->avail = calloc(t->spec.n_agents, t->spec.actions);
    rng_seed(&t->rng, 1);
    return t->obs && t->state && t->avail ? 0 : err_set(ERR_NOMEM, "no memory for %s", map);
}

static void trace_close(struct trace *t)
{
    free(t->obs);
    free(t->state);
    free(t->avail);
    if (t->env)
        t->class->close(t->env);
}

static void look(struct trace *t)
{
    const struct env_spec *s = &t->spec;
    t->class->observe(t->env, t->obs, t->avail, t->state);
    t->hash = hash_bytes(t->hash, t->obs, s->n_agents * s->obs * sizeof *t->obs);
    t->hash = hash_bytes(t->hash, t->avail, s->n_agents * s->actions);
    t->hash = hash_bytes(t->hash, t->state, s->state * sizeof *t->state);
}

static int act(struct trace *t, struct env_step *out)
{
    uint8_t action[AGENTS_MAX];
    if (t->script)
        return t->class->step_script(t->env, t->script, out);
    for (size_t n = 0; n < t->spec.n_agents; n++) {
        const uint8_t *open = t->avail + n * t->spec.actions;
        uint32_t count = 0;
        for (size_t a = 0; a < t->spec.actions; a++)
            count += open[a];
        uint32_t left = rng_below(&t->rng, count);
        uint8_t a = 0;
        while (!open[a] || left-- > 0)
            a++;
        action[n] = a;
    }
    return t->class->step(t->env, action, out);
}

static int play(struct trace *t, unsigned long steps)
{
    struct env_step step = {.end = ENV_TERMINAL};
    uint64_t episode = 0;
    for (unsigned long i = 0; i < steps; i++) {
        int err = step.end == ENV_RUNNING ? 0 : t->class->reset(t->env, ++episode);
        if (err)
            return err;
        if (step.end != ENV_RUNNING)
            look(t);
        if ((err = act(t, &step)))
            return err;
        look(t);
        uint32_t result[3] = {0, (uint32_t)step.end, step.won};
        memcpy(result, &step.reward, sizeof step.reward);
        t->hash = hash_bytes(t->hash, result, sizeof result);
    }
    return 0;
}

static int trace(const char *map, size_t mode, unsigned long steps, uint64_t *out)
{
    struct trace t;
    int err = trace_open(&t, map, mode);
    if (!err)
        err = play(&t, steps);
    *out = t.hash;
    trace_close(&t);
    return err;
}

static int print_all(const char *map, const char *mode, unsigned long steps)
{
    const struct env_class *class;
    uint64_t hash;
    int err = env_find("smac", &class);
    for (const char *const *m = err ? NULL : class->maps(); !err && *m; m++) {
        for (size_t k = 0; k < MODES && !err && (!map || !strcmp(map, *m)); k++) {
            if (mode && strcmp(mode, MODE[k]))
                continue;
            err = trace(*m, k, steps, &hash);
            if (!err)
                printf("%s %s %lu %016llx\n", *m, MODE[k], steps, (unsigned long long)hash);
            fflush(stdout);
        }
    }
    return err;
}

static int check_line(const char *line, unsigned *wrong)
{
    char map[CONFIG_NAME], mode[32];
    unsigned long steps;
    unsigned long long want;
    uint64_t hash;
    size_t k = 0;
    if (sscanf(line, "%63s %31s %lu %llx", map, mode, &steps, &want) != 4)
        return err_set(ERR_INVAL, "not a line of map, mode, steps and hash: %s", line);
    while (k < MODES && strcmp(mode, MODE[k]))
        k++;
    if (k == MODES)
        return err_set(ERR_INVAL, "unknown mode '%s'", mode);
    int err = trace(map, k, steps, &hash);
    if (!err && hash != want) {
        printf("%s %s: %lu steps give %016llx, recorded is %016llx\n", map, mode, steps,
               (unsigned long long)hash, want);
        ++*wrong;
    }
    return err;
}

static int check_file(const char *name, unsigned *wrong)
{
    char line[160];
    unsigned lines = 0;
    int err = 0;
    FILE *f = fopen(name, "r");
    if (!f)
        return err_set(ERR_IO, "%s cannot be read", name);
    while (!err && fgets(line, sizeof line, f)) {
        if (line[0] == '#' || line[0] == '\n')
            continue;
        err = check_line(line, wrong);
        lines++;
    }
    fclose(f);
    if (!err && !lines)
        err = err_set(ERR_INVAL, "%s lists no traces", name);
    if (!err)
        printf("%u traces, %u differ\n", lines, *wrong);
    return err;
}

int main(int argc, char **argv)
{
    const char *map = NULL, *mode = NULL, *file = NULL;
    unsigned long steps = STEPS;
    unsigned wrong = 0;
    for (int i = 1; i < argc; i += 2) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (value && !strcmp(argv[i], "--map")) {
            map = value;
        } else if (value && !strcmp(argv[i], "--mode")) {
            mode = value;
        } else if (value && !strcmp(argv[i], "--check")) {
            file = value;
        } else if (value && !strcmp(argv[i], "--steps")) {
            steps = strtoul(value, NULL, 10);
        } else {
            fputs("usage: env_traces [--map NAME] [--mode NAME] [--steps N] | --check FILE\n",
                  stderr);
            return EXIT_USAGE;
        }
    }
    int err = file ? check_file(file, &wrong) : print_all(map, mode, steps);
    if (err)
        fprintf(stderr, "env_traces: %s\n", err_text());
    return err || wrong ? EXIT_CONFIG : EXIT_OK;
}
