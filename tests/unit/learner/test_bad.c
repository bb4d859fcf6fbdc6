/* SPDX-License-Identifier: Apache-2.0 */
/* test_bad.c - refused batches are kept whole, named by what they are, and not too many. */
#include "bad.h"
#include "scratch.h"
#include "suite.h"

#include "base/safetensors.h"

#include <dirent.h>
#include <math.h>

enum { W = 4, B = 3, S = 5, STEPS = 2, ROWS = S * STEPS, BITS = 1 };

static const struct mag_dims dims = {
    .N = 2, .O = 3, .A = 7, .D = 4, .C = 2, .K = 3, .heads = 1, .layers = 1};
static char dir[SCRATCH_PATH], name[96];
static float obs[W * B * 2 * 3], reward[W * B * 2];
static uint8_t action[W * B * 2], avail[W * B * 2 * 7], flag[3][W * B];
static const struct mag_windows windows = {W,      B,       obs,     action, avail,
                                           reward, flag[0], flag[1], flag[2]};
static uint8_t index_[ROWS * 2 * 2], taken[ROWS * 2], bits[ROWS * 2 * BITS];
static float h[ROWS * 2 * 4], logp[ROWS * 2], value[ROWS * 2], ret[ROWS * 2];
static const struct mag_rows rows = {S, STEPS, index_, h, taken, bits, logp, value, ret};

static void set_up(void)
{
    scratch_make(dir);
    for (size_t i = 0; i < sizeof obs / sizeof *obs; i++)
        obs[i] = (float)i / 8;
    for (size_t i = 0; i < W * B * 2; i++) {
        reward[i] = (float)i;
        action[i] = (uint8_t)(i % 7);
    }
    reward[5] = NAN;
    for (size_t f = 0; f < 3; f++)
        for (size_t i = 0; i < W * B; i++)
            flag[f][i] = i % (f + 2) == 0;
    for (size_t r = 0; r < ROWS; r++) { /* every field names its joint row */
        for (size_t i = 0; i < 8; i++)
            h[r * 8 + i] = (float)r + (float)i / 8;
        for (size_t i = 0; i < 2; i++) {
            logp[r * 2 + i] = -(float)r;
            value[r * 2 + i] = 100 + (float)r;
            ret[r * 2 + i] = 200 + (float)r;
            taken[r * 2 + i] = bits[r * 2 + i] = (uint8_t)r;
        }
        memset(index_ + r * 4, (int)r, 4);
    }
}

static void tear_down(void)
{
    scratch_remove(dir);
}

static struct bad_step refused(enum mag_opt opt, uint64_t iteration, uint64_t step)
{
    return (struct bad_step){.opt = opt,
                             .iteration = iteration,
                             .step = step,
                             .minibatch = 4,
                             .loss = NAN,
                             .grad_norm = 2.5};
}

static void keep(enum mag_opt opt, uint64_t iteration, uint64_t step)
{
    struct bad_step s = refused(opt, iteration, step);
    ck_assert_int_eq(bad_keep_windows(dir, &s, &dims, &windows, name, sizeof name), 0);
}

static size_t files(void)
{
    char path[SCRATCH_PATH + 8];
    size_t n = 0;
    snprintf(path, sizeof path, "%s/bad", dir);
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));)
        n += e->d_name[0] != '.';
    if (d)
        closedir(d);
    return n;
}

static struct st_reader *open_kept(void)
{
    char path[SCRATCH_PATH + 100];
    struct st_reader *r = NULL;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    ck_assert_int_eq(st_read_file(&r, path), 0);
    return r;
}

static void holds(const struct st_reader *r, const char *what, size_t rank, const size_t *shape,
                  const void *data)
{
    const struct st_tensor *t = st_find(r, what);
    ck_assert_msg(t != NULL, "no tensor %s", what);
    ck_assert_uint_eq(t->rank, rank);
    for (size_t i = 0; i < rank; i++)
        ck_assert_msg(t->shape[i] == shape[i], "%s: dimension %zu is %zu", what, i,
                      t->shape[i]);
    ck_assert_mem_eq(t->data, data, t->bytes);
}

