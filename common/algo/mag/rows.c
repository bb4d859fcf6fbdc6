/* SPDX-License-Identifier: Apache-2.0 */
/* rows.c - the arrays of an imagined batch, laid into memory somebody else owns.
 *
 * WHY  Transitions lie as a structure of arrays, time first, because that is how they are made
 * (a step of all starts at once), how they travel (one message part per window takes a strip of
 * every array) and how PPO reads them: a joint row gathers N consecutive tokens of each array.
 * Latents are class indices, one byte per categorical, so that a token of the paper's size is
 * 1056 bytes instead of 5120 (mag.md 20.3). */
#include "algo/mag.h"

/* What the arena hands out is a multiple of its alignment: count whole lines. */
static size_t lines(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

size_t mag_rows_bytes(const struct mag_dims *d, size_t S, size_t steps)
{
    size_t tokens = steps * S * d->N;
    return lines(tokens * d->C) + lines(tokens * d->D * sizeof(float)) + lines(tokens) +
           lines(tokens * ((d->A + 7) / 8)) + 3 * lines(tokens * sizeof(float));
}

void mag_rows_carve(struct mag_rows *r, const struct mag_dims *d, size_t S, size_t steps,
                    struct arena *a)
{
    size_t tokens = steps * S * d->N;
    r->S = S;
    r->steps = steps;
    r->index = ARENA_NEW(a, uint8_t, tokens * d->C);
    r->h = ARENA_NEW(a, float, tokens * d->D);
    r->action = ARENA_NEW(a, uint8_t, tokens);
    r->avail = ARENA_NEW(a, uint8_t, tokens * ((d->A + 7) / 8));
    r->logp = ARENA_NEW(a, float, tokens);
    r->value = ARENA_NEW(a, float, tokens);
    r->ret = ARENA_NEW(a, float, tokens);
}

size_t mag_plan_tokens(const struct config *cfg, const struct mag_dims *d, size_t S,
                       size_t steps)
{
    size_t inner = (size_t)cfg->imagine.candidates * cfg->imagine.horizon;
    bool plans = cfg->imagine.search == SEARCH_SHOOTING && inner > 0;
    return S * steps * d->N * (plans ? inner : 1);
}
