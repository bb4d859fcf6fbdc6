/* SPDX-License-Identifier: Apache-2.0 */
/* train_model.c - one gradient of the world model (mag.md 5, 6, 12 of the specification).
 *
 * THE LOSS  Averages over all (T-1)*B*N tokens, all coefficients 1:
 *   kl    mean over categoricals of 0.2 KL(post || sg prior) + 0.8 KL(sg post || prior)
 *   rec   smooth-L1 of the decoded observation at phi_t = [s_t ; h_t], summed over O, real
 *         records only but divided by all tokens
 *   rew   smooth-L1 of the reward at psi_t = [s_t ; h_{t+1}] against rew_{t+1}
 *   cont  Bernoulli of 1 - done_{t+1} at psi_t
 *   avl   Bernoulli of every availability bit at phi_t, summed over A
 *   dis   cross-entropy of reading act_t back from the decoder's hidden vector, t >= 1, real
 *         records only, divided by the (T-2)*B*N tokens of t >= 1
 *
 * PHASES  encoder (tokens) -> recurrence forward (windows) -> prior and KL, then head by head:
 * forward, loss, backward into d_s and d_h, weight gradients (tokens) -> recurrence backward
 * (windows) -> encoder backward (tokens) -> weight gradients of all the rest. A psi head adds to
 * d_h of the next step, a phi head to its own: each runs in a phase of its own, so that no two
 * tasks write one row.
 *
 * GRADIENT OF s_t  The one-hot columns receive from decoder and availability (phi_t), reward and
 * continuation (psi_t) and the transition's input at t+1 unless the episode ended at t; the sum
 * becomes the posterior's logit gradient by p * (g - <g, p>). */
#include "mag_priv.h"
#include "wm.h"

#include "nn/categorical.h"
#include "nn/loss.h"

#include <math.h>
#include <string.h>

struct model_call {
    struct wm_work *wm;
    const struct nets *n;
    struct pool *pool;
    const struct draws *draws;
    uint64_t step;
    float rate; /* dropout, 0 = none */
    float *grad;
    enum net_head which;
};

/* Tokens of a task: rows [*r, *r + return value). */
static size_t token_range(const struct wm_work *wm, size_t task, size_t *r)
{
    *r = task * WM_ROWS;
    return wm->rows - *r < WM_ROWS ? wm->rows - *r : WM_ROWS;
}

static void run_tokens(const struct model_call *c, pool_fn *fn)
{
    struct model_call copy = *c;
    pool_run(c->pool, fn, &copy, (c->wm->rows + WM_ROWS - 1) / WM_ROWS);
}

static void run_windows(const struct model_call *c, pool_fn *fn)
{
    struct model_call copy = *c;
    size_t per = wm_windows_per_task(c->n);
    pool_run(c->pool, fn, &copy, (c->wm->B + per - 1) / per);
}

/* --------------------------------------------------------------------------------- dropout */

/* One task per (t, layer, site): the mask of all windows. */
static void mask_task(void *arg, size_t task, size_t worker)
{
    const struct model_call *c = arg;
    struct wm_work *wm = c->wm;
    const struct attention *a = &c->n->trans_attn;
    size_t site = task % ATTENTION_SITES, layer = task / ATTENTION_SITES % a->layers;
    size_t t = task / ATTENTION_SITES / a->layers;
    size_t n = site == DROP_ATTN ? wm->B * a->heads * a->N * a->N : wm->tokens * a->D;
    float *u = wm->worker[worker].scratch;

    draws_fill(c->draws, DRAW_DROPOUT, c->step, (uint32_t)((layer * 4 + site) << 16 | t), u, n);
    attention_mask(c->n->kern, a, &wm->trans.attn, layer, (enum drop_site)site, t * wm->tokens,
                   wm->tokens, u, c->rate);
}

