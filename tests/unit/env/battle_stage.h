/* SPDX-License-Identifier: Apache-2.0 */
/* battle_stage.h - an empty battlefield on which tests put the units they need.
 *
 * A stage is an ordinary battle whose units have been taken off; `put` brings one back at a
 * place, of any kind, rested and without orders. Agents have the low indices. */
#ifndef TESTS_BATTLE_STAGE_H
#define TESTS_BATTLE_STAGE_H

#include "battle_core.h"

#include <check.h>
#include <math.h>
#include <string.h>

static inline struct battle *stage_open(const char *map, bool scripted)
{
    struct battle *b;
    struct battle_options o = {.shuffle_enemy_order = true, .agents_scripted = scripted};
    ck_assert_int_eq(battle_open(&b, map, &o), 0);
    battle_reset(b, 1);
    for (int i = 0; i < b->n; i++) {
        unit_lift(b, i);
        b->alive[i] = false;
        b->turn[i] = i;
    }
    b->n_turn = b->n;
    b->n_hits = b->n_boom = 0;
    return b;
}

static inline void put(struct battle *b, int i, enum unit_kind kind, double x, double y)
{
    const struct kind *k = &b->kinds[kind];
    ck_assert(!b->alive[i]);
    b->kind[i] = kind;
    b->alive[i] = true;
    b->health[i] = k->health;
    b->shield[i] = k->shield;
    b->energy[i] = k->energy;
    b->cooldown[i] = b->speed[i] = 0;
    b->shield_wait[i] = b->windup[i] = b->backswing[i] = b->stuck[i] = 0;
    b->task[i] = TASK_IDLE;
    b->aim[i] = b->target[i] = b->windup_target[i] = -1;
    b->help_at[i] = b->round_next[i] = 0;
    b->healing[i] = false;
    b->way[i].from = -1;
    b->sep[i] = k->separation;
    b->max_sep[k->layer] = most(b->max_sep[k->layer], k->separation);
    unit_place(b, i, x, y);
    for (int u = 0; u < b->n; u++)
        b->turn[u] = u;
    b->n_turn = b->n;
}

static inline double total(const struct battle *b, int i)
{
    return b->health[i] + b->shield[i];
}

static inline void order_unit(struct battle *b, int i, uint32_t ability, int j)
{
    struct smac_command c = {.unit_tag = b->tag_base + (uint64_t)i,
                             .ability = ability,
                             .target = 2,
                             .target_tag = b->tag_base + (uint64_t)j};
    battle_order(b, &c, 1);
}

static inline void order_move(struct battle *b, int i, double x, double y)
{
    struct smac_command c = {.unit_tag = b->tag_base + (uint64_t)i,
                             .ability = ABILITY_MOVE,
                             .target = 1,
                             .x = (float)x,
                             .y = (float)y};
    battle_order(b, &c, 1);
}

static inline void order_stop(struct battle *b, int i)
{
    struct smac_command c = {.unit_tag = b->tag_base + (uint64_t)i, .ability = ABILITY_STOP};
    battle_order(b, &c, 1);
}

/* Attack-move, for opponents. */
static inline void order_advance(struct battle *b, int i, double x, double y)
{
    b->task[i] = TASK_ADVANCE;
    b->goal_x[i] = x;
    b->goal_y[i] = y;
}

/* Loops until `i` loses health or shield, at most `limit`; -1 if it does not. */
static inline int loops_until_hurt(struct battle *b, int i, int limit)
{
    double before = total(b, i);
    for (int l = 1; l <= limit; l++) {
        battle_step(b, 1);
        if (!b->alive[i] || total(b, i) < before)
            return l;
    }
    return -1;
}

#endif
