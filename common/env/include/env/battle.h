/* SPDX-License-Identifier: Apache-2.0 */
/* battle.h - the embedded battle engine: StarCraft II micromanagement without the game.
 *
 * Simulates game loops (16 a game second, 8 an environment step) of the scenarios of the unit
 * and terrain tables. It takes orders and gives unit lists, nothing else: the SMAC contract
 * (smac.h) sits above it and above the real game alike. Rules and their evidence:
 * docs/battle.md. An episode is a function of (scenario, options, seed, orders): no libm
 * transcendentals, no addresses, no time.
 *
 * One battle belongs to one thread; battle_open reserves everything, no call allocates later. */
#ifndef ENV_BATTLE_H
#define ENV_BATTLE_H

#include "env/scene.h"
#include "env/smac.h"

struct battle; /* opaque */

struct battle_options {
    enum cfg_units units;
    bool shuffle_enemy_order; /* list order of the opponents drawn per episode */
    bool spawn_rotation;      /* start angle of each side's spawn ring drawn per episode */
    double position_noise;    /* map units, uniform per axis */
    bool agents_scripted;     /* calibration: agents obey the opponents' own logic */

    /* Of generated maps only. Weights count the race's unit types in published order; only
     * their shares matter, and some must belong to a type that may make a whole team. */
    enum cfg_start start;
    double reflect_chance, team_weight[3];
};
/* What SMACv2 publishes, and enemies listed in random order. */
void battle_options_default(struct battle_options *o);

/* ERR_CONFIG names the nearest map, or says what is wrong with the weights. */
int battle_open(struct battle **out, const char *map, const struct battle_options *o);
void battle_close(struct battle *b);

/* Grids as the real game would send them (1-bit pathing, 8-bit height). Valid until close. */
void battle_game_info(const struct battle *b, struct smac_game_info *out);

/* Spawn both sides afresh and run two loops, as a later episode of the real game starts. Tags
 * are new at every spawn of one battle. */
void battle_reset(struct battle *b, uint64_t seed);

void battle_order(struct battle *b, const struct smac_command *c, size_t n);
void battle_step(struct battle *b, size_t loops);

/* Living units in list order, at most SMAC_UNITS_MAX. */
size_t battle_units(const struct battle *b, struct smac_unit *out);

/* For recordings: the ground and the kinds of units; all units of the episode, the dead too,
 * with the strikes of the last battle_step. Orders are left empty. Neither changes anything. */
void battle_stage(const struct battle *b, struct scene_stage *out);
void battle_scene(const struct battle *b, struct scene *out);
int battle_unit_of(const struct battle *b, uint64_t tag); /* index in a scene, or -1 */

#endif
