/* SPDX-License-Identifier: Apache-2.0 */
/* scenario_tables.h - the raw tables, between scenario_data.c (numbers) and scenario.c (look-up).
 * Everyone else goes through scenario.h. */
#ifndef ENV_SCENARIO_TABLES_H
#define ENV_SCENARIO_TABLES_H

#include "scenario.h"

enum { SCENARIOS = 23, SCENARIOS_GEN = 15 };

enum terrain_name {
    TERRAIN_PLAIN,
    TERRAIN_OPEN,
    TERRAIN_OCTAGON,
    TERRAIN_PENTAGON,
    TERRAIN_RAVINE,
    TERRAIN_CORRIDOR,
    TERRAIN_STAIRS,
    TERRAIN_HEXAGON,
    TERRAINS
};

struct scenario_rl_types {
    const char *name; /* of the map type */
    uint32_t n;
    enum unit_kind kind[SCENARIO_COPIES]; /* position = offset from the smallest copy id */
};

extern const struct unit_data scenario_units_liberty[UNIT_KINDS];
extern const struct unit_data scenario_units_lotv_4_10[UNIT_KINDS];
extern const struct scenario_rl_types scenario_rl_types[MAP_TYPES];
extern const struct terrain_data scenario_terrains[TERRAINS];
extern const struct scenario scenario_maps[SCENARIOS];
extern const struct scenario scenario_gen_maps[SCENARIOS_GEN];
extern const char *const scenario_name_list[SCENARIOS + SCENARIOS_GEN + 1];

/* The canonical spelling of a generated map's name into out[n]; other names as they are. */
void scenario_gen_name(char *out, size_t n, const char *name);

#endif
