/* SPDX-License-Identifier: Apache-2.0 */
/* weights.c - newest wins, but nothing that open work names disappears.
 *
 * WHY  Workers pull weights at their own pace. A set is kept while it is the newest or pinned
 * by an open request; a worker that asks for anything older gets GONE and the newest id.
 *
 * LAYOUT  sets[] holds the few live sets, each with references to its blobs; `past` remembers
 * (set_id, digest) of the last 1024 sets, because an upload names the set it was played with
 * and its digest needs that set's. */
#include "weights.h"

#include "base/err.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { SETS_MAX = 64, PAST = 1024 };

struct weights_blob {
    atomic_uint refs;
    size_t n;
    unsigned char *bytes;
};

struct live_set {
    struct wire_set set;
    struct weights_blob *blob[WIRE_GROUPS_MAX];
    uint32_t pins;
};

struct weights {
    pthread_mutex_t mu;
    struct live_set sets[SETS_MAX]; /* ascending set_id, newest last */
    size_t count;
    uint64_t next_set_id;
    struct {
        uint64_t set_id;
        struct digest digest;
    } past[PAST];
    uint64_t published;
};

struct weights_blob *weights_blob_retain(struct weights_blob *b)
{
    atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
    return b;
}

void weights_blob_release(struct weights_blob *b)
{
    /* acq_rel: the last one out must see all earlier uses finished. */
    if (!b || atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) != 1)
        return;
    free(b->bytes);
    free(b);
}

const unsigned char *weights_blob_bytes(const struct weights_blob *b, size_t *n)
{
    *n = b->n;
    return b->bytes;
}

int weights_open(struct weights **out)
{
    struct weights *w = calloc(1, sizeof *w);
    if (!w)
        return ERR_NOMEM;
    pthread_mutex_init(&w->mu, NULL);
    w->next_set_id = 1;
    *out = w;
    return 0;
}

static void drop_set(struct live_set *s)
{
    for (uint32_t i = 0; i < s->set.count; i++)
        weights_blob_release(s->blob[i]);
}

void weights_close(struct weights *w)
{
    if (!w)
        return;
    for (size_t i = 0; i < w->count; i++)
        drop_set(&w->sets[i]);
    pthread_mutex_destroy(&w->mu);
    free(w);
}

void weights_start(struct weights *w, uint64_t first_set_id)
{
    pthread_mutex_lock(&w->mu);
    w->next_set_id = first_set_id;
    pthread_mutex_unlock(&w->mu);
}

/* Free what is neither newest nor pinned. */
static void evict(struct weights *w)
{
    size_t kept = 0;
    for (size_t i = 0; i < w->count; i++) {
        if (i + 1 < w->count && w->sets[i].pins == 0)
            drop_set(&w->sets[i]);
        else
            w->sets[kept++] = w->sets[i];
    }
    w->count = kept;
}

static struct live_set *find_set(struct weights *w, uint64_t set_id)
{
    for (size_t i = 0; i < w->count; i++)
        if (w->sets[i].set.set_id == set_id)
            return &w->sets[i];
    return NULL;
}

/* Put one part into the set being built. True when its bytes are news. The part's bytes are
 * taken over or freed. */
static bool place(struct live_set *s, uint64_t set_id, struct weights_blob *b, uint32_t group)
{
    struct digest d;
    digest_of(&d, b->bytes, b->n);
    uint32_t i = 0;
    while (i < s->set.count && s->set.group[i].group != group)
        i++;
    if (i < s->set.count && memcmp(d.b, s->set.group[i].digest.b, DIGEST_BYTES) == 0) {
        weights_blob_release(b);
        return false;
    }
    if (i == s->set.count) {
        bug_on(i == WIRE_GROUPS_MAX);
        s->set.count++;
    } else {
        weights_blob_release(s->blob[i]);
    }
    s->set.group[i] =
        (struct wire_group){.group = group, .version = set_id, .size = b->n, .digest = d};
    s->blob[i] = b;
    return true;
}

