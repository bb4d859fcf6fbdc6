/* SPDX-License-Identifier: Apache-2.0 */
/* children.h - the processes `mag train` starts: learner, planners, actors.
 *
 * Children are this same program, started by posix_spawn in process groups of their own (a
 * Ctrl-C of the terminal reaches only `mag train`, which decides), with stderr in a log file
 * of the run. They die with their parent, however it dies (MAG_PARENT, main.c). */
#ifndef MAG_CHILDREN_H
#define MAG_CHILDREN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { CHILD_ARGS = 32, CHILD_TEXT = 300 };

struct child {
    char name[32]; /* "learner", "actor-1", ...: also the log's name */
    char arg[CHILD_ARGS][CHILD_TEXT];
    size_t args;
    pid_t pid; /* 0: not running */
    int64_t started_ms;
    long log_from;     /* where this start's output begins in the log */
    unsigned failures; /* in a row, each after a short life */
};

/* Append one argument, printf style. ERR_INVAL when it does not fit. */
int child_arg(struct child *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Start it, appending its output to log_dir/<name>.log. ERR_IO with err_text(). */
int child_start(struct child *c, const char *log_dir);

/* If it has ended since: true, with a sentence like "exited with status 78" or "was killed by
 * signal 9"; pid becomes 0. status: exit status, or 128 + signal. */
bool child_ended(struct child *c, int *status, char *how, size_t n);

void child_signal(const struct child *c, int signal_no); /* nothing if not running */

/* The last lines that a child has logged since its start, for people, onto stderr. */
void child_tail(const struct child *c, const char *log_dir, size_t lines);

#endif
