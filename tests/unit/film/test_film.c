/* SPDX-License-Identifier: Apache-2.0 */
/* test_film.c - a film shows what was played, in every form; a damaged one says where. */
#include "suite.h"

#include "film/film.h"

#include "base/digest.h"
#include "base/err.h"

#include <check.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STEPS_MAX = 200, FRAMES = STEPS_MAX + 1 };

static struct config cfg;
static const struct env_class *smac;
static struct env *env;
static struct env_spec spec;

/* What was played, as the environment showed it. */
static struct scene played[FRAMES];
static struct env_step paid[FRAMES];
static size_t steps;

static void open_map(const char *map)
{
    config_defaults(&cfg);
    strcpy(cfg.env.map, map);
    ck_assert_int_eq(env_find("smac", &smac), 0);
    ck_assert_int_eq(smac->spec(&cfg, &spec), 0);
    ck_assert_int_eq(smac->open(&cfg, &env), 0);
}

static void teardown(void)
{
    smac->close(env);
    env = NULL;
}

static struct film_writer *new_film(const char *policy, bool scripted)
{
    struct film_about about;
    struct scene_stage stage;
    struct film_writer *w = NULL;
    ck_assert_int_eq(film_about(&about, &cfg, smac, policy, scripted), 0);
    smac->stage(env, &stage);
    ck_assert_int_eq(film_create(&w, &about, &stage, spec.n_agents), 0);
    return w;
}

/* One episode by a script; script NULL: everybody takes the last action that is open. */
static void play(struct film_writer *w, const char *script, uint64_t number, uint64_t seed)
{
    struct film_take *take = NULL;
    static float obs[32 * 400];
    static uint8_t avail[32 * 80], action[32];
    ck_assert_int_eq(smac->reset(env, seed), 0);
    smac->scene(env, &played[0]);
    ck_assert_int_eq(take_begin(&take, w, number, seed, &played[0]), 0);
    steps = 0;
    do {
        smac->observe(env, obs, avail, NULL);
        for (size_t n = 0; n < spec.n_agents; n++)
            for (size_t a = 0; a < spec.actions; a++)
                if (avail[n * spec.actions + a])
                    action[n] = (uint8_t)a;
        struct env_step *s = &paid[steps++];
        ck_assert_int_eq(
            script ? smac->step_script(env, script, s) : smac->step(env, action, s), 0);
        smac->scene(env, &played[steps]);
        take_step(take, script ? NULL : action, s, &played[steps]);
    } while (paid[steps - 1].end == ENV_RUNNING);
    ck_assert_int_eq(take_end(take), 0);
}

static struct film *pack(struct film_writer *w, unsigned char **bytes, size_t *n)
{
    struct film *f = NULL;
    ck_assert_int_eq(film_pack(w, bytes, n), 0);
    film_discard(w);
    ck_assert_msg(film_parse(&f, *bytes, *n, "film") == 0, "%s", err_text());
    return f;
}

/* --- the file --- */

static void check_unit(size_t frame, size_t i, const struct scene_unit *was,
                       const struct scene_unit *is)
{
    double place = 0.5 / FILM_PLACE + 1e-9, point = 0.5 / FILM_POINT + 1e-9;
    ck_assert_msg(fabs((double)(was->x - is->x)) <= place &&
                      fabs((double)(was->y - is->y)) <= place,
                  "frame %zu unit %zu stands at %g %g, recorded at %g %g", frame, i,
                  (double)is->x, (double)is->y, (double)was->x, (double)was->y);
    ck_assert_double_le(fabs((double)(was->health - is->health)), point);
    ck_assert_double_le(fabs((double)(was->shield - is->shield)), point);
    ck_assert_double_le(fabs((double)(was->energy - is->energy)), point);
    ck_assert_int_eq(was->alive, is->alive);
    ck_assert_int_eq(was->kind, is->kind);
    ck_assert_int_eq(was->side, is->side);
    ck_assert_int_eq(was->order, is->order);
    if (was->order == SCENE_ATTACK || was->order == SCENE_MEND)
        ck_assert_uint_eq(was->target, is->target);
    if (was->order == SCENE_MOVE)
        ck_assert_double_le(fabs((double)(was->to_x - is->to_x)), place);
}

