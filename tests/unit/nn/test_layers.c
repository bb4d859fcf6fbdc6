/* SPDX-License-Identifier: Apache-2.0 */
/* test_layers.c - linear, one-hot, LayerNorm, attention and GRU: gradients against finite
 * differences, rows against their company, padding, and threads.
 *
 * The scalar of every check is sum(y * dy) with random dy, so dy is its gradient at y. */
#include "nn_test.h"
#include "suite.h"

#include "nn/attention.h"
#include "nn/gru.h"
#include "nn/layernorm.h"
#include "nn/linear.h"

enum { D = 64, N = 3, GROUPS = 5, ROWS = GROUPS * N, HEADS = 4, LAYERS = 2 };

/* One parameter block, its gradient and everything a case needs. */
struct fixture {
    const struct kern *k;
    struct arena arena;
    struct params p;
    struct rng r;
    float *grad, *x, *dy, *y, *dx, *scratch;
    uint8_t *index, *skip, *action;
    size_t rows, in, out; /* of the scalar: y [rows][out] */
    struct linear linear;
    struct onehot onehot;
    struct norm norm;
    struct attention attention;
    struct attention_tape tape;
    struct gru gru;
    struct gru_tape gtape;
};

static void begin_with(struct fixture *f, uint64_t seed, const struct kern *k)
{
    memset(f, 0, sizeof *f);
    f->r = seeded(seed);
    f->k = k;
    ck_assert_int_eq(arena_init(&f->arena, 64 << 20), 0);
    ck_assert_int_eq(params_init(&f->p, &f->arena, 64), 0);
}

static void begin(struct fixture *f, uint64_t seed)
{
    const struct kern *k = NULL;
    ck_assert_int_eq(kern_get(ISA_AUTO, &k), 0);
    begin_with(f, seed, k);
}

/* Parameters drawn in file layout, so that padding is zero. LayerNorm weights lie around 1;
 * biases in front of a ReLU keep its inputs clear of the kink, half of them on either side. */
static void carve(struct fixture *f)
{
    ck_assert_int_eq(params_carve(&f->p, &f->arena), 0);
    for (size_t i = 0; i < f->p.n; i++) {
        const struct param *q = &f->p.table[i];
        float *v = random_floats(&f->r, q->out * q->in, 0.3);
        if (strstr(q->name, "norm") && strstr(q->name, ".weight"))
            for (size_t j = 0; j < q->out; j++)
                v[j] += 1;
        if (strstr(q->name, "linear1.bias"))
            for (size_t j = 0; j < q->out; j++)
                v[j] += j % 2 ? 7 : -7;
        param_import(q, f->p.value, v);
        free(v);
    }
    f->grad = ARENA_ZNEW(&f->arena, float, f->p.count);
}

static void sizes(struct fixture *f, size_t rows, size_t in, size_t out)
{
    f->rows = rows;
    f->in = in;
    f->out = out;
    f->x = random_floats(&f->r, rows * in, 1);
    f->dy = random_floats(&f->r, rows * out, 1);
    f->y = floats(rows * out);
    f->dx = floats(rows * in);
    f->scratch = floats(rows * D * 8);
}

static void finish(struct fixture *f)
{
    free(f->x);
    free(f->dy);
    free(f->y);
    free(f->dx);
    free(f->scratch);
    arena_fini(&f->arena);
}

static void check_params(struct fixture *f, scalar_fn *fn, double eps)
{
    for (size_t i = 0; i < f->p.n; i++) {
        const struct param *q = &f->p.table[i];
        check_gradient(fn, f, f->p.value + q->offset, f->grad + q->offset, q->count, eps, 7 + i,
                       q->name);
    }
}

/* Columns beyond a parameter's width are zero in `block`. */
static void check_padding(const struct params *p, const float *block)
{
    for (size_t i = 0; i < p->n; i++) {
        const struct param *q = &p->table[i];
        for (size_t r = 0; r < q->in; r++)
            for (size_t c = q->out; c < q->out_pad; c++)
                ck_assert_msg(block[q->offset + r * q->ld + c] == 0, "%s", q->name);
    }
}

/* ---------------------------------------------------------------------------------- linear */

static double linear_scalar(void *ctx)
{
    struct fixture *f = ctx;
    linear_forward(f->k, &f->linear, f->y, f->out, f->x, f->in, f->rows);
    return dot_double(f->y, f->dy, f->rows * f->out);
}

