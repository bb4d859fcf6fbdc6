/* SPDX-License-Identifier: Apache-2.0 */
/* figures.c - statistics for people; none of them changes a weight.
 *
 * The bootstrap keeps ranks fixed and resamples whole units by their sums (n, x, y, xx, yy,
 * xy), so a round costs the number of units, not of pairs: tokens of one episode are far from
 * independent, which is why units are resampled and not tokens. */
#include "figures.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct keyed {
    float v;
    uint32_t at;
};
_Static_assert(sizeof(struct keyed) <= sizeof(double), "scratch holds these");

static int by_key(const void *a, const void *b)
{
    const struct keyed *x = a, *y = b;
    if (x->v != y->v)
        return x->v < y->v ? -1 : 1;
    return x->at < y->at ? -1 : x->at > y->at;
}

/* rank[i] of v[i], ties at their mean. */
static void ranks(double *rank, const float *v, size_t n, struct keyed *k)
{
    for (size_t i = 0; i < n; i++)
        k[i] = (struct keyed){v[i], (uint32_t)i};
    qsort(k, n, sizeof *k, by_key);
    for (size_t i = 0; i < n;) {
        size_t j = i;
        while (j < n && !(k[j].v > k[i].v))
            j++;
        for (size_t t = i; t < j; t++)
            rank[k[t].at] = (double)(i + j - 1) / 2;
        i = j;
    }
}

enum { SUM_N, SUM_X, SUM_Y, SUM_XX, SUM_YY, SUM_XY, SUMS };

static bool pearson(const double s[SUMS], double *rho)
{
    double n = s[SUM_N];
    double xx = s[SUM_XX] - s[SUM_X] * s[SUM_X] / n, yy = s[SUM_YY] - s[SUM_Y] * s[SUM_Y] / n;
    double xy = s[SUM_XY] - s[SUM_X] * s[SUM_Y] / n;
    if (n < 2 || !(xx > 0) || !(yy > 0))
        return false;
    *rho = xy / sqrt(xx * yy);
    return true;
}

size_t rank_scratch(size_t n, size_t units)
{
    return 4 * n + SUMS * units + 1024;
}

static int by_double(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

bool rank_correlation(struct rank_figure *out, const float *a, const float *b,
                      const uint32_t *unit, size_t n, size_t units, size_t rounds,
                      const struct draws *draws, uint64_t item, double *scratch)
{
    double *x = scratch, *y = scratch + n, *sums = scratch + 3 * n;
    double *round = sums + SUMS * units, total[SUMS] = {0};
    struct keyed *k = (struct keyed *)(void *)(scratch + 2 * n);
    if (n < 2 || rounds > 1024)
        return false;
    ranks(x, a, n, k);
    ranks(y, b, n, k);
    memset(sums, 0, SUMS * units * sizeof *sums);
    for (size_t i = 0; i < n; i++) {
        double *s = sums + SUMS * unit[i];
        s[SUM_N] += 1;
        s[SUM_X] += x[i];
        s[SUM_Y] += y[i];
        s[SUM_XX] += x[i] * x[i];
        s[SUM_YY] += y[i] * y[i];
        s[SUM_XY] += x[i] * y[i];
    }
    for (size_t u = 0; u < units; u++)
        for (int c = 0; c < SUMS; c++)
            total[c] += sums[SUMS * u + (size_t)c];
    if (!pearson(total, &out->rho))
        return false;
    size_t good = 0;
    for (size_t r = 0; r < rounds; r++) {
        double s[SUMS] = {0};
        for (size_t u = 0; u < units; u += 4) {
            uint32_t word[4];
            draws_words(draws, DRAW_METRIC_BOOTSTRAP, item,
                        (uint32_t)(r * units + u) & 0xffffff, word, 4);
            for (size_t j = u; j < u + 4 && j < units; j++) {
                const double *from = sums + SUMS * word_below(word[j - u], (uint32_t)units);
                for (int c = 0; c < SUMS; c++)
                    s[c] += from[c];
            }
        }
        good += pearson(s, &round[good]);
    }
    out->lo = out->hi = out->rho;
    if (good >= 20) {
        qsort(round, good, sizeof *round, by_double);
        out->lo = round[good / 40];
        out->hi = round[good - 1 - good / 40];
    }
    return true;
}

void recent_add(struct recent *r, bool won, double ret, uint32_t length)
{
    size_t at = r->n++ % RECENT;
    r->e[at].won = won;
    r->e[at].ret = ret;
    r->e[at].length = length;
}

size_t recent_means(const struct recent *r, double *win_rate, double *ret, double *length)
{
    size_t n = r->n < RECENT ? (size_t)r->n : RECENT;
    *win_rate = *ret = *length = 0;
    for (size_t i = 0; i < n; i++) {
        *win_rate += r->e[i].won;
        *ret += r->e[i].ret;
        *length += r->e[i].length;
    }
    if (n) {
        *win_rate /= (double)n;
        *ret /= (double)n;
        *length /= (double)n;
    }
    return n;
}
