"""The examples of exported worlds: each trains, exports, checks, and an agent learns in it."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_documentation import ROOT

from genie_env import World, check_world, make_vec
from genie_env.families.exported.archive import ARCHIVE
from genie_env.families.exported.compile import read_graph
from genie_env.families.exported.contract import methods_of

NAMES = ("lstm", "rssm", "transformer", "diffusion")
EXAMPLES = pytest.mark.parametrize("name", NAMES)


def run(name: str, folder: Path, *, seed: int = 0, effort: float = 1) -> dict[str, float]:
    """The figures that an example writes: mean returns of the agent and of random play."""
    script, figures = ROOT / "examples" / "python" / f"exported_{name}.py", folder / "figures.json"
    line = ["--out", folder / "world", "--json", figures, "--seed", seed, "--effort", effort]
    done = subprocess.run(
        [sys.executable, script, *map(str, line)], capture_output=True, text=True, cwd=folder
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(figures.read_text()))


def conforms(world: Path) -> None:
    """Passes the kits of worlds and of environments, in C++."""
    kits = Path(os.environ.get("GENIE_ENV_TEST_MODULES", "nowhere")) / "genie_env_tests"
    if not kits.exists():
        pytest.skip("the C++ tests are not built: GENIE_ENV_TESTS=ON")
    done = subprocess.run(
        [kits, "--gtest_filter=GivenWorld.*", "--gtest_brief=1"],
        env={**os.environ, "GENIE_ENV_GIVEN_WORLD": str(world), "OMP_WAIT_POLICY": "passive"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and "SKIPPED" not in done.stdout, done.stdout


@EXAMPLES
def test_an_example_in_small(name: str, tmp_path: Path) -> None:
    figures = run(name, tmp_path, effort=0.01)
    assert {"agent", "random"} <= figures.keys()
    world = World.load(tmp_path / "world")
    assert world.spec.family == "exported"
    methods = methods_of(follows=world.spec.follows_frames, renders=world.spec.frame is not None)
    for method in methods:  # what `compile=True` would compile
        read_graph(world.directory / ARCHIVE, method, world.device)
    findings = [*check_world(world)]
    assert all(finding.holds for finding in findings), findings
    if name != "diffusion":  # whose kits take half a minute: they are for the long test
        conforms(tmp_path / "world")


@EXAMPLES
def test_an_example_is_short(name: str) -> None:
    text = (ROOT / "examples" / "python" / f"exported_{name}.py").read_text()
    assert len(text.splitlines()) <= 150


def dreams_alike_compiled(directory: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step of compiled code gives the interpreter's numbers."""
    monkeypatch.setenv("GENIE_ENV_CACHE", str(cache))
    envs = [make_vec(directory, num_envs=5, seed=0, compile=compiled) for compiled in (False, True)]
    actions = envs[0].action_space.sample()
    for call in (lambda env: env.reset()[0], lambda env: env.step(actions)[0]):
        one, other = (call(env).astype(float) for env in envs)
        np.testing.assert_allclose(one, other, atol=1e-4)
    assert all(finding.holds for finding in check_world(envs[1].world))


@pytest.mark.long
@EXAMPLES
def test_an_agent_learns_in_an_example(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three seeds; the median of agent over random play, in 100 dreams, and in 100 real games."""
    played = []
    for seed in range(3):
        folder = tmp_path / str(seed)
        folder.mkdir()
        played.append(run(name, folder, seed=seed))
        conforms(folder / "world")
    dreams_alike_compiled(tmp_path / "0" / "world", tmp_path / "cache", monkeypatch)
    for place in ("", "_real"):
        if f"agent{place}" in played[0]:
            ratios = [one[f"agent{place}"] / one[f"random{place}"] for one in played]
            assert statistics.median(ratios) >= 1.5, (place, played)
