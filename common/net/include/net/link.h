/* SPDX-License-Identifier: Apache-2.0 */
/* link.h - one ZeroMQ socket served by the process's libuv loop.
 *
 * A link belongs to the loop thread. ZMQ_FD only says "look again" (edge-triggered), so the
 * wrapper asks ZMQ_EVENTS before the loop sleeps (prepare/check/idle), handles at most a
 * bounded batch a turn, and is the only place that calls zmq_send: sends go to an out-queue.
 * A 100 ms safety timer counts missed edges; the count stays 0 (link_missed_edges). */
#ifndef NET_LINK_H
#define NET_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct link;
enum { LINK_PEER_MAX = 256, LINK_FRAMES_MAX = 3 };

/* A peer of a ROUTER link: its routing id. Empty on DEALER links. */
struct link_peer {
    uint8_t n;
    unsigned char id[LINK_PEER_MAX - 1];
};

/* One message: envelope, body, bulk. Frames belong to the link during the callback; take()
 * moves ownership to the caller, who frees with link_msg_free (any thread). */
struct link_msg {
    struct link_peer peer;
    size_t frames;
    struct {
        const unsigned char *data;
        size_t n;
    } frame[LINK_FRAMES_MAX];
    void *opaque;
};
struct link_msg *link_msg_take(struct link_msg *m); /* NULL when out of memory */
void link_msg_free(struct link_msg *m);

typedef void link_recv_fn(struct link *ln, void *arg, struct link_msg *m);
/* A frame count outside 2..3 or an oversized frame: counted and reported here, may be NULL. */
typedef void link_bad_fn(struct link *ln, void *arg, const struct link_peer *peer);

struct link_cfg {
    bool server;          /* ROUTER and bind, else DEALER and connect */
    const char *endpoint; /* ipc://... or tcp://host:port */
    int64_t max_msg;      /* ZMQ_MAXMSGSIZE, bytes */
    int rcvhwm, sndhwm;
    int affinity; /* I/O thread of the context */
    link_recv_fn *on_recv;
    link_bad_fn *on_bad;
    void *arg;
};

/* A context with io_threads I/O threads; options of service.md 2 are set on every socket before
 * bind/connect. */
struct link_ctx;
int link_ctx_open(struct link_ctx **out, int io_threads);
void link_ctx_close(struct link_ctx *c); /* after all links are closed; waits at most LINGER */

/* ERR_IO with err_text() naming endpoint and cause ("address in use": the remedy). */
int link_open(struct link **out, struct link_ctx *ctx, uv_loop_t *loop,
              const struct link_cfg *c);
/* Stops handles and closes the socket; `done` (may be NULL) runs on the loop when memory is
 * free. */
void link_close(struct link *ln, void (*done)(void *arg), void *arg);

enum { LINK_PEER_WAITING_MAX = 1024 }; /* messages that wait for one peer of a ROUTER */

/* Queue a message: envelope of 8 bytes, body, optional bulk. body and bulk are taken over and
 * released by their free function (NULL: free(); for bulk it may run on an I/O thread). peer
 * NULL on DEALER links. ERR_NOMEM, or ERR_AGAIN for a peer that does not read (so many wait for
 * it already); nothing was taken in either case. A vanished peer is counted, not an error: the
 * session layer finds out by silence. */
typedef void link_free_fn(void *data, void *hint);
int link_send(struct link *ln, const struct link_peer *peer, const unsigned char *envelope,
              unsigned char *body, size_t body_n, const void *bulk, size_t bulk_n,
              link_free_fn *bulk_free, void *bulk_hint);

/* The endpoint actually bound (tcp://127.0.0.1:* gets its port). */
const char *link_endpoint(const struct link *ln);
size_t link_queued(const struct link *ln); /* messages waiting in the out-queue */
uint64_t link_missed_edges(const struct link *ln);
uint64_t link_unroutable(const struct link *ln);

/* Wake the loop from another thread: coalescing, like uv_async_send. */
struct wake;
int wake_open(struct wake **out, uv_loop_t *loop, void (*fn)(void *arg), void *arg);
void wake_send(struct wake *w); /* any thread */
void wake_close(struct wake *w);

/* True for ipc:// and loopback tcp addresses: what may be bound without keys. */
bool endpoint_is_local(const char *endpoint);
/* A private directory for ipc sockets ($XDG_RUNTIME_DIR or /tmp, mode 0700), path < 90 bytes. */
int endpoint_ipc_dir(char *out, size_t n, const char *id);

#endif
