/* SPDX-License-Identifier: Apache-2.0 */
/* smac.c - the SMAC contract from frame to frame: who is who, what actions mean, what a step
 * is worth, when a battle is over. What agents see of it is in smac_view.c.
 *
 * IDENTITY  At a reset the agents are sorted by (unit type, x, y) and the enemies taken in list
 * order; from then on an index follows its unit by tag. A tag that is gone is a dead unit: the
 * record keeps its last fields, only health becomes 0. "Alive" therefore has two meanings, and
 * the published environment uses both: features and availability look at health, the count
 * that ends a battle looks at presence in the list.
 *
 * REWARD  Paid from the records before and after a step, once per death. With
 * reward_only_positive the absolute value of the sum is taken, so that regeneration of the
 * opponents is rewarded: a quirk that stays, because results are compared on this number.
 * SMACv2 has left it behind: there a negative sum pays nothing.
 *
 * FIRST EPISODE  While no episode has been finished, every reset frame processed adds the
 * health of its enemies to max_reward, incomplete frames too, for good. Another quirk kept.
 *
 * Nothing here knows where units come from: engine, game or recording. */
#include "env/smac.h"
#include "smac_state.h"
#include "turn.h"

#include "base/err.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void smac_options_default(struct smac_options *o)
{
    *o = (struct smac_options){
        .move_amount = 2,
        .step_mul = 8,
        .obs_all_health = true,
        .obs_own_health = true,
        .state_last_action = true,
        .reward_only_positive = true,
        .reward_scale = true,
        .reward_death_value = 10,
        .reward_win = 200,
        .reward_defeat = 0,
        .reward_negative_scale = 0.5,
        .reward_scale_rate = 20,
        .fov_actions = 12,
        .min_attack_range = 2,
    };
}

/* --- sizes --- */

/* The observation size as the published environment announces it. With the timestep on, SMAC's
 * own block counts an entry that stays 0, and the timestep itself comes on top; in SMACv2 the
 * entry counted is the timestep. */
static void set_sizes(struct smac *s)
{
    const struct scenario *m = s->map;
    const struct smac_options *o = &s->o;
    s->move_f = MOVE_ACTIONS;
    if (o->obs_pathing_grid)
        s->move_f += PATHING_FEATURES;
    if (o->obs_terrain_height)
        s->move_f += HEIGHT_FEATURES;
    s->enemy_f = 4 + m->type_bits + (o->obs_all_health ? 1 + m->shield_enemy : 0);
    s->ally_f = 4 + m->type_bits + (o->obs_all_health ? 1 + m->shield_ally : 0) +
                (o->obs_last_action ? s->actions : 0);
    s->own_f = m->type_bits + (o->obs_own_health ? 1 + m->shield_ally : 0) +
               (o->obs_own_pos ? 2 : 0) + (o->conic_fov ? 2 : 0) +
               (o->obs_timestep_number ? 1 : 0);
    s->obs_size = s->move_f + s->m * s->enemy_f + (s->n - 1) * s->ally_f + s->own_f;
    s->obs_len = s->obs_size + (o->obs_timestep_number && !m->gen ? 1 : 0);
    s->agent_row = 4 + m->shield_ally + (o->conic_fov ? 2 : 0) + m->type_bits;
    s->state_size = s->n * s->agent_row + s->m * (3 + m->shield_enemy + m->type_bits) +
                    (o->state_last_action ? s->n * s->actions : 0) +
                    (o->state_timestep_number ? 1 : 0);
    s->state_len = s->state_size;
    if (o->obs_instead_of_state) {
        s->state_size = s->n * s->obs_size;
        s->state_len = s->n * s->obs_len;
    }
}

static void set_cone(struct smac *s)
{
    double c, sine;
    uint32_t turns = s->o.fov_actions;
    for (uint32_t d = 0; d < turns; d++)
        turn_cos_sin((double)d / turns, &s->turn_x[d], &s->turn_y[d]);
    turn_cos_sin(0.5 / turns, &c, &sine);
    s->cone_cos2 = c * c;
}

