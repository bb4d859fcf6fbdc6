/* SPDX-License-Identifier: Apache-2.0 */
/* fields.c - pack and parse any message of the data plane from its table.
 *
 * PACKING  msgpack-c's packer runs twice over the table: once to count, once into a buffer of
 * exactly that size, so that a 20 MB episode is allocated once and copied once.
 *
 * PARSING  in this order, each step trusting only what came before: frame (and crc), mp_scan,
 * known keys with their types, all keys there, dimensions, tensor lengths, values. */
#include "fields.h"

#include "mp.h"
#include "text.h"

#include "base/err.h"

#include <limits.h>
#include <msgpack/pack.h>
#include <stdlib.h>
#include <string.h>

bool product(size_t *out, const size_t *factors, size_t n)
{
    size_t p = 1;
    for (size_t i = 0; i < n; i++) {
        if (__builtin_mul_overflow(p, factors[i], &p))
            return false;
    }
    *out = p;
    return true;
}

bool all_finite(const void *f32, size_t count)
{
    const unsigned char *p = f32;
    uint32_t bad = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, p + 4 * i, 4);
        bad |= (bits & 0x7f800000u) == 0x7f800000u;
    }
    return !bad;
}

/* ------------------------------------------------------------------------------- packing */

struct sink {
    unsigned char *p; /* NULL: only count */
    size_t n;
};

static int sink_write(void *data, const char *buf, size_t n)
{
    struct sink *s = data;
    if (s->p)
        memcpy(s->p + s->n, buf, n);
    s->n += n;
    return 0;
}

static const void *at(const void *msg, const struct field *f)
{
    return (const char *)msg + f->offset;
}

static void pack_key(msgpack_packer *pk, const char *key)
{
    size_t n = strlen(key);
    msgpack_pack_str(pk, n);
    msgpack_pack_str_body(pk, key, n);
}

static void pack_bin(msgpack_packer *pk, const void *p, size_t n)
{
    msgpack_pack_bin(pk, n);
    msgpack_pack_bin_body(pk, p, n);
}

static void pack_set(msgpack_packer *pk, const struct wire_set *set)
{
    msgpack_pack_array(pk, 2);
    msgpack_pack_uint64(pk, set->set_id);
    msgpack_pack_array(pk, set->count);
    for (uint32_t i = 0; i < set->count; i++) {
        const struct wire_group *g = &set->group[i];
        msgpack_pack_array(pk, 4);
        msgpack_pack_uint32(pk, g->group);
        msgpack_pack_uint64(pk, g->version);
        msgpack_pack_uint64(pk, g->size);
        pack_bin(pk, g->digest.b, DIGEST_BYTES);
    }
}

