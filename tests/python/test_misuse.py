"""Every misuse is answered in plain words, and leaves the environment as it was."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.error import ClosedEnvironmentError, InvalidAction, ResetNeeded

import genie_env
from genie_env import DreamEnv, DreamVectorEnv, FormatError, _core


def make(world: Path, **options: Any) -> DreamVectorEnv:
    return genie_env.make_vec(world, 2, dtype="float32", termination="thresholded", **options)


FRAMES = np.zeros((2, 64, 64, 3), np.uint8)
FILMS = np.zeros((2, 3, 64, 64, 3), np.uint8)
LED = np.zeros((2, 2), np.int64)

REFUSED: list[tuple[type[Exception], str, Callable[[DreamVectorEnv], Any]]] = [
    # Actions: number, shape, dtype, range.
    (ValueError, "actions: got int64 [3], expected int64 [2]", lambda e: e.step([0, 1, 2])),
    (ValueError, "actions: got int64 [], expected int64 [2]", lambda e: e.step(1)),
    (
        ValueError,
        "actions: got int64 [2, 1], expected int64 [2]",
        lambda e: e.step(np.zeros((2, 1), np.int32)),
    ),
    (TypeError, "actions: got float64, expected integers", lambda e: e.step([0.5, 1.0])),
    (TypeError, "actions: got float32, expected integers", lambda e: e.step(torch.zeros(2))),
    (TypeError, "actions: got bool, expected integers", lambda e: e.step([True, False])),
    (TypeError, "actions: got object, expected integers", lambda e: e.step([None, 1])),
    (TypeError, "actions: got list, expected integers", lambda e: e.step([[0], [1, 2]])),
    (InvalidAction, "actions[1] is 3", lambda e: e.step([0, 3])),
    (InvalidAction, "actions[0] is -1", lambda e: e.step(torch.tensor([-1, 0]))),
    # Frames that are given.
    (
        ValueError,
        "frames: got uint8 [2, 32, 64, 3], expected uint8 [2, 64, 64, 3]",
        lambda e: e.follow([0, 0], FRAMES[:, ::2]),
    ),
    (
        TypeError,
        "frames: got float64, expected uint8",
        lambda e: e.follow([0, 0], FRAMES.astype(float)),
    ),
    (ValueError, "actions: got int64 [1], expected int64 [2]", lambda e: e.follow([0], FRAMES)),
    (
        ValueError,
        "frames: got uint8 [1, 64, 64, 3], expected uint8 [2, 64, 64, 3]",
        lambda e: e.reset(options={"frames": FRAMES[:1]}),
    ),
    # Resets.
    (
        TypeError,
        "reset_mask: got int64, expected bool",
        lambda e: e.reset(options={"reset_mask": [1, 0]}),
    ),
    (
        ValueError,
        "reset mask: got bool [3], expected bool [2]",
        lambda e: e.reset(options={"reset_mask": np.ones(3, bool)}),
    ),
    (
        ValueError,
        "reset mask: no row is true, expected at least one to reset",
        lambda e: e.reset(options={"reset_mask": np.zeros(2, bool)}),
    ),
    (
        ValueError,
        "options: got ['mask'], expected 'reset_mask', 'frames', 'actions', 'snapshot' or",
        lambda e: e.reset(options={"mask": np.ones(2, bool)}),
    ),
    # Where episodes begin: films, snapshots, temperatures.
    (
        ValueError,
        "frames: got uint8 [2, 3, 64, 32, 3], expected uint8 [2, any, 64, 64, 3]",
        lambda e: e.reset(options={"frames": FILMS[..., ::2, :], "actions": LED}),
    ),
    (
        ValueError,
        "actions: got int64 [2, 0], expected int64 [2, 2]",
        lambda e: e.reset(options={"frames": FILMS}),
    ),
    (
        InvalidAction,
        "actions[1] is 3",
        lambda e: e.reset(options={"frames": FILMS, "actions": [[0, 0], [0, 3]]}),
    ),
    (
        TypeError,
        "actions: got float64, expected integers",
        lambda e: e.reset(options={"frames": FILMS, "actions": LED * 1.0}),
    ),
    (
        ValueError,
        "actions: got them without the frames that they led to",
        lambda e: e.reset(options={"actions": LED}),
    ),
    (
        ValueError,
        "reset: got a snapshot and frames or actions, expected one thing to begin from",
        lambda e: e.reset(options={"frames": FRAMES, "snapshot": e.snapshot()}),
    ),
    (
        TypeError,
        "snapshot: got dict, expected a genie_env.Snapshot",
        lambda e: e.reset(options={"snapshot": {}}),
    ),
    (
        ValueError,
        "temperature[1] is 0, expected a finite number above 0",
        lambda e: e.reset(options={"temperature": [1, 0]}),
    ),
    # Snapshots.
    (TypeError, "snapshot: got NoneType, expected a genie_env.Snapshot", lambda e: e.restore(None)),
    (
        ValueError,
        "snapshot: it has 3 rows, expected 1 for all or one for each: 2",
        lambda e: e.restore(e.snapshot([0, 1, 0])),
    ),
    (
        ValueError,
        "seeds: got 1, expected one a row: 2",
        lambda e: e.restore(e.snapshot(), seed=[1]),
    ),
    (ValueError, "seed: got -1, expected an integer", lambda e: e.restore(e.snapshot(), seed=-1)),
    (ValueError, "rows: got 0 twice", lambda e: e.restore(e.snapshot(), [0, 0])),
    (ValueError, "rows: got none, expected at least one", lambda e: e.snapshot(np.zeros(0, int))),
    (ValueError, "rows[0] is 2: there are 2 rows", lambda e: e.snapshot([2])),
    (TypeError, "rows: got float64, expected integers", lambda e: e.snapshot([0.5])),
    (ValueError, "rows[0] is 5: there are 2 rows", lambda e: e.fork(5, [0])),
    (TypeError, "row is 0.5, expected an integer", lambda e: e.fork(0.5, [0])),
    (TypeError, "into: got bool, expected integers", lambda e: e.fork(0, [True, False])),
    (ValueError, "seeds: got 3, expected one a row: 2", lambda e: e.reset(seed=[1, 2, 3])),
    (ValueError, "seed: got -1, expected an integer from 0 to", lambda e: e.reset(seed=-1)),
    (ValueError, "expected an integer from 0 to 2**64 - 1", lambda e: e.reset(seed=2**64 - 1)),
    (TypeError, "seed: got 'a', expected an integer from 0 to", lambda e: e.reset(seed="a")),
    (TypeError, "seed: got None, expected an integer from 0", lambda e: e.reset(seed=[None, 1])),
    # Rows and temperatures.
    (ValueError, "rows[0] is 2: there are 2 rows, numbered from 0", lambda e: e.keep([2])),
    (ValueError, "rows: got 0 twice, expected rows without repeats", lambda e: e.keep([0, 0])),
    (TypeError, "rows: got bool, expected integers", lambda e: e.keep(np.array([True, False]))),
    (ValueError, "rows[0] is -1: there are 2 rows, numbered from 0", lambda e: e.frames([-1])),
    (
        ValueError,
        "temperature is 0, expected a finite number above 0 that float32 can hold",
        lambda e: e.set_temperature(0),
    ),
    (
        ValueError,
        "temperature is nan, expected a finite number above 0",
        lambda e: e.set_temperature([1.0, float("nan")]),
    ),
    (
        ValueError,
        "temperature: got float32 [3], expected float32 [2]",
        lambda e: e.set_temperature([1, 1, 1]),
    ),
    (TypeError, "temperature: got <U3, expected numbers", lambda e: e.set_temperature("hot")),
]


def test_a_refused_call_changes_nothing(random_world: Path) -> None:
    env, untouched = make(random_world), make(random_world)
    env.reset(seed=0)
    untouched.reset(seed=0)
    for error, words, call in REFUSED:
        with pytest.raises(error, match=re.escape(words)) as raised:
            call(env)
        assert type(raised.value) is error, words
        for ours, theirs in zip(env.step([0, 2]), untouched.step([0, 2]), strict=True):
            if not isinstance(ours, dict):
                np.testing.assert_array_equal(ours, theirs, err_msg=words)


def test_before_the_first_reset(random_world: Path) -> None:
    env = make(random_world, render_mode="rgb_array")
    other = make(random_world)
    other.reset()
    calls: list[tuple[str, Callable[[], Any]]] = [
        ("step", lambda: env.step([0, 0])),
        ("follow", lambda: env.follow([0, 0], FRAMES)),
        ("render", env.render),
        ("render", env.frames),
        ("snapshot", env.snapshot),
    ]
    for name, call in calls:
        with pytest.raises(ResetNeeded) as error:
            call()
        words = f"{name} before reset: rows 0 and 1 have no episode; reset first"
        assert str(error.value) == words
    env.restore(other.snapshot([0]), [1])
    with pytest.raises(ResetNeeded, match="step before reset: row 0 has no episode; reset first"):
        env.step([0, 0])
    env.reset()
    env.step([0, 0])


def test_after_close(random_world: Path) -> None:
    env = make(random_world)
    env.reset()
    snapshot = env.snapshot()
    env.close()
    env.close()
    calls: dict[str, Callable[[], Any]] = {
        "reset": env.reset,
        "step": lambda: env.step([0, 0]),
        "follow": lambda: env.follow([0, 0], FRAMES),
        "render": env.render,
        "frames": env.frames,
        "keep": lambda: env.keep([0]),
        "set_temperature": lambda: env.set_temperature(1),
        "snapshot": env.snapshot,
        "restore": lambda: env.restore(snapshot),
        "fork": lambda: env.fork(0, [1]),
    }
    for name, call in calls.items():
        with pytest.raises(ClosedEnvironmentError) as error:
            call()
        assert str(error.value) == f"{name}: the environment was closed; make another one"
    with make_single(random_world) as single:
        single.reset()
    with pytest.raises(ClosedEnvironmentError, match="step: the environment was closed"):
        single.step(0)


def make_single(world: Path) -> DreamEnv:
    return DreamEnv(world, dtype="float32", termination="thresholded")


def test_of_the_single_environment(random_world: Path) -> None:
    env, untouched = make_single(random_world), make_single(random_world)
    with pytest.raises(ResetNeeded, match="step before reset: row 0 has no episode; reset first"):
        env.step(0)
    env.reset(seed=0)
    untouched.reset(seed=0)
    refused: list[tuple[type[Exception], str, Callable[[], Any]]] = [
        (InvalidAction, "actions[0] is 3", lambda: env.step(3)),
        (TypeError, "action is 0.5, expected an integer", lambda: env.step(0.5)),
        (TypeError, "action is [0, 1], expected an integer", lambda: env.step([0, 1])),
        (
            ValueError,
            "options: got ['x'], expected 'frames', 'actions', 'snapshot' or 'temperature'",
            lambda: env.reset(options={"x": 1}),
        ),
        (ValueError, "seed: got -5, expected an integer from 0", lambda: env.reset(seed=-5)),
    ]
    for error, words, call in refused:
        with pytest.raises(error, match=re.escape(words)):
            call()
        np.testing.assert_array_equal(env.step(1)[0], untouched.step(1)[0], err_msg=words)


def test_unknown_world(tmp_path: Path) -> None:
    words = (
        r"unknown world 'no-such-world': give the name of an installed world \(.*\), "
        r"or the path of a world directory"
    )
    for make_it in (genie_env.make_vec, DreamEnv):
        with pytest.raises(ValueError, match=words):
            make_it("no-such-world")
    with pytest.raises(ValueError, match="unknown world '.*nothing here'"):
        genie_env.make_vec(tmp_path / "nothing here")
    with pytest.raises(FormatError, match=re.escape(str(tmp_path))):
        genie_env.make_vec(tmp_path)  # a directory, but no world


@pytest.mark.parametrize(
    "options, words",
    [
        ({"num_envs": 0}, "num_envs is 0, expected 1 or more"),
        (
            {"observation": "rgb"},
            'observation is "rgb", but the world "random" has zch, zh, pixels',
        ),
        ({"temperature": -1}, "temperature is -1, expected a finite number above 0"),
        (
            {"max_episode_steps": -5},
            "max_episode_steps is -5, expected 1 or more, or 0 for no limit",
        ),
        ({"output": "jax"}, "output is 'jax', expected 'numpy' or 'torch'"),
        ({"render_mode": "human"}, "render_mode is 'human', expected None or 'rgb_array'"),
        ({"device": "tpu"}, 'device is "tpu", expected "cpu", "cuda" or "cuda:1"'),
        ({"dtype": "int8"}, 'dtype is "int8", expected "auto", "float32" or "bfloat16"'),
        (
            {"termination": "always"},
            "option 'termination' of random (vision-memory) is \"always\", expected \"sampled\" or "
            '"thresholded"',
        ),
        ({"passes": 4}, "random (vision-memory) has no option 'passes'; it has: termination"),
        (
            {"num_env": 3},
            "random (vision-memory) has no option 'num_env'; it has: termination. An environment "
            "has: num_envs, device, dtype, observation,",
        ),
        (
            {"autoreset_mode": "Sometimes"},
            "autoreset_mode is 'Sometimes', expected 'NextStep' (NEXT_STEP) or 'SameStep' "
            "(SAME_STEP) or 'Disabled' (DISABLED)",
        ),
        ({"max_surprise": float("nan")}, "max_surprise is nan, expected a number, or nothing"),
        (
            {"latent_distance": True},
            'latent_distance: the world "random" has no statistics of the latents that it was '
            "trained on; leave it out, or freeze the world again",
        ),
        ({"max_latent_distance": 9}, "latent_distance: the world "),
        ({"temperature": [0.0]}, "temperature is 0, expected a finite number above 0"),
        ({"temperature": [1.0, 2.0]}, "temperature: got float32 [2], expected float32 [1]"),
        ({"seed": -1}, "seed: got -1, expected an integer from 0 to 2**64 - 1"),
    ],
)
def test_arguments_that_cannot_be(
    random_world: Path, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        genie_env.make_vec(random_world, **options)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"num_envs": 1.5}, "num_envs is 1.5, expected an integer"),
        ({"num_envs": "4"}, "num_envs is '4', expected an integer"),
        ({"max_episode_steps": 10.0}, "max_episode_steps is 10.0, expected an integer"),
        ({"temperature": "hot"}, "temperature is 'hot', expected a number"),
        ({"max_surprise": "much"}, "max_surprise is 'much', expected a number"),
        ({"max_latent_distance": [1]}, "max_latent_distance is [1], expected a number"),
        ({"latent_distance": 1}, "latent_distance is 1, expected a bool"),
        ({"out_of_support": True}, "out_of_support is now called latent_distance: rename"),
        ({"max_out_of_support": 9}, "max_out_of_support is now called max_latent_distance: rename"),
        (
            {"reward_function": len},
            "reward_function is <built-in function len>: an environment has no such option, and an "
            "option of a world's family is a bool, a number or a text; an environment has: num_envs,",
        ),
        ({"reward_fn": 1.0}, "reward_fn is 1.0, expected a function"),
        ({"termination_fn": "done"}, "termination_fn is 'done', expected a function"),
        ({"dtype": torch.float32}, "dtype is torch.float32, expected its name, such as 'float32'"),
        (
            {"device": torch.device("cpu")},
            "device is device(type='cpu'), expected its name, such as 'cpu'",
        ),
        ({"observation": 1}, "observation is 1, expected its name"),
        ({"world": 3}, "world is 3, expected a name, a Path or a loaded world"),
    ],
)
def test_arguments_of_another_type(
    random_world: Path, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(TypeError, match=re.escape(words)):
        genie_env.make_vec(**{"world": random_world, **options})


def test_numbers_may_be_numpys(random_world: Path) -> None:
    env = genie_env.make_vec(
        random_world,
        np.int64(3),  # type: ignore[arg-type]
        temperature=np.float32(0.5),  # type: ignore[arg-type]
        max_episode_steps=np.int32(2),  # type: ignore[arg-type]
    )
    assert (env.num_envs, env.options.temperature, env.options.max_episode_steps) == (3, 0.5, 2)


def test_a_loaded_world_has_its_device_and_precision(random_world: Path) -> None:
    world = _core.World.load(random_world)
    with pytest.raises(ValueError, match="^dtype: options that are chosen when a world is loaded"):
        genie_env.make_vec(world, dtype="float32")
    with pytest.raises(ValueError, match="^device and termination: options that are chosen when a"):
        genie_env.make_vec(world, termination="sampled", device="cuda")
    words = "has no option 'num_env'; it has: termination. An environment has: num_envs, device"
    with pytest.raises(ValueError, match=rf"{re.escape(words)}.*; did you mean 'num_envs'\?$"):
        genie_env.make_vec(world, num_env=3)
    genie_env.make_vec(world, device="cpu", dtype="auto")  # the defaults say nothing


def test_rendering_without_a_render_mode(random_world: Path) -> None:
    env = make(random_world)
    env.reset()
    with pytest.warns(UserWarning, match="render does nothing: the render mode is None"):
        assert env.render() is None


def test_errors_are_gymnasiums_own() -> None:
    assert issubclass(InvalidAction, gymnasium.error.Error)
    assert issubclass(ResetNeeded, gymnasium.error.Error)
    assert issubclass(FormatError, ValueError)
