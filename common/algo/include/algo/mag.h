/* SPDX-License-Identifier: Apache-2.0 */
/* mag.h - MAG: everything the three programs call of the algorithm.
 *
 * "Models as Agents" (arXiv 2303.17984) on MAMBA (AAMAS 2022). The actor calls act, the learner
 * train, the planner imagine; mamba is the same code with imagine.search none. Letters: T
 * steps, B windows, N agents, O observation, A actions, D width, C categoricals, K classes;
 * R imagined steps, L candidates, H horizon, S start states.
 *
 * Constant while in use: struct mag_model (sizes, parameters, derived copies). Moving: the
 * work structs, one per thread of control, all memory reserved at open. Whoever changes
 * parameters calls mag_refresh before anything reads them again.
 *
 * All random numbers come through struct draws (base/rng.h), with global indices, so results
 * depend neither on threads nor on how windows are cut into jobs (docs/adr/0003). */
#ifndef ALGO_MAG_H
#define ALGO_MAG_H

#include "base/arena.h"
#include "base/config.h"
#include "base/rng.h"
#include "nn/params.h"
#include "par/pool.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Weight groups, in block order. Optimisers own ranges: model = FILTER..DECODE, then one each. */
enum mag_group {
    MAG_FILTER,
    MAG_IMAGINE,
    MAG_DECODE,
    MAG_RM,
    MAG_POLICY,
    MAG_CRITIC,
    MAG_GROUPS
};
extern const char *const mag_group_name[MAG_GROUPS]; /* "filter", "imagine", ... */

/* Which groups a role needs, as a bit mask of 1 << group. */
enum {
    MAG_NEEDS_ACTOR = 1 << MAG_FILTER | 1 << MAG_POLICY,
    MAG_NEEDS_PLANNER =
        1 << MAG_FILTER | 1 << MAG_IMAGINE | 1 << MAG_RM | 1 << MAG_POLICY | 1 << MAG_CRITIC,
    MAG_NEEDS_ALL = (1 << MAG_GROUPS) - 1,
};

struct mag_dims {
    size_t N, O, A, D, C, K, heads, layers;
};
void mag_dims_of(struct mag_dims *out, const struct config *cfg, size_t n_agents, size_t obs,
                 size_t actions);

struct kern;
struct mag_model {
    struct mag_dims d;
    const struct kern *kern;
    struct params params;
    struct mag_derived *derived; /* transposes, private to the room */
    struct arena arena;
};

/* Allocate and lay out; values are zero until mag_init or an import. The product kernels for
 * all shapes are prepared here, before any thread uses them. ERR_NOMEM, ERR_INVAL. */
int mag_model_open(struct mag_model **out, const struct mag_dims *d, enum cfg_isa isa);
void mag_model_close(struct mag_model *m);
/* Initial values of mag.md 4.5, keyed by DRAW_INIT (no libm, no LAPACK: same bits anywhere). */
void mag_init(struct mag_model *m, const struct draws *draws);
/* Rebuild what is derived from the parameters of the groups in the mask. */
void mag_refresh(struct mag_model *m, uint32_t groups);

/* ------------------------------------------------------------------------------- windows */

/* B windows of W consecutive records, as replay gives them (before alignment, mag.md 3).
 * A planner gets only obs, action, last (the rest may be NULL there). */
struct mag_windows {
    size_t W, B;
    const float *obs;                  /* [W][B][N][O] */
    const uint8_t *action;             /* [W][B][N] */
    const uint8_t *avail;              /* [W][B][N][A] 0/1 */
    const float *reward;               /* [W][B][N] */
    const uint8_t *done, *fake, *last; /* [W][B] */
};

/* ------------------------------------------------------------------------------- acting */

/* Recurrent state of `rows` joint environments acting in one batch, on the threads of `pool`
 * (NULL: the caller alone), which outlives it; one caller at a time. */
struct mag_act; /* opaque */
int mag_act_open(struct mag_act **out, const struct mag_model *m, size_t rows,
                 struct pool *pool);
