/* SPDX-License-Identifier: Apache-2.0 */
/* figure.c - does planning really reduce the model's error? The paper's Figure 3.
 *
 * WHAT  Held-out windows hold what really happened. From each, the state at t0 = T - R (T = W-1
 * aligned steps, R imagined states) is filtered as a posterior; then the model runs open loop
 * for R-1 steps with the *recorded* joint actions: once taking at each step the candidate that
 * planning chooses (`planned`), once the plain draw (`plain`). Both use the same random
 * numbers: the plain path is candidate 0 of every step.
 *
 *   e(k)     = mean over agents and O of |decoder([s_k ; h_k]) - obs_{t0+k}|, s_k a prior sample,
 *              averaged over the windows still running
 *   error[k-1] = e(1) + ... + e(k)                                              k = 1..R-1
 *
 * A window stops running when its episode is over: after a record with `last`, and at absorbing
 * (`fake`) records. If no window reaches a step, its error and all later ones are NaN.
 *
 * Inner planning steps follow the policy, exactly as in training. METRIC draws only: switching
 * the figure on changes no weight. */
#include "rollout.h"

#include "base/err.h"

#include <math.h>
#include <string.h>

static const struct domains metric_domains = {DRAW_METRIC_POST,       DRAW_METRIC_IM_AVAIL,
                                              DRAW_METRIC_IM_ACT,     DRAW_METRIC_PLAN_LATENT,
                                              DRAW_METRIC_PLAN_AVAIL, DRAW_METRIC_PLAN_ACT};

/* One rollout step of the figure. */
struct figure {
    struct call call;
    struct mag_batch al;
    size_t t0, i;
};

/* Windows first.. of step i: states alternate between the two buffers. */
static struct span figure_span(const struct figure *f, struct worker *w, size_t task)
{
    const struct call *c = &f->call;
    const struct mag_imagine *im = c->im;
    size_t first = task * c->shard, P = least(c->shard, c->S - first);
    size_t at = first * im->d.N, now = f->i % 2, next = 1 - now;
    struct span s = {.i = f->i,
                     .first = first,
                     .P = P,
                     .index = im->fig_index[now] + at * im->d.C,
                     .h = im->fig_h[now] + at * im->d.D,
                     .h_next = im->fig_h[next] + at * im->d.D,
                     .index_next = im->fig_index[next] + at * im->d.C,
                     .action = w->action};
    return s;
}

static void step_task(void *arg, size_t task, size_t worker)
{
    const struct figure *f = arg;
    struct worker *w = &f->call.im->worker[worker];
    struct span s = figure_span(f, w, task);
    rollout_candidates(&f->call, w, &s);
}

/* e(k) of every window of the shard, running or not. */
static void error_task(void *arg, size_t task, size_t worker)
{
    const struct figure *f = arg;
    const struct mag_imagine *im = f->call.im;
    const struct nets *n = f->call.nets;
    struct worker *w = &im->worker[worker];
    struct span s = figure_span(f, w, task);
    size_t N = im->d.N, O = im->d.O, tokens = s.P * N, ld = nets_pad(O);
    nets_one_head(n, w->nets, w->h, HEAD_DECODER, s.index_next, s.h_next, tokens);
    nets_decode(n, w->obs, w->h, tokens);
    const float *obs = f->al.obs + ((f->t0 + 1 + f->i) * f->al.B + s.first) * N * O;
    for (size_t p = 0; p < s.P; p++) {
        double sum = 0;
        for (size_t k = p * N; k < (p + 1) * N; k++)
            for (size_t o = 0; o < O; o++)
                sum += fabs((double)w->obs[k * ld + o] - (double)obs[k * O + o]);
        im->fig_error[s.first + p] = sum / (double)(N * O);
    }
}

/* Whether the window's episode still runs when step i compares with obs_{t0+1+i}. */
static bool running(const struct figure *f, size_t b)
{
    for (size_t t = f->t0; t <= f->t0 + 1 + f->i; t++) {
        if (f->al.fake && f->al.fake[t * f->al.B + b])
            return false;
        if (t <= f->t0 + f->i && f->al.last[t * f->al.B + b])
            return false;
    }
    return true;
}

static double mean_error(const struct figure *f)
{
    double sum = 0;
    size_t n = 0;
    for (size_t b = 0; b < f->call.S; b++) {
        if (!running(f, b))
            continue;
        sum += f->call.im->fig_error[b];
        n++;
    }
    return n ? sum / (double)n : (double)NAN;
}

/* One of the two curves, from the start states in fig_*[0]. */
static void curve(struct figure *f, double *error)
{
    struct call *c = &f->call;
    struct mag_imagine *im = c->im;
    double total = 0;
    for (f->i = 0; f->i + 1 < im->R; f->i++) {
        c->forced = f->al.action + (f->t0 + 1 + f->i) * f->al.B * im->d.N;
        pool_run(im->pool, step_task, f, c->tasks);
        if (chooses_for_batch(c))
            rollout_choose_batch(c, f->i);
        for (size_t task = 0; task < c->tasks; task++) {
            struct span s = figure_span(f, &im->worker[0], task);
            if (!chooses_for_batch(c))
                rollout_choose_start(c, &s);
            rollout_commit(c, &s);
        }
        pool_run(im->pool, error_task, f, c->tasks);
        total += mean_error(f);
        error[f->i] = total;
    }
}

/* The filtered states at t0 are the starts of both curves. */
static void set_start(const struct figure *f)
{
    struct mag_imagine *im = f->call.im;
    size_t tokens = f->al.B * im->d.N, at = f->t0 * tokens;
    memcpy(im->fig_index[0], im->last_index + at * im->d.C, tokens * im->d.C);
    memcpy(im->fig_h[0], im->last_h + at * im->d.D, tokens * im->d.D * sizeof(float));
}

int mag_compounding_error(struct mag_imagine *im, const struct mag_windows *w,
                          const struct draws *draws, uint64_t item, double *planned,
                          double *plain)
{
    if (w->W != im->W || w->B < 1 || w->B > im->windows_max || w->W < im->R + 1)
        return err_set(ERR_INVAL,
                       "the error of %zu steps needs 1 to %zu windows of %zu records, at least "
                       "%zu of them; %zu windows of %zu given",
                       im->R - 1, im->windows_max, im->W, im->R + 1, w->B, w->W);
    struct figure f = {.t0 = w->W - 1 - im->R,
                       .call = {.im = im,
                                .nets = mag_nets(im->m),
                                .look = look_nets(&im->look, im->m),
                                .draws = draws,
                                .dom = &metric_domains,
                                .w = w,
                                .rows_global = im->ident,
                                .B_global = w->B,
                                .batch = item,
                                .L = im->L,
                                .H = im->H,
                                .filter_T = w->W - im->R,
                                .filter_index = im->last_index,
                                .filter_h = im->last_h}};
    mag_align(&f.al, w, &im->d);
    rollout_cut(&f.call, w->B);
    /* a draw's item has 40 bits, and the iteration is in its counter already */
    uint64_t high = (item & (((uint64_t)1 << START_BITS) - 1)) << START_BITS;
    for (size_t b = 0; b < w->B; b++) {
        im->ident[b] = (uint32_t)b;
        im->item[b] = high | b;
    }
    rollout_filter(&f.call);
    set_start(&f);
    curve(&f, planned);
    f.call.L = 1;
    f.call.H = 0;
    set_start(&f);
    curve(&f, plain);
    return 0;
}
