/* SPDX-License-Identifier: Apache-2.0 */
/* train.c - the learner's side of MAG: memory, optimiser state, the step itself.
 *
 * What the phases share is here; the phases are train_model.c, train_rm.c and ppo.c. All memory
 * of all phases is one arena reserved at open: gradients and moments, the networks' transposes,
 * the world model's tape (wm.h), PPO's minibatch tape. */
#include "mag_priv.h"
#include "wm.h"

#include "base/err.h"
#include "nn/adam.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

size_t mag_train_bytes(const struct mag_model *m, const struct mag_train_cfg *c,
                       const struct pool *pool)
{
    const struct nets *n = mag_nets(m);
    size_t bytes = 3 * (m->params.count * sizeof(float) + 64) + nets_bytes(&n->d, true);
    bytes += wm_bytes(n, c->W, c->B, mag_threads(pool));
    if (c->rows_max)
        bytes += mag_ppo_work_bytes(m, c, pool);
    return bytes + 4096;
}

static int train_carve(struct mag_train *t)
{
    struct mag_model *m = t->m;
    t->grad = ARENA_ZNEW(&t->arena, float, m->params.count);
    t->st.m = ARENA_ZNEW(&t->arena, float, m->params.count);
    t->st.v = ARENA_ZNEW(&t->arena, float, m->params.count);
    int err = nets_bind(&t->nets, &mag_nets(m)->d, &m->params, m->kern, true, &t->arena);
    if (err)
        return err;
    t->wm = wm_carve(&t->nets, t->c.W, t->c.B, mag_threads(t->pool), &t->arena);
    if (t->c.rows_max)
        mag_ppo_work_carve(t, &t->arena);
    return 0;
}

int mag_train_open(struct mag_train **out, struct mag_model *m, const struct mag_train_cfg *c,
                   struct pool *pool)
{
    if (c->W < 4 || c->B == 0)
        return err_set(ERR_INVAL, "training windows of %zu records, %zu of them: needs 4, 1",
                       c->W, c->B);
    struct mag_train *t = calloc(1, sizeof *t);
    if (!t)
        return ERR_NOMEM;
    t->m = m;
    t->pool = pool;
    t->cfg = *c->cfg;
    t->c = *c;
    t->c.cfg = &t->cfg;
    int err = arena_init(&t->arena, mag_train_bytes(m, c, pool));
    if (err)
        goto fail;
    err = train_carve(t);
    if (err)
        goto fail_arena;
    for (int i = 0; i < MAG_OPTS; i++)
        t->st.opt[i] = (struct mag_opt_state){0, 1, 1};
    t->st.entropy_weight = t->cfg.ppo.entropy;
    t->st.rate = 1;
    m->derived->train = &t->nets;
    mag_refresh(m, MAG_NEEDS_ALL);
    *out = t;
    return 0;

fail_arena:
    arena_fini(&t->arena);
fail:
    free(t);
    return err;
}

void mag_train_close(struct mag_train *t)
{
    if (!t)
        return;
    t->m->derived->train = NULL;
    arena_fini(&t->arena);
    free(t);
}

struct mag_train_state *mag_train_state(struct mag_train *t)
{
    return &t->st;
}

/* ------------------------------------------------------------------------------ optimisers */

/* First and last weight group of each optimiser. */
static const uint32_t opt_groups[MAG_OPTS][2] = {
    [OPT_MODEL] = {MAG_FILTER, MAG_DECODE},
    [OPT_RM] = {MAG_RM, MAG_RM},
    [OPT_ACTOR] = {MAG_POLICY, MAG_POLICY},
    [OPT_CRITIC] = {MAG_CRITIC, MAG_CRITIC},
};

void mag_opt_range(const struct params *p, enum mag_opt opt, size_t *first, size_t *count)
{
    params_range(p, opt_groups[opt][0], opt_groups[opt][1], first, count);
}

void mag_opt_step(struct mag_train *t, enum mag_opt opt, double loss, double lr, double clip,
                  double l2, double *norm, bool *skipped)
{
    struct mag_opt_state *s = &t->st.opt[opt];
    struct adam a = ADAM(lr * t->st.rate, clip, l2);
    size_t first, count;
    mag_opt_range(&t->m->params, opt, &first, &count);

    int err = ERR_NUMERIC;
    if (isfinite(loss))
        err = adam_step(t->m->kern, t->pool, &a, t->m->params.value + first, t->st.m + first,
                        t->st.v + first, t->grad + first, count, &s->steps, &s->beta1_t,
                        &s->beta2_t, norm);
    else
        *norm = adam_norm(t->m->kern, t->pool, t->grad + first, count);
    *skipped = err != 0;
    if (err) {
        t->st.skipped++;
        t->st.skipped_by[opt]++;
        return;
    }
    uint32_t groups = 0;
    for (uint32_t g = opt_groups[opt][0]; g <= opt_groups[opt][1]; g++)
        groups |= 1u << g;
    mag_refresh_by(t->m, groups, t->pool);
}
