"""The plain PyTorch dream that ours is measured against computes what ours computes."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from genie_env._core import RowCounters, World
from genie_env.families.genie.random_world import GenieSizes, random_genie_world

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from plain_torch_genie_world import PlainGenieDream  # noqa: E402

ROWS, STEPS = 3, 9


@pytest.mark.parametrize("some", ["S=12", "S=20,local=1"])  # logits without near ties
def test_the_same_tokens_under_greedy_decoding(tmp_path: Path, some: str) -> None:
    sizes = GenieSizes.parse("T=4,d=64,blocks=3,heads=2,codes=50,K=4," + some)
    directory = random_genie_world(tmp_path / "world", sizes)
    world = World.load(directory, dtype="float32")
    state = world.make_state(ROWS)
    seeds = np.arange(ROWS)

    def counters(step: int) -> RowCounters:
        return RowCounters(seeds, seeds * 0, seeds * 0 + step)

    world.begin(state, torch.ones(ROWS, dtype=torch.bool), counters(0))
    plain = PlainGenieDream(
        directory, world.observe(state, "tokens"), torch.float32, temperature=0
    )
    greedy = torch.full((ROWS,), 1e-4)
    seen = []
    for step in range(1, STEPS):  # the ring of 3 slots is written over and over
        actions = torch.tensor([step % 6, 5 - step % 6, 2])
        world.step(state, actions, greedy, counters(step))
        ours = world.observe(state, "tokens")
        assert torch.equal(ours, plain.step(actions)), step
        seen.append(ours)
    assert len(torch.stack(seen).unique()) > 5


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("T=16,S=64", "without d, blocks, heads, codes, K"),
        ("T=16,T=8", "'T=8' in it is not understood"),
        ("T=16,depth=3", "'depth=3' in it is not understood; expected each of T, S, d, blocks"),
        ("T=-1", "'T=-1' in it is not understood"),
        ("", "'' in it is not understood"),
    ],
)
def test_sizes_that_are_not_understood(text: str, words: str) -> None:
    with pytest.raises(ValueError) as error:
        GenieSizes.parse(text)
    assert words in str(error.value)


def test_sizes_that_no_network_can_have(tmp_path: Path) -> None:
    sizes = GenieSizes.parse("T=4,S=12,d=64,blocks=3,heads=5,codes=50,K=4")
    with pytest.raises(ValueError, match="heads is 5"):
        random_genie_world(tmp_path / "world", sizes)


def test_a_frame_of_any_number_of_tokens(tmp_path: Path) -> None:
    sizes = GenieSizes.parse("T=2,S=7,d=16,blocks=1,heads=1,codes=8,K=1")
    frame = World.load(random_genie_world(tmp_path / "world", sizes)).spec.frame
    assert tuple(frame.shape) == (8, 56, 3)
