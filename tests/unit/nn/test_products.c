/* SPDX-License-Identifier: Apache-2.0 */
/* test_products.c - the definition of a product, and that it holds for every shape the
 * networks use, at every number of rows and every position of a row. */
#include "nn_test.h"
#include "suite.h"

#include "par/pool.h"

enum { ROWS_MAX = 320 }; /* more than a panel of the LIBXSMM table */

/* Written out once more, apart from the kernels. */
static void naive(float *y, size_t ldy, const float *x, size_t ldx, const float *w, size_t ldw,
                  size_t M, size_t N, size_t K, bool accumulate)
{
    for (size_t m = 0; m < M; m++)
        for (size_t n = 0; n < N; n++) {
            float sum = accumulate ? y[m * ldy + n] : 0;
            for (size_t k = 0; k < K; k++)
                sum = fmaf(x[m * ldx + k], w[k * ldw + n], sum);
            y[m * ldy + n] = sum;
        }
}

START_TEST(the_reference_is_one_chain_of_fused_multiply_adds)
{
    struct rng r = seeded(1);
    const size_t M = 13, N = 96, K = 53;
    float *x = random_floats(&r, M * 60, 1), *w = random_floats(&r, K * 100, 1);
    float *y = random_floats(&r, M * 99, 1), *z = floats(M * 99);
    for (int accumulate = 0; accumulate < 2; accumulate++) {
        memcpy(z, y, M * 99 * sizeof *y);
        naive(z, 99, x, 60, w, 100, M, N, K, accumulate);
        kern_ref()->gemm(y, 99, x, 60, w, 100, M, N, K, accumulate);
        ck_assert_mem_eq(y, z, M * 99 * sizeof *y);
    }
    free(x);
    free(w);
    free(y);
    free(z);
}
END_TEST

/* Widths and depths of MAG's networks at width D: one-hot parts, heads, packed projections. */
struct shape {
    size_t N, K;
};
static size_t shapes_of(struct shape *s, size_t D)
{
    static const size_t actions[] = {6, 7, 9, 11, 15, 70}, obs[] = {17, 42, 80};
    const size_t latent = D == 256 ? 1024 : 8 * D; /* categoricals x classes */
    size_t n = 0;
    const struct shape fixed[] = {{D, D},     {3 * D, D}, {latent, D}, {D, latent}, {D, 2 * D},
                                  {2 * D, D}, {32, D},    {D, 32},     {D, 3 * D},  {4 * D, D}};
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
        s[n++] = fixed[i];
    for (size_t i = 0; i < 6; i++)
        if (i == 0 || kern_pad(actions[i]) != kern_pad(actions[i - 1]))
            s[n++] = (struct shape){kern_pad(actions[i]), D};
    for (size_t i = 0; i < 3; i++)
        s[n++] = (struct shape){D, obs[i]};
    return n;
}

static const size_t batches[] = {1,  2,  3,  4,  5,  6,  7,  8,  10,  12,  15,
                                 16, 20, 27, 31, 32, 33, 48, 64, 101, 257, 300};

/* All rows once with the reference; then any number of rows from any offset must be those. */
static void check_rows(const struct kern *k, size_t N, size_t K, struct rng *r)
{
    float *x = random_floats(r, ROWS_MAX * K, 1), *w = random_floats(r, K * N, 1);
    float *init = random_floats(r, ROWS_MAX * N, 1), *want = floats(ROWS_MAX * N);
    float *got = floats(ROWS_MAX * N);
    for (int accumulate = 0; accumulate < 2; accumulate++) {
        memcpy(want, init, ROWS_MAX * N * sizeof *want);
        kern_ref()->gemm(want, N, x, K, w, N, ROWS_MAX, N, K, accumulate);
        for (size_t b = 0; b < sizeof batches / sizeof *batches; b++) {
            const size_t M = batches[b], at = rng_below(r, (uint32_t)(ROWS_MAX - M));
            memcpy(got, init + at * N, M * N * sizeof *got);
            k->gemm(got, N, x + at * K, K, w, N, M, N, K, accumulate);
            ck_assert_msg(memcmp(got, want + at * N, M * N * sizeof *got) == 0,
                          "%s: M %zu N %zu K %zu from row %zu, accumulate %d", k->name, M, N, K,
                          at, accumulate);
        }
        /* columns cut in the middle: layers side by side are layers apart */
        const size_t half = kern_pad(N / 2);
        memcpy(got, init, 40 * N * sizeof *got);
        k->gemm(got, N, x, K, w, N, 40, half, K, accumulate);
        if (N > half)
            k->gemm(got + half, N, x, K, w + half, N, 40, N - half, K, accumulate);
        ck_assert_mem_eq(got, want, 40 * N * sizeof *got);
    }
    free(x);
    free(w);
    free(init);
    free(want);
    free(got);
}

