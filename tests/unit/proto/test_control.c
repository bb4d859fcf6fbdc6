/* SPDX-License-Identifier: Apache-2.0 */
/* test_control.c - the control plane: round trips and bytes that must not pass. */
#include "test_wire.h"

#include "wire_samples.h"

#include "base/err.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static struct wire_control before, after;

static void round_trip(enum wire_type type)
{
    unsigned char *body;
    size_t n;
    sample_control(&before, type);
    memset(&after, 0, sizeof after);
    ck_assert_int_eq(wire_control_pack(&before, &body, &n), 0);
    ck_assert_msg(wire_control_parse(&after, type, body, n) == 0, "%s: %s",
                  wire_type_name(type), err_text());
    ck_assert_int_eq(after.type, type);
    if (type == WIRE_WELCOME) {
        ck_assert_uint_eq(after.u.welcome.config_bytes, before.u.welcome.config_bytes);
        ck_assert_mem_eq(after.u.welcome.config_yaml, before.u.welcome.config_yaml,
                         before.u.welcome.config_bytes);
        ck_assert((const unsigned char *)after.u.welcome.config_yaml > body &&
                  (const unsigned char *)after.u.welcome.config_yaml < body + n);
        after.u.welcome.config_yaml = before.u.welcome.config_yaml;
    }
    ck_assert_mem_eq(&after.u, &before.u, sizeof before.u);
    free(body);
}

START_TEST(every_control_message_survives_the_trip)
{
    for (unsigned t = WIRE_HELLO; t <= WIRE_DRAIN_ALL; t++)
        round_trip(t);
}
END_TEST

/* Fields that the golden bytes of 1.0 do not have. */
START_TEST(the_precision_of_planning_survives_the_trip)
{
    unsigned char *body;
    size_t n;
    sample_control(&before, WIRE_HELLO);
    strcpy(before.u.hello.precision, "bf16");
    ck_assert_int_eq(wire_control_pack(&before, &body, &n), 0);
    ck_assert_int_eq(wire_control_parse(&after, WIRE_HELLO, body, n), 0);
    ck_assert_str_eq(after.u.hello.precision, "bf16");
    free(body);
    sample_control(&before, WIRE_WELCOME);
    strcpy(before.u.welcome.pin.precision, "float32");
    ck_assert_int_eq(wire_control_pack(&before, &body, &n), 0);
    ck_assert_int_eq(wire_control_parse(&after, WIRE_WELCOME, body, n), 0);
    ck_assert_str_eq(after.u.welcome.pin.precision, "float32");
    free(body);
    strcpy(before.u.welcome.pin.precision, "a\nb");
    ck_assert_int_eq(wire_control_pack(&before, &body, &n), 0);
    ck_assert_int_eq(wire_control_parse(&after, WIRE_WELCOME, body, n), ERR_PROTO);
    free(body);
}
END_TEST

START_TEST(an_episode_number_beyond_forty_bits_is_refused)
{
    unsigned char *body;
    size_t n;
    sample_control(&before, WIRE_PLAY);
    before.u.play.episode_no = UINT64_C(1) << 40;
    ck_assert_int_eq(wire_control_pack(&before, &body, &n), 0);
    ck_assert_int_eq(wire_control_parse(&after, WIRE_PLAY, body, n), ERR_PROTO);
    free(body);
}
END_TEST

START_TEST(a_text_that_could_forge_a_log_line_is_refused)
{
    static const char *const bad[] = {"line\nbreak", "esc\x1b[2J",   "\xff\xfe",
                                      "\xc0\x80",    "\xed\xa0\x80", "c1\xc2\x85"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        unsigned char *body;
        size_t n;
        sample_control(&before, WIRE_BYE);
        strcpy(before.u.bye.reason, bad[i]);
        ck_assert_int_eq(wire_control_pack(&before, &body, &n), 0);
        ck_assert_msg(wire_control_parse(&after, WIRE_BYE, body, n) == ERR_PROTO, "case %zu",
                      i);
        free(body);
    }
    round_trip(WIRE_BYE);
}
END_TEST

