/* SPDX-License-Identifier: Apache-2.0 */
/* train_rm.c - R_m, the network that predicts the world model's own error (mag.md 7).
 *
 * LABEL  Per token of steps 0..T-2, from one stochastic pass without dropout or gradient: the KL
 * plus the terms of the model loss that are switched on, each as that token's own value.
 * Reconstruction is the mean over O; with rm.rec = code it is divided by the number of tokens
 * of the batch as well, which is what the authors' program does (nearly nothing is left).
 * INPUT  The prior sample with h: in planning only priors exist. With rm.passes = 2 it comes
 * from a second, independent pass over the same windows, as in the authors' program; with one
 * pass every label belongs to the very state it is paired with.
 * LOSS  smooth-L1, mean over all tokens. No clipping, no weight decay.
 *
 * METRICS  mag_rm_score and mag_reward_score with METRIC draws change no weight and use no draw
 * that training uses; a second pass has its steps offset by METRIC_SECOND. */
#include "mag_priv.h"
#include "wm.h"

#include "nn/categorical.h"
#include "nn/loss.h"

#include <math.h>
#include <string.h>

enum { METRIC_SECOND = 1 << 16 }; /* added to sub = t */

struct rm_call {
    struct wm_work *wm;
    const struct nets *n;     /* inference: labels */
    const struct nets *train; /* R_m itself */
    const struct config *cfg;
    float *label; /* [T-1][tokens] */
    float *pred;  /* the same shape, NULL = not wanted */
    bool backward;
};

/* The draws of a score: which domains, and where the second pass finds its own. */
struct rm_draws {
    const struct draws *draws;
    uint64_t item;
    enum draw_domain post[2], prior[2]; /* pass 1, pass 2 */
    uint32_t sub0[2];
};

static struct rm_draws rm_draws_of(const struct draws *draws, uint64_t step, bool metric)
{
    if (metric)
        return (struct rm_draws){draws,
                                 step,
                                 {DRAW_METRIC_POST, DRAW_METRIC_POST},
                                 {DRAW_METRIC_PRIOR, DRAW_METRIC_PRIOR},
                                 {0, METRIC_SECOND}};
    return (struct rm_draws){
        draws, step, {DRAW_POST_RM, DRAW_POST_RM2}, {DRAW_PRIOR_RM, DRAW_PRIOR_RM2}, {0, 0}};
}

static size_t token_range(const struct wm_work *wm, size_t task, size_t *r)
{
    *r = task * WM_ROWS;
    return wm->rows - *r < WM_ROWS ? wm->rows - *r : WM_ROWS;
}

static void run_tokens(const struct rm_call *c, struct pool *pool, pool_fn *fn)
{
    struct rm_call copy = *c;
    pool_run(pool, fn, &copy, (c->wm->rows + WM_ROWS - 1) / WM_ROWS);
}

/* ----------------------------------------------------------------------------------- label */

/* Reconstruction and action information, which share the decoder's trunk. */
static void decoder_terms(const struct rm_call *c, struct nets_work *work, float *scratch,
                          size_t r, size_t M)
{
    struct wm_work *wm = c->wm;
    const struct nets *n = c->n;
    const struct kern *k = n->kern;
    size_t D = n->d.D, O = n->d.O, A = n->d.A, ldo = kern_pad(O), lda = kern_pad(A);
    const uint8_t *s = wm->index + (r + wm->tokens) * n->d.C;
    float *z = scratch, *obs = z + WM_ROWS * D, *info = obs + WM_ROWS * ldo;
    float *rec = wm->value[WM_REC] + r, *dis = wm->value[WM_DIS] + r;

    nets_one_head(n, work, z, HEAD_DECODER, s, wm->h + r * D, M);
    if (c->cfg->rm.rec != REC_OFF) {
        float scale = 1 / (float)O;
        if (c->cfg->rm.rec == REC_CODE)
            scale /= (float)wm->rows;
        nets_decode(n, obs, z, M);
        loss_smooth_l1(k, rec, NULL, 0, obs, ldo, wm->batch.obs + r * O, O, NULL, 1, M, O);
        for (size_t i = 0; i < M; i++)
            c->label[r + i] += rec[i] * wm->real[r + i] * scale;
    }
    if (c->cfg->rm.action_info) {
        nets_action_info(n, work, info, z, M);
        loss_cross_entropy(k, dis, NULL, 0, info, lda, wm->batch.action + r, NULL, 1, M, A,
                           info + WM_ROWS * lda);
        for (size_t i = 0; i < M; i++)
            if (r + i >= wm->tokens) /* t = 0 has none */
                c->label[r + i] += dis[i] * wm->real[r + i];
    }
}

