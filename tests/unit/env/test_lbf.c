/* SPDX-License-Identifier: Apache-2.0 */
/* test_lbf.c - one test per rule of Level-Based Foraging, on hand-made situations. */
#include "suite.h"

#include "env/lbf.h"

#include "base/err.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static struct lbf lbf;

static struct lbf_task task_of(const char *name)
{
    struct lbf_task t;
    ck_assert_msg(lbf_task_parse(&t, name) == 0, "%s", err_text());
    return t;
}

/* --- drawing situations --- */

/* Rows of cells: '.' empty, letters players in order (level in `levels`), digits foods. */
static void draw(const char *const *rows, const char *levels)
{
    struct lbf_thing player[LBF_PLAYERS_MAX], food[LBF_FOODS_MAX];
    int n_foods = 0, sum = 0, players = (int)strlen(levels), side = (int)strlen(rows[0]);
    struct lbf_task t = task_of("Foraging-8x8-2p-4f-v3");
    t.rows = t.cols = t.sight = side;
    t.players = players;
    for (int row = 0; row < side; row++) {
        for (int col = 0; col < side; col++) {
            char c = rows[row][col];
            if (c >= 'A' && c < 'A' + players)
                player[c - 'A'] = (struct lbf_thing){row, col, levels[c - 'A'] - '0'};
            if (c >= '1' && c <= '9') {
                food[n_foods++] = (struct lbf_thing){row, col, c - '0'};
                sum += c - '0';
            }
        }
    }
    ck_assert_int_eq(lbf_init(&lbf, &t), 0);
    ck_assert_msg(lbf_place(&lbf, player, food, n_foods, sum, 0) == 0, "%s", err_text());
}

/* Actions as letters: '.', N, S, W, E and L. */
static bool act(const char *actions)
{
    static const char letters[] = ".NSWEL";
    uint8_t action[LBF_PLAYERS_MAX];
    for (int i = 0; i < lbf.task.players; i++)
        action[i] = (uint8_t)(strchr(letters, actions[i]) - letters);
    return lbf_step(&lbf, action);
}

#define ck_at(player_, row_, col_)                                                             \
    ck_assert_msg(lbf.player[player_].row == (row_) && lbf.player[player_].col == (col_),      \
                  "player %d stands at (%d, %d), not at (%d, %d)", player_,                    \
                  lbf.player[player_].row, lbf.player[player_].col, row_, col_)

/* --- walking --- */

START_TEST(a_cell_two_players_want_stays_empty)
{
    draw((const char *[]){"A.B", "...", "..."}, "11");
    act("EW");
    ck_at(0, 0, 0);
    ck_at(1, 0, 2);
}
END_TEST

START_TEST(two_players_may_swap_and_one_may_follow)
{
    draw((const char *[]){"AB..", "....", "CD..", "...."}, "1111");
    act("EWEE");
    ck_at(0, 0, 1);
    ck_at(1, 0, 0);
    ck_at(2, 2, 1);
    ck_at(3, 2, 2);
}
END_TEST

START_TEST(a_player_that_stands_or_loads_blocks)
{
    draw((const char *[]){"A...", "B...", "CD1.", "...."}, "1119");
    act("S.EL");
    ck_at(0, 0, 0);
    ck_at(2, 2, 0);
    ck_assert_int_eq(lbf.n_foods, 0);
}
END_TEST

START_TEST(who_alone_wants_the_cell_of_a_stopped_mover_shares_it_and_may_leave)
{
    /* B is stopped by its clash with C; only A wants B's cell. */
    draw((const char *[]){"AB.C", "....", "....", "...."}, "111");
    act("EEW");
    ck_at(0, 0, 1);
    ck_at(1, 0, 1);
    ck_at(2, 0, 3);
    act(".S.");
    ck_at(0, 0, 1);
    ck_at(1, 1, 1);
}
END_TEST

START_TEST(players_who_share_a_cell_and_stay_stay_and_no_one_joins_them)
{
    draw((const char *[]){"AB.C", "....", "....", "...."}, "111");
    act("EEW");
    act("..W");
    act("..W");
    ck_at(0, 0, 1);
    ck_at(1, 0, 1);
    ck_at(2, 0, 2);
}
END_TEST

