/* SPDX-License-Identifier: Apache-2.0 */
/* test_wire.c - envelope, data and weights planes, golden bytes of version 1.0. */
#include "test_wire.h"
#include "suite.h"

#include "wire_samples.h"

#include "base/err.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

START_TEST(the_envelope_names_version_and_type)
{
    unsigned char e[WIRE_ENVELOPE];
    struct wire_envelope out;
    wire_envelope_pack(e, WIRE_EPISODE);
    ck_assert_mem_eq(e, "MG\x01\x00\x20\x00\x00\x00", 8);
    ck_assert_int_eq(wire_envelope_parse(&out, e, sizeof e), 0);
    ck_assert_uint_eq(out.type, WIRE_EPISODE);
    e[3] = 9; /* a newer minor is fine */
    ck_assert_int_eq(wire_envelope_parse(&out, e, sizeof e), 0);
    e[2] = 2;
    ck_assert_int_eq(wire_envelope_parse(&out, e, sizeof e), ERR_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(err_text(), "2.9"));
    ck_assert_int_eq(wire_envelope_parse(&out, e, 7), ERR_PROTO);
    e[0] = 'X';
    ck_assert_int_eq(wire_envelope_parse(&out, e, sizeof e), ERR_PROTO);
    ck_assert_str_eq(wire_type_name(WIRE_RESULT_ACK), "RESULT_ACK");
    ck_assert_str_eq(wire_type_name(200), "unknown");
}
END_TEST

/* --------------------------------------------------------------------------------- golden */

START_TEST(golden_bytes_of_version_1_0_are_what_we_write_and_read)
{
    struct wire_sample s[WIRE_SAMPLES_MAX];
    size_t n = wire_samples(s);
    ck_assert_uint_ge(n, 25);
    for (size_t i = 0; i < n; i++) {
        static unsigned char file[1 << 16];
        char path[512];
        snprintf(path, sizeof path, "%s/golden/wire/1.0/%s.bin", MAG_TEST_DATA, s[i].name);
        FILE *f = fopen(path, "rb");
        ck_assert_msg(f != NULL, "%s is missing", path);
        size_t got = fread(file, 1, sizeof file, f);
        fclose(f);
        ck_assert_msg(got == s[i].n && memcmp(file, s[i].body, got) == 0,
                      "%s: the bytes changed", s[i].name);
        ck_assert_msg(sample_parse(s[i].type, file, got) == 0, "%s: %s", s[i].name, err_text());
    }
    wire_samples_free(s, n);
}
END_TEST

/* Every prefix of every message is refused, never read beyond (ASan watches). */
START_TEST(no_cut_message_parses)
{
    struct wire_sample s[WIRE_SAMPLES_MAX];
    size_t n = wire_samples(s);
    for (size_t i = 0; i < n; i++) {
        bool control = s[i].type <= WIRE_DRAIN_ALL;
        for (size_t cut = 0; cut < s[i].n; cut++) {
            unsigned char *copy = malloc(cut ? cut : 1);
            memcpy(copy, s[i].body, cut);
            int err = sample_parse(s[i].type, copy, cut);
            /* protobuf has no end mark: a prefix may be a shorter valid message */
            ck_assert_msg(err || control, "%s cut to %zu of %zu", s[i].name, cut, s[i].n);
            free(copy);
        }
    }
    wire_samples_free(s, n);
}
END_TEST

/* Flip every bit: refused or read, never a crash; crc-protected bodies always refused. */
START_TEST(no_flipped_bit_passes_a_checksum)
{
    struct wire_sample s[WIRE_SAMPLES_MAX];
    size_t n = wire_samples(s);
    for (size_t i = 0; i < n; i++) {
        bool token = s[i].type == WIRE_EPISODE || s[i].type == WIRE_RESULT;
        bool crc = token || s[i].type == WIRE_JOB;
        for (size_t bit = 0; bit < 8 * s[i].n; bit++) {
            s[i].body[bit / 8] ^= (unsigned char)(1 << bit % 8);
            int err = sample_parse(s[i].type, s[i].body, s[i].n);
            bool in_token = token && bit / 8 >= 3 && bit / 8 < 19;
            ck_assert_msg(!crc || in_token == (err == 0), "%s bit %zu: %d", s[i].name, bit,
                          err);
            s[i].body[bit / 8] ^= (unsigned char)(1 << bit % 8);
        }
    }
    wire_samples_free(s, n);
}
END_TEST

