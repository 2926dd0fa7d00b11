"""Other people's checkers, on worlds of both families."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import types
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import wrappers as single
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers import vector
from numpy.typing import NDArray
from packaging.version import Version
from random_world import write_random_world
from stable_baselines3.common.env_checker import check_env as check_env_of_sb3

from genie_env import DreamEnv, DreamVectorEnv, _core
from genie_env.envs.infos import SCORES
from genie_env.envs.registry import find_world
from genie_env.families.genie.random_world import GenieSizes, random_genie_world

ROWS, STEPS, LIMIT, SEED = 3, 11, 4, 11
ALL = NEXT, SAME, DISABLED = (
    AutoresetMode.NEXT_STEP,
    AutoresetMode.SAME_STEP,
    AutoresetMode.DISABLED,
)
GENIE = GenieSizes(T=3, S=36, d=32, blocks=1, heads=2, codes=32, K=2, judges=1)


@pytest.fixture(scope="module", params=["doom", "genie"])
def directory(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped world of Doom, a small one whose mixture is joint, and a small one of the other
    family, with learned rewards."""
    if request.param == "doom":
        return find_world("doom-take-cover")
    if request.param == "joint":
        return write_random_world(tmp_path_factory.mktemp("joint") / "world", joint=True)
    return random_genie_world(tmp_path_factory.mktemp("genie") / "world", GENIE)


@pytest.fixture(scope="module")
def world(directory: Path) -> _core.World:
    return _core.World.load(directory, dtype="float32")


with_joint = pytest.mark.parametrize("directory", ["doom", "joint", "genie"], indirect=True)
"""What wrappers do does not depend on M's mixture, so that the checkers alone see a joint one."""


