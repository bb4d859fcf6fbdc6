/* SPDX-License-Identifier: Apache-2.0 */
/* learner.c - one process: open, run, close, in that order and back.
 *
 * THREADS  This one becomes the loop. The store thread (intake) and the trainer thread start
 * after everything that can fail has been opened; a pool computes under the trainer.
 *
 * STOPPING
 *   finished     the trainer reached a bound: workers are told (DRAIN, PONG.finished), given a
 *                few seconds to say BYE, then sockets close
 *   SIGTERM      the trainer stops at its next cut and saves. If it is inside a policy update,
 *                another thread writes the copy taken at its start, and the process ends
 *                without waiting for the update: exit 0, everything saved
 *   failure      the reason is logged, nothing is saved that would hide it */
#include "learner/learner.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/sysmem.h"
#include "rundir.h"
#include "service.h"
#include "trainer.h"

#include "learner/replay.h"
#include "nn/half.h"
#include "nn/kern.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

enum { WATCH_MS = 50, SAVE_AFTER_MS = 300, FINISH_MS = 4000 };

struct learner {
    const struct learner_cfg *lc;
    const struct config *cfg;
    struct env_spec spec;
    struct rundir dir;
    uv_loop_t loop;
    bool loop_open;
    struct wake *wake;
    struct port *port;
    struct weights *weights;
    struct board board;
    struct service *service;
    struct trainer *trainer;
    struct intake *intake;

    uv_signal_t sig_term, sig_int, sig_usr1;
    uv_timer_t watch;
    uv_work_t work;
    bool saving, closing, saved_copy;
    int64_t asked_ms, finish_ms; /* 0: not */
    bool stopping;

    pthread_t thread;
    bool joined;
    atomic_bool trained;
    int result;
    char text[512];
};

/* ------------------------------------------------------------------------ trainer thread */

static void wake_loop(void *arg)
{
    struct learner *l = arg;
    wake_send(l->wake);
}

static void *train(void *arg)
{
    struct learner *l = arg;
    l->result = trainer_run(l->trainer, l->intake);
    if (l->result)
        snprintf(l->text, sizeof l->text, "%s",
                 err_text()[0] ? err_text() : err_str(l->result));
    atomic_store(&l->trained, true);
    wake_loop(l);
    return NULL;
}

/* ------------------------------------------------------------------------------- closing */

static void join_trainer(struct learner *l)
{
    if (!l->joined)
        pthread_join(l->thread, NULL);
    l->joined = true;
}

/* Sockets are closed. Threads first, then the wake they ring. */
static void after_service(void *arg)
{
    struct learner *l = arg;
    intake_stop(l->intake);
    if (!atomic_load(&l->trained)) {
        uv_stop(&l->loop); /* abandoned in mid-update, its copy is on disk */
        return;
    }
    join_trainer(l);
    wake_close(l->wake);
    uv_close((uv_handle_t *)&l->sig_term, NULL);
    uv_close((uv_handle_t *)&l->sig_int, NULL);
    uv_close((uv_handle_t *)&l->sig_usr1, NULL);
    uv_close((uv_handle_t *)&l->watch, NULL);
}

static void close_all(struct learner *l)
{
    if (l->closing)
        return;
    l->closing = true;
    service_close(l->service, after_service, l);
}

/* ------------------------------------------------------------------------------ watching */

static void save_copy(uv_work_t *w)
{
    struct learner *l = w->data;
    l->saved_copy = trainer_save_copy(l->trainer) == 0;
}

static void save_done(uv_work_t *w, int status)
{
    struct learner *l = w->data;
    (void)status;
    l->saving = false;
    if (l->saved_copy && l->stopping)
        close_all(l);
}

/* Somebody wants a checkpoint and the trainer has not come to a cut: try its copy. */
static void help_saving(struct learner *l, int64_t now)
{
    bool wanted = l->stopping || port_checkpoint_asked(l->port);
    if (!wanted)
        l->asked_ms = 0;
    else if (!l->asked_ms)
        l->asked_ms = now;
    if (!wanted || l->saving || now - l->asked_ms < SAVE_AFTER_MS)
        return;
    l->saving = true;
    l->asked_ms = now;
    l->work.data = l;
    if (uv_queue_work(&l->loop, &l->work, save_copy, save_done))
        l->saving = false;
}

