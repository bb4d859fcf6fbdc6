/* SPDX-License-Identifier: Apache-2.0 */
/* arena.h - reserve at open, hand out pieces, give all back at once.
 *
 * One arena has one owner thread. Pieces are 64-byte aligned and zeroed on request. Debug
 * builds poison rewound memory so that stale pointers fail at once. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stddef.h>

struct arena {
    unsigned char *base;
    size_t size, used, high; /* bytes; high = most ever used */
};

/* Reserve `bytes` (mmap, touched lazily). ERR_NOMEM. */
int arena_init(struct arena *a, size_t bytes);
void arena_fini(struct arena *a); /* zeroed struct is a no-op */

/* 64-byte aligned, contents undefined. NULL when full: callers size arenas by their *_bytes
 * functions, so NULL is a bug there. */
void *arena_alloc(struct arena *a, size_t bytes);
void *arena_zalloc(struct arena *a, size_t bytes);

/* Aborts with the shortfall when full, for arenas whose size was computed. */
void *arena_must(struct arena *a, size_t bytes);
#define ARENA_NEW(a, type, n) ((type *)arena_must((a), (size_t)(n) * sizeof(type)))
#define ARENA_ZNEW(a, type, n) ((type *)arena_zmust((a), (size_t)(n) * sizeof(type)))
void *arena_zmust(struct arena *a, size_t bytes);

/* mark = arena_mark(a); ...; arena_rewind(a, mark) frees what came after the mark. */
size_t arena_mark(const struct arena *a);
void arena_rewind(struct arena *a, size_t mark);

#endif
