/* SPDX-License-Identifier: Apache-2.0 */
/* wire_golden.c - write the golden bytes of every message into a directory. */
#include "wire_samples.h"

#include <stdio.h>

static int write_file(const char *dir, const struct wire_sample *s)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s.bin", dir, s->name);
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(s->body, 1, s->n, f) != s->n || fclose(f)) {
        perror(path);
        return 1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct wire_sample s[WIRE_SAMPLES_MAX];
    int failed = 0;
    if (argc != 2) {
        fprintf(stderr, "usage: wire_golden DIRECTORY\n");
        return 64;
    }
    size_t n = wire_samples(s);
    for (size_t i = 0; i < n; i++)
        failed |= write_file(argv[1], &s[i]);
    wire_samples_free(s, n);
    return failed;
}
