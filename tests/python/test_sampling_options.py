"""Options of a world's family, such as the passes of MaskGIT, are chosen with an environment."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import genie_env
from genie_env import DreamEnv, DreamVectorEnv, _core
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


def in_force(env: DreamVectorEnv | DreamEnv) -> tuple[Any, Any]:
    options = env.world.spec.options
    return options["passes"].value, options["order"].value


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
    assert same(chosen, dream(_core.World.load(world, options={"passes": passes, "order": order})))
    assert same(chosen, dream(world)) == ((passes, order) == (3, "confidence"))
    assert in_force(genie_env.make_vec(world, passes=passes, order=order)) == (passes, order)


def test_environments_of_one_directory_choose_for_themselves(world: Path) -> None:
    envs = [genie_env.make_vec(world, passes=passes) for passes in (None, 1, np.int64(12))]
    assert [in_force(env)[0] for env in envs] == [3, 1, 12]
    assert len({env.world.spec.fingerprint for env in envs}) == 1
    copy = pickle.loads(pickle.dumps(envs[1]))
    assert in_force(copy) == (1, "confidence")
    single = genie_env.DreamEnv(world, passes=2, order="random")
    assert in_force(single) == (2, "random")


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
    ("options", "words"),
    [
        ({"passes": 0}, "is 0, expected an integer from 1 to 64"),
        ({"passes": -1}, "is -1, expected an integer from 1 to 64"),
        ({"passes": 65}, "is 65, expected an integer from 1 to 64"),
        ({"passes": 2.5}, "is 2.5, expected an integer from 1 to 64"),
        ({"passes": True}, "is true, expected an integer from 1 to 64"),
        ({"order": "luck"}, 'is "luck", expected "confidence" or "random"'),
        ({"order": 1}, 'is 1, expected "confidence" or "random"'),
    ],
)
def test_what_cannot_be(world: Path, options: dict[str, Any], words: str) -> None:
    (name,) = options
    with pytest.raises(ValueError) as error:
        genie_env.make_vec(world, **options)
    assert str(error.value) == f"option {name!r} of random-genie (genie) {words}"


def test_what_no_option_can_be(world: Path) -> None:
    with pytest.raises(ValueError, match="^passes is 1180591620717411303424, expected an integer"):
        genie_env.make_vec(world, passes=2**70)
    with pytest.raises(TypeError, match=r"^passes is \[4\]: an environment has no such option, and"):
        genie_env.make_vec(world, passes=[4])


def test_a_loaded_world_has_its_own(world: Path) -> None:
    loaded = _core.World.load(world)
    for options in ({"passes": 2}, {"order": "random"}):
        (name,) = options
        words = f"^{name}: options that are chosen when a world is loaded"
        with pytest.raises(ValueError, match=words):
            genie_env.make_vec(loaded, **options)


def test_a_world_without_tokens_has_none(random_world: Path) -> None:
    assert list(_core.World.load(random_world).spec.options) == ["termination"]
    for options in ({"passes": 2}, {"order": "random"}):
        (name,) = options
        with pytest.raises(ValueError, match=rf"^random \(vision-memory\) has no option '{name}'"):
            genie_env.make_vec(random_world, **options)
