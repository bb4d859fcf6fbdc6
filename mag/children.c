/* SPDX-License-Identifier: Apache-2.0 */
/* children.c - starting, watching and ending worker processes.
 *
 * WHY posix_spawn: a fork would copy the state of libraries that keep threads. */
#include "children.h"

#include "base/clock.h"
#include "base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PATH_BYTES = 4096, TAIL_BYTES = 4096 };

int child_arg(struct child *c, const char *fmt, ...)
{
    if (c->args == CHILD_ARGS - 1)
        return err_set(ERR_INVAL, "too many arguments for %s", c->name);
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(c->arg[c->args], CHILD_TEXT, fmt, ap);
    va_end(ap);
    if (n < 0 || n >= CHILD_TEXT)
        return err_set(ERR_INVAL, "an argument of %s is too long", c->name);
    c->args++;
    return 0;
}

static void log_path(char out[PATH_BYTES], const struct child *c, const char *log_dir)
{
    snprintf(out, PATH_BYTES, "%s/%s.log", log_dir, c->name);
}

/* The environment with MAG_PARENT set to this process. Pointers into environ and `parent`. */
static char **child_environment(char *parent)
{
    size_t n = 0, k = 0;
    while (environ[n])
        n++;
    char **env = calloc(n + 2, sizeof *env);
    for (size_t i = 0; env && i < n; i++)
        if (strncmp(environ[i], "MAG_PARENT=", 11))
            env[k++] = environ[i];
    if (env)
        env[k] = parent;
    return env;
}

static int spawn(struct child *c, const char *log, char **env)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    sigset_t none, defaults;
    char *argv[CHILD_ARGS + 1] = {0};
    argv[0] = c->name;
    for (size_t i = 0; i < c->args; i++)
        argv[i + 1] = c->arg[i];
    sigemptyset(&none);
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGINT);
    sigaddset(&defaults, SIGTERM);
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&files, 2, log, O_WRONLY | O_CREAT | O_APPEND, 0644);
    posix_spawn_file_actions_adddup2(&files, 2, 1);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                        POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setpgroup(&attr, 0);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &defaults);
    int error = posix_spawn(&c->pid, "/proc/self/exe", &files, &attr, argv, env);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&files);
    return error ? err_set(ERR_IO, "cannot start %s with its log in %s: %s", c->name, log,
                           strerror(error))
                 : 0;
}

int child_start(struct child *c, const char *log_dir)
{
    char log[PATH_BYTES], parent[32];
    struct stat st;
    log_path(log, c, log_dir);
    c->log_from = stat(log, &st) ? 0 : (long)st.st_size;
    snprintf(parent, sizeof parent, "MAG_PARENT=%ld", (long)getpid());
    char **env = child_environment(parent);
    if (!env)
        return ERR_NOMEM;
    int err = spawn(c, log, env);
    free(env);
    if (err)
        c->pid = 0;
    c->started_ms = clock_mono_ms();
    return err;
}

bool child_ended(struct child *c, int *status, char *how, size_t n)
{
    int st = 0;
    if (c->pid == 0 || waitpid(c->pid, &st, WNOHANG) != c->pid)
        return false;
    c->pid = 0;
    if (WIFSIGNALED(st)) {
        *status = 128 + WTERMSIG(st);
        snprintf(how, n, "was killed by signal %d (%s)", WTERMSIG(st), strsignal(WTERMSIG(st)));
    } else {
        *status = WEXITSTATUS(st);
        snprintf(how, n, "exited with status %d", WEXITSTATUS(st));
    }
    return true;
}

void child_signal(const struct child *c, int signal_no)
{
    if (c->pid > 0)
        kill(c->pid, signal_no);
}

void child_tail(const struct child *c, const char *log_dir, size_t lines)
{
    char log[PATH_BYTES], text[TAIL_BYTES + 1];
    log_path(log, c, log_dir);
    FILE *f = fopen(log, "rb");
    if (!f)
        return;
    fseek(f, 0, SEEK_END);
    long size = ftell(f);
    fseek(f, size - c->log_from > TAIL_BYTES ? size - TAIL_BYTES : c->log_from, SEEK_SET);
    size_t n = fread(text, 1, TAIL_BYTES, f);
    fclose(f);
    text[n] = 0;
    size_t at = n, seen = 0;
    while (at > 0 && !(text[at - 1] == '\n' && at < n && ++seen == lines))
        at--;
    fputs(text + at, stderr);
}
