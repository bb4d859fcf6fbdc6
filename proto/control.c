/* SPDX-License-Identifier: Apache-2.0 */
/* control.c - the control plane: struct wire_control to protobuf and back.
 *
 * The generated structs stay inside this file. Each type has a pair of functions: one fills a
 * generated struct that points into ours (nothing is copied before packing), one checks a
 * generated struct and fills ours. Proto3 leaves out zeros, so absent numbers are 0 and
 * absent messages are empty. */
#include "proto/wire.h"

#include "pbscan.h"
#include "text.h"

#include "base/err.h"

#include <control.pb-c.h>
#include <stdlib.h>
#include <string.h>

enum {
    CONFIG_FIELD = 6,           /* of Welcome, see control.proto */
    CONFIG_MAX = 48 * 1024,     /* bytes of YAML */
    BUDGET_SLACK = 1024 * 1024, /* protobuf-c may take 4 x input + this */
    EPISODE_NO_BITS = 40,       /* an episode number is an item of the draws */
};

/* ------------------------------------------------------------------------------- packing */

/* Generated fields are not const although packing only reads. */
static char *text_in(const char *s)
{
    return (char *)(uintptr_t)s;
}

static ProtobufCBinaryData bytes_in(const void *p, size_t n)
{
    return (ProtobufCBinaryData){.len = n, .data = (uint8_t *)(uintptr_t)p};
}

/* A set with the storage its generated form needs. */
struct set_store {
    Mag__Set set;
    Mag__Group group[WIRE_GROUPS_MAX], *list[WIRE_GROUPS_MAX];
};

static Mag__Set *set_in(struct set_store *st, const struct wire_set *s)
{
    mag__set__init(&st->set);
    st->set.set_id = s->set_id;
    st->set.n_group = s->count;
    st->set.group = st->list;
    for (uint32_t i = 0; i < s->count; i++) {
        Mag__Group *g = st->list[i] = &st->group[i];
        mag__group__init(g);
        g->group = s->group[i].group;
        g->version = s->group[i].version;
        g->size = s->group[i].size;
        g->digest = bytes_in(s->group[i].digest.b, DIGEST_BYTES);
    }
    return &st->set;
}

static int finish(const ProtobufCMessage *m, unsigned char **body, size_t *n)
{
    size_t size = protobuf_c_message_get_packed_size(m);
    if (size > WIRE_CONTROL_MAX)
        return err_set(ERR_INVAL, "%s of %zu bytes: at most %d", m->descriptor->short_name,
                       size, WIRE_CONTROL_MAX);
    unsigned char *out = malloc(size ? size : 1);
    if (!out)
        return err_set(ERR_NOMEM, "out of memory for %s", m->descriptor->short_name);
    *n = protobuf_c_message_pack(m, out);
    *body = out;
    return 0;
}

static int pack_hello(const struct wire_hello *h, unsigned char **body, size_t *n)
{
    Mag__Hello m;
    mag__hello__init(&m);
    m.proto_min = h->proto_min;
    m.proto_max = h->proto_max;
    m.role = (uint32_t)h->role;
    m.worker_id = bytes_in(h->worker_id, WIRE_ID);
    m.incarnation = h->incarnation;
    m.build = text_in(h->build);
    m.library = text_in(h->library);
    m.isa = text_in(h->isa);
    m.features = h->features;
    m.run_id = bytes_in(h->run_id, WIRE_ID);
    m.cores = h->cores;
    m.slots = h->slots;
    m.text = text_in(h->text);
    m.precision = text_in(h->precision);
    return finish(&m.base, body, n);
}

