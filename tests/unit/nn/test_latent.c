/* SPDX-License-Identifier: Apache-2.0 */
/* test_latent.c - categoricals, balanced KL, losses, the masked policy. */
#include "nn_test.h"
#include "suite.h"

#include "nn/categorical.h"
#include "nn/loss.h"

enum { M = 7, C = 6, K = 8, LD = 64 }; /* 48 used columns, 16 of padding */

struct ctx {
    const struct kern *k;
    float *logits, *other, *p, *q, *value, *scratch, *weight, *target;
    const float *frozen_p, *frozen_q; /* stop-gradient values */
    uint8_t *bits;
    const uint8_t *action;
    const float *ca;
    float ce;
};

static void begin(struct ctx *c, uint64_t seed, double spread)
{
    struct rng r = seeded(seed);
    ck_assert_int_eq(kern_get(ISA_AUTO, &c->k), 0);
    c->logits = random_floats(&r, M * LD, spread);
    c->other = random_floats(&r, M * LD, spread);
    c->p = floats(M * LD);
    c->q = floats(M * LD);
    c->value = floats(M);
    c->scratch = floats(2 * M * LD);
    c->weight = random_floats(&r, M, 1);
    c->target = random_floats(&r, M * LD, 3);
    c->bits = calloc(M * LD, 1);
    for (size_t i = 0; i < M * LD; i++)
        c->bits[i] = (uint8_t)rng_below(&r, 2);
    categorical_softmax(c->k, c->p, c->logits, M, C, K, LD);
    categorical_softmax(c->k, c->q, c->other, M, C, K, LD);
}

static void finish(struct ctx *c)
{
    free(c->logits);
    free(c->other);
    free(c->p);
    free(c->q);
    free(c->value);
    free(c->scratch);
    free(c->weight);
    free(c->target);
    free(c->bits);
}

START_TEST(softmax_sums_to_one_and_padding_becomes_zero)
{
    struct ctx c;
    begin(&c, 1, 5);
    for (size_t m = 0; m < M; m++) {
        for (size_t i = 0; i < C; i++) {
            double sum = 0;
            for (size_t j = 0; j < K; j++)
                sum += (double)c.p[m * LD + i * K + j];
            ck_assert_double_eq_tol(sum, 1, 1e-6);
        }
        for (size_t j = C * K; j < LD; j++)
            ck_assert(c.p[m * LD + j] == 0);
    }
    finish(&c);
}
END_TEST

START_TEST(a_draw_is_the_first_class_whose_running_sum_exceeds_it)
{
    struct ctx c;
    struct rng r = seeded(2);
    uint8_t index[M * C];
    float u[M * C];
    begin(&c, 2, 2);
    for (int round = 0; round < 200; round++) {
        for (size_t i = 0; i < M * C; i++)
            u[i] = (float)(rng_below(&r, 1 << 24)) * 0x1p-24f;
        u[3] = 0;
        u[4] = 1 - 0x1p-24f;
        categorical_sample(c.k, index, c.p, u, M, C, K, LD);
        for (size_t m = 0; m < M; m++)
            for (size_t i = 0; i < C; i++) {
                float sum = 0;
                size_t want = K - 1;
                for (size_t j = 0; j < K; j++) {
                    sum += c.p[m * LD + i * K + j];
                    if (u[m * C + i] < sum) {
                        want = j;
                        break;
                    }
                }
                ck_assert_uint_eq(index[m * C + i], want);
            }
    }
    categorical_argmax(index, c.logits, M, C, K, LD);
    for (size_t m = 0; m < M; m++)
        for (size_t i = 0; i < C; i++)
            for (size_t j = 0; j < K; j++)
                ck_assert(c.logits[m * LD + i * K + j] <=
                          c.logits[m * LD + i * K + index[m * C + i]]);
    finish(&c);
}
END_TEST

START_TEST(a_class_of_probability_zero_is_never_drawn)
{
    const struct kern *k = kern_ref();
    /* sums to less than 1: the last class with p > 0 takes what rounding lost */
    const float p[8] = {0.25f, 0, 0.5f, 0.125f, 0, 0, 0, 0};
    const float u[1] = {0.99f}, zero[1] = {0};
    uint8_t index;
    k->sample(&index, p, u, 1, 8, 8);
    ck_assert_uint_eq(index, 3);
    const float late[8] = {0, 0, 0.5f, 0.5f, 0, 0, 0, 0};
    k->sample(&index, late, zero, 1, 8, 8);
    ck_assert_uint_eq(index, 2);
}
END_TEST

static double st_scalar(void *ctx)
{
    struct ctx *c = ctx; /* <g, softmax>: what straight-through differentiates */
    categorical_softmax(c->k, c->p, c->logits, M, C, K, LD);
    return dot_double(c->p, c->target, M * LD);
}

START_TEST(straight_through_gradients_match_finite_differences)
{
    struct ctx c;
    begin(&c, 3, 2);
    float *d = floats(M * LD);
    categorical_backward(c.k, d, c.p, c.target, M, C, K, LD);
    check_gradient(st_scalar, &c, c.logits, d, M * LD, 1e-2, 4, "logits");
    free(d);
    finish(&c);
}
END_TEST

