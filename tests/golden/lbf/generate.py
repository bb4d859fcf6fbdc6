#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the small recordings of this folder: python3 generate.py [DIR]

Each recording plays Level-Based Foraging by a second, deliberately plain implementation (class
Field below, a grid of cells) and notes what happens in the format lbf_golden reads. It exists to
disagree with the C code: whoever changes a rule in common/env/lbf.c has to change it here as
well, in another language and another shape. The cases are those that recordings of ordinary play
rarely hold: crowds, penalties, rewards as they are, hidden levels, high levels, long sight, an
episode taken up in its middle.
"""
import json
import random
import sys
from pathlib import Path

WAY = {1: (-1, 0), 2: (1, 0), 3: (0, -1), 4: (0, 1)}  # north, south, west, east
LOAD = 5


class Field:
    def __init__(self, task, players, foods, level_sum, step):
        self.task, self.step, self.level_sum = task, step, level_sum
        self.size = range(task["rows"]), range(task["cols"])
        self.players = [dict(p) for p in players]
        self.food = {(f["row"], f["col"]): f["level"] for f in foods}

    def beside(self, cell):
        """Cells at distance one, in the order a loader looks for food."""
        return [(cell[0] + dr, cell[1] + dc) for dr, dc in WAY.values()]

    @staticmethod
    def place(player):
        return player["row"], player["col"]

    def valid(self, player):
        around = self.beside(self.place(player))
        free = [a for a, (r, c) in zip(WAY, around)
                if r in self.size[0] and c in self.size[1] and (r, c) not in self.food]
        return [0] + free + ([LOAD] if any(c in self.food for c in around) else [])

    def play(self, asked):
        self.step += 1
        actions = [a if a in self.valid(p) else 0 for p, a in zip(self.players, asked)]
        goals = []
        for p, a in zip(self.players, actions):
            dr, dc = WAY.get(a, (0, 0))
            goals.append((p["row"] + dr, p["col"] + dc))
        for p, goal in zip(self.players, goals):
            if goals.count(goal) == 1:
                p["row"], p["col"] = goal
        rewards = self.loads([i for i, a in enumerate(actions) if a == LOAD])
        done = not self.food or self.step >= self.task["max_episode_steps"]
        return rewards, done

    def loads(self, loaders):
        rewards = [0.0] * len(self.players)
        while loaders:
            spots = self.beside(self.place(self.players[loaders[0]]))
            spot = next(c for c in spots if c in self.food)
            group = [i for i in loaders if self.place(self.players[i]) in self.beside(spot)]
            loaders = [i for i in loaders if i not in group]
            strength = sum(self.players[i]["level"] for i in group)
            level = self.food[spot]
            for i in group:
                if strength < level:
                    rewards[i] -= self.task["penalty"]
                    continue
                rewards[i] = float(self.players[i]["level"] * level)
                if self.task["normalize_reward"]:
                    rewards[i] /= float(strength * self.level_sum)
            if strength >= level:
                del self.food[spot]
        return rewards

    def observe(self, me):
        """Cut a window out of the grid and read it row by row; players have a rule of their own."""
        sight, me_at = self.task["sight"], self.place(self.players[me])
        top, left = (max(0, x - sight) for x in me_at)
        seen = []
        for row in range(top, min(me_at[0] + sight + 1, self.task["rows"])):
            for col in range(left, min(me_at[1] + sight + 1, self.task["cols"])):
                if (row, col) in self.food:
                    seen += [row - top, col - left, self.food[row, col]]
        seen += [-1, -1, 0] * (self.task["max_num_food"] - len(seen) // 3)
        levels = self.task["observe_agent_levels"]
        shown = 0
        for i in [me] + [i for i in range(len(self.players)) if i != me]:
            p = self.players[i]
            row, col = p["row"] - top, p["col"] - left
            if 0 <= min(row, col) and max(row, col) <= 2 * sight:
                seen += [row, col] + [p["level"]] * levels
                shown += 1
        return seen + ([-1, -1] + [0] * levels) * (len(self.players) - shown)

    def views(self):
        return {"obs": [self.observe(i) for i in range(len(self.players))],
                "valid_actions": [self.valid(p) for p in self.players]}

    def foods(self):
        return [[r, c, level] for (r, c), level in sorted(self.food.items())]


def scatter(rng, task, levels, food_levels):
    """Players anywhere, also together; foods inside the border, no cell between two of them."""
    inside = [(r, c) for r in range(1, task["rows"] - 1) for c in range(1, task["cols"] - 1)]
    foods = {}
    while len(foods) < len(food_levels):
        cell = rng.choice(inside)
        if all(abs(cell[0] - r) + abs(cell[1] - c) > 2 for r, c in foods):
            foods[cell] = food_levels[len(foods)]
    players = []
    while len(players) < task["n_players"]:
        cell = rng.randrange(task["rows"]), rng.randrange(task["cols"])
        if cell not in foods:
            players.append({"row": cell[0], "col": cell[1], "level": levels[len(players)]})
    return players, [{"row": r, "col": c, "level": v} for (r, c), v in sorted(foods.items())]


def choose(rng, field, eager):
    """Random, but whoever can load often does, and invalid actions are asked for, too."""
    return [LOAD if rng.random() < eager and LOAD in field.valid(p) else rng.randrange(6)
            for p in field.players]


def record(name, description, seed, size, levels, foods, steps, sight=None, slots=None,
           taken=0, begin=0, limit=50, normalize=True, penalty=0.0, show=True, eager=0.6):
    rng = random.Random(seed)
    task = {"id": "custom", "rows": size, "cols": size, "n_players": len(levels),
            "max_num_food": slots or len(foods), "sight": sight or size, "force_coop": False,
            "max_episode_steps": limit, "normalize_reward": normalize, "penalty": penalty,
            "observe_agent_levels": show}
    task["obs_len"] = 3 * task["max_num_food"] + (3 if show else 2) * len(levels)
    players, initial = scatter(rng, task, levels, foods)
    field = Field(task, players, initial, sum(foods) + taken, begin)
    start = {"players": players, "foods": initial, "food_level_sum": field.level_sum,
             "step": begin, **field.views()}
    lines, totals = [], [0.0] * len(levels)
    for _ in range(steps):
        actions = choose(rng, field, eager)
        rewards, done = field.play(actions)
        totals = [t + r for t, r in zip(totals, rewards)]
        lines.append({"actions": actions, "players": [field.place(p) for p in field.players],
                      "foods": field.foods(), "rewards": rewards, "done": done, **field.views()})
        if done:
            break
    head = {"format": "lbf-trace-1", "name": name, "description": description, "task": task,
            "initial": start, "total_rewards": totals}

    def text(value):
        return json.dumps(value, separators=(",", ":"))

    body = text(head)[:-1] + ',"steps":[\n' + ",\n".join(map(text, lines)) + "\n]}\n"
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    (folder / (name + ".json")).write_text(body)
    print("%-16s %3d steps, %d foods left, %6d bytes" % (name, len(lines), len(field.food),
                                                         len(body)))


record("crowd", "eight players on 5x5: clashes, swaps, chains, shared cells at every step", 100, 5,
       [1, 2, 1, 2, 1, 1, 2, 1], [9], 40, eager=0.1)
record("penalty", "loads in vain cost 0.3, shares beyond simple fractions", 112, 7,
       [1, 3, 2, 2, 1], [4, 5, 2, 7], 50, penalty=0.3, eager=0.9)
record("plain_points", "rewards not normalised: level times food", 213, 6, [3, 1, 2, 2],
       [2, 5, 3], 50, normalize=False, penalty=0.125, eager=0.9)
record("hidden_levels", "observations without the players' levels", 241, 6, [1, 2, 1], [2, 3], 30,
       show=False, eager=0.9)
record("near_sight", "sight 1, more slots than foods", 112, 9, [1, 2, 2, 1, 1], [1, 2, 3, 1], 45,
       sight=1, slots=6)
record("wide_sight", "sight 3 on 12x12: both kinds of window at all borders", 112, 12,
       [2, 1, 1, 2, 3, 1, 2], [3, 1, 4, 2, 2, 1], 60, sight=3, limit=60)
record("taken_up", "from step 17 of 25, after foods of level 8 were taken", 101, 8, [1, 2],
       [1, 3, 2], 20, taken=8, begin=17, limit=25)
record("high_levels", "levels in the thousands stay exact", 124, 6, [4099, 9973, 7001],
       [11003, 9001], 50, eager=0.9)
record("alone", "one player takes everything and the episode ends", 19, 5, [2], [1, 2], 400,
       limit=400)
