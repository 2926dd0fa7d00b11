"""Writes videos that common players open: H.264 in MP4.

Such players expect 4:2:0 colour (one colour sample for 2 x 2 pixels), which would smear the small
red and yellow details of a 64 x 64 frame. So every frame pixel is enlarged to a block of `scale` x
`scale` equal pixels first; with an even scale, blocks and colour samples share their borders and
nothing is smeared.
"""

from __future__ import annotations

import functools
import os
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Picture = NDArray[np.uint8]
"""uint8 [H, W, 3], red, green, blue."""

_CAPTION_HEIGHT = 40


class VideoWriter:
    """Writes pictures of one size, the first one's, as a video.

    The file appears under its name when the writer is closed; after an error inside the `with`
    block nothing is written. Thread-compatible.

        with VideoWriter(path, fps=35) as video:
            video.write(picture)
    """

    def __init__(self, path: Path, fps: int) -> None:
        import av

        self.path = Path(path)
        self._unfinished = self.path.with_name(f"{self.path.name}.{os.getpid()}.part")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # The index first, so that a browser starts at once; crf 16: no visible loss.
        self._container = av.open(
            str(self._unfinished), "w", format="mp4", options={"movflags": "faststart"}
        )
        self._stream = self._container.add_stream(
            "libx264", rate=Fraction(fps), options={"crf": "16", "preset": "veryfast"}
        )
        self._stream.pix_fmt = "yuv420p"
        self._size: tuple[int, int] | None = None

    def write(self, picture: Picture) -> None:
        """Appends one picture: uint8 [H, W, 3], H and W even."""
        from av import VideoFrame

        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
            raise ValueError(
                f"a picture has shape {picture.shape} and dtype {picture.dtype}; "
                "a video takes uint8 [H, W, 3]"
            )
        height, width = picture.shape[:2]
        if self._size is None:
            if height % 2 or width % 2:
                raise ValueError(
                    f"a picture is {height} x {width}; a video takes even heights and widths: "
                    "enlarge it, or add a row or column"
                )
            self._size = (height, width)
            self._stream.height, self._stream.width = height, width
        if (height, width) != self._size:
            raise ValueError(
                f"a picture is {height} x {width}, the first one of this video was "
                f"{self._size[0]} x {self._size[1]}; all must have one size"
            )
        frame = VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Finishes the file. Without any picture there is none."""
        if self._size is None:
            self._discard()
            return
        self._container.mux(self._stream.encode(None))
        self._container.close()
        self._unfinished.replace(self.path)

    def _discard(self) -> None:
        self._container.close()
        self._unfinished.unlink(missing_ok=True)

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._discard()


def enlarge(frame: Picture, scale: int) -> Picture:
    """Every pixel as a block of `scale` x `scale`."""
    return frame.repeat(scale, axis=0).repeat(scale, axis=1)


def caption(text: str, width: int) -> Picture:
    """A black strip of `width` pixels with `text` in white."""
    strip = Image.new("RGB", (width, _CAPTION_HEIGHT))
    ImageDraw.Draw(strip).text((12, _CAPTION_HEIGHT // 2), text, font=_font(), anchor="lm")
    return np.asarray(strip)


@functools.cache
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=22)


def side_by_side(frames: list[Picture], captions: list[str], scale: int = 8) -> Picture:
    """Frames of one size, enlarged, each under its caption, with a gap between them."""
    panels: list[Picture] = []
    for frame, text in zip(frames, captions, strict=True):
        picture = enlarge(frame, scale)
        if panels:
            panels.append(np.zeros((picture.shape[0] + _CAPTION_HEIGHT, scale, 3), np.uint8))
        panels.append(np.concatenate([caption(text, picture.shape[1]), picture]))
    return np.concatenate(panels, axis=1)
