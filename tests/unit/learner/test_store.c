/* SPDX-License-Identifier: Apache-2.0 */
/* test_store.c - run.db keeps what it acknowledged, once, and says what it holds. */
#include "base/err.h"
#include "learner/store.h"
#include "scratch.h"
#include "suite.h"

#include <check.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

static char dir[SCRATCH_PATH], path[SCRATCH_PATH + 16];
static struct store *s;

static void set_up(void)
{
    scratch_make(dir);
    snprintf(path, sizeof path, "%s/run.db", dir);
    ck_assert_int_eq(store_open(&s, path), 0);
}

static void tear_down(void)
{
    store_close(s);
    s = NULL;
    scratch_remove(dir);
}

static void reopen(void)
{
    store_close(s);
    s = NULL;
    ck_assert_int_eq(store_open(&s, path), 0);
}

/* ------------------------------------------------------------------------------- material */

static struct wire_episode episode(unsigned worker, uint64_t seq, enum wire_kind kind,
                                   uint64_t episode_no)
{
    struct wire_episode e = {.incarnation = 7,
                             .seq = seq,
                             .kind = kind,
                             .episode_no = episode_no,
                             .seed = UINT64_MAX - episode_no,
                             .set_id = 3,
                             .T = 5,
                             .end = END_TERMINAL,
                             .won = true,
                             .ret = 1.5,
                             .wall_ms = 12};
    memset(e.worker_id, (int)worker, sizeof e.worker_id);
    snprintf(e.env, sizeof e.env, "smac");
    snprintf(e.build, sizeof e.build, "test");
    return e;
}

static struct digest digest_nr(unsigned n)
{
    struct digest d;
    digest_of(&d, &n, sizeof n);
    return d;
}

/* Store an episode whose body and digest are made of `content`. */
static enum store_added add_as(const struct wire_episode *e, unsigned content, bool orphan)
{
    unsigned char body[3000];
    struct digest d = digest_nr(content), set = digest_nr(99);
    enum store_added added = STORE_NEW;
    for (size_t i = 0; i < sizeof body; i++)
        body[i] = (unsigned char)(content * 31 + i / 40);
    ck_assert_int_eq(store_episode(s, e, &d, &set, orphan, body, sizeof body, &added), 0);
    return added;
}

static enum store_added add(unsigned worker, uint64_t seq, uint64_t episode_no)
{
    struct wire_episode e = episode(worker, seq, KIND_TRAIN, episode_no);
    return add_as(&e, (unsigned)episode_no, false);
}

static void check_body(uint64_t episode_no)
{
    unsigned char *body = NULL;
    size_t n = 0;
    struct digest set = {{0}}, want = digest_nr(99);
    ck_assert_int_eq(store_load(s, KIND_TRAIN, episode_no, &set, &body, &n), 0);
    ck_assert_uint_eq(n, 3000);
    for (size_t i = 0; i < n; i++)
        ck_assert_uint_eq(body[i], (unsigned char)(episode_no * 31 + i / 40));
    ck_assert_mem_eq(&set, &want, sizeof set);
    free(body);
}

static void expect_marks(unsigned worker, uint64_t durable, uint64_t selective)
{
    unsigned char id[WIRE_ID];
    uint64_t d = 999, b = 999;
    memset(id, (int)worker, sizeof id);
    ck_assert_int_eq(store_stream(s, id, 7, &d, &b), 0);
    ck_assert_uint_eq(d, durable);
    ck_assert_uint_eq(b, selective);
}

static long long ask(const char *sql)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *q = NULL;
    ck_assert_int_eq(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    ck_assert_int_eq(sqlite3_prepare_v2(db, sql, -1, &q, NULL), SQLITE_OK);
    ck_assert_int_eq(sqlite3_step(q), SQLITE_ROW);
    long long v = sqlite3_column_int64(q, 0);
    sqlite3_finalize(q);
    sqlite3_close(db);
    return v;
}

/* ------------------------------------------------------------------------------- episodes */

