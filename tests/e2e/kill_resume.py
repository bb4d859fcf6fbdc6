# SPDX-License-Identifier: Apache-2.0
"""kill -9 at 20 seeded instants, then `mag resume`: the undisturbed run's bits, nothing stored lost.

A named fault point (MAG_FAULT=name:k, docs/testing.md) kills one process when it passes there for
the k-th time; the others are killed right after it. Then there are kills of everything at seeded
times, of a learner that `mag train` must restart, of workers that must be replaced, polite stops at
exact places inside every phase, and stops by Ctrl-C at seeded times.
"""
import json
import random
import signal
import sys
import time

import mag

# (role, fault point, k is drawn from) - each k is reached in a run of ITERATIONS iterations.
POINTS = [
    ("learner", "store.commit.before", (4, 9)),   # rows written, not committed
    ("learner", "store.commit.after", (1, 4)),    # committed, not acknowledged: warm-up
    ("learner", "store.commit.after", (5, 12)),   # committed, not acknowledged
    ("learner", "ckpt.file", (4, 6)),             # a checkpoint half written
    ("learner", "ckpt.file", (10, 14)),
    ("learner", "ckpt.rename.before", (2, 5)),    # written, not in place
    ("learner", "ckpt.rename.after", (2, 5)),     # in place, `latest` still the old one
    ("learner", "result.part", (1, 12)),          # a RESULT half received
    ("learner", "result.part", (30, 70)),
    ("learner", "train.collect", (3, 5)),         # episodes there, not in D_e
    ("learner", "train.model", (5, 35)),          # between two gradient steps
    ("learner", "train.rm", (7, 24)),
    ("learner", "ppo.minibatch", (2, 11)),        # in mid-PPO
    ("learner", "ppo.minibatch", (13, 55)),
    ("learner", "train.publish", (2, 9)),         # weights changed, set not yet known
    ("actor", "actor.episode", (2, 12)),          # played, not sent
    ("planner", "planner.job", (2, 30)),          # computed or about to be
]
# Where a polite stop cuts: (fault point, k). Each leaves a checkpoint inside that phase.
CUTS = [("train.collect", 4), ("train.model", 20), ("train.rm", 14), ("ppo.minibatch", 20)]
TIMED = 3
MANY = 40
LONG = {"collect.episodes": 6, "replay.capacity": 400}  # most episodes are overwritten before it ends


def stored_before(run):
    try:
        return mag.episodes(run)
    except mag.sqlite3.Error:
        return set()  # killed before the tables were made


def finish(team, name, want, before):
    """Resume, then compare with the run that nothing happened to."""
    run = team.path(name)
    mag.run("resume", run, "--no-eval", timeout=90)
    lost = before - mag.episodes(run)
    mag.check(not lost, "%s: %d stored episodes are gone" % (name, len(lost)))
    got = mag.inspect(run)
    mag.check(got["ppo"]["divergence"] == 0, name + ": divergence")
    mag.check(got["ppo"]["rows"] == got["ppo"]["rows_from_results"], "%s: %s" % (name, got["ppo"]))
    mag.check(mag.hash_of(run) == want["hash"], name + ": another hash than the undisturbed run")
    trained = mag.query(run, "SELECT episode_no, digest FROM episodes WHERE kind='train' AND orphan=0 ORDER BY 1")
    mag.check(trained == want["episodes"], name + ": other episodes than the undisturbed run")
    steps = [(u["iteration"], u["model_steps"], u["batches"], u["actor_steps"]) for u in got["updates"]]
    mag.check(steps == want["updates"], "%s: updates %s" % (name, steps))


def at_a_point(team, name, role, point, k, want):
    env = {"MAG_FAULT": "%s:%d" % (point, k)}
    roles = {r: team.worker(name, r, env=env if r == role else None) for r in ("actor", "planner")}
    roles["learner"] = team.learner(name, env=env if role == "learner" else None)
    victim = roles[role]
    mag.check(victim.wait(60, status=None) == -signal.SIGKILL, "%s:%d was not reached\n%s" % (point, k, victim.tail()))
    if role == "learner":
        for p in roles.values():
            p.signal(signal.SIGKILL)
            p.wait(10, status=None)
        finish(team, name, want, stored_before(team.path(name)))
    else:  # another one takes over while the learner waits
        team.worker(name, role, 2)
        roles["learner"].wait(60)
        finish(team, name, want, set())


def frozen(pid):
    try:
        with open("/proc/%d/stat" % pid) as f:
            return f.read().rsplit(")", 1)[1].split()[0] == "T"
    except OSError:
        return False


def cut_inside(team, name, point, k, want):
    """The learner is frozen at an exact place, told to stop there, and let go: it saves inside the phase."""
    learner = team.learner(name, env={"MAG_FAULT": "%s:%d:stop" % (point, k)})
    others = [team.worker(name, role) for role in ("actor", "planner")]
    mag.wait_until(lambda: frozen(learner.pid), 60, "the learner is stopped at %s" % point)
    learner.signal(signal.SIGTERM)
    learner.signal(signal.SIGCONT)
    learner.wait(20)
    for p in others:
        p.signal(signal.SIGKILL)
        p.wait(10, status=None)
    finish(team, name, want, stored_before(team.path(name)))


