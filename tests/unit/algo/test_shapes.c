/* SPDX-License-Identifier: Apache-2.0 */
/* test_shapes.c - every product that the networks ask for has the same bits in any company.
 *
 * WHY  "Same bits" stands on row-stable products, and products are row-stable for some shapes
 * only (docs/adr/0003). A list of shapes written by hand would age: here a table of kernels that
 * takes notes is slipped under the networks, a whole update runs once, and what was noted is
 * checked: the same rows at 20 batch sizes and offsets, with the leading dimensions in use,
 * against the reference, whose chain test_products.c defines; weight gradients at row counts
 * around their blocks.
 *
 * Sizes are the paper's networks on five maps, the smallest and the largest among them, and the
 * quickstart's. Windows are few: they change the number of rows, which the check varies
 * anyway. */
#include "mag_small.h"
#include "suite.h"

#include "base/err.h"
#include "mag_priv.h"
#include "nn/kern.h"

enum { ROWS = 160, SHAPES_MAX = 256 };

enum what {
    GEMM,
    GEMM_ADD,
    LAYER,
    LAYER_ADD,
    PACKED,
    PACKED_ADD,
    PACKED_LAYER,
    GRADIENT,
    WHATS
};

struct shape {
    enum what what;
    enum kern_act act;          /* of a layer */
    size_t ldy, ldx, ldw, N, K; /* ldw of packed weights: from 32 columns to the next */
};

static struct shape seen[SHAPES_MAX];
static size_t seen_count;
static const struct kern *real;

static void note(enum what what, enum kern_act act, size_t ldy, size_t ldx, size_t ldw,
                 size_t N, size_t K)
{
    struct shape s;
    memset(&s, 0, sizeof s); /* compared as bytes */
    s.what = what;
    s.act = act;
    s.ldy = ldy;
    s.ldx = ldx;
    s.ldw = ldw;
    s.N = N;
    s.K = K;
    for (size_t i = 0; i < seen_count; i++)
        if (!memcmp(&seen[i], &s, sizeof s))
            return;
    if (K == 0) /* a product of nothing */
        return;
    bug_on(seen_count == SHAPES_MAX);
    seen[seen_count++] = s;
}

static void noting_gemm(float *y, size_t ldy, const float *x, size_t ldx, const float *w,
                        size_t ldw, size_t M, size_t N, size_t K, bool accumulate)
{
    note(accumulate ? GEMM_ADD : GEMM, KERN_LINEAR, ldy, ldx, ldw, N, K);
    real->gemm(y, ldy, x, ldx, w, ldw, M, N, K, accumulate);
}

static void noting_layer(float *y, size_t ldy, const float *x, size_t ldx, const float *w,
                         size_t ldw, const float *bias, enum kern_act act, size_t M, size_t N,
                         size_t K)
{
    note(bias ? LAYER : LAYER_ADD, act, ldy, ldx, ldw, N, K);
    real->layer(y, ldy, x, ldx, w, ldw, bias, act, M, N, K);
}

static void noting_layer_packed(float *y, size_t ldy, const float *x, size_t ldx,
                                const float *w, size_t next, const float *bias,
                                enum kern_act act, size_t M, size_t N, size_t K,
                                bool accumulate)
{
    note(bias ? PACKED_LAYER : accumulate ? PACKED_ADD : PACKED, act, ldy, ldx, next, N, K);
    real->layer_packed(y, ldy, x, ldx, w, next, bias, act, M, N, K, accumulate);
}

static void noting_gemm_dw(float *dw, size_t ldw, const float *x, size_t ldx, const float *dy,
                           size_t ldy, size_t R, size_t N, size_t K)
{
    note(GRADIENT, KERN_LINEAR, ldy, ldx, ldw, N, K);
    real->gemm_dw(dw, ldw, x, ldx, dy, ldy, R, N, K);
}

/* --------------------------------------------------------------------- a whole update, noting */

static const struct mag_dims nets_of[] = {
    {.N = 2, .O = 17, .A = 7, .D = 256, .C = 32, .K = 32, .heads = 8, .layers = 3},
    {.N = 3, .O = 30, .A = 9, .D = 256, .C = 32, .K = 32, .heads = 8, .layers = 3},
    {.N = 8, .O = 136, .A = 15, .D = 256, .C = 32, .K = 32, .heads = 8, .layers = 3},
    {.N = 2, .O = 332, .A = 70, .D = 256, .C = 32, .K = 32, .heads = 8, .layers = 3},
    {.N = 27, .O = 285, .A = 36, .D = 256, .C = 32, .K = 32, .heads = 8, .layers = 3},
    {.N = 3, .O = 30, .A = 9, .D = 64, .C = 16, .K = 16, .heads = 4, .layers = 2},
};
enum { NETS = sizeof nets_of / sizeof *nets_of };

