/* SPDX-License-Identifier: Apache-2.0 */
/* verb_train.c - `mag train` and `mag resume`: a whole service on one machine, watched.
 *
 * Starts a learner, planners and actors as child processes over ipc, prints one line every few
 * seconds, replaces what dies (and names it), and ends with an evaluation. All truth is the
 * learner's: this process asks its control socket and owns nothing but the children.
 *
 *   start -> watch -+-> learner finished -> stop workers -> evaluate -> exit 0
 *                   +-> Ctrl-C / SIGTERM -> learner saves (SIGTERM) -> exit 130 / 143
 *                   +-> learner failed   -> its last words, exit with its status
 *
 * A learner killed by a signal is started again and resumes from its checkpoint; the workers
 * find it by themselves. */
#include "args.h"
#include "children.h"
#include "control.h"
#include "evaluate.h"
#include "memory.h"
#include "rundir.h"
#include "verbs.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/sysmem.h"
#include "env/env.h"
#include "learner/ckpt.h"
#include "learner/run_place.h"
#include "learner/schedule.h"
#include "net/link.h"
#include "par/pool.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    CHILDREN_MAX = 130, /* one learner, up to 64 planners and actors each... */
    WORKERS_MAX = 64,
    TICK_MS = 100,
    LINE_MS = 5000,        /* between progress lines */
    SHORT_LIFE_MS = 10000, /* a child that lived less has failed */
    FAILURES_MAX = 5,      /* short lives in a row before giving up */
    SAVE_MS = 20000,       /* how long a stopping learner may take before it is killed */
    LEARNER = 0,
};

struct team {
    const char *verb; /* train or resume: for messages */
    struct config cfg;
    char run_dir[RUN_PATH], log_dir[RUN_PATH], ipc_dir[128];
    struct child child[CHILDREN_MAX];
    size_t children;
    struct control *control;
    int64_t started_ms, line_ms;
    bool existed, quiet, no_eval;
};

/* Signals only count: the loop below acts on them. */
static volatile sig_atomic_t interrupts, interrupt_signal;

static void on_signal(int signal_no)
{
    interrupts = interrupts + 1;
    interrupt_signal = signal_no;
}

static void catch_signals(void)
{
    struct sigaction act = {.sa_handler = on_signal};
    sigaction(SIGINT, &act, NULL);
    sigaction(SIGTERM, &act, NULL);
}

static void say(const struct team *t, const char *text)
{
    if (!t->quiet) {
        puts(text);
        fflush(stdout);
    }
}

/* ---------------------------------------------------------------------------- starting up */

static int add_endpoints(struct child *c, const struct team *t)
{
    int err = 0;
    static const char *const planes[] = {"control", "data", "weights"};
    for (int i = 0; i < 3 && !err; i++)
        err = child_arg(c, "service.%s=ipc://%s/%s", planes[i], t->ipc_dir, planes[i]);
    return err;
}

static int define_learner(struct team *t)
{
    struct child *c = &t->child[t->children++];
    snprintf(c->name, sizeof c->name, "learner");
    int err = child_arg(c, "learner");
    if (!err)
        err = child_arg(c, "--config=%s/config.yaml", t->run_dir);
    if (!err)
        err = child_arg(c, "--run-dir=%s", t->run_dir);
    if (!err)
        err = child_arg(c, "--resume=auto");
    return err ? err : add_endpoints(c, t);
}

static int define_workers(struct team *t, const char *role, uint32_t n)
{
    int err = 0;
    for (uint32_t i = 1; i <= n && !err; i++) {
        struct child *c = &t->child[t->children++];
        snprintf(c->name, sizeof c->name, "%s-%u", role, i);
        err = child_arg(c, "%s", role);
        if (!err)
            err = child_arg(c, "compute.threads=1");
        if (!err)
            err = add_endpoints(c, t);
    }
    return err;
}

/* What --run-dir holds already is refused before anything of it is touched: a run whose bits
 * depend on other settings, or any run and none, as the key resume asks. */
