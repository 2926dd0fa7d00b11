"""Worlds of Genie on a GPU. (What they dream there is compared in tests/cpp.)"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import genie_env
from genie_env._core import RowCounters, World
from genie_env.families.genie.random_world import GenieSizes, random_genie_world

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"),
    pytest.mark.skipif(
        genie_env.build_info()["cuda_kernels"] is None, reason="this build has no CUDA kernels"
    ),
]

ROWS = 3


@pytest.fixture(params=[0, 1])
def directory(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    sizes = GenieSizes.parse(
        f"T=4,S=12,d=64,blocks=3,heads=2,codes=50,K=4,judges=1,local={request.param}"
    )
    return random_genie_world(tmp_path / "world", sizes)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_step_does_not_wait_for_the_gpu(directory: Path, dtype: str) -> None:
    world = World.load(directory, device="cuda", dtype=dtype)
    state = world.make_state(ROWS)
    seeds = np.arange(ROWS)
    actions, temperature = torch.zeros(ROWS, dtype=torch.int64), torch.ones(ROWS)
    world.begin(state, torch.ones(ROWS, dtype=torch.bool), RowCounters(seeds, seeds * 0, seeds * 0))
    for step in (1, 2):  # the first makes what torch makes once
        torch.cuda.set_sync_debug_mode("error" if step == 2 else "default")
        try:
            counters = RowCounters(seeds, seeds * 0, seeds * 0 + step)
            surprise = world.step(state, actions, temperature, counters).surprise
            world.observe(state, "tokens")
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert (surprise > 0).all()


def test_an_environment_on_the_gpu(directory: Path) -> None:
    env = genie_env.make_vec(directory, num_envs=ROWS, device="cuda", output="torch", seed=0)
    observations, _ = env.reset()
    assert observations.device.type == "cuda"
    observations, *rest, infos = env.step(torch.tensor([0, 1, 2], device="cuda"))
    assert all(x.device.type == "cuda" for x in (observations, *rest, *infos.values()))
    assert env.frames().device.type == "cuda"
