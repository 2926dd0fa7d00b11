"""The random numbers of libraries that draw from the global generators."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch


@contextlib.contextmanager
def own_randomness(states: dict[str, Any]) -> Iterator[None]:
    """The libraries' global generators are those of the run in the block, and the caller's after."""
    before = _generators()
    set_generators(states or before)
    try:
        yield
    finally:
        states.update(_generators())
        set_generators(before)


def _generators() -> dict[str, Any]:
    name, keys, *rest = np.random.get_state()  # noqa: NPY002  # Stable-Baselines3 uses it
    return {
        "torch": torch.get_rng_state(),
        "numpy": [name, torch.from_numpy(np.array(keys, np.int64)), *rest],
        "python": random.getstate(),
    }


def set_generators(states: Mapping[str, Any]) -> None:
    torch.set_rng_state(states["torch"])
    name, keys, *rest = states["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    version, internal, gauss = states["python"]
    random.setstate((version, tuple(internal), gauss))
