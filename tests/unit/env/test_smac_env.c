/* SPDX-License-Identifier: Apache-2.0 */
/* test_smac_env.c - the environment "smac" as actors and learner use it, on the real engine. */
#include "suite.h"

#include "env/env.h"

#include "base/err.h"
#include "base/rng.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OBS_MAX = 32 * 400, STATE_MAX = 2048, AVAIL_MAX = 32 * 80 };

static struct config cfg;
static const struct env_class *smac;
static struct env *env;
static struct env_spec spec;
static float obs[OBS_MAX], state[STATE_MAX];
static uint8_t avail[AVAIL_MAX], action[32];

static void open_map(const char *map)
{
    strcpy(cfg.env.map, map);
    ck_assert_int_eq(smac->spec(&cfg, &spec), 0);
    ck_assert_int_eq(smac->open(&cfg, &env), 0);
}

static void setup(void)
{
    config_defaults(&cfg);
    ck_assert_int_eq(env_find("smac", &smac), 0);
    env = NULL;
}

static void teardown(void)
{
    smac->close(env);
}

static void choose(struct rng *r)
{
    for (size_t i = 0; i < spec.n_agents; i++) {
        do
            action[i] = (uint8_t)rng_below(r, (uint32_t)spec.actions);
        while (!avail[i * spec.actions + action[i]]);
    }
}

/* Play one episode of random actions; everything seen and paid goes into the hash. */
static void play_random(uint64_t seed, unsigned char hash[16], struct env_step *last)
{
    struct digest_state d;
    struct digest out;
    struct rng r;
    rng_seed(&r, seed);
    digest_init(&d);
    ck_assert_int_eq(smac->reset(env, seed), 0);
    do {
        smac->observe(env, obs, avail, state);
        digest_add(&d, obs, spec.n_agents * spec.obs * sizeof obs[0]);
        digest_add(&d, state, spec.state * sizeof state[0]);
        choose(&r);
        ck_assert_int_eq(smac->step(env, action, last), 0);
        digest_add(&d, &last->reward, sizeof last->reward);
    } while (last->end == ENV_RUNNING);
    digest_end(&d, &out);
    memcpy(hash, out.b, 16);
}

START_TEST(an_episode_depends_on_its_seed_and_not_on_what_was_played_before)
{
    unsigned char first[16], other[16], again[16];
    struct env_step last;
    open_map("2s3z");
    play_random(7, first, &last);
    play_random(8, other, &last);
    ck_assert_int_eq(smac->reset(env, 9), 0); /* an episode given up */
    play_random(7, again, &last);
    ck_assert_mem_eq(first, again, 16);
    ck_assert_mem_ne(first, other, 16);
    smac->close(env);
    open_map("2s3z");
    play_random(7, again, &last);
    ck_assert_mem_eq(first, again, 16);
}
END_TEST

START_TEST(every_map_opens_and_its_vectors_have_the_announced_sizes)
{
    struct env_step last;
    unsigned char hash[16];
    for (const char *const *map = smac->maps(); *map; map++) {
        open_map(*map);
        ck_assert_uint_le(spec.n_agents * spec.obs, OBS_MAX);
        ck_assert_uint_le(spec.state, STATE_MAX);
        play_random(1, hash, &last);
        smac->close(env);
        env = NULL;
    }
}
END_TEST

START_TEST(the_time_step_option_makes_observations_one_longer_than_published)
{
    open_map("3m");
    size_t plain = spec.obs;
    smac->close(env);
    cfg.env.obs_timestep = true;
    open_map("3m");
    ck_assert_uint_eq(spec.obs, plain + 2);
    obs[spec.n_agents * spec.obs] = -7;
    ck_assert_int_eq(smac->reset(env, 1), 0);
    smac->observe(env, obs, avail, NULL);
    ck_assert_float_eq(obs[spec.n_agents * spec.obs], -7); /* not a float more */
}
END_TEST

