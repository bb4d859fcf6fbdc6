/* SPDX-License-Identifier: Apache-2.0 */
/* Lockstep's counts and where a resumed run goes on. */
#include "suite.h"

#include "learner/schedule.h"

#include <check.h>
#include <stdlib.h>

static struct config cfg;

static void paper(void)
{
    config_defaults(&cfg);
    cfg.collect.episodes = 1;
    cfg.collect.scale_updates = true;
    cfg.train.model_steps = 60;
    cfg.train.rm_steps = 60;
    cfg.train.batches = 4;
    cfg.train.warmup_model_steps = 0;
    cfg.train.warmup_rm_steps = 0;
    cfg.imagine.search = SEARCH_SHOOTING;
    cfg.replay.min = 500;
    cfg.train.stop.env_steps = cfg.train.stop.iterations = cfg.train.stop.seconds = 0;
}

START_TEST(updates_are_per_episode_unless_told_otherwise)
{
    struct schedule_counts c;
    cfg.collect.episodes = 3;
    schedule_counts(&cfg, 1, &c);
    ck_assert_uint_eq(c.episodes, 3);
    ck_assert_uint_eq(c.model_steps, 180);
    ck_assert_uint_eq(c.rm_steps, 180);
    ck_assert_uint_eq(c.batches, 12);
    cfg.collect.scale_updates = false;
    schedule_counts(&cfg, 1, &c);
    ck_assert_uint_eq(c.model_steps, 60);
    ck_assert_uint_eq(c.batches, 4);
}
END_TEST

START_TEST(the_warm_up_trains_models_by_its_own_counts_and_no_policy)
{
    struct schedule_counts c;
    cfg.collect.episodes = 8;
    cfg.train.warmup_model_steps = 650;
    cfg.train.warmup_rm_steps = 300;
    schedule_counts(&cfg, 0, &c);
    ck_assert_uint_eq(c.model_steps, 650);
    ck_assert_uint_eq(c.rm_steps, 300);
    ck_assert_uint_eq(c.batches, 0);
}
END_TEST

START_TEST(without_planning_there_are_no_steps_of_the_model_reward_network)
{
    struct schedule_counts c;
    cfg.imagine.search = SEARCH_NONE;
    schedule_counts(&cfg, 1, &c);
    ck_assert_uint_eq(c.rm_steps, 0);
    ck_assert_uint_eq(c.model_steps, 60);
}
END_TEST

START_TEST(rates_fall_linearly_to_what_is_to_be_left)
{
    ck_assert_double_eq(schedule_rate(&cfg, 0), 1); /* paper: never */
    ck_assert_double_eq(schedule_rate(&cfg, 1000000), 1);
    cfg.lr.anneal = 800;
    cfg.lr.final = 0.25;
    ck_assert_double_eq(schedule_rate(&cfg, 0), 1);
    ck_assert_double_eq_tol(schedule_rate(&cfg, 400), 0.625, 1e-15);
    ck_assert_double_eq(schedule_rate(&cfg, 800), 0.25);
    ck_assert_double_eq(schedule_rate(&cfg, 5000), 0.25);
}
END_TEST

START_TEST(the_warm_up_collects_until_replay_holds_its_minimum)
{
    ck_assert(!schedule_collected(&cfg, 0, 499));
    ck_assert(schedule_collected(&cfg, 0, 500));
    ck_assert(schedule_collected(&cfg, 3, 0));
}
END_TEST

START_TEST(one_iteration_passes_through_all_phases_step_by_step)
{
    struct ckpt_state st = {.iteration = 1, .phase = PHASE_COLLECT, .next_episode = 9};
    unsigned long steps[4] = {0};
    bool ended = false;
    while (!ended) {
        ck_assert_uint_eq(st.step, steps[st.phase]);
        steps[st.phase]++;
        ended = schedule_advance(&cfg, &st);
    }
    ck_assert_uint_eq(steps[PHASE_COLLECT], 1);
    ck_assert_uint_eq(steps[PHASE_MODEL], 60);
    ck_assert_uint_eq(steps[PHASE_RM], 60);
    ck_assert_uint_eq(steps[PHASE_POLICY], 4);
    ck_assert_uint_eq(st.iteration, 2);
    ck_assert_int_eq(st.phase, PHASE_COLLECT);
    ck_assert_uint_eq(st.step, 0);
    ck_assert_uint_eq(st.phase_first_episode, 9);
}
END_TEST

