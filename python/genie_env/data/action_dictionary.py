"""A dictionary from latent actions to real ones, learned from a few labelled transitions.

Everything here works on a table of how often each code and each real action occurred together,
int64 [codes, actions], or on one of these for every real action before: int64 [actions, codes, actions].
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from genie_env.data.datasets import shuffled

Counts = NDArray[np.int64]

CODE_ALONE = 2
"""How many labels after each action what a code means alone is worth."""


def count_together(
    codes: NDArray[np.integer], actions: NDArray[np.integer], shape: tuple[int, int]
) -> Counts:
    """How often each code occurred with each action: int64 `shape`, which is (codes, actions).

    codes, actions: integers [M], of the same transitions.
    """
    counts = np.zeros(shape, np.int64)
    np.add.at(counts, (codes, actions), 1)
    return counts


def most_frequent(counts: Counts) -> NDArray[np.int64]:
    """int64 [codes]: the action that occurred most often with each code; of the transposed counts, the
    code that occurred most often with each action.

    Among several, the one that is most frequent overall, then the smallest number. So a code that
    never occurred gets the action that is most frequent overall.

    >>> most_frequent(np.array([[5, 1, 1], [0, 1, 1], [0, 0, 3], [0, 0, 0]]))
    array([0, 2, 2, 0])
    """
    overall = counts.sum(axis=0)
    first: NDArray[np.int64] = (counts * (overall.sum() + 1) + overall).argmax(axis=1)
    return first


def count_after(
    before: NDArray[np.integer],
    codes: NDArray[np.integer],
    actions: NDArray[np.integer],
    shape: tuple[int, int],
) -> Counts:
    """How often each code occurred with each action, by the action of the transition before: int64
    [actions, codes, actions], where `shape` is (codes, actions).

    before: integers [M], -1 where an episode begins, which is not counted. The others as of
    `count_together`.
    """
    counts = np.zeros((shape[1], *shape), np.int64)
    known = before >= 0
    np.add.at(counts, (before[known], codes[known], actions[known]), 1)
    return counts


def most_frequent_after(counts: Counts, after: Counts) -> NDArray[np.int64]:
    """int64 [actions, codes]: the action that occurred most often with each code, after each action.

    counts: of codes alone; after: by the action before. What the labels of a code alone say counts as
    CODE_ALONE of them more, so that it decides where there are none.

    >>> counts = np.array([[3, 1], [1, 3]])
    >>> most_frequent_after(counts, np.array([[[3, 0], [0, 0]], [[0, 1], [1, 3]]]))
    array([[0, 1],
           [0, 1]])
    """
    own = np.zeros_like(counts)
    own[np.arange(len(counts)), most_frequent(counts)] = 1
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    found: NDArray[np.int64] = (after + CODE_ALONE * shares + 1e-6 * own).argmax(axis=2)
    return found


def accuracy(dictionary: NDArray[np.int64], counts: Counts) -> float:
    """The share of the counted transitions whose action is the dictionary's for their code.

    >>> accuracy(np.array([1, 0]), np.array([[1, 3], [4, 0]]))
    0.875
    """
    named = counts[np.arange(len(counts)), dictionary].sum()
    return float(named / counts.sum())


def accuracy_after(
    alone: NDArray[np.int64], after: NDArray[np.int64], counts: Counts, counts_after: Counts
) -> float:
    """The same of a dictionary that knows the action before; of `alone` where there is none.

    >>> counts = np.array([[3, 0], [1, 3]])
    >>> accuracy_after(
    ...     np.array([0, 1]), np.array([[0, 0], [0, 1]]), counts, np.array([[[1, 0], [1, 1]], [[0, 0]] * 2])
    ... )
    0.8571428571428571
    """
    first = counts - counts_after.sum(axis=0)
    named = first[np.arange(len(first)), alone].sum()
    named += np.take_along_axis(counts_after, after[:, :, None], axis=2).sum()
    return float(named / counts.sum())


def labelled_transitions(count: int, labelled: int, seed: int, draw: int) -> NDArray[np.int64]:
    """int64 [labelled]: which of `count` transitions are labelled, without repetition.

    A function of (seed, draw) alone; those of a smaller `labelled` are the first ones of a larger.
    """
    return shuffled(count, seed, draw)[:labelled]


def check_labelled(labelled: int, count: int) -> None:
    """Raises ValueError unless `labelled` of `count` transitions can be labelled."""
    if labelled < 1:
        raise ValueError(f"labelled is {labelled}; expected 1 or more: nothing maps without labels")
    if labelled > count:
        raise ValueError(
            f"{labelled:,} labelled transitions were asked for, but the training part of the "
            f"recordings has {count:,}: give a smaller --labelled, or record more episodes"
        )
