/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_wire_small.c - ACK, NACK, CREDIT, WANT, RESULT_ACK, CANCEL: first byte the type. */
#include "base/err.h"
#include "fuzz.h"
#include "proto/wire.h"

#include <stdlib.h>
#include <string.h>

/* Parse, pack, parse, pack: the two packings are one. */
#define AGAIN(name)                                                                            \
    do {                                                                                       \
        struct wire_##name m;                                                                  \
        unsigned char *a, *b;                                                                  \
        size_t an, bn;                                                                         \
        if (wire_##name##_parse(&m, body, n))                                                  \
            break;                                                                             \
        bug_on(wire_##name##_pack(&m, &a, &an));                                               \
        bug_on(wire_##name##_parse(&m, a, an));                                                \
        bug_on(wire_##name##_pack(&m, &b, &bn));                                               \
        bug_on(an != bn || memcmp(a, b, an) != 0);                                             \
        free(a);                                                                               \
        free(b);                                                                               \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wire_envelope e;
    wire_envelope_parse(&e, data, size);
    if (size < 1)
        return 0;
    const uint8_t *body = data + 1;
    size_t n = size - 1;
    switch (data[0]) {
    case WIRE_ACK:
        AGAIN(ack);
        break;
    case WIRE_NACK:
        AGAIN(nack);
        break;
    case WIRE_CREDIT:
        AGAIN(credit);
        break;
    case WIRE_WANT:
        AGAIN(want);
        break;
    case WIRE_RESULT_ACK:
        AGAIN(result_ack);
        break;
    case WIRE_CANCEL:
        AGAIN(cancel);
        break;
    default:
        break;
    }
    return 0;
}