static void on_watch(uv_timer_t *timer)
{
    struct learner *l = timer->data;
    int64_t now = clock_mono_ms();
    if (l->closing)
        return;
    if (!atomic_load(&l->trained)) {
        help_saving(l, now);
        return;
    }
    if (l->saving)
        return;
    if (l->result) { /* stopped or failed: workers look for the next learner */
        close_all(l);
        return;
    }
    if (!l->finish_ms) {
        l->finish_ms = now;
        service_finish(l->service, "training is complete");
    }
    if (service_empty(l->service) || now - l->finish_ms >= FINISH_MS)
        close_all(l);
}

static void on_wake(void *arg)
{
    struct learner *l = arg;
    if (!l->closing)
        service_look(l->service);
    on_watch(&l->watch);
}

static void stop(struct learner *l)
{
    l->stopping = true;
    port_interrupt(l->port);
}

static void on_stop_signal(uv_signal_t *s, int signum)
{
    struct learner *l = s->data;
    if (l->stopping)
        _exit(128 + signum);
    log_info("stopping", "signal=%s next=\"save and leave; again to stop at once\"",
             signum == SIGINT ? "SIGINT" : "SIGTERM");
    stop(l);
}

static void on_drain(void *arg)
{
    stop(arg);
}

static void on_checkpoint_signal(uv_signal_t *s, int signum)
{
    struct learner *l = s->data;
    (void)signum;
    log_info("checkpoint asked for", "by=SIGUSR1");
    port_ask_checkpoint(l->port);
}

/* -------------------------------------------------------------------------------- opening */

static int open_spec(struct learner *l)
{
    const struct env_class *class = NULL;
    int err = env_find(l->cfg->env.name, &class);
    return err ? err : class->spec(l->cfg, &l->spec);
}

static int open_dir(struct learner *l)
{
    int err = run_dir_open(&l->dir, l->cfg);
    if (err)
        return err;
    if (l->cfg->resume == RESUME_NEVER && l->dir.existed)
        return err_set(ERR_CONFIG,
                       "%s holds a run already: resume it with --resume auto, or use another "
                       "--run-dir",
                       l->dir.path);
    if (l->cfg->resume == RESUME_MUST && !l->dir.existed)
        return err_set(ERR_CONFIG, "%s holds no run to resume", l->dir.path);
    return 0;
}

/* Fail now with both figures instead of being killed in an hour. */
static int check_memory(const struct learner *l)
{
    const struct config *cfg = l->cfg;
    struct mag_dims d;
    mag_dims_of(&d, cfg, l->spec.n_agents, l->spec.obs, l->spec.actions);
    size_t S = (cfg->replay.window - 2) * (size_t)cfg->train.windows;
    uint64_t need = replay_bytes(cfg->replay.capacity, d.N, d.O, d.A) +
                    2 * mag_rows_bytes(&d, S, cfg->imagine.steps - 1);
    uint64_t have = sysmem_available();
    if (need > have)
        return err_set(ERR_NOMEM,
                       "replay and policy buffer need %.1f GiB, %.1f GiB are free: lower "
                       "replay.capacity (%u)",
                       (double)need / (1 << 30), (double)have / (1 << 30),
                       cfg->replay.capacity);
    return 0;
}

static int open_loop(struct learner *l)
{
    board_init(&l->board);
    if (uv_loop_init(&l->loop))
        return err_set(ERR_NOMEM, "cannot create the event loop");
    l->loop_open = true;
    int err = wake_open(&l->wake, &l->loop, on_wake, l);
    if (!err)
        err = port_open(&l->port, wake_loop, l);
    if (!err)
        err = weights_open(&l->weights);
    return err;
}

/* What workers must match. Kernels of all instruction sets give the same bits, so the set is
 * pinned only when the configuration names one. */
