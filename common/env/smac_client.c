/* SPDX-License-Identifier: Apache-2.0 */
/* smac_client.c - one life with the game:
 *
 *   launch    launch create_game join_game game_info
 *   reset     first episode: launch        later: debug_kill_unit step(2)
 *             then observe { step(1) observe }* until every unit is there
 *   step      actions step(step_mul) observe
 *   restart   quit, then launch; after a lost connection
 *
 * Killing everyone starts the next episode, because a trigger of the maps spawns both sides
 * afresh when neither has a unit left. "First" means that no episode has been finished: after
 * a connection lost in the first episode the restart launches the game, and the next reset
 * launches it once more. A connection lost while units are awaited restarts the game, resets
 * anew, and then looks at the last frame a second time (it counts twice in max_reward while
 * the episode is the first): the published environment does all this, and recordings show it. */
#include "smac_client.h"

#include "scenario.h"
#include "smac_state.h"

#include "base/err.h"

#include <stdio.h>
#include <stdlib.h>

enum { RESET_DEPTH = 16 }; /* restarts within one reset before giving up */

struct smac_client {
    struct smac *smac;
    struct smac_client_options o;
    struct smac_link link;
    struct smac_stats stats;
    char map_path[96];
    struct smac_reply reply;
    struct smac_command commands[SMAC_AGENTS_MAX];
    uint64_t tags[2 * SMAC_UNITS_MAX];
};

const char *smac_call_name(enum smac_call call)
{
    static const char *const names[SMAC_CALLS] = {
        [CALL_LAUNCH] = "launch",       [CALL_CREATE_GAME] = "create_game",
        [CALL_JOIN_GAME] = "join_game", [CALL_GAME_INFO] = "game_info",
        [CALL_OBSERVE] = "observe",     [CALL_STEP] = "step",
        [CALL_ACTIONS] = "actions",     [CALL_DEBUG_KILL_UNIT] = "debug_kill_unit",
        [CALL_QUIT] = "quit",
    };
    bug_on((unsigned)call >= SMAC_CALLS);
    return names[call];
}

static const char *race_name(char race)
{
    return race == 'P' ? "Protoss" : race == 'T' ? "Terran" : "Zerg";
}

static const char *const difficulty_name[] = {
    "VeryEasy", "Easy",     "Medium",      "MediumHard", "Hard",
    "Harder",   "VeryHard", "CheatVision", "CheatMoney", "CheatInsane",
};
enum { DIFFICULTIES = sizeof difficulty_name / sizeof difficulty_name[0] };

void smac_client_options_default(struct smac_client_options *o)
{
    *o = (struct smac_client_options){.difficulty = 7, .step_mul = 8};
}

int smac_client_open(struct smac_client **out, struct smac *s,
                     const struct smac_client_options *o, struct smac_link link)
{
    if (o->difficulty < 1 || o->difficulty > DIFFICULTIES)
        return err_set(ERR_INVAL, "difficulty %u: 1 to %d", o->difficulty, DIFFICULTIES);
    struct smac_client *c = calloc(1, sizeof *c);
    if (!c)
        return ERR_NOMEM;
    c->smac = s;
    c->o = *o;
    c->link = link;
    snprintf(c->map_path, sizeof c->map_path, "SMAC_Maps/%s.SC2Map", s->map->name);
    *out = c;
    return 0;
}

void smac_client_close(struct smac_client *c)
{
    free(c);
}

void smac_client_stats(const struct smac_client *c, struct smac_stats *out)
{
    *out = c->stats;
}

static int ask(struct smac_client *c, const struct smac_request *request)
{
    return c->link.ask(c->link.state, request, &c->reply);
}

static int ask_plain(struct smac_client *c, enum smac_call call)
{
    return ask(c, &(struct smac_request){.call = call});
}

static int ask_step(struct smac_client *c, uint32_t loops)
{
    return ask(c, &(struct smac_request){.call = CALL_STEP, .count = loops});
}

static int launch(struct smac_client *c)
{
    const struct scenario *map = c->smac->map;
    int rc = ask(c, &(struct smac_request){.call = CALL_LAUNCH, .version = c->o.game_version});
    if (!rc)
        rc = ask(c, &(struct smac_request){.call = CALL_CREATE_GAME,
                                           .map_path = c->map_path,
                                           .enemy_race = race_name(map->enemy_race),
                                           .difficulty = difficulty_name[c->o.difficulty - 1],
                                           .has_seed = c->o.has_seed,
                                           .seed = c->o.seed});
    if (!rc)
        rc = ask(c, &(struct smac_request){.call = CALL_JOIN_GAME,
                                           .race = race_name(map->ally_race)});
    if (!rc)
        rc = ask_plain(c, CALL_GAME_INFO);
    return rc ? rc : smac_game_info(c->smac, &c->reply.info);
}

static int restart(struct smac_client *c)
{
    int rc = ask_plain(c, CALL_QUIT);
    if (rc && rc != ERR_CLOSED)
        return rc;
    rc = launch(c);
    if (!rc)
        c->stats.restarts++;
    return rc;
}

/* Bring the game to the start of an episode. */
static int start_episode(struct smac_client *c)
{
    if (c->stats.episode_count == 0)
        return launch(c);
    size_t n = smac_alive_tags(c->smac, c->tags);
    int rc = ask(
        c, &(struct smac_request){.call = CALL_DEBUG_KILL_UNIT, .tags = c->tags, .n_tags = n});
    if (!rc)
        rc = ask_step(c, 2);
    return rc == ERR_CLOSED ? restart(c) : rc;
}

static int reset(struct smac_client *c, int depth)
{
    if (depth == RESET_DEPTH)
        return err_set(ERR_CLOSED, "the game was lost %d times within one reset", depth);
    int rc = start_episode(c);
    if (rc)
        return rc;
    smac_reset_begin(c->smac);
    rc = ask_plain(c, CALL_OBSERVE);
    if (rc)
        return rc == ERR_CLOSED ? restart(c) : rc;
    while (smac_reset_frame(c->smac, c->reply.units, c->reply.n_units) == ERR_AGAIN) {
        rc = ask_step(c, 1);
        if (!rc)
            rc = ask_plain(c, CALL_OBSERVE);
        if (rc == ERR_CLOSED) {
            rc = restart(c);
            if (!rc)
                rc = reset(c, depth + 1);
        }
        if (rc)
            return rc;
    }
    return 0;
}

int smac_client_reset(struct smac_client *c)
{
    return reset(c, 0);
}

static int play(struct smac_client *c, size_t n_commands)
{
    int rc =
        ask(c, &(struct smac_request){
                   .call = CALL_ACTIONS, .commands = c->commands, .n_commands = n_commands});
    if (!rc)
        rc = ask_step(c, c->o.step_mul);
    return rc ? rc : ask_plain(c, CALL_OBSERVE);
}

static void count_result(struct smac_stats *st, const struct smac_result *r)
{
    if (!r->terminated || !r->info_valid)
        return;
    st->episode_count++;
    st->battles_game++;
    st->battles_won += r->battle_won;
    st->timeouts += r->time_limit;
}

int smac_client_step(struct smac_client *c, const uint8_t *action, struct smac_result *out)
{
    size_t n;
    int rc = smac_commands(c->smac, action, c->commands, &n);
    if (rc)
        return rc;
    rc = play(c, n);
    bool lost = rc == ERR_CLOSED;
    if (rc && !lost)
        return rc;
    if (lost && (rc = restart(c)))
        return rc;
    smac_step_frame(c->smac, c->reply.units, c->reply.n_units, lost, out);
    count_result(&c->stats, out);
    return 0;
}
