/* SPDX-License-Identifier: Apache-2.0 */
/* smac_client.h - what to ask the game, and when: the request sequence of the contract.
 *
 * A client drives one struct smac over a link to the game (or a recording of one). It knows
 * the order of requests at launch, reset and step, counts battles, and restarts the game when
 * the connection is lost, as the published environment does. It knows nothing of sockets or
 * messages: the link does. One client, its smac and its link belong to one thread. */
#ifndef ENV_SMAC_CLIENT_H
#define ENV_SMAC_CLIENT_H

#include "env/smac.h"

enum smac_call {
    CALL_LAUNCH,
    CALL_CREATE_GAME,
    CALL_JOIN_GAME,
    CALL_GAME_INFO,
    CALL_OBSERVE,
    CALL_STEP,
    CALL_ACTIONS,
    CALL_DEBUG_KILL_UNIT,
    CALL_QUIT,
    SMAC_CALLS
};
const char *smac_call_name(enum smac_call call);

struct smac_request {
    enum smac_call call;
    const char *version;                 /* launch: NULL = newest; no rendering wanted */
    const char *map_path;                /* create_game: not in real time */
    const char *enemy_race, *difficulty; /* create_game: names of the API */
    bool has_seed;                       /* create_game: else the field is not set */
    uint32_t seed;                       /* create_game */
    const char *race;                    /* join_game: raw interface, no score */
    uint32_t count;                      /* step: game loops */
    const struct smac_command *commands; /* actions: never queued */
    size_t n_commands;
    const uint64_t *tags; /* debug_kill_unit */
    size_t n_tags;
};

/* What came back: game_info fills info (valid until the next request), observe fills units. */
struct smac_reply {
    struct smac_game_info info;
    struct smac_unit units[SMAC_UNITS_MAX];
    size_t n_units;
};

struct smac_link {
    /* 0, or ERR_CLOSED when the connection is lost: the client restarts the game. Any other
     * error ends the call that made the request. */
    int (*ask)(void *state, const struct smac_request *request, struct smac_reply *reply);
    void *state;
};

struct smac_client_options {
    const char *game_version; /* NULL: newest */
    uint32_t difficulty;      /* 1..10, 7 = VeryHard */
    uint32_t step_mul;        /* game loops a step */
    bool has_seed;
    uint32_t seed;
};
void smac_client_options_default(struct smac_client_options *o);

struct smac_stats {
    uint64_t battles_won, battles_game, timeouts, restarts, episode_count;
};

struct smac_client; /* opaque */

/* s and the strings of o must outlive the client. ERR_INVAL for a difficulty out of range. */
int smac_client_open(struct smac_client **out, struct smac *s,
                     const struct smac_client_options *o, struct smac_link link);
void smac_client_close(struct smac_client *c); /* sends nothing */

/* Start an episode. If the first observation of a later episode is lost, the game is restarted
 * and the units of the *old* episode stay visible, as in the published environment: compare
 * stats.restarts to notice. ERR_CLOSED if the game cannot be started. */
int smac_client_reset(struct smac_client *c);

/* One step. A lost connection is not an error: the game is restarted and the result says
 * terminated with info_valid false. ERR_INVAL as smac_commands. */
int smac_client_step(struct smac_client *c, const uint8_t *action, struct smac_result *out);

void smac_client_stats(const struct smac_client *c, struct smac_stats *out);

#endif
