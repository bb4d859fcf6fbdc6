/* SPDX-License-Identifier: Apache-2.0 */
/* train.c - forward with a tape and backward, for every network that is trained.
 *
 * Each block is two plain functions over a range of rows and a list of weight-gradient jobs.
 * Backward turns d[last] (gradient of the output) into d[i] of every layer below and adds what
 * reaches the inputs; it never touches parameters' gradients, see train.h.
 *
 * STRAIGHT-THROUGH  A latent enters as class indices, yet the gradient of the loss with respect
 * to all C*K one-hot columns is needed (mag.md 4.4), so input gradients of first layers are
 * dense products with the transposed class rows. */
#include "model/train.h"

#include <string.h>

static void activate_backward(const struct kern *k, enum kern_act act, float *d, const float *y,
                              size_t count)
{
    if (act == KERN_RELU)
        k->relu_backward(d, y, count);
    else if (act == KERN_ELU)
        k->elu_backward(d, y, count);
}

/* ------------------------------------------------------------------------ chains of layers */

/* A tape array of `rows` rows for outputs of width `out`. */
static size_t array_bytes(size_t rows, size_t width)
{
    return (rows * width * sizeof(float) + 63) / 64 * 64;
}

static size_t mlp_bytes(size_t depth, size_t D, size_t out, size_t rows)
{
    return 2 * ((depth - 1) * array_bytes(rows, D) + array_bytes(rows, kern_pad(out)));
}

static void mlp_carve(struct mlp_tape *t, size_t depth, size_t D, size_t out, size_t rows,
                      struct arena *a)
{
    *t = (struct mlp_tape){.rows = rows, .depth = depth};
    for (size_t i = 0; i < depth; i++) {
        size_t width = i + 1 == depth ? kern_pad(out) : D;
        t->y[i] = ARENA_NEW(a, float, rows *width);
        t->d[i] = ARENA_NEW(a, float, rows *width);
    }
}

/* y[i] = act(W y[i-1] + b) for a layer above the first. */
static void layer_forward(const struct kern *k, const struct linear *l, struct mlp_tape *t,
                          size_t i, enum kern_act act, size_t row0, size_t rows)
{
    size_t ldx = l->in_pad, ldy = l->out_pad;
    float *y = t->y[i] + row0 * ldy;
    linear_layer(k, l, act, y, ldy, t->y[i - 1] + row0 * ldx, ldx, rows);
}

/* d[i-1] = act'(y[i-1]) * W^T d[i]. */
static void layer_backward(const struct kern *k, const struct linear *l, struct mlp_tape *t,
                           size_t i, enum kern_act below, size_t row0, size_t rows)
{
    size_t ldx = l->in_pad, ldy = l->out_pad;
    float *dx = t->d[i - 1] + row0 * ldx;
    linear_backward_input(k, l, dx, ldx, t->d[i] + row0 * ldy, ldy, rows, false);
    activate_backward(k, below, dx, t->y[i - 1] + row0 * ldx, rows * ldx);
}

static struct dw_job linear_job(const struct linear *l, const float *x, size_t ldx,
                                const float *dy, size_t rows)
{
    return (struct dw_job){.kind = DW_LINEAR,
                           .linear = l,
                           .x = x,
                           .ldx = ldx,
                           .dy = dy,
                           .ldy = l->out_pad,
                           .rows = rows};
}

static struct dw_job layer_job(const struct linear *l, const struct mlp_tape *t, size_t i,
                               size_t rows)
{
    return linear_job(l, t->y[i - 1], l->in_pad, t->d[i], rows);
}

/* ----------------------------------------------------------------------------------- heads */

size_t head_tape_bytes(const struct nets *n, enum net_head which, size_t rows)
{
    return mlp_bytes(n->head[which].depth, n->d.D, n->head[which].out, rows);
}

void head_tape_carve(struct mlp_tape *t, const struct nets *n, enum net_head which, size_t rows,
                     struct arena *a)
{
    mlp_carve(t, n->head[which].depth, n->d.D, n->head[which].out, rows, a);
}

