/* SPDX-License-Identifier: Apache-2.0 */
/* verb_inspect.c - `mag inspect`: what a run or a checkpoint holds.
 *
 * --hash prints the identity of the newest whole checkpoint (contracts: parameters, moments,
 * entropy weight and counters; no times, no paths). --json prints where every row of PPO came
 * from and whether the method works, read from run.db while a learner may be writing it: one
 * read transaction, so that all numbers are of one moment. Nothing is ever written. */
#include "args.h"
#include "rundir.h"
#include "verbs.h"

#include "base/err.h"
#include "learner/ckpt.h"
#include "learner/store.h"

#include <jansson.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct look {
    char run_dir[RUN_PATH], checkpoint[RUN_PATH];
    struct ckpt_state state;
    sqlite3 *db; /* NULL until opened */
};

static int status_of(int err)
{
    return err == ERR_NOMEM ? EXIT_INTERNAL : EXIT_DATA;
}

/* ------------------------------------------------------------------------------ run.db */

static int db_error(const struct look *l)
{
    bool damaged =
        sqlite3_errcode(l->db) == SQLITE_CORRUPT || sqlite3_errcode(l->db) == SQLITE_NOTADB;
    return err_set(damaged ? ERR_CORRUPT : ERR_IO, "%s/run.db: %s%s", l->run_dir,
                   sqlite3_errmsg(l->db), damaged ? " (the file is damaged)" : "");
}

