/* SPDX-License-Identifier: Apache-2.0 */
/* lbf_golden.c - replays recordings of the published Level-Based Foraging through our rules.
 *
 *   lbf_golden FILE...
 *
 * A recording ("lbf-trace-1") holds a task, a situation to start from, and for every step the
 * players' actions and what came of them: places, foods left, rewards, the end, observations
 * and valid actions. All of it has to be equal, rewards to the last bit.
 *
 * One line per file: "ok NAME ..." or "FAIL NAME step K: what, got, expected". Exit status 0;
 * 1 at the first difference; 65 for a file that is not a recording; 64 without arguments. */
#include "recording.h"

#include "env/lbf.h"

#include "base/err.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OBS_MAX = 3 * (LBF_FOODS_MAX + LBF_PLAYERS_MAX) };

struct run {
    struct recording rec;
    struct lbf lbf;
    double total[LBF_PLAYERS_MAX];
    size_t steps, compared;
};

/* --- reading --- */

/* A list with one entry per player, or of any length (players < 0). */
static const json_t *list(struct run *r, const json_t *o, const char *key, int players)
{
    const json_t *v = field(&r->rec, o, key, JSON_ARRAY);
    if (!v || players < 0 || json_array_size(v) == (size_t)players)
        return v;
    stop(&r->rec, MALFORMED, "'%s' is not one entry per player", key);
    return NULL;
}

static enum outcome read_int(struct run *r, const json_t *v, const char *what, int *out)
{
    if (!json_is_integer(v) || json_integer_value(v) < INT32_MIN ||
        json_integer_value(v) > INT32_MAX)
        return stop(&r->rec, MALFORMED, "'%s' is not a whole number", what);
    *out = (int)json_integer_value(v);
    return SAME;
}

static enum outcome read_switch(struct run *r, const json_t *o, const char *key, bool *out)
{
    const json_t *v = json_object_get(o, key);
    if (!json_is_boolean(v))
        return stop(&r->rec, MALFORMED, "'%s' is neither true nor false", key);
    *out = json_is_true(v);
    return SAME;
}

/* {"row": ., "col": ., "level": .} or [row, col] or [row, col, level]; no level leaves it. */
static enum outcome read_thing(struct run *r, const json_t *v, struct lbf_thing *out)
{
    const json_t *level = json_is_array(v) ? json_array_get(v, 2) : json_object_get(v, "level");
    if (read_int(r, json_is_array(v) ? json_array_get(v, 0) : json_object_get(v, "row"), "row",
                 &out->row) ||
        read_int(r, json_is_array(v) ? json_array_get(v, 1) : json_object_get(v, "col"), "col",
                 &out->col))
        return r->rec.outcome;
    return level ? read_int(r, level, "level", &out->level) : SAME;
}

/* Whatever order they are written in, foods are compared by row, then column. */
static int by_place(const void *a, const void *b)
{
    const struct lbf_thing *x = a, *y = b;
    return x->row != y->row ? x->row - y->row : x->col - y->col;
}

static enum outcome read_foods(struct run *r, const json_t *o, struct lbf_thing *out, int *n)
{
    const json_t *foods = list(r, o, "foods", -1);
    if (!foods)
        return r->rec.outcome;
    if (json_array_size(foods) > LBF_FOODS_MAX)
        return stop(&r->rec, MALFORMED, "%zu foods, more than %d", json_array_size(foods),
                    LBF_FOODS_MAX);
    *n = (int)json_array_size(foods);
    for (int k = 0; k < *n; k++) {
        out[k].level = 0;
        if (read_thing(r, json_array_get(foods, (size_t)k), &out[k]))
            return r->rec.outcome;
    }
    qsort(out, (size_t)*n, sizeof *out, by_place);
    return SAME;
}

static enum outcome read_players(struct run *r, const json_t *o, struct lbf_thing *out)
{
    int n = r->lbf.task.players;
    const json_t *players = list(r, o, "players", n);
    for (int i = 0; players && i < n; i++)
        if (read_thing(r, json_array_get(players, (size_t)i), &out[i]))
            break;
    return r->rec.outcome;
}

