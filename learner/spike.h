/* SPDX-License-Identifier: Apache-2.0 */
/* spike.h - is a loss or a gradient norm out of all proportion to what it has been?
 *
 * The rule: more than `factor` times the median of the last SPIKE_WINDOW values, once there are
 * SPIKE_MIN of them. A median does not mind the spikes themselves, and a level that stays is the
 * new median after half a window. For values that are not negative; one thread. */
#ifndef LEARNER_SPIKE_H
#define LEARNER_SPIKE_H

#include <stdbool.h>
#include <stddef.h>

enum { SPIKE_WINDOW = 64, SPIKE_MIN = 20 };

struct spike { /* all zero: nothing seen yet */
    double value[SPIKE_WINDOW];
    size_t seen;
};

/* Judge `value` by those before it, then remember it. *median: of those before. A value that is
 * not finite is neither a spike nor remembered: it has its own alarm (bad.h). factor 0: never. */
bool spike_add(struct spike *s, double value, double factor, double *median);

#endif
