/* SPDX-License-Identifier: Apache-2.0 */
/* smac_env.c - the environment "smac": smac.h above, battle.h below.
 *
 *   step    actions -> smac_commands -> battle_order -> battle_step(8) -> battle_units
 *           -> smac_step_frame -> reward, end
 *
 * SAME EPISODES  The published environment inflates max_reward by what its first reset saw. Here
 * one reset is played at open and then settled, so that every episode is a function of its
 * seed and actions alone.
 *
 * On generated maps, where opponents differ from episode to episode, max_reward is that of the
 * mean draw.
 *
 * SIZES  The specification gives the vectors as they are written. With env.obs_timestep that
 * is one more entry per observation than the published environment announces.
 *
 * SCRIPTS  "opponent" lets the agents' units obey the opponents' own logic. That is a property
 * of a battle, not of an order, so such an episode is played on a second battle, opened when
 * first asked for, from the first step on. */
#include "smac_env.h"

#include "env/battle.h"
#include "env/smac.h"
#include "scenario.h"

#include "base/err.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATTLE_BUILD "battle-2"

enum { RESET_TRIES = 16 }; /* loops to wait for units; the engine spawns all at once */

struct env {
    struct smac *smac;
    struct battle *battle, *scripted; /* scripted: NULL until asked for */
    struct battle *active;            /* the one this episode is played on */
    struct battle_options options;
    const struct scenario *map;
    size_t loops;  /* of a step */
    double points; /* of all opponents, on the average of the draws */
    uint64_t seed;
    size_t steps;
    bool over;          /* the episode has ended: reset first */
    uint32_t base_type; /* smallest unit type id among the agents, as spawned */
    struct env_spec spec;
    struct smac_game_info info;
    struct smac_unit units[SMAC_UNITS_MAX];
    size_t n_units;
    struct smac_command commands[SMAC_AGENTS_MAX];
    size_t n_commands; /* given in the last step */
    uint8_t actions[SMAC_AGENTS_MAX];
    uint8_t *avail; /* [N][A] */
};

/* --- specification --- */

static bool decide(enum cfg_tri wish, bool otherwise)
{
    return wish == TRI_AUTO ? otherwise : wish == TRI_YES;
}

static void options_of(const struct config *cfg, const struct scenario *map,
                       struct smac_options *o)
{
    *o = (struct smac_options){
        .move_amount = cfg->env.move_amount,
        .step_mul = cfg->env.step_mul,
        .continuing_episode = cfg->env.continuing,
        .obs_all_health = cfg->env.obs_all_health,
        .obs_own_health = cfg->env.obs_own_health,
        .obs_last_action = cfg->env.obs_last_action,
        .obs_pathing_grid = cfg->env.obs_pathing,
        .obs_terrain_height = cfg->env.obs_height,
        .obs_instead_of_state = cfg->env.obs_instead_of_state,
        .obs_timestep_number = cfg->env.obs_timestep,
        .state_last_action = cfg->env.state_last_action,
        .state_timestep_number = cfg->env.state_timestep,
        .reward_sparse = cfg->env.reward_sparse,
        .reward_only_positive = cfg->env.reward_only_positive,
        /* it would divide the 1 of a win, too */
        .reward_scale = decide(cfg->env.reward_scale, !cfg->env.reward_sparse),
        .reward_death_value = cfg->env.reward_death_value,
        .reward_win = cfg->env.reward_win,
        .reward_defeat = cfg->env.reward_defeat,
        .reward_negative_scale = cfg->env.reward_negative_scale,
        .reward_scale_rate = cfg->env.reward_scale_rate,
        .heuristic_ai = cfg->env.heuristic_ai,
        .heuristic_rest = cfg->env.heuristic_rest,
        .obs_own_pos = decide(cfg->env.obs_own_pos, map->gen),
        .unit_ranges = decide(cfg->env.unit_ranges, map->gen),
        .conic_fov = cfg->env.conic_fov,
        .fov_actions = cfg->env.fov_actions,
        .min_attack_range = cfg->env.min_attack_range,
    };
}

static void battle_options_of(const struct config *cfg, struct battle_options *o)
{
    battle_options_default(o);
    o->units = cfg->env.units;
    o->shuffle_enemy_order = cfg->env.shuffle_enemy_order;
    o->spawn_rotation = cfg->env.spawn_rotation;
    o->position_noise = cfg->env.position_noise;
    o->start = cfg->env.start_positions;
    o->reflect_chance = cfg->env.reflect_chance;
    memcpy(o->team_weight, cfg->env.team_weight, sizeof o->team_weight);
}