static int pack_welcome(const struct wire_welcome *w, unsigned char **body, size_t *n)
{
    Mag__Welcome m;
    mag__welcome__init(&m);
    Mag__Credit credit;
    mag__credit__init(&credit);
    Mag__Pin pin;
    mag__pin__init(&pin);
    struct set_store set;
    if (w->config_bytes > CONFIG_MAX)
        return err_set(ERR_INVAL, "WELCOME: configuration of %zu bytes", w->config_bytes);
    char *yaml = calloc(1, w->config_bytes + 1);
    if (!yaml)
        return err_set(ERR_NOMEM, "out of memory for WELCOME");
    if (w->config_bytes)
        memcpy(yaml, w->config_yaml, w->config_bytes);
    m.proto = w->proto;
    m.token = bytes_in(w->token, WIRE_ID);
    m.run_id = bytes_in(w->run_id, WIRE_ID);
    m.spec_hash = bytes_in(w->spec_hash, sizeof w->spec_hash);
    m.config_digest = bytes_in(w->config_digest.b, DIGEST_BYTES);
    m.config_yaml = yaml;
    credit.episodes = w->credit_episodes;
    credit.bytes = w->credit_bytes;
    m.credit = &credit;
    m.durable_seq = w->durable_seq;
    m.set = set_in(&set, &w->set);
    pin.build = text_in(w->pin.build);
    pin.library = text_in(w->pin.library);
    pin.isa = text_in(w->pin.isa);
    pin.precision = text_in(w->pin.precision);
    m.pin = &pin;
    m.heartbeat_ms = w->heartbeat_ms;
    m.lease_ms = w->lease_ms;
    m.server_time_ms = w->server_time_ms;
    int err = finish(&m.base, body, n);
    free(yaml);
    return err;
}

static int pack_error(const struct wire_error *e, unsigned char **body, size_t *n)
{
    Mag__Error m;
    mag__error__init(&m);
    m.code = e->code;
    m.retryable = e->retryable;
    m.proto_min = e->proto_min;
    m.proto_max = e->proto_max;
    m.text = text_in(e->text);
    return finish(&m.base, body, n);
}

static int pack_ping(const struct wire_ping *p, unsigned char **body, size_t *n)
{
    Mag__Ping m;
    mag__ping__init(&m);
    Mag__Running running[WIRE_RUNNING_MAX], *list[WIRE_RUNNING_MAX];
    m.token = bytes_in(p->token, WIRE_ID);
    m.set_id = p->set_id;
    m.queue = p->queue;
    m.done = p->done;
    m.loop_lag_ms = p->loop_lag_ms;
    m.n_running = p->running_count;
    m.running = list;
    for (uint32_t i = 0; i < p->running_count; i++) {
        list[i] = &running[i];
        mag__running__init(list[i]);
        list[i]->job_id = p->running[i].job_id;
        list[i]->attempt = p->running[i].attempt;
        list[i]->percent = p->running[i].percent;
    }
    return finish(&m.base, body, n);
}

static int pack_pong(const struct wire_pong *p, unsigned char **body, size_t *n)
{
    Mag__Pong m;
    mag__pong__init(&m);
    Mag__Credit credit;
    mag__credit__init(&credit);
    struct set_store set;
    m.set = set_in(&set, &p->set);
    credit.episodes = p->credit_episodes;
    credit.bytes = p->credit_bytes;
    m.credit = &credit;
    m.finished = p->finished;
    return finish(&m.base, body, n);
}

static int pack_play(const struct wire_play *p, unsigned char **body, size_t *n)
{
    Mag__Play m;
    mag__play__init(&m);
    struct set_store set;
    m.kind = (uint32_t)p->kind;
    m.episode_no = p->episode_no;
    m.seed = p->seed;
    m.greedy = p->greedy;
    m.lease_ms = p->lease_ms;
    m.set = set_in(&set, &p->set);
    return finish(&m.base, body, n);
}

static int pack_drain(const struct wire_drain *d, unsigned char **body, size_t *n)
{
    Mag__Drain m;
    mag__drain__init(&m);
    m.deadline_ms = d->deadline_ms;
    m.reason = text_in(d->reason);
    return finish(&m.base, body, n);
}

static int pack_bye(const struct wire_bye *b, unsigned char **body, size_t *n)
{
    Mag__Bye m;
    mag__bye__init(&m);
    m.token = bytes_in(b->token, WIRE_ID);
    m.reason = text_in(b->reason);
    return finish(&m.base, body, n);
}

static int pack_status(const struct wire_status_reply *s, unsigned char **body, size_t *n)
{
    Mag__StatusReply m;
    mag__status_reply__init(&m);
    m.json = text_in(s->json);
    return finish(&m.base, body, n);
}

static int pack_empty(unsigned char **body, size_t *n)
{
    Mag__Empty m;
    mag__empty__init(&m);
    return finish(&m.base, body, n);
}

