"""Blind policies: an episode's actions are fixed before it begins, whatever it shows.

They count steps of the game, whatever its frame skip: an action that is held for several steps is
the schedule's at the first of them. The policies here suit any game, with numbered actions or those
of a box; a game may add its own (`Game.own_policies`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genie_env.envs.actions import Actions, DiscreteActions, Taken

GENERAL_POLICIES = {
    "random": "a new uniform action every step",
    "held": "uniform actions, each held for 1 to 10 steps",
    "long-held": "uniform actions, each held for 1 to 120 steps (log-uniform)",
}


@dataclass(frozen=True)
class Draws:
    """An episode's random generators, one for each purpose: no draw depends on how many others the
    length of a schedule asks for."""

    choice: np.random.Generator
    """Chooses among policies."""
    actions: np.random.Generator
    lengths: np.random.Generator

    @staticmethod
    def of(seed: int) -> Draws:
        children = np.random.SeedSequence(seed).spawn(3)
        return Draws(*(np.random.default_rng(child) for child in children))


def general_schedule(policy: str, draws: Draws, length: int, actions: Actions) -> Taken:
    """The actions of one of GENERAL_POLICIES in the first `length` steps: int64 [length], or float32
    [length, ...] uniform in the box."""
    uniform = _uniform(draws.actions, actions, length)
    if policy == "held":
        return hold(uniform, draws.lengths.integers(1, 11, length))
    if policy == "long-held":
        return hold(uniform, _log_uniform(draws.lengths, length))
    return uniform


def explored_actions(
    fraction: float, seed: int, steps: int, actions: Actions, frame_skip: int = 1
) -> tuple[NDArray[np.bool_], Taken]:
    """Where a learned policy is overruled, bool [steps], and by which action: int64 [steps] or float32
    [steps, ...].

    Random actions held for 1 to 120 steps of the game (log-uniform) take `fraction` of the time,
    between stretches that the policy plays itself.
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"explore is {fraction}; expected a fraction of the time, 0 to 1")
    draws = Draws.of(seed)
    length = steps * frame_skip
    overruled = draws.choice.random(length) < fraction
    schedule = _uniform(draws.actions, actions, length)
    lengths = _log_uniform(draws.lengths, length)
    return hold(overruled, lengths)[::frame_skip], hold(schedule, lengths)[::frame_skip]


def hold(rows: NDArray[Any], lengths: NDArray[np.int64]) -> NDArray[Any]:
    """Each row repeated its own length, cut to as many as there are rows."""
    return np.repeat(rows, lengths, axis=0)[: len(rows)]


def _uniform(rng: np.random.Generator, actions: Actions, count: int) -> Taken:
    if isinstance(actions, DiscreteActions):
        return rng.integers(actions.count, size=count) + actions.start
    low, high = actions.bounds
    # In float64: the difference of two bounds may be more than float32 holds.
    points = low + rng.random((count, *actions.shape)) * (high.astype(np.float64) - low)
    return points.astype(np.float32).clip(low, high)


def _log_uniform(rng: np.random.Generator, count: int) -> NDArray[np.int64]:
    """Whole numbers 1 to 120, as many between 1 and 2 as between 60 and 120."""
    return np.exp(rng.uniform(0, np.log(121), count)).astype(np.int64).clip(1, 120)
