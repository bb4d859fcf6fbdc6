/* SPDX-License-Identifier: Apache-2.0 */
/* rng.c - the sequential generator of simulators and the seeds drawn for them.
 *
 * A simulator draws an unknown number of values per step, so a counter per purpose does not
 * fit it. It gets xoshiro256** (Blackman and Vigna, "Scrambled linear pseudorandom number
 * generators", 2021), whose state is filled by SplitMix64 from a 64-bit seed that the keyed
 * generator draws per episode: an episode depends on nothing that ran before it. */
#include "base/rng.h"
#include "base/err.h"

static uint64_t rotl(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

void rng_seed(struct rng *r, uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        seed += 0x9e3779b97f4a7c15U;
        uint64_t z = seed;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
        r->s[i] = z ^ (z >> 31);
    }
}

uint64_t rng_u64(struct rng *r)
{
    uint64_t *s = r->s;
    uint64_t result = rotl(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

uint32_t rng_below(struct rng *r, uint32_t n)
{
    bug_on(n == 0);
    /* The high half of word * n is the result; of its low halves, the first 2^32 mod n are one
     * too many for some results, so a word that lands there is drawn again (Lemire, 2019). */
    uint32_t excess = (0U - n) % n;
    uint64_t product;
    do
        product = (rng_u64(r) >> 32) * n;
    while ((uint32_t)product < excess);
    return (uint32_t)(product >> 32);
}

double rng_unit(struct rng *r)
{
    return (double)(rng_u64(r) >> 11) * 0x1p-53;
}

uint64_t draws_seed(const struct draws *d, enum draw_domain domain, uint64_t item)
{
    uint32_t w[2];
    draws_words(d, domain, item, 0, w, 2);
    return w[0] | (uint64_t)w[1] << 32;
}