static void act_once(struct small *s)
{
    struct mag_act *act;
    uint8_t *action = malloc(s->d.N), *avail = malloc(s->d.N * s->d.A);
    memset(avail, 1, s->d.N * s->d.A);
    struct mag_act_row row = {.obs = s->obs, .avail = avail, .action = action};
    ck_assert_int_eq(mag_act_open(&act, s->m, 1, NULL), 0);
    mag_act_step(act, &s->draws, &row, 1);
    mag_act_close(act);
    free(action);
    free(avail);
}

static void update_once(struct small *s)
{
    struct mag_imagine_cfg ic = {.W = SMALL_W, .windows_max = 1, .cfg = &s->cfg};
    struct mag_imagine *im;
    struct mag_train *t;
    struct mag_model_stats ms;
    struct mag_rm_stats rs;
    struct mag_ppo_stats ps;
    struct batch b = {0};
    uint32_t global = 0;
    s->w.B = 1; /* the first fifth of the buffers */
    size_t S = SMALL_W - 2, steps = s->cfg.imagine.steps - 1;
    ck_assert_int_eq(arena_init(&b.arena, mag_rows_bytes(&s->d, S, steps) + 4096), 0);
    mag_rows_carve(&b.rows, &s->d, S, steps, &b.arena);
    struct mag_train_cfg tc = {
        .W = SMALL_W, .B = 1, .S = S, .rows_max = S * steps, .minibatch = 8, .cfg = &s->cfg};
    ck_assert_int_eq(mag_train_open(&t, s->m, &tc, NULL), 0);
    ck_assert_int_eq(mag_imagine_open(&im, s->m, &ic, NULL), 0);
    ck_assert_int_eq(mag_model_step(t, &s->w, &s->draws, 0, &ms), 0);
    ck_assert_int_eq(mag_rm_step(t, &s->w, &s->draws, 0, &rs), 0);
    ck_assert_int_eq(
        mag_imagine_windows(im, &s->w, &global, 1, &s->draws, 0, &b.rows, &b.stats, NULL), 0);
    ck_assert_int_eq(mag_ppo_batch(t, &b.rows, &s->draws, 0, &ps, NULL), 0);
    ck_assert(!ms.skipped && !rs.skipped && !ps.skipped);
    act_once(s);
    mag_imagine_close(im);
    mag_train_close(t);
    arena_fini(&b.arena);
}

static void note_shapes(const struct kern *k, enum cfg_isa isa)
{
    static struct kern noting; /* outlives the networks */
    real = k;
    noting = *k;
    noting.gemm = noting_gemm;
    noting.layer = noting_layer;
    noting.gemm_dw = noting_gemm_dw;
    if (k->layer_packed)
        noting.layer_packed = noting_layer_packed;
    seen_count = 0;
    for (size_t i = 0; i < NETS; i++) {
        struct small *s = small_open_dims(isa, 5, &nets_of[i]);
        s->cfg.train.ppo_epochs = 1;
        s->m->kern = s->m->derived->nets.kern = &noting;
        update_once(s);
        small_close(s);
    }
}

/* ------------------------------------------------------------------------------- the checks */

static const size_t sizes[] = {1,  2,  3,  4,  5,  6,  7,  8,  10, 12,
                               15, 16, 20, 27, 31, 32, 33, 48, 64, 101};

