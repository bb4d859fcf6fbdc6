/* SPDX-License-Identifier: Apache-2.0 */
/* act.c - the policy in real environments: filter the observation, draw an action.
 *
 * Per environment step (mag.md 14): the previous action and state go through the transition,
 * the observation corrects it to a posterior, a latent is drawn from it, the actor reads
 * [s ; h]. At the first step of an episode there is no state and no action: no class rows, no
 * action row, h = 0. The prior head is not needed and not evaluated.
 *
 * LAYOUT  One joint environment per row. A step copies the rows that take part side by side,
 * computes them as one batch and copies their states back, so that a row's bits do not depend
 * on which others act, and an environment that waits costs nothing. All memory at open.
 *
 * THREADS  The batch is cut into one run of rows per thread of the pool; a thread takes its rows
 * through the whole step, so that they meet once and not at every layer. */
#include "mag_priv.h"
#include "policy.h"

#include "base/err.h"

#include <stdlib.h>
#include <string.h>

struct mag_act {
    const struct mag_model *m;
    size_t rows;
    struct pool *pool;
    struct arena arena;
    struct nets_work **nets; /* [threads] */
    /* state of every row */
    uint8_t *index;  /* [rows][N][C] */
    float *h;        /* [rows][N][D] */
    uint8_t *action; /* [rows][N] */
    uint32_t *step;  /* [rows] since reset; 0: no state yet */
    /* the batch of one call */
    uint8_t *b_index, *b_action, *b_avail, *b_none;
    float *b_h, *b_obs, *b_e, *b_post, *b_u, *b_u_act, *b_logits, *b_scratch;
};

static size_t act_bytes(const struct nets_dims *d, size_t rows, size_t threads)
{
    size_t tokens = rows * d->N, ld = nets_pad(d->A);
    size_t floats = 3 * d->D + d->O + nets_latent_ld(d) + d->C + 1 + 2 * ld;
    size_t bytes = 2 * d->C + 2 + d->A;
    size_t pieces = 21; /* each rounded up to a line of 64 bytes */
    return threads * (nets_work_bytes(d) + sizeof(struct nets_work *)) +
           tokens * (floats * sizeof(float) + bytes) + rows * (sizeof(uint32_t) + 1) +
           pieces * 64;
}

static void act_carve(struct mag_act *a, const struct nets_dims *d)
{
    size_t tokens = a->rows * d->N, ld = nets_pad(d->A);
    a->nets = ARENA_NEW(&a->arena, struct nets_work *, pool_threads(a->pool));
    for (size_t i = 0; i < pool_threads(a->pool); i++)
        a->nets[i] = nets_work_carve(d, &a->arena);
    a->index = ARENA_ZNEW(&a->arena, uint8_t, tokens * d->C);
    a->h = ARENA_ZNEW(&a->arena, float, tokens * d->D);
    a->action = ARENA_ZNEW(&a->arena, uint8_t, tokens);
    a->step = ARENA_ZNEW(&a->arena, uint32_t, a->rows);
    a->b_index = ARENA_NEW(&a->arena, uint8_t, tokens * d->C);
    a->b_action = ARENA_NEW(&a->arena, uint8_t, tokens);
    a->b_avail = ARENA_NEW(&a->arena, uint8_t, tokens * d->A);
    a->b_none = ARENA_NEW(&a->arena, uint8_t, a->rows);
    a->b_h = ARENA_NEW(&a->arena, float, tokens * d->D);
    a->b_obs = ARENA_NEW(&a->arena, float, tokens * d->O);
    a->b_e = ARENA_NEW(&a->arena, float, tokens * d->D);
    a->b_post = ARENA_NEW(&a->arena, float, tokens *nets_latent_ld(d));
    a->b_u = ARENA_NEW(&a->arena, float, tokens * d->C);
    a->b_u_act = ARENA_NEW(&a->arena, float, tokens);
    a->b_logits = ARENA_NEW(&a->arena, float, tokens *ld);
    a->b_scratch = ARENA_NEW(&a->arena, float, tokens *ld);
}

int mag_act_open(struct mag_act **out, const struct mag_model *m, size_t rows,
                 struct pool *pool)
{
    const struct nets_dims *d = &mag_nets(m)->d;
    if (rows < 1)
        return err_set(ERR_INVAL, "acting needs at least one environment");
    struct mag_act *a = calloc(1, sizeof(*a));
    if (!a)
        return ERR_NOMEM;
    a->m = m;
    a->rows = rows;
    a->pool = pool;
    int err = arena_init(&a->arena, act_bytes(d, rows, pool_threads(pool)));
    if (err) {
        free(a);
        return err;
    }
    act_carve(a, d);
    *out = a;
    return 0;
}

void mag_act_close(struct mag_act *a)
{
    if (!a)
        return;
    arena_fini(&a->arena);
    free(a);
}

size_t mag_act_reserved(const struct mag_act *a)
{
    return a->arena.size;
}

void mag_act_reset(struct mag_act *a, size_t row)
{
    bug_on(row >= a->rows);
    a->step[row] = 0;
}

