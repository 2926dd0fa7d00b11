"""How a Gymnasium environment becomes one that is recorded: frames resized, actions repeated."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from PIL import Image

from genie_env.games.base import FrameSize


class RealEnv(gymnasium.Wrapper[NDArray[np.uint8], np.int64, Any, Any]):
    """Shows an environment's frames, resized to uint8 [height, width, 3], and repeats actions.

    The frames are the observations where those are colour images, else what `render()` gives. With
    `frame_skip` K an action is held for K steps, whose rewards are summed.
    """

    def __init__(
        self, env: gymnasium.Env[Any, Any], frame_skip: int, frame_size: FrameSize
    ) -> None:
        super().__init__(env)
        self.observation_space = spaces.Box(0, 255, (*frame_size, 3), np.uint8)
        self._frame_skip = frame_skip
        self._frame_size = frame_size

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        observation, info = self.env.reset(seed=seed, options=options)
        return self._frame(observation), info

    def step(self, action: Any) -> tuple[NDArray[np.uint8], float, bool, bool, dict[str, Any]]:
        total = 0.0
        for _ in range(self._frame_skip):
            observation, reward, terminated, truncated, info = self.env.step(action)
            total += float(reward)
            if terminated or truncated:
                break
        return self._frame(observation), total, terminated, truncated, info

    def _frame(self, observation: Any) -> NDArray[np.uint8]:
        return resize(picture_of(self.env, observation), *self._frame_size)


def picture_of(env: gymnasium.Env[Any, Any], observation: Any) -> NDArray[np.uint8]:
    """The picture that an environment shows, uint8 [H, W, 3]: its observation, or its rendering."""
    return np.asarray(observation if is_image(env.observation_space) else env.render())


def is_image(space: gymnasium.Space[Any]) -> bool:
    """Whether observations are colour images: uint8 [H, W, 3]."""
    return (
        isinstance(space, spaces.Box)
        and space.dtype == np.uint8
        and len(space.shape) == 3
        and space.shape[2] == 3
    )


def resize(picture: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """uint8 [H, W, 3] to [height, width, 3], each new pixel the mean over the area it covers."""
    if picture.shape == (height, width, 3):
        return picture
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BOX))


def on_black(picture: Image.Image) -> NDArray[np.uint8]:
    """A picture of any mode, transparent parts black: uint8 [H, W, 3]."""
    black = Image.new("RGBA", picture.size, (0, 0, 0, 255))
    return np.asarray(Image.alpha_composite(black, picture.convert("RGBA")).convert("RGB"))