START_TEST(linear_gradients_match_finite_differences)
{
    struct fixture f;
    begin(&f, 1);
    params_add(&f.p, "a.weight", PARAM_LINEAR, 0, 7, 19);
    params_add(&f.p, "a.bias", PARAM_VECTOR, 0, 7, 1);
    carve(&f);
    linear_bind(&f.linear, &f.p, "a.weight", "a.bias");
    linear_want_input(&f.linear, &f.arena);
    linear_refresh(f.k, &f.linear);
    sizes(&f, ROWS, 32, 32); /* x has 19 columns that count */
    for (size_t m = 0; m < ROWS; m++)
        memset(f.dy + m * 32 + 7, 0, 25 * sizeof(float)); /* nothing comes back on padding */
    linear_scalar(&f);
    for (size_t m = 0; m < ROWS; m++)
        for (size_t c = 7; c < 32; c++)
            ck_assert(f.y[m * 32 + c] == 0);
    linear_backward_input(f.k, &f.linear, f.dx, 32, f.dy, 32, ROWS, false);
    linear_backward_weight(f.k, &f.linear, f.grad, f.x, 32, f.dy, 32, ROWS, 0, 32);
    for (size_t m = 0; m < ROWS; m++)
        for (size_t c = 19; c < 32; c++)
            ck_assert(f.dx[m * 32 + c] == 0);
    check_gradient(linear_scalar, &f, f.x, f.dx, ROWS * 32, 1e-2, 3, "x");
    for (size_t i = 0; i < f.p.n; i++) /* directions off the padding */
        for (size_t r = 0; r < f.p.table[i].in; r++)
            check_gradient(linear_scalar, &f, f.p.value + f.p.table[i].offset + r * 32,
                           f.grad + f.p.table[i].offset + r * 32, 7, 1e-2, r, "row");
    check_padding(&f.p, f.grad);
    /* backward adds */
    memcpy(f.y, f.dx, ROWS * 32 * sizeof(float));
    linear_backward_input(f.k, &f.linear, f.dx, 32, f.dy, 32, ROWS, true);
    for (size_t i = 0; i < ROWS * 32; i++)
        ck_assert_float_eq_tol(f.dx[i], 2 * f.y[i], 1e-5f);
    finish(&f);
}
END_TEST

/* A layer of the paper's size and a slice of it, packed where the table asks for that, have the
 * bits of the reference, whose weights are multiplied as they lie. Each table in a process of
 * its own, where nothing asks for another before it: the first one owns LIBXSMM. */
START_TEST(large_layers_have_the_bits_of_the_reference)
{
    enum { IN = 300, OUT = 288, FROM = 20, PART = 256 };
    const struct kern *const tables[] = {plain_table(_i), kern_ref()};
    struct fixture f[2];
    float *part[2], *back[2];
    if (!tables[0])
        return;
    for (int i = 0; i < 2; i++) {
        struct linear slice;
        begin_with(&f[i], 9, tables[i]);
        params_add(&f[i].p, "a.weight", PARAM_LINEAR, 0, OUT, IN);
        params_add(&f[i].p, "a.bias", PARAM_VECTOR, 0, OUT, 1);
        carve(&f[i]);
        if (f[i].k->layer_packed)
            ck_assert_int_eq(params_carve_packed(&f[i].p, &f[i].arena), 0);
        linear_bind(&f[i].linear, &f[i].p, "a.weight", "a.bias");
        linear_slice(&slice, &f[i].linear, FROM, PART);
        ck_assert(!f[i].linear.packed == !f[i].k->layer_packed);
        ck_assert(!slice.packed == !f[i].k->layer_packed);
        linear_want_input(&f[i].linear, &f[i].arena);
        linear_want_input(&slice, &f[i].arena);
        linear_refresh(f[i].k, &f[i].linear);
        linear_refresh(f[i].k, &slice);
        sizes(&f[i], ROWS, 320, OUT);
        part[i] = random_floats(&f[i].r, ROWS * OUT, 1);
        back[i] = random_floats(&f[i].r, ROWS * PART, 1);
        linear_layer(f[i].k, &f[i].linear, KERN_ELU, f[i].y, OUT, f[i].x, 320, ROWS);
        linear_add(f[i].k, &slice, KERN_RELU, part[i], OUT, f[i].x, 320, ROWS);
        linear_backward_input(f[i].k, &f[i].linear, f[i].dx, 320, f[i].dy, OUT, ROWS, false);
        linear_backward_input(f[i].k, &slice, back[i], PART, f[i].dy, OUT, ROWS, true);
    }
    ck_assert_mem_eq(f[0].y, f[1].y, ROWS * OUT * sizeof(float));
    ck_assert_mem_eq(part[0], part[1], ROWS * OUT * sizeof(float));
    ck_assert_mem_eq(f[0].dx, f[1].dx, ROWS * 320 * sizeof(float));
    ck_assert_mem_eq(back[0], back[1], ROWS * PART * sizeof(float));
    for (int i = 0; i < 2; i++) {
        free(part[i]);
        free(back[i]);
        finish(&f[i]);
    }
}
END_TEST

