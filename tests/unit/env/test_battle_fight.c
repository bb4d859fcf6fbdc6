/* SPDX-License-Identifier: Apache-2.0 */
/* test_battle_fight.c - the attack cycle and the weapons, rule by rule. Numbers are those of
 * the unit table: 16 loops a second. Agents are passive, so only ordered units act. */
#include "battle_stage.h"
#include "suite.h"

#include <stdlib.h>

static const double NEAR_ZERO = 1e-9;

/* 3s5z_vs_3s6z: agents 0..7, opponents 8..16, all on one plain. */
enum { A = 0, A2 = 1, A3 = 2, E = 8, E2 = 9, E3 = 10, E4 = 11, E5 = 12 };

static struct battle *b;

static void setup(void)
{
    b = stage_open("3s5z_vs_3s6z", false);
    for (int i = 0; i < b->n; i++)
        b->scripted[i] = false; /* opponents stand still too: one rule at a time */
}

static void teardown(void)
{
    battle_close(b);
}

START_TEST(a_marine_fires_every_13_to_16_loops)
{
    put(b, A, UNIT_MARINE, 10, 16);
    put(b, E, UNIT_SPINE_CRAWLER, 14, 16);
    order_unit(b, A, ABILITY_ATTACK, E);
    /* 0.8608 s = 13.77 loops, plus -1 to +2 at random, in whole loops. */
    int seen[32] = {0};
    double before = 0;
    int last = -1;
    for (int l = 0; l < 4000; l++) {
        battle_step(b, 1);
        if (b->cooldown[A] > before && last >= 0) {
            ck_assert_int_ge(l - last, 13);
            ck_assert_int_le(l - last, 16);
            seen[l - last]++;
        }
        if (b->cooldown[A] > before)
            last = l;
        before = b->cooldown[A];
        b->health[E] = 300;
    }
    for (int p = 13; p <= 16; p++)
        ck_assert_msg(seen[p] > 0, "period %d never seen", p);
}
END_TEST

START_TEST(the_first_blow_falls_when_the_wind_up_ends)
{
    put(b, A, UNIT_MARINE, 10, 16); /* damage point 0.05 s: 1 loop */
    put(b, E, UNIT_ZEALOT, 14, 16);
    order_unit(b, A, ABILITY_ATTACK, E);
    ck_assert_int_eq(loops_until_hurt(b, E, 10), 2);
    ck_assert_double_eq_tol(total(b, E), 144, NEAR_ZERO);

    put(b, A2, UNIT_ZERGLING, 20, 16); /* 0.167 s: 3 loops after the start */
    put(b, E2, UNIT_MARAUDER, 20.9, 16);
    order_unit(b, A2, ABILITY_ATTACK, E2);
    ck_assert_int_eq(loops_until_hurt(b, E2, 10), 4);
}
END_TEST

START_TEST(shields_absorb_first_and_armour_only_reduces_what_reaches_health)
{
    put(b, E, UNIT_ZEALOT, 10, 16);
    unit_damage(b, A, E, 8);
    ck_assert_double_eq_tol(b->shield[E], 42, NEAR_ZERO);
    ck_assert_double_eq_tol(b->health[E], 100, NEAR_ZERO);
    b->shield[E] = 3;
    unit_damage(b, A, E, 8);
    ck_assert_double_eq_tol(b->shield[E], 0, NEAR_ZERO);
    ck_assert_double_eq_tol(b->health[E], 100 - (5 - 1), NEAR_ZERO);
}
END_TEST

START_TEST(a_hit_on_health_does_at_least_half_a_point)
{
    put(b, E, UNIT_SPINE_CRAWLER, 10, 16); /* armour 2 */
    unit_damage(b, A, E, 1);
    ck_assert_double_eq_tol(b->health[E], 299.5, NEAR_ZERO);
}
END_TEST

