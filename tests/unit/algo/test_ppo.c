/* SPDX-License-Identifier: Apache-2.0 */
/* test_ppo.c - PPO: mag.md 21 items 8 and 9, gradients against finite differences, same bits. */
#include "mag_small.h"
#include "suite.h"

#include "base/err.h"
#include "mag_priv.h"
#include "nn/kern.h"

#include <math.h>

enum { MINIBATCH = 48 }; /* two tasks of the pass: 42 joint rows of 3 agents and the rest */

static struct small *s;
static struct batch b;
static struct mag_train *t;
static size_t n_rows;

static struct mag_train *open_train(struct small *of, struct pool *pool)
{
    struct mag_train *train;
    struct mag_train_cfg cfg = {.W = SMALL_W,
                                .B = SMALL_B,
                                .S = b.S,
                                .rows_max = n_rows,
                                .minibatch = MINIBATCH,
                                .cfg = &of->cfg};
    ck_assert_int_eq(mag_train_open(&train, of->m, &cfg, pool), 0);
    return train;
}

static void setup(void)
{
    pool_fp_mode();
    s = small_open(ISA_AUTO, 31);
    s->cfg.train.ppo_epochs = 2;
    s->cfg.train.minibatch = MINIBATCH;
    b = (struct batch){0};
    small_bias(s, "model.avail.4.bias", s->d.A, -0.5f); /* some masks leave nothing */
    mag_refresh(s->m, 1 << MAG_IMAGINE);
    batch_imagine(&b, s, 1);
    n_rows = b.S * b.rows.steps;
    t = open_train(s, NULL);
}
static void teardown(void)
{
    mag_train_close(t);
    batch_close(&b);
    small_close(s);
}

/* --------------------------------------------------------------------- advantage and order */

START_TEST(advantages_have_mean_0_and_deviation_1_over_the_whole_batch)
{
    size_t n = n_rows * s->d.N;
    float *adv = malloc(n * sizeof(float));
    double sum = 0, sq = 0;
    ck_assert_int_eq(mag_ppo_advantage(t, &b.rows, adv), 0);
    for (size_t k = 0; k < n; k++)
        sum += (double)adv[k];
    for (size_t k = 0; k < n; k++)
        sq += ((double)adv[k] - sum / (double)n) * ((double)adv[k] - sum / (double)n);
    ck_assert_double_eq_tol(sum / (double)n, 0, 1e-5);
    /* 1e-4 in the divisor: a little below 1 */
    ck_assert_double_eq_tol(sqrt(sq / (double)(n - 1)), 1, 2e-3);
    free(adv);
}
END_TEST

START_TEST(advantages_that_are_not_numbers_become_0)
{
    size_t n = n_rows * s->d.N;
    float *adv = malloc(n * sizeof(float));
    b.rows.ret[3] = (float)NAN;
    ck_assert_int_eq(mag_ppo_advantage(t, &b.rows, adv), 0);
    for (size_t k = 0; k < n; k++)
        ck_assert_float_eq(adv[k], 0);
    free(adv);
}
END_TEST

START_TEST(an_epochs_order_is_a_stable_argsort_of_its_uniforms)
{
    uint32_t *order = malloc(n_rows * sizeof(*order));
    float *u = malloc(n_rows * sizeof(float));
    bool *seen = calloc(n_rows, sizeof(bool));
    ck_assert_int_eq(mag_ppo_order(t, &s->draws, 2, 1, n_rows, order), 0);
    draws_fill(&s->draws, DRAW_PERM, (uint64_t)2 << 20 | 1, 0, u, n_rows);
    for (size_t k = 0; k < n_rows; k++) {
        ck_assert(order[k] < n_rows && !seen[order[k]]);
        seen[order[k]] = true;
        if (k)
            ck_assert(u[order[k - 1]] < u[order[k]] ||
                      (u[order[k - 1]] <= u[order[k]] && order[k - 1] < order[k]));
    }
    free(order);
    free(u);
    free(seen);
}
END_TEST

static void same_uniforms(void *state, enum draw_domain domain, uint64_t item, uint32_t sub,
                          float *u, size_t n)
{
    (void)state;
    (void)domain;
    (void)item;
    (void)sub;
    for (size_t k = 0; k < n; k++)
        u[k] = k % 2 ? 0.25f : 0.5f;
}

