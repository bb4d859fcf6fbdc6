/* SPDX-License-Identifier: Apache-2.0 */
/* test_net.c - links, wake handles and endpoints, on one loop and ephemeral addresses. */
#include "suite.h"

#include "net/link.h"

#include "base/err.h"

#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

enum { ECHOES = 20000, WINDOW = 200, MAX_MSG = 64 * 1024 };

struct bench {
    uv_loop_t loop;
    struct link_ctx *ctx;
    struct link *server, *client;
    uv_timer_t deadline;
    size_t sent, echoed, back, bad, target;
    size_t client_got;
    struct link_msg *kept;
    bool timed_out, keep, silent;
};

static const unsigned char envelope[8] = {'M', 'G', 1, 0, 1, 0, 0, 0};

static unsigned char *body_of(const void *data, size_t n)
{
    unsigned char *b = malloc(n ? n : 1);
    ck_assert_ptr_nonnull(b);
    memcpy(b, data, n);
    return b;
}

static void on_deadline(uv_timer_t *t)
{
    struct bench *b = t->data;
    b->timed_out = true;
    uv_stop(&b->loop);
}

static void server_recv(struct link *ln, void *arg, struct link_msg *m)
{
    struct bench *b = arg;
    b->echoed++;
    if (b->silent) {
        if (b->echoed == b->target)
            uv_stop(&b->loop);
        return;
    }
    if (b->keep) {
        b->kept = link_msg_take(m);
        uv_stop(&b->loop);
        return;
    }
    ck_assert_int_eq(link_send(ln, &m->peer, m->frame[0].data,
                               body_of(m->frame[1].data, m->frame[1].n), m->frame[1].n, NULL, 0,
                               NULL, NULL),
                     0);
}

static void server_bad(struct link *ln, void *arg, const struct link_peer *peer)
{
    struct bench *b = arg;
    (void)ln;
    ck_assert_uint_gt(peer->n, 0);
    b->bad++;
}

static void client_fill(struct bench *b)
{
    while (b->sent < b->target && b->sent - b->back < WINDOW) {
        uint64_t n = b->sent++;
        ck_assert_int_eq(link_send(b->client, NULL, envelope, body_of(&n, sizeof n), sizeof n,
                                   NULL, 0, NULL, NULL),
                         0);
    }
}

static void client_recv(struct link *ln, void *arg, struct link_msg *m)
{
    struct bench *b = arg;
    uint64_t n;
    (void)ln;
    ck_assert_uint_eq(m->frames, 2);
    ck_assert_uint_eq(m->frame[1].n, sizeof n);
    memcpy(&n, m->frame[1].data, sizeof n);
    ck_assert_uint_eq(n, b->back); /* in order, none lost */
    b->back++;
    client_fill(b);
    if (b->back == b->target)
        uv_stop(&b->loop);
}

static struct link_cfg server_cfg(struct bench *b, const char *endpoint)
{
    return (struct link_cfg){.server = true,
                             .endpoint = endpoint,
                             .max_msg = MAX_MSG,
                             .rcvhwm = 1000,
                             .sndhwm = 1000,
                             .on_recv = server_recv,
                             .on_bad = server_bad,
                             .arg = b};
}

static void bench_open(struct bench *b, const char *endpoint)
{
    memset(b, 0, sizeof *b);
    ck_assert_int_eq(uv_loop_init(&b->loop), 0);
    ck_assert_int_eq(link_ctx_open(&b->ctx, 1), 0);
    struct link_cfg c = server_cfg(b, endpoint);
    ck_assert_int_eq(link_open(&b->server, b->ctx, &b->loop, &c), 0);
    uv_timer_init(&b->loop, &b->deadline);
    b->deadline.data = b;
    uv_timer_start(&b->deadline, on_deadline, 60000, 0);
}

static void bench_client(struct bench *b)
{
    struct link_cfg c = server_cfg(b, link_endpoint(b->server));
    c.server = false;
    c.on_recv = client_recv;
    ck_assert_int_eq(link_open(&b->client, b->ctx, &b->loop, &c), 0);
}

static void count_done(void *arg)
{
    (*(int *)arg)++;
}

