/* SPDX-License-Identifier: Apache-2.0 */
/* fetch.h - get weights from the learner, piece by piece, and keep what is used.
 *
 * Belongs to the loop thread; blob sets that leave it are immutable and counted, and may be
 * freed in any thread. Blobs are known by their digest: a group that did not change between
 * two sets is fetched once. */
#ifndef WORK_FETCH_H
#define WORK_FETCH_H

#include "proto/wire.h"

#include <stddef.h>
#include <stdint.h>

struct fetch; /* opaque */
struct blob;  /* opaque, counted */

/* A set whose needed groups are all here. */
struct blob_set {
    struct wire_set set;
    uint32_t needs;                     /* bit mask of groups */
    struct blob *blob[WIRE_GROUPS_MAX]; /* by group, NULL where not needed */
};
void blob_set_free(struct blob_set *s); /* any thread; NULL is a no-op */
const unsigned char *blob_bytes(const struct blob *b, size_t *n);
const struct digest *blob_digest(const struct blob *b);

enum { FETCH_OUTSTANDING = 8 }; /* GETs under way at once */

/* Send one GET; the session fills in the token. 0 or ERR_*: tried again at the next tick. */
typedef int fetch_send_fn(void *arg, struct wire_get *get);

int fetch_open(struct fetch **out, uint32_t needs, fetch_send_fn *send, void *arg);
void fetch_close(struct fetch *f); /* NULL is a no-op */

enum fetch_state { FETCH_READY, FETCH_PENDING, FETCH_GONE };
/* Ask for a set; idempotent. READY: *out is the caller's. PENDING: being fetched, ask again
 * when fetch_chunk or fetch_gone returned true. GONE: the learner no longer has it. */
enum fetch_state fetch_want(struct fetch *f, const struct wire_set *set, int64_t now_ms,
                            struct blob_set **out);

/* Answers of the learner. True when a blob became ready or gone. */
bool fetch_chunk(struct fetch *f, const struct wire_chunk *c, const void *bytes, size_t n,
                 int64_t now_ms);
bool fetch_gone(struct fetch *f, const struct wire_gone *g);

void fetch_tick(struct fetch *f, int64_t now_ms);    /* ask again what was not answered */
void fetch_session(struct fetch *f, int64_t now_ms); /* a session began: ask again at once */
void fetch_clear(struct fetch *f);                   /* another run: forget everything */
uint64_t fetch_bytes(const struct fetch *f);         /* received since open */

#endif
