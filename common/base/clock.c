/* SPDX-License-Identifier: Apache-2.0 */
/* clock.c - the two clocks of the program behind one seam.
 *
 * WHY  Leases, heartbeats and rate limits are tested by moving time, not by sleeping. The seam
 * is one atomic pointer: NULL means the kernel's clocks, anything else is asked instead. It is
 * the only state here and is written by tests alone. */
#include "base/clock.h"

#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

static _Atomic(clock_source *) replaced;

static int64_t read_us(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t clock_mono_us(void)
{
    clock_source *source = atomic_load_explicit(&replaced, memory_order_acquire);
    if (!source)
        return read_us(CLOCK_MONOTONIC);
    int64_t mono = 0, wall = 0;
    source(&mono, &wall);
    return mono;
}

int64_t clock_mono_ms(void)
{
    return clock_mono_us() / 1000;
}

int64_t clock_wall_ms(void)
{
    clock_source *source = atomic_load_explicit(&replaced, memory_order_acquire);
    if (!source)
        return read_us(CLOCK_REALTIME) / 1000;
    int64_t mono = 0, wall = 0;
    source(&mono, &wall);
    return wall / 1000;
}

void clock_rfc3339(char *out, int64_t wall_ms)
{
    enum { RFC3339_BYTES = 25 };
    /* Years 0000 to 9999 only, so that the text always has 24 characters. */
    const int64_t first = -62167219200000, last = 253402300799999;
    int64_t ms = wall_ms < first ? first : wall_ms > last ? last : wall_ms;
    int64_t part = ms % 1000;
    if (part < 0)
        part += 1000;
    time_t seconds = (time_t)((ms - part) / 1000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    /* The casts tell the compiler the widths; the clamp above makes them true. */
    snprintf(out, RFC3339_BYTES, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ",
             (unsigned)(tm.tm_year + 1900) % 10000, (unsigned)(tm.tm_mon + 1) % 100,
             (unsigned)tm.tm_mday % 100, (unsigned)tm.tm_hour % 100, (unsigned)tm.tm_min % 100,
             (unsigned)tm.tm_sec % 100, (unsigned)part % 1000);
}

void clock_replace(clock_source *source)
{
    atomic_store_explicit(&replaced, source, memory_order_release);
}
