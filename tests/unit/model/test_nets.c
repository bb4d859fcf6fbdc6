/* SPDX-License-Identifier: Apache-2.0 */
/* test_nets.c - the networks: how many parameters, and one answer whoever asks how.
 *
 * Numbers against an independent implementation are in tests/golden; here are the counts of the
 * specification and the promises of nets.h and train.h: a row's bits depend on nothing but the
 * row, and the pass with a tape is the pass without. */
#include "suite.h"

#include "model/nets.h"
#include "model/train.h"

#include "base/err.h"
#include "base/rng.h"
#include "nn/init.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOKENS = 300 }; /* more than two blocks */

struct net_fixture {
    struct nets_dims d;
    struct arena arena;
    struct params params;
    struct nets nets;
    struct nets_work *work;
    float *h, *obs;
    uint8_t *index, *action;
};

static void layout(struct params *p, const struct nets_dims *d, struct arena *a)
{
    ck_assert_int_eq(arena_init(a, (size_t)1 << 28), 0);
    ck_assert_int_eq(params_init(p, a, nets_params_max(d)), 0);
    nets_add_params(p, d);
}

static const struct nets_dims small = {3, 7, 5, 32, 5, 6, 4, 2},
                              large = {3,  7,  5, 256,
                                       32, 32, 8, 1}; /* weights that are packed */

static struct net_fixture *fixture_of(enum cfg_isa isa, const struct nets_dims *d)
{
    struct net_fixture *f = calloc(1, sizeof *f);
    const struct kern *k;
    struct philox philox = {.seed = 5};
    struct draws draws = philox_draws(&philox);
    struct rng r;
    f->d = *d;
    ck_assert_int_eq(nets_check(&f->d), 0);
    ck_assert_int_eq(kern_get(isa, &k), 0);
    layout(&f->params, &f->d, &f->arena);
    ck_assert_int_eq(params_carve(&f->params, &f->arena), 0);
    if (k->layer_packed)
        ck_assert_int_eq(params_carve_packed(&f->params, &f->arena), 0);
    for (size_t i = 0; i < f->params.n; i++)
        init_uniform(&f->params, i, f->params.table[i].kind == PARAM_LINEAR ? 0.2 : 0.5,
                     &draws);

    size_t before = f->arena.used;
    ck_assert_int_eq(nets_bind(&f->nets, &f->d, &f->params, k, true, &f->arena), 0);
    ck_assert_uint_le(f->arena.used - before, nets_bytes(&f->d, true));
    nets_refresh(&f->nets, ~0u, NULL);
    before = f->arena.used;
    f->work = nets_work_carve(&f->d, &f->arena);
    ck_assert_uint_le(f->arena.used - before, nets_work_bytes(&f->d));

    f->h = ARENA_NEW(&f->arena, float, TOKENS * f->d.D);
    f->obs = ARENA_NEW(&f->arena, float, TOKENS * f->d.O);
    f->index = ARENA_NEW(&f->arena, uint8_t, TOKENS * f->d.C);
    f->action = ARENA_NEW(&f->arena, uint8_t, TOKENS);
    rng_seed(&r, 9);
    for (size_t i = 0; i < TOKENS * f->d.D; i++)
        f->h[i] = (float)rng_unit(&r) * 2 - 1;
    for (size_t i = 0; i < TOKENS * f->d.O; i++)
        f->obs[i] = (float)rng_unit(&r) * 2 - 1;
    for (size_t i = 0; i < TOKENS * f->d.C; i++)
        f->index[i] = (uint8_t)rng_below(&r, (uint32_t)f->d.K);
    for (size_t i = 0; i < TOKENS; i++)
        f->action[i] = (uint8_t)rng_below(&r, (uint32_t)f->d.A);
    return f;
}

static struct net_fixture *fixture(enum cfg_isa isa)
{
    return fixture_of(isa, &small);
}

static void fixture_close(struct net_fixture *f)
{
    arena_fini(&f->arena);
    free(f);
}

static float *some(struct net_fixture *f, size_t n)
{
    return ARENA_ZNEW(&f->arena, float, n);
}

