/* SPDX-License-Identifier: Apache-2.0 */
/* trainer.c - lockstep, told as a loop over (iteration, phase, step).
 *
 * WHY ONE THREAD  The same seed must give the same weights, whoever plays and plans. So all
 * that matters happens here in a fixed order, and everything random is keyed by what it is for:
 * windows and draws of gradient step s by (iteration, s), of imagined batch b by (iteration, b).
 *
 *   COLLECT  E episodes with the newest set -> score R_m on them -> add to D_e by number
 *   MODEL    model steps                       (times E if collect.scale_updates)
 *   RM       R_m steps                         -> publish
 *   POLICY   batches: sample windows -> jobs -> wait for all rows -> PPO -> publish
 *
 * CUTS  Between any two steps the run can stop: (iteration, phase, step) is in the checkpoint
 * and the next step's draws do not depend on how we came there. During planning nothing has
 * changed since the batch began, so the same cut holds. During PPO a copy taken at its start is
 * written by another thread (trainer_save_copy) and the batch is done again after a resume.
 *
 * FILES  trainer.c order; trainer_collect.c episodes and evaluation; trainer_save.c checkpoints,
 * publishing, resume; trainer_figures.c metrics; trainer_bad.c refused steps. */
#include "trainer_priv.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/fault.h"
#include "base/log.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How long all of workers.actors and workers.planners are waited for; then those that came
 * begin, because somebody may have scaled the run down on purpose. */
enum { PATIENCE_MS = 30000 };

double trainer_now_s(void)
{
    return (double)clock_mono_us() / 1e6;
}

double trainer_elapsed(const struct trainer *t)
{
    return trainer_now_s() - t->started_s;
}

void trainer_show(struct trainer *t, enum board_state state, uint64_t done, uint64_t total)
{
    struct board_view *v = &t->view;
    v->state = state;
    v->phase_done = done;
    v->phase_total = total;
    v->iteration = t->st.iteration;
    v->iterations_max = t->cfg->train.stop.iterations;
    v->env_steps = t->st.env_steps;
    v->env_steps_max = t->cfg->train.stop.env_steps;
    v->episodes = t->st.next_episode;
    v->updates = t->st.updates;
    v->replay_records = replay_len(t->replay);
    v->replay_min = t->cfg->replay.min;
    v->set_id = t->set.set_id;
    v->skipped = mag_train_state(t->train)->skipped;
    v->elapsed_s = trainer_elapsed(t);
    v->seconds_max = (double)t->cfg->train.stop.seconds;
    v->resumed = t->resumed;
    v->recent = recent_means(&t->recent, &v->win_rate, &v->mean_return, &v->mean_length);
    v->wait_actors = v->wait_planners = 0;
    board_put(t->c.board, v);
}

bool trainer_wait_again(struct trainer *t, int *err)
{
    int was = *err;
    if (was != ERR_AGAIN && was != ERR_INTERRUPTED)
        return false;
    int saved = trainer_save(t);
    *err = saved ? saved : was == ERR_AGAIN ? 0 : was;
    return !saved && was == ERR_AGAIN;
}

int trainer_cut(struct trainer *t)
{
    int err = port_poll(t->c.port);
    trainer_wait_again(t, &err);
    return err;
}

/* ------------------------------------------------------------------------------- phases */

static int sample(struct trainer *t, enum draw_domain domain, uint64_t item)
{
    return replay_sample(t->replay, &t->batch, &t->draws, domain, item);
}

/* For tests: a reward in the middle of the batch's first window. */
static float *middle_reward(struct trainer *t)
{
    const struct mag_windows *w = &t->batch.w;
    return t->batch.reward + w->W / 2 * w->B * t->dims.N;
}

static void add_model_stats(struct tally *a, const struct mag_model_stats *s)
{
    mean_add(&a->kl, s->kl);
    mean_add(&a->rec, s->rec);
    mean_add(&a->reward, s->reward);
    mean_add(&a->cont, s->cont);
    mean_add(&a->avail, s->avail);
    mean_add(&a->action_info, s->action_info);
    mean_add(&a->total, s->total);
    mean_add(&a->model_norm, s->grad_norm);
}