START_TEST(the_bonus_counts_against_its_attribute_only)
{
    put(b, A, UNIT_MARAUDER, 10, 16);
    put(b, E, UNIT_STALKER, 15, 16); /* armoured: 10 + 10, on shields */
    order_unit(b, A, ABILITY_ATTACK, E);
    ck_assert_int_gt(loops_until_hurt(b, E, 20), 0);
    ck_assert_double_eq_tol(b->shield[E], 60, NEAR_ZERO);
    put(b, A2, UNIT_MARAUDER, 10, 10);
    put(b, E2, UNIT_ZEALOT, 15, 10);
    order_unit(b, A2, ABILITY_ATTACK, E2);
    ck_assert_int_gt(loops_until_hurt(b, E2, 20), 0);
    ck_assert_double_eq_tol(b->shield[E2], 40, NEAR_ZERO);
}
END_TEST

START_TEST(shields_grow_again_160_loops_after_the_last_hit)
{
    put(b, E, UNIT_ZEALOT, 10, 16);
    unit_damage(b, A, E, 20);
    battle_step(b, 160);
    ck_assert_double_eq_tol(b->shield[E], 30, NEAR_ZERO);
    battle_step(b, 8); /* 2 a second: one point a step */
    ck_assert_double_eq_tol(b->shield[E], 31, NEAR_ZERO);
    unit_damage(b, A, E, 1);
    battle_step(b, 160);
    ck_assert_double_eq_tol(b->shield[E], 30, NEAR_ZERO);
    battle_step(b, 16 * 20);
    ck_assert_double_eq_tol(b->shield[E], 50, NEAR_ZERO);
}
END_TEST

START_TEST(zerg_units_regain_health_slowly)
{
    put(b, E, UNIT_HYDRALISK, 10, 16);
    unit_damage(b, A, E, 30);
    battle_step(b, 160);
    ck_assert_double_eq_tol(b->health[E], 50 + 2.734, 1e-6);
}
END_TEST

START_TEST(a_zealot_strikes_twice_five_loops_apart)
{
    put(b, A, UNIT_ZEALOT, 10, 16);
    put(b, E, UNIT_ZEALOT, 11, 16);
    order_unit(b, A, ABILITY_ATTACK, E);
    ck_assert_int_eq(loops_until_hurt(b, E, 5), 1); /* no wind-up */
    ck_assert_double_eq_tol(total(b, E), 142, NEAR_ZERO);
    ck_assert_int_eq(loops_until_hurt(b, E, 20), 5); /* 0.28 s */
    ck_assert_double_eq_tol(total(b, E), 134, NEAR_ZERO);
    ck_assert_int_ge(loops_until_hurt(b, E, 40), 19 - 5 - 1);
}
END_TEST

START_TEST(the_second_blow_dies_with_either_of_the_two)
{
    put(b, A, UNIT_ZEALOT, 10, 16);
    put(b, E, UNIT_ZEALOT, 11, 16);
    order_unit(b, A, ABILITY_ATTACK, E);
    battle_step(b, 1);
    unit_kill(b, A);
    battle_step(b, 20);
    ck_assert_double_eq_tol(total(b, E), 142, NEAR_ZERO);
}
END_TEST

START_TEST(a_missile_takes_its_time_and_hits_although_the_target_ran)
{
    put(b, A, UNIT_STALKER, 10, 16);
    put(b, E, UNIT_ZEALOT, 16, 16);
    order_unit(b, A, ABILITY_ATTACK, E);
    /* Start in loop 1, wind-up 3 loops; edge distance 4.875 at 18.75/16 a loop: 5 loops. */
    ck_assert_int_eq(loops_until_hurt(b, E, 30), 1 + 3 + 5);
    ck_assert_double_eq_tol(total(b, E), 140, NEAR_ZERO);
}
END_TEST

START_TEST(a_dead_target_absorbs_the_missile)
{
    put(b, A, UNIT_STALKER, 10, 16);
    put(b, E, UNIT_ZEALOT, 16, 16);
    order_unit(b, A, ABILITY_ATTACK, E);
    battle_step(b, 5);
    ck_assert_int_eq(b->n_hits, 1);
    unit_kill(b, E);
    battle_step(b, 10);
    ck_assert_int_eq(b->n_hits, 0);
    ck_assert_double_eq(total(b, E), 150);
    ck_assert_int_eq(b->task[A], TASK_IDLE);
}
END_TEST

