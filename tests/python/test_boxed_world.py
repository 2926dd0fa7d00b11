"""Worlds with continuous actions and learned rewards, through every Python interface."""

from __future__ import annotations

import pickle
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.error import InvalidAction
from gymnasium.utils.env_checker import check_env
from random_world import BOX, write_boxed_world

import genie_env
from genie_env.envs.actions import BoxActions, actions_of_world
from genie_env.envs.single_env import DreamEnv
from genie_env.envs.world_card import read_card


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_boxed_world(tmp_path_factory.mktemp("worlds") / "boxed")


def drawn(count: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed).random((count, 2), dtype=np.float32)
    return random * np.float32([2, 0.5]) - np.float32([1, 0])


def test_its_spaces_are_its_bounds(world: Path) -> None:
    env = genie_env.make_vec(world, 3)
    space = gymnasium.spaces.Box(np.float32([-1, 0]), np.float32([1, 0.5]))
    assert env.single_action_space == space and env.action_space.shape == (3, 2)
    assert actions_of_world(env.world.spec.actions) == BoxActions((2,), (-1.0, 0.0), (1.0, 0.5))
    assert read_card(world).actions == actions_of_world(env.world.spec.actions)
    assert BOX["shape"] == env.world.spec.actions.shape
    assert "actions [2]" in repr(env.world.spec)


def test_actions_and_rewards_differ_by_row(world: Path) -> None:
    env = genie_env.make_vec(world, 16, seed=3)
    env.reset()
    rewards = [env.step(drawn(16, t))[1] for t in range(30)]
    assert np.unique(rewards).size > 100 and np.min(rewards) >= -3 and np.max(rewards) <= 2


@pytest.mark.parametrize("output", ["numpy", "torch"])
def test_floats_of_any_kind_are_taken(world: Path, output: str) -> None:
    def stepped(actions: object) -> np.ndarray:
        env = genie_env.make_vec(world, 2, seed=1, output=output)
        env.reset()
        return np.asarray(env.step(actions)[0])

    expected = stepped(drawn(2))
    for given in (drawn(2).tolist(), drawn(2).astype(np.float64), torch.from_numpy(drawn(2))):
        np.testing.assert_array_equal(stepped(given), expected)


@pytest.mark.parametrize(
    ("actions", "words"),
    [
        ([[0.0, 0.0], [0.0, 0.6]], r"actions\[1, 1\] is 0.6, expected 0 to 0.5"),
        ([[np.nan, 0.0], [0.0, 0.0]], r"actions\[0, 0\] is nan, expected -1 to 1"),
    ],
)
def test_points_outside_are_refused(world: Path, actions: list[list[float]], words: str) -> None:
    env, other = (genie_env.make_vec(world, 2, seed=1) for _ in range(2))
    env.reset(), other.reset()
    with pytest.raises(InvalidAction, match=words):
        env.step(actions)
    with pytest.raises(ValueError, match=r"actions: got float32 \[2\], expected float32 \[2, 2\]"):
        env.step([0.0, 0.0])
    np.testing.assert_array_equal(env.step(drawn(2))[0], other.step(drawn(2))[0])


def test_snapshots_forks_and_films(world: Path) -> None:
    env = genie_env.make_vec(world, 3, seed=1)
    env.reset()
    env.step(drawn(3))
    snapshot = pickle.loads(pickle.dumps(env.snapshot()))
    seen = [env.step(drawn(3, t)) for t in (1, 2)]
    env.restore(snapshot)
    for t, expected in zip((1, 2), seen, strict=True):
        for got, wanted in zip(env.step(drawn(3, t))[:4], expected[:4], strict=True):
            np.testing.assert_array_equal(got, wanted)
    env.fork(0, [1, 2])
    same = env.step(np.repeat(drawn(1), 3, axis=0))
    assert (same[1] == same[1][0]).all()
    films = np.random.default_rng(0).integers(0, 256, (3, 4, 64, 64, 3)).astype(np.uint8)
    led = np.stack([drawn(3, t) for t in range(3)], axis=1)
    env.reset(options={"frames": films, "actions": led})
    env.follow(drawn(3), films[:, 0])


def test_rows_that_begin_ignore_their_action(world: Path) -> None:
    env = genie_env.make_vec(world, 2, seed=1, max_episode_steps=1)
    env.reset()
    assert env.step(drawn(2))[3].all()
    env.step(np.full((2, 2), np.nan))


def test_one_dream_passes_gymnasiums_checker(world: Path) -> None:
    env = DreamEnv(world)
    check_env(env, skip_render_check=True)
    env.reset(seed=0)
    assert isinstance(env.step(drawn(1)[0])[1], float)


def test_a_bare_number_is_an_action_of_no_shape_that_is_refused(world: Path) -> None:
    env = DreamEnv(world)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="actions: got float32"):
        env.step(0.5)


def test_stable_baselines_and_torchrl(world: Path) -> None:
    from genie_env.sb3 import DreamVecEnv
    from genie_env.torchrl import DreamTorchRLEnv

    baselines = DreamVecEnv(world, 2)
    baselines.reset()
    baselines.step(drawn(2))
    env = DreamTorchRLEnv(world, 2)
    env.set_seed(0)
    steps = env.rollout(5, break_when_any_done=False)
    assert steps["action"].shape == (2, 5, 2)
    assert (steps["action"][..., 1] >= 0).all() and (steps["action"][..., 1] <= 0.5).all()


def test_it_is_measured(world: Path) -> None:
    from genie_env.cli.app import APP

    with pytest.raises(SystemExit) as ended:
        APP.main(["bench", "--world", str(world), "--batch", "2", "--seconds", "0.01"])
    assert ended.value.code == 0
