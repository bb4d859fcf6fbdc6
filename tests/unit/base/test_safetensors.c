/* SPDX-License-Identifier: Apache-2.0 */
/* test_safetensors.c - what is written reads back; what is malformed is refused. */
#include "suite.h"

#include "base/err.h"
#include "base/safetensors.h"

#include <check.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const float w[6] = {1, 2, 3, 4, 5, 6};
static const float bias[2] = {-1, 0.5f};
static const double norm[1] = {3.25};
static const int64_t count[1] = {-7};
static const unsigned char bits[3] = {1, 0, 1};

static const struct st_tensor sample[] = {
    {.name = "b.bias", .dtype = ST_F32, .rank = 1, .shape = {2}, .data = bias, .bytes = 8},
    {.name = "mask", .dtype = ST_BOOL, .rank = 1, .shape = {3}, .data = bits, .bytes = 3},
    {.name = "a.weight", .dtype = ST_F32, .rank = 2, .shape = {2, 3}, .data = w, .bytes = 24},
    {.name = "steps", .dtype = ST_I64, .rank = 0, .data = count, .bytes = 8},
    {.name = "norm", .dtype = ST_F64, .rank = 1, .shape = {1}, .data = norm, .bytes = 8},
    {.name = "none", .dtype = ST_F32, .rank = 2, .shape = {0, 4}, .data = NULL, .bytes = 0},
};
enum { SAMPLES = sizeof sample / sizeof *sample };
static const char *const meta[][2] = {{"format", "pt"}, {"note", "a \"quoted\" word"}};

static void check_sample(const struct st_reader *r)
{
    float got[6];
    ck_assert_uint_eq(st_count(r), SAMPLES);
    for (size_t i = 0; i < SAMPLES; i++) {
        const struct st_tensor *t = st_find(r, sample[i].name);
        ck_assert_ptr_nonnull(t);
        ck_assert_int_eq(t->dtype, sample[i].dtype);
        ck_assert_uint_eq(t->rank, sample[i].rank);
        ck_assert_mem_eq(t->shape, sample[i].shape, sizeof t->shape);
        ck_assert_uint_eq(t->bytes, sample[i].bytes);
        if (t->bytes)
            ck_assert_mem_eq(t->data, sample[i].data, t->bytes);
    }
    ck_assert_int_eq(st_copy_f32(st_find(r, "a.weight"), got, 6), 0);
    ck_assert_mem_eq(got, w, sizeof w);
    ck_assert_int_eq(st_copy_f32(st_find(r, "a.weight"), got, 5), ERR_INVAL);
    ck_assert_ptr_nonnull(strstr(err_text(), "a.weight"));
    ck_assert_int_eq(st_copy_f32(st_find(r, "norm"), got, 1), ERR_INVAL);
    ck_assert_ptr_null(st_find(r, "absent"));
    ck_assert_str_eq(st_meta(r, "format"), "pt");
    ck_assert_str_eq(st_meta(r, "note"), "a \"quoted\" word");
    ck_assert_ptr_null(st_meta(r, "absent"));
}

START_TEST(written_tensors_read_back)
{
    unsigned char *buf = NULL;
    size_t n = 0;
    struct st_reader *r = NULL;
    ck_assert_int_eq(st_write_mem(&buf, &n, sample, SAMPLES, meta, 2), 0);
    ck_assert_int_eq(st_parse(&r, buf, n), 0);
    check_sample(r);
    st_close(r);
    free(buf);
}
END_TEST

START_TEST(order_is_by_element_size_then_name_whatever_the_input_order)
{
    static const char *const order[] = {"norm", "steps", "a.weight", "b.bias", "none", "mask"};
    struct st_tensor reversed[SAMPLES];
    for (size_t i = 0; i < SAMPLES; i++)
        reversed[i] = sample[SAMPLES - 1 - i];
    unsigned char *a = NULL, *b = NULL;
    size_t na = 0, nb = 0;
    ck_assert_int_eq(st_write_mem(&a, &na, sample, SAMPLES, meta, 2), 0);
    ck_assert_int_eq(st_write_mem(&b, &nb, reversed, SAMPLES, meta, 2), 0);
    ck_assert_uint_eq(na, nb);
    ck_assert_mem_eq(a, b, na);
    struct st_reader *r = NULL;
    ck_assert_int_eq(st_parse(&r, a, na), 0);
    for (size_t i = 0; i < SAMPLES; i++)
        ck_assert_str_eq(st_at(r, i)->name, order[i]);
    ck_assert_int_eq(((const unsigned char *)st_at(r, 0)->data - a) % 8, 0);
    st_close(r);
    free(a);
    free(b);
}
END_TEST

