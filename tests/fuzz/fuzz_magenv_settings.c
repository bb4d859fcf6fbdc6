/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_magenv_settings.c - a settings line is refused with a sentence, or gives whole sizes. */
#include "base/err.h"
#include "fuzz.h"
#include "magenv.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct magenv_spec spec;
    char *text = malloc(size + 1);
    if (!text)
        abort();
    if (size)
        memcpy(text, data, size);
    text[size] = '\0';
    if (magenv_spec(text, &spec))
        bug_on(!magenv_error()[0]);
    else
        bug_on(!spec.n_agents || !spec.obs || !spec.actions || !spec.line[0]);
    free(text);
    return 0;
}