@with_joint
@pytest.mark.parametrize("observation", ["first", "pixels"])
def test_check_env_of_gymnasium(directory: Path, observation: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*infinity")  # features are unbounded
        # By an id, because the checker makes it again, once for every render mode.
        env = gymnasium.make(
            "genie_env/DoomTakeCover-v0",
            world=directory,
            observation=None if observation == "first" else observation,
            render_mode="rgb_array",
        )
        check_env(env.unwrapped)


@with_joint
@pytest.mark.parametrize("observation", ["first", "pixels"])
def test_check_env_of_stable_baselines3(directory: Path, observation: str) -> None:
    kind = None if observation == "first" else observation
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env_of_sb3(DreamEnv(directory, observation=kind, render_mode="rgb_array"))


@dataclass(frozen=True)
class Case:
    """A wrapper, and the modes in which Gymnasium has it used."""

    wrap: Callable[[VectorEnv], VectorEnv]
    modes: tuple[AutoresetMode, ...] = ALL
    pixels: bool = False
    needs: str = "gymnasium"


def squares(array: Any) -> Any:
    return array**2


def backwards(actions: Any) -> Any:
    return 2 - actions


# Gymnasium's observation wrappers know nothing of final observations, and refuse SAME_STEP.
OBSERVED = (NEXT, DISABLED)
# It cannot convert arrays of objects, as final observations are: DreamVectorEnv has `output`.
CONVERTED = (NEXT, DISABLED)
OTHER_SPACES = ()
CASES = {
    "TransformObservation": Case(lambda env: vector.TransformObservation(env, squares), OBSERVED),
    "VectorizeTransformObservation": Case(
        lambda env: vector.VectorizeTransformObservation(
            env, single.TransformObservation, func=squares, observation_space=None
        ),
        OBSERVED,
    ),
    "FilterObservation": Case(lambda env: vector.FilterObservation(env, ["z"]), OTHER_SPACES),
    "FlattenObservation": Case(lambda env: vector.FlattenObservation(env), OBSERVED, pixels=True),
    "GrayscaleObservation": Case(
        lambda env: vector.GrayscaleObservation(env), OBSERVED, pixels=True
    ),
    "ResizeObservation": Case(
        lambda env: vector.ResizeObservation(env, (24, 20)), OBSERVED, pixels=True, needs="cv2"
    ),
    "ReshapeObservation": Case(
        lambda env: vector.ReshapeObservation(env, env.single_observation_space.shape[::-1]),
        OBSERVED,
        pixels=True,
    ),
    "RescaleObservation": Case(
        lambda env: vector.RescaleObservation(env, np.float32(0), np.float32(1)),
        OBSERVED,
        pixels=True,
    ),
    "DtypeObservation": Case(lambda env: vector.DtypeObservation(env, np.float64), OBSERVED),
    "NormalizeObservation": Case(lambda env: vector.NormalizeObservation(env), (NEXT,)),
    "TransformAction": Case(lambda env: vector.TransformAction(env, backwards)),
    "VectorizeTransformAction": Case(
        lambda env: vector.VectorizeTransformAction(
            env, single.TransformAction, func=backwards, action_space=env.single_action_space
        )
    ),
    "ClipAction": Case(lambda env: vector.ClipAction(env), OTHER_SPACES),
    "RescaleAction": Case(lambda env: vector.RescaleAction(env, -1, 1), OTHER_SPACES),
    "TransformReward": Case(lambda env: vector.TransformReward(env, squares)),
    "VectorizeTransformReward": Case(
        lambda env: vector.VectorizeTransformReward(env, single.TransformReward, func=squares)
    ),
    "ClipReward": Case(lambda env: vector.ClipReward(env, 0.25, 0.75)),
    "NormalizeReward": Case(lambda env: vector.NormalizeReward(env)),
    "RecordEpisodeStatistics": Case(lambda env: vector.RecordEpisodeStatistics(env)),
    "DictInfoToList": Case(lambda env: vector.DictInfoToList(env)),
    "RecordVideo": Case(
        lambda env: vector.RecordVideo(env, "videos", episode_trigger=lambda episode: True)
    ),
    "HumanRendering": Case(lambda env: vector.HumanRendering(env), needs="pygame"),
    "ArrayConversion": Case(
        lambda env: vector.ArrayConversion(env, np, torch), CONVERTED, needs="array_api_compat"
    ),
    "NumpyToTorch": Case(
        lambda env: vector.NumpyToTorch(env), CONVERTED, needs="array_api_compat"
    ),
}
FOR_ENVIRONMENTS_IN_JAX = {"JaxToNumpy", "JaxToTorch"}


class Reference(SyncVectorEnv):
    """Gymnasium's own vector environment, over single dreams."""

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        # It takes the mask out of the caller's options, where wrappers look for it afterwards.
        return super().reset(seed=seed, options=None if options is None else dict(options))


class Clip:
    """Takes the place of MoviePy's, whose encoder is as large as all else that the tests install:
    keeps the frames of every video."""

    saved: ClassVar[list[Any]] = []

    def __init__(self, frames: list[Any], fps: float) -> None:
        self.frames = frames

    def write_videofile(self, path: str, logger: Any) -> None:
        self.saved.append(np.stack(self.frames))


@pytest.fixture
def screens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Any]:
    """Videos and windows without a screen; the frames of all videos."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    module = "moviepy.video.io.ImageSequenceClip"
    for name in ("moviepy", "moviepy.video", "moviepy.video.io", module):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setattr(sys.modules[module], "ImageSequenceClip", Clip, raising=False)
    monkeypatch.setattr(Clip, "saved", [])
    return Clip.saved


def assert_same(ours: Any, theirs: Any, where: str = "") -> None:
    """The same structure, masks and numbers; a batch of one is computed a little differently."""
    if isinstance(theirs, dict):
        assert ours.keys() == theirs.keys(), where
        for key in theirs:
            if (where[-11:], key) != ("['episode']", "t"):  # wall time
                assert_same(ours[key], theirs[key], f"{where}[{key!r}]")
    elif isinstance(theirs, list | tuple) or getattr(theirs, "dtype", None) == object:
        assert len(ours) == len(theirs), where
        for row, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
            assert_same(mine, other, f"{where}[{row}]")
    elif theirs is None:
        assert ours is None, where
    else:
        assert isinstance(ours, torch.Tensor) == isinstance(theirs, torch.Tensor), where
        ours, theirs = np.asarray(ours), np.asarray(theirs)
        assert ours.shape == theirs.shape, where
        tolerance = 1 if theirs.dtype == np.uint8 else 5e-3  # a shade of 255
        ours, theirs = ours.astype(float), theirs.astype(float)
        np.testing.assert_allclose(ours, theirs, rtol=2e-3, atol=tolerance, err_msg=where)


def halves(observations: Any, actions: Any, next_observations: Any) -> Any:
    """Rewards that differ from step to step."""
    return np.float32(0.5) * np.asarray(actions, np.float32)


class Refused(Exception):
    """Over dreams as over Gymnasium's own vector environment, in the same words."""


def outcome(call: Callable[[], Any]) -> Any:
    """What a call gives, or with which words it refuses."""
    try:
        return call()
    except Exception as error:
        return f"{type(error).__name__}: {error}"


class Both:
    """Dreams, and beside them Gymnasium's own vector environment over single ones."""

    def __init__(self, world: _core.World, mode: AutoresetMode, **options: Any) -> None:
        options |= {"max_episode_steps": LIMIT, "reward_fn": halves}
        self.dreams = DreamVectorEnv(world, ROWS, autoreset_mode=mode, **options)
        self.singles = [DreamEnv(world, **options) for _ in range(ROWS)]
        reference = Reference([lambda env=env: env for env in self.singles], autoreset_mode=mode)
        self.envs: list[Any] = [self.dreams, reference]

    def __call__(self, call: Callable[[Any], Any]) -> Any:
        """What both give, which is the same."""
        ours, theirs = [outcome(lambda env=env: call(env)) for env in self.envs]
        if isinstance(theirs, str):
            assert ours == theirs
            raise Refused(theirs)
        if isinstance(theirs, tuple):
            assert_same((*ours[:-1], without_what_no_row_has(ours[-1])), theirs)
        return ours, theirs

    def meet(self) -> None:
        """Takes every row to its single dream's state: float32 dreams of several batch sizes drift
        apart."""
        for row, each in enumerate(self.singles):
            self.dreams.restore(each.snapshot(), [row])


