/* SPDX-License-Identifier: Apache-2.0 */
/* recording.c - loading a recording and reporting on it: see recording.h. */
#include "recording.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum outcome recording_open(struct recording *rec, const char *path)
{
    const char *slash = strrchr(path, '/');
    json_error_t error;
    *rec = (struct recording){.name = slash ? slash + 1 : path, .where = "file"};
    rec->root = json_load_file(path, 0, &error);
    if (!rec->root)
        return stop(rec, MALFORMED, "line %d: %s", error.line, error.text);
    if (!json_is_object(rec->root))
        return stop(rec, MALFORMED, "not a recording");
    return SAME;
}

void recording_close(struct recording *rec)
{
    json_decref(rec->root);
}

enum outcome stop(struct recording *rec, enum outcome what, const char *fmt, ...)
{
    if (rec->outcome != SAME)
        return rec->outcome;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(rec->why, sizeof rec->why, fmt, ap);
    va_end(ap);
    rec->outcome = what;
    return what;
}

const json_t *field(struct recording *rec, const json_t *o, const char *key, json_type type)
{
    const json_t *v = json_object_get(o, key);
    if (!v)
        stop(rec, MALFORMED, "'%s' is missing", key);
    else if (json_typeof(v) != type)
        stop(rec, MALFORMED, "'%s' has the wrong type", key);
    else
        return v;
    return NULL;
}

void recording_complain(const struct recording *rec)
{
    if (rec->outcome != SAME)
        printf("FAIL %s %s: %s%s\n", rec->name, rec->where,
               rec->outcome == MALFORMED ? "malformed: " : "", rec->why);
}

int replay_files(const char *tool, int argc, char **argv,
                 enum outcome (*replay_file)(const char *path))
{
    if (argc < 2) {
        fprintf(stderr, "usage: %s FILE...\n", tool);
        return EXIT_USAGE;
    }
    for (int i = 1; i < argc; i++) {
        enum outcome outcome = replay_file(argv[i]);
        fflush(stdout);
        if (outcome != SAME)
            return (int)outcome;
    }
    return EXIT_OK;
}
