/* SPDX-License-Identifier: Apache-2.0 */
/* smac.h - the SMAC contract, and SMACv2's, as one module over a list of units.
 *
 * The contract turns unit lists (from the embedded engine, the real game, or a recording) into
 * observations, state, availability, commands, reward and termination, exactly as the published
 * environment does (release 1.0.0). It knows nothing of battle dynamics. Numbers are computed
 * in double and rounded once to float, as the reference does. On generated maps it is the
 * contract of SMACv2; docs/smacv2.md lists the differences.
 *
 * One struct smac belongs to one thread. All memory is reserved at open. */
#ifndef ENV_SMAC_H
#define ENV_SMAC_H

#include "env/env.h"

enum { SMAC_UNITS_MAX = 192, SMAC_AGENTS_MAX = 32, SMAC_ENEMIES_MAX = 72, SMAC_FOV_MAX = 64 };

/* One unit as the game lists it. Owner 1 agents, 2 opponents; others are ignored. */
struct smac_unit {
    uint64_t tag;
    uint32_t owner, unit_type;
    float x, y, z;
    float health, health_max, shield, shield_max, energy, energy_max, weapon_cooldown;
};

/* What the game says once. Images as the game sends them: 1 or 8 bits per pixel. */
struct smac_game_info {
    uint32_t map_w, map_h;
    int32_t playable[4]; /* x0, y0, x1, y1 */
    uint32_t pathing_bits, height_bits;
    const uint8_t *pathing, *height;
    size_t pathing_bytes, height_bytes;
    /* First of the type ids that the map file adds. Only generated maps need it: elsewhere it is
     * the smallest id among the agents. */
    uint32_t copy_base;
};

/* Constructor arguments of the published environments. */
struct smac_options {
    double move_amount;
    uint32_t step_mul;
    bool continuing_episode;
    bool obs_all_health, obs_own_health, obs_last_action, obs_pathing_grid, obs_terrain_height,
        obs_instead_of_state, obs_timestep_number, state_last_action, state_timestep_number;
    bool reward_sparse, reward_only_positive, reward_scale;
    double reward_death_value, reward_win, reward_defeat, reward_negative_scale,
        reward_scale_rate;
    bool heuristic_ai, heuristic_rest;
    /* SMACv2. unit_ranges: sight and reach by unit type, the reach at least min_attack_range.
     * conic_fov: fov_actions further actions behind the moves turn a cone of view. */
    bool obs_own_pos, unit_ranges, conic_fov;
    uint32_t fov_actions; /* 3..SMAC_FOV_MAX */
    double min_attack_range;
};
void smac_options_default(struct smac_options *o); /* those of SMAC */

enum { ABILITY_STOP = 4, ABILITY_MOVE = 16, ABILITY_ATTACK = 23, ABILITY_HEAL = 386 };

/* One order to one agent's unit, as it goes to the game. */
struct smac_command {
    uint64_t unit_tag;
    uint32_t ability;
    uint8_t target; /* 0 none, 1 position, 2 unit */
    float x, y;
    uint64_t target_tag;
};

struct smac; /* opaque */

/* map: a name of the scenario table. ERR_CONFIG names the nearest one, or says how many
 * directions a cone may have. */
int smac_open(struct smac **out, const char *map, const struct smac_options *o);
void smac_close(struct smac *s);
void smac_spec(const struct smac *s, struct env_spec *out);
int smac_game_info(struct smac *s, const struct smac_game_info *info); /* copied */

/* A reset: call begin once, then feed frames until it returns 0; ERR_AGAIN asks for another
 * frame (units are still missing: the caller steps the game by one loop and observes). */
void smac_reset_begin(struct smac *s);
int smac_reset_frame(struct smac *s, const struct smac_unit *units, size_t n);

/* Orders for one joint action [N]; ERR_INVAL with err_text() for an unavailable one. out has
 * room for N; *count commands are written (dead agents and no-ops send none). */
int smac_commands(struct smac *s, const uint8_t *action, struct smac_command *out,
                  size_t *count);

struct smac_result {
    double reward;
    bool terminated;
    bool info_valid; /* false: empty info (lost connection) */
    bool battle_won, episode_limit;
    uint32_t dead_allies, dead_enemies;
    bool time_limit; /* the limit ended it; episode_limit says so only when continuing */
};
/* The frame after the step; n units, or lost != 0 when the connection failed. */
void smac_step_frame(struct smac *s, const struct smac_unit *units, size_t n, bool lost,
                     struct smac_result *out);

/* obs [N][obs_len] (obs_len: smac_obs_len, one longer than the announced size when the
 * timestep is observed: a quirk of the reference), state [G], avail [N][A]. */
size_t smac_obs_len(const struct smac *s);
void smac_obs(const struct smac *s, float *obs);
void smac_state(const struct smac *s, float *state);
void smac_avail(const struct smac *s, uint8_t *avail);
/* Length of the state as smac_state writes it: that of the specification, except that states
 * made of observations (obs_instead_of_state) inherit the longer observation. */
size_t smac_state_len(const struct smac *s);
double smac_max_reward(const struct smac *s);
void smac_tags(const struct smac *s, uint64_t *agents, uint64_t *enemies); /* [N], [M] */
size_t smac_enemies(const struct smac *s);                                 /* M */

/* Tags of the living, agents then enemies, as the reset's kill request lists them. out has
 * room for 2 * SMAC_UNITS_MAX; returns how many. */
size_t smac_alive_tags(const struct smac *s, uint64_t *out);

/* Count the first episode as played: later resets no longer add to max_reward, nor look for
 * the smallest unit type id. For worlds whose episodes must not depend on earlier ones; call
 * it after a complete reset. */
void smac_settle(struct smac *s);

/* Let max_reward be that of opponents with `points` health and shield together, whoever was
 * seen first: for maps that draw their teams. */
void smac_expect_points(struct smac *s, double points);

/* Scripted joint actions, for calibration and baselines. attack_nearest is the heuristic of
 * the published environment (targets are kept until dead, orders go out at any distance);
 * kiting backs off from the nearest enemy while reloading or too close, else shoots it.
 * action [N] receives what stands for the orders: it is what the last-action features show,
 * and may lie outside availability. ERR_NOTFOUND for another name. */
int smac_script(struct smac *s, const char *policy, uint8_t *action, struct smac_command *out,
                size_t *count);

#endif
