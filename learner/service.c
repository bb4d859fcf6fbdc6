/* SPDX-License-Identifier: Apache-2.0 */
/* service.c - three sockets, one table of sessions, two tables of leases.
 *
 * WHY  Everything that depends on arrival order lives here, and nothing here can change a
 * result: the service only decides who plays which number and who plans which rows. What comes
 * back is keyed by those numbers.
 *
 * FLOW  trainer -> port -> (generation changed) -> lease table -> PLAY or JOB to the free worker
 * served least -> EPISODE or RESULT -> store thread -> outcome -> ACK, lease closed.
 *
 * Every handler is short: parse, decide, enqueue. Uploads are not parsed here: a data peer is
 * known by its routing id once bound; the first upload of an unbound peer takes a detour
 * through the store thread, which reads its token (OUT_UNBOUND). */
#include "service.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "lease.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { TICK_MS = 100, ATTEMPTS_MAX = 5, HEARTBEATS_LOST = 4 };
enum { GONE_MS = 60000, BAN_MS = 60000, FINISH_MS = 5000 };
enum { HWM_CONTROL = 1000, HWM_DATA_IN = 16, HWM_DATA_OUT = 64, HWM_W_IN = 64, HWM_W_OUT = 16 };
enum { WEIGHTS_IN_MAX = 4096 };
/* Between two lines of a kind in the log; the first ones come after FIRST_WORDS_MS. */
enum { FIRST_WORDS_MS = 500, QUIET_MS = 10000, PROGRESS_MS = 10000, INSECURE_MS = 60000 };

/* What is open of one kind of work. */
struct work {
    struct leases leases;
    uint64_t generation, set_id; /* set pinned while open; 0: none */
    enum wire_kind kind;
    bool greedy;
};

struct service {
    struct service_cfg c;
    struct link_ctx *ctx;
    struct link *link[PLANES];
    uv_timer_t timer;
    bool timer_open;
    struct intake *intake;
    struct sessions sessions;
    struct session_rules rules;
    struct work plays, jobs;
    struct philox philox;
    struct draws draws;
    struct digest config_digest;
    char *config_yaml;
    size_t config_bytes;
    uint64_t largest_episode, waiting_bytes;
    bool finished;
    int64_t opened_ms, said_wait_ms, said_insecure_ms, said_progress_ms;
    struct board_view said;
    uint64_t unknown_types, protocol_errors;
    uint64_t *ids;        /* scratch [PORT_EPISODES_MAX] */
    uint32_t *free_slots; /* scratch [SESSIONS_MAX] */
    struct wire_control in, out;
    size_t closing;
    void (*closed)(void *arg);
    void *closed_arg;
};

_Static_assert((int)PORT_EPISODES_MAX >= (int)PORT_JOBS_MAX, "ids[] serves both");

/* ----------------------------------------------------------------------------- sending */

static void send_body(struct service *s, enum wire_plane plane, const struct link_peer *peer,
                      enum wire_type type, unsigned char *body, size_t n)
{
    unsigned char envelope[WIRE_ENVELOPE];
    wire_envelope_pack(envelope, type);
    if (link_send(s->link[plane], peer, envelope, body, n, NULL, 0, NULL, NULL))
        free(body); /* no memory, or a peer that does not read: as if the network lost it */
}

static void send_control_on(struct service *s, enum wire_plane plane,
                            const struct link_peer *peer)
{
    unsigned char *body = NULL;
    size_t n = 0;
    if (wire_control_pack(&s->out, &body, &n) == 0)
        send_body(s, plane, peer, s->out.type, body, n);
}

static void send_error(struct service *s, enum wire_plane plane, const struct link_peer *peer,
                       const struct wire_error *e)
{
    s->out.type = WIRE_ERROR;
    s->out.u.error = *e;
    send_control_on(s, plane, peer);
}

static void send_no_session(struct service *s, enum wire_plane plane,
                            const struct link_peer *peer)
{
    struct wire_error e = {.code = WIRE_ERR_NO_SESSION,
                           .retryable = true,
                           .proto_min = WIRE_MAJOR,
                           .proto_max = WIRE_MAJOR,
                           .text = "no session: say HELLO again"};
    send_error(s, plane, peer, &e);
}

static size_t actors(struct service *s)
{
    return sessions_count(&s->sessions, ROLE_ACTOR);
}

static struct credit credit_of(struct service *s, const struct session *ses)
{
    return credit_grant(s->c.cfg->net_link.ingest_budget, s->largest_episode, s->waiting_bytes,
                        actors(s), ses->slots);
}

/* -------------------------------------------------------------------------- dispatching */

static void short_id(char out[9], const unsigned char id[WIRE_ID])
{
    for (int i = 0; i < 4; i++)
        snprintf(out + 2 * i, 3, "%02x", id[i]);
}

static const char *role_name(enum wire_role role)
{
    return role == ROLE_ACTOR ? "actor" : role == ROLE_PLANNER ? "planner" : "admin";
}

static void log_worker(enum log_level level, const char *event, const struct session *ses,
                       const char *why)
{
    char id[9];
    short_id(id, ses->worker_id);
    log_event(level, event, "role=%s worker=%s name=\"%s\"%s%s", role_name(ses->role), id,
              ses->text, *why ? " " : "", why);
}

static uint32_t session_index(const struct service *s, const struct session *ses)
{
    return (uint32_t)(ses - s->sessions.s);
}

