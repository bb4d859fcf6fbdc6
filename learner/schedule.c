/* SPDX-License-Identifier: Apache-2.0 */
/* schedule.c - contracts of orders and counts; no state of its own.
 *
 * Kept apart from the trainer so that "60 E model steps" and "where does a resumed run go on"
 * are tests of plain functions. */
#include "learner/schedule.h"

void schedule_counts(const struct config *cfg, uint64_t iteration, struct schedule_counts *out)
{
    uint64_t E = cfg->collect.episodes;
    uint64_t scale = cfg->collect.scale_updates ? E : 1;
    bool warm_up = iteration == 0;
    bool search = cfg->imagine.search == SEARCH_SHOOTING;
    uint64_t rm = warm_up ? cfg->train.warmup_rm_steps : scale * cfg->train.rm_steps;
    *out = (struct schedule_counts){
        .episodes = E,
        .model_steps = warm_up ? cfg->train.warmup_model_steps : scale * cfg->train.model_steps,
        .rm_steps = search ? rm : 0, /* plain MAMBA has no R_m */
        .batches = warm_up ? 0 : scale * cfg->train.batches,
    };
}

double schedule_rate(const struct config *cfg, uint64_t iteration)
{
    if (iteration >= cfg->lr.anneal)
        return cfg->lr.anneal ? cfg->lr.final : 1;
    return 1 - (1 - cfg->lr.final) * ((double)iteration / (double)cfg->lr.anneal);
}

uint64_t schedule_phase_steps(const struct schedule_counts *c, enum train_phase phase)
{
    switch (phase) {
    case PHASE_COLLECT:
        return 1;
    case PHASE_MODEL:
        return c->model_steps;
    case PHASE_RM:
        return c->rm_steps;
    case PHASE_POLICY:
        return c->batches;
    }
    return 0;
}

bool schedule_collected(const struct config *cfg, uint64_t iteration, uint64_t records)
{
    return iteration > 0 || records >= cfg->replay.min;
}

bool schedule_next_phase(const struct config *cfg, struct ckpt_state *st)
{
    struct schedule_counts c;
    schedule_counts(cfg, st->iteration, &c);
    st->step = 0;
    while (st->phase != PHASE_POLICY) {
        st->phase = (enum train_phase)(st->phase + 1);
        if (schedule_phase_steps(&c, st->phase))
            return false;
    }
    st->iteration++;
    st->phase = PHASE_COLLECT;
    st->phase_first_episode = st->next_episode;
    return true;
}

bool schedule_advance(const struct config *cfg, struct ckpt_state *st)
{
    struct schedule_counts c;
    schedule_counts(cfg, st->iteration, &c);
    st->step++;
    if (st->step < schedule_phase_steps(&c, st->phase))
        return false;
    return schedule_next_phase(cfg, st);
}

const char *schedule_stop(const struct config *cfg, const struct ckpt_state *st,
                          double elapsed_s)
{
    if (cfg->train.stop.iterations && st->iteration > cfg->train.stop.iterations)
        return "iterations";
    if (cfg->train.stop.env_steps && st->env_steps >= cfg->train.stop.env_steps)
        return "env_steps";
    if (cfg->train.stop.seconds && elapsed_s >= (double)cfg->train.stop.seconds)
        return "seconds";
    return NULL;
}

bool schedule_eval_due(const struct config *cfg, const struct ckpt_state *st)
{
    if (!cfg->eval.every || st->iteration == 0 || st->phase != PHASE_COLLECT)
        return false;
    return st->eval_round < 2 * ((st->iteration - 1) / cfg->eval.every);
}
