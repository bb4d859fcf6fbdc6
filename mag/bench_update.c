/* SPDX-License-Identifier: Apache-2.0 */
/* bench_update.c - one MAG update, timed phase by phase and kernel by kernel.
 *
 * HOW  The linker sends the program's calls of kern_get here (-Wl,--wrap). Normally they go
 * straight on. While this bench opens its model they get a table whose slots note thread time
 * and multiply-adds and then do the real thing, so what is timed is what trains, the same bits
 * included. The draws are wrapped likewise.
 *
 * WHAT COUNTS  MACs are those of products as they are called, padding to 32 columns included;
 * rows added for one-hot inputs and attention's dot products are no products; a layer's bias and
 * activation are timed with its product. Time outside
 * products is thread time: threads x seconds, less what all threads spent inside products.
 * `rest` is what no kernel accounts for: copies, loops, waiting for the others.
 *
 * DATA  Episodes of the configured map under random available actions, absorbing records as
 * replay has them, cut into random windows; initial weights. */
#include "bench_update.h"

#include "args.h"

#include "algo/mag.h"
#include "base/err.h"
#include "env/env.h"
#include "nn/half.h"
#include "nn/kern.h"
#include "par/pool.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ------------------------------------------------------------------------------ observing */

enum part {
    PART_PRODUCT,
    PART_ROWS,
    PART_DRAWS,
    PART_SOFTMAX,
    PART_UNITS,
    PART_GRU,
    PART_ATTN,
    PART_NORM,
    PART_LOSS,
    PART_ADAM,
    PART_MISC,
    PARTS
};
static const char *const part_name[PARTS] = {"products", "rows", "draws", "softmax",
                                             "units",    "gru",  "attn",  "norm",
                                             "loss",     "adam", "misc"};

enum { THREADS_MAX = 1024 };
struct tally {
    _Alignas(64) uint64_t ns[PARTS];
    double macs;
};
static struct tally tallies[THREADS_MAX];
static atomic_size_t tallies_taken;
static _Thread_local struct tally *mine;

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void spend(enum part part, uint64_t since, double macs)
{
    uint64_t ns = now_ns() - since;
    if (!mine) {
        size_t at = atomic_fetch_add(&tallies_taken, 1);
        bug_on(at >= THREADS_MAX);
        mine = &tallies[at];
    }
    mine->ns[part] += ns;
    mine->macs += macs;
}

static struct kern plain, observed;

#define SLOT(part, slot, macs, params, args)                                                   \
    static void observe_##slot params                                                          \
    {                                                                                          \
        uint64_t since = now_ns();                                                             \
        plain.slot args;                                                                       \
        spend(part, since, macs);                                                              \
    }

SLOT(PART_PRODUCT, gemm, (double)M *(double)N *(double)K,
     (float *y, size_t ldy, const float *x, size_t ldx, const float *w, size_t ldw, size_t M,
      size_t N, size_t K, bool accumulate),
     (y, ldy, x, ldx, w, ldw, M, N, K, accumulate))
SLOT(PART_PRODUCT, layer, (double)M *(double)N *(double)K,
     (float *y, size_t ldy, const float *x, size_t ldx, const float *w, size_t ldw,
      const float *bias, enum kern_act act, size_t M, size_t N, size_t K),
     (y, ldy, x, ldx, w, ldw, bias, act, M, N, K))
SLOT(PART_PRODUCT, layer_packed, (double)M *(double)N *(double)K,
     (float *y, size_t ldy, const float *x, size_t ldx, const float *w, size_t next,
      const float *bias, enum kern_act act, size_t M, size_t N, size_t K, bool accumulate),
     (y, ldy, x, ldx, w, next, bias, act, M, N, K, accumulate))
SLOT(PART_PRODUCT, gemm_dw, (double)R *(double)N *(double)K,
     (float *dw, size_t ldw, const float *x, size_t ldx, const float *dy, size_t ldy, size_t R,
      size_t N, size_t K),
     (dw, ldw, x, ldx, dy, ldy, R, N, K))
SLOT(PART_ROWS, gather, 0,
     (float *y, size_t ldy, const struct kern_rows *r, size_t M, size_t N), (y, ldy, r, M, N))
SLOT(PART_ROWS, scatter, 0,
     (float *dcat, float *dact, size_t ld, const struct kern_rows *r, size_t c0, size_t c1,
      const float *dy, size_t ldy, size_t M, size_t N),
     (dcat, dact, ld, r, c0, c1, dy, ldy, M, N))
