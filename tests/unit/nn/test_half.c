/* SPDX-License-Identifier: Apache-2.0 */
/* test_half.c - the definition of half-precision products, and that this machine's table is it
 * to the bit. Machines without AVX512-BF16 test the reference alone. */
#include "nn_test.h"
#include "suite.h"

#include "base/err.h"
#include "nn/half.h"
#include "par/pool.h"

#include <float.h>

enum { ROWS_MAX = 160 };

static float widened(uint16_t h)
{
    const uint32_t u = (uint32_t)h << 16;
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

static uint16_t *packed(const float *w, size_t ldw, size_t N, size_t K)
{
    uint16_t *p = aligned_alloc(64, N * K * sizeof *p);
    ck_assert_ptr_nonnull(p);
    half_pack(p, w, ldw, N, K);
    return p;
}

START_TEST(rounding_goes_to_the_nearest_and_ties_to_even)
{
    struct rng r = seeded(1);
    for (int i = 0; i < 100000; i++) {
        const float x = (float)ldexp(2 * rng_unit(&r) - 1, (int)rng_below(&r, 200) - 100);
        const uint16_t h = half_round(x);
        const double off = fabs((double)widened(h) - (double)x);
        /* the neighbours on both sides are no nearer */
        ck_assert(off <= fabs((double)widened((uint16_t)(h + 1)) - (double)x));
        ck_assert(off <= fabs((double)widened((uint16_t)(h - 1)) - (double)x));
    }
    ck_assert_int_eq(half_round(1.0f), 0x3f80);
    ck_assert_int_eq(half_round(1.0f + 0x1p-8f), 0x3f80);     /* tie, down to even */
    ck_assert_int_eq(half_round(1.0f + 3 * 0x1p-8f), 0x3f82); /* tie, up to even */
    ck_assert_int_eq(half_round(1.0f + 0x1.01p-8f), 0x3f81);  /* beyond the tie */
    ck_assert_int_eq(half_round(FLT_MAX), 0x7f80);            /* no bfloat16 that large */
    ck_assert_int_eq(half_round(-FLT_MIN / 2), 0x8000);       /* denormals are zeros */
    ck_assert_int_eq(half_round((float)INFINITY), 0x7f80);
    ck_assert(isnan(widened(half_round((float)NAN))));
}
END_TEST

START_TEST(the_reference_is_one_chain_in_pairs_with_the_odd_one_first)
{
    enum { M = 5, N = 64, K = 96, LDX = 100, LDW = 70, LDY = 67 };
    struct rng r = seeded(2);
    float *x = random_floats(&r, M * LDX, 1), *w = random_floats(&r, K * LDW, 1);
    float *y = random_floats(&r, M * LDY, 1), *bias = random_floats(&r, N, 1);
    float *before = floats(M * LDY);
    uint16_t *p = packed(w, LDW, N, K);
    for (int start = 0; start < 3; start++) {
        memcpy(before, y, M * LDY * sizeof *y);
        kern_half_ref()->gemm(y, LDY, x, LDX, p, start == 1 ? bias : NULL, M, N, K, start == 2);
        for (size_t m = 0; m < M; m++)
            for (size_t n = 0; n < N; n++) {
                float sum = start == 2 ? before[m * LDY + n] : start == 1 ? bias[n] : 0;
                for (size_t k = 0; k < K; k += 2)
                    for (size_t odd = 2; odd-- > 0;)
                        sum = fmaf(widened(half_round(x[m * LDX + k + odd])),
                                   widened(half_round(w[(k + odd) * LDW + n])), sum);
                ck_assert_msg(memcmp(&sum, &y[m * LDY + n], sizeof sum) == 0,
                              "start %d row %zu column %zu: %a, not %a", start, m, n,
                              (double)y[m * LDY + n], (double)sum);
            }
        for (size_t m = 0; m + 1 < M; m++) /* between rows nothing is touched */
            ck_assert_mem_eq(y + m * LDY + N, before + m * LDY + N, (LDY - N) * sizeof *y);
    }
    free(x);
    free(w);
    free(y);
    free(bias);
    free(before);
    free(p);
}
END_TEST

/* float32 within what rounding both factors to 8 bits may cost: each product is off by at most
 * 2^-8 of itself, to first order. */
START_TEST(half_is_near_float32)
{
    enum { M = 40, N = 256, K = 256 };
    struct rng r = seeded(3);
    float *x = random_floats(&r, M * K, 1), *w = random_floats(&r, K * N, 0.1);
    float *y = floats(M * N), *z = floats(M * N);
    uint16_t *p = packed(w, N, N, K);
    double worst = 0;
    kern_ref()->gemm(z, N, x, K, w, N, M, N, K, false);
    kern_half_ref()->gemm(y, N, x, K, p, NULL, M, N, K, false);
    for (size_t m = 0; m < M; m++)
        for (size_t n = 0; n < N; n++) {
            double mass = 0;
            for (size_t k = 0; k < K; k++)
                mass += fabs((double)x[m * K + k] * (double)w[k * N + n]);
            const double off = fabs((double)y[m * N + n] - (double)z[m * N + n]);
            ck_assert_msg(off <= 1.01 * 0x1p-8 * mass, "off by %g of a mass of %g", off, mass);
            worst = off > worst ? off : worst;
        }
    ck_assert_msg(worst > 1e-4, "suspiciously exact: %g", worst);
    free(x);
    free(w);
    free(y);
    free(z);
    free(p);
}
END_TEST

static const size_t batches[] = {1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 31, 48, 127, 128, 131};

/* All rows once with the reference; any number of rows from any offset must be those. */
static void check_rows(const struct kern_half *h, const float *x, const float *w,
                       const float *init, size_t N, size_t K, struct rng *r)
{
    float *want = floats(ROWS_MAX * N), *got = floats(ROWS_MAX * N);
    uint16_t *p = packed(w, N, N, K);
    for (int start = 0; start < 3; start++) {
        const float *bias = start == 1 ? init : NULL;
        memcpy(want, init, ROWS_MAX * N * sizeof *want);
        kern_half_ref()->gemm(want, N, x, K, p, bias, ROWS_MAX, N, K, start == 2);
        for (size_t b = 0; b < sizeof batches / sizeof *batches; b++) {
            const size_t M = batches[b], at = rng_below(r, (uint32_t)(ROWS_MAX - M));
            memcpy(got, init + at * N, M * N * sizeof *got);
            h->gemm(got, N, x + at * K, K, p, bias, M, N, K, start == 2);
            ck_assert_msg(memcmp(got, want + at * N, M * N * sizeof *got) == 0,
                          "%s: M %zu N %zu K %zu from row %zu, start %d", h->unit, M, N, K, at,
                          start);
        }
    }
    free(want);
    free(got);
    free(p);
}

START_TEST(the_machines_table_is_the_reference_in_every_bit)
{
    static const size_t width[] = {32, 64, 256, 320};
    const struct kern_half *h = NULL;
    const size_t D = width[_i];
    const size_t shape[][2] = {{D, D}, {3 * D, D}, {32, D}, {D, 2 * D}, {4 * D, D}};
    struct rng r = seeded(4);
    if (!kern_half_supported())
        return;
    ck_assert_int_eq(kern_half_get(ISA_AUTO, &h), 0);
    ck_assert_ptr_ne(h, kern_half_ref());
    ck_assert_str_eq(h->name, kern_half_ref()->name);
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++) {
        const size_t N = shape[i][0], K = shape[i][1];
        float *x = random_floats(&r, ROWS_MAX * K, 1), *w = random_floats(&r, K * N, 1);
        float *init = random_floats(&r, ROWS_MAX * N, 1);
        check_rows(h, x, w, init, N, K, &r);
        free(x);
        free(w);
        free(init);
    }
}
END_TEST

