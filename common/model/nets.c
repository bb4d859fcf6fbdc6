/* SPDX-License-Identifier: Apache-2.0 */
/* nets.c - which parameters the networks have and where each layer finds its own.
 *
 * WHY  Optimiser, checkpoint and publishing see one block of floats; the mathematics wants
 * layers. This file is the only place that knows both.
 *
 * NAMES  PyTorch's, as checkpoints and recordings use them: model.encoder.0.weight and so on.
 * The numbers skip the activations between the layers. Order inside the block: by weight group,
 * so that what is published together lies together.
 *
 * GROUPS
 *   filter   encoder, transition, posterior     actors and planners
 *   imagine  prior, reward, pcont, avail        planners
 *   decode   decoder, action information        nobody but the learner
 *   rm, policy, critic                          one network each */
#include "model/nets.h"

#include "base/err.h"

#include <stdio.h>

static void join(char *name, const char *prefix, const char *rest)
{
    int n = snprintf(name, PARAM_NAME, "%s%s", prefix, rest);
    bug_on(n < 0 || n >= PARAM_NAME);
}

/* Names of layer i of a stack: prefix.2i.weight, prefix.2i.bias. */
static void stack_names(char *weight, char *bias, const char *prefix, size_t i)
{
    char rest[32];
    snprintf(rest, sizeof rest, ".%u.weight", 2 * (unsigned)i);
    join(weight, prefix, rest);
    snprintf(rest, sizeof rest, ".%u.bias", 2 * (unsigned)i);
    join(bias, prefix, rest);
}

static const struct head_form {
    const char *prefix;
    uint32_t group;
    size_t depth;
    bool elu, act_last;
} head_form[NET_HEADS] = {
    [HEAD_RM] = {"rm", NET_RM, 5, true, false},
    [HEAD_ACTOR] = {"actor", NET_POLICY, 3, false, false},
    [HEAD_AVAIL] = {"model.avail", NET_IMAGINE, 3, true, false},
    [HEAD_REWARD] = {"model.reward", NET_IMAGINE, 3, true, false},
    [HEAD_CONT] = {"model.pcont", NET_IMAGINE, 3, true, false},
    [HEAD_DECODER] = {"model.decoder.trunk", NET_DECODE, 3, false, true},
};

static size_t head_out(const struct nets_dims *d, enum net_head which)
{
    switch (which) {
    case HEAD_ACTOR:
    case HEAD_AVAIL:
        return d->A;
    case HEAD_DECODER:
        return d->D;
    default:
        return 1;
    }
}

int nets_check(const struct nets_dims *d)
{
    if (d->N == 0 || d->N > ATTENTION_AGENTS)
        return err_set(ERR_INVAL, "%zu agents: the positional table holds 1 to %d", d->N,
                       ATTENTION_AGENTS);
    if (d->O == 0 || d->A == 0 || d->A >= NETS_NO_ACTION)
        return err_set(ERR_INVAL, "%zu observed numbers, %zu actions: needs 1 or more, 1 to %d",
                       d->O, d->A, NETS_NO_ACTION - 1);
    if (d->D == 0 || d->D % KERN_PAD)
        return err_set(ERR_INVAL, "net.width %zu is not a multiple of %d", d->D, KERN_PAD);
    if (d->C == 0 || d->K == 0 || d->K > 256)
        return err_set(ERR_INVAL, "%zu categoricals of %zu classes: needs 1 to 256 classes",
                       d->C, d->K);
    if (d->heads == 0 || d->D % d->heads)
        return err_set(ERR_INVAL, "net.heads %zu does not divide net.width %zu", d->heads,
                       d->D);
    if (d->layers == 0 || d->layers > ATTENTION_LAYERS)
        return err_set(ERR_INVAL, "net.layers %zu: needs 1 to %d", d->layers, ATTENTION_LAYERS);
    return 0;
}

/* --------------------------------------------------------------------------- declaration */

static void add_lin(struct params *p, uint32_t group, const char *prefix, size_t in, size_t out)
{
    char name[PARAM_NAME];
    join(name, prefix, ".weight");
    params_add(p, name, PARAM_LINEAR, group, out, in);
    join(name, prefix, ".bias");
    params_add(p, name, PARAM_VECTOR, group, out, 1);
}

