/* SPDX-License-Identifier: Apache-2.0 */
/* intake.c - one queue, one thread, one transaction at a time.
 *
 * WHY  "Acknowledged" must mean "durable", and a commit costs a disk flush; so uploads are
 * gathered for 20 ms or 4 MiB and committed together, and only then acknowledged and handed to
 * the trainer. The thread also does the heavy parsing, so the loop stays quick.
 *
 * RESULTS  arrive in parts, one message per window, in order from one worker. An assembly
 * gathers the messages of one worker's attempt; when the last part is in, the rows are copied
 * once, straight into the trainer's batch. Half a result never reaches it: assemblies of
 * workers that leave are dropped. Later results of a job that is done are only digested and
 * compared: a free and permanent proof of determinism.
 *
 * INVARIANTS
 *   1. an ACK outcome exists only for episodes whose commit returned 0
 *   2. after a failed commit nothing is acknowledged or stored any more (in->dead)
 *   3. every uploaded message of a session has one outcome, which says that its bytes wait no
 *      more; credit is measured by what waits
 *   4. an assembly belongs to one (worker, job, attempt) and holds parts 0..next-1 */
#include "intake.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/fault.h"
#include "base/log.h"
#include "par/jobq.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { QUEUE = 8192, PENDING_MAX = 1024, ASSEMBLIES = 128, META_TEXT = 128 };
enum { GROUP_MS = 20, GROUP_BYTES = 4 << 20 };

enum item_kind {
    ITEM_MESSAGE,
    ITEM_HELLO,
    ITEM_FORGET,
    ITEM_METRIC,
    ITEM_EVAL,
    ITEM_META,
    ITEM_ORPHAN,
    ITEM_SYNC,
};

struct sync {
    sem_t done;
    int err;
};

struct item {
    enum item_kind kind;
    struct intake_from from;
    enum wire_type type;
    enum wire_role role;
    struct link_msg *msg;
    enum wire_kind episode_kind;
    uint64_t a, b;
    bool greedy;
    uint32_t wins, episodes;
    double value;
    char name[META_TEXT], text[META_TEXT];
    struct sync *sync;
};

/* An episode in the open transaction: answered when it is durable. */
struct pending {
    struct intake_from from;
    struct port_episode episode; /* msg NULL: a duplicate, only to be acknowledged */
    enum wire_kind kind;
    uint64_t episode_no;
    size_t bytes;
    bool fresh;
};

struct assembly {
    uint32_t uid; /* 0: free */
    uint64_t job_id;
    uint32_t attempt, parts, next;
    struct digest_state digest;
    struct mag_plan_stats stats;
    struct link_msg **msg; /* [parts]; NULL when the job is already done */
    struct wire_result *part;
};

struct intake {
    struct store *store;
    struct port *port;
    struct weights *weights;
    struct env_spec spec;
    struct philox philox;
    struct draws draws;
    void (*wake)(void *arg);
    void *wake_arg;
    struct jobq *queue;
    pthread_t thread;
    bool started;

    /* store thread only */
    bool dead;
    struct pending pending[PENDING_MAX];
    size_t pendings, fresh;
    size_t group_bytes;
    int64_t group_since_ms;
    struct assembly assembly[ASSEMBLIES];

    pthread_mutex_t mu; /* outcomes, counts */
    struct outcome *first, **last;
    struct intake_counts counts;
};

/* ---------------------------------------------------------------------------- outcomes */

static struct outcome *outcome_new(enum outcome_kind kind, uint32_t uid)
{
    struct outcome *o = calloc(1, sizeof *o);
    if (!o)
        return NULL; /* the worker resends; nothing is lost */
    o->kind = kind;
    o->uid = uid;
    return o;
}

static void outcome_post(struct intake *in, struct outcome *o)
{
    if (!o)
        return;
    pthread_mutex_lock(&in->mu);
    *in->last = o;
    in->last = &o->next;
    pthread_mutex_unlock(&in->mu);
    in->wake(in->wake_arg);
}

struct outcome *intake_outcomes(struct intake *in)
{
    pthread_mutex_lock(&in->mu);
    struct outcome *o = in->first;
    in->first = NULL;
    in->last = &in->first;
    pthread_mutex_unlock(&in->mu);
    return o;
}