static void draw_masks(const struct model_call *c)
{
    struct attention_tape *tape = &c->wm->trans.attn;
    tape->drop = c->rate > 0;
    if (!tape->drop)
        return;
    tape->keep = 1 / (1 - c->rate);
    struct model_call copy = *c;
    pool_run(c->pool, mask_task, &copy, c->wm->T * c->n->trans_attn.layers * ATTENTION_SITES);
}

/* ----------------------------------------------------------------------- forward in time */

static void encode_task(void *arg, size_t task, size_t worker)
{
    const struct model_call *c = arg;
    size_t r, M = token_range(c->wm, task, &r);
    (void)worker;
    encoder_forward(c->n, &c->wm->enc, c->wm->batch.obs + r * c->n->d.O, r, M);
}

static void forward_task(void *arg, size_t task, size_t worker)
{
    const struct model_call *c = arg;
    struct wm_work *wm = c->wm;
    const struct nets *n = c->n;
    size_t N = n->d.N, D = n->d.D, C = n->d.C, K = n->d.K, ld = nets_latent_ld(&n->d);
    size_t per = wm_windows_per_task(n), b = task * per;
    size_t M = (wm->B - b < per ? wm->B - b : per) * N;

    for (size_t t = 0; t < wm->T; t++) {
        size_t r = t * wm->tokens + b * N;
        trans_forward(n, &wm->trans, wm->h + r * D, wm->index + r * C, wm->skip + r,
                      wm->action + r, t ? wm->h + (r - wm->tokens) * D : NULL, r, M,
                      wm->worker[worker].scratch);
        if (t + 1 == wm->T)
            break;
        posterior_forward(n, &wm->post, wm->h + r * D, wm->enc.y[3] + r * D, r, M);
        categorical_softmax(n->kern, wm->p + r * ld, wm->post.y[1] + r * ld, M, C, K, ld);
        categorical_sample(n->kern, wm->index + (r + wm->tokens) * C, wm->p + r * ld,
                           wm->u_post + r * C, M, C, K, ld);
    }
}

/* ------------------------------------------------------------------------- prior and heads */

static void kl_task(void *arg, size_t task, size_t worker)
{
    const struct model_call *c = arg;
    struct wm_work *wm = c->wm;
    const struct nets *n = c->n;
    size_t D = n->d.D, C = n->d.C, K = n->d.K, ld = nets_latent_ld(&n->d);
    size_t r, M = token_range(wm, task, &r);
    float *q = wm->q + r * ld, *d_post = wm->post.d[1] + r * ld;
    float *d_prior = wm->prior.d[1] + r * ld;
    const float *p = wm->p + r * ld;

    prior_forward(n, &wm->prior, wm->h + r * D, r, M);
    categorical_softmax(n->kern, q, wm->prior.y[1] + r * ld, M, C, K, ld);
    categorical_kl(n->kern, wm->value[WM_KL] + r, p, q, M, C, K, ld,
                   wm->worker[worker].scratch);
    memset(d_post, 0, M * ld * sizeof(float));
    memset(d_prior, 0, M * ld * sizeof(float));
    categorical_kl_backward(n->kern, d_post, d_prior, p, q, 1 / (float)wm->rows, M, C, K, ld);
    prior_backward(n, &wm->prior, wm->d_h + r * D, r, M);
}

