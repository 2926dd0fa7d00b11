"""Whether recordings are of a world's game, and are new to it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from genie_env._core import EpisodeStore, World
from genie_env.data.datasets import HELD_OUT_EVERY, held_out
from genie_env.data.frame_rate import pace, same_rate
from genie_env.data.progress import say
from genie_env.data.recording_metadata import (
    RecordedGame,
    has_actions,
    read_meta,
    recorded_game,
)
from genie_env.data.videos import trained_on
from genie_env.envs.actions import actions_of_world
from genie_env.envs.world_card import read_config, training_recordings
from genie_env.games.base import FrameSize


def check_recordings(
    world: World, directories: Sequence[Path], stores: Sequence[EpisodeStore]
) -> None:
    """Raises ValueError where the world has no pictures, or where frames are not of its size or not as
    far apart in time."""
    spec = world.spec
    height, width = frame_size_of(world)
    for directory, store in zip(directories, stores, strict=True):
        if (store.height, store.width) != (height, width):
            raise ValueError(
                f"{directory} holds frames of {store.height} x {store.width}, but those of the "
                f"world {spec.name} are {height} x {width}: give recordings of its game"
            )
        if not has_actions(store, directory):
            _check_rate(world, directory, store)
            continue
        frame_skip = read_meta(directory, store).get("frame_skip")
        if frame_skip != spec.frame_skip:
            raise ValueError(
                f'{directory / "meta.json"}: "frame_skip" is {frame_skip!r}, but a step of the '
                f"world {spec.name} stands for {spec.frame_skip}: give recordings made with "
                f"`genie-env record --frame-skip {spec.frame_skip}`"
            )


def check_game(
    world: World, directories: Sequence[Path], stores: Sequence[EpisodeStore]
) -> RecordedGame:
    """The one game of all recordings. Raises ValueError where it is not the world's."""
    spec, recorded = world.spec, recorded_game(directories, stores)
    if spec.game and recorded.game != spec.game:
        raise ValueError(
            f"the recordings are of {recorded.game}, but the game of the world {spec.name} is "
            f"{spec.game}: give recordings of its game"
        )
    return recorded


def recorded_actions(
    world: World, directories: Sequence[Path], stores: Sequence[EpisodeStore]
) -> list[NDArray[Any]]:
    """The recorded actions as the world takes them, [frames, ...] a store. Raises ValueError where
    they are not the world's."""
    actions, recorded = actions_of_world(world.spec.actions), recorded_game(directories, stores)
    if recorded.actions != actions:
        raise ValueError(
            f"the recordings have {recorded.actions}, the world {world.spec.name} {actions}: give "
            "recordings of its game"
        )
    return [store.actions for store in stores]


def frame_size_of(world: World) -> FrameSize:
    """Raises ValueError where the world has no pictures."""
    if world.spec.frame is None:
        raise ValueError(
            f"the world {world.spec.name} has no pictures, so nothing can be compared with recorded "
            "frames: give a world that has"
        )
    height, width = world.spec.frame.shape[:2]
    return height, width


def _check_rate(world: World, directory: Path, store: EpisodeStore) -> None:
    """Raises ValueError where the frames of a video are not as far apart in time as the world's."""
    known, rate = world.spec.frames_per_second, pace(directory, store).get("frames_per_second")
    if known is not None and rate is not None and not same_rate(known, rate):
        raise ValueError(
            f"the videos have {rate:.4g} frames per second, but the world {world.spec.name} {known:.4g}: "
            f"give --frames-per-second {known:g}, which takes the nearest frame in time"
        )


_PLAYED = ("game", "settings", "frame_skip", "seed", "policies", "agent", "explore")
"""Of a recording's metadata of any format, what decides its episodes."""


def check_new(
    world_directory: Path, directories: Sequence[Path], stores: Sequence[EpisodeStore]
) -> None:
    """Raises ValueError where a recording is one that the world was trained on, or that one's
    continuation. Says so where the world does not know its recordings."""
    trained = [_how_made(meta) for meta in training_recordings(read_config(world_directory))]
    if not trained:
        say(
            "the world does not say what it was trained on: whether the recordings are new is unknown"
        )
    for directory, store in zip(directories, stores, strict=True):
        if _how_made(read_meta(directory, store)) in trained:
            raise ValueError(
                f"the world was trained on {directory}, or on a recording that was made like it: leave "
                "out --every-episode, which takes those held out alone, or record with another --seed"
            )


def _how_made(meta: dict[str, Any]) -> dict[str, Any]:
    if "seed" in meta:  # played by `genie-env record`
        return {name: meta.get(name) for name in _PLAYED}
    return {name: value for name, value in meta.items() if name != "versions"}


def check_unseen(
    world_directory: Path, directories: Sequence[Path], stores: Sequence[EpisodeStore]
) -> None:
    """Raises ValueError where a video that is held out here is one that the world was trained on."""
    taken = [
        video["sha256"]
        for directory, store in zip(directories, stores, strict=True)
        for video, unseen in zip(
            read_meta(directory, store).get("videos") or [], held_out(store), strict=False
        )
        if unseen
    ]
    if not taken:
        return
    training = read_config(world_directory).get("training")
    data = training.get("data") if isinstance(training, dict) else None
    metas = [each for each in data if isinstance(each, dict)] if isinstance(data, list) else []
    trained = {content: name for meta in metas for content, name in trained_on(meta).items()}
    for content in taken:
        if content in trained:
            raise ValueError(
                f"the world was trained on {trained[content]}, which says nothing of what it has not "
                f"seen; every {HELD_OUT_EVERY}th video is taken here: give the videos of the training "
                "in their order, or others"
            )
