/* SPDX-License-Identifier: Apache-2.0 */
/* film_json.c - a film as JSON, and the page that shows it.
 *
 * Columns, not rows: a unit's x over the frames is an array of differences, mostly one digit.
 * The page (page.html) holds one mark that the JSON replaces; no text of ours or from a film
 * can end the element it stands in. */
#include "film/film.h"

#include "base/err.h"
#include "page.h"

#include <errno.h>
#include <string.h>

/* Films hold printable ASCII and line ends only. */
static void put_text(const char *text, FILE *out)
{
    fputc('"', out);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            fputc('\\', out);
        if (*text == '<' || *text == '\n')
            fprintf(out, "\\u%04x", (unsigned)*text);
        else
            fputc(*text, out);
    }
    fputc('"', out);
}

static void put_pair(const char *key, const char *text, FILE *out)
{
    fprintf(out, "\"%s\":", key);
    put_text(text, out);
    fputc(',', out);
}

static void put_kind(const struct scene_kind *k, FILE *out)
{
    fputc('{', out);
    put_pair("name", k->name, out);
    put_pair("shape", film_shape(k->name), out);
    fprintf(out,
            "\"letter\":\"%c\",\"style\":%u,\"flying\":%s,\"radius\":%g,\"reach\":%g,"
            "\"health\":%g,\"shield\":%g,\"energy\":%g}",
            k->letter, k->style, k->flying ? "true" : "false", (double)k->radius,
            (double)k->reach, (double)k->health, (double)k->shield, (double)k->energy);
}

static void put_stage(const struct film *f, FILE *out)
{
    const struct scene_stage *s = &f->stage;
    fprintf(out, "\"width\":%u,\"height\":%u,\"loops\":%u,\"agents\":%zu,\"ground\":\"%.*s\",",
            s->width, s->height, s->loops, f->n_agents, (int)(s->width * s->height), s->ground);
    fputs("\"kinds\":[", out);
    for (size_t i = 0; i < s->n_kinds; i++) {
        if (i)
            fputc(',', out);
        put_kind(&s->kind[i], out);
    }
    fputs("],\n", out);
}

/* One number of unit i over the frames, as differences. */
static void put_column(const char *key, const struct film_episode *e, size_t i, size_t offset,
                       FILE *out)
{
    int32_t before = 0;
    fprintf(out, "\"%s\":[", key);
    for (size_t frame = 0; frame <= e->n_steps; frame++) {
        int32_t v;
        memcpy(&v, (const char *)&film_frame(e, frame)[i] + offset, sizeof v);
        fprintf(out, frame ? ",%d" : "%d", v - before);
        before = v;
    }
    fputs("],", out);
}

/* The frames at which a unit begins or ceases to live; before the first frame it does not. */
static void put_life(const struct film_episode *e, size_t i, FILE *out)
{
    bool alive = false;
    const char *comma = "";
    fputs("\"life\":[", out);
    for (size_t frame = 0; frame <= e->n_steps; frame++) {
        if (film_frame(e, frame)[i].alive == alive)
            continue;
        fprintf(out, "%s%zu", comma, frame);
        comma = ",";
        alive = !alive;
    }
    fputs("],", out);
}

/* Orders as one letter a frame, and what they aim at in the same sequence. */
static void put_orders(const struct film_episode *e, size_t i, FILE *out)
{
    static const char letter[SCENE_ORDERS + 1] = "-smah";
    const char *comma = "";
    fputs("\"orders\":\"", out);
    for (size_t frame = 0; frame <= e->n_steps; frame++)
        fputc(letter[film_frame(e, frame)[i].order], out);
    fputs("\",\"aims\":[", out);
    for (size_t frame = 0; frame <= e->n_steps; frame++) {
        const struct film_unit *u = &film_frame(e, frame)[i];
        if (u->order <= SCENE_STOP)
            continue;
        if (u->order == SCENE_MOVE)
            fprintf(out, "%s%d,%d", comma, u->to_x, u->to_y);
        else
            fprintf(out, "%s%u", comma, u->target);
        comma = ",";
    }
    fputs("]", out);
}

