/* SPDX-License-Identifier: Apache-2.0 */
/* smac_env.h - the environment "smac": the contract over the embedded battle engine. */
#ifndef ENV_SMAC_ENV_H
#define ENV_SMAC_ENV_H

#include "env/env.h"

extern const struct env_class env_smac;

#endif