SLOT(PART_SOFTMAX, softmax, 0, (float *p, const float *x, size_t n, size_t K, size_t stride),
     (p, x, n, K, stride))
SLOT(PART_SOFTMAX, log_softmax, 0,
     (float *p, const float *x, size_t n, size_t K, size_t stride), (p, x, n, K, stride))
SLOT(PART_SOFTMAX, sample, 0,
     (uint8_t * index, const float *p, const float *u, size_t n, size_t K, size_t stride),
     (index, p, u, n, K, stride))
SLOT(PART_SOFTMAX, draw, 0,
     (uint8_t * index, const float *x, const float *u, size_t n, size_t K, size_t stride),
     (index, x, u, n, K, stride))
SLOT(PART_SOFTMAX, softmax_backward, 0,
     (float *dx, const float *p, const float *dp, size_t n, size_t K, size_t stride),
     (dx, p, dp, n, K, stride))
SLOT(PART_LOSS, kl, 0,
     (float *kl, const float *p, const float *q, size_t n, size_t K, size_t stride),
     (kl, p, q, n, K, stride))
SLOT(PART_LOSS, kl_backward, 0,
     (float *dxp, float *dxq, const float *p, const float *q, float wp, float wq, size_t n,
      size_t K, size_t stride),
     (dxp, dxq, p, q, wp, wq, n, K, stride))
SLOT(PART_LOSS, smooth_l1, 0,
     (float *value, float *d, size_t ldd, const float *pred, size_t ldp, const float *target,
      size_t ldt, const float *weight, float scale, size_t M, size_t n),
     (value, d, ldd, pred, ldp, target, ldt, weight, scale, M, n))
SLOT(PART_LOSS, bernoulli, 0,
     (float *value, float *d, size_t ldd, const float *pred, size_t ldp, const uint8_t *target,
      size_t ldt, const float *weight, float scale, size_t M, size_t n),
     (value, d, ldd, pred, ldp, target, ldt, weight, scale, M, n))
SLOT(PART_NORM, norm, 0,
     (float *y, float *xhat, float *rstd, const float *x, const float *gamma, const float *beta,
      size_t M, size_t D),
     (y, xhat, rstd, x, gamma, beta, M, D))
SLOT(PART_NORM, norm_backward, 0,
     (float *dx, float *again, const float *dy, const float *xhat, const float *rstd,
      const float *gamma, size_t M, size_t D),
     (dx, again, dy, xhat, rstd, gamma, M, D))
SLOT(PART_GRU, gru, 0,
     (float *out, float *gates, const float *gi, const float *gh, const float *h, size_t M,
      size_t D),
     (out, gates, gi, gh, h, M, D))
SLOT(PART_GRU, gru_backward, 0,
     (float *dgi, float *dgh, float *dh, const float *dout, const float *gates, const float *h,
      size_t M, size_t D),
     (dgi, dgh, dh, dout, gates, h, M, D))
SLOT(PART_ATTN, attn, 0, (float *ctx, float *prob, const float *qkv, const struct kern_attn *a),
     (ctx, prob, qkv, a))
SLOT(PART_ATTN, attn_backward, 0,
     (float *dqkv, const float *dctx, const float *prob, const float *qkv,
      const struct kern_attn *a),
     (dqkv, dctx, prob, qkv, a))
SLOT(PART_UNITS, relu, 0, (float *y, const float *x, size_t n), (y, x, n))
SLOT(PART_UNITS, elu, 0, (float *y, const float *x, size_t n), (y, x, n))
SLOT(PART_UNITS, sigmoid, 0, (float *y, const float *x, size_t n), (y, x, n))
SLOT(PART_UNITS, relu_backward, 0, (float *d, const float *y, size_t n), (d, y, n))
SLOT(PART_UNITS, elu_backward, 0, (float *d, const float *y, size_t n), (d, y, n))
SLOT(PART_MISC, add, 0, (float *y, const float *x, size_t n), (y, x, n))
SLOT(PART_MISC, drop, 0, (float *y, const uint8_t *mask, float keep, size_t n),
     (y, mask, keep, n))
SLOT(PART_MISC, drop_mask, 0, (uint8_t * mask, const float *u, float rate, size_t n),
     (mask, u, rate, n))
SLOT(PART_MISC, transpose, 0,
     (float *wt, size_t ldt, const float *w, size_t ldw, size_t rows, size_t cols),
     (wt, ldt, w, ldw, rows, cols))
SLOT(PART_MISC, fill_rows, 0, (float *y, size_t ldy, const float *v, size_t M, size_t N),
     (y, ldy, v, M, N))
