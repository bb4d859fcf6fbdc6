/* SPDX-License-Identifier: Apache-2.0 */
/* imagine.c - rollouts in the learned model, with planning: where MAG spends its time.
 *
 * WHAT  Windows are filtered into posterior start states; from each, R states are imagined by
 * the policy in the model; at every step L candidates look H transitions ahead and the one whose
 * accumulated predicted model error is least gives the next state (mag.md 8, 9; Algorithm 1 of
 * arXiv 2303.17984). The transitions are then valued and leave as struct mag_rows.
 *
 * rollout.c computes a step; here are memory, tasks and their order. No planning is done after
 * state R-1, which only needs its value.
 *
 * LAYOUT  State i of all starts lies in the caller's rows at step i, where it stays; state R-1,
 * which is no row, lies in `last`. A shard is a run of starts whose tokens fill one block of the
 * networks (NETS_BLOCK), fewer if threads would idle: its activations stay in a core's L2 cache
 * while weights stream past.
 *
 * BITS  Draws are keyed by global starts, products are row-stable and attention stays within a
 * joint row: the rows that come out depend neither on shards, threads, nor on how a batch was
 * cut into calls. With imagine.choice start a shard runs alone to the end; with `batch` all
 * shards meet after every step, where the mean scores pick one index.
 *
 * MEMORY  All at open: start-sized arrays for windows_max windows and scratch per thread. At
 * width 256, 3 agents, L 5: 4 MB for jobs of 2 windows, 7 MB for 40; 27 agents: 6 and 34 MB. */
#include "rollout.h"

#include "base/err.h"

#include <stdlib.h>
#include <string.h>

static const struct domains train_domains = {DRAW_POST_START,  DRAW_IM_AVAIL,   DRAW_IM_ACT,
                                             DRAW_PLAN_LATENT, DRAW_PLAN_AVAIL, DRAW_PLAN_ACT};

/* ------------------------------------------------------------------------------------ open */

/* Even shards of at most shard_max starts, as many as keep all threads busy. Only speed depends
 * on the cut. */
void rollout_cut(struct call *c, size_t S)
{
    size_t tasks = ceil_div(S, c->im->shard_max), threads = c->im->workers;
    tasks = ceil_div(tasks, threads) * threads;
    c->S = S;
    c->shard = ceil_div(S, tasks);
    c->tasks = ceil_div(S, c->shard);
}

/* Arrays of the object in order; run once to count, once to carve. */
struct carver {
    struct arena *a; /* NULL: count only */
    size_t bytes;
};
static void *carve(struct carver *cv, size_t bytes)
{
    cv->bytes += (bytes + 63) / 64 * 64;
    return cv->a ? arena_must(cv->a, bytes) : NULL;
}
static float *carve_f(struct carver *cv, size_t n)
{
    return carve(cv, n * sizeof(float));
}

static void carve_worker(struct carver *cv, struct mag_imagine *im, struct worker *w)
{
    const struct nets *n = mag_nets(im->m);
    size_t N = im->d.N, rows = most(im->shard_max, FILTER_WINDOWS) * N;
    size_t ld = nets_pad(im->d.A);
    if (cv->a)
        w->nets = nets_work_carve(&n->d, cv->a);
    cv->bytes += (nets_work_bytes(&n->d) + 63) / 64 * 64;
    w->actor = carve_f(cv, rows * ld);
    w->avail = carve_f(cv, rows * ld);
    w->rm = carve_f(cv, rows * nets_pad(1));
    w->prior = carve_f(cv, rows * nets_latent_ld(&n->d));
    w->h = carve_f(cv, rows * im->d.D);
    w->index = carve(cv, rows * im->d.C);
    w->action = carve(cv, rows);
    w->u_latent = carve_f(cv, rows * im->d.C);
    w->u_avail = carve_f(cv, rows * im->d.A);
    w->u_act = carve_f(cv, rows);
    w->u_post = carve_f(cv, im->windows_global * N * im->d.C);
    w->e = carve_f(cv, FILTER_WINDOWS * N * im->d.D);
    w->obs = carve_f(cv, rows * nets_pad(im->d.O));
}

