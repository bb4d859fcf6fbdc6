/* SPDX-License-Identifier: Apache-2.0 */
/* scene.h - what a battle looks like at one step: units on a ground, and who struck whom.
 *
 * For recordings and viewers. It holds what agents may not see, so nothing that learns or acts
 * reads it. Plain data in map units, y grows to the north; the caller owns both structs. */
#ifndef ENV_SCENE_H
#define ENV_SCENE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SCENE_UNITS = 256,
    SCENE_SHOTS = 1024,
    SCENE_KINDS = 32,
    SCENE_SIDE = 64, /* cells of a ground, either way */
    SCENE_NAME = 24,
};

/* How the strikes of a kind look. */
enum scene_style {
    SCENE_UNARMED,
    SCENE_BULLET,
    SCENE_MISSILE,
    SCENE_BLADE,
    SCENE_BEAM,
    SCENE_BURST, /* hits everyone around itself, once */
    SCENE_HEAL,
    SCENE_STYLES
};

struct scene_kind {
    char name[SCENE_NAME]; /* "marine" */
    char letter;           /* for text: upper case */
    uint8_t style;         /* enum scene_style */
    bool flying;
    float radius;                 /* map units; of a burst: what it reaches */
    float reach;                  /* burst: how far it burns, else 0 */
    float health, shield, energy; /* greatest, 0 = has none */
};

/* What stays as it is while an environment is open. */
struct scene_stage {
    uint32_t width, height;               /* cells of side 1 */
    char ground[SCENE_SIDE * SCENE_SIDE]; /* row y at y * width: '.' open, '#' blocked */
    uint32_t loops;                       /* ticks in a step, the unit of scene_shot.loop */
    size_t n_kinds;
    struct scene_kind kind[SCENE_KINDS];
};

enum scene_order {
    SCENE_NO_ORDER,
    SCENE_STOP,
    SCENE_MOVE,   /* to (to_x, to_y) */
    SCENE_ATTACK, /* unit `target` */
    SCENE_MEND,   /* unit `target` */
    SCENE_ORDERS
};

struct scene_unit {
    uint8_t kind, side; /* side: 0 agents, 1 opponents; both fixed in an episode */
    bool alive;         /* the dead keep their place in the list and on the ground */
    uint8_t order;      /* enum scene_order, given at the beginning of the step */
    uint16_t target;
    float x, y, health, shield, energy, to_x, to_y;
};

/* `source` struck `target` in tick `loop` of the step; a burst names itself. */
struct scene_shot {
    uint16_t source, target;
    uint32_t loop;
};

struct scene {
    size_t n_units, n_shots;
    struct scene_unit unit[SCENE_UNITS]; /* an index means one unit for a whole episode */
    struct scene_shot shot[SCENE_SHOTS]; /* of the last step, in time order but for healing */
};

#endif
