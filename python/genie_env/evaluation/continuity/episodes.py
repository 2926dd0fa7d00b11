"""The episodes that are measured, and those that networks learn to read on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genie_env._core import EpisodeStore
from genie_env.evaluation.outcomes import Episode

LEAST = 10
"""Episodes that are needed of either kind, where networks learn."""


@dataclass(frozen=True)
class Past:
    """A frame that dreams go on from."""

    episode: int
    """Its place in a list of episodes."""
    frame: int
    """Its place in the episode. The world has followed the episode up to it."""


def every_episode(
    stores: Sequence[EpisodeStore],
    chosen: Sequence[NDArray[np.bool_]],
    actions: Sequence[NDArray[Any]],
    seed: int,
) -> list[Episode]:
    """The chosen episodes in random order. chosen: bool [E] a store; actions: [frames, ...] a store."""
    found = [
        Episode(store, index, taken[store.episode_starts[index] : store.episode_starts[index + 1]])
        for store, wanted, taken in zip(stores, chosen, actions, strict=True)
        for index in np.flatnonzero(wanted).tolist()
    ]
    order = np.random.Generator(np.random.Philox(key=[seed, 0])).permutation(len(found))
    return [found[place] for place in order]


def long_enough(
    episodes: Sequence[Episode], burn_in: int, age: int, least: int, option: str
) -> list[Episode]:
    """The episodes in which a dream can reach an age after `burn_in` followed frames. Raises
    ValueError, which names the age, where fewer than `least` are; `option`: the one that gave it."""
    frames = 1 + burn_in + age
    found = [episode for episode in episodes if len(episode) >= frames]
    if len(found) < least:
        longest = max(map(len, episodes), default=0)
        raise ValueError(
            f"the recordings are too short for age {age}: it takes episodes of {frames:,} frames (the "
            f"first, {burn_in} of the burn-in, {age} of a dream), which {len(found):,} of "
            f"{len(episodes):,} have (the longest: {longest:,}), and at least {least} are needed: give "
            f"smaller ages ({option}), a smaller --burn-in, or longer or more episodes"
        )
    return found


def divided(episodes: Sequence[Episode], most: int) -> tuple[list[Episode], list[Episode]]:
    """Those that are measured, at most `most` and at most half of them, and those that networks learn
    from."""
    count = min(most, len(episodes) // 2)
    return [*episodes[:count]], [*episodes[count:]]


def pasts_to_dream_from(
    episodes: Sequence[Episode], burn_in: int, horizon: int, each: int, seed: int, use: int
) -> list[Past]:
    """drawn_pasts of the frames after `burn_in` others that `horizon` more follow in their episode."""
    places = [np.arange(burn_in, len(episode) - horizon) for episode in episodes]
    return drawn_pasts(places, each, seed, use)


def drawn_pasts(places: Sequence[NDArray[np.int64]], each: int, seed: int, use: int) -> list[Past]:
    """Up to `each` pasts of every episode, all equally likely. places: the frames that may be one, an
    array an episode; use: tells draws of one seed apart."""
    random = np.random.Generator(np.random.Philox(key=[seed, use]))
    found = []
    for episode, frames in enumerate(places):
        drawn = random.permutation(frames)[:each]
        found += [Past(episode, frame) for frame in np.sort(drawn).tolist()]
    return found
