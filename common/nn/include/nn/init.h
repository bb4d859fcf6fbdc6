/* SPDX-License-Identifier: Apache-2.0 */
/* init.h - initial values of one parameter, keyed DRAW_INIT(row; 0; element) (mag.md 4.5).
 *
 * Drawn in PyTorch's layout (element = out index * in + in index), then put into kernel
 * layout. No libm, no LAPACK: the same bits on every host. */
#ifndef NN_INIT_H
#define NN_INIT_H

#include "base/rng.h"
#include "nn/params.h"

#include <stddef.h>

/* All allocate while they run and return 0 or ERR_NOMEM. */

/* U(-bound, bound). */
int init_uniform(const struct params *p, size_t row, double bound, const struct draws *d);
/* bound = sqrt(6 / (in + out)) on the stored shape. */
int init_xavier(const struct params *p, size_t row, const struct draws *d);
/* U(+-1/sqrt(fan_in)), fan_in given because a bias does not know it. */
int init_fan_in(const struct params *p, size_t row, size_t fan_in, const struct draws *d);
/* Orthonormal rows (out < in) or columns, gain 1: modified Gram-Schmidt in double, twice, on
 * centred uniform draws. */
int init_orthogonal(const struct params *p, size_t row, const struct draws *d);
int init_constant(const struct params *p, size_t row, float value); /* padding stays zero */

#endif
