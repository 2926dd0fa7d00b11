"""What a world makes of recorded episodes, which it follows with their own actions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from genie_env._core import RowCounters, World

FOLLOWED_AT_ONCE = 16
"""Episodes."""


def follow(
    world: World,
    pictures: Sequence[NDArray[np.uint8]],
    actions: Sequence[NDArray[Any]],
    observation: str,
    seeds: NDArray[np.integer[Any]],
) -> list[NDArray[Any]]:
    """What the world observes of the pictures of some episodes, [T, ...] each, followed side by side.

    pictures: uint8 [T, H, W, 3] each; actions: the world's, from each picture to the next, [T, ...]
    each, of which the last is not read; seeds: [episodes], of the world's random draws.
    """
    rows, lengths = len(pictures), [len(each) for each in pictures]
    state = world.make_state(rows)
    zeros = np.zeros(rows, np.int64)
    dtype = np.int64 if world.spec.actions.shape is None else np.float32

    def at(index: int) -> torch.Tensor:  # of an episode that has ended, its last picture again
        shown = [each[min(index, len(each) - 1)] for each in pictures]
        return torch.from_numpy(np.stack(shown))

    everyone = torch.ones(rows, dtype=torch.bool)
    world.begin(state, everyone, RowCounters(seeds, zeros, zeros), frames=at(0))
    seen = [world.observe(state, observation).cpu().numpy()]
    for index in range(1, max(lengths)):
        taken = np.array([each[min(index, len(each)) - 1] for each in actions]).astype(dtype)
        counters = RowCounters(seeds, zeros, np.full(rows, index))
        step = world.follow(state, torch.from_numpy(taken), at(index), counters, observation)
        seen.append(step.observation.cpu().numpy())
    return [
        np.stack([moment[row] for moment in seen[:length]]) for row, length in enumerate(lengths)
    ]
