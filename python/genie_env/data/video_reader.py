"""Reads videos of any format that FFmpeg knows, and says what is wrong with those it cannot read.

A video is looked through first, which finds out when each frame is shown without decoding any;
then the frames that are wanted are decoded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from genie_env.games.base import FrameSize
from genie_env.games.real_env import resize

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream


@dataclass(frozen=True)
class Video:
    """A video file as its container describes it."""

    file: Path
    times: NDArray[np.float64]
    """Seconds from the first frame to every frame, ascending: float64 [N], N at least 2."""
    rate: float | None
    """Frames per second; None where the frames are not evenly spaced."""

    def __len__(self) -> int:
        return len(self.times)

    def nearest(self, frames_per_second: float) -> NDArray[np.int64]:
        """The frame nearest to each of the moments 0, 1/F, 2/F, ... up to the last frame's,
        the earlier one of two equally near: int64, ascending."""
        # Timestamps are rounded, and so is 1/F: a moment that is a frame's own is not missed.
        nothing = 1e-6
        count = math.floor((self.times[-1] + nothing) * frames_per_second) + 1
        moments = np.arange(count) / frames_per_second
        after = np.searchsorted(self.times, moments).clip(1, len(self) - 1)
        to_before, to_after = moments - self.times[after - 1], self.times[after] - moments
        return np.where(to_before <= to_after + nothing, after - 1, after)


def look_through(file: Path) -> Video:
    """Raises ValueError, naming the file, where it is not a video of two frames or more."""
    if file.stat().st_size == 0:
        raise ValueError(f"{file} is empty: download or write it again, or leave it out")
    with _opened(file) as (container, stream):
        # Without what an edited file keeps but does not show, and the empty one that ends a stream.
        shown = [p.pts for p in container.demux(stream) if p.size and not p.is_discard]
        if not shown:
            raise ValueError(f"{file} has no frames: leave it out")
        if len(shown) == 1:
            raise ValueError(f"{file} has one frame, in which nothing moves: leave it out")
        if None in shown or stream.time_base is None:
            raise ValueError(
                f"{file} does not say when its frames are shown: put it into a container with its "
                f"rate, as in `ffmpeg -r 25 -i {file.name} -c copy {file.stem}.mp4`"
            )
        # Some formats (AVI) number the packets in the order of decoding; the frames then come out
        # in the order of showing, which is ascending in any case.
        tick = float(stream.time_base)
        shown_at = np.sort(np.array(shown, np.float64) * tick)
        _check_whole(file, container, stream, shown_at)
        times = shown_at - shown_at[0]
        return Video(file, times, _rate(stream, times, tick))


def decode(
    video: Video,
    wanted: NDArray[np.int64],
    size: FrameSize,
    on_frame: Callable[[], None] = lambda: None,
) -> NDArray[np.uint8]:
    """Decodes the frames `wanted`, resized: uint8 [len(wanted), *size, 3].

    `wanted` ascends and may repeat. `on_frame` is called for every frame of the file. Raises
    ValueError naming the file and the frame where its stream breaks.
    """
    frames = np.empty((len(wanted), *size, 3), np.uint8)
    filled = decoded = 0

    def broken(why: object) -> ValueError:
        return ValueError(
            f"{video.file} breaks at frame {decoded} of {len(video)} ({why}): download or write "
            "it again, or leave it out; what was decoded of files before it is kept"
        )

    from av import FFmpegError

    with _opened(video.file) as (container, stream):
        try:
            for packet in container.demux(stream):
                if packet.is_corrupt:
                    raise broken("a packet is cut off or damaged")
                for frame in packet.decode():
                    if frame.is_corrupt:
                        raise broken("the frame is damaged")
                    copies = int(np.searchsorted(wanted, decoded, side="right")) - filled
                    if copies:
                        upright = np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)
                        picture = resize(np.ascontiguousarray(upright), *size)
                        frames[filled : filled + copies] = picture
                        filled += copies
                    decoded += 1
                    on_frame()
        except FFmpegError as error:
            raise broken(error.strerror) from error
    if decoded != len(video):
        raise broken(f"{decoded} frames came out")
    return frames


@contextmanager
def _opened(file: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """The file and its video stream, with whatever FFmpeg says of it as one error."""
    import av

    try:
        # Names of authors and the like are not read, so that they may be in any encoding.
        with av.open(str(file), metadata_errors="ignore") as container:
            stream = container.streams.best("video")
            if stream is None:
                raise ValueError(
                    f"{file} has no video stream: download or write it again, or leave it out"
                )
            yield container, cast("VideoStream", stream)
    except av.FFmpegError as error:
        raise ValueError(
            f"{file} cannot be read as a video ({error.strerror}): download or write it again, or "
            "leave it out"
        ) from error


def _check_whole(
    file: Path, container: InputContainer, stream: VideoStream, shown_at: NDArray[np.float64]
) -> None:
    """A file that ends before its time, as of a download that was broken off, is a ValueError.

    `shown_at`: seconds by the file's own clock, of every frame that was found.
    """
    if stream.duration is not None and stream.time_base is not None:
        last, whole = shown_at[-1] - shown_at[0], float(stream.duration * stream.time_base)
    elif len(container.streams) == 1:
        last, whole = shown_at[-1], (container.duration or 0) / 1e6
    else:  # the longest of several streams may be the sound
        return
    # Neither number alone will do: an edited file keeps frames that it does not show, and the last
    # frame may be shown for long.
    too_few = stream.frames == 0 or len(shown_at) < stream.frames
    if too_few and last + 2 * np.diff(shown_at).max() < whole:
        raise ValueError(
            f"{file} breaks off after {len(shown_at):,} frames, at {last:.2f} s of {whole:.2f} s: "
            "download or write it again, or leave it out"
        )


def _rate(stream: VideoStream, times: NDArray[np.float64], tick: float) -> float | None:
    """Frames per second where every frame is within a quarter of a frame of its place.

    The stream's own number where it is right, as that is exact (30000/1001) and `times` are rounded
    to ticks; often it is a guess that is not.
    """
    places = np.arange(len(times))
    for rate in (float(stream.average_rate or 0), (len(times) - 1) / max(times[-1], tick)):
        if rate and np.abs(times - places / rate).max() <= 0.25 / rate + tick:
            return rate
    return None
