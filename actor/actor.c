/* SPDX-License-Identifier: Apache-2.0 */
/* actor.c - the loop's side of an actor: PLAYs in, EPISODEs out.
 *
 * The session is common/work's; the environments are play.c's; what is owed to the learner is
 * held.c's. This file connects the three and decides when to leave.
 *
 * FREE PLAY  PLAY(free) opens a stream: the slot plays episode after episode with the newest
 * set. Such an episode has no number; its seed is made from (worker, incarnation, ordinal), so
 * that two actors never play the same one.
 *
 * LEAVING  DRAIN or a signal: no new episodes; those playing may finish until half of the time
 * given, the rest is abandoned (its lease returns with BYE); then wait for acknowledgements. */
#include "actor/actor.h"

#include "held.h"
#include "play.h"

#include "algo/mag.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "work/worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REPORT_MS = 10000 };

struct actor {
    struct worker *worker;
    const struct worker_run *run;
    struct player *player;
    struct held_table held;
    uint32_t slots;
    uint32_t free_slots;   /* slots that play freely */
    uint64_t free_ordinal; /* free episodes begun */
    uint64_t set_id;       /* of the last episode begun */
    uint64_t done, done_steps, wins, reported, reported_steps, reported_wins;
    int64_t report_ms;
    bool draining, abandoned;
    int64_t drain_start_ms, drain_deadline_ms;
};

/* -------------------------------------------------------------------------- PLAYs to slots */

/* Hand waiting PLAYs whose weights are here to the environment thread. */
static void start_waiting(struct actor *a)
{
    for (size_t i = 0; i < HELD_MAX; i++) {
        struct held *h = &a->held.h[i];
        struct blob_set *weights;
        if (h->state != HELD_WAITING)
            continue;
        enum fetch_state got = worker_weights(a->worker, &h->play.set, &weights);
        if (got == FETCH_PENDING)
            continue;
        if (got == FETCH_GONE || player_play(a->player, &h->play, weights)) {
            held_drop(h); /* its lease runs out and another actor gets it */
            continue;
        }
        a->set_id = h->play.set.set_id;
        h->state = HELD_PLAYING;
    }
}

static size_t playing(const struct actor *a)
{
    return held_count(&a->held, HELD_WAITING) + held_count(&a->held, HELD_PLAYING);
}

/* Seed of a free episode: the same two actors, the same ordinal, never the same game. */
static uint64_t free_seed(const struct actor *a)
{
    struct digest_state s;
    struct digest d;
    uint64_t seed;
    digest_init(&s);
    digest_add(&s, a->run->worker_id, WIRE_ID);
    digest_add_u64(&s, a->run->incarnation);
    digest_add_u64(&s, a->free_ordinal);
    digest_end(&s, &d);
    memcpy(&seed, d.b, sizeof seed);
    return seed;
}

static size_t free_held(const struct actor *a)
{
    size_t n = 0;
    for (size_t i = 0; i < HELD_MAX; i++)
        n += a->held.h[i].state != HELD_FREE && a->held.h[i].play.kind == KIND_FREE;
    return n;
}

/* Keep the free slots playing; unacknowledged episodes count, so that a learner that grants no
 * credit stops the playing as well. */
static void start_free(struct actor *a)
{
    const struct wire_set *newest = worker_newest(a->worker);
    while (!a->draining && newest->set_id && free_held(a) < 2 * (size_t)a->free_slots &&
           playing(a) < a->free_slots) {
        struct wire_play p = {.kind = KIND_FREE, .set = *newest};
        a->free_ordinal++;
        p.seed = free_seed(a);
        p.episode_no = a->free_ordinal; /* tells them apart here; sent as 0 */
        if (!held_add(&a->held, &p))
            return;
    }
    start_waiting(a);
}

static void on_play(void *arg, const struct wire_play *p)
{
    struct actor *a = arg;
    if (a->draining)
        return;
    if (p->kind == KIND_FREE) {
        if (a->free_slots < a->slots)
            a->free_slots++;
        start_free(a);
        return;
    }
    if (held_find(&a->held, p->kind, p->episode_no))
        return; /* a new lease of what is being played or waits for its ACK */
    if (playing(a) >= 2 * (size_t)a->slots || !held_add(&a->held, p)) {
        log_warn("more episodes than slots", "episode=%llu slots=%u",
                 (unsigned long long)p->episode_no, a->slots);
        return;
    }
    start_waiting(a);
}

static void on_weights(void *arg)
{
    start_waiting(arg);
}

/* ------------------------------------------------------------------------- episodes out */

