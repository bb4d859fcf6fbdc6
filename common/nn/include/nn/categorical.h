/* SPDX-License-Identifier: Apache-2.0 */
/* categorical.h - C categoricals of K classes per row: softmax, draws, gradients, KL.
 *
 * Rows are [M][ld] with C*K used floats each (ld = kern_pad(C*K)). Classes as bytes, so
 * K <= 256. mag.md 4.4 and 6. */
#ifndef NN_CATEGORICAL_H
#define NN_CATEGORICAL_H

#include "nn/kern.h"

#include <stddef.h>
#include <stdint.h>

/* p = softmax per categorical; padding columns become 0. p may alias logits. */
void categorical_softmax(const struct kern *k, float *p, const float *logits, size_t M,
                         size_t C, size_t K, size_t ld);
/* index [M][C] from uniforms u [M][C] by inverse CDF. */
void categorical_sample(const struct kern *k, uint8_t *index, const float *p, const float *u,
                        size_t M, size_t C, size_t K, size_t ld);
/* softmax and sample in one, without keeping the probabilities. */
void categorical_draw(const struct kern *k, uint8_t *index, const float *logits, const float *u,
                      size_t M, size_t C, size_t K, size_t ld);
/* Class of the largest logit, the lowest on ties. */
void categorical_argmax(uint8_t *index, const float *logits, size_t M, size_t C, size_t K,
                        size_t ld);
/* Straight-through: dlogits += p (ds - <ds, p>) per categorical. */
void categorical_backward(const struct kern *k, float *dlogits, const float *p, const float *ds,
                          size_t M, size_t C, size_t K, size_t ld);

/* Per row: kl[m] = mean over categoricals of KL(p || q), p and q softmaxes. Both halves of the
 * balanced loss have this value: 0.2 + 0.8 = 1. scratch: C floats. */
void categorical_kl(const struct kern *k, float *kl, const float *p, const float *q, size_t M,
                    size_t C, size_t K, size_t ld, float *scratch);
/* Balanced gradient with respect to logits, times scale: posterior gets 0.2, prior 0.8 of the
 * mean over categoricals. dpost, dprior +=, either may be NULL. */
void categorical_kl_backward(const struct kern *k, float *dpost, float *dprior, const float *p,
                             const float *q, float scale, size_t M, size_t C, size_t K,
                             size_t ld);

/* Policy rows of A logits, leading dimension ld. */
#define POLICY_MASKED (-1e10f)
/* logits[m][a] = -1e10 where avail[m][a] is 0 (bytes [M][A]). */
void policy_mask(float *logits, const uint8_t *avail, size_t M, size_t A, size_t ld);
/* avail[m][a] = u < sigmoid(logit): one Bernoulli draw each; u [M][A]. scratch: M*A floats. */
void bernoulli_sample(const struct kern *k, uint8_t *y, const float *logits, const float *u,
                      size_t M, size_t A, size_t ld, float *scratch);
/* lp = (x - max) - log sum exp. lp may alias x. */
void policy_log_softmax(const struct kern *k, float *lp, const float *x, size_t M, size_t A,
                        size_t ld);
/* action [M] from softmax probabilities p and u [M]. */
void policy_sample(const struct kern *k, uint8_t *action, const float *p, const float *u,
                   size_t M, size_t A, size_t ld);

#endif