void mag_act_close(struct mag_act *a);
size_t mag_act_reserved(const struct mag_act *a);  /* bytes, for memory budgets */
void mag_act_reset(struct mag_act *a, size_t row); /* "none" state, step 0 */

enum mag_act_mode { MAG_ACT_SAMPLE, MAG_ACT_GREEDY };
struct mag_act_row {
    size_t row;           /* which recurrent state */
    const float *obs;     /* [N][O] */
    const uint8_t *avail; /* [N][A] */
    uint64_t item;        /* episode number: key of the draws */
    bool eval;            /* EVAL_* domains instead of ACT_* */
    bool latent_mode;     /* arg max class instead of a draw (eval.latent mode) */
    enum mag_act_mode mode;
    uint8_t *action;   /* out [N] */
    float *h, *logits; /* out, may be NULL: [N][D], masked logits [N][A] */
    uint8_t *index;    /* out, may be NULL: [N][C] */
};
/* One environment step for `n` of the rows, in one batch; the bits of a row do not depend on
 * its company or on the number of threads, which all call `draws`. Steps are counted per row
 * since mag_act_reset. mag.md 14. */
void mag_act_step(struct mag_act *a, const struct draws *draws, struct mag_act_row *rows,
                  size_t n);

/* ------------------------------------------------------------------------------ training */

struct mag_train; /* work space and optimiser state of the learner; opaque */

struct mag_train_cfg {
    size_t W, B;              /* window and batch of model and R_m steps */
    size_t S, rows_max;       /* start states of an imagined batch; joint PPO rows (R-1)*S */
    size_t minibatch;         /* joint rows */
    const struct config *cfg; /* copied */
};
int mag_train_open(struct mag_train **out, struct mag_model *m, const struct mag_train_cfg *c,
                   struct pool *pool);
void mag_train_close(struct mag_train *t);
/* Bytes that mag_train_open reserves (touched as they are used), for memory budgets. */
size_t mag_train_bytes(const struct mag_model *m, const struct mag_train_cfg *c,
                       const struct pool *pool);

/* Adam state by optimiser, for checkpoints: moments have the params' layout over the range. */
enum mag_opt { OPT_MODEL, OPT_RM, OPT_ACTOR, OPT_CRITIC, MAG_OPTS };
struct mag_opt_state {
    uint64_t steps;
    double beta1_t, beta2_t; /* running products beta^t */
};
struct mag_train_state {
    float *m, *v; /* [params.count] each, kernel layout: exported with params_to_blob */
    struct mag_opt_state opt[MAG_OPTS];
    double entropy_weight; /* eta, annealed at every actor minibatch */
    double rate;           /* share of the configured learning rates in use; 1 at open */
    uint64_t skipped;      /* steps refused because a loss or gradient was not finite */
    uint64_t skipped_by[MAG_OPTS]; /* the same by optimiser */
};
struct mag_train_state *mag_train_state(struct mag_train *t);

struct mag_model_stats {
    double kl, rec, reward, cont, avail, action_info, total, grad_norm;
    bool skipped; /* not finite: nothing changed */
};
/* One gradient step of the world model on windows (mag.md 5, 6, 12): losses before the step.
 * step: gradient step of the iteration, key of POST_MODEL and DROPOUT. Calls mag_refresh. */
int mag_model_step(struct mag_train *t, const struct mag_windows *w, const struct draws *draws,
                   uint64_t step, struct mag_model_stats *out);
/* The same without the update: gradient into grad [params.count] (for tests, parity). dropout
 * false leaves all masks out. */
int mag_model_gradient(struct mag_train *t, const struct mag_windows *w,
                       const struct draws *draws, uint64_t step, bool dropout, float *grad,
                       struct mag_model_stats *out);

struct mag_rm_stats {
    double loss, grad_norm;
    bool skipped;
};
/* One gradient step of the model-reward network on fresh labels (mag.md 7). Calls mag_refresh. */
int mag_rm_step(struct mag_train *t, const struct mag_windows *w, const struct draws *draws,
                uint64_t step, struct mag_rm_stats *out);
