"""Whatever NumPy calls integers is taken wherever integers are; all else is refused in plain words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import genie_env
from genie_env import DreamVectorEnv, World

ONE: list[Any] = [1, np.int8(1), np.uint64(1), np.array(1), torch.tensor(1), np.array(1, ">i4")]
TWO: list[Any] = [
    [1, 0],
    (1, 0),
    range(1, -1, -1),
    [np.int16(1), np.array(0)],
    np.array([0, 1])[::-1],
    *(np.array([1, 0], dtype) for dtype in ("i1", "u2", "u4", "u8", ">i8", ">u2")),
    torch.tensor([1, 0]),
    torch.tensor([1, 0], dtype=torch.uint8),
]
NO_INTEGER: list[Any] = [True, np.True_, np.array(True), 1.0, "1", None, [1.0], np.array([True])]


@pytest.fixture(scope="module")
def world(random_world: Path) -> World:
    return World.load(random_world, dtype="float32")


def make(world: World, **options: Any) -> DreamVectorEnv:
    return genie_env.make_vec(world, 2, **options)


USES_OF_ONE: dict[str, Callable[[DreamVectorEnv, Any], Any]] = {
    "reset": lambda env, one: env.reset(seed=one),
    "restore": lambda env, one: env.restore(env.snapshot(), seed=one),
    "fork": lambda env, one: env.fork(one, [0]),
    "num_envs": lambda env, one: genie_env.make_vec(env.world, one),
    "max_episode_steps": lambda env, one: genie_env.make_vec(env.world, max_episode_steps=one),
    "seed": lambda env, one: genie_env.make_vec(env.world, seed=one),
    "single seed": lambda env, one: genie_env.DreamEnv(env.world).reset(seed=one),
    "single action": lambda env, one: single(env).step(one),
}
USES_OF_TWO: dict[str, Callable[[DreamVectorEnv, Any], Any]] = {
    "reset": lambda env, two: env.reset(seed=two),
    "restore": lambda env, two: env.restore(env.snapshot(), seed=two),
    "step": lambda env, two: env.step(two),
    "rows": lambda env, two: env.restore(env.snapshot(two), two),
    "into": lambda env, two: env.fork(0, two),
    "frames": lambda env, two: env.frames(two),
    "keep": lambda env, two: env.keep(two),
}


def single(env: DreamVectorEnv) -> genie_env.DreamEnv:
    own = genie_env.DreamEnv(env.world)
    own.reset(seed=0)
    return own


def test_integers_of_every_kind_are_taken(world: World) -> None:
    for uses, kinds in ((USES_OF_ONE, ONE), (USES_OF_TWO, TWO)):
        for name, use in uses.items():
            for integers in kinds:
                env = make(world)
                env.reset(seed=0)
                use(env, integers), name


def test_they_mean_the_same(world: World) -> None:
    env = make(world)
    expected = env.reset(seed=1)[0]
    for one in ONE:
        np.testing.assert_array_equal(env.reset(seed=one)[0], expected)
    expected = env.reset(seed=[1, 0])[0]
    for two in TWO:
        np.testing.assert_array_equal(env.reset(seed=two)[0], expected)
    assert make(world, seed=np.array(7)).options.seed == 7
    single = genie_env.DreamEnv(world)
    single.reset(seed=np.uint64(2**64 - 1))
    assert single.np_random_seed == 2**64 - 1
    env.keep([])
    assert env.num_envs == 0


def test_what_is_none_is_refused_in_plain_words(world: World) -> None:
    env = make(world)
    env.reset(seed=0)
    for uses in (USES_OF_ONE, USES_OF_TWO):
        for name, use in uses.items():
            for given in NO_INTEGER:
                if given is None and name not in {"fork", "num_envs", "single action", "step"}:
                    continue  # nothing was given
                with pytest.raises(
                    (TypeError, ValueError), match=r"expected (an )?integer|one a row"
                ):
                    use(env, given)
    with pytest.raises(ValueError, match="actions: got 9223372036854775808, expected less than 2"):
        env.step(np.array([2**63, 0], np.uint64))
    with pytest.raises(ValueError, match=r"seed: got an array of shape \(1, 2\), expected one int"):
        env.reset(seed=np.array([[1, 2]]))
