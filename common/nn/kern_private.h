/* SPDX-License-Identifier: Apache-2.0 */
/* kern_private.h - the tables and products that kern.c puts together. */
#ifndef NN_KERN_PRIVATE_H
#define NN_KERN_PRIVATE_H

#include "nn/kern.h"

extern const struct kern kern_table_ref;     /* any x86-64; fmaf by libm */
extern const struct kern kern_table_ref_fma; /* the same source, hardware fmaf */
extern const struct kern kern_table_avx2;
extern const struct kern kern_table_avx512;

/* LIBXSMM for one of avx2 and avx512: *out is `plain` with its products; `plain` serves what
 * cannot be compiled. False, *out as it was, if the host refuses executable memory. Once per
 * process. */
bool xsmm_open(struct kern *out, const struct kern *plain);
const char *xsmm_version(void);
void xsmm_gemm(float *y, size_t ldy, const float *x, size_t ldx, const float *w, size_t ldw,
               size_t M, size_t N, size_t K, bool accumulate);
void xsmm_layer(float *y, size_t ldy, const float *x, size_t ldx, const float *w, size_t ldw,
                const float *bias, enum kern_act act, size_t M, size_t N, size_t K);
void xsmm_layer_packed(float *y, size_t ldy, const float *x, size_t ldx, const float *w,
                       size_t next, const float *bias, enum kern_act act, size_t M, size_t N,
                       size_t K, bool accumulate);
void xsmm_gemm_dw(float *dw, size_t ldw, const float *x, size_t ldx, const float *dy,
                  size_t ldy, size_t R, size_t N, size_t K);
/* Compile what a call of this shape would need. */
void xsmm_prepare(size_t M, size_t N, size_t K, size_t ldy, size_t ldx, size_t ldw,
                  bool accumulate);
void xsmm_prepare_packed(size_t M, size_t K, size_t ldy, size_t ldx, bool accumulate);
void xsmm_prepare_dw(size_t R, size_t N, size_t K, size_t ldw, size_t ldx, size_t ldy);

void blas_gemm(float *y, size_t ldy, const float *x, size_t ldx, const float *w, size_t ldw,
               size_t M, size_t N, size_t K, bool accumulate);
void blas_layer(float *y, size_t ldy, const float *x, size_t ldx, const float *w, size_t ldw,
                const float *bias, enum kern_act act, size_t M, size_t N, size_t K);
void blas_gemm_dw(float *dw, size_t ldw, const float *x, size_t ldx, const float *dy,
                  size_t ldy, size_t R, size_t N, size_t K);

#endif