/* -------------------------------------------------------------------------------- counting */

/* Maps of mag.md 18 with the totals it states: model, actor, critic (used part), R_m, and what
 * an actor needs. */
static const struct map_count {
    const char *name;
    size_t N, O, A, encoder, model, actor, worker;
} map_count[] = {
    {"2s_vs_1sc", 2, 17, 7, 201984, 4552481, 395527, 2838279},
    {"3s5z_vs_3s6z", 8, 136, 15, 232448, 4619688, 397583, 2872847},
    {"2c_vs_64zg", 2, 332, 70, 282624, 4762586, 411718, 2951238},
};
enum { MAPS = sizeof map_count / sizeof *map_count };

static size_t named(const struct params *p, const char *prefix)
{
    size_t n = 0;
    for (size_t i = 0; i < p->n; i++)
        if (strncmp(p->table[i].name, prefix, strlen(prefix)) == 0)
            n += p->table[i].out * p->table[i].in;
    return n;
}

START_TEST(parameter_counts_are_those_of_the_paper_s_networks)
{
    const struct map_count *m = &map_count[_i];
    struct nets_dims d = {m->N, m->O, m->A, 256, 32, 32, 8, 3};
    struct arena a;
    struct params p = {0};
    layout(&p, &d, &a);
    ck_assert_uint_eq(named(&p, "model.encoder."), m->encoder);
    ck_assert_uint_eq(named(&p, "model.transition.input."), 256 * m->A + 262400);
    ck_assert_uint_eq(named(&p, "model.transition.attention."), 1187328);
    ck_assert_uint_eq(named(&p, "model.transition.gru."), 394752);
    ck_assert_uint_eq(named(&p, "model.prior."), 328960);
    ck_assert_uint_eq(named(&p, "model.posterior."), 394496);
    ck_assert_uint_eq(named(&p, "model.decoder."), 257 * m->O + 459520);
    ck_assert_uint_eq(named(&p, "model.reward."), 393985);
    ck_assert_uint_eq(named(&p, "model.pcont."), 393985);
    ck_assert_uint_eq(named(&p, "model.avail."), 257 * m->A + 393728);
    ck_assert_uint_eq(named(&p, "model.action_info."), 257 * m->A + 131584);
    ck_assert_uint_eq(params_real(&p, NET_FILTER, NET_DECODE), m->model);
    ck_assert_uint_eq(params_real(&p, NET_POLICY, NET_POLICY), m->actor);
    ck_assert_uint_eq(params_real(&p, NET_CRITIC, NET_CRITIC), 789761);
    ck_assert_uint_eq(params_real(&p, NET_RM, NET_RM), 525569);
    ck_assert_uint_eq(params_real(&p, NET_FILTER, NET_FILTER) +
                          params_real(&p, NET_POLICY, NET_POLICY),
                      m->worker);
    arena_fini(&a);
}
END_TEST

START_TEST(sizes_that_cannot_work_are_refused)
{
    const struct nets_dims good = {30, 7, 254, 64, 4, 256, 8, 8};
    ck_assert_int_eq(nets_check(&good), 0);
    struct nets_dims bad[] = {good, good, good, good, good, good};
    bad[0].N = 31;
    bad[1].A = 255;
    bad[2].D = 48;
    bad[3].K = 257;
    bad[4].heads = 7;
    bad[5].layers = 9;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_msg(nets_check(&bad[i]) == ERR_INVAL, "case %zu was accepted", i);
}
END_TEST

/* ------------------------------------------------------------------------------- same bits */

/* Run fn on all tokens at once and in uneven pieces of whole groups; the results must agree. */
static const size_t cuts[] = {0, 3, 33, 36, 165, 168, TOKENS};
enum { CUTS = sizeof cuts / sizeof *cuts };

