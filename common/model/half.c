/* SPDX-License-Identifier: Apache-2.0 */
/* half.c - the networks of the look ahead with weights in half precision.
 *
 * The layers are those that scoring a candidate runs through. Attention's scores, norms, gates,
 * activations, softmax and the one-hot gathers stay float32: they are no products, and their
 * time is a fifth of a look ahead. Biases stay float32 too. */
#include "model/nets.h"

enum { LAYERS_MAX = 4 * ATTENTION_LAYERS + 4 + 3 * HEAD_DEPTH };

static const enum net_head scored[] = {HEAD_RM, HEAD_ACTOR, HEAD_AVAIL};
enum { SCORED = sizeof scored / sizeof *scored };

/* Layers of the look ahead, and the weight group of each. */
struct layers {
    struct linear *at[LAYERS_MAX];
    uint32_t group[LAYERS_MAX];
    size_t n;
};

static void add(struct layers *s, struct linear *l, uint32_t group)
{
    s->at[s->n] = l;
    s->group[s->n++] = group;
}

static uint32_t group_of(enum net_head which)
{
    return which == HEAD_RM ? NET_RM : which == HEAD_ACTOR ? NET_POLICY : NET_IMAGINE;
}

static struct layers layers_of(struct nets *n)
{
    struct layers s = {.n = 0};
    for (size_t i = 0; i < n->trans_attn.layers; i++) {
        struct attention_layer *l = &n->trans_attn.layer[i];
        add(&s, &l->qkv, NET_FILTER);
        add(&s, &l->out, NET_FILTER);
        add(&s, &l->ff1, NET_FILTER);
        add(&s, &l->ff2, NET_FILTER);
    }
    add(&s, &n->gru.ih, NET_FILTER);
    add(&s, &n->gru.hh, NET_FILTER);
    add(&s, &n->prior[0], NET_IMAGINE);
    add(&s, &n->prior[1], NET_IMAGINE);
    for (size_t i = 0; i < SCORED; i++) {
        struct net_mlp *m = &n->head[scored[i]];
        add(&s, &m->in.dense, group_of(scored[i]));
        for (size_t k = 0; k + 1 < m->depth; k++)
            add(&s, &m->lin[k], group_of(scored[i]));
    }
    return s;
}

size_t nets_half_bytes(const struct nets_dims *d)
{
    const size_t D = d->D, square = D * D;
    size_t weights = d->layers * 6 * square + 6 * square + square + D * kern_pad(d->C * d->K);
    weights += 8 * square + D * (kern_pad(1) + 2 * kern_pad(d->A));
    return weights * sizeof(uint16_t) + LAYERS_MAX * 64;
}

void nets_half_bind(struct nets *out, const struct nets *n, const struct kern_half *half,
                    struct arena *a)
{
    *out = *n;
    const struct layers s = layers_of(out);
    for (size_t i = 0; i < s.n; i++)
        linear_want_half(s.at[i], half, a);
}

void nets_half_refresh(struct nets *half, uint32_t groups)
{
    const struct layers s = layers_of(half);
    for (size_t i = 0; i < s.n; i++)
        if (groups >> s.group[i] & 1)
            linear_half_refresh(s.at[i]);
}
