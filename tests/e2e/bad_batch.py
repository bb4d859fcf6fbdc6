# SPDX-License-Identifier: Apache-2.0
"""What is not finite is never trained on: counted, logged, its batch kept; spikes are logged; no bits suffer.

MAG_FAULT=place:k:nan spoils one number: a reward in a batch of the model or of R_m, a return or a
log-probability of an imagined batch (critic, actor), a reward of an episode before it is sent.
"""
import json
import math
import os
import signal
import struct

import mag

KEPT = 3  # files of a group at most
GROUPS = {"model": "wm/skipped", "rm": "rm/skipped", "actor": "ppo/skipped_actor", "critic": "ppo/skipped_critic"}


def tensors(path):
    """(metadata, {name: (dtype, shape, bytes)}) of a safetensors file."""
    with open(path, "rb") as f:
        (n,) = struct.unpack("<Q", f.read(8))
        header = json.loads(f.read(n))
        data = f.read()
    meta = header.pop("__metadata__", {})
    return meta, {k: (v["dtype"], v["shape"], data[slice(*v["data_offsets"])]) for k, v in header.items()}


def floats(t):
    return struct.unpack("<%df" % (len(t[2]) // 4), t[2])


def metrics(run):
    """Lines of metrics.jsonl, strictly JSON."""
    def refuse(word):
        raise mag.Failure("metrics.jsonl of %s holds %s" % (run, word))
    with open(run + "/metrics.jsonl") as f:
        return [json.loads(line, parse_constant=refuse) for line in f]


def weights_are_numbers(run):
    for name in ("model", "optim"):
        path = run + "/ckpt/latest/%s.safetensors" % name
        for key, t in tensors(path)[1].items():
            mag.check(all(map(math.isfinite, floats(t))), "%s: %s is not finite" % (path, key))


def kept(run):
    return sorted(os.listdir(run + "/bad")) if os.path.isdir(run + "/bad") else []


def check(run, group, steps):
    """Steps of this group alone were refused: counts, files, log lines."""
    last = metrics(run)[-1]
    for other, name in GROUPS.items():
        want = steps if other == group else 0
        mag.check(last[name] == want, "%s: %s is %s, expected %d" % (run, name, last[name], want))
    mag.check(last["train/skipped"] == steps, "%s: in all %s" % (run, last["train/skipped"]))
    told = mag.inspect(run)["skipped"]
    mag.check(told == {"all": steps, **{g: steps if g == group else 0 for g in GROUPS}}, "inspect: %s" % told)
    mag.check(len(kept(run)) == 1, "%s: kept %s" % (run, kept(run)))
    with open(run + "/logs/learner.log") as f:
        said = [json.loads(line) for line in f if "gradient step refused" in line]
    mag.check([s["group"] for s in said] == [group] and said[0]["kept"] == "bad/" + kept(run)[0], str(said))
    weights_are_numbers(run)


def spoiled(run, group, name):
    """Every file of the group has a NaN in the tensor, and the metadata say why it is there."""
    for file in kept(run):
        if not file.startswith(group + "-"):
            continue
        meta, held = tensors(run + "/bad/" + file)
        mag.check(meta["group"] == group and not math.isfinite(float(meta["loss"])), "%s: %s" % (file, meta))
        mag.check(file == "%s-%06d-%06d.safetensors" % (group, int(meta["iteration"]), int(meta["step"])), file)
        mag.check(any(map(math.isnan, floats(held[name]))), "%s: no NaN in %s" % (file, name))
        others = [k for k, t in held.items() if t[0] == "F32" and k != name and any(map(math.isnan, floats(t)))]
        mag.check(not others, "%s: NaN also in %s" % (file, others))


def train(team, name, poison, planners=1):
    run = team.path(name)
    mag.run(*team.train_words(name, planners=planners), env={"MAG_FAULT": poison}, timeout=90)
    return run


# (group, fault point, k, tensor that holds the NaN, steps refused). One minibatch an epoch holds the spoiled row.
PLACES = [
    ("model", "train.model.reward", 15, "reward", 1),  # iteration 1: the warm-up takes 10 steps
    ("rm", "train.rm.reward", 9, "reward", 1),
    ("critic", "ppo.return", 2, "return", mag.TINY["train.ppo_epochs"]),
    ("actor", "ppo.logp", 2, "logp", mag.TINY["train.ppo_epochs"]),
]


def everywhere(team, clean):
    runs = {}
    for group, place, k, name, steps in PLACES:
        poison = "%s:%d:nan" % (place, k)
        run = runs[group] = train(team, group, poison)
        check(run, group, steps)
        spoiled(run, group, name)
        mag.check(mag.hash_of(run) != mag.hash_of(clean), group + ": a step was left out and nothing changed")
        more = train(team, group + "-2", poison, planners=2)
        mag.check(mag.hash_of(more) == mag.hash_of(run), group + ": two planners, another hash")
        for file in kept(run):
            with open(run + "/bad/" + file, "rb") as a, open(more + "/bad/" + file, "rb") as b:
                mag.check(a.read() == b.read(), file + " differs with two planners")
        mag.say("%-6s refused %d, counted, logged, kept %s" % (group, steps, " ".join(kept(run))))
    return runs


def killed_and_resumed(team, whole):
    """A step refused before a kill -9 stays refused: the resumed run ends like the undisturbed one."""
    run = team.path("killed")
    p = team.start("killed", *team.train_words("killed"), env={"MAG_FAULT": "train.model.reward:15:nan"})
    mag.wait_until(lambda: kept(run) and mag.query(run, "SELECT 1 FROM metrics WHERE iteration=2"), 30, "iteration 2")
    family = team.family(p.pid)
    for pid in family:
        mag.kill(pid, signal.SIGKILL)
    p.wait(10, status=None)
    mag.wait_until(lambda: not any(mag.alive(pid) for pid in family), 10, "all are dead, and the run's lock is free")
    mag.run("resume", run, "--no-eval", timeout=90)
    mag.check(mag.hash_of(run) == mag.hash_of(whole), "killed and resumed: another hash")
    mag.check(kept(run) == kept(whole), "killed and resumed: kept %s, else %s" % (kept(run), kept(whole)))
    a, b = metrics(run)[-1], metrics(whole)[-1]
    for name in GROUPS.values():
        mag.check(a[name] == b[name], "killed and resumed: %s is %s, else %s" % (name, a[name], b[name]))
    mag.say("killed and resumed: the same hash, counts and files")


def again_and_again(team):
    """Every model step from one on is refused: the files stay few, and so do the lines."""
    run = train(team, "always", "train.model.reward:15:nan+")
    last = metrics(run)[-1]
    mag.check(last["wm/skipped"] >= 20 and last["ppo/skipped_critic"] == 0, "refused: %s" % last["wm/skipped"])
    mag.check(len(kept(run)) == KEPT, "kept: %s" % kept(run))
    with open(run + "/logs/learner.log") as f:
        said = sum("gradient step refused" in line for line in f)
    mag.check(KEPT <= said <= KEPT + 3, "%d lines for %d refused steps" % (said, last["wm/skipped"]))
    weights_are_numbers(run)
    mag.say("%d steps refused in a row: %d files, %d lines" % (last["wm/skipped"], len(kept(run)), said))


def spikes(team, clean):
    """A factor that ordinary steps exceed: counted and logged, and not a bit changes."""
    run = team.train("spikes", changes={"metrics.spike": 1.1})
    lines = metrics(run)
    for name in ("wm/spikes", "rm/spikes", "ppo/spikes_actor", "ppo/spikes_critic"):
        mag.check(sum(line.get(name, 0) for line in lines) > 0, name + ": none at 1.1 times the median")
    with open(run + "/logs/learner.log") as f:
        said = [json.loads(line) for line in f if "loss spike" in line]
    mag.check(4 <= len(said) <= 8 and {s["group"] for s in said} == set(GROUPS), "lines: %s" % said)
    mag.check(all(float(s["value"]) > 1.1 * float(s["median"]) for s in said), "lines: %s" % said)
    mag.check(mag.hash_of(run) == mag.hash_of(clean), "counting spikes changed the weights")
    total = sum(line["wm/spikes"] for line in metrics(clean))
    mag.check(total <= 2, "%d spikes of the model in a clean run at the usual factor" % total)
    mag.say("spikes are counted and logged, and change nothing")


def an_actor_that_miscounts(team, clean):
    run = train(team, "actor-reward", "actor.reward:4:nan")
    with open(run + "/logs/learner.log") as f:
        said = [line for line in f if "episode refused" in line and "not finite" in line]
    mag.check(len(said) == 1, "%d lines about the refused episode" % len(said))
    mag.check(not kept(run) and mag.hash_of(run) == mag.hash_of(clean), "a refused episode has left traces")
    mag.say("an episode with a NaN is refused at the door and played again: the clean run's hash")


def bad_batch():
    with mag.Team() as team:
        clean = team.train("clean")
        mag.check(not kept(clean) and metrics(clean)[-1]["train/skipped"] == 0, "a clean run refused a step")
        runs = everywhere(team, clean)
        killed_and_resumed(team, runs["model"])
        again_and_again(team)
        spikes(team, clean)
        an_actor_that_miscounts(team, clean)


mag.main(bad_batch)
