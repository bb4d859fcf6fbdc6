/* SPDX-License-Identifier: Apache-2.0 */
/* kern_ref.c - the reference table: kern_impl.h on plain loops, the definition of every bit.
 *
 * Compiled twice: with -mfma and KERN_REF_FMA for CPUs that have fused multiply-add, and for
 * any other x86-64, where fmaf is a library call with the same result. */
#include "vec_ref.h"

#include "kern_impl.h"
#include "kern_private.h"

#ifdef KERN_REF_FMA
const struct kern kern_table_ref_fma = {
#else
const struct kern kern_table_ref = {
#endif
    .name = "ref", .products = "chain", .isa = ISA_REF, KERN_SLOTS};
