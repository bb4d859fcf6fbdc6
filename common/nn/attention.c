/* SPDX-License-Identifier: Apache-2.0 */
/* attention.c - the encoder stack over agents, forward and backward (mag.md 4.2).
 *
 * Backward walks the layers down and leaves, in the tape, the gradient at the output of each
 * linear and of each norm; sums over rows are made later by dw_run. Residual branches: the
 * gradient of a sum is handed to both terms, which is what the copies here are.
 *
 *   x -> qkv -> attention -> ctx -> out -> drop -> + x -> norm1 = x1
 *   x1 -> ff1 -> relu -> drop = f -> ff2 -> drop -> + x1 -> norm2 = next x */
#include "nn/attention.h"

#include "base/err.h"

#include <stdio.h>
#include <string.h>

/* ------------------------------------------------------------------------ positional table */

/* e^x for |x| < 16: Taylor on x / 64, squared six times. */
static double own_exp(double x)
{
    const double r = x / 64;
    double term = 1, sum = 1;
    for (int i = 1; i < 20; i++) {
        term = term * r / i;
        sum += term;
    }
    for (int i = 0; i < 6; i++)
        sum *= sum;
    return sum;
}

/* sin and cos of 0 <= x < 64: Taylor after removing whole turns. */
static void own_sincos(double x, double *s, double *c)
{
    const double turn = 6.283185307179586;
    while (x > turn / 2)
        x -= turn;
    double term = 1;
    *s = *c = 0;
    for (int i = 0; i < 32; i++) {
        if (i % 2 == 0)
            *c += i % 4 == 0 ? term : -term;
        else
            *s += i % 4 == 1 ? term : -term;
        term = term * x / (i + 1);
    }
}

void attention_positions(float *pos, size_t N, size_t D)
{
    const double ln_10000 = 9.210340371976184;
    for (size_t d = 0; d < D; d += 2) {
        const double rate = own_exp(-ln_10000 * (double)d / (double)D);
        for (size_t n = 0; n < N; n++) {
            double s, c;
            own_sincos((double)n * rate, &s, &c);
            pos[n * D + d] = (float)s;
            if (d + 1 < D)
                pos[n * D + d + 1] = (float)c;
        }
    }
}

/* -------------------------------------------------------------------------------- binding */

static void layer_name(char out[PARAM_NAME], const char *prefix, size_t i, const char *part)
{
    const int n = snprintf(out, PARAM_NAME, "%s.layers.%zu.%s", prefix, i, part);
    bug_on(n < 0 || n >= PARAM_NAME);
}

static void bind_linear(struct linear *l, const struct params *p, const char *prefix, size_t i,
                        const char *weight, const char *bias)
{
    char w[PARAM_NAME], b[PARAM_NAME];
    layer_name(w, prefix, i, weight);
    layer_name(b, prefix, i, bias);
    linear_bind(l, p, w, b);
}

void attention_add_params(struct params *p, const char *prefix, uint32_t group, size_t D,
                          size_t layers)
{
    static const struct {
        const char *name;
        enum param_kind kind;
        size_t wide; /* multiples of D */
    } part[] = {{"self_attn.in_proj_weight", PARAM_LINEAR, 3},
                {"self_attn.in_proj_bias", PARAM_VECTOR, 3},
                {"self_attn.out_proj.weight", PARAM_LINEAR, 1},
                {"self_attn.out_proj.bias", PARAM_VECTOR, 1},
                {"linear1.weight", PARAM_LINEAR, 1},
                {"linear1.bias", PARAM_VECTOR, 1},
                {"linear2.weight", PARAM_LINEAR, 1},
                {"linear2.bias", PARAM_VECTOR, 1},
                {"norm1.weight", PARAM_VECTOR, 1},
                {"norm1.bias", PARAM_VECTOR, 1},
                {"norm2.weight", PARAM_VECTOR, 1},
                {"norm2.bias", PARAM_VECTOR, 1}};
    char name[PARAM_NAME];
    for (size_t i = 0; i < layers; i++)
        for (size_t j = 0; j < sizeof part / sizeof *part; j++) {
            layer_name(name, prefix, i, part[j].name);
            params_add(p, name, part[j].kind, group, part[j].wide * D, D);
        }
}

size_t attention_bytes(size_t D, size_t layers, size_t N, bool backward)
{
    const size_t slack = 64 * (1 + 4 * layers); /* every piece is rounded up to 64 bytes */
    return sizeof(float) * (N * D + (backward ? layers * 6 * D * D : 0)) + slack;
}