static int open_db(struct look *l)
{
    char path[RUN_PATH + 16];
    struct store *s = NULL;
    snprintf(path, sizeof path, "%s/run.db", l->run_dir);
    if (access(path, F_OK))
        return err_set(ERR_NOTFOUND, "%s holds no run.db: no learner has run there yet",
                       l->run_dir);
    int err = store_open_read(&s, path); /* is it a store of this version? */
    if (err == ERR_CORRUPT)
        err = err_set(ERR_CORRUPT, "%s is damaged or not a run store", path);
    store_close(s);
    if (err)
        return err;
    if (sqlite3_open_v2(path, &l->db, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK)
        return db_error(l);
    sqlite3_busy_timeout(l->db, 5000);
    return sqlite3_exec(l->db, "BEGIN", NULL, NULL, NULL) == SQLITE_OK ? 0 : db_error(l);
}

/* One JSON object per row; a column's name is its key. */
static json_t *row_json(sqlite3_stmt *q)
{
    json_t *o = json_object();
    for (int i = 0; i < sqlite3_column_count(q); i++) {
        json_t *v = json_null();
        if (sqlite3_column_type(q, i) == SQLITE_INTEGER)
            v = json_integer(sqlite3_column_int64(q, i));
        else if (sqlite3_column_type(q, i) == SQLITE_FLOAT)
            v = json_real(sqlite3_column_double(q, i));
        else if (sqlite3_column_type(q, i) == SQLITE_TEXT)
            v = json_string((const char *)sqlite3_column_text(q, i));
        json_object_set_new(o, sqlite3_column_name(q, i), v);
    }
    return o;
}

/* The rows of a query as an array under `key`, or, if `one`, its first row as an object. */
static int put(const struct look *l, json_t *out, const char *key, const char *sql, bool one)
{
    sqlite3_stmt *q = NULL;
    if (sqlite3_prepare_v2(l->db, sql, -1, &q, NULL) != SQLITE_OK)
        return db_error(l);
    json_t *rows = json_array();
    int rc;
    while ((rc = sqlite3_step(q)) == SQLITE_ROW)
        json_array_append_new(rows, row_json(q));
    sqlite3_finalize(q);
    if (rc != SQLITE_DONE) {
        json_decref(rows);
        return db_error(l);
    }
    json_object_set(out, key, one ? json_array_get(rows, 0) : rows);
    json_decref(rows);
    return 0;
}

/* ------------------------------------------------------------------------------- report */

/* The table metrics holds (iteration, name, value); a report wants one row per iteration.
 * SQL keeps a line per column. */
/* clang-format off */
#define COLUMN(name, as)  "max(CASE WHEN name = '" name "' THEN value END) AS " as
#define INTEGER(name, as) "CAST(total(CASE WHEN name = '" name "' THEN value END) AS INTEGER) AS " as

#define COMPLETE                                                                             \
    " WHERE iteration IN (SELECT iteration FROM metrics WHERE name = 'ppo/rows')"

static const char workers_sql[] = "SELECT id, role, accepted FROM workers ORDER BY role, id";
/* rows: what PPO trained on, as the trainer counted it; rows_from_results: what planners'
 * results delivered, one row of the table jobs per job, in iterations that are complete: of the
 * one under way only jobs are known. Equal, or PPO had another source. */
static const char ppo_sql[] =
    "SELECT rows, (SELECT coalesce(sum(rows), 0) FROM jobs" COMPLETE ") AS rows_from_results,"
    " (SELECT count(*) FROM jobs" COMPLETE ") AS jobs, duplicates,"
    " differed + (SELECT count(*) FROM meta WHERE key = 'divergence') AS divergence"
    " FROM (SELECT "
    INTEGER("ppo/rows", "rows") ", "
    INTEGER("service/duplicates", "duplicates") ", "
    INTEGER("service/divergence", "differed")
    " FROM metrics)";
static const char rm_sql[] =
    "SELECT iteration, "
    COLUMN("rm/correlation", "correlation") ", "
    COLUMN("rm/correlation_lo", "lo") ", "
    COLUMN("rm/correlation_hi", "hi")
    " FROM metrics WHERE name LIKE 'rm/correlation%' GROUP BY iteration ORDER BY iteration";
static const char scores_sql[] =
    "SELECT iteration, "
    COLUMN("plan/score_chosen", "chosen") ", "
    COLUMN("plan/score_mean", "mean")
    " FROM metrics WHERE name LIKE 'plan/score_%' GROUP BY iteration ORDER BY iteration";
static const char updates_sql[] =
    "SELECT iteration, "
    INTEGER("wm/steps", "model_steps") ", "
    INTEGER("rm/steps", "rm_steps") ", "
    INTEGER("ppo/batches", "batches") ", "
    INTEGER("ppo/actor_steps", "actor_steps") ", "
    INTEGER("ppo/critic_steps", "critic_steps")
    " FROM metrics WHERE iteration > 0"
    " GROUP BY iteration HAVING max(name = 'wm/steps') ORDER BY iteration";
/* Seconds of each phase; iteration 0 is the warm-up. */
static const char times_sql[] =
    "SELECT iteration, "
    COLUMN("time/collect", "collect") ", "
    COLUMN("time/model", "model") ", "
    COLUMN("time/rm", "rm") ", "
    COLUMN("time/plan", "plan") ", "
    COLUMN("time/ppo", "ppo") ", "
    COLUMN("time/iteration", "whole")
    " FROM metrics WHERE name LIKE 'time/%' GROUP BY iteration ORDER BY iteration";
/* clang-format on */
static const char evals_sql[] =
    "SELECT round, set_id, greedy, wins, episodes, \"return\" FROM evals ORDER BY round";
static const char episodes_sql[] =
    "SELECT count(*) AS stored, coalesce(sum(kind = 'train' AND orphan = 0), 0) AS train,"
    " coalesce(sum(kind = 'eval'), 0) AS eval, coalesce(sum(orphan), 0) AS orphans,"
    " coalesce(sum(kind = 'train' AND orphan = 0 AND won), 0) AS won FROM episodes";

/* What computed the checkpoint, as its state.json says; empty words in one of an older
 * program. */
static json_t *computed_by(const struct look *l)
{
    static const char *const key[] = {"isa", "products", "blas_core"};
    char path[RUN_PATH + 16];
    snprintf(path, sizeof path, "%s/state.json", l->checkpoint);
    json_t *state = json_load_file(path, 0, NULL), *o = json_object();
    for (size_t i = 0; i < sizeof key / sizeof *key; i++) {
        const char *text = json_string_value(json_object_get(state, key[i]));
        json_object_set_new(o, key[i], json_string(text ? text : ""));
    }
    json_decref(state);
    return o;
}

/* Gradient steps refused since the start because something was not finite. */
static json_t *skipped(const struct ckpt_state *s)
{
    return json_pack(
        "{s:I,s:I,s:I,s:I,s:I}", "all", (json_int_t)s->skipped, "model",
        (json_int_t)s->skipped_by[OPT_MODEL], "rm", (json_int_t)s->skipped_by[OPT_RM], "actor",
        (json_int_t)s->skipped_by[OPT_ACTOR], "critic", (json_int_t)s->skipped_by[OPT_CRITIC]);
}

static int report(const struct look *l, json_t **out)
{
    const struct {
        const char *key, *sql;
        bool one;
    } part[] = {
        {"workers", workers_sql, false}, {"ppo", ppo_sql, true},
        {"rm", rm_sql, false},           {"scores", scores_sql, false},
        {"updates", updates_sql, false}, {"times", times_sql, false},
        {"evals", evals_sql, false},     {"stored", episodes_sql, true},
    };
    const struct ckpt_state *s = &l->state;
    uint64_t iterations = s->iteration ? s->iteration - 1 : 0; /* complete ones that trained */
    json_t *o =
        json_pack("{s:I,s:I,s:I,s:I,s:s,s:o,s:o}", "episodes", (json_int_t)s->next_episode,
                  "iterations", (json_int_t)iterations, "env_steps", (json_int_t)s->env_steps,
                  "set_id", (json_int_t)s->set_id, "checkpoint", l->checkpoint, "computed_by",
                  computed_by(l), "skipped", skipped(s));
    int err = o ? 0 : ERR_NOMEM;
    if (!err && s->best_iteration)
        json_object_set_new(o, "best",
                            json_pack("{s:I,s:I}", "iteration",
                                      (json_int_t)(s->best_iteration - 1), "wins",
                                      (json_int_t)s->best_wins));
    for (size_t i = 0; i < sizeof part / sizeof *part && !err; i++)
        err = put(l, o, part[i].key, part[i].sql, part[i].one);
    if (err)
        json_decref(o);
    else
        *out = o;
    return err;
}

static long long whole(const json_t *o, const char *key)
{
    return (long long)json_number_value(json_object_get(o, key));
}

static double real(const json_t *o, const char *key)
{
    return json_number_value(json_object_get(o, key));
}

static const json_t *last_of(const json_t *o, const char *key)
{
    const json_t *list = json_object_get(o, key);
    size_t n = json_array_size(list);
    return n ? json_array_get(list, n - 1) : NULL;
}

static void print_method(const json_t *o)
{
    const json_t *rm = last_of(o, "rm"), *score = last_of(o, "scores");
    if (rm && json_is_number(json_object_get(rm, "correlation")))
        printf(
            "  R_m          correlation with its label %.2f (%.2f to %.2f), iteration %lld\n",
            real(rm, "correlation"), real(rm, "lo"), real(rm, "hi"), whole(rm, "iteration"));
    if (score)
        printf("  planning     chosen score %.4f, candidates' mean %.4f, iteration %lld\n",
               real(score, "chosen"), real(score, "mean"), whole(score, "iteration"));
}

/* Mean seconds of each phase over the iterations that train. */
static void print_times(const json_t *o)
{
    static const char *const phase[] = {"collect", "model", "rm", "plan", "ppo", "whole"};
    enum { PHASES = sizeof phase / sizeof *phase };
    double sum[PHASES] = {0};
    size_t i, n = 0;
    const json_t *row;
    json_array_foreach(json_object_get(o, "times"), i, row)
    {
        if (whole(row, "iteration") == 0)
            continue;
        n++;
        for (size_t k = 0; k < PHASES; k++)
            sum[k] += real(row, phase[k]);
    }
    if (!n)
        return;
    printf("  seconds      ");
    for (size_t k = 0; k < PHASES; k++)
        printf("%s %.2f%s", phase[k], sum[k] / (double)n, k + 1 < PHASES ? ", " : "");
    printf(" (mean of %zu iterations)\n", n);
}

static const char *word(const json_t *o, const char *key)
{
    const char *text = json_string_value(json_object_get(o, key));
    return text && *text ? text : "unknown";
}

static void print_computing(const json_t *o)
{
    const json_t *by = json_object_get(o, "computed_by"), *no = json_object_get(o, "skipped");
    printf("  computed by  %s kernels, products by %s; OpenBLAS core %s\n", word(by, "isa"),
           word(by, "products"), word(by, "blas_core"));
    if (whole(no, "all"))
        printf("  refused      %lld gradient steps that were not finite: model %lld, R_m %lld, "
               "actor %lld, critic %lld; batches in bad/\n",
               whole(no, "all"), whole(no, "model"), whole(no, "rm"), whole(no, "actor"),
               whole(no, "critic"));
}

static void print_report(const struct look *l, const json_t *o)
{
    static const char *const phase[] = {"collecting", "model", "R_m", "policy"};
    const json_t *ppo = json_object_get(o, "ppo"), *stored = json_object_get(o, "stored"), *w;
    size_t i;
    printf("run %s\n", l->run_dir);
    printf("  checkpoint   %s\n", l->checkpoint);
    printf(
        "  stands at    iteration %llu, %s, step %llu; %llu environment steps, %llu updates\n",
        (unsigned long long)l->state.iteration, phase[l->state.phase],
        (unsigned long long)l->state.step, (unsigned long long)l->state.env_steps,
        (unsigned long long)l->state.updates);
    printf(
        "  episodes     %lld stored: %lld for training (%lld won), %lld for evaluation, %lld "
        "orphans\n",
        whole(stored, "stored"), whole(stored, "train"), whole(stored, "won"),
        whole(stored, "eval"), whole(stored, "orphans"));
    printf("  PPO rows     %lld, of which %lld came from %lld results of planners\n",
           whole(ppo, "rows"), whole(ppo, "rows_from_results"), whole(ppo, "jobs"));
    printf("  determinism  %lld items computed twice, %lld differed\n",
           whole(ppo, "duplicates"), whole(ppo, "divergence"));
    print_computing(o);
    print_method(o);
    print_times(o);
    const json_t *evals = json_object_get(o, "evals"), *best = json_object_get(o, "best");
    size_t rounds = json_array_size(evals);
    for (i = rounds > 2 ? rounds - 2 : 0; i < rounds;
         i++) { /* the newest, greedy and sampled */
        w = json_array_get(evals, i);
        printf("  evaluation   round %lld, %s: won %lld of %lld, return %.2f\n",
               whole(w, "round"), whole(w, "greedy") ? "greedy" : "sampled", whole(w, "wins"),
               whole(w, "episodes"), real(w, "return"));
    }
    if (best)
        printf("  best         after iteration %lld, won %lld greedy: %s/ckpt/best\n",
               whole(best, "iteration"), whole(best, "wins"), l->run_dir);
    json_array_foreach(json_object_get(o, "workers"), i, w)
    {
        printf("  %-12s %s, %lld accepted\n", json_string_value(json_object_get(w, "role")),
               json_string_value(json_object_get(w, "id")), whole(w, "accepted"));
    }
}

/* ------------------------------------------------------------------------------ the verb */

static int find_run(struct look *l, const char *path)
{
    int err = rundir_of(path, l->run_dir);
    if (!err)
        err = ckpt_find(path, l->checkpoint, sizeof l->checkpoint);
    return err ? err : ckpt_read_state(l->checkpoint, &l->state, NULL);
}

static int print_hash(const char *path)
{
    struct digest d;
    char hex[DIGEST_HEX], checkpoint[RUN_PATH];
    if (access(path, F_OK))
        return err_set(ERR_NOTFOUND, "%s does not exist", path);
    int err = ckpt_find(path, checkpoint, sizeof checkpoint);
    if (!err)
        err = ckpt_hash(checkpoint, &d);
    if (err)
        return err;
    digest_hex(hex, &d);
    puts(hex);
    return 0;
}

static int print_run(const char *path, bool json)
{
    struct look *l = calloc(1, sizeof *l);
    json_t *o = NULL;
    if (!l)
        return ERR_NOMEM;
    int err = find_run(l, path);
    if (!err)
        err = open_db(l);
    if (!err)
        err = report(l, &o);
    if (!err && json) {
        json_dumpf(o, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
        putchar('\n');
    } else if (!err) {
        print_report(l, o);
    }
    json_decref(o);
    sqlite3_close(l->db);
    free(l);
    return err;
}

int verb_inspect(int argc, char **argv)
{
    bool hash = false, json = false;
    const struct flag flags[] = {
        {"hash", NULL, NULL, NULL, &hash,
         "print the identity of the newest whole checkpoint: equal runs, equal hashes"},
        {"json", NULL, NULL, NULL, &json, "print JSON"},
        {0},
    };
    struct args a = {.verb = argv[0],
                     .usage = "RUN|CHECKPOINT [--hash | --json]",
                     .about = "Shows what a run or a checkpoint holds; changes nothing.",
                     .flags = flags,
                     .words_min = 1,
                     .words_max = 1};
    int status = args_parse(&a, argc, argv);
    if (status)
        return status == ARGS_HELP ? EXIT_OK : status;
    if (hash && json)
        return fail(EXIT_USAGE, argv[0], "--hash and --json exclude each other");
    int err = hash ? print_hash(a.word[0]) : print_run(a.word[0], json);
    if (err)
        return fail(status_of(err), argv[0], "%s", err_text());
    return fflush(stdout) ? fail(EXIT_IO, argv[0], "cannot write the answer") : EXIT_OK;
}
