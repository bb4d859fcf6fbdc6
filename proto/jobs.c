/* SPDX-License-Identifier: Apache-2.0 */
/* jobs.c - JOB and RESULT: windows out to a planner, imagined transitions back
 * (docs/wire.md 4). */
#include "fields.h"

#include "base/err.h"

#include <string.h>

static int too_large(const char *name)
{
    return err_set(ERR_PROTO, "%s: larger than %d bytes", name, WIRE_DATA_MAX);
}

static bool fits(const size_t *bytes)
{
    size_t sum = 0;
    for (size_t i = 0; i < TENSORS_MAX; i++) {
        if (__builtin_add_overflow(sum, bytes[i], &sum))
            return false;
    }
    return sum <= WIRE_DATA_MAX - 4096; /* the rest of the message */
}

/* ---------------------------------------------------------------------------------- JOB */

static int job_sizes(const void *msg, size_t bytes[TENSORS_MAX])
{
    const struct wire_job *j = msg;
    if (j->rows < 1 || j->rows > 65535 || j->W < 3 || j->W > 65535 || j->N < 1 || j->N > 255 ||
        j->O < 1 || j->O > 65535)
        return err_set(ERR_PROTO, "JOB: dimensions rows=%u W=%u N=%u O=%u", j->rows, j->W, j->N,
                       j->O);
    const size_t obs[] = {j->W, j->rows, j->N, j->O, 4}, action[] = {j->W, j->rows, j->N};
    bool ok = product(&bytes[0], obs, 5) && product(&bytes[1], action, 3) &&
              product(&bytes[2], action, 2);
    return ok && fits(bytes) ? 0 : too_large("JOB");
}

static int job_check(const void *msg)
{
    const struct wire_job *j = msg;
    size_t records = (size_t)j->W * j->rows;
    const unsigned char *last = j->last;
    if (!all_finite(j->obs, records * j->N * j->O))
        return err_set(ERR_PROTO, "JOB: an observation that is not finite");
    for (size_t i = 0; i < records; i++) {
        if (last[i] > 1)
            return err_set(ERR_PROTO, "JOB: last is neither 0 nor 1");
    }
    return 0;
}

static const struct field job_fields[] = {
    FIELD(wire_job, FIELD_U64, job_id),   FIELD(wire_job, FIELD_U32, attempt),
    FIELD(wire_job, FIELD_U32, lease_ms), FIELD(wire_job, FIELD_SET, set),
    FIELD(wire_job, FIELD_U32, rows),     FIELD(wire_job, FIELD_U32, W),
    FIELD(wire_job, FIELD_U32, N),        FIELD(wire_job, FIELD_U32, O),
    FIELD(wire_job, FIELD_TENSOR, obs),   FIELD(wire_job, FIELD_TENSOR, action),
    FIELD(wire_job, FIELD_TENSOR, last),
};

static const struct message job = {
    .name = "JOB",
    .frame = FRAME_CRC,
    .fields = job_fields,
    .n = sizeof job_fields / sizeof *job_fields,
    .sizes = job_sizes,
    .check = job_check,
};

int wire_job_pack(const struct wire_job *m, unsigned char **body, size_t *n)
{
    return message_pack(&job, m, body, n);
}

int wire_job_parse(struct wire_job *out, const void *body, size_t n)
{
    struct wire_job m = {0};
    int err = message_parse(&job, &m, body, n);
    if (!err)
        *out = m;
    return err;
}

/* -------------------------------------------------------------------------------- RESULT */

static int result_sizes(const void *msg, size_t bytes[TENSORS_MAX])
{
    const struct wire_result *r = msg;
    if (r->starts < 1 || r->starts > 65535 || r->steps < 1 || r->steps > 255 || r->N < 1 ||
        r->N > 255 || r->C < 1 || r->C > 4096 || r->D < 1 || r->D > 65535 || r->A < 1 ||
        r->A > 256)
        return err_set(ERR_PROTO, "RESULT: dimensions starts=%u steps=%u N=%u C=%u D=%u A=%u",
                       r->starts, r->steps, r->N, r->C, r->D, r->A);
    const size_t agents[] = {r->steps, r->starts, r->N};
    size_t rows;
    if (!product(&rows, agents, 3))
        return too_large("RESULT");
    const size_t each[7] = {r->C, 4 * (size_t)r->D, 1, (r->A + 7) / 8, 4, 4, 4};
    for (size_t i = 0; i < 7; i++) {
        if (__builtin_mul_overflow(rows, each[i], &bytes[i]))
            return too_large("RESULT");
    }
    return fits(bytes) ? 0 : too_large("RESULT");
}

