/* SPDX-License-Identifier: Apache-2.0 */
/* vec_avx512.h - the sixteen-lane vector of kern_impl.h in one AVX-512 register; vec_ref.h says
 * what every function means. Compiled with -mavx512{f,bw,dq,vl} -mfma. */
#ifndef NN_VEC_AVX512_H
#define NN_VEC_AVX512_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

enum { VEC_TILE_ROWS = 8, VEC_TILE_COLS = 2, VEC_GATHER = 8 };

typedef __m512 vf;
typedef __m512i vi;
typedef __mmask16 vm;
typedef __m512d vd;

#define v_add _mm512_add_ps
#define v_sub _mm512_sub_ps
#define v_mul _mm512_mul_ps
#define v_div _mm512_div_ps
#define v_min _mm512_min_ps
#define v_max _mm512_max_ps
#define v_set _mm512_set1_ps
#define v_zero _mm512_setzero_ps
#define v_load(p) _mm512_loadu_ps(p)
#define v_store(p, v) _mm512_storeu_ps(p, v)
#define v_fma _mm512_fmadd_ps
#define v_fnma _mm512_fnmadd_ps
#define v_sqrt _mm512_sqrt_ps
#define v_lt(a, b) _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ)
#define v_select(m, a, b) _mm512_mask_blend_ps(m, b, a)
#define v_bits _mm512_castps_si512
#define v_floats _mm512_castsi512_ps
#define vi_set _mm512_set1_epi32
#define vi_add _mm512_add_epi32
#define vi_sub _mm512_sub_epi32
#define vi_and _mm512_and_si512
#define vi_or _mm512_or_si512
#define vi_select(m, a, b) _mm512_mask_blend_epi32(m, b, a)
#define vi_shl(a, n) _mm512_slli_epi32(a, n)
#define vi_sar(a, n) _mm512_srai_epi32(a, n)
#define vi_to_float _mm512_cvtepi32_ps
#define vd_zero _mm512_setzero_pd
#define vd_add _mm512_add_pd
#define vd_fma _mm512_fmadd_pd

static inline __mmask16 vec_first(size_t n)
{
    return _cvtu32_mask16(0xffffu >> (16 - (n < 16 ? n : 16)));
}
static inline vf v_load_n(const float *p, size_t n)
{
    return _mm512_maskz_loadu_ps(vec_first(n), p);
}
static inline void v_store_n(float *p, vf v, size_t n)
{
    _mm512_mask_storeu_ps(p, vec_first(n), v);
}
static inline vm v_bytes(const uint8_t *p, size_t n)
{
    const __m128i b = _mm_maskz_loadu_epi8(vec_first(n), p);
    return _mm_test_epi8_mask(b, b);
}
static inline void vi_store_bytes(uint8_t *p, vi v, size_t n)
{
    _mm_mask_storeu_epi8(p, vec_first(n), _mm512_cvtepi32_epi8(v));
}
static inline float v_sum(vf x)
{
    const __m256 y = _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
    __m128 z = _mm_add_ps(_mm256_castps256_ps128(y), _mm256_extractf128_ps(y, 1));
    z = _mm_add_ps(z, _mm_movehl_ps(z, z));
    z = _mm_add_ss(z, _mm_shuffle_ps(z, z, 1));
    return _mm_cvtss_f32(z);
}
static inline void v_transpose(vf x[16])
{
    vf t[16], u[16];
#pragma GCC unroll 8
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_ps(x[i], x[i + 1]);
        t[i + 1] = _mm512_unpackhi_ps(x[i], x[i + 1]);
    }
    /* quarter q of u[4g + j]: column 4q + j of rows 4g to 4g + 3 */
#pragma GCC unroll 4
    for (int g = 0; g < 16; g += 4)
#pragma GCC unroll 2
        for (int j = 0; j < 2; j++) {
            const __m512d a = _mm512_castps_pd(t[g + j]), b = _mm512_castps_pd(t[g + 2 + j]);
            u[g + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
            u[g + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
        }
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
        const vf a = _mm512_shuffle_f32x4(u[j], u[4 + j], 0x88);
        const vf b = _mm512_shuffle_f32x4(u[j], u[4 + j], 0xdd);
        const vf c = _mm512_shuffle_f32x4(u[8 + j], u[12 + j], 0x88);
        const vf d = _mm512_shuffle_f32x4(u[8 + j], u[12 + j], 0xdd);
        x[j] = _mm512_shuffle_f32x4(a, c, 0x88);
        x[4 + j] = _mm512_shuffle_f32x4(b, d, 0x88);
        x[8 + j] = _mm512_shuffle_f32x4(a, c, 0xdd);
        x[12 + j] = _mm512_shuffle_f32x4(b, d, 0xdd);
    }
}
/* Sixteen sums at once: each step adds halves as v_sum does, two or more vectors to a register.
 * Quarter q of u[i] comes from vector 4i + q, so lane 4q + j of the last sum belongs to vector
 * 4j + q: vectors enter in that order. */
static inline vf v_sums(const vf x[16])
{
    vf t[8], u[4], v[2];
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
        const vf a = x[i % 2 * 8 + i / 2], b = x[i % 2 * 8 + i / 2 + 4];
        t[i] =
            _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++)
        u[i] = _mm512_add_ps(_mm512_shuffle_f32x4(t[2 * i], t[2 * i + 1], 0x88),
                             _mm512_shuffle_f32x4(t[2 * i], t[2 * i + 1], 0xdd));
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++) {
        const __m512d a = _mm512_castps_pd(u[2 * i]), b = _mm512_castps_pd(u[2 * i + 1]);
        v[i] = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(a, b)),
                             _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)));
    }
    return _mm512_add_ps(_mm512_shuffle_ps(v[0], v[1], 0x88),
                         _mm512_shuffle_ps(v[0], v[1], 0xdd));
}
static inline float v_largest(vf x)
{
    const __m256 y = _mm256_max_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
    __m128 z = _mm_max_ps(_mm256_castps256_ps128(y), _mm256_extractf128_ps(y, 1));
    z = _mm_max_ps(z, _mm_movehl_ps(z, z));
    z = _mm_max_ss(z, _mm_shuffle_ps(z, z, 1));
    return _mm_cvtss_f32(z);
}
static inline vd vd_load(const float *p, size_t n)
{
    const __mmask8 m = _cvtu32_mask8(0xffu >> (8 - (n < 8 ? n : 8)));
    return _mm512_cvtps_pd(_mm256_maskz_loadu_ps(m, p));
}
static inline double vd_sum(vd x)
{
    const __m256d y = _mm256_add_pd(_mm512_castpd512_pd256(x), _mm512_extractf64x4_pd(x, 1));
    __m128d z = _mm_add_pd(_mm256_castpd256_pd128(y), _mm256_extractf128_pd(y, 1));
    z = _mm_add_sd(z, _mm_unpackhi_pd(z, z));
    return _mm_cvtsd_f64(z);
}

#endif
