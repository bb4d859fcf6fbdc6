/* SPDX-License-Identifier: Apache-2.0 */
/* forward.c - the networks as acting, planning and labelling call them: no tape, no dropout.
 *
 * Every function walks its rows in blocks of NETS_BLOCK tokens, so that one block's
 * activations (128 KB at width 256) stay in the second-level cache between layers and scratch
 * has one size whatever the batch. Cutting is free of consequences because a row's bits depend
 * neither on its company nor on its position (docs/adr/0003).
 *
 * SCRATCH  `wide` holds hidden activations, one array per head so that several first layers can
 * run side by side; the rest belongs to attention and GRU. */
#include "model/nets.h"

#include "nn/categorical.h"

#include <string.h>

struct nets_work {
    float *wide[NET_HEADS + 1]; /* [NETS_BLOCK][D] each */
    float *attn;                /* attention_scratch of a block */
    float *gru;                 /* 6 [NETS_BLOCK][D] */
    uint8_t *skip;              /* [NETS_BLOCK] */
};

static size_t attn_floats(const struct nets_dims *d)
{
    struct attention a = {.D = d->D, .heads = d->heads, .layers = d->layers, .N = d->N};
    return attention_scratch(&a, NETS_BLOCK);
}

size_t nets_work_bytes(const struct nets_dims *d)
{
    size_t floats = NETS_BLOCK * ((NET_HEADS + 1) * d->D + 6 * d->D) + attn_floats(d);
    return sizeof(struct nets_work) + floats * sizeof(float) + NETS_BLOCK + 64 * 16;
}

struct nets_work *nets_work_carve(const struct nets_dims *d, struct arena *a)
{
    struct nets_work *w = ARENA_ZNEW(a, struct nets_work, 1);
    for (size_t i = 0; i < sizeof w->wide / sizeof *w->wide; i++)
        w->wide[i] = ARENA_NEW(a, float, NETS_BLOCK * d->D);
    w->attn = ARENA_NEW(a, float, attn_floats(d));
    w->gru = ARENA_NEW(a, float, NETS_BLOCK * 6 * d->D);
    w->skip = ARENA_NEW(a, uint8_t, NETS_BLOCK);
    return w;
}

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Whole groups of a block. */
static size_t block_groups(const struct nets_dims *d)
{
    return NETS_BLOCK / d->N; /* N <= 30: at least 4 */
}

void nets_encoder(const struct nets *n, struct nets_work *w, float *e, const float *obs,
                  size_t tokens)
{
    const struct kern *k = n->kern;
    size_t D = n->d.D;
    for (size_t r = 0; r < tokens; r += NETS_BLOCK) {
        size_t M = min_size(NETS_BLOCK, tokens - r);
        linear_layer(k, &n->encoder[0], KERN_RELU, w->wide[0], D, obs + r * n->d.O, n->d.O, M);
        linear_layer(k, &n->encoder[1], KERN_RELU, w->wide[1], D, w->wide[0], D, M);
        linear_layer(k, &n->encoder[2], KERN_RELU, w->wide[0], D, w->wide[1], D, M);
        linear_forward(k, &n->encoder[3], e + r * D, D, w->wide[0], D, M);
    }
}

/* Tokens whose group has no previous state: flags, and h with their rows zeroed. Returns what
 * the GRU shall read. */
static const float *blank_states(const struct nets *n, struct nets_work *w, const float *h,
                                 const uint8_t *none, size_t groups)
{
    size_t N = n->d.N, D = n->d.D;
    float *copy = w->wide[2];
    for (size_t g = 0; g < groups; g++) {
        memset(w->skip + g * N, none[g] ? 1 : 0, N);
        if (none[g])
            memset(copy + g * N * D, 0, N * D * sizeof(float));
        else
            memcpy(copy + g * N * D, h + g * N * D, N * D * sizeof(float));
    }
    return copy;
}

void nets_transition(const struct nets *n, struct nets_work *w, float *h_next,
                     const uint8_t *index, const uint8_t *action, const float *h,
                     const uint8_t *none, size_t groups)
{
    const struct kern *k = n->kern;
    size_t N = n->d.N, D = n->d.D, C = n->d.C, step = block_groups(&n->d);
    for (size_t g = 0; g < groups; g += step) {
        size_t G = min_size(step, groups - g), r = g * N, M = G * N;
        const float *prev = h + r * D;
        if (none)
            prev = blank_states(n, w, prev, none + g, G);
        onehot_forward(k, &n->trans_in, KERN_RELU, w->wide[0], D, index + r * C,
                       none ? w->skip : NULL, action + r, NULL, 0, M);
        attention_infer(k, &n->trans_attn, w->wide[1], w->wide[0], M, w->attn);
        gru_infer(k, &n->gru, h_next + r * D, w->wide[1], prev, M, w->gru);
    }
}

