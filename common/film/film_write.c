/* SPDX-License-Identifier: Apache-2.0 */
/* film_write.c - episodes into bytes while they are played.
 *
 * Takes grow side by side, one per environment that plays; what a step changed is all that is
 * kept of it. Episodes are sorted by number when the film is packed, so its bytes depend on
 * neither lanes nor luck. */
#include "film_code.h"

#include "base/digest.h"
#include "base/err.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

enum { ZSTD_LEVEL = 19 };

/* Bytes that grow; memory that runs out is found out at the end. */
struct bytes {
    unsigned char *p;
    size_t n, room;
    bool failed;
};

struct finished {
    uint64_t number;
    struct bytes bytes;
};

struct film_writer {
    struct film_about about;
    struct scene_stage stage;
    size_t n_agents, n_episodes, room;
    struct finished *episode;
};

struct film_take {
    struct film_writer *film;
    uint64_t number, seed;
    size_t n_units, n_steps;
    uint8_t kind[SCENE_UNITS], side[SCENE_UNITS];
    struct film_unit last[SCENE_UNITS];
    struct env_step ending;
    struct bytes frames;
};

/* ---------------------------------------------------------------------------------- bytes */

static void put(struct bytes *b, const void *data, size_t n)
{
    if (b->failed || n == 0)
        return;
    if (b->n + n > b->room) {
        size_t room = 2 * (b->n + n) + 256;
        unsigned char *p = realloc(b->p, room);
        if (!p) {
            b->failed = true;
            return;
        }
        b->p = p;
        b->room = room;
    }
    memcpy(b->p + b->n, data, n);
    b->n += n;
}

static void put_byte(struct bytes *b, unsigned v)
{
    unsigned char c = (unsigned char)v;
    put(b, &c, 1);
}

static void put_fixed(struct bytes *b, uint64_t v, int width)
{
    for (int i = 0; i < width; i++)
        put_byte(b, (unsigned)(v >> (8 * i) & 0xff));
}

static void put_uint(struct bytes *b, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        put_byte(b, (unsigned)(v & 0x7f) | 0x80);
    put_byte(b, (unsigned)v);
}

static void put_int(struct bytes *b, int32_t v)
{
    put_uint(b, v < 0 ? ~((uint32_t)v << 1) : (uint32_t)v << 1);
}

static void put_float(struct bytes *b, float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    put_fixed(b, bits, 4);
}

static void put_text(struct bytes *b, const char *text)
{
    size_t n = strlen(text);
    put_uint(b, n);
    put(b, text, n);
}

/* --------------------------------------------------------------------------------- frames */

static int32_t whole(float v, int per)
{
    double scaled = (double)v * per;
    if (!(scaled > -FILM_RANGE)) /* not a number, too */
        return -FILM_RANGE;
    return scaled < FILM_RANGE ? (int32_t)lround(scaled) : FILM_RANGE;
}

void film_quantise(const struct scene_unit *s, struct film_unit *out)
{
    *out = (struct film_unit){.x = whole(s->x, FILM_PLACE),
                              .y = whole(s->y, FILM_PLACE),
                              .health = whole(s->health, FILM_POINT),
                              .shield = whole(s->shield, FILM_POINT),
                              .energy = whole(s->energy, FILM_POINT),
                              .alive = s->alive,
                              .order = s->order};
    if (s->order == SCENE_MOVE) {
        out->to_x = whole(s->to_x, FILM_PLACE);
        out->to_y = whole(s->to_y, FILM_PLACE);
    } else if (s->order == SCENE_ATTACK || s->order == SCENE_MEND) {
        out->target = s->target;
    }
}

static void put_unit(struct bytes *b, struct film_unit *last, struct film_unit *now)
{
    int32_t *was[UNIT_FIELDS], *is[UNIT_FIELDS];
    unit_fields(last, was);
    unit_fields(now, is);
    unsigned mask = (now->alive ? UNIT_ALIVE : 0) | (now->order ? UNIT_ORDER : 0);
    for (unsigned k = 0; k < UNIT_FIELDS; k++)
        if (*is[k] != *was[k])
            mask |= field_bit(k);
    put_byte(b, mask);
    for (unsigned k = 0; k < UNIT_FIELDS; k++)
        if (mask & field_bit(k))
            put_int(b, *is[k] - *was[k]);
    if (!now->order)
        return;
    put_byte(b, now->order);
    if (now->order == SCENE_MOVE) {
        put_int(b, now->to_x - now->x);
        put_int(b, now->to_y - now->y);
    } else if (now->order != SCENE_STOP) {
        put_uint(b, now->target);
    }
}

