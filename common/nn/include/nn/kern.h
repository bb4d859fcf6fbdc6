/* SPDX-License-Identifier: Apache-2.0 */
/* kern.h - the heavy arithmetic, as one table of function pointers per instruction set.
 *
 * The bits of every slot are part of the contract (docs/adr/0003): the avx2 and avx512 tables
 * equal the reference in every bit, and a row's bits depend neither on how many rows share
 * the call nor on its position.
 *   - A product's output is one chain of fused multiply-adds, k ascending, starting from 0 or
 *     (accumulating) from what is there.
 *   - A reduction has 16 float (8 double) accumulators, lane l takes elements l, l+16, ...;
 *     missing ones are 0; then lane i += lane i+8, +4, +2, +1.
 *   - A categorical's softmax sum and running sum go in class order.
 *   - exp, log, tanh and their kin are ours: fixed polynomials, correctly rounded operations.
 * The blas table (no AVX2) keeps all of this but the products, which agree only within
 * rounding.
 *
 * Widths: N of every product is a multiple of 32 (dependency notes in docs/adr/0003); leading
 * dimensions and all counts are in floats. Pointers may have any 4-byte alignment; 64 is
 * fastest. No slot allocates, except that a product of a new shape may compile a kernel once
 * (kern_prepare does so ahead of time). All slots may run in many threads at once. */
#ifndef NN_KERN_H
#define NN_KERN_H

#include "base/config.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { KERN_PAD = 32 };     /* products' widths are multiples of this */
enum { KERN_NONE = 255 };   /* an action index that adds no row */
enum { KERN_BLOCK = 4096 }; /* elements of one block of a double sum */
enum kern_act { KERN_LINEAR, KERN_RELU, KERN_ELU };

static inline size_t kern_pad(size_t n)
{
    return (n + KERN_PAD - 1) / KERN_PAD * KERN_PAD;
}

/* What gather adds up: bias, then for c = 0..C-1 the row c*K + index[m][c] of `cat`, then the
 * row action[m] of `act`. */
struct kern_rows {
    const float *cat, *act; /* rows ld apart; act NULL: no actions */
    size_t ld;
    const float *bias; /* [N], NULL = zeros; plain */
    size_t C, K;
    const uint8_t *index;  /* [M][C] */
    const uint8_t *skip;   /* [M], nonzero = no class rows (zero state); NULL = none */
    const uint8_t *action; /* [M], KERN_NONE = no row; NULL = none at all */
};

/* Numbers of one Adam step, made by adam_coef (nn/adam.h). */
struct kern_adam {
    float scale;          /* gradient clip factor, 1 = none */
    float l2;             /* added to the clipped gradient, times the parameter */
    float b1, c1, b2, c2; /* beta, 1 - beta */
    float step;           /* lr / (1 - beta1^t) */
    float root;           /* 1 / sqrt(1 - beta2^t) */
    float eps;
};

/* One attention block: G groups of N agents, H heads of width D / H (rows of qkv are q, k, v,
 * [3D]). Masks are bytes 0/1, kept values are multiplied by `keep` (1 / (1 - rate)). */
struct kern_attn {
    size_t G, N, H, D;
    const uint8_t *mask; /* [G][H][N][N], NULL = no dropout */
    float keep;
};

struct kern {
    const char *name;     /* "ref", "avx2", "avx512", "blas" */
    const char *products; /* "chain", "libxsmm", "vector", "openblas" */
    enum cfg_isa isa;

    /* y[M][N] = (accumulate: +=) x[M][K] w[K][N]. */
    void (*gemm)(float *y, size_t ldy, const float *x, size_t ldx, const float *w, size_t ldw,
                 size_t M, size_t N, size_t K, bool accumulate);
    /* y[M][N] = act(bias[N] + x[M][K] w[K][N]); bias NULL: act(y + x w). The bits of fill_rows,
     * gemm and relu or elu one after the other, while a block of y is in the nearest cache. */
    void (*layer)(float *y, size_t ldy, const float *x, size_t ldx, const float *w, size_t ldw,
                  const float *bias, enum kern_act act, size_t M, size_t N, size_t K);
    /* The same for weights packed in columns of 32, [N/32][K][32], `next` floats from one to the
     * next; bias NULL and not accumulate: from 0. NULL where packing gains nothing. */
    void (*layer_packed)(float *y, size_t ldy, const float *x, size_t ldx, const float *w,
                         size_t next, const float *bias, enum kern_act act, size_t M, size_t N,
                         size_t K, bool accumulate);
    /* dw[K][N] += x[R][K]^T dy[R][N], rows ascending. */
    void (*gemm_dw)(float *dw, size_t ldw, const float *x, size_t ldx, const float *dy,
                    size_t ldy, size_t R, size_t N, size_t K);
    /* wt[cols][ldt] = w[rows][ldw]^T; columns rows..ldt of wt are zeroed. */
    void (*transpose)(float *wt, size_t ldt, const float *w, size_t ldw, size_t rows,
                      size_t cols);
    /* Each row of y[M][N] = v[N] (NULL: zeros). */
    void (*fill_rows)(float *y, size_t ldy, const float *v, size_t M, size_t N);
    /* v[N] += sum over rows of y[R][N], ascending. */
    void (*sum_rows)(float *v, const float *y, size_t ldy, size_t R, size_t N);
    /* v[N] += sum over rows of a*b, one chain of fused multiply-adds, ascending. */
    void (*dot_rows)(float *v, const float *a, size_t lda, const float *b, size_t ldb, size_t R,
                     size_t N);

