/* SPDX-License-Identifier: Apache-2.0 */
/* board.h - how the run is doing, for people: written by the trainer, read by the loop.
 *
 * Numbers only, copied whole under a mutex; the loop adds workers and makes the STATUS reply
 * and the progress line of it. */
#ifndef LEARNER_BOARD_H
#define LEARNER_BOARD_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum board_state {
    BOARD_STARTING,
    BOARD_WAITING, /* for workers to say HELLO */
    BOARD_COLLECTING,
    BOARD_MODEL,
    BOARD_RM,
    BOARD_PLANNING,
    BOARD_PPO,
    BOARD_EVALUATING,
    BOARD_FINISHED,
};
const char *board_state_name(enum board_state s);

struct board_view {
    enum board_state state;
    uint64_t iteration, iterations_max; /* max 0: no bound of that kind */
    uint64_t phase_done, phase_total;   /* steps, batches or episodes of the phase */
    uint64_t env_steps, env_steps_max, episodes, updates;
    uint64_t replay_records, replay_min;
    uint64_t set_id, skipped;
    size_t recent; /* training episodes the next three are over, up to 100 */
    double win_rate, mean_return, mean_length;
    double model_loss, action_info, rm_loss, rm_correlation, entropy, kl;
    double episodes_per_s, env_steps_per_s, updates_per_s, plan_tokens_per_s;
    double iteration_s;                   /* length of the last whole iteration */
    double elapsed_s, seconds_max, eta_s; /* eta < 0: unknown */
    double eval_greedy, eval_sampled;    /* win rates of the newest evaluation, < 0: none yet */
    uint64_t wait_actors, wait_planners; /* how many the trainer waits for */
    bool resumed;
};

struct board {
    pthread_mutex_t mu;
    struct board_view v;
};

void board_init(struct board *b);
void board_fini(struct board *b);
void board_get(struct board *b, struct board_view *out);
void board_put(struct board *b, const struct board_view *v);

/* Seconds left by the nearest of the bounds that apply, -1 when none is known. */
double board_eta(const struct board_view *v);

/* One worker as `mag status` shows it. */
struct board_worker {
    const char *role, *text, *state;
    char id[9]; /* first 8 hex digits */
    uint64_t served, accepted, busy, set_held;
};
struct board_totals {
    uint64_t duplicates, divergence, stale, requeued, lost;
    double uptime_s;
    const char *run_dir;
    uint64_t set_id;
};
/* The STATUS reply: JSON into out[n], always terminated; workers that do not fit are left out
 * and counted in "more". Returns its length. */
size_t board_json(const struct board_view *v, const struct board_totals *t,
                  const struct board_worker *w, size_t workers, char *out, size_t n);
/* One line of key=value words for the log. */
void board_line(const struct board_view *v, char *out, size_t n);

#endif