static void carve_all(struct carver *cv, struct mag_imagine *im)
{
    size_t S = im->starts_max, N = im->d.N, C = im->d.C, D = im->d.D, B = im->windows_max;
    im->worker = carve(cv, im->workers * sizeof(*im->worker));
    im->item = carve(cv, S * sizeof(*im->item));
    im->none = carve(cv, im->W * B);
    im->first_act = carve(cv, im->W * B * N);
    im->cand = carve(cv, im->L * S * N * C);
    im->scores = carve_f(cv, im->R * im->L * S);
    im->choice = carve(cv, im->R * S * sizeof(*im->choice));
    im->reward = carve_f(cv, im->R * S);
    im->cont = carve_f(cv, im->R * S * N);
    im->value = carve_f(cv, im->R * S * N);
    im->ret = carve_f(cv, im->R * S * N);
    im->last_index = carve(cv, S * N * C);
    im->last_h = carve_f(cv, S * N * D);
    for (int k = 0; k < 2; k++) {
        im->fig_index[k] = carve(cv, B * N * C);
        im->fig_h[k] = carve_f(cv, B * N * D);
    }
    im->fig_error = carve(cv, B * sizeof(*im->fig_error));
    im->ident = carve(cv, B * sizeof(*im->ident));
    struct worker spare;
    for (size_t k = 0; k < im->workers; k++)
        carve_worker(cv, im, cv->a ? &im->worker[k] : &spare);
}

static int check_sizes(const struct mag_imagine *im)
{
    size_t starts = (im->W - 2) * im->windows_global;
    if (im->R > 255 || im->L > 255 || im->H > 255 || starts >= (size_t)1 << START_BITS)
        return err_set(ERR_INVAL,
                       "imagination of %zu steps, %zu candidates, horizon %zu from %zu starts "
                       "exceeds the fields of the draw counter (255, 255, 255, 2^20)",
                       im->R, im->L, im->H, starts);
    return 0;
}

int mag_imagine_open(struct mag_imagine **out, const struct mag_model *m,
                     const struct mag_imagine_cfg *c, struct pool *pool)
{
    if (c->W < 3 || c->windows_max < 1 || c->cfg->imagine.steps < 2)
        return err_set(ERR_INVAL,
                       "imagination needs windows of at least 3 records and 2 steps");
    struct mag_imagine *im = calloc(1, sizeof(*im));
    if (!im)
        return ERR_NOMEM;
    im->m = m;
    im->cfg = *c->cfg;
    im->pool = pool;
    im->d = m->d;
    im->W = c->W;
    im->windows_max = c->windows_max;
    im->windows_global = most(c->windows_max, c->cfg->train.windows);
    im->R = c->cfg->imagine.steps;
    im->L = c->cfg->imagine.candidates;
    im->H = c->cfg->imagine.horizon;
    if (c->cfg->imagine.search == SEARCH_NONE || im->L == 0 || im->H == 0) {
        im->L = 1;
        im->H = 0;
    }
    im->starts_max = (im->W - 2) * im->windows_max;
    im->shard_max = NETS_BLOCK / im->d.N; /* at most 30 agents: at least 4 */
    im->workers = mag_threads(pool);
    int err = check_sizes(im);
    if (err)
        goto fail;
    struct carver count = {0};
    carve_all(&count, im);
    err = arena_init(&im->arena, count.bytes);
    if (err)
        goto fail;
    struct carver place = {.a = &im->arena};
    carve_all(&place, im);
    err = look_open(&im->look, m, &im->cfg);
    if (err)
        goto fail_arena;
    *out = im;
    return 0;

fail_arena:
    arena_fini(&im->arena);
fail:
    free(im);
    return err;
}

void mag_imagine_close(struct mag_imagine *im)
{
    if (!im)
        return;
    look_close(&im->look);
    arena_fini(&im->arena);
    free(im);
}

size_t mag_imagine_reserved(const struct mag_imagine *im)
{
    return im->arena.size + (im->look.precision.half ? im->look.arena.size : 0);
}

const struct mag_precision *mag_imagine_precision(const struct mag_imagine *im)
{
    return &im->look.precision;
}

/* ----------------------------------------------------------------------------------- tasks */

static struct span span_of(const struct call *c, size_t task, size_t i)
{
    size_t first = task * c->shard, P = least(c->shard, c->S - first);
    const struct mag_imagine *im = c->im;
    size_t N = im->d.N, C = im->d.C, D = im->d.D, at = (i * c->S + first) * N;
    bool last = i + 2 == im->R;
    struct span s = {
        .i = i,
        .first = first,
        .P = P,
        .index = c->out->index + at * C,
        .h = c->out->h + at * D,
        .h_next = last ? im->last_h + first * N * D : c->out->h + (at + c->S * N) * D,
        .index_next =
            last ? im->last_index + first * N * C : c->out->index + (at + c->S * N) * C,
        .action = c->out->action + at,
    };
    return s;
}