int smac_open(struct smac **out, const char *map, const struct smac_options *o)
{
    const struct scenario *scenario;
    int rc = scenario_find(&scenario, map);
    if (!rc && o->conic_fov && (o->fov_actions < 3 || o->fov_actions > SMAC_FOV_MAX))
        rc = err_set(ERR_CONFIG, "env.fov_actions %u: it takes 3 to %d directions",
                     o->fov_actions, SMAC_FOV_MAX);
    if (rc)
        return rc;
    struct smac *s = calloc(1, sizeof *s);
    if (!s)
        return ERR_NOMEM;
    s->map = scenario;
    s->o = *o;
    if (s->o.obs_all_health)
        s->o.obs_own_health = true;
    s->n = scenario->n_agents;
    s->m = scenario->n_enemies;
    s->first_target = FIRST_TURN + (o->conic_fov ? o->fov_actions : 0);
    s->actions = scenario->n_actions - FIRST_TURN + s->first_target;
    s->healers = scenario->type == MAP_MMM || scenario->type == MAP_GEN_TERRAN;
    if (s->healers)
        s->medivac = (uint32_t)unit_rl_offset(scenario->type, UNIT_MEDIVAC);
    if (o->conic_fov)
        set_cone(s);
    bug_on(s->n > SMAC_AGENTS_MAX || s->m > SMAC_ENEMIES_MAX);
    set_sizes(s);
    s->max_reward = (double)s->m * o->reward_death_value + o->reward_win;
    s->avail = calloc(s->n * s->actions, 1);
    if (!s->avail) {
        smac_close(s);
        return ERR_NOMEM;
    }
    *out = s;
    return 0;
}

void smac_close(struct smac *s)
{
    if (!s)
        return;
    free(s->walk);
    free(s->height);
    free(s->avail);
    free(s);
}

void smac_spec(const struct smac *s, struct env_spec *out)
{
    *out = (struct env_spec){
        .n_agents = s->n,
        .obs = s->obs_size,
        .state = s->state_size,
        .actions = s->actions,
        .episode_limit = s->map->episode_limit,
        .team_reward = true,
    };
}

/* --- maps --- */

/* One bit a pixel: rows from y = 0, most significant bit first, 1 = open. Eight bits a pixel
 * (builds before mid 2019): rows from the top of the map, 0 = open. */
static void read_pathing(struct smac *s, const struct smac_game_info *info)
{
    for (uint32_t y = 0; y < s->h; y++) {
        for (uint32_t x = 0; x < s->w; x++) {
            bool open;
            if (info->pathing_bits == 1) {
                size_t bit = (size_t)y * s->w + x;
                open = (info->pathing[bit / 8] >> (7 - bit % 8)) & 1;
            } else {
                open = info->pathing[(size_t)(s->h - 1 - y) * s->w + x] == 0;
            }
            s->walk[(size_t)y * s->w + x] = open;
        }
    }
}

/* Always from the top of the map. */
static void read_height(struct smac *s, const struct smac_game_info *info)
{
    if (!info->height_bytes)
        return;
    for (uint32_t y = 0; y < s->h; y++)
        for (uint32_t x = 0; x < s->w; x++)
            s->height[(size_t)y * s->w + x] =
                info->height[(size_t)(s->h - 1 - y) * s->w + x] / 255.0;
}

static int check_game_info(const struct smac *s, const struct smac_game_info *info)
{
    enum { SIDE_MAX = 4096 };
    if (info->map_w < 1 || info->map_w > SIDE_MAX || info->map_h < 1 || info->map_h > SIDE_MAX)
        return err_set(ERR_INVAL, "map size %u x %u", info->map_w, info->map_h);
    if (info->playable[2] <= info->playable[0] || info->playable[3] <= info->playable[1])
        return err_set(ERR_INVAL, "empty playable area");
    if (s->map->gen && !info->copy_base)
        return err_set(ERR_INVAL, "%s needs the first type id that the map adds", s->map->name);
    if (info->pathing_bits != 1 && info->pathing_bits != 8)
        return err_set(ERR_INVAL, "pathing grid of %u bits per pixel", info->pathing_bits);
    size_t cells = (size_t)info->map_w * info->map_h;
    size_t need = info->pathing_bits == 1 ? (cells + 7) / 8 : cells;
    if (info->pathing_bytes < need)
        return err_set(ERR_INVAL, "pathing grid of %zu bytes, %zu needed", info->pathing_bytes,
                       need);
    if ((info->height_bytes || s->o.obs_terrain_height) && info->height_bytes < cells)
        return err_set(ERR_INVAL, "terrain height of %zu bytes, %zu needed", info->height_bytes,
                       cells);
    return 0;
}

