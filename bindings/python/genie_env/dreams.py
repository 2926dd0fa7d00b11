"""Whole episodes in the dream: many in one batch, those that have ended dropped from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from genie_env.controller import LinearController, steer
from genie_env.games.blind import blind_actions

DROP_AT = 1 / 8
"""Ended rows are dropped when they are this fraction of the batch: dropping copies the others."""

Progress = Callable[[int, int], None]
"""Called after every step with the number of steps so far and of rows still alive."""


class Policy(Protocol):
    """What acts in N rows at once."""

    def act(self, observation: torch.Tensor, step: int) -> torch.Tensor:
        """int64 [N] actions on observation [N, F], `step` steps after the episodes began."""

    def keep(self, rows: torch.Tensor) -> None:
        """Goes on with the given rows (int64 [R]) alone, in that order."""


class Controllers:
    """Linear controllers, each acting in rows of its own: a population in one batch."""

    def __init__(self, weights: torch.Tensor, owners: torch.Tensor) -> None:
        """`weights`: float32 [P, F]; `owners`: int64 [N], the controller of every row."""
        self._weight = weights[owners]

    def act(self, observation: torch.Tensor, step: int) -> torch.Tensor:
        return steer(self._weight, observation)

    def keep(self, rows: torch.Tensor) -> None:
        self._weight = self._weight[rows]


class Schedules:
    """Fixed actions, whatever is observed: int64 [N, steps]."""

    def __init__(self, actions: torch.Tensor) -> None:
        self._actions = actions

    def act(self, observation: torch.Tensor, step: int) -> torch.Tensor:
        return self._actions[:, step]

    def keep(self, rows: torch.Tensor) -> None:
        self._actions = self._actions[rows]


def derived_seeds(*path: int, count: int) -> list[int]:
    """`count` row seeds that depend on the path, for instance (seed, generation), alone."""
    states = np.random.SeedSequence(path).generate_state(count, np.uint64)
    return [int(state) >> 1 for state in states]  # 63 bits: an int64 anywhere
