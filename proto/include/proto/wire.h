/* SPDX-License-Identifier: Apache-2.0 */
/* wire.h - every message between learner, actors and planners: its fields, limits and codec.
 *
 * Three planes (docs/wire.md): control = protobuf-c, data = msgpack + BIN tensors, weights = raw
 * chunks. Frame 0 of every message is the 8-byte envelope; frame 1 the body; frame 2, where a
 * type has one, bulk bytes. Every parse function takes outside bytes: it checks everything
 * before it believes anything, never allocates more than `n` implies, and on failure returns
 * ERR_PROTO (or ERR_UNSUPPORTED for a version) with err_text() naming the field. Parsed views
 * point into the input, which must outlive them. Pack functions allocate *out with malloc. */
#ifndef PROTO_WIRE_H
#define PROTO_WIRE_H

#include "base/digest.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WIRE_MAJOR = 1, WIRE_MINOR = 0, WIRE_ENVELOPE = 8 };
enum { WIRE_CONTROL_MAX = 64 * 1024, WIRE_WEIGHTS_MAX = 256 * 1024 + 4096 };
enum { WIRE_DATA_MIN_MAX = 8 << 20, WIRE_DATA_MAX = 64 << 20 };
enum { WIRE_ID = 16, WIRE_GROUPS_MAX = 16, WIRE_TEXT = 256 };

enum wire_plane { PLANE_CONTROL, PLANE_DATA, PLANE_WEIGHTS, PLANES };
enum wire_role { ROLE_ACTOR = 1, ROLE_PLANNER = 2, ROLE_ADMIN = 3 };

/* Append, never renumber. */
enum wire_type {
    /* control */
    WIRE_HELLO = 1,
    WIRE_WELCOME,
    WIRE_ERROR,
    WIRE_PING,
    WIRE_PONG,
    WIRE_PLAY,
    WIRE_DRAIN,
    WIRE_BYE,
    WIRE_STATUS,
    WIRE_STATUS_REPLY,
    WIRE_CHECKPOINT,
    WIRE_DRAIN_ALL,
    /* data */
    WIRE_EPISODE = 32,
    WIRE_ACK,
    WIRE_NACK,
    WIRE_CREDIT,
    WIRE_WANT,
    WIRE_JOB,
    WIRE_RESULT,
    WIRE_RESULT_ACK,
    WIRE_CANCEL,
    /* weights */
    WIRE_GET = 64,
    WIRE_CHUNK,
    WIRE_GONE,
};

struct wire_envelope {
    uint8_t major, minor, type, flags;
};
void wire_envelope_pack(unsigned char out[WIRE_ENVELOPE], enum wire_type type);
/* ERR_PROTO: not ours; ERR_UNSUPPORTED: another major. */
int wire_envelope_parse(struct wire_envelope *out, const void *p, size_t n);
const char *wire_type_name(unsigned type);

/* ------------------------------------------------------------------------ weights sets */

struct wire_group {
    uint32_t group;
    uint64_t version, size;
    struct digest digest; /* BLAKE2b-256 of the blob */
};
/* An immutable manifest {group -> version, size, digest}. */
struct wire_set {
    uint64_t set_id; /* 0: none published yet */
    uint32_t count;
    struct wire_group group[WIRE_GROUPS_MAX];
};
/* The set's own digest: BLAKE2b over its sorted (group, blob digest); no versions, no ids. */
void wire_set_digest(const struct wire_set *set, struct digest *out);

/* ----------------------------------------------------------------------------- control */

struct wire_hello {
    uint32_t proto_min, proto_max; /* majors */
    enum wire_role role;
    unsigned char worker_id[WIRE_ID];
    uint64_t incarnation;
    char build[WIRE_TEXT], library[WIRE_TEXT],
        isa[WIRE_TEXT]; /* build id; product library; best set */
    uint64_t features;
    unsigned char run_id[WIRE_ID]; /* last seen, zeros: none */
    uint32_t cores, slots;         /* slots: episodes or jobs worked on at once */
    char text[WIRE_TEXT];          /* host name and pid, for people */
    char precision[WIRE_TEXT];     /* planners: the half precision they have, or "float32" */
};

struct wire_pin {
    char build[WIRE_TEXT], library[WIRE_TEXT], isa[WIRE_TEXT];
    char precision[WIRE_TEXT]; /* of planning's scores: "float32", or the kind of half */
};

struct wire_welcome {
    uint32_t proto;
    unsigned char token[WIRE_ID], run_id[WIRE_ID], spec_hash[16];
    struct digest config_digest;
    const char *config_yaml; /* scope-run keys; view into the message */
    size_t config_bytes;
    uint32_t credit_episodes;
    uint64_t credit_bytes;
    uint64_t durable_seq; /* of this (worker_id, incarnation) */
    struct wire_set set;  /* newest */
    struct wire_pin pin;
    uint32_t heartbeat_ms, lease_ms;
    int64_t server_time_ms;
};