START_TEST(borders_and_foods_stop_players_and_other_players_do_not_count)
{
    draw((const char *[]){"AB.", ".1.", "..."}, "11");
    ck_assert_uint_eq(lbf_valid(&lbf, 0),
                      1U << LBF_NONE | 1U << LBF_SOUTH | 1U << LBF_EAST); /* onto B, too */
    ck_assert_uint_eq(lbf_valid(&lbf, 1),
                      1U << LBF_NONE | 1U << LBF_WEST | 1U << LBF_EAST | 1U << LBF_LOAD);
    act("NS");
    ck_at(0, 0, 0);
    ck_at(1, 0, 1);
    draw((const char *[]){"...", "1..", ".AB"}, "11");
    ck_assert_uint_eq(lbf_valid(&lbf, 1), 1U << LBF_NONE | 1U << LBF_NORTH | 1U << LBF_WEST);
    ck_assert_uint_eq(lbf_valid(&lbf, 0), 1U << LBF_NONE | 1U << LBF_NORTH | 1U << LBF_WEST |
                                              1U << LBF_EAST); /* diagonal food: no load */
}
END_TEST

START_TEST(an_invalid_action_counts_as_standing)
{
    /* B's load with nothing near keeps it on its cell, and A out of it. */
    draw((const char *[]){"AB..", "....", "....", "..1."}, "11");
    act("EL");
    ck_at(0, 0, 0);
    ck_at(1, 0, 1);
    ck_assert_double_eq(lbf.reward[1], 0);
}
END_TEST

/* --- loading --- */

START_TEST(players_load_together_what_none_of_them_could_and_share_by_level)
{
    draw((const char *[]){".A..", "B3C.", "....", "..1."}, "121");
    bool over = act("LL.");
    ck_assert(!over);
    ck_assert_int_eq(lbf.n_foods, 1);
    ck_assert_double_eq(lbf.reward[0], 3.0 / 12);
    ck_assert_double_eq(lbf.reward[1], 6.0 / 12);
    ck_assert_double_eq(lbf.reward[2], 0);
}
END_TEST

START_TEST(a_load_in_vain_costs_the_penalty_and_leaves_the_food)
{
    draw((const char *[]){".A..", "B4C.", "....", "...."}, "121");
    lbf.task.penalty = 0.25;
    act("LL.");
    ck_assert_int_eq(lbf.n_foods, 1);
    ck_assert_double_eq(lbf.reward[0], -0.25);
    ck_assert_double_eq(lbf.reward[1], -0.25);
    ck_assert_double_eq(lbf.reward[2], 0);
    ck_assert(act("LLL")); /* nothing is left */
    ck_assert_double_eq(lbf.reward[0] + lbf.reward[1] + lbf.reward[2], 1);
}
END_TEST

START_TEST(rewards_as_they_are_are_level_times_food)
{
    draw((const char *[]){".A..", "B3..", "....", "..2."}, "12");
    lbf.task.normalize = false;
    act("LL");
    ck_assert_double_eq(lbf.reward[0], 3);
    ck_assert_double_eq(lbf.reward[1], 6);
}
END_TEST

START_TEST(a_loader_between_foods_means_north_then_south_then_west_then_east)
{
    draw((const char *[]){".4.", "3A1", ".2."}, "9");
    static const int left[][3] = {{3, 1, 2}, {3, 1, 0}, {1, 0, 0}, {0, 0, 0}}; /* by place */
    for (int k = 0; k < 4; k++) {
        ck_assert_int_eq(act("L"), k == 3);
        ck_assert_int_eq(lbf.n_foods, 3 - k);
        for (int f = 0; f < lbf.n_foods; f++)
            ck_assert_int_eq(lbf.food[f].level, left[k][f]);
    }
}
END_TEST

START_TEST(two_foods_are_loaded_in_one_step)
{
    draw((const char *[]){"A1...", ".....", "B..C2", ".....", "....."}, "112");
    ck_assert(!act("L.."));
    draw((const char *[]){"A1...", ".....", "B..C2", ".....", "....."}, "112");
    ck_assert(act("L.L"));
    ck_assert_double_eq(lbf.reward[0], 1.0 / 3);
    ck_assert_double_eq(lbf.reward[2], 2.0 / 3);
}
END_TEST

