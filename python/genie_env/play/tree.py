"""Moments of a dream that are kept, to return to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genie_env._core import Snapshot
from genie_env.play.protocol import as_data

MOST = 200
"""Moments of one tab."""


@dataclass(frozen=True)
class Moment:
    snapshot: Snapshot
    """Of one row."""
    step: int
    total: float
    """The return so far."""
    seed: int
    parent: int | None
    picture: NDArray[np.uint8]


class Tree:
    """Moments by number; each knows the one that the dream had been at before it."""

    def __init__(self) -> None:
        self._moments: dict[int, Moment] = {}
        self.at: int | None = None
        """The last moment that was kept or returned to."""

    def keep(
        self, snapshot: Snapshot, step: int, total: float, seed: int, picture: NDArray[np.uint8]
    ) -> None:
        if len(self._moments) == MOST:
            raise ValueError(f"{MOST} moments are kept already: reset forgets them")
        number = len(self._moments)
        self._moments[number] = Moment(snapshot, step, total, seed, self.at, picture)
        self.at = number

    def back_to(self, number: int) -> Moment:
        if number not in self._moments:
            raise ValueError(f"there is no moment {number}; there are {len(self._moments)}")
        self.at = number
        return self._moments[number]

    def as_json(self) -> dict[str, Any]:
        return {
            "type": "tree",
            "nodes": [
                {
                    "id": number,
                    "parent": moment.parent,
                    "step": moment.step,
                    "picture": as_data(moment.picture),
                }
                for number, moment in self._moments.items()
            ],
            "at": self.at,
        }
