"""Mean and covariance of the latents of the training frames, from which a world computes how far a
dream is from what it was trained on (`latent_distance`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from genie_env._core import EpisodeStore
from genie_env.data.datasets import held_out
from genie_env.data.progress import track

CHUNK = 1 << 13

Latents = Callable[[NDArray[np.int64]], tuple[NDArray[np.float64], NDArray[np.float64]]]
"""Takes numbers of frames of a store, int64 [n]; returns the means of their latents and the
variances of the noise that is added when they are sampled, float64 [n, size] each."""


def gaussians(encoded: NDArray[np.floating]) -> Latents:
    """The latents of a variational autoencoder: `encoded` is mu and logvar, [frames, 2, size]."""

    def latents(frames: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        chunk = encoded[frames].astype(np.float64)
        return chunk[:, 0], np.exp(chunk[:, 1])

    return latents


def points(tokens: NDArray[np.integer], codebook: torch.Tensor) -> Latents:
    """The latents of a tokenizer: the normalised codebook vectors of a frame's tokens, concatenated,
    as the observation "latents" has them. tokens: [frames, S]; codebook: [codes, dimensions]."""
    directions = torch.nn.functional.normalize(codebook.double()).cpu().numpy()

    def latents(frames: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        chunk = directions[tokens[frames]].reshape(len(frames), -1)
        return chunk, np.zeros_like(chunk)

    return latents


def latent_statistics(
    stores: Sequence[EpisodeStore], latents: Sequence[Latents], shrinkage: float = 0.0
) -> dict[str, torch.Tensor]:
    """Mean and whitening of the latents of all training frames; `latents` has one entry a store.

    The whitening is the inverse of the covariance's lower Cholesky factor: |whitening (z - mean)|
    is the Mahalanobis distance of z. `shrinkage` is the share of the covariance that is replaced by
    its mean variance times the identity, so that it can be inverted.
    """
    count = 0
    total: Any = 0.0
    squares: Any = 0.0
    noise: Any = 0.0
    for store, latents_of in zip(stores, latents, strict=True):
        trained_on = np.repeat(~held_out(store), np.diff(store.episode_starts))
        rows = np.flatnonzero(trained_on)
        for first in track(range(0, len(rows), CHUNK), "statistics of latents", transient=True):
            means, variances = latents_of(rows[first : first + CHUNK])
            count += len(means)
            total += means.sum(0)
            squares += means.T @ means
            noise += variances.sum(0)
    mean = total / count
    covariance = squares / count - np.outer(mean, mean) + np.diag(noise / count)
    even = max(np.trace(covariance) / len(mean), np.finfo(np.float32).tiny)
    covariance = (1 - shrinkage) * covariance + shrinkage * even * np.eye(len(mean))
    whitening = np.linalg.inv(np.linalg.cholesky(covariance))
    return {
        "support.mean": torch.from_numpy(mean.astype(np.float32)),
        "support.whitening": torch.from_numpy(np.tril(whitening).astype(np.float32)),
    }
