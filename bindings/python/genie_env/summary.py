"""What many episodes' scores say together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
METHOD = f"percentile bootstrap of the mean, {RESAMPLES:,} resamples"


@dataclass(frozen=True)
class Summary:
    """Mean, standard deviation (n - 1) and 95 % confidence interval of the mean of n scores.

    Survival in Doom is far from normal (many early deaths, a long tail, a heap at the time limit),
    so the interval is a percentile bootstrap; its draws are fixed, so equal scores give equal
    intervals.
    """

    mean: float
    std: float
    ci95: tuple[float, float]
    n: int

    def __str__(self) -> str:
        return f"{self.mean:,.0f} ± {self.std:,.0f} [{self.ci95[0]:,.0f}, {self.ci95[1]:,.0f}]"

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "ci95": list(self.ci95), "ci95_method": METHOD}


def summarise(scores: Sequence[float] | NDArray[Any]) -> Summary:
    """Of one score or more; the interval of a single score is that score."""
    values = np.asarray(scores, np.float64)
    if values.ndim != 1 or len(values) == 0:
        raise ValueError(f"scores of shape {values.shape} were given, expected at least one")
    random = np.random.Generator(np.random.Philox(key=len(values)))
    # A resample in one multinomial draw: how often each score is in it.
    means = np.concatenate(
        [
            random.multinomial(len(values), np.full(len(values), 1 / len(values)), 100) @ values
            for _ in range(RESAMPLES // 100)
        ]
    ) / len(values)
    low, high = np.percentile(means, [2.5, 97.5])
    std = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    return Summary(float(values.mean()), std, (float(low), float(high)), len(values))
