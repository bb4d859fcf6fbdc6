/* SPDX-License-Identifier: Apache-2.0 */
/* test_actor.c - a whole actor against a scripted learner, and its table of held episodes. */
#include "fake_learner.h"
#include "suite.h"

#include "held.h"

#include "actor/actor.h"
#include "base/err.h"
#include "base/log.h"

#include <check.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

static struct fake_learner f;

static int run_actor(const struct config *cfg)
{
    struct actor_cfg c = {.cfg = cfg, .slots = 2, .version = "test"};
    return actor_main(&c);
}

static void setup(void)
{
    log_init("actor", "", getenv("MAG_TEST_LOG") ? LOG_DEBUG : LOG_ERROR, LOG_TEXT);
    fake_open(&f, NULL);
}

static void teardown(void)
{
    fake_close(&f);
}

static void play(enum wire_kind kind, uint64_t no, uint64_t seed, size_t set)
{
    static struct wire_control c;
    memset(&c, 0, sizeof c);
    c.type = WIRE_PLAY;
    c.u.play = (struct wire_play){
        .kind = kind, .episode_no = no, .seed = seed, .lease_ms = 5000, .set = f.set[set]};
    fake_send_control(&f, &c);
}

/* The next EPISODE, parsed; views live until the next message. */
static void next_episode(struct wire_episode *e)
{
    fake_expect(&f, WIRE_EPISODE);
    ck_assert_msg(wire_episode_parse(e, f.msg.body, f.msg.n) == 0, "%s", err_text());
}

static void ack(uint64_t durable)
{
    struct wire_ack a = {.durable_seq = durable,
                         .credit_episodes = f.credit_episodes,
                         .credit_bytes = f.credit_bytes};
    unsigned char *body;
    size_t n;
    ck_assert_int_eq(wire_ack_pack(&a, &body, &n), 0);
    f.durable_seq = durable;
    fake_send(&f, PLANE_DATA, WIRE_ACK, body, n);
}

static void nack(uint64_t seq, uint32_t reason)
{
    struct wire_nack m = {.seq = seq, .reason = reason, .text = "test"};
    unsigned char *body;
    size_t n;
    ck_assert_int_eq(wire_nack_pack(&m, &body, &n), 0);
    fake_send(&f, PLANE_DATA, WIRE_NACK, body, n);
}

static void wait_hello(void)
{
    while (!f.hellos)
        fake_next(&f, 100);
}

static void digest_episode(const struct wire_episode *e, size_t set, struct digest *out)
{
    struct digest d;
    wire_set_digest(&f.set[set], &d);
    wire_episode_digest(e, &d, out);
}

static void leave(void)
{
    fake_drain(&f, 5000);
    fake_expect(&f, WIRE_BYE);
    ck_assert_int_eq(fake_join(&f), EXIT_OK);
}

START_TEST(an_actor_plays_what_it_is_told_and_leaves_when_drained)
{
    struct wire_episode e;
    fake_start(&f, run_actor);
    wait_hello();
    ck_assert_int_eq(f.hello.role, ROLE_ACTOR);
    ck_assert_uint_eq(f.hello.slots, 2);
    ck_assert_str_eq(f.hello.build, "test");
    play(KIND_TRAIN, 40, 1234, 0);
    next_episode(&e);
    ck_assert_mem_eq(e.token, f.token, WIRE_ID);
    ck_assert_mem_eq(e.worker_id, f.hello.worker_id, WIRE_ID);
    ck_assert_uint_eq(e.incarnation, f.hello.incarnation);
    ck_assert_uint_eq(e.seq, 1);
    ck_assert_uint_eq(e.episode_no, 40);
    ck_assert_uint_eq(e.seed, 1234);
    ck_assert_uint_eq(e.set_id, 1);
    ck_assert_uint_eq(e.N, f.spec.n_agents);
    ck_assert_uint_eq(e.O, f.spec.obs);
    ck_assert_uint_eq(e.A, f.spec.actions);
    ck_assert_uint_ge(e.T, 1);
    ck_assert_uint_le(e.T, f.spec.episode_limit);
    ck_assert_mem_eq(e.spec_hash, f.spec.hash, 16);
    ack(1);
    leave();
    ck_assert_uint_gt(f.gets, 0);
}
END_TEST

