/* SPDX-License-Identifier: Apache-2.0 */
/* film_text.c - one frame in characters: the part of the ground the episode plays on, two
 * columns a cell, a letter and tenths of health per unit, and what happened in the step. */
#include "film/film.h"

#include <string.h>

enum { MARGIN = 2, BAR = 24, DEEDS = 12 };

/* A window of the ground in cells, inclusive. */
struct view {
    int x0, y0, x1, y1;
};

static struct view view_of(const struct film *f, const struct film_episode *e)
{
    int w = (int)f->stage.width, h = (int)f->stage.height;
    struct view v = {w, h, -1, -1};
    for (size_t i = 0; i < (e->n_steps + 1) * e->n_units; i++) {
        int x = e->unit[i].x / FILM_PLACE, y = e->unit[i].y / FILM_PLACE;
        v.x0 = x < v.x0 ? x : v.x0;
        v.y0 = y < v.y0 ? y : v.y0;
        v.x1 = x > v.x1 ? x : v.x1;
        v.y1 = y > v.y1 ? y : v.y1;
    }
    v.x0 = v.x0 > MARGIN ? v.x0 - MARGIN : 0;
    v.y0 = v.y0 > MARGIN ? v.y0 - MARGIN : 0;
    v.x1 = v.x1 < w - MARGIN ? v.x1 + MARGIN : w - 1;
    v.y1 = v.y1 < h - MARGIN ? v.y1 + MARGIN : h - 1;
    return v;
}

/* Agents blue, opponents orange: told apart by every kind of eyes. */
static const char *paint(bool colour, unsigned side)
{
    return !colour ? "" : side ? "\033[1;38;5;208m" : "\033[1;38;5;39m";
}

static const char *plain(bool colour)
{
    return colour ? "\033[0m" : "";
}

static char letter_of(const struct film *f, const struct film_episode *e, size_t i, bool colour)
{
    char c = f->stage.kind[e->kind[i]].letter;
    return e->side[i] && !colour ? (char)(c - 'A' + 'a') : c;
}

/* What a unit has left of health and shield, of what it can have: 0 to `of`, at least 1 while it
 * lives. */
static int left(const struct film *f, const struct film_episode *e, size_t frame, size_t i,
                int of)
{
    const struct film_unit *u = &film_frame(e, frame)[i];
    const struct scene_kind *k = &f->stage.kind[e->kind[i]];
    double most = (double)(k->health + k->shield) * FILM_POINT;
    int v = most > 0 ? (int)((double)(u->health + u->shield) / most * of) : of;
    return v < 1 ? 1 : v > of ? of : v;
}

static void put_cell(const struct film *f, const struct film_episode *e, size_t frame, int x,
                     int y, bool colour, FILE *out)
{
    size_t alive = 0, first = 0, dead = e->n_units;
    for (size_t i = e->n_units; i-- > 0;) {
        const struct film_unit *u = &film_frame(e, frame)[i];
        if (u->x / FILM_PLACE != x || u->y / FILM_PLACE != y)
            continue;
        if (!u->alive) {
            dead = i;
            continue;
        }
        alive++;
        first = i;
    }
    char letter = alive ? letter_of(f, e, first, colour) : ' ';
    if (alive > 1)
        fprintf(out, "%s%c+%s", paint(colour, e->side[first]), letter, plain(colour));
    else if (alive)
        fprintf(out, "%s%c%d%s", paint(colour, e->side[first]), letter,
                left(f, e, frame, first, 9), plain(colour));
    else if (f->stage.ground[(size_t)y * f->stage.width + (size_t)x] == '#')
        fputs(colour ? "\033[48;5;238m  \033[0m" : "##", out);
    else if (dead < e->n_units)
        fprintf(out, "%s", colour ? "\033[38;5;240mx \033[0m" : "x ");
    else
        fputs(colour ? "\033[38;5;238m. \033[0m" : ". ", out);
}

static void put_side(const struct film *f, const struct film_episode *e, size_t frame,
                     unsigned side, bool colour, FILE *out)
{
    double now = 0, full = 0;
    size_t alive = 0, all = 0;
    for (size_t i = 0; i < e->n_units; i++) {
        const struct film_unit *u = &film_frame(e, frame)[i];
        const struct scene_kind *k = &f->stage.kind[e->kind[i]];
        if (e->side[i] != side)
            continue;
        all++;
        full += (double)(k->health + k->shield);
        alive += u->alive;
        now += u->alive ? (double)(u->health + u->shield) / FILM_POINT : 0;
    }
    int bar = full > 0 && now > 0 ? (int)(now / full * (BAR - 1)) + 1 : 0;
    fprintf(out, "%s%-9s %3zu of %-3zu ", paint(colour, side), side ? "opponents" : "agents",
            alive, all);
    for (int i = 0; i < BAR; i++)
        fputc(i < bar ? '#' : '-', out);
    fprintf(out, "%s %.0f of %.0f\n", plain(colour), now, full);
}

static void put_name(const struct film *f, const struct film_episode *e, size_t i, bool colour,
                     FILE *out)
{
    fprintf(out, "%s%c%zu%s", paint(colour, e->side[i]), letter_of(f, e, i, colour), i,
            plain(colour));
}

/* Who struck whom, and who died, as far as a line has room; a pair once however often. */
static void put_deeds(const struct film *f, const struct film_episode *e, size_t frame,
                      bool colour, FILE *out)
{
    size_t told = 0, untold = 0;
    for (size_t k = e->shots[frame]; k < e->shots[frame + 1]; k++) {
        const struct scene_shot *s = &e->shot[k];
        size_t twin = e->shots[frame];
        while (e->shot[twin].source != s->source || e->shot[twin].target != s->target)
            twin++;
        if (twin < k)
            continue;
        if (told == DEEDS) {
            untold++;
            continue;
        }
        fputs(told++ ? "  " : "strikes: ", out);
        put_name(f, e, s->source, colour, out);
        if (s->source == s->target) {
            fputs(" bursts", out);
            continue;
        }
        fputc(f->stage.kind[e->kind[s->source]].style == SCENE_HEAL ? '+' : '>', out);
        put_name(f, e, s->target, colour, out);
    }
    if (untold)
        fprintf(out, "  and %zu more", untold);
    fputc('\n', out);
    told = 0;
    for (size_t i = 0; i < e->n_units && frame; i++) {
        if (film_frame(e, frame)[i].alive || !film_frame(e, frame - 1)[i].alive)
            continue;
        fputs(told++ ? " " : "fallen: ", out);
        put_name(f, e, i, colour, out);
    }
    fputc('\n', out);
}

void film_text(const struct film *f, const struct film_episode *e, size_t frame, bool colour,
               FILE *out)
{
    double ret = 0;
    struct view v = view_of(f, e);
    for (size_t i = 0; i < frame; i++)
        ret += (double)e->reward[i];
    fprintf(out, "%s, %s: episode %llu, step %zu of %zu, return %.2f%s\n", f->about.map,
            f->about.policy, (unsigned long long)e->number, frame, e->n_steps, ret,
            frame < e->n_steps ? ""
            : e->won           ? ", won"
                               : ", not won");
    put_side(f, e, frame, 0, colour, out);
    put_side(f, e, frame, 1, colour, out);
    for (int y = v.y1; y >= v.y0; y--) { /* north on top */
        for (int x = v.x0; x <= v.x1; x++)
            put_cell(f, e, frame, x, y, colour, out);
        fputc('\n', out);
    }
    put_deeds(f, e, frame, colour, out);
}
