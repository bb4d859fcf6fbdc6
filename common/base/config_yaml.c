/* SPDX-License-Identifier: Apache-2.0 */
/* config_yaml.c - the small part of YAML that a configuration needs.
 *
 * Mappings of scalars, nested or with dotted keys. Refused, each with its line: sequences,
 * anchors and aliases (no bomb can be built), explicit tags, duplicate keys, a second
 * document, more than 1 MiB, more than eight levels. Scalars get their type from the schema.
 *
 * COST  The parser's events are taken one at a time; memory is libyaml's buffers and the
 * fixed tables below. */
#include "base/err.h"
#include "config_schema.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yaml.h>

enum { YAML_BYTES = 1 << 20, YAML_DEPTH = 8 };

struct reader {
    yaml_parser_t parser;
    struct config_builder *builder;
    enum cfg_origin origin;
    char path[CONFIG_PATH]; /* the key being read, groups joined by dots */
    bool key_seen[CONFIG_KEYS_MAX];
    /* A group is known by the first key in it and its number of dots. */
    bool group_seen[CONFIG_KEYS_MAX][YAML_DEPTH];
};

static int refuse(const yaml_mark_t *at, const char *what)
{
    return err_set(ERR_CONFIG, "line %zu: %s", at->line + 1, what);
}

/* The next event; the caller deletes it. */
static int next(struct reader *r, yaml_event_t *event)
{
    if (yaml_parser_parse(&r->parser, event))
        return 0;
    if (r->parser.error == YAML_MEMORY_ERROR)
        return err_set(ERR_NOMEM, "out of memory reading YAML");
    const char *problem = r->parser.problem ? r->parser.problem : "unreadable";
    return refuse(&r->parser.problem_mark, problem);
}

/* Appends ".name" (or "name") to the path; returns the old length in *mark. */
static int descend(struct reader *r, const yaml_event_t *event, size_t *mark)
{
    const char *name = (const char *)event->data.scalar.value;
    size_t n = event->data.scalar.length, len = strlen(r->path);
    *mark = len;
    if (n == 0 || strlen(name) != n || len + n + 2 > sizeof r->path)
        return refuse(&event->start_mark, "a key that is empty or too long");
    if (len)
        r->path[len++] = '.';
    memcpy(r->path + len, name, n + 1);
    return 0;
}

static int value(struct reader *r, const yaml_event_t *event)
{
    const char *text = (const char *)event->data.scalar.value;
    if (strlen(text) != event->data.scalar.length)
        return refuse(&event->start_mark, "a value with a zero byte");
    int key = config_key_find(r->path);
    if (key >= 0 && r->key_seen[key])
        return refuse(&event->start_mark, "this key was given before");
    if (key >= 0)
        r->key_seen[key] = true;
    int err = config_set(r->builder, r->path, text, r->origin);
    return err ? err_set(err, "line %zu: %s", event->start_mark.line + 1, err_text()) : 0;
}

/* "imagine" for "imagin": the first parts of keys, found through a key that has one. */
static int unknown_group(const struct reader *r, const yaml_event_t *event)
{
    char groups[CONFIG_KEYS_MAX][CONFIG_NAME];
    const char *names[CONFIG_KEYS_MAX] = {NULL};
    size_t count = 0;
    for (size_t i = 0; i < config_key_count; i++) {
        const char *key = config_keys[i].path, *dot = strchr(key, '.');
        if (!dot)
            continue;
        snprintf(groups[count], sizeof groups[count], "%.*s", (int)(dot - key), key);
        names[count] = groups[count];
        count++;
    }
    const char *near = nearest_name(r->path, names, count);
    return err_set(ERR_CONFIG, "line %zu: unknown group \"%.80s\"%s%s%s",
                   event->start_mark.line + 1, r->path, near ? "; did you mean \"" : "",
                   near ? near : "", near ? "\"?" : "");
}

/* Mark the group of r->path as given; unknown and repeated groups are refused. */
static int enter_group(struct reader *r, const yaml_event_t *event)
{
    size_t n = strlen(r->path), dots = 0;
    for (size_t i = 0; i < n; i++)
        dots += r->path[i] == '.';
    for (size_t i = 0; i < config_key_count; i++) {
        const char *key = config_keys[i].path;
        if (strncmp(key, r->path, n) != 0 || key[n] != '.')
            continue;
        if (dots >= YAML_DEPTH || r->group_seen[i][dots])
            return refuse(&event->start_mark, "this group was given before");
        r->group_seen[i][dots] = true;
        return 0;
    }
    return unknown_group(r, event);
}

