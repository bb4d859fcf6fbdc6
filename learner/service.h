/* SPDX-License-Identifier: Apache-2.0 */
/* service.h - the loop's side of the learner: sockets, sessions, leases, timers.
 *
 * Belongs to the loop thread. It decides who does what and never computes: uploads go to the
 * store thread, requests come from the trainer through the port. */
#ifndef LEARNER_SERVICE_H
#define LEARNER_SERVICE_H

#include "board.h"
#include "env/env.h"
#include "intake.h"
#include "port.h"
#include "session.h"
#include "weights.h"

#include <uv.h>

struct service; /* opaque */

struct service_cfg {
    const struct config *cfg;
    const struct env_spec *spec;
    struct wire_pin pin;
    unsigned char run_id[WIRE_ID];
    const char *run_dir;
    struct port *port;
    struct weights *weights;
    struct board *board;
    uv_loop_t *loop;
    size_t result_bytes;         /* largest RESULT part */
    void (*on_drain)(void *arg); /* an administrator asks to save and stop */
    void *arg;
};

/* Before anything is created: may these endpoints be bound at all? ERR_CONFIG. */
int service_check(const struct config *cfg);
/* Bind the three sockets and start the timers. Refuses to listen beyond this machine without
 * service.insecure. ERR_CONFIG, ERR_IO. */
int service_open(struct service **out, const struct service_cfg *c);
/* The store thread is up: uploads can be taken. Before, everything but STATUS waits. */
void service_attach(struct service *s, struct intake *in);
/* Something happened elsewhere: look. Loop thread (use a wake to get there). */
void service_look(struct service *s);
/* No more work: workers are told to finish and leave. */
void service_finish(struct service *s, const char *reason);
/* True once all workers have left. */
bool service_empty(struct service *s);
/* Stop timers, close sockets; `done` runs on the loop when all handles are gone. */
void service_close(struct service *s, void (*done)(void *arg), void *arg);
void service_free(struct service *s); /* after done, and after the loop ended */

const char *service_endpoint(const struct service *s, enum wire_plane plane);

#endif
