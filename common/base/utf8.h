/* SPDX-License-Identifier: Apache-2.0 */
/* utf8.h - lengths of characters in text from outside. */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* Length of the valid UTF-8 character at s (1 to 4, at most n), 0 if there is none; its code
 * point into *code unless that is NULL. n > 0. */
size_t utf8_next(const char *s, size_t n, uint32_t *code);

#endif
