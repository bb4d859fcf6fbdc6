/* SPDX-License-Identifier: Apache-2.0 */
/* verb_config.c - `mag config`: what a command would run with, and what each key means. */
#include "args.h"
#include "memory.h"
#include "verbs.h"

#include "base/err.h"
#include "env/env.h"

#include <stdio.h>

static int print_memory(const struct args *a, const struct config *cfg)
{
    const struct env_class *env = NULL;
    struct env_spec spec;
    struct memory_budget budget;
    int err = env_find(cfg->env.name, &env);
    if (!err)
        err = env->spec(cfg, &spec);
    if (!err)
        err = memory_budget(&budget, cfg, &spec);
    if (err)
        return fail(EXIT_CONFIG, a->verb, "%s", err_text());
    memory_print(&budget, cfg, stdout);
    return EXIT_OK;
}

int verb_config(int argc, char **argv)
{
    struct run_flags run_flags = {0};
    struct config cfg;
    bool reference = false, memory = false, origin = false;
    struct config_builder *builder = NULL;
    if (config_begin(&builder))
        return fail(EXIT_INTERNAL, argv[0], "out of memory");
    const struct flag flags[] = {
        ARGS_RUN_FLAGS,
        {"origin", NULL, NULL, NULL, &origin, "say where each value comes from"},
        {"memory", NULL, NULL, NULL, &memory, "how much memory it needs, by part"},
        {"reference", NULL, NULL, NULL, &reference, "every key with its meaning, as Markdown"},
        {0},
    };
    struct args a = {
        .verb = argv[0],
        .usage = "[--preset NAME] [--map M] [flags] [key=value ...]",
        .about = "Prints the settings that a command with the same flags would use. Without "
                 "--preset and\n--config they are those of `mag learner` (preset paper); "
                 "`mag train`, `mag eval` and\n`mag doctor` then take preset quickstart.",
        .flags = flags,
        .builder = builder};
    int status = args_parse(&a, argc, argv);
    if (!status && !reference)
        status = args_config(&a, &run_flags, NULL, &cfg);
    if (!status && reference)
        config_reference(stdout);
    else if (!status && memory)
        status = print_memory(&a, &cfg);
    else if (!status && config_print(&cfg, origin ? builder : NULL, stdout))
        status = EXIT_IO;
    config_end(builder);
    return status == ARGS_HELP ? EXIT_OK : status;
}
