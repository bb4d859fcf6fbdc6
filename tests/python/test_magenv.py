# SPDX-License-Identifier: Apache-2.0
"""magenv.py with numpy alone: its three interfaces, checked by what their users rely on.

    MAGENV_LIBRARY=<build>/magenv/libmagenv.so PYTHONPATH=magenv /usr/bin/python3 tests/python/test_magenv.py

Also runs where PettingZoo and Gymnasium are installed; with_pettingzoo does that.
"""
import copy
import os
import pickle
import subprocess
import sys
import tempfile
import textwrap
import unittest

try:
    import numpy as np
except ImportError:
    print("skipped: no numpy (Debian: python3-numpy)")
    sys.exit(77)

import magenv

HERE = os.path.dirname(os.path.abspath(__file__))
EVERY = [(name, magenv.maps(name)[0]) for name in magenv.names()]
MAG = os.environ.get("MAG", "")  # the program, where it has been built
SANITIZED = os.environ.get("MAGENV_SANITIZE", "")


def first_available(masks):
    return np.argmax(masks, axis=-1)


def last_available(masks):
    return masks.shape[-1] - 1 - np.argmax(masks[..., ::-1], axis=-1)


def play(env, seed, choose=last_available):
    """One episode; -> [(observation rows, mask rows, reward)], the last step's dictionaries."""
    obs, infos = env.reset(seed=seed)
    story = []
    while env.agents:
        agents = list(env.agents)
        masks = np.stack([obs[a]["action_mask"] for a in agents])
        step = env.step(dict(zip(agents, choose(masks))))
        obs = step[0]
        story.append((np.stack([obs[a]["observation"] for a in agents]), masks, step[1][agents[0]]))
    return story, step


def same(a, b):
    return len(a) == len(b) and all(
        np.array_equal(x, y) for one, other in zip(a, b) for x, y in zip(one, other))


class Batches(unittest.TestCase):
    def test_a_row_is_the_episode_a_single_environment_plays(self):
        rows = magenv.Batch("2s3z", 3, threads=2)
        rows.reset([9, 5, 5])
        alone = magenv.Batch("2s3z")
        alone.reset(9)
        for _ in range(25):
            actions = last_available(rows.avail)
            rows.step(actions)
            alone.step(actions[:1])
            for key in ("obs", "avail", "state", "reward"):
                self.assertTrue(np.array_equal(getattr(rows, key)[0], getattr(alone, key)[0]), key)
            self.assertTrue(np.array_equal(rows.obs[1], rows.obs[2]))
        self.assertFalse(np.array_equal(rows.obs[0], rows.obs[1]))

    def test_what_was_random_can_be_played_again_by_its_seed(self):
        batch = magenv.Batch("3m", 2, autoreset="same_step")
        batch.reset()
        first = batch.seed.copy()
        self.assertNotEqual(first[0], first[1])
        while not batch.end.any():
            batch.step(batch.sample())
        row = int(np.argmax(batch.end))
        seed, obs = int(batch.seed[row]), batch.obs[row].copy()  # the episode that began just now
        self.assertNotEqual(seed, first[row])
        again = magenv.Batch("3m")
        again.reset(seed)
        self.assertTrue(np.array_equal(again.obs[0], obs))

    def test_arrays_are_numpys_own_and_outlive_the_environment(self):
        batch = magenv.Batch("3m", 2)
        batch.reset(1)
        obs = batch.obs
        kept = obs.copy()
        batch.close()
        batch.close()
        del batch
        self.assertTrue(np.array_equal(obs, kept))

    def test_mistakes_are_explained(self):
        def says(text, call, *args, **kwargs):
            with self.assertRaises(magenv.Error) as caught:
                call(*args, **kwargs)
            self.assertIn(text, str(caught.exception))

        batch = magenv.Batch("3m", 2)
        says("reset first", batch.step, np.ones((2, 3), int))
        batch.reset(0)
        says("shape", batch.step, [1, 1, 1])
        says("environment 1: agent 2", batch.step, [[1, 1, 1], [1, 1, 0]])
        says("action 9", batch.step, [[1, 1, 1], [1, 1, 9]])
        says("action -1", batch.step, [[1, 1, 1], [1, 1, -1]])
        with self.assertRaises(TypeError):  # numpy's: floats are not whole numbers
            batch.step(np.ones((2, 3)))
        says("seed", batch.reset, -1)
        says("seed", batch.reset, [1, 2, 3])
        says("which", batch.reset, None, [True])
        says("closed", (batch.close(), batch.reset)[1])
        says("3m", magenv.Batch, "3n")
        says("smac", magenv.Batch, "3m", name="smax")
        says("obs_timestep", magenv.Batch, "3m", obs_timestepp=True)
        says("one word", magenv.Batch, "3m env.units=liberty")
        says("same_step", magenv.Batch, "3m", autoreset="always")
        says("1 or more", magenv.Batch, "3m", 0)
        says("chess", magenv.maps, "chess")

    def test_a_forked_child_may_end_with_the_parents_environments(self):
        if "thread" in SANITIZED:
            self.skipTest("the thread sanitizer does not follow forks")
        batch = magenv.Batch("3m", 2, threads=2)
        batch.reset(0)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                fresh = magenv.Batch("3m")
                fresh.reset(0)
                status = 0 if np.array_equal(fresh.obs[0], batch.obs[0]) else 2
                batch.close()
                batch.reset(0)
            except magenv.Error:
                os._exit(status)  # closed objects refuse
            os._exit(3)
        self.assertEqual(os.waitpid(child, 0)[1], 0)
        batch.step(batch.sample())  # the parent's team is still there


