"""What readers find of labelled objects in dreams, beside what they find in encoded reality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genie_env._core import World
from genie_env.evaluation.continuity.dreams import Advance, dreams, observed
from genie_env.evaluation.continuity.episodes import Past
from genie_env.evaluation.continuity.networks import STEPS, kind_of
from genie_env.evaluation.continuity.objects import QUANTITIES, Nearest, at_age
from genie_env.evaluation.continuity.readers import (
    TRAINED_ON,
    Reader,
    Reading,
    readable,
    readers_of,
)
from genie_env.evaluation.outcomes import Episode
from genie_env.evaluation.statistics import r2_of_groups, summarise_groups

SAMPLES = 32
"""Dreams of a past."""
LEAST_PASTS = 20
"""Pasts whose object is still there, below which an age has no figures."""
RECORDED = "recorded frame"
"""What is read without any world."""
INTERVAL = (0.1, 0.9)
"""Quantiles of the samples between which 80 % of the truths should lie."""


def reading_steps(inputs: Mapping[str, NDArray[np.generic]]) -> int:
    """Updates of all readers of these inputs."""
    return sum(STEPS[kind_of(each)] for each in inputs.values())


def drawn_frames(episodes: Sequence[Episode], burn_in: int, seed: int) -> list[Past]:
    """What readers learn from: TRAINED_ON frames of the episodes, or all."""
    every = [
        Past(number, frame)
        for number, episode in enumerate(episodes)
        for frame in range(min(burn_in, len(episode) - 1), len(episode))
    ]
    random = np.random.Generator(np.random.Philox(key=[seed, 3]))
    chosen = np.sort(random.permutation(len(every))[:TRAINED_ON])
    return [every[place] for place in chosen]


def train_readers(
    inputs: Mapping[str, NDArray[np.generic]],
    objects: Sequence[Nearest],
    pasts: Sequence[Past],
    *,
    seed: int,
    advance: Advance = lambda steps: None,
) -> dict[str, Reader]:
    """Readers of what `encoded_frames` gave of frames. `advance` is called with the number of updates
    made."""
    owners = np.array([past.episode for past in pasts])
    return readers_of(inputs, at_age(objects, pasts, 0), owners, seed=seed, advance=advance)


def encoded_frames(
    world: World,
    episodes: Sequence[Episode],
    pasts: Sequence[Past],
    *,
    seed: int,
    pictures_every: int = 1,
    advance: Advance = lambda frames: None,
) -> dict[str, NDArray[np.generic]]:
    """Everything that can be read of frames as a world encodes them, and the frames; of pictures one
    in `pictures_every`. `advance` is called with the number of frames followed."""
    frames = [
        episodes[past.episode].store.frames[episodes[past.episode].first + past.frame]
        for past in pasts[::pictures_every]
    ]
    spec = world.spec
    assert spec.frame is not None  # check_recordings
    thinned = {spec.frame.name: pictures_every}
    encoded = observed(
        world, episodes, pasts, readable(world), seed=seed, every=thinned, advance=advance
    )
    return {**encoded, RECORDED: np.stack(frames)}


def measure_objects(
    world: World,
    readers: Mapping[str, Reader],
    episodes: Sequence[Episode],
    objects: Sequence[Nearest],
    pasts: Sequence[Past],
    ages: Sequence[int],
    *,
    temperature: float,
    seed: int,
    advance: Advance = lambda frames: None,
) -> dict[str, Any]:
    """By what is read and age: see `_figures`."""
    kinds = readable(world)
    moved = [Past(past.episode, past.frame + age) for age in (0, *ages) for past in pasts]
    encoded = {
        kind: dict(zip((0, *ages), readers[kind].read(values).split(len(pasts)), strict=True))
        for kind, values in encoded_frames(world, episodes, moved, seed=seed).items()
    }
    shape = (len(pasts), SAMPLES)
    seen = {(kind, age): np.zeros(shape, bool) for kind in kinds for age in ages}
    told = {place: np.zeros((*shape, len(QUANTITIES)), np.float32) for place in seen}
    for at in dreams(
        world,
        episodes,
        pasts,
        horizon=max(ages),
        samples=SAMPLES,
        temperature=temperature,
        seed=seed,
        advance=advance,
    ):
        if at.age in ages:
            for kind, observe in kinds.items():
                reading = readers[kind].read(observe(at.state, None))
                seen[kind, at.age][at.pasts, at.samples] = reading.seen
                told[kind, at.age][at.pasts, at.samples] = reading.quantities
    groups = np.unique([past.episode for past in pasts], return_inverse=True)[1]
    begun = at_age(objects, pasts, 0)
    found: dict[str, Any] = {kind: {} for kind in (*kinds, RECORDED)}
    for age in ages:
        truth = at_age(objects, pasts, age)
        there = truth.present & (truth.identities == begun.identities)
        for kind, by_age in found.items():
            dream = (seen[kind, age], told[kind, age]) if kind in kinds else None
            by_age[str(age)] = _figures(
                truth, there, encoded[kind][age], encoded[kind][0], dream, groups
            )
    return {
        "pasts": len(pasts),
        "episodes": int(groups.max()) + 1,
        "samples": SAMPLES,
        "read": found,
    }


Dreamed = tuple[NDArray[np.bool_], NDArray[np.float32]]
"""What is seen in S dreams of P pasts, [P, S], and the quantities read, [P, S, 2]."""


def _figures(
    truth: Nearest,
    there: NDArray[np.bool_],
    reality: Reading,
    frozen: Reading,
    dream: Dreamed | None,
    groups: NDArray[np.int64],
) -> dict[str, Any]:
    """Of one reader at one age.

    Over all P pasts: the share that shows an object, by label, read in reality and in dreams. Over
    those whose nearest object is still there (`there`), where they are LEAST_PASTS: the share that is
    seen; and R2 of each quantity, read in reality, in the last real frame before the dream, in the
    mean over the samples of a past and in single samples; and the share of truths between the
    samples' quantiles.
    """
    shares = {"label": truth.present, "reality": reality.seen}
    if dream is not None:
        shares["dream"] = dream[0].mean(1)
    found: dict[str, Any] = {
        "shows": {name: _mean(share, groups) for name, share in shares.items()},
        "pasts": int(there.sum()),
    }
    if there.sum() < LEAST_PASTS:
        return found
    owners = np.unique(groups[there], return_inverse=True)[1]
    found["episodes"] = int(owners.max()) + 1
    found["seen"] = {
        name: _mean(share[there], owners) for name, share in shares.items() if name != "label"
    }
    found["seen"]["frozen"] = _mean(frozen.seen[there], owners)
    for place, quantity in enumerate(QUANTITIES):
        real = truth.quantities[there, place].astype(np.float64)

        def r2(told: NDArray[np.float32], real: NDArray[np.float64] = real) -> dict[str, Any]:
            return r2_of_groups(real, told.astype(np.float64), owners).as_json()

        figures = {
            "reality": r2(reality.quantities[there, place]),
            "frozen": r2(frozen.quantities[there, place]),
        }
        if dream is not None:
            read = dream[1][there, :, place]
            low, high = np.quantile(read, INTERVAL, axis=1)
            figures["mean"] = r2(read.mean(1))
            figures["single"] = r2(read)
            figures["inside"] = _mean((low <= real) & (real <= high), owners)
        found[quantity] = figures
    return found


def _mean(values: NDArray[Any], groups: NDArray[np.int64]) -> dict[str, Any]:
    mean: dict[str, Any] = summarise_groups(values[:, None].astype(np.float64), groups).as_json()[
        "1"
    ]
    return mean