/* How many more items each worker of a role can take now. */
static void count_free(struct service *s, enum wire_role role, const struct leases *l)
{
    for (size_t i = 0; i < SESSIONS_MAX; i++) {
        const struct session *ses = &s->sessions.s[i];
        s->free_slots[i] = 0;
        if (!session_live(ses) || ses->role != role)
            continue;
        size_t held = leases_held_by(l, ses->uid);
        uint32_t room = held < ses->slots ? ses->slots - (uint32_t)held : 0;
        if (role == ROLE_PLANNER && ses->want < room)
            room = ses->want;
        if (role == ROLE_PLANNER && !ses->bound[PLANE_DATA])
            room = 0;
        s->free_slots[i] = room;
    }
}

static void send_play(struct service *s, const struct session *ses, const struct lease *it,
                      const struct wire_set *set)
{
    s->out.type = WIRE_PLAY;
    s->out.u.play = (struct wire_play){
        .kind = s->plays.kind,
        .episode_no = it->id,
        .seed = port_request_seed(&s->draws, s->plays.kind, it->id),
        .greedy = s->plays.greedy,
        .lease_ms = (uint32_t)leases_term_ms(&s->plays.leases),
        .set = *set,
    };
    send_control_on(s, PLANE_CONTROL, &ses->peer[PLANE_CONTROL]);
}

static void dispatch_plays(struct service *s)
{
    struct wire_set set;
    struct leases *l = &s->plays.leases;
    if (!l->queued || weights_set(s->c.weights, s->plays.set_id, &set))
        return;
    int64_t now = clock_mono_ms();
    count_free(s, ROLE_ACTOR, l);
    while (l->queued) {
        struct session *ses = sessions_pick(&s->sessions, ROLE_ACTOR, s->free_slots, now);
        if (!ses)
            return;
        const struct lease *it = leases_take(l, ses->uid, now);
        s->free_slots[session_index(s, ses)]--;
        ses->served++;
        send_play(s, ses, it, &set);
    }
}

static void dispatch_jobs(struct service *s)
{
    struct wire_set set;
    struct leases *l = &s->jobs.leases;
    if (!l->queued || weights_set(s->c.weights, s->jobs.set_id, &set))
        return;
    int64_t now = clock_mono_ms();
    count_free(s, ROLE_PLANNER, l);
    while (l->queued) {
        struct session *ses = sessions_pick(&s->sessions, ROLE_PLANNER, s->free_slots, now);
        if (!ses)
            return;
        const struct lease *it = leases_take(l, ses->uid, now);
        unsigned char *body = NULL;
        size_t n = 0;
        int err = port_job_pack(s->c.port, it->id, it->attempt, (uint32_t)leases_term_ms(l),
                                &set, &body, &n);
        if (err == ERR_NOTFOUND) { /* done meanwhile; its outcome is on the way */
            leases_done(l, it->id, now);
            continue;
        }
        if (err) {
            leases_give_back(l, it->id, ses->uid, false);
            return;
        }
        s->free_slots[session_index(s, ses)]--;
        ses->want--;
        ses->served++;
        send_body(s, PLANE_DATA, &ses->peer[PLANE_DATA], WIRE_JOB, body, n);
    }
}

static void change_pin(struct service *s, struct work *w, uint64_t set_id)
{
    uint64_t old = w->set_id;
    w->set_id = set_id && weights_pin(s->c.weights, set_id) == 0 ? set_id : 0;
    if (old)
        weights_unpin(s->c.weights, old);
}

static int refill(struct leases *l, const uint64_t *ids, size_t n)
{
    int err = 0;
    leases_clear(l);
    for (size_t i = 0; i < n && !err; i++)
        err = leases_add(l, ids[i]);
    return err;
}

/* Workers still busy with a batch that was withdrawn waste their time: tell them. */
static void cancel_held(struct service *s)
{
    const struct leases *l = &s->jobs.leases;
    for (size_t i = 0; i < l->count; i++) {
        struct session *ses = l->item[i].state == LEASE_HELD
                                  ? sessions_by_uid(&s->sessions, l->item[i].holder)
                                  : NULL;
        unsigned char *body = NULL;
        size_t n = 0;
        struct wire_cancel m = {.job_id = l->item[i].id};
        if (ses && ses->bound[PLANE_DATA] && wire_cancel_pack(&m, &body, &n) == 0)
            send_body(s, PLANE_DATA, &ses->peer[PLANE_DATA], WIRE_CANCEL, body, n);
    }
}

/* Did the trainer ask for something else than what the lease tables hold? */
static void look_at_requests(struct service *s)
{
    int err = 0;
    uint64_t g = port_play_generation(s->c.port);
    if (g != s->plays.generation) {
        struct port_play req;
        size_t n = port_play_get(s->c.port, &req, s->ids);
        s->plays.generation = g;
        s->plays.kind = req.kind;
        s->plays.greedy = req.greedy;
        change_pin(s, &s->plays, n ? req.set_id : 0);
        err = refill(&s->plays.leases, s->ids, n);
    }
    g = port_plan_generation(s->c.port);
    if (!err && g != s->jobs.generation) {
        uint64_t set_id = 0;
        cancel_held(s);
        size_t n = port_plan_get(s->c.port, &set_id, s->ids);
        s->jobs.generation = g;
        change_pin(s, &s->jobs, n ? set_id : 0);
        err = refill(&s->jobs.leases, s->ids, n);
    }
    if (err)
        port_fail(s->c.port, err, "out of memory for the table of leases");
}

static void dispatch(struct service *s)
{
    if (s->finished)
        return;
    look_at_requests(s);
    dispatch_plays(s);
    dispatch_jobs(s);
}

