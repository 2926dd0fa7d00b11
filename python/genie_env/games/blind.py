"""Policies that never look: an episode's actions, fixed before it begins.

They count tics of the game, whatever its frame skip: a step takes the action of its first tic.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LEFT, STAY, RIGHT = 0, 1, 2

_CONSTANT = {"left": LEFT, "still": STAY, "right": RIGHT}

POLICIES = {
    "random": "a fresh uniform action every tic",
    "held": "uniform actions, each held for 1 to 10 tics",
    "long-held": "uniform actions, each held for 1 to 120 tics (log-uniform)",
    "left": "always left",
    "right": "always right",
    "still": "always stay",
    "sweep:K": "K tics left, K right, and so on",
    "sweeps": "a sweep whose K is drawn from 20 to 150, at a random point of its cycle",
    "mixture": "each episode draws one: held 55 %, long-held 20 %, sweeps 20 %, and left, right "
    "or still 5 % (so that the data also stands at the walls)",
}

_MIXTURE = {
    "held": 0.55,
    "long-held": 0.20,
    "sweeps": 0.20,
    "left": 0.02,
    "right": 0.02,
    "still": 0.01,
}


def check_policy(name: str, num_actions: int = 3) -> None:
    """Raises ValueError unless `name` is one of POLICIES, for a game of so many actions."""
    if name in ("random", "held", "long-held"):
        return
    if not (name in POLICIES and name != "sweep:K") and _sweep_length(name) is None:
        raise ValueError(
            f"unknown policy {name!r}; expected one of {', '.join(POLICIES)} (K a number above 0)"
        )
    if num_actions != 3:
        raise ValueError(
            f"policy {name!r} moves left and right, but this game has {num_actions} actions; "
            "expected random, held or long-held"
        )


def blind_actions(
    name: str, seed: int, steps: int, num_actions: int = 3, frame_skip: int = 1
) -> NDArray[np.int64]:
    """An episode's actions in its first `steps` steps of `frame_skip` tics each: int64 [steps], a
    function of the arguments alone.

    A longer schedule begins with the shorter one. Raises ValueError for an unknown policy.
    """
    check_policy(name, num_actions)
    return _actions_of_tics(name, seed, steps * frame_skip, num_actions)[::frame_skip]


def _actions_of_tics(name: str, seed: int, length: int, num_actions: int) -> NDArray[np.int64]:
    # A generator each, so that no draw depends on how many others a length asks for.
    which, actions, lengths = _generators(seed, 3)
    if name == "mixture":
        name = str(which.choice(list(_MIXTURE), p=list(_MIXTURE.values())))
    if name in _CONSTANT:
        return np.full(length, _CONSTANT[name], np.int64)
    if name == "random":
        return actions.integers(num_actions, size=length)
    if name == "held":
        return _holds(actions.integers(num_actions, size=length), lengths.integers(1, 11, length))
    if name == "long-held":
        return _holds(actions.integers(num_actions, size=length), _log_uniform(lengths, length))
    if name == "sweeps":
        period = int(lengths.integers(20, 151))
        return _sweep(period, int(lengths.integers(2 * period)), length)
    return _sweep(_sweep_length(name) or 0, 0, length)


def explored_actions(
    fraction: float, seed: int, steps: int, num_actions: int = 3, frame_skip: int = 1
) -> NDArray[np.int64]:
    """Where a learned policy is overruled: int64 [steps], an action, or -1 where it plays itself.

    Random actions held for 1 to 120 tics (log-uniform) take `fraction` of the time, between
    stretches that the policy plays itself.
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"explore is {fraction}; expected a fraction of the time, 0 to 1")
    whether, actions, lengths = _generators(seed, 3)
    length = steps * frame_skip
    overruled = whether.random(length) < fraction
    schedule = np.where(overruled, actions.integers(num_actions, size=length), -1)
    return _holds(schedule, _log_uniform(lengths, length))[::frame_skip]


def _generators(seed: int, count: int) -> list[np.random.Generator]:
    return [np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(count)]


def _holds(actions: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each action repeated its own length, cut to as many as there are actions."""
    return np.repeat(actions, lengths)[: len(actions)]


def _log_uniform(rng: np.random.Generator, count: int) -> NDArray[np.int64]:
    """Whole numbers 1 to 120, as many between 1 and 2 as between 60 and 120."""
    return np.exp(rng.uniform(0, np.log(121), count)).astype(np.int64).clip(1, 120)


def _sweep(period: int, offset: int, length: int) -> NDArray[np.int64]:
    half = (np.arange(length) + offset) // period
    return np.where(half % 2 == 0, LEFT, RIGHT).astype(np.int64)


def _sweep_length(name: str) -> int | None:
    """K of "sweep:K", or None where the name is something else."""
    kind, _, number = name.partition(":")
    return int(number) if kind == "sweep" and number.isdecimal() and int(number) > 0 else None
