/* SPDX-License-Identifier: Apache-2.0 */
/* test_battle_move.c - steps, contact, walls, ways and spawn places. */
#include "battle_stage.h"
#include "suite.h"

#include <stdlib.h>

enum { A = 0, A2 = 1, A3 = 2, E = 8, E2 = 9 }; /* on 3s5z_vs_3s6z */

static struct battle *b;

static void setup(void)
{
    b = stage_open("3s5z_vs_3s6z", false);
}

static void teardown(void)
{
    battle_close(b);
}

START_TEST(a_step_of_eight_loops_covers_half_a_second_of_speed)
{
    static const struct {
        enum unit_kind kind;
        double step;
    } ROW[] = {{UNIT_STALKER, 1.47655},  {UNIT_ZEALOT, 1.125},  {UNIT_COLOSSUS, 1.125},
               {UNIT_ZERGLING, 1.47655}, {UNIT_BANELING, 1.25}, {UNIT_SPINE_CRAWLER, 0}};
    put(b, A, ROW[_i].kind, 10, 16);
    order_move(b, A, 12, 16);
    battle_step(b, 8);
    ck_assert_double_eq_tol(b->x[A], 10 + ROW[_i].step, 1e-6);
    battle_step(b, 8);
    ck_assert_double_eq_tol(b->x[A], 10 + fmin(2, 2 * ROW[_i].step), 1e-6);
}
END_TEST

START_TEST(a_medivac_gathers_speed)
{
    put(b, A, UNIT_MEDIVAC, 10, 16);
    order_move(b, A, 20, 16);
    battle_step(b, 8);
    /* v grows by 2.3125/256 a loop: 36 steps of it after 8 loops. */
    ck_assert_double_eq_tol(b->x[A], 10 + 36 * 2.3125 / 256, 1e-6);
    battle_step(b, 24);
    double x = b->x[A];
    battle_step(b, 8);
    ck_assert_double_eq_tol(b->x[A] - x, 1.375, 1e-6);
}
END_TEST

START_TEST(units_go_round_one_that_stands_in_the_way)
{
    put(b, A, UNIT_ZEALOT, 10, 16);
    put(b, E, UNIT_SPINE_CRAWLER, 13, 16); /* separation 0.875 */
    b->scripted[E] = false;
    order_move(b, A, 16, 16);
    for (int l = 0; l < 120; l++) {
        battle_step(b, 1);
        double dx = b->x[A] - 13, dy = b->y[A] - 16;
        ck_assert_double_ge(sqrt(dx * dx + dy * dy), 0.875 + 0.375 - 1e-6);
    }
    ck_assert_double_eq_tol(b->x[A], 16, 1e-5);
    ck_assert_double_eq_tol(b->y[A], 16, 1e-5);
}
END_TEST

START_TEST(flyers_and_colossi_pass_over_ground_units)
{
    put(b, A, UNIT_MEDIVAC, 10, 16);
    put(b, A2, UNIT_COLOSSUS, 10, 12);
    put(b, E, UNIT_ZEALOT, 12, 16);
    put(b, E2, UNIT_ZEALOT, 12, 12);
    b->scripted[E] = b->scripted[E2] = false;
    order_move(b, A, 14, 16);
    order_move(b, A2, 14, 12);
    for (int l = 0; l < 60; l++) {
        battle_step(b, 1);
        ck_assert_double_eq_tol(b->y[A], 16, 1e-9);
        ck_assert_double_eq_tol(b->y[A2], 12, 1e-9);
    }
    ck_assert_double_eq_tol(b->x[A], 14, 1e-6);
    ck_assert_double_eq_tol(b->x[A2], 14, 1e-6);
}
END_TEST

START_TEST(an_idle_friend_of_an_agent_makes_way)
{
    put(b, A, UNIT_ZEALOT, 10, 16);
    put(b, A2, UNIT_ZEALOT, 11, 16);
    order_move(b, A, 12, 16);
    battle_step(b, 16);
    ck_assert_double_eq_tol(b->x[A], 12, 1e-6); /* straight on */
    ck_assert_double_eq_tol(b->y[A], 16, 1e-9);
    ck_assert_double_eq_tol(b->x[A2], 12.75, 1e-6);
}
END_TEST

