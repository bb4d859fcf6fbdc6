/* SPDX-License-Identifier: Apache-2.0 */
/* data.c - the small messages of the data plane: each is its table (docs/wire.md 3, 4). */
#include "fields.h"

#include "base/err.h"

#include <string.h>

static const struct field ack_fields[] = {
    FIELD(wire_ack, FIELD_U64, durable_seq),
    FIELD(wire_ack, FIELD_U64, selective),
    FIELD(wire_ack, FIELD_U32, credit_episodes),
    FIELD(wire_ack, FIELD_U64, credit_bytes),
};
static const struct field nack_fields[] = {
    FIELD(wire_nack, FIELD_U64, seq),
    FIELD(wire_nack, FIELD_U32, reason),
    FIELD(wire_nack, FIELD_TEXT, text),
};
static const struct field credit_fields[] = {
    FIELD(wire_credit, FIELD_U32, credit_episodes),
    FIELD(wire_credit, FIELD_U64, credit_bytes),
};
static const struct field want_fields[] = {
    FIELD(wire_want, FIELD_BIN, token),
    FIELD(wire_want, FIELD_U32, free_slots),
    FIELD(wire_want, FIELD_U64, set_id),
};
static const struct field result_ack_fields[] = {
    FIELD(wire_result_ack, FIELD_U64, job_id),
    FIELD(wire_result_ack, FIELD_U32, attempt),
    FIELD(wire_result_ack, FIELD_U32, verdict),
};
static const struct field cancel_fields[] = {
    FIELD(wire_cancel, FIELD_U64, job_id),
};

static int check_nack(const void *msg)
{
    const struct wire_nack *m = msg;
    if (m->seq == 0 || m->reason < NACK_CRC || m->reason > NACK_REJECTED)
        return err_set(ERR_PROTO, "NACK: seq %llu, reason %u", (unsigned long long)m->seq,
                       m->reason);
    return 0;
}

static int check_want(const void *msg)
{
    const struct wire_want *m = msg;
    return m->free_slots <= WIRE_RUNNING_MAX
               ? 0
               : err_set(ERR_PROTO, "WANT: %u slots", m->free_slots);
}

static int check_result_ack(const void *msg)
{
    const struct wire_result_ack *m = msg;
    return m->verdict >= VERDICT_ACCEPTED && m->verdict <= VERDICT_REJECTED
               ? 0
               : err_set(ERR_PROTO, "RESULT_ACK: verdict %u", m->verdict);
}

/* The pair of functions of a message that is nothing but its map. */
#define PLAIN_MESSAGE(short_name, label, check_)                                               \
    static const struct message short_name##_message = {                                       \
        .name = label,                                                                         \
        .fields = short_name##_fields,                                                         \
        .n = sizeof short_name##_fields / sizeof *short_name##_fields,                         \
        .check = check_,                                                                       \
    };                                                                                         \
    int wire_##short_name##_pack(const struct wire_##short_name *m, unsigned char **body,      \
                                 size_t *n)                                                    \
    {                                                                                          \
        return message_pack(&short_name##_message, m, body, n);                                \
    }                                                                                          \
    int wire_##short_name##_parse(struct wire_##short_name *out, const void *body, size_t n)   \
    {                                                                                          \
        struct wire_##short_name m = {0};                                                      \
        int err = message_parse(&short_name##_message, &m, body, n);                           \
        if (!err)                                                                              \
            *out = m;                                                                          \
        return err;                                                                            \
    }

PLAIN_MESSAGE(ack, "ACK", NULL)
PLAIN_MESSAGE(nack, "NACK", check_nack)
PLAIN_MESSAGE(credit, "CREDIT", NULL)
PLAIN_MESSAGE(want, "WANT", check_want)
PLAIN_MESSAGE(result_ack, "RESULT_ACK", check_result_ack)
PLAIN_MESSAGE(cancel, "CANCEL", NULL)