START_TEST(another_order_cancels_the_wind_up_and_has_spent_the_cooldown)
{
    put(b, A, UNIT_STALKER, 10, 16);
    put(b, E, UNIT_ZEALOT, 16, 16);
    order_unit(b, A, ABILITY_ATTACK, E);
    battle_step(b, 2);
    ck_assert_int_gt(b->windup[A], 0);
    order_stop(b, A);
    battle_step(b, 30);
    ck_assert_double_eq_tol(total(b, E), 150, NEAR_ZERO);
    order_unit(b, A, ABILITY_ATTACK, E);
    battle_step(b, 1);
    ck_assert_int_eq(b->windup[A], 3); /* 23 loops and more had passed: ready again */
}
END_TEST

START_TEST(the_same_order_again_changes_nothing)
{
    put(b, A, UNIT_STALKER, 10, 16);
    put(b, E, UNIT_ZEALOT, 16, 16);
    order_unit(b, A, ABILITY_ATTACK, E);
    battle_step(b, 2);
    order_unit(b, A, ABILITY_ATTACK, E);
    ck_assert_int_eq(loops_until_hurt(b, E, 30), 7);
}
END_TEST

START_TEST(a_wound_up_blow_lands_within_the_slop_and_not_beyond)
{
    for (int far = 0; far < 2; far++) {
        put(b, A + far, UNIT_ZERGLING, 10, 10 + 5 * far);
        put(b, E + far, UNIT_MARAUDER, 11, 10 + 5 * far);
        order_unit(b, A + far, ABILITY_ATTACK, E + far);
        battle_step(b, 1);
        ck_assert_int_eq(b->windup[A + far], 3);
        /* Range 0.1 + radii 0.375 and 0.5625 + slop 1 = 2.0375. */
        b->x[E + far] = 10 + (far ? 2.1 : 2.0);
        battle_step(b, 3);
        ck_assert_double_eq_tol(b->health[E + far], far ? 125 : 125 - 4, NEAR_ZERO);
    }
}
END_TEST

START_TEST(a_unit_does_not_chase_during_its_backswing)
{
    put(b, A, UNIT_ZEALOT, 10, 16);
    put(b, E, UNIT_ZEALOT, 11, 16);
    order_unit(b, A, ABILITY_ATTACK, E);
    battle_step(b, 1);
    b->x[E] = 15;
    battle_step(b, 7); /* 0.5 s: 8 loops, the last of them ends it */
    ck_assert_double_eq_tol(b->x[A], 10, NEAR_ZERO);
    battle_step(b, 1);
    ck_assert_double_gt(b->x[A], 10);
}
END_TEST

START_TEST(a_colossus_burns_a_line_across_its_fire)
{
    put(b, A, UNIT_COLOSSUS, 10, 16);
    put(b, E, UNIT_ZERGLING, 16, 16);    /* the target */
    put(b, E2, UNIT_ZERGLING, 16, 17.6); /* 1.25 + 0.375 reaches */
    put(b, E3, UNIT_ZERGLING, 16, 14.3); /* 1.7 away: missed */
    put(b, E4, UNIT_ZERGLING, 16.8, 16); /* behind the target: missed */
    put(b, A2, UNIT_ZERGLING, 16, 15.2); /* a friend in the fire */
    b->health[E2] = 45;                  /* survives two beams of 20 */
    order_unit(b, A, ABILITY_ATTACK, E);
    battle_step(b, 1 + 2 + 4); /* start, wind-up, delay of the first beam */
    ck_assert_double_eq_tol(b->health[E], 15, 0.5);
    battle_step(b, 6);
    ck_assert(!b->alive[E]);
    ck_assert(b->alive[E2]);
    ck_assert_double_eq_tol(b->health[E2], 5, 0.5);
    ck_assert_double_eq_tol(b->health[E3], 35, NEAR_ZERO);
    ck_assert_double_eq_tol(b->health[E4], 35, NEAR_ZERO);
    ck_assert_double_eq_tol(b->health[A2], 35, NEAR_ZERO);
}
END_TEST

