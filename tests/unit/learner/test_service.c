/* SPDX-License-Identifier: Apache-2.0 */
/* The service whole: real sockets and a real run.db, made-up workers on the same loop, and this
 * thread in the trainer's place. Workers say what the test tells them to say, so every rule of
 * a session, a lease and an acknowledgement can be broken on purpose. */
#include "service.h"
#include "suite.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"

#include <check.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    N = 2,
    O = 3,
    A = 4,
    T = 3,
    W = 4,
    B = 2,
    STARTS = W - 2,
    STEPS = 2,
    C = 2,
    D = 32,
    K = 4
};
enum { WAIT_MS = 10000, INBOX = 64 };

static char dir[64];
static struct config cfg;
static struct env_spec spec;
static uv_loop_t loop;
static struct wake *wake;
static struct link_ctx *ctx;
static struct port *port;
static struct weights *weights;
static struct board board;
static struct intake *intake;
static struct service *service;
static struct wire_set set;
static bool drained;
static char ends[PLANES][CONFIG_PATH];
static struct philox philox;
static struct draws draws;

/* ---------------------------------------------------------------------- made-up workers */

struct mail {
    unsigned char type;
    struct link_msg *msg;
};
struct fake {
    struct link *link[PLANES];
    struct mail in[INBOX];
    size_t got;
    unsigned char token[WIRE_ID], id[WIRE_ID];
    uint64_t seq;
};

static void on_mail(struct link *ln, void *arg, struct link_msg *m)
{
    struct fake *f = arg;
    (void)ln;
    ck_assert_uint_lt(f->got, INBOX);
    f->in[f->got].type = m->frame[0].data[4];
    f->in[f->got++].msg = link_msg_take(m);
}

static void fake_open(struct fake *f, int id)
{
    memset(f, 0, sizeof *f);
    memset(f->id, id, WIRE_ID);
    for (int i = 0; i < PLANES; i++) {
        struct link_cfg lc = {.endpoint = service_endpoint(service, (enum wire_plane)i),
                              .max_msg = 1 << 24,
                              .rcvhwm = 100,
                              .sndhwm = 100,
                              .on_recv = on_mail,
                              .arg = f};
        ck_assert_int_eq(link_open(&f->link[i], ctx, &loop, &lc), 0);
    }
}

static void fake_close(struct fake *f)
{
    for (int i = 0; i < PLANES; i++)
        link_close(f->link[i], NULL, NULL);
    for (size_t i = 0; i < f->got; i++)
        link_msg_free(f->in[i].msg);
}

static void send_body(struct fake *f, enum wire_plane plane, enum wire_type type,
                      unsigned char *body, size_t n)
{
    unsigned char envelope[WIRE_ENVELOPE];
    wire_envelope_pack(envelope, type);
    ck_assert_int_eq(link_send(f->link[plane], NULL, envelope, body, n, NULL, 0, NULL, NULL),
                     0);
}

static void send_control(struct fake *f, const struct wire_control *c)
{
    unsigned char *body = NULL;
    size_t n = 0;
    ck_assert_int_eq(wire_control_pack(c, &body, &n), 0);
    send_body(f, PLANE_CONTROL, c->type, body, n);
}

/* Serve until a message of this type is in the inbox; it leaves the inbox. */
static struct link_msg *expect(struct fake *f, enum wire_type type)
{
    int64_t end = clock_mono_ms() + WAIT_MS;
    while (clock_mono_ms() < end) {
        for (size_t i = 0; i < f->got; i++) {
            if (f->in[i].type != type)
                continue;
            struct link_msg *m = f->in[i].msg;
            memmove(&f->in[i], &f->in[i + 1], (--f->got - i) * sizeof f->in[0]);
            return m;
        }
        uv_run(&loop, UV_RUN_ONCE);
    }
    ck_abort_msg("no %s came", wire_type_name((unsigned)type));
    return NULL;
}

static void serve_for(int64_t ms)
{
    int64_t end = clock_mono_ms() + ms;
    while (clock_mono_ms() < end)
        uv_run(&loop, UV_RUN_ONCE);
}

static struct wire_control *expect_control(struct fake *f, enum wire_type type)
{
    static struct wire_control c;
    static struct link_msg *last; /* views of c point into it */
    if (last)
        link_msg_free(last);
    last = expect(f, type);
    ck_assert_int_eq(wire_control_parse(&c, type, last->frame[1].data, last->frame[1].n), 0);
    return &c;
}