SLOT(PART_MISC, sum_rows, 0, (float *v, const float *y, size_t ldy, size_t R, size_t N),
     (v, y, ldy, R, N))
SLOT(PART_MISC, dot_rows, 0,
     (float *v, const float *a, size_t lda, const float *b, size_t ldb, size_t R, size_t N),
     (v, a, lda, b, ldb, R, N))
SLOT(PART_ADAM, adam, 0,
     (float *p, float *m, float *v, const float *g, size_t n, const struct kern_adam *c),
     (p, m, v, g, n, c))

static void observe(const struct kern *real)
{
    plain = observed = *real;
#define USE(slot) observed.slot = observe_##slot
    USE(gemm), USE(layer), USE(gemm_dw), USE(gather), USE(scatter), USE(softmax),
        USE(log_softmax);
    USE(sample), USE(draw), USE(softmax_backward), USE(kl), USE(kl_backward), USE(smooth_l1);
    USE(bernoulli), USE(norm), USE(norm_backward), USE(gru), USE(gru_backward), USE(attn);
    USE(attn_backward), USE(relu), USE(elu), USE(sigmoid), USE(relu_backward);
    USE(elu_backward), USE(add), USE(drop), USE(drop_mask), USE(transpose), USE(fill_rows);
    USE(sum_rows), USE(dot_rows), USE(adam);
    if (plain.layer_packed)
        USE(layer_packed);
#undef USE
}

/* The linker's names: calls of kern_get arrive at the first, the second is kern_get itself. */
int __wrap_kern_get(enum cfg_isa isa, const struct kern **out);
int __real_kern_get(enum cfg_isa isa, const struct kern **out);
static bool observing; /* while bench_update opens what it times; one thread */

int __wrap_kern_get(enum cfg_isa isa, const struct kern **out)
{
    int err = __real_kern_get(isa, out);
    if (!err && observing) {
        observe(*out);
        *out = &observed;
    }
    return err;
}

/* Half precision likewise: its products count as products. */
static struct kern_half plain_half, observed_half;

static void observe_half(float *y, size_t ldy, const float *x, size_t ldx, const uint16_t *w,
                         const float *bias, size_t M, size_t N, size_t K, bool accumulate)
{
    uint64_t since = now_ns();
    plain_half.gemm(y, ldy, x, ldx, w, bias, M, N, K, accumulate);
    spend(PART_PRODUCT, since, (double)M * (double)N * (double)K);
}

int __wrap_kern_half_get(enum cfg_isa isa, const struct kern_half **out);
int __real_kern_half_get(enum cfg_isa isa, const struct kern_half **out);

int __wrap_kern_half_get(enum cfg_isa isa, const struct kern_half **out)
{
    int err = __real_kern_half_get(isa, out);
    if (!err && observing) {
        plain_half = observed_half = **out;
        observed_half.gemm = observe_half;
        *out = &observed_half;
    }
    return err;
}

static void observe_draws(void *state, enum draw_domain domain, uint64_t item, uint32_t sub,
                          float *u, size_t n)
{
    uint64_t since = now_ns();
    draws_fill(state, domain, item, sub, u, n);
    spend(PART_DRAWS, since, 0);
}

/* --------------------------------------------------------------------------------- replay */

enum { RECORDS = 4000, BATCHES = 4, AGENTS_MAX = 64, ACTIONS_MAX = 256 };

/* Records of episodes played one after the other. */
struct stream {
    size_t n, N, O, A;
    float *obs, *reward; /* [n][N][O], [n] */
    uint8_t *action, *avail, *done, *fake, *last;
};

static void random_joint(struct rng *r, const struct stream *s, const uint8_t *avail,
                         uint8_t *action)
{
    for (size_t i = 0; i < s->N; i++) {
        uint8_t open[ACTIONS_MAX];
        uint32_t count = 0;
        for (size_t a = 0; a < s->A; a++)
            if (avail[i * s->A + a])
                open[count++] = (uint8_t)a;
        action[i] = open[rng_below(r, count)];
    }
}

/* Two records of nothing follow an episode that ended by itself (mag.md 2). */
static void absorb(struct stream *s, struct rng *r)
{
    for (int k = 0; k < 2 && s->n < RECORDS; k++, s->n++) {
        memset(s->obs + s->n * s->N * s->O, 0, s->N * s->O * sizeof(float));
        memset(s->avail + s->n * s->N * s->A, 1, s->N * s->A);
        for (size_t i = 0; i < s->N; i++)
            s->action[s->n * s->N + i] = (uint8_t)rng_below(r, (uint32_t)s->A);
        s->reward[s->n] = 0;
        s->done[s->n] = s->fake[s->n] = 1;
        s->last[s->n] = k == 1;
    }
}