START_TEST(an_episode_comes_back_as_it_was_sent_and_survives_a_new_start)
{
    ck_assert_int_eq(add(1, 1, 10), STORE_NEW);
    check_body(10); /* visible to the writer before the commit */
    ck_assert(store_dirty(s));
    ck_assert_int_eq(store_commit(s), 0);
    ck_assert(!store_dirty(s));
    reopen();
    check_body(10);
    ck_assert_int_eq(ask("SELECT length(data) < 1500 FROM episodes"), 1); /* compressed */
    ck_assert_int_eq(ask("SELECT seed = -11 FROM episodes"), 1);          /* bits of a u64 */
    unsigned char *body = NULL;
    size_t n = 0;
    ck_assert_int_eq(store_load(s, KIND_TRAIN, 11, NULL, &body, &n), ERR_NOTFOUND);
    ck_assert_int_eq(store_load(s, KIND_EVAL, 10, NULL, &body, &n), ERR_NOTFOUND);
}
END_TEST

/* Reading a file in WAL mode makes two others beside it, which needs a folder one may write to. */
START_TEST(a_closed_store_is_one_file_that_can_be_read_from_a_medium_nobody_can_write)
{
    enum { READ_VERSION = 19, ROLLBACK = 1 }; /* of SQLite's file header; 2 would be WAL */
    char wal[SCRATCH_PATH + 24];
    size_t n = 0;
    struct wire_episode e = episode(1, 1, KIND_TRAIN, 0);
    ck_assert_int_eq(add_as(&e, 1, false), STORE_NEW);
    ck_assert_int_eq(store_commit(s), 0);
    store_close(s);
    s = NULL;
    snprintf(wal, sizeof wal, "%s-wal", path);
    ck_assert_int_ne(access(wal, F_OK), 0);
    unsigned char *bytes = scratch_read(path, &n);
    ck_assert_int_eq(bytes[READ_VERSION], ROLLBACK);
    free(bytes);
}
END_TEST

START_TEST(what_was_not_committed_is_gone_after_a_new_start)
{
    add(1, 1, 10);
    ck_assert_int_eq(store_commit(s), 0);
    add(1, 2, 11);
    reopen();
    check_body(10);
    unsigned char *body = NULL;
    size_t n = 0;
    ck_assert_int_eq(store_load(s, KIND_TRAIN, 11, NULL, &body, &n), ERR_NOTFOUND);
    expect_marks(1, 1, 0);
}
END_TEST

START_TEST(a_second_arrival_is_a_duplicate_by_stream_and_by_number)
{
    ck_assert_int_eq(add(1, 1, 10), STORE_NEW);
    ck_assert_int_eq(add(1, 1, 10), STORE_DUPLICATE);
    ck_assert_int_eq(add(2, 1, 10), STORE_DUPLICATE); /* another worker's same episode */
    expect_marks(2, 1, 0);                            /* acknowledged all the same */
    ck_assert_int_eq(store_commit(s), 0);
    ck_assert_int_eq(ask("SELECT count(*) FROM episodes"), 1);
    reopen();
    ck_assert_int_eq(add(1, 1, 10), STORE_DUPLICATE);
    ck_assert_int_eq(add(2, 1, 10), STORE_DUPLICATE);
    expect_marks(2, 1, 0);
}
END_TEST

START_TEST(a_second_arrival_that_differs_has_diverged_and_changes_nothing)
{
    struct wire_episode e = episode(1, 1, KIND_TRAIN, 10);
    ck_assert_int_eq(add_as(&e, 10, false), STORE_NEW);
    ck_assert_int_eq(add_as(&e, 11, false), STORE_DIVERGED); /* same (stream, seq) */
    e = episode(2, 1, KIND_TRAIN, 10);
    ck_assert_int_eq(add_as(&e, 11, false), STORE_DIVERGED); /* same number */
    expect_marks(2, 0, 0);
    check_body(10);
}
END_TEST

START_TEST(kinds_and_free_episodes_do_not_collide)
{
    struct wire_episode train = episode(1, 1, KIND_TRAIN, 5),
                        eval = episode(1, 2, KIND_EVAL, 5);
    struct wire_episode f1 = episode(1, 3, KIND_FREE, 0), f2 = episode(1, 4, KIND_FREE, 0);
    ck_assert_int_eq(add_as(&train, 1, false), STORE_NEW);
    ck_assert_int_eq(add_as(&eval, 2, false), STORE_NEW);
    ck_assert_int_eq(add_as(&f1, 3, false), STORE_NEW);
    ck_assert_int_eq(add_as(&f2, 4, false), STORE_NEW);
    expect_marks(1, 4, 0);
}
END_TEST

