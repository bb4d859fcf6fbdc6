/* SPDX-License-Identifier: Apache-2.0 */
/* parity_imagine.c - imagination, planning, PPO and acting against the recordings.
 *
 * mamba, mag, mag_batch, mag_one, mag_h1   one imagined batch; the search follows from the name,
 *                                          L and H from the axes of the recorded uniforms
 * ppo   the rows of a mamba batch, then the actor's parameters times 1.25 and two epochs of
 *       minibatches of 20 rows
 * act   three acting steps of every window row from "none", on records 0, 1, 2 */
#include "parity.h"

#include "base/err.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PPO_MINIBATCH = 20, ACT_STEPS = 3 };

/* A call that cannot fail on a sound file. */
static void must(int err, const char *what)
{
    if (!err)
        return;
    fprintf(stderr, "parity_case: %s: %s: %s\n", what, err_str(err), err_text());
    exit(EXIT_INTERNAL);
}

/* An imagined batch with everything the recordings look at. */
struct imagined {
    size_t S, R, steps;
    struct mag_rows rows;
    struct mag_trace trace;
    float *adv;
};

static void alloc_rows(struct parity *p, struct imagined *im)
{
    size_t tokens = im->steps * im->S * p->d.N, last = im->S * p->d.N;
    im->rows = (struct mag_rows){.S = im->S,
                                 .steps = im->steps,
                                 .index = parity_mem(p, tokens * p->d.C),
                                 .h = parity_mem(p, tokens * p->d.D * sizeof(float)),
                                 .action = parity_mem(p, tokens),
                                 .avail = parity_mem(p, tokens * ((p->d.A + 7) / 8)),
                                 .logp = parity_mem(p, tokens * sizeof(float)),
                                 .value = parity_mem(p, tokens * sizeof(float)),
                                 .ret = parity_mem(p, tokens * sizeof(float))};
    im->trace = (struct mag_trace){
        .logits = parity_mem(p, tokens * p->d.A * sizeof(float)),
        .choice = parity_mem(p, im->steps * im->S * sizeof(int64_t)),
        .scores = parity_mem(p, im->steps * (p->L + 1) * im->S * sizeof(float)),
        .reward = parity_mem(p, im->steps * im->S * sizeof(float)),
        .cont = parity_mem(p, tokens * sizeof(float)),
        .last_index = parity_mem(p, last * p->d.C),
        .last_h = parity_mem(p, last * p->d.D * sizeof(float)),
        .last_value = parity_mem(p, last * sizeof(float))};
    im->adv = parity_mem(p, tokens * sizeof(float));
}

static void imagine(struct parity *p, struct imagined *im)
{
    im->steps = parity_axis(p, "u.policy.action", 0);
    im->R = im->steps + 1;
    im->S = (p->W - 2) * p->B;
    p->cfg.imagine.steps = (uint32_t)im->R;
    p->cfg.imagine.horizon = (uint32_t)parity_axis(p, "u.plan.latent", 1);
    p->cfg.imagine.candidates = (uint32_t)parity_axis(p, "u.plan.latent", 2);
    p->cfg.imagine.search = p->cfg.imagine.candidates ? SEARCH_SHOOTING : SEARCH_NONE;
    p->cfg.imagine.choice = strcmp(p->kase, "mag_batch") == 0 ? CHOICE_BATCH : CHOICE_START;
    p->cfg.train.windows = (uint32_t)p->B;
    alloc_rows(p, im);

    uint32_t *global = parity_mem(p, p->B * sizeof(*global));
    for (size_t b = 0; b < p->B; b++)
        global[b] = (uint32_t)b;
    struct mag_imagine_cfg cfg = {.W = p->W, .windows_max = p->B, .cfg = &p->cfg};
    struct mag_imagine *work;
    struct mag_plan_stats stats;
    must(mag_imagine_open(&work, p->model, &cfg, NULL), "opening imagination");
    must(mag_imagine_windows(work, &p->w, global, p->B, &p->draws, 0, &im->rows, &stats,
                             &im->trace),
         "imagining");
    mag_imagine_close(work);
}

static struct mag_train *open_train(struct parity *p, const struct imagined *im)
{
    struct mag_train_cfg cfg = {.W = p->W,
                                .B = p->B,
                                .S = im->S,
                                .rows_max = im->steps * im->S,
                                .minibatch = PPO_MINIBATCH,
                                .cfg = &p->cfg};
    struct mag_train *t;
    must(mag_train_open(&t, p->model, &cfg, NULL), "opening training");
    return t;
}

