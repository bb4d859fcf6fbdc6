/* SPDX-License-Identifier: Apache-2.0 */
/* test_magenv.c - the C interface as a foreign program uses it. */
#include "magenv.h"
#include "suite.h"

#include <check.h>
#include <fenv.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { K = 4, STEPS = 80 };

static struct magenv *v;
static struct magenv_spec spec;
static struct magenv_arrays to;
static int32_t *actions;

static void *zeros(size_t n, size_t size)
{
    void *p = calloc(n, size);
    ck_assert_ptr_nonnull(p);
    return p;
}

static void open_k(const char *settings, uint32_t threads)
{
    struct magenv_options o = {.envs = K, .threads = threads, .autoreset = MAGENV_SAME_STEP};
    ck_assert_msg(magenv_spec(settings, &spec) == 0, "%s", magenv_error());
    ck_assert_msg(magenv_open(&v, settings, &o) == 0, "%s", magenv_error());
    to = (struct magenv_arrays){
        .obs = zeros(K * spec.n_agents * spec.obs, sizeof(float)),
        .avail = zeros(K * spec.n_agents * spec.actions, 1),
        .reward = zeros(K, sizeof(float)),
        .end = zeros(K, 1),
    };
    actions = zeros(K * spec.n_agents, sizeof *actions);
}

static void close_k(void)
{
    magenv_close(v);
    v = NULL;
    free(to.obs);
    free(to.avail);
    free(to.reward);
    free(to.end);
    free(actions);
    to = (struct magenv_arrays){0};
    actions = NULL;
}

/* FNV-1a over what a caller sees of STEPS random steps. */
static uint64_t play(const char *settings, uint32_t threads)
{
    uint64_t hash = 14695981039346656037u;
    open_k(settings, threads);
    ck_assert_int_eq(magenv_reset(v, &to, NULL, NULL), 0);
    for (int t = 0; t < STEPS; t++) {
        magenv_sample(v, to.avail, actions);
        ck_assert_msg(magenv_step(v, &to, actions) == 0, "%s", magenv_error());
        const unsigned char *bytes = (const unsigned char *)to.obs;
        for (size_t i = 0; i < K * spec.n_agents * spec.obs * sizeof(float); i++)
            hash = (hash ^ bytes[i]) * 1099511628211u;
        for (size_t k = 0; k < K; k++)
            hash = (hash ^ (uint64_t)(int64_t)(to.reward[k] * 1e6F)) * 1099511628211u;
    }
    close_k();
    return hash;
}

START_TEST(threads_and_the_callers_rounding_change_no_bit)
{
    uint64_t alone = play("env.map=3s_vs_3z", 1);
    ck_assert_uint_eq(play("env.map=3s_vs_3z", 3), alone);
    ck_assert_int_eq(fesetround(FE_UPWARD), 0);
    uint64_t upward = play("env.map=3s_vs_3z", 2);
    int mode = fegetround();
    ck_assert_int_eq(fesetround(FE_TONEAREST), 0);
    ck_assert_int_eq(mode, FE_UPWARD); /* left as it was */
    ck_assert_uint_eq(upward, alone);
}
END_TEST

START_TEST(denormals_of_the_caller_survive_a_step)
{
    volatile float tiny = 1e-39F, one = 1;
    open_k("env.map=3m", 1);
    ck_assert_int_eq(magenv_reset(v, &to, NULL, NULL), 0);
    ck_assert_float_gt(tiny * one, 0);
    close_k();
}
END_TEST

START_TEST(settings_are_words_and_mistakes_are_explained)
{
    static const struct {
        const char *settings, *says;
        int code;
    } cases[] = {
        {"env.mapp=3m", "env.map", MAGENV_ECONFIG},
        {"env.map", "key=value", MAGENV_ECONFIG},
        {"env.map=3n", "3m", MAGENV_ECONFIG},
        {"map=3m", "env.map=3m", MAGENV_ECONFIG},
        {"net.width=64", "not a setting of environments", MAGENV_ECONFIG},
        {"env.obs_timestep=perhaps", "env.obs_timestep", MAGENV_ECONFIG},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct magenv_spec mark = {.n_agents = 77};
        ck_assert_int_eq(magenv_spec(cases[i].settings, &mark), cases[i].code);
        ck_assert_msg(strstr(magenv_error(), cases[i].says), "%s", magenv_error());
        ck_assert_uint_eq(mark.n_agents, 77);
    }
    ck_assert_int_eq(magenv_spec(" env.map=3s_vs_3z\n\tenv.map=3m ", &spec), 0);
    ck_assert_uint_eq(spec.n_agents, 3);
    ck_assert_uint_eq(spec.obs, 30);
    ck_assert_uint_eq(spec.actions, 9);
    ck_assert_uint_eq(spec.state, 48);
    ck_assert_uint_eq(spec.episode_limit, 60);
    ck_assert_ptr_nonnull(strstr(spec.line, "map=3m"));
}
END_TEST