static void put_unit(const struct film_episode *e, size_t i, FILE *out)
{
    fprintf(out, "%s\n{\"kind\":%u,\"side\":%u,", i ? "," : "", e->kind[i], e->side[i]);
    put_column("x", e, i, offsetof(struct film_unit, x), out);
    put_column("y", e, i, offsetof(struct film_unit, y), out);
    put_column("health", e, i, offsetof(struct film_unit, health), out);
    put_column("shield", e, i, offsetof(struct film_unit, shield), out);
    put_column("energy", e, i, offsetof(struct film_unit, energy), out);
    put_life(e, i, out);
    put_orders(e, i, out);
    fputc('}', out);
}

static void put_shots(const struct film_episode *e, FILE *out)
{
    fputs("\"shots\":[", out);
    for (size_t frame = 0; frame <= e->n_steps; frame++) {
        fputs(frame ? ",[" : "[", out);
        for (size_t k = e->shots[frame]; k < e->shots[frame + 1]; k++)
            fprintf(out, "%s%u,%u,%u", k > e->shots[frame] ? "," : "", e->shot[k].source,
                    e->shot[k].target, e->shot[k].loop);
        fputc(']', out);
    }
    fputs("]}", out);
}

static void put_episode(const struct film_episode *e, FILE *out)
{
    static const char *const end[] = {"running", "terminal", "limit", "abort"};
    /* A seed has 64 bits, a JSON number 53. */
    fprintf(out,
            "{\"number\":%llu,\"seed\":\"%llu\",\"end\":\"%s\",\"won\":%s,\"return\":%.9g,",
            (unsigned long long)e->number, (unsigned long long)e->seed, end[e->end],
            e->won ? "true" : "false", e->ret);
    fprintf(out, "\"steps\":%zu,\"rewards\":[", e->n_steps);
    for (size_t i = 0; i < e->n_steps; i++)
        fprintf(out, i ? ",%.9g" : "%.9g", (double)e->reward[i]);
    fputs("],\"units\":[", out);
    for (size_t i = 0; i < e->n_units; i++)
        put_unit(e, i, out);
    fputs("],\n", out);
    put_shots(e, out);
}

static int finish(const struct film *f, FILE *out)
{
    if (fflush(out) || ferror(out))
        return err_set(ERR_IO, "%s: what is made of it cannot be written: %s", f->name,
                       strerror(errno));
    return 0;
}

static int put_film(const struct film *f, FILE *out)
{
    fprintf(out, "{\"film\":%d,\"place\":%d,\"point\":%d,", FILM_VERSION, FILM_PLACE,
            FILM_POINT);
    put_pair("env", f->about.env, out);
    put_pair("map", f->about.map, out);
    put_pair("policy", f->about.policy, out);
    put_pair("build", f->about.build, out);
    put_pair("line", f->about.line, out);
    put_stage(f, out);
    fputs("\"episodes\":[", out);
    for (size_t i = 0; i < f->n_episodes; i++) {
        struct film_episode e;
        int err = film_episode(f, i, &e);
        if (err)
            return err;
        if (i)
            fputs(",\n", out);
        put_episode(&e, out);
        film_episode_free(&e);
    }
    fputs("]}\n", out);
    return 0;
}

int film_json(const struct film *f, FILE *out)
{
    int err = put_film(f, out);
    return err ? err : finish(f, out);
}

int film_html(const struct film *f, FILE *out)
{
    static const char mark[] = "@FILM@";
    const char *here = strstr(film_page, mark);
    bug_on(!here);
    fwrite(film_page, 1, (size_t)(here - film_page), out);
    int err = put_film(f, out);
    if (err)
        return err;
    fputs(here + strlen(mark), out);
    return finish(f, out);
}
