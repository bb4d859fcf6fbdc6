/* SPDX-License-Identifier: Apache-2.0 */
/* replay.c - a ring of joint records, forgotten one by one, sampled as windows of W.
 *
 * WHY  MAMBA's replay: episodes lie back to back, a window is any W consecutive records and may
 * cross from one episode into the next; the `last` flag cuts the recurrence there (mag.md 3).
 *
 * LAYOUT  One array per field, each [capacity][...]. `next` counts records ever written;
 * next % capacity is the write head. Availability is kept as bytes, ready to copy.
 *
 *        oldest                    head (full ring: oldest == head)
 *         v                         v
 *   .....|rrrrrrrr|rrrr|rrrrrrrrrrA A|.....      A A: the absorbing pair after a terminal end
 *
 * A record is (obs before acting, mask, action, reward after it, done, fake, last).
 *
 * INVARIANTS  1. an episode is added whole, in episode_no order;  2. what a window holds
 * depends on the episodes alone, never on how or when they arrived.
 *
 * COST  add copies an episode once, a sample copies B*W records; neither allocates, but for the
 * list of episode starts, which grows with the number of episodes held. */
#include "learner/replay.h"

#include "base/err.h"

#include <stdlib.h>
#include <string.h>

enum { ABSORBING = 2, TRIES = 64 };

struct held {
    uint64_t episode_no, first_record;
};

struct replay {
    size_t capacity, N, O, A;
    uint64_t next;               /* records ever written */
    float *obs;                  /* [capacity][N][O] */
    float *reward;               /* [capacity], the team's */
    uint8_t *action, *avail;     /* [capacity][N], [capacity][N][A] */
    uint8_t *done, *fake, *last; /* [capacity] */
    struct held *held;           /* a queue: [first, first + count) */
    size_t held_first, held_count, held_max;
    struct arena arena;
};

static size_t pad64(size_t n)
{
    return (n + 63) / 64 * 64;
}

size_t replay_bytes(size_t capacity, size_t N, size_t O, size_t A)
{
    return pad64(capacity * N * O * sizeof(float)) + pad64(capacity * sizeof(float)) +
           pad64(capacity * N) + pad64(capacity * N * A) + 3 * pad64(capacity);
}

int replay_open(struct replay **out, size_t capacity, size_t N, size_t O, size_t A)
{
    struct replay *r = calloc(1, sizeof *r);
    if (!r)
        return ERR_NOMEM;
    *r = (struct replay){.capacity = capacity, .N = N, .O = O, .A = A};
    int err = arena_init(&r->arena, replay_bytes(capacity, N, O, A));
    if (err) {
        free(r);
        return err_set(err, "replay.capacity %zu needs %zu MiB, more than this machine gives",
                       capacity, replay_bytes(capacity, N, O, A) >> 20);
    }
    r->obs = ARENA_NEW(&r->arena, float, capacity *N *O);
    r->reward = ARENA_NEW(&r->arena, float, capacity);
    r->action = ARENA_NEW(&r->arena, uint8_t, capacity * N);
    r->avail = ARENA_NEW(&r->arena, uint8_t, capacity * N * A);
    r->done = ARENA_NEW(&r->arena, uint8_t, capacity);
    r->fake = ARENA_NEW(&r->arena, uint8_t, capacity);
    r->last = ARENA_NEW(&r->arena, uint8_t, capacity);
    *out = r;
    return 0;
}

void replay_close(struct replay *r)
{
    if (!r)
        return;
    arena_fini(&r->arena);
    free(r->held);
    free(r);
}

size_t replay_len(const struct replay *r)
{
    return r->next < r->capacity ? (size_t)r->next : r->capacity;
}

uint64_t replay_next(const struct replay *r)
{
    return r->next;
}

uint64_t replay_first_episode(const struct replay *r)
{
    uint64_t oldest = r->next > r->capacity ? r->next - r->capacity : 0;
    size_t i = r->held_first, end = r->held_first + r->held_count;
    while (i + 1 < end && r->held[i + 1].first_record <= oldest)
        i++; /* overwritten by the last addition */
    return i < end ? r->held[i].episode_no : 0;
}

/* ------------------------------------------------------------------- records of an episode */

size_t replay_records(uint32_t T, bool limit)
{
    return (size_t)T + (limit ? 0 : ABSORBING);
}

static size_t episode_records(const struct wire_episode *e)
{
    return replay_records(e->T, e->end == END_LIMIT);
}

/* One record to write, wherever it goes: the ring, or a window of held-out data. */
struct record {
    float *obs, *reward;
    uint8_t *action, *avail, *done, *fake, *last;
};