/* Batch position k <- row: state, inputs and uniforms. */
static void load_row(struct mag_act *a, const struct nets_dims *d, const struct draws *draws,
                     const struct mag_act_row *r, size_t k)
{
    size_t N = d->N, C = d->C, D = d->D;
    uint32_t step = a->step[r->row];
    enum draw_domain latent = r->eval ? DRAW_EVAL_LATENT : DRAW_ACT_LATENT;
    enum draw_domain action = r->eval ? DRAW_EVAL_ACT : DRAW_ACT_ACTION;
    memcpy(a->b_index + k * N * C, a->index + r->row * N * C, N * C);
    memcpy(a->b_h + k * N * D, a->h + r->row * N * D, N * D * sizeof(float));
    memcpy(a->b_action + k * N, a->action + r->row * N, N);
    a->b_none[k] = step == 0;
    if (step == 0)
        memset(a->b_action + k * N, NETS_NO_ACTION, N);
    memcpy(a->b_obs + k * N * d->O, r->obs, N * d->O * sizeof(float));
    memcpy(a->b_avail + k * N * d->A, r->avail, N * d->A);
    if (!r->latent_mode)
        draws_fill(draws, latent, r->item, step, a->b_u + k * N * C, N * C);
    if (r->mode == MAG_ACT_SAMPLE)
        draws_fill(draws, action, r->item, step, a->b_u_act + k * N, N);
}

/* The latent of a row from its posterior: drawn, or the mode. */
static void draw_latent(struct mag_act *a, const struct nets *n, const struct mag_act_row *r,
                        size_t k)
{
    size_t N = n->d.N, C = n->d.C, ld = nets_latent_ld(&n->d);
    uint8_t *index = a->b_index + k * N * C;
    const float *logits = a->b_post + k * N * ld;
    if (r->latent_mode)
        nets_mode(n, index, logits, N);
    else
        nets_sample(n, index, logits, a->b_u + k * N * C, N);
}

static void draw_action(struct mag_act *a, const struct nets *n, const struct mag_act_row *r,
                        size_t k)
{
    size_t N = n->d.N, A = n->d.A, ld = nets_pad(A);
    struct policy p = {.tokens = N,
                       .A = A,
                       .ld = ld,
                       .logits = a->b_logits + k * N * ld,
                       .avail = a->b_scratch + k * N * ld,
                       .given = a->b_avail + k * N * A,
                       .u_act = r->mode == MAG_ACT_SAMPLE ? a->b_u_act + k * N : NULL,
                       .action = r->action,
                       .masked = r->logits};
    policy_draw(n->kern, &p);
}

/* The row keeps state and action for its next step. */
static void store_row(struct mag_act *a, const struct nets_dims *d, const struct mag_act_row *r,
                      size_t k)
{
    size_t N = d->N, C = d->C, D = d->D;
    memcpy(a->index + r->row * N * C, a->b_index + k * N * C, N * C);
    memcpy(a->h + r->row * N * D, a->b_h + k * N * D, N * D * sizeof(float));
    memcpy(a->action + r->row * N, r->action, N);
    a->step[r->row]++;
    if (r->h)
        memcpy(r->h, a->b_h + k * N * D, N * D * sizeof(float));
    if (r->index)
        memcpy(r->index, a->b_index + k * N * C, N * C);
}

/* One call of mag_act_step, cut into `shards`. */
struct act_call {
    struct mag_act *a;
    const struct draws *draws;
    const struct mag_act_row *rows;
    size_t n, shards;
};

/* The rows of a shard, from loading to storing. */
static void act_shard(void *arg, size_t shard, size_t worker)
{
    const struct act_call *c = arg;
    struct mag_act *a = c->a;
    const struct nets *n = mag_nets(a->m);
    struct nets_work *w = a->nets[worker];
    const size_t from = c->n * shard / c->shards, to = c->n * (shard + 1) / c->shards;
    const size_t at = from * n->d.N, tokens = (to - from) * n->d.N;
    uint8_t *index = a->b_index + at * n->d.C;
    float *h = a->b_h + at * n->d.D, *e = a->b_e + at * n->d.D;
    float *post = a->b_post + at * nets_latent_ld(&n->d);
    for (size_t k = from; k < to; k++)
        load_row(a, &n->d, c->draws, &c->rows[k], k);
    nets_encoder(n, w, e, a->b_obs + at * n->d.O, tokens);
    nets_transition(n, w, h, index, a->b_action + at, h, a->b_none + from, to - from);
    nets_posterior(n, w, post, h, e, tokens);
    for (size_t k = from; k < to; k++)
        draw_latent(a, n, &c->rows[k], k);
    nets_one_head(n, w, a->b_logits + at * nets_pad(n->d.A), HEAD_ACTOR, index, h, tokens);
    for (size_t k = from; k < to; k++) {
        draw_action(a, n, &c->rows[k], k);
        store_row(a, &n->d, &c->rows[k], k);
    }
}

void mag_act_step(struct mag_act *a, const struct draws *draws, struct mag_act_row *rows,
                  size_t n_rows)
{
    const size_t threads = pool_threads(a->pool);
    struct act_call call = {a, draws, rows, n_rows, n_rows < threads ? n_rows : threads};
    bug_on(n_rows > a->rows);
    for (size_t k = 0; k < n_rows; k++)
        bug_on(rows[k].row >= a->rows);
    pool_run(a->pool, act_shard, &call, call.shards);
}
