/* SPDX-License-Identifier: Apache-2.0 */
#include "base/sysmem.h"

#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* The number behind `key` ("" = the file's first word), in bytes of `unit`. `none` where there is
 * none: no file, or a limit that says "max". */
static size_t number(const char *root, const char *path, const char *key, size_t unit,
                     size_t none)
{
    char name[PATH_MAX], line[256];
    const size_t n = strlen(key);
    size_t out = none;
    unsigned long long v;
    snprintf(name, sizeof name, "%s%s", root, path);
    FILE *f = fopen(name, "r");
    while (f && fgets(line, sizeof line, f))
        if (!strncmp(line, key, n) && sscanf(line + n, "%llu", &v) == 1) {
            out = v > SIZE_MAX / unit ? SIZE_MAX : (size_t)v * unit;
            break;
        }
    if (f)
        fclose(f);
    return out;
}

/* What a limit leaves. Pages of files that nobody has touched lately count as used, and are given
 * back before anybody is killed: a run that has written a gigabyte has not lost it. */
static size_t left(size_t limit, size_t used, size_t cache)
{
    const size_t held = used > cache ? used - cache : 0;
    return limit > held ? limit - held : 0;
}

static size_t container(const char *root)
{
    const size_t v2 = number(root, "/sys/fs/cgroup/memory.max", "", 1, SIZE_MAX);
    if (v2 != SIZE_MAX)
        return left(v2, number(root, "/sys/fs/cgroup/memory.current", "", 1, 0),
                    number(root, "/sys/fs/cgroup/memory.stat", "inactive_file ", 1, 0));
    const size_t v1 =
        number(root, "/sys/fs/cgroup/memory/memory.limit_in_bytes", "", 1, SIZE_MAX);
    if (v1 == SIZE_MAX)
        return SIZE_MAX;
    return left(
        v1, number(root, "/sys/fs/cgroup/memory/memory.usage_in_bytes", "", 1, 0),
        number(root, "/sys/fs/cgroup/memory/memory.stat", "total_inactive_file ", 1, 0));
}

size_t sysmem_available_under(const char *root)
{
    const size_t machine = number(root, "/proc/meminfo", "MemAvailable:", 1024, SIZE_MAX);
    const size_t here = container(root);
    return machine < here ? machine : here;
}

size_t sysmem_available(void)
{
    return sysmem_available_under("");
}