void head_forward(const struct nets *n, enum net_head which, struct mlp_tape *t,
                  const uint8_t *index, const float *h, size_t row0, size_t rows)
{
    const struct kern *k = n->kern;
    const struct net_mlp *m = &n->head[which];
    enum kern_act act = net_act(m);
    size_t D = n->d.D;
    float *y = t->y[0] + row0 * D;

    onehot_forward(k, &m->in, act, y, D, index, NULL, NULL, h, D, rows);
    for (size_t i = 1; i < m->depth; i++) {
        bool last = i + 1 == m->depth;
        layer_forward(k, &m->lin[i - 1], t, i, last && !m->act_last ? KERN_LINEAR : act, row0,
                      rows);
    }
}

void head_backward(const struct nets *n, enum net_head which, struct mlp_tape *t, float *d_s,
                   float *d_h, size_t row0, size_t rows)
{
    const struct kern *k = n->kern;
    const struct net_mlp *m = &n->head[which];
    enum kern_act act = net_act(m);
    size_t D = n->d.D, last = m->depth - 1, ld = kern_pad(m->out);

    if (m->act_last)
        activate_backward(k, act, t->d[last] + row0 * ld, t->y[last] + row0 * ld, rows * ld);
    for (size_t i = last; i > 0; i--)
        layer_backward(k, &m->lin[i - 1], t, i, act, row0, rows);
    if (!d_s)
        return;
    const float *d = t->d[0] + row0 * D;
    linear_backward_input(k, &m->in.cat, d_s, m->in.cat.in_pad, d, D, rows, true);
    linear_backward_input(k, &m->in.dense, d_h, D, d, D, rows, true);
}

size_t head_jobs(struct dw_job *jobs, const struct nets *n, enum net_head which,
                 const struct mlp_tape *t, const uint8_t *index, const float *h, size_t rows)
{
    const struct net_mlp *m = &n->head[which];
    size_t D = n->d.D;
    jobs[0] = (struct dw_job){.kind = DW_ONEHOT,
                              .onehot = &m->in,
                              .x = h,
                              .ldx = D,
                              .dy = t->d[0],
                              .ldy = D,
                              .index = index,
                              .rows = rows};
    for (size_t i = 1; i < m->depth; i++)
        jobs[i] = layer_job(&m->lin[i - 1], t, i, rows);
    return m->depth;
}

/* --------------------------------------------------------------------------------- encoder */

size_t encoder_tape_bytes(const struct nets *n, size_t rows)
{
    return mlp_bytes(4, n->d.D, n->d.D, rows);
}

void encoder_tape_carve(struct mlp_tape *t, const struct nets *n, size_t rows, struct arena *a)
{
    mlp_carve(t, 4, n->d.D, n->d.D, rows, a);
}

void encoder_forward(const struct nets *n, struct mlp_tape *t, const float *obs, size_t row0,
                     size_t rows)
{
    size_t D = n->d.D;
    float *y = t->y[0] + row0 * D;
    linear_layer(n->kern, &n->encoder[0], KERN_RELU, y, D, obs, n->d.O, rows);
    for (size_t i = 1; i < 4; i++)
        layer_forward(n->kern, &n->encoder[i], t, i, i < 3 ? KERN_RELU : KERN_LINEAR, row0,
                      rows);
}

void encoder_backward(const struct nets *n, struct mlp_tape *t, size_t row0, size_t rows)
{
    for (size_t i = 3; i > 0; i--)
        layer_backward(n->kern, &n->encoder[i], t, i, KERN_RELU, row0, rows);
}

size_t encoder_jobs(struct dw_job *jobs, const struct nets *n, const struct mlp_tape *t,
                    const float *obs, size_t rows)
{
    jobs[0] = linear_job(&n->encoder[0], obs, n->d.O, t->d[0], rows);
    for (size_t i = 1; i < 4; i++)
        jobs[i] = layer_job(&n->encoder[i], t, i, rows);
    return 4;
}

/* ---------------------------------------------------------------------- action information */

size_t info_tape_bytes(const struct nets *n, size_t rows)
{
    return mlp_bytes(3, n->d.D, n->d.A, rows);
}

void info_tape_carve(struct mlp_tape *t, const struct nets *n, size_t rows, struct arena *a)
{
    mlp_carve(t, 3, n->d.D, n->d.A, rows, a);
}