static void check_last_played(const struct film *f, size_t i)
{
    struct film_episode e;
    static struct scene s;
    ck_assert_msg(film_episode(f, i, &e) == 0, "%s", err_text());
    ck_assert_uint_eq(e.n_steps, steps);
    ck_assert_uint_eq(e.n_units, played[0].n_units);
    ck_assert_int_eq(e.won, paid[steps - 1].won);
    ck_assert_int_eq(e.end, paid[steps - 1].end);
    for (size_t frame = 0; frame <= steps; frame++) {
        const struct scene *p = &played[frame];
        film_scene(&e, frame, &s);
        for (size_t u = 0; u < e.n_units; u++)
            check_unit(frame, u, &p->unit[u], &s.unit[u]);
        ck_assert_uint_eq(s.n_shots, p->n_shots);
        for (size_t k = 0; k < s.n_shots; k++) {
            ck_assert_uint_eq(s.shot[k].source, p->shot[k].source);
            ck_assert_uint_eq(s.shot[k].target, p->shot[k].target);
            ck_assert_uint_eq(s.shot[k].loop, p->shot[k].loop);
        }
        if (frame)
            ck_assert(e.reward[frame - 1] == paid[frame - 1].reward);
    }
    film_episode_free(&e);
}

static const char *const maps[] = {"3m", "2s3z", "1c3s5z", "MMM", "so_many_baneling"};

START_TEST(a_film_holds_what_was_played)
{
    unsigned char *bytes;
    size_t n;
    open_map(maps[_i]);
    struct film_writer *w = new_film("attack_nearest", true);
    play(w, "attack_nearest", 4, 99);
    struct film *f = pack(w, &bytes, &n);
    ck_assert_uint_eq(f->n_episodes, 1);
    ck_assert_str_eq(f->about.map, maps[_i]);
    check_last_played(f, 0);
    film_close(f);
    free(bytes);
}
END_TEST

START_TEST(a_battle_of_three_marines_takes_few_kilobytes)
{
    unsigned char *bytes;
    size_t n;
    open_map("3m");
    struct film_writer *w = new_film("attack_nearest", true);
    play(w, "attack_nearest", 0, 1);
    struct film *f = pack(w, &bytes, &n);
    ck_assert_msg(n < 3000, "%zu bytes for %zu steps", n, steps);
    film_close(f);
    free(bytes);
}
END_TEST

START_TEST(the_order_in_which_episodes_end_does_not_matter)
{
    unsigned char *one, *other;
    size_t n_one, n_other;
    open_map("3m");
    struct film_writer *a = new_film("kiting", true), *b = new_film("kiting", true);
    play(a, "kiting", 0, 7);
    play(a, "kiting", 1, 8);
    play(b, "kiting", 1, 8);
    play(b, "kiting", 0, 7);
    film_close(pack(a, &one, &n_one));
    film_close(pack(b, &other, &n_other));
    ck_assert_uint_eq(n_one, n_other);
    ck_assert_mem_eq(one, other, n_one);
    free(one);
    free(other);
}
END_TEST

START_TEST(strikes_name_enemies_and_the_dead_have_been_struck)
{
    open_map("3m");
    struct film_writer *w = new_film("attack_nearest", true);
    play(w, "attack_nearest", 0, 3);
    bool struck[SCENE_UNITS] = {false};
    size_t strikes = 0;
    for (size_t f = 1; f <= steps; f++) {
        for (size_t k = 0; k < played[f].n_shots; k++, strikes++) {
            const struct scene_shot *s = &played[f].shot[k];
            ck_assert_int_ne(played[f].unit[s->source].side, played[f].unit[s->target].side);
            ck_assert_uint_lt(s->loop, 8);
            struck[s->target] = true;
        }
        for (size_t i = 0; i < played[f].n_units; i++)
            ck_assert(played[f].unit[i].alive || struck[i]);
    }
    ck_assert_uint_gt(strikes, 10);
    film_discard(w);
}
END_TEST

/* --- the engine again --- */

static const char *const policies[] = {"attack_nearest", "opponent", NULL};

START_TEST(the_engine_fights_the_same_battle_again)
{
    unsigned char *bytes;
    size_t n;
    long differs = 0;
    char what[200] = "";
    open_map("2s3z");
    struct film_writer *w =
        new_film(policies[_i] ? policies[_i] : "last", policies[_i] != NULL);
    play(w, policies[_i], 0, 5);
    struct film *f = pack(w, &bytes, &n);
    ck_assert_msg(film_check(f, 0, &differs, what, sizeof what) == 0, "%s", err_text());
    ck_assert_msg(differs == -1, "step %ld: %s", differs, what);
    film_close(f);
    free(bytes);
}
END_TEST

