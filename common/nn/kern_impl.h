/* SPDX-License-Identifier: Apache-2.0 */
/* kern_impl.h - every slot of struct kern, written once on sixteen-lane vectors.
 *
 * WHY  Three tables with the same bits. Each of kern_ref.c, kern_avx2.c and kern_avx512.c
 * includes its vec_*.h and then this file; since the order of operations is written here and
 * every vector operation is lane by lane, the tables cannot differ except through a bug in a
 * vec_*.h, which tests/unit/nn compares with the loops of vec_ref.h.
 *
 * NOT HERE  Products by LIBXSMM (kern_xsmm.c) and OpenBLAS (kern_blas.c). The products below
 * are the reference and what runs where LIBXSMM cannot. */
#ifndef NN_KERN_IMPL_H
#define NN_KERN_IMPL_H

#include "nn/kern.h"
#include "vec_math.h"

#include "base/err.h"

#include <string.h>

/* ------------------------------------------------------------------------------ products */

/* y[R][C*16] (+)= sum over k of x[r*xr + k*xk] * w[k][..]: R and C are constants after
 * inlining, so the accumulators are registers. */
static inline __attribute__((always_inline)) void tile(float *y, size_t ldy, const float *x,
                                                       size_t xr, size_t xk, const float *w,
                                                       size_t ldw, size_t K, bool accumulate,
                                                       const size_t R, const size_t C)
{
    vf acc[VEC_TILE_ROWS][VEC_TILE_COLS];
#pragma GCC unroll 16
    for (size_t r = 0; r < R; r++)
#pragma GCC unroll 16
        for (size_t c = 0; c < C; c++)
            acc[r][c] = accumulate ? v_load(y + r * ldy + c * 16) : v_zero();
    for (size_t k = 0; k < K; k++) {
        vf wk[VEC_TILE_COLS];
#pragma GCC unroll 16
        for (size_t c = 0; c < C; c++)
            wk[c] = v_load(w + k * ldw + c * 16);
#pragma GCC unroll 16
        for (size_t r = 0; r < R; r++) {
            const vf xv = v_set(x[r * xr + k * xk]);
#pragma GCC unroll 16
            for (size_t c = 0; c < C; c++)
                acc[r][c] = v_fma(xv, wk[c], acc[r][c]);
        }
    }
#pragma GCC unroll 16
    for (size_t r = 0; r < R; r++)
#pragma GCC unroll 16
        for (size_t c = 0; c < C; c++)
            v_store(y + r * ldy + c * 16, acc[r][c]);
}

/* M rows: x's element (m, k) is x[m*xr + k*xk], so that one function serves both products. */
static void product(float *y, size_t ldy, const float *x, size_t xr, size_t xk, const float *w,
                    size_t ldw, size_t M, size_t N, size_t K, bool accumulate)
{
    for (size_t n = 0; n < N; n += 16 * VEC_TILE_COLS) {
        size_t m = 0;
        for (; m + VEC_TILE_ROWS <= M; m += VEC_TILE_ROWS)
            tile(y + m * ldy + n, ldy, x + m * xr, xr, xk, w + n, ldw, K, accumulate,
                 VEC_TILE_ROWS, VEC_TILE_COLS);
        for (; m < M; m++)
            tile(y + m * ldy + n, ldy, x + m * xr, xr, xk, w + n, ldw, K, accumulate, 1,
                 VEC_TILE_COLS);
    }
}

static void k_gemm(float *y, size_t ldy, const float *x, size_t ldx, const float *w, size_t ldw,
                   size_t M, size_t N, size_t K, bool accumulate)
{
    product(y, ldy, x, ldx, 1, w, ldw, M, N, K, accumulate);
}

static void k_gemm_dw(float *dw, size_t ldw, const float *x, size_t ldx, const float *dy,
                      size_t ldy, size_t R, size_t N, size_t K)
{
    product(dw, ldw, x, 1, ldx, dy, ldy, K, N, R, true);
}

static void k_transpose(float *wt, size_t ldt, const float *w, size_t ldw, size_t rows,
                        size_t cols)
{
    enum { TILE = 16 };
    for (size_t c0 = 0; c0 < cols; c0 += TILE) {
        const size_t c1 = c0 + TILE < cols ? c0 + TILE : cols;
        for (size_t r0 = 0; r0 < rows; r0 += TILE) {
            const size_t r1 = r0 + TILE < rows ? r0 + TILE : rows;
            for (size_t c = c0; c < c1; c++)
                for (size_t r = r0; r < r1; r++)
                    wt[c * ldt + r] = w[r * ldw + c];
        }
        for (size_t c = c0; c < c1; c++)
            for (size_t r = rows; r < ldt; r++)
                wt[c * ldt + r] = 0;
    }
}

static void k_fill_rows(float *y, size_t ldy, const float *v, size_t M, size_t N)
{
    for (size_t m = 0; m < M; m++)
        for (size_t n = 0; n < N; n += 16)
            v_store_n(y + m * ldy + n, v ? v_load_n(v + n, N - n) : v_zero(), N - n);
}

static void k_sum_rows(float *v, const float *y, size_t ldy, size_t R, size_t N)
{
    for (size_t n = 0; n < N; n += 64) {
        const size_t left = N - n < 64 ? N - n : 64;
        vf acc[4];
        for (size_t i = 0; i < 4; i++)
            acc[i] = i * 16 < left ? v_load_n(v + n + i * 16, left - i * 16) : v_zero();
        for (size_t r = 0; r < R; r++)
            for (size_t i = 0; i * 16 < left; i++)
                acc[i] = v_add(acc[i], v_load_n(y + r * ldy + n + i * 16, left - i * 16));
        for (size_t i = 0; i * 16 < left; i++)
            v_store_n(v + n + i * 16, acc[i], left - i * 16);
    }
}

