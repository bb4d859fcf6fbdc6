/* SPDX-License-Identifier: Apache-2.0 */
/* linear.c - linear layers, one-hot first layers, the weight gradients of a step.
 *
 * A layer is a view into the parameter block; only the transposed copies are its own. They and
 * the packed ones, which all views of a block share, are rebuilt by refresh. Weight gradients
 * are collected as jobs and run together: each task is a strip of output columns of one layer,
 * or the class rows of some categoricals, so threads never share an output and every sum is one
 * chain over all rows, whatever the number of threads. */
#include "nn/linear.h"

#include "base/err.h"

#include <string.h>

static const struct param *must_find(const struct params *p, const char *name)
{
    const size_t i = params_find(p, name);
    bug_on(i == (size_t)-1);
    return &p->table[i];
}

/* Whether packing a matrix gains more than it costs: smaller ones stay in near caches as they
 * lie. */
static bool pays(size_t rows, size_t columns)
{
    return rows * columns >= 1 << 15;
}

void linear_bind(struct linear *l, const struct params *p, const char *weight, const char *bias)
{
    const struct param *w = must_find(p, weight);
    bug_on(w->kind != PARAM_LINEAR);
    *l = (struct linear){.in = w->in,
                         .out = w->out,
                         .in_pad = kern_pad(w->in),
                         .out_pad = w->out_pad,
                         .ld = w->ld,
                         .wt_ld = param_stride(kern_pad(w->in)),
                         .w = p->value + w->offset,
                         .next = w->in * KERN_PAD,
                         .w_at = w->offset,
                         .b_at = SIZE_MAX};
    if (p->packed && pays(w->in, w->out_pad))
        l->packed = p->packed + w->offset;
    if (bias) {
        const struct param *b = must_find(p, bias);
        bug_on(b->out != w->out);
        l->b = p->value + b->offset;
        l->b_at = b->offset;
    }
}

void linear_slice(struct linear *out, const struct linear *l, size_t row0, size_t rows)
{
    bug_on(row0 + rows > l->in);
    *out = *l;
    out->in = rows;
    out->in_pad = kern_pad(rows);
    out->wt_ld = param_stride(out->in_pad);
    out->w += row0 * l->ld;
    out->w_at += row0 * l->ld;
    out->b = NULL;
    out->b_at = SIZE_MAX;
    out->packed = l->packed && pays(rows, l->out_pad) ? l->packed + row0 * KERN_PAD : NULL;
    out->wt = NULL;
    out->half = NULL;
    out->hw = NULL;
}

size_t linear_wt_bytes(const struct linear *l)
{
    return l->out_pad * l->wt_ld * sizeof(float);
}

void linear_want_input(struct linear *l, struct arena *a)
{
    l->wt = arena_must(a, linear_wt_bytes(l));
}

static void pack(struct linear *l)
{
    for (size_t n = 0; n < l->out_pad; n += KERN_PAD) {
        float *to = l->packed + n / KERN_PAD * l->next;
        for (size_t i = 0; i < l->in; i++)
            memcpy(to + i * KERN_PAD, l->w + i * l->ld + n, KERN_PAD * sizeof *to);
    }
}

static bool packs_transposed(const struct kern *k, const struct linear *l)
{
    return k->layer_packed && pays(l->out_pad, l->in_pad);
}

static void transpose_packed(const struct kern *k, struct linear *l)
{
    for (size_t i = 0; i < l->in; i += KERN_PAD) {
        const size_t rows = l->in - i < KERN_PAD ? l->in - i : KERN_PAD;
        k->transpose(l->wt + i * l->out_pad, KERN_PAD, l->w + i * l->ld, l->ld, rows,
                     l->out_pad);
    }
}

void linear_refresh(const struct kern *k, struct linear *l)
{
    if (l->packed)
        pack(l);
    if (l->wt && packs_transposed(k, l))
        transpose_packed(k, l);
    else if (l->wt)
        k->transpose(l->wt, l->wt_ld, l->w, l->ld, l->in, l->out_pad);
}

size_t linear_half_bytes(const struct linear *l)
{
    return l->in * l->out_pad * sizeof(uint16_t);
}

void linear_want_half(struct linear *l, const struct kern_half *half, struct arena *a)
{
    bug_on(l->in % HALF_COLS != 0);
    l->hw = arena_must(a, linear_half_bytes(l));
    l->half = half;
}

void linear_half_refresh(struct linear *l)
{
    if (l->half)
        half_pack(l->hw, l->w, l->ld, l->out_pad, l->in);
}

/* As the slot `layer`: a block of rows gets its activation while it is in the nearest cache.
 * bias NULL: on top of y. */
static void half_layer(const struct kern *k, const struct linear *l, const float *bias,
                       enum kern_act act, float *y, size_t ldy, const float *x, size_t ldx,
                       size_t M)
{
    enum { ROWS = 32 };
    for (size_t m = 0; m < M; m += ROWS) {
        const size_t rows = M - m < ROWS ? M - m : ROWS;
        float *out = y + m * ldy;
        l->half->gemm(out, ldy, x + m * ldx, ldx, l->hw, bias, rows, l->out_pad, l->in, !bias);
        kern_activate(k, act, out, ldy, rows, l->out_pad);
    }
}