START_TEST(a_baneling_dies_on_its_target_and_burns_all_opponents_around)
{
    put(b, A, UNIT_BANELING, 10, 16);
    put(b, E, UNIT_ZEALOT, 10.9, 16);
    put(b, E2, UNIT_ZERGLING, 10, 18.5); /* edge at 2.125: within 2.2, light */
    put(b, E3, UNIT_ZERGLING, 10, 13.4); /* edge at 2.225: outside */
    put(b, E4, UNIT_SPINE_CRAWLER, 8, 17.5);
    put(b, A2, UNIT_ZERGLING, 11, 17);
    order_unit(b, A, ABILITY_ATTACK, E);
    battle_step(b, 1);
    ck_assert(!b->alive[A]);
    ck_assert_double_eq_tol(b->shield[E], 50 - 35, NEAR_ZERO);
    ck_assert(!b->alive[E2]);
    ck_assert(b->alive[E3]);
    ck_assert_double_eq_tol(b->health[E4], 300 - 78, 0.02); /* it regenerates */
    ck_assert_double_eq_tol(b->health[A2], 35, NEAR_ZERO);
}
END_TEST

START_TEST(a_killed_baneling_explodes_and_so_do_those_it_kills)
{
    put(b, E, UNIT_BANELING, 12, 16);
    put(b, A, UNIT_BANELING, 13.5, 16);
    put(b, E2, UNIT_ZERGLING, 15.5, 16); /* out of reach of nobody but A */
    b->health[A] = 20;
    unit_damage(b, A2, E, 30);
    fight_settle(b);
    ck_assert(!b->alive[E]);
    ck_assert(!b->alive[A]);
    ck_assert(!b->alive[E2]);
}
END_TEST

START_TEST(a_medivac_heals_nine_a_second_for_a_third_of_energy_each)
{
    put(b, A, UNIT_MEDIVAC, 10, 16);
    put(b, A2, UNIT_MARAUDER, 13, 16);
    put(b, E, UNIT_MARINE, 20, 16);
    b->health[A2] = 100;
    order_unit(b, A, ABILITY_HEAL, A2);
    battle_step(b, 16);
    ck_assert_double_eq_tol(b->health[A2], 109, 1e-6);
    ck_assert_double_eq_tol(b->energy[A], 50 + 0.5625 - 9 * 0.33 + 2 * 0.5625 / 16, 0.08);
    b->energy[A] = 0;
    battle_step(b, 8);
    double health = b->health[A2];
    order_stop(b, A);
    b->energy[A] = 4.9 - 0.5625 / 16; /* 5 are needed to start */
    order_unit(b, A, ABILITY_HEAL, A2);
    battle_step(b, 1);
    ck_assert_double_eq_tol(b->health[A2], health, NEAR_ZERO);
    b->energy[A] = 5;
    battle_step(b, 1);
    ck_assert_double_gt(b->health[A2], health);
}
END_TEST

START_TEST(healing_stops_at_full_health_and_needs_a_biological_friend)
{
    put(b, A, UNIT_MEDIVAC, 10, 16);
    put(b, A2, UNIT_MARINE, 13, 16);
    put(b, A3, UNIT_STALKER, 10, 13);
    b->health[A2] = 44;
    b->health[A3] = 10;
    order_unit(b, A, ABILITY_HEAL, A2);
    battle_step(b, 32);
    ck_assert_double_eq_tol(b->health[A2], 45, NEAR_ZERO);
    order_unit(b, A, ABILITY_HEAL, A3); /* refused: mechanical */
    battle_step(b, 32);
    ck_assert_double_eq_tol(b->health[A3], 10, NEAR_ZERO);
}
END_TEST

START_TEST(an_order_the_weapon_cannot_carry_out_is_refused)
{
    put(b, A, UNIT_MARAUDER, 10, 16);
    put(b, E, UNIT_MEDIVAC, 14, 16);
    order_move(b, A, 12, 16);
    order_unit(b, A, ABILITY_ATTACK, E); /* a ground weapon: the move stands */
    battle_step(b, 32);
    ck_assert_double_eq_tol(b->x[A], 12, 1e-6);
    ck_assert_double_eq_tol(b->health[E], 150, NEAR_ZERO);
    put(b, A2, UNIT_MARINE, 10, 12);
    order_unit(b, A2, ABILITY_ATTACK, E); /* marines shoot up */
    ck_assert_int_gt(loops_until_hurt(b, E, 60), 0);
}
END_TEST