/* Labels and predictions for windows without any update, per token [T-1][B][N]; input may be
 * NULL or [T-1][B][N][C*K + D] (one-hot part written out), grad may be NULL or
 * [params.count]. `metric` selects the METRIC domains. */
int mag_rm_score(struct mag_train *t, const struct mag_windows *w, const struct draws *draws,
                 uint64_t step, bool metric, float *label, float *pred, float *input,
                 float *grad, double *loss);

/* What winning transitions look like to the model: predicted reward at psi_t against the real
 * one, [T-1][B] mean over agents (contracts.md 9). Uses METRIC draws. */
int mag_reward_score(struct mag_train *t, const struct mag_windows *w,
                     const struct draws *draws, uint64_t step, float *pred);

/* --------------------------------------------------------------------------- imagination */

/* Transitions of an imagined batch, structure of arrays over joint rows: row = i*S + start,
 * i = 0..R-2, start = t*B + window row (t-major). The policy buffer D_m and the planner's
 * RESULT are this. */
struct mag_rows {
    size_t S, steps; /* S start states, steps = R - 1 */
    uint8_t *index;  /* [steps][S][N][C] class of every categorical of s_i */
    float *h;        /* [steps][S][N][D] */
    uint8_t *action; /* [steps][S][N] */
    uint8_t *avail;  /* [steps][S][N][ceil(A/8)] bits, least significant first */
    float *logp;     /* [steps][S][N] log pi_old(a), masked log-softmax */
    float *value;    /* [steps][S][N] */
    float *ret;      /* [steps][S][N] lambda-return */
};
size_t mag_rows_bytes(const struct mag_dims *d, size_t S, size_t steps);
void mag_rows_carve(struct mag_rows *r, const struct mag_dims *d, size_t S, size_t steps,
                    struct arena *a);

/* Tokens that imagining `steps` steps from S starts evaluates: with planning L candidates of H
 * inner steps for each of them, without one plain draw. The unit of planning speed. */
size_t mag_plan_tokens(const struct config *cfg, const struct mag_dims *d, size_t S,
                       size_t steps);

/* How planning went, sums over the start states of a call: what RESULT carries besides rows. */
struct mag_plan_stats {
    uint64_t choices;    /* start states x imagined steps that chose */
    double chosen, mean; /* sums of the chosen score and of the candidates' mean */
    double within_sq, between_sq, score_sum; /* spread: see mag_plan_stats_* */
    uint64_t picked[16]; /* histogram of the chosen index, last bin = 15 and above */
    double reward_sum;   /* imagined rewards */
    uint64_t rewards;
};
void mag_plan_stats_add(struct mag_plan_stats *into, const struct mag_plan_stats *s);

/* Extra outputs for parity and metrics; any pointer may be NULL. [.] as the recordings name. */
struct mag_trace {
    float *logits;       /* [R-1][S][N][A] masked */
    int64_t *choice;     /* [R-1][S] */
    float *scores;       /* [R-1][L][S] */
    float *reward;       /* [R-1][S] */
    float *cont;         /* [R-1][S][N] */
    uint8_t *last_index; /* [S][N][C] state R-1 */
    float *last_h;       /* [S][N][D] */
    float *last_value;   /* [S][N] */
};

struct mag_imagine; /* work space of a planner; opaque */

struct mag_imagine_cfg {
    size_t W, windows_max;    /* windows of one call at most */
    const struct config *cfg; /* copied: R, L, H, choice, switches, gamma, lambda */
};
int mag_imagine_open(struct mag_imagine **out, const struct mag_model *m,
                     const struct mag_imagine_cfg *c, struct pool *pool);
void mag_imagine_close(struct mag_imagine *im);
size_t mag_imagine_reserved(const struct mag_imagine *im); /* bytes, for memory budgets */

