/* SPDX-License-Identifier: Apache-2.0 */
/* test_imagine.c - imagination and planning: mag.md 21 items 3, 4, 5, 7, and same bits. */
#include "mag_small.h"
#include "suite.h"

#include "base/err.h"
#include "mag_priv.h"
#include "nn/half.h"
#include "nn/kern.h"
#include "plan.h"
#include "rl/lambda_return.h"

#include <math.h>

static struct small *s;

static void setup(void)
{
    pool_fp_mode();
    s = small_open(ISA_AUTO, 11);
}
static void teardown(void)
{
    small_close(s);
}

/* From here on s plans in half precision, with the reference where the CPU has nothing. */
static void plan_in_half(void)
{
    if (!kern_half_supported()) {
        small_close(s);
        s = small_open(ISA_REF, 11);
    }
    s->cfg.imagine.precision = PRECISION_HALF;
}

/* ------------------------------------------------------------------------------- the choice */

START_TEST(one_candidate_reproduces_the_plain_draw)
{
    struct batch one = {0}, plain = {0};
    s->cfg.imagine.candidates = 1;
    batch_imagine(&one, s, 1);
    s->cfg.imagine.search = SEARCH_NONE;
    batch_imagine(&plain, s, 1);
    batch_same(&one, &plain, &s->d);
    ck_assert_uint_eq(plain.stats.choices, 0);
    batch_close(&one);
    batch_close(&plain);
}
END_TEST

START_TEST(no_candidates_or_no_horizon_is_the_plain_draw)
{
    struct batch none = {0}, plain = {0};
    if (_i)
        s->cfg.imagine.candidates = 0;
    else
        s->cfg.imagine.horizon = 0;
    batch_imagine(&none, s, 1);
    s->cfg.imagine.search = SEARCH_NONE;
    batch_imagine(&plain, s, 1);
    batch_same(&none, &plain, &s->d);
    batch_close(&none);
    batch_close(&plain);
}
END_TEST

START_TEST(all_candidates_share_h_and_differ_in_their_latents)
{
    /* h of state 1 is the same whatever was chosen, and the choice did change latents */
    struct batch many = {0}, plain = {0};
    batch_imagine(&many, s, 1);
    s->cfg.imagine.search = SEARCH_NONE;
    batch_imagine(&plain, s, 1);
    size_t state = many.S * s->d.N;
    ck_assert_mem_eq(many.rows.h + state * s->d.D, plain.rows.h + state * s->d.D,
                     state * s->d.D * sizeof(float));
    ck_assert_int_ne(memcmp(many.rows.index + state * s->d.C, plain.rows.index + state * s->d.C,
                            state * s->d.C),
                     0);
    batch_close(&many);
    batch_close(&plain);
}
END_TEST

START_TEST(every_start_takes_its_candidate_of_least_score)
{
    struct batch b = {0};
    batch_imagine(&b, s, 1);
    size_t taken[3] = {0};
    for (size_t i = 0; i + 1 < b.R; i++) {
        for (size_t k = 0; k < b.S; k++) {
            const float *score = b.trace.scores + i * b.L * b.S + k;
            int64_t choice = b.trace.choice[i * b.S + k];
            for (size_t j = 0; j < b.L; j++)
                ck_assert_msg(score[(size_t)choice * b.S] <= score[j * b.S],
                              "step %zu start %zu took %lld", i, k, (long long)choice);
            taken[choice]++;
        }
    }
    ck_assert_uint_eq(b.stats.choices, 3 * b.S);
    for (size_t j = 0; j < 3; j++) {
        ck_assert_uint_gt(taken[j], 0);
        ck_assert_uint_eq(b.stats.picked[j], taken[j]);
    }
    ck_assert_double_lt(b.stats.chosen, b.stats.mean);
    batch_close(&b);
}
END_TEST

START_TEST(ties_go_to_the_lowest_candidate)
{
    struct batch b = {0};
    small_fill(s, "rm.8.weight", 0);
    small_fill(s, "rm.8.bias", 0);
    mag_refresh(s->m, 1 << MAG_RM);
    batch_imagine(&b, s, 1);
    for (size_t k = 0; k < (b.R - 1) * b.S; k++)
        ck_assert_int_eq(b.trace.choice[k], 0);
    ck_assert_uint_eq(b.stats.picked[0], b.stats.choices);
    batch_close(&b);
}
END_TEST

