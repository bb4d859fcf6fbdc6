/* SPDX-License-Identifier: Apache-2.0 */
/* config_schema.c - every key, its default and its bounds; the presets.
 *
 * This file is what one edits to add a setting: a field in struct config, a row here. Flags,
 * files, environment variables, the saved configuration, its digest and the reference page all
 * follow. Defaults are those of preset `paper`: the values of the MAG paper, and those of the
 * public code of MAMBA where the paper is silent. */
#include "config_schema.h"

#include <string.h>

static const char *const choices_choice[] = {"start", "batch", NULL};
static const char *const choices_search[] = {"shooting", "none", NULL};
static const char *const choices_rec[] = {"full", "code", "off", NULL};
static const char *const choices_latent[] = {"sample", "mode", NULL};
static const char *const choices_schedule[] = {"lockstep", "async", NULL};
static const char *const choices_isa[] = {"auto", "ref", "avx2", "avx512", NULL};
static const char *const choices_resume[] = {"auto", "never", "must", NULL};
static const char *const choices_units[] = {"liberty", "lotv_4_10", NULL};
static const char *const choices_tri[] = {"auto", "true", "false", NULL};
static const char *const choices_start[] = {"surrounded_and_reflect", "surrounded", "reflect",
                                            "fixed", NULL};
static const char *const choices_keep[] = {"all", "replay", NULL};
static const char *const choices_algo[] = {"mag", "mamba", NULL};
static const char *const choices_env[] = {"smac", "lbf", NULL};
static const char *const choices_precision[] = {"float32", "half", "auto", NULL};
static const char *const choices_level[] = {"debug", "info", "warn", "error", NULL};
static const char *const choices_format[] = {"auto", "text", "json", NULL};
static const char *const preset_names[] = {"paper", "code", "quickstart", NULL};

typedef char name_text[CONFIG_NAME];
typedef char path_text[CONFIG_PATH];

/* The offset of a field; comparing pointers makes a wrong type a warning. */
#define AT(field, type)                                                                        \
    (offsetof(struct config, field) + 0 * sizeof(&((struct config *)0)->field == (type *)0))

#define U32(path, field, def, lo, hi, unit, scope, help)                                       \
    {                                                                                          \
        path, KIND_U32, scope, AT(field, uint32_t), def, lo, hi, unit, NULL, help              \
    }
#define U64(path, field, def, lo, hi, unit, scope, help)                                       \
    {                                                                                          \
        path, KIND_U64, scope, AT(field, uint64_t), def, lo, hi, unit, NULL, help              \
    }
#define F64(path, field, def, lo, hi, unit, scope, help)                                       \
    {                                                                                          \
        path, KIND_F64, scope, AT(field, double), def, lo, hi, unit, NULL, help                \
    }
#define YES(path, field, def, scope, help)                                                     \
    {                                                                                          \
        path, KIND_BOOL, scope, AT(field, bool), def, 0, 0, "", NULL, help                     \
    }
#define ENUM(path, field, type, def, choices, scope, help)                                     \
    {                                                                                          \
        path, KIND_ENUM, scope, AT(field, type), def, 0, 0, "", choices, help                  \
    }
#define NAME(path, field, def, choices, scope, help)                                           \
    {                                                                                          \
        path, KIND_NAME, scope, AT(field, name_text), def, 0, 0, "", choices, help             \
    }
#define PATH(path, field, def, scope, help)                                                    \
    {                                                                                          \
        path, KIND_PATH, scope, AT(field, path_text), def, 0, 0, "", NULL, help                \
    }

/* Largest whole numbers; a bound of NO_LIMIT is not checked beyond the type. */
#define NO_LIMIT 18446744073709551615.0
#define U32_TOP 4294967295.0

