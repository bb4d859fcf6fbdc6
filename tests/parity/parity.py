#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""parity.py - the C learning core against the PyTorch program beside this file.

  parity.py hunt PARITY_CASE [--seeds 1:40] [--cases mag,ppo] [--paper] [--keep DIR]
      make cases of odd sizes, compute each with both programs, compare
  parity.py replay X.in.safetensors [MINE.out.safetensors]
      compute a recorded case with PyTorch; without the second name compare with X.out
  parity.py record DIR
      write the recordings of tests/parity/recordings
  parity.py load CHECKPOINT
      a checkpoint's model.safetensors into the modules, strict; prints parameter counts

Everything follows from the seed. Needs numpy and torch: Debian's python3-torch serves.
Exit: 0 equal, 1 differences, 77 without torch.
"""
import argparse
import contextlib
import os
import subprocess
import sys
import tempfile

try:
    import numpy as np
    import torch
except ImportError as missing:
    print("parity.py needs Debian's python3-torch: %s" % missing)
    sys.exit(77)

import cases
import mag_torch as mt

HERE = os.path.dirname(os.path.abspath(__file__))
KINK = 1e-6  # of a layer's root mean square: closer to 0 a ReLU may flip by rounding
CLIP_EDGE = 2e-4  # distance of PPO's ratios from the clip
TRIES = 40


# --------------------------------------------------------------------------------------- sizes


def pick_sizes(rng):
    """Sizes and lengths, odd wherever the C code allows."""
    heads = int(rng.choice([1, 2, 3, 4, 5, 6, 8]))
    widths = [d for d in (32, 64, 96, 160) if d % heads == 0]
    z = mt.Sizes(N=int(rng.integers(2, 8)), O=int(rng.integers(1, 40)), A=int(rng.integers(2, 20)),
                 D=int(rng.choice(widths)), C=int(rng.integers(1, 12)), K=int(rng.integers(2, 14)),
                 heads=heads, layers=int(rng.integers(1, 5)))
    lengths = dict(W=int(rng.integers(4, 9)), B=int(rng.integers(1, 6)), R=int(rng.integers(2, 6)),
                   L=int(rng.integers(2, 6)), H=int(rng.integers(1, 5)), epochs=int(rng.integers(1, 4)))
    return z, lengths


def paper_sizes(rng):
    """The paper's networks, with a few windows."""
    z = mt.Sizes(N=int(rng.integers(2, 9)), O=int(rng.integers(17, 140)), A=int(rng.integers(7, 31)),
                 D=256, C=32, K=32, heads=8, layers=3)
    return z, dict(W=8, B=2, R=5, L=4, H=4, epochs=2)


