# SPDX-License-Identifier: Apache-2.0
"""A planner frozen beyond its lease changes nothing: its jobs go to another one, and what it sends
after it has thawed is compared with what is there and not used."""
import signal

import mag

# A batch of many one-window jobs that takes a second or more, so that a planner can thaw while the
# batch it was frozen in is still open.
LONG = {
    "train.windows": 32, "job.windows": 1, "imagine.steps": 12, "imagine.candidates": 12, "imagine.horizon": 12,
    "replay.window": 12, "net.width": 64, "train.batches": 1, "service.lease_ms": 600, "service.heartbeat_ms": 100,
}


def team_of(team, name, frozen=None):
    learner = team.learner(name, iterations=2, planners=2, changes=LONG)
    workers = [team.worker(name, "actor"), team.worker(name, "planner", 1),
               team.worker(name, "planner", 2, env={"MAG_FAULT": frozen} if frozen else None)]
    return learner, workers


def state_of(pid):
    with open("/proc/%d/stat" % pid) as f:
        return f.read().rsplit(")", 1)[1].split()[0]


def frozen():
    with mag.Team() as team:
        learner, _ = team_of(team, "undisturbed")
        learner.wait(120)
        want = mag.hash_of(team.path("undisturbed"))

        # It stops itself (SIGSTOP) with a job in hand.
        learner, workers = team_of(team, "frozen", "planner.job:2:stop")
        planner = workers[2]
        mag.wait_until(lambda: state_of(planner.pid) == "T", 60, "the planner freezes")
        mag.wait_until(lambda: "leases expired" in learner.text() or "worker lost" in learner.text(), 60,
                       "the learner notices")
        thawed = learner.running()
        planner.signal(signal.SIGCONT)
        learner.wait(120)
        mag.check(thawed, "the run was over before the planner thawed: the test proves nothing")
        o = mag.inspect(team.path("frozen"))
        late = mag.query(team.path("frozen"), "SELECT total(value) FROM metrics WHERE name IN "
                         "('service/duplicates', 'service/stale')")[0][0]
        mag.say("duplicates %d, late or duplicate %d" % (o["ppo"]["duplicates"], late))
        mag.check(late >= 1, "what the thawed planner sent was not counted")
        mag.check(o["ppo"]["divergence"] == 0, "divergence")
        mag.check(o["ppo"]["rows"] == o["ppo"]["rows_from_results"], str(o["ppo"]))
        mag.check(mag.hash_of(team.path("frozen")) == want, "another hash than the undisturbed run")

        # One that never thaws, and holds a RESULT half sent.
        learner, workers = team_of(team, "gone", "planner.result.part:1:stop")
        mag.wait_until(lambda: state_of(workers[2].pid) == "T", 60, "the planner freezes")
        learner.wait(120)
        mag.check(state_of(workers[2].pid) == "T", "it was to stay frozen")
        mag.check(mag.hash_of(team.path("gone")) == want, "another hash with a planner that never came back")


mag.main(frozen)
