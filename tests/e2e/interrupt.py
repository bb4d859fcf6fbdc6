# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C, deaths and mistakes: saved and gone in seconds, named and replaced, explained."""
import json
import os
import resource
import signal
import sqlite3
import subprocess
import time

import mag

LONG = {"train.model_steps": 40, "eval.episodes": 2}
STOP_SECONDS = 4  # two are promised; the machine of a test may be loaded


def start_long(team, name, actors=2, planners=2):
    p = team.start(name + "-train", *team.train_words(name, actors=actors, planners=planners, iterations=100000,
                                                      changes=LONG))
    mag.wait_until(lambda: mag.os.path.exists(team.path(name, "metrics.jsonl")) and
                   len(open(team.path(name, "metrics.jsonl")).readlines()) > 2, 30, "iterations pass")
    return p, mag.children(p.pid)


def settings_of(run):
    with open(os.path.join(run, "config.yaml")) as f:
        return f.read()


def expect_gone(p, family, seconds, status):
    begin = time.monotonic()
    p.wait(seconds, status=status)
    took = time.monotonic() - begin
    mag.wait_until(lambda: not [c for c in family if mag.alive(c)], 1, "no process is left")
    return took


def one_interrupt(team):
    p, family = start_long(team, "once")
    mag.check(len(family) == 5, "expected 5 children, got %d" % len(family))
    said = json.loads(mag.run("status", team.path("once")).stdout)
    mag.check(said["iteration"] > 0 and said["actors"] == 2, str(said))
    mag.run("healthcheck", team.path("once"))
    settings = settings_of(team.path("once"))
    done = mag.run("resume", team.path("once"), "--iterations", 1, status=69)
    mag.check("another learner" in done.stderr, done.stderr)
    mag.check(settings_of(team.path("once")) == settings, "a second learner changed the settings of the first")
    p.signal(signal.SIGINT)
    took = expect_gone(p, family, STOP_SECONDS, 130)
    mag.check("no learner" in mag.run("status", team.path("once"), status=69).stderr, "a learner that is gone answers")
    early = [line for line in p.text().splitlines() if "  steps 0 " in line]
    mag.check(all("win -  return -  model -  R_m -" in line for line in early), "figures before there are any: %s" % early)
    mag.say("Ctrl-C: gone after %.2f s" % took)
    resume = "mag resume " + team.path("once")
    mag.check(resume in p.text(), "the resume command is not printed\n" + p.tail())
    before = mag.inspect(team.path("once"))
    mag.check(before["iterations"] >= 1, "nothing was saved")
    resume = resume.split()[1:]
    mag.run(*resume, "--iterations", before["iterations"] + 2, "--no-eval")
    after = mag.inspect(team.path("once"))
    mag.check(after["iterations"] == before["iterations"] + 2, "resumed to %d" % after["iterations"])
    done = mag.run(*resume, "train.stop.env_steps=1", "--iterations", after["iterations"] + 1, "--no-eval")
    mag.check(mag.inspect(team.path("once"))["iterations"] == after["iterations"], "it went on beyond a bound")
    mag.check("train.stop.env_steps is reached after %d of" % after["iterations"] in done.stdout, done.stdout)
    mag.run(*resume, "train.stop.env_steps=0", "--actors", "1", "--no-eval")
    after = mag.inspect(team.path("once"))
    mag.check(after["iterations"] == before["iterations"] + 3, "resumed under other bounds to %d" % after["iterations"])
    mag.check(after["ppo"]["rows"] == after["ppo"]["rows_from_results"], str(after["ppo"]))


def terminated(team):
    p, family = start_long(team, "term", actors=1, planners=1)
    p.signal(signal.SIGTERM)
    expect_gone(p, family, STOP_SECONDS, 143)
    mag.check("mag resume " + team.path("term") in p.text(), "the resume command is not printed")


def two_interrupts(team):
    p, family = start_long(team, "twice", actors=1, planners=1)
    learner = [c for c in family if "learner" in mag.command_of(c)][0]
    mag.kill(learner, signal.SIGSTOP)  # a learner that cannot save
    p.signal(signal.SIGINT)
    time.sleep(0.5)
    mag.check(p.running(), "the first interrupt waits for the save")
    p.signal(signal.SIGINT)
    took = expect_gone(p, family, 1.5, 130)
    mag.say("second Ctrl-C: gone after %.2f s" % took)


