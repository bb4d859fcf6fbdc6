/* SPDX-License-Identifier: Apache-2.0 */
/* magenv.h - Magellan's environments as a shared library with a plain C interface.
 *
 * A handle is a batch of K environments of one configuration that step together; a single
 * environment is a batch of one. Observations, masks, states and rewards are written straight
 * into arrays that the caller owns. There are no callbacks and no global state; the library
 * links nothing but the C library (no BLAS, no sockets). magenv.py wraps it for Python.
 *
 *   struct magenv_spec spec;
 *   struct magenv *v;
 *   magenv_spec("env.map=2s3z", &spec);
 *   magenv_open(&v, "env.map=2s3z", &(struct magenv_options){.envs = 64, .threads = 2});
 *   ... allocate arrays by spec ...
 *   magenv_reset(v, &arrays, seeds, NULL);
 *   magenv_sample(v, arrays.avail, actions);
 *   magenv_step(v, &arrays, actions);
 *
 * EPISODES  What an environment does depends on its seed and its actions only: the same bits as
 * in training, for any K and any number of threads. Calls compute in the floating-point mode of
 * the trainer and leave the caller's mode as it was.
 *
 * THREADS  A handle belongs to one thread at a time, different handles share nothing. A handle
 * with threads > 1 does not survive fork: open another one in the child.
 *
 * ERRORS  Calls return 0 or a negative MAGENV_E*; then magenv_error() is a sentence for people.
 * Out-parameters are written on success only.
 *
 * STABLE  A program built for MAGENV_ABI n runs with every library whose magenv_abi() is n. */
#ifndef MAGENV_H
#define MAGENV_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MAGENV_ABI 1
#define MAGENV_API __attribute__((visibility("default")))

/* The codes of the whole program (base/err.h) that these calls return. */
enum magenv_code {
    MAGENV_ENOMEM = -1,
    MAGENV_EINVAL = -2,       /* an argument, e.g. an unavailable action: names it */
    MAGENV_EAGAIN = -3,       /* an environment was not ready after a reset */
    MAGENV_EIO = -5,          /* a film that could not be written */
    MAGENV_ENOTFOUND = -7,    /* no such scripted policy, no such environment */
    MAGENV_ECONFIG = -9,      /* settings refused: names the key and the remedy */
    MAGENV_EUNSUPPORTED = -14 /* this environment cannot do that */
};

struct magenv; /* opaque */

/* Sizes of one environment and what it is. */
struct magenv_spec {
    uint64_t n_agents, obs, state, actions; /* N, O, G, A: lengths of the vectors as written */
    uint64_t episode_limit;                 /* steps */
    char build[64];                         /* engine and its rules version */
    char line[4032];                        /* all that makes episodes comparable, one line */
};

/* What becomes of an environment whose episode has ended (the names are Gymnasium's):
 * MANUAL: it stands still, reward 0, until a reset names it. SAME_STEP: the step that ends an
 * episode starts the next; obs, avail, state are the new one's first, the old one's last go
 * into final_*. NEXT_STEP: the next step starts it, ignores its actions and pays 0. */
enum magenv_autoreset { MAGENV_MANUAL, MAGENV_SAME_STEP, MAGENV_NEXT_STEP };

struct magenv_options {
    uint64_t envs;      /* K, 1 to 65536 */
    uint32_t threads;   /* that step them, the caller's included: 1 to 1024 */
    uint32_t autoreset; /* enum magenv_autoreset */
};

enum magenv_end { MAGENV_RUNNING, MAGENV_TERMINAL, MAGENV_LIMIT, MAGENV_ABORT };

/* Where a call writes, C order. The caller owns all of it and may pass other arrays at every
 * call, e.g. slices of a rollout. state, won, seed and final_* may be NULL; final_obs and
 * final_avail go together, and final_state goes with them. */
