/* SPDX-License-Identifier: Apache-2.0 */
/* test_battle.c - whole battles: same seed same bits, what lists say, and that no random play
 * makes units overlap or cross a wall. */
#include "battle_stage.h"
#include "suite.h"

#include "base/err.h"

#include <stdlib.h>

/* Random orders, many of which the contract would never allow. */
static void random_orders(struct battle *b, struct rng *r)
{
    for (int i = 0; i < b->n_agents; i++) {
        int j = (int)rng_below(r, (uint32_t)b->n);
        if (!b->alive[i])
            continue;
        switch (rng_below(r, 8)) {
        case 0:
            order_stop(b, i);
            break;
        case 1:
        case 2:
        case 3:
            order_move(b, i, b->x[i] + (double)rng_below(r, 5) - 2,
                       b->y[i] + (double)rng_below(r, 5) - 2);
            break;
        case 4:
            order_unit(b, i, ABILITY_HEAL, j);
            break;
        case 5:
            break; /* nothing new */
        default:
            order_unit(b, i, ABILITY_ATTACK, b->n_agents + j % (b->n - b->n_agents));
        }
    }
}

/* FNV-1a over the fields of a unit list; tags count from the spawn. */
static uint64_t hash_units(uint64_t h, const struct battle *b)
{
    struct smac_unit u[SMAC_UNITS_MAX];
    size_t n = battle_units(b, u);
    for (size_t k = 0; k < n; k++) {
        uint64_t tag = u[k].tag - b->tag_base;
        float f[] = {u[k].x,      u[k].y,      u[k].health,
                     u[k].shield, u[k].energy, u[k].weapon_cooldown};
        uint32_t word[8] = {(uint32_t)tag, u[k].unit_type};
        memcpy(word + 2, f, sizeof f);
        for (int w = 0; w < 8; w++)
            h = (h ^ word[w]) * UINT64_C(0x100000001b3);
    }
    return h;
}

static uint64_t play(struct battle *b, uint64_t seed, int steps)
{
    struct rng r;
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    battle_reset(b, seed);
    rng_seed(&r, seed + 1);
    h = hash_units(h, b);
    for (int s = 0; s < steps; s++) {
        random_orders(b, &r);
        battle_step(b, SCENARIO_LOOPS_PER_STEP);
        h = hash_units(h, b);
    }
    return h;
}

START_TEST(an_episode_depends_on_its_seed_and_not_on_what_was_played_before)
{
    size_t maps;
    const struct scenario *sc = &scenario_table(&maps)[_i];
    struct battle *a, *b;
    struct battle_options o = {.shuffle_enemy_order = true, .spawn_rotation = true};
    ck_assert_int_eq(battle_open(&a, sc->name, &o), 0);
    ck_assert_int_eq(battle_open(&b, sc->name, &o), 0);
    uint64_t fresh = play(a, 7, 40);
    for (uint64_t seed = 20; seed < 23; seed++)
        play(b, seed, 25);
    ck_assert_msg(play(b, 7, 40) == fresh, "%s: another episode after others", sc->name);
    ck_assert_msg(play(a, 7, 40) == fresh, "%s: another episode the second time", sc->name);
    ck_assert_msg(play(a, 8, 40) != fresh, "%s: another seed, the same episode", sc->name);
    battle_close(a);
    battle_close(b);
}
END_TEST

START_TEST(an_unknown_map_is_refused)
{
    struct battle *b = NULL;
    struct battle_options o = {0};
    ck_assert_int_eq(battle_open(&b, "3marines", &o), ERR_CONFIG);
    ck_assert_ptr_null(b);
    battle_close(NULL);
}
END_TEST

START_TEST(tags_are_new_at_every_spawn_and_old_ones_obey_no_more)
{
    struct smac_unit before[SMAC_UNITS_MAX], after[SMAC_UNITS_MAX];
    struct battle *b;
    struct battle_options o = {0};
    ck_assert_int_eq(battle_open(&b, "2s3z", &o), 0);
    battle_reset(b, 1);
    ck_assert_uint_eq(battle_units(b, before), 10);
    battle_reset(b, 1);
    ck_assert_uint_eq(battle_units(b, after), 10);
    for (size_t i = 0; i < 10; i++) {
        for (size_t j = 0; j < 10; j++)
            ck_assert_uint_ne(before[i].tag, after[j].tag);
    }
    struct smac_command old = {
        .unit_tag = before[0].tag, .ability = ABILITY_MOVE, .target = 1, .x = 5, .y = 16};
    battle_order(b, &old, 1);
    ck_assert_int_eq(b->task[0], TASK_IDLE);
    battle_close(b);
}
END_TEST

START_TEST(lists_tell_owners_types_and_own_cooldowns_only)
{
    struct smac_unit u[SMAC_UNITS_MAX];
    struct battle *b;
    struct battle_options o = {0};
    ck_assert_int_eq(battle_open(&b, "MMM", &o), 0);
    battle_reset(b, 3);
    for (int s = 0; s < 20; s++) {
        for (int i = 0; i < b->n_agents; i++)
            order_unit(b, i, ABILITY_ATTACK, 10 + i);
        battle_step(b, 8);
    }
    size_t n = battle_units(b, u);
    bool reloading = false;
    for (size_t k = 0; k < n; k++) {
        ck_assert(u[k].owner == 1 || u[k].owner == 2);
        if (u[k].owner == 2) {
            ck_assert(u[k].unit_type == 48 || u[k].unit_type == 51 || u[k].unit_type == 54);
            ck_assert_float_eq(u[k].weapon_cooldown, 0);
        } else {
            ck_assert_uint_ge(u[k].unit_type, COPY_BASE);
            ck_assert_uint_le(u[k].unit_type, COPY_BASE + 2);
            reloading |= u[k].weapon_cooldown > 0;
        }
        ck_assert_float_gt(u[k].health, 0);
    }
    ck_assert(reloading);
    int dead = 0;
    for (int i = 0; i < b->n; i++)
        dead += !b->alive[i];
    ck_assert_int_gt(dead, 0);
    ck_assert_uint_eq(n, (size_t)(b->n - dead)); /* the dead vanish at once */
    battle_close(b);
}
END_TEST

