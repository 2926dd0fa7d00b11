"""Video files as training data: decoded once, into a directory of episodes.

All videos of a command become one directory, an episode a file, in the order given, so that every
20th file is held out and a thousand clips are a few open files. It is kept in the user's cache
(`XDG_CACHE_HOME`, by default `~/.cache`), and named after what is in the files, and the rate.
Beside the clips it could not be, as these are often read-only, and beside a run it would be decoded
three times: tokenizer, latent actions and dynamics have a run each and the same videos.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeRemainingColumn,
)

from genie_env._core import EpisodeStore, EpisodeWriter
from genie_env.data.datasets import HELD_OUT_EVERY, open_stores
from genie_env.data.files import sha256_of, user_cache
from genie_env.data.frame_rate import same_rate
from genie_env.data.paths import shown
from genie_env.data.progress import Progress, say, track
from genie_env.data.video_reader import Video, decode, look_through
from genie_env.envs.json_files import read_json
from genie_env.games.base import FrameSize

_META = {"videos": [{"sha256": str}]}
"""Of the meta.json of decoded videos, what tells them apart."""

Frames = NDArray[np.uint8]
FRAME_SIZE: FrameSize = (64, 64)
"""The size that the frames of videos get where no directory beside them has another one."""


def as_directories(data: Sequence[Path], frames_per_second: float | None = None) -> list[Path]:
    """The directories among `data`, and after them the one that its video files were decoded into.

    `frames_per_second` is what the videos are brought to, taking the nearest frame in time; None
    leaves them as they are. Frames get the size of those in the directories, or else FRAME_SIZE.
    Raises ValueError naming the file that is wrong, and why; whatever was decoded by then is not
    decoded again.
    """
    files = [path for path in data if path.is_file()]
    if not files:
        if frames_per_second is not None:
            raise ValueError(
                f"--frames-per-second {frames_per_second:g} is for video files, and the data is "
                "directories of recorded episodes alone: leave it out"
            )
        return list(data)
    if frames_per_second is not None and not 0 < frames_per_second < float("inf"):
        raise ValueError(f"--frames-per-second is {frames_per_second:g}; it must be above 0")
    directories = [path for path in data if not path.is_file()]
    size = _size_of(directories)
    if not directories and len(files) < HELD_OUT_EVERY:
        # `check_enough` refuses this too, but only when all is decoded.
        raise ValueError(
            f"too few video files: there are {len(files)}, each is an episode, and every "
            f"{HELD_OUT_EVERY}th is held out: give {HELD_OUT_EVERY} or more; a long one can be "
            "cut, as in `ffmpeg -i long.mp4 -c copy -f segment -segment_time 60 "
            "-reset_timestamps 1 clip%04d.mp4`"
        )
    return [*directories, _decoded(files, frames_per_second, size)]


def _size_of(directories: Sequence[Path]) -> FrameSize:
    """The size of the frames in all directories, or FRAME_SIZE without any. Raises ValueError where
    what is given beside videos would be refused after their decoding."""
    for directory in directories:
        if not directory.exists():
            raise ValueError(
                f"{directory} does not exist: give a video file or a directory of episodes"
            )
    stores = open_stores(directories) if directories else []
    return (stores[0].height, stores[0].width) if stores else FRAME_SIZE


def _decoded(files: Sequence[Path], frames_per_second: float | None, size: FrameSize) -> Path:
    places = [file.resolve() for file in files]
    if twice := [
        file for file, place in zip(files, places, strict=True) if places.count(place) > 1
    ]:
        raise ValueError(
            f"{twice[0]} is given twice, and would be trained on and held out at once: give it once"
        )
    contents = [sha256_of(file) for file in track(files, "fingerprints", transient=True)]
    directory = user_cache() / "videos" / _key(contents, frames_per_second, size)
    if (directory / "episode_starts.npy").exists():
        try:
            if EpisodeStore(directory).num_episodes == len(files):
                return directory
        except ValueError as error:
            raise ValueError(f"{error}; remove {directory}, and it is decoded again") from error
    videos = [look_through(file) for file in track(files, "looking through", transient=True)]
    meta = {
        "format_version": 1,
        "videos": [
            # The content, so that a run that is resumed sees whether it is still the same.
            {"file": shown(video.file.name), "sha256": content, **video.reading}
            for video, content in zip(videos, contents, strict=True)
        ],
        "frames_per_second": _one_rate(videos) if frames_per_second is None else frames_per_second,
        "resampled": frames_per_second is not None,
        "resize": f"{size[0]}x{size[1]}, mean over the area of each pixel",
        # Videos have none: actions.npy and rewards.npy are there for the format's sake, all 0.
        "actions": None,
    }
    _decode_into(directory, videos, size, meta)
    return directory


def _decode_into(
    directory: Path, videos: Sequence[Video], size: FrameSize, meta: dict[str, Any]
) -> None:
    """Appends every video that is not there yet."""
    rate = meta["frames_per_second"] if meta["resampled"] else None
    wanted = [np.arange(len(v)) if rate is None else v.nearest(rate) for v in videos]
    for video, frames in zip(videos, wanted, strict=True):
        if len(frames) < 2:
            raise ValueError(
                f"{video.file} is {video.times[-1]:.2f} s long, which is one frame at "
                f"--frames-per-second {rate:g}: give a higher rate, or leave it out"
            )
    elsewhere = dict(_decoded_before(directory.parent, meta))
    columns = (
        TextColumn("decoding"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("frames, {task.fields[rate]:,.0f}/s"),
        TimeRemainingColumn(),
    )
    say(f"decoding {len(videos)} videos into {directory}")
    with (
        EpisodeWriter(directory, *size, json.dumps(meta, indent=2)) as writer,
        Progress(*columns) as progress,
    ):
        task = progress.add_task("", total=sum(map(len, videos)), rate=0.0)

        def advance(frames: int = 1) -> None:
            progress.update(task, advance=frames, rate=progress.tasks[0].speed or 0.0)

        for index, video in enumerate(videos):
            if index < writer.num_episodes:
                advance(len(video))
            elif (content := _content(meta["videos"][index])) in elsewhere:
                _append(writer, _episode(*elsewhere[content]))
                advance(len(video))
            else:
                _append(writer, decode(video, wanted[index], size, advance))


def _append(writer: EpisodeWriter, frames: Frames) -> None:
    """An episode that is cut at its end: the world that it shows may go on."""
    nothing = np.zeros(len(frames), bool)
    last = np.arange(len(frames)) == len(frames) - 1
    writer.append(frames, nothing.astype(np.int64), nothing.astype(np.float32), nothing, last)


def _content(video: dict[str, str]) -> str:
    """What an episode was made of: the file's content, and what was done to its frames."""
    return json.dumps({key: video[key] for key in sorted(video) if key != "file"})


