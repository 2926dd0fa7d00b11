"""The games that have a name of their own, and how any game is found."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import gymnasium

from genie_env.envs.frame_rate import GAME_RATES
from genie_env.envs.plugins import import_module
from genie_env.games.base import Game
from genie_env.games.doom import DoomGame
from genie_env.games.frames import Frames, FrameSize
from genie_env.games.gymnasium import GymnasiumGame, find_function

MakeGame = Callable[[str, int, dict[str, Any]], Game]
"""Makes a game of its name, its frame skip and the arguments of its environment."""

_GAMES: dict[str, MakeGame] = {}


def register_game(name: str, make: MakeGame) -> None:
    """Adds a game under a name of its own; `make` is usually the class.

    Where `make.frames_per_second` is a number, worlds of the game are shown at that rate: nothing is
    made to ask for it.

    Raises ValueError where the name is taken by another game. A command finds the game as
    "module:name", and imports the module, which registers it.
    """
    if not name or ":" in name:
        raise ValueError(f"a game's name is {name!r}; expected a name without a colon")
    if _GAMES.get(name, make) is not make:
        raise ValueError(f"a game called {name!r} is registered already: give another name")
    _GAMES[name] = make
    rate = getattr(make, "frames_per_second", None)
    if isinstance(rate, int | float):
        GAME_RATES[name] = float(rate)


register_game("doom-take-cover", DoomGame)


def registered_games() -> list[Game]:
    """Every game with a name of its own, at frame skip 1, in the order of their registration."""
    return [make(name, 1, {}) for name, make in _GAMES.items()]


def default_game() -> Game:
    """The game that is played where a command names none."""
    return registered_games()[0]


def is_known(name: str) -> bool:
    """Whether a game can be found without importing any module."""
    module, _, bare = name.rpartition(":")
    if module and module not in sys.modules:
        return False
    function = module and callable(getattr(sys.modules[module], bare, None))
    return bare in _GAMES or bare in gymnasium.registry or bool(function)


def registered_game(name: object, frame_skip: int = 1) -> Game | None:
    """A game with a name of its own; None for any other name. Imports nothing."""
    make = _GAMES.get(name) if isinstance(name, str) else None
    return None if make is None else make(str(name), frame_skip, {})


def find_game(
    name: str,
    *,
    frame_skip: int = 1,
    env_args: dict[str, Any] | None = None,
    frame_size: FrameSize | Literal["native"] | None = None,
    frames: Frames | None = None,
) -> Game:
    """A registered game, a Gymnasium environment by its id, or one that a function makes
    ("module:function"); "module:name" imports the module.

    `frames`: how a Gymnasium environment's pictures become frames. `frame_size`: of these, in place
    of what they say; "native" keeps their own. Raises ValueError for an unknown name, and for other
    frames than a registered game has.
    """
    module, _, bare = name.rpartition(":")
    if module:
        try:
            import_module(module)
        except ValueError as error:
            raise ValueError(f"unknown game {name!r}: {error}") from error
    arguments = env_args or {}
    if bare in _GAMES:
        game = _GAMES[bare](bare, frame_skip, arguments)
        if frame_size not in (None, "native", game.frame_size):
            height, width = game.frame_size
            raise ValueError(
                f"the frame size is {_words(frame_size)}, but the frames of {bare} are {height} x "
                f"{width}: leave the size out"
            )
        if frames not in (None, Frames()):
            raise ValueError(
                f"{bare} makes its frames itself: leave out where they come from, and how they are "
                "cut and padded"
            )
        return game
    if not (module and find_function(name)):
        _check_registered(name, bare)
    frames = frames or Frames()
    if frame_size is not None:
        frames = replace(frames, size=None if frame_size == "native" else frame_size)
    return GymnasiumGame(name, frame_skip, arguments, frames)


def _check_registered(name: str, bare: str) -> None:
    try:
        gymnasium.spec(bare)
    except gymnasium.error.UnregisteredEnv as error:
        raise ValueError(
            f"unknown game {name!r} ({error}); expected {', '.join(map(repr, _GAMES))} or the id "
            "of a registered Gymnasium environment, with its module where that registers it "
            "('module:Name-v0')"
        ) from error
    except gymnasium.error.Error:
        pass  # an id without its version, which making the environment resolves


def _words(size: FrameSize | str | None) -> str:
    return f"{size[0]} x {size[1]}" if isinstance(size, tuple) else str(size)
