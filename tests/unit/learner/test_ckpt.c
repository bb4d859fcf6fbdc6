/* SPDX-License-Identifier: Apache-2.0 */
/* test_ckpt.c - a checkpoint is complete or absent, exact, and its hash means its content. */
#include "base/err.h"
#include "base/log.h"
#include "learner/ckpt.h"
#include "scratch.h"
#include "suite.h"

#include <check.h>
#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

static char dir[SCRATCH_PATH];
static struct arena arena;
static struct params params;
static float *m, *v;
static struct ckpt_state state;
static struct digest config;

/* A few parameters of odd sizes in two groups; values that only exact storage keeps. */
static void set_up(void)
{
    scratch_make(dir);
    ck_assert_int_eq(arena_init(&arena, 1 << 20), 0);
    ck_assert_int_eq(params_init(&params, &arena, 8), 0);
    params_add(&params, "model.encoder.0.weight", PARAM_LINEAR, MAG_FILTER, 5, 3);
    params_add(&params, "model.encoder.0.bias", PARAM_VECTOR, MAG_FILTER, 5, 1);
    params_add(&params, "actor.0.weight", PARAM_LINEAR, MAG_POLICY, 33, 2);
    params_add(&params, "critic.input.bias", PARAM_VECTOR, MAG_CRITIC, 7, 1);
    ck_assert_int_eq(params_carve(&params, &arena), 0);
    m = ARENA_ZNEW(&arena, float, params.count);
    v = ARENA_ZNEW(&arena, float, params.count);
    for (size_t i = 0; i < params.n; i++) {
        float real[128];
        for (int which = 0; which < 3; which++) {
            for (size_t k = 0; k < params.table[i].out * params.table[i].in; k++)
                real[k] = (float)(1 + which) / (float)(3 + k + 17 * i);
            param_import(&params.table[i],
                         which == 0   ? params.value
                         : which == 1 ? m
                                      : v,
                         real);
        }
    }
    digest_of(&config, "settings", 8);
    state = (struct ckpt_state){.iteration = 12,
                                .phase = PHASE_RM,
                                .step = 40,
                                .next_episode = 96,
                                .phase_first_episode = 88,
                                .env_steps = 123456,
                                .updates = 777,
                                .set_id = 31,
                                .eval_round = 2,
                                .elapsed_s = 0.1,
                                .entropy_weight = 1.0 / 3,
                                .skipped = 10,
                                .best_iteration = 9,
                                .best_wins = 77,
                                .skipped_by = {1, 2, 3, 4}};
    for (size_t i = 0; i < MAG_OPTS; i++)
        state.opt[i] = (struct mag_opt_state){100 + i, 0.9 / (double)(i + 1), 1e-300};
    for (size_t g = 0; g < MAG_GROUPS; g++)
        state.version[g] = g + 5;
    state.done = (struct ckpt_done){60, 59, 4, 120, 119, 43200};
}

static void tear_down(void)
{
    arena_fini(&arena);
    scratch_remove(dir);
}

static int write_keeping(size_t keep)
{
    struct ckpt_view view = {&params, params.value, m,       v,        &state,
                             &config, "ref",        "chain", "Generic"};
    return ckpt_write(dir, &view, keep);
}

static void write_cut(uint64_t iteration, enum train_phase phase, uint64_t step)
{
    state.iteration = iteration;
    state.phase = phase;
    state.step = step;
    ck_assert_int_eq(write_keeping(10), 0);
}

static void find(char path[4096])
{
    ck_assert_int_eq(ckpt_find(dir, path, 4096), 0);
}

static struct digest hash_now(void)
{
    char path[4096];
    struct digest d;
    find(path);
    ck_assert_int_eq(ckpt_hash(path, &d), 0);
    return d;
}

static size_t count_entries(const char *prefix)
{
    char path[SCRATCH_PATH + 8];
    snprintf(path, sizeof path, "%s/ckpt", dir);
    size_t n = 0;
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));)
        n += !strncmp(e->d_name, prefix, strlen(prefix));
    if (d)
        closedir(d);
    return n;
}

/* ------------------------------------------------------------------------------- the best */

static const char *best_found(void)
{
    static char path[4096];
    ck_assert_int_eq(ckpt_find_best(dir, path, sizeof path), 0);
    return strrchr(path, '/') + 1;
}

static void evaluated_best(uint64_t iteration)
{
    state.best_iteration = iteration;
    state.best_wins = iteration;
}

