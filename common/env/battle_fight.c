/* SPDX-License-Identifier: Apache-2.0 */
/* battle_fight.c - the attack cycle, blows under way, damage, healing and death.
 *
 *   ready, in range -> cooldown starts -> wind-up -> blow -> backswing
 *
 * The cooldown runs from the start of the attack; a wind-up dropped or interrupted has spent
 * it. A blow is immediate or becomes a `hit` that is due some loops later: missiles, the
 * second blow of a zealot, both beams of a colossus. What a hit does is settled when it
 * leaves; a target that died meanwhile absorbs it.
 *
 * Killed banelings explode, and so do those they kill: deaths are queued and settled after
 * each source of damage, without recursion. */
#include "battle_core.h"

#include "base/err.h"

#include <math.h>

static const double CHASE_MARGIN = 0.01; /* chasers stop this far inside their range */

double edge_distance(const struct battle *b, int i, int j)
{
    double dx = b->x[j] - b->x[i], dy = b->y[j] - b->y[i];
    return sqrt(dx * dx + dy * dy) - kind_of(b, i)->radius - kind_of(b, j)->radius;
}

bool unit_can_hit(const struct battle *b, int i, int j)
{
    const struct kind *k = kind_of(b, i);
    return k->armed && (k->air || kind_of(b, j)->layer != LAYER_AIR);
}

static inline bool within(const struct battle *b, int i, int j, double range)
{
    double dx = b->x[j] - b->x[i], dy = b->y[j] - b->y[i];
    double reach = range + kind_of(b, i)->radius + kind_of(b, j)->radius;
    return dx * dx + dy * dy <= reach * reach;
}

bool unit_in_range(const struct battle *b, int i, int j, double extra)
{
    return within(b, i, j, kind_of(b, i)->range + extra);
}

static double blow(const struct kind *k, const struct kind *on)
{
    if (k->structure_damage > 0 && (on->attributes & ATTR_STRUCTURE))
        return k->structure_damage;
    return k->damage + (on->attributes & k->bonus_attr ? k->bonus : 0);
}

static void hit_add(struct battle *b, int source, int target, int delay, bool needs_source)
{
    bug_on(b->n_hits == HITS);
    b->hit[b->n_hits++] = (struct hit){.due = b->now + (uint32_t)delay,
                                       .source = (int16_t)source,
                                       .target = (int16_t)target,
                                       .needs_source = needs_source,
                                       .amount = blow(kind_of(b, source), kind_of(b, target))};
}

/* Take what is due out of the list first: a blow may add others. */
void fight_hits(struct battle *b)
{
    int kept = 0, n = b->n_hits;
    struct hit due[HITS];
    int n_due = 0;
    for (int h = 0; h < n; h++) {
        if (b->hit[h].due <= b->now)
            due[n_due++] = b->hit[h];
        else
            b->hit[kept++] = b->hit[h];
    }
    b->n_hits = kept;
    for (int h = 0; h < n_due; h++) {
        if (due[h].needs_source && !b->alive[due[h].source])
            continue;
        unit_damage(b, due[h].source, due[h].target, due[h].amount);
        fight_settle(b);
    }
}

void unit_kill(struct battle *b, int i)
{
    b->alive[i] = false;
    unit_lift(b, i);
    if (kind_of(b, i)->explodes)
        b->boom[b->n_boom++] = i;
}

/* Shields first, then health less armour; what reaches health does at least 0.5. */
void unit_damage(struct battle *b, int source, int i, double amount)
{
    const struct kind *k = kind_of(b, i);
    if (!b->alive[i])
        return;
    b->shield_wait[i] = b->shield_delay;
    double absorbed = least(b->shield[i], amount);
    b->shield[i] -= absorbed;
    if (amount > absorbed)
        b->health[i] -= most(battle_constants.min_damage, amount - absorbed - k->armor);
    if (b->health[i] <= 0)
        unit_kill(b, i);
    else
        script_attacked(b, i, source);
}

/* A baneling hits every opponent on the ground whose edge is within its splash, once. */
static void explode(struct battle *b, int i)
{
    const struct kind *k = kind_of(b, i);
    note_shot(b, i, i);
    for (int j = 0; j < b->n; j++) {
        if (!b->alive[j] || b->side[j] == b->side[i] || kind_of(b, j)->layer == LAYER_AIR)
            continue;
        double dx = b->x[j] - b->x[i], dy = b->y[j] - b->y[i];
        double reach = k->splash + kind_of(b, j)->radius;
        if (dx * dx + dy * dy <= reach * reach)
            unit_damage(b, i, j, blow(k, kind_of(b, j)));
    }
}

