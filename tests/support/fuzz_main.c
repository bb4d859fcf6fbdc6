/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_main.c - runs a fuzz target over its corpus, without a fuzzer.
 *
 *   corpus_NAME DIR    every file of DIR, and for small ones every prefix and every single
 *                      byte inverted: the cheapest mutations find most careless readers.
 *
 * Each input is copied into a block of exactly its size, so that sanitizers see any read
 * beyond its end. Fails if the directory holds no file. */
#include "fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SMALL = 4096, LARGEST = 8 << 20 };

static void run(const unsigned char *bytes, size_t n, size_t inverted)
{
    unsigned char *exact = malloc(n ? n : 1);
    if (!exact)
        abort();
    if (n)
        memcpy(exact, bytes, n);
    if (inverted < n)
        exact[inverted] ^= 0xff;
    LLVMFuzzerTestOneInput(exact, n);
    free(exact);
}

static void run_all(const unsigned char *bytes, size_t n)
{
    run(bytes, n, n);
    if (n > SMALL)
        return;
    for (size_t i = 0; i < n; i++) {
        run(bytes, i, n);
        run(bytes, n, i);
    }
}

static int run_file(const char *dir, const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        return -1;
    }
    unsigned char *bytes = malloc(LARGEST);
    size_t n = bytes ? fread(bytes, 1, LARGEST, file) : 0;
    int bad = !bytes || ferror(file);
    fclose(file);
    if (!bad)
        run_all(bytes, n);
    free(bytes);
    return bad ? -1 : 0;
}

int main(int argc, char **argv)
{
    DIR *dir = argc == 2 ? opendir(argv[1]) : NULL;
    if (!dir) {
        fprintf(stderr, "usage: %s DIR (with the corpus)\n", argv[0]);
        return 2;
    }
    int files = 0, failed = 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (entry->d_name[0] == '.')
            continue;
        failed |= run_file(argv[1], entry->d_name);
        files++;
    }
    closedir(dir);
    printf("%d files\n", files);
    return files && !failed ? 0 : 1;
}
