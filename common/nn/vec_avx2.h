/* SPDX-License-Identifier: Apache-2.0 */
/* vec_avx2.h - the sixteen-lane vector of kern_impl.h in two AVX2 registers; vec_ref.h says
 * what every function means. Compiled with -mavx2 -mfma. */
#ifndef NN_VEC_AVX2_H
#define NN_VEC_AVX2_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { VEC_TILE_ROWS = 6, VEC_TILE_COLS = 1, VEC_GATHER = 4 };

typedef struct {
    __m256 a, b;
} vf;
typedef struct {
    __m256i a, b;
} vi;
typedef struct {
    __m256 a, b; /* all bits of a lane, or none */
} vm;
typedef struct {
    __m256d a, b;
} vd;

#define VEC_OP2(name, op)                                                                      \
    static inline vf name(vf x, vf y)                                                          \
    {                                                                                          \
        return (vf){op(x.a, y.a), op(x.b, y.b)};                                               \
    }
VEC_OP2(v_add, _mm256_add_ps)
VEC_OP2(v_sub, _mm256_sub_ps)
VEC_OP2(v_mul, _mm256_mul_ps)
VEC_OP2(v_div, _mm256_div_ps)
VEC_OP2(v_min, _mm256_min_ps)
VEC_OP2(v_max, _mm256_max_ps)
#undef VEC_OP2

