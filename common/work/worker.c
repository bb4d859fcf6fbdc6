/* SPDX-License-Identifier: Apache-2.0 */
/* worker.c - the session, the links and the loop of an actor or planner.
 *
 * WHY  A worker must outlive its learner: learners restart, networks break, sockets reconnect
 * by themselves and say nothing. So the session is proved by traffic only. Silence for four
 * heartbeats, or ERROR(no session), and the worker says HELLO again; the answer tells what the
 * learner still has, and the role sends the rest.
 *
 * START AND END  worker_open binds nothing and reaches out to three endpoints. worker_exit says
 * BYE, stops the role, closes links, signals, timer and bell; when all are closed the loop is
 * empty and worker_run returns. The order is the same on every path.
 *
 * INVARIANTS
 *   1. nothing is sent on data or weights without a token of the current session
 *   2. role->start and role->stop alternate
 *   3. all uv handles are closed before worker_close frees them */
#include "work/worker.h"

#include "worker_hello.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

enum {
    TICK_MS = 100,
    HELLO_MS = 1000, /* between two HELLOs */
    JITTER_MS = 300, /* first HELLO after a loss is spread over this time */
    SILENT_HEARTBEATS = 4,
    WAIT_LOG_MS = 10000,    /* "waiting for learner" */
    RETRY_MS = 5000,        /* after a retryable refusal */
    STALE_ERROR_MS = 500,   /* answers to the last session's messages still arrive */
    DRAIN_SIGNAL_MS = 5000, /* grace of SIGTERM: containers kill after 10 s */
    CONTROL_HWM = 1000,
    DATA_RCVHWM = 16,
    DATA_SNDHWM = 64,
};

struct worker {
    struct worker_cfg c;
    uv_loop_t loop;
    struct link_ctx *ctx;
    struct link *link[PLANES];
    struct wake *bell;
    struct fetch *fetch;
    uv_timer_t timer;
    uv_signal_t sigterm, sigint;

    unsigned char worker_id[WIRE_ID], token[WIRE_ID], run_id[WIRE_ID];
    uint64_t incarnation;
    bool active, started, exiting;
    int status, signals;
    uint32_t heartbeat_ms;
    struct wire_set newest;
    int64_t opened_ms, alone_ms; /* since when there is no session */
    int64_t hello_ms;            /* next HELLO */
    int64_t heard_ms, ping_ms, welcome_ms, wait_log_ms, tick_ms, lag_ms;
    uint64_t ignored;
    struct log_limit bad_limit;
    struct worker_run *run;
    struct wire_control *msg; /* the control message in hand: too large for a stack frame */
};

/* ------------------------------------------------------------------------------- sending */

static int send_body(struct worker *w, enum wire_plane plane, enum wire_type type,
                     unsigned char *body, size_t n)
{
    unsigned char envelope[WIRE_ENVELOPE];
    wire_envelope_pack(envelope, type);
    int err = link_send(w->link[plane], NULL, envelope, body, n, NULL, 0, NULL, NULL);
    if (err)
        free(body);
    return err;
}

int worker_send(struct worker *w, enum wire_plane plane, enum wire_type type,
                unsigned char *body, size_t n)
{
    if (w->active && !w->exiting)
        return send_body(w, plane, type, body, n);
    free(body);
    return ERR_CLOSED;
}

static void send_control(struct worker *w)
{
    unsigned char *body;
    size_t n;
    int err = wire_control_pack(w->msg, &body, &n);
    if (!err)
        err = send_body(w, PLANE_CONTROL, w->msg->type, body, n);
    if (err)
        log_warn("message not sent", "type=%s why=\"%s\"", wire_type_name(w->msg->type),
                 err_text());
}

static void send_hello(struct worker *w, int64_t now)
{
    w->hello_ms = now + HELLO_MS;
    if (link_queued(w->link[PLANE_CONTROL]))
        return; /* not connected yet: one HELLO waits already */
    w->msg->type = WIRE_HELLO;
    hello_fill(&w->msg->u.hello, &w->c, w->worker_id, w->incarnation, w->run_id);
    send_control(w);
}

static void send_ping(struct worker *w, int64_t now)
{
    w->ping_ms = now;
    memset(w->msg, 0, sizeof *w->msg);
    w->msg->type = WIRE_PING;
    memcpy(w->msg->u.ping.token, w->token, WIRE_ID);
    w->msg->u.ping.loop_lag_ms = (uint32_t)w->lag_ms;
    w->lag_ms = 0;
    w->c.ops->ping(w->c.arg, &w->msg->u.ping);
    send_control(w);
}

