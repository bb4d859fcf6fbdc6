/* SPDX-License-Identifier: Apache-2.0 */
/* film_code.h - what film_write.c and film_read.c agree on. Private.
 *
 * FILE   "MAGFILM" version, u32 bytes unpacked, u32 crc32c of the rest, rest = body by zstd
 * BODY   about (text each), stage, agents, episodes { varint bytes, episode }
 * EPISODE number, seed u64, ending byte, units, steps, { kind, side } per unit,
 *        frame 0, then steps x { reward f32, action byte per agent, frame }
 * FRAME  per unit: mask, then what it announces, as difference from the frame before;
 *        strikes: count, { source, target, loop }
 *
 * Integers are little-endian base-128 varints unless a width is given, signed ones zigzag.
 * A unit takes at least one byte a frame, which bounds what a short file can make us reserve. */
#ifndef FILM_CODE_H
#define FILM_CODE_H

#include "film/film.h"

#define FILM_MAGIC "MAGFILM"

enum {
    FILM_HEADER = 16,
    /* mask of a unit */
    UNIT_ALIVE = 1,
    UNIT_FIELD = 2, /* the first of UNIT_FIELDS bits */
    UNIT_FIELDS = 5,
    UNIT_ORDER = 64,
    /* ending of an episode: enum env_end, and */
    END_WON = 16,
    /* no number lies outside; sums of differences stay far from overflow */
    FILM_RANGE = 1 << 22,
};

/* The bit of the mask that announces field k. */
static inline unsigned field_bit(unsigned k)
{
    return (unsigned)UNIT_FIELD << k;
}

/* The numbers of a unit that are kept as differences, in file order. */
static inline void unit_fields(struct film_unit *u, int32_t *field[UNIT_FIELDS])
{
    field[0] = &u->x;
    field[1] = &u->y;
    field[2] = &u->health;
    field[3] = &u->shield;
    field[4] = &u->energy;
}

/* The texts of a film, in file order, with their room. */
enum { ABOUT_TEXTS = 6 };
static inline void about_texts(struct film_about *a, char *text[ABOUT_TEXTS],
                               size_t room[ABOUT_TEXTS])
{
    char *const t[ABOUT_TEXTS] = {a->env, a->map, a->policy, a->build, a->line, a->settings};
    const size_t r[ABOUT_TEXTS] = {sizeof a->env,   sizeof a->map,  sizeof a->policy,
                                   sizeof a->build, sizeof a->line, sizeof a->settings};
    for (int i = 0; i < ABOUT_TEXTS; i++) {
        text[i] = t[i];
        room[i] = r[i];
    }
}

/* A unit of a scene in whole places and points. */
void film_quantise(const struct scene_unit *s, struct film_unit *out);

#endif
