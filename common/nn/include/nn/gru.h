/* SPDX-License-Identifier: Apache-2.0 */
/* gru.h - PyTorch's GRU cell with its two biases (mag.md 4.3).
 *
 *   r = s(Wir x + bir + Whr h + bhr)   z = s(Wiz x + biz + Whz h + bhz)
 *   n = tanh(Win x + bin + r (Whn h + bhn))   h' = (1 - z) n + z h
 *
 * Like attention.h: rows are independent; the tape holds all timesteps, weight gradients come
 * from gru_jobs. The caller writes the inputs into tape->x and tape->h. */
#ifndef NN_GRU_H
#define NN_GRU_H

#include "base/arena.h"
#include "nn/kern.h"
#include "nn/linear.h"

#include <stdbool.h>
#include <stddef.h>

struct gru {
    size_t D;
    struct linear ih, hh; /* D -> 3D */
};

/* prefix.weight_ih_l0 ... prefix.bias_hh_l0 */
void gru_bind(struct gru *g, const struct params *p, const char *prefix, size_t D);
void gru_want_input(struct gru *g, struct arena *a); /* 2 * linear_wt_bytes */
void gru_refresh(const struct kern *k, struct gru *g);
void gru_add_params(struct params *p, const char *prefix, uint32_t group, size_t D);

/* out[M][D] from x, h [M][D]; out may alias h. scratch: 6*M*D floats. */
void gru_infer(const struct kern *k, const struct gru *g, float *out, const float *x,
               const float *h, size_t M, float *scratch);

struct gru_tape {
    size_t rows;
    float *x, *h;       /* [rows][D] inputs, written by the caller before forward */
    float *gates;       /* [rows][4D] */
    float *d_gi, *d_gh; /* [rows][3D] */
};
size_t gru_tape_bytes(const struct gru *g, size_t rows);
void gru_tape_carve(struct gru_tape *t, const struct gru *g, size_t rows, struct arena *arena);
/* out [rows][D] from the tape's rows row0 on. scratch: 6*rows*D floats. */
void gru_forward(const struct kern *k, const struct gru *g, struct gru_tape *t, float *out,
                 size_t row0, size_t rows, float *scratch);
/* dx [rows][D] +=, dh [rows][D] += (either may be NULL) from dout [rows][D]. */
void gru_backward(const struct kern *k, const struct gru *g, struct gru_tape *t, float *dx,
                  float *dh, const float *dout, size_t row0, size_t rows);
size_t gru_jobs(struct dw_job *jobs, const struct gru *g, const struct gru_tape *t,
                size_t rows); /* 2 jobs */

#endif
