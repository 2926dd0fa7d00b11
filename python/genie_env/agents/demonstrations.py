"""What a recorded player saw, as an agent of a world sees it, and what it then did."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from genie_env._core import EpisodeStore
from genie_env.agents.dreams import Dreams, derived_seeds
from genie_env.data.datasets import held_out, pictures_of
from genie_env.data.files import remove_left_behind, user_cache
from genie_env.data.following import FOLLOWED_AT_ONCE, follow
from genie_env.data.rows_once import frames_fingerprint, rows_once
from genie_env.envs.actions import Taken


@dataclass(frozen=True)
class Player:
    """What the player of a recording of N frames did."""

    followed: NDArray[Any]
    """[N, ...]: the world's action from each frame to the next."""
    taken: Taken
    """int64 [N] or float32 [N, *shape]: what a network learns."""
    known: NDArray[np.bool_]
    """[N]: whether `taken` is known."""


@dataclass(frozen=True)
class Demonstrations:
    """M steps, of whole episodes."""

    observations: torch.Tensor
    """float32 [M, *shape], on the device of the world: what was observed before each action."""
    actions: Taken
    """int64 [M], or float32 [M, *shape] of a box: what was then done."""

    def __len__(self) -> int:
        return len(self.actions)


def demonstrations(
    dreams: Dreams,
    stores: Sequence[EpisodeStore],
    players: Sequence[Player],
    seed: int,
    *,
    held_out_part: bool,
) -> Demonstrations:
    """The known steps of the held-out episodes, or of all others.

    The world follows every episode of the recordings once; what it observes is kept in the user's cache.
    What it draws depends on the seed and on the episode's place in the recordings. Shows its progress.
    Raises ValueError where an observation is not finite.
    """
    every = [(store, i) for store in range(len(stores)) for i in range(stores[store].num_episodes)]
    part = np.concatenate([held_out(store) == held_out_part for store in stores])
    places = [slice(*stores[store].episode_starts[i : i + 2].tolist()) for store, i in every]
    lengths = np.array([place.stop - place.start for place in places])
    # Those of a batch end at about the same time.
    chosen = [e for e in np.argsort(lengths, kind="stable").tolist() if part[e]]
    followed = [players[every[e][0]].followed[places[e]] for e in chosen]
    seeds = np.array(derived_seeds(seed, count=len(every)), np.uint64)[chosen]
    observed = _observed(dreams, stores, [every[e] for e in chosen], followed, seeds)
    taken, known = (
        np.concatenate([getattr(players[every[e][0]], name)[places[e]] for e in chosen])
        for name in ("taken", "known")
    )
    return Demonstrations(torch.from_numpy(observed[known]).to(dreams.world.device), taken[known])


def _observed(
    dreams: Dreams,
    stores: Sequence[EpisodeStore],
    episodes: Sequence[tuple[int, int]],
    actions: Sequence[NDArray[Any]],
    seeds: NDArray[np.uint64],
) -> NDArray[np.float32]:
    """float32 [frames, *shape]: what the world observes of episodes (store, number), one after the
    other, having followed each with its actions, [T, ...], and the draws of its seed."""
    world, name = dreams.world, dreams.observation
    (shape,) = (spec.shape for spec in world.spec.observations if spec.name == name)
    ends = np.cumsum([len(each) for each in actions]).tolist()

    def fill(observations: NDArray[Any], done: int) -> Iterator[int]:
        for first in range(0, len(episodes), FOLLOWED_AT_ONCE):
            some = slice(first, first + FOLLOWED_AT_ONCE)
            end = ends[some][-1]
            if end <= done:
                continue
            pictures = [
                pictures_of(stores[s], episode, final=False) for s, episode in episodes[some]
            ]
            rows = np.concatenate(follow(world, pictures, actions[some], name, seeds[some]))
            if not np.isfinite(rows).all():
                raise ValueError(
                    f"the world {world.spec.name} observes NaN or infinity as {name!r} in recorded "
                    "episodes, and no network can learn from it: give another --observation"
                )
            observations[end - len(rows) : end] = rows
            yield end

    cache = user_cache() / "encoded" / f"{name}-{world.device.type}-{world.spec.dtype}"
    cache /= world.spec.fingerprint[:16]
    remove_left_behind(cache)
    frames = [frames_fingerprint(store) for store in stores]
    digest = hashlib.sha256(json.dumps([frames, episodes, dreams.options]).encode())
    for part in (*actions, seeds):
        digest.update(np.ascontiguousarray(part).tobytes())
    file = cache / f"followed-{digest.hexdigest()[:32]}.npy"
    return rows_once(file, (ends[-1], *shape), np.float32, fill, "following")
