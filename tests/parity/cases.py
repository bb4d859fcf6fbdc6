# SPDX-License-Identifier: Apache-2.0
"""cases.py - the cases of parity_case, computed by mag_torch.py in float64.

A case is a dictionary of numpy arrays, as a recording holds them: weights by their names,
window.*, u.* for the random numbers, and metadata with the sizes. run() gives what must come
out. With Made instead of Recorded draws the random numbers are made on the way.
"""
import json
import struct

import numpy as np
import torch
from torch import nn

import mag_torch as mt

DTYPES = {"F32": np.float32, "F64": np.float64, "I64": np.int64, "BOOL": np.bool_}
GROUPS = ("model", "rm", "actor", "critic")
PPO_ROWS = 20  # of a minibatch in the case ppo
ACT_STEPS = 3
NEAR = 3e-5  # made numbers keep this distance from every boundary
APART = 1e-4  # and scores this one, of the largest, from the best


# --------------------------------------------------------------------------------- safetensors


def read(path):
    """(tensors, metadata) of a safetensors file."""
    with open(path, "rb") as f:
        head = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        body = f.read()
    meta = head.pop("__metadata__", {})
    out = {}
    for name, t in head.items():
        begin, end = t["data_offsets"]
        out[name] = np.frombuffer(body[begin:end], DTYPES[t["dtype"]]).reshape(t["shape"])
    return out, meta


def write(path, tensors, meta):
    kinds = {np.dtype(v): k for k, v in DTYPES.items()}
    head, at, blobs = {"__metadata__": {k: str(v) for k, v in meta.items()}}, 0, []
    for name in sorted(tensors, key=lambda k: (-tensors[k].dtype.itemsize, k)):
        x = np.asarray(tensors[name])
        head[name] = dict(dtype=kinds[x.dtype], shape=x.shape, data_offsets=[at, at + x.nbytes])
        at += x.nbytes
        blobs.append(x.tobytes())
    text = json.dumps(head, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))


# --------------------------------------------------------------------------------------- draws


class Draws:
    """Random numbers as contracts with names; subclasses say where uniforms come from."""

    def classes(self, name, index, prob):
        return mt.class_of(prob, self.uniforms(name, index, prob.shape[:-1], prob.cumsum(-1)))

    def flips(self, name, index, prob):
        return self.uniforms(name, index, prob.shape, prob[..., None]) < prob

    def keep(self, name, index, shape, rate):
        edge = torch.full((*shape, 1), rate, dtype=torch.float64)
        kept = self.uniforms(name, index, shape, edge) >= np.float32(rate)
        return kept.double() / (1 - rate)

    def order(self, index, rows):
        u = self.uniforms("permutation", index, (rows,), None)
        return torch.argsort(u, stable=True)


class Recorded(Draws):
    """The arrays u.NAME of a case; one of another size is an error."""

    def __init__(self, tensors):
        self.tensors = tensors

    def uniforms(self, name, index, shape, edges):
        x = self.tensors["u." + name][index]
        if x.shape != tuple(shape):
            raise ValueError("u.%s%s has %s numbers, asked for %s" % (name, index, x.shape, shape))
        return torch.from_numpy(x.astype(np.float64))

    def settle(self, scores, choice):
        return True