START_TEST(a_file_appears_whole_under_its_name_only)
{
    char dir[] = "/tmp/mag-st-XXXXXX", path[64], tmp[80];
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/x.safetensors", dir);
    snprintf(tmp, sizeof tmp, "%s.tmp", path);
    struct st_reader *r = NULL;
    ck_assert_int_eq(st_read_file(&r, path), ERR_NOTFOUND);
    ck_assert_int_eq(st_write_file(path, sample, 1, NULL, 0), 0);
    ck_assert_int_eq(st_write_file(path, sample, SAMPLES, meta, 2), 0); /* replaces */
    ck_assert_int_ne(access(tmp, F_OK), 0);
    ck_assert_int_eq(st_read_file(&r, path), 0);
    check_sample(r);
    st_close(r);
    ck_assert_int_eq(truncate(path, 100), 0);
    r = NULL;
    ck_assert_int_eq(st_read_file(&r, path), ERR_CORRUPT);
    ck_assert_ptr_nonnull(strstr(err_text(), path));
    ck_assert_int_eq(st_read_file(&r, dir), ERR_IO);
    ck_assert_ptr_null(r);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(rmdir(dir), 0);
}
END_TEST

START_TEST(a_file_that_cannot_be_written_is_an_io_error)
{
    ck_assert_int_eq(st_write_file("/nonexistent/x", sample, 1, NULL, 0), ERR_IO);
    ck_assert_ptr_nonnull(strstr(err_text(), "/nonexistent/x"));
}
END_TEST

START_TEST(a_writer_given_nonsense_refuses)
{
    unsigned char *buf = NULL;
    size_t n = 0;
    struct st_tensor t[2] = {sample[0], sample[0]};
    ck_assert_int_eq(st_write_mem(&buf, &n, t, 2, NULL, 0), ERR_INVAL); /* twice */
    t[0].bytes = 4;
    ck_assert_int_eq(st_write_mem(&buf, &n, t, 1, NULL, 0), ERR_INVAL);
    t[0] = sample[0];
    t[0].name = "";
    ck_assert_int_eq(st_write_mem(&buf, &n, t, 1, NULL, 0), ERR_INVAL);
    t[0].name = "\xff";
    ck_assert_int_eq(st_write_mem(&buf, &n, t, 1, NULL, 0), ERR_INVAL);
    t[0] = sample[0];
    t[0].rank = 3;
    t[0].shape[0] = t[0].shape[1] = t[0].shape[2] = SIZE_MAX / 2;
    ck_assert_int_eq(st_write_mem(&buf, &n, t, 1, NULL, 0), ERR_INVAL);
    ck_assert_ptr_null(buf);
}
END_TEST

/* --- malformed input: a header and so many zero bytes of data --- */

#define ENTRY(name, type, shape, from, to)                                                     \
    "\"" name "\":{\"dtype\":\"" type "\",\"shape\":[" shape "],\"data_offsets\":[" from       \
    "," to "]}"
#define A ENTRY("a", "F32", "2", "0", "8")

static const struct {
    const char *header;
    size_t data;
    const char *says; /* NULL: accepted */
} headers[] = {
    {"{" A "}", 8, NULL},
    {"{}", 0, NULL},
    {"{" A "}        ", 8, NULL},
    {"{\"__metadata__\":{\"k\":\"v\"}," A "}", 8, NULL},
    {"{" ENTRY("b", "U8", "3", "8", "11") "," A "}", 11, NULL},
    {"{" ENTRY("z", "F32", "0,5", "8", "8") "," A "}", 8, NULL},
    {"{" ENTRY("s", "F64", "", "0", "8") "}", 8, NULL},

    {"", 0, "start with"},
    {" {}", 0, "start with"},
    {"[]", 0, "start with"},
    {"{", 0, "not JSON"},
    {"{}x", 0, "not JSON"},
    {"{" A "," A "}", 8, "not JSON"}, /* duplicate key */
    {"{\"a\\u0000\":1}", 0, "not JSON"},
    {"{\"a\":{\"b\":{\"c\":{}}}}", 0, "too deep"},
    {"{\"a\":[[[[]]]]}", 0, "too deep"},
    {"{\"a\":[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,"
     "0,0,0,0,0,0,0,0,0,0]}",
     0, "too many"},
    {"{\"a\":1}", 0, "expected dtype"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, "expected dtype"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8],\"x\":1}}", 8,
     "expected dtype"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"offsets\":[0,8]}}", 8, "two counts"},
    {"{" ENTRY("a", "F99", "2", "0", "8") "}", 8, "not supported"},
    {"{\"a\":{\"dtype\":4,\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "not a string"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":2,\"data_offsets\":[0,8]}}", 8, "shape is not"},
    {"{" ENTRY("a", "F32", "1,1,1,1,1,1,1,1,2", "0", "8") "}", 8, "shape is not"},
    {"{" ENTRY("a", "F32", "-2", "0", "8") "}", 8, "not a count"},
    {"{" ENTRY("a", "F32", "2.0", "0", "8") "}", 8, "not a count"},
    {"{" ENTRY("a", "F32", "99999999999999999999", "0", "8") "}", 8, "not JSON"},
    {"{" ENTRY("a", "F32", "4611686018427387904,4", "0", "0") "}", 0, "overflows"},
    {"{" ENTRY("a", "F32", "0,4611686018427387904,4", "0", "0") "}", 0, "overflows"},
    {"{" ENTRY("a", "F32", "2", "0", "7") "}", 8, "its shape takes"},
    {"{" ENTRY("a", "F32", "2", "0", "12") "}", 12, "its shape takes"},
    {"{" ENTRY("a", "F32", "2", "8", "0") "}", 8, "outside"},
    {"{" ENTRY("a", "F32", "2", "0", "8") "}", 7, "outside"},
    {"{" ENTRY("a", "F32", "2", "-8", "0") "}", 8, "two counts"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8,8]}}", 8, "two counts"},
    {"{" A "}", 9, "after the last"},
    {"{}", 1, "after the last"},
    {"{" ENTRY("a", "F32", "2", "4", "12") "}", 12, "unused"},
    {"{" A "," ENTRY("b", "F32", "2", "4", "12") "}", 12, "overlaps"},
    {"{" A "," ENTRY("b", "F32", "2", "0", "8") "}", 8, "overlaps"},
    {"{" A "," ENTRY("b", "F32", "2", "9", "17") "}", 17, "unused"},
    {"{" ENTRY("", "F32", "2", "0", "8") "}", 8, "name"},
    {"{\"__metadata__\":{\"k\":1}," A "}", 8, "not a string"},
    {"{\"__metadata__\":[]," A "}", 8, "not a map"},
};