/* prefix.0, prefix.2, ...: in - D - ... - D - out. */
static void add_stack(struct params *p, uint32_t group, const char *prefix, size_t depth,
                      size_t in, size_t D, size_t out)
{
    char weight[PARAM_NAME], bias[PARAM_NAME];
    for (size_t i = 0; i < depth; i++) {
        size_t from = i == 0 ? in : D, to = i + 1 == depth ? out : D;
        stack_names(weight, bias, prefix, i);
        params_add(p, weight, PARAM_LINEAR, group, to, from);
        params_add(p, bias, PARAM_VECTOR, group, to, 1);
    }
}

static void add_head(struct params *p, const struct nets_dims *d, enum net_head which)
{
    const struct head_form *f = &head_form[which];
    add_stack(p, f->group, f->prefix, f->depth, d->C * d->K + d->D, d->D, head_out(d, which));
}

size_t nets_params_max(const struct nets_dims *d)
{
    return 80 + 12 * (d->layers + 1);
}

void nets_add_params(struct params *p, const struct nets_dims *d)
{
    size_t S = d->C * d->K, D = d->D;
    add_stack(p, NET_FILTER, "model.encoder", 4, d->O, D, D);
    add_lin(p, NET_FILTER, "model.transition.input", d->A + S, D);
    attention_add_params(p, "model.transition.attention", NET_FILTER, D, d->layers);
    gru_add_params(p, "model.transition.gru", NET_FILTER, D);
    add_stack(p, NET_FILTER, "model.posterior", 2, 2 * D, D, S);

    add_stack(p, NET_IMAGINE, "model.prior", 2, D, D, S);
    add_head(p, d, HEAD_REWARD);
    add_head(p, d, HEAD_CONT);
    add_head(p, d, HEAD_AVAIL);

    add_head(p, d, HEAD_DECODER);
    add_lin(p, NET_DECODE, "model.decoder.out", D, d->O);
    add_stack(p, NET_DECODE, "model.action_info", 3, D, D, d->A);

    add_head(p, d, HEAD_RM);
    add_head(p, d, HEAD_ACTOR);

    add_lin(p, NET_CRITIC, "critic.input", S + D, D);
    attention_add_params(p, "critic.attention", NET_CRITIC, D, 1);
    add_stack(p, NET_CRITIC, "critic.head", 2, D, D, 1);
}

/* ------------------------------------------------------------------------------- binding */

/* State of one nets_bind: where names are found and transposes come from. */
struct binder {
    const struct params *p;
    struct arena *arena; /* NULL: no transposes */
};

static void want(const struct binder *b, struct linear *l)
{
    if (b->arena)
        linear_want_input(l, b->arena);
}

static void bind_lin(const struct binder *b, struct linear *l, const char *prefix)
{
    char weight[PARAM_NAME], bias[PARAM_NAME];
    join(weight, prefix, ".weight");
    join(bias, prefix, ".bias");
    linear_bind(l, b->p, weight, bias);
}

/* Layers first .. depth-1 of a stack into l[0] ... */
static void bind_stack(const struct binder *b, struct linear *l, const char *prefix,
                       size_t first, size_t depth)
{
    char weight[PARAM_NAME], bias[PARAM_NAME];
    for (size_t i = first; i < depth; i++) {
        stack_names(weight, bias, prefix, i);
        linear_bind(&l[i - first], b->p, weight, bias);
    }
}

static void bind_head(const struct binder *b, struct nets *n, enum net_head which)
{
    const struct nets_dims *d = &n->d;
    const struct head_form *f = &head_form[which];
    struct net_mlp *m = &n->head[which];
    char weight[PARAM_NAME], bias[PARAM_NAME];

    m->depth = f->depth;
    m->out = head_out(d, which);
    m->elu = f->elu;
    m->act_last = f->act_last;
    stack_names(weight, bias, f->prefix, 0);
    onehot_bind(&m->in, b->p, weight, bias, 0, d->C, d->K, 0, 0, d->C * d->K, d->D);
    bind_stack(b, m->lin, f->prefix, 1, f->depth);
    for (size_t i = 0; i + 1 < f->depth; i++)
        want(b, &m->lin[i]);
    /* What R_m and the actor read is data: nothing flows back into it. */
    if (which != HEAD_RM && which != HEAD_ACTOR) {
        want(b, &m->in.cat);
        want(b, &m->in.dense);
    }
}

