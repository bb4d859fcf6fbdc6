/* SPDX-License-Identifier: Apache-2.0 */
/* session.c - the rules of service.md section 4 as plain functions.
 *
 * WHY  Routing ids name connections, not workers: a worker that reconnects has new ones, and a
 * ROUTER never says that a peer is gone. So identity is in HELLO, life is traffic, and the
 * binding of routing ids to workers is this table's business.
 *
 * INVARIANTS
 *   1. at most one session that is not GONE per worker_id
 *   2. a peer of a plane is bound to at most one session
 *   3. uid is unique for the life of the process, so a late answer to a dead session finds
 *      nobody instead of somebody else */
#include "session.h"

#include "base/err.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int sessions_init(struct sessions *t, struct session_times times)
{
    memset(t, 0, sizeof *t);
    t->s = calloc(SESSIONS_MAX, sizeof *t->s);
    if (!t->s)
        return ERR_NOMEM;
    t->times = times;
    t->next_uid = 1;
    return 0;
}

void sessions_fini(struct sessions *t)
{
    free(t->s);
    memset(t, 0, sizeof *t);
}

static bool same_peer(const struct link_peer *a, const struct link_peer *b)
{
    return a->n == b->n && memcmp(a->id, b->id, a->n) == 0;
}

struct session *sessions_by_uid(struct sessions *t, uint32_t uid)
{
    for (size_t i = 0; uid && i < SESSIONS_MAX; i++)
        if (t->s[i].state != SESSION_GONE && t->s[i].uid == uid)
            return &t->s[i];
    return NULL;
}

struct session *sessions_by_token(struct sessions *t, const unsigned char token[WIRE_ID])
{
    for (size_t i = 0; i < SESSIONS_MAX; i++)
        if (t->s[i].state != SESSION_GONE && memcmp(t->s[i].token, token, WIRE_ID) == 0)
            return &t->s[i];
    return NULL;
}

struct session *sessions_by_peer(struct sessions *t, enum wire_plane plane,
                                 const struct link_peer *peer)
{
    for (size_t i = 0; i < SESSIONS_MAX; i++) {
        struct session *s = &t->s[i];
        if (s->state != SESSION_GONE && s->bound[plane] && same_peer(&s->peer[plane], peer))
            return s;
    }
    return NULL;
}

static struct session *by_worker(struct sessions *t, const unsigned char id[WIRE_ID])
{
    for (size_t i = 0; i < SESSIONS_MAX; i++)
        if (t->s[i].state != SESSION_GONE && memcmp(t->s[i].worker_id, id, WIRE_ID) == 0)
            return &t->s[i];
    return NULL;
}

static struct session *free_slot(struct sessions *t)
{
    for (size_t i = 0; i < SESSIONS_MAX; i++)
        if (t->s[i].state == SESSION_GONE)
            return &t->s[i];
    return NULL;
}

static struct session *refuse(struct sessions *t, struct wire_error *why,
                              enum wire_error_code code, bool retryable, const char *text)
{
    t->refused++;
    why->code = (uint32_t)code;
    why->retryable = retryable;
    why->proto_min = why->proto_max = WIRE_MAJOR;
    snprintf(why->text, sizeof why->text, "%s", text);
    return NULL;
}

/* Lockstep promises equal bits; a worker of another build or product library cannot keep it.
 * Empty fields pin nothing: most workers choose their kernels when WELCOME tells them ours. */
static bool pin_differs(const struct wire_pin *pin, const struct wire_hello *h, char *text,
                        size_t n)
{
    bool build = !pin->build[0] || !h->build[0] || strcmp(pin->build, h->build) == 0;
    bool library = !pin->library[0] || !h->library[0] || strcmp(pin->library, h->library) == 0;
    if (build && library)
        return false;
    snprintf(text, n,
             "this run is pinned to build %.40s with %.30s; this worker is build %.40s with "
             "%.30s: start the worker from the learner's build",
             pin->build, pin->library, h->build, h->library);
    return true;
}

/* Scores of candidates decide which draws are kept, so planners must agree on their precision.
 * The reference (isa `ref`) has every kind, whatever the CPU. */
