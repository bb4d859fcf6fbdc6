/* SPDX-License-Identifier: Apache-2.0 */
/* rundir.h - the directory of a run: made once, locked while a learner works in it. */
#ifndef LEARNER_RUNDIR_H
#define LEARNER_RUNDIR_H

#include "learner/learner.h"
#include "proto/wire.h"

#include <stdbool.h>

enum { RUN_DIR = 4096 };

struct rundir {
    char path[RUN_DIR];
    unsigned char run_id[WIRE_ID];
    int lock_fd;
    bool existed; /* a run was here before */
};

/* Use cfg->run_dir, or make runs/<map>/<UTC>-<seed>-<id> and point runs/current at it; lock it;
 * read or make the run id. ERR_EXISTS with err_text() naming the process that holds it. */
int run_dir_open(struct rundir *r, const struct config *cfg);
void run_dir_close(struct rundir *r);

/* config.yaml (if there is none yet) and run.json: who runs this, with what, where it listens. */
struct rundir_facts {
    const struct learner_cfg *lc;
    const char *isa, *products, *library, *blas_core, *spec_line;
    const char *endpoint[3];
};
int run_dir_describe(const struct rundir *r, const struct rundir_facts *f);

#endif
