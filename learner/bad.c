/* SPDX-License-Identifier: Apache-2.0 */
/* bad.c - see bad.h.
 *
 * WHY  A step with a loss or gradient that is not finite is skipped (mag_opt_step): nothing is
 * lost, and nothing is learned about the cause either unless its data stay. They are written
 * when it happens, since later the ring has moved on; of a policy update only the minibatch is
 * written, a fifth or less of the imagined batch (59 MB at 27 agents, 4 MB at 2).
 *
 * BOUND  Files in the directory are counted, not calls: a run that is resumed, or that trips
 * over one poisoned episode a thousand times, fills no disk. */
#include "bad.h"

#include "base/err.h"
#include "base/safetensors.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_BYTES = 4096, NAME_BYTES = 96, META = 6 };

const char *const bad_group[MAG_OPTS] = {"model", "rm", "actor", "critic"};

/* Files of a group in the directory. */
static size_t count_of(const char *dir, const char *group)
{
    size_t n = 0, length = strlen(group);
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));)
        n += !strncmp(e->d_name, group, length) && e->d_name[length] == '-';
    if (d)
        closedir(d);
    return n;
}

/* The path to write to; *room false if nothing is to be written. */
static int make_room(const char *run_dir, const struct bad_step *s, char path[PATH_BYTES],
                     char name[NAME_BYTES], bool *room)
{
    const char *group = bad_group[s->opt];
    snprintf(path, PATH_BYTES, "%s/bad", run_dir);
    if (mkdir(path, 0755) != 0 && errno != EEXIST)
        return err_set(ERR_IO, "cannot create %s: %s", path, strerror(errno));
    size_t there = count_of(path, group);
    snprintf(name, NAME_BYTES, "bad/%s-%06llu-%06llu.safetensors", group,
             (unsigned long long)s->iteration, (unsigned long long)s->step);
    if (snprintf(path, PATH_BYTES, "%s/%s", run_dir, name) >= PATH_BYTES)
        return err_set(ERR_INVAL, "path too long under %s", run_dir);
    *room = there < BAD_MAX && access(path, F_OK) != 0;
    return 0;
}

static int write_tensors(const char *run_dir, const struct bad_step *s,
                         const struct st_tensor *list, size_t n, char *out, size_t cap)
{
    char path[PATH_BYTES], name[NAME_BYTES], text[5][32];
    bool room = false;
    if (cap)
        out[0] = 0;
    int err = make_room(run_dir, s, path, name, &room);
    if (err || !room)
        return err;
    snprintf(text[0], sizeof text[0], "%llu", (unsigned long long)s->iteration);
    snprintf(text[1], sizeof text[1], "%llu", (unsigned long long)s->step);
    snprintf(text[2], sizeof text[2], "%llu", (unsigned long long)s->minibatch);
    snprintf(text[3], sizeof text[3], "%g", s->loss);
    snprintf(text[4], sizeof text[4], "%g", s->grad_norm);
    const char *const meta[META][2] = {
        {"group", bad_group[s->opt]}, {"iteration", text[0]}, {"step", text[1]},
        {"minibatch", text[2]},       {"loss", text[3]},      {"grad_norm", text[4]}};
    err = st_write_file(path, list, n, meta, META);
    if (!err)
        snprintf(out, cap, "%s", name);
    return err;
}

static struct st_tensor tensor(const char *name, enum st_dtype dtype, const void *data,
                               size_t a, size_t b, size_t c, size_t d)
{
    size_t width = dtype == ST_F32 || dtype == ST_I32 ? 4 : 1;
    struct st_tensor t = {.name = name,
                          .dtype = dtype,
                          .rank = d   ? 4
                                  : c ? 3
                                  : b ? 2
                                      : 1,
                          .shape = {a, b, c, d},
                          .data = data};
    t.bytes = a * (b ? b : 1) * (c ? c : 1) * (d ? d : 1) * width;
    return t;
}

int bad_keep_windows(const char *run_dir, const struct bad_step *s, const struct mag_dims *d,
                     const struct mag_windows *w, char *name, size_t cap)
{
    size_t W = w->W, B = w->B, N = d->N;
    const struct st_tensor list[] = {
        tensor("obs", ST_F32, w->obs, W, B, N, d->O),
        tensor("action", ST_U8, w->action, W, B, N, 0),
        tensor("avail", ST_U8, w->avail, W, B, N, d->A),
        tensor("reward", ST_F32, w->reward, W, B, N, 0),
        tensor("done", ST_U8, w->done, W, B, 0, 0),
        tensor("fake", ST_U8, w->fake, W, B, 0, 0),
        tensor("last", ST_U8, w->last, W, B, 0, 0),
    };
    return write_tensors(run_dir, s, list, sizeof list / sizeof *list, name, cap);
}

/* Rows order[0..n) of an array of `bytes` a row, one after the other. */
static const void *pick(unsigned char **at, const void *from, const uint32_t *order, size_t n,
                        size_t bytes)
{
    unsigned char *to = *at;
    for (size_t i = 0; i < n; i++)
        memcpy(to + i * bytes, (const unsigned char *)from + order[i] * bytes, bytes);
    *at = to + (n * bytes + 63) / 64 * 64;
    return to;
}

int bad_keep_rows(const char *run_dir, const struct bad_step *s, const struct mag_dims *d,
                  const struct mag_rows *r, const uint32_t *order, size_t n, char *name,
                  size_t cap)
{
    size_t N = d->N, bits = (d->A + 7) / 8;
    size_t row = N * (d->C + d->D * sizeof(float) + 1 + bits + 3 * sizeof(float));
    unsigned char *space = malloc(n * row + 8 * 64), *at = space;
    if (!space)
        return ERR_NOMEM;
    const struct st_tensor list[] = {
        tensor("row", ST_I32, order, n, 0, 0, 0),
        tensor("h", ST_F32, pick(&at, r->h, order, n, N * d->D * 4), n, N, d->D, 0),
        tensor("logp", ST_F32, pick(&at, r->logp, order, n, N * 4), n, N, 0, 0),
        tensor("value", ST_F32, pick(&at, r->value, order, n, N * 4), n, N, 0, 0),
        tensor("return", ST_F32, pick(&at, r->ret, order, n, N * 4), n, N, 0, 0),
        tensor("index", ST_U8, pick(&at, r->index, order, n, N * d->C), n, N, d->C, 0),
        tensor("action", ST_U8, pick(&at, r->action, order, n, N), n, N, 0, 0),
        tensor("avail", ST_U8, pick(&at, r->avail, order, n, N * bits), n, N, bits, 0),
    };
    int err = write_tensors(run_dir, s, list, sizeof list / sizeof *list, name, cap);
    free(space);
    return err;
}
