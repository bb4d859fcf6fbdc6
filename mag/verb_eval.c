/* SPDX-License-Identifier: Apache-2.0 */
/* verb_eval.c - `mag eval`: how good is a run, a checkpoint, or a policy without learning? */
#include "args.h"
#include "evaluate.h"
#include "rundir.h"
#include "verbs.h"

#include "base/err.h"

#include <string.h>

enum { EPISODES_MAX = 1 << 20 }; /* an evaluation numbers its episodes in 20 bits */

static int status_of(int err)
{
    return err == ERR_CONFIG ? EXIT_CONFIG : err == ERR_NOTFOUND ? EXIT_USAGE : EXIT_DATA;
}

struct eval_flags {
    struct run_flags run;
    const char *episodes, *policy, *record;
    bool json;
};

/* The run's settings with those of the command line over them: what its networks and episodes are
 * made of stays. */
static int run_config(const struct args *a, struct config *cfg)
{
    char run_dir[RUN_PATH];
    struct config before, other;
    int status = args_over_run(a, run_dir, &before, cfg);
    if (status)
        return status;
    other = *cfg;
    other.seed = before.seed;
    other.eval = before.eval;
    const char *key = config_run_difference(&before, &other);
    if (key)
        return fail(
            EXIT_CONFIG, a->verb,
            "%s belongs to the run and stays as it is; seed, eval.* and compute.* may be "
            "given anew",
            key);
    return 0;
}

static int check(const struct args *a, const struct eval_flags *f, struct config *cfg,
                 struct eval_request *rq)
{
    unsigned long long n = 0;
    int status = 0;
    if (f->episodes)
        status = args_number("episodes", f->episodes, 1, EPISODES_MAX, &n);
    if (!status && !a->words && !f->policy)
        status = fail(EXIT_USAGE, a->verb,
                      "name a run or checkpoint, or a policy: --policy random --map 3m");
    if (!status && a->words && f->policy)
        status = fail(EXIT_USAGE, a->verb, "a run and --policy exclude each other");
    rq->path = a->words ? a->word[0] : NULL;
    rq->policy = f->policy;
    rq->record = f->record;
    rq->cfg = cfg;
    rq->episodes = n ? (uint32_t)n : cfg->eval.episodes;
    return status;
}

int verb_eval(int argc, char **argv)
{
    struct eval_flags f = {0};
    struct run_flags run_flags = {0};
    struct config cfg;
    struct config_builder *builder = NULL;
    if (config_begin(&builder))
        return fail(EXIT_INTERNAL, argv[0], "out of memory");
    const struct flag flags[] = {
        {"episodes", NULL, "N", &f.episodes, NULL, "episodes of each kind (eval.episodes)"},
        {"json", NULL, NULL, NULL, &f.json, "print JSON"},
        {"policy", NULL, "NAME", &f.policy, NULL,
         "instead of a run: random, untrained, attack_nearest, kiting; in lbf forage, "
         "forage_alone"},
        {"record", NULL, "FILE|DIR", &f.record, NULL,
         "keep the greedy (or the policy's) episodes as a film for `mag replay`"},
        {"map", "env.map", "NAME", NULL, NULL, "with --policy: the scenario"},
        {"seed", "seed", "N", NULL, NULL, "other starts (the run's seed)"},
        {"preset", NULL, "NAME", &run_flags.preset, NULL, "with --policy: the settings"},
        {0},
    };
    struct args a = {.verb = argv[0],
                     .usage =
                         "RUN|CHECKPOINT|--policy NAME [--episodes N] [--json] [--record FILE]",
                     .about = "Plays evaluation episodes, greedy and sampled, with fresh "
                              "seeds. A run has its own "
                              "settings;\nseed, eval.* and compute.* may be given anew.",
                     .flags = flags,
                     .builder = builder,
                     .words_max = 1};
    struct eval_request rq = {0};
    struct eval_report report;
    int status = args_parse(&a, argc, argv);
    if (!status && a.words && run_flags.preset)
        status = fail(EXIT_USAGE, argv[0],
                      "--preset goes with --policy: a run has its own settings");
    if (!status && a.words)
        status = run_config(&a, &cfg);
    else if (!status)
        status = args_config(&a, &run_flags, "quickstart", &cfg);
    config_end(builder);
    if (!status)
        status = check(&a, &f, &cfg, &rq);
    if (status)
        return status == ARGS_HELP ? EXIT_OK : status;
    int err = evaluate_run(&rq, &report);
    if (err)
        return fail(status_of(err), argv[0], "%s", err_text());
    if (f.json)
        return eval_json(&report, stdout) ? EXIT_IO : EXIT_OK;
    eval_print(&report, stdout);
    return EXIT_OK;
}
