/* SPDX-License-Identifier: Apache-2.0 */
/* store.c - run.db, written by one thread in grouped transactions.
 *
 * WHY SQLite  An episode is acknowledged only when it survives kill -9 and power loss; SQLite in
 * WAL mode with synchronous=FULL is the most tested way to say that, and users can query a run.
 *
 * LAYOUT  episodes holds one row per stored episode with the message body as received, zstd
 * level 1. `seen` holds the (stream, seq) pairs that were answered without being stored, so
 * that the cumulative acknowledgement of a stream has no holes.
 *
 * INVARIANTS
 *   1. (stream, seq) is stored at most once; (kind, episode_no) at most once among rows that are
 *      neither free nor orphans.
 *   2. What store_stream reports was committed: marks move only inside a transaction, and a
 *      failed commit ends the process.
 *
 * AT REST  A closed store is one file in rollback mode, so that it can be copied alone and read
 * from a medium that nobody can write to. Opening it to write switches to WAL again.
 *
 * COST  one fdatasync per commit; the caller groups. Statements are prepared once. */
#include "learner/store.h"

#include "base/err.h"
#include "base/fault.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

enum { STREAM_BYTES = WIRE_ID + 8, SCHEMA_VERSION = 1, ZSTD_LEVEL = 1 };
enum { BODY_MAX = WIRE_DATA_MAX };

static const char schema[] =
    "CREATE TABLE IF NOT EXISTS meta(key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS episodes("
    " id INTEGER PRIMARY KEY, kind TEXT NOT NULL, episode_no INTEGER NOT NULL,"
    " stream BLOB NOT NULL, seq INTEGER NOT NULL, set_digest BLOB NOT NULL, seed INTEGER NOT "
    "NULL,"
    " spec_hash BLOB NOT NULL, T INTEGER NOT NULL, \"end\" TEXT NOT NULL, won INTEGER NOT NULL,"
    " \"return\" REAL NOT NULL, wall_ms INTEGER NOT NULL, digest BLOB NOT NULL,"
    " orphan INTEGER NOT NULL, meta TEXT NOT NULL, data BLOB NOT NULL, UNIQUE(stream, seq));"
    "CREATE UNIQUE INDEX IF NOT EXISTS episode_number ON episodes(kind, episode_no)"
    " WHERE kind <> 'free' AND orphan = 0;"
    "CREATE TABLE IF NOT EXISTS seen(stream BLOB NOT NULL, seq INTEGER NOT NULL,"
    " PRIMARY KEY(stream, seq)) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS jobs(job_id INTEGER PRIMARY KEY, worker TEXT NOT NULL,"
    " set_id INTEGER NOT NULL, rows INTEGER NOT NULL, digest BLOB NOT NULL,"
    " iteration INTEGER NOT NULL, batch INTEGER NOT NULL);"
    "CREATE TABLE IF NOT EXISTS metrics(iteration INTEGER NOT NULL, name TEXT NOT NULL, value "
    "REAL,"
    " PRIMARY KEY(iteration, name)) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS evals(round INTEGER PRIMARY KEY, set_id INTEGER NOT NULL,"
    " greedy INTEGER NOT NULL, wins INTEGER NOT NULL, episodes INTEGER NOT NULL,"
    " \"return\" REAL NOT NULL);"
    "CREATE TABLE IF NOT EXISTS workers(id TEXT PRIMARY KEY, role TEXT NOT NULL,"
    " accepted INTEGER NOT NULL) WITHOUT ROWID;";

enum statement {
    Q_EPISODE,
    Q_SEEN,
    Q_BY_SEQ,
    Q_BY_NUMBER,
    Q_SEQS,
    Q_JOB,
    Q_JOB_DIGEST,
    Q_METRIC,
    Q_EVAL,
    Q_WORKER,
    Q_META_SET,
    Q_META_GET,
    Q_LOAD,
    Q_LENGTHS,
    Q_ORPHAN,
    STATEMENTS
};

/* What the index episode_number covers: without these words SQLite reads the whole table. */
#define NUMBERED " AND kind <> 'free' AND orphan = 0"