static void put_frame(struct film_take *t, const struct scene *s)
{
    for (size_t i = 0; i < t->n_units; i++) {
        struct film_unit now;
        film_quantise(&s->unit[i], &now);
        put_unit(&t->frames, &t->last[i], &now);
        t->last[i] = now;
    }
    put_uint(&t->frames, s->n_shots);
    for (size_t k = 0; k < s->n_shots; k++) {
        put_uint(&t->frames, s->shot[k].source);
        put_uint(&t->frames, s->shot[k].target);
        put_uint(&t->frames, s->shot[k].loop);
    }
}

int take_begin(struct film_take **out, struct film_writer *w, uint64_t number, uint64_t seed,
               const struct scene *s)
{
    struct film_take *t = calloc(1, sizeof *t);
    if (!t)
        return err_set(ERR_NOMEM, "out of memory for a film");
    t->film = w;
    t->number = number;
    t->seed = seed;
    t->n_units = s->n_units;
    for (size_t i = 0; i < s->n_units; i++) {
        t->kind[i] = s->unit[i].kind;
        t->side[i] = s->unit[i].side;
    }
    put_frame(t, s);
    *out = t;
    return 0;
}

void take_step(struct film_take *t, const uint8_t *action, const struct env_step *step,
               const struct scene *s)
{
    bug_on(s->n_units != t->n_units);
    put_float(&t->frames, step->reward);
    for (size_t n = 0; n < t->film->n_agents; n++)
        put_byte(&t->frames, action ? action[n] : 0);
    put_frame(t, s);
    t->n_steps++;
    t->ending = *step;
}

void take_discard(struct film_take *t)
{
    if (!t)
        return;
    free(t->frames.p);
    free(t);
}

static int keep(struct film_writer *w, uint64_t number, struct bytes bytes)
{
    if (w->n_episodes == w->room) {
        size_t room = 2 * w->room + 16;
        struct finished *more = realloc(w->episode, room * sizeof *more);
        if (!more)
            return err_set(ERR_NOMEM, "out of memory for a film");
        w->episode = more;
        w->room = room;
    }
    w->episode[w->n_episodes++] = (struct finished){.number = number, .bytes = bytes};
    return 0;
}

int take_end(struct film_take *t)
{
    struct bytes b = {0};
    int err = 0;
    put_uint(&b, t->number);
    put_fixed(&b, t->seed, 8);
    put_byte(&b, (unsigned)t->ending.end | (t->ending.won ? END_WON : 0));
    put_uint(&b, t->n_units);
    put_uint(&b, t->n_steps);
    for (size_t i = 0; i < t->n_units; i++) {
        put_byte(&b, t->kind[i]);
        put_byte(&b, t->side[i]);
    }
    put(&b, t->frames.p, t->frames.n);
    if (t->n_steps > FILM_STEPS)
        err = err_set(ERR_UNSUPPORTED, "episode %llu has %zu steps, a film holds %d",
                      (unsigned long long)t->number, t->n_steps, FILM_STEPS);
    else if (b.failed || t->frames.failed)
        err = err_set(ERR_NOMEM, "out of memory for a film");
    else
        err = keep(t->film, t->number, b);
    if (err)
        free(b.p);
    take_discard(t);
    return err;
}

/* ---------------------------------------------------------------------------------- films */

int film_create(struct film_writer **out, const struct film_about *about,
                const struct scene_stage *stage, size_t n_agents)
{
    struct film_writer *w = calloc(1, sizeof *w);
    if (!w)
        return err_set(ERR_NOMEM, "out of memory for a film");
    bug_on(n_agents > FILM_AGENTS);
    w->about = *about;
    w->stage = *stage;
    w->n_agents = n_agents;
    *out = w;
    return 0;
}

void film_discard(struct film_writer *w)
{
    if (!w)
        return;
    for (size_t i = 0; i < w->n_episodes; i++)
        free(w->episode[i].bytes.p);
    free(w->episode);
    free(w);
}

