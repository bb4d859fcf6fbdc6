/* SPDX-License-Identifier: Apache-2.0 */
/* film_svg.c - a film strip: key frames of one episode side by side.
 *
 * Which frames: the first, the last, and between them those at which equal shares of all health
 * and shield lost in the episode have been lost, so that a strip shows the fight and not the
 * walk. Colours follow the reader's light or dark setting. */
#include "film/film.h"

#include "base/err.h"

#include <errno.h>
#include <math.h>
#include <string.h>

enum { PANEL = 330, GAP = 14, EDGE = 22, HEAD = 58, FOOT = 30, MARGIN = 2, COLUMNS = 3 };

static const char style[] =
    "<style>"
    "svg{--page:#fbfaf7;--ink:#1d2329;--soft:#6c757d;--ground:#efece4;--wall:#cfc9bb;--a:#"
    "1668c7;"
    "--o:#d9541e;--bar:#d5d0c5;--mend:#1e9e5a;font:12px system-ui,'DejaVu Sans',sans-serif}"
    "@media(prefers-color-scheme:dark){svg{--page:#14181d;--ink:#e9ecef;--soft:#98a2ad;"
    "--ground:#1e242b;--wall:#343c46;--a:#58a6ff;--o:#ff8c5a;--bar:#39414b;--mend:#4cd08a}}"
    ".a{fill:var(--a);stroke:var(--a)}.o{fill:var(--o);stroke:var(--o)}"
    ".u{stroke:var(--page);stroke-width:.08}.d{opacity:.22}.f{opacity:.85}"
    ".s{stroke-width:.09;stroke-linecap:round;opacity:.8}.h{stroke:var(--mend)}"
    ".b{fill:var(--bar)}.t{fill:var(--ink)}.q{fill:var(--soft)}"
    "</style>\n";

/* A window of the ground in map units, and how high a panel of it is on the strip. */
struct view {
    double x, y, w, h;
    int panel_h;
};

static struct view view_of(const struct film_episode *e)
{
    double x0 = 1e9, y0 = 1e9, x1 = -1e9, y1 = -1e9;
    for (size_t i = 0; i < (e->n_steps + 1) * e->n_units; i++) {
        double x = (double)e->unit[i].x / FILM_PLACE, y = (double)e->unit[i].y / FILM_PLACE;
        x0 = x < x0 ? x : x0;
        y0 = y < y0 ? y : y0;
        x1 = x > x1 ? x : x1;
        y1 = y > y1 ? y : y1;
    }
    double w = x1 - x0 + 2 * MARGIN, h = y1 - y0 + 2 * MARGIN;
    double cx = (x0 + x1) / 2, cy = (y0 + y1) / 2;
    w = w > h ? w : h;         /* nothing higher than wide, */
    h = h > w / 2 ? h : w / 2; /* nothing flatter than 2 : 1 */
    return (struct view){cx - w / 2, cy - h / 2, w, h, (int)(PANEL * h / w)};
}

/* ---------------------------------------------------------------------------- key frames */

static double lost_until(const struct film_episode *e, size_t frame)
{
    double lost = 0;
    for (size_t t = 1; t <= frame; t++) {
        for (size_t i = 0; i < e->n_units; i++) {
            const struct film_unit *was = &film_frame(e, t - 1)[i], *is = &film_frame(e, t)[i];
            int before = was->alive ? was->health + was->shield : 0;
            int after = is->alive ? is->health + is->shield : 0;
            lost += before > after ? before - after : 0;
        }
    }
    return lost;
}

/* Ascending, distinct; returns how many. */
static size_t key_frames(const struct film_episode *e, size_t frames, size_t key[FILM_STRIP])
{
    size_t n = 0, last = e->n_steps;
    double all = lost_until(e, last);
    if (frames > last + 1)
        frames = last + 1;
    for (size_t k = 0; k < frames; k++) {
        double share = frames > 1 ? (double)k / (double)(frames - 1) : 1;
        size_t t = n ? key[n - 1] + 1 : 0;
        size_t latest = last + 1 - (frames - k); /* leaves a frame for each that follows */
        if (k > 0 && all > 0)
            while (t < latest && lost_until(e, t) < share * all)
                t++;
        else if (k > 0)
            t = (size_t)(share * (double)last);
        key[n++] = k + 1 == frames ? last : t;
    }
    return n;
}

/* ------------------------------------------------------------------------------- drawing */