/* What the arrays behind a message can hold; a caller's bug otherwise. */
static bool packable(const struct wire_control *c)
{
    switch (c->type) {
    case WIRE_WELCOME:
        return c->u.welcome.set.count <= WIRE_GROUPS_MAX;
    case WIRE_PONG:
        return c->u.pong.set.count <= WIRE_GROUPS_MAX;
    case WIRE_PLAY:
        return c->u.play.set.count <= WIRE_GROUPS_MAX;
    case WIRE_PING:
        return c->u.ping.running_count <= WIRE_RUNNING_MAX;
    default:
        return true;
    }
}

int wire_control_pack(const struct wire_control *c, unsigned char **body, size_t *n)
{
    if (!packable(c))
        return err_set(ERR_INVAL, "%s: more entries than fit", wire_type_name(c->type));
    switch (c->type) {
    case WIRE_HELLO:
        return pack_hello(&c->u.hello, body, n);
    case WIRE_WELCOME:
        return pack_welcome(&c->u.welcome, body, n);
    case WIRE_ERROR:
        return pack_error(&c->u.error, body, n);
    case WIRE_PING:
        return pack_ping(&c->u.ping, body, n);
    case WIRE_PONG:
        return pack_pong(&c->u.pong, body, n);
    case WIRE_PLAY:
        return pack_play(&c->u.play, body, n);
    case WIRE_DRAIN:
        return pack_drain(&c->u.drain, body, n);
    case WIRE_BYE:
        return pack_bye(&c->u.bye, body, n);
    case WIRE_STATUS_REPLY:
        return pack_status(&c->u.status, body, n);
    case WIRE_STATUS:
    case WIRE_CHECKPOINT:
    case WIRE_DRAIN_ALL:
        return pack_empty(body, n);
    default:
        return err_set(ERR_INVAL, "%s is not a control message", wire_type_name(c->type));
    }
}

/* ------------------------------------------------------------------------------- parsing */

static int bad(const char *what)
{
    return err_set(ERR_PROTO, "control message: %s out of range", what);
}

static bool text_out(char *to, size_t size, const char *from, bool lines)
{
    size_t n = strlen(from);
    if (n >= size || !text_ok(from, n, lines))
        return false;
    memcpy(to, from, n + 1);
    return true;
}

static bool bytes_out(void *to, size_t size, const ProtobufCBinaryData *from)
{
    if (from->len != size)
        return false;
    memcpy(to, from->data, size);
    return true;
}

/* An absent set is the empty one. */
static bool set_out(struct wire_set *to, const Mag__Set *from)
{
    uint32_t seen = 0;
    if (!from)
        return true;
    if (from->n_group > WIRE_GROUPS_MAX)
        return false;
    to->set_id = from->set_id;
    to->count = (uint32_t)from->n_group;
    for (uint32_t i = 0; i < to->count; i++) {
        const Mag__Group *g = from->group[i];
        if (g->group >= WIRE_GROUPS_MAX || (seen >> g->group & 1) ||
            !bytes_out(to->group[i].digest.b, DIGEST_BYTES, &g->digest))
            return false;
        seen |= 1u << g->group;
        to->group[i].group = g->group;
        to->group[i].version = g->version;
        to->group[i].size = g->size;
    }
    return true;
}

static int hello_out(struct wire_control *c, const ProtobufCMessage *msg)
{
    const Mag__Hello *m = (const Mag__Hello *)msg;
    struct wire_hello *h = &c->u.hello;
    if (m->proto_min > m->proto_max || m->role < ROLE_ACTOR || m->role > ROLE_ADMIN ||
        m->slots > WIRE_RUNNING_MAX)
        return bad("HELLO's version range, role or slots");
    if (!bytes_out(h->worker_id, WIRE_ID, &m->worker_id) ||
        !bytes_out(h->run_id, WIRE_ID, &m->run_id))
        return bad("HELLO's ids");
    if (!text_out(h->build, sizeof h->build, m->build, false) ||
        !text_out(h->library, sizeof h->library, m->library, false) ||
        !text_out(h->isa, sizeof h->isa, m->isa, false) ||
        !text_out(h->text, sizeof h->text, m->text, false) ||
        !text_out(h->precision, sizeof h->precision, m->precision, false))
        return bad("a text of HELLO");
    h->proto_min = m->proto_min;
    h->proto_max = m->proto_max;
    h->role = (enum wire_role)m->role;
    h->incarnation = m->incarnation;
    h->features = m->features;
    h->cores = m->cores;
    h->slots = m->slots;
    return 0;
}