START_TEST(range_is_measured_from_edge_to_edge)
{
    put(b, A, UNIT_STALKER, 10, 16);
    put(b, E, UNIT_ZEALOT, 17.1, 16); /* 6 + 0.625 + 0.5 = 7.125 */
    order_unit(b, A, ABILITY_ATTACK, E);
    battle_step(b, 1);
    ck_assert_int_eq(b->windup[A], 3);
    ck_assert_double_eq_tol(b->x[A], 10, NEAR_ZERO);
    put(b, A2, UNIT_ZEALOT, 11, 10);
    put(b, E2, UNIT_ZEALOT, 17, 10); /* 6 centre to centre: a zealot has to walk */
    order_unit(b, A2, ABILITY_ATTACK, E2);
    battle_step(b, 8);
    ck_assert_double_eq_tol(b->x[A2], 12.125, 1e-6);
}
END_TEST

START_TEST(the_other_data_set_changes_the_numbers_it_names)
{
    struct battle *lotv;
    struct battle_options o = {.units = UNITS_LOTV_4_10};
    ck_assert_int_eq(battle_open(&lotv, "2s3z", &o), 0);
    ck_assert_double_eq(lotv->kinds[UNIT_STALKER].damage, 13);
    ck_assert_double_eq_tol(lotv->kinds[UNIT_STALKER].period, 1.87 * 16, NEAR_ZERO);
    ck_assert_double_eq(lotv->kinds[UNIT_STALKER].scan, 6.5);
    ck_assert_double_eq(b->kinds[UNIT_STALKER].damage, 10);
    ck_assert_double_eq(b->kinds[UNIT_STALKER].scan, 6);
    ck_assert_double_eq(lotv->kinds[UNIT_ZEALOT].damage, 8);
    battle_close(lotv);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("battle_fight");
    TCase *t = tcase_create("rules");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, a_marine_fires_every_13_to_16_loops);
    tcase_add_test(t, the_first_blow_falls_when_the_wind_up_ends);
    tcase_add_test(t, shields_absorb_first_and_armour_only_reduces_what_reaches_health);
    tcase_add_test(t, a_hit_on_health_does_at_least_half_a_point);
    tcase_add_test(t, the_bonus_counts_against_its_attribute_only);
    tcase_add_test(t, shields_grow_again_160_loops_after_the_last_hit);
    tcase_add_test(t, zerg_units_regain_health_slowly);
    tcase_add_test(t, a_zealot_strikes_twice_five_loops_apart);
    tcase_add_test(t, the_second_blow_dies_with_either_of_the_two);
    tcase_add_test(t, a_missile_takes_its_time_and_hits_although_the_target_ran);
    tcase_add_test(t, a_dead_target_absorbs_the_missile);
    tcase_add_test(t, another_order_cancels_the_wind_up_and_has_spent_the_cooldown);
    tcase_add_test(t, the_same_order_again_changes_nothing);
    tcase_add_test(t, a_wound_up_blow_lands_within_the_slop_and_not_beyond);
    tcase_add_test(t, a_unit_does_not_chase_during_its_backswing);
    tcase_add_test(t, a_colossus_burns_a_line_across_its_fire);
    tcase_add_test(t, a_baneling_dies_on_its_target_and_burns_all_opponents_around);
    tcase_add_test(t, a_killed_baneling_explodes_and_so_do_those_it_kills);
    tcase_add_test(t, a_medivac_heals_nine_a_second_for_a_third_of_energy_each);
    tcase_add_test(t, healing_stops_at_full_health_and_needs_a_biological_friend);
    tcase_add_test(t, an_order_the_weapon_cannot_carry_out_is_refused);
    tcase_add_test(t, range_is_measured_from_edge_to_edge);
    tcase_add_test(t, the_other_data_set_changes_the_numbers_it_names);
    suite_add_tcase(s, t);
    return run_suite(s);
}