/* Ends everything and checks that nothing is left on the loop. */
static void bench_close(struct bench *b)
{
    int done = 0, expected = 1 + (b->client != NULL);
    link_close(b->server, count_done, &done);
    if (b->client)
        link_close(b->client, count_done, &done);
    uv_close((uv_handle_t *)&b->deadline, NULL);
    uv_run(&b->loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(done, expected);
    ck_assert_int_eq(uv_loop_close(&b->loop), 0);
    link_ctx_close(b->ctx);
    ck_assert(!b->timed_out);
}

static void echo_all(const char *endpoint)
{
    struct bench b;
    bench_open(&b, endpoint);
    bench_client(&b);
    b.target = ECHOES;
    client_fill(&b);
    uv_run(&b.loop, UV_RUN_DEFAULT);
    ck_assert_uint_eq(b.back, ECHOES);
    ck_assert_uint_eq(link_missed_edges(b.server), 0);
    ck_assert_uint_eq(link_missed_edges(b.client), 0);
    ck_assert_uint_eq(link_unroutable(b.server), 0);
    ck_assert_uint_eq(link_queued(b.server), 0);
    bench_close(&b);
}

START_TEST(twenty_thousand_echoes_over_tcp_miss_no_edge)
{
    echo_all("tcp://127.0.0.1:*");
}
END_TEST

static void ipc_endpoint(char *out, size_t n, char *dir, size_t dir_n)
{
    char id[32];
    snprintf(id, sizeof id, "test-%d", (int)getpid());
    ck_assert_int_eq(endpoint_ipc_dir(dir, dir_n, id), 0);
    snprintf(out, n, "ipc://%s/echo", dir);
}

START_TEST(twenty_thousand_echoes_over_ipc_miss_no_edge)
{
    char endpoint[128], dir[96];
    ipc_endpoint(endpoint, sizeof endpoint, dir, sizeof dir);
    echo_all(endpoint);
    rmdir(dir);
}
END_TEST

static void count_turn(uv_prepare_t *p)
{
    (*(size_t *)p->data)++;
}

static void stop_loop(uv_timer_t *t)
{
    uv_stop(t->loop);
}

START_TEST(a_link_with_nothing_to_do_lets_the_loop_sleep)
{
    struct bench b;
    uv_prepare_t turns;
    uv_timer_t pause;
    size_t count = 0;
    bench_open(&b, "tcp://127.0.0.1:*");
    bench_client(&b);
    b.target = 300;
    client_fill(&b);
    uv_run(&b.loop, UV_RUN_DEFAULT);
    uv_prepare_init(&b.loop, &turns);
    turns.data = &count;
    uv_prepare_start(&turns, count_turn);
    uv_timer_init(&b.loop, &pause);
    uv_timer_start(&pause, stop_loop, 500, 0);
    uv_run(&b.loop, UV_RUN_DEFAULT);
    ck_assert_msg(count < 200, "%zu turns in half a second", count); /* spinning: 100 000 */
    uv_close((uv_handle_t *)&turns, NULL);
    uv_close((uv_handle_t *)&pause, NULL);
    bench_close(&b);
}
END_TEST

/* ------------------------------------------------------------- peers that behave badly */

struct raw {
    void *ctx, *sock;
};

static void raw_open(struct raw *r, const char *endpoint)
{
    int linger = 0;
    r->ctx = zmq_ctx_new();
    r->sock = zmq_socket(r->ctx, ZMQ_DEALER);
    zmq_setsockopt(r->sock, ZMQ_LINGER, &linger, sizeof linger);
    ck_assert_int_eq(zmq_connect(r->sock, endpoint), 0);
}

static void raw_close(struct raw *r)
{
    zmq_close(r->sock);
    zmq_ctx_term(r->ctx);
}

static void raw_send(struct raw *r, size_t frames, size_t bytes)
{
    static unsigned char zeros[2 * MAX_MSG];
    for (size_t i = 0; i < frames; i++)
        zmq_send(r->sock, i ? zeros : envelope, i ? bytes : sizeof envelope,
                 i + 1 < frames ? ZMQ_SNDMORE : 0);
}

static void run_until(struct bench *b, const size_t *count, size_t target)
{
    while (*count < target && !b->timed_out)
        uv_run(&b->loop, UV_RUN_ONCE);
}

START_TEST(wrong_frame_counts_are_reported_and_the_peer_can_go_on)
{
    struct bench b;
    struct raw r;
    bench_open(&b, "tcp://127.0.0.1:*");
    raw_open(&r, link_endpoint(b.server));
    raw_send(&r, 1, 0);
    raw_send(&r, 4, 10);
    raw_send(&r, 9, 10);
    raw_send(&r, 2, 10);
    raw_send(&r, 3, 10);
    run_until(&b, &b.echoed, 2);
    ck_assert_uint_eq(b.bad, 3);
    ck_assert_uint_eq(b.echoed, 2);
    raw_close(&r);
    bench_close(&b);
}
END_TEST

START_TEST(a_burst_is_served_batch_after_batch_without_new_edges)
{
    struct bench b;
    struct raw r;
    bench_open(&b, "tcp://127.0.0.1:*");
    b.silent = true; /* answers would wake the loop by themselves */
    raw_open(&r, link_endpoint(b.server));
    for (int i = 0; i < 900; i++)
        raw_send(&r, 2, 10);
    usleep(300000); /* all of it waits in the socket before the loop looks */
    b.target = 900;
    uv_run(&b.loop, UV_RUN_DEFAULT);
    ck_assert_uint_eq(b.echoed, 900);
    ck_assert_uint_eq(link_missed_edges(b.server), 0);
    raw_close(&r);
    bench_close(&b);
}
END_TEST

START_TEST(an_oversized_frame_never_arrives_and_hurts_nobody_else)
{
    struct bench b;
    struct raw bad, good;
    bench_open(&b, "tcp://127.0.0.1:*");
    raw_open(&bad, link_endpoint(b.server));
    raw_open(&good, link_endpoint(b.server));
    raw_send(&bad, 2, MAX_MSG + 1);
    raw_send(&good, 2, MAX_MSG);
    run_until(&b, &b.echoed, 1);
    ck_assert_uint_eq(b.echoed, 1);
    ck_assert_uint_eq(b.bad, 0);
    raw_close(&bad);
    raw_close(&good);
    bench_close(&b);
}
END_TEST

START_TEST(a_vanished_peer_is_counted_and_others_are_served)
{
    struct bench b;
    bench_open(&b, "tcp://127.0.0.1:*");
    struct link_peer nobody = {.n = 5, .id = {0, 1, 2, 3, 4}};
    ck_assert_int_eq(
        link_send(b.server, &nobody, envelope, body_of("x", 1), 1, NULL, 0, NULL, NULL), 0);
    bench_client(&b);
    b.target = 10;
    client_fill(&b);
    uv_run(&b.loop, UV_RUN_DEFAULT);
    ck_assert_uint_eq(b.back, 10);
    ck_assert_uint_eq(link_unroutable(b.server), 1);
    ck_assert_uint_eq(link_queued(b.server), 0);
    bench_close(&b);
}
END_TEST

/* Whoever asks and never reads would else fill the server's memory with answers. */
START_TEST(what_waits_for_one_peer_is_bounded_and_others_are_served)
{
    enum { FLOOD = 5000 };
    struct bench b;
    struct link_peer other = {.n = 5, .id = {0, 1, 2, 3, 4}};
    bench_open(&b, "tcp://127.0.0.1:*");
    bench_client(&b);
    b.keep = true;
    b.target = 1;
    client_fill(&b);
    uv_run(&b.loop, UV_RUN_DEFAULT);
    size_t taken = 0;
    for (uint64_t n = 0; n < FLOOD; n++) {
        unsigned char *body = body_of(&n, sizeof n);
        if (link_send(b.server, &b.kept->peer, envelope, body, sizeof n, NULL, 0, NULL, NULL))
            free(body);
        else
            taken++;
    }
    ck_assert_uint_eq(taken, LINK_PEER_WAITING_MAX);
    ck_assert_uint_eq(link_queued(b.server), taken);
    ck_assert_int_eq(
        link_send(b.server, &other, envelope, body_of("x", 1), 1, NULL, 0, NULL, NULL), 0);
    b.sent = b.target = taken; /* those it takes arrive, in order */
    uv_run(&b.loop, UV_RUN_DEFAULT);
    ck_assert_uint_eq(b.back, taken);
    link_msg_free(b.kept);
    bench_close(&b);
}
END_TEST

START_TEST(a_peer_that_dies_midway_leaves_the_server_usable)
{
    struct bench b;
    bench_open(&b, "tcp://127.0.0.1:*");
    for (int i = 0; i < 3; i++) {
        struct raw r;
        size_t before = b.echoed;
        raw_open(&r, link_endpoint(b.server));
        raw_send(&r, 2, 100);
        run_until(&b, &b.echoed, before + 1);
        raw_close(&r);
    }
    bench_client(&b);
    b.target = 10;
    client_fill(&b);
    uv_run(&b.loop, UV_RUN_DEFAULT);
    ck_assert_uint_eq(b.back, 10);
    bench_close(&b);
}
END_TEST

/* ----------------------------------------------------------------------------- ownership */

static void count_free(void *data, void *hint)
{
    (void)data;
    __atomic_add_fetch((int *)hint, 1, __ATOMIC_SEQ_CST);
}

START_TEST(bulk_travels_without_a_copy_and_is_freed_once)
{
    struct bench b;
    static unsigned char bulk[MAX_MSG];
    int freed = 0;
    for (size_t i = 0; i < sizeof bulk; i++)
        bulk[i] = (unsigned char)(i * 7);
    bench_open(&b, "tcp://127.0.0.1:*");
    bench_client(&b);
    b.keep = true;
    ck_assert_int_eq(link_send(b.client, NULL, envelope, body_of("head", 4), 4, bulk,
                               sizeof bulk, count_free, &freed),
                     0);
    uv_run(&b.loop, UV_RUN_DEFAULT);
    ck_assert_ptr_nonnull(b.kept);
    ck_assert_uint_eq(b.kept->frames, 3);
    ck_assert_mem_eq(b.kept->frame[0].data, envelope, 8);
    ck_assert_mem_eq(b.kept->frame[1].data, "head", 4);
    ck_assert_uint_eq(b.kept->frame[2].n, sizeof bulk);
    ck_assert_mem_eq(b.kept->frame[2].data, bulk, sizeof bulk);
    link_msg_free(b.kept);
    bench_close(&b);
    ck_assert_int_eq(freed, 1);
}
END_TEST

START_TEST(messages_never_sent_are_freed_at_close)
{
    struct bench b;
    static unsigned char bulk[16];
    int freed = 0;
    bench_open(&b, "tcp://127.0.0.1:*");
    struct link_cfg c = server_cfg(&b, "tcp://127.0.0.1:1"); /* nobody listens there */
    c.server = false;
    ck_assert_int_eq(link_open(&b.client, b.ctx, &b.loop, &c), 0);
    for (int i = 0; i < 100; i++)
        ck_assert_int_eq(link_send(b.client, NULL, envelope, body_of("x", 1), 1, bulk,
                                   sizeof bulk, count_free, &freed),
                         0);
    uv_run(&b.loop, UV_RUN_NOWAIT);
    ck_assert_uint_eq(link_queued(b.client), 100);
    bench_close(&b);
    ck_assert_int_eq(freed, 100);
}
END_TEST

START_TEST(a_bound_address_is_refused_with_the_remedy)
{
    struct bench b;
    struct link *second = NULL;
    bench_open(&b, "tcp://127.0.0.1:*");
    struct link_cfg c = server_cfg(&b, link_endpoint(b.server));
    ck_assert_int_eq(link_open(&second, b.ctx, &b.loop, &c), ERR_IO);
    ck_assert_ptr_nonnull(strstr(err_text(), "in use"));
    ck_assert_ptr_nonnull(strstr(err_text(), c.endpoint));
    ck_assert_ptr_null(second);
    c.endpoint = "nonsense";
    ck_assert_int_eq(link_open(&second, b.ctx, &b.loop, &c), ERR_IO);
    ck_assert_ptr_nonnull(strstr(err_text(), "expected"));
    bench_close(&b);
}
END_TEST

/* ------------------------------------------------------------------------------- wake */

struct wake_test {
    struct wake *w;
    uv_loop_t *loop;
    int calls;
};

static void on_wake(void *arg)
{
    struct wake_test *t = arg;
    t->calls++;
    wake_close(t->w);
}

static void *ring(void *arg)
{
    wake_send(arg);
    return NULL;
}

START_TEST(a_wake_from_another_thread_runs_on_the_loop)
{
    uv_loop_t loop;
    struct wake_test t = {.loop = &loop};
    pthread_t thread;
    uv_loop_init(&loop);
    ck_assert_int_eq(wake_open(&t.w, &loop, on_wake, &t), 0);
    pthread_create(&thread, NULL, ring, t.w);
    pthread_join(thread, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(t.calls, 1);
    ck_assert_int_eq(uv_loop_close(&loop), 0);
}
END_TEST

/* --------------------------------------------------------------------------- endpoints */

START_TEST(only_ipc_and_loopback_are_local)
{
    static const char *const local[] = {"ipc:///tmp/x",         "tcp://127.0.0.1:5560",
                                        "tcp://127.9.8.7:1",    "tcp://[::1]:5560",
                                        "tcp://localhost:5560", "inproc://x"};
    static const char *const remote[] = {"tcp://*:5560",
                                         "tcp://0.0.0.0:5560",
                                         "tcp://[::]:5560",
                                         "tcp://10.0.0.1:1",
                                         "tcp://127.0.0.1.example.org:1",
                                         "tcp://learner:5560",
                                         "tcp://127.0.0.1",
                                         "udp://127.0.0.1:1",
                                         "tcp://128.0.0.1:1"};
    for (size_t i = 0; i < sizeof local / sizeof *local; i++)
        ck_assert_msg(endpoint_is_local(local[i]), "%s", local[i]);
    for (size_t i = 0; i < sizeof remote / sizeof *remote; i++)
        ck_assert_msg(!endpoint_is_local(remote[i]), "%s", remote[i]);
}
END_TEST

START_TEST(the_ipc_directory_is_private_and_short)
{
    char dir[96], again[96], id[64];
    struct stat st;
    snprintf(id, sizeof id, "test-dir-%d", (int)getpid());
    ck_assert_int_eq(endpoint_ipc_dir(dir, sizeof dir, id), 0);
    ck_assert_int_eq(stat(dir, &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0700);
    ck_assert_uint_lt(strlen(dir), 90);
    ck_assert_int_eq(endpoint_ipc_dir(again, sizeof again, id), 0);
    ck_assert_str_eq(dir, again);
    ck_assert_int_eq(chmod(dir, 0755), 0);
    ck_assert_int_eq(endpoint_ipc_dir(again, sizeof again, id), ERR_IO);
    ck_assert_ptr_nonnull(strstr(err_text(), "0700"));
    rmdir(dir);
    ck_assert_int_eq(endpoint_ipc_dir(dir, sizeof dir, "../x"), ERR_INVAL);
    ck_assert_int_eq(endpoint_ipc_dir(dir, sizeof dir, ""), ERR_INVAL);
    setenv("XDG_RUNTIME_DIR", "/a/very/long/path/that/does/not/exist/at/all", 1);
    ck_assert_int_eq(endpoint_ipc_dir(dir, sizeof dir, id), 0);
    ck_assert_int_eq(strncmp(dir, "/tmp/", 5), 0);
    rmdir(dir);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("net");
    TCase *tc = tcase_create("net");
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, twenty_thousand_echoes_over_tcp_miss_no_edge);
    tcase_add_test(tc, twenty_thousand_echoes_over_ipc_miss_no_edge);
    tcase_add_test(tc, a_link_with_nothing_to_do_lets_the_loop_sleep);
    tcase_add_test(tc, wrong_frame_counts_are_reported_and_the_peer_can_go_on);
    tcase_add_test(tc, a_burst_is_served_batch_after_batch_without_new_edges);
    tcase_add_test(tc, an_oversized_frame_never_arrives_and_hurts_nobody_else);
    tcase_add_test(tc, a_vanished_peer_is_counted_and_others_are_served);
    tcase_add_test(tc, what_waits_for_one_peer_is_bounded_and_others_are_served);
    tcase_add_test(tc, a_peer_that_dies_midway_leaves_the_server_usable);
    tcase_add_test(tc, bulk_travels_without_a_copy_and_is_freed_once);
    tcase_add_test(tc, messages_never_sent_are_freed_at_close);
    tcase_add_test(tc, a_bound_address_is_refused_with_the_remedy);
    tcase_add_test(tc, a_wake_from_another_thread_runs_on_the_loop);
    tcase_add_test(tc, only_ipc_and_loopback_are_local);
    tcase_add_test(tc, the_ipc_directory_is_private_and_short);
    suite_add_tcase(s, tc);
    return run_suite(s);
}