START_TEST(another_rule_is_noticed_at_the_step_it_first_shows)
{
    unsigned char *bytes;
    size_t n;
    long differs = 0;
    char what[200] = "";
    open_map("2s3z");
    struct film_writer *w = new_film("attack_nearest", true);
    play(w, "attack_nearest", 0, 5);
    struct film *f = pack(w, &bytes, &n);
    char *units = strstr(f->about.settings, "units: liberty");
    ck_assert_ptr_nonnull(units);
    memmove(units + strlen("units: lotv_4_10"), units + strlen("units: liberty"),
            strlen(units + strlen("units: liberty")) + 1);
    memcpy(units, "units: lotv_4_10", strlen("units: lotv_4_10"));
    ck_assert_msg(film_check(f, 0, &differs, what, sizeof what) == 0, "%s", err_text());
    ck_assert_int_ge(differs, 0);
    ck_assert_msg(strncmp(what, "unit ", 5) == 0 && strstr(what, " in the film and "), "%s",
                  what);
    film_close(f);
    free(bytes);
}
END_TEST

/* --- damage --- */

static void film_of_3m(unsigned char **bytes, size_t *n)
{
    open_map("3m");
    struct film_writer *w = new_film("attack_nearest", true);
    play(w, "attack_nearest", 0, 1);
    film_close(pack(w, bytes, n));
}

START_TEST(every_damaged_byte_and_every_cut_is_noticed)
{
    unsigned char *bytes;
    size_t n;
    struct film *f = NULL;
    film_of_3m(&bytes, &n);
    for (size_t i = 0; i < n; i++) {
        bytes[i] ^= 0x20;
        int err = film_parse(&f, bytes, n, "some.film");
        ck_assert_msg(err == ERR_CORRUPT || (i == 7 && err == ERR_UNSUPPORTED), "byte %zu: %d",
                      i, err);
        ck_assert_ptr_nonnull(strstr(err_text(), "some.film: byte "));
        bytes[i] ^= 0x20;
        ck_assert_int_eq(film_parse(&f, bytes, i, "some.film"), ERR_CORRUPT);
    }
    free(bytes);
}
END_TEST

START_TEST(a_wrong_body_is_refused_with_its_place_and_a_remedy)
{
    unsigned char *bytes;
    size_t n, refused = 0;
    struct film *f = NULL;
    film_of_3m(&bytes, &n);
    ck_assert_int_eq(film_parse(&f, bytes, n, "some.film"), 0);
    for (size_t i = 0; i < f->n_body; i++) {
        struct film *cut = NULL;
        struct film_episode e;
        int err = film_parse_body(&cut, f->body, i, "some.film");
        if (!err) /* it ends between two episodes: none is left of one */
            ck_assert_uint_eq(cut->n_episodes, 0);
        if (err) {
            ck_assert_ptr_nonnull(strstr(err_text(), "some.film: byte "));
            ck_assert_ptr_nonnull(strstr(err_text(), "record the battle anew"));
        }
        film_close(cut);
        unsigned char keep = f->body[i];
        f->body[i] = 0xff;
        err = film_episode(f, 0, &e);
        refused += err != 0;
        if (!err)
            film_episode_free(&e);
        else
            ck_assert_int_eq(err, ERR_CORRUPT);
        f->body[i] = keep;
    }
    ck_assert_uint_gt(refused, 100);
    film_close(f);
    free(bytes);
}
END_TEST

START_TEST(a_missing_file_and_a_later_version_say_so)
{
    unsigned char *bytes;
    size_t n;
    struct film *f = NULL;
    ck_assert_int_eq(film_read(&f, "/nowhere/at.film"), ERR_NOTFOUND);
    ck_assert_ptr_nonnull(strstr(err_text(), "/nowhere/at.film"));
    film_of_3m(&bytes, &n);
    bytes[7]++;
    ck_assert_int_eq(film_parse(&f, bytes, n, "later.film"), ERR_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(err_text(), "newer mag"));
    free(bytes);
}
END_TEST

START_TEST(an_environment_without_units_cannot_be_recorded)
{
    struct film_about about;
    struct env_class blind = {.name = "blind"};
    config_defaults(&cfg);
    ck_assert_int_eq(film_about(&about, &cfg, &blind, "x", false), ERR_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(err_text(), "blind has no units"));
}
END_TEST