static void bind_posterior(const struct binder *b, struct nets *n)
{
    struct linear both[2];
    bind_stack(b, both, "model.posterior", 0, 2);
    linear_slice(&n->post_h, &both[0], 0, n->d.D);
    linear_slice(&n->post_e, &both[0], n->d.D, n->d.D);
    n->post_h.b = both[0].b;
    n->post_h.b_at = both[0].b_at;
    n->posterior = both[1];
    want(b, &n->post_h);
    want(b, &n->post_e);
    want(b, &n->posterior);
}

static int bind_all(const struct binder *b, struct nets *n, struct arena *a)
{
    const struct nets_dims *d = &n->d;
    size_t S = d->C * d->K;

    bind_stack(b, n->encoder, "model.encoder", 0, 4);
    for (int i = 1; i < 4; i++)
        want(b, &n->encoder[i]);
    onehot_bind(&n->trans_in, b->p, "model.transition.input.weight",
                "model.transition.input.bias", d->A, d->C, d->K, 0, d->A, 0, 0);
    want(b, &n->trans_in.cat);
    int err = attention_bind(&n->trans_attn, b->p, "model.transition.attention", d->D, d->heads,
                             d->layers, d->N, n->backward, a);
    if (err)
        return err;
    gru_bind(&n->gru, b->p, "model.transition.gru", d->D);
    if (b->arena)
        gru_want_input(&n->gru, b->arena);
    bind_posterior(b, n);
    bind_stack(b, n->prior, "model.prior", 0, 2);
    want(b, &n->prior[0]);
    want(b, &n->prior[1]);
    for (int i = 0; i < NET_HEADS; i++)
        bind_head(b, n, (enum net_head)i);
    bind_lin(b, &n->decoder_out, "model.decoder.out");
    want(b, &n->decoder_out);
    bind_stack(b, n->action_info, "model.action_info", 0, 3);
    for (int i = 0; i < 3; i++)
        want(b, &n->action_info[i]);

    onehot_bind(&n->critic_in, b->p, "critic.input.weight", "critic.input.bias", 0, d->C, d->K,
                0, 0, S, d->D);
    err = attention_bind(&n->critic_attn, b->p, "critic.attention", d->D, d->heads, 1, d->N,
                         n->backward, a);
    if (err)
        return err;
    bind_stack(b, n->critic_head, "critic.head", 0, 2);
    want(b, &n->critic_head[0]);
    want(b, &n->critic_head[1]);
    return 0;
}

/* Transposed copy of a layer in x out, alignment included. */
static size_t wt_bytes(size_t in, size_t out)
{
    struct linear l = {.in = in,
                       .out = out,
                       .in_pad = kern_pad(in),
                       .out_pad = kern_pad(out),
                       .wt_ld = param_stride(kern_pad(in))};
    return linear_wt_bytes(&l) + 64;
}

size_t nets_bytes(const struct nets_dims *d, bool backward)
{
    size_t D = d->D, S = d->C * d->K;
    size_t bytes = attention_bytes(D, d->layers, d->N, backward) +
                   attention_bytes(D, 1, d->N, backward) + 4096;
    if (!backward)
        return bytes;
    bytes += 3 * wt_bytes(D, D);                      /* encoder */
    bytes += wt_bytes(S, D) + 2 * wt_bytes(D, 3 * D); /* transition input, GRU */
    bytes += 2 * wt_bytes(D, D) + wt_bytes(D, S);     /* posterior */
    bytes += wt_bytes(D, D) + wt_bytes(D, S);         /* prior */
    bytes += 4 * (wt_bytes(S, D) + wt_bytes(D, D));   /* first layers of four heads */
    bytes += NET_HEADS * 4 * (wt_bytes(D, D) + wt_bytes(D, d->A)); /* the heads' others */
    bytes += wt_bytes(D, d->O) + 2 * wt_bytes(D, D) + wt_bytes(D, d->A);
    bytes += wt_bytes(D, D) + wt_bytes(D, 1);
    return bytes;
}

int nets_bind(struct nets *n, const struct nets_dims *d, const struct params *p,
              const struct kern *kern, bool backward, struct arena *a)
{
    *n = (struct nets){.d = *d, .kern = kern, .backward = backward};
    return bind_all(&(struct binder){.p = p, .arena = backward ? a : NULL}, n, a);
}

/* ------------------------------------------------------------------------------- refresh */

