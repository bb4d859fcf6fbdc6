/* SPDX-License-Identifier: Apache-2.0 */
/* fault.h - named places where a test may kill the process.
 *
 * MAG_FAULT=name:k raises SIGKILL when the program passes fault_point(name) for the k-th time
 * (k from 1); MAG_FAULT=name:k:stop raises SIGSTOP instead. Without the variable a call costs
 * one load and a branch. Names are listed in docs/testing.md. */
#ifndef BASE_FAULT_H
#define BASE_FAULT_H

void fault_point(const char *name); /* any thread */

#endif
