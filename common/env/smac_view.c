/* SPDX-License-Identifier: Apache-2.0 */
/* smac_view.c - what agents see: availability, observations, the state.
 *
 * Every entry is computed in double and rounded to float once, when it is stored. Blocks of an
 * observation, in order: movement (availability of the four moves, then pathing, then height),
 * one block per enemy, one per other agent, the agent itself, the time step. A block of a unit
 * that is dead or out of sight is zero; a dead agent's whole observation is zero but for the
 * time step.
 *
 * Sight is "closer than 9", reach is "6 or closer": the two comparisons differ on purpose. With
 * unit_ranges the two numbers depend on who looks; with conic_fov both are asked of the cone
 * ("or closer"), as SMACv2 does. */
#include "smac_state.h"

#include <math.h>
#include <string.h>

static bool agent_alive(const struct smac *s, size_t i)
{
    return i < s->agents_seen && s->agent[i].health > 0;
}

static bool enemy_alive(const struct smac *s, size_t k)
{
    return k < s->enemies_seen && s->enemy[k].health > 0;
}

/* --- the map --- */

/* Toward zero, so that (-1, 0) falls into cell 0. Far outside (or not a number): -1. */
static int cell_of(double v)
{
    return v > -1e6 && v < 1e6 ? (int)v : -1;
}

static bool on_map(const struct smac *s, int x, int y)
{
    return x >= 0 && y >= 0 && (uint32_t)x < s->w && (uint32_t)y < s->h;
}

static size_t cell_index(const struct smac *s, int x, int y)
{
    return (size_t)y * s->w + (size_t)x;
}

/* Direction of move action 2 + d: north, south, east, west. */
static const int move_dx[MOVE_ACTIONS] = {0, 0, 1, -1}, move_dy[MOVE_ACTIONS] = {1, -1, 0, 0};

/* A move is open if the cell half a move away is. */
static bool can_move(const struct smac *s, const struct smac_unit *u, int d)
{
    double half = s->o.move_amount / 2;
    int x = cell_of((double)u->x + move_dx[d] * half);
    int y = cell_of((double)u->y + move_dy[d] * half);
    return s->walk && on_map(s, x, y) && s->walk[cell_index(s, x, y)];
}

/* --- distances --- */

/* How far, relatively, a root of a sum of squares that is rounded as it comes may be off: far
 * more than it is. Only what this leaves open needs smac_distance, right to the last bit but
 * slow. */
#define OFF 1e-13

static double rough_distance(const struct smac_unit *a, const struct smac_unit *b)
{
    double x = (double)a->x - (double)b->x, y = (double)a->y - (double)b->y;
    return sqrt(x * x + y * y);
}

static bool within(const struct smac_unit *a, const struct smac_unit *b, double reach)
{
    double d = rough_distance(a, b);
    if (d < reach * (1 - OFF) || d > reach * (1 + OFF))
        return d < reach;
    return smac_distance(a, b) <= reach;
}

/* A distance as good as the exact one for an observation: on the same side of `sight`, and in
 * sight its share of it rounds to the same float. */
static double seen_distance(const struct smac_unit *a, const struct smac_unit *b, double sight)
{
    double d = rough_distance(a, b), share = d / sight;
    bool far = share > 1 + OFF, near = share < 1 - OFF;
    if (far || (near && (float)(share * (1 - OFF)) >= (float)(share * (1 + OFF))))
        return d;
    return smac_distance(a, b);
}

/* --- sight and reach --- */