START_TEST(batch_wide_choice_takes_one_index_by_the_mean_score)
{
    struct batch b = {0};
    s->cfg.imagine.choice = CHOICE_BATCH;
    batch_imagine(&b, s, 2);
    for (size_t i = 0; i + 1 < b.R; i++) {
        double mean[3] = {0};
        for (size_t j = 0; j < b.L; j++)
            for (size_t k = 0; k < b.S; k++)
                mean[j] += (double)b.trace.scores[(i * b.L + j) * b.S + k];
        int64_t least = 0;
        for (size_t j = 1; j < b.L; j++)
            least = mean[j] < mean[least] ? (int64_t)j : least;
        for (size_t k = 0; k < b.S; k++)
            ck_assert_int_eq(b.trace.choice[i * b.S + k], least);
    }
    batch_close(&b);
}
END_TEST

START_TEST(batch_wide_choice_refuses_a_part_of_the_batch)
{
    struct batch b = {0};
    struct mag_imagine_cfg cfg = {.W = SMALL_W, .windows_max = SMALL_B, .cfg = &s->cfg};
    struct mag_imagine *im;
    uint32_t global[2] = {0, 1};
    struct mag_windows part = s->w;
    part.B = 2;
    s->cfg.imagine.choice = CHOICE_BATCH;
    batch_open(&b, s, 2);
    ck_assert_int_eq(mag_imagine_open(&im, s->m, &cfg, NULL), 0);
    ck_assert_int_eq(
        mag_imagine_windows(im, &part, global, SMALL_B, &s->draws, 0, &b.rows, &b.stats, NULL),
        ERR_INVAL);
    mag_imagine_close(im);
    batch_close(&b);
}
END_TEST

START_TEST(a_discount_of_zero_scores_the_first_inner_step_only)
{
    struct batch far = {0}, near = {0};
    s->cfg.imagine.discount = 0;
    batch_imagine(&far, s, 1);
    s->cfg.imagine.horizon = 1;
    batch_imagine(&near, s, 1);
    batch_same(&far, &near, &s->d);
    batch_close(&far);
    batch_close(&near);
}
END_TEST

START_TEST(epsilon_one_always_takes_the_plain_draw)
{
    struct batch eps = {0}, plain = {0};
    s->cfg.imagine.epsilon = 1;
    s->cfg.imagine.choice = _i ? CHOICE_BATCH : CHOICE_START;
    batch_imagine(&eps, s, 1);
    s->cfg.imagine.search = SEARCH_NONE;
    batch_imagine(&plain, s, 1);
    batch_same(&eps, &plain, &s->d);
    batch_close(&eps);
    batch_close(&plain);
}
END_TEST

/* A source that counts the draws of one domain on their way to the real one. */
struct spy {
    const struct draws *real;
    enum draw_domain domain;
    size_t seen;
};
static void spy_fill(void *state, enum draw_domain domain, uint64_t item, uint32_t sub,
                     float *u, size_t n)
{
    struct spy *spy = state;
    spy->seen += domain == spy->domain;
    draws_fill(spy->real, domain, item, sub, u, n);
}

START_TEST(the_greedy_inner_policy_asks_for_no_action_draws)
{
    struct draws real = s->draws;
    struct spy spy = {.real = &real, .domain = DRAW_PLAN_ACT};
    struct batch drawn = {0}, greedy = {0};
    s->draws = (struct draws){.fill = spy_fill, .state = &spy};
    batch_imagine(&drawn, s, 1);
    /* R-1 steps, L candidates, H-1 inner policies; none for the last inner step or state */
    ck_assert_uint_eq(spy.seen, 3 * 3 * 2 * drawn.S);
    spy.seen = 0;
    s->cfg.imagine.greedy_inner = true;
    batch_imagine(&greedy, s, 1);
    ck_assert_uint_eq(spy.seen, 0);
    batch_close(&drawn);
    batch_close(&greedy);
}
END_TEST

/* --------------------------------------------------------------------------------- the rows */

