"""Recorded episodes as training batches.

The order of the data is a function of (seed, epoch), so that a resumed run reads what an unbroken
one would. Every 20th episode is held out: no network is ever trained on it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from genie_env._core import EpisodeStore
from genie_env.data.frame_rate import check_one_pace
from genie_env.data.recording_metadata import has_actions

HELD_OUT_EVERY = 20

Batch = dict[str, torch.Tensor]


def open_stores(directories: Sequence[Path]) -> list[EpisodeStore]:
    """Opens every directory; all must hold frames of one size and one pace."""
    for directory in directories:
        if directory.is_file():
            raise ValueError(
                f"{directory} is a file, and a directory of recorded episodes is expected; a video "
                "has no actions, so that only `train tokenizer`, `train latent-actions` and "
                "`train dynamics --actions latent` learn from one"
            )
    stores = [EpisodeStore(str(directory)) for directory in directories]
    if not stores:
        raise ValueError("no data was given: name at least one directory of recorded episodes")
    first = stores[0]
    for directory, store in zip(directories, stores, strict=True):
        if (store.height, store.width) != (first.height, first.width):
            raise ValueError(
                f"the data directories hold frames of different sizes: {directories[0]} of "
                f"{first.height} x {first.width}, {directory} of {store.height} x {store.width}; "
                "give those of one size"
            )
    check_one_pace(directories, stores)
    return stores


def held_out(store: EpisodeStore) -> NDArray[np.bool_]:
    """bool [E]: which episodes are never trained on."""
    episodes = np.arange(len(store.episode_starts) - 1)
    unseen: NDArray[np.bool_] = episodes % HELD_OUT_EVERY == HELD_OUT_EVERY - 1
    return unseen


def pictures_of(store: EpisodeStore, episode: int, *, final: bool) -> NDArray[np.uint8]:
    """uint8 [T, H, W, 3]: an episode's frames and, with `final`, its final frame."""
    first, last = store.episode_starts[episode : episode + 2]
    frames = store.frames[first:last]
    if not final:
        return frames
    assert store.final_frames is not None
    return np.concatenate([frames, store.final_frames[episode : episode + 1]])


def transitions(store: EpisodeStore, *, held_out_part: bool) -> NDArray[np.int64]:
    """int64 [M]: the frames of one part that another frame of their episode follows."""
    wanted = np.repeat(held_out(store) == held_out_part, np.diff(store.episode_starts))
    wanted[store.episode_starts[1:] - 1] = False
    return np.flatnonzero(wanted)


