/* SPDX-License-Identifier: Apache-2.0 */
/* board.c - the learner's answer to "how is it going?".
 *
 * One JSON object of at most 32 KiB serves `mag status`, `mag healthcheck` and the progress line
 * of `mag train`: they ask over the control plane and share no memory with the learner. */
#include "board.h"

#include "base/err.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *board_state_name(enum board_state s)
{
    static const char *const name[] = {
        [BOARD_STARTING] = "starting",
        [BOARD_WAITING] = "waiting for workers",
        [BOARD_COLLECTING] = "collecting",
        [BOARD_MODEL] = "model",
        [BOARD_RM] = "rm",
        [BOARD_PLANNING] = "planning",
        [BOARD_PPO] = "ppo",
        [BOARD_EVALUATING] = "evaluating",
        [BOARD_FINISHED] = "finished",
    };
    return name[s];
}

void board_init(struct board *b)
{
    memset(b, 0, sizeof *b);
    pthread_mutex_init(&b->mu, NULL);
    b->v.eval_greedy = b->v.eval_sampled = b->v.eta_s = -1;
}

void board_fini(struct board *b)
{
    pthread_mutex_destroy(&b->mu);
}

void board_get(struct board *b, struct board_view *out)
{
    pthread_mutex_lock(&b->mu);
    *out = b->v;
    pthread_mutex_unlock(&b->mu);
}

void board_put(struct board *b, const struct board_view *v)
{
    pthread_mutex_lock(&b->mu);
    b->v = *v;
    pthread_mutex_unlock(&b->mu);
}

static double nearer(double eta, double candidate)
{
    return eta < 0 || candidate < eta ? candidate : eta;
}

double board_eta(const struct board_view *v)
{
    double eta = -1;
    if (v->seconds_max > 0)
        eta = v->seconds_max > v->elapsed_s ? v->seconds_max - v->elapsed_s : 0;
    if (v->iterations_max && v->iteration_s > 0) {
        uint64_t left =
            v->iterations_max >= v->iteration ? v->iterations_max + 1 - v->iteration : 0;
        eta = nearer(eta, (double)left * v->iteration_s);
    }
    if (v->env_steps_max && v->env_steps_per_s > 0) {
        double left =
            v->env_steps_max > v->env_steps ? (double)(v->env_steps_max - v->env_steps) : 0;
        eta = nearer(eta, left / v->env_steps_per_s);
    }
    return eta;
}

static void set_u64(json_t *o, const char *key, uint64_t v)
{
    json_object_set_new(o, key, json_integer((json_int_t)v));
}

/* JSON has no NaN. */
static void set_real(json_t *o, const char *key, double v)
{
    json_object_set_new(o, key, isfinite(v) ? json_real(v) : json_null());
}

static void set_known(json_t *o, const char *key, double v)
{
    json_object_set_new(o, key, isfinite(v) && v >= 0 ? json_real(v) : json_null());
}

static void set_text(json_t *o, const char *key, const char *text)
{
    json_t *s = json_string(text);
    json_object_set_new(o, key, s ? s : json_string("?"));
}

static json_t *worker_json(const struct board_worker *w)
{
    json_t *o = json_object();
    set_text(o, "id", w->id);
    set_text(o, "role", w->role);
    set_text(o, "name", w->text);
    set_text(o, "state", w->state);
    set_u64(o, "busy", w->busy);
    set_u64(o, "served", w->served);
    set_u64(o, "accepted", w->accepted);
    set_u64(o, "set_id", w->set_held);
    return o;
}

