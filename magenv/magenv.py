# SPDX-License-Identifier: Apache-2.0
"""magenv - Magellan's multi-agent environments for Python: one file, ctypes and numpy.

    magenv.ParallelEnv("3m")              PettingZoo's ParallelEnv
    magenv.StarCraft2Env(map_name="3m")   the methods of SMAC, as PyMARL and EPyMARL call them
    magenv.VectorEnv("3m", num_envs=64)   Gymnasium's VectorEnv: many episodes in lock-step
    magenv.Batch("3m", num_envs=64)       what the three stand on: numpy arrays and nothing else

PettingZoo and Gymnasium are used where they are installed; without them the same classes work
with small spaces of their own. `python -m magenv` lists environments and maps, and
`python -m magenv SCRIPT ...` runs a program that imports `smac` on these environments instead.

The engine is libmagenv.so, looked for in $MAGENV_LIBRARY, then beside this file. It writes into
arrays that numpy owns, so nothing is copied below Batch; the classes above hand out copies
unless told copy=False. An episode is a function of its seed and its actions. An object belongs
to one thread at a time; calls release Python's lock. See docs/python.md.
"""
import ctypes
import os
import runpy
import secrets
import sys
import types
import weakref

import numpy as np

try:
    import gymnasium
    from gymnasium import spaces
except ImportError:
    gymnasium = None
try:
    from pettingzoo import ParallelEnv as _ParallelBase
except ImportError:
    _ParallelBase = object

__version__ = "0.1.0"
__all__ = ["Batch", "Error", "MultiAgentEnv", "ParallelEnv", "StarCraft2Env", "VectorEnv", "film",
           "maps", "names", "parallel_env"]

ABI = 1
RUNNING, TERMINAL, LIMIT, ABORT = range(4)  # enum magenv_end
UNITS_MAX, EUNSUPPORTED = 256, -14
UNIT = np.dtype([("side", np.uint8), ("kind", np.uint8), ("alive", np.bool_), ("", np.uint8),
                 ("x", np.float32), ("y", np.float32), ("health", np.float32),
                 ("shield", np.float32), ("energy", np.float32)])  # struct magenv_unit
AUTORESET = {"disabled": 0, "same_step": 1, "next_step": 2}  # enum magenv_autoreset


class Error(ValueError):
    """A call that libmagenv.so refused: its sentence, and its code (negative, see magenv.h)."""

    def __init__(self, text, code=0):
        super().__init__(text)
        self.code = code


# --- the library ---


class _Spec(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in
                ("n_agents", "obs", "state", "actions", "episode_limit")]
    _fields_ += [("build", ctypes.c_char * 64), ("line", ctypes.c_char * 4032)]


class _Options(ctypes.Structure):
    _fields_ = [("envs", ctypes.c_uint64), ("threads", ctypes.c_uint32),
                ("autoreset", ctypes.c_uint32)]


class _Arrays(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in
                ("obs", "avail", "state", "reward", "end", "won", "seed",
                 "final_obs", "final_avail", "final_state")]


def _load():
    path = os.environ.get("MAGENV_LIBRARY") or os.path.join(
        os.path.dirname(os.path.abspath(__file__)), "libmagenv.so")
    try:
        lib = ctypes.CDLL(path)
    except OSError as error:
        raise ImportError(
            "%s; build it (cmake --preset release && cmake --build --preset release --target "
            "magenv_shared) and name it in MAGENV_LIBRARY, or install the wheel of deploy/wheel"
            % error) from None
    pointer, names_list = ctypes.c_void_p, ctypes.POINTER(ctypes.c_char_p)
    for name, result, arguments in (
            ("abi", ctypes.c_uint32, []),
            ("error", ctypes.c_char_p, []),
            ("names", names_list, []),
            ("maps", names_list, [ctypes.c_char_p]),
            ("spec", ctypes.c_int, [ctypes.c_char_p, pointer]),
            ("open", ctypes.c_int, [pointer, ctypes.c_char_p, pointer]),
            ("close", None, [pointer]),
            ("reset", ctypes.c_int, [pointer] * 4),
            ("step", ctypes.c_int, [pointer] * 3),
            ("step_script", ctypes.c_int, [pointer, pointer, ctypes.c_char_p]),
            ("sample", None, [pointer] * 3),
            ("units", ctypes.c_int, [pointer, ctypes.c_uint64, pointer, pointer]),
            ("film", ctypes.c_int, [ctypes.c_char_p, ctypes.c_uint64, pointer, ctypes.c_uint64,
                                    ctypes.c_char_p]),
            ("describe", ctypes.c_int,
             [pointer, ctypes.c_uint64, ctypes.c_char_p, ctypes.c_size_t])):
        function = getattr(lib, "magenv_" + name)
        function.restype, function.argtypes = result, arguments
    if lib.magenv_abi() != ABI:
        raise ImportError("%s has interface %d, this magenv.py needs %d; take both from one build"
                          % (path, lib.magenv_abi(), ABI))
    return lib


