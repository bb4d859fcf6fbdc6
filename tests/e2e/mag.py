# SPDX-License-Identifier: Apache-2.0
"""Real processes for the end-to-end tests: start `mag`, wait with deadlines, always clean up.

    with mag.Team() as team:               # a scratch directory and everything started in it
        run = team.train("a", seed=3)      # runs `mag train` to its end
        print(mag.hash_of(run))

Everything a test starts is remembered by PID and killed at the end, also when the test fails;
then the scratch directory stays and its path is printed. The program under test is named by
the environment variable MAG (ctest sets it).
"""
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time

MAG = os.environ.get("MAG", "mag")
if "/" in MAG:
    MAG = os.path.abspath(MAG)  # processes start in the scratch directory
SLOW = float(os.environ.get("MAG_TEST_SLOW", "1"))  # stretches every deadline
SKIP = 77

# Small but whole: three units, episodes, layers of everything, dropout on; milliseconds per step.
TINY = {
    "net.width": 32, "net.categoricals": 4, "net.classes": 8, "net.heads": 2, "net.layers": 1,
    "replay.window": 8, "replay.min": 100, "replay.capacity": 5000,
    "collect.episodes": 3, "collect.scale_updates": "false",
    "train.model_steps": 6, "train.rm_steps": 4, "train.batches": 2, "train.windows": 8,
    "train.ppo_epochs": 2, "train.minibatch": 64,
    "train.warmup_model_steps": 10, "train.warmup_rm_steps": 6, "train.dropout": 0.1,
    "imagine.steps": 4, "imagine.candidates": 3, "imagine.horizon": 3, "job.windows": 2,
    "eval.episodes": 4, "ckpt.every": 1, "compute.threads": 1,
}
ITERATIONS = 5


class Failure(Exception):
    pass


def check(condition, text):
    if not condition:
        raise Failure(text)


def say(*words):
    print(*words, flush=True)


def settings(changes=None):
    return ["%s=%s" % item for item in {**TINY, **(changes or {})}.items()]


def alive(pid):
    """Is there a process of this number that is not a zombie?"""
    try:
        with open("/proc/%d/stat" % pid) as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def children(pid):
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open("/proc/%s/stat" % entry) as f:
                    if int(f.read().rsplit(")", 1)[1].split()[1]) == pid:
                        found.append(int(entry))
            except OSError:
                pass
    return found


def command_of(pid):
    try:
        with open("/proc/%d/cmdline" % pid, "rb") as f:
            return f.read().decode(errors="replace").split("\0")[:-1]
    except OSError:
        return []


def kill(pid, number=signal.SIGKILL):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def wait_until(condition, seconds, what):
    deadline = time.monotonic() + seconds * SLOW
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise Failure("waited %g s in vain: %s" % (seconds * SLOW, what))


def run(*words, env=None, timeout=60, status=0):
    """`mag WORDS...` to its end; returns its output. status None: any."""
    done = subprocess.run([MAG, *map(str, words)], env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout * SLOW, text=True)
    if status is not None and done.returncode != status:
        raise Failure("mag %s: exit status %d, expected %d\n%s%s" %
                      (" ".join(map(str, words)), done.returncode, status, done.stdout, done.stderr))
    return done


def hash_of(run_dir):
    return run("inspect", run_dir, "--hash").stdout.strip()


def inspect(run_dir):
    return json.loads(run("inspect", run_dir, "--json").stdout)


def query(run_dir, sql):
    """Rows of run.db as it lies on the disk, even of a run that was just killed: asked of a copy,
    so that the test changes nothing."""
    with tempfile.TemporaryDirectory() as copy:
        for name in ("run.db", "run.db-wal"):
            if os.path.exists(os.path.join(run_dir, name)):
                shutil.copy(os.path.join(run_dir, name), copy)
        db = sqlite3.connect(os.path.join(copy, "run.db"))
        try:
            return db.execute(sql).fetchall()
        finally:
            db.close()


def episodes(run_dir):
    """{(kind, number, digest)} of all that is stored."""
    return set(query(run_dir, "SELECT kind, episode_no, digest FROM episodes"))


