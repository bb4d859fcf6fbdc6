/* SPDX-License-Identifier: Apache-2.0 */
/* lease.c - who works on what, until when.
 *
 * WHY  Workers die, freeze and come back. A lease bounds how long their work waits; since the
 * result of an item does not depend on who computes it, handing it out again is always safe.
 *
 * INVARIANTS
 *   1. queued + held + done + dead == count
 *   2. holder != 0 exactly while HELD
 *   3. attempt never falls; failures <= attempt
 *
 * COST  Linear scans: a table holds tens to hundreds of items. */
#include "lease.h"

#include "base/err.h"

#include <stdlib.h>
#include <string.h>

void leases_init(struct leases *l, int64_t base_ms, uint32_t attempts_max)
{
    memset(l, 0, sizeof *l);
    l->base_ms = base_ms;
    l->attempts_max = attempts_max;
}

void leases_fini(struct leases *l)
{
    free(l->item);
    memset(l, 0, sizeof *l);
}

void leases_clear(struct leases *l)
{
    l->count = l->queued = l->held = l->done = 0;
}

int leases_add(struct leases *l, uint64_t id)
{
    if (l->count == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 64;
        struct lease *grown = realloc(l->item, cap * sizeof *grown);
        if (!grown)
            return ERR_NOMEM;
        l->item = grown;
        l->cap = cap;
    }
    l->item[l->count++] = (struct lease){.id = id, .attempt = 1, .state = LEASE_QUEUED};
    l->queued++;
    return 0;
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

int64_t leases_term_ms(const struct leases *l)
{
    size_t n = l->runs < LEASE_RUNS ? l->runs : LEASE_RUNS;
    if (!n)
        return l->base_ms;
    int64_t sorted[LEASE_RUNS];
    memcpy(sorted, l->run_ms, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, by_value);
    int64_t term = 3 * sorted[n / 2];
    return term > l->base_ms ? term : l->base_ms;
}

struct lease *leases_take(struct leases *l, uint32_t holder, int64_t now_ms)
{
    struct lease *best = NULL;
    for (size_t i = 0; i < l->count && l->queued; i++) {
        struct lease *it = &l->item[i];
        if (it->state != LEASE_QUEUED)
            continue;
        /* What was given back is the head of the queue. */
        if (!best || (it->attempt > 1 && best->attempt == 1))
            best = it;
        if (best->attempt > 1)
            break;
    }
    if (!best)
        return NULL;
    best->state = LEASE_HELD;
    best->holder = holder;
    best->since_ms = now_ms;
    best->deadline_ms = now_ms + leases_term_ms(l);
    l->queued--;
    l->held++;
    return best;
}

struct lease *leases_find(struct leases *l, uint64_t id)
{
    for (size_t i = 0; i < l->count; i++)
        if (l->item[i].id == id)
            return &l->item[i];
    return NULL;
}

bool leases_renew(struct leases *l, uint64_t id, uint32_t holder, int64_t now_ms)
{
    struct lease *it = leases_find(l, id);
    if (!it || it->state != LEASE_HELD || it->holder != holder)
        return false;
    it->deadline_ms = now_ms + leases_term_ms(l);
    return true;
}

bool leases_done(struct leases *l, uint64_t id, int64_t now_ms)
{
    struct lease *it = leases_find(l, id);
    if (!it || it->state == LEASE_DONE)
        return false;
    if (it->state == LEASE_HELD) {
        l->run_ms[l->runs++ % LEASE_RUNS] = now_ms - it->since_ms;
        l->held--;
    } else if (it->state == LEASE_QUEUED) {
        l->queued--;
    }
    it->state = LEASE_DONE;
    it->holder = 0;
    l->done++;
    return true;
}

static void requeue(struct leases *l, struct lease *it, bool failure)
{
    l->held--;
    l->requeued++;
    it->holder = 0;
    it->attempt++;
    if (failure)
        it->failures++;
    if (it->failures >= l->attempts_max) {
        it->state = LEASE_DEAD;
        return;
    }
    it->state = LEASE_QUEUED;
    l->queued++;
}

size_t leases_return(struct leases *l, uint32_t holder, bool failure)
{
    size_t n = 0;
    for (size_t i = 0; i < l->count; i++) {
        if (l->item[i].state != LEASE_HELD || l->item[i].holder != holder)
            continue;
        requeue(l, &l->item[i], failure);
        n++;
    }
    return n;
}

bool leases_give_back(struct leases *l, uint64_t id, uint32_t holder, bool failure)
{
    struct lease *it = leases_find(l, id);
    if (!it || it->state != LEASE_HELD || it->holder != holder)
        return false;
    requeue(l, it, failure);
    return true;
}

size_t leases_expire(struct leases *l, int64_t now_ms)
{
    size_t n = 0;
    for (size_t i = 0; i < l->count && l->held; i++) {
        if (l->item[i].state != LEASE_HELD || now_ms < l->item[i].deadline_ms)
            continue;
        requeue(l, &l->item[i], true);
        n++;
    }
    return n;
}

const struct lease *leases_first_dead(const struct leases *l)
{
    for (size_t i = 0; i < l->count; i++)
        if (l->item[i].state == LEASE_DEAD)
            return &l->item[i];
    return NULL;
}

size_t leases_held_by(const struct leases *l, uint32_t holder)
{
    size_t n = 0;
    for (size_t i = 0; i < l->count; i++)
        n += l->item[i].state == LEASE_HELD && l->item[i].holder == holder;
    return n;
}
