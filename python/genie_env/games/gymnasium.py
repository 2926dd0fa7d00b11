"""Any Gymnasium environment with pictures, as a game."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import gymnasium
import numpy as np
from numpy.typing import NDArray

from genie_env.envs.actions import Actions, DiscreteActions, Taken
from genie_env.envs.plugins import import_function
from genie_env.games.base import FrameSize, Game
from genie_env.games.env_actions import rounded_actions
from genie_env.games.frames import Preprocessing
from genie_env.games.one_picture import OnePicture
from genie_env.games.recorded_env import RecordedEnv, is_image, is_picture

FrameSource = Literal["observation", "render"]
DEFAULT_SIZE: FrameSize = (64, 64)


@dataclass(frozen=True)
class _Facts:
    """Properties of an environment that are known once it is made."""

    actions: Actions
    flattened: dict[str, Any] | None
    frame_size: FrameSize
    source: FrameSource
    frames_per_second: float | None
    max_steps: int | None
    notices: tuple[str, ...]


@dataclass(frozen=True)
class GymnasiumGame(Game):
    """A Gymnasium id ("CartPole-v1", "my_module:Mine-v0"); `env_args` are those of gymnasium.make.

    Frames are the observations where those are colour images (uint8 [H, W, 3]), else what the
    environment renders, or, where it renders nothing, observations that are other pictures (see
    `recorded_env.is_picture`). Its actions are called as the environment says, or else by their numbers.
    """

    preprocessing: Preprocessing = field(default_factory=lambda: Preprocessing(resize=DEFAULT_SIZE))
    """What is done to its pictures, here and wherever it is played."""
    frames: FrameSource | None = None
    """Where pictures come from, whatever the observation; None as described above."""
    make_function: str | None = None
    """A "module:function" that gives the environment in place of gymnasium.make; `env_args` are its
    keywords."""
    picture: str | None = None
    """The entry that is the picture, where observations are dictionaries."""

    @property
    def actions(self) -> Actions:
        return self._facts.actions

    @property
    def frame_size(self) -> FrameSize:
        return self.preprocessing.resize or self._facts.frame_size

    @property
    def frames_per_second(self) -> float | None:
        return self._facts.frames_per_second

    @property
    def max_steps(self) -> int | None:
        return self._facts.max_steps

    @property
    def notices(self) -> tuple[str, ...]:
        return self._facts.notices

    def make(self) -> gymnasium.Env[NDArray[np.uint8], Any]:
        env, source = self._make()
        return RecordedEnv(
            env,
            self.frame_skip,
            self.frame_size,
            preprocessing=self.preprocessing,
            rendered=source == "render",
        )

    def describe(self) -> dict[str, Any]:
        flattened = self._facts.flattened
        picture = {} if self.picture is None else {"picture": self.picture}
        return {
            **super().describe(),
            **({} if self.make_function is None else {"make": self.make_function}),
            "preprocessing": {
                "from": self._facts.source,
                **picture,
                **self.preprocessing.as_json(),
            },
            **({} if flattened is None else {"flattened_actions": flattened}),
        }

    @cached_property
    def _facts(self) -> _Facts:
        # An environment has to be made to be asked; the answers travel to the workers. A first step
        # shows what else it gives, before anything is recorded.
        made, source = self._make()
        try:
            env = RecordedEnv(made, 1, None, rendered=source == "render")
            frame, _ = env.reset(seed=0)
            env.step(_some_action(env.actions)[0])
            spec, rate = env.spec, env.metadata.get("render_fps")
            if not isinstance(rate, (int, float)) or not 0 < rate < float("inf"):
                rate = None
            notices = ["actions of float64 are recorded as float32"] * rounded_actions(made)
            own = {} if spec is None else {**spec.kwargs, **self.env_args}
            if self.frame_skip > 1 and own.get("frameskip", 1) != 1:
                notices.append(
                    f"{self.name} holds an action itself for {own['frameskip']} of its frames, and "
                    f"--frame-skip {self.frame_skip} for as many of its steps: with --env-args "
                    "'{\"frameskip\": 1}' --frame-skip alone decides"
                )
            return _Facts(
                env.actions,
                env.flattened,
                self.preprocessing.size_of(frame.shape[:2]),
                source,
                None if rate is None else float(rate),
                None if spec is None else spec.max_episode_steps,
                tuple(notices),
            )
        finally:
            made.close()

    def _make(self) -> tuple[gymnasium.Env[Any, Any], FrameSource]:
        """The environment, and where its pictures come from."""
        env = self._plain()
        try:
            source = self._source(env)
        except ValueError:
            env.close()
            raise
        if source == "observation" or env.render_mode == "rgb_array":
            return env, source
        env.close()
        return self._plain(render_mode="rgb_array"), source

    def _source(self, env: gymnasium.Env[Any, Any]) -> FrameSource:
        """Where pictures come from. Raises ValueError where there are none."""
        space, modes = env.observation_space, env.metadata.get("render_modes") or []
        seen = is_image(space) or is_picture(space)
        made = self.make_function is not None  # then in its render mode, once and for all
        renders = env.render_mode == "rgb_array" if made else "rgb_array" in modes
        if self.frames == "observation" and not seen:
            raise ValueError(
                f"the observations of {self.name} are {space}; expected {_PICTURES}: give --frames "
                "render, or wrap them in a function for --make"
            )
        if self.frames == "render" and not renders:
            said = f"the render mode {env.render_mode!r}" if made else f"the render modes {modes}"
            where = ", given where the function of --make makes it" if made else ""
            raise ValueError(f"{self.name} has {said}; --frames render expects 'rgb_array'{where}")
        if self.frames is not None:
            return self.frames
        if renders and not is_image(space):
            return "render"
        if not seen:
            said = f"mode {env.render_mode!r}" if made else f"modes {modes}"
            raise ValueError(
                f"{self.name} has no frames: its observations are {space} and its render {said}; "
                f"expected observations that are {_PICTURES}, or the render mode 'rgb_array'"
            )
        return "observation"

    def _plain(self, **arguments: str) -> gymnasium.Env[Any, Any]:
        """The environment as Gymnasium or the user's function makes it."""
        if self.make_function is not None:
            return _made_by(self.make_function, self.env_args)
        # RecordedEnv checks what it gives: Gymnasium's own check prints warnings, of one step alone.
        env = gymnasium.make(
            self.name, **{"disable_env_checker": True, **self.env_args, **arguments}
        )
        return env if self.picture is None else OnePicture(env, self.picture)


_PICTURES = "pictures (uint8 [height, width, 3], grey ones, or floats from 0 to 1)"


def make_function(name: str) -> Callable[..., Any]:
    """The function "module:function". Raises ValueError where there is none."""
    return import_function(name, "the function that makes the game", "returns a gymnasium.Env")


def _made_by(name: str, env_args: dict[str, Any]) -> gymnasium.Env[Any, Any]:
    env = make_function(name)(**env_args)
    if not isinstance(env, gymnasium.Env):
        raise ValueError(f"{name} returned {env!r}; expected a gymnasium.Env")
    return env


def _some_action(actions: Actions) -> Taken:
    """An action in the middle, which no environment refuses: a batch of one."""
    if isinstance(actions, DiscreteActions):
        return np.array([actions.start])
    low, high = actions.bounds
    half = np.float32(0.5)
    return (half * low + half * high)[None]
