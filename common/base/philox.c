/* SPDX-License-Identifier: Apache-2.0 */
/* philox.c - Philox4x32-10 and its use as a source of keyed draws.
 *
 * Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011. A block
 * of four words is a pure function of a 128-bit counter and a 64-bit key; ten rounds of two
 * 32x32-bit products, halves swapped and mixed with a key that moves by a constant per round.
 *
 * SPEED  Planning draws tens of millions of numbers per second. Consecutive draws differ in c0
 * only, so LANES blocks run side by side: four blocks to an AVX2 register, two registers deep.
 * Compilers split the 32x32-bit products badly, hence intrinsics. All of it is integer
 * arithmetic and one exact conversion, so every path gives the same bits; the tests compare
 * them with philox4x32 one block at a time. */
#include "base/err.h"
#include "base/rng.h"

#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { LANES = 8, WORDS = 4 * LANES };

static const uint32_t mul0 = 0xd2511f53U, mul1 = 0xcd9e8d57U;
static const uint32_t weyl0 = 0x9e3779b9U, weyl1 = 0xbb67ae85U;

void philox4x32(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)mul0 * c0, p1 = (uint64_t)mul1 * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += weyl0;
        k1 += weyl1;
    }
    out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

/* LANES consecutive blocks of one counter, in draw order. */
static void blocks_base(uint32_t *out, uint32_t block, const uint32_t counter[4],
                        const uint32_t key[2])
{
    for (uint32_t i = 0; i < LANES; i++) {
        uint32_t c[4] = {block + i, counter[1], counter[2], counter[3]};
        philox4x32(out + 4 * i, c, key);
    }
}

#if defined(__x86_64__)
/* Four blocks, one per 64-bit lane. Only the low half of a lane counts: the product reads
 * nothing else, so the high halves may hold anything and need no masking. */
struct quad {
    __m256i c0, c1, c2, c3;
};

__attribute__((target("avx2"))) static inline struct quad quad_round(struct quad q, __m256i k0,
                                                                     __m256i k1)
{
    __m256i p0 = _mm256_mul_epu32(q.c0, _mm256_set1_epi64x((long long)mul0));
    __m256i p1 = _mm256_mul_epu32(q.c2, _mm256_set1_epi64x((long long)mul1));
    struct quad next = {
        .c0 = _mm256_xor_si256(_mm256_xor_si256(_mm256_srli_epi64(p1, 32), q.c1), k0),
        .c1 = p1,
        .c2 = _mm256_xor_si256(_mm256_xor_si256(_mm256_srli_epi64(p0, 32), q.c3), k1),
        .c3 = p0,
    };
    return next;
}

/* Words c0 c1 c2 c3 of block 0, then of block 1, ... */
__attribute__((target("avx2"))) static inline void quad_store(uint32_t *out, struct quad q)
{
    __m256i low = _mm256_blend_epi32(q.c0, _mm256_slli_epi64(q.c1, 32), 0xaa);
    __m256i high = _mm256_blend_epi32(q.c2, _mm256_slli_epi64(q.c3, 32), 0xaa);
    __m256i even = _mm256_unpacklo_epi64(low, high), odd = _mm256_unpackhi_epi64(low, high);
    _mm256_storeu_si256((__m256i *)(void *)out, _mm256_permute2x128_si256(even, odd, 0x20));
    _mm256_storeu_si256((__m256i *)(void *)(out + 8),
                        _mm256_permute2x128_si256(even, odd, 0x31));
}

__attribute__((target("avx2"))) static inline void
blocks_avx2(uint32_t *out, uint32_t block, const uint32_t counter[4], const uint32_t key[2])
{
    struct quad a = {
        .c0 = _mm256_add_epi64(_mm256_set1_epi64x(block), _mm256_set_epi64x(3, 2, 1, 0)),
        .c1 = _mm256_set1_epi64x(counter[1]),
        .c2 = _mm256_set1_epi64x(counter[2]),
        .c3 = _mm256_set1_epi64x(counter[3]),
    };
    struct quad b = a;
    b.c0 = _mm256_add_epi64(a.c0, _mm256_set1_epi64x(4));
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        __m256i v0 = _mm256_set1_epi64x(k0), v1 = _mm256_set1_epi64x(k1);
        a = quad_round(a, v0, v1);
        b = quad_round(b, v0, v1);
        k0 += weyl0;
        k1 += weyl1;
    }
    quad_store(out, a);
    quad_store(out + WORDS / 2, b);
}
#endif

