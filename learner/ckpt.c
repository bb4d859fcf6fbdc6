/* SPDX-License-Identifier: Apache-2.0 */
/* ckpt.c - one consistent cut of a run on disk, complete or absent.
 *
 * WHY  A power cut or kill -9 may come at any instant. Everything is written into a directory
 * whose name starts with a dot, each file synced, then the directory, then one rename makes
 * it visible and the parent is synced. A reader never sees half a checkpoint.
 *
 *   ckpt/000012.1.000040/   iteration 12, phase 1 (model), gradient step 40 comes next
 *       model.safetensors   parameters, PyTorch names and shapes
 *       optim.safetensors   exp_avg.NAME and exp_avg_sq.NAME
 *       state.json          counters; doubles as C99 hexadecimal text, exact
 *       MANIFEST.json       size and BLAKE2b-256 of the three
 *   ckpt/latest             symlink to the newest, for people
 *   ckpt/best               symlink to the best, where a run keeps it (ckpt.best)
 *
 * The loader trusts names only for order; it verifies the manifest and steps back one
 * checkpoint on any damage, with a warning. A run none of whose checkpoints is whole is not a new
 * run: starting over there would be silent and would sweep away what could be repaired. */
#include "learner/ckpt.h"

#include "base/err.h"
#include "base/fault.h"
#include "base/log.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DONE = 6, PATH_BYTES = 4096, FILES = 3, NAMES_MAX = 4096, JSON_MAX = 1 << 20 };

static const char *const file_name[FILES] = {"model.safetensors", "optim.safetensors",
                                             "state.json"};

static int path_error(int err, const char *what, const char *path)
{
    const char *remedy =
        errno == ENOSPC || errno == EDQUOT ? "; free some space and resume" : "";
    return err_set(err, "%s %s: %s%s", what, path, strerror(errno), remedy);
}

/* Paths here are run_dir plus a few short names; a cut one would be a wrong one. */
static int join(char out[PATH_BYTES], const char *dir, const char *name)
{
    int n = snprintf(out, PATH_BYTES, "%s/%s", dir, name);
    return n < 0 || n >= PATH_BYTES ? err_set(ERR_INVAL, "path too long: %s", dir) : 0;
}

/* --------------------------------------------------------------------------- plain files */

static int sync_dir(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return path_error(ERR_IO, "cannot open directory", path);
    int err = fsync(fd) ? path_error(ERR_IO, "cannot sync directory", path) : 0;
    close(fd);
    return err;
}

static int write_all(int fd, const unsigned char *p, size_t n)
{
    while (n) {
        ssize_t k = write(fd, p, n);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return ERR_IO;
        p += k;
        n -= (size_t)k;
    }
    return 0;
}

static int write_file(const char *dir, const char *name, const void *p, size_t n)
{
    char path[PATH_BYTES];
    int err = join(path, dir, name);
    if (err)
        return err;
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return path_error(ERR_IO, "cannot create", path);
    if (write_all(fd, p, n) || fdatasync(fd))
        err = path_error(ERR_IO, "cannot write", path);
    if (close(fd) && !err)
        err = path_error(ERR_IO, "cannot close", path);
    return err;
}

static int read_file(const char *dir, const char *name, unsigned char **out, size_t *n)
{
    char path[PATH_BYTES];
    struct stat st;
    int err = join(path, dir, name);
    if (err)
        return err;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return path_error(ERR_NOTFOUND, "cannot open", path);
    unsigned char *buf = NULL;
    if (fstat(fd, &st))
        err = path_error(ERR_IO, "cannot read", path);
    else if (!(buf = malloc((size_t)st.st_size + 1)))
        err = ERR_NOMEM;
    size_t have = 0;
    while (!err && have < (size_t)st.st_size) {
        ssize_t k = read(fd, buf + have, (size_t)st.st_size - have);
        if (k <= 0)
            err = path_error(ERR_IO, "cannot read", path);
        else
            have += (size_t)k;
    }
    close(fd);
    if (err) {
        free(buf);
        return err;
    }
    *out = buf;
    *n = have;
    return 0;
}

static void remove_tree(const char *dir)
{
    DIR *d = opendir(dir);
    if (!d)
        return;
    for (struct dirent *e; (e = readdir(d));)
        if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
            unlinkat(dirfd(d), e->d_name, 0);
    closedir(d);
    rmdir(dir);
}