START_TEST(an_episode_is_the_same_in_any_company_on_any_number_of_threads)
{
    struct wire_episode e;
    struct digest d[4], again;
    f.local.compute.threads = 2;
    fake_start(&f, run_actor);
    wait_hello();
    for (uint64_t no = 0; no < 4; no++) /* two at a time, of one set, then also of two */
        play(KIND_TRAIN, no, 500 + no, no / 2);
    for (int i = 0; i < 4; i++) {
        next_episode(&e);
        digest_episode(&e, e.episode_no / 2, &d[e.episode_no]);
        ack(e.seq);
    }
    leave();
    f.hellos = 0;
    f.durable_seq = 0;
    f.local.compute.threads = 1;
    fake_start(&f, run_actor);
    wait_hello();
    for (uint64_t no = 4; no-- > 0;) { /* alone, backwards */
        play(KIND_TRAIN, no, 500 + no, no / 2);
        next_episode(&e);
        digest_episode(&e, no / 2, &again);
        ck_assert_mem_eq(again.b, d[no].b, DIGEST_BYTES);
        ack(e.seq);
    }
    leave();
}
END_TEST

START_TEST(other_weights_or_seeds_give_other_episodes)
{
    struct wire_episode e;
    struct digest d[3];
    fake_start(&f, run_actor);
    wait_hello();
    for (uint64_t i = 0; i < 3; i++) {
        play(KIND_TRAIN, 9, i == 1 ? 2 : 1, i == 2 ? 1 : 0);
        next_episode(&e);
        digest_episode(&e, 0, &d[i]);
        ack(e.seq);
        while (f.ping.running_count) /* until it is forgotten, the number is taken */
            fake_next(&f, 50);
        fake_next(&f, 300);
    }
    ck_assert_mem_ne(d[0].b, d[1].b, DIGEST_BYTES);
    ck_assert_mem_ne(d[0].b, d[2].b, DIGEST_BYTES);
    leave();
}
END_TEST

START_TEST(a_second_play_of_an_unacknowledged_episode_is_ignored)
{
    struct wire_episode e;
    fake_start(&f, run_actor);
    wait_hello();
    play(KIND_TRAIN, 5, 1, 0);
    play(KIND_TRAIN, 5, 1, 0);
    next_episode(&e);
    play(KIND_TRAIN, 5, 1, 0);
    play(KIND_EVAL, 5, 1, 0); /* another kind: another episode */
    next_episode(&e);
    ck_assert_int_eq(e.kind, KIND_EVAL);
    ck_assert_uint_eq(e.seq, 2);
    ack(2);
    fake_quiet(&f, WIRE_EPISODE, 500);
    leave();
}
END_TEST

START_TEST(what_is_played_or_unacknowledged_renews_its_lease)
{
    struct wire_episode e;
    fake_start(&f, run_actor);
    wait_hello();
    play(KIND_TRAIN, 31, 1, 0);
    next_episode(&e);
    f.ping.running_count = 0;
    f.pings = 0;
    while (f.pings < 2)
        fake_next(&f, 50);
    ck_assert_uint_eq(f.ping.running_count, 1);
    ck_assert_uint_eq(f.ping.running[0].job_id, 31);
    ck_assert_uint_eq(f.ping.running[0].attempt, KIND_TRAIN);
    ck_assert_uint_eq(f.ping.queue, 1);
    ack(1);
    f.pings = 0;
    while (f.pings < 2)
        fake_next(&f, 50);
    ck_assert_uint_eq(f.ping.running_count, 0);
    leave();
}
END_TEST

START_TEST(without_an_ack_the_same_bytes_come_again)
{
    struct wire_episode e;
    struct digest a, b;
    fake_start(&f, run_actor);
    wait_hello();
    play(KIND_TRAIN, 6, 1, 0);
    next_episode(&e);
    digest_episode(&e, 0, &a);
    next_episode(&e);
    digest_episode(&e, 0, &b);
    ck_assert_uint_eq(e.seq, 1);
    ck_assert_mem_eq(a.b, b.b, DIGEST_BYTES);
    ack(1);
    leave();
}
END_TEST