/* A worker left: what it held goes to others. */
static void take_back(struct service *s, uint32_t uid, bool failure)
{
    leases_return(&s->plays.leases, uid, failure);
    leases_return(&s->jobs.leases, uid, failure);
    intake_forget(s->intake, uid);
}

static void report_workers(struct service *s)
{
    port_workers(s->c.port, actors(s), sessions_count(&s->sessions, ROLE_PLANNER));
}

/* ----------------------------------------------------------------------------- sessions */

static void strike(struct service *s, struct session *ses, const char *why)
{
    s->protocol_errors++;
    if (!ses)
        return;
    int64_t now = clock_mono_ms();
    log_worker(LOG_WARN, "broken message", ses, why);
    if (!sessions_strike(&s->sessions, ses, now))
        return;
    log_worker(LOG_ERROR, "worker banned for 60 s", ses, "");
    take_back(s, ses->uid, true);
    struct wire_error e = {.code = WIRE_ERR_BANNED,
                           .retryable = true,
                           .proto_min = WIRE_MAJOR,
                           .proto_max = WIRE_MAJOR,
                           .text = "three broken messages: banned for a minute"};
    if (ses->bound[PLANE_CONTROL])
        send_error(s, PLANE_CONTROL, &ses->peer[PLANE_CONTROL], &e);
}

static void send_welcome(struct service *s, const struct session *ses, uint64_t durable_seq)
{
    struct credit credit = credit_of(s, ses);
    struct wire_welcome *w = &s->out.u.welcome;
    s->out.type = WIRE_WELCOME;
    memset(w, 0, sizeof *w);
    w->proto = WIRE_MAJOR;
    memcpy(w->token, ses->token, WIRE_ID);
    memcpy(w->run_id, s->c.run_id, WIRE_ID);
    memcpy(w->spec_hash, s->c.spec->hash, sizeof w->spec_hash);
    w->config_digest = s->config_digest;
    w->config_yaml = s->config_yaml;
    w->config_bytes = s->config_bytes;
    w->credit_episodes = credit.episodes;
    w->credit_bytes = credit.bytes;
    w->durable_seq = durable_seq;
    weights_newest(s->c.weights, &w->set);
    w->pin = s->c.pin;
    w->heartbeat_ms = s->c.cfg->net_link.heartbeat_ms;
    w->lease_ms = s->c.cfg->net_link.lease_ms;
    w->server_time_ms = clock_wall_ms();
    send_control_on(s, PLANE_CONTROL, &ses->peer[PLANE_CONTROL]);
}

static void session_from(struct intake_from *out, const struct session *ses)
{
    out->uid = ses->uid;
    memcpy(out->token, ses->token, WIRE_ID);
    memcpy(out->worker_id, ses->worker_id, WIRE_ID);
    out->incarnation = ses->incarnation;
}

static void on_hello(struct service *s, const struct link_peer *peer)
{
    const struct wire_hello *h = &s->in.u.hello;
    unsigned char token[WIRE_ID];
    uint32_t replaced = 0;
    struct wire_error why;
    if (getrandom(token, sizeof token, 0) != (ssize_t)sizeof token)
        return; /* the worker tries again */
    struct session *ses = sessions_hello(&s->sessions, &s->rules, h, peer, token,
                                         clock_mono_ms(), &replaced, &why);
    if (replaced)
        take_back(s, replaced, false);
    if (!ses) {
        log_warn("worker refused", "name=\"%s\" reason=\"%s\"", h->text, why.text);
        send_error(s, PLANE_CONTROL, peer, &why);
        return;
    }
    if (ses->role == ROLE_ADMIN) {
        send_welcome(s, ses, 0);
        return;
    }
    struct intake_from from;
    session_from(&from, ses);
    if (intake_hello(s->intake, &from, ses->role))
        log_worker(LOG_WARN, "welcome delayed", ses, "the store thread is behind");
}

static void on_welcomed(struct service *s, const struct outcome *o)
{
    struct session *ses = sessions_by_uid(&s->sessions, o->uid);
    if (!ses)
        return;
    send_welcome(s, ses, o->ack.durable_seq);
    log_worker(LOG_INFO, "worker connected", ses, "");
    report_workers(s);
}

static void on_ping(struct service *s, const struct link_peer *peer)
{
    const struct wire_ping *p = &s->in.u.ping;
    int64_t now = clock_mono_ms();
    struct session *ses = sessions_touch(&s->sessions, PLANE_CONTROL, peer, p->token, now);
    if (!ses) {
        send_no_session(s, PLANE_CONTROL, peer);
        return;
    }
    ses->set_held = p->set_id;
    for (uint32_t i = 0; i < p->running_count && i < WIRE_RUNNING_MAX; i++) {
        const struct wire_running *r = &p->running[i];
        if (ses->role == ROLE_PLANNER)
            leases_renew(&s->jobs.leases, r->job_id, ses->uid, now);
        else if (r->attempt == (uint32_t)s->plays.kind)
            leases_renew(&s->plays.leases, r->job_id, ses->uid, now);
    }
    struct credit credit = credit_of(s, ses);
    s->out.type = WIRE_PONG;
    struct wire_pong *pong = &s->out.u.pong;
    memset(pong, 0, sizeof *pong);
    weights_newest(s->c.weights, &pong->set);
    pong->credit_episodes = credit.episodes;
    pong->credit_bytes = credit.bytes;
    pong->finished = s->finished;
    send_control_on(s, PLANE_CONTROL, peer);
}