START_TEST(ids_of_another_length_are_refused)
{
    const unsigned char short_token[] = {0x0a, 3, 1, 2, 3}; /* Bye.token of 3 bytes */
    ck_assert_int_eq(wire_control_parse(&after, WIRE_BYE, short_token, sizeof short_token),
                     ERR_PROTO);
}
END_TEST

START_TEST(unknown_fields_pass_up_to_the_bound)
{
    unsigned char body[200];
    size_t n = 0;
    for (int i = 0; i < 33; i++) { /* field 15, varint 1 */
        body[n++] = 0x78;
        body[n++] = 1;
    }
    ck_assert_int_eq(wire_control_parse(&after, WIRE_DRAIN, body, n - 2), 0);
    ck_assert_int_eq(wire_control_parse(&after, WIRE_DRAIN, body, n), ERR_PROTO);
    ck_assert_ptr_nonnull(strstr(err_text(), "unknown"));
}
END_TEST

START_TEST(groups_cuts_and_wrong_wire_types_are_refused)
{
    const unsigned char group[] = {0x0b, 0x0c}, cut[] = {0x12, 5, 'a'}, type[] = {0x10, 1},
                        zero[] = {0x00, 1}, nul[] = {0x12, 3, 'a', 0, 'b'};
    ck_assert_int_eq(wire_control_parse(&after, WIRE_DRAIN, group, sizeof group), ERR_PROTO);
    ck_assert_int_eq(wire_control_parse(&after, WIRE_DRAIN, cut, sizeof cut), ERR_PROTO);
    ck_assert_int_eq(wire_control_parse(&after, WIRE_DRAIN, type, sizeof type), ERR_PROTO);
    ck_assert_int_eq(wire_control_parse(&after, WIRE_DRAIN, zero, sizeof zero), ERR_PROTO);
    ck_assert_int_eq(wire_control_parse(&after, WIRE_DRAIN, nul, sizeof nul), ERR_PROTO);
    ck_assert_int_eq(wire_control_parse(&after, WIRE_EPISODE, nul, sizeof nul), ERR_PROTO);
}
END_TEST

START_TEST(ten_thousand_fields_are_too_many)
{
    static unsigned char body[3 * 10001];
    for (size_t i = 0; i < 10001; i++) { /* deadline_ms again and again */
        body[2 * i] = 0x08;
        body[2 * i + 1] = 1;
    }
    ck_assert_int_eq(wire_control_parse(&after, WIRE_DRAIN, body, 20000), 0);
    ck_assert_int_eq(wire_control_parse(&after, WIRE_DRAIN, body, 20002), ERR_PROTO);
    ck_assert_int_eq(wire_control_parse(&after, WIRE_DRAIN, body, WIRE_CONTROL_MAX + 1),
                     ERR_PROTO);
}
END_TEST

START_TEST(a_set_with_one_group_twice_is_refused)
{
    unsigned char *body;
    size_t n;
    sample_control(&before, WIRE_PONG);
    before.u.pong.set.group[1].group = before.u.pong.set.group[0].group;
    ck_assert_int_eq(wire_control_pack(&before, &body, &n), 0);
    ck_assert_int_eq(wire_control_parse(&after, WIRE_PONG, body, n), ERR_PROTO);
    free(body);
}
END_TEST

void add_control_tests(Suite *s)
{
    TCase *tc = tcase_create("control");
    tcase_add_test(tc, every_control_message_survives_the_trip);
    tcase_add_test(tc, the_precision_of_planning_survives_the_trip);
    tcase_add_test(tc, an_episode_number_beyond_forty_bits_is_refused);
    tcase_add_test(tc, a_text_that_could_forge_a_log_line_is_refused);
    tcase_add_test(tc, ids_of_another_length_are_refused);
    tcase_add_test(tc, unknown_fields_pass_up_to_the_bound);
    tcase_add_test(tc, groups_cuts_and_wrong_wire_types_are_refused);
    tcase_add_test(tc, ten_thousand_fields_are_too_many);
    tcase_add_test(tc, a_set_with_one_group_twice_is_refused);
    suite_add_tcase(s, tc);
}