void outcome_free(struct outcome *o)
{
    if (o && o->msg)
        link_msg_free(o->msg);
    free(o);
}

#define COUNT(in, field, n)                                                                    \
    do {                                                                                       \
        pthread_mutex_lock(&(in)->mu);                                                         \
        (in)->counts.field += (n);                                                             \
        pthread_mutex_unlock(&(in)->mu);                                                       \
    } while (0)

void intake_counts(struct intake *in, struct intake_counts *out)
{
    pthread_mutex_lock(&in->mu);
    *out = in->counts;
    pthread_mutex_unlock(&in->mu);
}

/* ---------------------------------------------------------------------------- failures */

/* The store failed: final. Nothing is acknowledged from here on. */
static void die(struct intake *in, int err)
{
    char text[512];
    snprintf(text, sizeof text, "%s", err_text());
    in->dead = true;
    log_error("run store failed", "error=\"%s\"", text);
    port_fail(in->port, err == ERR_CORRUPT ? ERR_CORRUPT : ERR_IO, text);
}

static void hex_id(char out[2 * WIRE_ID + 1], const unsigned char id[WIRE_ID])
{
    for (int i = 0; i < WIRE_ID; i++)
        snprintf(out + 2 * i, 3, "%02x", id[i]);
}

static void diverged(struct intake *in, const char *what, uint64_t number,
                     const unsigned char first[WIRE_ID], const unsigned char second[WIRE_ID])
{
    char a[2 * WIRE_ID + 1], b[2 * WIRE_ID + 1], text[400];
    hex_id(a, first);
    hex_id(b, second);
    COUNT(in, divergence, 1);
    snprintf(
        text, sizeof text,
        "%s %llu was computed twice with different results, by worker %s and by worker %s: "
        "one of the two machines or builds is broken; the run stops because its bits "
        "cannot be trusted",
        what, (unsigned long long)number, a, b);
    log_error("divergence", "what=%s number=%llu first=%s second=%s", what,
              (unsigned long long)number, a, b);
    if (store_meta_set(in->store, "divergence", text) == 0) /* `mag inspect` tells of it */
        store_commit(in->store);
    port_fail(in->port, ERR_DIVERGED, text);
}

/* ----------------------------------------------------------------------------- commits */

static void ack_of(struct intake *in, const struct intake_from *from, struct wire_ack *ack)
{
    int err = store_stream(in->store, from->worker_id, from->incarnation, &ack->durable_seq,
                           &ack->selective);
    if (err)
        die(in, err);
}

/* Answer the group after its commit; `ok` false: forget it. */
static void settle(struct intake *in, bool ok)
{
    for (size_t i = 0; i < in->pendings; i++) {
        struct pending *p = &in->pending[i];
        if (!ok) {
            port_episode_free(&p->episode);
            continue;
        }
        struct outcome *o = outcome_new(OUT_ACK, p->from.uid);
        if (o) {
            ack_of(in, &p->from, &o->ack);
            o->bytes = p->bytes;
            o->episode_kind = p->kind;
            o->episode_no = p->episode_no;
            o->accepted = p->fresh;
        }
        if (p->fresh)
            port_deliver(in->port, &p->episode);
        outcome_post(in, o);
    }
    in->pendings = in->fresh = in->group_bytes = 0;
}

static void commit(struct intake *in)
{
    int err = in->dead ? ERR_IO : store_commit(in->store);
    if (err && !in->dead)
        die(in, err);
    COUNT(in, commits, 1);
    settle(in, !err);
}

static bool group_open(const struct intake *in)
{
    return in->pendings || (!in->dead && store_dirty(in->store));
}

static bool group_due(struct intake *in)
{
    if (!group_open(in))
        return false;
    /* Nothing else is awaited: the trainer would only sleep through the 20 ms. */
    if (in->fresh && in->fresh >= port_episodes_missing(in->port))
        return true;
    return in->pendings == PENDING_MAX || in->group_bytes >= GROUP_BYTES ||
           clock_mono_ms() - in->group_since_ms >= GROUP_MS;
}

/* ---------------------------------------------------------------------------- episodes */

