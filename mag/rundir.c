/* SPDX-License-Identifier: Apache-2.0 */
/* rundir.c - names and settings of run directories. */
#include "rundir.h"

#include "base/err.h"
#include "learner/run_place.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool has(const char *dir, const char *name)
{
    char path[RUN_PATH + 32];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return !access(path, F_OK);
}

int rundir_make(const struct config *cfg, char out[RUN_PATH], bool *existed)
{
    int err = run_place(cfg, out, RUN_PATH);
    if (!err)
        *existed = has(out, "run.db") || has(out, "ckpt");
    return err;
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

int rundir_settings(const char *run_dir, struct config_builder **out)
{
    char path[RUN_PATH + 32];
    struct config_builder *b = NULL;
    int err = config_begin(&b);
    if (err)
        return err;
    snprintf(path, sizeof path, "%s/config.yaml", run_dir);
    err = config_file(b, path);
    if (err)
        config_end(b);
    else
        *out = b;
    return err;
}

int rundir_config(const char *run_dir, struct config *out)
{
    struct config_builder *b = NULL;
    int err = rundir_settings(run_dir, &b);
    if (!err)
        err = config_finish(b, out);
    config_end(b);
    return err;
}
