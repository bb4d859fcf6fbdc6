# SPDX-License-Identifier: Apache-2.0
"""Does it still learn? The quickstart's own pipeline, shortened to about three minutes.

Lockstep gives the same bits on every machine, so a fixed number of iterations has one outcome:
the bars below leave room for changes of the code, not for luck.
"""
import json

import mag

ITERATIONS = 120
EPISODES = 100


def evaluate(*words):
    return json.loads(mag.run("eval", *words, "--episodes", EPISODES, "--json", timeout=120).stdout)


def check_method(report):
    """What must hold whenever MAG runs as it should."""
    ppo = report["ppo"]
    mag.check(ppo["rows"] > 0 and ppo["rows"] == ppo["rows_from_results"],
              "PPO used %d rows, planners' results held %d" % (ppo["rows"], ppo["rows_from_results"]))
    mag.check(ppo["divergence"] == 0, "two computations of one thing differed")
    late = [r for r in report["rm"] if r["iteration"] >= 5]
    mag.check(late and all(r["lo"] > 0 for r in late), "R_m's rank correlation is not positive everywhere: %s" % late)
    for s in report["scores"]:
        mag.check(s["chosen"] < s["mean"], "iteration %d chose no better than the mean" % s["iteration"])
    for w in report["workers"]:
        mag.check(w["accepted"] > 0, "worker %s did nothing" % w["id"])


def test():
    with mag.Team("canary") as team:
        run = team.path("run")
        mag.run("train", "--preset", "quickstart", "--seed", 1, "--iterations", ITERATIONS, "--actors", 2, "--planners", 2,
                "--run-dir", run, "--no-eval", "train.stop.seconds=0", timeout=500)
        check_method(mag.inspect(run))
        trained, untrained = evaluate(run), evaluate("--policy", "untrained", "--preset", "quickstart", "--seed", 1)
        for kind in ("greedy", "sampled"):
            mag.say(kind, "untrained:", untrained[kind], "trained:", trained[kind])
        gain = trained["sampled"]["return"] - untrained["sampled"]["return"]
        mag.check(gain > 3, "the return rose by %.2f only" % gain)


if __name__ == "__main__":
    mag.main(test)