static void k_dot_rows(float *v, const float *a, size_t lda, const float *b, size_t ldb,
                       size_t R, size_t N)
{
    for (size_t n = 0; n < N; n += 16) {
        const size_t left = N - n;
        vf acc = v_load_n(v + n, left);
        for (size_t r = 0; r < R; r++)
            acc = v_fma(v_load_n(a + r * lda + n, left), v_load_n(b + r * ldb + n, left), acc);
        v_store_n(v + n, acc, left);
    }
}

/* ----------------------------------------------------------------------- gather, scatter */

static inline __attribute__((always_inline)) void
gather_row(float *y, const struct kern_rows *r, size_t m, size_t col, const size_t V)
{
    vf acc[VEC_GATHER];
#pragma GCC unroll 16
    for (size_t i = 0; i < V; i++)
        acc[i] = r->bias ? v_load(r->bias + col + i * 16) : v_zero();
    if (!r->skip || !r->skip[m]) {
        const uint8_t *index = r->index + m * r->C;
        const float *base = r->cat + col;
        for (size_t c = 0; c < r->C; c++) {
            const float *row = base + (c * r->K + index[c]) * r->ld;
#pragma GCC unroll 16
            for (size_t i = 0; i < V; i++)
                acc[i] = v_add(acc[i], v_load(row + i * 16));
        }
    }
    if (r->act && r->action && r->action[m] != KERN_NONE) {
        const float *row = r->act + r->action[m] * r->ld + col;
#pragma GCC unroll 16
        for (size_t i = 0; i < V; i++)
            acc[i] = v_add(acc[i], v_load(row + i * 16));
    }
#pragma GCC unroll 16
    for (size_t i = 0; i < V; i++)
        v_store(y + col + i * 16, acc[i]);
}

/* Columns outermost: a strip of the tables stays in cache while all rows pass. */
static void k_gather(float *y, size_t ldy, const struct kern_rows *r, size_t M, size_t N)
{
    const size_t wide = 16 * VEC_GATHER;
    size_t col = 0;
    for (; col + wide <= N; col += wide)
        for (size_t m = 0; m < M; m++)
            gather_row(y + m * ldy, r, m, col, VEC_GATHER);
    for (; col < N; col += 32)
        for (size_t m = 0; m < M; m++)
            gather_row(y + m * ldy, r, m, col, 2);
}

/* Rows of a block, by class: first[k] and next[m] chain the rows of class k in ascending order,
 * so that a class's sum stays in registers while its rows are added. */
enum { SCATTER_ROWS = 256, SCATTER_END = SCATTER_ROWS };
struct scatter_lists {
    uint16_t first[256], next[SCATTER_ROWS];
};

static void scatter_sort(struct scatter_lists *l, const uint8_t *index, size_t stride,
                         const uint8_t *skip, size_t M)
{
    for (size_t k = 0; k < 256; k++)
        l->first[k] = SCATTER_END;
    for (size_t m = M; m-- > 0;) {
        if (skip && skip[m])
            continue;
        const uint8_t k = index[m * stride];
        l->next[m] = l->first[k];
        l->first[k] = (uint16_t)m;
    }
}

static inline __attribute__((always_inline)) void scatter_sum(float *to, const float *dy,
                                                              size_t ldy, const uint16_t *next,
                                                              size_t m, const size_t V)
{
    vf acc[VEC_GATHER];
#pragma GCC unroll 16
    for (size_t i = 0; i < V; i++)
        acc[i] = v_load(to + i * 16);
    for (; m != SCATTER_END; m = next[m])
#pragma GCC unroll 16
        for (size_t i = 0; i < V; i++)
            acc[i] = v_add(acc[i], v_load(dy + m * ldy + i * 16));
#pragma GCC unroll 16
    for (size_t i = 0; i < V; i++)
        v_store(to + i * 16, acc[i]);
}

/* One categorical of K classes: to[class of row m] += dy row m. */
static void scatter_one(float *to, size_t ld, size_t K, const uint8_t *index, size_t stride,
                        const uint8_t *skip, const float *dy, size_t ldy, size_t M, size_t N)
{
    struct scatter_lists l;
    for (size_t m0 = 0; m0 < M; m0 += SCATTER_ROWS) {
        const size_t left = M - m0, rows = left < SCATTER_ROWS ? left : SCATTER_ROWS;
        const float *from = dy + m0 * ldy;
        scatter_sort(&l, index + m0 * stride, stride, skip ? skip + m0 : NULL, rows);
        for (size_t k = 0; k < K; k++) {
            const size_t m = l.first[k], wide = 16 * VEC_GATHER;
            if (m == SCATTER_END)
                continue;
            size_t n = 0;
            for (; n + wide <= N; n += wide)
                scatter_sum(to + k * ld + n, from + n, ldy, l.next, m, VEC_GATHER);
            for (; n < N; n += 32)
                scatter_sum(to + k * ld + n, from + n, ldy, l.next, m, 2);
        }
    }
}

static void k_scatter(float *dcat, float *dact, size_t ld, const struct kern_rows *r, size_t c0,
                      size_t c1, const float *dy, size_t ldy, size_t M, size_t N)
{
    bug_on(N % KERN_PAD != 0);
    for (size_t c = c0; dcat && c < c1; c++)
        scatter_one(dcat + c * r->K * ld, ld, r->K, r->index + c, r->C, r->skip, dy, ldy, M, N);
    if (dact && r->action) /* KERN_NONE is no class below it */
        scatter_one(dact, ld, KERN_NONE, r->action, 1, NULL, dy, ldy, M, N);
}

/* -------------------------------------------------------------------------- categoricals */

static inline float row_max(const float *x, size_t K)
{
    vf top = v_set(x[0]);
    size_t k = 0;
    for (; k + 16 <= K; k += 16)
        top = v_max(top, v_load(x + k));
    float r = v_largest(top);
    for (; k < K; k++)
        r = x[k] > r ? x[k] : r;
    return r;
}

/* Classes k0 to k0 + 15 of up to sixteen categoricals, one categorical to a lane: out[c] is class
 * k0 + c. Lanes past `count` and classes past K are 0. */