static void on_bye(struct service *s, const struct link_peer *peer)
{
    const struct wire_bye *b = &s->in.u.bye;
    struct session *ses =
        sessions_touch(&s->sessions, PLANE_CONTROL, peer, b->token, clock_mono_ms());
    if (!ses)
        return;
    char why[WIRE_TEXT + 16];
    snprintf(why, sizeof why, "reason=\"%s\"", b->reason);
    log_worker(LOG_INFO, "worker left", ses, why);
    take_back(s, ses->uid, false);
    sessions_bye(ses);
    report_workers(s);
    dispatch(s);
}

static size_t list_workers(struct service *s, struct board_worker *w)
{
    size_t n = 0;
    for (size_t i = 0; i < SESSIONS_MAX; i++) {
        const struct session *ses = &s->sessions.s[i];
        if (ses->state == SESSION_GONE || ses->role == ROLE_ADMIN)
            continue;
        const struct work *work = ses->role == ROLE_ACTOR ? &s->plays : &s->jobs;
        w[n] = (struct board_worker){
            .role = role_name(ses->role),
            .text = ses->text,
            .state = ses->state == SESSION_LOST ? "lost" : "active",
            .served = ses->served,
            .accepted = ses->accepted,
            .busy = leases_held_by(&work->leases, ses->uid),
            .set_held = ses->set_held,
        };
        short_id(w[n++].id, ses->worker_id);
    }
    return n;
}

/* The board with what only the loop knows. */
static void view_now(struct service *s, struct board_view *v)
{
    size_t done = 0, total = 0;
    bool planning = false;
    board_get(s->c.board, v);
    port_progress(s->c.port, &done, &total, &planning);
    bool collecting = v->state == BOARD_COLLECTING || v->state == BOARD_EVALUATING;
    if ((collecting && !planning) || v->state == BOARD_WAITING) {
        v->phase_done = done;
        v->phase_total = total;
    }
    v->eta_s = board_eta(v);
}

static void on_status(struct service *s, const struct link_peer *peer)
{
    struct board_worker *w = calloc(SESSIONS_MAX, sizeof *w);
    if (!w)
        return;
    struct board_view v;
    struct intake_counts counts;
    struct wire_set set;
    view_now(s, &v);
    intake_counts(s->intake, &counts);
    weights_newest(s->c.weights, &set);
    struct board_totals t = {
        .duplicates = counts.duplicate_episodes + counts.duplicate_jobs,
        .divergence = counts.divergence,
        .stale = counts.stale_episodes + counts.stale_results,
        .requeued = s->plays.leases.requeued + s->jobs.leases.requeued,
        .lost = s->sessions.lost,
        .uptime_s = (double)(clock_mono_ms() - s->opened_ms) / 1000,
        .run_dir = s->c.run_dir,
        .set_id = set.set_id,
    };
    size_t n = list_workers(s, w);
    s->out.type = WIRE_STATUS_REPLY;
    /* the body also carries its own field header: leave room */
    board_json(&v, &t, w, n, s->out.u.status.json, sizeof s->out.u.status.json - 64);
    send_control_on(s, PLANE_CONTROL, peer);
    free(w);
}

static void reply_ok(struct service *s, const struct link_peer *peer, const char *text)
{
    s->out.type = WIRE_STATUS_REPLY;
    snprintf(s->out.u.status.json, sizeof s->out.u.status.json, "{\"ok\":true,\"text\":\"%s\"}",
             text);
    send_control_on(s, PLANE_CONTROL, peer);
}

/* Until keys exist an administrator is whoever reaches the control socket without being bound
 * to a worker's session. */
static void on_admin(struct service *s, const struct link_peer *peer, enum wire_type type)
{
    struct session *ses = sessions_by_peer(&s->sessions, PLANE_CONTROL, peer);
    if (ses && !session_may(ses->role, PLANE_CONTROL, type)) {
        strike(s, ses, "not allowed for this role");
        return;
    }
    if (type == WIRE_CHECKPOINT) {
        log_info("checkpoint asked for", "by=admin");
        port_ask_checkpoint(s->c.port);
        reply_ok(s, peer, "a checkpoint will be written at the next cut");
        return;
    }
    log_info("drain asked for", "by=admin");
    reply_ok(s, peer, "saving and stopping");
    service_finish(s, "drained by an administrator");
    s->c.on_drain(s->c.arg);
}

static void on_control(struct link *ln, void *arg, struct link_msg *m)
{
    (void)ln;
    struct service *s = arg;
    struct wire_envelope env;
    struct session *ses = sessions_by_peer(&s->sessions, PLANE_CONTROL, &m->peer);
    int err = wire_envelope_parse(&env, m->frame[0].data, m->frame[0].n);
    if (err == ERR_UNSUPPORTED) {
        struct wire_error e = {
            .code = WIRE_ERR_VERSION, .proto_min = WIRE_MAJOR, .proto_max = WIRE_MAJOR};
        snprintf(e.text, sizeof e.text, "this learner speaks protocol %d", WIRE_MAJOR);
        send_error(s, PLANE_CONTROL, &m->peer, &e);
        return;
    }
    if (err) {
        strike(s, ses, err_text());
        return;
    }
    if (env.minor > WIRE_MINOR && env.type > WIRE_DRAIN_ALL) {
        s->unknown_types++; /* of a newer minor version */
        return;
    }
    err = wire_control_parse(&s->in, env.type, m->frame[1].data, m->frame[1].n);
    if (err) {
        strike(s, ses, err_text());
        return;
    }
    if (ses && session_banned(ses, clock_mono_ms()) && env.type != WIRE_HELLO)
        return;
    switch (env.type) {
    case WIRE_HELLO:
        on_hello(s, &m->peer);
        break;
    case WIRE_PING:
        on_ping(s, &m->peer);
        break;
    case WIRE_BYE:
        on_bye(s, &m->peer);
        break;
    case WIRE_STATUS:
        on_status(s, &m->peer);
        break;
    case WIRE_CHECKPOINT:
    case WIRE_DRAIN_ALL:
        on_admin(s, &m->peer, env.type);
        break;
    default:
        strike(s, ses, "this type is not for the learner");
    }
}