/* Of an agent's unit, as SMACv2 has them. */
static const double sight_of_kind[UNIT_KINDS] = {
    [UNIT_MARINE] = 9,    [UNIT_MARAUDER] = 10, [UNIT_MEDIVAC] = 11,
    [UNIT_STALKER] = 10,  [UNIT_ZEALOT] = 9,    [UNIT_COLOSSUS] = 10,
    [UNIT_HYDRALISK] = 9, [UNIT_ZERGLING] = 8,  [UNIT_BANELING] = 8,
};
static const double reach_of_kind[UNIT_KINDS] = {
    [UNIT_MARINE] = 5,    [UNIT_MARAUDER] = 6,   [UNIT_MEDIVAC] = 4,
    [UNIT_STALKER] = 6,   [UNIT_ZEALOT] = 0.1,   [UNIT_COLOSSUS] = 7,
    [UNIT_HYDRALISK] = 5, [UNIT_ZERGLING] = 0.1, [UNIT_BANELING] = 0.25,
};

static double sight_of(const struct smac *s, const struct smac_unit *u)
{
    enum unit_kind kind = s->o.unit_ranges ? smac_agent_kind(s, u->unit_type) : UNIT_KINDS;
    return kind < UNIT_KINDS ? sight_of_kind[kind] : SIGHT_RANGE;
}

static double reach_of(const struct smac *s, const struct smac_unit *u)
{
    enum unit_kind kind = s->o.unit_ranges ? smac_agent_kind(s, u->unit_type) : UNIT_KINDS;
    return kind < UNIT_KINDS ? fmax(reach_of_kind[kind], s->o.min_attack_range) : SHOOT_RANGE;
}

/* Whether a unit is in the cone an agent looks through. The published test compares slopes: it
 * folds the cone's direction onto the side (west or east) the other unit is on. So a cone that
 * opens due east or west also sees its mirror image, and one that opens to the other side is
 * taken for due north or south. Angles are compared by their cosines here. */
static bool in_cone(const struct smac *s, size_t agent, const struct smac_unit *u)
{
    const double tiny = 1e-7;
    const struct smac_unit *own = &s->agent[agent];
    double x = (double)u->x - (double)own->x, y = (double)u->y - (double)own->y;
    double cx = s->turn_x[s->looks[agent]], cy = s->turn_y[s->looks[agent]];
    if (x > 0) {
        x = fmax(x, tiny);
        cx = fmax(cx, tiny);
    } else {
        x = fmin(x, -tiny);
        cx = fmin(cx, -tiny);
    }
    double dot = x * cx + y * cy;
    return dot > 0 && dot * dot > s->cone_cos2 * (x * x + y * y) * (cx * cx + cy * cy);
}

static bool in_reach(const struct smac *s, size_t agent, const struct smac_unit *u,
                     double reach)
{
    return within(&s->agent[agent], u, reach) && (!s->o.conic_fov || in_cone(s, agent, u));
}

static bool in_sight(const struct smac *s, size_t agent, const struct smac_unit *u,
                     double distance, double sight)
{
    return s->o.conic_fov ? distance <= sight && in_cone(s, agent, u) : distance < sight;
}

/* --- availability --- */

static void avail_targets(const struct smac *s, size_t agent, uint8_t *a)
{
    const struct smac_unit *u = &s->agent[agent];
    bool heals = smac_is_medivac(s, u);
    double reach = reach_of(s, u);
    size_t targets = s->actions - s->first_target;
    for (size_t k = 0; k < targets; k++) {
        const struct smac_unit *t = heals ? &s->agent[k] : &s->enemy[k];
        bool fit =
            heals ? k < s->n && agent_alive(s, k) && !smac_is_medivac(s, t) : enemy_alive(s, k);
        a[s->first_target + k] = fit && in_reach(s, agent, t, reach);
    }
}

void smac_refresh_avail(struct smac *s)
{
    memset(s->avail, 0, s->n * s->actions);
    for (size_t i = 0; i < s->n; i++) {
        uint8_t *a = s->avail + i * s->actions;
        if (!agent_alive(s, i)) {
            a[ACT_NONE] = 1;
            continue;
        }
        a[ACT_STOP] = 1;
        for (int d = 0; d < MOVE_ACTIONS; d++)
            a[ACT_NORTH + d] = can_move(s, &s->agent[i], d);
        memset(a + FIRST_TURN, 1, s->first_target - FIRST_TURN);
        avail_targets(s, i, a);
    }
}

