"""The wheel's C++ package: a project outside the tree finds it, and dreams what Python dreams."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import genie_env

ROOT = Path(__file__).parents[2]


def run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.skipif(
    Path(genie_env.__path__[0]).is_relative_to(ROOT / "python"),
    reason="the source tree is imported, not what was installed",
)
def test_a_project_outside_the_tree(tmp_path: Path, random_world: Path) -> None:
    if shutil.which("cmake") is None:
        pytest.skip("cmake is not on the PATH")
    project = shutil.copytree(ROOT / "tests" / "package", tmp_path / "project")
    build = tmp_path / "build"
    found = f"-DCMAKE_PREFIX_PATH={genie_env.cmake_prefix()}"
    run("cmake", "-S", project, "-B", build, found, f"-DPython_EXECUTABLE={sys.executable}")
    run("cmake", "--build", build, "--parallel", "2")
    assert len(list(build.glob("*_alone.cc"))) >= 9  # every public header

    env = genie_env.make_vec(random_world, num_envs=4, dtype="float32", output="torch", seed=0)
    sum = env.reset()[0].sum().item()
    for _ in range(3):
        sum += env.step(torch.ones(4, dtype=torch.int64))[0].sum().item()
    assert float(run(build / "dream", random_world)) == pytest.approx(sum, rel=1e-4, abs=1e-2)


def test_without_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(genie_env, "__path__", [str(tmp_path)])
    expected = "has no C\\+\\+ library, which comes with the wheel: pip install genie-env"
    with pytest.raises(FileNotFoundError, match=expected):
        genie_env.cmake_prefix()