class Parallel(unittest.TestCase):
    def test_every_environment_keeps_pettingzoos_promises(self):
        for name, task in EVERY:
            env = magenv.ParallelEnv(task, name=name)
            n = env.max_num_agents
            self.assertEqual((env.agents, len(env.possible_agents)), ([], n))
            for seed in (1, 2):
                obs, infos = env.reset(seed=seed)
                self.assertEqual(env.agents, env.possible_agents)
                self.assertEqual(env.num_agents, n)
                for _ in range(10000):
                    agents = list(env.agents)
                    self.assertEqual(list(obs), agents)
                    self.assertEqual(list(infos), agents)
                    for agent in agents:
                        self.assertIs(env.observation_space(agent), env.observation_space(agent))
                        self.assertTrue(env.observation_space(agent).contains(obs[agent]))
                        self.assertTrue(np.array_equal(obs[agent]["action_mask"],
                                                       infos[agent]["action_mask"]))
                    actions = {a: env.action_space(a).sample(obs[a]["action_mask"]) for a in agents}
                    obs, rewards, terminations, truncations, infos = env.step(actions)
                    for part in (rewards, terminations, truncations):
                        self.assertEqual(list(part), agents)
                    self.assertEqual(env.state().shape, env.state_space.shape)
                    over = terminations[agents[0]] or truncations[agents[0]]
                    self.assertEqual(env.agents, [] if over else agents)
                    if over:
                        break
                self.assertTrue(over)
            with self.assertRaises(magenv.Error):
                env.step({})

    def test_a_seed_repeats_an_episode_and_its_absence_goes_on(self):
        env = magenv.ParallelEnv("3s_vs_3z")
        first, _ = play(env, 4)
        second, _ = play(env, None)
        self.assertFalse(same(first, second))
        self.assertTrue(same(first, play(env, 4)[0]))
        self.assertTrue(same(second, play(env, None)[0]))

    def test_the_time_limit_truncates_and_a_battle_terminates(self):
        _, (_, _, terminations, truncations, _) = play(magenv.ParallelEnv("3s_vs_5z"), 1)
        self.assertEqual((terminations["agent_0"], truncations["agent_0"]), (True, False))
        env = magenv.ParallelEnv("2s_vs_1sc")  # the crawler cannot move, the stalkers stand
        _, (_, _, terminations, truncations, infos) = play(env, 1, first_available)
        self.assertEqual((terminations["agent_0"], truncations["agent_0"]), (False, True))
        self.assertFalse(infos["agent_0"]["won"])

    def test_copies_keep_and_views_follow(self):
        for kept in (True, False):
            env = magenv.ParallelEnv("3m", copy=kept)
            obs, _ = env.reset(seed=1)
            before = obs["agent_0"]["observation"].copy()
            env.step({agent: last_available(obs[agent]["action_mask"]) for agent in env.agents})
            self.assertEqual(np.array_equal(obs["agent_0"]["observation"], before), kept)

    def test_missing_and_unavailable_actions_name_the_agent(self):
        env = magenv.ParallelEnv("3m")
        env.reset(seed=1)
        with self.assertRaisesRegex(magenv.Error, "agent_1"):
            env.step({"agent_0": 1, "agent_2": 1})
        with self.assertRaisesRegex(magenv.Error, "agent 2: action 0 is not available"):
            env.step({"agent_0": 1, "agent_1": 1, "agent_2": 0})
        env.step(dict.fromkeys(env.agents, 1))  # nothing had moved

    def test_pickles_and_copies_are_fresh_environments_of_the_same_kind(self):
        env = magenv.ParallelEnv("3m", obs_last_action=True)
        story, _ = play(env, 3)
        for other in (pickle.loads(pickle.dumps(env)), copy.deepcopy(env)):
            self.assertTrue(same(story, play(other, 3)[0]))

    def test_the_picture_shows_both_sides(self):
        env = magenv.ParallelEnv("3m", render_mode="ansi")
        env.reset(seed=1)
        picture = env.render()
        self.assertIn("step 0 of 60: agents 3", picture)
        self.assertTrue("M" in picture and "m" in picture)


