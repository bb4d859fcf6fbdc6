/* SPDX-License-Identifier: Apache-2.0 */
/* scenario_gen.c - the generated maps of SMACv2: fifteen tasks on one flat map, whose teams and
 * start positions are drawn for every episode (battle_gen.c does that).
 *
 * Weights and one-hots count the three unit types of a race in the order given here, which is
 * the published one; the type ids of the agents' copies follow the alphabet, over all nine. The
 * map file holds no cliffs; its walkable area is not published, so that of the open SMAC maps
 * stands for it. */
#include "scenario.h"
#include "scenario_tables.h"

#include <stdio.h>
#include <string.h>

static const struct scenario_gen protoss = {{UNIT_STALKER, UNIT_ZEALOT, UNIT_COLOSSUS},
                                            UNIT_KINDS};
static const struct scenario_gen terran = {{UNIT_MARINE, UNIT_MARAUDER, UNIT_MEDIVAC},
                                           UNIT_MEDIVAC};
static const struct scenario_gen zerg = {{UNIT_ZERGLING, UNIT_HYDRALISK, UNIT_BANELING},
                                         UNIT_BANELING};

/* One task; s: shields, bits of the type one-hot: 3, own position: 2. */
#define TASK(race, letter, map, s, n, m)                                                       \
    {                                                                                          \
        .name = "10gen_" #race "_" #n "_vs_" #m, .n_agents = n, .n_enemies = m,                \
        .episode_limit = 200, .ally_race = letter, .enemy_race = letter, .type = map,          \
        .type_bits = 3, .shield_ally = s, .shield_enemy = s, .n_actions = 6 + m,               \
        .obs_size = 4 + m * (8 + s) + (n - 1) * (8 + s) + (6 + s),                             \
        .state_size = n * (7 + s) + m * (6 + s) + n * (6 + m),                                 \
        .terrain = &scenario_terrains[TERRAIN_OPEN],                                           \
        .map_size = {SCENARIO_SIDE, SCENARIO_SIDE},                                            \
        .playable = {0, 0, SCENARIO_SIDE, SCENARIO_SIDE}, .order = {.kind = ORDER_CLOSEST},    \
        .gen = &race                                                                           \
    }
#define RACE(race, letter, map, s)                                                             \
    TASK(race, letter, map, s, 5, 5), TASK(race, letter, map, s, 10, 10),                      \
        TASK(race, letter, map, s, 10, 11), TASK(race, letter, map, s, 20, 20),                \
        TASK(race, letter, map, s, 20, 23)

const struct scenario scenario_gen_maps[SCENARIOS_GEN] = {
    RACE(protoss, 'P', MAP_GEN_PROTOSS, 1),
    RACE(terran, 'T', MAP_GEN_TERRAN, 0),
    RACE(zerg, 'Z', MAP_GEN_ZERG, 0),
};

/* The canonical spelling of what users write: with or without "10gen_", "5v5" for "5_vs_5",
 * and no numbers for the five against five of the published configurations. */
void scenario_gen_name(char *out, size_t n, const char *name)
{
    char race[16];
    unsigned agents = 5, enemies = 5;
    int end = 0;
    const char *at = strncmp(name, "10gen_", 6) == 0 ? name + 6 : name;
    bool bare = at != name && sscanf(at, "%15[a-z]%n", race, &end) == 1 && !at[end];
    if (bare ||
        (sscanf(at, "%15[a-z]_%2u_vs_%2u%n", race, &agents, &enemies, &end) == 3 && !at[end]) ||
        (sscanf(at, "%15[a-z]_%2uv%2u%n", race, &agents, &enemies, &end) == 3 && !at[end]))
        snprintf(out, n, "10gen_%s_%u_vs_%u", race, agents, enemies);
    else
        snprintf(out, n, "%s", name);
}
