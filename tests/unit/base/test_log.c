/* SPDX-License-Identifier: Apache-2.0 */
/* test_log.c - lines as people and programs read them. Each test catches stderr in a file. */
#include "suite.h"

#include "base/clock.h"
#include "base/log.h"

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CAUGHT = 16384 };

static int64_t now_us = 1000000;

static void fake_clock(int64_t *mono_us, int64_t *wall_us)
{
    *mono_us = now_us;
    *wall_us = now_us + 1769860800000000;
}

/* Between these two, stderr goes into `file`. */
static int catch_begin(FILE *file)
{
    int old = dup(STDERR_FILENO);
    dup2(fileno(file), STDERR_FILENO);
    return old;
}

static void catch_end(int old, FILE *file, char out[CAUGHT])
{
    dup2(old, STDERR_FILENO);
    close(old);
    rewind(file);
    size_t n = fread(out, 1, CAUGHT - 1, file);
    out[n] = '\0';
    fclose(file);
}

START_TEST(a_program_reads_one_json_object_with_typed_fields)
{
    char got[CAUGHT];
    FILE *file = tmpfile();
    int old = catch_begin(file);
    clock_replace(fake_clock);
    log_init("learner", "a1", LOG_INFO, LOG_AUTO); /* a file is not a terminal: JSON */
    log_info("worker lost", "worker=%s silent_ms=%d why=no more words loss=%.2f id=007 %s",
             "w\"1\\", 15003, 0.25, "q=\"a=b c\"");
    log_debug("never", "x=%d", 1);
    catch_end(old, file, got);
    clock_replace(NULL);
    ck_assert_str_eq(got, "{\"time\":\"2026-01-31T12:00:01.000Z\",\"level\":\"info\","
                          "\"component\":\"learner\",\"id\":\"a1\",\"event\":\"worker lost\","
                          "\"worker\":\"w\\\"1\\\\\",\"silent_ms\":15003,"
                          "\"why\":\"no more words\",\"loss\":0.25,\"id\":\"007\","
                          "\"q\":\"a=b c\"}\n");
}
END_TEST

START_TEST(a_person_reads_time_level_and_words)
{
    char got[CAUGHT];
    FILE *file = tmpfile();
    int old = catch_begin(file);
    clock_replace(fake_clock);
    log_init("actor", "", LOG_DEBUG, LOG_TEXT);
    log_debug("playing", "episode=%d", 3);
    catch_end(old, file, got);
    clock_replace(NULL);
    ck_assert_str_eq(got, "12:00:01.000 debug actor  playing  episode=3\n");
}
END_TEST

START_TEST(hostile_values_reach_neither_the_terminal_nor_json)
{
    char got[CAUGHT];
    FILE *file = tmpfile();
    int old = catch_begin(file);
    log_init("actor", "", LOG_INFO, LOG_TEXT);
    log_info("x", "v=%s", "a\033[2Jb\nc\xff\xc0\xaf\xed\xa0\x80 \xc3\xa9");
    log_init("actor", "", LOG_INFO, LOG_JSON);
    log_info("x", "v=%s", "a\033\n\xff\xc3");
    catch_end(old, file, got);
    ck_assert_ptr_nonnull(strstr(got, "v=a?[2Jb?c?????? \xc3\xa9\n"));
    ck_assert_ptr_nonnull(strstr(got, "\"v\":\"a????\"}\n"));
}
END_TEST

START_TEST(a_line_that_is_too_long_stays_one_whole_object)
{
    char got[CAUGHT], value[6000];
    memset(value, '"', sizeof value - 1); /* every character doubles in JSON */
    value[sizeof value - 1] = '\0';
    FILE *file = tmpfile();
    int old = catch_begin(file);
    log_init("actor", "", LOG_INFO, LOG_JSON);
    log_info("x", "a=%s b=%d", value, 1);
    log_event(LOG_INFO, value, "a=%d b=%d", 1, 2);
    catch_end(old, file, got);
    char *second = strchr(got, '\n');
    ck_assert_ptr_nonnull(second);
    ck_assert_int_le(second - got, 4096);
    ck_assert_int_eq(memcmp(second - 2, "\"}", 2), 0);
    size_t n = strlen(second + 1);
    ck_assert_uint_le(n, 4096);
    ck_assert_str_eq(second + n - 2, "\"}\n");
}
END_TEST

/* Wherever the end of the line falls, quotes pair up and the object closes. */
START_TEST(cutting_a_line_anywhere_leaves_json)
{
    char got[CAUGHT], event[4200];
    for (size_t n = 3900; n < sizeof event; n++) {
        memset(event, 'e', n);
        event[n] = '\0';
        FILE *file = tmpfile();
        int old = catch_begin(file);
        log_init("actor", "", LOG_INFO, LOG_JSON);
        log_event(LOG_INFO, event, "alpha=%d beta=%s", 12345, "word");
        catch_end(old, file, got);
        size_t len = strlen(got), quotes = 0;
        for (size_t i = 0; i < len; i++)
            quotes += got[i] == '"';
        ck_assert_uint_le(len, 4096);
        ck_assert_msg(quotes % 2 == 0, "%zu: %zu quotes", n, quotes);
        ck_assert_msg(len > 3 && strcmp(got + len - 2, "}\n") == 0, "%zu: no end", n);
        char last = got[len - 3];
        ck_assert_msg(last == '"' || last == '5', "%zu: ends in %c", n, last);
        ck_assert_msg(!strstr(got, "\"alpha\":") || strstr(got, "\"alpha\":12345"), "%zu", n);
    }
}
END_TEST

START_TEST(a_limited_site_logs_once_per_interval_and_counts_the_rest)
{
    struct log_limit limit = {0};
    clock_replace(fake_clock);
    now_us = 0; /* also right at time zero */
    ck_assert_int_eq(log_allowed(&limit, 1000), 1);
    ck_assert_int_eq(log_allowed(&limit, 1000), 0);
    now_us = 900000;
    ck_assert_int_eq(log_allowed(&limit, 1000), 0);
    now_us = 1001000;
    ck_assert_int_eq(log_allowed(&limit, 1000), 1);
    ck_assert_uint_eq(limit.skipped, 2);
    clock_replace(NULL);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("log");
    TCase *t = tcase_create("log");
    tcase_add_test(t, a_program_reads_one_json_object_with_typed_fields);
    tcase_add_test(t, a_person_reads_time_level_and_words);
    tcase_add_test(t, hostile_values_reach_neither_the_terminal_nor_json);
    tcase_add_test(t, a_line_that_is_too_long_stays_one_whole_object);
    tcase_add_test(t, cutting_a_line_anywhere_leaves_json);
    tcase_add_test(t, a_limited_site_logs_once_per_interval_and_counts_the_rest);
    suite_add_tcase(s, t);
    return run_suite(s);
}