/* --------------------------------------------------------------------------------- data */

static void on_want(struct service *s, const struct link_msg *m)
{
    struct wire_want w;
    if (wire_want_parse(&w, m->frame[1].data, m->frame[1].n)) {
        strike(s, sessions_by_peer(&s->sessions, PLANE_DATA, &m->peer), err_text());
        return;
    }
    struct session *ses =
        sessions_touch(&s->sessions, PLANE_DATA, &m->peer, w.token, clock_mono_ms());
    if (!ses) {
        send_no_session(s, PLANE_DATA, &m->peer);
        return;
    }
    if (!session_may(ses->role, PLANE_DATA, WIRE_WANT)) {
        strike(s, ses, "an actor cannot plan");
        return;
    }
    ses->want = w.free_slots;
    ses->set_held = w.set_id;
    dispatch(s);
}

/* Hand an upload (taken) to the store thread; landed() undoes the accounts when its outcome is
 * back. A full queue drops it: it will be sent again. `ses` NULL: of a peer nobody knows yet. */
static void pass_on(struct service *s, struct session *ses, enum wire_type type,
                    struct link_msg *m)
{
    struct intake_from from = {0};
    size_t bytes = m->frame[1].n;
    if (ses)
        session_from(&from, ses);
    if (intake_message(s->intake, &from, type, m) || !ses)
        return;
    s->waiting_bytes += bytes;
    ses->inflight++;
    ses->inflight_bytes += bytes;
}

static void landed(struct service *s, struct session *ses, size_t bytes)
{
    s->waiting_bytes -= bytes < s->waiting_bytes ? bytes : s->waiting_bytes;
    if (!ses)
        return;
    ses->inflight -= ses->inflight > 0;
    ses->inflight_bytes -= bytes < ses->inflight_bytes ? bytes : ses->inflight_bytes;
}

static void on_upload(struct service *s, struct link_msg *m, enum wire_type type)
{
    int64_t now = clock_mono_ms();
    struct session *ses = sessions_by_peer(&s->sessions, PLANE_DATA, &m->peer);
    if (ses) {
        if (session_banned(ses, now))
            return;
        if (!session_may(ses->role, PLANE_DATA, type)) {
            strike(s, ses, "this role does not upload this");
            return;
        }
        sessions_heard(ses, now);
    }
    struct link_msg *taken = link_msg_take(m);
    if (taken)
        pass_on(s, ses, type, taken);
}

static void on_data(struct link *ln, void *arg, struct link_msg *m)
{
    (void)ln;
    struct service *s = arg;
    struct wire_envelope env;
    struct session *ses = sessions_by_peer(&s->sessions, PLANE_DATA, &m->peer);
    if (wire_envelope_parse(&env, m->frame[0].data, m->frame[0].n)) {
        strike(s, ses, err_text());
        return;
    }
    if (env.type == WIRE_WANT)
        on_want(s, m);
    else if (env.type == WIRE_EPISODE || env.type == WIRE_RESULT)
        on_upload(s, m, env.type);
    else if (env.minor > WIRE_MINOR)
        s->unknown_types++;
    else
        strike(s, ses, "this type is not for the data plane");
}

static void on_ack(struct service *s, struct session *ses, struct outcome *o)
{
    unsigned char *body = NULL;
    size_t n = 0;
    if (s->plays.kind == o->episode_kind)
        leases_done(&s->plays.leases, o->episode_no, clock_mono_ms());
    if (!ses)
        return;
    ses->accepted += o->accepted;
    struct credit credit = credit_of(s, ses);
    o->ack.credit_episodes = credit.episodes;
    o->ack.credit_bytes = credit.bytes;
    if (ses->bound[PLANE_DATA] && wire_ack_pack(&o->ack, &body, &n) == 0)
        send_body(s, PLANE_DATA, &ses->peer[PLANE_DATA], WIRE_ACK, body, n);
}

static void on_nack(struct service *s, struct session *ses, struct outcome *o)
{
    unsigned char *body = NULL;
    size_t n = 0;
    if (o->numbered && s->plays.kind == o->episode_kind)
        leases_give_back(&s->plays.leases, o->episode_no, o->uid, true);
    if (!ses)
        return;
    log_worker(LOG_WARN, "episode refused", ses, o->nack.text);
    if (ses->bound[PLANE_DATA] && wire_nack_pack(&o->nack, &body, &n) == 0)
        send_body(s, PLANE_DATA, &ses->peer[PLANE_DATA], WIRE_NACK, body, n);
    if (o->nack.reason == NACK_SCHEMA)
        strike(s, ses, o->nack.text);
}

static void on_result(struct service *s, struct session *ses, const struct outcome *o)
{
    unsigned char *body = NULL;
    size_t n = 0;
    if (o->result.verdict == VERDICT_ACCEPTED)
        leases_done(&s->jobs.leases, o->result.job_id, clock_mono_ms());
    else
        leases_give_back(&s->jobs.leases, o->result.job_id, o->uid, true);
    if (!ses)
        return;
    ses->accepted += o->accepted;
    if (ses->bound[PLANE_DATA] && wire_result_ack_pack(&o->result, &body, &n) == 0)
        send_body(s, PLANE_DATA, &ses->peer[PLANE_DATA], WIRE_RESULT_ACK, body, n);
}

