/* SPDX-License-Identifier: Apache-2.0 */
/* train.h - the networks with a tape: forward for a gradient step, and backward.
 *
 * A tape holds one array per activation, [rows of the whole step][width]. Forward and backward
 * work on any range of rows (whole groups where attention is involved), by any thread; they
 * leave beside every layer's input X its output gradient dY. Weight gradients are then one
 * chain over all rows ascending, made by dw_run from the lists that the _jobs functions fill
 * (nn/linear.h). So cutting rows over threads changes no bit.
 *
 * `row0` is the first row in the tape; index, h, obs and other arguments point to that row
 * already. Backward needs a `struct nets` bound with backward = true and refreshed. Output
 * gradients are put by the caller into the last d array of the range, padding columns zero. */
#ifndef MODEL_TRAIN_H
#define MODEL_TRAIN_H

#include "model/nets.h"

/* A chain of linear layers: y[i] is layer i's activated output, d[i] the gradient of its
 * output before activation, both [rows][kern_pad(outputs of layer i)]. */
struct mlp_tape {
    size_t rows, depth;
    float *y[HEAD_DEPTH], *d[HEAD_DEPTH];
};
enum { MLP_JOBS = HEAD_DEPTH };

/* Heads on [s ; h]: index [rows][C], h [rows][D]. */
size_t head_tape_bytes(const struct nets *n, enum net_head which, size_t rows);
void head_tape_carve(struct mlp_tape *t, const struct nets *n, enum net_head which, size_t rows,
                     struct arena *a);
void head_forward(const struct nets *n, enum net_head which, struct mlp_tape *t,
                  const uint8_t *index, const float *h, size_t row0, size_t rows);
/* d_s [rows][latent ld] +=, d_h [rows][D] +=, both or neither NULL (input is data). */
void head_backward(const struct nets *n, enum net_head which, struct mlp_tape *t, float *d_s,
                   float *d_h, size_t row0, size_t rows);
/* At most MLP_JOBS; index and h of row 0. */
size_t head_jobs(struct dw_job *jobs, const struct nets *n, enum net_head which,
                 const struct mlp_tape *t, const uint8_t *index, const float *h, size_t rows);

/* encoder: obs [rows][O] -> y[3]. d[3] arrives holding the gradient of e. */
size_t encoder_tape_bytes(const struct nets *n, size_t rows);
void encoder_tape_carve(struct mlp_tape *t, const struct nets *n, size_t rows, struct arena *a);
void encoder_forward(const struct nets *n, struct mlp_tape *t, const float *obs, size_t row0,
                     size_t rows);
void encoder_backward(const struct nets *n, struct mlp_tape *t, size_t row0, size_t rows);
size_t encoder_jobs(struct dw_job *jobs, const struct nets *n, const struct mlp_tape *t,
                    const float *obs, size_t rows);

/* Action information: z [rows][D] -> y[2] [rows][kern_pad(A)]; d_z +=. */
size_t info_tape_bytes(const struct nets *n, size_t rows);
void info_tape_carve(struct mlp_tape *t, const struct nets *n, size_t rows, struct arena *a);
void info_forward(const struct nets *n, struct mlp_tape *t, const float *z, size_t row0,
                  size_t rows);
void info_backward(const struct nets *n, struct mlp_tape *t, float *d_z, size_t row0,
                   size_t rows);
size_t info_jobs(struct dw_job *jobs, const struct nets *n, const struct mlp_tape *t,
                 const float *z, size_t rows);

/* Prior: h [rows][D] -> y[1], the logits [rows][latent ld]; d_h +=. */
size_t prior_tape_bytes(const struct nets *n, size_t rows);
void prior_tape_carve(struct mlp_tape *t, const struct nets *n, size_t rows, struct arena *a);
void prior_forward(const struct nets *n, struct mlp_tape *t, const float *h, size_t row0,
                   size_t rows);
void prior_backward(const struct nets *n, struct mlp_tape *t, float *d_h, size_t row0,
                    size_t rows);
size_t prior_jobs(struct dw_job *jobs, const struct nets *n, const struct mlp_tape *t,
                  const float *h, size_t rows);

/* Posterior: [h ; e] -> y[1]; d_h +=, d_e written. */
void posterior_forward(const struct nets *n, struct mlp_tape *t, const float *h, const float *e,
                       size_t row0, size_t rows);
void posterior_backward(const struct nets *n, struct mlp_tape *t, float *d_h, float *d_e,
                        size_t row0, size_t rows);
size_t posterior_jobs(struct dw_job *jobs, const struct nets *n, const struct mlp_tape *t,
                      const float *h, const float *e, size_t rows); /* tape as the prior's */

/* The transition of one step: u = ReLU(W [action ; s]), attention, GRU. gru.h is the previous
 * h, zero where there is none. */
struct trans_tape {
    size_t rows;
    float *u, *d_u; /* [rows][D] */
    struct attention_tape attn;
    struct gru_tape gru; /* its x is the attention's output */
};
enum { TRANS_JOBS = 1 + 6 * ATTENTION_LAYERS + 2 };
size_t trans_tape_bytes(const struct nets *n, size_t rows, bool masks);
void trans_tape_carve(struct trans_tape *t, const struct nets *n, size_t rows, bool masks,
                      struct arena *a);
/* Floats of scratch for calls of at most `rows` rows, forward or backward. */
size_t trans_scratch(const struct nets *n, size_t rows);
/* h_next [rows][D]; skip [rows] or NULL as in onehot_forward; h_prev [rows][D] is copied, rows
 * with skip count as zero (NULL: all zero). */
void trans_forward(const struct nets *n, struct trans_tape *t, float *h_next,
                   const uint8_t *index, const uint8_t *skip, const uint8_t *action,
                   const float *h_prev, size_t row0, size_t rows, float *scratch);
/* From d_next [rows][D]: d_s_prev [rows][latent ld] += and d_h_prev [rows][D] += on rows
 * without skip; both NULL: nothing before. */
void trans_backward(const struct nets *n, struct trans_tape *t, float *d_s_prev,
                    float *d_h_prev, const uint8_t *skip, const float *d_next, size_t row0,
                    size_t rows, float *scratch);
size_t trans_jobs(struct dw_job *jobs, const struct nets *n, const struct trans_tape *t,
                  const uint8_t *index, const uint8_t *skip, const uint8_t *action,
                  size_t rows);

/* Critic on [s ; h]: values in column 0 of v, their gradients in column 0 of d_v. */
struct critic_tape {
    size_t rows;
    float *x, *d_x; /* [rows][D] input layer */
    struct attention_tape attn;
    float *a;       /* [rows][D] ReLU of the attention's output */
    float *f, *d_f; /* [rows][D] */
    float *v, *d_v; /* [rows][kern_pad(1)] */
};
enum { CRITIC_JOBS = 1 + 6 + 2 };
size_t critic_tape_bytes(const struct nets *n, size_t rows);
void critic_tape_carve(struct critic_tape *t, const struct nets *n, size_t rows,
                       struct arena *a);
size_t critic_scratch(const struct nets *n, size_t rows);
void critic_forward(const struct nets *n, struct critic_tape *t, const uint8_t *index,
                    const float *h, size_t row0, size_t rows, float *scratch);
void critic_backward(const struct nets *n, struct critic_tape *t, size_t row0, size_t rows,
                     float *scratch);
size_t critic_jobs(struct dw_job *jobs, const struct nets *n, const struct critic_tape *t,
                   const uint8_t *index, const float *h, size_t rows);

#endif
