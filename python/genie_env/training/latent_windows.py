"""Windows of encoded episodes, as M reads them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from genie_env._core import EpisodeStore
from genie_env.data.datasets import Batch, held_out, shuffled
from genie_env.envs.actions import Actions


@dataclass(frozen=True)
class Latents:
    """What V makes of a recording: mu and logvar, float16 [N, 2, L]."""

    frames: NDArray[np.float16]
    """Of every frame."""
    finals: NDArray[np.float16] | None
    """Of every episode's final frame; None where there are none."""

    @property
    def has_finals(self) -> bool:
        return self.finals is not None


@dataclass(frozen=True)
class _Piece:
    """An episode in the stream."""

    store: int
    episode: int
    start: int
    stop: int
    length: int
    """Its frames, and its final one where there is one."""


class LatentData:
    """Windows of encoded frames, for M.

    An epoch is all episodes one after another in a new order, from a new phase, cut into windows;
    a window may hold the end of one episode and the beginning of the next, which the restart flag
    marks (as in the paper's code). Where final frames were recorded, an episode ends with its own.
    """

    def __init__(
        self,
        stores: Sequence[EpisodeStore],
        latents: Sequence[Latents],
        actions: Actions,
        *,
        held_out_part: bool,
    ) -> None:
        """`latents`: of every store; `actions`: what they all have."""
        self._stores, self._latents, self._actions = stores, latents, actions
        self._episodes = [
            _Piece(index, episode, int(start), int(stop), int(stop - start) + encoded.has_finals)
            for index, (store, encoded) in enumerate(zip(stores, latents, strict=True))
            for episode, (start, stop, out) in enumerate(
                zip(
                    store.episode_starts[:-1],
                    store.episode_starts[1:],
                    held_out(store),
                    strict=True,
                )
            )
            if out == held_out_part
        ]
        self.num_frames = sum(piece.length for piece in self._episodes)

    def batches_an_epoch(self, size: int, window: int) -> int:
        # One window less than there is room for, so that every phase gives as many.
        count = (self.num_frames // window - 1) // size
        if count < 1:
            raise ValueError(
                f"a batch of {size} windows of {window} frames was asked for, but the data holds "
                f"only {self.num_frames} frames: record more episodes or make the batch smaller"
            )
        return count

    def batch(self, size: int, window: int, seed: int, step: int) -> Batch:
        """Batch number `step` of an endless sequence of epochs; see Memory::ComputeLoss."""
        epoch, place = divmod(step, self.batches_an_epoch(size, window))
        stream, order = self._epoch(window, seed, epoch)
        starts = order[place * size : (place + 1) * size]
        return _stacked([self._window(stream, start * window, window) for start in starts])

    def every_step(self, size: int, window: int, *, overlap: int) -> Iterator[Batch]:
        """All episodes in their order, cut into windows, in batches of at most `size`: nothing is left
        out, however few there are; the last window is shorter. overlap: 1 where a window begins with
        the last step of the one before, which is judged by its next frame; or else 0."""
        lengths = [piece.length for piece in self._episodes]
        stream = np.arange(len(lengths)), np.concatenate([[0], np.cumsum(lengths)])
        begins = range(0, max(self.num_frames - overlap, 1), max(window - overlap, 1))
        whole = [begin for begin in begins if begin + window <= self.num_frames]
        for first in range(0, len(whole), size):
            windows = whole[first : first + size]
            yield _stacked([self._window(stream, begin, window) for begin in windows])
        if len(whole) < len(begins):
            left = self.num_frames - begins[-1]
            yield _stacked([self._window(stream, begins[-1], left)])

    def _epoch(
        self, window: int, seed: int, epoch: int
    ) -> tuple[tuple[NDArray[np.int64], NDArray[np.int64]], NDArray[np.int64]]:
        key = (window, seed, epoch)
        if getattr(self, "_cached", (None,))[0] != key:
            order = shuffled(len(self._episodes), seed, epoch)
            lengths = np.array([self._episodes[e].length for e in order])
            starts = np.concatenate([[0], np.cumsum(lengths)])
            windows = shuffled(self.num_frames // window - 1, seed + 1, epoch)
            phase = int(shuffled(window, seed + 2, epoch)[0])
            self._cached = (key, ((order, starts - phase), windows))
        return self._cached[1]

    def _window(
        self, stream: tuple[NDArray[np.int64], NDArray[np.int64]], begin: int, window: int
    ) -> dict[str, NDArray[np.float32]]:
        order, starts = stream
        parts: list[dict[str, NDArray[np.float32]]] = []
        place = int(np.searchsorted(starts, begin, side="right")) - 1
        position, end = begin, begin + window
        while position < end:
            piece, offset = self._episodes[order[place]], position - int(starts[place])
            last = min(piece.length, offset + end - position)
            frames = piece.stop - piece.start
            if offset < frames:
                parts.append(self._frames(piece, offset, min(last, frames)))
            if last > frames:
                parts.append(self._final(piece))
            position += last - offset
            place += 1
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _frames(self, piece: _Piece, first: int, last: int) -> dict[str, NDArray[np.float32]]:
        """Frames `first` to `last` of an episode, on which actions were taken."""
        store, rows = self._stores[piece.store], slice(piece.start + first, piece.start + last)
        restarts = np.zeros(last - first, np.float32)
        restarts[:1] = first == 0
        return {
            **_gaussian(self._latents[piece.store].frames[rows]),
            "actions": self._actions.inputs(store.actions[rows]),
            "rewards": np.array(store.rewards[rows]),
            "restarts": restarts,
            "terminations": store.terminations[rows].astype(np.float32),
            "finals": np.zeros(last - first, np.float32),
        }

    def _final(self, piece: _Piece) -> dict[str, NDArray[np.float32]]:
        """An episode's final frame, on which nothing was done."""
        finals = self._latents[piece.store].finals
        assert finals is not None
        nothing = np.zeros(1, np.float32)
        return {
            **_gaussian(finals[piece.episode : piece.episode + 1]),
            "actions": np.zeros((1, self._actions.width), np.float32),
            **dict.fromkeys(("rewards", "restarts", "terminations"), nothing),
            "finals": np.ones(1, np.float32),
        }


def _stacked(windows: Sequence[Mapping[str, NDArray[np.float32]]]) -> Batch:
    return {name: torch.from_numpy(np.stack([w[name] for w in windows])) for name in windows[0]}


def _gaussian(encoded: NDArray[np.float16]) -> dict[str, NDArray[np.float32]]:
    """mu and logvar of rows [N, 2, L]."""
    return {"mu": encoded[:, 0].astype(np.float32), "logvar": encoded[:, 1].astype(np.float32)}
