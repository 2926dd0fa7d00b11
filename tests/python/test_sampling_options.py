"""How many passes MaskGIT makes, and in which order, is chosen where an environment is made."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import genie_env
from genie_env import _core
from genie_env.families.genie.random_world import GenieSizes, random_genie_world

SIZES = GenieSizes(T=3, S=12, d=32, blocks=2, heads=2, codes=20, K=3)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_genie_world(tmp_path_factory.mktemp("worlds") / "genie", SIZES)


def saying(world: Path, directory: Path, passes: int, order: str) -> Path:
    """The same world, whose config says so."""
    directory.mkdir()
    for name in ("model.safetensors", "starts.safetensors"):
        (directory / name).write_bytes((world / name).read_bytes())
    config = json.loads((world / "config.json").read_text())
    config["dynamics"]["passes"], config["order"] = passes, order
    (directory / "config.json").write_text(json.dumps(config))
    return directory


def dream(world: Path | _core.World, **options: Any) -> tuple[np.ndarray, np.ndarray]:
    """The tokens and surprises of some steps."""
    env = genie_env.make_vec(world, 4, **options)
    env.reset(seed=0)
    steps = [env.step([t % 6, 1, 2, 3]) for t in range(6)]
    return np.stack([s[0] for s in steps]), np.stack([s[4]["surprise"] for s in steps])


def same(one: tuple[np.ndarray, ...], other: tuple[np.ndarray, ...]) -> bool:
    return all(map(np.array_equal, one, other))


@pytest.mark.parametrize("passes", [1, 3, SIZES.S, 64])
@pytest.mark.parametrize("order", ["confidence", "random"])
def test_as_in_a_world_whose_config_says_so(
    world: Path, passes: int, order: str, tmp_path: Path
) -> None:
    told = saying(world, tmp_path / "told", passes, order)
    chosen = dream(world, passes=passes, order=order)
    assert same(chosen, dream(told))
    assert same(chosen, dream(_core.World.load(world, passes=passes, order=order)))
    assert same(chosen, dream(world)) == ((passes, order) == (3, "confidence"))
    spec = genie_env.make_vec(world, passes=passes, order=order).world.spec
    assert (spec.passes, spec.order) == (passes, order)


def test_environments_of_one_directory_choose_for_themselves(world: Path) -> None:
    envs = [genie_env.make_vec(world, passes=passes) for passes in (None, 1, np.int64(12))]
    assert [env.world.spec.passes for env in envs] == [3, 1, 12]
    assert len({env.world.spec.fingerprint for env in envs}) == 1
    copy = pickle.loads(pickle.dumps(envs[1]))
    assert copy.world.spec.passes == 1
    single = genie_env.DreamEnv(world, passes=2, order="random")
    assert (single.world.spec.passes, single.world.spec.order) == (2, "random")


def test_one_pass_draws_every_token_by_itself(world: Path) -> None:
    """Whatever the order: K = 1 settles all of them at once, K = S one after the other."""
    assert same(dream(world, passes=1), dream(world, passes=1, order="random"))
    assert not same(dream(world, passes=12), dream(world, passes=12, order="random"))


def test_schedule() -> None:
    assert _core.mask_schedule(64, 4) == [59, 45, 24, 0]
    assert _core.mask_schedule(12, 1) == [0]
    each = torch.tensor([12, *_core.mask_schedule(12, 64)]).diff()
    assert int(each.min()) >= -1 and int(each.max()) <= 0


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"passes": 0}, ValueError, "passes is 0, expected 1 to 64, or nothing for the world's"),
        ({"passes": -1}, ValueError, "passes is -1, expected 1 to 64"),
        ({"passes": 65}, ValueError, "passes is 65, expected 1 to 64"),
        ({"passes": 2.5}, TypeError, "passes is 2.5, expected an integer"),
        ({"order": "luck"}, ValueError, 'order is "luck", expected "confidence" or "random"'),
        ({"order": 1}, TypeError, "order is 1, expected its name, such as 'random'"),
    ],
)
def test_what_cannot_be(
    world: Path, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=re.escape(words)):
        genie_env.make_vec(world, **options)


def test_a_loaded_world_has_its_own(world: Path) -> None:
    loaded = _core.World.load(world)
    for options in ({"passes": 2}, {"order": "random"}):
        with pytest.raises(ValueError, match="passes and order are chosen when a world is loaded"):
            genie_env.make_vec(loaded, **options)


def test_a_world_without_tokens_has_none(random_world: Path) -> None:
    spec = _core.World.load(random_world).spec
    assert (spec.passes, spec.order) == (0, "")
    for options in ({"passes": 2}, {"order": "random"}):
        (name,) = options
        with pytest.raises(ValueError, match=rf"^{name} is for worlds whose frames are tokens"):
            genie_env.make_vec(random_world, **options)
