/* SPDX-License-Identifier: Apache-2.0 */
/* rollout.h - the machinery of imagination, shared by imagine.c, rollout.c and figure.c
 * (private). imagine.c owns the memory and the order of tasks, rollout.c computes one step. */
#ifndef MAG_ROLLOUT_H
#define MAG_ROLLOUT_H

#include "mag_priv.h"

#include "base/arena.h"

enum {
    FILTER_WINDOWS = 8, /* windows of a filter task */
    START_BITS = 20     /* of a draw's item, contracts.md 4 */
};

/* Figures draw from domains of their own, in the same order as training's. */
struct domains {
    enum draw_domain post, im_avail, im_act, plan_latent, plan_avail, plan_act;
};

/* Scratch of one thread, for the tokens of a shard: every candidate uses it in turn. */
struct worker {
    struct nets_work *nets;
    float *actor, *avail, *rm;         /* [tokens][ld] head outputs */
    float *prior;                      /* [tokens][latent ld] */
    float *h;                          /* [tokens][D] state of the look ahead */
    uint8_t *index;                    /* [tokens][C] */
    uint8_t *action;                   /* [tokens] */
    float *u_latent, *u_avail, *u_act; /* [tokens][C], [tokens][A], [tokens] */
    float *u_post;                     /* [B_global][N][C] of one t */
    float *e;                          /* [FILTER_WINDOWS*N][D] */
    float *obs;                        /* [tokens][pad(O)] */
};

/* Networks that score candidates: the model's own, or a copy rounded to half precision. */
struct look {
    struct mag_precision precision;
    struct arena arena;        /* of the copy */
    struct nets nets;          /* the copy */
    uint64_t seen[MAG_GROUPS]; /* versions of the weights it was made of */
};

struct mag_imagine {
    const struct mag_model *m;
    struct config cfg;
    struct pool *pool;
    struct arena arena;
    struct mag_dims d;
    size_t W, windows_max, windows_global; /* B_global at most */
    size_t R, L, H;                        /* L = 1, H = 0 when nothing is planned */
    size_t starts_max, shard_max;          /* of a call, of a task */
    size_t workers;
    struct worker *worker;
    uint64_t *item;            /* [starts] batch << 20 | global start: key of the draws */
    uint8_t *none;             /* [W][B] no previous state */
    uint8_t *first_act;        /* [W][B][N] actions with cut ones left out */
    uint8_t *cand;             /* [L][starts][N][C] first sample of every candidate */
    float *scores;             /* [R-1][L][starts] */
    uint32_t *choice;          /* [R-1][starts] */
    float *reward;             /* [R-1][starts], mean over agents */
    float *cont, *value, *ret; /* [R][starts][N], continuation without the last */
    uint8_t *last_index;       /* [starts][N][C] state R-1 */
    float *last_h;             /* [starts][N][D] */
    uint8_t *fig_index[2];     /* [windows_max][N][C] states of mag_compounding_error */
    float *fig_h[2];           /* [windows_max][N][D] */
    double *fig_error;         /* [windows_max] error of one step */
    uint32_t *ident;           /* [windows_max] 0, 1, 2, ... */
    struct look look;
};

/* One call of the machinery below: what all its tasks read. */
struct call {
    struct mag_imagine *im;
    const struct nets *nets; /* whatever is recorded */
    const struct nets *look; /* scores of candidates */
    const struct draws *draws;
    const struct domains *dom;
    const struct mag_windows *w;
    const uint32_t *rows_global;
    size_t B_global;
    uint64_t batch;
    size_t S, shard, tasks; /* starts of the call, of a shard; shards */
    size_t L, H;            /* of this call */
    size_t step;            /* batch-wide choice: the imagined step */
    struct mag_rows *out;
    struct mag_trace *trace; /* or NULL */
    size_t filter_T;         /* filter: steps t = 0..filter_T-1 */
    uint8_t *filter_index;   /* [filter_T][B][N][C] */
    float *filter_h;         /* [filter_T][B][N][D] */
    const uint8_t *forced;   /* NULL, or recorded actions [S][N] instead of the policy's */
};

/* One run of starts at one imagined step. */
struct span {
    size_t i, first, P;   /* step, first start, starts */
    const uint8_t *index; /* [P][N][C] x_i */
    const float *h;       /* [P][N][D] */
    float *h_next;        /* [P][N][D] out */
    uint8_t *index_next;  /* [P][N][C] out, by commit */
    uint8_t *action;      /* [P][N] out */
};

/* What the look ahead multiplies in: decided once, at open (look.c). Errors as
 * mag_imagine_open. */
int look_open(struct look *l, const struct mag_model *m, const struct config *cfg);
void look_close(struct look *l);
/* Its networks, rounded anew where the weights changed. One thread, before tasks start. */
const struct nets *look_nets(struct look *l, const struct mag_model *m);

/* Filter the call's windows into states, steps t < filter_T (rollout.c). */
void rollout_filter(struct call *c);

/* From x_i: action, h_{i+1}, the candidates' first samples and their scores. */
void rollout_candidates(const struct call *c, struct worker *w, const struct span *s);

/* The choice, per start or one index for all starts of the call. */
void rollout_choose_start(const struct call *c, const struct span *s);
void rollout_choose_batch(const struct call *c, size_t i);

/* The chosen candidates become x_{i+1}. */
void rollout_commit(const struct call *c, const struct span *s);

/* Values, rewards and continuations at step i of P starts; R steps in all. */
void rollout_evaluate(const struct call *c, struct worker *w, size_t i, size_t first, size_t P);

/* After all of that: lambda-returns into the call's rows, statistics, trace. */
void rollout_finish(const struct call *c, struct mag_plan_stats *stats);

/* Set S, tasks and shard for the pool's threads. */
void rollout_cut(struct call *c, size_t S);

/* Whether one index is chosen for the whole batch. */
static inline bool chooses_for_batch(const struct call *c)
{
    return c->im->cfg.imagine.choice == CHOICE_BATCH && c->H > 0;
}

static inline size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}
static inline size_t most(size_t a, size_t b)
{
    return a > b ? a : b;
}
static inline size_t ceil_div(size_t a, size_t b)
{
    return (a + b - 1) / b;
}

#endif
