/* SPDX-License-Identifier: Apache-2.0 */
/* test_mp.c - the msgpack reader against hand-made bytes. */
#include "mp.h"
#include "suite.h"

#include "base/err.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#define BYTES(...)                                                                             \
    (const unsigned char[]){__VA_ARGS__}, sizeof((const unsigned char[]){__VA_ARGS__})

static struct mp_item one(const unsigned char *p, size_t n)
{
    struct mp m = {p, p + n};
    struct mp_item it = {0};
    ck_assert_int_eq(mp_scan(p, n), 0);
    ck_assert(mp_next(&m, &it));
    return it;
}

START_TEST(numbers_of_every_width_are_read)
{
    ck_assert_uint_eq(one(BYTES(0x7f)).v.u, 127);
    ck_assert_uint_eq(one(BYTES(0xcc, 0xff)).v.u, 255);
    ck_assert_uint_eq(one(BYTES(0xcd, 0x12, 0x34)).v.u, 0x1234);
    ck_assert_uint_eq(one(BYTES(0xce, 0x12, 0x34, 0x56, 0x78)).v.u, 0x12345678);
    ck_assert_uint_eq(one(BYTES(0xcf, 255, 255, 255, 255, 255, 255, 255, 255)).v.u, UINT64_MAX);
    ck_assert_int_eq(one(BYTES(0xff)).v.i, -1);
    ck_assert_int_eq(one(BYTES(0xd0, 0x80)).v.i, -128);
    ck_assert_int_eq(one(BYTES(0xd1, 0x80, 0)).v.i, -32768);
    ck_assert_int_eq(one(BYTES(0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0)).v.i, INT64_MIN);
    ck_assert_uint_eq(one(BYTES(0xd2, 0, 0, 0, 5)).v.u, 5);
    ck_assert_double_eq(one(BYTES(0xca, 0x3f, 0xc0, 0, 0)).v.f, 1.5);
    ck_assert_double_eq(one(BYTES(0xcb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0)).v.f, 1.5);
    ck_assert(one(BYTES(0xc3)).v.b);
}
END_TEST

START_TEST(strings_and_blobs_are_views)
{
    struct mp_item s = one(BYTES(0xa3, 'a', 'b', 'c'));
    ck_assert_int_eq(s.kind, MP_STR);
    ck_assert_uint_eq(s.n, 3);
    ck_assert_mem_eq(s.bytes, "abc", 3);
    ck_assert_uint_eq(one(BYTES(0xc4, 2, 1, 2)).n, 2);
    ck_assert_uint_eq(one(BYTES(0xc6, 0, 0, 0, 1, 9)).n, 1);
    ck_assert_uint_eq(one(BYTES(0xda, 0, 1, 'x')).n, 1);
}
END_TEST

static void refuse(const unsigned char *p, size_t n)
{
    ck_assert_int_eq(mp_scan(p, n), ERR_PROTO);
}

START_TEST(what_is_cut_trailing_or_not_ours_is_refused)
{
    refuse(BYTES(0xc1));
    refuse(BYTES(0xd4, 0, 0));    /* fixext */
    refuse(BYTES(0xc7, 0, 0));    /* ext */
    refuse(BYTES(0xc4, 3, 1, 2)); /* cut blob */
    refuse(BYTES(0xcd, 1));       /* cut number */
    refuse(BYTES(0x92, 1));       /* cut array */
    refuse(BYTES(1, 2));          /* trailing */
    refuse((const unsigned char *)"", 0);
}
END_TEST

START_TEST(declared_counts_that_cannot_be_true_are_refused)
{
    refuse(BYTES(0xdd, 0x10, 0, 0, 0)); /* would ask msgpack-c for 8 GiB */
    refuse(BYTES(0xdf, 0x10, 0, 0, 0));
    refuse(BYTES(0xdd, 0xff, 0xff, 0xff, 0xff));
    unsigned char big[8192];
    memset(big, 0x01, sizeof big);
    memcpy(big, "\xdc\x10\x00", 3); /* 4096 elements and the array itself: one too many */
    ck_assert_int_eq(mp_scan(big, 3 + 4096), ERR_PROTO);
    memcpy(big, "\xdc\x0f\xff", 3);
    ck_assert_int_eq(mp_scan(big, 3 + 4095), 0);
}
END_TEST

START_TEST(nesting_stops_at_sixteen)
{
    unsigned char deep[32];
    memset(deep, 0x91, sizeof deep);
    deep[16] = 1;
    ck_assert_int_eq(mp_scan(deep, 17), 0);
    deep[16] = 0x91;
    deep[17] = 1;
    ck_assert_int_eq(mp_scan(deep, 18), ERR_PROTO);
    ck_assert_ptr_nonnull(strstr(err_text(), "nested"));
}
END_TEST

START_TEST(skip_passes_over_a_whole_value)
{
    const unsigned char b[] = {0x82, 0xa1, 'a', 0x92, 1, 0x81, 2, 3, 0xa1, 'b', 4, 0xc3};
    struct mp m = {b, b + sizeof b};
    struct mp_item it;
    ck_assert(mp_skip(&m)); /* the map */
    ck_assert(mp_next(&m, &it));
    ck_assert_int_eq(it.kind, MP_BOOL);
    ck_assert(!mp_skip(&m));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("mp");
    TCase *tc = tcase_create("mp");
    tcase_add_test(tc, numbers_of_every_width_are_read);
    tcase_add_test(tc, strings_and_blobs_are_views);
    tcase_add_test(tc, what_is_cut_trailing_or_not_ours_is_refused);
    tcase_add_test(tc, declared_counts_that_cannot_be_true_are_refused);
    tcase_add_test(tc, nesting_stops_at_sixteen);
    tcase_add_test(tc, skip_passes_over_a_whole_value);
    suite_add_tcase(s, tc);
    return run_suite(s);
}