static int play(struct stream *s, struct env *e, const struct env_class *class, struct rng *r)
{
    struct env_step st = {.end = ENV_TERMINAL};
    uint64_t episodes = 0;
    while (s->n < RECORDS) {
        int err = st.end == ENV_RUNNING ? 0 : class->reset(e, ++episodes);
        if (err)
            return err;
        uint8_t *action = s->action + s->n * s->N, *avail = s->avail + s->n * s->N * s->A;
        class->observe(e, s->obs + s->n * s->N * s->O, avail, NULL);
        random_joint(r, s, avail, action);
        err = class->step(e, action, &st);
        if (err)
            return err;
        s->reward[s->n] = st.reward;
        s->done[s->n] = st.end != ENV_RUNNING;
        s->last[s->n] = st.end == ENV_LIMIT;
        s->n++;
        if (st.end == ENV_TERMINAL)
            absorb(s, r);
    }
    return 0;
}

static void stream_carve(struct stream *s, struct arena *a)
{
    s->obs = ARENA_ZNEW(a, float, RECORDS * s->N * s->O);
    s->reward = ARENA_ZNEW(a, float, RECORDS);
    s->action = ARENA_ZNEW(a, uint8_t, RECORDS * s->N);
    s->avail = ARENA_ZNEW(a, uint8_t, RECORDS * s->N * s->A);
    s->done = ARENA_ZNEW(a, uint8_t, RECORDS);
    s->fake = ARENA_ZNEW(a, uint8_t, RECORDS);
    s->last = ARENA_ZNEW(a, uint8_t, RECORDS);
}

/* B windows of W records from random places of the stream. */
static struct mag_windows cut_windows(const struct stream *s, size_t W, size_t B, struct rng *r,
                                      struct arena *a)
{
    size_t N = s->N, NO = N * s->O, NA = N * s->A;
    float *obs = ARENA_NEW(a, float, W *B *NO), *reward = ARENA_NEW(a, float, W *B *N);
    uint8_t *action = ARENA_NEW(a, uint8_t, W * B * N),
            *avail = ARENA_NEW(a, uint8_t, W * B * NA);
    uint8_t *flags = ARENA_NEW(a, uint8_t, 3 * W * B);
    uint8_t *done = flags, *fake = done + W * B, *last = fake + W * B;
    for (size_t b = 0; b < B; b++) {
        size_t first = rng_below(r, (uint32_t)(RECORDS - W));
        for (size_t t = 0; t < W; t++) {
            size_t to = t * B + b, from = first + t;
            memcpy(obs + to * NO, s->obs + from * NO, NO * sizeof(float));
            memcpy(action + to * N, s->action + from * N, N);
            memcpy(avail + to * NA, s->avail + from * NA, NA);
            for (size_t i = 0; i < N; i++)
                reward[to * N + i] = s->reward[from];
            done[to] = s->done[from];
            fake[to] = s->fake[from];
            last[to] = s->last[from];
        }
    }
    return (struct mag_windows){W, B, obs, action, avail, reward, done, fake, last};
}

/* --------------------------------------------------------------------------------- phases */

enum { ACT_LANES = 16, ACT_STEPS = 400, SAMPLE_STEPS = 3, SAMPLE_ACT = 40 };

struct phase {
    const char *name, *unit; /* "model step": one of `count` */
    bool extra;              /* not a part of an update */
    uint64_t count, of;      /* measured, and what a whole update has */
    unsigned threads;
    double seconds, macs, ns[PARTS];
};
enum { PHASES = 8 };

struct bench {
    struct config cfg;
    struct env_spec spec;
    struct mag_dims d;
    struct arena arena;
    struct mag_model *model;
    struct mag_train *train;
    struct pool *pool;
    struct philox philox;
    struct draws below, draws; /* philox, and the same observed */
    struct stream stream;
    struct mag_windows w[BATCHES];
    struct mag_rows rows;
    bool sample, imagined;
    double rate_one, rate_all; /* GFLOP/s of products: one thread, all at once */
    struct phase phase[PHASES];
    size_t phases;
};

static uint64_t begin(void)
{
    memset(tallies, 0, sizeof tallies);
    return now_ns();
}

