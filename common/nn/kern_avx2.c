/* SPDX-License-Identifier: Apache-2.0 */
/* kern_avx2.c - kern_impl.h for AVX2 with FMA. */
#include "vec_avx2.h"

#include "kern_impl.h"
#include "kern_private.h"

const struct kern kern_table_avx2 = {
    .name = "avx2", .products = "vector", .isa = ISA_AVX2, KERN_SLOTS};
