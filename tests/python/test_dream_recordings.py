"""The shipped worlds dream what they dreamt when their recordings were made."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from dream_recordings import (
    FOLDER,
    KEPT,
    STEPS,
    actions,
    begun,
    hashes,
    outcome_of,
    processor,
    rng,
    temperature,
)

from genie_env import _core
from genie_env.envs.registry import find_world, installed_worlds

WORLDS = [name for name in installed_worlds() if name in KEPT]


def recording(name: str, ending: str) -> Path:
    """A file of the world's recording; skips where there is none."""
    file = FOLDER / f"{name}.{ending}"
    if not file.exists():
        pytest.skip(f"no recording of {name}: tests/python/dream_recordings.py writes it")
    return file


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", WORLDS)
@pytest.mark.parametrize("steps", [50, pytest.param(STEPS, marks=pytest.mark.long)])
def test_every_bit(steps: int, name: str, dtype: str) -> None:
    """Bits are promised on one instruction set: others have no list to be compared with."""
    known = json.loads(recording(name, "json").read_text())
    recorded = known.get(f"{processor()} {dtype}")
    if recorded is None:
        pytest.skip(f"no recording for {processor()} in {dtype}: tests/python/dream_recordings.py")
    found = hashes(_core.World.load(find_world(name), dtype=dtype), steps)
    pairs = zip(found, recorded[:steps], strict=True)
    different = [step for step, pair in enumerate(pairs, 1) if pair[0] != pair[1]]
    assert not different, f"steps {different} of {steps} differ"


@pytest.mark.parametrize("name", WORLDS)
def test_a_step_returns_what_observe_gives_after_it(name: str) -> None:
    """So the bits of the states, which are recorded, are those of the observations too."""
    world = _core.World.load(find_world(name), dtype="float32")
    state, tau = begun(world), temperature(world)
    for step in range(1, 4):
        for kind in [None, *(spec.name for spec in world.spec.observations)]:
            after = state.clone()
            outcome = world.step(after, actions(world, step), tau, rng(step), kind)
            kind = kind or world.spec.observations[0].name
            assert torch.equal(outcome.observation, world.observe(after, kind)), (step, kind)
        state = after


@pytest.mark.parametrize("name", WORLDS)
def test_a_step_from_a_stored_state(name: str) -> None:
    """On every processor, within what float32 sums differ by."""
    world = _core.World.load(find_world(name), dtype="float32")
    with np.load(recording(name, "npz")) as stored:
        kept = dict(stored)
    for step in KEPT[name]:
        found = outcome_of(world, kept, step)
        assert np.array_equal(found["terminated"], kept[f"{step}/terminated"])
        np.testing.assert_allclose(found["surprise"], kept[f"{step}/surprise"], atol=2e-3)
        observation, expected = found["observation"], kept[f"{step}/observation"]
        if (
            observation.dtype == np.int64
        ):  # tokens: a uniform number near an edge may fall beside it
            assert (observation == expected).mean() > 0.95
        else:
            np.testing.assert_allclose(observation, expected, atol=2e-3, rtol=2e-3)
        difference = found["pixels"].astype(int) - kept[f"{step}/pixels"]
        assert np.abs(difference).mean() < 1.0


def test_a_difference_would_show() -> None:
    """Latents moved by a twentieth are another state, and lead elsewhere."""
    world = _core.World.load(find_world("doom-take-cover"), dtype="float32")
    with np.load(FOLDER / "doom-take-cover.npz") as stored:
        kept = dict(stored)
    step = KEPT["doom-take-cover"][0]
    kept[f"{step}/state/z"] = kept[f"{step}/state/z"] + np.float16(0.05)
    found = outcome_of(world, kept, step)["observation"]
    assert not np.allclose(found, kept[f"{step}/observation"], atol=2e-3, rtol=2e-3)
    assert torch.isfinite(torch.from_numpy(found)).all()