class Made(Draws):
    """New numbers, clear of the boundaries where float32 and float64 could part."""

    def __init__(self, rng):
        self.rng, self.kept, self.tries = rng, {}, 0

    def fresh(self, n):
        return (self.rng.integers(0, 1 << 24, n) * 2.0 ** -24).astype(np.float32)

    def uniforms(self, name, index, shape, edges):
        u = self.fresh(tuple(shape))
        for _ in range(200):
            if edges is None:
                break
            near = (np.abs(edges.detach().numpy() - u[..., None]) < NEAR).any(-1)
            if not near.any():
                break
            u[near] = self.fresh(int(near.sum()))
        else:
            raise ValueError("no number between the boundaries of u.%s" % name)
        self.kept.setdefault(name, {})[index] = u
        return torch.from_numpy(u.astype(np.float64))

    def settle(self, scores, choice):
        """False while the two best candidates are too close for exact choices."""
        if choice == "batch":
            scores = scores.mean(1, keepdim=True)
        gap = scores.topk(min(2, len(scores)), 0, largest=False).values
        clear = len(scores) == 1 or bool((gap[1] - gap[0] > APART * scores.abs().max()).all())
        self.tries = 0 if clear else self.tries + 1
        if self.tries > 2000:
            raise ValueError("candidates' scores stay too close")
        return clear

    def arrays(self):
        """u.NAME: leading axes are the index."""
        out = {}
        for name, parts in self.kept.items():
            size = np.max(list(parts), 0) + 1
            first = next(iter(parts.values()))
            out["u." + name] = np.stack([parts[k] for k in np.ndindex(*size)]).reshape(
                *size, *first.shape)
        return out


# -------------------------------------------------------------------------------------- inputs


def real(x):
    return torch.from_numpy(np.array(x, np.float64))


def sizes_of(tensors, meta):
    layers = 0
    while "model.transition.attention.layers.%d.norm1.weight" % layers in tensors:
        layers += 1
    n = [int(meta[k]) for k in ("N", "O", "A", "D", "cats", "classes", "heads")]
    return mt.Sizes(*n, layers=layers or 3)


def load(agent, tensors):
    """Every group the case holds, complete: state dict names and shapes must fit exactly.
    Cases of one operation hold parts of the model; those are loaded as they are."""
    for group in GROUPS:
        own = {k[len(group) + 1:]: real(x) for k, x in tensors.items() if k.startswith(group + ".")}
        whole = set(own) == set(agent.get_submodule(group).state_dict())
        agent.get_submodule(group).load_state_dict(own, strict=whole)
        if own and not set(own) <= set(agent.get_submodule(group).state_dict()):
            raise ValueError("unknown parameters in group " + group)


def agent_of(tensors, meta):
    agent = mt.Agent(sizes_of(tensors, meta)).double()
    load(agent, tensors)
    return agent


def window_of(tensors):
    return {k[7:]: real(x) for k, x in tensors.items() if k.startswith("window.")}


def gradients(module, prefix):
    """Gradients by name; what a case does not reach has gradient zero."""
    return {"grad." + prefix + k: torch.zeros_like(p) if p.grad is None else p.grad
            for k, p in module.named_parameters()}


def leaf(x):
    return real(x).requires_grad_()


# --------------------------------------------------------------------------------------- cases


def case_attention(agent, x, draws):
    net, y = agent.model.transition.attention, leaf(x["x"])
    out = net(y)
    (out * real(x["dy"])).sum().backward()
    return {"y": out, "grad.x": y.grad, **gradients(net, "")}


def case_gru(agent, x, draws):
    gru, y, h = agent.model.transition.gru, leaf(x["x"]), leaf(x["h"])
    flat = lambda v: v.reshape(-1, v.shape[-1])
    out = torch.gru_cell(flat(y), flat(h), gru.weight_ih_l0, gru.weight_hh_l0, gru.bias_ih_l0,
                         gru.bias_hh_l0).view(y.shape)
    (out * real(x["dy"])).sum().backward()
    return {"y": out, "grad.x": y.grad, "grad.h": h.grad, **gradients(gru, "")}


def case_latent(agent, x, draws):
    logits = leaf(x["logits"])
    prob = torch.softmax(logits, -1)
    u = real(x["u.latent"])
    index = mt.class_of(prob, u)
    out = mt.straight_through(prob, index)
    (out * real(x["dy"])).sum().backward()
    return {"index": index, "y": out, "grad.logits": logits.grad}


def case_kl(agent, x, draws):
    post, prior = leaf(x["logits"]), leaf(x["logits2"])
    y = mt.balanced_kl(post, prior)[..., None].expand(post.shape)
    (y * real(x["dy"])).sum().backward()
    return {"y": y, "grad.post": post.grad, "grad.prior": prior.grad}