static inline void class_lanes(vf out[16], const float *x, size_t stride, size_t count,
                               size_t k0, size_t K)
{
    for (size_t i = 0; i < 16; i++)
        out[i] = i < count ? v_load_n(x + i * stride + k0, K - k0) : v_zero();
    v_transpose(out);
}

static void k_softmax(float *p, const float *x, size_t n, size_t K, size_t stride)
{
    for (size_t i0 = 0; i0 < n; i0 += 16) {
        const size_t count = n - i0 < 16 ? n - i0 : 16;
        for (size_t i = i0; i < i0 + count; i++) {
            const float *xi = x + i * stride;
            const vf top = v_set(row_max(xi, K));
            for (size_t k = 0; k < K; k += 16)
                v_store_n(p + i * stride + k, v_exp(v_sub(v_load_n(xi + k, K - k), top)),
                          K - k);
        }
        vf sum = v_zero(), e[16];
        for (size_t k0 = 0; k0 < K; k0 += 16) {
            class_lanes(e, p + i0 * stride, stride, count, k0, K);
            for (size_t c = 0; c < 16 && k0 + c < K; c++)
                sum = v_add(sum, e[c]);
        }
        float inverse[16];
        v_store(inverse, v_div(v_set(1), sum));
        for (size_t i = 0; i < count; i++) {
            float *pi = p + (i0 + i) * stride;
            const vf s = v_set(inverse[i]);
            for (size_t k = 0; k < K; k += 16)
                v_store_n(pi + k, v_mul(v_load_n(pi + k, K - k), s), K - k);
        }
    }
}

static void k_log_softmax(float *lp, const float *x, size_t n, size_t K, size_t stride)
{
    for (size_t i0 = 0; i0 < n; i0 += 16) {
        const size_t count = n - i0 < 16 ? n - i0 : 16;
        const float *at = x + i0 * stride;
        float top[16] = {0}, shift[16];
        for (size_t i = 0; i < count; i++)
            top[i] = row_max(at + i * stride, K);
        const vf tops = v_load(top);
        vf sum = v_zero(), xk[16];
        for (size_t k0 = 0; k0 < K; k0 += 16) {
            class_lanes(xk, at, stride, count, k0, K);
            for (size_t c = 0; c < 16 && k0 + c < K; c++)
                sum = v_add(sum, v_exp(v_sub(xk[c], tops)));
        }
        v_store(shift, v_log(sum));
        for (size_t i = 0; i < count; i++) {
            const float *xi = at + i * stride;
            float *out = lp + (i0 + i) * stride;
            const vf t = v_set(top[i]), s = v_set(shift[i]);
            for (size_t k = 0; k < K; k += 16)
                v_store_n(out + k, v_sub(v_sub(v_load_n(xi + k, K - k), t), s), K - k);
        }
    }
}

/* The inverse of the distribution function, class after class, one categorical to a lane. */
struct inverse_cdf {
    vf u, sum;
    vi passed, last;
};

static inline struct inverse_cdf cdf_start(const float *u, size_t count)
{
    return (struct inverse_cdf){v_load_n(u, count), v_zero(), vi_set(0), vi_set(0)};
}

static inline void cdf_class(struct inverse_cdf *s, vf p, size_t k)
{
    s->sum = v_add(s->sum, p);
    /* the sum never falls, so counting the classes passed finds the first not passed */
    s->passed = vi_select(v_lt(s->u, s->sum), s->passed, vi_add(s->passed, vi_set(1)));
    s->last = vi_select(v_lt(v_zero(), p), vi_set((int32_t)k), s->last);
}

static inline void cdf_store(uint8_t *index, const struct inverse_cdf *s, size_t K,
                             size_t count)
{
    const vm within = v_lt(vi_to_float(s->passed), v_set((float)K));
    vi_store_bytes(index, vi_select(within, s->passed, s->last), count);
}

static void k_sample(uint8_t *index, const float *p, const float *u, size_t n, size_t K,
                     size_t stride)
{
    for (size_t i = 0; i < n; i += 16) {
        const size_t count = n - i < 16 ? n - i : 16;
        struct inverse_cdf s = cdf_start(u + i, count);
        vf pk[16];
        for (size_t k0 = 0; k0 < K; k0 += 16) {
            class_lanes(pk, p + i * stride, stride, count, k0, K);
            for (size_t c = 0; c < 16 && k0 + c < K; c++)
                cdf_class(&s, pk[c], k0 + c);
        }
        cdf_store(index + i, &s, K, count);
    }
}

static void k_draw(uint8_t *index, const float *x, const float *u, size_t n, size_t K,
                   size_t stride)
{
    vf e[256 + 15]; /* by class; the last load of sixteen may reach past K */
    bug_on(K > 256);
    for (size_t i = 0; i < n; i += 16) {
        const size_t count = n - i < 16 ? n - i : 16;
        for (size_t k0 = 0; k0 < K; k0 += 16)
            class_lanes(e + k0, x + i * stride, stride, count, k0, K);
        vf top = e[0], sum = v_zero();
        for (size_t k = 1; k < K; k++)
            top = v_max(top, e[k]);
        for (size_t k = 0; k < K; k++) {
            e[k] = v_exp(v_sub(e[k], top));
            sum = v_add(sum, e[k]);
        }
        const vf inverse = v_div(v_set(1), sum);
        struct inverse_cdf s = cdf_start(u + i, count);
        for (size_t k = 0; k < K; k++)
            cdf_class(&s, v_mul(e[k], inverse), k);
        cdf_store(index + i, &s, K, count);
    }
}

