/* SPDX-License-Identifier: Apache-2.0 */
/* adam.h - global-norm clip, L2 and Adam over a contiguous range of the parameters (mag.md 12).
 *
 * beta^t are running doubles kept by the caller (checkpointed), so that no power is computed.
 *   g <- g min(1, clip / (|g| + 1e-6));  g <- g + l2 p;  m, v, p as usual, bias-corrected. */
#ifndef NN_ADAM_H
#define NN_ADAM_H

#include "nn/kern.h"
#include "par/pool.h"

#include <stddef.h>
#include <stdint.h>

struct adam {
    double lr, clip, l2; /* clip 0 = none */
    double beta1, beta2, eps;
};
#define ADAM(lr_, clip_, l2_) ((struct adam){(lr_), (clip_), (l2_), 0.9, 0.999, 1e-8})

/* |g|_2 over n floats, in double: blocks of 4096, block sums ascending, in parallel. */
double adam_norm(const struct kern *k, struct pool *pool, const float *g, size_t n);

/* One step on n floats. *norm gets |g| before clipping (may be NULL). steps, beta1_t and
 * beta2_t advance. ERR_NUMERIC, nothing changed, if the norm is not finite, or if the clipped
 * norm is ADAM_NORM_MAX or more: then the second moment could become infinite and stay so. */
#define ADAM_NORM_MAX 1e19
int adam_step(const struct kern *k, struct pool *pool, const struct adam *a, float *p, float *m,
              float *v, const float *g, size_t n, uint64_t *steps, double *beta1_t,
              double *beta2_t, double *norm);

#endif
