"""The labelled part of recordings, as heads of a frozen world learn from it.

The world follows its frames, with the recorded actions where its own are these. Else it follows them with
latent actions: in half of the episodes those that its own model infers, in the others those that agents
would take. What it then makes of them, its features, and the inferred actions are computed once and kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from genie_env._core import EpisodeStore, LatentAction, World
from genie_env.data.action_dictionary import count_together, most_frequent
from genie_env.data.datasets import Batch, held_out, pictures_of, shuffled
from genie_env.data.files import remove_left_behind, user_cache
from genie_env.data.following import FOLLOWED_AT_ONCE, follow
from genie_env.data.inferred_actions import fill_actions
from genie_env.data.recording_metadata import numbered_actions
from genie_env.data.rows_once import frames_fingerprint, rows_once
from genie_env.training.encoded import weights_fingerprint

MOST_EPISODES = 300
"""Of a labelled part. The rest of what a world knows is learned without labels."""
FEATURES = "features"
"""The observation that heads read."""
PRESSED = 2**32
"""The random stream that draws episodes for pressed_codes."""


@dataclass(frozen=True)
class LabelledPart:
    """The first episodes of one recording. Its pictures are the frames that an action was taken on
    and, where all recordings have them, final frames, each after its episode's others."""

    directory: Path
    store: EpisodeStore
    episodes: int
    finals: bool

    @property
    def starts(self) -> NDArray[np.int64]:
        """int64 [E + 1]: where episodes begin among the pictures."""
        starts = self.store.episode_starts[: self.episodes + 1]
        return starts + self.finals * np.arange(len(starts))

    @property
    def shown(self) -> NDArray[np.int64]:
        """int64 [N]: the picture of every frame."""
        lengths = np.diff(self.store.episode_starts[: self.episodes + 1])
        return np.arange(lengths.sum()) + self.finals * np.repeat(np.arange(self.episodes), lengths)

    @property
    def followed(self) -> NDArray[np.bool_]:
        """bool [N]: of every frame, whether the next one was recorded."""
        followed = np.ones(len(self.shown), bool)
        if not self.finals:
            followed[self.store.episode_starts[1 : self.episodes + 1] - 1] = False
        return followed

    @property
    def held_out(self) -> NDArray[np.bool_]:
        """bool [N]: of every frame, whether its episode is never trained on."""
        return self.of_frames(held_out(self.store)[: self.episodes])

    def of_frames(self, of_episodes: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """bool [N], of every frame, of what is said of its episode, bool [E]."""
        return np.repeat(of_episodes, np.diff(self.store.episode_starts[: self.episodes + 1]))

    @property
    def recorded(self) -> NDArray[np.int64]:
        """int64 [N]: the recorded action of every frame, which must be numbered; from 0."""
        return numbered_actions(self.store)[: len(self.shown)]

    def pictures(self, episode: int) -> NDArray[np.uint8]:
        """uint8 [T, H, W, 3]."""
        return pictures_of(self.store, episode, final=self.finals)

    @property
    def name(self) -> str:
        """Of files about its pictures, without their ending."""
        finals = f"-{frames_fingerprint(self.store, finals=True)}" if self.finals else ""
        return f"{frames_fingerprint(self.store)}{finals}-{self.episodes}"


def labelled_parts(
    directories: Sequence[Path], stores: Sequence[EpisodeStore], episodes: int | None
) -> list[LabelledPart]:
    """The first `episodes` of all recordings together; None: all. Raises ValueError where those are
    more than MOST_EPISODES, or fewer than were asked for."""
    recorded = sum(store.num_episodes for store in stores)
    if episodes is None and recorded > MOST_EPISODES:
        raise ValueError(
            f"the recordings hold {recorded:,} episodes, but heads learn from a labelled part of at "
            f"most {MOST_EPISODES}: give --episodes {MOST_EPISODES} to take the first of them"
        )
    if episodes is not None and episodes > recorded:
        raise ValueError(
            f"--episodes is {episodes:,}, but the recordings hold {recorded:,}: give as many or less"
        )
    left = recorded if episodes is None else episodes
    taken = []
    for directory, store in zip(directories, stores, strict=True):
        count = min(left, store.num_episodes)
        if count:
            taken.append((directory, store, count))
        left -= count
    finals = all(store.final_frames is not None for _, store, _ in taken)
    return [LabelledPart(*each, finals) for each in taken]


def inferred_codes(
    part: LabelledPart, run: Path, model: LatentAction, *, bf16: bool
) -> NDArray[np.uint8]:
    """uint8 [pictures]: the code of the transition from each to the next; 0 at an episode's last."""
    encode = partial(model.encode, bf16=bf16)
    fill = fill_actions(encode, model.receptive_field, part.starts, part.pictures)
    precision = "bfloat16" if bf16 else "float32"
    cache = user_cache() / "encoded" / f"labelled-actions-{precision}" / weights_fingerprint(run)
    return _rows_once(cache, part, "", (), np.uint8, fill, "inferring the latent actions")


def followed_features(
    part: LabelledPart, world: World, actions: NDArray[np.int64]
) -> NDArray[np.float16]:
    """float16 [pictures, features]: what the world makes of each, having followed its episode. actions:
    [frames], the world's action of every step, numbered from 0."""
    taken = np.zeros(part.starts[-1], np.int64)  # no action follows a final frame
    taken[part.shown] = actions
    digest = hashlib.sha256(taken.tobytes()).hexdigest()[:16]
    taken += world.spec.actions.start
    (size,) = next(each.shape for each in world.spec.observations if each.name == FEATURES)
    starts = part.starts.tolist()

    def fill(features: NDArray[Any], done: int) -> Iterator[int]:
        episodes = [e for e in range(part.episodes) if starts[e] >= done]
        for index in range(0, len(episodes), FOLLOWED_AT_ONCE):
            some = episodes[index : index + FOLLOWED_AT_ONCE]
            places = [slice(starts[e], starts[e + 1]) for e in some]
            pictures, acted = [part.pictures(e) for e in some], [taken[p] for p in places]
            seen = follow(world, pictures, acted, FEATURES, np.arange(len(some)))
            for place, rows in zip(places, seen, strict=True):
                features[place] = rows
            yield starts[some[-1] + 1]

    cache = user_cache() / "encoded" / f"features-{world.device.type}-{world.spec.dtype}"
    cache /= world.spec.fingerprint[:16]
    return _rows_once(cache, part, f"-{digest}", (size,), np.float16, fill, "following")


def _rows_once(
    cache: Path,
    part: LabelledPart,
    of: str,
    row: tuple[int, ...],
    dtype: Any,
    fill: Any,
    what: str,
) -> NDArray[Any]:
    """`of`: what the rows depend on beside the pictures, as a part of the file's name."""
    remove_left_behind(cache)
    shape = (int(part.starts[-1]), *row)
    return rows_once(cache / f"{part.name}{of}.npy", shape, dtype, fill, f"{what} {part.directory}")


def codes_of_steps(
    parts: Sequence[LabelledPart], codes: Sequence[NDArray[np.uint8]]
) -> list[NDArray[np.int64]]:
    """int64 [frames] a part: the latent action of every step; see drawn_among_alike."""
    filled = drawn_among_alike(
        np.concatenate([own[part.shown] for part, own in zip(parts, codes, strict=True)]),
        np.concatenate([part.store.actions[: len(part.shown)] for part in parts]),
        np.concatenate([part.followed for part in parts]),
    )
    return np.split(filled, np.cumsum([len(part.shown) for part in parts])[:-1])


def pressed_codes(
    parts: Sequence[LabelledPart], codes: Sequence[NDArray[np.int64]]
) -> list[NDArray[np.int64]]:
    """Latent actions as agents take them, in half of the episodes: of each step the one that comes
    most often with its recorded action in the part that is trained on. In the other half, and where
    recorded actions are not numbered, they are those of `codes`. Both int64 [frames] a part.

    An agent goes on with an action where a wall stops it, and what is inferred there is that nothing
    moves, as if it had let go. Heads that had seen inferred actions alone would not know its steps.
    """
    if any(part.store.actions.dtype.kind == "f" for part in parts):
        return list(codes)
    actions, inferred = np.concatenate([part.recorded for part in parts]), np.concatenate(codes)
    known = np.concatenate([part.followed & ~part.held_out for part in parts])
    shape = int(actions.max()) + 1, int(inferred.max()) + 1
    commonest = most_frequent(count_together(actions[known], inferred[known], shape))
    random = np.random.Generator(np.random.Philox(key=[0, PRESSED]))
    pressed = []
    for part, own in zip(parts, codes, strict=True):
        chosen = part.of_frames(random.random(part.episodes) < 0.5)
        pressed.append(np.where(chosen, commonest[part.recorded], own))
    return pressed


def drawn_among_alike(
    codes: NDArray[np.integer[Any]], recorded: NDArray[Any], followed: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """The latent action of every step, int64 [steps]: `codes`, as they were inferred, where the step
    is followed by a recorded frame.

    Others cannot be inferred. They are drawn from those of the steps whose recorded action, of
    `recorded` [steps, ...], is the same (or nearest): taking the likeliest would make it a sign of
    the end.
    """
    numbers = recorded.reshape(len(recorded), -1).astype(np.float64)
    filled = codes.astype(np.int64)
    known, inferred = numbers[followed], filled[followed]
    random = np.random.Generator(np.random.Philox(key=[0, 0]))
    for step in np.flatnonzero(~followed) if len(known) else []:
        distance = np.square(known - numbers[step]).sum(1)
        filled[step] = random.choice(inferred[distance == distance.min()])
    return filled


class LabelledSteps:
    """Single steps, in random order: what was before, the action, what came after."""

    def __init__(
        self,
        parts: Sequence[LabelledPart],
        features: Sequence[NDArray[np.float16]],
        codes: Sequence[NDArray[np.int64]],
        *,
        held_out_part: bool,
    ) -> None:
        """features: of every picture; codes: of every step."""
        self._parts, self._features, self._codes = parts, features, codes
        self._shown = [part.shown for part in parts]
        self._followed = [part.followed for part in parts]
        wanted = []
        for index, part in enumerate(parts):
            rows = np.flatnonzero(part.held_out == held_out_part)
            wanted.append(np.stack([np.full_like(rows, index), rows], axis=1))
        self._where = np.concatenate(wanted)  # [M, 2]: part, frame

    def __len__(self) -> int:
        return len(self._where)

    def batch(self, size: int, seed: int, step: int) -> Batch:
        """Batch number `step` of an endless sequence of epochs; see Heads::ComputeLoss."""
        epoch, place = divmod(step, len(self) // size)
        if getattr(self, "_cached", (None,))[0] != (seed, epoch):
            self._cached = ((seed, epoch), shuffled(len(self), seed, epoch))
        return self.take(np.sort(self._cached[1][place * size : (place + 1) * size]))

    def take(self, steps: NDArray[np.int64] | slice) -> Batch:
        """Some of the steps, numbered from 0."""
        rows = [self._row(int(part), int(frame)) for part, frame in self._where[steps]]
        return {name: torch.from_numpy(np.stack([row[name] for row in rows])) for name in rows[0]}

    def _row(self, part: int, frame: int) -> dict[str, NDArray[Any]]:
        store, features = self._parts[part].store, self._features[part]
        shown, followed = self._shown[part][frame], self._followed[part][frame]
        before = features[shown].astype(np.float32)
        return {
            "before": before,
            "after": features[shown + 1].astype(np.float32) if followed else np.zeros_like(before),
            "actions": self._codes[part][frame],
            "followed": np.float32(followed),
            "rewards": store.rewards[frame],
            "terminations": np.float32(store.terminations[frame]),
        }
