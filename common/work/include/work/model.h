/* SPDX-License-Identifier: Apache-2.0 */
/* model.h - weights into a model: from blobs to parameters, only what changed. */
#ifndef WORK_MODEL_H
#define WORK_MODEL_H

#include "algo/mag.h"
#include "work/fetch.h"

/* A model and which blobs are in it. Belongs to the thread that computes with it. */
struct work_model {
    struct mag_model *m;
    struct digest group[MAG_GROUPS]; /* of the blob in the parameters; zeros: none */
};

int work_model_open(struct work_model *w, const struct mag_dims *d, enum cfg_isa isa);
void work_model_close(struct work_model *w);

/* Make the model hold the set: imports the groups whose blob differs and refreshes what is
 * derived. On failure (ERR_CORRUPT with err_text()) the model is not to be used until a load
 * succeeds. About 10 ms for all groups at the paper's sizes. */
int work_model_load(struct work_model *w, const struct blob_set *s);

/* Whether the model holds exactly the set's needed groups (by digest: set numbers may come
 * again after a learner's restart). */
bool work_model_holds(const struct work_model *w, const struct blob_set *s);

#endif
