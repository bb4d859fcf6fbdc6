/* SPDX-License-Identifier: Apache-2.0 */
/* parity_model.c - building blocks, the world model and R_m against the recordings.
 *
 * attention, gru, latent, kl, adam, lambda_return   one operation each, with gradients of
 *                                                   sum(y * dy)
 * align            aligned tensors of a batch of windows
 * recurrence       h, posterior and prior of every step, without dropout
 * model[_no_dropout]   the six losses, their sum, all gradients before clipping
 * rm[_full|_two_pass|_kl_rew]   labels, inputs, loss and gradients of R_m */
#include "parity.h"

#include "base/err.h"
#include "mag_priv.h"
#include "nn/adam.h"
#include "nn/categorical.h"
#include "rl/lambda_return.h"
#include "wm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A call that cannot fail on a sound file. */
static void must(int err, const char *what)
{
    if (!err)
        return;
    fprintf(stderr, "parity_case: %s: %s: %s\n", what, err_str(err), err_text());
    exit(EXIT_INTERNAL);
}

static float *floats(struct parity *p, size_t n)
{
    return parity_mem(p, n * sizeof(float));
}

/* Networks bound with transposes, without opening all of training. */
static struct nets *bound_nets(struct parity *p)
{
    struct nets *n = parity_mem(p, sizeof *n);
    const struct nets_dims d = mag_nets(p->model)->d;
    must(nets_bind(n, &d, &p->model->params, p->model->kern, true, &p->arena), "nets_bind");
    nets_refresh(n, MAG_NEEDS_ALL, NULL);
    return n;
}

/* ------------------------------------------------------------------------------- operations */

static int case_attention(struct parity *p)
{
    struct nets *n = bound_nets(p);
    const struct attention *a = &n->trans_attn;
    size_t count, D = p->d.D;
    const float *x = parity_f32(p, "x", &count), *dy = parity_f32(p, "dy", NULL);
    size_t rows = count / D;
    float *y = floats(p, count), *dx = floats(p, count), *scratch = floats(p, 3 * count);
    float *grad = floats(p, p->model->params.count);
    struct attention_tape tape;
    struct dw_job jobs[6 * ATTENTION_LAYERS];

    attention_tape_carve(&tape, a, rows, false, &p->arena);
    attention_forward(n->kern, a, &tape, y, x, 0, rows, scratch);
    attention_backward(n->kern, a, &tape, dx, dy, 0, rows, scratch);
    dw_run(n->kern, NULL, grad, false, jobs, attention_jobs(jobs, a, &tape, rows));
    parity_put_f32(p, "y", y, PARITY_SHAPE(rows / p->d.N, p->d.N, D));
    parity_put_f32(p, "grad.x", dx, PARITY_SHAPE(rows / p->d.N, p->d.N, D));
    parity_put_params(p, grad, "model.transition.attention.", "grad.");
    return 0;
}

static int case_gru(struct parity *p)
{
    struct nets *n = bound_nets(p);
    size_t count, D = p->d.D;
    const float *x = parity_f32(p, "x", &count), *h = parity_f32(p, "h", NULL);
    const float *dy = parity_f32(p, "dy", NULL);
    size_t rows = count / D;
    float *y = floats(p, count), *dx = floats(p, count), *dh = floats(p, count);
    float *scratch = floats(p, 6 * count), *grad = floats(p, p->model->params.count);
    struct gru_tape tape;
    struct dw_job jobs[2];

    gru_tape_carve(&tape, &n->gru, rows, &p->arena);
    memcpy(tape.x, x, count * sizeof *x);
    memcpy(tape.h, h, count * sizeof *h);
    gru_forward(n->kern, &n->gru, &tape, y, 0, rows, scratch);
    gru_backward(n->kern, &n->gru, &tape, dx, dh, dy, 0, rows);
    dw_run(n->kern, NULL, grad, false, jobs, gru_jobs(jobs, &n->gru, &tape, rows));
    parity_put_f32(p, "y", y, PARITY_SHAPE(rows / p->d.N, p->d.N, D));
    parity_put_f32(p, "grad.x", dx, PARITY_SHAPE(rows / p->d.N, p->d.N, D));
    parity_put_f32(p, "grad.h", dh, PARITY_SHAPE(rows / p->d.N, p->d.N, D));
    parity_put_params(p, grad, "model.transition.gru.", "grad.");
    return 0;
}

