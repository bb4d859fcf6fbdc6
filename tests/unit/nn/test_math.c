/* SPDX-License-Identifier: Apache-2.0 */
/* test_math.c - our exp, log, tanh, ... against libm in double, and their special values. */
#include "nn_test.h"
#include "suite.h"

#include <float.h>

/* Distance in units of the last place of the float nearest to the truth. */
static double ulps(float got, double truth)
{
    if (isnan(truth) || isinf(truth))
        return isnan(truth) ? !isnan(got) : got != (float)truth;
    const double near = fabs(truth) < (double)FLT_MIN ? (double)FLT_MIN : fabs(truth);
    int exponent;
    frexp(near, &exponent);
    return fabs((double)got - truth) / ldexp(1, exponent - 24);
}

static double elu(double x)
{
    return x > 0 ? x : expm1(x);
}
static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}
static double softplus(double x)
{
    return fmax(x, 0) + log1p(exp(-fabs(x)));
}

enum { COUNT = 20000 };

static double worst(void (*slot)(float *, const float *, size_t), double (*truth)(double),
                    double lo, double hi)
{
    struct rng r = seeded(11);
    float *x = floats(COUNT), *y = floats(COUNT);
    double w = 0;
    for (size_t i = 0; i < COUNT; i++) {
        const double u = rng_unit(&r);
        /* half of them spread evenly, half close to zero */
        x[i] = (float)(i % 2 ? lo + (hi - lo) * u : ldexp(lo + (hi - lo) * u, -(int)(i % 24)));
    }
    slot(y, x, COUNT);
    for (size_t i = 0; i < COUNT; i++)
        w = fmax(w, ulps(y[i], truth((double)x[i])));
    free(x);
    free(y);
    return w;
}

START_TEST(functions_are_within_two_units_of_the_last_place)
{
    const struct kern *k = kern_ref();
    ck_assert_double_lt(worst(k->exp, exp, -87, 88), 2);
    ck_assert_double_lt(worst(k->log, log, 0, 1e6), 2);
    ck_assert_double_lt(worst(k->tanh, tanh, -12, 12), 2);
    ck_assert_double_lt(worst(k->sigmoid, sigmoid, -80, 80), 3);
    ck_assert_double_lt(worst(k->softplus, softplus, -80, 80), 3);
    ck_assert_double_lt(worst(k->elu, elu, -30, 30), 2);
}
END_TEST

static float one(void (*slot)(float *, const float *, size_t), float x)
{
    float y;
    slot(&y, &x, 1);
    return y;
}

START_TEST(special_values_come_out_as_they_should)
{
    const struct kern *k = kern_ref();
    ck_assert(one(k->exp, 0) == 1.0f);
    ck_assert(one(k->exp, -1e10f) == 0.0f);
    ck_assert(one(k->exp, -INFINITY) == 0.0f);
    ck_assert(isinf(one(k->exp, 89)));
    ck_assert(isinf(one(k->exp, INFINITY)));
    ck_assert(one(k->log, 1) == 0.0f);
    ck_assert(one(k->log, 0) == -INFINITY);
    ck_assert(one(k->log, INFINITY) == INFINITY);
    ck_assert(isnan(one(k->log, -1)));
    ck_assert(one(k->tanh, 50) == 1.0f);
    ck_assert(one(k->tanh, -50) == -1.0f);
    ck_assert(one(k->tanh, 0) == 0.0f);
    ck_assert(one(k->sigmoid, 0) == 0.5f);
    ck_assert(one(k->sigmoid, -200) == 0.0f);
    ck_assert(one(k->sigmoid, 200) == 1.0f);
    ck_assert(one(k->softplus, 200) == 200.0f);
    ck_assert(one(k->elu, -100) == -1.0f);
}
END_TEST

START_TEST(a_value_that_is_not_a_number_stays_one)
{
    const struct kern *k = kern_ref();
    ck_assert(isnan(one(k->exp, NAN)));
    ck_assert(isnan(one(k->log, NAN)));
    ck_assert(isnan(one(k->tanh, NAN)));
    ck_assert(isnan(one(k->sigmoid, NAN)));
    ck_assert(isnan(one(k->softplus, NAN)));
    ck_assert(isnan(one(k->elu, NAN)));
    ck_assert(isnan(one(k->relu, NAN)));
    const float row[3] = {1, NAN, 2};
    ck_assert(!isfinite(k->dsumsq(row, 3)));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("nn math");
    TCase *t = tcase_create("math");
    tcase_add_test(t, functions_are_within_two_units_of_the_last_place);
    tcase_add_test(t, special_values_come_out_as_they_should);
    tcase_add_test(t, a_value_that_is_not_a_number_stays_one);
    suite_add_tcase(s, t);
    return run_suite(s);
}