START_TEST(nobody_pushes_opponents_or_a_friend_with_an_order)
{
    put(b, E, UNIT_ZEALOT, 20, 16);
    put(b, E2, UNIT_ZEALOT, 19, 16);
    order_advance(b, E, 10, 16);
    battle_step(b, 16);
    ck_assert_double_eq(b->x[E2], 19);
    put(b, A, UNIT_ZEALOT, 5, 16);
    put(b, A2, UNIT_SPINE_CRAWLER, 6.3, 16);
    order_move(b, A2, 6.5, 16); /* cannot move, but has an order */
    order_move(b, A, 8, 16);
    battle_step(b, 16);
    ck_assert_double_eq(b->x[A2], 6.3);
}
END_TEST

START_TEST(a_move_into_a_wall_ends_beside_it)
{
    put(b, A, UNIT_ZEALOT, 28.9, 16); /* open up to x = 30 */
    order_move(b, A, 30.9, 16);
    battle_step(b, 24);
    ck_assert_double_ge(b->x[A], 29.6);
    ck_assert_double_le(b->x[A], 30 - 0.7 * 0.375);
    ck_assert_double_eq_tol(b->y[A], 16, 1e-9);
    ck_assert_int_eq(b->task[A], TASK_IDLE);
}
END_TEST

START_TEST(boxes_are_told_from_other_terrains)
{
    static const struct {
        const char *map;
        bool box;
    } ROW[] = {{"3m", true},         {"3s_vs_5z", true},    {"corridor", false},
               {"2s_vs_1sc", false}, {"2c_vs_64zg", false}, {"bane_vs_bane", false}};
    struct battle *t;
    struct battle_options o = {0};
    ck_assert_int_eq(battle_open(&t, ROW[_i].map, &o), 0);
    ck_assert_int_eq(t->terrain.box[LAYER_GROUND], ROW[_i].box);
    battle_close(t);
}
END_TEST

START_TEST(zerglings_find_their_way_through_the_corridor)
{
    struct battle *c = stage_open("corridor", false);
    for (int i = 6; i < 12; i++) {
        put(c, i, UNIT_ZERGLING, 11.5 + (i - 6) * 0.8, 21); /* a wall between */
        order_advance(c, i, 4.47, 4.3298);
    }
    battle_step(c, 8 * 60);
    for (int i = 6; i < 12; i++)
        ck_assert_msg(c->y[i] < 7 && c->x[i] < 8, "unit %d stands at %.2f %.2f", i, c->x[i],
                      c->y[i]);
    battle_close(c);
}
END_TEST

START_TEST(zerglings_reach_the_plateau_by_a_ramp_and_colossi_by_the_cliff)
{
    struct battle *r = stage_open("2c_vs_64zg", false);
    put(r, 0, UNIT_COLOSSUS, 16, 18);
    r->health[0] = 100000;
    put(r, 2, UNIT_ZERGLING, 16, 9);
    r->task[2] = TASK_HUNT;
    double low_x = 16, high_x = 16;
    for (int l = 0; l < 8 * 40; l++) {
        battle_step(r, 1);
        low_x = fmin(low_x, r->x[2]);
        high_x = fmax(high_x, r->x[2]);
    }
    ck_assert_msg(low_x < 4 || high_x > 28, "went from x %.2f to %.2f", low_x, high_x);
    ck_assert_double_lt(edge_distance(r, 0, 2), 0.1);
    unit_kill(r, 2);
    for (int s = 0; s < 10; s++) {
        order_move(r, 0, r->x[0], r->y[0] - 2);
        battle_step(r, 8);
    }
    ck_assert_double_lt(r->y[0], 10); /* straight down */
    ck_assert_double_eq_tol(r->x[0], 16, 1e-6);
    battle_close(r);
}
END_TEST