static void label_task(void *arg, size_t task, size_t worker)
{
    const struct rm_call *c = arg;
    struct wm_work *wm = c->wm;
    const struct nets *n = c->n;
    const struct kern *k = n->kern;
    struct nets_work *work = wm->worker[worker].nets;
    size_t D = n->d.D, C = n->d.C, A = n->d.A, ld = nets_latent_ld(&n->d);
    size_t ld1 = kern_pad(1), lda = kern_pad(A);
    size_t r, M = token_range(wm, task, &r);
    const uint8_t *s = wm->index + (r + wm->tokens) * C;
    const float *phi_h = wm->h + r * D, *psi_h = wm->h + (r + wm->tokens) * D;
    float *y = wm->worker[worker].scratch, *label = c->label + r;

    categorical_kl(k, label, wm->p + r * ld, wm->q + r * ld, M, C, n->d.K, ld, y);
    decoder_terms(c, work, y, r, M);
    if (c->cfg->rm.reward) {
        nets_one_head(n, work, y, HEAD_REWARD, s, psi_h, M);
        loss_smooth_l1(k, wm->value[WM_REW] + r, NULL, 0, y, ld1,
                       wm->batch.reward + wm->tokens + r, 1, NULL, 1, M, 1);
        k->add(label, wm->value[WM_REW] + r, M);
    }
    if (c->cfg->rm.avail) {
        nets_one_head(n, work, y, HEAD_AVAIL, s, phi_h, M);
        loss_bernoulli(k, wm->value[WM_AVL] + r, NULL, 0, y, lda, wm->batch.avail + r * A, A,
                       NULL, 1, M, A);
        k->add(label, wm->value[WM_AVL] + r, M);
    }
    if (c->cfg->rm.cont) {
        nets_one_head(n, work, y, HEAD_CONT, s, psi_h, M);
        loss_bernoulli(k, wm->value[WM_CONT] + r, NULL, 0, y, ld1, wm->cont + r, 1, NULL, 1, M,
                       1);
        k->add(label, wm->value[WM_CONT] + r, M);
    }
}

/* --------------------------------------------------------------------------------- R_m itself */

static void predict_task(void *arg, size_t task, size_t worker)
{
    const struct rm_call *c = arg;
    struct wm_work *wm = c->wm;
    const struct nets *n = c->train;
    struct mlp_tape *tape = &wm->head[HEAD_RM];
    size_t ld = kern_pad(1), last = tape->depth - 1;
    size_t r, M = token_range(wm, task, &r);
    (void)worker;

    head_forward(n, HEAD_RM, tape, wm->prior_index + r * n->d.C, wm->h + r * n->d.D, r, M);
    const float *y = tape->y[last] + r * ld;
    float *d = tape->d[last] + r * ld;
    memset(d, 0, M * ld * sizeof(float));
    loss_smooth_l1(n->kern, wm->value[WM_KL] + r, d, ld, y, ld, c->label + r, 1, NULL,
                   1 / (float)wm->rows, M, 1);
    if (c->pred)
        for (size_t i = 0; i < M; i++)
            c->pred[r + i] = y[i * ld];
    if (c->backward)
        head_backward(n, HEAD_RM, tape, NULL, NULL, r, M);
}

/* One pass: posterior draws, recurrence, priors; a prior sample where it is R_m's input. */
static void rm_pass(struct mag_train *t, const struct rm_draws *rd, int pass, bool sample)
{
    struct wm_work *wm = t->wm;
    const struct nets *n = mag_nets(t->m);
    wm_draw(wm, n, t->pool, rd->draws, rd->post[pass], rd->item, rd->sub0[pass], wm->u_post);
    if (sample)
        wm_draw(wm, n, t->pool, rd->draws, rd->prior[pass], rd->item, rd->sub0[pass],
                wm->u_prior);
    wm_filter(wm, n, t->pool);
    wm_priors(wm, n, t->pool, sample);
}

