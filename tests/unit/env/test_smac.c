/* SPDX-License-Identifier: Apache-2.0 */
/* test_smac.c - one test per rule of the SMAC contract, on a handful of units. */
#include "smac_stage.h"
#include "suite.h"

#include "base/err.h"

#include <stdlib.h>

enum { ZEALOT = 73, STALKER = 74, CRAWLER = 98, MARINE = 48, MARAUDER = 51, MEDIVAC = 54 };

static struct stage stage;

static void teardown(void)
{
    smac_close(stage.smac);
    stage.smac = NULL;
}

/* Two stalkers (tags 1, 2) and a spine crawler (3), ten apart. */
static void two_stalkers(const struct smac_options *o)
{
    stage_open(&stage, "2s_vs_1sc", o);
    stage_add(&stage, shielded(unit(1, OWN_TYPE, 1, 10, 10, 80), 80));
    stage_add(&stage, shielded(unit(1, OWN_TYPE, 2, 11, 10, 80), 80));
    stage_add(&stage, unit(2, CRAWLER, 3, 10, 20, 300));
    ck_assert_int_eq(stage_reset(&stage), 0);
    stage_look(&stage);
}

/* Three marines (1..3) against three (4..6). */
static void marines(const struct smac_options *o)
{
    stage_open(&stage, "3m", o);
    for (uint64_t i = 0; i < 3; i++)
        stage_add(&stage, unit(1, OWN_TYPE, 1 + i, 8 + (float)i, 16, 45));
    for (uint64_t i = 0; i < 3; i++)
        stage_add(&stage, unit(2, MARINE, 4 + i, 20, 10 + (float)i, 45));
    ck_assert_int_eq(stage_reset(&stage), 0);
    stage_look(&stage);
}

/* MMM: marauders 1..2, marines 3..9, medivac 10; opponents 11 up, the medivac is 20. */
static void medics(const struct smac_options *o)
{
    stage_open(&stage, "MMM", o);
    for (uint64_t i = 1; i <= 10; i++) {
        uint32_t offset = i <= 2 ? 0 : i <= 9 ? 1 : 2;
        stage_add(&stage, unit(1, OWN_TYPE + offset, i, 10 + 0.25f * (float)i, 16, 100));
    }
    stage.u[9].energy = 50;
    for (uint64_t i = 11; i <= 20; i++)
        stage_add(&stage, unit(2,
                               i <= 12  ? MARAUDER
                               : i < 20 ? MARINE
                                        : MEDIVAC,
                               i, 14, 16, 100));
    ck_assert_int_eq(stage_reset(&stage), 0);
    stage_look(&stage);
}

static struct smac_options defaults(void)
{
    struct smac_options o;
    smac_options_default(&o);
    return o;
}

START_TEST(agents_are_sorted_by_type_and_place_and_enemies_stay_in_list_order)
{
    uint64_t agents[5], enemies[5];
    struct smac_options o = defaults();
    stage_open(&stage, "2s3z", &o);
    stage_add(&stage, shielded(unit(1, OWN_TYPE + 1, 1, 3, 9, 100), 50));
    stage_add(&stage, shielded(unit(2, STALKER, 11, 30, 9, 80), 80));
    stage_add(&stage, shielded(unit(1, OWN_TYPE + 1, 2, 3, 8, 100), 50));
    stage_add(&stage, shielded(unit(2, ZEALOT, 12, 1, 1, 100), 50));
    stage_add(&stage, shielded(unit(1, OWN_TYPE + 1, 3, 2, 30, 100), 50));
    stage_add(&stage, unit(16, 880, 99, 5, 5, 100));
    stage_add(&stage, shielded(unit(1, OWN_TYPE, 4, 20, 20, 80), 80));
    stage_add(&stage, shielded(unit(1, OWN_TYPE, 5, 19, 21, 80), 80));
    for (uint64_t i = 13; i <= 15; i++)
        stage_add(&stage, shielded(unit(2, ZEALOT, i, 29, 9, 100), 50));
    ck_assert_int_eq(stage_reset(&stage), 0);
    smac_tags(stage.smac, agents, enemies);
    static const uint64_t sorted[5] = {5, 4, 3, 2, 1}, listed[5] = {11, 12, 13, 14, 15};
    ck_assert_mem_eq(agents, sorted, sizeof sorted);
    ck_assert_mem_eq(enemies, listed, sizeof listed);
}
END_TEST