void smac_avail(const struct smac *s, uint8_t *avail)
{
    memcpy(avail, s->avail, s->n * s->actions);
}

/* --- features of a unit --- */

static double health_of(const struct smac_unit *u)
{
    return (double)u->health / (double)u->health_max;
}

/* Shields are measured against fixed maxima, not the unit's own. */
static double shield_of(const struct smac *s, const struct smac_unit *u)
{
    enum unit_kind own = smac_agent_kind(s, u->unit_type);
    if (u->unit_type == TYPE_STALKER || own == UNIT_STALKER)
        return (double)u->shield / 80;
    if (u->unit_type == TYPE_ZEALOT || own == UNIT_ZEALOT)
        return (double)u->shield / 50;
    if (u->unit_type == TYPE_COLOSSUS || own == UNIT_COLOSSUS)
        return (double)u->shield / 150;
    return 0;
}

/* Weapon cooldown over the published maximum (which it may exceed); medivacs show energy. */
static double cooldown_of(const struct smac *s, const struct smac_unit *u)
{
    static const double max_cooldown[UNIT_KINDS + 1] = {
        [UNIT_MARINE] = 15,        [UNIT_MARAUDER] = 25, [UNIT_MEDIVAC] = 200,
        [UNIT_STALKER] = 35,       [UNIT_ZEALOT] = 22,   [UNIT_COLOSSUS] = 24,
        [UNIT_HYDRALISK] = 10,     [UNIT_ZERGLING] = 11, [UNIT_BANELING] = 1,
        [UNIT_SPINE_CRAWLER] = 15, [UNIT_KINDS] = 15,
    };
    enum unit_kind kind = smac_agent_kind(s, u->unit_type);
    double v = smac_is_medivac(s, u) ? (double)u->energy : (double)u->weapon_cooldown;
    return v / max_cooldown[kind];
}

/* SMACv2 numbers a race's types by a list of its own, the same for both sides. */
static uint32_t gen_type_index(const struct smac *s, enum unit_kind kind)
{
    uint32_t t = 0;
    while (t < SCENARIO_GROUPS && s->map->gen->team[t] != kind)
        t++;
    return t;
}

static uint32_t agent_type_index(const struct smac *s, const struct smac_unit *u)
{
    if (s->map->gen)
        return gen_type_index(s, smac_agent_kind(s, u->unit_type));
    return u->unit_type - s->base_type;
}

static uint32_t gen_enemy_index(const struct smac *s, const struct smac_unit *u)
{
    uint32_t t = 0;
    while (t < SCENARIO_GROUPS &&
           unit_data(UNITS_LIBERTY, s->map->gen->team[t])->enemy_type != u->unit_type)
        t++;
    return t;
}

/* The opponents' one-hot has its own order: on stalker-zealot maps the reverse of the
 * agents'. */
static uint32_t enemy_type_index(const struct smac *s, const struct smac_unit *u)
{
    switch (s->map->type) {
    case MAP_STALKERS_AND_ZEALOTS:
        return u->unit_type - TYPE_ZEALOT;
    case MAP_COLOSSI_STALKERS_ZEALOTS:
        return u->unit_type == TYPE_COLOSSUS ? 0 : u->unit_type == TYPE_STALKER ? 1 : 2;
    case MAP_BANE:
        return u->unit_type == TYPE_BANELING ? 0 : 1;
    case MAP_MMM:
        return u->unit_type == TYPE_MARAUDER ? 0 : u->unit_type == TYPE_MARINE ? 1 : 2;
    case MAP_GEN_PROTOSS:
    case MAP_GEN_TERRAN:
    case MAP_GEN_ZERG:
        return gen_enemy_index(s, u);
    default:
        return 0;
    }
}

