/* SPDX-License-Identifier: Apache-2.0 */
/* link.c - one ZeroMQ socket served by the process's libuv loop.
 *
 * WHY  ZMQ_FD only says "look again": it is edge-triggered and used up by every send and
 * receive, so a readable socket can sit behind a silent descriptor (measured: receiving in the
 * poll callback stalls at once). ZMQ_EVENTS is the truth.
 *
 *     prepare   before the loop sleeps: work waiting? then an idle handle makes it not sleep
 *     poll      empty: it only ends the sleep
 *     check     after it: receive a bounded batch, flush the out-queue, look again
 *     timer     every 100 ms: the turn it causes finds, counts and serves what no edge announced
 *
 * SENDING  Everything goes through the out-queue, flushed in check; nothing else in the program
 * calls zmq_msg_send. A message that one ROUTER peer cannot take now waits and only later
 * messages to that same peer wait behind it. POLLOUT of a ROUTER is always true, so a stalled
 * queue must not keep the loop awake: it is tried again at the next turn, which the peer's
 * reading causes (or the timer).
 *
 * INVARIANTS
 *   1. A message is sent whole or not at all; after its first frame was taken the others
 *      follow at once. A connection lost in between drops the rest and is counted.
 *   2. During on_recv the message belongs to the link unless link_msg_take moved it out.
 *   3. After link_close no callback runs except `done`. */
#include "net/link.h"

#include "link_ctx.h"

#include "base/clock.h"
#include "base/err.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

enum {
    EDGE_SLEEP_US = 5000,       /* a missed edge is looked for after so long a sleep */
    EDGE_LOOKS_US = 10,         /* two looks at one socket, undisturbed, are a few apart */
    LINK_BATCH = 64,            /* messages of one turn */
    LINK_BATCH_BYTES = 8 << 20, /* bytes of one turn */
    LINK_BATCH_US = 2000,       /* time of one turn, microseconds */
    LINK_SAFETY_MS = 100,       /* how late a missed edge can be served */
    LINK_BLOCKED_MAX = 16,      /* full peers remembered while flushing */
    LINK_ENVELOPE = 8,          /* frame 0 */
    LINK_HANDLES = 5,           /* uv handles of a link */
};

/* The received message with its ZeroMQ parts; the public part comes first. */
struct in_msg {
    struct link_msg pub;
    zmq_msg_t part[LINK_FRAMES_MAX];
};

struct out_msg {
    struct out_msg *next;
    struct link_peer peer;
    size_t frames;
    zmq_msg_t part[LINK_FRAMES_MAX];
};

struct link {
    void *sock;
    int fd;
    bool server, closing;
    bool fresh;          /* something was queued since the last flush */
    bool armed;          /* prepare saw work: this turn does not sleep */
    bool polled;         /* the descriptor ended this turn's sleep */
    int64_t prepared_us; /* when this turn's sleep began */
    int64_t max_msg;
    char endpoint[512];

    struct out_msg *head, **tail;
    size_t queued;
    uint64_t missed_edges, unroutable;

    link_recv_fn *on_recv;
    link_bad_fn *on_bad;
    void *arg;

    uv_poll_t poll;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_idle_t idle;
    uv_timer_t timer;
    int handles; /* not yet closed */
    void (*done)(void *arg);
    void *done_arg;
};

/* ----------------------------------------------------------------------------- receiving */

static bool readable(const struct link *ln)
{
    int events = 0;
    size_t n = sizeof events;
    return zmq_getsockopt(ln->sock, ZMQ_EVENTS, &events, &n) == 0 && (events & ZMQ_POLLIN);
}

static void in_close(struct in_msg *m)
{
    for (size_t i = 0; i < m->pub.frames; i++)
        zmq_msg_close(&m->part[i]);
    m->pub.frames = 0;
}

/* Data pointers follow the parts: short frames live inside zmq_msg_t itself. */
static void in_point(struct in_msg *m)
{
    for (size_t i = 0; i < m->pub.frames; i++) {
        m->pub.frame[i].data = zmq_msg_data(&m->part[i]);
        m->pub.frame[i].n = zmq_msg_size(&m->part[i]);
    }
    m->pub.opaque = m;
}