/* An option of the line that is only there when it is not as published. */
struct further {
    const char *name;
    double value, published;
};

static size_t further_options(const struct config *cfg, const struct scenario *map,
                              struct further *out, size_t room)
{
    struct smac_options o, p;
    struct battle_options b, q;
    options_of(cfg, map, &o);
    smac_options_default(&p);
    battle_options_of(cfg, &b);
    battle_options_default(&q);
    const struct further all[] = {
        {"conic_fov", o.conic_fov, p.conic_fov},
        {"fov_actions", o.fov_actions, p.fov_actions},
        {"heuristic_ai", o.heuristic_ai, p.heuristic_ai},
        {"heuristic_rest", o.heuristic_rest, p.heuristic_rest},
        {"min_attack_range", o.min_attack_range, p.min_attack_range},
        {"move_amount", o.move_amount, p.move_amount},
        {"obs_all_health", o.obs_all_health, p.obs_all_health},
        {"obs_instead_of_state", o.obs_instead_of_state, p.obs_instead_of_state},
        {"obs_own_health", o.obs_own_health, p.obs_own_health},
        {"obs_own_pos", o.obs_own_pos, map->gen ? 1 : 0},
        {"reflect_chance", b.reflect_chance, q.reflect_chance},
        {"reward_death_value", o.reward_death_value, p.reward_death_value},
        {"reward_defeat", o.reward_defeat, p.reward_defeat},
        {"reward_negative_scale", o.reward_negative_scale, p.reward_negative_scale},
        {"reward_scale", o.reward_scale, !o.reward_sparse},
        {"reward_scale_rate", o.reward_scale_rate, p.reward_scale_rate},
        {"reward_win", o.reward_win, p.reward_win},
        {"start_positions", b.start, q.start},
        {"state_last_action", o.state_last_action, p.state_last_action},
        {"state_timestep", o.state_timestep_number, p.state_timestep_number},
        {"step_mul", o.step_mul, p.step_mul},
        {"team_weight_1", b.team_weight[0], q.team_weight[0]},
        {"team_weight_2", b.team_weight[1], q.team_weight[1]},
        {"team_weight_3", b.team_weight[2], q.team_weight[2]},
        {"unit_ranges", o.unit_ranges, map->gen ? 1 : 0},
    };
    size_t n = 0;
    for (size_t i = 0; i < sizeof all / sizeof all[0] && n < room; i++)
        if (all[i].value < all[i].published || all[i].value > all[i].published)
            out[n++] = all[i];
    return n;
}

/* One line that two programs agree on or not: every option that changes what is seen. */
static void canonical_line(const struct config *cfg, const struct scenario *map,
                           struct env_spec *s)
{
    enum { FURTHER = 32 };
    struct further further[FURTHER];
    size_t n = further_options(cfg, map, further, FURTHER);
    char more[1400] = "";
    int at = 0;
    for (size_t i = 0; i < n && at < (int)sizeof more; i++)
        at += snprintf(more + at, sizeof more - (size_t)at, "%s=%.17g ", further[i].name,
                       further[i].value);
    snprintf(s->build, sizeof s->build, "%s", BATTLE_BUILD);
    snprintf(s->line, sizeof s->line,
             "smac continuing=%d difficulty=%u map=%s obs_height=%d obs_last_action=%d "
             "obs_pathing=%d obs_timestep=%d position_noise=%.17g reward_only_positive=%d "
             "reward_sparse=%d shuffle_enemy_order=%d spawn_rotation=%d units=%s %s"
             "N=%zu O=%zu A=%zu G=%zu limit=%zu build=%s",
             cfg->env.continuing, cfg->env.difficulty, map->name, cfg->env.obs_height,
             cfg->env.obs_last_action, cfg->env.obs_pathing, cfg->env.obs_timestep,
             cfg->env.position_noise, cfg->env.reward_only_positive, cfg->env.reward_sparse,
             cfg->env.shuffle_enemy_order, cfg->env.spawn_rotation,
             cfg->env.units == UNITS_LIBERTY ? "liberty" : "lotv_4_10", more, s->n_agents,
             s->obs, s->actions, s->state, s->episode_limit, s->build);
    digest128_of(s->hash, s->line, strlen(s->line));
}