static void join(struct fake *f, int id, enum wire_role role)
{
    struct wire_control c = {.type = WIRE_HELLO};
    fake_open(f, id);
    c.u.hello = (struct wire_hello){
        .proto_min = 1, .proto_max = 1, .role = role, .incarnation = 5, .slots = 1};
    memcpy(c.u.hello.worker_id, f->id, WIRE_ID);
    send_control(f, &c);
    memcpy(f->token, expect_control(f, WIRE_WELCOME)->u.welcome.token, WIRE_ID);
}

static void say_bye(struct fake *f)
{
    struct wire_control c = {.type = WIRE_BYE};
    memcpy(c.u.bye.token, f->token, WIRE_ID);
    send_control(f, &c);
}

/* The episode a PLAY asks for; `taint` changes what happened in it. */
static void upload(struct fake *f, const struct wire_play *p, uint64_t seq, float taint)
{
    static float obs[(T + 1) * N * O], reward[T];
    static unsigned char avail[(T + 1) * N], action[T * N];
    memset(avail, 0x0f, sizeof avail);
    for (int i = 0; i < T; i++)
        reward[i] = taint;
    struct wire_episode e = {.incarnation = 5,
                             .seq = seq,
                             .kind = p->kind,
                             .episode_no = p->episode_no,
                             .seed = p->seed,
                             .set_id = p->set.set_id,
                             .greedy = p->greedy,
                             .env = "smac",
                             .build = "test",
                             .T = T,
                             .N = N,
                             .O = O,
                             .A = A,
                             .end = END_TERMINAL,
                             .ret = (double)taint * T,
                             .obs = obs,
                             .avail = avail,
                             .action = action,
                             .reward = reward};
    memcpy(e.token, f->token, WIRE_ID);
    memcpy(e.worker_id, f->id, WIRE_ID);
    memcpy(e.spec_hash, spec.hash, sizeof e.spec_hash);
    unsigned char *body = NULL;
    size_t n = 0;
    ck_assert_int_eq(wire_episode_pack(&e, &body, &n), 0);
    send_body(f, PLANE_DATA, WIRE_EPISODE, body, n);
}

static struct wire_ack expect_ack(struct fake *f)
{
    struct wire_ack a;
    struct link_msg *m = expect(f, WIRE_ACK);
    ck_assert_int_eq(wire_ack_parse(&a, m->frame[1].data, m->frame[1].n), 0);
    link_msg_free(m);
    return a;
}

static struct wire_nack expect_nack(struct fake *f)
{
    struct wire_nack n;
    struct link_msg *m = expect(f, WIRE_NACK);
    ck_assert_int_eq(wire_nack_parse(&n, m->frame[1].data, m->frame[1].n), 0);
    link_msg_free(m);
    return n;
}

static void ask(uint64_t first, uint32_t count)
{
    struct port_play play = {
        .kind = KIND_TRAIN, .first = first, .count = count, .set_id = set.set_id};
    wire_set_digest(&set, &play.set_digest);
    ck_assert_int_eq(port_play(port, &play, NULL), 0);
}

/* ------------------------------------------------------------------------- set up, down */

static void on_wake(void *arg)
{
    (void)arg;
    if (service && intake)
        service_look(service);
}

static void ring(void *arg)
{
    (void)arg;
    wake_send(wake);
}

static void on_drain(void *arg)
{
    (void)arg;
    drained = true;
}

