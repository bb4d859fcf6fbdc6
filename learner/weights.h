/* SPDX-License-Identifier: Apache-2.0 */
/* weights.h - published weights: immutable blobs, named by (group, version), gathered in sets.
 *
 * The trainer publishes; the loop serves GETs and pins sets while work naming them is open;
 * the store thread asks for set digests. One mutex, held for lookups only. Blobs are
 * reference-counted: a CHUNK under way in an I/O thread keeps its blob alive. */
#ifndef LEARNER_WEIGHTS_H
#define LEARNER_WEIGHTS_H

#include "proto/wire.h"

#include <stdbool.h>

struct weights; /* opaque */

int weights_open(struct weights **out);
void weights_close(struct weights *w);

/* The first set id that may be used; ids never repeat in a run, across restarts too. */
void weights_start(struct weights *w, uint64_t first_set_id);

/* One group's new bytes (malloc'ed, taken over whatever happens). */
struct weights_part {
    uint32_t group;
    unsigned char *bytes;
    size_t n;
};
/* A new set: the groups given, the others as before. A group whose bytes did not change keeps
 * its version; if none changed, no new set is made. The version of a group is the id of the
 * set that brought it. ERR_NOMEM. Any thread. */
int weights_publish(struct weights *w, const struct weights_part *part, size_t n,
                    struct wire_set *out);

void weights_newest(struct weights *w, struct wire_set *out);
int weights_set(struct weights *w, uint64_t set_id, struct wire_set *out); /* ERR_NOTFOUND */
/* The set's digest; remembered for the last 1024 sets, evicted ones included. ERR_NOTFOUND */
int weights_digest(struct weights *w, uint64_t set_id, struct digest *out);

/* Keep a set although newer ones exist. Pins count. */
int weights_pin(struct weights *w, uint64_t set_id); /* ERR_NOTFOUND */
void weights_unpin(struct weights *w, uint64_t set_id);

/* Borrow the blob of (group, version): release with weights_blob_release, on any thread. */
struct weights_blob;
struct weights_blob *weights_blob(struct weights *w, uint32_t group,
                                  uint64_t version); /* or NULL */
const unsigned char *weights_blob_bytes(const struct weights_blob *b, size_t *n);
struct weights_blob *weights_blob_retain(struct weights_blob *b);
void weights_blob_release(struct weights_blob *b);

#endif