START_TEST(going_on_from_any_cut_gives_the_same_rest_of_the_iteration)
{
    /* Whoever holds (iteration, phase, step) knows all that is left. */
    struct ckpt_state whole = {.iteration = 2, .phase = PHASE_COLLECT};
    unsigned long left = 0, total = 1 + 60 + 60 + 4;
    for (bool ended = false; !ended; left++) {
        struct ckpt_state resumed = whole;
        unsigned long rest = 0;
        for (bool end2 = false; !end2; rest++)
            end2 = schedule_advance(&cfg, &resumed);
        ck_assert_uint_eq(rest, total - left);
        ended = schedule_advance(&cfg, &whole);
    }
}
END_TEST

START_TEST(empty_phases_are_passed_over)
{
    struct ckpt_state st = {.iteration = 0, .phase = PHASE_COLLECT};
    ck_assert(schedule_next_phase(&cfg, &st)); /* no warm-up steps at all */
    ck_assert_uint_eq(st.iteration, 1);
    cfg.imagine.search = SEARCH_NONE;
    st = (struct ckpt_state){.iteration = 1, .phase = PHASE_MODEL, .step = 59};
    ck_assert(!schedule_advance(&cfg, &st));
    ck_assert_int_eq(st.phase, PHASE_POLICY);
}
END_TEST

START_TEST(k_iterations_are_k_that_train)
{
    struct ckpt_state st = {.iteration = 3};
    cfg.train.stop.iterations = 3;
    ck_assert_ptr_null(schedule_stop(&cfg, &st, 0));
    st.iteration = 4;
    ck_assert_str_eq(schedule_stop(&cfg, &st, 0), "iterations");
}
END_TEST

START_TEST(the_first_bound_reached_stops)
{
    struct ckpt_state st = {.iteration = 1, .env_steps = 1000};
    cfg.train.stop.env_steps = 1000;
    cfg.train.stop.seconds = 60;
    ck_assert_str_eq(schedule_stop(&cfg, &st, 10), "env_steps");
    st.env_steps = 999;
    ck_assert_ptr_null(schedule_stop(&cfg, &st, 59));
    ck_assert_str_eq(schedule_stop(&cfg, &st, 60), "seconds");
}
END_TEST

START_TEST(an_evaluation_is_due_once_after_every_so_many_iterations)
{
    struct ckpt_state st = {.iteration = 10, .phase = PHASE_COLLECT};
    cfg.eval.every = 10;
    ck_assert(!schedule_eval_due(&cfg, &st)); /* nine are done */
    st.iteration = 11;
    ck_assert(schedule_eval_due(&cfg, &st));
    st.eval_round = 2;
    ck_assert(!schedule_eval_due(&cfg, &st));
    st.iteration = 21;
    ck_assert(schedule_eval_due(&cfg, &st));
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("schedule");
    TCase *tc = tcase_create("lockstep");
    tcase_add_checked_fixture(tc, paper, NULL);
    tcase_add_test(tc, updates_are_per_episode_unless_told_otherwise);
    tcase_add_test(tc, the_warm_up_trains_models_by_its_own_counts_and_no_policy);
    tcase_add_test(tc, without_planning_there_are_no_steps_of_the_model_reward_network);
    tcase_add_test(tc, rates_fall_linearly_to_what_is_to_be_left);
    tcase_add_test(tc, the_warm_up_collects_until_replay_holds_its_minimum);
    tcase_add_test(tc, one_iteration_passes_through_all_phases_step_by_step);
    tcase_add_test(tc, going_on_from_any_cut_gives_the_same_rest_of_the_iteration);
    tcase_add_test(tc, empty_phases_are_passed_over);
    tcase_add_test(tc, k_iterations_are_k_that_train);
    tcase_add_test(tc, the_first_bound_reached_stops);
    tcase_add_test(tc, an_evaluation_is_due_once_after_every_so_many_iterations);
    suite_add_tcase(s, tc);
    return s;
}

int main(void)
{
    return run_suite(suite());
}