START_TEST(equal_uniforms_keep_their_order)
{
    struct draws draws = {.fill = same_uniforms};
    uint32_t order[8], expected[8] = {1, 3, 5, 7, 0, 2, 4, 6};
    ck_assert_int_eq(mag_ppo_order(t, &draws, 0, 0, 8, order), 0);
    ck_assert_mem_eq(order, expected, sizeof(order));
}
END_TEST

/* ----------------------------------------------------------------------------------- ratio */

START_TEST(the_first_minibatchs_ratio_is_exactly_1)
{
    static const enum cfg_isa isa[] = {ISA_REF, ISA_AVX2, ISA_AVX512};
    if (!kern_supported(isa[_i]))
        return;
    struct small *a = small_open(isa[_i], 31);
    struct batch rows = {0};
    batch_imagine(&rows, a, 1);
    struct mag_train *train = open_train(a, NULL);
    struct mag_ppo_stats st;
    ck_assert_int_eq(mag_ppo_batch(train, &rows.rows, &a->draws, 2, &st, NULL), 0);
    ck_assert_msg(fpclassify(st.first_ratio_error) == FP_ZERO, "off by %g",
                  st.first_ratio_error);
    ck_assert_double_gt(st.kl, 0); /* later ones moved */
    mag_train_close(train);
    batch_close(&rows);
    small_close(a);
}
END_TEST

/* ------------------------------------------------------------------------------- gradients */

/* Which rows, and how the actor is moved away from the old policy so that some ratios lie
 * below, inside and above the clip's range. */
struct point {
    float *adv, *grad;
    uint32_t *order;
};

static struct point open_point(void)
{
    struct point p = {.adv = malloc(n_rows * s->d.N * sizeof(float)),
                      .grad = malloc(s->m->params.count * sizeof(float)),
                      .order = malloc(n_rows * sizeof(uint32_t))};
    ck_assert_int_eq(mag_ppo_advantage(t, &b.rows, p.adv), 0);
    ck_assert_int_eq(mag_ppo_order(t, &s->draws, 2, 0, n_rows, p.order), 0);
    size_t first, count;
    params_range(&s->m->params, MAG_POLICY, MAG_POLICY, &first, &count);
    for (size_t k = first; k < first + count; k++)
        s->m->params.value[k] *= 1.3f;
    mag_refresh(s->m, 1 << MAG_POLICY);
    t->st.entropy_weight = 0.05; /* large enough to be seen */
    return p;
}
static void close_point(struct point *p)
{
    free(p->adv);
    free(p->grad);
    free(p->order);
}

static double loss_of(const struct point *p, float *grad, int critic)
{
    double out[4];
    ck_assert_int_eq(mag_ppo_gradient(t, &b.rows, p->adv, p->order, n_rows, grad, out), 0);
    return out[2 * critic];
}

/* Central difference along a direction that is +-1 on every parameter of the range, chosen by
 * the sign of the gradient on a random half: float32 noise is small against the slope. */
static void check_direction(int critic, uint64_t seed)
{
    struct point p = open_point();
    enum mag_opt opt = critic ? OPT_CRITIC : OPT_ACTOR;
    struct params *all = &s->m->params;
    size_t first, count;
    mag_opt_range(all, opt, &first, &count);
    loss_of(&p, p.grad, critic);
    float *keep = malloc(count * sizeof(float)), *dir = calloc(count, sizeof(float));
    float *unused = malloc(all->count * sizeof(float));
    memcpy(keep, all->value + first, count * sizeof(float));
    struct rng r;
    rng_seed(&r, seed);
    double slope = 0;
    for (size_t k = 0; k < count; k++) {
        float g = p.grad[first + k];
        if (rng_below(&r, 2) && fpclassify(g) != FP_ZERO)
            dir[k] = g > 0 ? 1 : -1;
        slope += (double)(dir[k] * g);
    }
    float eps = 2e-5f;
    double side[2];
    for (int up = 0; up < 2; up++) {
        for (size_t k = 0; k < count; k++)
            all->value[first + k] = keep[k] + (up ? eps : -eps) * dir[k];
        mag_refresh(s->m, MAG_NEEDS_ALL);
        side[up] = loss_of(&p, unused, critic);
    }
    double difference = (side[1] - side[0]) / (2 * (double)eps);
    ck_assert_msg(fabs(difference - slope) < 0.01 * slope, "difference %.6f, gradient %.6f",
                  difference, slope);
    free(keep);
    free(dir);
    free(unused);
    close_point(&p);
}

