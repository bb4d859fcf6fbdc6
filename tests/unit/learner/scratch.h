/* SPDX-License-Identifier: Apache-2.0 */
/* scratch.h - a directory of one test's own, removed with everything in it. */
#ifndef TEST_LEARNER_SCRATCH_H
#define TEST_LEARNER_SCRATCH_H

#include <check.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SCRATCH_PATH = 256 };

static inline void scratch_make(char out[SCRATCH_PATH])
{
    const char *tmp = getenv("TMPDIR");
    snprintf(out, SCRATCH_PATH, "%.200s/mag-test-XXXXXX", tmp ? tmp : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(out));
}

static inline int scratch_unlink(const char *path, const struct stat *st, int type,
                                 struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static inline void scratch_remove(const char *dir)
{
    nftw(dir, scratch_unlink, 16, FTW_DEPTH | FTW_PHYS);
}

static inline unsigned char *scratch_read(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    ck_assert_msg(f != NULL, "cannot open %s", path);
    fseek(f, 0, SEEK_END);
    long size = ftell(f);
    rewind(f);
    unsigned char *bytes = malloc((size_t)size + 1);
    ck_assert_ptr_nonnull(bytes);
    ck_assert_uint_eq(fread(bytes, 1, (size_t)size, f), (size_t)size);
    fclose(f);
    bytes[size] = 0;
    *n = (size_t)size;
    return bytes;
}

static inline void scratch_write(const char *path, const void *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    ck_assert_msg(f != NULL, "cannot open %s", path);
    ck_assert_uint_eq(fwrite(bytes, 1, n, f), n);
    fclose(f);
}

#endif
