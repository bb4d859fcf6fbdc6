/* SPDX-License-Identifier: Apache-2.0 */
/* err.c - what the error codes mean, and the last explanation of this thread.
 *
 * WHY  A code is enough for a program to decide; a person needs the sentence. The sentence is
 * kept per thread, in a fixed buffer, so that reporting an error never allocates and two
 * threads never overwrite each other. It stays until the next err_set of the thread. */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ERR_TEXT = 1024 };

static _Thread_local char last_text[ERR_TEXT];

const char *err_str(int err)
{
    switch (err) {
    case 0:
        return "ok";
#define ERR_CASE(name, code, text)                                                             \
    case code:                                                                                 \
        return text;
        ERR_LIST(ERR_CASE)
#undef ERR_CASE
    default:
        return "unknown error code";
    }
}

int err_set(int err, const char *fmt, ...)
{
    /* Formatted apart first: the arguments may include err_text() itself. */
    char text[ERR_TEXT];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (n < 0)
        text[0] = '\0';
    memcpy(last_text, text, sizeof text);
    return err;
}

const char *err_text(void)
{
    return last_text;
}

_Noreturn void bug_report(const char *file, int line, const char *what)
{
    /* No stdio stream: its lock may be held by the thread that broke. */
    char text[ERR_TEXT];
    int n =
        snprintf(text, sizeof text, "bug at %s:%d: %s - please report it\n", file, line, what);
    if (n > 0) {
        size_t len = (size_t)n < sizeof text ? (size_t)n : sizeof text - 1;
        ssize_t written = write(STDERR_FILENO, text, len);
        (void)written; /* nothing better to do before aborting */
    }
    abort();
}
