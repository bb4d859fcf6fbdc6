/* SPDX-License-Identifier: Apache-2.0 */
/* policy.c - from logits to actions.
 *
 * An unavailable action gets the logit -1e10: its probability is exactly 0, so an inverse-CDF
 * draw never takes it, and unlike -infinity it makes no NaN in the entropy. If an imagined mask
 * leaves nothing available all logits are equal and the policy is uniform over all actions,
 * as in the original (mag.md 8, 17 item 13). */
#include "policy.h"

#include "nn/categorical.h"

#include <stdbool.h>
#include <string.h>

/* Which actions of a token are available: one byte each. */
static bool available(const struct policy *p, size_t token, size_t a)
{
    if (p->given)
        return p->given[token * p->A + a] != 0;
    return p->u_avail[token * p->A + a] < p->avail[token * p->ld + a];
}

/* Masks in place; keeps the bits where they are wanted. */
static void mask(const struct policy *p)
{
    size_t A = p->A, bytes = (A + 7) / 8;
    for (size_t k = 0; k < p->tokens; k++) {
        float *row = p->logits + k * p->ld;
        uint8_t *bits = p->bits ? p->bits + k * bytes : NULL;
        if (bits)
            memset(bits, 0, bytes);
        for (size_t a = 0; a < A; a++) {
            bool on = available(p, k, a);
            row[a] = on ? row[a] : POLICY_MASKED;
            if (bits)
                bits[a / 8] = (uint8_t)(bits[a / 8] | (unsigned)on << a % 8);
        }
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
        k->softmax(p->logits, p->logits, p->tokens, p->A, p->ld);
        k->sample(p->action, p->logits, p->u_act, p->tokens, p->A, p->ld);
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
