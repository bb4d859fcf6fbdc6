/* SPDX-License-Identifier: Apache-2.0 */
/* pbscan.c - the fence in front of protobuf-c.
 *
 * WHY  protobuf-c 1.4 recurses as deep as the bytes say (30 KB of nesting overflow the stack)
 * and copies every unknown field (52 times their size). So the bytes are walked first, with a
 * fixed stack, along the message's own descriptor: bytes alone cannot tell a nested message
 * from a string. What passes is then unpacked with an allocator that has a budget.
 *
 * A known field whose wire type is not its own is refused, not treated as unknown: our peers
 * never send one. The wire format's groups (types 3 and 4) are refused for the same reason. */
#include "pbscan.h"

#include "base/err.h"

#include <stdlib.h>
#include <string.h>

struct cursor {
    const unsigned char *p, *end;
};

static bool take_varint(struct cursor *c, uint64_t *out)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        if (c->p == c->end)
            return false;
        unsigned b = *c->p++;
        if (shift < 64)
            v |= (uint64_t)(b & 0x7f) << shift;
        if (!(b & 0x80)) {
            *out = v;
            return true;
        }
    }
    return false;
}

struct pb_field {
    uint32_t number;
    unsigned wire;
    const unsigned char *data; /* wire type 2 only */
    size_t n;
};

/* The next field: its tag, and its value passed over. */
static bool take_field(struct cursor *c, struct pb_field *f)
{
    uint64_t tag, v;
    if (!take_varint(c, &tag) || tag >> 3 == 0 || tag >> 3 > 0x1fffffff)
        return false;
    f->number = (uint32_t)(tag >> 3);
    f->wire = (unsigned)(tag & 7);
    f->data = NULL;
    size_t skip = 0;
    switch (f->wire) {
    case PROTOBUF_C_WIRE_TYPE_VARINT:
        return take_varint(c, &v);
    case PROTOBUF_C_WIRE_TYPE_64BIT:
        skip = 8;
        break;
    case PROTOBUF_C_WIRE_TYPE_32BIT:
        skip = 4;
        break;
    case PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED:
        if (!take_varint(c, &v) || v > (uint64_t)(c->end - c->p))
            return false;
        f->data = c->p;
        f->n = skip = (size_t)v;
        break;
    default:
        return false;
    }
    if ((size_t)(c->end - c->p) < skip)
        return false;
    c->p += skip;
    return true;
}

static unsigned wire_of(ProtobufCType t)
{
    switch (t) {
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
        return PROTOBUF_C_WIRE_TYPE_32BIT;
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return PROTOBUF_C_WIRE_TYPE_64BIT;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE:
        return PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED;
    default:
        return PROTOBUF_C_WIRE_TYPE_VARINT;
    }
}

static bool fits_type(const ProtobufCFieldDescriptor *fd, const struct pb_field *f)
{
    if (f->wire == wire_of(fd->type))
        return fd->type != PROTOBUF_C_TYPE_STRING || !memchr(f->data, 0, f->n);
    /* numbers of a repeated field may come packed */
    return fd->label == PROTOBUF_C_LABEL_REPEATED &&
           f->wire == PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED;
}

struct level {
    const ProtobufCMessageDescriptor *d;
    struct cursor c;
};

int pb_scan(const ProtobufCMessageDescriptor *d, const void *p, size_t n)
{
    struct level stack[PB_DEPTH] = {{d, {p, (const unsigned char *)p + n}}};
    size_t depth = 0, fields = 0, unknown = 0;
    for (;;) {
        struct level *at = &stack[depth];
        if (at->c.p == at->c.end) {
            if (depth-- == 0)
                return 0;
            continue;
        }
        struct pb_field f;
        if (!take_field(&at->c, &f))
            return err_set(ERR_PROTO, "%s: malformed or cut protobuf", d->short_name);
        if (++fields > PB_FIELDS)
            return err_set(ERR_PROTO, "%s: more than %d fields", d->short_name, PB_FIELDS);
        const ProtobufCFieldDescriptor *fd =
            protobuf_c_message_descriptor_get_field(at->d, f.number);
        if (!fd) {
            if (++unknown > PB_UNKNOWN)
                return err_set(ERR_PROTO, "%s: more than %d unknown fields", d->short_name,
                               PB_UNKNOWN);
            continue;
        }
        if (!fits_type(fd, &f))
            return err_set(ERR_PROTO, "%s: %s has another type", d->short_name, fd->name);
        if (fd->type != PROTOBUF_C_TYPE_MESSAGE)
            continue;
        if (++depth == PB_DEPTH)
            return err_set(ERR_PROTO, "%s: nested deeper than %d", d->short_name, PB_DEPTH);
        stack[depth] = (struct level){fd->descriptor, {f.data, f.data + f.n}};
    }
}

bool pb_find(const void *p, size_t n, uint32_t number, const unsigned char **out, size_t *out_n)
{
    struct cursor c = {p, (const unsigned char *)p + n};
    struct pb_field f;
    bool found = false;
    while (c.p < c.end && take_field(&c, &f)) {
        if (f.number != number || !f.data)
            continue;
        *out = f.data;
        *out_n = f.n;
        found = true;
    }
    return found;
}

static void *budget_alloc(void *data, size_t size)
{
    struct pb_budget *b = data;
    if (size > b->left)
        return NULL;
    b->left -= size;
    return malloc(size);
}

static void budget_free(void *data, void *p)
{
    (void)data; /* what was used up stays used up: one message, one budget */
    free(p);
}

void pb_budget_init(struct pb_budget *b, size_t budget)
{
    b->alloc = (ProtobufCAllocator){budget_alloc, budget_free, b};
    b->left = budget;
}
