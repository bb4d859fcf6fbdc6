/* SPDX-License-Identifier: Apache-2.0 */
/* layernorm.c - names and offsets around the LayerNorm kernels. */
#include "nn/layernorm.h"

#include "base/err.h"

#include <stdio.h>

void norm_bind(struct norm *n, const struct params *p, const char *name)
{
    char full[PARAM_NAME + 16];
    snprintf(full, sizeof full, "%s.weight", name);
    const size_t g = params_find(p, full);
    snprintf(full, sizeof full, "%s.bias", name);
    const size_t b = params_find(p, full);
    bug_on(g == (size_t)-1 || b == (size_t)-1);
    const struct param *gamma = &p->table[g], *beta = &p->table[b];
    *n = (struct norm){.D = gamma->out,
                       .gamma = p->value + gamma->offset,
                       .beta = p->value + beta->offset,
                       .gamma_at = gamma->offset,
                       .beta_at = beta->offset};
    bug_on(n->D % KERN_PAD != 0);
}

void norm_forward(const struct kern *k, const struct norm *n, float *y, float *xhat,
                  float *rstd, const float *x, size_t M)
{
    k->norm(y, xhat, rstd, x, n->gamma, n->beta, M, n->D);
}

void norm_backward(const struct kern *k, const struct norm *n, float *dx, float *again,
                   const float *dy, const float *xhat, const float *rstd, size_t M)
{
    k->norm_backward(dx, again, dy, xhat, rstd, n->gamma, M, n->D);
}

struct dw_job norm_job(const struct norm *n, const float *xhat, const float *dy, size_t rows)
{
    return (struct dw_job){.kind = DW_NORM,
                           .gamma_at = n->gamma_at,
                           .beta_at = n->beta_at,
                           .D = n->D,
                           .x = xhat,
                           .ldx = n->D,
                           .dy = dy,
                           .ldy = n->D,
                           .rows = rows};
}
