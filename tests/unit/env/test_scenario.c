/* SPDX-License-Identifier: Apache-2.0 */
/* test_scenario.c - the tables agree with themselves and with the published sizes. */
#include "scenario.h"
#include "suite.h"

#include "base/err.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static uint32_t units_of(const struct spawn_group *g, uint32_t groups)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < groups; i++)
        n += g[i].count;
    return n;
}

START_TEST(sizes_follow_from_the_units_of_a_map)
{
    size_t n;
    const struct scenario *maps = scenario_table(&n);
    ck_assert_uint_eq(n, 23);
    for (size_t i = 0; i < n; i++) {
        const struct scenario *m = &maps[i];
        uint32_t a = m->n_agents, e = m->n_enemies, b = m->type_bits;
        ck_assert_uint_eq(units_of(m->allies, m->n_ally_groups), a);
        ck_assert_uint_eq(units_of(m->enemies, m->n_enemy_groups), e);
        ck_assert_uint_eq(m->shield_ally, m->ally_race == 'P');
        ck_assert_uint_eq(m->shield_enemy, m->enemy_race == 'P');
        ck_assert_uint_eq(m->n_actions, 6 + e);
        ck_assert_uint_eq(m->obs_size, 4 + e * (5 + m->shield_enemy + b) +
                                           (a - 1) * (5 + m->shield_ally + b) +
                                           (1 + m->shield_ally + b));
        ck_assert_uint_eq(m->state_size, a * (4 + m->shield_ally + b) +
                                             e * (3 + m->shield_enemy + b) + a * m->n_actions);
        double reward = 200 + 10.0 * e;
        for (uint32_t g = 0; g < m->n_enemy_groups; g++) {
            const struct unit_data *u = unit_data(UNITS_LIBERTY, m->enemies[g].kind);
            reward += m->enemies[g].count * (u->health + u->shield);
        }
        ck_assert_double_eq(reward, m->max_reward);
    }
}
END_TEST

START_TEST(every_agent_type_has_its_place_among_the_maps_own_types)
{
    size_t n;
    const struct scenario *maps = scenario_table(&n);
    for (size_t i = 0; i < n; i++)
        for (uint32_t g = 0; g < maps[i].n_ally_groups; g++)
            ck_assert_int_ge(unit_rl_offset(maps[i].type, maps[i].allies[g].kind), 0);
    ck_assert_int_eq(unit_rl_offset(MAP_MMM, UNIT_MARAUDER), 0);
    ck_assert_int_eq(unit_rl_offset(MAP_MMM, UNIT_MARINE), 1);
    ck_assert_int_eq(unit_rl_offset(MAP_MMM, UNIT_MEDIVAC), 2);
    ck_assert_int_eq(unit_rl_offset(MAP_MMM, UNIT_ZEALOT), -1);
}
END_TEST

START_TEST(terrains_are_whole_and_spawn_points_lie_on_open_ground)
{
    size_t n;
    const struct terrain_data *t = terrain_table(&n);
    ck_assert_uint_eq(n, 8);
    for (size_t i = 0; i < n; i++) {
        for (int y = 0; y < SCENARIO_SIDE; y++) {
            ck_assert_uint_eq(strlen(t[i].walk[y]), SCENARIO_SIDE);
            ck_assert_uint_eq(strlen(t[i].cell_flags[y]), SCENARIO_SIDE);
            ck_assert_uint_eq(strlen(t[i].cliff_level[y]), SCENARIO_SIDE);
        }
        ck_assert(!terrain_open(&t[i], -1, 0, false));
        ck_assert(!terrain_open(&t[i], 0, SCENARIO_SIDE, true));
    }
    const struct scenario *maps = scenario_table(&n);
    for (size_t i = 0; i < n; i++)
        for (uint32_t g = 0; g < maps[i].n_ally_groups; g++)
            ck_assert(terrain_open(maps[i].terrain, (int)maps[i].allies[g].x,
                                   (int)maps[i].allies[g].y, false));
}
END_TEST

START_TEST(colossi_cross_the_cliff_that_stops_zerglings)
{
    const struct scenario *m;
    ck_assert_int_eq(scenario_find(&m, "2c_vs_64zg"), 0);
    ck_assert(!terrain_open(m->terrain, 16, 12, false));
    ck_assert(terrain_open(m->terrain, 16, 12, true));
}
END_TEST

START_TEST(the_papers_eight_maps_come_first)
{
    static const char *const eight[] = {"2s_vs_1sc", "3s_vs_3z",   "2s3z",     "3s_vs_4z",
                                        "3s_vs_5z",  "2c_vs_64zg", "corridor", "3s5z_vs_3s6z"};
    for (size_t i = 0; i < 8; i++)
        ck_assert_str_eq(scenario_names()[i], eight[i]);
    ck_assert_str_eq(scenario_names()[23], "10gen_protoss_5_vs_5");
    ck_assert_ptr_null(scenario_names()[38]);
}
END_TEST