/* -------------------------------------------------------------------------------- episode */

static int send_episode(const struct wire_episode *e, struct wire_episode *out,
                        unsigned char **body)
{
    size_t n;
    ck_assert_int_eq(wire_episode_pack(e, body, &n), 0);
    return wire_episode_parse(out, *body, n);
}

static void refuse_episode(const struct wire_episode *e, const char *why)
{
    unsigned char *body;
    struct wire_episode out;
    ck_assert_int_eq(send_episode(e, &out, &body), ERR_PROTO);
    ck_assert_msg(strstr(err_text(), why) != NULL, "'%s' does not say '%s'", err_text(), why);
    free(body);
}

START_TEST(an_episode_survives_the_trip)
{
    for (int state = 0; state < 2; state++) {
        struct wire_episode e, out;
        unsigned char *body;
        sample_episode(&e, state);
        ck_assert_int_eq(send_episode(&e, &out, &body), 0);
        ck_assert_mem_eq(out.token, e.token, WIRE_ID);
        ck_assert_mem_eq(out.worker_id, e.worker_id, WIRE_ID);
        ck_assert_uint_eq(out.seq, e.seq);
        ck_assert_uint_eq(out.episode_no, e.episode_no);
        ck_assert_uint_eq(out.seed, e.seed);
        ck_assert_str_eq(out.env, e.env);
        ck_assert(out.won && out.ret == e.ret && out.end == e.end);
        ck_assert_mem_eq(out.obs, e.obs, (e.T + 1) * e.N * e.O * 4);
        ck_assert_mem_eq(out.avail, e.avail, (e.T + 1) * e.N * 2);
        ck_assert_mem_eq(out.action, e.action, e.T * e.N);
        ck_assert_mem_eq(out.reward, e.reward, e.T * 4);
        ck_assert_int_eq(out.state != NULL, state);
        if (state)
            ck_assert_mem_eq(out.state, e.state, (e.T + 1) * e.G * 4);
        free(body);
    }
}
END_TEST

START_TEST(an_episode_that_cannot_be_true_is_refused)
{
    struct wire_episode e;
    static float obs[4 * 2 * 4], reward[3];
    static unsigned char action[8], avail[16];

    sample_episode(&e, false);
    memcpy(obs, e.obs, sizeof obs);
    obs[31] = NAN;
    e.obs = obs;
    refuse_episode(&e, "finite");

    sample_episode(&e, false);
    memcpy(reward, e.reward, sizeof reward);
    reward[0] = -INFINITY;
    e.reward = reward;
    refuse_episode(&e, "finite");

    sample_episode(&e, false);
    memcpy(action, e.action, sizeof action);
    action[1] = 11; /* A */
    e.action = action;
    refuse_episode(&e, "not available");
    action[1] = 1; /* masked in its own row */
    refuse_episode(&e, "not available");

    sample_episode(&e, false);
    memcpy(avail, e.avail, sizeof avail);
    avail[15] |= 0x80;
    e.avail = avail;
    refuse_episode(&e, "beyond");

    sample_episode(&e, false);
    e.seq = 0;
    refuse_episode(&e, "seq");
    sample_episode(&e, false);
    e.kind = 4;
    refuse_episode(&e, "kind");
    sample_episode(&e, false);
    e.end = 0;
    refuse_episode(&e, "end");
    sample_episode(&e, false);
    e.ret = NAN;
    refuse_episode(&e, "ret");
}
END_TEST

START_TEST(dimensions_that_overflow_are_refused_before_multiplying)
{
    unsigned char *body;
    size_t n;
    struct wire_episode e;
    sample_episode(&e, false);
    e.T = 65535;
    e.N = 255;
    e.O = 65535;
    ck_assert_int_eq(wire_episode_pack(&e, &body, &n), ERR_INVAL);
    ck_assert_uint_gt(wire_episode_bytes(65535, 255, 65535, 256, 65535), WIRE_DATA_MAX);
    ck_assert_uint_eq(wire_episode_bytes(UINT32_MAX, UINT32_MAX, UINT32_MAX, 1, 1), SIZE_MAX);
}
END_TEST

