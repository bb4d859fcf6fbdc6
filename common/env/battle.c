/* SPDX-License-Identifier: Apache-2.0 */
/* battle.c - the clock of a battle: spawn, orders in, loops, unit lists out.
 *
 * One loop: blows that are due land; then the living units act one by one in an order
 * shuffled every loop, so that no index and no side goes first. A unit's turn is timers and
 * regeneration, then its wind-up, or its order and targets. Everything random comes from one
 * generator seeded per episode, and everything that outlives an episode (tags, the table of
 * distance fields) changes no result: an episode is a function of (map, options, seed,
 * orders).
 *
 * Agents obey orders and nothing else. Opponents obey their script (battle_script.c). */
#include "battle_core.h"

#include "base/err.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What passes between a spawn and its first frame. On generated maps nothing does: sides may
 * start so close that somebody would be dead by then. */
enum { RESET_LOOPS = 2 };

static const double ARRIVAL = 1e-6;

void battle_options_default(struct battle_options *o)
{
    *o = (struct battle_options){
        .shuffle_enemy_order = true, .reflect_chance = 0.5, .team_weight = {0.45, 0.45, 0.1}};
}

/* A team must not need infinitely many draws. */
static int check_weights(const struct scenario *sc, const struct battle_options *o)
{
    if (!sc->gen)
        return 0;
    for (int t = 0; t < SCENARIO_GROUPS; t++)
        if (sc->gen->team[t] != sc->gen->not_alone && o->team_weight[t] > 0)
            return 0;
    return err_set(ERR_CONFIG,
                   "env.team_weight_*: no team can be drawn for %s, raise the weight of a unit "
                   "type that fights",
                   sc->name);
}

int battle_open(struct battle **out, const char *map, const struct battle_options *o)
{
    const struct scenario *sc;
    int err = scenario_find(&sc, map);
    if (!err)
        err = check_weights(sc, o);
    if (err)
        return err;
    struct battle *b = calloc(1, sizeof *b);
    if (!b)
        return err_set(ERR_NOMEM, "no memory for a battle of %zu bytes", sizeof *b);
    b->sc = sc;
    b->opt = *o;
    for (int k = 0; k < UNIT_KINDS; k++) {
        kind_init(&b->kinds[k], unit_data(o->units, (enum unit_kind)k));
        b->max_radius = most(b->max_radius, b->kinds[k].radius);
    }
    b->shield_step = battle_constants.shield_regen / LOOPS_PER_SECOND;
    b->shield_delay = (int)(battle_constants.shield_regen_delay * LOOPS_PER_SECOND);
    b->help_period = (int)(battle_constants.help_period * LOOPS_PER_SECOND);
    b->delay_lo = battle_constants.weapon_delay_lo * LOOPS_PER_SECOND;
    b->delay_span = battle_constants.weapon_delay_hi * LOOPS_PER_SECOND - b->delay_lo;
    b->tag_base = 1;
    terrain_init(&b->terrain, sc->terrain);
    spawn_rings(b);
    *out = b;
    return 0;
}

void battle_close(struct battle *b)
{
    free(b);
}

void battle_game_info(const struct battle *b, struct smac_game_info *out)
{
    *out = (struct smac_game_info){.map_w = (uint32_t)b->sc->map_size[0],
                                   .map_h = (uint32_t)b->sc->map_size[1],
                                   .copy_base = COPY_BASE,
                                   .pathing_bits = 1,
                                   .height_bits = 8,
                                   .pathing = b->terrain.pathing,
                                   .height = b->terrain.height,
                                   .pathing_bytes = sizeof b->terrain.pathing,
                                   .height_bytes = sizeof b->terrain.height};
    memcpy(out->playable, b->sc->playable, sizeof out->playable);
}

void battle_reset(struct battle *b, uint64_t seed)
{
    rng_seed(&b->rng, seed);
    b->tag_base += (uint64_t)b->n; /* tags are never used again */
    b->now = 0;
    b->n_hits = b->n_boom = 0;
    spawn_units(b);
    script_order(b);
    battle_step(b, b->sc->gen ? 0 : RESET_LOOPS);
}

static int unit_of_tag(const struct battle *b, uint64_t tag)
{
    uint64_t i = tag - b->tag_base;
    return i < (uint64_t)b->n && b->alive[i] ? (int)i : -1;
}

/* A new order ends what the unit is doing; a wind-up under way is lost. */
static void give(struct battle *b, int i, enum task task, int aim)
{
    b->task[i] = task;
    b->aim[i] = aim;
    b->windup[i] = b->backswing[i] = 0;
    b->healing[i] = false;
}

