/* SPDX-License-Identifier: Apache-2.0 */
/* smac_golden.c - replays recordings of the published SMAC environment through ours.
 *
 *   smac_golden FILE...
 *
 * A recording holds what the game said (map, unit lists) and what the published environment
 * made of it: requests sent, observations, state, availability, reward, end, counters. The
 * tool plays the game's part - it is the link behind smac_client.h - and compares everything
 * else. Observations and states may differ by 1e-6, rewards by 1e-9 of their size, the rest
 * not at all.
 *
 * One line per file: "ok NAME ..." or "FAIL NAME episode E step K: what, got, expected".
 * Exit status 0; 1 at the first difference; 65 for a file that is not a recording; 64 without
 * arguments.
 *
 * A lost connection stands in the file as the string "error" in place of a unit list. Which of
 * the requests failed follows from the requests themselves: the one before a "quit". */
#include "recording.h"
#include "scenario.h"
#include "smac_client.h"

#include "base/err.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VECTOR_TOLERANCE 1e-6
#define REWARD_TOLERANCE 1e-9
#define REWARD_FLOOR 1e-12 /* sums that cancel to nothing */

struct run {
    struct recording rec;

    struct smac *smac;
    struct smac_client *client;
    struct env_spec spec;
    struct smac_game_info info;
    uint8_t *pathing, *height;
    float *vector; /* room for all observations or the state */
    uint8_t *avail;

    /* The part of the recording the link is playing. */
    const json_t *calls, *frames;
    size_t call, frame;
    bool single_frame; /* frames is one frame, not a list of them */

    size_t episodes, steps, compared;
};

/* --- reading --- */

static bool is_bool_value(const json_t *v, bool expected)
{
    return json_is_boolean(v) && json_is_true(v) == expected;
}

static enum outcome read_count(struct run *r, const json_t *v, const char *what, uint64_t max,
                               uint64_t *out)
{
    if (!json_is_integer(v) || json_integer_value(v) < 0 ||
        (uint64_t)json_integer_value(v) > max)
        return stop(&r->rec, MALFORMED, "%s is not a whole number from 0 to %llu", what,
                    (unsigned long long)max);
    *out = (uint64_t)json_integer_value(v);
    return SAME;
}

/* Tags are 64-bit numbers written as decimal strings; plain integers are understood too. */
static enum outcome read_tag(struct run *r, const json_t *v, uint64_t *out)
{
    if (json_is_integer(v) && json_integer_value(v) >= 0) {
        *out = (uint64_t)json_integer_value(v);
        return SAME;
    }
    const char *text = json_string_value(v);
    char *end = NULL;
    errno = 0;
    if (text && text[0] >= '0' && text[0] <= '9')
        *out = strtoull(text, &end, 10);
    if (!end || *end || errno)
        return stop(&r->rec, MALFORMED, "a tag is not a 64-bit number");
    return SAME;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static enum outcome read_image(struct run *r, const json_t *info, const char *key,
                               uint32_t *bits, uint8_t **data, size_t *n)
{
    const json_t *image = field(&r->rec, info, key, JSON_OBJECT);
    const json_t *hex = image ? field(&r->rec, image, "data_hex", JSON_STRING) : NULL;
    uint64_t depth;
    if (!hex ||
        read_count(r, json_object_get(image, "bits_per_pixel"), "bits_per_pixel", 64, &depth))
        return r->rec.outcome;
    *bits = (uint32_t)depth;
    size_t digits = json_string_length(hex);
    const char *text = json_string_value(hex);
    if (digits % 2 || !(*data = calloc(digits / 2 + 1, 1)))
        return stop(&r->rec, MALFORMED, "'%s' has half a byte", key);
    for (size_t i = 0; i < digits; i += 2) {
        int hi = hex_digit(text[i]), lo = hex_digit(text[i + 1]);
        if (hi < 0 || lo < 0)
            return stop(&r->rec, MALFORMED, "'%s' is not hexadecimal", key);
        (*data)[i / 2] = (uint8_t)(hi << 4 | lo);
    }
    *n = digits / 2;
    return SAME;
}

static enum outcome read_game_info(struct run *r)
{
    const json_t *info = field(&r->rec, r->rec.root, "game_info", JSON_OBJECT);
    const json_t *size = info ? field(&r->rec, info, "map_size", JSON_ARRAY) : NULL;
    const json_t *area = size ? field(&r->rec, info, "playable_area", JSON_ARRAY) : NULL;
    uint64_t v[6];
    if (!area)
        return r->rec.outcome;
    for (size_t i = 0; i < 6; i++)
        if (read_count(r, i < 2 ? json_array_get(size, i) : json_array_get(area, i - 2),
                       "a side of the map", 65535, &v[i]))
            return r->rec.outcome;
    r->info.map_w = (uint32_t)v[0];
    r->info.map_h = (uint32_t)v[1];
    for (size_t i = 0; i < 4; i++)
        r->info.playable[i] = (int32_t)v[2 + i];
    if (read_image(r, info, "pathing_grid", &r->info.pathing_bits, &r->pathing,
                   &r->info.pathing_bytes) ||
        read_image(r, info, "terrain_height", &r->info.height_bits, &r->height,
                   &r->info.height_bytes))
        return r->rec.outcome;
    r->info.pathing = r->pathing;
    r->info.height = r->height;
    return SAME;
}

static enum outcome read_unit(struct run *r, const json_t *v, struct smac_unit *u)
{
    const struct {
        const char *key;
        float *at;
    } numbers[] = {
        {"x", &u->x},
        {"y", &u->y},
        {"z", &u->z},
        {"health", &u->health},
        {"health_max", &u->health_max},
        {"shield", &u->shield},
        {"shield_max", &u->shield_max},
        {"energy", &u->energy},
        {"energy_max", &u->energy_max},
        {"weapon_cooldown", &u->weapon_cooldown},
    };
    uint64_t owner, type;
    *u = (struct smac_unit){0};
    if (read_count(r, json_object_get(v, "owner"), "owner", UINT32_MAX, &owner) ||
        read_count(r, json_object_get(v, "unit_type"), "unit_type", UINT32_MAX, &type) ||
        read_tag(r, json_object_get(v, "tag"), &u->tag))
        return r->rec.outcome;
    u->owner = (uint32_t)owner;
    u->unit_type = (uint32_t)type;
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        const json_t *number = json_object_get(v, numbers[i].key);
        if (!number)
            continue;
        if (!json_is_number(number))
            return stop(&r->rec, MALFORMED, "'%s' of a unit is not a number", numbers[i].key);
        *numbers[i].at = (float)json_number_value(number);
    }
    return SAME;
}

