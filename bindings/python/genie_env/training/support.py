"""Where the latents of the training frames lie, so that a dream can say how far it is from them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from genie_env._core import EpisodeStore
from genie_env.training.data import held_out

CHUNK = 1 << 16


def support_of(
    stores: Sequence[EpisodeStore], latents: Sequence[NDArray[np.floating]]
) -> dict[str, torch.Tensor]:
    """Mean and whitening of z, as it is drawn from (mu, logvar) of every frame that was trained on.

    `latents`: [frames, 2, size] a store. The whitening is the inverse of the covariance's lower
    Cholesky factor: |whitening (z - mean)| is the Mahalanobis distance of z.
    """
    size = latents[0].shape[2]
    count, total, squares, noise = 0, np.zeros(size), np.zeros((size, size)), np.zeros(size)
    for store, encoded in zip(stores, latents, strict=True):
        trained_on = np.repeat(~held_out(store), np.diff(store.episode_starts))
        rows = np.flatnonzero(trained_on)
        for first in range(0, len(rows), CHUNK):
            chunk = encoded[rows[first : first + CHUNK]].astype(np.float64)
            mu, logvar = chunk[:, 0], chunk[:, 1]
            count += len(mu)
            total += mu.sum(0)
            squares += mu.T @ mu
            noise += np.exp(logvar).sum(0)
    mean = total / count
    covariance = squares / count - np.outer(mean, mean) + np.diag(noise / count)
    whitening = np.linalg.inv(np.linalg.cholesky(covariance))
    return {
        "support.mean": torch.from_numpy(mean.astype(np.float32)),
        "support.whitening": torch.from_numpy(np.tril(whitening).astype(np.float32)),
    }
