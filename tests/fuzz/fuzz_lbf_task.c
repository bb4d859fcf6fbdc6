/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_lbf_task.c - the name of a foraging task: what is accepted is within bounds, plays, and
 * is the only name of its task. */
#include "env/lbf.h"

#include "base/err.h"
#include "fuzz.h"

#include <stdio.h>
#include <string.h>

enum { NAME = 64 };

static void play(const struct lbf_task *t)
{
    static struct lbf l;
    static float obs[3 * (LBF_FOODS_MAX + LBF_PLAYERS_MAX)];
    uint8_t action[LBF_PLAYERS_MAX];
    struct rng rng;
    rng_seed(&rng, 1);
    bug_on(lbf_init(&l, t) != 0);
    bug_on(lbf_obs_len(t) > sizeof obs / sizeof obs[0]);
    lbf_spawn(&l, &rng);
    bool over = false;
    while (!over) {
        for (int i = 0; i < t->players; i++) {
            lbf_observe(&l, i, obs);
            action[i] = (uint8_t)rng_below(&rng, LBF_ACTIONS);
        }
        over = lbf_step(&l, action);
    }
}

/* Written out again with its sight (or without, where that says the same) it is the name. */
static bool is_name_of(const char *name, const struct lbf_task *t)
{
    char rest[NAME], plain[NAME], limited[NAME];
    snprintf(rest, sizeof rest, "%dx%d-%dp-%df%s-v%d", t->rows, t->cols, t->players, t->foods,
             t->coop ? "-coop" : "", (int)t->version);
    snprintf(plain, sizeof plain, "Foraging-%.50s", rest);
    snprintf(limited, sizeof limited, "Foraging-%ds-%.44s", t->sight, rest);
    return strcmp(name, limited) == 0 || (t->sight == t->rows && strcmp(name, plain) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char name[NAME] = {0};
    struct lbf_task t;
    memcpy(name, data, size < NAME ? size : NAME - 1);
    if (lbf_task_parse(&t, name)) {
        bug_on(!err_text()[0]); /* every refusal has its sentence */
        return 0;
    }
    bug_on(!is_name_of(name, &t));
    play(&t);
    return 0;
}
