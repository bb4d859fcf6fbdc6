/* SPDX-License-Identifier: Apache-2.0 */
/* run_place.h - where a run is kept: the one rule for names of run directories. */
#ifndef LEARNER_RUN_PLACE_H
#define LEARNER_RUN_PLACE_H

#include "base/config.h"

#include <stddef.h>

/* cfg->run_dir if it is set, else a new name runs/<map>/<UTC>-<seed>-<id>, to which
 * runs/current then points. The directory and its parents are made; its path goes into
 * out[n]. ERR_IO, ERR_INVAL (path too long). Any thread. */
int run_place(const struct config *cfg, char *out, size_t n);

/* The settings into run_dir/config.yaml, whole and on disk, or the file stays as it was. ERR_IO. */
int run_place_settings(const char *run_dir, const struct config *cfg);

#endif