int smac_game_info(struct smac *s, const struct smac_game_info *info)
{
    int rc = check_game_info(s, info);
    if (rc)
        return rc;
    if (s->map->gen)
        s->base_type = info->copy_base;
    size_t cells = (size_t)info->map_w * info->map_h;
    uint8_t *walk = calloc(cells, 1);
    double *height = calloc(cells, sizeof *height);
    if (!walk || !height) {
        free(walk);
        free(height);
        return ERR_NOMEM;
    }
    free(s->walk);
    free(s->height);
    s->walk = walk;
    s->height = height;
    s->w = info->map_w;
    s->h = info->map_h;
    s->span_x = (double)info->playable[2] - info->playable[0];
    s->span_y = (double)info->playable[3] - info->playable[1];
    read_pathing(s, info);
    read_height(s, info);
    return 0;
}

/* --- units --- */

enum unit_kind smac_agent_kind(const struct smac *s, uint32_t unit_type)
{
    for (int kind = 0; kind < UNIT_KINDS; kind++) {
        int offset = unit_rl_offset(s->map->type, (enum unit_kind)kind);
        if (offset >= 0 && unit_type == s->base_type + (uint32_t)offset)
            return (enum unit_kind)kind;
    }
    return UNIT_KINDS;
}

/* Correctly rounded but for the rarest cases: the square root of the rounded sum of squares,
 * corrected by the error of its square (fused multiply-adds carry it exactly). Distances of
 * exactly 6 or 9 decide availability and sight, so the last bit counts. */
double smac_distance(const struct smac_unit *a, const struct smac_unit *b)
{
    double x = fabs((double)a->x - (double)b->x), y = fabs((double)a->y - (double)b->y);
    if (x < y) {
        double t = x;
        x = y;
        y = t;
    }
    double h = sqrt(fma(x, x, y * y));
    if (!(h > 0))
        return h;
    double hh = h * h, xx = x * x;
    double excess = fma(-y, y, hh - xx) + fma(h, h, -hh) - fma(x, x, -xx);
    return h - excess / (2 * h);
}

static bool sorts_before(const struct smac_unit *a, const struct smac_unit *b)
{
    if (a->unit_type != b->unit_type)
        return a->unit_type < b->unit_type;
    if (a->x < b->x || a->x > b->x)
        return a->x < b->x;
    return a->y < b->y;
}

/* Insertion keeps units that compare equal in list order. */
static void insert_agent(struct smac *s, const struct smac_unit *u)
{
    size_t at = s->agents_seen++;
    for (; at > 0 && sorts_before(u, &s->agent[at - 1]); at--)
        s->agent[at] = s->agent[at - 1];
    s->agent[at] = *u;
}

void smac_reset_begin(struct smac *s)
{
    s->steps = 0;
    s->acted = false;
    s->win_counted = s->defeat_counted = false;
    memset(s->looks, 0, sizeof s->looks);
    memset(s->dead_agent, 0, sizeof s->dead_agent);
    memset(s->dead_enemy, 0, sizeof s->dead_enemy);
    for (size_t i = 0; i < SMAC_AGENTS_MAX; i++)
        s->target[i] = NO_TARGET;
    /* Should no frame come (lost connection), the old units stay visible. */
    smac_refresh_avail(s);
}

int smac_reset_frame(struct smac *s, const struct smac_unit *units, size_t n)
{
    s->agents_seen = s->enemies_seen = 0;
    for (size_t i = 0; i < n; i++) {
        const struct smac_unit *u = &units[i];
        if (u->owner == 1 && s->agents_seen < SMAC_UNITS_MAX)
            insert_agent(s, u);
        if (u->owner == 2 && s->enemies_seen < SMAC_UNITS_MAX) {
            s->enemy[s->enemies_seen++] = *u;
            if (s->episodes == 0)
                s->max_reward += (double)u->health_max + (double)u->shield_max;
        }
    }
    if (s->episodes == 0 && s->agents_seen && !s->map->gen)
        s->base_type = s->agent[0].unit_type;
    smac_refresh_avail(s);
    return s->agents_seen == s->n && s->enemies_seen == s->m ? 0 : ERR_AGAIN;
}

/* --- actions --- */

void smac_move_command(const struct smac *s, size_t agent, uint8_t action,
                       struct smac_command *out)
{
    const struct smac_unit *u = &s->agent[agent];
    double x = u->x, y = u->y, d = s->o.move_amount;
    switch (action) {
    case ACT_NORTH:
        y += d;
        break;
    case ACT_SOUTH:
        y -= d;
        break;
    case ACT_EAST:
        x += d;
        break;
    default:
        x -= d;
        break;
    }
    *out = (struct smac_command){
        .unit_tag = u->tag,
        .ability = ABILITY_MOVE,
        .target = 1,
        .x = (float)x,
        .y = (float)y,
    };
}

