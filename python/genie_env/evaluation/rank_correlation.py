"""How well one score orders agents as another does, with its interval over agents."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from genie_env.evaluation.statistics import Figure

RESAMPLES = 4_000
LEAST_FOR_INTERVAL = 8
"""Agents."""


def ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The rank of every value, from 1 on; equal ones share the mean of theirs. [..., N] -> [..., N].

    >>> ranks(np.array([3.0, 1.0, 3.0])).tolist()
    [2.5, 1.0, 2.5]
    """
    below = (values[..., None, :] < values[..., :, None]).sum(-1)
    equal = (values[..., None, :] == values[..., :, None]).sum(-1)
    of_each: NDArray[np.float64] = below + (equal + 1) / 2
    return of_each


def spearman(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Spearman's rank correlation over the last axis, [..., N] twice -> [...]; nan where all values
    of one are equal.

    >>> spearman(np.array([1.0, 2.0, 3.0]), np.array([10.0, 30.0, 20.0])).item()
    0.5
    """
    a, b = (each - each.mean(-1, keepdims=True) for each in (ranks(x), ranks(y)))
    scale = np.sqrt((a * a).sum(-1) * (b * b).sum(-1))
    with np.errstate(invalid="ignore"):
        return np.asarray((a * b).sum(-1) / np.where(scale > 0, scale, np.nan))


def partial_spearman(
    x: NDArray[np.float64], y: NDArray[np.float64], z: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Spearman's correlation of x and y in what z does not explain of either (the first-order partial
    correlation of ranks), [..., N] thrice -> [...]; nan where z orders one of them perfectly.

    >>> x, y, z = np.array([[1.0, 2, 3, 4, 5], [2, 1, 4, 3, 5], [3, 1, 2, 5, 4]])
    >>> f"{spearman(x, y):.2f} {partial_spearman(x, y, z):.2f}"
    '0.80 0.72'
    """
    xy, xz, yz = spearman(x, y), spearman(x, z), spearman(y, z)
    left = (1 - xz * xz) * (1 - yz * yz)
    with np.errstate(invalid="ignore"):
        return np.asarray((xy - xz * yz) / np.sqrt(np.where(left > 1e-12, left, np.nan)))


def rank_correlation(
    one: Sequence[float], other: Sequence[float], given: Sequence[float] | None = None
) -> Figure | None:
    """Of N agents' figures in two places; None where all are equal in one of them. `given`: a third
    figure, what it explains of both being taken out; None also where it explains all of one.

    The 95 % interval is a percentile bootstrap over agents, None of fewer than LEAST_FOR_INTERVAL,
    of which it would be far too narrow. A perfect order has the interval 1 to 1. Noise in the
    figures, as of means of few episodes, pulls the correlation towards 0. Raises ValueError for
    fewer than three agents.
    """
    if len(one) != len(other) or len(one) < 3:
        raise ValueError(
            f"figures of {len(one)} and {len(other)} agents were given; expected as many, and 3 or "
            "more"
        )
    figures = [np.array(each, np.float64) for each in (one, other, given) if each is not None]
    correlation = spearman if given is None else partial_spearman
    found = correlation(*figures).item()
    if not np.isfinite(found):
        return None
    if len(one) < LEAST_FOR_INTERVAL:
        return Figure(found, None)
    random = np.random.Generator(np.random.Philox(key=len(one)))
    drawn = random.integers(0, len(one), (RESAMPLES, len(one)))
    low, high = np.nanpercentile(correlation(*(each[drawn] for each in figures)), [2.5, 97.5])
    return Figure(found, (float(low), float(high)))