static void send_bye(struct worker *w, const char *reason)
{
    memset(w->msg, 0, sizeof *w->msg);
    w->msg->type = WIRE_BYE;
    memcpy(w->msg->u.bye.token, w->token, WIRE_ID);
    snprintf(w->msg->u.bye.reason, sizeof w->msg->u.bye.reason, "%s", reason);
    send_control(w);
}

static int send_get(void *arg, struct wire_get *get)
{
    struct worker *w = arg;
    unsigned char *body = malloc(WIRE_GET_BYTES);
    if (!body)
        return ERR_NOMEM;
    memcpy(get->token, w->token, WIRE_ID);
    wire_get_pack(body, get);
    return worker_send(w, PLANE_WEIGHTS, WIRE_GET, body, WIRE_GET_BYTES);
}

/* ------------------------------------------------------------------------------- session */

static int64_t jitter(void)
{
    uint32_t r = 0;
    if (getrandom(&r, sizeof r, GRND_NONBLOCK) != sizeof r)
        return 0;
    return r % JITTER_MS;
}

static void lose_session(struct worker *w, int64_t now, const char *why)
{
    if (w->active)
        log_warn("session lost", "why=\"%s\"", why);
    w->active = false;
    w->alone_ms = now;
    w->wait_log_ms = now;
    w->hello_ms = now + jitter();
}

/* Memory of this process now, all its buffers opened. */
static size_t resident_mb(void)
{
    unsigned long total = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f) {
        if (fscanf(f, "%lu %lu", &total, &resident) != 2)
            resident = 0;
        fclose(f);
    }
    return (size_t)(resident * (unsigned long)sysconf(_SC_PAGESIZE)) >> 20;
}

/* A WELCOME of another run, or the first one. */
static int begin_run(struct worker *w, const struct wire_welcome *m)
{
    if (w->started) {
        log_info("another run", "what=\"dropping what belonged to the last one\"");
        w->c.ops->stop(w->c.arg, false);
        w->started = false;
        fetch_clear(w->fetch);
    }
    int err = welcome_understand(w->run, &w->c, m);
    if (err)
        return err;
    memcpy(w->run->worker_id, w->worker_id, WIRE_ID);
    w->run->incarnation = w->incarnation;
    memcpy(w->run_id, m->run_id, WIRE_ID);
    err = w->c.ops->start(w->c.arg, w->run);
    if (!err)
        w->started = true;
    return err;
}

static void on_welcome(struct worker *w, const struct wire_welcome *m, int64_t now)
{
    bool same = w->started && memcmp(m->run_id, w->run_id, WIRE_ID) == 0;
    if (!same) {
        int err = begin_run(w, m);
        if (err) {
            log_error("cannot take part in this run", "why=\"%s\"", err_text());
            worker_exit(w, EXIT_CONFIG, "cannot take part");
            return;
        }
        log_info("connected", "env=%s map=%s N=%zu O=%zu A=%zu limit=%zu memory_mb=%zu",
                 w->run->cfg.env.name, w->run->cfg.env.map, w->run->spec.n_agents,
                 w->run->spec.obs, w->run->spec.actions, w->run->spec.episode_limit,
                 resident_mb());
    } else {
        log_info("connected again", "durable_seq=%llu", (unsigned long long)m->durable_seq);
    }
    memcpy(w->token, m->token, WIRE_ID);
    w->heartbeat_ms = m->heartbeat_ms;
    w->newest = m->set;
    w->active = true;
    w->welcome_ms = now;
    w->ping_ms = now;
    if (w->c.ops->credit)
        w->c.ops->credit(w->c.arg, m->credit_episodes, m->credit_bytes);
    fetch_session(w->fetch, now);
    w->c.ops->welcome(w->c.arg, m->durable_seq);
}

static void on_error(struct worker *w, const struct wire_error *e, int64_t now)
{
    if (!e->retryable) {
        log_error("refused by the learner", "code=%u why=\"%s\"", e->code, e->text);
        worker_exit(w, EXIT_CONFIG, "refused");
        return;
    }
    bool stale =
        e->code == WIRE_ERR_NO_SESSION && w->active && now - w->welcome_ms < STALE_ERROR_MS;
    if (stale || (e->code == WIRE_ERR_NO_SESSION && !w->active))
        return; /* an answer to the session before, or a HELLO is on its way already */
    lose_session(w, now, e->text);
    if (e->code != WIRE_ERR_NO_SESSION)
        w->hello_ms = now + RETRY_MS;
}

