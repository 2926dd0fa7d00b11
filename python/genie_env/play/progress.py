"""Where an episode is, and what its last step brought."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Place = Literal["dream", "real"]


@dataclass
class Progress:
    """As a frame's header says it."""

    step: int = 0
    total: float = 0.0
    """The return so far."""
    reward: float = 0.0
    surprise: float = 0.0
    """Nats, of the last frame."""
    termination_probability: float | None = None
    """The world's, of the last step; None: it tells none."""
    terminated: bool = False
    truncated: bool = False
    action: int | list[float] | None = None
    made_ms: float = 0.0
    """What the step took."""

    @property
    def ended(self) -> bool:
        return self.terminated or self.truncated

    def took(
        self,
        action: int | list[float],
        reward: float,
        scores: Mapping[str, Any],
        *,
        terminated: bool,
        truncated: bool,
        made_ms: float,
    ) -> None:
        """One step more. `scores`: what an environment's infos say of it, one number each."""
        self.step += 1
        self.total += reward
        self.action, self.reward = action, reward
        self.surprise = scores["surprise"]
        self.termination_probability = scores.get("termination_probability")
        self.terminated, self.truncated, self.made_ms = terminated, truncated, made_ms

    def as_json(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "return": self.total,
            "reward": self.reward,
            "termination_probability": self.termination_probability,
            "surprise": self.surprise,
            "ended": "terminated" if self.terminated else "truncated" if self.truncated else None,
            "action": self.action,
            "made_ms": round(self.made_ms, 2),
        }


@dataclass(frozen=True)
class Shown:
    """A frame and what is said of it."""

    header: dict[str, Any]
    picture: NDArray[np.uint8]
    """All rows in one: uint8 [rows * H, columns * W, 3]."""
