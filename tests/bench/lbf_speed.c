/* SPDX-License-Identifier: Apache-2.0 */
/* lbf_speed.c - how fast Level-Based Foraging plays.
 *
 *   lbf_speed TASK SECONDS
 *
 * Random actions, every observation and the state after every step, resets included; prints
 * the steps per second of processor time, which other programs on the core do not disturb. */
#include "env/env.h"

#include "base/err.h"
#include "base/rng.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { AGENTS_MAX = 64, STEPS_PER_LOOK = 10000 };

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int play(const struct env_class *class, struct env *e, const struct env_spec *spec,
                double seconds, double *steps_per_s)
{
    float *obs = calloc(spec->state, sizeof *obs), *state = calloc(spec->state, sizeof *state);
    uint8_t *avail = calloc(spec->n_agents, spec->actions), action[AGENTS_MAX];
    struct env_step out = {.end = ENV_TERMINAL};
    struct rng rng;
    uint64_t steps = 0, episodes = 0;
    double begin = cpu_seconds(), spent = 0;
    int rc = obs && state && avail ? 0 : ERR_NOMEM;
    rng_seed(&rng, 1);
    while (!rc && spent < seconds) {
        for (int i = 0; i < STEPS_PER_LOOK && !rc; i++) {
            if (out.end != ENV_RUNNING)
                class->reset(e, ++episodes);
            for (size_t n = 0; n < spec->n_agents; n++)
                action[n] = (uint8_t)rng_below(&rng, (uint32_t)spec->actions);
            rc = class->step(e, action, &out);
            class->observe(e, obs, avail, state);
            steps++;
        }
        spent = cpu_seconds() - begin;
    }
    *steps_per_s = (double)steps / spent;
    free(obs);
    free(state);
    free(avail);
    return rc;
}

int main(int argc, char **argv)
{
    struct config cfg;
    const struct env_class *class;
    struct env_spec spec;
    struct env *e = NULL;
    double seconds = argc == 3 ? strtod(argv[2], NULL) : 0, steps_per_s = 0;
    if (!(seconds > 0)) {
        fprintf(stderr, "usage: lbf_speed TASK SECONDS\n");
        return EXIT_USAGE;
    }
    config_defaults(&cfg);
    snprintf(cfg.env.map, sizeof cfg.env.map, "%s", argv[1]);
    int rc = env_find("lbf", &class);
    if (!rc)
        rc = class->spec(&cfg, &spec);
    if (!rc)
        rc = class->open(&cfg, &e);
    if (!rc)
        rc = play(class, e, &spec, seconds, &steps_per_s);
    if (e)
        class->close(e);
    if (rc) {
        fprintf(stderr, "lbf_speed: %s: %s\n", err_str(rc), err_text());
        return EXIT_CONFIG;
    }
    printf("%s %.0f\n", argv[1], steps_per_s);
    return EXIT_OK;
}
