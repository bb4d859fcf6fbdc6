/* SPDX-License-Identifier: Apache-2.0 */
/* sysmem.h - how much memory this process may still take. */
#ifndef BASE_SYSMEM_H
#define BASE_SYSMEM_H

#include <stddef.h>

/* Bytes that the machine, or the container if that has less, can give now without swapping or
 * killing. SIZE_MAX where neither says. Linux: /proc/meminfo and cgroup v2 or v1. Any thread. */
size_t sysmem_available(void);

/* The same of the files under another root; "" is the machine's own. For tests. */
size_t sysmem_available_under(const char *root);

#endif