static void open_with(uint32_t heartbeat_ms, size_t episode_limit)
{
    static const char *const plane[PLANES] = {"c", "d", "w"};
    char path[128];
    struct store *store = NULL;
    log_init("test", "", LOG_ERROR, LOG_TEXT);
    snprintf(dir, sizeof dir, "/tmp/test-service-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    config_defaults(&cfg);
    cfg.net_link.heartbeat_ms = heartbeat_ms;
    cfg.net_link.lease_ms = 60000;
    char *const config_end[PLANES] = {cfg.net_link.control, cfg.net_link.data,
                                      cfg.net_link.weights};
    for (int i = 0; i < PLANES; i++) {
        snprintf(ends[i], sizeof ends[i], "ipc://%s/%s", dir, plane[i]);
        snprintf(config_end[i], CONFIG_PATH, "%s", ends[i]);
    }
    spec = (struct env_spec){
        .n_agents = N, .obs = O, .actions = A, .episode_limit = episode_limit};
    memset(spec.hash, 3, sizeof spec.hash);
    philox = (struct philox){.seed = cfg.seed};
    draws = philox_draws(&philox);
    drained = false;
    uv_loop_init(&loop);
    board_init(&board);
    ck_assert_int_eq(wake_open(&wake, &loop, on_wake, NULL), 0);
    ck_assert_int_eq(link_ctx_open(&ctx, 1), 0);
    ck_assert_int_eq(port_open(&port, ring, NULL), 0);
    ck_assert_int_eq(weights_open(&weights), 0);
    struct weights_part p = {.group = 0, .bytes = calloc(1, 300000), .n = 300000};
    ck_assert_int_eq(weights_publish(weights, &p, 1, &set), 0);
    struct service_cfg sc = {.cfg = &cfg,
                             .spec = &spec,
                             .run_dir = dir,
                             .port = port,
                             .weights = weights,
                             .board = &board,
                             .loop = &loop,
                             .result_bytes = 1000,
                             .on_drain = on_drain};
    ck_assert_int_eq(service_open(&service, &sc), 0);
    snprintf(path, sizeof path, "%s/run.db", dir);
    ck_assert_int_eq(store_open(&store, path), 0);
    struct intake_cfg ic = {.store = store,
                            .port = port,
                            .weights = weights,
                            .spec = &spec,
                            .seed = cfg.seed,
                            .wake = ring};
    ck_assert_int_eq(intake_open(&intake, &ic), 0);
    service_attach(service, intake);
}

static void open_house(void)
{
    open_with(60000, 10); /* nobody is lost, however slow the machine */
}

static void open_impatient(void)
{
    open_with(50, 10);
}

static void open_short(void)
{
    open_with(60000, T - 1);
}

static void closed(void *arg)
{
    (void)arg;
    intake_stop(intake);
    wake_close(wake);
}

static void close_house(void)
{
    static const char *const file[] = {"run.db", "run.db-wal", "run.db-shm", "c", "d", "w"};
    char path[128];
    port_play_end(port);
    service_close(service, closed, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&loop), 0); /* no handle was forgotten */
    service_free(service);
    intake_close(intake);
    link_ctx_close(ctx);
    port_close(port);
    weights_close(weights);
    board_fini(&board);
    service = NULL;
    intake = NULL;
    for (size_t i = 0; i < sizeof file / sizeof *file; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, file[i]);
        unlink(path);
    }
    rmdir(dir);
}

/* ---------------------------------------------------------------------------- sessions */

START_TEST(a_ping_with_the_token_of_welcome_is_answered_with_the_newest_set)
{
    struct fake a;
    join(&a, 1, ROLE_ACTOR);
    struct wire_control c = {.type = WIRE_PING};
    memcpy(c.u.ping.token, a.token, WIRE_ID);
    send_control(&a, &c);
    const struct wire_pong *pong = &expect_control(&a, WIRE_PONG)->u.pong;
    ck_assert_uint_eq(pong->set.set_id, set.set_id);
    ck_assert_uint_ge(pong->credit_episodes, 2);
    ck_assert(!pong->finished);
    fake_close(&a);
}
END_TEST

START_TEST(whoever_has_no_session_is_told_so_on_every_plane)
{
    struct fake a;
    struct wire_play p = {.kind = KIND_TRAIN, .set = set};
    fake_open(&a, 1);
    struct wire_control c = {.type = WIRE_PING};
    send_control(&a, &c);
    ck_assert_uint_eq(expect_control(&a, WIRE_ERROR)->u.error.code, WIRE_ERR_NO_SESSION);
    upload(&a, &p, 1, 0);
    ck_assert_uint_eq(expect_control(&a, WIRE_ERROR)->u.error.code, WIRE_ERR_NO_SESSION);
    unsigned char *get = malloc(WIRE_GET_BYTES);
    struct wire_get g = {.length = 10};
    wire_get_pack(get, &g);
    send_body(&a, PLANE_WEIGHTS, WIRE_GET, get, WIRE_GET_BYTES);
    ck_assert_uint_eq(expect_control(&a, WIRE_ERROR)->u.error.code, WIRE_ERR_NO_SESSION);
    fake_close(&a);
}
END_TEST

START_TEST(a_planner_that_uploads_episodes_is_banned_after_three)
{
    struct fake p;
    struct wire_play play = {.kind = KIND_TRAIN, .set = set};
    join(&p, 1, ROLE_PLANNER);
    for (uint64_t seq = 1; seq <= 3; seq++)
        upload(&p, &play, seq, 0);
    ck_assert_uint_eq(expect_control(&p, WIRE_ERROR)->u.error.code, WIRE_ERR_BANNED);
    fake_close(&p);
}
END_TEST

