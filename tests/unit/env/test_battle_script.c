/* SPDX-License-Identifier: Apache-2.0 */
/* test_battle_script.c - what the opponents do by themselves, and that agents do nothing. */
#include "battle_stage.h"
#include "suite.h"

#include <stdlib.h>

/* 3s5z_vs_3s6z: agents 0..7, opponents 8..16. */
enum { A = 0, A2 = 1, A3 = 2, E = 8, E2 = 9, E3 = 10, E4 = 11 };

static struct battle *b;

static void setup(void)
{
    b = stage_open("3s5z_vs_3s6z", false);
}

static void teardown(void)
{
    battle_close(b);
}

START_TEST(agents_never_act_without_an_order)
{
    put(b, A, UNIT_STALKER, 10, 16);
    put(b, E, UNIT_SPINE_CRAWLER, 15, 16); /* shoots it */
    ck_assert_int_gt(loops_until_hurt(b, A, 100), 0);
    ck_assert_double_eq(b->health[E], 300);
    ck_assert_double_eq(b->x[A], 10);
    ck_assert_int_eq(b->task[A], TASK_IDLE);
    ck_assert_int_eq(b->target[A], -1);
}
END_TEST

START_TEST(an_attack_order_ends_with_its_target)
{
    put(b, A, UNIT_STALKER, 10, 16);
    put(b, E, UNIT_ZERGLING, 14, 16);
    put(b, E2, UNIT_SPINE_CRAWLER, 12, 19);
    b->scripted[E] = b->scripted[E2] = false;
    b->health[E] = 5;
    order_unit(b, A, ABILITY_ATTACK, E);
    battle_step(b, 100);
    ck_assert(!b->alive[E]);
    ck_assert_int_eq(b->task[A], TASK_IDLE);
    ck_assert_double_eq(b->health[E2], 300);
}
END_TEST

START_TEST(opponents_take_the_closest_unit_within_their_scan_range)
{
    put(b, E, UNIT_ZEALOT, 20, 16);
    put(b, A, UNIT_STALKER, 20 - 6.2, 16); /* edge 5.075: outside 5 */
    battle_step(b, 1);
    ck_assert_int_eq(b->target[E], -1);
    unit_lift(b, A);
    unit_place(b, A, 20 - 6.1, 16); /* edge 4.975 */
    put(b, A2, UNIT_STALKER, 20, 16 + 5.5);
    battle_step(b, 1);
    ck_assert_int_eq(b->target[E], A2);
}
END_TEST

START_TEST(a_target_in_weapon_range_is_kept_though_a_closer_one_comes)
{
    put(b, E, UNIT_STALKER, 20, 16);
    put(b, A, UNIT_ZEALOT, 15, 16);
    battle_step(b, 1);
    ck_assert_int_eq(b->target[E], A);
    put(b, A2, UNIT_ZEALOT, 19, 16);
    battle_step(b, 20);
    ck_assert_int_eq(b->target[E], A);
    unit_lift(b, A);
    unit_place(b, A, 10, 16); /* out of weapon range */
    battle_step(b, 20);
    ck_assert_int_eq(b->target[E], A2);
}
END_TEST

START_TEST(a_victim_turns_on_an_attacker_beyond_its_scan_range)
{
    put(b, E, UNIT_ZEALOT, 20, 16);
    put(b, A, UNIT_STALKER, 20 - 7.1, 16); /* shoots 7.125, is seen at 6.125 */
    order_unit(b, A, ABILITY_ATTACK, E);
    ck_assert_int_gt(loops_until_hurt(b, E, 30), 0);
    ck_assert_int_eq(b->target[E], A);
    double x = b->x[E];
    battle_step(b, 8);
    ck_assert_double_lt(b->x[E], x);
}
END_TEST

START_TEST(friends_within_four_answer_a_call_for_help_every_two_seconds)
{
    put(b, E, UNIT_ZEALOT, 20, 16);
    put(b, E2, UNIT_ZEALOT, 20, 19.9);
    put(b, E3, UNIT_ZEALOT, 20, 11.9); /* 4.1 away */
    put(b, A, UNIT_STALKER, 20 - 7.1, 16);
    unit_damage(b, A, E, 1);
    ck_assert_int_eq(b->target[E], A);
    ck_assert_int_eq(b->target[E2], A);
    ck_assert_int_eq(b->target[E3], -1);
    put(b, E4, UNIT_ZEALOT, 21, 16);
    b->now += 31;
    unit_damage(b, A, E, 1);
    ck_assert_int_eq(b->target[E4], -1);
    b->now += 1;
    unit_damage(b, A, E, 1);
    ck_assert_int_eq(b->target[E4], A);
}
END_TEST

START_TEST(a_busy_friend_keeps_its_target)
{
    put(b, E, UNIT_ZEALOT, 20, 16);
    put(b, E2, UNIT_ZEALOT, 20, 18);
    put(b, A, UNIT_STALKER, 13, 16);
    put(b, A2, UNIT_ZEALOT, 20, 19);
    b->target[E2] = A2;
    unit_damage(b, A, E, 1);
    ck_assert_int_eq(b->target[E2], A2);
}
END_TEST