static uint32_t load_u32(const void *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static uint64_t load_u64(const void *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static double load_f64(const void *p)
{
    double v;
    memcpy(&v, p, sizeof v);
    return v;
}

static void pack_stats(msgpack_packer *pk, const char *array)
{
    uint32_t count = load_u32(array - sizeof(uint32_t)); /* stats_count */
    msgpack_pack_array(pk, count);
    for (uint32_t i = 0; i < count; i++)
        msgpack_pack_double(pk, load_f64(array + i * sizeof(double)));
}

_Static_assert(offsetof(struct wire_result, stats) ==
                   offsetof(struct wire_result, stats_count) + sizeof(uint32_t),
               "FIELD_STATS finds the count right before the numbers");

static void pack_value(msgpack_packer *pk, const struct field *f, const void *p, size_t bytes)
{
    const void *tensor;
    switch (f->type) {
    case FIELD_U32:
    case FIELD_ENUM:
        msgpack_pack_uint32(pk, load_u32(p));
        break;
    case FIELD_U64:
        msgpack_pack_uint64(pk, load_u64(p));
        break;
    case FIELD_BOOL:
        *(const bool *)p ? msgpack_pack_true(pk) : msgpack_pack_false(pk);
        break;
    case FIELD_F64:
        msgpack_pack_double(pk, load_f64(p));
        break;
    case FIELD_TEXT:
        msgpack_pack_str(pk, strlen(p));
        msgpack_pack_str_body(pk, p, strlen(p));
        break;
    case FIELD_BIN:
        pack_bin(pk, p, f->size);
        break;
    case FIELD_TENSOR:
        memcpy(&tensor, p, sizeof tensor);
        pack_bin(pk, tensor, bytes);
        break;
    case FIELD_SET:
        pack_set(pk, p);
        break;
    case FIELD_STATS:
        pack_stats(pk, p);
        break;
    }
}

static void pack_map(struct sink *s, const struct message *m, const void *msg,
                     const size_t *bytes)
{
    msgpack_packer pk;
    size_t present = 0, tensor = 0;
    msgpack_packer_init(&pk, s, sink_write);
    for (size_t i = 0; i < m->n; i++)
        present += m->fields[i].type != FIELD_TENSOR || bytes[tensor++] > 0;
    msgpack_pack_map(&pk, present);
    tensor = 0;
    for (size_t i = 0; i < m->n; i++) {
        const struct field *f = &m->fields[i];
        size_t size = f->type == FIELD_TENSOR ? bytes[tensor++] : 1;
        if (!size)
            continue;
        pack_key(&pk, f->key);
        pack_value(&pk, f, at(msg, f), size);
    }
}

static size_t head_bytes(enum frame_kind k)
{
    return k == FRAME_PLAIN ? 0 : k == FRAME_CRC ? FRAME_CRC_HEAD : FRAME_TOKEN_CRC_HEAD;
}

/* The fixed bytes in front of the map; crc is big-endian as msgpack wants. */
static void put_head(unsigned char *p, const struct message *m, const void *msg, uint32_t crc)
{
    if (m->frame == FRAME_PLAIN)
        return;
    if (m->frame == FRAME_TOKEN_CRC) {
        *p++ = 0x93;
        *p++ = 0xc4;
        *p++ = WIRE_ID;
        memcpy(p, (const char *)msg + m->token, WIRE_ID);
        p += WIRE_ID;
    } else {
        *p++ = 0x92;
    }
    *p++ = 0xce;
    for (int shift = 24; shift >= 0; shift -= 8)
        *p++ = (unsigned char)(crc >> shift);
}

/* Text, sets and statistics must fit their arrays: a bug of the caller, reported as one. */
static int packable(const struct message *m, const void *msg)
{
    for (size_t i = 0; i < m->n; i++) {
        const struct field *f = &m->fields[i];
        const void *p = at(msg, f);
        bool ok = true;
        if (f->type == FIELD_TEXT)
            ok = memchr(p, 0, f->size) && text_ok(p, strlen(p), false);
        else if (f->type == FIELD_SET)
            ok = ((const struct wire_set *)p)->count <= WIRE_GROUPS_MAX;
        else if (f->type == FIELD_STATS)
            ok = load_u32((const char *)p - sizeof(uint32_t)) <= WIRE_STATS;
        if (!ok)
            return err_set(ERR_INVAL, "%s: %s cannot be sent", m->name, f->key);
    }
    return 0;
}

int message_pack(const struct message *m, const void *msg, unsigned char **body, size_t *n)
{
    size_t bytes[TENSORS_MAX] = {0}, head = head_bytes(m->frame);
    int err = packable(m, msg);
    if (!err && m->sizes)
        err = m->sizes(msg, bytes);
    if (err)
        return err == ERR_PROTO ? ERR_INVAL : err;
    struct sink s = {0};
    pack_map(&s, m, msg, bytes);
    unsigned char *out = malloc(head + s.n);
    if (!out)
        return err_set(ERR_NOMEM, "out of memory for %s of %zu bytes", m->name, s.n);
    s = (struct sink){.p = out + head};
    pack_map(&s, m, msg, bytes);
    put_head(out, m, msg, m->frame == FRAME_PLAIN ? 0 : crc32c(0, out + head, s.n));
    *body = out;
    *n = head + s.n;
    return 0;
}

/* ------------------------------------------------------------------------------- parsing */

static int wrong(const struct message *m, const struct field *f, const char *what)
{
    return err_set(ERR_PROTO, "%s: %s %s", m->name, f->key, what);
}

static bool next_uint(struct mp *in, uint64_t max, uint64_t *out)
{
    struct mp_item it;
    if (!mp_next(in, &it) || it.kind != MP_UINT || it.v.u > max)
        return false;
    *out = it.v.u;
    return true;
}

static bool next_array(struct mp *in, uint32_t min, uint32_t max, uint32_t *count)
{
    struct mp_item it;
    if (!mp_next(in, &it) || it.kind != MP_ARRAY || it.v.count < min || it.v.count > max)
        return false;
    *count = it.v.count;
    return true;
}

static bool parse_group(struct mp *in, struct wire_group *g)
{
    uint32_t n;
    uint64_t id;
    struct mp_item it;
    if (!next_array(in, 4, 4, &n) || !next_uint(in, WIRE_GROUPS_MAX - 1, &id) ||
        !next_uint(in, UINT64_MAX, &g->version) || !next_uint(in, UINT64_MAX, &g->size) ||
        !mp_next(in, &it) || it.kind != MP_BIN || it.n != DIGEST_BYTES)
        return false;
    g->group = (uint32_t)id;
    memcpy(g->digest.b, it.bytes, DIGEST_BYTES);
    return true;
}

static bool parse_set(struct mp *in, struct wire_set *set)
{
    uint32_t n, seen = 0;
    if (!next_array(in, 2, 2, &n) || !next_uint(in, UINT64_MAX, &set->set_id) ||
        !next_array(in, 0, WIRE_GROUPS_MAX, &set->count))
        return false;
    for (uint32_t i = 0; i < set->count; i++) {
        if (!parse_group(in, &set->group[i]) || (seen >> set->group[i].group & 1))
            return false;
        seen |= 1u << set->group[i].group;
    }
    return true;
}

static bool parse_stats(struct mp *in, char *array)
{
    uint32_t count;
    if (!next_array(in, 0, WIRE_STATS, &count))
        return false;
    for (uint32_t i = 0; i < count; i++) {
        struct mp_item it;
        if (!mp_next(in, &it) || it.kind != MP_FLOAT || !(it.v.f - it.v.f == 0))
            return false;
        memcpy(array + i * sizeof(double), &it.v.f, sizeof(double));
    }
    memcpy(array - sizeof(uint32_t), &count, sizeof count);
    return true;
}

static bool parse_number(struct mp *in, const struct field *f, char *to)
{
    uint64_t max = f->type == FIELD_U64    ? UINT64_MAX
                   : f->type == FIELD_ENUM ? INT_MAX
                                           : UINT32_MAX;
    uint64_t v;
    if (!next_uint(in, max, &v))
        return false;
    uint32_t half = (uint32_t)v;
    if (f->type == FIELD_U64)
        memcpy(to, &v, sizeof v);
    else
        memcpy(to, &half, sizeof half);
    return true;
}

static bool parse_simple(struct mp *in, const struct field *f, char *to)
{
    struct mp_item it;
    if (!mp_next(in, &it))
        return false;
    switch (f->type) {
    case FIELD_BOOL:
        *(bool *)to = it.kind == MP_BOOL && it.v.b;
        return it.kind == MP_BOOL;
    case FIELD_F64:
        if (it.kind != MP_FLOAT || !(it.v.f - it.v.f == 0))
            return false;
        memcpy(to, &it.v.f, sizeof(double));
        return true;
    case FIELD_TEXT:
        if (it.kind != MP_STR || it.n >= f->size || !text_ok(it.bytes, it.n, false))
            return false;
        memcpy(to, it.bytes, it.n);
        to[it.n] = 0;
        return true;
    case FIELD_BIN:
        if (it.kind != MP_BIN || it.n != f->size)
            return false;
        memcpy(to, it.bytes, it.n);
        return true;
    default:
        return false;
    }
}

static bool parse_tensor(struct mp *in, char *to, size_t *bytes)
{
    struct mp_item it;
    if (!mp_next(in, &it) || it.kind != MP_BIN || it.n == 0)
        return false;
    const void *view = it.bytes;
    memcpy(to, &view, sizeof view);
    *bytes = it.n;
    return true;
}

static bool parse_value(struct mp *in, const struct field *f, char *to, size_t *bytes)
{
    switch (f->type) {
    case FIELD_U32:
    case FIELD_U64:
    case FIELD_ENUM:
        return parse_number(in, f, to);
    case FIELD_TENSOR:
        return parse_tensor(in, to, bytes);
    case FIELD_SET:
        return parse_set(in, (struct wire_set *)(void *)to);
    case FIELD_STATS:
        return parse_stats(in, to);
    default:
        return parse_simple(in, f, to);
    }
}

/* Index of a key in the table, or m->n. */
static size_t find(const struct message *m, const struct mp_item *key)
{
    size_t i = 0;
    while (i < m->n && (strlen(m->fields[i].key) != key->n ||
                        memcmp(m->fields[i].key, key->bytes, key->n) != 0))
        i++;
    return i;
}

/* Everything but tensors must be there; tensors are compared with their sizes later. */
static int complete(const struct message *m, uint64_t seen)
{
    for (size_t i = 0; i < m->n; i++) {
        if (m->fields[i].type != FIELD_TENSOR && !(seen >> i & 1))
            return wrong(m, &m->fields[i], "is missing");
    }
    return 0;
}

/* Tensor bytes by table position among the tensors. */
static size_t tensor_index(const struct message *m, size_t field)
{
    size_t k = 0;
    for (size_t i = 0; i < field; i++)
        k += m->fields[i].type == FIELD_TENSOR;
    return k;
}

static int parse_map(const struct message *m, char *msg, const unsigned char *p, size_t n,
                     size_t *bytes)
{
    struct mp in = {.p = p, .end = p + n};
    struct mp_item it;
    uint64_t seen = 0;
    int err = mp_scan(p, n);
    if (err)
        return err;
    if (!mp_next(&in, &it) || it.kind != MP_MAP)
        return err_set(ERR_PROTO, "%s: not a map", m->name);
    for (uint32_t left = it.v.count; left; left--) {
        struct mp_item key;
        if (!mp_next(&in, &key) || key.kind != MP_STR)
            return err_set(ERR_PROTO, "%s: a key is not a string", m->name);
        size_t i = find(m, &key);
        if (i == m->n) {
            mp_skip(&in); /* a later minor version's field */
            continue;
        }
        const struct field *f = &m->fields[i];
        if (seen >> i & 1)
            return wrong(m, f, "comes twice");
        seen |= UINT64_C(1) << i;
        size_t *size = &bytes[f->type == FIELD_TENSOR ? tensor_index(m, i) : 0];
        if (!parse_value(&in, f, msg + f->offset, size))
            return wrong(m, f, "has another type or is out of range");
    }
    return complete(m, seen);
}

static int compare_sizes(const struct message *m, const void *msg, const size_t *got)
{
    size_t want[TENSORS_MAX] = {0};
    int err = m->sizes(msg, want);
    if (err)
        return err;
    for (size_t i = 0, k = 0; i < m->n; i++) {
        if (m->fields[i].type != FIELD_TENSOR)
            continue;
        if (got[k] != want[k])
            return err_set(ERR_PROTO, "%s: %s has %zu bytes, its shape %zu", m->name,
                           m->fields[i].key, got[k], want[k]);
        k++;
    }
    return 0;
}

/* The fixed bytes in front of the map. */
static int check_head(const struct message *m, char *msg, const unsigned char *p, size_t n,
                      uint32_t *crc)
{
    size_t head = head_bytes(m->frame);
    bool ok = n > head;
    if (ok && m->frame == FRAME_TOKEN_CRC) {
        ok = p[0] == 0x93 && p[1] == 0xc4 && p[2] == WIRE_ID;
        memcpy(msg + m->token, p + FRAME_TOKEN_AT, WIRE_ID);
    } else if (ok && m->frame == FRAME_CRC) {
        ok = p[0] == 0x92;
    }
    if (ok && head)
        ok = p[head - 5] == 0xce;
    if (!ok)
        return err_set(ERR_PROTO, "%s: does not begin as it must", m->name);
    if (head)
        *crc = (uint32_t)p[head - 4] << 24 | (uint32_t)p[head - 3] << 16 |
               (uint32_t)p[head - 2] << 8 | p[head - 1];
    return 0;
}

int message_parse(const struct message *m, void *msg, const void *body, size_t n)
{
    const unsigned char *p = body;
    size_t head = head_bytes(m->frame), bytes[TENSORS_MAX] = {0};
    uint32_t crc = 0;
    int err = check_head(m, msg, p, n, &crc);
    if (err)
        return err;
    if (head && crc32c(0, p + head, n - head) != crc)
        return err_set(ERR_CORRUPT, "%s: the checksum does not fit the bytes", m->name);
    err = parse_map(m, msg, p + head, n - head, bytes);
    if (!err && m->sizes)
        err = compare_sizes(m, msg, bytes);
    if (!err && m->check)
        err = m->check(msg);
    return err;
}

int message_peek(const struct message *m, void *msg, const void *body, size_t n)
{
    size_t head = head_bytes(m->frame), bytes[TENSORS_MAX] = {0};
    uint32_t crc = 0;
    int err = check_head(m, msg, body, n, &crc);
    return err ? err : parse_map(m, msg, (const unsigned char *)body + head, n - head, bytes);
}