def case_adam(agent, x, draws):
    out = {}
    for group in GROUPS:
        module = nn.Module()
        module.p = nn.Parameter(real(x["adam.%s.param" % group]))
        opt, after, norms = mt.Optimiser(module, group), [], []
        for g in real(x["adam.%s.grad" % group]):
            module.p.grad = g.clone()
            norms.append(opt.apply())
            after.append(module.p.detach().clone())
        out["adam.%s.after" % group], out["adam.%s.norm" % group] = map(torch.stack, (after, norms))
    return out


def case_lambda_return(agent, x, draws):
    cont = torch.sigmoid(real(x["cont"]))
    reward = real(x["reward"])
    return {"cont": cont, "return": mt.lambda_returns(reward[..., 0] if reward.dim() == 3 else reward,
                                                      cont, real(x["value"]))}


def case_align(agent, x, draws):
    return {"batch." + k: v for k, v in mt.align(window_of(x)).items()}


def case_recurrence(agent, x, draws):
    model = agent.model
    r = mt.recurrence(model, mt.align(window_of(x)), draws)
    prior = mt.prior_logits(model, r["h"][:-1])
    prob = torch.softmax(prior, -1)
    index = [draws.classes("prior", (t,), prob[t]) for t in range(len(prob))]
    return {"h": r["h"], "s": r["s"], "post": r["post"], "prior": prior, "post_index": r["index"],
            "prior_index": torch.stack(index)}


def model_case(dropout):
    def case(agent, x, draws):
        losses = mt.model_losses(agent, mt.align(window_of(x)), draws, dropout)
        losses["total"].backward()
        grads = gradients(agent.model, "model.")
        norm = torch.sqrt(sum((g ** 2).sum() for g in grads.values()))
        return {**{"loss." + k: v for k, v in losses.items()}, **grads, "grad_norm.model": norm}
    return case


def rm_case(rec, passes=1, wanted=None):
    def case(agent, x, draws):
        label, s, h = mt.rm_batch(agent, mt.align(window_of(x)), draws, rec, passes, wanted)
        loss = mt.rm_loss(agent, label, s, h)
        loss.backward()
        return {"label": label, "input": torch.cat([s, h], -1), "loss.rm": loss,
                **gradients(agent.rm, "rm.")}
    return case


def rolled(agent, x, draws, R, L=0, H=0, choice="start"):
    with torch.no_grad():
        index, h = mt.start_states(agent, mt.align(window_of(x)), draws)
        return mt.imagine(agent, index, h, R, draws, L, H, choice)


def imagine_case(choice="start", planned=True):
    def case(agent, x, draws, R, L, H):
        roll = rolled(agent, x, draws, R, L, H, choice) if planned else rolled(agent, x, draws, R)
        out = {"roll." + k: getattr(roll, k) for k in ("index", "h", "action", "avail", "logits")}
        if planned:
            out.update({"roll.choice": roll.choice, "roll.scores": roll.scores})
        return {**out, "ret.reward": roll.reward, "ret.cont": roll.cont, "ret.value": roll.value,
                "ret.return": roll.ret, "rows.adv": mt.advantages(roll)}
    return case


class Kept(dict):
    """Gradients of the first minibatch, caught between backward and step."""

    def around(self, agent, optim):
        for group in ("actor", "critic"):
            optim[group].apply = self.catching(agent, group, optim[group].apply)

    def catching(self, agent, group, apply):
        def first_time():
            if not any(k.startswith("grad.%s." % group) for k in self):
                module = agent.get_submodule(group)
                self.update({k: g.clone() for k, g in gradients(module, group + ".").items()})
            return apply()
        return first_time


