/* SPDX-License-Identifier: Apache-2.0 */
/* text.c - what strings from the wire must look like before they reach a log or a terminal. */
#include "text.h"

#include <stdint.h>

/* Bytes of the UTF-8 sequence at p (of n left), or 0. */
static size_t sequence(const unsigned char *p, size_t n)
{
    size_t len = p[0] < 0x80 ? 1 : p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    if (len == 1)
        return 1;
    if (p[0] < 0xc2 || p[0] > 0xf4 || len > n)
        return 0;
    uint32_t c = p[0] & (0x7fu >> len);
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (p[i] & 0x3f);
    }
    bool surrogate = c >= 0xd800 && c <= 0xdfff, control = c >= 0x80 && c < 0xa0;
    return c < least[len] || c > 0x10ffff || surrogate || control ? 0 : len;
}

bool text_ok(const void *p, size_t n, bool lines)
{
    const unsigned char *s = p;
    for (size_t i = 0; i < n;) {
        bool layout = s[i] == '\n' || s[i] == '\t';
        if ((s[i] < 0x20 && !(lines && layout)) || s[i] == 0x7f)
            return false;
        size_t len = sequence(s + i, n - i);
        if (!len)
            return false;
        i += len;
    }
    return true;
}