static struct phase *end(struct bench *b, uint64_t since, const char *name, const char *unit,
                         uint64_t count, uint64_t of)
{
    struct phase *p = &b->phase[b->phases++];
    bug_on(b->phases > PHASES);
    *p = (struct phase){.name = name,
                        .unit = unit,
                        .count = count,
                        .of = of,
                        .threads = (unsigned)pool_threads(b->pool),
                        .seconds = 1e-9 * (double)(now_ns() - since)};
    for (size_t k = 0; k < atomic_load(&tallies_taken); k++) {
        p->macs += tallies[k].macs;
        for (size_t i = 0; i < PARTS; i++)
            p->ns[i] += (double)tallies[k].ns[i];
    }
    return p;
}

static uint64_t at_most(const struct bench *b, uint64_t n, uint64_t sample)
{
    return b->sample && n > sample ? sample : n;
}

/* The first call of a phase compiles kernels and touches memory: it is not counted. */
static int run_model(struct bench *b)
{
    struct mag_model_stats s;
    uint64_t of = b->cfg.train.model_steps, n = at_most(b, of, SAMPLE_STEPS);
    int err = mag_model_step(b->train, &b->w[0], &b->draws, of, &s);
    uint64_t since = begin();
    for (uint64_t k = 0; k < n && !err; k++)
        err = mag_model_step(b->train, &b->w[k % BATCHES], &b->draws, k, &s);
    end(b, since, "model", "gradient step", n, of);
    return err;
}

static int run_rm(struct bench *b)
{
    struct mag_rm_stats s;
    uint64_t of = b->cfg.train.rm_steps, n = at_most(b, of, SAMPLE_STEPS);
    int err = mag_rm_step(b->train, &b->w[0], &b->draws, of, &s);
    uint64_t since = begin();
    for (uint64_t k = 0; k < n && !err; k++)
        err = mag_rm_step(b->train, &b->w[k % BATCHES], &b->draws, k, &s);
    end(b, since, "rm", "gradient step", n, of);
    return err;
}

/* n imagined batches, each in one call. */
static int imagine(struct bench *b, const struct config *cfg, uint64_t n, uint64_t *since)
{
    struct mag_imagine *im = NULL;
    struct mag_imagine_cfg c = {.W = b->w[0].W, .windows_max = b->w[0].B, .cfg = cfg};
    struct mag_plan_stats stats;
    uint32_t *global = ARENA_NEW(&b->arena, uint32_t, c.windows_max);
    for (size_t k = 0; k < c.windows_max; k++)
        global[k] = (uint32_t)k;
    observing = true; /* half precision's products */
    int err = mag_imagine_open(&im, b->model, &c, b->pool);
    observing = false;
    struct mag_windows one = b->w[0]; /* its numbers in another order serve to warm up */
    struct mag_rows few = b->rows;
    one.B = 1;
    few.S = one.W - 2;
    if (!err)
        err = mag_imagine_windows(im, &one, global, c.windows_max, &b->draws, n, &few, &stats,
                                  NULL);
    *since = begin();
    for (uint64_t k = 0; k < n && !err; k++)
        err = mag_imagine_windows(im, &b->w[k % BATCHES], global, c.windows_max, &b->draws, k,
                                  &b->rows, &stats, NULL);
    mag_imagine_close(im);
    return err;
}

/* As configured; with planning also without, which tells what planning costs. */
static int run_imagine(struct bench *b)
{
    uint64_t of = b->cfg.train.batches, n = at_most(b, of, 1), since = 0;
    struct config plain_cfg = b->cfg;
    bool plans = b->cfg.imagine.search != SEARCH_NONE && b->cfg.imagine.candidates &&
                 b->cfg.imagine.horizon;
    plain_cfg.imagine.search = SEARCH_NONE;
    int err = 0;
    if (plans) {
        err = imagine(b, &plain_cfg, 1, &since);
        end(b, since, "imagine_plain", "batch", 1, 0)->extra = true;
    }
    if (!err)
        err = imagine(b, &b->cfg, n, &since);
    end(b, since, "imagine", "batch", n, of);
    b->imagined = !err;
    return err;
}

static int run_ppo(struct bench *b)
{
    struct mag_ppo_stats s;
    uint64_t epochs = b->cfg.train.ppo_epochs, of = b->cfg.train.batches;
    uint64_t n = at_most(b, of, 1), since = 0;
    struct config plain_cfg = b->cfg;
    plain_cfg.imagine.search = SEARCH_NONE; /* any rows serve */
    int err = b->imagined ? 0 : imagine(b, &plain_cfg, 1, &since);
    since = begin();
    for (uint64_t k = 0; k < n && !err; k++)
        err = mag_ppo_batch(b->train, &b->rows, &b->draws, k, &s, NULL);
    end(b, since, "ppo", "epoch", n * epochs, of * epochs);
    return err;
}