START_TEST(a_row_has_the_same_bits_in_any_company)
{
    static const size_t width[] = {32, 64, 128, 256};
    const struct kern *k = table(_i / 4);
    struct shape s[32];
    struct rng r = seeded(2);
    if (!k)
        return;
    const size_t n = shapes_of(s, width[_i % 4]);
    for (size_t i = 0; i < n; i++)
        check_rows(k, s[i].N, s[i].K, &r);
}
END_TEST

/* Bias, product and activation in one call are the three one after the other. */
START_TEST(a_layer_is_bias_product_and_activation)
{
    static const struct shape s[] = {{32, 17}, {96, 256}, {288, 300}, {256, 64}};
    static const size_t rows[] = {1, 31, 40, 300};
    const struct kern *k = plain_table(_i), *ref = kern_ref();
    struct rng r = seeded(4);
    if (!k)
        return;
    for (size_t i = 0; i < 4 * 4 * 6; i++) {
        const size_t N = s[i % 4].N, K = s[i % 4].K, M = rows[i / 4 % 4];
        const enum kern_act act = (enum kern_act)(i / 16 % 3);
        float *x = random_floats(&r, M * K, 1), *w = random_floats(&r, K * N, 1);
        float *got = random_floats(&r, M * N, 1), *want = floats(M * N);
        float *bias = i / 48 ? random_floats(&r, N, 1) : NULL;
        memcpy(want, got, M * N * sizeof *want);
        if (bias)
            ref->fill_rows(want, N, bias, M, N);
        naive(want, N, x, K, w, N, M, N, K, true);
        if (act != KERN_LINEAR)
            (act == KERN_RELU ? ref->relu : ref->elu)(want, want, M * N);
        k->layer(got, N, x, K, w, N, bias, act, M, N, K);
        ck_assert_msg(memcmp(got, want, M * N * sizeof *want) == 0,
                      "%s: M %zu N %zu K %zu act %d bias %d", k->name, M, N, K, (int)act,
                      bias != NULL);
        free(x);
        free(w);
        free(got);
        free(want);
        free(bias);
    }
}
END_TEST

/* [K][N] to [N/32][K][32], `next` floats from one to the next. */
static float *pack(const float *w, size_t N, size_t K, size_t next)
{
    float *p = floats(N / KERN_PAD * next);
    for (size_t k = 0; k < K; k++)
        for (size_t n = 0; n < N; n++)
            p[n / KERN_PAD * next + k * KERN_PAD + n % KERN_PAD] = w[k * N + n];
    return p;
}

/* From a bias, from what is there, or from 0; `next` as a slice of a deeper layer has it. */
START_TEST(a_layer_of_packed_weights_has_the_bits_of_one_that_is_not)
{
    static const struct shape s[] = {{32, 17}, {96, 256}, {288, 300}, {256, 64}};
    static const size_t rows[] = {1, 31, 50, 300};
    const struct kern *k = plain_table(_i), *ref = kern_ref();
    struct rng r = seeded(8);
    if (!k || !k->layer_packed)
        return;
    for (size_t i = 0; i < 4 * 4 * 9; i++) {
        const size_t N = s[i % 4].N, K = s[i % 4].K, M = rows[i / 4 % 4];
        const enum kern_act act = (enum kern_act)(i / 16 % 3);
        const size_t from = i / 48, next = (K + i % 2) * KERN_PAD;
        float *x = random_floats(&r, M * K, 1), *w = random_floats(&r, K * N, 1);
        float *got = random_floats(&r, M * N, 1), *want = floats(M * N);
        float *bias = random_floats(&r, N, 1), *p = pack(w, N, K, next);
        memcpy(want, got, M * N * sizeof *want);
        if (from == 0)
            ref->fill_rows(want, N, bias, M, N);
        naive(want, N, x, K, w, N, M, N, K, from < 2);
        if (act != KERN_LINEAR)
            (act == KERN_RELU ? ref->relu : ref->elu)(want, want, M * N);
        k->layer_packed(got, N, x, K, p, next, from == 0 ? bias : NULL, act, M, N, K,
                        from == 1);
        ck_assert_msg(memcmp(got, want, M * N * sizeof *want) == 0,
                      "%s: M %zu N %zu K %zu act %d from %zu", k->name, M, N, K, (int)act,
                      from);
        free(x);
        free(w);
        free(got);
        free(want);
        free(bias);
        free(p);
    }
}
END_TEST

