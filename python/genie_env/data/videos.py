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
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from genie_env.data.files import sha256_of, user_cache, write_json
from genie_env.data.frame_rate import same_rate
from genie_env.data.paths import shown
from genie_env.data.progress import Progress, say, track
from genie_env.data.video_reader import Video, decode, look_through
from genie_env.envs.json_files import read_json
from genie_env.games.base import FrameSize

_META = {"videos": [{"sha256": str}]}
"""Of the meta.json of decoded videos, what tells them apart."""

SUFFIXES = frozenset(
    ".3gp .avi .flv .gif .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mts .ogv .ts .webm .wmv .y4m".split()
)
"""Of the files in a folder that are taken for videos. A file that is given itself may have any name."""

_OF_EPISODES = ("episode_starts.npy", "frames.npy")
"""What a directory of episodes holds, of which a damaged one may lack one."""

_BROKEN = "broken.json"
"""In the folder of all decoded videos, the contents of those that broke."""

Frames = NDArray[np.uint8]
FRAME_SIZE: FrameSize = (64, 64)
"""The size that the frames of videos get where no directory beside them has another one."""


def as_directories(
    data: Sequence[Path],
    frames_per_second: float | None = None,
    *,
    skip_bad: bool = False,
    frame_size: FrameSize | None = None,
) -> list[Path]:
    """The directories of episodes among `data`, and after them the one that its video files were
    decoded into; a folder of video files stands for these, in the order of their names.

    `frames_per_second` is what the videos are brought to, taking the nearest frame in time; None
    leaves them as they are. Frames get `frame_size`, or the size of those in the directories, or else
    FRAME_SIZE. With `skip_bad`, files that cannot be used are left out, and said at the end. Otherwise
    a ValueError names them all, and why: before anything is decoded where their containers tell, else
    once the other files are; those are not decoded again.
    """
    data = [file for path in data for file in _of_folder(path)]
    files = [path for path in data if path.is_file()]
    if not files:
        for option, given in (
            (f"--frames-per-second {frames_per_second}", frames_per_second is not None),
            ("--skip-bad", skip_bad),
        ):
            if given:
                raise ValueError(
                    f"{option} is for video files, and the data is directories of recorded episodes "
                    "alone: leave it out"
                )
        return list(data)
    if frames_per_second is not None and not 0 < frames_per_second < float("inf"):
        raise ValueError(f"--frames-per-second is {frames_per_second:g}; it must be above 0")
    directories = [path for path in data if not path.is_file()]
    size = _size_of(directories, frame_size)
    checked = _Files(files, alone=not directories)
    decoded = _decoded(checked, frames_per_second, size, skip_bad)
    checked.report()
    return [*directories, *decoded]


def _of_folder(path: Path) -> list[Path]:
    """The video files of a folder, by their names; of anything else, itself."""
    if not path.is_dir() or any((path / name).exists() for name in _OF_EPISODES):
        return [path]
    inside = sorted(file for file in path.iterdir() if file.is_file())
    videos = [file for file in inside if file.suffix.lower() in SUFFIXES]
    if not videos:
        return [path]  # which is refused as what it is not, a directory of episodes
    others = len(inside) - len(videos)
    besides = f"; its other files ({others:,}) are left out" if others else ""
    say(f"{path}: {len(videos):,} video files{besides}")
    return videos