_lib = _load()


def _check(code):
    if code:
        raise Error(_lib.magenv_error().decode(), code)


def _strings(array):
    found = []
    while array and array[len(found)]:
        found.append(array[len(found)].decode())
    return found


def names():
    """The environments there are, e.g. ["smac"]."""
    return _strings(_lib.magenv_names())


def maps(name="smac"):
    """The standard maps or tasks of an environment."""
    found = _lib.magenv_maps(name.encode())
    if not found:
        raise Error(_lib.magenv_error().decode())
    return _strings(found)


def _words(name, map, settings):
    """The settings of docs/config.md, group env, as the library reads them."""
    words = []
    for key, value in {"name": name, "map": map, **settings}.items():
        text = str(value).lower() if isinstance(value, (bool, np.bool_)) else str(value)
        if not text or text.split() != [text]:
            raise Error("%s=%r: a setting is one word" % (key, value))
        words.append("env.%s=%s" % (key, text))
    return " ".join(words).encode()


def film(path, map, seed, actions, *, name="smac", **settings):
    """Play the episode of a seed and its actions [steps][N] again and write it as a film, which
    `mag replay` shows. For environments with units."""
    actions = np.ascontiguousarray(actions, np.int32)
    words, spec = _words(name, map, settings), _Spec()
    _check(_lib.magenv_spec(words, ctypes.byref(spec)))
    if actions.ndim != 2 or actions.shape[1] != spec.n_agents:
        raise Error("actions have shape %s, not (steps, %d)" % (actions.shape, spec.n_agents))
    _check(_lib.magenv_film(words, seed, actions.ctypes.data, len(actions), os.fsencode(path)))


def _close(handle, process):
    """Not in a forked child: the handle is the parent's, and its memory goes with the child."""
    if os.getpid() == process:
        _lib.magenv_close(handle)


# --- numpy arrays and nothing else ---