/* Imagined availability is drawn action by action, so a row may have none; then the choice is
 * uniform over all actions. */
static bool any_available(const unsigned char *mask, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (mask[i])
            return true;
    return false;
}

static int result_check(const void *msg)
{
    const struct wire_result *r = msg;
    size_t rows = (size_t)r->steps * r->starts * r->N, mask = (r->A + 7) / 8;
    const unsigned char *avail = r->avail, *action = r->action;
    unsigned stray = r->A % 8 ? 0xffu << (r->A % 8) & 0xffu : 0;
    if (r->parts < 1 || r->parts > 65535 || r->part >= r->parts)
        return err_set(ERR_PROTO, "RESULT: part %u of %u", r->part, r->parts);
    if (r->part && r->stats_count)
        return err_set(ERR_PROTO, "RESULT: statistics on part %u", r->part);
    if (!all_finite(r->h, rows * r->D) || !all_finite(r->logp, rows) ||
        !all_finite(r->value, rows) || !all_finite(r->ret, rows))
        return err_set(ERR_PROTO, "RESULT: a number that is not finite");
    for (size_t i = 0; i < rows; i++) {
        unsigned a = action[i];
        bool open = a < r->A && avail[i * mask + a / 8] >> (a % 8) & 1;
        if (a >= r->A || (!open && any_available(avail + i * mask, mask)))
            return err_set(ERR_PROTO, "RESULT: action %u of row %zu not available", a, i);
        if (avail[i * mask + mask - 1] & stray)
            return err_set(ERR_PROTO, "RESULT: avail has bits beyond A=%u", r->A);
    }
    return 0;
}

static const struct field result_fields[] = {
    FIELD(wire_result, FIELD_U64, job_id),    FIELD(wire_result, FIELD_U64, set_id),
    FIELD(wire_result, FIELD_U32, attempt),   FIELD(wire_result, FIELD_U32, part),
    FIELD(wire_result, FIELD_U32, parts),     FIELD(wire_result, FIELD_U32, starts),
    FIELD(wire_result, FIELD_U32, steps),     FIELD(wire_result, FIELD_U32, N),
    FIELD(wire_result, FIELD_U32, C),         FIELD(wire_result, FIELD_U32, D),
    FIELD(wire_result, FIELD_U32, A),         FIELD(wire_result, FIELD_STATS, stats),
    FIELD(wire_result, FIELD_TENSOR, index),  FIELD(wire_result, FIELD_TENSOR, h),
    FIELD(wire_result, FIELD_TENSOR, action), FIELD(wire_result, FIELD_TENSOR, avail),
    FIELD(wire_result, FIELD_TENSOR, logp),   FIELD(wire_result, FIELD_TENSOR, value),
    FIELD(wire_result, FIELD_TENSOR, ret),
};

static const struct message result = {
    .name = "RESULT",
    .frame = FRAME_TOKEN_CRC,
    .token = offsetof(struct wire_result, token),
    .fields = result_fields,
    .n = sizeof result_fields / sizeof *result_fields,
    .sizes = result_sizes,
    .check = result_check,
};

int wire_result_pack(const struct wire_result *m, unsigned char **body, size_t *n)
{
    return message_pack(&result, m, body, n);
}

int wire_result_parse(struct wire_result *out, const void *body, size_t n)
{
    struct wire_result m = {0};
    int err = message_parse(&result, &m, body, n);
    if (!err)
        *out = m;
    return err;
}

void wire_result_digest_add(struct digest_state *s, const struct wire_result *r)
{
    size_t bytes[TENSORS_MAX] = {0};
    const void *const tensor[] = {r->index, r->h,     r->action, r->avail,
                                  r->logp,  r->value, r->ret};
    bug_on(result_sizes(r, bytes));
    for (size_t i = 0; i < sizeof tensor / sizeof *tensor; i++)
        digest_add(s, tensor[i], bytes[i]);
}
