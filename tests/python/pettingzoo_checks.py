# SPDX-License-Identifier: Apache-2.0
"""The tests that PettingZoo and Gymnasium ship, on every environment; run by with_pettingzoo."""
import gymnasium
import numpy as np
import pettingzoo
from gymnasium.vector.utils import batch_space
from pettingzoo.test import parallel_api_test

import magenv


def check_parallel(name, task):
    env = magenv.ParallelEnv(task, name=name)
    assert isinstance(env, pettingzoo.ParallelEnv)
    parallel_api_test(env, num_cycles=400)


def check_vector(name, task, autoreset):
    envs = magenv.VectorEnv(task, num_envs=4, name=name, autoreset=autoreset)
    assert isinstance(envs, gymnasium.vector.VectorEnv)
    assert envs.observation_space == batch_space(envs.single_observation_space, 4)
    assert envs.action_space == batch_space(envs.single_action_space, 4)
    obs, _ = envs.reset(seed=1)
    episodes = 0
    for _ in range(400):
        assert obs in envs.observation_space
        obs, _, terminations, truncations, _ = envs.step(envs.sample())
        ended = terminations | truncations
        episodes += ended.sum()
        if autoreset == "disabled" and ended.any():
            obs, _ = envs.reset(options={"reset_mask": ended})
    assert episodes > 0, (name, task, autoreset)


def check_wrapper():
    """Gymnasium's own bookkeeping of returns agrees with sums of the rewards."""
    envs = gymnasium.wrappers.vector.RecordEpisodeStatistics(magenv.VectorEnv("3m", num_envs=4))
    envs.reset(seed=1)
    total = np.zeros(4)
    for _ in range(200):
        _, reward, _, _, infos = envs.step(envs.unwrapped.sample())
        total += reward
        if "episode" in infos:
            row = int(np.argmax(infos["_episode"]))
            assert np.isclose(infos["episode"]["r"][row], total[row], atol=1e-4)
            return
    raise AssertionError("no episode ended")


for name in magenv.names():
    task = magenv.maps(name)[0]
    check_parallel(name, task)
    for autoreset in magenv.AUTORESET:
        check_vector(name, task, autoreset)
check_wrapper()
print("PettingZoo %s, Gymnasium %s: ok" % (pettingzoo.__version__, gymnasium.__version__))
