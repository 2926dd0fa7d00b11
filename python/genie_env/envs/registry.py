"""Finds world directories: those that are installed by name, all others by path."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium

import genie_env
from genie_env.envs.json_files import read_json


def installed_worlds() -> list[str]:
    """The names of the installed worlds: those that ship with the package."""
    return sorted(_installed())


def _folders() -> Iterator[Path]:
    """Where installed worlds may be: in the package, or, of an editable install, in the source tree."""
    for package in map(Path, genie_env.__path__):
        yield package / "worlds"
        if package.parent.name == "python":
            yield package.parents[1] / "worlds"


def _installed() -> dict[str, Path]:
    """The directories of the installed worlds, by name."""
    found: dict[str, Path] = {}
    for folder in _folders():
        for config in folder.glob("*/config.json"):
            found.setdefault(config.parent.name, config.parent)
    return found


def find_world(world: str | Path) -> Path:
    """The directory of a world: an installed world's name, or a path.

    A name wins over a directory of the same name here; "./NAME" is the directory. Raises ValueError
    where neither is there. What is in the directory is not looked at.
    """
    installed = _installed()
    if isinstance(world, str) and world in installed:
        return installed[world]
    if Path(world).is_dir():
        return Path(world)
    raise ValueError(
        f"unknown world '{world}': give the name of an installed world "
        f"({', '.join(sorted(installed)) or 'there is none'}), or the path of a world directory"
    )


def is_installed(directory: Path) -> bool:
    """Whether a world directory is one of the installed worlds."""
    return directory.resolve() in {each.resolve() for each in _installed().values()}


def environment_id(world: str) -> str:
    """The Gymnasium id of an installed world.

    >>> environment_id("doom-take-cover")
    'genie_env/DoomTakeCover-v0'
    """
    return f"genie_env/{_in_capitals(world)}-v0"


def real_environment_id(world: str) -> str:
    """The Gymnasium id of the real game of an installed world.

    >>> real_environment_id("car-racing")
    'genie_env/CarRacingReal-v0'
    """
    return f"genie_env/{_in_capitals(world)}Real-v0"


def _in_capitals(world: str) -> str:
    words = re.split(r"[^A-Za-z0-9]+", world)
    return "".join(word[:1].upper() + word[1:] for word in words)


def register_worlds() -> None:
    """Registers every installed world with Gymnasium, under its id, with its own limit of steps.

    `gymnasium.make` puts the limit, or the one that it is given, around an environment that has
    none; `gymnasium.make_vec` gives it to `make_vec`. Where a world names its real game, that is
    registered too; it ends its episodes itself.
    """
    for world in installed_worlds():
        config = _config(world)
        steps = config.get("max_episode_steps")
        gymnasium.register(
            id=environment_id(world),
            entry_point="genie_env:make_without_limit",
            vector_entry_point="genie_env:make_vec",
            max_episode_steps=steps if type(steps) is int and steps > 0 else None,
            kwargs={"world": world},
        )
        if "real_game" in config:
            gymnasium.register(
                id=real_environment_id(world),
                entry_point="genie_env:RealEnv",
                vector_entry_point="genie_env:RealVectorEnv",
                kwargs={"world": world},
            )


def _config(world: str) -> dict[str, Any]:
    """A world's config.json; empty where it cannot be read, which loading refuses: a damaged world
    does not keep the package from being imported."""
    try:
        return read_json(find_world(world) / "config.json")
    except (OSError, ValueError):
        return {}
