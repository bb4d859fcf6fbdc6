/* SPDX-License-Identifier: Apache-2.0 */
/* fields.h - a message of the data plane as a table: key, type, place in its struct.
 *
 * One table serves packing and parsing, so the two ends cannot drift apart. */
#ifndef PROTO_FIELDS_H
#define PROTO_FIELDS_H

#include "proto/wire.h"

enum field_type {
    FIELD_U32,
    FIELD_U64,
    FIELD_ENUM, /* stored as an int-sized enum */
    FIELD_BOOL,
    FIELD_F64,
    FIELD_TEXT,   /* char[size], one line of UTF-8 */
    FIELD_BIN,    /* unsigned char[size], exactly */
    FIELD_TENSOR, /* const void *: view; bytes from the message's `sizes` */
    FIELD_SET,    /* struct wire_set */
    FIELD_STATS,  /* double[WIRE_STATS], their number in the uint32_t before it */
};

struct field {
    const char *key;
    enum field_type type;
    size_t offset, size;
};

#define FIELD(msg, type_, member)                                                              \
    {                                                                                          \
#member, type_, offsetof(struct msg, member), sizeof(((struct msg *)0)->member)        \
    }
#define FIELD_AS(msg, type_, key_, member)                                                     \
    {                                                                                          \
        key_, type_, offsetof(struct msg, member), sizeof(((struct msg *)0)->member)           \
    }

enum { TENSORS_MAX = 8, FIELDS_MAX = 64 };

/* How the map is wrapped: alone, [crc, map], or [token, crc, map]. */
enum frame_kind { FRAME_PLAIN, FRAME_CRC, FRAME_TOKEN_CRC };
enum { FRAME_TOKEN_AT = 3, FRAME_CRC_HEAD = 6, FRAME_TOKEN_CRC_HEAD = 24 };

struct message {
    const char *name;
    enum frame_kind frame;
    size_t token; /* offset of unsigned char[16], FRAME_TOKEN_CRC only */
    const struct field *fields;
    size_t n;
    /* Check the dimensions and give the bytes of every tensor, in table order (0: absent).
     * ERR_PROTO with err_text(). NULL when there are none. */
    int (*sizes)(const void *msg, size_t bytes[TENSORS_MAX]);
    /* The rest: ranges, finite floats, masks. NULL when there is nothing to check. */
    int (*check)(const void *msg);
};

int message_pack(const struct message *m, const void *msg, unsigned char **body, size_t *n);
/* msg: zeroed struct, garbage on failure. ERR_PROTO, ERR_CORRUPT (crc). */
int message_parse(const struct message *m, void *msg, const void *body, size_t n);
/* The map alone, no crc and no checks: for looking at damaged messages. */
int message_peek(const struct message *m, void *msg, const void *body, size_t n);

/* *out = a*b*... of `n` factors; false on overflow. */
bool product(size_t *out, const size_t *factors, size_t n);
bool all_finite(const void *f32, size_t count);

#endif
