/* SPDX-License-Identifier: Apache-2.0 */
/* record.c - the thin layer between playing and films: one scene at a time. */
#include "record.h"

#include "base/err.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct record {
    const struct env_class *class;
    struct film_writer *film;
    bool scripted;
    char path[4096];
    struct scene scene;
};

/* A path that ends in a slash is a directory, made if need be. */
static void name_file(struct record *r, const char *path, const struct config *cfg,
                      const char *policy, uint64_t seed)
{
    struct stat st;
    size_t n = strlen(path);
    bool slash = n && path[n - 1] == '/';
    if (slash)
        mkdir(path, 0777); /* what fails is said by check_place */
    bool folder = slash || (stat(path, &st) == 0 && S_ISDIR(st.st_mode));
    if (folder)
        snprintf(r->path, sizeof r->path, "%s%s%s-%s-%llu.film", path, slash ? "" : "/",
                 cfg->env.map, policy, (unsigned long long)seed);
    else
        snprintf(r->path, sizeof r->path, "%s", path);
}

/* Before hundreds of episodes are played: can a file be made there? */
static int check_place(const struct record *r)
{
    char folder[sizeof r->path];
    snprintf(folder, sizeof folder, "%s", r->path);
    char *slash = strrchr(folder, '/');
    if (slash)
        slash[slash == folder] = '\0';
    if (access(slash ? folder : ".", W_OK | X_OK))
        return err_set(ERR_IO, "%s: cannot be written: %s", r->path, strerror(errno));
    return 0;
}

int record_open(struct record **out, const char *path, const struct config *cfg,
                const struct env_class *class, const struct env *env, const char *policy,
                bool scripted, uint64_t seed)
{
    struct film_about about;
    struct scene_stage stage;
    struct env_spec spec;
    int err = film_about(&about, cfg, class, policy, scripted);
    if (!err)
        err = class->spec(cfg, &spec);
    if (err)
        return err;
    struct record *r = calloc(1, sizeof *r);
    if (!r)
        return err_set(ERR_NOMEM, "out of memory for a film");
    r->class = class;
    r->scripted = scripted;
    name_file(r, path, cfg, policy, seed);
    class->stage(env, &stage);
    err = check_place(r);
    if (!err)
        err = film_create(&r->film, &about, &stage, spec.n_agents);
    if (err) {
        record_close(r);
        return err;
    }
    *out = r;
    return 0;
}

void record_close(struct record *r)
{
    if (!r)
        return;
    film_discard(r->film);
    free(r);
}

int record_begin(struct record *r, struct film_take **out, const struct env *env,
                 uint64_t number, uint64_t seed)
{
    r->class->scene(env, &r->scene);
    return take_begin(out, r->film, number, seed, &r->scene);
}

int record_step(struct record *r, struct film_take **take, const struct env *env,
                const uint8_t *action, const struct env_step *step)
{
    r->class->scene(env, &r->scene);
    take_step(*take, r->scripted ? NULL : action, step, &r->scene);
    if (step->end == ENV_RUNNING)
        return 0;
    struct film_take *done = *take;
    *take = NULL;
    return take_end(done);
}

int record_save(struct record *r, const char **path)
{
    *path = r->path;
    return film_write(r->film, r->path);
}
