/* SPDX-License-Identifier: Apache-2.0 */
/* envelope.c - the eight bytes in front of every message. */
#include "proto/wire.h"

#include "base/err.h"

void wire_envelope_pack(unsigned char out[WIRE_ENVELOPE], enum wire_type type)
{
    const unsigned char e[WIRE_ENVELOPE] = {
        'M', 'G', WIRE_MAJOR, WIRE_MINOR, (unsigned char)type, 0, 0, 0,
    };
    for (int i = 0; i < WIRE_ENVELOPE; i++)
        out[i] = e[i];
}

int wire_envelope_parse(struct wire_envelope *out, const void *p, size_t n)
{
    const unsigned char *b = p;
    if (n != WIRE_ENVELOPE || b[0] != 'M' || b[1] != 'G')
        return err_set(ERR_PROTO, "not a Magellan message");
    if (b[2] != WIRE_MAJOR)
        return err_set(ERR_UNSUPPORTED, "protocol version %d.%d; this program speaks %d.%d",
                       b[2], b[3], WIRE_MAJOR, WIRE_MINOR);
    /* The reserved bytes may gain a meaning in a later minor version: not looked at. */
    *out = (struct wire_envelope){.major = b[2], .minor = b[3], .type = b[4], .flags = b[5]};
    return 0;
}

const char *wire_type_name(unsigned type)
{
    static const char *const control[] = {"HELLO",  "WELCOME",      "ERROR",      "PING",
                                          "PONG",   "PLAY",         "DRAIN",      "BYE",
                                          "STATUS", "STATUS_REPLY", "CHECKPOINT", "DRAIN_ALL"};
    static const char *const data[] = {"EPISODE", "ACK",    "NACK",       "CREDIT", "WANT",
                                       "JOB",     "RESULT", "RESULT_ACK", "CANCEL"};
    static const char *const weights[] = {"GET", "CHUNK", "GONE"};
    if (type >= WIRE_HELLO && type <= WIRE_DRAIN_ALL)
        return control[type - WIRE_HELLO];
    if (type >= WIRE_EPISODE && type <= WIRE_CANCEL)
        return data[type - WIRE_EPISODE];
    if (type >= WIRE_GET && type <= WIRE_GONE)
        return weights[type - WIRE_GET];
    return "unknown";
}