START_TEST(the_best_checkpoint_outlives_newer_ones_until_a_better_one_comes)
{
    char link[64] = {0}, path[SCRATCH_PATH + 16];
    evaluated_best(0);
    for (uint64_t i = 1; i <= 8; i++) {
        state.iteration = i;
        state.phase = PHASE_COLLECT;
        state.step = 0;
        if (i == 3 || i == 7)
            evaluated_best(i);
        ck_assert_int_eq(write_keeping(2), 0);
        if (i == 6) {
            ck_assert_str_eq(best_found(), "000003.0.000000");
            ck_assert_uint_eq(count_entries("0000"), 3);
        }
    }
    ck_assert_str_eq(best_found(), "000007.0.000000");
    ck_assert_uint_eq(count_entries("0000"), 2); /* the one that was best is gone */
    snprintf(path, sizeof path, "%s/ckpt/best", dir);
    ck_assert_int_gt(readlink(path, link, sizeof link - 1), 0);
    ck_assert_str_eq(link, "000007.0.000000");
}
END_TEST

START_TEST(a_cut_written_again_says_what_is_known_now)
{
    char path[4096];
    struct ckpt_state back;
    evaluated_best(3);
    write_cut(3, PHASE_COLLECT, 0);
    write_cut(5, PHASE_COLLECT, 0); /* a checkpoint that was due, then its evaluation */
    evaluated_best(5);
    write_cut(5, PHASE_COLLECT, 0);
    find(path);
    ck_assert_int_eq(ckpt_read_state(path, &back, NULL), 0);
    ck_assert_uint_eq(back.best_iteration, 5);
    ck_assert_str_eq(best_found(), "000005.0.000000");
    ck_assert_uint_eq(count_entries(".tmp-"), 0);
}
END_TEST

START_TEST(without_a_best_or_with_a_damaged_one_the_newest_is_taken)
{
    char path[SCRATCH_PATH + 64];
    evaluated_best(0);
    write_cut(3, PHASE_COLLECT, 0);
    write_cut(4, PHASE_COLLECT, 0);
    ck_assert_str_eq(best_found(), "000004.0.000000");
    evaluated_best(3);
    write_cut(5, PHASE_COLLECT, 0);
    ck_assert_str_eq(best_found(), "000003.0.000000");
    snprintf(path, sizeof path, "%s/ckpt/000003.0.000000/state.json", dir);
    ck_assert_int_eq(truncate(path, 10), 0);
    ck_assert_str_eq(best_found(), "000005.0.000000");
}
END_TEST

/* ------------------------------------------------------------------------------- round trip */

START_TEST(tensors_moments_and_state_come_back_exactly)
{
    char path[4096];
    struct ckpt_state back;
    struct digest back_config;
    float *got[3];
    ck_assert_int_eq(write_keeping(3), 0);
    find(path);
    ck_assert_int_eq(ckpt_read_state(path, &back, &back_config), 0);
    ck_assert_mem_eq(&back_config, &config, sizeof config);
    ck_assert_uint_eq(back.iteration, 12);
    ck_assert_int_eq(back.phase, PHASE_RM);
    ck_assert_uint_eq(back.step, 40);
    ck_assert_uint_eq(back.next_episode, 96);
    ck_assert_uint_eq(back.phase_first_episode, 88);
    ck_assert_uint_eq(back.env_steps, 123456);
    ck_assert_uint_eq(back.updates, 777);
    ck_assert_uint_eq(back.set_id, 31);
    ck_assert_uint_eq(back.eval_round, 2);
    ck_assert_uint_eq(back.best_iteration, 9);
    ck_assert_uint_eq(back.best_wins, 77);
    ck_assert_uint_eq(back.skipped, 10);
    ck_assert_mem_eq(back.skipped_by, state.skipped_by, sizeof state.skipped_by);
    ck_assert(back.elapsed_s == 0.1 && back.entropy_weight == 1.0 / 3);
    ck_assert_mem_eq(back.version, state.version, sizeof state.version);
    ck_assert_mem_eq(&back.done, &state.done, sizeof state.done);
    for (size_t i = 0; i < MAG_OPTS; i++) {
        ck_assert_uint_eq(back.opt[i].steps, state.opt[i].steps);
        ck_assert(back.opt[i].beta1_t == state.opt[i].beta1_t);
        ck_assert(back.opt[i].beta2_t == state.opt[i].beta2_t);
    }
    for (int i = 0; i < 3; i++)
        got[i] = ARENA_ZNEW(&arena, float, params.count);
    ck_assert_int_eq(ckpt_load(path, &params, got[0], got[1], got[2]), 0);
    ck_assert_mem_eq(got[0], params.value, params.count * sizeof(float));
    ck_assert_mem_eq(got[1], m, params.count * sizeof(float));
    ck_assert_mem_eq(got[2], v, params.count * sizeof(float));
    ck_assert_int_eq(ckpt_load(path, &params, got[0], NULL, NULL), 0);
}
END_TEST