START_TEST(windows_come_back_as_they_were_with_their_reason)
{
    keep(OPT_RM, 12, 3);
    ck_assert_str_eq(name, "bad/rm-000012-000003.safetensors");
    struct st_reader *r = open_kept();
    ck_assert_uint_eq(st_count(r), 7);
    holds(r, "obs", 4, (size_t[]){W, B, 2, 3}, obs);
    holds(r, "avail", 4, (size_t[]){W, B, 2, 7}, avail);
    holds(r, "action", 3, (size_t[]){W, B, 2}, action);
    holds(r, "reward", 3, (size_t[]){W, B, 2}, reward); /* its NaN, too */
    holds(r, "done", 2, (size_t[]){W, B}, flag[0]);
    holds(r, "fake", 2, (size_t[]){W, B}, flag[1]);
    holds(r, "last", 2, (size_t[]){W, B}, flag[2]);
    ck_assert_str_eq(st_meta(r, "group"), "rm");
    ck_assert_str_eq(st_meta(r, "iteration"), "12");
    ck_assert_str_eq(st_meta(r, "step"), "3");
    ck_assert_str_eq(st_meta(r, "loss"), "nan");
    ck_assert_str_eq(st_meta(r, "grad_norm"), "2.5");
    st_close(r);
}
END_TEST

START_TEST(of_an_imagined_batch_the_minibatchs_rows_are_kept_in_its_order)
{
    static const uint32_t order[] = {7, 0, 3};
    struct bad_step s = refused(OPT_CRITIC, 2, 1);
    ck_assert_int_eq(bad_keep_rows(dir, &s, &dims, &rows, order, 3, name, sizeof name), 0);
    ck_assert_str_eq(name, "bad/critic-000002-000001.safetensors");
    struct st_reader *r = open_kept();
    ck_assert_str_eq(st_meta(r, "minibatch"), "4");
    holds(r, "row", 1, (size_t[]){3}, order);
    holds(r, "h", 3, (size_t[]){3, 2, 4}, st_find(r, "h")->data);
    for (size_t i = 0; i < 3; i++) {
        float got[3 * 8];
        const uint8_t no = (uint8_t)order[i];
        ck_assert_int_eq(st_copy_f32(st_find(r, "h"), got, 24), 0);
        ck_assert_mem_eq(got + i * 8, h + order[i] * 8, 8 * sizeof(float));
        ck_assert_int_eq(st_copy_f32(st_find(r, "return"), got, 6), 0);
        ck_assert_float_eq(got[i * 2 + 1], 200 + (float)order[i]);
        ck_assert_int_eq(st_copy_f32(st_find(r, "value"), got, 6), 0);
        ck_assert_float_eq(got[i * 2], 100 + (float)order[i]);
        ck_assert_int_eq(st_copy_f32(st_find(r, "logp"), got, 6), 0);
        ck_assert_float_eq(got[i * 2], -(float)order[i]);
        ck_assert_uint_eq(((const uint8_t *)st_find(r, "action")->data)[i * 2 + 1], no);
        ck_assert_uint_eq(((const uint8_t *)st_find(r, "avail")->data)[i * 2], no);
        ck_assert_uint_eq(((const uint8_t *)st_find(r, "index")->data)[i * 4 + 3], no);
    }
    st_close(r);
}
END_TEST

START_TEST(only_the_first_of_a_group_are_kept_and_groups_do_not_share)
{
    for (uint64_t i = 0; i < BAD_MAX; i++) {
        keep(OPT_MODEL, 1, i);
        ck_assert_str_ne(name, "");
    }
    keep(OPT_MODEL, 1, BAD_MAX);
    ck_assert_str_eq(name, "");
    ck_assert_uint_eq(files(), BAD_MAX);
    keep(OPT_RM, 1, 0);
    ck_assert_str_ne(name, "");
    ck_assert_uint_eq(files(), BAD_MAX + 1);
}
END_TEST

START_TEST(the_same_step_done_again_after_a_resume_is_one_file)
{
    keep(OPT_MODEL, 5, 9);
    keep(OPT_MODEL, 5, 9);
    ck_assert_str_eq(name, "");
    ck_assert_uint_eq(files(), 1);
}
END_TEST

START_TEST(a_place_that_cannot_be_written_is_an_error_and_nothing_worse)
{
    struct bad_step s = refused(OPT_MODEL, 1, 1);
    ck_assert_int_ne(
        bad_keep_windows("/nonexistent/run", &s, &dims, &windows, name, sizeof name), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("bad");
    TCase *t = tcase_create("bad");
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_test(t, windows_come_back_as_they_were_with_their_reason);
    tcase_add_test(t, of_an_imagined_batch_the_minibatchs_rows_are_kept_in_its_order);
    tcase_add_test(t, only_the_first_of_a_group_are_kept_and_groups_do_not_share);
    tcase_add_test(t, the_same_step_done_again_after_a_resume_is_one_file);
    tcase_add_test(t, a_place_that_cannot_be_written_is_an_error_and_nothing_worse);
    suite_add_tcase(suite, t);
    return run_suite(suite);
}
