"""How easily dreamed frames are told from real ones, by age: the AUC of a fixed network.

Every dreamed frame has a real one beside it, of the same episode and moment, after this world's own
encoding and decoding, so that neither blur nor the time of the game tells them apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from genie_env._core import World, WorldState
from genie_env.agents.dreams import derived_seeds
from genie_env.evaluation.continuity.dreams import Advance, dreams, observed
from genie_env.evaluation.continuity.episodes import Past, pasts_to_dream_from
from genie_env.evaluation.continuity.networks import Network, fitted
from genie_env.evaluation.outcomes import Episode
from genie_env.evaluation.statistics import auc_of_groups

FRAMES = 5000
"""Of each kind, that the network learns from: as many of every age."""
MEASURED_PASTS = 4
"""Of an episode that is measured."""
FAIR = (0.45, 0.55)
"""Where the AUC of frames that were not dreamed at all must lie."""


def measured_pasts(
    episodes: Sequence[Episode], burn_in: int, ages: Sequence[int], seed: int
) -> list[Past]:
    return pasts_to_dream_from(episodes, burn_in, max(ages), MEASURED_PASTS, seed, use=5)


def trained_pasts(
    episodes: Sequence[Episode], burn_in: int, ages: Sequence[int], seed: int
) -> list[Past]:
    """As many as give FRAMES frames; where there are too few different ones, each is dreamed from
    more than once."""
    count = -(-FRAMES // len(ages))
    each = -(-count // len(episodes))
    pasts = pasts_to_dream_from(episodes, burn_in, max(ages), each, seed, use=4)
    return (pasts * (-(-count // len(pasts))))[:count]


def trained_network(
    frames: Frames,
    pasts: Sequence[Past],
    *,
    seed: int,
    advance: Advance = lambda steps: None,
) -> Network:
    """A network whose output is higher for dreamed frames than for real ones. `advance` is called with
    the number of updates made."""
    side = frames.real.shape[2:]
    both = np.concatenate([frames.real.reshape(-1, *side), frames.dreamed.reshape(-1, *side)])
    is_dream = np.repeat([0, 1], len(both) // 2)[:, None].astype(np.float32)
    owners = np.array([past.episode for past in pasts])
    episodes = np.tile(owners, 2 * len(frames.real))
    return fitted(both, is_dream, episodes, _loss, 1, seed=seed, advance=advance)


def drift_figures(
    network: Network, frames: Frames, pasts: Sequence[Past], ages: Sequence[int], name: str
) -> dict[str, Any]:
    """The AUC by age, the first of which is 0. Raises ValueError where frames of that age are told
    apart, though none of them is dreamed: all of the figures would mean nothing. name: the world's."""
    groups = np.unique([past.episode for past in pasts], return_inverse=True)[1]

    def scores(pictures: NDArray[np.uint8]) -> NDArray[np.float64]:
        return network.read(pictures)[:, 0].astype(np.float64)

    auc = {
        str(age): auc_of_groups(scores(dreamed), scores(real), groups).as_json()
        for age, real, dreamed in zip(ages, frames.real, frames.dreamed, strict=True)
    }
    low, high = FAIR
    if not low <= auc["0"]["mean"] <= high:
        raise ValueError(
            f"the drift of {name} cannot be measured: at age 0, where both kinds of frames are real ones "
            "after the world's own encoding and decoding, they are told apart with an AUC of "
            f"{auc['0']['mean']:.3f}, expected {low} to {high}; give more episodes, or see whether the "
            "world shows a frame that it is given as it shows one that it dreams"
        )
    return {"auc": auc, "pasts": len(pasts), "episodes": int(groups.max()) + 1}


def _loss(told: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    return F.binary_cross_entropy_with_logits(told, wanted)


@dataclass(frozen=True)
class Frames:
    """Of P pasts at some ages, uint8 [ages, P, H, W, 3] each."""

    real: NDArray[np.uint8]
    """As the world shows them when it is given them."""
    dreamed: NDArray[np.uint8]


def drift_frames(
    world: World,
    episodes: Sequence[Episode],
    pasts: Sequence[Past],
    ages: Sequence[int],
    *,
    temperature: float,
    seed: int,
    advance: Advance = lambda frames: None,
) -> Frames:
    """Both kinds, with random draws of their own. `advance` is called with the number of frames
    dreamed."""
    spec = world.spec
    assert spec.frame is not None  # check_recordings
    kind = spec.frame.name
    seed, other = derived_seeds(seed, 2, count=2)

    def shown(state: WorldState, rows: torch.Tensor | None = None) -> torch.Tensor:
        return world.observe(state, kind, rows)

    dream = np.zeros((len(ages), len(pasts), *spec.frame.shape), np.uint8)
    for at in dreams(
        world,
        episodes,
        pasts,
        horizon=max(ages),
        samples=1,
        temperature=temperature,
        seed=seed,
        advance=advance,
    ):
        if at.age in ages:
            dream[list(ages).index(at.age), at.pasts] = shown(at.state).cpu().numpy()
    moved = [Past(past.episode, past.frame + age) for age in ages for past in pasts]
    real = observed(world, episodes, moved, {kind: shown}, seed=other)[kind]
    return Frames(real.reshape(dream.shape).astype(np.uint8), dream)
