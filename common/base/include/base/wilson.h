/* SPDX-License-Identifier: Apache-2.0 */
/* wilson.h - how far a win rate may be trusted. */
#ifndef BASE_WILSON_H
#define BASE_WILSON_H

/* 95 % score interval of a proportion, `wins` of n trials, within [0, 1] (Wilson 1927; unlike
 * p +- 1.96 s it holds for few trials and at the ends). No trials: [0, 1]. Any thread. */
void wilson_interval(double wins, double n, double *lo, double *hi);

#endif
