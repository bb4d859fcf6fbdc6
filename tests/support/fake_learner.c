/* SPDX-License-Identifier: Apache-2.0 */
/* fake_learner.c - the other end of a worker's sockets, under a test's control. */
#include "fake_learner.h"

#include "base/clock.h"
#include "base/err.h"
#include "net/link.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>

enum { PATIENCE_MS = 20000 };

static const char *const small_keys[] = {
    "env.map=3m",           "net.width=32",      "net.categoricals=4",
    "net.classes=4",        "net.heads=4",       "net.layers=1",
    "train.windows=4",      "replay.window=8",   "imagine.steps=4",
    "imagine.candidates=2", "imagine.horizon=2", "job.windows=2",
    "collect.episodes=2",   "seed=77",           NULL};

static void set_keys(struct config_builder *b, const char *const *keys)
{
    for (; keys && *keys; keys++)
        ck_assert_msg(config_assign(b, *keys) == 0, "%s", err_text());
}

static void make_config(struct fake_learner *f, const char *const *keys)
{
    struct config_builder *b;
    ck_assert_int_eq(config_begin(&b), 0);
    set_keys(b, small_keys);
    set_keys(b, keys);
    ck_assert_msg(config_finish(b, &f->cfg) == 0, "%s", err_text());
    config_end(b);
}

static void make_sets(struct fake_learner *f)
{
    const struct env_class *env;
    ck_assert_msg(env_find(f->cfg.env.name, &env) == 0, "%s", err_text());
    ck_assert_msg(env->spec(&f->cfg, &f->spec) == 0, "%s", err_text());
    mag_dims_of(&f->dims, &f->cfg, f->spec.n_agents, f->spec.obs, f->spec.actions);
    for (uint64_t k = 0; k < FAKE_SETS; k++) {
        struct philox key = {.seed = 100 + k};
        struct draws draws = philox_draws(&key);
        ck_assert_int_eq(mag_model_open(&f->model[k], &f->dims, ISA_AUTO), 0);
        mag_init(f->model[k], &draws);
        f->set[k].set_id = k + 1;
        for (uint32_t g = 0; g < MAG_GROUPS; g++) {
            const struct params *p = &f->model[k]->params;
            if (g == MAG_DECODE) /* never published */
                continue;
            ck_assert_int_eq(
                params_to_blob(p, p->value, g, g, "", &f->blob[k][g], &f->blob_n[k][g]), 0);
            struct wire_group *w = &f->set[k].group[f->set[k].count++];
            *w = (struct wire_group){.group = g, .version = k + 1, .size = f->blob_n[k][g]};
            digest_of(&w->digest, f->blob[k][g], f->blob_n[k][g]);
        }
    }
}

static void bind_all(struct fake_learner *f)
{
    int linger = 0;
    f->ctx = zmq_ctx_new();
    for (int p = 0; p < PLANES; p++) {
        f->sock[p] = zmq_socket(f->ctx, ZMQ_ROUTER);
        zmq_setsockopt(f->sock[p], ZMQ_LINGER, &linger, sizeof linger);
        ck_assert_msg(zmq_bind(f->sock[p], f->endpoint[p]) == 0, "%s: %s", f->endpoint[p],
                      zmq_strerror(errno));
        f->peer_n[p] = 0;
    }
}

static void close_all(struct fake_learner *f)
{
    for (int p = 0; p < PLANES; p++)
        zmq_close(f->sock[p]);
    zmq_ctx_term(f->ctx);
}

void fake_open(struct fake_learner *f, const char *const *keys)
{
    static const char *const name[PLANES] = {"control", "data", "weights"};
    char id[32];
    memset(f, 0, sizeof *f);
    make_config(f, keys);
    make_sets(f);
    snprintf(id, sizeof id, "fake-%d", (int)getpid());
    ck_assert_int_eq(endpoint_ipc_dir(f->dir, sizeof f->dir, id), 0);
    for (int p = 0; p < PLANES; p++)
        snprintf(f->endpoint[p], sizeof f->endpoint[p], "ipc://%s/%s", f->dir, name[p]);
    memset(f->run_id, 7, WIRE_ID);
    memset(f->token, 1, WIRE_ID);
    f->credit_episodes = 8;
    f->credit_bytes = 64 << 20;
    config_defaults(&f->local);
    memcpy(f->local.net_link.control, f->endpoint[0], sizeof f->endpoint[0]);
    memcpy(f->local.net_link.data, f->endpoint[1], sizeof f->endpoint[1]);
    memcpy(f->local.net_link.weights, f->endpoint[2], sizeof f->endpoint[2]);
    snprintf(f->local.log.level, sizeof f->local.log.level, "%s",
             getenv("MAG_TEST_LOG") ? "debug" : "error");
    bind_all(f);
}

