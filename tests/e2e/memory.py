# SPDX-License-Identifier: Apache-2.0
"""`mag config --memory` is an upper bound of what real processes take, and not a loose one.

The paper's networks and batch on 2s_vs_1sc, few steps of each phase: every arena is touched. The
peak of each process must stay below its budget, and above the parts that such a run touches whole.
"""
import re

import mag

SETTINGS = {
    "collect.scale_updates": "false", "train.model_steps": 2, "train.rm_steps": 2, "train.batches": 1,
    "train.ppo_epochs": 1, "imagine.steps": 15, "imagine.candidates": 2, "imagine.horizon": 1, "replay.min": 60,
    "compute.threads": 2, "ckpt.every": 1, "collect.episodes": 1,
}
# What the run does not fill: an empty ring, no flood of messages, a library page here and there.
UNTOUCHED = ("replay", "messages", "program", "checkpoint", "results", "fetched", "published", "episodes")


def words():
    return ["--preset", "paper", "--map", "2s_vs_1sc", *["%s=%s" % item for item in SETTINGS.items()]]


def budgets():
    """{role: {part: MiB}}"""
    out, roles = mag.run("config", *words(), "--memory").stdout, {}
    for line in out.splitlines():
        if re.match(r"(learner|planner|actor)", line):
            part = roles.setdefault(line.split(",")[0].strip(), {})
        elif line.startswith("  "):
            name, size = re.match(r"  (.*?) +([0-9.]+) MiB$", line).groups()
            part[name] = float(size)
    return roles


def peak(pid):
    try:
        with open("/proc/%d/status" % pid) as f:
            return int(re.search(r"VmHWM:\s+(\d+) kB", f.read()).group(1)) / 1024
    except (OSError, AttributeError):
        return 0


def memory():
    budget, most = budgets(), {}
    mag.check(set(budget) == {"learner", "planner", "actor"}, "roles: %s" % budget)
    for role, parts in budget.items():
        total = sum(v for k, v in parts.items() if k != "together")
        mag.check(abs(total - parts["together"]) < 1, "%s: parts are %.1f, together %.1f" % (role, total, parts["together"]))
    with mag.Team() as team:
        p = team.start("train", "train", *words(), "--seed", 3, "--actors", 1, "--planners", 1, "--iterations", 2,
                       "--run-dir", team.path("run"), "--no-eval")

        def watched():
            for pid in mag.children(p.pid):
                role = (mag.command_of(pid) + ["", ""])[1]
                if role in budget:
                    most[role] = max(most.get(role, 0), peak(pid))
            return not p.running()
        mag.wait_until(watched, 240, "the run's end")
        p.wait(1)
    for role, parts in sorted(budget.items()):
        sure = sum(v for k, v in parts.items() if k != "together" and not k.startswith(UNTOUCHED))
        mag.say("%-8s peak %6.1f MiB, budget %6.1f, surely touched %6.1f" % (role, most[role], parts["together"], sure))
        flood = sum(v for k, v in parts.items() if k.startswith("messages"))  # none comes here
        mag.check(most[role] <= parts["together"] - flood, "%s takes more than its budget" % role)
        mag.check(most[role] >= 0.8 * sure, "%s takes far less than its budget says" % role)


mag.main(memory)
