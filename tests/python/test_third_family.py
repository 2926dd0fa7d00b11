"""A world family of a user's own, all of it under tests/, through everything the package offers."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import gymnasium
import linear_gaussian
import numpy as np
import pytest
import torch
import toy_games  # noqa: F401  (registers its games)
from gymnasium.utils.env_checker import check_env

import genie_env
from genie_env import _core
from genie_env.agents.controller import LinearController
from genie_env.agents.real_play import agent_player
from genie_env.cli.bench import random_world
from genie_env.envs.actions import DiscreteActions
from genie_env.families import find_family, register_family
from genie_env.sb3 import DreamVecEnv
from genie_env.torchrl import DreamTorchRLEnv


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = linear_gaussian.extension()
    if file is None:
        assert linear_gaussian.MODULES not in os.environ, (
            f"no extension in ${linear_gaussian.MODULES}"
        )
        pytest.skip("_linear_gaussian is not built: configure with GENIE_ENV_TESTS=ON")
    if linear_gaussian.NAME not in _core.world_families():
        linear_gaussian.register(file)
    return linear_gaussian.write_linear_gaussian(tmp_path_factory.mktemp("worlds") / "small")


def test_is_registered_beside_the_librarys_own(world: Path) -> None:
    assert set(_core.world_families()) == {
        "exported",
        "genie",
        "linear-gaussian",
        "vision-memory",
    }
    assert [option.name for option in _core.world_families()["linear-gaussian"].options] == [
        "noise"
    ]
    assert find_family("linear-gaussian").default_batches == (1, 64)
    with pytest.raises(ValueError, match="'linear-gaussian' is registered already"):
        register_family(linear_gaussian.FAMILY)
    with pytest.raises(ValueError, match="no random worlds; those that do: .*vision-memory"):
        random_world("linear-gaussian:3", world)


def test_dreams_follow_its_equation(world: Path) -> None:
    """The mean of many rows is A x + B[action]; their spread is the noise."""
    env = genie_env.make_vec(world, num_envs=4000, noise=0.25, seed=0)
    before, _ = env.reset()
    after, rewards, *_ = env.step(np.ones(4000, np.int64))
    noise = after - 0.9 * before - np.array([0.3, 0, 0])
    assert np.abs(noise.mean(axis=0)).max() < 0.02
    assert noise.std(axis=0) == pytest.approx(0.25, rel=0.05)
    assert rewards == pytest.approx(-np.linalg.norm(after, axis=1), rel=1e-5)


def test_options_go_to_the_family(world: Path) -> None:
    env = genie_env.make_vec(world, noise=0.25)
    option = env.world.spec.options["noise"]
    assert (option.value, option.default, option.type) == (0.25, 0.5, "number")
    with pytest.raises(ValueError, match=r"small \(linear-gaussian\) has no option 'passes'"):
        genie_env.make_vec(world, passes=4)
    with pytest.raises(ValueError, match="'noise' .* is 99, expected a number from 0.001 to 10"):
        genie_env.make_vec(world, noise=99)


def test_snapshots_forks_and_functions(world: Path) -> None:
    env = genie_env.make_vec(world, num_envs=4, seed=3, reward_fn=lambda *_: np.zeros(4))
    env.reset()
    snapshot = pickle.loads(pickle.dumps(env.snapshot()))
    first = env.step([0, 1, 0, 1])[0]
    env.restore(snapshot)
    assert np.array_equal(env.step([0, 1, 0, 1])[0], first)
    forked = env.fork(0, into=[1, 2, 3])
    assert (forked == forked[0]).all()
    assert genie_env.make_vec(world, observation="radius").reset(seed=0)[0].shape == (1, 1)


def test_without_pictures_everything_that_needs_them_is_refused(world: Path) -> None:
    env = genie_env.make_vec(world, num_envs=2, seed=0)
    env.reset()
    for call in (
        lambda: env.frames(),
        lambda: env.follow([0, 0], np.zeros((2, 8, 8, 3), np.uint8)),
        lambda: env.reset(options={"frames": np.zeros((2, 8, 8, 3), np.uint8)}),
    ):
        with pytest.raises(ValueError, match="has no pictures"):
            call()
    env.step([0, 1])


@pytest.mark.filterwarnings("ignore")
def test_other_peoples_checkers_and_adapters(world: Path) -> None:
    gymnasium.register("Small-v0", entry_point="genie_env:DreamEnv", kwargs={"world": str(world)})
    check_env(gymnasium.make("Small-v0").unwrapped, skip_render_check=True)
    sb3 = DreamVecEnv(world, 3, noise=0.1)
    sb3.reset()
    assert sb3.step(np.zeros(3, np.int64))[0].shape == (3, 3)
    torchrl = DreamTorchRLEnv(world, 3, seed=0)
    assert torchrl.rollout(4)["observation"].shape == (3, 4, 3)


def command(*arguments: str) -> str:
    """What `genie-env` prints, as a user runs it in the folder of the family."""
    program = [sys.executable, "-m", "genie_env.cli.app", "--import", "linear_gaussian.plugin"]
    folder = Path(__file__).parent
    done = subprocess.run([*program, *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_commands_know_it(world: Path, tmp_path: Path) -> None:
    shown = command("worlds", str(world))
    assert "linear-gaussian" in shown and "noise" in shown
    file = tmp_path / "bench.json"
    measured = ("--batch", "4", "--seconds", "0.05", "--option", "noise=0.1", "--json", str(file))
    command("bench", "--world", str(world), *measured)
    figures = json.loads(file.read_text())
    assert figures["world"]["options"] == {"noise": 0.1}
    assert {result["tier"] for result in figures["results"]} == {"features", "numpy"}
    assert all(result["limit_steps_per_s"] > 0 for result in figures["results"])


def test_an_agent_that_cannot_see_its_game_is_refused_at_once(world: Path, tmp_path: Path) -> None:
    """The world has no pictures, and the game nothing else."""
    directory = tmp_path / "world"
    shutil.copytree(world, directory)
    config = json.loads((directory / "config.json").read_text())
    config |= {"real_game": "Counter-v0", "frame_skip": 1, "actions": ["0", "1"]}
    (directory / "config.json").write_text(json.dumps(config))
    spec = genie_env.World.load(directory).spec
    actions = DiscreteActions(("0", "1"))
    weight = np.ones(3, np.float32)
    agent = LinearController(weight, spec.observations[0].name, spec.fingerprint, {}, actions)
    agent.save(tmp_path / "agent.safetensors")
    with pytest.raises(
        ValueError, match="small has no pictures, but agents see Counter-v0 through"
    ):
        agent_player(directory, tmp_path / "agent.safetensors", seed=0)


def test_rows_share_no_draw(world: Path) -> None:
    env = genie_env.make_vec(world, num_envs=64, output="torch", seed=0)
    env.reset()
    observation = env.step(np.zeros(64, np.int64))[0]
    assert len(torch.unique(observation[:, 1])) == 64


def test_errors_of_its_own_arrive_as_the_packages(world: Path, tmp_path: Path) -> None:
    broken = linear_gaussian.write_linear_gaussian(tmp_path / "broken")
    config = json.loads((broken / "config.json").read_text())
    (broken / "config.json").write_text(json.dumps({**config, "limit": -1}))
    with pytest.raises(genie_env.FormatError, match='"limit" is -1, expected a number above 0'):
        genie_env.make_vec(broken)
    env = genie_env.make_vec(world)
    env.reset(seed=0)
    with pytest.raises(gymnasium.error.InvalidAction, match="expected 0 to 1"):
        env.step([2])