class Batch:
    """num_envs environments of one configuration in lock-step (K below).

    The arrays are rewritten by every reset and step; they are numpy's own memory and stay valid
    after close(). With autoreset "same_step", final_* hold the last rows of the episodes that
    ended in this step (where end is not 0); seed is that of the episode in each row. threads:
    how many step them, this one included. **settings: keys of group env of docs/config.md, e.g.
    obs_last_action=True.
    """

    def __init__(self, map, num_envs=1, *, name="smac", threads=1, autoreset="disabled",
                 **settings):
        if autoreset not in AUTORESET:
            raise Error("autoreset %r; use one of %s" % (autoreset, ", ".join(AUTORESET)))
        if num_envs < 1 or threads < 1:
            raise Error("num_envs %d, threads %d; use 1 or more" % (num_envs, threads))
        words, spec, handle = _words(name, map, settings), _Spec(), ctypes.c_void_p()
        _check(_lib.magenv_spec(words, ctypes.byref(spec)))
        options = _Options(num_envs, threads, AUTORESET[autoreset])
        _check(_lib.magenv_open(ctypes.byref(handle), words, ctypes.byref(options)))
        self._handle = handle
        self._finalizer = weakref.finalize(self, _close, handle, os.getpid())

        self.num_envs, self.n_agents, self.n_actions = num_envs, spec.n_agents, spec.actions
        self.obs_size, self.state_size = spec.obs, spec.state
        self.episode_limit = spec.episode_limit
        self.build, self.line = spec.build.decode(), spec.line.decode()

        k, n = num_envs, spec.n_agents
        shapes = {"obs": (k, n, spec.obs), "avail": (k, n, spec.actions), "state": (k, spec.state)}
        if autoreset == "same_step":
            shapes.update({"final_" + key: shape for key, shape in shapes.items()})
        shapes.update(reward=(k,), end=(k,), won=(k,), seed=(k,))
        dtypes = {"avail": np.int8, "final_avail": np.int8, "end": np.uint8, "won": np.bool_,
                  "seed": np.uint64}
        self._arrays = _Arrays()
        for key, shape in shapes.items():
            array = np.zeros(shape, dtypes.get(key, np.float32))
            setattr(self, key, array)
            setattr(self._arrays, key, array.ctypes.data)
        self._to = ctypes.byref(self._arrays)
        self._actions = np.zeros((k, n), np.int32)
        self._seeded = False

    def _open(self):
        if not self._finalizer.alive:
            raise Error("this environment has been closed; open another one")
        return self._handle

    def reset(self, seed=None, which=None):
        """Start episodes where `which` [K] is true (everywhere if None).

        seed: one number s (environment k gets s + k) or K of them, each beginning a sequence of
        episodes of which the first is played with the seed itself. None goes on with the
        sequences begun before; the very first time it draws them from the system.
        """
        if seed is None and not self._seeded:
            seed = secrets.randbits(63)
        if seed is not None:
            seed = _seeds(seed, self.num_envs)
        if which is not None:
            which = np.ascontiguousarray(which, np.bool_)
            if which.shape != (self.num_envs,):
                raise Error("which has shape %s, not (%d,)" % (which.shape, self.num_envs))
        _check(_lib.magenv_reset(self._open(), self._to, _address(seed), _address(which)))
        self._seeded = True

    def step(self, actions):
        """One step of all; actions [K][N], each available (see avail)."""
        actions = np.asarray(actions)
        if actions.shape != self._actions.shape:
            raise Error("actions have shape %s, not %s" % (actions.shape, self._actions.shape))
        np.copyto(self._actions, actions, casting="same_kind")
        _check(_lib.magenv_step(self._open(), self._to, self._actions.ctypes.data))

    def step_script(self, policy):
        """One step of all by a policy of the environment, e.g. "attack_nearest"."""
        _check(_lib.magenv_step_script(self._open(), self._to, policy.encode()))

    def sample(self):
        """Actions [K][N], uniform among the available ones; the same for the same episodes."""
        actions = np.empty_like(self._actions)
        _lib.magenv_sample(self._open(), self.avail.ctypes.data, actions.ctypes.data)
        return actions

    def units(self, k=0):
        """The units of environment k as a spectator sees them: an array with the fields of UNIT,
        side 0 for agents, 1 for opponents; an Error where an environment has none."""
        units, count = np.zeros(UNITS_MAX, UNIT), ctypes.c_uint64()
        _check(_lib.magenv_units(self._open(), k, units.ctypes.data, ctypes.byref(count)))
        return units[:count.value]

    def describe(self, k=0):
        """A picture of environment k in letters."""
        text = ctypes.create_string_buffer(1 << 16)
        _check(_lib.magenv_describe(self._open(), k, text, len(text)))
        return text.value.decode()

    def close(self):
        self._finalizer()


def _seeds(seed, n):
    many = [seed + k for k in range(n)] if isinstance(seed, (int, np.integer)) else list(seed)
    if len(many) != n or not all(0 <= int(s) < 1 << 64 for s in many):
        raise Error("seed %r; use one number from 0 to 2^64 - 1, or %d of them" % (seed, n))
    return np.array([int(s) for s in many], np.uint64)


def _address(array):
    return None if array is None else array.ctypes.data


def _again(cls, map, arguments):
    return cls(map, **arguments)


class _Wrapper:
    """What the three interfaces share. Pickling and copying give a fresh environment with the
    same arguments, not the episode in hand."""

    def _begin(self, map, arguments, **batch):
        self._made_of = map, arguments
        self.batch = Batch(map, **batch)

    def __reduce__(self):
        return _again, (type(self),) + self._made_of

    def close(self):
        self.batch.close()

    def _text(self):
        text = self.batch.describe()
        if getattr(self, "render_mode", None) != "human":
            return text
        print(text)
        return None


# --- spaces where Gymnasium is not installed ---