void fake_close(struct fake_learner *f)
{
    free(f->msg.body);
    close_all(f);
    for (size_t k = 0; k < FAKE_SETS; k++) {
        for (size_t g = 0; g < MAG_GROUPS; g++)
            free(f->blob[k][g]);
        mag_model_close(f->model[k]);
    }
    rmdir(f->dir);
}

void fake_restart(struct fake_learner *f)
{
    close_all(f);
    f->token[0]++;
    bind_all(f);
}

static void *run_worker(void *arg)
{
    struct fake_learner *f = arg;
    f->status = f->main(&f->local);
    return NULL;
}

void fake_start(struct fake_learner *f, int (*worker)(const struct config *cfg))
{
    f->main = worker;
    ck_assert_int_eq(pthread_create(&f->thread, NULL, run_worker, f), 0);
}

int fake_join(struct fake_learner *f)
{
    ck_assert_int_eq(pthread_join(f->thread, NULL), 0);
    return f->status;
}

/* ------------------------------------------------------------------------------- sending */

static void send_frames(struct fake_learner *f, enum wire_plane plane, enum wire_type type,
                        const void *body, size_t n, const void *bulk, size_t bulk_n)
{
    unsigned char e[WIRE_ENVELOPE];
    ck_assert_uint_gt(f->peer_n[plane], 0);
    wire_envelope_pack(e, type);
    zmq_send(f->sock[plane], f->peer[plane], f->peer_n[plane], ZMQ_SNDMORE);
    zmq_send(f->sock[plane], e, sizeof e, ZMQ_SNDMORE);
    zmq_send(f->sock[plane], body, n, bulk ? ZMQ_SNDMORE : 0);
    if (bulk)
        zmq_send(f->sock[plane], bulk, bulk_n, 0);
}

void fake_send(struct fake_learner *f, enum wire_plane plane, enum wire_type type,
               unsigned char *body, size_t n)
{
    send_frames(f, plane, type, body, n, NULL, 0);
    free(body);
}

void fake_send_control(struct fake_learner *f, const struct wire_control *c)
{
    unsigned char *body;
    size_t n;
    ck_assert_msg(wire_control_pack(c, &body, &n) == 0, "%s", err_text());
    fake_send(f, PLANE_CONTROL, c->type, body, n);
}

void fake_welcome(struct fake_learner *f)
{
    static struct wire_control c;
    char *yaml;
    size_t n;
    ck_assert_int_eq(config_run_yaml(&f->cfg, &yaml, &n), 0);
    memset(&c, 0, sizeof c);
    c.type = WIRE_WELCOME;
    c.u.welcome = (struct wire_welcome){.proto = WIRE_MAJOR,
                                        .config_yaml = yaml,
                                        .config_bytes = n,
                                        .credit_episodes = f->credit_episodes,
                                        .credit_bytes = f->credit_bytes,
                                        .durable_seq = f->durable_seq,
                                        .set = f->set[0],
                                        .pin = f->pin,
                                        .heartbeat_ms = 200,
                                        .lease_ms = 5000};
    memcpy(c.u.welcome.token, f->token, WIRE_ID);
    memcpy(c.u.welcome.run_id, f->run_id, WIRE_ID);
    memcpy(c.u.welcome.spec_hash, f->spec.hash, sizeof f->spec.hash);
    config_digest(&f->cfg, &c.u.welcome.config_digest);
    fake_send_control(f, &c);
    free(yaml);
}

void fake_error(struct fake_learner *f, enum wire_error_code code, bool retryable)
{
    static struct wire_control c;
    memset(&c, 0, sizeof c);
    c.type = WIRE_ERROR;
    c.u.error = (struct wire_error){.code = code,
                                    .retryable = retryable,
                                    .proto_min = 1,
                                    .proto_max = 1,
                                    .text = "told so"};
    fake_send_control(f, &c);
}

void fake_drain(struct fake_learner *f, uint32_t deadline_ms)
{
    static struct wire_control c;
    memset(&c, 0, sizeof c);
    c.type = WIRE_DRAIN;
    c.u.drain = (struct wire_drain){.deadline_ms = deadline_ms, .reason = "test"};
    fake_send_control(f, &c);
}