static int act(struct bench *b, size_t lanes, const char *name)
{
    struct mag_act *a = NULL;
    struct mag_act_row row[ACT_LANES];
    uint8_t action[ACT_LANES][AGENTS_MAX];
    uint64_t n = at_most(b, ACT_STEPS, SAMPLE_ACT), warm = 8, since = 0;
    int err = mag_act_open(&a, b->model, lanes, b->pool);
    for (uint64_t k = 0; k < warm + n && !err; k++) {
        for (size_t i = 0; i < lanes; i++) {
            size_t at = (k + i * (RECORDS / ACT_LANES)) % RECORDS * b->d.N;
            row[i] = (struct mag_act_row){.row = i,
                                          .obs = b->stream.obs + at * b->d.O,
                                          .avail = b->stream.avail + at * b->d.A,
                                          .item = i,
                                          .action = action[i]};
        }
        if (k == warm)
            since = begin();
        mag_act_step(a, &b->draws, row, lanes);
    }
    struct phase *p = end(b, since, name, "joint step", n * lanes, 0);
    p->extra = true;
    if (lanes == 1)
        p->threads = 1;
    mag_act_close(a);
    return err;
}

static int run_act(struct bench *b)
{
    int err = act(b, 1, "act_1");
    return err ? err : act(b, ACT_LANES, "act_16");
}

static const struct {
    const char *name;
    int (*run)(struct bench *);
} runs[] = {{"model", run_model},
            {"rm", run_rm},
            {"imagine", run_imagine},
            {"ppo", run_ppo},
            {"act", run_act}};
enum { RUNS = sizeof runs / sizeof *runs, UPDATE_RUNS = 4 /* without acting */ };

/* ----------------------------------------------------------------------------- open, rate */

static size_t windows_bytes(const struct mag_dims *d, size_t records)
{
    return records * (d->N * (4 * d->O + d->A + 5) + 8) + 1024;
}

static int open_memory(struct bench *b)
{
    const struct config *c = &b->cfg;
    size_t W = c->replay.window, B = c->train.windows, S = (W - 2) * B;
    size_t bytes = windows_bytes(&b->d, RECORDS + BATCHES * W * B) +
                   mag_rows_bytes(&b->d, S, c->imagine.steps - 1) + (64 << 10);
    int err = arena_init(&b->arena, bytes);
    if (!err)
        mag_rows_carve(&b->rows, &b->d, S, c->imagine.steps - 1, &b->arena);
    return err;
}

static int open_data(struct bench *b, const struct env_class *class)
{
    struct env *e = NULL;
    struct rng r;
    int err = class->open(&b->cfg, &e);
    if (err)
        return err;
    rng_seed(&r, b->cfg.seed);
    b->stream = (struct stream){.N = b->d.N, .O = b->d.O, .A = b->d.A};
    stream_carve(&b->stream, &b->arena);
    err = play(&b->stream, e, class, &r);
    class->close(e);
    for (size_t k = 0; k < BATCHES && !err; k++)
        b->w[k] =
            cut_windows(&b->stream, b->cfg.replay.window, b->cfg.train.windows, &r, &b->arena);
    return err;
}

static int open_core(struct bench *b)
{
    const struct config *c = &b->cfg;
    size_t W = c->replay.window, B = c->train.windows, S = (W - 2) * B;
    observing = true;
    int err = mag_model_open(&b->model, &b->d, c->compute.isa);
    observing = false;
    if (!err)
        err = pool_open(&b->pool, pool_team(c->compute.threads));
    if (err)
        return err;
    pool_fp_mode();
    b->philox = (struct philox){.seed = c->seed, .iteration = 1};
    b->below = philox_draws(&b->philox);
    b->draws = (struct draws){observe_draws, NULL, &b->below};
    mag_init(b->model, &b->below);
    mag_refresh(b->model, MAG_NEEDS_ALL);
    struct mag_train_cfg tc = {.W = W,
                               .B = B,
                               .S = S,
                               .rows_max = S * (c->imagine.steps - 1),
                               .minibatch = c->train.minibatch,
                               .cfg = c};
    return mag_train_open(&b->train, b->model, &tc, b->pool);
}

