/* SPDX-License-Identifier: Apache-2.0 */
/* held.c - upload at least once, forget only what is stored.
 *
 * WHY  An episode may be lost only if its actor dies with it unacknowledged. So its bytes stay
 * here until ACK names its seq; everything else - a lost ACK, a dead learner, a reconnect - is
 * answered by sending the same bytes again, which the learner recognises by (stream, seq).
 *
 * CREDIT is absolute: how much may be SENT at once. It bounds the learner's memory, not ours;
 * ours is bounded by slots, because READY episodes keep their slot's place in the table. */
#include "held.h"

#include <stdlib.h>
#include <string.h>

struct held *held_find(struct held_table *t, enum wire_kind kind, uint64_t episode_no)
{
    for (size_t i = 0; i < HELD_MAX; i++) {
        struct held *h = &t->h[i];
        if (h->state != HELD_FREE && h->play.kind == kind && h->play.episode_no == episode_no)
            return h;
    }
    return NULL;
}

struct held *held_add(struct held_table *t, const struct wire_play *p)
{
    if (held_find(t, p->kind, p->episode_no))
        return NULL;
    for (size_t i = 0; i < HELD_MAX; i++) {
        struct held *h = &t->h[i];
        if (h->state != HELD_FREE)
            continue;
        memset(h, 0, sizeof *h);
        h->state = HELD_WAITING;
        h->play = *p;
        return h;
    }
    return NULL;
}

size_t held_count(const struct held_table *t, enum held_state state)
{
    size_t n = 0;
    for (size_t i = 0; i < HELD_MAX; i++)
        n += t->h[i].state == state;
    return n;
}

void held_ready(struct held *h, uint64_t seq, unsigned char *body, size_t n)
{
    h->state = HELD_READY;
    h->seq = seq;
    h->body = body;
    h->n = n;
}

void held_drop(struct held *h)
{
    free(h->body);
    memset(h, 0, sizeof *h);
}

void held_clear(struct held_table *t)
{
    for (size_t i = 0; i < HELD_MAX; i++)
        held_drop(&t->h[i]);
}

struct held *held_next(struct held_table *t)
{
    struct held *best = NULL;
    uint64_t episodes = 0, bytes = 0;
    for (size_t i = 0; i < HELD_MAX; i++) {
        struct held *h = &t->h[i];
        if (h->state == HELD_SENT) {
            episodes++;
            bytes += h->n;
        } else if (h->state == HELD_READY && (!best || h->seq < best->seq)) {
            best = h;
        }
    }
    if (!best || episodes >= t->credit_episodes || bytes + best->n > t->credit_bytes)
        return NULL;
    return best;
}

void held_sent(struct held *h, int64_t now_ms)
{
    h->state = HELD_SENT;
    h->sent_ms = now_ms;
}

static bool acked(const struct wire_ack *a, uint64_t seq)
{
    if (seq <= a->durable_seq)
        return true;
    uint64_t bit = seq - a->durable_seq - 2; /* durable + 1 is the hole: never set */
    return seq >= a->durable_seq + 2 && bit < 64 && (a->selective >> bit & 1);
}

void held_ack(struct held_table *t, const struct wire_ack *a, int64_t now_ms)
{
    t->credit_episodes = a->credit_episodes;
    t->credit_bytes = a->credit_bytes;
    for (size_t i = 0; i < HELD_MAX; i++) {
        struct held *h = &t->h[i];
        if ((h->state != HELD_SENT && h->state != HELD_READY) || !acked(a, h->seq))
            continue;
        if (h->state == HELD_SENT && h->resends == 0) /* of a resend one cannot tell which */
            worker_rtt_add(&t->rtt, now_ms - h->sent_ms);
        held_drop(h);
        t->acked++;
    }
}

bool held_nack(struct held_table *t, const struct wire_nack *n)
{
    for (size_t i = 0; i < HELD_MAX; i++) {
        struct held *h = &t->h[i];
        if (h->state != HELD_SENT || h->seq != n->seq)
            continue;
        if (n->reason == NACK_CRC && ++h->crc_nacks <= HELD_CRC_MAX) {
            h->state = HELD_READY;
            h->resends++;
            return false;
        }
        held_drop(h);
        t->refused++;
        return true;
    }
    return false;
}

void held_welcome(struct held_table *t, uint64_t durable_seq)
{
    for (size_t i = 0; i < HELD_MAX; i++) {
        struct held *h = &t->h[i];
        if (h->state != HELD_SENT && h->state != HELD_READY)
            continue;
        if (h->seq <= durable_seq) {
            held_drop(h);
            t->acked++;
        } else if (h->state == HELD_SENT) {
            h->state = HELD_READY;
            h->resends++;
        }
    }
}

void held_tick(struct held_table *t, int64_t now_ms)
{
    for (size_t i = 0; i < HELD_MAX; i++) {
        struct held *h = &t->h[i];
        if (h->state == HELD_SENT &&
            now_ms - h->sent_ms >= worker_rtt_timeout(&t->rtt, h->resends)) {
            h->state = HELD_READY;
            h->resends++;
        }
    }
}