/* Reward, continuation and availability: one head with its loss. */
static void head_task(void *arg, size_t task, size_t worker)
{
    const struct model_call *c = arg;
    struct wm_work *wm = c->wm;
    const struct nets *n = c->n;
    const struct kern *k = n->kern;
    struct mlp_tape *tape = &wm->head[c->which];
    size_t D = n->d.D, ld = nets_head_ld(n, c->which), last = tape->depth - 1;
    size_t r, M = token_range(wm, task, &r);
    size_t at = c->which == HEAD_AVAIL ? r : r + wm->tokens; /* row of h: phi or psi */
    const uint8_t *s = wm->index + (r + wm->tokens) * n->d.C;
    float scale = 1 / (float)wm->rows;
    (void)worker;

    head_forward(n, c->which, tape, s, wm->h + at * D, r, M);
    const float *y = tape->y[last] + r * ld;
    float *d = tape->d[last] + r * ld;
    memset(d, 0, M * ld * sizeof(float));
    if (c->which == HEAD_REWARD)
        loss_smooth_l1(k, wm->value[WM_REW] + r, d, ld, y, ld,
                       wm->batch.reward + wm->tokens + r, 1, NULL, scale, M, 1);
    else if (c->which == HEAD_CONT)
        loss_bernoulli(k, wm->value[WM_CONT] + r, d, ld, y, ld, wm->cont + r, 1, NULL, scale, M,
                       1);
    else
        loss_bernoulli(k, wm->value[WM_AVL] + r, d, ld, y, ld, wm->batch.avail + r * n->d.A,
                       n->d.A, NULL, scale, M, n->d.A);
    head_backward(n, c->which, tape, wm->d_s + r * nets_latent_ld(&n->d), wm->d_h + at * D, r,
                  M);
}

static void run_head(struct model_call *c, enum net_head which)
{
    struct wm_work *wm = c->wm;
    size_t shift = which == HEAD_AVAIL ? 0 : wm->tokens;
    struct dw_job jobs[MLP_JOBS];
    c->which = which;
    run_tokens(c, head_task);
    size_t count =
        head_jobs(jobs, c->n, which, &wm->head[which], wm->index + wm->tokens * c->n->d.C,
                  wm->h + shift * c->n->d.D, wm->rows);
    dw_run(c->n->kern, c->pool, c->grad, true, jobs, count);
}

/* Action information for the tokens of a task with t >= 1: loss, and its gradient into d_z. */
static void info_part(const struct model_call *c, size_t r, size_t M, float *scratch)
{
    struct wm_work *wm = c->wm;
    const struct nets *n = c->n;
    size_t D = n->d.D, ld = kern_pad(n->d.A), end = r + M;
    struct mlp_tape *trunk = &wm->head[HEAD_DECODER];

    if (r < wm->tokens) { /* t = 0 has no term */
        size_t skip = end < wm->tokens ? M : wm->tokens - r;
        memset(wm->value[WM_DIS] + r, 0, skip * sizeof(float));
        r += skip;
        M -= skip;
    }
    if (M == 0)
        return;
    info_forward(n, &wm->info, trunk->y[2] + r * D, r, M);
    float *d = wm->info.d[2] + r * ld;
    memset(d, 0, M * ld * sizeof(float));
    loss_cross_entropy(n->kern, wm->value[WM_DIS] + r, d, ld, wm->info.y[2] + r * ld, ld,
                       wm->batch.action + r, wm->real + r, 1 / (float)(wm->rows - wm->tokens),
                       M, n->d.A, scratch);
    info_backward(n, &wm->info, trunk->d[2] + r * D, r, M);
}

static void decoder_task(void *arg, size_t task, size_t worker)
{
    const struct model_call *c = arg;
    struct wm_work *wm = c->wm;
    const struct nets *n = c->n;
    const struct kern *k = n->kern;
    struct mlp_tape *trunk = &wm->head[HEAD_DECODER];
    size_t D = n->d.D, O = n->d.O, ld = kern_pad(O);
    size_t r, M = token_range(wm, task, &r);

    head_forward(n, HEAD_DECODER, trunk, wm->index + (r + wm->tokens) * n->d.C, wm->h + r * D,
                 r, M);
    float *d = wm->d_pred + r * ld, *d_z = trunk->d[2] + r * D;
    linear_forward(k, &n->decoder_out, wm->pred + r * ld, ld, trunk->y[2] + r * D, D, M);
    memset(d, 0, M * ld * sizeof(float));
    loss_smooth_l1(k, wm->value[WM_REC] + r, d, ld, wm->pred + r * ld, ld,
                   wm->batch.obs + r * O, O, wm->real + r, 1 / (float)wm->rows, M, O);
    linear_backward_input(k, &n->decoder_out, d_z, D, d, ld, M, false);
    info_part(c, r, M, wm->worker[worker].scratch);
    head_backward(n, HEAD_DECODER, trunk, wm->d_s + r * nets_latent_ld(&n->d), wm->d_h + r * D,
                  r, M);
}