    /* y[M][N] = the rows of `r` added in order. */
    void (*gather)(float *y, size_t ldy, const struct kern_rows *r, size_t M, size_t N);
    /* The reverse: dcat[C*K][ld], of categoricals [c0, c1) alone, and dact[A][ld] (NULL: none)
     * += dy rows, m ascending, for columns [0, N) of all three pointers, N a multiple of 32.
     * bias and tables of `r` are not used. */
    void (*scatter)(float *dcat, float *dact, size_t ld, const struct kern_rows *r, size_t c0,
                    size_t c1, const float *dy, size_t ldy, size_t M, size_t N);

    /* n categoricals of K classes, the i-th at x + i*stride; K <= 256 for sample.
     * softmax: p = e * (1 / sum), e = exp(x - max). log_softmax: (x - max) - log sum.
     * sample: smallest class with u[i] < p_0 + ... + p_c, else the last with p > 0. draw: softmax
     * and sample in one, the probabilities not kept. K <= 256. */
    void (*softmax)(float *p, const float *x, size_t n, size_t K, size_t stride);
    void (*log_softmax)(float *lp, const float *x, size_t n, size_t K, size_t stride);
    void (*sample)(uint8_t *index, const float *p, const float *u, size_t n, size_t K,
                   size_t stride);
    void (*draw)(uint8_t *index, const float *x, const float *u, size_t n, size_t K,
                 size_t stride);
    /* dx += p * (dp - <dp, p>), same layout for all three. */
    void (*softmax_backward)(float *dx, const float *p, const float *dp, size_t n, size_t K,
                             size_t stride);
    /* Balanced KL of n categoricals (mag.md 6, epsilon 1e-7 inside both logs) on softmaxes p
     * (posterior), q (prior). kl[i] = KL(p || q). backward: dx_p += wp * dKL/d(logits of p),
     * dx_q += wq * dKL/d(logits of q). */
    void (*kl)(float *kl, const float *p, const float *q, size_t n, size_t K, size_t stride);
    void (*kl_backward)(float *dxp, float *dxq, const float *p, const float *q, float wp,
                        float wq, size_t n, size_t K, size_t stride);

    /* LayerNorm rows [M][D] contiguous: xhat = (x - mean) * rstd, y = xhat*gamma + beta.
     * xhat and rstd may be NULL; y may alias x. Backward: dx written, and `again` (may be NULL)
     * with the same; dy is not changed. */
    void (*norm)(float *y, float *xhat, float *rstd, const float *x, const float *gamma,
                 const float *beta, size_t M, size_t D);
    void (*norm_backward)(float *dx, float *again, const float *dy, const float *xhat,
                          const float *rstd, const float *gamma, size_t M, size_t D);

    /* PyTorch's GRU, pointwise part. gi, gh [M][3D] hold W x + b in gate order r, z, n;
     * gates (may be NULL) [M][4D] keeps r, z, n and gh's n part. out may alias h.
     * Backward: dgi, dgh [M][3D] written, dh += dout * z. */
    void (*gru)(float *out, float *gates, const float *gi, const float *gh, const float *h,
                size_t M, size_t D);
    void (*gru_backward)(float *dgi, float *dgh, float *dh, const float *dout,
                         const float *gates, const float *h, size_t M, size_t D);

    /* ctx [G*N][D] = attention; prob [G][H][N][N] (before dropout; may be NULL).
     * Backward: dqkv [G*N][3D] written. */
    void (*attn)(float *ctx, float *prob, const float *qkv, const struct kern_attn *a);
    void (*attn_backward)(float *dqkv, const float *dctx, const float *prob, const float *qkv,
                          const struct kern_attn *a);