static void on_pong(struct worker *w, const struct wire_pong *p, int64_t now)
{
    w->newest = p->set;
    if (w->c.ops->credit)
        w->c.ops->credit(w->c.arg, p->credit_episodes, p->credit_bytes);
    if (p->finished)
        w->c.ops->drain(w->c.arg, now + DRAIN_SIGNAL_MS);
}

static void on_control(struct worker *w, int64_t now)
{
    struct wire_control *m = w->msg;
    if (m->type != WIRE_WELCOME && m->type != WIRE_ERROR && !w->active)
        return; /* belongs to a session that is over */
    switch (m->type) {
    case WIRE_WELCOME:
        on_welcome(w, &m->u.welcome, now);
        break;
    case WIRE_ERROR:
        on_error(w, &m->u.error, now);
        break;
    case WIRE_PONG:
        on_pong(w, &m->u.pong, now);
        break;
    case WIRE_PLAY:
        if (w->c.ops->play)
            w->c.ops->play(w->c.arg, &m->u.play);
        break;
    case WIRE_DRAIN:
        log_info("draining", "deadline_ms=%u reason=\"%s\"", m->u.drain.deadline_ms,
                 m->u.drain.reason);
        w->c.ops->drain(w->c.arg, now + m->u.drain.deadline_ms);
        break;
    default:
        w->ignored++;
        break;
    }
}

/* ----------------------------------------------------------------------------- receiving */

static void bad_message(struct worker *w, const char *what)
{
    w->ignored++;
    if (log_allowed(&w->bad_limit, 10000))
        log_warn("message ignored", "why=\"%s\" ignored=%llu", what,
                 (unsigned long long)w->ignored);
}

static void on_weights(struct worker *w, unsigned type, struct link_msg *m, int64_t now)
{
    struct wire_chunk c;
    struct wire_gone g;
    bool news = false;
    if (type == WIRE_CHUNK && m->frames == 3 &&
        wire_chunk_parse(&c, m->frame[1].data, m->frame[1].n) == 0)
        news = fetch_chunk(w->fetch, &c, m->frame[2].data, m->frame[2].n, now);
    else if (type == WIRE_GONE && wire_gone_parse(&g, m->frame[1].data, m->frame[1].n) == 0)
        news = fetch_gone(w->fetch, &g);
    else
        bad_message(w, "weights plane");
    if (news)
        w->c.ops->weights(w->c.arg);
}

static enum wire_plane plane_of(const struct worker *w, const struct link *ln)
{
    return ln == w->link[PLANE_CONTROL] ? PLANE_CONTROL
           : ln == w->link[PLANE_DATA]  ? PLANE_DATA
                                        : PLANE_WEIGHTS;
}

static void on_recv(struct link *ln, void *arg, struct link_msg *m)
{
    struct worker *w = arg;
    struct wire_envelope e;
    int64_t now = clock_mono_ms();
    enum wire_plane plane = plane_of(w, ln);
    if (w->exiting)
        return;
    if (wire_envelope_parse(&e, m->frame[0].data, m->frame[0].n)) {
        bad_message(w, err_text());
        return;
    }
    w->heard_ms = now;
    if (plane == PLANE_CONTROL || e.type == WIRE_ERROR) {
        if (wire_control_parse(w->msg, e.type, m->frame[1].data, m->frame[1].n) == 0)
            on_control(w, now);
        else
            bad_message(w, err_text());
    } else if (!w->active) {
        w->ignored++;
    } else if (plane == PLANE_WEIGHTS) {
        on_weights(w, e.type, m, now);
    } else {
        w->c.ops->data(w->c.arg, e.type, m);
    }
}

static void on_bad(struct link *ln, void *arg, const struct link_peer *peer)
{
    (void)ln, (void)peer;
    bad_message(arg, "wrong number of frames");
}

/* --------------------------------------------------------------------------------- timers */

