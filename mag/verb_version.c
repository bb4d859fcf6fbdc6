/* SPDX-License-Identifier: Apache-2.0 */
/* verb_version.c - `mag version`: the program and the libraries it runs with. */
#include "args.h"
#include "revision.h"
#include "verbs.h"

#include "base/err.h"
#include "nn/kern.h"

#include <google/protobuf-c/protobuf-c.h>
#include <jansson.h>
#include <sodium.h>
#include <sqlite3.h>
#include <stdio.h>
#include <uv.h>
#include <zmq.h>
#include <zstd.h>

int verb_version(int argc, char **argv)
{
    const struct flag flags[] = {{0}};
    struct args a = {
        .verb = "version", .usage = "", .about = "Prints versions.", .flags = flags};
    int status = args_parse(&a, argc, argv);
    if (status)
        return status == ARGS_HELP ? EXIT_OK : status;
    int major, minor, patch;
    zmq_version(&major, &minor, &patch);
    printf("mag %s%s%s\n", MAG_VERSION, MAG_REVISION[0] ? " " : "", MAG_REVISION);
    printf("zeromq %d.%d.%d, libuv %s, protobuf-c %s, sqlite %s, libsodium %s, zstd %s, "
           "jansson %s\n",
           major, minor, patch, uv_version_string(), protobuf_c_version(), sqlite3_libversion(),
           sodium_version_string(), ZSTD_versionString(), JANSSON_VERSION);
    const struct kern *best = NULL, *blas = NULL;
    if (!kern_get(ISA_AUTO, &best) && !kern_blas(&blas))
        printf("kernels %s, products by %s; %s, core %s\n", best->name, kern_library(best),
               kern_library(blas), kern_blas_core());
    return EXIT_OK;
}