static int model_step(struct trainer *t)
{
    struct mag_model_stats stats = {0};
    int err = sample(t, DRAW_WINDOW_MODEL, t->st.step);
    fault_poison("train.model.reward", middle_reward(t));
    if (!err)
        err = mag_model_step(t->train, &t->batch.w, &t->draws, t->st.step, &stats);
    if (err)
        return err;
    if (stats.skipped) {
        trainer_refused_windows(t, OPT_MODEL, stats.total, stats.grad_norm);
        return 0;
    }
    add_model_stats(&t->tally, &stats);
    trainer_watch(t, OPT_MODEL, stats.total, stats.grad_norm);
    t->st.done.model_steps++;
    fault_point("train.model");
    t->view.model_loss = mean_of(&t->tally.total);
    t->view.action_info = mean_of(&t->tally.action_info);
    return 0;
}

static int rm_step(struct trainer *t)
{
    struct mag_rm_stats stats = {0};
    int err = sample(t, DRAW_WINDOW_RM, t->st.step);
    fault_poison("train.rm.reward", middle_reward(t));
    if (!err)
        err = mag_rm_step(t->train, &t->batch.w, &t->draws, t->st.step, &stats);
    if (err)
        return err;
    if (stats.skipped) {
        trainer_refused_windows(t, OPT_RM, stats.loss, stats.grad_norm);
        return 0;
    }
    t->st.done.rm_steps++;
    fault_point("train.rm");
    trainer_watch(t, OPT_RM, stats.loss, stats.grad_norm);
    mean_add(&t->tally.rm_loss, stats.loss);
    mean_add(&t->tally.rm_norm, stats.grad_norm);
    t->view.rm_loss = mean_of(&t->tally.rm_loss);
    return 0;
}

/* The steps that are left of MODEL or RM. */
static int gradient_phase(struct trainer *t, int (*step)(struct trainer *t),
                          enum board_state state, double *seconds, bool *ended)
{
    struct schedule_counts counts;
    enum train_phase phase = t->st.phase;
    double begin = trainer_now_s();
    int err = 0;
    schedule_counts(t->cfg, t->st.iteration, &counts);
    while (!err && !*ended && t->st.phase == phase) {
        trainer_show(t, state, t->st.step, schedule_phase_steps(&counts, phase));
        err = trainer_cut(t);
        if (!err)
            err = step(t);
        if (!err) {
            t->st.updates++;
            t->tally.updates++;
            *ended = schedule_advance(t->cfg, &t->st);
        }
    }
    *seconds += trainer_now_s() - begin;
    return err;
}

/* Gather rows first..first+n-1 of a [W][B][bytes] array as [W][n][bytes]. */
static unsigned char *cut_rows(unsigned char *to, const void *from, size_t W, size_t B,
                               size_t first, size_t n, size_t bytes)
{
    const unsigned char *src = from;
    for (size_t k = 0; k < W; k++)
        memcpy(to + k * n * bytes, src + (k * B + first) * bytes, n * bytes);
    return to;
}

static size_t align64(size_t n)
{
    return (n + 63) / 64 * 64;
}