static void k_softmax_backward(float *dx, const float *p, const float *dp, size_t n, size_t K,
                               size_t stride)
{
    for (size_t i = 0; i < n; i++) {
        const float *pi = p + i * stride, *di = dp + i * stride;
        float *out = dx + i * stride;
        vf acc = v_zero();
        for (size_t k = 0; k < K; k += 16)
            acc = v_fma(v_load_n(di + k, K - k), v_load_n(pi + k, K - k), acc);
        const vf dot = v_set(v_sum(acc));
        for (size_t k = 0; k < K; k += 16) {
            const vf g = v_sub(v_load_n(di + k, K - k), dot);
            const vf r = v_fma(v_load_n(pi + k, K - k), g, v_load_n(out + k, K - k));
            v_store_n(out + k, r, K - k);
        }
    }
}

#define KL_EPSILON 1e-7f

static void k_kl(float *kl, const float *p, const float *q, size_t n, size_t K, size_t stride)
{
    const vf eps = v_set(KL_EPSILON);
    for (size_t i = 0; i < n; i++) {
        vf acc = v_zero();
        for (size_t k = 0; k < K; k += 16) {
            /* missing lanes: p = 0 and finite logarithms, so they add 0 */
            const vf pk = v_load_n(p + i * stride + k, K - k);
            const vf qk = v_load_n(q + i * stride + k, K - k);
            acc = v_fma(pk, v_sub(v_log(v_add(pk, eps)), v_log(v_add(qk, eps))), acc);
        }
        kl[i] = v_sum(acc);
    }
}

/* dx += w p (g - <g, p>), g of K <= 256 floats */
static inline void kl_jacobian(float *dx, const float *p, const float *g, float w, size_t K)
{
    vf acc = v_zero();
    for (size_t k = 0; k < K; k += 16)
        acc = v_fma(v_load_n(g + k, K - k), v_load_n(p + k, K - k), acc);
    const vf dot = v_set(v_sum(acc)), wv = v_set(w);
    for (size_t k = 0; k < K; k += 16) {
        const vf d = v_mul(v_load_n(p + k, K - k), v_sub(v_load_n(g + k, K - k), dot));
        v_store_n(dx + k, v_fma(wv, d, v_load_n(dx + k, K - k)), K - k);
    }
}

static void k_kl_backward(float *dxp, float *dxq, const float *p, const float *q, float wp,
                          float wq, size_t n, size_t K, size_t stride)
{
    const vf eps = v_set(KL_EPSILON);
    float g[256];
    bug_on(K > 256);
    for (size_t i = 0; i < n; i++) {
        const float *pi = p + i * stride, *qi = q + i * stride;
        if (dxp) {
            for (size_t k = 0; k < K; k += 16) {
                const vf pk = v_load_n(pi + k, K - k), pe = v_add(pk, eps);
                const vf qe = v_add(v_load_n(qi + k, K - k), eps);
                const vf logs = v_sub(v_log(pe), v_log(qe));
                v_store_n(g + k, v_add(logs, v_div(pk, pe)), K - k);
            }
            kl_jacobian(dxp + i * stride, pi, g, wp, K);
        }
        if (dxq) {
            for (size_t k = 0; k < K; k += 16) {
                const vf qe = v_add(v_load_n(qi + k, K - k), eps);
                v_store_n(g + k, v_sub(v_zero(), v_div(v_load_n(pi + k, K - k), qe)), K - k);
            }
            kl_jacobian(dxq + i * stride, qi, g, wq, K);
        }
    }
}

/* ------------------------------------------------------------------- LayerNorm, GRU */

static void k_norm(float *y, float *xhat, float *rstd, const float *x, const float *gamma,
                   const float *beta, size_t M, size_t D)
{
    const vf one = v_set(1), d = v_set((float)D);
    bug_on(D % 16 != 0);
    for (size_t m = 0; m < M; m++) {
        const float *row = x + m * D;
        vf acc = v_zero();
        for (size_t i = 0; i < D; i += 16)
            acc = v_add(acc, v_load(row + i));
        const vf mean = v_div(v_set(v_sum(acc)), d);
        acc = v_zero();
        for (size_t i = 0; i < D; i += 16) {
            const vf e = v_sub(v_load(row + i), mean);
            acc = v_fma(e, e, acc);
        }
        const vf var = v_div(v_set(v_sum(acc)), d);
        const vf rs = v_div(one, v_sqrt(v_add(var, v_set(1e-5f))));
        for (size_t i = 0; i < D; i += 16) {
            const vf h = v_mul(v_sub(v_load(row + i), mean), rs);
            if (xhat)
                v_store(xhat + m * D + i, h);
            v_store(y + m * D + i, v_fma(h, v_load(gamma + i), v_load(beta + i)));
        }
        if (rstd)
            v_store_n(rstd + m, rs, 1);
    }
}

static void k_norm_backward(float *dx, float *again, const float *dy, const float *xhat,
                            const float *rstd, const float *gamma, size_t M, size_t D)
{
    const vf d = v_set((float)D);
    bug_on(D % 16 != 0);
    for (size_t m = 0; m < M; m++) {
        const float *dm = dy + m * D, *hm = xhat + m * D;
        vf sum = v_zero(), dot = v_zero();
        for (size_t i = 0; i < D; i += 16) {
            const vf g = v_mul(v_load(dm + i), v_load(gamma + i));
            sum = v_add(sum, g);
            dot = v_fma(g, v_load(hm + i), dot);
        }
        const vf s = v_div(v_set(v_sum(sum)), d), t = v_div(v_set(v_sum(dot)), d);
        const vf rs = v_set(rstd[m]);
        for (size_t i = 0; i < D; i += 16) {
            const vf g = v_sub(v_mul(v_load(dm + i), v_load(gamma + i)), s);
            const vf e = v_fnma(v_load(hm + i), t, g);
            const vf r = v_fma(rs, e, v_zero());
            v_store(dx + m * D + i, r);
            if (again)
                v_store(again + m * D + i, r);
        }
    }
}