START_TEST(the_type_one_hot_of_enemies_is_the_reverse_on_stalker_zealot_maps)
{
    struct smac_options o = defaults();
    stage_open(&stage, "2s3z", &o);
    for (uint64_t i = 1; i <= 5; i++)
        stage_add(&stage, shielded(unit(1, OWN_TYPE + (i > 2), i, 10, 10 + (float)i, 100), 50));
    stage_add(&stage, shielded(unit(2, STALKER, 11, 12, 10, 80), 80));
    for (uint64_t i = 12; i <= 15; i++)
        stage_add(&stage, shielded(unit(2, ZEALOT, i, 12, 11, 100), 50));
    ck_assert_int_eq(stage_reset(&stage), 0);
    stage_look(&stage);
    const float *stalker = obs_of(&stage, 0) + 4, *ally = obs_of(&stage, 0) + 4 + 5 * 8;
    ck_assert_float_eq(stalker[6], 0);
    ck_assert_float_eq(stalker[7], 1); /* enemy stalker: second place */
    ck_assert_float_eq(ally[6], 1);    /* agent 1, a stalker: first place */
    ck_assert_float_eq(ally[7], 0);
}
END_TEST

START_TEST(type_ids_count_from_the_smallest_among_the_agents)
{
    struct smac_options o = defaults();
    stage_open(&stage, "1c3s5z", &o);
    for (uint64_t i = 1; i <= 9; i++) {
        uint32_t offset = i == 1 ? 0 : i <= 4 ? 1 : 2;
        stage_add(&stage, shielded(unit(1, 1940 + offset, i, 10, (float)i, 100), 50));
        stage_add(&stage, shielded(unit(2, ZEALOT, 10 + i, 30, 30, 100), 50));
    }
    ck_assert_int_eq(stage_reset(&stage), 0);
    stage_look(&stage);
    for (size_t i = 0; i < 9; i++) {
        size_t type = i == 0 ? 0 : i <= 3 ? 1 : 2;
        for (size_t b = 0; b < 3; b++)
            ck_assert_float_eq(stage.state[i * 8 + 5 + b], b == type);
    }
    ck_assert_float_eq(stage.state[4], (float)(50 / 150.0)); /* a colossus' shield */
}
END_TEST

START_TEST(seeing_all_health_includes_the_own)
{
    struct smac_options o = defaults();
    o.obs_own_health = false;
    two_stalkers(&o);
    ck_assert_uint_eq(stage.spec.obs, 17);
    teardown();
    o.obs_all_health = false;
    two_stalkers(&o);
    ck_assert_uint_eq(stage.spec.obs, 4 + 4 + 4);
}
END_TEST

START_TEST(sight_ends_before_nine_and_reach_includes_six)
{
    struct smac_options o = defaults();
    two_stalkers(&o);
    by_tag(&stage, 3)->y = 16;
    stage_frame(&stage);
    ck_assert_uint_eq(avail_of(&stage, 0)[6], 1); /* exactly 6 */
    ck_assert_uint_eq(avail_of(&stage, 1)[6], 0); /* the root of 37 */
    by_tag(&stage, 3)->y = 19;
    stage_frame(&stage);
    ck_assert_float_eq(obs_of(&stage, 0)[4 + 4], 0); /* exactly 9: not seen */
    by_tag(&stage, 3)->y = 18.999998f;
    stage_frame(&stage);
    ck_assert_float_eq(obs_of(&stage, 0)[4 + 4], 1);
}
END_TEST

START_TEST(a_move_is_open_if_the_cell_half_a_move_away_is)
{
    struct smac_options o = defaults();
    two_stalkers(&o);
    *by_tag(&stage, 1) = shielded(unit(1, OWN_TYPE, 1, 0.4f, 31.2f, 80), 80);
    stage_frame(&stage);
    const uint8_t *a = avail_of(&stage, 0);
    ck_assert_uint_eq(a[2], 0); /* y 32.2: outside */
    ck_assert_uint_eq(a[3], 1);
    ck_assert_uint_eq(a[4], 1);
    ck_assert_uint_eq(a[5], 1); /* x -0.6 truncates into cell 0 */
    by_tag(&stage, 1)->x = 0;
    stage_frame(&stage);
    ck_assert_uint_eq(avail_of(&stage, 0)[5], 0); /* x -1 does not */
}
END_TEST