void fight_settle(struct battle *b)
{
    for (int k = 0; k < b->n_boom; k++)
        explode(b, b->boom[k]);
    b->n_boom = 0;
}

/* The colossus burns a bar across its line of fire, centred on the target; whoever it touches
 * on the ground is hit by both beams. */
static void burn_line(struct battle *b, int i, int target)
{
    const struct kind *k = kind_of(b, i);
    double ux = b->x[target] - b->x[i], uy = b->y[target] - b->y[i];
    double d = sqrt(ux * ux + uy * uy);
    ux = d > 0 ? ux / d : 1;
    uy = d > 0 ? uy / d : 0;
    for (int j = 0; j < b->n; j++) {
        const struct kind *on = kind_of(b, j);
        if (!b->alive[j] || b->side[j] == b->side[i] || on->layer == LAYER_AIR)
            continue;
        double rx = b->x[j] - b->x[target], ry = b->y[j] - b->y[target];
        double across = most(0, fabs(rx * ux + ry * uy) - k->line_width);
        double along = most(0, fabs(ry * ux - rx * uy) - k->line_length);
        if (j != target && across * across + along * along > on->radius * on->radius)
            continue;
        for (unsigned h = 0; h < k->hits; h++)
            hit_add(b, i, j, k->line_delay + (int)h * k->hit_gap, false);
    }
}

/* The end of the wind-up. */
static void strike(struct battle *b, int i, int j)
{
    const struct kind *k = kind_of(b, i);
    if (!unit_in_range(b, i, j, k->slop))
        return;
    b->backswing[i] = k->backswing;
    if (!k->suicide)
        note_shot(b, i, j);
    if (k->suicide) {
        unit_kill(b, i);
    } else if (k->line) {
        burn_line(b, i, j);
    } else if (k->missile > 0) {
        double flight = most(0, edge_distance(b, i, j)) / k->missile;
        hit_add(b, i, j, (int)ceil(flight), false);
    } else {
        for (unsigned h = 1; h < k->hits; h++)
            hit_add(b, i, j, (int)h * k->hit_gap, true);
        unit_damage(b, i, j, blow(k, kind_of(b, j)));
    }
    fight_settle(b);
}

bool unit_windup(struct battle *b, int i)
{
    int j = b->windup_target[i];
    if (b->windup[i] == 0)
        return false;
    if (!b->alive[j]) { /* dropped; the unit is free again in this loop */
        b->windup[i] = 0;
        return false;
    }
    if (--b->windup[i] == 0)
        strike(b, i, j);
    return true;
}

void unit_engage(struct battle *b, int i, int j)
{
    const struct kind *k = kind_of(b, i);
    if (unit_in_range(b, i, j, 0)) {
        b->speed[i] = 0;
        if (b->cooldown[i] > 0)
            return;
        b->cooldown[i] = k->period + b->delay_lo + b->delay_span * rng_unit(&b->rng);
        b->windup_target[i] = j;
        b->windup[i] = k->windup;
        if (k->windup == 0)
            strike(b, i, j);
        return;
    }
    if (b->backswing[i] == 0)
        unit_walk(b, i, b->x[j], b->y[j],
                  k->range + k->radius + kind_of(b, j)->radius - CHASE_MARGIN);
}

bool unit_heal(struct battle *b, int i, int j)
{
    const struct kind *k = kind_of(b, i), *on = kind_of(b, j);
    if (!within(b, i, j, k->heal_range)) {
        b->healing[i] = false;
        unit_walk(b, i, b->x[j], b->y[j],
                  k->heal_range + k->radius + on->radius - CHASE_MARGIN);
        return true;
    }
    b->speed[i] = 0;
    double missing = on->health - b->health[j];
    double can = b->energy[i] / k->heal_cost;
    bool start = b->healing[i] ? can > 0 : b->energy[i] >= k->heal_start;
    b->healing[i] = missing > 0 && start;
    if (!b->healing[i])
        return false;
    double points = least(k->heal_rate, least(missing, can));
    b->health[j] += points;
    b->energy[i] -= points * k->heal_cost;
    return true;
}
