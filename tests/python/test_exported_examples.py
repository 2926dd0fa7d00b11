"""The examples of exported worlds: an LSTM, a state-space model, a transformer, a diffusion model."""

from __future__ import annotations

import json
import os
import runpy
import statistics
import subprocess
from pathlib import Path

import pytest

import genie_env
from genie_env.families.exported.checks import check_world

ROOT = Path(__file__).parents[2]
MODULES = "GENIE_ENV_TEST_MODULES"
"""The environment variable that says where the tests of C++ are built."""
EXAMPLES = ["lstm", "rssm", "transformer", "diffusion"]


def figures(example: str, out: Path, *arguments: str) -> dict[str, float]:
    """What the example found, whose world is then `out`."""
    main = runpy.run_path(str(ROOT / f"examples/python/exported_{example}.py"))["main"]
    written = out.with_suffix(".json")
    main(["--out", str(out), "--json", str(written), *arguments])
    return json.loads(written.read_text())


def kits() -> Path | None:
    """The built tests of C++, among them the kits for a given world; None where they are missing."""
    given = os.environ.get(MODULES)
    folders = [Path(given)] if given else sorted(ROOT.glob("build/*/tests/cpp"))
    found = [folder / "genie_env_tests" for folder in folders]
    return max(
        (file for file in found if file.exists()),
        key=lambda file: file.stat().st_mtime,
        default=None,
    )


def check_kits(world: Path) -> None:
    binary = kits()
    assert binary is not None
    ran = subprocess.run(
        [str(binary), "--gtest_filter=GivenWorld.*"],
        env={**os.environ, "GENIE_ENV_GIVEN_WORLD": str(world)},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "[  PASSED  ] 2 tests." in ran.stdout, ran.stdout


@pytest.fixture(scope="module", params=EXAMPLES)
def short(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, float]]:
    """The world and the figures of an example that hardly trains."""
    out = tmp_path_factory.mktemp("worlds") / request.param
    return out, figures(request.param, out, "--effort", "0.004")


def test_an_example_makes_a_world(short: tuple[Path, dict[str, float]]) -> None:
    directory, found = short
    world = genie_env.World.load(directory)
    assert world.spec.family == "exported"
    broken = [str(finding) for finding in check_world(world) if not finding.holds]
    assert not broken
    real = {"agent_real", "random_real"} if directory.name == "lstm" else set()
    assert found.keys() == {"agent", "random"} | real


@pytest.mark.skipif(kits() is None, reason=f"no genie_env_tests in a build or {MODULES}")
def test_its_world_passes_the_kits(short: tuple[Path, dict[str, float]]) -> None:
    check_kits(short[0])


@pytest.mark.long
@pytest.mark.parametrize("example", EXAMPLES)
def test_an_agent_learns_in_its_world(example: str, tmp_path: Path) -> None:
    """Half as good again as random play, in the middle of three seeds."""
    runs = [
        figures(example, tmp_path / str(seed), "--seed", str(seed)) for seed in range(3)
    ]
    gains = [run["agent"] / run["random"] for run in runs]
    assert statistics.median(gains) >= 1.5, runs
    if example == "lstm":
        gains = [run["agent_real"] / run["random_real"] for run in runs]
        assert statistics.median(gains) >= 1.5, runs
    if kits() is not None:
        check_kits(tmp_path / "0")
