"""Calibrates a learned termination probability on held-out recordings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits


@dataclass(frozen=True)
class TerminationCalibration:
    """`scale * logit + shift` of a network's termination logit is the logit of the probability."""

    scale: float
    shift: float

    def apply(self, weights: Mapping[str, Tensor], layers: Sequence[str]) -> dict[str, Tensor]:
        """The weights, changed so that the termination logit is the calibrated one: the sum of the
        last outputs of `layers`."""
        changed = dict(weights)
        for layer in layers:
            weight, bias = weights[f"{layer}.weight"].clone(), weights[f"{layer}.bias"].clone()
            weight[-1] *= self.scale
            bias[-1] = self.scale * bias[-1] + (self.shift if layer == layers[0] else 0.0)
            changed |= {f"{layer}.weight": weight, f"{layer}.bias": bias}
        return changed


def fit_calibration(logits: Tensor, terminations: Tensor) -> TerminationCalibration:
    """Platt scaling (Platt 1999, section 2.2) of logits, given terminations (0 or 1), both of any
    equal shape.

    A network's own probability is wrong for two reasons: its loss weighs a termination many times,
    and it is more certain on the few terminations that it was trained on than on others. Raises
    ValueError where nothing terminates.
    """
    positives = terminations.sum().item()
    negatives = terminations.numel() - positives
    if positives == 0:
        raise ValueError(
            "no held-out episode ends in a termination, so the termination probability cannot be "
            "calibrated: record more episodes, and train again"
        )
    # Platt's targets keep the scale finite: neither 0 nor 1 is certain after finitely many samples.
    certain, uncertain = (positives + 1) / (positives + 2), 1 / (negatives + 2)
    targets = torch.where(terminations.double() > 0, certain, uncertain)
    fitted = torch.tensor([1.0, 0.0], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([fitted], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> float:
        optimizer.zero_grad()
        value = binary_cross_entropy_with_logits(fitted[0] * logits.double() + fitted[1], targets)
        value.backward()  # type: ignore[no-untyped-call]
        return value.item()

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    scale, shift = fitted.tolist()
    return TerminationCalibration(scale, shift)