static void nack(struct intake *in, const struct item *it, const struct wire_episode *e,
                 enum wire_nack_reason reason, const char *text)
{
    struct outcome *o = outcome_new(OUT_NACK, it->from.uid);
    if (reason == NACK_STALE)
        COUNT(in, stale_episodes, 1);
    else
        COUNT(in, rejected, 1);
    if (o) {
        unsigned char token[WIRE_ID];
        if (e)
            o->nack.seq = e->seq;
        else if (wire_episode_peek(token, &o->nack.seq, it->msg->frame[1].data,
                                   it->msg->frame[1].n))
            o->nack.seq = 0;
        o->nack.reason = (uint32_t)reason;
        snprintf(o->nack.text, sizeof o->nack.text, "%s", text);
        o->bytes = it->msg->frame[1].n;
        if (e) {
            o->numbered = true;
            o->episode_kind = e->kind;
            o->episode_no = e->episode_no;
        }
    }
    /* A permanent no is an answer: the cumulative mark must be able to pass it. */
    if (e && reason != NACK_CRC) {
        int err = store_seen(in->store, e->worker_id, e->incarnation, e->seq);
        if (err)
            die(in, err);
    }
    outcome_post(in, o);
}

/* What must hold of an episode whatever the schedule. NULL: fine. */
static const char *episode_fault(struct intake *in, const struct item *it,
                                 const struct wire_episode *e)
{
    const struct env_spec *s = &in->spec;
    if (memcmp(e->worker_id, it->from.worker_id, WIRE_ID) != 0 ||
        e->incarnation != it->from.incarnation)
        return "the stream is not this session's";
    if (memcmp(e->spec_hash, s->hash, sizeof e->spec_hash) != 0)
        return "played in another environment: spec_hash differs";
    if (e->N != s->n_agents || e->O != s->obs || e->A != s->actions)
        return "tensor shapes differ from the environment's";
    if (e->seq == 0 || e->T == 0)
        return "empty episode or sequence number 0";
    if (e->T > s->episode_limit)
        return "longer than the environment's limit";
    if (e->end == END_ABORT)
        return "the environment gave up: not an episode";
    if (e->kind == KIND_FREE)
        return "free episodes belong to schedule async";
    if (e->seed != port_request_seed(&in->draws, e->kind, e->episode_no))
        return "the seed is not the episode's";
    return NULL;
}

static bool already_answered(struct intake *in, const struct wire_episode *e)
{
    uint64_t durable = 0, bits = 0;
    int err = store_stream(in->store, e->worker_id, e->incarnation, &durable, &bits);
    if (err)
        die(in, err);
    if (e->seq <= durable)
        return true;
    uint64_t above = e->seq - durable - 2;
    return e->seq >= durable + 2 && above < 64 && bits >> above & 1;
}

static void pend(struct intake *in, const struct item *it, const struct wire_episode *e,
                 const struct digest *set_digest, bool fresh)
{
    if (!in->pendings)
        in->group_since_ms = clock_mono_ms();
    struct pending *p = &in->pending[in->pendings++];
    memset(p, 0, sizeof *p);
    p->from = it->from;
    p->kind = e->kind;
    p->episode_no = e->episode_no;
    p->bytes = it->msg->frame[1].n;
    p->fresh = fresh;
    in->group_bytes += p->bytes;
    if (!fresh)
        return;
    p->episode.e = *e;
    p->episode.set_digest = *set_digest;
    p->episode.msg = it->msg;
    in->fresh++;
}

static void episode_diverged(struct intake *in, const struct wire_episode *e)
{
    unsigned char *body = NULL;
    size_t n = 0;
    struct wire_episode first;
    unsigned char unknown[WIRE_ID] = {0};
    if (store_load(in->store, e->kind, e->episode_no, NULL, &body, &n) == 0 &&
        wire_episode_parse(&first, body, n) == 0)
        diverged(in, "episode", e->episode_no, first.worker_id, e->worker_id);
    else
        diverged(in, "episode", e->episode_no, unknown, e->worker_id);
    free(body);
}

/* Is the episode asked for, with these weights and this way of acting? */
static bool episode_wanted(struct intake *in, const struct wire_episode *e,
                           struct digest *set_digest)
{
    struct digest wanted;
    bool greedy = false;
    if (weights_digest(in->weights, e->set_id, set_digest) != 0)
        return false;
    enum port_want want =
        port_wants_episode(in->port, e->kind, e->episode_no, &greedy, &wanted);
    return want != WANT_UNKNOWN && e->greedy == greedy &&
           memcmp(set_digest->b, wanted.b, DIGEST_BYTES) == 0;
}

