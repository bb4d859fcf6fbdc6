/* SPDX-License-Identifier: Apache-2.0 */
/* model.c - the parameters of MAG: reserve, lay out, give initial values, keep copies fresh.
 *
 * One arena holds the block of values, its table and everything derived from it. Its size is
 * found by laying the table out once in a small arena of its own. A second set of network
 * views, with the transposes that gradients need, is linked in by mag_train_open. */
#include "mag_priv.h"

#include "base/err.h"
#include "nn/init.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const mag_group_name[MAG_GROUPS] = {"filter", "imagine", "decode",
                                                "rm",     "policy",  "critic"};

_Static_assert((int)MAG_FILTER == (int)NET_FILTER && (int)MAG_IMAGINE == (int)NET_IMAGINE &&
                   (int)MAG_DECODE == (int)NET_DECODE && (int)MAG_RM == (int)NET_RM &&
                   (int)MAG_POLICY == (int)NET_POLICY && (int)MAG_CRITIC == (int)NET_CRITIC &&
                   (int)MAG_GROUPS == (int)NET_GROUPS,
               "the algorithm's weight groups are the networks'");

void mag_dims_of(struct mag_dims *out, const struct config *cfg, size_t n_agents, size_t obs,
                 size_t actions)
{
    *out = (struct mag_dims){
        .N = n_agents,
        .O = obs,
        .A = actions,
        .D = cfg->net.width,
        .C = cfg->net.categoricals,
        .K = cfg->net.classes,
        .heads = cfg->net.heads,
        .layers = cfg->net.layers,
    };
}

static struct nets_dims nets_dims_of(const struct mag_dims *d)
{
    return (struct nets_dims){d->N, d->O, d->A, d->D, d->C, d->K, d->heads, d->layers};
}

static size_t table_bytes(const struct nets_dims *d)
{
    return nets_params_max(d) * sizeof(struct param) + 4096;
}

/* Floats of the whole block. */
static int block_floats(const struct nets_dims *d, size_t *out)
{
    struct arena a;
    struct params p = {0};
    int err = arena_init(&a, table_bytes(d));
    if (err)
        return err;
    err = params_init(&p, &a, nets_params_max(d));
    if (!err) {
        nets_add_params(&p, d);
        const struct param *last = &p.table[p.n - 1];
        *out = last->offset + last->count;
    }
    arena_fini(&a);
    return err;
}

static int lay_out(struct mag_model *m, const struct nets_dims *nd)
{
    int err = params_init(&m->params, &m->arena, nets_params_max(nd));
    if (err)
        return err;
    nets_add_params(&m->params, nd);
    err = params_carve(&m->params, &m->arena);
    if (err)
        return err;
    memset(m->params.value, 0, m->params.count * sizeof(float));
    err = m->kern->layer_packed ? params_carve_packed(&m->params, &m->arena) : 0;
    if (err)
        return err;
    m->derived = ARENA_ZNEW(&m->arena, struct mag_derived, 1);
    err = nets_bind(&m->derived->nets, nd, &m->params, m->kern, false, &m->arena);
    if (!err)
        nets_prepare(&m->derived->nets);
    return err;
}

int mag_model_open(struct mag_model **out, const struct mag_dims *d, enum cfg_isa isa)
{
    struct nets_dims nd = nets_dims_of(d);
    size_t floats = 0;
    int err = nets_check(&nd);
    if (!err)
        err = block_floats(&nd, &floats);
    if (err)
        return err;

    struct mag_model *m = calloc(1, sizeof *m);
    if (!m)
        return ERR_NOMEM;
    m->d = *d;
    err = kern_get(isa, &m->kern);
    if (err)
        goto fail;
    const size_t blocks = m->kern->layer_packed ? 2 : 1;
    err = arena_init(&m->arena, table_bytes(&nd) + blocks * (floats + 64) * sizeof(float) +
                                    sizeof(struct mag_derived) + nets_bytes(&nd, false) + 4096);
    if (err)
        goto fail;
    err = lay_out(m, &nd);
    if (err)
        goto fail_arena;
    *out = m;
    return 0;

fail_arena:
    arena_fini(&m->arena);
fail:
    free(m);
    return err;
}

void mag_model_close(struct mag_model *m)
{
    if (!m)
        return;
    arena_fini(&m->arena);
    free(m);
}

void mag_refresh_by(struct mag_model *m, uint32_t groups, struct pool *pool)
{
    /* one of them does: what both use, the packed weights, belongs to the parameters */
    nets_refresh(m->derived->train ? m->derived->train : &m->derived->nets, groups, pool);
    for (uint32_t g = 0; g < MAG_GROUPS; g++)
        m->derived->version[g] += groups >> g & 1;
}

void mag_refresh(struct mag_model *m, uint32_t groups)
{
    mag_refresh_by(m, groups, NULL);
}

/* -------------------------------------------------------------------------- initial values */

static bool ends_with(const char *name, const char *tail)
{
    size_t n = strlen(name), m = strlen(tail);
    return n >= m && strcmp(name + n - m, tail) == 0;
}

/* Row of the weight that belongs to a bias, or of gamma for a beta. */
static const struct param *weight_of(const struct params *p, const char *bias)
{
    char name[PARAM_NAME + 8];
    size_t stem = strlen(bias) - strlen("bias");
    memcpy(name, bias, stem);
    memcpy(name + stem, "weight", sizeof "weight");
    size_t i = params_find(p, name);
    bug_on(i == (size_t)-1);
    return &p->table[i];
}

static void init_vector(const struct mag_model *m, size_t row, const struct draws *draws)
{
    const struct params *p = &m->params;
    const char *name = p->table[row].name;

    if (ends_with(name, ".weight")) { /* only norms have vectors called weight */
        init_constant(p, row, 1);
    } else if (strstr(name, ".gru.")) {
        init_fan_in(p, row, m->d.D, draws);
    } else if (strstr(name, "self_attn.")) {
        init_constant(p, row, 0);
    } else {
        const struct param *w = weight_of(p, name);
        if (w->kind == PARAM_VECTOR)
            init_constant(p, row, 0); /* a norm's beta */
        else
            init_fan_in(p, row, w->in, draws);
    }
}

static void init_matrix(const struct mag_model *m, size_t row, const struct draws *draws)
{
    const struct param *e = &m->params.table[row];
    if (e->group == MAG_POLICY)
        bug_on(init_orthogonal(&m->params, row, draws)); /* out of memory at start */
    else if (e->group == MAG_RM)
        init_fan_in(&m->params, row, e->in, draws);
    else
        init_xavier(&m->params, row, draws);
}

void mag_init(struct mag_model *m, const struct draws *draws)
{
    for (size_t i = 0; i < m->params.n; i++) {
        if (m->params.table[i].kind == PARAM_LINEAR)
            init_matrix(m, i, draws);
        else
            init_vector(m, i, draws);
    }
    mag_refresh(m, MAG_NEEDS_ALL);
}