/* One line per ten seconds while there is nobody to talk to; give up where told to. */
static void wait_for_learner(struct worker *w, int64_t now)
{
    uint32_t limit_s = w->c.cfg->net_link.connect_timeout_s;
    if (now >= w->hello_ms)
        send_hello(w, now);
    if (now - w->wait_log_ms >= WAIT_LOG_MS) {
        w->wait_log_ms = now;
        log_info("waiting for learner", "at=%s seconds=%lld", w->c.cfg->net_link.control,
                 (long long)(now - w->alone_ms) / 1000);
    }
    if (limit_s && now - w->alone_ms >= (int64_t)limit_s * 1000) {
        log_error("no learner", "at=%s waited_s=%u", w->c.cfg->net_link.control, limit_s);
        worker_exit(w, EXIT_UNAVAILABLE, "no learner");
    }
}

static void on_tick(uv_timer_t *t)
{
    struct worker *w = t->data;
    int64_t now = clock_mono_ms(), late = now - w->tick_ms - TICK_MS;
    if (w->exiting)
        return;
    if (w->tick_ms && late > w->lag_ms)
        w->lag_ms = late;
    w->tick_ms = now;
    if (w->active && now - w->heard_ms >= (int64_t)w->heartbeat_ms * SILENT_HEARTBEATS)
        lose_session(w, now, "the learner is silent");
    if (!w->active)
        wait_for_learner(w, now);
    else if (now - w->ping_ms >= (int64_t)w->heartbeat_ms)
        send_ping(w, now);
    if (w->active)
        fetch_tick(w->fetch, now);
    if (!w->exiting && w->started)
        w->c.ops->tick(w->c.arg, now);
}

static void on_signal(uv_signal_t *s, int signum)
{
    struct worker *w = s->data;
    if (w->exiting)
        return;
    if (w->signals++ || !w->started) {
        worker_exit(w, w->signals > 1 ? 128 + signum : EXIT_OK, "stopped");
        return;
    }
    log_info("stopping", "signal=%s", signum == SIGINT ? "INT" : "TERM");
    w->c.ops->drain(w->c.arg, clock_mono_ms() + DRAIN_SIGNAL_MS);
}

static void on_bell(void *arg)
{
    struct worker *w = arg;
    if (!w->exiting && w->started)
        w->c.ops->wake(w->c.arg);
}

/* --------------------------------------------------------------------------- open, close */

static int open_links(struct worker *w)
{
    const struct config *cfg = w->c.cfg;
    const struct {
        const char *endpoint;
        int64_t max;
        int rcvhwm, sndhwm;
    } plane[PLANES] = {
        [PLANE_CONTROL] = {cfg->net_link.control, WIRE_CONTROL_MAX, CONTROL_HWM, CONTROL_HWM},
        [PLANE_DATA] = {cfg->net_link.data, WIRE_DATA_MAX, DATA_RCVHWM, DATA_SNDHWM},
        [PLANE_WEIGHTS] = {cfg->net_link.weights, WIRE_WEIGHTS_MAX, 16, 64},
    };
    for (int p = 0; p < PLANES; p++) {
        struct link_cfg lc = {.endpoint = plane[p].endpoint,
                              .max_msg = plane[p].max,
                              .rcvhwm = plane[p].rcvhwm,
                              .sndhwm = plane[p].sndhwm,
                              .on_recv = on_recv,
                              .on_bad = on_bad,
                              .arg = w};
        int err = link_open(&w->link[p], w->ctx, &w->loop, &lc);
        if (err)
            return err;
    }
    return 0;
}

static void start_handles(struct worker *w)
{
    uv_timer_init(&w->loop, &w->timer);
    uv_signal_init(&w->loop, &w->sigterm);
    uv_signal_init(&w->loop, &w->sigint);
    w->timer.data = w->sigterm.data = w->sigint.data = w;
    uv_timer_start(&w->timer, on_tick, 0, TICK_MS);
    uv_signal_start(&w->sigterm, on_signal, SIGTERM);
    uv_signal_start(&w->sigint, on_signal, SIGINT);
}

/* Close every handle that is open; the loop then runs empty. */
static void close_handles(struct worker *w)
{
    for (int p = 0; p < PLANES; p++) {
        if (w->link[p])
            link_close(w->link[p], NULL, NULL);
        w->link[p] = NULL;
    }
    if (w->timer.data) {
        uv_close((uv_handle_t *)&w->timer, NULL);
        uv_close((uv_handle_t *)&w->sigterm, NULL);
        uv_close((uv_handle_t *)&w->sigint, NULL);
        w->timer.data = NULL;
    }
}