/* Fixed maps draw nothing: what would not do anything there is refused. */
static int check_map(const struct config *cfg, const struct scenario *map)
{
    struct battle_options b, p;
    battle_options_of(cfg, &b);
    battle_options_default(&p);
    const char *key =
        b.start != p.start ? "env.start_positions"
        : b.reflect_chance < p.reflect_chance || b.reflect_chance > p.reflect_chance
            ? "env.reflect_chance"
        : memcmp(b.team_weight, p.team_weight, sizeof b.team_weight) != 0 ? "env.team_weight_*"
                                                                          : NULL;
    if (key && !map->gen)
        return err_set(
            ERR_CONFIG,
            "%s: the units of %s are fixed; remove it or choose a generated map such "
            "as env.map=10gen_terran_5_vs_5",
            key, map->name);
    return 0;
}

/* Health and shield of all opponents; on a generated map, of the mean draw of that many. */
static double enemy_points(const struct config *cfg, const struct scenario *map)
{
    double sum = 0, weights = 0;
    for (uint32_t g = 0; g < map->n_enemy_groups; g++) {
        const struct unit_data *u = unit_data(cfg->env.units, map->enemies[g].kind);
        sum += map->enemies[g].count * (u->health + u->shield);
    }
    for (int t = 0; map->gen && t < SCENARIO_GROUPS; t++) {
        const struct unit_data *u = unit_data(cfg->env.units, map->gen->team[t]);
        sum += map->n_enemies * cfg->env.team_weight[t] * (u->health + u->shield);
        weights += cfg->env.team_weight[t];
    }
    return map->gen ? sum / weights : sum;
}

/* On these the published environment breaks, or leaves half of them without effect. */
static int check_options(const struct smac_options *o)
{
    if ((o->obs_pathing_grid || o->obs_terrain_height) &&
        floor(o->move_amount) < o->move_amount)
        return err_set(ERR_CONFIG,
                       "env.move_amount %g: env.obs_pathing and env.obs_height look at whole "
                       "cells, use a whole number",
                       o->move_amount);
    if (o->heuristic_rest && !o->heuristic_ai)
        return err_set(ERR_CONFIG, "env.heuristic_rest changes what env.heuristic_ai does: "
                                   "remove it or set env.heuristic_ai=true");
    return 0;
}

static int check_reward(const struct config *cfg, const struct scenario *map,
                        const struct smac_options *o)
{
    double most = map->n_enemies * o->reward_death_value + o->reward_win;
    if (!o->reward_scale || most + enemy_points(cfg, map) > 0)
        return 0;
    return err_set(ERR_CONFIG,
                   "env.reward_win %g and env.reward_death_value %g leave nothing to "
                   "scale by: raise them or set env.reward_scale=false",
                   o->reward_win, o->reward_death_value);
}

static int open_contract(const struct config *cfg, struct smac **out, struct env_spec *spec)
{
    struct smac_options o;
    const struct scenario *map;
    int rc = scenario_find(&map, cfg->env.map);
    if (!rc)
        rc = check_map(cfg, map);
    if (rc)
        return rc;
    options_of(cfg, map, &o);
    rc = check_options(&o);
    if (!rc)
        rc = check_reward(cfg, map, &o);
    if (!rc)
        rc = smac_open(out, map->name, &o);
    if (rc)
        return rc;
    smac_spec(*out, spec);
    spec->obs = smac_obs_len(*out);
    spec->state = smac_state_len(*out);
    canonical_line(cfg, map, spec);
    return 0;
}

static int spec(const struct config *cfg, struct env_spec *out)
{
    struct smac *s;
    int rc = open_contract(cfg, &s, out);
    if (!rc)
        smac_close(s);
    return rc;
}

/* --- life --- */

static void close_env(struct env *e)
{
    if (!e)
        return;
    battle_close(e->battle);
    battle_close(e->scripted);
    smac_close(e->smac);
    free(e->avail);
    free(e);
}

static void note_base_type(struct env *e)
{
    e->base_type = e->map->gen ? e->info.copy_base : UINT32_MAX;
    for (size_t i = 0; i < e->n_units; i++)
        if (e->units[i].owner == 1 && e->units[i].unit_type < e->base_type)
            e->base_type = e->units[i].unit_type;
}

static int spawn(struct env *e, struct battle *b)
{
    e->active = b;
    e->steps = 0;
    e->n_commands = 0;
    e->over = false;
    battle_reset(b, e->seed);
    smac_reset_begin(e->smac);
    for (int i = 0; i < RESET_TRIES; i++) {
        e->n_units = battle_units(b, e->units);
        note_base_type(e);
        if (smac_reset_frame(e->smac, e->units, e->n_units) == 0)
            return 0;
        battle_step(b, 1);
    }
    return err_set(ERR_AGAIN, "smac: units of %s are still missing after a reset",
                   e->map->name);
}