START_TEST(a_nack_for_crc_brings_it_again_and_a_permanent_one_does_not)
{
    struct wire_episode e;
    fake_start(&f, run_actor);
    wait_hello();
    play(KIND_TRAIN, 7, 1, 0);
    next_episode(&e);
    nack(1, NACK_CRC);
    next_episode(&e);
    ck_assert_uint_eq(e.seq, 1);
    nack(1, NACK_REJECTED);
    fake_quiet(&f, WIRE_EPISODE, 1500);
    play(KIND_TRAIN, 7, 1, 0); /* may be played again: it is no longer held */
    next_episode(&e);
    ck_assert_uint_eq(e.seq, 2);
    ack(2);
    leave();
}
END_TEST

START_TEST(no_credit_no_upload)
{
    struct wire_episode e;
    f.credit_episodes = 0;
    fake_start(&f, run_actor);
    wait_hello();
    play(KIND_TRAIN, 8, 1, 0);
    fake_quiet(&f, WIRE_EPISODE, 1000);
    f.credit_episodes = 1; /* the next PONG brings it */
    play(KIND_TRAIN, 9, 1, 0);
    next_episode(&e);
    fake_quiet(&f, WIRE_EPISODE, 600); /* one at a time, and not yet resent */
    ack(1);
    next_episode(&e);
    ck_assert_uint_eq(e.seq, 2);
    ack(2);
    leave();
}
END_TEST

START_TEST(a_lost_session_is_opened_again_and_the_rest_is_sent)
{
    struct wire_episode e;
    fake_start(&f, run_actor);
    wait_hello();
    play(KIND_TRAIN, 1, 1, 0);
    next_episode(&e);
    f.token[0] = 99; /* the learner forgot the session: PING gets ERROR */
    f.hellos = 0;
    do
        next_episode(&e);
    while (e.token[0] != 99);
    ck_assert_uint_ge(f.hellos, 1);
    ck_assert_uint_eq(e.seq, 1);
    ack(1);
    leave();
}
END_TEST

START_TEST(a_restarted_learner_gets_only_what_it_does_not_have)
{
    struct wire_episode e;
    fake_start(&f, run_actor);
    wait_hello();
    play(KIND_TRAIN, 1, 1, 0);
    next_episode(&e);
    play(KIND_TRAIN, 2, 2, 0);
    do
        next_episode(&e);
    while (e.seq != 2);
    f.durable_seq = 1; /* it stored the first and died before the ACK */
    f.hellos = 0;
    fake_restart(&f);
    wait_hello();
    do
        next_episode(&e); /* stale copies of the old session may still arrive */
    while (e.token[0] != f.token[0]);
    ck_assert_uint_eq(e.seq, 2);
    ack(2);
    play(KIND_TRAIN, 3, 3, 0);
    next_episode(&e);
    ck_assert_uint_eq(e.seq, 3);
    ack(3);
    leave();
}
END_TEST

START_TEST(another_run_makes_it_drop_what_it_held)
{
    struct wire_episode e;
    fake_start(&f, run_actor);
    wait_hello();
    play(KIND_TRAIN, 1, 1, 0);
    next_episode(&e);
    memset(f.run_id, 8, WIRE_ID);
    f.hellos = 0;
    fake_restart(&f);
    wait_hello();
    play(KIND_TRAIN, 0, 1, 0);
    do
        next_episode(&e);
    while (e.token[0] != f.token[0]);
    ck_assert_uint_eq(e.episode_no, 0);
    ck_assert_uint_eq(e.seq, 1); /* a stream of its own */
    ack(1);
    leave();
}
END_TEST