def without_what_no_row_has(infos: Any) -> Any:
    """Gymnasium leaves it out; DreamVectorEnv masks it."""
    if isinstance(infos, dict) and "_surprise" in infos and not infos["_surprise"].any():
        return {key: info for key, info in infos.items() if key.strip("_") not in SCORES}
    return infos


def dream(both: Both, mode: AutoresetMode) -> None:
    """Episodes that end in rows of several ages."""

    def reset(rows: NDArray[np.bool_]) -> None:
        both(lambda env: env.reset(options={"reset_mask": rows.copy()}))

    both(lambda env: env.reset(seed=SEED))
    for step, actions in enumerate(np.random.default_rng(0).integers(0, 3, (STEPS, ROWS))):
        (_, _, terminations, truncations, _), _ = both(
            lambda env, actions=actions: env.step(actions.copy())
        )
        done = np.asarray(terminations) | np.asarray(truncations)
        if mode is DISABLED and done.any():
            reset(done)
        if step == 2:
            with contextlib.suppress(Refused):  # by NormalizeObservation
                reset(np.array([False, True, False]))
        both.meet()


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("mode", ALL, ids=lambda mode: mode.name)
@pytest.mark.parametrize("name", sorted({*vector.__all__} - FOR_ENVIRONMENTS_IN_JAX))
def test_vector_wrappers(
    world: _core.World, screens: list[Any], name: str, mode: AutoresetMode
) -> None:
    case = CASES[name]
    pytest.importorskip(case.needs, reason=f"Gymnasium's {name} needs {case.needs}")
    kind = "pixels" if case.pixels else None
    both = Both(world, mode, observation=kind, render_mode="rgb_array")
    try:
        both.envs = list(both(case.wrap))
        dream(both, mode)
    except Refused as words:
        assert mode not in case.modes, words
    else:
        assert mode in case.modes
    both(lambda env: env.close())
    assert bool(screens) == (name == "RecordVideo")
    for ours, theirs in zip(screens[::2], screens[1::2], strict=True):
        assert_same(ours, theirs)


@pytest.mark.parametrize("name", sorted(FOR_ENVIRONMENTS_IN_JAX))
def test_vector_wrappers_for_environments_in_jax(world: _core.World, name: str) -> None:
    """Dreams are none of those, but take their actions from JAX too."""
    if importlib.util.find_spec("jax") is None:
        with pytest.raises(ImportError, match="jax"):
            getattr(vector, name)
        return
    env = getattr(vector, name)(DreamVectorEnv(world, ROWS))
    observations, _ = env.reset(seed=SEED)
    assert isinstance(observations, np.ndarray if name == "JaxToNumpy" else torch.Tensor)
    assert env.step(env.action_space.sample())[0].shape == observations.shape


@pytest.mark.parametrize("mode", ALL, ids=lambda mode: mode.name)
def test_episode_statistics(world: _core.World, mode: AutoresetMode) -> None:
    """Returns and lengths beside a ledger of rewards; one row is younger than the others."""
    if mode is SAME and Version(gymnasium.__version__) < Version("1.4"):
        pytest.skip("this Gymnasium counts no episode's first step in SAME_STEP")
    env = vector.RecordEpisodeStatistics(
        DreamVectorEnv(
            world, ROWS, autoreset_mode=mode, max_episode_steps=LIMIT, reward_fn=halves
        )
    )
    env.reset(seed=SEED)
    ledger: list[list[float]] = [[] for _ in range(ROWS)]
    done = np.zeros(ROWS, bool)
    ended = []
    for step, actions in enumerate(np.random.default_rng(0).integers(0, 3, (STEPS, ROWS))):
        begins = done if mode is NEXT else np.zeros(ROWS, bool)
        _, _, terminations, truncations, infos = env.step(actions)
        done = terminations | truncations
        for row in range(ROWS):
            if not begins[row]:
                ledger[row].append(actions[row] / 2)
        assert ("episode" in infos) == done.any()
        for row in done.nonzero()[0]:
            ended.append(len(ledger[row]))
            assert infos["_episode"][row]
            assert infos["episode"]["l"][row] == len(ledger[row])
            assert infos["episode"]["r"][row] == sum(ledger[row])
            ledger[row] = []
        rows = np.array([False, step == 1, False]) | (done & (mode is DISABLED))
        if rows.any():
            env.reset(options={"reset_mask": rows})
            ledger[1] = [] if rows[1] else ledger[1]
    assert ended.count(LIMIT) > ROWS
    assert list(env.length_queue) == ended
