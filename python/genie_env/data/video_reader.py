"""Reads videos of any format that FFmpeg knows, and says what is wrong with those it cannot read.

A video is looked through first, which finds out when each frame is shown without decoding any;
then the frames that are wanted are decoded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from genie_env.data.paths import as_url
from genie_env.games.base import FrameSize
from genie_env.games.frames import resize
from genie_env.games.recorded_env import on_black

if TYPE_CHECKING:
    from av import Packet, VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream

_NO_TURN = math.tan(math.radians(1))
"""The tangent of the angle below which a frame is not turned, as in the `ffmpeg` program."""
_JUMP, _JUMP_AHEAD = 0.1, 10.0
"""Seconds by which the clock of a transport stream jumps where another one was joined to it. Jumps
back, and ahead by more than the second, are not pauses, but another clock: as in `ffmpeg`."""
_NEAR_A_SEAM = 2
"""Packets before a seam that FFmpeg may take for damaged, as their stream does not go on."""


@dataclass(frozen=True)
class Video:
    """A video file as its container describes it."""

    file: Path
    times: NDArray[np.float64]
    """Seconds from the first frame to every frame, ascending: float64 [N], N at least 2."""
    rate: float | None
    """Frames per second; None where the frames are not evenly spaced."""
    seams: tuple[int, ...] = ()
    """The first packet of every stream but the first, where several were joined to one file."""
    reading: Mapping[str, str] = field(default_factory=dict)
    """What is done to its frames that most videos do not need: mirrored, or laid on black."""

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
    from av import FFmpegError

    with _opened(file) as (container, stream):
        packets = _Packets(container, stream)
        shown, first = [], None
        for packet in packets:
            # Without what an edited file keeps but does not show, and the empty one that ends a
            # stream.
            if packet.size and not packet.is_discard:
                shown.append(None if packet.pts is None else packet.pts + packets.offset)
            if first is None:
                with suppress(FFmpegError):  # said when it is decoded
                    first = next(iter(packet.decode()), None)
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
        if packets.offset == 0:  # otherwise durations are of several clocks
            _check_whole(file, container, stream, shown_at)
        times = shown_at - shown_at[0]
        rate = _rate(stream, times, tick)
        reading = {} if first is None else _reading(file, first)
        return Video(file, times, rate, tuple(packets.seams), reading)


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
            "it again, or leave it out"
        )

    from av import FFmpegError

    with _opened(video.file) as (container, stream):
        try:
            for index, packet in enumerate(container.demux(stream)):
                at_a_seam = any(0 <= seam - index <= _NEAR_A_SEAM for seam in video.seams)
                if packet.is_corrupt and not at_a_seam:
                    raise broken("a packet is cut off or damaged")
                for frame in packet.decode():
                    if frame.is_corrupt:
                        raise broken("the frame is damaged")
                    copies = int(np.searchsorted(wanted, decoded, side="right")) - filled
                    if copies:
                        frames[filled : filled + copies] = resize(
                            _picture(video.file, frame), *size
                        )
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
        # What is not a video may name other files, but nothing on a network; a name with a % is
        # not a pattern for the names of several pictures.
        options = {"protocol_whitelist": "file", "pattern_type": "none"}
        with av.open(as_url(file), options=options, metadata_errors="ignore") as container:
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


class _Packets:
    """The packets of a stream, in the order of the file."""

    def __init__(self, container: InputContainer, stream: VideoStream) -> None:
        from av.format import Flags

        self._packets = container.demux(stream)
        self._tick = float(stream.time_base or 0)
        self._jumps = bool(container.format.flags & cast(Any, Flags.ts_discont).value)
        self.seams: list[int] = []
        """The packets with which another stream begins that was joined to the one before."""
        self.offset = 0
        """Ticks to add to the clock of the current packet, so that time goes on at a seam."""

    def __iter__(self) -> Iterator[Packet[VideoStream]]:
        last, due = None, None  # ticks of the last packet, and when the next one is due
        for index, packet in enumerate(self._packets):
            if self._jumps and packet.dts is not None:
                now = packet.dts + self.offset
                if last is not None and due is not None:
                    ahead, back = (now - due) * self._tick, (last - now) * self._tick
                    if packet.is_keyframe and max(ahead, back) > _JUMP:
                        self.seams.append(index)
                    if ahead > _JUMP_AHEAD or back > _JUMP:
                        self.offset += due - now
                        now = due
                last, due = now, now + (packet.duration or 0)
            yield packet


def _reading(file: Path, frame: VideoFrame) -> dict[str, str]:
    """See Video.reading. Videos that need nothing of it were always read as they are now."""
    a, b, c, d = _turn(file, frame)
    mirrored = a * d - b * c < 0
    return {
        **({"orientation": "mirrored"} if mirrored else {}),
        **({"transparent": "black"} if _has_alpha(frame) else {}),
    }


def _picture(file: Path, frame: VideoFrame) -> NDArray[np.uint8]:
    """The frame as it is to be shown: uint8 [H, W, 3], upright, transparent parts black."""
    stored: NDArray[Any]
    if _has_alpha(frame):
        stored = on_black(Image.fromarray(frame.to_ndarray(format="rgba")))
    else:
        stored = frame.to_ndarray(format="rgb24")
    a, b, c, d = _turn(file, frame)
    # The pixel at (x, y) is shown at (a x + c y, b x + d y).
    shown = stored.swapaxes(0, 1) if a == 0 else stored
    return np.ascontiguousarray(shown[:: -1 if b + d < 0 else 1, :: -1 if a + c < 0 else 1])


def _has_alpha(frame: VideoFrame) -> bool:
    return any(component.is_alpha for component in frame.format.components)


def _matrix(file: Path, frame: VideoFrame) -> tuple[float, float, float, float]:
    """a, b, c, d of the frame's display matrix."""
    try:
        matrix: Any = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # PyAV reads no side data where it does not know all of it, such as EXIF
        angle = math.radians(-frame.rotation)
        mirror = -1 if _exif_orientation(file) in (2, 4, 5, 7) else 1
        return math.cos(angle), math.sin(angle), -mirror * math.sin(angle), mirror * math.cos(angle)
    if matrix is None:
        return 1, 0, 0, 1
    a, b, _, c, d, *_ = np.frombuffer(bytes(matrix), "=i4").tolist()
    return a, b, c, d


def _exif_orientation(file: Path) -> int:
    """Of an animated picture; 1, which is upright, of other videos."""
    try:
        with Image.open(file) as picture:
            return int(picture.getexif().get(0x0112, 1))
    except OSError:
        return 1


def _turn(file: Path, frame: VideoFrame) -> tuple[int, int, int, int]:
    """The signs of a, b, c, d of the frame's display matrix, two of which are 0. Raises ValueError
    where it turns by an angle that is no multiple of 90 degrees."""
    a, b, c, d = _matrix(file, frame)
    straight, across = math.hypot(a, d), math.hypot(b, c)
    if across <= _NO_TURN * straight:
        return -1 if a < 0 else 1, 0, 0, -1 if d < 0 else 1
    if straight <= _NO_TURN * across:
        return 0, -1 if b < 0 else 1, -1 if c < 0 else 1, 0
    raise ValueError(
        f"{file} is to be shown turned by {-frame.rotation} degrees, and only multiples of 90 are "
        f"read: turn it, as in `ffmpeg -i {file.name} upright{file.suffix}`, or leave it out"
    )


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