static enum outcome read_task(struct run *r, const json_t *root)
{
    struct lbf_task t = {.level_min = 1, .level_max = 1, .version = LBF_V3};
    const json_t *task = field(&r->rec, root, "task", JSON_OBJECT);
    const struct {
        const char *key;
        int *at;
    } numbers[] = {
        {"rows", &t.rows},          {"cols", &t.cols},   {"n_players", &t.players},
        {"max_num_food", &t.foods}, {"sight", &t.sight}, {"max_episode_steps", &t.limit},
    };
    if (!task)
        return r->rec.outcome;
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        if (read_int(r, json_object_get(task, numbers[i].key), numbers[i].key, numbers[i].at))
            return r->rec.outcome;
    const json_t *penalty = json_object_get(task, "penalty");
    if (!json_is_number(penalty))
        return stop(&r->rec, MALFORMED, "'penalty' is not a number");
    t.penalty = json_number_value(penalty);
    int obs_len;
    if (read_switch(r, task, "observe_agent_levels", &t.show_levels) ||
        read_switch(r, task, "normalize_reward", &t.normalize) ||
        read_int(r, json_object_get(task, "obs_len"), "obs_len", &obs_len))
        return r->rec.outcome;
    if (lbf_init(&r->lbf, &t))
        return stop(&r->rec, MALFORMED, "%s", err_text());
    if (obs_len < 0 || lbf_obs_len(&t) != (size_t)obs_len)
        return stop(&r->rec, DIFFERENT, "obs_len: got %zu, expected %d", lbf_obs_len(&t),
                    obs_len);
    return SAME;
}

static enum outcome read_situation(struct run *r, const json_t *initial)
{
    struct lbf_thing player[LBF_PLAYERS_MAX] = {0}, food[LBF_FOODS_MAX] = {0};
    int n_foods, sum, step;
    if (read_players(r, initial, player) || read_foods(r, initial, food, &n_foods) ||
        read_int(r, json_object_get(initial, "food_level_sum"), "food_level_sum", &sum) ||
        read_int(r, json_object_get(initial, "step"), "step", &step))
        return r->rec.outcome;
    if (lbf_place(&r->lbf, player, food, n_foods, sum, step))
        return stop(&r->rec, MALFORMED, "%s", err_text());
    return SAME;
}

/* --- comparing --- */

static enum outcome expect_players(struct run *r, const json_t *step)
{
    struct lbf_thing e[LBF_PLAYERS_MAX];
    memcpy(e, r->lbf.player, sizeof e); /* levels need not be there */
    if (read_players(r, step, e))
        return r->rec.outcome;
    for (int i = 0; i < r->lbf.task.players; i++) {
        const struct lbf_thing *p = &r->lbf.player[i];
        if (memcmp(p, &e[i], sizeof *p) != 0)
            return stop(&r->rec, DIFFERENT,
                        "player %d: got (%d, %d) level %d, expected (%d, %d) level %d", i,
                        p->row, p->col, p->level, e[i].row, e[i].col, e[i].level);
    }
    return SAME;
}

static enum outcome expect_foods(struct run *r, const json_t *step)
{
    struct lbf_thing e[LBF_FOODS_MAX];
    int n;
    if (read_foods(r, step, e, &n))
        return r->rec.outcome;
    if (n != r->lbf.n_foods)
        return stop(&r->rec, DIFFERENT, "foods: got %d, expected %d", r->lbf.n_foods, n);
    for (int k = 0; k < n; k++) {
        const struct lbf_thing *f = &r->lbf.food[k];
        if (memcmp(f, &e[k], sizeof *f) != 0)
            return stop(&r->rec, DIFFERENT,
                        "food %d: got (%d, %d) level %d, expected (%d, %d) level %d", k, f->row,
                        f->col, f->level, e[k].row, e[k].col, e[k].level);
    }
    return SAME;
}

static bool same_bits(double a, double b)
{
    return a >= b && a <= b;
}

/* One number per player, to the last bit. */
static enum outcome expect_amounts(struct run *r, const json_t *o, const char *key,
                                   const double *got)
{
    int n = r->lbf.task.players;
    const json_t *amounts = list(r, o, key, n);
    for (int i = 0; amounts && i < n; i++) {
        const json_t *v = json_array_get(amounts, (size_t)i);
        if (!json_is_number(v))
            return stop(&r->rec, MALFORMED, "'%s' of player %d is not a number", key, i);
        if (!same_bits(got[i], json_number_value(v)))
            return stop(&r->rec, DIFFERENT, "%s of player %d: got %.17g, expected %.17g", key,
                        i, got[i], json_number_value(v));
    }
    return r->rec.outcome;
}

static enum outcome expect_observation(struct run *r, int i, const json_t *expected)
{
    float got[OBS_MAX];
    size_t n = lbf_obs_len(&r->lbf.task);
    if (!json_is_array(expected))
        return stop(&r->rec, MALFORMED, "obs of player %d is not a list", i);
    if (json_array_size(expected) != n)
        return stop(&r->rec, DIFFERENT, "obs of player %d: got %zu entries, expected %zu", i, n,
                    json_array_size(expected));
    lbf_observe(&r->lbf, i, got);
    for (size_t k = 0; k < n; k++) {
        const json_t *v = json_array_get(expected, k);
        if (!json_is_number(v))
            return stop(&r->rec, MALFORMED, "obs of player %d: entry %zu is not a number", i,
                        k);
        if (!same_bits((double)got[k], json_number_value(v)))
            return stop(&r->rec, DIFFERENT, "obs of player %d, entry %zu: got %g, expected %g",
                        i, k, (double)got[k], json_number_value(v));
    }
    r->compared += n;
    return SAME;
}

