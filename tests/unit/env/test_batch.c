/* SPDX-License-Identifier: Apache-2.0 */
/* test_batch.c - a batch against single environments, with and without a team of threads. */
#include "suite.h"

#include "env/batch.h"

#include "base/err.h"
#include "par/pool.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

enum { K = 5, STEPS = 150 };

/* The arrays of a batch of `k`, and of one environment. */
struct arrays {
    struct batch_arrays a;
    uint8_t *actions;
    size_t obs, avail, state, agents; /* elements of one environment */
};

static struct config cfg;
static const struct env_class *class;
static struct batch *batch;
static struct pool *pool;
static struct arrays to;

static void *zeros(size_t n, size_t size)
{
    void *p = calloc(n ? n : 1, size);
    ck_assert_ptr_nonnull(p);
    return p;
}

static void arrays_init(struct arrays *x, const struct env_spec *s, size_t k)
{
    x->agents = s->n_agents;
    x->obs = s->n_agents * s->obs;
    x->avail = s->n_agents * s->actions;
    x->state = s->state;
    x->actions = zeros(k * x->agents, 1);
    x->a = (struct batch_arrays){
        .obs = zeros(k * x->obs, sizeof(float)),
        .avail = zeros(k * x->avail, 1),
        .state = zeros(k * x->state, sizeof(float)),
        .reward = zeros(k, sizeof(float)),
        .end = zeros(k, 1),
        .won = zeros(k, 1),
        .seed = zeros(k, sizeof(uint64_t)),
        .final_obs = zeros(k * x->obs, sizeof(float)),
        .final_avail = zeros(k * x->avail, 1),
        .final_state = zeros(k * x->state, sizeof(float)),
    };
}

static void arrays_fini(struct arrays *x)
{
    free(x->actions);
    free(x->a.obs);
    free(x->a.avail);
    free(x->a.state);
    free(x->a.reward);
    free(x->a.end);
    free(x->a.won);
    free(x->a.seed);
    free(x->a.final_obs);
    free(x->a.final_avail);
    free(x->a.final_state);
}

static void team(void *arg, batch_task *fn, void *task_arg, size_t tasks)
{
    pool_run(arg, fn, task_arg, tasks);
}

static void close_all(void)
{
    if (!batch)
        return;
    batch_close(batch);
    pool_close(pool);
    arrays_fini(&to);
    batch = NULL;
    pool = NULL;
}

static void open_batch(const char *map, size_t threads, enum batch_autoreset autoreset)
{
    strcpy(cfg.env.map, map);
    ck_assert_int_eq(pool_open(&pool, threads), 0);
    struct batch_options o = {
        .envs = K, .autoreset = autoreset, .run = threads > 1 ? team : NULL, .team = pool};
    ck_assert_int_eq(batch_open(&batch, class, &cfg, &o), 0);
    arrays_init(&to, batch_spec(batch), K);
}

static void setup(void)
{
    config_defaults(&cfg);
    ck_assert_int_eq(env_find("smac", &class), 0);
}

static void step_random(void)
{
    batch_sample(batch, to.a.avail, to.actions);
    ck_assert_msg(batch_step(batch, &to.a, to.actions) == 0, "%s", err_text());
}

/* --- the single environment that row k is compared with --- */

struct single {
    struct env *env;
    struct arrays at;
    uint64_t seed, episode;
};

static void single_begin(struct single *s, uint64_t seed)
{
    s->seed = seed;
    s->episode = 0;
    ck_assert_int_eq(class->open(&cfg, &s->env), 0);
    arrays_init(&s->at, batch_spec(batch), 1);
    ck_assert_int_eq(class->reset(s->env, batch_episode_seed(seed, s->episode++)), 0);
}

static void single_end(struct single *s)
{
    class->close(s->env);
    arrays_fini(&s->at);
}

static void expect_rows(const struct single *s, size_t k, const float *obs,
                        const uint8_t *avail, const float *state)
{
    const struct arrays *x = &s->at;
    class->observe(s->env, x->a.obs, x->a.avail, x->a.state);
    ck_assert_mem_eq(obs + k * x->obs, x->a.obs, x->obs * sizeof(float));
    ck_assert_mem_eq(avail + k * x->avail, x->a.avail, x->avail);
    ck_assert_mem_eq(state + k * x->state, x->a.state, x->state * sizeof(float));
}

/* Follow row k through one step of a SAME_STEP batch. */
static void expect_step(struct single *s, size_t k)
{
    struct env_step r;
    ck_assert_int_eq(class->step(s->env, to.actions + k * to.agents, &r), 0);
    ck_assert_mem_eq(&to.a.reward[k], &r.reward, sizeof r.reward);
    ck_assert_uint_eq(to.a.end[k], r.end);
    ck_assert_uint_eq(to.a.won[k], r.won);
    if (r.end != ENV_RUNNING) {
        expect_rows(s, k, to.a.final_obs, to.a.final_avail, to.a.final_state);
        ck_assert_int_eq(class->reset(s->env, batch_episode_seed(s->seed, s->episode++)), 0);
    }
    ck_assert_uint_eq(to.a.seed[k], batch_episode_seed(s->seed, s->episode - 1));
    expect_rows(s, k, to.a.obs, to.a.avail, to.a.state);
}