static void put_escaped(const char *text, FILE *out)
{
    for (; *text; text++) {
        if (*text == '<')
            fputs("&lt;", out);
        else if (*text == '&')
            fputs("&amp;", out);
        else
            fputc(*text, out);
    }
}

static void put_defs(const struct film *f, const struct view *v, FILE *out)
{
    const struct scene_stage *s = &f->stage;
    fputs("<defs>\n", out);
    for (size_t i = 0; i < s->n_kinds; i++)
        fprintf(out, "<path id=\"k%zu\" d=\"%s\"/>\n", i, film_shape(s->kind[i].name));
    fprintf(out, "<clipPath id=\"c\"><rect width=\"%d\" height=\"%d\" rx=\"6\"/></clipPath>\n",
            PANEL, v->panel_h);
    /* The ground of every panel: runs of blocked cells, row by row. */
    fprintf(out,
            "<g id=\"g\"><rect x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\" "
            "fill=\"var(--ground)\"/><path fill=\"var(--wall)\" d=\"",
            v->x, v->y, v->w, v->h);
    for (uint32_t y = 0; y < s->height; y++) {
        for (uint32_t x = 0; x < s->width; x++) {
            uint32_t from = x;
            while (x < s->width && s->ground[y * s->width + x] == '#')
                x++;
            if (x > from)
                fprintf(out, "M%u %uh%uv1h-%uz", from, y, x - from, x - from);
        }
    }
    fputs("\"/></g>\n</defs>\n", out);
}

static void put_shot(const struct film *f, const struct film_episode *e, size_t frame,
                     const struct scene_shot *s, FILE *out)
{
    const struct film_unit *from = &film_frame(e, frame)[s->source];
    const struct film_unit *to = &film_frame(e, frame)[s->target];
    const struct scene_kind *k = &f->stage.kind[e->kind[s->source]];
    char side = e->side[s->source] ? 'o' : 'a';
    if (s->source == s->target)
        fprintf(out,
                "<circle class=\"%c s\" cx=\"%.2f\" cy=\"%.2f\" r=\"%.2f\" "
                "fill-opacity=\".16\"/>\n",
                side, (double)from->x / FILM_PLACE, (double)from->y / FILM_PLACE,
                (double)k->reach);
    else
        fprintf(out, "<path class=\"%c s%s\" d=\"M%.2f %.2fL%.2f %.2f\"%s/>\n", side,
                k->style == SCENE_HEAL ? " h" : "", (double)from->x / FILM_PLACE,
                (double)from->y / FILM_PLACE, (double)to->x / FILM_PLACE,
                (double)to->y / FILM_PLACE,
                k->style == SCENE_BEAM ? " style=\"stroke-width:.22\"" : "");
}

/* A bar of `share` above a unit; row 0 is the nearer one. */
static void put_bar(double x, double y, double r, int row, double share, const char *colour,
                    FILE *out)
{
    double w = 2 * r, left = x - r, top = y + r + .22 + .2 * row;
    share = share < 0 ? 0 : share > 1 ? 1 : share;
    fprintf(out, "<rect class=\"b\" x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\".15\"/>",
            left, top, w);
    fprintf(out, "<rect fill=\"%s\" x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\".15\"/>\n",
            colour, left, top, w * share);
}

/* Where a unit looks: at its last strike's target in this frame, else at the other side. */
static void put_unit(const struct film *f, const struct film_episode *e, size_t frame, size_t i,
                     FILE *out)
{
    const struct film_unit *u = &film_frame(e, frame)[i];
    const struct scene_kind *k = &f->stage.kind[e->kind[i]];
    double x = (double)u->x / FILM_PLACE, y = (double)u->y / FILM_PLACE;
    double r = (double)k->radius > .45 ? (double)k->radius : .45;
    int dx = e->side[i] ? -1 : 1, dy = 0;
    for (size_t s = e->shots[frame]; s < e->shots[frame + 1]; s++) {
        const struct film_unit *to = &film_frame(e, frame)[e->shot[s].target];
        if (e->shot[s].source == i && e->shot[s].target != i) {
            dx = to->x - u->x;
            dy = to->y - u->y;
        }
    }
    /* (dx,dy) as a rotation without trigonometry: a matrix of its own length, undone by scale. */
    double length = sqrt((double)dx * dx + (double)dy * dy),
           scale = length > 0 ? r / length : 0;
    fprintf(out,
            "<use href=\"#k%u\" class=\"%c u%s\" transform=\"matrix(%.3f %.3f %.3f %.3f %.2f "
            "%.2f)\"/>\n",
            e->kind[i], e->side[i] ? 'o' : 'a', u->alive ? k->flying ? " f" : "" : " d",
            dx * scale, dy * scale, -dy * scale, dx * scale, x, y);
    if (!u->alive)
        return;
    if ((double)k->health > 0)
        put_bar(x, y, r, 0, (double)u->health / FILM_POINT / (double)k->health,
                e->side[i] ? "var(--o)" : "var(--a)", out);
    if ((double)k->shield > 0)
        put_bar(x, y, r, 1, (double)u->shield / FILM_POINT / (double)k->shield, "var(--soft)",
                out);
}

