/* SPDX-License-Identifier: Apache-2.0 */
/* rollout.c - one imagined step of a run of start states, and what surrounds it.
 *
 *   step i      x_i --policy--> a_i --transition--> h_{i+1}, prior logits      once per start
 *   candidate   s'_j ~ prior --R_m--> score_j                                  j = 0..L-1
 *     tau >= 1    --policy--> a --transition--> h'', prior, s'' --R_m--> score_j  tau < H
 *   choice      x_{i+1} = (s'_j, h_{i+1}) with the least score_j
 *
 * All candidates share h_{i+1} and the prior of tau 0. Nothing is computed that nobody reads:
 * no policy after the last inner step or in the last state, no second transition for rewards
 * (h_{i+1} is in the rows), no prior in the filter.
 *
 * PRECISION  The look ahead, and nothing else, runs on c->look, whose products may be in half
 * precision (imagine.precision): it decides which of several draws is kept, while every number
 * that is recorded comes from c->nets in float32.
 *
 * LAYOUT  The first samples of all candidates lie [L][starts][N], where they wait for the
 * choice. The look ahead takes one candidate of the whole shard after the other, so that its
 * scratch is that of P*N tokens whatever L, and stays in the cache.
 *
 * SOURCE  mag.md 5, 8, 9, 10; Algorithm 1 of arXiv 2303.17984.
 * TESTS   tests/unit/algo/test_imagine.c. */
#include "rollout.h"
#include "plan.h"
#include "policy.h"

#include "nn/categorical.h"
#include "rl/lambda_return.h"

#include <string.h>

/* ---------------------------------------------------------------------------------- filter */

/* The posterior branch of the recurrence over windows b0..b0+nb-1 (mag.md 5), without prior
 * and without dropout: start states, written where the rows want them. */
static void filter_task(void *arg, size_t task, size_t worker)
{
    const struct call *c = arg;
    const struct mag_imagine *im = c->im;
    struct worker *w = &im->worker[worker];
    const struct nets *n = c->nets;
    size_t N = im->d.N, C = im->d.C, D = im->d.D, O = im->d.O, B = c->w->B;
    size_t b0 = task * FILTER_WINDOWS, nb = least(FILTER_WINDOWS, B - b0);
    for (size_t t = 0; t < c->filter_T; t++) {
        size_t at = (t * B + b0) * N, before = at - (t ? B * N : 0);
        uint8_t *index = c->filter_index + at * C;
        float *h = c->filter_h + at * D;
        nets_encoder(n, w->nets, w->e, c->w->obs + ((t + 1) * B + b0) * N * O, nb * N);
        nets_transition(n, w->nets, h, c->filter_index + before * C, im->first_act + at,
                        c->filter_h + before * D, im->none + t * B + b0, nb);
        nets_posterior(n, w->nets, w->prior, h, w->e, nb * N);
        /* the uniforms of one t belong to all rows of the sampled batch: pick ours */
        draws_fill(c->draws, c->dom->post, c->batch, (uint32_t)t, w->u_post,
                   c->B_global * N * C);
        for (size_t b = 0; b < nb; b++)
            memcpy(w->u_latent + b * N * C, w->u_post + c->rows_global[b0 + b] * N * C,
                   N * C * sizeof(float));
        nets_sample(n, index, w->prior, w->u_latent, nb * N);
    }
}

/* Flags of the recurrence: no state before t = 0 nor after a record with `last`. With
 * train.zero_first_action the action of such a record, which belongs to the episode that ended
 * there, is left out as in training. */
void rollout_filter(struct call *c)
{
    struct mag_imagine *im = c->im;
    struct mag_batch al;
    mag_align(&al, c->w, &im->d);
    size_t B = c->w->B, N = im->d.N, joint = c->filter_T * B;
    memset(im->none, 1, B);
    memcpy(im->none + B, al.last, joint - B);
    memcpy(im->first_act, al.action, joint * N);
    for (size_t k = 0; k < joint && im->cfg.train.zero_first_action; k++)
        if (c->w->last[k]) /* act_t comes from record k+t, as this flag */
            memset(im->first_act + k * N, NETS_NO_ACTION, N);
    pool_run(im->pool, filter_task, c, ceil_div(B, FILTER_WINDOWS));
}

