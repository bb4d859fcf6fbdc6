/* SPDX-License-Identifier: Apache-2.0 */
/* wire_samples.c - the messages behind golden files, corpora and tests. */
#include "wire_samples.h"

#include "base/err.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    T = 3,
    N = 2,
    O = 4,
    A = 11,
    G = 5,
    W = 4,
    ROWS = 2,
    STARTS = 2,
    STEPS = 3,
    C = 3,
    D = 8
};

/* Numbers that are exact in float32 and differ from place to place. */
static float f32_at(size_t i)
{
    return (float)((i * 37) % 64) / 8.0f - 3.5f;
}

static void fill_f32(float *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p[i] = f32_at(i);
}

static void fill_id(unsigned char id[WIRE_ID], unsigned char first)
{
    for (unsigned i = 0; i < WIRE_ID; i++)
        id[i] = (unsigned char)(first + i);
}

static void fill_set(struct wire_set *s)
{
    s->set_id = 7;
    s->count = 3;
    for (uint32_t i = 0; i < s->count; i++) {
        s->group[i] =
            (struct wire_group){.group = i * 2, .version = 5 + i, .size = 1000 * (i + 1)};
        digest_of(&s->group[i].digest, &i, sizeof i);
    }
}

/* Actions i % A, their masks with that bit and the bit 0 set. */
static void fill_choices(unsigned char *action, unsigned char *avail, size_t rows)
{
    for (size_t i = 0; i < rows; i++) {
        unsigned a = (unsigned)(i * 5 % A);
        action[i] = (unsigned char)a;
        avail[2 * i] = avail[2 * i + 1] = 0;
        avail[2 * i] |= 1;
        avail[2 * i + a / 8] |= (unsigned char)(1u << (a % 8));
    }
}

void sample_episode(struct wire_episode *e, bool with_state)
{
    static float obs[(T + 1) * N * O], reward[T], state[(T + 1) * G];
    static unsigned char avail[(T + 1) * N * 2], action[(T + 1) * N];
    fill_f32(obs, sizeof obs / 4);
    fill_f32(reward, T);
    fill_f32(state, sizeof state / 4);
    fill_choices(action, avail, (T + 1) * N);
    *e = (struct wire_episode){
        .incarnation = 1700000000123,
        .seq = 12,
        .kind = KIND_TRAIN,
        .episode_no = 345,
        .seed = 0x123456789abcdef0,
        .set_id = 7,
        .env = "smac",
        .build = "battle-1",
        .T = T,
        .N = N,
        .O = O,
        .A = A,
        .G = with_state ? G : 0,
        .end = END_TERMINAL,
        .won = true,
        .ret = 19.875,
        .wall_ms = 321,
        .obs = obs,
        .avail = avail,
        .action = action,
        .reward = reward,
        .state = with_state ? state : NULL,
    };
    fill_id(e->token, 16);
    fill_id(e->worker_id, 64);
    fill_id(e->spec_hash, 128);
}

void sample_job(struct wire_job *j)
{
    static float obs[W * ROWS * N * O];
    static unsigned char action[W * ROWS * N], last[W * ROWS];
    fill_f32(obs, sizeof obs / 4);
    for (size_t i = 0; i < sizeof action; i++)
        action[i] = (unsigned char)(i % A);
    for (size_t i = 0; i < sizeof last; i++)
        last[i] = i == 3;
    *j = (struct wire_job){.job_id = wire_job_id(9, 2, 4),
                           .attempt = 1,
                           .lease_ms = 15000,
                           .rows = ROWS,
                           .W = W,
                           .N = N,
                           .O = O,
                           .obs = obs,
                           .action = action,
                           .last = last};
    fill_set(&j->set);
}

void sample_result(struct wire_result *r)
{
    enum { TOKENS = STEPS * STARTS * N };
    static float h[TOKENS * D], logp[TOKENS], value[TOKENS], ret[TOKENS];
    static unsigned char idx[TOKENS * C], action[TOKENS], avail[TOKENS * 2];
    fill_f32(h, TOKENS * D);
    fill_f32(logp, TOKENS);
    fill_f32(value, TOKENS);
    fill_f32(ret, TOKENS);
    fill_choices(action, avail, TOKENS);
    for (size_t i = 0; i < sizeof idx; i++)
        idx[i] = (unsigned char)(i * 11);
    *r = (struct wire_result){.job_id = wire_job_id(9, 2, 4),
                              .set_id = 7,
                              .attempt = 1,
                              .part = 0,
                              .parts = 2,
                              .starts = STARTS,
                              .steps = STEPS,
                              .N = N,
                              .C = C,
                              .D = D,
                              .A = A,
                              .stats_count = 3,
                              .stats = {6, -1.5, 0.25},
                              .index = idx,
                              .h = h,
                              .action = action,
                              .avail = avail,
                              .logp = logp,
                              .value = value,
                              .ret = ret};
    fill_id(r->token, 16);
}