class Smac(unittest.TestCase):
    def test_a_pymarl_loop_runs_and_sees_what_the_others_see(self):
        env = magenv.StarCraft2Env(map_name="2s3z", seed=7)
        twin = magenv.Batch("2s3z", continuing="false")
        info = env.get_env_info()
        self.assertEqual(info, {"state_shape": 120, "obs_shape": 80, "n_actions": 11,
                                "n_agents": 5, "episode_limit": 120})
        env.reset()
        twin.reset(7)
        terminated, total = False, 0.0
        while not terminated:
            obs, state, avail = env.get_obs(), env.get_state(), env.get_avail_actions()
            self.assertTrue(np.array_equal(np.stack(obs), twin.obs[0]))
            self.assertTrue(np.array_equal(state, twin.state[0]))
            self.assertEqual((len(obs), obs[0].shape, obs[0].dtype), (5, (80,), np.float32))
            self.assertEqual((state.shape, len(avail), len(avail[0])), ((120,), 5, 11))
            self.assertEqual(avail[3], env.get_avail_agent_actions(3))
            self.assertTrue(np.array_equal(obs[3], env.get_obs_agent(3)))
            actions = [int(np.flatnonzero(row)[-1]) for row in avail]
            reward, terminated, info = env.step(actions)
            twin.step([actions])
            self.assertEqual(reward, float(twin.reward[0]))
            total += reward
        self.assertIsInstance(reward, float)
        self.assertIsInstance(terminated, bool)
        self.assertIs(info["battle_won"], False)
        self.assertGreater(total, 0)
        self.assertEqual(env.get_stats()["battles_game"], 1)
        with self.assertRaises(magenv.Error):
            env.step(actions)

    def test_resets_go_on_from_the_seed_until_another_is_given(self):
        env = magenv.StarCraft2Env("3m", seed=5)
        seeds = []
        for given in (None, None, 5, None):
            env.reset(seed=given)
            seeds.append(int(env.batch.seed[0]))
        self.assertEqual((seeds[0], seeds[:2]), (5, seeds[2:]))
        self.assertNotEqual(seeds[1], 5)
        env.seed(9)
        env.reset()
        self.assertEqual((env.seed(), env.batch.seed[0]), (9, 9))

    def test_the_time_limit_is_said_only_when_episodes_continue(self):
        for continuing in (False, True):
            env = magenv.StarCraft2Env("2s_vs_1sc", continuing_episode=continuing, seed=1)
            env.reset()
            terminated = False
            while not terminated:
                _, terminated, info = env.step([1, 1])
            self.assertEqual("episode_limit" in info, continuing)
            self.assertEqual(env.get_stats()["timeouts"], 1)

    def test_arguments_of_smac_reach_the_environment(self):
        plain = magenv.StarCraft2Env("3m")
        self.assertEqual((plain.get_obs_size(), plain.get_total_actions()), (30, 9))
        last = magenv.StarCraft2Env("3m", obs_last_action=True, obs_pathing_grid=True)
        self.assertEqual(last.get_obs_size(), 30 + 2 * 9 + 8)
        again = pickle.loads(pickle.dumps(last))
        self.assertEqual(again.get_obs_size(), last.get_obs_size())
        self.assertEqual(magenv.StarCraft2Env().map_name, "8m")
        with self.assertRaisesRegex(magenv.Error, "zoom"):
            magenv.StarCraft2Env("3m", zoom=3)

    def test_every_argument_of_smac_is_a_key_and_changes_what_it_says(self):
        other = {"step_mul": 4, "move_amount": 3, "difficulty": "3", "continuing_episode": True,
                 "obs_all_health": False, "obs_last_action": True, "obs_pathing_grid": True,
                 "obs_terrain_height": True, "obs_instead_of_state": True,
                 "obs_timestep_number": True, "state_last_action": False,
                 "state_timestep_number": True, "reward_sparse": True,
                 "reward_only_positive": False, "reward_death_value": 3, "reward_win": 7,
                 "reward_defeat": -5, "reward_negative_scale": 0.25, "reward_scale": False,
                 "reward_scale_rate": 10, "heuristic_ai": True, "heuristic_rest": True}
        plain = magenv.StarCraft2Env("3m").batch.line
        for argument, value in other.items():
            also = {"heuristic_ai": True} if argument == "heuristic_rest" else {}
            env = magenv.StarCraft2Env("3m", **{argument: value}, **also)
            self.assertNotEqual(env.batch.line, plain, argument)
        bare = magenv.StarCraft2Env("3m", obs_all_health=False, obs_own_health=False)
        self.assertEqual(bare.get_obs_size(), 30 - 6)
        state = magenv.StarCraft2Env("3m", state_last_action=False, state_timestep_number=True)
        self.assertEqual(state.get_state_size(), 48 - 27 + 1)

    def test_the_built_in_policy_wins_battles_that_random_actions_do_not(self):
        env = magenv.StarCraft2Env("3m", heuristic_ai=True, seed=1)
        for _ in range(20):
            env.reset()
            terminated = False
            while not terminated:
                _, terminated, info = env.step([0, 0, 0])
            units = env.batch.units()
            # the contract's own signs of death: no-op is the only action, the state row is zero
            self.assertEqual(info["dead_allies"], sum(r[0] for r in env.get_avail_actions()))
            self.assertEqual(info["dead_enemies"], 3 - np.count_nonzero(env.get_state()[12:21:3]))
            self.assertEqual(info["battle_won"], info["dead_enemies"] == 3)
            self.assertEqual((len(units), units["health"][~units["alive"]].any()), (6, False))
        self.assertGreater(env.get_stats()["win_rate"], 0.3)

    def test_every_environment_has_these_methods(self):
        for name, task in EVERY:
            env = magenv.MultiAgentEnv(task, name=name, seed=2)
            obs, state = env.reset()
            self.assertEqual((len(obs), len(obs[0])), (env.n_agents, env.get_obs_size()))
            self.assertEqual(len(state), env.get_state_size())
            reward, terminated, info = env.step([row.index(1) for row in env.get_avail_actions()])
            self.assertEqual((terminated, info["battle_won"]), (False, False))
            self.assertTrue(env.render(mode="ansi"))
            env.close()

    def test_a_replay_is_a_film_of_the_episode(self):
        with tempfile.TemporaryDirectory() as folder:
            env = magenv.StarCraft2Env("3m", seed=4, replay_dir=folder, replay_prefix="battle")
            env.reset()
            for _ in range(2):  # the second episode is saved
                env.reset()
                terminated = False
                while not terminated:
                    masks = np.array(env.get_avail_actions())
                    _, terminated, _ = env.step(last_available(masks))
            path = env.save_replay()
            self.assertEqual(path, os.path.join(folder, "battle_%d.film" % env.batch.seed[0]))
            with open(path, "rb") as f:
                saved = f.read()
            magenv.film(path, "3m", env.batch.seed[0], env._played, **env._opened)
            with open(path, "rb") as f:
                self.assertEqual(f.read(), saved)
            with self.assertRaisesRegex(magenv.Error, "ended"):
                magenv.film(path, "3m", env.batch.seed[0], env._played + [[1, 1, 1]])
            with self.assertRaises(magenv.Error):
                magenv.film(os.path.join(folder, "no", "x.film"), "3m", 1, [[1, 1, 1]])
            if os.path.exists(MAG):  # today's engine fights the same battle
                done = subprocess.run([MAG, "replay", path, "--check"], capture_output=True,
                                      text=True)
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_a_program_that_imports_smac_runs_unchanged(self):
        program = textwrap.dedent("""
            import sys
            from smac.env import MultiAgentEnv, StarCraft2Env
            env = StarCraft2Env(map_name=sys.argv[1])
            assert isinstance(env, MultiAgentEnv)
            env.reset()
            print(__name__, type(env).__module__, env.get_env_info()["n_agents"])
        """)
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "main.py")
            with open(path, "w") as out:
                out.write(program)
            done = subprocess.run([sys.executable, magenv.__file__, path, "2s3z"],
                                  capture_output=True, text=True)
        self.assertEqual((done.stdout, done.returncode), ("__main__ magenv 5\n", 0), done.stderr)


