/* SPDX-License-Identifier: Apache-2.0 */
/* config_value.c - one value between its text and its field.
 *
 * The schema decides what a text means, never the text itself: `no` is a fine map name and not
 * a boolean, `1e-3` is a number where a number belongs. Text written by config_value_text
 * parses back to the same bits. */
#include "base/err.h"
#include "config_schema.h"
#include "utf8.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define EXACT_WHOLE 9007199254740992.0 /* 2^53: up to here a double counts one by one */

void config_value_range(char *out, size_t n, const struct config_key *key)
{
    switch (key->kind) {
    case KIND_U32:
    case KIND_U64:
        if (key->max < EXACT_WHOLE)
            snprintf(out, n, "a whole number from %.0f to %.0f", key->min, key->max);
        else
            snprintf(out, n, "a whole number, at least %.0f", key->min);
        return;
    case KIND_F64:
        snprintf(out, n, "a number from %g to %g", key->min, key->max);
        return;
    case KIND_BOOL:
        snprintf(out, n, "true or false");
        return;
    case KIND_ENUM:
    case KIND_NAME:
    case KIND_PATH:
        break;
    }
    if (!key->choices) {
        snprintf(out, n, "%s of at most %d bytes without control characters",
                 key->kind == KIND_NAME ? "a name" : "text",
                 (key->kind == KIND_NAME ? CONFIG_NAME : CONFIG_PATH) - 1);
        return;
    }
    size_t len = (size_t)snprintf(out, n, "one of");
    for (size_t i = 0; key->choices[i] && len < n; i++)
        len += (size_t)snprintf(out + len, n - len, "%s %s", i ? "," : "", key->choices[i]);
}