/* --- pictures --- */

static char *drawn(int (*form)(const struct film *, FILE *), const struct film *f)
{
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    ck_assert_ptr_nonnull(out);
    ck_assert_int_eq(form(f, out), 0);
    fclose(out);
    return text;
}

/* A column of differences holds exactly the numbers of the frames. */
static void check_column(const json_t *unit, const char *key, const struct film_episode *e,
                         size_t i, size_t offset)
{
    const json_t *column = json_object_get(unit, key);
    json_int_t sum = 0;
    ck_assert_uint_eq(json_array_size(column), e->n_steps + 1);
    for (size_t frame = 0; frame <= e->n_steps; frame++) {
        int32_t v;
        memcpy(&v, (const char *)&film_frame(e, frame)[i] + offset, sizeof v);
        sum += json_integer_value(json_array_get(column, frame));
        ck_assert_msg(sum == v, "unit %zu frame %zu: %s is %lld, in the film %d", i, frame, key,
                      (long long)sum, v);
    }
}

static void check_life(const json_t *unit, const struct film_episode *e, size_t i)
{
    const json_t *life = json_object_get(unit, "life");
    bool alive = false;
    size_t at = 0;
    for (size_t frame = 0; frame <= e->n_steps; frame++) {
        if (at < json_array_size(life) &&
            json_integer_value(json_array_get(life, at)) == (json_int_t)frame) {
            alive = !alive;
            at++;
        }
        ck_assert_int_eq(film_frame(e, frame)[i].alive, alive);
    }
    ck_assert_uint_eq(at, json_array_size(life));
}

static void check_json(const struct film *f, const json_t *root)
{
    struct film_episode e;
    const json_t *episodes = json_object_get(root, "episodes");
    ck_assert_uint_eq(json_array_size(episodes), f->n_episodes);
    for (size_t k = 0; k < f->n_episodes; k++) {
        const json_t *j = json_array_get(episodes, k), *shots = json_object_get(j, "shots");
        ck_assert_int_eq(film_episode(f, k, &e), 0);
        ck_assert_int_eq(json_is_true(json_object_get(j, "won")), e.won);
        ck_assert_uint_eq(json_array_size(json_object_get(j, "units")), e.n_units);
        for (size_t i = 0; i < e.n_units; i++) {
            const json_t *u = json_array_get(json_object_get(j, "units"), i);
            check_column(u, "x", &e, i, offsetof(struct film_unit, x));
            check_column(u, "y", &e, i, offsetof(struct film_unit, y));
            check_column(u, "health", &e, i, offsetof(struct film_unit, health));
            check_column(u, "shield", &e, i, offsetof(struct film_unit, shield));
            check_column(u, "energy", &e, i, offsetof(struct film_unit, energy));
            check_life(u, &e, i);
        }
        for (size_t frame = 0; frame <= e.n_steps; frame++)
            ck_assert_uint_eq(json_array_size(json_array_get(shots, frame)),
                              3 * (e.shots[frame + 1] - e.shots[frame]));
        film_episode_free(&e);
    }
}

START_TEST(the_page_holds_exactly_the_frames_and_fetches_nothing)
{
    unsigned char *bytes;
    size_t n;
    json_error_t why;
    open_map("MMM");
    struct film_writer *w = new_film("attack_nearest", true);
    play(w, "attack_nearest", 0, 1);
    play(w, "attack_nearest", 1, 2);
    struct film *f = pack(w, &bytes, &n);
    char *page = drawn(film_html, f), *json = drawn(film_json, f);
    static const char open[] = "<script id=\"film\" type=\"application/json\">";
    char *from = strstr(page, open), *to = from ? strstr(from, "</script>") : NULL;
    ck_assert_ptr_nonnull(to);
    ck_assert_ptr_null(strstr(page, "http://"));
    ck_assert_ptr_null(strstr(page, "https://"));
    ck_assert_ptr_null(strstr(page, " src="));
    *to = 0;
    from += strlen(open);
    ck_assert_str_eq(from, json);
    json_t *root = json_loads(from, 0, &why);
    ck_assert_msg(root != NULL, "line %d: %s", why.line, why.text);
    check_json(f, root);
    json_decref(root);
    free(page);
    free(json);
    film_close(f);
    free(bytes);
}
END_TEST