START_TEST(the_actors_gradient_is_the_slope_of_its_loss)
{
    check_direction(0, 100 + (uint64_t)_i);
}
END_TEST
START_TEST(the_critics_gradient_is_the_slope_of_its_loss)
{
    check_direction(1, 200 + (uint64_t)_i);
}
END_TEST

/* Loss of the actor's batch, straight from the definition, in double. */
static double direct_actor_loss(const struct point *p)
{
    const struct nets *n = mag_nets(s->m);
    size_t N = s->d.N, A = s->d.A, ld = nets_pad(A), tokens = n_rows * N;
    struct arena a;
    ck_assert_int_eq(arena_init(&a, nets_work_bytes(&n->d) + tokens * ld * sizeof(float) + 256),
                     0);
    struct nets_work *w = nets_work_carve(&n->d, &a);
    float *logits = ARENA_NEW(&a, float, tokens *ld);
    nets_one_head(n, w, logits, HEAD_ACTOR, b.rows.index, b.rows.h, tokens);
    double loss = 0;
    for (size_t k = 0; k < tokens; k++) {
        double x[8], max = -1e300, sum = 0, entropy = 0;
        for (size_t j = 0; j < A; j++) {
            x[j] = b.rows.avail[k] >> j & 1 ? (double)logits[k * ld + j] : -1e10;
            max = fmax(max, x[j]);
        }
        for (size_t j = 0; j < A; j++)
            sum += exp(x[j] - max);
        for (size_t j = 0; j < A; j++) {
            double lp = x[j] - max - log(sum);
            entropy -= exp(lp) * lp;
        }
        double lp = x[b.rows.action[k]] - max - log(sum);
        double ratio = exp(lp - (double)b.rows.logp[k]), adv = (double)p->adv[k];
        double bounded = fmin(fmax(ratio, 0.8), 1.2);
        loss += -fmin(ratio * adv, bounded * adv) - t->st.entropy_weight * entropy;
    }
    arena_fini(&a);
    return loss / (double)tokens;
}

START_TEST(the_actors_loss_is_that_of_the_definition)
{
    struct point p = open_point();
    double got = loss_of(&p, p.grad, 0), expected = direct_actor_loss(&p);
    ck_assert_msg(fabs(got - expected) < 1e-6, "%.9f, definition %.9f", got, expected);
    close_point(&p);
}
END_TEST

START_TEST(the_critics_loss_is_half_the_mean_squared_error)
{
    struct point p = open_point();
    double got = loss_of(&p, p.grad, 1), expected = 0;
    for (size_t k = 0; k < n_rows * s->d.N; k++) {
        double error = (double)b.rows.ret[k] - (double)b.rows.value[k];
        expected += 0.5 * error * error / (double)(n_rows * s->d.N);
    }
    ck_assert_msg(fabs(got - expected) < 1e-6, "%.9f, definition %.9f", got, expected);
    close_point(&p);
}
END_TEST

START_TEST(rows_with_nothing_available_move_no_parameter)
{
    struct point p = open_point();
    double out[4];
    size_t first, count;
    memset(b.rows.avail, 0, n_rows * s->d.N);
    ck_assert_int_eq(mag_ppo_gradient(t, &b.rows, p.adv, p.order, n_rows, p.grad, out), 0);
    mag_opt_range(&s->m->params, OPT_ACTOR, &first, &count);
    for (size_t k = first; k < first + count; k++)
        ck_assert_float_eq(p.grad[k], 0);
    close_point(&p);
}
END_TEST

/* -------------------------------------------------------------------------------- same bits */

START_TEST(threads_do_not_change_a_bit_of_the_gradient)
{
    struct point p = open_point();
    struct pool *pool;
    float *grad = malloc(s->m->params.count * sizeof(float));
    double one[4], more[4];
    ck_assert_int_eq(mag_ppo_gradient(t, &b.rows, p.adv, p.order, n_rows, p.grad, one), 0);
    ck_assert_int_eq(pool_open(&pool, (size_t)_i), 0);
    struct mag_train *team = open_train(s, pool);
    team->st.entropy_weight = t->st.entropy_weight;
    ck_assert_int_eq(mag_ppo_gradient(team, &b.rows, p.adv, p.order, n_rows, grad, more), 0);
    ck_assert_mem_eq(grad, p.grad, s->m->params.count * sizeof(float));
    ck_assert_mem_eq(one, more, sizeof(one));
    mag_train_close(team);
    pool_close(pool);
    free(grad);
    close_point(&p);
}
END_TEST

