"""Several choices at once as one numbered action: MultiDiscrete and MultiBinary spaces."""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from genie_env.envs.actions import MOST_ACTIONS, DiscreteActions


class FlattenActions(gymnasium.ActionWrapper[Any, np.int64, NDArray[Any]]):
    """Numbers the combinations of an environment's choices; the last choice changes fastest.

    Of MultiDiscrete([3, 2]), action 0 is [0, 0], 1 is [0, 1], 2 is [1, 0] and 5 is [2, 1].
    """

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        """Raises ValueError where there are more combinations than a game may have actions."""
        super().__init__(env)
        space = env.action_space
        assert isinstance(space, spaces.MultiDiscrete | spaces.MultiBinary)
        self._space = space
        self._counts, self._start = _counts_and_start(space)
        combinations = math.prod(self._counts)
        if combinations > MOST_ACTIONS:
            raise ValueError(
                f"the actions of this environment are {space}, which are {combinations:,} "
                f"combinations; expected at most {MOST_ACTIONS:,}: wrap it so that it offers fewer "
                "choices at a time"
            )
        self.action_space = spaces.Discrete(combinations)

    def action(self, action: Any) -> NDArray[Any]:
        chosen = np.unravel_index(int(action), self._counts)
        numbers = np.add(chosen, self._start, dtype=self._space.dtype, casting="unsafe")
        return numbers.reshape(self._space.shape)

    @property
    def actions(self) -> DiscreteActions:
        """Every action means the numbers of its choices: "2 1"."""
        combinations = range(math.prod(self._counts))
        return DiscreteActions(
            tuple(" ".join(map(str, self.action(action).flat)) for action in combinations)
        )

    def as_json(self) -> dict[str, Any]:
        """How actions were numbered, for meta.json."""
        return {
            "space": type(self._space).__name__,
            "shape": list(self._space.shape),
            "counts": list(self._counts),
            "start": list(self._start),
            "order": "the last choice changes fastest",
        }


def _counts_and_start(
    space: spaces.MultiDiscrete | spaces.MultiBinary,
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """How many options each choice has, and the number of its first."""
    if isinstance(space, spaces.MultiBinary):
        choices = math.prod(space.shape)
        return (2,) * choices, (0,) * choices
    return tuple(map(int, space.nvec.flat)), tuple(map(int, space.start.flat))
