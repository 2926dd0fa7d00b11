"""Pictures of any kind as frames of a world."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from genie_env.data.video_reader import Video, decode, look_through
from genie_env.games.frames import resize
from genie_env.games.recorded_env import on_black


MOST_PIXELS = 25_000_000
"""Of a picture that somebody else may send."""
SENT = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
"""Formats of such pictures: others of Pillow's run programs, or hold pictures of any size."""


def read_picture(file: Path, height: int, width: int) -> NDArray[np.uint8]:
    """A picture of any size and format, upright, as a world takes frames: uint8 [height, width, 3].

    The whole picture is used: wide ones are squeezed; transparent parts are black; of an animation
    the first frame counts, as it is read of a video. Raises ValueError naming the file where it is
    no picture.
    """
    if not file.is_file():
        what = "a directory" if file.is_dir() else "not there"
        raise ValueError(f"{file} is {what}: give a picture, such as a PNG or JPEG file")
    with _said(str(file), Image.MAX_IMAGE_PIXELS or 0, (width, height)), warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(file) as opened:
            if getattr(opened, "n_frames", 1) > 1 and (video := _as_video(file)) is not None:
                frames = decode(video, np.zeros(1, np.int64), (height, width))
                return frames.reshape(height, width, 3)
            return _frame(opened, height, width)


def read_still(content: IO[bytes], name: str, height: int, width: int) -> NDArray[np.uint8]:
    """The same of content that somebody else has sent: one of SENT, of at most MOST_PIXELS; of an
    animation the first picture alone is decoded. `name`: what errors call it."""
    with _said(name, MOST_PIXELS, (width, height)), Image.open(content, formats=SENT) as opened:
        if opened.width * opened.height > MOST_PIXELS:
            raise Image.DecompressionBombError
        return _frame(opened, height, width)


@contextmanager
def _said(name: str, most_pixels: int, wanted: tuple[int, int]) -> Iterator[None]:
    """Raises ValueError for what fails in the block."""
    try:
        yield
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise ValueError(
            f"{name} has more than {most_pixels:,} pixels: make it smaller; this world's frames are "
            f"{wanted[0]} x {wanted[1]}"
        ) from error
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow's formats raise
        raise ValueError(
            f"{name} is no picture that can be read ({error}): give a PNG or JPEG file"
        ) from error


def _frame(picture: Image.Image, height: int, width: int) -> NDArray[np.uint8]:
    return resize(on_black(_in_8_bits(ImageOps.exif_transpose(picture))), height, width)


def _as_video(file: Path) -> Video | None:
    """Several pictures in one file, where that is a video for FFmpeg too: not of WebP, or of TIFF."""
    try:
        return look_through(file)
    except ValueError:
        return None


def _in_8_bits(picture: Image.Image) -> Image.Image:
    """Pillow would take every grey of 16 bits that is above 255 for white."""
    if picture.mode.startswith("I;16"):
        shades = np.asarray(picture).astype(np.uint16) >> 8
        return Image.fromarray(shades.astype(np.uint8))
    if picture.mode in ("I", "F"):
        raise ValueError("it does not say which of its numbers is white; 8 or 16 bits a channel do")
    return picture