static double kl_double(const float *p, const float *q)
{
    double sum = 0;
    for (size_t m = 0; m < M; m++)
        for (size_t j = 0; j < C * K; j++)
            sum += (double)p[m * LD + j] *
                   (log((double)p[m * LD + j] + 1e-7) - log((double)q[m * LD + j] + 1e-7));
    return sum / C;
}

/* 0.2 KL(post || sg prior) + 0.8 KL(sg post || prior), stopped parts at their base values */
static double balanced_scalar(void *ctx)
{
    struct ctx *c = ctx;
    categorical_softmax(c->k, c->p, c->logits, M, C, K, LD);
    categorical_softmax(c->k, c->q, c->other, M, C, K, LD);
    return 0.2 * kl_double(c->p, c->frozen_q) + 0.8 * kl_double(c->frozen_p, c->q);
}

START_TEST(balanced_kl_matches_its_formula_and_finite_differences)
{
    struct ctx c;
    begin(&c, 5, _i == 0 ? 1.5 : 9); /* the second spread puts classes below epsilon */
    float *dp = floats(M * LD), *dq = floats(M * LD), *p0 = floats(M * LD),
          *q0 = floats(M * LD);
    memcpy(p0, c.p, M * LD * sizeof *p0);
    memcpy(q0, c.q, M * LD * sizeof *q0);
    c.frozen_p = p0;
    c.frozen_q = q0;
    categorical_kl(c.k, c.value, c.p, c.q, M, C, K, LD, c.scratch);
    double sum = 0;
    for (size_t m = 0; m < M; m++)
        sum += (double)c.value[m];
    ck_assert_double_eq_tol(sum, kl_double(c.p, c.q), 1e-4 * sum);
    categorical_kl_backward(c.k, dp, dq, p0, q0, 1, M, C, K, LD);
    check_gradient(balanced_scalar, &c, c.logits, dp, M * LD, 1e-2, 6, "posterior");
    check_gradient(balanced_scalar, &c, c.other, dq, M * LD, 1e-2, 7, "prior");
    for (size_t m = 0; m < M; m++)
        for (size_t j = C * K; j < LD; j++)
            ck_assert(dp[m * LD + j] == 0 && dq[m * LD + j] == 0);
    /* the epsilon of the logarithm stays in the gradient even at p = q */
    float g[8] = {0}, h[8] = {0};
    const float skewed[8] = {1, 1e-7f, 1e-6f, 0, 0, 0, 0, 0};
    c.k->kl_backward(g, h, skewed, skewed, 1, 1, 1, 8, 8);
    ck_assert_float_eq_tol(g[1], 1e-7f * (0.5f - 1), 1e-9f);
    free(dp);
    free(dq);
    free(p0);
    free(q0);
    finish(&c);
}
END_TEST

/* Values and gradients of a loss: weighted rows of the first 11 columns. */
enum { COLS = 11 };

static double weighted(struct ctx *c)
{
    double sum = 0;
    for (size_t m = 0; m < M; m++)
        sum += 0.5 * (double)c->weight[m] * (double)c->value[m];
    return sum;
}
static double smooth_scalar(void *ctx)
{
    struct ctx *c = ctx;
    loss_smooth_l1(c->k, c->value, NULL, 0, c->logits, LD, c->target, LD, c->weight, 0.5f, M,
                   COLS);
    return weighted(c);
}
static double bernoulli_scalar(void *ctx)
{
    struct ctx *c = ctx;
    loss_bernoulli(c->k, c->value, NULL, 0, c->logits, LD, c->bits, COLS, c->weight, 0.5f, M,
                   COLS);
    return weighted(c);
}
static double cross_scalar(void *ctx)
{
    struct ctx *c = ctx;
    loss_cross_entropy(c->k, c->value, NULL, 0, c->logits, LD, c->bits, c->weight, 0.5f, M,
                       COLS, c->scratch);
    return weighted(c);
}
static double policy_scalar(void *ctx)
{
    struct ctx *c = ctx;
    double sum = 0;
    policy_log_softmax(c->k, c->p, c->logits, M, COLS, LD);
    loss_entropy(c->k, c->value, c->p, M, COLS, LD, c->scratch);
    for (size_t m = 0; m < M; m++)
        sum += (double)c->ca[m] * (double)c->p[m * LD + c->action[m]] -
               (double)c->ce * (double)c->value[m];
    return sum;
}

