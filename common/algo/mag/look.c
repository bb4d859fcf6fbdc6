/* SPDX-License-Identifier: Apache-2.0 */
/* look.c - in which precision candidates are scored.
 *
 * WHY  Planning is four fifths of an update and most of that is products; on CPUs whose
 * bfloat16 dot product is twice as fast as float32 it can take less time, and a score only has
 * to tell good candidates from bad ones (mag.md 20.4). Where the instruction is slow - it is on
 * some Intel servers - half would lose, so `auto` measures products of this model's width
 * instead of asking for the CPU's flag.
 *
 * BITS  Half is a different function of the weights, hence part of what lockstep pins, and
 * lockstep never decides by a clock. Within half all of docs/adr/0003 holds.
 *
 * The rounded copy follows the weights by their version; a job on unchanged weights costs
 * nothing. Groups are rounded by the thread that starts the job, some nanoseconds a weight. */
#include "rollout.h"

#include "base/err.h"

#include <math.h>
#include <string.h>

/* Below that, rounding weights and the risk of another choice are not worth it. */
#define HALF_GAIN 1.2

enum { RUNS = 3 };

/* Whether half is faster on a block of tokens: a square layer and a triple one, as attention
 * and GRU have them. */
static int measure(struct look *l, const struct mag_model *m, const struct kern_half *half)
{
    const size_t D = m->d.D, out[] = {D, 3 * D};
    double f = 0, h = 0;
    for (size_t i = 0; i < 2; i++) {
        double a, b;
        int err = kern_half_rates(m->kern, half, NETS_BLOCK, out[i], D, RUNS, &a, &b);
        if (err)
            return err;
        f += a / 2;
        h += b / 2;
    }
    l->precision.measured = true;
    l->precision.float32_gflops = f;
    l->precision.half_gflops = h;
    l->precision.half = h > HALF_GAIN * f;
    return 0;
}

static enum cfg_precision wanted(const struct config *cfg)
{
    bool lockstep = cfg->schedule == SCHEDULE_LOCKSTEP;
    return cfg->imagine.precision == PRECISION_AUTO && lockstep ? PRECISION_FLOAT32
                                                                : cfg->imagine.precision;
}

/* By the instruction set of the model's own kernels; the OpenBLAS table has none. */
static int find_half(const struct kern_half **out, const struct mag_model *m)
{
    const bool blas = m->kern->isa == ISA_REF && strcmp(m->kern->name, "ref") != 0;
    return kern_half_get(blas ? ISA_AUTO : m->kern->isa, out);
}

static int make_copy(struct look *l, const struct mag_model *m, const struct kern_half *half)
{
    const struct nets *n = mag_nets(m);
    int err = arena_init(&l->arena, nets_half_bytes(&n->d));
    if (err)
        return err;
    nets_half_bind(&l->nets, n, half, &l->arena);
    for (size_t g = 0; g < MAG_GROUPS; g++)
        l->seen[g] = UINT64_MAX; /* nothing yet */
    l->precision.name = half->name;
    return 0;
}

int look_open(struct look *l, const struct mag_model *m, const struct config *cfg)
{
    const enum cfg_precision want = wanted(cfg);
    const struct kern_half *half = NULL;
    memset(l, 0, sizeof *l);
    l->precision = (struct mag_precision){.name = "float32",
                                          .half = want == PRECISION_HALF,
                                          .float32_gflops = (double)NAN,
                                          .half_gflops = (double)NAN};
    if (want == PRECISION_FLOAT32)
        return 0;
    int err = find_half(&half, m);
    if (err && want == PRECISION_AUTO)
        return 0; /* nothing to choose from */
    if (!err && want == PRECISION_AUTO)
        err = measure(l, m, half);
    if (err || !l->precision.half)
        return err;
    return make_copy(l, m, half);
}

void look_close(struct look *l)
{
    if (l->precision.half)
        arena_fini(&l->arena);
}

const struct nets *look_nets(struct look *l, const struct mag_model *m)
{
    uint32_t changed = 0;
    if (!l->precision.half)
        return mag_nets(m);
    for (uint32_t g = 0; g < MAG_GROUPS; g++) {
        changed |= (uint32_t)(l->seen[g] != m->derived->version[g]) << g;
        l->seen[g] = m->derived->version[g];
    }
    nets_half_refresh(&l->nets, changed);
    return &l->nets;
}
