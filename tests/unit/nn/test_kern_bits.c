/* SPDX-License-Identifier: Apache-2.0 */
/* test_kern_bits.c - every slot of every table equals the reference in every bit.
 *
 * Each slot is run on sizes with and without partial vectors, at odd addresses; the output
 * buffers are compared whole, so a store past the end shows too. */
#include "nn_test.h"
#include "suite.h"

enum { IN = 1 << 14, OUT = 1 << 14 };

struct job {
    const float *a, *b, *u; /* random; u in [0,1) */
    const uint8_t *byte;    /* 0..255 */
    float *out;             /* OUT floats, zeroed but for the first IN / 2 */
    uint8_t *bytes;         /* OUT bytes, zeroed */
    size_t n;
};

/* Rows and widths derived from the size of the case. */
#define CLASSES (1 + j->n % 37)
#define ROWS (1 + j->n % 19)
#define WIDE (32 * (1 + j->n % 5))

#define MAP_SLOT(name)                                                                         \
    static void do_##name(const struct kern *k, const struct job *j)                           \
    {                                                                                          \
        k->name(j->out + 1, j->a + 1, j->n);                                                   \
    }
MAP_SLOT(relu)
MAP_SLOT(elu)
MAP_SLOT(exp)
MAP_SLOT(tanh)
MAP_SLOT(sigmoid)
MAP_SLOT(softplus)
MAP_SLOT(add)
MAP_SLOT(relu_backward)
MAP_SLOT(elu_backward)
static void do_log(const struct kern *k, const struct job *j)
{
    k->log(j->out + 1, j->u + 1, j->n);
}
static void do_axpy(const struct kern *k, const struct job *j)
{
    k->axpy(j->out + 1, 0.3f, j->a + 1, j->n);
}
static void do_scale(const struct kern *k, const struct job *j)
{
    k->scale(j->out + 1, 0.3f, j->n);
}
static void do_drop(const struct kern *k, const struct job *j)
{
    k->drop_mask(j->bytes + 1, j->u, 0.1f, j->n);
    k->drop(j->out + 1, j->bytes + 1, 1 / 0.9f, j->n);
}
static void do_transpose(const struct kern *k, const struct job *j)
{
    k->transpose(j->out, 64, j->a, 64, ROWS, j->n % 64);
}
static void do_rows(const struct kern *k, const struct job *j)
{
    k->fill_rows(j->out, WIDE, j->a, ROWS, WIDE);
    k->sum_rows(j->out + 4096, j->b, 200, ROWS, WIDE);
    k->dot_rows(j->out + 6000, j->b, 200, j->a, 170, ROWS, WIDE);
    k->sum_rows(j->out + 8000, j->b, 200, ROWS, j->n % 100);
}
static void do_gather(const struct kern *k, const struct job *j)
{
    struct kern_rows r = {.cat = j->a,
                          .act = j->b,
                          .ld = 160,
                          .bias = j->n % 3 ? j->b : NULL,
                          .C = 4,
                          .K = 5,
                          .skip = j->n % 4 ? NULL : j->byte,
                          .action = j->bytes + 8192,
                          .index = j->bytes + 4096};
    for (size_t i = 0; i < 4 * ROWS; i++)
        j->bytes[4096 + i] = j->byte[i] % 5;
    for (size_t i = 0; i < ROWS; i++)
        j->bytes[8192 + i] = j->byte[i] % 9 == 8 ? KERN_NONE : j->byte[i] % 9;
    k->gather(j->out, 160, &r, ROWS, WIDE);
    k->scatter(j->out + 4096, j->out + 9000, 160, &r, 0, r.C, j->b, 160, ROWS, WIDE);
}
static void do_softmax(const struct kern *k, const struct job *j)
{
    k->softmax(j->out + 1, j->a, ROWS, CLASSES, 40);
    k->log_softmax(j->out + 2048, j->a, ROWS, CLASSES, 40);
    k->sample(j->bytes, j->out + 1, j->u, ROWS, CLASSES, 40);
    k->draw(j->bytes + 64, j->a, j->u, ROWS, CLASSES, 40);
    k->softmax_backward(j->out + 4096, j->out + 1, j->b, ROWS, CLASSES, 40);
}
static void do_kl(const struct kern *k, const struct job *j)
{
    k->softmax(j->out, j->a, ROWS, CLASSES, 40);
    k->softmax(j->out + 1024, j->b, ROWS, CLASSES, 40);
    k->kl(j->out + 2048, j->out, j->out + 1024, ROWS, CLASSES, 40);
    k->kl_backward(j->out + 3072, j->out + 5000, j->out, j->out + 1024, 0.2f, 0.8f, ROWS,
                   CLASSES, 40);
}
static void do_norm(const struct kern *k, const struct job *j)
{
    k->norm(j->out, j->out + 4096, j->out + 8192, j->a, j->b, j->u, ROWS, WIDE);
    k->norm_backward(j->out + 9000, j->n % 2 ? NULL : j->out + 14000, j->b, j->out + 4096,
                     j->out + 8192, j->u, ROWS, WIDE);
}
static void do_gru(const struct kern *k, const struct job *j)
{
    const size_t rows = 1 + j->n % 5;
    k->gru(j->out, j->out + 1024, j->a, j->b, j->u, rows, WIDE);
    k->gru_backward(j->out + 5000, j->out + 8000, j->out + 12000, j->b, j->out + 1024, j->u,
                    rows, WIDE);
}
static void do_attn(const struct kern *k, const struct job *j)
{
    const size_t heads[] = {1, 2, 4, 8};
    const struct kern_attn a = {.G = 2,
                                .N = 1 + j->n % 18,
                                .H = heads[j->n % 4],
                                .D = 32 * (1 + j->n % 2),
                                .mask = j->n % 3 ? NULL : j->byte,
                                .keep = 1.25f};
    k->attn(j->out, j->out + 2400, j->a, &a);
    k->attn_backward(j->out + 8000, j->b, j->out + 2400, j->a, &a);
}
static void do_loss(const struct kern *k, const struct job *j)
{
    const float *weight = j->n % 2 ? j->u : NULL;
    k->smooth_l1(j->out, j->out + 64, 40, j->a, 40, j->b, 40, weight, 0.5f, ROWS, CLASSES);
    for (size_t i = 0; i < 1024; i++)
        j->bytes[i] = j->byte[i] & 1;
    k->bernoulli(j->out + 2048, j->out + 3000, 40, j->a, 40, j->bytes, CLASSES, weight, 0.5f,
                 ROWS, CLASSES);
}
static void do_adam(const struct kern *k, const struct job *j)
{
    const struct kern_adam c = {.scale = 0.7f,
                                .l2 = 1e-3f,
                                .b1 = 0.9f,
                                .c1 = 0.1f,
                                .b2 = 0.999f,
                                .c2 = 0.001f,
                                .step = 1e-3f,
                                .root = 3.0f,
                                .eps = 1e-8f};
    memcpy(j->out + 6000, j->u, 2100 * sizeof(float));
    k->adam(j->out + 1, j->out + 3001, j->out + 6001, j->b, j->n, &c);
}
static void do_sums(const struct kern *k, const struct job *j)
{
    const double d[2] = {k->dsum(j->a + 1, 3 * j->n), k->dsumsq(j->a + 1, 3 * j->n)};
    j->out[0] = k->sum16(j->a + 1, j->n);
    j->out[1] = k->dot16(j->a + 1, j->b, j->n);
    memcpy(j->out + 2, d, sizeof d);
}
static void do_product(const struct kern *k, const struct job *j)
{
    k->gemm(j->out, 170, j->a, 40, j->b, 165, ROWS, WIDE, CLASSES, j->n % 2);
    k->gemm_dw(j->out + 8192, 170, j->a, 40, j->b, 165, ROWS, WIDE, CLASSES);
}

