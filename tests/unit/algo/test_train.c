/* SPDX-License-Identifier: Apache-2.0 */
/* test_train.c - gradient steps of the world model and of R_m.
 *
 * That the numbers are right is shown by tests/golden against an independent implementation;
 * here is what must hold around them: same bits for any threads and instruction set, central
 * differences where nothing is stopped, masks, refused steps, metrics that change nothing. */
#include "mag_small.h"
#include "suite.h"

#include "mag_priv.h"
#include "nn/kern.h"

#include <math.h>

static struct mag_train *train_open(struct small *s, struct pool *pool)
{
    struct mag_train *t;
    struct mag_train_cfg c = {.W = SMALL_W, .B = SMALL_B, .cfg = &s->cfg};
    ck_assert_int_eq(mag_train_open(&t, s->m, &c, pool), 0);
    return t;
}

/* Gradients of both phases, then two steps of each; everything into one comparable state. */
struct run {
    struct small *s;
    float *grad, *rm_grad, *m, *v;
    double loss, rm_loss;
};

static void run_open(struct run *r, enum cfg_isa isa, size_t threads)
{
    struct pool *pool;
    struct mag_model_stats ms;
    struct mag_rm_stats rs;
    r->s = small_open(isa, 21);
    r->s->cfg.rm.passes = 2;
    ck_assert_int_eq(pool_open(&pool, threads), 0);
    struct mag_train *t = train_open(r->s, pool);
    size_t n = r->s->m->params.count;
    r->grad = calloc(n, sizeof(float));
    r->rm_grad = calloc(n, sizeof(float));
    r->m = calloc(n, sizeof(float));
    r->v = calloc(n, sizeof(float));
    const struct draws *d = &r->s->draws;
    ck_assert_int_eq(mag_model_gradient(t, &r->s->w, d, 3, true, r->grad, &ms), 0);
    r->loss = ms.total;
    ck_assert_int_eq(
        mag_rm_score(t, &r->s->w, d, 3, false, NULL, NULL, NULL, r->rm_grad, &r->rm_loss), 0);
    for (uint64_t step = 0; step < 2; step++) {
        ck_assert_int_eq(mag_model_step(t, &r->s->w, d, step, &ms), 0);
        ck_assert_int_eq(mag_rm_step(t, &r->s->w, d, step, &rs), 0);
        ck_assert(!ms.skipped && !rs.skipped);
    }
    memcpy(r->m, mag_train_state(t)->m, n * sizeof(float));
    memcpy(r->v, mag_train_state(t)->v, n * sizeof(float));
    mag_train_close(t);
    pool_close(pool);
}

static void run_close(struct run *r)
{
    free(r->grad);
    free(r->rm_grad);
    free(r->m);
    free(r->v);
    small_close(r->s);
}

static void same_runs(const struct run *a, const struct run *b)
{
    size_t bytes = a->s->m->params.count * sizeof(float);
    ck_assert(a->loss == b->loss && a->rm_loss == b->rm_loss);
    ck_assert_mem_eq(a->grad, b->grad, bytes);
    ck_assert_mem_eq(a->rm_grad, b->rm_grad, bytes);
    ck_assert_mem_eq(a->s->m->params.value, b->s->m->params.value, bytes);
    ck_assert_mem_eq(a->m, b->m, bytes);
    ck_assert_mem_eq(a->v, b->v, bytes);
}

START_TEST(one_two_and_three_threads_give_the_same_bits)
{
    struct run one, more;
    run_open(&one, ISA_AUTO, 1);
    run_open(&more, ISA_AUTO, (size_t)_i);
    same_runs(&one, &more);
    run_close(&one);
    run_close(&more);
}
END_TEST

START_TEST(every_instruction_set_trains_to_the_bits_of_the_reference)
{
    static const enum cfg_isa isa[] = {ISA_AVX2, ISA_AVX512};
    if (!kern_supported(isa[_i]))
        return;
    struct run ref, fast;
    run_open(&ref, ISA_REF, 1);
    run_open(&fast, isa[_i], 2);
    same_runs(&ref, &fast);
    run_close(&ref);
    run_close(&fast);
}
END_TEST

/* -------------------------------------------------------------------------------- gradients */

