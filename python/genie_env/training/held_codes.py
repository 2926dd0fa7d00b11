"""Latent actions that are held where the picture cannot say what was done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genie_env._core import EpisodeStore
from genie_env.data.datasets import transitions

STILL = 0.7
"""A picture stands still from one frame to the next where at least this share of its tokens stay."""
STILL_CODES = 0.1
"""An action that is inferred in this share of what stands still means that nothing moves."""
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
    in which nothing moves are under the action before them. Such a time begins with the second of two
    transitions in a row that stand still, and lasts as long as the picture stands still, flashes, or has
    an action that means that nothing moves. And a flash, as of a hit, has a code that stands for it: who never takes
    that action would never be hit. So a flash is always under the action before it.

    Only the part that is trained on changes. tokens: [frames, S] a store.
    """
    seen = [_Seen.of(store, of_store) for store, of_store in zip(stores, tokens, strict=True)]
    codes = int(max(of_store.max() for of_store in actions)) + 1
    while_still = np.zeros(codes, np.int64)
    for of_store, each in zip(actions, seen, strict=True):
        while_still += np.bincount(of_store[each.still], minlength=codes)
    mean_still = while_still >= max(STILL_CODES * while_still.sum(), 1)
    return [
        _hold(each, of_store, mean_still, share, np.random.Generator(np.random.Philox(key=[seed, i])))
        for i, (each, of_store) in enumerate(zip(seen, actions, strict=True))
    ]


@dataclass(frozen=True)
class _Seen:
    """What the transitions of the part that is trained on look like: bool [frames]."""

    episode: NDArray[np.int64]
    """int64 [frames]: where each frame's episode begins."""
    transition: NDArray[np.bool_]
    still: NDArray[np.bool_]
    flash: NDArray[np.bool_]

    @staticmethod
    def of(store: EpisodeStore, tokens: NDArray[np.uint16]) -> _Seen:
        transition, still, flash = np.zeros((3, store.num_frames), bool)
        rows = transitions(store, held_out_part=False)
        transition[rows] = True
        for some in np.array_split(rows, len(rows) // FRAMES_AT_ONCE + 1):
            still[some] = (tokens[some] == tokens[some + 1]).mean(axis=1) >= STILL
            colours = [store.frames[these].mean(axis=(1, 2)) for these in (some, some + 1)]
            flash[some] = np.abs(colours[1] - colours[0]).max(axis=1) >= FLASH * 255
        episode = np.repeat(store.episode_starts[:-1], np.diff(store.episode_starts))
        return _Seen(episode, transition, still & ~flash, flash)


def _hold(
    seen: _Seen,
    actions: NDArray[np.integer[Any]],
    mean_still: NDArray[np.bool_],
    share: float,
    random: np.random.Generator,
) -> NDArray[np.integer[Any]]:
    quiet = seen.transition & (seen.still | seen.flash | mean_still[actions])
    begins = seen.still & np.roll(seen.still, 1)
    moves = _latest(~quiet)
    in_time = quiet & (_latest(begins) > moves)
    drawn = random.random(len(actions))[moves]  # one number for all of a time
    held = np.where(in_time & (moves >= seen.episode) & (drawn < share), actions[moves], actions)
    before = _latest(~seen.flash)
    return np.where(seen.flash & (before >= seen.episode), held[before], held)


def _latest(marked: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The last marked index up to each one; -1 before the first."""
    return np.maximum.accumulate(np.where(marked, np.arange(len(marked)), -1))
