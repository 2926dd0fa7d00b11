"""How far apart in time the frames of a recording are, and that those of one training agree."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from genie_env._core import EpisodeStore
from genie_env.data.recording_metadata import read_meta
from genie_env.envs.frame_rate import game_rate

SAME_RATE = 0.01
"""Rates that differ by less than this share are one: of 29.97 and 30 frames per second no network
sees the difference."""


def pace(directory: Path, store: EpisodeStore) -> dict[str, float]:
    """The "frame_skip" (steps of the game a frame) and the "frames_per_second" of a recording, as
    far as its meta.json says them. Older ones did not write the frames per second of a game that
    says how long its steps are. Raises ValueError, naming meta.json, where it is damaged."""
    meta = read_meta(directory, store)
    values: dict[str, float] = {
        name: float(meta[name])
        for name in ("frame_skip", "frames_per_second")
        if type(meta.get(name)) in (int, float) and meta[name] > 0
    }
    if "frames_per_second" not in values and "frame_skip" in values:
        rate = game_rate(meta.get("game"))
        if rate is not None:
            values["frames_per_second"] = rate / values["frame_skip"]
    return values


def rate_of(directories: Sequence[Path], stores: Sequence[EpisodeStore]) -> dict[str, float]:
    """The "frames_per_second" of recordings that are of one pace, for the config of a world that
    learned from them; empty where none says it."""
    name = "frames_per_second"
    known = [known[name] for known in map(pace, directories, stores) if name in known]
    return {name: known[0]} if known else {}


def same_rate(one: float, other: float) -> bool:
    return abs(one - other) <= SAME_RATE * max(one, other)


def check_one_pace(directories: Sequence[Path], stores: Sequence[EpisodeStore]) -> None:
    """Raises ValueError, naming both, where two recordings differ in frame skip or frame rate."""
    paces = [pace(d, store) for d, store in zip(directories, stores, strict=True)]
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