static void compare_with_singles(const char *map, size_t threads)
{
    const uint64_t seeds[K] = {7, 8, 1234567890123, 7, 0};
    struct single singles[K];
    open_batch(map, threads, BATCH_SAME_STEP);
    ck_assert_int_eq(batch_reset(batch, &to.a, seeds, NULL), 0);
    for (size_t k = 0; k < K; k++) {
        single_begin(&singles[k], seeds[k]);
        expect_rows(&singles[k], k, to.a.obs, to.a.avail, to.a.state);
    }
    for (int t = 0; t < STEPS; t++) {
        step_random();
        for (size_t k = 0; k < K; k++)
            expect_step(&singles[k], k);
    }
    for (size_t k = 0; k < K; k++) {
        ck_assert_uint_gt(singles[k].episode, 1); /* ends were among the steps */
        single_end(&singles[k]);
    }
    close_all();
}

START_TEST(a_batch_gives_the_bits_of_single_environments_for_any_number_of_threads)
{
    for (size_t threads = 1; threads <= 3; threads++) {
        compare_with_singles("3m", threads);
        compare_with_singles("2s3z", threads);
    }
}
END_TEST

START_TEST(every_environment_of_the_registry_runs_in_a_batch)
{
    for (const struct env_class *const *c = env_classes(); *c; c++) {
        class = *c;
        open_batch(class->maps()[0], 2, BATCH_SAME_STEP);
        ck_assert_int_eq(batch_reset(batch, &to.a, NULL, NULL), 0);
        for (int t = 0; t < 20; t++)
            step_random();
        close_all();
    }
}
END_TEST

START_TEST(random_actions_of_an_episode_depend_on_its_seed)
{
    const uint64_t seeds[K] = {3, 4, 3, 5, 3};
    open_batch("3m", 1, BATCH_SAME_STEP);
    ck_assert_int_eq(batch_reset(batch, &to.a, seeds, NULL), 0);
    bool differs = false;
    for (int t = 0; t < 30; t++) {
        step_random();
        ck_assert_mem_eq(to.actions, to.actions + 2 * to.agents, to.agents);
        ck_assert_mem_eq(to.actions, to.actions + 4 * to.agents, to.agents);
        differs = differs || memcmp(to.actions, to.actions + to.agents, to.agents) != 0;
    }
    ck_assert(differs);
}
END_TEST

START_TEST(random_actions_are_uniform_among_the_available_ones)
{
    enum { DRAWS = 4000 };
    size_t count[16] = {0};
    open_batch("3m", 1, BATCH_MANUAL);
    ck_assert_int_eq(batch_reset(batch, &to.a, NULL, NULL), 0);
    size_t n = to.avail / to.agents;
    memset(to.a.avail, 0, K * to.avail);
    for (size_t row = 0; row < K * to.agents; row++)
        to.a.avail[row * n + 1] = to.a.avail[row * n + 4] = to.a.avail[row * n + n - 1] = 1;
    for (int i = 0; i < DRAWS; i++) {
        batch_sample(batch, to.a.avail, to.actions);
        count[to.actions[0]]++;
    }
    ck_assert_uint_eq(count[1] + count[4] + count[n - 1], DRAWS);
    for (size_t a = 1; a < n; a += a == 1 ? 3 : n - 5) /* within five deviations of a third */
        ck_assert_msg(count[a] > 1180 && count[a] < 1490, "action %zu: %zu", a, count[a]);
}
END_TEST

/* Steps until environment 0 stands at an end; with random actions 3m ends within its limit. */
static void run_to_end_of_0(void)
{
    int t = 0;
    do {
        step_random();
        ck_assert_int_lt(t++, 200);
    } while (to.a.end[0] == ENV_RUNNING);
}

START_TEST(a_manual_batch_stands_still_at_the_end_until_it_is_reset)
{
    open_batch("3m", 1, BATCH_MANUAL);
    ck_assert_int_eq(batch_reset(batch, &to.a, NULL, NULL), 0);
    run_to_end_of_0();
    float *last = zeros(to.obs, sizeof *last);
    memcpy(last, to.a.obs, to.obs * sizeof *last);
    uint8_t end = to.a.end[0];
    memset(to.a.obs, 0xff, to.obs * sizeof *last); /* rows are written although nothing moves */
    to.a.reward[0] = 5;
    step_random();
    ck_assert_mem_eq(to.a.obs, last, to.obs * sizeof *last);
    ck_assert_uint_eq(to.a.end[0], end);
    ck_assert_float_eq(to.a.reward[0], 0);

    /* a reset of 0 alone: the rows of the others are not written */
    const uint8_t which[K] = {1};
    float mark = -77;
    to.a.obs[to.obs] = mark;
    ck_assert_int_eq(batch_reset(batch, &to.a, NULL, which), 0);
    ck_assert_uint_eq(to.a.end[0], ENV_RUNNING);
    ck_assert_float_eq(to.a.obs[to.obs], mark);
    struct single s;
    single_begin(&s, 0);
    ck_assert_int_eq(class->reset(s.env, batch_episode_seed(0, 1)), 0);
    expect_rows(&s, 0, to.a.obs, to.a.avail, to.a.state);
    single_end(&s);
    free(last);
}
END_TEST

