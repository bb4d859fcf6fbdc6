/* SPDX-License-Identifier: Apache-2.0 */
/* trainer_save.c - what outlives the process, and coming back from it.
 *
 * ORDER  A checkpoint says "D_e holds exactly the episodes below next_episode", so run.db is
 * synced first. Sets of weights do not survive: after a resume the same parameters are
 * published again, under ids that were never used (ids are reserved in run.db in blocks), with
 * the same digest, which is what stored episodes are matched by.
 *
 * THE COPY  Taken at the start of a policy update, when only policy and critic are about to
 * change; models and their moments are copied once per iteration. Its mutex is held while
 * another thread writes it. */
#include "trainer_priv.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/fault.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SET_BLOCK = 256, SET_LOW = 64 };

/* Counters as they stand now. */
static void fill_state(struct trainer *t, struct ckpt_state *st)
{
    const struct mag_train_state *m = mag_train_state(t->train);
    *st = t->st;
    memcpy(st->opt, m->opt, sizeof st->opt);
    st->entropy_weight = m->entropy_weight;
    st->skipped = m->skipped;
    memcpy(st->skipped_by, m->skipped_by, sizeof st->skipped_by);
    st->set_id = t->set.set_id;
    st->elapsed_s = trainer_elapsed(t);
}

static int write_out(struct trainer *t, const struct ckpt_state *st, const float *value,
                     const float *m, const float *v)
{
    struct ckpt_view view = {
        .params = &t->model->params,
        .value = value,
        .m = m,
        .v = v,
        .state = st,
        .config = &t->digest,
        .isa = trainer_isa(t),
        .products = trainer_products(t),
        .blas_core = kern_blas_core(),
    };
    int64_t begin = clock_mono_ms();
    int err = intake_sync(t->in);
    if (!err)
        err = ckpt_write(t->c.run_dir, &view, t->cfg->ckpt.keep ? t->cfg->ckpt.keep : 1);
    if (err) {
        log_error("checkpoint failed", "error=\"%s\"", err_text());
        return err;
    }
    static const char *const phase[] = {"collect", "model", "rm", "policy"};
    log_info("checkpoint written", "iteration=%llu phase=%s step=%llu env_steps=%llu ms=%lld",
             (unsigned long long)st->iteration, phase[st->phase], (unsigned long long)st->step,
             (unsigned long long)st->env_steps, (long long)(clock_mono_ms() - begin));
    return 0;
}

int trainer_save(struct trainer *t)
{
    struct ckpt_state st;
    const struct mag_train_state *m = mag_train_state(t->train);
    int err = trainer_metrics_flush(t, false);
    if (err)
        return err;
    fill_state(t, &st);
    pthread_mutex_lock(&t->copy.mu); /* one writer of checkpoints at a time */
    err = write_out(t, &st, t->model->params.value, m->m, m->v);
    pthread_mutex_unlock(&t->copy.mu);
    if (!err)
        port_checkpoint_taken(t->c.port);
    return err;
}

void trainer_copy_take(struct trainer *t, bool whole)
{
    const struct params *p = &t->model->params;
    const struct mag_train_state *m = mag_train_state(t->train);
    size_t first = 0, count = p->count;
    if (!whole)
        params_range(p, MAG_POLICY, MAG_CRITIC, &first, &count);
    pthread_mutex_lock(&t->copy.mu);
    memcpy(t->copy.value + first, p->value + first, count * sizeof(float));
    memcpy(t->copy.m + first, m->m + first, count * sizeof(float));
    memcpy(t->copy.v + first, m->v + first, count * sizeof(float));
    fill_state(t, &t->copy.state);
    t->copy.valid = t->copy.whole = true;
    pthread_mutex_unlock(&t->copy.mu);
}

void trainer_copy_drop(struct trainer *t)
{
    pthread_mutex_lock(&t->copy.mu);
    t->copy.valid = false;
    pthread_mutex_unlock(&t->copy.mu);
}

int trainer_save_copy(struct trainer *t)
{
    int err = ERR_AGAIN;
    pthread_mutex_lock(&t->copy.mu);
    if (t->copy.valid) {
        err = write_out(t, &t->copy.state, t->copy.value, t->copy.m, t->copy.v);
        if (!err)
            port_checkpoint_taken(t->c.port);
    }
    pthread_mutex_unlock(&t->copy.mu);
    return err;
}

/* --------------------------------------------------------------------------- publishing */

static int reserve_ids(struct trainer *t)
{
    char text[32];
    if (t->set.set_id + SET_LOW < t->set_reserved)
        return 0;
    t->set_reserved += SET_BLOCK;
    snprintf(text, sizeof text, "%llu", (unsigned long long)t->set_reserved);
    return intake_meta(t->in, "set_reserved", text);
}

int trainer_publish(struct trainer *t, uint32_t groups)
{
    struct weights_part part[MAG_GROUPS];
    size_t n = 0;
    int err = 0;
    for (uint32_t g = 0; g < MAG_GROUPS && !err; g++) {
        if (!(groups >> g & 1))
            continue;
        part[n].group = g;
        err = params_to_blob(&t->model->params, t->model->params.value, g, g, "",
                             &part[n].bytes, &part[n].n);
        n += !err;
    }
    if (err) {
        for (size_t i = 0; i < n; i++)
            free(part[i].bytes);
        return err;
    }
    err = weights_publish(t->c.weights, part, n, &t->set);
    if (err)
        return err;
    fault_point("train.publish");
    t->st.set_id = t->set.set_id;
    for (uint32_t i = 0; i < t->set.count; i++)
        t->st.version[t->set.group[i].group] = t->set.group[i].version;
    return reserve_ids(t);
}