/* ------------------------------------------------------------------------------ state.json */

static json_t *hex_double(double v)
{
    char text[48];
    snprintf(text, sizeof text, "%a", v);
    return json_string(text);
}

static json_t *state_to_json(const struct ckpt_view *c)
{
    const struct ckpt_state *s = c->state;
    char config[DIGEST_HEX];
    digest_hex(config, c->config);
    json_t *opts = json_array(), *versions = json_array(), *done = json_array();
    json_t *skipped_by = json_array();
    for (int i = 0; i < MAG_OPTS; i++)
        json_array_append_new(opts,
                              json_pack("{s:I,s:o,s:o}", "steps", (json_int_t)s->opt[i].steps,
                                        "beta1_t", hex_double(s->opt[i].beta1_t), "beta2_t",
                                        hex_double(s->opt[i].beta2_t)));
    for (int i = 0; i < MAG_OPTS; i++)
        json_array_append_new(skipped_by, json_integer((json_int_t)s->skipped_by[i]));
    for (int g = 0; g < MAG_GROUPS; g++)
        json_array_append_new(versions, json_integer((json_int_t)s->version[g]));
    const uint64_t counts[DONE] = {s->done.model_steps, s->done.rm_steps,     s->done.batches,
                                   s->done.actor_steps, s->done.critic_steps, s->done.rows};
    for (int i = 0; i < DONE; i++)
        json_array_append_new(done, json_integer((json_int_t)counts[i]));
    return json_pack(
        "{s:i,s:I,s:i,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:o,s:I,s:I,s:o,s:I,s:o,s:o,s:o,s:o,s:s,s:s,"
        "s:s,s:s}",
        "format", 1, "iteration", (json_int_t)s->iteration, "phase", (int)s->phase, "step",
        (json_int_t)s->step, "next_episode", (json_int_t)s->next_episode, "phase_first_episode",
        (json_int_t)s->phase_first_episode, "env_steps", (json_int_t)s->env_steps, "updates",
        (json_int_t)s->updates, "set_id", (json_int_t)s->set_id, "eval_round",
        (json_int_t)s->eval_round, "elapsed_s", hex_double(s->elapsed_s), "best_iteration",
        (json_int_t)s->best_iteration, "best_wins", (json_int_t)s->best_wins, "entropy_weight",
        hex_double(s->entropy_weight), "skipped", (json_int_t)s->skipped, "skipped_by",
        skipped_by, "optimisers", opts, "versions", versions, "done", done, "config", config,
        "isa", c->isa, "products", c->products, "blas_core", c->blas_core);
}

static bool is_count(const json_t *v, uint64_t *out)
{
    if (!json_is_integer(v) || json_integer_value(v) < 0)
        return false;
    *out = (uint64_t)json_integer_value(v);
    return true;
}

static bool get_u64(const json_t *o, const char *key, uint64_t *out)
{
    return is_count(json_object_get(o, key), out);
}

static bool get_double(const json_t *o, const char *key, double *out)
{
    const char *text = json_string_value(json_object_get(o, key));
    char *end;
    if (!text || !*text)
        return false;
    *out = strtod(text, &end);
    return !*end && isfinite(*out);
}

static bool get_digest(const json_t *o, const char *key, struct digest *out)
{
    const char *text = json_string_value(json_object_get(o, key));
    if (!text || strlen(text) != DIGEST_HEX - 1)
        return false;
    for (int i = 0; i < DIGEST_BYTES; i++)
        if (!isxdigit((unsigned char)text[2 * i]) ||
            sscanf(text + 2 * i, "%2hhx", &out->b[i]) != 1)
            return false;
    char again[DIGEST_HEX];
    digest_hex(again, out);
    return !strcmp(again, text);
}

static bool arrays_from_json(const json_t *o, struct ckpt_state *s)
{
    const json_t *opts = json_object_get(o, "optimisers"), *v = json_object_get(o, "versions");
    const json_t *done = json_object_get(o, "done");
    uint64_t *const counts[DONE] = {&s->done.model_steps,  &s->done.rm_steps,
                                    &s->done.batches,      &s->done.actor_steps,
                                    &s->done.critic_steps, &s->done.rows};
    if (json_array_size(opts) != MAG_OPTS || json_array_size(v) != MAG_GROUPS ||
        json_array_size(done) != DONE)
        return false;
    for (size_t i = 0; i < DONE; i++)
        if (!is_count(json_array_get(done, i), counts[i]))
            return false;
    for (size_t i = 0; i < MAG_OPTS; i++) {
        const json_t *opt = json_array_get(opts, i);
        if (!get_u64(opt, "steps", &s->opt[i].steps) ||
            !get_double(opt, "beta1_t", &s->opt[i].beta1_t) ||
            !get_double(opt, "beta2_t", &s->opt[i].beta2_t))
            return false;
    }
    for (size_t g = 0; g < MAG_GROUPS; g++)
        if (!is_count(json_array_get(v, g), &s->version[g]))
            return false;
    return true;
}

