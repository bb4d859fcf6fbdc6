/* SPDX-License-Identifier: Apache-2.0 */
/* args.c - one small parser for all verbs.
 *
 * WHY not getopt_long: an unknown flag should name its nearest relative, key=value settings
 * stand between flags, and the help is the table. */
#include "args.h"

#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NAMES_MAX = 64 };

int fail(int status, const char *verb, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fprintf(stderr, "mag %s: ", verb);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    return status;
}

static void print_help(const struct args *a)
{
    printf("usage: mag %s%s%s\n\n%s\n", a->verb, *a->usage ? " " : "", a->usage, a->about);
    if (a->flags[0].name)
        puts("\nflags:");
    for (const struct flag *f = a->flags; f->name; f++) {
        char left[64];
        snprintf(left, sizeof left, "--%s%s%s", f->name, f->value ? " " : "",
                 f->value ? f->value : "");
        printf("  %-24s %s\n", left, f->help);
    }
    if (a->builder)
        puts("\nsettings: key=value, e.g. net.width=64; `mag config --reference` lists all "
             "keys");
}

static int unknown_flag(const struct args *a, const char *name)
{
    const char *names[NAMES_MAX];
    size_t n = 0;
    for (const struct flag *f = a->flags; f->name && n < NAMES_MAX; f++)
        names[n++] = f->name;
    const char *near = nearest_name(name, names, n);
    if (near)
        return fail(EXIT_USAGE, a->verb, "unknown flag --%s; did you mean --%s?", name, near);
    return fail(EXIT_USAGE, a->verb, "unknown flag --%s; `mag %s --help` lists the flags", name,
                a->verb);
}

static int set_value(const struct args *a, const struct flag *f, const char *value)
{
    if (!f->key) {
        *f->text = value;
        return 0;
    }
    if (config_set(a->builder, f->key, value, ORIGIN_CLI))
        return fail(EXIT_CONFIG, a->verb, "--%s: %s", f->name, err_text());
    return 0;
}

/* One --flag; *i moves past its value. */
static int parse_flag(const struct args *a, int argc, char **argv, int *i)
{
    char name[64];
    const char *word = argv[*i] + 2, *equals = strchr(word, '=');
    size_t n = equals ? (size_t)(equals - word) : strlen(word);
    snprintf(name, sizeof name, "%.*s", (int)n, word);
    const struct flag *f = a->flags;
    while (f->name && strcmp(f->name, name))
        f++;
    if (!f->name)
        return unknown_flag(a, name);
    if (f->value) {
        if (!equals && *i + 1 >= argc)
            return fail(EXIT_USAGE, a->verb, "--%s needs a value: --%s %s", name, name,
                        f->value);
        return set_value(a, f, equals ? equals + 1 : argv[++*i]);
    }
    if (equals)
        return fail(EXIT_USAGE, a->verb, "--%s takes no value", name);
    if (f->key)
        return set_value(a, f, "true");
    *f->on = true;
    return 0;
}

static int parse_word(struct args *a, const char *word)
{
    if (a->builder && strchr(word, '=') && word[0] != '/' && word[0] != '.') {
        if (config_assign(a->builder, word))
            return fail(EXIT_CONFIG, a->verb, "%s", err_text());
        return 0;
    }
    if (a->words >= a->words_max || a->words >= ARGS_WORDS)
        return fail(EXIT_USAGE, a->verb, "unexpected word '%s'; `mag %s --help` shows the form",
                    word, a->verb);
    a->word[a->words++] = word;
    return 0;
}

int args_parse(struct args *a, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        int status = 0;
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
            print_help(a);
            return ARGS_HELP;
        }
        if (!strncmp(argv[i], "--", 2))
            status = parse_flag(a, argc, argv, &i);
        else if (argv[i][0] == '-' && argv[i][1])
            status = fail(EXIT_USAGE, a->verb, "unknown flag %s; flags start with two dashes",
                          argv[i]);
        else
            status = parse_word(a, argv[i]);
        if (status)
            return status;
    }
    if (a->words < a->words_min)
        return fail(EXIT_USAGE, a->verb, "something is missing: mag %s %s", a->verb, a->usage);
    return 0;
}

int args_number(const char *flag, const char *text, unsigned long long lo,
                unsigned long long hi, unsigned long long *out)
{
    char *end;
    unsigned long long v = strtoull(text, &end, 10);
    if (!*text || *end || text[0] == '-' || v < lo || v > hi) {
        fprintf(stderr, "mag: --%s %s: a whole number from %llu to %llu is needed\n", flag,
                text, lo, hi);
        return EXIT_USAGE;
    }
    *out = v;
    return 0;
}

int args_config(struct args *a, const struct run_flags *f, const char *default_preset,
                struct config *out)
{
    const char *preset = f->preset ? f->preset : f->file ? NULL : default_preset;
    int err = preset ? config_preset(a->builder, preset) : 0;
    if (!err && f->file)
        err = config_file(a->builder, f->file);
    if (!err)
        err = config_env(a->builder, environ);
    if (!err)
        err = config_finish(a->builder, out);
    return err ? fail(EXIT_CONFIG, a->verb, "%s", err_text()) : 0;
}

int args_over_run(const struct args *a, char run_dir[RUN_PATH], struct config *before,
                  struct config *out)
{
    struct config_builder *b = NULL;
    int err = rundir_of(a->word[0], run_dir), status = 0;
    if (!err)
        err = rundir_settings(run_dir, &b);
    if (!err)
        err = config_finish(b, before);
    if (err) {
        status = EXIT_DATA;
    } else {
        config_over(b, a->builder);
        status = config_finish(b, out) ? EXIT_CONFIG : 0;
    }
    config_end(b);
    return status ? fail(status, a->verb, "%s", err_text()) : 0;
}