/* bias NULL: on top of y. */
static void layer(const struct kern *k, const struct linear *l, const float *bias,
                  enum kern_act act, float *y, size_t ldy, const float *x, size_t ldx, size_t M)
{
    if (l->half)
        half_layer(k, l, bias, act, y, ldy, x, ldx, M);
    else if (l->packed)
        k->layer_packed(y, ldy, x, ldx, l->packed, l->next, bias, act, M, l->out_pad, l->in,
                        !bias);
    else
        k->layer(y, ldy, x, ldx, l->w, l->ld, bias, act, M, l->out_pad, l->in);
}

void linear_layer(const struct kern *k, const struct linear *l, enum kern_act act, float *y,
                  size_t ldy, const float *x, size_t ldx, size_t M)
{
    bug_on(!l->b);
    layer(k, l, l->b, act, y, ldy, x, ldx, M);
}

void linear_forward(const struct kern *k, const struct linear *l, float *y, size_t ldy,
                    const float *x, size_t ldx, size_t M)
{
    linear_layer(k, l, KERN_LINEAR, y, ldy, x, ldx, M);
}

void linear_add(const struct kern *k, const struct linear *l, enum kern_act act, float *y,
                size_t ldy, const float *x, size_t ldx, size_t M)
{
    layer(k, l, NULL, act, y, ldy, x, ldx, M);
}

void linear_backward_input(const struct kern *k, const struct linear *l, float *dx, size_t ldx,
                           const float *dy, size_t ldy, size_t M, bool accumulate)
{
    bug_on(!l->wt);
    if (packs_transposed(k, l))
        k->layer_packed(dx, ldx, dy, ldy, l->wt, l->out_pad * KERN_PAD, NULL, KERN_LINEAR, M,
                        l->in_pad, l->out_pad, accumulate);
    else
        k->gemm(dx, ldx, dy, ldy, l->wt, l->wt_ld, M, l->in_pad, l->out_pad, accumulate);
}

void linear_backward_weight(const struct kern *k, const struct linear *l, float *grad,
                            const float *x, size_t ldx, const float *dy, size_t ldy,
                            size_t rows, size_t col0, size_t col1)
{
    enum { ROWS = 256 }; /* whose columns of dy stay in a near cache for their sum */
    for (size_t r = 0; r < rows; r += ROWS) {
        const size_t n = rows - r < ROWS ? rows - r : ROWS;
        const float *from = dy + r * ldy + col0;
        k->gemm_dw(grad + l->w_at + col0, l->ld, x + r * ldx, ldx, from, ldy, n, col1 - col0,
                   l->in);
        if (l->b_at != SIZE_MAX)
            k->sum_rows(grad + l->b_at + col0, from, ldy, n, col1 - col0);
    }
}

/* --------------------------------------------------------------------- one-hot first layer */

void onehot_bind(struct onehot *o, const struct params *p, const char *weight, const char *bias,
                 size_t cat0, size_t C, size_t K, size_t act0, size_t A, size_t dense0,
                 size_t dense_n)
{
    memset(o, 0, sizeof *o);
    linear_bind(&o->all, p, weight, bias);
    linear_slice(&o->cat, &o->all, cat0, C * K);
    o->cat.packed = NULL; /* its rows are added up, not multiplied */
    if (dense_n > 0)
        linear_slice(&o->dense, &o->all, dense0, dense_n);
    o->C = C;
    o->K = K;
    o->act0 = act0;
    o->A = A;
    bug_on(K > 256 || A > KERN_NONE);
}

void onehot_forward(const struct kern *k, const struct onehot *o, enum kern_act act, float *y,
                    size_t ldy, const uint8_t *index, const uint8_t *skip,
                    const uint8_t *action, const float *x, size_t ldx, size_t M)
{
    const struct kern_rows rows = {.cat = o->cat.w,
                                   .act = o->A > 0 ? o->all.w + o->act0 * o->all.ld : NULL,
                                   .ld = o->all.ld,
                                   .bias = o->all.b,
                                   .C = o->C,
                                   .K = o->K,
                                   .index = index,
                                   .skip = skip,
                                   .action = o->A > 0 ? action : NULL};
    k->gather(y, ldy, &rows, M, o->all.out_pad);
    if (x && o->dense.in > 0) {
        linear_add(k, &o->dense, act, y, ldy, x, ldx, M);
        return;
    }
    kern_activate(k, act, y, ldy, M, o->all.out_pad);
}

void onehot_refresh(const struct kern *k, struct onehot *o)
{
    linear_refresh(k, &o->cat);
    if (o->dense.in > 0)
        linear_refresh(k, &o->dense);
}

/* ----------------------------------------------------------------------- weight gradients */

/* Columns, or categoricals, of one task. Constant, and irrelevant to the result: columns are
 * independent, and so are the rows of different categoricals. */
enum { DW_STRIP = 64, DW_CATS = 8 };

