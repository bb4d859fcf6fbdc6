/* SPDX-License-Identifier: Apache-2.0 */
/* verb_replay.c - `mag replay`: a recorded battle in the terminal, as a page, as a strip.
 *
 * On a terminal it plays and takes keys; anywhere else every frame of the episode is printed
 * once, without colours, so that a battle can be read, searched and compared. */
#include "args.h"
#include "verbs.h"

#include "base/err.h"
#include "film/film.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

enum { SPEEDS = 6, NORMAL = 2, STEPS_PER_SECOND = 2, KEY_FRAMES = 6 };
static const double speeds[SPEEDS] = {0.25, 0.5, 1, 2, 4, 8};

static int status_of(int err)
{
    return err == ERR_CONFIG ? EXIT_CONFIG : err == ERR_IO ? EXIT_IO : EXIT_DATA;
}

/* ------------------------------------------------------------------------- in a terminal */

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    interrupted = number;
}

struct viewer {
    const struct film *film;
    struct film_episode episode;
    size_t number, frame; /* position of the episode in the film; frame shown */
    int speed;
    bool playing, leave;
};

static int go_to(struct viewer *v, size_t number)
{
    struct film_episode e;
    int err = film_episode(v->film, number, &e);
    if (err)
        return err;
    film_episode_free(&v->episode);
    v->episode = e;
    v->number = number;
    v->frame = 0;
    v->playing = true;
    return 0;
}

/* One screen in one write, cut at the last row: a taller one would scroll. */
static void draw(const struct viewer *v)
{
    char *text = NULL;
    size_t n = 0;
    struct winsize size = {0};
    FILE *out = open_memstream(&text, &n);
    if (!out)
        return;
    film_text(v->film, &v->episode, v->frame, true, out);
    fclose(out);
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) || size.ws_row < 2)
        size.ws_row = 24;
    fputs("\033[H", stdout);
    unsigned row = 1;
    for (char *line = text, *end; (end = strchr(line, '\n')) && row < size.ws_row; row++) {
        fwrite(line, 1, (size_t)(end - line), stdout);
        fputs("\033[K\r\n", stdout);
        line = end + 1;
    }
    printf("%s %gx   space play/pause, arrows step, + - speed, n p episode, r again, q quit"
           "\033[K\033[J",
           v->playing ? "playing" : "paused", speeds[v->speed]);
    fflush(stdout);
    free(text);
}

static void step(struct viewer *v, int by)
{
    v->playing = false;
    if (by < 0 ? v->frame > 0 : v->frame < v->episode.n_steps)
        v->frame = by < 0 ? v->frame - 1 : v->frame + 1;
}

static int press(struct viewer *v, const char *key, ssize_t n)
{
    size_t films = v->film->n_episodes;
    if (n >= 3 && key[0] == '\033' && key[1] == '[') {
        if (key[2] == 'C' || key[2] == 'D')
            step(v, key[2] == 'C' ? 1 : -1);
        return 0;
    }
    switch (key[0]) {
    case 'q':
    case '\033':
        v->leave = true;
        break;
    case ' ':
        v->playing = !v->playing;
        if (v->playing && v->frame == v->episode.n_steps)
            v->frame = 0;
        break;
    case '+':
    case '=':
        v->speed += v->speed + 1 < SPEEDS;
        break;
    case '-':
        v->speed -= v->speed > 0;
        break;
    case '.':
    case ',':
        step(v, key[0] == '.' ? 1 : -1);
        break;
    case 'r':
        v->frame = 0;
        v->playing = true;
        break;
    case 'n':
        return go_to(v, (v->number + 1) % films);
    case 'p':
        return go_to(v, (v->number + films - 1) % films);
    default:
        break;
    }
    return 0;
}

static int watch(struct viewer *v)
{
    while (!v->leave && !interrupted) {
        char key[8];
        struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
        draw(v);
        int ready =
            poll(&in, 1, v->playing ? (int)(1000 / (STEPS_PER_SECOND * speeds[v->speed])) : -1);
        if (ready > 0) {
            ssize_t n = read(STDIN_FILENO, key, sizeof key);
            int err = n > 0 ? press(v, key, n) : 0;
            if (err)
                return err;
            v->leave |= n <= 0; /* the terminal is gone */
        } else if (ready == 0 && v->frame < v->episode.n_steps) {
            v->frame++;
        } else if (ready == 0) {
            v->playing = false;
        }
    }
    return 0;
}

/* Keys one by one, on the other screen of the terminal; all as it was afterwards. */
static int watch_terminal(struct viewer *v)
{
    struct termios before, raw;
    struct sigaction act = {.sa_handler = on_signal}; /* no SA_RESTART: poll must return */
    if (tcgetattr(STDIN_FILENO, &before))
        return err_set(ERR_IO, "the terminal does not answer: %s", strerror(errno));
    raw = before;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    sigaction(SIGINT, &act, NULL);
    sigaction(SIGTERM, &act, NULL);
    sigaction(SIGHUP, &act, NULL);
    tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    fputs("\033[?1049h\033[?25l", stdout);
    int err = watch(v);
    fputs("\033[?25h\033[?1049l", stdout);
    fflush(stdout);
    tcsetattr(STDIN_FILENO, TCSANOW, &before);
    return err;
}

