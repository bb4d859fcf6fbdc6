/* SPDX-License-Identifier: Apache-2.0 */
/* verb_status.c - `mag status` and `mag healthcheck`: one question to a learner. */
#include "args.h"
#include "control.h"
#include "rundir.h"
#include "verbs.h"

#include "base/err.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

enum { TIMEOUT_MS = 3000 };

/* Where the learner of a run listens, or listened last, as its run.json says. */
static int endpoint_of(const char *run, char out[CONTROL_ENDPOINT])
{
    char run_dir[RUN_PATH], path[RUN_PATH + 16];
    int err = rundir_of(run, run_dir);
    if (err)
        return err;
    snprintf(path, sizeof path, "%s/run.json", run_dir);
    json_t *o = json_load_file(path, 0, NULL);
    const char *where =
        json_string_value(json_object_get(json_object_get(o, "endpoints"), "control"));
    if (where)
        snprintf(out, CONTROL_ENDPOINT, "%s", where);
    else
        err = err_set(ERR_NOTFOUND, "%s does not say where its learner listens", path);
    json_decref(o);
    return err;
}

static int ask(int argc, char **argv, const char *about, bool print)
{
    const char *where = NULL;
    char endpoint[CONTROL_ENDPOINT];
    const struct flag flags[] = {
        {"connect", NULL, "WHERE", &where, NULL,
         "learner: host, tcp://host:port or ipc://path (default: $MAG_CONNECT, then "
         "127.0.0.1)"},
        {0},
    };
    struct args a = {.verb = argv[0],
                     .usage = "[RUN | --connect WHERE]",
                     .about = about,
                     .flags = flags,
                     .words_max = 1};
    int status = args_parse(&a, argc, argv);
    if (status)
        return status == ARGS_HELP ? EXIT_OK : status;
    if (a.words && where)
        return fail(EXIT_USAGE, argv[0], "a run and --connect exclude each other");
    if (a.words && endpoint_of(a.word[0], endpoint))
        return fail(EXIT_DATA, argv[0], "%s", err_text());
    if (a.words)
        where = endpoint;
    if (!where)
        where = getenv("MAG_CONNECT");
    if (!where)
        where = "127.0.0.1";
    struct control *c = NULL;
    const char *json = NULL;
    if (control_open(&c, where))
        return fail(EXIT_USAGE, argv[0], "%s", err_text());
    if (control_status(c, TIMEOUT_MS, &json))
        status = fail(EXIT_UNAVAILABLE, argv[0], "no learner answered at %s within %d s", where,
                      TIMEOUT_MS / 1000);
    else if (print)
        puts(json);
    else
        puts("ok");
    control_close(c);
    return status;
}

int verb_status(int argc, char **argv)
{
    return ask(argc, argv,
               "Prints what a learner says of itself, as JSON: the one that works in the "
               "directory RUN, or "
               "the one at WHERE.",
               true);
}

int verb_healthcheck(int argc, char **argv)
{
    return ask(
        argc, argv,
        "Exits 0 if a learner answers on its control socket: that of RUN, or the one at WHERE.",
        false);
}