static const char *forbidden(const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_ALIAS_EVENT:
        return "aliases are not allowed";
    case YAML_SEQUENCE_START_EVENT:
        return "a list where a single value belongs";
    case YAML_SCALAR_EVENT:
        return event->data.scalar.anchor ? "anchors are not allowed"
               : event->data.scalar.tag  ? "tags are not allowed"
                                         : NULL;
    case YAML_MAPPING_START_EVENT:
        return event->data.mapping_start.anchor ? "anchors are not allowed"
               : event->data.mapping_start.tag  ? "tags are not allowed"
                                                : NULL;
    default:
        return NULL;
    }
}

static int mapping(struct reader *r, size_t depth);

/* One "key: value" whose key is in `key`. */
static int pair(struct reader *r, const yaml_event_t *key, size_t depth)
{
    size_t mark;
    if (key->type != YAML_SCALAR_EVENT)
        return refuse(&key->start_mark, "a key that is not a name");
    int err = descend(r, key, &mark);
    if (err)
        return err;
    yaml_event_t event;
    err = next(r, &event);
    if (err)
        return err;
    const char *why = forbidden(&event);
    if (why)
        err =
            err_set(ERR_CONFIG, "line %zu: %.80s: %s", event.start_mark.line + 1, r->path, why);
    else if (event.type == YAML_SCALAR_EVENT)
        err = value(r, &event);
    else if (depth >= YAML_DEPTH)
        err = refuse(&event.start_mark, "nested too deep");
    else if ((err = enter_group(r, &event)) == 0)
        err = mapping(r, depth + 1);
    yaml_event_delete(&event);
    r->path[mark] = '\0';
    return err;
}

/* The inside of a mapping, to its end. */
static int mapping(struct reader *r, size_t depth)
{
    for (;;) {
        yaml_event_t key;
        int err = next(r, &key);
        if (err)
            return err;
        bool end = key.type == YAML_MAPPING_END_EVENT;
        const char *why = forbidden(&key);
        if (why)
            err = refuse(&key.start_mark, why);
        else if (!end)
            err = pair(r, &key, depth);
        yaml_event_delete(&key);
        if (err || end)
            return err;
    }
}

/* One event at the top of the stream; *state counts documents, -1 when the stream ended. */
static int top_event(struct reader *r, const yaml_event_t *event, int *documents)
{
    const char *why = forbidden(event);
    if (why)
        return refuse(&event->start_mark, why);
    switch (event->type) {
    case YAML_STREAM_END_EVENT:
        *documents = -1;
        return 0;
    case YAML_DOCUMENT_START_EVENT:
        return ++*documents > 1 ? refuse(&event->start_mark, "more than one document") : 0;
    case YAML_MAPPING_START_EVENT:
        return mapping(r, 1);
    case YAML_SCALAR_EVENT: /* "---" alone is an empty document */
        return event->data.scalar.length
                   ? refuse(&event->start_mark, "expected \"key: value\" lines")
                   : 0;
    default:
        return 0;
    }
}

static int document(struct reader *r)
{
    int documents = 0;
    while (documents >= 0) {
        yaml_event_t event;
        int err = next(r, &event);
        if (err)
            return err;
        err = top_event(r, &event, &documents);
        yaml_event_delete(&event);
        if (err)
            return err;
    }
    return 0;
}

int config_yaml(struct config_builder *b, const char *text, size_t n, enum cfg_origin origin)
{
    if (n > YAML_BYTES)
        return err_set(ERR_CONFIG, "a configuration of %zu bytes, at most %d are read", n,
                       YAML_BYTES);
    struct reader *r = calloc(1, sizeof *r);
    if (!r || !yaml_parser_initialize(&r->parser)) {
        free(r);
        return err_set(ERR_NOMEM, "out of memory reading YAML");
    }
    r->builder = b;
    r->origin = origin;
    yaml_parser_set_encoding(&r->parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r->parser, (const unsigned char *)text, n);
    int err = document(r);
    yaml_parser_delete(&r->parser);
    free(r);
    return err;
}

/* Reads one byte more than allowed, so that a file that is too long is noticed. */
static int slurp(char *buf, size_t *n, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return err_set(ERR_CONFIG, "%s: %s", path, strerror(errno));
    struct stat st;
    int err = 0;
    *n = 0;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        err = err_set(ERR_CONFIG, "%s: not a regular file", path);
    while (!err && *n <= YAML_BYTES) {
        ssize_t got = read(fd, buf + *n, YAML_BYTES + 1 - *n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            err = err_set(ERR_CONFIG, "%s: %s", path, strerror(errno));
        if (got <= 0)
            break;
        *n += (size_t)got;
    }
    close(fd);
    return err;
}

int config_file(struct config_builder *b, const char *path)
{
    char *buf = malloc(YAML_BYTES + 1);
    if (!buf)
        return err_set(ERR_NOMEM, "out of memory reading %s", path);
    size_t n = 0;
    int err = slurp(buf, &n, path);
    if (!err) {
        err = config_yaml(b, buf, n, ORIGIN_FILE);
        if (err)
            err_set(err, "%s: %s", path, err_text());
    }
    free(buf);
    return err;
}
