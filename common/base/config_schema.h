/* SPDX-License-Identifier: Apache-2.0 */
/* config_schema.h - the table of all keys and the presets, as the files config*.c see them. */
#ifndef BASE_CONFIG_SCHEMA_H
#define BASE_CONFIG_SCHEMA_H

#include "base/config.h"

enum config_kind { KIND_U32, KIND_U64, KIND_F64, KIND_BOOL, KIND_ENUM, KIND_NAME, KIND_PATH };

enum { CONFIG_KEYS_MAX = 128, CONFIG_CHOICES_MAX = 5, CONFIG_PRESETS = 3 };

struct config_key {
    const char *path;
    enum config_kind kind;
    enum cfg_scope scope;
    size_t offset;              /* in struct config */
    const char *fallback;       /* the default, as a user would write it */
    double min, max;            /* numbers only, both included */
    const char *unit;           /* "" for pure numbers */
    const char *const *choices; /* enums (index = value) and closed names; else NULL */
    const char *help;
};

/* The keys of one group ("net.") stand together. */
extern const struct config_key config_keys[];
extern const size_t config_key_count;

/* One row sets one key; NULL leaves the default. Columns follow config_preset_names(). */
struct config_preset_row {
    const char *path;
    const char *value[CONFIG_PRESETS];
};
extern const struct config_preset_row config_preset_rows[];
extern const size_t config_preset_row_count;

/* L and H of the paper's Table 1; presets paper and code follow it, by map. */
struct config_table1 {
    const char *map, *candidates, *horizon;
};
extern const struct config_table1 config_table1[];
extern const size_t config_table1_count; /* the last row, map "", is every other map */
const struct config_table1 *config_table1_row(const char *map);

/* Index of a key, or -1. */
int config_key_find(const char *path);
/* Index of a preset, or -1. */
int config_preset_find(const char *name);

/* --- one value (config_value.c) --- */

/* Parse text into the key's field of c. ERR_CONFIG with the key, the range or the choices. */
int config_value_parse(struct config *c, const struct config_key *key, const char *text);
enum { CONFIG_TEXT = CONFIG_PATH + 32 };
/* The field as text that parses back to the same bits. */
void config_value_text(char out[CONFIG_TEXT], const struct config *c,
                       const struct config_key *key);
/* "a whole number from 1 to 255", "true or false", ... into out[n]. */
void config_value_range(char *out, size_t n, const struct config_key *key);

/* --- the builder (config.c) --- */

enum cfg_origin config_builder_origin(const struct config_builder *b, size_t key);
/* Sets a preset's values over the defaults in c; origin may be NULL. */
void config_apply_preset(struct config *c, int preset, const char *map,
                         enum cfg_origin origin[CONFIG_KEYS_MAX]);

#endif