START_TEST(the_specification_hash_changes_with_every_option)
{
    struct env_spec plain, changed;
    strcpy(cfg.env.map, "3m");
    ck_assert_int_eq(smac->spec(&cfg, &plain), 0);
    ck_assert_str_eq(plain.build, "battle-2");
    struct config base = cfg;
    bool *switches[] = {
        &cfg.env.continuing,    &cfg.env.obs_last_action,      &cfg.env.obs_timestep,
        &cfg.env.obs_pathing,   &cfg.env.obs_height,           &cfg.env.shuffle_enemy_order,
        &cfg.env.reward_sparse, &cfg.env.reward_only_positive, &cfg.env.spawn_rotation};
    for (size_t i = 0; i < sizeof switches / sizeof switches[0]; i++) {
        *switches[i] = !*switches[i];
        ck_assert_int_eq(smac->spec(&cfg, &changed), 0);
        ck_assert_mem_ne(plain.hash, changed.hash, 16);
        cfg = base;
    }
    cfg.env.position_noise = 0.125;
    ck_assert_int_eq(smac->spec(&cfg, &changed), 0);
    ck_assert_mem_ne(plain.hash, changed.hash, 16);
}
END_TEST

/* A configuration of settings "key=value ..." on a map; returns what spec says. */
static int spec_of(const char *map, const char *settings, struct env_spec *out)
{
    char text[256], *assignment, *rest = text;
    struct config_builder *builder;
    ck_assert_int_eq(config_begin(&builder), 0);
    ck_assert_int_eq(config_set(builder, "env.map", map, ORIGIN_CLI), 0);
    snprintf(text, sizeof text, "%s", settings);
    while ((assignment = strtok_r(rest, " ", &rest)))
        ck_assert_int_eq(config_assign(builder, assignment), 0);
    ck_assert_int_eq(config_finish(builder, &cfg), 0);
    config_end(builder);
    return smac->spec(&cfg, out);
}

/* Every key but those of the test above, each with a value that is not its default. */
static const char *const further[] = {
    "env.step_mul=4",
    "env.move_amount=3",
    "env.obs_all_health=false",
    "env.obs_all_health=false env.obs_own_health=false",
    "env.obs_instead_of_state=true",
    "env.state_last_action=false",
    "env.state_timestep=true",
    "env.reward_death_value=5",
    "env.reward_win=100",
    "env.reward_defeat=-50",
    "env.reward_negative_scale=1",
    "env.reward_scale=false",
    "env.reward_scale_rate=10",
    "env.heuristic_ai=true",
    "env.heuristic_ai=true env.heuristic_rest=true",
    "env.obs_own_pos=true",
    "env.unit_ranges=true",
    "env.min_attack_range=1",
    "env.conic_fov=true",
    "env.fov_actions=8",
    "env.start_positions=reflect",
    "env.reflect_chance=0.25",
    "env.team_weight_1=1",
    "env.team_weight_2=1",
    "env.team_weight_3=1",
    "env.reward_sparse=true env.reward_scale=true",
};

START_TEST(every_published_option_has_a_key_that_changes_the_hash_and_plays)
{
    struct env_spec plain, changed;
    struct env_step last;
    unsigned char hash[16];
    /* Where teams are drawn every key counts; there the first two are on already. */
    const char *map = "10gen_protoss_5_vs_5", *settings = further[_i];
    if (strstr(settings, "obs_own_pos") || strstr(settings, "unit_ranges"))
        map = "MMM";
    ck_assert_int_eq(spec_of(map, "", &plain), 0);
    ck_assert_int_eq(spec_of(map, settings, &changed), 0);
    ck_assert_mem_ne(plain.hash, changed.hash, 16);
    open_map(map);
    ck_assert_uint_le(spec.n_agents * spec.obs, OBS_MAX);
    ck_assert_uint_le(spec.state, STATE_MAX);
    play_random(1, hash, &last);
}
END_TEST

START_TEST(options_that_do_not_go_together_are_refused_with_a_remedy)
{
    static const struct {
        const char *map, *settings, *says;
    } rows[] = {
        {"3m", "env.move_amount=1.5 env.obs_pathing=true", "whole number"},
        {"3m", "env.move_amount=1.5 env.obs_height=true", "whole number"},
        {"3m", "env.heuristic_rest=true", "env.heuristic_ai"},
        {"3m", "env.start_positions=reflect", "10gen_"},
        {"3m", "env.reflect_chance=1", "10gen_"},
        {"3m", "env.team_weight_2=1", "10gen_"},
        {"3m", "env.reward_win=-500", "env.reward_scale=false"},
    };
    struct env_spec out;
    ck_assert_int_eq(spec_of(rows[_i].map, rows[_i].settings, &out), ERR_CONFIG);
    ck_assert_ptr_nonnull(strstr(err_text(), rows[_i].says));
}
END_TEST