/* Put an episode that is wanted into the open transaction. True when the message was kept. */
static bool store_wanted(struct intake *in, const struct item *it, const struct wire_episode *e,
                         const struct digest *set_digest)
{
    struct digest digest;
    enum store_added added = STORE_DIVERGED;
    const unsigned char *body = it->msg->frame[1].data;
    const size_t n = it->msg->frame[1].n;
    wire_episode_digest(e, set_digest, &digest);
    int err = store_episode(in->store, e, &digest, set_digest, false, body, n, &added);
    if (!err && added == STORE_NEW)
        err = store_worker(in->store, e->worker_id, "actor", 1);
    if (err) {
        die(in, err);
        return false;
    }
    if (added == STORE_DIVERGED) {
        episode_diverged(in, e);
        return false;
    }
    if (added == STORE_NEW)
        COUNT(in, episodes, 1);
    else
        COUNT(in, duplicate_episodes, 1);
    COUNT(in, bytes, n);
    /* A duplicate of something that is still wanted cannot be: what is stored was delivered,
     * or is pending in this very group. */
    pend(in, it, e, set_digest, added == STORE_NEW);
    return added == STORE_NEW;
}

/* Returns true when the message was kept. */
static bool on_episode(struct intake *in, const struct item *it)
{
    struct wire_episode e;
    int err = wire_episode_parse(&e, it->msg->frame[1].data, it->msg->frame[1].n);
    if (err) {
        nack(in, it, NULL, err == ERR_CORRUPT ? NACK_CRC : NACK_SCHEMA, err_text());
        return false;
    }
    const char *fault = episode_fault(in, it, &e);
    if (fault) {
        nack(in, it, &e, NACK_REJECTED, fault);
        return false;
    }
    struct digest set_digest;
    if (episode_wanted(in, &e, &set_digest))
        return store_wanted(in, it, &e, &set_digest);
    /* A late or foreign one. If its twin was answered, say so again; else drop it: in lockstep
     * the number is played with the set that belongs to it. */
    if (!in->dead && already_answered(in, &e))
        pend(in, it, &e, NULL, false);
    else
        nack(in, it, &e, NACK_STALE, "this number is not asked for with these weights");
    return false;
}

/* ----------------------------------------------------------------------------- results */

static void assembly_free(struct assembly *a)
{
    for (uint32_t i = 0; a->msg && i < a->next; i++)
        link_msg_free(a->msg[i]);
    free(a->msg);
    free(a->part);
    memset(a, 0, sizeof *a);
}

static struct assembly *assembly_of(struct intake *in, uint32_t uid, uint64_t job_id)
{
    for (size_t i = 0; i < ASSEMBLIES; i++)
        if (in->assembly[i].uid == uid && in->assembly[i].job_id == job_id)
            return &in->assembly[i];
    return NULL;
}

/* Start over for (worker, job): part 0 arrived. */
static struct assembly *assembly_start(struct intake *in, uint32_t uid,
                                       const struct wire_result *r, bool keep)
{
    struct assembly *a = assembly_of(in, uid, r->job_id);
    if (a)
        assembly_free(a);
    for (size_t i = 0; !a && i < ASSEMBLIES; i++)
        if (!in->assembly[i].uid)
            a = &in->assembly[i];
    if (!a)
        return NULL;
    memset(a, 0, sizeof *a);
    if (keep) {
        a->msg = calloc(r->parts, sizeof *a->msg);
        a->part = calloc(r->parts, sizeof *a->part);
        if (!a->msg || !a->part) {
            assembly_free(a);
            return NULL;
        }
    }
    a->uid = uid;
    a->job_id = r->job_id;
    a->attempt = r->attempt;
    a->parts = r->parts;
    digest_init(&a->digest);
    return a;
}