static void send_ready(struct actor *a)
{
    struct held *h;
    while (worker_active(a->worker) && (h = held_next(&a->held))) {
        unsigned char *copy = malloc(h->n); /* ours stays until the ACK */
        if (!copy)
            return;
        memcpy(copy, h->body, h->n);
        wire_body_token(copy, worker_token(a->worker));
        if (worker_send(a->worker, PLANE_DATA, WIRE_EPISODE, copy, h->n))
            return;
        held_sent(h, clock_mono_ms());
    }
}

static void on_played(struct actor *a, struct played *d)
{
    struct held *h = held_find(&a->held, d->play.kind, d->play.episode_no);
    if (d->how == PLAYED_BROKEN) {
        log_error("environment broken", "why=\"%s\"", d->text);
        worker_exit(a->worker, EXIT_UNAVAILABLE, "environment broken");
    }
    if (!h || d->how != PLAYED) {
        if (h)
            held_drop(h);
        free(d->body);
        return;
    }
    held_ready(h, d->seq, d->body, d->n);
    a->done++;
    a->done_steps += d->steps;
    a->wins += d->won;
    log_debug("episode played", "kind=%d episode=%llu seq=%llu steps=%u won=%d return=%.3f",
              (int)d->play.kind, (unsigned long long)d->play.episode_no,
              (unsigned long long)d->seq, d->steps, d->won, d->ret);
}

static void on_wake(void *arg)
{
    struct actor *a = arg;
    struct played *d;
    while (a->player && (d = player_take(a->player))) {
        on_played(a, d);
        free(d);
    }
    if (!a->player)
        return; /* on_played may have ended the program */
    send_ready(a);
    start_free(a);
}

static void on_data(void *arg, enum wire_type type, struct link_msg *m)
{
    struct actor *a = arg;
    struct wire_ack ack;
    struct wire_nack nack;
    struct wire_credit credit;
    const unsigned char *p = m->frame[1].data;
    size_t n = m->frame[1].n;
    if (type == WIRE_ACK && wire_ack_parse(&ack, p, n) == 0) {
        held_ack(&a->held, &ack, clock_mono_ms());
    } else if (type == WIRE_NACK && wire_nack_parse(&nack, p, n) == 0) {
        if (held_nack(&a->held, &nack))
            log_warn("episode refused", "seq=%llu reason=%u why=\"%s\"",
                     (unsigned long long)nack.seq, nack.reason, nack.text);
    } else if (type == WIRE_CREDIT && wire_credit_parse(&credit, p, n) == 0) {
        a->held.credit_episodes = credit.credit_episodes;
        a->held.credit_bytes = credit.credit_bytes;
    }
    send_ready(a);
    start_free(a);
}

static void on_credit(void *arg, uint32_t episodes, uint64_t bytes)
{
    struct actor *a = arg;
    a->held.credit_episodes = episodes;
    a->held.credit_bytes = bytes;
    send_ready(a);
}

/* -------------------------------------------------------------------------------- session */

static void on_bell(void *arg)
{
    struct actor *a = arg;
    worker_wake(a->worker);
}

static int on_start(void *arg, const struct worker_run *run)
{
    struct actor *a = arg;
    size_t largest =
        wire_episode_bytes((uint32_t)run->spec.episode_limit, (uint32_t)run->spec.n_agents,
                           (uint32_t)run->spec.obs, (uint32_t)run->spec.actions, 0);
    if (largest > WIRE_DATA_MAX)
        return err_set(ERR_CONFIG, "an episode of this map can have %zu bytes; %d is the most",
                       largest, WIRE_DATA_MAX);
    a->run = run;
    a->free_slots = 0;
    struct player_cfg pc = {.run = run, .slots = a->slots, .bell = on_bell, .arg = a};
    return player_open(&a->player, &pc);
}

static bool on_stop(void *arg, bool final)
{
    struct actor *a = arg;
    size_t lost = held_count(&a->held, HELD_READY) + held_count(&a->held, HELD_SENT);
    (void) final;
    if (lost)
        log_warn("episodes dropped", "unacknowledged=%zu", lost);
    player_close(a->player);
    a->player = NULL;
    held_clear(&a->held);
    return true;
}

static void on_welcome(void *arg, uint64_t durable_seq)
{
    struct actor *a = arg;
    held_welcome(&a->held, durable_seq);
    start_waiting(a);
    send_ready(a);
}

