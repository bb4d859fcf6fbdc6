/* SPDX-License-Identifier: Apache-2.0 */
/* test_config.c - precedence, presets, refusals, and that printing reads back. */
#include "suite.h"

#include "base/config.h"
#include "base/err.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct config_builder *b;
static struct config c;

static void setup(void)
{
    ck_assert_int_eq(config_begin(&b), 0);
}

static void teardown(void)
{
    config_end(b);
    b = NULL;
}

static void finish(void)
{
    int err = config_finish(b, &c);
    ck_assert_msg(err == 0, "%s", err_text());
}

static void assign(const char *text)
{
    int err = config_assign(b, text);
    ck_assert_msg(err == 0, "%s", err_text());
}

static int yaml(const char *text)
{
    return config_yaml(b, text, strlen(text), ORIGIN_FILE);
}

START_TEST(defaults_are_the_paper_on_its_map)
{
    struct config paper;
    config_defaults(&c);
    ck_assert_int_eq(config_preset_for(&paper, "paper", NULL), 0);
    ck_assert_mem_eq(&c, &paper, sizeof c);
    ck_assert_uint_eq(c.net.width, 256);
    ck_assert_uint_eq(c.net.categoricals * c.net.classes, 1024);
    ck_assert_uint_eq(c.replay.capacity, 250000);
    ck_assert_uint_eq(c.replay.min, 500);
    ck_assert_uint_eq(c.replay.window, 20);
    ck_assert_uint_eq(c.train.model_steps, 60);
    ck_assert_uint_eq(c.train.windows, 40);
    ck_assert_uint_eq(c.train.minibatch, 2000);
    ck_assert_uint_eq(c.imagine.steps, 15);
    ck_assert_double_eq(c.lr.model, 5e-4);
    ck_assert_double_eq(c.ppo.actor_l2, 1e-5);
    ck_assert_uint_eq(c.job.windows, 2);
    ck_assert(c.env.continuing && c.env.shuffle_enemy_order && c.rm.reward);
    ck_assert_uint_eq(c.rm.passes, 1);
    ck_assert_int_eq(c.rm.rec, REC_FULL);
    ck_assert_int_eq(c.imagine.choice, CHOICE_START);
}
END_TEST

START_TEST(paper_takes_planning_from_table_1_by_map)
{
    static const struct {
        const char *map;
        uint32_t candidates, horizon;
    } rows[] = {{"2s_vs_1sc", 5, 10}, {"3s_vs_3z", 5, 10},    {"2s3z", 5, 10},
                {"3s_vs_4z", 4, 10},  {"3s_vs_5z", 5, 7},     {"2c_vs_64zg", 5, 7},
                {"corridor", 4, 6},   {"3s5z_vs_3s6z", 4, 7}, {"27m_vs_30m", 4, 7}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *preset = i % 2 ? "paper" : "code";
        ck_assert_int_eq(config_preset_for(&c, preset, rows[i].map), 0);
        ck_assert_uint_eq(c.imagine.candidates, rows[i].candidates);
        ck_assert_uint_eq(c.imagine.horizon, rows[i].horizon);
        ck_assert_str_eq(c.env.map, rows[i].map);
    }
}
END_TEST

START_TEST(code_follows_the_public_code)
{
    ck_assert_int_eq(config_preset_for(&c, "code", "corridor"), 0);
    ck_assert_int_eq(c.imagine.choice, CHOICE_BATCH);
    ck_assert_int_eq(c.rm.rec, REC_CODE);
    ck_assert_uint_eq(c.rm.passes, 2);
    ck_assert_uint_eq(c.net.width, 256);
}
END_TEST

