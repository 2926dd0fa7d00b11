"""Writes videos that common players open: H.264 in MP4.

Such players expect 4:2:0 colour (one colour sample for 2 x 2 pixels), which would smear the small
red and yellow details of a 64 x 64 frame. So every frame pixel is enlarged to a block of `scale` x
`scale` equal pixels first; with an even scale, blocks and colour samples share their borders and
nothing is smeared.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from genie_env.data.files import write_atomically
from genie_env.data.paths import as_url

Picture = NDArray[np.uint8]
"""uint8 [H, W, 3], red, green, blue."""

CAPTION_HEIGHT = 40


def write_video(file: Path, pictures: Iterable[Picture], fps: float) -> None:
    """Writes pictures of one size, uint8 [H, W, 3], H and W even, as a video.

    The file appears under its name when it is whole; after an error, or without any picture,
    nothing is written. Raises ValueError for other pictures, OSError where the disk is full.
    """
    pictures = iter(pictures)
    if (first := next(pictures, None)) is not None:
        write_atomically(file, lambda temporary: _encode(temporary, first, pictures, fps))


def _encode(file: Path, first: Picture, others: Iterable[Picture], fps: float) -> None:
    import av

    # The index first, so that a browser starts at once; crf 16: no visible loss.
    options = {"movflags": "faststart"}
    with av.open(as_url(file), "w", format="mp4", options=options) as container:
        rate = Fraction(fps).limit_denominator(1001)  # of 30000/1001, for instance
        stream: Any = container.add_stream(
            "libx264", rate=rate, options={"crf": "16", "preset": "veryfast"}
        )
        stream.pix_fmt = "yuv420p"
        stream.height, stream.width = size = _checked_size(first)
        for picture in itertools.chain([first], others):
            if _checked_size(picture) != size:
                raise ValueError(
                    f"a picture is {picture.shape[0]} x {picture.shape[1]}, the first one of this "
                    f"video was {size[0]} x {size[1]}; all must have one size"
                )
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _checked_size(picture: Picture) -> tuple[int, int]:
    """The height and width of a picture. Raises ValueError for one that a video does not take."""
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise ValueError(
            f"a picture has shape {picture.shape} and dtype {picture.dtype}; "
            "a video takes uint8 [H, W, 3]"
        )
    height, width = picture.shape[:2]
    if height % 2 or width % 2:
        raise ValueError(
            f"a picture is {height} x {width}; a video takes even heights and widths: "
            "enlarge it, or add a row or column"
        )
    return height, width


def enlarge(frame: Picture, scale: int) -> Picture:
    """Every pixel as a block of `scale` x `scale`."""
    return frame.repeat(scale, axis=0).repeat(scale, axis=1)


def caption(text: str, width: int) -> Picture:
    """A black strip of `width` pixels with `text` in white."""
    strip = Image.new("RGB", (width, CAPTION_HEIGHT))
    ImageDraw.Draw(strip).text((12, CAPTION_HEIGHT // 2), text, font=caption_font(), anchor="lm")
    return np.asarray(strip)


@functools.cache
def caption_font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=22)


def side_by_side(frames: list[Picture], captions: list[str], scale: int = 8) -> Picture:
    """Frames of one size, enlarged, each under its caption, with a gap between them."""
    panels: list[Picture] = []
    for frame, text in zip(frames, captions, strict=True):
        picture = enlarge(frame, scale)
        if panels:
            panels.append(np.zeros((picture.shape[0] + CAPTION_HEIGHT, scale, 3), np.uint8))
        panels.append(np.concatenate([caption(text, picture.shape[1]), picture]))
    return np.concatenate(panels, axis=1)
