"""Finds world directories: those that ship with the package by name, all others by path."""

from __future__ import annotations

from pathlib import Path

_WORLDS = Path(__file__).parents[1] / "worlds"


def shipped_worlds() -> list[str]:
    """The names of the worlds that ship with the package."""
    return sorted(config.parent.name for config in _WORLDS.glob("*/config.json"))


def find_world(world: str | Path) -> Path:
    """The directory of a world: a shipped world's name, or a path.

    A name wins over a directory of the same name here; "./NAME" is the directory. Raises ValueError
    where neither is there. What is in the directory is not looked at.
    """
    shipped = shipped_worlds()
    if isinstance(world, str) and world in shipped:
        return _WORLDS / world
    if Path(world).is_dir():
        return Path(world)
    raise ValueError(
        f"unknown world {str(world)!r}: give the name of a shipped world "
        f"({', '.join(shipped) or 'this package ships none'}), or the path of a world directory"
    )