START_TEST(status_is_json_and_needs_no_session)
{
    struct fake a, admin;
    join(&a, 1, ROLE_ACTOR);
    fake_open(&admin, 9);
    struct wire_control c = {.type = WIRE_STATUS};
    send_control(&admin, &c);
    json_t *o = json_loads(expect_control(&admin, WIRE_STATUS_REPLY)->u.status.json, 0, NULL);
    ck_assert_ptr_nonnull(o);
    ck_assert_int_eq(json_integer_value(json_object_get(o, "actors")), 1);
    ck_assert_str_eq(json_string_value(json_object_get(o, "run_dir")), dir);
    json_decref(o);
    fake_close(&a);
    fake_close(&admin);
}
END_TEST

START_TEST(drain_all_tells_workers_and_stops_the_trainer)
{
    struct fake a, admin;
    join(&a, 1, ROLE_ACTOR);
    fake_open(&admin, 9);
    struct wire_control c = {.type = WIRE_DRAIN_ALL};
    send_control(&admin, &c);
    expect_control(&a, WIRE_DRAIN);
    ck_assert(drained);
    fake_close(&a);
    fake_close(&admin);
}
END_TEST

START_TEST(weights_come_in_chunks_and_what_is_gone_is_named_so)
{
    struct fake a;
    join(&a, 1, ROLE_ACTOR);
    struct wire_get g = {.group = 0, .version = set.set_id, .offset = 299000, .length = 5000};
    struct wire_chunk chunk;
    memcpy(g.token, a.token, WIRE_ID);
    unsigned char *get = malloc(WIRE_GET_BYTES);
    wire_get_pack(get, &g);
    send_body(&a, PLANE_WEIGHTS, WIRE_GET, get, WIRE_GET_BYTES);
    struct link_msg *m = expect(&a, WIRE_CHUNK);
    ck_assert_int_eq(wire_chunk_parse(&chunk, m->frame[1].data, m->frame[1].n), 0);
    ck_assert_uint_eq(m->frame[2].n, 1000);
    ck_assert_uint_eq(chunk.crc, crc32c(0, m->frame[2].data, 1000));
    link_msg_free(m);
    g.version = 77;
    get = malloc(WIRE_GET_BYTES);
    wire_get_pack(get, &g);
    send_body(&a, PLANE_WEIGHTS, WIRE_GET, get, WIRE_GET_BYTES);
    link_msg_free(expect(&a, WIRE_GONE));
    fake_close(&a);
}
END_TEST

/* ---------------------------------------------------------------------------- episodes */

START_TEST(an_episode_is_played_stored_acknowledged_and_handed_over)
{
    struct fake a;
    struct port_episode e;
    join(&a, 1, ROLE_ACTOR);
    ask(7, 1);
    struct wire_play p = expect_control(&a, WIRE_PLAY)->u.play;
    ck_assert_uint_eq(p.episode_no, 7);
    ck_assert_uint_eq(p.seed, draws_seed(&draws, DRAW_ENV, 7));
    upload(&a, &p, 1, 0.5f);
    ck_assert_uint_eq(expect_ack(&a).durable_seq, 1);
    ck_assert_int_eq(port_episode(port, 7, &e), 0);
    ck_assert_double_eq(e.e.ret, 1.5);
    port_episode_free(&e);
    fake_close(&a);
}
END_TEST

START_TEST(a_second_equal_arrival_is_acknowledged_and_not_stored)
{
    struct fake a;
    struct intake_counts n;
    join(&a, 1, ROLE_ACTOR);
    ask(7, 1);
    struct wire_play p = expect_control(&a, WIRE_PLAY)->u.play;
    upload(&a, &p, 1, 0.5f);
    expect_ack(&a);
    upload(&a, &p, 1, 0.5f); /* its ACK was lost */
    ck_assert_uint_eq(expect_ack(&a).durable_seq, 1);
    intake_counts(intake, &n);
    ck_assert_uint_eq(n.episodes, 1);
    ck_assert_uint_eq(n.duplicate_episodes, 1);
    fake_close(&a);
}
END_TEST

