"""The contents of a directory of recorded episodes, as numbers and as a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from genie_env.envs.actions import Taken

if TYPE_CHECKING:
    from genie_env._core import EpisodeStore

_SHEET_EPISODES = 10
_SHEET_FRAMES = 12


@dataclass(frozen=True)
class Contents:
    """Numbers of episodes, without their frames."""

    lengths: NDArray[np.int64]
    """Steps of every episode: int64 [E]."""
    scores: NDArray[np.float64]
    """The sum of rewards of every episode: float64 [E]."""
    terminated: int
    """Episodes that the game ended; the others were cut."""
    actions: dict[int, int]
    """How often each numbered action that occurs was chosen; empty where actions are of a box."""
    numbers: NDArray[np.float64]
    """Of every number of an action of a box: mean, std, least and largest, float64 [numbers, 4];
    empty where actions are numbered."""
    holds: NDArray[np.int64]
    """Steps of every run of one action within an episode: int64 [R]."""

    @classmethod
    def of(cls, store: EpisodeStore) -> Contents:
        """The contents of a store with at least one episode."""
        starts = store.episode_starts
        counted: dict[int, int] = {}
        numbers = np.zeros((0, 4))
        if store.actions.dtype == np.float32:
            each = store.actions.reshape(store.num_frames, -1)
            numbers = np.stack(
                [
                    each.mean(0, np.float64),
                    each.std(0, dtype=np.float64),
                    each.min(0),
                    each.max(0),
                ],
                axis=1,
            )
        else:  # an action may be any number, so none is used as the size of an array
            actions, counts = np.unique(store.actions, return_counts=True)
            counted = dict(zip(actions.tolist(), counts.tolist(), strict=True))
        return cls(
            lengths=np.diff(starts),
            scores=np.add.reduceat(store.rewards.astype(np.float64), starts[:-1]),
            terminated=int(store.terminations.sum()),
            actions=counted,
            numbers=numbers,
            holds=_holds(store.actions, starts),
        )


def contact_sheet(store: EpisodeStore) -> NDArray[np.uint8]:
    """A row an episode, frames from its first to its last: uint8 [H, W, 3].

    Episodes are spread over the whole store. A caption above each row says which episode,
    how long it was and how it ended.
    """
    from PIL import Image, ImageDraw

    episodes = np.unique(np.linspace(0, store.num_episodes - 1, _SHEET_EPISODES).astype(int))
    caption = 14
    row_height = store.height + caption
    sheet = Image.new("RGB", (_SHEET_FRAMES * (store.width + 2), len(episodes) * row_height))
    draw = ImageDraw.Draw(sheet)
    for row, episode in enumerate(episodes):
        first, end = store.episode_starts[episode : episode + 2]
        steps = np.linspace(0, end - first - 1, _SHEET_FRAMES).astype(int)
        how = "terminated" if store.terminations[end - 1] else "truncated"
        text = f"episode {episode}: {end - first} steps, {how}"
        draw.text((2, row * row_height), text, fill="white")
        for column, step in enumerate(steps):
            position = (column * (store.width + 2), row * row_height + caption)
            sheet.paste(Image.fromarray(store.frames[first + step]), position)
    return np.asarray(sheet)


def _holds(actions: Taken, starts: NDArray[np.int64]) -> NDArray[np.int64]:
    changes = np.ones(len(actions) + 1, bool)
    differ = actions[1:] != actions[:-1]
    changes[1:-1] = differ.reshape(len(differ), -1).any(1)
    changes[starts] = True
    return np.diff(np.flatnonzero(changes))
