/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_film.c - whatever is accepted as a film, whole or unpacked, can be drawn in every form
 * and recorded again into a film of the same frames. */
#include "film/film.h"

#include "base/err.h"
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct scene scene;

static void same_frames(const struct film_episode *a, const struct film_episode *b)
{
    bug_on(a->n_units != b->n_units || a->n_steps != b->n_steps || a->won != b->won);
    for (size_t i = 0; i < (a->n_steps + 1) * a->n_units; i++) {
        const struct film_unit *x = &a->unit[i], *y = &b->unit[i];
        bug_on(x->x != y->x || x->y != y->y || x->health != y->health ||
               x->shield != y->shield || x->energy != y->energy || x->alive != y->alive ||
               x->order != y->order || x->to_x != y->to_x || x->to_y != y->to_y ||
               x->target != y->target);
    }
}

static void record_again(const struct film *f, const struct film_episode *e)
{
    struct film_writer *w = NULL;
    struct film_take *take = NULL;
    struct film *again = NULL;
    struct film_episode copy;
    unsigned char *bytes = NULL;
    size_t n = 0;
    bug_on(film_create(&w, &f->about, &f->stage, f->n_agents));
    film_scene(e, 0, &scene);
    bug_on(take_begin(&take, w, e->number, e->seed, &scene));
    for (size_t t = 0; t < e->n_steps; t++) {
        bool last = t + 1 == e->n_steps;
        struct env_step s = {
            .reward = e->reward[t], .end = last ? e->end : ENV_RUNNING, .won = last && e->won};
        film_scene(e, t + 1, &scene);
        take_step(take, e->action + t * f->n_agents, &s, &scene);
    }
    bug_on(take_end(take));
    bug_on(film_pack(w, &bytes, &n));
    film_discard(w);
    bug_on(film_parse(&again, bytes, n, "again"));
    bug_on(film_episode(again, 0, &copy));
    if (e->n_steps) /* without a step nothing has ended */
        same_frames(e, &copy);
    film_episode_free(&copy);
    film_close(again);
    free(bytes);
}

static void draw(const struct film *f, FILE *nowhere)
{
    film_json(f, nowhere);
    for (size_t i = 0; i < f->n_episodes && i < 4; i++) {
        struct film_episode e;
        if (film_episode(f, i, &e))
            continue;
        for (size_t frame = 0; frame <= e.n_steps && frame < 4; frame++)
            film_text(f, &e, frame, true, nowhere);
        film_svg(f, i, 3, nowhere);
        record_again(f, &e);
        film_episode_free(&e);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static FILE *nowhere;
    struct film *f = NULL;
    if (!nowhere && !(nowhere = fopen("/dev/null", "w")))
        abort();
    if (film_parse(&f, data, size, "whole") == 0)
        draw(f, nowhere);
    film_close(f);
    f = NULL;
    if (film_parse_body(&f, data, size, "body") == 0)
        draw(f, nowhere);
    film_close(f);
    return 0;
}
