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
    often = _drawn_groups(count)
    means = (often @ sums) / (often @ sizes)[:, None]
    low, high = np.percentile(means, [2.5, 97.5], axis=0)
    return Curve(mean, (low, high))


@dataclass(frozen=True)
class Figure:
    """A figure of groups, with its 95 % confidence interval: a percentile bootstrap over groups."""

    mean: float
    ci95: tuple[float, float] | None
    """None of a single group."""

    def as_json(self) -> dict[str, Any]:
        return {"mean": self.mean, "ci95": None if self.ci95 is None else [*self.ci95]}


def _drawn_groups(count: int) -> NDArray[np.float64]:
    """How often each group is in each resample, [RESAMPLES, count]; the draws are fixed."""
    random = np.random.Generator(np.random.Philox(key=count))
    often = random.multinomial(count, np.full(count, 1 / count), RESAMPLES)
    return often.astype(np.float64)


def _interval(values: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)


def r2_of_groups(
    real: NDArray[np.float64], told: NDArray[np.float64], groups: NDArray[np.int64]
) -> Figure:
    """1 - squared error / variance, of `real` [N] told by `told`: [N], or S times, [N, S], whose
    errors are averaged. Rows of one of the `groups` [N], numbered from 0, are alike.

    >>> real, groups = np.array([0.0, 1.0, 2.0, 3.0]), np.array([0, 0, 1, 1])
    >>> r2_of_groups(real, real, groups).mean, r2_of_groups(real, real * 0 + 1.5, groups).mean
    (1.0, 0.0)
    """
    each = told if told.ndim == 2 else told[:, None]
    wrong = np.square(each - real[:, None]).mean(1)
    count = int(groups.max()) + 1
    # The middle makes no difference but to rounding.
    centred = real - real.mean()
    sums = np.zeros((count, 4))
    np.add.at(sums, groups, np.stack([np.ones_like(real), centred, centred**2, wrong], axis=1))

    def r2(totals: NDArray[np.float64]) -> NDArray[np.float64]:
        n, first, second, error = np.moveaxis(totals, -1, 0)
        variance = second - first**2 / n
        told: NDArray[np.float64] = 1 - error / np.where(variance > 1e-12 * n, variance, np.nan)
        return told

    mean = float(r2(sums.sum(0)))
    if not np.isfinite(mean):
        raise ValueError("what is to be told does not vary at all, so that it has no R2")
    return Figure(mean, None if count == 1 else _interval(r2(_drawn_groups(count) @ sums)))


def auc_of_groups(
    higher: NDArray[np.float64], lower: NDArray[np.float64], groups: NDArray[np.int64]
) -> Figure:
    """The probability that a score of `higher` [N] is above one of `lower` [N], ties counted half:
    the area under the ROC curve. Rows of both are of the `groups` [N], numbered from 0.

    >>> scores, groups = np.array([1.0, 2.0]), np.array([0, 1])
    >>> auc_of_groups(scores, scores, groups).mean, auc_of_groups(scores + 2, scores, groups).mean
    (0.5, 1.0)
    """
    count = int(groups.max()) + 1
    wins = (higher[:, None] > lower) + 0.5 * (higher[:, None] == lower)
    by_group = np.zeros((count, len(lower)))
    np.add.at(by_group, groups, wins)
    pairs = np.zeros((count, count))
    np.add.at(pairs.T, groups, by_group.T)
    sizes = np.bincount(groups, minlength=count).astype(np.float64)
    mean = float(pairs.sum() / sizes.sum() ** 2)
    if count == 1:
        return Figure(mean, None)
    often = _drawn_groups(count)
    resampled = np.einsum("rg,gh,rh->r", often, pairs, often, optimize=True)
    return Figure(mean, _interval(resampled / (often @ sizes) ** 2))
