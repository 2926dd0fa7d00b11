"""How the pictures of a game become the frames that are recorded, and that agents see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

FrameSize = tuple[int, int]
"""Height and width of a frame, in pixels."""

Sides = tuple[int, int, int, int]
"""Pixels at the top, the bottom, the left and the right."""

Source = Literal["auto", "observation", "render"]
"""Where pictures come from; auto: the observation where that is a colour image, else what is
rendered, or, where nothing is, an observation that is another picture."""


@dataclass(frozen=True)
class Frames:
    """Pictures are cut, then padded with black, then resized (each new pixel is the mean over the
    area it covers)."""

    source: Source = "auto"
    crop: Sides = (0, 0, 0, 0)
    pad: Sides = (0, 0, 0, 0)
    size: FrameSize | None = (64, 64)
    """None: as they are."""

    def __post_init__(self) -> None:
        for name in ("crop", "pad"):
            sides = getattr(self, name)
            if len(sides) != 4 or any(type(side) is not int or side < 0 for side in sides):
                raise ValueError(
                    f"{name} is {sides}; expected the pixels at the top, the bottom, the left and "
                    "the right, 0 or more"
                )

    def __call__(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """uint8 [H, W, 3] of a picture uint8 [H, W, 3]. Raises ValueError where the crop leaves
        nothing of it."""
        if any(self.crop):
            height, width, _ = picture.shape
            top, bottom, left, right = self.crop
            picture = picture[top : height - bottom or None, left : width - right or None]
            if top + bottom >= height or left + right >= width:
                raise ValueError(
                    f"cropping {list(self.crop)} leaves nothing of pictures of {height} x {width}"
                )
        if any(self.pad):
            top, bottom, left, right = self.pad
            picture = np.pad(picture, ((top, bottom), (left, right), (0, 0)))
        return picture if self.size is None else resize(picture, *self.size)

    def as_json(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "crop": list(self.crop),
            "pad": list(self.pad),
            "size": None if self.size is None else list(self.size),
        }

    @staticmethod
    def of_json(value: Any) -> Frames:
        """Reads what `as_json` gave. Raises ValueError for anything else."""
        names = {"source", "crop", "pad", "size"}
        try:
            if not isinstance(value, dict) or value.keys() != names:
                raise ValueError(f"expected {', '.join(sorted(names))}")
            if value["source"] not in ("auto", "observation", "render"):
                raise ValueError('"source" is none of auto, observation and render')
            size = value["size"]
            whole = size is None or (len(size) == 2 and all(type(s) is int and s > 0 for s in size))
            if not whole:
                raise ValueError('"size" is not height and width')
            return Frames(
                value["source"],
                tuple(value["crop"]),
                tuple(value["pad"]),
                None if size is None else tuple(size),
            )
        except (ValueError, TypeError) as error:
            raise ValueError(f'"frames" is {str(value)[:200]}: {error}') from None


def resize(picture: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """uint8 [H, W, 3] to [height, width, 3], each new pixel the mean over the area it covers."""
    if picture.shape == (height, width, 3):
        return picture
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BOX))
