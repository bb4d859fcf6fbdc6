/* SPDX-License-Identifier: Apache-2.0 */
/* parity.h - what the cases of parity_case share (private to tests/golden).
 *
 * One run: read X.in.safetensors, build a model of its sizes with its weights, offer its
 * uniforms as `struct draws`, call the one case that the metadata names, write what the case
 * put. Memory lives until the program ends; nothing is freed on the way. */
#ifndef GOLDEN_PARITY_H
#define GOLDEN_PARITY_H

#include "algo/mag.h"
#include "base/arena.h"
#include "base/config.h"
#include "base/rng.h"
#include "base/safetensors.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PARITY_TENSORS = 512 };

struct parity {
    const struct st_reader *in;
    char kase[64]; /* "case" of the metadata, without variants cut off: "mag_h1" */
    struct mag_dims d;
    struct config cfg; /* defaults, then the sizes of the file; cases set their switches */
    size_t W, B;       /* 0 when the file has no windows */
    struct mag_windows w;
    float *act_onehot;       /* window.act as recorded [W][B][N][A] */
    size_t R, L, H;          /* from the axes of u.policy.* and u.plan.latent, 0 if absent */
    bool mamba_next;         /* u.next stands for PLAN_LATENT(i, 0, 0) */
    struct mag_model *model; /* all groups open, weights of the file imported */
    struct draws draws;      /* the recorded uniforms, contracts.md 4 */
    struct arena arena;
    /* first draw that the file could not serve, "" if none: checked after the case */
    char missing[160];
    struct st_tensor out[PARITY_TENSORS];
    size_t n_out;
};

typedef int parity_fn(struct parity *p);
struct parity_case {
    const char *name;
    parity_fn *run;
};
/* Each ends with {NULL, NULL}. */
extern const struct parity_case parity_model_cases[];   /* parity_model.c */
extern const struct parity_case parity_imagine_cases[]; /* parity_imagine.c */

/* n floats, bytes ... of zeroed memory; never NULL. */
void *parity_mem(struct parity *p, size_t bytes);

/* The tensor as floats, its element count in *n (may be NULL); exits with a message if it is
 * absent. parity_has asks first. */
const float *parity_f32(struct parity *p, const char *name, size_t *n);
bool parity_has(const struct parity *p, const char *name);
/* Shape of an input tensor: axis k, or 0 if absent or of lower rank. */
size_t parity_axis(const struct parity *p, const char *name, size_t k);

/* Add an output: the data is borrowed until the file is written. Shape: `rank` sizes. */
void parity_put_f32(struct parity *p, const char *name, const float *data, size_t rank,
                    const size_t *shape);
void parity_put_i64(struct parity *p, const char *name, const int64_t *data, size_t rank,
                    const size_t *shape);
void parity_put_index(struct parity *p, const char *name, const uint8_t *data, size_t rank,
                      const size_t *shape); /* bytes written as I64 */
void parity_put_bool(struct parity *p, const char *name, const uint8_t *data, size_t rank,
                     const size_t *shape);
void parity_put_scalar(struct parity *p, const char *name, double value);
/* Every parameter whose name starts with `from`, out of an array of the params' layout, named
 * `to` + the rest of its name: ("model.", "grad.model.") or
 * ("model.transition.gru.", "grad."). */
void parity_put_params(struct parity *p, const float *block, const char *from, const char *to);

#define PARITY_SHAPE(...)                                                                      \
    (sizeof((size_t[]){__VA_ARGS__}) / sizeof(size_t)), (const size_t[])                       \
    {                                                                                          \
        __VA_ARGS__                                                                            \
    }

#endif
