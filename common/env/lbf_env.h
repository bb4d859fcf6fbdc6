/* SPDX-License-Identifier: Apache-2.0 */
/* lbf_env.h - the environment "lbf": Level-Based Foraging over the rules of env/lbf.h. */
#ifndef ENV_LBF_ENV_H
#define ENV_LBF_ENV_H

#include "env/env.h"

extern const struct env_class env_lbf;

#endif
