"""Calibrates M's termination probability on held-out recordings."""

from __future__ import annotations

import math

import torch

from genie_env._core import Memory
from genie_env.data.progress import track
from genie_env.families.termination_calibration import TerminationCalibration, fit_calibration
from genie_env.training.latent_windows import LatentData

WINDOWS = 16  # at a time


def calibrate_termination(
    memory: Memory, unseen: LatentData, window: int, *, judges_termination: bool
) -> TerminationCalibration:
    """Fits the calibration on all of M's held-out steps, each once. judges_termination: M's."""
    overlap = int(judges_termination)
    count = math.ceil(unseen.num_frames / max(window - overlap, 1) / WINDOWS) + 1
    batches = unseen.every_step(WINDOWS, window, overlap=overlap)
    logits, terminations = [], []
    for index, batch in enumerate(track(batches, "calibrating terminations", count, transient=True)):
        outcomes = memory.judge_windows(batch, noise_step=index)
        logits.append(outcomes["termination_logits"][outcomes["judged"]])
        terminations.append(batch["terminations"][outcomes["judged"]])
    return fit_calibration(torch.cat(logits), torch.cat(terminations))
