/* SPDX-License-Identifier: Apache-2.0 */
/* test_lbf_env.c - the environment "lbf" as actors and learner use it. */
#include "suite.h"

#include "env/env.h"
#include "env/lbf.h"

#include "base/err.h"
#include "base/rng.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

enum { OBS_MAX = 9 * 96 };

static struct config cfg;
static const struct env_class *lbf;
static struct env *env;
static struct env_spec spec;
static float obs[OBS_MAX], state[OBS_MAX];
static uint8_t avail[LBF_PLAYERS_MAX * LBF_ACTIONS], action[LBF_PLAYERS_MAX];

static void open_task(const char *name)
{
    lbf->close(env);
    env = NULL;
    strcpy(cfg.env.map, name);
    ck_assert_msg(lbf->spec(&cfg, &spec) == 0, "%s", err_text());
    ck_assert_int_eq(lbf->open(&cfg, &env), 0);
}

static void setup(void)
{
    config_defaults(&cfg);
    ck_assert_int_eq(env_find("lbf", &lbf), 0);
    env = NULL;
}

static void teardown(void)
{
    lbf->close(env);
}

/* Play one episode by a script, or at random (NULL); everything seen and paid is digested. */
static double play(const char *script, uint64_t seed, struct digest *out, struct env_step *last)
{
    struct digest_state d;
    struct rng r;
    double total = 0;
    int rc = 0; /* an assert per step would be slow: each writes to a file */
    rng_seed(&r, seed);
    digest_init(&d);
    ck_assert_int_eq(lbf->reset(env, seed), 0);
    do {
        lbf->observe(env, obs, avail, state);
        digest_add(&d, obs, spec.n_agents * spec.obs * sizeof obs[0]);
        for (size_t i = 0; i < spec.n_agents; i++)
            action[i] = (uint8_t)rng_below(&r, LBF_ACTIONS);
        ck_assert_int_eq(
            script ? lbf->step_script(env, script, last) : lbf->step(env, action, last), 0);
        digest_add(&d, &last->reward, sizeof last->reward);
        total += (double)last->reward;
    } while (!rc && last->end == ENV_RUNNING);
    ck_assert_int_eq(rc, 0);
    digest_end(&d, out);
    return total;
}

START_TEST(an_episode_depends_on_its_seed_and_not_on_what_was_played_before)
{
    static const char *const policies[] = {NULL, "forage", "forage_alone"};
    struct digest first, other, again;
    struct env_step last;
    for (size_t i = 0; i < sizeof policies / sizeof policies[0]; i++) {
        open_task("Foraging-10x10-4p-3f-v2");
        play(policies[i], 7, &first, &last);
        play(policies[i], 8, &other, &last);
        ck_assert_int_eq(lbf->reset(env, 9), 0); /* an episode given up */
        play(policies[i], 7, &again, &last);
        ck_assert_mem_eq(&first, &again, sizeof first);
        ck_assert_mem_ne(&first, &other, sizeof first);
        open_task("Foraging-10x10-4p-3f-v2");
        play(policies[i], 7, &again, &last);
        ck_assert_mem_eq(&first, &again, sizeof first);
    }
}
END_TEST

START_TEST(specifications_have_the_published_sizes)
{
    static const struct {
        const char *name;
        size_t n, obs, state;
    } tasks[] = {
        {"Foraging-2s-8x8-2p-2f-coop-v2", 2, 12, 24},
        {"Foraging-10x10-3p-5f-v2", 3, 24, 72},
        {"Foraging-10x10-4p-3f-v3", 4, 21, 84},
        {"Foraging-15x15-4p-5f-v3", 4, 27, 108},
    };
    for (size_t i = 0; i < sizeof tasks / sizeof tasks[0]; i++) {
        open_task(tasks[i].name);
        ck_assert_uint_eq(spec.n_agents, tasks[i].n);
        ck_assert_uint_eq(spec.obs, tasks[i].obs);
        ck_assert_uint_eq(spec.state, tasks[i].state);
        ck_assert_uint_eq(spec.actions, 6);
        ck_assert_uint_eq(spec.episode_limit, 50);
        ck_assert(spec.team_reward);
        ck_assert_ptr_nonnull(strstr(spec.line, tasks[i].name));
    }
}
END_TEST

START_TEST(spawn_rules_differ_in_the_specification_hash)
{
    struct env_spec v2;
    open_task("Foraging-10x10-3p-5f-v2");
    v2 = spec;
    open_task("Foraging-10x10-3p-5f-v3");
    ck_assert_mem_ne(v2.hash, spec.hash, sizeof spec.hash);
}
END_TEST

START_TEST(every_listed_task_plays_and_nothing_is_written_beyond_its_sizes)
{
    struct digest d;
    struct env_step last;
    for (const char *const *name = lbf->maps(); *name; name++) {
        open_task(*name);
        size_t n = spec.n_agents * spec.obs;
        ck_assert_uint_lt(n, OBS_MAX);
        obs[n] = state[n] = -7;
        play(NULL, 1, &d, &last);
        ck_assert_float_eq(obs[n], -7);
        ck_assert_float_eq(state[n], -7);
        ck_assert_mem_eq(obs, state, n * sizeof obs[0]);
        for (size_t i = 0; i < spec.n_agents * spec.actions; i++)
            ck_assert_uint_eq(avail[i], 1);
    }
}
END_TEST

