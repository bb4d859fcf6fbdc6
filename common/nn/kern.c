/* SPDX-License-Identifier: Apache-2.0 */
/* kern.c - which table of kernels a program gets.
 *
 * The tables are constant; what is decided once per process is who owns LIBXSMM (kern_xsmm.c).
 * The choice is explicit, not an ifunc, so that a run can pin it and a test can ask for each. */
#include "nn/kern.h"

#include "kern_private.h"

#include "base/err.h"

#include <cblas.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct {
    pthread_mutex_t lock;
    bool tried;             /* somebody asked for LIBXSMM */
    struct kern xsmm, blas; /* complete once their name is set */
} made = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool cpu_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

static bool cpu_avx512(void)
{
    return cpu_avx2() && __builtin_cpu_supports("avx512f") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl");
}

bool kern_supported(enum cfg_isa isa)
{
    __builtin_cpu_init();
    if (isa == ISA_AVX2)
        return cpu_avx2();
    return isa == ISA_AVX512 ? cpu_avx512() : true;
}

const struct kern *kern_ref(void)
{
    __builtin_cpu_init();
    return cpu_avx2() ? &kern_table_ref_fma : &kern_table_ref;
}

/* The table with LIBXSMM's products if nobody else has it, otherwise with its own. */
static const struct kern *with_xsmm(const struct kern *plain)
{
    const struct kern *k = plain;
    pthread_mutex_lock(&made.lock);
    if (!made.tried) {
        made.tried = true;
        xsmm_open(&made.xsmm, plain);
    }
    if (made.xsmm.name && made.xsmm.isa == plain->isa)
        k = &made.xsmm;
    pthread_mutex_unlock(&made.lock);
    return k;
}

int kern_blas(const struct kern **out)
{
    pthread_mutex_lock(&made.lock);
    if (!made.blas.name) {
        openblas_set_num_threads(1); /* the pool is ours, one call per thread */
        made.blas = *kern_ref();
        made.blas.gemm = blas_gemm;
        made.blas.layer = blas_layer;
        made.blas.gemm_dw = blas_gemm_dw;
        made.blas.products = "openblas";
        made.blas.name = "blas";
    }
    pthread_mutex_unlock(&made.lock);
    *out = &made.blas;
    return 0;
}

int kern_get(enum cfg_isa isa, const struct kern **out)
{
    if (isa == ISA_AUTO)
        isa = kern_supported(ISA_AVX512) ? ISA_AVX512
              : kern_supported(ISA_AVX2) ? ISA_AVX2
                                         : ISA_AUTO;
    if (!kern_supported(isa))
        return err_set(ERR_UNSUPPORTED, "this CPU has no %s: set compute.isa to auto",
                       isa == ISA_AVX2 ? "AVX2 with FMA" : "AVX-512 (F, BW, DQ, VL)");
    switch (isa) {
    case ISA_AUTO:
        return kern_blas(out);
    case ISA_REF:
        *out = kern_ref();
        return 0;
    case ISA_AVX2:
        *out = with_xsmm(&kern_table_avx2);
        return 0;
    case ISA_AVX512:
        *out = with_xsmm(&kern_table_avx512);
        return 0;
    }
    return err_set(ERR_INVAL, "no such instruction set: %d", (int)isa);
}

void kern_prepare(const struct kern *k, size_t M, size_t N, size_t K, size_t ldy, size_t ldx,
                  size_t ldw, bool accumulate)
{
    if (k->gemm == xsmm_gemm)
        xsmm_prepare(M, N, K, ldy, ldx, ldw, accumulate);
}

void kern_prepare_packed(const struct kern *k, size_t M, size_t K, size_t ldy, size_t ldx,
                         bool accumulate)
{
    if (k->layer_packed == xsmm_layer_packed)
        xsmm_prepare_packed(M, K, ldy, ldx, accumulate);
}

void kern_prepare_dw(const struct kern *k, size_t R, size_t N, size_t K, size_t ldw, size_t ldx,
                     size_t ldy)
{
    if (k->gemm_dw == xsmm_gemm_dw)
        xsmm_prepare_dw(R, N, K, ldw, ldx, ldy);
}

/* The first two words of OpenBLAS's description of itself are name and version. */
static const char *blas_version(void)
{
    static char text[64] = "";
    char name[24] = "OpenBLAS", version[24] = "";
    pthread_mutex_lock(&made.lock);
    if (!text[0]) {
        sscanf(openblas_get_config(), "%23s %23s", name, version);
        snprintf(text, sizeof text, "%s %s", name, version);
    }
    pthread_mutex_unlock(&made.lock);
    return text;
}

const char *kern_library(const struct kern *k)
{
    if (k->gemm == xsmm_gemm)
        return xsmm_version();
    return k->gemm == blas_gemm ? blas_version() : "own";
}

const char *kern_blas_core(void)
{
    return openblas_get_corename();
}

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* y = x w in the form that layers use. Any numbers will do as packed weights. */
static void multiply(const struct kern *k, float *y, const float *x, const float *w, size_t M,
                     size_t N, size_t K)
{
    if (k->layer_packed)
        k->layer_packed(y, N, x, K, w, KERN_PAD * K, NULL, KERN_LINEAR, M, N, K, false);
    else
        k->gemm(y, N, x, K, w, N, M, N, K, false);
}

double kern_gflops(const struct kern *k, size_t M, size_t N, size_t K, double seconds)
{
    const size_t np = kern_pad(N), floats = M * np + M * K + K * np;
    float *block = aligned_alloc(64, (floats * sizeof(float) + 63) / 64 * 64);
    if (!block)
        return ERR_NOMEM;
    for (size_t i = 0; i < floats; i++)
        block[i] = 1.0f / (float)(1 + i % 7);
    float *y = block, *x = y + M * np, *w = x + M * K;
    multiply(k, y, x, w, M, np, K); /* compile and warm up */
    const double begin = seconds_now();
    double spent = 0;
    size_t calls = 0;
    while (spent < seconds || calls == 0) {
        multiply(k, y, x, w, M, np, K);
        calls++;
        spent = seconds_now() - begin;
    }
    free(block);
    return 2e-9 * (double)calls * (double)M * (double)np * (double)K /
           (spent > 0 ? spent : 1e-9);
}
