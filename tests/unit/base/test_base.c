/* SPDX-License-Identifier: Apache-2.0 */
/* test_base.c - errors, clock, arena, digests, checksums and Wilson's interval. */
#include "base/arena.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/err.h"
#include "base/wilson.h"

#include <check.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

/* --- err --- */

START_TEST(every_code_has_a_text_and_unknown_ones_say_so)
{
#define NAMED(name, code, text) ck_assert_str_eq(err_str(ERR_##name), text);
    ERR_LIST(NAMED)
#undef NAMED
    ck_assert_str_eq(err_str(0), "ok");
    ck_assert_str_eq(err_str(-999), "unknown error code");
    ck_assert_str_eq(err_str(1), "unknown error code");
}
END_TEST

START_TEST(err_set_returns_its_code_and_may_quote_the_last_text)
{
    ck_assert_int_eq(err_set(ERR_IO, "disk %d", 7), ERR_IO);
    ck_assert_str_eq(err_text(), "disk 7");
    err_set(ERR_CONFIG, "file x: %s", err_text());
    ck_assert_str_eq(err_text(), "file x: disk 7");
}
END_TEST

START_TEST(a_bug_aborts)
{
    bug_on(1 + 1 == 2);
}
END_TEST

/* --- clock --- */

static void fixed_clock(int64_t *mono_us, int64_t *wall_us)
{
    *mono_us = 5000001;
    *wall_us = 1769860800123456; /* 2026-01-31 12:00:00.123456 */
}

START_TEST(a_replaced_clock_is_asked_for_both_times)
{
    char text[25];
    clock_replace(fixed_clock);
    ck_assert_int_eq(clock_mono_us(), 5000001);
    ck_assert_int_eq(clock_mono_ms(), 5000);
    clock_rfc3339(text, clock_wall_ms());
    ck_assert_str_eq(text, "2026-01-31T12:00:00.123Z");
    clock_replace(NULL);
    ck_assert_int_ne(clock_mono_us(), 5000001);
}
END_TEST

START_TEST(stamps_are_right_before_1970_and_clamped_at_the_ends)
{
    char text[25];
    clock_rfc3339(text, 0);
    ck_assert_str_eq(text, "1970-01-01T00:00:00.000Z");
    clock_rfc3339(text, -1);
    ck_assert_str_eq(text, "1969-12-31T23:59:59.999Z");
    clock_rfc3339(text, INT64_MAX);
    ck_assert_str_eq(text, "9999-12-31T23:59:59.999Z");
    clock_rfc3339(text, INT64_MIN);
    ck_assert_str_eq(text, "0000-01-01T00:00:00.000Z");
}
END_TEST

START_TEST(monotonic_time_does_not_go_back)
{
    int64_t last = clock_mono_us();
    for (int i = 0; i < 1000; i++) {
        int64_t now = clock_mono_us();
        ck_assert_int_ge(now, last);
        last = now;
    }
}
END_TEST

/* --- arena --- */

START_TEST(pieces_are_aligned_apart_and_end_at_the_size)
{
    struct arena a = {0};
    ck_assert_int_eq(arena_init(&a, 256), 0);
    unsigned char *p = arena_alloc(&a, 1), *q = arena_alloc(&a, 65);
    ck_assert_uint_eq((uintptr_t)p % 64, 0);
    ck_assert_ptr_eq(q, p + 64);
    ck_assert_uint_eq(a.used, 192);
    ck_assert_ptr_null(arena_alloc(&a, 65));
    ck_assert_ptr_nonnull(arena_alloc(&a, 64));
    ck_assert_ptr_null(arena_alloc(&a, 1));
    ck_assert_ptr_null(arena_alloc(&a, SIZE_MAX));
    arena_fini(&a);
    arena_fini(&a); /* a zeroed struct is a no-op */
}
END_TEST

START_TEST(rewinding_gives_back_what_came_after_and_high_stays)
{
    struct arena a = {0};
    ck_assert_int_eq(arena_init(&a, 1024), 0);
    arena_must(&a, 64);
    size_t mark = arena_mark(&a);
    unsigned char *p = arena_must(&a, 128);
    memset(p, 7, 128);
    arena_rewind(&a, mark);
    ck_assert_uint_eq(a.used, 64);
    ck_assert_uint_eq(a.high, 192);
    ck_assert_ptr_eq(arena_must(&a, 32), p);
    arena_fini(&a);
}
END_TEST

START_TEST(zalloc_clears_used_and_fresh_bytes_alike)
{
    struct arena a = {0};
    ck_assert_int_eq(arena_init(&a, 4096), 0);
    memset(arena_must(&a, 100), 0xab, 100);
    arena_rewind(&a, 0);
    unsigned char *p = ARENA_ZNEW(&a, unsigned char, 1000);
    for (size_t i = 0; i < 1000; i++)
        ck_assert_uint_eq(p[i], 0);
    arena_fini(&a);
}
END_TEST

START_TEST(an_arena_that_must_hold_and_does_not_aborts)
{
    struct arena a = {0};
    ck_assert_int_eq(arena_init(&a, 64), 0);
    arena_must(&a, 65);
}
END_TEST

/* --- digest --- */

/* Published BLAKE2b-256 values of the empty message and of "abc". */
START_TEST(blake2b_matches_published_values)
{
    struct digest d;
    char hex[DIGEST_HEX];
    digest_of(&d, "", 0);
    digest_hex(hex, &d);
    ck_assert_str_eq(hex, "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8");
    digest_of(&d, "abc", 3);
    digest_hex(hex, &d);
    ck_assert_str_eq(hex, "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319");
}
END_TEST

