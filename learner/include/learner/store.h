/* SPDX-License-Identifier: Apache-2.0 */
/* store.h - run.db: every episode, result, metric and evaluation of a run (SQLite, WAL, FULL).
 *
 * One thread writes (the store thread); others open read-only with store_open_read. An episode
 * may be acknowledged only after the commit that holds it returned: store_commit is that
 * point. Any failure of a commit is final for the process (err_text says so): never retried,
 * never acknowledged.
 *
 * Tables (contracts.md 10): episodes, jobs, metrics, evals, workers, meta. */
#ifndef LEARNER_STORE_H
#define LEARNER_STORE_H

#include "base/digest.h"
#include "proto/wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store; /* opaque */

int store_open(struct store **out,
               const char *path); /* creates or migrates; ERR_IO, ERR_CORRUPT */
int store_open_read(struct store **out, const char *path);
void store_close(struct store *s);

/* Rows inside the open transaction (begun as needed); store_commit makes them durable. */
enum store_added { STORE_NEW, STORE_DUPLICATE, STORE_DIVERGED, STORE_ORPHANED };
/* body: the EPISODE message body as received (stored zstd-compressed). A second arrival of
 * (stream, seq) or of (kind, episode_no): STORE_DUPLICATE if its digest equals the stored one,
 * else STORE_DIVERGED (nothing is stored). `orphan`: keep it, but never train on it. */
int store_episode(struct store *s, const struct wire_episode *e, const struct digest *digest,
                  const struct digest *set_digest, bool orphan, const void *body, size_t n,
                  enum store_added *out);
/* digest: over the job's row tensors in row order. Same verdicts. */
int store_job(struct store *s, uint64_t job_id, const unsigned char worker_id[WIRE_ID],
              uint64_t set_id, uint64_t rows, const struct digest *digest,
              enum store_added *out);
int store_metric(struct store *s, uint64_t iteration, const char *name, double value);
int store_eval(struct store *s, uint64_t round, uint64_t set_id, bool greedy, uint32_t wins,
               uint32_t episodes, double mean_return);
/* Remember that (stream, seq) was dealt with without being stored (a duplicate of another
 * stream's episode, a permanent NACK), so that the cumulative ack can pass it. store_episode
 * does this itself for its duplicates. */
int store_seen(struct store *s, const unsigned char worker_id[WIRE_ID], uint64_t incarnation,
               uint64_t seq);
int store_worker(struct store *s, const unsigned char worker_id[WIRE_ID], const char *role,
                 uint64_t accepted_more);
int store_meta_set(struct store *s, const char *key, const char *value);
int store_meta_get(struct store *s, const char *key, char *value, size_t n); /* ERR_NOTFOUND */
int store_commit(struct store *s);
bool store_dirty(const struct store *s); /* rows wait for a commit */

/* Highest contiguous seq of a stream and the bits above it (see wire_ack). */
int store_stream(struct store *s, const unsigned char worker_id[WIRE_ID], uint64_t incarnation,
                 uint64_t *durable, uint64_t *selective);

/* Resume: cut metrics from `iteration` on and jobs of later iterations. Jobs of `iteration`
 * itself stay: those planned again must come out equal. Episodes with episode_no >=
 * next_episode stay: the trainer uses them again or marks them orphans (contracts.md 8);
 * evaluations stay and are replaced when their round is played again. */
int store_rewind(struct store *s, uint64_t iteration, uint64_t next_episode);

/* One stored episode of training or evaluation by number, its message body decompressed into
 * *body (malloc'ed). Orphans have no number. ERR_NOTFOUND. */
int store_load(struct store *s, enum wire_kind kind, uint64_t episode_no,
               struct digest *set_digest, unsigned char **body, size_t *n);
/* Lengths of the episodes with numbers below `below`, from the last one down, orphans left out:
 * each(arg, episode_no, T, ended by the limit). Ends at once with what `each` returns if that is
 * not 0. */
typedef int store_length_fn(void *arg, uint64_t episode_no, uint32_t T, bool limit);
int store_lengths(struct store *s, enum wire_kind kind, uint64_t below, store_length_fn *each,
                  void *arg);
int store_mark_orphan(struct store *s, enum wire_kind kind, uint64_t episode_no);

#endif
