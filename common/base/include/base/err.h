/* SPDX-License-Identifier: Apache-2.0 */
/* err.h - the error codes of the whole program and the check that stops a bug.
 *
 * Functions return 0 or one of these negative codes; results leave through out-parameters,
 * written only on success. Codes travel on the wire: append, never renumber. */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#define ERR_LIST(X)                                                                            \
    X(NOMEM, -1, "out of memory")                                                              \
    X(INVAL, -2, "argument outside its documented range")                                      \
    X(AGAIN, -3, "nothing there yet, or no room: try again later")                             \
    X(STALE, -4, "older than what is accepted")                                                \
    X(IO, -5, "reading or writing failed")                                                     \
    X(CORRUPT, -6, "stored or received bytes are damaged")                                     \
    X(NOTFOUND, -7, "no such thing")                                                           \
    X(PROTO, -8, "message breaks the protocol")                                                \
    X(CONFIG, -9, "configuration refused")                                                     \
    X(CLOSED, -10, "the other side is gone or shutting down")                                  \
    X(EXISTS, -11, "already there")                                                            \
    X(NUMERIC, -12, "not a finite number")                                                     \
    X(DIVERGED, -13, "two computations of one thing differ")                                   \
    X(UNSUPPORTED, -14, "this machine or build cannot do that")                                \
    X(INTERRUPTED, -15, "stopped by request")

enum err {
#define ERR_ENUM(name, code, text) ERR_##name = (code),
    ERR_LIST(ERR_ENUM)
#undef ERR_ENUM
};

/* Text for a code; 0 is "ok", unknown codes say so. Never NULL. */
const char *err_str(int err);

/* A sentence that explains the last failure, for people: what was wrong and what to do.
 * Thread-local; filled by functions that say so in their header. */
int err_set(int err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
const char *err_text(void);

/* A bug in this program, not in its input: report where and abort, in release builds too. */
#define bug_on(cond)                                                                           \
    do {                                                                                       \
        if (__builtin_expect(!!(cond), 0))                                                     \
            bug_report(__FILE__, __LINE__, #cond);                                             \
    } while (0)
_Noreturn void bug_report(const char *file, int line, const char *what);

/* Exit statuses of every program (sysexits.h numbers). */
enum exit_status {
    EXIT_OK = 0,
    EXIT_USAGE = 64,
    EXIT_DATA = 65,
    EXIT_UNAVAILABLE = 69,
    EXIT_INTERNAL = 70,
    EXIT_IO = 74,
    EXIT_CONFIG = 78,
};

#endif
