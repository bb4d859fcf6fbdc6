/* SPDX-License-Identifier: Apache-2.0 */
/* verb_status.c - `mag status` and `mag healthcheck`: one question to a learner. */
#include "args.h"
#include "control.h"
#include "verbs.h"

#include "base/err.h"

#include <stdio.h>
#include <stdlib.h>

enum { TIMEOUT_MS = 3000 };

static int ask(int argc, char **argv, const char *about, bool print)
{
    const char *where = NULL;
    const struct flag flags[] = {
        {"connect", NULL, "WHERE", &where, NULL,
         "learner: host, tcp://host:port or ipc://path (default: $MAG_CONNECT, then "
         "127.0.0.1)"},
        {0},
    };
    struct args a = {
        .verb = argv[0], .usage = "[--connect WHERE]", .about = about, .flags = flags};
    int status = args_parse(&a, argc, argv);
    if (status)
        return status == ARGS_HELP ? EXIT_OK : status;
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
    return ask(argc, argv, "Prints what a learner says of itself, as JSON.", true);
}

int verb_healthcheck(int argc, char **argv)
{
    return ask(argc, argv, "Exits 0 if a learner answers on its control socket.", false);
}
