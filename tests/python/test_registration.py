"""Gymnasium's make and make_vec give our own environments."""

from __future__ import annotations

import inspect
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import RenderCollection, TimeLimit

import genie_env
from genie_env import DreamEnv, DreamVectorEnv
from genie_env.envs.registry import (
    environment_id,
    find_world,
    installed_worlds,
    is_installed,
    real_environment_id,
    register_worlds,
)
from genie_env.envs.world_card import read_card

ID = "genie_env/DoomTakeCover-v0"
WORLDS = {ID: "doom-take-cover", "genie_env/DoomGenie-v0": "doom-genie"}


def test_make_vec_gives_our_vector_environment(random_world: Path) -> None:
    env = gymnasium.make_vec(
        ID, num_envs=3, world=random_world, max_episode_steps=2, autoreset_mode="DISABLED"
    )
    assert isinstance(env, DreamVectorEnv)
    assert (env.num_envs, env.metadata["autoreset_mode"]) == (3, AutoresetMode.DISABLED)
    env.reset(seed=0)
    assert [env.step([0, 1, 2])[3].all() for _ in range(2)] == [False, True]
    assert env.spec is not None
    assert env.spec.id == ID
    again = gymnasium.make_vec(env.spec)
    assert isinstance(again, DreamVectorEnv)
    assert again.num_envs == 3


def length(env: Any, most: int) -> int | None:
    """Steps until an episode is truncated; None where it is not after `most`."""
    env.reset(seed=0)
    action = np.zeros(env.action_space.shape, np.int64)
    for step in range(1, most + 1):
        if np.any(env.step(action)[3]):
            return step
    return None


@pytest.mark.parametrize("mode", [None, "vector_entry_point", "sync"])
def test_a_limit_of_steps_means_the_same_by_every_way(mode: str | None, random_world: Path) -> None:
    """Longer than the world's own (100), shorter, and -1, Gymnasium's word for none."""

    def make(steps: int) -> Any:
        options: dict[str, Any] = {
            "world": random_world,
            "max_episode_steps": steps,
            "termination_fn": lambda observations, *_: np.zeros(len(observations), bool),
        }
        if mode is None:
            return gymnasium.make(ID, **options)
        return gymnasium.make_vec(ID, 1, vectorization_mode=mode, **options)

    assert [length(make(steps), 150) for steps in (3, 120, -1)] == [3, 120, None]


@pytest.mark.parametrize("name", WORLDS)
def test_an_id_has_the_limit_of_its_world(name: str) -> None:
    limit = genie_env.World.load(find_world(WORLDS[name])).spec.max_episode_steps
    assert gymnasium.spec(name).max_episode_steps == limit
    env = gymnasium.make(name)
    assert isinstance(env, TimeLimit) and env.spec is not None
    assert env.spec.max_episode_steps == limit
    assert "max_episode_steps=0" in repr(env.unwrapped)
    vectors = gymnasium.make_vec(name, 1)
    assert vectors.unwrapped.options.max_episode_steps == limit


def test_a_damaged_world_keeps_nobody_from_importing_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, text in enumerate(('{"max_episode_steps": "x"}', "[1]", "{", '{"a": 1}')):
        (tmp_path / f"worlds/broken-{number}").mkdir(parents=True)
        (tmp_path / f"worlds/broken-{number}/config.json").write_text(text)
    monkeypatch.setattr(genie_env, "__path__", [str(tmp_path)])
    monkeypatch.setattr(gymnasium.envs.registration, "registry", {})
    register_worlds()
    ids = gymnasium.envs.registration.registry
    assert len(ids) == 4 and all(spec.max_episode_steps is None for spec in ids.values())


def test_make_gives_the_single_environment(random_world: Path) -> None:
    frames = gymnasium.make(ID, world=random_world, render_mode="rgb_array_list")
    assert isinstance(frames, RenderCollection)
    env = gymnasium.make(ID, world=random_world, render_mode="rgb_array", temperature=0.5)
    assert isinstance(env.unwrapped, DreamEnv)
    observation, _ = env.reset(seed=0)
    assert observation in env.observation_space
    env.step(env.action_space.sample())
    assert np.asarray(env.render()).shape == (64, 64, 3)
    env.close()


def test_gymnasiums_own_vectorisation(random_world: Path) -> None:
    env = gymnasium.make_vec(ID, num_envs=2, vectorization_mode="sync", world=random_world)
    assert isinstance(env, SyncVectorEnv)
    env.reset(seed=0)
    env.step(env.action_space.sample())
    env.close()


