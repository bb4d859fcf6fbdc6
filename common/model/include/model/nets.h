/* SPDX-License-Identifier: Apache-2.0 */
/* nets.h - the networks of MAG: where their parameters lie and how they run forward.
 *
 * `struct nets` is constant while in use: sizes, a view of every layer's parameters inside one
 * params block, the positional table. `struct nets_work` is what moves: scratch for one thread,
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
#include "nn/params.h"

#include <stddef.h>
#include <stdint.h>

struct kern;

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
    NETS_AGENTS_MAX = 30, /* rows of the positional table */
    NETS_LAYERS_MAX = 8, /* attention layers of the transition at most */
    NETS_NO_ACTION = 255 /* action index meaning "none": its row is left out */
};

struct nets_dims {
    size_t N, O, A, D, C, K, heads, layers;
};

/* Width of a row holding n outputs. */
static inline size_t nets_pad(size_t n)
{
    return (n + PARAM_PAD - 1) / PARAM_PAD * PARAM_PAD;
}
/* Row width of prior and posterior logits: [C][K] from column 0. */
static inline size_t nets_latent_ld(const struct nets_dims *d)
{
    return nets_pad(d->C * d->K);
}

/* One linear layer y = W x + b: kernel layout w [in][ld], b [ld]; w_at and b_at are the offsets
 * of the same floats in any array of the params' layout.
 *
 * Input gradients multiply by the transpose. Inputs come in up to two parts that live in arrays
 * of their own ([s ; h], [h ; e]), so there are two transposes, both NULL until training opens
 * and where no input gradient is ever wanted:
 *   wt [out][nets_pad(split - from)] of rows from..split-1, and
 *   wt2 [out][nets_pad(in - split)] of rows split..in-1 (split == in: one part only). */
struct net_lin {
    const float *w, *b;
    float *wt, *wt2;
    size_t in, out, ld;
    size_t from, split;
    size_t w_at, b_at;
};

struct net_norm {
    const float *gamma, *beta; /* [D] */
    size_t gamma_at, beta_at;
};

/* One post-norm encoder layer: self attention over the agents, then a feed-forward block. */
struct net_attn {
    struct net_lin qkv, proj, ff1, ff2;
    struct net_norm norm1, norm2;
};

struct net_gru {
    struct net_lin ih, hh; /* D -> 3D, gate blocks r, z, n */
};

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
    struct net_lin lin[HEAD_DEPTH];
    size_t depth;
    int elu;      /* activation of the hidden layers: ELU, else ReLU */
    int act_last; /* apply it to the output as well (decoder trunk) */
};

struct nets {
    struct nets_dims d;
    const struct kern *kern;
    const struct params *params;
    struct net_lin encoder[4];
    struct net_lin trans_in; /* [action ; s] as the files have it; rows A.. are the classes */
    struct net_attn trans_attn[NETS_LAYERS_MAX];
    struct net_gru gru;
    struct net_lin prior[2], posterior[2];
    struct net_mlp head[NET_HEADS];
    struct net_lin decoder_out;    /* z -> O */
    struct net_lin action_info[3]; /* z -> A */
    struct net_lin critic_in;
    struct net_attn critic_attn;
    struct net_lin critic_head[2];
    const float *pos; /* positional table [N][D] */
};

/* Sizes the networks cannot have: 0 or ERR_INVAL with err_text(). */
int nets_check(const struct nets_dims *d);

/* Describe every parameter to p (params_init was given room for nets_params_max), group by
 * group, and after params_carve bind n to the values; pos [N][D] is filled. */
size_t nets_params_max(const struct nets_dims *d);
void nets_add_params(struct params *p, const struct nets_dims *d);
void nets_bind(struct nets *n, const struct nets_dims *d, const struct params *p,
               const struct kern *kern, float *pos);

/* Transposes for input gradients: floats needed, binding (sets every wt), and recomputation
 * for the groups in the mask 1 << group. */
size_t nets_transpose_floats(struct nets *n);
void nets_bind_transposes(struct nets *n, float *wt);
void nets_transpose(struct nets *n, uint32_t groups);

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

/* value [groups][N]: the critic with its positional table and attention layer. */
void nets_critic(const struct nets *n, struct nets_work *w, float *value, const uint8_t *index,
                 const float *h, size_t groups);

/* Softmax per categorical and one class each by inverse CDF: index [tokens][C] from logits
 * [tokens][nets_latent_ld] and uniforms u [tokens][C]. */
void nets_sample(const struct nets *n, struct nets_work *w, uint8_t *index, const float *logits,
                 const float *u, size_t tokens);
/* The class with the largest logit (ties: the lowest), for eval.latent mode. */
void nets_mode(const struct nets *n, uint8_t *index, const float *logits, size_t tokens);

#endif
