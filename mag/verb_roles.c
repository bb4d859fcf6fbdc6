/* SPDX-License-Identifier: Apache-2.0 */
/* verb_roles.c - `mag learner`, `mag actor`, `mag planner`: what compose files and clusters run.
 *
 * A learner decides a run's settings; workers get them from it and set only where to connect
 * and how to compute. */
#include "args.h"
#include "control.h"
#include "revision.h"
#include "verbs.h"

#include "actor/actor.h"
#include "base/err.h"
#include "learner/learner.h"
#include "planner/planner.h"

#include <stdio.h>

int verb_learner(int argc, char **argv)
{
    struct run_flags run_flags = {0};
    struct config cfg;
    bool final_eval = false;
    struct config_builder *builder = NULL;
    if (config_begin(&builder))
        return fail(EXIT_INTERNAL, argv[0], "out of memory");
    const struct flag flags[] = {
        ARGS_RUN_FLAGS,
        {"resume", "resume", "HOW", NULL, NULL, "auto (default), never or must"},
        {"insecure", "service.insecure", NULL, NULL, NULL,
         "bind beyond loopback although peers are not authenticated"},
        {"final-eval", NULL, NULL, NULL, &final_eval, "evaluate after the last iteration"},
        {0},
    };
    struct args a = {.verb = argv[0],
                     .usage = "[--preset NAME] [--map M] [flags] [key=value ...]",
                     .about = "Trains: stores episodes, hands out work, owns the weights.",
                     .flags = flags,
                     .builder = builder};
    int status = args_parse(&a, argc, argv);
    if (!status)
        status = args_config(&a, &run_flags, NULL, &cfg);
    config_end(builder);
    if (status)
        return status == ARGS_HELP ? EXIT_OK : status;
    struct learner_cfg lc = {.cfg = &cfg,
                             .argc = argc,
                             .argv = argv,
                             .version = MAG_VERSION,
                             .revision = MAG_REVISION,
                             .final_eval = final_eval};
    return learner_main(&lc);
}

/* What both kinds of worker take. */
struct worker_flags {
    const char *connect, *state_dir, *slots;
};

/* --connect learner means the three default ports of that host. */
static int set_endpoints(struct args *a, const char *host)
{
    static const struct {
        const char *key;
        unsigned port;
    } planes[] = {{"service.control", 5560}, {"service.data", 5561}, {"service.weights", 5562}};
    for (size_t i = 0; i < 3; i++) {
        char endpoint[CONTROL_ENDPOINT];
        control_endpoint(endpoint, host, planes[i].port);
        if (config_set(a->builder, planes[i].key, endpoint, ORIGIN_CLI))
            return fail(EXIT_CONFIG, a->verb, "--connect: %s", err_text());
    }
    return 0;
}

static int worker_config(int argc, char **argv, const char *about, unsigned slots_max,
                         struct config *cfg, struct worker_flags *f, unsigned long long *slots)
{
    struct run_flags none = {0};
    struct config_builder *builder = NULL;
    if (config_begin(&builder))
        return fail(EXIT_INTERNAL, argv[0], "out of memory");
    const struct flag flags[] = {
        {"connect", NULL, "HOST", &f->connect, NULL,
         "the learner's host, with its default ports"},
        {"connect-timeout", "service.connect_timeout_s", "S", NULL, NULL,
         "give up after S seconds without a learner (0: wait)"},
        {"state", NULL, "DIR", &f->state_dir, NULL, "keep the worker's identity over restarts"},
        {"slots", NULL, "N", &f->slots, NULL, "pieces of work at once"},
        {0},
    };
    struct args a = {.verb = argv[0],
                     .usage = "[--connect HOST] [flags] [key=value ...]",
                     .about = about,
                     .flags = flags,
                     .builder = builder};
    int status = args_parse(&a, argc, argv);
    if (!status && f->connect)
        status = set_endpoints(&a, f->connect);
    if (!status && f->slots)
        status = args_number("slots", f->slots, 1, slots_max, slots);
    if (!status)
        status = args_config(&a, &none, NULL, cfg);
    config_end(builder);
    return status;
}

int verb_actor(int argc, char **argv)
{
    struct worker_flags f = {0};
    struct config cfg;
    unsigned long long slots = 0;
    int status = worker_config(argc, argv, "Plays the episodes that a learner asks for.",
                               ACTOR_SLOTS_MAX, &cfg, &f, &slots);
    if (status)
        return status == ARGS_HELP ? EXIT_OK : status;
    struct actor_cfg ac = {.cfg = &cfg,
                           .state_dir = f.state_dir,
                           .slots = (uint32_t)slots,
                           .version = MAG_VERSION};
    return actor_main(&ac);
}

int verb_planner(int argc, char **argv)
{
    struct worker_flags f = {0};
    struct config cfg;
    unsigned long long slots = 0;
    int status = worker_config(argc, argv, "Imagines with planning for a learner.",
                               PLANNER_SLOTS_MAX, &cfg, &f, &slots);
    if (status)
        return status == ARGS_HELP ? EXIT_OK : status;
    struct planner_cfg pc = {.cfg = &cfg,
                             .state_dir = f.state_dir,
                             .slots = (uint32_t)slots,
                             .version = MAG_VERSION};
    return planner_main(&pc);
}
