"""Steps at a rate that is kept over time, though single ones come late."""

from __future__ import annotations

import time

_MOST_LATE = 0.5
"""Seconds. Later steps are not made up for: the machine cannot keep up."""


class Pace:
    """Each step is due a fixed time after the one before it was, not after that was done."""

    def __init__(self) -> None:
        self._due = time.monotonic()

    @property
    def left(self) -> float:
        """Seconds until the next step is due."""
        return self._due - time.monotonic()

    def stepped(self, fps: float | None) -> None:
        """A step begins. `fps`: steps a second; None: the next one is due at once."""
        if fps is None or -self.left > _MOST_LATE:
            self.restart()
        self._due += 0 if fps is None else 1 / fps

    def restart(self) -> None:
        """The next step is due now."""
        self._due = time.monotonic()
