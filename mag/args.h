/* SPDX-License-Identifier: Apache-2.0 */
/* args.h - the command line of one verb: flags, key=value settings, positional words.
 *
 * Every flag is a row of a table, so help text, parsing and "did you mean" come from one place.
 * Flags that stand for a configuration key go straight into the builder. */
#ifndef MAG_ARGS_H
#define MAG_ARGS_H

#include "rundir.h"

#include "base/config.h"

#include <stdbool.h>

struct flag {
    const char *name;  /* without dashes */
    const char *key;   /* configuration key it stands for, or NULL */
    const char *value; /* what the help calls its value; NULL: a switch */
    const char **text; /* where a value goes when key is NULL */
    bool *on;          /* where a switch goes when key is NULL */
    const char *help;
};

enum { ARGS_WORDS = 8 };

struct args {
    const char *verb, *usage, *about;
    const struct flag *flags;       /* ended by name == NULL */
    struct config_builder *builder; /* NULL: the verb takes no settings */
    const char *word[ARGS_WORDS];   /* positional */
    int words, words_min, words_max;
};

/* Parse argv[1..]. Returns 0; 1 after printing help (the verb exits 0); or an exit status after
 * one helpful line on stderr. */
enum { ARGS_HELP = 1 };
int args_parse(struct args *a, int argc, char **argv);

/* A whole decimal number within bounds, or an exit status after one line naming the flag. */
int args_number(const char *flag, const char *text, unsigned long long lo,
                unsigned long long hi, unsigned long long *out);

/* Flags shared by the verbs that configure a run; ARGS_RUN_FLAGS goes into a flag table. */
#define ARGS_RUN_FLAGS                                                                         \
    {"map", "env.map", "NAME", NULL, NULL, "scenario, e.g. 3s_vs_3z"},                         \
        {"preset", NULL, "NAME", &run_flags.preset, NULL, "paper, code or quickstart"},        \
        {"config", NULL, "FILE", &run_flags.file, NULL, "YAML settings"},                      \
        {"seed", "seed", "N", NULL, NULL, "seed of everything random"},                        \
        {"iterations", "train.stop.iterations", "K", NULL, NULL, "stop after K iterations"},   \
    {                                                                                          \
        "run-dir", "run_dir", "DIR", NULL, NULL, "where the run is kept"                       \
    }

struct run_flags {
    const char *preset, *file;
};
/* Defaults, preset, file, environment, command line: everything args_parse collected becomes
 * `out`. default_preset may be NULL. Returns 0 or an exit status after one line. */
int args_config(struct args *a, const struct run_flags *f, const char *default_preset,
                struct config *out);

/* The settings of the run that the first word names: as they are, and with those of the command
 * line over them. Returns 0 or an exit status after one line. */
int args_over_run(const struct args *a, char run_dir[RUN_PATH], struct config *before,
                  struct config *out);

/* Print "mag VERB: text" and return status. */
int fail(int status, const char *verb, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