START_TEST(pathing_images_of_one_and_eight_bits_mean_opposite_things)
{
    struct smac_options o = defaults();
    two_stalkers(&o);
    memset(stage.pathing, 0, sizeof stage.pathing);
    stage.pathing[11 * 4 + 1] = 0x20; /* one bit: row 11, x 10 open, all else shut */
    ck_assert_int_eq(smac_game_info(stage.smac, &stage.info), 0);
    stage_frame(&stage);
    ck_assert_uint_eq(avail_of(&stage, 0)[2], 1);
    ck_assert_uint_eq(avail_of(&stage, 0)[3], 0);
    memset(stage.pathing, 255, sizeof stage.pathing);
    stage.pathing[(31 - 11) * 32 + 10] = 0; /* eight bits: from the top, 0 is open */
    stage.info.pathing_bits = 8;
    stage.info.pathing_bytes = sizeof stage.pathing;
    ck_assert_int_eq(smac_game_info(stage.smac, &stage.info), 0);
    stage_frame(&stage);
    ck_assert_uint_eq(avail_of(&stage, 0)[2], 1);
    ck_assert_uint_eq(avail_of(&stage, 0)[3], 0);
}
END_TEST

START_TEST(images_that_are_too_short_are_refused)
{
    struct smac_options o = defaults();
    two_stalkers(&o);
    stage.info.pathing_bytes--;
    ck_assert_int_eq(smac_game_info(stage.smac, &stage.info), ERR_INVAL);
    stage.info.pathing_bytes++;
    stage.info.pathing_bits = 2;
    ck_assert_int_eq(smac_game_info(stage.smac, &stage.info), ERR_INVAL);
}
END_TEST

START_TEST(surroundings_outside_the_map_count_as_one)
{
    struct smac_options o = defaults();
    o.obs_pathing_grid = o.obs_terrain_height = true;
    two_stalkers(&o);
    memset(stage.pathing, 0, sizeof stage.pathing);
    ck_assert_int_eq(smac_game_info(stage.smac, &stage.info), 0);
    by_tag(&stage, 1)->x = 3;
    stage_frame(&stage);
    const float *v = obs_of(&stage, 0) + 4;
    ck_assert_float_eq(v[2], 0);                       /* (7, 10): shut */
    ck_assert_float_eq(v[3], 1);                       /* (-1, 10): outside */
    ck_assert_float_eq(v[8 + 3], 1);                   /* its height, too */
    ck_assert_float_eq(v[8 + 2], (float)(56 / 255.0)); /* x 7 */
    ck_assert_float_eq(v[8 + 8], (float)(24 / 255.0)); /* its own cell */
}
END_TEST

START_TEST(the_time_step_is_one_entry_more_than_announced)
{
    struct smac_options o = defaults();
    two_stalkers(&o);
    size_t plain = stage.spec.obs;
    teardown();
    o.obs_timestep_number = true;
    two_stalkers(&o);
    ck_assert_uint_eq(stage.spec.obs, plain + 1);
    ck_assert_uint_eq(smac_obs_len(stage.smac), plain + 2);
    kill_unit(&stage, 1);
    stage_frame(&stage);
    for (size_t i = 0; i < plain + 1; i++)
        ck_assert_float_eq(obs_of(&stage, 0)[i], 0); /* dead: zeros, but for the time */
    ck_assert_float_eq(obs_of(&stage, 0)[plain + 1], (float)(1 / 300.0));
    ck_assert_float_eq(obs_of(&stage, 1)[plain], 0); /* the entry counted in the own block */
}
END_TEST

START_TEST(a_dead_agent_may_only_do_nothing)
{
    struct smac_options o = defaults();
    two_stalkers(&o);
    kill_unit(&stage, 1);
    stage_frame(&stage);
    ck_assert_uint_eq(avail_of(&stage, 0)[0], 1);
    ck_assert_uint_eq(avail_of(&stage, 0)[1], 0);
    ck_assert_uint_eq(avail_of(&stage, 1)[0], 0);
    static const uint8_t dead_stops[2] = {1, 1}, dead_rests[2] = {0, 4};
    ck_assert_int_eq(smac_commands(stage.smac, dead_stops, stage.command, &stage.commands),
                     ERR_INVAL);
    ck_assert_ptr_nonnull(strstr(err_text(), "agent 0"));
    ck_assert_int_eq(smac_commands(stage.smac, dead_rests, stage.command, &stage.commands), 0);
    ck_assert_uint_eq(stage.commands, 1);
    ck_assert_uint_eq(stage.command[0].unit_tag, 2);
    ck_assert_float_eq(stage.command[0].x, 13); /* east by the move amount */
}
END_TEST