static const char *const statement_sql[STATEMENTS] = {
    [Q_EPISODE] =
        "INSERT INTO episodes(kind, episode_no, stream, seq, set_digest, seed, spec_hash,"
        " T, \"end\", won, \"return\", wall_ms, digest, orphan, meta, data)"
        " VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16)",
    [Q_SEEN] = "INSERT OR IGNORE INTO seen(stream, seq) VALUES(?1, ?2)",
    [Q_BY_SEQ] = "SELECT digest FROM episodes WHERE stream = ?1 AND seq = ?2",
    [Q_BY_NUMBER] = "SELECT digest FROM episodes WHERE kind = ?1 AND episode_no = ?2" NUMBERED,
    [Q_SEQS] = "SELECT seq FROM episodes WHERE stream = ?1 UNION SELECT seq FROM seen"
               " WHERE stream = ?1 ORDER BY seq",
    [Q_JOB] = "INSERT INTO jobs(job_id, worker, set_id, rows, digest, iteration, batch)"
              " VALUES(?1,?2,?3,?4,?5,?6,?7)",
    [Q_JOB_DIGEST] = "SELECT digest FROM jobs WHERE job_id = ?1",
    [Q_METRIC] = "INSERT OR REPLACE INTO metrics(iteration, name, value) VALUES(?1,?2,?3)",
    [Q_EVAL] = "INSERT OR REPLACE INTO evals(round, set_id, greedy, wins, episodes, \"return\")"
               " VALUES(?1,?2,?3,?4,?5,?6)",
    [Q_WORKER] = "INSERT INTO workers(id, role, accepted) VALUES(?1,?2,?3)"
                 " ON CONFLICT(id) DO UPDATE SET accepted = accepted + excluded.accepted",
    [Q_META_SET] = "INSERT OR REPLACE INTO meta(key, value) VALUES(?1,?2)",
    [Q_META_GET] = "SELECT value FROM meta WHERE key = ?1",
    [Q_LOAD] = "SELECT data, set_digest FROM episodes"
               " WHERE kind = ?1 AND episode_no = ?2" NUMBERED,
    [Q_LENGTHS] = "SELECT episode_no, T, \"end\" FROM episodes"
                  " WHERE kind = ?1 AND episode_no < ?2" NUMBERED " ORDER BY episode_no DESC",
    [Q_ORPHAN] = "UPDATE episodes SET orphan = 1"
                 " WHERE kind = ?1 AND episode_no = ?2" NUMBERED,
};

/* What is known of one stream: everything up to `high`, and bit k of `bits` for high + 2 + k.
 * `beyond`: numbers too far above a hole for the bits are stored; read them again once the
 * hole is filled. */
struct mark {
    unsigned char stream[STREAM_BYTES];
    uint64_t high, bits;
    bool beyond;
};

struct store {
    sqlite3 *db;
    sqlite3_stmt *q[STATEMENTS];
    bool open; /* a transaction is open */
    struct mark *mark;
    size_t marks, marks_max;
    void *zbuf; /* compression space, grown to the largest episode */
    size_t zbuf_bytes;
    ZSTD_CCtx *zstd;
};

static int db_error(struct store *s, const char *what)
{
    int code = sqlite3_errcode(s->db) & 0xff;
    const char *hint = code == SQLITE_FULL      ? "; free some space and resume"
                       : code == SQLITE_CORRUPT ? "; the file is damaged"
                                                : "";
    int err = code == SQLITE_CORRUPT || code == SQLITE_NOTADB ? ERR_CORRUPT : ERR_IO;
    return err_set(err, "run.db: %s: %s%s", what, sqlite3_errmsg(s->db), hint);
}

static int exec(struct store *s, const char *sql, const char *what)
{
    return sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : db_error(s, what);
}

static int prepare_all(struct store *s)
{
    for (int i = 0; i < STATEMENTS; i++)
        if (sqlite3_prepare_v3(s->db, statement_sql[i], -1, SQLITE_PREPARE_PERSISTENT, &s->q[i],
                               NULL) != SQLITE_OK)
            return db_error(s, "preparing a statement");
    return 0;
}

