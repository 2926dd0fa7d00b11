"""The labelled object of a frame that is read: the nearest one, that is the largest, of one class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from genie_env.data.labels import Labels
from genie_env.evaluation.continuity.episodes import Past, drawn_pasts
from genie_env.evaluation.outcomes import Episode

QUANTITIES = ("x", "size")
"""Of the nearest object: the place of its middle, a share of the frame's width, and the square root
of its share of the frame's area."""
PASTS = 6
"""Of an episode."""


@dataclass(frozen=True)
class Nearest:
    """The nearest object of each of N frames."""

    present: NDArray[np.bool_]
    """[N]: whether there is one."""
    quantities: NDArray[np.float32]
    """[N, 2], QUANTITIES; NaN where there is none."""
    identities: NDArray[np.float32]
    """[N]; NaN where there is none."""

    def take(self, rows: NDArray[np.int64]) -> Nearest:
        return Nearest(self.present[rows], self.quantities[rows], self.identities[rows])


def nearest(labels: NDArray[np.float32], number: int) -> Nearest:
    """The nearest objects of a class in frames with these labels, float32 [N, 8, 6]."""
    size = np.where(labels[..., 0] == number, labels[..., 3] * labels[..., 4], -1)
    slot = size.argmax(1)
    each = np.arange(len(labels))
    present = size[each, slot] >= 0
    chosen = np.where(present[:, None], labels[each, slot], np.nan).astype(np.float32)
    quantities = np.stack([chosen[:, 1], np.sqrt(chosen[:, 3] * chosen[:, 4])], axis=1)
    return Nearest(present, quantities, chosen[:, 5])


def labelled_objects(
    episodes: Sequence[Episode], labels: Sequence[Labels], stores: Sequence[object], number: int
) -> list[Nearest]:
    """The nearest objects in the frames of each episode, whose labels are checked. labels: of each
    store."""
    found = []
    for episode in episodes:
        own = labels[[store is episode.store for store in stores].index(True)]
        own.check_episode(episode.store, episode.index)
        rows = own.values[episode.first : episode.first + len(episode)]
        found.append(nearest(np.asarray(rows), number))
    return found


def object_pasts(episodes: Sequence[Episode], burn_in: int, horizon: int, seed: int) -> list[Past]:
    """Frames of episodes that are long enough for dreams of `horizon` frames, whether or not they
    show an object."""
    places = [np.arange(burn_in, len(episode) - horizon) for episode in episodes]
    return drawn_pasts(places, PASTS, seed, use=2)


def at_age(objects: Sequence[Nearest], pasts: Sequence[Past], age: int) -> Nearest:
    """The nearest objects when dreams of the pasts have that age."""
    found = [objects[past.episode] for past in pasts]
    rows = [past.frame + age for past in pasts]
    return Nearest(
        np.array([each.present[row] for each, row in zip(found, rows, strict=True)]),
        np.stack([each.quantities[row] for each, row in zip(found, rows, strict=True)]),
        np.array([each.identities[row] for each, row in zip(found, rows, strict=True)]),
    )
