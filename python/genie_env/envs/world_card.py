"""What a world directory says about itself, read without loading the world. Needs no torch."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genie_env.envs.actions import Actions, actions_of_config
from genie_env.envs.json_files import Schema, read_json
from genie_env.envs.registry import environment_id, find_world, is_installed

_CONFIG: Schema = {
    "training?": {"data?": ([dict], {"*": [dict]})},  # by network, or for all
}
"""Of config.json, what only Python reads; the loader in C++ checks all that it uses itself."""


@dataclass(frozen=True)
class WorldCard:
    """The facts by which worlds are chosen. None, or empty, where the directory does not say."""

    name: str
    family: str
    game: str | None
    """The game that it was learned from, as `genie-env record` names it: the real game where there
    is one, or else the game of the first recording."""
    actions: Actions | None
    """None where the config does not say; latent actions have numbers for meanings."""
    frame: tuple[int, int] | None
    """Height and width in pixels."""
    megabytes: float
    """Size of all files together, in units of 1,000,000 bytes."""
    licence: str | None
    """The package's where the world is installed with it, and the licence and notice files in the
    world's directory."""
    real_game: str | None = None
    """The game that its agents can play (`genie-env evaluate`)."""
    reward_per_step: float | None = None
    """The reward of every step, where that is all that the world knows of rewards."""
    id: str | None = None
    """Its Gymnasium id, where it is installed."""


def read_card(world: str | Path) -> WorldCard:
    """The card of an installed world, by name, or of a world directory.

    Raises ValueError where there is no such world, or its config.json cannot be read.
    """
    directory = find_world(world)
    config = read_config(directory, {"name": str, "family": str})
    height, width = (_member(config, "frame", key, int) for key in ("height", "width"))
    return WorldCard(
        name=config["name"],
        family=config["family"],
        game=_game(config),
        actions=_actions(config),
        frame=None if height is None or width is None else (height, width),
        megabytes=sum(f.stat().st_size for f in directory.rglob("*") if f.is_file()) / 1e6,
        licence=_licence(directory),
        real_game=_member(config, "real_game", str),
        reward_per_step=_member(config, "reward_per_step", float)
        or _member(config, "reward", "per_step", float),
        id=environment_id(directory.name) if is_installed(directory) else None,
    )


def read_config(world: Path, more: Schema = {}) -> dict[str, Any]:
    """The config.json of a world directory. Raises ValueError, naming the file, where it is damaged
    or not as `more` says, or the directory is no world's."""
    file = world / "config.json"
    try:
        return read_json(file, {**_CONFIG, **more})
    except OSError as error:
        raise ValueError(f"{error}; give a world directory") from error


def _actions(config: dict[str, Any]) -> Actions | None:
    try:
        return actions_of_config(config.get("actions"))
    except ValueError:
        return None


def _game(config: dict[str, Any]) -> str | None:
    """The real game that the config names, or else the first recording's."""
    if (game := _member(config, "real_game", str)) is not None:
        return str(game)
    recordings = training_recordings(config)
    return next(filter(None, (_member(each, "game", str) for each in recordings)), None)


def training_recordings(config: dict[str, Any]) -> list[dict[str, Any]]:
    """The metadata of the recordings that a world was learned from, as its config.json keeps them."""
    kept = _member(config, "training", "data", object) or []
    by_network = list(kept.values()) if isinstance(kept, dict) else [kept]
    by_network.append(_member(config, "training", "labelled", list) or [])
    return [each for recordings in by_network for each in recordings]


def _licence(directory: Path) -> str | None:
    words = ("LICENSE", "LICENCE", "NOTICE")
    names = sorted(file.name for file in directory.iterdir() if file.is_file())
    files = " and ".join(name for name in names if any(word in name.upper() for word in words))
    if not is_installed(directory):
        return files or None
    package = importlib.metadata.metadata("genie-env")["License-Expression"]
    return f"{package}, with {files}" if files else package


def _member(config: Any, *path: Any) -> Any:
    """The value at the path of keys, whose last element is its type; None where it is not there."""
    *keys, expected = path
    for key in keys:
        if not isinstance(config, dict) or key not in config:
            return None
        config = config[key]
    return config if isinstance(config, expected) else None
