/* SPDX-License-Identifier: Apache-2.0 */
/* params.c - the table of parameters and the two layouts of a weight.
 *
 *   PyTorch, files:  weight [out][in]        ours:  [in][ld], columns out.. zero
 *
 * One function walks both, so that values, gradients and moments cannot be laid out apart.
 * A group is contiguous: an optimiser owns a range of floats. */
#include "nn/params.h"

#include "base/err.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t pad(size_t n)
{
    return (n + PARAM_PAD - 1) / PARAM_PAD * PARAM_PAD;
}

/* Rows a power of two apart all fall into the same few sets of a cache: products with 1024
 * columns ran a quarter slower than with 256. */
size_t param_stride(size_t columns)
{
    return columns % 512 == 0 ? columns + PARAM_PAD : columns;
}

int params_init(struct params *p, struct arena *arena, size_t max)
{
    struct param *table = arena_alloc(arena, max * sizeof *table);
    if (!table)
        return ERR_NOMEM;
    *p = (struct params){.table = table};
    return 0;
}

size_t params_add(struct params *p, const char *name, enum param_kind kind, uint32_t group,
                  size_t out, size_t in)
{
    struct param *q = &p->table[p->n];
    bug_on(strlen(name) >= PARAM_NAME);
    bug_on(p->n > 0 && group < q[-1].group); /* groups in ascending order are contiguous */
    bug_on(params_find(p, name) != (size_t)-1);
    *q = (struct param){.kind = kind, .group = group, .out = out, .out_pad = pad(out)};
    snprintf(q->name, sizeof q->name, "%s", name);
    q->in = kind == PARAM_LINEAR ? in : 1;
    q->ld = kind == PARAM_LINEAR ? param_stride(q->out_pad) : q->out_pad;
    q->offset = p->count;
    q->count = q->in * q->ld;
    p->count += q->count;
    return p->n++;
}

int params_carve(struct params *p, struct arena *arena)
{
    float *value = arena_zalloc(arena, p->count * sizeof *value);
    if (!value)
        return ERR_NOMEM;
    p->value = value;
    return 0;
}

int params_carve_packed(struct params *p, struct arena *arena)
{
    p->packed = arena_zalloc(arena, p->count * sizeof *p->packed);
    return p->packed ? 0 : ERR_NOMEM;
}

size_t params_find(const struct params *p, const char *name)
{
    for (size_t i = 0; i < p->n; i++)
        if (strcmp(p->table[i].name, name) == 0)
            return i;
    return (size_t)-1;
}

static int in_groups(const struct param *q, uint32_t lo, uint32_t hi)
{
    return q->group >= lo && q->group <= hi;
}

void params_range(const struct params *p, uint32_t lo, uint32_t hi, size_t *first,
                  size_t *count)
{
    *first = *count = 0;
    for (size_t i = 0; i < p->n; i++) {
        const struct param *q = &p->table[i];
        if (!in_groups(q, lo, hi))
            continue;
        if (*count == 0)
            *first = q->offset;
        *count += q->count;
    }
}

size_t params_real(const struct params *p, uint32_t lo, uint32_t hi)
{
    size_t n = 0;
    for (size_t i = 0; i < p->n; i++)
        if (in_groups(&p->table[i], lo, hi))
            n += p->table[i].out * p->table[i].in;
    return n;
}

void param_export(const struct param *p, const float *block, float *dst)
{
    const float *src = block + p->offset;
    for (size_t o = 0; o < p->out; o++)
        for (size_t i = 0; i < p->in; i++)
            dst[o * p->in + i] = src[i * p->ld + o];
}

void param_import(const struct param *p, float *block, const float *src)
{
    float *dst = block + p->offset;
    for (size_t i = 0; i < p->in; i++) {
        for (size_t o = 0; o < p->out; o++)
            dst[i * p->ld + o] = src[o * p->in + i];
        for (size_t o = p->out; o < p->ld; o++)
            dst[i * p->ld + o] = 0;
    }
}

enum { BLOB_NAME = 128 }; /* prefix and name */

