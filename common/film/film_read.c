/* SPDX-License-Identifier: Apache-2.0 */
/* film_read.c - bytes from anywhere into films.
 *
 * Every number is checked where it is read: counts against what the bytes left could hold,
 * names of things against what exists, values against FILM_RANGE. Opening a film finds its
 * episodes; each is decoded when it is asked for. */
#include "film_code.h"

#include "base/digest.h"
#include "base/err.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#define REMEDY "the file is damaged: copy it again, or record the battle anew"

/* A place in the body. The first thing that is wrong stays in `wrong`; what is read after it
 * is zero. */
struct cursor {
    const unsigned char *start, *p, *end;
    const unsigned char *wrong_at;
    const char *wrong;
};

static void wrong(struct cursor *c, const char *what)
{
    if (!c->wrong) {
        c->wrong = what;
        c->wrong_at = c->p;
    }
    c->p = c->end;
}

static int report(const struct film *f, const struct cursor *c)
{
    if (!c->wrong)
        return 0;
    return err_set(ERR_CORRUPT, "%s: byte %zu of the unpacked film: %s; " REMEDY, f->name,
                   (size_t)(c->wrong_at - f->body), c->wrong);
}

static unsigned get_byte(struct cursor *c)
{
    if (c->p == c->end) {
        wrong(c, "it ends too early");
        return 0;
    }
    return *c->p++;
}

static uint64_t get_fixed(struct cursor *c, int width)
{
    uint64_t v = 0;
    for (int i = 0; i < width; i++)
        v |= (uint64_t)get_byte(c) << (8 * i);
    return v;
}

static uint64_t get_uint(struct cursor *c, uint64_t most, const char *too_large)
{
    uint64_t v = 0;
    for (int shift = 0; shift < 64; shift += 7) {
        unsigned b = get_byte(c);
        v |= (uint64_t)(b & 0x7f) << shift;
        if (!(b & 0x80))
            break;
    }
    if (v <= most)
        return v;
    wrong(c, too_large);
    return 0;
}

/* base + a difference, within the range of numbers. */
static int32_t get_int(struct cursor *c, int32_t base)
{
    uint64_t z = get_uint(c, UINT32_MAX, "a number is too large");
    int64_t v = (z & 1 ? -(int64_t)(z >> 1) - 1 : (int64_t)(z >> 1)) + base;
    if (v >= -FILM_RANGE && v <= FILM_RANGE)
        return (int32_t)v;
    wrong(c, "a number is out of range");
    return 0;
}

static void get_text(struct cursor *c, char *out, size_t room)
{
    size_t n = get_uint(c, room - 1, "a text is too long");
    for (size_t i = 0; i < n && !c->wrong; i++) {
        unsigned b = get_byte(c);
        if ((b < ' ' && b != '\n') || b > '~') {
            wrong(c, "a text holds an odd character");
            b = 0;
        }
        out[i] = (char)b;
    }
    out[c->wrong ? 0 : n] = 0;
}

/* ---------------------------------------------------------------------------------- films */

static float part(int32_t v, int per)
{
    return (float)v / (float)per;
}

static void get_kind(struct cursor *c, struct scene_kind *k)
{
    get_text(c, k->name, sizeof k->name);
    k->letter = (char)get_byte(c);
    if (!c->wrong && (k->letter < 'A' || k->letter > 'Z'))
        wrong(c, "a kind of units has no letter");
    k->style = (uint8_t)get_uint(c, SCENE_STYLES - 1, "there is no such style of weapons");
    k->flying = get_byte(c) != 0;
    k->radius = part(get_int(c, 0), FILM_PLACE);
    k->reach = part(get_int(c, 0), FILM_PLACE);
    k->health = part(get_int(c, 0), FILM_POINT);
    k->shield = part(get_int(c, 0), FILM_POINT);
    k->energy = part(get_int(c, 0), FILM_POINT);
}