START_TEST(a_second_arrival_that_differs_stops_the_run_naming_both_workers)
{
    struct fake a, b;
    char text[512];
    join(&a, 0x11, ROLE_ACTOR);
    join(&b, 0x22, ROLE_ACTOR);
    ask(7, 1);
    struct wire_play p = expect_control(&a, WIRE_PLAY)->u.play;
    upload(&a, &p, 1, 0.5f);
    expect_ack(&a);
    upload(&b, &p, 1, 0.75f);
    int64_t end = clock_mono_ms() + WAIT_MS;
    while (!port_failure(port, text, sizeof text) && clock_mono_ms() < end)
        uv_run(&loop, UV_RUN_ONCE);
    ck_assert_int_eq(port_poll(port), ERR_DIVERGED);
    ck_assert_ptr_nonnull(strstr(err_text(), "11111111"));
    ck_assert_ptr_nonnull(strstr(err_text(), "22222222"));
    fake_close(&a);
    fake_close(&b);
}
END_TEST

START_TEST(an_episode_nobody_asked_for_is_refused_as_stale)
{
    struct fake a;
    join(&a, 1, ROLE_ACTOR);
    struct wire_play p = {.kind = KIND_TRAIN, .episode_no = 99, .set = set};
    p.seed = draws_seed(&draws, DRAW_ENV, 99);
    upload(&a, &p, 1, 0);
    const struct wire_nack nack = expect_nack(&a);
    ck_assert_uint_eq(nack.reason, NACK_STALE);
    ck_assert_uint_eq(nack.seq, 1);
    fake_close(&a);
}
END_TEST

/* D_e may be smaller than it: stored, it would end this run and every resume of it. */
START_TEST(an_episode_longer_than_the_environments_limit_is_refused)
{
    struct fake a;
    join(&a, 1, ROLE_ACTOR);
    ask(7, 1);
    struct wire_play p = expect_control(&a, WIRE_PLAY)->u.play;
    upload(&a, &p, 1, 0.5f);
    const struct wire_nack nack = expect_nack(&a);
    ck_assert_uint_eq(nack.reason, NACK_REJECTED);
    ck_assert_ptr_nonnull(strstr(nack.text, "limit"));
    fake_close(&a);
}
END_TEST

START_TEST(a_silent_actors_episode_goes_to_another_and_both_may_finish_it)
{
    struct fake a, b;
    join(&a, 1, ROLE_ACTOR);
    ask(7, 1);
    struct wire_play p = expect_control(&a, WIRE_PLAY)->u.play;
    serve_for(400); /* four heartbeats of 50 ms pass in silence */
    join(&b, 2, ROLE_ACTOR);
    ck_assert_uint_eq(expect_control(&b, WIRE_PLAY)->u.play.episode_no, 7);
    upload(&b, &p, 1, 0.5f);
    expect_ack(&b);
    upload(&a, &p, 1, 0.5f); /* frozen, not dead */
    expect_ack(&a);
    ck_assert_int_eq(port_poll(port), 0);
    fake_close(&a);
    fake_close(&b);
}
END_TEST

START_TEST(episodes_spread_over_actors_with_one_slot_each)
{
    struct fake a, b;
    join(&a, 1, ROLE_ACTOR);
    join(&b, 2, ROLE_ACTOR);
    ask(0, 2);
    uint64_t first = expect_control(&a, WIRE_PLAY)->u.play.episode_no;
    uint64_t second = expect_control(&b, WIRE_PLAY)->u.play.episode_no;
    ck_assert_uint_eq(first + second, 1);
    fake_close(&a);
    fake_close(&b);
}
END_TEST

/* -------------------------------------------------------------------------------- jobs */

static struct mag_rows rows;
static unsigned char row_memory[1 << 16];
static struct port_job jobs[1];
static float obs[W * B * N * O];
static unsigned char action[W * B * N], last_flags[W * B];

static void submit(void)
{
    static const struct mag_dims dims = {.N = N, .O = O, .A = A, .D = D, .C = C, .K = K};
    struct arena a = {.base = row_memory, .size = sizeof row_memory};
    mag_rows_carve(&rows, &dims, STARTS * B, STEPS, &a);
    jobs[0] = (struct port_job){.job_id = wire_job_id(1, 0, 0),
                                .rows = B,
                                .obs = obs,
                                .action = action,
                                .last = last_flags};
    struct port_batch b = {.iteration = 1,
                           .set_id = set.set_id,
                           .W = W,
                           .B = B,
                           .dims = dims,
                           .job = jobs,
                           .jobs = 1,
                           .rows = &rows};
    wire_set_digest(&set, &b.set_digest);
    ck_assert_int_eq(port_plan(port, &b), 0);
}

