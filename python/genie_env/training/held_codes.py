"""Latent actions that are held where the picture cannot say what was done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genie_env._core import EpisodeStore
from genie_env.data.datasets import transitions

STILL = 0.7
"""A picture stands still from one frame to the next where at least this share of its tokens stay."""
FLASH = 0.15
"""A picture flashes where the mean of a colour jumps by this share of its range."""
FRAMES_AT_ONCE = 4096


def hold_codes(
    stores: Sequence[EpisodeStore],
    tokens: Sequence[NDArray[np.uint16]],
    actions: Sequence[NDArray[np.integer[Any]]],
    share: float,
    seed: int,
) -> list[NDArray[np.integer[Any]]]:
    """The actions, [frames] a store, held in two places where inferred ones say what nobody chose.

    What a wall stops looks like no push at all, and is inferred as none: dynamics that learn from that
    alone have never seen a push that changes nothing, and walk through the wall. So `share` of the times
    in which the picture stands still are under the action that moved it last. And a flash, as of a hit,
    has a code that stands for it: who never takes that action would never be hit. So a flash is always
    under the action before it.

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
    still, flash, neither = np.zeros((3, len(actions)), bool)
    for some in np.array_split(rows, len(rows) // FRAMES_AT_ONCE + 1):
        still[some] = (tokens[some] == tokens[some + 1]).mean(axis=1) >= STILL
        colours = [store.frames[these].mean(axis=(1, 2)) for these in (some, some + 1)]
        flash[some] = np.abs(colours[1] - colours[0]).max(axis=1) >= FLASH * 255
    still &= ~flash
    neither[rows] = ~(still | flash)[rows]
    begins = still & ~np.roll(still, 1)  # an episode's last frame never counts as still
    chosen = still & (random.random(len(actions))[_latest(begins)] < share)
    held = _from_latest(store, neither, chosen, actions)
    return _from_latest(store, ~flash, flash, held)


def _from_latest(
    store: EpisodeStore,
    sources: NDArray[np.bool_],
    places: NDArray[np.bool_],
    actions: NDArray[np.integer[Any]],
) -> NDArray[np.integer[Any]]:
    """The actions, with that of the latest source of its episode in each of the places that has one."""
    latest = _latest(sources)
    episode = np.repeat(store.episode_starts[:-1], np.diff(store.episode_starts))
    return np.where(places & (latest >= episode), actions[latest], actions)


def _latest(marked: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The last marked index up to each one; -1 before the first."""
    return np.maximum.accumulate(np.where(marked, np.arange(len(marked)), -1))