START_TEST(quickstart_meets_its_own_promises)
{
    ck_assert_int_eq(config_preset_for(&c, "quickstart", NULL), 0);
    ck_assert_uint_ge(c.imagine.candidates, 3);
    ck_assert_uint_ge(c.imagine.horizon, 3);
    ck_assert_uint_ge(c.imagine.steps, 8);
    ck_assert_int_eq(c.imagine.choice, CHOICE_START);
    ck_assert_int_eq(c.imagine.search, SEARCH_SHOOTING);
    ck_assert_uint_lt(c.train.stop.seconds, 900);
    ck_assert_uint_ge(c.eval.episodes, 100);
    ck_assert(c.ckpt.best && c.eval.every > 0);
    ck_assert(c.train.warmup_model_steps > 0 && !c.collect.scale_updates);
}
END_TEST

START_TEST(the_stronger_origin_wins_in_whatever_order_it_came)
{
    char *env[] = {(char[]){"MAG_NET__WIDTH=96"}, (char[]){"MAG_NET__LAYERS=4"}, NULL};
    assign("net.width=128");
    ck_assert_int_eq(config_env(b, env), 0);
    ck_assert_int_eq(yaml("net: {width: 160, layers: 5, heads: 2}\npreset: quickstart\n"), 0);
    finish();
    ck_assert_uint_eq(c.net.width, 128);    /* command line */
    ck_assert_uint_eq(c.net.layers, 4);     /* environment */
    ck_assert_uint_eq(c.net.heads, 2);      /* file */
    ck_assert_uint_eq(c.net.classes, 16);   /* preset */
    ck_assert_double_eq(c.ppo.gamma, 0.99); /* default */
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    ck_assert_int_eq(config_print(&c, b, out), 0);
    fclose(out);
    ck_assert_ptr_nonnull(strstr(text, "  width: 128  # command line\n"));
    ck_assert_ptr_nonnull(strstr(text, "  layers: 4  # environment\n"));
    ck_assert_ptr_nonnull(strstr(text, "  heads: 2  # file\n"));
    ck_assert_ptr_nonnull(strstr(text, "  classes: 16  # preset\n"));
    ck_assert_ptr_nonnull(strstr(text, "  gamma: 0.99  # default\n"));
    free(text);
}
END_TEST

START_TEST(what_one_builder_was_given_can_be_given_to_another)
{
    struct config_builder *over = NULL;
    ck_assert_int_eq(yaml("net: {width: 160, heads: 2}\n"), 0);
    assign("net.layers=4");
    finish();
    ck_assert_uint_eq(c.net.width, 160);
    ck_assert_int_eq(config_begin(&over), 0);
    ck_assert_int_eq(config_assign(over, "net.width=128"), 0);
    ck_assert_int_eq(config_set(over, "net.layers", "5", ORIGIN_FILE), 0);
    config_over(b, over);
    config_end(over);
    finish();
    ck_assert_uint_eq(c.net.width, 128); /* command line over file */
    ck_assert_uint_eq(c.net.layers, 4);  /* file not over command line */
    ck_assert_uint_eq(c.net.heads, 2);   /* not given anew */
}
END_TEST

START_TEST(a_map_given_after_the_preset_still_decides_it)
{
    ck_assert_int_eq(config_preset(b, "paper"), 0);
    assign("env.map=corridor");
    assign("imagine.horizon=2");
    finish();
    ck_assert_uint_eq(c.imagine.candidates, 4);
    ck_assert_uint_eq(c.imagine.horizon, 2);
}
END_TEST

static void round_trip(void)
{
    struct config back;
    struct digest d1, d2;
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    ck_assert_int_eq(config_print(&c, NULL, out), 0);
    fclose(out);
    struct config_builder *again = NULL;
    ck_assert_int_eq(config_begin(&again), 0);
    int err = config_yaml(again, text, n, ORIGIN_FILE);
    ck_assert_msg(err == 0, "%s", err_text());
    ck_assert_int_eq(config_finish(again, &back), 0);
    ck_assert_mem_eq(&c, &back, sizeof c);
    config_digest(&c, &d1);
    config_digest(&back, &d2);
    ck_assert_mem_eq(d1.b, d2.b, DIGEST_BYTES);
    config_end(again);
    free(text);
}

