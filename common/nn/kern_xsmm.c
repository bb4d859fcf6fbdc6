/* SPDX-License-Identifier: Apache-2.0 */
/* kern_xsmm.c - products by LIBXSMM's run-time compiled kernels.
 *
 * WHY  LIBXSMM reaches the machine's peak from five rows on, and its kernels compute every
 * output as one chain of fused multiply-adds, k ascending: the definition of nn/kern.h, on AVX2
 * and AVX-512 alike, as long as widths are multiples of 32.
 *
 * HOW  Row-major Y = X W is column-major Y^T = W^T X^T, so LIBXSMM's m is a block of N, its n
 * a block of rows and its k is K. A call is cut into blocks of constant size; the rests get
 * kernels of their own, so every shape runs, and splitting K merely continues the chain from
 * memory.
 *   An AVX2 kernel has registers for 32 columns of three rows and reads the weights anew for
 * each three. Rows of a matrix lie a KiB apart, which the nearest cache keeps few of; so on AVX2
 * layers hand over weights packed in columns of 32 (layer_packed), and weight gradients copy
 * their blocks first.
 *   Kernels are found in a table of our own: open addressing, written under a mutex,
 * read without one (an entry's key is complete before its function is published).
 *
 * GLOBAL  LIBXSMM's target and registry belong to the process, hence the one static table here
 * and the rule in kern.h that the first instruction set asked for owns it. */
#include "kern_private.h"

#include "base/err.h"

#include <libxsmm.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

enum {
    TABLE = 1 << 14, /* entries; a kernel beyond three quarters of it is computed by `plain` */
    ROWS = 32,       /* rows of a block */
    COLS = 256,      /* columns of a block */
    DEPTH = 256,     /* of a block's chain */
    PANEL = 256,     /* rows that pass one block of weights: a multiple of ROWS */
    /* The same for packed weights: rows in threes. */
    PACKED_ROWS = 48,
    PACKED_PANEL = 144,
    /* Of the weight gradient: rows of a block, its columns of x and of dy; and where blocks are
     * copied, to multiply 32 columns of dy at a time. */
    DW_ROWS = 256,
    DW_IN = 64,
    DW_OUT = 64,
    COPIED_ROWS = 128,
};

struct shape {
    int32_t m, n, k, lda, ldb, ldc, flags; /* flags: bit 0 accumulate, bit 1 transposed B */
};
struct entry {
    _Atomic(libxsmm_smmfunction) fn; /* NULL: free */
    struct shape shape;
};
static struct {
    pthread_mutex_t lock;
    size_t used;
    struct kern plain;
    bool packs; /* AVX2: layers ask for packed weights, weight gradients copy their blocks */
    struct entry entry[TABLE];
} jit = {.lock = PTHREAD_MUTEX_INITIALIZER};

static size_t shape_hash(const struct shape *s)
{
    const int32_t word[] = {s->m, s->n, s->k, s->lda, s->ldb, s->ldc, s->flags};
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < sizeof word / sizeof *word; i++)
        h = (h ^ (uint32_t)word[i]) * 16777619u;
    return (h ^ h >> 15) & (TABLE - 1);
}

/* The entry of a shape, or the free one where it belongs. */
static struct entry *find(const struct shape *s)
{
    for (size_t i = shape_hash(s);; i = (i + 1) & (TABLE - 1)) {
        struct entry *e = &jit.entry[i];
        if (!atomic_load_explicit(&e->fn, memory_order_acquire) ||
            memcmp(&e->shape, s, sizeof *s) == 0)
            return e;
    }
}

static libxsmm_smmfunction compile(const struct shape *s)
{
    const float one = 1, beta = s->flags & 1 ? 1.0f : 0.0f;
    const int flags = s->flags & 2 ? LIBXSMM_GEMM_FLAG_TRANS_B : LIBXSMM_GEMM_FLAG_NONE;
    const int prefetch = LIBXSMM_GEMM_PREFETCH_NONE;
    pthread_mutex_lock(&jit.lock);
    struct entry *e = find(s);
    libxsmm_smmfunction fn = atomic_load_explicit(&e->fn, memory_order_relaxed);
    if (!fn && jit.used < TABLE / 4 * 3) {
        fn = libxsmm_smmdispatch(s->m, s->n, s->k, &s->lda, &s->ldb, &s->ldc, &one, &beta,
                                 &flags, &prefetch);
        if (fn) {
            e->shape = *s;
            atomic_store_explicit(&e->fn, fn, memory_order_release);
            jit.used++;
        }
    }
    pthread_mutex_unlock(&jit.lock);
    return fn;
}