START_TEST(last_actions_are_zero_after_a_reset_and_one_hot_after_a_step)
{
    struct smac_options o = defaults();
    two_stalkers(&o);
    const float *last = stage.state + 2 * 5 + 3;
    for (size_t i = 0; i < 2 * 7; i++)
        ck_assert_float_eq(last[i], 0);
    static const uint8_t act[2] = {1, 5};
    ck_assert_int_eq(smac_commands(stage.smac, act, stage.command, &stage.commands), 0);
    stage_frame(&stage);
    ck_assert_float_eq(last[1], 1);
    ck_assert_float_eq(last[7 + 5], 1);
}
END_TEST

START_TEST(cooldowns_are_divided_by_the_published_maxima_and_may_exceed_one)
{
    struct smac_options o = defaults();
    two_stalkers(&o);
    by_tag(&stage, 1)->weapon_cooldown = 70;
    by_tag(&stage, 1)->shield = 20;
    stage_frame(&stage);
    ck_assert_float_eq(stage.state[1], 2);
    ck_assert_float_eq(stage.state[4], 0.25f);
    ck_assert_float_eq(stage.state[2], (float)(-6 / 32.0)); /* from the map's centre */
}
END_TEST

START_TEST(regeneration_of_enemies_is_rewarded_by_the_absolute_value)
{
    struct smac_options o = defaults();
    two_stalkers(&o);
    by_tag(&stage, 3)->health = 250;
    stage_frame(&stage);
    double scale = smac_max_reward(stage.smac) / 20;
    ck_assert_double_eq(stage.result.reward, 50 / scale);
    by_tag(&stage, 3)->health = 260;
    stage_frame(&stage);
    ck_assert_double_eq(stage.result.reward, 10 / scale);
}
END_TEST

START_TEST(a_won_battle_without_regeneration_returns_exactly_twenty)
{
    struct smac_options o = defaults();
    marines(&o);
    double sum = 0;
    for (uint64_t tag = 4; tag <= 6; tag++) {
        by_tag(&stage, tag)->health = 20;
        stage_frame(&stage);
        sum += stage.result.reward;
        ck_assert(!stage.result.terminated);
        kill_unit(&stage, tag);
        stage_frame(&stage);
        sum += stage.result.reward;
    }
    ck_assert(stage.result.terminated && stage.result.battle_won);
    ck_assert_uint_eq(stage.result.dead_enemies, 3);
    ck_assert_double_eq_tol(sum, 20, 1e-12);
}
END_TEST

START_TEST(a_victory_is_paid_once)
{
    struct smac_options o = defaults();
    marines(&o);
    stage.n = 3;
    stage_frame(&stage);
    ck_assert(stage.result.battle_won);
    stage_frame(&stage);
    ck_assert(stage.result.terminated && !stage.result.battle_won);
    ck_assert_double_eq(stage.result.reward, 0);
}
END_TEST

START_TEST(losses_of_our_own_count_only_in_the_signed_reward)
{
    struct smac_options o = defaults();
    o.reward_scale = false;
    marines(&o);
    by_tag(&stage, 1)->health = 25;
    kill_unit(&stage, 2);
    stage_frame(&stage);
    ck_assert_double_eq(stage.result.reward, 0);
    teardown();
    o.reward_only_positive = false;
    o.reward_defeat = -3;
    marines(&o);
    by_tag(&stage, 1)->health = 25;
    kill_unit(&stage, 2);
    stage_frame(&stage);
    ck_assert_double_eq(stage.result.reward, -(0.5 * (20 + 45) + 0.5 * 10));
    kill_unit(&stage, 1);
    kill_unit(&stage, 3);
    stage_frame(&stage);
    ck_assert(stage.result.terminated && !stage.result.battle_won);
    ck_assert_double_eq(stage.result.reward, -(0.5 * (25 + 45) + 2 * 0.5 * 10) - 3);
}
END_TEST

