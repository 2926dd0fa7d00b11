"""Small video files, whole and broken, and the disk that they do not fit on."""

from __future__ import annotations

import contextlib
import resource
import struct
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

LOSSLESS = {"codec": "libx264rgb", "pix_fmt": "rgb24", "crf": "0"}


def moving(count: int, height: int = 64, width: int = 64, seed: int = 0) -> np.ndarray:
    """Random blocks that move a pixel a frame: uint8 [count, height, width, 3]."""
    blocks = np.random.default_rng(seed).integers(0, 256, (-(-height // 8), -(-width // 8), 3))
    picture = blocks.astype(np.uint8).repeat(8, axis=0).repeat(8, axis=1)[:height, :width]
    return np.stack([np.roll(picture, t, axis=1) for t in range(count)])


def write_video(
    file: Path,
    frames: np.ndarray,
    rate: Any = 25,
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    milliseconds: Sequence[int] | None = None,
    **options: str,
) -> Path:
    """`milliseconds` says when each frame is shown, where that is not evenly."""
    file.parent.mkdir(parents=True, exist_ok=True)
    # The index before the frames, so that a file that is cut off still has it.
    movflags = {"movflags": "faststart"} if file.suffix == ".mp4" else {}
    with av.open(str(file), "w", options=movflags) as container:
        stream: Any = container.add_stream(codec, rate=Fraction(rate), options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pix_fmt
        if milliseconds is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for t, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            if milliseconds is not None:
                frame.pts, frame.time_base = milliseconds[t], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file


def break_at(file: Path, frame: int) -> Path:
    """Overwrites the packet of one frame, of a file in which every frame stands for itself."""
    with av.open(str(file)) as container:
        packets = [p for p in container.demux(container.streams.video[0]) if p.size]
        position, size = packets[frame].pos, packets[frame].size
    assert position is not None
    content = bytearray(file.read_bytes())
    content[position : position + size] = bytes(size)
    file.write_bytes(content)
    return file


def shown_by(matrix: tuple[float, float, float, float], source: Path) -> Path:
    """A copy of an MP4 file whose track has the display matrix a, b, c, d, as telephones write it."""
    unit = 1 << 16
    upright = struct.pack(">9i", unit, 0, 0, 0, unit, 0, 0, 0, 1 << 30)
    a, b, c, d = (round(value * unit) for value in matrix)
    content = bytearray(source.read_bytes())
    place = content.index(upright, content.index(b"tkhd"))
    content[place : place + len(upright)] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    file = source.with_name("shown.mp4")
    file.write_bytes(content)
    return file


ALONE = {"g": "1", "bf": "0"}
"""Options with which every frame stands for itself."""


@contextlib.contextmanager
def full_disk(limit: int) -> Iterator[None]:
    """No file may become larger, as if the disk were full then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
