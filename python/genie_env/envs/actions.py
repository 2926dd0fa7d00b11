"""What the actions of a game or a world are: numbered ones, or points of a box.

As Gymnasium's Discrete and Box, and as the JSON object "actions" of meta.json and config.json.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from genie_env._core import ActionSpec

MOST_ACTIONS = 1024
"""That a game may have, or numbers of one action: kMaxActions of core/limits.h, which is not asked as
workers that play games do without the compiled part."""

Taken = NDArray[np.int64] | NDArray[np.float32]
"""Actions of N steps: int64 [N] of Discrete, float32 [N, *shape] of Box."""


@dataclass(frozen=True)
class DiscreteActions:
    """Numbered actions: Discrete(len(meanings), start=start)."""

    meanings: tuple[str, ...]
    """What each action means, in order."""
    start: int = 0
    """The number of the first."""

    def __post_init__(self) -> None:
        if not 1 <= len(self.meanings) <= MOST_ACTIONS:
            raise ValueError(
                f"there are {len(self.meanings)} actions; expected 1 to {MOST_ACTIONS}"
            )

    @property
    def count(self) -> int:
        return len(self.meanings)

    @property
    def width(self) -> int:
        """Numbers that a network reads of an action."""
        return self.count

    @property
    def space(self) -> gymnasium.spaces.Discrete[np.int64]:
        return gymnasium.spaces.Discrete(self.count, start=self.start)

    def inputs(self, taken: Taken) -> NDArray[np.float32]:
        """What a network reads of actions int64 [N]: one-hot, float32 [N, width]."""
        return np.eye(self.count, dtype=np.float32)[taken - self.start]

    def draw(self, random: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.int64]:
        """Uniform actions, int64 of `shape`."""
        return self.start + random.integers(self.count, size=shape)

    def name(self, action: Any) -> str:
        """What an action means."""
        return self.meanings[int(action) - self.start]

    def examples(self) -> NDArray[np.int64]:
        """Actions that show what there is: all."""
        return np.arange(self.start, self.start + self.count)

    def as_json(self) -> dict[str, Any]:
        return {"type": "discrete", "meanings": list(self.meanings), "start": self.start}

    def __str__(self) -> str:
        start = f" from {self.start}" if self.start else ""
        return f"{self.count} actions{start} ({', '.join(self.meanings)})"


@dataclass(frozen=True)
class BoxActions:
    """Points of a bounded box: Box(low, high, shape, float32)."""

    shape: tuple[int, ...]
    low: tuple[float, ...]
    """Of each number, in row-major order."""
    high: tuple[float, ...]

    def __post_init__(self) -> None:
        for low, high in zip(self.low, self.high, strict=True):
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise ValueError(
                    f"the bounds of an action are {low} and {high}; expected finite numbers, the "
                    "second above the first: wrap the environment (gymnasium.wrappers.RescaleAction)"
                )
        if not (self.width == len(self.low) and 1 <= self.width <= MOST_ACTIONS):
            raise ValueError(
                f"an action of shape {list(self.shape)} has bounds for {len(self.low)} numbers; "
                f"expected as many as the shape says, 1 to {MOST_ACTIONS}"
            )

    @staticmethod
    def of(space: gymnasium.spaces.Box) -> BoxActions:
        """The actions of a space, its bounds rounded to float32. Raises ValueError without bounds."""
        low, high = (
            tuple(float(number) for number in bound.astype(np.float32).flat)
            for bound in (space.low, space.high)
        )
        return BoxActions(tuple(int(side) for side in space.shape), low, high)

    @property
    def width(self) -> int:
        """Numbers that a network reads of an action."""
        return math.prod(self.shape)

    @property
    def bounds(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Low and high: float32 [*shape]."""
        low, high = (np.array(bound, np.float32) for bound in (self.low, self.high))
        return low.reshape(self.shape), high.reshape(self.shape)

    @property
    def space(self) -> gymnasium.spaces.Box:
        return gymnasium.spaces.Box(*self.bounds, self.shape, np.float32)

    def inputs(self, taken: Taken) -> NDArray[np.float32]:
        """What a network reads of actions float32 [N, *shape]: scaled to -1 .. 1, float32 [N,
        width]."""
        low, high = (bound.reshape(-1) for bound in self.bounds)
        flat = np.reshape(taken, (len(taken), -1)).astype(np.float32, copy=False)
        return (flat - low) * (np.float32(2) / (high - low)) - np.float32(1)

    def draw(self, random: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Uniform actions, float32 [*shape, *self.shape]."""
        low, high = self.bounds
        share = random.random((*shape, *self.shape), dtype=np.float32)
        return np.minimum(low + share * (high - low), high)

    def name(self, action: Any) -> str:
        """An action's numbers."""
        return ", ".join(f"{number:.2g}" for number in np.ravel(action))

    def examples(self) -> NDArray[np.float32]:
        """Actions that show what there is: the middle, then every number at its least and its most
        alone, float32 [1 + 2 width, *shape]."""
        low, high = (bound.reshape(-1) for bound in self.bounds)
        shown = np.tile((low + high) / 2, (1 + 2 * self.width, 1))
        each = np.arange(self.width)
        shown[1 + 2 * each, each], shown[2 + 2 * each, each] = low, high
        return shown.reshape(-1, *self.shape).astype(np.float32, copy=False)

    def as_json(self) -> dict[str, Any]:
        return {
            "type": "box",
            "shape": list(self.shape),
            "low": list(self.low),
            "high": list(self.high),
        }

    def __str__(self) -> str:
        def one(bounds: tuple[float, ...]) -> str:
            numbers = ", ".join(f"{bound:g}" for bound in bounds)
            return f"{bounds[0]:g}" if len(set(bounds)) == 1 else f"[{numbers}]"

        return f"actions {list(self.shape)} from {one(self.low)} to {one(self.high)}"


Actions = DiscreteActions | BoxActions


def actions_of_world(spec: ActionSpec) -> Actions:
    """The actions of a loaded world."""
    if spec.shape is None:
        return DiscreteActions(tuple(spec.meanings), spec.start)
    return BoxActions(tuple(spec.shape), tuple(spec.low), tuple(spec.high))


def actions_of_json(value: Any) -> Actions:
    """Reads what `as_json` gave. Raises ValueError, which says what is wrong, for anything else."""
    kind = value.get("type") if isinstance(value, Mapping) else None
    try:
        if kind == "discrete" and _all(str, value["meanings"]) and type(value["start"]) is int:
            return DiscreteActions(tuple(value["meanings"]), value["start"])
        bounds = ("low", "high")
        if kind == "box" and _all(int, value["shape"]) and all(_all(float, value[b]) for b in bounds):
            low, high = (tuple(float(np.float32(n)) for n in value[bound]) for bound in bounds)
            return BoxActions(tuple(value["shape"]), low, high)
    except KeyError as error:
        raise ValueError(f'"actions" has no {error.args[0]!r}') from None
    raise ValueError(
        f'"actions" is {str(value)[:200]}; expected {{"type": "discrete", "meanings": [texts], '
        '"start": integer} or {{"type": "box", "shape": [integers], "low": [numbers], "high": '
        "[numbers]}"
    )


def actions_of_config(value: Any) -> Actions:
    """The actions that a world's config.json names, in any format. Raises ValueError."""
    if isinstance(value, Mapping) and "type" not in value and _all(str, value.get("meanings")):
        return DiscreteActions(tuple(value["meanings"]))
    return actions_of_json(value)


def _all(kind: type, values: Any) -> bool:
    numbers = (int, float) if kind is float else (kind,)
    return isinstance(values, list) and all(type(value) in numbers for value in values)
