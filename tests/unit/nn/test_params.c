/* SPDX-License-Identifier: Apache-2.0 */
/* test_params.c - the parameter table, its two layouts, blobs, initial values, Adam. */
#include "nn_test.h"
#include "suite.h"

#include "base/err.h"
#include "nn/adam.h"
#include "nn/init.h"
#include "nn/params.h"

struct model {
    struct arena arena;
    struct params p;
};

static void open_model(struct model *m)
{
    ck_assert_int_eq(arena_init(&m->arena, 16 << 20), 0);
    ck_assert_int_eq(params_init(&m->p, &m->arena, 8), 0);
    params_add(&m->p, "a.weight", PARAM_LINEAR, 0, 7, 19);
    params_add(&m->p, "a.bias", PARAM_VECTOR, 0, 7, 1);
    params_add(&m->p, "b.weight", PARAM_LINEAR, 2, 40, 33);
    params_add(&m->p, "b.bias", PARAM_VECTOR, 2, 40, 1);
    ck_assert_int_eq(params_carve(&m->p, &m->arena), 0);
}

/* Values count up in file order. */
static void number(struct model *m)
{
    for (size_t i = 0; i < m->p.n; i++) {
        const struct param *q = &m->p.table[i];
        float *v = floats(q->out * q->in);
        for (size_t j = 0; j < q->out * q->in; j++)
            v[j] = (float)(1000 * i + j + 1);
        param_import(q, m->p.value, v);
        free(v);
    }
}

START_TEST(import_and_export_undo_each_other_and_padding_is_zero)
{
    struct model m;
    open_model(&m);
    number(&m);
    ck_assert_uint_eq(m.p.count, 19 * 32 + 32 + 33 * 64 + 64);
    ck_assert_uint_eq((uintptr_t)m.p.value % 64, 0);
    const struct param *w = &m.p.table[0];
    ck_assert(m.p.value[w->offset + 3 * 32 + 5] == (float)(5 * 19 + 3 + 1)); /* [in][out] */
    for (size_t i = 0; i < m.p.n; i++) {
        const struct param *q = &m.p.table[i];
        float *v = floats(q->out * q->in);
        param_export(q, m.p.value, v);
        for (size_t j = 0; j < q->out * q->in; j++)
            ck_assert(v[j] == (float)(1000 * i + j + 1));
        for (size_t r = 0; r < q->in; r++)
            for (size_t c = q->out; c < q->out_pad; c++)
                ck_assert(m.p.value[q->offset + r * q->ld + c] == 0);
        free(v);
    }
    ck_assert_uint_eq(params_find(&m.p, "b.bias"), 3);
    ck_assert(params_find(&m.p, "c") == (size_t)-1);
    arena_fini(&m.arena);
}
END_TEST

START_TEST(groups_are_ranges_and_count_real_parameters)
{
    struct model m;
    size_t first, count;
    open_model(&m);
    params_range(&m.p, 0, 0, &first, &count);
    ck_assert_uint_eq(first, 0);
    ck_assert_uint_eq(count, 20 * 32);
    params_range(&m.p, 1, 2, &first, &count);
    ck_assert_uint_eq(first, 20 * 32);
    ck_assert_uint_eq(count, 34 * 64);
    params_range(&m.p, 1, 1, &first, &count);
    ck_assert_uint_eq(count, 0);
    ck_assert_uint_eq(params_real(&m.p, 0, 9), 7 * 20 + 40 * 34);
    arena_fini(&m.arena);
}
END_TEST

static struct st_reader *read_blob(const unsigned char *blob, size_t n)
{
    struct st_reader *r = NULL;
    ck_assert_int_eq(st_parse(&r, blob, n), 0);
    return r;
}

START_TEST(a_blob_brings_back_every_parameter)
{
    struct model m;
    unsigned char *blob = NULL, *again = NULL;
    size_t n = 0, n2 = 0;
    open_model(&m);
    number(&m);
    float *back = floats(m.p.count);
    ck_assert_int_eq(params_to_blob(&m.p, m.p.value, 0, 2, "exp_avg.", &blob, &n), 0);
    ck_assert_int_eq(params_to_blob(&m.p, m.p.value, 0, 2, "exp_avg.", &again, &n2), 0);
    ck_assert_uint_eq(n, n2);
    ck_assert_mem_eq(blob, again, n);
    struct st_reader *r = read_blob(blob, n);
    const struct st_tensor *t = st_find(r, "exp_avg.b.weight");
    ck_assert_ptr_nonnull(t);
    ck_assert_uint_eq(t->rank, 2);
    ck_assert_uint_eq(t->shape[0], 40);
    ck_assert_uint_eq(t->shape[1], 33);
    ck_assert_int_eq(params_from_reader(&m.p, back, 0, 2, "exp_avg.", r), 0);
    ck_assert_mem_eq(back, m.p.value, m.p.count * sizeof *back);
    st_close(r);
    free(blob);
    free(again);
    free(back);
    arena_fini(&m.arena);
}
END_TEST

