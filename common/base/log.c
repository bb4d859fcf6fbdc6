/* SPDX-License-Identifier: Apache-2.0 */
/* log.c - an event becomes one line and one write(2).
 *
 * WHY  Lines of several threads, and of several processes on one pipe, must not interleave. A
 * line is built on the caller's stack and leaves in a single write of at most LINE_MAX bytes,
 * which is PIPE_BUF: the kernel keeps such writes whole. No lock is held, so a slow reader
 * delays only the thread whose line it is.
 *
 * FORMS  A person at a terminal reads
 *     12:00:00.000 info  learner  worker lost  worker=a1b2 silent_ms=15003
 * and a program reads {"time":...,"level":...,"component":...,"event":...,"worker":...}. The
 * key=value words are split for JSON here, so call sites are written once. A word without '='
 * continues the value before it; double quotes keep a value with '=' or blanks together.
 *
 * HOSTILE TEXT  Values may come from a peer: control characters never reach the terminal, and
 * bytes that are not UTF-8 never reach JSON.
 *
 * The identity of the process below is set once, before other threads start. */
#include "base/log.h"
#include "base/clock.h"
#include "utf8.h"

#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { LINE_BYTES = 4096, WORDS_BYTES = 2048, NAME_BYTES = 64, MAX_NUMBER = 15 };

_Static_assert(LINE_BYTES <= PIPE_BUF, "a line must leave in one atomic write");

static struct {
    char component[NAME_BYTES], id[NAME_BYTES];
    bool json;
} self = {.component = "mag"};
static _Atomic int threshold = LOG_INFO;

static const char *const level_names[] = {"debug", "info", "warn", "error"};

void log_init(const char *component, const char *id, enum log_level level,
              enum log_format format)
{
    snprintf(self.component, sizeof self.component, "%s", component);
    snprintf(self.id, sizeof self.id, "%s", id ? id : "");
    self.json = format == LOG_JSON || (format == LOG_AUTO && !isatty(STDERR_FILENO));
    log_set_level(level);
    /* The reader of our lines may leave; training goes on without it. */
    signal(SIGPIPE, SIG_IGN);
}

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&threshold, (int)level, memory_order_relaxed);
}

/* A line in the making; what does not fit is dropped, room for the end is kept. */
struct line {
    char text[LINE_BYTES];
    size_t len;
};

enum { LINE_TAIL = 4 }; /* closing quote, brace, newline */

static size_t room(const struct line *l)
{
    return l->len < LINE_BYTES - LINE_TAIL ? LINE_BYTES - LINE_TAIL - l->len : 0;
}

static void put(struct line *l, const char *s, size_t n)
{
    if (n > room(l))
        n = room(l);
    memcpy(l->text + l->len, s, n);
    l->len += n;
}

static void put_str(struct line *l, const char *s)
{
    put(l, s, strlen(s));
}

/* Text without control characters and broken UTF-8; JSON escapes where asked. */
static void put_clean(struct line *l, const char *s, size_t n, bool json)
{
    for (size_t i = 0; i < n;) {
        size_t len = utf8_next(s + i, n - i, NULL);
        unsigned char c = (unsigned char)s[i];
        if (len == 0 || c < 0x20 || c == 0x7f) {
            put_str(l, "?");
            i++;
            continue;
        }
        if (room(l) < len + 1)
            return; /* never half a character or half an escape */
        if (json && (c == '"' || c == '\\'))
            put_str(l, "\\");
        put(l, s + i, len);
        i += len;
    }
}

/* Needs room for the opening quote; the closing one may use the tail. */
static void put_json_string(struct line *l, const char *s, size_t n)
{
    put_str(l, "\"");
    put_clean(l, s, n, true);
    l->text[l->len++] = '"';
}

/* A plain decimal that every JSON reader takes without loss. */
static bool is_number(const char *s, size_t n)
{
    size_t i = n && s[0] == '-' ? 1 : 0, start = i;
    if (n > MAX_NUMBER)
        return false;
    while (i < n && s[i] >= '0' && s[i] <= '9')
        i++;
    if (i == start || (s[start] == '0' && i - start > 1))
        return false;
    if (i == n)
        return true;
    size_t dot = i;
    if (s[i++] != '.')
        return false;
    while (i < n && s[i] >= '0' && s[i] <= '9')
        i++;
    return i == n && i - dot > 1;
}