static void want(struct fake *f)
{
    struct wire_want w = {.free_slots = 1};
    unsigned char *body = NULL;
    size_t n = 0;
    memcpy(w.token, f->token, WIRE_ID);
    ck_assert_int_eq(wire_want_pack(&w, &body, &n), 0);
    send_body(f, PLANE_DATA, WIRE_WANT, body, n);
}

static uint32_t expect_job(struct fake *f)
{
    struct wire_job j;
    struct link_msg *m = expect(f, WIRE_JOB);
    ck_assert_int_eq(wire_job_parse(&j, m->frame[1].data, m->frame[1].n), 0);
    ck_assert_uint_eq(j.job_id, jobs[0].job_id);
    ck_assert_uint_eq(j.rows, B);
    link_msg_free(m);
    return j.attempt;
}

static double figures[WIRE_STATS]; /* of the next results */

static void send_part(struct fake *f, uint32_t part, float value)
{
    enum { TOKENS = STEPS * STARTS * N };
    static unsigned char index[TOKENS * C], act[TOKENS], avail[TOKENS];
    static float h[TOKENS * D], scalar[TOKENS];
    memset(avail, 0x0f, sizeof avail);
    for (int i = 0; i < TOKENS; i++)
        scalar[i] = value;
    struct wire_result r = {.job_id = jobs[0].job_id,
                            .set_id = set.set_id,
                            .attempt = 1,
                            .part = part,
                            .parts = B,
                            .starts = STARTS,
                            .steps = STEPS,
                            .N = N,
                            .C = C,
                            .D = D,
                            .A = A,
                            .index = index,
                            .h = h,
                            .action = act,
                            .avail = avail,
                            .logp = scalar,
                            .value = scalar,
                            .ret = scalar};
    unsigned char *body = NULL;
    size_t n = 0;
    memcpy(r.token, f->token, WIRE_ID);
    r.stats_count = part == 0 ? WIRE_STATS : 0;
    memcpy(r.stats, figures, sizeof r.stats);
    ck_assert_int_eq(wire_result_pack(&r, &body, &n), 0);
    send_body(f, PLANE_DATA, WIRE_RESULT, body, n);
}

static unsigned expect_verdict(struct fake *f)
{
    struct wire_result_ack a;
    struct link_msg *m = expect(f, WIRE_RESULT_ACK);
    ck_assert_int_eq(wire_result_ack_parse(&a, m->frame[1].data, m->frame[1].n), 0);
    link_msg_free(m);
    return a.verdict;
}

START_TEST(a_job_is_done_when_all_its_parts_are_and_a_second_result_is_a_duplicate)
{
    struct fake p;
    struct mag_plan_stats stats;
    join(&p, 1, ROLE_PLANNER);
    submit();
    want(&p);
    ck_assert_uint_eq(expect_job(&p), 1);
    for (uint32_t part = 0; part < B; part++)
        send_part(&p, part, 2.0f);
    ck_assert_uint_eq(expect_verdict(&p), VERDICT_ACCEPTED);
    ck_assert_int_eq(port_plan_wait(port, &stats), 0);
    ck_assert_float_eq(rows.ret[0], 2.0f);
    for (uint32_t part = 0; part < B; part++)
        send_part(&p, part, 2.0f);
    ck_assert_uint_eq(expect_verdict(&p), VERDICT_DUPLICATE);
    ck_assert_int_eq(port_poll(port), 0);
    port_plan_end(port);
    fake_close(&p);
}
END_TEST

/* What the learner makes of a whole result with `figures`. */
static struct mag_plan_stats stats_of_a_job(struct fake *p)
{
    struct mag_plan_stats stats;
    submit();
    want(p);
    expect_job(p);
    for (uint32_t part = 0; part < B; part++)
        send_part(p, part, 2.0f);
    ck_assert_uint_eq(expect_verdict(p), VERDICT_ACCEPTED);
    ck_assert_int_eq(port_plan_wait(port, &stats), 0);
    port_plan_end(port);
    return stats;
}

START_TEST(a_planners_figures_count)
{
    struct fake p;
    join(&p, 1, ROLE_PLANNER);
    figures[0] = 6;
    figures[1] = -1.5;
    figures[9] = 3;
    const struct mag_plan_stats s = stats_of_a_job(&p);
    ck_assert_uint_eq(s.choices, 6);
    ck_assert_double_eq(s.chosen, -1.5);
    ck_assert_uint_eq(s.picked[1], 3);
    fake_close(&p);
}
END_TEST