START_TEST(the_sparse_reward_is_scaled_like_the_other)
{
    struct smac_options o = defaults();
    o.reward_sparse = true;
    marines(&o);
    kill_unit(&stage, 4);
    stage_frame(&stage);
    ck_assert_double_eq(stage.result.reward, 0);
    kill_unit(&stage, 5);
    kill_unit(&stage, 6);
    stage_frame(&stage);
    ck_assert_double_eq(stage.result.reward, 1 / (365.0 / 20));
}
END_TEST

START_TEST(both_sides_gone_is_a_draw_that_pays_no_bonus)
{
    struct smac_options o = defaults();
    o.reward_scale = false;
    marines(&o);
    stage.n = 0;
    stage_frame(&stage);
    ck_assert(stage.result.terminated && !stage.result.battle_won && !stage.result.time_limit);
    ck_assert_double_eq(stage.result.reward, 3 * (45 + 10));
}
END_TEST

START_TEST(a_unit_listed_without_health_still_counts_as_alive)
{
    struct smac_options o = defaults();
    marines(&o);
    kill_unit(&stage, 4);
    kill_unit(&stage, 5);
    by_tag(&stage, 6)->health = 0;
    stage_frame(&stage);
    ck_assert(!stage.result.terminated);
    ck_assert_uint_eq(stage.result.dead_enemies, 3);
    kill_unit(&stage, 6);
    stage_frame(&stage);
    ck_assert(stage.result.battle_won);
}
END_TEST

START_TEST(incomplete_first_frames_inflate_the_maximum_reward_for_good)
{
    struct smac_options o = defaults();
    marines(&o);
    ck_assert_double_eq(smac_max_reward(stage.smac), 365);
    size_t whole = stage.n--;
    ck_assert_int_eq(stage_reset(&stage), ERR_AGAIN);
    ck_assert_double_eq(smac_max_reward(stage.smac), 365 + 90);
    stage.n = whole;
    ck_assert_int_eq(smac_reset_frame(stage.smac, stage.u, stage.n), 0);
    ck_assert_double_eq(smac_max_reward(stage.smac), 365 + 90 + 135);
    smac_settle(stage.smac);
    ck_assert_int_eq(stage_reset(&stage), 0);
    ck_assert_double_eq(smac_max_reward(stage.smac), 365 + 90 + 135);
}
END_TEST

static void run_to_limit(void)
{
    for (int i = 0; i < 60; i++) {
        ck_assert(!stage.result.terminated);
        stage_frame(&stage);
    }
    ck_assert(stage.result.terminated);
}

START_TEST(the_time_limit_is_told_only_when_episodes_continue)
{
    struct smac_options o = defaults();
    marines(&o);
    run_to_limit();
    ck_assert(stage.result.time_limit && !stage.result.episode_limit);
    teardown();
    o.continuing_episode = true;
    marines(&o);
    run_to_limit();
    ck_assert(stage.result.time_limit && stage.result.episode_limit);
    ck_assert(!stage.result.battle_won);
}
END_TEST

START_TEST(a_battle_decided_in_the_last_step_is_not_a_time_limit)
{
    struct smac_options o = defaults();
    o.continuing_episode = true;
    marines(&o);
    for (int i = 0; i < 59; i++)
        stage_frame(&stage);
    ck_assert(!stage.result.terminated);
    stage.n = 3;
    stage_frame(&stage);
    ck_assert(stage.result.battle_won && !stage.result.time_limit);
    ck_assert(!stage.result.episode_limit);
}
END_TEST

START_TEST(a_lost_connection_ends_the_episode_without_information)
{
    struct smac_options o = defaults();
    marines(&o);
    smac_step_frame(stage.smac, NULL, 0, true, &stage.result);
    ck_assert(stage.result.terminated && !stage.result.info_valid);
    ck_assert_double_eq(stage.result.reward, 0);
    ck_assert_int_eq(stage_reset(&stage), 0); /* no episode was finished: counted again */
    ck_assert_double_eq(smac_max_reward(stage.smac), 365 + 135);
}
END_TEST

START_TEST(medivacs_heal_agents_by_index_but_not_each_other)
{
    struct smac_options o = defaults();
    medics(&o);
    const uint8_t *a = avail_of(&stage, 9);
    for (size_t i = 0; i < 9; i++)
        ck_assert_uint_eq(a[6 + i], 1); /* healthy ones, too */
    ck_assert_uint_eq(a[6 + 9], 0);
    ck_assert_float_eq(obs_of(&stage, 9)[4], 1); /* copied into the block of enemy 0 */
    uint8_t act[10] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 8};
    ck_assert_int_eq(smac_commands(stage.smac, act, stage.command, &stage.commands), 0);
    ck_assert_uint_eq(stage.command[9].ability, ABILITY_HEAL);
    ck_assert_uint_eq(stage.command[9].target_tag, 3);
    ck_assert_float_eq(stage.state[9 * 7 + 1], 0.25f); /* energy in place of the cooldown */
}
END_TEST