/* Write value v over the one-byte number after `key`, and mend the crc. */
static void patch(unsigned char *body, size_t n, const char *key, unsigned char v)
{
    size_t k = strlen(key);
    for (size_t i = 24; i + k < n; i++) {
        if (body[i] == (0xa0 | k) && memcmp(body + i + 1, key, k) == 0)
            body[i + 1 + k] = v;
    }
    uint32_t crc = crc32c(0, body + 24, n - 24);
    for (int i = 0; i < 4; i++)
        body[20 + i] = (unsigned char)(crc >> (24 - 8 * i));
}

START_TEST(a_tensor_of_another_length_than_its_shape_is_refused)
{
    static const char *const dim[] = {"T", "N", "O", "A", "G"};
    for (size_t i = 0; i < 5; i++) {
        struct wire_episode e, out;
        unsigned char *body;
        size_t n;
        sample_episode(&e, true);
        ck_assert_int_eq(wire_episode_pack(&e, &body, &n), 0);
        patch(body, n, dim[i], 33);
        ck_assert_int_eq(wire_episode_parse(&out, body, n), ERR_PROTO);
        ck_assert_msg(strstr(err_text(), "shape") != NULL, "%s: %s", dim[i], err_text());
        patch(body, n, dim[i], 0);
        ck_assert_int_eq(wire_episode_parse(&out, body, n), ERR_PROTO);
        free(body);
    }
}
END_TEST

START_TEST(a_damaged_episode_still_tells_its_token_and_seq)
{
    struct wire_episode e, out;
    unsigned char *body, token[WIRE_ID];
    uint64_t seq = 0;
    size_t n;
    sample_episode(&e, false);
    ck_assert_int_eq(wire_episode_pack(&e, &body, &n), 0);
    body[n - 1] ^= 1;
    ck_assert_int_eq(wire_episode_parse(&out, body, n), ERR_CORRUPT);
    ck_assert_int_eq(wire_episode_peek(token, &seq, body, n), 0);
    ck_assert_uint_eq(seq, e.seq);
    ck_assert_mem_eq(token, e.token, WIRE_ID);
    body[n - 1] ^= 1;
    memset(token, 0xee, sizeof token);
    wire_body_token(body, token); /* a new session: the crc still holds */
    ck_assert_int_eq(wire_episode_parse(&out, body, n), 0);
    ck_assert_mem_eq(out.token, token, WIRE_ID);
    free(body);
}
END_TEST

START_TEST(the_episode_digest_ignores_who_and_when_and_sees_the_rest)
{
    struct wire_episode e, f;
    struct digest set, a, b;
    static float reward[3];
    sample_episode(&e, true);
    digest_of(&set, "set", 3);
    wire_episode_digest(&e, &set, &a);
    f = e;
    memset(f.token, 1, WIRE_ID);
    memset(f.worker_id, 1, WIRE_ID);
    f.incarnation = f.seq = f.wall_ms = f.set_id = 99;
    strcpy(f.build, "other");
    wire_episode_digest(&f, &set, &b);
    ck_assert_mem_eq(a.b, b.b, DIGEST_BYTES);
    memcpy(reward, e.reward, sizeof reward);
    reward[2] += 0.125f;
    f.reward = reward;
    wire_episode_digest(&f, &set, &b);
    ck_assert_mem_ne(a.b, b.b, DIGEST_BYTES);
    f = e;
    f.seed++;
    wire_episode_digest(&f, &set, &b);
    ck_assert_mem_ne(a.b, b.b, DIGEST_BYTES);
    digest_of(&set, "tes", 3);
    wire_episode_digest(&e, &set, &b);
    ck_assert_mem_ne(a.b, b.b, DIGEST_BYTES);
}
END_TEST

/* --------------------------------------------------------------------------- job, result */

START_TEST(a_job_survives_the_trip)
{
    struct wire_job j, out;
    unsigned char *body;
    size_t n;
    sample_job(&j);
    ck_assert_int_eq(wire_job_pack(&j, &body, &n), 0);
    ck_assert_int_eq(wire_job_parse(&out, body, n), 0);
    ck_assert_uint_eq(out.job_id, j.job_id);
    ck_assert_mem_eq(&out.set, &j.set, sizeof j.set);
    ck_assert_mem_eq(out.obs, j.obs, 4 * 2 * 2 * 4 * 4);
    ck_assert_mem_eq(out.action, j.action, 4 * 2 * 2);
    ck_assert_mem_eq(out.last, j.last, 4 * 2);
    free(body);
    static unsigned char last[8] = {2};
    j.last = last;
    ck_assert_int_eq(wire_job_pack(&j, &body, &n), 0);
    ck_assert_int_eq(wire_job_parse(&out, body, n), ERR_PROTO);
    free(body);
}
END_TEST