static void get_stage(struct cursor *c, struct scene_stage *s)
{
    s->width = (uint32_t)get_uint(c, SCENE_SIDE, "the ground is too wide");
    s->height = (uint32_t)get_uint(c, SCENE_SIDE, "the ground is too high");
    for (size_t i = 0; i < (size_t)s->width * s->height; i++)
        s->ground[i] = get_byte(c) == '#' ? '#' : '.';
    s->loops = (uint32_t)get_uint(c, 1024, "a step has too many ticks");
    s->n_kinds = get_uint(c, SCENE_KINDS, "there are too many kinds of units");
    for (size_t i = 0; i < s->n_kinds; i++)
        get_kind(c, &s->kind[i]);
    if (!c->wrong && (!s->width || !s->height || !s->loops || !s->n_kinds))
        wrong(c, "there is no ground, no time or no kind of units");
}

static int get_body(struct film *f)
{
    struct cursor c = {.start = f->body, .p = f->body, .end = f->body + f->n_body};
    char *text[ABOUT_TEXTS];
    size_t size[ABOUT_TEXTS], room = 0;
    about_texts(&f->about, text, size);
    for (int i = 0; i < ABOUT_TEXTS; i++)
        get_text(&c, text[i], size[i]);
    f->about.scripted = get_byte(&c) != 0;
    get_stage(&c, &f->stage);
    f->n_agents = get_uint(&c, FILM_AGENTS, "there are too many agents");
    for (;;) {
        if (f->n_episodes + 1 >= room) {
            room = 2 * room + 16;
            size_t *at = realloc(f->at, room * sizeof *at);
            if (!at)
                return err_set(ERR_NOMEM, "out of memory for %s", f->name);
            f->at = at;
        }
        f->at[f->n_episodes] = (size_t)(c.p - c.start);
        if (c.p == c.end)
            return report(f, &c);
        uint64_t n = get_uint(&c, UINT64_MAX, "");
        if (n > (uint64_t)(c.end - c.p))
            wrong(&c, "an episode is longer than the film");
        else
            c.p += n;
        f->n_episodes++;
    }
}

int film_parse_body(struct film **out, const void *bytes, size_t n, const char *name)
{
    struct film *f = calloc(1, sizeof *f);
    if (!f || !(f->body = malloc(n + 1))) {
        free(f);
        return err_set(ERR_NOMEM, "out of memory for %s", name);
    }
    if (n)
        memcpy(f->body, bytes, n);
    f->n_body = n;
    snprintf(f->name, sizeof f->name, "%s", name);
    int err = get_body(f);
    if (err) {
        film_close(f);
        return err;
    }
    *out = f;
    return 0;
}

