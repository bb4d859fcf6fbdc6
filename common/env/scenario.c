/* SPDX-License-Identifier: Apache-2.0 */
/* scenario.c - looking things up in the scenario tables. */
#include "scenario.h"
#include "scenario_tables.h"

#include "base/err.h"

#include <stdio.h>
#include <string.h>

const struct unit_data *unit_data(enum cfg_units set, enum unit_kind kind)
{
    bug_on((unsigned)kind >= UNIT_KINDS);
    if (set == UNITS_LOTV_4_10 && scenario_units_lotv_4_10[kind].name)
        return &scenario_units_lotv_4_10[kind];
    return &scenario_units_liberty[kind];
}

int unit_rl_offset(enum map_type type, enum unit_kind kind)
{
    bug_on((unsigned)type >= MAP_TYPES);
    const struct scenario_rl_types *t = &scenario_rl_types[type];
    for (uint32_t i = 0; i < t->n; i++)
        if (t->kind[i] == kind)
            return (int)i;
    return -1;
}

bool terrain_open(const struct terrain_data *t, int x, int y, bool cliff_walk)
{
    if (x < 0 || y < 0 || x >= SCENARIO_SIDE || y >= SCENARIO_SIDE)
        return false;
    const char *const *rows = cliff_walk && t->has_colossus_walk ? t->colossus_walk : t->walk;
    return rows[y][x] == '.';
}

/* Nothing is like it: what there is, the generated maps by their form. */
static int unknown_map(const char *name)
{
    char list[400] = "";
    size_t n = 0;
    for (size_t i = 0; i < SCENARIOS; i++)
        n += (size_t)snprintf(list + n, sizeof list - n, "%s%s", i ? " " : "",
                              scenario_maps[i].name);
    bug_on(n >= sizeof list);
    return err_set(
        ERR_CONFIG,
        "env.map: smac has no map '%s'; it has %s and 10gen_<race>_<n>_vs_<m>; env.name "
        "chooses another environment",
        name, list);
}

int scenario_find(const struct scenario **out, const char *name)
{
    for (size_t i = 0; i < SCENARIOS; i++) {
        if (strcmp(scenario_maps[i].name, name) == 0) {
            *out = &scenario_maps[i];
            return 0;
        }
    }
    char canonical[64];
    scenario_gen_name(canonical, sizeof canonical, name);
    for (size_t i = 0; i < SCENARIOS_GEN; i++) {
        if (strcmp(scenario_gen_maps[i].name, canonical) == 0) {
            *out = &scenario_gen_maps[i];
            return 0;
        }
    }
    const char *near = nearest_name(canonical, scenario_name_list, SCENARIOS + SCENARIOS_GEN);
    if (near)
        return err_set(ERR_CONFIG, "env.map: no map '%s', did you mean '%s'?", name, near);
    return unknown_map(name);
}

const char *const *scenario_names(void)
{
    return scenario_name_list;
}

const struct scenario *scenario_table(size_t *n)
{
    *n = SCENARIOS;
    return scenario_maps;
}

const struct scenario *scenario_gen_table(size_t *n)
{
    *n = SCENARIOS_GEN;
    return scenario_gen_maps;
}

const struct terrain_data *terrain_table(size_t *n)
{
    *n = TERRAINS;
    return scenario_terrains;
}

const char *map_type_name(enum map_type type)
{
    bug_on((unsigned)type >= MAP_TYPES);
    return scenario_rl_types[type].name;
}
