/* SPDX-License-Identifier: Apache-2.0 */
/* alloc_count.h - how often does this program ask for memory?
 *
 * Linking alloc_count.c replaces the C library's allocator entries in the program with counting
 * ones that pass on to glibc's own. Counted are calls in any thread: malloc, calloc, realloc,
 * reallocarray, aligned_alloc, memalign, posix_memalign, free of something, and mmap called from
 * outside the C library (arenas, LIBXSMM's kernels). A pair of malloc and free counts twice:
 * balance is not what is asked for.
 *
 * Sanitizers own the allocator: there alloc_counting is false and every count is 0. */
#ifndef TEST_ALLOC_COUNT_H
#define TEST_ALLOC_COUNT_H

#include <stdbool.h>
#include <stddef.h>

extern const bool alloc_counting;

/* Calls since the program began. Any thread. */
size_t alloc_calls(void);

#endif