static void k_gru(float *out, float *gates, const float *gi, const float *gh, const float *h,
                  size_t M, size_t D)
{
    bug_on(D % 16 != 0);
    for (size_t m = 0; m < M; m++) {
        const float *a = gi + m * 3 * D, *b = gh + m * 3 * D;
        for (size_t i = 0; i < D; i += 16) {
            const vf r = v_sigmoid(v_add(v_load(a + i), v_load(b + i)));
            const vf z = v_sigmoid(v_add(v_load(a + D + i), v_load(b + D + i)));
            const vf hn = v_load(b + 2 * D + i);
            const vf n = v_tanh(v_fma(r, hn, v_load(a + 2 * D + i)));
            if (gates) {
                float *g = gates + m * 4 * D + i;
                v_store(g, r);
                v_store(g + D, z);
                v_store(g + 2 * D, n);
                v_store(g + 3 * D, hn);
            }
            v_store(out + m * D + i, v_fma(z, v_sub(v_load(h + m * D + i), n), n));
        }
    }
}

static void k_gru_backward(float *dgi, float *dgh, float *dh, const float *dout,
                           const float *gates, const float *h, size_t M, size_t D)
{
    const vf one = v_set(1);
    bug_on(D % 16 != 0);
    for (size_t m = 0; m < M; m++) {
        for (size_t i = 0; i < D; i += 16) {
            const float *g = gates + m * 4 * D + i;
            const vf r = v_load(g), z = v_load(g + D), n = v_load(g + 2 * D);
            const vf d = v_load(dout + m * D + i), hn = v_load(g + 3 * D);
            const vf dn = v_mul(v_mul(d, v_sub(one, z)), v_fnma(n, n, one));
            const vf dz =
                v_mul(v_mul(d, v_sub(v_load(h + m * D + i), n)), v_mul(z, v_sub(one, z)));
            const vf dr = v_mul(v_mul(dn, hn), v_mul(r, v_sub(one, r)));
            float *a = dgi + m * 3 * D + i, *b = dgh + m * 3 * D + i;
            v_store(a, dr);
            v_store(a + D, dz);
            v_store(a + 2 * D, dn);
            v_store(b, dr);
            v_store(b + D, dz);
            v_store(b + 2 * D, v_mul(dn, r));
            if (dh) {
                float *to = dh + m * D + i;
                v_store(to, v_fma(d, z, v_load(to)));
            }
        }
    }
}

/* ------------------------------------------------------------------------------ attention */

enum { ATTN_MAX = 32 }; /* agents of a group at most */

static inline float dot16(const float *a, const float *b, size_t n)
{
    vf acc = v_zero();
    for (size_t i = 0; i < n; i += 16)
        acc = v_fma(v_load_n(a + i, n - i), v_load_n(b + i, n - i), acc);
    return v_sum(acc);
}

/* 1 / sqrt(head width) */
static inline float attn_scale(size_t width)
{
    return 1.0f / __builtin_sqrtf((float)width);
}

/* out[0..n) = chain over j of w[j*step] * rows[j*ld ..] */
static inline void mix(float *out, const float *w, size_t step, const float *rows, size_t ld,
                       size_t J, size_t n)
{
    if (n == 32) { /* the width of a head at the paper's sizes */
        vf a = v_zero(), b = v_zero();
        for (size_t j = 0; j < J; j++) {
            const vf wj = v_set(w[j * step]);
            a = v_fma(wj, v_load(rows + j * ld), a);
            b = v_fma(wj, v_load(rows + j * ld + 16), b);
        }
        v_store(out, a);
        v_store(out + 16, b);
        return;
    }
    for (size_t i = 0; i < n; i += 16) {
        vf acc = v_zero();
        for (size_t j = 0; j < J; j++)
            acc = v_fma(v_set(w[j * step]), v_load_n(rows + j * ld + i, n - i), acc);
        v_store_n(out + i, acc, n - i);
    }
}

static inline void attn_drop(float *w, const uint8_t *mask, float keep, size_t N)
{
    for (size_t j = 0; j < N; j += 16) {
        const vf kept = v_mul(v_load_n(w + j, N - j), v_set(keep));
        v_store_n(w + j, v_select(v_bytes(mask + j, N - j), kept, v_zero()), N - j);
    }
}

/* Attention works on bundles: as many heads of a group as fill sixteen lanes, a lane being a
 * row of scores (head, agent). Sixteen rows' dot products are summed at once, and sums over j
 * run in the order of the reduction tree, lane by lane: the bits of row after row. */
struct bundle {
    size_t heads, rows; /* rows = heads * N <= ATTN_MAX */
    size_t at;          /* first row among the probabilities' [G][H][N] */
};

static inline size_t bundle_heads(const struct kern_attn *a, size_t h)
{
    const size_t fit = a->N < 16 ? 16 / a->N : 1;
    return a->H - h < fit ? a->H - h : fit;
}

/* Where the sixteen rows from r0 on find their vectors: each its own x, and y of its head. */
struct lanes {
    size_t count;
    const float *x[16], *y[16];
};

static inline struct lanes lanes_of(const struct bundle *u, size_t r0, const float *x,
                                    size_t ldx, const float *y, size_t N, size_t w)
{
    struct lanes t = {.count = u->rows - r0 < 16 ? u->rows - r0 : 16};
    size_t h = r0 / N, i = r0 % N;
    for (size_t l = 0; l < t.count; l++) {
        t.x[l] = x + i * ldx + h * w;
        t.y[l] = y + h * w;
        if (++i == N) {
            i = 0;
            h++;
        }
    }
    return t;
}

/* Lane l = <its x, its y `at` floats on>, w numbers; lanes past the last are 0. */
static inline vf lanes_dot(const struct lanes *t, size_t at, size_t w)
{
    vf acc[16];
    for (size_t l = t->count; l < 16; l++)
        acc[l] = v_zero();
    if (w == 32) { /* the width of a head at the paper's sizes */
        for (size_t l = 0; l < t->count; l++) {
            const float *x = t->x[l], *y = t->y[l] + at;
            acc[l] =
                v_fma(v_load(x + 16), v_load(y + 16), v_fma(v_load(x), v_load(y), v_zero()));
        }
        return v_sums(acc);
    }
    for (size_t l = 0; l < t->count; l++) {
        acc[l] = v_zero();
        for (size_t k = 0; k < w; k += 16)
            acc[l] =
                v_fma(v_load_n(t->x[l] + k, w - k), v_load_n(t->y[l] + at + k, w - k), acc[l]);
    }
    return v_sums(acc);
}