START_TEST(free_play_goes_on_until_drained)
{
    struct wire_episode e;
    uint64_t seeds[4];
    fake_start(&f, run_actor);
    wait_hello();
    play(KIND_FREE, 0, 0, 0);
    for (int i = 0; i < 4; i++) {
        next_episode(&e);
        ck_assert_int_eq(e.kind, KIND_FREE);
        ck_assert_uint_eq(e.episode_no, 0);
        seeds[i] = e.seed;
        for (int k = 0; k < i; k++)
            ck_assert_uint_ne(seeds[k], e.seed);
        ack(e.seq);
    }
    fake_drain(&f, 5000);
    while (fake_next(&f, 5000) && f.msg.type != WIRE_BYE) {
        if (f.msg.type == WIRE_EPISODE && wire_episode_parse(&e, f.msg.body, f.msg.n) == 0)
            ack(e.seq);
    }
    ck_assert_uint_eq(f.msg.type, WIRE_BYE);
    ck_assert_int_eq(fake_join(&f), EXIT_OK);
}
END_TEST

START_TEST(a_finished_run_sends_it_home)
{
    fake_start(&f, run_actor);
    wait_hello();
    f.finished = true;
    fake_expect(&f, WIRE_BYE);
    ck_assert_int_eq(fake_join(&f), EXIT_OK);
}
END_TEST

START_TEST(sigterm_is_a_drain)
{
    struct wire_episode e;
    fake_start(&f, run_actor);
    wait_hello();
    play(KIND_TRAIN, 1, 1, 0);
    next_episode(&e);
    kill(getpid(), SIGTERM);
    fake_next(&f, 300);
    ack(1);
    fake_expect(&f, WIRE_BYE);
    ck_assert_int_eq(fake_join(&f), EXIT_OK);
}
END_TEST

START_TEST(a_refusal_ends_it_with_the_status_of_configuration)
{
    f.deaf = true;
    fake_start(&f, run_actor);
    fake_expect(&f, WIRE_HELLO);
    fake_error(&f, WIRE_ERR_VERSION, false);
    ck_assert_int_eq(fake_join(&f), EXIT_CONFIG);
}
END_TEST

START_TEST(a_pin_it_cannot_match_ends_it_with_the_status_of_configuration)
{
    strcpy(f.pin.build, "another build");
    fake_start(&f, run_actor);
    wait_hello();
    ck_assert_int_eq(fake_join(&f), EXIT_CONFIG);
}
END_TEST

START_TEST(without_a_learner_it_gives_up_after_the_time_set)
{
    f.local.net_link.connect_timeout_s = 1;
    f.deaf = true;
    fake_start(&f, run_actor);
    ck_assert_int_eq(fake_join(&f), EXIT_UNAVAILABLE);
}
END_TEST

START_TEST(damaged_weights_are_fetched_again)
{
    struct wire_episode e;
    fake_start(&f, run_actor);
    wait_hello();
    size_t n = f.blob_n[0][MAG_POLICY];
    unsigned char *good = f.blob[0][MAG_POLICY], *bad = malloc(n);
    memcpy(bad, good, n);
    bad[n - 1] ^= 1; /* a right crc over wrong bytes: only the digest tells */
    f.hold_chunks = true;
    f.blob[0][MAG_POLICY] = bad;
    play(KIND_TRAIN, 1, 1, 0);
    for (int i = 0; i < 2; i++) { /* one piece each of filter and policy */
        fake_expect(&f, WIRE_GET);
        fake_chunk(&f);
    }
    f.blob[0][MAG_POLICY] = good;
    f.hold_chunks = false;
    f.gets = 0;
    next_episode(&e);
    ck_assert_uint_eq(f.gets, 1);
    ack(1);
    leave();
    free(bad);
}
END_TEST

/* ----------------------------------------------------------------------- the table alone */

static struct held *ready(struct held_table *t, uint64_t no, uint64_t seq, size_t n)
{
    struct wire_play p = {.kind = KIND_TRAIN, .episode_no = no};
    struct held *h = held_add(t, &p);
    held_ready(h, seq, calloc(1, n), n);
    return h;
}

START_TEST(credit_bounds_episodes_and_bytes)
{
    static struct held_table t;
    t.credit_episodes = 2;
    t.credit_bytes = 250;
    struct held *b = ready(&t, 2, 2, 100), *a = ready(&t, 1, 1, 100);
    ready(&t, 3, 3, 100);
    ck_assert_ptr_eq(held_next(&t), a); /* by seq, not by place */
    held_sent(a, 0);
    ck_assert_ptr_eq(held_next(&t), b);
    held_sent(b, 0);
    ck_assert_ptr_null(held_next(&t)); /* episodes */
    t.credit_episodes = 3;
    ck_assert_ptr_null(held_next(&t)); /* bytes */
    t.credit_bytes = 300;
    ck_assert_ptr_nonnull(held_next(&t));
    held_clear(&t);
}
END_TEST

