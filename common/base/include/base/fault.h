/* SPDX-License-Identifier: Apache-2.0 */
/* fault.h - named places where a test may kill the process.
 *
 * MAG_FAULT=name:k raises SIGKILL when the program passes fault_point(name) for the k-th time
 * (k from 1); MAG_FAULT=name:k:stop raises SIGSTOP instead. MAG_FAULT=name:k:nan spoils the
 * number that the program shows to fault_poison(name) for the k-th time, name:k:nan+ from then
 * on. Without the variable a call costs one load and a branch. Names: docs/testing.md. */
#ifndef BASE_FAULT_H
#define BASE_FAULT_H

void fault_point(const char *name);            /* any thread */
void fault_poison(const char *name, float *x); /* *x = NaN when its time has come; any thread */

#endif
