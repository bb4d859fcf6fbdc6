# SPDX-License-Identifier: Apache-2.0
"""The whole service in containers: brought up, scaled, hit, taken down, resumed.

Skipped only where `docker info` fails. Everything lives in a compose project of its own, and so
does its volume; the image is built from this source tree.
"""
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import mag

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
PROJECT = "mage2e%d" % os.getpid()
IMAGE = "magellan:e2e"
ACTORS, PLANNERS = 3, 2
SETTINGS = mag.settings({"service.lease_ms": 4000, "train.stop.seconds": 3600, "workers.actors": ACTORS,
                         "workers.planners": PLANNERS})


def environment():
    env = dict(os.environ, MAG_IMAGE=IMAGE, MAG_PRESET="paper", MAG_MAP="3m", MAG_SEED="3",
               MAG_SETTINGS=" ".join(SETTINGS), COMPOSE_PROJECT_NAME=PROJECT, DOCKER_BUILDKIT="0",
               COMPOSE_DOCKER_CLI_BUILD="0")
    env.setdefault("MAG_BASE", "mag-base:bookworm")
    return env


def sh(*words, timeout=300, must=True):
    done = subprocess.run(list(map(str, words)), cwd=ROOT, env=environment(), stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout * mag.SLOW, text=True)
    if must and done.returncode:
        raise mag.Failure("%s: exit status %d\n%s" % (" ".join(map(str, words)), done.returncode, done.stdout[-6000:]))
    return done.stdout


def compose_command():
    for words in (["docker-compose"], ["docker", "compose"]):
        if shutil.which(words[0]) and not subprocess.run([*words, "version"], stdout=subprocess.DEVNULL,
                                                          stderr=subprocess.DEVNULL).returncode:
            return words
    raise mag.Failure("a Docker engine is there, but neither docker-compose nor docker compose")


def containers(service=None):
    """Ids of this project's containers, by label: names differ between versions of compose."""
    filters = ["--filter", "label=com.docker.compose.project=" + PROJECT]
    if service:
        filters += ["--filter", "label=com.docker.compose.service=" + service]
    return sh("docker", "ps", "-aq", "--no-trunc", *filters).split()


def facts(container, template):
    return sh("docker", "inspect", "-f", template, container).strip()


def main_process(container, program):
    """PID on this host of the container's first process, or of the program that it started."""
    pid = int(facts(container, "{{.State.Pid}}"))
    return (mag.children(pid) or [pid])[0] if program else pid


def inspect():
    learner = containers("learner")[0]
    done = subprocess.run(["docker", "exec", learner, "mag", "inspect", "/runs/current", "--json"],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
    return json.loads(done.stdout) if done.returncode == 0 else None


def policy_versions(o):
    """How often PPO has published a policy: once per imagined batch of a complete iteration."""
    return sum(u["batches"] for u in o["updates"])


def accepted(o, role):
    return [w for w in o["workers"] if w["role"] == role and w["accepted"] > 0]


def wait_progress(what, condition, seconds=180):
    def ready():
        o = inspect()
        return o if o and condition(o) else None
    try:
        return mag.wait_until(ready, seconds, what)
    except mag.Failure as why:
        raise mag.Failure("%s\n%s" % (why, sh(*COMPOSE, "logs", "--tail", "15", must=False)[-8000:]))


def up():
    begin = time.monotonic()
    sh(*COMPOSE, "up", "-d", "--scale", "actor=%d" % ACTORS, "--scale", "planner=%d" % PLANNERS)
    mag.say("up after %.0f s" % (time.monotonic() - begin))


def hit(service, program):
    """kill -9 of the main process from outside: the restart policy brings it back."""
    victim = containers(service)[0]
    before = int(facts(victim, "{{.RestartCount}}"))
    os.kill(main_process(victim, program), signal.SIGKILL)
    mag.wait_until(lambda: int(facts(victim, "{{.RestartCount}}")) > before and
                   facts(victim, "{{.State.Running}}") == "true", 60, "the %s comes back" % service)
    mag.say("%s killed and back" % service)


def down():
    """Stop, look at every exit code, remove everything but the volume."""
    ids = containers()
    mag.check(len(ids) == 1 + ACTORS + PLANNERS, "%d containers" % len(ids))
    begin = time.monotonic()
    sh(*COMPOSE, "stop")
    mag.say("stopped after %.0f s" % (time.monotonic() - begin))
    for c in ids:
        code = facts(c, "{{.State.ExitCode}}")
        mag.check(code == "0", "%s left exit code %s\n%s" % (facts(c, "{{.Name}}"), code, sh("docker", "logs", "--tail", "20", c)))
    sh(*COMPOSE, "down")
    mag.check(not containers(), "containers are left")
    mag.check(not sh("docker", "network", "ls", "-q", "--filter", "label=com.docker.compose.project=" + PROJECT).split(),
              "a network is left")


def volumes():
    return set(sh("docker", "volume", "ls", "-q").split())


def compose():
    before = volumes()
    up()
    o = wait_progress("the policy's version advances twice and 2 + 2 workers have accepted items",
                      lambda o: policy_versions(o) >= 2 and len(accepted(o, "actor")) >= 2 and
                      len(accepted(o, "planner")) >= 2)
    mag.say("policy versions %d, actors %d, planners %d" %
            (policy_versions(o), len(accepted(o, "actor")), len(accepted(o, "planner"))))
    hit("actor", program=False)
    hit("planner", program=True)
    seen = wait_progress("it goes on", lambda now: now["iterations"] > o["iterations"])
    mag.check(seen["ppo"]["divergence"] == 0, "divergence")
    first = sh(*COMPOSE, "logs", "learner")
    mag.check("new run" in first, "the learner does not say that this is a new run\n" + first[:3000])
    down()
    up()
    o = wait_progress("a second up goes on", lambda now: now["iterations"] > seen["iterations"])
    log = sh(*COMPOSE, "logs", "learner")
    mag.check("run resumed" in log, "the learner does not say that it resumed\n" + log[:3000])
    mag.say("resumed; iterations %d" % o["iterations"])
    down()
    left = [v for v in volumes() - before if v != PROJECT + "_runs"]
    mag.check(not left, "volumes are left: %s" % left)


def run_all():
    global COMPOSE
    if not shutil.which("docker") or subprocess.run(["docker", "info"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode:
        mag.say("no Docker engine answers: skipped")
        sys.exit(mag.SKIP)
    COMPOSE = [*compose_command(), "-f", "docker-compose.yml"]
    base = environment()["MAG_BASE"]
    if subprocess.run(["docker", "image", "inspect", base], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode:
        mag.say(sh("deploy/base-image", base, timeout=600).strip())
    begin = time.monotonic()
    try:
        sh(*COMPOSE, "build", timeout=1200)
        mag.say("image built in %.0f s" % (time.monotonic() - begin))
        size = int(facts(IMAGE, "{{.Size}}")) - int(facts(base, "{{.Size}}"))
        mag.say("the image adds %d MB to its base" % (size / 1e6))
        mag.check(size <= 90e6, "the image adds %d MB to its base, 90 are allowed" % (size / 1e6))
        compose()
    finally:
        sh(*COMPOSE, "down", "-v", "--remove-orphans", must=False)
    mag.check(not sh("docker", "volume", "ls", "-q", "--filter", "label=com.docker.compose.project=" + PROJECT).split(),
              "a volume is left")


mag.main(run_all)
