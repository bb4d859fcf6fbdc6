/* SPDX-License-Identifier: Apache-2.0 */
/* half.h - products in half precision, for planning alone.
 *
 * Beside struct kern, not in it: nothing that reaches a weight, a row of D_m or an action may
 * come through here. What may is the score of a candidate, which only decides *which* of
 * several equally valid draws is kept.
 *
 * WHAT IS COMPUTED  Both factors are rounded to bfloat16 (nearest, ties to even), products and
 * sums are float32. An output is one chain over k in pairs, the odd one first:
 *
 *     y = fma(x[0], w[0], fma(x[1], w[1], start)),  then k = 2, 3 on top of that, ...
 *
 * with numbers below FLT_MIN taken as 0 and results below it flushed to 0, whatever the
 * thread's mode. That is vdpbf16ps as its manual describes it, and bit for bit what it does
 * on Zen 5; so the reference is an oracle of bits, an output depends neither on how many rows
 * share the call nor on their position, and machines with the instruction agree. NaN stays
 * NaN; which one is not promised.
 *
 * WHERE IT GAINS  AMD Zen 4 and 5 double float32's rate. An Intel Xeon was measured to run
 * vdpbf16ps at half of float32's: measure, do not trust the flag (docs/adr/0005).
 *
 * Shapes: N and K are multiples of 32, leading dimensions are in floats, any alignment. No slot
 * allocates; all may run in many threads at once. */
#ifndef NN_HALF_H
#define NN_HALF_H

#include "base/config.h"
#include "nn/kern.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HALF_COLS = 32 }; /* columns of a panel of packed weights */

struct kern_half {
    const char *name; /* what a run is pinned to: tables of one name have the same bits */
    const char *unit; /* "vdpbf16ps", "reference": who computes */

    /* y[M][N] = start + x[M][K] w, w as half_pack left it. start: what is in y if accumulate
     * (bias is not read), else bias [N], else (NULL) zeros. */
    void (*gemm)(float *y, size_t ldy, const float *x, size_t ldx, const uint16_t *w,
                 const float *bias, size_t M, size_t N, size_t K, bool accumulate);
};

/* Weights [K][N] rounded and laid out as the products read them: panels of 32 columns, in each
 * the pairs of rows 2i, 2i+1 side by side: element (k, n) at
 *   (n / 32) * 32 K  +  (k / 2) * 64  +  (n % 32) * 2  +  k % 2.
 * out holds K * N values. One thread; a few nanoseconds per weight. */
void half_pack(uint16_t *out, const float *w, size_t ldw, size_t N, size_t K);

/* Nearest bfloat16, ties to even, denormals to 0; the reference's rounding. */
uint16_t half_round(float x);

/* The table for compute.isa: `ref` has the reference, auto and avx512 what this CPU has.
 * ERR_UNSUPPORTED with err_text() naming the remedy where it has nothing. Any thread. */
int kern_half_get(enum cfg_isa isa, const struct kern_half **out);
const struct kern_half *kern_half_ref(void);
/* Whether this CPU and operating system have an own table. */
bool kern_half_supported(void);

/* GFLOP/s on one core of a product of M x N x K in float32 and in half precision: the better
 * of `runs` alternating runs of about a millisecond each. Allocates; ERR_NOMEM. */
int kern_half_rates(const struct kern *k, const struct kern_half *h, size_t M, size_t N,
                    size_t K, unsigned runs, double *float32, double *half);

#endif