START_TEST(a_next_step_batch_begins_the_next_episode_one_step_later)
{
    struct single s;
    const uint64_t seeds[K] = {11, 12, 13, 14, 15};
    open_batch("3m", 1, BATCH_NEXT_STEP);
    ck_assert_int_eq(batch_reset(batch, &to.a, seeds, NULL), 0);
    run_to_end_of_0();
    to.a.reward[0] = 5;
    batch_sample(batch, to.a.avail, to.actions);
    memset(to.actions, 0xff, to.agents); /* ignored where the next episode begins */
    ck_assert_int_eq(batch_step(batch, &to.a, to.actions), 0);
    ck_assert_float_eq(to.a.reward[0], 0);
    ck_assert_uint_eq(to.a.end[0], ENV_RUNNING);
    single_begin(&s, seeds[0]);
    ck_assert_int_eq(class->reset(s.env, batch_episode_seed(seeds[0], 1)), 0);
    expect_rows(&s, 0, to.a.obs, to.a.avail, to.a.state);
    single_end(&s);
}
END_TEST

START_TEST(an_unavailable_action_names_environment_and_agent_and_moves_nothing_there)
{
    open_batch("3m", 2, BATCH_SAME_STEP);
    ck_assert_int_eq(batch_reset(batch, &to.a, NULL, NULL), 0);
    batch_sample(batch, to.a.avail, to.actions);
    to.actions[3 * to.agents + 2] = 200;
    to.actions[4 * to.agents] = 200; /* the first environment is the one that is named */
    to.a.reward[3] = 5;
    ck_assert_int_eq(batch_step(batch, &to.a, to.actions), ERR_INVAL);
    ck_assert_msg(strstr(err_text(), "environment 3") && strstr(err_text(), "agent 2"), "%s",
                  err_text());
    ck_assert_float_eq(to.a.reward[3], 5);
    struct single s;
    single_begin(&s, 3); /* still at the start */
    expect_rows(&s, 3, to.a.obs, to.a.avail, to.a.state);
    single_end(&s);
}
END_TEST

START_TEST(mistakes_are_explained)
{
    struct batch_options o = {.envs = 0};
    ck_assert_int_eq(batch_open(&batch, class, &cfg, &o), ERR_INVAL);
    o = (struct batch_options){.envs = 2};
    strcpy(cfg.env.map, "3mm");
    ck_assert_int_eq(batch_open(&batch, class, &cfg, &o), ERR_CONFIG);
    ck_assert_ptr_nonnull(strstr(err_text(), "3m"));
    open_batch("3m", 1, BATCH_MANUAL);
    ck_assert_int_eq(batch_step(batch, &to.a, to.actions), ERR_INVAL);
    ck_assert_ptr_nonnull(strstr(err_text(), "reset first"));
    ck_assert_int_eq(batch_reset(batch, &to.a, NULL, NULL), 0);
    ck_assert_int_eq(batch_step_script(batch, &to.a, "win"), ERR_NOTFOUND);
    ck_assert_int_eq(batch_step_script(batch, &to.a, "attack_nearest"), 0);
    char text[4096];
    ck_assert_int_eq(batch_describe(batch, K, text, sizeof text), ERR_INVAL);
    ck_assert_int_eq(batch_describe(batch, K - 1, text, sizeof text), 0);
    ck_assert_ptr_nonnull(strstr(text, "step 1 of"));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("batch");
    TCase *t = tcase_create("batch");
    tcase_add_checked_fixture(t, setup, close_all);
    tcase_add_test(t, a_batch_gives_the_bits_of_single_environments_for_any_number_of_threads);
    tcase_add_test(t, every_environment_of_the_registry_runs_in_a_batch);
    tcase_add_test(t, random_actions_of_an_episode_depend_on_its_seed);
    tcase_add_test(t, random_actions_are_uniform_among_the_available_ones);
    tcase_add_test(t, a_manual_batch_stands_still_at_the_end_until_it_is_reset);
    tcase_add_test(t, a_next_step_batch_begins_the_next_episode_one_step_later);
    tcase_add_test(t,
                   an_unavailable_action_names_environment_and_agent_and_moves_nothing_there);
    tcase_add_test(t, mistakes_are_explained);
    suite_add_tcase(s, t);
    return run_suite(s);
}
