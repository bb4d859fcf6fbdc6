/* SPDX-License-Identifier: Apache-2.0 */
/* battle_move.c - one step of one unit: where to, round what, and who stands in the way.
 *
 * The real game's steering is unknown. Ours is cheap and does not depend on the order of
 * neighbours: a unit tries headings off its desired one until a step fits the terrain and
 * brings it into contact with nobody it would get closer to. It remembers on which side it
 * last went round: that persistence makes a swarm flow around engaged friends instead of
 * trembling behind them. If somebody stands in its direct way, or nothing is free, it looks
 * farther (battle_round.c): short steps alone leave it in the pocket between two who stand.
 *
 * INVARIANT  A step never deepens an overlap and never creates one, so two units of a layer
 * stay at least the sum of their separation radii apart (up to TOUCH).
 *
 * Neighbours come from a sweep over single-precision copies of all positions, four units at a
 * time (units_within). With at most UNITS units that is faster than lists by cell.
 * Headings are rotations by constants; no trigonometry at run time. */
#include "battle_core.h"

#include <math.h>

enum { STUCK_LOOPS = 16, NEAR = 64 };

static const double TOUCH = 1e-7;        /* gap below which units count as apart */
static const double WAYPOINT_NEAR = 0.1; /* a waypoint this near is reached */

/* Sixteenths of a turn off the direct heading in the order of trial, towards the preferred
 * side; taking one of the last FLIP changes the side. */
enum { SIDESTEPS = 10, FLIP = 4 };
static const int8_t sidestep_turn[SIDESTEPS] = {1, -1, 2, 3, 4, 5, -2, -3, -4, -5};

void unit_lift(struct battle *b, int i)
{
    b->near_x[i] = NOWHERE;
}

void unit_place(struct battle *b, int i, double x, double y)
{
    b->x[i] = x;
    b->y[i] = y;
    b->moved_at[i] = b->now;
    b->near_x[i] = (float)x;
    b->near_y[i] = (float)y;
}

/* Units of i's layer that a place at most `margin` from (x,y) could touch, without i. */
static int neighbours(const struct battle *b, int i, double x, double y, double margin,
                      struct near out[NEAR])
{
    const enum layer layer = kind_of(b, i)->layer;
    double sep = b->sep[i], reach = sep + b->max_sep[layer] + margin;
    struct unit_set set = units_within(b, x, y, reach, 0, b->n);
    int n = 0;
    for (int j = unit_next(&set); j >= 0; j = unit_next(&set)) {
        double dx = b->x[j] - x, dy = b->y[j] - y, d2 = dx * dx + dy * dy;
        double sum = sep + b->sep[j];
        if (d2 >= (sum + margin) * (sum + margin) || kind_of(b, j)->layer != layer || j == i ||
            n == NEAR)
            continue;
        sum -= TOUCH;
        out[n++] = (struct near){b->x[j], b->y[j], least(sum * sum, d2), j};
    }
    return n;
}

/* Would being at (x,y) mean contact with it, and closer to it than now? */
static inline bool bumps(const struct near *o, double x, double y)
{
    double dx = o->x - x, dy = o->y - y;
    return dx * dx + dy * dy < o->bump2;
}

bool unit_free(const struct battle *b, int i, double x, double y)
{
    struct near near[NEAR];
    return terrain_fits(&b->terrain, kind_of(b, i), x, y) &&
           neighbours(b, i, x, y, -TOUCH, near) == 0;
}

/* The agents' idle friends make way: push j straight on until it just touches a unit that
 * has moved to (x,y). Opponents never push; letting them tilts symmetric battles. */
static bool push_friend(struct battle *b, int i, int j, double x, double y)
{
    if (b->scripted[i] || b->scripted[j] || b->side[i] != b->side[j] ||
        b->task[j] != TASK_IDLE || b->windup[j] > 0)
        return false;
    double sum = b->sep[i] + b->sep[j];
    double dx = b->x[j] - x, dy = b->y[j] - y, d = sqrt(dx * dx + dy * dy);
    if (!(d > 0))
        return false;
    double px = x + dx / d * sum, py = y + dy / d * sum;
    if (!terrain_fits(&b->terrain, kind_of(b, j), px, py))
        return false;
    struct near near[NEAR];
    int n = neighbours(b, j, b->x[j], b->y[j], sum, near);
    for (int k = 0; k < n; k++) {
        if (near[k].id != i && bumps(&near[k], px, py))
            return false;
    }
    unit_place(b, j, px, py);
    return true;
}

/* Can i step to (x,y)? straight: on its direct heading, where an idle friend may be pushed. */
static bool step_free(struct battle *b, int i, double x, double y, const struct near *near,
                      int n, bool straight)
{
    int blocker = -1;
    for (int k = 0; k < n; k++) {
        if (!bumps(&near[k], x, y))
            continue;
        if (blocker >= 0 || !straight)
            return false;
        blocker = near[k].id;
    }
    if (!terrain_fits(&b->terrain, kind_of(b, i), x, y))
        return false;
    return blocker < 0 || push_friend(b, i, blocker, x, y);
}

/* Where to head for (tx,ty): there, or a waypoint. Found again when the unit or its target
 * enters another cell, when the waypoint is reached, and when the unit got stuck. */
