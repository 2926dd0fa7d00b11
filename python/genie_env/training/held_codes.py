"""Latent actions that push on where nothing moves, as against a wall."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genie_env._core import EpisodeStore
from genie_env.data.datasets import ROWS_AT_ONCE, transitions

STILL = 0.7
"""A picture stands still from one frame to the next where at least this share of its tokens stay."""


def hold_codes(
    stores: Sequence[EpisodeStore],
    tokens: Sequence[NDArray[np.uint16]],
    actions: Sequence[NDArray[np.integer[Any]]],
    share: float,
    seed: int,
) -> list[NDArray[np.integer[Any]]]:
    """The actions, [frames] a store, with `share` of the times in which the picture stands still
    under the action that moved it last.

    What a wall stops looks like no push at all, and is inferred as none. Dynamics that learn from
    inferred actions alone have never seen a push that changes nothing, and walk through the wall.
    Only the part that is trained on changes. tokens: [frames, S] a store.
    """
    return [
        _hold(*of_store, share, np.random.Generator(np.random.Philox(key=[seed, index])))
        for index, of_store in enumerate(zip(stores, tokens, actions, strict=True))
    ]


def _hold(
    store: EpisodeStore,
    tokens: NDArray[np.uint16],
    actions: NDArray[np.integer[Any]],
    share: float,
    random: np.random.Generator,
) -> NDArray[np.integer[Any]]:
    rows = transitions(store, held_out_part=False)
    still, moved = np.zeros((2, len(actions)), bool)
    for some in np.array_split(rows, len(rows) // ROWS_AT_ONCE + 1):
        still[some] = (tokens[some] == tokens[some + 1]).mean(axis=1) >= STILL
    moved[rows] = ~still[rows]
    last_moved = _latest(moved)
    begins = still & ~np.roll(still, 1)  # an episode's last frame never counts as still
    held = random.random(len(actions))[_latest(begins)] < share
    episode = np.repeat(store.episode_starts[:-1], np.diff(store.episode_starts))
    return np.where(still & held & (last_moved >= episode), actions[last_moved], actions)


def _latest(marked: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The last marked index up to each one; -1 before the first."""
    return np.maximum.accumulate(np.where(marked, np.arange(len(marked)), -1))