static void put_panel(const struct film *f, const struct film_episode *e, size_t frame,
                      const struct view *v, size_t place, FILE *out)
{
    size_t alive[2] = {0};
    double scale = PANEL / v->w;
    size_t left = EDGE + (place % COLUMNS) * (PANEL + GAP);
    size_t top = HEAD + (place / COLUMNS) * (size_t)(v->panel_h + FOOT + GAP);
    fprintf(out,
            "<g transform=\"translate(%zu %zu)\">\n<g clip-path=\"url(#c)\">"
            "<g transform=\"matrix(%.4f 0 0 %.4f %.3f %.3f)\">\n<use href=\"#g\"/>\n",
            left, top, scale, -scale, -v->x * scale, v->panel_h + v->y * scale);
    /* the dead below, the living above what they shoot */
    for (size_t i = 0; i < e->n_units; i++) {
        alive[e->side[i]] += film_frame(e, frame)[i].alive;
        if (!film_frame(e, frame)[i].alive)
            put_unit(f, e, frame, i, out);
    }
    for (size_t k = e->shots[frame]; k < e->shots[frame + 1]; k++)
        put_shot(f, e, frame, &e->shot[k], out);
    for (size_t i = 0; i < e->n_units; i++)
        if (film_frame(e, frame)[i].alive)
            put_unit(f, e, frame, i, out);
    fprintf(out,
            "</g></g>\n<text class=\"t\" x=\"2\" y=\"%d\">step %zu</text>"
            "<text class=\"t\" x=\"%d\" y=\"%d\" text-anchor=\"end\">"
            "<tspan style=\"fill:var(--a)\">%zu</tspan> : "
            "<tspan style=\"fill:var(--o)\">%zu</tspan></text></g>\n",
            v->panel_h + 18, frame, PANEL - 2, v->panel_h + 18, alive[0], alive[1]);
}

int film_svg(const struct film *f, size_t episode, size_t frames, FILE *out)
{
    struct film_episode e;
    size_t key[FILM_STRIP];
    int err = film_episode(f, episode, &e);
    if (err)
        return err;
    size_t n = key_frames(&e, frames < FILM_STRIP ? frames : FILM_STRIP, key);
    size_t columns = n < COLUMNS ? n : COLUMNS, rows = (n + COLUMNS - 1) / COLUMNS;
    size_t w = 2 * EDGE + columns * (PANEL + GAP) - GAP;
    struct view v = view_of(&e);
    size_t h = HEAD + rows * (size_t)(v.panel_h + FOOT + GAP) - GAP + EDGE / 2;
    fprintf(out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%zu\" height=\"%zu\" "
            "viewBox=\"0 0 %zu %zu\" role=\"img\">\n",
            w, h, w, h);
    fputs(style, out);
    put_defs(f, &v, out);
    fprintf(out,
            "<rect width=\"%zu\" height=\"%zu\" fill=\"var(--page)\"/>\n<text class=\"t\" "
            "x=\"%d\" y=\"36\" font-size=\"19\" font-weight=\"600\">",
            w, h, EDGE);
    put_escaped(f->about.map, out);
    fputs("<tspan class=\"q\" font-size=\"13\" font-weight=\"400\" dx=\"12\">", out);
    put_escaped(f->about.policy, out);
    fprintf(out, ", episode %llu: %s after %zu steps, return %.2f</tspan></text>\n",
            (unsigned long long)e.number, e.won ? "won" : "not won", e.n_steps, e.ret);
    for (size_t i = 0; i < n; i++)
        put_panel(f, &e, key[i], &v, i, out);
    fputs("</svg>\n", out);
    film_episode_free(&e);
    if (fflush(out) || ferror(out))
        return err_set(ERR_IO, "%s: the strip cannot be written: %s", f->name, strerror(errno));
    return 0;
}