static int check_version(struct store *s, const char *path)
{
    char text[32];
    int err = store_meta_get(s, "schema", text, sizeof text);
    if (err == ERR_NOTFOUND)
        return err_set(ERR_CORRUPT, "%s is not a run store: it has no schema version", path);
    if (!err && atoi(text) != SCHEMA_VERSION)
        return err_set(ERR_UNSUPPORTED, "%s has schema %s, this build reads %d", path, text,
                       SCHEMA_VERSION);
    return err;
}

static int open_db(struct store *s, const char *path, bool write)
{
    int flags = write ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READONLY;
    if (sqlite3_open_v2(path, &s->db, flags | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
        return err_set(ERR_IO, "cannot open %s: %s", path, sqlite3_errmsg(s->db));
    sqlite3_busy_timeout(s->db, 5000);
    int err = 0;
    if (write) {
        err = exec(s, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;", "switching to WAL");
        if (!err)
            err = exec(s, schema, "creating tables");
    }
    if (!err)
        err = prepare_all(s);
    if (!err && write) {
        char text[32];
        if (store_meta_get(s, "schema", text, sizeof text) == ERR_NOTFOUND) {
            snprintf(text, sizeof text, "%d", SCHEMA_VERSION);
            err = store_meta_set(s, "schema", text);
            if (!err)
                err = store_commit(s);
        }
    }
    return err ? err : check_version(s, path);
}

static int open_any(struct store **out, const char *path, bool write)
{
    struct store *s = calloc(1, sizeof *s);
    if (!s)
        return ERR_NOMEM;
    int err = open_db(s, path, write);
    if (!err && write && !(s->zstd = ZSTD_createCCtx()))
        err = ERR_NOMEM;
    if (err)
        store_close(s);
    else
        *out = s;
    return err;
}

int store_open(struct store **out, const char *path)
{
    return open_any(out, path, true);
}

int store_open_read(struct store **out, const char *path)
{
    return open_any(out, path, false);
}

void store_close(struct store *s)
{
    if (!s)
        return;
    for (int i = 0; i < STATEMENTS; i++)
        sqlite3_finalize(s->q[i]);
    if (s->zstd) { /* a writer: the log goes back into the file, unless somebody reads it now */
        sqlite3_busy_timeout(s->db, 0);
        sqlite3_exec(s->db, "PRAGMA journal_mode=DELETE", NULL, NULL, NULL);
    }
    sqlite3_close(s->db);
    ZSTD_freeCCtx(s->zstd);
    free(s->zbuf);
    free(s->mark);
    free(s);
}

/* ---------------------------------------------------------------------- small wrappers */

static sqlite3_stmt *fresh(struct store *s, enum statement i)
{
    sqlite3_reset(s->q[i]);
    sqlite3_clear_bindings(s->q[i]);
    return s->q[i];
}

static int begin(struct store *s)
{
    if (s->open)
        return 0;
    int err = exec(s, "BEGIN IMMEDIATE", "beginning a transaction");
    s->open = !err;
    return err;
}

/* Run a statement that returns no rows. */
static int run(struct store *s, sqlite3_stmt *q, const char *what)
{
    int rc = sqlite3_step(q);
    int err = rc == SQLITE_DONE ? 0 : db_error(s, what);
    sqlite3_reset(q);
    return err;
}

static void bind_blob(sqlite3_stmt *q, int i, const void *p, size_t n)
{
    sqlite3_bind_blob64(q, i, p, n, SQLITE_STATIC);
}

static void bind_u64(sqlite3_stmt *q, int i, uint64_t v)
{
    sqlite3_bind_int64(q, i, (sqlite3_int64)v);
}

static void bind_text(sqlite3_stmt *q, int i, const char *text)
{
    sqlite3_bind_text(q, i, text, -1, SQLITE_STATIC);
}

static const char *kind_text(enum wire_kind kind)
{
    return kind == KIND_TRAIN ? "train" : kind == KIND_EVAL ? "eval" : "free";
}

static const char *end_text(enum wire_end end)
{
    return end == END_TERMINAL ? "terminal" : end == END_LIMIT ? "limit" : "abort";
}

static void stream_key(unsigned char out[STREAM_BYTES], const unsigned char worker_id[WIRE_ID],
                       uint64_t incarnation)
{
    memcpy(out, worker_id, WIRE_ID);
    for (int i = 0; i < 8; i++)
        out[WIRE_ID + i] = (unsigned char)(incarnation >> 8 * i);
}

static void worker_hex(char out[2 * WIRE_ID + 1], const unsigned char worker_id[WIRE_ID])
{
    for (int i = 0; i < WIRE_ID; i++)
        snprintf(out + 2 * i, 3, "%02x", worker_id[i]);
}

/* ------------------------------------------------------------------------------ streams */

static void mark_seq(struct mark *m, uint64_t seq)
{
    if (seq > m->high + 1 && seq - m->high - 2 < 64)
        m->bits |= (uint64_t)1 << (seq - m->high - 2);
    else if (seq > m->high + 1)
        m->beyond = true;
    if (seq != m->high + 1)
        return;
    m->high++;
    while (m->bits & 1) {
        m->bits >>= 1;
        m->high++;
    }
    m->bits >>= 1; /* the hole at high + 1 moved out of the window */
}

static int load_mark(struct store *s, struct mark *m)
{
    sqlite3_stmt *q = fresh(s, Q_SEQS);
    bind_blob(q, 1, m->stream, STREAM_BYTES);
    m->high = m->bits = 0;
    m->beyond = false;
    int rc;
    while ((rc = sqlite3_step(q)) == SQLITE_ROW)
        mark_seq(m, (uint64_t)sqlite3_column_int64(q, 0));
    int err = rc == SQLITE_DONE ? 0 : db_error(s, "reading a stream");
    sqlite3_reset(q);
    return err;
}

/* Row (stream, seq) is in the transaction: move the mark. */
static int advance(struct store *s, struct mark *m, uint64_t seq)
{
    uint64_t before = m->high;
    mark_seq(m, seq);
    return m->beyond && m->high > before ? load_mark(s, m) : 0;
}

static int find_mark(struct store *s, const unsigned char stream[STREAM_BYTES],
                     struct mark **out)
{
    for (size_t i = s->marks; i-- > 0;)
        if (!memcmp(s->mark[i].stream, stream, STREAM_BYTES)) {
            *out = &s->mark[i];
            return 0;
        }
    if (s->marks == s->marks_max) {
        size_t max = s->marks_max ? 2 * s->marks_max : 16;
        struct mark *grown = realloc(s->mark, max * sizeof *grown);
        if (!grown)
            return ERR_NOMEM;
        s->mark = grown;
        s->marks_max = max;
    }
    struct mark *m = &s->mark[s->marks];
    *m = (struct mark){0};
    memcpy(m->stream, stream, STREAM_BYTES);
    int err = load_mark(s, m);
    if (err)
        return err;
    s->marks++;
    *out = m;
    return 0;
}

int store_stream(struct store *s, const unsigned char worker_id[WIRE_ID], uint64_t incarnation,
                 uint64_t *durable, uint64_t *selective)
{
    unsigned char stream[STREAM_BYTES];
    struct mark *m = NULL;
    stream_key(stream, worker_id, incarnation);
    int err = find_mark(s, stream, &m);
    if (err)
        return err;
    *durable = m->high;
    *selective = m->bits;
    return 0;
}

int store_seen(struct store *s, const unsigned char worker_id[WIRE_ID], uint64_t incarnation,
               uint64_t seq)
{
    unsigned char stream[STREAM_BYTES];
    struct mark *m = NULL;
    stream_key(stream, worker_id, incarnation);
    int err = find_mark(s, stream, &m);
    if (!err)
        err = begin(s);
    if (err)
        return err;
    sqlite3_stmt *q = fresh(s, Q_SEEN);
    bind_blob(q, 1, stream, STREAM_BYTES);
    bind_u64(q, 2, seq);
    err = run(s, q, "marking a sequence number");
    return err ? err : advance(s, m, seq);
}

/* ----------------------------------------------------------------------------- episodes */

/* 0 and *known = false when the query has no row; else compares its digest column. */
static int compare_digest(struct store *s, sqlite3_stmt *q, const struct digest *digest,
                          bool *known, bool *equal)
{
    int rc = sqlite3_step(q);
    *known = rc == SQLITE_ROW;
    if (*known)
        *equal = sqlite3_column_bytes(q, 0) == DIGEST_BYTES &&
                 !memcmp(sqlite3_column_blob(q, 0), digest->b, DIGEST_BYTES);
    int err = rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : db_error(s, "looking for a twin");
    sqlite3_reset(q);
    return err;
}

static int find_twin(struct store *s, const struct wire_episode *e,
                     const unsigned char stream[STREAM_BYTES], const struct digest *digest,
                     bool orphan, bool *same_seq, bool *known, bool *equal)
{
    sqlite3_stmt *q = fresh(s, Q_BY_SEQ);
    bind_blob(q, 1, stream, STREAM_BYTES);
    bind_u64(q, 2, e->seq);
    int err = compare_digest(s, q, digest, known, equal);
    *same_seq = *known;
    if (err || *known || orphan || e->kind == KIND_FREE)
        return err;
    q = fresh(s, Q_BY_NUMBER);
    bind_text(q, 1, kind_text(e->kind));
    bind_u64(q, 2, e->episode_no);
    return compare_digest(s, q, digest, known, equal);
}

static int compress(struct store *s, const void *body, size_t n, size_t *out)
{
    size_t bound = ZSTD_compressBound(n);
    if (bound > s->zbuf_bytes) {
        void *grown = realloc(s->zbuf, bound);
        if (!grown)
            return ERR_NOMEM;
        s->zbuf = grown;
        s->zbuf_bytes = bound;
    }
    size_t size = ZSTD_compressCCtx(s->zstd, s->zbuf, s->zbuf_bytes, body, n, ZSTD_LEVEL);
    if (ZSTD_isError(size))
        return err_set(ERR_IO, "compressing an episode: %s", ZSTD_getErrorName(size));
    *out = size;
    return 0;
}

static int insert_episode(struct store *s, const struct wire_episode *e,
                          const unsigned char stream[STREAM_BYTES], const struct digest *digest,
                          const struct digest *set_digest, bool orphan, size_t zbytes)
{
    char meta[512];
    snprintf(meta, sizeof meta,
             "{\"env\":\"%s\",\"build\":\"%s\",\"set_id\":%llu,\"greedy\":%s}", e->env,
             e->build, (unsigned long long)e->set_id, e->greedy ? "true" : "false");
    sqlite3_stmt *q = fresh(s, Q_EPISODE);
    bind_text(q, 1, kind_text(e->kind));
    bind_u64(q, 2, e->episode_no);
    bind_blob(q, 3, stream, STREAM_BYTES);
    bind_u64(q, 4, e->seq);
    bind_blob(q, 5, set_digest->b, DIGEST_BYTES);
    bind_u64(q, 6, e->seed);
    bind_blob(q, 7, e->spec_hash, sizeof e->spec_hash);
    bind_u64(q, 8, e->T);
    bind_text(q, 9, end_text(e->end));
    bind_u64(q, 10, e->won);
    sqlite3_bind_double(q, 11, e->ret);
    bind_u64(q, 12, e->wall_ms);
    bind_blob(q, 13, digest->b, DIGEST_BYTES);
    bind_u64(q, 14, orphan);
    bind_text(q, 15, meta);
    bind_blob(q, 16, s->zbuf, zbytes);
    return run(s, q, "storing an episode");
}

int store_episode(struct store *s, const struct wire_episode *e, const struct digest *digest,
                  const struct digest *set_digest, bool orphan, const void *body, size_t n,
                  enum store_added *out)
{
    unsigned char stream[STREAM_BYTES];
    stream_key(stream, e->worker_id, e->incarnation);
    bool same_seq = false, known = false, equal = false;
    struct mark *m = NULL;
    size_t zbytes = 0;
    int err = find_mark(s, stream, &m); /* before the insert, or it would count itself twice */
    if (!err)
        err = find_twin(s, e, stream, digest, orphan, &same_seq, &known, &equal);
    if (err)
        return err;
    if (known) {
        *out = equal ? STORE_DUPLICATE : STORE_DIVERGED;
        return equal && !same_seq ? store_seen(s, e->worker_id, e->incarnation, e->seq) : 0;
    }
    err = compress(s, body, n, &zbytes);
    if (!err)
        err = begin(s);
    if (!err)
        err = insert_episode(s, e, stream, digest, set_digest, orphan, zbytes);
    if (err)
        return err;
    *out = orphan ? STORE_ORPHANED : STORE_NEW;
    return advance(s, m, e->seq);
}

static int decompress(const void *z, size_t zn, unsigned char **body, size_t *n)
{
    unsigned long long size = ZSTD_getFrameContentSize(z, zn);
    if (size == ZSTD_CONTENTSIZE_ERROR || size == ZSTD_CONTENTSIZE_UNKNOWN || size > BODY_MAX)
        return err_set(ERR_CORRUPT, "run.db: a stored episode has an impossible size");
    unsigned char *buf = malloc(size ? size : 1);
    if (!buf)
        return ERR_NOMEM;
    size_t got = ZSTD_decompress(buf, size, z, zn);
    if (ZSTD_isError(got) || got != size) {
        free(buf);
        return err_set(ERR_CORRUPT, "run.db: a stored episode does not decompress");
    }
    *body = buf;
    *n = size;
    return 0;
}

int store_load(struct store *s, enum wire_kind kind, uint64_t episode_no,
               struct digest *set_digest, unsigned char **body, size_t *n)
{
    sqlite3_stmt *q = fresh(s, Q_LOAD);
    bind_text(q, 1, kind_text(kind));
    bind_u64(q, 2, episode_no);
    int rc = sqlite3_step(q), err;
    if (rc == SQLITE_DONE)
        err = ERR_NOTFOUND;
    else if (rc != SQLITE_ROW)
        err = db_error(s, "loading an episode");
    else if (sqlite3_column_bytes(q, 1) != DIGEST_BYTES)
        err = err_set(ERR_CORRUPT, "run.db: an episode's set digest is damaged");
    else {
        if (set_digest)
            memcpy(set_digest->b, sqlite3_column_blob(q, 1), DIGEST_BYTES);
        err =
            decompress(sqlite3_column_blob(q, 0), (size_t)sqlite3_column_bytes(q, 0), body, n);
    }
    sqlite3_reset(q);
    return err;
}

int store_lengths(struct store *s, enum wire_kind kind, uint64_t below, store_length_fn *each,
                  void *arg)
{
    sqlite3_stmt *q = fresh(s, Q_LENGTHS);
    bind_text(q, 1, kind_text(kind));
    bind_u64(q, 2, below);
    int rc, err = 0;
    while (!err && (rc = sqlite3_step(q)) != SQLITE_DONE) {
        if (rc != SQLITE_ROW) {
            err = db_error(s, "reading the lengths of episodes");
        } else {
            const char *end = (const char *)sqlite3_column_text(q, 2);
            bool limit = end && strcmp(end, end_text(END_LIMIT)) == 0;
            err = each(arg, (uint64_t)sqlite3_column_int64(q, 0),
                       (uint32_t)sqlite3_column_int64(q, 1), limit);
        }
    }
    sqlite3_reset(q);
    return err;
}

int store_mark_orphan(struct store *s, enum wire_kind kind, uint64_t episode_no)
{
    int err = begin(s);
    if (err)
        return err;
    sqlite3_stmt *q = fresh(s, Q_ORPHAN);
    bind_text(q, 1, kind_text(kind));
    bind_u64(q, 2, episode_no);
    return run(s, q, "marking an orphan");
}

/* ------------------------------------------------------------------------- everything else */

int store_job(struct store *s, uint64_t job_id, const unsigned char worker_id[WIRE_ID],
              uint64_t set_id, uint64_t rows, const struct digest *digest,
              enum store_added *out)
{
    bool known = false, equal = false;
    sqlite3_stmt *q = fresh(s, Q_JOB_DIGEST);
    bind_u64(q, 1, job_id);
    int err = compare_digest(s, q, digest, &known, &equal);
    if (err)
        return err;
    if (known) {
        *out = equal ? STORE_DUPLICATE : STORE_DIVERGED;
        return 0;
    }
    err = begin(s);
    if (err)
        return err;
    char worker[2 * WIRE_ID + 1];
    worker_hex(worker, worker_id);
    q = fresh(s, Q_JOB);
    bind_u64(q, 1, job_id);
    bind_text(q, 2, worker);
    bind_u64(q, 3, set_id);
    bind_u64(q, 4, rows);
    bind_blob(q, 5, digest->b, DIGEST_BYTES);
    bind_u64(q, 6, job_id >> 28);
    bind_u64(q, 7, job_id >> 16 & 0xfff);
    err = run(s, q, "storing a job");
    if (!err)
        *out = STORE_NEW;
    return err;
}

int store_metric(struct store *s, uint64_t iteration, const char *name, double value)
{
    int err = begin(s);
    if (err)
        return err;
    sqlite3_stmt *q = fresh(s, Q_METRIC);
    bind_u64(q, 1, iteration);
    bind_text(q, 2, name);
    sqlite3_bind_double(q, 3, value); /* SQLite stores NaN as NULL */
    return run(s, q, "storing a metric");
}

int store_eval(struct store *s, uint64_t round, uint64_t set_id, bool greedy, uint32_t wins,
               uint32_t episodes, double mean_return)
{
    int err = begin(s);
    if (err)
        return err;
    sqlite3_stmt *q = fresh(s, Q_EVAL);
    bind_u64(q, 1, round);
    bind_u64(q, 2, set_id);
    bind_u64(q, 3, greedy);
    bind_u64(q, 4, wins);
    bind_u64(q, 5, episodes);
    sqlite3_bind_double(q, 6, mean_return);
    return run(s, q, "storing an evaluation");
}

int store_worker(struct store *s, const unsigned char worker_id[WIRE_ID], const char *role,
                 uint64_t accepted_more)
{
    int err = begin(s);
    if (err)
        return err;
    char worker[2 * WIRE_ID + 1];
    worker_hex(worker, worker_id);
    sqlite3_stmt *q = fresh(s, Q_WORKER);
    bind_text(q, 1, worker);
    bind_text(q, 2, role);
    bind_u64(q, 3, accepted_more);
    return run(s, q, "counting a worker's item");
}

int store_meta_set(struct store *s, const char *key, const char *value)
{
    int err = begin(s);
    if (err)
        return err;
    sqlite3_stmt *q = fresh(s, Q_META_SET);
    bind_text(q, 1, key);
    bind_text(q, 2, value);
    return run(s, q, "storing a setting");
}

int store_meta_get(struct store *s, const char *key, char *value, size_t n)
{
    sqlite3_stmt *q = fresh(s, Q_META_GET);
    bind_text(q, 1, key);
    int rc = sqlite3_step(q), err = 0;
    if (rc == SQLITE_ROW)
        snprintf(value, n, "%s", (const char *)sqlite3_column_text(q, 0));
    else
        err = rc == SQLITE_DONE ? ERR_NOTFOUND : db_error(s, "reading a setting");
    sqlite3_reset(q);
    return err;
}

bool store_dirty(const struct store *s)
{
    return s->open;
}

int store_commit(struct store *s)
{
    if (!s->open)
        return 0;
    fault_point("store.commit.before");
    int err = exec(s, "COMMIT", "committing");
    if (!err) {
        s->open = false;
        fault_point("store.commit.after");
    }
    return err;
}

int store_rewind(struct store *s, uint64_t iteration, uint64_t next_episode)
{
    (void)next_episode; /* later episodes stay: the trainer uses or orphans them by digest */
    int err = begin(s);
    char sql[256];
    snprintf(
        sql, sizeof sql,
        "DELETE FROM metrics WHERE iteration >= %llu; DELETE FROM jobs WHERE iteration > %llu;",
        (unsigned long long)iteration, (unsigned long long)iteration);
    if (!err)
        err = exec(s, sql, "cutting back to the checkpoint");
    return err ? err : store_commit(s);
}
