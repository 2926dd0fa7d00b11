"""Any game as an environment whose observations are 64x64 frames."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from PIL import Image

from genie_env.games.doom import FRAME_SIZE, MEANINGS, SETTINGS, DoomTakeCover, doom_version

DOOM = "doom-take-cover"

# Where an episode of an environment that has no time limit is cut (truncated).
LONGEST_EPISODE = 10_000


@dataclass(frozen=True)
class Game:
    """A game by name: "doom-take-cover", or a Gymnasium id ("CartPole-v1", "my_module:Mine-v0").

    Picklable, so that every worker process makes its own.
    """

    name: str
    frame_skip: int = 1
    env_args: dict[str, Any] = field(default_factory=dict)
    """Further arguments of gymnasium.make; for Doom {"view_bob": False}, or none."""

    def make(self) -> gymnasium.Env[NDArray[np.uint8], np.int64]:
        """An environment with observations uint8 [64, 64, 3] and a Discrete action space."""
        if self.frame_skip < 1:
            raise ValueError(f"frame skip is {self.frame_skip}; expected 1 or more")
        if self.name != DOOM:
            return FrameEnv(_make_with_frames(self.name, self.env_args), self.frame_skip)
        bob = self.env_args.get("view_bob", True)
        if self.env_args.keys() - {"view_bob"} or not isinstance(bob, bool):
            raise ValueError(
                f"{DOOM} takes no environment arguments but \"view_bob\", true or false; given "
                f"{self.env_args}"
            )
        return DoomTakeCover(self.frame_skip, view_bob=bob)

    def describe(self) -> dict[str, Any]:
        """What a recording says about its game; raises where the game cannot be played."""
        if self.name == DOOM:
            settings = {**SETTINGS, **self.env_args, "vizdoom": doom_version()}
            meanings = MEANINGS
        else:
            env = self.make()
            settings = dict(self.env_args)
            meanings = [str(action) for action in range(num_actions(env))]
            env.close()
        return {
            "game": self.name,
            "settings": settings,
            "frame_skip": self.frame_skip,
            "actions": meanings,
        }


class FrameEnv(gymnasium.Wrapper[NDArray[np.uint8], np.int64, Any, Any]):
    """Shows an environment's frames, resized to uint8 [64, 64, 3], and repeats actions.

    The frames are the observations where those are colour images, else what `render()` gives. With
    `frame_skip` K an action is held for K steps, whose rewards are summed.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], frame_skip: int = 1) -> None:
        super().__init__(env)
        self.observation_space = spaces.Box(0, 255, (FRAME_SIZE, FRAME_SIZE, 3), np.uint8)
        self._frame_skip = frame_skip
        self._observes_frames = _is_image(env.observation_space)

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
        return resize(np.asarray(observation if self._observes_frames else self.env.render()))


def resize(
    picture: NDArray[np.uint8], height: int = FRAME_SIZE, width: int = FRAME_SIZE
) -> NDArray[np.uint8]:
    """uint8 [H, W, 3] to [height, width, 3], each new pixel the mean over the area it covers."""
    if picture.shape == (height, width, 3):
        return picture
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BOX))


def num_actions(env: gymnasium.Env[Any, Any]) -> int:
    """How many actions a game has, numbered from 0."""
    space = env.action_space
    if not isinstance(space, spaces.Discrete) or space.start != 0:
        raise ValueError(
            f"the actions of this environment are {space}; "
            "expected Discrete(n): recordings hold numbered actions"
        )
    return int(space.n)


def _make_with_frames(name: str, env_args: dict[str, Any]) -> gymnasium.Env[Any, Any]:
    try:
        env = gymnasium.make(name, **env_args)
    except gymnasium.error.UnregisteredEnv as error:
        raise ValueError(
            f"unknown game {name!r} ({error}); expected {DOOM!r} or the id of a registered "
            "Gymnasium environment, with its module where that registers it ('module:Name-v0')"
        ) from error
    if _is_image(env.observation_space):
        return env
    modes = env.metadata.get("render_modes", [])
    space = env.observation_space
    env.close()
    if "rgb_array" not in modes:
        raise ValueError(
            f"{name} has no frames: its observations are {space} and its render modes {modes}; "
            "expected uint8 observations [height, width, 3] or the render mode 'rgb_array'"
        )
    return gymnasium.make(name, **{**env_args, "render_mode": "rgb_array"})


def _is_image(space: gymnasium.Space[Any]) -> bool:
    return (
        isinstance(space, spaces.Box)
        and space.dtype == np.uint8
        and len(space.shape) == 3
        and space.shape[2] == 3
    )
