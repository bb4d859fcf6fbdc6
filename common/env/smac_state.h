/* SPDX-License-Identifier: Apache-2.0 */
/* smac_state.h - what the files of the SMAC contract share: the struct behind smac.h.
 * smac.c moves it from frame to frame, smac_view.c reads features out of it, smac_script.c
 * acts on it. Private to the contract. */
#ifndef ENV_SMAC_STATE_H
#define ENV_SMAC_STATE_H

#include "env/smac.h"
#include "scenario.h"

enum {
    NO_TARGET = -1,
    MOVE_ACTIONS = 4, /* north, south, east, west */
    FIRST_TURN = 6,   /* first action that turns the cone of view, if there is one */
    PATHING_FEATURES = 8,
    HEIGHT_FEATURES = 9,
};
enum { ACT_NONE, ACT_STOP, ACT_NORTH, ACT_SOUTH, ACT_EAST, ACT_WEST };

/* The same for every unit type and every map, but with unit_ranges. */
#define SIGHT_RANGE 9.0
#define SHOOT_RANGE 6.0

/* The game's type ids of the opponents' units the contract treats specially. */
enum {
    TYPE_COLOSSUS = 4,
    TYPE_BANELING = 9,
    TYPE_MARINE = 48,
    TYPE_MARAUDER = 51,
    TYPE_MEDIVAC = 54,
    TYPE_ZEALOT = 73,
    TYPE_STALKER = 74
};

struct smac {
    const struct scenario *map;
    struct smac_options o;
    size_t n, m, actions; /* N, M, A */
    size_t first_target;  /* action first_target+k attacks enemy k (or heals agent k) */
    size_t move_f, enemy_f, ally_f, own_f;           /* features of each observation block */
    size_t obs_size, obs_len, state_size, state_len; /* announced, and as written */
    size_t agent_row;                                /* entries of an agent in the state */

    /* What the game said once. */
    uint32_t w, h;
    double span_x, span_y; /* extent of the playable area */
    uint8_t *walk;         /* [h][w] */
    double *height;        /* [h][w], 0..1 */

    /* The units behind the indices. Incomplete reset frames may hold any number. */
    struct smac_unit agent[SMAC_UNITS_MAX], enemy[SMAC_UNITS_MAX];
    size_t agents_seen, enemies_seen;
    uint32_t base_type; /* first of the map's own types: smallest id among the agents */
    bool healers;       /* the map has medivacs: they heal, and do not win alone */
    uint32_t medivac;   /* id of the agents' medivacs from base_type */

    /* Cones of view: directions 2 pi d / fov_actions, and the one each agent looks in. */
    double turn_x[SMAC_FOV_MAX], turn_y[SMAC_FOV_MAX], cone_cos2; /* of half the width */
    uint8_t looks[SMAC_AGENTS_MAX];

    uint8_t last_action[SMAC_AGENTS_MAX];
    bool acted;     /* false: last actions are all zero, not even action 0 */
    uint8_t *avail; /* [N][A] of the present frame */

    bool dead_agent[SMAC_UNITS_MAX], dead_enemy[SMAC_UNITS_MAX]; /* paid for already */
    bool win_counted, defeat_counted;
    uint32_t steps;
    uint64_t episodes; /* finished ones; lost connections do not count */
    double max_reward;

    int target[SMAC_AGENTS_MAX]; /* scripts: kept between steps, or NO_TARGET */
};

/* The kind of one of the agents' own unit types, or UNIT_KINDS if the id is not one. */
enum unit_kind smac_agent_kind(const struct smac *s, uint32_t unit_type);
static inline bool smac_is_medivac(const struct smac *s, const struct smac_unit *u)
{
    return s->healers && u->unit_type == s->base_type + s->medivac;
}

double smac_distance(const struct smac_unit *a, const struct smac_unit *b);
/* Fill s->avail from the present units. */
void smac_refresh_avail(struct smac *s);

static inline const uint8_t *smac_avail_of(const struct smac *s, size_t agent)
{
    return s->avail + agent * s->actions;
}

/* The order an action stands for. */
void smac_move_command(const struct smac *s, size_t agent, uint8_t action,
                       struct smac_command *out);
void smac_target_command(const struct smac *s, size_t agent, size_t target,
                         struct smac_command *out);
/* The orders of heuristic_ai, exactly as the published environment sends them. */
size_t smac_heuristic_commands(struct smac *s, struct smac_command *out);

#endif
