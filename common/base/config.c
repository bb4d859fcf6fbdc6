/* SPDX-License-Identifier: Apache-2.0 */
/* config.c - collects values by origin, resolves them once, checks what no single key can.
 *
 * WHY  A value may be given in five places, in any order: a map on the command line decides
 * what a preset means. So nothing is applied while it is read; each key keeps the text of its
 * strongest origin, and config_finish builds the struct from the weakest to the strongest.
 *
 *   defaults -> preset (by map) -> file -> environment -> command line -> rules -> checks
 *
 * Every text is parsed when it is given, so that a wrong value is reported with its place.
 *
 * CHECKS  The numbers that enter the counters of the draws (base/rng.h) must fit their fields:
 * a configuration that would reuse a draw is refused here, not noticed in a curve. */
#include "base/err.h"
#include "config_schema.h"

#include <stdlib.h>
#include <string.h>

struct entry {
    bool given;
    enum cfg_origin origin;
    char text[CONFIG_PATH];
};

struct config_builder {
    struct entry entries[CONFIG_KEYS_MAX];
    enum cfg_origin effective[CONFIG_KEYS_MAX]; /* filled by config_finish */
    struct config scratch;                      /* where values are tried */
};

int config_begin(struct config_builder **out)
{
    struct config_builder *b = calloc(1, sizeof *b);
    if (!b) {
        err_set(ERR_NOMEM, "out of memory for the configuration");
        return ERR_NOMEM;
    }
    *out = b;
    return 0;
}

void config_end(struct config_builder *b)
{
    free(b);
}

enum cfg_origin config_builder_origin(const struct config_builder *b, size_t key)
{
    return b->effective[key];
}

/* "width" for "net.width" as well as "net.widht". */
static const char *suggest_key(const char *key)
{
    const char *paths[CONFIG_KEYS_MAX] = {NULL};
    for (size_t i = 0; i < config_key_count; i++)
        paths[i] = config_keys[i].path;
    const char *near = nearest_name(key, paths, config_key_count);
    for (size_t i = 0; !near && i < config_key_count; i++) {
        const char *dot = strrchr(paths[i], '.');
        if (dot && strcmp(dot + 1, key) == 0)
            near = paths[i];
    }
    return near;
}

static int unknown_key(const char *key)
{
    const char *near = suggest_key(key);
    if (near)
        return err_set(ERR_CONFIG, "unknown key \"%.80s\"; did you mean \"%s\"?", key, near);
    return err_set(ERR_CONFIG, "unknown key \"%.80s\"; `mag config` lists all keys", key);
}

/* The stronger origin wins, of equals the later. */
static void take_value(struct entry *e, const struct entry *value)
{
    if (!e->given || e->origin <= value->origin)
        *e = *value;
}

int config_set(struct config_builder *b, const char *key, const char *value,
               enum cfg_origin origin)
{
    int i = config_key_find(key);
    if (i < 0)
        return unknown_key(key);
    if (strlen(value) >= CONFIG_PATH)
        return err_set(ERR_CONFIG, "%s: a value of more than %d bytes", key, CONFIG_PATH - 1);
    int err = config_value_parse(&b->scratch, &config_keys[i], value);
    if (err)
        return err;
    struct entry e = {.given = true, .origin = origin};
    memcpy(e.text, value, strlen(value) + 1);
    take_value(&b->entries[i], &e);
    return 0;
}

void config_over(struct config_builder *b, const struct config_builder *over)
{
    for (size_t i = 0; i < config_key_count; i++)
        if (over->entries[i].given)
            take_value(&b->entries[i], &over->entries[i]);
}

int config_preset(struct config_builder *b, const char *name)
{
    return config_set(b, "preset", name, ORIGIN_CLI);
}

int config_assign(struct config_builder *b, const char *key_equals_value)
{
    char key[CONFIG_PATH];
    const char *equals = strchr(key_equals_value, '=');
    if (!equals)
        return err_set(ERR_CONFIG, "\"%.80s\" is not key=value, for example net.width=128",
                       key_equals_value);
    size_t n = (size_t)(equals - key_equals_value);
    if (n >= sizeof key)
        return err_set(ERR_CONFIG, "unknown key \"%.80s\"", key_equals_value);
    memcpy(key, key_equals_value, n);
    key[n] = '\0';
    return config_set(b, key, equals + 1, ORIGIN_CLI);
}