START_TEST(a_model_of_another_shape_is_refused)
{
    char path[4096];
    struct params other;
    ck_assert_int_eq(write_keeping(3), 0);
    find(path);
    ck_assert_int_eq(params_init(&other, &arena, 8), 0);
    params_add(&other, "model.encoder.0.weight", PARAM_LINEAR, MAG_FILTER, 5, 4);
    ck_assert_int_eq(params_carve(&other, &arena), 0);
    ck_assert_int_eq(ckpt_load(path, &other, other.value, NULL, NULL), ERR_CORRUPT);
}
END_TEST

START_TEST(a_checkpoint_directory_and_its_link_are_found_like_a_run)
{
    char path[4096], one[4096], link[SCRATCH_PATH + 16];
    ck_assert_int_eq(ckpt_find(dir, path, sizeof path), ERR_NOTFOUND);
    ck_assert_ptr_nonnull(strstr(err_text(), dir));
    write_cut(1, PHASE_COLLECT, 0);
    find(path);
    ck_assert_int_eq(ckpt_find(path, one, sizeof one), 0);
    ck_assert_str_eq(one, path);
    snprintf(link, sizeof link, "%s/ckpt/latest", dir);
    ck_assert_int_eq(ckpt_find(link, one, sizeof one), 0);
    write_cut(2, PHASE_COLLECT, 0);
    struct ckpt_state s;
    ck_assert_int_eq(ckpt_read_state(link, &s, NULL), 0);
    ck_assert_uint_eq(s.iteration, 2);
}
END_TEST

START_TEST(newest_means_iteration_then_phase_then_step_as_numbers)
{
    char path[4096];
    write_cut(999999, PHASE_POLICY, 5);
    write_cut(1000000, PHASE_MODEL, 9);
    find(path);
    ck_assert_ptr_nonnull(strstr(path, "/1000000.1."));
    write_cut(1000000, PHASE_MODEL, 10);
    find(path);
    ck_assert_ptr_nonnull(strstr(path, ".000010"));
    write_cut(1000000, PHASE_RM, 0);
    find(path);
    ck_assert_ptr_nonnull(strstr(path, ".2.000000"));
}
END_TEST

START_TEST(only_the_newest_are_kept)
{
    char path[4096];
    for (uint64_t i = 1; i <= 6; i++) {
        state.iteration = i;
        ck_assert_int_eq(write_keeping(2), 0);
    }
    ck_assert_uint_eq(count_entries("00"), 2);
    find(path);
    ck_assert_ptr_nonnull(strstr(path, "/000006."));
    state.iteration = 7;
    ck_assert_int_eq(write_keeping(0), 0); /* at least the one just written */
    ck_assert_uint_eq(count_entries("00"), 1);
}
END_TEST

START_TEST(writing_one_cut_twice_leaves_one)
{
    ck_assert_int_eq(write_keeping(3), 0);
    struct digest a = hash_now();
    ck_assert_int_eq(write_keeping(3), 0);
    struct digest b = hash_now();
    ck_assert_mem_eq(&a, &b, sizeof a);
    ck_assert_uint_eq(count_entries("00"), 1);
    ck_assert_uint_eq(count_entries(".tmp"), 0);
}
END_TEST

/* ----------------------------------------------------------------------------------- damage */

static const char *const files[] = {"model.safetensors", "optim.safetensors", "state.json",
                                    "MANIFEST.json"};

/* What ckpt_find says while `bytes` replaces the file's content. */
static void expect_fallback(const char *newest, const char *older, const char *file,
                            const unsigned char *bytes, size_t n, size_t at)
{
    char path[4200], found[4096];
    snprintf(path, sizeof path, "%s/%s", newest, file);
    scratch_write(path, bytes, n);
    ck_assert_int_eq(ckpt_find(dir, found, sizeof found), 0);
    ck_assert_msg(!strcmp(found, older), "%s damaged at %zu goes unnoticed", file, at);
}

