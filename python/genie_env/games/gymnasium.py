"""Any Gymnasium environment with pictures, as a game."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from genie_env.envs.actions import Actions, BoxActions, DiscreteActions
from genie_env.envs.plugins import import_module
from genie_env.games.base import FrameSize, Game
from genie_env.games.flatten_actions import FlattenActions, choices
from genie_env.games.frames import Frames
from genie_env.games.real_env import RealEnv, is_image, is_picture


@dataclass(frozen=True)
class _Facts:
    """Properties of an environment that are known once it is made."""

    actions: Actions
    frame_size: FrameSize
    frames_per_second: float | None
    notices: tuple[str, ...]


@dataclass(frozen=True)
class GymnasiumGame(Game):
    """A Gymnasium id ("CartPole-v1", "my_module:Mine-v0"), or a function that makes an environment
    ("my_module:make_env"); `env_args` are the arguments of gymnasium.make, or the function's.

    Discrete actions are as they are; several at once (MultiDiscrete, MultiBinary) are numbered in
    one row; Box must be bounded.
    """

    frames: Frames = Frames()

    @property
    def actions(self) -> Actions:
        return self._facts.actions

    @property
    def frame_size(self) -> FrameSize:
        return self._facts.frame_size

    @property
    def frames_per_second(self) -> float | None:
        return self._facts.frames_per_second

    @property
    def notices(self) -> tuple[str, ...]:
        return self._facts.notices

    def make(self) -> gymnasium.Env[NDArray[np.uint8], Any]:
        return RealEnv(self._make(), self.frame_skip, self.frames, shown=self.frame_size)

    def describe(self) -> dict[str, Any]:
        env = self._make()
        found = choices(env.unwrapped.action_space)
        env.close()
        flattened = {} if found is None else {"flattened_actions": [list(each) for each in found]}
        return {**super().describe(), "frames": self.frames.as_json(), **flattened}

    @cached_property
    def _facts(self) -> _Facts:
        # An environment has to be made to be asked; the answers travel to the workers. A first step
        # shows what else it gives, before anything is recorded.
        env = RealEnv(self._checked(self._make()), 1, self.frames)
        try:
            actions, notices = _actions(self.name, env)
            frame, _ = env.reset(seed=0)
            env.step(actions.examples()[0])
            rate = env.metadata.get("render_fps")
            if not isinstance(rate, (int, float)) or not 0 < rate < float("inf"):
                rate = None
            height, width, _ = frame.shape
            rate = None if rate is None else float(rate)
            return _Facts(actions, (height, width), rate, notices)
        finally:
            env.close()

    def _checked(self, env: gymnasium.Env[Any, Any]) -> gymnasium.Env[Any, Any]:
        space = env.action_space
        if isinstance(space, spaces.Box):
            try:
                if np.dtype(space.dtype).kind != "f":
                    raise ValueError(f"its numbers are {space.dtype}")
                BoxActions.of(space)
            except ValueError as error:
                env.close()
                raise ValueError(
                    f"the actions of {self.name} are {space}, expected a bounded box of floats: "
                    f"{error}"
                ) from None
        elif not isinstance(space, spaces.Discrete):
            env.close()
            raise ValueError(
                f"the actions of this environment are {space} ({self.name}); expected Discrete, "
                "MultiDiscrete, MultiBinary or a bounded Box: wrap the environment"
            )
        return env

    def _make(self) -> gymnasium.Env[Any, Any]:
        env = self._pictured()
        try:
            return env if choices(env.action_space) is None else FlattenActions(env)
        except ValueError as error:
            env.close()
            raise ValueError(f"{self.name}: {error}") from None

    def _pictured(self) -> gymnasium.Env[Any, Any]:
        """The environment, rendering where its frames are what it renders."""
        source = self.frames.source
        make: Callable[..., gymnasium.Env[Any, Any]] | None = find_function(self.name)
        args = dict(self.env_args)
        if make is None:
            # RealEnv checks what it gives: Gymnasium's own check prints warnings, of one step alone.
            args = {"disable_env_checker": True, **args}
            make = _registered(self.name)
        env = make(**args)
        if not isinstance(env, gymnasium.Env):
            raise ValueError(
                f"{self.name} gave {type(env).__name__}, expected a gymnasium.Env: return one"
            )
        space, modes = env.observation_space, env.metadata.get("render_modes", [])
        image, picture = is_image(space), is_image(space) or is_picture(space)
        rendered = source == "render" or (
            source == "auto" and not image and ("rgb_array" in modes or env.render_mode)
        )
        if (source == "observation" or not rendered) and picture:
            return env
        if rendered and env.render_mode == "rgb_array":
            return env
        env.close()
        if source == "observation" or not rendered or "rgb_array" not in modes:
            raise ValueError(
                f"{self.name} has no frames: its observations are {space} and its render modes "
                f"{modes}; expected observations that are pictures (uint8 [height, width, 3], grey "
                "ones, or floats from 0 to 1), or the render mode 'rgb_array'"
            )
        if find_function(self.name) is not None and not _takes(make, "render_mode"):
            raise ValueError(
                f"{self.name} makes an environment whose render mode is {env.render_mode!r}; "
                "expected 'rgb_array', or a function that takes render_mode"
            )
        return make(**{**args, "render_mode": "rgb_array"})


def _registered(name: str) -> Callable[..., gymnasium.Env[Any, Any]]:
    return lambda **args: gymnasium.make(name, **args)


def _takes(function: Callable[..., Any], name: str) -> bool:
    parameters = inspect.signature(function).parameters.values()
    return any(p.name == name or p.kind is p.VAR_KEYWORD for p in parameters)


def find_function(name: str) -> Callable[..., Any] | None:
    """The function "module:function", whose module is imported; None where there is none of this
    name, or it is a registered id."""
    module, _, function = name.rpartition(":")
    if not module or function in gymnasium.registry:
        return None
    import_module(module)
    found = getattr(sys.modules[module], function, None)
    return found if callable(found) else None


def _actions(name: str, env: gymnasium.Env[Any, Any]) -> tuple[Actions, tuple[str, ...]]:
    """What the actions are, and what a user should know of it."""
    space = env.get_wrapper_attr("env").action_space
    if isinstance(space, spaces.Box):
        actions = BoxActions.of(space)
        narrowed = space.dtype != np.float32
        notice = (f"{name}'s actions are {space.dtype}; they are recorded as float32",)
        return actions, notice if narrowed else ()
    flat = env.get_wrapper_attr("env")
    if isinstance(flat, FlattenActions):
        return flat.meanings(), ()
    count, start = int(space.n), int(space.start)
    try:
        return DiscreteActions(_meanings(env, count, start), start), ()
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _meanings(env: gymnasium.Env[Any, Any], count: int, start: int) -> tuple[str, ...]:
    """The names that the game has for its actions (ALE's, MiniGrid's), or else their numbers."""
    game = env.unwrapped
    asked = getattr(game, "get_action_meanings", None)
    if callable(asked):
        names = [str(name) for name in asked()]
    else:
        names = [getattr(each, "name", "") for each in _members(getattr(game, "actions", None))]
    if len(names) == count and len(set(names)) == count and all(names):
        return tuple(names)
    return tuple(str(start + action) for action in range(count))


def _members(kind: Any) -> list[Any]:
    """Of an enumeration of actions, in order of their numbers."""
    members = getattr(kind, "__members__", None)
    if not members:
        return []
    return sorted(members.values(), key=lambda member: int(member.value))