/* n bytes of `rows` states followed by the last one. */
static void *joined(struct parity *p, const void *rows, size_t n, const void *last, size_t m)
{
    unsigned char *all = parity_mem(p, n + m);
    memcpy(all, rows, n);
    memcpy(all + n, last, m);
    return all;
}

static uint8_t *unpack_avail(struct parity *p, const struct imagined *im)
{
    size_t tokens = im->steps * im->S * p->d.N, bytes = (p->d.A + 7) / 8;
    uint8_t *out = parity_mem(p, tokens * p->d.A);
    for (size_t k = 0; k < tokens; k++)
        for (size_t a = 0; a < p->d.A; a++)
            out[k * p->d.A + a] = im->rows.avail[k * bytes + a / 8] >> a % 8 & 1;
    return out;
}

static void put_roll(struct parity *p, const struct imagined *im)
{
    size_t steps = im->steps, S = im->S, N = p->d.N, R = im->R, tokens = steps * S * N;
    const struct mag_rows *r = &im->rows;
    const struct mag_trace *t = &im->trace;
    size_t C = p->d.C, D = p->d.D, A = p->d.A, last = S * N;
    parity_put_index(p, "roll.index", joined(p, r->index, tokens * C, t->last_index, last * C),
                     PARITY_SHAPE(R, S, N, C));
    parity_put_f32(
        p, "roll.h",
        joined(p, r->h, tokens * D * sizeof(float), t->last_h, last * D * sizeof(float)),
        PARITY_SHAPE(R, S, N, D));
    parity_put_index(p, "roll.action", r->action, PARITY_SHAPE(steps, S, N));
    parity_put_bool(p, "roll.avail", unpack_avail(p, im), PARITY_SHAPE(steps, S, N, A));
    parity_put_f32(p, "roll.logits", t->logits, PARITY_SHAPE(steps, S, N, A));
    if (p->cfg.imagine.search == SEARCH_SHOOTING) {
        parity_put_i64(p, "roll.choice", t->choice, PARITY_SHAPE(steps, S));
        parity_put_f32(p, "roll.scores", t->scores,
                       PARITY_SHAPE(steps, p->cfg.imagine.candidates, S));
    }
}

static void put_returns(struct parity *p, const struct imagined *im)
{
    size_t steps = im->steps, S = im->S, N = p->d.N, R = im->R;
    size_t row_bytes = steps * S * N * sizeof(float), last_bytes = S * N * sizeof(float);
    const struct mag_trace *t = &im->trace;
    parity_put_f32(p, "ret.reward", t->reward, PARITY_SHAPE(steps, S));
    parity_put_f32(p, "ret.cont", t->cont, PARITY_SHAPE(steps, S, N));
    parity_put_f32(p, "ret.value",
                   joined(p, im->rows.value, row_bytes, t->last_value, last_bytes),
                   PARITY_SHAPE(R, S, N));
    parity_put_f32(p, "ret.return", /* the last return is the value that bootstraps */
                   joined(p, im->rows.ret, row_bytes, t->last_value, last_bytes),
                   PARITY_SHAPE(R, S, N));
}

static int run_imagine(struct parity *p)
{
    struct imagined im;
    imagine(p, &im);
    put_roll(p, &im);
    put_returns(p, &im);
    struct mag_train *t = open_train(p, &im);
    must(mag_ppo_advantage(t, &im.rows, im.adv), "advantage");
    parity_put_f32(p, "rows.adv", im.adv, PARITY_SHAPE(im.steps * im.S, p->d.N));
    mag_train_close(t);
    return 0;
}

static void scale_actor(struct parity *p, float factor)
{
    struct params *all = &p->model->params;
    size_t first, count;
    params_range(all, MAG_POLICY, MAG_POLICY, &first, &count);
    for (size_t k = first; k < first + count; k++)
        all->value[k] *= factor;
    mag_refresh(p->model, 1 << MAG_POLICY);
}

static void put_rows(struct parity *p, const struct imagined *im)
{
    size_t n = im->steps * im->S, N = p->d.N, A = p->d.A;
    parity_put_index(p, "rows.action", im->rows.action, PARITY_SHAPE(n, N));
    parity_put_f32(p, "rows.adv", im->adv, PARITY_SHAPE(n, N));
    parity_put_bool(p, "rows.avail", unpack_avail(p, im), PARITY_SHAPE(n, N, A));
    parity_put_f32(p, "rows.logits", im->trace.logits, PARITY_SHAPE(n, N, A));
    parity_put_f32(p, "rows.return", im->rows.ret, PARITY_SHAPE(n, N));
}