static uint32_t u32_at(const unsigned char *p)
{
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

int film_parse(struct film **out, const void *bytes, size_t n, const char *name)
{
    const unsigned char *p = bytes;
    size_t magic = strlen(FILM_MAGIC);
    if (n < FILM_HEADER || memcmp(p, FILM_MAGIC, magic) != 0)
        return err_set(ERR_CORRUPT,
                       "%s: byte 0: not a film; `mag eval ... --record FILE` makes one", name);
    if (p[magic] != FILM_VERSION)
        return err_set(ERR_UNSUPPORTED,
                       "%s: byte %zu: film format %u, this program reads %d; use a newer mag",
                       name, magic, p[magic], FILM_VERSION);
    size_t n_body = u32_at(p + 8);
    if (crc32c(0, p + FILM_HEADER, n - FILM_HEADER) != u32_at(p + 12))
        return err_set(ERR_CORRUPT,
                       "%s: byte 12: the checksum of the %zu bytes after byte %d "
                       "differs; " REMEDY,
                       name, n - FILM_HEADER, FILM_HEADER);
    if (n_body > FILM_BYTES)
        return err_set(ERR_CORRUPT,
                       "%s: byte 8: %zu bytes unpacked, a film has at most %d; " REMEDY, name,
                       n_body, FILM_BYTES);
    unsigned char *body = malloc(n_body + 1);
    if (!body)
        return err_set(ERR_NOMEM, "out of memory for %s", name);
    size_t got = ZSTD_decompress(body, n_body, p + FILM_HEADER, n - FILM_HEADER);
    int err = ZSTD_isError(got) || got != n_body
                  ? err_set(ERR_CORRUPT, "%s: byte %d: cannot be unpacked (%s); " REMEDY, name,
                            FILM_HEADER, ZSTD_isError(got) ? ZSTD_getErrorName(got) : "short")
                  : film_parse_body(out, body, n_body, name);
    free(body);
    return err;
}

int film_read(struct film **out, const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return err_set(errno == ENOENT ? ERR_NOTFOUND : ERR_IO, "%s: %s", path,
                       strerror(errno));
    unsigned char *bytes = malloc(FILM_BYTES);
    size_t n = bytes ? fread(bytes, 1, FILM_BYTES, file) : 0;
    int err = 0;
    if (!bytes)
        err = err_set(ERR_NOMEM, "out of memory for %s", path);
    else if (ferror(file))
        err = err_set(ERR_IO, "%s: cannot be read: %s", path, strerror(errno));
    fclose(file);
    if (!err)
        err = film_parse(out, bytes, n, path);
    free(bytes);
    return err;
}

void film_close(struct film *f)
{
    if (!f)
        return;
    free(f->body);
    free(f->at);
    free(f);
}

/* ------------------------------------------------------------------------------- episodes */

static void get_unit(struct cursor *c, size_t n_units, struct film_unit *u)
{
    int32_t *field[UNIT_FIELDS];
    unsigned mask = get_byte(c);
    unit_fields(u, field);
    if (mask >= UNIT_ORDER << 1)
        wrong(c, "a unit announces what does not exist");
    u->alive = mask & UNIT_ALIVE;
    for (unsigned k = 0; k < UNIT_FIELDS; k++)
        if (mask & field_bit(k))
            *field[k] = get_int(c, *field[k]);
    u->order = SCENE_NO_ORDER;
    u->to_x = u->to_y = 0;
    u->target = 0;
    if (!(mask & UNIT_ORDER))
        return;
    u->order = (uint8_t)get_uint(c, SCENE_ORDERS - 1, "there is no such order");
    if (u->order == SCENE_MOVE) {
        u->to_x = get_int(c, u->x);
        u->to_y = get_int(c, u->y);
    } else if (u->order == SCENE_ATTACK || u->order == SCENE_MEND) {
        u->target = (uint16_t)get_uint(c, n_units - 1, "an order aims at nobody");
    }
}

static int get_shots(struct cursor *c, const struct film *f, struct film_episode *e,
                     size_t frame, size_t *room)
{
    size_t n = get_uint(c, SCENE_SHOTS, "a step has too many strikes"), at = e->shots[frame];
    if (at + n > *room) {
        *room = 2 * (at + n);
        struct scene_shot *more = realloc(e->shot, *room * sizeof *more);
        if (!more)
            return err_set(ERR_NOMEM, "out of memory for %s", f->name);
        e->shot = more;
    }
    for (size_t k = at; k < at + n; k++) {
        struct scene_shot *s = &e->shot[k];
        s->source = (uint16_t)get_uint(c, e->n_units - 1, "nobody strikes");
        s->target = (uint16_t)get_uint(c, e->n_units - 1, "a strike hits nobody");
        s->loop = (uint32_t)get_uint(c, f->stage.loops - 1, "a strike is later than its step");
    }
    e->shots[frame + 1] = at + n;
    return 0;
}

static void get_head(struct cursor *c, const struct film *f, struct film_episode *e)
{
    e->number = get_uint(c, UINT64_MAX, "");
    e->seed = get_fixed(c, 8);
    unsigned ending = get_byte(c);
    e->won = ending & END_WON;
    e->end = (enum env_end)(ending & (END_WON - 1));
    if (e->end > ENV_ABORT || ending >= END_WON << 1)
        wrong(c, "an episode ends in an unknown way");
    e->n_units = get_uint(c, SCENE_UNITS, "there are too many units");
    e->n_steps = get_uint(c, FILM_STEPS, "there are too many steps");
    if (!e->n_units)
        wrong(c, "an episode has no units");
    for (size_t i = 0; i < e->n_units; i++) {
        e->kind[i] =
            (uint8_t)get_uint(c, f->stage.n_kinds - 1, "there is no such kind of units");
        e->side[i] = (uint8_t)get_uint(c, 1, "there are two sides");
    }
    if (!c->wrong && (size_t)(c->end - c->p) / (e->n_units + 1) < e->n_steps + 1)
        wrong(c, "an episode is shorter than its frames");
}

static int get_frames(struct cursor *c, const struct film *f, struct film_episode *e)
{
    size_t room = 0;
    int err = 0;
    for (size_t frame = 0; frame <= e->n_steps && !err && !c->wrong; frame++) {
        struct film_unit *now = e->unit + frame * e->n_units;
        if (frame) {
            uint32_t bits = (uint32_t)get_fixed(c, 4);
            memcpy(&e->reward[frame - 1], &bits, sizeof bits);
            if (!isfinite(e->reward[frame - 1]))
                wrong(c, "a reward is not a number");
            e->ret += (double)e->reward[frame - 1];
            for (size_t n = 0; n < f->n_agents; n++)
                e->action[(frame - 1) * f->n_agents + n] = (uint8_t)get_byte(c);
            memcpy(now, now - e->n_units, e->n_units * sizeof *now);
        }
        for (size_t i = 0; i < e->n_units; i++)
            get_unit(c, e->n_units, &now[i]);
        err = get_shots(c, f, e, frame, &room);
    }
    if (!c->wrong && c->p != c->end)
        wrong(c, "an episode goes on after its last step");
    return err;
}

int film_episode(const struct film *f, size_t i, struct film_episode *out)
{
    struct cursor c = {
        .start = f->body, .p = f->body + f->at[i], .end = f->body + f->at[i + 1]};
    struct film_episode e = {0};
    get_uint(&c, UINT64_MAX, ""); /* its length, known */
    get_head(&c, f, &e);
    int err = report(f, &c);
    if (err)
        return err;
    size_t frames = e.n_steps + 1;
    e.unit = calloc(frames * e.n_units, sizeof *e.unit);
    e.reward = calloc(frames, sizeof *e.reward);
    e.action = calloc(frames * (f->n_agents + 1), 1);
    e.shots = calloc(frames + 1, sizeof *e.shots);
    if (!e.unit || !e.reward || !e.action || !e.shots)
        err = err_set(ERR_NOMEM, "out of memory for %s", f->name);
    if (!err)
        err = get_frames(&c, f, &e);
    if (!err)
        err = report(f, &c);
    if (err) {
        film_episode_free(&e);
        return err;
    }
    *out = e;
    return 0;
}

void film_episode_free(struct film_episode *e)
{
    free(e->unit);
    free(e->reward);
    free(e->action);
    free(e->shot);
    free(e->shots);
    *e = (struct film_episode){0};
}

void film_scene(const struct film_episode *e, size_t frame, struct scene *out)
{
    const struct film_unit *unit = film_frame(e, frame);
    out->n_units = e->n_units;
    for (size_t i = 0; i < e->n_units; i++) {
        const struct film_unit *u = &unit[i];
        out->unit[i] = (struct scene_unit){.kind = e->kind[i],
                                           .side = e->side[i],
                                           .alive = u->alive,
                                           .order = u->order,
                                           .target = u->target,
                                           .x = part(u->x, FILM_PLACE),
                                           .y = part(u->y, FILM_PLACE),
                                           .health = part(u->health, FILM_POINT),
                                           .shield = part(u->shield, FILM_POINT),
                                           .energy = part(u->energy, FILM_POINT),
                                           .to_x = part(u->to_x, FILM_PLACE),
                                           .to_y = part(u->to_y, FILM_PLACE)};
    }
    out->n_shots = e->shots[frame + 1] - e->shots[frame];
    if (out->n_shots)
        memcpy(out->shot, e->shot + e->shots[frame], out->n_shots * sizeof *out->shot);
}
