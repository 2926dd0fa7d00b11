"""Calibrates M's termination probability on held-out recordings."""

from __future__ import annotations

import torch

from genie_env._core import Memory
from genie_env.data.progress import track
from genie_env.families.termination_calibration import TerminationCalibration, fit_calibration
from genie_env.training.latent_windows import LatentData

WINDOWS = 16  # at a time


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
