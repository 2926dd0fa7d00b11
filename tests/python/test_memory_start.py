"""M that starts from another run's, whose recordings paid other rewards."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from test_outcomes import write_episodes

from genie_env._core import EpisodeStore, Trainer
from genie_env.families.vision_memory.commands import train_memory, train_vision
from genie_env.training.memory import load_memory, make_memory, weights_to_start_from
from genie_env.training.vision import load_vision

SMALL = {"window": 16, "hidden": 16, "components": 1, "batch": 4, "bf16": False}
SETTINGS = {**SMALL, "mixture": "independent", "actions": 3, "judges_termination": False}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A V, and an M of recordings whose rewards are 0, 1 and 2."""
    runs = tmp_path_factory.mktemp("start")
    write_episodes(runs / "data", [20] * 60, [False] * 60)
    train_vision([runs / "data"], runs / "vision", steps=2, batch=8, latents=4, bf16=False)
    train_memory(
        [runs / "data"], runs / "vision", runs / "memory", steps=150, learning_rate=1e-2, **SMALL
    )
    return runs


def rewards_told(
    runs: Path, weights: dict[str, torch.Tensor], low: float, high: float
) -> list[float]:
    """What an M with these weights expects of the actions 0, 1 and 2, after a few frames."""
    vision = load_vision(runs / "vision")
    memory = make_memory(vision, {**SETTINGS, "rewards": [low, high]})
    Trainer(memory).load_weights(weights)
    actions = torch.nn.functional.one_hot(torch.tensor([[0] * 9, [1] * 9, [2] * 9]), 3).float()
    nothing = torch.zeros(3, 9)
    batch = {
        "mu": torch.zeros(3, 9, 4),
        "logvar": torch.full((3, 9, 4), -20.0),
        "actions": actions,
        "restarts": nothing,
        "finals": nothing,
    }
    return memory.judge_windows(batch, 0)["rewards"][:, 5].tolist()


def test_rewards_stay_what_they_were_where_the_bins_stand_for_others(runs: Path) -> None:
    vision = load_vision(runs / "vision")
    known = load_memory(runs / "memory", vision).reward_bins
    assert known[[0, -1]].tolist() == [0, 2]

    def started(low: float, high: float) -> list[float]:
        memory = make_memory(vision, {**SETTINGS, "rewards": [low, high]})
        weights = weights_to_start_from(
            runs / "memory", vision, memory, {**SETTINGS, "rewards": [low, high]}
        )
        return rewards_told(runs, weights, low, high)

    as_before = started(0, 2)
    assert np.allclose(as_before, [0, 1, 2], atol=0.2)
    # Rewards that this M never saw are as likely as the nearest that it saw: the last bin.
    assert np.allclose(started(-1, 2)[1:], as_before[1:], atol=0.1)
    assert np.allclose(started(0, 4)[:2], as_before[:2], atol=0.1)
    assert np.allclose(started(0, 1.5)[:2], as_before[:2], atol=0.1)


def test_a_run_goes_on_with_recordings_that_pay_more(runs: Path) -> None:
    write_episodes(runs / "more", [20] * 60, [False] * 60)
    rewards = np.load(runs / "more" / "rewards.npy") * 3
    np.save(runs / "more" / "rewards.npy", rewards)
    assert EpisodeStore(runs / "more").rewards.max() == 6
    both = [runs / "data", runs / "more"]
    train_memory(both, runs / "vision", runs / "onward", start=runs / "memory", steps=2, **SMALL)
    onward = load_memory(runs / "onward", load_vision(runs / "vision"))
    assert onward.reward_bins[[0, -1]].tolist() == [0, 6]


def test_another_network_is_no_start(runs: Path) -> None:
    write_episodes(runs / "same", [20] * 60, [False] * 60)
    np.save(runs / "same" / "rewards.npy", np.ones(1200, np.float32))
    with pytest.raises(
        ValueError,
        match=re.escape(
            f"--start {runs / 'memory'} learned rewards, but the rewards of these recordings are all "
            "the same: leave out --start"
        ),
    ):
        train_memory(
            [runs / "same"], runs / "vision", runs / "none", start=runs / "memory", steps=2, **SMALL
        )
    joint = {**SMALL, "mixture": "joint"}
    with pytest.raises(ValueError, match="memory has mixture independent, but joint is trained"):
        train_memory(
            [runs / "data"], runs / "vision", runs / "none", start=runs / "memory", steps=2, **joint
        )
    assert not (runs / "none" / "checkpoint.safetensors").exists()