START_TEST(pieces_of_any_size_give_the_digest_of_the_whole)
{
    unsigned char data[1000];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (unsigned char)(i * 31);
    struct digest whole, parts;
    digest_of(&whole, data, sizeof data);
    struct digest_state s;
    digest_init(&s);
    for (size_t at = 0, n = 0; at < sizeof data; at += n, n++) {
        size_t take = n < sizeof data - at ? n : sizeof data - at;
        digest_add(&s, data + at, take);
        n = take;
    }
    digest_end(&s, &parts);
    ck_assert_mem_eq(whole.b, parts.b, DIGEST_BYTES);
}
END_TEST

START_TEST(numbers_are_added_as_eight_little_endian_bytes)
{
    struct digest a, b;
    struct digest_state s;
    digest_init(&s);
    digest_add_u64(&s, 0x0102030405060708U);
    digest_end(&s, &a);
    digest_of(&b, "\x08\x07\x06\x05\x04\x03\x02\x01", 8);
    ck_assert_mem_eq(a.b, b.b, DIGEST_BYTES);
}
END_TEST

START_TEST(the_short_digest_is_a_digest_of_its_own_length)
{
    /* BLAKE2b-128 of the empty message; not a prefix of BLAKE2b-256. */
    static const unsigned char empty[] = {0xca, 0xe6, 0x69, 0x41, 0xd9, 0xef, 0xbd, 0x40,
                                          0x4e, 0x4d, 0x88, 0x75, 0x8e, 0xa6, 0x76, 0x70};
    unsigned char d[DIGEST128_BYTES];
    digest128_of(d, NULL, 0);
    ck_assert_mem_eq(d, empty, sizeof d);
}
END_TEST

/* One bit at a time: slow, and independent of the code under test. */
static uint32_t crc_by_bits(const unsigned char *p, size_t n)
{
    uint32_t c = 0xffffffffU;
    for (; n; n--) {
        c ^= *p++;
        for (int i = 0; i < 8; i++)
            c = c & 1 ? c >> 1 ^ 0x82f63b78U : c >> 1;
    }
    return ~c;
}

START_TEST(crc32c_matches_its_definition_at_every_length_and_continues)
{
    unsigned char data[70];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (unsigned char)(i * 37 + 11);
    ck_assert_uint_eq(crc32c(0, "123456789", 9), 0xe3069283U);
    for (size_t n = 0; n <= sizeof data; n++) {
        uint32_t want = crc_by_bits(data, n);
        ck_assert_uint_eq(crc32c(0, data, n), want);
        ck_assert_uint_eq(crc32c(crc32c(0, data, n / 3), data + n / 3, n - n / 3), want);
    }
}
END_TEST

/* --- wilson --- */

START_TEST(wilsons_interval_of_sixty_in_a_hundred)
{
    double lo, hi;
    wilson_interval(60, 100, &lo, &hi);
    ck_assert_double_eq_tol(lo, 0.50200, 5e-5);
    ck_assert_double_eq_tol(hi, 0.69060, 5e-5);
}
END_TEST

START_TEST(wilsons_interval_touches_the_ends_only_when_all_trials_agree)
{
    double lo, hi;
    wilson_interval(0, 10, &lo, &hi);
    ck_assert_double_eq(lo, 0);
    ck_assert_double_eq_tol(hi, 0.27753, 5e-5);
    wilson_interval(10, 10, &lo, &hi);
    ck_assert_double_eq_tol(lo, 0.72247, 5e-5);
    ck_assert_double_eq(hi, 1);
    wilson_interval(0, 0, &lo, &hi);
    ck_assert(lo == 0 && hi == 1);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("base");
    TCase *t = tcase_create("base");
    SRunner *sr = srunner_create(s);
    tcase_add_test(t, every_code_has_a_text_and_unknown_ones_say_so);
    tcase_add_test(t, err_set_returns_its_code_and_may_quote_the_last_text);
    tcase_add_test(t, a_replaced_clock_is_asked_for_both_times);
    tcase_add_test(t, stamps_are_right_before_1970_and_clamped_at_the_ends);
    tcase_add_test(t, monotonic_time_does_not_go_back);
    tcase_add_test(t, pieces_are_aligned_apart_and_end_at_the_size);
    tcase_add_test(t, rewinding_gives_back_what_came_after_and_high_stays);
    tcase_add_test(t, zalloc_clears_used_and_fresh_bytes_alike);
    tcase_add_test(t, blake2b_matches_published_values);
    tcase_add_test(t, pieces_of_any_size_give_the_digest_of_the_whole);
    tcase_add_test(t, numbers_are_added_as_eight_little_endian_bytes);
    tcase_add_test(t, the_short_digest_is_a_digest_of_its_own_length);
    tcase_add_test(t, crc32c_matches_its_definition_at_every_length_and_continues);
    tcase_add_test(t, wilsons_interval_of_sixty_in_a_hundred);
    tcase_add_test(t, wilsons_interval_touches_the_ends_only_when_all_trials_agree);
    if (srunner_fork_status(sr) == CK_FORK) { /* dying is watched from another process */
        tcase_add_test_raise_signal(t, a_bug_aborts, SIGABRT);
        tcase_add_test_raise_signal(t, an_arena_that_must_hold_and_does_not_aborts, SIGABRT);
    }
    suite_add_tcase(s, t);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