/* --------------------------------------------------------------------------------- one-hot */

enum { C = 5, CLASSES = 8, A = 6, DENSE = 11, IN = A + C * CLASSES + DENSE };

static void open_onehot(struct fixture *f, uint64_t seed)
{
    begin(f, seed);
    params_add(&f->p, "o.weight", PARAM_LINEAR, 0, 40, IN);
    params_add(&f->p, "o.bias", PARAM_VECTOR, 0, 40, 1);
    carve(f);
    onehot_bind(&f->onehot, &f->p, "o.weight", "o.bias", A, C, CLASSES, 0, A, A + C * CLASSES,
                DENSE);
    linear_want_input(&f->onehot.cat, &f->arena);
    linear_want_input(&f->onehot.dense, &f->arena);
    onehot_refresh(f->k, &f->onehot);
    sizes(f, ROWS, 32, 64);
    f->index = ARENA_NEW(&f->arena, uint8_t, ROWS * C);
    f->skip = ARENA_ZNEW(&f->arena, uint8_t, ROWS);
    f->action = ARENA_NEW(&f->arena, uint8_t, ROWS);
    for (size_t i = 0; i < ROWS * C; i++)
        f->index[i] = (uint8_t)rng_below(&f->r, CLASSES);
    for (size_t m = 0; m < ROWS; m++)
        f->action[m] = m % 4 == 1 ? KERN_NONE : (uint8_t)rng_below(&f->r, A);
    f->skip[2] = f->skip[7] = 1;
    for (size_t m = 0; m < ROWS; m++)
        memset(f->dy + m * 64 + 40, 0, 24 * sizeof(float));
}

/* The input written out: [action one-hot | class one-hots | dense] */
static float *dense_input(const struct fixture *f)
{
    float *x = floats(ROWS * IN);
    for (size_t m = 0; m < ROWS; m++) {
        float *row = x + m * IN;
        if (f->action[m] != KERN_NONE)
            row[f->action[m]] = 1;
        for (size_t c = 0; c < C && !f->skip[m]; c++)
            row[A + c * CLASSES + f->index[m * C + c]] = 1;
        memcpy(row + A + C * CLASSES, f->x + m * 32, DENSE * sizeof(float));
    }
    return x;
}

static double onehot_scalar(void *ctx)
{
    struct fixture *f = ctx;
    onehot_forward(f->k, &f->onehot, KERN_LINEAR, f->y, 64, f->index, f->skip, f->action, f->x,
                   32, ROWS);
    return dot_double(f->y, f->dy, ROWS * 64);
}

static struct dw_job onehot_job(const struct fixture *f)
{
    return (struct dw_job){.kind = DW_ONEHOT,
                           .onehot = &f->onehot,
                           .x = f->x,
                           .ldx = 32,
                           .dy = f->dy,
                           .ldy = 64,
                           .index = f->index,
                           .skip = f->skip,
                           .action = f->action,
                           .rows = ROWS};
}

START_TEST(a_one_hot_layer_equals_the_dense_layer_on_written_out_inputs)
{
    struct fixture f;
    open_onehot(&f, 2);
    float *x = dense_input(&f), *y = floats(ROWS * 64), *g = floats(f.p.count);
    onehot_scalar(&f);
    linear_forward(f.k, &f.onehot.all, y, 64, x, IN, ROWS);
    for (size_t i = 0; i < ROWS * 64; i++)
        ck_assert_float_eq_tol(y[i], f.y[i], 1e-5f);
    const struct dw_job job = onehot_job(&f);
    dw_run(f.k, NULL, f.grad, false, &job, 1);
    linear_backward_weight(f.k, &f.onehot.all, g, x, IN, f.dy, 64, ROWS, 0, 64);
    for (size_t i = 0; i < f.p.count; i++)
        ck_assert_float_eq_tol(g[i], f.grad[i], 1e-4f);
    check_padding(&f.p, f.grad);
    free(x);
    free(y);
    free(g);
    finish(&f);
}
END_TEST

