/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_wire_result.c - RESULT with its checksum mended; what is accepted keeps its digest. */
#include "base/err.h"
#include "fuzz.h"
#include "proto/wire.h"

#include <stdlib.h>
#include <string.h>

enum { CRC_AT = 20, HEAD = 24 };

static void digest_result(const struct wire_result *r, struct digest *out)
{
    struct digest_state s;
    digest_init(&s);
    wire_result_digest_add(&s, r);
    digest_end(&s, out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wire_result r, again;
    struct digest a, b;
    unsigned char *body, *copy;
    size_t n;
    wire_result_parse(&r, data, size);
    if (size <= HEAD)
        return 0;
    copy = malloc(size);
    bug_on(!copy);
    memcpy(copy, data, size);
    uint32_t crc = crc32c(0, copy + HEAD, size - HEAD);
    for (int i = 0; i < 4; i++)
        copy[CRC_AT + i] = (unsigned char)(crc >> (24 - 8 * i));
    if (wire_result_parse(&r, copy, size) == 0) {
        bug_on(wire_result_pack(&r, &body, &n));
        bug_on(wire_result_parse(&again, body, n));
        digest_result(&r, &a);
        digest_result(&again, &b);
        bug_on(memcmp(a.b, b.b, DIGEST_BYTES) != 0 || again.stats_count != r.stats_count);
        free(body);
    }
    free(copy);
    return 0;
}
