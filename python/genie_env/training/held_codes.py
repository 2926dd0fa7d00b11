"""Latent actions that are held where the picture cannot say what was done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich import get_console

from genie_env._core import EpisodeStore
from genie_env.data.datasets import transitions

STILL = 0.7
"""A picture stands still from one frame to the next where at least this share of its tokens stay."""
STILL_CODES = 0.1
"""An action that is inferred in this share of what stands still means that nothing moves."""
FLASH = 0.15
"""A picture flashes where the mean of a colour jumps by this share of its range."""
MOST_STILL = 0.5
"""The share of still transitions from which on stillness says nothing, as with a camera that stands."""
AT_ONCE = 512
"""Transitions that are looked at together."""
HELD = 2**32
"""The first of the random streams, one a store, that draw the times that are held."""


def hold_codes(
    stores: Sequence[EpisodeStore],
    tokens: Sequence[NDArray[np.uint16]],
    actions: Sequence[NDArray[np.integer[Any]]],
    share: float,
    seed: int,
) -> list[NDArray[np.integer[Any]]]:
    """The actions, held in two places where inferred ones say what nobody chose: as `actions` is, which
    is [frames] a store. tokens: [frames, S] a store.

    What a wall stops looks like no push at all, and is inferred as none. Dynamics that learn from that
    alone have never seen a push that changes nothing, and walk through the wall. So `share` of the times
    in which nothing moves are under the action before them. Such a time begins with the second of two
    transitions in a row that stand still. It lasts until the picture moves, without a flash, under an
    action that means a move.

    A flash, as of a hit, has a code that stands for it: an agent that never takes that action would never
    be hit. So a flash is always under the action before it.

    Only the part that is trained on changes. Warns where most transitions stand still.
    """
    seen = [_Seen.of(store, of_store) for store, of_store in zip(stores, tokens, strict=True)]
    _warn_if_still(seen)
    codes = max(int(of_store.max(initial=0)) for of_store in actions) + 1
    while_still = np.zeros(codes, np.int64)
    for of_store, each in zip(actions, seen, strict=True):
        while_still += np.bincount(of_store[each.still], minlength=codes)
    mean_still = while_still >= max(STILL_CODES * while_still.sum(), 1)
    return [
        _hold(each, of_store, mean_still, share, np.random.Philox(key=[seed, HELD + index]))
        for index, (each, of_store) in enumerate(zip(seen, actions, strict=True))
    ]


@dataclass(frozen=True)
class _Seen:
    """What the transitions look like from each frame to the next, of the part that is trained on."""

    episode: NDArray[np.int64]
    """int64 [frames]: where each frame's episode begins."""
    transition: NDArray[np.bool_]
    """bool [frames], as the next two: false for held-out episodes, and at the end of each."""
    still: NDArray[np.bool_]
    flash: NDArray[np.bool_]

    @staticmethod
    def of(store: EpisodeStore, tokens: NDArray[np.uint16]) -> _Seen:
        transition, still, flash = np.zeros((3, store.num_frames), bool)
        rows, frames = transitions(store, held_out_part=False), store.frames
        transition[rows] = True
        for first in range(0, len(frames) - 1, AT_ONCE):
            block = slice(first, first + AT_ONCE + 1)
            here, colours = tokens[block], frames[block].mean(axis=(1, 2))
            into = slice(first, first + len(here) - 1)
            still[into] = (here[:-1] == here[1:]).mean(axis=1) >= STILL
            flash[into] = np.abs(np.diff(colours, axis=0)).max(axis=1) >= FLASH * 255
        still, flash = still & transition, flash & transition
        episode = np.repeat(store.episode_starts[:-1], np.diff(store.episode_starts))
        return _Seen(episode, transition, still & ~flash, flash)


def _warn_if_still(seen: Sequence[_Seen]) -> None:
    still = sum(int(each.still.sum()) for each in seen)
    all_of_them = sum(int(each.transition.sum()) for each in seen)
    if still > MOST_STILL * all_of_them:
        get_console().print(
            f"{still:,} of {all_of_them:,} recorded transitions stand still, and --held-codes is for "
            "recordings in which the player's actions move the picture. The dynamics are learned all "
            "the same, but are likely to be better without it",
            style="bold red",
            soft_wrap=True,
        )


def _hold(
    seen: _Seen,
    actions: NDArray[np.integer[Any]],
    mean_still: NDArray[np.bool_],
    share: float,
    stream: np.random.Philox,
) -> NDArray[np.integer[Any]]:
    quiet = seen.transition & (seen.still | seen.flash | mean_still[actions])
    begins = seen.still & np.roll(seen.still, 1)
    moves = _latest(~quiet)
    in_time = quiet & (_latest(begins) > moves)
    drawn = np.random.Generator(stream).random(len(actions))[moves]  # one number for all of a time
    held = np.where(in_time & (moves >= seen.episode) & (drawn < share), actions[moves], actions)
    before = _latest(~seen.flash)
    return np.where(seen.flash & (before >= seen.episode), held[before], held)


def _latest(marked: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The last marked index up to each one; -1 before the first."""
    return np.maximum.accumulate(np.where(marked, np.arange(len(marked)), -1))