def check_enough(stores: Sequence[EpisodeStore], *, trained: int, unseen: int) -> None:
    """Raises ValueError, saying how many episodes are needed, where there are too few.

    `trained` and `unseen` are the frames that the part trained on and the held-out part need.
    """
    episodes = sum(store.num_episodes for store in stores)
    frames = sum(store.num_frames for store in stores)
    frames_unseen = sum(
        int(np.diff(store.episode_starts)[held_out(store)].sum()) for store in stores
    )
    frames_trained = frames - frames_unseen
    mean = frames / episodes if episodes else unseen  # of an episode
    if frames_unseen < unseen:
        missing = math.ceil((unseen - frames_unseen) / mean)
        longest = max(store.num_episodes for store in stores)
        needed = (longest // HELD_OUT_EVERY + missing) * HELD_OUT_EVERY
        raise ValueError(
            f"too few episodes: there are {episodes:,}, and the held-out part, every "
            f"{HELD_OUT_EVERY}th episode of a directory, has {frames_unseen:,} frames of at least "
            f"{unseen:,}; record on until a directory holds about {needed:,} episodes"
            + ("" if all(map(has_actions, stores)) else ", or give as many video files")
        )
    if frames_trained < trained:
        more = (trained - frames_trained) / mean * HELD_OUT_EVERY / (HELD_OUT_EVERY - 1)
        raise ValueError(
            f"too few episodes: there are {episodes:,}, and without the held-out part, every "
            f"{HELD_OUT_EVERY}th of a directory, they have {frames_trained:,} frames, but one "
            f"batch takes {trained:,}; record on until there are about "
            f"{episodes + math.ceil(more):,} episodes, or give a smaller --batch"
            + ("" if all(map(has_actions, stores)) else "; each video file is an episode")
        )


def fingerprint(store: EpisodeStore) -> str:
    """Identifies a recording: differs where episodes were added, or recorded in another way."""
    content = store.meta.encode() + store.episode_starts.tobytes()
    return hashlib.sha256(content).hexdigest()[:16]


def shuffled(count: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """A permutation of 0 .. count - 1 that depends on (seed, epoch) alone."""
    return np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(count)


class FrameData:
    """Single frames, in random order, for V."""

    def __init__(self, stores: Sequence[EpisodeStore], *, held_out_part: bool) -> None:
        self._frames = [store.frames for store in stores]
        wanted = []
        for index, store in enumerate(stores):
            lengths = np.diff(store.episode_starts)
            rows = np.flatnonzero(np.repeat(held_out(store) == held_out_part, lengths))
            wanted.append(np.stack([np.full_like(rows, index), rows], axis=1))
        self._where = np.concatenate(wanted)  # [M, 2]: store, frame

    def __len__(self) -> int:
        return len(self._where)

    def batch(self, size: int, seed: int, step: int) -> Batch:
        """Batch number `step` of an endless sequence of epochs: "frames", uint8 [size, H, W, 3]."""
        if size > len(self):
            raise ValueError(
                f"a batch of {size} frames was asked for, but the data holds only {len(self)}: "
                "record more episodes or make the batch smaller"
            )
        epoch, place = divmod(step, len(self) // size)
        order = self._order(seed, epoch)[place * size : (place + 1) * size]
        # In memory order, which is also the order in which a disk likes to be read.
        frames = [self._frames[s][f] for s, f in self._where[np.sort(order)]]
        return {"frames": torch.from_numpy(np.stack(frames))}

    def _order(self, seed: int, epoch: int) -> NDArray[np.int64]:
        if getattr(self, "_cached", (None,))[0] != (seed, epoch):
            self._cached = ((seed, epoch), shuffled(len(self), seed, epoch))
        return self._cached[1]


def longest_episode(stores: Sequence[EpisodeStore], *, held_out_part: bool) -> int:
    """Frames of the longest episode of one part; 0 where it has none."""
    lengths = [np.diff(store.episode_starts)[held_out(store) == held_out_part] for store in stores]
    return int(np.concatenate(lengths).max(initial=0))


class Clips:
    """The beginnings of clips of consecutive frames of one episode, in random order.

    An epoch is every frame that enough frames of its episode follow.
    """

    def __init__(self, stores: Sequence[EpisodeStore], length: int, *, held_out_part: bool) -> None:
        self.length = length
        longest = longest_episode(stores, held_out_part=held_out_part)
        if longest < length:
            part = "held-out" if held_out_part else "training"
            raise ValueError(
                f"clips of {length} frames were asked for, but the longest {part} episode has "
                f"{longest}: record longer episodes or make the clips shorter"
            )
        places = []
        for index, store in enumerate(stores):
            lengths = np.diff(store.episode_starts)
            left = np.repeat(store.episode_starts[1:], lengths) - np.arange(store.num_frames)
            wanted = np.repeat(held_out(store) == held_out_part, lengths)
            firsts = np.flatnonzero(wanted & (left >= length))
            places.append(np.stack([np.full_like(firsts, index), firsts], axis=1))
        self._places = np.concatenate(places)  # [M, 2]: store, first frame

    def __len__(self) -> int:
        return len(self._places)

    def batch(self, size: int, seed: int, step: int) -> list[tuple[int, slice]]:
        """Batch number `step` of an endless sequence of epochs: the store and the frames of each
        clip."""
        if size > len(self):
            raise ValueError(
                f"a batch of {size} clips was asked for, but the data holds only {len(self)}: "
                "record more episodes or make the batch smaller"
            )
        epoch, place = divmod(step, len(self) // size)
        order = self._order(seed, epoch)[place * size : (place + 1) * size]
        # In memory order, which is also the order in which a disk likes to be read.
        chosen = self._places[np.sort(order)].tolist()
        return [(store, slice(first, first + self.length)) for store, first in chosen]

    def _order(self, seed: int, epoch: int) -> NDArray[np.int64]:
        if getattr(self, "_cached", (None,))[0] != (seed, epoch):
            self._cached = ((seed, epoch), shuffled(len(self), seed, epoch))
        return self._cached[1]


class ClipData:
    """Clips of frames, and nothing else, for the tokenizer and the latent action model."""

    def __init__(self, stores: Sequence[EpisodeStore], clips: Clips) -> None:
        """`clips`: places in the same stores."""
        self._frames = [store.frames for store in stores]
        self.clips = clips

    def batch(self, size: int, seed: int, step: int) -> Batch:
        """A batch of "frames": uint8 [size, length, H, W, 3]."""
        frames = [self._frames[store][rows] for store, rows in self.clips.batch(size, seed, step)]
        return {"frames": torch.from_numpy(np.stack(frames))}


class TokenData:
    """Clips of tokens and of the actions between them, for the dynamics."""

    def __init__(
        self,
        tokens: Sequence[NDArray[np.uint16]],
        actions: Sequence[NDArray[np.integer[Any]]],
        clips: Clips,
        weights: NDArray[np.float32] | None = None,
    ) -> None:
        """`tokens`: [frames, S] a store; `actions`: [frames], from each frame to its next, numbered
        from 0. `weights`: [S, codes], how much each code counts at each place."""
        self._tokens, self._actions, self._weights = tokens, actions, weights
        self.clips = clips

    def batch(self, size: int, seed: int, step: int) -> Batch:
        """A batch of "tokens", int64 [size, length, S], and "actions", int64 [size, length - 1]; where
        there are weights also "weights", float32 [size, length - 1, S], of all frames but the first."""
        clips = self.clips.batch(size, seed, step)
        tokens = np.stack([self._tokens[store][rows] for store, rows in clips])
        actions = np.stack([self._actions[store][rows][:-1] for store, rows in clips])
        batch = {
            "tokens": torch.from_numpy(tokens.astype(np.int64)),
            "actions": torch.from_numpy(actions.astype(np.int64)),
        }
        if self._weights is not None:
            places = np.arange(tokens.shape[2])
            batch["weights"] = torch.from_numpy(self._weights[places, tokens[:, 1:]])
        return batch


ROWS_COUNTED = 65_536
"""Frames of tokens that are read at once."""

RAREST = 1e-4
"""Codes that are rarer at a place count as if this share of the frames had them there."""


def rarity_weights(
    stores: Sequence[EpisodeStore],
    tokens: Sequence[NDArray[np.uint16]],
    codes: int,
    emphasis: float,
) -> NDArray[np.float32]:
    """How much each code counts at each place: float32 [S, codes], 1 on average over the frames that
    are learned to be predicted. `tokens`: [frames, S] a store.

    It is (1 + emphasis * r / mean(r)) / (1 + emphasis), where r is one over the square root of the
    share of frames that have the code at the place, RAREST at least: what is always there counts less
    than what comes and goes, however small it is.
    """
    places = tokens[0].shape[1]
    seen = np.zeros(places * codes, np.int64)
    for store, of_store in zip(stores, tokens, strict=True):
        predicted = transitions(store, held_out_part=False) + 1
        for rows in np.array_split(predicted, len(predicted) // ROWS_COUNTED + 1):
            places_and_codes = of_store[rows].astype(np.int64) + codes * np.arange(places)
            seen += np.bincount(places_and_codes.ravel(), minlength=len(seen))
    frames = seen.sum() // places
    rare = 1 / np.sqrt(np.maximum(seen / frames, RAREST))
    mean = (rare * seen).sum() / seen.sum()
    weights = (1 + emphasis * rare / mean) / (1 + emphasis)
    return np.asarray(weights.reshape(places, codes), np.float32)
