/* SPDX-License-Identifier: Apache-2.0 */
/* fetch.c - pull weights: at most eight GETs under way, checked by digest, kept by digest.
 *
 * WHY  Pulling by version needs no memory of listeners at the learner, and a late joiner, a slow
 * reader and a reconnect are all the same case. Eight pieces of 256 KiB in flight fill a link
 * with 2 MiB times its round trips per second.
 *
 * LAYOUT  entry[]: one per blob asked for, FETCHING -> READY, or GONE when the learner refuses.
 * piece[]: the GETs under way. Wants are not remembered: whoever needs a set asks again, so a
 * cancelled need costs nothing and there is no list to leak.
 *
 * BOUND  At most FETCH_VERSIONS versions of a group; the one wanted longest ago leaves first.
 * Two sets in use and the newest one are three. */
#include "work/fetch.h"

#include "base/err.h"
#include "base/log.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
    FETCH_VERSIONS = 3,
    FETCH_ENTRIES = FETCH_VERSIONS * WIRE_GROUPS_MAX,
    FETCH_RETRY_MS = 5000, /* an unanswered GET is asked again */
    NOT_SENT = -1,
    FETCH_TRIES = 3,         /* whole blobs with a wrong digest */
    FETCH_BLOB_MAX = 1 << 30 /* bytes: no group of ours is near */
};

struct blob {
    atomic_uint refs;
    struct digest digest;
    size_t n;
    unsigned char bytes[];
};

enum entry_state { ENTRY_FREE, ENTRY_FETCHING, ENTRY_READY, ENTRY_GONE };

struct entry {
    enum entry_state state;
    struct wire_group g;
    struct blob *blob;
    uint64_t next, received; /* bytes asked for, bytes here */
    int64_t wanted_ms;
    unsigned tries;
};

struct piece {
    struct entry *e; /* NULL: free */
    uint64_t offset;
    uint32_t length;
    int64_t sent_ms; /* NOT_SENT: to be asked again */
};

struct fetch {
    uint32_t needs;
    fetch_send_fn *send;
    void *arg;
    uint64_t bytes;
    struct entry entry[FETCH_ENTRIES];
    struct piece piece[FETCH_OUTSTANDING];
};

/* --------------------------------------------------------------------------------- blobs */

static void blob_put(struct blob *b)
{
    /* acq_rel: the last one out must see every reader finished. */
    if (b && atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) == 1)
        free(b);
}

static struct blob *blob_get(struct blob *b)
{
    atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
    return b;
}

const unsigned char *blob_bytes(const struct blob *b, size_t *n)
{
    *n = b->n;
    return b->bytes;
}

const struct digest *blob_digest(const struct blob *b)
{
    return &b->digest;
}

void blob_set_free(struct blob_set *s)
{
    if (!s)
        return;
    for (size_t g = 0; g < WIRE_GROUPS_MAX; g++)
        blob_put(s->blob[g]);
    free(s);
}

/* -------------------------------------------------------------------------- open, close */

int fetch_open(struct fetch **out, uint32_t needs, fetch_send_fn *send, void *arg)
{
    struct fetch *f = calloc(1, sizeof *f);
    if (!f)
        return err_set(ERR_NOMEM, "out of memory for fetching weights");
    f->needs = needs;
    f->send = send;
    f->arg = arg;
    *out = f;
    return 0;
}

static void entry_free(struct fetch *f, struct entry *e)
{
    for (size_t i = 0; i < FETCH_OUTSTANDING; i++) {
        if (f->piece[i].e == e)
            f->piece[i].e = NULL;
    }
    blob_put(e->blob);
    memset(e, 0, sizeof *e);
}

void fetch_clear(struct fetch *f)
{
    for (size_t i = 0; i < FETCH_ENTRIES; i++)
        entry_free(f, &f->entry[i]);
}

void fetch_close(struct fetch *f)
{
    if (!f)
        return;
    fetch_clear(f);
    free(f);
}

uint64_t fetch_bytes(const struct fetch *f)
{
    return f->bytes;
}

/* ------------------------------------------------------------------------------- asking */

