/* SPDX-License-Identifier: Apache-2.0 */
/* lbf.c - the rules of Level-Based Foraging.
 *
 * WHY NO GRID  There are a few foods and players on a hundred cells and more. Two short arrays
 * answer every question by a scan that stays in the cache, and foods sorted by row and column
 * are in the order of observations.
 *
 * INVARIANTS
 *   1. food[] is sorted by (row, col), at most one per cell
 *   2. no player stands on a food; two players may share a cell (see move)
 *
 * REWARDS are one division of two exact integers in double precision, as published: levels
 * are bounded so that all products stay below 2^53.
 *
 * COST  A step is N * (N + foods) comparisons, observing all players the same. */
#include "env/lbf.h"

#include "base/config.h"
#include "base/err.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    SPAWN_TRIES = 1000,
    STANDARD_LIMIT = 50,
    LIFTERS = 3 /* m is the sum of so many levels */
};

/* --- tasks and their names --- */

/* First the three of a published comparison on v2 rules, then the usual benchmark set. */
static const char *const names[] = {
    "Foraging-2s-8x8-2p-2f-coop-v2",
    "Foraging-10x10-4p-3f-v2",
    "Foraging-10x10-3p-5f-v2",
    "Foraging-8x8-2p-2f-coop-v3",
    "Foraging-2s-8x8-2p-2f-coop-v3",
    "Foraging-10x10-3p-3f-v3",
    "Foraging-2s-10x10-3p-3f-v3",
    "Foraging-15x15-3p-5f-v3",
    "Foraging-15x15-4p-3f-v3",
    "Foraging-15x15-4p-5f-v3",
    NULL,
};

const char *const *lbf_task_names(void)
{
    return names;
}

static int check_count(const char *what, int value, int low, int high)
{
    if (value >= low && value <= high)
        return 0;
    return err_set(ERR_INVAL, "%s: %d, possible are %d to %d", what, value, low, high);
}

static int check_task(const struct lbf_task *t)
{
    int rc = check_count("rows", t->rows, 3, LBF_SIDE_MAX);
    if (!rc)
        rc = check_count("columns", t->cols, 3, LBF_SIDE_MAX);
    if (!rc)
        rc = check_count("players", t->players, 1, LBF_PLAYERS_MAX);
    if (!rc)
        rc = check_count("foods", t->foods, 1, LBF_FOODS_MAX);
    if (!rc)
        rc = check_count("sight", t->sight, 0, LBF_SIDE_MAX);
    if (!rc)
        rc = check_count("steps of an episode", t->limit, 1, LBF_STEPS_MAX);
    if (!rc)
        rc = check_count("highest player level", t->level_max, 1, LBF_LEVEL_MAX);
    if (!rc)
        rc = check_count("lowest player level", t->level_min, 1, t->level_max);
    if (!rc && t->players > t->rows * t->cols)
        rc = err_set(ERR_INVAL, "players: %d do not fit into %d cells", t->players,
                     t->rows * t->cols);
    if (!rc && !(t->penalty >= 0 && isfinite(t->penalty)))
        rc = err_set(ERR_INVAL, "penalty: %g, it has to be 0 or more", t->penalty);
    return rc;
}

/* The readers below move *at on and return true, or leave it and return false. */

static bool word(const char **at, const char *expected)
{
    size_t n = strlen(expected);
    if (strncmp(*at, expected, n) != 0)
        return false;
    *at += n;
    return true;
}

/* At most four digits; without leading zeros, so that a task has one name. */
static bool number(const char **at, int *out)
{
    const char *p = *at;
    int value = 0;
    while (*p >= '0' && *p <= '9' && p - *at < 5)
        value = value * 10 + (*p++ - '0');
    if (p == *at || p - *at > 4 || **at == '0')
        return false;
    *at = p;
    *out = value;
    return true;
}

static bool read_name(struct lbf_task *t, const char *at)
{
    int version;
    if (!word(&at, "Foraging-") || !number(&at, &t->rows))
        return false;
    bool limited = word(&at, "s-");
    if (limited) {
        t->sight = t->rows;
        if (!number(&at, &t->rows))
            return false;
    }
    if (!word(&at, "x") || !number(&at, &t->cols) || !word(&at, "-") ||
        !number(&at, &t->players) || !word(&at, "p-") || !number(&at, &t->foods) ||
        !word(&at, "f-"))
        return false;
    if (!limited)
        t->sight = t->rows;
    t->coop = word(&at, "coop-");
    if (!word(&at, "v") || !number(&at, &version) || version < LBF_V2 || version > LBF_V3)
        return false;
    t->version = (enum lbf_version)version;
    return *at == '\0';
}

