/* SPDX-License-Identifier: Apache-2.0 */
/* battle_kind.c - unit data converted once from game seconds to loops.
 *
 * The tables speak of game seconds of 16 loops; the engine only knows loops. A timer that runs
 * t loops fires in the first loop that is at least t after its start, so whole loops are the
 * ceiling; cooldowns keep their fraction, because the game reports and randomises it. */
#include "battle_core.h"

#include <math.h>

/* Seconds between the two beams of a colossus; the game sweeps it, we strike twice. */
static const double BEAM_GAP = 0.35;
/* The centre cross of a unit must stand on open cells: this part of its inner radius. */
static const double FIT = 0.7;

static int loops(double seconds)
{
    return (int)ceil(seconds * LOOPS_PER_SECOND - 1e-9);
}

static void weapon_init(struct kind *k, const struct weapon_data *w)
{
    k->armed = w->present;
    k->air = w->air;
    k->suicide = w->suicide;
    k->explodes = w->explodes_on_death;
    k->damage = w->damage;
    k->bonus = w->bonus;
    k->bonus_attr = w->bonus_attr;
    k->structure_damage = w->structure_damage;
    k->hits = w->hits;
    k->period = w->period * LOOPS_PER_SECOND;
    k->windup = loops(w->damage_point);
    k->backswing = loops(w->backswing);
    k->range = w->range;
    k->slop = w->range_slop;
    k->scan = w->scan_range;
    if (!(k->scan > 0))
        k->scan = most(battle_constants.min_scan_range, w->range);
    k->missile = w->projectile_speed / LOOPS_PER_SECOND;
    k->splash = w->splash_radius;
    k->line = w->line.half_length > 0;
    k->line_length = w->line.half_length;
    k->line_width = w->line.half_width;
    k->line_delay = loops(w->line.damage_delay);
    k->hit_gap = loops(k->line ? BEAM_GAP : w->hit_gap);
}

void kind_init(struct kind *k, const struct unit_data *u)
{
    *k = (struct kind){.attributes = u->attributes,
                       .health = u->health,
                       .shield = u->shield,
                       .armor = u->armor,
                       .energy = u->energy_start,
                       .energy_max = u->energy_max,
                       .step = u->speed / LOOPS_PER_SECOND,
                       .accel = u->acceleration / (LOOPS_PER_SECOND * LOOPS_PER_SECOND),
                       .radius = u->radius,
                       .separation = u->separation_radius,
                       .fit = FIT * u->inner_radius,
                       .life_regen = u->life_regen / LOOPS_PER_SECOND,
                       .energy_regen = u->energy_regen / LOOPS_PER_SECOND,
                       .heal_rate = u->heal.rate / LOOPS_PER_SECOND,
                       .heal_cost = u->heal.energy_per_hp,
                       .heal_start = u->heal.min_start_energy,
                       .heal_range = u->heal.range,
                       .heal_scan = u->heal.auto_range,
                       .heal_targets = u->heal.targets};
    k->layer = u->flying ? LAYER_AIR : u->cliff_walk ? LAYER_COLOSSUS : LAYER_GROUND;
    weapon_init(k, &u->weapon);
}