START_TEST(what_is_printed_reads_back_to_the_same_bytes)
{
    for (const char *const *name = config_preset_names(); *name; name++) {
        ck_assert_int_eq(config_preset_for(&c, *name, "2c_vs_64zg"), 0);
        round_trip();
    }
    assign("seed=18446744073709551615");
    assign("lr.model=0.00012345678901234567");
    assign("ppo.clip=0.30000000000000004");
    assign("run_dir=/home/j\xc3\xbcrgen/a \"b\" \\ # c: d");
    assign("service.control=ipc:///tmp/mag-1/control");
    assign("env.map=true"); /* a name, whatever it looks like */
    assign("algo=mamba");
    assign("compute.isa=avx512");
    finish();
    ck_assert_uint_eq(c.seed, UINT64_MAX);
    ck_assert_int_eq(c.imagine.search, SEARCH_NONE);
    round_trip();
    assign("run_dir=- x");
    assign("env.map=\xe2\x80\xa8\xef\xbf\xbe"); /* a line separator, a non-character */
    finish();
    round_trip();
}
END_TEST

START_TEST(workers_get_what_the_digest_covers_and_nothing_local)
{
    struct config worker;
    struct digest mine, theirs;
    char *text = NULL;
    size_t n = 0;
    assign("preset=quickstart");
    assign("lr.rm=3e-4");
    assign("service.control=tcp://10.0.0.1:1");
    finish();
    ck_assert_int_eq(config_run_yaml(&c, &text, &n), 0);
    ck_assert_uint_eq(strlen(text), n);
    ck_assert_ptr_null(strstr(text, "service"));
    struct config_builder *w = NULL;
    ck_assert_int_eq(config_begin(&w), 0);
    ck_assert_int_eq(config_yaml(w, text, n, ORIGIN_FILE), 0);
    ck_assert_int_eq(config_finish(w, &worker), 0);
    config_digest(&c, &mine);
    config_digest(&worker, &theirs);
    ck_assert_mem_eq(mine.b, theirs.b, DIGEST_BYTES);
    worker.compute.threads = 7; /* not part of the run */
    config_digest(&worker, &theirs);
    ck_assert_mem_eq(mine.b, theirs.b, DIGEST_BYTES);
    worker.lr.rm *= 1.0000001;
    config_digest(&worker, &theirs);
    ck_assert_mem_ne(mine.b, theirs.b, DIGEST_BYTES);
    config_end(w);
    free(text);
}
END_TEST

static const struct {
    const char *assign, *says;
} refused[] = {
    {"net.widht=64", "did you mean \"net.width\"?"},
    {"width=64", "did you mean \"net.width\"?"},
    {"nothing.like.it.at.all=1", "unknown key"},
    {"net.width", "not key=value"},
    {"=1", "unknown key"},
    {"net.width=abc", "a whole number from 32 to 4096"},
    {"net.width=64x", "a whole number"},
    {"net.width=", "a whole number"},
    {"net.width=-64", "a whole number"},
    {"net.width=64.5", "a whole number"},
    {"net.width=0x40", "a whole number"},
    {"seed=18446744073709551616", "a whole number"},
    {"net.classes=257", "from 2 to 256"},
    {"imagine.steps=256", "from 1 to 255"},
    {"imagine.candidates=256", "from 0 to 255"},
    {"imagine.horizon=256", "from 0 to 255"},
    {"lr.model=nan", "a number from 0 to 1"},
    {"lr.model=1e999", "a number"},
    {"lr.model=0x1p-3", "a number"},
    {"env.continuing=yes", "true or false"},
    {"imagine.choice=strat", "did you mean \"start\"?"},
    {"imagine.search=shoting", "did you mean \"shooting\"?"},
    {"algo=mambo", "did you mean \"mamba\"?"},
    {"preset=quikstart", "did you mean \"quickstart\"?"},
    {"compute.isa=sse", "one of auto, ref, avx2, avx512"},
    {"env.map=a\nb", "control"},
    {"run_dir=\xff", "control"},
};

