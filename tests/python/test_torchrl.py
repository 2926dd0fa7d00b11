"""TorchRL's own check, rollouts and partial resets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import genie_env
from genie_env.families.genie.random_world import GenieSizes, random_genie_world

pytest.importorskip("torchrl", reason="TorchRL is not installed: pip install '.[torchrl]'")

from torchrl.envs.utils import check_env_specs

from genie_env.torchrl import DreamTorchRLEnv


@pytest.fixture(params=["doom", "genie"])
def world(request: pytest.FixtureRequest, random_world: Path, tmp_path: Path) -> Path:
    sizes = GenieSizes(T=3, S=16, d=32, blocks=1, heads=2, codes=32, K=2)
    return random_world if request.param == "doom" else random_genie_world(tmp_path / "w", sizes)


@pytest.mark.parametrize("observation", ["first", "pixels"])
@pytest.mark.parametrize("seed", [None, 3])
@pytest.mark.parametrize("rows", [1, 3])
def test_check_env_specs(world: Path, rows: int, observation: str, seed: int | None) -> None:
    kind = None if observation == "first" else observation
    env = DreamTorchRLEnv(world, rows, observation=kind, max_episode_steps=2)
    assert env.batch_size == (rows,)
    check_env_specs(env, seed=seed, break_when_any_done="both")  # each row resets on the way


def test_it_is_the_vector_environment(random_world: Path) -> None:
    env = DreamTorchRLEnv(random_world, 3, max_episode_steps=4, dtype="float32")
    dreams = genie_env.make_vec(
        random_world, 3, max_episode_steps=4, dtype="float32", autoreset_mode="Disabled"
    )
    env.set_seed(5)
    ended = 0
    rollout = env.rollout(10, break_when_any_done=False)
    assert rollout.shape == (3, 10)
    observations, _ = dreams.reset(seed=5)
    for step in rollout.unbind(1):
        np.testing.assert_array_equal(step["observation"], observations)
        brought = dreams.step(step["action"])
        after = step["next"]
        np.testing.assert_array_equal(after["observation"], brought[0])
        np.testing.assert_array_equal(after["reward"][:, 0], brought[1])
        np.testing.assert_array_equal(after["terminated"][:, 0], brought[2])
        np.testing.assert_array_equal(after["truncated"][:, 0], brought[3])
        np.testing.assert_array_equal(after["surprise"][:, 0], brought[4]["surprise"])
        done = brought[2] | brought[3]
        np.testing.assert_array_equal(after["done"][:, 0], done)
        observations = brought[0]
        if done.any():
            ended += 1
            observations, _ = dreams.reset(options={"reset_mask": done})
    assert ended >= 2


def test_rows_that_have_ended_may_wait_for_the_others(random_world: Path) -> None:
    env = DreamTorchRLEnv(random_world, 3, max_episode_steps=50)
    env.set_seed(0)
    step = env.step(env.rand_action(env.reset()))["next"]
    step = env.reset(step.set("_reset", torch.tensor([[False], [True], [False]])))
    rollout = env.rollout(60, auto_reset=False, tensordict=step, break_when_all_done=True)
    assert rollout["next", "done"].any(1).all()


def test_a_partial_step_leaves_the_other_rows(random_world: Path) -> None:
    whole, partial = (DreamTorchRLEnv(random_world, 3, dtype="float32") for _ in range(2))
    steps = []
    for env in (whole, partial):
        env.set_seed(0)
        step = env.reset().set("action", torch.tensor([0, 1, 2]))
        if env is partial:
            mask = torch.tensor([True, False, True])
            after = env.step(step.clone().set("_step", mask))["next"]
            assert (after["observation"] != step["observation"]).any(1).tolist() == mask.tolist()
            assert after["reward"].flatten().tolist() == [1, 0, 1]
            step = step.set("_step", torch.tensor([False, True, False]))
        steps.append(env.step(step)["next"])
    torch.testing.assert_close(steps[0]["observation"][1], steps[1]["observation"][1])


def test_a_partial_reset_leaves_the_other_rows(random_world: Path) -> None:
    env = DreamTorchRLEnv(random_world, 3, max_episode_steps=50)
    env.set_seed(0)
    step = env.step(env.rand_action(env.reset()))["next"]
    mask = torch.tensor([[False], [True], [False]])
    after = env.reset(step.clone().set("_reset", mask))
    changed = (after["observation"] != step["observation"]).any(1)
    assert changed.tolist() == [False, True, False]
    assert (after["surprise"] > 0).flatten().tolist() == [True, False, True]


def test_what_it_refuses(random_world: Path) -> None:
    with pytest.raises(TypeError, match="output: TorchRL knows but one"):
        DreamTorchRLEnv(random_world, output="numpy")
