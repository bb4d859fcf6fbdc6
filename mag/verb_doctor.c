/* SPDX-License-Identifier: Apache-2.0 */
/* verb_doctor.c - `mag doctor`: is this machine fit, and if not, what to do about it.
 *
 * One check, one line: what was found, and the remedy where something is wrong. Exit status 0
 * unless a check fails; warnings do not count. */
#include "args.h"
#include "memory.h"
#include "verbs.h"

#include "base/err.h"
#include "base/sysmem.h"
#include "env/env.h"
#include "nn/kern.h"
#include "par/pool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

enum verdict { GOOD, WARNING, BAD };
enum {
    TEXT = 400,
    NFS_MAGIC = 0x6969,
    SMB_MAGIC = 0x517b,
    CIFS_MAGIC = (int)0xff534d42,
    FUSE_MAGIC = 0x65735546
};

struct finding {
    char text[TEXT], remedy[TEXT];
};

typedef enum verdict check_fn(const struct config *cfg, struct finding *f);

static enum verdict check_cpu(const struct config *cfg, struct finding *f)
{
    const struct kern *k = NULL;
    if (kern_get(cfg->compute.isa, &k)) {
        snprintf(f->text, TEXT, "%s", err_text());
        snprintf(f->remedy, TEXT, "use compute.isa=auto");
        return BAD;
    }
    snprintf(f->text, TEXT, "kernels %s, products %s, %.0f GFLOP/s on one core", k->name,
             k->products, kern_gflops(k, 240, 256, 256, 0.2));
    if (!kern_supported(ISA_AVX2)) {
        snprintf(f->remedy, TEXT,
                 "this CPU lacks AVX2: training works, slower, and \"same bits\" "
                 "holds for equal machines only");
        return WARNING;
    }
    if (strcmp(k->products, "libxsmm")) {
        snprintf(f->remedy, TEXT,
                 "the system refuses executable pages to LIBXSMM: products are "
                 "slower; allow them (SELinux execmem, seccomp)");
        return WARNING;
    }
    return GOOD;
}

static enum verdict check_cores(const struct config *cfg, struct finding *f)
{
    size_t cores = pool_cores();
    snprintf(f->text, TEXT, "%zu core%s for 1 learner, %u actors, %u planners", cores,
             cores == 1 ? "" : "s", cfg->workers.actors, cfg->workers.planners);
    if (cores >= 2)
        return GOOD;
    snprintf(f->remedy, TEXT, "planning is most of the work: more cores help directly");
    return WARNING;
}

static enum verdict check_memory(const struct config *cfg, struct finding *f)
{
    const struct env_class *env = NULL;
    struct env_spec spec;
    struct memory_budget b;
    if (env_find(cfg->env.name, &env) || env->spec(cfg, &spec) ||
        memory_budget(&b, cfg, &spec)) {
        snprintf(f->text, TEXT, "%s", err_text());
        return BAD;
    }
    double need = (double)b.total / (1 << 30), have = (double)sysmem_available() / (1 << 30);
    snprintf(f->text, TEXT, "%s needs up to %.1f GiB, %.1f free", cfg->env.map, need, have);
    if (need <= have)
        return GOOD;
    snprintf(f->remedy, TEXT,
             "lower replay.capacity (%u); `mag config --memory` shows the parts",
             cfg->replay.capacity);
    return BAD;
}

static const char *run_place(const struct config *cfg)
{
    if (cfg->run_dir[0] && !access(cfg->run_dir, F_OK))
        return cfg->run_dir;
    return access("runs", F_OK) ? "." : "runs";
}

static enum verdict check_disk(const struct config *cfg, struct finding *f)
{
    const char *where = run_place(cfg);
    struct statvfs v;
    if (statvfs(where, &v)) {
        snprintf(f->text, TEXT, "%s: %s", where, strerror(errno));
        return BAD;
    }
    double free_gib = (double)v.f_bavail * (double)v.f_frsize / (1 << 30);
    snprintf(f->text, TEXT, "%.1f GiB free under %s", free_gib, where);
    if (access(where, W_OK)) {
        snprintf(f->remedy, TEXT, "it is not writable: choose another --run-dir");
        return BAD;
    }
    if (free_gib >= 2)
        return GOOD;
    snprintf(f->remedy, TEXT,
             "a long run keeps all its episodes: free some space or set "
             "store.keep=replay");
    return free_gib < 0.2 ? BAD : WARNING;
}