static bool precision_differs(const struct wire_pin *pin, const struct wire_hello *h,
                              char *text, size_t n)
{
    if (!pin->precision[0] || !h->precision[0] || !strcmp(pin->precision, "float32") ||
        !strcmp(pin->isa, "ref") || !strcmp(pin->precision, h->precision))
        return false;
    snprintf(text, n,
             "this run is pinned to planning in %.30s (imagine.precision=half); this worker's "
             "CPU has %.30s: move the planner, or start a run with imagine.precision=float32",
             pin->precision, h->precision);
    return true;
}

static void bind_peer(struct session *s, enum wire_plane plane, const struct link_peer *peer)
{
    s->peer[plane] = *peer;
    s->bound[plane] = true;
}

/* A newcomer starts level with the others: fairness is about now, not about catching up. */
static uint64_t least_served(const struct sessions *t, enum wire_role role)
{
    uint64_t least = UINT64_MAX;
    for (size_t i = 0; i < SESSIONS_MAX; i++)
        if (session_live(&t->s[i]) && t->s[i].role == role && t->s[i].served < least)
            least = t->s[i].served;
    return least == UINT64_MAX ? 0 : least;
}

struct session *sessions_hello(struct sessions *t, const struct session_rules *rules,
                               const struct wire_hello *h, const struct link_peer *peer,
                               const unsigned char token[WIRE_ID], int64_t now_ms,
                               uint32_t *replaced, struct wire_error *why)
{
    char text[WIRE_TEXT];
    *replaced = 0;
    memset(why, 0, sizeof *why);
    if (h->proto_min > WIRE_MAJOR || h->proto_max < WIRE_MAJOR) {
        snprintf(
            text, sizeof text,
            "this learner speaks protocol %d, the worker %u to %u: upgrade the older of the "
            "two, the learner first",
            WIRE_MAJOR, h->proto_min, h->proto_max);
        return refuse(t, why, WIRE_ERR_VERSION, false, text);
    }
    if (h->role != ROLE_ACTOR && h->role != ROLE_PLANNER && h->role != ROLE_ADMIN)
        return refuse(t, why, WIRE_ERR_ROLE, false, "unknown role in HELLO");
    if (rules->check_pin && h->role != ROLE_ADMIN &&
        (pin_differs(&rules->pin, h, text, sizeof text) ||
         precision_differs(&rules->pin, h, text, sizeof text)))
        return refuse(t, why, WIRE_ERR_PIN, false, text);

    struct session *s = by_worker(t, h->worker_id);
    if (s && session_banned(s, now_ms))
        return refuse(t, why, WIRE_ERR_BANNED, true,
                      "banned for a minute after three broken messages");
    if (s && (s->incarnation != h->incarnation || s->role != h->role)) {
        *replaced = s->uid;
        s->state = SESSION_GONE;
        s = NULL;
    }
    /* Whoever held this connection before is someone else now. */
    struct session *other = sessions_by_peer(t, PLANE_CONTROL, peer);
    if (other && other != s)
        other->bound[PLANE_CONTROL] = false;
    if (!s) {
        s = free_slot(t);
        if (!s)
            return refuse(t, why, WIRE_ERR_BANNED, true, "too many workers: 512 at most");
        memset(s, 0, sizeof *s);
        s->uid = t->next_uid++;
        s->role = h->role;
        memcpy(s->worker_id, h->worker_id, WIRE_ID);
        memcpy(s->token, token, WIRE_ID);
        s->incarnation = h->incarnation;
        s->served = least_served(t, h->role);
    }
    /* A repeated HELLO keeps the token and the data and weights peers: what is under way stays
     * valid, and a new connection binds itself by use. */
    s->state = SESSION_NEW;
    bind_peer(s, PLANE_CONTROL, peer);
    s->heard_ms = now_ms;
    s->slots = h->slots < 1 ? 1 : h->slots > SESSION_SLOTS_MAX ? SESSION_SLOTS_MAX : h->slots;
    s->want = 0;
    snprintf(s->text, sizeof s->text, "%s", h->text);
    return s;
}