START_TEST(losses_match_finite_differences)
{
    struct ctx c;
    begin(&c, 8, 2);
    float *d = floats(M * LD);
    loss_smooth_l1(c.k, NULL, d, LD, c.logits, LD, c.target, LD, c.weight, 0.5f, M, COLS);
    check_gradient(smooth_scalar, &c, c.logits, d, M * LD, 3e-3, 1, "smooth l1");
    memset(d, 0, M * LD * sizeof *d);
    loss_bernoulli(c.k, NULL, d, LD, c.logits, LD, c.bits, COLS, c.weight, 0.5f, M, COLS);
    check_gradient(bernoulli_scalar, &c, c.logits, d, M * LD, 1e-2, 2, "bernoulli");
    memset(d, 0, M * LD * sizeof *d);
    loss_cross_entropy(c.k, NULL, d, LD, c.logits, LD, c.bits, c.weight, 0.5f, M, COLS,
                       c.scratch);
    check_gradient(cross_scalar, &c, c.logits, d, M * LD, 1e-2, 3, "cross-entropy");
    memset(d, 0, M * LD * sizeof *d);
    c.action = c.bits;
    c.ca = c.weight;
    c.ce = 0.3f;
    policy_log_softmax(c.k, c.q, c.logits, M, COLS, LD);
    loss_policy_backward(c.k, d, LD, c.q, LD, c.action, c.ca, c.ce, M, COLS, c.scratch);
    check_gradient(policy_scalar, &c, c.logits, d, M * LD, 1e-2, 4, "policy");
    free(d);
    finish(&c);
}
END_TEST

START_TEST(losses_have_the_values_of_their_formulas)
{
    struct ctx c;
    begin(&c, 9, 3);
    for (size_t m = 0; m < M; m++) {
        double smooth = 0, bern = 0, norm = 0;
        for (size_t j = 0; j < COLS; j++) {
            const double l = (double)c.logits[m * LD + j];
            const double e = fabs(l - (double)c.target[m * LD + j]);
            smooth += e < 1 ? e * e / 2 : e - 0.5;
            bern -= log(c.bits[m * COLS + j] ? 1 / (1 + exp(-l)) : 1 / (1 + exp(l)));
            norm += exp(l);
        }
        const double cross = log(norm) - (double)c.logits[m * LD + c.bits[m]];
        smooth_scalar(&c);
        ck_assert_double_eq_tol((double)c.value[m], smooth, 1e-5 * (1 + smooth));
        bernoulli_scalar(&c);
        ck_assert_double_eq_tol((double)c.value[m], bern, 1e-5 * (1 + bern));
        cross_scalar(&c);
        ck_assert_double_eq_tol((double)c.value[m], cross, 1e-5 * (1 + cross));
    }
    finish(&c);
}
END_TEST

START_TEST(a_row_with_nothing_available_is_uniform)
{
    const struct kern *k = NULL;
    float x[32] = {1, 2, 3, 4, 5}, lp[32];
    const uint8_t none[5] = {0}, some[5] = {0, 1, 0, 1, 0};
    float scratch[64], h;
    ck_assert_int_eq(kern_get(ISA_AUTO, &k), 0);
    policy_mask(x, some, 1, 5, 32);
    policy_log_softmax(k, lp, x, 1, 5, 32);
    ck_assert_float_eq_tol(lp[3], -logf(1 + expf(-2)), 1e-6f);
    loss_entropy(k, &h, lp, 1, 5, 32, scratch);
    ck_assert(isfinite(h) && h > 0.3f);
    policy_mask(x, none, 1, 5, 32);
    policy_log_softmax(k, lp, x, 1, 5, 32);
    for (int a = 0; a < 5; a++)
        ck_assert_float_eq_tol(lp[a], -logf(5), 1e-6f);
    /* masked actions are never drawn */
    float p[32];
    uint8_t action;
    const float u = 1 - 0x1p-24f;
    float y[32] = {1, 2, 3, 4, 5};
    policy_mask(y, some, 1, 5, 32);
    k->softmax(p, y, 1, 5, 32);
    policy_sample(k, &action, p, &u, 1, 5, 32);
    ck_assert_uint_eq(action, 3);
}
END_TEST

START_TEST(availability_is_drawn_by_comparing_with_the_sigmoid)
{
    const struct kern *k = NULL;
    float l[2 * 32] = {-100, 100, 0}, scratch[6];
    const float u[6] = {0, 0.999f, 0.5f, 0.25f, 0.5f, 0.75f};
    uint8_t y[6];
    ck_assert_int_eq(kern_get(ISA_AUTO, &k), 0);
    bernoulli_sample(k, y, l, u, 2, 3, 32, scratch);
    const uint8_t want[6] = {0, 1, 0, 1, 0, 0};
    ck_assert_mem_eq(y, want, 6);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("nn latent");
    TCase *t = tcase_create("latent");
    tcase_add_test(t, softmax_sums_to_one_and_padding_becomes_zero);
    tcase_add_test(t, a_draw_is_the_first_class_whose_running_sum_exceeds_it);
    tcase_add_test(t, a_class_of_probability_zero_is_never_drawn);
    tcase_add_test(t, straight_through_gradients_match_finite_differences);
    tcase_add_loop_test(t, balanced_kl_matches_its_formula_and_finite_differences, 0, 2);
    tcase_add_test(t, losses_match_finite_differences);
    tcase_add_test(t, losses_have_the_values_of_their_formulas);
    tcase_add_test(t, a_row_with_nothing_available_is_uniform);
    tcase_add_test(t, availability_is_drawn_by_comparing_with_the_sigmoid);
    suite_add_tcase(s, t);
    return run_suite(s);
}
