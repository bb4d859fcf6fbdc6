/* SPDX-License-Identifier: Apache-2.0 */
/* verb_bench.c - `mag bench`: figures for people and, with --json, for scripts. */
#include "args.h"
#include "bench.h"
#include "bench_half.h"
#include "bench_update.h"
#include "verbs.h"

#include "base/err.h"
#include "env/env.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct part {
    const char *name;
    unsigned what; /* bench_core's bits; 0: the environments */
};
/* Parts by themselves: bench_update's and bench_half's. */
enum { WHOLE_UPDATE = 1 << 8, HALF_PRECISION = 1 << 9 };
static const struct part parts[] = {
    {"env", 0},
    {"product", BENCH_PRODUCT},
    {"act", BENCH_PRODUCT | BENCH_ACT},
    {"model", BENCH_PRODUCT | BENCH_MODEL},
    {"plan", BENCH_PRODUCT | BENCH_PLAN},
    {"all", BENCH_PRODUCT | BENCH_ACT | BENCH_MODEL | BENCH_PLAN},
    {"update", WHOLE_UPDATE},
    {"half", HALF_PRECISION},
};
enum { PARTS = sizeof parts / sizeof *parts };

static int run_env(const struct args *a, const struct config *cfg, const char *only,
                   double seconds, json_t *out)
{
    const struct env_class *class = NULL;
    if (env_find(cfg->env.name, &class))
        return fail(EXIT_CONFIG, a->verb, "%s", err_text());
    const char *const one[] = {only, NULL};
    json_t *maps = json_array();
    if (!out)
        printf("%s, one core, random actions, with observations, masks and state; steps/s of "
               "one, and of %d in lock-step:\n",
               class->name, BENCH_BATCH);
    for (const char *const *map = only ? one : class->maps(); *map; map++) {
        struct bench_env e;
        if (bench_env(&e, cfg, *map, seconds)) {
            json_decref(maps);
            return fail(EXIT_CONFIG, a->verb, "%s: %s", *map, err_text());
        }
        if (out)
            json_array_append_new(maps,
                                  json_pack("{s:s,s:f,s:f,s:f}", "map", e.map, "steps_per_s",
                                            e.steps_per_s, "batch_steps_per_s",
                                            e.batch_steps_per_s, "length", e.mean_length));
        else {
            printf("  %-30s %10.0f %10.0f\n", e.map, e.steps_per_s, e.batch_steps_per_s);
            fflush(stdout);
        }
    }
    if (out)
        json_object_set_new(out, "env", maps);
    else
        json_decref(maps);
    return EXIT_OK;
}

static void print_core(const struct bench_core *c, const struct config *cfg, unsigned what)
{
    printf("learning core on %s, width %u, %u threads, kernels %s:\n", cfg->env.map,
           cfg->net.width, c->threads, c->kernel);
    printf("  products           %10.1f GFLOP/s on one core\n", c->gflops);
    if (what & BENCH_ACT)
        printf("  acting             %10.0f env steps/s alone, %.0f with 16 environments "
               "together\n",
               c->act_one, c->act_many);
    if (what & BENCH_MODEL)
        printf(
            "  model step         %10.2f ms (%.0f %% of the product rate); R_m step %.2f ms\n",
            c->model_ms, 100 * c->model_share, c->rm_ms);
    if (what & BENCH_PLAN)
        printf("  planning           %10.0f tokens/s (%.0f %% of the product rate)\n",
               c->plan_tokens, 100 * c->plan_share);
}