def worker_deaths(team):
    p, family = start_long(team, "deaths")
    for role in ("actor", "planner"):
        victim = [c for c in mag.children(p.pid) if role in mag.command_of(c)][0]
        mag.kill(victim)
        mag.wait_until(lambda: role + "-1 was killed by signal 9" in p.text(), 5, "the dead %s is named" % role)
        mag.wait_until(lambda: len([c for c in mag.children(p.pid) if role in mag.command_of(c)]) == 2, 5,
                       "another %s is started" % role)
    lines = len(open(team.path("deaths", "metrics.jsonl")).readlines())
    mag.wait_until(lambda: len(open(team.path("deaths", "metrics.jsonl")).readlines()) > lines + 2, 30, "it goes on")
    p.signal(signal.SIGINT)
    expect_gone(p, family, STOP_SECONDS, 130)


def without_planner(team):
    """PPO trains only on what planners send: without one the run waits before its policy phase."""
    learner = team.learner("alone", iterations=3, planners=1)
    team.worker("alone", "actor")
    time.sleep(3)
    mag.check(learner.running(), "the learner ended without a planner\n" + learner.tail())
    run = team.path("alone")
    mag.check(mag.query(run, "SELECT count(*) FROM jobs") == [(0,)], "jobs without a planner")
    mag.check(mag.query(run, "SELECT count(*) FROM metrics WHERE name LIKE 'ppo/%'") == [(0,)], "PPO without a planner")
    mag.check("planners" in learner.text(), "it does not say what it waits for\n" + learner.tail())
    team.worker("alone", "planner")
    learner.wait(60)
    mag.check(not os.path.exists(os.path.join(run, "run.db-wal")), "run.db alone is not the whole store")
    mag.check(mag.inspect(run)["iterations"] == 3, "it does not go on once a planner is there")


def looked_at_midway(team):
    """In the middle of an iteration run.db has its jobs and not yet its figures: neither is reported."""
    run = team.train("midway", iterations=2)
    db = sqlite3.connect(os.path.join(run, "run.db"))
    db.execute("DELETE FROM metrics WHERE iteration = 2")
    db.commit()
    db.close()
    ppo = mag.inspect(run)["ppo"]
    mag.check(ppo["rows"] > 0 and ppo["rows"] == ppo["rows_from_results"], str(ppo))


