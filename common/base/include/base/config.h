/* SPDX-License-Identifier: Apache-2.0 */
/* config.h - every setting of every program: one struct, one schema table, one set of names.
 *
 * The table (config.c) gives each key its type, bounds, default, scope and help; flags
 * (`net.width=64`), YAML files, environment variables (MAG_NET__WIDTH) and the saved
 * config.yaml all go through it. Precedence: default < preset < file < environment < command
 * line. Unknown keys and values out of bounds are refused with the nearest name or the range. */
#ifndef BASE_CONFIG_H
#define BASE_CONFIG_H

#include "base/digest.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { CONFIG_NAME = 64, CONFIG_PATH = 256 };

enum cfg_choice { CHOICE_START, CHOICE_BATCH };          /* imagine.choice */
enum cfg_search { SEARCH_SHOOTING, SEARCH_NONE };        /* imagine.search */
enum cfg_rec { REC_FULL, REC_CODE, REC_OFF };            /* rm.rec */
enum cfg_latent { LATENT_SAMPLE, LATENT_MODE };          /* eval.latent */
enum cfg_schedule { SCHEDULE_LOCKSTEP, SCHEDULE_ASYNC }; /* schedule */
enum cfg_precision { PRECISION_FLOAT32, PRECISION_HALF, PRECISION_AUTO };
enum cfg_isa { ISA_AUTO, ISA_REF, ISA_AVX2, ISA_AVX512 }; /* compute.isa */
enum cfg_resume { RESUME_AUTO, RESUME_NEVER, RESUME_MUST };
enum cfg_units { UNITS_LIBERTY, UNITS_LOTV_4_10 }; /* env.units */
enum cfg_tri { TRI_AUTO, TRI_YES, TRI_NO };        /* auto | true | false */
enum cfg_start { START_SURROUNDED_AND_REFLECT, START_SURROUNDED, START_REFLECT, START_FIXED };
enum cfg_store_keep { KEEP_ALL, KEEP_REPLAY };

struct config {
    /* --- scope run: part of the configuration digest --- */
    uint64_t seed;            /* seed */
    char preset[CONFIG_NAME]; /* preset (recorded; the keys below are what counts) */
    char algo[CONFIG_NAME];   /* algo: mag | mamba (mamba = mag with imagine.search none) */
    enum cfg_schedule schedule;

    struct {
        char name[CONFIG_NAME]; /* env.name: smac */
        char map[CONFIG_NAME];  /* env.map, also --map */
        enum cfg_units units;
        uint32_t difficulty;      /* 7; recorded, the embedded opponents follow their script */
        bool shuffle_enemy_order; /* default true */
        double position_noise;    /* map units, default 0 */
        bool spawn_rotation;      /* default false */
        bool continuing;          /* default true, as MAMBA and MAG */
        bool obs_last_action, obs_timestep, obs_pathing, obs_height;
        bool reward_sparse, reward_only_positive;
        /* the other constructor arguments of the published SMAC environments */
        uint32_t step_mul;
        double move_amount;
        bool obs_all_health, obs_own_health, obs_instead_of_state;
        bool state_last_action, state_timestep;
        double reward_death_value, reward_win, reward_defeat, reward_negative_scale;
        enum cfg_tri reward_scale;
        double reward_scale_rate;
        bool heuristic_ai, heuristic_rest;
        enum cfg_tri obs_own_pos, unit_ranges; /* auto: as the map's benchmark has it */
        double min_attack_range;
        bool conic_fov;
        uint32_t fov_actions;
        enum cfg_start start_positions; /* generated maps only, as what follows */
        double reflect_chance, team_weight[3];
    } env;
    struct {
        uint32_t width, categoricals, classes, heads, layers; /* width: multiple of 32 */
    } net;
    struct {
        uint32_t capacity, min, window; /* records, records, W records */
    } replay;
    struct {
        uint32_t episodes; /* E per iteration */
        bool scale_updates;
    } collect;
    struct {
        uint32_t model_steps, rm_steps, batches, windows, ppo_epochs, minibatch;
        uint32_t warmup_model_steps, warmup_rm_steps;
        double dropout;         /* train.dropout, 0.1 */
        double clip_model;      /* train.clip_model, global norm, 100 */
        bool zero_first_action; /* mag.md 17 item 10; default off */
        struct {
            uint64_t env_steps, iterations, seconds; /* 0 = no bound; the first reached stops */
        } stop;
    } train;
    struct {
        enum cfg_search search;
        uint32_t steps, candidates, horizon; /* R, L, H */
        enum cfg_choice choice;
        enum cfg_precision precision; /* of the look ahead; lockstep turns auto to float32 */
        double discount;              /* planning discount per inner step, 1 */
        double epsilon;               /* chance of the plain draw per imagined step, 0 */
        bool greedy_inner;            /* argmax actions inside planning, off */
    } imagine;
    struct {
        uint32_t passes; /* 1 | 2 */
        enum cfg_rec rec;
        bool reward, avail, cont, action_info; /* terms of the label; KL always on */
    } rm;
    struct {
        double model, rm, actor, critic;
        uint64_t anneal; /* iterations; 0 never */
        double final;    /* share of the rates that is left then */
    } lr;
    struct {
        double clip, entropy, anneal, entropy_floor, gamma, lambda, grad_clip, actor_l2;
    } ppo;
    struct {
        uint32_t windows; /* rows of the batch per job */
    } job;
    struct {
        uint32_t every;    /* iterations between evaluations, 0: only at the end */
        uint32_t episodes; /* of each evaluation */
        enum cfg_latent latent;
    } eval;

