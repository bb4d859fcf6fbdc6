/* SPDX-License-Identifier: Apache-2.0 */
/* test_lambda_return.c - closed forms and the direct sum. */
#include "suite.h"

#include "base/rng.h"
#include "rl/lambda_return.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>

enum { T = 9, S = 4, N = 3, ROW = S * N };

static float reward[T * S], cont[T * ROW], value[(T + 1) * ROW], ret[(T + 1) * ROW];

static void fill(uint64_t seed)
{
    struct rng r;
    rng_seed(&r, seed);
    for (size_t i = 0; i < T * S; i++)
        reward[i] = (float)(4 * rng_unit(&r) - 2);
    for (size_t i = 0; i < T * ROW; i++)
        cont[i] = (float)rng_unit(&r);
    for (size_t i = 0; i < (T + 1) * ROW; i++)
        value[i] = (float)(6 * rng_unit(&r) - 3);
}

START_TEST(nothing_is_expected_beyond_a_certain_end)
{
    fill(1);
    for (size_t i = 0; i < T * ROW; i++)
        cont[i] = 0;
    lambda_return_forward(ret, reward, cont, value, T, S, N, 0.99f, 0.95f);
    for (size_t t = 0; t < T; t++)
        for (size_t i = 0; i < ROW; i++)
            ck_assert(ret[t * ROW + i] == reward[t * S + i / N]);
    for (size_t i = 0; i < ROW; i++)
        ck_assert(ret[T * ROW + i] == value[T * ROW + i]);
}
END_TEST

START_TEST(lambda_zero_looks_one_step_ahead)
{
    fill(2);
    lambda_return_forward(ret, reward, cont, value, T, S, N, 0.9f, 0);
    for (size_t t = 0; t < T; t++)
        for (size_t i = 0; i < ROW; i++) {
            const size_t at = t * ROW + i;
            ck_assert_float_eq_tol(
                ret[at], reward[t * S + i / N] + 0.9f * cont[at] * value[at + ROW], 1e-6f);
        }
}
END_TEST

/* sum over n of weight (1 - lambda) lambda^(n-1) on n-step returns, the rest on the last */
START_TEST(it_is_the_weighted_sum_of_n_step_returns)
{
    const double gamma = 0.99, lambda = 0.95;
    fill(3);
    lambda_return_forward(ret, reward, cont, value, T, S, N, 0.99f, 0.95f);
    for (size_t t = 0; t < T; t++)
        for (size_t i = 0; i < ROW; i++) {
            double sum = 0, rewards = 0, discount = 1;
            for (size_t n = 1; t + n <= T; n++) {
                const size_t at = (t + n - 1) * ROW + i;
                rewards += discount * (double)reward[(t + n - 1) * S + i / N];
                discount *= gamma * (double)cont[at];
                const double weight = t + n == T ? pow(lambda, (double)n - 1)
                                                 : (1 - lambda) * pow(lambda, (double)n - 1);
                sum += weight * (rewards + discount * (double)value[at + ROW]);
            }
            ck_assert_double_eq_tol((double)ret[t * ROW + i], sum, 1e-5);
        }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("rl");
    TCase *t = tcase_create("lambda-return");
    tcase_add_test(t, nothing_is_expected_beyond_a_certain_end);
    tcase_add_test(t, lambda_zero_looks_one_step_ahead);
    tcase_add_test(t, it_is_the_weighted_sum_of_n_step_returns);
    suite_add_tcase(s, t);
    return run_suite(s);
}
