/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions without sockets: peers are made up, the clock is an argument. */
#include "session.h"
#include "suite.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct sessions t;
static struct session_rules rules;
static struct wire_error why;
static uint32_t replaced;

static const struct session_times times = {.lost_ms = 4000, .gone_ms = 60000, .ban_ms = 60000};

static void open_table(void)
{
    ck_assert_int_eq(sessions_init(&t, times), 0);
    memset(&rules, 0, sizeof rules);
    snprintf(rules.pin.build, sizeof rules.pin.build, "0.1.0");
    snprintf(rules.pin.library, sizeof rules.pin.library, "libxsmm");
    rules.check_pin = true;
}

static void close_table(void)
{
    sessions_fini(&t);
}

static struct link_peer peer(int id)
{
    struct link_peer p = {.n = 5};
    memset(p.id, id, 5);
    return p;
}

static struct wire_hello hello(enum wire_role role, int worker, uint64_t incarnation)
{
    struct wire_hello h = {.proto_min = 1, .proto_max = 1, .role = role, .slots = 2};
    memset(h.worker_id, worker, WIRE_ID);
    h.incarnation = incarnation;
    snprintf(h.build, sizeof h.build, "0.1.0");
    snprintf(h.text, sizeof h.text, "host:%d", worker);
    return h;
}

static struct session *join(enum wire_role role, int worker, uint64_t incarnation, int64_t now)
{
    struct wire_hello h = hello(role, worker, incarnation);
    struct link_peer p = peer(worker);
    unsigned char token[WIRE_ID];
    memset(token, 100 + worker + (int)incarnation, WIRE_ID);
    return sessions_hello(&t, &rules, &h, &p, token, now, &replaced, &why);
}

START_TEST(hello_makes_a_session_and_its_first_message_makes_it_active)
{
    struct session *s = join(ROLE_ACTOR, 1, 7, 0);
    ck_assert_ptr_nonnull(s);
    ck_assert_int_eq(s->state, SESSION_NEW);
    struct link_peer p = peer(1);
    ck_assert_ptr_eq(sessions_touch(&t, PLANE_CONTROL, &p, s->token, 10), s);
    ck_assert_int_eq(s->state, SESSION_ACTIVE);
}
END_TEST

START_TEST(a_token_binds_the_peer_of_each_plane_at_first_use)
{
    struct session *s = join(ROLE_ACTOR, 1, 7, 0);
    struct link_peer data = peer(50);
    ck_assert_ptr_null(sessions_by_peer(&t, PLANE_DATA, &data));
    ck_assert_ptr_eq(sessions_touch(&t, PLANE_DATA, &data, s->token, 1), s);
    ck_assert_ptr_eq(sessions_by_peer(&t, PLANE_DATA, &data), s);
    ck_assert_ptr_null(sessions_by_peer(&t, PLANE_WEIGHTS, &data));
}
END_TEST

START_TEST(an_unknown_token_has_no_session)
{
    unsigned char token[WIRE_ID] = {9};
    struct link_peer p = peer(1);
    join(ROLE_ACTOR, 1, 7, 0);
    ck_assert_ptr_null(sessions_touch(&t, PLANE_DATA, &p, token, 1));
}
END_TEST

START_TEST(four_silent_seconds_make_a_session_lost_and_a_minute_makes_it_gone)
{
    uint32_t lost[4];
    struct session *s = join(ROLE_ACTOR, 1, 7, 0);
    ck_assert_uint_eq(sessions_tick(&t, 3999, lost, 4), 0);
    ck_assert_uint_eq(sessions_tick(&t, 4000, lost, 4), 1);
    ck_assert_uint_eq(lost[0], s->uid);
    ck_assert_uint_eq(sessions_tick(&t, 5000, lost, 4), 0);
    ck_assert_int_eq(s->state, SESSION_LOST);
    sessions_tick(&t, 60000, lost, 4);
    ck_assert_int_eq(s->state, SESSION_GONE);
}
END_TEST

START_TEST(a_lost_worker_that_speaks_again_is_active_and_keeps_its_session)
{
    uint32_t lost[4];
    struct session *s = join(ROLE_PLANNER, 1, 7, 0);
    struct link_peer p = peer(1);
    sessions_tick(&t, 4000, lost, 4);
    ck_assert_ptr_eq(sessions_touch(&t, PLANE_CONTROL, &p, s->token, 9000), s);
    ck_assert_int_eq(s->state, SESSION_ACTIVE);
    ck_assert_uint_eq(sessions_tick(&t, 9001, lost, 4), 0);
}
END_TEST

START_TEST(reconnecting_with_the_same_incarnation_resumes_the_session)
{
    struct session *s = join(ROLE_ACTOR, 1, 7, 0);
    uint32_t uid = s->uid;
    s = join(ROLE_ACTOR, 1, 7, 100);
    ck_assert_uint_eq(s->uid, uid);
    ck_assert_uint_eq(replaced, 0);
    ck_assert_uint_eq(sessions_count(&t, ROLE_ACTOR), 1);
}
END_TEST