static int show(const struct film *f, size_t episode)
{
    struct viewer v = {.film = f, .speed = NORMAL};
    int err = go_to(&v, episode);
    if (err)
        return err;
    if (isatty(STDIN_FILENO) && isatty(STDOUT_FILENO)) {
        err = watch_terminal(&v);
    } else {
        for (size_t frame = 0; frame <= v.episode.n_steps; frame++) {
            film_text(f, &v.episode, frame, false, stdout);
            fputc('\n', stdout);
        }
        if (fflush(stdout) || ferror(stdout))
            err = err_set(ERR_IO, "standard output: %s", strerror(errno));
    }
    film_episode_free(&v.episode);
    return err;
}

/* ------------------------------------------------------------------------------ to files */

struct replay_flags {
    const char *html, *svg, *json, *episode, *frames;
    bool check;
};

enum form { HTML, SVG, JSON };

static int write_form(const struct film *f, enum form form, size_t episode, size_t frames,
                      const char *path)
{
    bool out = !strcmp(path, "-");
    FILE *file = out ? stdout : fopen(path, "w");
    if (!file)
        return err_set(ERR_IO, "%s: cannot be written: %s", path, strerror(errno));
    int err = form == HTML  ? film_html(f, file)
              : form == SVG ? film_svg(f, episode, frames, file)
                            : film_json(f, file);
    if (!out && fclose(file) && !err)
        err = err_set(ERR_IO, "%s: cannot be written: %s", path, strerror(errno));
    if (!err && !out)
        printf("%s: %s of %s\n", path,
               form == HTML  ? "page"
               : form == SVG ? "film strip"
                             : "JSON",
               f->name);
    return err;
}

static int check_all(const struct film *f)
{
    size_t same = 0;
    for (size_t i = 0; i < f->n_episodes; i++) {
        long differs;
        char what[256];
        int err = film_check(f, i, &differs, what, sizeof what);
        if (err)
            return err;
        same += differs < 0;
        if (differs >= 0)
            printf("episode %zu: differs from step %ld on: %s\n", i, differs, what);
    }
    printf("%s: %zu of %zu episodes play the same with this engine (recorded with %s)\n",
           f->name, same, f->n_episodes, f->about.build);
    return same == f->n_episodes
               ? 0
               : err_set(ERR_DIVERGED,
                         "%s: this engine fights otherwise; the film itself is whole", f->name);
}

static int run(const struct film *f, const struct replay_flags *g, size_t episode,
               size_t frames)
{
    int err = 0;
    bool files = g->html || g->svg || g->json || g->check;
    if (g->check)
        err = check_all(f);
    if (!err && g->html)
        err = write_form(f, HTML, episode, frames, g->html);
    if (!err && g->svg)
        err = write_form(f, SVG, episode, frames, g->svg);
    if (!err && g->json)
        err = write_form(f, JSON, episode, frames, g->json);
    return files ? err : show(f, episode);
}

int verb_replay(int argc, char **argv)
{
    struct replay_flags g = {0};
    unsigned long long episode = 0, frames = KEY_FRAMES;
    const struct flag flags[] = {
        {"html", NULL, "OUT", &g.html, NULL, "write one page with all episodes"},
        {"svg", NULL, "OUT", &g.svg, NULL, "write a film strip of one episode"},
        {"json", NULL, "OUT", &g.json, NULL, "write everything as JSON; OUT may be - for all"},
        {"episode", NULL, "K", &g.episode, NULL, "which episode, from 0 (terminal, strip)"},
        {"frames", NULL, "N", &g.frames, NULL, "key frames of a strip (6)"},
        {"check", NULL, NULL, NULL, &g.check, "does this engine still fight the same battles?"},
        {0},
    };
    struct args a = {.verb = argv[0],
                     .usage = "FILE [--html OUT] [--svg OUT] [--json OUT] [--check]",
                     .about = "Shows battles recorded by `mag eval ... --record FILE`. Without "
                              "an output it plays\nin the terminal, or prints every frame if "
                              "there is none.",
                     .flags = flags,
                     .words_min = 1,
                     .words_max = 1};
    struct film *f = NULL;
    int status = args_parse(&a, argc, argv);
    if (status)
        return status == ARGS_HELP ? EXIT_OK : status;
    int err = film_read(&f, a.word[0]);
    if (err)
        return fail(status_of(err), argv[0], "%s", err_text());
    if (f->n_episodes == 0)
        status = fail(EXIT_DATA, argv[0], "%s: the film has no episodes", f->name);
    if (!status && g.episode)
        status = args_number("episode", g.episode, 0, f->n_episodes - 1, &episode);
    if (!status && g.frames)
        status = args_number("frames", g.frames, 2, FILM_STRIP, &frames);
    if (!status && (err = run(f, &g, episode, frames)))
        status = fail(status_of(err), argv[0], "%s", err_text());
    film_close(f);
    return status;
}
