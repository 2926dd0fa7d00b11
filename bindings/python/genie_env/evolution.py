"""`genie-env train controller`: CMA-ES learns a linear controller, entirely inside the dream."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cma
import numpy as np
import torch
from numpy.typing import NDArray

from genie_env.controller import LinearController
from genie_env.dreams import Controllers, Dreams, Progress, derived_seeds
from genie_env.files import write_atomically, write_json

EVALUATE_EVERY = 5
"""Generations between two scores of the distribution's mean."""
EVALUATION_DREAMS = 256

Weights = NDArray[np.float32]
Scores = NDArray[np.float32]


@dataclass(frozen=True)
class ControllerSettings:
    """What a training run is a function of, besides its world."""

    steps: int = 40_000_000
    """Dream steps to spend; the generation that passes it is the last."""
    minutes: float | None = None
    """Time to spend, if that is over sooner."""
    seed: int = 0
    population: int = 64
    dreams: int = 16
    """Dreams a candidate; all candidates of a generation dream from the same seeds."""
    sigma: float = 0.1
    """Standard deviation of the first population."""

    def check(self) -> None:
        for name, least in (("steps", 1), ("population", 4), ("dreams", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}; expected {least} or more")
        for name in ("sigma", "minutes"):
            value = getattr(self, name)
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise ValueError(f"{name} is {value}; expected a number above 0")


@dataclass(frozen=True)
class Generation:
    """What one generation brought. Survival is in tics (the sum of rewards), a mean over dreams."""

    index: int
    steps: int
    """Dream steps since the beginning of the run, those of scoring included."""
    seconds: float
    """Since the beginning of the run, interruptions left out."""
    steps_per_s: float
    mean: float
    """Of the whole population."""
    best: float
    """Of the best candidate: lucky, since it is chosen among many."""
    sigma: float
    score: float | None
    """Of the distribution's mean as this generation found it, on fresh dreams; scored now and then."""
    best_score: float
    """The highest score so far: the controller's."""
    controller: LinearController
    """The distribution's mean that has the highest score so far."""


class Arena(Protocol):
    """Where controllers are tried: the dream, or (for a baseline) the real game."""

    def __call__(
        self, weights: Weights, owners: NDArray[np.int64], seeds: list[int], progress: Progress
    ) -> Scores:
        """The score of every episode: [N], of controllers [P, F], `owners` [N], `seeds` [N]."""


class _Normal:
    """CMA-ES's Gaussian draws, a function of (seed, generation): cma itself would seed NumPy."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.begin(0)

    def begin(self, generation: int) -> None:
        self._random = np.random.Generator(np.random.Philox(key=[self._seed, generation]))

    def __call__(self, *shape: int) -> NDArray[np.float64]:
        return self._random.standard_normal(shape)
