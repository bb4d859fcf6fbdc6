/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_safetensors.c - whatever the reader accepts must lie inside the input, be found by
 * name, and survive being written and read again. */
#include "base/err.h"
#include "base/safetensors.h"
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

static void check_again(const struct st_reader *r, const struct st_tensor *copy)
{
    unsigned char *buf = NULL;
    size_t n = 0;
    struct st_reader *again = NULL;
    int err = st_write_mem(&buf, &n, copy, st_count(r), NULL, 0);
    bug_on(err);
    err = st_parse(&again, buf, n);
    bug_on(err);
    bug_on(st_count(again) != st_count(r));
    for (size_t i = 0; i < st_count(r); i++) {
        const struct st_tensor *t = st_find(again, copy[i].name);
        bug_on(!t || t->bytes != copy[i].bytes || t->rank != copy[i].rank);
        bug_on(t->bytes && memcmp(t->data, copy[i].data, t->bytes) != 0);
    }
    st_close(again);
    free(buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct st_reader *r = NULL;
    if (st_parse(&r, data, size))
        return 0;
    struct st_tensor *copy = calloc(st_count(r) + 1, sizeof *copy);
    if (!copy)
        abort();
    unsigned sum = 0;
    for (size_t i = 0; i < st_count(r); i++) {
        copy[i] = *st_at(r, i);
        const unsigned char *bytes = copy[i].data;
        bug_on(bytes < data || copy[i].bytes > (size_t)(data + size - bytes));
        bug_on(st_find(r, copy[i].name) != st_at(r, i));
        for (size_t k = 0; k < copy[i].bytes; k++)
            sum += bytes[k];
    }
    volatile unsigned keep = sum; /* the reads are the test */
    (void)keep;
    st_meta(r, "format");
    check_again(r, copy);
    free(copy);
    st_close(r);
    return 0;
}