void info_forward(const struct nets *n, struct mlp_tape *t, const float *z, size_t row0,
                  size_t rows)
{
    size_t D = n->d.D;
    float *y = t->y[0] + row0 * D;
    linear_layer(n->kern, &n->action_info[0], KERN_ELU, y, D, z, D, rows);
    layer_forward(n->kern, &n->action_info[1], t, 1, KERN_RELU, row0, rows);
    layer_forward(n->kern, &n->action_info[2], t, 2, KERN_LINEAR, row0, rows);
}

void info_backward(const struct nets *n, struct mlp_tape *t, float *d_z, size_t row0,
                   size_t rows)
{
    size_t D = n->d.D;
    layer_backward(n->kern, &n->action_info[2], t, 2, KERN_RELU, row0, rows);
    layer_backward(n->kern, &n->action_info[1], t, 1, KERN_ELU, row0, rows);
    linear_backward_input(n->kern, &n->action_info[0], d_z, D, t->d[0] + row0 * D, D, rows,
                          true);
}

size_t info_jobs(struct dw_job *jobs, const struct nets *n, const struct mlp_tape *t,
                 const float *z, size_t rows)
{
    jobs[0] = linear_job(&n->action_info[0], z, n->d.D, t->d[0], rows);
    for (size_t i = 1; i < 3; i++)
        jobs[i] = layer_job(&n->action_info[i], t, i, rows);
    return 3;
}

/* --------------------------------------------------------------------- prior and posterior */

size_t prior_tape_bytes(const struct nets *n, size_t rows)
{
    return mlp_bytes(2, n->d.D, n->d.C * n->d.K, rows);
}

void prior_tape_carve(struct mlp_tape *t, const struct nets *n, size_t rows, struct arena *a)
{
    mlp_carve(t, 2, n->d.D, n->d.C * n->d.K, rows, a);
}

void prior_forward(const struct nets *n, struct mlp_tape *t, const float *h, size_t row0,
                   size_t rows)
{
    size_t D = n->d.D;
    float *y = t->y[0] + row0 * D;
    linear_layer(n->kern, &n->prior[0], KERN_RELU, y, D, h, D, rows);
    layer_forward(n->kern, &n->prior[1], t, 1, KERN_LINEAR, row0, rows);
}

void prior_backward(const struct nets *n, struct mlp_tape *t, float *d_h, size_t row0,
                    size_t rows)
{
    size_t D = n->d.D;
    layer_backward(n->kern, &n->prior[1], t, 1, KERN_RELU, row0, rows);
    linear_backward_input(n->kern, &n->prior[0], d_h, D, t->d[0] + row0 * D, D, rows, true);
}

size_t prior_jobs(struct dw_job *jobs, const struct nets *n, const struct mlp_tape *t,
                  const float *h, size_t rows)
{
    jobs[0] = linear_job(&n->prior[0], h, n->d.D, t->d[0], rows);
    jobs[1] = layer_job(&n->prior[1], t, 1, rows);
    return 2;
}

void posterior_forward(const struct nets *n, struct mlp_tape *t, const float *h, const float *e,
                       size_t row0, size_t rows)
{
    size_t D = n->d.D;
    float *y = t->y[0] + row0 * D;
    linear_forward(n->kern, &n->post_h, y, D, h, D, rows);
    linear_add(n->kern, &n->post_e, KERN_RELU, y, D, e, D, rows);
    layer_forward(n->kern, &n->posterior, t, 1, KERN_LINEAR, row0, rows);
}

void posterior_backward(const struct nets *n, struct mlp_tape *t, float *d_h, float *d_e,
                        size_t row0, size_t rows)
{
    size_t D = n->d.D;
    layer_backward(n->kern, &n->posterior, t, 1, KERN_RELU, row0, rows);
    const float *d = t->d[0] + row0 * D;
    linear_backward_input(n->kern, &n->post_h, d_h, D, d, D, rows, true);
    linear_backward_input(n->kern, &n->post_e, d_e, D, d, D, rows, false);
}

size_t posterior_jobs(struct dw_job *jobs, const struct nets *n, const struct mlp_tape *t,
                      const float *h, const float *e, size_t rows)
{
    jobs[0] = linear_job(&n->post_h, h, n->d.D, t->d[0], rows);
    jobs[1] = linear_job(&n->post_e, e, n->d.D, t->d[0], rows);
    jobs[2] = layer_job(&n->posterior, t, 1, rows);
    return 3;
}