START_TEST(a_blob_that_does_not_fit_is_refused_and_nothing_changes)
{
    struct model m, other;
    unsigned char *blob = NULL;
    size_t n = 0;
    open_model(&m);
    number(&m);
    float *block = floats(m.p.count), *zero = floats(m.p.count);
    /* one group of two: the rest is missing */
    ck_assert_int_eq(params_to_blob(&m.p, m.p.value, 0, 0, "", &blob, &n), 0);
    struct st_reader *r = read_blob(blob, n);
    ck_assert_int_eq(params_from_reader(&m.p, block, 0, 2, "", r), ERR_CORRUPT);
    ck_assert_ptr_nonnull(strstr(err_text(), "b.weight"));
    st_close(r);
    free(blob);
    /* too many under the prefix */
    ck_assert_int_eq(params_to_blob(&m.p, m.p.value, 0, 2, "", &blob, &n), 0);
    r = read_blob(blob, n);
    ck_assert_int_eq(params_from_reader(&m.p, block, 0, 0, "", r), ERR_CORRUPT);
    st_close(r);
    /* another shape */
    ck_assert_int_eq(arena_init(&other.arena, 1 << 20), 0);
    ck_assert_int_eq(params_init(&other.p, &other.arena, 8), 0);
    params_add(&other.p, "a.weight", PARAM_LINEAR, 0, 7, 18);
    params_add(&other.p, "a.bias", PARAM_VECTOR, 0, 7, 1);
    ck_assert_int_eq(params_carve(&other.p, &other.arena), 0);
    r = read_blob(blob, n);
    ck_assert_int_eq(params_from_reader(&other.p, block, 0, 0, "", r), ERR_CORRUPT);
    ck_assert_mem_eq(block, zero, m.p.count * sizeof *block);
    st_close(r);
    free(blob);
    free(block);
    free(zero);
    arena_fini(&other.arena);
    arena_fini(&m.arena);
}
END_TEST

/* -------------------------------------------------------------------------- initial values */

START_TEST(initial_values_have_their_bounds_and_are_reproducible)
{
    struct model m;
    struct philox philox = {.seed = 3};
    const struct draws d = philox_draws(&philox);
    open_model(&m);
    ck_assert_int_eq(init_xavier(&m.p, 2, &d), 0);
    const struct param *q = &m.p.table[2];
    const double bound = sqrt(6.0 / 73);
    float *first = floats(q->count);
    double largest = 0, sum = 0;
    memcpy(first, m.p.value + q->offset, q->count * sizeof *first);
    for (size_t i = 0; i < q->count; i++) {
        largest = fmax(largest, fabs((double)first[i]));
        sum += (double)first[i];
    }
    ck_assert_double_le(largest, bound);
    ck_assert_double_gt(largest, 0.98 * bound);
    ck_assert_double_lt(fabs(sum / (40 * 33)), 0.05 * bound);
    for (size_t r = 0; r < q->in; r++)
        for (size_t c = q->out; c < q->out_pad; c++)
            ck_assert(first[r * q->ld + c] == 0);
    /* draw number = element in file order */
    float u[40 * 33];
    draws_fill(&d, DRAW_INIT, 2, 0, u, 40 * 33);
    ck_assert_float_eq_tol(first[4 * 64 + 9], (float)(bound * (2 * (double)u[9 * 33 + 4] - 1)),
                           1e-7f);
    ck_assert_int_eq(init_fan_in(&m.p, 1, 19, &d), 0);
    for (size_t i = 0; i < 32; i++)
        ck_assert(fabsf(m.p.value[m.p.table[1].offset + i]) <= 1 / sqrtf(19));
    ck_assert_int_eq(init_constant(&m.p, 3, 1), 0);
    for (size_t i = 0; i < 64; i++)
        ck_assert(m.p.value[m.p.table[3].offset + i] == (i < 40 ? 1 : 0));
    free(first);
    arena_fini(&m.arena);
}
END_TEST

