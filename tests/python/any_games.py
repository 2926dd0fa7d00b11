"""Small games of every kind of action space, for `--make`: each function returns an environment.
Importing this registers one of them."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from genie_env.games.gymnasium import GymnasiumGame
from genie_env.games.registry import register_game

HEIGHT, WIDTH = 20, 30


class Played(gymnasium.Env[Any, Any]):
    """Keeps what it is given. Frame t is filled with t, its rim of two pixels white; ends after six
    steps."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}

    def __init__(self, action_space: Any, observation_space: Any, render_mode: Any = None) -> None:
        self.action_space = action_space
        self.observation_space = observation_space
        self.render_mode = render_mode
        self.taken: list[Any] = []

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.taken = []
        return self._observation(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if not self.action_space.contains(action):
            raise AssertionError(f"{action!r} is not in {self.action_space}")
        self.taken.append(action)
        return self._observation(), float(np.sum(action)), len(self.taken) == 6, False, {}

    def render(self) -> Any:
        picture = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
        picture[2:-2, 2:-2] = len(self.taken)
        return picture

    def _observation(self) -> Any:
        if isinstance(self.observation_space, spaces.Dict):
            return {"picture": self.render(), "mission": np.zeros(2, np.float32)}
        return self.render()


_PICTURE = spaces.Box(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
_DICT = spaces.Dict({"picture": _PICTURE, "mission": spaces.Box(-1, 1, (2,), np.float32)})


def numbered(start: int = -2, count: int = 4) -> Played:
    return Played(spaces.Discrete(count, start=start), _PICTURE)


def several(counts: list[int] = [3, 2, 2]) -> Played:  # noqa: B006
    return Played(spaces.MultiDiscrete(counts, start=[1] * len(counts)), _PICTURE)


def switches(count: int = 3) -> Played:
    return Played(spaces.MultiBinary(count), _PICTURE)


def steering(kind: str = "float64") -> Played:
    low, high = np.array([[-2.0, 0.0]], kind), np.array([[2.0, 0.1]], kind)
    return Played(spaces.Box(low, high, (1, 2), np.dtype(kind)), _PICTURE)


def unbounded() -> Played:
    return Played(spaces.Box(-np.inf, np.inf, (1,), np.float32), _PICTURE)


def whole_box() -> Played:
    return Played(spaces.Box(0, 3, (1,), np.int64), _PICTURE)


def texts() -> Played:
    return Played(spaces.Text(3), _PICTURE)


def dictionary(render_mode: str | None = "rgb_array") -> Played:
    return Played(spaces.Discrete(2), _DICT, render_mode)


def nothing() -> None:
    """Returns no environment."""


def registered(render_mode: str | None = None) -> Played:
    return Played(spaces.Discrete(2), _DICT, render_mode)


def steered(name: str, frame_skip: int, env_args: dict[str, Any]) -> GymnasiumGame:
    """A game of its own that a function makes, as a world of it can be played."""
    return GymnasiumGame(name, frame_skip, env_args, make_function="any_games:steering")


register_game("steered", steered)
gymnasium.register("Dictionary-v0", registered, max_episode_steps=5)
