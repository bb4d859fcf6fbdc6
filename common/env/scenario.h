/* SPDX-License-Identifier: Apache-2.0 */
/* scenario.h - the tables of the micromanagement scenarios: maps, unit types, terrains.
 *
 * Facts only, all constant: the contract (smac.c) sizes its vectors from the maps, the battle
 * engine (battle.c) fights with the unit and terrain tables. Distances are map units, times
 * game seconds of SCENARIO_LOOPS_PER_SECOND loops, speeds and rates per game second. Where the
 * numbers come from: docs/battle.md. Private to the room. */
#ifndef ENV_SCENARIO_H
#define ENV_SCENARIO_H

#include "base/config.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SCENARIO_LOOPS_PER_SECOND = 16,
    SCENARIO_LOOPS_PER_STEP = 8,
    SCENARIO_SIDE = 32,  /* every map is 32 x 32 cells */
    SCENARIO_GROUPS = 3, /* spawn groups of a side, at most; unit types of a generated team */
    SCENARIO_COPIES = 9, /* kinds of agents' units a map brings along, at most */
};

/* Loops per wall-clock second at the speed "faster"; plays no role in a stepped simulation. */
#define SCENARIO_LOOPS_PER_REAL_SECOND_FASTER 22.4

enum unit_kind {
    UNIT_MARINE,
    UNIT_MARAUDER,
    UNIT_MEDIVAC,
    UNIT_STALKER,
    UNIT_ZEALOT,
    UNIT_COLOSSUS,
    UNIT_HYDRALISK,
    UNIT_ZERGLING,
    UNIT_BANELING,
    UNIT_SPINE_CRAWLER,
    UNIT_KINDS
};

enum unit_attribute {
    ATTR_LIGHT = 1,
    ATTR_ARMORED = 2,
    ATTR_BIOLOGICAL = 4,
    ATTR_MECHANICAL = 8,
    ATTR_MASSIVE = 16,
    ATTR_STRUCTURE = 32,
};

/* The order of the unit type ids of the agents' copies depends on the map's type. */
enum map_type {
    MAP_MARINES,
    MAP_STALKERS,
    MAP_ZEALOTS,
    MAP_HYDRALISKS,
    MAP_COLOSSUS,
    MAP_STALKERS_AND_ZEALOTS,
    MAP_COLOSSI_STALKERS_ZEALOTS,
    MAP_MMM,
    MAP_BANE,
    MAP_GEN_PROTOSS,
    MAP_GEN_TERRAN,
    MAP_GEN_ZERG,
    MAP_TYPES
};

/* What all units share. */
struct battle_constants {
    double shield_regen, shield_regen_delay; /* points per second; seconds without damage */
    double shield_armor, min_damage;
    double min_scan_range;                   /* scan range = max(this, weapon range) */
    double weapon_delay_lo, weapon_delay_hi; /* random part of each cooldown, seconds */
    double leash_radius, leash_reset_radius;
    double help_radius, help_period; /* call for help: distance, seconds */
    int attack_priority;             /* the same for every unit listed */
};
extern const struct battle_constants battle_constants;

struct weapon_data {
    bool present; /* false: the medivac, which only heals */
    double damage, bonus;
    unsigned bonus_attr;     /* enum unit_attribute the bonus is for, 0 = none */
    double structure_damage; /* replaces damage + bonus against structures; 0 = no rule */
    unsigned hits;
    double hit_gap; /* seconds between two hits */
    double period, damage_point, backswing;
    double range;      /* edge to edge */
    double range_slop; /* a wound-up hit still lands within range + slop */
    double scan_range; /* 0: max(min_scan_range, range) */
    bool air;
    double projectile_speed; /* 0: the hit is immediate */
    double splash_radius;
    bool suicide, explodes_on_death;
    struct {
        double half_length, half_width, sweep_time, damage_delay;
    } line; /* the colossus: a bar across the line of fire; half_length 0 = none */
};