START_TEST(an_episode_ends_at_the_step_limit_with_food_left)
{
    draw((const char *[]){"A..", "...", "..1"}, "1");
    for (int i = 1; i < 50; i++)
        ck_assert(!act("."));
    ck_assert(act("."));
    ck_assert_int_eq(lbf.n_foods, 1);
}
END_TEST

/* --- observing --- */

static float obs[3 * (LBF_FOODS_MAX + LBF_PLAYERS_MAX) + 1];

static void ck_sees(int player, const float *expected)
{
    size_t n = lbf_obs_len(&lbf.task);
    obs[n] = -7;
    lbf_observe(&lbf, player, obs);
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(obs[i] >= expected[i] && obs[i] <= expected[i],
                      "player %d, entry %zu: %g, not %g", player, i, (double)obs[i],
                      (double)expected[i]);
    ck_assert_float_eq(obs[n], -7); /* not a float more */
}

/* clang-format off */
START_TEST(with_full_sight_places_are_absolute_and_the_observer_comes_first)
{
    draw((const char *[]){"A...", ".2..", "...B", ".1.."}, "12");
    lbf.task.foods = 3;
    ck_sees(1, (const float[]){1, 1, 2,  3, 1, 1,  -1, -1, 0,  2, 3, 2,  0, 0, 1});
    act("E."); /* slots refill from the front when a food goes */
    act("L.");
    ck_sees(0, (const float[]){1, 1, 2,  3, 1, 1,  -1, -1, 0,  0, 1, 1,  2, 3, 2});
    lbf.player[0].level = 2;
    act("L.");
    ck_sees(0, (const float[]){3, 1, 1,  -1, -1, 0,  -1, -1, 0,  0, 1, 2,  2, 3, 2});
}
END_TEST

START_TEST(near_the_low_borders_players_are_seen_farther_than_foods)
{
    draw((const char *[]){"A..1..", "......", "..2.B.", "......", "..C..3", "......"}, "123");
    lbf.task.sight = 2;
    lbf.task.foods = 3;
    /* From (0, 0): foods up to row and column 2, players up to 4. */
    ck_sees(0, (const float[]){2, 2, 2,  -1, -1, 0,  -1, -1, 0,  0, 0, 1,  2, 4, 2,  4, 2, 3});
    /* From (2, 4) the window begins at (0, 2) and is whole. */
    ck_sees(1, (const float[]){0, 1, 1,  2, 0, 2,  4, 3, 3,  2, 2, 2,  4, 0, 3,  -1, -1, 0});
    /* From (4, 2): A is beyond the window's northern border. */
    ck_sees(2, (const float[]){0, 2, 2,  -1, -1, 0,  -1, -1, 0,  2, 2, 3,  0, 4, 2,  -1, -1, 0});
}
END_TEST

START_TEST(hidden_levels_leave_pairs)
{
    draw((const char *[]){"A..", ".1.", "..B"}, "12");
    lbf.task.show_levels = false;
    ck_assert_uint_eq(lbf_obs_len(&lbf.task), 3 * 4 + 2 * 2);
    lbf.task.foods = 1;
    lbf.task.sight = 1;
    ck_sees(0, (const float[]){1, 1, 1,  0, 0,  2, 2});
    ck_sees(1, (const float[]){0, 0, 1,  1, 1,  -1, -1});
}
END_TEST
/* clang-format on */

/* --- spawning --- */

enum { RESETS = 1000 };

struct spawned {
    double player_level, food_level; /* means */
    int lowest, highest;             /* food levels */
    int of_level[16];                /* foods */
};

/* Does what was spawned keep the rules of places? */
static bool well_placed(const struct lbf *l)
{
    bool good = true;
    for (int k = 0; k < l->n_foods; k++) {
        const struct lbf_thing *f = &l->food[k];
        good = good && f->row >= 1 && f->row <= l->task.rows - 2;
        good = good && f->col >= 1 && f->col <= l->task.cols - 2;
        for (int j = 0; j < k; j++)
            good = good && abs(f->row - l->food[j].row) + abs(f->col - l->food[j].col) > 2;
        for (int i = 0; i < l->task.players; i++)
            good = good && (f->row != l->player[i].row || f->col != l->player[i].col);
    }
    for (int i = 0; i < l->task.players; i++)
        for (int j = 0; j < i; j++)
            good = good && memcmp(&l->player[i], &l->player[j], 2 * sizeof(int)) != 0;
    return good;
}

