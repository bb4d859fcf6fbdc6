/* SPDX-License-Identifier: Apache-2.0 */
/* compare.c - are two sets of recorded outputs equal?
 *
 *   parity_compare EXPECTED.safetensors MINE.safetensors
 *
 * Every tensor of the first file must be in the second with the same dtype and shape. Integers
 * and booleans must agree exactly; a float tensor within 1e-4 of its largest entry in
 * magnitude, which leaves room for float32 against float64 (below 1e-5) and none for a wrong
 * term. Names what differs, where and by how much. Exit: 0 equal, 1 not, 64, 65. */
#include "base/err.h"
#include "base/safetensors.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double tolerance = 1e-4;

static double real_at(const struct st_tensor *t, size_t i)
{
    float f;
    double d;
    if (t->dtype == ST_F32) {
        memcpy(&f, (const unsigned char *)t->data + i * sizeof f, sizeof f);
        return (double)f;
    }
    memcpy(&d, (const unsigned char *)t->data + i * sizeof d, sizeof d);
    return d;
}

static size_t elements(const struct st_tensor *t)
{
    size_t n = 1;
    for (size_t i = 0; i < t->rank; i++)
        n *= t->shape[i];
    return n;
}

static int same_floats(const struct st_tensor *a, const struct st_tensor *b)
{
    size_t n = elements(a), where = 0;
    double largest = 0, worst = 0;
    for (size_t i = 0; i < n; i++)
        if (fabs(real_at(a, i)) > largest)
            largest = fabs(real_at(a, i));
    for (size_t i = 0; i < n; i++) {
        double x = real_at(a, i), y = real_at(b, i), d = fabs(x - y);
        if (x == y)
            continue;
        if (!isfinite(d))
            d = HUGE_VAL;
        if (d > worst) {
            worst = d;
            where = i;
        }
    }
    if (worst <= tolerance * largest)
        return 1;
    printf("%s[%zu]: %.9g, expected %.9g: off by %.3g of the largest entry\n", a->name, where,
           real_at(b, where), real_at(a, where), largest > 0 ? worst / largest : HUGE_VAL);
    return 0;
}

static int same_bytes(const struct st_tensor *a, const struct st_tensor *b)
{
    size_t n = elements(a), size = n ? a->bytes / n : 1;
    const unsigned char *x = a->data, *y = b->data;
    size_t differ = 0, first = n;
    for (size_t i = 0; i < n; i++) {
        if (memcmp(x + i * size, y + i * size, size) == 0)
            continue;
        if (!differ++)
            first = i;
    }
    if (differ)
        printf("%s: %zu of %zu entries differ, the first at %zu\n", a->name, differ, n, first);
    return differ == 0;
}

static int same(const struct st_tensor *a, const struct st_tensor *b)
{
    if (!b) {
        printf("%s: missing\n", a->name);
        return 0;
    }
    if (a->dtype != b->dtype || a->rank != b->rank ||
        memcmp(a->shape, b->shape, a->rank * sizeof *a->shape) != 0) {
        printf("%s: another dtype or shape\n", a->name);
        return 0;
    }
    return a->dtype == ST_F32 || a->dtype == ST_F64 ? same_floats(a, b) : same_bytes(a, b);
}

int main(int argc, char **argv)
{
    struct st_reader *r[2];
    if (argc != 3) {
        fprintf(stderr, "usage: parity_compare EXPECTED.safetensors MINE.safetensors\n");
        return EXIT_USAGE;
    }
    for (int i = 0; i < 2; i++) {
        if (st_read_file(&r[i], argv[i + 1])) {
            fprintf(stderr, "parity_compare: %s\n", err_text());
            return EXIT_DATA;
        }
    }
    size_t wrong = 0, n = st_count(r[0]);
    for (size_t i = 0; i < n; i++) {
        const struct st_tensor *a = st_at(r[0], i);
        wrong += !same(a, st_find(r[1], a->name));
    }
    printf("%zu of %zu tensors agree\n", n - wrong, n);
    st_close(r[0]);
    st_close(r[1]);
    return wrong != 0;
}