START_TEST(an_orphan_is_kept_but_leaves_its_number_free)
{
    struct wire_episode e = episode(1, 1, KIND_TRAIN, 10);
    unsigned char *body = NULL;
    size_t n = 0;
    ck_assert_int_eq(add_as(&e, 77, true), STORE_ORPHANED);
    ck_assert_int_eq(store_load(s, KIND_TRAIN, 10, NULL, &body, &n), ERR_NOTFOUND);
    ck_assert_int_eq(add(1, 2, 10), STORE_NEW);
    check_body(10);
    ck_assert_int_eq(store_mark_orphan(s, KIND_TRAIN, 10), 0);
    ck_assert_int_eq(store_load(s, KIND_TRAIN, 10, NULL, &body, &n), ERR_NOTFOUND);
    ck_assert_int_eq(add(1, 3, 10), STORE_NEW);
    ck_assert_int_eq(store_commit(s), 0);
    ck_assert_int_eq(ask("SELECT count(*) FROM episodes WHERE episode_no = 10"), 3);
    ck_assert_int_eq(ask("SELECT count(*) FROM episodes WHERE orphan = 0"), 1);
    expect_marks(1, 3, 0);
}
END_TEST

/* -------------------------------------------------------------------------------- streams */

START_TEST(acknowledgements_are_cumulative_with_bits_above_a_hole)
{
    expect_marks(1, 0, 0);
    add(1, 1, 1);
    expect_marks(1, 1, 0);
    add(1, 3, 3);
    add(1, 5, 5);
    expect_marks(1, 1, 1u << 0 | 1u << 2); /* 3 and 5, holes at 2 and 4 */
    add(1, 2, 2);
    expect_marks(1, 3, 1u << 0); /* 5; hole at 4 */
    add(1, 4, 4);
    expect_marks(1, 5, 0);
    expect_marks(2, 0, 0); /* streams are apart */
    ck_assert_int_eq(store_commit(s), 0);
    reopen();
    expect_marks(1, 5, 0);
}
END_TEST

START_TEST(seen_numbers_fill_holes_and_survive)
{
    unsigned char id[WIRE_ID];
    memset(id, 1, sizeof id);
    add(1, 1, 1);
    add(1, 3, 3);
    ck_assert_int_eq(store_seen(s, id, 7, 2), 0);
    expect_marks(1, 3, 0);
    ck_assert_int_eq(store_seen(s, id, 7, 2), 0); /* twice is once */
    ck_assert_int_eq(store_seen(s, id, 8, 1), 0); /* another incarnation */
    expect_marks(1, 3, 0);
    ck_assert_int_eq(store_commit(s), 0);
    reopen();
    expect_marks(1, 3, 0);
}
END_TEST

START_TEST(a_hole_wider_than_the_bits_is_passed_once_filled)
{
    add(1, 1, 1);
    for (uint64_t seq = 3; seq <= 130; seq++)
        add(1, seq, seq);
    expect_marks(1, 1, UINT64_MAX); /* 3..66; the rest does not fit */
    add(1, 2, 2);
    expect_marks(1, 130, 0);
    ck_assert_int_eq(store_commit(s), 0);
    reopen();
    expect_marks(1, 130, 0);
}
END_TEST

START_TEST(many_streams_are_told_apart)
{
    for (unsigned w = 1; w <= 40; w++)
        for (uint64_t seq = 1; seq <= w % 5; seq++)
            add(w, seq, w * 100 + seq);
    for (unsigned w = 1; w <= 40; w++)
        expect_marks(w, w % 5, 0);
}
END_TEST

/* ------------------------------------------------------------------------- everything else */

