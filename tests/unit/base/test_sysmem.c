/* SPDX-License-Identifier: Apache-2.0 */
/* test_sysmem.c - free memory as the files of a made-up machine have it. */
#include "base/sysmem.h"

#include "suite.h"

#include <check.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MIB = 1 << 20 };

static char root[64];
static const char *const files[] = {
    "/proc/meminfo",
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory.current",
    "/sys/fs/cgroup/memory.stat",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    "/sys/fs/cgroup/memory/memory.usage_in_bytes",
    "/sys/fs/cgroup/memory/memory.stat",
};
static const char *const folders[] = {"/proc", "/sys", "/sys/fs", "/sys/fs/cgroup",
                                      "/sys/fs/cgroup/memory"};
enum { FILES = sizeof files / sizeof *files, FOLDERS = sizeof folders / sizeof *folders };

static const char *under(const char *path)
{
    static char name[PATH_MAX];
    snprintf(name, sizeof name, "%s%s", root, path);
    return name;
}

static void make_root(void)
{
    snprintf(root, sizeof root, "/tmp/test_sysmem.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(root));
    for (size_t i = 0; i < FOLDERS; i++)
        ck_assert_int_eq(mkdir(under(folders[i]), 0700), 0);
}

static void remove_root(void)
{
    for (size_t i = 0; i < FILES; i++)
        unlink(under(files[i]));
    for (size_t i = FOLDERS; i-- > 0;)
        rmdir(under(folders[i]));
    rmdir(root);
}

static void put(const char *path, const char *text)
{
    FILE *f = fopen(under(path), "w");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_ge(fputs(text, f), 0);
    ck_assert_int_eq(fclose(f), 0);
}

START_TEST(without_any_file_nothing_is_known)
{
    ck_assert(sysmem_available_under(root) == SIZE_MAX);
}
END_TEST

START_TEST(a_machine_without_limits_has_what_the_kernel_calls_available)
{
    put("/proc/meminfo", "MemTotal:  9000 kB\nMemFree:  1 kB\nMemAvailable:   2048 kB\n");
    put("/sys/fs/cgroup/memory.max", "max\n");
    put("/sys/fs/cgroup/memory.current", "123456\n");
    ck_assert(sysmem_available_under(root) == 2 * MIB);
}
END_TEST

START_TEST(a_container_has_what_its_limit_leaves_and_the_cache_it_can_drop)
{
    put("/proc/meminfo", "MemAvailable: 102400 kB\n");
    put("/sys/fs/cgroup/memory.max", "10485760\n");
    put("/sys/fs/cgroup/memory.current", "8388608\n");
    put("/sys/fs/cgroup/memory.stat", "anon 5242880\nfile 3145728\ninactive_file 1048576\n");
    ck_assert(sysmem_available_under(root) == 3 * MIB);
    put("/sys/fs/cgroup/memory.current", "99999999\n");
    ck_assert(sysmem_available_under(root) == 0);
}
END_TEST

START_TEST(cgroup_v1_has_its_own_names)
{
    put("/proc/meminfo", "MemAvailable: 102400 kB\n");
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "10485760\n");
    put("/sys/fs/cgroup/memory/memory.usage_in_bytes", "8388608\n");
    put("/sys/fs/cgroup/memory/memory.stat", "inactive_file 1\ntotal_inactive_file 1048576\n");
    ck_assert(sysmem_available_under(root) == 3 * MIB);
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"); /* no limit */
    ck_assert(sysmem_available_under(root) == 100 * MIB);
}
END_TEST

START_TEST(this_machine_says_something)
{
    const size_t have = sysmem_available();
    ck_assert(have > MIB && have < SIZE_MAX);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("sysmem");
    TCase *t = tcase_create("sysmem");
    tcase_add_checked_fixture(t, make_root, remove_root);
    tcase_add_test(t, without_any_file_nothing_is_known);
    tcase_add_test(t, a_machine_without_limits_has_what_the_kernel_calls_available);
    tcase_add_test(t, a_container_has_what_its_limit_leaves_and_the_cache_it_can_drop);
    tcase_add_test(t, cgroup_v1_has_its_own_names);
    tcase_add_test(t, this_machine_says_something);
    suite_add_tcase(s, t);
    return run_suite(s);
}