if gymnasium is None:

    class _Space:
        def __init__(self, shape, dtype):
            self.shape, self.dtype = tuple(shape), np.dtype(dtype)
            self.np_random = np.random.default_rng()

        def seed(self, seed=None):
            self.np_random = np.random.default_rng(seed)

        def __contains__(self, x):
            return self.contains(x)

        def __eq__(self, other):
            return type(self) is type(other) and repr(self) == repr(other)

        def __repr__(self):
            return "%s(%s, %s)" % (type(self).__name__, self.shape, self.dtype)

    class _Box(_Space):
        def __init__(self, low, high, shape, dtype=np.float32):
            super().__init__(shape, dtype)
            self.low, self.high = np.full(shape, low, dtype), np.full(shape, high, dtype)

        def sample(self):
            if self.dtype.kind == "i":
                return self.np_random.integers(self.low, self.high + 1, dtype=self.dtype)
            return self.np_random.standard_normal(self.shape).astype(self.dtype)

        def contains(self, x):
            x = np.asarray(x)
            return x.shape == self.shape and bool(np.all((x >= self.low) & (x <= self.high)))

    class _Discrete(_Space):
        def __init__(self, n):
            super().__init__((), np.int64)
            self.n = n

        def sample(self, mask=None):
            if mask is None:
                return self.np_random.integers(self.n)
            return self.np_random.choice(np.flatnonzero(mask)) if np.any(mask) else np.int64(0)

        def contains(self, x):
            return np.ndim(x) == 0 and 0 <= int(x) < self.n

        def __repr__(self):
            return "Discrete(%d)" % self.n

    class _MultiDiscrete(_Space):
        def __init__(self, nvec):
            self.nvec = np.asarray(nvec, np.int64)
            super().__init__(self.nvec.shape, np.int64)

        def sample(self):
            return self.np_random.integers(self.nvec)

        def contains(self, x):
            x = np.asarray(x)
            return x.shape == self.shape and bool(np.all((x >= 0) & (x < self.nvec)))

    class _Dict(_Space):
        def __init__(self, spaces_):
            super().__init__((), object)
            self.spaces = dict(spaces_)

        def __getitem__(self, key):
            return self.spaces[key]

        def keys(self):
            return self.spaces.keys()

        def sample(self):
            return {key: space.sample() for key, space in self.spaces.items()}

        def contains(self, x):
            return x.keys() == self.spaces.keys() and all(
                space.contains(x[key]) for key, space in self.spaces.items())

        def __repr__(self):
            return "Dict(%s)" % self.spaces

    class spaces:
        Box, Discrete, MultiDiscrete, Dict = _Box, _Discrete, _MultiDiscrete, _Dict


def _box(*shape):
    return spaces.Box(-np.inf, np.inf, shape, np.float32)


def _mask(*shape):
    return spaces.Box(0, 1, shape, np.int8)


# --- (a) PettingZoo ---


