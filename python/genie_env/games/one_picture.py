"""One picture of an environment that observes several things."""

from __future__ import annotations

from typing import Any

import gymnasium
from gymnasium import spaces


class OnePicture(gymnasium.ObservationWrapper[Any, Any, Any]):
    """Shows one entry of observations that are dictionaries."""

    def __init__(self, env: gymnasium.Env[Any, Any], picture: str) -> None:
        """Raises ValueError where there is no such entry."""
        super().__init__(env)
        space = env.observation_space
        if not isinstance(space, spaces.Dict) or picture not in space.spaces:
            raise ValueError(
                f"the observations of this environment are {space}, without {picture!r}"
            )
        self._picture = picture
        self.observation_space = space[picture]

    def observation(self, observation: Any) -> Any:
        return observation[self._picture]
