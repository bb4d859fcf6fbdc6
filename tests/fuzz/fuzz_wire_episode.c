/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_wire_episode.c - EPISODE with its checksum mended, so that the bytes behind it count.
 *
 * What is accepted must have its tensors inside the input, pack again, and keep its digest. */
#include "base/err.h"
#include "fuzz.h"
#include "proto/wire.h"

#include <stdlib.h>
#include <string.h>

enum { CRC_AT = 20, HEAD = 24 };

static void mend_crc(unsigned char *p, size_t n)
{
    uint32_t crc = crc32c(0, p + HEAD, n - HEAD);
    for (int i = 0; i < 4; i++)
        p[CRC_AT + i] = (unsigned char)(crc >> (24 - 8 * i));
}

static void inside(const void *view, const unsigned char *p, size_t n)
{
    const unsigned char *v = view;
    bug_on(v && (v < p || v > p + n));
}

static void check_again(const struct wire_episode *e)
{
    static const struct digest set = {{1}};
    struct wire_episode again;
    struct digest a, b;
    unsigned char *body;
    size_t n;
    bug_on(wire_episode_pack(e, &body, &n));
    bug_on(wire_episode_parse(&again, body, n));
    wire_episode_digest(e, &set, &a);
    wire_episode_digest(&again, &set, &b);
    bug_on(memcmp(a.b, b.b, DIGEST_BYTES) != 0);
    free(body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wire_episode e;
    unsigned char token[WIRE_ID];
    uint64_t seq;
    wire_episode_peek(token, &seq, data, size);
    wire_episode_parse(&e, data, size);
    if (size <= HEAD)
        return 0;
    unsigned char *copy = malloc(size); /* exact size: ASan sees one byte too far */
    bug_on(!copy);
    memcpy(copy, data, size);
    mend_crc(copy, size);
    if (wire_episode_parse(&e, copy, size) == 0) {
        inside(e.obs, copy, size);
        inside(e.avail, copy, size);
        inside(e.action, copy, size);
        inside(e.reward, copy, size);
        inside(e.state, copy, size);
        check_again(&e);
    }
    free(copy);
    return 0;
}
