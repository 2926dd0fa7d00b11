"""Where an episode is, and what its last step brought."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Progress:
    """As a frame's header says it. What a step brought is None before the first."""

    step: int = 0
    total: float = 0.0
    """The return so far."""
    reward: float | None = None
    surprise: float | None = None
    """Nats, of the last frame."""
    termination_probability: float | None = None
    """The world's, of the last step; None: it tells none."""
    terminated: bool = False
    truncated: bool = False
    action: int | list[float] | None = None

    @property
    def ended(self) -> bool:
        return self.terminated or self.truncated

    def after(
        self,
        action: int | list[float],
        reward: float,
        scores: Mapping[str, Any],
        *,
        terminated: bool,
        truncated: bool,
    ) -> Progress:
        """One step later. `scores`: what an environment's infos say of it, one number each."""
        return Progress(
            step=self.step + 1,
            total=self.total + reward,
            reward=reward,
            surprise=scores["surprise"],
            termination_probability=scores.get("termination_probability"),
            terminated=terminated,
            truncated=truncated,
            action=action,
        )

    def as_json(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "return": self.total,
            "reward": self.reward,
            "termination_probability": self.termination_probability,
            "surprise": self.surprise,
            "ended": "terminated" if self.terminated else "truncated" if self.truncated else None,
            "action": self.action,
        }


@dataclass(frozen=True)
class Shown:
    """A frame and what is said of it."""

    header: dict[str, Any]
    picture: NDArray[np.uint8]
    """All rows in one: uint8 [rows * H, columns * W, 3]."""