static libxsmm_smmfunction kernel(size_t m, size_t n, size_t k, size_t lda, size_t ldb,
                                  size_t ldc, int flags)
{
    const struct shape s = {(int32_t)m,   (int32_t)n,   (int32_t)k, (int32_t)lda,
                            (int32_t)ldb, (int32_t)ldc, flags};
    libxsmm_smmfunction fn = atomic_load_explicit(&find(&s)->fn, memory_order_acquire);
    return fn ? fn : compile(&s);
}

/* A host may refuse executable pages: see one kernel work before relying on any. */
static bool kernels_run(void)
{
    const libxsmm_smmfunction fn = kernel(32, 1, 1, 32, 1, 32, 0);
    if (!fn)
        return false;
    float a[32], c[32], b = 2;
    for (size_t i = 0; i < 32; i++)
        a[i] = (float)i;
    fn(a, &b, c);
    for (size_t i = 0; i < 32; i++)
        if (c[i] != (float)i * 2)
            return false;
    return true;
}

bool xsmm_open(struct kern *out, const struct kern *plain)
{
    libxsmm_init();
    libxsmm_set_target_archid(plain->isa == ISA_AVX512 ? LIBXSMM_X86_AVX512_CORE
                                                       : LIBXSMM_X86_AVX2);
    jit.plain = *plain;
    jit.packs = plain->isa == ISA_AVX2;
    if (!kernels_run())
        return false;
    *out = *plain;
    out->products = "libxsmm";
    out->gemm = xsmm_gemm;
    out->layer = xsmm_layer;
    out->layer_packed = jit.packs ? xsmm_layer_packed : NULL;
    out->gemm_dw = xsmm_gemm_dw;
    return true;
}

