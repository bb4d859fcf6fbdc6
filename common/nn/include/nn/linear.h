/* SPDX-License-Identifier: Apache-2.0 */
/* linear.h - y = x W + b, its first-layer form for one-hot inputs, and weight gradients.
 *
 * Weights lie in the parameter block as [in][ld] (nn/params.h). Outputs are [M][out_pad]:
 * padding columns come out 0 because the padding of w and b is 0. The gradient with respect to
 * the input needs a transposed copy, and some tables multiply packed weights (kern.h,
 * layer_packed): linear_refresh makes both whenever parameters changed.
 *
 * Weight gradients are separate from the backward pass, because they are one chain over *all*
 * rows ascending (t, then row) while backward runs through time the other way. The backward
 * pass leaves dY [rows][out_pad] beside X; dw_run does all layers at once, split over threads
 * by output columns. docs/adr/0003. */
#ifndef NN_LINEAR_H
#define NN_LINEAR_H

#include "base/arena.h"
#include "nn/half.h"
#include "nn/kern.h"
#include "nn/params.h"
#include "par/pool.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct linear {
    size_t in, out, in_pad, out_pad; /* pads: multiples of 32 */
    size_t ld, wt_ld;                /* floats from row to row of w, of wt */
    const float *w;                  /* [in][ld], out_pad columns */
    const float *b;                  /* [out_pad]; NULL = none */
    float *packed;                   /* [out_pad/32][in][32] of params' packed; NULL: none */
    size_t next;                     /* floats from 32 columns of it to the next */
    float *wt;                       /* [out_pad][wt_ld], or large and packed
                                        [in_pad/32][out_pad][32]; NULL until linear_want_input */
    size_t w_at, b_at;               /* offsets in the parameter block; b_at SIZE_MAX = none */
    const struct kern_half *half;    /* forward products in half precision; NULL: in float32 */
    uint16_t *hw;                    /* half: w as half_pack leaves it, else NULL */
};

/* Find weight and bias (NULL: none) by name. A missing name is a bug. p must be carved. */
void linear_bind(struct linear *l, const struct params *p, const char *weight,
                 const char *bias);
/* The rows [row0, row0 + rows) of l's weight as a layer of its own, without bias. */
void linear_slice(struct linear *out, const struct linear *l, size_t row0, size_t rows);
/* Reserve the transposed copy (linear_wt_bytes), needed for linear_backward_input. */
size_t linear_wt_bytes(const struct linear *l);
void linear_want_input(struct linear *l, struct arena *a);
/* Rebuild the transposed and the packed copy, as far as there are any. */
void linear_refresh(const struct kern *k, struct linear *l);
/* Let the forward functions of this view compute in half precision, out of a packed
 * copy (linear_half_bytes of the arena) that linear_half_refresh fills; a no-op without one.
 * l->in must be a multiple of 32. Planning's look ahead alone may use such a view. */
size_t linear_half_bytes(const struct linear *l);
void linear_want_half(struct linear *l, const struct kern_half *half, struct arena *a);
void linear_half_refresh(struct linear *l);

/* y[M][ldy] = b + x[M][ldx] w, all out_pad columns. x's first l->in columns are read. */
void linear_forward(const struct kern *k, const struct linear *l, float *y, size_t ldy,
                    const float *x, size_t ldx, size_t M);
/* The same with an activation, padding columns included. */
void linear_layer(const struct kern *k, const struct linear *l, enum kern_act act, float *y,
                  size_t ldy, const float *x, size_t ldx, size_t M);
/* y = act(y + x w), no bias. */
void linear_add(const struct kern *k, const struct linear *l, enum kern_act act, float *y,
                size_t ldy, const float *x, size_t ldx, size_t M);
/* dx[M][in_pad of ldx] = or (accumulate) += dy w^T. in_pad columns are written. */
void linear_backward_input(const struct kern *k, const struct linear *l, float *dx, size_t ldx,
                           const float *dy, size_t ldy, size_t M, bool accumulate);
/* grad (a block of the parameters' layout) += for output columns [col0, col1), multiples of
 * 32: weight x^T dy and bias column sums, rows ascending. */
void linear_backward_weight(const struct kern *k, const struct linear *l, float *grad,
                            const float *x, size_t ldx, const float *dy, size_t ldy,
                            size_t rows, size_t col0, size_t col1);

/* A first layer whose input is [class one-hots | action one-hot | dense], in any order in the
 * weight's rows. One definition everywhere: bias, class rows in categorical order, the action
 * row, then the dense columns as a chain. */
struct onehot {
    struct linear all;   /* the whole weight, with bias */
    struct linear cat;   /* rows of the one-hot latent, C*K of them */
    struct linear dense; /* dense.in == 0: none */
    size_t C, K;         /* categoricals, classes */
    size_t act0, A;      /* first row of the actions; A == 0: none */
};

/* rows: cat0 first class row, act0 first action row (A == 0: ignored), dense0 first dense row
 * of dense_n (0: none). */
void onehot_bind(struct onehot *o, const struct params *p, const char *weight, const char *bias,
                 size_t cat0, size_t C, size_t K, size_t act0, size_t A, size_t dense0,
                 size_t dense_n);
/* y[M][ldy] = act(...): index [M][C]; skip [M] or NULL (nonzero: zero state, no class rows);
 * action [M] or NULL; x [M][ldx] dense input or NULL when dense.in == 0. */
void onehot_forward(const struct kern *k, const struct onehot *o, enum kern_act act, float *y,
                    size_t ldy, const uint8_t *index, const uint8_t *skip,
                    const uint8_t *action, const float *x, size_t ldx, size_t M);
/* Input gradients: linear_backward_input of o->cat (straight-through, all C*K columns) and of
 * o->dense; call linear_want_input on them at open and linear_refresh after changes. */
void onehot_refresh(const struct kern *k, struct onehot *o);

/* One entry of the list of weight gradients of a step. */
enum dw_kind {
    DW_LINEAR, /* weight and bias of `linear` from x, dy */
    DW_ONEHOT, /* whole weight and bias of `onehot` from index/skip/action, x, dy */
    DW_NORM,   /* gamma, beta at w_at, b_at from x = xhat, dy */
};
struct dw_job {
    enum dw_kind kind;
    const struct linear *linear;
    const struct onehot *onehot;
    size_t gamma_at, beta_at, D; /* DW_NORM */
    const float *x;              /* [rows][ldx] */
    size_t ldx;
    const float *dy; /* [rows][ldy] */
    size_t ldy;
    const uint8_t *index, *skip, *action; /* DW_ONEHOT */
    size_t rows;
};
/* grad += (fresh: =) all jobs, in parallel over jobs and output columns; any pool, same bits.
 * Two jobs may share a layer only in two calls. Padding of grad is never touched. */
void dw_run(const struct kern *k, struct pool *pool, float *grad, bool fresh,
            const struct dw_job *jobs, size_t n);

#endif