START_TEST(a_row_s_bits_do_not_depend_on_how_calls_are_cut)
{
    struct net_fixture *f = fixture(_i ? ISA_AUTO : ISA_REF);
    const struct nets *n = &f->nets;
    size_t D = f->d.D, C = f->d.C, N = f->d.N, ld = nets_latent_ld(&f->d),
           pa = nets_pad(f->d.A);
    float *whole[6], *cut[6];
    size_t width[6] = {D, D, ld, ld, pa, 1};
    for (int i = 0; i < 6; i++) {
        whole[i] = some(f, TOKENS * width[i]);
        cut[i] = some(f, TOKENS * width[i]);
    }
    for (size_t piece = 0; piece < CUTS; piece++) {
        /* piece 0: everything; then the pieces one by one */
        float **y = piece ? cut : whole;
        size_t r = piece ? cuts[piece - 1] : 0, M = piece ? cuts[piece] - r : TOKENS;
        const uint8_t *s = f->index + r * C;
        nets_encoder(n, f->work, y[0] + r * D, f->obs + r * f->d.O, M);
        nets_transition(n, f->work, y[1] + r * D, s, f->action + r, f->h + r * D, NULL, M / N);
        nets_prior(n, f->work, y[2] + r * ld, f->h + r * D, M);
        nets_posterior(n, f->work, y[3] + r * ld, f->h + r * D, y[0] + r * D, M);
        nets_one_head(n, f->work, y[4] + r * pa, HEAD_AVAIL, s, f->h + r * D, M);
        nets_critic(n, f->work, y[5] + r, s, f->h + r * D, M / N);
    }
    for (int i = 0; i < 6; i++)
        ck_assert_msg(memcmp(whole[i], cut[i], TOKENS * width[i] * sizeof(float)) == 0,
                      "network %d differs", i);
    fixture_close(f);
}
END_TEST

START_TEST(several_heads_at_once_are_each_head_alone)
{
    struct net_fixture *f = fixture(ISA_AUTO);
    const enum net_head which[] = {HEAD_RM,     HEAD_ACTOR, HEAD_AVAIL,
                                   HEAD_REWARD, HEAD_CONT,  HEAD_DECODER};
    float *together[NET_HEADS];
    for (size_t i = 0; i < NET_HEADS; i++)
        together[i] = some(f, TOKENS * nets_head_ld(&f->nets, which[i]));
    nets_heads(&f->nets, f->work, together, which, NET_HEADS, f->index, f->h, TOKENS);
    for (size_t i = 0; i < NET_HEADS; i++) {
        size_t count = TOKENS * nets_head_ld(&f->nets, which[i]);
        float *alone = some(f, count);
        nets_one_head(&f->nets, f->work, alone, which[i], f->index, f->h, TOKENS);
        ck_assert_mem_eq(together[i], alone, count * sizeof(float));
    }
    fixture_close(f);
}
END_TEST

START_TEST(every_instruction_set_gives_the_bits_of_the_reference)
{
    static const enum cfg_isa isa[] = {ISA_AVX2, ISA_AVX512};
    const struct nets_dims *d = _i / 2 ? &large : &small;
    if (!kern_supported(isa[_i % 2]))
        return;
    struct net_fixture *f[2] = {fixture_of(ISA_REF, d), fixture_of(isa[_i % 2], d)};
    const size_t D = d->D, ld = nets_latent_ld(d);
    float *h[2], *v[2], *post[2], *prior[2], *avail[2];
    for (int i = 0; i < 2; i++) {
        const struct nets *n = &f[i]->nets;
        h[i] = some(f[i], TOKENS * D);
        v[i] = some(f[i], TOKENS);
        post[i] = some(f[i], TOKENS * ld);
        prior[i] = some(f[i], TOKENS * ld);
        avail[i] = some(f[i], TOKENS * nets_pad(d->A));
        nets_transition(n, f[i]->work, h[i], f[i]->index, f[i]->action, f[i]->h, NULL,
                        TOKENS / d->N);
        nets_critic(n, f[i]->work, v[i], f[i]->index, h[i], TOKENS / d->N);
        nets_prior(n, f[i]->work, prior[i], h[i], TOKENS);
        nets_posterior(n, f[i]->work, post[i], h[i], f[i]->h, TOKENS);
        nets_one_head(n, f[i]->work, avail[i], HEAD_AVAIL, f[i]->index, h[i], TOKENS);
    }
    ck_assert_mem_eq(h[0], h[1], TOKENS * D * sizeof(float));
    ck_assert_mem_eq(v[0], v[1], TOKENS * sizeof(float));
    ck_assert_mem_eq(prior[0], prior[1], TOKENS * ld * sizeof(float));
    ck_assert_mem_eq(post[0], post[1], TOKENS * ld * sizeof(float));
    ck_assert_mem_eq(avail[0], avail[1], TOKENS * nets_pad(d->A) * sizeof(float));
    fixture_close(f[0]);
    fixture_close(f[1]);
}
END_TEST