class ParallelEnv(_Wrapper, _ParallelBase):
    """One episode at a time, a dictionary entry per agent.

    observations: {"observation": [O], "action_mask": [A]}; the mask also in infos. The team's
    reward goes to every agent. All agents stay until the episode ends; one that is dead has
    only its no-op available. An end by the time limit is a truncation. infos say "won".
    """

    metadata = {"name": "magenv_v1", "render_modes": ["human", "ansi"], "is_parallelizable": True}

    def __init__(self, map, *, name="smac", render_mode=None, copy=True, **settings):
        self._begin(map, dict(settings, name=name, render_mode=render_mode, copy=copy),
                    name=name, **settings)
        b = self.batch
        self.render_mode, self._copy = render_mode, copy
        self.possible_agents = ["agent_%d" % i for i in range(b.n_agents)]
        self.agents = []
        self.observation_spaces = {
            agent: spaces.Dict({"observation": _box(b.obs_size), "action_mask": _mask(b.n_actions)})
            for agent in self.possible_agents}
        self.action_spaces = {agent: spaces.Discrete(b.n_actions) for agent in self.possible_agents}
        self.state_space = _box(b.state_size)

    def observation_space(self, agent):
        return self.observation_spaces[agent]

    def action_space(self, agent):
        return self.action_spaces[agent]

    @property
    def num_agents(self):
        return len(self.agents)

    @property
    def max_num_agents(self):
        return len(self.possible_agents)

    @property
    def unwrapped(self):
        return self

    def _seen(self):
        """Observations and masks of all agents: rows of one copy each."""
        obs, mask = self.batch.obs[0], self.batch.avail[0]
        if self._copy:
            obs, mask = obs.copy(), mask.copy()
        observations = {agent: {"observation": obs[i], "action_mask": mask[i]}
                        for i, agent in enumerate(self.agents)}
        infos = {agent: {"action_mask": mask[i], "won": bool(self.batch.won[0])}
                 for i, agent in enumerate(self.agents)}
        return observations, infos

    def reset(self, seed=None, options=None):
        """-> observations, infos. Without a seed, the next episode of the last seed's sequence."""
        self.batch.reset(seed)
        self.agents = self.possible_agents[:]
        return self._seen()

    def step(self, actions):
        """-> observations, rewards, terminations, truncations, infos."""
        if not self.agents:
            raise Error("no episode is running; call reset()")
        missing = [agent for agent in self.agents if agent not in actions]
        if missing:
            raise Error("no action for %s; a dead agent's only action is 0" % ", ".join(missing))
        self.batch.step([[actions[agent] for agent in self.agents]])
        end, reward = self.batch.end[0], float(self.batch.reward[0])
        observations, infos = self._seen()
        rewards = dict.fromkeys(self.agents, reward)
        terminations = dict.fromkeys(self.agents, bool(end == TERMINAL))
        truncations = dict.fromkeys(self.agents, bool(end in (LIMIT, ABORT)))
        if end != RUNNING:
            self.agents = []
        return observations, rewards, terminations, truncations, infos

    def state(self):
        """The global state [G], for a centralised critic."""
        return self.batch.state[0].copy() if self._copy else self.batch.state[0]

    def render(self):
        """The battlefield in letters: printed where render_mode is "human", else returned."""
        return self._text()


parallel_env = ParallelEnv


# --- (b) SMAC ---


class MultiAgentEnv(_Wrapper):
    """The methods that PyMARL and EPyMARL call, for any environment.

    reset() and step() as SMAC has them: -> observations, state and -> reward, terminated, info
    with info["battle_won"], dead_allies and dead_enemies where there are units, and
    info["episode_limit"] where the time limit ended the episode.
    Sizes are those of the vectors as they are written (SMAC announces one entry too few where
    the time step is observed).
    """

    def __init__(self, map_name, *, name="smac", seed=None, **settings):
        self._begin(map_name, dict(settings, name=name, seed=seed), name=name, **settings)
        b = self.batch
        self.n_agents, self.n_actions, self.episode_limit = b.n_agents, b.n_actions, b.episode_limit
        self.map_name, self._seed, self._pending = map_name, seed, seed
        self._opened = dict(settings, name=name)
        self._played = []  # actions of this episode
        self.replay_dir, self.replay_prefix = "", ""
        self._continuing = True  # the time limit is said, so that learners can look beyond it
        self.battles_game = self.battles_won = self.timeouts = 0

    def seed(self, seed=None):
        """The seed; with an argument, the next reset begins the episodes of that one."""
        if seed is not None:
            self._seed = self._pending = seed
        return self._seed

    def reset(self, seed=None, options=None):
        if seed is not None:
            self.seed(seed)
        self.batch.reset(self._pending)
        self._pending, self._played = None, []
        return self.get_obs(), self.get_state()

    def step(self, actions):
        b = self.batch
        if b.end[0] != RUNNING:
            raise Error("the episode has ended; call reset()")
        actions = [int(action) for action in actions]
        b.step(np.asarray(actions)[None])
        self._played.append(actions)
        end, won = int(b.end[0]), bool(b.won[0])
        if end == ABORT:
            return 0.0, True, {}
        info = {"battle_won": won, **self._losses()}
        if end != RUNNING:
            self.battles_game += 1
            self.battles_won += won
            self.timeouts += end == LIMIT
            if end == LIMIT and self._continuing:
                info["episode_limit"] = True
        return float(b.reward[0]), end != RUNNING, info

    def _losses(self):
        try:
            units = self.batch.units()
        except Error as error:
            if error.code != EUNSUPPORTED:
                raise
            return {}  # an environment without units
        dead = ~units["alive"]
        return {"dead_allies": int((dead & (units["side"] == 0)).sum()),
                "dead_enemies": int((dead & (units["side"] == 1)).sum())}

    def get_obs(self):
        return list(self.batch.obs[0].copy())

    def get_obs_agent(self, agent_id):
        return self.batch.obs[0, agent_id].copy()

    def get_obs_size(self):
        return self.batch.obs_size

    def get_state(self):
        return self.batch.state[0].copy()

    def get_state_size(self):
        return self.batch.state_size

    def get_avail_actions(self):
        return self.batch.avail[0].tolist()

    def get_avail_agent_actions(self, agent_id):
        return self.batch.avail[0, agent_id].tolist()

    def get_total_actions(self):
        return self.n_actions

    def get_env_info(self):
        return {"state_shape": self.get_state_size(), "obs_shape": self.get_obs_size(),
                "n_actions": self.n_actions, "n_agents": self.n_agents,
                "episode_limit": self.episode_limit}

    def get_stats(self):
        return {"battles_won": self.battles_won, "battles_game": self.battles_game,
                "battles_draw": self.timeouts, "timeouts": self.timeouts, "restarts": 0,
                "win_rate": self.battles_won / max(1, self.battles_game)}

    def save_replay(self):
        """Write the episode so far to replay_dir as a film for `mag replay`; returns its path."""
        seed = int(self.batch.seed[0])
        path = os.path.join(self.replay_dir or ".", "%s_%d.film" % (
            self.replay_prefix or self.map_name, seed))
        film(path, self.map_name, seed, np.reshape(self._played, (-1, self.n_agents)),
             **self._opened)
        return path

    def render(self, mode="human"):
        """The battlefield in letters: printed, or returned with mode="ansi"."""
        text = self.batch.describe()
        if mode != "human":
            return text
        print(text)
        return None


