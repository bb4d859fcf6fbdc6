#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""vs_pytorch.py - one MAG update in PyTorch and in `mag`, on the same cores, in one run.

  vs_pytorch.py --mag build/release/mag/mag --python VENV/bin/python [--map M]... [--rounds 3]
                [--phases model,rm,imagine,ppo,act] [--threads 2] [--debian] [--set key=value]...

The opponent is tests/parity/mag_torch.py in float32, eager, without gradients where none are
needed, with one-pass R_m, in two forms:
  best    first layers of one-hot inputs add rows (embedding_bag) wherever that is faster than
          the product on this machine, tried per phase before anything is measured; it also has
          every saving that comes naturally: one first planning step for all candidates, no
          policy after the last inner step, rewards from the stored next state
  plain   the same with one-hot products everywhere, and every candidate's first step computed
--debian adds /usr/bin/python3's PyTorch as a further opponent. Rounds alternate between the
sides; medians and ratios per phase are printed, with the kernels either side uses. The whole
update is the configured count of every phase times its median.

The programs compute one after the other, never at once. Sizes come from `mag`, so a run at
small sizes is the same program: --set net.width=64 --set train.windows=8.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
PHASES = ("model", "rm", "imagine", "ppo", "act_1", "act_16")
ACT_LANES, ACT_STEPS = 16, 40


# -------------------------------------------------------------------- the side of PyTorch: a worker


class Torch:
    """All phases of an update at given sizes; each call measures one unit in seconds."""

    def __init__(self, sizes, form, threads):
        global torch, mt
        import torch
        sys.path.insert(0, os.path.join(HERE, "..", "parity"))
        import mag_torch as mt
        torch.set_num_threads(threads)
        torch.set_flush_denormal(True)
        torch.manual_seed(1)
        self.z, self.form = sizes, form
        z = mt.Sizes(sizes["N"], sizes["O"], sizes["A"], sizes["D"], sizes["C"], sizes["K"],
                     sizes["heads"], sizes["layers"])
        self.agent = mt.Agent(z).float()
        self.optim = {k: mt.Optimiser(self.agent.get_submodule(k), k) for k in mt.OPTIMISERS}
        self.draws = mt.Quick()
        self.batch = self.windows(sizes["W"], sizes["B"])
        self.rows = None
        self.sparse = {p: form == "best" and self.faster(p) for p in ("rm", "imagine", "ppo")}

    def windows(self, W, B):
        N, O, A = self.z["N"], self.z["O"], self.z["A"]
        flag = lambda p: (torch.rand(W, B, 1, 1) < p).float().expand(W, B, N, 1)
        return mt.align(dict(obs=torch.rand(W, B, N, O), rew=torch.rand(W, B, 1, 1).expand(W, B, N, 1),
                             act=torch.nn.functional.one_hot(torch.randint(A, (W, B, N)), A).float(),
                             avail=(torch.rand(W, B, N, A) < 0.6).float(), done=flag(0.01),
                             fake=flag(0.01), last=flag(0.01)))

    def faster(self, phase):
        """Whether rows beat products in a phase: a trial, the first call of each not counted."""
        took = {}
        for sparse in (False, True):
            self.sparse = {phase: sparse}
            times = [self.timed(phase, trial=True) for _ in range(3)]
            took[sparse] = min(times[1:])
        return took[True] < took[False]

    def timed(self, phase, trial=False):
        begin = time.perf_counter()
        units = getattr(self, phase)(trial)
        return (time.perf_counter() - begin) / units

    def measure(self, phase):
        if phase == "ppo" and self.rows is None:
            self.make_rows()
        if phase != "imagine":
            self.timed(phase)
        return self.timed(phase)

    def model(self, trial):
        for _ in range(3):
            self.optim["model"].step(mt.model_losses(self.agent, self.batch, self.draws)["total"])
        return 3

    def rm(self, trial):
        for _ in range(3):
            label, s, h = mt.rm_batch(self.agent, self.batch, self.draws, sparse=self.sparse["rm"])
            self.optim["rm"].step(mt.rm_loss(self.agent, label, s, h))
        return 3

    def start(self):
        return mt.start_states(self.agent, self.batch, self.draws)

    def imagine(self, trial):
        z = self.z
        with torch.inference_mode():
            index, h = self.start()
            if trial:
                index, h = index[:64], h[:64]
            mt.imagine(self.agent, index, h, 3 if trial else z["R"], self.draws, z["L"], z["H"],
                       sparse=self.sparse["imagine"], share_first=self.form == "best")
        return 1

    def make_rows(self):
        with torch.no_grad():
            self.rows = mt.ppo_rows(mt.imagine(self.agent, *self.start(), self.z["R"], self.draws))

    def ppo(self, trial):
        if self.rows is None:
            self.make_rows()
        mt.ppo(self.agent, self.optim, self.rows, self.draws, 1, self.z["minibatch"], mt.ENTROPY,
               sparse=self.sparse["ppo"])
        return 1

    def act(self, lanes):
        obs = torch.rand(lanes, self.z["N"], self.z["O"])
        avail, state = torch.rand(lanes, self.z["N"], self.z["A"]) < 0.6, None
        with torch.inference_mode():
            for _ in range(ACT_STEPS):
                state, _ = mt.act(self.agent, state, obs, avail, self.draws, ())
        return ACT_STEPS * lanes

    def act_1(self, trial):
        return self.act(1)

    def act_16(self, trial):
        return self.act(ACT_LANES)

    def about(self):
        config = torch.__config__.show()
        isa = config.split("CPU capability usage: ")[-1].split()[0]
        library = "MKL" if "Math Kernel Library" in config else blas_core()
        return "PyTorch %s, %s, %s, %d threads; rows added in: %s" % (
            torch.__version__, isa, library, torch.get_num_threads(),
            ", ".join(k for k, on in self.sparse.items() if on) or "none")


