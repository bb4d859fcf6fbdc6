/* SPDX-License-Identifier: Apache-2.0 */
/* test_update.c - one weights hash for a whole update, whatever computes it.
 *
 * Two model steps, two R_m steps, an imagined batch with planning and PPO on it: the hash covers
 * parameters, Adam moments and step counts, the entropy weight and the imagined rows. It must be
 * the same on the reference, AVX2 and AVX-512 kernels, with LIBXSMM's products and with our own,
 * for one, two and three threads and for more threads than any machine of CI has cores.
 *
 * It must also be the hash written below, which was computed once: compilers, C libraries and
 * CPU makers must not show either. Whoever changes the mathematics, the draws or the definition
 * of a kernel changes it and says so in the commit; the failing test prints the new one. */
#include "mag_small.h"
#include "suite.h"

#include "base/digest.h"
#include "mag_priv.h"
#include "nn/kern.h"

#include <stdio.h>

static const char *const known =
    "bf07fa93ae7bf5096213f2bd3f9028e48dfd7c0977e88f7efc503a5d373dd20d";

enum { MINIBATCH = 48, STEPS = 2, TEAM_MAX = 67 };

static void add_floats(struct digest_state *h, const float *x, size_t n)
{
    digest_add(h, x, n * sizeof *x);
}

static void add_rows(struct digest_state *h, const struct batch *b, const struct mag_dims *d)
{
    size_t tokens = b->rows.steps * b->S * d->N;
    digest_add(h, b->rows.index, tokens * d->C);
    add_floats(h, b->rows.h, tokens * d->D);
    digest_add(h, b->rows.action, tokens);
    digest_add(h, b->rows.avail, tokens * ((d->A + 7) / 8));
    add_floats(h, b->rows.logp, tokens);
    add_floats(h, b->rows.value, tokens);
    add_floats(h, b->rows.ret, tokens);
}

static void add_state(struct digest_state *h, struct small *s, struct mag_train *t)
{
    const struct mag_train_state *st = mag_train_state(t);
    size_t n = s->m->params.count;
    add_floats(h, s->m->params.value, n);
    add_floats(h, st->m, n);
    add_floats(h, st->v, n);
    for (int i = 0; i < MAG_OPTS; i++)
        digest_add_u64(h, st->opt[i].steps);
    digest_add(h, &st->entropy_weight, sizeof st->entropy_weight);
}

static void train_models(struct small *s, struct mag_train *t)
{
    struct mag_model_stats ms;
    struct mag_rm_stats rs;
    for (uint64_t k = 0; k < STEPS; k++) {
        ck_assert_int_eq(mag_model_step(t, &s->w, &s->draws, k, &ms), 0);
        ck_assert(!ms.skipped);
    }
    for (uint64_t k = 0; k < STEPS; k++) {
        ck_assert_int_eq(mag_rm_step(t, &s->w, &s->draws, k, &rs), 0);
        ck_assert(!rs.skipped);
    }
}

static void update(char hex[DIGEST_HEX], enum cfg_isa isa, size_t threads)
{
    struct small *s = small_open(isa, 51);
    struct learning l;
    struct mag_ppo_stats ps;
    struct digest_state h;
    struct digest d;
    s->cfg.train.clip_model = s->cfg.ppo.grad_clip = 0.01; /* so that norms reach the weights */
    learning_open(&l, s, threads, MINIBATCH);
    train_models(s, l.t);
    ck_assert_int_eq(learning_imagine(&l, s, 0), 0);
    ck_assert_int_eq(mag_ppo_batch(l.t, &l.b.rows, &s->draws, 0, &ps, NULL), 0);
    ck_assert(!ps.skipped && ps.actor_steps && ps.critic_steps);
    digest_init(&h);
    add_state(&h, s, l.t);
    add_rows(&h, &l.b, &s->d);
    digest_end(&h, &d);
    digest_hex(hex, &d);
    learning_close(&l);
    small_close(s);
}

static const size_t team[] = {1, 2, 3, TEAM_MAX};
enum { TEAMS = sizeof team / sizeof *team };

static void check(enum cfg_isa isa, size_t threads)
{
    char hex[DIGEST_HEX];
    const struct kern *k = NULL;
    ck_assert_int_eq(kern_get(isa, &k), 0);
    update(hex, isa, threads);
    ck_assert_msg(!strcmp(hex, known), "%s kernels, %s products, %zu threads: %s", k->name,
                  k->products, threads, hex);
}

START_TEST(the_reference_has_the_known_hash)
{
    pool_fp_mode();
    check(ISA_REF, team[_i]);
}
END_TEST

/* _i: instruction set, and whether LIBXSMM belongs to it or to the other one. */
START_TEST(any_kernels_and_any_number_of_threads_have_it_too)
{
    static const enum cfg_isa isa[] = {ISA_AVX2, ISA_AVX512};
    const enum cfg_isa mine = isa[_i % 2], other = isa[1 - _i % 2];
    const struct kern *k = NULL;
    if (!kern_supported(mine) || (_i >= 2 && !kern_supported(other)))
        return;
    pool_fp_mode();
    if (_i >= 2)
        ck_assert_int_eq(kern_get(other, &k), 0);
    for (size_t i = 0; i < TEAMS; i++)
        check(mine, team[i]);
}
END_TEST

static void hash_state(char hex[DIGEST_HEX], struct small *s, struct mag_train *t)
{
    struct digest_state h;
    struct digest d;
    digest_init(&h);
    add_state(&h, s, t);
    digest_end(&h, &d);
    digest_hex(hex, &d);
}

START_TEST(the_hash_sees_parameters_and_both_moments)
{
    struct small *s = small_open(ISA_AUTO, 52);
    struct mag_train *t;
    struct mag_train_cfg tc = {.W = SMALL_W, .B = SMALL_B, .cfg = &s->cfg};
    char before[DIGEST_HEX], after[DIGEST_HEX];
    ck_assert_int_eq(mag_train_open(&t, s->m, &tc, NULL), 0);
    float *const part[] = {s->m->params.value, mag_train_state(t)->m, mag_train_state(t)->v};
    for (size_t i = 0; i < 3; i++) {
        hash_state(before, s, t);
        part[i][s->m->params.count - 1] += 1;
        hash_state(after, s, t);
        ck_assert_str_ne(before, after);
    }
    mag_train_close(t);
    small_close(s);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("update");
    TCase *c = tcase_create("update");
    tcase_set_timeout(c, 240);
    tcase_add_loop_test(c, the_reference_has_the_known_hash, 0, TEAMS);
    tcase_add_loop_test(c, any_kernels_and_any_number_of_threads_have_it_too, 0, 4);
    tcase_add_test(c, the_hash_sees_parameters_and_both_moments);
    suite_add_tcase(suite, c);
    return run_suite(suite);
}
