"""What is done to a game's pictures before they are frames: one object records and plays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

FrameSize = tuple[int, int]
"""Height and width of a frame, in pixels."""

Margins = tuple[int, int, int, int]
"""Pixels at the top, at the bottom, to the left and to the right."""

NO_MARGINS: Margins = (0, 0, 0, 0)


@dataclass(frozen=True)
class Preprocessing:
    """Pictures are cropped, then padded in black, then resized: each in this order, or not at all."""

    crop: Margins = NO_MARGINS
    """Cut off."""
    pad: Margins = NO_MARGINS
    """Added."""
    resize: FrameSize | None = None

    def __post_init__(self) -> None:
        for name in ("crop", "pad"):
            if min(getattr(self, name)) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; expected pixels, 0 or more")

    def size_of(self, picture: FrameSize) -> FrameSize:
        """The size of the frame that becomes of a picture. Raises ValueError where nothing is left."""
        if self.resize is not None:
            self._left(picture)
            return self.resize
        height, width = self._left(picture)
        top, bottom, left, right = self.pad
        return height + top + bottom, width + left + right

    def apply(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """uint8 [H, W, 3] to uint8 [height, width, 3]."""
        if self.crop != NO_MARGINS:
            height, width = self._left(picture.shape[:2])
            top, _, left, _ = self.crop
            picture = picture[top : top + height, left : left + width]
        if self.pad != NO_MARGINS:
            top, bottom, left, right = self.pad
            picture = np.pad(picture, ((top, bottom), (left, right), (0, 0)))
        return picture if self.resize is None else resize(picture, *self.resize)

    def as_json(self) -> dict[str, Any]:
        return {
            "crop": list(self.crop),
            "pad": list(self.pad),
            "resize": None if self.resize is None else list(self.resize),
        }

    @staticmethod
    def of_json(value: Any) -> Preprocessing:
        """Reads what `as_json` gave; other keys are nobody's matter here. Raises ValueError for
        anything else."""
        if isinstance(value, Mapping):
            crop, pad, resized = (value.get(name) for name in ("crop", "pad", "resize"))
            known = [(crop, 4), (pad, 4), *([] if resized is None else [(resized, 2)])]
            if all(_whole_numbers(numbers, count) for numbers, count in known):
                size = None if resized is None else (resized[0], resized[1])
                return Preprocessing(_margins(crop), _margins(pad), size)
        raise ValueError(
            f'"preprocessing" is {value!r}; expected "crop" and "pad" as [top, bottom, left, right], '
            'and "resize" as [height, width] or null'
        )

    def _left(self, picture: tuple[int, ...]) -> FrameSize:
        """The size after cropping."""
        top, bottom, left, right = self.crop
        height, width = picture[0] - top - bottom, picture[1] - left - right
        if height < 1 or width < 1:
            raise ValueError(
                f"nothing is left of pictures of {picture[0]} x {picture[1]} (height x width) without "
                f"{top} and {bottom} rows, and {left} and {right} columns: crop less"
            )
        return height, width


def _margins(values: Any) -> Margins:
    top, bottom, left, right = values
    return top, bottom, left, right


def _whole_numbers(values: Any, count: int) -> bool:
    return isinstance(values, list) and [type(value) for value in values] == [int] * count


def resize(picture: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """uint8 [H, W, 3] to [height, width, 3], each new pixel the mean of those whose centres it covers
    (a centre on its border counts on one side)."""
    if picture.shape == (height, width, 3):
        return picture
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BOX))
