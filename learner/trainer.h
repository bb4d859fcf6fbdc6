/* SPDX-License-Identifier: Apache-2.0 */
/* trainer.h - the straight story: collect, learn the models, plan, learn the policy, repeat.
 *
 * Owned by the trainer thread, the only writer of parameters, D_e and counters. It knows workers
 * only through the port. */
#ifndef LEARNER_TRAINER_H
#define LEARNER_TRAINER_H

#include "board.h"
#include "env/env.h"
#include "intake.h"
#include "port.h"
#include "weights.h"

struct trainer; /* opaque */

struct trainer_cfg {
    const struct config *cfg;
    const struct env_spec *spec;
    const char *run_dir;
    struct port *port;
    struct weights *weights;
    struct board *board;
    bool final_eval;
};

/* Allocate everything; nothing is read or computed yet. ERR_NOMEM, ERR_CONFIG. */
int trainer_open(struct trainer **out, const struct trainer_cfg *c);
/* Where to go on: the newest whole checkpoint (resume auto or must), or the beginning. Fills
 * the parameters and rewinds run.db, which must not be in use yet. *resumed says which. */
int trainer_restore(struct trainer *t, struct store *store, bool *resumed);
/* The thread's body. 0: a bound of train.stop was reached; ERR_INTERRUPTED: saved and stopped;
 * any other: failed, err_text() says why. */
int trainer_run(struct trainer *t, struct intake *in);
/* While the trainer computes a policy update: write the copy taken at its start. ERR_AGAIN when
 * there is no such copy now (the trainer will reach a cut by itself soon). Any thread. */
int trainer_save_copy(struct trainer *t);
void trainer_close(struct trainer *t);

/* Largest RESULT part of this configuration, in bytes. */
size_t trainer_result_bytes(const struct config *cfg, const struct env_spec *spec);
/* Kernel table in use, e.g. "avx2", "libxsmm". */
const char *trainer_isa(const struct trainer *t);
const char *trainer_products(const struct trainer *t);
const char *trainer_library(const struct trainer *t); /* with its version */

#endif