START_TEST(figures_that_cannot_be_are_none)
{
    static const struct {
        size_t at;
        double value;
    } bad[] = {{0, -1}, {7, 1e300}, {23, 0.5}};
    struct fake p;
    join(&p, 1, ROLE_PLANNER);
    figures[0] = 6;
    figures[9] = 3;
    figures[bad[_i].at] = bad[_i].value;
    const struct mag_plan_stats s = stats_of_a_job(&p);
    ck_assert_uint_eq(s.choices, 0);
    ck_assert_double_eq(s.chosen, 0);
    ck_assert_uint_eq(s.picked[1], 0);
    fake_close(&p);
}
END_TEST

START_TEST(half_a_result_of_a_planner_that_left_never_reaches_the_rows)
{
    struct fake p, q;
    struct mag_plan_stats stats;
    join(&p, 1, ROLE_PLANNER);
    submit();
    want(&p);
    expect_job(&p);
    send_part(&p, 0, 9.0f);
    serve_for(50);
    say_bye(&p);
    join(&q, 2, ROLE_PLANNER);
    want(&q);
    ck_assert_uint_eq(expect_job(&q), 2); /* the next attempt */
    send_part(&q, 0, 2.0f);
    send_part(&q, 1, 2.0f);
    ck_assert_uint_eq(expect_verdict(&q), VERDICT_ACCEPTED);
    ck_assert_int_eq(port_plan_wait(port, &stats), 0);
    for (size_t i = 0; i < (size_t)STEPS * STARTS * B * N; i++)
        ck_assert_float_eq(rows.value[i], 2.0f);
    port_plan_end(port);
    fake_close(&p);
    fake_close(&q);
}
END_TEST

START_TEST(parts_out_of_order_are_dropped_and_sending_all_again_mends_it)
{
    struct fake p;
    struct intake_counts n;
    join(&p, 1, ROLE_PLANNER);
    submit();
    want(&p);
    expect_job(&p);
    send_part(&p, 0, 9.0f);
    send_part(&p, 0, 9.0f); /* part 1 was lost; the planner begins again */
    send_part(&p, 1, 9.0f);
    ck_assert_uint_eq(expect_verdict(&p), VERDICT_ACCEPTED);
    ck_assert_float_eq(rows.ret[0], 9.0f);
    send_part(&p, 1, 9.0f); /* a part 1 without its part 0 */
    serve_for(50);
    intake_counts(intake, &n);
    ck_assert_uint_eq(n.jobs, 1);
    ck_assert_uint_eq(n.duplicate_jobs, 0);
    port_plan_end(port);
    fake_close(&p);
}
END_TEST

START_TEST(a_part_sent_twice_in_a_row_starts_nothing_and_finishes_nothing)
{
    struct fake p;
    join(&p, 1, ROLE_PLANNER);
    submit();
    want(&p);
    expect_job(&p);
    send_part(&p, 0, 9.0f);
    send_part(&p, 1, 9.0f);
    ck_assert_uint_eq(expect_verdict(&p), VERDICT_ACCEPTED);
    send_part(&p, 0, 9.0f);
    send_part(&p, 0, 9.0f);
    send_part(&p, 0, 9.0f);
    serve_for(50);
    ck_assert_int_eq(port_poll(port), 0); /* two halves are not a whole that differs */
    port_plan_end(port);
    fake_close(&p);
}
END_TEST

START_TEST(two_results_of_a_job_that_differ_stop_the_run)
{
    struct fake p;
    join(&p, 1, ROLE_PLANNER);
    submit();
    want(&p);
    expect_job(&p);
    for (uint32_t i = 0; i < 2 * B; i++)
        send_part(&p, i % B, i < B ? 2.0f : 3.0f);
    ck_assert_uint_eq(expect_verdict(&p), VERDICT_ACCEPTED);
    expect_verdict(&p);
    ck_assert_int_eq(port_poll(port), ERR_DIVERGED);
    port_plan_end(port);
    fake_close(&p);
}
END_TEST

START_TEST(a_result_nobody_asked_for_is_stale)
{
    struct fake p;
    join(&p, 1, ROLE_PLANNER);
    submit();
    port_plan_end(port);
    for (uint32_t part = 0; part < B; part++)
        send_part(&p, part, 2.0f);
    ck_assert_uint_eq(expect_verdict(&p), VERDICT_STALE);
    fake_close(&p);
}
END_TEST

