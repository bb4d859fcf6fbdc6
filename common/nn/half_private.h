/* SPDX-License-Identifier: Apache-2.0 */
/* half_private.h - the tables that half.c chooses from. */
#ifndef NN_HALF_PRIVATE_H
#define NN_HALF_PRIVATE_H

#include "nn/half.h"

extern const struct kern_half kern_half_avx512; /* needs AVX512-BF16 */

#endif
