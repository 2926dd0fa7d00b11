"""Observations in buffers that are used again, and steps that another thread takes."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.error import (
    AlreadyPendingCallError,
    ClosedEnvironmentError,
    InvalidAction,
    NoAsyncCallError,
)

from genie_env import _core, make_vec
from genie_env.envs.registry import find_world

OBSERVATIONS = [
    ("doom-take-cover", "zch"),
    ("doom-take-cover", "pixels"),
    ("doom-genie", "latents"),
    ("doom-genie", "tokens"),
    ("doom-genie", "pixels"),
]


def made(world: str = "doom-take-cover", rows: int = 3, **options: Any) -> Any:
    env = make_vec(world, num_envs=rows, **options)
    env.reset(seed=5)
    return env


def actions(step: int, rows: int = 3) -> np.ndarray[Any, Any]:
    return (np.arange(rows) + step) % 3


def plain(value: Any) -> Any:
    """Numbers in lists, for comparisons."""
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, np.ndarray) and value.dtype == object:
        return [plain(each) for each in value]
    return None if value is None else np.asarray(value).tolist()


@pytest.mark.parametrize(("output", "mode"), [("numpy", "SameStep"), ("torch", "NextStep")])
@pytest.mark.parametrize(("world", "observation"), OBSERVATIONS)
def test_without_copies_two_arrays_hold_what_fresh_ones_do(
    world: str, observation: str, mode: str, output: str
) -> None:
    options = {"observation": observation, "autoreset_mode": mode, "output": output}
    fresh = made(world, max_episode_steps=3, **options)
    reused = made(world, max_episode_steps=3, copy=False, **options)
    seen: list[Any] = []
    for step in range(7):
        expected, found = fresh.step(actions(step)), reused.step(actions(step))
        assert [plain(each) for each in found] == [plain(each) for each in expected]
        if seen:  # valid until the next step but one
            np.testing.assert_array_equal(np.asarray(seen[-1][1]), np.asarray(seen[-1][0]))
        seen.append((expected[0], found[0]))
    memory = torch.as_tensor(seen[4][1]).data_ptr(), torch.as_tensor(seen[5][1]).data_ptr()
    assert memory[0] != memory[1]
    assert torch.as_tensor(seen[6][1]).data_ptr() == memory[0]


def test_without_copies_rows_can_be_dropped_and_steps_can_fail() -> None:
    fresh, reused = made(), made(copy=False)
    for step in range(3):
        fresh.step(actions(step))
        before = reused.step(actions(step))[0]
    kept = before.copy()
    with pytest.raises(InvalidAction):
        reused.step([7, 0, 0])
    np.testing.assert_array_equal(before, kept)
    np.testing.assert_array_equal(reused.step(actions(3))[0], fresh.step(actions(3))[0])
    np.testing.assert_array_equal(before, kept)
    for env in (fresh, reused):
        env.keep([2, 0])
    for step in range(3):
        expected, found = fresh.step(actions(step, 2))[0], reused.step(actions(step, 2))[0]
        np.testing.assert_array_equal(found, expected)


def test_buffers_that_do_not_fit_are_named_and_change_nothing() -> None:
    world = _core.World.load(find_world("doom-take-cover"))
    env, other = (_core.VecEnv(world, num_envs=2, seed=3) for _ in range(2))
    env.reset()
    other.reset()
    chosen = torch.zeros(2, dtype=torch.int64)
    for out, words in [
        (torch.zeros(2, 1087), r"out: got float32 \[2, 1087\], expected float32 \[2, 1088\]"),
        (torch.zeros(3, 1088), r"out: got float32 \[3, 1088\], expected float32 \[2, 1088\]"),
        (torch.zeros(2, 1088, dtype=torch.float64), r"out: got float64 \[2, 1088\], expected"),
        (torch.zeros(1088, 2).T, "out: got a tensor that is not contiguous, on cpu, expected"),
    ]:
        with pytest.raises(ValueError, match=words):
            env.step(chosen, out)
        assert not out.any()
    out = torch.zeros(2, 1088)
    step = env.step(chosen, out)
    assert step.observation.data_ptr() == out.data_ptr()
    assert torch.equal(out, other.step(chosen).observation)


@pytest.mark.parametrize("copy", [True, False])
def test_a_step_of_another_thread_is_the_step(copy: bool) -> None:
    env, other = made(copy=copy), made()
    for step in range(4):
        given = actions(step)
        env.step_async(given)
        given[:] = 9  # they were copied
        found, expected = env.step_wait(), other.step(actions(step))
        assert [plain(each) for each in found] == [plain(each) for each in expected]


def test_the_step_goes_on_while_its_caller_works() -> None:
    started, go_on = threading.Event(), threading.Event()

    def reward_fn(*_: Any) -> list[float]:
        started.set()
        assert go_on.wait(60)
        return [1.0, 2.0, 3.0]

    env = made(reward_fn=reward_fn)
    env.step_async(actions(0))
    assert started.wait(60)  # the step is within reward_fn, and this thread runs
    go_on.set()
    np.testing.assert_array_equal(env.step_wait()[1], [1, 2, 3])


CALLS: list[tuple[str, Any]] = [
    ("step", lambda env: env.step(actions(0))),
    ("step_async", lambda env: env.step_async(actions(0))),
    ("reset", lambda env: env.reset()),
    ("snapshot", lambda env: env.snapshot()),
    ("frames", lambda env: env.frames()),
    ("keep", lambda env: env.keep([0])),
    ("set_temperature", lambda env: env.set_temperature(1.0)),
    ("temperature", lambda env: env.temperature),
]


@pytest.mark.parametrize(("name", "call"), CALLS)
def test_calls_between_are_refused(name: str, call: Any) -> None:
    env, other = made(), made()
    env.step_async(actions(0))
    words = f"^{name}: a step is under way since step_async; call step_wait first$"
    with pytest.raises(AlreadyPendingCallError, match=words):
        call(env)
    np.testing.assert_array_equal(env.step_wait()[0], other.step(actions(0))[0])
    call(env)
    if name != "step_async":
        with pytest.raises(NoAsyncCallError, match="^step_wait: no step is under way; call step_"):
            env.step_wait()


def test_what_a_step_raises_its_wait_raises() -> None:
    env, other = made(), made()
    env.step_async([0, 5, 0])
    with pytest.raises(InvalidAction, match=r"^actions\[1\] is 5"):
        env.step_wait()
    with pytest.raises(TypeError, match="^actions"):
        env.step_async(["a", "b", "c"])
    np.testing.assert_array_equal(env.step(actions(0))[0], other.step(actions(0))[0])


def test_closing_waits_for_the_step() -> None:
    env = made()
    env.step_async(actions(0))
    env.close()
    with pytest.raises(ClosedEnvironmentError, match="^step_wait: the environment was closed"):
        env.step_wait()
    with pytest.raises(ClosedEnvironmentError, match="^step_async"):
        env.step_async(actions(0))


def test_what_a_function_may_not_do_leaves_the_environment_whole() -> None:
    refused: list[str] = []

    def reward_fn(*_: Any) -> list[float]:
        with pytest.raises(RuntimeError, match="^close: called within a call") as error:
            env.close()
        refused.append(str(error.value))
        return [0.0, 0.0, 0.0]

    env = made(reward_fn=reward_fn)
    for _ in range(2):
        env.step_async(actions(0))
        env.step_wait()
        env.step(actions(1))
    assert len(refused) == 4


def test_torchrl_keeps_what_steps_gave() -> None:
    torchrl = pytest.importorskip("genie_env.envs.torchrl")
    with pytest.raises(TypeError, match="^copy: TorchRL knows but one; leave it out"):
        torchrl.DreamTorchRLEnv("doom-take-cover", 2, copy=False)