class Process:
    """A started `mag VERB`: its PID, and its output in a file."""

    def __init__(self, team, name, words, env=None):
        self.name, self.log = name, os.path.join(team.dir, name + ".out")
        self.words = [MAG, *map(str, words)]
        self.out = open(self.log, "ab")
        self.popen = subprocess.Popen(self.words, stdin=subprocess.DEVNULL, stdout=self.out, stderr=subprocess.STDOUT,
                                      env={**os.environ, **(env or {})}, start_new_session=True, cwd=team.dir)
        self.pid = self.popen.pid

    def running(self):
        return self.popen.poll() is None

    def signal(self, number):
        if self.running():
            os.kill(self.pid, number)

    def wait(self, seconds, status=0):
        try:
            got = self.popen.wait(seconds * SLOW)
        except subprocess.TimeoutExpired:
            raise Failure("%s still runs after %g s\n%s" % (self.name, seconds * SLOW, self.tail()))
        if status is not None and got != status:
            raise Failure("%s ended with %d, expected %d\n%s" % (self.name, got, status, self.tail()))
        return got

    def text(self):
        with open(self.log, errors="replace") as f:
            return f.read()

    def tail(self, lines=25):
        return "\n".join(self.text().splitlines()[-lines:])


class Team:
    """A scratch directory and all processes of one test."""

    def __init__(self, name=None):
        self.dir = tempfile.mkdtemp(prefix="mag-e2e-%s-" % (name or os.path.basename(sys.argv[0])))
        self.processes, self.failed = [], False

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        for p in self.processes:
            for pid in self.family(p.pid):
                kill(pid, signal.SIGCONT)
                kill(pid)
            p.popen.wait()
            p.out.close()
        if kind is None:
            shutil.rmtree(self.dir, ignore_errors=True)
        else:
            say("kept for a look:", self.dir)

    @staticmethod
    def family(pid):
        """A process and what it started, itself first: once stopped it starts nothing new."""
        kill(pid, signal.SIGSTOP)
        return [pid, *children(pid)]

    def path(self, *names):
        return os.path.join(self.dir, *names)

    def start(self, name, *words, env=None):
        p = Process(self, name, words, env)
        self.processes.append(p)
        return p

    def train_words(self, name, seed=3, actors=1, planners=1, iterations=ITERATIONS, changes=None):
        return ["train", "--map", "3m", "--preset", "paper", "--seed", seed, "--actors", actors, "--planners", planners,
                "--iterations", iterations, "--run-dir", self.path(name), "--no-eval", *settings(changes)]

    def train(self, name, timeout=90, env=None, **how):
        """`mag train` to its end; returns the run directory."""
        run(*self.train_words(name, **how), env=env, timeout=timeout)
        return self.path(name)

    def endpoints(self, name):
        """Sockets of a service that the test starts role by role."""
        folder = self.path(name + ".ipc")
        os.makedirs(folder, mode=0o700, exist_ok=True)
        return ["service.%s=ipc://%s/%s" % (plane, folder, plane) for plane in ("control", "data", "weights")]

    def learner(self, run_name, seed=3, iterations=ITERATIONS, actors=1, planners=1, changes=None, env=None):
        return self.start("learner-" + run_name, "learner", "--map", "3m", "--preset", "paper", "--seed", seed,
                          "--iterations", iterations, "--run-dir", self.path(run_name),
                          "workers.actors=%d" % actors, "workers.planners=%d" % planners,
                          *settings(changes), *self.endpoints(run_name), env=env)

    def worker(self, run_name, role, number=1, env=None):
        return self.start("%s-%d-%s" % (role, number, run_name), role, "compute.threads=1",
                          *self.endpoints(run_name), env=env)


def main(test):
    """Runs a test function; exit status for ctest."""
    begin = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ctest's timeout: clean up, too
    try:
        test()
    except Failure as why:
        say("FAILED:", why)
        sys.exit(1)
    say("passed in %.1f s" % (time.monotonic() - begin))
