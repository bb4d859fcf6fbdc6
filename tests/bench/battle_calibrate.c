/* SPDX-License-Identifier: Apache-2.0 */
/* battle_calibrate.c - how the embedded engine plays, as numbers to compare.
 *
 * Plays maps with scripted policies through the SMAC contract and prints win, draw and
 * time-limit percentages, mean return, mean length and speed. Policies:
 *
 *   random          uniform over the available actions
 *   attack_nearest  the published environment's built-in heuristic (orders at any distance)
 *   kiting          back off from the nearest enemy while reloading or too close, else shoot it
 *   opponent        the agents run the opponents' own script: equal sides should win 50 %
 *
 * The tables of docs/battle.md are its output. Episode e of a run uses seed + e. */
#include "env/battle.h"
#include "scenario.h"

#include "base/err.h"
#include "base/rng.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum policy { RANDOM, ATTACK_NEAREST, KITING, OPPONENT, POLICIES };
static const char *const POLICY[POLICIES] = {"random", "attack_nearest", "kiting", "opponent"};
static const char *const MAPS_FAIR[] = {"3m",     "8m",  "2s3z",        "3s5z",
                                        "1c3s5z", "MMM", "bane_vs_bane"};

struct args {
    const char *map; /* NULL: all, "fair": the symmetric ones */
    int policy;      /* -1: all */
    unsigned episodes;
    uint64_t seed;
    bool json;
    struct battle_options battle;
};

struct tally {
    unsigned episodes, wins, draws, limits;
    uint64_t steps;
    double reward, seconds;
};

/* One map under one policy. */
struct game {
    struct battle *battle;
    struct smac *smac;
    const struct scenario *sc;
    enum policy policy;
    struct rng rng;
    struct smac_unit unit[SMAC_UNITS_MAX];
    size_t units, commands;
    uint8_t *avail; /* [N][A] */
    uint8_t action[SMAC_AGENTS_MAX];
    struct smac_command command[SMAC_AGENTS_MAX];
};

static uint8_t random_action(struct game *g, const uint8_t *avail)
{
    uint32_t count = 0, a = 0;
    for (uint32_t k = 0; k < g->sc->n_actions; k++)
        count += avail[k];
    uint32_t pick = rng_below(&g->rng, count);
    while (!avail[a] || pick-- > 0)
        a++;
    return (uint8_t)a;
}

static int act(struct game *g)
{
    int err = 0;
    g->commands = 0;
    if (g->policy == RANDOM) {
        smac_avail(g->smac, g->avail);
        for (size_t i = 0; i < g->sc->n_agents; i++)
            g->action[i] = random_action(g, g->avail + i * g->sc->n_actions);
        err = smac_commands(g->smac, g->action, g->command, &g->commands);
    } else if (g->policy != OPPONENT) {
        err = smac_script(g->smac, POLICY[g->policy], g->action, g->command, &g->commands);
    }
    if (!err)
        battle_order(g->battle, g->command, g->commands);
    return err;
}

static int begin(struct game *g, uint64_t seed)
{
    battle_reset(g->battle, seed);
    rng_seed(&g->rng, seed ^ UINT64_C(0x9e3779b97f4a7c15));
    g->units = battle_units(g->battle, g->unit);
    smac_reset_begin(g->smac);
    int err = smac_reset_frame(g->smac, g->unit, g->units);
    if (err)
        return err_set(err, "%s: the first frame is incomplete", g->sc->name);
    return 0;
}

