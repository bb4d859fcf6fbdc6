/* SPDX-License-Identifier: Apache-2.0 */
/* ppo.c - policy and critic learn from one imagined batch.
 *
 * WHAT  Advantage = return - value, normalised over all rows and agents at once. Then
 * ppo_epochs times: the joint rows in a new order (stable argsort of PERM uniforms), cut into
 * minibatches, each giving the actor one step and then the critic one (mag.md 11):
 *
 *   rho    = exp(log pi_new(a) - log pi_old(a))
 *   actor  = mean over rows, agents of -min(rho adv, clip(rho) adv) + eta sum_a pi log pi
 *   critic = mean over rows, agents of (G - V)^2 / 2
 *
 * The old log-probabilities were made by the same kernels from the same bits (policy.h), so in
 * the first minibatch rho is exactly 1; first_ratio_error says whether that held.
 *
 * HOW  Neither network reads what the other's step writes, so both pass together. A minibatch is
 * walked in blocks of BLOCK_TOKENS, a block in pieces of PIECE_TOKENS: a task gathers its
 * piece's rows, runs forward, loss and backward of both on their tapes; then dw_run adds the
 * block's weight gradients. Blocks come in row order and every weight's gradient is one
 * chain over rows ascending, so that neither blocks nor threads show in the bits; memory is one
 * block's tape however large the minibatch. Losses are summed in double, piece by piece.
 *
 * MEMORY  All at open, about 60 MB at width 256 whatever the number of agents and rows.
 *
 * A step whose loss or gradient is not finite changes nothing and is counted.
 * TESTS  tests/unit/algo/test_ppo.c (finite differences, first ratio), golden case ppo. */
#include "mag_priv.h"
#include "policy.h"

#include "base/err.h"
#include "base/fault.h"
#include "model/train.h"
#include "nn/adam.h"
#include "nn/loss.h"

#include <math.h>
#include <string.h>

enum {
    BLOCK_TOKENS = 2048, /* of a tape */
    PIECE_TOKENS = 128,  /* of a task */
    EPOCH_BITS = 20,     /* of PERM's item: batch << 20 | epoch */
    JOBS_MAX = (int)CRITIC_JOBS + (int)MLP_JOBS
};

/* Sums over the tokens of a piece, a minibatch or a batch. */
struct ppo_sums {
    double actor, critic, entropy, kl, clipped, ratio_error;
};

struct mag_ppo_work {
    size_t block, piece;   /* joint rows */
    float *adv;            /* [rows_max][N] */
    float *uniform;        /* [rows_max] */
    uint32_t *order;       /* [rows_max] */
    uint64_t *key[2];      /* [rows_max] of the sort */
    uint8_t *index;        /* [block][N][C] gathered rows */
    float *h;              /* [block][N][D] */
    struct mlp_tape actor; /* [block][N] rows */
    struct critic_tape critic;
    struct ppo_sums *sums; /* [pieces of a block] */
    float **scratch;       /* [threads] */
    uint8_t **action;      /* [threads] [piece][N] */
    size_t scratch_floats;
};

/* ------------------------------------------------------------------------------------ memory */

static size_t ppo_block(const struct nets_dims *d, size_t minibatch)
{
    size_t rows = BLOCK_TOKENS / d->N;
    return minibatch < rows ? minibatch : rows;
}
static size_t ppo_piece(const struct nets_dims *d)
{
    return PIECE_TOKENS / d->N; /* at most 30 agents: at least 4 */
}

/* Scratch of a piece: the critic's, or the actor's log-softmax and five numbers a token. */
static size_t ppo_scratch(const struct nets *n, size_t piece)
{
    size_t tokens = piece * n->d.N, ld = nets_pad(n->d.A);
    size_t actor = tokens * ld + 5 * tokens + 2 * ld, critic = critic_scratch(n, tokens);
    return actor > critic ? actor : critic;
}

