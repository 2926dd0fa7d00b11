"""The real game of a world, as its directory says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genie_env.envs.world_card import read_config
from genie_env.games.base import FrameSize, Game, Score
from genie_env.games.registry import (
    find_game,
    game_as_recorded,
    is_known,
    registered_game,
    registered_games,
)

if TYPE_CHECKING:
    from genie_env._core import WorldSpec


def real_game(world: Path, name: str | None = None) -> Game:
    """The game that a world directory was learned from, or the one that the user names in its place,
    at the world's frame skip and with frames as it reads them. Raises ValueError where there is none.

    Gymnasium would import the module of "module:Name-v0"; a world that somebody sent must not make
    anything run, so the game that it names itself has to be registered before.
    """
    config, given = read_config(world), name is not None
    if name is None:
        name = _named_game(world / "config.json", config)
    frame_skip = config.get("frame_skip")
    if type(frame_skip) is not int or frame_skip < 1:
        raise ValueError(
            f'{world / "config.json"}: "frame_skip" is {frame_skip!r}; expected 1 or more'
        )
    found = find_game(name, frame_skip=frame_skip)
    own = registered_game(found.name) is not None
    recorded = _recorded(config, found.name)
    try:
        if own and given:
            return _as_recorded(found, recorded)
        if "preprocessing" in recorded and not own:
            return game_as_recorded({**recorded, "frame_skip": frame_skip})
        game = find_game(name, frame_skip=frame_skip, frame_size=_frame_size(config.get("frame")))
        return _as_recorded(game, recorded) if own else game
    except ValueError as error:
        raise ValueError(f"{world / 'config.json'}: {error}") from error


def _as_recorded(game: Game, recorded: Mapping[str, Any]) -> Game:
    """A game with a name of its own, with the arguments that a recording's meta.json tells of."""
    told, settings = recorded.get("env_args"), recorded.get("settings")
    if told is None and isinstance(settings, dict):
        # Where format 2 does not write them, they are the settings.
        second = recorded.get("format_version") == 2
        told = settings if second else {**game.env_args, **game.recorded_arguments(settings)}
    if not isinstance(told, dict) or told == game.env_args:
        return game
    return replace(game, env_args=told)


def _named_game(file: Path, config: Mapping[str, Any]) -> str:
    """The name of the game in a world's config.json. Raises ValueError unless it can be found without
    importing anything."""
    if "real_game" not in config:
        raise ValueError(
            f'no real game is known of this world: {file} has no "real_game", as in worlds that '
            "were learned from video, whose latent actions no game takes. Give a world that has "
            "one; genie-env worlds NAME shows the game that its agents play"
        )
    name = config["real_game"]
    if isinstance(name, str) and is_known(name):
        return name
    if (make := _recorded(config, name).get("make")) is not None:
        raise ValueError(
            f"{file}: the environment of {name!r} was made by {make!r}, which a world may not call by "
            "itself: register a game of this name in a module of yours (docs/games.md), and begin "
            "with `genie-env --import MODULE`, or import it in Python"
        )
    names = ", ".join(repr(game.name) for game in registered_games())
    module = str(name).rpartition(":")[0] or "MODULE"
    raise ValueError(
        f'{file}: "real_game" is {name!r}; expected {names}, or the id of a Gymnasium '
        "environment that is registered already (a world imports no module): where a module "
        f"registers it, begin with `genie-env --import {module}`, or import it in Python"
    )


def _recorded(config: Mapping[str, Any], name: object) -> Mapping[str, Any]:
    """The meta.json of a recording that the world, or its heads, learned from, of the game of this
    name; empty where there is none."""
    found = config.get("training")
    training = found if isinstance(found, dict) else {}
    data = training.get("data")
    groups = [*(data.values() if isinstance(data, dict) else [data])]  # by network, or of all
    groups.append(training.get("labelled"))
    metas = [each for group in groups if isinstance(group, list) for each in group]
    known = (each for each in metas if isinstance(each, dict) and each.get("game") == name)
    return next(known, {})


def _frame_size(frame: object) -> FrameSize | None:
    """A world's, so that a Gymnasium environment shows its agents frames of the size that the world
    reads. What is malformed is refused where the world is loaded."""
    if not isinstance(frame, dict):
        return None
    height, width = frame.get("height"), frame.get("width")
    return (height, width) if isinstance(height, int) and isinstance(width, int) else None


def score_of(world: Path) -> Score:
    """The name and unit of a world's scores, as its real game says; "score", in points, where the
    world names no game that is known here."""
    try:
        return real_game(world).score
    except ValueError:
        return Score()


def axes_of(world: Path) -> tuple[str, ...]:
    """What the numbers of a world's continuous actions are, as its real game says; empty where it does
    not, or the world names no game that is known here."""
    try:
        return real_game(world).axes
    except ValueError:
        return ()


def check_sees(spec: WorldSpec, game: Game) -> None:
    """Raises ValueError where an agent cannot see a real game through this world."""
    shape = (*game.frame_size, 3)
    if spec.frame is None or tuple(spec.frame.shape) != shape:
        shows = "no pictures" if spec.frame is None else f"frames of {tuple(spec.frame.shape)}"
        raise ValueError(
            f"the world {spec.name} has {shows}, but agents see {game.name} through "
            f"their world, in frames of {shape}: give a world of these frames"
        )
