/* SPDX-License-Identifier: Apache-2.0 */
/* vec_ref.h - the sixteen-lane vector of kern_impl.h as plain loops: the definition.
 *
 * What vec_avx2.h and vec_avx512.h do with registers, lane by lane. min and max return their
 * second operand when the comparison is false (as minps does), so NaN passes alike. */
#ifndef NN_VEC_REF_H
#define NN_VEC_REF_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { VEC_TILE_ROWS = 2, VEC_TILE_COLS = 1, VEC_GATHER = 2 };

typedef struct {
    float l[16];
} vf;
typedef struct {
    int32_t l[16];
} vi;
typedef struct {
    int32_t l[16]; /* 0 or -1 */
} vm;
typedef struct {
    double l[8];
} vd;

#define EACH for (size_t i_ = 0; i_ < 16; i_++)
#define EACH8 for (size_t i_ = 0; i_ < 8; i_++)
#define VEC_OP2(name, expr)                                                                    \
    static inline vf name(vf a, vf b)                                                          \
    {                                                                                          \
        vf r;                                                                                  \
        EACH                                                                                   \
        {                                                                                      \
            const float x = a.l[i_], y = b.l[i_];                                              \
            r.l[i_] = (expr);                                                                  \
        }                                                                                      \
        return r;                                                                              \
    }
VEC_OP2(v_add, x + y)
VEC_OP2(v_sub, x - y)
VEC_OP2(v_mul, x *y)
VEC_OP2(v_div, x / y)
VEC_OP2(v_min, x < y ? x : y)
VEC_OP2(v_max, x > y ? x : y)
#undef VEC_OP2

static inline vf v_set(float x)
{
    vf r;
    EACH r.l[i_] = x;
    return r;
}
static inline vf v_zero(void)
{
    return v_set(0);
}
static inline vf v_load(const float *p)
{
    vf r;
    memcpy(r.l, p, sizeof r.l);
    return r;
}
static inline void v_store(float *p, vf v)
{
    memcpy(p, v.l, sizeof v.l);
}
/* The first n lanes; the others are 0. n >= 16 is all. */
static inline vf v_load_n(const float *p, size_t n)
{
    vf r;
    EACH r.l[i_] = i_ < n ? p[i_] : 0;
    return r;
}
static inline void v_store_n(float *p, vf v, size_t n)
{
    EACH if (i_ < n) p[i_] = v.l[i_];
}
static inline vf v_fma(vf a, vf b, vf c)
{
    vf r;
    EACH r.l[i_] = __builtin_fmaf(a.l[i_], b.l[i_], c.l[i_]);
    return r;
}
/* c - a*b, one rounding */
static inline vf v_fnma(vf a, vf b, vf c)
{
    vf r;
    EACH r.l[i_] = __builtin_fmaf(-a.l[i_], b.l[i_], c.l[i_]);
    return r;
}
static inline vf v_sqrt(vf a)
{
    vf r;
    EACH r.l[i_] = __builtin_sqrtf(a.l[i_]);
    return r;
}
static inline vm v_lt(vf a, vf b)
{
    vm r;
    EACH r.l[i_] = -(a.l[i_] < b.l[i_]);
    return r;
}
static inline vf v_select(vm m, vf a, vf b)
{
    vf r;
    EACH r.l[i_] = m.l[i_] ? a.l[i_] : b.l[i_];
    return r;
}
static inline vi v_bits(vf a)
{
    vi r;
    memcpy(r.l, a.l, sizeof r.l);
    return r;
}
static inline vf v_floats(vi a)
{
    vf r;
    memcpy(r.l, a.l, sizeof r.l);
    return r;
}
static inline vi vi_set(int32_t x)
{
    vi r;
    EACH r.l[i_] = x;
    return r;
}
static inline vi vi_add(vi a, vi b)
{
    EACH a.l[i_] = (int32_t)((uint32_t)a.l[i_] + (uint32_t)b.l[i_]);
    return a;
}
static inline vi vi_sub(vi a, vi b)
{
    EACH a.l[i_] = (int32_t)((uint32_t)a.l[i_] - (uint32_t)b.l[i_]);
    return a;
}
static inline vi vi_and(vi a, vi b)
{
    EACH a.l[i_] &= b.l[i_];
    return a;
}
static inline vi vi_or(vi a, vi b)
{
    EACH a.l[i_] |= b.l[i_];
    return a;
}
static inline vi vi_select(vm m, vi a, vi b)
{
    vi r;
    EACH r.l[i_] = m.l[i_] ? a.l[i_] : b.l[i_];
    return r;
}
#define vi_shl(a, n) vi_shl_((a), (n))
static inline vi vi_shl_(vi a, int n)
{
    EACH a.l[i_] = (int32_t)((uint32_t)a.l[i_] << n);
    return a;
}
#define vi_sar(a, n) vi_sar_((a), (n))
static inline vi vi_sar_(vi a, int n)
{
    EACH a.l[i_] = a.l[i_] >> n;
    return a;
}
static inline vf vi_to_float(vi a)
{
    vf r;
    EACH r.l[i_] = (float)a.l[i_];
    return r;
}
/* Nonzero bytes; lanes from n on are false. */
static inline vm v_bytes(const uint8_t *p, size_t n)
{
    vm r;
    EACH r.l[i_] = -(i_ < n && p[i_] != 0);
    return r;
}
/* The low byte of each of the first n lanes. */
static inline void vi_store_bytes(uint8_t *p, vi v, size_t n)
{
    EACH if (i_ < n) p[i_] = (uint8_t)v.l[i_];
}
/* Lanes 8, 4, 2, 1 apart. */
static inline float v_sum(vf a)
{
    for (size_t w = 8; w > 0; w /= 2)
        for (size_t i = 0; i < w; i++)
            a.l[i] = a.l[i] + a.l[i + w];
    return a.l[0];
}
/* rows become columns */
static inline void v_transpose(vf x[16])
{
    for (size_t i = 0; i < 16; i++)
        for (size_t j = 0; j < i; j++) {
            const float t = x[i].l[j];
            x[i].l[j] = x[j].l[i];
            x[j].l[i] = t;
        }
}
/* lane i = v_sum(x[i]), sixteen sums in the work of a few */
static inline vf v_sums(const vf x[16])
{
    vf r;
    EACH r.l[i_] = v_sum(x[i_]);
    return r;
}
static inline float v_largest(vf a)
{
    for (size_t w = 8; w > 0; w /= 2)
        for (size_t i = 0; i < w; i++)
            a.l[i] = a.l[i] > a.l[i + w] ? a.l[i] : a.l[i + w];
    return a.l[0];
}

static inline vd vd_zero(void)
{
    vd r;
    EACH8 r.l[i_] = 0;
    return r;
}
/* The first n floats as doubles, the others 0. */
static inline vd vd_load(const float *p, size_t n)
{
    vd r;
    EACH8 r.l[i_] = i_ < n ? (double)p[i_] : 0;
    return r;
}
static inline vd vd_add(vd a, vd b)
{
    EACH8 a.l[i_] = a.l[i_] + b.l[i_];
    return a;
}
static inline vd vd_fma(vd a, vd b, vd c)
{
    EACH8 a.l[i_] = __builtin_fma(a.l[i_], b.l[i_], c.l[i_]);
    return a;
}
static inline double vd_sum(vd a)
{
    for (size_t w = 4; w > 0; w /= 2)
        for (size_t i = 0; i < w; i++)
            a.l[i] = a.l[i] + a.l[i + w];
    return a.l[0];
}
#undef EACH
#undef EACH8

#endif