def shaped(lengths, case):
    """The lengths a case's name stands for. PPO: a whole first minibatch, and enough of them for
    the annealing of eta to show."""
    lengths = {**lengths, **{"mag_one": dict(L=1), "mag_h1": dict(H=1)}.get(case, {})}
    if case != "ppo":
        return lengths
    size, starts = cases.PPO_ROWS, (lengths["R"] - 1) * (lengths["W"] - 2)
    B = max(lengths["B"], -(-size // starts))
    epochs = max(lengths["epochs"], -(-10 // -(-B * starts // size)))
    return {**lengths, "B": B, "epochs": epochs}


# -------------------------------------------------------------------------------------- inputs


def weights(rng, z, groups):
    """Weights larger than initial ones, so that every activation is at work."""
    out = {}
    for name, p in mt.Agent(z).state_dict().items():
        if not name.startswith(groups):
            continue
        if p.dim() == 2:
            x = rng.normal(size=p.shape) * np.sqrt(1.5 / p.shape[1])
        else:
            x = 0.1 * rng.normal(size=p.shape) + ("norm" in name and "weight" in name)
        out[name] = x.astype(np.float32)
    return out


def windows(rng, z, W, B):
    """Episodes that end and begin anywhere, with and without absorbing records, and die apart."""
    last, fake, done = (np.zeros((W, B)) for _ in range(3))
    for b in range(B):
        k = int(rng.integers(0, W + 2)) - 1
        while k < W:
            absorbed = rng.random() < 0.5
            for at in (k - 1, k):  # the two absorbing records of an episode
                if absorbed and 0 <= at:
                    fake[at, b] = done[at, b] = 1
            if k >= 0:
                last[k, b] = done[k, b] = 1
            k += int(rng.integers(3, W + 2))
    dead = rng.random((W, B, z.N)) < 0.25
    joint = lambda x: np.repeat(x[:, :, None, None], z.N, 2)
    obs = rng.normal(size=(W, B, z.N, z.O)) * np.where(rng.random((W, B, 1, 1)) < 0.2, 4, 1)
    obs[dead] = 0
    avail = rng.random((W, B, z.N, z.A)) < 0.6
    avail[..., 0] |= ~avail.any(-1)
    action = rng.integers(0, z.A, (W, B, z.N))
    avail[dead], action[dead] = np.arange(z.A) == 0, 0
    absorbing = joint(fake)[..., 0] > 0
    obs[absorbing], avail[absorbing] = 0, True
    action[absorbing] = rng.integers(0, z.A, int(absorbing.sum()))
    rew = np.repeat(rng.normal(size=(W, B, 1, 1)) * 3, z.N, 2) * (1 - joint(fake))
    out = dict(obs=obs, act=np.eye(z.A)[action], avail=avail, rew=rew, done=joint(done),
               fake=joint(fake), last=joint(last))
    return {"window." + k: x.astype(np.float32) for k, x in out.items()}


def of_size(rng, *shape, spread=1.0):
    return (rng.normal(size=shape) * spread).astype(np.float32)


def operation_inputs(rng, z, case):
    """Inputs of the cases that need neither windows nor draws."""
    rows = int(rng.integers(1, 7))
    cube = lambda spread: of_size(rng, rows, z.C, z.K, spread=spread)
    if case in ("attention", "gru"):
        names = ("x", "dy") if case == "attention" else ("x", "h", "dy")
        prefix = "model.transition." + case + "."
        return {**weights(rng, z, prefix), **{k: of_size(rng, rows, z.N, z.D) for k in names}}
    if case == "kl":
        return {"logits": cube(6), "logits2": cube(6), "dy": cube(1)}
    if case == "lambda_return":
        T, S = int(rng.integers(1, 9)), rows
        return {"reward": of_size(rng, T, S, 1), "cont": of_size(rng, T, S, z.N),
                "value": of_size(rng, T + 1, S, z.N)}
    n = int(rng.integers(1, 100))
    out = {}
    for group in cases.GROUPS:
        out["adam.%s.param" % group] = of_size(rng, n)
        size = 10.0 ** rng.integers(-9, 3, (10, n))
        out["adam.%s.grad" % group] = (rng.normal(size=(10, n)) * size).astype(np.float32)
    return out


def latent_inputs(rng, z):
    rows = int(rng.integers(1, 12))
    logits = of_size(rng, rows, z.C, z.K, spread=2)
    made = cases.Made(rng)
    made.classes("latent", (), torch.softmax(cases.real(logits), -1))
    return {"logits": logits, "dy": of_size(rng, rows, z.C, z.K), "u.latent": made.kept["latent"][()]}


# ------------------------------------------------------------------------------ keeping distance


class Redraw(Exception):
    """These inputs lie where float32 and float64 may part for good reasons."""


@contextlib.contextmanager
def no_kinks():
    """Inside, a ReLU's input near 0 raises Redraw."""
    relu = torch.relu

    def watched(x):
        if float(x.detach().abs().min()) < KINK * float(x.detach().square().mean().sqrt()):
            raise Redraw("a ReLU at its kink")
        return relu(x)
    torch.relu = watched
    try:
        yield
    finally:
        torch.relu = relu


def clear_of_clip(ratio):
    if min(float((ratio - edge).abs().min()) for edge in (1 - mt.PPO_CLIP, 1 + mt.PPO_CLIP)) < CLIP_EDGE:
        raise Redraw("a ratio at the clip")


HAS_KINKS = ("attention", "model", "model_no_dropout", "rm", "rm_full", "rm_two_pass", "rm_kl_rew", "ppo")


def make_once(rng, case, z, lengths):
    if case == "latent":
        given, made = latent_inputs(rng, z), None
    elif case in cases.ONE_OPERATION and case != "align":
        given, made = operation_inputs(rng, z, case), None
    else:
        given = windows(rng, z, lengths["W"], lengths["B"])
        if case != "align":
            given.update(weights(rng, z, cases.GROUPS))
        made = cases.Made(rng)
    meta = dict(case=case, N=z.N, O=z.O, A=z.A, D=z.D, cats=z.C, classes=z.K, heads=z.heads)
    agent = cases.agent_of(given, meta)
    watch = no_kinks() if case in HAS_KINKS else contextlib.nullcontext()
    sizes = {k: lengths[k] for k in ("R", "L", "H", "epochs")}
    with watch:
        out = cases.call(case, agent, given, made, **sizes,
                         seen=clear_of_clip if case == "ppo" else None)
    return {**given, **(made.arrays() if made else {})}, cases.numpy_of(out), meta


def make(seed, case, sizes=pick_sizes):
    """(inputs, outputs, metadata) of a case."""
    rng = np.random.default_rng([seed, sorted(ALL).index(case)])
    z, lengths = sizes(rng)
    lengths = shaped(lengths, case)
    for _ in range(TRIES):
        try:
            given, out, meta = make_once(rng, case, z, lengths)
            return given, out, {**meta, "seed": seed}
        except Redraw as why:
            text = str(why)
    raise SystemExit("%s, seed %d: %d draws and always %s" % (case, seed, TRIES, text))


ALL = tuple(cases.ONE_OPERATION) + tuple(cases.TRAINING) + tuple(cases.IMAGINING) + ("ppo",)


# ------------------------------------------------------------------------------------ commands


def report(name, distances):
    """One line, and one per difference; True if all agree."""
    wrong = [text for far, text in distances if far > cases.TOLERANCE]
    print("%-60s %s  worst %.2g" % (name, "DIFFERS" if wrong else "agrees", max(distances)[0]), flush=True)
    for text in wrong:
        print("    " + text)
    return not wrong


def describe(case, meta, given):
    z = cases.sizes_of(given, meta)
    text = "%s seed %s N%d O%d A%d D%d C%dx%d heads %d layers %d" % (
        case, meta["seed"], z.N, z.O, z.A, z.D, z.C, z.K, z.heads, z.layers)
    if "u.plan.latent" in given:
        text += " H%d L%d" % given["u.plan.latent"].shape[1:3]
    return text


def hunt(program, seeds, names, keep, sizes):
    good = True
    with tempfile.TemporaryDirectory() as scratch:
        folder = keep or scratch
        for seed in seeds:
            for case in names:
                given, expected, meta = make(seed, case, sizes)
                stem = os.path.join(folder, "%s-%d" % (case, seed))
                cases.write(stem + ".in.safetensors", given, meta)
                cases.write(stem + ".out.safetensors", expected, meta)
                mine = stem + ".mine.safetensors"
                done = subprocess.run([program, stem + ".in.safetensors", mine])
                name = describe(case, meta, given)
                if done.returncode:
                    print("%s: parity_case ends with status %d" % (name, done.returncode))
                    good = False
                    continue
                good &= report(name, cases.compare(expected, cases.read(mine)[0]))
    return good


def replay(path, out):
    given, meta = cases.read(path)
    got = cases.run(given, meta)
    if out:
        cases.write(out, got, meta)
        return True
    expected, _ = cases.read(path.replace(".in.", ".out."))
    return report(os.path.basename(path), cases.compare(expected, got))


# What tests/golden/mag has no recording of; sizes unlike the defaults and unlike each other.
RECORDED = {
    "mamba": (mt.Sizes(3, 9, 5, 32, 5, 6, 2, 2), dict(W=6, B=3, R=4, L=0, H=0, epochs=0)),
    "mag": (mt.Sizes(2, 7, 6, 32, 3, 11, 4, 1), dict(W=6, B=3, R=4, L=3, H=3, epochs=0)),
    "mag_batch": (mt.Sizes(2, 7, 6, 32, 3, 11, 4, 1), dict(W=6, B=3, R=4, L=4, H=2, epochs=0)),
    "mag_one": (mt.Sizes(4, 3, 4, 32, 6, 4, 1, 1), dict(W=5, B=2, R=3, L=1, H=3, epochs=0)),
    "mag_h1": (mt.Sizes(3, 5, 9, 32, 4, 7, 2, 2), dict(W=5, B=3, R=4, L=4, H=1, epochs=0)),
    "ppo": (mt.Sizes(3, 6, 5, 32, 5, 5, 2, 1), dict(W=6, B=4, R=4, L=0, H=0, epochs=2)),
    "act": (mt.Sizes(5, 11, 8, 32, 7, 5, 8, 3), dict(W=4, B=3, R=0, L=0, H=0, epochs=0)),
    "rm": (mt.Sizes(3, 4, 3, 32, 4, 6, 2, 1), dict(W=7, B=3, R=0, L=0, H=0, epochs=0)),
}


def unread(case, name):
    """Weights no output of a case depends on are left out of recordings."""
    dead = {"act": ("rm.", "critic.", "model.prior.", "model.reward.", "model.pcont.", "model.avail.",
                    "model.decoder.", "model.action_info."),
            "rm": ("actor.", "critic."), "mamba": ("rm.", "model.decoder.", "model.action_info."),
            "ppo": ("rm.", "model.decoder.", "model.action_info.")}
    return name.startswith(dead.get(case, ("model.decoder.", "model.action_info.")))


def record(folder):
    os.makedirs(folder, exist_ok=True)
    for case, sizes in RECORDED.items():
        given, out, meta = make(1, case, lambda rng: sizes)
        given = {k: x for k, x in given.items() if not unread(case, k)}
        cases.write(os.path.join(folder, case + ".in.safetensors"), given, meta)
        cases.write(os.path.join(folder, case + ".out.safetensors"), out, meta)
    return True


def sizes_of_checkpoint(t, heads):
    """Sizes that a checkpoint's shapes tell; the heads and the table of agents they do not."""
    O, A, D = t["model.encoder.0.weight"].shape[1], len(t["actor.4.bias"]), len(t["actor.0.bias"])
    S = len(t["model.prior.2.bias"])
    layers = sum(k.startswith("model.transition.attention.layers.") and k.endswith("norm1.bias") for k in t)
    return mt.Sizes(N=2, O=O, A=A, D=D, C=1, K=S, heads=heads, layers=layers)


def load(folder):
    t, _ = cases.read(os.path.join(folder, "model.safetensors"))
    agent = mt.Agent(sizes_of_checkpoint(t, 1))
    agent.load_state_dict({k: torch.from_numpy(x.copy()) for k, x in t.items()}, strict=True)
    for group in cases.GROUPS:
        print("%-8s %9d parameters" % (group, sum(p.numel() for p in agent.get_submodule(group).parameters())))
    return True


def span(text):
    first, _, last = text.partition(":")
    return range(int(first), int(last or first) + 1)


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sub = a.add_subparsers(dest="command", required=True)
    h = sub.add_parser("hunt")
    h.add_argument("program", help="the built parity_case")
    h.add_argument("--seeds", type=span, default=range(1, 2), help="FIRST:LAST")
    h.add_argument("--cases", type=lambda t: t.split(","), default=ALL)
    h.add_argument("--keep", help="directory for the files")
    h.add_argument("--paper", action="store_true", help="the paper's networks")
    r = sub.add_parser("replay")
    r.add_argument("input")
    r.add_argument("output", nargs="?")
    sub.add_parser("record").add_argument("folder")
    sub.add_parser("load").add_argument("folder")
    o = a.parse_args()
    torch.set_num_threads(1)
    good = {"hunt": lambda: hunt(o.program, o.seeds, o.cases, o.keep, paper_sizes if o.paper else pick_sizes),
            "replay": lambda: replay(o.input, o.output),
            "record": lambda: record(o.folder),
            "load": lambda: load(o.folder)}[o.command]()
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
