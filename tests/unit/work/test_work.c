/* SPDX-License-Identifier: Apache-2.0 */
/* test_work.c - weights by pieces, identity, retry times: without sockets. */
#include "suite.h"
#include "work/fetch.h"
#include "work/worker.h"
#include "worker_hello.h"

#include "base/err.h"
#include "base/log.h"
#include "nn/half.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOB = 3 * WIRE_CHUNK_MAX + 1000, GETS = 256 };

struct bench {
    struct fetch *f;
    struct wire_get get[GETS];
    size_t gets;
    bool broken; /* sending fails */
    unsigned char blob[2][BLOB];
    struct wire_set set;
};

static struct bench b;

static int send_get(void *arg, struct wire_get *g)
{
    struct bench *t = arg;
    if (t->broken)
        return ERR_CLOSED;
    t->get[t->gets++ % GETS] = *g;
    return 0;
}

static void setup(void)
{
    log_init("test", "", LOG_ERROR, LOG_TEXT);
    memset(&b, 0, sizeof b);
    ck_assert_int_eq(fetch_open(&b.f, 1u << 0 | 1u << 3, send_get, &b), 0);
    b.set.set_id = 5;
    b.set.count = 2;
    for (uint32_t k = 0; k < 2; k++) {
        for (size_t i = 0; i < BLOB; i++)
            b.blob[k][i] = (unsigned char)(i * 31 + k);
        b.set.group[k] = (struct wire_group){.group = 3 * k, .version = 4, .size = BLOB};
        digest_of(&b.set.group[k].digest, b.blob[k], BLOB);
    }
}

static void teardown(void)
{
    fetch_close(b.f);
}

static bool answer(size_t i, int64_t now)
{
    const struct wire_get *g = &b.get[i];
    const unsigned char *bytes = b.blob[g->group / 3] + g->offset;
    struct wire_chunk c = {g->group, g->version, g->offset, crc32c(0, bytes, g->length)};
    return fetch_chunk(b.f, &c, bytes, g->length, now);
}

START_TEST(at_most_eight_gets_are_under_way)
{
    struct blob_set *out;
    ck_assert_int_eq(fetch_want(b.f, &b.set, 0, &out), FETCH_PENDING);
    ck_assert_uint_eq(b.gets, 8);
    ck_assert_int_eq(fetch_want(b.f, &b.set, 1, &out), FETCH_PENDING);
    ck_assert_uint_eq(b.gets, 8); /* asking twice asks once */
}
END_TEST

START_TEST(a_set_is_ready_when_all_pieces_of_needed_groups_are_here)
{
    struct blob_set *out = NULL;
    size_t n, news = 0;
    fetch_want(b.f, &b.set, 0, &out);
    for (size_t i = 0; i < b.gets; i++)
        news += answer(b.gets - 1 - i, 1); /* any order */
    ck_assert_uint_eq(news, 2);
    ck_assert_int_eq(fetch_want(b.f, &b.set, 2, &out), FETCH_READY);
    ck_assert_mem_eq(blob_bytes(out->blob[3], &n), b.blob[1], BLOB);
    ck_assert_uint_eq(n, BLOB);
    ck_assert_ptr_null(out->blob[1]);
    blob_set_free(out);
    b.set.set_id = 6; /* the same weights in a later set cost nothing */
    size_t before = b.gets;
    ck_assert_int_eq(fetch_want(b.f, &b.set, 3, &out), FETCH_READY);
    ck_assert_uint_eq(b.gets, before);
    blob_set_free(out);
}
END_TEST

START_TEST(unanswered_gets_are_asked_again)
{
    struct blob_set *out;
    fetch_want(b.f, &b.set, 0, &out);
    fetch_tick(b.f, 4999);
    ck_assert_uint_eq(b.gets, 8);
    fetch_tick(b.f, 5000);
    ck_assert_uint_eq(b.gets, 16);
    fetch_session(b.f, 5001);
    ck_assert_uint_eq(b.gets, 24);
    b.broken = true;
    fetch_session(b.f, 5002);
    b.broken = false;
    fetch_tick(b.f, 5003); /* what could not be sent */
    ck_assert_uint_eq(b.gets, 32);
}
END_TEST