static int check_existing(const struct team *t)
{
    char path[RUN_PATH + 32];
    struct config before;
    if (t->existed && t->cfg.resume == RESUME_NEVER)
        return err_set(
            ERR_CONFIG,
            "%s holds a run already: leave resume=never out, or use another --run-dir",
            t->run_dir);
    if (!t->existed && t->cfg.resume == RESUME_MUST)
        return err_set(ERR_CONFIG, "%s holds no run to resume", t->run_dir);
    snprintf(path, sizeof path, "%s/config.yaml", t->run_dir);
    if (!t->existed || access(path, F_OK))
        return 0; /* lost settings: the learner compares with the checkpoint's digest */
    int err = rundir_config(t->run_dir, &before);
    const char *key = err ? NULL : config_run_difference(&before, &t->cfg);
    if (!key)
        return err;
    return err_set(ERR_CONFIG,
                   "%s belongs to the run in %s and stays as it is: go on with `mag resume "
                   "%s`, or use another --run-dir",
                   key, t->run_dir, t->run_dir);
}

/* A learner holds its run's lock as long as it lives; whoever comes second changes nothing. */
static int check_free(const struct team *t)
{
    char path[RUN_PATH + 32];
    snprintf(path, sizeof path, "%s/lock", t->run_dir);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0; /* nobody was here yet */
    bool held = flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    close(fd);
    return held ? err_set(ERR_EXISTS,
                          "another learner works in %s: stop it, or use another --run-dir",
                          t->run_dir)
                : 0;
}

static int check_memory(const struct team *t, const struct env_spec *spec)
{
    struct memory_budget budget;
    int err = memory_budget(&budget, &t->cfg, spec);
    if (err)
        return err;
    double need = (double)budget.total, have = (double)sysmem_available();
    if (need > have)
        return err_set(
            ERR_NOMEM,
            "needs %.1f GiB, %.1f free; lower replay.capacity (%u) or net.width (%u), "
            "or see `mag config --memory`",
            need / (1 << 30), have / (1 << 30), t->cfg.replay.capacity, t->cfg.net.width);
    return 0;
}

static int prepare(struct team *t)
{
    const struct env_class *env = NULL;
    struct env_spec spec;
    char id[32];
    int err = env_find(t->cfg.env.name, &env);
    if (!err)
        err = env->spec(&t->cfg, &spec);
    if (!err)
        err = check_memory(t, &spec);
    if (!err)
        err = rundir_make(&t->cfg, t->run_dir, &t->existed);
    if (!err)
        err = check_free(t);
    if (!err)
        err = check_existing(t);
    if (err)
        return err;
    snprintf(t->log_dir, sizeof t->log_dir, "%.4000s/logs", t->run_dir);
    if (mkdir(t->log_dir, 0755) && errno != EEXIST)
        return err_set(ERR_IO, "cannot create %s: %s", t->log_dir, strerror(errno));
    snprintf(id, sizeof id, "%ld", (long)getpid());
    err = endpoint_ipc_dir(t->ipc_dir, sizeof t->ipc_dir, id);
    if (!err)
        err = run_place_settings(t->run_dir, &t->cfg); /* as every child will read them */
    if (!err)
        err = define_learner(t);
    if (!err)
        err = define_workers(t, "planner", t->cfg.workers.planners);
    if (!err)
        err = define_workers(t, "actor", t->cfg.workers.actors);
    return err;
}

static int start_all(struct team *t)
{
    char where[CONTROL_ENDPOINT];
    int err = 0;
    for (size_t i = 0; i < t->children && !err; i++)
        err = child_start(&t->child[i], t->log_dir);
    snprintf(where, sizeof where, "ipc://%s/control", t->ipc_dir);
    return err ? err : control_open(&t->control, where);
}

static void say_start(const struct team *t)
{
    char line[RUN_PATH + 256];
    size_t cores = pool_cores();
    uint32_t workers = t->cfg.workers.actors + t->cfg.workers.planners;
    snprintf(line, sizeof line, "%s %s on %s, seed %llu: 1 learner, %u actors, %u planners",
             t->existed ? "resuming" : "new run:", t->cfg.algo, t->cfg.env.map,
             (unsigned long long)t->cfg.seed, t->cfg.workers.actors, t->cfg.workers.planners);
    say(t, line);
    snprintf(line, sizeof line, "run directory %s (settings, logs, checkpoints, metrics)",
             t->run_dir);
    say(t, line);
    if (workers > cores) {
        snprintf(line, sizeof line, "note: %u workers share %zu cores", workers, cores);
        say(t, line);
    }
}

/* ------------------------------------------------------------------------------- progress */

static double number(const json_t *o, const char *key)
{
    return json_number_value(json_object_get(o, key));
}

