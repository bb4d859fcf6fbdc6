/* SPDX-License-Identifier: Apache-2.0 */
/* utf8.c - RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF. */
#include "utf8.h"

size_t utf8_next(const char *s, size_t n, uint32_t *code)
{
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned char lead = (unsigned char)s[0];
    size_t len = lead < 0x80             ? 1
                 : (lead & 0xe0) == 0xc0 ? 2
                 : (lead & 0xf0) == 0xe0 ? 3
                 : (lead & 0xf8) == 0xf0 ? 4
                                         : 0;
    if (len == 0 || len > n)
        return 0;
    uint32_t value = len == 1 ? lead : lead & (0x7fU >> len);
    for (size_t i = 1; i < len; i++) {
        unsigned char c = (unsigned char)s[i];
        if ((c & 0xc0) != 0x80)
            return 0;
        value = value << 6 | (c & 0x3fU);
    }
    if (value < least[len] || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff))
        return 0;
    if (code)
        *code = value;
    return len;
}