/* Asserts are written to a file each: one per episode is what a test can afford. */
static struct spawned spawn_many(const char *name)
{
    struct spawned s = {.lowest = INT32_MAX};
    struct lbf_task t = task_of(name);
    struct rng rng;
    rng_seed(&rng, 20);
    ck_assert_int_eq(lbf_init(&lbf, &t), 0);
    for (int e = 0; e < RESETS; e++) {
        int sum = 0;
        lbf_spawn(&lbf, &rng);
        for (int k = 0; k < lbf.n_foods; k++) {
            int level = lbf.food[k].level;
            s.of_level[level]++;
            s.lowest = level < s.lowest ? level : s.lowest;
            s.highest = level > s.highest ? level : s.highest;
            sum += level;
        }
        ck_assert_msg(lbf.n_foods == t.foods && lbf.food_level_sum == sum && well_placed(&lbf),
                      "%s, episode %d", name, e);
        s.food_level += sum;
        for (int i = 0; i < t.players; i++)
            s.player_level += lbf.player[i].level;
    }
    s.player_level /= (double)RESETS * t.players;
    s.food_level /= (double)RESETS * t.foods;
    return s;
}

static void ck_near(double got, double expected, double margin)
{
    ck_assert_msg(fabs(got - expected) <= margin, "%g is not within %g of %g", got, margin,
                  expected);
}

/* Exact means: (E[m] + 1) / 2 on v3 and E[m] / 2 on v2, where m, the sum of the three lowest
 * levels, has mean 3 for two players, 4.5 for three and 4.0625 for four. The margin is four
 * standard deviations or more of what is measured. */
START_TEST(spawned_levels_follow_the_rules_of_v2_and_v3)
{
    static const struct {
        const char *name;
        double mean;
        int highest;
    } expected[] = {
        {"Foraging-10x10-3p-5f-v3", 2.75, 6},   {"Foraging-10x10-3p-5f-v2", 2.25, 5},
        {"Foraging-10x10-4p-3f-v3", 2.53, 6},   {"Foraging-10x10-4p-3f-v2", 2.03, 5},
        {"Foraging-15x15-4p-5f-v3", 2.53, 6},   {"Foraging-15x15-4p-5f-v2", 2.03, 5},
        {"Foraging-8x8-2p-2f-coop-v3", 3.0, 4}, {"Foraging-8x8-2p-2f-coop-v2", 3.0, 4},
        {"Foraging-10x10-1p-1f-v2", 1.0, 1}, /* m is 1 or 2: 1 in both cases */
        {"Foraging-10x10-1p-1f-v3", 1.25, 2},
    };
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        struct spawned s = spawn_many(expected[i].name);
        ck_near(s.player_level, 1.5, 0.08);
        ck_near(s.food_level, expected[i].mean, 0.12);
        ck_assert_int_eq(s.highest, expected[i].highest);
        if (!strstr(expected[i].name, "coop"))
            ck_assert_int_eq(s.lowest, 1);
    }
}
END_TEST

START_TEST(with_forced_cooperation_every_food_takes_all_of_two_players)
{
    struct spawned s = spawn_many("Foraging-2s-8x8-2p-2f-coop-v2");
    ck_near(s.of_level[2] / 2.0 / RESETS, 0.25, 0.07);
    ck_near(s.of_level[3] / 2.0 / RESETS, 0.50, 0.08);
    ck_near(s.of_level[4] / 2.0 / RESETS, 0.25, 0.07);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(lbf.food[i].level, lbf.player[0].level + lbf.player[1].level);
}
END_TEST