/* Largest deviation of the Gram matrix of the shorter side from the identity. */
static double gram_error(const struct param *q, const float *block)
{
    float *w = floats(q->out * q->in);
    double worst = 0;
    param_export(q, block, w);
    const bool rows = q->out < q->in;
    const size_t n = rows ? q->out : q->in, len = rows ? q->in : q->out;
    for (size_t a = 0; a < n; a++)
        for (size_t b = 0; b < n; b++) {
            double s = 0;
            for (size_t i = 0; i < len; i++)
                s += rows ? (double)w[a * len + i] * (double)w[b * len + i]
                          : (double)w[i * n + a] * (double)w[i * n + b];
            worst = fmax(worst, fabs(s - (a == b)));
        }
    free(w);
    return worst;
}

START_TEST(orthogonal_weights_have_orthonormal_rows_or_columns)
{
    struct model m;
    struct philox philox = {.seed = 4};
    const struct draws d = philox_draws(&philox);
    open_model(&m);
    ck_assert_int_eq(init_orthogonal(&m.p, 0, &d), 0); /* 7 x 19: rows */
    ck_assert_int_eq(init_orthogonal(&m.p, 2, &d), 0); /* 40 x 33: columns */
    ck_assert_double_lt(gram_error(&m.p.table[0], m.p.value), 1e-6);
    ck_assert_double_lt(gram_error(&m.p.table[2], m.p.value), 1e-6);
    arena_fini(&m.arena);
}
END_TEST

/* ------------------------------------------------------------------------------------ Adam */

START_TEST(adam_follows_its_closed_form)
{
    enum { COUNT = 37, STEPS = 20 };
    const struct kern *k = NULL;
    const struct adam a = ADAM(1e-2, 3, 1e-2);
    struct rng r = seeded(9);
    float *p = random_floats(&r, COUNT, 1), m[COUNT] = {0}, v[COUNT] = {0};
    double pd[COUNT], md[COUNT] = {0}, vd[COUNT] = {0};
    uint64_t steps = 0;
    double b1 = 1, b2 = 1, norm = 0;
    ck_assert_int_eq(kern_get(ISA_AUTO, &k), 0);
    for (int i = 0; i < COUNT; i++)
        pd[i] = (double)p[i];
    for (int t = 1; t <= STEPS; t++) {
        float *g = random_floats(&r, COUNT, t % 2 ? 5 : 0.1); /* clipped and not */
        const double length = sqrt(dot_double(g, g, COUNT));
        const double scale = fmin(1, 3 / (length + 1e-6));
        for (int i = 0; i < COUNT; i++) {
            const double gi = (double)g[i] * scale + 1e-2 * pd[i];
            md[i] = 0.9 * md[i] + 0.1 * gi;
            vd[i] = 0.999 * vd[i] + 0.001 * gi * gi;
            pd[i] -= 1e-2 / (1 - pow(0.9, t)) * md[i] /
                     (sqrt(vd[i]) / sqrt(1 - pow(0.999, t)) + 1e-8);
        }
        ck_assert_int_eq(adam_step(k, NULL, &a, p, m, v, g, COUNT, &steps, &b1, &b2, &norm), 0);
        ck_assert_double_eq_tol(norm, length, 1e-6 * length);
        free(g);
    }
    ck_assert_uint_eq(steps, STEPS);
    ck_assert_double_eq_tol(b1, pow(0.9, STEPS), 1e-12);
    for (int i = 0; i < COUNT; i++)
        ck_assert_double_eq_tol((double)p[i], pd[i], 2e-6);
    free(p);
}
END_TEST

START_TEST(the_epsilon_of_adam_stands_outside_the_root)
{
    const struct kern *k = kern_ref();
    const struct adam a = ADAM(1, 0, 0);
    float p = 0, m = 0, v = 0;
    const float g = 1e-8f;
    uint64_t steps = 0;
    double b1 = 1, b2 = 1;
    ck_assert_int_eq(adam_step(k, NULL, &a, &p, &m, &v, &g, 1, &steps, &b1, &b2, NULL), 0);
    ck_assert_float_eq_tol(p, -0.5f, 1e-3f); /* g / (g + 1e-8) */
}
END_TEST

START_TEST(a_gradient_that_is_not_finite_changes_nothing)
{
    const struct kern *k = NULL;
    const struct adam a = ADAM(1e-2, 1, 0);
    float p[3] = {1, 2, 3}, m[3] = {0}, v[3] = {0};
    uint64_t steps = 4;
    double b1 = 0.5, b2 = 0.25;
    ck_assert_int_eq(kern_get(ISA_AUTO, &k), 0);
    const float bad[2] = {NAN, INFINITY};
    for (int i = 0; i < 2; i++) {
        const float g[3] = {1, bad[i], 1};
        ck_assert_int_eq(adam_step(k, NULL, &a, p, m, v, g, 3, &steps, &b1, &b2, NULL),
                         ERR_NUMERIC);
    }
    ck_assert(p[0] == 1 && p[1] == 2 && p[2] == 3 && m[0] == 0 && v[2] == 0);
    ck_assert(steps == 4 && b1 == 0.5 && b2 == 0.25);
}
END_TEST

