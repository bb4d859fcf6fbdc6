/* SPDX-License-Identifier: Apache-2.0 */
/* endpoint.c - which addresses are private to this machine, and where ipc sockets live.
 *
 * A learner without keys may listen only where other machines cannot reach it. Names are not
 * resolved (an answer could change later): loopback literals, "localhost" and ipc count. */
#include "net/link.h"

#include "base/err.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { IPC_DIR_MAX = 90 }; /* AF_UNIX allows 107 bytes; the socket's own name follows */

static bool is_loopback(const char *host)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (!strcmp(host, "localhost"))
        return true;
    if (inet_pton(AF_INET, host, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == 127;
    return inet_pton(AF_INET6, host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

bool endpoint_is_local(const char *endpoint)
{
    if (!strncmp(endpoint, "ipc://", 6) || !strncmp(endpoint, "inproc://", 9))
        return true;
    if (strncmp(endpoint, "tcp://", 6))
        return false;
    const char *host = endpoint + 6, *colon = strrchr(host, ':');
    char name[64];
    if (!colon)
        return false;
    size_t n = (size_t)(colon - host);
    if (n >= 2 && host[0] == '[' && host[n - 1] == ']') {
        host++;
        n -= 2;
    }
    if (n >= sizeof name)
        return false;
    memcpy(name, host, n);
    name[n] = 0;
    return is_loopback(name);
}

static bool id_ok(const char *id)
{
    return *id && !strstr(id, "..") &&
           strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") ==
               strlen(id);
}

/* Ours, a directory, and closed to everyone else. */
static int check_private(const char *path)
{
    struct stat st;
    if (lstat(path, &st))
        return err_set(ERR_IO, "cannot look at %s: %s", path, strerror(errno));
    if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 077))
        return err_set(ERR_IO,
                       "%s must be a directory of this user with mode 0700: remove it or set "
                       "XDG_RUNTIME_DIR",
                       path);
    return 0;
}

int endpoint_ipc_dir(char *out, size_t n, const char *id)
{
    const char *base = getenv("XDG_RUNTIME_DIR");
    char path[IPC_DIR_MAX];
    if (!id_ok(id))
        return err_set(ERR_INVAL, "'%s' cannot name a directory for sockets", id);
    int len = -1;
    if (base && base[0] == '/' && access(base, W_OK | X_OK) == 0)
        len = snprintf(path, sizeof path, "%s/mag-%s", base, id);
    if (len < 0 || len >= (int)sizeof path)
        len = snprintf(path, sizeof path, "/tmp/mag-%s", id);
    if (len >= (int)sizeof path || (size_t)len >= n)
        return err_set(ERR_INVAL, "the id '%s' makes the path of ipc sockets too long", id);
    if (mkdir(path, 0700) && errno != EEXIST)
        return err_set(ERR_IO, "cannot make %s: %s", path, strerror(errno));
    int err = check_private(path);
    if (!err)
        memcpy(out, path, (size_t)len + 1);
    return err;
}