enum { REFRESH_MAX = 4 * ATTENTION_LAYERS + 4 + NET_HEADS * (HEAD_DEPTH + 2) + 32 };

/* Layers with copies to rebuild. */
struct refresh {
    const struct kern *kern;
    struct linear *layer[REFRESH_MAX];
    size_t n;
};

static void refresh_add(struct refresh *r, struct linear *l, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (l[i].wt || l[i].packed)
            r->layer[r->n++] = &l[i];
    bug_on(r->n + 4 * ATTENTION_LAYERS > REFRESH_MAX); /* room for attention's */
}

static void refresh_attention(struct refresh *r, struct attention *a)
{
    if (a->layers > 0 && (a->layer[0].qkv.wt || a->layer[0].qkv.packed))
        r->n += attention_linears(r->layer + r->n, a);
}

static void refresh_task(void *arg, size_t task, size_t worker)
{
    const struct refresh *r = arg;
    (void)worker;
    linear_refresh(r->kern, r->layer[task]);
}

static void refresh_filter(struct refresh *r, struct nets *n)
{
    refresh_add(r, &n->trans_in.cat, 1);
    refresh_add(r, n->encoder, 4);
    refresh_add(r, &n->gru.ih, 1);
    refresh_add(r, &n->gru.hh, 1);
    refresh_add(r, &n->post_h, 1);
    refresh_add(r, &n->post_e, 1);
    refresh_add(r, &n->posterior, 1);
    refresh_attention(r, &n->trans_attn);
}

void nets_refresh(struct nets *n, uint32_t groups, struct pool *pool)
{
    struct refresh r = {.kern = n->kern};
    for (int i = 0; i < NET_HEADS; i++) {
        struct net_mlp *m = &n->head[i];
        if (!(groups >> head_form[i].group & 1))
            continue;
        refresh_add(&r, &m->in.cat, 1);
        refresh_add(&r, &m->in.dense, 1);
        refresh_add(&r, m->lin, m->depth - 1);
    }
    if (groups >> NET_IMAGINE & 1)
        refresh_add(&r, n->prior, 2);
    if (groups >> NET_DECODE & 1) {
        refresh_add(&r, &n->decoder_out, 1);
        refresh_add(&r, n->action_info, 3);
    }
    if (groups >> NET_CRITIC & 1) {
        refresh_add(&r, &n->critic_in.dense, 1);
        refresh_add(&r, n->critic_head, 2);
        refresh_attention(&r, &n->critic_attn);
    }
    if (groups >> NET_FILTER & 1)
        refresh_filter(&r, n);
    pool_run(pool, refresh_task, &r, r.n);
}

/* ------------------------------------------------------------------------------- prepare */

static void prepare_lin(const struct nets *n, const struct linear *l)
{
    const size_t joint = n->d.N, rows[] = {0, NETS_BLOCK / joint * joint, joint};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (l->packed)
            kern_prepare_packed(n->kern, rows[i], l->in, l->out_pad, l->in, true);
        else
            kern_prepare(n->kern, rows[i], l->out_pad, l->in, l->out_pad, l->in, l->ld, true);
}

static void prepare_attn(const struct nets *n, const struct attention *a)
{
    for (size_t i = 0; i < a->layers; i++) {
        prepare_lin(n, &a->layer[i].qkv);
        prepare_lin(n, &a->layer[i].out);
        prepare_lin(n, &a->layer[i].ff1);
        prepare_lin(n, &a->layer[i].ff2);
    }
}

void nets_prepare(const struct nets *n)
{
    const struct linear *single[] = {&n->prior[0],    &n->prior[1],       &n->post_h,
                                     &n->posterior,   &n->gru.ih,         &n->gru.hh,
                                     &n->decoder_out, &n->critic_head[0], &n->critic_head[1]};
    for (size_t i = 0; i < sizeof single / sizeof *single; i++)
        prepare_lin(n, single[i]);
    for (size_t i = 0; i < 4; i++)
        prepare_lin(n, &n->encoder[i]);
    for (size_t i = 0; i < 3; i++)
        prepare_lin(n, &n->action_info[i]);
    for (size_t h = 0; h < NET_HEADS; h++)
        for (size_t i = 0; i + 1 < n->head[h].depth; i++)
            prepare_lin(n, &n->head[h].lin[i]);
    prepare_attn(n, &n->trans_attn);
    prepare_attn(n, &n->critic_attn);
}
