/* SPDX-License-Identifier: Apache-2.0 */
/* rundir.h - where a run lives on disk, seen from outside the learner. */
#ifndef MAG_RUNDIR_H
#define MAG_RUNDIR_H

#include "base/config.h"

#include <stdbool.h>
#include <stddef.h>

enum { RUN_PATH = 4096 };

/* cfg->run_dir, or a new name runs/<map>/<UTC>-<seed>-<id>; creates the directory and its
 * parents, and points runs/current at a new one. *existed: a run was there already. ERR_IO. */
int rundir_make(const struct config *cfg, char out[RUN_PATH], bool *existed);

/* The run a path belongs to: the directory itself, or the one around a checkpoint. ERR_NOTFOUND
 * with err_text() saying what was expected there. */
int rundir_of(const char *path, char out[RUN_PATH]);

/* Settings of a run: its config.yaml, resolved, or in a builder that the caller ends.
 * ERR_NOTFOUND, ERR_CONFIG. */
int rundir_config(const char *run_dir, struct config *out);
int rundir_settings(const char *run_dir, struct config_builder **out);

#endif