/* Cut the sampled batch into jobs: pure functions of (iteration, batch, row). */
static size_t cut_jobs(struct trainer *t)
{
    const struct mag_windows *w = &t->batch.w;
    size_t per = t->cfg->imagine.choice == CHOICE_BATCH ? w->B : t->cfg->job.windows;
    size_t obs_bytes = t->dims.N * t->dims.O * sizeof(float), n = 0;
    unsigned char *at = t->job_space;
    for (size_t first = 0; first < w->B; first += per) {
        size_t rows = w->B - first < per ? w->B - first : per;
        struct port_job *j = &t->jobs[n++];
        j->job_id = wire_job_id(t->st.iteration, t->st.step, first);
        j->first_row = (uint32_t)first;
        j->rows = (uint32_t)rows;
        j->obs =
            (const float *)(void *)cut_rows(at, w->obs, w->W, w->B, first, rows, obs_bytes);
        at += align64(w->W * rows * obs_bytes);
        j->action = cut_rows(at, w->action, w->W, w->B, first, rows, t->dims.N);
        at += align64(w->W * rows * t->dims.N);
        j->last = cut_rows(at, w->last, w->W, w->B, first, rows, 1);
        at += align64(w->W * rows);
    }
    return n;
}

static size_t job_space_bytes(const struct trainer *t)
{
    size_t W = t->cfg->replay.window, B = t->cfg->train.windows;
    size_t row = t->dims.N * t->dims.O * sizeof(float) + t->dims.N + 1;
    return W * B * row + 3 * 64 * B;
}

/* Have planners fill t->rows with this batch's imagined transitions. */
static int plan(struct trainer *t, struct mag_plan_stats *stats)
{
    struct port_batch b = {
        .iteration = t->st.iteration,
        .batch = t->st.step,
        .set_id = t->set.set_id,
        .W = t->batch.w.W,
        .B = t->batch.w.B,
        .dims = t->dims,
        .job = t->jobs,
        .rows = &t->rows,
    };
    wire_set_digest(&t->set, &b.set_digest);
    b.jobs = cut_jobs(t);
    int err = port_plan(t->c.port, &b);
    if (err)
        return err;
    do
        err = port_plan_wait(t->c.port, stats);
    while (trainer_wait_again(t, &err));
    port_plan_end(t->c.port);
    return err;
}

static void add_ppo_stats(struct tally *a, const struct mag_ppo_stats *s)
{
    if (s->actor_steps) {
        mean_add(&a->actor_loss, s->actor_loss);
        mean_add(&a->entropy, s->entropy);
        mean_add(&a->ppo_kl, s->kl);
        mean_add(&a->clip, s->clip_fraction);
        mean_add(&a->actor_norm, s->grad_norm_actor);
    }
    if (s->critic_steps) {
        mean_add(&a->critic_loss, s->critic_loss);
        mean_add(&a->critic_norm, s->grad_norm_critic);
    }
    mean_add(&a->variance, s->explained_variance);
    mean_add(&a->adv_std, s->adv_std);
    mean_add(&a->return_mean, s->return_mean);
    if (s->first_ratio_error > a->ratio_error)
        a->ratio_error = s->first_ratio_error;
}

static int ppo(struct trainer *t)
{
    struct mag_ppo_stats stats = {0};
    const uint64_t *by = mag_train_state(t->train)->skipped_by;
    const uint64_t actor = by[OPT_ACTOR], critic = by[OPT_CRITIC];
    trainer_copy_take(t, !t->copy.whole);
    fault_point("ppo.before");
    fault_poison("ppo.logp", t->rows.logp);
    fault_poison("ppo.return", t->rows.ret);
    int err = mag_ppo_batch(t->train, &t->rows, &t->draws, t->st.step, &stats, t->minibatch);
    fault_point("ppo.after");
    trainer_copy_drop(t);
    if (err)
        return err;
    if (by[OPT_ACTOR] > actor)
        trainer_refused_rows(t, OPT_ACTOR, by[OPT_ACTOR] - actor);
    if (by[OPT_CRITIC] > critic)
        trainer_refused_rows(t, OPT_CRITIC, by[OPT_CRITIC] - critic);
    add_ppo_stats(&t->tally, &stats);
    for (size_t k = 0; k < t->minibatches; k++) { /* the actor's loss has no sign to count on */
        trainer_watch(t, OPT_ACTOR, NAN, t->minibatch[k][1]);
        trainer_watch(t, OPT_CRITIC, t->minibatch[k][2], t->minibatch[k][3]);
    }
    t->st.updates += stats.actor_steps;
    t->tally.updates += stats.actor_steps;
    t->st.done.batches++;
    t->st.done.actor_steps += stats.actor_steps;
    t->st.done.critic_steps += stats.critic_steps;
    t->st.done.rows += t->rows.S * t->rows.steps;
    t->view.entropy = mean_of(&t->tally.entropy);
    t->view.kl = mean_of(&t->tally.ppo_kl);
    return 0;
}

