/* SPDX-License-Identifier: Apache-2.0 */
/* battle_core.h - the state of one battle, shared by the files battle*.c. Private.
 *
 * battle.c         open, close, reset, orders, the loop, unit lists
 * battle_kind.c    unit tables converted once from game seconds to loops
 * battle_terrain.c walkable cells, what fits where, straight walks, ways round walls
 * battle_spawn.c   where units appear
 * battle_gen.c     teams and places drawn for an episode (SMACv2)
 * battle_move.c    steps, headings, contact
 * battle_round.c   the way round those who stand
 * battle_fight.c   attack cycle, hits under way, damage, death
 * battle_script.c  targets and orders of the opponents
 * battle_scene.c   the picture of it
 *
 * Units live in parallel arrays indexed 0..n-1 in script order: agents 0..n_agents-1, then the
 * opponents. An index is never used again within an episode. */
#ifndef ENV_BATTLE_CORE_H
#define ENV_BATTLE_CORE_H

#include "env/battle.h"
#include "scenario.h"
#include "turn.h"

#include "base/rng.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum {
    SIDE = SCENARIO_SIDE,
    CELLS = SIDE * SIDE,
    UNITS = SMAC_AGENTS_MAX + SMAC_ENEMIES_MAX,
    HITS = 1024,                 /* blows under way: missiles, second hits, colossus beams */
    SHOTS = SCENE_SHOTS - UNITS, /* strikes noted in one battle_step */
    RINGS = 80,                  /* spawn rings of radius j/8 */
    RING_PLACES = 1 + (RINGS - 1) * (RINGS + 12) / 2, /* ring j > 0 has j + 6 places */
    FIELDS = 32,                                      /* distance fields kept */
    TURN = 16,       /* headings are counted in sixteenths of a turn */
    COPY_BASE = 1935 /* first unit type id after the game's own catalogue */
};

_Static_assert(UNITS % 4 == 0 && UNITS <= 128, "units_within takes fours into two words");

#define LOOPS_PER_SECOND ((double)SCENARIO_LOOPS_PER_SECOND)
#define NOWHERE 1e6f /* farther than any reach from the map */

/* Units collide within their layer only. */
enum layer { LAYER_GROUND, LAYER_COLOSSUS, LAYER_AIR, LAYERS };

enum task {
    TASK_IDLE,
    TASK_MOVE,    /* to goal */
    TASK_ATTACK,  /* aim; agents only */
    TASK_HEAL,    /* aim; agents only */
    TASK_ADVANCE, /* attack-move to goal */
    TASK_HUNT,    /* attack the other side's group: aim is its member pursued */
};

/* A unit kind in loops: times in loops, speeds per loop. */
struct kind {
    enum layer layer;
    unsigned attributes;
    double health, shield, armor, energy, energy_max;
    double step, accel;             /* map units per loop; per loop and loop, 0 = at once */
    double radius, separation, fit; /* fit: 0.7 of the inner radius */
    double life_regen, energy_regen;
    bool armed, air, suicide, explodes, line;
    double damage, bonus, structure_damage, period, range, slop, scan, missile, splash;
    unsigned bonus_attr, hits;
    int windup, backswing, hit_gap;
    double line_length, line_width; /* halves */
    int line_delay;
    double heal_rate, heal_cost, heal_start, heal_range, heal_scan;
    unsigned heal_targets;
};

/* A blow that lands later. Who is hit is settled when it leaves. */
struct hit {
    uint32_t due; /* loop */
    int16_t source, target;
    bool needs_source; /* the second blow of a zealot dies with it */
    double amount;
};

/* Steps from every cell to one target cell, over walkable cells, 4 neighbours. */
struct field {
    int cell; /* target, -1 = empty */
    bool cliff;
    uint16_t steps[CELLS];
};
enum { STEPS_NONE = 0xffff };

struct terrain {
    uint32_t rows[LAYERS][SIDE];  /* bit x of row y: open */
    uint32_t clear[LAYERS][SIDE]; /* open, and so are the four cells around it */
    bool box[LAYERS];             /* the open cells are one rectangle: no walk needs a detour */
    struct field field[FIELDS];
    uint8_t pathing[CELLS / 8], height[CELLS];
};

struct battle {
    const struct scenario *sc;
    struct battle_options opt;
    struct kind kinds[UNIT_KINDS];
    struct terrain terrain;
    struct rng rng;
    uint32_t now; /* loops since the spawn */
    uint64_t tag_base;
    int n, n_agents;
    double shield_step, delay_lo, delay_span;
    int shield_delay, help_period;