const struct config_key config_keys[] = {
    U64("seed", seed, "1", 0, NO_LIMIT, "", CFG_RUN,
        "Seed of everything random. The same seed and configuration give the same weights."),
    NAME("preset", preset, "paper", preset_names, CFG_RUN,
         "Named set of values below file, environment and command line."),
    NAME("algo", algo, "mag", choices_algo, CFG_RUN,
         "Algorithm; mamba is mag without planning (imagine.search none)."),
    ENUM("schedule", schedule, enum cfg_schedule, "lockstep", choices_schedule, CFG_RUN,
         "lockstep: phases alternate and the result is the same bits for any number of "
         "workers."),

    NAME("env.name", env.name, "smac", choices_env, CFG_RUN, "Environment."),
    NAME("env.map", env.map, "3s_vs_3z", NULL, CFG_RUN,
         "Map or scenario of the environment (also --map)."),
    ENUM("env.units", env.units, enum cfg_units, "liberty", choices_units, CFG_RUN,
         "Unit data: what the SMAC maps load, or the multiplayer values of game 4.10."),
    U32("env.difficulty", env.difficulty, "7", 1, 10, "", CFG_RUN,
        "Recorded with the run; the embedded opponents follow their script."),
    YES("env.shuffle_enemy_order", env.shuffle_enemy_order, "true", CFG_RUN,
        "Enemies act in a random order each step, so that no unit has a lasting advantage."),
    F64("env.position_noise", env.position_noise, "0", 0, 10, "map units", CFG_RUN,
        "Random displacement of every unit at the start of an episode."),
    YES("env.spawn_rotation", env.spawn_rotation, "false", CFG_RUN,
        "Turn both armies' starting places by a random angle."),
    YES("env.continuing", env.continuing, "true", CFG_RUN,
        "Time limits are not terminations, as in MAMBA and MAG."),
    YES("env.obs_last_action", env.obs_last_action, "false", CFG_RUN,
        "Observe the last action of allies and self."),
    YES("env.obs_timestep", env.obs_timestep, "false", CFG_RUN,
        "Observe the share of the episode limit that has passed."),
    YES("env.obs_pathing", env.obs_pathing, "false", CFG_RUN,
        "Observe walkability of eight points around the unit."),
    YES("env.obs_height", env.obs_height, "false", CFG_RUN,
        "Observe terrain height of nine points around the unit."),
    YES("env.reward_sparse", env.reward_sparse, "false", CFG_RUN,
        "Reward 1 for a win and -1 for a loss, nothing else."),
    YES("env.reward_only_positive", env.reward_only_positive, "true", CFG_RUN,
        "Own losses cost nothing."),
    U32("env.step_mul", env.step_mul, "8", 1, 1024, "game loops", CFG_RUN,
        "Game loops of a step; a game second has 16."),
    F64("env.move_amount", env.move_amount, "2", 0.0625, 32, "map units", CFG_RUN,
        "How far a move action orders a unit; whole with env.obs_pathing or env.obs_height."),
    YES("env.obs_all_health", env.obs_all_health, "true", CFG_RUN,
        "Observe health and shield of all units in sight; implies env.obs_own_health."),
    YES("env.obs_own_health", env.obs_own_health, "true", CFG_RUN,
        "Observe own health and shield; counts only without env.obs_all_health."),
    YES("env.obs_instead_of_state", env.obs_instead_of_state, "false", CFG_RUN,
        "The state is all observations in a row."),
    YES("env.state_last_action", env.state_last_action, "true", CFG_RUN,
        "The state holds everyone's last action."),
    YES("env.state_timestep", env.state_timestep, "false", CFG_RUN,
        "The state holds the share of the episode limit that has passed."),
    F64("env.reward_death_value", env.reward_death_value, "10", -1e6, 1e6, "", CFG_RUN,
        "Paid for a dead opponent."),
    F64("env.reward_win", env.reward_win, "200", -1e6, 1e6, "", CFG_RUN, "Paid for a win."),
    F64("env.reward_defeat", env.reward_defeat, "0", -1e6, 1e6, "", CFG_RUN,
        "Paid for a defeat."),
    F64("env.reward_negative_scale", env.reward_negative_scale, "0.5", -1e6, 1e6, "", CFG_RUN,
        "Weight of own losses, without env.reward_only_positive."),
    ENUM("env.reward_scale", env.reward_scale, enum cfg_tri, "auto", choices_tri, CFG_RUN,
         "Scale rewards so that the largest return is env.reward_scale_rate; auto: unless they "
         "are sparse."),
    F64("env.reward_scale_rate", env.reward_scale_rate, "20", 1e-6, 1e6, "", CFG_RUN,
        "Largest return of an episode with scaled rewards."),
    YES("env.heuristic_ai", env.heuristic_ai, "false", CFG_RUN,
        "The published heuristic gives the orders; actions are only noted."),
    YES("env.heuristic_rest", env.heuristic_rest, "false", CFG_RUN,
        "That heuristic walks to a target out of reach instead of attacking from afar."),
    ENUM("env.obs_own_pos", env.obs_own_pos, enum cfg_tri, "auto", choices_tri, CFG_RUN,
         "Observe the own position; auto: on the generated maps of SMACv2."),
    ENUM("env.unit_ranges", env.unit_ranges, enum cfg_tri, "auto", choices_tri, CFG_RUN,
         "Sight and reach by unit type, not 9 and 6; auto: on the generated maps."),
    F64("env.min_attack_range", env.min_attack_range, "2", 0, 32, "map units", CFG_RUN,
        "Least reach with env.unit_ranges."),
    YES("env.conic_fov", env.conic_fov, "false", CFG_RUN,
        "Agents see and aim within a cone, which further actions turn."),
    U32("env.fov_actions", env.fov_actions, "12", 3, 64, "", CFG_RUN,
        "Directions of the cone of env.conic_fov; its width is the circle divided by them."),
    ENUM("env.start_positions", env.start_positions, enum cfg_start, "surrounded_and_reflect",
         choices_start, CFG_RUN, "Where units of the generated maps start."),
    F64("env.reflect_chance", env.reflect_chance, "0.5", 0, 1, "", CFG_RUN,
        "Share of reflect in surrounded_and_reflect."),
    F64("env.team_weight_1", env.team_weight[0], "0.45", 0, 1e6, "", CFG_RUN,
        "Generated teams: weight of marines, stalkers or zerglings."),
    F64("env.team_weight_2", env.team_weight[1], "0.45", 0, 1e6, "", CFG_RUN,
        "Generated teams: weight of marauders, zealots or hydralisks."),
    F64("env.team_weight_3", env.team_weight[2], "0.1", 0, 1e6, "", CFG_RUN,
        "Generated teams: weight of medivacs, colossi or banelings."),

    U32("net.width", net.width, "256", 32, 4096, "", CFG_RUN,
        "D: width of every hidden layer and of the deterministic state; a multiple of 32 and "
        "of net.heads."),
    U32("net.categoricals", net.categoricals, "32", 1, 256, "", CFG_RUN,
        "Categorical variables of the latent state."),
    U32("net.classes", net.classes, "32", 2, 256, "", CFG_RUN, "Classes of each categorical."),
    U32("net.heads", net.heads, "8", 1, 64, "", CFG_RUN, "Attention heads."),
    U32("net.layers", net.layers, "3", 1, 16, "", CFG_RUN,
        "Attention layers of the transition."),

    U32("replay.capacity", replay.capacity, "250000", 8, U32_TOP, "records", CFG_RUN,
        "Joint records kept; the oldest leave first."),
    U32("replay.min", replay.min, "500", 4, U32_TOP, "records", CFG_RUN,
        "Records before training starts; above replay.window."),
    U32("replay.window", replay.window, "20", 3, 4096, "records", CFG_RUN,
        "W: length of a training window."),

    U32("collect.episodes", collect.episodes, "1", 1, 4096, "episodes", CFG_RUN,
        "E: episodes per iteration; more actors than this stay idle."),
    YES("collect.scale_updates", collect.scale_updates, "true", CFG_RUN,
        "Update counts are per episode: an iteration does E times as many."),

    U32("train.model_steps", train.model_steps, "60", 0, 1048575, "steps", CFG_RUN,
        "Gradient steps of the world model."),
    U32("train.rm_steps", train.rm_steps, "60", 0, 1048575, "steps", CFG_RUN,
        "Gradient steps of the model-error predictor."),
    U32("train.batches", train.batches, "4", 0, 4096, "batches", CFG_RUN,
        "Imagined batches, each followed by PPO."),
    U32("train.windows", train.windows, "40", 1, 65535, "windows", CFG_RUN,
        "B: windows per batch, for every phase."),
    U32("train.ppo_epochs", train.ppo_epochs, "5", 1, 1000, "epochs", CFG_RUN,
        "Passes of PPO over an imagined batch."),
    U32("train.minibatch", train.minibatch, "2000", 1, U32_TOP, "rows", CFG_RUN,
        "Rows of a PPO minibatch; a row is one imagined joint step."),
    U32("train.warmup_model_steps", train.warmup_model_steps, "0", 0, 16777215, "steps",
        CFG_RUN, "Model steps before iteration 1, on the first records."),
    U32("train.warmup_rm_steps", train.warmup_rm_steps, "0", 0, 16777215, "steps", CFG_RUN,
        "Predictor steps before iteration 1."),
    F64("train.dropout", train.dropout, "0.1", 0, 0.9, "", CFG_RUN,
        "Dropout of the transition during model steps."),
    F64("train.clip_model", train.clip_model, "100", 1e-6, 1e9, "", CFG_RUN,
        "Largest global norm of the model's gradient."),
    YES("train.zero_first_action", train.zero_first_action, "false", CFG_RUN,
        "Clear the action that led into an episode's first state, as acting does."),
    U64("train.stop.env_steps", train.stop.env_steps, "0", 0, NO_LIMIT, "steps", CFG_ROLE,
        "Stop after this many environment steps; 0 is no bound. The first bound stops."),
    U64("train.stop.iterations", train.stop.iterations, "0", 0, 16777215, "iterations",
        CFG_ROLE, "Stop after this many iterations that train; 0 is no bound."),
    U64("train.stop.seconds", train.stop.seconds, "0", 0, 1e9, "s", CFG_ROLE,
        "Stop after this much wall time; 0 is no bound."),

    ENUM("imagine.search", imagine.search, enum cfg_search, "shooting", choices_search, CFG_RUN,
         "shooting: keep the candidate with the least predicted model error; none: a plain "
         "draw."),
    U32("imagine.steps", imagine.steps, "15", 1, 255, "steps", CFG_RUN,
        "R: imagined states per start."),
    U32("imagine.candidates", imagine.candidates, "5", 0, 255, "", CFG_RUN,
        "L: planned trajectories per imagined step; 0 is the plain draw. Presets paper and "
        "code "
        "take it from Table 1, by map."),
    U32("imagine.horizon", imagine.horizon, "10", 0, 255, "steps", CFG_RUN,
        "H: length of a planned trajectory; 0 is the plain draw. Presets paper and code take "
        "it "
        "from Table 1, by map."),
    ENUM("imagine.choice", imagine.choice, enum cfg_choice, "start", choices_choice, CFG_RUN,
         "Who chooses among candidates: each start state (the paper), or the batch as a whole "
         "(the public code; does not scale over planners)."),
    ENUM("imagine.precision", imagine.precision, enum cfg_precision, "float32",
         choices_precision, CFG_RUN,
         "Products that score candidates: half is bfloat16 and needs a CPU with AVX512-BF16; "
         "everything that is recorded stays float32. auto measures and takes half where it is "
         "faster; in lockstep it is float32."),
    F64("imagine.discount", imagine.discount, "1", 0, 1, "", CFG_RUN,
        "Discount of a candidate's score per inner step."),
    F64("imagine.epsilon", imagine.epsilon, "0", 0, 1, "", CFG_RUN,
        "Chance of the plain draw at an imagined step."),
    YES("imagine.greedy_inner", imagine.greedy_inner, "false", CFG_RUN,
        "Most likely instead of sampled actions inside planning."),

    U32("rm.passes", rm.passes, "1", 1, 2, "", CFG_RUN,
        "Stochastic passes for label and input: one for both, or one each (the public code)."),
    ENUM("rm.rec", rm.rec, enum cfg_rec, "full", choices_rec, CFG_RUN,
         "Reconstruction in the label: mean over the observation, the public code's vanishing "
         "share of it, or left out."),
    YES("rm.reward", rm.reward, "true", CFG_RUN, "Reward error in the label."),
    YES("rm.avail", rm.avail, "true", CFG_RUN, "Availability error in the label."),
    YES("rm.cont", rm.cont, "true", CFG_RUN, "Continuation error in the label."),
    YES("rm.action_info", rm.action_info, "true", CFG_RUN,
        "Action-information error in the label."),

    F64("lr.model", lr.model, "5e-4", 0, 1, "", CFG_RUN, "Learning rate of the world model."),
    F64("lr.rm", lr.rm, "5e-4", 0, 1, "", CFG_RUN,
        "Learning rate of the model-error predictor."),
    F64("lr.actor", lr.actor, "5e-4", 0, 1, "", CFG_RUN, "Learning rate of the policy."),
    F64("lr.critic", lr.critic, "5e-4", 0, 1, "", CFG_RUN, "Learning rate of the critic."),
    U64("lr.anneal", lr.anneal, "0", 0, 16777215, "iterations", CFG_RUN,
        "Iterations over which all four rates fall linearly to lr.final of themselves; 0 is "
        "never."),
    F64("lr.final", lr.final, "0.1", 0, 1, "", CFG_RUN,
        "Share of the rates that is left once they have fallen."),

    F64("ppo.clip", ppo.clip, "0.2", 0, 1, "", CFG_RUN,
        "How far the probability ratio may leave 1."),
    F64("ppo.entropy", ppo.entropy, "0.001", 0, 10, "", CFG_RUN,
        "First weight of the entropy."),
    F64("ppo.anneal", ppo.anneal, "0.99998", 0, 1, "", CFG_RUN,
        "Factor of the entropy weight after each minibatch."),
    F64("ppo.entropy_floor", ppo.entropy_floor, "0", 0, 10, "", CFG_RUN,
        "The entropy weight stops falling here."),
    F64("ppo.gamma", ppo.gamma, "0.99", 0, 1, "", CFG_RUN, "Discount per environment step."),
    F64("ppo.lambda", ppo.lambda, "0.95", 0, 1, "", CFG_RUN, "Lambda of the returns."),
    F64("ppo.grad_clip", ppo.grad_clip, "100", 1e-6, 1e9, "", CFG_RUN,
        "Largest global norm of the policy's and of the critic's gradient."),
    F64("ppo.actor_l2", ppo.actor_l2, "1e-5", 0, 1, "", CFG_RUN,
        "Weight decay of the policy, added to its gradient."),

    U32("job.windows", job.windows, "2", 1, 65535, "windows", CFG_RUN,
        "Windows of a batch per planner job. Does not change the result."),

    U32("eval.every", eval.every, "0", 0, 16777215, "iterations", CFG_RUN,
        "Iterations between evaluations; 0 evaluates at the end only."),
    U32("eval.episodes", eval.episodes, "100", 1, 1048575, "episodes", CFG_RUN,
        "Episodes of an evaluation, greedy and sampled each."),
    ENUM("eval.latent", eval.latent, enum cfg_latent, "sample", choices_latent, CFG_RUN,
         "Latent state while evaluating: sampled, or the most likely class."),

    U32("ckpt.every", ckpt.every, "10", 1, 16777215, "iterations", CFG_ROLE,
        "Iterations between checkpoints; one is always written at the end and on signals."),
    U32("ckpt.keep", ckpt.keep, "3", 1, 1000, "checkpoints", CFG_ROLE,
        "Newest checkpoints kept."),
    YES("ckpt.best", ckpt.best, "false", CFG_ROLE,
        "Keep the checkpoint whose greedy evaluation won most, too (eval.every); "
        "`mag eval RUN` plays it."),

    ENUM("store.keep", store.keep, enum cfg_store_keep, "all", choices_keep, CFG_ROLE,
         "Episodes kept in run.db: all, or those the replay still holds."),

    U32("compute.threads", compute.threads, "0", 0, 1024, "threads", CFG_LOCAL,
        "Threads that compute; 0 is all cores for the learner and `mag eval`, one for a "
        "worker."),
    ENUM("compute.isa", compute.isa, enum cfg_isa, "auto", choices_isa, CFG_LOCAL,
         "Kernels: the best the CPU has, or a given set. All give the same bits."),
    YES("compute.pin", compute.pin, "false", CFG_LOCAL, "Bind compute threads to cores."),

    PATH("service.control", net_link.control, "tcp://127.0.0.1:5560", CFG_LOCAL,
         "Endpoint of sessions, work and heartbeats."),
    PATH("service.data", net_link.data, "tcp://127.0.0.1:5561", CFG_LOCAL,
         "Endpoint of episodes, jobs and results."),
    PATH("service.weights", net_link.weights, "tcp://127.0.0.1:5562", CFG_LOCAL,
         "Endpoint of weights."),
    YES("service.insecure", net_link.insecure, "false", CFG_LOCAL,
        "Allow binding beyond this machine although nothing is encrypted."),
    U32("service.heartbeat_ms", net_link.heartbeat_ms, "1000", 10, 600000, "ms", CFG_ROLE,
        "Interval of a worker's signs of life."),
    U32("service.lease_ms", net_link.lease_ms, "15000", 100, 3600000, "ms", CFG_ROLE,
        "How long a silent worker keeps its work; at least two heartbeats."),
    U32("service.connect_timeout_s", net_link.connect_timeout_s, "0", 0, 1000000, "s",
        CFG_LOCAL, "How long a worker looks for its learner; 0 is for ever."),
    U64("service.ingest_budget", net_link.ingest_budget, "268435456", 1048576, NO_LIMIT,
        "bytes", CFG_ROLE, "Unacknowledged episodes over all actors."),

    U32("workers.actors", workers.actors, "2", 1, 4096, "processes", CFG_ROLE,
        "Actors that `mag train` starts; a learner waits for them before iteration 1."),
    U32("workers.planners", workers.planners, "2", 1, 4096, "processes", CFG_ROLE,
        "Planners that `mag train` starts; likewise."),

    NAME("log.level", log.level, "info", choices_level, CFG_LOCAL, "Least level printed."),
    NAME("log.format", log.format, "auto", choices_format, CFG_LOCAL,
         "auto is text on a terminal and JSON lines elsewhere."),

    PATH("run_dir", run_dir, "", CFG_LOCAL,
         "Run directory (also --run-dir); empty is runs/<map>/<UTC>-<seed>-<id>."),
    ENUM("resume", resume, enum cfg_resume, "auto", choices_resume, CFG_LOCAL,
         "Go on from the run directory's newest checkpoint: if there is one, never, or refuse "
         "to start without."),

    U32("metrics.every", metrics.every, "10", 0, 16777215, "iterations", CFG_ROLE,
        "Iterations between the costlier figures of the method; 0 is never. No figure changes "
        "a weight."),
    U32("metrics.rm_windows", metrics.rm_windows, "16", 0, 65535, "windows", CFG_ROLE,
        "Held-out windows on which the predictor is scored each iteration."),
    F64("metrics.spike", metrics.spike, "10", 0, 1e9, "times", CFG_ROLE,
        "A loss or gradient norm this many times its running median is logged and counted; "
        "0 is never. Nothing else comes of it."),
};
const size_t config_key_count = sizeof config_keys / sizeof *config_keys;
_Static_assert(sizeof config_keys / sizeof *config_keys <= CONFIG_KEYS_MAX, "raise the bound");

