/* SPDX-License-Identifier: Apache-2.0 */
/* control.h - asking a learner over its control socket, without a session or a loop.
 *
 * A DEALER socket with a deadline: for verbs that ask once and for `mag train`'s progress
 * line. */
#ifndef MAG_CONTROL_H
#define MAG_CONTROL_H

#include "proto/wire.h"

#include <stdint.h>

struct control; /* opaque; one thread */

/* endpoint: ipc://..., tcp://host:port, or a bare host name (port 5560). ERR_CONFIG. */
int control_open(struct control **out, const char *endpoint);
void control_close(struct control *c);

/* Send WIRE_STATUS, wait for the reply: JSON text, valid until the next call. ERR_AGAIN when no
 * answer came within timeout_ms. */
int control_status(struct control *c, int64_t timeout_ms, const char **json);

/* Send a message that carries nothing (WIRE_CHECKPOINT, WIRE_DRAIN_ALL). */
int control_send(struct control *c, enum wire_type type);

enum { CONTROL_ENDPOINT = 280 };
/* "learner" -> tcp://learner:<port>; anything with :// stays. */
void control_endpoint(char out[CONTROL_ENDPOINT], const char *where, unsigned port);

#endif