/* Lines carry the first digits of the worker's id, so that replicas can be told apart. */
static void start_log(const struct worker *w)
{
    static const char *const levels[] = {"debug", "info", "warn", "error"};
    static const char *const formats[] = {"auto", "text", "json"};
    enum log_level level = LOG_INFO;
    enum log_format format = LOG_AUTO;
    char id[9];
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        if (!strcmp(w->c.cfg->log.level, levels[i]))
            level = (enum log_level)i;
    }
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        if (!strcmp(w->c.cfg->log.format, formats[i]))
            format = (enum log_format)i;
    }
    snprintf(id, sizeof id, "%02x%02x%02x%02x", w->worker_id[0], w->worker_id[1],
             w->worker_id[2], w->worker_id[3]);
    log_init(w->c.name, id, level, format);
}

int worker_open(struct worker **out, const struct worker_cfg *c)
{
    struct worker *w = calloc(1, sizeof *w);
    if (!w)
        return err_set(ERR_NOMEM, "out of memory for a worker");
    w->c = *c;
    w->run = calloc(1, sizeof *w->run);
    w->msg = calloc(1, sizeof *w->msg);
    w->heartbeat_ms = HELLO_MS;
    w->opened_ms = w->alone_ms = w->wait_log_ms = clock_mono_ms();
    w->incarnation = (uint64_t)clock_wall_ms();
    if (uv_loop_init(&w->loop)) {
        free(w->run);
        free(w->msg);
        free(w);
        return err_set(ERR_IO, "cannot create the event loop: too many open files?");
    }
    int err = w->run && w->msg ? 0 : err_set(ERR_NOMEM, "out of memory for a worker");
    if (!err)
        err = worker_identity(w->worker_id, c->state_dir);
    if (!err)
        start_log(w);
    if (!err)
        err = link_ctx_open(&w->ctx, 1);
    if (!err)
        err = fetch_open(&w->fetch, c->needs, send_get, w);
    if (!err)
        err = wake_open(&w->bell, &w->loop, on_bell, w);
    if (!err)
        err = open_links(w);
    if (err) {
        worker_close(w);
        return err;
    }
    start_handles(w);
    *out = w;
    return 0;
}

int worker_run(struct worker *w)
{
    log_info("starting", "role=%s learner=%s version=%s slots=%u", w->c.name,
             w->c.cfg->net_link.control, w->c.version, w->c.slots);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    return w->status;
}

void worker_exit(struct worker *w, int status, const char *reason)
{
    if (w->exiting)
        return;
    if (w->active)
        send_bye(w, reason);
    w->exiting = true;
    w->active = false;
    w->status = status;
    log_info("leaving", "reason=\"%s\" status=%d", reason, status);
    close_handles(w);
    bool joined = !w->started || w->c.ops->stop(w->c.arg, true);
    w->started = false;
    if (joined) {
        wake_close(w->bell);
        w->bell = NULL;
    } else {
        uv_stop(&w->loop); /* a busy thread may still ring: the process ends with it */
    }
}

bool worker_close(struct worker *w)
{
    if (!w)
        return true;
    close_handles(w);
    if (w->bell && !w->exiting) {
        wake_close(w->bell);
        w->bell = NULL;
    }
    if (w->bell) { /* see worker_exit: what a busy thread uses stays, the rest says goodbye */
        uv_run(&w->loop, UV_RUN_NOWAIT);
        link_ctx_close(w->ctx);
        return false;
    }
    uv_run(&w->loop, UV_RUN_DEFAULT);
    bug_on(uv_loop_close(&w->loop) != 0);
    fetch_close(w->fetch);
    link_ctx_close(w->ctx);
    free(w->run);
    free(w->msg);
    free(w);
    return true;
}

/* ------------------------------------------------------------------------- for the role */

bool worker_active(const struct worker *w)
{
    return w->active;
}

const unsigned char *worker_token(const struct worker *w)
{
    return w->token;
}

const struct wire_set *worker_newest(const struct worker *w)
{
    return &w->newest;
}

enum fetch_state worker_weights(struct worker *w, const struct wire_set *set,
                                struct blob_set **out)
{
    return fetch_want(w->fetch, set, clock_mono_ms(), out);
}

void worker_wake(struct worker *w)
{
    wake_send(w->bell);
}
