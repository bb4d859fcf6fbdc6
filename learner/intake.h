/* SPDX-License-Identifier: Apache-2.0 */
/* intake.h - the store thread: parses what workers upload, commits it, and says what came of it.
 *
 * Messages of megabytes are parsed here, off the loop. The thread is the only writer of run.db:
 * everything that is stored passes its queue, in order. Episodes are acknowledged after the
 * commit of their group (every 20 ms or 4 MiB, or at once when nothing else is awaited);
 * results go straight into the rows of the open batch. */
#ifndef LEARNER_INTAKE_H
#define LEARNER_INTAKE_H

#include "env/env.h"
#include "learner/store.h"
#include "port.h"
#include "weights.h"

struct intake; /* opaque */

struct intake_cfg {
    struct store *store; /* taken over: closed by intake_close */
    struct port *port;
    struct weights *weights;
    const struct env_spec *spec;
    uint64_t seed;           /* of the run: what seeds episodes must carry */
    void (*wake)(void *arg); /* any thread: outcomes are waiting */
    void *wake_arg;
};
int intake_open(struct intake **out, const struct intake_cfg *c);
/* Finish what is queued, commit, end the thread; later calls return ERR_CLOSED. */
void intake_stop(struct intake *in);
/* Stop, close the store, free: nobody may be inside a call any more. */
void intake_close(struct intake *in);

/* ------------------------------------------------------------------------------- loop */

/* The session a message came from; uid 0: its data peer is not bound yet. */
struct intake_from {
    uint32_t uid;
    unsigned char token[WIRE_ID], worker_id[WIRE_ID];
    uint64_t incarnation;
};
/* Hand over an EPISODE or RESULT. ERR_AGAIN: queue full, message dropped and freed (the worker
 * sends it again). Never waits. */
int intake_message(struct intake *in, const struct intake_from *from, enum wire_type type,
                   struct link_msg *msg);
/* A worker said HELLO: register it, answer with OUT_HELLO. */
int intake_hello(struct intake *in, const struct intake_from *from, enum wire_role role);
/* A worker is gone: forget its half-received results. */
void intake_forget(struct intake *in, uint32_t uid);

enum outcome_kind {
    OUT_HELLO,   /* ack: durable marks of the worker's stream */
    OUT_UNBOUND, /* msg came from a peer without session: token says who claims it */
    OUT_ACK,     /* episode durable (or a duplicate of one that is) */
    OUT_NACK,
    OUT_PART,    /* one part of a result: its sender is at work */
    OUT_DROPPED, /* a part that is of no use; nothing is answered */
    OUT_RESULT,  /* a job's result was judged: verdict */
    OUT_BROKEN,  /* not a message of its type */
};
struct outcome {
    struct outcome *next;
    enum outcome_kind kind;
    uint32_t uid;
    size_t bytes;
    struct wire_ack ack; /* credit is filled in by the loop */
    struct wire_nack nack;
    bool numbered; /* NACK: the episode below was understood */
    enum wire_kind episode_kind;
    uint64_t episode_no;
    struct wire_result_ack result;
    bool accepted; /* first of its kind: counts for the worker */
    /* OUT_UNBOUND */
    unsigned char token[WIRE_ID];
    enum wire_type type;
    struct link_msg *msg;
};
/* All outcomes so far, oldest first; the caller frees each (outcome_free). */
struct outcome *intake_outcomes(struct intake *in);
void outcome_free(struct outcome *o);

struct intake_counts {
    uint64_t episodes, duplicate_episodes, stale_episodes, rejected;
    uint64_t jobs, duplicate_jobs, stale_results, divergence;
    uint64_t commits, bytes;
};
void intake_counts(struct intake *in, struct intake_counts *out); /* any thread */

/* ---------------------------------------------- trainer (and saver): wait for queue room */

int intake_metric(struct intake *in, uint64_t iteration, const char *name, double value);
int intake_eval(struct intake *in, uint64_t round, uint64_t set_id, bool greedy, uint32_t wins,
                uint32_t episodes, double mean_return);
int intake_meta(struct intake *in, const char *key, const char *value);
int intake_orphan(struct intake *in, enum wire_kind kind, uint64_t episode_no);
/* Everything queued before is durable. The error of the store if it failed. */
int intake_sync(struct intake *in);

#endif