START_TEST(stored_h_equals_a_recomputed_transition)
{
    struct batch b = {0};
    batch_imagine(&b, s, 1);
    const struct nets *n = mag_nets(s->m);
    struct arena a;
    size_t N = s->d.N, D = s->d.D, state = b.S * N;
    ck_assert_int_eq(arena_init(&a, nets_work_bytes(&n->d) + state * D * sizeof(float) + 256),
                     0);
    struct nets_work *w = nets_work_carve(&n->d, &a);
    float *h = ARENA_NEW(&a, float, state *D);
    for (size_t i = 0; i + 1 < b.R; i++) {
        size_t at = i * state;
        nets_transition(n, w, h, b.rows.index + at * s->d.C, b.rows.action + at,
                        b.rows.h + at * D, NULL, b.S);
        const float *stored = i + 2 < b.R ? b.rows.h + (at + state) * D : b.trace.last_h;
        ck_assert_mem_eq(h, stored, state * D * sizeof(float));
    }
    arena_fini(&a);
    batch_close(&b);
}
END_TEST

START_TEST(rewards_are_the_agents_mean_at_the_state_and_the_next_h)
{
    struct batch b = {0};
    batch_imagine(&b, s, 1);
    const struct nets *n = mag_nets(s->m);
    struct arena a;
    size_t N = s->d.N, state = b.S * N, ld = nets_pad(1);
    ck_assert_int_eq(arena_init(&a, nets_work_bytes(&n->d) + state * ld * sizeof(float) + 256),
                     0);
    struct nets_work *w = nets_work_carve(&n->d, &a);
    float *reward = ARENA_NEW(&a, float, state *ld);
    for (size_t i = 0; i + 1 < b.R; i++) {
        const float *h = i + 2 < b.R ? b.rows.h + (i + 1) * state * s->d.D : b.trace.last_h;
        nets_one_head(n, w, reward, HEAD_REWARD, b.rows.index + i * state * s->d.C, h, state);
        for (size_t k = 0; k < b.S; k++) {
            double mean = 0;
            for (size_t j = 0; j < N; j++)
                mean += (double)reward[(k * N + j) * ld] / (double)N;
            ck_assert_double_eq_tol((double)b.trace.reward[i * b.S + k], mean, 1e-6);
        }
    }
    arena_fini(&a);
    batch_close(&b);
}
END_TEST

START_TEST(returns_follow_from_rewards_continuations_and_values)
{
    struct batch b = {0};
    batch_imagine(&b, s, 1);
    size_t N = s->d.N, n = b.S * N;
    double gamma = s->cfg.ppo.gamma, lambda = s->cfg.ppo.lambda;
    for (size_t k = 0; k < n; k++) {
        double next_v = (double)b.trace.last_value[k], g = next_v;
        for (size_t i = b.R - 1; i-- > 0;) {
            double r = (double)b.trace.reward[i * b.S + k / N];
            double c = (double)b.trace.cont[i * n + k];
            ck_assert(c > 0 && c < 1);
            g = r + gamma * c * ((1 - lambda) * next_v + lambda * g);
            next_v = (double)b.rows.value[i * n + k];
            double got = (double)b.rows.ret[i * n + k];
            ck_assert_msg(fabs(got - g) < 1e-5, "step %zu token %zu: %.7f, direct %.7f", i, k,
                          got, g);
        }
    }
    ck_assert_uint_eq(b.stats.rewards, 3 * b.S);
    batch_close(&b);
}
END_TEST

START_TEST(lambda_returns_are_the_direct_sum_and_c_0_gives_the_reward)
{
    enum { T = 4 };
    float reward[T] = {1, -2, 0.5f, 3}, cont[T] = {0.9f, 0.8f, 1, 0.7f};
    float value[T + 1] = {0.1f, 0.4f, -0.3f, 2, 1.5f}, ret[T + 1];
    lambda_return_forward(ret, reward, cont, value, T, 1, 1, 0.99f, 0.95f);
    /* sum over stopping times: the bootstrap at step k has weight lambda^(k-1-t) (1-lambda),
     * or lambda^(T-1-t) at the end */
    for (size_t t = 0; t < T; t++) {
        double sum = 0, weight = 1, carry = 1, rewards = 0;
        for (size_t k = t; k < T; k++) {
            rewards += carry * (double)reward[k];
            carry *= 0.99 * (double)cont[k];
            double stop = k + 1 < T ? weight * 0.05 : weight;
            sum += stop * (rewards + carry * (double)value[k + 1]);
            weight *= 0.95;
        }
        ck_assert_double_eq_tol((double)ret[t], sum, 1e-5);
    }
    memset(cont, 0, sizeof(cont));
    lambda_return_forward(ret, reward, cont, value, T, 1, 1, 0.99f, 0.95f);
    for (size_t t = 0; t < T; t++)
        ck_assert_float_eq(ret[t], reward[t]);
}
END_TEST

