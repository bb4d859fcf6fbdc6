/* SPDX-License-Identifier: Apache-2.0 */
/* battle_scene.c - a battle as a picture: read only, so a battle that is watched is the same
 * battle. Strikes come from the list that battle_fight.c notes them in; healing goes on in
 * every loop, so whoever heals at the end of the step counts as one strike. */
#include "battle_core.h"

#include "base/err.h"

#include <stdio.h>
#include <string.h>

_Static_assert((int)SHOTS <= (int)SCENE_SHOTS - (int)UNITS, "healers are added to the list");
_Static_assert((int)UNITS <= (int)SCENE_UNITS && (int)UNIT_KINDS <= (int)SCENE_KINDS &&
                   (int)SIDE <= (int)SCENE_SIDE,
               "a scene has room for a battle");

static const char letters[UNIT_KINDS] = {
    [UNIT_MARINE] = 'M',        [UNIT_MARAUDER] = 'R', [UNIT_MEDIVAC] = 'D',
    [UNIT_STALKER] = 'S',       [UNIT_ZEALOT] = 'Z',   [UNIT_COLOSSUS] = 'C',
    [UNIT_HYDRALISK] = 'H',     [UNIT_ZERGLING] = 'L', [UNIT_BANELING] = 'B',
    [UNIT_SPINE_CRAWLER] = 'K',
};

static enum scene_style style_of(const struct kind *k)
{
    if (!k->armed)
        return k->heal_rate > 0 ? SCENE_HEAL : SCENE_UNARMED;
    if (k->explodes)
        return SCENE_BURST;
    if (k->line)
        return SCENE_BEAM;
    if (k->missile > 0)
        return SCENE_MISSILE;
    return k->range < 1 ? SCENE_BLADE : SCENE_BULLET;
}

static void stage_kind(const struct battle *b, enum unit_kind kind, struct scene_kind *out)
{
    const struct kind *k = &b->kinds[kind];
    *out = (struct scene_kind){.letter = letters[kind],
                               .style = (uint8_t)style_of(k),
                               .flying = k->layer == LAYER_AIR,
                               .radius = (float)k->radius,
                               .reach = k->explodes ? (float)k->splash : 0,
                               .health = (float)k->health,
                               .shield = (float)k->shield,
                               .energy = (float)k->energy_max};
    snprintf(out->name, sizeof out->name, "%s", unit_data(b->opt.units, kind)->name);
}

void battle_stage(const struct battle *b, struct scene_stage *out)
{
    *out = (struct scene_stage){
        .width = SIDE, .height = SIDE, .loops = SCENARIO_LOOPS_PER_STEP, .n_kinds = UNIT_KINDS};
    for (int c = 0; c < CELLS; c++)
        out->ground[c] =
            (b->terrain.rows[LAYER_GROUND][c / SIDE] >> (c % SIDE) & 1) ? '.' : '#';
    for (int k = 0; k < UNIT_KINDS; k++)
        stage_kind(b, (enum unit_kind)k, &out->kind[k]);
}

void battle_scene(const struct battle *b, struct scene *out)
{
    out->n_units = (size_t)b->n;
    out->n_shots = (size_t)b->n_shots;
    memcpy(out->shot, b->shot, out->n_shots * sizeof *out->shot);
    for (int i = 0; i < b->n; i++) {
        out->unit[i] = (struct scene_unit){.kind = (uint8_t)b->kind[i],
                                           .side = b->side[i],
                                           .alive = b->alive[i],
                                           .x = (float)b->x[i],
                                           .y = (float)b->y[i],
                                           .health = (float)most(0, b->health[i]),
                                           .shield = (float)b->shield[i],
                                           .energy = (float)b->energy[i]};
        int patient = b->scripted[i] ? b->target[i] : b->aim[i];
        if (b->alive[i] && b->healing[i] && patient >= 0)
            out->shot[out->n_shots++] = (struct scene_shot){
                .source = (uint16_t)i, .target = (uint16_t)patient, .loop = 0};
    }
}

int battle_unit_of(const struct battle *b, uint64_t tag)
{
    uint64_t i = tag - b->tag_base;
    return i < (uint64_t)b->n ? (int)i : -1;
}
