/* SPDX-License-Identifier: Apache-2.0 */
/* pbscan.h - look at protobuf bytes before protobuf-c does, and bound what it may take. */
#ifndef PROTO_PBSCAN_H
#define PROTO_PBSCAN_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PB_DEPTH = 16, PB_FIELDS = 10000, PB_UNKNOWN = 32 };

/* Walk the bytes along the schema: tags and lengths hold, nesting <= PB_DEPTH, at most
 * PB_FIELDS fields of which PB_UNKNOWN unknown, no groups, no NUL inside strings. 0, or
 * ERR_PROTO with err_text(). Allocates nothing. */
int pb_scan(const ProtobufCMessageDescriptor *d, const void *p, size_t n);

/* Where the last length-delimited field `number` of the outermost message lies (the one that
 * counts). False: not there. Only after pb_scan said 0. */
bool pb_find(const void *p, size_t n, uint32_t number, const unsigned char **out,
             size_t *out_n);

/* An allocator that gives at most `budget` bytes in all, then NULL. */
struct pb_budget {
    ProtobufCAllocator alloc;
    size_t left;
};
void pb_budget_init(struct pb_budget *b, size_t budget);

#endif