START_TEST(zero_first_action_leaves_out_the_actions_of_ended_episodes)
{
    struct batch before = {0}, after = {0};
    bool on = _i == 1;
    s->cfg.train.zero_first_action = on;
    batch_imagine(&before, s, 1);
    for (size_t k = 0; k < SMALL_W * SMALL_B; k++)
        for (size_t j = 0; j < s->d.N && s->last[k]; j++)
            s->action[k * s->d.N + j] = (uint8_t)((s->action[k * s->d.N + j] + 1) % s->d.A);
    batch_imagine(&after, s, 1);
    size_t bytes = before.S * s->d.N * s->d.D * sizeof(float); /* start states */
    ck_assert_int_eq(memcmp(before.rows.h, after.rows.h, bytes) == 0, on);
    batch_close(&before);
    batch_close(&after);
}
END_TEST

/* log softmax of A logits at a, in double. */
static double log_policy(const float *logits, size_t A, size_t a)
{
    double max = (double)logits[0], sum = 0;
    for (size_t k = 1; k < A; k++)
        max = fmax(max, (double)logits[k]);
    for (size_t k = 0; k < A; k++)
        sum += exp((double)logits[k] - max);
    return (double)logits[a] - max - log(sum);
}

START_TEST(actions_are_available_and_logp_is_their_masked_log_softmax)
{
    struct batch b = {0};
    small_bias(s, "model.avail.4.bias", s->d.A, -1); /* more masked, some tokens wholly */
    mag_refresh(s->m, 1 << MAG_IMAGINE);
    batch_imagine(&b, s, 1);
    size_t A = s->d.A, masked = 0, empty = 0;
    for (size_t k = 0; k < b.rows.steps * b.S * s->d.N; k++) {
        const float *logits = b.trace.logits + k * A;
        unsigned bits = b.rows.avail[k], action = b.rows.action[k];
        for (size_t a = 0; a < A; a++)
            masked += !(bits >> a & 1);
        for (size_t a = 0; a < A; a++)
            ck_assert_int_eq(bits >> a & 1, logits[a] > -1e9f);
        if (bits == 0) {
            empty++;
            ck_assert_double_eq_tol((double)b.rows.logp[k], -log((double)A), 1e-5);
            continue;
        }
        ck_assert_msg(bits >> action & 1, "token %zu: action %u of mask %x", k, action, bits);
        ck_assert_double_eq_tol((double)b.rows.logp[k], log_policy(logits, A, action), 1e-5);
    }
    ck_assert_uint_gt(masked, 0);
    ck_assert_uint_gt(empty, 0);
    batch_close(&b);
}
END_TEST

/* --------------------------------------------------------------------------------- same bits */

START_TEST(threads_do_not_change_a_bit)
{
    struct batch one = {0}, more = {0};
    if (_i >= 4)
        plan_in_half();
    s->cfg.imagine.choice = _i % 2 ? CHOICE_BATCH : CHOICE_START;
    batch_imagine(&one, s, 1);
    batch_imagine(&more, s, 2 + (size_t)_i % 4 / 2);
    batch_same(&one, &more, &s->d);
    ck_assert_mem_eq(&one.stats, &more.stats, sizeof(one.stats));
    batch_close(&one);
    batch_close(&more);
}
END_TEST

/* Windows first.. of the whole, copied side by side: what a job carries. */
static void cut_windows(struct small *part, const struct small *all, size_t first, size_t n)
{
    size_t N = all->d.N, O = all->d.O;
    *part = *all;
    part->obs = malloc(SMALL_W * n * N * O * sizeof(float));
    part->action = malloc(SMALL_W * n * N);
    part->last = malloc(SMALL_W * n);
    for (size_t t = 0; t < SMALL_W; t++) {
        size_t from = t * SMALL_B + first;
        memcpy(part->obs + t * n * N * O, all->obs + from * N * O, n * N * O * sizeof(float));
        memcpy(part->action + t * n * N, all->action + from * N, n * N);
        memcpy(part->last + t * n, all->last + from, n);
    }
    part->w = (struct mag_windows){
        .W = SMALL_W, .B = n, .obs = part->obs, .action = part->action, .last = part->last};
}