enum wire_error_code {
    WIRE_ERR_VERSION = 1,
    WIRE_ERR_NO_SESSION,
    WIRE_ERR_PIN,
    WIRE_ERR_ROLE,
    WIRE_ERR_TOO_LARGE,
    WIRE_ERR_BANNED,
    WIRE_ERR_SHUTDOWN,
    WIRE_ERR_SPEC
};
struct wire_error {
    uint32_t code;
    bool retryable; /* false: the worker prints text and exits 78 */
    uint32_t proto_min, proto_max;
    char text[WIRE_TEXT];
};

enum { WIRE_RUNNING_MAX = 64 };
struct wire_running {
    uint64_t job_id; /* job, or episode number with kind in attempt for actors */
    uint32_t attempt, percent;
};
struct wire_ping {
    unsigned char token[WIRE_ID];
    uint64_t set_id; /* held */
    uint32_t queue;  /* unacknowledged episodes or results */
    uint64_t done;   /* episodes or jobs finished since start */
    uint32_t loop_lag_ms;
    uint32_t running_count;
    struct wire_running
        running[WIRE_RUNNING_MAX]; /* what is being worked on: renews its lease */
};
struct wire_pong {
    struct wire_set set; /* newest */
    uint32_t credit_episodes;
    uint64_t credit_bytes;
    bool finished; /* the run is complete: drain and leave */
};

enum wire_kind { KIND_TRAIN = 1, KIND_EVAL = 2, KIND_FREE = 3 };
struct wire_play {
    enum wire_kind kind;
    uint64_t episode_no, seed;
    bool greedy;
    uint32_t lease_ms;
    struct wire_set set;
};
struct wire_drain {
    uint32_t deadline_ms;
    char reason[WIRE_TEXT];
};
struct wire_bye {
    unsigned char token[WIRE_ID];
    char reason[WIRE_TEXT];
};
struct wire_status_reply {
    char json[32 * 1024]; /* what `mag status` and `mag healthcheck` print */
};

/* One control message of any type. */
struct wire_control {
    enum wire_type type;
    union {
        struct wire_hello hello;
        struct wire_welcome welcome;
        struct wire_error error;
        struct wire_ping ping;
        struct wire_pong pong;
        struct wire_play play;
        struct wire_drain drain;
        struct wire_bye bye;
        struct wire_status_reply status;
        /* WIRE_STATUS, WIRE_CHECKPOINT, WIRE_DRAIN_ALL carry nothing */
    } u;
};
int wire_control_pack(const struct wire_control *c, unsigned char **body, size_t *n);
/* type: the envelope's. Strings are cut to their fields only if valid; too long is an error. */
int wire_control_parse(struct wire_control *out, enum wire_type type, const void *body,
                       size_t n);

/* -------------------------------------------------------------------------------- data */

enum wire_end { END_TERMINAL = 1, END_LIMIT = 2, END_ABORT = 3 };

/* docs/wire.md 3. Tensors are views, little-endian, possibly unaligned. */
struct wire_episode {
    unsigned char token[WIRE_ID];
    unsigned char worker_id[WIRE_ID];
    uint64_t incarnation; /* stream = (worker_id, incarnation) */
    uint64_t seq;         /* from 1 */
    enum wire_kind kind;
    uint64_t episode_no, seed, set_id;
    bool greedy;
    char env[64], build[64];
    unsigned char spec_hash[16];
    uint32_t T, N, O, A, G; /* G 0: no state */
    enum wire_end end;
    bool won;
    double ret;
    uint64_t wall_ms;
    const void *obs;    /* f32 [T+1][N][O] */
    const void *avail;  /* bits [T+1][N][ceil(A/8)], bit a%8, least significant first */
    const void *action; /* u8 [T][N] */
    const void *reward; /* f32 [T] */
    const void *state;  /* f32 [T+1][G] or NULL */
};
/* crc32c over everything after the token is part of the message. */
int wire_episode_pack(const struct wire_episode *e, unsigned char **body, size_t *n);
/* Checks shapes, crc, finite floats, action < A and available, T <= 65535. ERR_CORRUPT: crc. */
int wire_episode_parse(struct wire_episode *out, const void *body, size_t n);
/* Token and seq alone, without crc and checks: who sent it, and what to name in a NACK when
 * parsing fails. Costs per key, not per byte. */
int wire_episode_peek(unsigned char token[WIRE_ID], uint64_t *seq, const void *body, size_t n);
/* Put a new session's token into a packed EPISODE or RESULT; the crc does not cover it. */
void wire_body_token(unsigned char *body, const unsigned char token[WIRE_ID]);
/* Over kind, episode_no, env, spec_hash, seed, T, end, won, return, tensors and
 * the digest of the set; not over token, stream, seq, wall time, build. */
void wire_episode_digest(const struct wire_episode *e, const struct digest *set_digest,
                         struct digest *out);
size_t wire_episode_bytes(uint32_t T, uint32_t N, uint32_t O, uint32_t A, uint32_t G);