START_TEST(malformed_headers_are_refused_with_their_reason)
{
    const char *header = headers[_i].header;
    size_t len = strlen(header), n = 8 + len + headers[_i].data;
    unsigned char *buf = calloc(1, n); /* exact: a read beyond the end is seen by sanitizers */
    buf[0] = (unsigned char)len;
    buf[1] = (unsigned char)(len >> 8);
    memcpy(buf + 8, header, len);
    struct st_reader *r = NULL;
    int err = st_parse(&r, buf, n);
    if (headers[_i].says) {
        ck_assert_msg(err == ERR_CORRUPT, "%s: %d", header, err);
        ck_assert_msg(strstr(err_text(), headers[_i].says) != NULL, "%s: %s", header,
                      err_text());
        ck_assert_ptr_null(r);
    } else {
        ck_assert_msg(err == 0, "%s: %s", header, err_text());
        st_close(r);
    }
    free(buf);
}
END_TEST

START_TEST(every_prefix_of_a_file_is_refused)
{
    unsigned char *buf = NULL;
    size_t n = 0;
    ck_assert_int_eq(st_write_mem(&buf, &n, sample, SAMPLES, meta, 2), 0);
    for (size_t k = 0; k < n; k++) {
        unsigned char *cut = malloc(k + 1);
        memcpy(cut, buf, k);
        struct st_reader *r = NULL;
        ck_assert_int_eq(st_parse(&r, cut, k), ERR_CORRUPT);
        free(cut);
    }
    free(buf);
}
END_TEST

START_TEST(a_header_longer_than_the_limit_is_refused)
{
    size_t n = 8 + (17 << 20);
    unsigned char *buf = malloc(n);
    memset(buf, ' ', n);
    uint64_t len = 17 << 20;
    memcpy(buf, &len, 8);
    buf[8] = '{', buf[9] = '}';
    struct st_reader *r = NULL;
    ck_assert_int_eq(st_parse(&r, buf, n), ERR_CORRUPT);
    memset(buf, 0xff, 8);
    ck_assert_int_eq(st_parse(&r, buf, n), ERR_CORRUPT);
    free(buf);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("safetensors");
    TCase *t = tcase_create("safetensors");
    tcase_add_test(t, written_tensors_read_back);
    tcase_add_test(t, order_is_by_element_size_then_name_whatever_the_input_order);
    tcase_add_test(t, a_file_appears_whole_under_its_name_only);
    tcase_add_test(t, a_file_that_cannot_be_written_is_an_io_error);
    tcase_add_test(t, a_writer_given_nonsense_refuses);
    tcase_add_loop_test(t, malformed_headers_are_refused_with_their_reason, 0,
                        (int)(sizeof headers / sizeof *headers));
    tcase_add_test(t, every_prefix_of_a_file_is_refused);
    tcase_add_test(t, a_header_longer_than_the_limit_is_refused);
    suite_add_tcase(s, t);
    return run_suite(s);
}
