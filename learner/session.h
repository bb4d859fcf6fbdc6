/* SPDX-License-Identifier: Apache-2.0 */
/* session.h - who is connected, and what each worker may do.
 *
 * A pure state machine: time and tokens are arguments, nothing here touches a socket.
 *
 *      HELLO -> NEW -> first message with the token -> ACTIVE
 *                 silent for lost_ms -> LOST (its work goes to others, credit frozen)
 *                 silent for gone_ms -> GONE (forgotten); traffic before that: ACTIVE again
 *
 * A session is known by its worker (worker_id, incarnation) and by its token; routing ids of
 * the three planes are bound to it by use and may change at any HELLO. Owned by the loop. */
#ifndef LEARNER_SESSION_H
#define LEARNER_SESSION_H

#include "net/link.h"
#include "proto/wire.h"

enum session_state { SESSION_GONE, SESSION_NEW, SESSION_ACTIVE, SESSION_LOST };
enum { SESSIONS_MAX = 512, SESSION_STRIKES = 3, SESSION_SLOTS_MAX = 64 };

struct session {
    enum session_state state;
    uint32_t uid; /* from 1, in HELLO order, never reused */
    enum wire_role role;
    unsigned char worker_id[WIRE_ID], token[WIRE_ID];
    uint64_t incarnation;
    char text[WIRE_TEXT]; /* host and pid */
    struct link_peer peer[PLANES];
    bool bound[PLANES];
    int64_t heard_ms, banned_until_ms;
    uint32_t strikes;
    uint32_t slots;            /* 1..SESSION_SLOTS_MAX */
    uint32_t want;             /* planner: free slots it told us of, less what was sent since */
    uint64_t served, accepted; /* leases given; results taken */
    uint64_t set_held, inflight_bytes;
    uint32_t inflight; /* uploads received and not yet acknowledged */
};

struct session_times {
    int64_t lost_ms, gone_ms, ban_ms;
};

struct sessions {
    struct session *s; /* [SESSIONS_MAX] */
    struct session_times times;
    uint32_t next_uid;
    uint64_t lost, gone, refused;
};

int sessions_init(struct sessions *t, struct session_times times); /* ERR_NOMEM */
void sessions_fini(struct sessions *t);

/* What this learner demands of a HELLO. */
struct session_rules {
    struct wire_pin pin;
    bool check_pin; /* lockstep */
};

/* Judge a HELLO. Accepted: returns the session (new, or the old one of a worker that
 * reconnects) with its control peer bound; `replaced` is the uid of an earlier incarnation that
 * this one ends, 0 if none (its leases are to be given back). Refused: NULL and *why filled. */
struct session *sessions_hello(struct sessions *t, const struct session_rules *rules,
                               const struct wire_hello *h, const struct link_peer *peer,
                               const unsigned char token[WIRE_ID], int64_t now_ms,
                               uint32_t *replaced, struct wire_error *why);

struct session *sessions_by_uid(struct sessions *t, uint32_t uid);
struct session *sessions_by_token(struct sessions *t, const unsigned char token[WIRE_ID]);
struct session *sessions_by_peer(struct sessions *t, enum wire_plane plane,
                                 const struct link_peer *peer);
/* A token arrived on a plane: bind the peer, note the sign of life. NULL: no such session. */
struct session *sessions_touch(struct sessions *t, enum wire_plane plane,
                               const struct link_peer *peer, const unsigned char token[WIRE_ID],
                               int64_t now_ms);
void sessions_heard(struct session *s, int64_t now_ms);
/* One broken rule. True when this was the last one allowed: now banned. */
bool sessions_strike(struct sessions *t, struct session *s, int64_t now_ms);
bool session_banned(const struct session *s, int64_t now_ms);
void sessions_bye(struct session *s);

/* Time passes: writes the uids that became LOST to lost[] (at most max), returns how many. */
size_t sessions_tick(struct sessions *t, int64_t now_ms, uint32_t *lost, size_t max);

static inline bool session_live(const struct session *s)
{
    return s->state == SESSION_NEW || s->state == SESSION_ACTIVE;
}
size_t sessions_count(const struct sessions *t, enum wire_role role); /* live ones */

/* The worker that gets the next item: of those live, not banned, with free[i] > 0, the one
 * served least so far; ties in HELLO order. free is indexed like t->s. NULL: nobody. */
struct session *sessions_pick(struct sessions *t, enum wire_role role, const uint32_t *free,
                              int64_t now_ms);

/* May this role send this type on this plane? */
bool session_may(enum wire_role role, enum wire_plane plane, enum wire_type type);

/* Credit of one actor: how much unacknowledged data it may have under way at any time. */
struct credit {
    uint32_t episodes;
    uint64_t bytes;
};
/* budget: bytes over all actors; largest: biggest episode; waiting: bytes received and not yet
 * durable. Never less than two largest episodes, unless the store is behind: then nothing. */
struct credit credit_grant(uint64_t budget, uint64_t largest, uint64_t waiting, size_t actors,
                           uint32_t slots);

#endif
