/* SPDX-License-Identifier: Apache-2.0 */
/* categorical.c - rows of categoricals around the kernels that work on single ones.
 *
 * Rows without padding are one long list of categoricals, which keeps vectors full; rows with
 * padding go one by one. The bits are the same: a categorical never sees its neighbours. */
#include "nn/categorical.h"

#include <string.h>

/* Calls of a kernel: `calls` of `n` categoricals each, `ld` apart. */
struct runs {
    size_t calls, n;
};

static struct runs runs_of(size_t M, size_t C, size_t K, size_t ld)
{
    return ld == C * K ? (struct runs){1, M * C} : (struct runs){M, C};
}

void categorical_softmax(const struct kern *k, float *p, const float *logits, size_t M,
                         size_t C, size_t K, size_t ld)
{
    const struct runs r = runs_of(M, C, K, ld);
    for (size_t i = 0; i < r.calls; i++)
        k->softmax(p + i * ld, logits + i * ld, r.n, K, K);
    for (size_t m = 0; m < M && ld > C * K; m++)
        memset(p + m * ld + C * K, 0, (ld - C * K) * sizeof *p);
}

void categorical_sample(const struct kern *k, uint8_t *index, const float *p, const float *u,
                        size_t M, size_t C, size_t K, size_t ld)
{
    const struct runs r = runs_of(M, C, K, ld);
    for (size_t i = 0; i < r.calls; i++)
        k->sample(index + i * C, p + i * ld, u + i * C, r.n, K, K);
}

void categorical_draw(const struct kern *k, uint8_t *index, const float *logits, const float *u,
                      size_t M, size_t C, size_t K, size_t ld)
{
    const struct runs r = runs_of(M, C, K, ld);
    for (size_t i = 0; i < r.calls; i++)
        k->draw(index + i * C, logits + i * ld, u + i * C, r.n, K, K);
}

void categorical_argmax(uint8_t *index, const float *logits, size_t M, size_t C, size_t K,
                        size_t ld)
{
    for (size_t m = 0; m < M; m++)
        for (size_t c = 0; c < C; c++) {
            const float *x = logits + m * ld + c * K;
            size_t best = 0;
            for (size_t i = 1; i < K; i++)
                best = x[i] > x[best] ? i : best;
            index[m * C + c] = (uint8_t)best;
        }
}

void categorical_backward(const struct kern *k, float *dlogits, const float *p, const float *ds,
                          size_t M, size_t C, size_t K, size_t ld)
{
    const struct runs r = runs_of(M, C, K, ld);
    for (size_t i = 0; i < r.calls; i++)
        k->softmax_backward(dlogits + i * ld, p + i * ld, ds + i * ld, r.n, K, K);
}

void categorical_kl(const struct kern *k, float *kl, const float *p, const float *q, size_t M,
                    size_t C, size_t K, size_t ld, float *scratch)
{
    for (size_t m = 0; m < M; m++) {
        float sum = 0;
        k->kl(scratch, p + m * ld, q + m * ld, C, K, K);
        for (size_t c = 0; c < C; c++)
            sum += scratch[c];
        kl[m] = sum / (float)C;
    }
}

void categorical_kl_backward(const struct kern *k, float *dpost, float *dprior, const float *p,
                             const float *q, float scale, size_t M, size_t C, size_t K,
                             size_t ld)
{
    const struct runs r = runs_of(M, C, K, ld);
    const float to_post = 0.2f * scale / (float)C, to_prior = 0.8f * scale / (float)C;
    for (size_t i = 0; i < r.calls; i++)
        k->kl_backward(dpost ? dpost + i * ld : NULL, dprior ? dprior + i * ld : NULL,
                       p + i * ld, q + i * ld, to_post, to_prior, r.n, K, K);
}

void policy_mask(float *logits, const uint8_t *avail, size_t M, size_t A, size_t ld)
{
    for (size_t m = 0; m < M; m++)
        for (size_t a = 0; a < A; a++)
            if (!avail[m * A + a])
                logits[m * ld + a] = POLICY_MASKED;
}

void bernoulli_sample(const struct kern *k, uint8_t *y, const float *logits, const float *u,
                      size_t M, size_t A, size_t ld, float *scratch)
{
    for (size_t m = 0; m < M; m++)
        k->sigmoid(scratch + m * A, logits + m * ld, A);
    for (size_t i = 0; i < M * A; i++)
        y[i] = u[i] < scratch[i];
}

void policy_log_softmax(const struct kern *k, float *lp, const float *x, size_t M, size_t A,
                        size_t ld)
{
    k->log_softmax(lp, x, M, A, ld);
}

void policy_sample(const struct kern *k, uint8_t *action, const float *p, const float *u,
                   size_t M, size_t A, size_t ld)
{
    k->sample(action, p, u, M, A, ld);
}