class _Files:
    """The video files of a command, and what is wrong with some of them."""

    def __init__(self, files: Sequence[Path], *, alone: bool) -> None:
        """`alone`: without recordings beside them. Raises ValueError where there are too few, or one
        is given twice."""
        self.good = list(files)
        self.bad: dict[Path, str] = {}
        """What is wrong with each, as a sentence that begins with its path."""
        self._alone = alone
        self._count = len(files)
        self.check_enough()
        places = [file.resolve() for file in files]
        if twice := [
            file for file, place in zip(files, places, strict=True) if places.count(place) > 1
        ]:
            raise ValueError(
                f"{twice[0]} is given twice, and would be trained on and held out at once: give it "
                "once"
            )

    def leave_out(self, file: Path, why: object) -> None:
        self.good.remove(file)
        self.bad[file] = str(why)

    def check_enough(self) -> None:
        """Raises ValueError where no file would be held out. `check_enough` of datasets refuses this
        too, but only when all is decoded."""
        if self._alone and len(self.good) < HELD_OUT_EVERY:
            without = f"; {self._listed()}" if self.bad else ""
            raise ValueError(
                f"too few video files: there are {len(self.good)}, each is an episode, and every "
                f"{HELD_OUT_EVERY}th is held out: give {HELD_OUT_EVERY} or more; a long one can be "
                "cut, as in `ffmpeg -i long.mp4 -c copy -f segment -segment_time 60 "
                f"-reset_timestamps 1 clip%04d.mp4`{without}"
            )

    def refuse_bad(self, more: str = "") -> None:
        """Raises ValueError that names all bad files, where there are any."""
        if self.bad:
            raise ValueError(self._listed(f"--skip-bad leaves bad files out{more}"))

    def report(self) -> None:
        """Says which files were left out, and why."""
        if self.bad:
            say(f"left out: {self._listed()}")

    def _listed(self, hint: str = "") -> str:
        """In a line each, after their number, where there are several."""
        if len(self.bad) == 1:
            return "; ".join([*self.bad.values(), *([hint] if hint else [])])
        lines = "".join(f"\n  {why}" for why in self.bad.values())
        number = f"{len(self.bad):,} of {self._count:,} video files are bad"
        return f"{number}{f'; {hint}' if hint else ''}:{lines}"


def _size_of(directories: Sequence[Path], wanted: FrameSize | None) -> FrameSize:
    """The size of the frames in all directories, or else `wanted` or FRAME_SIZE. Raises ValueError
    where what is given beside videos would be refused after their decoding."""
    for directory in directories:
        if not directory.exists():
            raise ValueError(
                f"{directory} does not exist: give a video file, a folder of them or a directory of "
                "episodes"
            )
    stores = open_stores(directories) if directories else []
    if wanted is not None:
        return wanted
    return (stores[0].height, stores[0].width) if stores else FRAME_SIZE


def _decoded(
    files: _Files, frames_per_second: float | None, size: FrameSize, skip_bad: bool
) -> list[Path]:
    """The directory of all that can be decoded; none where nothing can."""
    contents: dict[Path, str] = {}
    for file in track(list(files.good), "fingerprints", transient=True):
        try:
            contents[file] = sha256_of(file)
        except OSError as error:
            files.leave_out(file, f"{file} cannot be read ({error.strerror}): leave it out")
    work = _Decoding(contents, frames_per_second, size)
    if not files.bad and work.is_whole(files.good):
        return [work.directory(files.good)]
    videos: dict[Path, Video] = {}
    for file in track(list(files.good), "looking through", transient=True):
        try:
            videos[file] = look_through(file)
            work.check_long_enough(videos[file])
        except ValueError as error:
            files.leave_out(file, error)
    if not skip_bad:
        files.refuse_bad()
    files.check_enough()
    work.try_known(files, videos)
    if files.good and not work.is_whole(files.good):
        work.decode(files, videos)
    if not skip_bad:
        files.refuse_bad(", and the others are kept as they were decoded")
    files.check_enough()
    return [work.directory(files.good)] if files.good else []