START_TEST(acknowledgements_settle_by_mark_and_by_bit)
{
    static struct held_table t;
    for (uint64_t s = 1; s <= 5; s++)
        held_sent(ready(&t, s, s, 10), 0);
    struct wire_ack a = {.durable_seq = 2, .selective = 1 << 1}; /* 1, 2 and 5 */
    held_ack(&t, &a, 10);
    ck_assert_uint_eq(t.acked, 3);
    ck_assert_ptr_nonnull(held_find(&t, KIND_TRAIN, 3));
    ck_assert_ptr_nonnull(held_find(&t, KIND_TRAIN, 4));
    ck_assert_ptr_null(held_find(&t, KIND_TRAIN, 5));
    held_clear(&t);
}
END_TEST

START_TEST(resends_wait_a_second_and_then_longer)
{
    static struct held_table t;
    struct held *h = ready(&t, 1, 1, 10);
    held_sent(h, 1000);
    held_tick(&t, 1999);
    ck_assert_int_eq(h->state, HELD_SENT);
    held_tick(&t, 2000);
    ck_assert_int_eq(h->state, HELD_READY);
    held_sent(h, 2000);
    held_tick(&t, 3999);
    ck_assert_int_eq(h->state, HELD_SENT);
    held_tick(&t, 4000);
    ck_assert_int_eq(h->state, HELD_READY);
    struct wire_nack n = {.seq = 1, .reason = NACK_CRC};
    for (int i = 0; i < HELD_CRC_MAX; i++) {
        held_sent(h, 0);
        ck_assert(!held_nack(&t, &n));
    }
    held_sent(h, 0);
    ck_assert(held_nack(&t, &n)); /* enough is enough */
    ck_assert_int_eq(h->state, HELD_FREE);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("actor");
    TCase *tc = tcase_create("actor");
    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, an_actor_plays_what_it_is_told_and_leaves_when_drained);
    tcase_add_test(tc, an_episode_is_the_same_in_any_company_on_any_number_of_threads);
    tcase_add_test(tc, other_weights_or_seeds_give_other_episodes);
    tcase_add_test(tc, a_second_play_of_an_unacknowledged_episode_is_ignored);
    tcase_add_test(tc, what_is_played_or_unacknowledged_renews_its_lease);
    tcase_add_test(tc, without_an_ack_the_same_bytes_come_again);
    tcase_add_test(tc, a_nack_for_crc_brings_it_again_and_a_permanent_one_does_not);
    tcase_add_test(tc, no_credit_no_upload);
    tcase_add_test(tc, a_lost_session_is_opened_again_and_the_rest_is_sent);
    tcase_add_test(tc, a_restarted_learner_gets_only_what_it_does_not_have);
    tcase_add_test(tc, another_run_makes_it_drop_what_it_held);
    tcase_add_test(tc, free_play_goes_on_until_drained);
    tcase_add_test(tc, a_finished_run_sends_it_home);
    tcase_add_test(tc, sigterm_is_a_drain);
    tcase_add_test(tc, a_refusal_ends_it_with_the_status_of_configuration);
    tcase_add_test(tc, a_pin_it_cannot_match_ends_it_with_the_status_of_configuration);
    tcase_add_test(tc, without_a_learner_it_gives_up_after_the_time_set);
    tcase_add_test(tc, damaged_weights_are_fetched_again);
    suite_add_tcase(s, tc);
    TCase *table = tcase_create("held");
    tcase_add_test(table, credit_bounds_episodes_and_bytes);
    tcase_add_test(table, acknowledgements_settle_by_mark_and_by_bit);
    tcase_add_test(table, resends_wait_a_second_and_then_longer);
    suite_add_tcase(s, table);
    return run_suite(s);
}