START_TEST(a_result_survives_the_trip)
{
    struct wire_result r, out;
    unsigned char *body;
    size_t n, tokens = 3 * 2 * 2;
    sample_result(&r);
    ck_assert_int_eq(wire_result_pack(&r, &body, &n), 0);
    ck_assert_int_eq(wire_result_parse(&out, body, n), 0);
    ck_assert_uint_eq(out.stats_count, 3);
    ck_assert_double_eq(out.stats[1], -1.5);
    ck_assert_mem_eq(out.h, r.h, tokens * 8 * 4);
    ck_assert_mem_eq(out.index, r.index, tokens * 3);
    ck_assert_mem_eq(out.ret, r.ret, tokens * 4);
    struct digest_state s;
    struct digest a, b;
    digest_init(&s);
    wire_result_digest_add(&s, &r);
    digest_end(&s, &a);
    digest_init(&s);
    wire_result_digest_add(&s, &out);
    digest_end(&s, &b);
    ck_assert_mem_eq(a.b, b.b, DIGEST_BYTES);
    free(body);
}
END_TEST

START_TEST(a_result_that_cannot_be_true_is_refused)
{
    struct wire_result r, out;
    unsigned char *body;
    size_t n;
    for (int c = 0; c < 3; c++) {
        static float value[12];
        sample_result(&r);
        if (c == 0)
            r.part = 2;
        if (c == 1)
            r.part = 1; /* with statistics */
        if (c == 2) {
            value[11] = INFINITY;
            r.value = value;
        }
        ck_assert_int_eq(wire_result_pack(&r, &body, &n), 0);
        ck_assert_msg(wire_result_parse(&out, body, n) == ERR_PROTO, "case %d", c);
        free(body);
    }
    sample_result(&r);
    r.stats_count = WIRE_STATS + 1;
    ck_assert_int_eq(wire_result_pack(&r, &body, &n), ERR_INVAL);
}
END_TEST

START_TEST(jobs_and_results_of_impossible_size_are_refused)
{
    struct wire_job j;
    struct wire_result r;
    unsigned char *body;
    size_t n;
    for (int c = 0; c < 4; c++) {
        sample_job(&j);
        uint32_t *dim[] = {&j.rows, &j.W, &j.N, &j.O};
        *dim[c] = 0;
        ck_assert_int_eq(wire_job_pack(&j, &body, &n), ERR_INVAL);
        *dim[c] = 65536;
        ck_assert_int_eq(wire_job_pack(&j, &body, &n), ERR_INVAL);
    }
    sample_job(&j);
    j.rows = j.W = j.O = 65535;
    ck_assert_int_eq(wire_job_pack(&j, &body, &n), ERR_INVAL);
    for (int c = 0; c < 6; c++) {
        sample_result(&r);
        uint32_t *dim[] = {&r.starts, &r.steps, &r.N, &r.C, &r.D, &r.A};
        *dim[c] = 0;
        ck_assert_int_eq(wire_result_pack(&r, &body, &n), ERR_INVAL);
    }
    sample_result(&r);
    r.starts = r.D = 65535;
    ck_assert_int_eq(wire_result_pack(&r, &body, &n), ERR_INVAL);
}
END_TEST

START_TEST(a_result_names_only_available_actions)
{
    struct wire_result r, out;
    unsigned char *body;
    size_t n;
    static unsigned char action[12], avail[24];
    for (int c = 0; c < 3; c++) {
        sample_result(&r);
        memcpy(action, r.action, sizeof action);
        memcpy(avail, r.avail, sizeof avail);
        if (c == 0)
            action[11] = 11; /* A */
        else if (c == 1)
            action[3] = action[3] == 1 ? 2 : 1; /* masked */
        else
            avail[23] |= 0x80; /* beyond A */
        r.action = action;
        r.avail = avail;
        ck_assert_int_eq(wire_result_pack(&r, &body, &n), 0);
        ck_assert_msg(wire_result_parse(&out, body, n) == ERR_PROTO, "case %d", c);
        free(body);
    }
}
END_TEST