START_TEST(forced_cooperation_counts_the_three_weakest_players)
{
    struct lbf_task t = task_of("Foraging-10x10-5p-1f-coop-v3");
    struct rng rng;
    t.level_max = 9;
    rng_seed(&rng, 3);
    ck_assert_int_eq(lbf_init(&lbf, &t), 0);
    for (int e = 0; e < 200; e++) {
        lbf_spawn(&lbf, &rng);
        int least = INT32_MAX;
        for (int a = 0; a < 5; a++)
            for (int b = 0; b < a; b++)
                for (int c = 0; c < b; c++) {
                    int sum = lbf.player[a].level + lbf.player[b].level + lbf.player[c].level;
                    least = sum < least ? sum : least;
                }
        ck_assert_int_eq(lbf.food[0].level, least);
    }
}
END_TEST

START_TEST(foods_that_find_no_place_are_left_out)
{
    struct lbf_task t = task_of("Foraging-5x5-2p-9f-v3");
    struct rng rng;
    rng_seed(&rng, 1);
    ck_assert_int_eq(lbf_init(&lbf, &t), 0);
    for (int e = 0; e < 50; e++) {
        lbf_spawn(&lbf, &rng);
        ck_assert_int_ge(lbf.n_foods, 1);
        ck_assert_int_le(lbf.n_foods, 4);
    }
}
END_TEST

/* --- names and bounds --- */

START_TEST(names_say_all_of_a_task)
{
    struct lbf_task t = task_of("Foraging-2s-8x8-2p-3f-coop-v2");
    ck_assert(t.rows == 8 && t.cols == 8 && t.players == 2 && t.foods == 3 && t.sight == 2);
    ck_assert(t.coop && t.version == LBF_V2 && t.limit == 50 && t.normalize && t.show_levels);
    ck_assert(t.level_min == 1 && t.level_max == 2 && t.penalty <= 0);
    t = task_of("Foraging-15x15-4p-5f-v3");
    ck_assert(t.rows == 15 && t.players == 4 && t.foods == 5 && t.sight == 15);
    ck_assert(!t.coop && t.version == LBF_V3);
    for (const char *const *name = lbf_task_names(); *name; name++)
        task_of(*name);
    ck_assert_int_eq(task_of("Foraging-1s-10x10-3p-3f-v2").sight, 1);
}
END_TEST