void smac_target_command(const struct smac *s, size_t agent, size_t target,
                         struct smac_command *out)
{
    const struct smac_unit *u = &s->agent[agent];
    bool heals = smac_is_medivac(s, u);
    *out = (struct smac_command){
        .unit_tag = u->tag,
        .ability = heals ? ABILITY_HEAL : ABILITY_ATTACK,
        .target = 2,
        .target_tag = heals ? s->agent[target].tag : s->enemy[target].tag,
    };
}

/* False: the action gives no order. Turning the cone leaves the unit to its last one. */
static bool command_of(struct smac *s, size_t agent, uint8_t action, struct smac_command *out)
{
    if (action == ACT_NONE)
        return false;
    if (action == ACT_STOP)
        *out = (struct smac_command){.unit_tag = s->agent[agent].tag, .ability = ABILITY_STOP};
    else if (action < FIRST_TURN)
        smac_move_command(s, agent, action, out);
    else if (action >= s->first_target)
        smac_target_command(s, agent, action - s->first_target, out);
    else
        s->looks[agent] = (uint8_t)(action - FIRST_TURN);
    return action < FIRST_TURN || action >= s->first_target;
}

static int check_actions(const struct smac *s, const uint8_t *action)
{
    for (size_t i = 0; i < s->n; i++) {
        if (action[i] >= s->actions)
            return err_set(ERR_INVAL, "agent %zu: action %u, there are %zu", i, action[i],
                           s->actions);
        if (!s->o.heuristic_ai && !smac_avail_of(s, i)[action[i]])
            return err_set(ERR_INVAL, "agent %zu: action %u is not available", i, action[i]);
    }
    return 0;
}

int smac_commands(struct smac *s, const uint8_t *action, struct smac_command *out,
                  size_t *count)
{
    int rc = check_actions(s, action);
    if (rc)
        return rc;
    memcpy(s->last_action, action, s->n);
    s->acted = true;
    if (s->o.heuristic_ai) {
        *count = smac_heuristic_commands(s, out);
        return 0;
    }
    *count = 0;
    for (size_t i = 0; i < s->n; i++)
        *count += command_of(s, i, action[i], &out[*count]);
    return 0;
}

/* --- a step --- */

/* Replace a record by the unit of its tag, whoever owns it now. False: gone. */
static bool follow(struct smac_unit *record, const struct smac_unit *units, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (units[i].tag == record->tag) {
            *record = units[i];
            return true;
        }
    }
    record->health = 0;
    return false;
}

static double total(const struct smac_unit *u)
{
    return (double)u->health + (double)u->shield;
}

/* What one side lost in this step, in points; *deaths counts those who died just now. */
struct toll {
    double damage;
    size_t deaths, alive;
};

static void follow_side(struct smac_unit *side, bool *dead, size_t count, double scale,
                        const struct smac_unit *units, size_t n, struct toll *out)
{
    *out = (struct toll){0};
    for (size_t i = 0; i < count; i++) {
        double before = total(&side[i]);
        out->alive += follow(&side[i], units, n);
        if (dead[i])
            continue;
        if (!(side[i].health > 0 || side[i].health < 0)) {
            dead[i] = true;
            out->deaths++;
            out->damage += before * scale;
        } else {
            out->damage += scale * (before - (double)side[i].health - (double)side[i].shield);
        }
    }
}

static double battle_reward(const struct smac *s, const struct toll *ally,
                            const struct toll *enemy)
{
    const struct smac_options *o = &s->o;
    if (o->reward_sparse)
        return 0;
    double deaths = (double)enemy->deaths * o->reward_death_value;
    if (o->reward_only_positive) {
        double sum = enemy->damage + deaths;
        return s->map->gen ? fmax(sum, 0) : fabs(sum);
    }
    deaths -= (double)ally->deaths * (o->reward_death_value * o->reward_negative_scale);
    return enemy->damage + deaths - ally->damage;
}

/* On maps with medivacs a side that has nothing else left is beaten. */
static bool only_medivacs_left(const struct smac *s)
{
    if (!s->healers)
        return false;
    for (size_t i = 0; i < s->agents_seen; i++)
        if (s->agent[i].health > 0 && !smac_is_medivac(s, &s->agent[i]))
            return false;
    return true;
}

