/* SPDX-License-Identifier: Apache-2.0 */
/* half_avx512.c - nn/half.h with vdpbf16ps.
 *
 * A block of rows is rounded once into a buffer on the stack; then panel by panel of the
 * weights, whose 32 columns stay in the first-level cache (16 KB at K = 256), tiles of 8 rows
 * keep 16 accumulators in registers. A pair of x is one 32-bit broadcast. On Zen 5 that reaches
 * 500 GFLOP/s on a core where float32 by LIBXSMM reaches 265, from 24 rows on; tiles of 12 x 2
 * and 6 x 4 vectors were no faster. A K beyond DEPTH continues the chain from memory.
 *
 * Compiled with -mavx512bf16; called only where the CPU has it. */
#include "half_private.h"

#include <immintrin.h>

enum {
    ROWS = 128,  /* of a block */
    DEPTH = 256, /* of k of a block */
    TILE = 8     /* rows of a tile */
};

/* Rows of x as bfloat16 pairs, out[m][K/2]. */
static void round_rows(uint32_t *out, const float *x, size_t ldx, size_t M, size_t K)
{
    for (size_t m = 0; m < M; m++)
        for (size_t k = 0; k < K; k += 32) {
            const float *at = x + m * ldx + k;
            const __m512bh v =
                _mm512_cvtne2ps_pbh(_mm512_loadu_ps(at + 16), _mm512_loadu_ps(at));
            _mm512_storeu_si512(out + (m * K + k) / 2, (__m512i)v);
        }
}

/* R rows of one panel, R a constant after inlining. start: NULL continues from y. */
static inline __attribute__((always_inline)) void tile(float *y, size_t ldy, const uint32_t *x,
                                                       const uint16_t *w, const float *start,
                                                       size_t pairs, const size_t R)
{
    __m512 acc[TILE][2];
#pragma GCC unroll 8
    for (size_t r = 0; r < R; r++) {
        const float *from = start ? start : y + r * ldy;
        acc[r][0] = _mm512_loadu_ps(from);
        acc[r][1] = _mm512_loadu_ps(from + 16);
    }
    for (size_t k = 0; k < pairs; k++, w += 2 * HALF_COLS) {
        const __m512bh w0 = (__m512bh)_mm512_loadu_si512(w);
        const __m512bh w1 = (__m512bh)_mm512_loadu_si512(w + HALF_COLS);
#pragma GCC unroll 8
        for (size_t r = 0; r < R; r++) {
            const __m512bh xv = (__m512bh)_mm512_set1_epi32((int)x[r * pairs + k]);
            acc[r][0] = _mm512_dpbf16_ps(acc[r][0], xv, w0);
            acc[r][1] = _mm512_dpbf16_ps(acc[r][1], xv, w1);
        }
    }
#pragma GCC unroll 8
    for (size_t r = 0; r < R; r++) {
        _mm512_storeu_ps(y + r * ldy, acc[r][0]);
        _mm512_storeu_ps(y + r * ldy + 16, acc[r][1]);
    }
}

static void panel(float *y, size_t ldy, const uint32_t *x, const uint16_t *w,
                  const float *start, size_t M, size_t pairs)
{
    size_t m = 0;
    for (; m + TILE <= M; m += TILE)
        tile(y + m * ldy, ldy, x + m * pairs, w, start, pairs, TILE);
    for (; m + 4 <= M; m += 4)
        tile(y + m * ldy, ldy, x + m * pairs, w, start, pairs, 4);
    for (; m < M; m++)
        tile(y + m * ldy, ldy, x + m * pairs, w, start, pairs, 1);
}

static void gemm(float *y, size_t ldy, const float *x, size_t ldx, const uint16_t *w,
                 const float *bias, size_t M, size_t N, size_t K, bool accumulate)
{
    static const float zero[HALF_COLS];
    uint32_t rounded[ROWS * DEPTH / 2];
    for (size_t m = 0; m < M; m += ROWS) {
        const size_t mb = M - m < ROWS ? M - m : ROWS;
        for (size_t k = 0; k < K; k += DEPTH) {
            const size_t kb = K - k < DEPTH ? K - k : DEPTH;
            const bool go_on = accumulate || k > 0;
            round_rows(rounded, x + m * ldx + k, ldx, mb, kb);
            for (size_t n = 0; n < N; n += HALF_COLS)
                panel(y + m * ldy + n, ldy, rounded, w + n * K + k * HALF_COLS,
                      go_on  ? NULL
                      : bias ? bias + n
                             : zero,
                      mb, kb / 2);
        }
    }
}

const struct kern_half kern_half_avx512 = {.name = "bf16", .unit = "vdpbf16ps", .gemm = gemm};