    /* Fixed for an episode. */
    enum unit_kind kind[UNITS];
    uint8_t side[UNITS]; /* 0 agents, 1 opponents */
    bool scripted[UNITS];
    int listed[UNITS];                  /* list order of the opponents */
    double sep[UNITS], max_sep[LAYERS]; /* separation radii */
    double max_radius;                  /* of all kinds */

    /* Moves. */
    bool alive[UNITS];
    double x[UNITS], y[UNITS], health[UNITS], shield[UNITS], energy[UNITS];
    double cooldown[UNITS]; /* loops until the next attack may start */
    int shield_wait[UNITS]; /* loops until shields grow again */
    double speed[UNITS];    /* of units that accelerate, per loop */
    enum task task[UNITS];
    double goal_x[UNITS], goal_y[UNITS];
    int aim[UNITS];    /* unit an order names */
    int target[UNITS]; /* acquired by automatic targeting, -1 = none */
    int windup[UNITS], windup_target[UNITS], backswing[UNITS];
    uint32_t help_at[UNITS]; /* loop from which it may call for help again */
    bool healing[UNITS];
    int8_t prefer[UNITS];       /* side tried first when the way is blocked: +1 or -1 */
    int stuck[UNITS];           /* loops without a free heading */
    uint32_t moved_at[UNITS];   /* loop of the last move */
    uint32_t round_next[UNITS]; /* loop in which it goes on round those who stand */
    struct {
        int from, to; /* cells this was found for; from -1 = nothing found yet */
        bool straight;
        double x, y; /* waypoint when not straight */
    } way[UNITS];

    /* Positions for units_within: single precision, the dead NOWHERE. */
    float near_x[UNITS], near_y[UNITS];

    int turn[UNITS], n_turn; /* living units, shuffled every loop */
    struct hit hit[HITS];
    int n_hits;
    int boom[UNITS], n_boom; /* killed units whose explosion is due */

    /* Strikes of the last battle_step, for pictures: nothing in the engine reads them. */
    struct scene_shot shot[SHOTS];
    int n_shots;
    uint32_t shots_from; /* `now` before that step */

    double ring_x[RING_PLACES], ring_y[RING_PLACES];
};

/* battle_kind.c */
void kind_init(struct kind *k, const struct unit_data *u);

/* battle_terrain.c */
void terrain_init(struct terrain *t, const struct terrain_data *data);
bool terrain_edge_fits(const struct terrain *t, const struct kind *k, double x, double y);
/* The usual case, amid open cells, costs one look: `fit` is less than a cell. */
static inline bool terrain_fits(const struct terrain *t, const struct kind *k, double x,
                                double y)
{
    if (x >= 0 && y >= 0 && x < SIDE && y < SIDE && (t->clear[k->layer][(int)y] >> (int)x & 1))
        return true;
    return terrain_edge_fits(t, k, x, y);
}
/* The first `length` of the walk from (x0,y0) towards (x1,y1) fits, sampled every 0.25. */
bool terrain_straight(const struct terrain *t, const struct kind *k, double x0, double y0,
                      double x1, double y1, double length);
/* Next point of a way from (x,y) to (tx,ty) round the walls; false if there is none. */
bool terrain_waypoint(struct terrain *t, const struct kind *k, double x, double y, double tx,
                      double ty, double *wx, double *wy);
/* Move (tx,ty) back towards (x,y) until it fits. */
void terrain_pull_back(const struct terrain *t, const struct kind *k, double x, double y,
                       double *tx, double *ty);
static inline int terrain_cell(double x, double y)
{
    int cx = x < 0 ? 0 : (int)x, cy = y < 0 ? 0 : (int)y;
    return (cy < SIDE ? cy : SIDE - 1) * SIDE + (cx < SIDE ? cx : SIDE - 1);
}

/* battle_gen.c */
/* Teams and places of an episode of a generated map: [n_agents] and [n_enemies] single units. */
void gen_draw(struct battle *b, struct spawn_group *agents, struct spawn_group *enemies);

/* battle_spawn.c */
void spawn_rings(struct battle *b);
void spawn_units(struct battle *b);

/* A set of units, taken in order of their indices. */
struct unit_set {
    uint64_t word[2];
};

/* The living among units [from,to) whose centres may be within `reach` of (x,y): all that are,
 * and a few that are a hair farther. Four at a time in single precision: what is left is worth
 * an exact look. The sum of rounding errors on a map of 32 is below SLACK. */