def _decoded_before(cache: Path, meta: dict[str, Any]) -> Iterator[tuple[str, tuple[Path, int]]]:
    """By content, the directory and episode of every video that was decoded at this rate: given
    among other files, or before one that could not be decoded."""
    how = ["format_version", "resampled", "resize"]
    if meta["resampled"]:
        how.append("frames_per_second")
    for file in sorted(cache.glob("*/meta.json")):
        try:
            known, whole = read_json(file, _META), EpisodeStore(file.parent).num_episodes
        except (ValueError, OSError):
            continue  # being made, or damaged: then it is decoded once more
        if all(known.get(name) == meta[name] for name in how):
            for episode, video in enumerate(known["videos"][:whole]):
                yield _content(video), (file.parent, episode)


def _episode(directory: Path, episode: int) -> Frames:
    store = EpisodeStore(directory)
    first, end = store.episode_starts[episode : episode + 2]
    return store.frames[first:end]


def _one_rate(videos: Sequence[Video]) -> float:
    """The rate of all videos. Raises ValueError where there is none."""
    first = videos[0]
    for video in videos:
        if video.rate is None:
            apart = np.diff(video.times) * 1000
            raise ValueError(
                f"{video.file} has a variable frame rate: its frames are {apart.min():.0f} to "
                f"{apart.max():.0f} ms apart; give --frames-per-second, which takes the nearest "
                "frame in time"
            )
        assert first.rate is not None
        if not same_rate(first.rate, video.rate):
            raise ValueError(
                f"the videos have different frame rates: {first.file} has {first.rate:.4g} frames "
                f"per second, {video.file} {video.rate:.4g}; give --frames-per-second, which takes "
                "the nearest frame in time"
            )
    assert first.rate is not None
    return first.rate


def _key(contents: Sequence[str], frames_per_second: float | None, size: FrameSize) -> str:
    """Differs as soon as what is in a file is changed, or files are given in another order."""
    text = json.dumps([contents, frames_per_second, size])
    return hashlib.sha256(text.encode()).hexdigest()[:16]
