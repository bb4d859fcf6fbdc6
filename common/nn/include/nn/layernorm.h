/* SPDX-License-Identifier: Apache-2.0 */
/* layernorm.h - y = (x - mean) / sqrt(var + 1e-5) * gamma + beta over the last axis.
 *
 * Biased variance, as PyTorch. D is a multiple of 32. Parameter gradients: DW_NORM jobs. */
#ifndef NN_LAYERNORM_H
#define NN_LAYERNORM_H

#include "nn/kern.h"
#include "nn/linear.h"
#include "nn/params.h"

#include <stddef.h>

struct norm {
    size_t D;
    const float *gamma, *beta; /* [D] */
    size_t gamma_at, beta_at;  /* offsets in the parameter block */
};

/* name + ".weight", name + ".bias". */
void norm_bind(struct norm *n, const struct params *p, const char *name);
/* xhat [M][D] and rstd [M] are what backward needs; both NULL when not wanted. */
void norm_forward(const struct kern *k, const struct norm *n, float *y, float *xhat,
                  float *rstd, const float *x, size_t M);
/* dx is written, and the same into `again` if that is not NULL. */
void norm_backward(const struct kern *k, const struct norm *n, float *dx, float *again,
                   const float *dy, const float *xhat, const float *rstd, size_t M);
struct dw_job norm_job(const struct norm *n, const float *xhat, const float *dy, size_t rows);

#endif
