"""How well one score orders agents as another does, with its interval over agents."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from genie_env.evaluation.statistics import Figure

RESAMPLES = 4_000

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
    """Spearman's rank correlation over the last axis; nan where all values of one are equal.

    >>> spearman(np.array([1.0, 2.0, 3.0]), np.array([10.0, 30.0, 20.0])).item()
    0.5
    """
    a, b = (each - each.mean(-1, keepdims=True) for each in (ranks(x), ranks(y)))
    scale = np.sqrt((a * a).sum(-1) * (b * b).sum(-1))
    with np.errstate(invalid="ignore"):
        return np.asarray((a * b).sum(-1) / np.where(scale > 0, scale, np.nan))


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> Figure:
    """Of N agents' figures in two places. The 95 % interval is a percentile bootstrap over agents:
    that each figure is a mean of few episodes is part of what makes agents differ.

    Raises ValueError for fewer than three agents, or where all have the same figure.
    """
    if len(one) != len(other) or len(one) < 3:
        raise ValueError(
            f"figures of {len(one)} and {len(other)} agents were given; expected as many, and 3 or "
            "more"
        )
    x, y = np.array(one, np.float64), np.array(other, np.float64)
    found = spearman(x, y).item()
    if not np.isfinite(found):
        raise ValueError("all agents have the same score, so that nothing orders them")
    random = np.random.Generator(np.random.Philox(key=len(one)))
    drawn = random.integers(0, len(one), (RESAMPLES, len(one)))
    low, high = np.nanpercentile(spearman(x[drawn], y[drawn]), [2.5, 97.5])
    return Figure(found, (float(low), float(high)))