/* ------------------------------------------------------------------------------------ plan */

static void fill_starts(const struct call *c, const struct span *s, enum draw_domain dom,
                        uint32_t sub, float *u, size_t per_start)
{
    for (size_t p = 0; p < s->P; p++)
        draws_fill(c->draws, dom, c->im->item[s->first + p], sub, u + p * per_start, per_start);
}
static uint32_t plan_sub(size_t i, size_t j, size_t tau)
{
    return (uint32_t)(i << 16 | j << 8 | tau);
}

/* The recorded part of a step: availability, action, its log-probability at x_i. */
static void outer_policy(const struct call *c, struct worker *w, const struct span *s)
{
    const struct mag_dims *d = &c->im->d;
    size_t tokens = s->P * d->N, A = d->A, S = c->S, at = (s->i * S + s->first) * d->N;
    nets_heads(c->nets, w->nets, (float *[]){w->actor, w->avail},
               (enum net_head[]){HEAD_ACTOR, HEAD_AVAIL}, 2, s->index, s->h, tokens);
    fill_starts(c, s, c->dom->im_avail, (uint32_t)s->i, w->u_avail, d->N * A);
    fill_starts(c, s, c->dom->im_act, (uint32_t)s->i, w->u_act, d->N);
    struct policy p = {.tokens = tokens,
                       .A = A,
                       .ld = nets_pad(A),
                       .logits = w->actor,
                       .avail = w->avail,
                       .u_avail = w->u_avail,
                       .u_act = w->u_act,
                       .action = s->action,
                       .bits = c->out->avail + at * ((A + 7) / 8),
                       .logp = c->out->logp + at};
    if (c->trace && c->trace->logits)
        p.masked = c->trace->logits + at * A;
    policy_draw(c->nets->kern, &p);
}

/* Scores of candidate j at step i, for start 0 on. */
static float *scores_of(const struct call *c, size_t i, size_t j)
{
    return c->im->scores + (i * c->L + j) * c->S;
}

/* scores[start] += weight * mean over agents of R_m, out of w->rm [P][N]. */
static void add_scores(const struct call *c, const struct worker *w, const struct span *s,
                       size_t j, float weight)
{
    size_t N = c->im->d.N, ld = nets_pad(1);
    float *score = scores_of(c, s->i, j) + s->first;
    for (size_t p = 0; p < s->P; p++) {
        const float *rm = w->rm + p * N * ld;
        float sum = 0;
        for (size_t a = 0; a < N; a++)
            sum += rm[a * ld];
        score[p] += weight * (sum / (float)N);
    }
}

/* Inner policy at a candidate's states: availability sampled, action sampled or the mode. */
static void inner_policy(const struct call *c, struct worker *w, const struct span *s, size_t j,
                         size_t tau)
{
    const struct mag_dims *d = &c->im->d;
    bool greedy = c->im->cfg.imagine.greedy_inner;
    uint32_t sub = plan_sub(s->i, j, tau);
    fill_starts(c, s, c->dom->plan_avail, sub, w->u_avail, d->N * d->A);
    if (!greedy)
        fill_starts(c, s, c->dom->plan_act, sub, w->u_act, d->N);
    struct policy p = {.tokens = s->P * d->N,
                       .A = d->A,
                       .ld = nets_pad(d->A),
                       .logits = w->actor,
                       .avail = w->avail,
                       .u_avail = w->u_avail,
                       .u_act = greedy ? NULL : w->u_act,
                       .action = w->action};
    policy_draw(c->nets->kern, &p);
}

/* Candidate j scored over its H inner steps. The first transition was the step's own: it starts
 * from its sample `index` and the h' that all candidates share. */