START_TEST(any_damaged_byte_of_any_file_leads_to_the_checkpoint_before)
{
    char newest[4096], older[4096], path[4200];
    log_init("test", "", LOG_ERROR, LOG_JSON); /* thousands of warnings otherwise */
    write_cut(1, PHASE_COLLECT, 0);
    find(older);
    write_cut(2, PHASE_COLLECT, 0);
    find(newest);
    for (size_t f = 0; f < 4; f++) {
        size_t n = 0;
        snprintf(path, sizeof path, "%s/%s", newest, files[f]);
        unsigned char *bytes = scratch_read(path, &n), *whole = malloc(n + 1);
        memcpy(whole, bytes, n + 1);
        for (size_t i = 0; i < n; i++) {
            /* The manifest guards the others; in itself only what it says counts. */
            if (f == 3 && strchr(" \n", bytes[i]))
                continue;
            bytes[i] ^= 0x11;
            expect_fallback(newest, older, files[f], bytes, n, i);
            bytes[i] ^= 0x11;
        }
        expect_fallback(newest, older, files[f], bytes, n - 1, n); /* torn */
        bytes[n] = '}';
        expect_fallback(newest, older, files[f], bytes, n + 1, n); /* too long */
        unlink(path);
        ck_assert_int_eq(ckpt_find(dir, path, sizeof path), 0);
        ck_assert_str_eq(path, older);
        snprintf(path, sizeof path, "%s/%s", newest, files[f]);
        scratch_write(path, whole, n);
        free(bytes);
        free(whole);
    }
    find(path);
    ck_assert_str_eq(path, newest);
}
END_TEST

START_TEST(a_step_back_is_said_aloud)
{
    char path[4096], out[SCRATCH_PATH + 8];
    write_cut(1, PHASE_COLLECT, 0);
    write_cut(2, PHASE_COLLECT, 0);
    find(path);
    strcat(path, "/state.json");
    scratch_write(path, "{}", 2);
    snprintf(out, sizeof out, "%s/log", dir);
    fflush(stderr);
    int saved = dup(2);
    ck_assert_ptr_nonnull(freopen(out, "w", stderr));
    log_init("test", "", LOG_WARN, LOG_JSON);
    find(path);
    fflush(stderr);
    dup2(saved, 2);
    close(saved);
    size_t n = 0;
    char *text = (char *)scratch_read(out, &n);
    ck_assert_ptr_nonnull(strstr(text, "checkpoint damaged"));
    ck_assert_ptr_nonnull(strstr(text, "state.json"));
    free(text);
}
END_TEST

START_TEST(a_named_checkpoint_that_is_damaged_is_refused)
{
    char path[4096], one[4096], file[4200];
    write_cut(1, PHASE_COLLECT, 0);
    find(path);
    snprintf(file, sizeof file, "%s/optim.safetensors", path);
    scratch_write(file, "x", 1);
    ck_assert_int_eq(ckpt_find(path, one, sizeof one), ERR_CORRUPT);
    ck_assert_ptr_nonnull(strstr(err_text(), "optim.safetensors"));
}
END_TEST

/* ERR_NOTFOUND starts a run anew, over what the damaged ones might still give back. */
START_TEST(a_run_whose_checkpoints_are_all_damaged_is_not_taken_for_a_new_one)
{
    char path[4096], one[4096], file[4200];
    for (uint64_t iteration = 1; iteration <= 2; iteration++) {
        write_cut(iteration, PHASE_COLLECT, 0);
        find(path);
        snprintf(file, sizeof file, "%s/optim.safetensors", path);
        scratch_write(file, "x", 1);
    }
    ck_assert_int_eq(ckpt_find(dir, one, sizeof one), ERR_CORRUPT);
    ck_assert_ptr_nonnull(strstr(err_text(), "000002"));
    ck_assert_ptr_nonnull(strstr(err_text(), "to start over"));
}
END_TEST

START_TEST(a_folder_of_checkpoints_that_cannot_be_read_is_not_an_empty_one)
{
    char path[SCRATCH_PATH + 8], one[4096];
    snprintf(path, sizeof path, "%s/ckpt", dir);
    scratch_write(path, "x", 1);
    ck_assert_int_eq(ckpt_find(dir, one, sizeof one), ERR_IO);
    ck_assert_ptr_nonnull(strstr(err_text(), path));
}
END_TEST

