/* SPDX-License-Identifier: Apache-2.0 */
/* init.c - initial values from keyed draws. */
#include "nn/init.h"

#include "base/err.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Real elements in PyTorch's order, one draw each. */
static float *draw(const struct param *q, size_t row, const struct draws *d)
{
    const size_t n = q->out * q->in;
    float *u = malloc(n * sizeof *u);
    if (u)
        draws_fill(d, DRAW_INIT, row, 0, u, n);
    return u;
}

int init_uniform(const struct params *p, size_t row, double bound, const struct draws *d)
{
    const struct param *q = &p->table[row];
    float *u = draw(q, row, d);
    if (!u)
        return ERR_NOMEM;
    for (size_t i = 0; i < q->out * q->in; i++)
        u[i] = (float)(bound * (2 * (double)u[i] - 1));
    param_import(q, p->value, u);
    free(u);
    return 0;
}

int init_xavier(const struct params *p, size_t row, const struct draws *d)
{
    const struct param *q = &p->table[row];
    return init_uniform(p, row, sqrt(6.0 / (double)(q->in + q->out)), d);
}

int init_fan_in(const struct params *p, size_t row, size_t fan_in, const struct draws *d)
{
    return init_uniform(p, row, 1 / sqrt((double)fan_in), d);
}

int init_constant(const struct params *p, size_t row, float value)
{
    const struct param *q = &p->table[row];
    float *u = malloc(q->out * q->in * sizeof *u);
    if (!u)
        return ERR_NOMEM;
    for (size_t i = 0; i < q->out * q->in; i++)
        u[i] = value;
    param_import(q, p->value, u);
    free(u);
    return 0;
}

static double dot(const double *a, const double *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

/* n vectors of length len, n <= len, made orthonormal in place: modified Gram-Schmidt, each
 * vector projected twice, which is as good as Householder (Giraud et al., 2005). */
static void orthonormalise(double *v, size_t n, size_t len)
{
    for (size_t i = 0; i < n; i++) {
        double *vi = v + i * len;
        for (int pass = 0; pass < 2; pass++)
            for (size_t j = 0; j < i; j++) {
                const double *vj = v + j * len;
                const double part = dot(vi, vj, len);
                for (size_t e = 0; e < len; e++)
                    vi[e] -= part * vj[e];
            }
        const double scale = 1 / sqrt(dot(vi, vi, len));
        for (size_t e = 0; e < len; e++)
            vi[e] *= scale;
    }
}

int init_orthogonal(const struct params *p, size_t row, const struct draws *d)
{
    const struct param *q = &p->table[row];
    const bool rows = q->out < q->in; /* the fewer of rows and columns become orthonormal */
    const size_t n = rows ? q->out : q->in, len = rows ? q->in : q->out;
    float *u = draw(q, row, d);
    double *v = malloc(n * len * sizeof *v);
    if (!u || !v) {
        free(v);
        free(u);
        return ERR_NOMEM;
    }
    for (size_t o = 0; o < q->out; o++)
        for (size_t i = 0; i < q->in; i++)
            v[rows ? o * len + i : i * len + o] = (double)u[o * q->in + i] - 0.5;
    orthonormalise(v, n, len);
    for (size_t o = 0; o < q->out; o++)
        for (size_t i = 0; i < q->in; i++)
            u[o * q->in + i] = (float)v[rows ? o * len + i : i * len + o];
    param_import(q, p->value, u);
    free(v);
    free(u);
    return 0;
}
