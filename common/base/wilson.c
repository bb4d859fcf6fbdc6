/* SPDX-License-Identifier: Apache-2.0 */
#include "base/wilson.h"

#include <math.h>

void wilson_interval(double wins, double n, double *lo, double *hi)
{
    const double z = 1.959963984540054;
    *lo = 0;
    *hi = 1;
    if (n <= 0)
        return;
    double p = wins / n, z2 = z * z / n;
    double mid = (p + z2 / 2) / (1 + z2);
    double half = z / (1 + z2) * sqrt(p * (1 - p) / n + z2 / (4 * n));
    if (wins > 0) /* at the ends rounding would leave 1e-17 */
        *lo = mid - half;
    if (wins < n)
        *hi = mid + half;
}
