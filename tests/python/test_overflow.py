"""Finite weights that overflow when they are used: an error that names the row, never NaN."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.error import ResetNeeded
from random_world import write_random_world
from safetensors.numpy import load_file, save_file

import genie_env
from genie_env.families.genie.random_world import GenieSizes, random_genie_world

LARGEST = {"float16": 65504.0, "float32": 3.4e38}


def enlarged(directory: Path, dtype: str, part: str) -> Path:
    """The world with all weights of a part at the largest number of the type, of random sign."""
    weights = load_file(directory / "model.safetensors")
    signs = np.random.default_rng(0)
    for name, weight in weights.items():
        if name.startswith(part):
            sign = np.where(signs.random(weight.shape) < 0.5, -1, 1)
            weights[name] = (LARGEST[dtype] * sign).astype(dtype)
    save_file(weights, directory / "model.safetensors")
    return directory


def played(env: Any, frames: Any = None) -> None:
    """Some steps, whose observations must be finite."""
    observation, _ = env.reset(seed=0, options=None if frames is None else {"frames": frames})
    for step in range(4):
        assert np.isfinite(observation).all()
        actions = np.full(env.num_envs, step % 3)
        if frames is None:
            observation = env.step(actions)[0]
        else:
            observation = env.follow(actions, frames)[0]


@pytest.mark.parametrize("part", ["", "memory.", "memory.output.weight", "memory.output.bias"])
@pytest.mark.parametrize("dtype", LARGEST)
def test_of_m(tmp_path: Path, dtype: str, part: str) -> None:
    world = enlarged(write_random_world(tmp_path / "world"), dtype, part)
    for observation in ("zch", "pixels"):
        env = genie_env.make_vec(world, 16, dtype="float32", observation=observation)
        words = (
            r"^step: the state of rows? .* is no longer finite \((surprise|reward) .*\): the wei"
        )
        with pytest.raises(RuntimeError, match=words):
            played(env)
        with pytest.raises(ResetNeeded):
            env.step(np.zeros(16, int))


@pytest.mark.parametrize("dtype", LARGEST)
def test_of_v(tmp_path: Path, dtype: str) -> None:
    world = enlarged(write_random_world(tmp_path / "world"), dtype, "vision.")
    env = genie_env.make_vec(world, 2, dtype="float32")
    played(env)  # which does not look
    frames = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3)).astype(np.uint8)
    with pytest.raises(ValueError, match="frames: V encodes them to latents that are not finite"):
        played(env, frames)
    env.step([0, 0])  # it goes on
    with pytest.raises(
        RuntimeError, match="^follow: the state of rows 0 and 1 is no longer finite"
    ):
        env.follow([0, 0], frames)


@pytest.mark.parametrize("part", ["", "dynamics.", "tokenizer."])
def test_of_genie(tmp_path: Path, part: str) -> None:
    sizes = GenieSizes(T=3, S=4, d=16, blocks=2, heads=1, codes=8, K=2)
    world = enlarged(random_genie_world(tmp_path / "world", sizes), "float32", part)
    env = genie_env.make_vec(world, 2, dtype="float32")
    if part != "tokenizer.":
        with pytest.raises(
            RuntimeError, match="^step: the state of rows 0 and 1 is no longer fini"
        ):
            played(env)
    if part != "dynamics.":
        frame = env.world.spec.frame
        assert frame is not None
        frames = torch.randint(0, 256, (2, *frame.shape), dtype=torch.uint8)
        with pytest.raises(
            RuntimeError, match="^frames: the tokenizer encodes them to numbers that"
        ):
            played(env, frames)
