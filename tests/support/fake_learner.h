/* SPDX-License-Identifier: Apache-2.0 */
/* fake_learner.h - a scripted learner for tests of workers: raw sockets, one thread, no trust.
 *
 * It owns three ROUTERs on ipc, a small model's weights, and answers what is not the point of a
 * test by itself (HELLO, PING, GET); everything else is handed to the script by fake_next. */
#ifndef SUPPORT_FAKE_LEARNER_H
#define SUPPORT_FAKE_LEARNER_H

#include "algo/mag.h"
#include "env/env.h"
#include "proto/wire.h"

#include <pthread.h>
#include <stdbool.h>

enum { FAKE_SETS = 4 };

struct fake_msg {
    enum wire_plane plane;
    unsigned type;
    unsigned char peer[256];
    size_t peer_n;
    unsigned char *body; /* of the last message; freed by the next call */
    size_t n;
};

struct fake_learner {
    struct config cfg;
    struct env_spec spec;
    struct mag_dims dims;
    struct mag_model *model[FAKE_SETS]; /* set k + 1 */
    struct wire_set set[FAKE_SETS];
    unsigned char *blob[FAKE_SETS][MAG_GROUPS];
    size_t blob_n[FAKE_SETS][MAG_GROUPS];
    char dir[96], endpoint[PLANES][128];
    void *ctx, *sock[PLANES];
    unsigned char run_id[WIRE_ID], token[WIRE_ID], peer[PLANES][256];
    size_t peer_n[PLANES];
    uint64_t durable_seq;
    uint32_t credit_episodes;
    uint64_t credit_bytes;
    struct wire_pin pin;
    bool deaf;        /* answers nothing by itself */
    bool hold_chunks; /* GETs go to the script too */
    bool finished;
    unsigned hellos, pings, gets;
    struct wire_hello hello;
    struct wire_ping ping;
    struct fake_msg msg;
    struct wire_control control; /* of the last control message handed out */
    /* the worker under test */
    pthread_t thread;
    int (*main)(const struct config *cfg);
    struct config local;
    int status;
};

/* Small networks on map 3m; keys: NULL or "key=value" lines ending in NULL to change them. */
void fake_open(struct fake_learner *f, const char *const *keys);
void fake_close(struct fake_learner *f);
/* Close and bind the sockets again: a restarted learner that forgot all sessions. */
void fake_restart(struct fake_learner *f);

/* Start the worker in its own thread; join it and get its exit status. */
void fake_start(struct fake_learner *f, int (*worker)(const struct config *cfg));
int fake_join(struct fake_learner *f);

/* The next message that is not answered by itself, or false after timeout_ms. */
bool fake_next(struct fake_learner *f, int timeout_ms);
/* Likewise until one of this type comes; fails the test after ten seconds. */
void fake_expect(struct fake_learner *f, enum wire_type type);
/* Serve by itself for a while, failing the test if anything of `type` comes. */
void fake_quiet(struct fake_learner *f, enum wire_type type, int ms);

/* Send to the worker on the plane it was last heard on. Body is freed. */
void fake_send(struct fake_learner *f, enum wire_plane plane, enum wire_type type,
               unsigned char *body, size_t n);
void fake_send_control(struct fake_learner *f, const struct wire_control *c);
void fake_welcome(struct fake_learner *f);
void fake_chunk(struct fake_learner *f); /* answer the GET at hand */
void fake_error(struct fake_learner *f, enum wire_error_code code, bool retryable);
void fake_drain(struct fake_learner *f, uint32_t deadline_ms);

#endif