struct heal_data {
    double range, auto_range; /* edge to edge; rate 0 = cannot heal */
    double rate, energy_per_hp, min_start_energy;
    unsigned targets; /* attributes a target must have */
};

struct unit_data {
    const char *name; /* NULL in an override table: as in the base table */
    double health, shield, armor;
    unsigned attributes;
    double speed, acceleration; /* acceleration 0: at once */
    double radius, separation_radius, inner_radius, sight;
    double life_regen;
    bool flying, cliff_walk;
    double energy_start, energy_max, energy_regen;
    struct weapon_data weapon;
    struct heal_data heal;
    uint32_t enemy_type; /* the game's unit type id, used by the opponents */
};

/* The data of a unit kind in one of the two data sets. Never NULL for a kind in range. */
const struct unit_data *unit_data(enum cfg_units set, enum unit_kind kind);

/* Offset of the agents' copy of `kind` from the map's smallest copy id, or -1. */
int unit_rl_offset(enum map_type type, enum unit_kind kind);

/* Rows start at y = 0 (south), columns at x = 0. '.' open, '#' blocked. */
struct terrain_data {
    const char *name;
    const char *walk[SCENARIO_SIDE];
    const char *cell_flags[SCENARIO_SIDE];  /* as painted in the map: whole cliff blocks shut */
    const char *cliff_level[SCENARIO_SIDE]; /* '0'.. plateau level; letters: ramp cells */
    bool has_colossus_walk;
    const char *colossus_walk[SCENARIO_SIDE]; /* where cliff walkers may stand */
};

/* Walkable cells for ground units (cliff_walk false) or for colossi. */
bool terrain_open(const struct terrain_data *t, int x, int y, bool cliff_walk);

struct spawn_group {
    enum unit_kind kind;
    uint32_t count;
    double x, y;
};

enum order_kind {
    ORDER_NONE,
    ORDER_POINT,   /* attack-move to (a, b) */
    ORDER_SEGMENT, /* attack-move to a point uniform on (a, b)-(c, d), drawn at every spawn */
    ORDER_GROUP,   /* attack the group of all agents' units */
    ORDER_CLOSEST, /* attack the closest agent, again and again: SMACv2 */
};

/* What a generated map draws its teams from. */
struct scenario_gen {
    enum unit_kind team[SCENARIO_GROUPS]; /* order of weights and type one-hots */
    enum unit_kind not_alone;             /* no team of these only; UNIT_KINDS: none such */
};

struct scenario {
    const char *name;
    uint32_t n_agents, n_enemies, episode_limit;
    char ally_race, enemy_race; /* T, P, Z */
    enum map_type type;
    uint32_t type_bits;                 /* length of the unit type one-hot */
    uint32_t shield_ally, shield_enemy; /* 1 if that side's features hold a shield entry */
    /* with default options; max_reward of a full first frame, 0 for generated maps */
    uint32_t n_actions, obs_size, state_size, max_reward;
    const struct terrain_data *terrain;
    int32_t map_size[2], playable[4]; /* playable: x0, y0, x1, y1 */
    uint32_t n_ally_groups, n_enemy_groups;
    struct spawn_group allies[SCENARIO_GROUPS], enemies[SCENARIO_GROUPS]; /* script order */
    struct {
        enum order_kind kind;
        double a, b, c, d;
    } order;                        /* the one order the map's script gives the opponents */
    const struct scenario_gen *gen; /* NULL: the groups above; else there are none */
};

/* Generated maps have several spellings: scenario.name is the canonical one. ERR_CONFIG with
 * err_text() naming the nearest map. */
int scenario_find(const struct scenario **out, const char *name);
/* NULL-terminated, the eight maps of the MAG paper first, the generated ones last. */
const char *const *scenario_names(void);
/* The rows behind the names in the same order, fixed and generated maps; the terrains. */
const struct scenario *scenario_table(size_t *n);
const struct scenario *scenario_gen_table(size_t *n);
const struct terrain_data *terrain_table(size_t *n);
const char *map_type_name(enum map_type type);

#endif