void nets_prior(const struct nets *n, struct nets_work *w, float *logits, const float *h,
                size_t tokens)
{
    const struct kern *k = n->kern;
    size_t D = n->d.D, ld = nets_latent_ld(&n->d);
    for (size_t r = 0; r < tokens; r += NETS_BLOCK) {
        size_t M = min_size(NETS_BLOCK, tokens - r);
        linear_layer(k, &n->prior[0], KERN_RELU, w->wide[0], D, h + r * D, D, M);
        linear_forward(k, &n->prior[1], logits + r * ld, ld, w->wide[0], D, M);
    }
}

void nets_posterior(const struct nets *n, struct nets_work *w, float *logits, const float *h,
                    const float *e, size_t tokens)
{
    const struct kern *k = n->kern;
    size_t D = n->d.D, ld = nets_latent_ld(&n->d);
    for (size_t r = 0; r < tokens; r += NETS_BLOCK) {
        size_t M = min_size(NETS_BLOCK, tokens - r);
        linear_forward(k, &n->post_h, w->wide[0], D, h + r * D, D, M);
        linear_add(k, &n->post_e, KERN_RELU, w->wide[0], D, e + r * D, D, M);
        linear_forward(k, &n->posterior, logits + r * ld, ld, w->wide[0], D, M);
    }
}

size_t nets_head_ld(const struct nets *n, enum net_head which)
{
    return kern_pad(n->head[which].out);
}

void nets_heads(const struct nets *n, struct nets_work *w, float *const *out,
                const enum net_head *which, size_t count, const uint8_t *index, const float *h,
                size_t tokens)
{
    const struct kern *k = n->kern;
    size_t D = n->d.D, C = n->d.C;
    float *spare = w->wide[NET_HEADS];
    for (size_t r = 0; r < tokens; r += NETS_BLOCK) {
        size_t M = min_size(NETS_BLOCK, tokens - r);
        for (size_t i = 0; i < count; i++)
            onehot_forward(k, &n->head[which[i]].in, net_act(&n->head[which[i]]), w->wide[i], D,
                           index + r * C, NULL, NULL, h + r * D, D, M);
        for (size_t i = 0; i < count; i++) {
            const struct net_mlp *m = &n->head[which[i]];
            float *x = w->wide[i], *y = spare;
            for (size_t l = 0; l + 2 < m->depth; l++) {
                linear_layer(k, &m->lin[l], net_act(m), y, D, x, D, M);
                float *t = x;
                x = y;
                y = t;
            }
            size_t ld = kern_pad(m->out);
            float *o = out[i] + r * ld;
            linear_layer(k, &m->lin[m->depth - 2], m->act_last ? net_act(m) : KERN_LINEAR, o,
                         ld, x, D, M);
        }
    }
}

void nets_action_info(const struct nets *n, struct nets_work *w, float *logits, const float *z,
                      size_t tokens)
{
    const struct kern *k = n->kern;
    size_t D = n->d.D, ld = kern_pad(n->d.A);
    for (size_t r = 0; r < tokens; r += NETS_BLOCK) {
        size_t M = min_size(NETS_BLOCK, tokens - r);
        linear_layer(k, &n->action_info[0], KERN_ELU, w->wide[0], D, z + r * D, D, M);
        linear_layer(k, &n->action_info[1], KERN_RELU, w->wide[1], D, w->wide[0], D, M);
        linear_forward(k, &n->action_info[2], logits + r * ld, ld, w->wide[1], D, M);
    }
}

void nets_decode(const struct nets *n, float *obs, const float *z, size_t tokens)
{
    linear_forward(n->kern, &n->decoder_out, obs, kern_pad(n->d.O), z, n->d.D, tokens);
}

void nets_critic(const struct nets *n, struct nets_work *w, float *value, const uint8_t *index,
                 const float *h, size_t groups)
{
    const struct kern *k = n->kern;
    size_t N = n->d.N, D = n->d.D, C = n->d.C, step = block_groups(&n->d);
    size_t ld = kern_pad(1);
    for (size_t g = 0; g < groups; g += step) {
        size_t r = g * N, M = min_size(step, groups - g) * N;
        onehot_forward(k, &n->critic_in, KERN_RELU, w->wide[0], D, index + r * C, NULL, NULL,
                       h + r * D, D, M);
        attention_infer(k, &n->critic_attn, w->wide[1], w->wide[0], M, w->attn);
        k->relu(w->wide[1], w->wide[1], M * D);
        linear_layer(k, &n->critic_head[0], KERN_RELU, w->wide[0], D, w->wide[1], D, M);
        linear_forward(k, &n->critic_head[1], w->wide[1], ld, w->wide[0], D, M);
        for (size_t i = 0; i < M; i++)
            value[r + i] = w->wide[1][i * ld];
    }
}

void nets_sample(const struct nets *n, uint8_t *index, const float *logits, const float *u,
                 size_t tokens)
{
    categorical_draw(n->kern, index, logits, u, tokens, n->d.C, n->d.K, nets_latent_ld(&n->d));
}

void nets_mode(const struct nets *n, uint8_t *index, const float *logits, size_t tokens)
{
    categorical_argmax(index, logits, tokens, n->d.C, n->d.K, nets_latent_ld(&n->d));
}