struct wire_ack {
    uint64_t durable_seq; /* everything up to here is stored */
    uint64_t selective;   /* bit k: durable_seq + 2 + k is stored as well */
    uint32_t credit_episodes;
    uint64_t credit_bytes;
};
enum wire_nack_reason { NACK_CRC = 1, NACK_SCHEMA, NACK_STALE, NACK_REJECTED };
struct wire_nack {
    uint64_t seq;
    uint32_t reason; /* NACK_CRC: send again; others: drop and count */
    char text[WIRE_TEXT];
};
struct wire_credit {
    uint32_t credit_episodes;
    uint64_t credit_bytes;
};
struct wire_want {
    unsigned char token[WIRE_ID];
    uint32_t free_slots;
    uint64_t set_id;
};

/* job_id = iteration << 28 | batch << 16 | first row. */
static inline uint64_t wire_job_id(uint64_t iteration, uint64_t batch, uint64_t row)
{
    return iteration << 28 | batch << 16 | row;
}
struct wire_job {
    uint64_t job_id;
    uint32_t attempt, lease_ms;
    struct wire_set set;
    uint32_t rows, W, N, O;
    const void *obs;    /* f32 [W][rows][N][O] */
    const void *action; /* u8 [W][rows][N] */
    const void *last;   /* u8 [W][rows] */
};

enum { WIRE_STATS = 24 }; /* doubles of a job's planning statistics, meaning: docs/wire.md 4 */
struct wire_result {
    unsigned char token[WIRE_ID];
    uint64_t job_id, set_id;
    uint32_t attempt, part, parts; /* one part per window of the job, 0-based */
    uint32_t starts, steps, N, C, D, A;
    uint32_t stats_count; /* on part 0, else 0 */
    double stats[WIRE_STATS];
    const void *index;  /* u8 [steps][starts][N][C] */
    const void *h;      /* f32 [steps][starts][N][D] */
    const void *action; /* u8 [steps][starts][N] */
    const void *avail;  /* bits [steps][starts][N][ceil(A/8)] */
    const void *logp;   /* f32 [steps][starts][N] */
    const void *value;  /* f32 [steps][starts][N] */
    const void *ret;    /* f32 [steps][starts][N] */
};
enum wire_verdict { VERDICT_ACCEPTED = 1, VERDICT_DUPLICATE, VERDICT_STALE, VERDICT_REJECTED };
struct wire_result_ack {
    uint64_t job_id;
    uint32_t attempt, verdict;
};
struct wire_cancel {
    uint64_t job_id;
};

int wire_ack_pack(const struct wire_ack *m, unsigned char **body, size_t *n);
int wire_ack_parse(struct wire_ack *out, const void *body, size_t n);
int wire_nack_pack(const struct wire_nack *m, unsigned char **body, size_t *n);
int wire_nack_parse(struct wire_nack *out, const void *body, size_t n);
int wire_credit_pack(const struct wire_credit *m, unsigned char **body, size_t *n);
int wire_credit_parse(struct wire_credit *out, const void *body, size_t n);
int wire_want_pack(const struct wire_want *m, unsigned char **body, size_t *n);
int wire_want_parse(struct wire_want *out, const void *body, size_t n);
int wire_job_pack(const struct wire_job *m, unsigned char **body, size_t *n);
int wire_job_parse(struct wire_job *out, const void *body, size_t n);
int wire_result_pack(const struct wire_result *m, unsigned char **body, size_t *n);
int wire_result_parse(struct wire_result *out, const void *body, size_t n); /* crc inside */
/* Digest over the row tensors of one part, for the proof of determinism. */
void wire_result_digest_add(struct digest_state *s, const struct wire_result *r);
int wire_result_ack_pack(const struct wire_result_ack *m, unsigned char **body, size_t *n);
int wire_result_ack_parse(struct wire_result_ack *out, const void *body, size_t n);
int wire_cancel_pack(const struct wire_cancel *m, unsigned char **body, size_t *n);
int wire_cancel_parse(struct wire_cancel *out, const void *body, size_t n);

/* ----------------------------------------------------------------------------- weights */

enum { WIRE_CHUNK_MAX = 256 * 1024 };
/* Bodies are fixed little-endian structs; CHUNK's bytes are frame 2. */
struct wire_get {
    unsigned char token[WIRE_ID];
    uint32_t group;
    uint64_t version, offset;
    uint32_t length; /* <= WIRE_CHUNK_MAX */
};
struct wire_chunk {
    uint32_t group;
    uint64_t version, offset;
    uint32_t crc; /* crc32c of the bytes */
};
struct wire_gone {
    uint32_t group;
    uint64_t version, newest_set_id;
};
enum {
    WIRE_GET_BYTES = 16 + 4 + 8 + 8 + 4,
    WIRE_CHUNK_BYTES = 4 + 8 + 8 + 4,
    WIRE_GONE_BYTES = 4 + 8 + 8
};
void wire_get_pack(unsigned char out[WIRE_GET_BYTES], const struct wire_get *m);
int wire_get_parse(struct wire_get *out, const void *body, size_t n);
void wire_chunk_pack(unsigned char out[WIRE_CHUNK_BYTES], const struct wire_chunk *m);
int wire_chunk_parse(struct wire_chunk *out, const void *body, size_t n);
void wire_gone_pack(unsigned char out[WIRE_GONE_BYTES], const struct wire_gone *m);
int wire_gone_parse(struct wire_gone *out, const void *body, size_t n);

#endif
