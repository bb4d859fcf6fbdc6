/* SPDX-License-Identifier: Apache-2.0 */
/* replay.h - D_e: a ring of joint records, written back to back, sampled as windows of W.
 *
 * Owned by the trainer thread. Episodes are added in episode_no order, whatever their arrival
 * order. Ingest appends the two absorbing records of mag.md 2 to an episode that did not end by
 * the time limit (ABSORB draws). Windows ignore episode boundaries (mag.md 3). */
#ifndef LEARNER_REPLAY_H
#define LEARNER_REPLAY_H

#include "algo/mag.h"
#include "proto/wire.h"

struct replay; /* opaque */

int replay_open(struct replay **out, size_t capacity, size_t N, size_t O, size_t A);
void replay_close(struct replay *r);
size_t replay_bytes(size_t capacity, size_t N, size_t O, size_t A);

/* Append one episode and its absorbing records. ERR_INVAL if it exceeds the ring or differs in
 * shape. */
int replay_add(struct replay *r, const struct wire_episode *e, const struct draws *draws);

/* Records of an episode of T steps: an end by anything but the time limit adds two. */
size_t replay_records(uint32_t T, bool limit);

/* Resume: count `records` as written without having them, for episodes that later ones
 * overwrite anyway. Sampling is only right once they are overwritten. */
void replay_skip(struct replay *r, size_t records);

size_t replay_len(const struct replay *r);    /* records held, absorbing ones included */
uint64_t replay_next(const struct replay *r); /* records ever written */
uint64_t
replay_first_episode(const struct replay *r); /* lowest episode_no still (partly) held */

/* Buffers for B windows of W records, from an arena; then fill them. */
struct replay_batch {
    struct mag_windows w; /* points into the buffers below */
    float *obs, *reward;
    uint8_t *action, *avail, *done, *fake, *last;
    size_t W, B_max;
};
int replay_batch_carve(struct replay_batch *b, const struct replay *r, size_t W, size_t B,
                       struct arena *a);
size_t replay_batch_bytes(size_t W, size_t B, size_t N, size_t O, size_t A);

/* Sample B windows: row b's start is drawn by (domain, item, row b; try). ERR_AGAIN while fewer
 * than W + 1 records are held. */
int replay_sample(const struct replay *r, struct replay_batch *b, const struct draws *draws,
                  enum draw_domain domain, uint64_t item);

/* Windows of one episode that is not in the ring yet (held-out scoring): up to b->B_max windows
 * spread evenly over the episode with its absorbing records; *count says how many. */
int replay_windows_of(struct replay_batch *b, const struct replay *shape,
                      const struct wire_episode *e, const struct draws *draws, size_t *count);

#endif
