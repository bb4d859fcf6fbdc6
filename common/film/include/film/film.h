/* SPDX-License-Identifier: Apache-2.0 */
/* film.h - recordings of battles: a compact file, and the pictures drawn from it.
 *
 * A film holds what was seen (units, strikes, orders, rewards) and what it came from (settings,
 * seeds, actions). A viewer needs the first only, so any film plays on any machine; film_check
 * uses the second to say whether today's engine would still fight the same battle. The format:
 * docs/replay.md.
 *
 * Positions are whole 1/FILM_PLACE map units, points of health, shield and energy whole
 * 1/FILM_POINT: a film is exact in its own units, and the battle is within half of one.
 *
 * Nothing here is shared between threads. Functions that can fail explain it in err_text(). */
#ifndef FILM_FILM_H
#define FILM_FILM_H

#include "env/env.h"
#include "env/scene.h"

#include <stdio.h>

enum {
    FILM_VERSION = 1,
    FILM_PLACE = 64,
    FILM_POINT = 4,
    FILM_STEPS = 4096, /* of an episode, at most */
    FILM_AGENTS = 255,
    FILM_TEXT = 4096,
    FILM_BYTES = 64 << 20, /* of an unpacked film, at most */
};

/* Where a film comes from; printable ASCII and line ends only. */
struct film_about {
    char env[64], map[64];
    char policy[96];          /* a name of env->step_script, or anything else: actions count */
    bool scripted;            /* policy is to be asked again by film_check */
    char build[64];           /* engine and its rules */
    char line[FILM_TEXT];     /* specification, as workers agree on it */
    char settings[FILM_TEXT]; /* env.* as YAML: opens the same environment again */
};

/* ------------------------------------------------------------------------------ recording */

/* What a film says of episodes of this configuration. ERR_UNSUPPORTED with err_text() if the
 * environment has no units to show; ERR_NOMEM. */
int film_about(struct film_about *out, const struct config *cfg, const struct env_class *class,
               const char *policy, bool scripted);

struct film_writer; /* all episodes of a film */
struct film_take;   /* one episode being played; many may be under way */

/* ERR_NOMEM. The writer keeps copies. n_agents: actions of a step, at most FILM_AGENTS. */
int film_create(struct film_writer **out, const struct film_about *about,
                const struct scene_stage *stage, size_t n_agents);
void film_discard(struct film_writer *w); /* NULL is a no-op */

/* The first frame, right after the reset. `number` orders the episodes in the film. */
int take_begin(struct film_take **out, struct film_writer *w, uint64_t number, uint64_t seed,
               const struct scene *s);
/* One step and the frame after it; action [n_agents], NULL if a script played. Memory that runs
 * out is remembered and told by take_end. */
void take_step(struct film_take *t, const uint8_t *action, const struct env_step *step,
               const struct scene *s);
/* Add the episode to its film and close it, whatever is returned: ERR_NOMEM; ERR_UNSUPPORTED
 * for one longer than FILM_STEPS. */
int take_end(struct film_take *t);
void take_discard(struct film_take *t); /* NULL is a no-op */

/* The film as bytes (malloc'ed), or to `path` by way of a temporary name. The same episodes
 * give the same bytes, in whatever order they ended. ERR_NOMEM, ERR_IO; ERR_UNSUPPORTED past
 * FILM_BYTES. */
int film_pack(const struct film_writer *w, unsigned char **out, size_t *n);
int film_write(const struct film_writer *w, const char *path);

/* -------------------------------------------------------------------------------- reading */

struct film_unit {
    int32_t x, y, health, shield, energy, to_x, to_y; /* places, points; places */
    uint16_t target;
    bool alive;
    uint8_t order;
};

struct film {
    struct film_about about;
    struct scene_stage stage;
    size_t n_agents, n_episodes;
    char name[256]; /* of the file, for errors */

    unsigned char *body; /* unpacked */
    size_t n_body, *at;  /* [n_episodes + 1], where each begins */
};

struct film_episode {
    uint64_t number, seed;
    enum env_end end;
    bool won;
    double ret; /* sum of rewards */
    size_t n_units, n_steps;
    uint8_t kind[SCENE_UNITS], side[SCENE_UNITS];
    struct film_unit *unit; /* [n_steps + 1][n_units]: frames; 0 is the one of the reset */
    float *reward;          /* [n_steps] */
    uint8_t *action;        /* [n_steps][n_agents] */
    struct scene_shot *shot;
    size_t *shots; /* [n_steps + 2]: frame f has shot[shots[f]] .. shot[shots[f + 1] - 1] */
};

/* `name` is what errors call the input. ERR_NOTFOUND, ERR_IO, ERR_NOMEM; ERR_CORRUPT names the
 * byte and what to do; ERR_UNSUPPORTED for a film of a later version. */
int film_read(struct film **out, const char *path);
int film_parse(struct film **out, const void *bytes, size_t n, const char *name);
/* What follows the header of the file, unpacked; for tests of the decoder. */
int film_parse_body(struct film **out, const void *bytes, size_t n, const char *name);
void film_close(struct film *f); /* NULL is a no-op */

/* Decode episode i < n_episodes; film_episode_free releases it. ERR_CORRUPT, ERR_NOMEM. */
int film_episode(const struct film *f, size_t i, struct film_episode *out);
void film_episode_free(struct film_episode *e);

static inline const struct film_unit *film_frame(const struct film_episode *e, size_t frame)
{
    return e->unit + frame * e->n_units;
}

/* A frame as the scene it was recorded from, rounded. */
void film_scene(const struct film_episode *e, size_t frame, struct scene *out);

/* Play episode i again with this program's engine. *differs: -1 if every frame is the same,
 * else the first that is not, and `what` says how. ERR_CONFIG if the engine refuses settings. */
int film_check(const struct film *f, size_t i, long *differs, char *what, size_t n);

/* ------------------------------------------------------------------------------- pictures */

/* Outline of a kind of units as an SVG path around (0,0), facing east, about one wide either
 * way. Any name has one. */
const char *film_shape(const char *kind);

int film_json(const struct film *f, FILE *out); /* docs/replay.md */
/* One page with everything in it: no network, no other file. */
int film_html(const struct film *f, FILE *out);
/* Key frames side by side: the first, the last, and between them after equal shares of all the
 * damage done. frames 2..FILM_STRIP. */
enum { FILM_STRIP = 24 };
int film_svg(const struct film *f, size_t episode, size_t frames, FILE *out);

/* One frame for a terminal. colour: ANSI colours; without, case tells the sides apart. */
void film_text(const struct film *f, const struct film_episode *e, size_t frame, bool colour,
               FILE *out);

#endif