static const struct slot {
    const char *name;
    void (*run)(const struct kern *k, const struct job *j);
} slots[] = {{"relu", do_relu},
             {"elu", do_elu},
             {"exp", do_exp},
             {"log", do_log},
             {"tanh", do_tanh},
             {"sigmoid", do_sigmoid},
             {"softplus", do_softplus},
             {"add", do_add},
             {"relu_backward", do_relu_backward},
             {"elu_backward", do_elu_backward},
             {"axpy", do_axpy},
             {"scale", do_scale},
             {"drop", do_drop},
             {"transpose", do_transpose},
             {"rows", do_rows},
             {"gather, scatter", do_gather},
             {"softmax", do_softmax},
             {"kl", do_kl},
             {"norm", do_norm},
             {"gru", do_gru},
             {"attn", do_attn},
             {"losses", do_loss},
             {"adam", do_adam},
             {"sums", do_sums},
             {"products", do_product}};

static const size_t sizes[] = {1,  2,  7,  8,  9,  15,  16,  17,  23,  24,   31,  32,
                               33, 47, 48, 63, 65, 100, 127, 255, 256, 1000, 2000};

static void compare(const struct kern *ref, const struct kern *k)
{
    struct rng r = seeded(5);
    float *a = random_floats(&r, IN, 6), *b = random_floats(&r, IN, 3);
    float *u = random_floats(&r, IN, 0.5), *want = floats(OUT), *got = floats(OUT);
    uint8_t *byte = calloc(IN, 1), *want_b = calloc(OUT, 1), *got_b = calloc(OUT, 1);
    for (size_t i = 0; i < IN; i++) {
        u[i] += 0.5f;
        byte[i] = (uint8_t)rng_below(&r, 3);
    }
    for (size_t s = 0; s < sizeof slots / sizeof *slots; s++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            struct job j = {.a = a, .b = b, .u = u, .byte = byte, .n = sizes[i]};
            for (int which = 0; which < 2; which++) {
                j.out = which ? got : want;
                j.bytes = which ? got_b : want_b;
                memset(j.bytes, 0, OUT);
                memset(j.out, 0, OUT * sizeof(float));
                memcpy(j.out, a + 77, IN / 4 * sizeof(float));
                slots[s].run(which ? k : ref, &j);
            }
            size_t at = 0;
            while (at < OUT && memcmp(want + at, got + at, sizeof(float)) == 0)
                at++;
            ck_assert_msg(at == OUT, "%s of %s, size %zu: float %zu is %a, not %a",
                          slots[s].name, k->name, sizes[i], at, (double)got[at],
                          (double)want[at]);
            ck_assert_msg(memcmp(want_b, got_b, OUT) == 0, "%s of %s, size %zu: bytes",
                          slots[s].name, k->name, sizes[i]);
        }
    free(a);
    free(b);
    free(u);
    free(want);
    free(got);
    free(byte);
    free(want_b);
    free(got_b);
}