class _Decoding:
    """Decodes video files of known contents, at one rate and size, into the user's cache."""

    def __init__(
        self, contents: Mapping[Path, str], frames_per_second: float | None, size: FrameSize
    ) -> None:
        self._contents = contents
        self._rate = frames_per_second
        self._size = size
        self._cache = user_cache() / "videos"

    def directory(self, files: Sequence[Path]) -> Path:
        """Differs as soon as what is in a file is changed, or files are given in another order."""
        contents = [self._contents[file] for file in files]
        text = json.dumps([contents, self._rate, self._size])
        return self._cache / hashlib.sha256(text.encode()).hexdigest()[:16]

    def is_whole(self, files: Sequence[Path]) -> bool:
        """Whether all of the files are there. Raises ValueError where they are damaged."""
        directory = self.directory(files)
        if not (directory / "episode_starts.npy").exists():
            return False
        try:
            return EpisodeStore(directory).num_episodes == len(files)
        except ValueError as error:
            raise ValueError(f"{error}; remove {directory}, and it is decoded again") from error

    def check_long_enough(self, video: Video) -> None:
        if self._rate is not None and len(video.nearest(self._rate)) < 2:
            raise ValueError(
                f"{video.file} is {video.times[-1]:.2f} s long, which is one frame at "
                f"--frames-per-second {self._rate:g}: give a higher rate, or leave it out"
            )

    def try_known(self, files: _Files, videos: Mapping[Path, Video]) -> None:
        """Leaves out what broke before and still does, so that what was decoded then is found."""
        known = self._known()
        for file in [each for each in files.good if self._contents[each] in known]:
            try:
                self._frames(videos[file], lambda: None)
            except ValueError as error:
                files.leave_out(file, error)

    def _known(self) -> list[str]:
        """Contents that broke."""
        try:
            known: list[str] = read_json(self._cache / _BROKEN, {"sha256": [str]})["sha256"]
        except (ValueError, OSError):
            return []
        return known

    def decode(self, files: _Files, videos: Mapping[Path, Video]) -> None:
        """Appends every good file that is not there yet. One that breaks is left out, and the
        directory is then that of the others."""
        _one_rate([videos[file] for file in files.good], self._rate)
        columns = (
            TextColumn("decoding"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("frames, {task.fields[rate]:,.0f}/s"),
            TimeRemainingColumn(),
        )
        say(f"decoding {len(files.good)} videos into {self.directory(files.good)}")
        with Progress(*columns) as progress:
            total = sum(len(videos[file]) for file in files.good)
            task = progress.add_task("", total=total, rate=0.0)

            def advance(frames: int = 1) -> None:
                progress.update(task, advance=frames, rate=progress.tasks[0].speed or 0.0)

            outlived = []
            while broken := self._decode_all(files.good, videos, advance):
                before = self.directory(files.good)
                files.leave_out(*broken)
                known = sorted({*self._known(), self._contents[broken[0]]})
                write_json(self._cache / _BROKEN, {"sha256": known})
                total = sum(len(videos[file]) for file in files.good)
                progress.update(task, total=total, completed=0)
                after = self.directory(files.good)
                if not after.exists():
                    before.rename(after)
                else:
                    outlived.append(before)  # what is in it may be missing in the other
            for directory in outlived:
                shutil.rmtree(directory, ignore_errors=True)

    def _decode_all(
        self, files: Sequence[Path], videos: Mapping[Path, Video], advance: Callable[[int], None]
    ) -> tuple[Path, ValueError] | None:
        """None where all went well, or else the first file that breaks, and how."""
        meta = self._meta([videos[file] for file in files])
        elsewhere = dict(_decoded_before(self._cache, meta))
        with EpisodeWriter(
            self.directory(files), *self._size, json.dumps(meta, indent=2)
        ) as writer:
            for index, file in enumerate(files):
                video = videos[file]
                if index < writer.num_episodes:
                    advance(len(video))
                elif (content := _content(meta["videos"][index])) in elsewhere:
                    _append(writer, _episode(*elsewhere[content]))
                    advance(len(video))
                else:
                    try:
                        frames = self._frames(video, lambda: advance(1))
                    except ValueError as error:
                        return file, error
                    _append(writer, frames)
        return None

    def _frames(self, video: Video, on_frame: Callable[[], None]) -> Frames:
        wanted = np.arange(len(video)) if self._rate is None else video.nearest(self._rate)
        return decode(video, wanted, self._size, on_frame)

    def _meta(self, videos: Sequence[Video]) -> dict[str, Any]:
        return {
            "format_version": 1,
            "videos": [
                # The content, so that a run that is resumed sees whether it is still the same.
                {
                    "file": shown(video.file.name),
                    "sha256": self._contents[video.file],
                    **video.reading,
                }
                for video in videos
            ],
            "frames_per_second": _one_rate(videos, self._rate),
            "resampled": self._rate is not None,
            "resize": f"{self._size[0]}x{self._size[1]}, mean over the area of each pixel",
            # Videos have none: actions.npy and rewards.npy are there for the format's sake, all 0.
            "actions": None,
        }


def trained_on(meta: Mapping[str, Any]) -> dict[str, str]:
    """Of the meta.json of decoded videos, those that are not held out: their names by what is in
    them. Empty for other recordings."""
    return {
        video["sha256"]: video["file"]
        for episode, video in enumerate(meta.get("videos") or [])
        if episode % HELD_OUT_EVERY != HELD_OUT_EVERY - 1
    }


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


def _one_rate(videos: Sequence[Video], wanted: float | None) -> float | None:
    """The rate of all videos, or `wanted`. Raises ValueError where there is none."""
    if wanted is not None or not videos:
        return wanted
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
