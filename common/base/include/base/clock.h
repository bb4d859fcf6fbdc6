/* SPDX-License-Identifier: Apache-2.0 */
/* clock.h - time for people (wall) and time for timeouts (monotonic). Tests replace both. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

int64_t clock_mono_ms(void); /* never jumps; timers, leases, rates */
int64_t clock_mono_us(void);
int64_t clock_wall_ms(void); /* Unix time; stamps only */

/* UTC as 2026-01-31T12:00:00.000Z into out[25]. */
void clock_rfc3339(char *out, int64_t wall_ms);

/* Test seam: a function that returns monotonic and wall microseconds; NULL restores. */
typedef void clock_source(int64_t *mono_us, int64_t *wall_us);
void clock_replace(clock_source *source);

#endif