/* On a full disk what a failed attempt leaves is what the next one lacks. */
START_TEST(a_failed_checkpoint_leaves_nothing_behind_and_clears_what_a_dead_writer_left)
{
    char path[SCRATCH_PATH + 64], found[4096];
    struct rlimit whole, tight;
    write_cut(1, PHASE_COLLECT, 0);
    snprintf(path, sizeof path, "%s/ckpt/.tmp-000002.0.000000-1", dir);
    ck_assert_int_eq(mkdir(path, 0755), 0);
    snprintf(path, sizeof path, "%s/ckpt/.tmp-000002.0.000000-1/model.safetensors", dir);
    scratch_write(path, "half", 4);
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &whole);
    tight = whole;
    tight.rlim_cur = 64; /* bytes: no file of a checkpoint is so small */
    setrlimit(RLIMIT_FSIZE, &tight);
    state.iteration = 2;
    int err = write_keeping(10);
    setrlimit(RLIMIT_FSIZE, &whole);
    signal(SIGXFSZ, SIG_DFL);
    ck_assert_int_eq(err, ERR_IO);
    ck_assert_uint_eq(count_entries(".tmp-"), 0);
    find(found);
    ck_assert_ptr_nonnull(strstr(found, "000001"));
}
END_TEST

START_TEST(a_damaged_checkpoint_of_the_same_cut_is_replaced)
{
    char path[4096], file[4200];
    write_cut(3, PHASE_COLLECT, 0);
    struct digest before = hash_now();
    find(path);
    snprintf(file, sizeof file, "%s/model.safetensors", path);
    scratch_write(file, "x", 1);
    write_cut(3, PHASE_COLLECT, 0);
    struct digest after = hash_now();
    ck_assert_mem_eq(&before, &after, sizeof before);
}
END_TEST

START_TEST(a_damaged_later_checkpoint_never_pushes_out_the_one_just_written)
{
    char path[4096], file[4200];
    write_cut(5, PHASE_COLLECT, 0);
    find(path);
    snprintf(file, sizeof file, "%s/state.json", path);
    scratch_write(file, "x", 1);
    state.iteration = 4; /* resumed from before it */
    state.phase = PHASE_MODEL;
    ck_assert_int_eq(write_keeping(1), 0);
    find(path);
    ck_assert_ptr_nonnull(strstr(path, "/000004.1."));
    ck_assert_uint_eq(count_entries("00"), 1);
}
END_TEST

/* ------------------------------------------------------------------------------------ kills */

/* Write iteration 9 in a process that dies at a fault point. */
static void write_and_die(const char *fault)
{
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        setenv("MAG_FAULT", fault, 1);
        state.iteration = 9;
        write_keeping(2);
        _exit(0);
    }
    int status = 0;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "%s was not reached",
                  fault);
}

static void expect_iteration(uint64_t iteration)
{
    char path[4096];
    struct ckpt_state s;
    find(path);
    ck_assert_int_eq(ckpt_read_state(path, &s, NULL), 0);
    ck_assert_uint_eq(s.iteration, iteration);
}

/* Fault points read their request once per process: every write is in a child of its own. */
static void write_in_child(uint64_t iteration)
{
    pid_t pid = fork();
    if (pid == 0) {
        state.iteration = iteration;
        _exit(write_keeping(2) ? 1 : 0);
    }
    int status = 0;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
}

START_TEST(a_kill_at_any_point_leaves_the_old_or_the_new_one_whole)
{
    static const struct {
        const char *fault;
        uint64_t then;
    } point[] = {{"ckpt.file:1", 8},
                 {"ckpt.file:2", 8},
                 {"ckpt.file:3", 8},
                 {"ckpt.rename.before:1", 8},
                 {"ckpt.rename.after:1", 9}};
    for (size_t i = 0; i < sizeof point / sizeof *point; i++) {
        write_in_child(8);
        write_and_die(point[i].fault);
        expect_iteration(point[i].then);
        ck_assert_uint_eq(count_entries(".tmp"), point[i].then == 8);
        write_in_child(9); /* a new process goes on and cleans up */
        expect_iteration(9);
        ck_assert_uint_eq(count_entries(".tmp"), 0);
        scratch_remove(dir);
        ck_assert_int_eq(mkdir(dir, 0755), 0);
    }
}
END_TEST

/* ------------------------------------------------------------------------------------- hash */

