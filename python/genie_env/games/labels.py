"""Labels of the objects in a frame, as a game gives them: for evaluation only, never for training."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

MOST_LABELS = 8
"""Objects of a frame that are labelled."""
FIELDS = ("class", "x", "y", "width", "height", "identity")
"""Of an object. The class is a place in the game's `label_classes`; x and y, the middle of what is
seen of it, and its width and height are shares of the frame's sides; the identity tells objects of
one episode apart. NaN where there is no object."""

Label = tuple[float, float, float, float, float, float]


def packed(objects: Iterable[Label]) -> NDArray[np.float32]:
    """A frame's labels, float32 [MOST_LABELS, len(FIELDS)]: by class, the largest of a class first.
    Where there are more objects than places, the last ones are left out."""
    ordered = sorted(objects, key=lambda label: (label[0], -label[3] * label[4]))[:MOST_LABELS]
    labels = np.full((MOST_LABELS, len(FIELDS)), np.nan, np.float32)
    if ordered:
        labels[: len(ordered)] = ordered
    return labels
