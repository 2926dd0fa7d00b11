"""Whether recordings are of a world's game."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from genie_env._core import EpisodeStore, World
from genie_env.data.recording_metadata import read_meta


def check_recordings(
    world: World, directories: Sequence[Path], stores: Sequence[EpisodeStore]
) -> None:
    """Raises ValueError where the world has no pictures, or where frames are not of its size or not as
    far apart in time."""
    spec = world.spec
    if spec.frame is None:
        raise ValueError(
            f"the world {spec.name} has no pictures, so nothing can be compared with recorded "
            "frames: give a world that has"
        )
    for directory, store in zip(directories, stores, strict=True):
        height, width = spec.frame.shape[:2]
        if (store.height, store.width) != (height, width):
            raise ValueError(
                f"{directory} holds frames of {store.height} x {store.width}, but those of the "
                f"world {spec.name} are {height} x {width}: give recordings of its game"
            )
        frame_skip = read_meta(directory, store).get("frame_skip")
        if frame_skip != spec.frame_skip:
            raise ValueError(
                f'{directory / "meta.json"}: "frame_skip" is {frame_skip!r}, but a step of the '
                f"world {spec.name} stands for {spec.frame_skip}: give recordings made with "
                f"`genie-env record --frame-skip {spec.frame_skip}`"
            )