/* Loss when the parameters named `prefix` move by eps along their own gradient's direction. */
static double moved_loss(struct small *s, struct mag_train *t, const float *grad,
                         const char *prefix, double length, double eps, bool rm)
{
    const struct params *p = &s->m->params;
    double loss = 0;
    float *keep = malloc(p->count * sizeof(float));
    memcpy(keep, p->value, p->count * sizeof(float));
    for (size_t i = 0; i < p->n; i++) {
        const struct param *e = &p->table[i];
        if (strncmp(e->name, prefix, strlen(prefix)) != 0)
            continue;
        for (size_t k = e->offset; k < e->offset + e->count; k++)
            p->value[k] += (float)(eps * (double)grad[k] / length);
    }
    mag_refresh(s->m, MAG_NEEDS_ALL);
    if (rm) {
        ck_assert_int_eq(
            mag_rm_score(t, &s->w, &s->draws, 1, false, NULL, NULL, NULL, NULL, &loss), 0);
    } else {
        struct mag_model_stats st;
        float *scratch = malloc(p->count * sizeof(float));
        ck_assert_int_eq(mag_model_gradient(t, &s->w, &s->draws, 1, true, scratch, &st), 0);
        loss = st.total;
        free(scratch);
    }
    memcpy(p->value, keep, p->count * sizeof(float));
    mag_refresh(s->m, MAG_NEEDS_ALL);
    free(keep);
    return loss;
}

/* Networks whose gradient no stop-gradient and no straight-through touches. */
static const char *const plain_nets[] = {"model.reward.",  "model.pcont.",       "model.avail.",
                                         "model.decoder.", "model.action_info.", "rm."};
enum { PLAIN = sizeof plain_nets / sizeof *plain_nets };

START_TEST(gradients_of_the_heads_are_central_differences)
{
    struct small *s = small_open(ISA_AUTO, 4);
    struct mag_train *t = train_open(s, NULL);
    const struct params *p = &s->m->params;
    const char *prefix = plain_nets[_i];
    bool rm = strcmp(prefix, "rm.") == 0;
    float *grad = calloc(p->count, sizeof(float));
    struct mag_model_stats st;
    if (rm)
        ck_assert_int_eq(
            mag_rm_score(t, &s->w, &s->draws, 1, false, NULL, NULL, NULL, grad, NULL), 0);
    else
        ck_assert_int_eq(mag_model_gradient(t, &s->w, &s->draws, 1, true, grad, &st), 0);

    double square = 0;
    for (size_t i = 0; i < p->n; i++)
        if (strncmp(p->table[i].name, prefix, strlen(prefix)) == 0)
            for (size_t k = 0; k < p->table[i].count; k++) {
                double g = (double)grad[p->table[i].offset + k];
                square += g * g;
            }
    double length = sqrt(square), eps = 4e-3;
    double up = moved_loss(s, t, grad, prefix, length, eps, rm);
    double down = moved_loss(s, t, grad, prefix, length, -eps, rm);
    double slope = (up - down) / (2 * eps);
    /* float32 forward passes: 1e-6 of a loss of about 5, over eps, is 1e-3 */
    ck_assert_msg(length > 0.01 && fabs(slope - length) < 0.01 * length + 2e-3,
                  "%s gradient %.6f, difference %.6f", prefix, length, slope);
    free(grad);
    mag_train_close(t);
    small_close(s);
}
END_TEST

static bool same_params(const struct small *s, const float *a, const float *b,
                        const char *prefix)
{
    const struct params *p = &s->m->params;
    bool same = true;
    for (size_t i = 0; i < p->n; i++)
        if (strncmp(p->table[i].name, prefix, strlen(prefix)) == 0)
            same &= memcmp(a + p->table[i].offset, b + p->table[i].offset,
                           p->table[i].count * sizeof(float)) == 0;
    return same;
}