    /* Elementwise, y may alias x. */
    void (*relu)(float *y, const float *x, size_t n);
    void (*elu)(float *y, const float *x, size_t n);
    void (*exp)(float *y, const float *x, size_t n);
    void (*log)(float *y, const float *x, size_t n);
    void (*tanh)(float *y, const float *x, size_t n);
    void (*sigmoid)(float *y, const float *x, size_t n);
    void (*softplus)(float *y, const float *x, size_t n);
    /* d *= derivative, in terms of the activation's output y. */
    void (*relu_backward)(float *d, const float *y, size_t n);
    void (*elu_backward)(float *d, const float *y, size_t n);
    void (*add)(float *y, const float *x, size_t n);           /* y += x */
    void (*axpy)(float *y, float a, const float *x, size_t n); /* y = fma(a, x, y) */
    void (*scale)(float *y, float a, size_t n);                /* y *= a */
    /* y = mask ? y*keep : 0 */
    void (*drop)(float *y, const uint8_t *mask, float keep, size_t n);
    void (*drop_mask)(uint8_t *mask, const float *u, float rate, size_t n); /* u >= rate */

    /* Rows of pred [M][n] against targets; value[m] = sum over the row (may be NULL);
     * d[m][n] += w * dvalue/dpred (may be NULL), w = scale * (weight ? weight[m] : 1). */
    void (*smooth_l1)(float *value, float *d, size_t ldd, const float *pred, size_t ldp,
                      const float *target, size_t ldt, const float *weight, float scale,
                      size_t M, size_t n);
    /* -log Bernoulli(target 0/1; logit pred): max(l,0) - l*y + log(1 + e^-|l|). */
    void (*bernoulli)(float *value, float *d, size_t ldd, const float *pred, size_t ldp,
                      const uint8_t *target, size_t ldt, const float *weight, float scale,
                      size_t M, size_t n);

    /* Parameters after one step; g as it came (scale and l2 are applied inside). */
    void (*adam)(float *p, float *m, float *v, const float *g, size_t n,
                 const struct kern_adam *c);

    /* Reductions. sum16: the float tree alone. dsum, dsumsq: double, blocks of KERN_BLOCK with
     * 8 lanes each, block sums added ascending. */
    float (*sum16)(const float *x, size_t n);
    float (*dot16)(const float *a, const float *b, size_t n);
    double (*dsum)(const float *x, size_t n);
    double (*dsumsq)(const float *x, size_t n);
};

/* y = act(y), M rows of N columns each. */
static inline void kern_activate(const struct kern *k, enum kern_act act, float *y, size_t ldy,
                                 size_t M, size_t N)
{
    void (*const f)(float *, const float *, size_t) = act == KERN_RELU  ? k->relu
                                                      : act == KERN_ELU ? k->elu
                                                                        : NULL;
    for (size_t m = 0; m < M && f; m++)
        f(y + m * ldy, y + m * ldy, N);
}

/* The table for an instruction set. AUTO: the best this CPU has (avx512, avx2, else blas).
 * The first of avx2 and avx512 asked for owns LIBXSMM, whose target is global to the process:
 * the other one computes its products itself ("vector"), slower, with the same bits. So does
 * either where the host refuses executable pages. ERR_UNSUPPORTED with err_text(). Any thread.
 */
int kern_get(enum cfg_isa isa, const struct kern **out);
const struct kern *kern_ref(void);
int kern_blas(const struct kern **out);

/* Compile the product kernels of a shape ahead of time: rows M (0: only whole blocks of rows),
 * the same for layer_packed, and for the weight gradient R rows. No-ops for tables without
 * LIBXSMM. */
void kern_prepare(const struct kern *k, size_t M, size_t N, size_t K, size_t ldy, size_t ldx,
                  size_t ldw, bool accumulate);
void kern_prepare_packed(const struct kern *k, size_t M, size_t K, size_t ldy, size_t ldx,
                         bool accumulate);
void kern_prepare_dw(const struct kern *k, size_t R, size_t N, size_t K, size_t ldw, size_t ldx,
                     size_t ldy);

/* GFLOP/s of a layer's product on one core for M x N x K over about `seconds`. Allocates. < 0 on
 * ERR_*. */
double kern_gflops(const struct kern *k, size_t M, size_t N, size_t K, double seconds);
/* Who multiplies for a table, with its version: "LIBXSMM 1.17", "OpenBLAS 0.3.21", "own". */
const char *kern_library(const struct kern *k);
/* The core OpenBLAS has chosen its kernels for ("SkylakeX"), whether or not it multiplies here:
 * without AVX2 it decides the bits. */
const char *kern_blas_core(void);
/* Whether this CPU and operating system can run a table; ISA_AUTO is always true. */
bool kern_supported(enum cfg_isa isa);

#endif