int attention_bind(struct attention *a, const struct params *p, const char *prefix, size_t D,
                   size_t heads, size_t layers, size_t N, bool backward, struct arena *arena)
{
    if (N == 0 || N > ATTENTION_AGENTS)
        return err_set(ERR_INVAL, "%zu agents: the positional table holds 1 to %d", N,
                       ATTENTION_AGENTS);
    if (layers > ATTENTION_LAYERS || heads == 0 || D % heads != 0 || D % KERN_PAD != 0)
        return err_set(ERR_INVAL, "attention of width %zu with %zu heads and %zu layers", D,
                       heads, layers);
    *a = (struct attention){.D = D, .heads = heads, .layers = layers, .N = N};
    a->pos = arena_must(arena, N * D * sizeof *a->pos);
    attention_positions(a->pos, N, D);
    for (size_t i = 0; i < layers; i++) {
        struct attention_layer *l = &a->layer[i];
        char name[PARAM_NAME];
        bind_linear(&l->qkv, p, prefix, i, "self_attn.in_proj_weight",
                    "self_attn.in_proj_bias");
        bind_linear(&l->out, p, prefix, i, "self_attn.out_proj.weight",
                    "self_attn.out_proj.bias");
        bind_linear(&l->ff1, p, prefix, i, "linear1.weight", "linear1.bias");
        bind_linear(&l->ff2, p, prefix, i, "linear2.weight", "linear2.bias");
        layer_name(name, prefix, i, "norm1");
        norm_bind(&l->n1, p, name);
        layer_name(name, prefix, i, "norm2");
        norm_bind(&l->n2, p, name);
        if (backward) {
            linear_want_input(&l->qkv, arena);
            linear_want_input(&l->out, arena);
            linear_want_input(&l->ff1, arena);
            linear_want_input(&l->ff2, arena);
        }
    }
    return 0;
}

size_t attention_linears(struct linear **out, struct attention *a)
{
    size_t n = 0;
    for (size_t i = 0; i < a->layers; i++) {
        out[n++] = &a->layer[i].qkv;
        out[n++] = &a->layer[i].out;
        out[n++] = &a->layer[i].ff1;
        out[n++] = &a->layer[i].ff2;
    }
    return n;
}

void attention_refresh(const struct kern *k, struct attention *a)
{
    struct linear *l[4 * ATTENTION_LAYERS];
    for (size_t n = attention_linears(l, a); n-- > 0;)
        linear_refresh(k, l[n]);
}

/* -------------------------------------------------------------------------------- forward */

/* x + P, row by row: agent = row modulo N */
static void add_positions(const struct kern *k, const struct attention *a, float *out,
                          const float *x, size_t rows)
{
    const size_t group = a->N * a->D;
    if (out != x)
        memcpy(out, x, rows * a->D * sizeof *out);
    for (size_t r = 0; r < rows; r += a->N)
        k->add(out + r * a->D, a->pos, group);
}

size_t attention_scratch(const struct attention *a, size_t rows)
{
    return rows * a->D * 5; /* qkv, ctx or hidden, branch */
}

void attention_infer(const struct kern *k, const struct attention *a, float *y, const float *x,
                     size_t rows, float *scratch)
{
    const size_t D = a->D, n = rows * D;
    float *qkv = scratch, *ctx = qkv + 3 * n, *branch = ctx + n;
    const struct kern_attn at = {.G = rows / a->N, .N = a->N, .H = a->heads, .D = D};
    add_positions(k, a, y, x, rows);
    for (size_t i = 0; i < a->layers; i++) {
        const struct attention_layer *l = &a->layer[i];
        linear_forward(k, &l->qkv, qkv, 3 * D, y, D, rows);
        k->attn(ctx, NULL, qkv, &at);
        linear_forward(k, &l->out, branch, D, ctx, D, rows);
        k->add(branch, y, n);
        norm_forward(k, &l->n1, y, NULL, NULL, branch, rows);
        linear_layer(k, &l->ff1, KERN_RELU, ctx, D, y, D, rows);
        linear_forward(k, &l->ff2, branch, D, ctx, D, rows);
        k->add(branch, y, n);
        norm_forward(k, &l->n2, y, NULL, NULL, branch, rows);
    }
}

static size_t weights_of(const struct attention *a, size_t rows)
{
    return rows * a->heads * a->N; /* rows / N groups of [heads][N][N] */
}

static size_t site_size(const struct attention *a, enum drop_site site, size_t rows)
{
    return site == DROP_ATTN ? weights_of(a, rows) : rows * a->D;
}