START_TEST(absorbing_observations_add_nothing_to_reconstruction_gradients)
{
    struct small *s = small_open(ISA_AUTO, 6);
    struct mag_train *t = train_open(s, NULL);
    struct mag_model_stats st[2];
    size_t n = s->m->params.count, tokens = SMALL_B * s->d.N;
    float *grad[2] = {calloc(n, sizeof(float)), calloc(n, sizeof(float))};
    /* The last observation that is explained, record W-2: no later state is decoded. */
    float *obs = s->obs + (SMALL_W - 2) * tokens * s->d.O;
    memset(s->fake + (SMALL_W - 2) * SMALL_B, _i, SMALL_B);
    for (int k = 0; k < 2; k++) {
        ck_assert_int_eq(mag_model_gradient(t, &s->w, &s->draws, 0, false, grad[k], &st[k]), 0);
        for (size_t i = 0; i < tokens * s->d.O; i++)
            obs[i] = -obs[i] + 0.25f;
    }
    bool same = same_params(s, grad[0], grad[1], "model.decoder.") &&
                same_params(s, grad[0], grad[1], "model.action_info.");
    /* With the mask nothing changes; without it the same test sees the change. */
    ck_assert_msg(same == (_i == 1), "fake %d: decoder gradients %s", _i,
                  same ? "equal" : "differ");
    ck_assert((st[0].rec == st[1].rec) == (_i == 1));
    ck_assert(st[0].kl != st[1].kl); /* the other terms have no mask */
    free(grad[0]);
    free(grad[1]);
    mag_train_close(t);
    small_close(s);
}
END_TEST

START_TEST(a_smaller_batch_in_a_larger_memory_gives_the_same_bits)
{
    struct small *s = small_open(ISA_AUTO, 8);
    struct mag_train *t = train_open(s, NULL), *snug;
    struct mag_train_cfg c = {.W = SMALL_W, .B = 2, .cfg = &s->cfg};
    struct mag_windows two = s->w;
    struct mag_model_stats a, b;
    size_t n = s->m->params.count, wide = SMALL_B, N = s->d.N, O = s->d.O, A = s->d.A;
    float *ga = calloc(n, sizeof(float)), *gb = calloc(n, sizeof(float));
    two.B = 2;
    /* Pack the first two windows of every record together. */
    for (size_t k = 1; k < SMALL_W; k++) {
        memmove(s->obs + 2 * k * N * O, s->obs + wide * k * N * O, 2 * N * O * sizeof(float));
        memmove(s->reward + 2 * k * N, s->reward + wide * k * N, 2 * N * sizeof(float));
        memmove(s->action + 2 * k * N, s->action + wide * k * N, 2 * N);
        memmove(s->avail + 2 * k * N * A, s->avail + wide * k * N * A, 2 * N * A);
        memmove(s->done + 2 * k, s->done + wide * k, 2);
        memmove(s->last + 2 * k, s->last + wide * k, 2);
    }
    ck_assert_int_eq(mag_model_gradient(t, &two, &s->draws, 0, true, ga, &a), 0);
    mag_train_close(t);
    ck_assert_int_eq(mag_train_open(&snug, s->m, &c, NULL), 0);
    ck_assert_int_eq(mag_model_gradient(snug, &two, &s->draws, 0, true, gb, &b), 0);
    ck_assert_mem_eq(ga, gb, n * sizeof(float));
    ck_assert(a.total == b.total);
    two.B = 3;
    ck_assert_int_ne(mag_model_gradient(snug, &two, &s->draws, 0, true, gb, &b), 0);
    free(ga);
    free(gb);
    mag_train_close(snug);
    small_close(s);
}
END_TEST

START_TEST(zeroing_first_actions_matters_only_where_an_episode_begins)
{
    struct small *s = small_open(ISA_AUTO, 10);
    struct mag_model_stats st[2];
    memset(s->last, 0, (size_t)SMALL_W * SMALL_B);
    if (_i)
        s->last[(_i - 1) * SMALL_B] = 1; /* record 0: step 0 opens an episode; 3: step 3 does */
    for (int k = 0; k < 2; k++) {
        s->cfg.train.zero_first_action = k == 1;
        struct mag_train *t = train_open(s, NULL);
        float *grad = calloc(s->m->params.count, sizeof(float));
        ck_assert_int_eq(mag_model_gradient(t, &s->w, &s->draws, 0, false, grad, &st[k]), 0);
        free(grad);
        mag_train_close(t);
    }
    ck_assert_msg((st[0].total == st[1].total) == (_i == 0), "total %.9g and %.9g", st[0].total,
                  st[1].total);
    small_close(s);
}
END_TEST

/* ------------------------------------------------------------------------------------ steps */