int lbf_task_parse(struct lbf_task *out, const char *name)
{
    struct lbf_task t = {
        .limit = STANDARD_LIMIT,
        .level_min = 1,
        .level_max = 2,
        .show_levels = true,
        .normalize = true,
    };
    if (!read_name(&t, name)) {
        const char *near = nearest_name(name, names, sizeof names / sizeof names[0]);
        return err_set(ERR_CONFIG,
                       "env.map: '%s' is no foraging task "
                       "(Foraging[-<sight>s]-<s>x<s>-<p>p-<f>f[-coop]-v2|v3); %s '%s'%s",
                       name, near ? "did you mean" : "for example", near ? near : names[0],
                       near ? "?" : "");
    }
    if (t.rows != t.cols)
        return err_set(ERR_CONFIG,
                       "env.map: '%s': the grid has to be square, for example %dx%d", name,
                       t.rows, t.rows);
    if (check_task(&t))
        return err_set(ERR_CONFIG, "env.map: '%s': %s", name, err_text());
    *out = t;
    return 0;
}

int lbf_init(struct lbf *l, const struct lbf_task *task)
{
    int rc = check_task(task);
    if (!rc)
        *l = (struct lbf){.task = *task};
    return rc;
}

/* --- where things are --- */

struct lbf_thing lbf_moved(const struct lbf_thing *from, unsigned action)
{
    struct lbf_thing to = *from;
    to.row += (action == LBF_SOUTH) - (action == LBF_NORTH);
    to.col += (action == LBF_EAST) - (action == LBF_WEST);
    return to;
}

static bool is_at(const struct lbf_thing *x, int row, int col)
{
    return x->row == row && x->col == col;
}

/* Is a player among the first n at this cell? */
static bool player_at(const struct lbf *l, int n, int row, int col)
{
    for (int i = 0; i < n; i++)
        if (is_at(&l->player[i], row, col))
            return true;
    return false;
}

static bool touch(const struct lbf_thing *a, const struct lbf_thing *b)
{
    return abs(a->row - b->row) + abs(a->col - b->col) == 1;
}

/* Directions, as bits of actions, in which food lies at distance one. */
static unsigned food_around(const struct lbf *l, const struct lbf_thing *p)
{
    unsigned found = 0;
    for (int k = 0; k < l->n_foods; k++) {
        const struct lbf_thing *f = &l->food[k];
        if (touch(p, f))
            found |= 1U << (f->row < p->row   ? LBF_NORTH
                            : f->row > p->row ? LBF_SOUTH
                            : f->col < p->col ? LBF_WEST
                                              : LBF_EAST);
    }
    return found;
}

/* The food a loader means: the first in the order north, south, west, east. */
static int food_of(const struct lbf *l, const struct lbf_thing *p)
{
    unsigned around = food_around(l, p);
    bug_on(!around);
    struct lbf_thing cell = lbf_moved(p, (unsigned)__builtin_ctz(around));
    int k = 0;
    while (!is_at(&l->food[k], cell.row, cell.col))
        k++;
    return k;
}

static void insert_food(struct lbf *l, struct lbf_thing f)
{
    int k = l->n_foods++;
    for (; k > 0 && (l->food[k - 1].row > f.row ||
                     (l->food[k - 1].row == f.row && l->food[k - 1].col > f.col));
         k--)
        l->food[k] = l->food[k - 1];
    l->food[k] = f;
}

static void remove_food(struct lbf *l, int k)
{
    l->n_foods--;
    memmove(&l->food[k], &l->food[k + 1], (size_t)(l->n_foods - k) * sizeof l->food[0]);
}

/* --- beginnings --- */

/* Between the three weakest players, or all if there are fewer. */
static int weakest_together(const struct lbf *l)
{
    int low[LIFTERS + 1], n = 0, sum = 0; /* ascending; one place to shift into */
    for (int i = 0; i < l->task.players; i++) {
        int level = l->player[i].level, k = n;
        for (; k > 0 && low[k - 1] > level; k--)
            low[k] = low[k - 1];
        low[k] = level;
        n += n < LIFTERS;
    }
    for (int k = 0; k < n; k++)
        sum += low[k];
    return sum;
}