/* What waits to be stored is what credit is measured by; a part that was dropped waits no more. */
START_TEST(parts_of_stale_results_use_up_nobodys_credit)
{
    enum { MANY = 16 };
    struct fake p, a;
    cfg.net_link.ingest_budget = 1; /* whatever waits is too much */
    join(&p, 1, ROLE_PLANNER);
    join(&a, 2, ROLE_ACTOR);
    submit();
    port_plan_end(port);
    for (int i = 0; i < MANY; i++) {
        for (uint32_t part = 0; part < B; part++)
            send_part(&p, part, 2.0f);
        ck_assert_uint_eq(expect_verdict(&p), VERDICT_STALE);
    }
    struct wire_control c = {.type = WIRE_PING};
    memcpy(c.u.ping.token, a.token, WIRE_ID);
    send_control(&a, &c);
    const struct wire_pong *pong = &expect_control(&a, WIRE_PONG)->u.pong;
    ck_assert_msg(pong->credit_episodes >= 2, "credit for %u episodes with nothing waiting",
                  pong->credit_episodes);
    fake_close(&p);
    fake_close(&a);
}
END_TEST

START_TEST(listening_beyond_this_machine_without_keys_is_refused)
{
    struct config open = cfg;
    snprintf(open.net_link.data, sizeof open.net_link.data, "tcp://0.0.0.0:5561");
    ck_assert_int_eq(service_check(&open), ERR_CONFIG);
    ck_assert_ptr_nonnull(strstr(err_text(), "--insecure"));
    open.net_link.insecure = true;
    ck_assert_int_eq(service_check(&open), 0);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("service");
    TCase *tc = tcase_create("workers");
    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, open_house, close_house);
    tcase_add_test(tc, a_ping_with_the_token_of_welcome_is_answered_with_the_newest_set);
    tcase_add_test(tc, whoever_has_no_session_is_told_so_on_every_plane);
    tcase_add_test(tc, a_planner_that_uploads_episodes_is_banned_after_three);
    tcase_add_test(tc, status_is_json_and_needs_no_session);
    tcase_add_test(tc, drain_all_tells_workers_and_stops_the_trainer);
    tcase_add_test(tc, weights_come_in_chunks_and_what_is_gone_is_named_so);
    tcase_add_test(tc, an_episode_is_played_stored_acknowledged_and_handed_over);
    tcase_add_test(tc, a_second_equal_arrival_is_acknowledged_and_not_stored);
    tcase_add_test(tc, a_second_arrival_that_differs_stops_the_run_naming_both_workers);
    tcase_add_test(tc, an_episode_nobody_asked_for_is_refused_as_stale);
    tcase_add_test(tc, episodes_spread_over_actors_with_one_slot_each);
    tcase_add_test(tc, a_job_is_done_when_all_its_parts_are_and_a_second_result_is_a_duplicate);
    tcase_add_test(tc, a_planners_figures_count);
    tcase_add_loop_test(tc, figures_that_cannot_be_are_none, 0, 3);
    tcase_add_test(tc, half_a_result_of_a_planner_that_left_never_reaches_the_rows);
    tcase_add_test(tc, parts_out_of_order_are_dropped_and_sending_all_again_mends_it);
    tcase_add_test(tc, a_part_sent_twice_in_a_row_starts_nothing_and_finishes_nothing);
    tcase_add_test(tc, two_results_of_a_job_that_differ_stop_the_run);
    tcase_add_test(tc, a_result_nobody_asked_for_is_stale);
    tcase_add_test(tc, parts_of_stale_results_use_up_nobodys_credit);
    tcase_add_test(tc, listening_beyond_this_machine_without_keys_is_refused);
    suite_add_tcase(s, tc);
    TCase *brief = tcase_create("limit");
    tcase_set_timeout(brief, 60);
    tcase_add_checked_fixture(brief, open_short, close_house);
    tcase_add_test(brief, an_episode_longer_than_the_environments_limit_is_refused);
    suite_add_tcase(s, brief);
    TCase *quick = tcase_create("silence");
    tcase_set_timeout(quick, 60);
    tcase_add_checked_fixture(quick, open_impatient, close_house);
    tcase_add_test(quick, a_silent_actors_episode_goes_to_another_and_both_may_finish_it);
    suite_add_tcase(s, quick);
    return s;
}

int main(void)
{
    return run_suite(suite());
}