/* u = (word >> 8) * 2^-24: the 24 bits fit a float, so the conversion is exact. */
__attribute__((always_inline)) static inline void to_unit(float *restrict u,
                                                          const uint32_t *restrict w, size_t n)
{
    for (size_t i = 0; i < n; i++)
        u[i] = (float)(int32_t)(w[i] >> 8) * 0x1p-24f;
}

typedef void blocks_fn(uint32_t *out, uint32_t block, const uint32_t counter[4],
                       const uint32_t key[2]);

/* Draws 0..n-1 as words (u == NULL) or uniforms (w == NULL). Inlined with a constant `blocks`,
 * so that each instruction set gets a loop of its own. */
__attribute__((always_inline)) static inline void draw(blocks_fn *blocks, float *u, uint32_t *w,
                                                       size_t n, const uint32_t counter[4],
                                                       const uint32_t key[2])
{
    uint32_t words[WORDS];
    uint32_t block = 0;
    for (size_t at = 0; at < n; block += LANES, at += WORDS) {
        size_t count = n - at < WORDS ? n - at : WORDS;
        if (count <= 4) { /* one block is cheaper alone */
            uint32_t one[4] = {block, counter[1], counter[2], counter[3]};
            philox4x32(words, one, key);
        } else {
            blocks(words, block, counter, key);
        }
        if (w)
            memcpy(w + at, words, count * sizeof *w);
        if (u && count == WORDS)
            to_unit(u + at, words, WORDS); /* the constant is what vectorises */
        else if (u)
            to_unit(u + at, words, count);
    }
}

/* Whether the iteration is part of the counter: acting and evaluation do not know it. */
static int knows_iteration(enum draw_domain domain)
{
    switch (domain) {
    case DRAW_INIT:
    case DRAW_ENV:
    case DRAW_ACT_LATENT:
    case DRAW_ACT_ACTION:
    case DRAW_ABSORB:
    case DRAW_EVAL_ENV:
    case DRAW_EVAL_LATENT:
    case DRAW_EVAL_ACT:
        return 0;
    default:
        return 1;
    }
}

static void place(uint32_t counter[4], uint32_t key[2], const struct philox *p,
                  enum draw_domain domain, uint64_t item, uint32_t sub)
{
    bug_on(domain < DRAW_INIT || domain >= DRAW_DOMAINS);
    bug_on(item >> 40 || sub >> 24 || p->iteration >> 24);
    counter[0] = 0;
    counter[1] = (uint32_t)item;
    counter[2] = (uint32_t)(item >> 32) << 24 | sub;
    counter[3] = (uint32_t)domain << 24 | (knows_iteration(domain) ? p->iteration : 0);
    key[0] = (uint32_t)p->seed;
    key[1] = (uint32_t)(p->seed >> 32);
}

static void fill_base(void *state, enum draw_domain domain, uint64_t item, uint32_t sub,
                      float *u, size_t n)
{
    uint32_t counter[4], key[2];
    place(counter, key, state, domain, item, sub);
    draw(blocks_base, u, NULL, n, counter, key);
}

static void words_base(void *state, enum draw_domain domain, uint64_t item, uint32_t sub,
                       uint32_t *w, size_t n)
{
    uint32_t counter[4], key[2];
    place(counter, key, state, domain, item, sub);
    draw(blocks_base, NULL, w, n, counter, key);
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static void
fill_avx2(void *state, enum draw_domain domain, uint64_t item, uint32_t sub, float *u, size_t n)
{
    uint32_t counter[4], key[2];
    place(counter, key, state, domain, item, sub);
    draw(blocks_avx2, u, NULL, n, counter, key);
}

__attribute__((target("avx2"))) static void words_avx2(void *state, enum draw_domain domain,
                                                       uint64_t item, uint32_t sub, uint32_t *w,
                                                       size_t n)
{
    uint32_t counter[4], key[2];
    place(counter, key, state, domain, item, sub);
    draw(blocks_avx2, NULL, w, n, counter, key);
}
#endif

struct draws philox_draws(struct philox *p)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2"))
        return (struct draws){.fill = fill_avx2, .words = words_avx2, .state = p};
#endif
    return (struct draws){.fill = fill_base, .words = words_base, .state = p};
}
