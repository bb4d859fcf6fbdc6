/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz.h - the entry point of every fuzz target, as libFuzzer names it. */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* Must survive any bytes; returns 0. A property that does not hold aborts. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