def at_a_time(team, name, seconds, want):
    """Everything at once: the head is stopped first, so that it restarts nothing."""
    p = team.start(name + "-train", *team.train_words(name, actors=2, planners=2))
    mag.wait_until(lambda: mag.os.path.exists(team.path(name, "run.db")), 20, "a run begins")
    time.sleep(seconds)
    if p.running():
        for pid in team.family(p.pid):
            mag.kill(pid)
    p.wait(10, status=None)
    finish(team, name, want, stored_before(team.path(name)))


def stopped_again_and_again(team, rng, want):
    """SIGINT at seeded times, cuts inside every phase: stops and resumes of one longer run, which then
    goes on once more, when most of its episodes are overwritten."""
    run, stops = team.path("stops"), 0
    p = team.start("stops-0", *team.train_words("stops", iterations=MANY, changes=LONG))
    while p.running() and stops < 12:
        time.sleep(rng.uniform(0.25, 0.9))
        p.signal(signal.SIGINT)
        status = p.wait(30, status=None)
        mag.check(status in (0, 130), "stop %d: exit status %d\n%s" % (stops, status, p.tail()))
        if status == 0:
            break
        stops += 1
        p = team.start("stops-%d" % stops, "resume", run, "--no-eval")
    p.wait(90)
    mag.say("stopped %d times; cuts: %s" % (stops, sorted(cuts(team))))
    mag.check(stops >= 3, "too few stops to mean anything")
    mag.run("resume", run, "--iterations", MANY + 1, "--no-eval", timeout=90)
    mag.check(mag.hash_of(run) == want, "stops: another hash")
    rebuilt = told(team, "replay rebuilt")[-1]
    mag.check(rebuilt["read"] < rebuilt["episodes"], "every episode was read again: %s" % rebuilt)
    o = mag.inspect(run)
    mag.check(o["ppo"]["rows"] == o["ppo"]["rows_from_results"], str(o["ppo"]))
    mag.check(len(set(map(lambda u: tuple(u.values())[1:], o["updates"]))) == 1, "updates %s" % o["updates"])


def told(team, event):
    """Lines of the learner's log about an event."""
    with open(team.path("stops", "logs", "learner.log")) as f:
        lines = [json.loads(line) for line in f if line.startswith("{")]
    return [l for l in lines if l.get("event") == event]


def cuts(team):
    """The phases in which checkpoints of a stop were taken."""
    return {l["phase"] for l in told(team, "checkpoint written")}


def restarted_by_train(team, want):
    """A learner that dies under `mag train` is named, started again, and the bits are the same."""
    p = team.start("restart-train", *team.train_words("restart", iterations=mag.ITERATIONS, changes={"train.stop.seconds": 0}))
    learner = mag.wait_until(lambda: [c for c in mag.children(p.pid) if "learner" in mag.command_of(c)], 20, "a learner")[0]
    mag.wait_until(lambda: mag.os.path.exists(team.path("restart", "ckpt", "latest")), 20, "a checkpoint")
    mag.kill(learner)
    p.wait(90)
    mag.check("learner was killed by signal 9" in p.text(), "the learner's death is not named\n" + p.tail())
    mag.check(mag.hash_of(team.path("restart")) == want["hash"], "restart: another hash")


def kill_resume():
    rng = random.Random(20230317)
    with mag.Team() as team:
        run = team.train("undisturbed")
        o = mag.inspect(run)
        want = {
            "hash": mag.hash_of(run),
            "episodes": mag.query(run, "SELECT episode_no, digest FROM episodes WHERE kind='train' ORDER BY 1"),
            "updates": [(u["iteration"], u["model_steps"], u["batches"], u["actor_steps"]) for u in o["updates"]],
        }
        only = sys.argv[1:]
        for i, (role, point, between) in enumerate(POINTS):
            k = rng.randint(*between)
            if not only or point in only:
                mag.say("kill %2d: %s at %s:%d" % (i + 1, role, point, k))
                at_a_point(team, "kill%d" % i, role, point, k, want)
        for i, (point, k) in enumerate(CUTS):
            if not only or "cut" in only:
                mag.say("cut  %2d: at %s:%d" % (i + 1, point, k))
                cut_inside(team, "cut%d" % i, point, k, want)
        for i in range(TIMED):
            seconds = rng.uniform(0.05, 0.5)
            if not only or "time" in only:
                mag.say("kill %2d: all processes after %.3f s" % (len(POINTS) + i + 1, seconds))
                at_a_time(team, "time%d" % i, seconds, want)
        if not only or "stops" in only:
            stopped_again_and_again(team, rng, mag.hash_of(team.train("many", iterations=MANY + 1, changes=LONG)))
        if not only or "restart" in only:
            restarted_by_train(team, want)


mag.main(kill_resume)
