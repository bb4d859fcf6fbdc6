/* SPDX-License-Identifier: Apache-2.0 */
/* model.c - import published weights, group by group. */
#include "work/model.h"

#include "base/err.h"

#include <string.h>

int work_model_open(struct work_model *w, const struct mag_dims *d, enum cfg_isa isa)
{
    memset(w, 0, sizeof *w);
    return mag_model_open(&w->m, d, isa);
}

void work_model_close(struct work_model *w)
{
    if (w->m)
        mag_model_close(w->m);
    memset(w, 0, sizeof *w);
}

static int load_group(struct work_model *w, uint32_t group, const struct blob *b)
{
    struct st_reader *r;
    size_t n;
    const unsigned char *bytes = blob_bytes(b, &n);
    int err = st_parse(&r, bytes, n);
    if (err)
        return err;
    err = params_from_reader(&w->m->params, w->m->params.value, group, group, "", r);
    st_close(r);
    if (!err)
        w->group[group] = *blob_digest(b);
    return err;
}

static bool group_is(const struct work_model *w, uint32_t g, const struct blob *b)
{
    return memcmp(w->group[g].b, blob_digest(b)->b, DIGEST_BYTES) == 0;
}

bool work_model_holds(const struct work_model *w, const struct blob_set *s)
{
    for (uint32_t g = 0; g < MAG_GROUPS; g++) {
        if (s->blob[g] && !group_is(w, g, s->blob[g]))
            return false;
    }
    return true;
}

int work_model_load(struct work_model *w, const struct blob_set *s)
{
    uint32_t changed = 0;
    for (uint32_t g = 0; g < MAG_GROUPS; g++) {
        if (!s->blob[g] || memcmp(w->group[g].b, blob_digest(s->blob[g])->b, DIGEST_BYTES) == 0)
            continue;
        memset(&w->group[g], 0, sizeof w->group[g]);
        int err = load_group(w, g, s->blob[g]);
        if (err)
            return err;
        changed |= 1u << g;
    }
    if (changed)
        mag_refresh(w->m, changed);
    return 0;
}