const char *xsmm_version(void)
{
    return "LIBXSMM " LIBXSMM_VERSION;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* What to do with a block of y before the first and after the last piece of its chains. */
struct around {
    const float *bias; /* NULL: nothing */
    enum kern_act act;
};

/* One block: by its kernel, or without one (fn NULL) by `plain`. */
static void block(libxsmm_smmfunction fn, float *y, size_t ldy, const float *x, size_t ldx,
                  const float *w, size_t ldw, size_t M, size_t N, size_t K, bool accumulate)
{
    if (fn)
        fn(w, x, y);
    else
        jit.plain.gemm(y, ldy, x, ldx, w, ldw, M, N, K, accumulate);
}

/* One block of columns and depth: all M rows, whole blocks of ROWS and then the rest. */
static void strip(float *y, size_t ldy, const float *x, size_t ldx, const float *w, size_t ldw,
                  size_t M, size_t N, size_t K, bool accumulate, const struct around *a)
{
    for (size_t m = 0; m < M;) {
        const size_t mb = least(ROWS, M - m);
        const libxsmm_smmfunction fn = kernel(N, mb, K, ldw, ldx, ldy, accumulate);
        const size_t end = mb == ROWS ? m + (M - m) / ROWS * ROWS : M;
        for (; m < end; m += mb) {
            if (a->bias)
                jit.plain.fill_rows(y + m * ldy, ldy, a->bias, mb, N);
            block(fn, y + m * ldy, ldy, x + m * ldx, ldx, w, ldw, mb, N, K, accumulate);
            kern_activate(&jit.plain, a->act, y + m * ldy, ldy, mb, N);
        }
    }
}

/* DEPTH x COLS floats of weights stay in the second-level cache while PANEL rows pass; a chain
 * cut by depth goes on from memory, the same bits. */
static void panels(float *y, size_t ldy, const float *x, size_t ldx, const float *w, size_t ldw,
                   size_t M, size_t N, size_t K, bool accumulate, const struct around *a)
{
    for (size_t m = 0; m < M; m += PANEL)
        for (size_t n = 0; n < N; n += COLS)
            for (size_t k = 0; k < K; k += DEPTH) {
                const struct around here = {.bias = a->bias && k == 0 ? a->bias + n : NULL,
                                            .act = k + DEPTH < K ? KERN_LINEAR : a->act};
                strip(y + m * ldy + n, ldy, x + m * ldx + k, ldx, w + k * ldw + n, ldw,
                      least(PANEL, M - m), least(COLS, N - n), least(DEPTH, K - k),
                      accumulate || k > 0, &here);
            }
}

void xsmm_gemm(float *y, size_t ldy, const float *x, size_t ldx, const float *w, size_t ldw,
               size_t M, size_t N, size_t K, bool accumulate)
{
    bug_on(N % KERN_PAD != 0);
    if (K == 0 && !accumulate)
        jit.plain.fill_rows(y, ldy, NULL, M, N);
    panels(y, ldy, x, ldx, w, ldw, M, N, K, accumulate, &(struct around){NULL, KERN_LINEAR});
}

void xsmm_layer(float *y, size_t ldy, const float *x, size_t ldx, const float *w, size_t ldw,
                const float *bias, enum kern_act act, size_t M, size_t N, size_t K)
{
    bug_on(N % KERN_PAD != 0 || K == 0);
    panels(y, ldy, x, ldx, w, ldw, M, N, K, true, &(struct around){bias, act});
}

/* A panel's rows pass each 32 columns; bias and activation go over whole rows, which a column
 * of 32 would cut too short. */
static void packed_panel(float *y, size_t ldy, const float *x, size_t ldx, const float *w,
                         size_t next, size_t M, size_t N, size_t K, bool accumulate)
{
    for (size_t n = 0; n < N; n += KERN_PAD, w += next)
        for (size_t k = 0; k < K; k += DEPTH)
            for (size_t m = 0; m < M; m += PACKED_ROWS) {
                const size_t mb = least(PACKED_ROWS, M - m), kb = least(DEPTH, K - k);
                const bool add = accumulate || k > 0;
                const libxsmm_smmfunction fn =
                    kernel(KERN_PAD, mb, kb, KERN_PAD, ldx, ldy, add);
                block(fn, y + m * ldy + n, ldy, x + m * ldx + k, ldx, w + k * KERN_PAD,
                      KERN_PAD, mb, KERN_PAD, kb, add);
            }
}

void xsmm_layer_packed(float *y, size_t ldy, const float *x, size_t ldx, const float *w,
                       size_t next, const float *bias, enum kern_act act, size_t M, size_t N,
                       size_t K, bool accumulate)
{
    bug_on(N % KERN_PAD != 0 || K == 0);
    for (size_t m = 0; m < M; m += PACKED_PANEL) {
        const size_t rows = least(PACKED_PANEL, M - m);
        float *to = y + m * ldy;
        if (bias)
            jit.plain.fill_rows(to, ldy, bias, rows, N);
        packed_panel(to, ldy, x + m * ldx, ldx, w, next, rows, N, K, accumulate || bias);
        kern_activate(&jit.plain, act, to, ldy, rows, N);
    }
}

static void dw_block(float *dw, size_t ldw, const float *x, size_t ldx, const float *dy,
                     size_t ldy, size_t R, size_t N, size_t K)
{
    const libxsmm_smmfunction fn = kernel(N, K, R, ldy, ldx, ldw, 3);
    if (fn)
        fn(dy, x, dw);
    else
        jit.plain.gemm_dw(dw, ldw, x, ldx, dy, ldy, R, N, K);
}

static void copy_block(float *to, size_t ld_to, const float *from, size_t ld, size_t rows,
                       size_t cols)
{
    for (size_t r = 0; r < rows; r++, to += ld_to, from += ld) {
        size_t c = 0;
        for (; c + KERN_PAD <= cols; c += KERN_PAD)
            memcpy(to + c, from + c, KERN_PAD * sizeof *to);
        for (; c < cols; c++)
            to[c] = from[c];
    }
}

/* COPIED_ROWS rows and DW_OUT columns at most. */
static void dw_copied(float *dw, size_t ldw, const float *x, size_t ldx, const float *dy,
                      size_t ldy, size_t R, size_t N, size_t K)
{
    _Alignas(64) float xs[COPIED_ROWS * DW_IN], dys[DW_OUT / KERN_PAD][COPIED_ROWS * KERN_PAD];
    for (size_t n = 0; n < N; n += KERN_PAD)
        copy_block(dys[n / KERN_PAD], KERN_PAD, dy + n, ldy, R, KERN_PAD);
    for (size_t k = 0; k < K; k += DW_IN) {
        const size_t kb = least(DW_IN, K - k);
        copy_block(xs, DW_IN, x + k, ldx, R, kb);
        for (size_t n = 0; n < N; n += KERN_PAD)
            dw_block(dw + k * ldw + n, ldw, xs, DW_IN, dys[n / KERN_PAD], KERN_PAD, R, KERN_PAD,
                     kb);
    }
}

static void dw_as_it_lies(float *dw, size_t ldw, const float *x, size_t ldx, const float *dy,
                          size_t ldy, size_t R, size_t N, size_t K)
{
    for (size_t k = 0; k < K; k += DW_IN)
        dw_block(dw + k * ldw, ldw, x + k, ldx, dy, ldy, R, N, least(DW_IN, K - k));
}

void xsmm_gemm_dw(float *dw, size_t ldw, const float *x, size_t ldx, const float *dy,
                  size_t ldy, size_t R, size_t N, size_t K)
{
    const size_t rows = jit.packs ? COPIED_ROWS : DW_ROWS;
    bug_on(N % KERN_PAD != 0);
    for (size_t r = 0; r < R; r += rows)
        for (size_t n = 0; n < N; n += DW_OUT)
            (jit.packs ? dw_copied : dw_as_it_lies)(dw + n, ldw, x + r * ldx, ldx,
                                                    dy + r * ldy + n, ldy, least(rows, R - r),
                                                    least(DW_OUT, N - n), K);
}

void xsmm_prepare(size_t M, size_t N, size_t K, size_t ldy, size_t ldx, size_t ldw,
                  bool accumulate)
{
    const size_t rest = M % ROWS;
    for (size_t n = 0; n < N; n += COLS)
        for (size_t k = 0; k < K; k += DEPTH) {
            const size_t nb = least(COLS, N - n), kb = least(DEPTH, K - k);
            if (M == 0 || M >= ROWS)
                kernel(nb, ROWS, kb, ldw, ldx, ldy, accumulate || k > 0);
            if (rest > 0)
                kernel(nb, rest, kb, ldw, ldx, ldy, accumulate || k > 0);
        }
}

void xsmm_prepare_packed(size_t M, size_t K, size_t ldy, size_t ldx, bool accumulate)
{
    const size_t rest = M % PACKED_ROWS;
    for (size_t k = 0; k < K; k += DEPTH) {
        const size_t kb = least(DEPTH, K - k);
        if (M == 0 || M >= PACKED_ROWS)
            kernel(KERN_PAD, PACKED_ROWS, kb, KERN_PAD, ldx, ldy, accumulate || k > 0);
        if (rest > 0)
            kernel(KERN_PAD, rest, kb, KERN_PAD, ldx, ldy, accumulate || k > 0);
    }
}

void xsmm_prepare_dw(size_t R, size_t N, size_t K, size_t ldw, size_t ldx, size_t ldy)
{
    const size_t most = jit.packs ? COPIED_ROWS : DW_ROWS;
    const size_t out = jit.packs ? KERN_PAD : DW_OUT;
    const size_t rows[] = {R >= most || R == 0 ? most : 0, R % most};
    for (size_t i = 0; i < 2; i++)
        for (size_t n = 0; n < N && rows[i] > 0; n += out)
            for (size_t k = 0; k < K; k += DW_IN)
                kernel(least(out, N - n), least(DW_IN, K - k), rows[i],
                       jit.packs ? KERN_PAD : ldy, jit.packs ? DW_IN : ldx, ldw, 3);
}