static void send_pong(struct fake_learner *f)
{
    static struct wire_control c;
    memset(&c, 0, sizeof c);
    c.type = WIRE_PONG;
    c.u.pong = (struct wire_pong){.set = f->set[0],
                                  .credit_episodes = f->credit_episodes,
                                  .credit_bytes = f->credit_bytes,
                                  .finished = f->finished};
    fake_send_control(f, &c);
}

void fake_chunk(struct fake_learner *f)
{
    struct wire_get g;
    unsigned char body[WIRE_CHUNK_BYTES];
    ck_assert_int_eq(wire_get_parse(&g, f->msg.body, f->msg.n), 0);
    ck_assert(g.version >= 1 && g.version <= FAKE_SETS);
    const unsigned char *blob = f->blob[g.version - 1][g.group];
    size_t left = f->blob_n[g.version - 1][g.group] - g.offset;
    size_t n = left < g.length ? left : g.length;
    struct wire_chunk c = {g.group, g.version, g.offset, crc32c(0, blob + g.offset, n)};
    wire_chunk_pack(body, &c);
    send_frames(f, PLANE_WEIGHTS, WIRE_CHUNK, body, sizeof body, blob + g.offset, n);
}

/* ----------------------------------------------------------------------------- receiving */

static void recv_message(struct fake_learner *f, enum wire_plane plane)
{
    zmq_msg_t part;
    struct wire_envelope e;
    int more = 1;
    for (int i = 0; more; i++) {
        zmq_msg_init(&part);
        ck_assert_int_ge(zmq_msg_recv(&part, f->sock[plane], 0), 0);
        size_t n = zmq_msg_size(&part);
        if (i == 0) {
            f->peer_n[plane] = n;
            memcpy(f->peer[plane], zmq_msg_data(&part), n);
        } else if (i == 1) {
            ck_assert_int_eq(wire_envelope_parse(&e, zmq_msg_data(&part), n), 0);
            f->msg.type = e.type;
        } else {
            free(f->msg.body);
            f->msg.body = malloc(n ? n : 1);
            memcpy(f->msg.body, zmq_msg_data(&part), n);
            f->msg.n = n;
        }
        more = zmq_msg_more(&part);
        zmq_msg_close(&part);
    }
    f->msg.plane = plane;
}

/* True when the message needed no script. */
static bool answer(struct fake_learner *f)
{
    if (f->msg.plane == PLANE_CONTROL)
        ck_assert_msg(wire_control_parse(&f->control, f->msg.type, f->msg.body, f->msg.n) == 0,
                      "%s", err_text());
    if (f->msg.type == WIRE_HELLO) {
        f->hellos++;
        f->hello = f->control.u.hello;
    } else if (f->msg.type == WIRE_PING) {
        f->pings++;
        f->ping = f->control.u.ping;
    } else if (f->msg.type == WIRE_GET) {
        f->gets++;
    }
    if (f->deaf)
        return false;
    if (f->msg.type == WIRE_HELLO)
        fake_welcome(f);
    else if (f->msg.type == WIRE_PING && memcmp(f->ping.token, f->token, WIRE_ID) != 0)
        fake_error(f, WIRE_ERR_NO_SESSION, true);
    else if (f->msg.type == WIRE_PING)
        send_pong(f);
    else if (f->msg.type == WIRE_GET && !f->hold_chunks)
        fake_chunk(f);
    else
        return false;
    return true;
}

bool fake_next(struct fake_learner *f, int timeout_ms)
{
    int64_t until = clock_mono_ms() + timeout_ms;
    for (;;) {
        zmq_pollitem_t items[PLANES];
        int64_t left = until - clock_mono_ms();
        for (int p = 0; p < PLANES; p++)
            items[p] = (zmq_pollitem_t){.socket = f->sock[p], .events = ZMQ_POLLIN};
        if (left < 0 || zmq_poll(items, PLANES, left) == 0)
            return false;
        for (int p = 0; p < PLANES; p++) {
            if (!(items[p].revents & ZMQ_POLLIN))
                continue;
            recv_message(f, (enum wire_plane)p);
            if (!answer(f))
                return true;
        }
    }
}

void fake_expect(struct fake_learner *f, enum wire_type type)
{
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    while (clock_mono_ms() < until) {
        if (fake_next(f, 1000) && f->msg.type == type)
            return;
    }
    ck_abort_msg("no %s came", wire_type_name(type));
}

void fake_quiet(struct fake_learner *f, enum wire_type type, int ms)
{
    int64_t until = clock_mono_ms() + ms;
    while (clock_mono_ms() < until) {
        if (fake_next(f, (int)(until - clock_mono_ms())))
            ck_assert_msg(f->msg.type != type, "%s came", wire_type_name(type));
    }
}
