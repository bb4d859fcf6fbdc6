/* SPDX-License-Identifier: Apache-2.0 */
/* battle_script.c - what the opponents do without being told.
 *
 * The maps give them one order at spawn, attack-move; the rest is the units' automatic
 * targeting: keep a target while it lives and is in weapon range, else take the closest
 * candidate in scan range, else follow the old one until it is far away, else go on with the
 * order. Attacked units turn on their attacker and call friends nearby. With agents_scripted
 * the agents do the same in the other direction, which makes equal sides equal. */
#include "battle_core.h"

#include <math.h>

static const double GIVE_UP = 4;   /* beyond the scan range */
static const double ARRIVED = 1.5; /* of the point of an attack-move */

/* Mirror of the opponents' order: the spawn point that corresponds to its point. */
static void agents_goal(const struct scenario *sc, double *x, double *y)
{
    uint32_t g = 0;
    for (uint32_t k = 0; k < sc->n_ally_groups && k < sc->n_enemy_groups; k++) {
        double dx = sc->allies[k].x - sc->order.a, dy = sc->allies[k].y - sc->order.b;
        if (dx * dx + dy * dy < 0.25) {
            g = k;
            break;
        }
    }
    *x = sc->enemies[g].x;
    *y = sc->enemies[g].y;
}

void script_order(struct battle *b)
{
    const struct scenario *sc = b->sc;
    double x = sc->order.a, y = sc->order.b;
    if (sc->order.kind == ORDER_SEGMENT) {
        double u = rng_unit(&b->rng);
        x += u * (sc->order.c - sc->order.a);
        y += u * (sc->order.d - sc->order.b);
    }
    for (int i = b->n_agents; i < b->n && sc->order.kind != ORDER_NONE; i++) {
        bool hunt = sc->order.kind == ORDER_GROUP || sc->order.kind == ORDER_CLOSEST;
        b->task[i] = hunt ? TASK_HUNT : TASK_ADVANCE;
        b->goal_x[i] = x;
        b->goal_y[i] = y;
    }
    if (!b->opt.agents_scripted)
        return;
    if (sc->order.kind == ORDER_CLOSEST) {
        for (int i = 0; i < b->n_agents; i++)
            b->task[i] = TASK_HUNT;
        return;
    }
    agents_goal(sc, &x, &y);
    for (int i = 0; i < b->n_agents; i++) {
        b->task[i] = TASK_ADVANCE;
        b->goal_x[i] = x;
        b->goal_y[i] = y;
    }
}

/* The units of the other side are a range of indices. */
static void opponents_of(const struct battle *b, int i, int *from, int *to)
{
    *from = b->side[i] ? 0 : b->n_agents;
    *to = b->side[i] ? b->n_agents : b->n;
}

/* Closest living unit it can hit whose edge is within `range` of its own, or -1. */
static int closest(const struct battle *b, int i, double range)
{
    const struct kind *k = kind_of(b, i);
    double x = b->x[i], y = b->y[i], best = range + k->radius;
    int from, to, found = -1;
    opponents_of(b, i, &from, &to);
    struct unit_set set = units_within(b, x, y, best + b->max_radius, from, to);
    for (int j = unit_next(&set); j >= 0; j = unit_next(&set)) {
        const struct kind *on = kind_of(b, j);
        double dx = b->x[j] - x, dy = b->y[j] - y, d2 = dx * dx + dy * dy;
        double reach = best + on->radius; /* centre to centre, to beat the best so far */
        if (d2 > reach * reach || !(k->air || on->layer != LAYER_AIR))
            continue;
        double d = sqrt(d2) - on->radius;
        if (found < 0 || d < best) {
            best = d;
            found = j;
        }
    }
    return found;
}

static int retarget(const struct battle *b, int i)
{
    const struct kind *k = kind_of(b, i);
    int t = b->target[i];
    if (t >= 0 && !b->alive[t])
        t = -1;
    if (t >= 0 && unit_in_range(b, i, t, 0))
        return t;
    int c = closest(b, i, k->scan);
    if (c >= 0)
        return c;
    return t >= 0 && edge_distance(b, i, t) <= k->scan + GIVE_UP ? t : -1;
}

static void advance(struct battle *b, int i)
{
    double dx = b->goal_x[i] - b->x[i], dy = b->goal_y[i] - b->y[i];
    if (b->task[i] != TASK_ADVANCE || b->backswing[i] > 0)
        return;
    if (dx * dx + dy * dy <= ARRIVED * ARRIVED)
        b->task[i] = TASK_IDLE;
    else
        unit_walk(b, i, b->goal_x[i], b->goal_y[i], 0);
}