/* Rows of [C][K] between the file's layout and the padded one of the networks. */
static float *pad_rows(struct parity *p, const float *x, size_t rows)
{
    size_t used = p->d.C * p->d.K, ld = nets_pad(used);
    float *y = floats(p, rows * ld);
    for (size_t r = 0; r < rows; r++)
        memcpy(y + r * ld, x + r * used, used * sizeof *x);
    return y;
}

static float *unpad_rows(struct parity *p, const float *x, size_t rows)
{
    size_t used = p->d.C * p->d.K, ld = nets_pad(used);
    float *y = floats(p, rows * used);
    for (size_t r = 0; r < rows; r++)
        memcpy(y + r * used, x + r * ld, used * sizeof *x);
    return y;
}

/* One-hot rows of class indices, [rows][C][K]. */
static float *one_hot(struct parity *p, const uint8_t *index, size_t rows)
{
    size_t C = p->d.C, K = p->d.K;
    float *y = floats(p, rows * C * K);
    for (size_t i = 0; i < rows * C; i++)
        y[i * K + index[i]] = 1;
    return y;
}

static int case_latent(struct parity *p)
{
    const struct kern *k = p->model->kern;
    size_t count, C = p->d.C, K = p->d.K, ld = nets_pad(C * K);
    const float *x = parity_f32(p, "logits", &count);
    size_t rows = count / (C * K);
    float *prob = pad_rows(p, x, rows), *dy = pad_rows(p, parity_f32(p, "dy", NULL), rows);
    float *dx = floats(p, rows * ld);
    uint8_t *index = parity_mem(p, rows * C);

    categorical_softmax(k, prob, prob, rows, C, K, ld);
    categorical_sample(k, index, prob, parity_f32(p, "u.latent", NULL), rows, C, K, ld);
    categorical_backward(k, dx, prob, dy, rows, C, K, ld);
    parity_put_index(p, "index", index, PARITY_SHAPE(rows, C));
    parity_put_f32(p, "y", one_hot(p, index, rows), PARITY_SHAPE(rows, C, K));
    parity_put_f32(p, "grad.logits", unpad_rows(p, dx, rows), PARITY_SHAPE(rows, C, K));
    return 0;
}

/* y repeats each categorical's KL over its classes, so its gradient is the sum over them. */
static int case_kl(struct parity *p)
{
    const struct kern *k = p->model->kern;
    size_t count, K = p->d.K;
    const float *post = parity_f32(p, "logits", &count);
    const float *prior = parity_f32(p, "logits2", NULL), *dy = parity_f32(p, "dy", NULL);
    size_t n = count / K;
    float *sp = floats(p, count), *sq = floats(p, count), *kl = floats(p, n);
    float *y = floats(p, count), *d_post = floats(p, count), *d_prior = floats(p, count);

    k->softmax(sp, post, n, K, K);
    k->softmax(sq, prior, n, K, K);
    k->kl(kl, sp, sq, n, K, K);
    for (size_t i = 0; i < n; i++) {
        float g = 0;
        for (size_t c = 0; c < K; c++) {
            y[i * K + c] = kl[i];
            g += dy[i * K + c];
        }
        k->kl_backward(d_post + i * K, d_prior + i * K, sp + i * K, sq + i * K, 0.2f * g,
                       0.8f * g, 1, K, K);
    }
    size_t rows = n / p->d.C;
    parity_put_f32(p, "y", y, PARITY_SHAPE(rows, p->d.C, K));
    parity_put_f32(p, "grad.post", d_post, PARITY_SHAPE(rows, p->d.C, K));
    parity_put_f32(p, "grad.prior", d_prior, PARITY_SHAPE(rows, p->d.C, K));
    return 0;
}

static void adam_group(struct parity *p, const char *group, struct adam a)
{
    char name[64];
    size_t n, total;
    snprintf(name, sizeof name, "adam.%s.param", group);
    const float *start = parity_f32(p, name, &n);
    snprintf(name, sizeof name, "adam.%s.grad", group);
    const float *grad = parity_f32(p, name, &total);
    size_t steps = total / n;
    float *x = floats(p, n), *m = floats(p, n), *v = floats(p, n);
    float *after = floats(p, total), *norms = floats(p, steps);
    uint64_t count = 0;
    double b1 = 1, b2 = 1, norm;

    memcpy(x, start, n * sizeof *x);
    for (size_t i = 0; i < steps; i++) {
        must(adam_step(p->model->kern, NULL, &a, x, m, v, grad + i * n, n, &count, &b1, &b2,
                       &norm),
             "adam_step");
        memcpy(after + i * n, x, n * sizeof *x);
        norms[i] = (float)norm;
    }
    snprintf(name, sizeof name, "adam.%s.after", group);
    parity_put_f32(p, name, after, PARITY_SHAPE(steps, n));
    snprintf(name, sizeof name, "adam.%s.norm", group);
    parity_put_f32(p, name, norms, PARITY_SHAPE(steps));
}