START_TEST(the_list_order_of_the_opponents_is_drawn_per_episode_if_asked)
{
    for (int shuffled = 0; shuffled < 2; shuffled++) {
        struct smac_unit u[SMAC_UNITS_MAX];
        struct battle *b;
        struct battle_options o = {.shuffle_enemy_order = shuffled};
        ck_assert_int_eq(battle_open(&b, "8m", &o), 0);
        int moved = 0;
        for (uint64_t seed = 0; seed < 5; seed++) {
            battle_reset(b, seed);
            battle_units(b, u);
            for (int k = 0; k < 16; k++)
                moved += u[k].tag - b->tag_base != (uint64_t)k;
        }
        ck_assert_int_eq(moved > 0, shuffled);
        battle_close(b);
    }
}
END_TEST

START_TEST(the_map_images_are_in_the_forms_of_the_game)
{
    struct smac_game_info g;
    struct battle *b;
    struct battle_options o = {0};
    ck_assert_int_eq(battle_open(&b, "2c_vs_64zg", &o), 0);
    battle_game_info(b, &g);
    ck_assert_uint_eq(g.pathing_bits, 1);
    ck_assert_uint_eq(g.pathing_bytes, 128);
    for (uint32_t y = 0; y < 32; y++) {
        for (uint32_t x = 0; x < 32; x++) {
            bool open = g.pathing[(y * 32 + x) / 8] >> (7 - x % 8) & 1;
            ck_assert_int_eq(open, terrain_open(b->sc->terrain, (int)x, (int)y, false));
        }
    }
    ck_assert_uint_eq(g.height_bits, 8);
    ck_assert_uint_eq(g.height_bytes, 1024);
    const uint8_t *row16 = g.height + (31 - 16) * 32, *row9 = g.height + (31 - 9) * 32;
    ck_assert_uint_eq(row9[16], 128);       /* level 1; the rows that mirror it are level 0 */
    ck_assert_uint_gt(row16[16], row9[16]); /* the plateau above the low ground */
    ck_assert(row16[5] > row9[16] && row16[5] < row16[16]);
    battle_close(b);
}
END_TEST

/* Nobody overlaps, nobody stands in a wall, nothing leaves its bounds. */
static void check_state(const struct battle *b, const char *map)
{
    for (int i = 0; i < b->n; i++) {
        if (!b->alive[i])
            continue;
        const struct kind *k = kind_of(b, i);
        ck_assert_msg(unit_free(b, i, b->x[i], b->y[i]), "%s loop %u: unit %d at %.4f %.4f",
                      map, b->now, i, b->x[i], b->y[i]);
        ck_assert(b->health[i] > 0 && b->health[i] <= k->health);
        ck_assert(b->shield[i] >= 0 && b->shield[i] <= k->shield);
        ck_assert(b->energy[i] >= -1e-9 && b->energy[i] <= k->energy_max);
        ck_assert(b->cooldown[i] >= 0 && b->cooldown[i] <= k->period + 2);
    }
}

/* 2e5 steps over the 23 maps, the small ones most. */
START_TEST(random_play_keeps_units_apart_and_out_of_the_walls)
{
    size_t maps;
    const struct scenario *sc = &scenario_table(&maps)[_i];
    uint32_t units = sc->n_agents + sc->n_enemies;
    int steps = units <= 10 ? 18500 : units <= 20 ? 7500 : units <= 40 ? 2000 : 1000;
    struct rng r;
    struct battle *b;
    struct battle_options o = {.shuffle_enemy_order = true,
                               .spawn_rotation = _i % 2,
                               .position_noise = _i % 3 ? 0 : 0.1};
    ck_assert_int_eq(battle_open(&b, sc->name, &o), 0);
    rng_seed(&r, 11);
    for (int s = 0; s < steps; s++) {
        int agents = 0, enemies = 0;
        for (int i = 0; i < b->n; i++) {
            agents += b->alive[i] && !b->side[i];
            enemies += b->alive[i] && b->side[i];
        }
        if (!agents || !enemies || b->now > 8 * sc->episode_limit)
            battle_reset(b, rng_u64(&r));
        random_orders(b, &r);
        battle_step(b, SCENARIO_LOOPS_PER_STEP);
        if (s % 8 == 0)
            check_state(b, sc->name);
    }
    battle_close(b);
}
END_TEST

int main(void)
{
    size_t maps;
    scenario_table(&maps);
    Suite *s = suite_create("battle");
    TCase *t = tcase_create("battles");
    tcase_set_timeout(t, 60);
    tcase_add_loop_test(t, an_episode_depends_on_its_seed_and_not_on_what_was_played_before, 0,
                        (int)maps);
    tcase_add_test(t, an_unknown_map_is_refused);
    tcase_add_test(t, tags_are_new_at_every_spawn_and_old_ones_obey_no_more);
    tcase_add_test(t, lists_tell_owners_types_and_own_cooldowns_only);
    tcase_add_test(t, the_list_order_of_the_opponents_is_drawn_per_episode_if_asked);
    tcase_add_test(t, the_map_images_are_in_the_forms_of_the_game);
    tcase_add_loop_test(t, random_play_keeps_units_apart_and_out_of_the_walls, 0, (int)maps);
    suite_add_tcase(s, t);
    return run_suite(s);
}