START_TEST(a_restarted_worker_replaces_its_earlier_life)
{
    uint32_t uid = join(ROLE_ACTOR, 1, 7, 0)->uid;
    struct session *s = join(ROLE_ACTOR, 1, 8, 100);
    ck_assert_uint_eq(replaced, uid);
    ck_assert_uint_ne(s->uid, uid);
    ck_assert_ptr_null(sessions_by_uid(&t, uid));
    ck_assert_uint_eq(sessions_count(&t, ROLE_ACTOR), 1);
}
END_TEST

START_TEST(another_protocol_version_is_refused_for_good_with_both_figures)
{
    struct wire_hello h = hello(ROLE_ACTOR, 1, 1);
    struct link_peer p = peer(1);
    unsigned char token[WIRE_ID] = {1};
    h.proto_min = h.proto_max = 9;
    ck_assert_ptr_null(sessions_hello(&t, &rules, &h, &p, token, 0, &replaced, &why));
    ck_assert_uint_eq(why.code, WIRE_ERR_VERSION);
    ck_assert(!why.retryable);
    ck_assert_ptr_nonnull(strstr(why.text, "9"));
}
END_TEST

START_TEST(another_build_is_refused_in_lockstep_naming_both)
{
    struct wire_hello h = hello(ROLE_PLANNER, 1, 1);
    struct link_peer p = peer(1);
    unsigned char token[WIRE_ID] = {1};
    snprintf(h.build, sizeof h.build, "0.2.0");
    ck_assert_ptr_null(sessions_hello(&t, &rules, &h, &p, token, 0, &replaced, &why));
    ck_assert_uint_eq(why.code, WIRE_ERR_PIN);
    ck_assert(!why.retryable);
    ck_assert_ptr_nonnull(strstr(why.text, "0.1.0"));
    ck_assert_ptr_nonnull(strstr(why.text, "0.2.0"));
    rules.check_pin = false;
    ck_assert_ptr_nonnull(sessions_hello(&t, &rules, &h, &p, token, 0, &replaced, &why));
}
END_TEST

static struct session *join_in(enum wire_role role, const char *precision)
{
    struct wire_hello h = hello(role, 1, 1);
    struct link_peer p = peer(1);
    unsigned char token[WIRE_ID] = {1};
    snprintf(h.precision, sizeof h.precision, "%s", precision);
    return sessions_hello(&t, &rules, &h, &p, token, 0, &replaced, &why);
}

START_TEST(a_planner_without_the_runs_precision_is_refused_naming_both)
{
    snprintf(rules.pin.precision, sizeof rules.pin.precision, "bf16");
    ck_assert_ptr_null(join_in(ROLE_PLANNER, "float32"));
    ck_assert_uint_eq(why.code, WIRE_ERR_PIN);
    ck_assert(!why.retryable);
    ck_assert_ptr_nonnull(strstr(why.text, "bf16"));
    ck_assert_ptr_nonnull(strstr(why.text, "float32"));
    ck_assert_ptr_nonnull(join_in(ROLE_PLANNER, "bf16"));
    ck_assert_ptr_nonnull(join_in(ROLE_ACTOR, ""));
    /* whoever has half precision may do without */
    snprintf(rules.pin.precision, sizeof rules.pin.precision, "float32");
    ck_assert_ptr_nonnull(join_in(ROLE_PLANNER, "bf16"));
    /* the reference has every kind on every CPU */
    snprintf(rules.pin.precision, sizeof rules.pin.precision, "bf16");
    snprintf(rules.pin.isa, sizeof rules.pin.isa, "ref");
    ck_assert_ptr_nonnull(join_in(ROLE_PLANNER, "float32"));
    rules.pin.isa[0] = 0;
    rules.check_pin = false;
    ck_assert_ptr_nonnull(join_in(ROLE_PLANNER, "float32"));
}
END_TEST

START_TEST(three_strikes_ban_a_session_for_a_minute)
{
    struct session *s = join(ROLE_ACTOR, 1, 7, 0);
    ck_assert(!sessions_strike(&t, s, 10));
    ck_assert(!sessions_strike(&t, s, 20));
    ck_assert(sessions_strike(&t, s, 30));
    ck_assert(session_banned(s, 60029));
    ck_assert(!session_banned(s, 60030));
    ck_assert_ptr_null(join(ROLE_ACTOR, 1, 7, 1000));
    ck_assert_uint_eq(why.code, WIRE_ERR_BANNED);
    ck_assert(why.retryable);
}
END_TEST