START_TEST(the_pass_with_a_tape_is_the_pass_without)
{
    struct net_fixture *f = fixture(ISA_AUTO);
    const struct nets *n = &f->nets;
    size_t D = f->d.D, ld = nets_latent_ld(&f->d);
    float *y = some(f, TOKENS * ld), *h = some(f, TOKENS * D),
          *scratch = some(f, 6 * TOKENS * D);
    struct mlp_tape mlp;
    struct trans_tape trans;
    struct critic_tape critic;

    for (int i = 0; i < NET_HEADS; i++) {
        enum net_head which = (enum net_head)i;
        size_t width = nets_head_ld(n, which), last = n->head[i].depth - 1;
        head_tape_carve(&mlp, n, which, TOKENS, &f->arena);
        head_forward(n, which, &mlp, f->index, f->h, 0, TOKENS);
        nets_one_head(n, f->work, y, which, f->index, f->h, TOKENS);
        ck_assert_mem_eq(mlp.y[last], y, TOKENS * width * sizeof(float));
    }
    encoder_tape_carve(&mlp, n, TOKENS, &f->arena);
    encoder_forward(n, &mlp, f->obs, 0, TOKENS);
    nets_encoder(n, f->work, h, f->obs, TOKENS);
    ck_assert_mem_eq(mlp.y[3], h, TOKENS * D * sizeof(float));

    prior_tape_carve(&mlp, n, TOKENS, &f->arena);
    posterior_forward(n, &mlp, f->h, h, 0, TOKENS);
    nets_posterior(n, f->work, y, f->h, h, TOKENS);
    ck_assert_mem_eq(mlp.y[1], y, TOKENS * ld * sizeof(float));

    trans_tape_carve(&trans, n, TOKENS, false, &f->arena);
    trans_forward(n, &trans, h, f->index, NULL, f->action, f->h, 0, TOKENS, scratch);
    nets_transition(n, f->work, y, f->index, f->action, f->h, NULL, TOKENS / f->d.N);
    ck_assert_mem_eq(h, y, TOKENS * D * sizeof(float));

    critic_tape_carve(&critic, n, TOKENS, &f->arena);
    critic_forward(n, &critic, f->index, f->h, 0, TOKENS, scratch);
    nets_critic(n, f->work, y, f->index, f->h, TOKENS / f->d.N);
    for (size_t i = 0; i < TOKENS; i++)
        ck_assert(critic.v[i * nets_pad(1)] == y[i]);
    fixture_close(f);
}
END_TEST

/* ------------------------------------------------------------------------------ nothing there */

START_TEST(no_previous_state_means_zero_h_and_no_class_rows)
{
    struct net_fixture *f = fixture(ISA_REF);
    size_t D = f->d.D, N = f->d.N, S = f->d.C * f->d.K;
    float *fresh = some(f, 2 * N * D), *zero = some(f, 2 * N * D), *blank = some(f, 2 * N * D);
    uint8_t none[2] = {1, 0};
    nets_transition(&f->nets, f->work, fresh, f->index, f->action, f->h, none, 2);

    /* The same by hand: h of zeros, and class rows of zeros in the weights. */
    memcpy(blank + N * D, f->h + N * D, N * D * sizeof(float));
    size_t w = f->nets.trans_in.all.w_at;
    size_t ld = f->nets.trans_in.all.ld;
    float *rows = f->params.value + w + f->d.A * ld;
    memset(rows, 0, S * ld * sizeof(float));
    nets_refresh(&f->nets, 1u << NET_FILTER, NULL);
    nets_transition(&f->nets, f->work, zero, f->index, f->action, blank, NULL, 1);
    ck_assert_mem_eq(fresh, zero, N * D * sizeof(float));
    fixture_close(f);
}
END_TEST