/* Numbers so small that products, sums and factors are denormal in all combinations: the
 * thread's mode must not matter. Exponents near FLT_MIN on either side. */
START_TEST(small_numbers_are_zeros_whatever_the_threads_mode)
{
    enum { N = 64, K = 64 };
    const struct kern_half *h = kern_half_ref();
    struct rng r = seeded(5);
    float *x = floats(ROWS_MAX * K), *w = floats(K * N), *init = floats(ROWS_MAX * N);
    for (size_t i = 0; i < ROWS_MAX * K; i++)
        x[i] = (float)ldexp(2 * rng_unit(&r) - 1, -(int)rng_below(&r, 140));
    for (size_t i = 0; i < K * N; i++)
        w[i] = (float)ldexp(2 * rng_unit(&r) - 1, -(int)rng_below(&r, 140));
    for (size_t i = 0; i < ROWS_MAX * N; i++)
        init[i] = (float)ldexp(2 * rng_unit(&r) - 1, -110 - (int)rng_below(&r, 30));
    float *want = floats(ROWS_MAX * N), *got = floats(ROWS_MAX * N);
    uint16_t *p = packed(w, N, N, K);
    memcpy(want, init, ROWS_MAX * N * sizeof *want);
    memcpy(got, init, ROWS_MAX * N * sizeof *got);
    h->gemm(want, N, x, K, p, NULL, ROWS_MAX, N, K, true);
    for (int machine = 0; machine < 2; machine++) {
        if (machine && kern_half_supported())
            ck_assert_int_eq(kern_half_get(ISA_AUTO, &h), 0);
        if (machine)
            check_rows(h, x, w, init, N, K, &r);
        pool_fp_mode(); /* flush to zero from here on */
        memcpy(got, init, ROWS_MAX * N * sizeof *got);
        h->gemm(got, N, x, K, p, NULL, ROWS_MAX, N, K, true);
        ck_assert_mem_eq(got, want, ROWS_MAX * N * sizeof *got);
    }
    free(x);
    free(w);
    free(init);
    free(want);
    free(got);
    free(p);
}
END_TEST