START_TEST(a_job_is_stored_once_and_a_different_result_diverges)
{
    unsigned char a[WIRE_ID] = {1}, b[WIRE_ID] = {2};
    struct digest d = digest_nr(1), other = digest_nr(2);
    enum store_added added;
    uint64_t id = wire_job_id(3, 2, 10);
    ck_assert_int_eq(store_job(s, id, a, 5, 36, &d, &added), 0);
    ck_assert_int_eq(added, STORE_NEW);
    ck_assert_int_eq(store_job(s, id, b, 6, 36, &d, &added), 0);
    ck_assert_int_eq(added, STORE_DUPLICATE);
    ck_assert_int_eq(store_job(s, id, b, 5, 36, &other, &added), 0);
    ck_assert_int_eq(added, STORE_DIVERGED);
    ck_assert_int_eq(store_commit(s), 0);
    ck_assert_int_eq(ask("SELECT iteration * 1000 + batch FROM jobs"), 3002);
    ck_assert_int_eq(ask("SELECT rows FROM jobs WHERE worker LIKE '01000000%'"), 36);
}
END_TEST

START_TEST(settings_metrics_evaluations_and_workers_are_kept)
{
    char text[16];
    unsigned char a[WIRE_ID] = {0xab};
    ck_assert_int_eq(store_meta_get(s, "absent", text, sizeof text), ERR_NOTFOUND);
    ck_assert_int_eq(store_meta_set(s, "k", "one"), 0);
    ck_assert_int_eq(store_meta_set(s, "k", "two"), 0);
    ck_assert_int_eq(store_meta_get(s, "k", text, sizeof text), 0);
    ck_assert_str_eq(text, "two");
    ck_assert_int_eq(store_metric(s, 1, "wm/kl", 2.5), 0);
    ck_assert_int_eq(store_metric(s, 1, "wm/kl", 3.5), 0); /* a redone iteration replaces */
    ck_assert_int_eq(store_eval(s, 0, 9, true, 3, 20, 1.25), 0);
    ck_assert_int_eq(store_worker(s, a, "actor", 1), 0);
    ck_assert_int_eq(store_worker(s, a, "actor", 4), 0);
    ck_assert_int_eq(store_commit(s), 0);
    ck_assert_int_eq(ask("SELECT value = 3.5 FROM metrics WHERE name = 'wm/kl'"), 1);
    ck_assert_int_eq(ask("SELECT wins FROM evals WHERE greedy = 1 AND episodes = 20"), 3);
    ck_assert_int_eq(ask("SELECT accepted FROM workers WHERE id LIKE 'ab%' AND role='actor'"),
                     5);
}
END_TEST

START_TEST(a_rewind_cuts_what_the_checkpoint_does_not_know_and_keeps_episodes)
{
    unsigned char a[WIRE_ID] = {1};
    struct digest d = digest_nr(1);
    enum store_added added;
    for (uint64_t it = 1; it <= 4; it++) {
        store_metric(s, it, "m", (double)it);
        store_job(s, wire_job_id(it, 0, 0), a, 1, 4, &d, &added);
        add(1, it, it);
    }
    ck_assert_int_eq(store_rewind(s, 3, 2), 0);
    ck_assert(!store_dirty(s));
    ck_assert_int_eq(ask("SELECT max(iteration) FROM metrics"), 2);
    /* jobs of iteration 3 stay: its batches before the cut are not planned again, and those
     * after it must come out equal */
    ck_assert_int_eq(ask("SELECT max(iteration) FROM jobs"), 3);
    ck_assert_int_eq(ask("SELECT count(*) FROM episodes WHERE orphan = 0"), 4);
}
END_TEST

/* ---------------------------------------------------------------------------------- damage */

START_TEST(a_reader_sees_commits_and_cannot_write)
{
    struct store *r = NULL;
    unsigned char *body = NULL;
    size_t n = 0;
    add(1, 1, 1);
    ck_assert_int_eq(store_open_read(&r, path), 0);
    ck_assert_int_eq(store_load(r, KIND_TRAIN, 1, NULL, &body, &n), ERR_NOTFOUND);
    ck_assert_int_eq(store_commit(s), 0);
    ck_assert_int_eq(store_load(r, KIND_TRAIN, 1, NULL, &body, &n), 0);
    ck_assert_uint_eq(n, 3000);
    free(body);
    ck_assert_int_lt(store_meta_set(r, "k", "v"), 0);
    store_close(r);
    r = NULL;
    char absent[SCRATCH_PATH + 16];
    snprintf(absent, sizeof absent, "%s/none.db", dir);
    ck_assert_int_eq(store_open_read(&r, absent), ERR_IO);
    ck_assert_ptr_nonnull(strstr(err_text(), "none.db"));
    ck_assert_int_ne(access(absent, F_OK), 0);
}
END_TEST

