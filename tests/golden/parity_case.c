/* SPDX-License-Identifier: Apache-2.0 */
/* parity_case.c - compute one recorded case with the code that trains.
 *
 *   parity_case X.in.safetensors MINE.out.safetensors
 *
 * The input holds weights, tensors and every uniform the case consumes; sizes come from its
 * metadata and axes. The recorded uniforms are offered as `struct draws`, keyed as in
 * production, so nothing under test knows that it is being replayed. Asking for an array that
 * the file lacks, or for another number of draws than it holds, fails the run.
 *
 * Exit: 0, 64 usage, 65 a file that cannot be used, 70 anything else. */
#include "parity.h"

#include "base/err.h"
#include "model/nets.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PARITY_ARENA_MIN = 64 << 20 };

static _Noreturn void die(int status, const char *what, const char *name)
{
    fprintf(stderr, "parity_case: %s%s%s\n", what, name ? ": " : "", name ? name : "");
    exit(status);
}

/* ----------------------------------------------------------------------------------- inputs */

void *parity_mem(struct parity *p, size_t bytes)
{
    return arena_zmust(&p->arena, bytes ? bytes : 1);
}

static size_t elements(const struct st_tensor *t)
{
    size_t n = 1;
    for (size_t i = 0; i < t->rank; i++)
        n *= t->shape[i];
    return n;
}

bool parity_has(const struct parity *p, const char *name)
{
    return st_find(p->in, name) != NULL;
}

size_t parity_axis(const struct parity *p, const char *name, size_t k)
{
    const struct st_tensor *t = st_find(p->in, name);
    return t && k < t->rank ? t->shape[k] : 0;
}

const float *parity_f32(struct parity *p, const char *name, size_t *n)
{
    const struct st_tensor *t = st_find(p->in, name);
    if (!t)
        die(EXIT_DATA, "the file has no tensor", name);
    size_t count = elements(t);
    float *x = parity_mem(p, count * sizeof(float));
    if (st_copy_f32(t, x, count))
        die(EXIT_DATA, err_text(), NULL);
    if (n)
        *n = count;
    return x;
}

static size_t meta_size(const struct parity *p, const char *key)
{
    const char *text = st_meta(p->in, key);
    char *end;
    if (!text)
        die(EXIT_DATA, "metadata lacks", key);
    unsigned long v = strtoul(text, &end, 10);
    if (end == text || *end || v > 1u << 20)
        die(EXIT_DATA, "metadata is not a size", key);
    return v;
}

static uint8_t *to_bytes(struct parity *p, const float *x, size_t n)
{
    uint8_t *y = parity_mem(p, n);
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] != 0;
    return y;
}

/* window.NAME [W][B][N][width], its size checked. */
static const float *window(struct parity *p, const char *name, size_t width)
{
    size_t n, want = p->W * p->B * p->d.N * width;
    const float *x = parity_f32(p, name, &n);
    if (n != want)
        die(EXIT_DATA, "a window tensor of unexpected size", name);
    return x;
}

/* Flags that all agents of a record share. */
static const uint8_t *joint_flags(struct parity *p, const char *name)
{
    const float *x = window(p, name, 1);
    size_t joint = p->W * p->B, N = p->d.N;
    uint8_t *y = parity_mem(p, joint);
    for (size_t j = 0; j < joint; j++) {
        y[j] = x[j * N] != 0;
        for (size_t i = 1; i < N; i++)
            if ((x[j * N + i] != 0) != y[j])
                die(EXIT_DATA, "agents of one record differ in", name);
    }
    return y;
}