/* The hash of a run directory of its own, so that two hashes never share a path. */
static struct digest hash_elsewhere(void)
{
    char keep[SCRATCH_PATH];
    memcpy(keep, dir, sizeof keep);
    scratch_make(dir);
    ck_assert_int_eq(write_keeping(1), 0);
    struct digest d = hash_now();
    scratch_remove(dir);
    memcpy(dir, keep, sizeof keep);
    return d;
}

START_TEST(the_hash_ignores_paths_times_sets_and_settings)
{
    struct digest a = hash_elsewhere();
    state.set_id = 99;
    state.elapsed_s = 1e6;
    state.version[0] = 77;
    state.updates = 5;
    state.done.rows = 3;
    state.eval_round = 8;
    digest_of(&config, "other", 5);
    struct digest b = hash_elsewhere();
    ck_assert_mem_eq(&a, &b, sizeof a);
}
END_TEST

START_TEST(the_hash_notices_every_part_it_covers)
{
    struct digest base = hash_elsewhere();
    float *block[] = {params.value, m, v};
    for (int k = 0; k < 3; k++)
        for (size_t i = 0; i < params.n; i++) {
            float *x = &block[k][params.table[i].offset], old = *x;
            *x += 1;
            struct digest d = hash_elsewhere();
            ck_assert_mem_ne(&d, &base, sizeof d);
            *x = old;
        }
    uint64_t *counter[] = {&state.iteration,    &state.next_episode, &state.env_steps,
                           &state.opt[0].steps, &state.opt[1].steps, &state.opt[2].steps,
                           &state.opt[3].steps};
    for (size_t i = 0; i < sizeof counter / sizeof *counter; i++) {
        ++*counter[i];
        struct digest d = hash_elsewhere();
        ck_assert_msg(memcmp(&d, &base, sizeof d) != 0, "counter %zu", i);
        --*counter[i];
    }
    double old = state.entropy_weight;
    state.entropy_weight *= 0.5;
    struct digest d = hash_elsewhere();
    ck_assert_mem_ne(&d, &base, sizeof d);
    state.entropy_weight = old;
    d = hash_elsewhere();
    ck_assert_mem_eq(&d, &base, sizeof d);
}
END_TEST

START_TEST(swapping_two_tensors_changes_the_hash)
{
    struct digest base = hash_elsewhere();
    float *t = m;
    m = v;
    v = t;
    struct digest d = hash_elsewhere();
    ck_assert_mem_ne(&d, &base, sizeof d);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ckpt");
    TCase *t = tcase_create("ckpt");
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_set_timeout(t, 200);
    tcase_add_test(t, the_best_checkpoint_outlives_newer_ones_until_a_better_one_comes);
    tcase_add_test(t, a_cut_written_again_says_what_is_known_now);
    tcase_add_test(t, without_a_best_or_with_a_damaged_one_the_newest_is_taken);
    tcase_add_test(t, tensors_moments_and_state_come_back_exactly);
    tcase_add_test(t, a_model_of_another_shape_is_refused);
    tcase_add_test(t, a_checkpoint_directory_and_its_link_are_found_like_a_run);
    tcase_add_test(t, newest_means_iteration_then_phase_then_step_as_numbers);
    tcase_add_test(t, only_the_newest_are_kept);
    tcase_add_test(t, writing_one_cut_twice_leaves_one);
    tcase_add_test(t, any_damaged_byte_of_any_file_leads_to_the_checkpoint_before);
    tcase_add_test(t, a_step_back_is_said_aloud);
    tcase_add_test(t, a_named_checkpoint_that_is_damaged_is_refused);
    tcase_add_test(t, a_run_whose_checkpoints_are_all_damaged_is_not_taken_for_a_new_one);
    tcase_add_test(t, a_folder_of_checkpoints_that_cannot_be_read_is_not_an_empty_one);
    tcase_add_test(
        t, a_failed_checkpoint_leaves_nothing_behind_and_clears_what_a_dead_writer_left);
    tcase_add_test(t, a_damaged_checkpoint_of_the_same_cut_is_replaced);
    tcase_add_test(t, a_damaged_later_checkpoint_never_pushes_out_the_one_just_written);
    tcase_add_test(t, a_kill_at_any_point_leaves_the_old_or_the_new_one_whole);
    tcase_add_test(t, the_hash_ignores_paths_times_sets_and_settings);
    tcase_add_test(t, the_hash_notices_every_part_it_covers);
    tcase_add_test(t, swapping_two_tensors_changes_the_hash);
    suite_add_tcase(suite, t);
    return run_suite(suite);
}