START_TEST(one_hot_input_gradients_match_finite_differences)
{
    struct fixture f;
    open_onehot(&f, 3);
    linear_backward_input(f.k, &f.onehot.dense, f.dx, 32, f.dy, 64, ROWS, false);
    check_gradient(onehot_scalar, &f, f.x, f.dx, ROWS * 32, 1e-2, 5, "dense");
    /* straight-through: every class column gets dy . w, taken or not */
    float *ds = floats(ROWS * 64);
    linear_backward_input(f.k, &f.onehot.cat, ds, 64, f.dy, 64, ROWS, false);
    for (size_t m = 0; m < ROWS; m++)
        for (size_t j = 0; j < C * CLASSES; j++) {
            const double want = dot_double(f.dy + m * 64, f.onehot.cat.w + j * 64, 64);
            ck_assert_double_eq_tol((double)ds[m * 64 + j], want, 1e-4);
        }
    free(ds);
    finish(&f);
}
END_TEST

/* ------------------------------------------------------------------------------- LayerNorm */

static double norm_scalar(void *ctx)
{
    struct fixture *f = ctx;
    norm_forward(f->k, &f->norm, f->y, NULL, NULL, f->x, f->rows);
    return dot_double(f->y, f->dy, f->rows * D);
}

START_TEST(layernorm_gradients_match_finite_differences)
{
    struct fixture f;
    begin(&f, 5);
    params_add(&f.p, "norm.weight", PARAM_VECTOR, 0, D, 1);
    params_add(&f.p, "norm.bias", PARAM_VECTOR, 0, D, 1);
    carve(&f);
    norm_bind(&f.norm, &f.p, "norm");
    sizes(&f, ROWS, D, D);
    float *xhat = floats(ROWS * D), *rstd = floats(ROWS);
    norm_forward(f.k, &f.norm, f.y, xhat, rstd, f.x, ROWS);
    norm_backward(f.k, &f.norm, f.dx, NULL, f.dy, xhat, rstd, ROWS);
    const struct dw_job job = norm_job(&f.norm, xhat, f.dy, ROWS);
    dw_run(f.k, NULL, f.grad, false, &job, 1);
    check_gradient(norm_scalar, &f, f.x, f.dx, ROWS * D, 1e-2, 5, "x");
    check_params(&f, norm_scalar, 1e-2);
    free(xhat);
    free(rstd);
    finish(&f);
}
END_TEST

/* ------------------------------------------------------------------------------- attention */

static void open_attention(struct fixture *f, uint64_t seed, bool drop)
{
    begin(f, seed);
    attention_add_params(&f->p, "t", 0, D, LAYERS);
    carve(f);
    const size_t before = arena_mark(&f->arena);
    ck_assert_int_eq(
        attention_bind(&f->attention, &f->p, "t", D, HEADS, LAYERS, N, true, &f->arena), 0);
    ck_assert_uint_le(arena_mark(&f->arena) - before, attention_bytes(D, LAYERS, N, true));
    const size_t mark = arena_mark(&f->arena);
    attention_tape_carve(&f->tape, &f->attention, ROWS, drop, &f->arena);
    ck_assert_uint_le(arena_mark(&f->arena) - mark,
                      attention_tape_bytes(&f->attention, ROWS, drop));
    f->tape.drop = drop;
    sizes(f, ROWS, D, D);
    for (size_t l = 0; l < LAYERS && drop; l++)
        for (int s = 0; s < ATTENTION_SITES; s++) {
            float *u = random_floats(&f->r, ROWS * D, 0.5);
            for (size_t i = 0; i < ROWS * D; i++)
                u[i] += 0.5f;
            attention_mask(f->k, &f->attention, &f->tape, l, (enum drop_site)s, 0, ROWS, u,
                           0.1f);
            free(u);
        }
    attention_refresh(f->k, &f->attention);
}

static double attention_scalar(void *ctx)
{
    struct fixture *f = ctx;
    attention_forward(f->k, &f->attention, &f->tape, f->y, f->x, 0, ROWS, f->scratch);
    return dot_double(f->y, f->dy, ROWS * D);
}

