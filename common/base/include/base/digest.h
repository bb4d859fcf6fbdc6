/* SPDX-License-Identifier: Apache-2.0 */
/* digest.h - BLAKE2b-256 content ids (libsodium) and crc32c. */
#ifndef BASE_DIGEST_H
#define BASE_DIGEST_H

#include <stddef.h>
#include <stdint.h>

enum { DIGEST_BYTES = 32, DIGEST_HEX = 65, DIGEST128_BYTES = 16 };

struct digest {
    unsigned char b[DIGEST_BYTES];
};

/* Streaming: init, add in any pieces, end. Opaque state is libsodium's, 64-byte aligned. */
struct digest_state {
    _Alignas(64) unsigned char opaque[384];
};
void digest_init(struct digest_state *s);
void digest_add(struct digest_state *s, const void *data, size_t n);
void digest_add_u64(struct digest_state *s, uint64_t v); /* little-endian, 8 bytes */
void digest_end(struct digest_state *s, struct digest *out);

void digest_of(struct digest *out, const void *data, size_t n);
void digest128_of(unsigned char out[DIGEST128_BYTES], const void *data, size_t n);
void digest_hex(char out[DIGEST_HEX], const struct digest *d);

/* CRC-32C (Castagnoli), start with crc = 0; SSE4.2 where the CPU has it, else a table. */
uint32_t crc32c(uint32_t crc, const void *data, size_t n);

#endif