START_TEST(our_medivac_alone_has_lost_even_with_no_enemy_left)
{
    struct smac_options o = defaults();
    medics(&o);
    stage.u[0] = stage.u[9];
    stage.n = 1;
    stage_frame(&stage);
    ck_assert(stage.result.terminated && !stage.result.battle_won);
}
END_TEST

START_TEST(their_medivac_alone_is_beaten)
{
    struct smac_options o = defaults();
    medics(&o);
    for (uint64_t tag = 11; tag <= 18; tag++)
        kill_unit(&stage, tag);
    stage_frame(&stage);
    ck_assert(!stage.result.terminated);
    kill_unit(&stage, 19);
    stage_frame(&stage);
    ck_assert(stage.result.battle_won);
    ck_assert_uint_eq(stage.result.dead_enemies, 9);
}
END_TEST

START_TEST(observations_can_stand_in_for_the_state)
{
    struct smac_options o = defaults();
    o.obs_instead_of_state = o.obs_timestep_number = true;
    two_stalkers(&o);
    ck_assert_uint_eq(stage.spec.state, 2 * stage.spec.obs);
    ck_assert_uint_eq(smac_state_len(stage.smac), 2 * smac_obs_len(stage.smac));
    ck_assert_mem_eq(stage.obs, stage.state, smac_state_len(stage.smac) * sizeof stage.obs[0]);
}
END_TEST

START_TEST(attack_nearest_keeps_its_target_until_it_is_dead)
{
    struct smac_options o = defaults();
    marines(&o);
    uint8_t act[3];
    by_tag(&stage, 5)->x = 15;
    stage_frame(&stage);
    ck_assert_int_eq(
        smac_script(stage.smac, "attack_nearest", act, stage.command, &stage.commands), 0);
    ck_assert_uint_eq(act[0], 7); /* out of reach, ordered all the same */
    ck_assert_uint_eq(avail_of(&stage, 0)[7], 0);
    by_tag(&stage, 6)->x = 12;
    stage_frame(&stage);
    ck_assert_int_eq(
        smac_script(stage.smac, "attack_nearest", act, stage.command, &stage.commands), 0);
    ck_assert_uint_eq(act[0], 7);
    kill_unit(&stage, 5);
    kill_unit(&stage, 1);
    stage_frame(&stage);
    ck_assert_int_eq(
        smac_script(stage.smac, "attack_nearest", act, stage.command, &stage.commands), 0);
    ck_assert_uint_eq(act[0], 0); /* the dead are not ordered about */
    ck_assert_uint_eq(act[1], 8);
    ck_assert_uint_eq(stage.commands, 2);
    ck_assert_int_eq(smac_script(stage.smac, "dance", act, stage.command, &stage.commands),
                     ERR_NOTFOUND);
}
END_TEST

START_TEST(equally_near_targets_are_taken_in_order)
{
    struct smac_options o = defaults();
    marines(&o);
    uint8_t act[3];
    for (uint64_t tag = 4; tag <= 6; tag++)
        by_tag(&stage, tag)->y = 16;
    stage_frame(&stage);
    ck_assert_int_eq(
        smac_script(stage.smac, "attack_nearest", act, stage.command, &stage.commands), 0);
    ck_assert_uint_eq(act[0], 6);
}
END_TEST

