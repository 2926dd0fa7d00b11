"""Any Gymnasium environment with pictures and numbered actions, as a game."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from genie_env.games.base import FrameSize, Game
from genie_env.games.real_env import RealEnv, is_image, is_picture


@dataclass(frozen=True)
class _Facts:
    """Properties of an environment that are known once it is made."""

    num_actions: int
    frame_size: FrameSize
    frames_per_second: float | None


@dataclass(frozen=True)
class GymnasiumGame(Game):
    """A Gymnasium id ("CartPole-v1", "my_module:Mine-v0"); `env_args` are those of gymnasium.make.

    Frames are the observations where those are colour images (uint8 [H, W, 3]), else what the
    environment renders, or, where it renders nothing, observations that are other pictures (see
    `real_env.is_picture`). Its actions have numbers for meanings.
    """

    resized_to: FrameSize | None = (64, 64)
    """None: frames keep the environment's own size."""

    @property
    def actions(self) -> tuple[str, ...]:
        return tuple(str(action) for action in range(self._facts.num_actions))

    @property
    def frame_size(self) -> FrameSize:
        return self._facts.frame_size if self.resized_to is None else self.resized_to

    @property
    def frames_per_second(self) -> float | None:
        return self._facts.frames_per_second

    def make(self) -> gymnasium.Env[NDArray[np.uint8], np.int64]:
        resized = self.resized_to is not None
        return RealEnv(self._make(), self.frame_skip, self.frame_size, resized=resized)

    @cached_property
    def _facts(self) -> _Facts:
        # An environment has to be made to be asked; the answers travel to the workers. A first step
        # shows what else it gives, before anything is recorded.
        env = RealEnv(self._make(), 1, None)
        try:
            actions = _num_actions(self.name, env)
            frame, _ = env.reset(seed=0)
            env.step(0)
            rate = env.metadata.get("render_fps")
            if not isinstance(rate, (int, float)) or not 0 < rate < float("inf"):
                rate = None
            height, width, _ = frame.shape
            return _Facts(actions, (height, width), None if rate is None else float(rate))
        finally:
            env.close()

    def _make(self) -> gymnasium.Env[Any, Any]:
        # RealEnv checks what it gives: Gymnasium's own check prints warnings, of one step alone.
        args = {"disable_env_checker": True, **self.env_args}
        env = gymnasium.make(self.name, **args)
        space, modes = env.observation_space, env.metadata.get("render_modes", [])
        rendered = "rgb_array" in modes and not is_image(space)
        if not rendered and (is_image(space) or is_picture(space)):
            return env
        env.close()
        if not rendered:
            raise ValueError(
                f"{self.name} has no frames: its observations are {space} and its render modes "
                f"{modes}; expected observations that are pictures (uint8 [height, width, 3], grey "
                "ones, or floats from 0 to 1), or the render mode 'rgb_array'"
            )
        return gymnasium.make(self.name, **{**args, "render_mode": "rgb_array"})


def _num_actions(name: str, env: gymnasium.Env[Any, Any]) -> int:
    space = env.action_space
    if not isinstance(space, spaces.Discrete) or space.start != 0:
        raise ValueError(
            f"the actions of this environment are {space} ({name}); expected Discrete(n): "
            "recordings hold numbered actions"
        )
    return int(space.n)
