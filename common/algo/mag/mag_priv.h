/* SPDX-License-Identifier: Apache-2.0 */
/* mag_priv.h - what the files of this algorithm share and nobody else sees.
 *
 * struct mag_train is cut by phase: the model and R_m phases (train_*.c) and PPO (ppo.c) each
 * carve their own work space at open and keep it behind their own pointer. Gradients of all of
 * them go into one array of the params' layout; mag_opt_step turns a range of it into a step. */
#ifndef MAG_PRIV_H
#define MAG_PRIV_H

#include "algo/mag.h"
#include "model/nets.h"

#include <stdbool.h>

struct mag_derived {
    struct nets nets;
    struct nets *train;           /* the same with transposes, NULL until mag_train_open */
    uint64_t version[MAG_GROUPS]; /* counts mag_refresh: rounded copies elsewhere follow */
};

/* The networks of a model for inference, kept up to date by mag_refresh. */
static inline const struct nets *mag_nets(const struct mag_model *m)
{
    return &m->derived->nets;
}

struct mag_train {
    struct mag_model *m;
    struct pool *pool;
    struct mag_train_cfg c; /* c.cfg points to cfg below */
    struct config cfg;
    struct arena arena;
    struct nets nets; /* bound for backward: what model/train.h calls need */
    struct mag_train_state st;
    float *grad;              /* [params.count]; each step's first dw_run starts it afresh */
    struct wm_work *wm;       /* wm.h: recurrence, heads, their gradients; R_m too */
    struct mag_ppo_work *ppo; /* ppo.c */
};

/* PPO's own share of the arena: its size, and the carving of it (sets t->ppo). A train opened
 * with rows_max 0 has none. */
size_t mag_ppo_work_bytes(const struct mag_model *m, const struct mag_train_cfg *c,
                          const struct pool *pool);
void mag_ppo_work_carve(struct mag_train *t, struct arena *a);

/* mag_refresh by all threads of a pool (NULL: by this one). */
void mag_refresh_by(struct mag_model *m, uint32_t groups, struct pool *pool);

/* First float and floats of an optimiser's range of the block. */
void mag_opt_range(const struct params *p, enum mag_opt opt, size_t *first, size_t *count);

/* One optimiser step on t->grad's range with st.rate of the rate lr: global norm, clip (0 =
 * none), L2 added after the clip, Adam, mag_refresh of the groups. If loss or norm is not
 * finite nothing changes, st.skipped counts, and *skipped is set (else cleared). *norm gets the
 * norm before clipping. */
void mag_opt_step(struct mag_train *t, enum mag_opt opt, double loss, double lr, double clip,
                  double l2, double *norm, bool *skipped);

/* Threads of a pool that may be NULL. */
static inline size_t mag_threads(const struct pool *p)
{
    return p ? pool_threads(p) : 1;
}

#endif
