/* SPDX-License-Identifier: Apache-2.0 */
/* kern_blas.c - products by OpenBLAS, for CPUs without AVX2.
 *
 * Correct within rounding, but its bits depend on the number of rows and on the core it was
 * built for: such a host agrees with itself only (docs/adr/0003). kern.c keeps OpenBLAS
 * to one thread. */
#include "kern_private.h"

#include <cblas.h>

void blas_gemm(float *y, size_t ldy, const float *x, size_t ldx, const float *w, size_t ldw,
               size_t M, size_t N, size_t K, bool accumulate)
{
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (blasint)M, (blasint)N, (blasint)K,
                1, x, (blasint)ldx, w, (blasint)ldw, accumulate ? 1 : 0, y, (blasint)ldy);
}

void blas_layer(float *y, size_t ldy, const float *x, size_t ldx, const float *w, size_t ldw,
                const float *bias, enum kern_act act, size_t M, size_t N, size_t K)
{
    const struct kern *k = kern_ref();
    if (bias)
        k->fill_rows(y, ldy, bias, M, N);
    blas_gemm(y, ldy, x, ldx, w, ldw, M, N, K, true);
    kern_activate(k, act, y, ldy, M, N);
}

void blas_gemm_dw(float *dw, size_t ldw, const float *x, size_t ldx, const float *dy,
                  size_t ldy, size_t R, size_t N, size_t K)
{
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (blasint)K, (blasint)N, (blasint)R, 1,
                x, (blasint)ldx, dy, (blasint)ldy, 1, dw, (blasint)ldw);
}