/* By optimiser: checkpoints that were written before it was counted have none. */
static bool skipped_from_json(const json_t *o, struct ckpt_state *s)
{
    const json_t *by = json_object_get(o, "skipped_by");
    memset(s->skipped_by, 0, sizeof s->skipped_by);
    if (!by)
        return true;
    for (size_t i = 0; i < MAG_OPTS; i++)
        if (!is_count(json_array_get(by, i), &s->skipped_by[i]))
            return false;
    return json_array_size(by) == MAG_OPTS;
}

/* Checkpoints that were written before a best one was kept have none. */
static bool best_from_json(const json_t *o, struct ckpt_state *s)
{
    s->best_iteration = s->best_wins = 0;
    if (!json_object_get(o, "best_iteration"))
        return true;
    return get_u64(o, "best_iteration", &s->best_iteration) &&
           get_u64(o, "best_wins", &s->best_wins);
}

static bool state_from_json(const json_t *o, struct ckpt_state *s, struct digest *config)
{
    uint64_t format = 0, phase = 0;
    bool ok = get_u64(o, "format", &format) && format == 1 &&
              get_u64(o, "iteration", &s->iteration) && get_u64(o, "phase", &phase) &&
              phase <= PHASE_POLICY && get_u64(o, "step", &s->step) &&
              get_u64(o, "next_episode", &s->next_episode) &&
              get_u64(o, "phase_first_episode", &s->phase_first_episode) &&
              get_u64(o, "env_steps", &s->env_steps) && get_u64(o, "updates", &s->updates) &&
              get_u64(o, "set_id", &s->set_id) && get_u64(o, "eval_round", &s->eval_round) &&
              get_double(o, "elapsed_s", &s->elapsed_s) &&
              get_double(o, "entropy_weight", &s->entropy_weight) &&
              get_u64(o, "skipped", &s->skipped) && skipped_from_json(o, s) &&
              best_from_json(o, s) && arrays_from_json(o, s) && get_digest(o, "config", config);
    s->phase = (enum train_phase)phase;
    return ok;
}

static int load_json(const char *dir, const char *name, json_t **out)
{
    unsigned char *text = NULL;
    size_t n = 0;
    json_error_t why;
    int err = read_file(dir, name, &text, &n);
    if (err)
        return err;
    if (n <= JSON_MAX)
        *out = json_loadb((const char *)text, n, JSON_REJECT_DUPLICATES, &why);
    free(text);
    if (n > JSON_MAX || !*out)
        return err_set(ERR_CORRUPT, "%s/%s is not a checkpoint's JSON", dir, name);
    return 0;
}

int ckpt_read_state(const char *path, struct ckpt_state *out, struct digest *config)
{
    json_t *o = NULL;
    int err = load_json(path, "state.json", &o);
    if (err)
        return err;
    struct ckpt_state s = {0};
    struct digest d;
    if (!state_from_json(o, &s, &d))
        err = err_set(ERR_CORRUPT, "%s/state.json lacks a field or holds a wrong one", path);
    json_decref(o);
    if (err)
        return err;
    *out = s;
    if (config)
        *config = d;
    return 0;
}

/* --------------------------------------------------------------------------------- tensors */

