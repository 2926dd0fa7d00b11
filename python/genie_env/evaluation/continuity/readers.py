"""Small networks that read the nearest object of a frame, each from one thing that a world makes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from genie_env._core import World, WorldState
from genie_env.evaluation.continuity.dreams import Observe
from genie_env.evaluation.continuity.networks import Network, fitted, kind_of
from genie_env.evaluation.continuity.objects import QUANTITIES, Nearest
from genie_env.families import family_of_world

TRAINED_ON = 60_000
"""Frames that a reader of vectors learns from, at most."""
PICTURES_EVERY = 3
"""Frames, every third of which is one that a reader of pictures learns from."""
MOST_NUMBERS = 4096
"""Of a vector that is read."""


def readable(world: World) -> dict[str, Observe]:
    """What can be read of a world's state: its latents where the family says which they are, its
    observations of floats, and the frame that it shows."""

    def of(kind: str, numbers: int | None = None) -> Observe:
        def observe(state: WorldState, rows: torch.Tensor | None = None) -> torch.Tensor:
            return world.observe(state, kind, rows)[:, :numbers]

        return observe

    spec = world.spec
    assert spec.frame is not None  # check_recordings
    found: dict[str, Observe] = {}
    latents = family_of_world(spec.family).latents
    if latents is not None:
        name, kind, numbers = latents(spec)
        found[name] = of(kind, numbers)
    for each in spec.observations:
        floats = each.dtype == "float32" and len(each.shape) == 1
        if floats and each.shape[0] <= MOST_NUMBERS:
            found[each.name] = of(each.name)
    return {**found, spec.frame.name: of(spec.frame.name)}


@dataclass(frozen=True)
class Reader:
    """Tells whether a frame shows an object, and the nearest one's QUANTITIES."""

    network: Network
    scale: NDArray[np.float32]
    """[2, 2]: mean and deviation of the quantities."""
    threshold: float
    """The logit above which an object counts as seen: that by which as many of the frames that the
    reader learned from show one as their labels say."""

    def read(self, inputs: NDArray[np.generic] | torch.Tensor) -> Reading:
        told = self.network.read(inputs)
        mean, deviation = self.scale
        return Reading(told[:, 0] > self.threshold, told[:, 1:] * deviation + mean)


@dataclass(frozen=True)
class Reading:
    """Of N inputs."""

    seen: NDArray[np.bool_]
    """[N]"""
    quantities: NDArray[np.float32]
    """[N, 2], also where none is seen."""

    def split(self, count: int) -> list[Reading]:
        """In parts of `count` inputs."""
        firsts = range(0, len(self.seen), count)
        return [
            Reading(self.seen[first : first + count], self.quantities[first : first + count])
            for first in firsts
        ]


def trained_reader(
    inputs: NDArray[np.generic],
    objects: Nearest,
    episodes: NDArray[np.int64],
    *,
    seed: int,
    advance: Callable[[int], None] = lambda steps: None,
) -> Reader:
    """A reader of N inputs, for frames that show these objects. episodes: [N]."""
    shown = objects.quantities[objects.present]
    mean, deviation = shown.mean(0), np.maximum(shown.std(0), 1e-6)
    wanted = np.where(objects.present[:, None], (objects.quantities - mean) / deviation, 0)
    targets = np.concatenate([objects.present[:, None], wanted], axis=1).astype(np.float32)
    outputs = 1 + len(QUANTITIES)
    network = fitted(inputs, targets, episodes, _loss, outputs, seed=seed, advance=advance)
    logits = network.read(inputs)[:, 0]
    threshold = float(np.quantile(logits, 1 - objects.present.mean()))
    return Reader(network, np.stack([mean, deviation]), threshold)


def _loss(told: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    present = wanted[:, 0]
    seen = F.binary_cross_entropy_with_logits(told[:, 0], present)
    wrong = (told[:, 1:] - wanted[:, 1:]).square().mean(1)
    return seen + (wrong * present).sum() / present.sum().clamp(min=1)


def readers_of(
    inputs: Mapping[str, NDArray[np.generic]],
    objects: Nearest,
    episodes: NDArray[np.int64],
    *,
    seed: int,
    advance: Callable[[int], None] = lambda steps: None,
) -> dict[str, Reader]:
    """One for each kind of input; of pictures, `inputs` has every `pictures_every`th alone."""
    return {
        kind: trained_reader(
            each,
            *of_kind(kind_of(each), objects, episodes),
            seed=seed,
            advance=advance,
        )
        for kind, each in inputs.items()
    }


def pictures_every(frames: int) -> int:
    """How many of the frames that readers learn from come for one that those of pictures do, which
    are TRAINED_ON / PICTURES_EVERY at most."""
    return max(1, -(-frames * PICTURES_EVERY // TRAINED_ON))


def of_kind(
    kind: str, objects: Nearest, episodes: NDArray[np.int64]
) -> tuple[Nearest, NDArray[np.int64]]:
    """What of the frames that readers learn from is given to one of that kind."""
    every = 1 if kind == "vectors" else pictures_every(len(episodes))
    rows = np.arange(0, len(episodes), every)
    return objects.take(rows), episodes[rows]
