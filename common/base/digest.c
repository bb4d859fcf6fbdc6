/* SPDX-License-Identifier: Apache-2.0 */
/* digest.c - BLAKE2b as libsodium computes it, under names of our own.
 *
 * sodium_init picks the fastest implementation for the CPU; it may be called from any thread
 * and any number of times. If it fails (no source of randomness), the portable implementation
 * gives the same digests, so the result is ignored. */
#include "base/digest.h"

#include <sodium.h>
#include <string.h>

_Static_assert(sizeof(crypto_generichash_state) <= sizeof(struct digest_state),
               "digest_state must hold libsodium's state");
_Static_assert(_Alignof(struct digest_state) >= 64, "libsodium's state is 64-byte aligned");

static crypto_generichash_state *inner(struct digest_state *s)
{
    return (crypto_generichash_state *)(void *)s->opaque;
}

static void ready(void)
{
    int rc = sodium_init();
    (void)rc;
}

void digest_init(struct digest_state *s)
{
    ready();
    crypto_generichash_init(inner(s), NULL, 0, DIGEST_BYTES);
}

void digest_add(struct digest_state *s, const void *data, size_t n)
{
    if (n)
        crypto_generichash_update(inner(s), data, n);
}

void digest_add_u64(struct digest_state *s, uint64_t v)
{
    unsigned char b[8];
    for (size_t i = 0; i < sizeof b; i++)
        b[i] = (unsigned char)(v >> (8 * i));
    digest_add(s, b, sizeof b);
}

void digest_end(struct digest_state *s, struct digest *out)
{
    crypto_generichash_final(inner(s), out->b, DIGEST_BYTES);
}

void digest_of(struct digest *out, const void *data, size_t n)
{
    struct digest_state s;
    digest_init(&s);
    digest_add(&s, data, n);
    digest_end(&s, out);
}

void digest128_of(unsigned char out[DIGEST128_BYTES], const void *data, size_t n)
{
    static const unsigned char none[1] = {0};
    ready();
    crypto_generichash(out, DIGEST128_BYTES, n ? data : none, n, NULL, 0);
}

void digest_hex(char out[DIGEST_HEX], const struct digest *d)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < DIGEST_BYTES; i++) {
        out[2 * i] = digits[d->b[i] >> 4];
        out[2 * i + 1] = digits[d->b[i] & 15];
    }
    out[DIGEST_HEX - 1] = '\0';
}