static size_t lines(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

size_t mag_ppo_work_bytes(const struct mag_model *m, const struct mag_train_cfg *c,
                          const struct pool *pool)
{
    if (c->rows_max == 0)
        return 0;
    const struct nets *n = mag_nets(m);
    size_t N = n->d.N, threads = mag_threads(pool);
    size_t block = ppo_block(&n->d, c->minibatch), piece = ppo_piece(&n->d), tokens = block * N;
    size_t pieces = (block + piece - 1) / piece;
    return lines(sizeof(struct mag_ppo_work)) + lines(c->rows_max * N * sizeof(float)) +
           lines(c->rows_max * sizeof(float)) + lines(c->rows_max * sizeof(uint32_t)) +
           2 * lines(c->rows_max * sizeof(uint64_t)) + lines(tokens * n->d.C) +
           lines(tokens * n->d.D * sizeof(float)) +
           lines(head_tape_bytes(n, HEAD_ACTOR, tokens)) + lines(critic_tape_bytes(n, tokens)) +
           lines(pieces * sizeof(struct ppo_sums)) + 2 * lines(threads * sizeof(void *)) +
           threads * (lines(ppo_scratch(n, piece) * sizeof(float)) + lines(piece * N));
}

void mag_ppo_work_carve(struct mag_train *t, struct arena *a)
{
    if (t->c.rows_max == 0)
        return;
    const struct nets *n = mag_nets(t->m);
    size_t N = n->d.N, threads = mag_threads(t->pool);
    struct mag_ppo_work *w = ARENA_ZNEW(a, struct mag_ppo_work, 1);
    w->block = ppo_block(&n->d, t->c.minibatch);
    w->piece = ppo_piece(&n->d);
    size_t tokens = w->block * N, pieces = (w->block + w->piece - 1) / w->piece;
    w->adv = ARENA_NEW(a, float, t->c.rows_max *N);
    w->uniform = ARENA_NEW(a, float, t->c.rows_max);
    w->order = ARENA_NEW(a, uint32_t, t->c.rows_max);
    for (int k = 0; k < 2; k++)
        w->key[k] = ARENA_NEW(a, uint64_t, t->c.rows_max);
    w->index = ARENA_NEW(a, uint8_t, tokens * n->d.C);
    w->h = ARENA_NEW(a, float, tokens * n->d.D);
    head_tape_carve(&w->actor, n, HEAD_ACTOR, tokens, a);
    critic_tape_carve(&w->critic, n, tokens, a);
    w->sums = ARENA_NEW(a, struct ppo_sums, pieces);
    w->scratch = ARENA_NEW(a, float *, threads);
    w->action = ARENA_NEW(a, uint8_t *, threads);
    w->scratch_floats = ppo_scratch(n, w->piece);
    for (size_t k = 0; k < threads; k++) {
        w->scratch[k] = ARENA_NEW(a, float, w->scratch_floats);
        w->action[k] = ARENA_NEW(a, uint8_t, w->piece * N);
    }
    t->ppo = w;
}

/* ------------------------------------------------------------------------- advantage, order */

/* Mean and unbiased standard deviation of n floats, in double, ascending. */
static void moments(const float *x, size_t n, double *mean, double *std)
{
    double sum = 0, sq = 0;
    for (size_t k = 0; k < n; k++)
        sum += (double)x[k];
    *mean = sum / (double)n;
    for (size_t k = 0; k < n; k++) {
        double d = (double)x[k] - *mean;
        sq += d * d;
    }
    *std = sqrt(sq / ((double)n - 1));
}

static void advantage(const struct mag_rows *rows, size_t N, float *adv, double *mean,
                      double *std)
{
    size_t n = rows->S * rows->steps * N;
    for (size_t k = 0; k < n; k++)
        adv[k] = rows->ret[k] - rows->value[k];
    moments(adv, n, mean, std);
    for (size_t k = 0; k < n; k++) {
        float a = (float)(((double)adv[k] - *mean) / (*std + 1e-4));
        adv[k] = isnan(a) ? 0 : a;
    }
}

int mag_ppo_advantage(struct mag_train *t, const struct mag_rows *rows, float *adv)
{
    double mean, std;
    if (rows->S * rows->steps == 0)
        return err_set(ERR_INVAL, "no imagined rows");
    advantage(rows, t->m->d.N, adv, &mean, &std);
    return 0;
}

/* order = stable ascending argsort of u: radix sort of the bits, which order as the numbers do
 * because u >= 0. */
static void argsort(uint32_t *order, const float *u, uint64_t *a, uint64_t *b, size_t n)
{
    for (size_t k = 0; k < n; k++) {
        uint32_t bits;
        memcpy(&bits, &u[k], sizeof(bits));
        a[k] = (uint64_t)bits << 32 | k;
    }
    for (int shift = 32; shift < 64; shift += 8) {
        size_t at[257] = {0};
        for (size_t k = 0; k < n; k++)
            at[(a[k] >> shift & 255) + 1]++;
        for (int d = 0; d < 256; d++)
            at[d + 1] += at[d];
        for (size_t k = 0; k < n; k++)
            b[at[a[k] >> shift & 255]++] = a[k];
        uint64_t *swap = a;
        a = b;
        b = swap;
    }
    for (size_t k = 0; k < n; k++)
        order[k] = (uint32_t)a[k];
}

int mag_ppo_order(struct mag_train *t, const struct draws *draws, uint64_t batch,
                  uint64_t epoch, size_t n, uint32_t *order)
{
    struct mag_ppo_work *w = t->ppo;
    if (!w || n > t->c.rows_max)
        return err_set(ERR_INVAL, "training was opened for %zu imagined rows, not %zu",
                       t->c.rows_max, n);
    draws_fill(draws, DRAW_PERM, batch << EPOCH_BITS | epoch, 0, w->uniform, n);
    argsort(order, w->uniform, w->key[0], w->key[1], n);
    return 0;
}

/* ------------------------------------------------------------------------------- minibatch */

/* One pass over a minibatch: what its tasks read. */
struct pass {
    struct mag_train *t;
    struct mag_ppo_work *w;
    const struct nets *nets;
    const struct mag_rows *rows;
    const float *adv;
    const uint32_t *order; /* [n] joint rows of the minibatch */
    size_t n;
    size_t at, count; /* the block: position in order, joint rows */
    size_t piece;     /* joint rows of its pieces, the last may have fewer */
};

/* The size of the fewest equal parts of n of at most `most`: equal parts keep threads busy to
 * the end. */
static size_t even(size_t n, size_t most)
{
    size_t parts = (n + most - 1) / most;
    return (n + parts - 1) / parts;
}

/* Joint rows [first, first + P) of the block as contiguous tokens. */
static void gather_rows(const struct pass *p, size_t first, size_t P)
{
    size_t NC = p->nets->d.N * p->nets->d.C, ND = p->nets->d.N * p->nets->d.D;
    for (size_t k = first; k < first + P; k++) {
        size_t row = p->order[p->at + k];
        memcpy(p->w->index + k * NC, p->rows->index + row * NC, NC);
        memcpy(p->w->h + k * ND, p->rows->h + row * ND, ND * sizeof(float));
    }
}

/* Numbers of every token of an actor piece. */
struct actor_tokens {
    float *lp; /* [tokens][ld] log-softmax */
    float *ratio, *ca, *entropy,
        *adv;    /* [tokens]; ratio: first log rho; ca: dloss/dlog pi(a) */
    float *line; /* [2 A] */
    uint8_t *action;
};

/* The surrogate of every token: sums, and the weight of its log-probability in the gradient. */
static void surrogate(const struct pass *p, struct actor_tokens *a, size_t tokens,
                      struct ppo_sums *s)
{
    double eta = p->t->st.entropy_weight;
    float low = (float)(1 - p->t->cfg.ppo.clip), high = (float)(1 + p->t->cfg.ppo.clip);
    float scale = (float)(1 / ((double)p->n * (double)p->nets->d.N));
    for (size_t k = 0; k < tokens; k++) {
        float ratio = a->ratio[k];
        float bounded = ratio < low ? low : ratio > high ? high : ratio;
        float plain = ratio * a->adv[k], clipped = bounded * a->adv[k];
        bool free_side =
            plain <= clipped; /* outside the clip's range only one side has slope */
        s->actor += -(double)(free_side ? plain : clipped) - eta * (double)a->entropy[k];
        s->entropy += (double)a->entropy[k];
        s->clipped += ratio < low || ratio > high;
        double off = fabs((double)ratio - 1);
        s->ratio_error = off > s->ratio_error ? off : s->ratio_error;
        /* d rho / d log pi = rho; a NaN must not hide behind the comparison */
        a->ca[k] = free_side || isnan(plain) ? -plain * scale : 0;
    }
}

/* Gather what the tokens of a piece bring along: log rho, advantage, action. */
static void actor_gather(const struct pass *p, struct actor_tokens *a, size_t first, size_t P,
                         struct ppo_sums *s)
{
    size_t N = p->nets->d.N, ld = nets_pad(p->nets->d.A);
    for (size_t k = 0; k < P; k++) {
        size_t row = p->order[p->at + first + k] * N;
        memcpy(a->action + k * N, p->rows->action + row, N);
        memcpy(a->adv + k * N, p->adv + row, N * sizeof(float));
        for (size_t j = k * N; j < (k + 1) * N; j++)
            a->ratio[j] = a->lp[j * ld + a->action[j]] - p->rows->logp[row + j - k * N];
    }
    p->nets->kern->exp(a->ca, a->ratio, P * N); /* ca holds rho for a moment */
    for (size_t j = 0; j < P * N; j++) {
        s->kl += (double)a->ca[j] - 1 - (double)a->ratio[j]; /* >= 0, unbiased for the KL */
        a->ratio[j] = a->ca[j];
    }
}

/* No gradient reaches a masked logit: it was replaced by a constant. That matters for rows
 * whose imagined mask left nothing, where probabilities are not 0. */
static void zero_masked(float *d, const uint8_t *bits, size_t tokens, size_t A, size_t ld)
{
    size_t bytes = (A + 7) / 8;
    for (size_t k = 0; k < tokens; k++)
        for (size_t a = 0; a < A; a++)
            if (!(bits[k * bytes + a / 8] >> a % 8 & 1))
                d[k * ld + a] = 0;
}

static void actor_piece(const struct pass *p, size_t first, size_t P, size_t worker,
                        struct ppo_sums *s)
{
    struct mag_ppo_work *w = p->w;
    const struct kern *kern = p->nets->kern;
    size_t N = p->nets->d.N, A = p->nets->d.A, ld = nets_pad(A), bytes = (A + 7) / 8;
    size_t tokens = P * N, row0 = first * N;
    struct actor_tokens a = {.lp = w->scratch[worker], .action = w->action[worker]};
    a.ratio = a.lp + tokens * ld;
    a.ca = a.ratio + tokens;
    a.entropy = a.ca + tokens;
    a.adv = a.entropy + tokens;
    a.line = a.adv + tokens;

    head_forward(p->nets, HEAD_ACTOR, &w->actor, w->index + row0 * p->nets->d.C,
                 w->h + row0 * p->nets->d.D, row0, tokens);
    size_t last = w->actor.depth - 1;
    float *logits = w->actor.y[last] + row0 * ld, *d = w->actor.d[last] + row0 * ld;
    for (size_t k = 0; k < P; k++)
        policy_mask_bits(logits + k * N * ld,
                         p->rows->avail + p->order[p->at + first + k] * N * bytes, N, A, ld);
    kern->log_softmax(a.lp, logits, tokens, A, ld);
    actor_gather(p, &a, first, P, s);
    loss_entropy(kern, a.entropy, a.lp, tokens, A, ld, a.line);
    surrogate(p, &a, tokens, s);
    memset(d, 0, tokens * ld * sizeof(float));
    float ce = (float)(p->t->st.entropy_weight / ((double)p->n * (double)N));
    loss_policy_backward(kern, d, ld, a.lp, ld, a.action, a.ca, ce, tokens, A, a.line);
    for (size_t k = 0; k < P; k++)
        zero_masked(d + k * N * ld, p->rows->avail + p->order[p->at + first + k] * N * bytes, N,
                    A, ld);
    head_backward(p->nets, HEAD_ACTOR, &w->actor, NULL, NULL, row0, tokens);
}

static void critic_piece(const struct pass *p, size_t first, size_t P, size_t worker,
                         struct ppo_sums *s)
{
    struct mag_ppo_work *w = p->w;
    size_t N = p->nets->d.N, ld = nets_pad(1), tokens = P * N, row0 = first * N;

    critic_forward(p->nets, &w->critic, w->index + row0 * p->nets->d.C,
                   w->h + row0 * p->nets->d.D, row0, tokens, w->scratch[worker]);
    const float *v = w->critic.v + row0 * ld;
    float *d = w->critic.d_v + row0 * ld;
    float scale = (float)(1 / ((double)p->n * (double)N));
    memset(d, 0, tokens * ld * sizeof(float));
    for (size_t k = 0; k < tokens; k++) {
        float error = v[k * ld] - p->rows->ret[p->order[p->at + first + k / N] * N + k % N];
        s->critic += 0.5 * (double)error * (double)error;
        d[k * ld] = error * scale;
    }
    critic_backward(p->nets, &w->critic, row0, tokens, w->scratch[worker]);
}

static void piece_task(void *arg, size_t task, size_t worker)
{
    const struct pass *p = arg;
    size_t first = task * p->piece, left = p->count - first;
    size_t P = left < p->piece ? left : p->piece;
    struct ppo_sums *s = &p->w->sums[task];
    *s = (struct ppo_sums){0};
    gather_rows(p, first, P);
    actor_piece(p, first, P, worker, s);
    critic_piece(p, first, P, worker, s);
}

static void add_sums(struct ppo_sums *into, const struct ppo_sums *s)
{
    into->actor += s->actor;
    into->critic += s->critic;
    into->entropy += s->entropy;
    into->kl += s->kl;
    into->clipped += s->clipped;
    if (s->ratio_error > into->ratio_error)
        into->ratio_error = s->ratio_error;
}

/* Forward and backward over the minibatch: t->grad = the gradients of both networks, sums. */
static void run_pass(struct pass *p, struct ppo_sums *sums)
{
    struct mag_ppo_work *w = p->w;
    size_t N = p->nets->d.N, block = even(p->n, w->block);
    struct dw_job jobs[JOBS_MAX];
    memset(sums, 0, sizeof(*sums));
    for (p->at = 0; p->at < p->n; p->at += p->count) {
        p->count = p->n - p->at < block ? p->n - p->at : block;
        p->piece = even(p->count, w->piece);
        size_t pieces = (p->count + p->piece - 1) / p->piece, rows = p->count * N;
        pool_run(p->t->pool, piece_task, p, pieces);
        for (size_t k = 0; k < pieces; k++)
            add_sums(sums, &w->sums[k]);
        size_t n = critic_jobs(jobs, p->nets, &w->critic, w->index, w->h, rows);
        n += head_jobs(jobs + n, p->nets, HEAD_ACTOR, &w->actor, w->index, w->h, rows);
        dw_run(p->nets->kern, p->t->pool, p->t->grad, p->at == 0, jobs, n);
    }
}

static struct pass pass_of(struct mag_train *t, const struct mag_rows *rows, const float *adv,
                           const uint32_t *order, size_t n)
{
    return (struct pass){.t = t,
                         .w = t->ppo,
                         .nets = &t->nets,
                         .rows = rows,
                         .adv = adv,
                         .order = order,
                         .n = n};
}

static int check_rows(const struct mag_train *t, const struct mag_rows *rows, size_t n)
{
    if (!t->ppo || rows->S * rows->steps > t->c.rows_max || rows->S * rows->steps == 0 ||
        n == 0)
        return err_set(ERR_INVAL, "training was opened for 1 to %zu imagined rows, not %zu",
                       t->c.rows_max, rows->S * rows->steps);
    return 0;
}

int mag_ppo_gradient(struct mag_train *t, const struct mag_rows *rows, const float *adv,
                     const uint32_t *order, size_t n, float *grad, double out[4])
{
    int err = check_rows(t, rows, n);
    if (err)
        return err;
    struct pass p = pass_of(t, rows, adv, order, n);
    double tokens = (double)n * (double)p.nets->d.N;
    memset(grad, 0, t->m->params.count * sizeof(float));
    struct ppo_sums s;
    run_pass(&p, &s);
    for (int critic = 0; critic < 2; critic++) {
        size_t first, count;
        mag_opt_range(&t->m->params, critic ? OPT_CRITIC : OPT_ACTOR, &first, &count);
        memcpy(grad + first, t->grad + first, count * sizeof(float));
        out[2 * critic] = (critic ? s.critic : s.actor) / tokens;
        out[2 * critic + 1] = adam_norm(p.nets->kern, t->pool, t->grad + first, count);
    }
    return 0;
}

/* ----------------------------------------------------------------------------------- batch */

/* What accumulates over the minibatches of a batch, divided at the end. */
struct ppo_totals {
    struct ppo_sums sums; /* of the steps taken: a refused one must not spoil the means */
    double tokens[2], norm[2], steps[2]; /* actor, critic */
    size_t minibatches;
};

static void add_step(struct ppo_totals *total, int which, double tokens, double norm)
{
    total->tokens[which] += tokens;
    total->norm[which] += norm;
    total->steps[which]++;
}

/* The entropy weight falls with every step of the actor, down to its floor. */
static void anneal(struct mag_train *t)
{
    double fallen = t->st.entropy_weight * t->cfg.ppo.anneal;
    if (fallen >= t->cfg.ppo.entropy_floor)
        t->st.entropy_weight = fallen;
}

/* One minibatch: the actor's step, then the critic's; entropy weight annealed after the
 * actor's. line (may be NULL) = losses and norms. */
static void minibatch(struct pass *p, struct mag_ppo_stats *out, struct ppo_totals *total,
                      double *line)
{
    struct mag_train *t = p->t;
    const struct config *cfg = &t->cfg;
    struct ppo_sums s;
    double tokens = (double)p->n * (double)p->nets->d.N, norm[2];
    bool skipped;

    run_pass(p, &s);
    double actor = s.actor / tokens, critic = s.critic / tokens;
    mag_opt_step(t, OPT_ACTOR, actor, cfg->lr.actor, cfg->ppo.grad_clip, cfg->ppo.actor_l2,
                 &norm[0], &skipped);
    out->skipped += skipped;
    if (!skipped) {
        out->actor_steps++;
        anneal(t);
        add_step(total, 0, tokens, norm[0]);
        total->sums.actor += s.actor;
        total->sums.entropy += s.entropy;
        total->sums.kl += s.kl;
        total->sums.clipped += s.clipped;
    }
    if (total->minibatches == 0)
        out->first_ratio_error = s.ratio_error;

    mag_opt_step(t, OPT_CRITIC, critic, cfg->lr.critic, cfg->ppo.grad_clip, 0, &norm[1],
                 &skipped);
    out->skipped += skipped;
    if (!skipped) {
        out->critic_steps++;
        add_step(total, 1, tokens, norm[1]);
        total->sums.critic += s.critic;
    }
    total->minibatches++;
    if (line) {
        line[0] = actor;
        line[1] = norm[0];
        line[2] = critic;
        line[3] = norm[1];
    }
}

/* 1 - var(G - V) / var(G): 1 = the critic explains all, 0 = no better than a constant. */
static double explained_variance(const struct mag_rows *rows, size_t n, double adv_std)
{
    double mean, std;
    moments(rows->ret, n, &mean, &std);
    return std > 0 ? 1 - adv_std * adv_std / (std * std) : 0;
}

static void finish_stats(struct mag_ppo_stats *out, const struct ppo_totals *total)
{
    if (total->steps[0] > 0) {
        out->actor_loss = total->sums.actor / total->tokens[0];
        out->entropy = total->sums.entropy / total->tokens[0];
        out->kl = total->sums.kl / total->tokens[0];
        out->clip_fraction = total->sums.clipped / total->tokens[0];
        out->grad_norm_actor = total->norm[0] / total->steps[0];
    }
    if (total->steps[1] > 0) {
        out->critic_loss = total->sums.critic / total->tokens[1];
        out->grad_norm_critic = total->norm[1] / total->steps[1];
    }
}

int mag_ppo_batch(struct mag_train *t, const struct mag_rows *rows, const struct draws *draws,
                  uint64_t batch, struct mag_ppo_stats *out, double (*minibatch_out)[4])
{
    size_t n = rows->S * rows->steps, N = t->m->d.N;
    int err = check_rows(t, rows, n);
    if (err)
        return err;
    struct mag_ppo_work *w = t->ppo;
    struct ppo_totals total = {0};
    size_t done = 0;
    memset(out, 0, sizeof(*out));
    advantage(rows, N, w->adv, &out->adv_mean, &out->adv_std);
    double spread;
    moments(rows->ret, n * N, &out->return_mean, &spread);
    out->explained_variance = explained_variance(rows, n * N, out->adv_std);
    for (uint64_t epoch = 0; epoch < t->cfg.train.ppo_epochs; epoch++) {
        err = mag_ppo_order(t, draws, batch, epoch, n, w->order);
        bug_on(err); /* check_rows has passed */
        for (size_t at = 0; at < n; at += t->c.minibatch) {
            size_t count = n - at < t->c.minibatch ? n - at : t->c.minibatch;
            struct pass p = pass_of(t, rows, w->adv, w->order + at, count);
            minibatch(&p, out, &total, minibatch_out ? minibatch_out[done] : NULL);
            fault_point("ppo.minibatch");
            done++;
        }
    }
    if (done)
        finish_stats(out, &total);
    return 0;
}