    /* --- scope role or local: not part of the digest --- */
    struct {
        uint32_t every; /* iterations */
        uint32_t keep;  /* newest checkpoints kept */
        bool best;      /* and the one whose evaluation won most */
    } ckpt;
    struct {
        enum cfg_store_keep keep;
    } store;
    struct {
        uint32_t threads; /* 0 = all cores for the learner, 1 for the others */
        enum cfg_isa isa;
        bool pin;
    } compute;
    struct {
        char control[CONFIG_PATH], data[CONFIG_PATH], weights[CONFIG_PATH]; /* endpoints */
        bool insecure;              /* allow binding beyond loopback without keys */
        uint32_t heartbeat_ms;      /* 1000 */
        uint32_t lease_ms;          /* 15000: how long a silent worker keeps its work */
        uint32_t connect_timeout_s; /* 0 = wait for ever */
        uint64_t ingest_budget;     /* bytes of unacknowledged episodes over all actors */
    } net_link;                     /* keys service.control, service.data, ... */
    struct {
        uint32_t actors, planners; /* what `mag train` starts; lockstep waits for them */
    } workers;
    struct {
        char level[CONFIG_NAME], format[CONFIG_NAME];
    } log;
    char run_dir[CONFIG_PATH]; /* run_dir, --run-dir; empty = runs/<map>/<UTC>-<seed>-<id> */
    enum cfg_resume resume;
    struct {
        uint32_t every;      /* iterations between the costlier metrics (Figure 3), 0 = never */
        double spike;        /* times the running median: logged and counted; 0 = never */
        uint32_t rm_windows; /* held-out windows scored each iteration */
    } metrics;
};

enum cfg_scope { CFG_RUN, CFG_ROLE, CFG_LOCAL };
enum cfg_origin { ORIGIN_DEFAULT, ORIGIN_PRESET, ORIGIN_FILE, ORIGIN_ENV, ORIGIN_CLI, ORIGINS };

/* A configuration being put together; keeps where every value came from. */
struct config_builder; /* opaque */

int config_begin(struct config_builder **out);
void config_end(struct config_builder *b);

/* Each returns 0 or ERR_CONFIG with err_text() naming the key and the remedy. A preset may
 * depend on the map (L and H of Table 1): presets are applied when config_finish runs, below
 * file, environment and command line, in whatever order these were given. */
int config_preset(struct config_builder *b, const char *name);
int config_file(struct config_builder *b, const char *path);
int config_yaml(struct config_builder *b, const char *text, size_t n, enum cfg_origin origin);
int config_env(struct config_builder *b, char *const *environ_);
int config_set(struct config_builder *b, const char *key, const char *value,
               enum cfg_origin origin);
int config_assign(struct config_builder *b, const char *key_equals_value); /* command line */
/* Give `b` whatever was given to `over`, of the same origin. */
void config_over(struct config_builder *b, const struct config_builder *over);

/* Resolve, check bounds and cross-field rules (fields of the draw counters included). */
int config_finish(struct config_builder *b, struct config *out);

/* The resolved configuration as YAML, every key, sorted by the table; with_origin adds a
 * comment per line. Reading it back gives the same struct. */
int config_print(const struct config *c, const struct config_builder *origin, FILE *out);
/* Only the keys of scope run, as YAML: what a learner sends to its workers. malloc'ed. */
int config_run_yaml(const struct config *c, char **out, size_t *n);
/* The first key of scope run whose value differs, or NULL. */
const char *config_run_difference(const struct config *a, const struct config *b);
/* BLAKE2b over the scope-run keys in table order. */
void config_digest(const struct config *c, struct digest *out);
/* Reference of all keys as Markdown (docs/config.md is generated by it). */
void config_reference(FILE *out);
/* The names of the presets, NULL-terminated. */
const char *const *config_preset_names(void);

/* Defaults alone, for tests and tools. */
void config_defaults(struct config *out);
/* preset resolved for a map, as `--preset name --map map` alone would give it. */
int config_preset_for(struct config *out, const char *preset, const char *map);

/* Nearest name by edit distance for "did you mean": NULL if none is near. */
const char *nearest_name(const char *word, const char *const *names, size_t n);

#endif