static size_t job_columns(const struct dw_job *j)
{
    switch (j->kind) {
    case DW_LINEAR:
        return j->linear->out_pad;
    case DW_ONEHOT:
        return j->onehot->all.out_pad;
    case DW_NORM:
        return j->D;
    }
    return 0;
}

static size_t job_strips(const struct dw_job *j)
{
    return (job_columns(j) + DW_STRIP - 1) / DW_STRIP;
}

/* A one-hot layer's tasks: strips of its dense part, then groups of its categoricals. */
static size_t job_tasks(const struct dw_job *j)
{
    const size_t cats = j->kind == DW_ONEHOT ? (j->onehot->C + DW_CATS - 1) / DW_CATS : 0;
    return job_strips(j) + cats;
}

static void zero_rows(float *at, size_t ld, size_t rows, size_t cols)
{
    for (size_t r = 0; r < rows; r++)
        memset(at + r * ld, 0, cols * sizeof *at);
}

struct dw_work {
    const struct kern *k;
    float *grad;
    bool fresh;
    const struct dw_job *jobs;
    size_t n;
};

/* Class rows of categoricals [c0, c1), and with the last of them the action rows. */
static void class_rows(const struct dw_work *w, const struct dw_job *j, size_t c0, size_t c1)
{
    const struct onehot *o = j->onehot;
    const struct kern_rows rows = {
        .C = o->C, .K = o->K, .index = j->index, .skip = j->skip, .action = j->action};
    const size_t ld = o->all.ld, cols = o->all.out_pad;
    float *dcat = w->grad + o->cat.w_at;
    float *dact = o->A > 0 && c1 == o->C ? w->grad + o->all.w_at + o->act0 * ld : NULL;
    if (w->fresh) {
        zero_rows(dcat + c0 * o->K * ld, ld, (c1 - c0) * o->K, cols);
        zero_rows(dact, ld, dact ? o->A : 0, cols);
    }
    w->k->scatter(dcat, dact, ld, &rows, c0, c1, j->dy, j->ldy, j->rows, cols);
}

static void weight_strip(const struct dw_work *w, const struct dw_job *j,
                         const struct linear *l, size_t col0, size_t col1)
{
    if (w->fresh) {
        zero_rows(w->grad + l->w_at + col0, l->ld, l->in, col1 - col0);
        if (l->b_at != SIZE_MAX)
            zero_rows(w->grad + l->b_at + col0, 0, 1, col1 - col0);
    }
    linear_backward_weight(w->k, l, w->grad, j->x, j->ldx, j->dy, j->ldy, j->rows, col0, col1);
}

static void onehot_strip(const struct dw_work *w, const struct dw_job *j, size_t col0,
                         size_t col1)
{
    struct linear dense = j->onehot->dense; /* its rows, with the layer's bias */
    dense.b_at = j->onehot->all.b_at;
    if (!j->x)
        dense.in = 0;
    weight_strip(w, j, &dense, col0, col1);
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static void norm_strip(const struct dw_work *w, const struct dw_job *j, size_t col0,
                       size_t col1)
{
    float *gamma = w->grad + j->gamma_at + col0, *beta = w->grad + j->beta_at + col0;
    const float *dy = j->dy + col0;
    if (w->fresh) {
        zero_rows(gamma, 0, 1, col1 - col0);
        zero_rows(beta, 0, 1, col1 - col0);
    }
    enum { ROWS = 64 };
    for (size_t r = 0; r < j->rows; r += ROWS) {
        const size_t n = least(ROWS, j->rows - r);
        w->k->dot_rows(gamma, dy + r * j->ldy, j->ldy, j->x + r * j->ldx + col0, j->ldx, n,
                       col1 - col0);
        w->k->sum_rows(beta, dy + r * j->ldy, j->ldy, n, col1 - col0);
    }
}

static void dw_task(void *arg, size_t task, size_t worker)
{
    const struct dw_work *w = arg;
    const struct dw_job *j = w->jobs;
    (void)worker;
    for (; task >= job_tasks(j); j++)
        task -= job_tasks(j);
    const size_t col0 = task * DW_STRIP, col1 = least(col0 + DW_STRIP, job_columns(j));
    switch (j->kind) {
    case DW_LINEAR:
        weight_strip(w, j, j->linear, col0, col1);
        return;
    case DW_ONEHOT:
        if (task < job_strips(j)) {
            onehot_strip(w, j, col0, col1);
        } else {
            const size_t c0 = (task - job_strips(j)) * DW_CATS;
            class_rows(w, j, c0, least(c0 + DW_CATS, j->onehot->C));
        }
        return;
    case DW_NORM:
        norm_strip(w, j, col0, col1);
        return;
    }
}

void dw_run(const struct kern *k, struct pool *pool, float *grad, bool fresh,
            const struct dw_job *jobs, size_t n)
{
    struct dw_work work = {k, grad, fresh, jobs, n};
    size_t tasks = 0;
    for (size_t i = 0; i < n; i++)
        tasks += job_tasks(&jobs[i]);
    pool_run(pool, dw_task, &work, tasks);
}