/* Rows of a job against the same windows' rows in the whole batch. */
static void compare_part(const struct batch *part, const struct batch *all, size_t first,
                         size_t n, const struct mag_dims *d)
{
    size_t N = d->N, T = SMALL_W - 2;
    for (size_t i = 0; i < part->rows.steps; i++) {
        for (size_t t = 0; t < T; t++) {
            size_t a = (i * part->S + t * n) * N, b = (i * all->S + t * SMALL_B + first) * N;
            ck_assert_mem_eq(part->rows.index + a * d->C, all->rows.index + b * d->C,
                             n * N * d->C);
            ck_assert_mem_eq(part->rows.h + a * d->D, all->rows.h + b * d->D,
                             n * N * d->D * sizeof(float));
            ck_assert_mem_eq(part->rows.action + a, all->rows.action + b, n * N);
            ck_assert_mem_eq(part->rows.logp + a, all->rows.logp + b, n * N * sizeof(float));
            ck_assert_mem_eq(part->rows.ret + a, all->rows.ret + b, n * N * sizeof(float));
        }
    }
}

START_TEST(jobs_of_any_size_make_the_rows_of_the_whole_batch)
{
    static const size_t sizes[] = {1, 2, 5, 1, 2};
    struct batch all = {0};
    if (_i >= 3)
        plan_in_half();
    batch_imagine(&all, s, 1);
    struct mag_imagine_cfg cfg = {.W = SMALL_W, .windows_max = sizes[_i], .cfg = &s->cfg};
    struct mag_imagine *im;
    ck_assert_int_eq(mag_imagine_open(&im, s->m, &cfg, NULL), 0);
    for (size_t first = 0; first < SMALL_B; first += sizes[_i]) {
        size_t n = SMALL_B - first < sizes[_i] ? SMALL_B - first : sizes[_i];
        struct small part;
        struct batch b = {0};
        uint32_t global[SMALL_B];
        for (size_t k = 0; k < n; k++)
            global[k] = (uint32_t)(first + k);
        cut_windows(&part, s, first, n);
        batch_open(&b, s, n);
        ck_assert_int_eq(mag_imagine_windows(im, &part.w, global, SMALL_B, &s->draws, 2,
                                             &b.rows, &b.stats, NULL),
                         0);
        compare_part(&b, &all, first, n, &s->d);
        batch_close(&b);
        free(part.obs);
        free(part.action);
        free(part.last);
    }
    mag_imagine_close(im);
    batch_close(&all);
}
END_TEST

START_TEST(all_instruction_sets_imagine_the_same_bits)
{
    static const enum cfg_isa isa[] = {ISA_AVX2, ISA_AVX512};
    struct batch ref = {0}, fast = {0};
    if (!kern_supported(isa[_i]))
        return;
    struct small *a = small_open(ISA_REF, 11), *b = small_open(isa[_i], 11);
    batch_imagine(&ref, a, 1);
    batch_imagine(&fast, b, 1);
    batch_same(&ref, &fast, &s->d);
    batch_close(&ref);
    batch_close(&fast);
    small_close(a);
    small_close(b);
}
END_TEST

/* ------------------------------------------------------------------------- half precision */

START_TEST(half_precision_is_the_reference_in_every_bit)
{
    struct batch ref = {0}, fast = {0};
    if (!kern_half_supported())
        return;
    struct small *a = small_open(ISA_REF, 11), *b = small_open(ISA_AUTO, 11);
    a->cfg.imagine.precision = b->cfg.imagine.precision = PRECISION_HALF;
    batch_imagine(&ref, a, 1);
    batch_imagine(&fast, b, 2);
    batch_same(&ref, &fast, &s->d);
    ck_assert_mem_eq(ref.trace.scores, fast.trace.scores,
                     ref.rows.steps * ref.L * ref.S * sizeof(float));
    batch_close(&ref);
    batch_close(&fast);
    small_close(a);
    small_close(b);
}
END_TEST

/* With one candidate there is nothing to choose: whatever the scores, no bit of the rows may
 * change. The scores themselves are near each other, and not equal. */
