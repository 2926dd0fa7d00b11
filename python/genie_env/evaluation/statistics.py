"""Summaries of many episodes' scores: means, spreads and confidence intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genie_env.games.base import rounded

RESAMPLES = 10_000
METHOD = f"percentile bootstrap of the mean, {RESAMPLES:,} resamples"


@dataclass(frozen=True)
class Summary:
    """Mean, standard deviation (n - 1) and 95 % confidence interval of the mean of n scores.

    Scores of games are far from normal (many early ends, a long tail, a peak at the time limit), so
    the interval is a percentile bootstrap; its draws are fixed, so equal scores give equal
    intervals. Of a single score the spread is unknown: both are None.
    """

    mean: float
    std: float | None
    ci95: tuple[float, float] | None
    n: int

    @property
    def spread(self) -> str:
        """The standard deviation, for tables."""
        return "-" if self.std is None else f"{rounded(self.std)}"

    @property
    def interval(self) -> str:
        """The confidence interval, for tables."""
        return "-" if self.ci95 is None else f"{rounded(self.ci95[0])} to {rounded(self.ci95[1])}"

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "ci95_method": METHOD}


def summarise(scores: Sequence[float] | NDArray[Any]) -> Summary:
    """Summarises one score or more. Raises ValueError without any."""
    values = np.asarray(scores, np.float64)
    if values.ndim != 1 or len(values) == 0:
        raise ValueError(f"scores of shape {values.shape} were given, expected at least one")
    mean = float(values.mean())
    if len(values) == 1:
        return Summary(mean, None, None, 1)
    random = np.random.Generator(np.random.Philox(key=len(values)))
    # A resample in one multinomial draw: how often each score is in it.
    means = np.concatenate(
        [
            random.multinomial(len(values), np.full(len(values), 1 / len(values)), 100) @ values
            for _ in range(RESAMPLES // 100)
        ]
    ) / len(values)
    low, high = np.percentile(means, [2.5, 97.5])
    return Summary(mean, float(values.std(ddof=1)), (float(low), float(high)), len(values))


@dataclass(frozen=True)
class Curve:
    """A mean at each of K places in turn, with its 95 % confidence interval."""

    mean: NDArray[np.float64]
    """[K]"""
    ci95: tuple[NDArray[np.float64], NDArray[np.float64]] | None
    """Lower and upper end, [K] each; None of a single group."""

    def as_json(self) -> dict[str, Any]:
        """By place, counted from 1."""

        def interval(place: int) -> list[float] | None:
            return None if self.ci95 is None else [float(end[place]) for end in self.ci95]

        return {
            str(place + 1): {"mean": float(mean), "ci95": interval(place)}
            for place, mean in enumerate(self.mean)
        }


def summarise_groups(values: NDArray[np.float64], groups: NDArray[np.int64]) -> Curve:
    """The mean over N rows of `values` [N, K], of G `groups` [N] numbered from 0.

    Rows of one group (dreams that start in one episode) are alike, so the interval is a percentile
    bootstrap over whole groups: over rows, it would be far too narrow.
    """
    count = int(groups.max()) + 1
    sums = np.zeros((count, values.shape[1]))
    np.add.at(sums, groups, values)
    sizes = np.bincount(groups, minlength=count)
    mean = sums.sum(axis=0) / sizes.sum()
    if count == 1:
        return Curve(mean, None)
    random = np.random.Generator(np.random.Philox(key=count))
    often = random.multinomial(count, np.full(count, 1 / count), RESAMPLES)
    means = (often @ sums) / (often @ sizes)[:, None]
    low, high = np.percentile(means, [2.5, 97.5], axis=0)
    return Curve(mean, (low, high))
