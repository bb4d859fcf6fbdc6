/* SPDX-License-Identifier: Apache-2.0 */
/* wire_samples.h - one small, valid message of every type, always the same bytes.
 *
 * The golden files, the fuzz corpora and the tests start from these. */
#ifndef SUPPORT_WIRE_SAMPLES_H
#define SUPPORT_WIRE_SAMPLES_H

#include "proto/wire.h"

struct wire_sample {
    const char *name; /* file name without extension */
    enum wire_type type;
    unsigned char *body; /* malloc'ed */
    size_t n;
};
enum { WIRE_SAMPLES_MAX = 32 };

/* Fills out[] and returns the number; aborts when packing fails. */
size_t wire_samples(struct wire_sample out[WIRE_SAMPLES_MAX]);
void wire_samples_free(struct wire_sample *s, size_t n);

/* The pieces, for tests that change one thing. Tensors are static storage. */
void sample_episode(struct wire_episode *e, bool with_state);
void sample_job(struct wire_job *j);
void sample_result(struct wire_result *r);
void sample_control(struct wire_control *c, enum wire_type type);

/* Parse by type, as a receiver would; 0 or the parser's error. */
int sample_parse(enum wire_type type, const void *body, size_t n);

#endif