START_TEST(half_precision_reaches_scores_and_no_row)
{
    struct batch f = {0}, h = {0};
    plan_in_half();
    s->cfg.imagine.candidates = 1;
    s->cfg.imagine.greedy_inner = true;
    /* 1: R_m's head alone; more than 2: inner draws that fall elsewhere would hide the size */
    s->cfg.imagine.horizon = 1 + (uint32_t)_i;
    batch_imagine(&h, s, 1);
    s->cfg.imagine.precision = PRECISION_FLOAT32;
    batch_imagine(&f, s, 1);
    batch_same(&f, &h, &s->d);
    ck_assert_mem_eq(f.trace.logits, h.trace.logits,
                     f.rows.steps * f.S * s->d.N * s->d.A * sizeof(float));
    ck_assert_mem_eq(f.trace.reward, h.trace.reward, f.rows.steps * f.S * sizeof(float));
    ck_assert_mem_eq(f.trace.last_h, h.trace.last_h, f.S * s->d.N * s->d.D * sizeof(float));
    size_t differ = 0, near = 0, n = f.rows.steps * f.S;
    for (size_t k = 0; k < n; k++) {
        differ += f.trace.scores[k] != h.trace.scores[k];
        near += fabsf(f.trace.scores[k] - h.trace.scores[k]) < 0.02f;
    }
    ck_assert_msg(differ > n / 2, "%zu of %zu scores differ", differ, n);
    ck_assert_msg(near > n * 9 / 10, "%zu of %zu scores are near", near, n);
    batch_close(&f);
    batch_close(&h);
}
END_TEST

/* The rounded copy must follow every weight that a score depends on. */
START_TEST(half_precision_follows_changed_weights)
{
    static const char *const weight[] = {
        "rm.0.weight",
        "rm.8.weight",
        "actor.4.weight",
        "model.avail.2.weight",
        "model.prior.2.weight",
        "model.transition.gru.weight_hh_l0",
        "model.transition.attention.layers.1.self_attn.in_proj_weight"};
    plan_in_half(); /* may open another s */
    struct mag_imagine_cfg cfg = {.W = SMALL_W, .windows_max = SMALL_B, .cfg = &s->cfg};
    struct batch kept = {0}, anew = {0};
    struct mag_imagine *im;
    uint32_t global[SMALL_B] = {0, 1, 2, 3, 4};
    size_t n;
    batch_open(&kept, s, SMALL_B);
    ck_assert_int_eq(mag_imagine_open(&im, s->m, &cfg, NULL), 0);
    for (int round = 0; round < 2; round++) {
        ck_assert_int_eq(mag_imagine_windows(im, &s->w, global, SMALL_B, &s->draws, 2,
                                             &kept.rows, &kept.stats, &kept.trace),
                         0);
        float *p = small_param(s, weight[_i], &n);
        for (size_t k = 0; k < n && round == 0; k++)
            p[k] *= -1.5f;
        size_t row = params_find(&s->m->params, weight[_i]);
        mag_refresh(s->m, 1u << s->m->params.table[row].group);
    }
    mag_imagine_close(im);
    batch_imagine(&anew, s, 1);
    batch_same(&kept, &anew, &s->d);
    ck_assert_mem_eq(kept.trace.scores, anew.trace.scores,
                     kept.rows.steps * kept.L * kept.S * sizeof(float));
    batch_close(&kept);
    batch_close(&anew);
}
END_TEST

static struct mag_precision precision_of(enum cfg_precision wanted, enum cfg_schedule schedule,
                                         enum cfg_isa isa, int *err)
{
    struct small *t = small_open(isa, 11);
    struct mag_imagine_cfg cfg = {.W = SMALL_W, .windows_max = SMALL_B, .cfg = &t->cfg};
    struct mag_precision p = {0};
    struct mag_imagine *im = NULL;
    t->cfg.imagine.precision = wanted;
    t->cfg.schedule = schedule;
    *err = mag_imagine_open(&im, t->m, &cfg, NULL);
    if (!*err)
        p = *mag_imagine_precision(im);
    mag_imagine_close(im);
    small_close(t);
    return p;
}