/* The routing id in front of every message of a ROUTER. False: nothing there. */
static bool recv_peer(struct link *ln, struct link_peer *peer)
{
    zmq_msg_t id;
    zmq_msg_init(&id);
    bool got = zmq_msg_recv(&id, ln->sock, ZMQ_DONTWAIT) >= 0;
    if (got) {
        size_t n = zmq_msg_size(&id);
        peer->n = (uint8_t)(n < sizeof peer->id ? n : sizeof peer->id);
        memcpy(peer->id, zmq_msg_data(&id), peer->n);
    }
    zmq_msg_close(&id);
    return got;
}

/* One frame; *more tells whether another follows. False: nothing there. */
static bool recv_frame(struct link *ln, zmq_msg_t *part, bool *more)
{
    zmq_msg_init(part);
    if (zmq_msg_recv(part, ln->sock, ZMQ_DONTWAIT) < 0) {
        zmq_msg_close(part);
        return false;
    }
    *more = zmq_msg_more(part);
    return true;
}

/* Frames beyond the allowed three are read and forgotten. Returns the number of all frames. */
static size_t recv_frames(struct link *ln, struct in_msg *m)
{
    size_t total = 0;
    bool more = true;
    while (more) {
        zmq_msg_t part;
        if (!recv_frame(ln, &part, &more))
            break;
        if (total < LINK_FRAMES_MAX) {
            zmq_msg_init(&m->part[total]);
            zmq_msg_move(&m->part[total], &part);
            m->pub.frames = total + 1;
        }
        zmq_msg_close(&part);
        total++;
    }
    return total;
}

static bool acceptable(const struct link *ln, const struct in_msg *m, size_t total)
{
    if (total < 2 || total > LINK_FRAMES_MAX)
        return false;
    for (size_t i = 0; i < total; i++) {
        if (ln->max_msg >= 0 && zmq_msg_size(&m->part[i]) > (size_t)ln->max_msg)
            return false;
    }
    return true;
}

/* Take one message from the socket and hand it up. Returns its bytes, or -1 at the end. */
static long long recv_one(struct link *ln)
{
    struct in_msg m;
    m.pub.frames = 0;
    m.pub.peer.n = 0;
    if (ln->server && !recv_peer(ln, &m.pub.peer))
        return -1;
    size_t total = recv_frames(ln, &m);
    if (total == 0)
        return -1;
    if (!acceptable(ln, &m, total)) {
        in_close(&m);
        if (ln->on_bad)
            ln->on_bad(ln, ln->arg, &m.pub.peer);
        return 0;
    }
    in_point(&m);
    long long bytes = 0;
    for (size_t i = 0; i < total; i++)
        bytes += (long long)m.pub.frame[i].n;
    ln->on_recv(ln, ln->arg, &m.pub);
    in_close(&m);
    return bytes;
}

struct link_msg *link_msg_take(struct link_msg *m)
{
    struct in_msg *from = m->opaque;
    struct in_msg *to = malloc(sizeof *to);
    if (!to)
        return NULL;
    to->pub = from->pub;
    for (size_t i = 0; i < from->pub.frames; i++) {
        zmq_msg_init(&to->part[i]);
        zmq_msg_move(&to->part[i], &from->part[i]);
    }
    in_point(to);
    in_close(from);
    return &to->pub;
}

void link_msg_free(struct link_msg *m)
{
    if (!m)
        return;
    struct in_msg *in = m->opaque;
    in_close(in);
    free(in);
}

/* ------------------------------------------------------------------------------- sending */

static void out_free(struct out_msg *o)
{
    for (size_t i = 0; i < o->frames; i++)
        zmq_msg_close(&o->part[i]);
    free(o);
}

static bool same_peer(const struct link_peer *a, const struct link_peer *b)
{
    return a->n == b->n && memcmp(a->id, b->id, a->n) == 0;
}

