/* SPDX-License-Identifier: Apache-2.0 */
/* nets.h - the networks of MAG: where their parameters lie and how they run forward.
 *
 * `struct nets` is constant while in use: sizes, and a view of every layer's parameters inside
 * one params block. `struct nets_work` is what moves: scratch for one thread,
 * carved once, of a size that depends on the sizes of the networks only, because every function
 * below walks its rows in blocks. Nothing here allocates, and no row's bits depend on how many
 * rows share the call, so a caller may cut its rows as it likes.
 *
 * ROWS   A token is one agent at one time. `groups` joint rows of N agents are groups*N tokens,
 *        agent fastest. Only the transition's and the critic's attention look across the agents
 *        of a group; every other function takes tokens.
 * STATE  A latent s is C class indices (uint8_t [tokens][C]); h is float [tokens][D].
 *        The one-hot first layers have one definition everywhere: bias, then the class rows in
 *        categorical order, then the action row, then the dense columns as one chain.
 * WIDTH  Outputs keep their padding: a row of a layer with n outputs is nets_pad(n) floats wide
 *        (multiples of 32), the columns from n on are zero.
 *
 * Source: mag.md 4 of the specification; MAMBA (AAMAS 2022), MAG (arXiv 2303.17984). */
#ifndef MODEL_NETS_H
#define MODEL_NETS_H

#include "base/arena.h"
#include "nn/attention.h"
#include "nn/gru.h"
#include "nn/kern.h"
#include "nn/linear.h"
#include "nn/params.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Weight groups in block order; the algorithm's own names for them must agree. */
enum net_group {
    NET_FILTER,
    NET_IMAGINE,
    NET_DECODE,
    NET_RM,
    NET_POLICY,
    NET_CRITIC,
    NET_GROUPS
};

enum {
    NETS_NO_ACTION = KERN_NONE, /* action index meaning "none": its row is left out */
    NETS_BLOCK = 128            /* tokens that the forward functions take at a time */
};

struct nets_dims {
    size_t N, O, A, D, C, K, heads, layers;
};

/* Width of a row holding n outputs. */
static inline size_t nets_pad(size_t n)
{
    return kern_pad(n);
}
/* Row width of prior and posterior logits: [C][K] from column 0. */
static inline size_t nets_latent_ld(const struct nets_dims *d)
{
    return nets_pad(d->C * d->K);
}

/* The multi-layer perceptrons that start from a token's [s ; h]. */
enum net_head {
    HEAD_RM,      /* 1 output */
    HEAD_ACTOR,   /* A logits, not masked */
    HEAD_AVAIL,   /* A Bernoulli logits */
    HEAD_REWARD,  /* 1: give it s_i with h_{i+1} */
    HEAD_CONT,    /* 1 logit: give it s_i with h_{i+1} */
    HEAD_DECODER, /* the trunk: z, D wide, ReLU applied */
    NET_HEADS
};
enum { HEAD_DEPTH = 5 }; /* linear layers of the deepest head */

struct net_mlp {
    struct onehot in;                  /* [s ; h] -> D */
    struct linear lin[HEAD_DEPTH - 1]; /* D -> D ... -> out */
    size_t depth, out;                 /* linear layers, `in` included; outputs */
    bool elu;                          /* activation of the hidden layers: ELU, else ReLU */
    bool act_last;                     /* apply it to the output as well (decoder trunk) */
};
static inline enum kern_act net_act(const struct net_mlp *m)
{
    return m->elu ? KERN_ELU : KERN_RELU;
}

struct nets {
    struct nets_dims d;
    const struct kern *kern;
    bool backward; /* transposes for input gradients are kept too */
    struct linear encoder[4];
    struct onehot trans_in; /* [action ; s] -> D */
    struct attention trans_attn;
    struct gru gru;
    struct linear prior[2];
    struct linear post_h, post_e, posterior; /* [h ; e] -> D as two slices (bias in post_h) */
    struct net_mlp head[NET_HEADS];
    struct linear decoder_out;    /* z -> O */
    struct linear action_info[3]; /* z -> A */
    struct onehot critic_in;
    struct attention critic_attn;
    struct linear critic_head[2];
};

/* Sizes the networks cannot have: 0 or ERR_INVAL with err_text(). */
int nets_check(const struct nets_dims *d);

/* Describe every parameter to p (params_init was given room for nets_params_max), group by
 * group. */
size_t nets_params_max(const struct nets_dims *d);
void nets_add_params(struct params *p, const struct nets_dims *d);

/* Bind the layers to the values of p. backward: also reserve the transposed copies that input
 * gradients need. The arena gives nets_bytes. */