START_TEST(auto_measures_unless_all_must_agree)
{
    int err;
    struct mag_precision p = precision_of(PRECISION_AUTO, SCHEDULE_LOCKSTEP, ISA_AUTO, &err);
    ck_assert_int_eq(err, 0);
    ck_assert(!p.half && !p.measured);
    ck_assert_str_eq(p.name, "float32");

    p = precision_of(PRECISION_AUTO, SCHEDULE_ASYNC, ISA_AUTO, &err);
    ck_assert_int_eq(err, 0);
    ck_assert(p.measured == kern_half_supported());
    if (p.measured)
        ck_assert_msg(p.half == (p.half_gflops > 1.2 * p.float32_gflops), "%g, %g: %s",
                      p.float32_gflops, p.half_gflops, p.name);
    ck_assert_str_eq(p.name, p.half ? "bf16" : "float32");

    /* the reference of half is far slower than float32's */
    p = precision_of(PRECISION_AUTO, SCHEDULE_ASYNC, ISA_REF, &err);
    ck_assert_int_eq(err, 0);
    ck_assert(p.measured && !p.half);
}
END_TEST

START_TEST(half_without_kernels_is_refused_with_a_remedy)
{
    int err;
    if (kern_supported(ISA_AVX2)) {
        precision_of(PRECISION_HALF, SCHEDULE_LOCKSTEP, ISA_AVX2, &err);
        ck_assert_int_eq(err, ERR_UNSUPPORTED);
        ck_assert_ptr_nonnull(strstr(err_text(), "float32"));
        precision_of(PRECISION_AUTO, SCHEDULE_ASYNC, ISA_AVX2, &err);
        ck_assert_int_eq(err, 0);
    }
    precision_of(PRECISION_HALF, SCHEDULE_LOCKSTEP, ISA_AUTO, &err);
    ck_assert_int_eq(err, kern_half_supported() ? 0 : ERR_UNSUPPORTED);
}
END_TEST

/* -------------------------------------------------------------------------------- statistics */

START_TEST(plan_statistics_of_one_choice_are_those_of_the_definition)
{
    float scores[3] = {3, 1, 5};
    uint32_t choice;
    struct mag_plan_stats st = {0}, sum = {0};
    plan_choose(&choice, scores, 3, 1, 1);
    plan_account(&st, &choice, scores, 3, 1, 1);
    mag_plan_stats_add(&sum, &st);
    mag_plan_stats_add(&sum, &st);
    ck_assert_uint_eq(choice, 1);
    ck_assert_uint_eq(sum.choices, 2);
    ck_assert_double_eq_tol(sum.chosen, 2, 1e-12);
    ck_assert_double_eq_tol(sum.mean, 6, 1e-12);
    ck_assert_double_eq_tol(sum.within_sq, 2 * 8.0 / 3, 1e-12);
    ck_assert_double_eq_tol(sum.between_sq, 18, 1e-12);
    ck_assert_double_eq_tol(sum.score_sum, 6, 1e-12);
    ck_assert_uint_eq(sum.picked[1], 2);
}
END_TEST

/* ---------------------------------------------------------------------------------- figure 3 */

static struct mag_imagine *open_figure(void)
{
    struct mag_imagine_cfg cfg = {.W = SMALL_W, .windows_max = SMALL_B, .cfg = &s->cfg};
    struct mag_imagine *im;
    ck_assert_int_eq(mag_imagine_open(&im, s->m, &cfg, NULL), 0);
    return im;
}

START_TEST(compounding_error_accumulates_and_planning_changes_it)
{
    double planned[3], plain[3];
    memset(s->last, 0, SMALL_W * SMALL_B);
    struct mag_imagine *im = open_figure();
    ck_assert_int_eq(mag_compounding_error(im, &s->w, &s->draws, 5, planned, plain), 0);
    ck_assert_double_gt(plain[0], 0);
    for (size_t k = 1; k < 3; k++) {
        ck_assert_double_gt(planned[k], planned[k - 1]);
        ck_assert_double_gt(plain[k], plain[k - 1]);
    }
    ck_assert_double_ne(planned[2], plain[2]);
    mag_imagine_close(im);
}
END_TEST

