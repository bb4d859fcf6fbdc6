/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_wire_control.c - the control plane: first byte the type, then the body.
 *
 * What is accepted must pack again and read back to the same bytes. */
#include "base/err.h"
#include "fuzz.h"
#include "proto/wire.h"

#include <stdlib.h>
#include <string.h>

static struct wire_control first, second;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned char *a = NULL, *b = NULL;
    size_t an = 0, bn = 0;
    if (size < 1 || wire_control_parse(&first, (enum wire_type)data[0], data + 1, size - 1))
        return 0;
    if (wire_control_pack(&first, &a, &an)) {
        bug_on(first.type != WIRE_WELCOME); /* its configuration may be larger than we send */
        return 0;
    }
    bug_on(wire_control_parse(&second, first.type, a, an));
    bug_on(wire_control_pack(&second, &b, &bn));
    bug_on(an != bn || memcmp(a, b, an) != 0);
    free(a);
    free(b);
    return 0;
}