/* What the look ahead multiplies in (imagine.precision). `half` on a machine that has none
 * makes mag_imagine_open return ERR_UNSUPPORTED with a remedy; `auto` measures there, for some
 * ten milliseconds, and takes half if that gains a fifth. In lockstep auto is float32. */
struct mag_precision {
    const char *name;                   /* "float32", or the kind of half: "bf16" */
    bool half, measured;                /* measured: auto had something to decide */
    double float32_gflops, half_gflops; /* of one core, NAN if not measured */
};
const struct mag_precision *mag_imagine_precision(const struct mag_imagine *im);

/* Filter w->B windows into start states, imagine R states from each with planning, evaluate,
 * return transitions (mag.md 8-10). `rows_global`[B] are the windows' row numbers in the
 * sampled batch of B_global windows: start = t*B_global + row keys the draws; out is filled
 * for the local windows in order t-major (local S = (W-2)*w->B). `batch`: number of the
 * imagined batch of the iteration. */
int mag_imagine_windows(struct mag_imagine *im, const struct mag_windows *w,
                        const uint32_t *rows_global, size_t B_global, const struct draws *draws,
                        uint64_t batch, struct mag_rows *out, struct mag_plan_stats *stats,
                        struct mag_trace *trace);

/* The paper's Figure 3: accumulated true prediction error of planned against plain rollouts
 * from held-out windows with common random numbers; error[R-1] mean per step for both. */
int mag_compounding_error(struct mag_imagine *im, const struct mag_windows *w,
                          const struct draws *draws, uint64_t item, double *planned,
                          double *plain);

/* ------------------------------------------------------------------------------------ PPO */

struct mag_ppo_stats {
    double actor_loss, critic_loss, entropy, kl, clip_fraction, grad_norm_actor,
        grad_norm_critic, explained_variance, adv_mean, adv_std, return_mean;
    double first_ratio_error; /* max |ratio - 1| in the first minibatch: exactly 0 */
    uint64_t actor_steps, critic_steps, skipped;
    /* Losses, norms, entropy, kl and clip_fraction are means over the steps taken: of the actor
     * where actor_steps > 0, of the critic where critic_steps > 0, else 0. */
};
/* ppo_epochs over all rows of one imagined batch (mag.md 11): advantage, minibatches by the
 * permutation of PERM(batch, epoch), actor then critic. Calls mag_refresh. minibatch_out may
 * be NULL or [steps][4] = actor loss, its gradient norm, critic loss, its norm. */
int mag_ppo_batch(struct mag_train *t, const struct mag_rows *rows, const struct draws *draws,
                  uint64_t batch, struct mag_ppo_stats *out, double (*minibatch_out)[4]);
/* Normalised advantage [rows][N] alone. */
int mag_ppo_advantage(struct mag_train *t, const struct mag_rows *rows, float *adv);
/* order [n]: the joint rows in the order of an epoch, a stable ascending argsort of PERM's
 * uniforms. */
int mag_ppo_order(struct mag_train *t, const struct draws *draws, uint64_t batch,
                  uint64_t epoch, size_t n, uint32_t *order);
/* Gradients of the first minibatch given an order of rows (tests, parity): no update. */
int mag_ppo_gradient(struct mag_train *t, const struct mag_rows *rows, const float *adv,
                     const uint32_t *order, size_t n, float *grad, double out[4]);

/* ------------------------------------------------------------------------ replay alignment */

/* Aligned tensors of mag.md 3, T = W - 1: obs, avail, fake, last of record k+1+t; action,
 * reward, done of record k+t. Views into w, no copies. */
struct mag_batch {
    size_t T, B;
    const float *obs;           /* [T][B][N][O] */
    const uint8_t *avail;       /* [T][B][N][A] */
    const uint8_t *fake, *last; /* [T][B] */
    const uint8_t *action;      /* [T][B][N] */
    const float *reward;        /* [T][B][N] */
    const uint8_t *done;        /* [T][B] */
};
void mag_align(struct mag_batch *out, const struct mag_windows *w, const struct mag_dims *d);

#endif