/* ------------------------------------------------------------------------------------ batch */

START_TEST(the_entropy_weight_is_annealed_after_every_actor_step)
{
    struct mag_ppo_stats st;
    double expected = t->st.entropy_weight;
    ck_assert_int_eq(mag_ppo_batch(t, &b.rows, &s->draws, 2, &st, NULL), 0);
    size_t steps = 2 * ((n_rows + MINIBATCH - 1) / MINIBATCH);
    ck_assert_uint_eq(st.actor_steps, steps);
    ck_assert_uint_eq(st.critic_steps, steps);
    for (size_t k = 0; k < steps; k++)
        expected *= s->cfg.ppo.anneal;
    ck_assert_double_eq(t->st.entropy_weight, expected);
}
END_TEST

START_TEST(the_entropy_weight_stops_falling_at_its_floor)
{
    struct mag_ppo_stats st;
    double anneal = s->cfg.ppo.anneal, first = t->st.entropy_weight;
    t->cfg.ppo.entropy_floor = first * anneal * anneal; /* reached exactly, not passed */
    ck_assert_int_eq(mag_ppo_batch(t, &b.rows, &s->draws, 2, &st, NULL), 0);
    ck_assert_uint_gt(st.actor_steps, 2);
    ck_assert_double_eq(t->st.entropy_weight, first * anneal * anneal);
}
END_TEST

START_TEST(returns_that_are_not_finite_change_nothing_and_are_counted)
{
    struct mag_ppo_stats st;
    struct params *all = &s->m->params;
    float *keep = malloc(all->count * sizeof(float));
    for (size_t k = 0; k < n_rows * s->d.N; k++)
        b.rows.ret[k] = (float)INFINITY;
    memcpy(keep, all->value, all->count * sizeof(float));
    ck_assert_int_eq(mag_ppo_batch(t, &b.rows, &s->draws, 2, &st, NULL), 0);
    size_t first, count;
    mag_opt_range(all, OPT_CRITIC, &first, &count);
    ck_assert_mem_eq(keep + first, all->value + first, count * sizeof(float));
    ck_assert_uint_eq(st.critic_steps, 0);
    ck_assert_uint_eq(st.skipped, t->st.skipped);
    ck_assert_uint_ge(st.skipped, 2 * ((n_rows + MINIBATCH - 1) / MINIBATCH));
    free(keep);
}
END_TEST

START_TEST(an_actor_loss_that_is_not_finite_keeps_the_actor)
{
    struct mag_ppo_stats st;
    struct params *all = &s->m->params;
    float *keep = malloc(all->count * sizeof(float));
    double eta = t->st.entropy_weight;
    for (size_t k = 0; k < n_rows * s->d.N; k++)
        b.rows.logp[k] = (float)NAN;
    memcpy(keep, all->value, all->count * sizeof(float));
    ck_assert_int_eq(mag_ppo_batch(t, &b.rows, &s->draws, 2, &st, NULL), 0);
    size_t first, count, steps = 2 * ((n_rows + MINIBATCH - 1) / MINIBATCH);
    mag_opt_range(all, OPT_ACTOR, &first, &count);
    ck_assert_mem_eq(keep + first, all->value + first, count * sizeof(float));
    ck_assert_uint_eq(st.actor_steps, 0);
    ck_assert_uint_eq(st.critic_steps, steps);
    ck_assert_uint_eq(st.skipped, steps);
    ck_assert_uint_eq(t->st.skipped_by[OPT_ACTOR], steps);
    ck_assert_uint_eq(t->st.skipped_by[OPT_CRITIC], 0);
    ck_assert_double_eq(t->st.entropy_weight, eta);
    free(keep);
}
END_TEST

