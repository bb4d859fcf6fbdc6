/* SPDX-License-Identifier: Apache-2.0 */
/* lbf_env.c - the environment "lbf": lbf.h as teams train on it.
 *
 * CHOICES  The reward is the sum over the players. All six actions are always available: what
 * an invalid one does (nothing) is for the policy to learn. Running out of steps is a terminal
 * end like taking all food, because published learners do not bootstrap there. The state is
 * all observations, one after the other.
 *
 * SCRIPTS  They see the whole grid, whatever the players' sight, and walk a shortest way around
 * foods and players. Two who keep stepping into each other's way would do so for ever, so one
 * action in twenty is drawn.
 *   forage        all go for the food nearest to the whole team (sum of distances) that the
 *                 team can lift, and load once those beside it can lift it
 *   forage_alone  each goes for the nearest food it can lift alone, and stands if there is none */
#include "lbf_env.h"

#include "env/lbf.h"

#include "base/err.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LBF_BUILD "lbf-1"

enum { STRAY = 20 /* a script's action in so many is random */ };

struct env {
    struct lbf lbf;
    struct rng rng; /* of this episode: its start, then the strays of scripts */
    bool over;      /* the episode has ended: reset first */
    char map[CONFIG_NAME];
};

/* --- specification --- */

static int spec(const struct config *cfg, struct env_spec *out)
{
    struct lbf_task t;
    struct env_spec s = {.team_reward = true, .actions = LBF_ACTIONS};
    int rc = lbf_task_parse(&t, cfg->env.map);
    if (rc)
        return rc;
    s.n_agents = (size_t)t.players;
    s.obs = lbf_obs_len(&t);
    s.state = s.n_agents * s.obs;
    s.episode_limit = (size_t)t.limit;
    snprintf(s.build, sizeof s.build, "%s", LBF_BUILD);
    snprintf(s.line, sizeof s.line, "lbf map=%s N=%zu O=%zu A=%zu G=%zu limit=%zu build=%s",
             cfg->env.map, s.n_agents, s.obs, s.actions, s.state, s.episode_limit, s.build);
    digest128_of(s.hash, s.line, strlen(s.line));
    *out = s;
    return 0;
}

/* --- life --- */

static int reset(struct env *e, uint64_t seed)
{
    rng_seed(&e->rng, seed);
    lbf_spawn(&e->lbf, &e->rng);
    e->over = false;
    return 0;
}

static int open_env(const struct config *cfg, struct env **out)
{
    struct lbf_task t;
    int rc = lbf_task_parse(&t, cfg->env.map);
    if (rc)
        return rc;
    struct env *e = calloc(1, sizeof *e);
    if (!e)
        return ERR_NOMEM;
    rc = lbf_init(&e->lbf, &t);
    bug_on(rc); /* parsed tasks are within bounds */
    snprintf(e->map, sizeof e->map, "%s", cfg->env.map);
    reset(e, 0);
    *out = e;
    return 0;
}

static void close_env(struct env *e)
{
    free(e);
}

/* --- steps --- */

static int advance(struct env *e, const uint8_t *action, struct env_step *out)
{
    double sum = 0;
    e->over = lbf_step(&e->lbf, action);
    for (int i = 0; i < e->lbf.task.players; i++)
        sum += e->lbf.reward[i];
    *out = (struct env_step){
        .reward = (float)sum,
        .end = e->over ? ENV_TERMINAL : ENV_RUNNING,
        .won = e->lbf.n_foods == 0,
    };
    return 0;
}

static int check_running(const struct env *e)
{
    return e->over ? err_set(ERR_INVAL, "lbf: the episode has ended, reset first") : 0;
}

static int step(struct env *e, const uint8_t *action, struct env_step *out)
{
    int rc = check_running(e);
    if (rc)
        return rc;
    for (int i = 0; i < e->lbf.task.players; i++)
        if (action[i] >= LBF_ACTIONS)
            return err_set(ERR_INVAL, "lbf: agent %d: action %d, there are 0 to %d", i,
                           action[i], LBF_ACTIONS - 1);
    return advance(e, action, out);
}

static void observe(struct env *e, float *obs, uint8_t *avail, float *state)
{
    const struct lbf *l = &e->lbf;
    size_t n = (size_t)l->task.players, len = lbf_obs_len(&l->task);
    for (size_t i = 0; i < n; i++)
        lbf_observe(l, (int)i, obs + i * len);
    memset(avail, 1, n * LBF_ACTIONS);
    if (state)
        memcpy(state, obs, n * len * sizeof *obs);
}

/* --- scripted policies --- */

static const uint8_t opposite[LBF_ACTIONS] = {[LBF_NORTH] = LBF_SOUTH,
                                              [LBF_SOUTH] = LBF_NORTH,
                                              [LBF_WEST] = LBF_EAST,
                                              [LBF_EAST] = LBF_WEST};

static int distance(const struct lbf_thing *a, const struct lbf_thing *b)
{
    return abs(a->row - b->row) + abs(a->col - b->col);
}

/* Levels of all players, or of those at distance one from a place. */
static int strength(const struct lbf *l, const struct lbf_thing *beside)
{
    int sum = 0;
    for (int i = 0; i < l->task.players; i++)
        if (!beside || distance(&l->player[i], beside) == 1)
            sum += l->player[i].level;
    return sum;
}

/* The first step of a shortest way to a cell beside the food, around foods and players as they
 * stand now; LBF_NONE if there is no way. Found from the food backwards. */