/* --- environment: MAG_NET__WIDTH=64 is net.width=64 --- */

/* The key that a variable's name (without MAG_) spells, and whether it has a group. */
static bool env_key(char out[CONFIG_PATH], bool *grouped, const char *name, size_t n)
{
    size_t len = 0;
    *grouped = false;
    for (size_t i = 0; i < n; i++) {
        char c = name[i];
        if (len + 1 >= CONFIG_PATH)
            return false;
        if (c == '_' && i + 1 < n && name[i + 1] == '_') {
            c = '.';
            *grouped = true;
            i++;
        } else if (c >= 'A' && c <= 'Z') {
            c = (char)(c - 'A' + 'a');
        }
        out[len++] = c;
    }
    out[len] = '\0';
    return len > 0;
}

/* Variables without a group that resemble no key belong to somebody else (MAG_IMAGE, ...).
 * An empty value counts as unset: compose files pass on variables that way. */
static int env_one(struct config_builder *b, const char *variable)
{
    char key[CONFIG_PATH];
    const char *equals = strchr(variable, '=');
    if (strncmp(variable, "MAG_", 4) != 0 || !equals || !equals[1])
        return 0;
    bool grouped;
    if (!env_key(key, &grouped, variable + 4, (size_t)(equals - variable) - 4))
        return 0;
    if (config_key_find(key) < 0 && !grouped && !suggest_key(key))
        return 0;
    int err = config_set(b, key, equals + 1, ORIGIN_ENV);
    return err ? err_set(err, "environment variable %.*s: %s", (int)(equals - variable),
                         variable, err_text())
               : 0;
}

int config_env(struct config_builder *b, char *const *environ_)
{
    for (; environ_ && *environ_; environ_++) {
        int err = env_one(b, *environ_);
        if (err)
            return err;
    }
    return 0;
}

/* --- resolving --- */

static void must_parse(struct config *c, const char *path, const char *text)
{
    int i = config_key_find(path);
    bug_on(i < 0);
    int err = config_value_parse(c, &config_keys[i], text);
    if (err)
        fprintf(stderr, "%s\n", err_text());
    bug_on(err); /* a default or preset outside its own bounds */
}

void config_defaults(struct config *out)
{
    memset(out, 0, sizeof *out); /* padding too: equal configurations are equal bytes */
    for (size_t i = 0; i < config_key_count; i++)
        must_parse(out, config_keys[i].path, config_keys[i].fallback);
}

static void preset_value(struct config *c, enum cfg_origin *origin, const char *path,
                         const char *text)
{
    must_parse(c, path, text);
    if (origin)
        origin[config_key_find(path)] = ORIGIN_PRESET;
}

void config_apply_preset(struct config *c, int preset, const char *map,
                         enum cfg_origin origin[CONFIG_KEYS_MAX])
{
    bool own_search = false;
    for (size_t i = 0; i < config_preset_row_count; i++) {
        const struct config_preset_row *row = &config_preset_rows[i];
        if (!row->value[preset])
            continue;
        preset_value(c, origin, row->path, row->value[preset]);
        own_search = own_search || strcmp(row->path, "imagine.candidates") == 0;
    }
    if (own_search)
        return;
    const struct config_table1 *row = config_table1_row(map ? map : c->env.map);
    preset_value(c, origin, "imagine.candidates", row->candidates);
    preset_value(c, origin, "imagine.horizon", row->horizon);
}

static const struct entry *given(const struct config_builder *b, const char *path)
{
    const struct entry *e = &b->entries[config_key_find(path)];
    return e->given ? e : NULL;
}

/* What follows from one key for another. */
static int apply_rules(struct config_builder *b, struct config *c)
{
    const struct entry *search = given(b, "imagine.search");
    if (strcmp(c->algo, "mamba") == 0) {
        if (search && c->imagine.search != SEARCH_NONE)
            return err_set(ERR_CONFIG,
                           "algo=mamba has no planning: remove imagine.search=%s or "
                           "use algo=mag",
                           search->text);
        c->imagine.search = SEARCH_NONE;
    }
    /* what a machine measures may not decide bits that all must agree on */
    if (c->imagine.precision == PRECISION_AUTO && c->schedule == SCHEDULE_LOCKSTEP)
        must_parse(c, "imagine.precision", "float32");
    return 0;
}