static enum outcome expect_valid(struct run *r, int i, const json_t *expected)
{
    unsigned e = 0, got = lbf_valid(&r->lbf, i);
    if (!json_is_array(expected))
        return stop(&r->rec, MALFORMED, "valid actions of player %d are not a list", i);
    for (size_t k = 0; k < json_array_size(expected); k++) {
        int a;
        if (read_int(r, json_array_get(expected, k), "valid action", &a))
            return r->rec.outcome;
        if (a < 0 || a >= LBF_ACTIONS)
            return stop(&r->rec, MALFORMED, "valid actions of player %d: there is no %d", i, a);
        e |= 1U << a;
    }
    for (int a = 0; a < LBF_ACTIONS; a++)
        if ((got ^ e) >> a & 1)
            return stop(&r->rec, DIFFERENT, "action %d of player %d: got %s, expected %s", a, i,
                        got >> a & 1 ? "valid" : "invalid", e >> a & 1 ? "valid" : "invalid");
    return SAME;
}

static enum outcome expect_views(struct run *r, const json_t *o)
{
    int n = r->lbf.task.players;
    const json_t *obs = list(r, o, "obs", n), *valid = list(r, o, "valid_actions", n);
    for (int i = 0; obs && valid && i < n; i++)
        if (expect_observation(r, i, json_array_get(obs, (size_t)i)) ||
            expect_valid(r, i, json_array_get(valid, (size_t)i)))
            break;
    return r->rec.outcome;
}

/* --- playing --- */

static enum outcome play_step(struct run *r, const json_t *step)
{
    uint8_t action[LBF_PLAYERS_MAX];
    int n = r->lbf.task.players, a;
    bool done = false;
    const json_t *actions = list(r, step, "actions", n);
    for (int i = 0; actions && i < n; i++) {
        if (read_int(r, json_array_get(actions, (size_t)i), "actions", &a))
            return r->rec.outcome;
        if (a < 0 || a >= LBF_ACTIONS)
            return stop(&r->rec, MALFORMED, "action %d of player %d, there are 0 to %d", a, i,
                        LBF_ACTIONS - 1);
        action[i] = (uint8_t)a;
    }
    if (!actions || read_switch(r, step, "done", &done))
        return r->rec.outcome;
    bool over = lbf_step(&r->lbf, action);
    for (int i = 0; i < n; i++)
        r->total[i] += r->lbf.reward[i];
    if (expect_players(r, step) || expect_foods(r, step) ||
        expect_amounts(r, step, "rewards", r->lbf.reward))
        return r->rec.outcome;
    if (over != done)
        return stop(&r->rec, DIFFERENT, "done: got %s, expected %s", over ? "true" : "false",
                    done ? "true" : "false");
    r->steps++;
    return expect_views(r, step);
}

static enum outcome replay(struct run *r)
{
    const json_t *root = r->rec.root;
    snprintf(r->rec.where, sizeof r->rec.where, "header");
    const char *name = json_string_value(json_object_get(root, "name"));
    if (name)
        r->rec.name = name;
    const json_t *format = field(&r->rec, root, "format", JSON_STRING);
    if (!format)
        return r->rec.outcome;
    if (strcmp(json_string_value(format), "lbf-trace-1") != 0)
        return stop(&r->rec, MALFORMED, "format %s, this tool reads lbf-trace-1",
                    json_string_value(format));
    const json_t *initial = field(&r->rec, root, "initial", JSON_OBJECT);
    const json_t *steps = field(&r->rec, root, "steps", JSON_ARRAY);
    if (!initial || !steps || read_task(r, root) || read_situation(r, initial) ||
        expect_views(r, initial))
        return r->rec.outcome;
    for (size_t k = 0; k < json_array_size(steps); k++) {
        snprintf(r->rec.where, sizeof r->rec.where, "step %zu", k);
        if (play_step(r, json_array_get(steps, k)))
            return r->rec.outcome;
    }
    snprintf(r->rec.where, sizeof r->rec.where, "end");
    return json_object_get(root, "total_rewards")
               ? expect_amounts(r, root, "total_rewards", r->total)
               : SAME;
}

static enum outcome replay_file(const char *path)
{
    struct run r = {0};
    if (recording_open(&r.rec, path) == SAME && replay(&r) == SAME)
        printf("ok %s steps=%zu values=%zu\n", r.rec.name, r.steps, r.compared);
    recording_complain(&r.rec);
    recording_close(&r.rec);
    return r.rec.outcome;
}

int main(int argc, char **argv)
{
    return replay_files("lbf_golden", argc, argv, replay_file);
}