static int make_pin(const struct learner *l, struct wire_pin *pin)
{
    const struct kern *k = NULL;
    int err = kern_get(l->cfg->compute.isa, &k);
    if (err)
        return err;
    const struct kern_half *half = NULL;
    if (l->cfg->imagine.precision == PRECISION_HALF)
        err = kern_half_get(l->cfg->compute.isa, &half);
    if (err)
        return err;
    memset(pin, 0, sizeof *pin);
    snprintf(pin->build, sizeof pin->build, "%s", l->lc->version ? l->lc->version : "");
    snprintf(pin->library, sizeof pin->library, "%s", k->products);
    if (l->cfg->compute.isa != ISA_AUTO)
        snprintf(pin->isa, sizeof pin->isa, "%s", k->name);
    if (l->cfg->imagine.precision != PRECISION_AUTO) /* of async: each planner decides */
        snprintf(pin->precision, sizeof pin->precision, "%s", half ? half->name : "float32");
    return 0;
}

static int open_service(struct learner *l)
{
    struct service_cfg sc = {
        .cfg = l->cfg,
        .spec = &l->spec,
        .run_dir = l->dir.path,
        .port = l->port,
        .weights = l->weights,
        .board = &l->board,
        .loop = &l->loop,
        .result_bytes = trainer_result_bytes(l->cfg, &l->spec),
        .on_drain = on_drain,
        .arg = l,
    };
    memcpy(sc.run_id, l->dir.run_id, WIRE_ID);
    int err = make_pin(l, &sc.pin);
    if (err)
        return err;
    return service_open(&l->service, &sc);
}

static int open_trainer(struct learner *l)
{
    struct trainer_cfg tc = {
        .cfg = l->cfg,
        .spec = &l->spec,
        .run_dir = l->dir.path,
        .port = l->port,
        .weights = l->weights,
        .board = &l->board,
        .final_eval = l->lc->final_eval,
    };
    return trainer_open(&l->trainer, &tc);
}

static int open_store(struct learner *l, bool *resumed)
{
    char path[RUN_DIR + 16];
    struct store *store = NULL;
    snprintf(path, sizeof path, "%s/run.db", l->dir.path);
    int err = store_open(&store, path);
    if (!err)
        err = trainer_restore(l->trainer, store, resumed);
    struct intake_cfg ic = {
        .store = store,
        .port = l->port,
        .weights = l->weights,
        .spec = &l->spec,
        .seed = l->cfg->seed,
        .wake = wake_loop,
        .wake_arg = l,
    };
    if (!err)
        err = intake_open(&l->intake, &ic);
    if (err)
        store_close(store);
    return err;
}

static int describe(struct learner *l)
{
    struct rundir_facts f = {
        .lc = l->lc,
        .isa = trainer_isa(l->trainer),
        .products = trainer_products(l->trainer),
        .library = trainer_library(l->trainer),
        .blas_core = kern_blas_core(),
        .spec_line = l->spec.line,
    };
    for (int i = 0; i < PLANES; i++)
        f.endpoint[i] = service_endpoint(l->service, (enum wire_plane)i);
    return run_dir_describe(&l->dir, &f);
}

static int open_all(struct learner *l)
{
    bool resumed = false;
    int err = open_spec(l);
    if (!err)
        err = service_check(l->cfg);
    if (!err)
        err = check_memory(l);
    if (!err)
        err = open_dir(l);
    if (!err)
        err = open_loop(l);
    if (!err)
        err = open_service(l);
    if (!err)
        log_info("listening", "control=%s data=%s weights=%s",
                 service_endpoint(l->service, PLANE_CONTROL),
                 service_endpoint(l->service, PLANE_DATA),
                 service_endpoint(l->service, PLANE_WEIGHTS));
    if (!err)
        err = open_trainer(l);
    if (!err)
        err = describe(l); /* from here on `mag resume` knows the run */
    if (!err)
        err = open_store(l, &resumed);
    if (!err)
        log_info(resumed          ? "run resumed"
                 : l->dir.existed ? "run started over"
                                  : "new run",
                 "run_dir=%s environment=\"%s\" kernels=%s products=%s", l->dir.path,
                 l->spec.line, trainer_isa(l->trainer), trainer_products(l->trainer));
    return err;
}