static void look_ahead(const struct call *c, struct worker *w, const struct span *s, size_t j,
                       const uint8_t *index)
{
    size_t tokens = s->P * c->im->d.N;
    const float *h = s->h_next;
    float weight = 1;
    memset(scores_of(c, s->i, j) + s->first, 0, s->P * sizeof(float));
    for (size_t tau = 0;; tau++) {
        bool more = tau + 1 < c->H;
        /* the three heads read one feature: side by side while it is in the cache */
        nets_heads(c->look, w->nets, (float *[]){w->rm, w->actor, w->avail},
                   (enum net_head[]){HEAD_RM, HEAD_ACTOR, HEAD_AVAIL}, more ? 3 : 1, index, h,
                   tokens);
        add_scores(c, w, s, j, weight);
        if (!more)
            break;
        weight *= (float)c->im->cfg.imagine.discount;
        inner_policy(c, w, s, j, tau + 1);
        nets_transition(c->look, w->nets, w->h, index, w->action, h, NULL, s->P);
        nets_prior(c->look, w->nets, w->prior, w->h, tokens);
        fill_starts(c, s, c->dom->plan_latent, plan_sub(s->i, j, tau + 1), w->u_latent,
                    c->im->d.N * c->im->d.C);
        nets_sample(c->look, w->index, w->prior, w->u_latent, tokens);
        index = w->index;
        h = w->h;
    }
}

/* First samples of all candidates from one prior: one softmax for all. */
static void sample_first(const struct call *c, struct worker *w, const struct span *s)
{
    const struct nets_dims *d = &c->nets->d;
    size_t tokens = s->P * d->N, ld = nets_latent_ld(d);
    categorical_softmax(c->nets->kern, w->prior, w->prior, tokens, d->C, d->K, ld);
    for (size_t j = 0; j < c->L; j++) {
        fill_starts(c, s, c->dom->plan_latent, plan_sub(s->i, j, 0), w->u_latent, d->N * d->C);
        categorical_sample(c->nets->kern, c->im->cand + (j * c->S + s->first) * d->N * d->C,
                           w->prior, w->u_latent, tokens, d->C, d->K, ld);
    }
}

void rollout_candidates(const struct call *c, struct worker *w, const struct span *s)
{
    const struct mag_imagine *im = c->im;
    size_t NC = im->d.N * im->d.C;
    if (c->forced)
        memcpy(s->action, c->forced + s->first * im->d.N, s->P * im->d.N);
    else
        outer_policy(c, w, s);
    nets_transition(c->nets, w->nets, s->h_next, s->index, s->action, s->h, NULL, s->P);
    nets_prior(c->nets, w->nets, w->prior, s->h_next, s->P * im->d.N);
    sample_first(c, w, s);
    for (size_t j = 0; j < c->L && c->H; j++)
        look_ahead(c, w, s, j, im->cand + (j * c->S + s->first) * NC);
}

/* With probability imagine.epsilon a start takes the plain draw, candidate 0. With one choice
 * for the batch the draw of global start 0 decides for all. */
static bool takes_plain(const struct call *c, size_t start, size_t i)
{
    float u;
    if (c->im->cfg.imagine.epsilon <= 0)
        return false;
    draws_fill(c->draws, DRAW_EPS_MPC, c->im->item[start], (uint32_t)i, &u, 1);
    return (double)u < c->im->cfg.imagine.epsilon;
}

void rollout_choose_start(const struct call *c, const struct span *s)
{
    uint32_t *choice = c->im->choice + s->i * c->S + s->first;
    if (c->H == 0) {
        memset(choice, 0, s->P * sizeof(*choice));
        return;
    }
    plan_choose(choice, scores_of(c, s->i, 0) + s->first, c->L, s->P, c->S);
    for (size_t p = 0; p < s->P; p++)
        if (takes_plain(c, s->first + p, s->i))
            choice[p] = 0;
}

/* One index for all starts by the mean scores, summed in ascending order. */
void rollout_choose_batch(const struct call *c, size_t i)
{
    double mean[256];
    for (size_t j = 0; j < c->L; j++) {
        mean[j] = 0;
        for (size_t s = 0; s < c->S; s++)
            mean[j] += (double)scores_of(c, i, j)[s];
    }
    uint32_t best = takes_plain(c, 0, i) ? 0 : (uint32_t)plan_best(mean, c->L);
    for (size_t s = 0; s < c->S; s++)
        c->im->choice[i * c->S + s] = best;
}

void rollout_commit(const struct call *c, const struct span *s)
{
    const uint32_t *choice = c->im->choice + s->i * c->S + s->first;
    size_t NC = c->im->d.N * c->im->d.C;
    for (size_t p = 0; p < s->P; p++)
        memcpy(s->index_next + p * NC, c->im->cand + (choice[p] * c->S + s->first + p) * NC,
               NC);
}

