/* SPDX-License-Identifier: Apache-2.0 */
/* env.c - the registry: one line per environment. */
#include "env/env.h"

#include "lbf_env.h"
#include "smac_env.h"

#include "base/err.h"

#include <string.h>

static const struct env_class *const classes[] = {&env_smac, &env_lbf, NULL};

const struct env_class *const *env_classes(void)
{
    return classes;
}

int env_find(const char *name, const struct env_class **out)
{
    const char *names[sizeof classes / sizeof classes[0]];
    size_t n = 0;
    for (; classes[n]; n++) {
        names[n] = classes[n]->name;
        if (strcmp(names[n], name) == 0) {
            *out = classes[n];
            return 0;
        }
    }
    const char *near = nearest_name(name, names, n);
    return err_set(ERR_CONFIG, "env.name: no environment '%s', %s '%s'", name,
                   near ? "did you mean" : "there is", near ? near : names[0]);
}
