"""One options object for all environments: complete, checked, and shown as it was given."""

from __future__ import annotations

import dataclasses
import inspect
import pickle
import re
import typing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

import genie_env
from genie_env import DreamEnv, EnvOptions, _core
from genie_env.envs.options import keywords as keywords_of_environments


def test_every_option_is_a_keyword_and_has_a_default() -> None:
    fields = {field.name: field for field in dataclasses.fields(EnvOptions)}
    parameters = inspect.signature(keywords_of_environments).parameters
    assert list(parameters) == ["world", "num_envs", *fields, "others"]
    hints = typing.get_type_hints(keywords_of_environments)
    assert {n: hints[n] for n in fields} == typing.get_type_hints(EnvOptions)
    defaults = {name: parameters[name].default for name in fields}
    assert EnvOptions(**defaults) == EnvOptions()
    assert EnvOptions.of({}) == EnvOptions()
    keywords = {name: getattr(EnvOptions(), name) for name in fields}
    assert EnvOptions.of(keywords) == EnvOptions()


def test_every_option_of_the_compiled_environment_is_one_of_these() -> None:
    dreams = {name for name in dir(_core.VecEnvOptions) if not name.startswith("_")}
    assert dreams - {"num_envs"} <= set(EnvOptions.names())


def test_what_is_no_field_is_the_familys() -> None:
    options = EnvOptions.of(
        {"temperature": 0.5, "passes": np.int64(4), "family_options": {"x": True}}
    )
    assert options.temperature == 0.5
    assert options.family_options == {"x": True, "passes": 4}
    assert type(options.family_options["passes"]) is int
    assert EnvOptions.of({"passes": None}) == EnvOptions()  # as the world says


def test_a_familys_options_are_a_dict() -> None:
    for given in (3, None, ["passes"]):
        with pytest.raises(TypeError, match=r"^family_options is .*, expected a dict of names"):
            EnvOptions.of({"family_options": given, "passes": 4})


def test_they_show_what_was_chosen() -> None:
    assert repr(EnvOptions()) == "EnvOptions()"
    options = EnvOptions.of({"autoreset_mode": "SameStep", "temperature": [0.5, 1.0], "passes": 4})
    words = "EnvOptions(temperature=[0.5, 1.0], autoreset_mode='SAME_STEP', passes=4)"
    assert repr(options) == words
    assert repr(pickle.loads(pickle.dumps(options))) == words
    with pytest.raises(dataclasses.FrozenInstanceError):
        options.seed = 1  # type: ignore[misc]


def test_equal_options_have_one_hash() -> None:
    one, other = (EnvOptions.of({"temperature": [0.5, 1.0], "passes": 4}) for _ in range(2))
    assert one == other and len({one, other, EnvOptions()}) == 2


@pytest.mark.parametrize("given", list(AutoresetMode))
def test_autoreset_modes_have_three_spellings(given: AutoresetMode) -> None:
    for spelling in (given, given.value, given.name):
        assert EnvOptions.of({"autoreset_mode": spelling}).autoreset_mode is given


def test_environments_show_how_they_were_made(random_world: Path) -> None:
    env = genie_env.make_vec(random_world, 3, temperature=0.5, termination="sampled")
    words = "DreamVectorEnv(world='random', num_envs=3, temperature=0.5, termination='sampled')"
    assert repr(env) == words
    env.reset(seed=0)
    env.keep([0])
    assert repr(env) == words.replace("num_envs=3", "num_envs=1")
    assert repr(genie_env.make_vec(random_world)) == "DreamVectorEnv(world='random', num_envs=1)"
    single = DreamEnv(random_world, observation="zh")
    assert repr(single) == str(single) == "DreamEnv(world='random', observation='zh')"


@pytest.mark.parametrize("name", ["autoreset_mode", "num_envs", "output"])
def test_the_single_environment_chooses_for_itself(random_world: Path, name: str) -> None:
    with pytest.raises(TypeError, match=re.escape(f"{name}: DreamEnv knows but one; leave it out")):
        DreamEnv(random_world, **{name: 1})


def test_family_options_by_either_way_are_the_same(random_world: Path) -> None:
    for how in ({"termination": "sampled"}, {"family_options": {"termination": "sampled"}}):
        options: dict[str, Any] = how
        env = genie_env.make_vec(random_world, **options)
        assert env.world.spec.options["termination"].value == "sampled"
        assert pickle.loads(pickle.dumps(env)).given == env.given