static void give_up(struct fetch *f, struct entry *e, const char *why)
{
    struct wire_group g = e->g;
    int64_t wanted = e->wanted_ms;
    log_warn("weights not available", "group=%u version=%llu why=\"%s\"", g.group,
             (unsigned long long)g.version, why);
    entry_free(f, e);
    e->state = ENTRY_GONE;
    e->g = g;
    e->wanted_ms = wanted;
}

static struct piece *free_piece(struct fetch *f)
{
    for (size_t i = 0; i < FETCH_OUTSTANDING; i++) {
        if (!f->piece[i].e)
            return &f->piece[i];
    }
    return NULL;
}

static void piece_send(struct fetch *f, struct piece *p, int64_t now_ms)
{
    struct wire_get get = {.group = p->e->g.group,
                           .version = p->e->g.version,
                           .offset = p->offset,
                           .length = p->length};
    p->sent_ms = f->send(f->arg, &get) == 0 ? now_ms : NOT_SENT;
}

/* Fill free pieces with what is still to be asked for. */
static void pump(struct fetch *f, int64_t now_ms)
{
    for (size_t i = 0; i < FETCH_ENTRIES; i++) {
        struct entry *e = &f->entry[i];
        struct piece *p;
        while (e->state == ENTRY_FETCHING && e->next < e->g.size && (p = free_piece(f))) {
            uint64_t left = e->g.size - e->next;
            *p = (struct piece){.e = e,
                                .offset = e->next,
                                .length =
                                    left < WIRE_CHUNK_MAX ? (uint32_t)left : WIRE_CHUNK_MAX};
            e->next += p->length;
            piece_send(f, p, now_ms);
        }
    }
}

static struct entry *find(struct fetch *f, const struct wire_group *g)
{
    for (size_t i = 0; i < FETCH_ENTRIES; i++) {
        struct entry *e = &f->entry[i];
        if (e->state != ENTRY_FREE && e->g.group == g->group && e->g.size == g->size &&
            memcmp(e->g.digest.b, g->digest.b, DIGEST_BYTES) == 0)
            return e;
    }
    return NULL;
}

/* A place for another version of the group: a free one, or the one wanted longest ago. */
static struct entry *place(struct fetch *f, uint32_t group)
{
    struct entry *oldest = NULL, *open = NULL;
    size_t versions = 0;
    for (size_t i = 0; i < FETCH_ENTRIES; i++) {
        struct entry *e = &f->entry[i];
        if (e->state == ENTRY_FREE)
            open = e;
        if (e->state == ENTRY_FREE || e->g.group != group)
            continue;
        versions++;
        if (!oldest || e->wanted_ms < oldest->wanted_ms)
            oldest = e;
    }
    if (versions < FETCH_VERSIONS)
        return open;
    entry_free(f, oldest);
    return oldest;
}

static struct entry *begin(struct fetch *f, const struct wire_group *g, int64_t now_ms)
{
    struct entry *e = place(f, g->group);
    e->g = *g;
    e->wanted_ms = now_ms;
    e->state = ENTRY_FETCHING;
    if (g->size == 0 || g->size > FETCH_BLOB_MAX) {
        give_up(f, e, "impossible size");
        return e;
    }
    e->blob = malloc(sizeof *e->blob + g->size);
    if (!e->blob) {
        give_up(f, e, "out of memory");
        return e;
    }
    atomic_init(&e->blob->refs, 1);
    e->blob->digest = g->digest;
    e->blob->n = (size_t)g->size;
    return e;
}

static enum fetch_state hand_out(struct fetch *f, const struct wire_set *set,
                                 struct blob_set **out)
{
    struct blob_set *s = calloc(1, sizeof *s);
    if (!s)
        return FETCH_PENDING; /* asked again at the next tick */
    s->set = *set;
    s->needs = f->needs;
    for (uint32_t i = 0; i < set->count; i++) {
        uint32_t g = set->group[i].group;
        if (f->needs >> g & 1)
            s->blob[g] = blob_get(find(f, &set->group[i])->blob);
    }
    *out = s;
    return FETCH_READY;
}

/* The same bytes under a newer name, which lives longer: ask for the rest by that. */
static void rename_entry(struct fetch *f, struct entry *e, uint64_t version)
{
    e->g.version = version;
    for (size_t i = 0; i < FETCH_OUTSTANDING; i++) {
        if (f->piece[i].e == e)
            f->piece[i].sent_ms = NOT_SENT;
    }
}