static inline struct unit_set units_within(const struct battle *b, double x, double y,
                                           double reach, int from, int to)
{
    static const double SLACK = 1e-3;
    struct unit_set set = {{0, 0}};
    const float cx = (float)x, cy = (float)y;
    const float reach2 = (float)((reach + SLACK) * (reach + SLACK));
    for (int k = from & ~3; k < to; k += 4) {
        uint64_t four = 0;
#ifdef __SSE2__
        __m128 dx = _mm_sub_ps(_mm_loadu_ps(&b->near_x[k]), _mm_set1_ps(cx));
        __m128 dy = _mm_sub_ps(_mm_loadu_ps(&b->near_y[k]), _mm_set1_ps(cy));
        __m128 d2 = _mm_add_ps(_mm_mul_ps(dx, dx), _mm_mul_ps(dy, dy));
        four = (uint64_t)_mm_movemask_ps(_mm_cmple_ps(d2, _mm_set1_ps(reach2)));
#else
        for (int u = 0; u < 4; u++) {
            float dx = b->near_x[k + u] - cx, dy = b->near_y[k + u] - cy;
            four |= (uint64_t)(dx * dx + dy * dy <= reach2) << u;
        }
#endif
        set.word[k / 64] |= four << (k % 64);
    }
    /* Whole fours were compared: those before `from` and at or after `to` are not asked for. */
    set.word[from / 64] &= UINT64_MAX << (from % 64);
    set.word[to / 64] &= ~(UINT64_MAX << (to % 64));
    return set;
}

/* The next unit, taken out of the set, or -1. */
static inline int unit_next(struct unit_set *s)
{
    for (int w = 0; w < 2; w++) {
        if (s->word[w]) {
            int i = w * 64 + __builtin_ctzll(s->word[w]);
            s->word[w] &= s->word[w] - 1;
            return i;
        }
    }
    return -1;
}

/* A unit that a step could touch: where it is, and the square of the distance below which a
 * step bumps into it: contact, and closer than now. */
struct near {
    double x, y, bump2;
    int id;
};

/* battle_move.c */
void unit_place(struct battle *b, int i, double x, double y); /* anywhere, no questions */
void unit_lift(struct battle *b, int i);                      /* out of everyone's way */
/* One loop's step towards (tx,ty), ending `stop` short of it. True if the unit moved. */
bool unit_walk(struct battle *b, int i, double tx, double ty, double stop);
bool unit_free(const struct battle *b, int i, double x, double y); /* fits, touches nobody */

/* battle_round.c */
extern const struct sixteenth {
    double c, s;
} sixteenth[TURN];                               /* cosine and sine, counter-clockwise */
bool unit_stands(const struct battle *b, int i); /* it has not moved for a few loops */
double round_ahead(double length);               /* how far a unit looks on a way of `length` */
/* Sixteenths of a turn, towards its preferred side, off its direct heading (ux,uy) at which i
 * passes those of `near` who stand in its way; all that it could touch within `ahead` are
 * there. 0 = none does, TURN = closed in. `fresh`: it starts going round and may change the
 * preferred side for the shorter way. */
int round_find(struct battle *b, int i, const struct near *near, int n, double ux, double uy,
               double ahead, bool fresh);

/* battle_fight.c */
double edge_distance(const struct battle *b, int i, int j);
bool unit_can_hit(const struct battle *b, int i, int j);
bool unit_in_range(const struct battle *b, int i, int j, double extra);
void unit_engage(struct battle *b, int i, int j); /* attack j, walking there if need be */
bool unit_windup(struct battle *b, int i);        /* true: busy winding up */
bool unit_heal(struct battle *b, int i, int j);   /* true: healed this loop or on the way */
void fight_hits(struct battle *b);                /* blows due in this loop */
void unit_damage(struct battle *b, int source, int i, double amount);
void unit_kill(struct battle *b, int i);
void fight_settle(struct battle *b); /* explosions of the killed, and of those they kill */

/* battle_script.c */
void script_order(struct battle *b); /* the one order of an episode */
void script_unit(struct battle *b, int i);
void script_attacked(struct battle *b, int i, int source);

/* Past the room of the list the picture is short of a strike, the battle of nothing. */
static inline void note_shot(struct battle *b, int source, int target)
{
    if (b->n_shots < SHOTS)
        b->shot[b->n_shots++] = (struct scene_shot){.source = (uint16_t)source,
                                                    .target = (uint16_t)target,
                                                    .loop = b->now - b->shots_from - 1};
}

/* fmin and fmax without their rules for NaN, which keep them from being one instruction. */
static inline double least(double a, double b)
{
    return a < b ? a : b;
}

static inline double most(double a, double b)
{
    return a > b ? a : b;
}

static inline const struct kind *kind_of(const struct battle *b, int i)
{
    return &b->kinds[b->kind[i]];
}

#endif
