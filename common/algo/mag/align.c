/* SPDX-License-Identifier: Apache-2.0 */
/* align.c - which record explains which step of a window.
 *
 *   record     k      k+1    k+2   ...  k+W-1
 *   obs_t             t=0    t=1        t=T-1     and avail, fake, last
 *   act_t      t=0    t=1    t=2 ...              and reward, done: what led to obs_t
 *
 * With time as the first axis the alignment is an offset of one row, so nothing is copied.
 * Source: mag.md 3 of the specification. */
#include "algo/mag.h"

void mag_align(struct mag_batch *out, const struct mag_windows *w, const struct mag_dims *d)
{
    size_t step = w->B, tokens = w->B * d->N;
    *out = (struct mag_batch){
        .T = w->W - 1,
        .B = w->B,
        .obs = w->obs ? w->obs + tokens * d->O : NULL,
        .avail = w->avail ? w->avail + tokens * d->A : NULL,
        .fake = w->fake ? w->fake + step : NULL,
        .last = w->last ? w->last + step : NULL,
        .action = w->action,
        .reward = w->reward,
        .done = w->done,
    };
}
