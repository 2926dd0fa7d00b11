"""Steps at a rate that is kept over time, though single ones come late."""

from __future__ import annotations

import asyncio
import collections
import time


class Pace:
    """Each step is due a fixed time after the one before it, not after that was done."""

    def __init__(self) -> None:
        self._due = 0.0
        self._steps: collections.deque[float] = collections.deque(maxlen=61)

    async def wait(self, fps: float | None) -> None:
        """Until the next step is due. `fps`: steps a second; None: at once."""
        now = time.monotonic()
        if fps is None:
            self._due = now
        else:
            if now - self._due > 0.5:  # it was paused, or cannot keep up: no steps are made up for
                self._due = now
            if self._due > now:
                await asyncio.sleep(self._due - now)
            self._due += 1 / fps
        self._steps.append(time.monotonic())

    @property
    def measured(self) -> float:
        """Steps a second over the last ones; 0 before the second."""
        if len(self._steps) < 2:
            return 0.0
        return (len(self._steps) - 1) / (self._steps[-1] - self._steps[0])