/* The reduction tree over e[0..n), n <= 32, missing elements 0. e is used up. */
static inline vf tree_sum(vf *e, size_t n)
{
    for (size_t half = 16; half > 0; half /= 2)
        for (size_t i = 0; i + half < n && i < half; i++)
            e[i] = v_add(e[i], e[i + half]);
    return e[0];
}

/* Lane-wise softmax of s[0..N). */
static inline void bundle_softmax(vf *s, size_t N)
{
    vf top = s[0], e[ATTN_MAX];
    for (size_t j = 1; j < N; j++)
        top = v_max(top, s[j]);
    for (size_t j = 0; j < N; j++)
        e[j] = s[j] = v_exp(v_sub(s[j], top));
    const vf inverse = v_div(v_set(1), tree_sum(e, N));
    for (size_t j = 0; j < N; j++)
        s[j] = v_mul(s[j], inverse);
}

/* Rows r0.. of a bundle, from lanes to w[row][j]. */
static inline void bundle_rows(float (*w)[ATTN_MAX], const vf *s, size_t r0, size_t count,
                               size_t N)
{
    float lane[16];
    for (size_t j = 0; j < N; j++) {
        v_store(lane, s[j]);
        for (size_t l = 0; l < count; l++)
            w[r0 + l][j] = lane[l];
    }
}

static void attn_bundle(float *ctx, float *prob, const float *qkv, const struct kern_attn *a,
                        const struct bundle *u)
{
    const size_t N = a->N, D = a->D, w = D / a->H;
    const vf scale = v_set(attn_scale(w));
    float p[ATTN_MAX][ATTN_MAX];
    for (size_t r0 = 0; r0 < u->rows; r0 += 16) {
        const struct lanes t = lanes_of(u, r0, qkv, 3 * D, qkv + D, N, w);
        vf s[ATTN_MAX];
        for (size_t j = 0; j < N; j++)
            s[j] = v_mul(lanes_dot(&t, j * 3 * D, w), scale);
        bundle_softmax(s, N);
        bundle_rows(p, s, r0, t.count, N);
    }
    for (size_t r = 0; r < u->rows; r++) {
        const size_t at = (u->at + r) * N, h = r / N;
        if (prob)
            memcpy(prob + at, p[r], N * sizeof *p[r]);
        if (a->mask)
            attn_drop(p[r], a->mask + at, a->keep, N);
        mix(ctx + r % N * D + h * w, p[r], 1, qkv + 2 * D + h * w, 3 * D, N, w);
    }
}

static void k_attn(float *ctx, float *prob, const float *qkv, const struct kern_attn *a)
{
    const size_t N = a->N, D = a->D, w = D / a->H;
    bug_on(N > ATTN_MAX);
    for (size_t g = 0; g < a->G; g++)
        for (size_t h = 0, n; h < a->H; h += n) {
            n = bundle_heads(a, h);
            const struct bundle u = {n, n * N, (g * a->H + h) * N};
            attn_bundle(ctx + g * N * D + h * w, prob, qkv + g * N * 3 * D + h * w, a, &u);
        }
}

/* Lane l = prob[row r0 + l][j], 0 past count. */
static inline vf prob_lanes(const float *prob, size_t r0, size_t count, size_t j, size_t N)
{
    float lane[16] = {0};
    for (size_t l = 0; l < count; l++)
        lane[l] = prob[(r0 + l) * N + j];
    return v_load(lane);
}

static inline vf mask_lanes(vf x, const uint8_t *mask, size_t r0, size_t count, size_t j,
                            size_t N, float keep)
{
    uint8_t lane[16] = {0};
    for (size_t l = 0; l < count; l++)
        lane[l] = mask[(r0 + l) * N + j];
    return v_select(v_bytes(lane, 16), v_mul(x, v_set(keep)), v_zero());
}

/* Gradients of a bundle's scores and the weights that were used, [row][j] each. */
static void attn_bundle_scores(float (*ds)[ATTN_MAX], float (*used)[ATTN_MAX],
                               const float *dctx, const float *prob, const float *qkv,
                               const struct kern_attn *a, const struct bundle *u)
{
    const size_t N = a->N, D = a->D, w = D / a->H;
    const vf scale = v_set(attn_scale(w));
    const float *pu = prob + u->at * N;
    const uint8_t *mask = a->mask ? a->mask + u->at * N : NULL;
    for (size_t r0 = 0; r0 < u->rows; r0 += 16) {
        const struct lanes t = lanes_of(u, r0, dctx, D, qkv + 2 * D, N, w);
        const size_t count = t.count;
        vf p[ATTN_MAX], da[ATTN_MAX], part[ATTN_MAX];
        for (size_t j = 0; j < N; j++) {
            p[j] = prob_lanes(pu, r0, count, j, N);
            da[j] = lanes_dot(&t, j * 3 * D, w);
            if (mask)
                da[j] = mask_lanes(da[j], mask, r0, count, j, N, a->keep);
            /* accumulators l take l and l + 16 */
            part[j % 16] = v_fma(p[j], da[j], j < 16 ? v_zero() : part[j % 16]);
        }
        const vf dot = tree_sum(part, N < 16 ? N : 16);
        bundle_rows(used, p, r0, count, N);
        for (size_t j = 0; j < N; j++)
            da[j] = v_mul(v_mul(p[j], v_sub(da[j], dot)), scale);
        bundle_rows(ds, da, r0, count, N);
    }
    for (size_t r = 0; r < u->rows && mask; r++)
        attn_drop(used[r], mask + r * N, a->keep, N);
}