START_TEST(running_out_of_steps_is_a_terminal_end_and_not_a_win)
{
    struct env_step out;
    size_t steps = 0;
    open_task("Foraging-15x15-3p-5f-v3");
    ck_assert_int_eq(lbf->reset(env, 3), 0);
    memset(action, LBF_NONE, sizeof action);
    do {
        ck_assert_int_eq(lbf->step(env, action, &out), 0);
        steps++;
    } while (out.end == ENV_RUNNING);
    ck_assert_int_eq(out.end, ENV_TERMINAL);
    ck_assert_uint_eq(steps, 50);
    ck_assert(!out.won);
    ck_assert_int_eq(lbf->step(env, action, &out), ERR_INVAL);
    ck_assert_int_eq(lbf->step_script(env, "forage", &out), ERR_INVAL);
    ck_assert_ptr_nonnull(strstr(err_text(), "reset first"));
}
END_TEST

START_TEST(taking_all_food_wins_and_the_team_has_earned_one)
{
    struct digest d;
    struct env_step last;
    int wins = 0;
    open_task("Foraging-8x8-2p-2f-coop-v3");
    for (uint64_t seed = 0; seed < 100; seed++) {
        double total = play("forage", seed, &d, &last);
        ck_assert_int_eq(last.end, ENV_TERMINAL);
        ck_assert_msg(last.won ? total > 0.99999 && total < 1.00001 : total < 0.99,
                      "won %d with %g", last.won, total);
        wins += last.won;
    }
    ck_assert_msg(wins >= 95, "%d of 100", wins);
}
END_TEST

static double mean_return(const char *task, const char *policy)
{
    struct digest d;
    struct env_step last;
    double sum = 0;
    open_task(task);
    for (uint64_t seed = 0; seed < 200; seed++)
        sum += play(policy, seed, &d, &last) / 200;
    return sum;
}

START_TEST(teams_that_go_together_earn_more_than_loners_and_these_more_than_chance)
{
    double together = mean_return("Foraging-10x10-3p-5f-v2", "forage");
    double alone = mean_return("Foraging-10x10-3p-5f-v2", "forage_alone");
    double chance = mean_return("Foraging-10x10-3p-5f-v2", NULL);
    ck_assert_msg(together > 0.8, "together %g", together);
    ck_assert_msg(alone > 0.3 && alone < 0.5, "alone %g", alone);
    ck_assert_msg(chance > 0.09 && chance < 0.19, "chance %g", chance);
    ck_assert_double_le(mean_return("Foraging-8x8-2p-2f-coop-v3", "forage_alone"), 0.02);
}
END_TEST

START_TEST(unknown_names_and_actions_are_refused_with_the_remedy)
{
    struct env_step out;
    const struct env_class *c;
    ck_assert_int_eq(env_find("lbv", &c), ERR_CONFIG);
    ck_assert_ptr_nonnull(strstr(err_text(), "'lbf'"));
    strcpy(cfg.env.map, "Foraging-10x10-3p-5-v3");
    ck_assert_int_eq(lbf->spec(&cfg, &spec), ERR_CONFIG);
    ck_assert_ptr_nonnull(strstr(err_text(), "Foraging-10x10-3p-5f-v2"));
    ck_assert_int_eq(lbf->open(&cfg, &env), ERR_CONFIG);
    open_task("Foraging-8x8-2p-2f-coop-v3");
    ck_assert_int_eq(lbf->step(env, (const uint8_t[]){0, 6}, &out), ERR_INVAL);
    ck_assert_ptr_nonnull(strstr(err_text(), "agent 1: action 6"));
    ck_assert_int_eq(lbf->step_script(env, "kiting", &out), ERR_NOTFOUND);
    ck_assert_ptr_nonnull(strstr(err_text(), "forage_alone"));
}
END_TEST

START_TEST(the_description_draws_everything_and_refuses_a_small_buffer)
{
    char text[256], small[64];
    open_task("Foraging-8x8-2p-2f-coop-v3");
    ck_assert_int_eq(lbf->reset(env, 1), 0);
    ck_assert_int_eq(lbf->describe(env, text, sizeof text), 0);
    char *grid = strchr(text, '\n');
    ck_assert_ptr_nonnull(grid);
    ck_assert_ptr_nonnull(strstr(text, "step 0 of 50: 2 foods left"));
    ck_assert_uint_eq(strlen(grid), 1 + 8 * 9);
    ck_assert(strchr(grid, 'A') && strchr(grid, 'B'));
    ck_assert_uint_eq(strspn(grid, "\n.AB234"), strlen(grid));
    ck_assert_int_eq(lbf->describe(env, small, sizeof small), ERR_INVAL);
    ck_assert_ptr_nonnull(strstr(err_text(), "64 bytes"));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("lbf_env");
    TCase *t = tcase_create("environment");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, an_episode_depends_on_its_seed_and_not_on_what_was_played_before);
    tcase_add_test(t, specifications_have_the_published_sizes);
    tcase_add_test(t, spawn_rules_differ_in_the_specification_hash);
    tcase_add_test(t, every_listed_task_plays_and_nothing_is_written_beyond_its_sizes);
    tcase_add_test(t, running_out_of_steps_is_a_terminal_end_and_not_a_win);
    tcase_add_test(t, taking_all_food_wins_and_the_team_has_earned_one);
    tcase_add_test(t, teams_that_go_together_earn_more_than_loners_and_these_more_than_chance);
    tcase_add_test(t, unknown_names_and_actions_are_refused_with_the_remedy);
    tcase_add_test(t, the_description_draws_everything_and_refuses_a_small_buffer);
    suite_add_tcase(s, t);
    return run_suite(s);
}