/* Store a one-hot of type_bits entries; returns the place behind it. */
static float *put_type(const struct smac *s, float *out, uint32_t index)
{
    if (index < s->map->type_bits)
        out[index] = 1;
    return out + s->map->type_bits;
}

/* --- observations --- */

static void put_last_action(const struct smac *s, size_t agent, float *out)
{
    if (s->acted && s->last_action[agent] < s->actions)
        out[s->last_action[agent]] = 1;
}

/* The eight cells around a unit, at one move along the diagonals, two along the axes, then the
 * unit's own cell (heights only). */
static void put_surroundings(const struct smac *s, const struct smac_unit *u, float *pathing,
                             float *height)
{
    static const int dx[HEIGHT_FEATURES] = {0, 0, 2, -2, 1, -1, 1, -1, 0};
    static const int dy[HEIGHT_FEATURES] = {2, -2, 0, 0, 1, -1, -1, 1, 0};
    int a = cell_of(s->o.move_amount), ux = cell_of(u->x), uy = cell_of(u->y);
    for (int p = 0; p < HEIGHT_FEATURES; p++) {
        int x = ux + dx[p] * a, y = uy + dy[p] * a;
        bool inside = s->walk && on_map(s, x, y);
        if (pathing && p < PATHING_FEATURES)
            pathing[p] = inside ? (float)s->walk[cell_index(s, x, y)] : 1;
        if (height)
            height[p] = inside ? (float)s->height[cell_index(s, x, y)] : 1;
    }
}

static void put_movement(const struct smac *s, size_t agent, float *out)
{
    for (int d = 0; d < MOVE_ACTIONS; d++)
        out[d] = smac_avail_of(s, agent)[ACT_NORTH + d];
    out += MOVE_ACTIONS;
    float *pathing = NULL, *height = NULL;
    if (s->o.obs_pathing_grid) {
        pathing = out;
        out += PATHING_FEATURES;
    }
    if (s->o.obs_terrain_height)
        height = out;
    if (pathing || height)
        put_surroundings(s, &s->agent[agent], pathing, height);
}

/* Distance and relative position, entries 1 to 3 of a block of a unit in sight. */
static void put_relative(const struct smac_unit *own, const struct smac_unit *other,
                         double distance, double sight, float *out)
{
    out[1] = (float)(distance / sight);
    out[2] = (float)(((double)other->x - (double)own->x) / sight);
    out[3] = (float)(((double)other->y - (double)own->y) / sight);
}

static void put_enemy(const struct smac *s, size_t agent, size_t k, double sight, float *out)
{
    const struct smac_unit *own = &s->agent[agent], *e = &s->enemy[k];
    if (!enemy_alive(s, k))
        return;
    double distance = seen_distance(own, e, sight);
    if (!in_sight(s, agent, e, distance, sight))
        return;
    /* For a medivac this is the availability of healing agent k: copied as it is. */
    out[0] = smac_avail_of(s, agent)[s->first_target + k];
    put_relative(own, e, distance, sight, out);
    float *at = out + 4;
    if (s->o.obs_all_health) {
        *at++ = (float)health_of(e);
        if (s->map->shield_enemy)
            *at++ = (float)shield_of(s, e);
    }
    put_type(s, at, enemy_type_index(s, e));
}

static void put_ally(const struct smac *s, size_t agent, size_t other, double sight, float *out)
{
    const struct smac_unit *own = &s->agent[agent], *u = &s->agent[other];
    if (!agent_alive(s, other))
        return;
    double distance = seen_distance(own, u, sight);
    if (!in_sight(s, agent, u, distance, sight))
        return;
    out[0] = 1;
    put_relative(own, u, distance, sight, out);
    float *at = out + 4;
    if (s->o.obs_all_health) {
        *at++ = (float)health_of(u);
        if (s->map->shield_ally)
            *at++ = (float)shield_of(s, u);
    }
    at = put_type(s, at, agent_type_index(s, u));
    if (s->o.obs_last_action)
        put_last_action(s, other, at);
}

