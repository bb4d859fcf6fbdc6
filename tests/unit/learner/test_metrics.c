/* SPDX-License-Identifier: Apache-2.0 */
/* test_metrics.c - the metric files are what other tools expect: the reader of event files here
 * knows the format from its definition and shares no code with the writer (a bitwise crc). */
#include "base/err.h"
#include "learner/metrics.h"
#include "scratch.h"
#include "suite.h"

#include <check.h>
#include <dirent.h>
#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static char dir[SCRATCH_PATH];

static void set_up(void)
{
    scratch_make(dir);
}

static void tear_down(void)
{
    scratch_remove(dir);
}

/* ------------------------------------------------------------------- an independent reader */

struct event {
    double wall;
    int64_t step;
    char tag[128], version[32];
    float value;
};

static uint32_t slow_crc(const unsigned char *p, size_t n)
{
    uint32_t c = 0xffffffffu;
    for (size_t i = 0; i < n; i++) {
        c ^= p[i];
        for (int k = 0; k < 8; k++)
            c = c >> 1 ^ (c & 1 ? 0x82f63b78u : 0);
    }
    c = ~c;
    return ((c >> 15) | (c << 17)) + 0xa282ead8u;
}

static uint64_t le(const unsigned char *p, int n)
{
    uint64_t x = 0;
    while (n--)
        x = x << 8 | p[n];
    return x;
}

static uint64_t varint(const unsigned char **p)
{
    uint64_t x = 0;
    for (int shift = 0;; shift += 7) {
        unsigned char b = *(*p)++;
        x |= (uint64_t)(b & 127) << shift;
        if (b < 128)
            return x;
    }
}

/* Any protobuf message of the Event family: unknown fields are skipped. depth 0 Event, 1
 * Summary, 2 Value. */
static void parse(struct event *e, const unsigned char *p, size_t n, int depth)
{
    const unsigned char *end = p + n;
    while (p < end) {
        uint64_t key = varint(&p), field = key >> 3, value = 0;
        const unsigned char *at = p;
        size_t size = 0;
        switch (key & 7) {
        case 0:
            value = varint(&p);
            break;
        case 1:
            value = le(p, 8), p += 8;
            break;
        case 5:
            value = le(p, 4), p += 4;
            break;
        case 2:
            size = varint(&p), at = p, p += size;
            break;
        default:
            ck_abort_msg("wire type %d", (int)(key & 7));
        }
        ck_assert(p <= end);
        if (depth == 0 && field == 1)
            memcpy(&e->wall, &value, 8);
        else if (depth == 0 && field == 2)
            e->step = (int64_t)value;
        else if (depth == 0 && field == 3)
            snprintf(e->version, sizeof e->version, "%.*s", (int)size, (const char *)at);
        else if (depth == 0 && field == 5)
            parse(e, at, size, 1);
        else if (depth == 1 && field == 1)
            parse(e, at, size, 2);
        else if (depth == 2 && field == 1)
            snprintf(e->tag, sizeof e->tag, "%.*s", (int)size, (const char *)at);
        else if (depth == 2 && field == 2) {
            uint32_t bits = (uint32_t)value;
            memcpy(&e->value, &bits, 4);
        }
    }
    ck_assert_ptr_eq(p, end);
}

static size_t read_file(const char *path, struct event *out, size_t max)
{
    size_t n = 0, at = 0, count = 0;
    unsigned char *bytes = scratch_read(path, &n);
    while (at < n) {
        size_t size = (size_t)le(bytes + at, 8);
        ck_assert_uint_eq(le(bytes + at + 8, 4), slow_crc(bytes + at, 8));
        ck_assert_uint_le(at + 16 + size, n);
        ck_assert_uint_eq(le(bytes + at + 12 + size, 4), slow_crc(bytes + at + 12, size));
        ck_assert_uint_lt(count, max);
        memset(&out[count], 0, sizeof *out);
        parse(&out[count++], bytes + at + 12, size, 0);
        at += 16 + size;
    }
    free(bytes);
    return count;
}

/* All scalars of all event files of the run, file by file. */
static size_t read_scalars(struct event *out, size_t max)
{
    char tb[SCRATCH_PATH + 8], path[SCRATCH_PATH + 300];
    snprintf(tb, sizeof tb, "%s/tb", dir);
    size_t n = 0;
    DIR *d = opendir(tb);
    ck_assert_ptr_nonnull(d);
    for (struct dirent *e; (e = readdir(d));) {
        static struct event one[256];
        if (!strstr(e->d_name, "tfevents"))
            continue;
        snprintf(path, sizeof path, "%s/%s", tb, e->d_name);
        size_t k = read_file(path, one, 256);
        ck_assert_uint_ge(k, 1);
        ck_assert_str_eq(one[0].version, "brain.Event:2");
        for (size_t i = 1; i < k; i++) {
            if (one[i].version[0])
                continue;
            ck_assert_uint_lt(n, max);
            out[n++] = one[i];
        }
    }
    closedir(d);
    return n;
}