# Arguments of SMAC whose key of group env has another name, and those that mean nothing here.
_SMAC_KEYS = {"continuing_episode": "continuing", "obs_pathing_grid": "obs_pathing",
              "obs_terrain_height": "obs_height", "obs_timestep_number": "obs_timestep",
              "state_timestep_number": "state_timestep"}
_SMAC_OTHER = ("self", "map_name", "seed", "settings", "game_version", "replay_dir",
               "replay_prefix", "window_size_x", "window_size_y", "debug", "__class__")


class StarCraft2Env(MultiAgentEnv):
    """SMAC's environment with SMAC's arguments and defaults, on the embedded battle engine.

    game_version, debug and the window sizes mean nothing here and are accepted. **settings: what
    SMAC does not have, e.g. units="lotv_4_10" (docs/config.md, group env).
    """

    def __init__(self, map_name="8m", step_mul=8, move_amount=2, difficulty="7", game_version=None,
                 seed=None, continuing_episode=False, obs_all_health=True, obs_own_health=True,
                 obs_last_action=False, obs_pathing_grid=False, obs_terrain_height=False,
                 obs_instead_of_state=False, obs_timestep_number=False, state_last_action=True,
                 state_timestep_number=False, reward_sparse=False, reward_only_positive=True,
                 reward_death_value=10, reward_win=200, reward_defeat=0, reward_negative_scale=0.5,
                 reward_scale=True, reward_scale_rate=20, replay_dir="", replay_prefix="",
                 window_size_x=1920, window_size_y=1200, heuristic_ai=False, heuristic_rest=False,
                 debug=False, **settings):
        given = {key: value for key, value in locals().items() if key not in _SMAC_OTHER}
        keys = {_SMAC_KEYS.get(key, key): value for key, value in given.items()}
        super().__init__(map_name, seed=seed, **keys, **settings)
        self._made_of = map_name, dict(given, seed=seed, replay_dir=replay_dir,
                                       replay_prefix=replay_prefix, **settings)
        self._continuing = continuing_episode
        self.replay_dir, self.replay_prefix = replay_dir, replay_prefix


# --- (c) Gymnasium, many at a time ---


def _batched(b, lead):
    """The observation space of rows with leading dimensions `lead`."""
    return spaces.Dict({"observation": _box(*lead, b.n_agents, b.obs_size),
                        "action_mask": _mask(*lead, b.n_agents, b.n_actions),
                        "state": _box(*lead, b.state_size)})