/* Foods keep apart: none in the 3 x 3 block, none within two cells along row or column. */
static bool crowded(const struct lbf *l, int row, int col)
{
    for (int k = 0; k < l->n_foods; k++) {
        int dr = abs(l->food[k].row - row), dc = abs(l->food[k].col - col);
        if ((dr <= 1 && dc <= 1) || (dr == 0 && dc <= 2) || (dc == 0 && dr <= 2))
            return true;
    }
    return false;
}

static int random_in(struct rng *rng, int low, int high)
{
    return low + (int)rng_below(rng, (uint32_t)(high - low + 1));
}

static void spawn_players(struct lbf *l, struct rng *rng)
{
    const struct lbf_task *t = &l->task;
    for (int i = 0; i < t->players; i++) {
        struct lbf_thing p;
        do { /* a cell is free: check_task */
            p.row = random_in(rng, 0, t->rows - 1);
            p.col = random_in(rng, 0, t->cols - 1);
        } while (player_at(l, i, p.row, p.col));
        p.level = random_in(rng, t->level_min, t->level_max);
        l->player[i] = p;
    }
}

static void spawn_foods(struct lbf *l, struct rng *rng)
{
    const struct lbf_task *t = &l->task;
    int strength = weakest_together(l);
    int high = t->version == LBF_V2 && !t->coop && strength > 1 ? strength - 1 : strength;
    int low = t->coop ? high : 1;
    l->n_foods = l->food_level_sum = 0;
    for (int tries = 0; tries < SPAWN_TRIES && l->n_foods < t->foods; tries++) {
        int row = random_in(rng, 1, t->rows - 2), col = random_in(rng, 1, t->cols - 2);
        if (crowded(l, row, col) || player_at(l, t->players, row, col))
            continue;
        int level = random_in(rng, low, high);
        insert_food(l, (struct lbf_thing){row, col, level});
        l->food_level_sum += level;
    }
}

void lbf_spawn(struct lbf *l, struct rng *rng)
{
    l->step = 0;
    memset(l->reward, 0, sizeof l->reward);
    spawn_players(l, rng);
    spawn_foods(l, rng);
}

static int check_thing(const struct lbf_task *t, const char *what, int i,
                       const struct lbf_thing *x)
{
    if (x->row < 0 || x->row >= t->rows || x->col < 0 || x->col >= t->cols)
        return err_set(ERR_INVAL, "%s %d: row %d, column %d is outside the grid", what, i,
                       x->row, x->col);
    if (x->level < 1 || x->level > LBF_LEVEL_MAX)
        return err_set(ERR_INVAL, "%s %d: level %d, possible are 1 to %d", what, i, x->level,
                       LBF_LEVEL_MAX);
    return 0;
}

int lbf_place(struct lbf *l, const struct lbf_thing *player, const struct lbf_thing *food,
              int n_foods, int food_level_sum, int step)
{
    struct lbf next = {.task = l->task, .food_level_sum = food_level_sum, .step = step};
    int rc = check_count("foods", n_foods, 0, l->task.foods);
    if (!rc)
        rc = check_count("sum of food levels", food_level_sum, n_foods ? 1 : 0,
                         LBF_FOODS_MAX * LBF_LEVEL_MAX);
    if (!rc)
        rc = check_count("steps done", step, 0, LBF_STEPS_MAX);
    for (int i = 0; i < l->task.players && !rc; i++) {
        rc = check_thing(&l->task, "player", i, &player[i]);
        next.player[i] = player[i];
    }
    for (int k = 0; k < n_foods && !rc; k++) {
        rc = check_thing(&l->task, "food", k, &food[k]);
        for (int j = 0; j < k && !rc; j++)
            if (is_at(&food[j], food[k].row, food[k].col))
                rc = err_set(ERR_INVAL, "food %d lies where food %d does", k, j);
        if (!rc && player_at(&next, l->task.players, food[k].row, food[k].col))
            rc = err_set(ERR_INVAL, "food %d lies where a player stands", k);
        if (!rc)
            insert_food(&next, food[k]);
    }
    if (!rc)
        *l = next;
    return rc;
}

/* --- one step --- */

unsigned lbf_valid(const struct lbf *l, int i)
{
    const struct lbf_thing *p = &l->player[i];
    unsigned food = food_around(l, p);
    unsigned inside = (unsigned)(p->row > 0) << LBF_NORTH |
                      (unsigned)(p->row < l->task.rows - 1) << LBF_SOUTH |
                      (unsigned)(p->col > 0) << LBF_WEST |
                      (unsigned)(p->col < l->task.cols - 1) << LBF_EAST;
    return 1U << LBF_NONE | (inside & ~food) | (unsigned)(food != 0) << LBF_LOAD;
}

