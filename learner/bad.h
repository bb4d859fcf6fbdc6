/* SPDX-License-Identifier: Apache-2.0 */
/* bad.h - batches whose gradient step was refused, kept for people to look at.
 *
 *   <run>/bad/<group>-<iteration>-<step>.safetensors      group: model, rm, actor, critic
 *
 * Tensors are named as in struct mag_windows and struct mag_rows; the file's metadata say what
 * was refused and why. The first BAD_MAX of each group are kept, over all resumes of the run:
 * what comes later is usually the same trouble again. Any thread, one at a time. */
#ifndef LEARNER_BAD_H
#define LEARNER_BAD_H

#include "algo/mag.h"

enum { BAD_MAX = 3 };

extern const char *const bad_group[MAG_OPTS]; /* "model", "rm", "actor", "critic" */

/* What was refused. step: gradient step of the iteration; of actor and critic the imagined
 * batch, and minibatch says which of its minibatches (epochs one after the other). */
struct bad_step {
    enum mag_opt opt;
    uint64_t iteration, step, minibatch;
    double loss, grad_norm;
};

/* Write the windows [W][B]... of a model or R_m step, or joint rows order[0..n) of an imagined
 * batch, as [n].... name[cap] gets the file's name below the run directory, or "" when nothing
 * was written: enough of the group are there, or this very one. ERR_IO, ERR_NOMEM. Allocates:
 * this is not the usual path. */
int bad_keep_windows(const char *run_dir, const struct bad_step *s, const struct mag_dims *d,
                     const struct mag_windows *w, char *name, size_t cap);
int bad_keep_rows(const char *run_dir, const struct bad_step *s, const struct mag_dims *d,
                  const struct mag_rows *r, const uint32_t *order, size_t n, char *name,
                  size_t cap);

#endif
