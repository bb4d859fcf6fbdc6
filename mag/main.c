/* SPDX-License-Identifier: Apache-2.0 */
/* main.c - the verb table of `mag`, and nothing else.
 *
 * `mag VERB --help` explains a verb; the roles learner, actor and planner are what compose files
 * and clusters run, the others serve people. */
#include "verbs.h"

#include "base/config.h"
#include "base/err.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

struct verb {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
};

static const struct verb verbs[] = {
    {"train", verb_train, "train on this machine: learner, planners and actors, then evaluate"},
    {"resume", verb_resume, "go on with a run that was stopped or killed"},
    {"eval", verb_eval,
     "play evaluation episodes with a run, a checkpoint or a scripted policy"},
    {"replay", verb_replay, "watch recorded battles: terminal, web page, film strip"},
    {"inspect", verb_inspect, "what a run or checkpoint holds; --hash for its identity"},
    {"bench", verb_bench, "measure this machine: env, act, model, plan, product, update, half"},
    {"config", verb_config, "show, explain and check settings"},
    {"doctor", verb_doctor, "check this machine and say how to mend what is wrong"},
    {"status", verb_status, "ask a learner how it is doing"},
    {"healthcheck", verb_healthcheck, "exit 0 if a learner answers"},
    {"version", verb_version, "versions of the program and its libraries"},
    {"learner", verb_learner, "role: trains, stores, hands out work"},
    {"actor", verb_actor, "role: plays episodes"},
    {"planner", verb_planner, "role: imagines with planning"},
};
enum { VERBS = sizeof verbs / sizeof *verbs };

static void print_help(FILE *out)
{
    fputs("mag - multi-agent reinforcement learning from learned world models\n\n"
          "usage: mag VERB [flags] [key=value ...]\n\n",
          out);
    for (size_t i = 0; i < VERBS; i++)
        fprintf(out, "  %-12s %s\n", verbs[i].name, verbs[i].help);
    fputs("\nfirst run: mag train --preset quickstart\n"
          "exit status: 0 done, 64 usage, 65 data missing or damaged, 69 unavailable, 70 "
          "internal\n"
          "  error, 74 file error, 78 settings; train and resume: 130 after Ctrl-C, 143 after "
          "SIGTERM\n",
          out);
}

static int unknown_verb(const char *word)
{
    const char *names[VERBS];
    for (size_t i = 0; i < VERBS; i++)
        names[i] = verbs[i].name;
    const char *near = nearest_name(word, names, VERBS);
    fprintf(stderr, "mag: unknown verb '%s'%s%s%s\n", word, near ? "; did you mean '" : "",
            near ? near : "; `mag help` lists them", near ? "'?" : "");
    return EXIT_USAGE;
}

/* `mag train` sets MAG_PARENT in its children: they go when it goes, whatever killed it. */
static void follow_parent(void)
{
    const char *parent = getenv("MAG_PARENT");
    if (!parent)
        return;
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != atoi(parent))
        _exit(EXIT_UNAVAILABLE);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        print_help(stderr);
        return EXIT_USAGE;
    }
    if (!strcmp(argv[1], "help") || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
        print_help(stdout);
        return EXIT_OK;
    }
    if (!strcmp(argv[1], "--version"))
        return verb_version(1, argv + 1);
    signal(SIGPIPE, SIG_IGN);
    follow_parent();
    for (size_t i = 0; i < VERBS; i++)
        if (!strcmp(argv[1], verbs[i].name))
            return verbs[i].run(argc - 1, argv + 1);
    return unknown_verb(argv[1]);
}