def mistakes(team):
    run = team.train("fine", iterations=1)
    damaged = team.path("damaged")
    mag.shutil.copytree(run, damaged)
    for name in os.listdir(damaged):
        if name.startswith("run.db-"):
            os.unlink(os.path.join(damaged, name))
    with open(os.path.join(damaged, "run.db"), "r+b") as f:
        f.write(b"\0" * 4096)
    hollow = team.path("hollow")
    mag.shutil.copytree(run, hollow)
    for folder in os.listdir(os.path.join(hollow, "ckpt")):
        path = os.path.join(hollow, "ckpt", folder, "state.json")
        if os.path.isdir(os.path.join(hollow, "ckpt", folder)) and not os.path.islink(os.path.dirname(path)):
            with open(path, "w") as f:
                f.write("{}")
    same = team.train_words("fine", iterations=1)
    settings = settings_of(run)
    logless = team.path("logless")
    mag.shutil.copytree(run, logless)
    mag.shutil.rmtree(os.path.join(logless, "logs"))
    open(os.path.join(logless, "logs"), "w").close()
    text = team.path("text.yaml")
    with open(text, "w") as f:
        f.write("net:\n  widht: 64\n")
    cases = [  # words, what the message must name, status (None: anything but 0)
        (["trian"], ["trian", "train"], 64),
        (["train", "--mpa", "3m"], ["--mpa", "--map"], 64),
        (["train", "--map", "3mm"], ["3mm", "3m"], None),
        (["train", "--preset", "quickstrat"], ["quickstrat", "quickstart"], None),
        (["train", "net.widht=64"], ["net.widht", "net.width"], None),
        (["train", "net.width=33"], ["net.width", "32"], None),
        (["train", "net.width=x"], ["net.width"], None),
        (["train", "--seed", "one"], ["seed"], None),
        (["train", "--actors", "0"], ["actors"], None),
        (["train", "--planners", "0"], ["planners"], None),
        (["train", "--config", team.path("none.yaml")], ["none.yaml"], None),
        (["train", "--config", text], ["widht", "width"], None),
        (["train", "--map", "3m", "--run-dir", "/proc/none"], ["/proc/none"], None),
        ([*same, "--seed", "4"], ["seed", "belongs to the run", "mag resume " + run], 78),
        ([*same, "resume=never"], ["holds a run already", "resume=never"], 78),
        ([*same, "resume=must", "--run-dir", team.path("empty")], ["holds no run"], 78),
        (["resume", team.path("none")], ["none"], 65),
        (["resume", team.dir], ["config.yaml"], 65),
        (["resume", run, "net.width=64"], ["net.width", "belongs to the run"], 78),
        (["resume", run, "--planners", "0"], ["planners"], 78),
        (["resume", run, "train.stop.secnds=9"], ["train.stop.secnds", "train.stop.seconds"], 78),
        (["eval", team.path("none")], ["none"], 65),
        (["bench", "env", "--map", "3n", "--ms", "10"], ["3n", "3m"], 78),
        (["resume", logless, "--iterations", "2"], [os.path.join(logless, "logs")], None),
        (["inspect"], ["inspect"], 64),
        (["inspect", run, "--hahs"], ["--hahs", "--hash"], 64),
        (["inspect", team.path("none"), "--hash"], ["none"], 65),
        (["inspect", team.dir], ["config.yaml"], 65),
        (["inspect", damaged, "--json"], ["run.db"], 65),
        (["inspect", hollow, "--json"], ["checkpoint"], 65),
        (["inspect", hollow, "--hash"], ["checkpoint"], 65),
        (["resume", hollow], ["is whole", "put a copy back"], 65),
        (["actor", "--connect=nowhere.invalid", "--connect-timeout", "1"], ["learner"], 69),
        (["learner", "--map", "3m", "service.control=tcp://0.0.0.0:0", "--run-dir", team.path("open")], ["insecure"], None),
    ]
    for words, named, status in cases:
        done = mag.run(*words, status=None, timeout=30)
        said = done.stderr + done.stdout
        label = "mag " + " ".join(map(str, words))
        mag.check(done.returncode != 0, label + ": exit status 0")
        mag.check(status is None or done.returncode == status, "%s: exit status %d, expected %s\n%s" %
                  (label, done.returncode, status, said))
        for word in named:
            mag.check(word in said, "%s: the message does not name '%s':\n%s" % (label, word, said))
        mag.check(len(said.splitlines()) <= 12, label + ": a wall of text:\n" + said)
        mag.check('"finished"' not in said, label + ": lines of an earlier learner:\n" + said)
    mag.check(settings_of(run) == settings, "a refused command changed the run's settings")
    mag.run("resume", run, "--no-eval")
    for task in (["--map", "10gen_terran"], ["--map", "Foraging-5x5-2p-1f-v3", "env.name=lbf"]):
        said = mag.run("bench", "env", "--ms", "10", *task).stdout
        mag.check(said.count(task[1]) == 1, "bench env %s measured something else:\n%s" % (task, said))


def no_room(team):
    """No byte can be written: the settings stay whole and the message says which file it is about."""
    def no_bytes():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    run = team.train("tight", iterations=1)
    settings = settings_of(run)
    done = subprocess.run([mag.MAG, "resume", run, "--iterations", "2"], preexec_fn=no_bytes, timeout=30,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    mag.check(done.returncode not in (0, -signal.SIGXFSZ), "exit status %d" % done.returncode)
    mag.check(os.path.join(run, "config.yaml") in done.stderr, "the file is not named:\n" + done.stderr)
    mag.check(settings_of(run) == settings, "the settings are not whole")
    left = [name for name in os.listdir(run) if name.endswith(".tmp")]
    mag.check(not left, "left behind: %s" % left)


def interrupt():
    with mag.Team() as team:
        one_interrupt(team)
        terminated(team)
        two_interrupts(team)
        worker_deaths(team)
        without_planner(team)
        looked_at_midway(team)
        mistakes(team)
        no_room(team)


mag.main(interrupt)
