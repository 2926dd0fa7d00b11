"""How far dreams are from what really followed, by age, beside two predictions without a world."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from genie_env._core import World
from genie_env.evaluation.continuity.dreams import Advance, dreams, observed
from genie_env.evaluation.continuity.episodes import Past, pasts_to_dream_from
from genie_env.evaluation.outcomes import Episode
from genie_env.evaluation.statistics import summarise_groups

PASTS = 4
"""Of an episode."""
SAMPLES = 4
"""Dreams of a past."""
MEASURES = {
    "dream": "a dream under the recorded or inferred actions, mean over its samples",
    "dream_mean": f"the mean picture of {SAMPLES} dreams",
    "round_trip": "the frame itself, as the world encodes and decodes it",
    "frozen": "the last real frame before the dream, held",
    "other": "a frame of another episode, as far from its beginning",
}


def error_pasts(episodes: Sequence[Episode], burn_in: int, horizon: int, seed: int) -> list[Past]:
    """Frames of episodes that are long enough for dreams of `horizon` frames."""
    return pasts_to_dream_from(episodes, burn_in, horizon, PASTS, seed, use=1)


def frames_dreamed(pasts: Sequence[Past], horizon: int) -> int:
    return len(pasts) * SAMPLES * horizon


def measure_errors(
    world: World,
    episodes: Sequence[Episode],
    pasts: Sequence[Past],
    ages: Sequence[int],
    *,
    temperature: float,
    seed: int,
    advance: Advance = lambda frames: None,
) -> dict[str, Any]:
    """By measure and age, the mean squared error of pixels from 0 to 1 over all pasts, with its 95 %
    interval."""
    kind = _frame_kind(world)
    real = [_real(episodes, pasts, age) for age in ages]
    total = [np.zeros(frames.shape, np.float32) for frames in real]
    errors = {name: np.zeros((len(pasts), len(ages))) for name in MEASURES}
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
        if at.age not in ages:
            continue
        place = list(ages).index(at.age)
        shown = world.observe(at.state, kind).cpu().numpy()
        wrong = squared_error(shown, real[place][at.pasts]) / SAMPLES
        np.add.at(errors["dream"][:, place], at.pasts, wrong)
        np.add.at(total[place], at.pasts, shown.astype(np.float32) / SAMPLES)
    still = _real(episodes, pasts, 0)
    moved = [Past(past.episode, past.frame + age) for age in ages for past in pasts]
    shows = {kind: lambda state, rows: world.observe(state, kind, rows)}
    given = observed(world, episodes, moved, shows, seed=seed)[kind]
    for place, age in enumerate(ages):
        errors["dream_mean"][:, place] = squared_error(total[place], real[place])
        errors["frozen"][:, place] = squared_error(still, real[place])
        other = np.stack([_other(episodes, past, age) for past in pasts])
        errors["other"][:, place] = squared_error(other, real[place])
        shown = given[place * len(pasts) : (place + 1) * len(pasts)]
        errors["round_trip"][:, place] = squared_error(shown, real[place])
    groups = np.unique([past.episode for past in pasts], return_inverse=True)[1]
    return {
        "pasts": len(pasts),
        "episodes": int(groups.max()) + 1,
        "samples": SAMPLES,
        **{name: _by_age(values, groups, ages) for name, values in errors.items()},
    }


def _by_age(
    values: NDArray[np.float64], groups: NDArray[np.int64], ages: Sequence[int]
) -> dict[str, Any]:
    curve = summarise_groups(values, groups).as_json()
    return {str(age): curve[str(place + 1)] for place, age in enumerate(ages)}


def squared_error(shown: NDArray[Any], real: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The mean squared error of each picture, of pixels from 0 to 1: [N, H, W, 3] twice -> [N]."""
    difference = torch.from_numpy(shown).float() - torch.from_numpy(real).float()
    error: NDArray[np.float64] = (difference / 255).square().flatten(1).mean(1).double().numpy()
    return error


def _frame_kind(world: World) -> str:
    assert world.spec.frame is not None  # check_recordings
    return world.spec.frame.name


def _real(episodes: Sequence[Episode], pasts: Sequence[Past], age: int) -> NDArray[np.uint8]:
    return np.stack([_frame(episodes[past.episode], past.frame + age) for past in pasts])


def _other(episodes: Sequence[Episode], past: Past, age: int) -> NDArray[np.uint8]:
    """The frame of the next episode at the same place, or its last one."""
    other = episodes[(past.episode + 1) % len(episodes)]
    return _frame(other, min(past.frame + age, len(other) - 1))


def _frame(episode: Episode, index: int) -> NDArray[np.uint8]:
    frame: NDArray[np.uint8] = episode.store.frames[episode.first + index]
    return frame