/* Labels into wm->label, predictions and, if grad is given, R_m's gradient added to it. */
static int rm_pair(struct mag_train *t, const struct mag_windows *w, const struct rm_draws *rd,
                   float *pred, float *grad, double *loss)
{
    struct wm_work *wm = t->wm;
    const struct nets *n = mag_nets(t->m);
    struct rm_call c = {.wm = wm,
                        .n = n,
                        .train = &t->nets,
                        .cfg = &t->cfg,
                        .label = wm->label,
                        .pred = pred,
                        .backward = grad != NULL};
    bool two = t->cfg.rm.passes == 2;
    int err = wm_begin(wm, n, w, t->cfg.train.zero_first_action);
    if (err)
        return err;
    rm_pass(t, rd, 0, !two);
    run_tokens(&c, t->pool, label_task);
    if (two)
        rm_pass(t, rd, 1, true);
    run_tokens(&c, t->pool, predict_task);
    *loss = n->kern->dsum(wm->value[WM_KL], wm->rows) / (double)wm->rows;
    if (grad) {
        struct dw_job jobs[MLP_JOBS];
        size_t count = head_jobs(jobs, &t->nets, HEAD_RM, &wm->head[HEAD_RM], wm->prior_index,
                                 wm->h, wm->rows);
        dw_run(n->kern, t->pool, grad, true, jobs, count);
    }
    return 0;
}

int mag_rm_step(struct mag_train *t, const struct mag_windows *w, const struct draws *draws,
                uint64_t step, struct mag_rm_stats *out)
{
    struct rm_draws rd = rm_draws_of(draws, step, false);
    *out = (struct mag_rm_stats){0};
    int err = rm_pair(t, w, &rd, NULL, t->grad, &out->loss);
    if (err)
        return err;
    mag_opt_step(t, OPT_RM, out->loss, t->cfg.lr.rm, 0, 0, &out->grad_norm, &out->skipped);
    return 0;
}

/* [s ; h] with the one-hots written out, [rows][C*K + D]. */
static void write_input(const struct wm_work *wm, const struct nets *n, float *input)
{
    size_t C = n->d.C, K = n->d.K, D = n->d.D, width = C * K + D;
    memset(input, 0, wm->rows * width * sizeof(float));
    for (size_t r = 0; r < wm->rows; r++) {
        for (size_t c = 0; c < C; c++)
            input[r * width + c * K + wm->prior_index[r * C + c]] = 1;
        memcpy(input + r * width + C * K, wm->h + r * D, D * sizeof(float));
    }
}

int mag_rm_score(struct mag_train *t, const struct mag_windows *w, const struct draws *draws,
                 uint64_t step, bool metric, float *label, float *pred, float *input,
                 float *grad, double *loss)
{
    struct rm_draws rd = rm_draws_of(draws, step, metric);
    double mean;
    if (grad)
        memset(grad, 0, t->m->params.count * sizeof(float));
    int err = rm_pair(t, w, &rd, pred, grad, &mean);
    if (err)
        return err;
    if (label)
        memcpy(label, t->wm->label, t->wm->rows * sizeof(float));
    if (input)
        write_input(t->wm, mag_nets(t->m), input);
    if (loss)
        *loss = mean;
    return 0;
}

/* ------------------------------------------------------------------------ predicted rewards */

static void reward_task(void *arg, size_t task, size_t worker)
{
    const struct rm_call *c = arg;
    struct wm_work *wm = c->wm;
    const struct nets *n = c->n;
    size_t r, M = token_range(wm, task, &r), ld = kern_pad(1);
    float *y = wm->worker[worker].scratch;
    nets_one_head(n, wm->worker[worker].nets, y, HEAD_REWARD,
                  wm->index + (r + wm->tokens) * n->d.C, wm->h + (r + wm->tokens) * n->d.D, M);
    for (size_t i = 0; i < M; i++)
        wm->value[WM_REW][r + i] = y[i * ld];
}

int mag_reward_score(struct mag_train *t, const struct mag_windows *w,
                     const struct draws *draws, uint64_t step, float *pred)
{
    struct wm_work *wm = t->wm;
    const struct nets *n = mag_nets(t->m);
    struct rm_call c = {.wm = wm, .n = n, .cfg = &t->cfg};
    int err = wm_begin(wm, n, w, t->cfg.train.zero_first_action);
    if (err)
        return err;
    wm_draw(wm, n, t->pool, draws, DRAW_METRIC_POST, step, 0, wm->u_post);
    wm_filter(wm, n, t->pool);
    run_tokens(&c, t->pool, reward_task);
    for (size_t j = 0; j < wm->rows / n->d.N; j++) {
        double sum = 0;
        for (size_t i = 0; i < n->d.N; i++)
            sum += (double)wm->value[WM_REW][j * n->d.N + i];
        pred[j] = (float)(sum / (double)n->d.N);
    }
    return 0;
}