static inline vf v_set(float x)
{
    const __m256 r = _mm256_set1_ps(x);
    return (vf){r, r};
}
static inline vf v_zero(void)
{
    return v_set(0);
}
static inline vf v_load(const float *p)
{
    return (vf){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}
static inline void v_store(float *p, vf v)
{
    _mm256_storeu_ps(p, v.a);
    _mm256_storeu_ps(p + 8, v.b);
}
static inline vi vec_first(size_t n)
{
    static const int32_t edge[32] = {-1, -1, -1, -1, -1, -1, -1, -1,
                                     -1, -1, -1, -1, -1, -1, -1, -1};
    const int32_t *at = edge + 16 - (n < 16 ? n : 16);
    vi r;
    memcpy(&r.a, at, sizeof r.a);
    memcpy(&r.b, at + 8, sizeof r.b);
    return r;
}
static inline vf v_load_n(const float *p, size_t n)
{
    if (n >= 16)
        return v_load(p);
    const vi m = vec_first(n);
    return (vf){_mm256_maskload_ps(p, m.a),
                n > 8 ? _mm256_maskload_ps(p + 8, m.b) : _mm256_setzero_ps()};
}
static inline void v_store_n(float *p, vf v, size_t n)
{
    if (n >= 16) {
        v_store(p, v);
        return;
    }
    const vi m = vec_first(n);
    _mm256_maskstore_ps(p, m.a, v.a);
    if (n > 8)
        _mm256_maskstore_ps(p + 8, m.b, v.b);
}
static inline vf v_fma(vf x, vf y, vf z)
{
    return (vf){_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
}
static inline vf v_fnma(vf x, vf y, vf z)
{
    return (vf){_mm256_fnmadd_ps(x.a, y.a, z.a), _mm256_fnmadd_ps(x.b, y.b, z.b)};
}
static inline vf v_sqrt(vf x)
{
    return (vf){_mm256_sqrt_ps(x.a), _mm256_sqrt_ps(x.b)};
}
static inline vm v_lt(vf x, vf y)
{
    return (vm){_mm256_cmp_ps(x.a, y.a, _CMP_LT_OQ), _mm256_cmp_ps(x.b, y.b, _CMP_LT_OQ)};
}
static inline vf v_select(vm m, vf x, vf y)
{
    return (vf){_mm256_blendv_ps(y.a, x.a, m.a), _mm256_blendv_ps(y.b, x.b, m.b)};
}
static inline vi v_bits(vf x)
{
    return (vi){_mm256_castps_si256(x.a), _mm256_castps_si256(x.b)};
}
static inline vf v_floats(vi x)
{
    return (vf){_mm256_castsi256_ps(x.a), _mm256_castsi256_ps(x.b)};
}
static inline vi vi_set(int32_t x)
{
    const __m256i r = _mm256_set1_epi32(x);
    return (vi){r, r};
}
static inline vi vi_add(vi x, vi y)
{
    return (vi){_mm256_add_epi32(x.a, y.a), _mm256_add_epi32(x.b, y.b)};
}
static inline vi vi_sub(vi x, vi y)
{
    return (vi){_mm256_sub_epi32(x.a, y.a), _mm256_sub_epi32(x.b, y.b)};
}
static inline vi vi_and(vi x, vi y)
{
    return (vi){_mm256_and_si256(x.a, y.a), _mm256_and_si256(x.b, y.b)};
}
static inline vi vi_or(vi x, vi y)
{
    return (vi){_mm256_or_si256(x.a, y.a), _mm256_or_si256(x.b, y.b)};
}
static inline vi vi_select(vm m, vi x, vi y)
{
    return v_bits(v_select(m, v_floats(x), v_floats(y)));
}
#define vi_shl(x, n) ((vi){_mm256_slli_epi32((x).a, n), _mm256_slli_epi32((x).b, n)})
#define vi_sar(x, n) ((vi){_mm256_srai_epi32((x).a, n), _mm256_srai_epi32((x).b, n)})
static inline vf vi_to_float(vi x)
{
    return (vf){_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)};
}
static inline vm v_bytes(const uint8_t *p, size_t n)
{
    uint8_t part[16] = {0};
    memcpy(part, p, n < 16 ? n : 16);
    __m128i b;
    memcpy(&b, part, sizeof b);
    const __m256i zero = _mm256_setzero_si256();
    const __m256i lo = _mm256_cvtepu8_epi32(b);
    const __m256i hi = _mm256_cvtepu8_epi32(_mm_srli_si128(b, 8));
    return (vm){_mm256_castsi256_ps(_mm256_cmpgt_epi32(lo, zero)),
                _mm256_castsi256_ps(_mm256_cmpgt_epi32(hi, zero))};
}
static inline void vi_store_bytes(uint8_t *p, vi v, size_t n)
{
    int32_t part[16];
    memcpy(part, &v.a, sizeof v.a);
    memcpy(part + 8, &v.b, sizeof v.b);
    for (size_t i = 0; i < 16 && i < n; i++)
        p[i] = (uint8_t)part[i];
}
static inline float v_sum(vf x)
{
    const __m256 y = _mm256_add_ps(x.a, x.b);
    __m128 z = _mm_add_ps(_mm256_castps256_ps128(y), _mm256_extractf128_ps(y, 1));
    z = _mm_add_ps(z, _mm_movehl_ps(z, z));
    z = _mm_add_ss(z, _mm_shuffle_ps(z, z, 1));
    return _mm_cvtss_f32(z);
}
static inline void vec_transpose8(__m256 r[8])
{
    __m256 t[8], u[8];
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int i = 0; i < 8; i += 4)
        for (int j = 0; j < 2; j++) {
            u[i + 2 * j] = _mm256_shuffle_ps(t[i + j], t[i + 2 + j], 0x44);
            u[i + 2 * j + 1] = _mm256_shuffle_ps(t[i + j], t[i + 2 + j], 0xee);
        }
    for (int i = 0; i < 4; i++) {
        r[i] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x20);
        r[i + 4] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x31);
    }
}
static inline void v_transpose(vf x[16])
{
    __m256 q[4][8]; /* left and right halves of the upper and of the lower eight rows */
    for (int i = 0; i < 8; i++) {
        q[0][i] = x[i].a;
        q[1][i] = x[i].b;
        q[2][i] = x[i + 8].a;
        q[3][i] = x[i + 8].b;
    }
    for (int k = 0; k < 4; k++)
        vec_transpose8(q[k]);
    for (int i = 0; i < 8; i++) {
        x[i] = (vf){q[0][i], q[2][i]};
        x[i + 8] = (vf){q[1][i], q[3][i]};
    }
}
/* Sums of eight vectors of eight lanes: pairs 4, 2 and 1 apart, as in v_sum. */
static inline __m256 vec_sums8(const __m256 y[8])
{
    __m256 z[4], v[2];
    for (int i = 0; i < 4; i++) /* vectors i and i + 4 side by side */
        z[i] = _mm256_add_ps(_mm256_permute2f128_ps(y[i], y[i + 4], 0x20),
                             _mm256_permute2f128_ps(y[i], y[i + 4], 0x31));
    for (int i = 0; i < 2; i++) {
        const __m256d a = _mm256_castps_pd(z[2 * i]), b = _mm256_castps_pd(z[2 * i + 1]);
        v[i] = _mm256_add_ps(_mm256_castpd_ps(_mm256_unpacklo_pd(a, b)),
                             _mm256_castpd_ps(_mm256_unpackhi_pd(a, b)));
    }
    return _mm256_add_ps(_mm256_shuffle_ps(v[0], v[1], 0x88),
                         _mm256_shuffle_ps(v[0], v[1], 0xdd));
}
static inline vf v_sums(const vf x[16])
{
    __m256 y[16];
    for (int i = 0; i < 16; i++)
        y[i] = _mm256_add_ps(x[i].a, x[i].b);
    return (vf){vec_sums8(y), vec_sums8(y + 8)};
}
static inline float v_largest(vf x)
{
    const __m256 y = _mm256_max_ps(x.a, x.b);
    __m128 z = _mm_max_ps(_mm256_castps256_ps128(y), _mm256_extractf128_ps(y, 1));
    z = _mm_max_ps(z, _mm_movehl_ps(z, z));
    z = _mm_max_ss(z, _mm_shuffle_ps(z, z, 1));
    return _mm_cvtss_f32(z);
}

static inline vd vd_zero(void)
{
    return (vd){_mm256_setzero_pd(), _mm256_setzero_pd()};
}
static inline vd vd_load(const float *p, size_t n)
{
    const __m256 x = n >= 8 ? _mm256_loadu_ps(p) : _mm256_maskload_ps(p, vec_first(n).a);
    return (vd){_mm256_cvtps_pd(_mm256_castps256_ps128(x)),
                _mm256_cvtps_pd(_mm256_extractf128_ps(x, 1))};
}
static inline vd vd_add(vd x, vd y)
{
    return (vd){_mm256_add_pd(x.a, y.a), _mm256_add_pd(x.b, y.b)};
}
static inline vd vd_fma(vd x, vd y, vd z)
{
    return (vd){_mm256_fmadd_pd(x.a, y.a, z.a), _mm256_fmadd_pd(x.b, y.b, z.b)};
}
static inline double vd_sum(vd x)
{
    const __m256d y = _mm256_add_pd(x.a, x.b);
    __m128d z = _mm_add_pd(_mm256_castpd256_pd128(y), _mm256_extractf128_pd(y, 1));
    z = _mm_add_sd(z, _mm_unpackhi_pd(z, z));
    return _mm_cvtsd_f64(z);
}

#endif
