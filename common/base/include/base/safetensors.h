/* SPDX-License-Identifier: Apache-2.0 */
/* safetensors.h - named tensors in one buffer or file, the format PyTorch users load.
 *
 * 8-byte little-endian header length, JSON header, data. Files and blobs come from outside,
 * so the reader checks everything: sizes, overlaps, holes, duplicates, trailing bytes. */
#ifndef BASE_SAFETENSORS_H
#define BASE_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

enum st_dtype { ST_F32, ST_F64, ST_I64, ST_I32, ST_U8, ST_BOOL, ST_DTYPES };
enum { ST_RANK_MAX = 8 };

struct st_tensor {
    const char *name; /* lives as long as the reader, or the caller's for writers */
    enum st_dtype dtype;
    size_t rank, shape[ST_RANK_MAX];
    const void *data; /* little-endian, C order; unaligned in readers: use st_copy_* */
    size_t bytes;
};

struct st_reader; /* opaque */

/* Parse `n` bytes, which must outlive the reader (no copy). ERR_CORRUPT with err_text(),
 * ERR_NOMEM. */
int st_parse(struct st_reader **out, const void *buf, size_t n);
/* Read a whole file; the reader owns the bytes. ERR_NOTFOUND, ERR_IO, ERR_CORRUPT. */
int st_read_file(struct st_reader **out, const char *path);
void st_close(struct st_reader *r); /* NULL is a no-op */

size_t st_count(const struct st_reader *r);
const struct st_tensor *st_at(const struct st_reader *r, size_t i); /* in file order */
const struct st_tensor *st_find(const struct st_reader *r, const char *name); /* or NULL */
const char *st_meta(const struct st_reader *r, const char *key);              /* or NULL */

/* Aligned copies; ERR_INVAL (err_text names the tensor) unless dtype and count fit. */
int st_copy_f32(const struct st_tensor *t, float *dst, size_t count);

/* Serialise. Tensors are written by descending dtype size, then name; meta is nmeta pairs of
 * key, value. The same input gives the same bytes. *out is malloc'ed, the caller frees. */
int st_write_mem(unsigned char **out, size_t *n, const struct st_tensor *tensors, size_t count,
                 const char *const (*meta)[2], size_t nmeta);
/* Write to path + ".tmp", fdatasync, rename. ERR_IO with err_text(). */
int st_write_file(const char *path, const struct st_tensor *tensors, size_t count,
                  const char *const (*meta)[2], size_t nmeta);

#endif