/* A row of opponents that stand, side by side from (16,y) northwards: they do not fight. */
static void put_row(int first, int n, double y)
{
    for (int k = 0; k < n; k++) {
        put(b, first + k, UNIT_MARINE, 16, y + 0.75 * k);
        b->scripted[first + k] = false;
    }
    battle_step(b, 4); /* long enough for all to see that they stand */
}

/* The last opponent walks to (22,y), from behind the row. */
static int put_walker(double x, double y, int prefer)
{
    int i = b->n - 1;
    put(b, i, UNIT_MARINE, x, y);
    order_advance(b, i, 22, y);
    b->prefer[i] = (int8_t)prefer;
    return i;
}

START_TEST(a_unit_in_the_pocket_behind_two_who_stand_gets_out_and_round)
{
    put_row(E, 2, 15.625);
    int w = put_walker(16 - 0.6496, 16, _i ? 1 : -1); /* touches both: only back is free */
    battle_step(b, 8 * 6);
    ck_assert_msg(b->x[w] > 17, "still at %.2f %.2f", b->x[w], b->y[w]);
}
END_TEST

START_TEST(a_unit_goes_round_the_nearer_end_of_a_row)
{
    put_row(E, 6, 16.2);
    int w = put_walker(15, 16, _i ? 1 : -1); /* the row ends a little to the south */
    double high = 0;
    for (int l = 0; l < 8 * 6; l++) {
        battle_step(b, 1);
        high = fmax(high, b->y[w]);
    }
    ck_assert_msg(b->x[w] > 17, "still at %.2f %.2f", b->x[w], b->y[w]);
    ck_assert_double_lt(high, 16.5); /* never the long way north */
}
END_TEST

START_TEST(a_unit_going_round_turns_into_a_gap_that_opens)
{
    put_row(E, 7, 13.75); /* its middle is at y 16 */
    int w = put_walker(15.2, 16, 1);
    battle_step(b, 3);
    ck_assert_double_lt(b->x[w], 15.4);
    for (int k = 2; k <= 4; k++)
        unit_kill(b, E + k);
    battle_step(b, 8 * 2);
    ck_assert_msg(b->x[w] > 16.4, "missed the gap at %.2f %.2f", b->x[w], b->y[w]);
    ck_assert_double_eq_tol(b->y[w], 16, 0.75);
}
END_TEST

START_TEST(only_who_has_not_moved_for_three_loops_stands)
{
    put(b, A, UNIT_ZEALOT, 10, 16);
    order_move(b, A, 10.2, 16); /* two steps */
    battle_step(b, 2);
    ck_assert(!unit_stands(b, A));
    battle_step(b, 2);
    ck_assert(!unit_stands(b, A));
    battle_step(b, 1);
    ck_assert(unit_stands(b, A));
}
END_TEST

START_TEST(a_colossus_on_a_cliff_is_attacked_from_the_foot_and_from_the_brink)
{
    struct battle *r = stage_open("2c_vs_64zg", false);
    put(r, 0, UNIT_COLOSSUS, 19.3, 12.6); /* between the plateau and the low ground */
    r->health[0] = 100000;
    put(r, 2, UNIT_ZERGLING, 22.4,
        13.3); /* on the brink: the straight way leads over the cliff */
    put(r, 3, UNIT_ZERGLING, 19.3, 9);
    r->task[2] = r->task[3] = TASK_HUNT;
    double low = 32;
    for (int l = 0; l < 8 * 6; l++) {
        battle_step(r, 1);
        low = fmin(low, r->y[2]);
    }
    ck_assert_double_lt(edge_distance(r, 0, 2), 0.1);
    ck_assert_double_lt(edge_distance(r, 0, 3), 0.1);
    ck_assert_double_gt(low, 13); /* it stayed on the plateau */
    ck_assert_double_lt(r->y[3], 12);
    battle_close(r);
}
END_TEST

