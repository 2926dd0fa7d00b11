"""How far apart in time the frames of a recording are, and that those of one training agree."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from genie_env._core import EpisodeStore
from genie_env.games.registry import registered_game

SAME_RATE = 0.01
"""Rates that differ by less than this share are one: of 29.97 and 30 frames per second no network
sees the difference."""
UNKNOWN_RATE = 30.0
"""Frames per second that videos of a dream are played at where nothing says the game's."""


def pace(store: EpisodeStore) -> dict[str, float]:
    """The "frame_skip" (steps of the game a frame) and the "frames_per_second" of a recording, as
    far as its meta.json says them."""
    return pace_of(json.loads(store.meta))


def pace_of(meta: Mapping[str, Any]) -> dict[str, float]:
    """`pace` of a recording with this meta.json. Older ones did not write the frames per second of
    a game that says how long its steps are."""
    values: dict[str, float] = {
        name: float(meta[name])
        for name in ("frame_skip", "frames_per_second")
        if type(meta.get(name)) in (int, float) and meta[name] > 0
    }
    game = registered_game(meta.get("game"))
    if "frames_per_second" not in values and "frame_skip" in values and game is not None:
        if game.frames_per_second is not None:
            values["frames_per_second"] = game.frames_per_second / values["frame_skip"]
    return values


def same_rate(one: float, other: float) -> bool:
    return abs(one - other) <= SAME_RATE * max(one, other)


def check_one_pace(directories: Sequence[Path], stores: Sequence[EpisodeStore]) -> None:
    """Raises ValueError, naming both, where two recordings differ in frame skip or frame rate."""
    paces = [pace(store) for store in stores]
    for name, equal, remedy in (
        ("frame_skip", float.__eq__, "record it again with the other's --frame-skip"),
        ("frames_per_second", same_rate, "bring video files to the other's --frames-per-second"),
    ):
        values = [(d, p[name]) for d, p in zip(directories, paces, strict=True) if name in p]
        for directory, value in values:
            first, expected = values[0]
            if not equal(value, expected):
                raise ValueError(
                    f"the recordings are not of one pace: {name} is {expected:g} in {first} but "
                    f"{value:g} in {directory}, and what happens from frame to frame is learned "
                    f"from all together: leave one out, or {remedy}"
                )


def world_frames_per_second(config: Mapping[str, Any]) -> float:
    """Frames per second of a world's dreams, from its config.json: those of its real game, or of
    the first recording that says its own; UNKNOWN_RATE where none does."""
    recorded = config.get("training", {}).get("data", [])
    if isinstance(recorded, dict):  # by network
        recorded = [meta for metas in recorded.values() for meta in metas]
    real = {"game": config.get("real_game"), "frame_skip": config.get("frame_skip")}
    rates = (pace_of(meta).get("frames_per_second") for meta in [real, *recorded])
    return next((rate for rate in rates if rate is not None), UNKNOWN_RATE)