class VectorEnv(_Wrapper, gymnasium.vector.VectorEnv if gymnasium else object):
    """num_envs episodes in lock-step; a row is a whole team.

    observations: {"observation": [K,N,O], "action_mask": [K,N,A], "state": [K,G]}; actions
    [K,N]; rewards [K] are the team's. autoreset "same_step" (infos["final_obs"] holds the last
    observation where infos["_final_obs"]), "next_step" or "disabled" (reset with
    options={"reset_mask": ends}), as Gymnasium defines them. infos: "action_mask", "seed" (of
    the episode that the row shows: reset(seed) with it plays it again) and at ends "won".
    """

    def __init__(self, map, num_envs=1, *, name="smac", threads=1, autoreset="same_step",
                 render_mode=None, copy=True, **settings):
        self._begin(map, dict(settings, num_envs=num_envs, name=name, threads=threads,
                              autoreset=autoreset, render_mode=render_mode, copy=copy),
                    num_envs=num_envs, name=name, threads=threads, autoreset=autoreset, **settings)
        b = self.batch
        self.num_envs, self.render_mode, self.closed, self.spec = num_envs, render_mode, False, None
        self._copy, self._same_step = copy, autoreset == "same_step"
        self.metadata = {"render_modes": ["human", "ansi"], "autoreset_mode": autoreset}
        if hasattr(getattr(gymnasium, "vector", None), "AutoresetMode"):
            mode = gymnasium.vector.AutoresetMode
            self.metadata["autoreset_mode"] = getattr(mode, autoreset.upper())
        self.single_observation_space = _batched(b, ())
        self.single_action_space = spaces.MultiDiscrete(np.full(b.n_agents, b.n_actions))
        self.observation_space = _batched(b, (num_envs,))
        if gymnasium:
            self.action_space = gymnasium.vector.utils.batch_space(self.single_action_space,
                                                                   num_envs)
        else:
            self.action_space = spaces.MultiDiscrete(
                np.full((num_envs, b.n_agents), b.n_actions))

    def _hand(self, array):
        return array.copy() if self._copy else array

    def _seen(self, prefix=""):
        keys = {"observation": "obs", "action_mask": "avail", "state": "state"}
        return {key: self._hand(getattr(self.batch, prefix + array)) for key, array in keys.items()}

    def _infos(self, seen):
        return {"action_mask": seen["action_mask"], "seed": self._hand(self.batch.seed)}

    def reset(self, *, seed=None, options=None):
        """-> observations, infos. options["reset_mask"] [K]: start only those."""
        self.batch.reset(seed, (options or {}).get("reset_mask"))
        seen = self._seen()
        return seen, self._infos(seen)

    def step(self, actions):
        """-> observations, rewards [K], terminations [K], truncations [K], infos."""
        b = self.batch
        b.step(actions)
        seen = self._seen()
        infos = self._infos(seen)
        ended = b.end != RUNNING
        if ended.any():
            infos["won"], infos["_won"] = self._hand(b.won), ended
            if self._same_step:
                infos["final_obs"], infos["_final_obs"] = self._seen("final_"), ended
        terminal = b.end == TERMINAL
        return seen, self._hand(b.reward), terminal, ended & ~terminal, infos

    def sample(self):
        """Actions [K,N], uniform among the available ones; the same for the same episodes."""
        return self.batch.sample()

    def step_script(self, policy):
        """A step by the environment's own policy, e.g. "attack_nearest"; returns nothing."""
        self.batch.step_script(policy)

    def render(self):
        """The first environment in letters: printed where render_mode is "human"."""
        return self._text()

    def close(self, **kwargs):
        self.closed = True
        super().close()


# --- python -m magenv ---


def pose_as_smac():
    """Programs that import smac.env from now on get these classes instead."""
    package, env = types.ModuleType("smac"), types.ModuleType("smac.env")
    package.env, package.__path__ = env, []
    env.MultiAgentEnv, env.StarCraft2Env = MultiAgentEnv, StarCraft2Env
    sys.modules.update({"smac": package, "smac.env": env})


def _main(arguments):
    if not arguments:
        for name in names():
            print("%s: %s" % (name, " ".join(maps(name))))
        return
    import magenv  # not __main__: what is pickled must be found again

    magenv.pose_as_smac()
    sys.argv = arguments
    sys.path.insert(0, os.path.dirname(os.path.abspath(arguments[0])))
    runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    _main(sys.argv[1:])