/* The frame that decides whether the message is taken. 0, or errno. */
static int send_first(struct link *ln, struct out_msg *o)
{
    if (!ln->server)
        return zmq_msg_send(&o->part[0], ln->sock, ZMQ_DONTWAIT | ZMQ_SNDMORE) < 0 ? errno : 0;
    zmq_msg_t id;
    if (zmq_msg_init_size(&id, o->peer.n))
        return ENOMEM;
    memcpy(zmq_msg_data(&id), o->peer.id, o->peer.n);
    int err = zmq_msg_send(&id, ln->sock, ZMQ_DONTWAIT | ZMQ_SNDMORE) < 0 ? errno : 0;
    zmq_msg_close(&id);
    return err;
}

/* The others follow; all are offered even if one fails, because that ends the message. */
static void send_rest(struct link *ln, struct out_msg *o)
{
    bool lost = false;
    for (size_t i = ln->server ? 0 : 1; i < o->frames; i++) {
        int flags = ZMQ_DONTWAIT | (i + 1 < o->frames ? ZMQ_SNDMORE : 0);
        lost |= zmq_msg_send(&o->part[i], ln->sock, flags) < 0;
    }
    ln->unroutable += lost;
}

/* 0: gone (sent or dropped); EAGAIN: this peer is full, keep it. */
static int send_one(struct link *ln, struct out_msg *o)
{
    int err = send_first(ln, o);
    if (err == EAGAIN || err == EINTR)
        return EAGAIN;
    if (err)
        ln->unroutable++; /* EHOSTUNREACH: the peer is gone; its session will time out */
    else
        send_rest(ln, o);
    return 0;
}

struct blocked {
    size_t n;
    const struct link_peer *peer[LINK_BLOCKED_MAX];
};

static bool is_blocked(const struct blocked *b, const struct link_peer *peer)
{
    for (size_t i = 0; i < b->n; i++) {
        if (same_peer(b->peer[i], peer))
            return true;
    }
    return b->n == LINK_BLOCKED_MAX;
}

/* Offer every queued message once, in order per peer. */
static void flush(struct link *ln)
{
    struct blocked blocked = {.n = 0};
    struct out_msg **at = &ln->head;
    ln->fresh = false;
    while (*at) {
        struct out_msg *o = *at;
        if (is_blocked(&blocked, &o->peer)) {
            at = &o->next;
            continue;
        }
        if (send_one(ln, o) == EAGAIN) {
            blocked.peer[blocked.n++] = &o->peer;
            if (!ln->server)
                break; /* one connection: nobody else to serve */
            at = &o->next;
            continue;
        }
        *at = o->next;
        if (!*at)
            ln->tail = at;
        ln->queued--;
        out_free(o);
    }
}

/* Does this peer of a ROUTER read so little that no more is kept for it? Only long queues are
 * looked through. */
static bool peer_full(const struct link *ln, const struct link_peer *peer)
{
    size_t waiting = 0;
    if (!ln->server || ln->queued < LINK_PEER_WAITING_MAX)
        return false;
    for (const struct out_msg *o = ln->head; o && waiting < LINK_PEER_WAITING_MAX; o = o->next)
        waiting += same_peer(&o->peer, peer);
    return waiting == LINK_PEER_WAITING_MAX;
}

static void free_default(void *data, void *hint)
{
    (void)hint;
    free(data);
}

