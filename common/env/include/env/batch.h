/* SPDX-License-Identifier: Apache-2.0 */
/* batch.h - K environments of one configuration, stepped together into the caller's arrays.
 *
 * What environment k does depends on its seed and its actions only: the same bits as a single
 * environment, whatever K, whatever the number of threads. A batch belongs to one thread at a
 * time; where a team of threads steps it, the caller passes that team in (this room knows no
 * threads). Everything is reserved at open: no other call allocates, unless the environment
 * itself does. */
#ifndef ENV_BATCH_H
#define ENV_BATCH_H

#include "env/env.h"

struct batch; /* opaque */

/* What becomes of an environment whose episode has ended; the names are Gymnasium's.
 *   MANUAL     it stands still: reward 0, its end and last observation again, actions ignored,
 *              until a reset names it
 *   SAME_STEP  the step that ends an episode also starts the next: obs, avail, state are the
 *              first of the new one, the last of the old one go into final_*; reward, end and
 *              won are the old one's
 *   NEXT_STEP  the step after the end starts the next episode: it ignores the actions of that
 *              environment and pays 0 */
enum batch_autoreset { BATCH_MANUAL, BATCH_SAME_STEP, BATCH_NEXT_STEP };

/* Runs fn(arg, task, worker) for every task in [0, tasks), in any order and on any threads,
 * and returns when all are done: pool_run of par/pool.h behind a cast of its first argument. */
typedef void batch_task(void *arg, size_t task, size_t worker);
typedef void batch_team(void *team, batch_task *fn, void *arg, size_t tasks);

struct batch_options {
    size_t envs; /* K, 1..BATCH_ENVS_MAX */
    enum batch_autoreset autoreset;
    batch_team *run; /* NULL: the caller's thread steps one after the other */
    void *team;      /* run's first argument; must outlive the batch */
};
enum { BATCH_ENVS_MAX = 1 << 16 };

/* Where a call writes; the caller owns all of it and may pass other arrays at every call.
 * Sizes are those of batch_spec. state, won, seed and the final_* may be NULL (final_obs and
 * final_avail go together); the others must be there. */
struct batch_arrays {
    float *obs;       /* [K][N][O] */
    uint8_t *avail;   /* [K][N][A] of 0/1 */
    float *state;     /* [K][G] */
    float *reward;    /* [K] team reward of the step */
    uint8_t *end;     /* [K] enum env_end */
    uint8_t *won;     /* [K] 0/1 */
    uint64_t *seed;   /* [K] of the episode that obs shows: a reset with it plays it again */
    float *final_obs; /* [K][N][O], SAME_STEP: rows with end != ENV_RUNNING are written */
    uint8_t *final_avail; /* [K][N][A] likewise */
    float *final_state;   /* [K][G] likewise */
};

/* cfg is read, not kept. ERR_INVAL, ERR_NOMEM, or what the class's open says; err_text(). */
int batch_open(struct batch **out, const struct env_class *class, const struct config *cfg,
               const struct batch_options *o);
void batch_close(struct batch *b); /* NULL is a no-op */

const struct env_spec *batch_spec(const struct batch *b);

/* Start episodes where which[k] is not 0 (NULL: everywhere), and write obs, avail, state of
 * those environments with reward 0, end ENV_RUNNING, won 0. seeds [K] begin new sequences of
 * episodes; NULL goes on with the sequences begun before (seed k for environment k, if none
 * was). Episode number e of a sequence is played with batch_episode_seed(seed, e). */
int batch_reset(struct batch *b, const struct batch_arrays *to, const uint64_t *seeds,
                const uint8_t *which);
/* Episode 0 is played with the seed itself, the others with draws keyed by it (domain ENV). */
uint64_t batch_episode_seed(uint64_t seed, uint64_t episode);

/* One step of all. actions [K][N], each available in the last observation. ERR_INVAL names the
 * environment and the agent; then that environment has not moved and its rows are as before,
 * while the others have stepped: with K > 1, reset before going on. */
int batch_step(struct batch *b, const struct batch_arrays *to, const uint8_t *actions);

/* One step by a scripted policy of the environment (env_class.step_script). ERR_NOTFOUND. */
int batch_step_script(struct batch *b, const struct batch_arrays *to, const char *policy);

/* actions [K][N], each uniform among those that avail [K][N][A] shows (0 where it shows none).
 * Drawn from a generator per environment, seeded by its episode's seed: the same episode gets
 * the same random actions. */
void batch_sample(struct batch *b, const uint8_t *avail, uint8_t *actions);

/* A text frame of environment k (env_class.describe). ERR_UNSUPPORTED, ERR_INVAL. */
int batch_describe(struct batch *b, size_t k, char *out, size_t n);

/* The units of environment k as recordings show them. ERR_UNSUPPORTED where there are none. */
int batch_scene(const struct batch *b, size_t k, struct scene *out);

#endif