static const char *text_of(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

/* 12345 -> "12.3k" */
static const char *short_count(char out[24], double v)
{
    if (v >= 1e6)
        snprintf(out, 24, "%.2fM", v / 1e6);
    else if (v >= 1e4)
        snprintf(out, 24, "%.1fk", v / 1e3);
    else
        snprintf(out, 24, "%.0f", v);
    return out;
}

static void eta_text(char *out, size_t n, double s)
{
    if (!(s >= 0) || s > 1e7)
        snprintf(out, n, "-");
    else if (s >= 3600)
        snprintf(out, n, "%dh%02d", (int)s / 3600, (int)s / 60 % 60);
    else
        snprintf(out, n, "%dm%02ds", (int)s / 60, (int)s % 60);
}

/* A figure, or a dash where there is none yet: of the warm-up, of an empty list of episodes. */
static const char *figure(char out[24], int decimals, double v, bool known)
{
    if (known)
        snprintf(out, 24, "%.*f", decimals, v);
    else
        snprintf(out, 24, "-");
    return out;
}

/* One line for people out of the learner's status. Losses and entropies that are exactly 0 have
 * not been computed. */
static void say_progress(const struct team *t, const json_t *o)
{
    char line[512], steps[24], rate[24], tokens[24], eta[24], win[24], ret[24], model[24],
        rm[24], entropy[24];
    double loss_model = number(o, "loss_model"), loss_rm = number(o, "loss_rm");
    double policy_entropy = number(o, "entropy"), planned = number(o, "planner_tokens_per_s");
    bool played = number(o, "recent") > 0;
    eta_text(eta, sizeof eta,
             json_is_number(json_object_get(o, "eta_s")) ? number(o, "eta_s") : -1);
    snprintf(line, sizeof line,
             "iteration %.0f  steps %s (%s/s)  win %s  return %s  model %s  R_m %s  "
             "entropy %s  plan %s tokens/s  %s  ETA %s",
             number(o, "iteration"), short_count(steps, number(o, "env_steps")),
             short_count(rate, number(o, "env_steps_per_s")),
             figure(win, 2, number(o, "win_rate"), played),
             figure(ret, 1, number(o, "return"), played),
             figure(model, 2, loss_model, loss_model != 0),
             figure(rm, 3, loss_rm, loss_rm != 0),
             figure(entropy, 2, policy_entropy, policy_entropy != 0),
             planned > 0 ? short_count(tokens, planned) : "-", text_of(o, "state"), eta);
    say(t, line);
}

static void progress(struct team *t)
{
    const char *json = NULL;
    if (clock_mono_ms() < t->line_ms)
        return;
    t->line_ms = clock_mono_ms() + LINE_MS;
    if (control_status(t->control, 1000, &json)) {
        if (clock_mono_ms() - t->started_ms < LINE_MS)
            t->line_ms = clock_mono_ms() + 300; /* still starting: ask again soon */
        else
            say(t, "the learner does not answer; it may be busy");
        return;
    }
    json_t *o = json_loads(json, 0, NULL);
    say_progress(t, o);
    json_decref(o);
}

/* -------------------------------------------------------------------------------- watching */

static void pause_ms(long ms)
{
    struct timespec tick = {.tv_nsec = ms * 1000000L};
    nanosleep(&tick, NULL);
}

/* A child ended by itself: say so and start it again, unless it keeps failing. Returns 0 to go
 * on, or the exit status of the whole. *finished: the learner is done. */
static int child_gone(struct team *t, struct child *c, int status, const char *how,
                      bool *finished)
{
    char line[256];
    bool learner = c == &t->child[LEARNER];
    if (status == 0 && learner) {
        *finished = true;
        return 0;
    }
    if (status == 0)
        return 0; /* a worker that was told the run is over */
    bool killed = status > 128;
    if (learner && !killed) { /* it refused or failed for a reason it has logged */
        fprintf(stderr, "learner %s; the end of its log:\n", how);
        child_tail(c, t->log_dir, 8);
        return status;
    }
    c->failures = clock_mono_ms() - c->started_ms < SHORT_LIFE_MS ? c->failures + 1 : 1;
    if (c->failures >= FAILURES_MAX) {
        fprintf(stderr, "%s %s %u times in a row; the end of its log:\n", c->name, how,
                c->failures);
        child_tail(c, t->log_dir, 8);
        return status;
    }
    snprintf(line, sizeof line, "%s %s; starting it again%s", c->name, how,
             learner ? " from the last checkpoint" : "");
    say(t, line);
    return child_start(c, t->log_dir) ? fail(EXIT_IO, t->verb, "%s", err_text()) : 0;
}

static int watch(struct team *t)
{
    bool finished = false;
    int status = 0;
    while (!finished && !status && !interrupts) {
        pause_ms(TICK_MS);
        for (size_t i = 0; i < t->children && !status && !finished; i++) {
            char how[96];
            int st = 0;
            if (child_ended(&t->child[i], &st, how, sizeof how))
                status = child_gone(t, &t->child[i], st, how, &finished);
        }
        if (!finished && !status)
            progress(t);
    }
    return status;
}

/* ------------------------------------------------------------------------------- stopping */

static bool any_running(struct team *t, size_t first, size_t end)
{
    bool running = false;
    for (size_t i = first; i < end; i++) {
        char how[96];
        int st;
        child_ended(&t->child[i], &st, how, sizeof how);
        running = running || t->child[i].pid;
    }
    return running;
}

/* Signal children [first, end), wait, then kill what is left. A further interrupt stops the
 * waiting at once. */
static void stop_children(struct team *t, size_t first, size_t end, int64_t wait_ms)
{
    int64_t deadline = clock_mono_ms() + wait_ms;
    int seen = interrupts;
    for (size_t i = first; i < end; i++)
        child_signal(&t->child[i], SIGTERM);
    while (any_running(t, first, end) && clock_mono_ms() < deadline && interrupts == seen)
        pause_ms(20);
    for (size_t i = first; i < end; i++)
        child_signal(&t->child[i], SIGKILL);
    while (any_running(t, first, end))
        pause_ms(5);
}

/* The learner saves first; workers have nothing that is worth waiting for. */
static void stop_all(struct team *t)
{
    stop_children(t, LEARNER, LEARNER + 1, SAVE_MS);
    stop_children(t, LEARNER + 1, t->children, 500);
}

static void clean_up(struct team *t)
{
    char path[256];
    static const char *const planes[] = {"control", "data", "weights"};
    control_close(t->control);
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", t->ipc_dir, planes[i]);
        unlink(path);
    }
    rmdir(t->ipc_dir);
}

