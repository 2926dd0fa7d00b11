"""Calibrates M's termination probability on held-out recordings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from genie_env._core import Memory
from genie_env.data.progress import track
from genie_env.training.latent_windows import LatentData

WINDOWS = 16  # at a time


@dataclass(frozen=True)
class TerminationCalibration:
    """`scale * logit + shift` of M's termination logit is the logit of the probability."""

    scale: float
    shift: float

    def apply(self, weights: Mapping[str, Tensor], judges_termination: bool) -> dict[str, Tensor]:
        """M's weights, changed so that its termination logit is the calibrated one."""
        changed = dict(weights)
        for layer, shift in (("output", self.shift), ("outcome.output", 0.0)):  # their sum
            if layer == "output" or judges_termination:
                weight, bias = weights[f"{layer}.weight"].clone(), weights[f"{layer}.bias"].clone()
                weight[-1] *= self.scale
                bias[-1] = self.scale * bias[-1] + shift
                changed |= {f"{layer}.weight": weight, f"{layer}.bias": bias}
        return changed


def fit_calibration(logits: Tensor, terminations: Tensor) -> TerminationCalibration:
    """Platt scaling (Platt 1999, section 2.2) of logits, given terminations (0 or 1), both of any
    equal shape.

    M's own probability is wrong for two reasons: its loss weighs a termination many times, and M is
    more certain on the few terminations that it was trained on than on others. Raises ValueError
    where nothing terminates.
    """
    positives = terminations.sum().item()
    negatives = terminations.numel() - positives
    if positives == 0:
        raise ValueError(
            "no held-out episode ends in a termination, so M's termination probability cannot be "
            "calibrated: record more episodes, and train M again"
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


def calibrate_termination(
    memory: Memory, unseen: LatentData, window: int
) -> TerminationCalibration:
    """Fits the calibration on M's held-out windows, each read once."""
    count = unseen.batches_an_epoch(1, window)
    size = min(WINDOWS, count)
    logits, terminations = [], []
    for index in track(range(count // size), "calibrating terminations", transient=True):
        batch = unseen.batch(size, window, 0, index)
        outcomes = memory.judge_windows(batch, noise_step=index)
        logits.append(outcomes["termination_logits"][outcomes["judged"]])
        terminations.append(batch["terminations"][outcomes["judged"]])
    return fit_calibration(torch.cat(logits), torch.cat(terminations))
