/* SPDX-License-Identifier: Apache-2.0 */
/* turn.c - sine and cosine by polynomials, for start positions and cones of view. */
#include "turn.h"

#include <math.h>

/* cos and sin of 2 pi turns: nearest quarter turn plus a rest of at most pi/4, whose Taylor
 * series to the 17th power are exact to the last bits. */
void turn_cos_sin(double turns, double *c, double *s)
{
    static const double HALF_PI = 1.57079632679489661923;
    double quarters = floor(turns * 4 + 0.5);
    double a = (turns * 4 - quarters) * HALF_PI, a2 = a * a;
    double cosine = 1, sine = 1;
    for (int k = 16; k >= 2; k -= 2) {
        cosine = 1 - a2 / (k * (k - 1)) * cosine;
        sine = 1 - a2 / (k * (k + 1)) * sine;
    }
    sine *= a;
    switch ((int)quarters & 3) {
    case 0:
        *c = cosine, *s = sine;
        break;
    case 1:
        *c = -sine, *s = cosine;
        break;
    case 2:
        *c = -cosine, *s = -sine;
        break;
    default:
        *c = sine, *s = -cosine;
    }
}