static void blob_name(char out[BLOB_NAME], const char *prefix, const struct param *p)
{
    const int n = snprintf(out, BLOB_NAME, "%s%s", prefix, p->name);
    bug_on(n < 0 || n >= BLOB_NAME);
}

static size_t shape_of(const struct param *p, size_t shape[2])
{
    shape[0] = p->out;
    shape[1] = p->in;
    return p->kind == PARAM_LINEAR ? 2 : 1;
}

int params_to_blob(const struct params *p, const float *block, uint32_t lo, uint32_t hi,
                   const char *prefix, unsigned char **out, size_t *n)
{
    const size_t real = params_real(p, lo, hi);
    struct st_tensor *t = calloc(p->n + 1, sizeof *t);
    char(*names)[BLOB_NAME] = calloc(p->n + 1, sizeof *names);
    float *data = malloc((real + 1) * sizeof *data);
    int err = ERR_NOMEM;
    if (t && names && data) {
        size_t count = 0, used = 0;
        for (size_t i = 0; i < p->n; i++) {
            const struct param *q = &p->table[i];
            if (!in_groups(q, lo, hi))
                continue;
            blob_name(names[count], prefix, q);
            param_export(q, block, data + used);
            t[count] = (struct st_tensor){.name = names[count],
                                          .dtype = ST_F32,
                                          .data = data + used,
                                          .bytes = q->out * q->in * sizeof *data};
            t[count].rank = shape_of(q, t[count].shape);
            used += q->out * q->in;
            count++;
        }
        err = st_write_mem(out, n, t, count, NULL, 0);
    }
    free(data);
    free(names);
    free(t);
    return err;
}

static int check_tensor(const struct param *p, const char *name, const struct st_tensor *t)
{
    size_t shape[2];
    const size_t rank = shape_of(p, shape);
    if (!t)
        return err_set(ERR_CORRUPT, "weights: %s is missing", name);
    if (t->dtype != ST_F32 || t->rank != rank || t->shape[0] != shape[0] ||
        (rank == 2 && t->shape[1] != shape[1]))
        return rank == 2 ? err_set(ERR_CORRUPT, "weights: %s should be float32 [%zu, %zu]",
                                   name, shape[0], shape[1])
                         : err_set(ERR_CORRUPT, "weights: %s should be float32 [%zu]", name,
                                   shape[0]);
    return 0;
}

/* Every parameter present and fitting, and nothing under the prefix that is none of ours. */
static int check_reader(const struct params *p, uint32_t lo, uint32_t hi, const char *prefix,
                        const struct st_reader *r, size_t *largest)
{
    char name[BLOB_NAME];
    size_t found = 0, under = 0;
    for (size_t i = 0; i < p->n; i++) {
        const struct param *q = &p->table[i];
        if (!in_groups(q, lo, hi))
            continue;
        blob_name(name, prefix, q);
        const int err = check_tensor(q, name, st_find(r, name));
        if (err)
            return err;
        found++;
        if (q->out * q->in > *largest)
            *largest = q->out * q->in;
    }
    for (size_t i = 0; i < st_count(r); i++)
        under += strncmp(st_at(r, i)->name, prefix, strlen(prefix)) == 0;
    if (under != found)
        return err_set(ERR_CORRUPT, "weights: %zu tensors under \"%s\" where %zu belong", under,
                       prefix, found);
    return 0;
}

int params_from_reader(const struct params *p, float *block, uint32_t lo, uint32_t hi,
                       const char *prefix, const struct st_reader *r)
{
    char name[BLOB_NAME];
    size_t largest = 1;
    int err = check_reader(p, lo, hi, prefix, r, &largest);
    if (err)
        return err;
    float *data = malloc(largest * sizeof *data);
    if (!data)
        return ERR_NOMEM;
    for (size_t i = 0; i < p->n && !err; i++) {
        const struct param *q = &p->table[i];
        if (!in_groups(q, lo, hi))
            continue;
        blob_name(name, prefix, q);
        err = st_copy_f32(st_find(r, name), data, q->out * q->in);
        bug_on(err != 0); /* checked above: a failure here would leave half a block */
        param_import(q, block, data);
    }
    free(data);
    return err;
}