static int open_bench(struct bench *b)
{
    const struct env_class *class = NULL;
    int err = env_find(b->cfg.env.name, &class);
    if (!err)
        err = class->spec(&b->cfg, &b->spec);
    if (err)
        return err;
    mag_dims_of(&b->d, &b->cfg, b->spec.n_agents, b->spec.obs, b->spec.actions);
    if (b->d.N > AGENTS_MAX || b->d.A > ACTIONS_MAX || b->cfg.imagine.steps < 2)
        return err_set(ERR_INVAL,
                       "the bench takes at most %d agents, %d actions, and needs "
                       "imagine.steps of 2 or more",
                       AGENTS_MAX, ACTIONS_MAX);
    err = open_memory(b);
    if (!err)
        err = open_data(b, class);
    return err ? err : open_core(b);
}

static void close_bench(struct bench *b)
{
    mag_train_close(b->train);
    mag_model_close(b->model);
    pool_close(b->pool);
    arena_fini(&b->arena);
}

static void rate_task(void *arg, size_t task, size_t worker)
{
    double *rate = arg;
    (void)worker;
    rate[task] = kern_gflops(&plain, 240, 256, 256, 0.3);
}

/* What products alone reach here: a thread by itself, and all threads at once. */
static void measure_rates(struct bench *b)
{
    size_t n = pool_threads(b->pool);
    double rate[THREADS_MAX] = {0};
    rate_task(rate, 0, 0);
    b->rate_one = rate[0];
    pool_run(b->pool, rate_task, rate, n);
    b->rate_all = 0;
    for (size_t k = 0; k < n; k++)
        b->rate_all += rate[k];
}

/* --------------------------------------------------------------------------------- report */

static double gflops(const struct phase *p)
{
    return p->seconds > 0 ? 2e-9 * p->macs / p->seconds : 0;
}
static double rate_share(const struct bench *b, const struct phase *p)
{
    return gflops(p) / (p->threads == 1 ? b->rate_one : b->rate_all);
}
static double part_share(const struct phase *p, size_t part)
{
    return 1e-9 * p->ns[part] / (p->seconds * p->threads);
}
static double rest_share(const struct phase *p)
{
    double rest = 1;
    for (size_t k = 0; k < PARTS; k++)
        rest -= part_share(p, k);
    return rest > 0 ? rest : 0;
}

/* Seconds of a whole update; *scaled if a phase ran only in part. */
static double whole(const struct bench *b, bool *scaled)
{
    double sum = 0;
    *scaled = false;
    for (size_t k = 0; k < b->phases; k++) {
        const struct phase *p = &b->phase[k];
        if (p->extra || p->count == 0)
            continue;
        sum += p->seconds * (double)p->of / (double)p->count;
        *scaled |= p->count != p->of;
    }
    return sum;
}

static void print_table(const struct bench *b, bool complete)
{
    const struct kern *k = b->model->kern;
    printf("one update on %s: %zu agents, %zu observed, %zu actions, width %zu, L %u, H %u\n",
           b->cfg.env.map, b->d.N, b->d.O, b->d.A, b->d.D, b->cfg.imagine.candidates,
           b->cfg.imagine.horizon);
    printf("kernels %s, products %s: %.1f GFLOP/s on one thread, %.1f on %zu\n", k->name,
           k->products, b->rate_one, b->rate_all, pool_threads(b->pool));
    printf("rate: share of that product rate; outside: thread time outside products; then "
           "percent\n"
           "of thread time by kernel\n\n");
    printf("%-14s %-13s %6s %10s %8s %8s %5s %8s", "phase", "of", "times", "ms each", "GMAC",
           "GFLOP/s", "rate", "outside");
    for (size_t i = 0; i < PARTS; i++)
        printf(" %8s", part_name[i]);
    printf(" %8s\n", "rest");
    for (size_t n = 0; n < b->phases; n++) {
        const struct phase *p = &b->phase[n];
        double each = p->count ? (double)p->count : 1;
        printf("%-14s %-13s %6llu %10.3f %8.3f %8.1f %4.0f%% %7.0f%%", p->name, p->unit,
               (unsigned long long)p->count, 1e3 * p->seconds / each, 1e-9 * p->macs / each,
               gflops(p), 100 * rate_share(b, p), 100 * (1 - part_share(p, PART_PRODUCT)));
        for (size_t i = 0; i < PARTS; i++)
            printf(" %8.1f", 100 * part_share(p, i));
        printf(" %8.1f\n", 100 * rest_share(p));
    }
    bool scaled;
    double seconds = whole(b, &scaled);
    if (complete)
        printf("\nwhole update %.1f s%s\n", seconds,
               scaled ? " (scaled from a part of every phase)" : "");
}