static json_t *whole(const struct board_view *v, const struct board_totals *t,
                     const struct board_worker *w, size_t workers)
{
    json_t *o = json_object();
    size_t actors = 0, planners = 0;
    for (size_t i = 0; i < workers; i++) {
        bool live = strcmp(w[i].state, "lost") != 0;
        actors += live && strcmp(w[i].role, "actor") == 0;
        planners += live && strcmp(w[i].role, "planner") == 0;
    }
    set_text(o, "state", board_state_name(v->state));
    set_text(o, "run_dir", t->run_dir);
    json_object_set_new(o, "resumed", json_boolean(v->resumed));
    set_u64(o, "iteration", v->iteration);
    set_u64(o, "iterations_max", v->iterations_max);
    set_u64(o, "phase_done", v->phase_done);
    set_u64(o, "phase_total", v->phase_total);
    set_u64(o, "env_steps", v->env_steps);
    set_u64(o, "env_steps_max", v->env_steps_max);
    set_u64(o, "episodes", v->episodes);
    set_u64(o, "updates", v->updates);
    set_u64(o, "replay_records", v->replay_records);
    set_u64(o, "replay_min", v->replay_min);
    set_u64(o, "set_id", t->set_id);
    set_u64(o, "skipped", v->skipped);
    set_u64(o, "recent", v->recent);
    set_real(o, "win_rate", v->win_rate);
    set_real(o, "return", v->mean_return);
    set_real(o, "length", v->mean_length);
    set_real(o, "loss_model", v->model_loss);
    set_real(o, "action_info", v->action_info);
    set_real(o, "loss_rm", v->rm_loss);
    set_real(o, "rm_correlation", v->rm_correlation);
    set_real(o, "entropy", v->entropy);
    set_real(o, "kl", v->kl);
    set_real(o, "episodes_per_s", v->episodes_per_s);
    set_real(o, "env_steps_per_s", v->env_steps_per_s);
    set_real(o, "updates_per_s", v->updates_per_s);
    set_real(o, "planner_tokens_per_s", v->plan_tokens_per_s);
    set_real(o, "iteration_s", v->iteration_s);
    set_real(o, "elapsed_s", v->elapsed_s);
    set_known(o, "eta_s", v->eta_s);
    set_known(o, "eval_greedy", v->eval_greedy);
    set_known(o, "eval_sampled", v->eval_sampled);
    set_real(o, "uptime_s", t->uptime_s);
    set_u64(o, "actors", actors);
    set_u64(o, "planners", planners);
    set_u64(o, "wait_actors", v->wait_actors);
    set_u64(o, "wait_planners", v->wait_planners);
    set_u64(o, "duplicates", t->duplicates);
    set_u64(o, "divergence", t->divergence);
    set_u64(o, "stale", t->stale);
    set_u64(o, "requeued", t->requeued);
    set_u64(o, "lost", t->lost);
    json_t *list = json_array();
    for (size_t i = 0; i < workers; i++)
        json_array_append_new(list, worker_json(&w[i]));
    json_object_set_new(o, "workers", list);
    set_u64(o, "more", 0);
    return o;
}

size_t board_json(const struct board_view *v, const struct board_totals *t,
                  const struct board_worker *w, size_t workers, char *out, size_t n)
{
    json_t *o = whole(v, t, w, workers);
    json_t *list = json_object_get(o, "workers");
    size_t size = json_dumpb(o, NULL, 0, JSON_COMPACT), dropped = 0;
    while (size >= n && json_array_size(list)) {
        json_array_remove(list, json_array_size(list) - 1);
        set_u64(o, "more", ++dropped);
        size = json_dumpb(o, NULL, 0, JSON_COMPACT);
    }
    if (size >= n)
        size = 0;
    else
        json_dumpb(o, out, n, JSON_COMPACT);
    out[size] = '\0';
    json_decref(o);
    return size;
}

static void put_time(double s, char out[32])
{
    unsigned long t = s > 0 ? (unsigned long)s : 0;
    if (s < 0)
        snprintf(out, 32, "unknown");
    else if (t >= 3600)
        snprintf(out, 32, "%luh%02lum", t / 3600, t / 60 % 60);
    else
        snprintf(out, 32, "%lum%02lus", t / 60, t % 60);
}

void board_line(const struct board_view *v, char *out, size_t n)
{
    char left[32];
    put_time(v->eta_s, left);
    snprintf(out, n,
             "state=\"%s\" iteration=%llu phase=%llu/%llu env_steps=%llu win_rate=%.2f "
             "return=%.2f model=%.3f rm=%.3f steps_per_s=%.0f left=%s",
             board_state_name(v->state), (unsigned long long)v->iteration,
             (unsigned long long)v->phase_done, (unsigned long long)v->phase_total,
             (unsigned long long)v->env_steps, v->win_rate, v->mean_return, v->model_loss,
             v->rm_loss, v->env_steps_per_s, left);
}