static void find_way(struct battle *b, int i, double *tx, double *ty, double *length)
{
    const struct kind *k = kind_of(b, i);
    if (b->terrain.box[k->layer])
        return;
    int from = terrain_cell(b->x[i], b->y[i]), to = terrain_cell(*tx, *ty);
    bool stale = b->way[i].from != from || b->way[i].to != to || b->stuck[i] >= STUCK_LOOPS;
    if (!stale && !b->way[i].straight) {
        double dx = b->way[i].x - b->x[i], dy = b->way[i].y - b->y[i];
        stale = dx * dx + dy * dy < WAYPOINT_NEAR * WAYPOINT_NEAR;
    }
    if (stale) {
        b->way[i].from = from;
        b->way[i].to = to;
        b->way[i].straight =
            terrain_straight(&b->terrain, k, b->x[i], b->y[i], *tx, *ty, *length) ||
            !terrain_waypoint(&b->terrain, k, b->x[i], b->y[i], *tx, *ty, &b->way[i].x,
                              &b->way[i].y);
    }
    if (b->way[i].straight)
        return;
    *tx = b->way[i].x;
    *ty = b->way[i].y;
    double dx = *tx - b->x[i], dy = *ty - b->y[i];
    *length = sqrt(dx * dx + dy * dy);
}

/* A unit about to step: where it is, the step on its direct heading, whom it could touch. */
struct stride {
    double x, y, dx, dy;
    int n;
    struct near near[NEAR];
};

/* The first free step in a list of headings, in sixteenths of a turn off `from` and that off
 * the direct one: its place in the list, or -1. */
static int first_step(struct battle *b, int i, const struct stride *s, int from,
                      const int8_t *list, int n)
{
    for (int k = 0; k < n; k++) {
        int turn = from + list[k];
        const struct sixteenth *by = &sixteenth[turn & (TURN - 1)];
        double side = by->s * b->prefer[i];
        double x = s->x + s->dx * by->c - s->dy * side;
        double y = s->y + s->dx * side + s->dy * by->c;
        if (!step_free(b, i, x, y, s->near, s->n, turn == 0))
            continue;
        b->stuck[i] = 0;
        unit_place(b, i, x, y);
        return k;
    }
    return -1;
}

/* Does anybody the direct step bumps into stand? */
static bool barred(const struct battle *b, const struct stride *s)
{
    for (int k = 0; k < s->n; k++) {
        if (bumps(&s->near[k], s->x + s->dx, s->y + s->dy) && unit_stands(b, s->near[k].id))
            return true;
    }
    return false;
}

/* Straight on, or past those who walk. */
static bool step_on(struct battle *b, int i, const struct stride *s)
{
    double x = s->x + s->dx, y = s->y + s->dy;
    if (step_free(b, i, x, y, s->near, s->n, true)) {
        b->stuck[i] = 0;
        unit_place(b, i, x, y);
        return true;
    }
    if (barred(b, s))
        return false;
    int k = first_step(b, i, s, 0, sidestep_turn, SIDESTEPS);
    if (k >= SIDESTEPS - FLIP)
        b->prefer[i] = (int8_t)-b->prefer[i];
    return k >= 0;
}

/* Stand; after a while try the other side. */
static bool stay(struct battle *b, int i)
{
    b->speed[i] = 0;
    if (++b->stuck[i] > STUCK_LOOPS) {
        b->stuck[i] = 0;
        b->prefer[i] = (int8_t)-b->prefer[i];
        b->round_next[i] = 0;
    }
    return false;
}

/* Past those who stand, until the direct way is clear; `fresh`: begin now. */
static bool go_round(struct battle *b, int i, const struct stride *s, double ahead, bool fresh)
{
    static const int8_t about[] = {0, 1, 2, 3, 4, -1, -2, -3, -4};
    double d = sqrt(s->dx * s->dx + s->dy * s->dy);
    int turn = round_find(b, i, s->near, s->n, s->dx / d, s->dy / d, ahead, fresh);
    if (turn == TURN) { /* closed in: the other side next time */
        b->speed[i] = 0;
        b->prefer[i] = (int8_t)-b->prefer[i];
        return false;
    }
    b->round_next[i] = turn ? b->now + 1 : 0;
    if (first_step(b, i, s, turn, about, sizeof about) >= 0)
        return true;
    return stay(b, i);
}

bool unit_walk(struct battle *b, int i, double tx, double ty, double stop)
{
    const struct kind *k = kind_of(b, i);
    double x = b->x[i], y = b->y[i];
    double dx = tx - x, dy = ty - y, length = sqrt(dx * dx + dy * dy) - stop;
    if (!(length > 0) || !(k->step > 0)) {
        b->speed[i] = 0;
        return false;
    }
    if (k->layer != LAYER_AIR)
        find_way(b, i, &tx, &ty, &length);
    double step = k->step;
    if (k->accel > 0) {
        b->speed[i] = least(k->step, b->speed[i] + k->accel);
        step = b->speed[i];
    }
    if (step > length)
        step = length;
    dx = tx - x;
    dy = ty - y;
    double d = sqrt(dx * dx + dy * dy);
    if (!(d > 0))
        return false;
    struct stride s; /* `near` is large: only what is used is written */
    s.x = x;
    s.y = y;
    s.dx = dx * (step / d);
    s.dy = dy * (step / d);
    const double ahead = round_ahead(length); /* never less than the step */
    if (b->round_next[i] != b->now) {
        s.n = neighbours(b, i, x, y, step, s.near);
        if (step_on(b, i, &s))
            return true;
    }
    s.n = neighbours(b, i, x, y, ahead, s.near);
    return go_round(b, i, &s, ahead, b->round_next[i] != b->now);
}