int link_send(struct link *ln, const struct link_peer *peer, const unsigned char *envelope,
              unsigned char *body, size_t body_n, const void *bulk, size_t bulk_n,
              link_free_fn *bulk_free, void *bulk_hint)
{
    if (peer_full(ln, peer)) {
        ln->unroutable++;
        return err_set(ERR_AGAIN, "a peer of %s does not read", ln->endpoint);
    }
    struct out_msg *o = calloc(1, sizeof *o);
    if (!o || zmq_msg_init_size(&o->part[0], LINK_ENVELOPE))
        goto nomem;
    memcpy(zmq_msg_data(&o->part[0]), envelope, LINK_ENVELOPE);
    o->frames = 1;
    /* The bulk first: while the body is not yet taken, a failure can still give all back. */
    zmq_msg_t bulk_part;
    if (bulk && zmq_msg_init_data(&bulk_part, (void *)(uintptr_t)bulk, bulk_n,
                                  bulk_free ? bulk_free : free_default, bulk_hint))
        goto nomem;
    if (zmq_msg_init_data(&o->part[1], body, body_n, free_default, NULL)) {
        bug_on(bulk); /* 40 bytes could not be had: the bulk could not be given back */
        goto nomem;
    }
    o->frames = 2;
    if (bulk) {
        zmq_msg_init(&o->part[2]);
        zmq_msg_move(&o->part[2], &bulk_part);
        o->frames = 3;
    }
    if (peer)
        o->peer = *peer;
    *ln->tail = o;
    ln->tail = &o->next;
    ln->queued++;
    ln->fresh = true;
    return 0;

nomem:
    if (o)
        out_free(o);
    return err_set(ERR_NOMEM, "out of memory for a message of %zu bytes", body_n + bulk_n);
}

/* ---------------------------------------------------------------------------- loop hooks */

/* Empty but for a note: it only ended the sleep; on_check does the work. */
static void on_poll(uv_poll_t *h, int status, int events)
{
    struct link *ln = h->data;
    (void)status, (void)events;
    ln->polled = true;
}

static void on_idle(uv_idle_t *h)
{
    (void)h;
}

static void on_prepare(uv_prepare_t *h)
{
    struct link *ln = h->data;
    ln->polled = false;
    ln->armed = ln->fresh || readable(ln);
    if (ln->armed)
        uv_idle_start(&ln->idle, on_idle);
    else
        ln->prepared_us = clock_mono_us();
}

/* The loop slept on this socket, something else woke it, the descriptor is silent, and yet
 * there is a message: an edge was missed. Or the message came between the two looks, which is
 * rare but not when thousands come a second or this thread loses its core there. So looks after
 * a short sleep, or far apart, prove nothing and are not counted: a missed edge that hurts ends
 * a long sleep. */
static bool edge_missed(const struct link *ln)
{
    struct pollfd p = {.fd = ln->fd, .events = POLLIN};
    if (ln->armed || ln->polled)
        return false;
    int64_t first_look_us = clock_mono_us();
    if (first_look_us - ln->prepared_us < EDGE_SLEEP_US)
        return false;
    bool waiting = poll(&p, 1, 0) == 0 && readable(ln);
    return waiting && clock_mono_us() - first_look_us < EDGE_LOOKS_US;
}

static void receive(struct link *ln)
{
    long long bytes = 0;
    int64_t start = clock_mono_us();
    /* The budget keeps timers, signals and other links alive under a flood. */
    for (int i = 0; i < LINK_BATCH && bytes < LINK_BATCH_BYTES && readable(ln); i++) {
        long long n = recv_one(ln);
        if (n < 0 || ln->closing || clock_mono_us() - start >= LINK_BATCH_US)
            break;
        bytes += n;
    }
}

static void on_check(uv_check_t *h)
{
    struct link *ln = h->data;
    uv_idle_stop(&ln->idle);
    ln->missed_edges += edge_missed(ln);
    receive(ln);
    if (!ln->closing)
        flush(ln);
}

/* The safety net: a turn at least every LINK_SAFETY_MS, whatever the descriptor says. */
static void on_timer(uv_timer_t *t)
{
    (void)t;
}

/* --------------------------------------------------------------------------- open, close */

static int open_error(const struct link_cfg *c)
{
    int e = errno;
    const char *remedy = "";
    if (e == EADDRINUSE)
        remedy = "; another learner may be running there: stop it or choose another address";
    else if (e == EINVAL || e == EPROTONOSUPPORT)
        remedy = "; expected ipc:///path or tcp://host:port";
    else if (e == ENAMETOOLONG)
        remedy = "; the path of an ipc socket may have 107 bytes";
    return err_set(ERR_IO, "cannot %s %s: %s%s", c->server ? "bind" : "connect to", c->endpoint,
                   zmq_strerror(e), remedy);
}

