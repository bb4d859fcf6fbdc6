/* SPDX-License-Identifier: Apache-2.0 */
/* mp.c - msgpack from outside, read without believing a single count.
 *
 * WHY  msgpack-c allocates what a header declares: five bytes ask for 8 GiB. Our messages are
 * small maps whose bulk is BIN, so a reader that hands out one item at a time needs no memory
 * at all, and one walk beforehand (mp_scan) proves that everything later stays inside.
 *
 * The walk keeps, per open container, how many items are still to come, on a fixed stack; it
 * bounds the sum of all declared elements, not each alone, because chained headers would
 * otherwise multiply. Strings and blobs are skipped, not looked at: cost is per node. */
#include "mp.h"

#include "base/err.h"

#include <string.h>

static uint64_t big_endian(const unsigned char *p, size_t n)
{
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++)
        v = v << 8 | p[i];
    return v;
}

/* The n bytes after the tag as an unsigned number. */
static bool take_uint(struct mp *m, size_t n, uint64_t *out)
{
    if ((size_t)(m->end - m->p) < n)
        return false;
    *out = big_endian(m->p, n);
    m->p += n;
    return true;
}

static bool take_bytes(struct mp *m, enum mp_kind kind, uint64_t n, struct mp_item *out)
{
    if ((uint64_t)(m->end - m->p) < n)
        return false;
    out->kind = kind;
    out->bytes = m->p;
    out->n = (size_t)n;
    m->p += n;
    return true;
}

static bool take_sized(struct mp *m, enum mp_kind kind, size_t width, struct mp_item *out)
{
    uint64_t n;
    return take_uint(m, width, &n) && take_bytes(m, kind, n, out);
}

static bool take_count(struct mp *m, enum mp_kind kind, size_t width, struct mp_item *out)
{
    uint64_t n;
    if (!take_uint(m, width, &n))
        return false;
    out->kind = kind;
    out->v.count = (uint32_t)n;
    return true;
}

static bool take_signed(struct mp *m, size_t width, struct mp_item *out)
{
    uint64_t raw;
    if (!take_uint(m, width, &raw))
        return false;
    unsigned shift = (unsigned)(64 - 8 * width);
    int64_t v = (int64_t)(raw << shift) >> shift;
    out->kind = v < 0 ? MP_INT : MP_UINT;
    if (v < 0)
        out->v.i = v;
    else
        out->v.u = (uint64_t)v;
    return true;
}

static bool take_float(struct mp *m, size_t width, struct mp_item *out)
{
    uint64_t raw;
    if (!take_uint(m, width, &raw))
        return false;
    out->kind = MP_FLOAT;
    if (width == 8) {
        memcpy(&out->v.f, &raw, 8);
    } else {
        uint32_t half = (uint32_t)raw;
        float f;
        memcpy(&f, &half, 4);
        out->v.f = (double)f;
    }
    return true;
}

static bool take_unsigned(struct mp *m, size_t width, struct mp_item *out)
{
    out->kind = MP_UINT;
    return take_uint(m, width, &out->v.u);
}

/* Tags 0xc0..0xdf, the ones that are not "fix". */
static bool next_tagged(struct mp *m, unsigned tag, struct mp_item *out)
{
    switch (tag) {
    case 0xc0:
        out->kind = MP_NIL;
        return true;
    case 0xc2:
    case 0xc3:
        out->kind = MP_BOOL;
        out->v.b = tag == 0xc3;
        return true;
    case 0xc4:
    case 0xc5:
    case 0xc6:
        return take_sized(m, MP_BIN, (size_t)1 << (tag - 0xc4), out);
    case 0xca:
    case 0xcb:
        return take_float(m, tag == 0xca ? 4 : 8, out);
    case 0xcc:
    case 0xcd:
    case 0xce:
    case 0xcf:
        return take_unsigned(m, (size_t)1 << (tag - 0xcc), out);
    case 0xd0:
    case 0xd1:
    case 0xd2:
    case 0xd3:
        return take_signed(m, (size_t)1 << (tag - 0xd0), out);
    case 0xd9:
    case 0xda:
    case 0xdb:
        return take_sized(m, MP_STR, (size_t)1 << (tag - 0xd9), out);
    case 0xdc:
    case 0xdd:
        return take_count(m, MP_ARRAY, tag == 0xdc ? 2 : 4, out);
    case 0xde:
    case 0xdf:
        return take_count(m, MP_MAP, tag == 0xde ? 2 : 4, out);
    default: /* 0xc1 never used, the rest EXT */
        return false;
    }
}

bool mp_next(struct mp *m, struct mp_item *out)
{
    if (m->p == m->end)
        return false;
    unsigned tag = *m->p++;
    if (tag < 0x80) {
        out->kind = MP_UINT;
        out->v.u = tag;
    } else if (tag < 0x90) {
        out->kind = MP_MAP;
        out->v.count = tag & 0x0f;
    } else if (tag < 0xa0) {
        out->kind = MP_ARRAY;
        out->v.count = tag & 0x0f;
    } else if (tag < 0xc0) {
        return take_bytes(m, MP_STR, tag & 0x1f, out);
    } else if (tag >= 0xe0) {
        out->kind = MP_INT;
        out->v.i = (int64_t)tag - 256;
    } else {
        return next_tagged(m, tag, out);
    }
    return true;
}

/* Items that follow a container's header. */
static uint64_t children(const struct mp_item *it)
{
    if (it->kind == MP_ARRAY)
        return it->v.count;
    return it->kind == MP_MAP ? 2 * (uint64_t)it->v.count : 0;
}

bool mp_skip(struct mp *m)
{
    struct mp_item it;
    uint64_t left = 1;
    while (left) {
        if (!mp_next(m, &it))
            return false;
        left += children(&it) - 1;
    }
    return true;
}

int mp_scan(const void *p, size_t n)
{
    struct mp m = {.p = p, .end = (const unsigned char *)p + n};
    uint64_t left[MP_DEPTH + 1] = {1}, declared = 1;
    size_t depth = 0;
    for (;;) {
        while (left[depth] == 0) {
            if (depth == 0)
                return m.p == m.end ? 0 : err_set(ERR_PROTO, "bytes after the message");
            depth--;
        }
        struct mp_item it;
        left[depth]--;
        if (!mp_next(&m, &it))
            return err_set(ERR_PROTO, "malformed or cut msgpack");
        uint64_t more = children(&it);
        if (!more)
            continue;
        declared += more;
        if (declared > MP_NODES || more > (uint64_t)(m.end - m.p))
            return err_set(ERR_PROTO, "more elements declared than fit");
        if (++depth > MP_DEPTH)
            return err_set(ERR_PROTO, "nested deeper than %d", MP_DEPTH);
        left[depth] = more;
    }
}