static void verdict(struct intake *in, const struct item *it, const struct wire_result *r,
                    enum wire_verdict v, bool accepted)
{
    struct outcome *o = outcome_new(OUT_RESULT, it->from.uid);
    if (o) {
        o->result = (struct wire_result_ack){
            .job_id = r->job_id, .attempt = r->attempt, .verdict = (uint32_t)v};
        o->bytes = it->msg->frame[1].n;
        o->accepted = accepted;
    }
    outcome_post(in, o);
}

/* A part nobody can use: without an answer, but no longer waiting. */
static void dropped(struct intake *in, const struct item *it)
{
    struct outcome *o = outcome_new(OUT_DROPPED, it->from.uid);
    if (o)
        o->bytes = it->msg->frame[1].n;
    outcome_post(in, o);
}

static bool all_below(const unsigned char *p, size_t n, size_t limit)
{
    unsigned char top = 0;
    for (size_t i = 0; i < n; i++)
        top = p[i] > top ? p[i] : top;
    return n == 0 || top < limit;
}

/* Does the part fit the job's shapes, so that copying it and training on it is safe? */
static bool result_fits(const struct wire_result *r, const struct port_job_info *info)
{
    const struct mag_dims *d = &info->dims;
    if (r->parts != info->rows || r->part >= r->parts || r->starts != info->starts ||
        r->steps != info->steps || r->N != d->N || r->C != d->C || r->D != d->D || r->A != d->A)
        return false;
    size_t tokens = (size_t)r->steps * r->starts * r->N;
    return all_below(r->index, tokens * r->C, d->K) && all_below(r->action, tokens, d->A);
}

static bool is_count(double v)
{
    return v >= 0 && v <= 0x1p53 && v == (double)(uint64_t)v;
}

/* The planner's figures travel as doubles in this order (docs/wire.md), finite as every float of a
 * message is. Figures with a count that cannot be are none: the rows do not depend on them. */
static void stats_of(struct mag_plan_stats *s, const struct wire_result *r)
{
    const double *v = r->stats;
    memset(s, 0, sizeof *s);
    bool ok = r->stats_count >= WIRE_STATS && is_count(v[0]) && is_count(v[7]);
    for (int i = 0; ok && i < 16; i++)
        ok = is_count(v[8 + i]);
    if (!ok)
        return;
    s->choices = (uint64_t)v[0];
    s->chosen = v[1];
    s->mean = v[2];
    s->within_sq = v[3];
    s->between_sq = v[4];
    s->score_sum = v[5];
    s->reward_sum = v[6];
    s->rewards = (uint64_t)v[7];
    for (int i = 0; i < 16; i++)
        s->picked[i] = (uint64_t)v[8 + i];
}

/* The first whole result of its job: its rows are in the trainer's batch. */
static void first_result(struct intake *in, const struct item *it, const struct wire_result *r,
                         const struct digest *digest)
{
    struct port_job_info info;
    enum store_added added = STORE_NEW;
    port_job_info(in->port, r->job_id, &info);
    uint64_t rows = (uint64_t)info.rows * info.starts * info.steps;
    if (!group_open(in))
        in->group_since_ms = clock_mono_ms();
    int err =
        store_job(in->store, r->job_id, it->from.worker_id, r->set_id, rows, digest, &added);
    if (!err && added == STORE_NEW)
        err = store_worker(in->store, it->from.worker_id, "planner", 1);
    if (err) {
        die(in, err);
        return;
    }
    if (added == STORE_DIVERGED) {
        unsigned char earlier[WIRE_ID] = {0}; /* before the restart */
        diverged(in, "job", r->job_id, earlier, it->from.worker_id);
    }
    COUNT(in, jobs, 1);
    verdict(in, it, r, VERDICT_ACCEPTED, true);
}

/* Another whole result of a job that is done, or one of a job that was withdrawn. */
static void later_result(struct intake *in, const struct item *it, const struct wire_result *r,
                         const struct digest *digest)
{
    struct port_job_info info;
    port_job_info(in->port, r->job_id, &info);
    if (info.want != WANT_DONE) {
        COUNT(in, stale_results, 1);
        verdict(in, it, r, VERDICT_STALE, false);
        return;
    }
    COUNT(in, duplicate_jobs, 1);
    if (memcmp(info.digest.b, digest->b, DIGEST_BYTES) != 0)
        diverged(in, "job", r->job_id, info.worker, it->from.worker_id);
    verdict(in, it, r, VERDICT_DUPLICATE, false);
}

