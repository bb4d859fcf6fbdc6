/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_wire_job.c - JOB with its checksum mended; what is accepted packs and parses again. */
#include "base/err.h"
#include "fuzz.h"
#include "proto/wire.h"

#include <stdlib.h>
#include <string.h>

enum { CRC_AT = 2, HEAD = 6 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wire_job j, again;
    unsigned char *body, *copy;
    size_t n;
    wire_job_parse(&j, data, size);
    if (size <= HEAD)
        return 0;
    copy = malloc(size);
    bug_on(!copy);
    memcpy(copy, data, size);
    uint32_t crc = crc32c(0, copy + HEAD, size - HEAD);
    for (int i = 0; i < 4; i++)
        copy[CRC_AT + i] = (unsigned char)(crc >> (24 - 8 * i));
    if (wire_job_parse(&j, copy, size) == 0) {
        bug_on(wire_job_pack(&j, &body, &n));
        bug_on(wire_job_parse(&again, body, n));
        bug_on(again.job_id != j.job_id || again.set.count != j.set.count);
        bug_on(memcmp(again.obs, j.obs, (size_t)j.W * j.rows * j.N * j.O * 4) != 0);
        free(body);
    }
    free(copy);
    return 0;
}
