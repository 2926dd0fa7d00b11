"""Small Gymnasium environments with frames; importing this registers them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

_OF_CONNECTIONS: dict[str, type[Exception]] = {
    kind.__name__: kind for kind in (EOFError, BrokenPipeError, ConnectionResetError)
}
"""What a worker's own connection may raise as well."""


def _end_helpers() -> None:
    """Tells helper processes to end, as games do that have some: a program, and a fork."""
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(os.getpid(), number)  # which is not for this process
        program = subprocess.Popen(["sleep", "20"])
        reading, writing = os.pipe()
        fork = os.fork()
        if fork == 0:
            os.write(writing, b"!")
            time.sleep(20)
            os._exit(0)
        os.read(reading, 1)  # Python drops signals that come before its fork has begun
        os.close(reading), os.close(writing)
        program.send_signal(number)
        os.kill(fork, number)
        ends = program.wait(), os.waitstatus_to_exitcode(os.waitpid(fork, 0)[1])
        if ends != (-number, -number):
            raise LookupError(f"helpers that were told to end did not: {ends}")


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
        if self._trouble == "helpers":
            _end_helpers()
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


class Odd(Counter):
    """A Counter that gives other things: `change` maps names of ODD to what the environment gives in
    that place, from step `since` on; `space` is the observation space, `rendered` what it renders."""

    def __init__(
        self,
        render_mode: str | None = None,
        *,
        space: str = "colour",
        rendered: bool = False,
        since: int = 0,
        **change: str,
    ) -> None:
        super().__init__(render_mode)
        self.observation_space = ODD_SPACES[space]
        self.metadata = {"render_modes": ["rgb_array"] * rendered}
        self._change, self._since = change, since

    def _given(self, name: str, usual: Any) -> Any:
        changed = self._step >= self._since and name in self._change
        return ODD[self._change[name]] if changed else usual

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        given = super().reset(seed=seed)
        return given[0] if "reset" in self._change else given

    def step(self, action: Any) -> Any:
        frame, reward, terminated, truncated, info = super().step(action)
        reward = self._given("reward", reward)
        terminated = self._given("terminated", terminated)
        truncated = self._given("truncated", truncated)
        if "step" in self._change:
            return frame, reward, terminated, info
        return frame, reward, terminated, truncated, info

    def _frame(self) -> Any:
        return self._given("frame", super()._frame())

    def render(self) -> Any:
        return self._given("picture", super()._frame())


def _ramp(*shape: int) -> np.ndarray:
    return (np.arange(np.prod(shape)) % 256).astype(np.uint8).reshape(shape)


RAMP = _ramp(64, 64, 3)
ODD_SPACES: dict[str, spaces.Space[Any]] = {
    "colour": spaces.Box(0, 255, (64, 64, 3), np.uint8),
    "floats": spaces.Box(0, 1, (64, 64, 3), np.float32),
    "grey": spaces.Box(0, 255, (64, 64), np.uint8),
    "grey-1": spaces.Box(0, 255, (64, 64, 1), np.uint8),
    "grey-floats": spaces.Box(0, 1, (64, 64, 1), np.float64),
    "bits": spaces.Box(0, 1, (64, 64, 3), np.uint8),
    "numbers": spaces.Box(0, 1, (2,), np.float32),
}
ODD: dict[str, Any] = {
    "ramp": RAMP,
    "int64": RAMP.astype(np.int64),
    "list": RAMP.tolist(),
    "float32": RAMP.astype(np.float32) / np.float32(255),
    "float64": RAMP / 255,
    "whole-floats": RAMP.astype(np.float64),
    "black-floats": np.zeros((64, 64, 3)),
    "bits": RAMP % 2,
    "bools": RAMP % 2 == 1,
    "not-finite": np.where(RAMP == 7, np.nan, RAMP / 255),
    "above-1": RAMP / 250,
    "negative": RAMP.astype(np.int16) - 1,
    "above-255": RAMP.astype(np.int16) + 1,
    "grey": RAMP[..., 0],
    "grey-1": RAMP[..., :1],
    "grey-floats": RAMP[..., :1] / 255,
    "opaque": np.dstack([RAMP, np.full((64, 64), 255, np.uint8)]),
    "see-through": np.dstack([RAMP, RAMP[..., 0]]),
    "channels-first": RAMP.transpose(2, 0, 1),
    "batch": RAMP[None],
    "small": RAMP[:32, :32],
    "ragged": [[1, 2], [3]],
    "objects": np.array([None]),
    "text": "1",
    "none": None,
    "nan": float("nan"),
    "infinite": np.float32("inf"),
    "huge": 1e300,
    "2": 2,
    "0.5": 0.5,
    "two": np.array([1.0, 2.0]),
    "one": np.array([2.5]),
    "scalar": np.float32(2.5),
    "integer": np.int64(2),
    "complex": 1j,
    "true": np.bool_(True),
    "ones": np.array([1]),
    "1.0": 1.0,
}

for game in (Counter, Rendered, Unseen, Steered, Odd):
    gymnasium.register(f"{game.__name__}-v0", game)