void sessions_heard(struct session *s, int64_t now_ms)
{
    s->heard_ms = now_ms;
    if (s->state == SESSION_NEW || s->state == SESSION_LOST)
        s->state = SESSION_ACTIVE;
}

struct session *sessions_touch(struct sessions *t, enum wire_plane plane,
                               const struct link_peer *peer, const unsigned char token[WIRE_ID],
                               int64_t now_ms)
{
    struct session *s = sessions_by_token(t, token);
    if (!s)
        return NULL;
    struct session *other = sessions_by_peer(t, plane, peer);
    if (other && other != s)
        other->bound[plane] = false;
    bind_peer(s, plane, peer);
    sessions_heard(s, now_ms);
    return s;
}

bool session_banned(const struct session *s, int64_t now_ms)
{
    return now_ms < s->banned_until_ms;
}

bool sessions_strike(struct sessions *t, struct session *s, int64_t now_ms)
{
    if (++s->strikes < SESSION_STRIKES)
        return false;
    s->strikes = 0;
    s->banned_until_ms = now_ms + t->times.ban_ms;
    return true;
}

void sessions_bye(struct session *s)
{
    s->state = SESSION_GONE;
}

size_t sessions_tick(struct sessions *t, int64_t now_ms, uint32_t *lost, size_t max)
{
    size_t n = 0;
    for (size_t i = 0; i < SESSIONS_MAX; i++) {
        struct session *s = &t->s[i];
        if (s->state == SESSION_GONE)
            continue;
        int64_t silent = now_ms - s->heard_ms;
        if (session_live(s) && silent >= t->times.lost_ms && n < max) {
            s->state = SESSION_LOST;
            s->want = 0;
            t->lost++;
            lost[n++] = s->uid;
        }
        if (s->state == SESSION_LOST && silent >= t->times.gone_ms &&
            !session_banned(s, now_ms)) {
            s->state = SESSION_GONE;
            t->gone++;
        }
    }
    return n;
}

size_t sessions_count(const struct sessions *t, enum wire_role role)
{
    size_t n = 0;
    for (size_t i = 0; i < SESSIONS_MAX; i++)
        n += session_live(&t->s[i]) && t->s[i].role == role;
    return n;
}

struct session *sessions_pick(struct sessions *t, enum wire_role role, const uint32_t *free,
                              int64_t now_ms)
{
    struct session *best = NULL;
    for (size_t i = 0; i < SESSIONS_MAX; i++) {
        struct session *s = &t->s[i];
        if (!session_live(s) || s->role != role || !free[i] || session_banned(s, now_ms))
            continue;
        if (!best || s->served < best->served ||
            (s->served == best->served && s->uid < best->uid))
            best = s;
    }
    return best;
}

bool session_may(enum wire_role role, enum wire_plane plane, enum wire_type type)
{
    switch (plane) {
    case PLANE_CONTROL:
        if (type == WIRE_PING || type == WIRE_BYE || type == WIRE_HELLO || type == WIRE_STATUS)
            return true;
        return role == ROLE_ADMIN && (type == WIRE_CHECKPOINT || type == WIRE_DRAIN_ALL);
    case PLANE_DATA:
        if (type == WIRE_EPISODE)
            return role == ROLE_ACTOR;
        return role == ROLE_PLANNER && (type == WIRE_WANT || type == WIRE_RESULT);
    case PLANE_WEIGHTS:
        return type == WIRE_GET && (role == ROLE_ACTOR || role == ROLE_PLANNER);
    case PLANES:
        break;
    }
    return false;
}

struct credit credit_grant(uint64_t budget, uint64_t largest, uint64_t waiting, size_t actors,
                           uint32_t slots)
{
    struct credit c = {0, 0};
    uint64_t floor = 2 * largest;
    uint64_t share = budget / (actors ? actors : 1);
    if (waiting >= budget && waiting >= floor)
        return c; /* the store is behind: ACKs will bring credit */
    c.bytes = share > floor ? share : floor;
    uint64_t fit = largest ? c.bytes / largest : slots;
    c.episodes = fit > slots + 1u ? slots + 1u : (uint32_t)fit;
    if (c.episodes < 2)
        c.episodes = 2;
    return c;
}
