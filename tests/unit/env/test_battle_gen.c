/* SPDX-License-Identifier: Apache-2.0 */
/* test_battle_gen.c - generated maps in the engine: teams, places, and opponents that hunt. */
#include "battle_core.h"
#include "suite.h"

#include "base/err.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DRAWS = 4000 };

static struct battle *b;
static struct spawn_group own[SMAC_AGENTS_MAX], their[SMAC_ENEMIES_MAX];

static void open_battle(const char *map, enum cfg_start start)
{
    struct battle_options o;
    battle_options_default(&o);
    o.start = start;
    ck_assert_int_eq(battle_open(&b, map, &o), 0);
    rng_seed(&b->rng, 11);
}

static size_t count_kind(const struct spawn_group *team, uint32_t n, enum unit_kind kind)
{
    size_t count = 0;
    for (uint32_t i = 0; i < n; i++)
        count += team[i].kind == kind;
    return count;
}

START_TEST(types_come_by_weight_and_both_sides_share_the_team)
{
    static const char *const maps[] = {"10gen_protoss_10_vs_11", "10gen_terran_10_vs_11",
                                       "10gen_zerg_10_vs_11"};
    static const double share[] = {0.45, 0.45, 0.1};
    open_battle(maps[_i], START_SURROUNDED_AND_REFLECT);
    size_t seen[SCENARIO_GROUPS] = {0}, extra[SCENARIO_GROUPS] = {0};
    const struct scenario_gen *gen = b->sc->gen;
    for (int d = 0; d < DRAWS; d++) {
        gen_draw(b, own, their);
        for (uint32_t i = 0; i < 10; i++)
            ck_assert_int_eq(own[i].kind, their[i].kind);
        for (int t = 0; t < SCENARIO_GROUPS; t++) {
            seen[t] += count_kind(own, 10, gen->team[t]);
            extra[t] += their[10].kind == gen->team[t];
        }
        ck_assert_int_ne(their[10].kind, gen->not_alone); /* it would be a team of its own */
        ck_assert_uint_lt(count_kind(own, 10, gen->not_alone), 10);
    }
    for (int t = 0; t < SCENARIO_GROUPS; t++)
        ck_assert_double_eq_tol((double)seen[t] / (10.0 * DRAWS), share[t], 0.01);
    double lone = gen->not_alone == UNIT_KINDS ? 0 : 0.1;
    for (int t = 0; t < 2; t++)
        ck_assert_double_eq_tol((double)extra[t] / DRAWS, 0.45 / (1 - lone), 0.03);
    battle_close(b);
}
END_TEST

START_TEST(weights_of_one_type_make_uniform_teams_and_bad_ones_are_refused)
{
    struct battle_options o;
    battle_options_default(&o);
    memcpy(o.team_weight, (double[]){0, 3, 0}, sizeof o.team_weight);
    ck_assert_int_eq(battle_open(&b, "10gen_zerg_5_vs_5", &o), 0);
    for (int d = 0; d < 50; d++) {
        gen_draw(b, own, their);
        ck_assert_uint_eq(count_kind(own, 5, UNIT_HYDRALISK), 5);
    }
    battle_close(b);
    memcpy(o.team_weight, (double[]){0, 0, 1}, sizeof o.team_weight);
    ck_assert_int_eq(battle_open(&b, "10gen_zerg_5_vs_5", &o), ERR_CONFIG);
    ck_assert_ptr_nonnull(strstr(err_text(), "env.team_weight"));
    ck_assert_int_eq(battle_open(&b, "10gen_protoss_5_vs_5", &o), 0); /* colossi may be alone */
    battle_close(b);
}
END_TEST

START_TEST(reflected_opponents_mirror_the_agents_and_the_surplus_stands_on_the_right)
{
    double left = 32, right = 0, low = 32, high = 0, sum = 0;
    open_battle("10gen_terran_20_vs_23", START_REFLECT);
    for (int d = 0; d < DRAWS / 10; d++) {
        gen_draw(b, own, their);
        for (int i = 0; i < 20; i++) {
            ck_assert_double_eq(their[i].x, 32 - own[i].x);
            ck_assert_double_eq(their[i].y, own[i].y);
            left = fmin(left, own[i].x);
            right = fmax(right, own[i].x);
            low = fmin(low, own[i].y);
            high = fmax(high, own[i].y);
            sum += own[i].x;
        }
        for (int i = 20; i < 23; i++)
            ck_assert(their[i].x >= 16 && their[i].x < 32 && their[i].y >= 0 &&
                      their[i].y < 32);
    }
    ck_assert(left >= 0 && left < 0.1 && right < 15 && right > 14.9);
    ck_assert(low >= 0 && low < 0.1 && high < 32 && high > 31.9);
    ck_assert_double_eq_tol(sum / (DRAWS / 10 * 20), 7.5, 0.2);
    battle_close(b);
}
END_TEST

/* Groups by the place they share; returns how many, and checks that each is on a diagonal. */
static size_t groups_of(uint32_t n, bool diagonal[4])
{
    size_t groups = 0;
    memset(diagonal, 0, 4 * sizeof *diagonal);
    for (uint32_t e = 0; e < n; e++) {
        double dx = their[e].x - 16, dy = their[e].y - 16;
        ck_assert_double_eq_tol(fabs(dx), fabs(dy), 1e-12);
        ck_assert(fabs(dx) > 2 && fabs(dx) <= 16);
        size_t d = (dx > 0) + 2 * (size_t)(dy > 0);
        if (e > 0 && their[e].x >= their[e - 1].x && their[e].x <= their[e - 1].x &&
            their[e].y >= their[e - 1].y && their[e].y <= their[e - 1].y)
            continue;
        ck_assert(!diagonal[d]); /* a diagonal has one group */
        diagonal[d] = true;
        groups++;
    }
    return groups;
}