/* All parameters of `blocks[k]` under prefix[k], exported to PyTorch's layout, as one blob. */
static int tensors_to_blob(const struct params *p, const float *const *blocks,
                           const char *const *prefix, size_t n_blocks, unsigned char **out,
                           size_t *n)
{
    size_t total = n_blocks * p->n, floats = 0;
    for (size_t i = 0; i < p->n; i++)
        floats += p->table[i].out * p->table[i].in;
    struct st_tensor *t = calloc(total, sizeof *t);
    char(*names)[PARAM_NAME + 16] = calloc(total, sizeof *names);
    float *data = malloc(n_blocks * floats * sizeof *data), *at = data;
    int err = t && names && data ? 0 : ERR_NOMEM;
    for (size_t k = 0; !err && k < n_blocks; k++)
        for (size_t i = 0; i < p->n; i++) {
            const struct param *q = &p->table[i];
            size_t j = k * p->n + i, count = q->out * q->in;
            snprintf(names[j], sizeof names[j], "%s%s", prefix[k], q->name);
            param_export(q, blocks[k], at);
            t[j] = (struct st_tensor){.name = names[j],
                                      .dtype = ST_F32,
                                      .rank = q->kind == PARAM_LINEAR ? 2 : 1,
                                      .shape = {q->out, q->in},
                                      .data = at,
                                      .bytes = count * sizeof *at};
            at += count;
        }
    if (!err)
        err = st_write_mem(out, n, t, total, NULL, 0);
    free(t);
    free(names);
    free(data);
    return err;
}

/* --------------------------------------------------------------------------------- writing */

struct part {
    unsigned char *bytes;
    size_t n;
};

static int make_parts(const struct ckpt_view *c, struct part part[FILES])
{
    const float *values[] = {c->value}, *moments[] = {c->m, c->v};
    const char *plain[] = {""}, *prefixes[] = {"exp_avg.", "exp_avg_sq."};
    int err = tensors_to_blob(c->params, values, plain, 1, &part[0].bytes, &part[0].n);
    if (!err)
        err = tensors_to_blob(c->params, moments, prefixes, 2, &part[1].bytes, &part[1].n);
    if (err)
        return err;
    json_t *state = state_to_json(c);
    part[2].bytes = (unsigned char *)(state ? json_dumps(state, JSON_INDENT(2)) : NULL);
    json_decref(state);
    if (!part[2].bytes)
        return ERR_NOMEM;
    part[2].n = strlen((char *)part[2].bytes);
    return 0;
}

static int write_manifest(const char *dir, const struct part part[FILES])
{
    json_t *files = json_object();
    for (int i = 0; i < FILES; i++) {
        struct digest d;
        char hex[DIGEST_HEX];
        digest_of(&d, part[i].bytes, part[i].n);
        digest_hex(hex, &d);
        json_object_set_new(
            files, file_name[i],
            json_pack("{s:I,s:s}", "bytes", (json_int_t)part[i].n, "blake2b", hex));
    }
    json_t *manifest = json_pack("{s:i,s:o}", "format", 1, "files", files);
    char *text = manifest ? json_dumps(manifest, JSON_INDENT(2) | JSON_SORT_KEYS) : NULL;
    json_decref(manifest);
    int err = text ? write_file(dir, "MANIFEST.json", text, strlen(text)) : ERR_NOMEM;
    free(text);
    return err;
}

static void cut_name(char *out, size_t n, const struct ckpt_state *s)
{
    snprintf(out, n, "%06" PRIu64 ".%d.%06" PRIu64, s->iteration, (int)s->phase, s->step);
}

/* Where the best cut of a state lies; false: it has none. */
static bool best_name(char *out, size_t n, const struct ckpt_state *s)
{
    const struct ckpt_state cut = {.iteration = s->best_iteration, .phase = PHASE_COLLECT};
    cut_name(out, n, &cut);
    return s->best_iteration > 0;
}

static bool is_cut_name(const char *name)
{
    unsigned long long iteration, step;
    int phase, used = 0;
    return sscanf(name, "%llu.%d.%llu%n", &iteration, &phase, &step, &used) == 3 && !name[used];
}

/* Names sort like cuts as long as their digits do not outgrow the padding; compare numbers. */
static int newer_first(const void *a, const void *b)
{
    unsigned long long x[2], y[2];
    int px, py;
    sscanf(*(char *const *)a, "%llu.%d.%llu", &x[0], &px, &x[1]);
    sscanf(*(char *const *)b, "%llu.%d.%llu", &y[0], &py, &y[1]);
    if (x[0] != y[0])
        return x[0] < y[0] ? 1 : -1;
    if (px != py)
        return px < py ? 1 : -1;
    return x[1] == y[1] ? 0 : x[1] < y[1] ? 1 : -1;
}

static void free_names(char **names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(names[i]);
    free(names);
}

