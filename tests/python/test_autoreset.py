"""What happens where an episode ends, beside Gymnasium's own vector environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import genie_env
from genie_env import DreamEnv

ROWS, STEPS, SEED = 3, 30, 11
SCORES = ("surprise", "_surprise", "termination_probability", "_termination_probability")


def make(world: Path, mode: AutoresetMode | str, **options: Any) -> genie_env.DreamVectorEnv:
    return genie_env.make_vec(
        world, ROWS, dtype="float32", max_episode_steps=7, autoreset_mode=mode, **options
    )


def assert_same(ours: Any, theirs: Any, where: str = "") -> None:
    """The same structure, masks and numbers; a batch of one is computed a little differently."""
    if isinstance(theirs, dict):
        assert ours.keys() == theirs.keys(), where
        for key in theirs:
            assert_same(ours[key], theirs[key], f"{where}[{key!r}]")
    elif theirs.dtype == object:
        assert (ours.dtype, ours.shape) == (object, theirs.shape), where
        for mine, other in zip(ours, theirs, strict=True):
            assert (mine is None) == (other is None), where
            if other is not None:
                assert_same(mine, other, where)
    else:
        assert ours.shape == theirs.shape, where
        np.testing.assert_allclose(ours, theirs, rtol=2e-3, atol=2e-3, err_msg=where)


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_as_gymnasium_vectorises_single_environments(
    random_world: Path, mode: AutoresetMode
) -> None:
    """Episodes end by death and by the time limit; rows are of several ages.

    From equal states every step is the same; every row is taken to its single environment's state
    again before the next, as float32 dreams of several batch sizes drift apart.
    """
    ours = make(random_world, mode)
    singles = [DreamEnv(random_world, dtype="float32", max_episode_steps=7) for _ in range(ROWS)]
    theirs = SyncVectorEnv([lambda env=env: env for env in singles], autoreset_mode=mode)
    assert_same(ours.reset(seed=SEED)[0], theirs.reset(seed=SEED)[0])
    generator = np.random.default_rng(0)
    ended = 0
    for _ in range(STEPS):
        actions = generator.integers(0, 3, ROWS)
        observations, rewards, terminations, truncations, infos = ours.step(actions)
        expected = theirs.step(actions)
        infos_expected = dict(expected[4])
        # Gymnasium leaves out what no row has.
        for key in SCORES:
            infos_expected.setdefault(key, np.zeros(ROWS, infos[key].dtype))
        assert_same(infos, infos_expected)
        assert_same(observations, expected[0])
        assert_same(rewards, expected[1])
        assert_same(terminations, expected[2])
        assert_same(truncations, expected[3])
        done = terminations | truncations
        ended += int(done.sum())
        assert ("final_obs" in infos) == (mode is AutoresetMode.SAME_STEP and done.any())
        for row, single in enumerate(singles):
            ours.restore(single.snapshot(), [row])
    assert ended > ROWS


def test_same_step_step_by_step(random_world: Path) -> None:
    env, other = make(random_world, "SameStep"), make(random_world, "Disabled")
    assert env.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    mask = np.array([False, True, False])
    for each in (env, other):
        each.reset(seed=0)
        each.step([0, 1, 2])
        each.reset(seed=5, options={"reset_mask": mask})
    for step in range(2, 8):
        _, rewards, terminations, truncations, infos = env.step([0, 1, 2])
        observations, _, deaths, _, scores = other.step([0, 1, 2])
        assert rewards.tolist() == [1, 1, 1]
        np.testing.assert_array_equal(terminations, deaths)
        if terminations.any():  # the world of this test ends few episodes so early
            pytest.skip("a death came first")
        assert truncations.tolist() == ([True, False, True] if step == 7 else [False] * 3)
        if step < 7:
            assert set(infos) == set(SCORES)
    assert set(infos) == {*SCORES, "final_obs", "_final_obs", "final_info", "_final_info"}
    ended = np.array([True, False, True])
    for mask_of in ("_final_obs", "_final_info"):
        np.testing.assert_array_equal(infos[mask_of], ended)
    np.testing.assert_array_equal(infos["_surprise"], ~ended)
    np.testing.assert_array_equal(infos["final_info"]["_surprise"], ended)
    assert infos["final_obs"][1] is None
    for row in (0, 2):
        np.testing.assert_array_equal(infos["final_obs"][row], observations[row])
        for name in SCORES[::2]:
            assert infos["final_info"][name][row] == scores[name][row] != 0
            assert infos[name][row] == 0
    for name in SCORES[::2]:
        assert infos[name][1] == scores[name][1]
        assert infos["final_info"][name][1] == 0


def test_tensors_hold_all_final_observations(random_world: Path) -> None:
    env = make(random_world, "SameStep", output="torch")
    arrays = make(random_world, "SameStep")
    env.reset(seed=0)
    arrays.reset(seed=0)
    for _ in range(7):
        infos, expected = env.step([0, 1, 2])[4], arrays.step([0, 1, 2])[4]
    final, rows = infos["final_obs"], infos["_final_obs"]
    assert isinstance(final, torch.Tensor) and final.shape == (ROWS, 80)
    assert rows.tolist() == expected["_final_obs"].tolist() and rows.any()
    for row in rows.nonzero().flatten().tolist():
        np.testing.assert_array_equal(final[row].numpy(), expected["final_obs"][row])
    assert isinstance(infos["final_info"]["surprise"], torch.Tensor)
