"""Shows the action of a step under its picture: by its name, or as a gauge a number."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from genie_env.envs.actions import Actions, BoxActions
from genie_env.media.video import CAPTION_HEIGHT, Picture, caption, caption_font

_MARGIN = 12
_FIGURE = 64
"""Pixels for a number beside its gauge."""
_SHORTEST = 40
"""Gauge that leaves room for its number; shorter ones stand alone."""
_TRACK, _FILL = (70, 70, 70), (255, 255, 255)


def action_strip(actions: Actions, action: Any | None, width: int) -> Picture:
    """A black strip, uint8 [CAPTION_HEIGHT, width, 3].

    A numbered action is named. Of a box every number has a gauge over its range, filled from 0, or
    from the bound next to it, to the number. None: nothing is shown.
    """
    if action is None or not isinstance(actions, BoxActions):
        return caption("" if action is None else actions.name(action), width)
    strip = Image.new("RGB", (width, CAPTION_HEIGHT))
    draw = ImageDraw.Draw(strip)
    cell = width / actions.width
    numbers = np.ravel(action).astype(float)
    for index, (number, low, high) in enumerate(
        zip(numbers, actions.low, actions.high, strict=True)
    ):
        left, right = index * cell + _MARGIN, (index + 1) * cell - _MARGIN
        if right - left >= _FIGURE + _SHORTEST:
            right -= _FIGURE
            place = (right + _MARGIN, CAPTION_HEIGHT // 2)
            draw.text(place, f"{number:.2f}", font=caption_font(), anchor="lm")
        _gauge(draw, left, max(right, left), (number - low) / (high - low), -low / (high - low))
    return np.asarray(strip)


def _gauge(draw: ImageDraw.ImageDraw, left: float, right: float, share: float, rest: float) -> None:
    """`share`, `rest`: of the range, where the number and where 0 lie."""
    top, bottom = CAPTION_HEIGHT // 2 - 6, CAPTION_HEIGHT // 2 + 6
    at, begin = (left + min(max(place, 0), 1) * (right - left) for place in (share, rest))
    draw.rectangle((left, top, right, bottom), fill=_TRACK)
    draw.rectangle((min(at, begin), top, max(at, begin), bottom), fill=_FILL)
    draw.line((begin, top - 4, begin, bottom + 4), fill=_FILL)