static int welcome_out(struct wire_control *c, const ProtobufCMessage *msg)
{
    const Mag__Welcome *m = (const Mag__Welcome *)msg;
    struct wire_welcome *w = &c->u.welcome;
    if (!bytes_out(w->token, WIRE_ID, &m->token) ||
        !bytes_out(w->run_id, WIRE_ID, &m->run_id) ||
        !bytes_out(w->spec_hash, sizeof w->spec_hash, &m->spec_hash) ||
        !bytes_out(w->config_digest.b, DIGEST_BYTES, &m->config_digest))
        return bad("an id of WELCOME");
    if (!set_out(&w->set, m->set))
        return bad("WELCOME's set");
    if (m->pin &&
        (!text_out(w->pin.build, sizeof w->pin.build, m->pin->build, false) ||
         !text_out(w->pin.library, sizeof w->pin.library, m->pin->library, false) ||
         !text_out(w->pin.isa, sizeof w->pin.isa, m->pin->isa, false) ||
         !text_out(w->pin.precision, sizeof w->pin.precision, m->pin->precision, false)))
        return bad("WELCOME's pin");
    size_t yaml = strlen(m->config_yaml);
    if (yaml > CONFIG_MAX || !text_ok(m->config_yaml, yaml, true))
        return bad("WELCOME's configuration");
    if (m->heartbeat_ms < 1 || m->heartbeat_ms > 600000)
        return bad("WELCOME's heartbeat");
    w->proto = m->proto;
    w->credit_episodes = m->credit ? m->credit->episodes : 0;
    w->credit_bytes = m->credit ? m->credit->bytes : 0;
    w->durable_seq = m->durable_seq;
    w->heartbeat_ms = m->heartbeat_ms;
    w->lease_ms = m->lease_ms;
    w->server_time_ms = m->server_time_ms;
    return 0;
}

static int error_out(struct wire_control *c, const ProtobufCMessage *msg)
{
    const Mag__Error *m = (const Mag__Error *)msg;
    struct wire_error *e = &c->u.error;
    if (!text_out(e->text, sizeof e->text, m->text, false))
        return bad("ERROR's text");
    e->code = m->code;
    e->retryable = m->retryable;
    e->proto_min = m->proto_min;
    e->proto_max = m->proto_max;
    return 0;
}

static int ping_out(struct wire_control *c, const ProtobufCMessage *msg)
{
    const Mag__Ping *m = (const Mag__Ping *)msg;
    struct wire_ping *p = &c->u.ping;
    if (!bytes_out(p->token, WIRE_ID, &m->token) || m->n_running > WIRE_RUNNING_MAX)
        return bad("PING's token or list");
    p->set_id = m->set_id;
    p->queue = m->queue;
    p->done = m->done;
    p->loop_lag_ms = m->loop_lag_ms;
    p->running_count = (uint32_t)m->n_running;
    for (uint32_t i = 0; i < p->running_count; i++) {
        p->running[i] = (struct wire_running){.job_id = m->running[i]->job_id,
                                              .attempt = m->running[i]->attempt,
                                              .percent = m->running[i]->percent};
    }
    return 0;
}

static int pong_out(struct wire_control *c, const ProtobufCMessage *msg)
{
    const Mag__Pong *m = (const Mag__Pong *)msg;
    struct wire_pong *p = &c->u.pong;
    if (!set_out(&p->set, m->set))
        return bad("PONG's set");
    p->credit_episodes = m->credit ? m->credit->episodes : 0;
    p->credit_bytes = m->credit ? m->credit->bytes : 0;
    p->finished = m->finished;
    return 0;
}

static int play_out(struct wire_control *c, const ProtobufCMessage *msg)
{
    const Mag__Play *m = (const Mag__Play *)msg;
    struct wire_play *p = &c->u.play;
    if (m->kind < KIND_TRAIN || m->kind > KIND_FREE || m->episode_no >> EPISODE_NO_BITS)
        return bad("PLAY's kind or number");
    if (!set_out(&p->set, m->set))
        return bad("PLAY's set");
    p->kind = (enum wire_kind)m->kind;
    p->episode_no = m->episode_no;
    p->seed = m->seed;
    p->greedy = m->greedy;
    p->lease_ms = m->lease_ms;
    return 0;
}