static int policy_phase(struct trainer *t, bool *ended)
{
    struct schedule_counts counts;
    int err = 0;
    schedule_counts(t->cfg, t->st.iteration, &counts);
    t->copy.whole = false; /* the model changed since the last one */
    while (!err && !*ended) {
        struct mag_plan_stats stats = {0};
        double begin = trainer_now_s(), planned = begin;
        trainer_show(t, BOARD_PLANNING, t->st.step, counts.batches);
        err = trainer_cut(t);
        if (!err)
            err = sample(t, DRAW_WINDOW_IMAGINE, t->st.step);
        if (!err)
            err = plan(t, &stats);
        if (!err) {
            planned = trainer_now_s();
            mag_plan_stats_add(&t->tally.plan, &stats);
            t->tally.plan_s += planned - begin;
            t->tally.plan_tokens += mag_plan_tokens(t->cfg, &t->dims, t->rows.S, t->rows.steps);
            trainer_show(t, BOARD_PPO, t->st.step, counts.batches);
            err = ppo(t);
        }
        if (!err)
            err = trainer_publish(t, 1u << MAG_POLICY | 1u << MAG_CRITIC);
        if (!err) {
            t->tally.ppo_s += trainer_now_s() - planned;
            *ended = schedule_advance(t->cfg, &t->st);
        }
    }
    return err;
}

/* ---------------------------------------------------------------------------- iterations */

/* Phase left behind: publish what planners and actors need of it, report its figures. */
static int leave_phase(struct trainer *t, enum train_phase phase, bool ended)
{
    if (phase == PHASE_MODEL)
        trainer_figures_model(t);
    if (phase == PHASE_RM)
        trainer_figures_rm(t);
    if (phase == PHASE_POLICY)
        trainer_figures_policy(t);
    bool models_done = phase != PHASE_POLICY && (ended || t->st.phase == PHASE_POLICY);
    if (!models_done)
        return 0;
    return trainer_publish(t, 1u << MAG_FILTER | 1u << MAG_IMAGINE | 1u << MAG_RM);
}

static void log_iteration(const struct trainer *t, uint64_t iteration)
{
    const struct board_view *v = &t->view;
    const struct tally *a = &t->tally;
    log_info("iteration done",
             "iteration=%llu env_steps=%llu episodes=%llu win_rate=%.2f return=%.2f model=%.3f "
             "action_info=%.3f rm=%.4f rm_correlation=%.2f entropy=%.2f collect_s=%.2f "
             "model_s=%.2f rm_s=%.2f plan_s=%.2f ppo_s=%.2f",
             (unsigned long long)iteration, (unsigned long long)t->st.env_steps,
             (unsigned long long)t->st.next_episode, v->win_rate, v->mean_return, v->model_loss,
             v->action_info, v->rm_loss, v->rm_correlation, v->entropy, a->collect_s,
             a->model_s, a->rm_s, a->plan_s, a->ppo_s);
}

/* An iteration is complete: figures, and a checkpoint when one is due. */
static int end_iteration(struct trainer *t, uint64_t iteration)
{
    t->philox.iteration = (uint32_t)iteration;
    trainer_figures_end(t);
    uint64_t next = t->st.iteration;
    t->st.iteration = iteration; /* figures belong to the one that ended */
    int err = trainer_metrics_flush(t, true);
    t->st.iteration = next;
    trainer_show(t, t->view.state, t->view.phase_done, t->view.phase_total);
    log_iteration(t, iteration);
    t->st.done = (struct ckpt_done){0};
    uint32_t every = t->cfg->ckpt.every ? t->cfg->ckpt.every : 1;
    if (!err && iteration % every == 0)
        err = trainer_save(t);
    memset(&t->tally, 0, sizeof t->tally);
    return err;
}

