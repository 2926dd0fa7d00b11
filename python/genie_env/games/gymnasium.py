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
from genie_env.games.real_env import RealEnv, is_image, picture_of


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
    environment renders. Its actions have numbers for meanings.
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
        return RealEnv(self._make(), self.frame_skip, self.frame_size)

    @cached_property
    def _facts(self) -> _Facts:
        # An environment has to be made to be asked; the answers travel to the workers.
        env = self._make()
        try:
            observation, _ = env.reset(seed=0)
            height, width, _ = picture_of(env, observation).shape
            rate = env.metadata.get("render_fps")
            seconds = float(rate) if isinstance(rate, (int, float)) and rate > 0 else None
            return _Facts(_num_actions(self.name, env), (height, width), seconds)
        finally:
            env.close()

    def _make(self) -> gymnasium.Env[Any, Any]:
        env = gymnasium.make(self.name, **self.env_args)
        if is_image(env.observation_space):
            return env
        modes = env.metadata.get("render_modes", [])
        space = env.observation_space
        env.close()
        if "rgb_array" not in modes:
            raise ValueError(
                f"{self.name} has no frames: its observations are {space} and its render modes "
                f"{modes}; expected uint8 observations [height, width, 3] or the render mode "
                "'rgb_array'"
            )
        return gymnasium.make(self.name, **{**self.env_args, "render_mode": "rgb_array"})


def _num_actions(name: str, env: gymnasium.Env[Any, Any]) -> int:
    space = env.action_space
    if not isinstance(space, spaces.Discrete) or space.start != 0:
        raise ValueError(
            f"the actions of this environment are {space} ({name}); expected Discrete(n): "
            "recordings hold numbered actions"
        )
    return int(space.n)
