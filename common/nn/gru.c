/* SPDX-License-Identifier: Apache-2.0 */
/* gru.c - two products and one pointwise kernel, forward and backward (mag.md 4.3). */
#include "nn/gru.h"

#include "base/err.h"

#include <stdio.h>

static void full_name(char out[PARAM_NAME], const char *prefix, const char *part)
{
    const int n = snprintf(out, PARAM_NAME, "%s.%s", prefix, part);
    bug_on(n < 0 || n >= PARAM_NAME);
}

void gru_add_params(struct params *p, const char *prefix, uint32_t group, size_t D)
{
    static const char *const part[] = {"weight_ih_l0", "weight_hh_l0", "bias_ih_l0",
                                       "bias_hh_l0"};
    char name[PARAM_NAME];
    for (size_t i = 0; i < 4; i++) {
        full_name(name, prefix, part[i]);
        params_add(p, name, i < 2 ? PARAM_LINEAR : PARAM_VECTOR, group, 3 * D, D);
    }
}

void gru_bind(struct gru *g, const struct params *p, const char *prefix, size_t D)
{
    char w[PARAM_NAME], b[PARAM_NAME];
    bug_on(D % KERN_PAD != 0);
    g->D = D;
    full_name(w, prefix, "weight_ih_l0");
    full_name(b, prefix, "bias_ih_l0");
    linear_bind(&g->ih, p, w, b);
    full_name(w, prefix, "weight_hh_l0");
    full_name(b, prefix, "bias_hh_l0");
    linear_bind(&g->hh, p, w, b);
}

void gru_want_input(struct gru *g, struct arena *a)
{
    linear_want_input(&g->ih, a);
    linear_want_input(&g->hh, a);
}

void gru_refresh(const struct kern *k, struct gru *g)
{
    linear_refresh(k, &g->ih);
    linear_refresh(k, &g->hh);
}

void gru_infer(const struct kern *k, const struct gru *g, float *out, const float *x,
               const float *h, size_t M, float *scratch)
{
    const size_t D = g->D;
    float *gi = scratch, *gh = scratch + 3 * M * D;
    linear_forward(k, &g->ih, gi, 3 * D, x, D, M);
    linear_forward(k, &g->hh, gh, 3 * D, h, D, M);
    k->gru(out, NULL, gi, gh, h, M, D);
}

size_t gru_tape_bytes(const struct gru *g, size_t rows)
{
    return (2 + 4 + 6) * rows * g->D * sizeof(float) + 5 * 64;
}

void gru_tape_carve(struct gru_tape *t, const struct gru *g, size_t rows, struct arena *arena)
{
    const size_t n = rows * g->D;
    t->rows = rows;
    t->x = ARENA_NEW(arena, float, n);
    t->h = ARENA_NEW(arena, float, n);
    t->gates = ARENA_NEW(arena, float, 4 * n);
    t->d_gi = ARENA_NEW(arena, float, 3 * n);
    t->d_gh = ARENA_NEW(arena, float, 3 * n);
}

void gru_forward(const struct kern *k, const struct gru *g, struct gru_tape *t, float *out,
                 size_t row0, size_t rows, float *scratch)
{
    const size_t D = g->D, at = row0 * D;
    float *gi = scratch, *gh = scratch + 3 * rows * D;
    bug_on(row0 + rows > t->rows);
    linear_forward(k, &g->ih, gi, 3 * D, t->x + at, D, rows);
    linear_forward(k, &g->hh, gh, 3 * D, t->h + at, D, rows);
    k->gru(out, t->gates + 4 * at, gi, gh, t->h + at, rows, D);
}

void gru_backward(const struct kern *k, const struct gru *g, struct gru_tape *t, float *dx,
                  float *dh, const float *dout, size_t row0, size_t rows)
{
    const size_t D = g->D, at = row0 * D;
    float *d_gi = t->d_gi + 3 * at, *d_gh = t->d_gh + 3 * at;
    k->gru_backward(d_gi, d_gh, dh, dout, t->gates + 4 * at, t->h + at, rows, D);
    if (dx)
        linear_backward_input(k, &g->ih, dx, D, d_gi, 3 * D, rows, true);
    if (dh)
        linear_backward_input(k, &g->hh, dh, D, d_gh, 3 * D, rows, true);
}

size_t gru_jobs(struct dw_job *jobs, const struct gru *g, const struct gru_tape *t, size_t rows)
{
    const struct linear *l[] = {&g->ih, &g->hh};
    const float *x[] = {t->x, t->h}, *dy[] = {t->d_gi, t->d_gh};
    for (size_t i = 0; i < 2; i++)
        jobs[i] = (struct dw_job){.kind = DW_LINEAR,
                                  .linear = l[i],
                                  .x = x[i],
                                  .ldx = g->D,
                                  .dy = dy[i],
                                  .ldy = 3 * g->D,
                                  .rows = rows};
    return 2;
}
