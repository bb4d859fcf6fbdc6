/* SPDX-License-Identifier: Apache-2.0 */
/* memory.c - a budget from the sizes in the configuration.
 *
 * Replay, parameters and policy rows are exact; work space is counted as floats per token, an
 * upper bound taken from the shapes of mag.md 4 (every layer keeps its input and its gradient). */
#include "memory.h"

#include "algo/mag.h"
#include "base/err.h"
#include "learner/replay.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Floats kept per token of the model step, in widths D: three attention layers (16 each, forward
 * and backward), GRU (14), five heads of three layers and the encoder (8 each), posterior and
 * prior (6). */
enum { WIDTHS_PER_LAYER = 16, WIDTHS_BESIDE = 14 + 6 * 8 + 6, PROCESS_BASE = 64 << 20 };

static size_t parameter_bytes(const struct mag_dims *d)
{
    size_t F = d->C * d->K + d->D, D = d->D, L = d->layers;
    size_t model = d->O * D + 3 * D * D + (d->A + d->C * d->K) * D + L * 6 * D * D + 6 * D * D +
                   3 * D * D + 2 * D * d->C * d->K + 2 * D * D + 4 * (F * D + 2 * D * D) +
                   (d->O + 2 * d->A) * D;
    size_t rest = 2 * (F * D + 3 * D * D) + (F * D + 9 * D * D);
    return (model + rest) * sizeof(float);
}

static size_t work_bytes(const struct mag_dims *d, size_t tokens)
{
    size_t widths = d->layers * WIDTHS_PER_LAYER + WIDTHS_BESIDE;
    return tokens * (widths * d->D + 6 * d->C * d->K + 2 * d->O + 4 * d->A) * sizeof(float);
}

int memory_budget(struct memory_budget *out, const struct config *cfg,
                  const struct env_spec *spec)
{
    struct mag_dims d;
    mag_dims_of(&d, cfg, spec->n_agents, spec->obs, spec->actions);
    size_t W = cfg->replay.window, B = cfg->train.windows, S = (W - 2) * B;
    size_t params = parameter_bytes(&d);
    size_t rows = cfg->imagine.steps > 1 ? cfg->imagine.steps - 1 : 1;
    *out = (struct memory_budget){
        .replay = replay_bytes(cfg->replay.capacity, d.N, d.O, d.A),
        .learner_model = 7 * params, /* values, derived copies, gradient, moments, batch copy */
        .learner_work =
            work_bytes(&d, (W - 1) * B * d.N) + work_bytes(&d, cfg->train.minibatch * d.N) / 4,
        .policy_rows = mag_rows_bytes(&d, S, rows),
        .ingest = (size_t)cfg->net_link.ingest_budget,
        .actor = PROCESS_BASE + 2 * params,
        .planner = PROCESS_BASE + 3 * params +
                   2 * mag_rows_bytes(&d, S, rows) / (B ? B : 1) * cfg->job.windows,
    };
    out->total = PROCESS_BASE + out->replay + out->learner_model + out->learner_work +
                 out->policy_rows + out->ingest + cfg->workers.actors * out->actor +
                 cfg->workers.planners * out->planner;
    return 0;
}

static void line(FILE *out, const char *what, size_t bytes)
{
    fprintf(out, "  %-44s %8.1f MiB\n", what, (double)bytes / (1 << 20));
}

void memory_print(const struct memory_budget *b, const struct config *cfg, FILE *out)
{
    char text[64];
    fprintf(out, "memory for %s, at most:\n", cfg->env.map);
    snprintf(text, sizeof text, "replay, %u records", cfg->replay.capacity);
    line(out, text, b->replay);
    line(out, "learner: parameters, moments, copies", b->learner_model);
    line(out, "learner: work space of gradient steps", b->learner_work);
    line(out, "learner: policy buffer", b->policy_rows);
    line(out, "learner: episodes being received", b->ingest);
    snprintf(text, sizeof text, "actors, %u of", cfg->workers.actors);
    line(out, text, b->actor);
    snprintf(text, sizeof text, "planners, %u of", cfg->workers.planners);
    line(out, text, b->planner);
    line(out, "all on one machine", b->total);
}

/* The smaller of what the machine has free and what the container's limit leaves. */
static size_t read_number(const char *path, const char *key)
{
    char text[256];
    unsigned long long v = 0;
    FILE *f = fopen(path, "r");
    while (f && fgets(text, sizeof text, f)) {
        size_t n = strlen(key);
        if (!strncmp(text, key, n) && sscanf(text + n, "%llu", &v) == 1)
            break;
    }
    if (f)
        fclose(f);
    return (size_t)v;
}

size_t memory_available(void)
{
    size_t free_bytes = read_number("/proc/meminfo", "MemAvailable:") * 1024;
    size_t limit = read_number("/sys/fs/cgroup/memory.max", "");
    size_t used = read_number("/sys/fs/cgroup/memory.current", "");
    if (!limit) {
        limit = read_number("/sys/fs/cgroup/memory/memory.limit_in_bytes", "");
        used = read_number("/sys/fs/cgroup/memory/memory.usage_in_bytes", "");
    }
    if (limit > used && limit - used < free_bytes)
        return limit - used;
    return free_bytes;
}
