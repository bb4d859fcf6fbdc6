/* SPDX-License-Identifier: Apache-2.0 */
/* trainer_bad.c - what the trainer does about a gradient step that was refused, or stands out.
 *
 * A refused step changed nothing (mag_opt_step) and is counted; here its batch is kept (bad.h)
 * and one line is logged. A step whose loss or norm is a spike was taken like any other; it is
 * counted and logged. None of this touches a weight, a draw or a counter of the schedule,
 * so that a run with refused steps has the same bits however it is cut. */
#include "bad.h"
#include "trainer_priv.h"

#include "base/err.h"
#include "base/log.h"

#include <math.h>
#include <stdlib.h>

enum { SAY_EVERY_MS = 10000 };

/* One line a group in ten seconds, and for every file kept: those are few. */
static void say(struct trainer *t, const struct bad_step *s, uint64_t steps, const char *name)
{
    struct log_limit *limit = &t->say_refused[s->opt];
    if (!log_allowed(limit, SAY_EVERY_MS) && !name[0])
        return;
    log_warn("gradient step refused",
             "group=%s iteration=%llu step=%llu refused=%llu loss=%g grad_norm=%g total=%llu "
             "unlogged=%lu kept=%s",
             bad_group[s->opt], (unsigned long long)s->iteration, (unsigned long long)s->step,
             (unsigned long long)steps, s->loss, s->grad_norm,
             (unsigned long long)mag_train_state(t->train)->skipped_by[s->opt], limit->skipped,
             name[0] ? name : "no");
    limit->skipped = 0;
}

static void cannot_keep(const struct bad_step *s)
{
    log_warn("refused batch could not be kept", "group=%s error=\"%s\"", bad_group[s->opt],
             err_text());
}

/* The sign of a NaN depends on the instructions that made it: files and lines shall not. */
static double signless(double v)
{
    return isnan(v) ? (double)NAN : v;
}

void trainer_refused_windows(struct trainer *t, enum mag_opt opt, double loss, double grad_norm)
{
    struct bad_step s = {.opt = opt,
                         .iteration = t->st.iteration,
                         .step = t->st.step,
                         .loss = signless(loss),
                         .grad_norm = signless(grad_norm)};
    char name[96] = "";
    if (bad_keep_windows(t->c.run_dir, &s, &t->dims, &t->batch.w, name, sizeof name))
        cannot_keep(&s);
    say(t, &s, 1, name);
}

/* The first minibatch whose loss or norm is not finite; else the one of largest norm, which was
 * finite and too large. */
static size_t culprit(const double (*line)[4], size_t n, size_t column)
{
    size_t most = 0;
    for (size_t k = 0; k < n; k++) {
        if (!isfinite(line[k][column]) || !isfinite(line[k][column + 1]))
            return k;
        if (line[k][column + 1] > line[most][column + 1])
            most = k;
    }
    return most;
}

void trainer_refused_rows(struct trainer *t, enum mag_opt opt, uint64_t steps)
{
    size_t rows = t->rows.S * t->rows.steps, per = t->cfg->train.minibatch;
    size_t an_epoch = (rows + per - 1) / per, column = opt == OPT_ACTOR ? 0 : 2;
    size_t k = culprit(t->minibatch, t->minibatches, column), first = k % an_epoch * per;
    struct bad_step s = {.opt = opt,
                         .iteration = t->st.iteration,
                         .step = t->st.step,
                         .minibatch = k,
                         .loss = signless(t->minibatch[k][column]),
                         .grad_norm = signless(t->minibatch[k][column + 1])};
    char name[96] = "";
    uint32_t *order = malloc(rows * sizeof *order);
    int err = order ? mag_ppo_order(t->train, &t->draws, t->st.step, k / an_epoch, rows, order)
                    : ERR_NOMEM;
    if (!err)
        err = bad_keep_rows(t->c.run_dir, &s, &t->dims, &t->rows, order + first,
                            rows - first < per ? rows - first : per, name, sizeof name);
    if (err)
        cannot_keep(&s);
    free(order);
    say(t, &s, steps, name);
}

/* ----------------------------------------------------------------------------------- spikes */

static void watch_one(struct trainer *t, enum mag_opt opt, struct spike *s, const char *what,
                      double value)
{
    struct log_limit *limit = &t->say_spike[opt];
    double median = 0;
    if (!spike_add(s, value, t->cfg->metrics.spike, &median))
        return;
    t->tally.spikes[opt]++;
    if (!log_allowed(limit, SAY_EVERY_MS))
        return;
    log_warn("loss spike",
             "group=%s iteration=%llu step=%llu what=%s value=%g median=%g unlogged=%lu",
             bad_group[opt], (unsigned long long)t->st.iteration,
             (unsigned long long)t->st.step, what, value, median, limit->skipped);
    limit->skipped = 0;
}

void trainer_watch(struct trainer *t, enum mag_opt opt, double loss, double grad_norm)
{
    watch_one(t, opt, &t->spike_loss[opt], "loss", loss);
    watch_one(t, opt, &t->spike_norm[opt], "grad_norm", grad_norm);
}