static int run_core(const struct args *a, const struct config *cfg, unsigned what,
                    double seconds, json_t *out)
{
    struct bench_core c;
    if (bench_core(&c, cfg, what, seconds))
        return fail(EXIT_CONFIG, a->verb, "%s", err_text());
    if (!out) {
        print_core(&c, cfg, what);
        return EXIT_OK;
    }
    json_object_set_new(out, "core",
                        json_pack("{s:s,s:s,s:i,s:i,s:f}", "map", cfg->env.map, "kernels",
                                  c.kernel, "width", (int)cfg->net.width, "threads",
                                  (int)c.threads, "gflops_core", c.gflops));
    json_t *core = json_object_get(out, "core");
    if (what & BENCH_ACT)
        json_object_set_new(core, "act",
                            json_pack("{s:f,s:f}", "one_steps_per_s", c.act_one,
                                      "sixteen_steps_per_s", c.act_many));
    if (what & BENCH_MODEL)
        json_object_set_new(core, "model",
                            json_pack("{s:f,s:f,s:f}", "step_ms", c.model_ms, "share",
                                      c.model_share, "rm_step_ms", c.rm_ms));
    if (what & BENCH_PLAN)
        json_object_set_new(
            core, "plan",
            json_pack("{s:f,s:f}", "tokens_per_s", c.plan_tokens, "share", c.plan_share));
    return EXIT_OK;
}

static const struct part *find_part(const char *name)
{
    for (size_t i = 0; i < PARTS; i++)
        if (!strcmp(parts[i].name, name))
            return &parts[i];
    return NULL;
}

int verb_bench(int argc, char **argv)
{
    struct run_flags run_flags = {0};
    struct config cfg;
    bool json = false, sample = false;
    const char *ms = "500", *only = NULL, *phases = "all", *run = NULL;
    struct config_builder *builder = NULL;
    if (config_begin(&builder))
        return fail(EXIT_INTERNAL, argv[0], "out of memory");
    const struct flag flags[] = {
        {"map", NULL, "NAME", &only, NULL, "one scenario (env: all of them by default)"},
        {"preset", NULL, "NAME", &run_flags.preset, NULL, "sizes: paper (default), quickstart"},
        {"ms", NULL, "N", &ms, NULL, "milliseconds per figure (500)"},
        {"phases", NULL, "LIST", &phases, NULL,
         "update: all (default), or of model,rm,imagine,ppo,act"},
        {"sample", NULL, NULL, NULL, &sample,
         "update: measure a part of every phase and scale"},
        {"run", NULL, "DIR", &run, NULL,
         "half: settings, weights and episodes of this run or checkpoint"},
        {"json", NULL, NULL, NULL, &json, "print JSON"},
        {0},
    };
    struct args a = {.verb = argv[0],
                     .usage =
                         "env|act|model|plan|product|all|update|half [flags] [key=value ...]",
                     .about = "Measures this machine with the code that trains.",
                     .flags = flags,
                     .builder = builder,
                     .words_min = 1,
                     .words_max = 1};
    unsigned long long each = 0;
    int status = args_parse(&a, argc, argv);
    if (!status && only && config_set(builder, "env.map", only, ORIGIN_CLI))
        status = fail(EXIT_CONFIG, argv[0], "--map: %s", err_text());
    if (!status)
        status = args_config(&a, &run_flags, "paper", &cfg);
    if (!status)
        status = args_number("ms", ms, 10, 60000, &each);
    config_end(builder);
    if (status)
        return status == ARGS_HELP ? EXIT_OK : status;
    const struct part *part = find_part(a.word[0]);
    if (!part)
        return fail(
            EXIT_USAGE, argv[0],
            "unknown part '%s'; env, act, model, plan, product, all, update and half are known",
            a.word[0]);
    json_t *out = json ? json_object() : NULL;
    double seconds = (double)each / 1000;
    if (part->what == 0 || !strcmp(part->name, "all"))
        status = run_env(&a, &cfg, only, seconds, out);
    if (part->what == WHOLE_UPDATE)
        status = bench_update(argv[0], &cfg, phases, sample, out);
    else if (part->what == HALF_PRECISION)
        status = bench_half(argv[0], &cfg, run, seconds, out);
    else if (!status && part->what)
        status = run_core(&a, &cfg, part->what, seconds, out);
    if (!status && out) {
        json_dumpf(out, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
        putchar('\n');
    }
    json_decref(out);
    return status;
}
