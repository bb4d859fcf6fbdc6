/* SPDX-License-Identifier: Apache-2.0 */
/* turn.h - sine and cosine of our own: the same bits on every machine. Private to the room. */
#ifndef ENV_TURN_H
#define ENV_TURN_H

/* Of 2 pi turns, turns in [0,1]; exact to the last bits. */
void turn_cos_sin(double turns, double *c, double *s);

#endif