START_TEST(attention_gradients_match_finite_differences)
{
    struct fixture f;
    struct dw_job jobs[6 * LAYERS];
    open_attention(&f, 6, _i == 1);
    attention_scalar(&f);
    attention_backward(f.k, &f.attention, &f.tape, f.dx, f.dy, 0, ROWS, f.scratch);
    const size_t n = attention_jobs(jobs, &f.attention, &f.tape, ROWS);
    dw_run(f.k, NULL, f.grad, false, jobs, n);
    check_gradient(attention_scalar, &f, f.x, f.dx, ROWS * D, 4e-3, 5, "x");
    check_params(&f, attention_scalar, 4e-3);
    finish(&f);
}
END_TEST

START_TEST(groups_of_agents_do_not_feel_their_neighbours)
{
    struct fixture f;
    open_attention(&f, 7, false);
    float *z = floats(ROWS * D), *dz = floats(ROWS * D), *s = floats(ROWS * D * 8);
    attention_scalar(&f);
    attention_backward(f.k, &f.attention, &f.tape, f.dx, f.dy, 0, ROWS, f.scratch);
    float *d_qkv = floats(3 * ROWS * D);
    memcpy(d_qkv, f.tape.layer[0].d_qkv, 3 * ROWS * D * sizeof(float));
    attention_infer(f.k, &f.attention, z, f.x, ROWS, s);
    ck_assert_mem_eq(z, f.y, ROWS * D * sizeof(float));
    memcpy(z, f.x, ROWS * D * sizeof(float)); /* in place */
    for (size_t row = ROWS; row > 0;) {       /* group by group, last first */
        row -= N;
        attention_infer(f.k, &f.attention, z + row * D, z + row * D, N, s);
        attention_forward(f.k, &f.attention, &f.tape, f.scratch, f.x + row * D, row, N, s);
        attention_backward(f.k, &f.attention, &f.tape, dz + row * D, f.dy + row * D, row, N, s);
    }
    ck_assert_mem_eq(z, f.y, ROWS * D * sizeof(float));
    ck_assert_mem_eq(dz, f.dx, ROWS * D * sizeof(float));
    ck_assert_mem_eq(f.tape.layer[0].d_qkv, d_qkv, 3 * ROWS * D * sizeof(float));
    free(z);
    free(dz);
    free(s);
    free(d_qkv);
    finish(&f);
}
END_TEST

START_TEST(the_positional_table_is_sine_and_cosine)
{
    float pos[30 * 64];
    attention_positions(pos, 30, 64);
    for (int n = 0; n < 30; n++)
        for (int d = 0; d < 64; d++) {
            const double angle = n / pow(10000, (double)(d / 2 * 2) / 64);
            const double want = d % 2 ? cos(angle) : sin(angle);
            ck_assert_double_eq_tol((double)pos[n * 64 + d], want, 1e-7);
        }
}
END_TEST

START_TEST(more_agents_than_the_table_holds_are_refused)
{
    struct fixture f;
    struct attention a;
    begin(&f, 8);
    attention_add_params(&f.p, "t", 0, D, LAYERS);
    carve(&f);
    ck_assert_int_eq(attention_bind(&a, &f.p, "t", D, HEADS, LAYERS, 31, false, &f.arena),
                     -2 /* ERR_INVAL */);
    ck_assert_int_eq(attention_bind(&a, &f.p, "t", D, 5, LAYERS, 3, false, &f.arena), -2);
    arena_fini(&f.arena);
}
END_TEST

/* ------------------------------------------------------------------------------------- GRU */

static double gru_scalar(void *ctx)
{
    struct fixture *f = ctx;
    gru_forward(f->k, &f->gru, &f->gtape, f->y, 0, ROWS, f->scratch);
    return dot_double(f->y, f->dy, ROWS * D);
}

START_TEST(gru_gradients_match_finite_differences)
{
    struct fixture f;
    struct dw_job jobs[2];
    begin(&f, 9);
    gru_add_params(&f.p, "g", 0, D);
    carve(&f);
    gru_bind(&f.gru, &f.p, "g", D);
    gru_want_input(&f.gru, &f.arena);
    gru_refresh(f.k, &f.gru);
    gru_tape_carve(&f.gtape, &f.gru, ROWS, &f.arena);
    sizes(&f, ROWS, D, D);
    float *dh = floats(ROWS * D), *z = floats(ROWS * D);
    for (size_t i = 0; i < ROWS * D; i++) {
        f.gtape.x[i] = f.x[i];
        f.gtape.h[i] = f.x[ROWS * D - 1 - i];
    }
    gru_scalar(&f);
    gru_infer(f.k, &f.gru, z, f.gtape.x, f.gtape.h, ROWS, f.scratch);
    ck_assert_mem_eq(z, f.y, ROWS * D * sizeof(float));
    gru_backward(f.k, &f.gru, &f.gtape, f.dx, dh, f.dy, 0, ROWS);
    dw_run(f.k, NULL, f.grad, false, jobs, gru_jobs(jobs, &f.gru, &f.gtape, ROWS));
    check_gradient(gru_scalar, &f, f.gtape.x, f.dx, ROWS * D, 3e-3, 5, "x");
    check_gradient(gru_scalar, &f, f.gtape.h, dh, ROWS * D, 3e-3, 6, "h");
    check_params(&f, gru_scalar, 3e-3);
    free(dh);
    free(z);
    finish(&f);
}
END_TEST

