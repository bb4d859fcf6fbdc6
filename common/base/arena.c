/* SPDX-License-Identifier: Apache-2.0 */
/* arena.c - one mapping, one offset.
 *
 * LAYOUT  base[0..used) handed out, base[used..size) free; every piece starts on a cache line,
 * so two threads working on neighbouring pieces do not share one, and vector loads are aligned.
 *
 * COST  The kernel hands out zeroed pages when they are first touched. Bytes at or above `high`
 * were never handed out and are still zero, so arena_zalloc clears only what was used before
 * and a large, sparsely used arena costs no memory.
 *
 * POISON  Builds with ARENA_POISON fill rewound bytes with 0xff: floats read as NaN, pointers
 * as non-canonical addresses. Poisoned bytes lie below `high`, so zalloc clears them. */
#include "base/arena.h"

#include "base/err.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { ARENA_ALIGN = 64 };

int arena_init(struct arena *a, size_t bytes)
{
    if (bytes > SIZE_MAX - ARENA_ALIGN)
        return ERR_NOMEM;
    size_t size = (bytes + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
    if (size == 0)
        size = ARENA_ALIGN;
    void *base = mmap(NULL, size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return ERR_NOMEM;
    *a = (struct arena){.base = base, .size = size};
    return 0;
}

void arena_fini(struct arena *a)
{
    if (a->base)
        munmap(a->base, a->size);
    *a = (struct arena){0};
}

/* Reserve `bytes`; *dirty is how many of them, from the start, were handed out before. */
static void *take(struct arena *a, size_t bytes, size_t *dirty)
{
    size_t room = a->size - a->used;
    if (!a->base || bytes > room)
        return NULL;
    /* size is a multiple of the alignment, so rounding up cannot pass it. */
    size_t rounded = (bytes + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
    unsigned char *piece = a->base + a->used;
    size_t old = a->high > a->used ? a->high - a->used : 0;
    *dirty = old < bytes ? old : bytes;
    a->used += rounded;
    if (a->used > a->high)
        a->high = a->used;
    return piece;
}

void *arena_alloc(struct arena *a, size_t bytes)
{
    size_t dirty;
    return take(a, bytes, &dirty);
}

void *arena_zalloc(struct arena *a, size_t bytes)
{
    size_t dirty;
    void *piece = take(a, bytes, &dirty);
    if (piece && dirty)
        memset(piece, 0, dirty);
    return piece;
}

_Noreturn static void out_of_room(const struct arena *a, size_t bytes)
{
    fprintf(stderr, "arena: %zu bytes wanted, %zu of %zu free: short of %zu\n", bytes,
            a->size - a->used, a->size, bytes - (a->size - a->used));
    bug_report(__FILE__, __LINE__, "an arena was sized too small");
}

void *arena_must(struct arena *a, size_t bytes)
{
    void *piece = arena_alloc(a, bytes);
    if (!piece)
        out_of_room(a, bytes);
    return piece;
}

void *arena_zmust(struct arena *a, size_t bytes)
{
    void *piece = arena_zalloc(a, bytes);
    if (!piece)
        out_of_room(a, bytes);
    return piece;
}

size_t arena_mark(const struct arena *a)
{
    return a->used;
}

void arena_rewind(struct arena *a, size_t mark)
{
    bug_on(mark > a->used);
#ifdef ARENA_POISON
    if (a->base)
        memset(a->base + mark, 0xff, a->used - mark);
#endif
    a->used = mark;
}