FORKED = """
import os
import signal
import sys
import gymnasium
import numpy as np
import torch
import genie_env

os.register_at_fork(after_in_child=lambda: signal.alarm(60))  # one that hangs does not stay
world, dtype = sys.argv[1:]

def play(env):
    env.reset(seed=0)
    return np.concatenate([env.step(np.zeros(env.num_envs, int))[0] for _ in range(3)])

# More than a thread's share of rows, of products and of pixels.
play(genie_env.make_vec(world, 256, dtype=dtype, observation="pixels"))
assert torch.get_num_threads() == 2
dreams = [
    play(
        gymnasium.make_vec(
            "genie_env/DoomTakeCover-v0",
            2,
            vectorization_mode=mode,
            vector_kwargs={"context": "fork"} if mode == "async" else None,
            world=world,
            dtype=dtype,
            observation="pixels",
        )
    )
    for mode in ("async", "sync")
]
print("equal" if np.array_equal(*dreams) else "different", torch.get_num_threads())
"""


@pytest.mark.parametrize("dtype", ["float32", "auto"])
def test_forked_environments_step_after_their_parent_used_threads(
    random_world: Path, dtype: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORKED, random_world, dtype],
        env={**os.environ, "OMP_NUM_THREADS": "2"},
        stdout=subprocess.PIPE,
        text=True,
        timeout=120,
    )
    assert done.stdout.split() == ["equal", "2"]


def test_an_id_may_name_the_package(random_world: Path) -> None:
    env = gymnasium.make(f"genie_env:{ID}", world=random_world)
    assert isinstance(env.unwrapped, DreamEnv)


def test_the_shipped_world_is_the_default() -> None:
    if "doom-take-cover" not in installed_worlds():
        with pytest.raises(ValueError, match="unknown world 'doom-take-cover'"):
            gymnasium.make_vec(ID, num_envs=2)
        pytest.skip("this tree ships no doom-take-cover")
    env = gymnasium.make_vec(ID, num_envs=2)
    assert isinstance(env, DreamVectorEnv)
    assert env.world.spec.name == "doom-take-cover"
    assert env.world.spec.actions.meanings == ["left", "stay", "right"]


def test_worlds_are_found_by_name_or_path(
    random_world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_world(random_world) == random_world
    assert find_world(str(random_world)) == random_world
    monkeypatch.chdir(random_world.parent)
    assert find_world(random_world.name) == Path(random_world.name)
    for name in installed_worlds():
        assert find_world(name).name == name


@pytest.mark.parametrize("where", ["site/genie_env/worlds", "tree/worlds"])
def test_worlds_lie_in_the_package_or_in_its_source_tree(
    where: str, random_world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An editable install has its modules in a source tree, and its compiled part elsewhere."""
    paths = [str(tmp_path / "site/genie_env"), str(tmp_path / "tree/python/genie_env")]
    monkeypatch.setattr(genie_env, "__path__", paths)
    assert installed_worlds() == []
    shutil.copytree(random_world, tmp_path / where / "mine")
    assert installed_worlds() == ["mine"]
    assert find_world("mine") == tmp_path / where / "mine" and is_installed(find_world("mine"))
    assert not is_installed(random_world)


@pytest.mark.parametrize("name", WORLDS)
def test_an_id_names_a_shipped_world(name: str) -> None:
    env = gymnasium.make_vec(name, num_envs=2)
    assert env.unwrapped.world.spec.name == WORLDS[name]


def test_every_installed_world_has_an_id() -> None:
    ids = [name for name in gymnasium.registry if name.startswith("genie_env/")]
    real = [name for name in installed_worlds() if read_card(name).real_game]
    expected = [*map(environment_id, installed_worlds()), *map(real_environment_id, real)]
    assert sorted(ids) == sorted(expected)
    assert {*installed_worlds()} - {*real} == {"doom-genie"}, "all others name their real game"


def test_options_of_the_family_pass_through() -> None:
    env = gymnasium.make_vec("genie_env/DoomGenie-v0", num_envs=2, passes=4)
    assert env.unwrapped.world.spec.options["passes"].value == 4
    single = gymnasium.make("genie_env/DoomGenie-v0", passes=4)
    assert single.unwrapped.world.spec.options["passes"].value == 4


def test_the_package_shows_what_is_public() -> None:
    assert inspect.isfunction(genie_env.make_vec)
    assert dir(genie_env) == sorted(genie_env.__all__)
    for name in dir(genie_env):
        assert getattr(genie_env, name) is not None
    with pytest.raises(AttributeError, match="module 'genie_env' has no attribute 'nothing'"):
        genie_env.nothing


def test_importing_the_package_needs_no_torch() -> None:
    code = "import sys, genie_env; sys.exit('torch' in sys.modules or not dir(genie_env))"
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0
