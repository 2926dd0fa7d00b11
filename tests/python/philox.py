"""Philox4x32-10 and Box-Muller in NumPy, re-computed from the papers, to check ours against.

Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"; Box and Muller 1958.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_MULTIPLIERS = np.array([0xD2511F53, 0xCD9E8D57], dtype=np.uint64)
_WEYL = np.array([0x9E3779B9, 0xBB67AE85], dtype=np.uint64)
_LOW = np.uint64(0xFFFFFFFF)


def philox4x32(key: int, counters: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Ten rounds over every counter: uint32 [N, 4] to uint32 [N, 4]. `key` has 64 bits, low half
    first."""
    x0, x1, x2, x3 = counters.astype(np.uint64).T
    keys = np.array([key & 0xFFFFFFFF, key >> 32], dtype=np.uint64)
    for _ in range(10):
        product0, product1 = x0 * _MULTIPLIERS[0], x2 * _MULTIPLIERS[1]
        x0, x1, x2, x3 = (
            (product1 >> np.uint64(32)) ^ x1 ^ keys[0],
            product1 & _LOW,
            (product0 >> np.uint64(32)) ^ x3 ^ keys[1],
            product0 & _LOW,
        )
        keys = (keys + _WEYL) & _LOW
    return np.stack([x0, x1, x2, x3], axis=1).astype(np.uint32)


TRAINING_NOISE = 7
"""The number of the stream in `genie_env/core/random.h`."""


def uniforms(seed: int, episode: int, step: int, stream: int, count: int) -> NDArray[np.float64]:
    """Elements 0 .. count - 1 of a stream, in the open interval (0, 1): four to a block of bits, of
    which the upper 23 count, at the middle of their interval."""
    blocks = -(-count // 4)
    counters = np.empty((blocks, 4), np.uint32)
    counters[:, 0] = np.arange(blocks)
    counters[:, 1:] = (stream, step, episode)
    bits = philox4x32(seed, counters).reshape(-1)[:count]
    return ((bits >> np.uint32(9)).astype(np.float64) + 0.5) * 2.0**-23


def normals(seed: int, episode: int, step: int, stream: int, count: int) -> NDArray[np.float64]:
    """The same, normal: two uniforms (radius, angle) give two draws (cosine, sine)."""
    pairs = uniforms(seed, episode, step, stream, count + count % 2).reshape(-1, 2)
    radius, angle = np.sqrt(-2 * np.log(pairs[:, 0])), 2 * np.pi * pairs[:, 1]
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1).reshape(-1)[:count]


def training_noise(seed: int, step: int, count: int) -> NDArray[np.float64]:
    """What `TrainingNoise` of `genie_env/models/model.h` draws for one training step."""
    return normals(seed, step >> 32, step & 0xFFFFFFFF, TRAINING_NOISE, count)
