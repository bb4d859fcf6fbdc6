/* SPDX-License-Identifier: Apache-2.0 */
/* mp.h - a pull reader for msgpack from outside: bounded, no allocation, no recursion. */
#ifndef PROTO_MP_H
#define PROTO_MP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MP_DEPTH = 16, MP_NODES = 4096 };

enum mp_kind { MP_NIL, MP_BOOL, MP_UINT, MP_INT, MP_FLOAT, MP_STR, MP_BIN, MP_ARRAY, MP_MAP };

struct mp_item {
    enum mp_kind kind;
    union {
        bool b;
        uint64_t u;     /* MP_UINT */
        int64_t i;      /* MP_INT: negative */
        double f;       /* MP_FLOAT, from either width */
        uint32_t count; /* MP_ARRAY elements, MP_MAP pairs; they follow as items */
    } v;
    const unsigned char *bytes; /* MP_STR, MP_BIN: view into the input */
    size_t n;
};

struct mp {
    const unsigned char *p, *end;
};

/* The next item; a container's elements come as items of their own. False: malformed or at the
 * end; EXT is malformed here. */
bool mp_next(struct mp *m, struct mp_item *out);

/* Pass over one whole value. Only after mp_scan said 0. False at the end. */
bool mp_skip(struct mp *m);

/* Exactly one value, within MP_DEPTH and MP_NODES, every count possible in the bytes left, no
 * trailing bytes. 0, or ERR_PROTO with err_text(). O(nodes), not O(bytes). */
int mp_scan(const void *p, size_t n);

#endif