static int phase_step(struct trainer *t, bool *ended)
{
    switch (t->st.phase) {
    case PHASE_COLLECT: {
        int err = trainer_collect(t);
        if (!err && schedule_collected(t->cfg, t->st.iteration, replay_len(t->replay)))
            *ended = schedule_next_phase(t->cfg, &t->st);
        return err;
    }
    case PHASE_MODEL:
        return gradient_phase(t, model_step, BOARD_MODEL, &t->tally.model_s, ended);
    case PHASE_RM:
        return gradient_phase(t, rm_step, BOARD_RM, &t->tally.rm_s, ended);
    case PHASE_POLICY:
        return policy_phase(t, ended);
    }
    return ERR_INVAL;
}

static int iterate(struct trainer *t)
{
    uint64_t iteration = t->st.iteration;
    bool ended = false;
    int err = 0;
    t->philox.iteration = (uint32_t)iteration;
    mag_train_state(t->train)->rate = schedule_rate(t->cfg, iteration);
    t->tally.started_s = trainer_now_s();
    while (!err && !ended) {
        enum train_phase phase = t->st.phase;
        err = phase_step(t, &ended);
        if (!err && (ended || t->st.phase != phase))
            err = leave_phase(t, phase, ended);
    }
    if (err)
        return err;
    if (iteration > 0)
        t->view.iteration_s =
            t->view.iteration_s > 0
                ? 0.7 * t->view.iteration_s + 0.3 * (trainer_now_s() - t->tally.started_s)
                : trainer_now_s() - t->tally.started_s;
    return end_iteration(t, iteration);
}

static int wait_for_workers(struct trainer *t)
{
    const struct config *cfg = t->cfg;
    int err;
    trainer_show(t, BOARD_WAITING, 0, 0);
    t->view.wait_actors = cfg->workers.actors;
    t->view.wait_planners = cfg->workers.planners;
    board_put(t->c.board, &t->view);
    do
        err = port_wait_workers(t->c.port, cfg->workers.actors, cfg->workers.planners,
                                PATIENCE_MS);
    while (trainer_wait_again(t, &err));
    return err;
}

static int train(struct trainer *t)
{
    int err = 0;
    bool waited = false;
    const char *stop = NULL;
    if (t->cfg->collect.episodes < t->cfg->workers.actors)
        log_info("some actors will idle",
                 "actors=%u collect.episodes=%u remedy=\"raise collect.episodes\"",
                 t->cfg->workers.actors, t->cfg->collect.episodes);
    while (!err) {
        err = trainer_cut(t);
        if (!err && schedule_eval_due(t->cfg, &t->st))
            err = trainer_evaluate(t);
        if (!err)
            stop = schedule_stop(t->cfg, &t->st, trainer_elapsed(t));
        if (err || stop)
            break;
        if (!err && !waited && t->st.iteration > 0) {
            err = wait_for_workers(t);
            waited = true;
        }
        if (!err)
            err = iterate(t);
    }
    if (!err)
        log_info("training complete", "bound=%s iterations=%llu env_steps=%llu elapsed_s=%.0f",
                 stop, (unsigned long long)(t->st.iteration - (t->st.iteration > 0)),
                 (unsigned long long)t->st.env_steps, trainer_elapsed(t));
    return err;
}