/* A bound that came before the iterations is named, with the way to go on. */
static void say_complete(const struct team *t)
{
    char path[RUN_PATH], line[RUN_PATH + 256];
    struct ckpt_state st = {0};
    const char *bound = NULL;
    uint64_t wanted = t->cfg.train.stop.iterations;
    int err = ckpt_find(t->run_dir, path, sizeof path);
    if (!err)
        err = ckpt_read_state(path, &st, NULL);
    if (!err && wanted && st.iteration && st.iteration <= wanted)
        bound = schedule_stop(&t->cfg, &st, st.elapsed_s);
    snprintf(line, sizeof line, "training is complete");
    if (bound)
        snprintf(
            line, sizeof line,
            "training is complete: train.stop.%s is reached after %llu of %llu iterations; "
            "for more: mag resume %s train.stop.%s=0",
            bound, (unsigned long long)st.iteration - 1, (unsigned long long)wanted, t->run_dir,
            bound);
    say(t, line);
}

/* What was done and how long each phase took, then how well the team plays. */
static int final_report(struct team *t)
{
    char *summary[] = {"inspect", t->run_dir, NULL};
    say_complete(t);
    if (!t->quiet)
        verb_inspect(2, summary);
    if (t->no_eval)
        return 0;
    struct eval_report report;
    struct eval_request request = {.path = t->run_dir, .episodes = t->cfg.eval.episodes};
    int err = evaluate_run(&request, &report);
    if (err)
        return fail(EXIT_INTERNAL, t->verb, "evaluation: %s", err_text());
    eval_print(&report, stdout);
    return 0;
}

static int run_team(struct team *t)
{
    int err = prepare(t);
    if (err && t->ipc_dir[0])
        rmdir(t->ipc_dir);
    if (err)
        return fail(err == ERR_CONFIG ? EXIT_CONFIG : EXIT_UNAVAILABLE, t->verb, "%s",
                    err_text());
    catch_signals();
    t->started_ms = clock_mono_ms();
    say_start(t);
    int status = start_all(t) ? fail(EXIT_IO, t->verb, "%s", err_text()) : watch(t);
    stop_all(t);
    clean_up(t);
    if (interrupts) {
        printf("saved; continue with: mag resume %s\n", t->run_dir);
        return 128 + interrupt_signal;
    }
    return status ? status : final_report(t);
}

/* ------------------------------------------------------------------------------- the verbs */