START_TEST(sizes_follow_the_options)
{
    static const struct {
        const char *settings;
        size_t obs, state, actions;
    } rows[] = {
        {"", 80, 120, 11},
        {"env.obs_all_health=false", 62, 120, 11},
        {"env.obs_all_health=false env.obs_own_health=false", 60, 120, 11},
        {"env.obs_instead_of_state=true", 80, 400, 11},
        {"env.obs_instead_of_state=true env.obs_timestep=true", 82, 410, 11},
        {"env.state_last_action=false env.state_timestep=true", 80, 66, 11},
        {"env.obs_own_pos=true", 82, 120, 11},
        {"env.conic_fov=true", 82, 190, 23},
        {"env.conic_fov=true env.fov_actions=4", 82, 150, 15},
    };
    struct env_spec out;
    ck_assert_int_eq(spec_of("2s3z", rows[_i].settings, &out), 0);
    ck_assert_uint_eq(out.obs, rows[_i].obs);
    ck_assert_uint_eq(out.state, rows[_i].state);
    ck_assert_uint_eq(out.actions, rows[_i].actions);
}
END_TEST

START_TEST(all_spellings_of_a_generated_map_are_one_environment)
{
    struct env_spec a, c;
    ck_assert_int_eq(spec_of("10gen_zerg_5_vs_5", "", &a), 0);
    ck_assert_int_eq(spec_of("zerg_5v5", "env.obs_own_pos=true", &c), 0);
    ck_assert_mem_eq(a.hash, c.hash, 16);
    ck_assert_uint_eq(a.obs, 82);
    ck_assert_uint_eq(a.state, 120);
}
END_TEST

/* Five opponents of the mean draw have 5 * (0.45 * 35 + 0.45 * 80 + 0.1 * 30) health. */
START_TEST(the_scale_of_rewards_does_not_depend_on_the_first_team_drawn)
{
    struct env_step out;
    struct env_spec s;
    int won = 0;
    ck_assert_int_eq(
        spec_of("10gen_zerg_5_vs_5", "env.reward_sparse=true env.reward_scale=true", &s), 0);
    open_map("10gen_zerg_5_vs_5");
    for (uint64_t seed = 0; seed < 20; seed++) {
        ck_assert_int_eq(smac->reset(env, seed), 0);
        do
            ck_assert_int_eq(smac->step_script(env, "attack_nearest", &out), 0);
        while (out.end == ENV_RUNNING);
        if (out.won)
            ck_assert_float_eq_tol(out.reward, 20 / 523.75F, 1e-6F);
        won += out.won;
    }
    ck_assert_int_gt(won, 0);
}
END_TEST

START_TEST(a_shorter_step_is_a_finer_look_at_the_same_battle)
{
    static const uint8_t stop[5] = {1, 1, 1, 1, 1};
    struct env_step out;
    struct env_spec s;
    static float coarse[STATE_MAX];
    open_map("2s3z");
    ck_assert_int_eq(smac->reset(env, 3), 0);
    ck_assert_int_eq(smac->step(env, stop, &out), 0);
    smac->observe(env, obs, avail, coarse);
    smac->close(env);
    ck_assert_int_eq(spec_of("2s3z", "env.step_mul=4", &s), 0);
    open_map("2s3z");
    ck_assert_int_eq(smac->reset(env, 3), 0);
    for (int half = 0; half < 2; half++)
        ck_assert_int_eq(smac->step(env, stop, &out), 0);
    smac->observe(env, obs, avail, state);
    ck_assert_mem_eq(state, coarse, s.state * sizeof *state);
}
END_TEST

START_TEST(unknown_names_are_refused_with_the_nearest_one)
{
    const struct env_class *c;
    ck_assert_int_eq(env_find("smack", &c), ERR_CONFIG);
    ck_assert_ptr_nonnull(strstr(err_text(), "'smac'"));
    strcpy(cfg.env.map, "corridoor");
    ck_assert_int_eq(smac->spec(&cfg, &spec), ERR_CONFIG);
    ck_assert_ptr_nonnull(strstr(err_text(), "corridor"));
    ck_assert_int_eq(smac->open(&cfg, &env), ERR_CONFIG);
    ck_assert_ptr_eq(env_classes()[0], smac);
}
END_TEST

START_TEST(an_unavailable_action_is_refused_and_changes_nothing)
{
    struct env_step out;
    open_map("3m");
    ck_assert_int_eq(smac->reset(env, 3), 0);
    static const uint8_t nothing[3] = {1, 0, 1}, stop[3] = {1, 1, 1};
    ck_assert_int_eq(smac->step(env, nothing, &out), ERR_INVAL);
    ck_assert_ptr_nonnull(strstr(err_text(), "agent 1"));
    ck_assert_int_eq(smac->step(env, stop, &out), 0);
}
END_TEST