/* ----------------------------------------------------------------------------- resuming */

static int load_checkpoint(struct trainer *t, const char *path)
{
    struct digest config;
    struct mag_train_state *m = mag_train_state(t->train);
    int err = ckpt_read_state(path, &t->st, &config);
    if (!err && memcmp(config.b, t->digest.b, DIGEST_BYTES) != 0)
        err = err_set(ERR_CONFIG,
                      "%s was written with another configuration; continue with the run's own "
                      "config.yaml, or use another --run-dir",
                      path);
    if (!err)
        err = ckpt_load(path, &t->model->params, t->model->params.value, m->m, m->v);
    if (err)
        return err;
    memcpy(m->opt, t->st.opt, sizeof m->opt);
    m->entropy_weight = t->st.entropy_weight;
    m->skipped = t->st.skipped;
    memcpy(m->skipped_by, t->st.skipped_by, sizeof m->skipped_by);
    return 0;
}

static int start_ids(struct trainer *t, struct store *store)
{
    char text[32];
    int err = store_meta_get(store, "set_reserved", text, sizeof text);
    uint64_t used = err ? 0 : strtoull(text, NULL, 10);
    if (err && err != ERR_NOTFOUND)
        return err;
    if (used < t->st.set_id)
        used = t->st.set_id;
    t->set_reserved = used + SET_BLOCK;
    snprintf(text, sizeof text, "%llu", (unsigned long long)t->set_reserved);
    err = store_meta_set(store, "set_reserved", text);
    if (!err)
        err = store_commit(store);
    weights_start(t->c.weights, used + 1);
    return err;
}

int trainer_restore(struct trainer *t, struct store *store, bool *resumed)
{
    char path[4096];
    int err = ckpt_find(t->c.run_dir, path, sizeof path);
    if (err == ERR_NOTFOUND) {
        mag_init(t->model, &t->draws);
        err = 0;
    } else if (!err) {
        err = load_checkpoint(t, path);
        t->resumed = true;
    }
    if (err)
        return err;
    mag_refresh(t->model, MAG_NEEDS_ALL);
    t->started_s = trainer_now_s() - t->st.elapsed_s;
    t->look_in_store = true;
    /* What the iteration in work has reported before the cut stays. */
    uint64_t first_lost = t->st.iteration + (t->st.phase != PHASE_COLLECT);
    err = store_rewind(store, first_lost, t->st.next_episode);
    if (!err)
        err = start_ids(t, store);
    *resumed = t->resumed;
    if (!err && t->resumed)
        log_info("resumed", "checkpoint=%s iteration=%llu env_steps=%llu", path,
                 (unsigned long long)t->st.iteration, (unsigned long long)t->st.env_steps);
    return err;
}

/* Which stored episodes have to be read again: those the ring still holds, and those whose
 * results are still reported. */
struct to_read {
    uint64_t next, capacity;
    uint64_t below;            /* every episode from here on was seen */
    uint64_t first;            /* read from here on */
    uint64_t records, skipped; /* of those to read; of those before */
};

static int lacks(uint64_t episode_no)
{
    return err_set(ERR_CORRUPT, "run.db lacks episode %llu, which the checkpoint needs",
                   (unsigned long long)episode_no);
}

static int count_episode(void *arg, uint64_t no, uint32_t T, bool limit)
{
    struct to_read *r = arg;
    if (no + 1 != r->below)
        return lacks(r->below - 1);
    r->below = no;
    if (r->records < r->capacity || r->next - no <= RECENT) {
        r->records += replay_records(T, limit);
        r->first = no;
    } else {
        r->skipped += replay_records(T, limit);
    }
    return 0;
}

/* D_e as it was: ring positions and window draws are the same as without the interruption. */
int trainer_rebuild(struct trainer *t)
{
    char path[4096];
    const uint64_t next = t->st.next_episode;
    struct to_read r = {
        .next = next, .capacity = t->cfg->replay.capacity, .below = next, .first = next};
    snprintf(path, sizeof path, "%s/run.db", t->c.run_dir);
    int err = store_open_read(&t->read, path);
    if (!err)
        err = metrics_open(&t->metrics, t->c.run_dir, t->st.iteration);
    if (!err)
        err = store_lengths(t->read, KIND_TRAIN, next, count_episode, &r);
    if (!err && r.below > 0)
        err = lacks(r.below - 1);
    if (!err)
        replay_skip(t->replay, r.skipped);
    for (uint64_t no = r.first; no < next && !err; no++) {
        unsigned char *body = NULL;
        struct wire_episode e;
        size_t n = 0;
        err = store_load(t->read, KIND_TRAIN, no, NULL, &body, &n);
        if (err == ERR_NOTFOUND)
            err = lacks(no);
        if (!err)
            err = wire_episode_parse(&e, body, n);
        if (!err)
            err = replay_add(t->replay, &e, &t->draws);
        if (!err)
            recent_add(&t->recent, e.won, e.ret, e.T);
        free(body);
        if (!err && no % 64 == 0 && port_stopping(t->c.port))
            err = err_set(ERR_INTERRUPTED, "stopped while reading stored episodes");
    }
    if (!err && next)
        log_info("replay rebuilt", "episodes=%llu read=%llu records=%zu",
                 (unsigned long long)next, (unsigned long long)(next - r.first),
                 replay_len(t->replay));
    return err;
}