static int open_battle(struct env *e)
{
    int rc = battle_open(&e->battle, e->map->name, &e->options);
    if (rc)
        return rc;
    battle_game_info(e->battle, &e->info);
    rc = smac_game_info(e->smac, &e->info);
    if (!rc)
        rc = spawn(e, e->battle);
    if (!rc)
        smac_settle(e->smac);
    if (!rc && e->map->gen)
        smac_expect_points(e->smac, e->points);
    return rc;
}

static int open_env(const struct config *cfg, struct env **out)
{
    struct env *e = calloc(1, sizeof *e);
    if (!e)
        return ERR_NOMEM;
    battle_options_of(cfg, &e->options);
    e->loops = cfg->env.step_mul;
    int rc = scenario_find(&e->map, cfg->env.map);
    if (!rc)
        rc = open_contract(cfg, &e->smac, &e->spec);
    if (!rc)
        e->points = enemy_points(cfg, e->map);
    if (!rc && !(e->avail = calloc(e->spec.n_agents * e->spec.actions, 1)))
        rc = ERR_NOMEM;
    if (!rc)
        rc = open_battle(e);
    if (rc) {
        close_env(e);
        return rc;
    }
    *out = e;
    return 0;
}

static int reset(struct env *e, uint64_t seed)
{
    e->seed = seed;
    return spawn(e, e->battle);
}

/* --- steps --- */

static void advance(struct env *e, size_t n_commands, struct env_step *out)
{
    struct smac_result r;
    battle_order(e->active, e->commands, n_commands);
    battle_step(e->active, e->loops);
    e->n_units = battle_units(e->active, e->units);
    smac_step_frame(e->smac, e->units, e->n_units, false, &r);
    e->steps++;
    e->n_commands = n_commands;
    e->over = r.terminated;
    *out = (struct env_step){
        .reward = (float)r.reward,
        .end = r.time_limit   ? ENV_LIMIT
               : r.terminated ? ENV_TERMINAL
                              : ENV_RUNNING,
        .won = r.battle_won,
    };
}

static int step(struct env *e, const uint8_t *action, struct env_step *out)
{
    size_t n;
    if (e->over)
        return err_set(ERR_INVAL, "smac: the episode has ended, reset first");
    int rc = smac_commands(e->smac, action, e->commands, &n);
    if (!rc)
        advance(e, n, out);
    return rc;
}

/* Move the episode to the battle whose agents obey the opponents' logic. */
static int hand_over(struct env *e)
{
    if (e->active == e->scripted && e->scripted)
        return 0;
    if (e->steps)
        return err_set(ERR_INVAL, "smac: 'opponent' has to play from the first step on");
    if (!e->scripted) {
        struct battle_options o = e->options;
        o.agents_scripted = true;
        int rc = battle_open(&e->scripted, e->map->name, &o);
        if (rc)
            return rc;
    }
    return spawn(e, e->scripted);
}

/* No orders of ours: the living are said to stand, the engine moves them. */
static int step_opponent(struct env *e, struct env_step *out)
{
    size_t n;
    int rc = hand_over(e);
    if (rc)
        return rc;
    smac_avail(e->smac, e->avail);
    for (size_t i = 0; i < e->spec.n_agents; i++)
        e->actions[i] = e->avail[i * e->spec.actions] ? 0 : 1;
    rc = smac_commands(e->smac, e->actions, e->commands, &n);
    if (!rc)
        advance(e, 0, out);
    return rc;
}

static int step_script(struct env *e, const char *policy, struct env_step *out)
{
    size_t n;
    if (e->over)
        return err_set(ERR_INVAL, "smac: the episode has ended, reset first");
    if (strcmp(policy, "opponent") == 0)
        return step_opponent(e, out);
    int rc = smac_script(e->smac, policy, e->actions, e->commands, &n);
    if (!rc)
        advance(e, n, out);
    return rc;
}

static void observe(struct env *e, float *obs, uint8_t *avail, float *state)
{
    smac_obs(e->smac, obs);
    smac_avail(e->smac, avail);
    if (state)
        smac_state(e->smac, state);
}

/* --- for people --- */

struct text {
    char *at;
    size_t left;
    bool cut;
};

