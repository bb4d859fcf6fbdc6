/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_wire_weights.c - GET, CHUNK, GONE: the same bytes as each of the three. */
#include "base/err.h"
#include "fuzz.h"
#include "proto/wire.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wire_get get;
    struct wire_chunk chunk;
    struct wire_gone gone;
    unsigned char out[WIRE_GET_BYTES];
    if (wire_get_parse(&get, data, size) == 0) {
        wire_get_pack(out, &get);
        bug_on(memcmp(out, data, size) != 0 || get.length > WIRE_CHUNK_MAX);
    }
    if (wire_chunk_parse(&chunk, data, size) == 0) {
        wire_chunk_pack(out, &chunk);
        bug_on(memcmp(out, data, size) != 0);
    }
    if (wire_gone_parse(&gone, data, size) == 0) {
        wire_gone_pack(out, &gone);
        bug_on(memcmp(out, data, size) != 0);
    }
    return 0;
}
