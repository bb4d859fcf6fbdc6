#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the small recordings of this folder: python3 generate.py [DIR]
or random ones, over all maps and options: python3 generate.py --sweep FIRST COUNT DIR

Each recording plays a toy game through a second, deliberately plain implementation of the SMAC
contract (class Contract below) and notes requests and results in the format smac_golden reads.
It exists to disagree with the C code: whoever changes a rule in common/env/smac*.c has to change
it here as well, in another language and another shape. The cases are those that long recordings
of real play rarely hold: lost connections, draws, old image formats, unusual options.
"""
import json
import math
import random
import struct
import sys
from pathlib import Path

BASE = 1885  # where the maps' own unit types begin; only differences matter
OWN = {  # map type -> the agents' types in order of their ids
    "marines": ["marine"],
    "stalkers": ["stalker"],
    "zealots": ["zealot"],
    "hydralisks": ["hydralisk"],
    "colossus": ["colossus"],
    "stalkers_and_zealots": ["stalker", "zealot"],
    "colossi_stalkers_zealots": ["colossus", "stalker", "zealot"],
    "MMM": ["marauder", "marine", "medivac"],
    "bane": ["baneling", "zergling"],
}
THEIRS = {**OWN, "stalkers_and_zealots": ["zealot", "stalker"]}  # order of their one-hot
GAME = {"colossus": 4, "baneling": 9, "marine": 48, "marauder": 51, "medivac": 54, "zealot": 73,
        "stalker": 74, "spine_crawler": 98, "zergling": 105, "hydralisk": 107}
HEALTH = {"marine": (45, 0), "marauder": (125, 0), "medivac": (150, 0), "zealot": (100, 50),
          "stalker": (80, 80), "spine_crawler": (300, 0), "colossus": (200, 150),
          "hydralisk": (80, 0), "zergling": (35, 0), "baneling": (30, 0)}
MAX_CD = {"marine": 15, "marauder": 25, "medivac": 200, "stalker": 35, "zealot": 22,
          "colossus": 24, "hydralisk": 10, "zergling": 11, "baneling": 1}
MAX_SHIELD = {"stalker": 80, "zealot": 50, "colossus": 150}
RACES = {"P": "Protoss", "T": "Terran", "Z": "Zerg"}


def army(text):
    words = text.split()
    return [t for n, t in zip(words[::2], words[1::2]) for _ in range(int(n))]


def scenario(kind, bits, limit, races, own, their):
    return (kind, bits, tuple(int(r == "P") for r in races), limit, [RACES[r] for r in races],
            army(own), army(their))


MAPS = {  # type, bits of the one-hot, limit, races, agents, enemies
    "3m": scenario("marines", 0, 60, "TT", "3 marine", "3 marine"),
    "8m": scenario("marines", 0, 120, "TT", "8 marine", "8 marine"),
    "25m": scenario("marines", 0, 150, "TT", "25 marine", "25 marine"),
    "5m_vs_6m": scenario("marines", 0, 70, "TT", "5 marine", "6 marine"),
    "8m_vs_9m": scenario("marines", 0, 120, "TT", "8 marine", "9 marine"),
    "10m_vs_11m": scenario("marines", 0, 150, "TT", "10 marine", "11 marine"),
    "27m_vs_30m": scenario("marines", 0, 180, "TT", "27 marine", "30 marine"),
    "MMM": scenario("MMM", 3, 150, "TT", "7 marine 2 marauder 1 medivac",
                    "2 marauder 1 medivac 7 marine"),
    "MMM2": scenario("MMM", 3, 180, "TT", "7 marine 2 marauder 1 medivac",
                     "8 marine 3 marauder 1 medivac"),
    "2s3z": scenario("stalkers_and_zealots", 2, 120, "PP", "2 stalker 3 zealot",
                     "3 zealot 2 stalker"),
    "3s5z": scenario("stalkers_and_zealots", 2, 150, "PP", "3 stalker 5 zealot",
                     "3 stalker 5 zealot"),
    "3s5z_vs_3s6z": scenario("stalkers_and_zealots", 2, 170, "PP", "3 stalker 5 zealot",
                             "3 stalker 6 zealot"),
    "3s_vs_3z": scenario("stalkers", 0, 150, "PP", "3 stalker", "3 zealot"),
    "3s_vs_4z": scenario("stalkers", 0, 200, "PP", "3 stalker", "4 zealot"),
    "3s_vs_5z": scenario("stalkers", 0, 250, "PP", "3 stalker", "5 zealot"),
    "1c3s5z": scenario("colossi_stalkers_zealots", 3, 180, "PP", "1 colossus 3 stalker 5 zealot",
                       "1 colossus 3 stalker 5 zealot"),
    "2m_vs_1z": scenario("marines", 0, 150, "TP", "2 marine", "1 zealot"),
    "corridor": scenario("zealots", 0, 400, "PZ", "6 zealot", "24 zergling"),
    "6h_vs_8z": scenario("hydralisks", 0, 150, "ZP", "6 hydralisk", "8 zealot"),
    "2s_vs_1sc": scenario("stalkers", 0, 300, "PZ", "2 stalker", "1 spine_crawler"),
    "so_many_baneling": scenario("zealots", 0, 100, "PZ", "7 zealot", "32 baneling"),
    "bane_vs_bane": scenario("bane", 2, 200, "ZZ", "20 zergling 4 baneling",
                             "20 zergling 4 baneling"),
    "2c_vs_64zg": scenario("colossus", 0, 400, "PZ", "2 colossus", "64 zergling"),
}
DIFFICULTY = dict(zip("123456789A", ["VeryEasy", "Easy", "Medium", "MediumHard", "Hard", "Harder",
                                     "VeryHard", "CheatVision", "CheatMoney", "CheatInsane"]))
DEFAULTS = dict(
    step_mul=8, move_amount=2, difficulty="7", game_version=None, seed=None,
    continuing_episode=False, obs_all_health=True, obs_own_health=True, obs_last_action=False,
    obs_pathing_grid=False, obs_terrain_height=False, obs_instead_of_state=False,
    obs_timestep_number=False, state_last_action=True, state_timestep_number=False,
    reward_sparse=False, reward_only_positive=True, reward_death_value=10, reward_win=200,
    reward_defeat=0, reward_negative_scale=0.5, reward_scale=True, reward_scale_rate=20,
    heuristic_ai=False, heuristic_rest=False)


def single(v):
    return struct.unpack("f", struct.pack("f", v))[0]


def short(v):
    return float("%.8g" % v)


class Lost(Exception):
    pass


class Game:
    """The recorded side: notes requests, hands out what the script put into `queue`.

    Entries of the queue: a list of units (an observation), or "error" (observing fails), or
    ("fail", request) - the next request of that name fails and takes an "error" with it."""

    def __init__(self):
        self.queue, self.calls, self.seen, self.fail = [], [], [], None

    def ask(self, call, **fields):
        self.calls.append({"call": call, **fields})
        if self.queue and self.queue[0] == ("fail", call):
            self.queue.pop(0)
            self.seen.append("error")
            raise Lost
        if call == "observe":
            frame = self.queue.pop(0)
            self.seen.append(frame)
            if frame == "error":
                raise Lost
            return frame


class Contract:
    def __init__(self, name, config, info):
        self.c = {**DEFAULTS, **config}
        if self.c["obs_all_health"]:
            self.c["obs_own_health"] = True
        self.name = name
        (self.type, self.bits, self.shields, self.limit, self.races, own, their) = MAPS[name]
        self.n, self.m, self.a = len(own), len(their), 6 + len(their)
        self.game, self.info = Game(), info
        self.agents, self.enemies, self.base = {}, {}, 0
        self.stats = dict(battles_won=0, battles_game=0, timeouts=0, restarts=0, episode_count=0)
        self.max_reward = self.m * self.c["reward_death_value"] + self.c["reward_win"]

    # requests
    def launch(self):
        g = self.game
        g.ask("launch", version=self.c["game_version"], want_rgb=False)
        players = [{"type": "Participant", "race": None, "difficulty": None},
                   {"type": "Computer", "race": self.races[1],
                    "difficulty": DIFFICULTY[self.c["difficulty"]]}]
        g.ask("create_game", map_path="SMAC_Maps/%s.SC2Map" % self.name, realtime=False,
              random_seed=self.c["seed"], players=players)
        g.ask("join_game", race=self.races[0], raw=True, score=False)
        g.ask("game_info")

    def restart(self):
        self.game.ask("quit")
        self.launch()
        self.stats["restarts"] += 1

    def reset(self):
        if self.stats["episode_count"] == 0:
            self.launch()
        else:
            try:
                units = list(self.agents.values()) + list(self.enemies.values())
                self.game.ask("debug_kill_unit", tags=[u["tag"] for u in units if u["health"]])
                self.game.ask("step", count=2)
            except Lost:
                self.restart()
        self.time, self.last = 0, [None] * self.n
        self.paid, self.targets, self.counted = set(), [None] * self.n, set()
        try:
            self.frame = self.game.ask("observe")
        except Lost:
            return self.restart()
        while not self.take(self.frame):
            try:
                self.game.ask("step", count=1)
                self.frame = self.game.ask("observe")
            except Lost:
                self.restart()
                self.reset()

    def take(self, frame):
        own = sorted((u for u in frame if u["owner"] == 1),
                     key=lambda u: (u["unit_type"], u["x"], u["y"]))
        their = [u for u in frame if u["owner"] == 2]
        self.agents = {i: dict(u) for i, u in enumerate(own)}
        self.enemies = {i: dict(u) for i, u in enumerate(their)}
        if self.stats["episode_count"] == 0:
            self.max_reward += sum(u["health_max"] + u.get("shield_max", 0) for u in their)
            self.base = own[0]["unit_type"]
        return len(own) == self.n and len(their) == self.m

    # what a unit is
    def kind(self, u):
        i = u["unit_type"] - self.base
        return OWN[self.type][i] if 0 <= i < len(OWN[self.type]) else None

    def heals(self, u):
        return self.type == "MMM" and self.kind(u) == "medivac"

    def shield(self, u):
        game = {v: k for k, v in GAME.items()}
        return u.get("shield", 0) / MAX_SHIELD[self.kind(u) or game[u["unit_type"]]]

    def hot(self, u, ally):
        if not self.bits:
            return []
        order = [GAME[t] for t in THEIRS[self.type]]
        at = u["unit_type"] - self.base if ally else order.index(u["unit_type"])
        return [float(i == at) for i in range(self.bits)]

    @staticmethod
    def apart(u, v):
        return math.hypot(u["x"] - v["x"], u["y"] - v["y"])

    # the map
    def open(self, x, y):
        w, h = self.info["map_size"]
        if not (0 <= x < w and 0 <= y < h):
            return None
        image = self.info["pathing_grid"]
        data = bytes.fromhex(image["data_hex"])
        if image["bits_per_pixel"] == 1:
            return data[(y * w + x) // 8] >> (7 - x % 8) & 1
        return int(data[(h - 1 - y) * w + x] == 0)

    def height(self, x, y):
        w, h = self.info["map_size"]
        if not (0 <= x < w and 0 <= y < h):
            return 1
        return bytes.fromhex(self.info["terrain_height"]["data_hex"])[(h - 1 - y) * w + x] / 255

    # actions
    def avail(self, i):
        u = self.agents[i]
        if not u["health"]:
            return [1] + [0] * (self.a - 1)
        d = self.c["move_amount"] / 2
        moves = [self.open(int(u["x"] + dx * d), int(u["y"] + dy * d)) or 0
                 for dx, dy in ((0, 1), (0, -1), (1, 0), (-1, 0))]
        if self.heals(u):
            targets = {k: t for k, t in self.agents.items() if not self.heals(t)}
        else:
            targets = self.enemies
        reach = [int(k in targets and targets[k]["health"] > 0 and
                     self.apart(u, targets[k]) <= 6) for k in range(self.m)]
        return [0, 1] + moves + reach

    def order(self, ability, u, **target):
        return {"ability_id": ability, "unit_tags": [u["tag"]], "queue_command": False, **target}

    def move(self, u, action):
        x, y, d = u["x"], u["y"], self.c["move_amount"]
        pos = {2: (x, y + d), 3: (x, y - d), 4: (x + d, y), 5: (x - d, y)}[action]
        return self.order(16, u, target_pos=[single(v) for v in pos])

    def target(self, u, k):
        if self.heals(u):
            return self.order(386, u, target_unit_tag=self.agents[k]["tag"])
        return self.order(23, u, target_unit_tag=self.enemies[k]["tag"])

    def command(self, i, action):
        u = self.agents[i]
        assert self.avail(i)[action]
        if action == 0:
            return None
        if action == 1:
            return self.order(4, u)
        return self.move(u, action) if action < 6 else self.target(u, action - 6)

    def heuristic(self, i):
        u, heals = self.agents[i], self.heals(self.agents[i])
        pool = self.agents if heals else self.enemies

        def wanted(t):
            if heals:
                return not self.heals(t) and t["health"] not in (0, t["health_max"])
            return t["health"] > 0

        k = self.targets[i]
        if k is None or not wanted(pool[k]):
            near = [(self.apart(u, t), j) for j, t in pool.items() if wanted(t)]
            k = self.targets[i] = min(near)[1] if near else None
        if k is None:
            return None
        if not self.c["heuristic_rest"] or self.avail(i)[6 + k]:
            return self.target(u, k)
        dx, dy = pool[k]["x"] - u["x"], pool[k]["y"] - u["y"]
        if abs(dx) > abs(dy):
            return self.move(u, 4 if dx > 0 else 5)
        return self.move(u, 2 if dy > 0 else 3)

    def step(self, actions):
        self.last = list(actions)
        choose = self.heuristic if self.c["heuristic_ai"] else lambda i: self.command(i, actions[i])
        commands = [c for c in map(choose, range(self.n)) if c]
        try:
            self.game.ask("actions", commands=commands)
            self.game.ask("step", count=self.c["step_mul"])
            frame = self.game.ask("observe")
        except Lost:
            self.restart()
            return 0, True, {}
        self.time += 1
        return self.judge(frame)

    # rewards and ends
    def judge(self, frame):
        now = {u["tag"]: u for u in frame}
        lost, alive = {"a": 0.0, "e": 0.0}, {"a": 0, "e": 0}
        deaths = 0.0
        for side, units in (("a", self.agents), ("e", self.enemies)):
            scale = self.c["reward_negative_scale"] if side == "a" else 1
            for i, old in units.items():
                before = old["health"] + old.get("shield", 0)
                alive[side] += old["tag"] in now
                new = units[i] = dict(now.get(old["tag"], {**old, "health": 0}))
                if (side, i) in self.paid:
                    continue
                if new["health"]:
                    lost[side] += scale * (before - new["health"] - new.get("shield", 0))
                    continue
                self.paid.add((side, i))
                lost[side] += scale * before
                if side == "e":
                    deaths += self.c["reward_death_value"]
                elif not self.c["reward_only_positive"]:
                    deaths -= self.c["reward_death_value"] * scale
        reward = lost["e"] + deaths - lost["a"]
        if self.c["reward_only_positive"]:
            reward = abs(lost["e"] + deaths)
        if self.c["reward_sparse"]:
            reward = 0
        end = self.verdict(alive["a"], alive["e"])
        told = end in self.counted  # a verdict is paid for once, if steps go on after it
        self.counted.add(end)
        info = {"battle_won": end == "won" and not told,
                "dead_allies": sum(not u["health"] for u in self.agents.values()),
                "dead_enemies": sum(not u["health"] for u in self.enemies.values())}
        if end == "won" and not told:
            reward = 1 if self.c["reward_sparse"] else reward + self.c["reward_win"]
        if end == "lost" and not told:
            reward = -1 if self.c["reward_sparse"] else reward + self.c["reward_defeat"]
        if end is None and self.time >= self.limit:
            end = "limit"
            self.stats["timeouts"] += 1
            if self.c["continuing_episode"]:
                info["episode_limit"] = True
        if end:
            self.stats["battles_game"] += 1
            self.stats["episode_count"] += 1
            self.stats["battles_won"] += info["battle_won"]
        if self.c["reward_scale"]:
            reward /= self.max_reward / self.c["reward_scale_rate"]
        return reward, end is not None, info

    def verdict(self, a, e):
        fighters = [u for u in self.agents.values() if u["health"] and not self.heals(u)]
        left = [u["unit_type"] for u in self.enemies.values() if u["health"]]
        if (not a and e) or (self.type == "MMM" and not fighters):
            return "lost"
        if (a and not e) or (self.type == "MMM" and left == [54]):
            return "won"
        return "draw" if not a and not e else None

    # views
    def observe(self, i):
        c, u = self.c, self.agents[i]
        stamp = [self.time / self.limit] if c["obs_timestep_number"] else []
        size = self.sizes()[0]
        if not u["health"]:
            return [0] * size + stamp
        avail = self.avail(i)
        out = avail[2:6]
        a = c["move_amount"]
        around = [(0, 2 * a), (0, -2 * a), (2 * a, 0), (-2 * a, 0), (a, a), (-a, -a), (a, -a),
                  (-a, a), (0, 0)]
        cells = [(int(u["x"]) + dx, int(u["y"]) + dy) for dx, dy in around]
        if c["obs_pathing_grid"]:
            out += [1 if self.open(*p) is None else self.open(*p) for p in cells[:8]]
        if c["obs_terrain_height"]:
            out += [self.height(*p) for p in cells]
        for k, e in self.enemies.items():
            out += self.block(u, e, avail[6 + k], False, [])
        for j, t in self.agents.items():
            if j != i:
                hot = self.one_hot(j) if c["obs_last_action"] else []
                out += self.block(u, t, 1, True, hot)
        if c["obs_own_health"]:
            out += [u["health"] / u["health_max"]] + ([self.shield(u)] if self.shields[0] else [])
        out += self.hot(u, True) + [0] * len(stamp) + stamp
        return out

    def block(self, u, t, first, ally, extra):
        d = self.apart(u, t)
        health = []
        if self.c["obs_all_health"]:
            health = [t["health"] / t["health_max"]]
            health += [self.shield(t)] if self.shields[not ally] else []
        out = [first, d / 9, (t["x"] - u["x"]) / 9, (t["y"] - u["y"]) / 9] + health
        out += self.hot(t, ally) + extra
        return out if t["health"] and d < 9 else [0] * len(out)

    def one_hot(self, i):
        return [float(self.last[i] == a) for a in range(self.a)]

    def sizes(self):
        c, (sa, se), b = self.c, self.shields, self.bits
        all_health = c["obs_all_health"]
        obs = 4 + 8 * c["obs_pathing_grid"] + 9 * c["obs_terrain_height"]
        obs += self.m * (4 + b + all_health * (1 + se))
        obs += (self.n - 1) * (4 + b + all_health * (1 + sa) + c["obs_last_action"] * self.a)
        obs += b + c["obs_own_health"] * (1 + sa) + c["obs_timestep_number"]
        state = self.n * (4 + sa + b) + self.m * (3 + se + b)
        state += c["state_last_action"] * self.n * self.a + c["state_timestep_number"]
        return obs, self.n * obs if c["obs_instead_of_state"] else state

    def state(self):
        c = self.c
        if c["obs_instead_of_state"]:
            return [v for i in range(self.n) for v in self.observe(i)]
        w, h = self.info["map_size"]
        x0, y0, x1, y1 = self.info["playable_area"]
        out = []
        for ally, units in ((True, self.agents), (False, self.enemies)):
            for u in units.values():
                row = [u["health"] / u["health_max"]]
                if ally:
                    charge = u.get("energy" if self.heals(u) else "weapon_cooldown", 0)
                    row += [charge / MAX_CD[self.kind(u)]]
                row += [(u["x"] - w / 2) / (x1 - x0), (u["y"] - h / 2) / (y1 - y0)]
                row += [self.shield(u)] if self.shields[not ally] else []
                row += self.hot(u, ally)
                out += row if u["health"] else [0] * len(row)
        if c["state_last_action"]:
            out += [v for i in range(self.n) for v in self.one_hot(i)]
        return out + ([self.time / self.limit] if c["state_timestep_number"] else [])

    def views(self):
        return {"obs": [[short(v) for v in self.observe(i)] for i in range(self.n)],
                "state": [short(v) for v in self.state()],
                "avail": ["".join(map(str, self.avail(i))) for i in range(self.n)]}


class Toy:
    """A game without rules: units wander, some lose points, the script says who dies."""

    def __init__(self, name, seed):
        self.rng, self.name, self.tag, self.units = random.Random(seed), name, 4294967297, []

    def spawn(self):
        kind, _, _, _, _, own, their = MAPS[self.name]
        self.units = []
        for owner, x, names in ((1, 12, own), (2, 18, their)):
            for t in names:
                hp, shield = HEALTH[t]
                u = {"owner": owner, "unit_type": GAME[t] if owner == 2 else
                     BASE + OWN[kind].index(t), "tag": str(self.tag),
                     "x": single(x + self.rng.uniform(-3, 3)),
                     "y": single(16 + self.rng.uniform(-4, 4)), "health": float(hp),
                     "health_max": float(hp)}
                if shield:
                    u.update(shield=float(shield), shield_max=float(shield))
                if t == "medivac":
                    u.update(energy=50.0, energy_max=200.0)
                self.tag += 262144
                self.units.append(u)

    def frame(self, missing=0):
        units = [dict(u) for u in self.units]
        self.rng.shuffle(units)
        if missing:  # newcomers are late; at least one agent is there
            units.sort(key=lambda u: u["owner"])
            units = units[:-missing]
        return units

    def play(self, kill=()):
        for u in self.units:
            u["x"] = single(u["x"] + self.rng.uniform(-1, 1))
            u["y"] = single(u["y"] + self.rng.uniform(-1, 1))
            if self.rng.random() < 0.4:
                u["health"] = single(max(1, u["health"] - self.rng.uniform(0, 9)))
            if "shield" in u and self.rng.random() < 0.5:
                u["shield"] = single(min(u["shield_max"], max(0, u["shield"] +
                                                              self.rng.uniform(-9, 3))))
            if "energy" in u:
                u["energy"] = single(u["energy"] + 0.28125)
            elif u["owner"] == 1:
                u["weapon_cooldown"] = single(self.rng.uniform(0, 20))
        self.units = [u for u in self.units if not self.dies(u, kill)]
        return self.frame()

    @staticmethod
    def dies(u, kill):
        return any(k in ((u["owner"], u["unit_type"]), (u["owner"], "all")) for k in kill)


def grid(bits, rng):
    """A map with rough edges, so that every movement rule is met."""
    w = [[int(2 <= x < 30 and 7 <= y < 25 and rng.random() < 0.9) for x in range(32)]
         for y in range(32)]
    heights = bytes(rng.randrange(256) for _ in range(32 * 32))
    if bits == 1:
        data = bytes(int("".join(map(str, w[y][8 * b:8 * b + 8])), 2)
                     for y in range(32) for b in range(4))
    else:
        data = bytes(0 if w[31 - y][x] else 255 for y in range(32) for x in range(32))
    return {"map_size": [32, 32], "playable_area": [0, 0, 32, 32],
            "pathing_grid": {"bits_per_pixel": bits, "data_hex": data.hex()},
            "terrain_height": {"bits_per_pixel": 8, "data_hex": heights.hex()}}


def record(case, note, name, config, script, bits=1, seed=1):
    """script: one list per episode: the frames of its reset, then of its steps. A frame is
    a callable of the toy; see Game for failures."""
    rng = random.Random(seed)
    info = grid(bits, rng)
    env, toy = Contract(name, config, info), Toy(name, seed)
    episodes = []
    for resets, steps in script:
        env.game.queue = [f(toy) if callable(f) else f for f in resets]
        env.reset()
        part = {"observations": env.game.seen, "calls": env.game.calls}
        env.game.seen, env.game.calls = [], []
        part["expect"] = {"max_reward": env.max_reward,
                          "agent_tags": [u["tag"] for u in env.agents.values()],
                          "enemy_tags": [u["tag"] for u in env.enemies.values()], **env.views()}
        episodes.append({"reset": part, "steps": [record_step(env, toy, f, rng) for f in steps],
                         "stats": dict(env.stats)})
    obs, state = env.sizes()
    kinds = ["type_%d" % i for i in range(env.bits)]
    return {"format": 1, "case": case, "note": note, "map": name, "config": config,
            "game_info": info,
            "env_info": {"state_shape": state, "obs_shape": obs, "n_actions": env.a,
                         "n_agents": env.n, "episode_limit": env.limit,
                         "agent_features": ["health", "energy/cooldown", "rel_x", "rel_y"] +
                         ["shield"] * env.shields[0] + kinds,
                         "enemy_features": ["health", "rel_x", "rel_y"] +
                         ["shield"] * env.shields[1] + kinds},
            "episodes": episodes}


def record_step(env, toy, frame, rng):
    env.game.queue = [frame(toy) if callable(frame) else frame]
    actions = [rng.choice([a for a, ok in enumerate(env.avail(i)) if ok]) for i in range(env.n)]
    reward, terminated, info = env.step(actions)
    step = {"actions": actions, "calls": env.game.calls, "observation": env.game.seen[0]}
    env.game.seen, env.game.calls = [], []
    step["expect"] = {"reward": reward, "terminated": terminated, "info": info, **env.views()}
    return step


def new(missing=0):
    def make(toy):
        toy.spawn()
        return toy.frame(missing)
    return make


def same(missing=0):
    return lambda toy: toy.frame(missing)


def play(*kill):
    return lambda toy: toy.play(kill)


def marked(tag_of, **fields):
    """A frame in which one unit is changed, e.g. listed with no health left."""
    def make(toy):
        frame = toy.play()
        tag_of(frame).update(fields)
        return frame
    return make


WIN, LOSS, DRAW = play((2, "all")), play((1, "all")), play((1, "all"), (2, "all"))
CASES = [
    ("lost_in_first_episode",
     "a connection lost before any episode ended: the game is launched twice, max_reward grows",
     "3m", {"continuing_episode": True},
     [([new()], [play(), ("fail", "actions")]), ([new(2), same(1), same()], [play(), "error"]),
      ([new()], [play(), WIN]), ([new()], [LOSS])]),
    ("lost_in_later_episodes", "failures of each request of a step and of the reset's kill",
     "2s_vs_1sc", {"seed": 7},
     [([new()], [WIN]), ([new()], [play(), ("fail", "step")]),
      ([new()], [("fail", "actions")]), ([("fail", "debug_kill_unit"), new()], [play(), DRAW]),
      ([("fail", "step"), new()], [LOSS])]),
    ("lost_in_reset", "failures while observing and while units are awaited",
     "2m_vs_1z", {"game_version": "4.10"},
     [([new(1), ("fail", "step"), new()], [WIN]), (["error"], [play(), DRAW]),
      ([new(1), "error", new(1), same()], [play(), LOSS])]),
    ("old_images", "pathing grid of 8 bits per pixel, pathing and height features, draw",
     "2m_vs_1z", {"obs_pathing_grid": True, "obs_terrain_height": True, "move_amount": 3},
     [([new()], [play(), play(), DRAW]), ([new()], [play(), WIN])]),
    ("views_without_health", "observations as state, one entry longer; no health of others",
     "2s3z", {"obs_instead_of_state": True, "obs_timestep_number": True, "obs_all_health": False,
              "obs_own_health": False, "obs_last_action": True, "move_amount": 1, "step_mul": 4,
              "difficulty": "A"},
     [([new()], [play(), play((1, BASE)), play((2, 73)), WIN])]),
    ("own_health_only", "health and shield of the agent itself, state with the time step",
     "2s3z", {"obs_all_health": False, "state_timestep_number": True,
              "state_last_action": False}, [([new()], [play(), play((1, BASE + 1)), LOSS])]),
    ("rewards", "signed reward with unusual values, unscaled",
     "2s3z", {"reward_only_positive": False, "reward_death_value": 7, "reward_win": 50,
              "reward_defeat": -3, "reward_negative_scale": 0.25, "reward_scale": False},
     [([new()], [play((1, BASE)), play((2, 74)), LOSS]), ([new()], [play(), WIN])]),
    ("sparse", "sparse reward, divided by the scale all the same", "3m",
     {"reward_sparse": True, "reward_scale_rate": 10},
     [([new()], [play(), WIN]), ([new()], [LOSS]), ([new()], [play(), DRAW])]),
    ("listed_without_health", "a unit that is listed with no health: it still counts", "3m", {},
     [([new()], [play(), marked(lambda f: [u for u in f if u["owner"] == 2][0], health=0.0),
                 play(), marked(lambda f: [u for u in f if u["owner"] == 1][0], health=0.0),
                 WIN])]),
    ("medivac_ends", "our medivac alone has lost, even with no enemy left; theirs alone too",
     "MMM", {"obs_timestep_number": True},
     [([new()], [play((1, BASE)), play((1, BASE + 1), (2, "all"))]),
      ([new()], [play((2, 48)), play((2, 51))])]),
    ("heuristic", "targets kept, orders at any distance, dead agents ordered about as well",
     "MMM", {"heuristic_ai": True},
     [([new()], [play(), play((1, BASE)), play((2, 51)), play((2, 48))])]),
    ("heuristic_rest", "walks when the target is out of reach", "2s3z",
     {"heuristic_ai": True, "heuristic_rest": True},
     [([new()], [play(), play(), play((2, 73)), play((1, BASE)), WIN])]),
]


def sweep(seed):
    """A recording of random options, ends and failures; map `seed` modulo 23, so that any 23
    in a row hold every map."""
    rng = random.Random("sweep %d" % seed)
    name = list(MAPS)[seed % len(MAPS)]
    config = {}
    for key, value in DEFAULTS.items():
        if rng.random() < 0.6:
            continue
        if isinstance(value, bool):
            config[key] = not value
    for key, values in (("step_mul", [1, 4, 16]), ("move_amount", [1, 3, 4]),
                        ("difficulty", list("12345689A")), ("seed", [0, 5, 4294967295]),
                        ("game_version", ["4.6.2", "4.10"]), ("reward_win", [0, 50.5]),
                        ("reward_defeat", [-200, 3.25]), ("reward_death_value", [0, 2.5]),
                        ("reward_negative_scale", [0, 1.5]), ("reward_scale_rate", [1, 7])):
        if rng.random() < 0.3:
            config[key] = rng.choice(values)
    small = max(len(MAPS[name][5]), len(MAPS[name][6])) <= 12
    fails = [("fail", "actions"), ("fail", "step"), "error"]

    def some_die(toy):
        lost = rng.sample(toy.units, min(rng.randrange(3), max(0, len(toy.units) - 4)))
        frame = toy.play()
        toy.units = [u for u in toy.units if u not in lost]
        return [u for u in frame if u["tag"] not in [v["tag"] for v in lost]]

    def reset(later):
        missing = rng.randrange(1, 1 + len(MAPS[name][6]))
        ways = [[new()], [new()], [new(missing), same()], [new(missing), "error", new()],
                [new(missing), ("fail", "step"), new()]]
        if later:  # the first one launches the game instead
            ways += [[("fail", "debug_kill_unit"), new()], [("fail", "step"), new()]]
        return rng.choice(ways)

    script, later = [], False
    for _ in range(rng.randrange(1, 4 if small else 2)):
        steps = [some_die for _ in range(rng.randrange(1, 6 if small else 3))]
        end = rng.choice([[WIN], [LOSS], [DRAW], [play((1, "all"), (2, GAME[MAPS[name][6][0]]))],
                          [play((2, GAME[MAPS[name][6][-1]]))], [rng.choice(fails)]])
        script.append((reset(later), steps + end))
        later = later or end in ([WIN], [LOSS], [DRAW])
    return record("sweep_%d" % seed, "random", name, config, script, rng.choice([1, 8]), seed)


def write(out, recording):
    text = json.dumps(recording, separators=(",", ":"))
    path = out / (recording["case"] + ".json")
    path.write_text(text.replace('{"reset"', '\n{"reset"') + "\n")


def main():
    if len(sys.argv) == 5 and sys.argv[1] == "--sweep":
        first, count, out = int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
        out.mkdir(parents=True, exist_ok=True)
        for seed in range(first, first + count):
            write(out, sweep(seed))
        return
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    for seed, (case, note, name, config, script) in enumerate(CASES):
        bits = 8 if case == "old_images" else 1
        write(out, record(case, note, name, config, script, bits, seed))


if __name__ == "__main__":
    main()
