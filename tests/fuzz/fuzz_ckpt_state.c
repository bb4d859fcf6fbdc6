/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_ckpt_state.c - the JSON of a checkpoint comes from a disk that may lie.
 *
 * The input stands in a checkpoint directory once as state.json and once as MANIFEST.json.
 * Whatever is accepted as a state must be in bounds. */
#include "base/err.h"
#include "base/log.h"
#include "fuzz.h"
#include "learner/ckpt.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char dir[64];

static void clean(void)
{
    static const char *const names[] = {"state.json", "MANIFEST.json"};
    char path[128];
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        unlink(path);
    }
    rmdir(dir);
}

static void put(const char *name, const uint8_t *data, size_t size)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "wb");
    bug_on(!f || fwrite(data, 1, size, f) != size);
    fclose(f);
}

static void open_dir(void)
{
    snprintf(dir, sizeof dir, "%s/mag-fuzz-XXXXXX",
             access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
    bug_on(!mkdtemp(dir));
    log_init("fuzz", "", LOG_ERROR, LOG_JSON);
    atexit(clean);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ckpt_state s;
    struct digest config, hash;
    char found[128];
    if (!dir[0])
        open_dir();
    put("state.json", data, size);
    put("MANIFEST.json", data, size);
    if (!ckpt_read_state(dir, &s, &config)) {
        bug_on(s.phase < PHASE_COLLECT || s.phase > PHASE_POLICY);
        bug_on(!isfinite(s.entropy_weight) || !isfinite(s.elapsed_s));
        bug_on(s.iteration > INT64_MAX || s.next_episode > INT64_MAX);
    }
    bug_on(!ckpt_find(dir, found, sizeof found)); /* there are no tensors: never whole */
    bug_on(!ckpt_hash(dir, &hash));
    return 0;
}