START_TEST(what_there_is_can_be_listed)
{
    ck_assert_uint_eq(magenv_abi(), MAGENV_ABI);
    ck_assert_str_eq(magenv_names()[0], "smac");
    ck_assert_ptr_nonnull(magenv_maps("smac")[22]);
    ck_assert_ptr_null(magenv_maps("chess"));
    ck_assert_ptr_nonnull(strstr(magenv_error(), "chess"));
}
END_TEST

START_TEST(bad_arguments_are_named)
{
    struct magenv *none = NULL;
    struct magenv_options o = {.envs = 1, .threads = 0};
    ck_assert_int_eq(magenv_open(&none, "", &o), MAGENV_EINVAL);
    o = (struct magenv_options){.envs = 1, .threads = 1, .autoreset = 9};
    ck_assert_int_eq(magenv_open(&none, "", &o), MAGENV_EINVAL);
    o = (struct magenv_options){.envs = 0, .threads = 1};
    ck_assert_int_eq(magenv_open(&none, "", &o), MAGENV_EINVAL);
    ck_assert_ptr_null(none);

    open_k("env.map=3m", 1);
    struct magenv_arrays part = to;
    part.avail = NULL;
    ck_assert_int_eq(magenv_reset(v, &part, NULL, NULL), MAGENV_EINVAL);
    part = to;
    part.final_obs = to.obs;
    ck_assert_int_eq(magenv_reset(v, &part, NULL, NULL), MAGENV_EINVAL);
    ck_assert_int_eq(magenv_reset(v, &to, NULL, NULL), 0);
    magenv_sample(v, to.avail, actions);
    actions[1 * 3 + 2] = -1;
    ck_assert_int_eq(magenv_step(v, &to, actions), MAGENV_EINVAL);
    ck_assert_msg(strstr(magenv_error(), "environment 1: agent 2: action -1"), "%s",
                  magenv_error());
    actions[1 * 3 + 2] = 256 + 1; /* must not pass for action 1 */
    ck_assert_int_eq(magenv_step(v, &to, actions), MAGENV_EINVAL);
    ck_assert_int_eq(magenv_step_script(v, &to, "win"), MAGENV_ENOTFOUND);
    char text[4000];
    ck_assert_int_eq(magenv_describe(v, K, text, sizeof text), MAGENV_EINVAL);
    ck_assert_int_eq(magenv_describe(v, 0, text, sizeof text), 0);
    close_k();
}
END_TEST

START_TEST(units_are_those_of_the_battle_and_missing_ones_are_said)
{
    struct magenv_unit unit[MAGENV_UNITS_MAX];
    uint64_t count = 77;
    open_k("env.map=2s3z", 1);
    ck_assert_int_eq(magenv_reset(v, &to, NULL, NULL), 0);
    ck_assert_int_eq(magenv_units(v, K, unit, &count), MAGENV_EINVAL);
    ck_assert_uint_eq(count, 77);
    ck_assert_int_eq(magenv_units(v, K - 1, unit, &count), 0);
    ck_assert_uint_eq(count, 10);
    size_t own = 0, stalkers = 0;
    for (size_t i = 0; i < count; i++) {
        own += unit[i].side == 0;
        stalkers += unit[i].health == 80 && unit[i].shield == 80; /* zealots have 100 and 50 */
        ck_assert(unit[i].alive && unit[i].x > 0 && unit[i].x < 32 && unit[i].y > 0);
    }
    ck_assert_uint_eq(own, 5);
    ck_assert_uint_eq(stalkers, 4);
    close_k();
    open_k("env.name=lbf env.map=Foraging-8x8-2p-2f-coop-v3", 1);
    ck_assert_int_eq(magenv_units(v, 0, unit, &count), MAGENV_EUNSUPPORTED);
    close_k();
}
END_TEST

#if !defined(__SANITIZE_THREAD__)
START_TEST(a_forked_child_refuses_to_step_a_team_and_can_close_it)
{
    open_k("env.map=3m", 2);
    ck_assert_int_eq(magenv_reset(v, &to, NULL, NULL), 0);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        int rc = magenv_reset(v, &to, NULL, NULL);
        magenv_close(v);
        _exit(rc == MAGENV_EINVAL ? 0 : 1);
    }
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    close_k();
}
END_TEST
#endif

int main(void)
{
    Suite *s = suite_create("magenv");
    TCase *t = tcase_create("magenv");
    tcase_add_test(t, threads_and_the_callers_rounding_change_no_bit);
    tcase_add_test(t, denormals_of_the_caller_survive_a_step);
    tcase_add_test(t, settings_are_words_and_mistakes_are_explained);
    tcase_add_test(t, what_there_is_can_be_listed);
    tcase_add_test(t, bad_arguments_are_named);
    tcase_add_test(t, units_are_those_of_the_battle_and_missing_ones_are_said);
#if !defined(__SANITIZE_THREAD__)
    tcase_add_test(t, a_forked_child_refuses_to_step_a_team_and_can_close_it);
#endif
    suite_add_tcase(s, t);
    return run_suite(s);
}
