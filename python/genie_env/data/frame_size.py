"""Which networks take frames of which sizes, so that a recording is not made for nothing."""

from __future__ import annotations

import math

from genie_env.games.base import FrameSize


def _limits() -> tuple[int, int]:
    """The longest side of a frame and the largest number of patches that a tokenizer takes."""
    from genie_env._core import limits  # imports torch, which help texts do without

    return limits["frame_side"], limits["positions"]


VISION_SIZES = "sides that are multiples of 16 from 48 to 256"
"""What vision takes, as in models/vision_memory/sizes.h."""


def vision_takes(size: FrameSize) -> bool:
    """Whether vision takes frames of this size."""
    return all(48 <= side <= 256 and side % 16 == 0 for side in size)


def patches(size: FrameSize) -> list[int]:
    """The sides of patches, ascending, that a tokenizer can cut frames of this size into."""
    height, width = size
    max_side, max_patches = _limits()
    if max(size) > max_side:
        return []
    common = math.gcd(height, width)
    return [
        patch
        for patch in range(1, common + 1)
        if common % patch == 0 and (height // patch) * (width // patch) <= max_patches
    ]


def check_frame_size(size: FrameSize) -> None:
    """Raises ValueError, naming every network, where none takes frames of this size."""
    height, width = size
    if vision_takes(size) or patches(size):
        return
    max_side, max_patches = _limits()
    if max(size) > max_side:
        why = f"takes sides of at most {max_side}"
    else:
        largest = math.gcd(height, width)
        count = (height // largest) * (width // largest)
        why = (
            f"cuts them into square patches, at most {max_patches}, and the largest that divide "
            f"both sides, {largest} x {largest}, are {count:,}"
        )
    raise ValueError(
        f"no network takes frames of {height} x {width}: vision takes {VISION_SIZES}, "
        f"and the tokenizer {why}; give another --frame-size, as 64x64 or 48x80"
    )


def networks_that_take(size: FrameSize) -> str:
    """Which networks take frames of this size, and how."""
    *smaller, largest = map(str, patches(size))
    sides = f"{', '.join(smaller)} or {largest}" if smaller else largest
    tokenizer = f"train tokenizer with a --patch of {sides}"
    return f"train vision, and {tokenizer}" if vision_takes(size) else tokenizer


def parse_frame_size(text: str) -> FrameSize:
    """Height and width.

    >>> parse_frame_size("48x80")
    (48, 80)
    """
    height, separator, width = text.partition("x")
    if not (separator and height.isdecimal() and width.isdecimal() and int(height) * int(width)):
        raise ValueError(
            f"the frame size is {text!r}; expected height and width in pixels, as in 48x80, or "
            "native"
        )
    return int(height), int(width)