static void attn_bundle_backward(float *dqkv, const float *dctx, const float *prob,
                                 const float *qkv, const struct kern_attn *a,
                                 const struct bundle *u)
{
    const size_t N = a->N, D = a->D, w = D / a->H;
    float ds[ATTN_MAX][ATTN_MAX], used[ATTN_MAX][ATTN_MAX];
    attn_bundle_scores(ds, used, dctx, prob, qkv, a, u);
    for (size_t h = 0; h < u->heads; h++) {
        const float *q = qkv + h * w, *dc = dctx + h * w;
        float *dq = dqkv + h * w;
        for (size_t i = 0; i < N; i++) {
            mix(dq + i * 3 * D, ds[h * N + i], 1, q + D, 3 * D, N, w);
            /* what agent i gave to the others: a column */
            mix(dq + D + i * 3 * D, &ds[h * N][i], ATTN_MAX, q, 3 * D, N, w);
            mix(dq + 2 * D + i * 3 * D, &used[h * N][i], ATTN_MAX, dc, D, N, w);
        }
    }
}

static void k_attn_backward(float *dqkv, const float *dctx, const float *prob, const float *qkv,
                            const struct kern_attn *a)
{
    const size_t N = a->N, D = a->D, w = D / a->H;
    bug_on(N > ATTN_MAX);
    for (size_t g = 0; g < a->G; g++)
        for (size_t h = 0, n; h < a->H; h += n) {
            n = bundle_heads(a, h);
            const struct bundle u = {n, n * N, (g * a->H + h) * N};
            attn_bundle_backward(dqkv + g * N * 3 * D + h * w, dctx + g * N * D + h * w, prob,
                                 qkv + g * N * 3 * D + h * w, a, &u);
        }
}

/* ---------------------------------------------------------------------------- elementwise */

#define MAP(name, expr)                                                                        \
    static void name(float *y, const float *x, size_t n)                                       \
    {                                                                                          \
        for (size_t i = 0; i < n; i += 16) {                                                   \
            const vf a = v_load_n(x + i, n - i);                                               \
            v_store_n(y + i, (expr), n - i);                                                   \
        }                                                                                      \
    }
static inline vf v_elu(vf a)
{
    return v_select(v_lt(v_zero(), a), a, v_expm1_negative(a));
}
MAP(k_relu, v_max(v_zero(), a))
MAP(k_elu, v_elu(a))
MAP(k_exp, v_exp(a))
MAP(k_log, v_log(a))
MAP(k_tanh, v_tanh(a))
MAP(k_sigmoid, v_sigmoid(a))
MAP(k_softplus, v_softplus(a))
MAP(k_add, v_add(v_load_n(y + i, n - i), a))
#undef MAP

static void k_relu_backward(float *d, const float *y, size_t n)
{
    for (size_t i = 0; i < n; i += 16) {
        const vm on = v_lt(v_zero(), v_load_n(y + i, n - i));
        v_store_n(d + i, v_select(on, v_load_n(d + i, n - i), v_zero()), n - i);
    }
}

static void k_elu_backward(float *d, const float *y, size_t n)
{
    const vf one = v_set(1);
    for (size_t i = 0; i < n; i += 16) {
        const vf yi = v_load_n(y + i, n - i);
        const vf slope = v_select(v_lt(v_zero(), yi), one, v_add(yi, one));
        v_store_n(d + i, v_mul(v_load_n(d + i, n - i), slope), n - i);
    }
}

static void k_axpy(float *y, float a, const float *x, size_t n)
{
    const vf av = v_set(a);
    for (size_t i = 0; i < n; i += 16)
        v_store_n(y + i, v_fma(av, v_load_n(x + i, n - i), v_load_n(y + i, n - i)), n - i);
}

static void k_scale(float *y, float a, size_t n)
{
    const vf av = v_set(a);
    for (size_t i = 0; i < n; i += 16)
        v_store_n(y + i, v_mul(av, v_load_n(y + i, n - i)), n - i);
}

static void k_drop(float *y, const uint8_t *mask, float keep, size_t n)
{
    for (size_t i = 0; i < n; i += 16)
        attn_drop(y + i, mask + i, keep, n - i < 16 ? n - i : 16);
}

static void k_drop_mask(uint8_t *mask, const float *u, float rate, size_t n)
{
    const vf r = v_set(rate);
    for (size_t i = 0; i < n; i += 16) {
        const vm off = v_lt(v_load_n(u + i, n - i), r);
        vi_store_bytes(mask + i, vi_select(off, vi_set(0), vi_set(1)), n - i);
    }
}

/* ---------------------------------------------------------------------------- whole layers */

static void k_layer(float *y, size_t ldy, const float *x, size_t ldx, const float *w,
                    size_t ldw, const float *bias, enum kern_act act, size_t M, size_t N,
                    size_t K)
{
    enum { ROWS = 32 };
    for (size_t m = 0; m < M; m += ROWS) {
        const size_t rows = M - m < ROWS ? M - m : ROWS;
        float *out = y + m * ldy;
        if (bias)
            k_fill_rows(out, ldy, bias, rows, N);
        k_gemm(out, ldy, x + m * ldx, ldx, w, ldw, rows, N, K, true);
        for (size_t r = 0; r < rows && act == KERN_RELU; r++)
            k_relu(out + r * ldy, out + r * ldy, N);
        for (size_t r = 0; r < rows && act == KERN_ELU; r++)
            k_elu(out + r * ldy, out + r * ldy, N);
    }
}

/* --------------------------------------------------------------------------------- losses */

