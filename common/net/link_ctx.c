/* SPDX-License-Identifier: Apache-2.0 */
/* link_ctx.c - one ZeroMQ context per process and the options every socket starts with.
 *
 * WHY  ZeroMQ reads its options at bind and connect; one forgotten or late option is a silent
 * difference. So they stand in one table, applied before anything else happens.
 *
 * The figures: heartbeats of 1 s find a dead host in about 4 s; a handshake may hold a
 * connection 5 s, not 30; reconnects start at 0.2 s and double (see set_all); what was queued
 * may take 1 s to leave at close. IMMEDIATE queues only to finished connections, so that
 * nothing is kept for a peer that never was. ROUTER_MANDATORY turns silent drops into errors. */
#include "link_ctx.h"

#include "base/err.h"

#include <errno.h>
#include <stdlib.h>
#include <zmq.h>

struct option {
    int name, value;
};

static const struct option common_options[] = {
    {ZMQ_LINGER, 1000},
    {ZMQ_IMMEDIATE, 1},
    {ZMQ_HEARTBEAT_IVL, 1000},
    {ZMQ_HEARTBEAT_TIMEOUT, 3000},
    {ZMQ_HEARTBEAT_TTL, 4000},
    {ZMQ_HANDSHAKE_IVL, 5000},
    {ZMQ_CONNECT_TIMEOUT, 5000},
    {ZMQ_TCP_MAXRT, 10000},
    {ZMQ_RECONNECT_IVL, 200},
    {ZMQ_BACKLOG, 256},
    {ZMQ_IPV6, 1},
};

int link_ctx_open(struct link_ctx **out, int io_threads)
{
    struct link_ctx *c = calloc(1, sizeof *c);
    if (!c)
        return err_set(ERR_NOMEM, "out of memory for a messaging context");
    c->zmq = zmq_ctx_new();
    if (!c->zmq) {
        free(c);
        return err_set(ERR_NOMEM, "cannot create a messaging context: %s", zmq_strerror(errno));
    }
    zmq_ctx_set(c->zmq, ZMQ_IO_THREADS, io_threads);
    zmq_ctx_set(c->zmq, ZMQ_BLOCKY, 0); /* sockets never wait for ever at the end */
    *out = c;
    return 0;
}

void link_ctx_close(struct link_ctx *c)
{
    if (!c)
        return;
    while (zmq_ctx_term(c->zmq) && errno == EINTR)
        ;
    free(c);
}

static int set_int(void *sock, int name, int value)
{
    return zmq_setsockopt(sock, name, &value, sizeof value);
}

static int set_all(void *sock, const struct link_cfg *c)
{
    for (size_t i = 0; i < sizeof common_options / sizeof *common_options; i++) {
        if (set_int(sock, common_options[i].name, common_options[i].value))
            return -1;
    }
    uint64_t affinity = UINT64_C(1) << c->affinity;
    if (zmq_setsockopt(sock, ZMQ_AFFINITY, &affinity, sizeof affinity) ||
        zmq_setsockopt(sock, ZMQ_MAXMSGSIZE, &c->max_msg, sizeof c->max_msg) ||
        set_int(sock, ZMQ_RCVHWM, c->rcvhwm) || set_int(sock, ZMQ_SNDHWM, c->sndhwm))
        return -1;
    /* Over a network, retries back off to 10 s; on this machine a refused connection costs
     * nothing, and people watch. */
    int retry_max = endpoint_is_local(c->endpoint) ? 1000 : 10000;
    if (set_int(sock, ZMQ_RECONNECT_IVL_MAX, retry_max))
        return -1;
    return c->server ? set_int(sock, ZMQ_ROUTER_MANDATORY, 1) : 0;
}

void *link_socket(struct link_ctx *ctx, const struct link_cfg *c)
{
    void *sock = zmq_socket(ctx->zmq, c->server ? ZMQ_ROUTER : ZMQ_DEALER);
    if (!sock)
        return NULL;
    if (set_all(sock, c)) {
        int keep = errno;
        zmq_close(sock);
        errno = keep;
        return NULL;
    }
    return sock;
}
