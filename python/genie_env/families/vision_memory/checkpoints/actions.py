"""What the numbers are that an imported M reads of an action, and its weights for ours.

Our M reads numbered actions one-hot, and points of a box scaled to -1 .. 1; both are linear in what
another M reads, so that its weights and bias change and its gates do not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from genie_env.envs.actions import Actions, BoxActions, DiscreteActions


@dataclass(frozen=True)
class ReadActions:
    """Actions, and what M reads of each."""

    actions: Actions
    points: torch.Tensor | None = None
    """Of numbered actions, where not one-hot: float64 [actions, numbers]."""

    def check(self, numbers: int) -> None:
        """Raises ValueError unless M, which reads so many numbers of an action, reads these."""
        read = self.actions.width if self.points is None else self.points.shape[1]
        if read == numbers:
            return
        remedy = (
            "name as many actions, or give each as NAME=NUMBER,NUMBER with what M reads of it"
            if isinstance(self.actions, DiscreteActions)
            else "give as many bounds by --action-low and --action-high"
        )
        raise ValueError(
            f"M reads {_numbers(numbers)} of an action, but was given {self.actions}, which are "
            f"{_numbers(read)} each: {remedy}"
        )

    def weights(self, of_action: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What the gates multiply our inputs by, and what is added to their bias: float64 [gates,
        width] and [gates]. of_action: [gates, numbers], of theirs."""
        theirs = of_action.double()
        if isinstance(self.actions, BoxActions):
            low, high = (torch.tensor(b).double() for b in (self.actions.low, self.actions.high))
            return theirs * (high - low) / 2, theirs @ ((high + low) / 2)
        ours = theirs if self.points is None else theirs @ self.points.T
        return ours, torch.zeros(len(theirs), dtype=torch.float64)


def read_actions(
    names: Sequence[str], low: Sequence[float], high: Sequence[float]
) -> ReadActions | None:
    """What the command line says of actions; None where it says nothing. Raises ValueError."""
    if names and (low or high):
        raise ValueError(
            "--actions names numbered actions, and --action-low and --action-high bound continuous "
            "ones: give either"
        )
    if names:
        return _numbered(names)
    if not (low or high):
        return None
    if len(low) != len(high):
        raise ValueError(
            f"--action-low has {len(low)} numbers and --action-high {len(high)}: give as many of each"
        )
    try:
        box = BoxActions(
            (len(low),), *(tuple(np.array(b, np.float32).tolist()) for b in (low, high))
        )
    except ValueError as error:
        raise ValueError(f"--action-low and --action-high: {error}") from None
    return ReadActions(box)


def _numbered(names: Sequence[str]) -> ReadActions:
    pairs = [name.rpartition("=") for name in names]
    given = [bool(separator) for _, separator, _ in pairs]
    if not any(given):
        return ReadActions(_discrete(names))
    if not all(given):
        raise ValueError(
            f"--actions are {' '.join(names)}: give all of them as NAME=NUMBER,NUMBER or none"
        )
    points = [_point(name, text) for name, _, text in pairs]
    if len({len(point) for point in points}) > 1:
        raise ValueError(f"--actions are {' '.join(names)}: give as many numbers for each")
    return ReadActions(
        _discrete([name for name, _, _ in pairs]), torch.tensor(points, dtype=torch.float64)
    )


def _discrete(names: Sequence[str]) -> DiscreteActions:
    try:
        return DiscreteActions(tuple(names))
    except ValueError as error:
        raise ValueError(f"--actions: {error}") from None


def _numbers(count: int) -> str:
    return f"{count} number{'' if count == 1 else 's'}"


def _point(name: str, text: str) -> list[float]:
    try:
        point = [float(number) for number in text.split(",")]
    except ValueError:
        point = [math.inf]
    if not all(abs(number) <= float(np.finfo(np.float32).max) for number in point):
        raise ValueError(f"--actions has {name}={text}, expected finite numbers after the '='")
    return point