START_TEST(other_names_are_refused_with_the_remedy)
{
    static const char *const wrong[][2] = {
        {"Foraging-8x8-2p-2f-coop", "did you mean 'Foraging-8x8-2p-2f-coop-v3'?"},
        {"Foragin-10x10-3p-3f-v3", "did you mean 'Foraging-10x10-3p-3f-v3'?"},
        {"3m", "for example 'Foraging-2s-8x8-2p-2f-coop-v2'"},
        {"", "no foraging task"},
        {"Foraging-8x8-2p-2f-v1", "v2|v3"},
        {"Foraging-8x8-2p-2f-v3-", "no foraging task"},
        {"Foraging-8x8-2p-2f-coopv3", "no foraging task"},
        {"Foraging-08x8-2p-2f-v3", "no foraging task"},
        {"Foraging-8x8-02p-2f-v3", "no foraging task"},
        {"Foraging-99999x99999-2p-2f-v3", "no foraging task"},
        {"Foraging-8x9-2p-2f-v3", "square, for example 8x8"},
        {"Foraging-2x2-2p-2f-v3", "rows: 2, possible are 3 to 64"},
        {"Foraging-65x65-2p-2f-v3", "rows: 65"},
        {"Foraging-8x8-33p-2f-v3", "players: 33, possible are 1 to 32"},
        {"Foraging-5x5-26p-2f-v3", "players: 26 do not fit into 25 cells"},
        {"Foraging-8x8-2p-65f-v3", "foods: 65"},
        {"Foraging-100s-8x8-2p-2f-v3", "sight: 100"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct lbf_task t = {.rows = -1};
        ck_assert_int_eq(lbf_task_parse(&t, wrong[i][0]), ERR_CONFIG);
        ck_assert_msg(strstr(err_text(), wrong[i][1]) != NULL, "'%s' said: %s", wrong[i][0],
                      err_text());
        ck_assert_int_eq(t.rows, -1);
    }
}
END_TEST

START_TEST(impossible_situations_are_refused_and_change_nothing)
{
    static const struct {
        struct lbf_thing player, food[2];
        int n_foods, sum, step;
        const char *says;
    } wrong[] = {
        {{3, 0, 1}, {{1, 1, 1}}, 1, 1, 0, "player 0: row 3, column 0"},
        {{0, -1, 1}, {{1, 1, 1}}, 1, 1, 0, "outside the grid"},
        {{0, 0, 0}, {{1, 1, 1}}, 1, 1, 0, "level 0"},
        {{0, 0, 1}, {{1, 3, 1}}, 1, 1, 0, "food 0: row 1, column 3"},
        {{0, 0, 1}, {{1, 1, 70000}}, 1, 1, 0, "level 70000"},
        {{1, 1, 1}, {{1, 1, 1}}, 1, 1, 0, "food 0 lies where a player stands"},
        {{0, 0, 1}, {{1, 1, 1}, {1, 1, 2}}, 2, 3, 0, "food 1 lies where food 0 does"},
        {{0, 0, 1}, {{1, 1, 1}}, 1, 0, 0, "sum of food levels"},
        {{0, 0, 1}, {{1, 1, 1}}, 1, 1, -1, "steps done"},
        {{0, 0, 1}, {{1, 1, 1}}, 3, 1, 0, "foods: 3"},
    };
    draw((const char *[]){"...", "1A.", "..."}, "1");
    lbf.task.foods = 2;
    struct lbf before = lbf;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        ck_assert_int_eq(lbf_place(&lbf, &wrong[i].player, wrong[i].food, wrong[i].n_foods,
                                   wrong[i].sum, wrong[i].step),
                         ERR_INVAL);
        ck_assert_msg(strstr(err_text(), wrong[i].says) != NULL, "%zu said: %s", i, err_text());
        ck_assert_mem_eq(&lbf, &before, sizeof lbf);
    }
    struct lbf_task t = lbf.task;
    t.penalty = (double)NAN;
    ck_assert_int_eq(lbf_init(&lbf, &t), ERR_INVAL);
    t.penalty = 0;
    t.level_min = 3;
    ck_assert_int_eq(lbf_init(&lbf, &t), ERR_INVAL);
    ck_assert_mem_eq(&lbf, &before, sizeof lbf);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("lbf");
    TCase *t = tcase_create("rules");
    tcase_add_test(t, a_cell_two_players_want_stays_empty);
    tcase_add_test(t, two_players_may_swap_and_one_may_follow);
    tcase_add_test(t, a_player_that_stands_or_loads_blocks);
    tcase_add_test(t, who_alone_wants_the_cell_of_a_stopped_mover_shares_it_and_may_leave);
    tcase_add_test(t, players_who_share_a_cell_and_stay_stay_and_no_one_joins_them);
    tcase_add_test(t, borders_and_foods_stop_players_and_other_players_do_not_count);
    tcase_add_test(t, an_invalid_action_counts_as_standing);
    tcase_add_test(t, players_load_together_what_none_of_them_could_and_share_by_level);
    tcase_add_test(t, a_load_in_vain_costs_the_penalty_and_leaves_the_food);
    tcase_add_test(t, rewards_as_they_are_are_level_times_food);
    tcase_add_test(t, a_loader_between_foods_means_north_then_south_then_west_then_east);
    tcase_add_test(t, two_foods_are_loaded_in_one_step);
    tcase_add_test(t, an_episode_ends_at_the_step_limit_with_food_left);
    tcase_add_test(t, with_full_sight_places_are_absolute_and_the_observer_comes_first);
    tcase_add_test(t, near_the_low_borders_players_are_seen_farther_than_foods);
    tcase_add_test(t, hidden_levels_leave_pairs);
    tcase_add_test(t, spawned_levels_follow_the_rules_of_v2_and_v3);
    tcase_add_test(t, with_forced_cooperation_every_food_takes_all_of_two_players);
    tcase_add_test(t, forced_cooperation_counts_the_three_weakest_players);
    tcase_add_test(t, foods_that_find_no_place_are_left_out);
    tcase_add_test(t, names_say_all_of_a_task);
    tcase_add_test(t, other_names_are_refused_with_the_remedy);
    tcase_add_test(t, impossible_situations_are_refused_and_change_nothing);
    suite_add_tcase(s, t);
    return run_suite(s);
}
