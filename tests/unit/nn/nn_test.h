/* SPDX-License-Identifier: Apache-2.0 */
/* nn_test.h - what the nn tests share: seeded numbers, the list of tables, finite differences. */
#ifndef NN_TEST_H
#define NN_TEST_H

#include "base/rng.h"
#include "nn/kern.h"

#include "kern_private.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static inline float *floats(size_t n)
{
    float *x = aligned_alloc(64, (n * sizeof *x + 127) / 64 * 64);
    ck_assert_ptr_nonnull(x);
    memset(x, 0, n * sizeof *x);
    return x;
}

/* n numbers in (-scale, scale) */
static inline float *random_floats(struct rng *r, size_t n, double scale)
{
    float *x = floats(n);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(scale * (2 * rng_unit(r) - 1));
    return x;
}

static inline struct rng seeded(uint64_t seed)
{
    struct rng r;
    rng_seed(&r, seed);
    return r;
}

/* Table number i of the loop tests, NULL if this CPU cannot run it. */
enum { TABLES = 2 };
static inline const struct kern *table(int i)
{
    const enum cfg_isa isa[TABLES] = {ISA_AVX2, ISA_AVX512};
    const struct kern *k = NULL;
    if (!kern_supported(isa[i]))
        return NULL;
    ck_assert_int_eq(kern_get(isa[i], &k), 0);
    return k;
}

/* Those, the same two without LIBXSMM's products, and the reference without hardware fmaf. */
enum { PLAIN_TABLES = 2 * TABLES + 2 };
static inline const struct kern *plain_table(int i)
{
    const struct kern *plain[] = {&kern_table_avx2, &kern_table_avx512};
    if (i < TABLES)
        return table(i);
    if (i < 2 * TABLES)
        return table(i - TABLES) ? plain[i - TABLES] : NULL;
    return i == 2 * TABLES ? kern_ref() : &kern_table_ref;
}

static inline double dot_double(const float *a, const float *b, size_t n)
{
    double s = 0;
    for (size_t i = 0; i < n; i++)
        s += (double)a[i] * (double)b[i];
    return s;
}

/* Central difference of f along a random direction of x against the gradient g. f is float
 * inside, so eps is large and the tolerance relative to the sizes involved. */
typedef double scalar_fn(void *ctx);
static inline void check_gradient(scalar_fn *f, void *ctx, float *x, const float *g, size_t n,
                                  double eps, uint64_t seed, const char *what)
{
    struct rng r = seeded(seed);
    float *dir = random_floats(&r, n, 1), *old = floats(n);
    memcpy(old, x, n * sizeof *x);
    const double expected = dot_double(g, dir, n);
    for (size_t i = 0; i < n; i++)
        x[i] = old[i] + (float)eps * dir[i];
    const double up = f(ctx);
    for (size_t i = 0; i < n; i++)
        x[i] = old[i] - (float)eps * dir[i];
    const double down = f(ctx);
    memcpy(x, old, n * sizeof *x);
    const double got = (up - down) / (2 * eps);
    const double size = sqrt(dot_double(g, g, n)) + 1e-3;
    ck_assert_msg(fabs(got - expected) < 1e-2 * size, "%s: difference %g, gradient %g, size %g",
                  what, got, expected, size);
    free(dir);
    free(old);
}

#endif
