/* SPDX-License-Identifier: Apache-2.0 */
/* ckpt.h - checkpoints: one consistent cut, complete or absent.
 *
 * ckpt/<iteration>-<phase>-<step>/ holds model.safetensors (PyTorch names), optim.safetensors
 * (exp_avg.*, exp_avg_sq.*), state.json and MANIFEST.json (size and BLAKE2b of each). Written
 * into ckpt/.tmp-*, synced, renamed, directory synced; `latest` and `best` are symlinks replaced
 * by rename. The loader verifies the manifest and steps back one generation on any damage. */
#ifndef LEARNER_CKPT_H
#define LEARNER_CKPT_H

#include "algo/mag.h"

enum train_phase { PHASE_COLLECT, PHASE_MODEL, PHASE_RM, PHASE_POLICY };

/* What this iteration has done so far: its figures are whole even if it was interrupted. */
struct ckpt_done {
    uint64_t model_steps, rm_steps, batches, actor_steps, critic_steps, rows;
};

/* Where a run stands: everything a resumed trainer needs besides tensors and run.db. */
struct ckpt_state {
    uint64_t iteration; /* the one being worked on; 0 = warm-up */
    enum train_phase phase;
    uint64_t step;         /* gradient step, or imagined batch, to do next in the phase */
    uint64_t next_episode; /* D_e holds exactly the episodes below */
    uint64_t phase_first_episode; /* first episode of this iteration */
    uint64_t env_steps, updates, set_id, eval_round;
    double elapsed_s; /* wall time spent so far */
    /* The evaluation that won most so far, the later one of equals: the cut before the collection
     * of best_iteration is kept. 0 = none. */
    uint64_t best_iteration, best_wins;
    struct mag_opt_state opt[MAG_OPTS];
    double entropy_weight;
    uint64_t skipped, skipped_by[MAG_OPTS];
    uint64_t version[MAG_GROUPS]; /* of each published group */
    struct ckpt_done done;
};

struct ckpt_view {
    const struct params *params; /* names and layout */
    const float *value, *m, *v;  /* kernel layout; may be a copy of the live arrays */
    const struct ckpt_state *state;
    const struct digest *config;
    const char *isa, *products, *blas_core; /* what computed it: nn/kern.h */
};

/* Write a checkpoint under run_dir/ckpt and prune all but the newest `keep` and the best.
 * ERR_IO. */
int ckpt_write(const char *run_dir, const struct ckpt_view *c, size_t keep);

/* Newest whole checkpoint: its path into path[n]. A damaged one is skipped with a warning.
 * ERR_NOTFOUND when none was ever written, ERR_CORRUPT when none is whole. `where` is a run
 * directory, or a checkpoint directory itself. */
int ckpt_find(const char *where, char *path, size_t n);
/* As ckpt_find, but of a run that keeps its best checkpoint that one, as the newest names it. If
 * it is missing or damaged, the newest, with a warning. */
int ckpt_find_best(const char *where, char *path, size_t n);
/* Read state alone (sizes are checked by ckpt_load). */
int ckpt_read_state(const char *path, struct ckpt_state *out, struct digest *config);
/* Read tensors into arrays of the params' layout; m and v may be NULL. */
int ckpt_load(const char *path, const struct params *p, float *value, float *m, float *v);

/* contracts.md 8: BLAKE2b-256 over (name, dtype, shape, bytes) sorted by name of parameters,
 * Adam moments, entropy weight and the counters iteration, next_episode, env_steps and the four
 * Adam step counts. */
int ckpt_hash(const char *path, struct digest *out);

#endif