static void run_decoder(struct model_call *c)
{
    struct wm_work *wm = c->wm;
    const struct nets *n = c->n;
    struct mlp_tape *trunk = &wm->head[HEAD_DECODER];
    struct dw_job jobs[3 * MLP_JOBS];
    run_tokens(c, decoder_task);
    size_t count = head_jobs(jobs, n, HEAD_DECODER, trunk, wm->index + wm->tokens * n->d.C,
                             wm->h, wm->rows);
    jobs[count++] = (struct dw_job){.kind = DW_LINEAR,
                                    .linear = &n->decoder_out,
                                    .x = trunk->y[2],
                                    .ldx = n->d.D,
                                    .dy = wm->d_pred,
                                    .ldy = kern_pad(n->d.O),
                                    .rows = wm->rows};
    size_t info = count;
    count += info_jobs(jobs + count, n, &wm->info, trunk->y[2], wm->rows);
    for (size_t i = info; i < count; i++) { /* from t = 1 on */
        jobs[i].x += wm->tokens * jobs[i].ldx;
        jobs[i].dy += wm->tokens * jobs[i].ldy;
        jobs[i].rows -= wm->tokens;
    }
    dw_run(n->kern, c->pool, c->grad, true, jobs, count);
}

/* ------------------------------------------------------------------------ backward in time */

static void backward_task(void *arg, size_t task, size_t worker)
{
    const struct model_call *c = arg;
    struct wm_work *wm = c->wm;
    const struct nets *n = c->n;
    size_t N = n->d.N, D = n->d.D, ld = nets_latent_ld(&n->d);
    size_t per = wm_windows_per_task(n), b = task * per;
    size_t M = (wm->B - b < per ? wm->B - b : per) * N;

    for (size_t t = wm->T; t-- > 0;) {
        size_t r = t * wm->tokens + b * N;
        if (t + 1 < wm->T) {
            categorical_backward(n->kern, wm->post.d[1] + r * ld, wm->p + r * ld,
                                 wm->d_s + r * ld, M, n->d.C, n->d.K, ld);
            posterior_backward(n, &wm->post, wm->d_h + r * D, wm->enc.d[3] + r * D, r, M);
        }
        size_t before = r - wm->tokens;
        trans_backward(n, &wm->trans, t ? wm->d_s + before * ld : NULL,
                       t ? wm->d_h + before * D : NULL, wm->skip + r, wm->d_h + r * D, r, M,
                       wm->worker[worker].scratch);
    }
}

static void encode_backward_task(void *arg, size_t task, size_t worker)
{
    const struct model_call *c = arg;
    size_t r, M = token_range(c->wm, task, &r);
    (void)worker;
    encoder_backward(c->n, &c->wm->enc, r, M);
}

static void weight_gradients(const struct model_call *c)
{
    struct wm_work *wm = c->wm;
    const struct nets *n = c->n;
    struct dw_job jobs[TRANS_JOBS + 3 * MLP_JOBS];
    size_t count = encoder_jobs(jobs, n, &wm->enc, wm->batch.obs, wm->rows);
    count +=
        trans_jobs(jobs + count, n, &wm->trans, wm->index, wm->skip, wm->action, wm->steps);
    count += posterior_jobs(jobs + count, n, &wm->post, wm->h, wm->enc.y[3], wm->rows);
    count += prior_jobs(jobs + count, n, &wm->prior, wm->h, wm->rows);
    dw_run(n->kern, c->pool, c->grad, true, jobs, count);
}