static enum verdict check_file_system(const struct config *cfg, struct finding *f)
{
    const char *where = run_place(cfg);
    struct statfs v;
    if (statfs(where, &v)) {
        snprintf(f->text, TEXT, "%s: %s", where, strerror(errno));
        return BAD;
    }
    int type = (int)v.f_type;
    bool network = type == NFS_MAGIC || type == SMB_MAGIC || type == CIFS_MAGIC;
    snprintf(f->text, TEXT, "run directories on a %s file system",
             network              ? "network"
             : type == FUSE_MAGIC ? "FUSE"
                                  : "local");
    if (!network)
        return GOOD;
    snprintf(f->remedy, TEXT, "run.db needs a local disk (SQLite WAL): use --run-dir on one");
    return BAD;
}

static enum verdict check_files(const struct config *cfg, struct finding *f)
{
    struct rlimit r;
    (void)cfg;
    getrlimit(RLIMIT_NOFILE, &r);
    snprintf(f->text, TEXT, "%llu open files allowed", (unsigned long long)r.rlim_cur);
    if (r.rlim_cur >= 1024)
        return GOOD;
    snprintf(f->remedy, TEXT, "each worker takes three connections: ulimit -n 4096");
    return WARNING;
}

static enum verdict check_sockets(const struct config *cfg, struct finding *f)
{
    const char *dir = getenv("XDG_RUNTIME_DIR");
    (void)cfg;
    if (!dir || access(dir, W_OK))
        dir = "/tmp";
    snprintf(f->text, TEXT, "local sockets under %s", dir);
    if (!access(dir, W_OK))
        return GOOD;
    snprintf(f->remedy, TEXT, "make /tmp writable or set XDG_RUNTIME_DIR");
    return BAD;
}

static enum verdict check_blas(const struct config *cfg, struct finding *f)
{
    const char *threads = getenv("OPENBLAS_NUM_THREADS"), *core = getenv("OPENBLAS_CORETYPE");
    const struct kern *k = NULL;
    bool used = !kern_get(cfg->compute.isa, &k) && !strcmp(k->products, "openblas");
    snprintf(
        f->text, TEXT,
        "products by %s; OpenBLAS would use its core %s (environment: threads %s, core %s)",
        k ? kern_library(k) : "nobody", kern_blas_core(), threads ? threads : "unset",
        core ? core : "unset");
    if (!used)
        return GOOD;
    snprintf(f->remedy, TEXT,
             "its bits depend on that core: give all hosts of a run the same, by "
             "OPENBLAS_CORETYPE");
    return WARNING;
}

static const struct {
    const char *name;
    check_fn *check;
} checks[] = {
    {"cpu", check_cpu},         {"cores", check_cores},         {"memory", check_memory},
    {"disk", check_disk},       {"storage", check_file_system}, {"files", check_files},
    {"sockets", check_sockets}, {"blas", check_blas},
};

int verb_doctor(int argc, char **argv)
{
    static const char *const mark[] = {"ok  ", "warn", "BAD "};
    struct run_flags run_flags = {0};
    struct config cfg;
    struct config_builder *builder = NULL;
    if (config_begin(&builder))
        return fail(EXIT_INTERNAL, argv[0], "out of memory");
    const struct flag flags[] = {ARGS_RUN_FLAGS, {0}};
    struct args a = {.verb = argv[0],
                     .usage = "[--preset NAME] [--map M] [key=value ...]",
                     .about =
                         "Checks this machine for the given settings; says how to mend what "
                         "is wrong.",
                     .flags = flags,
                     .builder = builder};
    int status = args_parse(&a, argc, argv);
    if (!status)
        status = args_config(&a, &run_flags, "quickstart", &cfg);
    config_end(builder);
    if (status)
        return status == ARGS_HELP ? EXIT_OK : status;
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
        struct finding f = {{0}, {0}};
        enum verdict v = checks[i].check(&cfg, &f);
        printf("%s %-8s %s\n", mark[v], checks[i].name, f.text);
        if (f.remedy[0])
            printf("     %-8s -> %s\n", "", f.remedy);
        if (v == BAD)
            status = EXIT_UNAVAILABLE;
    }
    return status;
}
