"""The two networks of the measure: one reads vectors, one pictures. They are fixed, and small.

Vectors, each number of which is given mean 0 and deviation 1: two layers of 256, rectified.
Pictures, resized to 64 x 64: convolutions of 16, 32, 64 and 64 channels (kernel 5, then 3; stride 2),
and a layer of 128, rectified. AdamW, 1e-3 falling to 0 by a cosine, 4,000 batches of 128 vectors or 1,200
of pictures. Every tenth episode is set aside, and decides which weights are kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from genie_env.data.datasets import shuffled

SIDE = 64
LAYERS = (256, 256)
CHANNELS = (16, 32, 64, 64)
FLAT = CHANNELS[-1] * (SIDE // 2 ** len(CHANNELS)) ** 2
PICTURE_FEATURES = 128
BATCH = 128
STEPS = {"vectors": 4000, "pictures": 1200}
EVALUATIONS = 10
LEARNING_RATE = 1e-3
WEIGHT_DECAY = {"vectors": 0.5, "pictures": 0.05}
"""Latents hold numbers that are noise alone, and a network of vectors must not learn them by heart."""
SET_ASIDE_EVERY = 10
LEAST_DEVIATION = 0.1
"""Of a number of a vector, as a share of all numbers' root mean square."""
FARTHEST = 10.0
"""What a number of a vector is cut at, in deviations."""
AT_ONCE = 1024
"""Rows that are read at once."""

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Of outputs [B, K] and targets [B, T]."""


def kind_of(inputs: NDArray[np.generic]) -> str:
    """Which of the networks reads them."""
    return "pictures" if inputs.ndim == 4 else "vectors"


@dataclass
class Network:
    """Reads float32 [N, F], or pictures uint8 [N, H, W, 3]: K numbers each."""

    weights: list[torch.Tensor]
    """A weight and a bias of every layer."""
    mean: torch.Tensor
    deviation: torch.Tensor
    """Of each number of a vector, in training."""

    @classmethod
    def of(cls, inputs: NDArray[np.generic], outputs: int, seed: int) -> Network:
        """Random weights (He et al. 2015), for inputs like these."""
        if inputs.ndim == 4:
            kernels = [(CHANNELS[0], 3, 5, 5)]
            kernels += [(b, a, 3, 3) for a, b in pairwise(CHANNELS)]
            shapes = [*kernels, (PICTURE_FEATURES, FLAT), (outputs, PICTURE_FEATURES)]
            mean, deviation = torch.tensor(127.5), torch.tensor(127.5)
        else:
            sizes = (inputs.shape[1], *LAYERS, outputs)
            shapes = [(b, a) for a, b in pairwise(sizes)]
            values = torch.from_numpy(inputs.astype(np.float32))
            mean, deviation = values.mean(0), values.std(0, correction=0)
            # A number that hardly varies in training says little, and must not say much elsewhere.
            least = LEAST_DEVIATION * float(deviation.square().mean().sqrt())
            deviation = deviation.clamp(min=max(least, 1e-6))
        random = torch.Generator().manual_seed(seed)
        weights = []
        for shape in shapes:
            scale = math.sqrt(2 / math.prod(shape[1:]))
            weights += [torch.randn(shape, generator=random) * scale, torch.zeros(shape[0])]
        return cls(weights, mean, deviation)

    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        pairs = list(zip(self.weights[::2], self.weights[1::2], strict=True))
        if inputs.ndim == 4:
            x = inputs.permute(0, 3, 1, 2).float()
            if x.shape[2:] != (SIDE, SIDE):
                smaller = min(x.shape[2:]) >= SIDE
                x = F.interpolate(x, (SIDE, SIDE), mode="area" if smaller else "nearest")
            x = ((x - self.mean) / self.deviation).contiguous(memory_format=torch.channels_last)
            for weight, bias in pairs[: len(CHANNELS)]:
                x = F.relu(F.conv2d(x, weight, bias, stride=2, padding=weight.shape[-1] // 2))
            x, pairs = x.flatten(1), pairs[len(CHANNELS) :]
        else:
            x = ((inputs.float() - self.mean) / self.deviation).clamp(-FARTHEST, FARTHEST)
        for weight, bias in pairs[:-1]:
            x = F.relu(F.linear(x, weight, bias))
        return F.linear(x, *pairs[-1])

    def read(self, inputs: NDArray[np.generic] | torch.Tensor) -> NDArray[np.float32]:
        """float32 [N, K]"""
        given = torch.from_numpy(inputs) if isinstance(inputs, np.ndarray) else inputs.cpu()
        with torch.inference_mode():
            return torch.cat([self(part) for part in torch.split(given, AT_ONCE)]).numpy()


def fitted(
    inputs: NDArray[np.generic],
    targets: NDArray[np.float32],
    episodes: NDArray[np.int64],
    loss: Loss,
    outputs: int,
    *,
    seed: int,
    advance: Callable[[int], None] = lambda steps: None,
) -> Network:
    """A network that has learned from N inputs, those of every tenth episode set aside. episodes:
    [N]. `advance` is called with the number of updates made, STEPS of its kind in all."""
    steps = STEPS[kind_of(inputs)]
    aside = np.isin(episodes, np.unique(episodes)[::SET_ASIDE_EVERY])
    network = Network.of(inputs[~aside], outputs, seed)
    rows, checked = np.flatnonzero(~aside), np.flatnonzero(aside)
    given, wanted = torch.from_numpy(inputs), torch.from_numpy(targets)
    for weight in network.weights:
        weight.requires_grad_(True)
    decay = WEIGHT_DECAY[kind_of(inputs)]
    optimizer = torch.optim.AdamW(
        network.weights, lr=LEARNING_RATE, weight_decay=decay, foreach=True
    )
    best, least = [weight.detach().clone() for weight in network.weights], math.inf
    batch = min(BATCH, len(rows))
    a_round = len(rows) // batch
    for step in range(steps):
        epoch, place = divmod(step, a_round)
        if place == 0:
            order = rows[shuffled(len(rows), seed, epoch)]
        taken = torch.from_numpy(order[place * batch : (place + 1) * batch])
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * (1 + math.cos(math.pi * step / steps)) / 2
        optimizer.zero_grad()
        loss(network(given[taken]), wanted[taken]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        advance(1)
        if (step + 1) % (steps // EVALUATIONS) == 0:
            with torch.no_grad():
                parts = torch.split(torch.from_numpy(checked), AT_ONCE)
                told = torch.cat([network(given[part]) for part in parts])
                found = float(loss(told, wanted[torch.from_numpy(checked)]))
            if found < least:
                best, least = [weight.detach().clone() for weight in network.weights], found
    network.weights = best
    return network
