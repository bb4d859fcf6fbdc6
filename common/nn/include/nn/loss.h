/* SPDX-License-Identifier: Apache-2.0 */
/* loss.h - per-row losses with their gradients (mag.md 6, 7, 11).
 *
 * value [M] is the plain loss of a row (weights not applied), d[m][.] += w * dvalue/dpred with
 * w = scale * (weight ? weight[m] : 1). Either may be NULL. Sum values with k->dsum. */
#ifndef NN_LOSS_H
#define NN_LOSS_H

#include "nn/kern.h"

#include <stddef.h>
#include <stdint.h>

/* Sum over n columns of: d*d/2 if |d| < 1 else |d| - 1/2. */
void loss_smooth_l1(const struct kern *k, float *value, float *d, size_t ldd, const float *pred,
                    size_t ldp, const float *target, size_t ldt, const float *weight,
                    float scale, size_t M, size_t n);
/* Sum over n columns of -log Bernoulli(target; logit); target bytes 0/1. */
void loss_bernoulli(const struct kern *k, float *value, float *d, size_t ldd,
                    const float *logits, size_t ldl, const uint8_t *target, size_t ldt,
                    const float *weight, float scale, size_t M, size_t n);
/* -log softmax(logits)[target]. scratch: M*ldl floats, leaves the log-softmax there. */
void loss_cross_entropy(const struct kern *k, float *value, float *d, size_t ldd,
                        const float *logits, size_t ldl, const uint8_t *target,
                        const float *weight, float scale, size_t M, size_t A, float *scratch);
/* Entropy of rows of log-probabilities: value[m] = -sum p log p. scratch: 2*A floats. */
void loss_entropy(const struct kern *k, float *value, const float *lp, size_t M, size_t A,
                  size_t ld, float *scratch);
/* Gradient with respect to the logits of sum_m (ca[m] * log p[action[m]] + ce * sum_a p log p):
 * PPO's actor. d += . lp is the log-softmax; scratch: A floats. */
void loss_policy_backward(const struct kern *k, float *d, size_t ldd, const float *lp,
                          size_t ld, const uint8_t *action, const float *ca, float ce, size_t M,
                          size_t A, float *scratch);

#endif
