/* SPDX-License-Identifier: Apache-2.0 */
/* battle_spawn.c - where units appear.
 *
 * The game creates all units of a group at one point, puts the first there and the others on
 * the nearest free places; its exact pattern is unknown. We scan rings around the point: ring
 * j has radius j/8 and j+6 places, counter-clockwise from east. The places are tabulated at
 * open; an episode may turn each side's rings by an angle of its own (spawn_rotation).
 *
 * On generated maps every unit is a group of its own, drawn by battle_gen.c. */
#include "battle_core.h"

#include "base/err.h"

#include <math.h>

void spawn_rings(struct battle *b)
{
    int p = 0;
    b->ring_x[p] = b->ring_y[p] = 0;
    p++;
    for (int j = 1; j < RINGS; j++) {
        for (int i = 0; i < j + 6; i++, p++) {
            double c, s;
            turn_cos_sin((double)i / (j + 6), &c, &s);
            b->ring_x[p] = c * j / 8;
            b->ring_y[p] = s * j / 8;
        }
    }
}

/* First free place at or after `p`; returns its number. */
static int ring_place(struct battle *b, int i, const struct spawn_group *g, double c, double s,
                      int p)
{
    for (; p < RING_PLACES; p++) {
        double x = g->x + c * b->ring_x[p] - s * b->ring_y[p];
        double y = g->y + s * b->ring_x[p] + c * b->ring_y[p];
        if (unit_free(b, i, x, y)) {
            unit_place(b, i, x, y);
            return p;
        }
    }
    bug_on(p == RING_PLACES); /* no map is that small */
    return p;
}

/* Shift by uniform noise; a few draws may fall on a wall or a friend, then it stays. */
static void jitter(struct battle *b, int i)
{
    double a = b->opt.position_noise, x = b->x[i], y = b->y[i];
    if (!(a > 0))
        return;
    unit_lift(b, i);
    for (int attempt = 0; attempt < 8; attempt++) {
        double nx = x + a * (2 * rng_unit(&b->rng) - 1);
        double ny = y + a * (2 * rng_unit(&b->rng) - 1);
        if (unit_free(b, i, nx, ny)) {
            x = nx;
            y = ny;
            break;
        }
    }
    unit_place(b, i, x, y);
}

static void unit_fresh(struct battle *b, int i, enum unit_kind kind, uint8_t side)
{
    const struct kind *k = &b->kinds[kind];
    b->n = i + 1; /* those who follow look for room among the ones before */
    b->kind[i] = kind;
    b->side[i] = side;
    b->scripted[i] = side == 1 || b->opt.agents_scripted;
    b->alive[i] = true;
    b->health[i] = k->health;
    b->shield[i] = k->shield;
    b->energy[i] = k->energy;
    b->cooldown[i] = 0;
    b->shield_wait[i] = 0;
    b->speed[i] = 0;
    b->task[i] = TASK_IDLE;
    b->goal_x[i] = b->goal_y[i] = 0;
    b->aim[i] = b->target[i] = b->windup_target[i] = -1;
    b->windup[i] = b->backswing[i] = 0;
    b->help_at[i] = 0;
    b->healing[i] = false;
    b->prefer[i] = i % 2 ? -1 : 1;
    b->stuck[i] = 0;
    b->round_next[i] = 0;
    b->way[i].from = -1;
    b->sep[i] = k->separation;
    if (k->separation > b->max_sep[k->layer])
        b->max_sep[k->layer] = k->separation;
}

static int spawn_side(struct battle *b, int i, uint8_t side, const struct spawn_group *g,
                      uint32_t groups)
{
    double c = 1, s = 0;
    if (b->opt.spawn_rotation)
        turn_cos_sin(rng_unit(&b->rng), &c, &s);
    for (uint32_t k = 0; k < groups; k++, g++) {
        int p = 0;
        for (uint32_t u = 0; u < g->count; u++, i++) {
            unit_fresh(b, i, g->kind, side);
            /* What was no place for the last unit of a kind is none for the next one. */
            p = ring_place(b, i, g, c, s, p);
            b->turn[i] = i;
        }
    }
    return i;
}

static void spawn_sides(struct battle *b)
{
    struct spawn_group agents[SMAC_AGENTS_MAX], enemies[SMAC_ENEMIES_MAX];
    const struct scenario *sc = b->sc;
    if (sc->gen) {
        gen_draw(b, agents, enemies);
        b->n_agents = spawn_side(b, 0, 0, agents, sc->n_agents);
        b->n = spawn_side(b, b->n_agents, 1, enemies, sc->n_enemies);
    } else {
        b->n_agents = spawn_side(b, 0, 0, sc->allies, sc->n_ally_groups);
        b->n = spawn_side(b, b->n_agents, 1, sc->enemies, sc->n_enemy_groups);
    }
    b->n_turn = b->n;
}

void spawn_units(struct battle *b)
{
    for (int k = 0; k < UNITS; k++)
        b->near_x[k] = NOWHERE;
    for (int l = 0; l < LAYERS; l++)
        b->max_sep[l] = 0;
    spawn_sides(b);
    for (int u = 0; u < b->n; u++)
        jitter(b, u);
    /* The order in which the game lists the opponents is not tied to where they stand. */
    int enemies = b->n - b->n_agents;
    for (int e = 0; e < enemies; e++)
        b->listed[e] = b->n_agents + e;
    for (int e = enemies - 1; e > 0 && b->opt.shuffle_enemy_order; e--) {
        int o = (int)rng_below(&b->rng, (uint32_t)e + 1), keep = b->listed[e];
        b->listed[e] = b->listed[o];
        b->listed[o] = keep;
    }
}