static void __attribute__((format(printf, 2, 3))) put(struct text *t, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(t->at, t->left, fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= t->left) {
        t->cut = true;
        return;
    }
    t->at += n;
    t->left -= (size_t)n;
}

/* Upper case ours, lower case theirs. */
static char letter_of(const struct scenario *map, const struct smac_unit *u, uint32_t base)
{
    static const char letters[UNIT_KINDS] = {
        [UNIT_MARINE] = 'M',        [UNIT_MARAUDER] = 'R', [UNIT_MEDIVAC] = 'D',
        [UNIT_STALKER] = 'S',       [UNIT_ZEALOT] = 'Z',   [UNIT_COLOSSUS] = 'C',
        [UNIT_HYDRALISK] = 'H',     [UNIT_ZERGLING] = 'L', [UNIT_BANELING] = 'B',
        [UNIT_SPINE_CRAWLER] = 'K',
    };
    for (int kind = 0; kind < UNIT_KINDS; kind++) {
        int own = unit_rl_offset(map->type, (enum unit_kind)kind);
        if (u->owner == 1 && own >= 0 && u->unit_type == base + (uint32_t)own)
            return letters[kind];
        if (u->owner == 2 &&
            u->unit_type == unit_data(UNITS_LIBERTY, (enum unit_kind)kind)->enemy_type)
            return (char)(letters[kind] - 'A' + 'a');
    }
    return '?';
}

static void draw_map(const struct env *e, const struct scenario *map,
                     char grid[SCENARIO_SIDE][SCENARIO_SIDE + 1])
{
    for (int y = 0; y < SCENARIO_SIDE; y++)
        memcpy(grid[y], map->terrain->walk[y], SCENARIO_SIDE + 1);
    for (size_t i = 0; i < e->n_units; i++) {
        const struct smac_unit *u = &e->units[i];
        int x = (int)u->x, y = (int)u->y;
        if (x >= 0 && y >= 0 && x < SCENARIO_SIDE && y < SCENARIO_SIDE)
            grid[y][x] = letter_of(map, u, e->base_type);
    }
}

static int describe(struct env *e, char *out, size_t n)
{
    char grid[SCENARIO_SIDE][SCENARIO_SIDE + 1];
    size_t alive[3] = {0};
    double points[3] = {0};
    struct text t = {.at = out, .left = n};
    draw_map(e, e->map, grid);
    for (size_t i = 0; i < e->n_units; i++) {
        uint32_t side = e->units[i].owner < 3 ? e->units[i].owner : 0;
        alive[side]++;
        points[side] += (double)e->units[i].health + (double)e->units[i].shield;
    }
    put(&t, "%s step %zu of %zu: agents %zu (%.0f points), opponents %zu (%.0f points)\n",
        e->map->name, e->steps, e->spec.episode_limit, alive[1], points[1], alive[2],
        points[2]);
    for (int y = SCENARIO_SIDE - 1; y >= 0; y--) /* north on top */
        put(&t, "%s\n", grid[y]);
    return t.cut ? err_set(ERR_INVAL, "smac: a description needs more than %zu bytes", n) : 0;
}

static void stage(const struct env *e, struct scene_stage *out)
{
    battle_stage(e->active, out);
    out->loops = (uint32_t)e->loops;
}

static void show_order(const struct env *e, const struct smac_command *c, struct scene *out)
{
    int i = battle_unit_of(e->active, c->unit_tag);
    int target = c->target == 2 ? battle_unit_of(e->active, c->target_tag) : -1;
    if (i < 0 || (c->target == 2 && target < 0))
        return;
    struct scene_unit *u = &out->unit[i];
    u->order = c->ability == ABILITY_MOVE     ? SCENE_MOVE
               : c->ability == ABILITY_ATTACK ? SCENE_ATTACK
               : c->ability == ABILITY_HEAL   ? SCENE_MEND
                                              : SCENE_STOP;
    u->target = target >= 0 ? (uint16_t)target : 0;
    u->to_x = c->x;
    u->to_y = c->y;
}

static void scene(const struct env *e, struct scene *out)
{
    battle_scene(e->active, out);
    for (size_t i = 0; i < e->n_commands; i++)
        show_order(e, &e->commands[i], out);
}

const struct env_class env_smac = {
    .name = "smac",
    .spec = spec,
    .open = open_env,
    .close = close_env,
    .reset = reset,
    .step = step,
    .observe = observe,
    .step_script = step_script,
    .maps = scenario_names,
    .describe = describe,
    .stage = stage,
    .scene = scene,
};