static enum outcome read_frame(struct run *r, const json_t *frame, struct smac_reply *out)
{
    if (!json_is_array(frame))
        return stop(&r->rec, MALFORMED,
                    "an observation is neither a list of units nor \"error\"");
    if (json_array_size(frame) > SMAC_UNITS_MAX)
        return stop(&r->rec, MALFORMED, "an observation of %zu units, more than %d",
                    json_array_size(frame), SMAC_UNITS_MAX);
    out->n_units = json_array_size(frame);
    for (size_t i = 0; i < out->n_units; i++)
        if (read_unit(r, json_array_get(frame, i), &out->units[i]))
            return r->rec.outcome;
    return SAME;
}

/* --- the constructor's arguments --- */

struct settings {
    struct smac_options options;
    struct smac_client_options client;
};

static enum outcome read_difficulty(struct run *r, const json_t *v, uint32_t *out)
{
    const char *text = json_string_value(v);
    if (text && text[0] >= '1' && text[0] <= '9' && !text[1])
        *out = (uint32_t)(text[0] - '0');
    else if (text && strcmp(text, "A") == 0)
        *out = 10;
    else
        return stop(&r->rec, MALFORMED, "difficulty is not one of \"1\" to \"9\" and \"A\"");
    return SAME;
}

static bool read_switch(struct smac_options *o, const char *key, const json_t *v)
{
    const struct {
        const char *key;
        bool *at;
    } switches[] = {
        {"continuing_episode", &o->continuing_episode},
        {"obs_all_health", &o->obs_all_health},
        {"obs_own_health", &o->obs_own_health},
        {"obs_last_action", &o->obs_last_action},
        {"obs_pathing_grid", &o->obs_pathing_grid},
        {"obs_terrain_height", &o->obs_terrain_height},
        {"obs_instead_of_state", &o->obs_instead_of_state},
        {"obs_timestep_number", &o->obs_timestep_number},
        {"state_last_action", &o->state_last_action},
        {"state_timestep_number", &o->state_timestep_number},
        {"reward_sparse", &o->reward_sparse},
        {"reward_only_positive", &o->reward_only_positive},
        {"reward_scale", &o->reward_scale},
        {"heuristic_ai", &o->heuristic_ai},
        {"heuristic_rest", &o->heuristic_rest},
    };
    for (size_t i = 0; i < sizeof switches / sizeof switches[0]; i++) {
        if (strcmp(key, switches[i].key) == 0 && json_is_boolean(v)) {
            *switches[i].at = json_is_true(v);
            return true;
        }
    }
    return false;
}

