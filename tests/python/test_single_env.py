"""The single environment: one dream."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import genie_env
from genie_env import DreamEnv


def make(world: Path, **options: Any) -> DreamEnv:
    return DreamEnv(world, **{"termination": "thresholded", "dtype": "float32"} | options)


def test_it_is_a_row_of_the_vector_environment(random_world: Path) -> None:
    env = make(random_world, temperature=0.7)
    rows = genie_env.make_vec(
        random_world, 1, temperature=0.7, dtype="float32", termination="thresholded"
    )
    observation, info = env.reset(seed=9)
    assert info == {}
    np.testing.assert_array_equal(observation, rows.reset(seed=9)[0][0])
    for action in (0, np.int64(2), np.array(1)):
        observation, reward, terminated, truncated, info = env.step(action)
        observations, rewards, _, _, infos = rows.step([int(action)])
        np.testing.assert_array_equal(observation, observations[0])
        assert (type(reward), reward) == (float, float(rewards[0]))
        assert (terminated, truncated) == (False, False)
        names = ("surprise", "termination_probability")
        assert info == {name: float(infos[name][0]) for name in names}


def test_its_end_and_the_next_episode(random_world: Path) -> None:
    env = make(random_world, max_episode_steps=2)
    first, _ = env.reset(seed=3)
    assert [env.step(1)[3] for _ in range(2)] == [False, True]
    with pytest.raises(gymnasium.error.ResetNeeded) as error:
        env.step(1)
    assert str(error.value) == "step: row 0 has ended, and autoreset is disabled; reset it first"
    second, _ = env.reset()
    assert not np.array_equal(first, second)
    env.step(1)
    np.testing.assert_array_equal(env.reset(seed=3)[0], first)


def test_rendering(random_world: Path) -> None:
    env = make(random_world, render_mode="rgb_array")
    env.reset(seed=0)
    frame = env.render()
    assert frame is not None
    assert (frame.shape, frame.dtype) == ((64, 64, 3), np.uint8)
    blind = make(random_world)
    blind.reset(seed=0)
    with pytest.warns(UserWarning, match="render does nothing: the render mode is None"):
        assert blind.render() is None


def test_it_is_pickled_as_its_arguments(random_world: Path) -> None:
    env = make(random_world, temperature=0.5, max_episode_steps=7)
    copy = pickle.loads(pickle.dumps(env))
    np.testing.assert_array_equal(copy.reset(seed=1)[0], env.reset(seed=1)[0])
    np.testing.assert_array_equal(copy.step(0)[0], env.step(0)[0])


def test_gymnasiums_vectorisation_leaves_the_class_alone(random_world: Path) -> None:
    envs = SyncVectorEnv(
        [lambda: make(random_world, max_episode_steps=2)] * 2, autoreset_mode="SameStep"
    )
    envs.reset(seed=4)
    ends = [envs.step(np.array([0, 1]))[3].tolist() for _ in range(2)]
    assert ends == [[False, False], [True, True]]
    assert envs.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    assert "autoreset_mode" not in DreamEnv.metadata
    envs.close()
