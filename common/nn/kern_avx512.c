/* SPDX-License-Identifier: Apache-2.0 */
/* kern_avx512.c - kern_impl.h for AVX-512 (F, BW, DQ, VL: Skylake-X and later, Zen 4). */
#include "vec_avx512.h"

#include "kern_impl.h"
#include "kern_private.h"

const struct kern kern_table_avx512 = {
    .name = "avx512", .products = "vector", .isa = ISA_AVX512, KERN_SLOTS};
