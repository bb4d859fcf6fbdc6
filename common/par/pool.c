/* SPDX-License-Identifier: Apache-2.0 */
/* pool.c - a team that takes task numbers from one counter.
 *
 * WHY  A gradient step is hundreds of short parallel loops, so starting and ending one must
 * cost microseconds; and learners, planners and actors share the machine, so a member that the
 * kernel has not scheduled must not hold up a loop that the others can finish.
 *
 * A RUN  The caller writes fn, arg, tasks and next, opens `gate`, moves `turn` and wakes who
 * sleeps. Members *join* by adding one to an open gate, take tasks from `next` until none is
 * left, and leave by subtracting one. The caller takes tasks too; when none is left it closes
 * the gate and waits only for those inside. A member that wakes later finds the gate closed
 * and goes back to sleep without having touched the run.
 *
 * WAITING  A few microseconds of spinning (loops follow each other closely), then a futex on
 * `turn` (members) or `gate` (the caller).
 *
 * INVARIANTS
 *   1. fn, arg and tasks change only while gate == 0: nobody is inside
 *   2. a member reads them only after joining (acquire) an open gate (release)
 *   3. the caller returns after every member has left (release, acquire): all results are seen
 *   4. which member runs a task never enters the task's result: that is the task's contract */
#include "par/pool.h"

#include "base/err.h"

#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>
#if defined(__SSE__)
#include <xmmintrin.h>
#endif

enum {
    THREADS_MAX = 1024,
    SPINS = 200,             /* about 10 microseconds of pause instructions */
    GATE_OPEN = 1 << 30,     /* members may join */
    GATE_AWAITED = 1 << 29,  /* the caller sleeps until the last member leaves */
    FTZ_DAZ = 0x8000 | 0x40, /* MXCSR: flush results, treat inputs as zero */
};

struct member {
    struct pool *pool;
    pthread_t thread;
    size_t worker; /* 1.. threads-1; the caller is 0 */
};

struct pool {
    _Atomic uint32_t turn; /* moves with every run, and to stop */
    _Atomic uint32_t gate; /* GATE_* | number of members inside */
    _Atomic uint32_t sleepers;
    atomic_bool stop, busy;
    _Alignas(64) _Atomic size_t next; /* contended: a cache line of its own */
    _Alignas(64) pool_fn *fn;
    void *arg;
    size_t tasks;
    size_t threads;
    struct member members[];
};

void pool_fp_mode(void)
{
#if defined(__SSE__)
    unsigned int mode = _mm_getcsr();
    if ((mode & FTZ_DAZ) != FTZ_DAZ)
        _mm_setcsr(mode | FTZ_DAZ);
#elif defined(__aarch64__)
    uint64_t mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
    mode |= (uint64_t)1 << 24; /* FZ flushes both inputs and results */
    __asm__ volatile("msr fpcr, %0" : : "r"(mode));
#endif
}

static void relax(void)
{
#if defined(__SSE__)
    _mm_pause();
#endif
}

/* Sleep while *word == seen; may return early. */
static void futex_wait(_Atomic uint32_t *word, uint32_t seen)
{
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word, int count)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}

static void take_tasks(struct pool *p, size_t worker)
{
    size_t task;
    while ((task = atomic_fetch_add_explicit(&p->next, 1, memory_order_relaxed)) < p->tasks)
        p->fn(p->arg, task, worker);
}

static bool join(struct pool *p)
{
    uint32_t gate = atomic_load_explicit(&p->gate, memory_order_relaxed);
    while (gate & GATE_OPEN)
        if (atomic_compare_exchange_weak_explicit(&p->gate, &gate, gate + 1,
                                                  memory_order_acquire, memory_order_relaxed))
            return true;
    return false;
}

static void leave(struct pool *p)
{
    uint32_t before = atomic_fetch_sub_explicit(&p->gate, 1, memory_order_acq_rel);
    if (before == (GATE_AWAITED | 1))
        futex_wake(&p->gate, 1);
}

/* The next value of turn after `seen`. */
static uint32_t await_turn(struct pool *p, uint32_t seen)
{
    uint32_t turn;
    for (int i = 0; i < SPINS; i++) {
        turn = atomic_load_explicit(&p->turn, memory_order_acquire);
        if (turn != seen)
            return turn;
        relax();
    }
    atomic_fetch_add(&p->sleepers, 1);
    while ((turn = atomic_load(&p->turn)) == seen)
        futex_wait(&p->turn, seen);
    atomic_fetch_sub(&p->sleepers, 1);
    return turn;
}

