/* SPDX-License-Identifier: Apache-2.0 */
/* text.h - may these outside bytes be shown to people? */
#ifndef PROTO_TEXT_H
#define PROTO_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* UTF-8 (shortest forms, no surrogates), no NUL and no control characters: nothing that could
 * forge a log line or drive a terminal. lines: newlines and tabs are allowed. */
bool text_ok(const void *p, size_t n, bool lines);

#endif
