/* SPDX-License-Identifier: Apache-2.0 */
/* test_smacv2.c - the contract on generated maps: who sees whom, what vectors hold. */
#include "smac_stage.h"
#include "suite.h"

#include "base/err.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static struct stage st;

/* Two units of ours in the middle, three far away; opponents where the test puts them. */
static void open_contract(const char *map, const struct smac_options *o, uint32_t type,
                          uint32_t their_type)
{
    st = (struct stage){0};
    stage_map(&st);
    st.info.copy_base = OWN_TYPE;
    ck_assert_int_eq(smac_open(&st.smac, map, o), 0);
    smac_spec(st.smac, &st.spec);
    ck_assert_int_eq(smac_game_info(st.smac, &st.info), 0);
    for (uint64_t i = 0; i < 5; i++)
        stage_add(&st, unit(1, type, 10 + i, i < 2 ? 16 : 1, i < 2 ? 16 : (float)i, 40));
    for (uint64_t k = 0; k < 5; k++)
        stage_add(&st, unit(2, their_type, 20 + k, 31, 31, 40));
}

/* Index of the agent behind a tag. */
static size_t index_of(uint64_t tag)
{
    uint64_t tags[5], enemies[5];
    size_t i = 0;
    smac_tags(st.smac, tags, enemies);
    while (tags[i] != tag)
        i++;
    return i;
}

/* Put opponent k at a place relative to agent 0 and look again. */
static void put(uint64_t k, double dx, double dy)
{
    struct smac_unit *e = by_tag(&st, 20 + k);
    e->x = (float)(16 + dx);
    e->y = (float)(16 + dy);
    stage_frame(&st);
}

static void gen_options(struct smac_options *o)
{
    smac_options_default(o);
    o->obs_own_pos = o->unit_ranges = true;
}

/* In alphabetical order from the first id that the map adds. */
enum { OWN_MARAUDER = OWN_TYPE + 3, OWN_MARINE, OWN_MEDIVAC, OWN_STALKER, OWN_ZEALOT };

START_TEST(sight_and_reach_depend_on_the_unit_type)
{
    static const struct {
        const char *map;
        uint32_t type;
        double sight, reach;
    } rows[] = {
        {"10gen_zerg", OWN_TYPE + 0, 8, 2},  {"10gen_protoss", OWN_TYPE + 1, 10, 7},
        {"10gen_zerg", OWN_TYPE + 2, 9, 5},  {"10gen_terran", OWN_MARAUDER, 10, 6},
        {"10gen_terran", OWN_MARINE, 9, 5},  {"10gen_protoss", OWN_STALKER, 10, 6},
        {"10gen_protoss", OWN_ZEALOT, 9, 2}, {"10gen_zerg", OWN_TYPE + 8, 8, 2},
    };
    static const uint32_t their[] = {105, 4, 107, 51, 48, 74, 73, 9};
    struct smac_options o;
    gen_options(&o);
    open_contract(rows[_i].map, &o, rows[_i].type, their[_i]);
    ck_assert_int_eq(stage_reset(&st), 0);
    size_t me = index_of(10);
    put(0, rows[_i].reach, 0);
    ck_assert(avail_of(&st, me)[6]);
    ck_assert_float_eq(obs_of(&st, me)[5], (float)(rows[_i].reach / rows[_i].sight));
    put(0, rows[_i].reach + 0.01, 0);
    ck_assert(!avail_of(&st, me)[6]);
    put(0, rows[_i].sight - 0.01, 0);
    ck_assert_float_gt(obs_of(&st, me)[5], 0.99F);
    put(0, rows[_i].sight, 0);
    ck_assert_float_eq(obs_of(&st, me)[5], 0);
    smac_close(st.smac);
}
END_TEST

