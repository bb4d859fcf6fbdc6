/* SPDX-License-Identifier: Apache-2.0 */
/* trainer_figures.c - is the method working? Names and meanings: docs/metrics.md.
 *
 * Figures are gathered during an iteration, stored in run.db at every cut and at its end, and
 * written as one line of metrics.jsonl at its end. All draws are METRIC draws: switching a
 * figure on or off changes no weight. */
#include "trainer_priv.h"

#include "base/err.h"
#include "base/log.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

void trainer_metric(struct trainer *t, const char *name, double value)
{
    size_t i = 0;
    while (i < t->metric_count && strcmp(t->metric_name[i], name) != 0)
        i++;
    if (i == METRICS_MAX)
        return;
    if (i == t->metric_count) {
        snprintf(t->metric_name[i], sizeof t->metric_name[i], "%s", name);
        t->metric_count++;
    }
    t->metric[i] = (struct metric){.name = t->metric_name[i], .value = value};
    if (i < t->metric_stored)
        t->metric_stored = i; /* it changed: store it again */
}

int trainer_metrics_flush(struct trainer *t, bool line)
{
    int err = 0;
    for (; t->metric_stored < t->metric_count && !err; t->metric_stored++) {
        const struct metric *m = &t->metric[t->metric_stored];
        err = intake_metric(t->in, t->st.iteration, m->name, m->value);
    }
    if (err || !line)
        return err;
    if (t->metrics && t->metric_count)
        err = metrics_write(t->metrics, t->st.iteration, t->st.env_steps, trainer_elapsed(t),
                            t->metric, t->metric_count);
    t->metric_count = t->metric_stored = 0;
    return err;
}

/* ------------------------------------------------------------------------ held-out scores */

/* Real rewards of won battles' last transitions beside what the model expects there. */
static int score_win(struct trainer *t, const struct mag_windows *w, uint64_t step)
{
    size_t T = w->W - 1, N = t->dims.N;
    float *pred = (float *)(void *)t->scratch; /* [T-1][B] */
    int err = mag_reward_score(t->train, w, &t->draws, step, pred);
    for (size_t i = 0; i + 1 < T && !err; i++) {
        for (size_t b = 0; b < w->B; b++) {
            /* psi_i leads to the reward of record i + 1 of the window */
            size_t at = (i + 1) * w->B + b;
            if (!w->done[at] || w->fake[at])
                continue;
            mean_add(&t->tally.win_pred, (double)pred[i * w->B + b]);
            mean_add(&t->tally.win_real, (double)w->reward[at * N]);
        }
    }
    return err;
}

static int score_compounding(struct trainer *t, const struct mag_windows *w)
{
    double planned[256], plain[256];
    size_t steps = t->cfg->imagine.steps - 1;
    if (steps > 255)
        return 0;
    int err = mag_compounding_error(t->imagine, w, &t->draws, t->st.iteration, planned, plain);
    if (err)
        return err;
    size_t last = steps;
    while (last > 0 && !(isfinite(planned[last - 1]) && isfinite(plain[last - 1])))
        last--;
    if (last) {
        trainer_metric(t, "plan/compounding_planned", planned[last - 1]);
        trainer_metric(t, "plan/compounding_plain", plain[last - 1]);
        trainer_metric(t, "plan/compounding_steps", (double)last);
    }
    return 0;
}

/* An episode with a reward that is not a number has such labels: ranks know no order of them. */
static size_t drop_not_finite(struct trainer *t, size_t tokens)
{
    size_t n = 0;
    for (size_t i = 0; i < tokens; i++) {
        if (!isfinite(t->pred[i]) || !isfinite(t->label[i]))
            continue;
        t->pred[n] = t->pred[i];
        t->label[n] = t->label[i];
        t->unit[n++] = t->unit[i];
    }
    return n;
}

static void report_rm(struct trainer *t, size_t tokens, size_t units)
{
    struct rank_figure f;
    double error = 0, bias = 0;
    tokens = drop_not_finite(t, tokens);
    if (!tokens)
        return;
    for (size_t i = 0; i < tokens; i++) {
        double d = (double)t->pred[i] - (double)t->label[i];
        error += fabs(d);
        bias += d;
    }
    trainer_metric(t, "rm/heldout_error", error / (double)tokens);
    trainer_metric(t, "rm/heldout_bias", bias / (double)tokens);
    trainer_metric(t, "rm/heldout_tokens", (double)tokens);
    if (!rank_correlation(&f, t->pred, t->label, t->unit, tokens, units, BOOTSTRAP, &t->draws,
                          0, t->scratch))
        return;
    trainer_metric(t, "rm/correlation", f.rho);
    trainer_metric(t, "rm/correlation_lo", f.lo);
    trainer_metric(t, "rm/correlation_hi", f.hi);
    t->view.rm_correlation = f.rho;
}