/* A whole result is here: the first of its job fills the rows, later ones are compared. */
static void finish_result(struct intake *in, const struct item *it, const struct wire_result *r,
                          struct assembly *a)
{
    struct digest digest;
    digest_end(&a->digest, &digest);
    bool first = a->msg && port_job_take(in->port, a->job_id, a->part, a->parts, &digest,
                                         it->from.worker_id, &a->stats) == 0;
    (first ? first_result : later_result)(in, it, r, &digest);
}

/* Judge a part by what is known of its job; true: worth keeping. */
static bool result_welcome(struct intake *in, const struct item *it,
                           const struct wire_result *r, const struct port_job_info *info)
{
    struct digest set_digest;
    bool last = r->part + 1 == r->parts;
    if (info->want == WANT_UNKNOWN || weights_digest(in->weights, r->set_id, &set_digest) ||
        memcmp(set_digest.b, info->set_digest.b, DIGEST_BYTES) != 0) {
        if (last) {
            COUNT(in, stale_results, 1);
            verdict(in, it, r, VERDICT_STALE, false);
        } else {
            dropped(in, it);
        }
        return false;
    }
    if (!result_fits(r, info)) {
        COUNT(in, rejected, 1);
        if (last)
            verdict(in, it, r, VERDICT_REJECTED, false);
        else
            dropped(in, it);
        return false;
    }
    return true;
}

static void result_broken(struct intake *in, const struct item *it)
{
    struct outcome *o = outcome_new(OUT_BROKEN, it->from.uid);
    COUNT(in, rejected, 1);
    if (o) {
        o->bytes = it->msg->frame[1].n;
        snprintf(o->nack.text, sizeof o->nack.text, "%s", err_text());
    }
    outcome_post(in, o);
}

/* A part was taken and more are to come: its job's lease is renewed. */
static void part_taken(struct intake *in, const struct item *it, const struct wire_result *r)
{
    struct outcome *o = outcome_new(OUT_PART, it->from.uid);
    if (o) {
        o->result.job_id = r->job_id;
        o->bytes = it->msg->frame[1].n;
    }
    outcome_post(in, o);
}

/* Returns true when the message was kept. */
static bool on_result(struct intake *in, const struct item *it)
{
    struct wire_result r;
    struct port_job_info info;
    if (wire_result_parse(&r, it->msg->frame[1].data, it->msg->frame[1].n)) {
        result_broken(in, it);
        return false;
    }
    port_job_info(in->port, r.job_id, &info);
    if (!result_welcome(in, it, &r, &info))
        return false;
    struct assembly *a = r.part == 0
                             ? assembly_start(in, it->from.uid, &r, info.want == WANT_OPEN)
                             : assembly_of(in, it->from.uid, r.job_id);
    if (!a) { /* a later part of something dropped: the worker sends it all again */
        dropped(in, it);
        return false;
    }
    if (a->next != r.part || a->parts != r.parts) {
        assembly_free(a);
        dropped(in, it);
        return false;
    }
    wire_result_digest_add(&a->digest, &r);
    if (r.part == 0)
        stats_of(&a->stats, &r);
    bool kept = a->msg != NULL;
    if (kept) {
        a->part[a->next] = r;
        a->msg[a->next] = it->msg;
    }
    a->next++;
    COUNT(in, bytes, it->msg->frame[1].n);
    fault_point("result.part");
    if (a->next < a->parts) {
        part_taken(in, it, &r);
        return kept;
    }
    finish_result(in, it, &r, a);
    assembly_free(a); /* frees the kept messages, this one too */
    return kept;
}

static void forget(struct intake *in, uint32_t uid)
{
    for (size_t i = 0; i < ASSEMBLIES; i++)
        if (in->assembly[i].uid == uid)
            assembly_free(&in->assembly[i]);
}

/* A job of an earlier batch will never be finished by its half-received result. */
static void sweep(struct intake *in)
{
    struct port_job_info info;
    for (size_t i = 0; i < ASSEMBLIES; i++) {
        if (!in->assembly[i].uid || !in->assembly[i].msg)
            continue;
        port_job_info(in->port, in->assembly[i].job_id, &info);
        if (info.want != WANT_OPEN)
            assembly_free(&in->assembly[i]);
    }
}

