"""The PPO examples, for a few hundred steps."""

from __future__ import annotations

import csv
import runpy
from pathlib import Path

import pytest
import torch
from stable_baselines3 import PPO

EXAMPLES = Path(__file__).parents[2] / "examples/python"


@pytest.mark.parametrize("seed", [1, 2])
def test_ppo(random_world: Path, tmp_path: Path, seed: int) -> None:
    main = runpy.run_path(str(EXAMPLES / "ppo.py"))["main"]
    arguments = f"--world {random_world} --total-timesteps 1024 --num-envs 4 --seed {seed}"
    curve = main([*arguments.split(), "--out", str(tmp_path / "run")])
    assert [steps for steps, _ in curve] == [512, 1024]
    assert all(0 < mean <= 100 for _, mean in curve)
    assert (tmp_path / "run/curve.png").stat().st_size > 0
    with (tmp_path / "run/curve.csv").open() as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["dream_steps", "mean_return_of_100_episodes"]
    assert [float(row[1]) for row in rows[1:]] == [mean for _, mean in curve]
    agent = torch.load(tmp_path / "run/agent.pt")
    assert all(weights.isfinite().all() for weights in agent.values())
    again = main([*arguments.split(), "--out", str(tmp_path / "again")])
    assert again == curve


def test_sb3_ppo(random_world: Path, tmp_path: Path) -> None:
    main = runpy.run_path(str(EXAMPLES / "sb3_ppo.py"))["main"]
    arguments = f"--world {random_world} --total-timesteps 5120 --num-envs 4 --out {tmp_path}"
    assert main(arguments.split()).num_timesteps == 5120
    with (tmp_path / "progress.csv").open() as file:
        (row,) = csv.DictReader(file)  # one in ten updates of 512 steps
    assert int(row["time/total_timesteps"]) == 5120
    assert 0 < float(row["rollout/ep_rew_mean"]) <= 100
    assert PPO.load(tmp_path / "agent.zip").num_timesteps == 5120