struct magenv_arrays {
    float *obs;     /* [K][N][O] */
    uint8_t *avail; /* [K][N][A] 1: the action is available */
    float *state;   /* [K][G] */
    float *reward;  /* [K] the team's reward of the step */
    uint8_t *end;   /* [K] enum magenv_end: how the episode ended in this step */
    uint8_t *won;   /* [K] */
    uint64_t *seed; /* [K] of the episode that obs shows: a reset with it plays it again */
    float *final_obs;
    uint8_t *final_avail;
    float *final_state;
};

/* MAGENV_ABI of the library. */
MAGENV_API uint32_t magenv_abi(void);

/* Why the last failing call of this thread failed; valid until the thread's next call. */
MAGENV_API const char *magenv_error(void);

/* NULL-terminated: all environments, and the standard tasks of one (env.map). ENOTFOUND gives
 * NULL. Static strings. */
MAGENV_API const char *const *magenv_names(void);
MAGENV_API const char *const *magenv_maps(const char *name);

/* settings: "key=value" words between blanks, e.g. "env.name=smac env.map=3m"; keys are those
 * of group env in the reference of all settings (docs/config.md), a later word wins. */
MAGENV_API int magenv_spec(const char *settings, struct magenv_spec *out);
MAGENV_API int magenv_open(struct magenv **out, const char *settings,
                           const struct magenv_options *o);
MAGENV_API void magenv_close(struct magenv *v); /* NULL is a no-op */

/* Start episodes where which[k] is not 0 (NULL: everywhere) and write their rows with reward 0.
 * seeds [K] begin new sequences of episodes (the first is played with the seed itself); NULL
 * goes on with those begun before, at first with seed k for environment k. */
MAGENV_API int magenv_reset(struct magenv *v, const struct magenv_arrays *to,
                            const uint64_t *seeds, const uint8_t *which);

/* One step of all. actions [K][N], 0 to A-1 and available in the last observation; EINVAL names
 * the environment and the agent. Out of range: nothing has moved. Not available: that
 * environment has not moved and its rows are as before; the others have stepped. */
MAGENV_API int magenv_step(struct magenv *v, const struct magenv_arrays *to,
                           const int32_t *actions);

/* One step in which the environment's own policy acts, e.g. "attack_nearest". ENOTFOUND. */
MAGENV_API int magenv_step_script(struct magenv *v, const struct magenv_arrays *to,
                                  const char *policy);

/* actions [K][N], uniform among those that avail [K][N][A] shows; the same for the same
 * episodes. */
MAGENV_API void magenv_sample(struct magenv *v, const uint8_t *avail, int32_t *actions);

/* A unit as a spectator sees it; agents may not see all of that. */
struct magenv_unit {
    uint8_t side;  /* 0 agents, 1 opponents */
    uint8_t kind;  /* equal numbers are units of one kind */
    uint8_t alive; /* the dead keep their place in the list */
    uint8_t reserved;
    float x, y; /* map units, y grows to the north */
    float health, shield, energy;
};
enum { MAGENV_UNITS_MAX = 256 };

/* The units of environment k: *count of them into out, which has room for MAGENV_UNITS_MAX. An
 * index means one unit for a whole episode. EUNSUPPORTED where there are none. */
MAGENV_API int magenv_units(struct magenv *v, uint64_t k, struct magenv_unit *out,
                            uint64_t *count);

/* Play an episode again, from its seed and its actions [steps][N], and write it to `path` as a
 * film: `mag replay` shows it. EUNSUPPORTED where there are no units. EINVAL for actions that do
 * not belong to the episode. */
MAGENV_API int magenv_film(const char *settings, uint64_t seed, const int32_t *actions,
                           uint64_t steps, const char *path);

/* A picture in letters of environment k; EINVAL if n bytes do not hold it. */
MAGENV_API int magenv_describe(struct magenv *v, uint64_t k, char *out, size_t n);

#ifdef __cplusplus
}
#endif

#endif