def case_ppo(agent, x, draws, R, epochs, seen=None):
    rows = mt.ppo_rows(rolled(agent, x, draws, R))
    with torch.no_grad():
        for p in agent.actor.parameters():
            p.mul_(1.25)
    optim = {k: mt.Optimiser(agent.get_submodule(k), k) for k in ("actor", "critic")}
    orders, grads, order = [], Kept(), draws.order

    def remembered(index, n):
        orders.append(order(index, n))
        return orders[-1]
    draws.order = remembered
    grads.around(agent, optim)
    eta, lines = mt.ppo(agent, optim, rows, draws, epochs, PPO_ROWS, mt.ENTROPY, seen=seen)
    return {"rows.action": rows["action"], "rows.adv": rows["adv"], "rows.avail": rows["avail"],
            "rows.logits": rows["logits"], "rows.return": rows["ret"], "order": torch.stack(orders),
            "minibatch": torch.tensor(lines, dtype=torch.float64),
            "eta": torch.tensor(eta, dtype=torch.float64), **grads}


def case_act(agent, x, draws):
    w, state, out = window_of(x), None, {k: [] for k in ("index", "h", "logits", "action")}
    with torch.no_grad():
        for k in range(ACT_STEPS):
            state, logits = mt.act(agent, state, w["obs"][k], w["avail"][k] > 0, draws, (k,))
            for name, v in zip(("index", "h", "action"), state):
                out[name].append(v)
            out["logits"].append(logits)
    return {"act." + k: torch.stack(v) for k, v in out.items()}


ONE_OPERATION = {"attention": case_attention, "gru": case_gru, "latent": case_latent,
                 "kl": case_kl, "adam": case_adam, "lambda_return": case_lambda_return,
                 "align": case_align}
TRAINING = {"recurrence": case_recurrence, "model": model_case(True),
            "model_no_dropout": model_case(False), "rm": rm_case("code"),
            "rm_full": rm_case("full"), "rm_two_pass": rm_case("code", 2),
            "rm_kl_rew": rm_case("off", 1, ("kl", "rew")), "act": case_act}
IMAGINING = {"mamba": imagine_case(planned=False), "mag": imagine_case(),
             "mag_batch": imagine_case("batch"), "mag_one": imagine_case(),
             "mag_h1": imagine_case()}


def call(name, agent, x, draws, R=0, L=0, H=0, epochs=0, seen=None):
    if name in IMAGINING:
        return IMAGINING[name](agent, x, draws, R, L, H)
    if name == "ppo":
        return case_ppo(agent, x, draws, R, epochs, seen)
    return {**ONE_OPERATION, **TRAINING}[name](agent, x, draws)


def numpy_of(out):
    """As recordings hold them: float32, int64, bool."""
    kind = lambda v: np.float32 if v.is_floating_point() else None
    return {k: np.asarray(v.detach().numpy(), kind(v)) for k, v in out.items()}


def run(tensors, meta):
    """What must come out of a recorded case."""
    axis = lambda name, k: tensors[name].shape[k] if name in tensors else 0
    out = call(meta["case"], agent_of(tensors, meta), tensors, Recorded(tensors),
               R=axis("u.policy.action", 0) + 1, L=axis("u.plan.latent", 2),
               H=axis("u.plan.latent", 1), epochs=axis("u.permutation", 0))
    return numpy_of(out)


TOLERANCE = 1e-4


def compare(expected, got):
    """[(distance, text)] per tensor; a distance above TOLERANCE is a difference. Distance: of the
    largest entry, or infinity for indices that are not equal and what is missing."""
    out = []
    for name, a in expected.items():
        b = got.get(name)
        if b is None or b.dtype != a.dtype or b.shape != a.shape:
            out.append((np.inf, "%s: missing, or of another shape or type" % name))
        elif a.dtype == np.float32:
            d = np.where(a == b, 0, np.abs(a.astype(np.float64) - b))
            worst, largest = d.max(initial=0), np.abs(a).max(initial=0)
            far = worst / largest if largest > 0 else np.inf if worst > 0 else 0.0
            out.append((far if np.isfinite(d).all() else np.inf, "%s: %.3g of the largest entry"
                        % (name, far)))
        else:
            wrong = int((a != b).sum())
            out.append((np.inf if wrong else 0.0, "%s: %d entries differ" % (name, wrong)))
    return out