class Vector(unittest.TestCase):
    def test_every_environment_steps_in_rows(self):
        for name, task in EVERY:
            envs = magenv.VectorEnv(task, num_envs=3, name=name, threads=2)
            obs, infos = envs.reset(seed=3)
            for _ in range(30):
                self.assertTrue(envs.observation_space.contains(obs))
                actions = envs.sample()
                self.assertTrue(envs.action_space.contains(actions))
                obs, rewards, terminations, truncations, infos = envs.step(actions)
                self.assertEqual(rewards.shape + terminations.shape + truncations.shape, (3,) * 3)
            self.assertEqual(envs.single_observation_space["state"].shape, obs["state"].shape[1:])

    def follow(self, autoreset):
        """Row 0 beside a ParallelEnv until its second episode; -> reward of each step."""
        envs = magenv.VectorEnv("3m", num_envs=2, autoreset=autoreset)
        one = magenv.ParallelEnv("3m")
        obs, _ = envs.reset(seed=6)
        rows, _ = one.reset(seed=6)
        rewards = []
        while one.agents:
            actions = last_available(obs["action_mask"])
            obs, reward, terminations, truncations, infos = envs.step(actions)
            rows, paid, *_ = one.step(dict(zip(one.agents, actions[0])))
            rewards.append(reward[0])
            self.assertEqual(reward[0], np.float32(paid["agent_0"]))
            last = np.stack([row["observation"] for row in rows.values()])
            if one.agents:
                self.assertTrue(np.array_equal(obs["observation"][0], last))
        self.assertTrue((terminations | truncations)[0])
        next_rows, _ = one.reset()
        first = np.stack([row["observation"] for row in next_rows.values()])
        return envs, obs, infos, last, first

    def test_same_step_keeps_the_final_observation_in_infos(self):
        _, obs, infos, last, first = self.follow("same_step")
        self.assertTrue(infos["_final_obs"][0])
        self.assertTrue(np.array_equal(infos["final_obs"]["observation"][0], last))
        self.assertTrue(np.array_equal(obs["observation"][0], first))
        self.assertIn("won", infos)

    def test_next_step_begins_the_next_episode_one_step_later(self):
        envs, obs, infos, last, first = self.follow("next_step")
        self.assertTrue(np.array_equal(obs["observation"][0], last))
        obs, reward, terminations, _, _ = envs.step(last_available(obs["action_mask"]))
        self.assertTrue(np.array_equal(obs["observation"][0], first))
        self.assertEqual((reward[0], terminations[0]), (0, False))

    def test_disabled_waits_for_a_reset_with_a_mask(self):
        envs, obs, infos, last, first = self.follow("disabled")
        other = obs["observation"][1]
        obs, _ = envs.reset(options={"reset_mask": np.array([True, False])})
        self.assertTrue(np.array_equal(obs["observation"][0], first))
        self.assertTrue(np.array_equal(obs["observation"][1], other))

    def test_threads_change_no_bit(self):
        stories = []
        for threads in (1, 2):
            envs = magenv.VectorEnv("2s3z", num_envs=5, threads=threads)
            obs, _ = envs.reset(seed=1)
            story = []
            for _ in range(60):
                obs, reward, *_ = envs.step(last_available(obs["action_mask"]))
                story.append((obs["observation"], obs["state"], reward))
            stories.append(story)
        self.assertTrue(same(*stories))

    def test_copies_keep_and_views_follow(self):
        for kept in (True, False):
            envs = magenv.VectorEnv("3m", num_envs=2, copy=kept)
            obs, _ = envs.reset(seed=1)
            before = obs["observation"].copy()
            envs.step(envs.sample())
            self.assertEqual(np.array_equal(obs["observation"], before), kept)


class Module(unittest.TestCase):
    def run_python(self, text, **variables):
        return subprocess.run([sys.executable, "-c", text], capture_output=True, text=True,
                              env={**os.environ, **variables})

    def test_a_missing_library_says_how_to_get_one(self):
        done = self.run_python("import magenv", MAGENV_LIBRARY="/nowhere/libmagenv.so")
        self.assertIn("magenv_shared", done.stderr)
        self.assertIn("/nowhere/libmagenv.so", done.stderr)

    def test_a_library_of_another_interface_is_refused(self):
        done = self.run_python("import magenv; magenv.ABI = 99; magenv._load()")
        self.assertIn("take both from one build", done.stderr)

    def test_names_and_maps_are_those_of_the_library(self):
        self.assertEqual(magenv.names()[0], "smac")
        self.assertIn("corridor", magenv.maps())
        done = subprocess.run([sys.executable, magenv.__file__], capture_output=True, text=True)
        self.assertIn("smac: ", done.stdout)


if __name__ == "__main__":
    unittest.main(verbosity=2)
