/* SPDX-License-Identifier: Apache-2.0 */
/* rundir.c - names and settings of run directories. */
#include "rundir.h"

#include "base/clock.h"
#include "base/err.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* mkdir -p */
static int make_dirs(const char *path)
{
    char part[RUN_PATH];
    snprintf(part, sizeof part, "%s", path);
    for (char *p = part + 1;; p++) {
        if (*p && *p != '/')
            continue;
        char end = *p;
        *p = 0;
        if (mkdir(part, 0755) && errno != EEXIST)
            return err_set(ERR_IO, "cannot create %s: %s", part, strerror(errno));
        if (!end)
            return 0;
        *p = end;
    }
}

static void new_name(const struct config *cfg, char out[RUN_PATH])
{
    char now[25];
    clock_rfc3339(now, clock_wall_ms());
    snprintf(out, RUN_PATH, "runs/%s/%.4s%.2s%.2sT%.2s%.2s%.2sZ-%llu-%04x", cfg->env.map, now,
             now + 5, now + 8, now + 11, now + 14, now + 17, (unsigned long long)cfg->seed,
             randombytes_uniform(0x10000));
}

/* runs/current -> <map>/<name>; replaced by rename so that it always points somewhere. */
static void point_current(const char *run_dir)
{
    unlink("runs/.current");
    if (!symlink(run_dir + strlen("runs/"), "runs/.current"))
        rename("runs/.current", "runs/current");
}

int rundir_make(const struct config *cfg, char out[RUN_PATH], bool *existed)
{
    char probe[RUN_PATH + 32];
    bool fresh = !cfg->run_dir[0];
    if (fresh)
        new_name(cfg, out);
    else
        snprintf(out, RUN_PATH, "%s", cfg->run_dir);
    int err = make_dirs(out);
    if (err)
        return err;
    if (fresh)
        point_current(out);
    snprintf(probe, sizeof probe, "%s/run.db", out);
    *existed = !access(probe, F_OK);
    return 0;
}

static bool has(const char *dir, const char *name)
{
    char path[RUN_PATH + 32];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return !access(path, F_OK);
}

int rundir_of(const char *path, char out[RUN_PATH])
{
    char full[RUN_PATH];
    if (!realpath(path, full))
        return err_set(ERR_NOTFOUND, "%s: %s", path, strerror(errno));
    if (has(full, "MANIFEST.json")) { /* RUN/ckpt/NAME */
        for (int up = 0; up < 2; up++) {
            char *slash = strrchr(full, '/');
            if (slash)
                *slash = 0;
        }
    }
    if (!has(full, "config.yaml"))
        return err_set(ERR_NOTFOUND,
                       "%s is neither a run (no config.yaml) nor a checkpoint of one", path);
    snprintf(out, RUN_PATH, "%s", full);
    return 0;
}

int rundir_config(const char *run_dir, struct config *out)
{
    char path[RUN_PATH + 32];
    struct config_builder *b = NULL;
    snprintf(path, sizeof path, "%s/config.yaml", run_dir);
    int err = config_begin(&b);
    if (!err)
        err = config_file(b, path);
    if (!err)
        err = config_finish(b, out);
    config_end(b);
    return err;
}