/* Member of the agents' group that is pursued: the closest one, kept while it lives. */
static int quarry(struct battle *b, int i)
{
    if (b->aim[i] < 0 || !b->alive[b->aim[i]])
        b->aim[i] = closest(b, i, 4 * SIDE);
    return b->aim[i];
}

void script_attacked(struct battle *b, int i, int source)
{
    if (!b->scripted[i] || !b->alive[source] || b->side[source] == b->side[i])
        return;
    if (b->target[i] >= 0 && !b->alive[b->target[i]])
        b->target[i] = -1;
    if (b->target[i] < 0 && unit_can_hit(b, i, source))
        b->target[i] = source;
    if (b->now < b->help_at[i])
        return;
    b->help_at[i] = b->now + (uint32_t)b->help_period;
    int from = b->side[i] ? b->n_agents : 0, to = b->side[i] ? b->n : b->n_agents;
    double r = battle_constants.help_radius;
    for (int j = from; j < to; j++) {
        double dx = b->x[j] - b->x[i], dy = b->y[j] - b->y[i];
        if (j == i || !b->alive[j] || dx * dx + dy * dy > r * r || !unit_can_hit(b, j, source))
            continue;
        if (b->target[j] < 0 || !b->alive[b->target[j]])
            b->target[j] = source;
    }
}

/* The most hurt friend (share of health, then distance) a medivac can reach, or -1. */
static int patient(const struct battle *b, int i)
{
    const struct kind *k = kind_of(b, i);
    int from = b->side[i] ? b->n_agents : 0, to = b->side[i] ? b->n : b->n_agents, best = -1;
    double best_share = 1, best_d = 0;
    for (int j = from; j < to; j++) {
        const struct kind *on = kind_of(b, j);
        if (j == i || !b->alive[j] || !(on->attributes & k->heal_targets) ||
            b->health[j] >= on->health)
            continue;
        double share = b->health[j] / on->health, d = edge_distance(b, i, j);
        if (d > k->heal_scan || share > best_share || (share == best_share && d >= best_d))
            continue;
        best = j;
        best_share = share;
        best_d = d;
    }
    return best;
}

/* A medivac stays with its group: it goes on while the others are, on the average, nearer to
 * the goal than itself. */
static bool behind_group(const struct battle *b, int i)
{
    int from = b->side[i] ? b->n_agents : 0, to = b->side[i] ? b->n : b->n_agents, n = 0;
    double sum = 0;
    for (int j = from; j < to; j++) {
        if (!b->alive[j] || !kind_of(b, j)->armed)
            continue;
        double dx = b->goal_x[i] - b->x[j], dy = b->goal_y[i] - b->y[j];
        sum += sqrt(dx * dx + dy * dy);
        n++;
    }
    double dx = b->goal_x[i] - b->x[i], dy = b->goal_y[i] - b->y[i];
    return n == 0 || sqrt(dx * dx + dy * dy) * n > sum;
}

/* The goal of a medivac that hunts is whom it pursues, short of whom it stops. */
static bool near_quarry(struct battle *b, int i)
{
    int q = quarry(b, i);
    if (q < 0)
        return true;
    double dx = b->x[q] - b->x[i], dy = b->y[q] - b->y[i];
    b->goal_x[i] = b->x[q];
    b->goal_y[i] = b->y[q];
    return dx * dx + dy * dy <= ARRIVED * ARRIVED;
}

static void medic(struct battle *b, int i)
{
    const struct kind *k = kind_of(b, i);
    int p = b->target[i];
    if (p < 0 || !b->alive[p] || b->health[p] >= kind_of(b, p)->health ||
        edge_distance(b, i, p) > k->heal_scan) {
        b->healing[i] = false;
        p = b->energy[i] >= k->heal_start ? patient(b, i) : -1;
    }
    b->target[i] = p;
    if (p >= 0 && unit_heal(b, i, p))
        return;
    b->target[i] = -1;
    bool hunts = b->task[i] == TASK_HUNT, near = hunts && near_quarry(b, i);
    if (!near && behind_group(b, i)) {
        if (hunts)
            unit_walk(b, i, b->goal_x[i], b->goal_y[i], 0);
        else
            advance(b, i);
    } else
        b->speed[i] = 0;
}

void script_unit(struct battle *b, int i)
{
    if (!kind_of(b, i)->armed) {
        medic(b, i);
        return;
    }
    int t = b->target[i] = retarget(b, i);
    if (t < 0 && b->task[i] == TASK_HUNT)
        t = quarry(b, i);
    if (t >= 0)
        unit_engage(b, i, t);
    else
        advance(b, i);
}
