/* SPDX-License-Identifier: Apache-2.0 */
/* plan.c - which candidate is taken, and what is remembered about the choice.
 *
 * A candidate's score is the predicted model error summed over its inner steps, averaged over
 * the agents; the smallest wins, ties go to the lowest index (mag.md 9). `start` lets every
 * start state choose for itself, as the paper's Algorithm 1; `batch` takes one index for the
 * whole batch by its mean score, as the public code does.
 *
 * STATISTICS  Per start state and imagined step with L candidate scores x_1..x_L of mean m:
 *   chosen    += the score of the one taken      mean, score_sum += m
 *   within_sq += (1/L) sum (x_j - m)^2           between_sq      += m^2
 * so that over n = choices
 *   gain of planning per step      = (chosen - mean) / n            (never positive)
 *   spread within a start          = sqrt(within_sq / n)
 *   spread between starts (steps)  = sqrt(between_sq / n - (score_sum / n)^2)
 * All are sums, so the statistics of shards, windows and jobs simply add. */
#include "plan.h"

enum { PICKED_BINS = sizeof((struct mag_plan_stats *)0)->picked / sizeof(uint64_t) };

void mag_plan_stats_add(struct mag_plan_stats *into, const struct mag_plan_stats *s)
{
    into->choices += s->choices;
    into->chosen += s->chosen;
    into->mean += s->mean;
    into->within_sq += s->within_sq;
    into->between_sq += s->between_sq;
    into->score_sum += s->score_sum;
    for (size_t i = 0; i < PICKED_BINS; i++)
        into->picked[i] += s->picked[i];
    into->reward_sum += s->reward_sum;
    into->rewards += s->rewards;
}

size_t plan_best(const double *score, size_t L)
{
    size_t best = 0;
    for (size_t j = 1; j < L; j++)
        if (score[j] < score[best])
            best = j;
    return best;
}

void plan_choose(uint32_t *choice, const float *scores, size_t L, size_t P, size_t stride)
{
    for (size_t p = 0; p < P; p++) {
        size_t best = 0;
        for (size_t j = 1; j < L; j++)
            if (scores[j * stride + p] < scores[best * stride + p])
                best = j;
        choice[p] = (uint32_t)best;
    }
}

void plan_account(struct mag_plan_stats *st, const uint32_t *choice, const float *scores,
                  size_t L, size_t P, size_t stride)
{
    for (size_t p = 0; p < P; p++) {
        double sum = 0, sq = 0;
        for (size_t j = 0; j < L; j++)
            sum += (double)scores[j * stride + p];
        double mean = sum / (double)L;
        for (size_t j = 0; j < L; j++) {
            double d = (double)scores[j * stride + p] - mean;
            sq += d * d;
        }
        st->choices++;
        st->chosen += (double)scores[choice[p] * stride + p];
        st->mean += mean;
        st->score_sum += mean;
        st->within_sq += sq / (double)L;
        st->between_sq += mean * mean;
        st->picked[choice[p] < PICKED_BINS ? choice[p] : PICKED_BINS - 1]++;
    }
}
