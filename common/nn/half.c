/* SPDX-License-Identifier: Apache-2.0 */
/* half.c - the reference of half-precision products, packing, and which table one gets.
 *
 * The reference is the definition in nn/half.h, word by word, and what compute.isa=ref plans
 * with; tests compare the machine's table with it in every bit. */
#include "nn/half.h"

#include "half_private.h"

#include "base/err.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

uint16_t half_round(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    const uint32_t magnitude = u & 0x7fffffffu;
    if (magnitude > 0x7f800000u)
        return (uint16_t)(u >> 16 | 0x40u); /* a NaN stays one */
    if (magnitude < 0x00800000u)
        return (uint16_t)(u >> 16 & 0x8000u);
    return (uint16_t)((u + 0x7fffu + (u >> 16 & 1u)) >> 16);
}

static float widen(uint16_t h)
{
    const uint32_t u = (uint32_t)h << 16;
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

static float flush(float x)
{
    return fabsf(x) < FLT_MIN ? copysignf(0, x) : x;
}

static void ref_gemm(float *y, size_t ldy, const float *x, size_t ldx, const uint16_t *w,
                     const float *bias, size_t M, size_t N, size_t K, bool accumulate)
{
    for (size_t m = 0; m < M; m++) {
        for (size_t n = 0; n < N; n++) {
            const uint16_t *col = w + n / HALF_COLS * HALF_COLS * K + n % HALF_COLS * 2;
            const float *row = x + m * ldx;
            float sum = accumulate ? y[m * ldy + n] : bias ? bias[n] : 0;
            sum = flush(sum);
            for (size_t k = 0; k < K; k += 2, col += 2 * HALF_COLS) {
                sum = flush(fmaf(widen(half_round(row[k + 1])), widen(col[1]), sum));
                sum = flush(fmaf(widen(half_round(row[k])), widen(col[0]), sum));
            }
            y[m * ldy + n] = sum;
        }
    }
}

static const struct kern_half table_ref = {
    .name = "bf16", .unit = "reference", .gemm = ref_gemm};

const struct kern_half *kern_half_ref(void)
{
    return &table_ref;
}

void half_pack(uint16_t *out, const float *w, size_t ldw, size_t N, size_t K)
{
    for (size_t n = 0; n < N; n += HALF_COLS)
        for (size_t k = 0; k < K; k += 2, out += 2 * HALF_COLS)
            for (size_t c = 0; c < HALF_COLS; c++) {
                out[2 * c] = half_round(w[k * ldw + n + c]);
                out[2 * c + 1] = half_round(w[(k + 1) * ldw + n + c]);
            }
}

bool kern_half_supported(void)
{
    __builtin_cpu_init();
    return kern_supported(ISA_AVX512) && __builtin_cpu_supports("avx512bf16");
}

int kern_half_get(enum cfg_isa isa, const struct kern_half **out)
{
    if (isa == ISA_REF) {
        *out = &table_ref;
        return 0;
    }
    if (isa == ISA_AVX2)
        return err_set(ERR_UNSUPPORTED,
                       "imagine.precision=half has no kernels for compute.isa=avx2: set "
                       "imagine.precision to float32, or compute.isa to auto");
    if (!kern_half_supported())
        return err_set(ERR_UNSUPPORTED,
                       "imagine.precision=half needs a CPU with AVX512-BF16, which this one "
                       "lacks: set imagine.precision to float32");
    *out = &kern_half_avx512;
    return 0;
}

/* ------------------------------------------------------------------------------------ rate */

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Operands of a measured product, in one block. */
struct operands {
    float *y, *x, *w, *bias;
    uint16_t *half;
};

static double rate(const struct kern *k, const struct kern_half *h, const struct operands *o,
                   size_t M, size_t N, size_t K)
{
    const double flop = 2.0 * (double)M * (double)N * (double)K;
    const double begin = seconds_now();
    double spent = 0, calls = 0;
    while (spent < 1e-3) {
        for (int i = 0; i < 4; i++, calls++) {
            if (h) {
                h->gemm(o->y, N, o->x, K, o->half, o->bias, M, N, K, false);
            } else {
                k->layer(o->y, N, o->x, K, o->w, N, o->bias, KERN_LINEAR, M, N, K);
            }
        }
        spent = seconds_now() - begin;
    }
    return 1e-9 * calls * flop / spent;
}

int kern_half_rates(const struct kern *k, const struct kern_half *h, size_t M, size_t N,
                    size_t K, unsigned runs, double *float32, double *half)
{
    const size_t floats = M * N + M * K + K * N + N;
    float *block = aligned_alloc(64, (floats * sizeof(float) + K * N * 2 + 63) / 64 * 64);
    if (!block)
        return ERR_NOMEM;
    for (size_t i = 0; i < floats; i++)
        block[i] = 1.0f / (float)(1 + i % 7);
    struct operands o = {.y = block, .x = block + M * N};
    o.w = o.x + M * K;
    o.bias = o.w + K * N;
    o.half = (uint16_t *)(o.bias + N);
    half_pack(o.half, o.w, N, N, K);
    rate(k, NULL, &o, M, N, K); /* compile */
    double best[2] = {0, 0};
    for (unsigned i = 0; i < runs; i++)
        for (int which = 0; which < 2; which++) {
            const double r = rate(k, which ? h : NULL, &o, M, N, K);
            best[which] = r > best[which] ? r : best[which];
        }
    free(block);
    *float32 = best[0];
    *half = best[1];
    return 0;
}