static void load_windows(struct parity *p)
{
    if (!parity_has(p, "window.obs"))
        return;
    size_t N = p->d.N, A = p->d.A;
    p->W = parity_axis(p, "window.obs", 0);
    p->B = parity_axis(p, "window.obs", 1);
    size_t tokens = p->W * p->B * N;
    const float *act = window(p, "window.act", A);
    p->act_onehot = parity_mem(p, tokens * A * sizeof(float));
    memcpy(p->act_onehot, act, tokens * A * sizeof(float));
    uint8_t *action = parity_mem(p, tokens);
    for (size_t r = 0; r < tokens; r++) {
        action[r] = NETS_NO_ACTION;
        for (size_t a = A; a-- > 0;)
            if (act[r * A + a] != 0)
                action[r] = (uint8_t)a;
    }
    p->w = (struct mag_windows){
        .W = p->W,
        .B = p->B,
        .obs = window(p, "window.obs", p->d.O),
        .action = action,
        .avail = to_bytes(p, window(p, "window.avail", A), tokens * A),
        .reward = window(p, "window.rew", 1),
        .done = joint_flags(p, "window.done"),
        .fake = joint_flags(p, "window.fake"),
        .last = joint_flags(p, "window.last"),
    };
}

/* ------------------------------------------------------------------------ recorded uniforms */

/* One slice of an array: leading axes pick it, the rest must be exactly n floats. */
static void serve(struct parity *p, const char *name, const size_t *lead, size_t leads,
                  float *u, size_t n)
{
    const struct st_tensor *t = st_find(p->in, name);
    const char *wrong = NULL;
    size_t at = 0, rest = 1;
    if (!t || t->dtype != ST_F32 || t->rank < leads)
        wrong = "no such array";
    for (size_t i = 0; !wrong && i < leads; i++) {
        if (lead[i] >= t->shape[i])
            wrong = "index beyond an axis";
        else
            at = at * t->shape[i] + lead[i];
    }
    for (size_t i = leads; !wrong && i < t->rank; i++)
        rest *= t->shape[i];
    if (!wrong && rest != n)
        wrong = "another number of draws";
    if (wrong) {
        memset(u, 0, n * sizeof(float));
        if (!p->missing[0])
            snprintf(p->missing, sizeof p->missing, "%s: %s (%zu asked for)", name, wrong, n);
        return;
    }
    memcpy(u, (const unsigned char *)t->data + at * n * sizeof(float), n * sizeof(float));
}

static void serve_drop(struct parity *p, uint32_t sub, float *u, size_t n)
{
    static const char *const site[] = {"u.drop.attn", "u.drop.out", "u.drop.ff",
                                       "u.drop.ffout"};
    size_t lead[2] = {sub & 0xffff, sub >> 18};
    serve(p, site[sub >> 16 & 3], lead, 2, u, n);
}

/* Planning: sub = i << 16 | j << 8 | tau. */
static void serve_plan(struct parity *p, enum draw_domain domain, size_t start, uint32_t sub,
                       float *u, size_t n)
{
    size_t i = sub >> 16, j = sub >> 8 & 255, tau = sub & 255;
    if (domain == DRAW_PLAN_LATENT && p->mamba_next && j == 0 && tau == 0)
        serve(p, "u.next", (size_t[]){i, start}, 2, u, n);
    else if (domain == DRAW_PLAN_LATENT)
        serve(p, "u.plan.latent", (size_t[]){i, tau, j, start}, 4, u, n);
    else
        serve(p, domain == DRAW_PLAN_AVAIL ? "u.plan.avail" : "u.plan.action",
              (size_t[]){i, tau - 1, j, start}, 4, u, n);
}