int trainer_score(struct trainer *t)
{
    size_t E = t->cfg->collect.episodes, wanted = t->cfg->metrics.rm_windows;
    size_t tokens = 0, windows = 0, per = (wanted + E - 1) / E, room = t->held.B_max;
    size_t per_token = (t->cfg->replay.window - 2) * t->dims.N;
    bool rm = t->cfg->imagine.search == SEARCH_SHOOTING, by_episode = E >= 4;
    uint32_t every = t->cfg->metrics.every;
    bool figure = t->imagine && every && t->st.iteration % every == 0, figured = false;
    int err = 0;
    for (size_t i = 0; i < E && !err && per; i++) {
        const struct wire_episode *e = &t->episode[i].e;
        size_t count = 0;
        t->held.B_max = per < room ? per : room;
        err = replay_windows_of(&t->held, t->replay, e, &t->draws, &count);
        if (err || !count || tokens + count * per_token > t->tokens_max)
            continue;
        if (rm)
            err = mag_rm_score(t->train, &t->held.w, &t->draws, i, true, t->label + tokens,
                               t->pred + tokens, NULL, NULL, NULL);
        for (size_t j = 0; j < count * per_token; j++) /* [T-1][B][N]: B is count */
            t->unit[tokens + j] = (uint32_t)(by_episode ? i : windows + j / t->dims.N % count);
        tokens += count * per_token;
        windows += count;
        if (!err && e->won && e->end == END_TERMINAL)
            err = score_win(t, &t->held.w, i);
        if (!err && figure && !figured) {
            t->held.B_max = t->cfg->job.windows < room ? t->cfg->job.windows : room;
            err = replay_windows_of(&t->held, t->replay, e, &t->draws, &count);
            if (!err && count)
                err = score_compounding(t, &t->held.w);
            figured = true;
        }
    }
    t->held.B_max = room;
    if (!err && rm && tokens)
        report_rm(t, tokens, by_episode ? E : windows);
    return err;
}

/* --------------------------------------------------------------------------------- phases */

void trainer_figures_model(struct trainer *t)
{
    const struct tally *a = &t->tally;
    if (!a->total.n)
        return;
    trainer_metric(t, "wm/loss", mean_of(&a->total));
    trainer_metric(t, "wm/kl", mean_of(&a->kl));
    trainer_metric(t, "wm/reconstruction", mean_of(&a->rec));
    trainer_metric(t, "wm/reward", mean_of(&a->reward));
    trainer_metric(t, "wm/continuation", mean_of(&a->cont));
    trainer_metric(t, "wm/availability", mean_of(&a->avail));
    trainer_metric(t, "wm/action_info", mean_of(&a->action_info));
    trainer_metric(t, "wm/grad_norm", mean_of(&a->model_norm));
    trainer_metric(t, "wm/steps", (double)t->st.done.model_steps);
}

void trainer_figures_rm(struct trainer *t)
{
    const struct tally *a = &t->tally;
    if (!a->rm_loss.n)
        return;
    trainer_metric(t, "rm/loss", mean_of(&a->rm_loss));
    trainer_metric(t, "rm/grad_norm", mean_of(&a->rm_norm));
    trainer_metric(t, "rm/steps", (double)t->st.done.rm_steps);
}

static void plan_figures(struct trainer *t)
{
    const struct mag_plan_stats *s = &t->tally.plan;
    if (s->rewards)
        trainer_metric(t, "plan/reward_mean", s->reward_sum / (double)s->rewards);
    if (!s->choices || t->cfg->imagine.search != SEARCH_SHOOTING)
        return;
    double n = (double)s->choices, mean = s->score_sum / n;
    double between = s->between_sq / n - mean * mean, first = 0;
    for (int i = 0; i < 16; i++)
        first += i == 0 ? (double)s->picked[i] : 0;
    trainer_metric(t, "plan/score_chosen", s->chosen / n);
    trainer_metric(t, "plan/score_mean", s->mean / n);
    trainer_metric(t, "plan/score_gain", (s->chosen - s->mean) / n);
    trainer_metric(t, "plan/spread_within", sqrt(s->within_sq / n));
    trainer_metric(t, "plan/spread_between", sqrt(between > 0 ? between : 0));
    trainer_metric(t, "plan/picked_first", first / n);
}

void trainer_figures_policy(struct trainer *t)
{
    const struct tally *a = &t->tally;
    plan_figures(t);
    if (!a->actor_loss.n)
        return;
    trainer_metric(t, "ppo/actor_loss", mean_of(&a->actor_loss));
    trainer_metric(t, "ppo/critic_loss", mean_of(&a->critic_loss));
    trainer_metric(t, "ppo/entropy", mean_of(&a->entropy));
    trainer_metric(t, "ppo/kl", mean_of(&a->ppo_kl));
    trainer_metric(t, "ppo/clip_fraction", mean_of(&a->clip));
    trainer_metric(t, "ppo/explained_variance", mean_of(&a->variance));
    trainer_metric(t, "ppo/advantage_std", mean_of(&a->adv_std));
    trainer_metric(t, "ppo/return_mean", mean_of(&a->return_mean));
    trainer_metric(t, "ppo/grad_norm_actor", mean_of(&a->actor_norm));
    trainer_metric(t, "ppo/grad_norm_critic", mean_of(&a->critic_norm));
    trainer_metric(t, "ppo/first_ratio_error", a->ratio_error);
    trainer_metric(t, "ppo/entropy_weight", mag_train_state(t->train)->entropy_weight);
    trainer_metric(t, "train/rate", mag_train_state(t->train)->rate);
    trainer_metric(t, "ppo/batches", (double)t->st.done.batches);
    trainer_metric(t, "ppo/rows", (double)t->st.done.rows);
    trainer_metric(t, "ppo/actor_steps", (double)t->st.done.actor_steps);
    trainer_metric(t, "ppo/critic_steps", (double)t->st.done.critic_steps);
}