static void real_record(const struct record *to, const struct replay *shape,
                        const struct wire_episode *e, size_t k)
{
    size_t N = shape->N, O = shape->O, A = shape->A, bytes = (A + 7) / 8;
    bool final = k + 1 == e->T;
    memcpy(to->obs, (const char *)e->obs + k * N * O * sizeof(float), N * O * sizeof(float));
    memcpy(to->action, (const uint8_t *)e->action + k * N, N);
    memcpy(to->reward, (const char *)e->reward + k * sizeof(float), sizeof(float));
    const uint8_t *bits = (const uint8_t *)e->avail + k * N * bytes;
    for (size_t agent = 0; agent < N; agent++)
        for (size_t a = 0; a < A; a++)
            to->avail[agent * A + a] = bits[agent * bytes + a / 8] >> (a % 8) & 1;
    *to->done = final;
    *to->fake = 0;
    *to->last = final && e->end == END_LIMIT;
}

/* mag.md 2: zero observations, one random action per agent over all A, everything available. */
static void absorbing_record(const struct record *to, const struct replay *shape,
                             const uint32_t *words, bool last)
{
    memset(to->obs, 0, shape->N * shape->O * sizeof(float));
    for (size_t agent = 0; agent < shape->N; agent++)
        to->action[agent] = (uint8_t)word_below(words[agent], (uint32_t)shape->A);
    memset(to->avail, 1, shape->N * shape->A);
    *to->reward = 0;
    *to->done = 1;
    *to->fake = 1;
    *to->last = last;
}

enum { AGENTS_MAX = 256 };

static int check_shape(const struct replay *r, const struct wire_episode *e)
{
    if (e->N != r->N || e->O != r->O || e->A != r->A || e->N > AGENTS_MAX)
        return err_set(ERR_INVAL,
                       "episode %llu has %u agents, %u observations, %u actions; the run has "
                       "%zu, %zu, %zu",
                       (unsigned long long)e->episode_no, e->N, e->O, e->A, r->N, r->O, r->A);
    if (e->T == 0)
        return err_set(ERR_INVAL, "episode %llu is empty", (unsigned long long)e->episode_no);
    return 0;
}

static void write_record(const struct record *to, const struct replay *shape,
                         const struct wire_episode *e, const uint32_t *words, size_t k)
{
    if (k < e->T)
        real_record(to, shape, e, k);
    else
        absorbing_record(to, shape, words, k == e->T + 1u);
}

/* -------------------------------------------------------------------------------- the ring */

static int remember(struct replay *r, uint64_t episode_no)
{
    uint64_t oldest = r->next > r->capacity ? r->next - r->capacity : 0;
    while (r->held_count > 1 && r->held[r->held_first + 1].first_record <= oldest) {
        r->held_first++;
        r->held_count--;
    }
    if (r->held_first + r->held_count == r->held_max) {
        if (r->held_first > r->held_max / 2) { /* mostly forgotten: move down instead */
            memmove(r->held, r->held + r->held_first, r->held_count * sizeof *r->held);
        } else {
            size_t max = r->held_max ? 2 * r->held_max : 256;
            struct held *grown = realloc(r->held, max * sizeof *grown);
            if (!grown)
                return ERR_NOMEM;
            memmove(grown, grown + r->held_first, r->held_count * sizeof *grown);
            r->held = grown;
            r->held_max = max;
        }
        r->held_first = 0;
    }
    r->held[r->held_first + r->held_count++] = (struct held){episode_no, r->next};
    return 0;
}

int replay_add(struct replay *r, const struct wire_episode *e, const struct draws *draws)
{
    int err = check_shape(r, e);
    if (err)
        return err;
    size_t records = episode_records(e);
    if (records > r->capacity)
        return err_set(ERR_INVAL, "episode %llu has %zu records, replay.capacity is %zu",
                       (unsigned long long)e->episode_no, records, r->capacity);
    err = remember(r, e->episode_no);
    if (err)
        return err;
    uint32_t words[AGENTS_MAX];
    draws_words(draws, DRAW_ABSORB, e->episode_no, 0, words, r->N);
    for (size_t k = 0; k < records; k++) {
        size_t at = (size_t)(r->next++ % r->capacity);
        struct record to = {r->obs + at * r->N * r->O,
                            r->reward + at,
                            r->action + at * r->N,
                            r->avail + at * r->N * r->A,
                            r->done + at,
                            r->fake + at,
                            r->last + at};
        write_record(&to, r, e, words, k);
    }
    return 0;
}

void replay_skip(struct replay *r, size_t records)
{
    r->next += records;
}

/* --------------------------------------------------------------------------------- windows */

size_t replay_batch_bytes(size_t W, size_t B, size_t N, size_t O, size_t A)
{
    size_t rows = W * B;
    return pad64(rows * N * O * sizeof(float)) + pad64(rows * N * sizeof(float)) +
           pad64(rows * N) + pad64(rows * N * A) + 3 * pad64(rows);
}

