/* SPDX-License-Identifier: Apache-2.0 */
/* lease.h - work handed out for a limited time: episodes to play, jobs to plan.
 *
 * A pure state machine: the caller says what time it is. One table holds the work of one
 * request (the episodes of an iteration, the jobs of an imagined batch):
 *
 *      add -> QUEUED -> take -> HELD -> done -> DONE
 *                ^               |
 *                +-- expire, return: attempt + 1, to the head of the queue
 *                                +-- after attempts_max failures: DEAD
 *
 * Owned by the loop thread. Nothing is durable: all of it is recomputed from the checkpoint. */
#ifndef LEARNER_LEASE_H
#define LEARNER_LEASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum lease_state { LEASE_QUEUED, LEASE_HELD, LEASE_DONE, LEASE_DEAD };
enum { LEASE_RUNS = 31 }; /* run times remembered for the median */

struct lease {
    uint64_t id;
    uint32_t attempt; /* of the next or current holder, from 1 */
    uint32_t failures;
    uint32_t holder; /* session uid, 0: nobody */
    enum lease_state state;
    int64_t since_ms, deadline_ms;
};

struct leases {
    struct lease *item; /* in the order they were added */
    size_t count, cap;
    size_t queued, held, done;
    int64_t base_ms; /* shortest term */
    uint32_t attempts_max;
    int64_t run_ms[LEASE_RUNS];
    size_t runs; /* ever recorded */
    uint64_t requeued;
};

void leases_init(struct leases *l, int64_t base_ms, uint32_t attempts_max);
void leases_fini(struct leases *l);
/* Forget all items, keep what was learned about run times. */
void leases_clear(struct leases *l);
int leases_add(struct leases *l, uint64_t id); /* ERR_NOMEM */

/* How long a lease lasts: max(base, 3 x median run time). */
int64_t leases_term_ms(const struct leases *l);
/* The next item for `holder`: given-back ones first, then in order. NULL when none waits. */
struct lease *leases_take(struct leases *l, uint32_t holder, int64_t now_ms);
struct lease *leases_find(struct leases *l, uint64_t id); /* or NULL */
/* The holder is alive and at it. False if it does not hold this item (any more). */
bool leases_renew(struct leases *l, uint64_t id, uint32_t holder, int64_t now_ms);
/* Finished by anyone. False if it was finished before or is unknown. */
bool leases_done(struct leases *l, uint64_t id, int64_t now_ms);
/* All work of a holder that left goes back; `failure`: it counts as a failed attempt. */
size_t leases_return(struct leases *l, uint32_t holder, bool failure);
/* Give up one item of a holder that could not do it. */
bool leases_give_back(struct leases *l, uint64_t id, uint32_t holder, bool failure);
size_t leases_expire(struct leases *l, int64_t now_ms);
const struct lease *leases_first_dead(const struct leases *l); /* or NULL */
size_t leases_held_by(const struct leases *l, uint32_t holder);

#endif