/* What the presets change. paper is the defaults. code gives the public code's numbers where
 * they differ from the paper. quickstart is a small network with many episodes per iteration
 * and a warm-up of the model, for two cores and a quarter of an hour. */
/* clang-format off */
const struct config_preset_row config_preset_rows[] = {
    /*                            paper  code     quickstart */
    {"env.map",                  {NULL,  NULL,    "3m"}},
    {"net.width",                {NULL,  NULL,    "64"}},
    {"net.categoricals",         {NULL,  NULL,    "16"}},
    {"net.classes",              {NULL,  NULL,    "16"}},
    {"net.heads",                {NULL,  NULL,    "4"}},
    {"net.layers",               {NULL,  NULL,    "2"}},
    {"replay.capacity",          {NULL,  NULL,    "50000"}},
    {"replay.min",               {NULL,  NULL,    "600"}},
    {"replay.window",            {NULL,  NULL,    "16"}},
    {"collect.episodes",         {NULL,  NULL,    "8"}},
    {"collect.scale_updates",    {NULL,  NULL,    "false"}},
    {"train.model_steps",        {NULL,  NULL,    "40"}},
    {"train.rm_steps",           {NULL,  NULL,    "20"}},
    {"train.batches",            {NULL,  NULL,    "2"}},
    {"train.windows",            {NULL,  NULL,    "16"}},
    {"train.ppo_epochs",         {NULL,  NULL,    "5"}},
    {"train.minibatch",          {NULL,  NULL,    "512"}},
    {"train.warmup_model_steps", {NULL,  NULL,    "650"}},
    {"train.warmup_rm_steps",    {NULL,  NULL,    "300"}},
    {"train.dropout",            {NULL,  NULL,    "0"}},
    {"train.stop.iterations",    {NULL,  NULL,    "1000"}},
    {"train.stop.seconds",       {NULL,  NULL,    "840"}},
    {"imagine.steps",            {NULL,  NULL,    "8"}},
    {"imagine.candidates",       {NULL,  NULL,    "3"}}, /* paper, code: Table 1 */
    {"imagine.horizon",          {NULL,  NULL,    "3"}}, /* paper, code: Table 1 */
    {"imagine.choice",           {NULL,  "batch", NULL}},
    {"rm.passes",                {NULL,  "2",     NULL}},
    {"rm.rec",                   {NULL,  "code",  NULL}},
    {"lr.model",                 {NULL,  NULL,    "1e-3"}},
    {"lr.rm",                    {NULL,  NULL,    "1e-3"}},
    {"lr.actor",                 {NULL,  NULL,    "3e-4"}},
    {"lr.critic",                {NULL,  NULL,    "1e-3"}},
    {"ppo.clip",                 {NULL,  NULL,    "0.2"}},
    {"ppo.entropy",              {NULL,  NULL,    "0.08"}},
    {"ppo.anneal",               {NULL,  NULL,    "0.99993"}},
    {"ppo.entropy_floor",        {NULL,  NULL,    "0.02"}},
    {"job.windows",              {NULL,  NULL,    "4"}},
    {"eval.every",               {NULL,  NULL,    "20"}},
    {"eval.episodes",            {NULL,  NULL,    "300"}},
    {"eval.latent",              {NULL,  NULL,    "mode"}},
    {"ckpt.best",                {NULL,  NULL,    "true"}},
    {"workers.actors",           {NULL,  NULL,    "2"}},
    {"workers.planners",         {NULL,  NULL,    "2"}},
};
/* clang-format on */
const size_t config_preset_row_count = sizeof config_preset_rows / sizeof *config_preset_rows;

const struct config_table1 config_table1[] = {
    {"2s_vs_1sc", "5", "10"}, {"3s_vs_3z", "5", "10"},    {"2s3z", "5", "10"},
    {"3s_vs_4z", "4", "10"},  {"3s_vs_5z", "5", "7"},     {"2c_vs_64zg", "5", "7"},
    {"corridor", "4", "6"},   {"3s5z_vs_3s6z", "4", "7"}, {"", "4", "7"},
};
const size_t config_table1_count = sizeof config_table1 / sizeof *config_table1;

const struct config_table1 *config_table1_row(const char *map)
{
    size_t i = 0;
    while (i + 1 < config_table1_count && strcmp(config_table1[i].map, map) != 0)
        i++;
    return &config_table1[i];
}

const char *const *config_preset_names(void)
{
    return preset_names;
}

int config_key_find(const char *path)
{
    for (size_t i = 0; i < config_key_count; i++)
        if (strcmp(config_keys[i].path, path) == 0)
            return (int)i;
    return -1;
}

int config_preset_find(const char *name)
{
    for (int i = 0; i < CONFIG_PRESETS; i++)
        if (strcmp(preset_names[i], name) == 0)
            return i;
    return -1;
}