static int play(struct game *g, uint64_t seed, struct tally *t)
{
    struct smac_result r = {0};
    int err = begin(g, seed);
    if (err)
        return err;
    while (!r.terminated) {
        if ((err = act(g)))
            return err;
        battle_step(g->battle, SCENARIO_LOOPS_PER_STEP);
        g->units = battle_units(g->battle, g->unit);
        smac_step_frame(g->smac, g->unit, g->units, false, &r);
        t->steps++;
        t->reward += r.reward;
    }
    t->episodes++;
    t->wins += r.battle_won;
    t->draws += r.dead_allies == g->sc->n_agents && r.dead_enemies == g->sc->n_enemies;
    t->limits += r.episode_limit;
    return 0;
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void print(const struct args *a, const struct game *g, const struct tally *t)
{
    double e = t->episodes, win = 100 * t->wins / e, draw = 100 * t->draws / e;
    double limit = 100 * t->limits / e, length = (double)t->steps / e;
    double speed = (double)t->steps / t->seconds;
    if (a->json)
        printf("{\"map\": \"%s\", \"policy\": \"%s\", \"win\": %.2f, \"draw\": %.2f, "
               "\"limit\": %.2f, \"return\": %.4f, \"length\": %.2f, \"steps_per_s\": %.0f, "
               "\"episodes\": %u, \"seed\": %llu, \"rotation\": %s}\n",
               g->sc->name, POLICY[g->policy], win, draw, limit, t->reward / e, length, speed,
               t->episodes, (unsigned long long)a->seed,
               a->battle.spawn_rotation ? "true" : "false");
    else
        printf("%-17s %-15s win %5.1f %%  draw %4.1f %%  limit %5.1f %%  return %6.2f  length "
               "%6.1f  steps/s %8.0f\n",
               g->sc->name, POLICY[g->policy], win, draw, limit, t->reward / e, length, speed);
    fflush(stdout);
}

static int run(const struct args *a, const char *map, enum policy policy)
{
    struct game g = {.policy = policy};
    struct tally t = {0};
    struct smac_options o;
    struct smac_game_info info;
    struct battle_options bo = a->battle;
    bo.agents_scripted = policy == OPPONENT;
    smac_options_default(&o);
    o.continuing_episode = true;
    int err = scenario_find(&g.sc, map);
    o.unit_ranges = !err && g.sc->gen; /* as SMACv2 is played */
    if (!err)
        err = battle_open(&g.battle, map, &bo);
    if (!err)
        err = smac_open(&g.smac, map, &o);
    if (err)
        goto done;
    battle_game_info(g.battle, &info);
    err = smac_game_info(g.smac, &info);
    g.avail = malloc((size_t)g.sc->n_agents * g.sc->n_actions);
    if (!g.avail)
        err = err_set(ERR_NOMEM, "no memory");
    t.seconds = -seconds();
    for (unsigned e = 0; e < a->episodes && !err; e++)
        err = play(&g, a->seed + e, &t);
    t.seconds += seconds();
    if (!err)
        print(a, &g, &t);
done:
    free(g.avail);
    smac_close(g.smac);
    battle_close(g.battle);
    return err;
}

static int run_map(const struct args *a, const char *map)
{
    int err = 0;
    for (int p = 0; p < POLICIES && !err; p++) {
        if (a->policy == p || a->policy < 0)
            err = run(a, map, (enum policy)p);
    }
    return err;
}

static int run_all(const struct args *a)
{
    int err = 0;
    const char *const *names = scenario_names();
    if (a->map && strcmp(a->map, "fair") == 0) {
        for (size_t k = 0; k < sizeof MAPS_FAIR / sizeof *MAPS_FAIR && !err; k++)
            err = run_map(a, MAPS_FAIR[k]);
    } else if (a->map) {
        err = run_map(a, a->map);
    } else {
        for (; *names && !err; names++)
            err = run_map(a, *names);
    }
    return err;
}

static int usage(void)
{
    fputs("usage: battle_calibrate [--map NAME|fair] [--policy random|attack_nearest|kiting|"
          "opponent]\n         [--episodes N] [--seed S] [--rotation] [--noise UNITS] [--lotv] "
          "[--reflect] [--json]\nWithout --map all maps, without --policy all policies. "
          "--reflect: generated maps start\nwith the sides mirrored.\n",
          stderr);
    return EXIT_USAGE;
}

static bool parse_policy(const char *word, int *out)
{
    for (int p = 0; p < POLICIES; p++) {
        if (strcmp(word, POLICY[p]) == 0) {
            *out = p;
            return true;
        }
    }
    return false;
}

static bool parse(int argc, char **argv, struct args *a)
{
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--json") == 0)
            a->json = true;
        else if (strcmp(argv[i], "--rotation") == 0)
            a->battle.spawn_rotation = true;
        else if (strcmp(argv[i], "--reflect") == 0)
            a->battle.start = START_REFLECT;
        else if (strcmp(argv[i], "--lotv") == 0)
            a->battle.units = UNITS_LOTV_4_10;
        else if (i + 1 == argc)
            return false;
        else if (strcmp(argv[i], "--map") == 0)
            a->map = argv[++i];
        else if (strcmp(argv[i], "--policy") == 0 && parse_policy(value, &a->policy))
            i++;
        else if (strcmp(argv[i], "--episodes") == 0)
            a->episodes = (unsigned)strtoul(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--seed") == 0)
            a->seed = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--noise") == 0)
            a->battle.position_noise = strtod(argv[++i], NULL);
        else
            return false;
    }
    return a->episodes > 0;
}

int main(int argc, char **argv)
{
    struct args a = {.policy = -1, .episodes = 100, .seed = 1};
    battle_options_default(&a.battle);
    if (!parse(argc, argv, &a))
        return usage();
    int err = run_all(&a);
    if (err)
        fprintf(stderr, "battle_calibrate: %s\n", err_text());
    return err ? EXIT_CONFIG : EXIT_OK;
}
