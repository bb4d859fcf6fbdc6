/* SPDX-License-Identifier: Apache-2.0 */
/* policy.c - from logits to actions.
 *
 * An unavailable action gets the logit -1e10: its probability is exactly 0, so an inverse-CDF
 * draw never takes it, and unlike -infinity it makes no NaN in the entropy. If an imagined mask
 * leaves nothing available all logits are equal and the policy is uniform over all actions,
 * as in the original (mag.md 8, 17 item 13). */
#include "policy.h"

#include "nn/categorical.h"

#include <string.h>

/* Availability of one token as bytes 0/1: given, or drawn from its probabilities. */
static void available(uint8_t *on, const struct policy *p, size_t token)
{
    size_t A = p->A;
    if (p->given) {
        const uint8_t *given = p->given + token * A;
        for (size_t a = 0; a < A; a++)
            on[a] = given[a] != 0;
        return;
    }
    const float *u = p->u_avail + token * A, *prob = p->avail + token * p->ld;
    for (size_t a = 0; a < A; a++)
        on[a] = u[a] < prob[a];
}

static void pack_bits(uint8_t *bits, const uint8_t *on, size_t A)
{
    memset(bits, 0, (A + 7) / 8);
    for (size_t a = 0; a < A; a++)
        bits[a / 8] = (uint8_t)(bits[a / 8] | (unsigned)on[a] << a % 8);
}

/* Masks in place; keeps bits and masked logits where they are wanted. */
static void mask(const struct policy *p)
{
    uint8_t on[KERN_NONE]; /* actions are bytes, KERN_NONE is none of them */
    size_t A = p->A;
    for (size_t k = 0; k < p->tokens; k++) {
        float *row = p->logits + k * p->ld;
        available(on, p, k);
        for (size_t a = 0; a < A; a++)
            row[a] = on[a] ? row[a] : POLICY_MASKED;
        if (p->bits)
            pack_bits(p->bits + k * ((A + 7) / 8), on, A);
        if (p->masked)
            memcpy(p->masked + k * A, row, A * sizeof(float));
    }
}

static void largest(const struct policy *p)
{
    for (size_t k = 0; k < p->tokens; k++) {
        const float *row = p->logits + k * p->ld;
        size_t best = 0;
        for (size_t a = 1; a < p->A; a++)
            if (row[a] > row[best])
                best = a;
        p->action[k] = (uint8_t)best;
    }
}

void policy_draw(const struct kern *k, const struct policy *p)
{
    if (!p->given) /* logits become probabilities: 1 iff u < sigmoid(l) */
        k->sigmoid(p->avail, p->avail, p->tokens * p->ld);
    mask(p);
    if (p->logp) /* the probabilities of availability have been read: reuse their place */
        k->log_softmax(p->avail, p->logits, p->tokens, p->A, p->ld);
    if (p->u_act) {
        k->draw(p->action, p->logits, p->u_act, p->tokens, p->A, p->ld);
    } else {
        largest(p);
    }
    for (size_t i = 0; i < p->tokens && p->logp; i++)
        p->logp[i] = p->avail[i * p->ld + p->action[i]];
}

void policy_mask_bits(float *logits, const uint8_t *bits, size_t tokens, size_t A, size_t ld)
{
    size_t bytes = (A + 7) / 8;
    for (size_t k = 0; k < tokens; k++)
        for (size_t a = 0; a < A; a++)
            if (!(bits[k * bytes + a / 8] >> a % 8 & 1))
                logits[k * ld + a] = POLICY_MASKED;
}