static int case_adam(struct parity *p)
{
    const struct config *c = &p->cfg;
    adam_group(p, "model", ADAM(c->lr.model, c->train.clip_model, 0));
    adam_group(p, "rm", ADAM(c->lr.rm, 0, 0));
    adam_group(p, "actor", ADAM(c->lr.actor, c->ppo.grad_clip, c->ppo.actor_l2));
    adam_group(p, "critic", ADAM(c->lr.critic, c->ppo.grad_clip, 0));
    return 0;
}

static int case_lambda_return(struct parity *p)
{
    size_t T = parity_axis(p, "reward", 0), S = parity_axis(p, "reward", 1);
    size_t N = parity_axis(p, "value", 2), count;
    const float *logit = parity_f32(p, "cont", &count);
    float *cont = floats(p, count), *ret = floats(p, (T + 1) * S * N);

    p->model->kern->sigmoid(cont, logit, count);
    lambda_return_forward(ret, parity_f32(p, "reward", NULL), cont,
                          parity_f32(p, "value", NULL), T, S, N, (float)p->cfg.ppo.gamma,
                          (float)p->cfg.ppo.lambda);
    parity_put_f32(p, "cont", cont, PARITY_SHAPE(T, S, N));
    parity_put_f32(p, "return", ret, PARITY_SHAPE(T + 1, S, N));
    return 0;
}

/* --------------------------------------------------------------------------------- windows */

/* Joint flags as the recordings have them, [T][B][N][1]. */
static void put_flags(struct parity *p, const char *name, const uint8_t *flags, size_t T)
{
    size_t N = p->d.N;
    float *y = floats(p, T * p->B * N);
    for (size_t i = 0; i < T * p->B * N; i++)
        y[i] = flags[i / N];
    parity_put_f32(p, name, y, PARITY_SHAPE(T, p->B, N, 1));
}

static int case_align(struct parity *p)
{
    struct mag_batch b;
    size_t N = p->d.N, A = p->d.A;
    mag_align(&b, &p->w, &p->d);
    size_t tokens = b.T * b.B * N;
    float *act = floats(p, tokens * A), *avail = floats(p, tokens * A);
    for (size_t r = 0; r < tokens; r++) {
        act[r * A + b.action[r]] = 1;
        for (size_t a = 0; a < A; a++)
            avail[r * A + a] = b.avail[r * A + a];
    }
    parity_put_f32(p, "batch.act", act, PARITY_SHAPE(b.T, b.B, N, A));
    parity_put_f32(p, "batch.avail", avail, PARITY_SHAPE(b.T, b.B, N, A));
    parity_put_f32(p, "batch.obs", b.obs, PARITY_SHAPE(b.T, b.B, N, p->d.O));
    parity_put_f32(p, "batch.rew", b.reward, PARITY_SHAPE(b.T, b.B, N, 1));
    put_flags(p, "batch.done", b.done, b.T);
    put_flags(p, "batch.fake", b.fake, b.T);
    put_flags(p, "batch.last", b.last, b.T);
    return 0;
}

static struct mag_train *opened(struct parity *p)
{
    struct mag_train *t;
    struct mag_train_cfg c = {.W = p->W, .B = p->B, .cfg = &p->cfg};
    must(mag_train_open(&t, p->model, &c, NULL), "mag_train_open");
    return t;
}

