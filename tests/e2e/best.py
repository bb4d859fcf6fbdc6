# SPDX-License-Identifier: Apache-2.0
"""A run that keeps its best checkpoint: chosen by its own evaluations, played by `mag eval`, kept through a kill."""
import json
import os

import mag

KEYS = {"env.map": "bane_vs_bane", "collect.episodes": 1, "eval.every": 1, "eval.episodes": 12, "ckpt.keep": 1,
        "ckpt.best": "true"}


def expected(run_dir):
    """(iteration, wins) of the greedy evaluation that won most, the later one of equals. Rounds come in pairs."""
    rows = mag.query(run_dir, "SELECT round, wins FROM evals WHERE greedy = 1 ORDER BY round")
    return max((wins, r // 2 + 1) for r, wins in rows)[::-1], len({wins for _, wins in rows})


def test():
    with mag.Team() as team:
        run = team.train("a", iterations=8, changes=KEYS, timeout=180)
        (iteration, wins), different = expected(run)
        mag.check(different > 1, "evaluations that differ, or the test shows nothing")
        best = mag.inspect(run)["best"]
        mag.check((best["iteration"], best["wins"]) == (iteration, wins), "best %s, not %d, %d" % (best, iteration, wins))
        played = json.loads(mag.run("eval", run, "--episodes", 2, "--json").stdout)
        mag.check(played["iteration"] == iteration + 1, "mag eval played %(iteration)d" % played)
        link = os.readlink(os.path.join(run, "ckpt", "best"))
        mag.check(played["checkpoint"].endswith(link), "the link says %s" % link)
        newest = json.loads(mag.run("eval", os.path.join(run, "ckpt", "latest"), "--episodes", 2, "--json").stdout)
        mag.check(newest["iteration"] == 9, "the newest can be asked for")

        own = json.loads(mag.run("eval", run, "--json", "--seed", 9, "compute.threads=1").stdout)
        mag.check((own["episodes"], own["seed"]) == (12, 9), "not the run's eval.episodes, or another seed: %s" % own)
        for words, named, status in ((["--map", "3m"], "env.map belongs to the run", 78), (["net.width=64"], "net.width", 78),
                                     (["--preset", "paper"], "--preset", 64)):
            said = mag.run("eval", run, "--episodes", 2, *words, status=status).stderr
            mag.check(named in said, said)

        killed = team.start("b", *team.train_words("b", iterations=8, changes=KEYS),
                            env={"MAG_FAULT": "ckpt.rename.before:6"})
        killed.wait(180, status=None)
        mag.run("resume", team.path("b"), timeout=180)
        mag.check(mag.hash_of(team.path("b")) == mag.hash_of(run), "the same run in the end")
        mag.check(mag.inspect(team.path("b"))["best"] == best, "and the same best checkpoint")


mag.main(test)