START_TEST(the_first_of_a_group_stands_on_its_point_and_nobody_overlaps)
{
    size_t maps;
    const struct scenario *sc = scenario_table(&maps);
    for (size_t m = 0; m < maps; m++) {
        for (int turned = 0; turned < 2; turned++) {
            struct battle *s;
            struct battle_options o = {.spawn_rotation = turned,
                                       .position_noise = turned * 0.2};
            ck_assert_int_eq(battle_open(&s, sc[m].name, &o), 0);
            rng_seed(&s->rng, 5);
            spawn_units(s);
            if (!turned) {
                ck_assert_double_eq(s->x[0], sc[m].allies[0].x);
                ck_assert_double_eq(s->y[0], sc[m].allies[0].y);
                ck_assert_double_eq(s->x[s->n_agents], sc[m].enemies[0].x);
            }
            for (int i = 0; i < s->n; i++)
                ck_assert_msg(unit_free(s, i, s->x[i], s->y[i]), "%s: unit %d", sc[m].name, i);
            battle_close(s);
        }
    }
}
END_TEST

START_TEST(turns_and_noise_move_the_start_and_are_off_by_default)
{
    double x[3][2];
    for (int k = 0; k < 3; k++) {
        for (int seed = 0; seed < 2; seed++) {
            struct battle *s;
            struct battle_options o = {.spawn_rotation = k == 1,
                                       .position_noise = k == 2 ? 0.1 : 0};
            ck_assert_int_eq(battle_open(&s, "3m", &o), 0);
            battle_reset(s, (uint64_t)seed);
            x[k][seed] = s->x[1];
            battle_close(s);
        }
    }
    ck_assert_double_eq(x[0][0], x[0][1]);
    ck_assert_double_ne(x[1][0], x[1][1]);
    ck_assert_double_ne(x[2][0], x[2][1]);
    ck_assert_double_eq_tol(x[2][0], x[0][0], 0.1);
}
END_TEST

START_TEST(our_sine_agrees_with_the_library)
{
    for (int k = 0; k < 1000; k++) {
        double c, s, turns = k / 1000.0;
        turn_cos_sin(turns, &c, &s);
        ck_assert_double_eq_tol(c, cos(2 * M_PI * turns), 1e-15);
        ck_assert_double_eq_tol(s, sin(2 * M_PI * turns), 1e-15);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("battle_move");
    TCase *t = tcase_create("rules");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_loop_test(t, a_step_of_eight_loops_covers_half_a_second_of_speed, 0, 6);
    tcase_add_test(t, a_medivac_gathers_speed);
    tcase_add_test(t, units_go_round_one_that_stands_in_the_way);
    tcase_add_test(t, flyers_and_colossi_pass_over_ground_units);
    tcase_add_test(t, an_idle_friend_of_an_agent_makes_way);
    tcase_add_test(t, nobody_pushes_opponents_or_a_friend_with_an_order);
    tcase_add_test(t, a_move_into_a_wall_ends_beside_it);
    tcase_add_loop_test(t, boxes_are_told_from_other_terrains, 0, 6);
    tcase_add_test(t, zerglings_find_their_way_through_the_corridor);
    tcase_add_test(t, zerglings_reach_the_plateau_by_a_ramp_and_colossi_by_the_cliff);
    tcase_add_loop_test(t, a_unit_in_the_pocket_behind_two_who_stand_gets_out_and_round, 0, 2);
    tcase_add_loop_test(t, a_unit_goes_round_the_nearer_end_of_a_row, 0, 2);
    tcase_add_test(t, a_unit_going_round_turns_into_a_gap_that_opens);
    tcase_add_test(t, only_who_has_not_moved_for_three_loops_stands);
    tcase_add_test(t, a_colossus_on_a_cliff_is_attacked_from_the_foot_and_from_the_brink);
    tcase_add_test(t, the_first_of_a_group_stands_on_its_point_and_nobody_overlaps);
    tcase_add_test(t, turns_and_noise_move_the_start_and_are_off_by_default);
    tcase_add_test(t, our_sine_agrees_with_the_library);
    suite_add_tcase(s, t);
    return run_suite(s);
}