static int case_recurrence(struct parity *p)
{
    struct mag_train *t = opened(p);
    struct wm_work *wm = t->wm;
    const struct nets *n = mag_nets(p->model);
    size_t C = p->d.C, K = p->d.K, D = p->d.D, N = p->d.N, ld = nets_latent_ld(&n->d);

    must(wm_begin(wm, n, &p->w, false), "wm_begin");
    wm_draw(wm, n, NULL, &p->draws, DRAW_POST_RM, 0, 0, wm->u_post);
    wm_draw(wm, n, NULL, &p->draws, DRAW_PRIOR_RM, 0, 0, wm->u_prior);
    wm_filter(wm, n, NULL);
    wm_priors(wm, n, NULL, true);

    size_t T = wm->T, Q = T - 1, B = wm->B;
    const uint8_t *post = wm->index + wm->tokens * C;
    float *logits = floats(p, wm->rows * ld), *h = floats(p, wm->steps * D);
    memcpy(h, wm->h, wm->steps * D * sizeof *h);
    nets_posterior(n, wm->worker[0].nets, logits, wm->h, wm->enc.y[3], wm->rows);
    parity_put_f32(p, "post", unpad_rows(p, logits, wm->rows), PARITY_SHAPE(Q, B, N, C, K));
    nets_prior(n, wm->worker[0].nets, logits, wm->h, wm->rows);
    parity_put_f32(p, "prior", unpad_rows(p, logits, wm->rows), PARITY_SHAPE(Q, B, N, C, K));
    parity_put_f32(p, "h", h, PARITY_SHAPE(T, B, N, D));
    parity_put_f32(p, "s", one_hot(p, post, wm->rows), PARITY_SHAPE(Q, B, N, C * K));
    parity_put_index(p, "post_index", post, PARITY_SHAPE(Q, B, N, C));
    parity_put_index(p, "prior_index", wm->prior_index, PARITY_SHAPE(Q, B, N, C));
    mag_train_close(t);
    return 0;
}

static int run_model(struct parity *p, bool dropout)
{
    struct mag_train *t = opened(p);
    struct mag_model_stats s;
    float *grad = floats(p, p->model->params.count);
    must(mag_model_gradient(t, &p->w, &p->draws, 0, dropout, grad, &s), "mag_model_gradient");
    parity_put_scalar(p, "loss.kl", s.kl);
    parity_put_scalar(p, "loss.rec", s.rec);
    parity_put_scalar(p, "loss.rew", s.reward);
    parity_put_scalar(p, "loss.pcont", s.cont);
    parity_put_scalar(p, "loss.avl", s.avail);
    parity_put_scalar(p, "loss.dis", s.action_info);
    parity_put_scalar(p, "loss.total", s.total);
    parity_put_scalar(p, "grad_norm.model", s.grad_norm);
    parity_put_params(p, grad, "model.", "grad.model.");
    mag_train_close(t);
    return 0;
}

static int case_model(struct parity *p)
{
    return run_model(p, true);
}

static int case_model_no_dropout(struct parity *p)
{
    return run_model(p, false);
}

static int run_rm(struct parity *p, enum cfg_rec rec, uint32_t passes, bool all)
{
    size_t Q = p->W - 2, tokens = Q * p->B * p->d.N, width = p->d.C * p->d.K + p->d.D;
    p->cfg.rm.rec = rec;
    p->cfg.rm.passes = passes;
    p->cfg.rm.reward = true;
    p->cfg.rm.avail = p->cfg.rm.cont = p->cfg.rm.action_info = all;
    struct mag_train *t = opened(p);
    float *label = floats(p, tokens), *pred = floats(p, tokens);
    float *input = floats(p, tokens * width), *grad = floats(p, p->model->params.count);
    double loss;

    must(mag_rm_score(t, &p->w, &p->draws, 0, false, label, pred, input, grad, &loss),
         "mag_rm_score");
    parity_put_f32(p, "label", label, PARITY_SHAPE(Q, p->B, p->d.N));
    parity_put_f32(p, "input", input, PARITY_SHAPE(Q, p->B, p->d.N, width));
    parity_put_scalar(p, "loss.rm", loss);
    parity_put_params(p, grad, "rm.", "grad.rm.");
    mag_train_close(t);
    return 0;
}

static int case_rm(struct parity *p)
{
    return run_rm(p, REC_CODE, 1, true);
}

static int case_rm_full(struct parity *p)
{
    return run_rm(p, REC_FULL, 1, true);
}

static int case_rm_two_pass(struct parity *p)
{
    return run_rm(p, REC_CODE, 2, true);
}

static int case_rm_kl_rew(struct parity *p)
{
    return run_rm(p, REC_OFF, 1, false);
}

const struct parity_case parity_model_cases[] = {
    {"attention", case_attention},
    {"gru", case_gru},
    {"latent", case_latent},
    {"kl", case_kl},
    {"adam", case_adam},
    {"lambda_return", case_lambda_return},
    {"align", case_align},
    {"recurrence", case_recurrence},
    {"model", case_model},
    {"model_no_dropout", case_model_no_dropout},
    {"rm", case_rm},
    {"rm_full", case_rm_full},
    {"rm_two_pass", case_rm_two_pass},
    {"rm_kl_rew", case_rm_kl_rew},
    {NULL, NULL},
};
