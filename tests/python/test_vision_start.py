"""V that starts from another run's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from test_outcomes import write_episodes

from genie_env.families.vision_memory.commands import train_vision
from genie_env.training.runs import load_weights
from genie_env.training.vision import VISION

SMALL = {"batch": 8, "bf16": False}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings, and a V of 4 latents."""
    runs = tmp_path_factory.mktemp("start")
    write_episodes(runs / "data", [20] * 20, [False] * 20)
    train_vision([runs / "data"], runs / "vision", steps=3, latents=4, **SMALL)
    return runs


def test_it_starts_with_the_weights_of_the_run(runs: Path) -> None:
    # With a learning rate of nothing they stay what they were.
    train_vision(
        [runs / "data"],
        runs / "onward",
        start=runs / "vision",
        emphasis=4,
        steps=2,
        learning_rate=0,
        latents=4,
        seed=5,
        **SMALL,
    )
    before, after = (load_weights(runs / run, VISION) for run in ("vision", "onward"))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_v_of_other_sizes_is_no_start(runs: Path) -> None:
    expected = f"--start {runs / 'vision'} has latents 4, but 8 is trained: give the same, or leave"
    with pytest.raises(ValueError, match=re.escape(expected)):
        train_vision(
            [runs / "data"], runs / "none", start=runs / "vision", steps=2, latents=8, **SMALL
        )
    assert not (runs / "none" / "checkpoint.safetensors").exists()


def test_a_damaged_run_is_no_start(runs: Path) -> None:
    train_vision([runs / "data"], runs / "damaged", steps=1, latents=4, **SMALL)
    file = runs / "damaged" / "checkpoint.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ValueError, match="checkpoint.safetensors is damaged"):
        train_vision(
            [runs / "data"], runs / "none", start=runs / "damaged", steps=2, latents=4, **SMALL
        )