static bool read_amount(struct smac_options *o, const char *key, const json_t *v)
{
    const struct {
        const char *key;
        double *at;
    } amounts[] = {
        {"move_amount", &o->move_amount},
        {"reward_death_value", &o->reward_death_value},
        {"reward_win", &o->reward_win},
        {"reward_defeat", &o->reward_defeat},
        {"reward_negative_scale", &o->reward_negative_scale},
        {"reward_scale_rate", &o->reward_scale_rate},
    };
    for (size_t i = 0; i < sizeof amounts / sizeof amounts[0]; i++) {
        if (strcmp(key, amounts[i].key) == 0 && json_is_number(v)) {
            *amounts[i].at = json_number_value(v);
            return true;
        }
    }
    return false;
}

/* Arguments that change nothing we compare. */
static bool irrelevant(const char *key)
{
    static const char *const keys[] = {"map_name",   "debug",         "window_size_x",
                                       "replay_dir", "replay_prefix", "window_size_y"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (strcmp(key, keys[i]) == 0)
            return true;
    return false;
}

static enum outcome read_setting(struct run *r, struct settings *s, const char *key,
                                 const json_t *v)
{
    uint64_t count;
    if (read_switch(&s->options, key, v) || read_amount(&s->options, key, v) || irrelevant(key))
        return SAME;
    if (strcmp(key, "difficulty") == 0)
        return read_difficulty(r, v, &s->client.difficulty);
    if (strcmp(key, "step_mul") == 0) {
        if (read_count(r, v, "step_mul", UINT32_MAX, &count))
            return r->rec.outcome;
        s->client.step_mul = s->options.step_mul = (uint32_t)count;
        return SAME;
    }
    if (strcmp(key, "game_version") == 0 && (json_is_string(v) || json_is_null(v))) {
        s->client.game_version = json_string_value(v);
        return SAME;
    }
    if (strcmp(key, "seed") == 0) {
        s->client.has_seed = !json_is_null(v);
        if (s->client.has_seed && read_count(r, v, "seed", UINT32_MAX, &count))
            return r->rec.outcome;
        s->client.seed = s->client.has_seed ? (uint32_t)count : 0;
        return SAME;
    }
    return stop(&r->rec, MALFORMED, "config: '%s' is unknown or has the wrong type", key);
}

static enum outcome read_config(struct run *r, struct settings *s)
{
    json_t *config = json_object_get(r->rec.root, "config");
    const char *key;
    json_t *v;
    smac_options_default(&s->options);
    smac_client_options_default(&s->client);
    if (config && !json_is_object(config))
        return stop(&r->rec, MALFORMED, "'config' has the wrong type");
    json_object_foreach(config, key, v)
    {
        if (read_setting(r, s, key, v))
            return r->rec.outcome;
    }
    return SAME;
}

/* --- comparing requests --- */

static enum outcome expect_text(struct run *r, const json_t *call, const char *key,
                                const char *got)
{
    const json_t *v = json_object_get(call, key);
    const char *expected = json_string_value(v);
    if (got ? expected && strcmp(got, expected) == 0 : !v || json_is_null(v))
        return SAME;
    return stop(&r->rec, DIFFERENT, "call %zu: %s, got %s, expected %s", r->call, key,
                got ? got : "null", expected ? expected : "another value");
}

static enum outcome expect_switch(struct run *r, const json_t *call, const char *key, bool got)
{
    if (is_bool_value(json_object_get(call, key), got))
        return SAME;
    return stop(&r->rec, DIFFERENT, "call %zu: %s, got %s, expected another value", r->call,
                key, got ? "true" : "false");
}

static enum outcome expect_tags(struct run *r, const json_t *list, const char *what,
                                const uint64_t *got, size_t n)
{
    if (!json_is_array(list))
        return stop(&r->rec, MALFORMED, "%s is not a list of tags", what);
    if (json_array_size(list) != n)
        return stop(&r->rec, DIFFERENT, "%s: got %zu tags, expected %zu", what, n,
                    json_array_size(list));
    for (size_t i = 0; i < n; i++) {
        uint64_t tag;
        if (read_tag(r, json_array_get(list, i), &tag))
            return r->rec.outcome;
        if (tag != got[i])
            return stop(&r->rec, DIFFERENT, "%s %zu: got %llu, expected %llu", what, i,
                        (unsigned long long)got[i], (unsigned long long)tag);
    }
    return SAME;
}

static enum outcome expect_target(struct run *r, const json_t *command, size_t i,
                                  const struct smac_command *c)
{
    const json_t *pos = json_object_get(command, "target_pos");
    const json_t *unit = json_object_get(command, "target_unit_tag");
    if ((c->target == 1) != json_is_array(pos) || (c->target == 2) != (unit != NULL))
        return stop(&r->rec, DIFFERENT, "command %zu: another kind of target", i);
    if (c->target == 1) {
        double x = json_number_value(json_array_get(pos, 0));
        double y = json_number_value(json_array_get(pos, 1));
        if (x < (double)c->x || x > (double)c->x || y < (double)c->y || y > (double)c->y)
            return stop(&r->rec, DIFFERENT,
                        "command %zu: target, got (%.9g, %.9g), expected "
                        "(%.9g, %.9g)",
                        i, (double)c->x, (double)c->y, x, y);
    }
    uint64_t tag;
    if (c->target == 2) {
        if (read_tag(r, unit, &tag))
            return r->rec.outcome;
        if (tag != c->target_tag)
            return stop(&r->rec, DIFFERENT, "command %zu: target, got %llu, expected %llu", i,
                        (unsigned long long)c->target_tag, (unsigned long long)tag);
    }
    return SAME;
}

static enum outcome expect_commands(struct run *r, const json_t *call,
                                    const struct smac_request *q)
{
    const json_t *list = field(&r->rec, call, "commands", JSON_ARRAY);
    if (!list)
        return r->rec.outcome;
    if (json_array_size(list) != q->n_commands)
        return stop(&r->rec, DIFFERENT, "commands: got %zu, expected %zu", q->n_commands,
                    json_array_size(list));
    for (size_t i = 0; i < q->n_commands; i++) {
        const json_t *command = json_array_get(list, i);
        const struct smac_command *c = &q->commands[i];
        uint64_t ability;
        if (read_count(r, json_object_get(command, "ability_id"), "ability_id", UINT32_MAX,
                       &ability))
            return r->rec.outcome;
        if (ability != c->ability)
            return stop(&r->rec, DIFFERENT, "command %zu: ability, got %u, expected %llu", i,
                        c->ability, (unsigned long long)ability);
        if (expect_tags(r, json_object_get(command, "unit_tags"), "unit_tags of a command",
                        &c->unit_tag, 1) ||
            expect_switch(r, command, "queue_command", false) ||
            expect_target(r, command, i, c))
            return r->rec.outcome;
    }
    return SAME;
}

static enum outcome expect_players(struct run *r, const json_t *call,
                                   const struct smac_request *q)
{
    const json_t *players = field(&r->rec, call, "players", JSON_ARRAY);
    if (!players)
        return r->rec.outcome;
    if (json_array_size(players) != 2)
        return stop(&r->rec, DIFFERENT, "create_game: got 2 players, expected %zu",
                    json_array_size(players));
    const json_t *us = json_array_get(players, 0), *them = json_array_get(players, 1);
    if (expect_text(r, us, "type", "Participant") || expect_text(r, us, "race", NULL) ||
        expect_text(r, us, "difficulty", NULL) || expect_text(r, them, "type", "Computer") ||
        expect_text(r, them, "race", q->enemy_race))
        return r->rec.outcome;
    return expect_text(r, them, "difficulty", q->difficulty);
}

static enum outcome expect_create_game(struct run *r, const json_t *call,
                                       const struct smac_request *q)
{
    const json_t *seed = json_object_get(call, "random_seed");
    bool same = q->has_seed
                    ? json_is_integer(seed) && json_integer_value(seed) == (json_int_t)q->seed
                    : !seed || json_is_null(seed);
    if (!same)
        return stop(&r->rec, DIFFERENT, "create_game: random_seed differs");
    if (expect_text(r, call, "map_path", q->map_path) ||
        expect_switch(r, call, "realtime", false))
        return r->rec.outcome;
    return expect_players(r, call, q);
}

static enum outcome expect_fields(struct run *r, const json_t *call,
                                  const struct smac_request *q)
{
    uint64_t count;
    switch (q->call) {
    case CALL_LAUNCH:
        if (expect_text(r, call, "version", q->version))
            return r->rec.outcome;
        return expect_switch(r, call, "want_rgb", false);
    case CALL_CREATE_GAME:
        return expect_create_game(r, call, q);
    case CALL_JOIN_GAME:
        if (expect_text(r, call, "race", q->race) || expect_switch(r, call, "raw", true))
            return r->rec.outcome;
        return expect_switch(r, call, "score", false);
    case CALL_STEP:
        if (read_count(r, json_object_get(call, "count"), "count", UINT32_MAX, &count))
            return r->rec.outcome;
        if (count != q->count)
            return stop(&r->rec, DIFFERENT, "step: got %u loops, expected %llu", q->count,
                        (unsigned long long)count);
        return SAME;
    case CALL_ACTIONS:
        return expect_commands(r, call, q);
    case CALL_DEBUG_KILL_UNIT:
        return expect_tags(r, json_object_get(call, "tags"), "tags to kill", q->tags,
                           q->n_tags);
    default:
        return SAME;
    }
}

static const char *call_name(const json_t *call)
{
    const char *name = json_string_value(json_object_get(call, "call"));
    return name ? name : "nothing";
}

static enum outcome expect_call(struct run *r, const struct smac_request *q)
{
    const json_t *call = json_array_get(r->calls, r->call);
    const char *name = smac_call_name(q->call);
    if (strcmp(call_name(call), name) != 0)
        return stop(&r->rec, DIFFERENT, "call %zu: got %s, expected %s", r->call, name,
                    call_name(call));
    if (expect_fields(r, call, q))
        return r->rec.outcome;
    r->call++;
    return SAME;
}

/* --- the game's part --- */

static const json_t *next_frame(const struct run *r)
{
    if (!r->single_frame)
        return json_array_get(r->frames, r->frame);
    return r->frame == 0 ? r->frames : NULL;
}

static bool is_error(const json_t *frame)
{
    return json_is_string(frame) && strcmp(json_string_value(frame), "error") == 0;
}

/* The connection fails here: at an "error" observed, or when the recording quits next. */
static bool fails(struct run *r, enum smac_call call)
{
    bool error = is_error(next_frame(r));
    bool quits = strcmp(call_name(json_array_get(r->calls, r->call)), "quit") == 0;
    bool failed = call != CALL_QUIT && (quits || (call == CALL_OBSERVE && error));
    if (failed && error)
        r->frame++;
    return failed;
}

static int answer(void *state, const struct smac_request *q, struct smac_reply *reply)
{
    struct run *r = state;
    if (expect_call(r, q))
        return ERR_PROTO;
    if (fails(r, q->call))
        return ERR_CLOSED;
    if (q->call == CALL_GAME_INFO)
        reply->info = r->info;
    if (q->call != CALL_OBSERVE)
        return 0;
    const json_t *frame = next_frame(r);
    if (!frame) {
        stop(&r->rec, DIFFERENT, "one observation more than recorded was asked for");
        return ERR_PROTO;
    }
    r->frame++;
    return read_frame(r, frame, reply) ? ERR_PROTO : 0;
}

static enum outcome expect_all_consumed(struct run *r)
{
    if (r->call < json_array_size(r->calls))
        return stop(&r->rec, DIFFERENT, "call %zu: got nothing, expected %s", r->call,
                    call_name(json_array_get(r->calls, r->call)));
    if (next_frame(r) && !is_error(next_frame(r)))
        return stop(&r->rec, DIFFERENT, "an observation was not asked for");
    return SAME;
}

/* --- comparing results --- */

static enum outcome expect_vector(struct run *r, const json_t *list, const char *what,
                                  const float *got, size_t n)
{
    if (!json_is_array(list))
        return stop(&r->rec, MALFORMED, "%s is not a list", what);
    if (json_array_size(list) != n)
        return stop(&r->rec, DIFFERENT, "%s: got %zu entries, expected %zu", what, n,
                    json_array_size(list));
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_array_get(list, i);
        if (!json_is_number(v))
            return stop(&r->rec, MALFORMED, "%s: entry %zu is not a number", what, i);
        double e = json_number_value(v);
        /* The shortest decimal of a large single may be off by more than the tolerance. */
        float single = (float)e;
        bool same = single >= got[i] && single <= got[i];
        if (!same && !(fabs((double)got[i] - e) <= VECTOR_TOLERANCE))
            return stop(&r->rec, DIFFERENT, "%s, entry %zu: got %.9g, expected %.9g", what, i,
                        (double)got[i], e);
    }
    r->compared += n;
    return SAME;
}

