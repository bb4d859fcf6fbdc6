/* SPDX-License-Identifier: Apache-2.0 */
/* test_rng.c - the generators against published vectors, and the place of every draw. */
#include "base/rng.h"

#include <check.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

/* Known answers of the Random123 library, philox 4x32, 10 rounds. */
START_TEST(philox_matches_the_published_vectors)
{
    static const struct {
        uint32_t counter[4], key[2], want[4];
    } cases[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    uint32_t out[4];
    philox4x32(out, cases[_i].counter, cases[_i].key);
    ck_assert_mem_eq(out, cases[_i].want, sizeof out);
}
END_TEST

/* The contract's counter, written down a second time. */
static uint32_t word_of(uint64_t seed, uint32_t iteration, uint32_t domain, uint64_t item,
                        uint32_t sub, uint32_t n)
{
    const uint32_t key[2] = {(uint32_t)(seed & 0xffffffff), (uint32_t)(seed >> 32)};
    const uint32_t counter[4] = {n >> 2, (uint32_t)(item & 0xffffffff),
                                 (uint32_t)(item >> 32) << 24 | sub, domain << 24 | iteration};
    uint32_t out[4];
    philox4x32(out, counter, key);
    return out[n & 3];
}

START_TEST(any_number_of_draws_is_the_scalar_generator_bit_by_bit)
{
    enum { MOST = 200 };
    struct philox p = {.seed = 0x123456789abcdef0, .iteration = 0xabcdef};
    struct draws d = philox_draws(&p);
    uint64_t item = 0xfedcba9876;
    for (size_t n = 0; n <= MOST; n++) {
        float u[MOST + 1];
        uint32_t w[MOST + 1];
        u[n] = -1;
        w[n] = 77;
        draws_fill(&d, DRAW_PLAN_LATENT, item, 0x876543, u, n);
        draws_words(&d, DRAW_PLAN_LATENT, item, 0x876543, w, n);
        for (uint32_t i = 0; i < n; i++) {
            uint32_t want = word_of(p.seed, p.iteration, DRAW_PLAN_LATENT, item, 0x876543, i);
            ck_assert_uint_eq(w[i], want);
            float unit = (float)(want >> 8) / 16777216.0f;
            ck_assert_mem_eq(&u[i], &unit, sizeof unit);
        }
        ck_assert(u[n] == -1 && w[n] == 77); /* nothing beyond n is written */
    }
}
END_TEST

START_TEST(uniforms_are_in_zero_to_one_and_even)
{
    enum { MANY = 100000 };
    static float u[MANY];
    struct philox p = {.seed = 3};
    struct draws d = philox_draws(&p);
    draws_fill(&d, DRAW_DROPOUT, 1, 2, u, MANY);
    double sum = 0;
    for (size_t i = 0; i < MANY; i++) {
        ck_assert(u[i] >= 0 && u[i] < 1);
        sum += (double)u[i];
    }
    ck_assert_double_eq_tol(sum / MANY, 0.5, 0.005); /* five standard errors */
}
END_TEST

START_TEST(the_iteration_counts_except_where_acting_does_not_know_it)
{
    static const enum draw_domain without[] = {DRAW_INIT,        DRAW_ENV,     DRAW_ACT_LATENT,
                                               DRAW_ACT_ACTION,  DRAW_ABSORB,  DRAW_EVAL_ENV,
                                               DRAW_EVAL_LATENT, DRAW_EVAL_ACT};
    struct philox a = {.seed = 9, .iteration = 1}, b = {.seed = 9, .iteration = 2};
    struct draws da = philox_draws(&a), db = philox_draws(&b);
    for (int domain = DRAW_INIT; domain < DRAW_DOMAINS; domain++) {
        int expected = 0;
        for (size_t i = 0; i < sizeof without / sizeof *without; i++)
            expected |= (int)without[i] == domain;
        uint32_t x, y;
        draws_words(&da, (enum draw_domain)domain, 4, 5, &x, 1);
        draws_words(&db, (enum draw_domain)domain, 4, 5, &y, 1);
        ck_assert_msg((x == y) == expected, "domain %d", domain);
        ck_assert_uint_eq(x, word_of(9, expected ? 0 : 1, (uint32_t)domain, 4, 5, 0));
    }
}
END_TEST

START_TEST(domain_numbers_are_those_of_the_contract)
{
    ck_assert_int_eq(DRAW_INIT, 1);
    ck_assert_int_eq(DRAW_WINDOW_MODEL, 6);
    ck_assert_int_eq(DRAW_POST_MODEL, 10);
    ck_assert_int_eq(DRAW_PLAN_LATENT, 18);
    ck_assert_int_eq(DRAW_PERM, 21);
    ck_assert_int_eq(DRAW_EVAL_ENV, 22);
    ck_assert_int_eq(DRAW_METRIC_WINDOW, 25);
    ck_assert_int_eq(DRAW_EPS_MPC, 34);
}
END_TEST

START_TEST(a_seed_is_words_zero_and_one)
{
    struct philox p = {.seed = 11};
    struct draws d = philox_draws(&p);
    uint64_t want =
        (uint64_t)word_of(11, 0, DRAW_ENV, 6, 0, 1) << 32 | word_of(11, 0, DRAW_ENV, 6, 0, 0);
    ck_assert_uint_eq(draws_seed(&d, DRAW_ENV, 6), want);
}
END_TEST

START_TEST(an_item_wider_than_its_field_is_a_bug)
{
    struct philox p = {.seed = 1};
    struct draws d = philox_draws(&p);
    float u;
    draws_fill(&d, DRAW_ENV, 1ULL << 40, 0, &u, 1);
}
END_TEST

/* SplitMix64 of seed 0 starts e220a8397b1dcdaf, 6e789e6aa1b965f4, 06c45d188009454f,
 * f88bb8a8724c81ec (published); xoshiro256** of that state starts rotl(s1 * 5, 7) * 9. */
START_TEST(the_simulators_generator_matches_published_values)
{
    struct rng r;
    rng_seed(&r, 0);
    static const uint64_t state[4] = {0xe220a8397b1dcdaf, 0x6e789e6aa1b965f4,
                                      0x06c45d188009454f, 0xf88bb8a8724c81ec};
    ck_assert_mem_eq(r.s, state, sizeof state);
    ck_assert_uint_eq(rng_u64(&r), 0x99ec5f36cb75f2b4);
    ck_assert_uint_eq(rng_u64(&r), 0xbf6e1f784956452a);
    uint64_t last = 0;
    for (int i = 2; i < 100; i++)
        last = rng_u64(&r);
    ck_assert_uint_eq(last, 0x3cb72d021fba219c); /* the hundredth, by an independent program */
}
END_TEST

START_TEST(below_stays_below_and_reaches_every_value_evenly)
{
    struct rng r;
    rng_seed(&r, 42);
    int seen[7] = {0};
    for (int i = 0; i < 70000; i++)
        seen[rng_below(&r, 7)]++;
    for (int i = 0; i < 7; i++)
        ck_assert_msg(abs(seen[i] - 10000) < 500, "%d came %d times", i, seen[i]);
    for (int i = 0; i < 100; i++)
        ck_assert_uint_eq(rng_below(&r, 1), 0);
    for (int i = 0; i < 1000; i++) {
        double u = rng_unit(&r);
        ck_assert(u >= 0 && u < 1);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("rng");
    TCase *t = tcase_create("rng");
    SRunner *sr = srunner_create(s);
    tcase_add_loop_test(t, philox_matches_the_published_vectors, 0, 3);
    tcase_add_test(t, any_number_of_draws_is_the_scalar_generator_bit_by_bit);
    tcase_add_test(t, uniforms_are_in_zero_to_one_and_even);
    tcase_add_test(t, the_iteration_counts_except_where_acting_does_not_know_it);
    tcase_add_test(t, domain_numbers_are_those_of_the_contract);
    tcase_add_test(t, a_seed_is_words_zero_and_one);
    tcase_add_test(t, the_simulators_generator_matches_published_values);
    tcase_add_test(t, below_stays_below_and_reaches_every_value_evenly);
    if (srunner_fork_status(sr) == CK_FORK)
        tcase_add_test_raise_signal(t, an_item_wider_than_its_field_is_a_bug, SIGABRT);
    suite_add_tcase(s, t);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
