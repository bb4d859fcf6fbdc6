/* SPDX-License-Identifier: Apache-2.0 */
/* Published weights: versions, sets that open work keeps, blobs that outlive their set. */
#include "suite.h"
#include "weights.h"

#include "base/err.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static struct weights *w;
static struct wire_set set;

static void open_weights(void)
{
    ck_assert_int_eq(weights_open(&w), 0);
}

static void close_weights(void)
{
    weights_close(w);
}

static struct weights_part part(uint32_t group, int fill)
{
    struct weights_part p = {.group = group, .bytes = malloc(100), .n = 100};
    memset(p.bytes, fill, p.n);
    return p;
}

static void publish(int filter, int policy)
{
    struct weights_part p[2] = {part(0, filter), part(4, policy)};
    ck_assert_int_eq(weights_publish(w, p, 2, &set), 0);
}

START_TEST(a_group_whose_bytes_did_not_change_keeps_its_version)
{
    publish(1, 1);
    ck_assert_uint_eq(set.set_id, 1);
    uint64_t filter = set.group[0].version;
    publish(1, 2);
    ck_assert_uint_eq(set.set_id, 2);
    ck_assert_uint_eq(set.group[0].version, filter);
    ck_assert_uint_eq(set.group[1].version, 2);
}
END_TEST

START_TEST(publishing_the_same_bytes_makes_no_new_set)
{
    publish(1, 1);
    publish(1, 1);
    ck_assert_uint_eq(set.set_id, 1);
}
END_TEST

START_TEST(groups_not_given_stay_as_they_were)
{
    publish(1, 1);
    struct weights_part p = part(4, 9);
    ck_assert_int_eq(weights_publish(w, &p, 1, &set), 0);
    ck_assert_uint_eq(set.count, 2);
    ck_assert_uint_eq(set.group[0].version, 1);
}
END_TEST

START_TEST(an_old_set_goes_unless_open_work_names_it)
{
    struct wire_set old;
    publish(1, 1);
    ck_assert_int_eq(weights_pin(w, 1), 0);
    publish(1, 2);
    publish(1, 3);
    ck_assert_int_eq(weights_set(w, 1, &old), 0);
    ck_assert_int_eq(weights_set(w, 2, &old), ERR_NOTFOUND);
    weights_unpin(w, 1);
    ck_assert_int_eq(weights_set(w, 1, &old), ERR_NOTFOUND);
    ck_assert_ptr_null(weights_blob(w, 4, 1));
}
END_TEST

START_TEST(a_blob_being_sent_outlives_its_set)
{
    size_t n = 0;
    publish(1, 1);
    struct weights_blob *b = weights_blob(w, 4, 1);
    publish(1, 2);
    ck_assert_int_eq(weights_blob_bytes(b, &n)[99], 1);
    ck_assert_uint_eq(n, 100);
    weights_blob_release(b);
}
END_TEST

START_TEST(digests_are_remembered_after_the_set_is_gone_and_do_not_hold_ids)
{
    struct digest first, third;
    publish(1, 1);
    publish(1, 2);
    publish(1, 1);
    ck_assert_uint_eq(set.set_id, 3);
    ck_assert_int_eq(weights_digest(w, 1, &first), 0);
    ck_assert_int_eq(weights_digest(w, 3, &third), 0);
    ck_assert_mem_eq(first.b, third.b, DIGEST_BYTES);
    ck_assert_int_eq(weights_digest(w, 99, &first), ERR_NOTFOUND);
}
END_TEST

START_TEST(ids_go_on_from_where_an_earlier_life_ended)
{
    weights_start(w, 257);
    publish(1, 1);
    ck_assert_uint_eq(set.set_id, 257);
    ck_assert_uint_eq(set.group[0].version, 257);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("weights");
    TCase *tc = tcase_create("weights");
    tcase_add_checked_fixture(tc, open_weights, close_weights);
    tcase_add_test(tc, a_group_whose_bytes_did_not_change_keeps_its_version);
    tcase_add_test(tc, publishing_the_same_bytes_makes_no_new_set);
    tcase_add_test(tc, groups_not_given_stay_as_they_were);
    tcase_add_test(tc, an_old_set_goes_unless_open_work_names_it);
    tcase_add_test(tc, a_blob_being_sent_outlives_its_set);
    tcase_add_test(tc, digests_are_remembered_after_the_set_is_gone_and_do_not_hold_ids);
    tcase_add_test(tc, ids_go_on_from_where_an_earlier_life_ended);
    suite_add_tcase(s, tc);
    return s;
}

int main(void)
{
    return run_suite(suite());
}