/* ------------------------------------------------------------------------------ transition */

size_t trans_tape_bytes(const struct nets *n, size_t rows, bool masks)
{
    return 2 * array_bytes(rows, n->d.D) + attention_tape_bytes(&n->trans_attn, rows, masks) +
           gru_tape_bytes(&n->gru, rows);
}

void trans_tape_carve(struct trans_tape *t, const struct nets *n, size_t rows, bool masks,
                      struct arena *a)
{
    *t = (struct trans_tape){.rows = rows};
    t->u = ARENA_NEW(a, float, rows * n->d.D);
    t->d_u = ARENA_NEW(a, float, rows * n->d.D);
    attention_tape_carve(&t->attn, &n->trans_attn, rows, masks, a);
    gru_tape_carve(&t->gru, &n->gru, rows, a);
}

size_t trans_scratch(const struct nets *n, size_t rows)
{
    return 6 * rows * n->d.D;
}

void trans_forward(const struct nets *n, struct trans_tape *t, float *h_next,
                   const uint8_t *index, const uint8_t *skip, const uint8_t *action,
                   const float *h_prev, size_t row0, size_t rows, float *scratch)
{
    const struct kern *k = n->kern;
    size_t D = n->d.D;
    float *u = t->u + row0 * D, *h = t->gru.h + row0 * D;

    onehot_forward(k, &n->trans_in, KERN_RELU, u, D, index, skip, action, NULL, 0, rows);
    attention_forward(k, &n->trans_attn, &t->attn, t->gru.x + row0 * D, u, row0, rows, scratch);
    for (size_t r = 0; r < rows; r++) {
        if (!h_prev || (skip && skip[r]))
            memset(h + r * D, 0, D * sizeof(float));
        else
            memcpy(h + r * D, h_prev + r * D, D * sizeof(float));
    }
    gru_forward(k, &n->gru, &t->gru, h_next, row0, rows, scratch);
}

/* Call back for each run of rows that have a previous state: the gradient ends at the others. */
static void add_to_previous(const struct nets *n, const struct trans_tape *t, float *d_s_prev,
                            float *d_h_prev, const float *d_h, const uint8_t *skip, size_t row0,
                            size_t rows)
{
    const struct kern *k = n->kern;
    size_t D = n->d.D, ld = n->trans_in.cat.in_pad;
    for (size_t r = 0, end; r < rows; r = end) {
        bool cut = skip && skip[r];
        for (end = r + 1; end < rows && (skip && skip[end]) == cut; end++)
            ;
        if (cut)
            continue;
        k->add(d_h_prev + r * D, d_h + r * D, (end - r) * D);
        linear_backward_input(k, &n->trans_in.cat, d_s_prev + r * ld, ld,
                              t->d_u + (row0 + r) * D, D, end - r, true);
    }
}

void trans_backward(const struct nets *n, struct trans_tape *t, float *d_s_prev,
                    float *d_h_prev, const uint8_t *skip, const float *d_next, size_t row0,
                    size_t rows, float *scratch)
{
    const struct kern *k = n->kern;
    size_t D = n->d.D;
    float *d_u = t->d_u + row0 * D;
    float *d_y = scratch, *d_h = scratch + rows * D, *rest = scratch + 2 * rows * D;

    memset(d_y, 0, 2 * rows * D * sizeof(float)); /* d_h too */
    gru_backward(k, &n->gru, &t->gru, d_y, d_h_prev ? d_h : NULL, d_next, row0, rows);
    memset(d_u, 0, rows * D * sizeof(float));
    attention_backward(k, &n->trans_attn, &t->attn, d_u, d_y, row0, rows, rest);
    activate_backward(k, KERN_RELU, d_u, t->u + row0 * D, rows * D);
    if (d_h_prev)
        add_to_previous(n, t, d_s_prev, d_h_prev, d_h, skip, row0, rows);
}