/* SMAC asks for exactly one medivac, SMACv2 for nothing but medivacs. */
static bool only_enemy_medivacs_left(const struct smac *s)
{
    if (!s->healers)
        return false;
    const struct smac_unit *last = NULL;
    if (s->map->gen) {
        for (size_t i = 0; i < s->enemies_seen; i++)
            if (s->enemy[i].health > 0 && s->enemy[i].unit_type != TYPE_MEDIVAC)
                return false;
        return true;
    }
    for (size_t i = 0; i < s->enemies_seen; i++) {
        if (s->enemy[i].health > 0 && !smac_is_medivac(s, &s->enemy[i])) {
            if (last)
                return false;
            last = &s->enemy[i];
        }
    }
    return last && last->unit_type == TYPE_MEDIVAC;
}

enum verdict { UNDECIDED, LOST, WON, DRAW };

/* The order matters: with no ally but the medivac left, nothing makes it a win. */
static enum verdict judge(const struct smac *s, size_t allies, size_t enemies)
{
    if ((allies == 0 && enemies > 0) || only_medivacs_left(s))
        return LOST;
    if ((allies > 0 && enemies == 0) || only_enemy_medivacs_left(s))
        return WON;
    return allies == 0 && enemies == 0 ? DRAW : UNDECIDED;
}

static uint32_t count_dead(const struct smac_unit *side, size_t n)
{
    uint32_t dead = 0;
    for (size_t i = 0; i < n; i++)
        dead += !(side[i].health > 0 || side[i].health < 0);
    return dead;
}

/* Add what a decided battle pays; a second verdict of the same episode pays nothing. */
static void settle_battle(struct smac *s, enum verdict v, struct smac_result *out)
{
    out->terminated = true;
    if (v == WON && !s->win_counted) {
        s->win_counted = true;
        out->battle_won = true;
        out->reward = s->o.reward_sparse ? 1 : out->reward + s->o.reward_win;
    } else if (v == LOST && !s->defeat_counted) {
        s->defeat_counted = true;
        out->reward = s->o.reward_sparse ? -1 : out->reward + s->o.reward_defeat;
    }
}

void smac_step_frame(struct smac *s, const struct smac_unit *units, size_t n, bool lost,
                     struct smac_result *out)
{
    *out = (struct smac_result){0};
    if (lost) {
        out->terminated = true;
        return;
    }
    s->steps++;
    struct toll ally, enemy;
    follow_side(s->agent, s->dead_agent, s->agents_seen, s->o.reward_negative_scale, units, n,
                &ally);
    follow_side(s->enemy, s->dead_enemy, s->enemies_seen, 1, units, n, &enemy);
    smac_refresh_avail(s);

    out->info_valid = true;
    out->reward = battle_reward(s, &ally, &enemy);
    out->dead_allies = count_dead(s->agent, s->agents_seen);
    out->dead_enemies = count_dead(s->enemy, s->enemies_seen);
    enum verdict v = judge(s, ally.alive, enemy.alive);
    if (v != UNDECIDED) {
        settle_battle(s, v, out);
    } else if (s->steps >= s->map->episode_limit) {
        out->terminated = out->time_limit = true;
        out->episode_limit = s->o.continuing_episode;
    }
    if (out->terminated)
        s->episodes++;
    if (s->o.reward_scale)
        out->reward /= s->max_reward / s->o.reward_scale_rate;
}

/* --- looking --- */

size_t smac_obs_len(const struct smac *s)
{
    return s->obs_len;
}

size_t smac_state_len(const struct smac *s)
{
    return s->state_len;
}

double smac_max_reward(const struct smac *s)
{
    return s->max_reward;
}

size_t smac_enemies(const struct smac *s)
{
    return s->m;
}

void smac_settle(struct smac *s)
{
    if (s->episodes == 0)
        s->episodes = 1;
}

void smac_expect_points(struct smac *s, double points)
{
    s->max_reward = (double)s->m * s->o.reward_death_value + s->o.reward_win + points;
}

void smac_tags(const struct smac *s, uint64_t *agents, uint64_t *enemies)
{
    for (size_t i = 0; i < s->n; i++)
        agents[i] = i < s->agents_seen ? s->agent[i].tag : 0;
    for (size_t k = 0; k < s->m; k++)
        enemies[k] = k < s->enemies_seen ? s->enemy[k].tag : 0;
}

size_t smac_alive_tags(const struct smac *s, uint64_t *out)
{
    size_t n = 0;
    for (size_t i = 0; i < s->agents_seen; i++)
        if (s->agent[i].health > 0)
            out[n++] = s->agent[i].tag;
    for (size_t k = 0; k < s->enemies_seen; k++)
        if (s->enemy[k].health > 0)
            out[n++] = s->enemy[k].tag;
    return n;
}
