/* SPDX-License-Identifier: Apache-2.0 */
/* identity.c - who a worker is, and how long it waits for an answer. */
#include "work/worker.h"

#include "base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

enum { RETRY_MIN_MS = 1000, RETRY_DOUBLINGS = 5 };

static int random_id(unsigned char id[WIRE_ID])
{
    return getrandom(id, WIRE_ID, 0) == WIRE_ID
               ? 0
               : err_set(ERR_IO, "no random numbers from the system: %s", strerror(errno));
}

/* 1: read; 0: not there; ERR_IO. */
static int read_id(unsigned char id[WIRE_ID], const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0
                               : err_set(ERR_IO, "cannot read %s: %s", path, strerror(errno));
    unsigned char more;
    bool ok = read(fd, id, WIRE_ID) == WIRE_ID && read(fd, &more, 1) == 0;
    close(fd);
    return ok ? 1 : err_set(ERR_IO, "%s is not a worker's id: remove it", path);
}

/* Written aside and renamed, so that a half-written id is never read. */
static int write_id(const unsigned char id[WIRE_ID], const char *path)
{
    char tmp[4096];
    if (snprintf(tmp, sizeof tmp, "%s.tmp", path) >= (int)sizeof tmp)
        return err_set(ERR_IO, "the path %s is too long", path);
    int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool ok = fd >= 0 && write(fd, id, WIRE_ID) == WIRE_ID && fdatasync(fd) == 0;
    if (fd >= 0)
        close(fd);
    if (!ok || rename(tmp, path))
        return err_set(ERR_IO, "cannot write %s: %s", path, strerror(errno));
    return 0;
}

int worker_identity(unsigned char id[WIRE_ID], const char *state_dir)
{
    char path[4096];
    if (!state_dir || !*state_dir)
        return random_id(id);
    if (mkdir(state_dir, 0700) && errno != EEXIST)
        return err_set(ERR_IO, "cannot make %s: %s", state_dir, strerror(errno));
    if (snprintf(path, sizeof path, "%s/worker_id", state_dir) >= (int)sizeof path)
        return err_set(ERR_IO, "the path %s is too long", state_dir);
    int err = read_id(id, path);
    if (err)
        return err < 0 ? err : 0;
    err = random_id(id);
    return err ? err : write_id(id, path);
}

void worker_rtt_add(struct worker_rtt *r, int64_t sample_ms)
{
    double s = (double)sample_ms;
    r->smoothed_ms = r->smoothed_ms > 0 ? 0.875 * r->smoothed_ms + 0.125 * s : s;
}

int64_t worker_rtt_timeout(const struct worker_rtt *r, unsigned resends)
{
    int64_t base = (int64_t)(2 * r->smoothed_ms);
    if (base < RETRY_MIN_MS)
        base = RETRY_MIN_MS;
    return base << (resends < RETRY_DOUBLINGS ? resends : RETRY_DOUBLINGS);
}