START_TEST(no_action_leaves_its_row_out)
{
    struct net_fixture *f = fixture(ISA_REF);
    size_t D = f->d.D, N = f->d.N, ld = f->nets.trans_in.all.ld;
    float *none = some(f, N * D), *zero = some(f, N * D), *with = some(f, N * D);
    uint8_t action[8];
    memset(action, NETS_NO_ACTION, sizeof action);
    nets_transition(&f->nets, f->work, none, f->index, action, f->h, NULL, 1);
    nets_transition(&f->nets, f->work, with, f->index, f->action, f->h, NULL, 1);
    ck_assert_mem_ne(none, with, N * D * sizeof(float));
    memset(f->params.value + f->nets.trans_in.all.w_at, 0, f->d.A * ld * sizeof(float));
    nets_refresh(&f->nets, 1u << NET_FILTER, NULL);
    nets_transition(&f->nets, f->work, zero, f->index, f->action, f->h, NULL, 1);
    ck_assert_mem_eq(none, zero, N * D * sizeof(float));
    fixture_close(f);
}
END_TEST

START_TEST(h_prime_and_prior_are_one_for_all_candidates_only_the_draw_differs)
{
    struct net_fixture *f = fixture(ISA_AUTO);
    size_t D = f->d.D, N = f->d.N, C = f->d.C, ld = nets_latent_ld(&f->d), L = 4;
    uint8_t index[12 * 5], action[12], drawn[2][12 * 5];
    float h[12 * 32], *h2 = some(f, 12 * D), *logits = some(f, 12 * ld), u[2][12 * 5];
    struct rng r;
    for (size_t j = 0; j < L; j++) { /* the same joint state L times */
        memcpy(index + j * N * C, f->index, N * C);
        memcpy(action + j * N, f->action, N);
        memcpy(h + j * N * D, f->h, N * D * sizeof(float));
    }
    nets_transition(&f->nets, f->work, h2, index, action, h, NULL, L);
    nets_prior(&f->nets, f->work, logits, h2, L * N);
    for (size_t j = 1; j < L; j++) {
        ck_assert_mem_eq(h2, h2 + j * N * D, N * D * sizeof(float));
        ck_assert_mem_eq(logits, logits + j * N * ld, N * ld * sizeof(float));
    }
    rng_seed(&r, 3);
    for (size_t i = 0; i < 2 * 60; i++)
        u[i / 60][i % 60] = (float)rng_unit(&r);
    for (int k = 0; k < 2; k++)
        nets_sample(&f->nets, drawn[k], logits, u[k], L * N);
    ck_assert_mem_ne(drawn[0], drawn[1], sizeof drawn[0]);
    fixture_close(f);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("nets");
    TCase *c = tcase_create("nets");
    tcase_add_loop_test(c, parameter_counts_are_those_of_the_paper_s_networks, 0, MAPS);
    tcase_add_test(c, sizes_that_cannot_work_are_refused);
    tcase_add_loop_test(c, a_row_s_bits_do_not_depend_on_how_calls_are_cut, 0, 2);
    tcase_add_test(c, several_heads_at_once_are_each_head_alone);
    tcase_add_loop_test(c, every_instruction_set_gives_the_bits_of_the_reference, 0, 4);
    tcase_add_test(c, the_pass_with_a_tape_is_the_pass_without);
    tcase_add_test(c, no_previous_state_means_zero_h_and_no_class_rows);
    tcase_add_test(c, no_action_leaves_its_row_out);
    tcase_add_test(c, h_prime_and_prior_are_one_for_all_candidates_only_the_draw_differs);
    suite_add_tcase(s, c);
    return run_suite(s);
}