static enum outcome expect_observations(struct run *r, const json_t *list)
{
    char what[48];
    size_t len = smac_obs_len(r->smac);
    if (!json_is_array(list) || json_array_size(list) != r->spec.n_agents)
        return stop(&r->rec, MALFORMED, "'obs' is not one list per agent");
    smac_obs(r->smac, r->vector);
    for (size_t i = 0; i < r->spec.n_agents; i++) {
        snprintf(what, sizeof what, "obs of agent %zu", i);
        if (expect_vector(r, json_array_get(list, i), what, r->vector + i * len, len))
            return r->rec.outcome;
    }
    return SAME;
}

static enum outcome expect_avail(struct run *r, const json_t *list)
{
    size_t actions = r->spec.actions;
    if (!json_is_array(list) || json_array_size(list) != r->spec.n_agents)
        return stop(&r->rec, MALFORMED, "'avail' is not one string per agent");
    smac_avail(r->smac, r->avail);
    for (size_t i = 0; i < r->spec.n_agents; i++) {
        const char *text = json_string_value(json_array_get(list, i));
        if (!text || strlen(text) != actions)
            return stop(&r->rec, MALFORMED, "avail of agent %zu is not a string of %zu", i,
                        actions);
        for (size_t a = 0; a < actions; a++)
            if (text[a] != '0' + r->avail[i * actions + a])
                return stop(&r->rec, DIFFERENT,
                            "avail of agent %zu, action %zu: got %d, expected %c", i, a,
                            r->avail[i * actions + a], text[a]);
    }
    return SAME;
}

