#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""make_recordings.py - write the recordings that parity_case is tested against.

A second implementation of the world model and R_m in numpy, float64, made from the
specification of the algorithm and sharing nothing with the C code: gradients come from a small
reverse-mode tape below. Every gradient is checked here against central differences along random
directions, with all stop-gradients and draws frozen at their base values, before it is written.

    /usr/bin/python3 make_recordings.py [DIRECTORY]     needs Debian's python3-numpy

Sizes are unlike the program's defaults on purpose (30 latent columns are no multiple of 32).
A file pair NAME.in / NAME.out holds weights, inputs and all uniforms / what must come out.
"""
import json
import os
import struct
import sys

import numpy as np

N, O, A, D, CATS, CLASSES, HEADS, LAYERS = 2, 7, 5, 32, 5, 6, 2, 2
W, B = 6, 3
T = W - 1
S = CATS * CLASSES
META = dict(N=N, O=O, A=A, D=D, cats=CATS, classes=CLASSES, heads=HEADS)
GAP = 1e-5  # uniforms keep this distance from every boundary


# ------------------------------------------------------------------------------- safetensors


def write(path, tensors, meta):
    kinds = {"float32": "F32", "int64": "I64", "bool": "BOOL"}
    order = sorted(tensors, key=lambda k: (-tensors[k].dtype.itemsize, k))
    header, at, blobs = {"__metadata__": {k: str(v) for k, v in meta.items()}}, 0, []
    for name in order:
        x = np.ascontiguousarray(tensors[name])
        header[name] = dict(dtype=kinds[str(x.dtype)], shape=list(tensors[name].shape),
                            data_offsets=[at, at + x.nbytes])
        at += x.nbytes
        blobs.append(x.tobytes())
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))


# ----------------------------------------------------------------------------- reverse mode


def unbroadcast(g, shape):
    while g.ndim > len(shape):
        g = g.sum(0)
    for i, n in enumerate(shape):
        if n == 1 and g.shape[i] != 1:
            g = g.sum(i, keepdims=True)
    return g


class V:
    """A value with the recipe for its gradient."""

    __array_ufunc__ = None  # array + V is V.__radd__

    def __init__(self, x, parents=()):
        self.x = np.asarray(x, np.float64)
        self.parents, self.g = parents, None

    def __add__(self, o):
        o = lift(o)
        return V(self.x + o.x, ((self, lambda g: g), (o, lambda g: g)))

    __radd__ = __add__

    def __neg__(self):
        return V(-self.x, ((self, lambda g: -g),))

    def __sub__(self, o):
        return self + -lift(o)

    def __rsub__(self, o):
        return lift(o) - self

    def __mul__(self, o):
        o = lift(o)
        return V(self.x * o.x, ((self, lambda g: g * o.x), (o, lambda g: g * self.x)))

    __rmul__ = __mul__

    def __truediv__(self, o):
        o = lift(o)
        return V(self.x / o.x,
                 ((self, lambda g: g / o.x), (o, lambda g: -g * self.x / o.x ** 2)))

    def __matmul__(self, o):
        o = lift(o)
        return V(self.x @ o.x, ((self, lambda g: g @ np.swapaxes(o.x, -1, -2)),
                                (o, lambda g: np.swapaxes(self.x, -1, -2) @ g)))

    def __getitem__(self, key):
        def back(g):
            z = np.zeros_like(self.x)
            np.add.at(z, key, g)
            return z
        return V(self.x[key], ((self, back),))

    def map(self, y, slope):
        return V(y, ((self, lambda g: g * slope),))

    def sum(self, axis=None, keep=False):
        y = self.x.sum(axis, keepdims=keep)

        def back(g):
            if axis is not None and not keep:
                g = np.expand_dims(g, axis)
            return np.broadcast_to(g, self.x.shape)
        return V(y, ((self, back),))

    def reshape(self, *shape):
        return V(self.x.reshape(*shape), ((self, lambda g: g.reshape(self.x.shape)),))

    def swap(self, a, b):
        return V(np.swapaxes(self.x, a, b), ((self, lambda g: np.swapaxes(g, a, b)),))

    def backward(self, seed=1.0):
        order, seen = [], set()

        def visit(v):
            stack = [(v, iter(v.parents))]
            seen.add(id(v))
            while stack:
                node, it = stack[-1]
                for parent, _ in it:
                    if id(parent) not in seen:
                        seen.add(id(parent))
                        stack.append((parent, iter(parent.parents)))
                        break
                else:
                    order.append(node)
                    stack.pop()
        visit(self)
        for v in order:
            v.g = np.zeros_like(v.x)
        self.g = self.g + seed
        for v in reversed(order):
            for parent, back in v.parents:
                parent.g = parent.g + unbroadcast(back(v.g), parent.x.shape)


def lift(x):
    return x if isinstance(x, V) else V(x)


def exp(v):
    y = np.exp(v.x)
    return v.map(y, y)


def log(v):
    return v.map(np.log(v.x), 1 / v.x)


def relu(v):
    return v.map(np.maximum(v.x, 0), v.x > 0)


def elu(v):
    y = np.where(v.x > 0, v.x, np.expm1(np.minimum(v.x, 0)))
    return v.map(y, np.where(v.x > 0, 1, y + 1))


def sigmoid(v):
    y = 1 / (1 + np.exp(-v.x))
    return v.map(y, y * (1 - y))


def tanh(v):
    y = np.tanh(v.x)
    return v.map(y, 1 - y * y)


def cat(vs, axis=-1):
    widths = np.cumsum([v.x.shape[axis] for v in vs])[:-1]
    y = np.concatenate([v.x for v in vs], axis)

    def piece(i):
        return lambda g: np.split(g, widths, axis)[i]
    return V(y, tuple((v, piece(i)) for i, v in enumerate(vs)))


def softmax(v):
    e = exp(v - v.x.max(-1, keepdims=True))
    return e / e.sum(-1, True)


def smooth_l1(d):
    small = np.abs(d.x) < 1
    return d.map(np.where(small, d.x ** 2 / 2, np.abs(d.x) - 0.5),
                 np.where(small, d.x, np.sign(d.x)))


def bernoulli(logit, y):
    l = logit.x
    value = np.maximum(l, 0) - l * y + np.log1p(np.exp(-np.abs(l)))
    return logit.map(value, 1 / (1 + np.exp(-l)) - y)


class Frozen:
    """Stop-gradients and draws: recorded on the first pass, repeated afterwards."""

    def __init__(self):
        self.kept, self.at, self.replay = [], 0, False

    def rewind(self):
        self.at, self.replay = 0, True

    def keep(self, make):
        if not self.replay:
            self.kept.append(make())
        self.at += 1
        return self.kept[self.at - 1]

    def sg(self, v):
        return V(self.keep(lambda: v.x.copy()))


# ---------------------------------------------------------------------------------- networks


def linear(p, name, x):
    return x @ p[name + ".weight"].swap(0, 1) + p[name + ".bias"]


def mlp(p, name, x, acts):
    for i, act in enumerate(acts):
        x = linear(p, "%s.%d" % (name, 2 * i), x)
        x = act(x) if act else x
    return x


def positions():
    angle = np.arange(N)[:, None] / 10000 ** (2 * (np.arange(D) // 2) / D)
    return np.where(np.arange(D) % 2, np.cos(angle), np.sin(angle))


def norm(p, name, x):
    c = x - x.sum(-1, True) / D
    var = (c * c).sum(-1, True) / D + 1e-5
    root = np.sqrt(var.x)
    return c / var.map(root, 0.5 / root) * p[name + ".weight"] + p[name + ".bias"]


def drop(x, u):
    return x if u is None else x * np.where(u >= np.float32(0.1), 1 / 0.9, 0)


def attention(p, prefix, x, masks=None):
    """x [M][N][D]; masks(layer, site) or None."""
    x = x + positions()
    M, w = x.x.shape[0], D // HEADS
    for i in range(LAYERS):
        at = "%s.layers.%d." % (prefix, i)
        u = masks if masks else lambda layer, site: None
        qkv = x @ p[at + "self_attn.in_proj_weight"].swap(0, 1) + p[at + "self_attn.in_proj_bias"]
        q, k, v = (qkv[:, :, j * D:(j + 1) * D].reshape(M, N, HEADS, w).swap(1, 2)
                   for j in range(3))
        a = drop(softmax(q @ k.swap(2, 3) * (1 / np.sqrt(w))), u(i, "attn"))
        y = linear(p, at + "self_attn.out_proj", (a @ v).swap(1, 2).reshape(M, N, D))
        x = norm(p, at + "norm1", x + drop(y, u(i, "out")))
        f = drop(relu(linear(p, at + "linear1", x)), u(i, "ff"))
        x = norm(p, at + "norm2", x + drop(linear(p, at + "linear2", f), u(i, "ffout")))
    return x


def gru(p, prefix, x, h):
    gi = x @ p[prefix + "weight_ih_l0"].swap(0, 1) + p[prefix + "bias_ih_l0"]
    gh = h @ p[prefix + "weight_hh_l0"].swap(0, 1) + p[prefix + "bias_hh_l0"]
    part = lambda g, i: g[..., i * D:(i + 1) * D]
    r, z = (sigmoid(part(gi, i) + part(gh, i)) for i in range(2))
    n = tanh(part(gi, 2) + r * part(gh, 2))
    return (1 - z) * n + z * h


def draw(prob, u):
    """Classes by inverse CDF. Uniforms near a boundary are moved, in place, to stay clear."""
    cum = prob.cumsum(-1)
    for _ in range(100):
        near = (np.abs(cum - u[..., None]) < 2 * GAP).any(-1)
        if not near.any():
            break
        u[near] = (u[near] + np.float32(3 * GAP)) % 1
    return (u[..., None] >= cum[..., :-1]).sum(-1)


def latent(logits, u, fz):
    """Straight-through sample; returns s, class indices, softmax."""
    prob = softmax(logits)
    index = fz.keep(lambda: draw(prob.x, u))
    s = np.eye(CLASSES)[index] + (prob - fz.sg(prob))
    return s, index, prob


def split_cats(v):
    return v.reshape(*v.x.shape[:-1], CATS, CLASSES)


def kl(p, q):
    return (p * (log(p + 1e-7) - log(q + 1e-7))).sum(-1)


def balanced(p, q, fz):
    return (0.2 * kl(p, fz.sg(q)) + 0.8 * kl(fz.sg(p), q))


# --------------------------------------------------------------------------------- world model


def align(w):
    late = {k: w[k][1:] for k in ("obs", "avail", "fake", "last")}
    early = {k: w[k][:-1] for k in ("act", "rew", "done")}
    return {**late, **early}


def recurrence(p, b, u_post, fz, drops=None):
    h = V(np.zeros((B, N, D)))
    s = V(np.zeros((B, N, S)))
    out = dict(h=[], post=[], s=[], index=[])
    for t in range(T):
        u = relu(linear(p, "model.transition.input", cat([V(b["act"][t]), s])))
        masks = drops and (lambda layer, site: drops[site][t, layer])
        y = attention(p, "model.transition.attention", u, masks)
        h = gru(p, "model.transition.gru.", y, h)
        out["h"].append(h)
        if t == T - 1:
            break
        e = mlp(p, "model.encoder", V(b["obs"][t]), [relu, relu, relu, None])
        post = split_cats(mlp(p, "model.posterior", cat([h, e]), [relu, None]))
        s, index, _ = latent(post, u_post[t], fz)
        s = s.reshape(B, N, S)
        out["post"].append(post)
        out["s"].append(s)
        out["index"].append(index)
        s, h = s * (1 - b["last"][t]), h * (1 - b["last"][t])
    return out


def terms(p, b, r, fz):
    """Per-token values of every term, [T-1] lists of [B][N]."""
    out = dict(kl=[], rec=[], rew=[], pcont=[], avl=[], dis=[])
    for t in range(T - 1):
        s, h = r["s"][t], r["h"][t]
        phi, psi = cat([s, h]), cat([s, r["h"][t + 1]])
        real = 1 - b["fake"][t][..., 0]
        prior = softmax(split_cats(mlp(p, "model.prior", h, [relu, None])))
        out["kl"].append(balanced(softmax(r["post"][t]), prior, fz).sum(-1) / CATS)
        z = mlp(p, "model.decoder.trunk", phi, [relu] * 3)
        d = linear(p, "model.decoder.out", z) - b["obs"][t]
        out["rec"].append(smooth_l1(d).sum(-1) * real)
        d = mlp(p, "model.reward", psi, [elu, elu, None])[..., 0] - b["rew"][t + 1][..., 0]
        out["rew"].append(smooth_l1(d))
        c = mlp(p, "model.pcont", psi, [elu, elu, None])[..., 0]
        out["pcont"].append(bernoulli(c, 1 - b["done"][t + 1][..., 0]))
        a = mlp(p, "model.avail", phi, [elu, elu, None])
        out["avl"].append(bernoulli(a, b["avail"][t]).sum(-1))
        q = softmax(mlp(p, "model.action_info", z, [elu, relu, None]))
        ce = -(log(q) * b["act"][t]).sum(-1)
        out["dis"].append(ce * real if t else ce * 0)
    return out


def model_loss(p, b, u_post, fz, drops=None):
    r = recurrence(p, b, u_post, fz, drops)
    values, losses = terms(p, b, r, fz), {}
    for k, v in values.items():
        tokens = (T - 2 if k == "dis" else T - 1) * B * N
        losses[k] = sum((x.sum() for x in v), V(0.0)) / tokens
    losses["total"] = sum(losses.values(), V(0.0))
    return losses


# -------------------------------------------------------------------------------- one R_m batch


def one_pass(p, b, u_post, u_prior, fz):
    r = recurrence(p, b, u_post, fz)
    label = terms(p, b, r, fz)
    inputs = None
    if u_prior is not None:
        inputs = []
        for t in range(T - 1):
            logits = split_cats(mlp(p, "model.prior", r["h"][t], [relu, None]))
            index = fz.keep(lambda: draw(softmax(logits).x, u_prior[t]))
            onehot = np.eye(CLASSES)[index].reshape(B, N, S)
            inputs.append(np.concatenate([onehot, r["h"][t].x], -1))
    return {k: np.array([x.x for x in v]) for k, v in label.items()}, inputs


def rm_case(p, b, u, rec, two, only_reward):
    fz = Frozen()
    label, inputs = one_pass(p, b, u["post"], None if two else u["prior"], fz)
    if two:
        _, inputs = one_pass(p, b, u["second.post"], u["second.prior"], fz)
    total = label["kl"] + label["rew"]
    if not only_reward:
        scale = 1 / O if rec == "full" else 1 / O / ((T - 1) * B * N)
        total = total + label["rec"] * scale + label["pcont"] + label["avl"] + label["dis"]
    x = np.array(inputs)

    def loss(q):
        return smooth_l1(mlp(q, "rm", V(x), [elu] * 4 + [None])[..., 0] - total).sum() / total.size
    return total, x, loss


# -------------------------------------------------------------------------------------- inputs


def shapes():
    out = {}

    def lin(name, i, o):
        out[name + ".weight"], out[name + ".bias"] = (o, i), (o,)

    def stack(name, *widths):
        for j, (i, o) in enumerate(zip(widths, widths[1:])):
            lin("%s.%d" % (name, 2 * j), i, o)
    stack("model.encoder", O, D, D, D, D)
    lin("model.transition.input", A + S, D)
    for i in range(LAYERS):
        at = "model.transition.attention.layers.%d." % i
        out[at + "self_attn.in_proj_weight"] = (3 * D, D)
        out[at + "self_attn.in_proj_bias"] = (3 * D,)
        for k in ("self_attn.out_proj", "linear1", "linear2"):
            lin(at + k, D, D)
        for k in ("norm1", "norm2"):
            out[at + k + ".weight"] = out[at + k + ".bias"] = (D,)
    for k in ("ih", "hh"):
        out["model.transition.gru.weight_%s_l0" % k] = (3 * D, D)
        out["model.transition.gru.bias_%s_l0" % k] = (3 * D,)
    stack("model.prior", D, D, S)
    stack("model.posterior", 2 * D, D, S)
    stack("model.decoder.trunk", S + D, D, D, D)
    lin("model.decoder.out", D, O)
    stack("model.reward", S + D, D, D, 1)
    stack("model.pcont", S + D, D, D, 1)
    stack("model.avail", S + D, D, D, A)
    stack("model.action_info", D, D, D, A)
    stack("rm", S + D, D, D, D, D, 1)
    return out


def weights(rng):
    out = {}
    for k, shape in shapes().items():
        if len(shape) == 2:
            x = rng.normal(size=shape) * np.sqrt(1.5 / shape[1])
        else:
            x = 0.1 * rng.normal(size=shape) + (1 if "norm" in k and "weight" in k else 0)
        out[k] = x.astype(np.float32)
    return out


def windows(rng):
    joint = lambda x: np.repeat(np.asarray(x, np.float32)[:, :, None, None], N, 2)
    last = np.zeros((W, B))
    last[2, 0] = last[4, 1] = 1
    fake = np.zeros((W, B))
    fake[1:3, 0] = 1
    done = np.maximum(fake, last)
    w = dict(obs=rng.normal(size=(W, B, N, O)), rew=np.repeat(
        3 * rng.normal(size=(W, B, 1, 1)), N, 2), avail=rng.random((W, B, N, A)) < 0.7)
    w["act"] = np.eye(A)[rng.integers(0, A, (W, B, N))]
    w["obs"] *= 1 - joint(fake)
    w = {k: v.astype(np.float32) for k, v in w.items()}
    return dict(w, done=joint(done), fake=joint(fake), last=joint(last))


def uniforms(rng, *shape):
    return (rng.integers(0, 1 << 24, shape) / 2.0 ** 24).astype(np.float32)


# ------------------------------------------------------------------------------------- checking


def tape(p, only=""):
    return {k: V(x) for k, x in p.items() if k.startswith(only)}


def gradients(p, only, loss, fz, rng, name):
    """Gradients of loss(parameters) for the names that start with `only`, checked."""
    vs = tape(p)
    out = loss(vs)
    out.backward()
    grads = {k: vs[k].g for k in vs if k.startswith(only)}
    base = {k: x.astype(np.float64) for k, x in p.items()}
    for k, g in grads.items():
        way = rng.normal(size=g.shape)
        values = []
        for eps in (1e-5, -1e-5):
            fz.rewind()
            values.append(loss({**{j: V(x) for j, x in base.items()},
                                k: V(base[k] + eps * way)}).x)
        slope, dot = (values[0] - values[1]) / 2e-5, (g * way).sum()
        if abs(slope - dot) > 1e-5 * max(1, abs(dot), np.abs(g).sum() * 1e-2):
            raise SystemExit("%s: %s: difference %g, tape %g" % (name, k, slope, dot))
    return grads


def f32(x):
    return np.asarray(x, np.float32)


def save(out, name, case, tensors, results, **meta):
    meta = dict(case=case, **META)
    write(os.path.join(out, name + ".in.safetensors"), tensors, meta)
    write(os.path.join(out, name + ".out.safetensors"),
          {k: x if x.dtype in (np.int64, np.bool_) else f32(x) for k, x in results.items()}, meta)


# ---------------------------------------------------------------------------------------- cases


def operation(out, name, p, only, rng, inputs, forward):
    """y of forward(weights, inputs) and gradients of sum(y*dy) for both."""
    fz = Frozen()
    mine = {k: x for k, x in p.items() if k.startswith(only)} if only else {}
    y = forward(tape(mine), {k: V(x) for k, x in inputs.items()}).x
    dy = f32(rng.normal(size=y.shape))
    every = {**mine, **inputs}
    grads = gradients(every, "", lambda v: (forward(v, v) * dy).sum(), fz, rng, name)
    strip = lambda k: k[len(only):] if only and k.startswith(only) else k
    save(out, name, name, {**mine, **inputs, "dy": dy},
         {"y": y, **{"grad." + strip(k): g for k, g in grads.items()}})


def case_latent(out, rng):
    logits, dy = f32(rng.normal(size=(9, CATS, CLASSES)) * 2), f32(
        rng.normal(size=(9, CATS, CLASSES)))
    u, fz, v = uniforms(rng, 9, CATS), Frozen(), V(logits)
    s, index, _ = latent(v, u, fz)
    (s * dy).sum().backward()
    save(out, "latent", "latent", {"logits": logits, "dy": dy, "u.latent": u},
         {"index": index.astype(np.int64), "y": np.eye(CLASSES)[index], "grad.logits": v.g})


def case_kl(out, rng):
    shape = (9, CATS, CLASSES)
    a, b, dy = (f32(rng.normal(size=shape) * k) for k in (6, 6, 1))
    fz, va, vb = Frozen(), V(a), V(b)
    y = balanced(softmax(va), softmax(vb), fz)
    (y * dy.astype(np.float64).sum(-1)).sum().backward()
    save(out, "kl", "kl", {"logits": a, "logits2": b, "dy": dy},
         {"y": np.repeat(y.x[..., None], CLASSES, -1), "grad.post": va.g, "grad.prior": vb.g})


def case_adam(out, rng):
    given, results = {}, {}
    for group, clip, l2 in (("model", 100, 0), ("rm", 0, 0), ("actor", 100, 1e-5),
                            ("critic", 100, 0)):
        p, g = f32(rng.normal(size=64)), f32(rng.normal(size=(10, 64)) * 10.0 ** rng.integers(
            -9, 3, (10, 64)))
        g[:, :8] = f32(1e-9)
        given["adam.%s.param" % group], given["adam.%s.grad" % group] = p, g
        x, m, v, after, norms = p.astype(np.float64), 0, 0, [], []
        for t in range(1, 11):
            d = g[t - 1].astype(np.float64)
            norms.append(np.sqrt((d * d).sum()))
            d = d * min(1, clip / (norms[-1] + 1e-6)) if clip else d
            d = d + l2 * x
            m, v = 0.9 * m + 0.1 * d, 0.999 * v + 0.001 * d * d
            x = x - 5e-4 / (1 - 0.9 ** t) * m / (np.sqrt(v) / np.sqrt(1 - 0.999 ** t) + 1e-8)
            after.append(x)
        results["adam.%s.after" % group], results["adam.%s.norm" % group] = after, norms
    save(out, "adam", "adam", given, {k: f32(x) for k, x in results.items()})


def case_lambda(out, rng):
    steps, starts = 6, 4
    r, c, v = (f32(rng.normal(size=(steps + (k == 2), starts, 1 if k == 0 else N)))
               for k in range(3))
    cont, ret = 1 / (1 + np.exp(-c.astype(np.float64))), v.astype(np.float64).copy()
    for i in reversed(range(steps)):
        ret[i] = r[i] + 0.99 * cont[i] * (0.05 * v[i + 1] + 0.95 * ret[i + 1])
    save(out, "lambda_return", "lambda_return", {"reward": r, "cont": c, "value": v},
         {"cont": cont, "return": ret})


def main():
    out = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__))
    rng = np.random.default_rng(20)
    p, w = weights(rng), windows(rng)
    given = {"window." + k: x for k, x in w.items()}
    b = {k: x.astype(np.float64) for k, x in align(w).items()}
    model = {k: x for k, x in p.items() if k.startswith("model.")}
    core = {k: x for k, x in model.items()
            if k.split(".")[1] in ("encoder", "transition", "prior", "posterior")}
    post, prior, post2, prior2 = (uniforms(rng, T - 1, B, N, CATS) for _ in range(4))

    x, h = f32(rng.normal(size=(5, N, D))), f32(rng.normal(size=(5, N, D)))
    at, gate = "model.transition.attention.", "model.transition.gru."
    operation(out, "attention", p, at, rng, {"x": x},
              lambda q, i: attention(q, at[:-1], i["x"]))
    operation(out, "gru", p, gate, rng, {"x": x, "h": h}, lambda q, i: gru(q, gate, i["x"], i["h"]))
    case_latent(out, rng)
    case_kl(out, rng)
    case_adam(out, rng)
    case_lambda(out, rng)
    save(out, "align", "align", given, {"batch." + k: x for k, x in align(w).items()})

    fz = Frozen()
    r = recurrence(tape(p), b, post, fz)
    logits = [split_cats(mlp(tape(p), "model.prior", h, [relu, None])).x for h in r["h"][:-1]]
    index = [draw(softmax(V(l)).x, prior[t]) for t, l in enumerate(logits)]
    save(out, "recurrence", "recurrence", {**core, **given, "u.post": post, "u.prior": prior},
         {"h": np.array([v.x for v in r["h"]]), "post": np.array([v.x for v in r["post"]]),
          "s": np.array([v.x for v in r["s"]]), "prior": np.array(logits),
          "post_index": np.array(r["index"], np.int64),
          "prior_index": np.array(index, np.int64)})

    rows = dict(attn=(HEADS, N, N), out=(N, D), ff=(N, D), ffout=(N, D))
    drops = {k: uniforms(rng, T, LAYERS, B, *s) for k, s in rows.items()}
    for name, masks in (("model", drops), ("model_no_dropout", None)):
        u = post.copy()
        fz = Frozen()
        losses = model_loss(tape(p), b, u, fz, masks)  # moves uniforms off the boundaries
        fz = Frozen()
        grads = gradients(model, "", lambda v: model_loss(v, b, u, fz, masks)["total"], fz, rng,
                          name)
        losses = {"loss." + k: np.array(v.x) for k, v in losses.items()}
        total = np.sqrt(sum((g * g).sum() for g in grads.values()))
        arrays = {"u.drop." + k: x for k, x in masks.items()} if masks else {}
        save(out, name, name, {**model, **given, "u.post": u, **arrays},
             {**losses, "grad_norm.model": np.array(total),
              **{"grad." + k: g for k, g in grads.items()}})

    for name, rec, two, only in (("rm_full", "full", False, False),
                                 ("rm_two_pass", "code", True, False),
                                 ("rm_kl_rew", "off", False, True)):
        u = dict(post=post, prior=prior)
        if two:
            u = {"post": post, "second.post": post2, "second.prior": prior2}
        label, inputs, loss = rm_case(tape(p), b, u, rec, two, only)
        grads = gradients(p, "rm.", loss, Frozen(), rng, name)
        unread = ("decoder", "action_info", "avail", "pcont") if only else ()
        need = {k: x for k, x in p.items() if k.split(".")[1] not in unread}
        save(out, name, name, {**need, **given, **{"u." + k: x for k, x in u.items()}},
             {"label": label, "input": inputs, "loss.rm": np.array(loss(tape(p)).x),
              **{"grad." + k: g for k, g in grads.items()}})


if __name__ == "__main__":
    main()