START_TEST(weight_gradients_are_one_chain_over_rows)
{
    static const size_t rows[] = {1, 7, 40, 255, 256, 257, 600};
    static const struct shape s[] = {{32, 7},   {32, 256}, {64, 17},  {96, 64},
                                     {256, 80}, {256, 96}, {128, 332}};
    const struct kern *k = table(_i);
    struct rng r = seeded(3);
    if (!k)
        return;
    for (size_t i = 0; i < sizeof s / sizeof *s; i++)
        for (size_t j = 0; j < sizeof rows / sizeof *rows; j++) {
            const size_t R = rows[j], N = s[i].N, K = s[i].K;
            float *x = random_floats(&r, R * K, 1), *dy = random_floats(&r, R * N, 1);
            float *dw = random_floats(&r, K * N, 1), *got = floats(K * N);
            memcpy(got, dw, K * N * sizeof *dw);
            kern_ref()->gemm_dw(dw, N, x, K, dy, N, R, N, K);
            k->gemm_dw(got, N, x, K, dy, N, R, N, K);
            ck_assert_msg(memcmp(got, dw, K * N * sizeof *dw) == 0, "%s: R %zu N %zu K %zu",
                          k->name, R, N, K);
            free(x);
            free(dy);
            free(dw);
            free(got);
        }
}
END_TEST

START_TEST(openblas_agrees_within_rounding)
{
    struct rng r = seeded(4);
    const struct kern *k = NULL;
    const size_t M = 37, N = 96, K = 300;
    float *x = random_floats(&r, M * K, 1), *w = random_floats(&r, K * N, 1);
    float *y = floats(M * N), *z = floats(M * N), *dw = floats(K * N), *dv = floats(K * N);
    ck_assert_int_eq(kern_blas(&k), 0);
    k->gemm(y, N, x, K, w, N, M, N, K, false);
    kern_ref()->gemm(z, N, x, K, w, N, M, N, K, false);
    for (size_t i = 0; i < M * N; i++)
        ck_assert_float_eq_tol(y[i], z[i], 1e-4f);
    k->gemm_dw(dw, N, x, K, y, N, M, N, K);
    kern_ref()->gemm_dw(dv, N, x, K, y, N, M, N, K);
    for (size_t i = 0; i < K * N; i++)
        ck_assert_float_eq_tol(dw[i], dv[i], 1e-3f);
    free(x);
    free(w);
    free(y);
    free(z);
    free(dw);
    free(dv);
}
END_TEST

START_TEST(shapes_can_be_prepared_and_nothing_changes)
{
    const struct kern *k = table(_i);
    struct rng r = seeded(6);
    if (!k)
        return;
    kern_prepare(k, 0, 64, 33, 64, 33, 64, false);
    kern_prepare(k, 45, 64, 33, 64, 33, 64, true);
    kern_prepare_packed(k, 0, 33, 64, 33, true);
    kern_prepare_packed(k, 45, 33, 64, 33, false);
    kern_prepare_dw(k, 300, 64, 33, 64, 33, 64);
    check_rows(k, 64, 33, &r);
    ck_assert_double_gt(kern_gflops(k, 32, 64, 64, 0.001), 0);
}
END_TEST

/* Every task has a shape nobody has asked for, and so do its neighbours. */
struct race {
    const struct kern *k;
    float *x, *w, *y, *want;
};
enum { RACE = 24, RACE_N = 64, RACE_K = 71 };
static void race_task(void *arg, size_t task, size_t worker)
{
    const struct race *r = arg;
    const size_t M = 1 + task % 8, at = task * 8 * RACE_N;
    (void)worker;
    r->k->gemm(r->y + at, RACE_N, r->x, RACE_K, r->w, RACE_N, M, RACE_N, RACE_K - task / 8,
               false);
}

