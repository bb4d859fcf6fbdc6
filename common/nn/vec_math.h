/* SPDX-License-Identifier: Apache-2.0 */
/* vec_math.h - exp, log, tanh and kin on vectors, for whichever vec_*.h came before.
 *
 * Ours, because libm picks variants by CPU and results must not depend on the host. Fixed
 * polynomials (interpolation at Chebyshev nodes, coefficients rounded to float), correctly
 * rounded operations only: the same bits everywhere, within 2 ulp of the true value
 * (tests/unit/nn/test_math.c). NaN comes out where NaN goes in. */
#ifndef NN_VEC_MATH_H
#define NN_VEC_MATH_H

#include <math.h>

/* ln 2 in two parts: multiples of the first by an exponent are exact. */
#define LN2_HI 0.693115234375f
#define LN2_LO 3.194618329871446e-05f

/* x = n ln2 + r, |r| <= ln2 / 2; returns expm1(r), *scale = n. x within the range of exp. */
static inline vf v_exp_reduced(vf x, vi *n)
{
    const vf magic = v_set(0x1.8p23f); /* adding it rounds to an integer in the low bits */
    const vf t = v_fma(x, v_set(1.44269504f), magic);
    const vf nf = v_sub(t, magic);
    vf r = v_fnma(nf, v_set(LN2_HI), x);
    r = v_fnma(nf, v_set(LN2_LO), r);
    vf c = v_set(0.0013926184037700295f);
    c = v_fma(c, r, v_set(0.008363178931176662f));
    c = v_fma(c, r, v_set(0.041666556149721146f));
    c = v_fma(c, r, v_set(0.16666576266288757f));
    c = v_fma(c, r, v_set(0.5f));
    *n = vi_sub(v_bits(t), v_bits(magic));
    return v_fma(v_mul(r, r), c, r);
}

static inline vf v_power_of_two(vi n)
{
    return v_floats(vi_shl(vi_add(n, vi_set(127)), 23));
}

/* 0 below -87.33654 (results would be denormal), infinity above 88.72283. */
static inline vf v_exp(vf x)
{
    const vf lo = v_set(-87.33654f), hi = v_set(88.72283f);
    vi n;
    const vf q = v_exp_reduced(v_min(hi, v_max(lo, x)), &n);
    const vi half = vi_sar(n, 1); /* two factors: 2^128 alone is not a float */
    vf e = v_mul(v_add(v_set(1), q), v_power_of_two(half));
    e = v_mul(e, v_power_of_two(vi_sub(n, half)));
    e = v_select(v_lt(x, lo), v_zero(), e);
    return v_select(v_lt(hi, x), v_set(INFINITY), e);
}

/* exp(x) - 1 for x <= 0, accurate near 0. */
static inline vf v_expm1_negative(vf x)
{
    vi n;
    const vf q = v_exp_reduced(v_max(v_set(-80.0f), x), &n);
    const vf s = v_power_of_two(n);
    return v_fma(s, q, v_sub(s, v_set(1)));
}

static inline vf v_log(vf x)
{
    /* x = 2^e m, m in [sqrt(1/2), sqrt(2)) */
    const vi bits = v_bits(x);
    const vi e = vi_sar(vi_sub(bits, vi_set(0x3f3504f3)), 23);
    const vf f = v_sub(v_floats(vi_sub(bits, vi_shl(e, 23))), v_set(1));
    const vf ef = vi_to_float(e), z = v_mul(f, f);
    vf c = v_set(0.06971611827611923f);
    c = v_fma(c, f, v_set(-0.11479733884334564f));
    c = v_fma(c, f, v_set(0.11685419827699661f));
    c = v_fma(c, f, v_set(-0.12425687164068222f));
    c = v_fma(c, f, v_set(0.14249058067798615f));
    c = v_fma(c, f, v_set(-0.1666780263185501f));
    c = v_fma(c, f, v_set(0.20000715553760529f));
    c = v_fma(c, f, v_set(-0.2499999701976776f));
    c = v_fma(c, f, v_set(0.3333333134651184f));
    vf r = v_fma(ef, v_set(LN2_LO), v_mul(v_mul(f, z), c));
    r = v_fnma(v_set(0.5f), z, r);
    r = v_fma(ef, v_set(LN2_HI), v_add(f, r));
    r = v_add(r, v_sub(x, x)); /* NaN stays NaN */
    r = v_select(v_lt(v_set(0x1.fffffep127f), x), x, r);
    const vf bad = v_select(v_lt(x, v_zero()), v_set(NAN), v_set(-INFINITY));
    return v_select(v_lt(x, v_set(0x1p-126f)), bad, r);
}

static inline vf v_abs(vf x)
{
    return v_floats(vi_and(v_bits(x), vi_set(0x7fffffff)));
}

/* |x| with the sign of s */
static inline vf v_sign(vf x, vf s)
{
    return v_floats(vi_or(v_bits(x), vi_and(v_bits(s), vi_set((int32_t)0x80000000u))));
}

static inline vf v_tanh(vf x)
{
    const vf a = v_abs(x), z = v_mul(x, x);
    const vf e = v_exp(v_mul(v_set(2), v_min(v_set(10), a)));
    const vf far = v_sub(v_set(1), v_div(v_set(2), v_add(e, v_set(1))));
    vf c = v_set(-0.006096714176237583f);
    c = v_fma(c, z, v_set(0.020997179672122f));
    c = v_fma(c, z, v_set(-0.05385090783238411f));
    c = v_fma(c, z, v_set(0.1333276927471161f));
    c = v_fma(c, z, v_set(-0.333333283662796f));
    const vf near = v_fma(v_mul(x, z), c, x);
    return v_select(v_lt(a, v_set(0.625f)), near, v_sign(far, x));
}

static inline vf v_sigmoid(vf x)
{
    return v_div(v_set(1), v_add(v_set(1), v_exp(v_sub(v_zero(), x))));
}

/* log(1 + e^x) without loss at either end */
static inline vf v_softplus(vf x)
{
    const vf y = v_exp(v_sub(v_zero(), v_abs(x)));
    const vf u = v_add(v_set(1), y);
    const vf lost = v_sub(y, v_sub(u, v_set(1)));
    return v_add(v_max(v_zero(), x), v_add(v_log(u), v_div(lost, u)));
}

#endif