/* One bad number in one row: its minibatch alone is refused, the others count as ever. */
START_TEST(one_bad_row_costs_one_minibatch_an_epoch_and_no_figure)
{
    struct mag_ppo_stats st;
    size_t n = (n_rows + MINIBATCH - 1) / MINIBATCH, steps = 2 * n, bad = 0;
    double(*line)[4] = calloc(steps, sizeof *line);
    if (_i)
        b.rows.logp[5] = NAN;
    else
        b.rows.ret[5] = NAN;
    ck_assert_int_eq(mag_ppo_batch(t, &b.rows, &s->draws, 2, &st, line), 0);
    ck_assert_uint_eq(st.actor_steps, steps - (_i ? 2 : 0));
    ck_assert_uint_eq(st.critic_steps, steps - (_i ? 0 : 2));
    ck_assert_uint_eq(t->st.skipped_by[_i ? OPT_ACTOR : OPT_CRITIC], 2);
    ck_assert_uint_eq(t->st.opt[OPT_ACTOR].steps, st.actor_steps);
    ck_assert_uint_eq(t->st.opt[OPT_CRITIC].steps, st.critic_steps);
    for (size_t k = 0; k < steps; k++)
        bad += isfinite(line[k][_i ? 0 : 2]) ? 0 : 1;
    ck_assert_uint_eq(bad, 2);
    ck_assert(isfinite(st.actor_loss) && isfinite(st.critic_loss) && isfinite(st.entropy) &&
              isfinite(st.kl) && isfinite(st.grad_norm_actor) &&
              isfinite(st.grad_norm_critic) && st.critic_loss > 0 && st.entropy > 0);
    for (size_t k = 0; k < s->m->params.count; k++)
        ck_assert(isfinite(s->m->params.value[k]) && isfinite(t->st.m[k]) &&
                  isfinite(t->st.v[k]));
    free(line);
}
END_TEST

START_TEST(the_critic_learns_the_returns_of_a_batch)
{
    struct mag_ppo_stats first, last = {0};
    ck_assert_int_eq(mag_ppo_batch(t, &b.rows, &s->draws, 0, &first, NULL), 0);
    for (uint64_t k = 1; k < 20; k++)
        ck_assert_int_eq(mag_ppo_batch(t, &b.rows, &s->draws, k, &last, NULL), 0);
    ck_assert_double_lt(last.critic_loss, first.critic_loss);
}
END_TEST

START_TEST(more_rows_than_training_was_opened_for_are_refused)
{
    struct mag_ppo_stats st;
    struct mag_rows rows = b.rows;
    rows.S++;
    ck_assert_int_eq(mag_ppo_batch(t, &rows, &s->draws, 0, &st, NULL), ERR_INVAL);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("ppo");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, advantages_have_mean_0_and_deviation_1_over_the_whole_batch);
    tcase_add_test(tc, advantages_that_are_not_numbers_become_0);
    tcase_add_test(tc, an_epochs_order_is_a_stable_argsort_of_its_uniforms);
    tcase_add_test(tc, equal_uniforms_keep_their_order);
    tcase_add_loop_test(tc, the_first_minibatchs_ratio_is_exactly_1, 0, 3);
    tcase_add_loop_test(tc, the_actors_gradient_is_the_slope_of_its_loss, 0, 3);
    tcase_add_loop_test(tc, the_critics_gradient_is_the_slope_of_its_loss, 0, 3);
    tcase_add_test(tc, the_actors_loss_is_that_of_the_definition);
    tcase_add_test(tc, the_critics_loss_is_half_the_mean_squared_error);
    tcase_add_test(tc, rows_with_nothing_available_move_no_parameter);
    tcase_add_loop_test(tc, threads_do_not_change_a_bit_of_the_gradient, 1, 4);
    tcase_add_test(tc, the_entropy_weight_is_annealed_after_every_actor_step);
    tcase_add_test(tc, the_entropy_weight_stops_falling_at_its_floor);
    tcase_add_test(tc, returns_that_are_not_finite_change_nothing_and_are_counted);
    tcase_add_test(tc, an_actor_loss_that_is_not_finite_keeps_the_actor);
    tcase_add_loop_test(tc, one_bad_row_costs_one_minibatch_an_epoch_and_no_figure, 0, 2);
    tcase_add_test(tc, the_critic_learns_the_returns_of_a_batch);
    tcase_add_test(tc, more_rows_than_training_was_opened_for_are_refused);
    tcase_set_timeout(tc, 60);
    Suite *suite = suite_create("ppo");
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