static json_t *json_phase(const struct bench *b, const struct phase *p)
{
    double each = p->count ? (double)p->count : 1;
    json_t *parts = json_object();
    for (size_t i = 0; i < PARTS; i++)
        json_object_set_new(parts, part_name[i], json_real(part_share(p, i)));
    json_object_set_new(parts, "rest", json_real(rest_share(p)));
    return json_pack("{s:s,s:s,s:I,s:I,s:b,s:i,s:f,s:f,s:f,s:f,s:f,s:o}", "name", p->name,
                     "unit", p->unit, "count", (json_int_t)p->count, "of", (json_int_t)p->of,
                     "extra", p->extra, "threads", (int)p->threads, "ms",
                     1e3 * p->seconds / each, "gmac", 1e-9 * p->macs / each, "gflops",
                     gflops(p), "rate_share", rate_share(b, p), "outside_products",
                     1 - part_share(p, PART_PRODUCT), "thread_time", parts);
}

/* What an opponent has to compute as well. */
static json_t *json_sizes(const struct bench *b)
{
    const struct config *c = &b->cfg;
    const struct mag_dims *d = &b->d;
    return json_pack("{s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i}", "N",
                     (int)d->N, "O", (int)d->O, "A", (int)d->A, "D", (int)d->D, "C", (int)d->C,
                     "K", (int)d->K, "heads", (int)d->heads, "layers", (int)d->layers, "W",
                     (int)c->replay.window, "B", (int)c->train.windows, "R",
                     (int)c->imagine.steps, "L", (int)c->imagine.candidates, "H",
                     (int)c->imagine.horizon, "minibatch", (int)c->train.minibatch);
}

/* How often an update does each phase's unit. */
static json_t *json_counts(const struct bench *b)
{
    const struct config *c = &b->cfg;
    return json_pack("{s:i,s:i,s:i,s:i}", "model", (int)c->train.model_steps, "rm",
                     (int)c->train.rm_steps, "imagine", (int)c->train.batches, "ppo",
                     (int)(c->train.batches * c->train.ppo_epochs));
}

static void fill_json(const struct bench *b, bool complete, json_t *out)
{
    const struct kern *k = b->model->kern;
    json_t *phases = json_array(), *o;
    bool scaled;
    double seconds = whole(b, &scaled);
    for (size_t n = 0; n < b->phases; n++)
        json_array_append_new(phases, json_phase(b, &b->phase[n]));
    o = json_pack("{s:s,s:s,s:s,s:i,s:f,s:f,s:o,s:o,s:o}", "map", b->cfg.env.map, "kernels",
                  k->name, "products", k->products, "threads", (int)pool_threads(b->pool),
                  "gflops_one", b->rate_one, "gflops_all", b->rate_all, "phases", phases,
                  "sizes", json_sizes(b), "counts", json_counts(b));
    if (complete) {
        json_object_set_new(o, "whole_s", json_real(seconds));
        json_object_set_new(o, "scaled", json_boolean(scaled));
    }
    json_object_set_new(out, "update", o);
}

/* Which of `runs` a list names; 0 after naming a word that is none. */
static unsigned pick(const char *list, char *unknown, size_t n)
{
    unsigned picked = 0;
    if (!strcmp(list, "all"))
        return (1u << RUNS) - 1;
    for (const char *at = list; *at;) {
        size_t len = strcspn(at, ","), k = 0;
        while (k < RUNS && (strlen(runs[k].name) != len || strncmp(runs[k].name, at, len) != 0))
            k++;
        if (k == RUNS) {
            snprintf(unknown, n, "%.*s", (int)len, at);
            return 0;
        }
        picked |= 1u << k;
        at += len + (at[len] == ',');
    }
    return picked;
}

int bench_update(const char *verb, const struct config *cfg, const char *phases, bool sample,
                 json_t *out)
{
    struct bench b = {.cfg = *cfg, .sample = sample};
    char unknown[32] = "";
    unsigned picked = pick(phases, unknown, sizeof unknown);
    if (!picked)
        return fail(EXIT_USAGE, verb,
                    "--phases: '%s' is none; all, or model, rm, imagine, ppo, act with commas",
                    unknown);
    int err = open_bench(&b);
    if (!err)
        measure_rates(&b);
    for (size_t k = 0; k < RUNS && !err; k++)
        if (picked >> k & 1)
            err = runs[k].run(&b);
    unsigned update = (1u << UPDATE_RUNS) - 1;
    bool complete = (picked & update) == update;
    if (!err && out)
        fill_json(&b, complete, out);
    else if (!err)
        print_table(&b, complete);
    close_bench(&b);
    return err ? fail(EXIT_CONFIG, verb, "%s", err_text()) : EXIT_OK;
}