/* What this actor answers for renews its leases, finished but unacknowledged included. */
static void on_ping(void *arg, struct wire_ping *p)
{
    struct actor *a = arg;
    p->set_id = a->set_id;
    p->done = a->done;
    p->queue = (uint32_t)(held_count(&a->held, HELD_READY) + held_count(&a->held, HELD_SENT));
    for (size_t i = 0; i < HELD_MAX; i++) {
        const struct held *h = &a->held.h[i];
        if (h->state == HELD_FREE || h->play.kind == KIND_FREE)
            continue;
        p->running[p->running_count++] = (struct wire_running){
            .job_id = h->play.episode_no,
            .attempt = (uint32_t)h->play.kind,
            .percent = h->state >= HELD_READY ? 100 : 0,
        };
    }
}

/* -------------------------------------------------------------------------------- leaving */

static void on_drain(void *arg, int64_t deadline_ms)
{
    struct actor *a = arg;
    if (a->draining && deadline_ms >= a->drain_deadline_ms)
        return;
    if (!a->draining)
        a->drain_start_ms = clock_mono_ms();
    a->draining = true;
    a->drain_deadline_ms = deadline_ms;
    for (size_t i = 0; i < HELD_MAX; i++) {
        if (a->held.h[i].state == HELD_WAITING)
            held_drop(&a->held.h[i]);
    }
}

static void tick_drain(struct actor *a, int64_t now)
{
    size_t unacked = held_count(&a->held, HELD_READY) + held_count(&a->held, HELD_SENT);
    if (!playing(a) && !unacked) {
        worker_exit(a->worker, EXIT_OK, "drained");
    } else if (now >= a->drain_deadline_ms) {
        worker_exit(a->worker, EXIT_OK, "deadline of draining");
    } else if (!a->abandoned && playing(a) &&
               now - a->drain_start_ms >= (a->drain_deadline_ms - a->drain_start_ms) / 2) {
        a->abandoned = true; /* too long to finish: someone else plays them */
        player_abandon(a->player);
    }
}

static void report(struct actor *a, int64_t now)
{
    if (!a->report_ms)
        a->report_ms = now;
    if (now - a->report_ms < REPORT_MS)
        return;
    double s = (double)(now - a->report_ms) / 1000.0;
    uint64_t n = a->done - a->reported, steps = a->done_steps - a->reported_steps;
    log_info("playing",
             "episodes=%llu episodes_per_s=%.2f steps_per_s=%.0f won=%llu/%llu slots=%zu/%u "
             "unacknowledged=%zu set=%llu",
             (unsigned long long)a->done, (double)n / s, (double)steps / s,
             (unsigned long long)(a->wins - a->reported_wins), (unsigned long long)n,
             playing(a), a->slots,
             held_count(&a->held, HELD_READY) + held_count(&a->held, HELD_SENT),
             (unsigned long long)a->set_id);
    a->report_ms = now;
    a->reported = a->done;
    a->reported_steps = a->done_steps;
    a->reported_wins = a->wins;
}

static void on_tick(void *arg, int64_t now)
{
    struct actor *a = arg;
    held_tick(&a->held, now);
    if (worker_active(a->worker)) {
        start_waiting(a);
        send_ready(a);
        start_free(a);
    }
    report(a, now);
    if (a->draining)
        tick_drain(a, now);
}

static const struct worker_role actor_role = {
    .start = on_start,
    .stop = on_stop,
    .welcome = on_welcome,
    .play = on_play,
    .data = on_data,
    .credit = on_credit,
    .weights = on_weights,
    .ping = on_ping,
    .drain = on_drain,
    .wake = on_wake,
    .tick = on_tick,
};

int actor_main(const struct actor_cfg *c)
{
    struct actor *a = calloc(1, sizeof *a);
    if (!a)
        return EXIT_INTERNAL;
    a->slots = c->slots ? c->slots : ACTOR_SLOTS_DEFAULT;
    struct worker_cfg wc = {.role = ROLE_ACTOR,
                            .name = "actor",
                            .version = c->version,
                            .cfg = c->cfg,
                            .state_dir = c->state_dir,
                            .slots = a->slots,
                            .needs = MAG_NEEDS_ACTOR,
                            .ops = &actor_role,
                            .arg = a};
    int status = EXIT_CONFIG;
    if (a->slots > ACTOR_SLOTS_MAX)
        log_error("too many slots", "slots=%u most=%d", a->slots, ACTOR_SLOTS_MAX);
    else if (worker_open(&a->worker, &wc))
        log_error("cannot start", "why=\"%s\"", err_text());
    else
        status = worker_run(a->worker);
    if (a->worker)
        worker_close(a->worker);
    free(a);
    return status;
}
