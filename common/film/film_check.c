/* SPDX-License-Identifier: Apache-2.0 */
/* film_check.c - would this program fight the same battle?
 *
 * The environment is opened with the film's own settings, reset with the episode's seed and
 * given its actions (or its script); every frame is rounded as it was when it was recorded and
 * compared with the film. So the frames are their own checksums. */
#include "film_code.h"

#include "base/err.h"

#include <stdlib.h>
#include <string.h>

struct again {
    const struct film *film;
    const struct film_episode *episode;
    const struct env_class *class;
    struct env *env;
    struct scene *scene;
    char *what;
    size_t n;
};

static bool unit_differs(const struct again *a, size_t i, const struct film_unit *was,
                         const struct film_unit *is)
{
    static const char *const name[UNIT_FIELDS] = {"x", "y", "health", "shield", "energy"};
    static const int per[UNIT_FIELDS] = {FILM_PLACE, FILM_PLACE, FILM_POINT, FILM_POINT,
                                         FILM_POINT};
    struct film_unit w = *was, n = *is;
    int32_t *then[UNIT_FIELDS], *now[UNIT_FIELDS];
    unit_fields(&w, then);
    unit_fields(&n, now);
    for (int k = 0; k < UNIT_FIELDS; k++) {
        if (*then[k] == *now[k])
            continue;
        snprintf(a->what, a->n, "unit %zu has %s %.2f in the film and %.2f now", i, name[k],
                 (double)*then[k] / per[k], (double)*now[k] / per[k]);
        return true;
    }
    if (w.alive == n.alive)
        return false;
    snprintf(a->what, a->n, "unit %zu is %s in the film and %s now", i,
             w.alive ? "alive" : "dead", n.alive ? "alive" : "dead");
    return true;
}

static bool frame_differs(const struct again *a, size_t frame)
{
    const struct film_episode *e = a->episode;
    a->class->scene(a->env, a->scene);
    if (a->scene->n_units != e->n_units) {
        snprintf(a->what, a->n, "%zu units in the film and %zu now", e->n_units,
                 a->scene->n_units);
        return true;
    }
    for (size_t i = 0; i < e->n_units; i++) {
        struct film_unit now;
        film_quantise(&a->scene->unit[i], &now);
        if (unit_differs(a, i, &film_frame(e, frame)[i], &now))
            return true;
    }
    return false;
}

static bool step_differs(const struct again *a, size_t step, const struct env_step *s)
{
    const struct film_episode *e = a->episode;
    bool last = step + 1 == e->n_steps;
    enum env_end end = last ? e->end : ENV_RUNNING;
    if (s->reward == e->reward[step] && s->end == end && s->won == (last && e->won))
        return false;
    snprintf(a->what, a->n, "the step pays %.4f in the film and %.4f now, or ends otherwise",
             (double)e->reward[step], (double)s->reward);
    return true;
}

static int play(const struct again *a, long *differs)
{
    const struct film_episode *e = a->episode;
    int err = a->class->reset(a->env, e->seed);
    if (err)
        return err;
    if (frame_differs(a, 0)) {
        *differs = 0;
        return 0;
    }
    for (size_t step = 0; step < e->n_steps; step++) {
        struct env_step s;
        err = a->film->about.scripted
                  ? a->class->step_script(a->env, a->film->about.policy, &s)
                  : a->class->step(a->env, e->action + step * a->film->n_agents, &s);
        if (err) /* what was allowed is not any more */
            snprintf(a->what, a->n, "the actions are refused now: %s", err_text());
        if (err || frame_differs(a, step + 1) || step_differs(a, step, &s)) {
            *differs = (long)step + 1;
            return 0;
        }
    }
    return 0;
}

/* The settings of the environment alone, out of those of the run: the block after "env:". */
static int env_settings(const struct config *cfg, char *out, size_t room)
{
    char *yaml = NULL;
    size_t n = 0;
    int err = config_run_yaml(cfg, &yaml, &n);
    if (err)
        return err;
    FILE *text = fmemopen(out, room, "w");
    bool inside = false;
    for (char *line = yaml, *end; text && line < yaml + n; line = end + 1) {
        end = memchr(line, '\n', (size_t)(yaml + n - line));
        if (!end)
            break;
        inside = *line == ' ' ? inside : !strncmp(line, "env:", 4);
        if (inside)
            fwrite(line, 1, (size_t)(end + 1 - line), text);
    }
    bool failed = !text || fflush(text) || ferror(text);
    if (text)
        fclose(text);
    free(yaml);
    return failed ? err_set(ERR_NOMEM, "the settings of the environment exceed %zu bytes", room)
                  : 0;
}

int film_about(struct film_about *out, const struct config *cfg, const struct env_class *class,
               const char *policy, bool scripted)
{
    struct env_spec spec;
    if (!class->stage || !class->scene)
        return err_set(ERR_UNSUPPORTED, "%s has no units to show: only battles can be recorded",
                       class->name);
    int err = class->spec(cfg, &spec);
    if (err)
        return err;
    *out = (struct film_about){.scripted = scripted};
    snprintf(out->env, sizeof out->env, "%s", cfg->env.name);
    snprintf(out->map, sizeof out->map, "%s", cfg->env.map);
    snprintf(out->policy, sizeof out->policy, "%s", policy);
    snprintf(out->build, sizeof out->build, "%s", spec.build);
    snprintf(out->line, sizeof out->line, "%s", spec.line);
    return env_settings(cfg, out->settings, sizeof out->settings);
}

static int configure(const struct film *f, struct config *cfg)
{
    struct config_builder *b = NULL;
    int err = config_begin(&b);
    if (!err)
        err = config_yaml(b, f->about.settings, strlen(f->about.settings), ORIGIN_FILE);
    if (!err)
        err = config_finish(b, cfg);
    config_end(b);
    return err;
}

int film_check(const struct film *f, size_t i, long *differs, char *what, size_t n)
{
    struct film_episode e;
    struct config cfg;
    struct env_spec spec;
    struct again a = {.film = f, .episode = &e, .what = what, .n = n};
    int err = film_episode(f, i, &e);
    if (err)
        return err;
    *differs = -1;
    err = configure(f, &cfg);
    if (!err)
        err = env_find(cfg.env.name, &a.class);
    if (!err)
        err = a.class->spec(&cfg, &spec);
    if (!err && (!a.class->scene || spec.n_agents != f->n_agents))
        err = err_set(ERR_CONFIG, "%s: %zu agents in the film, %zu in today's %s", f->name,
                      f->n_agents, spec.n_agents, f->about.map);
    if (!err && !(a.scene = malloc(sizeof *a.scene)))
        err = ERR_NOMEM;
    if (!err)
        err = a.class->open(&cfg, &a.env);
    if (!err)
        err = play(&a, differs);
    if (a.env)
        a.class->close(a.env);
    free(a.scene);
    film_episode_free(&e);
    return err;
}