/* An upload of a peer nobody knew: its token says who it is. */
static void on_unbound(struct service *s, struct outcome *o)
{
    struct session *ses =
        sessions_touch(&s->sessions, PLANE_DATA, &o->msg->peer, o->token, clock_mono_ms());
    if (!ses) {
        send_no_session(s, PLANE_DATA, &o->msg->peer);
        return;
    }
    if (!session_may(ses->role, PLANE_DATA, o->type)) {
        strike(s, ses, "this role does not upload this");
        return;
    }
    struct link_msg *msg = o->msg;
    o->msg = NULL;
    pass_on(s, ses, o->type, msg);
}

static void on_outcome(struct service *s, struct outcome *o)
{
    struct session *ses = sessions_by_uid(&s->sessions, o->uid);
    if (o->uid && o->kind != OUT_HELLO)
        landed(s, ses, o->bytes);
    switch (o->kind) {
    case OUT_HELLO:
        on_welcomed(s, o);
        break;
    case OUT_UNBOUND:
        on_unbound(s, o);
        break;
    case OUT_ACK:
        on_ack(s, ses, o);
        break;
    case OUT_NACK:
        on_nack(s, ses, o);
        break;
    case OUT_PART:
        leases_renew(&s->jobs.leases, o->result.job_id, o->uid, clock_mono_ms());
        break;
    case OUT_DROPPED: /* has landed: all there is to say */
        break;
    case OUT_RESULT:
        on_result(s, ses, o);
        break;
    case OUT_BROKEN:
        strike(s, ses, o->nack.text);
        break;
    }
}

/* ------------------------------------------------------------------------------ weights */

static void release_chunk(void *data, void *hint)
{
    (void)data;
    weights_blob_release(hint);
}

static void send_gone(struct service *s, const struct link_peer *peer, const struct wire_get *g)
{
    struct wire_set newest;
    weights_newest(s->c.weights, &newest);
    unsigned char *body = malloc(WIRE_GONE_BYTES);
    if (!body)
        return;
    struct wire_gone m = {
        .group = g->group, .version = g->version, .newest_set_id = newest.set_id};
    wire_gone_pack(body, &m);
    send_body(s, PLANE_WEIGHTS, peer, WIRE_GONE, body, WIRE_GONE_BYTES);
}

static void send_chunk(struct service *s, const struct link_peer *peer,
                       const struct wire_get *g, struct weights_blob *b)
{
    size_t size = 0;
    const unsigned char *bytes = weights_blob_bytes(b, &size);
    unsigned char *body = g->offset < size ? malloc(WIRE_CHUNK_BYTES) : NULL;
    if (!body) {
        weights_blob_release(b);
        return;
    }
    size_t n = size - g->offset < g->length ? size - g->offset : g->length;
    struct wire_chunk m = {.group = g->group,
                           .version = g->version,
                           .offset = g->offset,
                           .crc = crc32c(0, bytes + g->offset, n)};
    unsigned char envelope[WIRE_ENVELOPE];
    wire_chunk_pack(body, &m);
    wire_envelope_pack(envelope, WIRE_CHUNK);
    if (link_send(s->link[PLANE_WEIGHTS], peer, envelope, body, WIRE_CHUNK_BYTES,
                  bytes + g->offset, n, release_chunk, b)) {
        free(body);
        weights_blob_release(b);
    }
}

static void on_weights(struct link *ln, void *arg, struct link_msg *m)
{
    (void)ln;
    struct service *s = arg;
    struct wire_envelope env;
    struct wire_get g;
    struct session *ses = sessions_by_peer(&s->sessions, PLANE_WEIGHTS, &m->peer);
    if (wire_envelope_parse(&env, m->frame[0].data, m->frame[0].n) || env.type != WIRE_GET ||
        wire_get_parse(&g, m->frame[1].data, m->frame[1].n)) {
        strike(s, ses, "not a GET");
        return;
    }
    ses = sessions_touch(&s->sessions, PLANE_WEIGHTS, &m->peer, g.token, clock_mono_ms());
    if (!ses) {
        send_no_session(s, PLANE_WEIGHTS, &m->peer);
        return;
    }
    if (!session_may(ses->role, PLANE_WEIGHTS, WIRE_GET) || g.length == 0 ||
        g.length > WIRE_CHUNK_MAX) {
        strike(s, ses, "GET outside its limits");
        return;
    }
    struct weights_blob *b = weights_blob(s->c.weights, g.group, g.version);
    if (b)
        send_chunk(s, &m->peer, &g, b);
    else
        send_gone(s, &m->peer, &g);
}

static void on_bad(struct link *ln, void *arg, const struct link_peer *peer)
{
    struct service *s = arg;
    for (int p = 0; p < PLANES; p++)
        if (s->link[p] == ln)
            strike(s, sessions_by_peer(&s->sessions, (enum wire_plane)p, peer),
                   "wrong number of frames");
}

/* ------------------------------------------------------------------------------- timers */

static void check_dead(struct service *s)
{
    const struct lease *job = leases_first_dead(&s->jobs.leases);
    const struct lease *play = leases_first_dead(&s->plays.leases);
    const struct lease *dead = job ? job : play;
    if (!dead)
        return;
    char text[256];
    snprintf(
        text, sizeof text,
        "%s %llu failed %d times on its workers and is given up; look at the workers' logs, "
        "then resume the run",
        job ? "job" : "episode", (unsigned long long)dead->id, ATTEMPTS_MAX);
    port_fail(s->c.port, ERR_UNSUPPORTED, text);
}