/* Squares of such entries are infinite: the second moment would be so for ever after. */
START_TEST(a_gradient_too_large_to_square_changes_nothing_unless_it_is_clipped)
{
    const struct kern *k = NULL;
    float p[2] = {1, 2}, m[2] = {0}, v[2] = {0};
    const float g[2] = {1e20f, -1e30f};
    uint64_t steps = 0;
    double b1 = 1, b2 = 1, norm = 0;
    ck_assert_int_eq(kern_get(ISA_AUTO, &k), 0);
    const struct adam free_ = ADAM(1e-2, 0, 0), clipped = ADAM(1e-2, 100, 0);
    ck_assert_int_eq(adam_step(k, NULL, &free_, p, m, v, g, 2, &steps, &b1, &b2, &norm),
                     ERR_NUMERIC);
    ck_assert(p[0] == 1 && p[1] == 2 && m[1] == 0 && v[1] == 0 && steps == 0 && b1 == 1);
    ck_assert_double_eq_tol(norm, 1e30, 1e24);
    ck_assert_int_eq(adam_step(k, NULL, &clipped, p, m, v, g, 2, &steps, &b1, &b2, &norm), 0);
    ck_assert(isfinite(v[1]) && v[1] > 0 && isfinite(p[1]) && p[1] > 2);
}
END_TEST

START_TEST(norm_and_step_do_not_depend_on_the_number_of_threads)
{
    enum { COUNT = 70 * KERN_BLOCK + 77 };
    const struct kern *k = NULL;
    const struct adam a = ADAM(1e-3, 10, 1e-5);
    struct rng r = seeded(10);
    float *g = random_floats(&r, COUNT, 1), *p0 = random_floats(&r, COUNT, 1), *first = NULL;
    double norm0 = 0;
    ck_assert_int_eq(kern_get(ISA_AUTO, &k), 0);
    for (size_t threads = 1; threads <= 4; threads++) {
        struct pool *pool = NULL;
        float *p = floats(COUNT), *m = floats(COUNT), *v = floats(COUNT);
        uint64_t steps = 0;
        double b1 = 1, b2 = 1, norm = 0;
        memcpy(p, p0, COUNT * sizeof *p);
        ck_assert_int_eq(pool_open(&pool, threads), 0);
        ck_assert_int_eq(adam_step(k, pool, &a, p, m, v, g, COUNT, &steps, &b1, &b2, &norm), 0);
        pool_close(pool);
        if (!first) {
            first = p;
            norm0 = norm;
            ck_assert_double_eq_tol(norm, sqrt(dot_double(g, g, COUNT)), 1e-9 * norm);
            ck_assert_double_eq(norm * norm0, norm * norm);
        } else {
            ck_assert_mem_eq(p, first, COUNT * sizeof *p);
            ck_assert_double_eq(norm, norm0);
            free(p);
        }
        free(m);
        free(v);
    }
    /* and equals the single-call reduction */
    ck_assert_double_eq(norm0, sqrt(k->dsumsq(g, COUNT)));
    free(first);
    free(g);
    free(p0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("nn params");
    TCase *t = tcase_create("params");
    tcase_add_test(t, import_and_export_undo_each_other_and_padding_is_zero);
    tcase_add_test(t, groups_are_ranges_and_count_real_parameters);
    tcase_add_test(t, a_blob_brings_back_every_parameter);
    tcase_add_test(t, a_blob_that_does_not_fit_is_refused_and_nothing_changes);
    tcase_add_test(t, initial_values_have_their_bounds_and_are_reproducible);
    tcase_add_test(t, orthogonal_weights_have_orthonormal_rows_or_columns);
    tcase_add_test(t, adam_follows_its_closed_form);
    tcase_add_test(t, the_epsilon_of_adam_stands_outside_the_root);
    tcase_add_test(t, a_gradient_that_is_not_finite_changes_nothing);
    tcase_add_test(t, a_gradient_too_large_to_square_changes_nothing_unless_it_is_clipped);
    tcase_add_test(t, norm_and_step_do_not_depend_on_the_number_of_threads);
    suite_add_tcase(s, t);
    return run_suite(s);
}