START_TEST(a_step_moves_every_group_of_its_optimiser_and_no_other)
{
    struct small *s = small_open(ISA_AUTO, 12);
    struct mag_train *t = train_open(s, NULL);
    struct mag_model_stats st;
    struct mag_rm_stats rs;
    size_t n = s->m->params.count;
    float *before = malloc(n * sizeof(float));
    memcpy(before, s->m->params.value, n * sizeof(float));

    ck_assert_int_eq(mag_model_step(t, &s->w, &s->draws, 0, &st), 0);
    ck_assert(!same_params(s, before, s->m->params.value, "model.encoder.0.weight"));
    ck_assert(!same_params(s, before, s->m->params.value, "model.prior.2.weight"));
    ck_assert(!same_params(s, before, s->m->params.value, "model.action_info.4.weight"));
    ck_assert(same_params(s, before, s->m->params.value, "rm."));
    ck_assert(same_params(s, before, s->m->params.value, "actor."));
    ck_assert(same_params(s, before, s->m->params.value, "critic."));
    ck_assert_uint_eq(mag_train_state(t)->opt[OPT_MODEL].steps, 1);
    ck_assert_uint_eq(mag_train_state(t)->opt[OPT_RM].steps, 0);

    memcpy(before, s->m->params.value, n * sizeof(float));
    ck_assert_int_eq(mag_rm_step(t, &s->w, &s->draws, 0, &rs), 0);
    ck_assert(same_params(s, before, s->m->params.value, "model."));
    ck_assert(!same_params(s, before, s->m->params.value, "rm.0.weight"));
    ck_assert(!same_params(s, before, s->m->params.value, "rm.8.weight"));
    ck_assert(rs.grad_norm > 0 && rs.loss > 0);
    free(before);
    mag_train_close(t);
    small_close(s);
}
END_TEST

START_TEST(training_on_one_batch_lowers_its_loss)
{
    struct small *s = small_open(ISA_AUTO, 14);
    s->cfg.lr.model = 2e-3;
    s->cfg.lr.rm = 2e-3;
    struct mag_train *t = train_open(s, NULL);
    struct mag_model_stats first, st;
    struct mag_rm_stats rfirst, rs;
    ck_assert_int_eq(mag_model_step(t, &s->w, &s->draws, 0, &first), 0);
    for (uint64_t i = 1; i < 60; i++)
        ck_assert_int_eq(mag_model_step(t, &s->w, &s->draws, i, &st), 0);
    ck_assert_msg(st.total < 0.7 * first.total, "total %.4f, at first %.4f", st.total,
                  first.total);
    ck_assert_int_eq(mag_rm_step(t, &s->w, &s->draws, 0, &rfirst), 0);
    for (uint64_t i = 1; i < 60; i++)
        ck_assert_int_eq(mag_rm_step(t, &s->w, &s->draws, i, &rs), 0);
    ck_assert_msg(rs.loss < 0.5 * rfirst.loss, "R_m %.4f, at first %.4f", rs.loss, rfirst.loss);
    mag_train_close(t);
    small_close(s);
}
END_TEST

START_TEST(no_share_of_the_rates_left_is_no_step)
{
    struct small *s = small_open(ISA_AUTO, 15);
    struct mag_train *t = train_open(s, NULL);
    struct mag_model_stats st;
    size_t n = s->m->params.count;
    float *before = malloc(n * sizeof(float));
    memcpy(before, s->m->params.value, n * sizeof(float));
    mag_train_state(t)->rate = 0;
    ck_assert_int_eq(mag_model_step(t, &s->w, &s->draws, 0, &st), 0);
    ck_assert(same_params(s, before, s->m->params.value, "model.encoder.0.weight"));
    mag_train_state(t)->rate = 0.5;
    ck_assert_int_eq(mag_model_step(t, &s->w, &s->draws, 1, &st), 0);
    ck_assert(!same_params(s, before, s->m->params.value, "model.encoder.0.weight"));
    free(before);
    mag_train_close(t);
    small_close(s);
}
END_TEST

