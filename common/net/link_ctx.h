/* SPDX-License-Identifier: Apache-2.0 */
/* link_ctx.h - the ZeroMQ context and the socket options, shared by link.c and link_ctx.c. */
#ifndef NET_LINK_CTX_H
#define NET_LINK_CTX_H

#include "net/link.h"

struct link_ctx {
    void *zmq;
};

/* A socket of the right type with every option of docs/wire.md 1 set: options bind at
 * bind/connect, so nothing may be set later. NULL with errno. */
void *link_socket(struct link_ctx *ctx, const struct link_cfg *c);

#endif
