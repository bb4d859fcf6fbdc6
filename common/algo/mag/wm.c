/* SPDX-License-Identifier: Apache-2.0 */
/* wm.c - memory of the world model's training and the pass without gradients.
 *
 * TASKS  The recurrence is cut by windows (attention mixes the agents of one window, time runs
 * inside a task), everything else by tokens. The cuts are constants of the sizes: a thread
 * count changes who computes, never what.
 *
 * INDEX  Slot t of `index` is what step t reads, slot t+1 what its posterior drew, so the list
 * of inputs [T][tokens] that weight gradients need is the array itself.
 *
 * Source: mag.md 5 and 7 of the specification. */
#include "wm.h"

#include "base/err.h"
#include "nn/categorical.h"

#include <string.h>

static size_t max_size(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* About a dozen tokens: enough rows for the product kernels, tasks enough for many cores. */
size_t wm_windows_per_task(const struct nets *n)
{
    return max_size(1, (12 + n->d.N - 1) / n->d.N);
}

/* ---------------------------------------------------------------------------------- memory */

static size_t scratch_floats(const struct nets *n, size_t B)
{
    size_t N = n->d.N, A = kern_pad(n->d.A);
    size_t recur = trans_scratch(n, wm_windows_per_task(n) * N);
    size_t mask = B * N * max_size(n->d.D, n->d.heads * N);
    size_t label = WM_ROWS * (2 * kern_pad(1) + 3 * A + n->d.D + kern_pad(n->d.O)) + n->d.C;
    return max_size(recur, max_size(mask, label));
}

static size_t piece(size_t bytes)
{
    return (bytes + 63) / 64 * 64 + 64;
}

static const enum net_head wm_heads[] = {HEAD_REWARD, HEAD_CONT, HEAD_AVAIL, HEAD_RM};
enum { WM_HEADS = sizeof wm_heads / sizeof *wm_heads };

/* The memory that heads use one after the other. */
static size_t heads_bytes(const struct nets *n, size_t rows)
{
    size_t most = head_tape_bytes(n, HEAD_DECODER, rows) + info_tape_bytes(n, rows) +
                  2 * piece(rows * kern_pad(n->d.O) * sizeof(float));
    for (size_t i = 0; i < WM_HEADS; i++)
        most = max_size(most, head_tape_bytes(n, wm_heads[i], rows));
    return piece(most + 4096);
}

size_t wm_bytes(const struct nets *n, size_t W, size_t B, size_t workers)
{
    size_t T = W - 1, tokens = B * n->d.N, steps = T * tokens, rows = (T - 1) * tokens;
    size_t D = n->d.D, C = n->d.C, ld = nets_latent_ld(&n->d), f = sizeof(float);
    size_t bytes = piece(sizeof(struct wm_work)) + piece(workers * sizeof(struct wm_worker));
    bytes += 2 * piece(steps * C) + 3 * piece(steps);    /* index, skip, action, cont */
    bytes += piece(rows * f) + 2 * piece(steps * D * f); /* real, h, d_h */
    bytes += 3 * piece(rows * ld * f);                   /* p, q, d_s */
    bytes += 2 * piece(rows * C * f);                    /* uniforms */
    bytes += (WM_TERMS + 1) * piece(rows * f);
    bytes += encoder_tape_bytes(n, rows) + 2 * prior_tape_bytes(n, rows) + 16 * 64;
    bytes += trans_tape_bytes(n, steps, true) + 64 * 64 + heads_bytes(n, rows);
    bytes += workers * (nets_work_bytes(&n->d) + piece(scratch_floats(n, B) * f));
    return bytes + 4096;
}

static void carve_heads(struct wm_work *wm, const struct nets *n, size_t rows, struct arena *a)
{
    size_t bytes = heads_bytes(n, rows), width = kern_pad(n->d.O);
    void *shared = arena_must(a, bytes);
    for (size_t i = 0; i < WM_HEADS; i++) {
        struct arena part = {.base = shared, .size = bytes};
        head_tape_carve(&wm->head[wm_heads[i]], n, wm_heads[i], rows, &part);
    }
    struct arena part = {.base = shared, .size = bytes};
    head_tape_carve(&wm->head[HEAD_DECODER], n, HEAD_DECODER, rows, &part);
    info_tape_carve(&wm->info, n, rows, &part);
    wm->pred = ARENA_NEW(&part, float, rows *width);
    wm->d_pred = ARENA_NEW(&part, float, rows *width);
}

struct wm_work *wm_carve(const struct nets *n, size_t W, size_t B, size_t workers,
                         struct arena *a)
{
    size_t T = W - 1, tokens = B * n->d.N, steps = T * tokens, rows = (T - 1) * tokens;
    size_t D = n->d.D, C = n->d.C, ld = nets_latent_ld(&n->d);
    struct wm_work *wm = ARENA_ZNEW(a, struct wm_work, 1);
    *wm = (struct wm_work){.W = W, .B_max = B, .workers = workers};
    wm->index = ARENA_ZNEW(a, uint8_t, steps * C);
    wm->prior_index = ARENA_ZNEW(a, uint8_t, steps * C);
    wm->skip = ARENA_NEW(a, uint8_t, steps);
    wm->action = ARENA_NEW(a, uint8_t, steps);
    wm->cont = ARENA_NEW(a, uint8_t, steps);
    wm->real = ARENA_NEW(a, float, rows);
    wm->h = ARENA_NEW(a, float, steps *D);
    wm->d_h = ARENA_NEW(a, float, steps *D);
    wm->p = ARENA_NEW(a, float, rows *ld);
    wm->q = ARENA_NEW(a, float, rows *ld);
    wm->d_s = ARENA_NEW(a, float, rows *ld);
    wm->u_post = ARENA_NEW(a, float, rows *C);
    wm->u_prior = ARENA_NEW(a, float, rows *C);
    for (int i = 0; i < WM_TERMS; i++)
        wm->value[i] = ARENA_NEW(a, float, rows);
    wm->label = ARENA_NEW(a, float, rows);
    encoder_tape_carve(&wm->enc, n, rows, a);
    prior_tape_carve(&wm->post, n, rows, a);
    prior_tape_carve(&wm->prior, n, rows, a);
    trans_tape_carve(&wm->trans, n, steps, true, a);
    carve_heads(wm, n, rows, a);
    wm->worker = ARENA_NEW(a, struct wm_worker, workers);
    for (size_t i = 0; i < workers; i++) {
        wm->worker[i].nets = nets_work_carve(&n->d, a);
        wm->worker[i].scratch = ARENA_NEW(a, float, scratch_floats(n, B));
    }
    return wm;
}

/* ----------------------------------------------------------------------------------- batch */

/* Flags per token, from flags per joint record. */
static void spread_flags(struct wm_work *wm, const struct nets *n, bool zero_first_action)
{
    const struct mag_batch *b = &wm->batch;
    size_t N = n->d.N;
    memset(wm->skip, 1, wm->tokens); /* before step 0 there is nothing */
    memcpy(wm->action, b->action, wm->steps);
    for (size_t t = 0; t < wm->T; t++) {
        for (size_t w = 0; w < wm->B; w++) {
            size_t at = (t * wm->B + w) * N, joint = t * wm->B + w;
            bool ended = t > 0 && b->last[joint - wm->B];
            if (t > 0)
                memset(wm->skip + at, ended, N);
            /* Record k's own flag says whether step 0 opens an episode. */
            if (zero_first_action && (t > 0 ? ended : wm->windows->last[w] != 0))
                memset(wm->action + at, NETS_NO_ACTION, N);
            if (t + 1 == wm->T)
                continue;
            for (size_t i = 0; i < N; i++) {
                wm->cont[at + i] = b->done && !b->done[joint + wm->B];
                wm->real[at + i] = b->fake && b->fake[joint] ? 0 : 1;
            }
        }
    }
}

int wm_begin(struct wm_work *wm, const struct nets *n, const struct mag_windows *w,
             bool zero_first_action)
{
    if (w->W != wm->W || w->B == 0 || w->B > wm->B_max)
        return err_set(ERR_INVAL, "batch of %zu windows of %zu records, opened for %zu of %zu",
                       w->B, w->W, wm->B_max, wm->W);
    struct mag_dims d = {.N = n->d.N, .O = n->d.O, .A = n->d.A};
    wm->windows = w;
    mag_align(&wm->batch, w, &d);
    wm->T = wm->batch.T;
    wm->B = w->B;
    wm->tokens = w->B * n->d.N;
    wm->steps = wm->T * wm->tokens;
    wm->rows = wm->steps - wm->tokens;
    spread_flags(wm, n, zero_first_action);
    return 0;
}

/* ----------------------------------------------------------------------------------- draws */

struct draw_call {
    const struct draws *draws;
    enum draw_domain domain;
    uint64_t item;
    uint32_t sub0;
    float *u;
    size_t n; /* per step */
};

static void draw_task(void *arg, size_t t, size_t worker)
{
    const struct draw_call *c = arg;
    (void)worker;
    draws_fill(c->draws, c->domain, c->item, c->sub0 + (uint32_t)t, c->u + t * c->n, c->n);
}

void wm_draw(struct wm_work *wm, const struct nets *n, struct pool *pool,
             const struct draws *draws, enum draw_domain domain, uint64_t item, uint32_t sub0,
             float *u)
{
    struct draw_call c = {draws, domain, item, sub0, u, wm->tokens * n->d.C};
    pool_run(pool, draw_task, &c, wm->T - 1);
}

/* -------------------------------------------------------------------- pass without gradients */

struct pass_call {
    struct wm_work *wm;
    const struct nets *n;
    bool sample;
};

static void encode_task(void *arg, size_t task, size_t worker)
{
    const struct pass_call *c = arg;
    struct wm_work *wm = c->wm;
    size_t row = task * WM_ROWS;
    size_t M = wm->rows - row < WM_ROWS ? wm->rows - row : WM_ROWS;
    nets_encoder(c->n, wm->worker[worker].nets, wm->enc.y[3] + row * c->n->d.D,
                 wm->batch.obs + row * c->n->d.O, M);
}

static void filter_task(void *arg, size_t task, size_t worker)
{
    const struct pass_call *c = arg;
    struct wm_work *wm = c->wm;
    const struct nets *n = c->n;
    struct nets_work *work = wm->worker[worker].nets;
    size_t N = n->d.N, D = n->d.D, C = n->d.C, K = n->d.K, ld = nets_latent_ld(&n->d);
    size_t per = wm_windows_per_task(n), b = task * per;
    size_t G = wm->B - b < per ? wm->B - b : per, M = G * N;
    uint8_t none[32]; /* per <= 12 windows */

    for (size_t t = 0; t < wm->T; t++) {
        size_t r = t * wm->tokens + b * N;
        for (size_t g = 0; g < G; g++)
            none[g] = wm->skip[r + g * N];
        const float *prev = t ? wm->h + (r - wm->tokens) * D : wm->h;
        nets_transition(n, work, wm->h + r * D, wm->index + r * C, wm->action + r, prev, none,
                        G);
        if (t + 1 == wm->T)
            break;
        float *p = wm->p + r * ld;
        nets_posterior(n, work, p, wm->h + r * D, wm->enc.y[3] + r * D, M);
        categorical_softmax(n->kern, p, p, M, C, K, ld);
        categorical_sample(n->kern, wm->index + (r + wm->tokens) * C, p, wm->u_post + r * C, M,
                           C, K, ld);
    }
}

void wm_filter(struct wm_work *wm, const struct nets *n, struct pool *pool)
{
    struct pass_call c = {wm, n, false};
    size_t per = wm_windows_per_task(n);
    pool_run(pool, encode_task, &c, (wm->rows + WM_ROWS - 1) / WM_ROWS);
    pool_run(pool, filter_task, &c, (wm->B + per - 1) / per);
}

static void prior_task(void *arg, size_t task, size_t worker)
{
    const struct pass_call *c = arg;
    struct wm_work *wm = c->wm;
    const struct nets *n = c->n;
    size_t C = n->d.C, K = n->d.K, ld = nets_latent_ld(&n->d), r = task * WM_ROWS;
    size_t M = wm->rows - r < WM_ROWS ? wm->rows - r : WM_ROWS;
    float *q = wm->q + r * ld;

    nets_prior(n, wm->worker[worker].nets, q, wm->h + r * n->d.D, M);
    categorical_softmax(n->kern, q, q, M, C, K, ld);
    if (c->sample)
        categorical_sample(n->kern, wm->prior_index + r * C, q, wm->u_prior + r * C, M, C, K,
                           ld);
}

void wm_priors(struct wm_work *wm, const struct nets *n, struct pool *pool, bool sample)
{
    struct pass_call c = {wm, n, sample};
    pool_run(pool, prior_task, &c, (wm->rows + WM_ROWS - 1) / WM_ROWS);
}