/* The sentence for a refused value; a name close to a choice is suggested. */
static int refuse(const struct config_key *key, const char *text)
{
    char range[512];
    config_value_range(range, sizeof range, key);
    const char *near = NULL;
    if (key->choices)
        near = nearest_name(text, key->choices, CONFIG_CHOICES_MAX);
    return err_set(ERR_CONFIG, "%s: \"%.80s\" is not %s%s%s%s", key->path, text, range,
                   near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

/* A finite decimal number and nothing else: no hexadecimal, no "nan", no blanks. */
static bool parse_number(double *out, const char *text)
{
    if (!text[0] || text[strspn(text, "0123456789+-.eE")])
        return false;
    char *end;
    double v = strtod(text, &end);
    if (*end || end == text || !isfinite(v))
        return false;
    *out = v;
    return true;
}

/* Digits, or a number such as 1e6 that is whole and exact. */
static bool parse_whole(uint64_t *out, const char *text)
{
    if (text[0] && !text[strspn(text, "0123456789")]) {
        errno = 0;
        unsigned long long v = strtoull(text, NULL, 10);
        *out = v;
        return errno == 0;
    }
    double v;
    if (!parse_number(&v, text) || v < 0 || v > EXACT_WHOLE || v != floor(v))
        return false;
    *out = (uint64_t)v;
    return true;
}

static bool whole_fits(const struct config_key *key, uint64_t v)
{
    if (key->kind == KIND_U32 && v > UINT32_MAX)
        return false;
    /* Bounds at or above 2^53 are not exact as doubles; they mean "whatever the type holds". */
    return (double)v >= key->min && (key->max >= EXACT_WHOLE || (double)v <= key->max);
}

static int find_choice(const struct config_key *key, const char *text)
{
    for (int i = 0; key->choices[i]; i++)
        if (strcmp(key->choices[i], text) == 0)
            return i;
    return -1;
}

/* No control characters, valid UTF-8, room for the terminating zero. */
static bool text_fits(const char *text, size_t room)
{
    size_t n = strlen(text);
    if (n >= room)
        return false;
    for (size_t i = 0; i < n;) {
        uint32_t code;
        size_t len = utf8_next(text + i, n - i, &code);
        if (len == 0 || code < 0x20 || (code >= 0x7f && code < 0xa0))
            return false;
        i += len;
    }
    return true;
}

/* The rest of the field is zeroed, so that equal configurations are equal bytes. */
static bool put_text(void *field, const char *text, size_t room)
{
    if (!text_fits(text, room))
        return false;
    memset(field, 0, room);
    memcpy(field, text, strlen(text));
    return true;
}

static bool put_name(void *field, const struct config_key *key, const char *text)
{
    if (key->choices && find_choice(key, text) < 0)
        return false;
    return put_text(field, text, CONFIG_NAME);
}

static bool put_enum(void *field, const struct config_key *key, const char *text)
{
    int v = find_choice(key, text);
    if (v >= 0)
        memcpy(field, &v, sizeof v); /* enums of small constants are ints */
    return v >= 0;
}
_Static_assert(sizeof(enum cfg_isa) == sizeof(int), "enums are copied as ints");

static bool put_whole(void *field, const struct config_key *key, const char *text)
{
    uint64_t v;
    if (!parse_whole(&v, text) || !whole_fits(key, v))
        return false;
    uint32_t narrow = (uint32_t)v;
    if (key->kind == KIND_U32)
        memcpy(field, &narrow, sizeof narrow);
    else
        memcpy(field, &v, sizeof v);
    return true;
}

static bool put_number(void *field, const struct config_key *key, const char *text)
{
    double v;
    if (!parse_number(&v, text) || v < key->min || v > key->max)
        return false;
    v = v + 0.0; /* -0 is 0, so that digests agree */
    memcpy(field, &v, sizeof v);
    return true;
}

static bool put_bool(void *field, const char *text)
{
    bool v = strcmp(text, "true") == 0;
    if (!v && strcmp(text, "false") != 0)
        return false;
    memcpy(field, &v, sizeof v);
    return true;
}

static bool put_value(void *field, const struct config_key *key, const char *text)
{
    switch (key->kind) {
    case KIND_U32:
    case KIND_U64:
        return put_whole(field, key, text);
    case KIND_F64:
        return put_number(field, key, text);
    case KIND_BOOL:
        return put_bool(field, text);
    case KIND_ENUM:
        return put_enum(field, key, text);
    case KIND_NAME:
        return put_name(field, key, text);
    case KIND_PATH:
        return put_text(field, text, CONFIG_PATH);
    }
    return false;
}

int config_value_parse(struct config *c, const struct config_key *key, const char *text)
{
    return put_value((char *)c + key->offset, key, text) ? 0 : refuse(key, text);
}

/* The fewest digits that read back as v; whole numbers without an exponent. */
static void number_text(char out[CONFIG_TEXT], double v)
{
    if (v == floor(v) && fabs(v) < EXACT_WHOLE) {
        snprintf(out, CONFIG_TEXT, "%.0f", v);
        return;
    }
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(out, CONFIG_TEXT, "%.*g", digits, v);
        if (strtod(out, NULL) == v)
            return;
    }
}

void config_value_text(char out[CONFIG_TEXT], const struct config *c,
                       const struct config_key *key)
{
    const void *field = (const char *)c + key->offset;
    uint32_t narrow;
    uint64_t wide;
    double number;
    bool flag;
    int index;
    switch (key->kind) {
    case KIND_U32:
        memcpy(&narrow, field, sizeof narrow);
        snprintf(out, CONFIG_TEXT, "%u", narrow);
        return;
    case KIND_U64:
        memcpy(&wide, field, sizeof wide);
        snprintf(out, CONFIG_TEXT, "%llu", (unsigned long long)wide);
        return;
    case KIND_F64:
        memcpy(&number, field, sizeof number);
        number_text(out, number);
        return;
    case KIND_BOOL:
        memcpy(&flag, field, sizeof flag);
        snprintf(out, CONFIG_TEXT, "%s", flag ? "true" : "false");
        return;
    case KIND_ENUM:
        memcpy(&index, field, sizeof index);
        snprintf(out, CONFIG_TEXT, "%s", key->choices[index]);
        return;
    case KIND_NAME:
    case KIND_PATH:
        snprintf(out, CONFIG_TEXT, "%s", (const char *)field);
        return;
    }
}
