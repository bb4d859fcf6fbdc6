/* SPDX-License-Identifier: Apache-2.0 */
/* held.h - the episodes an actor answers for, from PLAY to the learner's acknowledgement.
 *
 *     WAITING (weights) -> PLAYING -> READY -> SENT -> settled: acknowledged or refused
 *                                       ^--------'  resend, NACK(crc), a new session
 *
 * A pure state machine: no sockets, no clock, bodies are plain memory. Loop thread only. */
#ifndef ACTOR_HELD_H
#define ACTOR_HELD_H

#include "proto/wire.h"
#include "work/worker.h"

#include <stdbool.h>

enum held_state { HELD_FREE, HELD_WAITING, HELD_PLAYING, HELD_READY, HELD_SENT };
enum { HELD_MAX = WIRE_RUNNING_MAX, HELD_CRC_MAX = 5 };

struct held {
    enum held_state state;
    struct wire_play play;
    uint64_t seq; /* READY, SENT */
    unsigned char *body;
    size_t n;
    int64_t sent_ms;
    unsigned resends, crc_nacks;
};

struct held_table {
    struct held h[HELD_MAX];
    uint32_t credit_episodes;
    uint64_t credit_bytes;
    struct worker_rtt rtt;
    uint64_t acked, refused;
};

/* A place for a PLAY; NULL when this episode is held already or the table is full. */
struct held *held_add(struct held_table *t, const struct wire_play *p);
struct held *held_find(struct held_table *t, enum wire_kind kind, uint64_t episode_no);
size_t held_count(const struct held_table *t, enum held_state state);
/* Finished: takes the body over. */
void held_ready(struct held *h, uint64_t seq, unsigned char *body, size_t n);
void held_drop(struct held *h); /* frees the body */
void held_clear(struct held_table *t);

/* The READY episode of lowest seq that credit lets out now, or NULL. */
struct held *held_next(struct held_table *t);
void held_sent(struct held *h, int64_t now_ms);

/* Acknowledgement, refusal (true: dropped for good), new session, time. */
void held_ack(struct held_table *t, const struct wire_ack *a, int64_t now_ms);
bool held_nack(struct held_table *t, const struct wire_nack *n);
void held_welcome(struct held_table *t, uint64_t durable_seq);
void held_tick(struct held_table *t, int64_t now_ms);

#endif
