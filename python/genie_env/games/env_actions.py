"""The actions of a Gymnasium environment: which spaces are taken, what actions mean, and the check of
every action that is played."""

from __future__ import annotations

import enum
import operator
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from genie_env.envs.actions import MOST_ACTIONS, Actions, BoxActions, DiscreteActions
from genie_env.games.flatten_actions import FlattenActions

BOX_ROUNDING = 1e-6
"""How far a number of an action may lie outside of its bounds, as a share of the larger of them:
float32 rounds. Episode stores allow as much."""


def flattened(env: gymnasium.Env[Any, Any]) -> gymnasium.Env[Any, Any]:
    """The environment with numbered actions where it offers several choices at once; as it is where
    it does not. Raises ValueError where there are too many combinations."""
    several = isinstance(env.action_space, spaces.MultiDiscrete | spaces.MultiBinary)
    return FlattenActions(env) if several else env


def actions_of(env: gymnasium.Env[Any, Any]) -> Actions:
    """The actions of an environment. Raises ValueError, naming its space, for others than numbered
    ones and points of a bounded box."""
    space = env.action_space
    if isinstance(env, FlattenActions):
        return env.actions
    try:
        actions = actions_of_space(space)
    except ValueError as error:
        raise ValueError(f"the actions of this environment are {space}: {error}") from None
    if actions is None:
        expected = (
            f"Discrete spaces of at most {MOST_ACTIONS:,} actions"
            if isinstance(space, spaces.Discrete)
            else "Discrete, a bounded Box of float32 or float64, MultiDiscrete or MultiBinary"
        )
        raise ValueError(
            f"the actions of this environment are {space}; expected {expected}: wrap it, in a "
            "function for `genie-env record --make`"
        )
    if isinstance(actions, DiscreteActions) and (names := _meanings(env, actions.count)):
        return replace(actions, meanings=names)
    return actions


def actions_of_space(space: gymnasium.Space[Any]) -> Actions | None:
    """Numbered actions, called by their numbers, or points of a box; None of any other space. Raises
    ValueError for a box without bounds."""
    if isinstance(space, spaces.Discrete) and int(space.n) <= MOST_ACTIONS:
        start = int(space.start)
        return DiscreteActions(tuple(str(start + action) for action in range(int(space.n))), start)
    if isinstance(space, spaces.Box) and space.dtype in (np.float32, np.float64) and space.shape:
        return BoxActions.of(space)
    return None


def rounded_actions(env: gymnasium.Env[Any, Any]) -> bool:
    """Whether the environment takes numbers of float64, which are recorded as float32."""
    return env.unwrapped.action_space.dtype == np.float64 or env.action_space.dtype == np.float64


def checked_action(actions: Actions, action: Any) -> Any:
    """An action as it is recorded and played: an int, or float32 of the box's shape, within its
    bounds. Raises gymnasium.error.InvalidAction for any other; only what float32 rounds is
    corrected."""
    if isinstance(actions, DiscreteActions):
        try:
            number = operator.index(action)
        except TypeError:
            number = actions.start - 1
        if not 0 <= number - actions.start < actions.count:
            last = actions.start + actions.count - 1
            raise gymnasium.error.InvalidAction(
                f"action is {action!r}; expected a whole number from {actions.start} to {last}"
            )
        return number
    try:
        point = np.asarray(action, np.float32)
    except (TypeError, ValueError):
        point = np.zeros(0, np.float32)
    if point.shape != actions.shape:
        raise gymnasium.error.InvalidAction(
            f"action is {action!r}; expected numbers of shape {list(actions.shape)}"
        )
    inside = within_bounds(actions, point)
    if inside is None:
        raise gymnasium.error.InvalidAction(
            f"action is {point.tolist()}; expected {actions}: bring it into the bounds yourself"
        )
    return inside


def within_bounds(actions: BoxActions, points: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """Points [..., *shape] within the bounds, where only what float32 rounds is corrected; None where
    one lies outside."""
    low, high = actions.bounds
    slack = BOX_ROUNDING * np.maximum(abs(low), abs(high))
    # Not a number is neither above nor below.
    inside = (points >= low - slack) & (points <= high + slack)
    return points.clip(low, high) if inside.all() else None


def _meanings(env: gymnasium.Env[Any, Any], count: int) -> tuple[str, ...] | None:
    """What the environment itself calls its actions; None where it does not say, or where a wrapper
    may have given them other numbers."""
    layer = env
    while isinstance(layer, gymnasium.Wrapper):
        if isinstance(layer, gymnasium.ActionWrapper):
            return None
        layer = layer.env
    if layer.action_space != env.action_space:
        return None
    names: list[Any] = []
    if callable(ask := getattr(layer, "get_action_meanings", None)):  # of Atari games
        names = list(ask())
    elif isinstance(members := getattr(layer, "actions", None), enum.EnumMeta):  # of MiniGrid
        numbered: list[enum.Enum] = list(members)
        if [member.value for member in numbered] == list(range(count)):
            names = [member.name for member in numbered]
    known = len(names) == count and all(isinstance(name, str) for name in names)
    return tuple(names) if known else None
