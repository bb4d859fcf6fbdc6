/* SPDX-License-Identifier: Apache-2.0 */
/* episode.c - EPISODE: one played episode, from actor to run store (docs/wire.md 3).
 *
 * What a learner trains on is checked here once: every float finite, every action one that the
 * mask of its own row allowed, no stray bits in the masks (they enter the digest). */
#include "fields.h"

#include "base/err.h"

#include <string.h>

enum { EPISODE_OVERHEAD = 1024 }; /* more than keys, numbers and texts can take */

static size_t mask_bytes(size_t actions)
{
    return (actions + 7) / 8;
}

/* Bytes of obs, avail, action, reward, state. False when they cannot be counted. */
static bool tensor_bytes(size_t out[TENSORS_MAX], size_t T, size_t N, size_t O, size_t A,
                         size_t G)
{
    const size_t obs[] = {T + 1, N, O, 4}, avail[] = {T + 1, N, mask_bytes(A)};
    const size_t action[] = {T, N}, reward[] = {T, 4}, state[] = {T + 1, G, 4};
    return product(&out[0], obs, 4) && product(&out[1], avail, 3) &&
           product(&out[2], action, 2) && product(&out[3], reward, 2) &&
           product(&out[4], state, 3);
}

size_t wire_episode_bytes(uint32_t T, uint32_t N, uint32_t O, uint32_t A, uint32_t G)
{
    size_t part[TENSORS_MAX] = {0}, sum = EPISODE_OVERHEAD;
    if (!tensor_bytes(part, T, N, O, A, G))
        return SIZE_MAX;
    for (size_t i = 0; i < TENSORS_MAX; i++) {
        if (__builtin_add_overflow(sum, part[i], &sum))
            return SIZE_MAX;
    }
    return sum;
}

static int sizes(const void *msg, size_t bytes[TENSORS_MAX])
{
    const struct wire_episode *e = msg;
    if (e->T < 1 || e->T > 65535 || e->N < 1 || e->N > 255 || e->O < 1 || e->O > 65535 ||
        e->A < 1 || e->A > 256 || e->G > 65535)
        return err_set(ERR_PROTO, "EPISODE: dimensions T=%u N=%u O=%u A=%u G=%u", e->T, e->N,
                       e->O, e->A, e->G);
    if (wire_episode_bytes(e->T, e->N, e->O, e->A, e->G) > WIRE_DATA_MAX ||
        !tensor_bytes(bytes, e->T, e->N, e->O, e->A, e->G))
        return err_set(ERR_PROTO, "EPISODE: larger than %d bytes", WIRE_DATA_MAX);
    return 0;
}

static int check_masks(const struct wire_episode *e)
{
    const unsigned char *avail = e->avail, *action = e->action;
    size_t rows = (size_t)e->T * e->N, all = rows + e->N, bytes = mask_bytes(e->A);
    unsigned stray = e->A % 8 ? 0xffu << (e->A % 8) & 0xffu : 0;
    for (size_t i = 0; i < all; i++) {
        if (avail[i * bytes + bytes - 1] & stray)
            return err_set(ERR_PROTO, "EPISODE: avail has bits beyond A=%u", e->A);
    }
    for (size_t i = 0; i < rows; i++) {
        unsigned a = action[i];
        if (a >= e->A || !(avail[i * bytes + a / 8] >> (a % 8) & 1))
            return err_set(ERR_PROTO, "EPISODE: action %u of step %zu, agent %zu not available",
                           a, i / e->N, i % e->N);
    }
    return 0;
}

static int check(const void *msg)
{
    const struct wire_episode *e = msg;
    if (e->seq == 0)
        return err_set(ERR_PROTO, "EPISODE: seq 0");
    if (e->kind < KIND_TRAIN || e->kind > KIND_FREE || e->end < END_TERMINAL ||
        e->end > END_ABORT)
        return err_set(ERR_PROTO, "EPISODE: kind %d, end %d", (int)e->kind, (int)e->end);
    size_t rows = (size_t)e->T + 1;
    if (!all_finite(e->obs, rows * e->N * e->O) || !all_finite(e->reward, e->T) ||
        !all_finite(e->state, rows * e->G))
        return err_set(ERR_PROTO, "EPISODE: a number that is not finite");
    return check_masks(e);
}