START_TEST(compounding_error_of_one_candidate_is_the_plain_one)
{
    double planned[3], plain[3];
    memset(s->last, 0, SMALL_W * SMALL_B);
    s->cfg.imagine.candidates = 1;
    struct mag_imagine *im = open_figure();
    ck_assert_int_eq(mag_compounding_error(im, &s->w, &s->draws, 5, planned, plain), 0);
    for (size_t k = 0; k < 3; k++)
        ck_assert_double_eq(planned[k], plain[k]);
    mag_imagine_close(im);
}
END_TEST

START_TEST(compounding_error_stops_where_episodes_end)
{
    double planned[3], plain[3];
    /* T = 7, R = 4: the start is t = 3, its record 4; every episode ends after one step */
    memset(s->last, 0, SMALL_W * SMALL_B);
    memset(s->last + 5 * SMALL_B, 1, SMALL_B);
    struct mag_imagine *im = open_figure();
    ck_assert_int_eq(mag_compounding_error(im, &s->w, &s->draws, 5, planned, plain), 0);
    ck_assert(isfinite(planned[0]) && isfinite(plain[0]));
    ck_assert(isnan(planned[1]) && isnan(plain[2]));
    mag_imagine_close(im);
}
END_TEST

/* ---------------------------------------------------------------------------------- refusals */

START_TEST(sizes_beyond_the_draw_counter_are_refused)
{
    struct mag_imagine_cfg cfg = {.W = SMALL_W, .windows_max = SMALL_B, .cfg = &s->cfg};
    struct mag_imagine *im = NULL;
    s->cfg.imagine.horizon = 256;
    ck_assert_int_eq(mag_imagine_open(&im, s->m, &cfg, NULL), ERR_INVAL);
    ck_assert_ptr_null(im);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("imagine");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, one_candidate_reproduces_the_plain_draw);
    tcase_add_loop_test(tc, no_candidates_or_no_horizon_is_the_plain_draw, 0, 2);
    tcase_add_test(tc, all_candidates_share_h_and_differ_in_their_latents);
    tcase_add_test(tc, every_start_takes_its_candidate_of_least_score);
    tcase_add_test(tc, ties_go_to_the_lowest_candidate);
    tcase_add_test(tc, batch_wide_choice_takes_one_index_by_the_mean_score);
    tcase_add_test(tc, batch_wide_choice_refuses_a_part_of_the_batch);
    tcase_add_test(tc, a_discount_of_zero_scores_the_first_inner_step_only);
    tcase_add_loop_test(tc, epsilon_one_always_takes_the_plain_draw, 0, 2);
    tcase_add_test(tc, the_greedy_inner_policy_asks_for_no_action_draws);
    tcase_add_test(tc, stored_h_equals_a_recomputed_transition);
    tcase_add_test(tc, rewards_are_the_agents_mean_at_the_state_and_the_next_h);
    tcase_add_test(tc, returns_follow_from_rewards_continuations_and_values);
    tcase_add_loop_test(tc, zero_first_action_leaves_out_the_actions_of_ended_episodes, 0, 2);
    tcase_add_test(tc, lambda_returns_are_the_direct_sum_and_c_0_gives_the_reward);
    tcase_add_test(tc, actions_are_available_and_logp_is_their_masked_log_softmax);
    tcase_add_loop_test(tc, threads_do_not_change_a_bit, 0, 8);
    tcase_add_loop_test(tc, jobs_of_any_size_make_the_rows_of_the_whole_batch, 0, 5);
    tcase_add_loop_test(tc, all_instruction_sets_imagine_the_same_bits, 0, 2);
    tcase_add_test(tc, half_precision_is_the_reference_in_every_bit);
    tcase_add_loop_test(tc, half_precision_reaches_scores_and_no_row, 0, 2);
    tcase_add_loop_test(tc, half_precision_follows_changed_weights, 0, 7);
    tcase_add_test(tc, auto_measures_unless_all_must_agree);
    tcase_add_test(tc, half_without_kernels_is_refused_with_a_remedy);
    tcase_add_test(tc, plan_statistics_of_one_choice_are_those_of_the_definition);
    tcase_add_test(tc, compounding_error_accumulates_and_planning_changes_it);
    tcase_add_test(tc, compounding_error_of_one_candidate_is_the_plain_one);
    tcase_add_test(tc, compounding_error_stops_where_episodes_end);
    tcase_add_test(tc, sizes_beyond_the_draw_counter_are_refused);
    tcase_set_timeout(tc, 60);
    Suite *suite = suite_create("imagine");
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
