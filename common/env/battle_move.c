/* SPDX-License-Identifier: Apache-2.0 */
/* battle_move.c - one step of one unit: where to, round what, and who stands in the way.
 *
 * The real game's steering is unknown. Ours is cheap and does not depend on the order of
 * neighbours: a unit tries headings off its desired one until a step fits the terrain and
 * brings it into contact with nobody it would get closer to. It remembers on which side it
 * last went round: that persistence makes a swarm flow around engaged friends instead of
 * trembling behind them.
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

/* Headings off the desired one in the order of trial, multiples of 22.5 degrees; negative
 * ones turn away from the preferred side. Taking one of the last FLIP changes the side. */
enum { HEADINGS = 11, FLIP = 4 };
static const struct {
    double c, s;
} heading[HEADINGS] = {
    {1, 0},
    {0.92387953251128674, 0.38268343236508977},   /* +22.5 */
    {0.92387953251128674, -0.38268343236508977},  /* -22.5 */
    {0.70710678118654752, 0.70710678118654752},   /* +45 */
    {0.38268343236508977, 0.92387953251128674},   /* +67.5 */
    {0, 1},                                       /* +90 */
    {-0.38268343236508977, 0.92387953251128674},  /* +112.5 */
    {0.70710678118654752, -0.70710678118654752},  /* -45 */
    {0.38268343236508977, -0.92387953251128674},  /* -67.5 */
    {0, -1},                                      /* -90 */
    {-0.38268343236508977, -0.92387953251128674}, /* -112.5 */
};

void unit_lift(struct battle *b, int i)
{
    b->near_x[i] = NOWHERE;
}

void unit_place(struct battle *b, int i, double x, double y)
{
    b->x[i] = x;
    b->y[i] = y;
    b->near_x[i] = (float)x;
    b->near_y[i] = (float)y;
}

/* A unit that a step could touch: where it is, and the square of the distance below which a
 * step bumps into it: contact, and closer than now. */
struct near {
    double x, y, bump2;
    int id;
};

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
    dx *= step / d;
    dy *= step / d;

    struct near near[NEAR];
    int n = neighbours(b, i, x, y, step, near);
    for (int h = 0; h < HEADINGS; h++) {
        double c = heading[h].c, s = heading[h].s * b->prefer[i];
        double nx = x + dx * c - dy * s, ny = y + dx * s + dy * c;
        if (!step_free(b, i, nx, ny, near, n, h == 0))
            continue;
        if (h >= HEADINGS - FLIP)
            b->prefer[i] = (int8_t)-b->prefer[i];
        b->stuck[i] = 0;
        unit_place(b, i, nx, ny);
        return true;
    }
    b->speed[i] = 0;
    if (++b->stuck[i] > STUCK_LOOPS) {
        b->stuck[i] = 0;
        b->prefer[i] = (int8_t)-b->prefer[i];
    }
    return false;
}
