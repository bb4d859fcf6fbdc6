# SPDX-License-Identifier: Apache-2.0
"""mag_torch.py - MAG in PyTorch: a second opinion on the learning core, and its opponent in speed.

Written from the description of the algorithm, sharing nothing with the C code but the names of
the parameters, so that state dicts are checkpoints: agent.load_state_dict(..., strict=True).
Works with PyTorch 1.13 and 2.x, in float64 (parity) and float32 (speed).

Shapes are row-major, [T][B][N][feature] and [S][N][feature]: T steps, B windows, N agents, S
start states; A actions, D width, C categoricals of K classes, L candidates, H horizon.

A latent state s travels in two forms. Dense: [.., C*K] floats, what gradients need. Sparse:
[.., C] positions of the ones, c*K + class; first layers then add C rows of their weights. `mix`
and `head` take either.

Random numbers come from a `draws` object with
  classes(name, index, prob)       class per categorical, prob [.., K]
  flips(name, index, prob)         Bernoulli, true with prob
  keep(name, index, shape, rate)   dropout: factor 0 or 1 / (1 - rate)
  order(index, rows)               permutation of an epoch
where (name, index) says which number it is; parity.py replays recorded ones, Quick draws new.
"""
import collections
import math

import torch
import torch.nn.functional as F
from torch import nn

Sizes = collections.namedtuple("Sizes", "N O A D C K heads layers")
Roll = collections.namedtuple("Roll", "index h action avail logits choice scores reward cont value ret")

MASKED = -1e10
KL_EPS = 1e-7
DROPOUT = 0.1
GAMMA, LAMBDA = 0.99, 0.95
PPO_CLIP, ENTROPY, ANNEAL = 0.2, 0.001, 0.99998
CLIP_NORM = 100.0
# learning rate, L2, clip of MAG's four optimisers
OPTIMISERS = {"model": (5e-4, 0.0, CLIP_NORM), "rm": (5e-4, 0.0, None),
              "actor": (5e-4, 1e-5, CLIP_NORM), "critic": (5e-4, 0.0, CLIP_NORM)}


# ------------------------------------------------------------------------------------ networks


def mlp(*parts):
    """mlp(4, nn.ReLU, 8, None, 2): Linear, ReLU, Linear. Linears have even numbers."""
    layers = []
    for i in range(0, len(parts) - 2, 2):
        layers.append(nn.Linear(parts[i], parts[i + 2]))
        if parts[i + 1]:
            layers.append(parts[i + 1]())
    return nn.Sequential(*layers)


def ended(layers, act):
    return nn.Sequential(*layers, act())


def mix(layer, s, x, s_first=True):
    """layer([s ; x]), or layer([x ; s]); x dense, s dense or sparse."""
    if s.is_floating_point():
        return layer(torch.cat([s, x] if s_first else [x, s], -1))
    w, cut = layer.weight, layer.weight.shape[1] - x.shape[-1]
    w_s, w_x = (w[:, :cut], w[:, cut:]) if s_first else (w[:, x.shape[-1]:], w[:, :x.shape[-1]])
    rows = F.embedding_bag(s.reshape(-1, s.shape[-1]), w_s.t().contiguous(), mode="sum")
    return rows.view(*s.shape[:-1], -1) + F.linear(x, w_x, layer.bias)


def head(net, s, h):
    """A network on the feature [s ; h]."""
    return net[1:](mix(net[0], s, h))


class Layer(nn.Module):
    """One post-norm encoder layer over the agent axis."""

    def __init__(self, D, heads):
        super().__init__()
        self.self_attn = nn.MultiheadAttention(D, heads)  # for its parameters
        self.linear1, self.linear2 = nn.Linear(D, D), nn.Linear(D, D)
        self.norm1, self.norm2 = nn.LayerNorm(D), nn.LayerNorm(D)

    def attend(self, x, drop):
        M, N, D = x.shape
        a = self.self_attn
        heads, width = a.num_heads, D // a.num_heads
        qkv = F.linear(x, a.in_proj_weight, a.in_proj_bias).view(M, N, 3, heads, width)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        p = torch.softmax((q / math.sqrt(width)) @ k.transpose(-1, -2), -1)
        return a.out_proj((drop("attn", p) @ v).transpose(1, 2).reshape(M, N, D))

    def forward(self, x, drop):
        x = self.norm1(x + drop("out", self.attend(x, drop)))
        y = self.linear2(drop("ff", torch.relu(self.linear1(x))))
        return self.norm2(x + drop("ffout", y))


