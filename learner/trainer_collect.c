/* SPDX-License-Identifier: Apache-2.0 */
/* trainer_collect.c - episodes: asked for by number, taken by number.
 *
 * An episode depends on (seed, set) only. So what a run stored before it was interrupted is
 * as good as played again: if run.db holds the number with the same seed and set digest it is
 * used, else it becomes an orphan and is played. D_e is filled in episode_no order, and only
 * when all E are there: a cut inside a collection stands before its first episode. */
#include "trainer_priv.h"

#include "base/err.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/wilson.h"

#include <stdlib.h>
#include <string.h>

/* Is this number in run.db, played with these weights? A twin that was not becomes an orphan. */
static int look_up(struct trainer *t, enum wire_kind kind, uint64_t no, bool greedy,
                   const struct digest *set_digest, struct port_episode *out, bool *have)
{
    size_t n = 0;
    memset(out, 0, sizeof *out);
    *have = false;
    int err = store_load(t->read, kind, no, &out->set_digest, &out->body, &n);
    if (err)
        return err == ERR_NOTFOUND ? 0 : err;
    err = wire_episode_parse(&out->e, out->body, n);
    if (!err && memcmp(out->set_digest.b, set_digest->b, DIGEST_BYTES) == 0 &&
        out->e.seed == port_request_seed(&t->draws, kind, no) && out->e.greedy == greedy) {
        *have = true;
        return 0;
    }
    port_episode_free(out);
    return err ? err : intake_orphan(t->in, kind, no);
}

static void free_episodes(struct trainer *t, size_t n)
{
    for (size_t i = 0; i < n; i++)
        port_episode_free(&t->episode[i]);
    memset(t->episode, 0, n * sizeof *t->episode);
}

/* All of first..first+n-1 into t->episode. On failure none is held. */
static int fetch(struct trainer *t, enum wire_kind kind, uint64_t first, size_t n, bool greedy)
{
    struct port_play req = {.kind = kind,
                            .first = first,
                            .count = (uint32_t)n,
                            .greedy = greedy,
                            .set_id = t->set.set_id};
    size_t found = 0;
    int err = 0;
    wire_set_digest(&t->set, &req.set_digest);
    memset(t->have, 0, n * sizeof *t->have);
    memset(t->episode, 0, n * sizeof *t->episode);
    for (size_t i = 0; i < n && !err && t->look_in_store; i++) {
        err = look_up(t, kind, first + i, greedy, &req.set_digest, &t->episode[i], &t->have[i]);
        found += t->have[i];
    }
    if (!err && found < n)
        err = port_play(t->c.port, &req, t->have);
    for (size_t i = 0; i < n && !err; i++) {
        if (t->have[i])
            continue;
        do
            err = port_episode(t->c.port, first + i, &t->episode[i]);
        while (trainer_wait_again(t, &err));
    }
    if (!err && kind == KIND_TRAIN && found < n)
        t->look_in_store = false; /* what came later was never played */
    if (!err && found)
        log_info("stored episodes used again", "count=%zu first=%llu", found,
                 (unsigned long long)first);
    if (found < n)
        port_play_end(t->c.port);
    if (err)
        free_episodes(t, n);
    return err;
}

/* The episodes of this collection enter D_e, in order. */
static int add_all(struct trainer *t, size_t n)
{
    int err = 0;
    for (size_t i = 0; i < n && !err; i++) {
        const struct wire_episode *e = &t->episode[i].e;
        err = replay_add(t->replay, e, &t->draws);
        recent_add(&t->recent, e->won, e->ret, e->T);
        t->st.next_episode++;
        t->st.env_steps += e->T;
        t->tally.episodes++;
        t->tally.env_steps += e->T;
    }
    return err;
}

int trainer_collect(struct trainer *t)
{
    struct schedule_counts counts;
    double begin = trainer_now_s();
    schedule_counts(t->cfg, t->st.iteration, &counts);
    size_t n = (size_t)counts.episodes;
    trainer_show(t, BOARD_COLLECTING, 0, n);
    int err = trainer_cut(t);
    if (!err)
        err = fetch(t, KIND_TRAIN, t->st.next_episode, n, false);
    if (err)
        return err;
    fault_point("train.collect");
    t->tally.collect_s += trainer_now_s() - begin;
    begin = trainer_now_s();
    if (t->st.iteration > 0)
        err = trainer_score(t);
    t->tally.metrics_s += trainer_now_s() - begin;
    if (!err)
        err = add_all(t, n);
    free_episodes(t, n);
    trainer_show(t, BOARD_COLLECTING, n, n);
    return err;
}

/* One round: the same starts every time, keyed by k. */
static int eval_round(struct trainer *t, uint64_t round, bool greedy, uint32_t *out)
{
    size_t n = t->cfg->eval.episodes;
    uint32_t wins = 0;
    double ret = 0, lo, hi;
    int err = fetch(t, KIND_EVAL, round << 20, n, greedy);
    if (err)
        return err;
    for (size_t i = 0; i < n; i++) {
        wins += t->episode[i].e.won;
        ret += t->episode[i].e.ret;
    }
    free_episodes(t, n);
    ret /= (double)n;
    double win_rate = (double)wins / (double)n;
    *out = wins;
    *(greedy ? &t->view.eval_greedy : &t->view.eval_sampled) = win_rate;
    wilson_interval(wins, (double)n, &lo, &hi);
    trainer_metric(t, greedy ? "eval/greedy_win_rate" : "eval/sampled_win_rate", win_rate);
    trainer_metric(t, greedy ? "eval/greedy_return" : "eval/sampled_return", ret);
    log_info("evaluation",
             "round=%llu policy=%s wins=%u episodes=%zu win_rate=%.2f "
             "interval=%.2f..%.2f return=%.2f",
             (unsigned long long)round, greedy ? "greedy" : "sampled", wins, n, win_rate, lo,
             hi, ret);
    return intake_eval(t->in, round, t->set.set_id, greedy, wins, (uint32_t)n, ret);
}

/* The policy just evaluated is the best so far: a checkpoint of it stays. Only the cut before a
 * collection holds the weights that were evaluated and nothing else. */
static int keep_best(struct trainer *t, uint32_t wins)
{
    if (!t->cfg->ckpt.best || t->st.phase != PHASE_COLLECT || wins < t->st.best_wins)
        return 0;
    t->st.best_iteration = t->st.iteration;
    t->st.best_wins = wins;
    return trainer_save(t);
}

int trainer_evaluate(struct trainer *t)
{
    uint32_t greedy = 0, sampled = 0;
    if (!t->cfg->eval.episodes)
        return 0;
    trainer_show(t, BOARD_EVALUATING, 0, t->cfg->eval.episodes);
    int err = eval_round(t, t->st.eval_round, true, &greedy);
    if (!err)
        err = eval_round(t, t->st.eval_round + 1, false, &sampled);
    if (err)
        return err;
    t->st.eval_round += 2;
    t->evaluated = t->st.iteration + 1;
    uint64_t next = t->st.iteration;
    t->st.iteration = next ? next - 1 : 0; /* of the policy that the last iteration left */
    err = trainer_metrics_flush(t, true);
    t->st.iteration = next;
    return err ? err : keep_best(t, greedy);
}
