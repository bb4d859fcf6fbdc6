/* SPDX-License-Identifier: Apache-2.0 */
/* test_allocations.c - once it runs, learning, imagining and acting ask for no memory.
 *
 * Every phase is done once, which compiles its product kernels; after that not one call of the
 * allocator is allowed, in any thread, whether or not it is given back. Minibatches and batches
 * have rests, so that more than one shape of each phase is seen. */
#include "mag_small.h"
#include "suite.h"

#include "alloc_count.h"
#include "base/err.h"
#include "par/pool.h"

enum { MINIBATCH = 48, ROUNDS = 4, ACTORS = 3, THREADS = 2 };

static struct small *s;
static struct learning l;
static struct mag_act *act;

static void setup(void)
{
    pool_fp_mode();
    s = small_open(ISA_AUTO, 41);
    learning_open(&l, s, THREADS, MINIBATCH);
    ck_assert_int_eq(mag_act_open(&act, s->m, ACTORS, l.pool), 0);
}

static void teardown(void)
{
    mag_act_close(act);
    learning_close(&l);
    small_close(s);
}

/* ---------------------------------------------------------------------------- the phases */

static int model_step(uint64_t k)
{
    struct mag_model_stats st;
    return mag_model_step(l.t, &s->w, &s->draws, k, &st);
}

static int rm_step(uint64_t k)
{
    struct mag_rm_stats st;
    return mag_rm_step(l.t, &s->w, &s->draws, k, &st);
}

static int imagine(uint64_t k)
{
    return learning_imagine(&l, s, k);
}

static int ppo_batch(uint64_t k)
{
    struct mag_ppo_stats st;
    return mag_ppo_batch(l.t, &l.b.rows, &s->draws, k, &st, NULL);
}

/* One environment step of one, two and three of the rows. */
static int act_step(uint64_t k)
{
    uint8_t action[ACTORS][8], avail[3 * 5];
    memset(avail, 1, sizeof avail);
    for (size_t n = 1; n <= ACTORS; n++) {
        struct mag_act_row row[ACTORS];
        for (size_t i = 0; i < n; i++)
            row[i] = (struct mag_act_row){.row = i,
                                          .obs = s->obs,
                                          .avail = avail,
                                          .item = k,
                                          .mode = MAG_ACT_SAMPLE,
                                          .action = action[i]};
        mag_act_step(act, &s->draws, row, n);
    }
    return 0;
}

/* What the learner's figures add to an iteration. */
static int score(uint64_t k)
{
    float pred[SMALL_W * SMALL_B], label[SMALL_W * SMALL_B * 3];
    double planned[8], plain[8];
    int err = mag_rm_score(l.t, &s->w, &s->draws, k, true, label, NULL, NULL, NULL, NULL);
    if (!err)
        err = mag_reward_score(l.t, &s->w, &s->draws, k, pred);
    return err ? err : mag_compounding_error(l.im, &s->w, &s->draws, k, planned, plain);
}

static const struct {
    const char *name;
    int (*run)(uint64_t k);
} phase[] = {{"model step", model_step}, {"R_m step", rm_step},     {"imagination", imagine},
             {"PPO batch", ppo_batch},   {"acting step", act_step}, {"figures", score}};
enum { PHASES = sizeof phase / sizeof *phase };

START_TEST(after_the_first_time_no_phase_asks_for_memory)
{
    ck_assert_int_eq(imagine(0), 0); /* PPO needs rows */
    for (int i = 0; i < PHASES; i++)
        ck_assert_int_eq(phase[i].run(0), 0);
    for (uint64_t k = 1; k < ROUNDS; k++)
        for (int i = 0; i < PHASES; i++) {
            size_t before = alloc_calls();
            int err = phase[i].run(k);
            size_t asked = alloc_calls() - before;
            ck_assert_int_eq(err, 0);
            ck_assert_msg(asked == 0, "%s, round %d: %zu calls of the allocator", phase[i].name,
                          (int)k, asked);
        }
}
END_TEST

/* ------------------------------------------------------------------------- the counter counts */

static void *volatile sink; /* a pair of malloc and free that nobody sees is optimised away */

static void one_in_task_1(void *arg, size_t task, size_t worker)
{
    (void)arg;
    (void)worker;
    if (task == 1) {
        sink = malloc(100);
        free(sink);
    }
}

static void every_entry(size_t calls[8])
{
    struct arena a;
    size_t before = alloc_calls();
    sink = malloc(10);
    calls[0] = alloc_calls() - before;
    sink = realloc(sink, 1000);
    calls[1] = alloc_calls() - before;
    free(sink);
    calls[2] = alloc_calls() - before;
    sink = calloc(3, 5);
    calls[3] = alloc_calls() - before;
    free(sink);
    sink = aligned_alloc(64, 64);
    calls[4] = alloc_calls() - before;
    free(sink);
    void *p = NULL;
    int err = posix_memalign(&p, 64, 64);
    sink = p;
    calls[5] = alloc_calls() - before;
    free(sink);
    err = err ? err : arena_init(&a, 1 << 20);
    calls[6] = alloc_calls() - before;
    bug_on(err);
    arena_fini(&a);
    pool_run(l.pool, one_in_task_1, NULL, 2);
    calls[7] = alloc_calls() - before;
}

START_TEST(the_counter_sees_every_way_to_ask_and_every_thread)
{
    size_t calls[8];
    if (!alloc_counting)
        return;
    every_entry(calls);
    for (size_t i = 0; i < 3; i++)
        ck_assert_uint_eq(calls[i], i + 1);
    ck_assert_uint_eq(calls[3], 4);
    ck_assert_uint_eq(calls[4], 6);
    ck_assert_uint_eq(calls[5], 8);
    ck_assert_uint_eq(calls[6], 10); /* the free before it, and the arena's mapping */
    ck_assert_uint_eq(calls[7], 12);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("allocations");
    TCase *c = tcase_create("allocations");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_set_timeout(c, 60);
    tcase_add_test(c, after_the_first_time_no_phase_asks_for_memory);
    tcase_add_test(c, the_counter_sees_every_way_to_ask_and_every_thread);
    suite_add_tcase(suite, c);
    return run_suite(suite);
}
