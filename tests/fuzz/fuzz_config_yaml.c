/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_config_yaml.c - a configuration that is accepted prints, and reads back the same. */
#include "base/config.h"
#include "base/err.h"
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

static void check_again(const struct config *c)
{
    struct config back;
    struct config_builder *b = NULL;
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    if (!out || config_begin(&b))
        abort();
    int err = config_print(c, NULL, out);
    fclose(out);
    bug_on(err);
    err = config_yaml(b, text, n, ORIGIN_FILE);
    bug_on(err);
    err = config_finish(b, &back);
    bug_on(err);
    bug_on(memcmp(c, &back, sizeof back) != 0);
    config_end(b);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config c;
    struct config_builder *b = NULL;
    if (config_begin(&b))
        abort();
    int err = config_yaml(b, (const char *)data, size, ORIGIN_FILE);
    if (!err)
        err = config_finish(b, &c);
    if (!err)
        check_again(&c);
    else
        bug_on(!err_text()[0]); /* every refusal has its sentence */
    config_end(b);
    return 0;
}
