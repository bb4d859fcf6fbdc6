/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_wire_mp.c - our msgpack reader against msgpack-c's, item by item.
 *
 * Ours is stricter (depth, nodes, no EXT), so only what it accepts is given to the other: that
 * must succeed, use all bytes, and yield the same tree. */
#include "../../proto/mp.h"

#include "base/err.h"
#include "fuzz.h"

#include <msgpack/unpack.h>
#include <string.h>

static void same(struct mp *m, const msgpack_object *o);

static void same_bytes(const struct mp_item *it, const char *p, size_t n)
{
    bug_on(it->n != n || (n && memcmp(it->bytes, p, n) != 0));
}

static void same_children(struct mp *m, const struct mp_item *it, const msgpack_object *o)
{
    if (it->kind == MP_ARRAY) {
        bug_on(o->type != MSGPACK_OBJECT_ARRAY || o->via.array.size != it->v.count);
        for (uint32_t i = 0; i < it->v.count; i++)
            same(m, &o->via.array.ptr[i]);
    } else {
        bug_on(o->type != MSGPACK_OBJECT_MAP || o->via.map.size != it->v.count);
        for (uint32_t i = 0; i < it->v.count; i++) {
            same(m, &o->via.map.ptr[i].key);
            same(m, &o->via.map.ptr[i].val);
        }
    }
}

static void same_float(const struct mp_item *it, const msgpack_object *o)
{
    bug_on(o->type != MSGPACK_OBJECT_FLOAT32 && o->type != MSGPACK_OBJECT_FLOAT64);
    bug_on(memcmp(&it->v.f, &o->via.f64, sizeof it->v.f) != 0 && it->v.f == it->v.f);
}

static void same(struct mp *m, const msgpack_object *o)
{
    struct mp_item it;
    bug_on(!mp_next(m, &it));
    switch (it.kind) {
    case MP_NIL:
        bug_on(o->type != MSGPACK_OBJECT_NIL);
        break;
    case MP_BOOL:
        bug_on(o->type != MSGPACK_OBJECT_BOOLEAN || o->via.boolean != it.v.b);
        break;
    case MP_UINT:
        bug_on(o->type != MSGPACK_OBJECT_POSITIVE_INTEGER || o->via.u64 != it.v.u);
        break;
    case MP_INT:
        bug_on(o->type != MSGPACK_OBJECT_NEGATIVE_INTEGER || o->via.i64 != it.v.i);
        break;
    case MP_FLOAT:
        same_float(&it, o);
        break;
    case MP_STR:
        bug_on(o->type != MSGPACK_OBJECT_STR);
        same_bytes(&it, o->via.str.ptr, o->via.str.size);
        break;
    case MP_BIN:
        bug_on(o->type != MSGPACK_OBJECT_BIN);
        same_bytes(&it, o->via.bin.ptr, o->via.bin.size);
        break;
    case MP_ARRAY:
    case MP_MAP:
        same_children(m, &it, o);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    msgpack_unpacked u;
    size_t used = 0;
    if (mp_scan(data, size))
        return 0;
    struct mp m = {data, data + size}, skip = m;
    bug_on(!mp_skip(&skip) || skip.p != skip.end);
    msgpack_unpacked_init(&u);
    bug_on(msgpack_unpack_next(&u, (const char *)data, size, &used) != MSGPACK_UNPACK_SUCCESS);
    bug_on(used != size);
    same(&m, &u.data);
    bug_on(m.p != m.end);
    msgpack_unpacked_destroy(&u);
    return 0;
}