static int add_name(char ***names, size_t *n, size_t *max, const char *name)
{
    if (*n == *max) {
        size_t more = *max ? 2 * *max : 16;
        char **grown = realloc(*names, more * sizeof *grown);
        if (!grown)
            return ERR_NOMEM;
        *names = grown;
        *max = more;
    }
    if (!((*names)[*n] = strdup(name)))
        return ERR_NOMEM;
    ++*n;
    return 0;
}

/* The names of all checkpoints under dir, newest first; free_names. None where dir is not there. */
static int list_cuts(const char *dir, char ***out, size_t *count)
{
    char **names = NULL;
    size_t n = 0, max = 0;
    int err = 0;
    *out = NULL;
    *count = 0;
    DIR *d = opendir(dir);
    if (!d)
        return errno == ENOENT ? 0 : path_error(ERR_IO, "cannot read", dir);
    struct dirent *e;
    while (!err && (errno = 0, e = readdir(d)))
        if (is_cut_name(e->d_name))
            err = add_name(&names, &n, &max, e->d_name);
    if (!err && errno)
        err = path_error(ERR_IO, "cannot read", dir);
    closedir(d);
    if (err) {
        free_names(names, n);
        return err;
    }
    if (n)
        qsort(names, n, sizeof *names, newer_first);
    *out = names;
    *count = n;
    return 0;
}

static int verify(const char *dir);

/* Remove what dead writers left behind: on a full disk it is what the next one lacks. There is one
 * writer at a time. */
static void sweep(const char *dir)
{
    char path[PATH_BYTES];
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));)
        if (!strncmp(e->d_name, ".tmp-", 5) && !join(path, dir, e->d_name))
            remove_tree(path);
    if (d)
        closedir(d);
}

/* Keep `name`, just written, the newest before it and `best`; remove older ones. A later cut is
 * there only if it was damaged when the run was resumed: it goes too, or it would count as one of
 * those to keep. */
static void prune(const char *dir, const char *name, const char *best, size_t keep)
{
    char path[PATH_BYTES], **names;
    size_t n, kept = 0;
    if (list_cuts(dir, &names, &n))
        return; /* the next checkpoint tries again */
    for (size_t i = 0; i < n; i++) {
        bool later = newer_first(&names[i], &name) < 0;
        if (join(path, dir, names[i]))
            continue;
        bool old = kept >= (keep ? keep : 1) && strcmp(names[i], best) != 0;
        kept += !later;
        if (later ? verify(path) != 0 : old)
            remove_tree(path);
    }
    free_names(names, n);
}

/* dir/link -> name, replaced by rename so that it always points somewhere. */
static int point(const char *dir, const char *link, const char *name)
{
    char tmp[PATH_BYTES], path[PATH_BYTES];
    int err = join(tmp, dir, ".link");
    if (!err)
        err = join(path, dir, link);
    if (err)
        return err;
    unlink(tmp);
    if (symlink(name, tmp) || rename(tmp, path))
        return path_error(ERR_IO, "cannot point", path);
    return 0;
}

static int write_parts(const char *dir, const struct part part[FILES])
{
    int err = mkdir(dir, 0755) ? path_error(ERR_IO, "cannot create", dir) : 0;
    for (int i = 0; !err && i < FILES; i++) {
        err = write_file(dir, file_name[i], part[i].bytes, part[i].n);
        fault_point("ckpt.file");
    }
    if (!err)
        err = write_manifest(dir, part);
    return err ? err : sync_dir(dir);
}

/* Put tmp in place as `name`. The same cut may be there (a stop right after a resume, an
 * evaluation right after a checkpoint): its weights are the same, but what is known of it may be
 * more now, so the two change places in one step. */
static int publish(const char *ckpts, const char *tmp, const char *name)
{
    char path[PATH_BYTES];
    int err = join(path, ckpts, name);
    if (err)
        return err;
    fault_point("ckpt.rename.before");
    if (!renameat2(AT_FDCWD, tmp, AT_FDCWD, path, RENAME_EXCHANGE)) {
        remove_tree(tmp); /* what was there */
    } else {
        if (!access(path, F_OK)) /* a file system that cannot exchange */
            remove_tree(path);
        if (rename(tmp, path))
            return path_error(ERR_IO, "cannot put in place", path);
    }
    fault_point("ckpt.rename.after");
    return sync_dir(ckpts);
}

