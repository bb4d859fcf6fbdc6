/* SPDX-License-Identifier: Apache-2.0 */
/* play.h - the environment thread: plays episodes, several at once, with up to two sets of
 * weights.
 *
 * The loop hands in PLAYs with their weights and takes out finished episodes, both through
 * bounded queues; `bell` rings (from the environment thread) when something is to be taken. */
#ifndef ACTOR_PLAY_H
#define ACTOR_PLAY_H

#include "work/fetch.h"
#include "work/worker.h"

#include <stdbool.h>

struct player; /* opaque */

struct player_cfg {
    const struct worker_run *run; /* outlives the player */
    uint32_t slots;
    void (*bell)(void *arg);
    void *arg;
};

/* Opens environments and models, starts the thread. ERR_* with err_text(). */
int player_open(struct player **out, const struct player_cfg *c);
/* Abandons what is being played and joins the thread: at most one environment step and one
 * reset. */
void player_close(struct player *p);

/* Play this with these weights (taken over). ERR_AGAIN: too many at once. Loop thread. */
int player_play(struct player *p, const struct wire_play *play, struct blob_set *weights);
/* Give up every episode not yet finished: each comes out as abandoned. Loop thread. */
void player_abandon(struct player *p);

enum played_how { PLAYED, PLAYED_ABANDONED, PLAYED_BROKEN };
struct played {
    enum played_how how; /* BROKEN: the environment failed again and again; text says how */
    struct wire_play play;
    uint64_t seq;
    unsigned char *body; /* PLAYED: EPISODE, token to be filled in; the taker frees it */
    size_t n;
    uint32_t steps;
    bool won;
    double ret;
    char text[256];
};
/* The next finished one, or NULL. The taker frees it with free(). Loop thread. */
struct played *player_take(struct player *p);

#endif
