/* SPDX-License-Identifier: Apache-2.0 */
/* smac_script.c - policies that do not learn.
 *
 * heuristic_ai, as the published environment plays it: every agent keeps a target until it is
 * dead and is ordered to attack it at any distance; medivacs keep a hurt ally until it is dead
 * or full. With heuristic_rest an agent whose target is out of reach walks instead, along the
 * axis of larger distance. That environment orders dead agents about as well, and its rule
 * that marauders skip medivacs compares with the type id of the *agents'* medivac, which no
 * opponent has. As an option (smac_options.heuristic_ai) both are kept; as the baseline
 * "attack_nearest" the dead get no orders and marauders do skip medivacs, which they could not
 * hit anyway.
 *
 * "kiting" is for ranged agents against slower or melee opponents: walk away from the nearest
 * enemy while reloading or when it is too close, otherwise shoot it. */
#include "smac_state.h"

#include "base/err.h"

#include <math.h>
#include <string.h>

/* Closer than this, kiting backs off even with a loaded weapon (map units). */
#define KITE_TOO_CLOSE 2.0

static double reach(const struct smac *s)
{
    return sqrt(s->span_x * s->span_x + s->span_y * s->span_y);
}

static bool hurt(const struct smac_unit *u)
{
    return (u->health < 0 || u->health > 0) &&
           (u->health < u->health_max || u->health > u->health_max);
}

static int nearest_hurt(const struct smac *s, const struct smac_unit *own)
{
    double best = reach(s);
    int found = NO_TARGET;
    for (size_t i = 0; i < s->agents_seen && i < s->n; i++) {
        const struct smac_unit *u = &s->agent[i];
        if (smac_is_medivac(s, u) || !hurt(u))
            continue;
        double d = smac_distance(own, u);
        if (d < best) {
            best = d;
            found = (int)i;
        }
    }
    return found;
}

/* Nearest living enemy whose type is not `skip` (0: any). */
static int nearest_enemy(const struct smac *s, const struct smac_unit *own, uint32_t skip)
{
    double best = reach(s);
    int found = NO_TARGET;
    for (size_t k = 0; k < s->enemies_seen && k < s->m; k++) {
        const struct smac_unit *e = &s->enemy[k];
        if ((skip && e->unit_type == skip) || !(e->health > 0))
            continue;
        double d = smac_distance(own, e);
        if (d < best) {
            best = d;
            found = (int)k;
        }
    }
    return found;
}

/* Keep or renew the target of one agent; `skip` is the enemy type its marauders leave out. */
static int update_target(struct smac *s, size_t agent, uint32_t skip)
{
    const struct smac_unit *u = &s->agent[agent];
    int *target = &s->target[agent];
    if (smac_is_medivac(s, u)) {
        if (*target == NO_TARGET || !hurt(&s->agent[*target]))
            *target = nearest_hurt(s, u);
    } else if (*target == NO_TARGET || !(s->enemy[*target].health > 0)) {
        bool marauder = smac_agent_kind(s, u->unit_type) == UNIT_MARAUDER;
        *target = nearest_enemy(s, u, marauder ? skip : 0);
    }
    return *target;
}

/* The move along the axis of larger distance to a target. */
static uint8_t approach(const struct smac_unit *u, const struct smac_unit *t)
{
    double dx = (double)t->x - (double)u->x, dy = (double)t->y - (double)u->y;
    if (fabs(dx) > fabs(dy))
        return dx > 0 ? ACT_EAST : ACT_WEST;
    return dy > 0 ? ACT_NORTH : ACT_SOUTH;
}

static void toward_target(const struct smac *s, size_t agent, size_t target, uint8_t *action,
                          struct smac_command *out)
{
    const struct smac_unit *u = &s->agent[agent];
    const struct smac_unit *t = smac_is_medivac(s, u) ? &s->agent[target] : &s->enemy[target];
    *action = (uint8_t)(s->first_target + target);
    if (s->o.heuristic_rest && !smac_avail_of(s, agent)[*action]) {
        *action = approach(u, t);
        smac_move_command(s, agent, *action, out);
    } else {
        smac_target_command(s, agent, target, out);
    }
}

