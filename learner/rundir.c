/* SPDX-License-Identifier: Apache-2.0 */
/* rundir.c - runs/<map>/<UTC>-<seed>-<id>/.
 *
 * The lock is flock on the file `lock`: it vanishes with its process, however that ends, and
 * the pid inside is only for the error message. */
#include "rundir.h"

#include "base/clock.h"
#include "base/err.h"
#include "learner/run_place.h"
#include "par/pool.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

static int lock_dir(struct rundir *r)
{
    char path[RUN_DIR + 16], holder[32] = "?";
    snprintf(path, sizeof path, "%s/lock", r->path);
    r->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (r->lock_fd < 0)
        return err_set(ERR_IO, "cannot open %s: %s", path, strerror(errno));
    if (flock(r->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        ssize_t n = pread(r->lock_fd, holder, sizeof holder - 1, 0);
        holder[n > 0 ? n : 0] = '\0';
        holder[strcspn(holder, "\n")] = '\0';
        close(r->lock_fd);
        r->lock_fd = -1;
        return err_set(
            ERR_EXISTS,
            "another learner (pid %s) works in %s: stop it, or use another --run-dir", holder,
            r->path);
    }
    int n = snprintf(holder, sizeof holder, "%ld\n", (long)getpid());
    if (ftruncate(r->lock_fd, 0) != 0 || pwrite(r->lock_fd, holder, (size_t)n, 0) != n)
        return err_set(ERR_IO, "cannot write %s: %s", path, strerror(errno));
    return 0;
}

/* The run's identity survives restarts: workers drop what belongs to another run. */
static int identify(struct rundir *r)
{
    char path[RUN_DIR + 16], hex[2 * WIRE_ID + 1] = "";
    snprintf(path, sizeof path, "%s/run.id", r->path);
    FILE *f = fopen(path, "r");
    if (f) {
        bool ok = fscanf(f, "%32s", hex) == 1 && strlen(hex) == 2 * (size_t)WIRE_ID;
        fclose(f);
        for (int i = 0; i < WIRE_ID && ok; i++) {
            char pair[3] = {hex[2 * i], hex[2 * i + 1], '\0'};
            char *end = NULL;
            r->run_id[i] = (unsigned char)strtoul(pair, &end, 16);
            ok = *end == '\0';
        }
        if (ok)
            return 0;
    }
    if (getrandom(r->run_id, WIRE_ID, 0) != WIRE_ID)
        return err_set(ERR_IO, "no random bytes: %s", strerror(errno));
    char tmp[RUN_DIR + 32];
    snprintf(tmp, sizeof tmp, "%s.tmp", path);
    f = fopen(tmp, "w");
    if (!f)
        return err_set(ERR_IO, "cannot write %s: %s", tmp, strerror(errno));
    for (int i = 0; i < WIRE_ID; i++)
        fprintf(f, "%02x", r->run_id[i]);
    fputc('\n', f);
    bool bad = fflush(f) != 0 || fsync(fileno(f)) != 0;
    bad |= fclose(f) != 0;
    if (bad || rename(tmp, path) != 0)
        return err_set(ERR_IO, "cannot write %s: %s", path, strerror(errno));
    return 0;
}

int run_dir_open(struct rundir *r, const struct config *cfg)
{
    struct stat st;
    char db[RUN_DIR + 16];
    memset(r, 0, sizeof *r);
    r->lock_fd = -1;
    int err = run_place(cfg, r->path, sizeof r->path);
    if (!err)
        err = lock_dir(r);
    if (err)
        return err;
    snprintf(db, sizeof db, "%s/run.db", r->path);
    r->existed = stat(db, &st) == 0;
    return identify(r);
}

void run_dir_close(struct rundir *r)
{
    if (r->lock_fd >= 0)
        close(r->lock_fd);
    r->lock_fd = -1;
}

static int write_config(const struct rundir *r, const struct config *cfg)
{
    char path[RUN_DIR + 32];
    snprintf(path, sizeof path, "%s/config.yaml", r->path);
    if (access(path, F_OK) == 0)
        return 0; /* whoever started us has written it */
    return run_place_settings(r->path, cfg);
}

static void set_text(json_t *o, const char *key, const char *text)
{
    json_t *s = json_string(text ? text : "");
    json_object_set_new(o, key, s ? s : json_string("?"));
}

int run_dir_describe(const struct rundir *r, const struct rundir_facts *f)
{
    const struct learner_cfg *lc = f->lc;
    struct utsname host;
    char now[25], path[RUN_DIR + 32];
    int err = write_config(r, lc->cfg);
    if (err)
        return err;
    memset(&host, 0, sizeof host);
    uname(&host);
    clock_rfc3339(now, clock_wall_ms());
    json_t *o = json_object(), *argv = json_array(), *ends = json_object();
    for (int i = 0; i < lc->argc; i++) {
        json_t *s = json_string(lc->argv[i]);
        json_array_append_new(argv, s ? s : json_string("?"));
    }
    static const char *const plane[3] = {"control", "data", "weights"};
    for (int i = 0; i < 3; i++)
        set_text(ends, plane[i], f->endpoint[i]);
    char id[2 * WIRE_ID + 1];
    for (int i = 0; i < WIRE_ID; i++)
        snprintf(id + 2 * i, 3, "%02x", r->run_id[i]);
    set_text(o, "run_id", id);
    set_text(o, "started", now);
    set_text(o, "version", lc->version);
    set_text(o, "revision", lc->revision);
    set_text(o, "isa", f->isa);
    set_text(o, "products", f->products);
    set_text(o, "product_library", f->library);
    set_text(o, "blas_core", f->blas_core);
    set_text(o, "environment", f->spec_line);
    set_text(o, "host", host.nodename);
    set_text(o, "system", host.release);
    set_text(o, "machine", host.machine);
    json_object_set_new(o, "cores", json_integer((json_int_t)pool_cores()));
    json_object_set_new(o, "pid", json_integer(getpid()));
    json_object_set_new(o, "argv", argv);
    json_object_set_new(o, "endpoints", ends);
    snprintf(path, sizeof path, "%s/run.json", r->path);
    if (json_dump_file(o, path, JSON_INDENT(2)) != 0)
        err = err_set(ERR_IO, "cannot write %s: %s", path, strerror(errno));
    json_decref(o);
    return err;
}
