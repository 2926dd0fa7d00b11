"""Pictures of any kind as frames of a world."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from genie_env.data.video_reader import Video, decode, look_through
from genie_env.games.frames import resize
from genie_env.games.recorded_env import on_black


def read_picture(file: Path, height: int, width: int) -> NDArray[np.uint8]:
    """A picture of any size and format, upright, as a world takes frames: uint8 [height, width, 3].

    The whole picture is used: wide ones are squeezed; transparent parts are black; of an animation
    the first frame counts, as it is read of a video. Raises ValueError naming the file where it is
    no picture.
    """
    if not file.is_file():
        what = "a directory" if file.is_dir() else "not there"
        raise ValueError(f"{file} is {what}: give a picture, such as a PNG or JPEG file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file) as opened:
                if getattr(opened, "n_frames", 1) > 1 and (video := _as_video(file)) is not None:
                    frames = decode(video, np.zeros(1, np.int64), (height, width))
                    return frames.reshape(height, width, 3)
                picture = on_black(_in_8_bits(ImageOps.exif_transpose(opened)))
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise ValueError(
            f"{file} has more than {Image.MAX_IMAGE_PIXELS:,} pixels: make it smaller; this "
            f"world's frames are {width} x {height}"
        ) from error
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow's formats raise
        raise ValueError(
            f"{file} is no picture that can be read ({error}): give a PNG or JPEG file"
        ) from error
    return resize(picture, height, width)


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
