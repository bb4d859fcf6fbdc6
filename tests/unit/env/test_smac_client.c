/* SPDX-License-Identifier: Apache-2.0 */
/* test_smac_client.c - what is asked of the game and when, connections that break included.
 * The link of these tests writes down one letter per request:
 *   L launch  C create  J join  I info  O observe  S step  A actions  K kill  Q quit */
#include "smac_client.h"
#include "smac_stage.h"
#include "suite.h"

#include "base/err.h"

#include <stdlib.h>

static struct stage stage;
static struct smac_client *client;
static char asked[256];
static size_t n_asked, fail_at; /* the request that fails, counted from 1; 0 = none */
static bool always_fail;        /* every observation */
static uint32_t loops;          /* of all step requests */
static size_t late;             /* observations that miss the last unit */

static int ask(void *state, const struct smac_request *q, struct smac_reply *reply)
{
    static const char letter[SMAC_CALLS + 1] = "LCJIOSAKQ";
    struct stage *s = state;
    ck_assert_uint_lt(n_asked, sizeof asked - 1);
    asked[n_asked++] = letter[q->call];
    loops += q->count;
    if (n_asked == fail_at || (always_fail && q->call == CALL_STEP))
        return ERR_CLOSED;
    if (q->call == CALL_GAME_INFO)
        reply->info = s->info;
    if (q->call == CALL_OBSERVE) {
        memcpy(reply->units, s->u, s->n * sizeof s->u[0]);
        reply->n_units = late ? s->n - 1 : s->n;
        late -= late > 0;
    }
    return 0;
}

static void setup(void)
{
    struct smac_options o;
    struct smac_client_options c;
    smac_options_default(&o);
    smac_client_options_default(&c);
    stage_open(&stage, "2m_vs_1z", &o);
    stage_add(&stage, unit(1, OWN_TYPE, 1, 13, 12, 45));
    stage_add(&stage, unit(1, OWN_TYPE, 2, 19, 12, 45));
    stage_add(&stage, shielded(unit(2, 73, 3, 16, 19, 100), 50));
    n_asked = fail_at = 0;
    always_fail = false;
    loops = 0;
    late = 0;
    memset(asked, 0, sizeof asked);
    ck_assert_int_eq(smac_client_open(&client, stage.smac, &c,
                                      (struct smac_link){.ask = ask, .state = &stage}),
                     0);
}

static void teardown(void)
{
    smac_client_close(client);
    smac_close(stage.smac);
}

static void step(void)
{
    static const uint8_t stop[2] = {1, 1};
    ck_assert_int_eq(smac_client_step(client, stop, &stage.result), 0);
}

static struct smac_stats stats(void)
{
    struct smac_stats st;
    smac_client_stats(client, &st);
    return st;
}

START_TEST(the_first_reset_launches_and_later_ones_kill)
{
    ck_assert_int_eq(smac_client_reset(client), 0);
    ck_assert_str_eq(asked, "LCJIO");
    step();
    ck_assert_str_eq(asked, "LCJIOASO");
    ck_assert_uint_eq(loops, 8);
    kill_unit(&stage, 3);
    step();
    ck_assert(stage.result.battle_won);
    ck_assert_uint_eq(stats().battles_won, 1);
    stage_add(&stage, shielded(unit(2, 73, 4, 16, 19, 100), 50));
    ck_assert_int_eq(smac_client_reset(client), 0);
    ck_assert_str_eq(asked, "LCJIOASOASOKSO");
    ck_assert_uint_eq(loops, 8 + 8 + 2);
}
END_TEST

START_TEST(a_connection_lost_in_a_step_restarts_and_counts_no_battle)
{
    ck_assert_int_eq(smac_client_reset(client), 0);
    fail_at = n_asked + 2; /* the step request */
    step();
    ck_assert_str_eq(asked, "LCJIOASQLCJI");
    ck_assert(stage.result.terminated && !stage.result.info_valid);
    ck_assert_uint_eq(stats().restarts, 1);
    ck_assert_uint_eq(stats().battles_game, 0);
    ck_assert_int_eq(smac_client_reset(client), 0); /* no episode finished: launched again */
    ck_assert_str_eq(asked, "LCJIOASQLCJILCJIO");
}
END_TEST

START_TEST(a_connection_lost_while_killing_restarts_the_game)
{
    ck_assert_int_eq(smac_client_reset(client), 0);
    struct smac_unit zealot = *by_tag(&stage, 3);
    kill_unit(&stage, 3);
    step();
    stage_add(&stage, zealot);
    n_asked = 0;
    memset(asked, 0, sizeof asked);
    fail_at = 1;
    ck_assert_int_eq(smac_client_reset(client), 0);
    ck_assert_str_eq(asked, "KQLCJIO");
    ck_assert_uint_eq(stats().restarts, 1);
}
END_TEST

START_TEST(missing_units_are_awaited_one_loop_at_a_time)
{
    late = 2;
    ck_assert_int_eq(smac_client_reset(client), 0);
    ck_assert_str_eq(asked, "LCJIOSOSO");
    ck_assert_uint_eq(loops, 2);
    ck_assert_double_eq(smac_max_reward(stage.smac), 360); /* no enemy was seen early */
}
END_TEST

START_TEST(a_connection_lost_while_waiting_resets_anew_and_counts_the_last_frame_twice)
{
    late = 1;
    fail_at = 6; /* the first waiting step */
    ck_assert_int_eq(smac_client_reset(client), 0);
    ck_assert_str_eq(asked, "LCJIOSQLCJILCJIO");
    ck_assert_double_eq(smac_max_reward(stage.smac), 210 + 150 + 150);
}
END_TEST

START_TEST(a_game_that_is_lost_again_and_again_is_given_up)
{
    stage.n = 2; /* never complete */
    always_fail = true;
    ck_assert_int_eq(smac_client_reset(client), ERR_CLOSED);
    ck_assert_uint_ge(stats().restarts, 2);
}
END_TEST

START_TEST(a_difficulty_that_does_not_exist_is_refused)
{
    struct smac_client *c;
    struct smac_client_options o;
    smac_client_options_default(&o);
    o.difficulty = 11;
    ck_assert_int_eq(smac_client_open(&c, stage.smac, &o, (struct smac_link){0}), ERR_INVAL);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("smac_client");
    TCase *t = tcase_create("requests");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, the_first_reset_launches_and_later_ones_kill);
    tcase_add_test(t, a_connection_lost_in_a_step_restarts_and_counts_no_battle);
    tcase_add_test(t, a_connection_lost_while_killing_restarts_the_game);
    tcase_add_test(t, missing_units_are_awaited_one_loop_at_a_time);
    tcase_add_test(t,
                   a_connection_lost_while_waiting_resets_anew_and_counts_the_last_frame_twice);
    tcase_add_test(t, a_game_that_is_lost_again_and_again_is_given_up);
    tcase_add_test(t, a_difficulty_that_does_not_exist_is_refused);
    suite_add_tcase(s, t);
    return run_suite(s);
}