START_TEST(a_scripted_medivac_heals_the_nearest_hurt_until_it_is_full)
{
    struct smac_options o = defaults();
    medics(&o);
    uint8_t act[10];
    by_tag(&stage, 20)->x = 10.5f; /* their medivac is the nearest enemy */
    stage_frame(&stage);
    ck_assert_int_eq(
        smac_script(stage.smac, "attack_nearest", act, stage.command, &stage.commands), 0);
    ck_assert_uint_eq(act[9], 1);     /* nobody is hurt: it stands */
    ck_assert_uint_eq(act[0], 6);     /* a marauder leaves the medivac alone */
    ck_assert_uint_eq(act[2], 6 + 9); /* a marine does not */
    by_tag(&stage, 2)->health = 50;
    stage_frame(&stage);
    ck_assert_int_eq(
        smac_script(stage.smac, "attack_nearest", act, stage.command, &stage.commands), 0);
    ck_assert_uint_eq(act[9], 7);
    by_tag(&stage, 9)->health = 99; /* nearer, but the first is not full */
    stage_frame(&stage);
    ck_assert_int_eq(
        smac_script(stage.smac, "attack_nearest", act, stage.command, &stage.commands), 0);
    ck_assert_uint_eq(act[9], 7);
    by_tag(&stage, 2)->health = 100;
    stage_frame(&stage);
    ck_assert_int_eq(
        smac_script(stage.smac, "attack_nearest", act, stage.command, &stage.commands), 0);
    ck_assert_uint_eq(act[9], 14);
}
END_TEST

START_TEST(kiting_backs_off_while_reloading_and_shoots_otherwise)
{
    struct smac_options o = defaults();
    two_stalkers(&o);
    uint8_t act[2];
    by_tag(&stage, 1)->weapon_cooldown = 9;
    stage_frame(&stage);
    ck_assert_int_eq(smac_script(stage.smac, "kiting", act, stage.command, &stage.commands), 0);
    ck_assert_uint_eq(act[0], 3); /* south, away from the crawler */
    ck_assert_uint_eq(act[1], 6);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("smac");
    TCase *t = tcase_create("contract");
    tcase_add_checked_fixture(t, NULL, teardown);
    tcase_add_test(t, agents_are_sorted_by_type_and_place_and_enemies_stay_in_list_order);
    tcase_add_test(t, the_type_one_hot_of_enemies_is_the_reverse_on_stalker_zealot_maps);
    tcase_add_test(t, type_ids_count_from_the_smallest_among_the_agents);
    tcase_add_test(t, seeing_all_health_includes_the_own);
    tcase_add_test(t, sight_ends_before_nine_and_reach_includes_six);
    tcase_add_test(t, a_move_is_open_if_the_cell_half_a_move_away_is);
    tcase_add_test(t, pathing_images_of_one_and_eight_bits_mean_opposite_things);
    tcase_add_test(t, images_that_are_too_short_are_refused);
    tcase_add_test(t, surroundings_outside_the_map_count_as_one);
    tcase_add_test(t, the_time_step_is_one_entry_more_than_announced);
    tcase_add_test(t, a_dead_agent_may_only_do_nothing);
    tcase_add_test(t, last_actions_are_zero_after_a_reset_and_one_hot_after_a_step);
    tcase_add_test(t, cooldowns_are_divided_by_the_published_maxima_and_may_exceed_one);
    tcase_add_test(t, regeneration_of_enemies_is_rewarded_by_the_absolute_value);
    tcase_add_test(t, a_won_battle_without_regeneration_returns_exactly_twenty);
    tcase_add_test(t, a_victory_is_paid_once);
    tcase_add_test(t, losses_of_our_own_count_only_in_the_signed_reward);
    tcase_add_test(t, the_sparse_reward_is_scaled_like_the_other);
    tcase_add_test(t, both_sides_gone_is_a_draw_that_pays_no_bonus);
    tcase_add_test(t, a_unit_listed_without_health_still_counts_as_alive);
    tcase_add_test(t, incomplete_first_frames_inflate_the_maximum_reward_for_good);
    tcase_add_test(t, the_time_limit_is_told_only_when_episodes_continue);
    tcase_add_test(t, a_battle_decided_in_the_last_step_is_not_a_time_limit);
    tcase_add_test(t, a_lost_connection_ends_the_episode_without_information);
    tcase_add_test(t, medivacs_heal_agents_by_index_but_not_each_other);
    tcase_add_test(t, our_medivac_alone_has_lost_even_with_no_enemy_left);
    tcase_add_test(t, their_medivac_alone_is_beaten);
    tcase_add_test(t, observations_can_stand_in_for_the_state);
    tcase_add_test(t, attack_nearest_keeps_its_target_until_it_is_dead);
    tcase_add_test(t, equally_near_targets_are_taken_in_order);
    tcase_add_test(t, a_scripted_medivac_heals_the_nearest_hurt_until_it_is_full);
    tcase_add_test(t, kiting_backs_off_while_reloading_and_shoots_otherwise);
    suite_add_tcase(s, t);
    return run_suite(s);
}
