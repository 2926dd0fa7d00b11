"""What a recorded player saw, as an agent of a world sees it, and what it then did."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from genie_env._core import EpisodeStore
from genie_env.agents.dreams import Dreams, derived_seeds
from genie_env.data.datasets import held_out, pictures_of
from genie_env.data.following import FOLLOWED_AT_ONCE, follow
from genie_env.envs.actions import Taken


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
    actions: Sequence[NDArray[Any]],
    seed: int,
    *,
    held_out_part: bool,
    advance: Callable[[int], None],
) -> Demonstrations:
    """The steps of the held-out episodes, or of all others.

    The world follows every episode with its recorded actions, [frames, ...] a store. What it draws
    depends on the seed and on the episode's place in the recordings. `advance` is called with the
    number of steps followed since its last call. Raises ValueError where an observation is not finite.
    """
    world, name = dreams.world, dreams.observation
    (shape,) = (spec.shape for spec in world.spec.observations if spec.name == name)
    every = [(store, i) for store in range(len(stores)) for i in range(stores[store].num_episodes)]
    seeds = np.array(derived_seeds(seed, count=len(every)), np.uint64)
    part = np.concatenate([held_out(store) == held_out_part for store in stores])
    places = [slice(*stores[store].episode_starts[i : i + 2].tolist()) for store, i in every]
    lengths = np.array([place.stop - place.start for place in places])
    # Those of a batch end at about the same time.
    chosen = [e for e in np.argsort(lengths, kind="stable").tolist() if part[e]]
    observations = np.empty((int(lengths[chosen].sum()), *shape), np.float32)
    taken, done = [], 0
    for first in range(0, len(chosen), FOLLOWED_AT_ONCE):
        some = chosen[first : first + FOLLOWED_AT_ONCE]
        pictures = [pictures_of(stores[every[e][0]], every[e][1], final=False) for e in some]
        own = [actions[every[e][0]][places[e]] for e in some]
        begun = done
        for seen in follow(world, pictures, own, name, seeds[some]):
            observations[done : done + len(seen)] = seen
            done += len(seen)
        if not np.isfinite(observations[begun:done]).all():
            raise ValueError(
                f"the world {world.spec.name} observes NaN or infinity as {name!r} in recorded "
                "episodes, and no network can learn from it: give another --observation"
            )
        taken += own
        advance(done - begun)
    return Demonstrations(torch.from_numpy(observations).to(world.device), np.concatenate(taken))