/* Where an agent looks, with cones of view only; returns the place behind it. */
static float *put_direction(const struct smac *s, size_t agent, float *out)
{
    if (!s->o.conic_fov)
        return out;
    *out++ = (float)s->turn_x[s->looks[agent]];
    *out++ = (float)s->turn_y[s->looks[agent]];
    return out;
}

static void put_own(const struct smac *s, size_t agent, float *out)
{
    const struct smac_unit *u = &s->agent[agent];
    if (s->o.obs_own_health) {
        *out++ = (float)health_of(u);
        if (s->map->shield_ally)
            *out++ = (float)shield_of(s, u);
    }
    if (s->o.obs_own_pos) {
        *out++ = (float)((double)u->x / s->w);
        *out++ = (float)((double)u->y / s->h);
    }
    out = put_direction(s, agent, out);
    put_type(s, out, agent_type_index(s, u));
}

static float time_step(const struct smac *s)
{
    return (float)((double)s->steps / (double)s->map->episode_limit);
}

static void observe_agent(const struct smac *s, size_t agent, float *out)
{
    if (s->o.obs_timestep_number)
        out[s->obs_len - 1] = time_step(s);
    if (!agent_alive(s, agent))
        return;
    double sight = sight_of(s, &s->agent[agent]);
    put_movement(s, agent, out);
    out += s->move_f;
    for (size_t k = 0; k < s->m; k++, out += s->enemy_f)
        put_enemy(s, agent, k, sight, out);
    for (size_t i = 0; i < s->n; i++) {
        if (i == agent)
            continue;
        put_ally(s, agent, i, sight, out);
        out += s->ally_f;
    }
    put_own(s, agent, out);
}

void smac_obs(const struct smac *s, float *obs)
{
    memset(obs, 0, s->n * s->obs_len * sizeof *obs);
    for (size_t i = 0; i < s->n; i++)
        observe_agent(s, i, obs + i * s->obs_len);
}

/* --- the state --- */

/* Position relative to the centre of the map, in extents of the playable area. */
static float *put_position(const struct smac *s, const struct smac_unit *u, float *out)
{
    *out++ = (float)(((double)u->x - s->w / 2.0) / s->span_x);
    *out++ = (float)(((double)u->y - s->h / 2.0) / s->span_y);
    return out;
}

static void put_agent_row(const struct smac *s, size_t agent, float *out)
{
    const struct smac_unit *u = &s->agent[agent];
    *out++ = (float)health_of(u);
    *out++ = (float)cooldown_of(s, u);
    out = put_position(s, u, out);
    if (s->map->shield_ally)
        *out++ = (float)shield_of(s, u);
    out = put_direction(s, agent, out);
    put_type(s, out, agent_type_index(s, u));
}

static void put_enemy_row(const struct smac *s, const struct smac_unit *u, float *out)
{
    *out++ = (float)health_of(u);
    out = put_position(s, u, out);
    if (s->map->shield_enemy)
        *out++ = (float)shield_of(s, u);
    put_type(s, out, enemy_type_index(s, u));
}

void smac_state(const struct smac *s, float *state)
{
    if (s->o.obs_instead_of_state) {
        smac_obs(s, state);
        return;
    }
    memset(state, 0, s->state_len * sizeof *state);
    float *out = state;
    for (size_t i = 0; i < s->n; i++, out += s->agent_row)
        if (agent_alive(s, i))
            put_agent_row(s, i, out);
    for (size_t k = 0; k < s->m; k++, out += 3 + s->map->shield_enemy + s->map->type_bits)
        if (enemy_alive(s, k))
            put_enemy_row(s, &s->enemy[k], out);
    if (s->o.state_last_action)
        for (size_t i = 0; i < s->n; i++, out += s->actions)
            put_last_action(s, i, out);
    if (s->o.state_timestep_number)
        *out = time_step(s);
}