static void check_silence(struct service *s, int64_t now)
{
    uint32_t lost[64];
    size_t n = sessions_tick(&s->sessions, now, lost, 64);
    for (size_t i = 0; i < n; i++) {
        const struct session *ses = sessions_by_uid(&s->sessions, lost[i]);
        if (ses)
            log_worker(LOG_WARN, "worker lost", ses, "its work goes to others");
        take_back(s, lost[i], true);
    }
    size_t expired = leases_expire(&s->plays.leases, now);
    expired += leases_expire(&s->jobs.leases, now);
    if (expired)
        log_warn("leases expired", "count=%zu", expired);
    check_dead(s);
}

static void say_waiting(struct service *s, const char *role, size_t have, uint64_t want)
{
    const char *c = service_endpoint(s, PLANE_CONTROL), *d = service_endpoint(s, PLANE_DATA),
               *w = service_endpoint(s, PLANE_WEIGHTS);
    char event[64];
    if (want > 1)
        snprintf(event, sizeof event, "waiting for %ss (%zu of %llu connected)", role, have,
                 (unsigned long long)want);
    else
        snprintf(event, sizeof event, "waiting for %ss (%zu connected)", role, have);
    log_info(event,
             "start_one=\"mag %s service.control=%s service.data=%s service.weights=%s\"", role,
             c, d, w);
}

/* Whom the run waits for, every QUIET_MS and soon after the start. */
static void say_wanted(struct service *s, const struct board_view *v, int64_t now)
{
    bool quiet = now - s->said_wait_ms >= QUIET_MS;
    if (s->finished || now - s->opened_ms < FIRST_WORDS_MS || (s->said_wait_ms && !quiet))
        return;
    size_t a = actors(s), p = sessions_count(&s->sessions, ROLE_PLANNER);
    uint64_t want_a = v->wait_actors ? v->wait_actors : 1, want_p = v->wait_planners;
    bool no_planner = v->state == BOARD_PLANNING && p == 0;
    if (a < want_a)
        say_waiting(s, "actor", a, want_a);
    if (p < want_p || no_planner)
        say_waiting(s, "planner", p, want_p);
    if (a < want_a || p < want_p || no_planner)
        s->said_wait_ms = now;
}

static void say_progress(struct service *s, const struct board_view *v, int64_t now)
{
    char line[512];
    if (now - s->said_progress_ms < PROGRESS_MS || !actors(s) ||
        memcmp(v, &s->said, sizeof *v) == 0)
        return;
    board_line(v, line, sizeof line);
    log_info("progress", "%s", line);
    s->said = *v;
    s->said_progress_ms = now;
}

static void say_insecure(struct service *s, int64_t now)
{
    if (!s->c.cfg->net_link.insecure || now - s->said_insecure_ms < INSECURE_MS)
        return;
    s->said_insecure_ms = now;
    for (int i = 0; i < PLANES; i++)
        if (!endpoint_is_local(link_endpoint(s->link[i])))
            log_warn("listening without keys",
                     "endpoint=%s remedy=\"anyone who reaches this port can join the run: "
                     "keep it on a private network\"",
                     link_endpoint(s->link[i]));
}

void service_look(struct service *s)
{
    struct outcome *o = s->intake ? intake_outcomes(s->intake) : NULL;
    while (o) {
        struct outcome *next = o->next;
        on_outcome(s, o);
        outcome_free(o);
        o = next;
    }
    dispatch(s);
}

static void on_tick(uv_timer_t *t)
{
    struct service *s = t->data;
    struct board_view v;
    int64_t now = clock_mono_ms();
    check_silence(s, now);
    report_workers(s);
    service_look(s);
    view_now(s, &v);
    say_wanted(s, &v, now);
    say_progress(s, &v, now);
    say_insecure(s, now);
}

/* ------------------------------------------------------------------------ open and close */

int service_check(const struct config *cfg)
{
    const char *const endpoint[PLANES] = {cfg->net_link.control, cfg->net_link.data,
                                          cfg->net_link.weights};
    for (int i = 0; i < PLANES && !cfg->net_link.insecure; i++)
        if (!endpoint_is_local(endpoint[i]))
            return err_set(
                ERR_CONFIG,
                "%s would accept anyone who reaches it, and this version has no keys: "
                "listen on ipc:// or 127.0.0.1, or say --insecure on a private network",
                endpoint[i]);
    return 0;
}

static int data_limit(const struct service *s, int64_t *out)
{
    uint64_t most =
        s->largest_episode > s->c.result_bytes ? s->largest_episode : s->c.result_bytes;
    uint64_t limit = most + most / 4;
    if (limit < WIRE_DATA_MIN_MAX)
        limit = WIRE_DATA_MIN_MAX;
    if (limit > WIRE_DATA_MAX)
        return err_set(
            ERR_CONFIG,
            "the largest message of this configuration has %llu MB, the limit is %d MB: "
            "shorten episodes or the imagined horizon",
            (unsigned long long)(limit >> 20), WIRE_DATA_MAX >> 20);
    *out = (int64_t)limit;
    return 0;
}

