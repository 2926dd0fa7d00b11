"""Rewards and endings of one's own, and limits that keep dreams honest."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import genie_env
from genie_env import DreamEnv, DreamVectorEnv


def make(world: Path, **options: Any) -> DreamVectorEnv:
    return genie_env.make_vec(world, 3, dtype="float32", termination="thresholded", **options)


def first_feature(observations: Any, actions: Any, following: Any) -> Any:
    return 2 * following[:, 0] - observations[:, 0] + actions


def row_one(observations: Any, actions: Any, following: Any) -> Any:
    return actions == 2


@pytest.mark.parametrize("output", ["numpy", "torch"])
def test_they_take_the_place_of_the_worlds(random_world: Path, output: str) -> None:
    env = make(random_world, output=output, reward_fn=first_feature, termination_fn=row_one)
    before, _ = env.reset(seed=0)
    after, rewards, terminations, _, _ = env.step([0, 2, 1])
    expected = 2 * np.asarray(after)[:, 0] - np.asarray(before)[:, 0] + [0, 2, 1]
    np.testing.assert_allclose(rewards, expected, rtol=1e-6)
    assert rewards.dtype == (torch.float32 if output == "torch" else np.float32)
    assert terminations.tolist() == [False, True, False]
    rewards, terminations = env.step([0, 2, 2])[1:3]
    assert rewards[1] == 0 and terminations.tolist() == [False, False, True]  # row 1 began
    copy = pickle.loads(pickle.dumps(env))
    copy.reset(seed=0)
    assert copy.step([0, 2, 1])[2].tolist() == [False, True, False]


class Mine(Exception):
    pass


def test_an_exception_arrives_as_it_was_raised(random_world: Path) -> None:
    raised: BaseException | None = None

    def fails(*step: Any) -> Any:
        if raised is not None:
            raise raised
        return np.zeros(3, bool)

    env, untouched = make(random_world, termination_fn=fails), make(random_world)
    env.reset(seed=0)
    untouched.reset(seed=0)
    frames = np.full((3, 64, 64, 3), 9, np.uint8)
    for raised in (Mine("mine"), ValueError("value"), KeyboardInterrupt()):
        for call in (lambda: env.step([0, 0, 0]), lambda: env.follow([0, 0, 0], frames)):
            with pytest.raises(type(raised)) as caught:
                call()
            assert caught.value is raised
        raised = None
        ours, theirs = env.step([0, 1, 2]), untouched.step([0, 1, 2])
        np.testing.assert_array_equal(ours[0], theirs[0])
        np.testing.assert_array_equal(ours[4]["surprise"], theirs[4]["surprise"])


@pytest.mark.parametrize(
    "answer, error, words",
    [
        (None, TypeError, "what reward_fn gave: got object, expected numbers"),
        ([True, False, True], TypeError, "what reward_fn gave: got bool, expected numbers"),
        (1.0, ValueError, r"what reward_fn gave: got float32 \[\], expected float32 \[3\]"),
        ([1, 2], ValueError, r"what reward_fn gave: got float32 \[2\], expected float32 \[3\]"),
    ],
)
def test_answers_are_checked(
    random_world: Path, answer: Any, error: type[Exception], words: str
) -> None:
    answers = [answer, np.array([1, 2, 3]), torch.tensor([0.5, 1.5, 2.5])]
    env = make(random_world, reward_fn=lambda *step: answers.pop(0))
    untouched = make(random_world)
    env.reset(seed=0)
    untouched.reset(seed=0)
    with pytest.raises(error, match=words):
        env.step([0, 0, 0])
    observations, rewards, *_ = env.step([0, 1, 2])
    np.testing.assert_array_equal(observations, untouched.step([0, 1, 2])[0])
    assert rewards.tolist() == [1, 2, 3]
    assert env.step([0, 1, 2])[1].tolist() == [0.5, 1.5, 2.5]


@pytest.mark.parametrize("output", ["numpy", "torch"])
def test_what_they_are_given_is_theirs(random_world: Path, output: str) -> None:
    def scribbles(*step: Any) -> Any:
        answer = first_feature(*step)
        for given in step:
            given[...] = 1
            if output == "torch":
                given.numpy()[...] = 2
        return answer

    def scribbles_too(*step: Any) -> Any:
        return scribbles(*step) > 1e9

    env = make(random_world, output=output, reward_fn=scribbles, termination_fn=scribbles_too)
    clean = make(random_world, output=output, reward_fn=first_feature)
    np.testing.assert_array_equal(env.reset(seed=0)[0], clean.reset(seed=0)[0])
    for actions in ([0, 1, 2], [2, 2, 2], [1, 0, 1]):
        own = torch.tensor(actions)
        for ours, theirs in zip(env.step(own)[:3], clean.step(actions)[:3], strict=True):
            np.testing.assert_array_equal(ours, theirs)
        assert own.tolist() == actions


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, 1e300])
def test_rewards_that_are_not_finite_are_refused(random_world: Path, wrong: float) -> None:
    answers = [np.array([0, wrong, 0]), np.zeros(3)]
    env = make(random_world, reward_fn=lambda *step: answers.pop(0))
    env.reset(seed=0)
    words = r"what reward_fn gave: (nan|-?inf) in row 1, expected finite numbers"
    with pytest.raises(ValueError, match=words):
        env.step([0, 0, 0])
    untouched = make(random_world)
    untouched.reset(seed=0)
    np.testing.assert_array_equal(env.step([0, 1, 2])[0], untouched.step([0, 1, 2])[0])


def test_they_may_not_step_the_environment(random_world: Path) -> None:
    env = make(random_world, reward_fn=lambda *step: env.step([0, 0, 0])[1])
    env.reset(seed=0)
    with pytest.raises(RuntimeError, match="step: called by a reward or termination function"):
        env.step([0, 0, 0])


def test_of_the_single_environment(random_world: Path) -> None:
    env = DreamEnv(random_world, dtype="float32", reward_fn=first_feature, termination_fn=row_one)
    before, _ = env.reset(seed=0)
    after, reward, terminated, *_ = env.step(2)
    assert terminated and reward == pytest.approx(2 * after[0] - before[0] + 2, rel=1e-5)


def test_too_much_surprise_truncates(random_world: Path) -> None:
    free = make(random_world)
    free.reset(seed=0)
    surprise = free.step([0, 1, 2])[4]["surprise"]
    limit = float(np.sort(surprise)[1])
    env = make(random_world, max_surprise=limit)
    env.reset(seed=0)
    _, _, terminations, truncations, infos = env.step([0, 1, 2])
    np.testing.assert_array_equal(infos["surprise"], surprise)
    np.testing.assert_array_equal(truncations, surprise > limit)
    assert truncations.sum() == 1 and not terminations.any()


def test_temperatures_of_rows_at_construction_and_reset(random_world: Path) -> None:
    def dreamt(*resets: Any, **options: Any) -> Any:
        env = make(random_world, **options)
        for temperature in resets:
            env.reset(seed=1, options={"temperature": temperature})
        if not resets:
            env.reset(seed=1)
        return env.step([0, 0, 0])[0]

    cold, hot = dreamt(temperature=0.5), dreamt(temperature=3.0)
    expected = np.stack([cold[0], hot[1], hot[2]])
    np.testing.assert_array_equal(dreamt(temperature=[0.5, 3.0, 3.0]), expected)
    np.testing.assert_array_equal(dreamt([0.5, 3.0, 3.0]), expected)
    np.testing.assert_array_equal(dreamt(3.0, temperature=0.5), hot)
    env = make(random_world, temperature=0.5)
    env.reset(seed=1)
    mask = np.array([False, True, True])
    env.reset(seed=1, options={"temperature": 3.0, "reset_mask": mask})
    np.testing.assert_array_equal(env.step([0, 0, 0])[0], expected)
    copy = pickle.loads(pickle.dumps(make(random_world, temperature=[0.5, 3.0, 3.0])))
    copy.reset(seed=1)
    np.testing.assert_array_equal(copy.step([0, 0, 0])[0], expected)