/* One list for size and carving, so that they cannot disagree. */
static size_t tape_layer(struct attention_tape_layer *t, const struct attention *a, size_t rows,
                         bool masks, struct arena *arena)
{
    const size_t n = rows * a->D;
    const struct {
        float **at;
        size_t floats;
    } part[] = {{&t->x, n},        {&t->qkv, 3 * n},   {&t->prob, weights_of(a, rows)},
                {&t->ctx, n},      {&t->xhat1, n},     {&t->rstd1, rows},
                {&t->x1, n},       {&t->f, n},         {&t->xhat2, n},
                {&t->rstd2, rows}, {&t->d_qkv, 3 * n}, {&t->d_out, n},
                {&t->d_f1, n},     {&t->d_f2, n},      {&t->d_y1, n},
                {&t->d_y2, n}};
    size_t bytes = 0;
    for (size_t i = 0; i < sizeof part / sizeof *part; i++) {
        bytes += part[i].floats * sizeof(float) + 64;
        if (arena)
            *part[i].at = ARENA_NEW(arena, float, part[i].floats);
    }
    for (size_t s = 0; s < ATTENTION_SITES && masks; s++) {
        const size_t size = site_size(a, (enum drop_site)s, rows);
        bytes += size + 64;
        if (arena)
            t->mask[s] = ARENA_NEW(arena, uint8_t, size);
    }
    return bytes;
}

size_t attention_tape_bytes(const struct attention *a, size_t rows, bool masks)
{
    struct attention_tape_layer unused = {0};
    return a->layers * tape_layer(&unused, a, rows, masks, NULL);
}

void attention_tape_carve(struct attention_tape *t, const struct attention *a, size_t rows,
                          bool masks, struct arena *arena)
{
    *t = (struct attention_tape){.rows = rows, .keep = 1};
    for (size_t i = 0; i < a->layers; i++)
        tape_layer(&t->layer[i], a, rows, masks, arena);
}

void attention_mask(const struct kern *k, const struct attention *a, struct attention_tape *t,
                    size_t layer, enum drop_site site, size_t row0, size_t rows, const float *u,
                    float rate)
{
    bug_on(!t->layer[layer].mask[site] || row0 + rows > t->rows);
    float keep = 1 / (1 - rate);
    if (t->keep != keep) /* set before the loop when many threads draw masks */
        t->keep = keep;
    k->drop_mask(t->layer[layer].mask[site] + site_size(a, site, row0), u, rate,
                 site_size(a, site, rows));
}

/* The masks of a site for rows from row0 on, or NULL while dropout is off. */
static const uint8_t *mask_at(const struct attention *a, const struct attention_tape *t,
                              size_t i, enum drop_site site, size_t row0)
{
    return t->drop ? t->layer[i].mask[site] + site_size(a, site, row0) : NULL;
}

static void drop(const struct kern *k, const struct attention_tape *t, float *y,
                 const uint8_t *mask, size_t n)
{
    if (mask)
        k->drop(y, mask, t->keep, n);
}

void attention_forward(const struct kern *k, const struct attention *a,
                       struct attention_tape *t, float *y, const float *x, size_t row0,
                       size_t rows, float *scratch)
{
    const size_t D = a->D, n = rows * D, at = row0 * D;
    float *branch = scratch;
    bug_on(row0 % a->N != 0 || rows % a->N != 0 || row0 + rows > t->rows);
    if (a->layers == 0) {
        add_positions(k, a, y, x, rows);
        return;
    }
    add_positions(k, a, t->layer[0].x + at, x, rows);
    for (size_t i = 0; i < a->layers; i++) {
        const struct attention_layer *l = &a->layer[i];
        const struct attention_tape_layer *p = &t->layer[i];
        const struct kern_attn ka = {.G = rows / a->N,
                                     .N = a->N,
                                     .H = a->heads,
                                     .D = D,
                                     .mask = mask_at(a, t, i, DROP_ATTN, row0),
                                     .keep = t->keep};
        float *next = i + 1 < a->layers ? t->layer[i + 1].x + at : y;
        linear_forward(k, &l->qkv, p->qkv + 3 * at, 3 * D, p->x + at, D, rows);
        k->attn(p->ctx + at, p->prob + weights_of(a, row0), p->qkv + 3 * at, &ka);
        linear_forward(k, &l->out, branch, D, p->ctx + at, D, rows);
        drop(k, t, branch, mask_at(a, t, i, DROP_OUT, row0), n);
        k->add(branch, p->x + at, n);
        norm_forward(k, &l->n1, p->x1 + at, p->xhat1 + at, p->rstd1 + row0, branch, rows);
        linear_layer(k, &l->ff1, KERN_RELU, p->f + at, D, p->x1 + at, D, rows);
        drop(k, t, p->f + at, mask_at(a, t, i, DROP_FF, row0), n);
        linear_forward(k, &l->ff2, branch, D, p->f + at, D, rows);
        drop(k, t, branch, mask_at(a, t, i, DROP_FFOUT, row0), n);
        k->add(branch, p->x1 + at, n);
        norm_forward(k, &l->n2, next, p->xhat2 + at, p->rstd2 + row0, branch, rows);
    }
}