/* --- checks across keys --- */

static int check_net(const struct config *c)
{
    if (c->net.width % 32)
        return err_set(ERR_CONFIG, "net.width: %u is not a multiple of 32; use %u",
                       c->net.width, c->net.width / 32 * 32 + 32);
    if (c->net.width % c->net.heads)
        return err_set(ERR_CONFIG, "net.heads: %u does not divide net.width %u", c->net.heads,
                       c->net.width);
    return 0;
}

static int check_replay(const struct config *c)
{
    if (c->replay.min <= c->replay.window)
        return err_set(
            ERR_CONFIG,
            "replay.min: %u records do not hold a window of replay.window %u; use at "
            "least %u",
            c->replay.min, c->replay.window, c->replay.window + 1);
    if (c->replay.capacity < c->replay.min)
        return err_set(ERR_CONFIG, "replay.capacity: %u is less than replay.min %u",
                       c->replay.capacity, c->replay.min);
    return 0;
}

/* Fields of the draw counters and of job ids: iteration << 28 | batch << 16 | row. */
static int check_counters(const struct config *c)
{
    uint64_t scale = c->collect.scale_updates ? c->collect.episodes : 1;
    uint64_t starts = (uint64_t)(c->replay.window - 2) * c->train.windows;
    if (starts >= 1u << 20)
        return err_set(ERR_CONFIG,
                       "train.windows x (replay.window - 2) is %llu start states, at most "
                       "1048575 are possible",
                       (unsigned long long)starts);
    uint64_t batches = c->train.batches * scale;
    if (batches > 4096)
        return err_set(
            ERR_CONFIG,
            "train.batches x collect.episodes is %llu imagined batches an iteration, "
            "at most 4096 are possible; lower one or set "
            "collect.scale_updates=false",
            (unsigned long long)batches);
    if (c->train.model_steps * scale >= 1u << 24 || c->train.rm_steps * scale >= 1u << 24)
        return err_set(ERR_CONFIG,
                       "train.model_steps or train.rm_steps x collect.episodes is above "
                       "16777215 steps an iteration; lower one");
    return 0;
}

static int check_service(const struct config *c)
{
    if (c->net_link.lease_ms < 2 * c->net_link.heartbeat_ms)
        return err_set(ERR_CONFIG,
                       "service.lease_ms: %u ms is less than two heartbeats "
                       "(service.heartbeat_ms %u)",
                       c->net_link.lease_ms, c->net_link.heartbeat_ms);
    return 0;
}

static int check(const struct config *c)
{
    if (c->schedule == SCHEDULE_ASYNC)
        return err_set(ERR_CONFIG, "schedule: async is not available yet; use lockstep");
    if (!c->env.map[0])
        return err_set(ERR_CONFIG, "env.map: no map given, for example --map 3s_vs_3z");
    int err = check_net(c);
    if (!err)
        err = check_replay(c);
    if (!err)
        err = check_counters(c);
    if (!err)
        err = check_service(c);
    return err;
}

int config_finish(struct config_builder *b, struct config *out)
{
    struct config c;
    config_defaults(&c);
    const struct entry *preset = given(b, "preset"), *map = given(b, "env.map");
    int index = config_preset_find(preset ? preset->text : c.preset);
    bug_on(index < 0); /* names were checked when they were given */
    for (size_t i = 0; i < config_key_count; i++)
        b->effective[i] = ORIGIN_DEFAULT;
    config_apply_preset(&c, index, map ? map->text : NULL, b->effective);
    for (size_t i = 0; i < config_key_count; i++) {
        const struct entry *e = &b->entries[i];
        if (!e->given)
            continue;
        must_parse(&c, config_keys[i].path, e->text);
        b->effective[i] = e->origin;
    }
    int err = apply_rules(b, &c);
    if (!err)
        err = check(&c);
    if (!err)
        memcpy(out, &c, sizeof c);
    return err;
}

int config_preset_for(struct config *out, const char *preset, const char *map)
{
    struct config_builder *b = NULL;
    int err = config_begin(&b);
    if (err)
        return err;
    err = config_preset(b, preset);
    if (!err && map)
        err = config_set(b, "env.map", map, ORIGIN_CLI);
    if (!err)
        err = config_finish(b, out);
    config_end(b);
    return err;
}
