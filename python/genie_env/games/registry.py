"""The games that have a name of their own, and how any game is found."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any, Literal

import gymnasium

from genie_env.envs.frame_rate import GAME_RATES
from genie_env.envs.plugins import import_module
from genie_env.games.base import FrameSize, Game
from genie_env.games.car_racing import CarRacingGame
from genie_env.games.doom import DoomGame
from genie_env.games.frames import NO_MARGINS, Margins, Preprocessing
from genie_env.games.gymnasium import DEFAULT_SIZE, FrameSource, GymnasiumGame, make_function

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
register_game("car-racing", CarRacingGame)


def registered_games() -> list[Game]:
    """Every game with a name of its own, at frame skip 1, in the order of their registration."""
    return [make(name, 1, {}) for name, make in _GAMES.items()]


def default_game() -> Game:
    """The game that is played where a command names none."""
    return registered_games()[0]


def is_known(name: str) -> bool:
    """Whether a game can be found without importing any module."""
    module, _, bare = name.rpartition(":")
    imported = not module or module in sys.modules
    return imported and (bare in _GAMES or bare in gymnasium.registry)


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
    frames: FrameSource | None = None,
    crop: Margins = NO_MARGINS,
    pad: Margins = NO_MARGINS,
    make: str | None = None,
    picture: str | None = None,
) -> Game:
    """A registered game, or a Gymnasium environment by its id; "module:name" imports the module.

    `frame_size`: None is the game's own, or 64 x 64 for a Gymnasium id; "native" keeps the frames
    of a Gymnasium environment as they are. `frames`: where its pictures come from; `crop`, `pad`:
    what is done to them before they are resized. `make`: a "module:function" that gives the
    environment; `name` is then the name that the game is to have. `picture`: the entry that is the
    picture, where a Gymnasium environment's observations are dictionaries. Raises ValueError for an
    unknown name, and for what a registered game does not let one choose.
    """
    arguments = env_args or {}
    preprocessing = Preprocessing(
        crop, pad, None if frame_size == "native" else frame_size or DEFAULT_SIZE
    )
    if make is not None:
        if is_known(name):
            raise ValueError(
                f"{name!r} is a game of its own, and the one that {make} makes is another: give it "
                "another name"
            )
        make_function(make)
        return GymnasiumGame(name, frame_skip, arguments, preprocessing, frames, make)
    module, _, bare = name.rpartition(":")
    if module:
        try:
            import_module(module)
        except ValueError as error:
            raise ValueError(f"unknown game {name!r}: {error}") from error
    if bare in _GAMES:
        game = _GAMES[bare](bare, frame_skip, arguments)
        _check_nothing_chosen(game, frame_size, frames, crop, pad)
        return game
    try:
        gymnasium.spec(bare)
    except (gymnasium.error.UnregisteredEnv, gymnasium.error.DeprecatedEnv) as error:
        raise ValueError(
            f"unknown game {name!r} ({error}); expected {', '.join(map(repr, _GAMES))} or the id "
            "of a registered Gymnasium environment, with its module where that registers it "
            "('module:Name-v0')"
        ) from error
    except gymnasium.error.Error:
        pass  # an id without its version, which making the environment resolves
    return GymnasiumGame(name, frame_skip, arguments, preprocessing, frames, picture=picture)


def game_as_recorded(meta: Mapping[str, Any]) -> Game:
    """The game that a recording's meta.json describes, with its pictures made as they were: what
    plays it sees the frames of the recording. Imports the module that its name, or the function that
    makes it, says. Raises ValueError for an unknown game and a malformed description."""
    name, frame_skip = meta.get("game"), meta.get("frame_skip")
    make, frame, known = meta.get("make"), meta.get("frame"), meta.get("preprocessing")
    if not isinstance(name, str) or type(frame_skip) is not int:
        raise ValueError(
            f'"game" is {name!r} and "frame_skip" {frame_skip!r}; expected a text and a number, as '
            "`genie-env record` writes them"
        )
    own = registered_game(name.rpartition(":")[2]) is not None
    # Where there are none, they are the settings; but format 1 did not write those of own games.
    unwritten = own and meta.get("format_version") == 1
    env_args = meta.get("env_args", {} if unwritten else meta.get("settings", {}))
    if not isinstance(env_args, dict):
        raise ValueError(f"the arguments of the environment are {env_args!r}; expected an object")
    if known is None or own:
        size = None if own or frame is None else (frame["height"], frame["width"])
        return find_game(name, frame_skip=frame_skip, env_args=env_args, frame_size=size)
    pictures = Preprocessing.of_json(known)
    return find_game(
        name,
        frame_skip=frame_skip,
        env_args=env_args,
        frame_size=pictures.resize or "native",
        frames=_source(known.get("from")),
        crop=pictures.crop,
        pad=pictures.pad,
        make=make,
        picture=_entry(known.get("picture")),
    )


def _entry(value: Any) -> str | None:
    if not isinstance(value, str | None):
        raise ValueError(f'"picture" is {value!r}; expected a text')
    return value


def _source(value: Any) -> FrameSource | None:
    if value not in ("observation", "render", None):
        raise ValueError(f'"from" is {value!r}; expected "observation" or "render"')
    source: FrameSource | None = value
    return source


def _check_nothing_chosen(
    game: Game,
    frame_size: FrameSize | Literal["native"] | None,
    frames: FrameSource | None,
    crop: Margins,
    pad: Margins,
) -> None:
    """Raises ValueError where a registered game is asked for other frames than its own."""
    height, width = game.frame_size
    if frame_size not in (None, "native", game.frame_size):
        raise ValueError(
            f"the frame size is {_words(frame_size)}, but the frames of {game.name} are {height} x "
            f"{width}: leave the size out"
        )
    if frames is not None or crop != NO_MARGINS or pad != NO_MARGINS:
        raise ValueError(
            f"{game.name} makes its own frames, of {height} x {width}: leave out --frames, --crop "
            "and --pad, which are for Gymnasium environments"
        )


def _words(size: FrameSize | str | None) -> str:
    return f"{size[0]} x {size[1]}" if isinstance(size, tuple) else str(size)
