/* SPDX-License-Identifier: Apache-2.0 */
/* worker_hello.c - can this worker take part in that run?
 *
 * A worker computes what the learner would have computed, so everything that decides bits is
 * checked before the first step: the configuration by its digest, the environment by its
 * specification's hash, build and product library by the pin. A worker that cannot match says
 * which two things differ; the program then ends with EXIT_CONFIG, and no restart storm. */
#include "worker_hello.h"

#include "base/err.h"
#include "nn/half.h"
#include "nn/kern.h"
#include "par/pool.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *best_isa(void)
{
    return kern_supported(ISA_AVX512) ? "avx512" : kern_supported(ISA_AVX2) ? "avx2" : "blas";
}

void hello_fill(struct wire_hello *h, const struct worker_cfg *c,
                const unsigned char worker_id[WIRE_ID], uint64_t incarnation,
                const unsigned char run_id[WIRE_ID])
{
    char host[128] = "unknown";
    gethostname(host, sizeof host - 1);
    *h = (struct wire_hello){.proto_min = WIRE_MAJOR,
                             .proto_max = WIRE_MAJOR,
                             .role = c->role,
                             .incarnation = incarnation,
                             .cores = (uint32_t)pool_cores(),
                             .slots = c->slots};
    memcpy(h->worker_id, worker_id, WIRE_ID);
    memcpy(h->run_id, run_id, WIRE_ID);
    snprintf(h->build, sizeof h->build, "%s", c->version);
    /* The library depends on the instruction set, which the pin decides: left open here. */
    snprintf(h->isa, sizeof h->isa, "%s", best_isa());
    snprintf(h->text, sizeof h->text, "%s pid %d", host, (int)getpid());
    if (c->role == ROLE_PLANNER)
        snprintf(h->precision, sizeof h->precision, "%s",
                 kern_half_supported() ? kern_half_ref()->name : "float32");
}

/* ------------------------------------------------------------------------- configuration */

/* The learner's keys, then the ones that are this machine's own business. */
static int resolve_config(struct config *out, const struct worker_cfg *c,
                          const struct wire_welcome *w)
{
    struct config_builder *b;
    int err = config_begin(&b);
    if (err)
        return err;
    err = config_yaml(b, w->config_yaml, w->config_bytes, ORIGIN_FILE);
    if (!err)
        err = config_finish(b, out);
    config_end(b);
    if (err)
        return err;
    struct digest d;
    config_digest(out, &d);
    if (memcmp(d.b, w->config_digest.b, DIGEST_BYTES) != 0)
        return err_set(ERR_CONFIG,
                       "the learner's configuration means something else to this "
                       "%s (version %s): run the same version on both sides",
                       c->name, c->version);
    out->net_link = c->cfg->net_link;
    out->compute = c->cfg->compute;
    out->log = c->cfg->log;
    return 0;
}

/* -------------------------------------------------------------------------------- the pin */

static int isa_by_name(const char *name, enum cfg_isa *out)
{
    static const struct {
        const char *name;
        enum cfg_isa isa;
    } table[] = {{"ref", ISA_REF}, {"avx2", ISA_AVX2}, {"avx512", ISA_AVX512}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (!strcmp(name, table[i].name)) {
            *out = table[i].isa;
            return 0;
        }
    }
    return ERR_NOTFOUND;
}

/* Every one of these is the same chain of fused multiply-adds, bit for bit. */
static bool is_chain(const char *library)
{
    return !strcmp(library, "chain") || !strcmp(library, "libxsmm") ||
           !strcmp(library, "vector");
}

/* What this planner scores candidates in; workers of other roles score none. */
static int check_precision(const struct worker_run *run, const struct worker_cfg *c,
                           const struct wire_pin *pin)
{
    const struct kern_half *half = NULL;
    const char *mine = "float32", *why = "";
    if (c->role != ROLE_PLANNER || !pin->precision[0])
        return 0;
    if (run->cfg.imagine.precision == PRECISION_HALF) {
        if (kern_half_get(run->isa, &half))
            why = err_text();
        else
            mine = half->name;
    }
    if (!strcmp(mine, pin->precision))
        return 0;
    char reason[256];
    snprintf(reason, sizeof reason, "%s%s%s", *why ? " (" : "", why, *why ? ")" : "");
    return err_set(ERR_UNSUPPORTED,
                   "the run is pinned to planning in '%s'; this %s has '%s'%s: move it to a "
                   "machine of the learner's kind, or start a run with "
                   "imagine.precision=float32",
                   pin->precision, c->name, mine, reason);
}

static int check_pin(struct worker_run *run, const struct worker_cfg *c,
                     const struct wire_pin *pin)
{
    const struct kern *k;
    run->isa = run->cfg.compute.isa;
    if (pin->isa[0] && strcmp(pin->isa, "auto") != 0 && isa_by_name(pin->isa, &run->isa) &&
        strcmp(pin->isa, "blas") != 0)
        return err_set(ERR_UNSUPPORTED,
                       "the run is pinned to the instruction set '%s', which "
                       "this %s does not know",
                       pin->isa, c->name);
    int err = kern_get(run->isa, &k);
    if (err)
        return err_set(ERR_UNSUPPORTED,
                       "the run is pinned to '%s'; this machine has '%s': start the learner "
                       "with compute.isa=%s or move this %s",
                       pin->isa, best_isa(), best_isa(), c->name);
    if (run->cfg.schedule != SCHEDULE_LOCKSTEP)
        return 0;
    if (pin->build[0] && strcmp(pin->build, c->version) != 0)
        return err_set(ERR_UNSUPPORTED,
                       "the run is pinned to version '%s'; this %s is '%s': start the same "
                       "version on both sides",
                       pin->build, c->name, c->version);
    bool same =
        !strcmp(pin->library, k->products) || (is_chain(pin->library) && is_chain(k->products));
    if (pin->library[0] && !same)
        return err_set(ERR_UNSUPPORTED,
                       "the run is pinned to products by '%s'; this %s has '%s', whose bits "
                       "differ: use machines of one kind, or schedule=async",
                       pin->library, c->name, k->products);
    return check_precision(run, c, pin);
}

/* -------------------------------------------------------------------------- environment */

static int find_environment(struct worker_run *run, const struct worker_cfg *c,
                            const struct wire_welcome *w)
{
    int err = env_find(run->cfg.env.name, &run->env);
    if (!err)
        err = run->env->spec(&run->cfg, &run->spec);
    if (err)
        return err;
    if (memcmp(run->spec.hash, w->spec_hash, sizeof run->spec.hash) != 0)
        return err_set(ERR_CONFIG, "the learner's environment is not this %s's: '%s' here",
                       c->name, run->spec.line);
    return 0;
}

int welcome_understand(struct worker_run *run, const struct worker_cfg *c,
                       const struct wire_welcome *w)
{
    if (w->proto != WIRE_MAJOR)
        return err_set(ERR_UNSUPPORTED, "the learner chose protocol %u, this %s speaks %d",
                       w->proto, c->name, WIRE_MAJOR);
    int err = resolve_config(&run->cfg, c, w);
    if (!err)
        err = check_pin(run, c, &w->pin);
    if (!err)
        err = find_environment(run, c, w);
    if (!err)
        memcpy(run->run_id, w->run_id, WIRE_ID);
    return err;
}