START_TEST(a_wrong_value_is_refused_with_the_remedy)
{
    ck_assert_int_eq(config_assign(b, refused[_i].assign), ERR_CONFIG);
    ck_assert_msg(strstr(err_text(), refused[_i].says) != NULL, "%s: %s", refused[_i].assign,
                  err_text());
    finish(); /* and leaves no trace */
    struct config defaults;
    config_defaults(&defaults);
    ck_assert_mem_eq(&c, &defaults, sizeof c);
}
END_TEST

START_TEST(in_lockstep_precision_auto_is_float32_and_half_is_kept)
{
    static const char *const given[] = {"imagine.precision=auto", "imagine.precision=float32",
                                        "imagine.precision=half"};
    assign(given[_i]);
    ck_assert_int_eq(config_finish(b, &c), 0);
    ck_assert_int_eq(c.imagine.precision, _i == 2 ? PRECISION_HALF : PRECISION_FLOAT32);
}
END_TEST

START_TEST(the_first_difference_that_matters_to_a_run_is_named)
{
    struct config other;
    finish();
    other = c;
    ck_assert_ptr_null(config_run_difference(&c, &other));
    other.train.stop.seconds = 9; /* of scope role */
    other.compute.threads = 9;    /* local */
    ck_assert_ptr_null(config_run_difference(&c, &other));
    other.net.width = 64;
    other.lr.model = 1;
    ck_assert_str_eq(config_run_difference(&c, &other), "net.width");
}
END_TEST

static const struct {
    const char *a, *b, *c; /* assignments; NULL: none */
    const char *says;      /* NULL: accepted */
} together[] = {
    {"net.width=48", NULL, NULL, "multiple of 32; use 64"},
    {"net.heads=7", NULL, NULL, "does not divide"},
    {"replay.min=20", NULL, NULL, "use at least 21"},
    {"replay.min=21", NULL, NULL, NULL},
    {"replay.capacity=400", NULL, NULL, "less than replay.min"},
    {"schedule=async", NULL, NULL, "not available yet; use lockstep"},
    {"env.map=", NULL, NULL, "no map"},
    {"train.windows=60000", "replay.window=19", NULL, NULL},
    {"train.windows=60000", "replay.window=20", NULL, "start states"},
    {"train.batches=4096", "collect.episodes=1", NULL, NULL},
    {"train.batches=1000", "collect.episodes=5", NULL, "imagined batches"},
    {"train.batches=1000", "collect.episodes=5", "collect.scale_updates=false", NULL},
    {"train.model_steps=1000000", "collect.episodes=17", NULL, "16777215"},
    {"train.rm_steps=1000000", "collect.episodes=17", NULL, "16777215"},
    {"imagine.candidates=0", "imagine.horizon=0", NULL, NULL},
    {"algo=mamba", "imagine.search=shooting", NULL, "no planning"},
    {"algo=mamba", "imagine.search=none", NULL, NULL},
    {"service.lease_ms=1500", NULL, NULL, "two heartbeats"},
};

START_TEST(values_that_do_not_fit_together_are_refused)
{
    assign(together[_i].a);
    if (together[_i].b)
        assign(together[_i].b);
    if (together[_i].c)
        assign(together[_i].c);
    int err = config_finish(b, &c);
    if (!together[_i].says) {
        ck_assert_msg(err == 0, "%s: %s", together[_i].a, err_text());
        return;
    }
    ck_assert_msg(err == ERR_CONFIG, "%s: %d", together[_i].a, err);
    ck_assert_msg(strstr(err_text(), together[_i].says) != NULL, "%s: %s", together[_i].a,
                  err_text());
}
END_TEST