START_TEST(what_cannot_be_had_is_refused_with_a_remedy)
{
    const struct kern_half *h = NULL;
    ck_assert_int_eq(kern_half_get(ISA_AVX2, &h), ERR_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(err_text(), "imagine.precision to float32"));
    ck_assert_ptr_null(h);
    ck_assert_int_eq(kern_half_get(ISA_REF, &h), 0);
    ck_assert_ptr_eq(h, kern_half_ref());
    h = NULL;
    if (kern_half_supported()) {
        ck_assert_int_eq(kern_half_get(ISA_AVX512, &h), 0);
    } else {
        ck_assert_int_eq(kern_half_get(ISA_AUTO, &h), ERR_UNSUPPORTED);
        ck_assert_ptr_nonnull(strstr(err_text(), "AVX512-BF16"));
    }
}
END_TEST

START_TEST(rates_are_measured)
{
    const struct kern *k = NULL;
    double f = 0, h = 0;
    ck_assert_int_eq(kern_get(ISA_AUTO, &k), 0);
    ck_assert_int_eq(kern_half_rates(k, kern_half_ref(), 16, 64, 64, 1, &f, &h), 0);
    ck_assert(isfinite(f) && isfinite(h) && f > 0 && h > 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("nn half");
    TCase *t = tcase_create("half");
    tcase_set_timeout(t, 240);
    tcase_add_test(t, rounding_goes_to_the_nearest_and_ties_to_even);
    tcase_add_test(t, the_reference_is_one_chain_in_pairs_with_the_odd_one_first);
    tcase_add_test(t, half_is_near_float32);
    tcase_add_loop_test(t, the_machines_table_is_the_reference_in_every_bit, 0, 4);
    tcase_add_test(t, small_numbers_are_zeros_whatever_the_threads_mode);
    tcase_add_test(t, what_cannot_be_had_is_refused_with_a_remedy);
    tcase_add_test(t, rates_are_measured);
    suite_add_tcase(s, t);
    return run_suite(s);
}