START_TEST(medivacs_heal_agents_within_four)
{
    struct smac_options o;
    gen_options(&o);
    open_contract("10gen_terran", &o, OWN_MARINE, 48);
    st.u[0].unit_type = OWN_MEDIVAC; /* sorts last: index 4 */
    ck_assert_int_eq(stage_reset(&st), 0);
    by_tag(&st, 12)->x = 20; /* a marine at (20, 2) */
    by_tag(&st, 12)->y = 16;
    by_tag(&st, 13)->x = 20.5F;
    by_tag(&st, 13)->y = 16;
    stage_frame(&st);
    ck_assert_uint_eq(index_of(10), 4);
    for (size_t i = 0; i < 5; i++)
        ck_assert_int_eq(avail_of(&st, 4)[6 + i], i == index_of(11) || i == index_of(12));
    uint8_t act[5] = {1, 1, 1, 1, (uint8_t)(6 + index_of(12))};
    ck_assert_int_eq(smac_commands(st.smac, act, st.command, &st.commands), 0);
    ck_assert_uint_eq(st.command[4].ability, ABILITY_HEAL);
    ck_assert_uint_eq(st.command[4].target_tag, 12);
    smac_close(st.smac);
}
END_TEST

START_TEST(own_position_and_one_type_order_for_both_sides)
{
    struct smac_options o;
    gen_options(&o);
    open_contract("10gen_terran_5_vs_5", &o, OWN_MARINE, 51);
    ck_assert_uint_eq(st.spec.obs, 82);
    ck_assert_int_eq(stage_reset(&st), 0);
    st.u[5].unit_type = 54;
    put(0, 3, 0);
    put(1, 2, 0);
    size_t me = index_of(10);
    const float *v = obs_of(&st, me);
    ck_assert_mem_eq(v + 4 + 5, ((float[]){0, 0, 1}), 12);     /* medivac: third */
    ck_assert_mem_eq(v + 4 + 8 + 5, ((float[]){0, 1, 0}), 12); /* marauder: second */
    ck_assert_mem_eq(v + 76, ((float[]){1, 0.5F, 0.5F, 1, 0, 0}), 24);
    ck_assert_float_eq(st.state[me * 7 + 4], 1);
    smac_close(st.smac);
}
END_TEST

START_TEST(the_time_step_counts_once)
{
    struct smac_options o;
    gen_options(&o);
    o.obs_timestep_number = true;
    open_contract("10gen_terran", &o, OWN_MARINE, 48);
    ck_assert_uint_eq(st.spec.obs, 83);
    ck_assert_uint_eq(smac_obs_len(st.smac), 83);
    ck_assert_int_eq(stage_reset(&st), 0);
    stage_frame(&st);
    ck_assert_float_eq(obs_of(&st, 0)[82], 1.0F / 200);
    smac_close(st.smac);
}
END_TEST

/* Whether agent 0, looking in direction d of twelve, sees opponent 0 at an angle. */
static bool sees(uint8_t d, double degrees, double distance)
{
    double rad = degrees * 3.14159265358979323846 / 180;
    uint8_t act[5] = {1, 1, 1, 1, 1};
    size_t me = index_of(10);
    act[me] = (uint8_t)(6 + d);
    ck_assert_int_eq(smac_commands(st.smac, act, st.command, &st.commands), 0);
    ck_assert_uint_eq(st.commands, 4); /* turning is no order */
    put(0, distance * cos(rad), distance * sin(rad));
    return obs_of(&st, me)[5] > 0;
}

/* The published test, written with angles: the direction folded onto the side of the target. */
static bool published(double look, double degrees)
{
    const double to_rad = 3.14159265358979323846 / 180, tiny = 1e-7;
    double x = 5 * cos(degrees * to_rad), y = 5 * sin(degrees * to_rad);
    double fx = cos(look * to_rad), fy = sin(look * to_rad);
    x = x > 0 ? fmax(x, tiny) : fmin(x, -tiny);
    fx = x > 0 ? fmax(fx, tiny) : fmin(fx, -tiny);
    return fabs(atan(y / x) - atan(fy / fx)) < 15 * to_rad;
}

static void open_cone(void)
{
    struct smac_options o;
    gen_options(&o);
    o.conic_fov = true;
    open_contract("10gen_terran", &o, OWN_MARINE, 48);
    ck_assert_int_eq(stage_reset(&st), 0);
}

START_TEST(a_cone_is_thirty_degrees_wide)
{
    open_cone();
    for (uint8_t d = 0; d < 12; d++) {
        double look = 30.0 * d;
        ck_assert(sees(d, look, 5));
        ck_assert(sees(d, look + 14.5, 5));
        ck_assert(sees(d, look - 14.5, 5));
        if (d % 3) { /* amid a quarter, where the published test is a plain one */
            ck_assert(!sees(d, look + 15.5, 5));
            ck_assert(!sees(d, look - 15.5, 5));
            ck_assert(!sees(d, look + 180, 5));
        }
    }
    ck_assert(sees(1, 30, 8.99));
    ck_assert(!sees(1, 30, 9.01));
    smac_close(st.smac);
}
END_TEST

