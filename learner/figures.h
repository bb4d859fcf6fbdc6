/* SPDX-License-Identifier: Apache-2.0 */
/* figures.h - small statistics of the trainer: running means, rank correlation, recent results.
 *
 * None of them touches training: their draws are in the METRIC domains. */
#ifndef LEARNER_FIGURES_H
#define LEARNER_FIGURES_H

#include "base/rng.h"

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mean {
    double sum;
    uint64_t n;
};
/* A value that is not finite is left out: one of them would hide all the others. */
static inline void mean_add(struct mean *m, double v)
{
    if (isfinite(v)) {
        m->sum += v;
        m->n++;
    }
}
static inline double mean_of(const struct mean *m)
{
    return m->n ? m->sum / (double)m->n : 0;
}

/* Spearman's correlation of a[n] and b[n] with a percentile bootstrap over units: unit[i] in
 * [0, units) says to which episode (or window) pair i belongs. Ranks are taken once over the
 * whole sample (ties share their mean rank); the bootstrap resamples units, `rounds` times.
 * scratch: n * 4 doubles + units * 6. 95 % interval. false when there is no variation. */
struct rank_figure {
    double rho, lo, hi;
};
size_t rank_scratch(size_t n, size_t units);
bool rank_correlation(struct rank_figure *out, const float *a, const float *b,
                      const uint32_t *unit, size_t n, size_t units, size_t rounds,
                      const struct draws *draws, uint64_t item, double *scratch);

/* The last RECENT training episodes. */
enum { RECENT = 100 };
struct recent {
    struct {
        bool won;
        double ret, length;
    } e[RECENT];
    uint64_t n;
};
void recent_add(struct recent *r, bool won, double ret, uint32_t length);
size_t recent_means(const struct recent *r, double *win_rate, double *ret, double *length);

#endif
