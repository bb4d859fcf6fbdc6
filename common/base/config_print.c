/* SPDX-License-Identifier: Apache-2.0 */
/* config_print.c - the resolved configuration as YAML, as a digest, and the reference page.
 *
 * All three walk the schema table, so a key that exists is printed, hashed and explained. */
#include "base/err.h"
#include "config_schema.h"
#include "utf8.h"

#include <stdlib.h>
#include <string.h>

static const char *const origin_names[ORIGINS] = {"default", "preset", "file", "environment",
                                                  "command line"};
static const char *const scope_names[] = {"run", "role", "local"};

/* Whether text reads back as itself without quotes. */
static bool is_plain(const char *text)
{
    static const char first[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789./-";
    size_t n = strlen(text);
    if (n == 0 || !strchr(first, text[0]) || (text[0] == '-' && n < 2) || text[n - 1] == ':')
        return false;
    if (text[0] == '-' && (text[1] < '0' || text[1] > '9'))
        return false;
    if (strcmp(text, "...") == 0)
        return false;
    return !text[strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                              "._/:+-")];
}

/* Characters that YAML cannot hold as they are, or takes for a line break. */
static bool needs_code(uint32_t code)
{
    return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x2028 || code == 0x2029 ||
           code == 0xfeff || code == 0xfffe || code == 0xffff;
}

static void print_scalar(FILE *out, const char *text)
{
    if (is_plain(text)) {
        fputs(text, out);
        return;
    }
    fputc('"', out);
    for (size_t n = strlen(text), i = 0; i < n;) {
        uint32_t code = '?';
        size_t len = utf8_next(text + i, n - i, &code);
        len = len ? len : 1;
        if (needs_code(code))
            fprintf(out, "\\U%08X", code);
        else
            fprintf(out, "%s%.*s", code == '"' || code == '\\' ? "\\" : "", (int)len, text + i);
        i += len;
    }
    fputc('"', out);
}

/* Open the groups of `path` that `before` was not in; returns the depth. */
static int print_groups(FILE *out, const char *before, const char *path)
{
    int depth = 0;
    const char *at = path;
    for (const char *dot; (dot = strchr(at, '.')); at = dot + 1, depth++) {
        size_t n = (size_t)(dot - path) + 1;
        if (strncmp(before, path, n) != 0)
            fprintf(out, "%*s%.*s:\n", 2 * depth, "", (int)(dot - at), at);
    }
    return depth;
}

static void print_key(FILE *out, const struct config *c, const struct config_key *key,
                      const char *before, const char *comment)
{
    char text[CONFIG_TEXT];
    int depth = print_groups(out, before, key->path);
    const char *dot = strrchr(key->path, '.');
    fprintf(out, "%*s%s: ", 2 * depth, "", dot ? dot + 1 : key->path);
    config_value_text(text, c, key);
    print_scalar(out, text);
    if (comment)
        fprintf(out, "  # %s", comment);
    fputc('\n', out);
}

int config_print(const struct config *c, const struct config_builder *origin, FILE *out)
{
    const char *before = "";
    for (size_t i = 0; i < config_key_count; i++) {
        const char *comment = origin ? origin_names[config_builder_origin(origin, i)] : NULL;
        print_key(out, c, &config_keys[i], before, comment);
        before = config_keys[i].path;
    }
    return fflush(out) || ferror(out) ? err_set(ERR_IO, "writing the configuration failed") : 0;
}

int config_run_yaml(const struct config *c, char **out, size_t *n)
{
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    if (!stream)
        return err_set(ERR_NOMEM, "out of memory for the configuration");
    const char *before = "";
    for (size_t i = 0; i < config_key_count; i++) {
        if (config_keys[i].scope != CFG_RUN)
            continue;
        print_key(stream, c, &config_keys[i], before, NULL);
        before = config_keys[i].path;
    }
    int failed = ferror(stream);
    if (fclose(stream) != 0 || failed) {
        free(text);
        return err_set(ERR_NOMEM, "out of memory for the configuration");
    }
    *out = text;
    *n = size;
    return 0;
}

