/* SPDX-License-Identifier: Apache-2.0 */
/* policy.h - from logits to actions: masks, draws, log-probabilities (private; policy.c).
 *
 * Acting, imagining, planning and PPO all come through here, so that one row of logits has one
 * masked log-softmax everywhere and PPO's first ratio is exactly 1. */
#ifndef MAG_POLICY_H
#define MAG_POLICY_H

#include "nn/kern.h"

#include <stddef.h>
#include <stdint.h>

/* One batch of draws. Rows of `logits` and `avail` are ld floats apart, A of them used. */
struct policy {
    size_t tokens, A, ld;
    float *logits;        /* [tokens][ld] actor's; working storage: arrives raw, leaves as pi */
    float *avail;         /* [tokens][ld] Bernoulli logits, working storage; or */
    const uint8_t *given; /* [tokens][A] 0/1: if set, `avail` is scratch only */
    const float *u_avail; /* [tokens][A]; unused if given */
    const float *u_act;   /* [tokens]; NULL: the largest masked logit, ties to the lowest */

    uint8_t *action; /* out [tokens] */
    uint8_t *bits;   /* out or NULL: [tokens][ceil(A/8)], least significant first */
    float *masked;   /* out or NULL: [tokens][A] */
    float *logp;     /* out or NULL: [tokens] log-softmax of the masked logits at the action */
};
void policy_draw(const struct kern *k, const struct policy *p);

/* logits[tokens][ld] = POLICY_MASKED wherever the bit of avail [tokens][ceil(A/8)] is 0. */
void policy_mask_bits(float *logits, const uint8_t *bits, size_t tokens, size_t A, size_t ld);

#endif