static enum outcome expect_views(struct run *r, const json_t *expect)
{
    if (expect_observations(r, json_object_get(expect, "obs")))
        return r->rec.outcome;
    smac_state(r->smac, r->vector);
    if (expect_vector(r, json_object_get(expect, "state"), "state", r->vector,
                      smac_state_len(r->smac)))
        return r->rec.outcome;
    return expect_avail(r, json_object_get(expect, "avail"));
}

static enum outcome expect_amount(struct run *r, const json_t *expect, const char *key,
                                  double got)
{
    const json_t *v = json_object_get(expect, key);
    if (!json_is_number(v))
        return stop(&r->rec, MALFORMED, "'%s' is not a number", key);
    double e = json_number_value(v);
    if (!(fabs(got - e) <= REWARD_TOLERANCE * fabs(e) + REWARD_FLOOR))
        return stop(&r->rec, DIFFERENT, "%s: got %.17g, expected %.17g", key, got, e);
    return SAME;
}

static enum outcome expect_number(struct run *r, const json_t *o, const char *key, uint64_t got)
{
    uint64_t e;
    if (read_count(r, json_object_get(o, key), key, INT64_MAX, &e))
        return r->rec.outcome;
    if (e != got)
        return stop(&r->rec, DIFFERENT, "%s: got %llu, expected %llu", key,
                    (unsigned long long)got, (unsigned long long)e);
    return SAME;
}

