/* SPDX-License-Identifier: Apache-2.0 */
/* jobq.h - a bounded queue of pointers between threads, with waiting and closing. */
#ifndef PAR_JOBQ_H
#define PAR_JOBQ_H

#include <stddef.h>
#include <stdint.h>

struct jobq; /* opaque */

int jobq_open(struct jobq **out, size_t capacity);
void jobq_close(struct jobq *q); /* frees; must be empty of waiters */

/* Push without waiting. ERR_AGAIN when full, ERR_CLOSED after jobq_shut. Any thread. */
int jobq_push(struct jobq *q, void *item);
/* Push, waiting for room. ERR_CLOSED after jobq_shut. */
int jobq_push_wait(struct jobq *q, void *item);
/* Pop, waiting up to timeout_ms (-1 for ever). ERR_AGAIN on timeout; ERR_CLOSED once the
 * queue was shut and is empty. Any thread. */
int jobq_pop(struct jobq *q, void **item, int64_t timeout_ms);
/* No more pushes; poppers drain what is left. */
void jobq_shut(struct jobq *q);
size_t jobq_len(struct jobq *q);

#endif
