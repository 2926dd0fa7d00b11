"""The odds of a death, as a frozen world must draw them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from genie_env._core import Memory
from genie_env.data.datasets import LatentData

WINDOWS = 16  # at a time


@dataclass(frozen=True)
class Odds:
    """The logit of a death's probability is `scale * logit + shift` of M's logit."""

    scale: float
    shift: float

    def apply(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """M's weights, such that its termination logit is the one of the probability."""
        weight, bias = weights["output.weight"].clone(), weights["output.bias"].clone()
        weight[-1] *= self.scale
        bias[-1] = self.scale * bias[-1] + self.shift
        return {**weights, "output.weight": weight, "output.bias": bias}


def fit_odds(logits: Tensor, deaths: Tensor) -> Odds:
    """Platt scaling (Platt 1999, section 2.2), of logits and deaths (0 or 1) of any equal shape.

    M's own odds are wrong twice over: its loss counts a death many times, and on the few deaths
    that it learned from it is surer than on others. Raises ValueError without any death.
    """
    positives = deaths.sum().item()
    negatives = deaths.numel() - positives
    if positives == 0:
        raise ValueError(
            "no held-out episode ends in a death, so nothing tells how sure M may be of one: "
            "record more episodes, and train M again"
        )
    # Platt's targets: a death may yet happen where none did, which keeps the scale finite.
    sure, unsure = (positives + 1) / (positives + 2), 1 / (negatives + 2)
    targets = torch.where(deaths.double() > 0, sure, unsure)
    fitted = torch.tensor([1.0, 0.0], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([fitted], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> float:
        optimizer.zero_grad()
        value = binary_cross_entropy_with_logits(fitted[0] * logits.double() + fitted[1], targets)
        value.backward()  # type: ignore[no-untyped-call]
        return value.item()

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    scale, shift = fitted.tolist()
    return Odds(scale, shift)


def held_out_odds(memory: Memory, unseen: LatentData, window: int) -> Odds:
    """Fits the odds on M's held-out windows, each read once."""
    count = unseen.batches_an_epoch(1, window)
    size = min(WINDOWS, count)
    logits, deaths = [], []
    for index in range(count // size):
        batch = unseen.batch(size, window, 0, index)
        logits.append(memory.termination_logits(batch, noise_step=index))
        deaths.append(batch["terminations"])
    return fit_odds(torch.cat(logits), torch.cat(deaths))
