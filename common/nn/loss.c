/* SPDX-License-Identifier: Apache-2.0 */
/* loss.c - per-row losses and gradients; the elementwise work is in the kernels. */
#include "nn/loss.h"

void loss_smooth_l1(const struct kern *k, float *value, float *d, size_t ldd, const float *pred,
                    size_t ldp, const float *target, size_t ldt, const float *weight,
                    float scale, size_t M, size_t n)
{
    k->smooth_l1(value, d, ldd, pred, ldp, target, ldt, weight, scale, M, n);
}

void loss_bernoulli(const struct kern *k, float *value, float *d, size_t ldd,
                    const float *logits, size_t ldl, const uint8_t *target, size_t ldt,
                    const float *weight, float scale, size_t M, size_t n)
{
    k->bernoulli(value, d, ldd, logits, ldl, target, ldt, weight, scale, M, n);
}

/* d log-softmax: softmax minus the one-hot. */
void loss_cross_entropy(const struct kern *k, float *value, float *d, size_t ldd,
                        const float *logits, size_t ldl, const uint8_t *target,
                        const float *weight, float scale, size_t M, size_t A, float *scratch)
{
    k->log_softmax(scratch, logits, M, A, ldl);
    for (size_t m = 0; m < M; m++) {
        float *lp = scratch + m * ldl;
        const float w = weight ? scale * weight[m] : scale, hit = lp[target[m]];
        if (value)
            value[m] = -hit;
        if (!d)
            continue;
        k->exp(lp, lp, A);
        k->axpy(d + m * ldd, w, lp, A);
        d[m * ldd + target[m]] -= w;
        k->log_softmax(lp, logits + m * ldl, 1, A, ldl);
    }
}

void loss_entropy(const struct kern *k, float *value, const float *lp, size_t M, size_t A,
                  size_t ld, float *scratch)
{
    for (size_t m = 0; m < M; m++) {
        /* -1e10 * 0 = -0: masked actions add nothing */
        k->exp(scratch, lp + m * ld, A);
        value[m] = -k->dot16(scratch, lp + m * ld, A);
    }
}

/* d log p[a] / d logit_b = [a = b] - p_b;  d sum p log p / d logit_b = p_b (log p_b + H),
 * H the entropy. */
void loss_policy_backward(const struct kern *k, float *d, size_t ldd, const float *lp,
                          size_t ld, const uint8_t *action, const float *ca, float ce, size_t M,
                          size_t A, float *scratch)
{
    for (size_t m = 0; m < M; m++) {
        const float *l = lp + m * ld;
        float *to = d + m * ldd;
        k->exp(scratch, l, A);
        const float entropy = -k->dot16(scratch, l, A);
        for (size_t a = 0; a < A; a++)
            to[a] += scratch[a] * (ce * (l[a] + entropy) - ca[m]);
        to[action[m]] += ca[m];
    }
}