int trainer_run(struct trainer *t, struct intake *in)
{
    t->in = in;
    pool_fp_mode();
    int err = trainer_rebuild(t);
    /* A resumed learner knows no sets: in whatever phase it goes on, the first one is whole. */
    if (!err)
        err = trainer_publish(t, MAG_NEEDS_ALL & ~(1u << MAG_DECODE));
    if (!err && !t->resumed)
        err = trainer_save(t); /* from here on there is always something to resume */
    if (!err)
        err = train(t);
    if (!err && t->c.final_eval && t->evaluated != t->st.iteration + 1)
        err = trainer_evaluate(t);
    if (!err)
        err = trainer_save(t);
    if (err == ERR_INTERRUPTED)
        trainer_metrics_flush(t, true);
    trainer_show(t, BOARD_FINISHED, 0, 0);
    if (t->metrics)
        metrics_flush(t->metrics);
    return err;
}

/* -------------------------------------------------------------------------- open, close */

static int reserve_arena(struct trainer *t)
{
    const struct config *cfg = t->cfg;
    const struct mag_dims *d = &t->dims;
    size_t W = cfg->replay.window, B = cfg->train.windows, S = (W - 2) * B;
    size_t steps = cfg->imagine.steps - 1, E = cfg->collect.episodes;
    size_t eval = cfg->eval.episodes > E ? cfg->eval.episodes : E;
    size_t params = t->model->params.count * sizeof(float);
    size_t held = cfg->metrics.rm_windows > B ? cfg->metrics.rm_windows : B;
    size_t tokens = (held + E) * (W - 2) * d->N;
    size_t jobs = B, rows = S * steps, per = cfg->train.minibatch;
    t->minibatches = (rows + per - 1) / per * cfg->train.ppo_epochs;
    size_t bytes = t->minibatches * sizeof *t->minibatch +
                   2 * replay_batch_bytes(W, B, d->N, d->O, d->A) +
                   mag_rows_bytes(d, S, steps) + 3 * params + jobs * sizeof(struct port_job) +
                   job_space_bytes(t) + eval * (sizeof(struct port_episode) + 1) +
                   tokens * (2 * sizeof(float) + sizeof(uint32_t)) +
                   rank_scratch(tokens, 2 * E + held) * sizeof(double) + 64 * 1024;
    int err = arena_init(&t->arena, bytes);
    if (!err)
        err = replay_batch_carve(&t->batch, t->replay, W, B, &t->arena);
    if (!err)
        err = replay_batch_carve(&t->held, t->replay, W, B, &t->arena);
    if (err)
        return err;
    mag_rows_carve(&t->rows, d, S, steps, &t->arena);
    t->copy.value = arena_zmust(&t->arena, params);
    t->copy.m = arena_zmust(&t->arena, params);
    t->copy.v = arena_zmust(&t->arena, params);
    t->jobs = ARENA_ZNEW(&t->arena, struct port_job, jobs);
    t->job_space = arena_zmust(&t->arena, job_space_bytes(t));
    t->episode = ARENA_ZNEW(&t->arena, struct port_episode, eval);
    t->have = ARENA_ZNEW(&t->arena, bool, eval);
    t->label = ARENA_ZNEW(&t->arena, float, tokens);
    t->pred = ARENA_ZNEW(&t->arena, float, tokens);
    t->unit = ARENA_ZNEW(&t->arena, uint32_t, tokens);
    t->scratch = ARENA_ZNEW(&t->arena, double, rank_scratch(tokens, 2 * E + held));
    t->minibatch = arena_zmust(&t->arena, t->minibatches * sizeof *t->minibatch);
    t->tokens_max = tokens;
    return 0;
}

static int check_config(const struct config *cfg)
{
    struct schedule_counts c;
    schedule_counts(cfg, 1, &c);
    size_t jobs = (cfg->train.windows + cfg->job.windows - 1) / cfg->job.windows;
    if (cfg->schedule != SCHEDULE_LOCKSTEP)
        return err_set(ERR_CONFIG, "schedule async is not part of this version: use lockstep");
    if (c.batches >= 1u << 12)
        return err_set(
            ERR_CONFIG,
            "%llu imagined batches per iteration: at most 4095; lower train.batches, "
            "collect.episodes or switch collect.scale_updates off",
            (unsigned long long)c.batches);
    if (cfg->collect.episodes > PORT_EPISODES_MAX || cfg->eval.episodes > PORT_EPISODES_MAX)
        return err_set(ERR_CONFIG, "at most %d episodes in one collection or evaluation",
                       PORT_EPISODES_MAX);
    if (jobs > PORT_JOBS_MAX)
        return err_set(ERR_CONFIG, "%zu jobs per batch: at most %d; raise job.windows", jobs,
                       PORT_JOBS_MAX);
    return 0;
}

