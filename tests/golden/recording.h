/* SPDX-License-Identifier: Apache-2.0 */
/* recording.h - what the tools that replay a JSON recording share: loading it, remembering the
 * first thing that went wrong, saying so, and the command line. */
#ifndef GOLDEN_RECORDING_H
#define GOLDEN_RECORDING_H

#include "base/err.h"

#include <jansson.h>

/* Also exit statuses. */
enum outcome { SAME = 0, DIFFERENT = 1, MALFORMED = EXIT_DATA };

struct recording {
    const char *name; /* of the file, or what the recording calls itself */
    json_t *root;     /* NULL: the file is no JSON */
    enum outcome outcome;
    char why[1280];
    char where[64]; /* the part being replayed, for the report */
};

/* Load a file; close it in any case. MALFORMED unless it holds a JSON object. */
enum outcome recording_open(struct recording *rec, const char *path);
void recording_close(struct recording *rec);

/* Remember the first thing that went wrong. Returns its outcome, never SAME. */
enum outcome stop(struct recording *rec, enum outcome what, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* A field that has to be there. NULL after stop(). Borrowed from `o`. */
const json_t *field(struct recording *rec, const json_t *o, const char *key, json_type type);

/* "FAIL NAME where: why" on stdout, unless the outcome is SAME. */
void recording_complain(const struct recording *rec);

/* main() of a tool: each file in turn, until one is not SAME. Returns the exit status. */
int replay_files(const char *tool, int argc, char **argv,
                 enum outcome (*replay_file)(const char *path));

#endif