START_TEST(a_step_that_is_not_finite_changes_nothing_and_is_counted)
{
    struct small *s = small_open(ISA_AUTO, 16);
    struct mag_train *t = train_open(s, NULL);
    struct mag_model_stats st;
    struct mag_rm_stats rs;
    size_t n = s->m->params.count;
    float *before = malloc(n * sizeof(float));
    memcpy(before, s->m->params.value, n * sizeof(float));
    float keep = s->reward[3 * SMALL_B * s->d.N];
    s->reward[3 * SMALL_B * s->d.N] = _i ? NAN : INFINITY;
    ck_assert_int_eq(mag_model_step(t, &s->w, &s->draws, 0, &st), 0);
    ck_assert_int_eq(mag_rm_step(t, &s->w, &s->draws, 0, &rs), 0);
    ck_assert(st.skipped && rs.skipped);
    ck_assert_uint_eq(mag_train_state(t)->skipped, 2);
    ck_assert_uint_eq(mag_train_state(t)->skipped_by[OPT_MODEL], 1);
    ck_assert_uint_eq(mag_train_state(t)->skipped_by[OPT_RM], 1);
    ck_assert_uint_eq(mag_train_state(t)->opt[OPT_MODEL].steps, 0);
    ck_assert_mem_eq(before, s->m->params.value, n * sizeof(float));
    for (size_t i = 0; i < n; i++)
        ck_assert(mag_train_state(t)->m[i] == 0 && mag_train_state(t)->v[i] == 0);

    s->reward[3 * SMALL_B * s->d.N] = keep; /* and the next one is as if nothing had been */
    ck_assert_int_eq(mag_model_step(t, &s->w, &s->draws, 0, &st), 0);
    ck_assert(!st.skipped);
    free(before);
    mag_train_close(t);
    small_close(s);
}
END_TEST

START_TEST(scoring_with_metric_draws_changes_no_weight_and_no_later_draw)
{
    struct small *s = small_open(ISA_AUTO, 18);
    struct mag_train *t = train_open(s, NULL);
    size_t n = s->m->params.count, tokens = (SMALL_W - 2) * SMALL_B * s->d.N;
    float *before = malloc(n * sizeof(float)), *label = malloc(tokens * sizeof(float));
    float *again = malloc(tokens * sizeof(float)), *pred = malloc(tokens * sizeof(float));
    double loss, mean = 0;
    memcpy(before, s->m->params.value, n * sizeof(float));
    ck_assert_int_eq(mag_rm_score(t, &s->w, &s->draws, 0, true, label, pred, NULL, NULL, &loss),
                     0);
    ck_assert_int_eq(mag_rm_score(t, &s->w, &s->draws, 0, false, again, NULL, NULL, NULL, NULL),
                     0);
    ck_assert_mem_ne(label, again, tokens * sizeof(float)); /* other draws */
    ck_assert_int_eq(mag_reward_score(t, &s->w, &s->draws, 0, pred), 0);
    ck_assert_mem_eq(before, s->m->params.value, n * sizeof(float));
    for (size_t i = 0; i < tokens / s->d.N; i++)
        mean += (double)fabsf(pred[i]);
    ck_assert(isfinite(mean) && mean > 0 && isfinite(loss));
    free(before);
    free(label);
    free(again);
    free(pred);
    mag_train_close(t);
    small_close(s);
}
END_TEST

/* ----------------------------------------------------------------------------- initial values */

static const float *block(const struct small *s, const char *name, const struct param **e)
{
    size_t i = params_find(&s->m->params, name);
    ck_assert_msg(i != (size_t)-1, "no parameter %s", name);
    *e = &s->m->params.table[i];
    return s->m->params.value + (*e)->offset;
}

static float largest(const struct small *s, const char *name)
{
    const struct param *e;
    const float *x = block(s, name, &e);
    float most = 0;
    for (size_t i = 0; i < e->count; i++)
        most = fmaxf(most, fabsf(x[i]));
    return most;
}