START_TEST(a_damaged_piece_is_asked_again_and_strange_ones_ignored)
{
    struct blob_set *out;
    fetch_want(b.f, &b.set, 0, &out);
    struct wire_chunk c = {0, 4, 0, 12345};
    ck_assert(!fetch_chunk(b.f, &c, b.blob[0], WIRE_CHUNK_MAX, 1));
    ck_assert_uint_eq(b.gets, 9);
    c.version = 9;
    ck_assert(!fetch_chunk(b.f, &c, b.blob[0], WIRE_CHUNK_MAX, 1));
    c.group = 7;
    ck_assert(!fetch_chunk(b.f, &c, b.blob[0], WIRE_CHUNK_MAX, 1));
    ck_assert_uint_eq(b.gets, 9);
}
END_TEST

START_TEST(a_blob_with_a_wrong_digest_is_given_up_after_three_tries)
{
    struct blob_set *out;
    b.set.group[1].digest.b[0] ^= 1;
    fetch_want(b.f, &b.set, 0, &out);
    bool gone = false;
    for (size_t i = 0; i < GETS && i < b.gets && !gone; i++)
        gone = answer(i, 1) && fetch_want(b.f, &b.set, 1, &out) == FETCH_GONE;
    ck_assert(gone);
    ck_assert_uint_eq(b.gets, 4 + 3 * 4);
}
END_TEST

START_TEST(what_the_learner_dropped_is_gone_until_a_new_session)
{
    struct blob_set *out;
    struct wire_gone g = {.group = 3, .version = 4};
    fetch_want(b.f, &b.set, 0, &out);
    ck_assert(fetch_gone(b.f, &g));
    ck_assert(!fetch_gone(b.f, &g));
    ck_assert_int_eq(fetch_want(b.f, &b.set, 1, &out), FETCH_GONE);
    fetch_session(b.f, 2);
    ck_assert_int_eq(fetch_want(b.f, &b.set, 3, &out), FETCH_PENDING);
}
END_TEST

START_TEST(a_manifest_without_a_needed_group_or_of_impossible_size_is_gone)
{
    struct blob_set *out;
    struct wire_set s = b.set;
    s.count = 1;
    ck_assert_int_eq(fetch_want(b.f, &s, 0, &out), FETCH_GONE);
    s = b.set;
    s.group[1].size = UINT64_MAX;
    ck_assert_int_eq(fetch_want(b.f, &s, 0, &out), FETCH_GONE);
}
END_TEST

START_TEST(blobs_in_use_outlive_their_place_in_the_cache)
{
    struct blob_set *out, *other;
    size_t n;
    fetch_want(b.f, &b.set, 0, &out);
    for (size_t i = 0; i < 8; i++)
        answer(i, 1);
    ck_assert_int_eq(fetch_want(b.f, &b.set, 2, &out), FETCH_READY);
    for (uint64_t k = 0; k < 5; k++) { /* later versions push the old ones out */
        struct wire_set s = b.set;
        for (int g = 0; g < 2; g++) {
            s.group[g].version = 10 + k;
            s.group[g].digest.b[5] = (unsigned char)k;
            s.group[g].digest.b[6] = 1;
        }
        fetch_want(b.f, &s, 10 + (int64_t)k, &other);
    }
    ck_assert_mem_eq(blob_bytes(out->blob[0], &n), b.blob[0], BLOB);
    blob_set_free(out);
}
END_TEST

START_TEST(an_identity_is_kept_in_its_directory)
{
    char dir[64], path[96];
    unsigned char a[WIRE_ID], c[WIRE_ID], d[WIRE_ID];
    snprintf(dir, sizeof dir, "/tmp/mag-test-id-%d", (int)getpid());
    snprintf(path, sizeof path, "%s/worker_id", dir);
    ck_assert_int_eq(worker_identity(a, dir), 0);
    ck_assert_int_eq(worker_identity(c, dir), 0);
    ck_assert_mem_eq(a, c, WIRE_ID);
    ck_assert_int_eq(worker_identity(d, NULL), 0);
    ck_assert_mem_ne(a, d, WIRE_ID);
    FILE *f = fopen(path, "w");
    fputs("short", f);
    fclose(f);
    ck_assert_int_eq(worker_identity(c, dir), ERR_IO);
    ck_assert_ptr_nonnull(strstr(err_text(), path));
    unlink(path);
    rmdir(dir);
}
END_TEST

START_TEST(the_retry_time_follows_the_answers)
{
    struct worker_rtt r = {0};
    ck_assert_int_eq(worker_rtt_timeout(&r, 0), 1000);
    ck_assert_int_eq(worker_rtt_timeout(&r, 2), 4000);
    worker_rtt_add(&r, 3000);
    ck_assert_int_eq(worker_rtt_timeout(&r, 0), 6000);
    for (int i = 0; i < 100; i++)
        worker_rtt_add(&r, 10);
    ck_assert_int_eq(worker_rtt_timeout(&r, 0), 1000);
    ck_assert_int_eq(worker_rtt_timeout(&r, 100), 32000);
}
END_TEST