const char *config_run_difference(const struct config *a, const struct config *b)
{
    char in_a[CONFIG_TEXT], in_b[CONFIG_TEXT];
    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_key *key = &config_keys[i];
        config_value_text(in_a, a, key);
        config_value_text(in_b, b, key);
        if (key->scope == CFG_RUN && strcmp(in_a, in_b) != 0)
            return key->path;
    }
    return NULL;
}

void config_digest(const struct config *c, struct digest *out)
{
    struct digest_state s;
    char text[CONFIG_TEXT];
    digest_init(&s);
    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_key *key = &config_keys[i];
        if (key->scope != CFG_RUN)
            continue;
        /* Zero bytes end both parts, so no two lists of pairs run together. */
        config_value_text(text, c, key);
        digest_add(&s, key->path, strlen(key->path) + 1);
        digest_add(&s, text, strlen(text) + 1);
    }
    digest_end(&s, out);
}

/* --- the reference --- */

static void reference_keys(FILE *out)
{
    char range[512];
    fputs("| key | value | default | scope | meaning |\n|---|---|---|---|---|\n", out);
    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_key *key = &config_keys[i];
        config_value_range(range, sizeof range, key);
        fprintf(out, "| `%s` | %s%s%s | %s%s%s | %s | %s |\n", key->path, range,
                key->unit[0] ? ", " : "", key->unit, key->fallback[0] ? "`" : "",
                key->fallback[0] ? key->fallback : "empty", key->fallback[0] ? "`" : "",
                scope_names[key->scope], key->help);
    }
}

static void reference_presets(FILE *out)
{
    struct config base;
    char text[CONFIG_TEXT];
    const char *const *names = config_preset_names();
    config_defaults(&base);
    fputs("| key |", out);
    for (int p = 0; p < CONFIG_PRESETS; p++)
        fprintf(out, " %s |", names[p]);
    fputs("\n|---|---|---|---|\n", out);
    for (size_t i = 0; i < config_preset_row_count; i++) {
        const struct config_preset_row *row = &config_preset_rows[i];
        bool table1 = strcmp(row->path, "imagine.candidates") == 0 ||
                      strcmp(row->path, "imagine.horizon") == 0;
        config_value_text(text, &base, &config_keys[config_key_find(row->path)]);
        fprintf(out, "| `%s` |", row->path);
        for (int p = 0; p < CONFIG_PRESETS; p++)
            fprintf(out, " %s |", row->value[p] ? row->value[p] : table1 ? "by map" : text);
        fputc('\n', out);
    }
}

static void reference_table1(FILE *out)
{
    fputs("| map | imagine.candidates (L) | imagine.horizon (H) |\n|---|---|---|\n", out);
    for (size_t i = 0; i < config_table1_count; i++) {
        const struct config_table1 *row = &config_table1[i];
        fprintf(out, "| %s | %s | %s |\n", row->map[0] ? row->map : "any other",
                row->candidates, row->horizon);
    }
}

void config_reference(FILE *out)
{
    fputs(
        "# Configuration\n\n"
        "Every key can stand in a YAML file (nested or dotted), in an environment variable\n"
        "(`net.width` is `MAG_NET__WIDTH`), and on the command line (`net.width=128`). The\n"
        "strongest wins: command line, environment, file, preset, default. `mag config`\n"
        "prints the result and where each value came from.\n\n"
        "Scope *run* belongs to the run: learner and workers must agree on it, and its digest\n"
        "identifies the configuration. *role* and *local* may differ between processes.\n\n"
        "## Keys\n\n",
        out);
    reference_keys(out);
    fputs("\n## Presets\n\nKeys not listed keep their defaults.\n\n", out);
    reference_presets(out);
    fputs("\n## Planning by map\n\nPresets `paper` and `code` follow Table 1 of the paper.\n\n",
          out);
    reference_table1(out);
}