START_TEST(surrounded_agents_stand_in_the_middle_and_groups_on_distinct_diagonals)
{
    size_t seen[5] = {0}, used[4] = {0};
    double away = 0;
    open_battle("10gen_zerg_20_vs_23", START_SURROUNDED);
    for (int d = 0; d < DRAWS; d++) {
        bool diagonal[4];
        gen_draw(b, own, their);
        for (int i = 0; i < 20; i++)
            ck_assert(!(own[i].x < 16 || own[i].x > 16 || own[i].y < 16 || own[i].y > 16));
        seen[groups_of(23, diagonal)]++;
        for (int k = 0; k < 4; k++)
            used[k] += diagonal[k];
        away += fabs(their[0].x - 16);
    }
    ck_assert_uint_eq(seen[0], 0);
    for (int g = 1; g <= 4; g++) /* 23 units rarely leave a group empty */
        ck_assert_double_eq_tol((double)seen[g] / DRAWS, 0.25, 0.03);
    for (int k = 0; k < 4; k++)
        ck_assert_double_eq_tol((double)used[k] / DRAWS, 2.5 / 4, 0.03);
    ck_assert_double_eq_tol(away / DRAWS, 9, 0.25);
    battle_close(b);
}
END_TEST

START_TEST(the_chance_of_reflection_is_an_option)
{
    static const double chance[] = {0, 0.5, 1};
    int middle = 0;
    open_battle("10gen_terran_5_vs_5", START_SURROUNDED_AND_REFLECT);
    b->opt.reflect_chance = chance[_i];
    for (int d = 0; d < DRAWS; d++) {
        gen_draw(b, own, their);
        middle += !(own[0].x < 16 || own[0].x > 16);
    }
    ck_assert_double_eq_tol((double)middle / DRAWS, 1 - chance[_i], _i == 1 ? 0.03 : 1e-12);
    battle_close(b);
}
END_TEST

START_TEST(fixed_places_face_each_other)
{
    open_battle("10gen_terran_5_vs_5", START_FIXED);
    battle_reset(b, 1);
    for (int i = 0; i < b->n; i++)
        ck_assert_double_le(fabs(b->x[i] - (i < 5 ? 8 : 24)) + fabs(b->y[i] - 16), 4);
    battle_close(b);
}
END_TEST

START_TEST(all_units_stand_on_open_ground_apart_from_each_other)
{
    struct smac_unit u[SMAC_UNITS_MAX];
    size_t maps;
    const struct scenario *sc = &scenario_gen_table(&maps)[_i];
    open_battle(sc->name, START_SURROUNDED_AND_REFLECT);
    for (uint64_t seed = 0; seed < 40; seed++) {
        battle_reset(b, seed);
        ck_assert_uint_eq(battle_units(b, u), sc->n_agents + sc->n_enemies);
        for (int i = 0; i < b->n; i++) {
            ck_assert(terrain_fits(&b->terrain, kind_of(b, i), b->x[i], b->y[i]));
            for (int j = 0; j < i; j++) {
                if (kind_of(b, i)->layer != kind_of(b, j)->layer)
                    continue;
                double dx = b->x[i] - b->x[j], dy = b->y[i] - b->y[j];
                ck_assert_double_ge(sqrt(dx * dx + dy * dy) + 1e-9, b->sep[i] + b->sep[j]);
            }
        }
    }
    battle_close(b);
}
END_TEST

START_TEST(opponents_hunt_agents_that_stand_still_anywhere)
{
    size_t maps;
    const struct scenario *sc = &scenario_gen_table(&maps)[_i];
    open_battle(sc->name, START_REFLECT);
    battle_reset(b, 5);
    battle_step(b, 100 * SCENARIO_LOOPS_PER_STEP);
    int alive = 0;
    for (int i = 0; i < b->n_agents; i++)
        alive += b->alive[i];
    ck_assert_int_eq(alive, 0);
    battle_close(b);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("battle_gen");
    TCase *t = tcase_create("draws");
    tcase_set_timeout(t, 60);
    tcase_add_loop_test(t, types_come_by_weight_and_both_sides_share_the_team, 0, 3);
    tcase_add_test(t, weights_of_one_type_make_uniform_teams_and_bad_ones_are_refused);
    tcase_add_test(t,
                   reflected_opponents_mirror_the_agents_and_the_surplus_stands_on_the_right);
    tcase_add_test(t, surrounded_agents_stand_in_the_middle_and_groups_on_distinct_diagonals);
    tcase_add_loop_test(t, the_chance_of_reflection_is_an_option, 0, 3);
    tcase_add_test(t, fixed_places_face_each_other);
    tcase_add_loop_test(t, all_units_stand_on_open_ground_apart_from_each_other, 0, 15);
    tcase_add_loop_test(t, opponents_hunt_agents_that_stand_still_anywhere, 0, 15);
    suite_add_tcase(s, t);
    return run_suite(s);
}
