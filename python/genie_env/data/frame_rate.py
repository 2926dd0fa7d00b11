"""How far apart in time the frames of a recording are, and that those of one training agree."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from genie_env._core import EpisodeStore
from genie_env.games.doom import TICS_PER_SECOND
from genie_env.games.frames import DOOM

SAME_RATE = 0.01
"""Rates that differ by less than this share are one: of 29.97 and 30 frames per second no network
sees the difference."""


def pace(store: EpisodeStore) -> dict[str, float]:
    """What meta.json says of it: "frame_skip", tics a frame, or "frames_per_second", or neither.

    Of Doom, whose tics are of a known length, both: it can be compared with videos too.
    """
    meta = json.loads(store.meta)
    said: dict[str, float] = {
        name: float(meta[name])
        for name in ("frame_skip", "frames_per_second")
        if type(meta.get(name)) in (int, float) and meta[name] > 0
    }
    if meta.get("game") == DOOM and "frame_skip" in said:
        said["frames_per_second"] = TICS_PER_SECOND / said["frame_skip"]
    return said


def same_rate(one: float, other: float) -> bool:
    return abs(one - other) <= SAME_RATE * max(one, other)


def check_one_pace(directories: Sequence[Path], stores: Sequence[EpisodeStore]) -> None:
    """Raises ValueError, naming both, where two recordings say different things of one kind."""
    paces = [pace(store) for store in stores]
    for name, equal, remedy in (
        ("frame_skip", float.__eq__, "record it anew with the other's --frame-skip"),
        ("frames_per_second", same_rate, "bring video files to the other's --frames-per-second"),
    ):
        said = [(d, p[name]) for d, p in zip(directories, paces, strict=True) if name in p]
        for directory, value in said:
            first, expected = said[0]
            if not equal(value, expected):
                raise ValueError(
                    f"the recordings are not of one pace: {name} is {expected:g} in {first} but "
                    f"{value:g} in {directory}, and what happens from frame to frame is learned "
                    f"from all together: leave one out, or {remedy}"
                )
