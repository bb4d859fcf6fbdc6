/* SPDX-License-Identifier: Apache-2.0 */
/* run_place.c - runs/<map>/<UTC>-<seed>-<id>/ and the link runs/current.
 *
 * The time makes names sort, the seed makes them telling, three random bytes make two runs of
 * one second different. */
#include "learner/run_place.h"

#include "base/clock.h"
#include "base/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PLACE = 4096 };

static int make_dirs(const char *path)
{
    char at[PLACE];
    snprintf(at, sizeof at, "%s", path);
    for (char *p = at + 1;; p++) {
        if (*p != '/' && *p != '\0')
            continue;
        char keep = *p;
        *p = '\0';
        if (mkdir(at, 0777) != 0 && errno != EEXIST)
            return err_set(ERR_IO, "cannot create %s: %s", at, strerror(errno));
        if (!keep)
            return 0;
        *p = keep;
    }
}

/* 2026-01-31T12:00:00.000Z -> 20260131T120000Z */
static void stamp(char out[20])
{
    char text[25];
    size_t n = 0;
    clock_rfc3339(text, clock_wall_ms());
    for (const char *p = text; *p && *p != '.'; p++)
        if (*p != '-' && *p != ':')
            out[n++] = *p;
    out[n++] = 'Z';
    out[n] = '\0';
}

static int new_name(const struct config *cfg, char out[PLACE])
{
    char utc[20];
    unsigned char id[3] = {0};
    stamp(utc);
    if (getrandom(id, sizeof id, 0) != (ssize_t)sizeof id)
        return err_set(ERR_IO, "no random bytes: %s", strerror(errno));
    snprintf(out, PLACE, "runs/%s/%s-%llu-%02x%02x%02x", cfg->env.map, utc,
             (unsigned long long)cfg->seed, id[0], id[1], id[2]);
    return 0;
}

/* Replaced by rename, so that it always points somewhere. */
static void point_current(const char *path)
{
    char tmp[64];
    snprintf(tmp, sizeof tmp, "runs/.current-%ld", (long)getpid());
    if (symlink(path + strlen("runs/"), tmp) == 0)
        rename(tmp, "runs/current");
}

int run_place(const struct config *cfg, char *out, size_t n)
{
    char path[PLACE];
    bool given = cfg->run_dir[0];
    int err = 0;
    if (given)
        snprintf(path, sizeof path, "%s", cfg->run_dir);
    else
        err = new_name(cfg, path);
    if (!err && strlen(path) >= n)
        err = err_set(ERR_INVAL, "path too long: %s", path);
    if (!err)
        err = make_dirs(path);
    if (err)
        return err;
    if (!given)
        point_current(path);
    memcpy(out, path, strlen(path) + 1);
    return 0;
}

int run_place_settings(const char *run_dir, const struct config *cfg)
{
    char path[PLACE + 32], tmp[PLACE + 32];
    snprintf(path, sizeof path, "%.4000s/config.yaml", run_dir);
    snprintf(tmp, sizeof tmp, "%.4000s/.config.yaml.tmp", run_dir);
    FILE *f = fopen(tmp, "w");
    if (!f)
        return err_set(ERR_IO, "cannot write %s: %s", tmp, strerror(errno));
    bool bad = config_print(cfg, NULL, f) || fsync(fileno(f)) != 0;
    int why = errno;
    if (fclose(f) && !bad) {
        bad = true;
        why = errno;
    }
    if (!bad && rename(tmp, path)) {
        bad = true;
        why = errno;
    }
    if (!bad)
        return 0;
    unlink(tmp);
    return err_set(ERR_IO, "cannot write %s: %s", path, strerror(why));
}