START_TEST(initial_values_follow_their_distributions)
{
    struct small *s = small_open(ISA_AUTO, 22);
    const struct param *e;
    double D = 32;
    /* Bounds are nearly reached and never passed. */
    struct {
        const char *name;
        double bound;
    } uniform[] = {
        {"model.encoder.2.weight", sqrt(6 / (2 * D))},
        {"model.transition.gru.weight_ih_l0", sqrt(6 / (4 * D))},
        {"model.transition.attention.layers.0.self_attn.in_proj_weight", sqrt(6 / (4 * D))},
        {"critic.input.weight", sqrt(6 / (32 + 2 * D))},
        {"rm.2.weight", sqrt(1 / D)},
        {"model.encoder.2.bias", sqrt(1 / D)},
        {"model.transition.gru.bias_hh_l0", sqrt(1 / D)},
        {"actor.2.bias", sqrt(1 / D)},
        {"rm.8.bias", sqrt(1 / D)},
    };
    for (size_t i = 0; i < sizeof uniform / sizeof *uniform; i++) {
        double most = (double)largest(s, uniform[i].name);
        bool one = strcmp(uniform[i].name, "rm.8.bias") == 0; /* a single draw */
        ck_assert_msg(most <= uniform[i].bound * 1.000001 &&
                          (one || most > 0.85 * uniform[i].bound),
                      "%s: largest %.6f, bound %.6f", uniform[i].name, most, uniform[i].bound);
    }
    ck_assert(largest(s, "model.transition.attention.layers.1.self_attn.in_proj_bias") == 0);
    ck_assert(largest(s, "critic.attention.layers.0.self_attn.out_proj.bias") == 0);
    const float *gamma = block(s, "model.transition.attention.layers.0.norm1.weight", &e);
    for (size_t i = 0; i < e->out; i++)
        ck_assert(gamma[i] == 1);
    ck_assert(largest(s, "critic.attention.layers.0.norm2.bias") == 0);
    small_close(s);
}
END_TEST

START_TEST(the_actor_starts_orthonormal)
{
    struct small *s = small_open(ISA_AUTO, 24);
    static const char *const name[] = {"actor.0.weight", "actor.2.weight", "actor.4.weight"};
    for (int k = 0; k < 3; k++) {
        const struct param *e;
        const float *w = block(s, name[k], &e); /* [in][out_pad], rows of torch = columns */
        ck_assert_uint_le(e->out, e->in);
        for (size_t a = 0; a < e->out; a++)
            for (size_t b = 0; b <= a; b++) {
                double dot = 0;
                for (size_t i = 0; i < e->in; i++)
                    dot += (double)w[i * e->ld + a] * (double)w[i * e->ld + b];
                ck_assert_msg(fabs(dot - (a == b)) < 1e-5, "%s rows %zu, %zu: %.7f", name[k], a,
                              b, dot);
            }
    }
    small_close(s);
}
END_TEST

START_TEST(initial_values_depend_on_the_seed_alone)
{
    struct small *a = small_open(ISA_AUTO, 26), *b = small_open(ISA_REF, 26);
    struct small *c = small_open(ISA_AUTO, 27);
    size_t bytes = a->m->params.count * sizeof(float);
    ck_assert_mem_eq(a->m->params.value, b->m->params.value, bytes);
    ck_assert_mem_ne(a->m->params.value, c->m->params.value, bytes);
    small_close(a);
    small_close(b);
    small_close(c);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("train");
    TCase *c = tcase_create("train");
    tcase_set_timeout(c, 120);
    tcase_add_loop_test(c, one_two_and_three_threads_give_the_same_bits, 2, 4);
    tcase_add_loop_test(c, every_instruction_set_trains_to_the_bits_of_the_reference, 0, 2);
    tcase_add_loop_test(c, gradients_of_the_heads_are_central_differences, 0, PLAIN);
    tcase_add_loop_test(c, absorbing_observations_add_nothing_to_reconstruction_gradients, 0,
                        2);
    tcase_add_test(c, a_smaller_batch_in_a_larger_memory_gives_the_same_bits);
    tcase_add_loop_test(c, zeroing_first_actions_matters_only_where_an_episode_begins, 0, 5);
    tcase_add_test(c, a_step_moves_every_group_of_its_optimiser_and_no_other);
    tcase_add_test(c, no_share_of_the_rates_left_is_no_step);
    tcase_add_test(c, training_on_one_batch_lowers_its_loss);
    tcase_add_loop_test(c, a_step_that_is_not_finite_changes_nothing_and_is_counted, 0, 2);
    tcase_add_test(c, scoring_with_metric_draws_changes_no_weight_and_no_later_draw);
    tcase_add_test(c, initial_values_follow_their_distributions);
    tcase_add_test(c, the_actor_starts_orthonormal);
    tcase_add_test(c, initial_values_depend_on_the_seed_alone);
    suite_add_tcase(s, c);
    return run_suite(s);
}