int ckpt_write(const char *run_dir, const struct ckpt_view *c, size_t keep)
{
    char ckpts[PATH_BYTES], tmp[PATH_BYTES], name[64], best[64], tmp_name[96];
    struct part part[FILES] = {{0}};
    bool has_best = best_name(best, sizeof best, c->state);
    cut_name(name, sizeof name, c->state);
    snprintf(tmp_name, sizeof tmp_name, ".tmp-%s-%ld", name, (long)getpid());
    int err = join(ckpts, run_dir, "ckpt");
    if (!err)
        err = join(tmp, ckpts, tmp_name);
    if (!err && mkdir(ckpts, 0755) && errno != EEXIST)
        err = path_error(ERR_IO, "cannot create", ckpts);
    if (!err) {
        sweep(ckpts);
        err = make_parts(c, part);
    }
    if (!err)
        err = write_parts(tmp, part);
    if (!err)
        err = publish(ckpts, tmp, name);
    if (err)
        remove_tree(tmp);
    if (!err)
        err = point(ckpts, "latest", name);
    if (!err && has_best)
        err = point(ckpts, "best", best);
    if (!err)
        prune(ckpts, name, best, keep);
    for (int i = 0; i < FILES; i++)
        free(part[i].bytes);
    return err;
}

/* --------------------------------------------------------------------------------- reading */

static int verify_file(const char *dir, const char *name, const json_t *entry)
{
    unsigned char *bytes = NULL;
    size_t n = 0;
    uint64_t size = 0;
    struct digest want, got;
    if (!get_u64(entry, "bytes", &size) || !get_digest(entry, "blake2b", &want))
        return err_set(ERR_CORRUPT, "%s/MANIFEST.json says nothing of %s", dir, name);
    int err = read_file(dir, name, &bytes, &n);
    if (err)
        return err;
    digest_of(&got, bytes, n);
    free(bytes);
    if (n != size || memcmp(&got, &want, sizeof got))
        return err_set(ERR_CORRUPT, "%s/%s is damaged", dir, name);
    return 0;
}

static int verify(const char *dir)
{
    json_t *manifest = NULL;
    uint64_t format = 0;
    int err = load_json(dir, "MANIFEST.json", &manifest);
    const json_t *files = json_object_get(manifest, "files");
    if (!err && (!get_u64(manifest, "format", &format) || format != 1 ||
                 json_object_size(files) != FILES))
        err = err_set(ERR_CORRUPT, "%s/MANIFEST.json is not a checkpoint's manifest", dir);
    for (int i = 0; !err && i < FILES; i++)
        err = verify_file(dir, file_name[i], json_object_get(files, file_name[i]));
    json_decref(manifest);
    return err;
}

int ckpt_find(const char *where, char *path, size_t n)
{
    char ckpts[PATH_BYTES], one[PATH_BYTES], **names;
    int err = join(one, where, "MANIFEST.json");
    if (!err && !access(one, F_OK)) {
        err = verify(where);
        if (!err)
            snprintf(path, n, "%s", where);
        return err;
    }
    if (!err)
        err = join(ckpts, where, "ckpt");
    if (err)
        return err;
    size_t count = 0;
    char why[256] = "";
    err = list_cuts(ckpts, &names, &count);
    if (err)
        return err;
    int found = ERR_NOTFOUND;
    for (size_t i = 0; i < count && found; i++) {
        if (join(one, ckpts, names[i]))
            continue;
        found = verify(one);
        if (!found) {
            snprintf(path, n, "%s", one);
            break;
        }
        if (i == 0)
            snprintf(why, sizeof why, "%s", err_text());
        log_warn("checkpoint damaged, trying the one before", "path=%s why=\"%s\"", one,
                 err_text());
    }
    free_names(names, count);
    if (found && count)
        return err_set(ERR_CORRUPT,
                       "no checkpoint under %s is whole (%s): put a copy back, or move that "
                       "folder away to start over",
                       ckpts, why);
    return found ? err_set(ERR_NOTFOUND, "no checkpoint under %s", where) : 0;
}

int ckpt_find_best(const char *where, char *path, size_t n)
{
    char ckpts[PATH_BYTES], one[PATH_BYTES], name[64];
    struct ckpt_state state;
    int err = ckpt_find(where, path, n);
    if (!err && strcmp(path, where) != 0) /* a run, not a checkpoint */
        err = ckpt_read_state(path, &state, NULL);
    else
        return err;
    if (!err && best_name(name, sizeof name, &state)) {
        err = join(ckpts, where, "ckpt");
        if (!err)
            err = join(one, ckpts, name);
        if (!err && verify(one))
            log_warn("best checkpoint missing or damaged, taking the newest",
                     "path=%s why=\"%s\"", one, err_text());
        else if (!err)
            snprintf(path, n, "%s", one);
    }
    return err;
}