int weights_publish(struct weights *w, const struct weights_part *part, size_t n,
                    struct wire_set *out)
{
    struct weights_blob *blob[WIRE_GROUPS_MAX] = {0};
    bug_on(n > WIRE_GROUPS_MAX);
    int err = 0;
    for (size_t i = 0; i < n; i++) {
        blob[i] = calloc(1, sizeof *blob[i]);
        if (!blob[i]) {
            free(part[i].bytes);
            err = ERR_NOMEM;
            continue;
        }
        atomic_init(&blob[i]->refs, 1);
        blob[i]->bytes = part[i].bytes;
        blob[i]->n = part[i].n;
    }
    pthread_mutex_lock(&w->mu);
    evict(w);
    if (!err && w->count == SETS_MAX)
        err = err_set(ERR_NOMEM, "%d sets of weights are held by open work", SETS_MAX);
    if (err) {
        for (size_t i = 0; i < n; i++)
            weights_blob_release(blob[i]);
        pthread_mutex_unlock(&w->mu);
        return err;
    }
    struct live_set next = {0};
    if (w->count) {
        next.set = w->sets[w->count - 1].set;
        for (uint32_t i = 0; i < next.set.count; i++)
            next.blob[i] = weights_blob_retain(w->sets[w->count - 1].blob[i]);
    }
    bool news = false;
    for (size_t i = 0; i < n; i++)
        news |= place(&next, w->next_set_id, blob[i], part[i].group);
    if (news) {
        next.set.set_id = w->next_set_id++;
        w->sets[w->count++] = next;
        size_t at = w->published++ % PAST;
        w->past[at].set_id = next.set.set_id;
        wire_set_digest(&next.set, &w->past[at].digest);
        evict(w);
    } else {
        drop_set(&next);
    }
    *out = w->sets[w->count - 1].set;
    pthread_mutex_unlock(&w->mu);
    return 0;
}

void weights_newest(struct weights *w, struct wire_set *out)
{
    pthread_mutex_lock(&w->mu);
    if (w->count)
        *out = w->sets[w->count - 1].set;
    else
        memset(out, 0, sizeof *out);
    pthread_mutex_unlock(&w->mu);
}

int weights_set(struct weights *w, uint64_t set_id, struct wire_set *out)
{
    pthread_mutex_lock(&w->mu);
    const struct live_set *s = find_set(w, set_id);
    if (s)
        *out = s->set;
    pthread_mutex_unlock(&w->mu);
    return s ? 0 : ERR_NOTFOUND;
}

int weights_digest(struct weights *w, uint64_t set_id, struct digest *out)
{
    int err = ERR_NOTFOUND;
    pthread_mutex_lock(&w->mu);
    for (size_t i = 0; set_id && i < PAST; i++) {
        if (w->past[i].set_id != set_id)
            continue;
        *out = w->past[i].digest;
        err = 0;
        break;
    }
    pthread_mutex_unlock(&w->mu);
    return err;
}

int weights_pin(struct weights *w, uint64_t set_id)
{
    pthread_mutex_lock(&w->mu);
    struct live_set *s = find_set(w, set_id);
    if (s)
        s->pins++;
    pthread_mutex_unlock(&w->mu);
    return s ? 0 : ERR_NOTFOUND;
}

void weights_unpin(struct weights *w, uint64_t set_id)
{
    pthread_mutex_lock(&w->mu);
    struct live_set *s = find_set(w, set_id);
    if (s && s->pins)
        s->pins--;
    evict(w);
    pthread_mutex_unlock(&w->mu);
}

struct weights_blob *weights_blob(struct weights *w, uint32_t group, uint64_t version)
{
    struct weights_blob *found = NULL;
    pthread_mutex_lock(&w->mu);
    for (size_t i = w->count; i-- > 0 && !found;) {
        const struct live_set *s = &w->sets[i];
        for (uint32_t g = 0; g < s->set.count; g++)
            if (s->set.group[g].group == group && s->set.group[g].version == version)
                found = weights_blob_retain(s->blob[g]);
    }
    pthread_mutex_unlock(&w->mu);
    return found;
}