static int check_counts(const struct config *cfg, const char *verb)
{
    if (cfg->workers.actors < 1 || cfg->workers.actors > WORKERS_MAX)
        return fail(EXIT_CONFIG, verb, "--actors %u: 1 to %d are needed", cfg->workers.actors,
                    WORKERS_MAX);
    if (cfg->workers.planners < 1 || cfg->workers.planners > WORKERS_MAX)
        return fail(EXIT_CONFIG, verb,
                    "--planners %u: 1 to %d are needed, PPO trains only on "
                    "what planners send",
                    cfg->workers.planners, WORKERS_MAX);
    return 0;
}

int verb_train(int argc, char **argv)
{
    struct team *t = calloc(1, sizeof *t);
    struct run_flags run_flags = {0};
    struct config_builder *builder = NULL;
    if (!t || config_begin(&builder)) {
        free(t);
        return fail(EXIT_INTERNAL, argv[0], "out of memory");
    }
    t->verb = argv[0];
    const struct flag flags[] = {
        ARGS_RUN_FLAGS,
        {"actors", "workers.actors", "A", NULL, NULL, "actor processes"},
        {"planners", "workers.planners", "B", NULL, NULL, "planner processes"},
        {"quiet", NULL, NULL, NULL, &t->quiet, "no progress lines"},
        {"no-eval", NULL, NULL, NULL, &t->no_eval, "no evaluation at the end"},
        {0},
    };
    struct args a = {
        .verb = argv[0],
        .usage = "[--preset NAME] [--map M] [flags] [key=value ...]",
        .about = "Trains on this machine: starts a learner, planners and actors, shows "
                 "progress,\nevaluates at the end. Without --preset and --config the preset is "
                 "quickstart. A run that\n--run-dir holds is resumed, if its settings are the "
                 "same.",
        .flags = flags,
        .builder = builder};
    int status = args_parse(&a, argc, argv);
    if (!status)
        status = args_config(&a, &run_flags, "quickstart", &t->cfg);
    if (!status)
        status = check_counts(&t->cfg, argv[0]);
    config_end(builder);
    if (!status)
        status = run_team(t);
    else if (status == ARGS_HELP)
        status = EXIT_OK;
    free(t);
    return status;
}

/* What a run goes on with: what its bits depend on stays as it was. */
static int resume_config(const struct args *a, struct config *out)
{
    char run_dir[RUN_PATH];
    struct config before;
    int status = args_over_run(a, run_dir, &before, out);
    if (status)
        return status;
    const char *key = config_run_difference(&before, out);
    if (key)
        return fail(
            EXIT_CONFIG, a->verb,
            "%s belongs to the run and stays as it is: leave it out, or start a new run", key);
    if (strlen(run_dir) >= sizeof out->run_dir)
        return fail(EXIT_DATA, a->verb, "the path of the run is too long: %s", run_dir);
    memcpy(out->run_dir, run_dir, strlen(run_dir) + 1);
    out->resume = RESUME_AUTO; /* whatever the run was started with */
    return check_counts(out, a->verb);
}

int verb_resume(int argc, char **argv)
{
    struct team *t = calloc(1, sizeof *t);
    struct config_builder *builder = NULL;
    if (!t || config_begin(&builder)) {
        free(t);
        return fail(EXIT_INTERNAL, argv[0], "out of memory");
    }
    t->verb = argv[0];
    const struct flag flags[] = {
        {"iterations", "train.stop.iterations", "K", NULL, NULL,
         "go on until iteration K instead"},
        {"actors", "workers.actors", "A", NULL, NULL, "actor processes"},
        {"planners", "workers.planners", "B", NULL, NULL, "planner processes"},
        {"quiet", NULL, NULL, NULL, &t->quiet, "no progress lines"},
        {"no-eval", NULL, NULL, NULL, &t->no_eval, "no evaluation at the end"},
        {0},
    };
    struct args a = {
        .verb = argv[0],
        .usage = "RUN [flags] [key=value ...]",
        .about = "Goes on with a run that was stopped, killed or complete, with its own "
                 "settings. Those that\ndo not change what is computed may be given anew, "
                 "e.g. train.stop.seconds=3600.",
        .flags = flags,
        .builder = builder,
        .words_min = 1,
        .words_max = 1};
    int status = args_parse(&a, argc, argv);
    if (!status)
        status = resume_config(&a, &t->cfg);
    config_end(builder);
    if (!status)
        status = run_team(t);
    else if (status == ARGS_HELP)
        status = EXIT_OK;
    free(t);
    return status;
}