static void *member_main(void *arg)
{
    struct member *m = arg;
    struct pool *p = m->pool;
    pool_fp_mode();
    uint32_t seen = 0;
    for (;;) {
        seen = await_turn(p, seen);
        if (atomic_load_explicit(&p->stop, memory_order_acquire))
            return NULL;
        if (join(p)) {
            take_tasks(p, m->worker);
            leave(p);
        }
    }
}

/* Sequentially consistent with await_turn: either a member sees the new turn before it
 * sleeps, or we see it among the sleepers. */
static void next_turn(struct pool *p)
{
    atomic_fetch_add(&p->turn, 1);
    if (atomic_load(&p->sleepers))
        futex_wake(&p->turn, INT_MAX);
}

/* Close the gate and wait for the members that are inside. */
static void await_members(struct pool *p)
{
    uint32_t gate =
        atomic_fetch_and_explicit(&p->gate, ~(uint32_t)GATE_OPEN, memory_order_acq_rel) &
        ~(uint32_t)GATE_OPEN;
    for (int i = 0; gate && i < SPINS; i++) {
        relax();
        gate = atomic_load_explicit(&p->gate, memory_order_acquire);
    }
    if (!gate)
        return;
    gate =
        atomic_fetch_or_explicit(&p->gate, GATE_AWAITED, memory_order_acq_rel) | GATE_AWAITED;
    while (gate != GATE_AWAITED) {
        futex_wait(&p->gate, gate);
        gate = atomic_load_explicit(&p->gate, memory_order_acquire);
    }
    atomic_store_explicit(&p->gate, 0, memory_order_relaxed);
}

static void stop_team(struct pool *p, size_t started)
{
    atomic_store_explicit(&p->stop, true, memory_order_release);
    next_turn(p);
    for (size_t i = 0; i < started; i++)
        pthread_join(p->members[i].thread, NULL);
}

/* Members take no signals: those belong to the thread that runs the program's loop. */
static int start_team(struct pool *p)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    size_t started = 0;
    for (; started + 1 < p->threads; started++) {
        struct member *m = &p->members[started];
        *m = (struct member){.pool = p, .worker = started + 1};
        if (pthread_create(&m->thread, NULL, member_main, m) != 0)
            break;
        char name[16];
        snprintf(name, sizeof name, "pool-%zu", m->worker % 10000);
        pthread_setname_np(m->thread, name);
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (started + 1 == p->threads)
        return 0;
    stop_team(p, started);
    return ERR_NOMEM;
}

int pool_open(struct pool **out, size_t threads)
{
    if (threads < 1 || threads > THREADS_MAX)
        return ERR_INVAL;
    size_t bytes = sizeof(struct pool) + (threads - 1) * sizeof(struct member);
    bytes = (bytes + 63) / 64 * 64;
    struct pool *p = aligned_alloc(64, bytes);
    if (!p)
        return ERR_NOMEM;
    *p = (struct pool){.threads = threads};
    int err = start_team(p);
    if (err) {
        free(p);
        return err;
    }
    *out = p;
    return 0;
}

void pool_close(struct pool *p)
{
    if (!p)
        return;
    stop_team(p, p->threads - 1);
    free(p);
}

size_t pool_threads(const struct pool *p)
{
    return p ? p->threads : 1;
}

size_t pool_cores(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0)
        return (size_t)CPU_COUNT(&set);
    long online = sysconf(_SC_NPROCESSORS_ONLN); /* more cores than a cpu_set_t holds */
    return online > 0 ? (size_t)online : 1;
}

size_t pool_team(size_t asked)
{
    return asked ? asked : pool_cores();
}

void pool_run(struct pool *p, pool_fn *fn, void *arg, size_t tasks)
{
    pool_fp_mode(); /* the caller computes too, and must round as the team does */
    if (!p || p->threads == 1 || tasks <= 1) {
        for (size_t i = 0; i < tasks; i++)
            fn(arg, i, 0);
        return;
    }
    bug_on(atomic_exchange(&p->busy, true)); /* one caller at a time, and no nesting */
    p->fn = fn;
    p->arg = arg;
    p->tasks = tasks;
    atomic_store_explicit(&p->next, 0, memory_order_relaxed);
    atomic_store_explicit(&p->gate, GATE_OPEN, memory_order_release);
    next_turn(p);
    take_tasks(p, 0);
    await_members(p);
    atomic_store(&p->busy, false);
}