static int run_ppo(struct parity *p)
{
    struct imagined im;
    imagine(p, &im);
    size_t n = im.steps * im.S, epochs = parity_axis(p, "u.permutation", 0);
    p->cfg.train.ppo_epochs = (uint32_t)epochs;
    p->cfg.train.minibatch = PPO_MINIBATCH;
    struct mag_train *t = open_train(p, &im);
    must(mag_ppo_advantage(t, &im.rows, im.adv), "advantage");
    put_rows(p, &im);
    scale_actor(p, 1.25f);

    uint32_t *order = parity_mem(p, epochs * n * sizeof(*order));
    int64_t *order_out = parity_mem(p, epochs * n * sizeof(*order_out));
    for (size_t e = 0; e < epochs; e++)
        must(mag_ppo_order(t, &p->draws, 0, e, n, order + e * n), "permutation");
    for (size_t k = 0; k < epochs * n; k++)
        order_out[k] = order[k];
    parity_put_i64(p, "order", order_out, PARITY_SHAPE(epochs, n));

    float *grad = parity_mem(p, p->model->params.count * sizeof(float));
    double first[4];
    size_t minibatch = n < PPO_MINIBATCH ? n : PPO_MINIBATCH;
    must(mag_ppo_gradient(t, &im.rows, im.adv, order, minibatch, grad, first), "gradient");
    parity_put_params(p, grad, "actor.", "grad.actor.");
    parity_put_params(p, grad, "critic.", "grad.critic.");

    size_t steps = epochs * ((n + PPO_MINIBATCH - 1) / PPO_MINIBATCH);
    double(*lines)[4] = parity_mem(p, steps * sizeof(*lines));
    float *out = parity_mem(p, steps * 4 * sizeof(float));
    struct mag_ppo_stats stats;
    must(mag_ppo_batch(t, &im.rows, &p->draws, 0, &stats, lines), "ppo");
    for (size_t k = 0; k < steps * 4; k++)
        out[k] = (float)lines[k / 4][k % 4];
    parity_put_f32(p, "minibatch", out, PARITY_SHAPE(steps, 4));
    parity_put_scalar(p, "eta", mag_train_state(t)->entropy_weight);
    mag_train_close(t);
    return 0;
}

static int run_act(struct parity *p)
{
    size_t B = p->B, N = p->d.N, O = p->d.O, A = p->d.A, C = p->d.C, D = p->d.D;
    uint8_t *index = parity_mem(p, ACT_STEPS * B * N * C);
    uint8_t *action = parity_mem(p, ACT_STEPS * B * N);
    float *h = parity_mem(p, ACT_STEPS * B * N * D * sizeof(float));
    float *logits = parity_mem(p, ACT_STEPS * B * N * A * sizeof(float));
    struct mag_act_row *rows = parity_mem(p, B * sizeof(*rows));
    struct mag_act *act;
    must(mag_act_open(&act, p->model, B, NULL), "opening acting");
    for (size_t step = 0; step < ACT_STEPS; step++) {
        for (size_t b = 0; b < B; b++) {
            size_t at = (step * B + b) * N;
            rows[b] = (struct mag_act_row){.row = b,
                                           .obs = p->w.obs + at * O,
                                           .avail = p->w.avail + at * A,
                                           .item = b,
                                           .mode = MAG_ACT_SAMPLE,
                                           .action = action + at,
                                           .h = h + at * D,
                                           .logits = logits + at * A,
                                           .index = index + at * C};
        }
        mag_act_step(act, &p->draws, rows, B);
    }
    mag_act_close(act);
    parity_put_index(p, "act.index", index, PARITY_SHAPE(ACT_STEPS, B, N, C));
    parity_put_f32(p, "act.h", h, PARITY_SHAPE(ACT_STEPS, B, N, D));
    parity_put_f32(p, "act.logits", logits, PARITY_SHAPE(ACT_STEPS, B, N, A));
    parity_put_index(p, "act.action", action, PARITY_SHAPE(ACT_STEPS, B, N));
    return 0;
}

const struct parity_case parity_imagine_cases[] = {
    {"mamba", run_imagine},     {"mag", run_imagine},
    {"mag_batch", run_imagine}, {"mag_one", run_imagine},
    {"mag_h1", run_imagine},    {"ppo", run_ppo},
    {"act", run_act},           {NULL, NULL},
};