static int start(struct learner *l)
{
    uv_signal_init(&l->loop, &l->sig_term);
    uv_signal_init(&l->loop, &l->sig_int);
    uv_signal_init(&l->loop, &l->sig_usr1);
    uv_timer_init(&l->loop, &l->watch);
    l->sig_term.data = l->sig_int.data = l->sig_usr1.data = l->watch.data = l;
    uv_signal_start(&l->sig_term, on_stop_signal, SIGTERM);
    uv_signal_start(&l->sig_int, on_stop_signal, SIGINT);
    uv_signal_start(&l->sig_usr1, on_checkpoint_signal, SIGUSR1);
    uv_timer_start(&l->watch, on_watch, WATCH_MS, WATCH_MS);
    service_attach(l->service, l->intake);
    if (pthread_create(&l->thread, NULL, train, l) != 0)
        return err_set(ERR_NOMEM, "cannot start the trainer thread");
    pthread_setname_np(l->thread, "trainer");
    return 0;
}

/* ---------------------------------------------------------------------------------- ends */

static int exit_of(int err)
{
    switch (err) {
    case 0:
    case ERR_INTERRUPTED:
        return EXIT_OK;
    case ERR_CONFIG:
        return EXIT_CONFIG;
    case ERR_EXISTS:
    case ERR_NOMEM:
        return EXIT_UNAVAILABLE;
    case ERR_IO:
        return EXIT_IO;
    case ERR_CORRUPT:
        return EXIT_DATA;
    default:
        return EXIT_INTERNAL;
    }
}

static void ignore(void *arg)
{
    (void)arg;
}

/* Opening failed half-way: close what is there. */
static void close_early(struct learner *l)
{
    if (l->service)
        service_close(l->service, ignore, l);
    if (l->intake)
        intake_stop(l->intake);
    if (l->wake)
        wake_close(l->wake);
    if (l->loop_open)
        uv_run(&l->loop, UV_RUN_DEFAULT);
}

static void free_all(struct learner *l)
{
    service_free(l->service);
    trainer_close(l->trainer); /* reads run.db; its writer closes last and folds in the log */
    intake_close(l->intake);
    port_close(l->port);
    weights_close(l->weights);
    if (l->loop_open && uv_loop_close(&l->loop))
        log_error("event loop closed with open handles", "count=unknown");
    run_dir_close(&l->dir);
}

static int failed(struct learner *l, int err)
{
    char text[512];
    snprintf(text, sizeof text, "%s", err_text()[0] ? err_text() : err_str(err));
    log_error("learner cannot start", "reason=\"%s\"", text);
    close_early(l);
    free_all(l);
    return exit_of(err);
}

static int end(struct learner *l)
{
    int err = l->result;
    if (err == ERR_INTERRUPTED)
        log_info("stopped", "saved=yes resume=\"mag resume %s\"", l->dir.path);
    else if (err)
        log_error("training failed", "reason=\"%s\" run_dir=%s", l->text, l->dir.path);
    else
        log_info("finished", "run_dir=%s", l->dir.path);
    return exit_of(err);
}

int learner_main(const struct learner_cfg *lc)
{
    static const char *const levels[] = {"debug", "info", "warn", "error"};
    static const char *const formats[] = {"auto", "text", "json"};
    struct learner *l = calloc(1, sizeof *l);
    if (!l)
        return EXIT_INTERNAL;
    l->lc = lc;
    l->cfg = lc->cfg;
    l->dir.lock_fd = -1;
    enum log_level level = LOG_INFO;
    enum log_format format = LOG_AUTO;
    for (int i = 0; i < 4; i++)
        if (strcmp(lc->cfg->log.level, levels[i]) == 0)
            level = (enum log_level)i;
    for (int i = 0; i < 3; i++)
        if (strcmp(lc->cfg->log.format, formats[i]) == 0)
            format = (enum log_format)i;
    log_init("learner", "", level, format);
    log_info("learner starting", "version=%s algo=%s map=%s seed=%llu",
             lc->version ? lc->version : "?", lc->cfg->algo, lc->cfg->env.map,
             (unsigned long long)lc->cfg->seed);
    signal(SIGPIPE, SIG_IGN);

    int err = open_all(l), status;
    if (!err)
        err = start(l);
    if (err) {
        status = failed(l, err);
        free(l);
        return status;
    }
    uv_run(&l->loop, UV_RUN_DEFAULT);
    if (!atomic_load(&l->trained)) {
        /* The trainer is inside an update nobody needs: its copy is written, run.db committed. */
        log_info("stopped", "saved=yes resume=\"mag resume %s\"", l->dir.path);
        _exit(EXIT_OK);
    }
    status = end(l);
    free_all(l);
    free(l);
    return status;
}
