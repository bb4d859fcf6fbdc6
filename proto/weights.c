/* SPDX-License-Identifier: Apache-2.0 */
/* weights.c - the weights plane's fixed little-endian bodies, and a set's own digest. */
#include "proto/wire.h"

#include "base/err.h"

#include <string.h>

static unsigned char *put(unsigned char *p, uint64_t v, int bytes)
{
    for (int i = 0; i < bytes; i++)
        *p++ = (unsigned char)(v >> (8 * i));
    return p;
}

static uint64_t get(const unsigned char **p, int bytes)
{
    uint64_t v = 0;
    for (int i = 0; i < bytes; i++)
        v |= (uint64_t) * (*p)++ << (8 * i);
    return v;
}

static int bad_size(const char *what, size_t n)
{
    return err_set(ERR_PROTO, "%s of %zu bytes", what, n);
}

void wire_get_pack(unsigned char out[WIRE_GET_BYTES], const struct wire_get *m)
{
    memcpy(out, m->token, WIRE_ID);
    unsigned char *p = put(out + WIRE_ID, m->group, 4);
    p = put(p, m->version, 8);
    p = put(p, m->offset, 8);
    put(p, m->length, 4);
}

int wire_get_parse(struct wire_get *out, const void *body, size_t n)
{
    const unsigned char *p = body;
    struct wire_get m;
    if (n != WIRE_GET_BYTES)
        return bad_size("GET", n);
    memcpy(m.token, p, WIRE_ID);
    p += WIRE_ID;
    m.group = (uint32_t)get(&p, 4);
    m.version = get(&p, 8);
    m.offset = get(&p, 8);
    m.length = (uint32_t)get(&p, 4);
    if (m.group >= WIRE_GROUPS_MAX)
        return err_set(ERR_PROTO, "GET: group %u", m.group);
    if (m.length == 0 || m.length > WIRE_CHUNK_MAX)
        return err_set(ERR_PROTO, "GET: length %u of at most %d", m.length, WIRE_CHUNK_MAX);
    *out = m;
    return 0;
}

void wire_chunk_pack(unsigned char out[WIRE_CHUNK_BYTES], const struct wire_chunk *m)
{
    unsigned char *p = put(out, m->group, 4);
    p = put(p, m->version, 8);
    p = put(p, m->offset, 8);
    put(p, m->crc, 4);
}

int wire_chunk_parse(struct wire_chunk *out, const void *body, size_t n)
{
    const unsigned char *p = body;
    struct wire_chunk m;
    if (n != WIRE_CHUNK_BYTES)
        return bad_size("CHUNK", n);
    m.group = (uint32_t)get(&p, 4);
    m.version = get(&p, 8);
    m.offset = get(&p, 8);
    m.crc = (uint32_t)get(&p, 4);
    if (m.group >= WIRE_GROUPS_MAX)
        return err_set(ERR_PROTO, "CHUNK: group %u", m.group);
    *out = m;
    return 0;
}

void wire_gone_pack(unsigned char out[WIRE_GONE_BYTES], const struct wire_gone *m)
{
    unsigned char *p = put(out, m->group, 4);
    p = put(p, m->version, 8);
    put(p, m->newest_set_id, 8);
}

int wire_gone_parse(struct wire_gone *out, const void *body, size_t n)
{
    const unsigned char *p = body;
    struct wire_gone m;
    if (n != WIRE_GONE_BYTES)
        return bad_size("GONE", n);
    m.group = (uint32_t)get(&p, 4);
    m.version = get(&p, 8);
    m.newest_set_id = get(&p, 8);
    if (m.group >= WIRE_GROUPS_MAX)
        return err_set(ERR_PROTO, "GONE: group %u", m.group);
    *out = m;
    return 0;
}

void wire_set_digest(const struct wire_set *set, struct digest *out)
{
    struct digest_state s;
    digest_init(&s);
    /* Ascending groups, whatever the order of the manifest. */
    for (uint32_t g = 0; g < WIRE_GROUPS_MAX; g++) {
        for (uint32_t i = 0; i < set->count; i++) {
            if (set->group[i].group != g)
                continue;
            unsigned char le[4];
            put(le, g, 4);
            digest_add(&s, le, sizeof le);
            digest_add(&s, set->group[i].digest.b, DIGEST_BYTES);
        }
    }
    digest_end(&s, out);
}
