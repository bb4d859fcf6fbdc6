/* SPDX-License-Identifier: Apache-2.0 */
/* adam.c - norm, clip and step over one optimiser's range, in parallel by blocks.
 *
 * A block of 4096 floats is summed by one thread; block sums are added in order by the caller,
 * so the norm does not depend on the team. The step is elementwise. */
#include "nn/adam.h"

#include "base/err.h"

#include <math.h>

enum { GROUP = 1024 }; /* blocks summed per round, on the stack: 8 KB */

struct norm_work {
    const struct kern *k;
    const float *g;
    size_t n;
    double sum[GROUP];
};

static void norm_task(void *arg, size_t task, size_t worker)
{
    struct norm_work *w = arg;
    const size_t at = task * KERN_BLOCK, left = w->n - at;
    (void)worker;
    w->sum[task] = w->k->dsumsq(w->g + at, left < KERN_BLOCK ? left : KERN_BLOCK);
}

double adam_norm(const struct kern *k, struct pool *pool, const float *g, size_t n)
{
    double total = 0;
    for (size_t at = 0; at < n; at += GROUP * KERN_BLOCK) {
        const size_t left = n - at;
        struct norm_work w = {.k = k, .g = g + at, .n = left};
        if (w.n > GROUP * KERN_BLOCK)
            w.n = GROUP * KERN_BLOCK;
        const size_t blocks = (w.n + KERN_BLOCK - 1) / KERN_BLOCK;
        pool_run(pool, norm_task, &w, blocks);
        for (size_t b = 0; b < blocks; b++)
            total += w.sum[b];
    }
    return sqrt(total);
}

struct step_work {
    const struct kern *k;
    float *p, *m, *v;
    const float *g;
    size_t n;
    struct kern_adam c;
};

enum { STEP_TASK = 16 * KERN_BLOCK };

static void step_task(void *arg, size_t task, size_t worker)
{
    const struct step_work *w = arg;
    const size_t at = task * STEP_TASK, left = w->n - at;
    (void)worker;
    w->k->adam(w->p + at, w->m + at, w->v + at, w->g + at, left < STEP_TASK ? left : STEP_TASK,
               &w->c);
}

int adam_step(const struct kern *k, struct pool *pool, const struct adam *a, float *p, float *m,
              float *v, const float *g, size_t n, uint64_t *steps, double *beta1_t,
              double *beta2_t, double *norm)
{
    const double length = adam_norm(k, pool, g, n);
    if (norm)
        *norm = length;
    if (!isfinite(length))
        return err_set(ERR_NUMERIC, "the gradient's norm is not a finite number");
    const double b1t = *beta1_t * a->beta1, b2t = *beta2_t * a->beta2;
    double scale = a->clip > 0 ? a->clip / (length + 1e-6) : 1;
    if (scale > 1)
        scale = 1;
    /* No entry is larger than the norm, so squares that a float holds cannot make v infinite. */
    if (length * scale >= ADAM_NORM_MAX)
        return err_set(ERR_NUMERIC, "the gradient's norm %g is too large", length);
    struct step_work w = {.k = k, .p = p, .m = m, .v = v, .g = g, .n = n};
    w.c = (struct kern_adam){.scale = (float)scale,
                             .l2 = (float)a->l2,
                             .b1 = (float)a->beta1,
                             .c1 = (float)(1 - a->beta1),
                             .b2 = (float)a->beta2,
                             .c2 = (float)(1 - a->beta2),
                             .step = (float)(a->lr / (1 - b1t)),
                             .root = (float)(1 / sqrt(1 - b2t)),
                             .eps = (float)a->eps};
    pool_run(pool, step_task, &w, (n + STEP_TASK - 1) / STEP_TASK);
    *beta1_t = b1t;
    *beta2_t = b2t;
    (*steps)++;
    return 0;
}