static void sample_hello(struct wire_hello *h)
{
    *h = (struct wire_hello){.proto_min = 1,
                             .proto_max = 1,
                             .role = ROLE_PLANNER,
                             .incarnation = 1700000000123,
                             .build = "0.1.0",
                             .library = "libxsmm 1.17",
                             .isa = "avx512",
                             .features = 3,
                             .cores = 8,
                             .slots = 2,
                             .text = "host.example pid 42"};
    fill_id(h->worker_id, 64);
    fill_id(h->run_id, 200);
}

static void sample_welcome(struct wire_welcome *w)
{
    static const char yaml[] = "seed: 1\nenv:\n  map: 3m\n";
    *w = (struct wire_welcome){
        .proto = 1,
        .config_yaml = yaml,
        .config_bytes = sizeof yaml - 1,
        .credit_episodes = 8,
        .credit_bytes = 64 << 20,
        .durable_seq = 11,
        .pin = {.build = "0.1.0", .library = "libxsmm 1.17", .isa = "avx2"},
        .heartbeat_ms = 1000,
        .lease_ms = 15000,
        .server_time_ms = 1700000000456};
    fill_id(w->token, 16);
    fill_id(w->run_id, 200);
    fill_id(w->spec_hash, 128);
    digest_of(&w->config_digest, yaml, sizeof yaml - 1);
    fill_set(&w->set);
}

void sample_control(struct wire_control *c, enum wire_type type)
{
    memset(c, 0, sizeof *c);
    c->type = type;
    switch (type) {
    case WIRE_HELLO:
        sample_hello(&c->u.hello);
        break;
    case WIRE_WELCOME:
        sample_welcome(&c->u.welcome);
        break;
    case WIRE_ERROR:
        c->u.error = (struct wire_error){.code = WIRE_ERR_NO_SESSION,
                                         .retryable = true,
                                         .proto_min = 1,
                                         .proto_max = 1,
                                         .text = "no session: say HELLO"};
        break;
    case WIRE_PING:
        c->u.ping =
            (struct wire_ping){.set_id = 7,
                               .queue = 2,
                               .done = 99,
                               .loop_lag_ms = 3,
                               .running_count = 2,
                               .running = {{345, KIND_TRAIN, 10}, {346, KIND_TRAIN, 0}}};
        fill_id(c->u.ping.token, 16);
        break;
    case WIRE_PONG:
        c->u.pong = (struct wire_pong){.credit_episodes = 8, .credit_bytes = 64 << 20};
        fill_set(&c->u.pong.set);
        break;
    case WIRE_PLAY:
        c->u.play = (struct wire_play){.kind = KIND_EVAL,
                                       .episode_no = 3 << 20 | 17,
                                       .seed = 0xfedcba9876543210,
                                       .greedy = true,
                                       .lease_ms = 15000};
        fill_set(&c->u.play.set);
        break;
    case WIRE_DRAIN:
        c->u.drain = (struct wire_drain){.deadline_ms = 5000, .reason = "stopping"};
        break;
    case WIRE_BYE:
        fill_id(c->u.bye.token, 16);
        strcpy(c->u.bye.reason, "drained");
        break;
    case WIRE_STATUS_REPLY:
        strcpy(c->u.status.json, "{\"iteration\": 3}\n");
        break;
    default:
        break;
    }
}

static void check(int err)
{
    if (err) {
        fprintf(stderr, "sample does not pack: %s\n", err_text());
        abort();
    }
}

static struct wire_sample *add(struct wire_sample *out, size_t *n, const char *name,
                               enum wire_type type)
{
    struct wire_sample *s = &out[(*n)++];
    s->name = name;
    s->type = type;
    return s;
}

static void add_fixed(struct wire_sample *s, const unsigned char *bytes, size_t n)
{
    s->body = malloc(n);
    if (!s->body)
        abort();
    memcpy(s->body, bytes, n);
    s->n = n;
}