START_TEST(standing_out_of_range_ends_at_the_limit_and_then_needs_a_reset)
{
    struct env_step out;
    size_t steps = 0;
    open_map("2s_vs_1sc");
    ck_assert_int_eq(smac->reset(env, 3), 0);
    static const uint8_t stop[2] = {1, 1};
    do {
        ck_assert_int_eq(smac->step(env, stop, &out), 0);
        steps++;
    } while (out.end == ENV_RUNNING);
    ck_assert_int_eq(out.end, ENV_LIMIT);
    ck_assert_uint_eq(steps, spec.episode_limit);
    ck_assert(!out.won);
    ck_assert_int_eq(smac->step(env, stop, &out), ERR_INVAL);
}
END_TEST

static int wins_of(const char *policy, int episodes)
{
    int wins = 0;
    struct env_step out;
    for (int i = 0; i < episodes; i++) {
        ck_assert_int_eq(smac->reset(env, (uint64_t)i), 0);
        do
            ck_assert_int_eq(smac->step_script(env, policy, &out), 0);
        while (out.end == ENV_RUNNING);
        wins += out.won;
    }
    return wins;
}

START_TEST(kiting_beats_three_zealots_where_attacking_does_not)
{
    open_map("3s_vs_3z");
    ck_assert_int_ge(wins_of("kiting", 10), 8);
    ck_assert_int_le(wins_of("attack_nearest", 10), 1);
}
END_TEST

START_TEST(the_opponents_logic_plays_whole_episodes_only)
{
    struct env_step out;
    unsigned char before[16], after[16];
    open_map("3m");
    play_random(5, before, &out);
    ck_assert_int_ge(wins_of("opponent", 4), 0);
    ck_assert_int_eq(smac->reset(env, 1), 0);
    ck_assert_int_eq(smac->step_script(env, "attack_nearest", &out), 0);
    ck_assert_int_eq(smac->step_script(env, "opponent", &out), ERR_INVAL);
    ck_assert_int_eq(smac->step_script(env, "dance", &out), ERR_NOTFOUND);
    play_random(5, after, &out);
    ck_assert_mem_eq(before, after, 16);
}
END_TEST

START_TEST(the_description_shows_both_sides_and_refuses_a_small_buffer)
{
    char text[2048], small[64];
    open_map("3m");
    ck_assert_int_eq(smac->reset(env, 1), 0);
    ck_assert_int_eq(smac->describe(env, text, sizeof text), 0);
    ck_assert_ptr_nonnull(strchr(text, 'M'));
    ck_assert_ptr_nonnull(strstr(text, "opponents 3"));
    ck_assert_int_eq(smac->describe(env, small, sizeof small), ERR_INVAL);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("smac_env");
    TCase *t = tcase_create("environment");
    tcase_set_timeout(t, 120);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, an_episode_depends_on_its_seed_and_not_on_what_was_played_before);
    tcase_add_test(t, every_map_opens_and_its_vectors_have_the_announced_sizes);
    tcase_add_test(t, the_time_step_option_makes_observations_one_longer_than_published);
    tcase_add_test(t, the_specification_hash_changes_with_every_option);
    tcase_add_loop_test(t, every_published_option_has_a_key_that_changes_the_hash_and_plays, 0,
                        sizeof further / sizeof further[0]);
    tcase_add_loop_test(t, options_that_do_not_go_together_are_refused_with_a_remedy, 0, 7);
    tcase_add_loop_test(t, sizes_follow_the_options, 0, 9);
    tcase_add_test(t, all_spellings_of_a_generated_map_are_one_environment);
    tcase_add_test(t, the_scale_of_rewards_does_not_depend_on_the_first_team_drawn);
    tcase_add_test(t, a_shorter_step_is_a_finer_look_at_the_same_battle);
    tcase_add_test(t, unknown_names_are_refused_with_the_nearest_one);
    tcase_add_test(t, an_unavailable_action_is_refused_and_changes_nothing);
    tcase_add_test(t, standing_out_of_range_ends_at_the_limit_and_then_needs_a_reset);
    tcase_add_test(t, kiting_beats_three_zealots_where_attacking_does_not);
    tcase_add_test(t, the_opponents_logic_plays_whole_episodes_only);
    tcase_add_test(t, the_description_shows_both_sides_and_refuses_a_small_buffer);
    suite_add_tcase(s, t);
    return run_suite(s);
}
