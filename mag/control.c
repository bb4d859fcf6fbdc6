/* SPDX-License-Identifier: Apache-2.0 */
/* control.c - a question and its answer over ZeroMQ, with a deadline. */
#include "control.h"

#include "base/clock.h"
#include "base/err.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

struct control {
    void *ctx, *sock;
    struct wire_control reply;
};

void control_endpoint(char out[CONTROL_ENDPOINT], const char *where, unsigned port)
{
    if (strstr(where, "://"))
        snprintf(out, CONTROL_ENDPOINT, "%s", where);
    else
        snprintf(out, CONTROL_ENDPOINT, "tcp://%s:%u", where, port);
}

int control_open(struct control **out, const char *endpoint)
{
    char where[CONTROL_ENDPOINT];
    int linger = 100;
    struct control *c = calloc(1, sizeof *c);
    if (!c)
        return ERR_NOMEM;
    control_endpoint(where, endpoint, 5560);
    c->ctx = zmq_ctx_new();
    c->sock = c->ctx ? zmq_socket(c->ctx, ZMQ_DEALER) : NULL;
    if (!c->sock) {
        control_close(c);
        return ERR_NOMEM;
    }
    zmq_setsockopt(c->sock, ZMQ_LINGER, &linger, sizeof linger);
    if (zmq_connect(c->sock, where)) {
        int err = err_set(ERR_CONFIG, "cannot connect to %s: %s", where, zmq_strerror(errno));
        control_close(c);
        return err;
    }
    *out = c;
    return 0;
}

void control_close(struct control *c)
{
    if (!c)
        return;
    if (c->sock)
        zmq_close(c->sock);
    if (c->ctx)
        zmq_ctx_term(c->ctx);
    free(c);
}

int control_send(struct control *c, enum wire_type type)
{
    struct wire_control m = {.type = type};
    unsigned char envelope[WIRE_ENVELOPE], *body = NULL;
    size_t n = 0;
    int err = wire_control_pack(&m, &body, &n);
    if (err)
        return err;
    wire_envelope_pack(envelope, type);
    bool sent = zmq_send(c->sock, envelope, sizeof envelope, ZMQ_SNDMORE | ZMQ_DONTWAIT) >= 0 &&
                zmq_send(c->sock, body, n, ZMQ_DONTWAIT) >= 0;
    free(body);
    return sent ? 0 : ERR_AGAIN;
}

/* One whole message; true if it is a status reply (kept in c->reply). */
static bool receive(struct control *c)
{
    unsigned char frame[WIRE_CONTROL_MAX];
    struct wire_envelope envelope = {0};
    size_t frames = 0;
    bool ok = false;
    int more = 1;
    while (more) {
        size_t size = sizeof more;
        int n = zmq_recv(c->sock, frame, sizeof frame, ZMQ_DONTWAIT);
        if (n < 0)
            return false;
        if (frames == 0)
            ok = !wire_envelope_parse(&envelope, frame, (size_t)n) &&
                 envelope.type == WIRE_STATUS_REPLY;
        else if (frames == 1 && ok)
            ok = (size_t)n <= sizeof frame &&
                 !wire_control_parse(&c->reply, WIRE_STATUS_REPLY, frame, (size_t)n);
        frames++;
        zmq_getsockopt(c->sock, ZMQ_RCVMORE, &more, &size);
    }
    return ok && frames == 2;
}

int control_status(struct control *c, int64_t timeout_ms, const char **json)
{
    int64_t deadline = clock_mono_ms() + timeout_ms;
    int err = control_send(c, WIRE_STATUS);
    if (err)
        return err;
    for (;;) {
        int64_t left = deadline - clock_mono_ms();
        zmq_pollitem_t item = {.socket = c->sock, .events = ZMQ_POLLIN};
        if (left <= 0 || zmq_poll(&item, 1, (long)left) <= 0)
            return err_set(ERR_AGAIN, "no answer");
        if (receive(c)) {
            *json = c->reply.u.status.json;
            return 0;
        }
    }
}