/* Exactly the keys that should be there: the presence of episode_limit is its meaning. */
static enum outcome expect_info(struct run *r, const json_t *info,
                                const struct smac_result *got)
{
    size_t keys = got->info_valid ? got->episode_limit ? 4 : 3 : 0;
    if (!json_is_object(info))
        return stop(&r->rec, MALFORMED, "'info' is not an object");
    if (json_object_size(info) != keys)
        return stop(&r->rec, DIFFERENT, "info: got %zu keys, expected %zu", keys,
                    json_object_size(info));
    if (!got->info_valid)
        return SAME;
    if (expect_switch(r, info, "battle_won", got->battle_won) ||
        expect_number(r, info, "dead_allies", got->dead_allies) ||
        expect_number(r, info, "dead_enemies", got->dead_enemies))
        return r->rec.outcome;
    return got->episode_limit ? expect_switch(r, info, "episode_limit", true) : SAME;
}

static enum outcome expect_stats(struct run *r, json_t *stats)
{
    struct smac_stats st;
    smac_client_stats(r->client, &st);
    const struct {
        const char *key;
        uint64_t got;
    } counters[] = {
        {"battles_won", st.battles_won},     {"battles_game", st.battles_game},
        {"battles_draw", st.timeouts},       {"timeouts", st.timeouts},
        {"episode_count", st.episode_count}, {"restarts", st.restarts},
    };
    for (size_t i = 0; i < sizeof counters / sizeof counters[0]; i++)
        if (json_object_get(stats, counters[i].key) &&
            expect_number(r, stats, counters[i].key, counters[i].got))
            return r->rec.outcome;
    double games = (double)st.battles_game;
    if (json_object_get(stats, "win_rate"))
        return expect_amount(r, stats, "win_rate",
                             games > 0 ? (double)st.battles_won / games : 0);
    return SAME;
}

static const char *text_at(const json_t *list, size_t i)
{
    const char *text = json_string_value(json_array_get(list, i));
    return text ? text : "";
}