START_TEST(unknown_keys_are_skipped_and_repeated_ones_refused)
{
    struct wire_cancel out;
    const unsigned char more[] = {0x82, 0xa1, 'x', 0x92, 1,   0xa1, 'y', 0xa6,
                                  'j',  'o',  'b', '_',  'i', 'd',  5};
    ck_assert_int_eq(wire_cancel_parse(&out, more, sizeof more), 0);
    ck_assert_uint_eq(out.job_id, 5);
    const unsigned char twice[] = {0x82, 0xa6, 'j', 'o', 'b', '_', 'i', 'd', 5,
                                   0xa6, 'j',  'o', 'b', '_', 'i', 'd', 5};
    ck_assert_int_eq(wire_cancel_parse(&out, twice, sizeof twice), ERR_PROTO);
    const unsigned char none[] = {0x80};
    ck_assert_int_eq(wire_cancel_parse(&out, none, sizeof none), ERR_PROTO);
    ck_assert_ptr_nonnull(strstr(err_text(), "job_id"));
}
END_TEST

START_TEST(the_set_digest_sees_weights_and_not_versions)
{
    struct wire_job j;
    struct digest a, b;
    sample_job(&j);
    wire_set_digest(&j.set, &a);
    struct wire_group swap = j.set.group[0];
    j.set.group[0] = j.set.group[2];
    j.set.group[2] = swap;
    j.set.set_id = 1;
    j.set.group[1].version = 1234;
    wire_set_digest(&j.set, &b);
    ck_assert_mem_eq(a.b, b.b, DIGEST_BYTES);
    j.set.group[1].digest.b[31] ^= 1;
    wire_set_digest(&j.set, &b);
    ck_assert_mem_ne(a.b, b.b, DIGEST_BYTES);
}
END_TEST

START_TEST(weights_headers_are_bounded)
{
    unsigned char b[WIRE_GET_BYTES];
    struct wire_get get = {.group = 3, .version = 9, .offset = 10, .length = WIRE_CHUNK_MAX},
                    out;
    wire_get_pack(b, &get);
    ck_assert_int_eq(wire_get_parse(&out, b, sizeof b), 0);
    ck_assert(out.group == 3 && out.version == 9 && out.offset == 10 &&
              out.length == WIRE_CHUNK_MAX);
    ck_assert_int_eq(wire_get_parse(&out, b, sizeof b - 1), ERR_PROTO);
    get.length++;
    wire_get_pack(b, &get);
    ck_assert_int_eq(wire_get_parse(&out, b, sizeof b), ERR_PROTO);
    get.length = 0;
    wire_get_pack(b, &get);
    ck_assert_int_eq(wire_get_parse(&out, b, sizeof b), ERR_PROTO);
    get.length = 1;
    get.group = WIRE_GROUPS_MAX;
    wire_get_pack(b, &get);
    ck_assert_int_eq(wire_get_parse(&out, b, sizeof b), ERR_PROTO);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("wire");
    TCase *tc = tcase_create("data");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, the_envelope_names_version_and_type);
    tcase_add_test(tc, golden_bytes_of_version_1_0_are_what_we_write_and_read);
    tcase_add_test(tc, no_cut_message_parses);
    tcase_add_test(tc, no_flipped_bit_passes_a_checksum);
    tcase_add_test(tc, an_episode_survives_the_trip);
    tcase_add_test(tc, an_episode_that_cannot_be_true_is_refused);
    tcase_add_test(tc, dimensions_that_overflow_are_refused_before_multiplying);
    tcase_add_test(tc, a_tensor_of_another_length_than_its_shape_is_refused);
    tcase_add_test(tc, a_damaged_episode_still_tells_its_token_and_seq);
    tcase_add_test(tc, the_episode_digest_ignores_who_and_when_and_sees_the_rest);
    tcase_add_test(tc, a_job_survives_the_trip);
    tcase_add_test(tc, a_result_survives_the_trip);
    tcase_add_test(tc, a_result_that_cannot_be_true_is_refused);
    tcase_add_test(tc, jobs_and_results_of_impossible_size_are_refused);
    tcase_add_test(tc, a_result_names_only_available_actions);
    tcase_add_test(tc, unknown_keys_are_skipped_and_repeated_ones_refused);
    tcase_add_test(tc, the_set_digest_sees_weights_and_not_versions);
    tcase_add_test(tc, weights_headers_are_bounded);
    suite_add_tcase(s, tc);
    add_control_tests(s);
    return run_suite(s);
}