/* imagine.choice start: a shard runs alone through all steps. */
static void shard_task(void *arg, size_t task, size_t worker)
{
    const struct call *c = arg;
    for (size_t i = 0; i + 1 < c->im->R; i++) {
        struct span s = span_of(c, task, i);
        rollout_candidates(c, &c->im->worker[worker], &s);
        rollout_choose_start(c, &s);
        rollout_commit(c, &s);
    }
}

/* imagine.choice batch: the shards meet after every step. */
static void candidates_task(void *arg, size_t task, size_t worker)
{
    const struct call *c = arg;
    struct span s = span_of(c, task, c->step);
    rollout_candidates(c, &c->im->worker[worker], &s);
}
static void run_batch_wide(struct call *c)
{
    for (c->step = 0; c->step + 1 < c->im->R; c->step++) {
        pool_run(c->im->pool, candidates_task, c, c->tasks);
        rollout_choose_batch(c, c->step);
        for (size_t task = 0; task < c->tasks; task++) {
            struct span s = span_of(c, task, c->step);
            rollout_commit(c, &s);
        }
    }
}

/* Values and rewards afterwards, in blocks as full as the shards. */
static void evaluate_task(void *arg, size_t task, size_t worker)
{
    const struct call *c = arg;
    size_t first = task % c->tasks * c->shard, P = least(c->shard, c->S - first);
    rollout_evaluate(c, &c->im->worker[worker], task / c->tasks, first, P);
}

/* ---------------------------------------------------------------------------------- public */

static int check_call(const struct mag_imagine *im, const struct mag_windows *w,
                      const uint32_t *rows_global, size_t B_global)
{
    if (w->W != im->W || w->B < 1 || w->B > im->windows_max || B_global > im->windows_global)
        return err_set(ERR_INVAL,
                       "imagination was opened for at most %zu windows of %zu records out of "
                       "%zu, not %zu of %zu out of %zu",
                       im->windows_max, im->W, im->windows_global, w->B, w->W, B_global);
    for (size_t b = 0; b < w->B; b++)
        if (rows_global[b] >= B_global)
            return err_set(ERR_INVAL, "window %u of a batch of %zu", rows_global[b], B_global);
    if (im->cfg.imagine.choice == CHOICE_BATCH && im->H && w->B != B_global)
        return err_set(ERR_INVAL,
                       "imagine.choice batch needs the whole batch in one call: "
                       "%zu windows of %zu given",
                       w->B, B_global);
    return 0;
}

int mag_imagine_windows(struct mag_imagine *im, const struct mag_windows *w,
                        const uint32_t *rows_global, size_t B_global, const struct draws *draws,
                        uint64_t batch, struct mag_rows *out, struct mag_plan_stats *stats,
                        struct mag_trace *trace)
{
    int err = check_call(im, w, rows_global, B_global);
    if (err)
        return err;
    size_t T = im->W - 2, S = T * w->B; /* T start states of every window */
    if (out->S != S || out->steps != im->R - 1)
        return err_set(ERR_INVAL, "rows for %zu starts of %zu steps, not %zu of %zu", out->S,
                       out->steps, S, im->R - 1);
    struct call c = {.im = im,
                     .nets = mag_nets(im->m),
                     .look = look_nets(&im->look, im->m),
                     .draws = draws,
                     .dom = &train_domains,
                     .w = w,
                     .rows_global = rows_global,
                     .B_global = B_global,
                     .batch = batch,
                     .L = im->L,
                     .H = im->H,
                     .out = out,
                     .trace = trace,
                     .filter_T = T,
                     .filter_index = out->index,
                     .filter_h = out->h};
    rollout_cut(&c, S);
    for (size_t t = 0; t < T; t++)
        for (size_t b = 0; b < w->B; b++)
            im->item[t * w->B + b] = batch << START_BITS | (t * B_global + rows_global[b]);
    rollout_filter(&c);
    if (chooses_for_batch(&c))
        run_batch_wide(&c);
    else
        pool_run(im->pool, shard_task, &c, c.tasks);
    pool_run(im->pool, evaluate_task, &c, c.tasks * im->R);
    rollout_finish(&c, stats);
    return 0;
}
