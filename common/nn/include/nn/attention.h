/* SPDX-License-Identifier: Apache-2.0 */
/* attention.h - the encoder stack over agents: post-norm, dropout at four sites (mag.md 4.2).
 *
 * Rows are tokens, agents of one group adjacent: row = group*N + agent. A group is one joint
 * state; nothing mixes groups, so any range of whole groups may be computed on its own, by any
 * thread, with the same bits.
 *
 *   x0 = x + P;  x <- LN1(x + drop(MHA(x)));  x <- LN2(x + drop(W2 drop(relu(W1 x))))
 *
 * The tape keeps, per layer and for all rows of all timesteps, what backward needs and the dY
 * of every linear, so that weight gradients are one chain over rows later. Memory: about
 * 17 D floats per row and layer (attention_tape_bytes). */
#ifndef NN_ATTENTION_H
#define NN_ATTENTION_H

#include "base/arena.h"
#include "base/rng.h"
#include "nn/kern.h"
#include "nn/layernorm.h"
#include "nn/linear.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ATTENTION_LAYERS = 8, ATTENTION_AGENTS = 30, ATTENTION_SITES = 4 };

struct attention_layer {
    struct linear qkv, out, ff1, ff2;
    struct norm n1, n2;
};
struct attention {
    size_t D, heads, layers, N;
    float *pos; /* [N][D] positional table */
    struct attention_layer layer[ATTENTION_LAYERS];
};

/* prefix: "model.transition.attention" or "critic.attention"; layer i is
 * prefix.layers.i.{self_attn.in_proj_weight, ...}. backward: also reserve transposed copies.
 * ERR_INVAL unless N <= 30, layers <= 8, D % heads == 0, D % 32 == 0. */
int attention_bind(struct attention *a, const struct params *p, const char *prefix, size_t D,
                   size_t heads, size_t layers, size_t N, bool backward, struct arena *arena);
size_t attention_bytes(size_t D, size_t layers, size_t N, bool backward); /* of the arena */
void attention_refresh(const struct kern *k, struct attention *a);
/* The linear layers, 4 * layers of them: what refresh refreshes. */
size_t attention_linears(struct linear **out, struct attention *a);
/* Add the stack's parameters to a table, under group `group`. */
void attention_add_params(struct params *p, const char *prefix, uint32_t group, size_t D,
                          size_t layers);
/* P[n][d], sin for even d, cos for odd, angle n / 10000^(2 floor(d/2) / D); no libm. */
void attention_positions(float *pos, size_t N, size_t D);

/* y[rows][D] = stack(x[rows][D]); y may alias x. scratch: attention_scratch(a, rows) floats. */
size_t attention_scratch(const struct attention *a, size_t rows);
void attention_infer(const struct kern *k, const struct attention *a, float *y, const float *x,
                     size_t rows, float *scratch);

struct attention_tape_layer {
    float *x;                                         /* [rows][D] input of the layer */
    float *qkv;                                       /* [rows][3D] */
    float *prob;                                      /* [rows/N][heads][N][N] */
    float *ctx;                                       /* [rows][D] */
    float *xhat1, *rstd1, *x1;                        /* [rows][D], [rows], [rows][D] */
    float *f;                                         /* [rows][D] relu and dropout applied */
    float *xhat2, *rstd2;                             /* [rows][D], [rows] */
    float *d_qkv, *d_out, *d_f1, *d_f2, *d_y1, *d_y2; /* dY of qkv, out, ff1, ff2, norms */
    uint8_t *mask[ATTENTION_SITES]; /* enum drop_site order; attn [rows/N][heads][N][N] */
};
struct attention_tape {
    size_t rows; /* capacity: all timesteps */
    bool drop;   /* masks are in force (attention_mask was called for every row) */
    float keep;  /* 1 / (1 - rate) */
    struct attention_tape_layer layer[ATTENTION_LAYERS];
};
/* masks: reserve dropout masks too. */
size_t attention_tape_bytes(const struct attention *a, size_t rows, bool masks);
void attention_tape_carve(struct attention_tape *t, const struct attention *a, size_t rows,
                          bool masks, struct arena *arena);
/* Set the masks of one layer and site for `rows` rows from row0 on: u holds the uniforms of
 * these rows in order ([rows/N][heads][N][N] for DROP_ATTN, [rows][D] otherwise); zero iff
 * u < rate. Also sets t->keep. The caller sets t->drop. */
void attention_mask(const struct kern *k, const struct attention *a, struct attention_tape *t,
                    size_t layer, enum drop_site site, size_t row0, size_t rows, const float *u,
                    float rate);

/* Rows [row0, row0 + rows) of the tape; x, y are [rows][D] of this call. scratch: rows*D
 * floats. */
void attention_forward(const struct kern *k, const struct attention *a,
                       struct attention_tape *t, float *y, const float *x, size_t row0,
                       size_t rows, float *scratch);
/* dx += (may be NULL: not wanted). scratch: 3*rows*D floats. Leaves dY in the tape. */
void attention_backward(const struct kern *k, const struct attention *a,
                        struct attention_tape *t, float *dx, const float *dy, size_t row0,
                        size_t rows, float *scratch);
/* Jobs for the weight gradients of rows [0, rows): at most 6 per layer; returns how many. */
size_t attention_jobs(struct dw_job *jobs, const struct attention *a,
                      const struct attention_tape *t, size_t rows);

#endif