START_TEST(work_goes_to_the_free_worker_served_least_and_ties_to_the_first_hello)
{
    uint32_t free_slots[SESSIONS_MAX] = {0};
    struct session *s[3];
    for (int i = 0; i < 3; i++) {
        s[i] = join(ROLE_ACTOR, i + 1, 1, 0);
        free_slots[s[i] - t.s] = 4;
    }
    for (int i = 0; i < 6; i++) {
        struct session *got = sessions_pick(&t, ROLE_ACTOR, free_slots, 0);
        ck_assert_ptr_eq(got, s[i % 3]);
        got->served++;
    }
    free_slots[s[0] - t.s] = 0;
    ck_assert_ptr_eq(sessions_pick(&t, ROLE_ACTOR, free_slots, 0), s[1]);
    ck_assert_ptr_null(sessions_pick(&t, ROLE_PLANNER, free_slots, 0));
}
END_TEST

START_TEST(a_newcomer_starts_level_with_the_others)
{
    struct session *old = join(ROLE_ACTOR, 1, 1, 0);
    old->served = 500;
    ck_assert_uint_eq(join(ROLE_ACTOR, 2, 1, 0)->served, 500);
    ck_assert_uint_eq(join(ROLE_PLANNER, 3, 1, 0)->served, 0);
}
END_TEST

START_TEST(each_role_may_send_its_own_messages_only)
{
    ck_assert(session_may(ROLE_ACTOR, PLANE_DATA, WIRE_EPISODE));
    ck_assert(!session_may(ROLE_ACTOR, PLANE_DATA, WIRE_RESULT));
    ck_assert(!session_may(ROLE_ACTOR, PLANE_DATA, WIRE_WANT));
    ck_assert(session_may(ROLE_PLANNER, PLANE_DATA, WIRE_RESULT));
    ck_assert(!session_may(ROLE_PLANNER, PLANE_DATA, WIRE_EPISODE));
    ck_assert(!session_may(ROLE_ACTOR, PLANE_CONTROL, WIRE_CHECKPOINT));
    ck_assert(!session_may(ROLE_PLANNER, PLANE_CONTROL, WIRE_DRAIN_ALL));
    ck_assert(session_may(ROLE_ADMIN, PLANE_CONTROL, WIRE_DRAIN_ALL));
    ck_assert(!session_may(ROLE_ADMIN, PLANE_WEIGHTS, WIRE_GET));
}
END_TEST

START_TEST(credit_is_a_share_of_the_budget_and_never_below_two_episodes)
{
    const uint64_t mb = 1 << 20;
    struct credit c = credit_grant(256 * mb, mb, 0, 4, 2);
    ck_assert_uint_eq(c.bytes, 64 * mb);
    ck_assert_uint_eq(c.episodes, 3);
    c = credit_grant(256 * mb, 40 * mb, 0, 64, 1);
    ck_assert_uint_eq(c.bytes, 80 * mb);
    ck_assert_uint_eq(c.episodes, 2);
}
END_TEST

START_TEST(a_store_that_is_behind_grants_nothing)
{
    const uint64_t mb = 1 << 20;
    struct credit c = credit_grant(16 * mb, mb, 16 * mb, 2, 4);
    ck_assert_uint_eq(c.bytes, 0);
    ck_assert_uint_eq(c.episodes, 0);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("session");
    TCase *tc = tcase_create("table");
    tcase_add_checked_fixture(tc, open_table, close_table);
    tcase_add_test(tc, hello_makes_a_session_and_its_first_message_makes_it_active);
    tcase_add_test(tc, a_token_binds_the_peer_of_each_plane_at_first_use);
    tcase_add_test(tc, an_unknown_token_has_no_session);
    tcase_add_test(tc, four_silent_seconds_make_a_session_lost_and_a_minute_makes_it_gone);
    tcase_add_test(tc, a_lost_worker_that_speaks_again_is_active_and_keeps_its_session);
    tcase_add_test(tc, reconnecting_with_the_same_incarnation_resumes_the_session);
    tcase_add_test(tc, a_restarted_worker_replaces_its_earlier_life);
    tcase_add_test(tc, another_protocol_version_is_refused_for_good_with_both_figures);
    tcase_add_test(tc, another_build_is_refused_in_lockstep_naming_both);
    tcase_add_test(tc, a_planner_without_the_runs_precision_is_refused_naming_both);
    tcase_add_test(tc, three_strikes_ban_a_session_for_a_minute);
    tcase_add_test(tc, work_goes_to_the_free_worker_served_least_and_ties_to_the_first_hello);
    tcase_add_test(tc, a_newcomer_starts_level_with_the_others);
    tcase_add_test(tc, each_role_may_send_its_own_messages_only);
    tcase_add_test(tc, credit_is_a_share_of_the_budget_and_never_below_two_episodes);
    tcase_add_test(tc, a_store_that_is_behind_grants_nothing);
    suite_add_tcase(s, tc);
    return s;
}

int main(void)
{
    return run_suite(suite());
}