/* Everyone whose target cell is no one else's target goes there, all at once. So two may swap
 * and one may follow another; and where a mover is stopped by a clash, whoever alone targets
 * the cell it could not leave ends up beside it in that cell. */
static void move(struct lbf *l, const uint8_t *action)
{
    int n = l->task.players;
    struct lbf_thing target[LBF_PLAYERS_MAX];
    for (int i = 0; i < n; i++)
        target[i] = lbf_moved(&l->player[i], action[i]);
    for (int i = 0; i < n; i++) {
        bool alone = true;
        for (int j = 0; j < n; j++)
            alone = alone && (j == i || !is_at(&target[j], target[i].row, target[i].col));
        if (alone)
            l->player[i] = target[i];
    }
}

static double share(const struct lbf *l, int level, int food, int group)
{
    double points = (double)level * food;
    return l->task.normalize ? points / ((double)group * l->food_level_sum) : points;
}

/* Player `first` and all who wait (bits) at its food try to load it; they wait no longer. */
static void load_one(struct lbf *l, int first, uint32_t *waiting)
{
    int k = food_of(l, &l->player[first]), together = 0;
    struct lbf_thing food = l->food[k];
    uint32_t group = 0;
    for (int i = first; i < l->task.players; i++) {
        if (*waiting >> i & 1 && touch(&l->player[i], &food)) {
            group |= 1U << i;
            together += l->player[i].level;
        }
    }
    bool lifted = together >= food.level;
    for (int i = first; i < l->task.players; i++)
        if (group >> i & 1)
            l->reward[i] = lifted ? share(l, l->player[i].level, food.level, together)
                                  : 0 - l->task.penalty;
    if (lifted)
        remove_food(l, k);
    *waiting &= ~group;
}

static void load(struct lbf *l, const uint8_t *action)
{
    uint32_t waiting = 0;
    for (int i = 0; i < l->task.players; i++)
        waiting |= (uint32_t)(action[i] == LBF_LOAD) << i;
    while (waiting)
        load_one(l, __builtin_ctz(waiting), &waiting);
}

bool lbf_step(struct lbf *l, const uint8_t *action)
{
    uint8_t act[LBF_PLAYERS_MAX];
    for (int i = 0; i < l->task.players; i++) {
        bug_on(action[i] >= LBF_ACTIONS);
        act[i] = lbf_valid(l, i) >> action[i] & 1 ? action[i] : LBF_NONE;
    }
    l->step++;
    memset(l->reward, 0, (size_t)l->task.players * sizeof l->reward[0]);
    move(l, act);
    load(l, act);
    return l->n_foods == 0 || l->step >= l->task.limit;
}

/* --- what a player sees --- */

size_t lbf_obs_len(const struct lbf_task *t)
{
    return 3 * (size_t)t->foods + (t->show_levels ? 3 : 2) * (size_t)t->players;
}

/* Write one slot of 2 or 3 entries; returns the next. */
static float *put(float *out, int row, int col, int level, bool with_level)
{
    *out++ = (float)row;
    *out++ = (float)col;
    if (with_level)
        *out++ = (float)level;
    return out;
}

void lbf_observe(const struct lbf *l, int i, float *out)
{
    const struct lbf_task *t = &l->task;
    const struct lbf_thing *me = &l->player[i];
    int v = t->sight, foods = 0, players = 1;
    int r0 = me->row > v ? me->row - v : 0, c0 = me->col > v ? me->col - v : 0;
    for (int k = 0; k < l->n_foods; k++) {
        const struct lbf_thing *f = &l->food[k];
        if (f->row < r0 || f->row > me->row + v || f->col < c0 || f->col > me->col + v)
            continue;
        out = put(out, f->row - r0, f->col - c0, f->level, true);
        foods++;
    }
    for (; foods < t->foods; foods++)
        out = put(out, -1, -1, 0, true);
    out = put(out, me->row - r0, me->col - c0, me->level, t->show_levels);
    for (int j = 0; j < t->players; j++) {
        const struct lbf_thing *p = &l->player[j];
        int row = p->row - r0, col = p->col - c0;
        /* Not the window of foods: near the low borders it reaches farther (docs/foraging.md). */
        if (j == i || row < 0 || row > 2 * v || col < 0 || col > 2 * v)
            continue;
        out = put(out, row, col, p->level, t->show_levels);
        players++;
    }
    for (; players < t->players; players++)
        out = put(out, -1, -1, 0, t->show_levels);
}