/* ------------------------------------------------------------------------------- backward */

/* One layer: dy in p->d_y2 (already there), gradient at its input into dx (written). */
static void layer_backward(const struct kern *k, const struct attention *a,
                           const struct attention_tape *t, size_t i, float *dx, size_t row0,
                           size_t rows)
{
    const struct attention_layer *l = &a->layer[i];
    const struct attention_tape_layer *p = &t->layer[i];
    const size_t D = a->D, n = rows * D, at = row0 * D;
    const struct kern_attn ka = {.G = rows / a->N,
                                 .N = a->N,
                                 .H = a->heads,
                                 .D = D,
                                 .mask = mask_at(a, t, i, DROP_ATTN, row0),
                                 .keep = t->keep};
    float *d_y1 = p->d_y1 + at, *d_f2 = p->d_f2 + at, *d_f1 = p->d_f1 + at;
    float *d_out = p->d_out + at, *d_qkv = p->d_qkv + 3 * at;

    /* norm2's input is x1 + drop(ff2(f)): both get its gradient */
    norm_backward(k, &l->n2, d_f2, d_y1, p->d_y2 + at, p->xhat2 + at, p->rstd2 + row0, rows);
    drop(k, t, d_f2, mask_at(a, t, i, DROP_FFOUT, row0), n);
    linear_backward_input(k, &l->ff2, d_f1, D, d_f2, D, rows, false);
    drop(k, t, d_f1, mask_at(a, t, i, DROP_FF, row0), n);
    /* f is relu's output after dropout: where it was dropped, d_f1 is 0 already */
    k->relu_backward(d_f1, p->f + at, n);
    linear_backward_input(k, &l->ff1, d_y1, D, d_f1, D, rows, true);

    /* norm1's input is x + drop(out(ctx)) */
    norm_backward(k, &l->n1, d_out, dx, d_y1, p->xhat1 + at, p->rstd1 + row0, rows);
    drop(k, t, d_out, mask_at(a, t, i, DROP_OUT, row0), n);
    float *d_ctx = dx + n; /* the second third of the scratch */
    linear_backward_input(k, &l->out, d_ctx, D, d_out, D, rows, false);
    k->attn_backward(d_qkv, d_ctx, p->prob + weights_of(a, row0), p->qkv + 3 * at, &ka);
    linear_backward_input(k, &l->qkv, dx, D, d_qkv, 3 * D, rows, true);
}

void attention_backward(const struct kern *k, const struct attention *a,
                        struct attention_tape *t, float *dx, const float *dy, size_t row0,
                        size_t rows, float *scratch)
{
    const size_t n = rows * a->D, at = row0 * a->D;
    const float *from = dy;
    for (size_t i = a->layers; i-- > 0;) {
        memcpy(t->layer[i].d_y2 + at, from, n * sizeof *from);
        layer_backward(k, a, t, i, scratch, row0, rows);
        from = scratch;
    }
    if (dx)
        k->add(dx, from, n);
}

static struct dw_job linear_job(const struct linear *l, const float *x, const float *dy,
                                size_t rows)
{
    return (struct dw_job){.kind = DW_LINEAR,
                           .linear = l,
                           .x = x,
                           .ldx = l->in,
                           .dy = dy,
                           .ldy = l->out_pad,
                           .rows = rows};
}

size_t attention_jobs(struct dw_job *jobs, const struct attention *a,
                      const struct attention_tape *t, size_t rows)
{
    size_t n = 0;
    for (size_t i = 0; i < a->layers; i++) {
        const struct attention_layer *l = &a->layer[i];
        const struct attention_tape_layer *p = &t->layer[i];
        jobs[n++] = linear_job(&l->qkv, p->x, p->d_qkv, rows);
        jobs[n++] = linear_job(&l->out, p->ctx, p->d_out, rows);
        jobs[n++] = norm_job(&l->n1, p->xhat1, p->d_y1, rows);
        jobs[n++] = linear_job(&l->ff1, p->x1, p->d_f1, rows);
        jobs[n++] = linear_job(&l->ff2, p->f, p->d_f2, rows);
        jobs[n++] = norm_job(&l->n2, p->xhat2, p->d_y2, rows);
    }
    return n;
}