/* A WELCOME as a learner with `precision` would send it, and what a worker makes of it. */
static int understand(enum wire_role role, const char *precision, const char *pinned,
                      const char *isa, enum cfg_isa local)
{
    struct config local_cfg, run_cfg;
    struct config_builder *builder = NULL;
    struct worker_cfg c = {.role = role, .name = "planner", .cfg = &local_cfg, .version = "1"};
    struct worker_run run;
    const struct env_class *env = NULL;
    struct env_spec spec;
    char *yaml = NULL;
    size_t n = 0;
    config_defaults(&local_cfg);
    local_cfg.compute.isa = local;
    ck_assert_int_eq(config_begin(&builder), 0);
    ck_assert_int_eq(config_set(builder, "imagine.precision", precision, ORIGIN_CLI), 0);
    ck_assert_int_eq(config_finish(builder, &run_cfg), 0);
    config_end(builder);
    ck_assert_int_eq(config_run_yaml(&run_cfg, &yaml, &n), 0);
    ck_assert_int_eq(env_find(run_cfg.env.name, &env), 0);
    ck_assert_int_eq(env->spec(&run_cfg, &spec), 0);
    struct wire_welcome w = {.proto = WIRE_MAJOR, .config_yaml = yaml, .config_bytes = n};
    config_digest(&run_cfg, &w.config_digest);
    memcpy(w.spec_hash, spec.hash, sizeof w.spec_hash);
    snprintf(w.pin.precision, sizeof w.pin.precision, "%s", pinned);
    snprintf(w.pin.isa, sizeof w.pin.isa, "%s", isa);
    int err = welcome_understand(&run, &c, &w);
    free(yaml);
    return err;
}

START_TEST(a_planner_matches_the_runs_precision_or_names_both)
{
    ck_assert_int_eq(understand(ROLE_PLANNER, "float32", "float32", "", ISA_AUTO), 0);
    ck_assert_int_eq(understand(ROLE_PLANNER, "half", "bf16", "ref", ISA_AUTO), 0);
    ck_assert_int_eq(understand(ROLE_PLANNER, "half", "", "ref", ISA_AUTO), 0);
    /* a kind of half that this build does not know */
    ck_assert_int_eq(understand(ROLE_PLANNER, "half", "fp16", "ref", ISA_AUTO),
                     ERR_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(err_text(), "'fp16'"));
    ck_assert_ptr_nonnull(strstr(err_text(), "'bf16'"));
    ck_assert_int_eq(understand(ROLE_ACTOR, "half", "fp16", "ref", ISA_AUTO), 0);
    if (kern_half_supported())
        ck_assert_int_eq(understand(ROLE_PLANNER, "half", "bf16", "", ISA_AUTO), 0);
    if (!kern_supported(ISA_AVX2))
        return;
    ck_assert_int_eq(understand(ROLE_PLANNER, "half", "bf16", "", ISA_AVX2), ERR_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(err_text(), "'bf16'"));
    ck_assert_ptr_nonnull(strstr(err_text(), "'float32'"));
    ck_assert_ptr_nonnull(strstr(err_text(), "compute.isa"));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("work");
    TCase *tc = tcase_create("work");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, at_most_eight_gets_are_under_way);
    tcase_add_test(tc, a_set_is_ready_when_all_pieces_of_needed_groups_are_here);
    tcase_add_test(tc, unanswered_gets_are_asked_again);
    tcase_add_test(tc, a_damaged_piece_is_asked_again_and_strange_ones_ignored);
    tcase_add_test(tc, a_blob_with_a_wrong_digest_is_given_up_after_three_tries);
    tcase_add_test(tc, a_planner_matches_the_runs_precision_or_names_both);
    tcase_add_test(tc, what_the_learner_dropped_is_gone_until_a_new_session);
    tcase_add_test(tc, a_manifest_without_a_needed_group_or_of_impossible_size_is_gone);
    tcase_add_test(tc, blobs_in_use_outlive_their_place_in_the_cache);
    tcase_add_test(tc, an_identity_is_kept_in_its_directory);
    tcase_add_test(tc, the_retry_time_follows_the_answers);
    suite_add_tcase(s, tc);
    return run_suite(s);
}