/* ------------------------------------------------------------------------------- items */

static void unbound(struct intake *in, const struct item *it)
{
    struct wire_episode e;
    struct wire_result r;
    const void *body = it->msg->frame[1].data;
    size_t n = it->msg->frame[1].n;
    int err = it->type == WIRE_EPISODE ? wire_episode_parse(&e, body, n)
                                       : wire_result_parse(&r, body, n);
    struct outcome *o = outcome_new(err ? OUT_BROKEN : OUT_UNBOUND, 0);
    if (!o || err) {
        link_msg_free(it->msg);
        outcome_post(in, o);
        return;
    }
    memcpy(o->token, it->type == WIRE_EPISODE ? e.token : r.token, WIRE_ID);
    o->type = it->type;
    o->msg = it->msg;
    outcome_post(in, o);
}

static void on_message(struct intake *in, const struct item *it)
{
    if (in->dead) {
        link_msg_free(it->msg);
        return;
    }
    if (!it->from.uid) {
        unbound(in, it);
        return;
    }
    bool kept = it->type == WIRE_EPISODE ? on_episode(in, it) : on_result(in, it);
    if (!kept)
        link_msg_free(it->msg);
}

static void on_hello(struct intake *in, const struct item *it)
{
    const char *role = it->role == ROLE_ACTOR ? "actor" : "planner";
    struct outcome *o = outcome_new(OUT_HELLO, it->from.uid);
    int err = store_worker(in->store, it->from.worker_id, role, 0);
    if (err)
        die(in, err);
    if (o)
        ack_of(in, &it->from, &o->ack);
    outcome_post(in, o);
}

static int on_note(struct intake *in, const struct item *it)
{
    switch (it->kind) {
    case ITEM_METRIC:
        return store_metric(in->store, it->a, it->name, it->value);
    case ITEM_EVAL:
        return store_eval(in->store, it->a, it->b, it->greedy, it->wins, it->episodes,
                          it->value);
    case ITEM_META:
        return store_meta_set(in->store, it->name, it->text);
    case ITEM_ORPHAN:
        return store_mark_orphan(in->store, it->episode_kind, it->a);
    default:
        return 0;
    }
}

static void handle(struct intake *in, struct item *it)
{
    bool was_open = group_open(in);
    switch (it->kind) {
    case ITEM_MESSAGE:
        on_message(in, it);
        break;
    case ITEM_HELLO:
        if (!in->dead)
            on_hello(in, it);
        break;
    case ITEM_FORGET:
        forget(in, it->from.uid);
        break;
    case ITEM_SYNC:
        sweep(in);
        commit(in);
        it->sync->err = in->dead ? ERR_IO : 0;
        sem_post(&it->sync->done);
        break;
    default: {
        int err = in->dead ? 0 : on_note(in, it);
        if (err)
            die(in, err);
    }
    }
    if (!was_open && group_open(in))
        in->group_since_ms = clock_mono_ms();
    free(it);
}

static void *run(void *arg)
{
    struct intake *in = arg;
    void *item = NULL;
    for (;;) {
        int64_t wait = -1;
        if (group_open(in)) {
            wait = in->group_since_ms + GROUP_MS - clock_mono_ms();
            wait = wait < 0 ? 0 : wait;
        }
        int err = jobq_pop(in->queue, &item, wait);
        if (err == ERR_CLOSED)
            break;
        if (!err)
            handle(in, item);
        if (group_due(in))
            commit(in);
    }
    if (group_open(in))
        commit(in);
    return NULL;
}

/* --------------------------------------------------------------------- the other threads */

int intake_open(struct intake **out, const struct intake_cfg *c)
{
    struct intake *in = calloc(1, sizeof *in);
    if (!in)
        return ERR_NOMEM;
    in->store = c->store;
    in->port = c->port;
    in->weights = c->weights;
    in->spec = *c->spec;
    in->philox = (struct philox){.seed = c->seed};
    in->draws = philox_draws(&in->philox);
    in->wake = c->wake;
    in->wake_arg = c->wake_arg;
    in->last = &in->first;
    pthread_mutex_init(&in->mu, NULL);
    int err = jobq_open(&in->queue, QUEUE);
    if (!err && pthread_create(&in->thread, NULL, run, in) != 0)
        err = err_set(ERR_NOMEM, "cannot start the store thread");
    if (err) {
        if (in->queue)
            jobq_close(in->queue);
        pthread_mutex_destroy(&in->mu);
        free(in);
        return err;
    }
    pthread_setname_np(in->thread, "store");
    in->started = true;
    *out = in;
    return 0;
}