START_TEST(a_damaged_or_foreign_file_is_refused)
{
    struct store *r = NULL;
    char other[SCRATCH_PATH + 16];
    snprintf(other, sizeof other, "%s/other.db", dir);
    unsigned char junk[4096];
    memset(junk, 0x5a, sizeof junk);
    scratch_write(other, junk, sizeof junk);
    ck_assert_int_eq(store_open(&r, other), ERR_CORRUPT);
    ck_assert_int_eq(store_open_read(&r, other), ERR_CORRUPT);
    scratch_write(other, "", 0); /* an empty database is not a run */
    ck_assert_int_lt(store_open_read(&r, other), 0);
    ck_assert_ptr_null(r);
}
END_TEST

START_TEST(a_store_of_another_version_is_refused_by_name)
{
    struct store *r = NULL;
    ck_assert_int_eq(store_meta_set(s, "schema", "999"), 0);
    ck_assert_int_eq(store_commit(s), 0);
    ck_assert_int_eq(store_open_read(&r, path), ERR_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(err_text(), "999"));
}
END_TEST

START_TEST(a_body_damaged_inside_the_file_is_noticed)
{
    sqlite3 *db = NULL;
    unsigned char *body = NULL;
    size_t n = 0;
    add(1, 1, 1);
    ck_assert_int_eq(store_commit(s), 0);
    ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
    ck_assert_int_eq(
        sqlite3_exec(db, "UPDATE episodes SET data = zeroblob(length(data))", 0, 0, 0),
        SQLITE_OK);
    ck_assert_int_eq(store_load(s, KIND_TRAIN, 1, NULL, &body, &n), ERR_CORRUPT);
    ck_assert_int_eq(sqlite3_exec(db, "UPDATE episodes SET set_digest = x'00'", 0, 0, 0),
                     SQLITE_OK);
    ck_assert_int_eq(store_load(s, KIND_TRAIN, 1, NULL, &body, &n), ERR_CORRUPT);
    sqlite3_close(db);
}
END_TEST

/* ----------------------------------------------------------------------------- as it grows */

struct lengths {
    uint64_t no[8];
    uint32_t T[8];
    bool limit[8];
    int n, stop_after;
};
static int note_length(void *arg, uint64_t episode_no, uint32_t T, bool limit)
{
    struct lengths *l = arg;
    l->no[l->n] = episode_no;
    l->T[l->n] = T;
    l->limit[l->n++] = limit;
    return l->n == l->stop_after ? ERR_INTERRUPTED : 0;
}

START_TEST(lengths_come_from_the_last_episode_down)
{
    struct lengths l = {.n = 0};
    for (uint64_t no = 0; no < 5; no++) {
        struct wire_episode e = episode(1, no + 1, KIND_TRAIN, no);
        e.T = (uint32_t)(10 + no);
        e.end = no == 2 ? END_LIMIT : no == 1 ? END_ABORT : END_TERMINAL;
        add_as(&e, 0, no == 3);
    }
    struct wire_episode other = episode(1, 6, KIND_EVAL, 1);
    add_as(&other, 0, false);
    ck_assert_int_eq(store_lengths(s, KIND_TRAIN, 4, note_length, &l), 0);
    ck_assert_int_eq(l.n, 3); /* 3 is an orphan, 4 is not below 4 */
    for (int i = 0; i < 3; i++) {
        ck_assert_uint_eq(l.no[i], (uint64_t)(2 - i));
        ck_assert_uint_eq(l.T[i], (uint32_t)(12 - i));
        ck_assert_int_eq(l.limit[i], i == 0);
    }
    l = (struct lengths){.stop_after = 2};
    ck_assert_int_eq(store_lengths(s, KIND_TRAIN, 4, note_length, &l), ERR_INTERRUPTED);
    ck_assert_int_eq(l.n, 2);
}
END_TEST

