/* SPDX-License-Identifier: Apache-2.0 */
/* fault.c - dying, or going wrong, on request, at an exact place.
 *
 * WHY  "kill -9 at any instant loses nothing" is proved by dying between two chosen
 * instructions, not by hoping that a timer hits them. */
#include "base/fault.h"

#include <math.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { UNREAD, OFF, ARMED_SIGNAL, ARMED_NAN };

static atomic_int state = UNREAD;
static char wanted[64];
static int signal_no = SIGKILL;
static atomic_long left;
static bool for_ever; /* from the k-th time on, not at it alone */

static int read_request(void)
{
    const char *request = getenv("MAG_FAULT");
    const char *colon = request ? strchr(request, ':') : NULL;
    if (!colon || (size_t)(colon - request) >= sizeof wanted)
        return OFF;
    memcpy(wanted, request, (size_t)(colon - request));
    wanted[colon - request] = 0;
    atomic_store(&left, strtol(colon + 1, NULL, 10));
    if (strstr(colon + 1, ":stop"))
        signal_no = SIGSTOP;
    for_ever = strstr(colon + 1, ":nan+") != NULL;
    return strstr(colon + 1, ":nan") ? ARMED_NAN : ARMED_SIGNAL;
}

/* Whether this is the wanted kind of request, the named place, and its time. */
static bool due(const char *name, int kind)
{
    int now = atomic_load_explicit(&state, memory_order_acquire);
    if (now == UNREAD) { /* racing first calls read the same environment */
        now = read_request();
        atomic_store_explicit(&state, now, memory_order_release);
    }
    if (now != kind || strcmp(name, wanted))
        return false;
    long was = atomic_fetch_sub(&left, 1);
    return was == 1 || (for_ever && was < 1);
}

void fault_point(const char *name)
{
    if (due(name, ARMED_SIGNAL))
        kill(getpid(), signal_no);
}

void fault_poison(const char *name, float *x)
{
    if (due(name, ARMED_NAN))
        *x = NAN;
}