static void recorded_fill(void *state, enum draw_domain domain, uint64_t item, uint32_t sub,
                          float *u, size_t n)
{
    struct parity *p = state;
    size_t low = item & 0xfffff;
    switch (domain) {
    case DRAW_POST_MODEL:
    case DRAW_POST_RM:
    case DRAW_POST_START:
        serve(p, "u.post", (size_t[]){sub}, 1, u, n);
        return;
    case DRAW_PRIOR_RM:
        serve(p, "u.prior", (size_t[]){sub}, 1, u, n);
        return;
    case DRAW_POST_RM2:
        serve(p, "u.second.post", (size_t[]){sub}, 1, u, n);
        return;
    case DRAW_PRIOR_RM2:
        serve(p, "u.second.prior", (size_t[]){sub}, 1, u, n);
        return;
    case DRAW_DROPOUT:
        serve_drop(p, sub, u, n);
        return;
    case DRAW_IM_AVAIL:
        serve(p, "u.policy.avail", (size_t[]){sub, low}, 2, u, n);
        return;
    case DRAW_IM_ACT:
        serve(p, "u.policy.action", (size_t[]){sub, low}, 2, u, n);
        return;
    case DRAW_PLAN_LATENT:
    case DRAW_PLAN_AVAIL:
    case DRAW_PLAN_ACT:
        serve_plan(p, domain, low, sub, u, n);
        return;
    case DRAW_ACT_LATENT:
        serve(p, "u.act.post", (size_t[]){sub, low}, 2, u, n);
        return;
    case DRAW_ACT_ACTION:
        serve(p, "u.act.action", (size_t[]){sub, low}, 2, u, n);
        return;
    case DRAW_PERM:
        serve(p, "u.permutation", (size_t[]){low}, 1, u, n);
        return;
    default:
        memset(u, 0, n * sizeof(float));
        if (!p->missing[0])
            snprintf(p->missing, sizeof p->missing, "domain %d is not recorded", (int)domain);
    }
}

/* ------------------------------------------------------------------------------------ model */

static size_t count_layers(const struct parity *p)
{
    for (size_t i = 0;; i++) {
        char name[96];
        snprintf(name, sizeof name, "model.transition.attention.layers.%zu.norm1.weight", i);
        if (!parity_has(p, name))
            return i ? i : 3;
    }
}

/* Every parameter that the file holds; groups that a case does not need may be absent. */
static void load_weights(struct parity *p)
{
    const struct params *all = &p->model->params;
    for (size_t i = 0; i < all->n; i++) {
        const struct param *e = &all->table[i];
        if (!parity_has(p, e->name))
            continue;
        size_t n;
        const float *x = parity_f32(p, e->name, &n);
        if (n != e->out * e->in)
            die(EXIT_DATA, "a weight of unexpected size", e->name);
        param_import(e, all->value, x);
    }
    mag_refresh(p->model, MAG_NEEDS_ALL);
}

static void open_case(struct parity *p)
{
    const char *name = st_meta(p->in, "case");
    if (!name)
        die(EXIT_DATA, "metadata lacks", "case");
    snprintf(p->kase, sizeof p->kase, "%s", name);
    p->d = (struct mag_dims){.N = meta_size(p, "N"),
                             .O = meta_size(p, "O"),
                             .A = meta_size(p, "A"),
                             .D = meta_size(p, "D"),
                             .C = meta_size(p, "cats"),
                             .K = meta_size(p, "classes"),
                             .heads = meta_size(p, "heads"),
                             .layers = count_layers(p)};
    config_defaults(&p->cfg);
    p->cfg.net.width = (uint32_t)p->d.D;
    p->cfg.net.categoricals = (uint32_t)p->d.C;
    p->cfg.net.classes = (uint32_t)p->d.K;
    p->cfg.net.heads = (uint32_t)p->d.heads;
    p->cfg.net.layers = (uint32_t)p->d.layers;
    load_windows(p);
    p->R = parity_axis(p, "u.policy.action", 0);
    p->R += p->R > 0; /* R states, R-1 actions */
    p->H = parity_axis(p, "u.plan.latent", 1);
    p->L = parity_axis(p, "u.plan.latent", 2);
    p->mamba_next = parity_has(p, "u.next");
    p->draws = (struct draws){recorded_fill, NULL, p};
    if (mag_model_open(&p->model, &p->d, ISA_AUTO))
        die(EXIT_DATA, "no model of these sizes", err_text());
    load_weights(p);
}

/* ---------------------------------------------------------------------------------- outputs */

static void put(struct parity *p, const char *name, enum st_dtype dtype, const void *data,
                size_t size, size_t rank, const size_t *shape)
{
    bug_on(p->n_out == PARITY_TENSORS || rank > ST_RANK_MAX);
    size_t n = 1, len = strlen(name) + 1;
    char *copy = parity_mem(p, len);
    memcpy(copy, name, len);
    struct st_tensor *t = &p->out[p->n_out++];
    *t = (struct st_tensor){.name = copy, .dtype = dtype, .rank = rank, .data = data};
    for (size_t i = 0; i < rank; i++) {
        t->shape[i] = shape[i];
        n *= shape[i];
    }
    t->bytes = n * size;
}

