"""Several numbered choices at once as one: MultiDiscrete and MultiBinary as Discrete."""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from genie_env.envs.actions import MOST_ACTIONS, DiscreteActions


def choices(space: gymnasium.Space[Any]) -> list[tuple[int, int]] | None:
    """The first number and the count of every choice, in order; None for other spaces. Raises
    ValueError where there are too many actions in all."""
    if isinstance(space, spaces.MultiBinary):
        found = [(0, 2)] * int(np.prod(space.shape))
    elif isinstance(space, spaces.MultiDiscrete):
        starts, counts = (np.ravel(each).tolist() for each in (space.start, space.nvec))
        found = list(zip(starts, counts, strict=True))
    else:
        return None
    product = math.prod(count for _, count in found)
    if product > MOST_ACTIONS:
        raise ValueError(
            f"the actions are {space}: {product:,} in all, expected at most {MOST_ACTIONS:,}; "
            "wrap the environment so that it takes fewer (gymnasium.wrappers.TransformAction)"
        )
    return found


class FlattenActions(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Action i is choice number i in row-major order: the last choice changes fastest."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        found = choices(env.action_space)
        assert found is not None
        self._starts = np.array([start for start, _ in found])
        self._counts = tuple(count for _, count in found)
        self._space = env.action_space
        self.action_space = spaces.Discrete(math.prod(self._counts))

    def step(self, action: Any) -> Any:
        return self.env.step(self.unflattened(int(action)))

    def unflattened(self, action: int) -> Any:
        """The action of the environment itself."""
        chosen = self._starts + np.array(np.unravel_index(action, self._counts))
        return chosen.reshape(self._space.shape).astype(self._space.dtype)

    def meanings(self) -> DiscreteActions:
        """Every action's choices, as numbers."""
        return DiscreteActions(
            tuple(
                " ".join(map(str, np.ravel(self.unflattened(action)).tolist()))
                for action in range(int(self.action_space.n))
            )
        )