START_TEST(a_chase_is_given_up_beyond_scan_range_plus_four)
{
    put(b, E, UNIT_ZEALOT, 20, 16);
    put(b, A, UNIT_STALKER, 20 - 10.0, 16); /* edge 8.875 */
    order_advance(b, E, 25, 16);
    b->target[E] = A;
    battle_step(b, 1);
    ck_assert_int_eq(b->target[E], A);
    ck_assert_double_lt(b->x[E], 20);
    unit_lift(b, A);
    unit_place(b, A, 20 - 10.3, 16); /* edge 9.03 after its step */
    b->x[E] = 20;
    battle_step(b, 1);
    ck_assert_int_eq(b->target[E], -1);
    ck_assert_double_gt(b->x[E], 20); /* on with the order */
}
END_TEST

START_TEST(an_attack_move_ends_near_its_point_and_then_nobody_is_hunted)
{
    put(b, E, UNIT_ZEALOT, 20, 16);
    put(b, A, UNIT_STALKER, 3, 16);
    order_advance(b, E, 14, 16);
    battle_step(b, 200);
    ck_assert_int_eq(b->task[E], TASK_IDLE);
    ck_assert_double_eq_tol(b->x[E], 15.5, 0.15);
    ck_assert_double_eq_tol(total(b, A), 160, 1e-9);
}
END_TEST

START_TEST(a_spine_crawler_stays_where_it_is)
{
    put(b, E, UNIT_SPINE_CRAWLER, 20, 16);
    put(b, A, UNIT_STALKER, 20 - 7.6, 16); /* 7 + 0.875 + 0.625 = 8.5 */
    ck_assert_int_gt(loops_until_hurt(b, A, 60), 0);
    unit_lift(b, A);
    unit_place(b, A, 20 - 9, 16);
    battle_step(b, 100);
    ck_assert_double_eq(b->x[E], 20);
}
END_TEST

START_TEST(a_medivac_of_theirs_heals_the_most_hurt_and_keeps_with_its_group)
{
    put(b, E, UNIT_MEDIVAC, 20, 16);
    put(b, E2, UNIT_MARINE, 20, 14);
    put(b, E3, UNIT_MARINE, 20, 18);
    b->health[E2] = 30;
    b->health[E3] = 20;
    battle_step(b, 4);
    ck_assert_int_eq(b->target[E], E3);
    ck_assert_double_eq_tol(b->health[E3], 20 + 4 * 9.0 / 16, 1e-9);
    ck_assert_double_eq(b->health[E2], 30);
    b->health[E2] = b->health[E3] = 45;
    for (int i = E; i <= E3; i++)
        order_advance(b, i, 5, 16);
    for (int s = 0; s < 10; s++) {
        battle_step(b, 8);
        double group = (b->x[E2] + b->x[E3]) / 2;
        ck_assert_double_ge(b->x[E], group - 0.2);
    }
}
END_TEST

START_TEST(a_scripted_side_of_agents_fights_back)
{
    struct battle *s = stage_open("3s5z_vs_3s6z", true);
    put(s, A, UNIT_STALKER, 10, 16);
    put(s, E, UNIT_ZEALOT, 14, 16);
    ck_assert_int_gt(loops_until_hurt(s, E, 30), 0);
    battle_close(s);
}
END_TEST

START_TEST(the_zealot_of_2m_vs_1z_walks_to_a_point_between_the_marines)
{
    struct battle *z;
    struct battle_options o = {0};
    ck_assert_int_eq(battle_open(&z, "2m_vs_1z", &o), 0);
    double lo = 32, hi = 0;
    for (uint64_t seed = 0; seed < 200; seed++) {
        battle_reset(z, seed);
        ck_assert_double_eq(z->goal_y[2], 12);
        lo = fmin(lo, z->goal_x[2]);
        hi = fmax(hi, z->goal_x[2]);
    }
    ck_assert_double_ge(lo, 13);
    ck_assert_double_lt(lo, 13.3);
    ck_assert_double_le(hi, 19);
    ck_assert_double_gt(hi, 18.7);
    battle_close(z);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("battle_script");
    TCase *t = tcase_create("rules");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, agents_never_act_without_an_order);
    tcase_add_test(t, an_attack_order_ends_with_its_target);
    tcase_add_test(t, opponents_take_the_closest_unit_within_their_scan_range);
    tcase_add_test(t, a_target_in_weapon_range_is_kept_though_a_closer_one_comes);
    tcase_add_test(t, a_victim_turns_on_an_attacker_beyond_its_scan_range);
    tcase_add_test(t, friends_within_four_answer_a_call_for_help_every_two_seconds);
    tcase_add_test(t, a_busy_friend_keeps_its_target);
    tcase_add_test(t, a_chase_is_given_up_beyond_scan_range_plus_four);
    tcase_add_test(t, an_attack_move_ends_near_its_point_and_then_nobody_is_hunted);
    tcase_add_test(t, a_spine_crawler_stays_where_it_is);
    tcase_add_test(t, a_medivac_of_theirs_heals_the_most_hurt_and_keeps_with_its_group);
    tcase_add_test(t, a_scripted_side_of_agents_fights_back);
    tcase_add_test(t, the_zealot_of_2m_vs_1z_walks_to_a_point_between_the_marines);
    suite_add_tcase(s, t);
    return run_suite(s);
}