/* -------------------------------------------------------------------------------- evaluate */

/* State i of start `first` on: a row of the batch, or the state after the last row. */
static const uint8_t *state_index(const struct call *c, size_t i, size_t first)
{
    size_t NC = c->im->d.N * c->im->d.C;
    return i + 1 < c->im->R ? c->out->index + (i * c->S + first) * NC
                            : c->im->last_index + first * NC;
}
static const float *state_h(const struct call *c, size_t i, size_t first)
{
    size_t ND = c->im->d.N * c->im->d.D;
    return i + 1 < c->im->R ? c->out->h + (i * c->S + first) * ND : c->im->last_h + first * ND;
}

/* Reward and continuation at psi_i = [s_i ; h_{i+1}], the reward shared by the agents. */
static void evaluate_psi(const struct call *c, struct worker *w, size_t i, size_t first,
                         size_t P)
{
    size_t N = c->im->d.N, ld = nets_pad(1), at = i * c->S + first;
    float *reward = w->rm, *cont = w->actor; /* both hold tokens rows of one padded output */
    nets_heads(c->nets, w->nets, (float *[]){reward, cont},
               (enum net_head[]){HEAD_REWARD, HEAD_CONT}, 2, state_index(c, i, first),
               state_h(c, i + 1, first), P * N);
    for (size_t p = 0; p < P; p++) {
        float sum = 0;
        for (size_t a = 0; a < N; a++)
            sum += reward[(p * N + a) * ld];
        c->im->reward[at + p] = sum / (float)N;
    }
    for (size_t k = 0; k < P * N; k++)
        c->im->cont[at * N + k] = cont[k * ld];
    c->nets->kern->sigmoid(c->im->cont + at * N, c->im->cont + at * N, P * N);
}

void rollout_evaluate(const struct call *c, struct worker *w, size_t i, size_t first, size_t P)
{
    nets_critic(c->nets, w->nets, c->im->value + (i * c->S + first) * c->im->d.N,
                state_index(c, i, first), state_h(c, i, first), P);
    if (i + 1 < c->im->R)
        evaluate_psi(c, w, i, first, P);
}

/* ---------------------------------------------------------------------------------- finish */

static void copy_f(float *dst, const float *src, size_t n)
{
    if (dst)
        memcpy(dst, src, n * sizeof(float));
}

static void fill_trace(const struct call *c)
{
    const struct mag_imagine *im = c->im;
    struct mag_trace *t = c->trace;
    size_t S = c->S, steps = im->R - 1, last = S * im->d.N;
    for (size_t k = 0; k < steps * S && t->choice; k++)
        t->choice[k] = im->choice[k];
    if (c->H) /* without planning there are no scores */
        copy_f(t->scores, im->scores, steps * c->L * S);
    copy_f(t->reward, im->reward, steps * S);
    copy_f(t->cont, im->cont, steps * last);
    copy_f(t->last_h, im->last_h, last * im->d.D);
    copy_f(t->last_value, im->value + steps * last, last);
    if (t->last_index)
        memcpy(t->last_index, im->last_index, last * im->d.C);
}

void rollout_finish(const struct call *c, struct mag_plan_stats *stats)
{
    const struct mag_imagine *im = c->im;
    size_t S = c->S, steps = im->R - 1, tokens = steps * S * im->d.N;
    lambda_return_forward(im->ret, im->reward, im->cont, im->value, steps, S, im->d.N,
                          (float)im->cfg.ppo.gamma, (float)im->cfg.ppo.lambda);
    copy_f(c->out->value, im->value, tokens);
    copy_f(c->out->ret, im->ret, tokens);
    memset(stats, 0, sizeof(*stats));
    for (size_t i = 0; i < steps && c->H; i++)
        plan_account(stats, im->choice + i * S, scores_of(c, i, 0), c->L, S, S);
    for (size_t k = 0; k < steps * S; k++)
        stats->reward_sum += (double)im->reward[k];
    stats->rewards = steps * S;
    if (c->trace)
        fill_trace(c);
}