static void k_smooth_l1(float *value, float *d, size_t ldd, const float *pred, size_t ldp,
                        const float *target, size_t ldt, const float *weight, float scale,
                        size_t M, size_t n)
{
    const vf one = v_set(1), minus = v_set(-1), half = v_set(0.5f);
    for (size_t m = 0; m < M; m++) {
        const vf w = v_set(weight ? scale * weight[m] : scale);
        vf acc = v_zero();
        for (size_t i = 0; i < n; i += 16) {
            const size_t left = n - i;
            const vf e =
                v_sub(v_load_n(pred + m * ldp + i, left), v_load_n(target + m * ldt + i, left));
            const vf a = v_abs(e);
            const vf l = v_select(v_lt(a, one), v_mul(half, v_mul(e, e)), v_sub(a, half));
            acc = v_add(acc, l); /* lanes past the end: e = 0, so l = 0 */
            if (d) {
                const vf slope = v_max(minus, v_min(one, e));
                float *to = d + m * ldd + i;
                v_store_n(to, v_fma(w, slope, v_load_n(to, left)), left);
            }
        }
        if (value)
            value[m] = v_sum(acc);
    }
}

static void k_bernoulli(float *value, float *d, size_t ldd, const float *pred, size_t ldp,
                        const uint8_t *target, size_t ldt, const float *weight, float scale,
                        size_t M, size_t n)
{
    for (size_t m = 0; m < M; m++) {
        const vf w = v_set(weight ? scale * weight[m] : scale);
        vf acc = v_zero();
        for (size_t i = 0; i < n; i += 16) {
            const size_t left = n - i;
            const vf l = v_load_n(pred + m * ldp + i, left);
            const vm hit = v_bytes(target + m * ldt + i, left);
            /* softplus(l) - l*y is softplus of the wrong answer's logit */
            const vf s = v_softplus(v_select(hit, v_sub(v_zero(), l), l));
            float part[16] = {0}; /* past the end softplus(0) is not 0: drop it */
            v_store_n(part, s, left);
            acc = v_add(acc, v_load(part));
            if (d) {
                const vf e = v_sub(v_sigmoid(l), v_select(hit, v_set(1), v_zero()));
                float *to = d + m * ldd + i;
                v_store_n(to, v_fma(w, e, v_load_n(to, left)), left);
            }
        }
        if (value)
            value[m] = v_sum(acc);
    }
}

/* --------------------------------------------------------------------- Adam, reductions */

static void k_adam(float *p, float *m, float *v, const float *g, size_t n,
                   const struct kern_adam *c)
{
    const vf scale = v_set(c->scale), l2 = v_set(c->l2), b1 = v_set(c->b1), c1 = v_set(c->c1);
    const vf b2 = v_set(c->b2), c2 = v_set(c->c2), step = v_set(c->step);
    const vf root = v_set(c->root), eps = v_set(c->eps);
    for (size_t i = 0; i < n; i += 16) {
        const size_t left = n - i;
        const vf pi = v_load_n(p + i, left);
        const vf gi = v_fma(l2, pi, v_mul(scale, v_load_n(g + i, left)));
        const vf mi = v_fma(c1, gi, v_mul(b1, v_load_n(m + i, left)));
        const vf vi_ = v_fma(v_mul(c2, gi), gi, v_mul(b2, v_load_n(v + i, left)));
        const vf down = v_fma(v_sqrt(vi_), root, eps);
        v_store_n(m + i, mi, left);
        v_store_n(v + i, vi_, left);
        v_store_n(p + i, v_sub(pi, v_div(v_mul(step, mi), down)), left);
    }
}

static float k_sum16(const float *x, size_t n)
{
    vf acc = v_zero();
    for (size_t i = 0; i < n; i += 16)
        acc = v_add(acc, v_load_n(x + i, n - i));
    return v_sum(acc);
}

static float k_dot16(const float *a, const float *b, size_t n)
{
    return dot16(a, b, n);
}

static double k_dsum(const float *x, size_t n)
{
    double total = 0;
    for (size_t b = 0; b < n; b += KERN_BLOCK) {
        const size_t count = n - b < KERN_BLOCK ? n - b : KERN_BLOCK;
        vd acc = vd_zero();
        for (size_t i = 0; i < count; i += 8)
            acc = vd_add(acc, vd_load(x + b + i, count - i));
        total += vd_sum(acc);
    }
    return total;
}

static double k_dsumsq(const float *x, size_t n)
{
    double total = 0;
    for (size_t b = 0; b < n; b += KERN_BLOCK) {
        const size_t count = n - b < KERN_BLOCK ? n - b : KERN_BLOCK;
        vd acc = vd_zero();
        for (size_t i = 0; i < count; i += 8) {
            const vd e = vd_load(x + b + i, count - i);
            acc = vd_fma(e, e, acc);
        }
        total += vd_sum(acc);
    }
    return total;
}

/* clang-format off */
#define KERN_SLOTS                                                                             \
    .gemm = k_gemm, .layer = k_layer, .gemm_dw = k_gemm_dw, .transpose = k_transpose,          \
    .fill_rows = k_fill_rows, .sum_rows = k_sum_rows, .dot_rows = k_dot_rows,                  \
    .gather = k_gather, .scatter = k_scatter,                                                  \
    .softmax = k_softmax, .log_softmax = k_log_softmax, .sample = k_sample, .draw = k_draw,    \
    .softmax_backward = k_softmax_backward, .kl = k_kl, .kl_backward = k_kl_backward,          \
    .norm = k_norm, .norm_backward = k_norm_backward,                                          \
    .gru = k_gru, .gru_backward = k_gru_backward,                                              \
    .attn = k_attn, .attn_backward = k_attn_backward,                                          \
    .relu = k_relu, .elu = k_elu, .exp = k_exp, .log = k_log, .tanh = k_tanh,                  \
    .sigmoid = k_sigmoid, .softplus = k_softplus,                                              \
    .relu_backward = k_relu_backward, .elu_backward = k_elu_backward,                          \
    .add = k_add, .axpy = k_axpy, .scale = k_scale, .drop = k_drop, .drop_mask = k_drop_mask,  \
    .smooth_l1 = k_smooth_l1, .bernoulli = k_bernoulli, .adam = k_adam,                        \
    .sum16 = k_sum16, .dot16 = k_dot16, .dsum = k_dsum, .dsumsq = k_dsumsq
/* clang-format on */

#endif
