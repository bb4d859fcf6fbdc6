/* SPDX-License-Identifier: Apache-2.0 */
/* params.h - every parameter of a model in one block, with a table of names.
 *
 * Optimiser, checkpoint and publishing are loops over one array. Values are kept in *kernel
 * layout*: a linear layer's PyTorch weight [out][in] lies as [in][ld]: out padded with zeros
 * to out_pad, a multiple of 32 (products need it, docs/adr/0003), and rows ld apart (caches need
 * it, param_stride); everything else is flat, padded to 32. Import and export translate, so
 * that files hold PyTorch's names, shapes and bytes.
 *
 * Gradients and Adam moments are arrays of the same length and layout. Padding stays zero in
 * all of them. A table is built once and then constant; the values have one writer. */
#ifndef NN_PARAMS_H
#define NN_PARAMS_H

#include "base/arena.h"
#include "base/safetensors.h"

#include <stddef.h>
#include <stdint.h>

enum { PARAM_NAME = 80, PARAM_PAD = 32 };

enum param_kind {
    PARAM_LINEAR, /* torch [out][in]  <->  ours [in][ld] */
    PARAM_VECTOR, /* torch [n]        <->  ours [n padded] */
};

struct param {
    char name[PARAM_NAME]; /* PyTorch's, contracts.md 10 */
    enum param_kind kind;
    uint32_t group; /* weight group, meaning defined by the algorithm */
    size_t out, in; /* LINEAR: torch shape; VECTOR: out = n, in = 1 */
    size_t out_pad; /* out rounded up to PARAM_PAD */
    size_t ld;      /* floats from row to row: out_pad or a little more */
    size_t offset;  /* first float in the block */
    size_t count;   /* floats in the block, padding included */
};

struct params {
    struct param *table;
    size_t n;
    size_t count;  /* floats of the whole block */
    float *value;  /* [count], 64-byte aligned */
    float *packed; /* NULL, or a second [count]: large weights packed by linear_refresh */
};

/* Count-then-carve: add parameters (group by group: a group must be contiguous), then
 * params_carve allocates value from the arena. Names are copied; returns the index. */
int params_init(struct params *p, struct arena *arena, size_t max);
size_t params_add(struct params *p, const char *name, enum param_kind kind, uint32_t group,
                  size_t out, size_t in);
int params_carve(struct params *p, struct arena *arena);

/* Reserve `packed`, for tables whose products ask for it (kern.h, layer_packed). After
 * params_carve, before layers are bound. */
int params_carve_packed(struct params *p, struct arena *arena);

/* Floats from row to row of a matrix of so many columns, a multiple of PARAM_PAD. */
size_t param_stride(size_t columns);

/* Index by name, or (size_t)-1. */
size_t params_find(const struct params *p, const char *name);

/* The floats [*first, *first + *count) of groups lo..hi inclusive. */
void params_range(const struct params *p, uint32_t lo, uint32_t hi, size_t *first,
                  size_t *count);

/* Real parameters (padding excluded) of groups lo..hi. */
size_t params_real(const struct params *p, uint32_t lo, uint32_t hi);

/* dst: torch layout, out*in floats (count of real elements); block: any array of p's layout
 * (values, gradient, moment). And the reverse, which zeroes padding. */
void param_export(const struct param *p, const float *block, float *dst);
void param_import(const struct param *p, float *block, const float *src);

/* All parameters of groups lo..hi out of an array of p's layout as safetensors bytes, names
 * prefixed by `prefix` ("" or "exp_avg."). malloc'ed; same input, same bytes. */
int params_to_blob(const struct params *p, const float *block, uint32_t lo, uint32_t hi,
                   const char *prefix, unsigned char **out, size_t *n);
/* The reverse: every parameter of the groups must be there with the right shape and nothing
 * else under the prefix. ERR_CORRUPT with err_text(); the block is untouched on failure. */
int params_from_reader(const struct params *p, float *block, uint32_t lo, uint32_t hi,
                       const char *prefix, const struct st_reader *r);

#endif