static uint8_t toward(const struct lbf *l, int i, const struct lbf_thing *food)
{
    enum { SIDE = LBF_SIDE_MAX + 2 }; /* a wall all around */
    bool shut[SIDE][SIDE];
    struct lbf_thing queue[SIDE * SIDE];
    int head = 0, tail = 0;
    memset(shut, true, sizeof shut);
    for (int row = 1; row <= l->task.rows; row++)
        memset(&shut[row][1], false, (size_t)l->task.cols);
    for (int k = 0; k < l->n_foods; k++)
        shut[l->food[k].row + 1][l->food[k].col + 1] = true;
    for (int j = 0; j < l->task.players; j++)
        shut[l->player[j].row + 1][l->player[j].col + 1] = j != i;
    for (queue[tail++] = *food; head < tail; head++) {
        for (uint8_t a = LBF_NORTH; a <= LBF_EAST; a++) {
            struct lbf_thing next = lbf_moved(&queue[head], a);
            bool *closed = &shut[next.row + 1][next.col + 1];
            if (*closed)
                continue;
            if (distance(&next, &l->player[i]) == 0)
                return opposite[a];
            *closed = true;
            queue[tail++] = next;
        }
    }
    return LBF_NONE;
}

/* The nearest food of at most `level`, to player i or (i < 0) to all; NULL if there is none. */
static const struct lbf_thing *nearest_food(const struct lbf *l, int i, int level)
{
    const struct lbf_thing *best = NULL;
    int least = INT32_MAX;
    for (int k = 0; k < l->n_foods; k++) {
        const struct lbf_thing *food = &l->food[k];
        int way = 0;
        for (int j = 0; j < l->task.players; j++)
            way += i < 0 || i == j ? distance(&l->player[j], food) : 0;
        if (food->level <= level && way < least) {
            least = way;
            best = food;
        }
    }
    return best;
}

static uint8_t forage(const struct lbf *l, int i)
{
    const struct lbf_thing *food = nearest_food(l, -1, strength(l, NULL));
    if (!food)
        return LBF_NONE;
    if (distance(&l->player[i], food) > 1)
        return toward(l, i, food);
    return strength(l, food) >= food->level ? LBF_LOAD : LBF_NONE;
}

static uint8_t forage_alone(const struct lbf *l, int i)
{
    const struct lbf_thing *food = nearest_food(l, i, l->player[i].level);
    if (!food)
        return LBF_NONE;
    return distance(&l->player[i], food) > 1 ? toward(l, i, food) : LBF_LOAD;
}

static int step_script(struct env *e, const char *policy, struct env_step *out)
{
    uint8_t action[LBF_PLAYERS_MAX];
    uint8_t (*script)(const struct lbf *, int) = strcmp(policy, "forage") == 0 ? forage
                                                 : strcmp(policy, "forage_alone") == 0
                                                     ? forage_alone
                                                     : NULL;
    if (!script)
        return err_set(ERR_NOTFOUND,
                       "no scripted policy '%s' for lbf; there are forage and forage_alone",
                       policy);
    int rc = check_running(e);
    if (rc)
        return rc;
    for (int i = 0; i < e->lbf.task.players; i++)
        action[i] = rng_below(&e->rng, STRAY) ? script(&e->lbf, i)
                                              : (uint8_t)rng_below(&e->rng, LBF_ACTIONS);
    return advance(e, action, out);
}

/* --- for people --- */

/* Players are letters, foods their level (beyond 9: '#'), a shared cell is '*'. */
static void draw(const struct lbf *l, char grid[LBF_SIDE_MAX][LBF_SIDE_MAX + 1])
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef";
    _Static_assert(sizeof letters - 1 == LBF_PLAYERS_MAX, "a letter for every player");
    for (int row = 0; row < l->task.rows; row++) {
        memset(grid[row], '.', (size_t)l->task.cols);
        grid[row][l->task.cols] = '\0';
    }
    for (int k = 0; k < l->n_foods; k++) {
        const struct lbf_thing *f = &l->food[k];
        grid[f->row][f->col] = (char)(f->level <= 9 ? '0' + f->level : '#');
    }
    for (int i = 0; i < l->task.players; i++) {
        char *cell = &grid[l->player[i].row][l->player[i].col];
        *cell = *cell == '.' ? letters[i] : '*';
    }
}

static int describe(struct env *e, char *out, size_t n)
{
    char grid[LBF_SIDE_MAX][LBF_SIDE_MAX + 1];
    const struct lbf *l = &e->lbf;
    FILE *text = fmemopen(out, n, "w");
    if (!text)
        return ERR_NOMEM;
    fprintf(text, "%s step %d of %d: %d foods left, player levels", e->map, l->step,
            l->task.limit, l->n_foods);
    for (int i = 0; i < l->task.players; i++)
        fprintf(text, " %d", l->player[i].level);
    fputc('\n', text);
    draw(l, grid);
    for (int row = 0; row < l->task.rows; row++)
        fprintf(text, "%s\n", grid[row]);
    bool cut = fflush(text) || ferror(text);
    long used = ftell(text);
    fclose(text);
    if (cut || used < 0 || (size_t)used >= n)
        return err_set(ERR_INVAL, "lbf: a description needs more than %zu bytes", n);
    return 0;
}

const struct env_class env_lbf = {
    .name = "lbf",
    .spec = spec,
    .open = open_env,
    .close = close_env,
    .reset = reset,
    .step = step,
    .observe = observe,
    .step_script = step_script,
    .maps = lbf_task_names,
    .describe = describe,
};
