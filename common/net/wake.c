/* SPDX-License-Identifier: Apache-2.0 */
/* wake.c - ring the loop's bell from another thread.
 *
 * Bells coalesce: one call of fn may stand for many wake_send, so the receiver drains its queue
 * each time. The memory goes when the loop has closed the handle, in a later turn than
 * wake_close; threads that might still ring must be joined before. */
#include "net/link.h"

#include "base/err.h"

#include <stdlib.h>

struct wake {
    uv_async_t async;
    void (*fn)(void *arg);
    void *arg;
};

static void on_async(uv_async_t *h)
{
    struct wake *w = h->data;
    w->fn(w->arg);
}

int wake_open(struct wake **out, uv_loop_t *loop, void (*fn)(void *arg), void *arg)
{
    struct wake *w = calloc(1, sizeof *w);
    if (!w)
        return err_set(ERR_NOMEM, "out of memory for a wake handle");
    w->fn = fn;
    w->arg = arg;
    w->async.data = w;
    if (uv_async_init(loop, &w->async, on_async)) {
        free(w);
        return err_set(ERR_IO, "cannot create a wake handle: too many open files?");
    }
    w->async.data = w;
    *out = w;
    return 0;
}

void wake_send(struct wake *w)
{
    uv_async_send(&w->async);
}

static void on_closed(uv_handle_t *h)
{
    free(h->data);
}

void wake_close(struct wake *w)
{
    if (w)
        uv_close((uv_handle_t *)&w->async, on_closed);
}