static void add_small_data(struct wire_sample *out, size_t *n)
{
    struct wire_sample *s = add(out, n, "ACK", WIRE_ACK);
    struct wire_ack ack = {11, 5, 8, 64 << 20};
    check(wire_ack_pack(&ack, &s->body, &s->n));
    struct wire_nack nack = {12, NACK_CRC, "the checksum does not fit"};
    s = add(out, n, "NACK", WIRE_NACK);
    check(wire_nack_pack(&nack, &s->body, &s->n));
    struct wire_credit credit = {4, 1 << 20};
    s = add(out, n, "CREDIT", WIRE_CREDIT);
    check(wire_credit_pack(&credit, &s->body, &s->n));
    struct wire_want want = {.free_slots = 2, .set_id = 7};
    fill_id(want.token, 16);
    s = add(out, n, "WANT", WIRE_WANT);
    check(wire_want_pack(&want, &s->body, &s->n));
    struct wire_result_ack ra = {wire_job_id(9, 2, 4), 1, VERDICT_ACCEPTED};
    s = add(out, n, "RESULT_ACK", WIRE_RESULT_ACK);
    check(wire_result_ack_pack(&ra, &s->body, &s->n));
    struct wire_cancel cancel = {wire_job_id(9, 2, 4)};
    s = add(out, n, "CANCEL", WIRE_CANCEL);
    check(wire_cancel_pack(&cancel, &s->body, &s->n));
}

static void add_weights(struct wire_sample *out, size_t *n)
{
    unsigned char b[WIRE_GET_BYTES];
    struct wire_get get = {
        .group = 2, .version = 6, .offset = 1 << 18, .length = WIRE_CHUNK_MAX};
    fill_id(get.token, 16);
    wire_get_pack(b, &get);
    add_fixed(add(out, n, "GET", WIRE_GET), b, WIRE_GET_BYTES);
    struct wire_chunk chunk = {.group = 2, .version = 6, .offset = 1 << 18, .crc = 0xdeadbeef};
    wire_chunk_pack(b, &chunk);
    add_fixed(add(out, n, "CHUNK", WIRE_CHUNK), b, WIRE_CHUNK_BYTES);
    struct wire_gone gone = {.group = 2, .version = 6, .newest_set_id = 8};
    wire_gone_pack(b, &gone);
    add_fixed(add(out, n, "GONE", WIRE_GONE), b, WIRE_GONE_BYTES);
}

size_t wire_samples(struct wire_sample out[WIRE_SAMPLES_MAX])
{
    size_t n = 0;
    for (unsigned t = WIRE_HELLO; t <= WIRE_DRAIN_ALL; t++) {
        static struct wire_control c;
        sample_control(&c, t);
        struct wire_sample *s = add(out, &n, wire_type_name(t), t);
        check(wire_control_pack(&c, &s->body, &s->n));
    }
    for (int state = 0; state < 2; state++) {
        struct wire_episode e;
        sample_episode(&e, state);
        struct wire_sample *s = add(out, &n, state ? "EPISODE_state" : "EPISODE", WIRE_EPISODE);
        check(wire_episode_pack(&e, &s->body, &s->n));
    }
    struct wire_job j;
    sample_job(&j);
    struct wire_sample *s = add(out, &n, "JOB", WIRE_JOB);
    check(wire_job_pack(&j, &s->body, &s->n));
    struct wire_result r;
    sample_result(&r);
    s = add(out, &n, "RESULT", WIRE_RESULT);
    check(wire_result_pack(&r, &s->body, &s->n));
    add_small_data(out, &n);
    add_weights(out, &n);
    return n;
}

void wire_samples_free(struct wire_sample *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(s[i].body);
}

int sample_parse(enum wire_type type, const void *body, size_t n)
{
    static struct wire_control control;
    union {
        struct wire_episode episode;
        struct wire_ack ack;
        struct wire_nack nack;
        struct wire_credit credit;
        struct wire_want want;
        struct wire_job job;
        struct wire_result result;
        struct wire_result_ack result_ack;
        struct wire_cancel cancel;
        struct wire_get get;
        struct wire_chunk chunk;
        struct wire_gone gone;
    } u;
    switch (type) {
    case WIRE_EPISODE:
        return wire_episode_parse(&u.episode, body, n);
    case WIRE_ACK:
        return wire_ack_parse(&u.ack, body, n);
    case WIRE_NACK:
        return wire_nack_parse(&u.nack, body, n);
    case WIRE_CREDIT:
        return wire_credit_parse(&u.credit, body, n);
    case WIRE_WANT:
        return wire_want_parse(&u.want, body, n);
    case WIRE_JOB:
        return wire_job_parse(&u.job, body, n);
    case WIRE_RESULT:
        return wire_result_parse(&u.result, body, n);
    case WIRE_RESULT_ACK:
        return wire_result_ack_parse(&u.result_ack, body, n);
    case WIRE_CANCEL:
        return wire_cancel_parse(&u.cancel, body, n);
    case WIRE_GET:
        return wire_get_parse(&u.get, body, n);
    case WIRE_CHUNK:
        return wire_chunk_parse(&u.chunk, body, n);
    case WIRE_GONE:
        return wire_gone_parse(&u.gone, body, n);
    default:
        return wire_control_parse(&control, type, body, n);
    }
}