static int open_socket(struct link *ln, struct link_ctx *ctx, const struct link_cfg *c)
{
    ln->sock = link_socket(ctx, c);
    if (!ln->sock)
        return open_error(c);
    int rc = c->server ? zmq_bind(ln->sock, c->endpoint) : zmq_connect(ln->sock, c->endpoint);
    size_t fd_n = sizeof ln->fd, end_n = sizeof ln->endpoint;
    if (rc || zmq_getsockopt(ln->sock, ZMQ_FD, &ln->fd, &fd_n) ||
        zmq_getsockopt(ln->sock, ZMQ_LAST_ENDPOINT, ln->endpoint, &end_n)) {
        int err = open_error(c);
        zmq_close(ln->sock);
        return err;
    }
    return 0;
}

int link_open(struct link **out, struct link_ctx *ctx, uv_loop_t *loop,
              const struct link_cfg *c)
{
    struct link *ln = calloc(1, sizeof *ln);
    if (!ln)
        return err_set(ERR_NOMEM, "out of memory for the link to %s", c->endpoint);
    ln->server = c->server;
    ln->max_msg = c->max_msg;
    ln->tail = &ln->head;
    ln->on_recv = c->on_recv;
    ln->on_bad = c->on_bad;
    ln->arg = c->arg;
    int err = open_socket(ln, ctx, c);
    if (err) {
        free(ln);
        return err;
    }
    if (uv_poll_init(loop, &ln->poll, ln->fd)) {
        zmq_close(ln->sock);
        free(ln);
        return err_set(ERR_IO, "cannot watch the socket of %s", c->endpoint);
    }
    uv_prepare_init(loop, &ln->prepare);
    uv_check_init(loop, &ln->check);
    uv_idle_init(loop, &ln->idle);
    uv_timer_init(loop, &ln->timer);
    ln->handles = LINK_HANDLES;
    ln->poll.data = ln->prepare.data = ln->check.data = ln->idle.data = ln->timer.data = ln;
    uv_poll_start(&ln->poll, UV_READABLE, on_poll);
    uv_prepare_start(&ln->prepare, on_prepare);
    uv_check_start(&ln->check, on_check);
    uv_timer_start(&ln->timer, on_timer, LINK_SAFETY_MS, LINK_SAFETY_MS);
    *out = ln;
    return 0;
}

static void on_closed(uv_handle_t *h)
{
    struct link *ln = h->data;
    if (--ln->handles)
        return;
    while (ln->head) {
        struct out_msg *o = ln->head;
        ln->head = o->next;
        out_free(o);
    }
    zmq_close(ln->sock); /* LINGER lets what was sent leave; link_ctx_close waits for it */
    void (*done)(void *) = ln->done;
    void *arg = ln->done_arg;
    free(ln);
    if (done)
        done(arg);
}

void link_close(struct link *ln, void (*done)(void *arg), void *arg)
{
    bug_on(ln->closing);
    flush(ln); /* a last BYE or ACK queued in this very turn still leaves */
    ln->closing = true;
    ln->done = done;
    ln->done_arg = arg;
    uv_poll_stop(&ln->poll);
    uv_close((uv_handle_t *)&ln->poll, on_closed);
    uv_close((uv_handle_t *)&ln->prepare, on_closed);
    uv_close((uv_handle_t *)&ln->check, on_closed);
    uv_close((uv_handle_t *)&ln->idle, on_closed);
    uv_close((uv_handle_t *)&ln->timer, on_closed);
}

const char *link_endpoint(const struct link *ln)
{
    return ln->endpoint;
}

size_t link_queued(const struct link *ln)
{
    return ln->queued;
}

uint64_t link_missed_edges(const struct link *ln)
{
    return ln->missed_edges;
}

uint64_t link_unroutable(const struct link *ln)
{
    return ln->unroutable;
}