static const struct {
    const char *text, *says; /* NULL: accepted */
} files[] = {
    {"", NULL},
    {"---\n", NULL},
    {"# only a comment\n", NULL},
    {"net.width: 64\n", NULL},
    {"net: {width: 64}\nnet.heads: 4\n", NULL},
    {"train:\n  stop:\n    seconds: 1e3\n", NULL},
    {"train.stop: {seconds: 5}\n", NULL},
    {"{\"net\": {\"width\": 64}}", NULL},
    {"run_dir:\n", NULL}, /* empty text */
    {"net:\n  widht: 64\n", "line 2: unknown key \"net.widht\"; did you mean \"net.width\"?"},
    {"ne:\n  width: 64\n", "did you mean \"net\"?"},
    {"net:\n  width: 64\n  width: 32\n", "line 3: this key was given before"},
    {"net.width: 64\nnet: {width: 32}\n", "line 2: this key was given before"},
    {"net: {width: 64}\nnet: {heads: 4}\n", "group was given before"},
    {"net: &a {width: 64}\n", "anchors"},
    {"net: {width: &a 64, heads: *a}\n", "anchors"},
    {"net: *a\n", "line 1"},
    {"net: !!map {width: 64}\n", "tags"},
    {"seed: !!int 5\n", "tags"},
    {"net: [1, 2]\n", "a list"},
    {"- net\n", "a list"},
    {"net: 64\n", "unknown key"},
    {"net.width: {a: 1}\n", "unknown group"},
    {"? [a]\n: 1\n", "a list"},
    {"just words\n", "key: value"},
    {"net:\n\twidth: 64\n", "line 2"},
    {"net: {width: 64\n", "line"},
    {"a: {a: {a: {a: {a: {a: {a: {a: {a: 1}}}}}}}}}\n", "unknown group"},
    {"--- \nseed: 1\n--- \nseed: 2\n", "more than one document"},
    {"seed: \"1\\0\"\n", "zero byte"},
    {"env.continuing: no\n", "true or false"},
    {"lr.model: 5\n", "line 1: lr.model"},
    {"seed: \xff\n", "line"},
};

START_TEST(yaml_is_read_and_its_traps_are_refused)
{
    int err = yaml(files[_i].text);
    if (!files[_i].says) {
        ck_assert_msg(err == 0, "%s: %s", files[_i].text, err_text());
        return;
    }
    ck_assert_msg(err == ERR_CONFIG, "%s: %d", files[_i].text, err);
    ck_assert_msg(strstr(err_text(), files[_i].says) != NULL, "%s: %s", files[_i].text,
                  err_text());
}
END_TEST

START_TEST(a_file_is_read_and_named_in_its_errors)
{
    char path[] = "/tmp/mag-config-XXXXXX";
    int fd = mkstemp(path);
    static const char text[] = "net:\n  width: 96\nseed: x\n";
    ck_assert_int_eq(write(fd, text, 16), 16);
    ck_assert_int_eq(config_file(b, path), 0);
    finish();
    ck_assert_uint_eq(c.net.width, 96);
    ck_assert_int_eq(write(fd, text + 16, sizeof text - 17), sizeof text - 17);
    ck_assert_int_eq(config_file(b, path), ERR_CONFIG);
    ck_assert_ptr_nonnull(strstr(err_text(), path));
    ck_assert_ptr_nonnull(strstr(err_text(), "line 3"));
    ck_assert_int_eq(ftruncate(fd, (1 << 20) + 1), 0);
    ck_assert_int_eq(config_file(b, path), ERR_CONFIG);
    ck_assert_ptr_nonnull(strstr(err_text(), "1048576"));
    close(fd);
    unlink(path);
    ck_assert_int_eq(config_file(b, path), ERR_CONFIG);
    ck_assert_int_eq(config_file(b, "/tmp"), ERR_CONFIG);
}
END_TEST