START_TEST(a_cone_sees_what_the_published_test_accepts)
{
    int mirrored = 0;
    open_cone();
    for (uint8_t d = 0; d < 12; d++) {
        for (int a = 1; a < 360; a += 7) {
            ck_assert_int_eq(sees(d, a + 0.3, 5), published(30.0 * d, a + 0.3));
            double off = fabs(remainder(a + 0.3 - 30.0 * d, 360));
            mirrored += off > 15 && published(30.0 * d, a + 0.3);
        }
    }
    ck_assert_int_gt(mirrored, 0); /* the quirk is there */
    smac_close(st.smac);
}
END_TEST

START_TEST(a_cone_adds_actions_and_its_direction_to_the_vectors)
{
    open_cone();
    ck_assert_uint_eq(st.spec.actions, 23);
    ck_assert_uint_eq(st.spec.obs, 84);
    ck_assert_uint_eq(st.spec.state, 5 * 9 + 30 + 5 * 23);
    ck_assert(sees(3, 90, 4));
    for (size_t i = 0; i < 5; i++) {
        for (int a = 6; a < 18; a++)
            ck_assert(avail_of(&st, i)[a]);
        bool turned = i == index_of(10);
        ck_assert_float_eq_tol(obs_of(&st, i)[79], turned ? 0 : 1, 1e-7F);
        ck_assert_float_eq_tol(obs_of(&st, i)[80], turned ? 1 : 0, 1e-7F);
        ck_assert_float_eq_tol(st.state[9 * i + 5], turned ? 1 : 0, 1e-7F);
        ck_assert_int_eq(avail_of(&st, i)[18], turned); /* aiming needs the cone, too */
    }
    stage_reset(&st);
    stage_look(&st);
    for (size_t i = 0; i < 5; i++)
        ck_assert_float_eq(obs_of(&st, i)[79], 1); /* looking east again */
    smac_close(st.smac);
}
END_TEST

START_TEST(regeneration_pays_nothing_and_nothing_but_medivacs_is_beaten)
{
    struct smac_options o;
    gen_options(&o);
    open_contract("10gen_terran", &o, OWN_MARINE, 48);
    st.u[5].unit_type = st.u[6].unit_type = 54;
    st.u[7].health = 30;
    ck_assert_int_eq(stage_reset(&st), 0);
    by_tag(&st, 22)->health = 35;
    stage_frame(&st);
    ck_assert_double_eq(st.result.reward, 0);
    for (uint64_t k = 2; k < 5; k++)
        kill_unit(&st, 20 + k);
    stage_frame(&st);
    ck_assert(st.result.terminated && st.result.battle_won); /* two medivacs are left */
    smac_close(st.smac);
}
END_TEST

START_TEST(a_generated_map_needs_the_first_type_id)
{
    struct smac_options o;
    struct smac *s;
    gen_options(&o);
    st = (struct stage){0};
    stage_map(&st);
    ck_assert_int_eq(smac_open(&s, "10gen_zerg", &o), 0);
    ck_assert_int_eq(smac_game_info(s, &st.info), ERR_INVAL);
    smac_close(s);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("smacv2");
    TCase *t = tcase_create("contract");
    tcase_set_timeout(t, 60);
    tcase_add_loop_test(t, sight_and_reach_depend_on_the_unit_type, 0, 8);
    tcase_add_test(t, medivacs_heal_agents_within_four);
    tcase_add_test(t, own_position_and_one_type_order_for_both_sides);
    tcase_add_test(t, the_time_step_counts_once);
    tcase_add_test(t, a_cone_is_thirty_degrees_wide);
    tcase_add_test(t, a_cone_sees_what_the_published_test_accepts);
    tcase_add_test(t, a_cone_adds_actions_and_its_direction_to_the_vectors);
    tcase_add_test(t, regeneration_pays_nothing_and_nothing_but_medivacs_is_beaten);
    tcase_add_test(t, a_generated_map_needs_the_first_type_id);
    suite_add_tcase(s, t);
    return run_suite(s);
}
