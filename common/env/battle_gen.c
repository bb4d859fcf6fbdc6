/* SPDX-License-Identifier: Apache-2.0 */
/* battle_gen.c - teams and start positions of the generated maps (SMACv2), one draw an episode.
 *
 * TEAM  Each agent's type is drawn by weight, independently; the opponents get the same team,
 * and what they have more is drawn likewise. A draw of nothing but units that cannot win alone
 * is thrown away.
 *
 * PLACES  reflect: agents anywhere in the left half but for its last column, opponents at
 * their mirror images, the surplus anywhere in the right half. surrounded: agents in the
 * middle, opponents in one to four groups on different diagonals, each at a share of its own
 * of the way from its corner. A drawn place that is blocked or taken gives way to the nearest
 * free one, as for all spawns. */
#include "battle_core.h"

static const double MIDDLE = SIDE / 2.0;
static const double GAP = 1;    /* columns between the mirror and the nearest agent */
static const double OFFSET = 2; /* from the middle, where the diagonals of groups end */
enum { DIAGONALS = 4 };

static enum unit_kind draw_kind(struct battle *b)
{
    const double *w = b->opt.team_weight;
    double at = rng_unit(&b->rng) * (w[0] + w[1] + w[2]);
    int t = at < w[0] ? 0 : at < w[0] + w[1] ? 1 : 2;
    /* Rounding may land on the end; the last type drawn has a weight. */
    while (t > 0 && !(w[t] > 0))
        t--;
    return b->sc->gen->team[t];
}

static void draw_team(struct battle *b, struct spawn_group *team, uint32_t n)
{
    bool fit = n == 0;
    while (!fit) {
        for (uint32_t i = 0; i < n; i++) {
            team[i] = (struct spawn_group){.kind = draw_kind(b), .count = 1};
            fit = fit || team[i].kind != b->sc->gen->not_alone;
        }
    }
}

static void reflect(struct battle *b, struct spawn_group *agents, struct spawn_group *enemies)
{
    const struct scenario *sc = b->sc;
    for (uint32_t i = 0; i < sc->n_agents; i++) {
        agents[i].x = rng_unit(&b->rng) * (MIDDLE - GAP);
        agents[i].y = rng_unit(&b->rng) * SIDE;
        enemies[i].x = SIDE - agents[i].x;
        enemies[i].y = agents[i].y;
    }
    for (uint32_t i = sc->n_agents; i < sc->n_enemies; i++) {
        enemies[i].x = MIDDLE + rng_unit(&b->rng) * (SIDE - MIDDLE);
        enemies[i].y = rng_unit(&b->rng) * SIDE;
    }
}

static void surround(struct battle *b, struct spawn_group *agents, struct spawn_group *enemies)
{
    static const double way_x[DIAGONALS] = {-1, -1, 1, 1}, way_y[DIAGONALS] = {-1, 1, 1, -1};
    int diagonal[DIAGONALS] = {0, 1, 2, 3};
    uint32_t members[DIAGONALS] = {0}, groups = 1 + rng_below(&b->rng, DIAGONALS), e = 0;
    for (uint32_t i = 0; i < b->sc->n_agents; i++)
        agents[i].x = agents[i].y = MIDDLE;
    for (uint32_t i = 0; i < b->sc->n_enemies; i++)
        members[rng_below(&b->rng, groups)]++;
    for (uint32_t g = 0; g < groups; g++) {
        uint32_t o = g + rng_below(&b->rng, DIAGONALS - g);
        int d = diagonal[o];
        diagonal[o] = diagonal[g];
        double away = MIDDLE + rng_unit(&b->rng) * (OFFSET - MIDDLE);
        for (uint32_t k = 0; k < members[g]; k++, e++) {
            enemies[e].x = MIDDLE + way_x[d] * away;
            enemies[e].y = MIDDLE + way_y[d] * away;
        }
    }
}

/* As SMACv2 without random positions: two points. */
static void face(struct battle *b, struct spawn_group *agents, struct spawn_group *enemies)
{
    for (uint32_t i = 0; i < b->sc->n_agents; i++)
        agents[i].x = MIDDLE / 2, agents[i].y = MIDDLE;
    for (uint32_t i = 0; i < b->sc->n_enemies; i++)
        enemies[i].x = SIDE - MIDDLE / 2, enemies[i].y = MIDDLE;
}

void gen_draw(struct battle *b, struct spawn_group *agents, struct spawn_group *enemies)
{
    const struct scenario *sc = b->sc;
    enum cfg_start start = b->opt.start;
    draw_team(b, agents, sc->n_agents);
    for (uint32_t i = 0; i < sc->n_agents; i++)
        enemies[i] = agents[i];
    draw_team(b, enemies + sc->n_agents, sc->n_enemies - sc->n_agents);
    if (start == START_SURROUNDED_AND_REFLECT)
        start = rng_unit(&b->rng) < b->opt.reflect_chance ? START_REFLECT : START_SURROUNDED;
    if (start == START_REFLECT)
        reflect(b, agents, enemies);
    else if (start == START_SURROUNDED)
        surround(b, agents, enemies);
    else
        face(b, agents, enemies);
}