START_TEST(every_slot_equals_the_reference_in_every_bit)
{
    const struct kern *k = table(_i);
    if (k)
        compare(kern_ref(), k);
}
END_TEST

START_TEST(the_table_without_libxsmm_equals_it_too)
{
    const struct kern *plain[TABLES] = {&kern_table_avx2, &kern_table_avx512};
    if (table(_i))
        compare(kern_ref(), plain[_i]);
}
END_TEST

START_TEST(fused_multiply_add_in_software_gives_the_same_bits)
{
    if (kern_ref() == &kern_table_ref_fma)
        compare(&kern_table_ref, &kern_table_ref_fma);
}
END_TEST

/* More rows than a block of the kernel, peaked classes, rows to skip, actions that add none. */
START_TEST(scatter_adds_rows_in_their_order)
{
    enum { M = 600, C = 5, K = 7, N = 160, A = 9 };
    const struct kern *k = plain_table(_i);
    struct rng r = seeded(11);
    if (!k)
        return;
    static uint8_t index[M * C], skip[M], action[M];
    for (size_t i = 0; i < M * C; i++)
        index[i] = (uint8_t)(rng_below(&r, 3) ? 4 : rng_below(&r, K));
    for (size_t i = 0; i < M; i++) {
        skip[i] = rng_below(&r, 10) == 0;
        action[i] = (uint8_t)(rng_below(&r, 5) ? rng_below(&r, A) : KERN_NONE);
    }
    const struct kern_rows rows = {
        .C = C, .K = K, .index = index, .skip = skip, .action = action};
    float *dy = random_floats(&r, M * N, 1), *got = random_floats(&r, (C * K + A) * N, 1);
    float *want = floats((C * K + A) * N);
    memcpy(want, got, (C * K + A) * N * sizeof *want);
    for (size_t m = 0; m < M; m++)
        for (size_t n = 0; n < N; n++) {
            for (size_t c = 0; c < C && !skip[m]; c++)
                want[(c * K + index[m * C + c]) * N + n] += dy[m * N + n];
            if (action[m] != KERN_NONE)
                want[(C * K + (size_t)action[m]) * N + n] += dy[m * N + n];
        }
    k->scatter(got, NULL, N, &rows, 0, 2, dy, N, M, N);
    k->scatter(got, got + C * K * N, N, &rows, 2, C, dy, N, M, N);
    ck_assert_mem_eq(got, want, (C * K + A) * N * sizeof *got);
    free(dy);
    free(got);
    free(want);
}
END_TEST

/* Rows with classes ruled out, classes past a multiple of sixteen, few and many categoricals. */
START_TEST(a_draw_is_softmax_and_sample)
{
    static const size_t classes[] = {1, 7, 16, 31, 32, 70, 256};
    enum { STRIDE = 260, MOST = 40 };
    const struct kern *k = plain_table(_i);
    struct rng r = seeded(12);
    if (!k)
        return;
    float *x = random_floats(&r, MOST * STRIDE, 8), *p = floats(MOST * STRIDE);
    float *u = random_floats(&r, MOST, 0.5);
    for (size_t i = 0; i < MOST; i++)
        u[i] += 0.5f;
    u[3] = 0;
    u[4] = 0x1.fffffep-1f;
    for (size_t i = 0; i < MOST * STRIDE; i += 1 + rng_below(&r, 5))
        x[i] = -1e10f;
    for (size_t c = 0; c < sizeof classes / sizeof *classes; c++)
        for (size_t n = 1; n <= MOST; n += 13) {
            uint8_t want[MOST], got[MOST];
            kern_ref()->softmax(p, x, n, classes[c], STRIDE);
            kern_ref()->sample(want, p, u, n, classes[c], STRIDE);
            k->draw(got, x, u, n, classes[c], STRIDE);
            ck_assert_msg(memcmp(got, want, n) == 0, "%s: %zu of %zu classes", k->name, n,
                          classes[c]);
        }
    free(x);
    free(p);
    free(u);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("nn kernels");
    TCase *t = tcase_create("bits");
    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, every_slot_equals_the_reference_in_every_bit, 0, TABLES);
    tcase_add_loop_test(t, the_table_without_libxsmm_equals_it_too, 0, TABLES);
    tcase_add_test(t, fused_multiply_add_in_software_gives_the_same_bits);
    tcase_add_loop_test(t, scatter_adds_rows_in_their_order, 0, PLAIN_TABLES);
    tcase_add_loop_test(t, a_draw_is_softmax_and_sample, 0, PLAIN_TABLES);
    suite_add_tcase(s, t);
    return run_suite(s);
}