static const struct field fields[] = {
    FIELD_AS(wire_episode, FIELD_BIN, "worker", worker_id),
    FIELD(wire_episode, FIELD_U64, incarnation),
    FIELD(wire_episode, FIELD_U64, seq),
    FIELD(wire_episode, FIELD_ENUM, kind),
    FIELD(wire_episode, FIELD_U64, episode_no),
    FIELD(wire_episode, FIELD_U64, seed),
    FIELD(wire_episode, FIELD_U64, set_id),
    FIELD(wire_episode, FIELD_BOOL, greedy),
    FIELD(wire_episode, FIELD_TEXT, env),
    FIELD(wire_episode, FIELD_TEXT, build),
    FIELD(wire_episode, FIELD_BIN, spec_hash),
    FIELD(wire_episode, FIELD_U32, T),
    FIELD(wire_episode, FIELD_U32, N),
    FIELD(wire_episode, FIELD_U32, O),
    FIELD(wire_episode, FIELD_U32, A),
    FIELD(wire_episode, FIELD_U32, G),
    FIELD(wire_episode, FIELD_ENUM, end),
    FIELD(wire_episode, FIELD_BOOL, won),
    FIELD(wire_episode, FIELD_F64, ret),
    FIELD(wire_episode, FIELD_U64, wall_ms),
    FIELD(wire_episode, FIELD_TENSOR, obs),
    FIELD(wire_episode, FIELD_TENSOR, avail),
    FIELD(wire_episode, FIELD_TENSOR, action),
    FIELD(wire_episode, FIELD_TENSOR, reward),
    FIELD(wire_episode, FIELD_TENSOR, state),
};

static const struct message episode = {
    .name = "EPISODE",
    .frame = FRAME_TOKEN_CRC,
    .token = offsetof(struct wire_episode, token),
    .fields = fields,
    .n = sizeof fields / sizeof *fields,
    .sizes = sizes,
    .check = check,
};

int wire_episode_pack(const struct wire_episode *e, unsigned char **body, size_t *n)
{
    return message_pack(&episode, e, body, n);
}

int wire_episode_parse(struct wire_episode *out, const void *body, size_t n)
{
    struct wire_episode e = {0};
    int err = message_parse(&episode, &e, body, n);
    if (!err)
        *out = e;
    return err;
}

int wire_episode_peek(unsigned char token[WIRE_ID], uint64_t *seq, const void *body, size_t n)
{
    struct wire_episode e = {0};
    int err = message_peek(&episode, &e, body, n);
    if (err)
        return err;
    memcpy(token, e.token, WIRE_ID);
    *seq = e.seq;
    return 0;
}

void wire_body_token(unsigned char *body, const unsigned char token[WIRE_ID])
{
    memcpy(body + FRAME_TOKEN_AT, token, WIRE_ID);
}

void wire_episode_digest(const struct wire_episode *e, const struct digest *set_digest,
                         struct digest *out)
{
    struct digest_state s;
    uint64_t ret_bits;
    size_t bytes[TENSORS_MAX] = {0};
    memcpy(&ret_bits, &e->ret, sizeof ret_bits);
    digest_init(&s);
    digest_add_u64(&s, (uint64_t)e->kind);
    digest_add_u64(&s, e->episode_no);
    digest_add_u64(&s, strlen(e->env));
    digest_add(&s, e->env, strlen(e->env));
    digest_add(&s, e->spec_hash, sizeof e->spec_hash);
    digest_add_u64(&s, e->seed);
    digest_add_u64(&s, e->T);
    digest_add_u64(&s, (uint64_t)e->end);
    digest_add_u64(&s, e->won);
    digest_add_u64(&s, ret_bits);
    bug_on(!tensor_bytes(bytes, e->T, e->N, e->O, e->A, e->G));
    const void *const tensor[] = {e->obs, e->avail, e->action, e->reward, e->state};
    for (size_t i = 0; i < sizeof tensor / sizeof *tensor; i++) {
        if (bytes[i])
            digest_add(&s, tensor[i], bytes[i]);
    }
    digest_add(&s, set_digest->b, DIGEST_BYTES);
    digest_end(&s, out);
}