size_t trans_jobs(struct dw_job *jobs, const struct nets *n, const struct trans_tape *t,
                  const uint8_t *index, const uint8_t *skip, const uint8_t *action, size_t rows)
{
    jobs[0] = (struct dw_job){.kind = DW_ONEHOT,
                              .onehot = &n->trans_in,
                              .dy = t->d_u,
                              .ldy = n->d.D,
                              .index = index,
                              .skip = skip,
                              .action = action,
                              .rows = rows};
    size_t count = 1;
    count += attention_jobs(jobs + count, &n->trans_attn, &t->attn, rows);
    count += gru_jobs(jobs + count, &n->gru, &t->gru, rows);
    return count;
}

/* ---------------------------------------------------------------------------------- critic */

size_t critic_tape_bytes(const struct nets *n, size_t rows)
{
    return 5 * array_bytes(rows, n->d.D) + 2 * array_bytes(rows, kern_pad(1)) +
           attention_tape_bytes(&n->critic_attn, rows, false);
}

void critic_tape_carve(struct critic_tape *t, const struct nets *n, size_t rows,
                       struct arena *a)
{
    *t = (struct critic_tape){.rows = rows};
    t->x = ARENA_NEW(a, float, rows * n->d.D);
    t->d_x = ARENA_NEW(a, float, rows * n->d.D);
    t->a = ARENA_NEW(a, float, rows * n->d.D);
    t->f = ARENA_NEW(a, float, rows * n->d.D);
    t->d_f = ARENA_NEW(a, float, rows * n->d.D);
    t->v = ARENA_NEW(a, float, rows *kern_pad(1));
    t->d_v = ARENA_NEW(a, float, rows *kern_pad(1));
    attention_tape_carve(&t->attn, &n->critic_attn, rows, false, a);
}

size_t critic_scratch(const struct nets *n, size_t rows)
{
    return 4 * rows * n->d.D;
}

void critic_forward(const struct nets *n, struct critic_tape *t, const uint8_t *index,
                    const float *h, size_t row0, size_t rows, float *scratch)
{
    const struct kern *k = n->kern;
    size_t D = n->d.D, ld = kern_pad(1);
    float *x = t->x + row0 * D, *a = t->a + row0 * D, *f = t->f + row0 * D;

    onehot_forward(k, &n->critic_in, KERN_RELU, x, D, index, NULL, NULL, h, D, rows);
    attention_forward(k, &n->critic_attn, &t->attn, a, x, row0, rows, scratch);
    k->relu(a, a, rows * D);
    linear_layer(k, &n->critic_head[0], KERN_RELU, f, D, a, D, rows);
    linear_forward(k, &n->critic_head[1], t->v + row0 * ld, ld, f, D, rows);
}

void critic_backward(const struct nets *n, struct critic_tape *t, size_t row0, size_t rows,
                     float *scratch)
{
    const struct kern *k = n->kern;
    size_t D = n->d.D, ld = kern_pad(1);
    float *d_x = t->d_x + row0 * D, *d_f = t->d_f + row0 * D, *d_a = scratch;

    linear_backward_input(k, &n->critic_head[1], d_f, D, t->d_v + row0 * ld, ld, rows, false);
    activate_backward(k, KERN_RELU, d_f, t->f + row0 * D, rows * D);
    linear_backward_input(k, &n->critic_head[0], d_a, D, d_f, D, rows, false);
    activate_backward(k, KERN_RELU, d_a, t->a + row0 * D, rows * D);
    memset(d_x, 0, rows * D * sizeof(float));
    attention_backward(k, &n->critic_attn, &t->attn, d_x, d_a, row0, rows, scratch + rows * D);
    activate_backward(k, KERN_RELU, d_x, t->x + row0 * D, rows * D);
}

size_t critic_jobs(struct dw_job *jobs, const struct nets *n, const struct critic_tape *t,
                   const uint8_t *index, const float *h, size_t rows)
{
    size_t D = n->d.D;
    jobs[0] = (struct dw_job){.kind = DW_ONEHOT,
                              .onehot = &n->critic_in,
                              .x = h,
                              .ldx = D,
                              .dy = t->d_x,
                              .ldy = D,
                              .index = index,
                              .rows = rows};
    size_t count = 1;
    count += attention_jobs(jobs + count, &n->critic_attn, &t->attn, rows);
    jobs[count++] = linear_job(&n->critic_head[0], t->a, D, t->d_f, rows);
    jobs[count++] = linear_job(&n->critic_head[1], t->f, D, t->d_v, rows);
    return count;
}