static void rate_figures(struct trainer *t)
{
    const struct tally *a = &t->tally;
    double whole = trainer_now_s() - a->started_s;
    struct board_view *v = &t->view;
    if (whole > 0) {
        v->episodes_per_s = (double)a->episodes / whole;
        v->env_steps_per_s = (double)a->env_steps / whole;
        v->updates_per_s = (double)a->updates / whole;
    }
    if (a->plan_s > 0)
        v->plan_tokens_per_s = (double)a->plan_tokens / a->plan_s;
    trainer_metric(t, "rate/episodes_per_s", v->episodes_per_s);
    trainer_metric(t, "rate/env_steps_per_s", v->env_steps_per_s);
    trainer_metric(t, "rate/updates_per_s", v->updates_per_s);
    if (a->plan_tokens)
        trainer_metric(t, "rate/planner_tokens_per_s", v->plan_tokens_per_s);
    trainer_metric(t, "time/collect", a->collect_s);
    trainer_metric(t, "time/model", a->model_s);
    trainer_metric(t, "time/rm", a->rm_s);
    trainer_metric(t, "time/plan", a->plan_s);
    trainer_metric(t, "time/ppo", a->ppo_s);
    trainer_metric(t, "time/figures", a->metrics_s);
    trainer_metric(t, "time/iteration", whole);
    trainer_metric(t, "time/elapsed", trainer_elapsed(t));
}

static void service_figures(struct trainer *t)
{
    struct intake_counts now, *was = &t->last_counts;
    struct rusage usage;
    intake_counts(t->in, &now);
    trainer_metric(t, "service/jobs", (double)(now.jobs - was->jobs));
    trainer_metric(t, "service/duplicates",
                   (double)(now.duplicate_jobs + now.duplicate_episodes - was->duplicate_jobs -
                            was->duplicate_episodes));
    trainer_metric(t, "service/stale",
                   (double)(now.stale_results + now.stale_episodes - was->stale_results -
                            was->stale_episodes));
    trainer_metric(t, "service/rejected", (double)(now.rejected - was->rejected));
    trainer_metric(t, "service/divergence", (double)(now.divergence - was->divergence));
    trainer_metric(t, "service/commits", (double)(now.commits - was->commits));
    trainer_metric(t, "service/upload_bytes", (double)(now.bytes - was->bytes));
    t->last_counts = now;
    if (getrusage(RUSAGE_SELF, &usage) == 0) {
        trainer_metric(t, "resource/rss_mb", (double)usage.ru_maxrss / 1024);
        trainer_metric(t, "resource/cpu_s",
                       (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
    }
}

void trainer_figures_end(struct trainer *t)
{
    double win = 0, ret = 0, length = 0;
    size_t n = recent_means(&t->recent, &win, &ret, &length);
    trainer_metric(t, "train/win_rate", win);
    trainer_metric(t, "train/return", ret);
    trainer_metric(t, "train/episode_length", length);
    trainer_metric(t, "train/recent_episodes", (double)n);
    trainer_metric(t, "train/episodes", (double)t->tally.episodes);
    trainer_metric(t, "train/env_steps", (double)t->st.env_steps);
    trainer_metric(t, "train/replay_records", (double)replay_len(t->replay));
    const struct mag_train_state *st = mag_train_state(t->train);
    trainer_metric(t, "train/skipped", (double)st->skipped);
    trainer_metric(t, "wm/skipped", (double)st->skipped_by[OPT_MODEL]);
    trainer_metric(t, "rm/skipped", (double)st->skipped_by[OPT_RM]);
    trainer_metric(t, "wm/spikes", (double)t->tally.spikes[OPT_MODEL]);
    trainer_metric(t, "rm/spikes", (double)t->tally.spikes[OPT_RM]);
    if (t->philox.iteration > 0) { /* the warm-up has no policy update to report */
        trainer_metric(t, "ppo/skipped_actor", (double)st->skipped_by[OPT_ACTOR]);
        trainer_metric(t, "ppo/skipped_critic", (double)st->skipped_by[OPT_CRITIC]);
        trainer_metric(t, "ppo/spikes_actor", (double)t->tally.spikes[OPT_ACTOR]);
        trainer_metric(t, "ppo/spikes_critic", (double)t->tally.spikes[OPT_CRITIC]);
    }
    trainer_metric(t, "train/set_id", (double)t->set.set_id);
    if (t->tally.win_real.n) {
        trainer_metric(t, "wm/win_reward_predicted", mean_of(&t->tally.win_pred));
        trainer_metric(t, "wm/win_reward_real", mean_of(&t->tally.win_real));
    }
    rate_figures(t);
    service_figures(t);
}