size_t smac_heuristic_commands(struct smac *s, struct smac_command *out)
{
    size_t count = 0;
    uint8_t action;
    for (size_t i = 0; i < s->n && i < s->agents_seen; i++) {
        int target = update_target(s, i, s->base_type + s->medivac);
        if (target != NO_TARGET)
            toward_target(s, i, (size_t)target, &action, &out[count++]);
    }
    return count;
}

/* --- baselines --- */

/* Each fills in the action of a living agent and its order; false: no order (it stands). */
typedef bool script_fn(struct smac *s, size_t agent, uint8_t *action, struct smac_command *out);

static bool attack_nearest(struct smac *s, size_t agent, uint8_t *action,
                           struct smac_command *out)
{
    int target = update_target(s, agent, TYPE_MEDIVAC);
    if (target == NO_TARGET)
        return false;
    toward_target(s, agent, (size_t)target, action, out);
    return true;
}

/* Squared distance of a point to the nearest living enemy. */
static double clearance(const struct smac *s, double x, double y)
{
    double best = HUGE_VAL;
    for (size_t k = 0; k < s->enemies_seen && k < s->m; k++) {
        const struct smac_unit *e = &s->enemy[k];
        double dx = (double)e->x - x, dy = (double)e->y - y, d = dx * dx + dy * dy;
        if (e->health > 0 && d < best)
            best = d;
    }
    return best;
}

/* The available move that ends farthest from the nearest enemy; ACT_STOP if there is none. */
static uint8_t back_off(const struct smac *s, size_t agent)
{
    uint8_t best = ACT_STOP;
    double best_clearance = -1;
    for (uint8_t a = ACT_NORTH; a <= ACT_WEST; a++) {
        if (!smac_avail_of(s, agent)[a])
            continue;
        struct smac_command c;
        smac_move_command(s, agent, a, &c);
        double d = clearance(s, c.x, c.y);
        if (d > best_clearance) {
            best_clearance = d;
            best = a;
        }
    }
    return best;
}

static bool kiting(struct smac *s, size_t agent, uint8_t *action, struct smac_command *out)
{
    const struct smac_unit *u = &s->agent[agent];
    if (smac_is_medivac(s, u))
        return attack_nearest(s, agent, action, out);
    int target = nearest_enemy(s, u, 0);
    if (target == NO_TARGET)
        return false;
    double d = smac_distance(u, &s->enemy[target]);
    uint8_t away = back_off(s, agent);
    if ((u->weapon_cooldown > 0 || d < KITE_TOO_CLOSE) && away != ACT_STOP) {
        *action = away;
        smac_move_command(s, agent, away, out);
    } else {
        *action = (uint8_t)(s->first_target + (size_t)target);
        smac_target_command(s, agent, (size_t)target, out);
    }
    return true;
}

int smac_script(struct smac *s, const char *policy, uint8_t *action, struct smac_command *out,
                size_t *count)
{
    script_fn *script = strcmp(policy, "attack_nearest") == 0 ? attack_nearest
                        : strcmp(policy, "kiting") == 0       ? kiting
                                                              : NULL;
    if (!script)
        return err_set(ERR_NOTFOUND,
                       "no scripted policy '%s'; there are attack_nearest and kiting", policy);
    *count = 0;
    for (size_t i = 0; i < s->n; i++) {
        bool alive = i < s->agents_seen && s->agent[i].health > 0;
        action[i] = alive ? ACT_STOP : ACT_NONE;
        if (alive && script(s, i, &action[i], &out[*count]))
            (*count)++;
    }
    memcpy(s->last_action, action, s->n);
    s->acted = true;
    return 0;
}
