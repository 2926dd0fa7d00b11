"""Platt scaling of M's termination logit, and where a frozen world gets it from."""

import math

import numpy as np
import philox
import pytest
import torch
from test_nn_reference import memory_batch, plain_memory

from genie_env._core import Memory, Trainer
from genie_env.families.termination_calibration import (
    TerminationCalibration,
    fit_calibration,
)


def test_finds_the_probability_that_deaths_were_drawn_from() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(-4, 3, 200_000)
    deaths = random.random(len(logits)) < 1 / (1 + np.exp(0.5 - 0.7 * logits))
    fitted = fit_calibration(torch.from_numpy(logits).float(), torch.from_numpy(deaths).float())
    assert fitted.scale == pytest.approx(0.7, abs=0.02)
    assert fitted.shift == pytest.approx(-0.5, abs=0.05)
    # What makes a dream's deaths as many as the recording's.
    expected = 1 / (1 + np.exp(-fitted.scale * logits - fitted.shift))
    assert expected.sum() == pytest.approx(deaths.sum(), rel=1e-3)


def test_undoes_the_weight_of_deaths() -> None:
    random = np.random.default_rng(1)
    logits = random.normal(-3, 2, 200_000)
    deaths = random.random(len(logits)) < 1 / (1 + np.exp(-logits))
    weighted = torch.from_numpy(logits + math.log(10))
    fitted = fit_calibration(weighted, torch.from_numpy(deaths))
    assert fitted.scale == pytest.approx(1, abs=0.03)
    assert fitted.shift == pytest.approx(-math.log(10), abs=0.1)


def test_logits_that_separate_deaths_keep_a_finite_scale() -> None:
    fitted = fit_calibration(torch.tensor([-2.0, -1.0, 1.0]), torch.tensor([0.0, 0.0, 1.0]))
    assert 0 < fitted.scale < 10


def test_without_deaths_nothing_can_be_fitted() -> None:
    with pytest.raises(
        ValueError, match="no held-out episode ends in a termination, .* record more"
    ):
        fit_calibration(torch.zeros(3), torch.zeros(3))


def test_calibrated_weights_give_the_scaled_logit_and_the_same_frames() -> None:
    batch = memory_batch(2, 9, [(1, 4, True)])
    memory = Memory(seed=3)
    trainer = Trainer(memory, seed=3)
    before = memory.judge_windows(batch, noise_step=5)["termination_logits"]
    nll = trainer.evaluate(batch, 5)["nll"]
    trainer.load_weights(TerminationCalibration(0.7, -2.0).apply(trainer.weights(), ["output"]))
    after = memory.judge_windows(batch, noise_step=5)["termination_logits"]
    torch.testing.assert_close(after, 0.7 * before - 2)
    assert trainer.evaluate(batch, 5)["nll"] == nll


def test_termination_logits_against_the_reference() -> None:
    batch = memory_batch(2, 9, [(1, 4, True)])
    memory = Memory(seed=3)
    reference = plain_memory(Trainer(memory))
    noise = torch.from_numpy(philox.training_noise(0, 5, 2 * 9 * 64)).reshape(2, 9, 64)
    z = batch["mu"].double() + torch.exp(batch["logvar"].double() / 2) * noise
    extra = torch.cat([batch["actions"], batch["restarts"][..., None]], dim=-1).double()
    hidden, _ = reference.lstm(torch.cat([z, extra], dim=-1))
    expected = reference.output(hidden)[..., -1].float()
    del batch["terminations"]  # not read
    torch.testing.assert_close(memory.judge_windows(batch, noise_step=5)["termination_logits"], expected)
