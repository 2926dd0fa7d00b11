"""How fast the dreams of a world are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from genie_env.envs.plugins import import_plugins

if TYPE_CHECKING:
    from genie_env._core import WorldSpec

UNKNOWN_RATE = 30.0
"""Frames per second at which dreams are shown where nothing says the game's."""

GAME_RATES: dict[str, float] = {}
"""Steps per second of every registered game whose class says it. Filled where games are registered,
so that this room needs no game."""


def game_rate(game: str | None) -> float | None:
    """Steps per second of a registered game; None where it does not say. No game is made for it."""
    import_plugins()
    return None if game is None else GAME_RATES.get(game)


def frames_per_second(spec: WorldSpec) -> float:
    """Steps of a world that a second of play takes, at which its dreams are shown.

    The world says it, or, where its recordings did not say it yet, the game that they are of;
    UNKNOWN_RATE where neither does.
    """
    if spec.frames_per_second is not None:
        return spec.frames_per_second
    of_game = game_rate(spec.game)
    return UNKNOWN_RATE if of_game is None else of_game / spec.frame_skip