def blas_core():
    """OpenBLAS says which core's kernels it took."""
    import ctypes
    try:
        name = ctypes.CDLL("libopenblas.so.0").openblas_get_corename
        name.restype = ctypes.c_char_p
        return "OpenBLAS " + name().decode()
    except OSError:
        return "an unknown BLAS"


def worker():
    """Lines of JSON: first the sizes; then {"phase": p} for a measurement."""
    say = lambda x: print(json.dumps(x), flush=True)
    first = json.loads(sys.stdin.readline())
    side = Torch(first["sizes"], first["form"], first["threads"])
    say(side.about())
    for line in sys.stdin:
        say(side.measure(json.loads(line)["phase"]))


class Worker:
    def __init__(self, name, python, form, sizes, threads):
        self.name = name
        env = {**os.environ, "OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)}
        self.process = subprocess.Popen([python, os.path.abspath(__file__), "--worker"], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, env=env)
        self.about = self.ask(sizes=sizes, form=form, threads=threads)

    def ask(self, **what):
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("%s: the PyTorch worker ended with status %s" % (self.name, self.process.wait()))
        return json.loads(line)

    def measure(self, phase):
        return self.ask(phase=phase)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


# -------------------------------------------------------------------------------- the side of mag


class Mag:
    name = "mag"

    def __init__(self, program, scenario, threads, settings):
        self.words = [program, "bench", "update", "--map", scenario, "--preset", "paper", "--json", "--sample",
                      "compute.threads=%d" % threads, *settings]
        out = self.run("act")
        self.sizes, self.counts = out["sizes"], out["counts"]
        self.about = "mag: kernels %s, products %s, %d threads, %.0f GFLOP/s of products" % (
            out["kernels"], out["products"], out["threads"], out["gflops_all"])

    def run(self, phase):
        done = subprocess.run(self.words + ["--phases", phase], stdout=subprocess.PIPE, text=True)
        if done.returncode:
            raise SystemExit("%s: exit status %d" % (" ".join(self.words), done.returncode))
        return json.loads(done.stdout)["update"]

    def measure(self, phase):
        """Seconds of one unit: of an epoch, of one environment's step."""
        phases = self.run(phase.split("_")[0])["phases"]
        return next(p["ms"] for p in phases if p["name"] == phase) / 1e3


# ------------------------------------------------------------------------------------- comparing


def whole(counts, median):
    return sum(counts[p] * median[p] for p in counts) if all(p in median for p in counts) else None


def compare(o, scenario):
    ours = Mag(o.mag, scenario, o.threads, o.settings)
    sides = [ours]
    forms = [("best", o.python, "best"), ("plain", o.python, "plain")]
    if o.debian:
        forms.append(("debian", "/usr/bin/python3", "best"))
    for name, python, form in forms:
        sides.append(Worker(name, python, form, ours.sizes, o.threads))
    print("\n%s  %s" % (scenario, json.dumps(ours.sizes)))
    for s in sides:
        print("  %-7s %s" % (s.name, s.about))
    wanted = [p for p in PHASES if p.split("_")[0] in o.phases]
    took = {s.name: {p: [] for p in wanted} for s in sides}
    for _ in range(o.rounds):
        for phase in wanted:
            for s in sides:
                took[s.name][phase].append(s.measure(phase))
    for s in sides[1:]:
        s.close()
    median = {n: {p: statistics.median(t) for p, t in x.items()} for n, x in took.items()}
    print("  %-14s" % "seconds" + "".join("%12s" % n for n in median) +
          "".join("%14s" % ("x " + n) for n in list(median)[1:]))
    for p in wanted + ["whole update"]:
        row = {n: whole(ours.counts, m) if p == "whole update" else m[p] for n, m in median.items()}
        if row["mag"] is None:
            continue
        print("  %-14s" % p + "".join("%12.5g" % v for v in row.values()) +
              "".join("%14.2f" % (v / row["mag"]) for v in list(row.values())[1:]), flush=True)
    return dict(map=scenario, about=[s.about for s in sides], sizes=ours.sizes, seconds=took, median=median)


def main():
    if sys.argv[1:] == ["--worker"]:
        return worker()
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--mag", required=True, help="the built program")
    a.add_argument("--python", default=sys.executable, help="a Python with PyTorch 2.x")
    a.add_argument("--map", action="append", help="2s_vs_1sc and 3s5z_vs_3s6z unless given")
    a.add_argument("--rounds", type=int, default=3)
    a.add_argument("--threads", type=int, default=2)
    a.add_argument("--phases", type=lambda t: t.split(","), default=["model", "rm", "imagine", "ppo", "act"])
    a.add_argument("--debian", action="store_true")
    a.add_argument("--set", action="append", default=[], dest="settings", metavar="KEY=VALUE")
    a.add_argument("--json", help="file for everything measured")
    o = a.parse_args()
    results = [compare(o, m) for m in o.map or ("2s_vs_1sc", "3s5z_vs_3s6z")]
    if o.json:
        with open(o.json, "w") as f:
            json.dump(results, f, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
