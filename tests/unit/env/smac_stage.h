/* SPDX-License-Identifier: Apache-2.0 */
/* smac_stage.h - a small stage for tests of the SMAC contract: an open 32 x 32 map, units made
 * by hand, one environment. Included by the test programs only. */
#ifndef TEST_SMAC_STAGE_H
#define TEST_SMAC_STAGE_H

#include "env/smac.h"

#include <check.h>
#include <string.h>

enum { OWN_TYPE = 1885, STAGE_UNITS = 24, SIDE = 32 };

struct stage {
    struct smac *smac;
    struct env_spec spec;
    struct smac_unit u[STAGE_UNITS];
    size_t n;
    uint8_t pathing[SIDE * SIDE], height[SIDE * SIDE];
    struct smac_game_info info;
    float obs[4096], state[4096];
    uint8_t avail[1024];
    struct smac_command command[SMAC_AGENTS_MAX];
    size_t commands;
    struct smac_result result;
};

static inline struct smac_unit unit(uint32_t owner, uint32_t type, uint64_t tag, float x,
                                    float y, float health)
{
    return (struct smac_unit){.owner = owner,
                              .unit_type = type,
                              .tag = tag,
                              .x = x,
                              .y = y,
                              .health = health,
                              .health_max = health};
}

static inline struct smac_unit shielded(struct smac_unit u, float shield)
{
    u.shield = u.shield_max = shield;
    return u;
}

/* Everything open, one bit a cell; heights rise with x from 0 to 248. */
static inline void stage_map(struct stage *s)
{
    memset(s->pathing, 0xff, sizeof s->pathing);
    for (size_t i = 0; i < SIDE * SIDE; i++)
        s->height[i] = (uint8_t)(8 * (i % SIDE));
    s->info = (struct smac_game_info){.map_w = SIDE,
                                      .map_h = SIDE,
                                      .playable = {0, 0, SIDE, SIDE},
                                      .pathing_bits = 1,
                                      .height_bits = 8,
                                      .pathing = s->pathing,
                                      .height = s->height,
                                      .pathing_bytes = SIDE * SIDE / 8,
                                      .height_bytes = SIDE * SIDE};
}

static inline void stage_open(struct stage *s, const char *map, const struct smac_options *o)
{
    *s = (struct stage){0};
    stage_map(s);
    ck_assert_int_eq(smac_open(&s->smac, map, o), 0);
    smac_spec(s->smac, &s->spec);
    ck_assert_int_eq(smac_game_info(s->smac, &s->info), 0);
}

static inline void stage_add(struct stage *s, struct smac_unit u)
{
    ck_assert_uint_lt(s->n, STAGE_UNITS);
    s->u[s->n++] = u;
}

static inline int stage_reset(struct stage *s)
{
    smac_reset_begin(s->smac);
    return smac_reset_frame(s->smac, s->u, s->n);
}

/* The views of the present frame. */
static inline void stage_look(struct stage *s)
{
    smac_obs(s->smac, s->obs);
    smac_state(s->smac, s->state);
    smac_avail(s->smac, s->avail);
}

static inline const float *obs_of(const struct stage *s, size_t agent)
{
    return s->obs + agent * smac_obs_len(s->smac);
}

static inline const uint8_t *avail_of(const struct stage *s, size_t agent)
{
    return s->avail + agent * s->spec.actions;
}

static inline void stage_frame(struct stage *s)
{
    smac_step_frame(s->smac, s->u, s->n, false, &s->result);
    stage_look(s);
}

static inline struct smac_unit *by_tag(struct stage *s, uint64_t tag)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->u[i].tag == tag)
            return &s->u[i];
    ck_abort_msg("no unit with this tag");
    return NULL;
}

static inline void kill_unit(struct stage *s, uint64_t tag)
{
    struct smac_unit *dead = by_tag(s, tag);
    *dead = s->u[--s->n];
}

#endif