int ckpt_load(const char *path, const struct params *p, float *value, float *m, float *v)
{
    struct st_reader *r = NULL;
    char file[PATH_BYTES];
    uint32_t last = MAG_GROUPS - 1;
    int err = join(file, path, file_name[0]);
    if (!err)
        err = st_read_file(&r, file);
    if (!err)
        err = params_from_reader(p, value, 0, last, "", r);
    st_close(r);
    if (err || (!m && !v))
        return err;
    r = NULL;
    err = join(file, path, file_name[1]);
    if (!err)
        err = st_read_file(&r, file);
    if (!err && m)
        err = params_from_reader(p, m, 0, last, "exp_avg.", r);
    if (!err && v)
        err = params_from_reader(p, v, 0, last, "exp_avg_sq.", r);
    st_close(r);
    return err;
}

/* ------------------------------------------------------------------------------------ hash */

/* One entry of the hash: a tensor or a counter. */
struct entry {
    const char *name, *dtype;
    uint64_t shape[ST_RANK_MAX];
    size_t rank, bytes;
    const void *data;
};

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

static void hash_entry(struct digest_state *s, const struct entry *e)
{
    digest_add(s, e->name, strlen(e->name) + 1);
    digest_add(s, e->dtype, strlen(e->dtype) + 1);
    digest_add_u64(s, e->rank);
    for (size_t i = 0; i < e->rank; i++)
        digest_add_u64(s, e->shape[i]);
    digest_add(s, e->data, e->bytes);
}

static size_t add_tensors(struct entry *e, const struct st_reader *r)
{
    for (size_t i = 0; i < st_count(r); i++) {
        const struct st_tensor *t = st_at(r, i);
        e[i] = (struct entry){.name = t->name,
                              .dtype = "F32",
                              .rank = t->rank,
                              .bytes = t->bytes,
                              .data = t->data};
        for (size_t d = 0; d < t->rank; d++)
            e[i].shape[d] = t->shape[d];
    }
    return st_count(r);
}

enum { COUNTERS = 8 };

static size_t add_counters(struct entry *e, const struct ckpt_state *s)
{
    static const char *const steps[MAG_OPTS] = {
        "counter.adam_steps.model", "counter.adam_steps.rm", "counter.adam_steps.actor",
        "counter.adam_steps.critic"};
    e[0] = (struct entry){.name = "counter.iteration", .data = &s->iteration};
    e[1] = (struct entry){.name = "counter.next_episode", .data = &s->next_episode};
    e[2] = (struct entry){.name = "counter.env_steps", .data = &s->env_steps};
    e[3] = (struct entry){.name = "entropy_weight", .dtype = "F64", .data = &s->entropy_weight};
    for (size_t i = 0; i < MAG_OPTS; i++)
        e[4 + i] = (struct entry){.name = steps[i], .data = &s->opt[i].steps};
    for (size_t i = 0; i < COUNTERS; i++) {
        e[i].bytes = 8;
        if (!e[i].dtype)
            e[i].dtype = "U64";
    }
    return COUNTERS;
}

int ckpt_hash(const char *path, struct digest *out)
{
    struct st_reader *r[2] = {NULL, NULL};
    struct ckpt_state state;
    char file[PATH_BYTES];
    int err = ckpt_read_state(path, &state, NULL);
    for (int i = 0; !err && i < 2; i++) {
        err = join(file, path, file_name[i]);
        if (!err)
            err = st_read_file(&r[i], file);
    }
    struct entry *e = NULL;
    if (!err && !(e = calloc(st_count(r[0]) + st_count(r[1]) + COUNTERS, sizeof *e)))
        err = ERR_NOMEM;
    if (!err) {
        size_t n = add_tensors(e, r[0]);
        n += add_tensors(e + n, r[1]);
        n += add_counters(e + n, &state);
        qsort(e, n, sizeof *e, by_name);
        struct digest_state s;
        digest_init(&s);
        for (size_t i = 0; i < n; i++)
            hash_entry(&s, &e[i]);
        digest_end(&s, out);
    }
    free(e);
    st_close(r[0]);
    st_close(r[1]);
    return err;
}