static enum outcome expect_names(struct run *r, const json_t *info, const char *key,
                                 const char *const *first, uint32_t shield, uint32_t bits)
{
    const json_t *list = json_object_get(info, key);
    size_t n = 0;
    char type[16];
    if (!list)
        return SAME;
    for (; first[n]; n++)
        if (strcmp(text_at(list, n), first[n]) != 0)
            return stop(&r->rec, DIFFERENT, "%s %zu: got %s", key, n, first[n]);
    if (shield && strcmp(text_at(list, n++), "shield") != 0)
        return stop(&r->rec, DIFFERENT, "%s: got a shield", key);
    for (uint32_t b = 0; b < bits; b++) {
        snprintf(type, sizeof type, "type_%u", b);
        if (strcmp(text_at(list, n++), type) != 0)
            return stop(&r->rec, DIFFERENT, "%s: got %s", key, type);
    }
    if (json_array_size(list) != n)
        return stop(&r->rec, DIFFERENT, "%s: got %zu names, expected %zu", key, n,
                    json_array_size(list));
    return SAME;
}

static enum outcome expect_env_info(struct run *r, const char *map)
{
    static const char *const ally[] = {"health", "energy/cooldown", "rel_x", "rel_y", NULL};
    static const char *const enemy[] = {"health", "rel_x", "rel_y", NULL};
    const struct scenario *m;
    const json_t *info = field(&r->rec, r->rec.root, "env_info", JSON_OBJECT);
    if (!info || scenario_find(&m, map))
        return stop(&r->rec, MALFORMED, "unknown map");
    if (expect_number(r, info, "state_shape", r->spec.state) ||
        expect_number(r, info, "obs_shape", r->spec.obs) ||
        expect_number(r, info, "n_actions", r->spec.actions) ||
        expect_number(r, info, "n_agents", r->spec.n_agents) ||
        expect_number(r, info, "episode_limit", r->spec.episode_limit))
        return r->rec.outcome;
    if (expect_names(r, info, "agent_features", ally, m->shield_ally, m->type_bits))
        return r->rec.outcome;
    return expect_names(r, info, "enemy_features", enemy, m->shield_enemy, m->type_bits);
}

/* --- playing --- */

static enum outcome begin(struct run *r, const json_t *part, const char *frames)
{
    r->calls = field(&r->rec, part, "calls", JSON_ARRAY);
    r->frames = json_object_get(part, frames);
    r->call = r->frame = 0;
    if (!r->calls)
        return r->rec.outcome;
    if (!r->frames)
        return stop(&r->rec, MALFORMED, "'%s' is missing", frames);
    return SAME;
}

/* A refusal of ours where the published environment went on. */
static enum outcome refused(struct run *r, int rc)
{
    const char *why = rc == ERR_NOMEM ? "" : err_text();
    return stop(&r->rec, DIFFERENT, "%s: %s", err_str(rc), why);
}

static enum outcome play_reset(struct run *r, const json_t *reset)
{
    uint64_t agents[SMAC_AGENTS_MAX], enemies[SMAC_ENEMIES_MAX];
    const json_t *expect = field(&r->rec, reset, "expect", JSON_OBJECT);
    r->single_frame = false;
    if (!expect || begin(r, reset, "observations"))
        return r->rec.outcome;
    int rc = smac_client_reset(r->client);
    if (rc)
        return refused(r, rc);
    smac_tags(r->smac, agents, enemies);
    if (expect_all_consumed(r) ||
        expect_amount(r, expect, "max_reward", smac_max_reward(r->smac)) ||
        expect_tags(r, json_object_get(expect, "agent_tags"), "agent_tags", agents,
                    r->spec.n_agents) ||
        expect_tags(r, json_object_get(expect, "enemy_tags"), "enemy_tags", enemies,
                    smac_enemies(r->smac)))
        return r->rec.outcome;
    return expect_views(r, expect);
}

static enum outcome read_actions(struct run *r, const json_t *step, uint8_t *out)
{
    const json_t *list = field(&r->rec, step, "actions", JSON_ARRAY);
    if (!list)
        return r->rec.outcome;
    if (json_array_size(list) != r->spec.n_agents)
        return stop(&r->rec, MALFORMED, "'actions' is not one number per agent");
    for (size_t i = 0; i < r->spec.n_agents; i++) {
        uint64_t a;
        if (read_count(r, json_array_get(list, i), "an action", UINT8_MAX, &a))
            return r->rec.outcome;
        out[i] = (uint8_t)a;
    }
    return SAME;
}