void parity_put_f32(struct parity *p, const char *name, const float *data, size_t rank,
                    const size_t *shape)
{
    put(p, name, ST_F32, data, sizeof *data, rank, shape);
}

void parity_put_i64(struct parity *p, const char *name, const int64_t *data, size_t rank,
                    const size_t *shape)
{
    put(p, name, ST_I64, data, sizeof *data, rank, shape);
}

void parity_put_bool(struct parity *p, const char *name, const uint8_t *data, size_t rank,
                     const size_t *shape)
{
    put(p, name, ST_BOOL, data, 1, rank, shape);
}

void parity_put_index(struct parity *p, const char *name, const uint8_t *data, size_t rank,
                      const size_t *shape)
{
    size_t n = 1;
    for (size_t i = 0; i < rank; i++)
        n *= shape[i];
    int64_t *wide = parity_mem(p, n * sizeof *wide);
    for (size_t i = 0; i < n; i++)
        wide[i] = data[i];
    parity_put_i64(p, name, wide, rank, shape);
}

void parity_put_scalar(struct parity *p, const char *name, double value)
{
    float *x = parity_mem(p, sizeof *x);
    *x = (float)value;
    parity_put_f32(p, name, x, 0, NULL);
}

void parity_put_params(struct parity *p, const float *block, const char *from, const char *to)
{
    const struct params *all = &p->model->params;
    size_t cut = strlen(from);
    for (size_t i = 0; i < all->n; i++) {
        const struct param *e = &all->table[i];
        if (strncmp(e->name, from, cut) != 0)
            continue;
        char name[2 * PARAM_NAME];
        snprintf(name, sizeof name, "%s%s", to, e->name + cut);
        float *x = parity_mem(p, e->out * e->in * sizeof *x);
        param_export(e, block, x);
        parity_put_f32(p, name, x, e->kind == PARAM_LINEAR ? 2 : 1,
                       (const size_t[]){e->out, e->in});
    }
}

/* ------------------------------------------------------------------------------------- main */

static const struct parity_case *find_case(const char *name)
{
    const struct parity_case *tables[] = {parity_model_cases, parity_imagine_cases};
    for (size_t t = 0; t < 2; t++)
        for (const struct parity_case *c = tables[t]; c->name; c++)
            if (strcmp(c->name, name) == 0)
                return c;
    return NULL;
}

/* The memory of a case grows with its file; a generous multiple is reserved, lazily touched. */
static size_t arena_size(const struct st_reader *in)
{
    size_t bytes = PARITY_ARENA_MIN;
    for (size_t i = 0; i < st_count(in); i++)
        bytes += 64 * st_at(in, i)->bytes;
    return bytes;
}

int main(int argc, char **argv)
{
    static struct parity p;
    struct st_reader *in;
    if (argc != 3)
        die(EXIT_USAGE, "usage: parity_case X.in.safetensors MINE.out.safetensors", NULL);
    if (st_read_file(&in, argv[1]))
        die(EXIT_DATA, err_text(), NULL);
    p.in = in;
    if (arena_init(&p.arena, arena_size(in)))
        die(EXIT_INTERNAL, "out of memory", NULL);
    pool_fp_mode();
    open_case(&p);

    const struct parity_case *c = find_case(p.kase);
    if (!c)
        die(EXIT_DATA, "no such case", p.kase);
    if (c->run(&p))
        die(EXIT_INTERNAL, "the case failed", err_text());
    if (p.missing[0])
        die(EXIT_DATA, "uniforms", p.missing);

    const char *const meta[][2] = {{"case", p.kase}};
    if (st_write_file(argv[2], p.out, p.n_out, meta, 1))
        die(EXIT_INTERNAL, err_text(), NULL);
    mag_model_close(p.model);
    st_close(in);
    arena_fini(&p.arena);
    return 0;
}
