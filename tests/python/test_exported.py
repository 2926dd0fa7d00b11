"""Modules as worlds: what is exported is what is dreamed, and what cannot be served is refused."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import philox
import pytest
import torch
from exported_modules import (
    PICTURE,
    WALK,
    Picture,
    Tensors,
    Walk,
    export_picture,
    export_walk,
    seeded,
)
from rich.console import Console
from torch import nn

from genie_env import DreamEnv, World, export_world, make_vec
from genie_env._core import RowCounters, compiled_folder, compiling_machine
from genie_env.bench import rivals
from genie_env.data.progress import Progress
from genie_env.envs.registry import find_world
from genie_env.envs.world_checks import check_world


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> World:
    return export_walk(tmp_path_factory.mktemp("exported") / "walk")


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> World:
    return export_picture(tmp_path_factory.mktemp("exported") / "picture")


def test_a_dream_is_what_the_module_computes(walk: World) -> None:
    """From the same draws, in eager PyTorch: an independent Philox draws them."""
    module, rows = seeded(Walk), 3
    seeds = [5, 6, 7]

    def noise(step: int) -> Tensors:
        def of(stream: int) -> torch.Tensor:
            drawn = [philox.normals(seed, 0, step, stream, Walk.SIZE) for seed in seeds]
            return torch.tensor(np.array(drawn), dtype=torch.float32)

        return {"start": of(64), "step": of(65)}

    state = walk.make_state(rows)
    everywhere = torch.ones(rows, dtype=torch.bool)
    walk.begin(state, everywhere, RowCounters(seeds, [0] * rows, [0] * rows))
    starts = [int(5 * philox.uniforms(seed, 0, 0, 0, 1)[0]) for seed in seeds]
    with torch.no_grad():
        own, observed = module.initial({"x": WALK["starts"]["x"][starts]}, noise(0))
        for step in range(1, 5):
            action = torch.tensor([step % 2, 1, 0])
            tau = torch.tensor([0.5, 1.0, 2.0])
            own, reward, probability, observed = module.step(own, action, tau, noise(step))
            got = walk.step(state, action, tau, RowCounters(seeds, [0] * rows, [step] * rows))
            close(got.reward, reward)
            close(got.termination_probability, probability)
            close(got.observation, observed["xh"])
            for name, tensor in own.items():
                close(state.fields[name], tensor)


def close(one: torch.Tensor | None, other: torch.Tensor) -> None:
    assert one is not None
    torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_what_it_says_of_itself(walk: World, picture: World) -> None:
    assert walk.spec.family == "exported" and walk.spec.frame is None
    assert [spec.name for spec in walk.spec.observations] == ["xh"]
    assert walk.spec.max_episode_steps == 20 and not walk.spec.follows_frames
    assert picture.spec.follows_frames and list(picture.spec.options) == ["compile"]
    assert [spec.name for spec in picture.spec.observations] == ["pixels"]
    for world in (walk, picture):
        assert all(finding.holds for finding in check_world(world)), [*check_world(world)]


def test_frames_are_followed(picture: World) -> None:
    frames = torch.randint(256, (2, Picture.SIDE, Picture.SIDE, 3), dtype=torch.uint8)
    state = picture.make_state(2)
    rng = RowCounters([1, 2], [0, 0], [0, 0])
    picture.begin(state, torch.ones(2, dtype=torch.bool), rng, frames)
    assert torch.equal(picture.observe(state, "pixels"), frames)
    given = frames.flip(1)
    step = picture.follow(state, torch.zeros(2, 2), given, RowCounters([1, 2], [0, 0], [1, 1]))
    assert torch.equal(picture.observe(state, "pixels"), given)
    close(step.reward, given.float().mean((1, 2, 3)) / 255)
    assert state.fields["age"].tolist() == [1, 1]


def test_environments_snapshots_and_adapters(walk: World, picture: World) -> None:
    env = make_vec(walk.directory, num_envs=4, seed=0)
    env.reset()
    before = env.snapshot()
    first = env.step(np.zeros(4, np.int64))[0]
    env.restore(before)
    np.testing.assert_array_equal(env.step(np.zeros(4, np.int64))[0], first)
    single = DreamEnv(picture, render_mode="rgb_array")
    single.reset(seed=0)
    single.step(np.zeros(2, np.float32))
    assert single.render().shape == (Picture.SIDE, Picture.SIDE, 3)


def test_a_rewritten_world_is_another(tmp_path: Path) -> None:
    one = export_walk(tmp_path / "world")
    other = export_world(seeded(Walk, seed=1), tmp_path / "world", **WALK)
    assert one.spec.fingerprint != other.spec.fingerprint
    assert sorted(path.name for path in (tmp_path / "world").iterdir()) == [
        "README.md",
        "config.json",
        "model.pt2",
        "starts.safetensors",
    ]


def test_it_replaces_a_world_of_another_family(random_world: Path, tmp_path: Path) -> None:
    shutil.copytree(random_world, tmp_path / "world")
    assert export_walk(tmp_path / "world").spec.family == "exported"
    assert not (tmp_path / "world" / "model.safetensors").exists()


def test_loading_and_stepping_write_nothing(walk: World) -> None:
    code = (
        "import genie_env, numpy as np\n"
        f"env = genie_env.make_vec({str(walk.directory)!r}, num_envs=3)\n"
        "env.reset(seed=0)\n"
        "for _ in range(5): env.step(np.zeros(3, np.int64))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_nothing_of_the_author_is_in_the_archive(walk: World) -> None:
    data = (walk.directory / "model.pt2").read_bytes()
    for secret in (str(Path(__file__).parent), "stack_trace", "exported_modules", "sample_inputs"):
        assert secret.encode() not in data


class Changed(Walk):
    """A walk, one thing of which is wrong."""

    def __init__(self, change: Callable[..., Any]) -> None:
        super().__init__()
        self.change = change
        self.count = 0
        self.drop = nn.Dropout(0.5)
        self.register_buffer("seen", torch.zeros(1))

    def step(self, state: Tensors, action: Any, temperature: Any, noise: Tensors) -> Any:
        return self.change(self, Walk.step, state, action, temperature, noise)


def with_state(change: Callable[[Tensors], Tensors]) -> Callable[..., Any]:
    def step(self: Any, walk: Any, *inputs: Any) -> Any:
        state, *rest = walk(self, *inputs)
        return (change(state), *rest)

    return step


def added_noise(draw: Callable[[torch.Tensor], torch.Tensor]) -> Callable[..., Any]:
    return with_state(lambda state: {**state, "x": state["x"] + draw(state["x"])})


def in_place(self: Any, walk: Any, state: Tensors, *rest: Any) -> Any:
    state["x"] += 1
    return walk(self, state, *rest)


def branch(self: Any, walk: Any, state: Tensors, *rest: Any) -> Any:
    if state["x"].sum() > 0:
        return walk(self, state, *rest)
    return walk(self, {**state, "x": -state["x"]}, *rest)


def counts(self: Any, walk: Any, *inputs: Any) -> Any:
    self.seen += 1
    return walk(self, *inputs)


def counts_in_an_attribute(self: Any, walk: Any, *inputs: Any) -> Any:
    self.count += 1
    state, _, *rest = walk(self, *inputs)
    return state, torch.full_like(state["x"][:, 0], self.count), *rest


def logit(self: Any, walk: Any, *inputs: Any) -> Any:
    state, reward, probability, observations = walk(self, *inputs)
    return state, reward, probability - 2, observations


def compares_rows(self: Any, walk: Any, state: Tensors, *rest: Any) -> Any:
    if state["x"].shape[0] == 3:
        state = {**state, "x": state["x"] + 1}
    return walk(self, state, *rest)


REFUSED: dict[str, tuple[Callable[..., Any], str]] = {
    "rand": (added_noise(torch.rand_like), "step answers the same inputs differently.*noise"),
    "seeded": (
        added_noise(lambda x: 0 * torch.rand_like(x)),
        r"step: .*rand.*test_exported.py, line \d+.*noise",
    ),
    "bernoulli": (added_noise(lambda x: 0 * torch.bernoulli(x.sigmoid())), "bernoulli.*noise"),
    "multinomial": (
        added_noise(lambda x: 0 * torch.multinomial(x.softmax(1), 1).float()),
        "multinomial.*noise",
    ),
    "neighbours": (
        with_state(lambda state: {**state, "x": state["x"] - state["x"].mean(0, keepdim=True)}),
        "depends on its neighbours: state x of 1 rows differs by .* dimension 0",
    ),
    "rows": (compares_rows, r"step cannot be exported.*one number of rows only"),
    "branch": (branch, r"step cannot be exported.*test_exported.py, line \d+.*torch.where"),
    "in place": (in_place, r"step changes its input state\['x'\] in place.*clone"),
    "buffer": (counts, "step changes the buffer 'seen'.*state"),
    "undeclared": (
        lambda self, walk, state, action, tau, noise: noise["wind"],
        "step asks for 'wind', which is neither in its state nor declared",
    ),
    "attribute": (counts_in_an_attribute, "step answers the same inputs differently.*attribute"),
    "order": (
        with_state(lambda state: {"x": state["x"], "y": state["h"]}),
        "step gives the state 'x', 'y', but was given",
    ),
    "shape": (
        with_state(lambda state: {**state, "before": state["before"].repeat(1, 2)}),
        r"step: state\['before'\] was float32 \[N, 3\] and is float32 \[N, 6\].*ring",
    ),
    "dtype": (
        with_state(lambda state: {**state, "h": state["h"].double()}),
        r"state\['h'\] was float32 \[N, 16\] and is float64",
    ),
    "missing": (
        with_state(lambda state: {"x": state["x"]}),
        "step gives the state 'x', but was given 'x', 'h', 'c', 'before'",
    ),
    "infinite": (
        with_state(lambda state: {**state, "x": state["x"] / 0}),
        r"step: state\['x'\] is not finite",
    ),
    "logit": (logit, "terminated_probability holds .* from 0 to 1: of a logit take the sigmoid"),
    "nonzero": (
        with_state(lambda state: {**state, "x": state["x"] + state["x"].nonzero().sum()}),
        "nonzero",
    ),
}


@pytest.mark.parametrize("wrong", REFUSED)
def test_what_cannot_be_served_is_refused(wrong: str, tmp_path: Path) -> None:
    change, words = REFUSED[wrong]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = Changed(change).eval()
        with pytest.raises(ValueError, match=words):
            export_world(module, tmp_path / "world", **WALK)
    assert not (tmp_path / "world").exists() or not any((tmp_path / "world").iterdir())


def test_an_operator_of_somebodys_own_is_refused(tmp_path: Path) -> None:
    with torch.library._scoped_library("genie_env_test", "FRAGMENT") as library:
        library.define("twice(Tensor x) -> Tensor")
        library.impl("twice", lambda x: 2 * x, "CompositeExplicitAutograd")
        module = Changed(added_noise(lambda x: torch.ops.genie_env_test.twice(x))).eval()
        with pytest.raises(ValueError, match=r"genie_env_test.twice.*line \d+.*custom operator"):
            export_world(module, tmp_path / "world", **WALK)


def test_the_order_of_a_state_does_not_matter(tmp_path: Path, walk: World) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = Changed(with_state(lambda state: dict(reversed(state.items())))).eval()
    module.load_state_dict(seeded(Walk).state_dict(), strict=False)
    envs = [
        make_vec(world, num_envs=3, seed=0)
        for world in (walk, export_world(module, tmp_path / "world", **WALK))
    ]
    for env in envs:
        env.reset()
    for _ in range(3):
        one, other = (env.step(np.array([0, 1, 0]))[0] for env in envs)
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_training_mode_is_refused(tmp_path: Path) -> None:
    module = Changed(with_state(lambda state: state)).train()
    with pytest.raises(ValueError, match=r"drop \(Dropout\) is in training mode: call module.eval"):
        export_world(module, tmp_path / "world", **WALK)


ARGUMENTS: dict[str, tuple[dict[str, Any], str]] = {
    "no start": ({"starts": None, "noise": None}, "neither starts nor noise"),
    "noise": ({"noise": {"start": ("cauchy", (3,))}}, "noise 'start' is 'cauchy': give 'normal'"),
    "noise shape": ({"noise": {"start": ("normal", 3)}}, "noise 'start' has the shape 3, expected"),
    "noise pair": ({"noise": {"start": "normal"}}, "noise 'start' is 'normal', expected"),
    "far start": (
        {
            "starts": {"x": torch.tensor([[0.0] * 3] * 40 + [[50.0] * 3])},
            "observations": {"xh": gymnasium.spaces.Box(-9, 9, (19,), np.float32)},
        },
        "initial: observation 'xh' holds .* outside the bounds",
    ),
    "bad start": ({"starts": {"x": torch.full((5, 3), np.nan)}}, "starts.* not finite"),
    "starts": (
        {"starts": {"x": torch.zeros(5, 3), "y": torch.zeros(4)}},
        "different numbers of rows",
    ),
    "names": ({"action_names": ["left"]}, "action_names has 1 names, but there are 2 actions"),
    "observation": ({"observations": {}}, "gives the observations 'xh', but none are declared"),
    "temperature": ({"temperature": 0.0}, "temperature"),
    "termination": ({"termination": "soon"}, "termination is 'soon'"),
    "steps": ({"max_episode_steps": 0}, "max_episode_steps is 0, expected an integer from 1"),
}


@pytest.mark.parametrize("wrong", ARGUMENTS)
def test_wrong_arguments_leave_the_world_as_it_was(wrong: str, tmp_path: Path) -> None:
    changed, words = ARGUMENTS[wrong]
    before = export_walk(tmp_path / "world").spec.fingerprint
    with pytest.raises(ValueError, match=words):
        export_walk(tmp_path / "world", **changed)
    assert World.load(tmp_path / "world").spec.fingerprint == before


def test_a_module_without_methods(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Linear has no method `initial`"):
        export_world(nn.Linear(1, 1), tmp_path / "world", **WALK)
    with pytest.raises(TypeError, match="module is a str"):
        export_world("model", tmp_path / "world", **WALK)  # type: ignore[arg-type]


def test_wrong_requests_of_a_loaded_world(walk: World) -> None:
    with pytest.raises(ValueError, match='dtype is "bfloat16", but an exported world computes in'):
        World.load(walk.directory, dtype="bfloat16")
    state = walk.make_state(1)
    frames = torch.zeros(1, 8, 8, 3, dtype=torch.uint8)
    with pytest.raises(ValueError, match="has no pictures"):
        walk.follow(state, torch.zeros(1, dtype=torch.int64), frames, RowCounters([0], [0], [0]))


def test_a_config_that_lies(walk: World, tmp_path: Path) -> None:
    for change, words in (
        ({"state": [{"name": "x", "dtype": "float32", "shape": [4]}]}, 'the graph "initial" gives'),
        ({"device": "cuda"}, "cuda"),
        ({"follows": True}, '"follows" is true, expected false'),
        ({"observations": []}, '"observations" is .*at least one tensor'),
        ({"noise": [{"name": "n", "distribution": "cauchy", "shape": []}]}, "noise.*distribution"),
        ({"row_bits": "some"}, "row_bits"),
    ):
        directory = tmp_path / "lie"
        directory.mkdir(exist_ok=True)
        for file in walk.directory.iterdir():
            (directory / file.name).write_bytes(file.read_bytes())
        config = json.loads((directory / "config.json").read_text())
        (directory / "config.json").write_text(json.dumps({**config, **change}))
        with pytest.raises(ValueError, match=words):
            World.load(directory)


def test_compiled_code_of_another_machine_is_refused(
    walk: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENIE_ENV_CACHE", str(tmp_path))
    with pytest.raises(ValueError, match="holds no compiled code: genie_env.make_vec"):
        World.load(walk.directory, options={"compile": True})
    folder = compiled_folder(walk.spec.fingerprint)
    assert folder.is_relative_to(tmp_path)
    folder.mkdir(parents=True)
    (folder / "machine.txt").write_text(compiling_machine().replace("torch 2", "torch 1"))
    with pytest.raises(ValueError, match="was compiled on another machine .*torch 1"):
        World.load(walk.directory, options={"compile": True})


@pytest.mark.long
def test_compiled_code_dreams_alike(
    walk: World, picture: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENIE_ENV_CACHE", str(tmp_path))
    for world in (walk, picture):
        plain = make_vec(world.directory, num_envs=5, seed=0)
        compiled = make_vec(world.directory, num_envs=5, seed=0, compile=True)
        assert not compiled.world.spec.exact_rows
        plain.action_space.seed(0)
        np.testing.assert_allclose(plain.reset()[0], compiled.reset()[0], atol=1e-5)
        actions = plain.action_space.sample()
        one, other = plain.step(actions)[0], compiled.step(actions)[0]
        atol = 1 if one.dtype == np.uint8 else 1e-5
        np.testing.assert_allclose(one.astype(float), other.astype(float), atol=atol)
        assert all(finding.holds for finding in check_world(compiled.world))


def test_bench_sets_a_world_beside_its_module(walk: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda step, **_: step)  # which takes half a minute
    module = seeded(Walk)
    rivals.check(walk, module)
    with Progress() as progress:
        rates = rivals.compare(walk, module, [1, 3], 0.07, progress)
    assert {(rate.batch, rate.rival) for rate in rates} == {
        (batch, rival) for batch in (1, 3) for rival in rivals.RIVALS
    }
    assert all(rate.steps_per_s > 0 for rate in rates)
    rivals.show(Console(file=io.StringIO()), rates)
    with pytest.raises(
        ValueError, match="--module gives a Linear, expected the torch.nn.Module that"
    ):
        rivals.check(walk, nn.Linear(1, 1))
    doom = World.load(find_world("doom-take-cover"))
    with pytest.raises(
        ValueError, match="doom-take-cover is of the family vision-memory: leave it out"
    ):
        rivals.check(doom, module)


@pytest.mark.parametrize("name", ["walk", "picture"])
def test_the_conformance_kits(name: str, request: pytest.FixtureRequest) -> None:
    modules = os.environ.get("GENIE_ENV_TEST_MODULES")
    kits = Path(modules or "nowhere") / "genie_env_tests"
    if not kits.exists():
        pytest.skip("the C++ tests are not built: GENIE_ENV_TESTS=ON")
    world: World = request.getfixturevalue(name)
    done = subprocess.run(
        [kits, "--gtest_filter=GivenWorld.*", "--gtest_brief=1"],
        env={**os.environ, "GENIE_ENV_GIVEN_WORLD": str(world.directory)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0 and "SKIPPED" not in done.stdout, done.stdout
