/* SPDX-License-Identifier: Apache-2.0 */
/* verbs.h - what `mag` can do: one function per verb, listed in main.c.
 *
 * argv[0] is the verb's name. Each returns an exit status of base/err.h, 0 only on success. */
#ifndef MAG_VERBS_H
#define MAG_VERBS_H

#define MAG_VERSION "0.1.0"

int verb_train(int argc, char **argv);
int verb_resume(int argc, char **argv);
int verb_eval(int argc, char **argv);
int verb_replay(int argc, char **argv);
int verb_inspect(int argc, char **argv);
int verb_bench(int argc, char **argv);
int verb_config(int argc, char **argv);
int verb_doctor(int argc, char **argv);
int verb_status(int argc, char **argv);
int verb_healthcheck(int argc, char **argv);
int verb_version(int argc, char **argv);
int verb_learner(int argc, char **argv);
int verb_actor(int argc, char **argv);
int verb_planner(int argc, char **argv);

#endif
