/* SPDX-License-Identifier: Apache-2.0 */
/* pool.h - a fixed team of threads for data-parallel loops.
 *
 * The caller is one of the team. What a task computes must depend on its index only, never on
 * the number of threads: that is how one thread and eight give the same bits. */
#ifndef PAR_POOL_H
#define PAR_POOL_H

#include <stddef.h>

struct pool; /* opaque */

/* threads >= 1; 1 starts none and runs everything in the caller. Threads set FTZ/DAZ as the
 * rest of the program does (pool_fp_mode). ERR_NOMEM, ERR_INVAL. */
int pool_open(struct pool **out, size_t threads);
void pool_close(struct pool *p);           /* NULL is a no-op; waits for the team */
size_t pool_threads(const struct pool *p); /* of NULL: 1 */
/* Cores this process may run on: affinity and container limits of cores counted. */
size_t pool_cores(void);
/* Threads of a team that may have all cores: `asked`, or with 0 as many as there are cores. */
size_t pool_team(size_t asked);

/* Run fn(arg, i, worker) for i in [0, tasks); returns when all are done. worker is in
 * [0, pool_threads) and names scratch space. One caller at a time; p == NULL runs inline. */
typedef void pool_fn(void *arg, size_t task, size_t worker);
void pool_run(struct pool *p, pool_fn *fn, void *arg, size_t tasks);

/* The floating-point mode of every thread that computes: denormals are flushed, so that speed
 * does not depend on data and every thread rounds alike. Call once per thread. */
void pool_fp_mode(void);

#endif