START_TEST(environment_variables_spell_keys_and_strangers_are_left_alone)
{
    char *good[] = {(char[]){"MAG_TRAIN__STOP__SECONDS=60"},
                    (char[]){"MAG_SEED=9"},
                    (char[]){"MAG_RUN_DIR=/x"},
                    (char[]){"MAG_IMAGE=base"},
                    (char[]){"MAG_FAULT=commit:1"},
                    (char[]){"MAG_NET__WIDTH="}, /* empty is unset */
                    (char[]){"HOME=/root"},
                    NULL};
    ck_assert_int_eq(config_env(b, good), 0);
    finish();
    ck_assert_uint_eq(c.train.stop.seconds, 60);
    ck_assert_uint_eq(c.seed, 9);
    ck_assert_str_eq(c.run_dir, "/x");
    ck_assert_uint_eq(c.net.width, 256);
    char *bad[] = {(char[]){"MAG_NET__WIDHT=64"}, NULL};
    ck_assert_int_eq(config_env(b, bad), ERR_CONFIG);
    ck_assert_ptr_nonnull(strstr(err_text(), "MAG_NET__WIDHT"));
    ck_assert_ptr_nonnull(strstr(err_text(), "net.width"));
    char *near[] = {(char[]){"MAG_SEDE=5"}, NULL};
    ck_assert_int_eq(config_env(b, near), ERR_CONFIG);
}
END_TEST

START_TEST(names_are_suggested_when_near_and_only_then)
{
    static const char *const names[] = {"start", "batch", "shooting", "net.width"};
    ck_assert_str_eq(nearest_name("strat", names, 4), "start");
    ck_assert_str_eq(nearest_name("bacth", names, 4), "batch");
    ck_assert_str_eq(nearest_name("net.widt", names, 4), "net.width");
    static const char *const two[] = {"lr"};
    ck_assert_str_eq(nearest_name("rl", two, 1), "lr"); /* a swap is one slip */
    ck_assert_ptr_null(nearest_name("xyzzy", names, 4));
    ck_assert_ptr_null(nearest_name("", names, 4));
    char word[200];
    memset(word, 'a', sizeof word - 1);
    word[sizeof word - 1] = '\0';
    ck_assert_ptr_null(nearest_name(word, names, 4));
}
END_TEST

START_TEST(the_reference_names_keys_defaults_and_presets)
{
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    config_reference(out);
    fclose(out);
    ck_assert_ptr_nonnull(strstr(text, "| `net.width` | a whole number from 32 to 4096"));
    ck_assert_ptr_nonnull(strstr(text, "| `train.stop.seconds` |"));
    ck_assert_ptr_nonnull(strstr(text, "| `net.width` | 256 | 256 | "));
    ck_assert_ptr_nonnull(strstr(text, "| corridor | 4 | 6 |"));
    free(text);
}
END_TEST

#define COUNT(table) (int)(sizeof(table) / sizeof *(table))

int main(void)
{
    Suite *s = suite_create("config");
    TCase *t = tcase_create("config");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, defaults_are_the_paper_on_its_map);
    tcase_add_test(t, paper_takes_planning_from_table_1_by_map);
    tcase_add_test(t, code_follows_the_public_code);
    tcase_add_test(t, quickstart_meets_its_own_promises);
    tcase_add_test(t, the_stronger_origin_wins_in_whatever_order_it_came);
    tcase_add_test(t, what_one_builder_was_given_can_be_given_to_another);
    tcase_add_test(t, a_map_given_after_the_preset_still_decides_it);
    tcase_add_test(t, what_is_printed_reads_back_to_the_same_bytes);
    tcase_add_test(t, workers_get_what_the_digest_covers_and_nothing_local);
    tcase_add_loop_test(t, a_wrong_value_is_refused_with_the_remedy, 0, COUNT(refused));
    tcase_add_test(t, the_first_difference_that_matters_to_a_run_is_named);
    tcase_add_loop_test(t, in_lockstep_precision_auto_is_float32_and_half_is_kept, 0, 3);
    tcase_add_loop_test(t, values_that_do_not_fit_together_are_refused, 0, COUNT(together));
    tcase_add_loop_test(t, yaml_is_read_and_its_traps_are_refused, 0, COUNT(files));
    tcase_add_test(t, a_file_is_read_and_named_in_its_errors);
    tcase_add_test(t, environment_variables_spell_keys_and_strangers_are_left_alone);
    tcase_add_test(t, names_are_suggested_when_near_and_only_then);
    tcase_add_test(t, the_reference_names_keys_defaults_and_presets);
    suite_add_tcase(s, t);
    return run_suite(s);
}
