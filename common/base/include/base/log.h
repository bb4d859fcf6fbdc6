/* SPDX-License-Identifier: Apache-2.0 */
/* log.h - one line per event on stderr: time, level, program, message as key=value words.
 *
 * A terminal gets aligned text, anything else one JSON object a line (log.format overrides).
 * Any thread may log; lines never interleave. A slow or dead stderr never blocks a caller
 * longer than one write of a line. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_format { LOG_AUTO, LOG_TEXT, LOG_JSON };

/* component: "learner", "actor", ... `id` distinguishes replicas, may be "". Strings are
 * copied. */
void log_init(const char *component, const char *id, enum log_level level,
              enum log_format format);
void log_set_level(enum log_level level);

/* `event` is a short stable sentence without values ("episode stored"); the format string
 * makes the key=value words: log_info("worker lost", "worker=%s silent_ms=%d", id, ms). */
void log_event(enum log_level level, const char *event, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
#define log_debug(...) log_event(LOG_DEBUG, __VA_ARGS__)
#define log_info(...) log_event(LOG_INFO, __VA_ARGS__)
#define log_warn(...) log_event(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_event(LOG_ERROR, __VA_ARGS__)

/* True at most once per interval_ms for this call site; *skipped counts the rest. */
struct log_limit {
    long long last_ms;
    unsigned long skipped;
};
int log_allowed(struct log_limit *limit, long long interval_ms);

#endif
