"""Small Gymnasium environments with frames; importing this registers them."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

_OF_CONNECTIONS: dict[str, type[Exception]] = {
    kind.__name__: kind for kind in (EOFError, BrokenPipeError, ConnectionResetError)
}
"""What a worker's own connection may raise as well."""


class Counter(gymnasium.Env[np.ndarray, np.int64]):
    """Frames are filled with the step's number; the action is the reward; ends after 5 to 19 steps.

    `trouble` names what goes wrong at step 3 of every episode.
    """

    metadata = {"render_modes": ["rgb_array"]}

    def __init__(self, render_mode: str | None = None, trouble: str = "", size: int = 64) -> None:
        self.render_mode = render_mode
        self.action_space = spaces.Discrete(2)
        self.observation_space: spaces.Space[Any] = spaces.Box(0, 255, (size, size, 3), np.uint8)
        self._trouble = trouble
        self._size = size
        self._step = self._last = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._step, self._last = 0, int(self.np_random.integers(5, 20))
        return self._frame(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._step += 1
        if self._step == 3:
            self._make_trouble()
        return self._frame(), float(action), self._step == self._last, False, {}

    def _frame(self) -> np.ndarray:
        return np.full((self._size, self._size, 3), self._step, np.uint8)

    def _make_trouble(self) -> None:
        if self._trouble == "raise":
            raise LookupError("the level has no floor")
        if self._trouble in _OF_CONNECTIONS:
            raise _OF_CONNECTIONS[self._trouble]("the game's own server is gone")
        if self._trouble == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if self._trouble == "torch" and "torch" in sys.modules:
            raise AssertionError("this worker has imported torch")


class Rendered(Counter):
    """The same, but its observations are numbers and its frames are rendered, 32x48."""

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(render_mode, size=0)
        self.observation_space = spaces.Box(0, 1, (2,), np.float32)

    def _frame(self) -> np.ndarray:
        return np.zeros(2, np.float32)

    def render(self) -> Any:
        return np.full((32, 48, 3), self._step, np.uint8)


class Unseen(Rendered):
    """Has no frames at all."""

    metadata = {"render_modes": ["human"]}


class Steered(Counter):
    """Its actions are not numbered."""

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        self.action_space = spaces.Box(-1, 1, (1,))  # type: ignore[assignment]


for game in (Counter, Rendered, Unseen, Steered):
    gymnasium.register(f"{game.__name__}-v0", game)
