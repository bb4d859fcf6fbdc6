/* SPDX-License-Identifier: Apache-2.0 */
/* lbf.h - Level-Based Foraging: the rules, apart from the environment interface.
 *
 * Players and foods with levels stand on a grid. Players walk, and load foods together: those
 * who load one at the same step need the food's level between them. Rules: Papoudakis et al.,
 * "Benchmarking Multi-Agent Deep Reinforcement Learning Algorithms in Cooperative Tasks" (2021),
 * as their public environment plays them, versions 1.1.1 ("v2") and 2.0.0 ("v3");
 * docs/foraging.md lists what a reader of the paper would not expect.
 *
 * Plain data without pointers: copy it, compare it, put it anywhere. Nothing allocates. Calls on
 * one struct are one thread's at a time. Row 0 is the northern border, column 0 the western. */
#ifndef ENV_LBF_H
#define ENV_LBF_H

#include "base/rng.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LBF_SIDE_MAX = 64, LBF_PLAYERS_MAX = 32, LBF_FOODS_MAX = 64 };
enum { LBF_LEVEL_MAX = 65535, LBF_STEPS_MAX = 1000000000 };

enum lbf_action { LBF_NONE, LBF_NORTH, LBF_SOUTH, LBF_WEST, LBF_EAST, LBF_LOAD, LBF_ACTIONS };

/* How spawned foods get their level; m is the sum of the three lowest player levels. */
enum lbf_version {
    LBF_V2 = 2, /* 1 to m - 1, or 1 where m is 1 */
    LBF_V3 = 3, /* 1 to m */
};

struct lbf_task {
    int rows, cols;           /* 3..LBF_SIDE_MAX cells */
    int players;              /* N, 1..LBF_PLAYERS_MAX */
    int foods;                /* most there can be, 1..LBF_FOODS_MAX: slots of an observation */
    int sight;                /* cells in each direction; a side of the grid sees everything */
    int limit;                /* steps of an episode, 1..LBF_STEPS_MAX */
    int level_min, level_max; /* of players, at spawn */
    enum lbf_version version; /* at spawn */
    bool coop;                /* at spawn every food's level is m: it takes three, or all */
    bool show_levels;         /* observations hold the players' levels */
    bool normalize;           /* rewards for all of an episode's food sum to 1 */
    double penalty;           /* what a load in vain costs each who took part, >= 0 */
};

struct lbf_thing {
    int row, col, level;
};

struct lbf {
    struct lbf_task task;
    struct lbf_thing player[LBF_PLAYERS_MAX];
    struct lbf_thing food[LBF_FOODS_MAX]; /* those left, by row, then column */
    int n_foods;
    int food_level_sum; /* at the start of the episode: the divisor of normalised rewards */
    int step;           /* steps done */
    double reward[LBF_PLAYERS_MAX]; /* of the last step, per player */
};

/* The task of a name: Foraging[-<sight>s]-<s>x<s>-<p>p-<f>f[-coop]-v2|v3, everything it does not
 * say as the standard tasks have it. ERR_CONFIG with err_text() and the nearest standard name. */
int lbf_task_parse(struct lbf_task *out, const char *name);
/* The tasks of published results, NULL-terminated. Any other name that parses plays, too. */
const char *const *lbf_task_names(void);

/* Take over a task; an episode then begins with lbf_spawn or lbf_place. ERR_INVAL with
 * err_text() for numbers outside the bounds above. */
int lbf_init(struct lbf *l, const struct lbf_task *task);
/* A new episode with random places and levels. Foods that find no place are left out. */
void lbf_spawn(struct lbf *l, struct rng *rng);
/* An episode from a given situation: player [N], food [n_foods] in any order. ERR_INVAL with
 * err_text() if something stands outside the grid or on a food; *l is then as before. */
int lbf_place(struct lbf *l, const struct lbf_thing *player, const struct lbf_thing *food,
              int n_foods, int food_level_sum, int step);

/* Bit a is set if action a would do something for player i, or is LBF_NONE. */
unsigned lbf_valid(const struct lbf *l, int i);
/* Where a thing would be after an action that moves it, border or not; else where it is. */
struct lbf_thing lbf_moved(const struct lbf_thing *from, unsigned action);
/* One step: action [N] of enum lbf_action; one that is not valid counts as LBF_NONE. Fills
 * l->reward. True if the episode is over: no food left, or the step limit. */
bool lbf_step(struct lbf *l, const uint8_t *action);

/* Observation of player i into out [lbf_obs_len]: `foods` triples (row, col, level) of the foods
 * in sight, then N of (row, col, level) or (row, col), itself first; places relative to the
 * north-western corner of what it sees. Unused: -1, -1 and level 0. */
size_t lbf_obs_len(const struct lbf_task *t);
void lbf_observe(const struct lbf *l, int i, float *out);

#endif