enum fetch_state fetch_want(struct fetch *f, const struct wire_set *set, int64_t now_ms,
                            struct blob_set **out)
{
    uint32_t found = 0;
    enum fetch_state state = FETCH_READY;
    for (uint32_t i = 0; i < set->count; i++) {
        const struct wire_group *g = &set->group[i];
        if (!(f->needs >> g->group & 1))
            continue;
        found |= 1u << g->group;
        struct entry *e = find(f, g);
        if (!e)
            e = begin(f, g, now_ms);
        e->wanted_ms = now_ms;
        if (e->state == ENTRY_FETCHING && e->g.version != g->version)
            rename_entry(f, e, g->version);
        if (e->state == ENTRY_GONE && e->g.version != g->version) {
            entry_free(f, e); /* gone under its old name, back under a new one */
            e = begin(f, g, now_ms);
        }
        if (e->state == ENTRY_GONE)
            state = FETCH_GONE;
        else if (e->state == ENTRY_FETCHING && state == FETCH_READY)
            state = FETCH_PENDING;
    }
    if (found != f->needs)
        return FETCH_GONE;
    pump(f, now_ms);
    return state == FETCH_READY ? hand_out(f, set, out) : state;
}

/* ------------------------------------------------------------------------------ answers */

static struct piece *match(struct fetch *f, uint32_t group, uint64_t offset)
{
    for (size_t i = 0; i < FETCH_OUTSTANDING; i++) {
        struct piece *p = &f->piece[i];
        if (p->e && p->e->g.group == group && p->offset == offset)
            return p;
    }
    return NULL;
}

static bool complete(struct fetch *f, struct entry *e, int64_t now_ms)
{
    struct digest d;
    digest_of(&d, e->blob->bytes, e->blob->n);
    if (memcmp(d.b, e->g.digest.b, DIGEST_BYTES) == 0) {
        e->state = ENTRY_READY;
        return true;
    }
    if (++e->tries >= FETCH_TRIES) {
        give_up(f, e, "the bytes do not have the announced digest");
        return true;
    }
    log_warn("weights damaged, fetched again", "group=%u version=%llu", e->g.group,
             (unsigned long long)e->g.version);
    e->next = e->received = 0;
    pump(f, now_ms);
    return false;
}

bool fetch_chunk(struct fetch *f, const struct wire_chunk *c, const void *bytes, size_t n,
                 int64_t now_ms)
{
    struct piece *p = match(f, c->group, c->offset);
    if (!p || p->e->g.version != c->version)
        return false; /* an answer to a question asked twice, or no longer ours */
    if (n != p->length || crc32c(0, bytes, n) != c->crc) {
        piece_send(f, p, now_ms);
        return false;
    }
    struct entry *e = p->e;
    memcpy(e->blob->bytes + p->offset, bytes, n);
    p->e = NULL;
    e->received += n;
    f->bytes += n;
    if (e->received == e->g.size)
        return complete(f, e, now_ms);
    pump(f, now_ms);
    return false;
}

bool fetch_gone(struct fetch *f, const struct wire_gone *g)
{
    bool changed = false;
    for (size_t i = 0; i < FETCH_ENTRIES; i++) {
        struct entry *e = &f->entry[i];
        if (e->state == ENTRY_FETCHING && e->g.group == g->group &&
            e->g.version == g->version) {
            give_up(f, e, "the learner dropped this version");
            changed = true;
        }
    }
    return changed;
}

static void ask_again(struct fetch *f, int64_t now_ms, int64_t older_ms)
{
    for (size_t i = 0; i < FETCH_OUTSTANDING; i++) {
        struct piece *p = &f->piece[i];
        if (p->e && (p->sent_ms == NOT_SENT || now_ms - p->sent_ms >= older_ms))
            piece_send(f, p, now_ms);
    }
    pump(f, now_ms);
}

void fetch_tick(struct fetch *f, int64_t now_ms)
{
    ask_again(f, now_ms, FETCH_RETRY_MS);
}

void fetch_session(struct fetch *f, int64_t now_ms)
{
    for (size_t i = 0; i < FETCH_ENTRIES; i++) {
        if (f->entry[i].state == ENTRY_GONE)
            entry_free(f, &f->entry[i]);
    }
    ask_again(f, now_ms, 0);
}