static void put_stage(struct bytes *b, const struct scene_stage *s)
{
    put_uint(b, s->width);
    put_uint(b, s->height);
    put(b, s->ground, (size_t)s->width * s->height);
    put_uint(b, s->loops);
    put_uint(b, s->n_kinds);
    for (size_t i = 0; i < s->n_kinds; i++) {
        const struct scene_kind *k = &s->kind[i];
        put_text(b, k->name);
        put_byte(b, (unsigned char)k->letter);
        put_byte(b, k->style);
        put_byte(b, k->flying);
        put_int(b, whole(k->radius, FILM_PLACE));
        put_int(b, whole(k->reach, FILM_PLACE));
        put_int(b, whole(k->health, FILM_POINT));
        put_int(b, whole(k->shield, FILM_POINT));
        put_int(b, whole(k->energy, FILM_POINT));
    }
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = (*(const struct finished *const *)a)->number;
    uint64_t y = (*(const struct finished *const *)b)->number;
    return (x > y) - (x < y);
}

static int put_body(struct bytes *b, const struct film_writer *w)
{
    struct film_about about = w->about;
    char *text[ABOUT_TEXTS];
    size_t room[ABOUT_TEXTS];
    const struct finished **order = calloc(w->n_episodes + 1, sizeof *order);
    if (!order)
        return err_set(ERR_NOMEM, "out of memory for a film");
    about_texts(&about, text, room);
    for (int i = 0; i < ABOUT_TEXTS; i++)
        put_text(b, text[i]);
    put_byte(b, about.scripted);
    put_stage(b, &w->stage);
    put_uint(b, w->n_agents);
    for (size_t i = 0; i < w->n_episodes; i++)
        order[i] = &w->episode[i];
    qsort(order, w->n_episodes, sizeof *order, by_number);
    for (size_t i = 0; i < w->n_episodes; i++) {
        put_uint(b, order[i]->bytes.n);
        put(b, order[i]->bytes.p, order[i]->bytes.n);
    }
    free(order);
    if (b->failed)
        return err_set(ERR_NOMEM, "out of memory for a film");
    if (b->n > FILM_BYTES)
        return err_set(ERR_UNSUPPORTED,
                       "%zu episodes are %zu MiB unpacked, a film holds %d: record fewer",
                       w->n_episodes, b->n >> 20, FILM_BYTES >> 20);
    return 0;
}

int film_pack(const struct film_writer *w, unsigned char **out, size_t *n)
{
    struct bytes body = {0}, file = {0};
    unsigned char *packed = NULL;
    size_t n_packed = 0;
    int err = put_body(&body, w);
    if (!err) {
        size_t room = ZSTD_compressBound(body.n);
        packed = malloc(room);
        n_packed = packed ? ZSTD_compress(packed, room, body.p, body.n, ZSTD_LEVEL) : 0;
        if (!packed || ZSTD_isError(n_packed))
            err = err_set(ERR_NOMEM, "out of memory for a film");
    }
    if (!err) {
        put(&file, FILM_MAGIC, strlen(FILM_MAGIC));
        put_byte(&file, FILM_VERSION);
        put_fixed(&file, body.n, 4);
        put_fixed(&file, crc32c(0, packed, n_packed), 4);
        put(&file, packed, n_packed);
        if (file.failed)
            err = err_set(ERR_NOMEM, "out of memory for a film");
    }
    free(body.p);
    free(packed);
    if (err) {
        free(file.p);
        return err;
    }
    *out = file.p;
    *n = file.n;
    return 0;
}

int film_write(const struct film_writer *w, const char *path)
{
    unsigned char *bytes;
    size_t n;
    char tmp[4096];
    int err = film_pack(w, &bytes, &n);
    if (err)
        return err;
    if (snprintf(tmp, sizeof tmp, "%s.tmp", path) >= (int)sizeof tmp) {
        free(bytes);
        return err_set(ERR_IO, "%s: the name is too long", path);
    }
    FILE *file = fopen(tmp, "wb");
    bool ok = file && fwrite(bytes, 1, n, file) == n;
    ok = file && fclose(file) == 0 && ok;
    free(bytes);
    if (!ok || rename(tmp, path)) {
        err = err_set(ERR_IO, "%s: cannot be written: %s", path, strerror(errno));
        unlink(tmp);
    }
    return err;
}