START_TEST(no_text_of_a_film_can_leave_its_element)
{
    unsigned char *bytes;
    size_t n;
    open_map("3m");
    struct film_writer *w = new_film("</script><script>\"\\\n", false);
    play(w, NULL, 0, 1);
    struct film *f = pack(w, &bytes, &n);
    char *json = drawn(film_json, f);
    json_t *root = json_loads(json, 0, NULL);
    ck_assert_ptr_null(strchr(json, '<'));
    ck_assert_ptr_nonnull(root);
    ck_assert_str_eq(json_string_value(json_object_get(root, "policy")),
                     "</script><script>\"\\\n");
    json_decref(root);
    free(json);
    film_close(f);
    free(bytes);
}
END_TEST

static size_t count(const char *text, const char *word)
{
    size_t n = 0;
    for (; (text = strstr(text, word)); text += strlen(word))
        n++;
    return n;
}

START_TEST(a_strip_has_as_many_panels_as_asked_the_last_frame_among_them)
{
    unsigned char *bytes;
    size_t n, size = 0;
    char *svg = NULL, last[32];
    open_map("3m");
    struct film_writer *w = new_film("attack_nearest", true);
    play(w, "attack_nearest", 0, 1);
    struct film *f = pack(w, &bytes, &n);
    size_t frames = (size_t)_i;
    FILE *out = open_memstream(&svg, &size);
    ck_assert_int_eq(film_svg(f, 0, frames, out), 0);
    fclose(out);
    ck_assert_uint_eq(count(svg, ">step "), frames <= steps + 1 ? frames : steps + 1);
    snprintf(last, sizeof last, ">step %zu<", steps);
    ck_assert_uint_eq(count(svg, last), 1);
    ck_assert_uint_eq(count(svg, ">step 0<"), 1);
    free(svg);
    film_close(f);
    free(bytes);
}
END_TEST

START_TEST(a_frame_in_text_shows_both_sides)
{
    unsigned char *bytes;
    size_t n, size = 0;
    char *text = NULL;
    struct film_episode e;
    open_map("3m");
    struct film_writer *w = new_film("attack_nearest", true);
    play(w, "attack_nearest", 0, 1);
    struct film *f = pack(w, &bytes, &n);
    ck_assert_int_eq(film_episode(f, 0, &e), 0);
    FILE *out = open_memstream(&text, &size);
    film_text(f, &e, 0, false, out);
    fclose(out);
    /* several in one cell are one letter and a plus */
    ck_assert_uint_ge(count(text, "M9") + 2 * count(text, "M+"), 2);
    ck_assert_uint_ge(count(text, "m9") + 2 * count(text, "m+"), 2);
    ck_assert_ptr_nonnull(strstr(text, "agents      3 of 3"));
    free(text);
    film_episode_free(&e);
    film_close(f);
    free(bytes);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("film");
    TCase *t = tcase_create("film");
    tcase_add_checked_fixture(t, NULL, teardown);
    tcase_add_loop_test(t, a_film_holds_what_was_played, 0, sizeof maps / sizeof *maps);
    tcase_add_test(t, a_battle_of_three_marines_takes_few_kilobytes);
    tcase_add_test(t, the_order_in_which_episodes_end_does_not_matter);
    tcase_add_test(t, strikes_name_enemies_and_the_dead_have_been_struck);
    tcase_add_loop_test(t, the_engine_fights_the_same_battle_again, 0,
                        sizeof policies / sizeof *policies);
    tcase_add_test(t, another_rule_is_noticed_at_the_step_it_first_shows);
    tcase_add_test(t, every_damaged_byte_and_every_cut_is_noticed);
    tcase_add_test(t, a_wrong_body_is_refused_with_its_place_and_a_remedy);
    tcase_add_test(t, a_missing_file_and_a_later_version_say_so);
    tcase_add_test(t, the_page_holds_exactly_the_frames_and_fetches_nothing);
    tcase_add_test(t, no_text_of_a_film_can_leave_its_element);
    tcase_add_loop_test(t, a_strip_has_as_many_panels_as_asked_the_last_frame_among_them, 2, 9);
    tcase_add_test(t, a_frame_in_text_shows_both_sides);
    suite_add_tcase(suite, t);
    TCase *bare = tcase_create("no environment");
    tcase_add_test(bare, an_environment_without_units_cannot_be_recorded);
    suite_add_tcase(suite, bare);
    return run_suite(suite);
}
