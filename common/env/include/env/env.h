/* SPDX-License-Identifier: Apache-2.0 */
/* env.h - what an environment is, and the registry of all of them.
 *
 * An environment is one team of agents against a world: reset with a seed, step with one
 * action per agent, observe into the caller's buffers. Everything a step needs is reserved at
 * open. One environment belongs to one thread; different environments share nothing that
 * changes. An episode depends on (seed, actions) only, whatever was played before.
 *
 * This room is in common because two programs need it: actors play, and the learner sizes its
 * networks from the specification (docs/adr/0002). */
#ifndef ENV_ENV_H
#define ENV_ENV_H

#include "base/config.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct env_spec {
    size_t n_agents, obs, state, actions; /* N, O, G, A */
    size_t episode_limit;                 /* environment steps */
    bool team_reward;                     /* one reward for all agents */
    char build[64];                       /* engine and its rules version, e.g. "battle-1" */
    char line[2048];        /* canonical: name, sorted options, N O A G limit build */
    unsigned char hash[16]; /* BLAKE2b-128 of line: spec_hash on the wire */
};

enum env_end { ENV_RUNNING, ENV_TERMINAL, ENV_LIMIT, ENV_ABORT };

struct env_step {
    float reward; /* team reward, as the environment scales it */
    enum env_end end;
    bool won;
};

struct env; /* opaque, one per class */
struct scene_stage;
struct scene;

struct env_class {
    const char *name; /* env.name */
    /* The specification alone, without opening anything. ERR_CONFIG with err_text(), e.g. an
     * unknown map with the nearest name. Any thread. */
    int (*spec)(const struct config *cfg, struct env_spec *out);
    int (*open)(const struct config *cfg, struct env **out);
    void (*close)(struct env *e);
    int (*reset)(struct env *e, uint64_t seed);
    /* action [N], each available in the last observation; ERR_INVAL names the agent. */
    int (*step)(struct env *e, const uint8_t *action, struct env_step *out);
    /* obs [N][O]; avail [N][A] of 0/1; state [G] or NULL. */
    void (*observe)(struct env *e, float *obs, uint8_t *avail, float *state);
    /* Scripted policies for calibration and baselines: "random" is made by the caller from
     * avail; this one fills action [N] by name ("attack_nearest", "opponent", "kiting").
     * An action the policy wants may lie outside avail (SMAC's heuristic orders attacks at any
     * distance): such environments accept it in step_script only. ERR_NOTFOUND. */
    int (*step_script)(struct env *e, const char *policy, struct env_step *out);
    const char *const *(*maps)(void); /* NULL-terminated names, the paper's eight first */
    /* One text frame of the present situation for people and replays, or NULL. */
    int (*describe)(struct env *e, char *out, size_t n);
    /* Units as recordings show them (env/scene.h); both NULL where there are none. stage: what
     * stays while e is open. scene: now, and what happened in the last step. Read only. */
    void (*stage)(const struct env *e, struct scene_stage *out);
    void (*scene)(const struct env *e, struct scene *out);
};

/* Registry: env.name -> class. ERR_CONFIG with the nearest name. */
int env_find(const char *name, const struct env_class **out);
const struct env_class *const *env_classes(void); /* NULL-terminated */

#endif