/* -------------------------------------------------------------------------------- the step */

/* Means of the per-token values, in double, ascending. */
static void sum_losses(struct wm_work *wm, const struct nets *n, struct mag_model_stats *out)
{
    const struct kern *k = n->kern;
    double rows = (double)wm->rows;
    for (size_t i = 0; i < wm->rows; i++) { /* the gradient had these weights already */
        wm->value[WM_REC][i] *= wm->real[i];
        wm->value[WM_DIS][i] *= wm->real[i];
    }
    out->kl = k->dsum(wm->value[WM_KL], wm->rows) / rows;
    out->rec = k->dsum(wm->value[WM_REC], wm->rows) / rows;
    out->reward = k->dsum(wm->value[WM_REW], wm->rows) / rows;
    out->cont = k->dsum(wm->value[WM_CONT], wm->rows) / rows;
    out->avail = k->dsum(wm->value[WM_AVL], wm->rows) / rows;
    out->action_info = k->dsum(wm->value[WM_DIS] + wm->tokens, wm->rows - wm->tokens) /
                       (rows - (double)wm->tokens);
    out->total = out->kl + out->rec + out->reward + out->cont + out->avail + out->action_info;
}

static int model_gradient(struct mag_train *t, const struct mag_windows *w,
                          const struct draws *draws, uint64_t step, float rate, float *grad,
                          struct mag_model_stats *out)
{
    struct wm_work *wm = t->wm;
    const struct nets *n = &t->nets;
    struct model_call c = {.wm = wm,
                           .n = n,
                           .pool = t->pool,
                           .draws = draws,
                           .step = step,
                           .rate = rate,
                           .grad = grad};
    int err = wm_begin(wm, n, w, t->cfg.train.zero_first_action);
    if (err)
        return err;
    wm_draw(wm, n, t->pool, draws, DRAW_POST_MODEL, step, 0, wm->u_post);
    draw_masks(&c);
    run_tokens(&c, encode_task);
    run_windows(&c, forward_task);

    memset(wm->d_h, 0, wm->steps * n->d.D * sizeof(float));
    memset(wm->d_s, 0, wm->rows * nets_latent_ld(&n->d) * sizeof(float));
    run_tokens(&c, kl_task);
    run_head(&c, HEAD_REWARD);
    run_head(&c, HEAD_CONT);
    run_head(&c, HEAD_AVAIL);
    run_decoder(&c);
    run_windows(&c, backward_task);
    run_tokens(&c, encode_backward_task);
    weight_gradients(&c);

    *out = (struct mag_model_stats){0};
    sum_losses(wm, n, out);
    return 0;
}

int mag_model_step(struct mag_train *t, const struct mag_windows *w, const struct draws *draws,
                   uint64_t step, struct mag_model_stats *out)
{
    int err = model_gradient(t, w, draws, step, (float)t->cfg.train.dropout, t->grad, out);
    if (err)
        return err;
    mag_opt_step(t, OPT_MODEL, out->total, t->cfg.lr.model, t->cfg.train.clip_model, 0,
                 &out->grad_norm, &out->skipped);
    return 0;
}

int mag_model_gradient(struct mag_train *t, const struct mag_windows *w,
                       const struct draws *draws, uint64_t step, bool dropout, float *grad,
                       struct mag_model_stats *out)
{
    const struct params *p = &t->m->params;
    memset(grad, 0, p->count * sizeof(float));
    int err =
        model_gradient(t, w, draws, step, dropout ? (float)t->cfg.train.dropout : 0, grad, out);
    if (err)
        return err;
    out->grad_norm = sqrt(t->m->kern->dsumsq(grad, p->count));
    out->skipped = !isfinite(out->total) || !isfinite(out->grad_norm);
    return 0;
}