def no_drop(site, x):
    return x


class Attention(nn.Module):
    """Positions of the agents are added once, then the layers. x [.., N, D]."""

    def __init__(self, z, layers):
        super().__init__()
        self.layers = nn.ModuleList(Layer(z.D, z.heads) for _ in range(layers))
        j = torch.arange(z.D, dtype=torch.float64)
        angle = torch.arange(z.N, dtype=torch.float64)[:, None] / 10000 ** (2 * (j // 2) / z.D)
        table = torch.where(j % 2 == 0, angle.sin(), angle.cos())
        self.register_buffer("positions", table, persistent=False)

    def forward(self, x, drops=None):
        """drops(layer) -> drop(site, x), None for no dropout."""
        y = (x + self.positions).reshape(-1, *x.shape[-2:])
        for i, layer in enumerate(self.layers):
            y = layer(y, drops(i) if drops else no_drop)
        return y.view(x.shape)


class Transition(nn.Module):
    def __init__(self, z):
        super().__init__()
        self.input = nn.Linear(z.A + z.C * z.K, z.D)
        self.attention = Attention(z, z.layers)
        self.gru = nn.GRU(z.D, z.D)  # for its parameters

    def forward(self, act, s, h, drops=None):
        """h' of the joint state (s, h) under the actions `act` (one-hot)."""
        y = self.attention(torch.relu(mix(self.input, s, act, s_first=False)), drops)
        g, flat = self.gru, (-1, h.shape[-1])
        return torch.gru_cell(y.reshape(flat), h.reshape(flat), g.weight_ih_l0, g.weight_hh_l0,
                              g.bias_ih_l0, g.bias_hh_l0).view(h.shape)


class Decoder(nn.Module):
    def __init__(self, z):
        super().__init__()
        self.trunk = ended(mlp(z.C * z.K + z.D, nn.ReLU, z.D, nn.ReLU, z.D, None, z.D), nn.ReLU)
        self.out = nn.Linear(z.D, z.O)


class World(nn.Module):
    def __init__(self, z):
        super().__init__()
        D, S = z.D, z.C * z.K
        feature = S + D
        self.sizes = z
        self.encoder = mlp(z.O, nn.ReLU, D, nn.ReLU, D, nn.ReLU, D, None, D)
        self.transition = Transition(z)
        self.prior = mlp(D, nn.ReLU, D, None, S)
        self.posterior = mlp(2 * D, nn.ReLU, D, None, S)
        self.decoder = Decoder(z)
        self.reward = mlp(feature, nn.ELU, D, nn.ELU, D, None, 1)
        self.pcont = mlp(feature, nn.ELU, D, nn.ELU, D, None, 1)
        self.avail = mlp(feature, nn.ELU, D, nn.ELU, D, None, z.A)
        self.action_info = mlp(D, nn.ELU, D, nn.ReLU, D, None, z.A)

    def cats(self, logits):
        return logits.view(*logits.shape[:-1], self.sizes.C, self.sizes.K)


class Critic(nn.Module):
    def __init__(self, z):
        super().__init__()
        self.input = nn.Linear(z.C * z.K + z.D, z.D)
        self.attention = Attention(z, 1)
        self.head = mlp(z.D, nn.ReLU, z.D, None, 1)

    def forward(self, s, h):
        y = self.attention(torch.relu(mix(self.input, s, h)))
        return self.head(torch.relu(y))[..., 0]


class Agent(nn.Module):
    """All four parameter groups; the names of its state dict are those of checkpoints."""

    def __init__(self, z):
        super().__init__()
        D, feature = z.D, z.C * z.K + z.D
        self.sizes = z
        self.model = World(z)
        self.rm = mlp(feature, nn.ELU, D, nn.ELU, D, nn.ELU, D, nn.ELU, D, None, 1)
        self.actor = mlp(feature, nn.ReLU, D, nn.ReLU, D, None, z.A)
        self.critic = Critic(z)

    def latent(self, index, sparse, like):
        """The latent state of class indices [.., C]: positions, or one-hot of `like`'s type."""
        if sparse:
            return index + torch.arange(self.sizes.C) * self.sizes.K
        return F.one_hot(index, self.sizes.K).flatten(-2).to(like.dtype)

    def one_hot_action(self, action, like):
        return F.one_hot(action, self.sizes.A).to(like.dtype)


class Optimiser:
    """Clip by the global norm, then Adam with L2 added to the clipped gradient."""

    def __init__(self, module, group):
        lr, l2, self.clip = OPTIMISERS[group]
        self.params = list(module.parameters())
        self.adam = torch.optim.Adam(self.params, lr=lr, weight_decay=l2, eps=1e-8)

    def step(self, loss):
        """One step on a loss; returns the gradients' norm before the clip."""
        self.adam.zero_grad(set_to_none=True)
        loss.backward()
        return self.apply()

    def apply(self):
        norm = nn.utils.clip_grad_norm_(self.params, self.clip or math.inf)
        self.adam.step()
        return norm


# --------------------------------------------------------------------------------- world model


def align(window):
    """Records k .. k+W-1 to T = W-1 steps: what led to an observation stands beside it."""
    late = {k: window[k][1:] for k in ("obs", "avail", "fake", "last")}
    return {**late, **{k: window[k][:-1] for k in ("act", "rew", "done")}}


def straight_through(prob, index):
    """One-hot forward, the softmax's gradient backward."""
    hot = F.one_hot(index, prob.shape[-1]).to(prob.dtype)
    return hot + (prob - prob.detach())


def dropout_masks(draws, t):
    def layer(i):
        return lambda site, x: x * draws.keep("drop." + site, (t, i), x.shape, DROPOUT)
    return layer


def recurrence(model, b, draws, post="post", dropout=False):
    """Posterior states over a batch: h [T], and for the T-1 first steps s (dense, straight
    through), index, post (logits as [.., C, K])."""
    T, B, N = b["act"].shape[:3]
    e = model.encoder(b["obs"][:T - 1])
    h = e.new_zeros(B, N, model.sizes.D)
    s = e.new_zeros(B, N, model.sizes.C * model.sizes.K)
    out = dict(h=[], s=[], index=[], post=[])
    for t in range(T):
        h = model.transition(b["act"][t], s, h, dropout_masks(draws, t) if dropout else None)
        out["h"].append(h)
        if t == T - 1:
            break
        logits = model.cats(model.posterior(torch.cat([h, e[t]], -1)))
        prob = torch.softmax(logits, -1)
        index = draws.classes(post, (t,), prob)
        s = straight_through(prob, index).flatten(-2)
        for k, x in (("s", s), ("index", index), ("post", logits)):
            out[k].append(x)
        go_on = 1 - b["last"][t]
        s, h = s * go_on, h * go_on
    return {k: torch.stack(x) for k, x in out.items()}


def prior_logits(model, h):
    return model.cats(model.prior(h))


def kl(p, q):
    return (p * (torch.log(p + KL_EPS) - torch.log(q + KL_EPS))).sum(-1)


def balanced_kl(post, prior):
    """Per categorical, of logits: a fifth trains the posterior, the rest the prior."""
    p, q = torch.softmax(post, -1), torch.softmax(prior, -1)
    return 0.2 * kl(p, q.detach()) + 0.8 * kl(p.detach(), q)


def terms(agent, b, r, sparse=False, wanted=None):
    """Every term of the model loss per token, [T-1][B][N]; `dis` is 0 at t = 0. wanted: only
    these (None: all)."""
    model, h = agent.model, r["h"]
    s = agent.latent(r["index"], True, h) if sparse else r["s"]
    now, nxt, real = h[:-1], h[1:], 1 - b["fake"][:-1, ..., 0]
    out = {"kl": balanced_kl(r["post"], prior_logits(model, now)).mean(-1)}
    want = lambda k: wanted is None or k in wanted
    if want("rec") or want("dis"):
        z = head(model.decoder.trunk, s, now)
    if want("rec"):
        out["rec"] = F.smooth_l1_loss(model.decoder.out(z), b["obs"][:-1],
                                      reduction="none").sum(-1) * real
    if want("rew"):
        out["rew"] = F.smooth_l1_loss(head(model.reward, s, nxt)[..., 0], b["rew"][1:, ..., 0],
                                      reduction="none")
    if want("pcont"):
        out["pcont"] = F.binary_cross_entropy_with_logits(
            head(model.pcont, s, nxt)[..., 0], 1 - b["done"][1:, ..., 0], reduction="none")
    if want("avl"):
        out["avl"] = F.binary_cross_entropy_with_logits(
            head(model.avail, s, now), b["avail"][:-1], reduction="none").sum(-1)
    if want("dis"):
        q = F.log_softmax(model.action_info(z[1:]), -1)
        led = b["act"][1:-1].argmax(-1, keepdim=True)
        ce = -q.gather(-1, led)[..., 0] * real[1:]
        out["dis"] = torch.cat([torch.zeros_like(ce[:1]), ce])
    return out


def model_losses(agent, b, draws, dropout=True):
    """The six losses and `total`, their sum."""
    out = {}
    for k, x in terms(agent, b, recurrence(agent.model, b, draws, dropout=dropout)).items():
        out[k] = x.sum() / (x[1:] if k == "dis" else x).numel()
    out["total"] = sum(out.values())
    return out


# -------------------------------------------------------------------------------- model reward


def rm_batch(agent, b, draws, rec="full", passes=1, wanted=None, sparse=False):
    """Labels [T-1][B][N] of R_m and the states (s, h) they belong to; nothing has gradients.

    rec: "full", the mean over O; "code", that over the number of tokens too; "off". With two
    passes the states are those of a second, independent run over the same windows."""
    with torch.no_grad():
        r = recurrence(agent.model, b, draws)
        t = terms(agent, b, r, sparse, wanted)
        label = sum(x for k, x in t.items() if k != "rec")
        if rec != "off":
            tokens = label.numel() if rec == "code" else 1
            label = label + t["rec"] / (agent.sizes.O * tokens)
        name = "prior"
        if passes == 2:
            r, name = recurrence(agent.model, b, draws, post="second.post"), "second.prior"
        h = r["h"][:-1]
        prob = torch.softmax(prior_logits(agent.model, h), -1)
        index = torch.stack([draws.classes(name, (t,), prob[t]) for t in range(len(prob))])
        return label, agent.latent(index, sparse, h), h


def rm_loss(agent, label, s, h):
    return F.smooth_l1_loss(head(agent.rm, s, h)[..., 0], label)


# ----------------------------------------------------------------------------------- imagining


def act_masked(logits, avail, draws, name, index):
    masked = torch.where(avail, logits, torch.full_like(logits, MASKED))
    return draws.classes(name, index, torch.softmax(masked, -1)), masked


def policy(agent, s, h, draws, name, index):
    """Availability drawn from the model, then an action: (action, avail, masked logits)."""
    avail = draws.flips(name + ".avail", index, torch.sigmoid(head(agent.model.avail, s, h)))
    action, masked = act_masked(head(agent.actor, s, h), avail, draws, name + ".action", index)
    return action, avail, masked


def step(agent, s, h, action):
    """h' and the probabilities of s' after a joint action."""
    h = agent.model.transition(agent.one_hot_action(action, h), s, h)
    return h, torch.softmax(prior_logits(agent.model, h), -1)


def score_candidates(agent, index, h, i, H, draws, sparse):
    """Predicted model error of candidates [L][S][N] from their states after the first inner
    step, summed over H inner steps, mean over agents: [L][S]."""
    score = 0
    for tau in range(H):
        s = agent.latent(index, sparse, h)
        score = score + head(agent.rm, s, h)[..., 0].mean(-1)
        if tau + 1 < H:
            action, _, _ = policy(agent, s, h, draws, "plan", (i, tau))
            h, prob = step(agent, s, h, action)
            index = draws.classes("plan.latent", (i, tau + 1), prob)
    return score


def least(scores, choice):
    """Index of the smallest score of every start [S], the first of equal ones; `batch`: one for
    all, by the mean over starts."""
    if choice == "batch":
        scores = scores.mean(1, keepdim=True).expand_as(scores)
    L = scores.shape[0]
    at = torch.arange(L)[:, None].expand_as(scores)
    return torch.where(scores == scores.amin(0), at, torch.full_like(at, L)).amin(0)


def plan(agent, prob, h, i, L, H, choice, draws, sparse):
    """The next latent of every start: the first sample of the candidate with the least score.
    prob [S].. and h [S].. after the first inner step, or [L][S].. of every candidate."""
    index = draws.classes("plan.latent", (i, 0), prob.expand(L, *prob.shape[-4:]))
    scores = score_candidates(agent, index, h.expand(L, *h.shape[-3:]), i, H, draws, sparse)
    chosen = least(scores, choice)
    return index[chosen, torch.arange(len(chosen))], chosen, scores


def lambda_returns(reward, cont, value):
    """reward [T][S] shared by the agents, cont [T][S][N], value [T+1][S][N]."""
    g = [value[-1]]
    for i in reversed(range(len(reward))):
        ahead = (1 - LAMBDA) * value[i + 1] + LAMBDA * g[-1]
        g.append(reward[i][:, None] + GAMMA * cont[i] * ahead)
    return torch.stack(g[::-1])


def start_states(agent, b, draws):
    """Posteriors of all but the last step, t-major: index [S][N][C], h [S][N][D]."""
    r = recurrence(agent.model, b, draws)
    return r["index"].flatten(0, 1), r["h"][:-1].flatten(0, 1)


def imagine(agent, index, h, R, draws, L=0, H=0, choice="start", sparse=False, share_first=True):
    """R states from every start, R-1 transitions; planned if L and H are positive. draws.settle
    may ask for a planned step once more (parity.py: scores too close to tell). The first inner
    step is the same for all candidates; without share_first each computes it all the same."""
    keys = ("index", "h", "action", "avail", "logits", "choice", "scores", "reward", "cont")
    out = {k: [] for k in keys}
    for i in range(R):
        out["index"].append(index)
        out["h"].append(h)
        if i == R - 1:
            break
        s = agent.latent(index, sparse, h)
        action, avail, logits = policy(agent, s, h, draws, "policy", (i,))
        after, prob = step(agent, s, h, action)
        if L and H:
            settled = False
            first = (prob, after) if share_first else step(
                agent, *(x.repeat(L, *[1] * x.dim()) for x in (s, h, action)))[::-1]
            while not settled:
                index, chosen, scores = plan(agent, *first, i, L, H, choice, draws, sparse)
                settled = draws.settle(scores, choice)
            out["choice"].append(chosen)
            out["scores"].append(scores)
        else:
            index = draws.classes("next", (i,), prob)
        out["reward"].append(head(agent.model.reward, s, after)[..., 0].mean(-1))
        out["cont"].append(torch.sigmoid(head(agent.model.pcont, s, after)[..., 0]))
        for k, x in (("action", action), ("avail", avail), ("logits", logits)):
            out[k].append(x)
        h = after
    value = torch.stack([agent.critic(agent.latent(k, sparse, x), x)
                         for k, x in zip(out["index"], out["h"])])
    out = {k: torch.stack(x) if x else None for k, x in out.items()}
    return Roll(**out, value=value, ret=lambda_returns(out["reward"], out["cont"], value))


# ----------------------------------------------------------------------------------------- PPO


def advantages(roll):
    """[(R-1)*S][N], normalised over all rows and agents at once."""
    adv = (roll.ret - roll.value)[:-1].flatten(0, 1)
    return torch.nan_to_num((adv - adv.mean()) / (adv.std() + 1e-4), nan=0.0)


def ppo_rows(roll):
    """What a batch of rows needs in training, joint row = i*S + start."""
    flat = lambda x, n: x[:n].flatten(0, 1)
    n = len(roll.action)
    return dict(index=flat(roll.index, n), h=flat(roll.h, n), action=flat(roll.action, n),
                avail=flat(roll.avail, n), logits=flat(roll.logits, n), ret=flat(roll.ret, n),
                adv=advantages(roll))


def actor_loss(agent, x, eta, sparse=False):
    """Loss of rows x; also the ratios, for those who look."""
    logits = head(agent.actor, agent.latent(x["index"], sparse, x["h"]), x["h"])
    masked = torch.where(x["avail"], logits, torch.full_like(logits, MASKED))
    new, old = F.log_softmax(masked, -1), F.log_softmax(x["logits"], -1)
    a = x["action"][..., None]
    ratio = torch.exp((new.gather(-1, a) - old.gather(-1, a))[..., 0])
    gain = torch.min(ratio * x["adv"], ratio.clamp(1 - PPO_CLIP, 1 + PPO_CLIP) * x["adv"])
    return (-gain + eta * (new.exp() * new).sum(-1)).mean(), ratio


def critic_loss(agent, x, sparse=False):
    value = agent.critic(agent.latent(x["index"], sparse, x["h"]), x["h"])
    return (0.5 * (x["ret"] - value) ** 2).mean()


def minibatches(rows, order, size):
    for part in order.split(size):
        yield {k: x[part] for k, x in rows.items()}


def ppo(agent, optim, rows, draws, epochs, size, eta, sparse=False, seen=None):
    """Epochs of minibatches, actor first. Returns eta after the last step and one line per
    minibatch: actor loss, its gradient norm, critic loss, its norm."""
    lines = []
    for epoch in range(epochs):
        order = draws.order((epoch,), len(rows["adv"]))
        for x in minibatches(rows, order, size):
            loss, ratio = actor_loss(agent, x, eta, sparse)
            line = [loss.detach(), optim["actor"].step(loss)]
            eta *= ANNEAL
            loss = critic_loss(agent, x, sparse)
            lines.append(line + [loss.detach(), optim["critic"].step(loss)])
            if seen:
                seen(ratio.detach())
    return eta, lines


# -------------------------------------------------------------------------------------- acting


def act(agent, state, obs, avail, draws, index):
    """One step of real environments, obs [B][N][O], avail bool [B][N][A]. state: None at the
    start of an episode, later what the last call returned first: (index, h, action)."""
    model, z = agent.model, agent.sizes
    if state is None:
        h = obs.new_zeros(*obs.shape[:2], z.D)
        s, a = obs.new_zeros(*obs.shape[:2], z.C * z.K), obs.new_zeros(*obs.shape[:2], z.A)
    else:
        h = state[1]
        s, a = agent.latent(state[0], False, h), agent.one_hot_action(state[2], h)
    h = model.transition(a, s, h)
    logits = model.cats(model.posterior(torch.cat([h, model.encoder(obs)], -1)))
    k = draws.classes("act.post", index, torch.softmax(logits, -1))
    pi = head(agent.actor, agent.latent(k, False, h), h)
    action, masked = act_masked(pi, avail, draws, "act.action", index)
    return (k, h, action), masked


# --------------------------------------------------------------------------------------- draws


def class_of(prob, u):
    """The smallest class with u < p_0 + ... + p_c; if rounding leaves none, the last with p > 0."""
    index = (u[..., None] >= prob.cumsum(-1)).sum(-1)
    K = prob.shape[-1]
    if bool((index == K).any()):
        last = K - 1 - (prob > 0).long().flip(-1).argmax(-1)
        index = torch.minimum(index, last)
    return index


class Quick:
    """Fresh random numbers, the fast way."""

    def classes(self, name, index, prob):
        cum = prob.cumsum(-1)
        u = torch.rand(*prob.shape[:-1], 1, dtype=prob.dtype) * cum[..., -1:]
        return torch.searchsorted(cum, u, right=True)[..., 0].clamp_(max=prob.shape[-1] - 1)

    def flips(self, name, index, prob):
        return torch.rand_like(prob) < prob

    def keep(self, name, index, shape, rate):
        return torch.empty(shape).bernoulli_(1 - rate).div_(1 - rate)

    def order(self, index, rows):
        return torch.randperm(rows)

    def settle(self, scores, choice):
        return True
