/* SPDX-License-Identifier: Apache-2.0 */
/* worker.h - one process's session with a learner: what actors and planners share.
 *
 *     CONNECTING --HELLO each second--> WELCOME --> ACTIVE --4 silent heartbeats--> CONNECTING
 *
 * worker_run is the program: it owns the loop (the caller's thread), three links, signals and
 * timers, keeps the session, and calls the role's functions, all on the loop thread. The role
 * owns its compute thread and its unacknowledged work. Reconnects, a restarted learner and
 * another run are handled here; the role only hears `welcome` (send again what is yours),
 * `start` and `stop` (another run: forget everything). */
#ifndef WORK_WORKER_H
#define WORK_WORKER_H

#include "base/config.h"
#include "env/env.h"
#include "net/link.h"
#include "proto/wire.h"
#include "work/fetch.h"

#include <stdbool.h>

struct worker; /* opaque */

/* What a WELCOME says, understood and checked. */
struct worker_run {
    struct config cfg; /* the run's keys from the learner, the local ones from this machine */
    const struct env_class *env;
    struct env_spec spec;
    enum cfg_isa isa; /* kernels to use: the run's pin, or this machine's choice */
    unsigned char run_id[WIRE_ID], worker_id[WIRE_ID];
    uint64_t incarnation;
};

/* The role. Every function runs on the loop thread; those marked * may be NULL. */
struct worker_role {
    /* A run begins: open what it needs, start threads. An error with err_text() ends the
     * program with EXIT_CONFIG. */
    int (*start)(void *arg, const struct worker_run *run);
    /* The run is over: join threads, drop work. `final`: the program ends; then it may return
     * false after a second: a thread is still busy and its memory must stay. */
    bool (*stop)(void *arg, bool final);
    /* A session begins or begins again; durable_seq of this stream. */
    void (*welcome)(void *arg, uint64_t durable_seq);
    void (*play)(void *arg, const struct wire_play *p); /* * */
    void (*data)(void *arg, enum wire_type type, struct link_msg *m);
    void (*credit)(void *arg, uint32_t episodes, uint64_t bytes); /* * */
    void (*weights)(void *arg);                    /* some blob became ready or gone */
    void (*ping)(void *arg, struct wire_ping *p);  /* fill set_id, queue, done, running */
    void (*drain)(void *arg, int64_t deadline_ms); /* monotonic; then worker_exit */
    void (*wake)(void *arg);                       /* after worker_wake */
    void (*tick)(void *arg, int64_t now_ms);       /* ten times a second */
};

struct worker_cfg {
    enum wire_role role;
    const char *name;         /* "actor", "planner" */
    const char *version;      /* of the program: half of the pin */
    const struct config *cfg; /* local keys: service.*, compute.*, log.* */
    const char *state_dir;    /* keeps the worker's id over restarts; NULL: a new one */
    uint32_t slots;
    uint32_t needs; /* weight groups, bit mask */
    const struct worker_role *ops;
    void *arg;
};

/* ERR_IO, ERR_NOMEM, ERR_INVAL with err_text(). */
int worker_open(struct worker **out, const struct worker_cfg *c);
/* Serve until drained, refused or told to stop; an exit status of base/err.h. */
int worker_run(struct worker *w);
/* False: a role's thread was still busy (see stop): its memory and what it uses stay. */
bool worker_close(struct worker *w);

bool worker_active(const struct worker *w);
const unsigned char *worker_token(const struct worker *w);
const struct wire_set *worker_newest(const struct worker *w);
/* Send a body (taken over, also on failure). Only while active, else ERR_CLOSED. */
int worker_send(struct worker *w, enum wire_plane plane, enum wire_type type,
                unsigned char *body, size_t n);
enum fetch_state worker_weights(struct worker *w, const struct wire_set *set,
                                struct blob_set **out);
/* Say BYE and end worker_run with this status. */
void worker_exit(struct worker *w, int status, const char *reason);
/* Have ops->wake called on the loop. Any thread. */
void worker_wake(struct worker *w);

/* A file's or a random worker id. ERR_IO with err_text(). */
int worker_identity(unsigned char id[WIRE_ID], const char *state_dir);
/* Retry time of unacknowledged work: max(1 s, 2 x smoothed), doubled by each resend. */
struct worker_rtt {
    double smoothed_ms; /* 0: no sample yet */
};
void worker_rtt_add(struct worker_rtt *r, int64_t sample_ms);
int64_t worker_rtt_timeout(const struct worker_rtt *r, unsigned resends);

#endif