static sqlite3 *opened; /* the connection of the last store_open */
static int note_connection(sqlite3 *db, const char **why,
                           const struct sqlite3_api_routines *api)
{
    (void)why;
    (void)api;
    opened = db;
    return SQLITE_OK;
}

/* A run of days has a million episodes: what is asked for each of them must be found by an
 * index. */
START_TEST(no_statement_reads_a_whole_table)
{
    const char *sql;
    struct lengths l = {.n = 0};
    unsigned char worker[WIRE_ID] = {1};
    uint64_t durable, bits;
    enum store_added added;
    struct digest d = digest_nr(1);
    ck_assert_int_eq(sqlite3_auto_extension((void (*)(void))note_connection), SQLITE_OK);
    reopen();
    sqlite3_reset_auto_extension();
    for (uint64_t no = 1; no <= 40; no++)
        add(1, no, no);
    ck_assert_int_eq(store_commit(s), 0);
    add(1, 40, 40);
    check_body(7);
    ck_assert_int_eq(store_mark_orphan(s, KIND_TRAIN, 9), 0);
    ck_assert_int_eq(store_lengths(s, KIND_TRAIN, 5, note_length, &l), 0);
    ck_assert_int_eq(store_job(s, 3, worker, 1, 2, &d, &added), 0);
    ck_assert_int_eq(store_seen(s, worker, 7, 41), 0);
    ck_assert_int_eq(store_stream(s, worker, 7, &durable, &bits), 0);
    ck_assert_int_eq(store_metric(s, 1, "a", 2), 0);
    ck_assert_int_eq(store_eval(s, 1, 1, true, 1, 2, 3), 0);
    ck_assert_int_eq(store_worker(s, worker, "actor", 1), 0);
    ck_assert_int_eq(store_commit(s), 0);
    ck_assert_ptr_nonnull(opened);
    for (sqlite3_stmt *q = sqlite3_next_stmt(opened, NULL); q;
         q = sqlite3_next_stmt(opened, q)) {
        sql = sqlite3_sql(q);
        ck_assert_msg(sqlite3_stmt_status(q, SQLITE_STMTSTATUS_FULLSCAN_STEP, 0) == 0, "%s",
                      sql);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("store");
    TCase *t = tcase_create("store");
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_set_timeout(t, 120);
    tcase_add_test(t, an_episode_comes_back_as_it_was_sent_and_survives_a_new_start);
    tcase_add_test(t,
                   a_closed_store_is_one_file_that_can_be_read_from_a_medium_nobody_can_write);
    tcase_add_test(t, what_was_not_committed_is_gone_after_a_new_start);
    tcase_add_test(t, a_second_arrival_is_a_duplicate_by_stream_and_by_number);
    tcase_add_test(t, a_second_arrival_that_differs_has_diverged_and_changes_nothing);
    tcase_add_test(t, kinds_and_free_episodes_do_not_collide);
    tcase_add_test(t, an_orphan_is_kept_but_leaves_its_number_free);
    tcase_add_test(t, acknowledgements_are_cumulative_with_bits_above_a_hole);
    tcase_add_test(t, seen_numbers_fill_holes_and_survive);
    tcase_add_test(t, a_hole_wider_than_the_bits_is_passed_once_filled);
    tcase_add_test(t, many_streams_are_told_apart);
    tcase_add_test(t, a_job_is_stored_once_and_a_different_result_diverges);
    tcase_add_test(t, settings_metrics_evaluations_and_workers_are_kept);
    tcase_add_test(t, a_rewind_cuts_what_the_checkpoint_does_not_know_and_keeps_episodes);
    tcase_add_test(t, a_reader_sees_commits_and_cannot_write);
    tcase_add_test(t, a_damaged_or_foreign_file_is_refused);
    tcase_add_test(t, a_store_of_another_version_is_refused_by_name);
    tcase_add_test(t, a_body_damaged_inside_the_file_is_noticed);
    tcase_add_test(t, lengths_come_from_the_last_episode_down);
    tcase_add_test(t, no_statement_reads_a_whole_table);
    suite_add_tcase(suite, t);
    return run_suite(suite);
}