size_t nets_bytes(const struct nets_dims *d, bool backward);
int nets_bind(struct nets *n, const struct nets_dims *d, const struct params *p,
              const struct kern *kern, bool backward, struct arena *a);
/* Rebuild what is derived from the parameters of the groups in the mask 1 << group: transposes,
 * and the packed weights that all views of the parameters share. In parallel; a pool may be
 * NULL. */
void nets_refresh(struct nets *n, uint32_t groups, struct pool *pool);

/* Compile the product kernels of the forward functions ahead of time: for whole blocks of
 * tokens, what a block leaves over, and one joint state. */
void nets_prepare(const struct nets *n);

/* A second view of `n` whose look ahead - transition, prior, the heads of R_m, actor and
 * availability - multiplies in half precision (nn/half.h): planning hands it to the same
 * functions as `n`. Everything else in it is n's. `n` and the parameters must outlive it; the
 * arena gives nets_half_bytes. */
size_t nets_half_bytes(const struct nets_dims *d);
void nets_half_bind(struct nets *out, const struct nets *n, const struct kern_half *half,
                    struct arena *a);
/* Round the layers of the groups in the mask anew, after parameters changed. */
void nets_half_refresh(struct nets *half, uint32_t groups);

/* Scratch of one thread. */
struct nets_work; /* opaque */
size_t nets_work_bytes(const struct nets_dims *d);
struct nets_work *nets_work_carve(const struct nets_dims *d, struct arena *a);

/* e [tokens][D] = encoder(obs [tokens][O]). */
void nets_encoder(const struct nets *n, struct nets_work *w, float *e, const float *obs,
                  size_t tokens);

/* One transition without dropout, up to h': u = ReLU(W [action ; s] + b), attention over the N
 * agents, GRU. h_next [groups][N][D] may be h.
 *   index  [groups][N][C]   action [groups][N], NETS_NO_ACTION = no action row
 *   h      [groups][N][D]   none   [groups] or NULL: nonzero = there is no previous state, its
 *                           class rows are left out and h counts as zero (both then unread) */
void nets_transition(const struct nets *n, struct nets_work *w, float *h_next,
                     const uint8_t *index, const uint8_t *action, const float *h,
                     const uint8_t *none, size_t groups);

/* logits [tokens][nets_latent_ld]: raw logits of the prior at h. The samples of several
 * planning candidates share one call: draw as often as needed from the same logits. */
void nets_prior(const struct nets *n, struct nets_work *w, float *logits, const float *h,
                size_t tokens);
/* The same of the posterior at [h ; e]. */
void nets_posterior(const struct nets *n, struct nets_work *w, float *logits, const float *h,
                    const float *e, size_t tokens);

/* Several heads on the same feature in one pass over it: the first layers run side by side on a
 * block of tokens while its indices and h are in the cache. out[i] [tokens][nets_pad(outputs of
 * which[i])]. */
void nets_heads(const struct nets *n, struct nets_work *w, float *const *out,
                const enum net_head *which, size_t count, const uint8_t *index, const float *h,
                size_t tokens);
static inline void nets_one_head(const struct nets *n, struct nets_work *w, float *out,
                                 enum net_head which, const uint8_t *index, const float *h,
                                 size_t tokens)
{
    nets_heads(n, w, &out, &which, 1, index, h, tokens);
}
size_t nets_head_ld(const struct nets *n, enum net_head which);

/* From the decoder trunk's z [tokens][D]: obs [tokens][nets_pad(O)], and the logits of the
 * action that led there [tokens][nets_pad(A)]. */
void nets_decode(const struct nets *n, float *obs, const float *z, size_t tokens);
void nets_action_info(const struct nets *n, struct nets_work *w, float *logits, const float *z,
                      size_t tokens);

/* value [groups][N]: the critic with its positional table and attention layer. */
void nets_critic(const struct nets *n, struct nets_work *w, float *value, const uint8_t *index,
                 const float *h, size_t groups);

/* Two-step sampling, for planning: nets_prior once, then nets_sample per candidate; or, to share
 * the softmax as well, categorical_softmax (nn/categorical.h) once and categorical_sample per
 * candidate. Softmax per categorical and one class each by inverse CDF: index [tokens][C] from
 * logits [tokens][nets_latent_ld] and uniforms u [tokens][C]. */
void nets_sample(const struct nets *n, uint8_t *index, const float *logits, const float *u,
                 size_t tokens);
/* The class with the largest logit (ties: the lowest), for eval.latent mode. */
void nets_mode(const struct nets *n, uint8_t *index, const float *logits, size_t tokens);

#endif
