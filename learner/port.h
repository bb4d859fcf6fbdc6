/* SPDX-License-Identifier: Apache-2.0 */
/* port.h - the one door between the trainer and the service around it.
 *
 * The trainer thread tells a straight story with blocking calls: play these episodes, give me
 * number n, plan this batch, wait. The loop hands the work to workers; the store thread brings
 * what they return, already committed. One mutex; megabytes are copied outside it.
 *
 * The trainer submits one request of each kind at a time. Every wait ends early with
 * ERR_INTERRUPTED after port_interrupt, with the error of port_fail, or with ERR_AGAIN when a
 * checkpoint was asked for (port_checkpoint_taken, then wait again). */
#ifndef LEARNER_PORT_H
#define LEARNER_PORT_H

#include "algo/mag.h"
#include "net/link.h"
#include "proto/wire.h"

#include <stdbool.h>

struct port; /* opaque */

/* `wake` is called (any thread) when the loop has something to look at. */
int port_open(struct port **out, void (*wake)(void *arg), void *arg);
void port_close(struct port *p);

/* ------------------------------------------------------------------------ any thread */

void port_interrupt(struct port *p); /* stop: waits return ERR_INTERRUPTED */
void port_fail(struct port *p, int err, const char *text); /* the first failure counts */
int port_failure(struct port *p, char *text, size_t n);    /* 0: none; else its code and text */
void port_ask_checkpoint(struct port *p);
bool port_stopping(struct port *p);
/* Workers present, told by the loop; port_wait_workers waits for these. */
void port_workers(struct port *p, size_t actors, size_t planners);

/* --------------------------------------------------------------------------- trainer */

/* 0, ERR_INTERRUPTED, or ERR_AGAIN (checkpoint wanted): without waiting. */
int port_poll(struct port *p);
void port_checkpoint_taken(struct port *p);
/* Wait until so many workers are there; after patience_ms one of each kind will do. */
int port_wait_workers(struct port *p, size_t actors, size_t planners, int64_t patience_ms);

enum { PORT_EPISODES_MAX = 4096 };
struct port_play {
    enum wire_kind kind;
    uint64_t first;
    uint32_t count;
    bool greedy;
    uint64_t set_id;
    struct digest set_digest;
};
/* Ask for episodes first..first+count-1, all with one set. have[i]: not needed (NULL: all are
 * needed). Replaces the request before it. ERR_INVAL for too many. */
int port_play(struct port *p, const struct port_play *play, const bool *have);

/* An episode with the memory its view points into. */
struct port_episode {
    struct wire_episode e;
    struct digest set_digest;
    struct link_msg *msg; /* or */
    unsigned char *body;  /* from run.db */
};
void port_episode_free(struct port_episode *e); /* any thread; zeroed struct is a no-op */
/* Wait for one episode of the request; ownership passes to the caller. */
int port_episode(struct port *p, uint64_t episode_no, struct port_episode *out);
uint64_t port_request_seed(const struct draws *draws, enum wire_kind kind, uint64_t episode_no);
void port_play_end(struct port *p);

enum { PORT_JOBS_MAX = 4096 };
struct port_job {
    uint64_t job_id;
    uint32_t first_row, rows; /* of the sampled batch */
    const float *obs;         /* [W][rows][N][O] */
    const uint8_t *action;    /* [W][rows][N] */
    const uint8_t *last;      /* [W][rows] */
};
struct port_batch {
    uint64_t iteration, batch, set_id;
    struct digest set_digest;
    size_t W, B; /* windows of the batch; a window has W - 2 starts */
    struct mag_dims dims;
    const struct port_job *job;
    size_t jobs;
    struct mag_rows *rows; /* out: S = (W - 2) * B starts, `steps` each */
};
/* Hand out a batch; everything it points to stays untouched until port_plan_end. */
int port_plan(struct port *p, const struct port_batch *b);
/* Wait until all rows are in. stats: sums in job order. */
int port_plan_wait(struct port *p, struct mag_plan_stats *stats);
/* Withdraw: after return nobody reads the windows or writes the rows. */
void port_plan_end(struct port *p);

/* ------------------------------------------------------------------------------ loop */

/* Requests carry a generation; the loop compares it with the one it knows. */
uint64_t port_play_generation(struct port *p);
uint64_t port_plan_generation(struct port *p);
/* The open request; missing[] (PORT_EPISODES_MAX) gets the numbers still needed. */
size_t port_play_get(struct port *p, struct port_play *out, uint64_t *missing);
/* The ids of the open batch's jobs that are not done, into ids[PORT_JOBS_MAX]. */
size_t port_plan_get(struct port *p, uint64_t *set_id, uint64_t *ids);
/* Pack a JOB message of the open batch. ERR_NOTFOUND when it is done or withdrawn. */
int port_job_pack(struct port *p, uint64_t job_id, uint32_t attempt, uint32_t lease_ms,
                  const struct wire_set *set, unsigned char **body, size_t *n);
void port_progress(struct port *p, size_t *done, size_t *total, bool *planning);
bool port_checkpoint_asked(struct port *p);

/* ---------------------------------------------------------------------- store thread */

enum port_want { WANT_OPEN, WANT_DONE, WANT_UNKNOWN };
/* Is this episode of the open request still needed? The request's set digest comes out. */
enum port_want port_wants_episode(struct port *p, enum wire_kind kind, uint64_t episode_no,
                                  bool *greedy, struct digest *set_digest);
size_t port_episodes_missing(struct port *p);
/* A committed episode; taken over (freed here if nobody wants it). */
void port_deliver(struct port *p, struct port_episode *e);

struct port_job_info {
    enum port_want want;
    uint32_t rows;                 /* windows of the job = parts of its RESULT */
    struct digest digest;          /* WANT_DONE: of the rows that were taken, */
    unsigned char worker[WIRE_ID]; /* and from whom */
    struct digest set_digest;
    size_t starts, steps; /* of one part */
    struct mag_dims dims;
};
void port_job_info(struct port *p, uint64_t job_id, struct port_job_info *out);
/* Copy a whole result (its parts in order, already checked) into the rows and close the job.
 * ERR_NOTFOUND: someone else was first, or the batch is gone. */
int port_job_take(struct port *p, uint64_t job_id, const struct wire_result *part, size_t parts,
                  const struct digest *digest, const unsigned char worker[WIRE_ID],
                  const struct mag_plan_stats *stats);

#endif