/* Orders the game would refuse (dead or unreachable targets) leave the old order standing. */
static void order_one(struct battle *b, const struct smac_command *c)
{
    int i = unit_of_tag(b, c->unit_tag);
    if (i < 0 || b->scripted[i])
        return;
    int j = c->target == 2 ? unit_of_tag(b, c->target_tag) : -1;
    if (c->ability == ABILITY_STOP) {
        give(b, i, TASK_IDLE, -1);
    } else if (c->ability == ABILITY_MOVE && c->target == 1) {
        give(b, i, TASK_MOVE, -1);
        b->goal_x[i] = (double)c->x;
        b->goal_y[i] = (double)c->y;
        terrain_pull_back(&b->terrain, kind_of(b, i), b->x[i], b->y[i], &b->goal_x[i],
                          &b->goal_y[i]);
    } else if (c->ability == ABILITY_ATTACK && j >= 0 && unit_can_hit(b, i, j)) {
        if (b->task[i] != TASK_ATTACK || b->aim[i] != j)
            give(b, i, TASK_ATTACK, j);
    } else if (c->ability == ABILITY_HEAL && j >= 0 && j != i && b->side[j] == b->side[i] &&
               (kind_of(b, j)->attributes & kind_of(b, i)->heal_targets)) {
        if (b->task[i] != TASK_HEAL || b->aim[i] != j)
            give(b, i, TASK_HEAL, j);
    }
}

void battle_order(struct battle *b, const struct smac_command *c, size_t n)
{
    for (size_t k = 0; k < n; k++)
        order_one(b, &c[k]);
}

static void timers(struct battle *b, int i)
{
    const struct kind *k = kind_of(b, i);
    b->cooldown[i] = b->cooldown[i] > 1 ? b->cooldown[i] - 1 : 0;
    if (b->backswing[i] > 0)
        b->backswing[i]--;
    if (b->shield_wait[i] > 0)
        b->shield_wait[i]--;
    else if (b->shield[i] < k->shield)
        b->shield[i] = least(k->shield, b->shield[i] + b->shield_step);
    if (k->life_regen > 0 && b->health[i] < k->health)
        b->health[i] = least(k->health, b->health[i] + k->life_regen);
    if (b->energy[i] < k->energy_max)
        b->energy[i] = least(k->energy_max, b->energy[i] + k->energy_regen);
}

static void agent_unit(struct battle *b, int i)
{
    int j = b->aim[i];
    double dx = b->goal_x[i] - b->x[i], dy = b->goal_y[i] - b->y[i];
    switch (b->task[i]) {
    case TASK_MOVE:
        if (dx * dx + dy * dy <= ARRIVAL * ARRIVAL)
            b->task[i] = TASK_IDLE;
        else
            unit_walk(b, i, b->goal_x[i], b->goal_y[i], 0);
        return;
    case TASK_ATTACK:
        if (b->alive[j])
            unit_engage(b, i, j);
        else
            b->task[i] = TASK_IDLE;
        return;
    case TASK_HEAL:
        if (b->alive[j])
            unit_heal(b, i, j);
        else
            b->task[i] = TASK_IDLE;
        return;
    default:
        b->speed[i] = 0;
    }
}

/* The living, shuffled anew: one 64-bit draw serves two swaps. */
static void shuffle_turns(struct battle *b)
{
    int n = 0;
    for (int k = 0; k < b->n_turn; k++) {
        if (b->alive[b->turn[k]])
            b->turn[n++] = b->turn[k];
    }
    b->n_turn = n;
    uint64_t word = 0;
    for (int k = n - 1; k > 0; k--) {
        word = (n - k) & 1 ? rng_u64(&b->rng) : word >> 32;
        int o = (int)word_below((uint32_t)word, (uint32_t)k + 1), keep = b->turn[k];
        b->turn[k] = b->turn[o];
        b->turn[o] = keep;
    }
}

void battle_step(struct battle *b, size_t loops)
{
    b->n_shots = 0;
    b->shots_from = b->now;
    for (size_t l = 0; l < loops; l++) {
        b->now++;
        fight_hits(b);
        shuffle_turns(b);
        for (int k = 0; k < b->n_turn; k++) {
            int i = b->turn[k];
            if (!b->alive[i])
                continue;
            timers(b, i);
            if (unit_windup(b, i))
                continue;
            if (b->scripted[i])
                script_unit(b, i);
            else
                agent_unit(b, i);
        }
    }
}

static void describe_unit(const struct battle *b, int i, struct smac_unit *out)
{
    const struct kind *k = kind_of(b, i);
    bool agent = b->side[i] == 0;
    uint32_t type = agent ? COPY_BASE + (uint32_t)unit_rl_offset(b->sc->type, b->kind[i])
                          : unit_data(b->opt.units, b->kind[i])->enemy_type;
    int cell = terrain_cell(b->x[i], b->y[i]);
    *out = (struct smac_unit){
        .tag = b->tag_base + (uint64_t)i,
        .owner = agent ? 1 : 2,
        .unit_type = type,
        .x = (float)b->x[i],
        .y = (float)b->y[i],
        .z = (float)b->terrain.height[(SIDE - 1 - cell / SIDE) * SIDE + cell % SIDE] / 16,
        .health = (float)b->health[i],
        .health_max = (float)k->health,
        .shield = (float)b->shield[i],
        .shield_max = (float)k->shield,
        .energy = (float)b->energy[i],
        .energy_max = (float)k->energy_max,
        .weapon_cooldown = agent ? (float)b->cooldown[i] : 0};
}

size_t battle_units(const struct battle *b, struct smac_unit *out)
{
    size_t n = 0;
    for (int i = 0; i < b->n_agents; i++) {
        if (b->alive[i])
            describe_unit(b, i, &out[n++]);
    }
    for (int e = 0; e < b->n - b->n_agents; e++) {
        if (b->alive[b->listed[e]])
            describe_unit(b, b->listed[e], &out[n++]);
    }
    return n;
}
