/* SPDX-License-Identifier: Apache-2.0 */
/* battle_spawn.c - where units appear.
 *
 * The game creates all units of a group at one point, puts the first there and the others on
 * the nearest free places; its exact pattern is unknown. We scan rings around the point: ring
 * j has radius j/8 and j+6 places, counter-clockwise from east. The places are tabulated at
 * open; an episode may turn each side's rings by an angle of its own (spawn_rotation).
 *
 * Sines come from a polynomial of our own, so that every machine spawns the same bits. */
#include "battle_core.h"

#include "base/err.h"

#include <math.h>

/* cos and sin of 2 pi turns: nearest quarter turn plus a rest of at most pi/4, whose Taylor
 * series to the 17th power are exact to the last bits. */
void turn_cos_sin(double turns, double *c, double *s)
{
    static const double HALF_PI = 1.57079632679489661923;
    double quarters = floor(turns * 4 + 0.5);
    double a = (turns * 4 - quarters) * HALF_PI, a2 = a * a;
    double cosine = 1, sine = 1;
    for (int k = 16; k >= 2; k -= 2) {
        cosine = 1 - a2 / (k * (k - 1)) * cosine;
        sine = 1 - a2 / (k * (k + 1)) * sine;
    }
    sine *= a;
    switch ((int)quarters & 3) {
    case 0:
        *c = cosine, *s = sine;
        break;
    case 1:
        *c = -sine, *s = cosine;
        break;
    case 2:
        *c = -cosine, *s = -sine;
        break;
    default:
        *c = sine, *s = -cosine;
    }
}

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

void spawn_units(struct battle *b)
{
    for (int k = 0; k < UNITS; k++)
        b->near_x[k] = NOWHERE;
    for (int l = 0; l < LAYERS; l++)
        b->max_sep[l] = 0;
    int i = spawn_side(b, 0, 0, b->sc->allies, b->sc->n_ally_groups);
    b->n_agents = i;
    b->n = b->n_turn = spawn_side(b, i, 1, b->sc->enemies, b->sc->n_enemy_groups);
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