static enum outcome play_step(struct run *r, const json_t *step)
{
    uint8_t action[SMAC_AGENTS_MAX];
    struct smac_result got;
    const json_t *expect = field(&r->rec, step, "expect", JSON_OBJECT);
    r->single_frame = true;
    if (!expect || read_actions(r, step, action) || begin(r, step, "observation"))
        return r->rec.outcome;
    int rc = smac_client_step(r->client, action, &got);
    if (rc)
        return refused(r, rc);
    if (expect_all_consumed(r) || expect_amount(r, expect, "reward", got.reward) ||
        expect_switch(r, expect, "terminated", got.terminated) ||
        expect_info(r, json_object_get(expect, "info"), &got))
        return r->rec.outcome;
    r->steps++;
    return expect_views(r, expect);
}

static enum outcome play_episode(struct run *r, const json_t *episode)
{
    const json_t *reset = field(&r->rec, episode, "reset", JSON_OBJECT);
    const json_t *steps = reset ? field(&r->rec, episode, "steps", JSON_ARRAY) : NULL;
    if (!steps)
        return r->rec.outcome;
    snprintf(r->rec.where, sizeof r->rec.where, "episode %zu reset", r->episodes);
    if (play_reset(r, reset))
        return r->rec.outcome;
    for (size_t k = 0; k < json_array_size(steps); k++) {
        snprintf(r->rec.where, sizeof r->rec.where, "episode %zu step %zu", r->episodes, k);
        if (play_step(r, json_array_get(steps, k)))
            return r->rec.outcome;
    }
    snprintf(r->rec.where, sizeof r->rec.where, "episode %zu stats", r->episodes);
    r->episodes++;
    json_t *stats = json_object_get(episode, "stats");
    return stats ? expect_stats(r, stats) : stop(&r->rec, MALFORMED, "'stats' is missing");
}

static enum outcome open_environment(struct run *r)
{
    struct settings s;
    uint64_t format;
    const json_t *map = field(&r->rec, r->rec.root, "map", JSON_STRING);
    if (!map || read_count(r, json_object_get(r->rec.root, "format"), "format", 1000, &format))
        return r->rec.outcome;
    if (format != 1)
        return stop(&r->rec, MALFORMED, "format %llu, this tool reads 1",
                    (unsigned long long)format);
    if (read_config(r, &s) || read_game_info(r))
        return r->rec.outcome;
    int rc = smac_open(&r->smac, json_string_value(map), &s.options);
    if (!rc)
        rc = smac_client_open(&r->client, r->smac, &s.client,
                              (struct smac_link){.ask = answer, .state = r});
    if (rc)
        return stop(&r->rec, MALFORMED, "%s: %s", err_str(rc), err_text());
    smac_spec(r->smac, &r->spec);
    size_t entries = r->spec.n_agents * smac_obs_len(r->smac) + smac_state_len(r->smac);
    r->vector = calloc(entries, sizeof *r->vector);
    r->avail = calloc(r->spec.n_agents * r->spec.actions, 1);
    if (!r->vector || !r->avail)
        return stop(&r->rec, MALFORMED, "out of memory");
    return expect_env_info(r, json_string_value(map));
}

static enum outcome replay(struct run *r)
{
    const char *name = json_string_value(json_object_get(r->rec.root, "case"));
    if (name)
        r->rec.name = name;
    snprintf(r->rec.where, sizeof r->rec.where, "header");
    if (open_environment(r))
        return r->rec.outcome;
    const json_t *episodes = field(&r->rec, r->rec.root, "episodes", JSON_ARRAY);
    for (size_t e = 0; episodes && e < json_array_size(episodes); e++)
        if (play_episode(r, json_array_get(episodes, e)))
            return r->rec.outcome;
    return r->rec.outcome;
}

static enum outcome replay_file(const char *path)
{
    struct run *r = calloc(1, sizeof *r);
    if (!r)
        return MALFORMED;
    if (recording_open(&r->rec, path) == SAME && replay(r) == SAME)
        printf("ok %s episodes=%zu steps=%zu values=%zu\n", r->rec.name, r->episodes, r->steps,
               r->compared);
    recording_complain(&r->rec);
    enum outcome outcome = r->rec.outcome;
    smac_client_close(r->client);
    smac_close(r->smac);
    free(r->vector);
    free(r->avail);
    free(r->pathing);
    free(r->height);
    recording_close(&r->rec);
    free(r);
    return outcome;
}

int main(int argc, char **argv)
{
    return replay_files("smac_golden", argc, argv, replay_file);
}