static size_t key_len(const char *s)
{
    size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.");
    return n && s[n] == '=' ? n : 0;
}

/* The value that starts at s: up to the blank before the next key, or its quotes. */
static size_t value_len(const char *s)
{
    if (*s == '"') {
        const char *close = strchr(s + 1, '"');
        if (close && (close[1] == ' ' || close[1] == '\0'))
            return (size_t)(close - s) + 1;
    }
    size_t n = 0;
    while (s[n] && !(s[n] == ' ' && key_len(s + n + 1)))
        n++;
    return n;
}

/* "a=1 b=two words" as ,"a":1,"b":"two words"; stops where the line is nearly full. */
static void put_json_words(struct line *l, const char *s)
{
    while (*s) {
        s += strspn(s, " ");
        size_t klen = key_len(s);
        const char *key = klen ? s : "text";
        const char *value = klen ? s + klen + 1 : s;
        size_t vlen = value_len(value);
        s = value + vlen;
        if (!klen)
            klen = strlen(key);
        if (vlen >= 2 && value[0] == '"' && value[vlen - 1] == '"')
            value++, vlen -= 2;
        if (room(l) < klen + MAX_NUMBER + 8)
            return;
        put_str(l, ",");
        put_json_string(l, key, klen);
        put_str(l, ":");
        if (is_number(value, vlen))
            put(l, value, vlen);
        else
            put_json_string(l, value, vlen);
    }
}

static void build_json(struct line *l, const char *stamp, enum log_level level,
                       const char *event, const char *words)
{
    put_str(l, "{\"time\":\"");
    put_str(l, stamp);
    put_str(l, "\",\"level\":\"");
    put_str(l, level_names[level]);
    put_str(l, "\",\"component\":");
    put_json_string(l, self.component, strlen(self.component));
    if (self.id[0]) {
        put_str(l, ",\"id\":");
        put_json_string(l, self.id, strlen(self.id));
    }
    put_str(l, ",\"event\":");
    put_json_string(l, event, strlen(event));
    if (room(l))
        put_json_words(l, words);
    l->text[l->len++] = '}';
}

static void build_text(struct line *l, const char *stamp, enum log_level level,
                       const char *event, const char *words)
{
    char head[NAME_BYTES * 3];
    /* The stamp is 2026-01-31T12:00:00.000Z; people watching need its time only. */
    snprintf(head, sizeof head, "%.12s %-5s %s%s%s  ", stamp + 11, level_names[level],
             self.component, self.id[0] ? "/" : "", self.id);
    put_clean(l, head, strlen(head), false);
    put_clean(l, event, strlen(event), false);
    if (words[0])
        put_str(l, "  ");
    put_clean(l, words, strlen(words), false);
}

void log_event(enum log_level level, const char *event, const char *fmt, ...)
{
    if ((int)level < atomic_load_explicit(&threshold, memory_order_relaxed))
        return;
    char words[WORDS_BYTES], stamp[25];
    va_list args;
    va_start(args, fmt);
    if (vsnprintf(words, sizeof words, fmt, args) < 0)
        words[0] = '\0';
    va_end(args);
    clock_rfc3339(stamp, clock_wall_ms());
    struct line l;
    l.len = 0;
    if (self.json)
        build_json(&l, stamp, level, event, words);
    else
        build_text(&l, stamp, level, event, words);
    l.text[l.len++] = '\n';
    ssize_t written = write(STDERR_FILENO, l.text, l.len);
    (void)written; /* a dead stderr must not stop training */
}

/* Threads may share a call site. `skipped` grows until the caller, who prints it, sets it to
 * 0; a zero last_ms means that nothing was logged yet. */
int log_allowed(struct log_limit *limit, long long interval_ms)
{
    long long now = clock_mono_ms();
    if (now <= 0)
        now = 1;
    long long last = __atomic_load_n(&limit->last_ms, __ATOMIC_RELAXED);
    if (last != 0 && now - last < interval_ms) {
        __atomic_fetch_add(&limit->skipped, 1, __ATOMIC_RELAXED);
        return 0;
    }
    if (__atomic_compare_exchange_n(&limit->last_ms, &last, now, false, __ATOMIC_RELAXED,
                                    __ATOMIC_RELAXED))
        return 1;
    __atomic_fetch_add(&limit->skipped, 1, __ATOMIC_RELAXED);
    return 0;
}
