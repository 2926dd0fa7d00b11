"""Stable-Baselines3 learns in dreams, through the thin adapter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize

import genie_env
from genie_env.sb3 import DreamVecEnv


def test_it_is_the_vector_environment(random_world: Path) -> None:
    env = DreamVecEnv(random_world, 3, max_episode_steps=4, dtype="float32")
    dreams = genie_env.make_vec(
        random_world, 3, max_episode_steps=4, dtype="float32", autoreset_mode="SameStep"
    )
    assert env.seed(5) == [5, 6, 7]
    np.testing.assert_array_equal(env.reset(), dreams.reset(seed=5)[0])
    for step in range(1, 9):
        observations, rewards, done, infos = env.step(np.array([0, 1, 2]))
        expected = dreams.step([0, 1, 2])
        for ours, theirs in zip((observations, rewards), expected, strict=False):
            np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_array_equal(done, expected[2] | expected[3])
        assert done.any() or step % 4 != 0
        for row, info in enumerate(infos):
            assert info["TimeLimit.truncated"] == (expected[3][row] and not expected[2][row])
            assert ("terminal_observation" in info) == done[row]
            scores = expected[4]["final_info"] if done[row] else expected[4]
            assert info["surprise"] == scores["surprise"][row] > 0
            if done[row]:
                np.testing.assert_array_equal(
                    info["terminal_observation"], expected[4]["final_obs"][row]
                )
    np.testing.assert_array_equal(env.reset(), dreams.reset()[0])  # a seed is taken once


def test_options_hold_all_rows(random_world: Path) -> None:
    env = DreamVecEnv(random_world, 2)
    frames = np.zeros((2, 64, 64, 3), np.uint8)
    env.seed(1)
    env.set_options({"frames": frames})
    from_frames = env.reset()
    env.seed(1)
    assert not np.array_equal(env.reset(), from_frames)
    with pytest.raises(TypeError, match="options: got a list, expected one dict"):
        env.set_options([{}, {}])


def test_attributes_and_methods(random_world: Path) -> None:
    env = DreamVecEnv(random_world, 3, render_mode="rgb_array")
    env.reset()
    assert env.get_attr("render_mode", [0, 2]) == ["rgb_array"] * 2
    assert env.has_attr("world") and not env.has_attr("worlds")
    frames = env.env_method("frames")
    assert len(frames) == 3 and frames[2].shape == (3, 64, 64, 3)
    with pytest.raises(ValueError, match="which are one environment; give no indices"):
        env.env_method("close", indices=1)
    assert env.env_is_wrapped(VecMonitor, 0) == [False]
    picture = env.render()
    assert picture is not None and picture.shape == (128, 128, 3)
    with pytest.raises(TypeError, match="output: Stable-Baselines3 knows but one"):
        DreamVecEnv(random_world, output="torch")


def test_a_temperature_can_be_set_and_nothing_else(random_world: Path) -> None:
    env = DreamVecEnv(random_world, 3, dtype="float32", temperature=1.0)
    plain = genie_env.make_vec(random_world, 3, dtype="float32", temperature=[0.5, 1, 2])
    assert VecMonitor(env).get_attr("temperature") == [1.0] * 3
    VecMonitor(env).set_attr("temperature", 0.5, 0)
    env.set_attr("temperature", [2.0], indices=[2])
    assert env.get_attr("temperature", [0, 2]) == [0.5, 2.0]
    env.seed(0)
    env.reset()
    plain.reset(seed=0)
    np.testing.assert_array_equal(env.step(np.zeros(3, int))[0], plain.step([0, 0, 0])[0])
    for name in ("max_surprise", "reward_fn", "temprature", "num_envs"):
        with pytest.raises(AttributeError, match=f"set_attr: got '{name}', but only 'temperature'"):
            env.set_attr(name, 1)
    for wrong, words in (("hot", "got <U3, expected numbers"), (0, "is 0, expected a finite numb")):
        with pytest.raises((TypeError, ValueError), match=words):
            env.set_attr("temperature", wrong)
    with pytest.raises(ValueError, match=r"temperature: got \(2,\), expected one number, or one a"):
        env.set_attr("temperature", [1, 2])
    assert env.get_attr("temperature") == [0.5, 1.0, 2.0]


def test_an_option_is_no_attribute_that_can_be_set(random_world: Path) -> None:
    env = DreamVecEnv(random_world, 2)
    for each in (env, env.dreams, genie_env.DreamEnv(random_world)):
        for name in ("max_surprise", "reward_fn", "max_episode_steps", "dtype"):
            with pytest.raises(AttributeError, match=f"^{name} cannot be set: it is fixed when an"):
                setattr(each, name, 1)
    with pytest.raises(AttributeError, match="^temperature cannot be set: it is fixed"):
        env.temperature = 1.0
    single = genie_env.DreamEnv(random_world, temperature=2.0)
    assert single.temperature == 2
    assert single.set_wrapper_attr("temperature", 0.25) and single.temperature == 0.25


@pytest.mark.parametrize("observation", ["zch", "pixels"])
def test_ppo_learns_unpatched(random_world: Path, observation: str) -> None:
    env = VecMonitor(DreamVecEnv(random_world, 4, observation=observation, max_episode_steps=20))
    policy = "CnnPolicy" if observation == "pixels" else "MlpPolicy"
    model = PPO(policy, env, n_steps=32, batch_size=64, n_epochs=1, seed=0, device="cpu")
    model.learn(256)
    assert model.num_timesteps == 256
    assert 0 < model.ep_info_buffer[-1]["l"] <= 20
    mean, _ = evaluate_policy(model, env, n_eval_episodes=4)
    assert 0 < mean <= 20


def test_normalised(random_world: Path) -> None:
    env = VecNormalize(DreamVecEnv(random_world, 4, max_episode_steps=20))
    PPO("MlpPolicy", env, n_steps=32, batch_size=64, n_epochs=1, device="cpu").learn(128)