/* --------------------------------------------------------------------------------- threads */

/* An attention after its backward pass: what is left to do are its weight gradients. */
static size_t open_weight_jobs(struct fixture *f, uint64_t seed, struct dw_job jobs[6 * LAYERS])
{
    open_attention(f, seed, true);
    attention_scalar(f);
    attention_backward(f->k, &f->attention, &f->tape, f->dx, f->dy, 0, ROWS, f->scratch);
    return attention_jobs(jobs, &f->attention, &f->tape, ROWS);
}

START_TEST(weight_gradients_do_not_depend_on_the_number_of_threads)
{
    struct fixture f;
    struct dw_job jobs[6 * LAYERS];
    const size_t n = open_weight_jobs(&f, 10, jobs);
    dw_run(f.k, NULL, f.grad, false, jobs, n);
    for (size_t threads = 1; threads <= 4; threads++) {
        struct pool *pool = NULL;
        float *g = floats(f.p.count);
        ck_assert_int_eq(pool_open(&pool, threads), 0);
        dw_run(f.k, pool, g, false, jobs, n);
        ck_assert_mem_eq(g, f.grad, f.p.count * sizeof *g);
        pool_close(pool);
        free(g);
    }
    finish(&f);
}
END_TEST

/* Gradients into zeros, and fresh ones into what is left of an earlier step. */
static void check_fresh(struct fixture *f, const struct dw_job *jobs, size_t n)
{
    float *g = floats(f->p.count);
    dw_run(f->k, NULL, f->grad, false, jobs, n);
    for (size_t i = 0; i < f->p.count; i++)
        g[i] = 3;
    dw_run(f->k, NULL, g, true, jobs, n);
    for (size_t i = 0; i < f->p.n; i++) {
        const struct param *q = &f->p.table[i];
        for (size_t r = 0; r < q->in; r++) {
            const size_t at = q->offset + r * q->ld;
            ck_assert_msg(memcmp(g + at, f->grad + at, q->out * sizeof *g) == 0, "%s row %zu",
                          q->name, r);
        }
    }
    free(g);
}

START_TEST(fresh_weight_gradients_forget_what_was_there)
{
    struct fixture f;
    struct dw_job jobs[6 * LAYERS];
    const size_t n = open_weight_jobs(&f, 11, jobs);
    check_fresh(&f, jobs, n);
    finish(&f);
    open_onehot(&f, 12); /* classes and actions that occur, and some that do not */
    const struct dw_job job = onehot_job(&f);
    check_fresh(&f, &job, 1);
    finish(&f);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("nn layers");
    TCase *t = tcase_create("layers");
    tcase_set_timeout(t, 120);
    tcase_add_test(t, linear_gradients_match_finite_differences);
    tcase_add_loop_test(t, large_layers_have_the_bits_of_the_reference, 0, PLAIN_TABLES);
    tcase_add_test(t, a_one_hot_layer_equals_the_dense_layer_on_written_out_inputs);
    tcase_add_test(t, one_hot_input_gradients_match_finite_differences);
    tcase_add_test(t, layernorm_gradients_match_finite_differences);
    tcase_add_loop_test(t, attention_gradients_match_finite_differences, 0, 2);
    tcase_add_test(t, groups_of_agents_do_not_feel_their_neighbours);
    tcase_add_test(t, the_positional_table_is_sine_and_cosine);
    tcase_add_test(t, more_agents_than_the_table_holds_are_refused);
    tcase_add_test(t, gru_gradients_match_finite_differences);
    tcase_add_test(t, weight_gradients_do_not_depend_on_the_number_of_threads);
    tcase_add_test(t, fresh_weight_gradients_forget_what_was_there);
    suite_add_tcase(s, t);
    return run_suite(s);
}