static int open_parts(struct trainer *t)
{
    const struct config *cfg = t->cfg;
    const struct env_spec *s = t->c.spec;
    size_t S = (cfg->replay.window - 2) * (size_t)cfg->train.windows;
    mag_dims_of(&t->dims, cfg, s->n_agents, s->obs, s->actions);
    int err = pool_open(&t->pool, pool_team(cfg->compute.threads));
    if (!err)
        err = mag_model_open(&t->model, &t->dims, cfg->compute.isa);
    const struct mag_train_cfg tc = {
        .W = cfg->replay.window,
        .B = cfg->train.windows,
        .S = S,
        .rows_max = (cfg->imagine.steps - 1) * S,
        .minibatch = cfg->train.minibatch,
        .cfg = cfg,
    };
    if (!err)
        err = mag_train_open(&t->train, t->model, &tc, t->pool);
    if (!err)
        err = replay_open(&t->replay, cfg->replay.capacity, s->n_agents, s->obs, s->actions);
    const struct mag_imagine_cfg ic = {
        .W = cfg->replay.window, .windows_max = cfg->job.windows, .cfg = cfg};
    if (!err && cfg->metrics.every && cfg->imagine.search == SEARCH_SHOOTING)
        err = mag_imagine_open(&t->imagine, t->model, &ic, t->pool);
    return err ? err : reserve_arena(t);
}

int trainer_open(struct trainer **out, const struct trainer_cfg *c)
{
    int err = check_config(c->cfg);
    if (err)
        return err;
    struct trainer *t = calloc(1, sizeof *t);
    if (!t)
        return ERR_NOMEM;
    t->c = *c;
    t->cfg = c->cfg;
    pthread_mutex_init(&t->copy.mu, NULL);
    t->philox = (struct philox){.seed = c->cfg->seed};
    t->draws = philox_draws(&t->philox);
    t->view.eval_greedy = t->view.eval_sampled = t->view.eta_s = -1;
    struct config bare = *c->cfg; /* a run may be continued with other bounds */
    memset(&bare.train.stop, 0, sizeof bare.train.stop);
    config_digest(&bare, &t->digest);
    err = open_parts(t);
    if (err)
        trainer_close(t);
    else
        *out = t;
    return err;
}

void trainer_close(struct trainer *t)
{
    if (!t)
        return;
    metrics_close(t->metrics);
    store_close(t->read);
    mag_imagine_close(t->imagine);
    replay_close(t->replay);
    if (t->train)
        mag_train_close(t->train);
    if (t->model)
        mag_model_close(t->model);
    pool_close(t->pool);
    arena_fini(&t->arena);
    pthread_mutex_destroy(&t->copy.mu);
    free(t);
}

size_t trainer_result_bytes(const struct config *cfg, const struct env_spec *spec)
{
    struct mag_dims d;
    mag_dims_of(&d, cfg, spec->n_agents, spec->obs, spec->actions);
    size_t starts = cfg->replay.window - 2, steps = cfg->imagine.steps - 1;
    size_t token = d.C + 4 * d.D + 1 + (d.A + 7) / 8 + 3 * 4;
    return steps * starts * d.N * token + 4096;
}

const char *trainer_isa(const struct trainer *t)
{
    return t->model->kern->name;
}

const char *trainer_products(const struct trainer *t)
{
    return t->model->kern->products;
}

const char *trainer_library(const struct trainer *t)
{
    return kern_library(t->model->kern);
}
