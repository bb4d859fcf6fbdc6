/* SPDX-License-Identifier: Apache-2.0 */
/* jobq.c - a ring of pointers under one mutex.
 *
 * WHY  Everything that crosses threads in the program is a message of kilobytes to megabytes,
 * so the queue is far from hot: a mutex and two conditions are simpler to trust than a
 * lock-free ring, and waiting, closing and timeouts come for free.
 *
 * LAYOUT  items[(head + i) % capacity], i in [0, len). Timeouts use the monotonic clock, so a
 * step of the wall clock neither hangs nor hurries a waiter.
 *
 * CLOSING  After jobq_shut pushers get ERR_CLOSED at once, poppers once the ring is empty:
 * nothing that was accepted is lost. */
#include "par/jobq.h"

#include "base/err.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

struct jobq {
    pthread_mutex_t lock;
    pthread_cond_t filled, freed;
    size_t head, len, capacity;
    bool shut;
    void *items[];
};

int jobq_open(struct jobq **out, size_t capacity)
{
    if (capacity == 0 || capacity > (SIZE_MAX - sizeof(struct jobq)) / sizeof(void *))
        return ERR_INVAL;
    struct jobq *q = malloc(sizeof *q + capacity * sizeof(void *));
    if (!q)
        return ERR_NOMEM;
    q->head = q->len = 0;
    q->capacity = capacity;
    q->shut = false;
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->filled, &attr);
    pthread_cond_init(&q->freed, &attr);
    pthread_condattr_destroy(&attr);
    *out = q;
    return 0;
}

void jobq_close(struct jobq *q)
{
    if (!q)
        return;
    pthread_cond_destroy(&q->filled);
    pthread_cond_destroy(&q->freed);
    pthread_mutex_destroy(&q->lock);
    free(q);
}

/* With the lock held and room for one more. */
static void append(struct jobq *q, void *item)
{
    q->items[(q->head + q->len++) % q->capacity] = item;
    pthread_cond_signal(&q->filled);
}

int jobq_push(struct jobq *q, void *item)
{
    int err = 0;
    pthread_mutex_lock(&q->lock);
    if (q->shut)
        err = ERR_CLOSED;
    else if (q->len == q->capacity)
        err = ERR_AGAIN;
    else
        append(q, item);
    pthread_mutex_unlock(&q->lock);
    return err;
}

int jobq_push_wait(struct jobq *q, void *item)
{
    pthread_mutex_lock(&q->lock);
    while (!q->shut && q->len == q->capacity)
        pthread_cond_wait(&q->freed, &q->lock);
    int err = q->shut ? ERR_CLOSED : 0;
    if (!err)
        append(q, item);
    pthread_mutex_unlock(&q->lock);
    return err;
}

static struct timespec deadline_in(int64_t ms)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    ts.tv_sec += (time_t)(ms / 1000);
    ts.tv_nsec += (long)(ms % 1000) * 1000000;
    if (ts.tv_nsec >= 1000000000) {
        ts.tv_sec++;
        ts.tv_nsec -= 1000000000;
    }
    return ts;
}

/* Wait, lock held, until something is there, the queue is shut, or time is up. */
static void wait_filled(struct jobq *q, int64_t timeout_ms)
{
    if (timeout_ms < 0) {
        while (!q->len && !q->shut)
            pthread_cond_wait(&q->filled, &q->lock);
        return;
    }
    if (timeout_ms == 0)
        return;
    struct timespec until = deadline_in(timeout_ms);
    while (!q->len && !q->shut)
        if (pthread_cond_timedwait(&q->filled, &q->lock, &until) == ETIMEDOUT)
            return;
}

int jobq_pop(struct jobq *q, void **item, int64_t timeout_ms)
{
    int err = 0;
    pthread_mutex_lock(&q->lock);
    wait_filled(q, timeout_ms);
    if (q->len) {
        *item = q->items[q->head];
        q->head = (q->head + 1) % q->capacity;
        q->len--;
        pthread_cond_signal(&q->freed);
    } else {
        err = q->shut ? ERR_CLOSED : ERR_AGAIN;
    }
    pthread_mutex_unlock(&q->lock);
    return err;
}

void jobq_shut(struct jobq *q)
{
    pthread_mutex_lock(&q->lock);
    q->shut = true;
    pthread_cond_broadcast(&q->filled);
    pthread_cond_broadcast(&q->freed);
    pthread_mutex_unlock(&q->lock);
}

size_t jobq_len(struct jobq *q)
{
    pthread_mutex_lock(&q->lock);
    size_t len = q->len;
    pthread_mutex_unlock(&q->lock);
    return len;
}
