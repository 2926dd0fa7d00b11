"""Moments of a dream that are kept, to return to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genie_env._core import Snapshot
from genie_env.play.progress import Progress
from genie_env.play.protocol import as_data

MOST = 200
MOST_BYTES = 256 << 20
"""Of all moments of one tab."""


@dataclass(frozen=True)
class Moment:
    snapshot: Snapshot
    """Of one row."""
    progress: Progress
    seed: int
    parent: int | None
    picture: str
    """A data URL."""


class Tree:
    """Moments by number; each knows the one that its episode had been at before it."""

    def __init__(self, bytes_each: int) -> None:
        self._most = max(1, min(MOST, MOST_BYTES // max(1, bytes_each)))
        self._moments: dict[int, Moment] = {}
        self._at: int | None = None

    def keep(
        self, snapshot: Snapshot, progress: Progress, seed: int, picture: NDArray[np.uint8]
    ) -> None:
        if len(self._moments) == self._most:
            raise ValueError(
                f"{self._most} moments are kept already: reload the page to forget them"
            )
        number = len(self._moments)
        self._moments[number] = Moment(snapshot, progress, seed, self._at, as_data(picture))
        self._at = number

    def back_to(self, number: int) -> Moment:
        if number not in self._moments:
            raise ValueError(f"there is no moment {number}; there are {len(self._moments)}")
        self._at = number
        return self._moments[number]

    def leave(self) -> None:
        """An episode begins, which comes from no moment."""
        self._at = None

    def as_json(self) -> dict[str, Any]:
        return {
            "type": "tree",
            "nodes": [
                {
                    "id": number,
                    "parent": moment.parent,
                    "step": moment.progress.step,
                    "picture": moment.picture,
                }
                for number, moment in self._moments.items()
            ],
            "at": self._at,
        }
