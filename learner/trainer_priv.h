/* SPDX-License-Identifier: Apache-2.0 */
/* trainer_priv.h - the trainer's state, shared by its files (trainer*.c) only. */
#ifndef LEARNER_TRAINER_PRIV_H
#define LEARNER_TRAINER_PRIV_H

#include "figures.h"
#include "learner/ckpt.h"
#include "learner/metrics.h"
#include "learner/replay.h"
#include "learner/schedule.h"
#include "spike.h"
#include "trainer.h"

#include "base/log.h"
#include "nn/kern.h"

#include <pthread.h>

enum { METRICS_MAX = 128, BOOTSTRAP = 400 };

/* What a checkpoint needs, taken at the start of a policy update. */
struct copy {
    pthread_mutex_t mu; /* held while it is written */
    bool valid;
    bool whole; /* the arrays hold all groups, not only what was last copied */
    struct ckpt_state state;
    float *value, *m, *v;
};

/* One iteration's figures. */
struct tally {
    struct mean kl, rec, reward, cont, avail, action_info, total, model_norm;
    struct mean rm_loss, rm_norm;
    struct mean actor_loss, critic_loss, entropy, ppo_kl, clip, actor_norm, critic_norm;
    struct mean variance, adv_std, return_mean;
    struct mean win_pred, win_real;
    double ratio_error;
    struct mag_plan_stats plan;
    double collect_s, model_s, rm_s, plan_s, ppo_s, metrics_s, started_s;
    uint64_t plan_tokens, updates, episodes, env_steps;
    uint64_t spikes[MAG_OPTS];
};

struct trainer {
    struct trainer_cfg c;
    const struct config *cfg;
    struct intake *in;
    struct store *read; /* a reader of run.db: stored episodes */

    struct mag_dims dims;
    struct mag_model *model;
    struct mag_train *train;
    struct mag_imagine *imagine; /* for the compounding error; NULL: never */
    struct pool *pool;
    struct replay *replay;
    struct arena arena;
    struct replay_batch batch, held; /* sampled; held-out */
    struct mag_rows rows;
    struct port_job *jobs;
    unsigned char *job_space;
    struct digest digest; /* of the configuration, bounds left out */

    struct philox philox;
    struct draws draws;
    struct ckpt_state st;
    double started_s; /* monotonic seconds at which elapsed would be 0 */
    bool resumed, look_in_store;
    uint64_t set_reserved, evaluated; /* ids below are ours; last iteration evaluated, plus 1 */
    struct wire_set set;
    struct copy copy;
    struct metrics *metrics;

    struct port_episode *episode; /* [E max] of the collection under way */
    bool *have;
    float *label, *pred; /* [tokens_max] held-out tokens */
    uint32_t *unit;
    size_t tokens_max;
    double *scratch;
    double (*minibatch)[4]; /* losses and norms of the policy update, mag_ppo_batch */
    size_t minibatches;
    struct log_limit say_refused[MAG_OPTS], say_spike[MAG_OPTS];
    struct spike spike_loss[MAG_OPTS], spike_norm[MAG_OPTS];
    struct recent recent;
    struct tally tally;
    struct metric metric[METRICS_MAX];
    size_t metric_count, metric_stored;
    char metric_name[METRICS_MAX][48];
    struct board_view view;
    struct intake_counts last_counts;
};

double trainer_now_s(void);
double trainer_elapsed(const struct trainer *t);
void trainer_show(struct trainer *t, enum board_state state, uint64_t done, uint64_t total);

/* trainer_save.c */
int trainer_save(struct trainer *t);
void trainer_copy_take(struct trainer *t, bool whole);
void trainer_copy_drop(struct trainer *t);
int trainer_publish(struct trainer *t, uint32_t groups);
int trainer_rebuild(struct trainer *t);

/* trainer_bad.c: a step of the model or R_m on t->batch was refused; `steps` of the actor or
 * the critic on t->rows were (t->minibatch says which). */
void trainer_refused_windows(struct trainer *t, enum mag_opt opt, double loss,
                             double grad_norm);
void trainer_refused_rows(struct trainer *t, enum mag_opt opt, uint64_t steps);
/* A step was taken: log and count it if its loss or norm stands out (spike.h). A loss that can
 * be negative is given as NaN: it is not judged. */
void trainer_watch(struct trainer *t, enum mag_opt opt, double loss, double grad_norm);

/* trainer_collect.c */
int trainer_collect(struct trainer *t);
int trainer_evaluate(struct trainer *t);

/* trainer_figures.c */
void trainer_metric(struct trainer *t, const char *name, double value);
/* To run.db; `line` also writes the line of metrics.jsonl and forgets them. */
int trainer_metrics_flush(struct trainer *t, bool line);
/* Score R_m and rewards on the E episodes just collected, before they enter D_e. */
int trainer_score(struct trainer *t);
void trainer_figures_model(struct trainer *t);
void trainer_figures_rm(struct trainer *t);
void trainer_figures_policy(struct trainer *t);
void trainer_figures_end(struct trainer *t);

/* A cut: 0 to go on, ERR_INTERRUPTED after saving, or a failure. */
int trainer_cut(struct trainer *t);
/* After a wait: save if it ended because somebody wants that. True: wait again. *err becomes 0,
 * stays what it was, or tells why saving failed. */
bool trainer_wait_again(struct trainer *t, int *err);

#endif