static int open_links(struct service *s)
{
    const struct config *cfg = s->c.cfg;
    int64_t data_max = 0;
    int err = service_check(cfg);
    if (!err)
        err = data_limit(s, &data_max);
    if (!err)
        err = link_ctx_open(&s->ctx, 2);
    const struct link_cfg lc[PLANES] = {
        [PLANE_CONTROL] = {.server = true,
                           .endpoint = cfg->net_link.control,
                           .max_msg = WIRE_CONTROL_MAX,
                           .rcvhwm = HWM_CONTROL,
                           .sndhwm = HWM_CONTROL,
                           .affinity = 0,
                           .on_recv = on_control,
                           .on_bad = on_bad,
                           .arg = s},
        [PLANE_DATA] = {.server = true,
                        .endpoint = cfg->net_link.data,
                        .max_msg = data_max,
                        .rcvhwm = HWM_DATA_IN,
                        .sndhwm = HWM_DATA_OUT,
                        .affinity = 1,
                        .on_recv = on_data,
                        .on_bad = on_bad,
                        .arg = s},
        [PLANE_WEIGHTS] = {.server = true,
                           .endpoint = cfg->net_link.weights,
                           .max_msg = WEIGHTS_IN_MAX,
                           .rcvhwm = HWM_W_IN,
                           .sndhwm = HWM_W_OUT,
                           .affinity = 1,
                           .on_recv = on_weights,
                           .on_bad = on_bad,
                           .arg = s},
    };
    for (int i = 0; i < PLANES && !err; i++)
        err = link_open(&s->link[i], s->ctx, s->c.loop, &lc[i]);
    return err;
}

static int reserve(struct service *s)
{
    const struct config *cfg = s->c.cfg;
    struct session_times times = {
        .lost_ms = (int64_t)HEARTBEATS_LOST * cfg->net_link.heartbeat_ms,
        .gone_ms = GONE_MS,
        .ban_ms = BAN_MS,
    };
    s->ids = calloc(PORT_EPISODES_MAX, sizeof *s->ids);
    s->free_slots = calloc(SESSIONS_MAX, sizeof *s->free_slots);
    int err = s->ids && s->free_slots ? sessions_init(&s->sessions, times) : ERR_NOMEM;
    if (!err)
        err = config_run_yaml(cfg, &s->config_yaml, &s->config_bytes);
    leases_init(&s->plays.leases, cfg->net_link.lease_ms, ATTEMPTS_MAX);
    leases_init(&s->jobs.leases, cfg->net_link.lease_ms, ATTEMPTS_MAX);
    return err;
}

int service_open(struct service **out, const struct service_cfg *c)
{
    struct service *s = calloc(1, sizeof *s);
    if (!s)
        return ERR_NOMEM;
    s->c = *c;
    s->rules.pin = c->pin;
    s->rules.check_pin = c->cfg->schedule == SCHEDULE_LOCKSTEP;
    s->philox = (struct philox){.seed = c->cfg->seed};
    s->draws = philox_draws(&s->philox);
    config_digest(c->cfg, &s->config_digest);
    s->largest_episode =
        wire_episode_bytes((uint32_t)c->spec->episode_limit, (uint32_t)c->spec->n_agents,
                           (uint32_t)c->spec->obs, (uint32_t)c->spec->actions, 0);
    s->opened_ms = s->said_progress_ms = clock_mono_ms();
    s->said_insecure_ms = s->opened_ms - INSECURE_MS;
    int err = reserve(s);
    if (!err)
        err = open_links(s);
    *out = s; /* also on failure: the caller closes what was opened */
    return err;
}

void service_attach(struct service *s, struct intake *in)
{
    s->intake = in;
    uv_timer_init(s->c.loop, &s->timer);
    s->timer.data = s;
    s->timer_open = true;
    uv_timer_start(&s->timer, on_tick, 0, TICK_MS);
}

void service_finish(struct service *s, const char *reason)
{
    if (s->finished)
        return;
    s->finished = true;
    s->out.type = WIRE_DRAIN;
    memset(&s->out.u.drain, 0, sizeof s->out.u.drain);
    s->out.u.drain.deadline_ms = FINISH_MS;
    snprintf(s->out.u.drain.reason, sizeof s->out.u.drain.reason, "%s", reason);
    for (size_t i = 0; i < SESSIONS_MAX; i++)
        if (session_live(&s->sessions.s[i]))
            send_control_on(s, PLANE_CONTROL, &s->sessions.s[i].peer[PLANE_CONTROL]);
}

bool service_empty(struct service *s)
{
    return actors(s) + sessions_count(&s->sessions, ROLE_PLANNER) == 0;
}

static void closed_one(void *arg)
{
    struct service *s = arg;
    if (--s->closing == 0 && s->closed)
        s->closed(s->closed_arg);
}

static void timer_closed(uv_handle_t *h)
{
    closed_one(h->data);
}

void service_close(struct service *s, void (*done)(void *arg), void *arg)
{
    s->closed = done;
    s->closed_arg = arg;
    s->closing = 1 + s->timer_open;
    for (int i = 0; i < PLANES; i++)
        s->closing += s->link[i] != NULL;
    if (s->timer_open)
        uv_close((uv_handle_t *)&s->timer, timer_closed);
    for (int i = 0; i < PLANES; i++)
        if (s->link[i])
            link_close(s->link[i], closed_one, s);
    closed_one(s);
}

void service_free(struct service *s)
{
    if (!s)
        return;
    if (s->ctx)
        link_ctx_close(s->ctx);
    leases_fini(&s->plays.leases);
    leases_fini(&s->jobs.leases);
    if (s->sessions.s)
        sessions_fini(&s->sessions);
    free(s->config_yaml);
    free(s->ids);
    free(s->free_slots);
    free(s);
}

const char *service_endpoint(const struct service *s, enum wire_plane plane)
{
    return s->link[plane] ? link_endpoint(s->link[plane]) : "";
}