void intake_stop(struct intake *in)
{
    jobq_shut(in->queue);
    if (in->started)
        pthread_join(in->thread, NULL);
    in->started = false;
}

void intake_close(struct intake *in)
{
    if (!in)
        return;
    intake_stop(in);
    for (size_t i = 0; i < ASSEMBLIES; i++)
        assembly_free(&in->assembly[i]);
    struct outcome *o = in->first;
    while (o) {
        struct outcome *next = o->next;
        outcome_free(o);
        o = next;
    }
    store_close(in->store);
    jobq_close(in->queue);
    pthread_mutex_destroy(&in->mu);
    free(in);
}

static struct item *item_new(enum item_kind kind)
{
    struct item *it = calloc(1, sizeof *it);
    if (it)
        it->kind = kind;
    return it;
}

int intake_message(struct intake *in, const struct intake_from *from, enum wire_type type,
                   struct link_msg *msg)
{
    struct item *it = item_new(ITEM_MESSAGE);
    int err = it ? 0 : ERR_NOMEM;
    if (it) {
        it->from = *from;
        it->type = type;
        it->msg = msg;
        err = jobq_push(in->queue, it);
    }
    if (err) {
        link_msg_free(msg);
        free(it);
    }
    return err;
}

int intake_hello(struct intake *in, const struct intake_from *from, enum wire_role role)
{
    struct item *it = item_new(ITEM_HELLO);
    if (!it)
        return ERR_NOMEM;
    it->from = *from;
    it->role = role;
    int err = jobq_push(in->queue, it);
    if (err)
        free(it);
    return err;
}

void intake_forget(struct intake *in, uint32_t uid)
{
    struct item *it = item_new(ITEM_FORGET);
    if (!it)
        return;
    it->from.uid = uid;
    if (jobq_push(in->queue, it))
        free(it);
}

static int push_wait(struct intake *in, struct item *it)
{
    int err = jobq_push_wait(in->queue, it);
    if (err)
        free(it);
    return err;
}

int intake_metric(struct intake *in, uint64_t iteration, const char *name, double value)
{
    struct item *it = item_new(ITEM_METRIC);
    if (!it)
        return ERR_NOMEM;
    it->a = iteration;
    it->value = value;
    snprintf(it->name, sizeof it->name, "%s", name);
    return push_wait(in, it);
}

int intake_eval(struct intake *in, uint64_t round, uint64_t set_id, bool greedy, uint32_t wins,
                uint32_t episodes, double mean_return)
{
    struct item *it = item_new(ITEM_EVAL);
    if (!it)
        return ERR_NOMEM;
    it->a = round;
    it->b = set_id;
    it->greedy = greedy;
    it->wins = wins;
    it->episodes = episodes;
    it->value = mean_return;
    return push_wait(in, it);
}

int intake_meta(struct intake *in, const char *key, const char *value)
{
    struct item *it = item_new(ITEM_META);
    if (!it)
        return ERR_NOMEM;
    snprintf(it->name, sizeof it->name, "%s", key);
    snprintf(it->text, sizeof it->text, "%s", value);
    return push_wait(in, it);
}

int intake_orphan(struct intake *in, enum wire_kind kind, uint64_t episode_no)
{
    struct item *it = item_new(ITEM_ORPHAN);
    if (!it)
        return ERR_NOMEM;
    it->episode_kind = kind;
    it->a = episode_no;
    return push_wait(in, it);
}

int intake_sync(struct intake *in)
{
    struct sync sync = {.err = 0};
    struct item *it = item_new(ITEM_SYNC);
    if (!it)
        return ERR_NOMEM;
    sem_init(&sync.done, 0, 0);
    it->sync = &sync;
    int err = push_wait(in, it);
    if (!err) {
        while (sem_wait(&sync.done) != 0)
            ;
        err = sync.err;
    }
    sem_destroy(&sync.done);
    return err;
}