START_TEST(threads_may_ask_for_new_shapes_at_once)
{
    struct rng rng = seeded(7);
    struct pool *pool = NULL;
    struct race r = {.k = table(_i)};
    if (!r.k)
        return;
    r.x = random_floats(&rng, 8 * RACE_K, 1);
    r.w = random_floats(&rng, RACE_K * RACE_N, 1);
    r.y = floats(RACE * 8 * RACE_N);
    r.want = floats(RACE * 8 * RACE_N);
    ck_assert_int_eq(pool_open(&pool, 4), 0);
    pool_run(pool, race_task, &r, RACE);
    pool_close(pool);
    struct race ref = {.k = kern_ref(), .x = r.x, .w = r.w, .y = r.want};
    for (size_t i = 0; i < RACE; i++)
        race_task(&ref, i, 0);
    ck_assert_mem_eq(r.y, r.want, RACE * 8 * RACE_N * sizeof(float));
    free(r.x);
    free(r.w);
    free(r.y);
    free(r.want);
}
END_TEST

/* What run.json and checkpoints say must be what multiplies. */
START_TEST(a_table_names_the_library_of_its_products)
{
    const struct kern *k = NULL;
    ck_assert_str_eq(kern_library(kern_ref()), "own");
    ck_assert_int_eq(kern_blas(&k), 0);
    ck_assert_msg(!strncmp(kern_library(k), "OpenBLAS 0.", 11), "%s", kern_library(k));
    ck_assert_uint_gt(strlen(kern_blas_core()), 0);
    if (!kern_supported(ISA_AVX2))
        return;
    ck_assert_int_eq(kern_get(ISA_AVX2, &k), 0);
    ck_assert_int_eq(!strncmp(kern_library(k), "LIBXSMM 1.", 10),
                     !strcmp(k->products, "libxsmm"));
    if (!kern_supported(ISA_AVX512) || strcmp(k->products, "libxsmm") != 0)
        return;
    ck_assert_int_eq(kern_get(ISA_AVX512, &k), 0); /* LIBXSMM is taken */
    ck_assert_str_eq(kern_library(k), "own");
}
END_TEST

START_TEST(auto_is_the_best_table_and_the_unknown_is_refused)
{
    const struct kern *k = NULL;
    ck_assert_int_eq(kern_get(ISA_AUTO, &k), 0);
    if (kern_supported(ISA_AVX512))
        ck_assert_str_eq(k->name, "avx512");
    else
        ck_assert_str_eq(k->name, kern_supported(ISA_AVX2) ? "avx2" : "blas");
    ck_assert_int_eq(kern_get(ISA_REF, &k), 0);
    ck_assert_ptr_eq(k, kern_ref());
    ck_assert_int_ne(kern_get((enum cfg_isa)99, &k), 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("nn products");
    TCase *t = tcase_create("products");
    tcase_set_timeout(t, 240);
    tcase_add_test(t, the_reference_is_one_chain_of_fused_multiply_adds);
    tcase_add_loop_test(t, a_row_has_the_same_bits_in_any_company, 0, 4 * TABLES);
    tcase_add_loop_test(t, a_layer_is_bias_product_and_activation, 0, PLAIN_TABLES);
    tcase_add_loop_test(t, a_layer_of_packed_weights_has_the_bits_of_one_that_is_not, 0,
                        PLAIN_TABLES);
    tcase_add_loop_test(t, weight_gradients_are_one_chain_over_rows, 0, TABLES);
    tcase_add_test(t, openblas_agrees_within_rounding);
    tcase_add_loop_test(t, shapes_can_be_prepared_and_nothing_changes, 0, TABLES);
    tcase_add_loop_test(t, threads_may_ask_for_new_shapes_at_once, 0, TABLES);
    tcase_add_test(t, a_table_names_the_library_of_its_products);
    tcase_add_test(t, auto_is_the_best_table_and_the_unknown_is_refused);
    suite_add_tcase(s, t);
    return run_suite(s);
}