START_TEST(generated_maps_have_the_published_sizes)
{
    /* Sizes published for the standard tasks, own position included. */
    static const struct {
        const char *name;
        uint32_t actions, obs, state;
    } known[] = {{"10gen_terran_5_vs_5", 11, 82, 120},
                 {"10gen_protoss_5_vs_5", 11, 92, 130},
                 {"10gen_zerg_5_vs_5", 11, 82, 120}};
    const struct scenario *m;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        ck_assert_int_eq(scenario_find(&m, known[i].name), 0);
        ck_assert_uint_eq(m->n_actions, known[i].actions);
        ck_assert_uint_eq(m->obs_size, known[i].obs);
        ck_assert_uint_eq(m->state_size, known[i].state);
    }
    size_t n;
    const struct scenario *maps = scenario_gen_table(&n);
    ck_assert_uint_eq(n, 15);
    for (size_t i = 0; i < n; i++) {
        ck_assert_str_eq(maps[i].name, scenario_names()[23 + i]);
        ck_assert_uint_eq(maps[i].episode_limit, 200);
        ck_assert_uint_eq(maps[i].n_actions, 6 + maps[i].n_enemies);
        for (int t = 0; t < SCENARIO_GROUPS; t++)
            ck_assert_int_ge(unit_rl_offset(maps[i].type, maps[i].gen->team[t]), 0);
    }
}
END_TEST

START_TEST(generated_maps_are_known_by_several_spellings)
{
    static const char *const spellings[][2] = {
        {"10gen_terran_5_vs_5", "10gen_terran_5_vs_5"},
        {"10gen_terran", "10gen_terran_5_vs_5"},
        {"terran_5_vs_5", "10gen_terran_5_vs_5"},
        {"10gen_zerg_20v23", "10gen_zerg_20_vs_23"},
        {"protoss_10v11", "10gen_protoss_10_vs_11"},
    };
    static const char *const wrong[] = {"terran",
                                        "10gen_terran_5_vs_55",
                                        "10gen_terran_5_vs_5x",
                                        "10gen_human_5_vs_5",
                                        "10gen_",
                                        "5_vs_5"};
    const struct scenario *m;
    for (size_t i = 0; i < sizeof spellings / sizeof spellings[0]; i++) {
        ck_assert_int_eq(scenario_find(&m, spellings[i][0]), 0);
        ck_assert_str_eq(m->name, spellings[i][1]);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        ck_assert_int_eq(scenario_find(&m, wrong[i]), ERR_CONFIG);
    ck_assert_int_eq(scenario_find(&m, "10gen_teran_5_vs_5"), ERR_CONFIG);
    ck_assert_ptr_nonnull(strstr(err_text(), "'10gen_terran_5_vs_5'"));
}
END_TEST

START_TEST(a_map_like_no_other_is_refused_with_the_list)
{
    const struct scenario *m;
    ck_assert_int_eq(scenario_find(&m, "Foraging-8x8-2p-2f-coop-v3"), ERR_CONFIG);
    ck_assert_ptr_nonnull(strstr(err_text(), "2s_vs_1sc 3s_vs_3z"));
    ck_assert_ptr_nonnull(strstr(err_text(), "bane_vs_bane and 10gen_"));
    ck_assert_ptr_nonnull(strstr(err_text(), "env.name"));
}
END_TEST

START_TEST(an_unknown_map_is_refused_with_the_nearest_name)
{
    const struct scenario *m;
    ck_assert_int_eq(scenario_find(&m, "corridr"), ERR_CONFIG);
    ck_assert_ptr_nonnull(strstr(err_text(), "'corridor'"));
}
END_TEST

START_TEST(the_second_data_set_changes_only_what_differs)
{
    const struct unit_data *old = unit_data(UNITS_LIBERTY, UNIT_STALKER);
    const struct unit_data *new = unit_data(UNITS_LOTV_4_10, UNIT_STALKER);
    ck_assert_double_eq(old->weapon.period, 1.44);
    ck_assert_double_eq(new->weapon.period, 1.87);
    ck_assert_double_eq(new->health, old->health);
    ck_assert_ptr_eq(unit_data(UNITS_LOTV_4_10, UNIT_ZEALOT),
                     unit_data(UNITS_LIBERTY, UNIT_ZEALOT));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("scenario");
    TCase *t = tcase_create("tables");
    tcase_add_test(t, sizes_follow_from_the_units_of_a_map);
    tcase_add_test(t, every_agent_type_has_its_place_among_the_maps_own_types);
    tcase_add_test(t, terrains_are_whole_and_spawn_points_lie_on_open_ground);
    tcase_add_test(t, colossi_cross_the_cliff_that_stops_zerglings);
    tcase_add_test(t, the_papers_eight_maps_come_first);
    tcase_add_test(t, generated_maps_have_the_published_sizes);
    tcase_add_test(t, generated_maps_are_known_by_several_spellings);
    tcase_add_test(t, an_unknown_map_is_refused_with_the_nearest_name);
    tcase_add_test(t, a_map_like_no_other_is_refused_with_the_list);
    tcase_add_test(t, the_second_data_set_changes_only_what_differs);
    suite_add_tcase(s, t);
    return run_suite(s);
}