static float *random_floats(struct rng *r, size_t n)
{
    float *x = malloc(n * sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = 2 * small_unit(r) - 1;
    return x;
}

static bool is_packed(const struct shape *s)
{
    return s->what == PACKED || s->what == PACKED_ADD || s->what == PACKED_LAYER;
}

/* Floats of the weights. */
static size_t weights(const struct shape *s)
{
    return is_packed(s) ? s->N / KERN_PAD * s->ldw : s->K * s->ldw;
}

/* By the definition, one part after the other, with the reference. */
static void define(float *y, const float *x, const float *w, const float *bias,
                   const struct shape *s)
{
    const struct kern *k = kern_ref();
    const bool add = s->what != GEMM && s->what != PACKED;
    if (s->what == LAYER || s->what == PACKED_LAYER)
        k->fill_rows(y, s->ldy, bias, ROWS, s->N);
    if (is_packed(s))
        for (size_t n = 0; n < s->N; n += KERN_PAD)
            k->gemm(y + n, s->ldy, x, s->ldx, w + n / KERN_PAD * s->ldw, KERN_PAD, ROWS,
                    KERN_PAD, s->K, add);
    else
        k->gemm(y, s->ldy, x, s->ldx, w, s->ldw, ROWS, s->N, s->K, add);
    for (size_t m = 0; m < ROWS && s->act != KERN_LINEAR; m++)
        (s->act == KERN_RELU ? k->relu : k->elu)(y + m * s->ldy, y + m * s->ldy, s->N);
}

static void compute(const struct kern *k, float *y, const float *x, const float *w,
                    const float *bias, size_t M, const struct shape *s)
{
    if (is_packed(s))
        k->layer_packed(y, s->ldy, x, s->ldx, w, s->ldw, s->what == PACKED_LAYER ? bias : NULL,
                        s->act, M, s->N, s->K, s->what == PACKED_ADD);
    else if (s->what == LAYER || s->what == LAYER_ADD)
        k->layer(y, s->ldy, x, s->ldx, w, s->ldw, s->what == LAYER ? bias : NULL, s->act, M,
                 s->N, s->K);
    else
        k->gemm(y, s->ldy, x, s->ldx, w, s->ldw, M, s->N, s->K, s->what == GEMM_ADD);
}

static void check_rows(const struct kern *k, const struct shape *s, struct rng *r)
{
    float *x = random_floats(r, ROWS * s->ldx), *w = random_floats(r, weights(s));
    float *init = random_floats(r, ROWS * s->ldy), *want = malloc(ROWS * s->ldy * sizeof *want);
    float *got = malloc(ROWS * s->ldy * sizeof *got), *bias = random_floats(r, s->N);
    memcpy(want, init, ROWS * s->ldy * sizeof *want);
    define(want, x, w, bias, s);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t M = sizes[i], at = rng_below(r, (uint32_t)(ROWS - M + 1));
        memcpy(got, init + at * s->ldy, M * s->ldy * sizeof *got);
        compute(k, got, x + at * s->ldx, w, bias, M, s);
        ck_assert_msg(!memcmp(got, want + at * s->ldy, ((M - 1) * s->ldy + s->N) * sizeof *got),
                      "%s (%s), kind %d: %zu rows from row %zu of N %zu K %zu, ld %zu %zu %zu",
                      k->name, k->products, (int)s->what, M, at, s->N, s->K, s->ldy, s->ldx,
                      s->ldw);
    }
    free(x);
    free(w);
    free(init);
    free(want);
    free(got);
    free(bias);
}

static void check_dw(const struct kern *k, const struct shape *s, struct rng *r)
{
    static const size_t rows[] = {1, 31, 256, 257};
    enum { MOST = 257 };
    float *x = random_floats(r, MOST * s->ldx), *dy = random_floats(r, MOST * s->ldy);
    float *init = random_floats(r, s->K * s->ldw), *want = malloc(s->K * s->ldw * sizeof *want);
    float *got = malloc(s->K * s->ldw * sizeof *got);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        memcpy(want, init, s->K * s->ldw * sizeof *want);
        memcpy(got, init, s->K * s->ldw * sizeof *got);
        kern_ref()->gemm_dw(want, s->ldw, x, s->ldx, dy, s->ldy, rows[i], s->N, s->K);
        k->gemm_dw(got, s->ldw, x, s->ldx, dy, s->ldy, rows[i], s->N, s->K);
        ck_assert_msg(!memcmp(got, want, ((s->K - 1) * s->ldw + s->N) * sizeof *got),
                      "%s (%s): gradient over %zu rows of N %zu K %zu, ld %zu %zu %zu", k->name,
                      k->products, rows[i], s->N, s->K, s->ldy, s->ldx, s->ldw);
    }
    free(x);
    free(dy);
    free(init);
    free(want);
    free(got);
}

/* _i: instruction set, and whether LIBXSMM belongs to it or to the other one. */
START_TEST(every_product_of_an_update_has_the_chains_bits_at_any_size_and_offset)
{
    static const enum cfg_isa isa[] = {ISA_AVX2, ISA_AVX512};
    const enum cfg_isa mine = isa[_i % 2], other = isa[1 - _i % 2];
    const struct kern *k = NULL;
    struct rng r;
    size_t found[WHATS] = {0};
    if (!kern_supported(mine) || (_i >= 2 && !kern_supported(other)))
        return;
    if (_i >= 2)
        ck_assert_int_eq(kern_get(other, &k), 0);
    ck_assert_int_eq(kern_get(mine, &k), 0);
    note_shapes(k, mine);
    rng_seed(&r, 6);
    for (size_t i = 0; i < seen_count; i++) {
        if (seen[i].what == GRADIENT)
            check_dw(k, &seen[i], &r);
        else
            check_rows(k, &seen[i], &r);
        found[seen[i].what]++;
    }
    size_t forward = seen_count - found[GRADIENT];
    ck_assert_msg(forward >= 30 && found[GRADIENT] >= 18,
                  "only %zu products and %zu gradients noted", forward, found[GRADIENT]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("shapes");
    TCase *c = tcase_create("shapes");
    tcase_set_timeout(c, 600);
    tcase_add_loop_test(
        c, every_product_of_an_update_has_the_chains_bits_at_any_size_and_offset, 0, 4);
    suite_add_tcase(suite, c);
    return run_suite(suite);
}