int replay_batch_carve(struct replay_batch *b, const struct replay *r, size_t W, size_t B,
                       struct arena *a)
{
    size_t rows = W * B;
    if (a->size - a->used < replay_batch_bytes(W, B, r->N, r->O, r->A))
        return ERR_NOMEM;
    *b = (struct replay_batch){.W = W, .B_max = B};
    b->obs = ARENA_NEW(a, float, rows * r->N * r->O);
    b->reward = ARENA_NEW(a, float, rows * r->N);
    b->action = ARENA_NEW(a, uint8_t, rows * r->N);
    b->avail = ARENA_NEW(a, uint8_t, rows * r->N * r->A);
    b->done = ARENA_NEW(a, uint8_t, rows);
    b->fake = ARENA_NEW(a, uint8_t, rows);
    b->last = ARENA_NEW(a, uint8_t, rows);
    return 0;
}

static void set_view(struct replay_batch *b, size_t B)
{
    b->w = (struct mag_windows){.W = b->W,
                                .B = B,
                                .obs = b->obs,
                                .action = b->action,
                                .avail = b->avail,
                                .reward = b->reward,
                                .done = b->done,
                                .fake = b->fake,
                                .last = b->last};
}

/* Record `k` of window `row` among B windows: time first. */
static struct record batch_record(struct replay_batch *b, const struct replay *r, size_t B,
                                  size_t row, size_t k)
{
    size_t at = k * B + row;
    return (struct record){b->obs + at * r->N * r->O,
                           b->reward + at * r->N,
                           b->action + at * r->N,
                           b->avail + at * r->N * r->A,
                           b->done + at,
                           b->fake + at,
                           b->last + at};
}

static void copy_reward(float *to, float team, size_t N)
{
    for (size_t agent = 0; agent < N; agent++)
        to[agent] = team;
}

static void copy_window(struct replay_batch *b, const struct replay *r, size_t B, size_t row,
                        size_t start)
{
    for (size_t k = 0; k < b->W; k++) {
        size_t at = (start + k) % r->capacity;
        struct record to = batch_record(b, r, B, row, k);
        memcpy(to.obs, r->obs + at * r->N * r->O, r->N * r->O * sizeof(float));
        memcpy(to.action, r->action + at * r->N, r->N);
        memcpy(to.avail, r->avail + at * r->N * r->A, r->N * r->A);
        copy_reward(to.reward, r->reward[at], r->N);
        *to.done = r->done[at];
        *to.fake = r->fake[at];
        *to.last = r->last[at];
    }
}

/* A full ring forbids windows that would cross the write head: those in which the head's
 * position is the second record or a later one (mag.md 3). */
static bool crosses_head(const struct replay *r, size_t start, size_t W)
{
    size_t head = (size_t)(r->next % r->capacity);
    size_t ahead = (head + r->capacity - start) % r->capacity;
    return ahead >= 1 && ahead < W;
}

static size_t draw_start(const struct replay *r, size_t W, const struct draws *draws,
                         enum draw_domain domain, uint64_t item, size_t row)
{
    uint32_t words[TRIES];
    if (r->next < r->capacity) {
        draws_words(draws, domain, item, (uint32_t)row, words, 1);
        return word_below(words[0], (uint32_t)(r->next - W));
    }
    draws_words(draws, domain, item, (uint32_t)row, words, TRIES);
    for (size_t i = 0; i < TRIES; i++) {
        size_t start = word_below(words[i], (uint32_t)r->capacity);
        if (!crosses_head(r, start, W))
            return start;
    }
    /* Reached once in (W/capacity)^64 windows; the oldest window is always whole. */
    return (size_t)(r->next % r->capacity);
}

int replay_sample(const struct replay *r, struct replay_batch *b, const struct draws *draws,
                  enum draw_domain domain, uint64_t item)
{
    if (r->next <= b->W || r->capacity <= b->W)
        return ERR_AGAIN;
    for (size_t row = 0; row < b->B_max; row++)
        copy_window(b, r, b->B_max, row, draw_start(r, b->W, draws, domain, item, row));
    set_view(b, b->B_max);
    return 0;
}

int replay_windows_of(struct replay_batch *b, const struct replay *shape,
                      const struct wire_episode *e, const struct draws *draws, size_t *count)
{
    int err = check_shape(shape, e);
    if (err)
        return err;
    size_t records = episode_records(e);
    size_t starts = records >= b->W ? records - b->W + 1 : 0;
    size_t B = starts < b->B_max ? starts : b->B_max;
    uint32_t words[AGENTS_MAX];
    draws_words(draws, DRAW_ABSORB, e->episode_no, 0, words, shape->N);
    for (size_t row = 0; row < B; row++) {
        size_t start = B > 1 ? row * (starts - 1) / (B - 1) : 0;
        for (size_t k = 0; k < b->W; k++) {
            struct record to = batch_record(b, shape, B, row, k);
            write_record(&to, shape, e, words, start + k);
            copy_reward(to.reward, *to.reward, shape->N);
        }
    }
    set_view(b, B);
    *count = B;
    return 0;
}
