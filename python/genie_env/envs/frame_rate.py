"""How fast the dreams of a world are shown."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from genie_env.envs.plugins import import_plugins

if TYPE_CHECKING:
    from genie_env._core import WorldSpec

UNKNOWN_RATE = 30.0
"""Frames per second at which dreams are shown where nothing says the game's."""

STEPS_PER_SECOND: dict[str, Callable[[], float | None]] = {}
"""By name, what every registered game says of itself."""
_GAMES = "genie_env.games.registry"
"""Registers the package's own games, as plugins register theirs: this room knows none."""


def frames_per_second(spec: WorldSpec) -> float:
    """Steps of a world that a second of play takes, at which its dreams are shown.

    The world says it, or, where its recordings did not say it yet, the game that they are of;
    UNKNOWN_RATE where neither does.
    """
    if spec.frames_per_second is not None:
        return spec.frames_per_second
    importlib.import_module(_GAMES)
    import_plugins()
    of_game = STEPS_PER_SECOND.get(spec.game, lambda: None)()
    return UNKNOWN_RATE if of_game is None else of_game / spec.frame_skip