static int drain_out(struct wire_control *c, const ProtobufCMessage *msg)
{
    const Mag__Drain *m = (const Mag__Drain *)msg;
    c->u.drain.deadline_ms = m->deadline_ms;
    return text_out(c->u.drain.reason, sizeof c->u.drain.reason, m->reason, false)
               ? 0
               : bad("DRAIN's reason");
}

static int bye_out(struct wire_control *c, const ProtobufCMessage *msg)
{
    const Mag__Bye *m = (const Mag__Bye *)msg;
    return bytes_out(c->u.bye.token, WIRE_ID, &m->token) &&
                   text_out(c->u.bye.reason, sizeof c->u.bye.reason, m->reason, false)
               ? 0
               : bad("BYE's token or reason");
}

static int status_out(struct wire_control *c, const ProtobufCMessage *msg)
{
    const Mag__StatusReply *m = (const Mag__StatusReply *)msg;
    return text_out(c->u.status.json, sizeof c->u.status.json, m->json, true)
               ? 0
               : bad("STATUS_REPLY's text");
}

static int empty_out(struct wire_control *c, const ProtobufCMessage *msg)
{
    (void)c, (void)msg;
    return 0;
}

static const struct control_type {
    enum wire_type type;
    const ProtobufCMessageDescriptor *descriptor;
    int (*out)(struct wire_control *c, const ProtobufCMessage *msg);
} control_types[] = {
    {WIRE_HELLO, &mag__hello__descriptor, hello_out},
    {WIRE_WELCOME, &mag__welcome__descriptor, welcome_out},
    {WIRE_ERROR, &mag__error__descriptor, error_out},
    {WIRE_PING, &mag__ping__descriptor, ping_out},
    {WIRE_PONG, &mag__pong__descriptor, pong_out},
    {WIRE_PLAY, &mag__play__descriptor, play_out},
    {WIRE_DRAIN, &mag__drain__descriptor, drain_out},
    {WIRE_BYE, &mag__bye__descriptor, bye_out},
    {WIRE_STATUS, &mag__empty__descriptor, empty_out},
    {WIRE_STATUS_REPLY, &mag__status_reply__descriptor, status_out},
    {WIRE_CHECKPOINT, &mag__empty__descriptor, empty_out},
    {WIRE_DRAIN_ALL, &mag__empty__descriptor, empty_out},
};

/* Unpack, convert, give back. *out changes only on success. */
static int parse_as(struct wire_control *out, const struct control_type *t, const void *body,
                    size_t n)
{
    struct pb_budget budget;
    pb_budget_init(&budget, 4 * n + BUDGET_SLACK);
    ProtobufCMessage *msg = protobuf_c_message_unpack(t->descriptor, &budget.alloc, n, body);
    struct wire_control *c = calloc(1, sizeof *c);
    int err = !msg ? err_set(ERR_PROTO, "%s does not unpack", wire_type_name(t->type))
              : !c ? err_set(ERR_NOMEM, "out of memory for %s", wire_type_name(t->type))
                   : t->out(c, msg);
    if (msg)
        protobuf_c_message_free_unpacked(msg, &budget.alloc);
    if (!err) {
        c->type = t->type;
        *out = *c;
    }
    free(c);
    return err;
}

int wire_control_parse(struct wire_control *out, enum wire_type type, const void *body,
                       size_t n)
{
    const struct control_type *t = control_types;
    const struct control_type *end = t + sizeof control_types / sizeof *control_types;
    while (t < end && t->type != type)
        t++;
    if (t == end)
        return err_set(ERR_PROTO, "%s is not a control message", wire_type_name(type));
    if (n > WIRE_CONTROL_MAX)
        return err_set(ERR_PROTO, "%s of %zu bytes", wire_type_name(type), n);
    int err = pb_scan(t->descriptor, body, n);
    if (!err)
        err = parse_as(out, t, body, n);
    if (err || type != WIRE_WELCOME)
        return err;
    /* The configuration stays where it is: a view into the caller's bytes. */
    const unsigned char *yaml = body;
    size_t bytes = 0;
    pb_find(body, n, CONFIG_FIELD, &yaml, &bytes);
    out->u.welcome.config_yaml = (const char *)yaml;
    out->u.welcome.config_bytes = bytes;
    return 0;
}