static size_t jsonl(json_t **lines, size_t max)
{
    char path[SCRATCH_PATH + 16];
    size_t bytes = 0, n = 0;
    snprintf(path, sizeof path, "%s/metrics.jsonl", dir);
    char *text = (char *)scratch_read(path, &bytes), *save = NULL;
    ck_assert(bytes == 0 || text[bytes - 1] == '\n');
    for (char *l = strtok_r(text, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
        ck_assert_uint_lt(n, max);
        lines[n] = json_loads(l, 0, NULL);
        ck_assert_msg(lines[n] != NULL, "not JSON: %s", l);
        n++;
    }
    free(text);
    return n;
}

static uint64_t number(const json_t *o, const char *key)
{
    return (uint64_t)json_number_value(json_object_get(o, key));
}

/* One line with two values for iterations [first, end), 100 steps each. */
static void write_iterations(uint64_t first, uint64_t end, uint64_t cut)
{
    struct metrics *m = NULL;
    ck_assert_int_eq(metrics_open(&m, dir, cut), 0);
    for (uint64_t i = first; i < end; i++) {
        struct metric v[] = {{"train/win_rate", (double)i / 4}, {"wm/kl", (double)i}};
        ck_assert_int_eq(metrics_write(m, i, 100 * (i + 1), 1.5, v, 2), 0);
    }
    metrics_close(m);
}

/* ------------------------------------------------------------------------------------ tests */

START_TEST(scalars_read_back_with_their_steps_and_tags)
{
    static struct event e[64];
    write_iterations(0, 3, UINT64_MAX);
    ck_assert_uint_eq(read_scalars(e, 64), 6);
    for (size_t i = 0; i < 6; i++) {
        ck_assert_int_eq(e[i].step, (int64_t)(100 * (i / 2 + 1)));
        ck_assert_str_eq(e[i].tag, i % 2 ? "wm/kl" : "train/win_rate");
        ck_assert(e[i].value == (i % 2 ? (float)(i / 2) : (float)(i / 2) / 4));
        ck_assert(e[i].wall > 1e9);
    }
}
END_TEST

START_TEST(a_large_step_is_kept)
{
    static struct event e[4];
    struct metrics *m = NULL;
    struct metric v = {"a", -2.5};
    ck_assert_int_eq(metrics_open(&m, dir, UINT64_MAX), 0);
    ck_assert_int_eq(metrics_write(m, 1, 1234567890123, 0, &v, 1), 0);
    metrics_close(m);
    ck_assert_uint_eq(read_scalars(e, 4), 1);
    ck_assert_int_eq(e[0].step, 1234567890123);
    ck_assert(e[0].value == -2.5f);
}
END_TEST

START_TEST(lines_are_json_with_the_documented_keys)
{
    json_t *l[8];
    write_iterations(0, 2, UINT64_MAX);
    ck_assert_uint_eq(jsonl(l, 8), 2);
    ck_assert_uint_eq(number(l[1], "iteration"), 1);
    ck_assert_uint_eq(number(l[1], "env_steps"), 200);
    ck_assert(json_number_value(json_object_get(l[1], "train/win_rate")) == 0.25);
    const char *when = json_string_value(json_object_get(l[1], "time"));
    ck_assert_ptr_nonnull(when);
    ck_assert_uint_eq(strlen(when), 24);
    ck_assert_int_eq(when[23], 'Z');
    for (size_t i = 0; i < 2; i++)
        json_decref(l[i]);
}
END_TEST

START_TEST(values_that_are_not_finite_are_null_and_no_event)
{
    json_t *l[2];
    static struct event e[4];
    struct metrics *m = NULL;
    struct metric v[] = {{"a", NAN}, {"b", INFINITY}, {"c", 1}};
    ck_assert_int_eq(metrics_open(&m, dir, UINT64_MAX), 0);
    ck_assert_int_eq(metrics_write(m, 1, 5, 0, v, 3), 0);
    metrics_close(m);
    ck_assert_uint_eq(jsonl(l, 2), 1);
    ck_assert(json_is_null(json_object_get(l[0], "a")));
    ck_assert(json_is_null(json_object_get(l[0], "b")));
    json_decref(l[0]);
    ck_assert_uint_eq(read_scalars(e, 4), 1);
    ck_assert_str_eq(e[0].tag, "c");
}
END_TEST

START_TEST(resuming_cuts_the_checkpoints_iteration_and_later_ones)
{
    json_t *l[16];
    static struct event e[64];
    write_iterations(0, 6, UINT64_MAX);
    write_iterations(4, 7, 4); /* resumed somewhere inside iteration 4 */
    ck_assert_uint_eq(jsonl(l, 16), 7);
    for (size_t i = 0; i < 7; i++) {
        ck_assert_uint_eq(number(l[i], "iteration"), i);
        json_decref(l[i]);
    }
    bool seen[7] = {false};
    ck_assert_uint_eq(read_scalars(e, 64), 14);
    for (size_t i = 0; i < 14; i++) {
        size_t iteration = (size_t)e[i].step / 100 - 1;
        ck_assert_uint_lt(iteration, 7);
        seen[iteration] = true;
    }
    for (size_t i = 0; i < 7; i++)
        ck_assert(seen[i]);
}
END_TEST

START_TEST(a_cut_before_the_first_line_leaves_nothing)
{
    json_t *l[4];
    static struct event e[4];
    write_iterations(0, 3, UINT64_MAX);
    write_iterations(0, 0, 0);
    ck_assert_uint_eq(jsonl(l, 4), 0);
    ck_assert_uint_eq(read_scalars(e, 4), 0);
}
END_TEST

START_TEST(a_torn_line_and_a_torn_event_are_dropped)
{
    json_t *l[8];
    static struct event e[16];
    char path[SCRATCH_PATH + 300];
    write_iterations(0, 3, UINT64_MAX);
    snprintf(path, sizeof path, "%s/metrics.jsonl", dir);
    FILE *f = fopen(path, "ab");
    fputs("{\"iteration\":3,\"env_steps\":400,\"wm/k", f);
    fclose(f);
    char tb[SCRATCH_PATH + 8];
    snprintf(tb, sizeof tb, "%s/tb", dir);
    DIR *d = opendir(tb);
    for (struct dirent *x; (x = readdir(d));)
        if (strstr(x->d_name, "tfevents")) {
            struct stat st;
            snprintf(path, sizeof path, "%s/%s", tb, x->d_name);
            ck_assert_int_eq(stat(path, &st), 0);
            ck_assert_int_eq(truncate(path, st.st_size - 3), 0);
        }
    closedir(d);
    write_iterations(3, 4, 3);
    ck_assert_uint_eq(jsonl(l, 8), 4);
    for (size_t i = 0; i < 4; i++)
        json_decref(l[i]);
    ck_assert_uint_eq(read_scalars(e, 16), 7); /* 6 less the torn one, and 2 new */
}
END_TEST

START_TEST(a_name_too_long_for_an_event_is_an_error)
{
    char name[200];
    struct metrics *m = NULL;
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = 0;
    struct metric v = {name, 1};
    ck_assert_int_eq(metrics_open(&m, dir, UINT64_MAX), 0);
    ck_assert_int_eq(metrics_write(m, 1, 5, 0, &v, 1), ERR_INVAL);
    metrics_close(m);
}
END_TEST

START_TEST(a_directory_that_cannot_be_written_is_an_error)
{
    struct metrics *m = NULL;
    char path[SCRATCH_PATH + 8];
    snprintf(path, sizeof path, "%s/none", dir);
    ck_assert_int_eq(metrics_open(&m, path, 0), ERR_IO);
    ck_assert_ptr_null(m);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("metrics");
    TCase *t = tcase_create("metrics");
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_test(t, scalars_read_back_with_their_steps_and_tags);
    tcase_add_test(t, a_large_step_is_kept);
    tcase_add_test(t, lines_are_json_with_the_documented_keys);
    tcase_add_test(t, values_that_are_not_finite_are_null_and_no_event);
    tcase_add_test(t, resuming_cuts_the_checkpoints_iteration_and_later_ones);
    tcase_add_test(t, a_cut_before_the_first_line_leaves_nothing);
    tcase_add_test(t, a_torn_line_and_a_torn_event_are_dropped);
    tcase_add_test(t, a_name_too_long_for_an_event_is_an_error);
    tcase_add_test(t, a_directory_that_cannot_be_written_is_an_error);
    suite_add_tcase(suite, t);
    return run_suite(suite);
}
