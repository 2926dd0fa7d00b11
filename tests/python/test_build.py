"""How the package is built: torch is downloaded only when missing, and errors say what to do."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import genie_env

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def backend() -> Any:
    spec = importlib.util.spec_from_file_location(
        "build_backend", ROOT / "cmake" / "build_backend.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def install(site_packages: Path, version: str) -> None:
    """Leaves the traces of an installed torch."""
    folder = site_packages / f"torch-{version}.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n")


@pytest.mark.parametrize(
    "installed, required",
    [
        (None, ["torch==2.11.*"]),
        ("2.10.1", ["torch==2.11.*"]),
        ("2.12.0", ["torch==2.11.*"]),
        ("2.11.0", []),
        ("2.11.0+cu130", []),
    ],
)
def test_torch_is_required_where_missing(
    backend: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    installed: str | None,
    required: list[str],
) -> None:
    if installed:
        install(tmp_path, installed)
    monkeypatch.chdir(ROOT)
    assert backend.missing_torch(str(tmp_path)) == required


def configure(folder: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    """Runs CMake in a new build folder: exit code, and all output as one line."""
    cmake = shutil.which("cmake")
    if cmake is None:
        pytest.skip("cmake is not on the PATH")
    done = subprocess.run(
        [
            *(cmake, "-S", ROOT, "-B", folder, f"-DPython_EXECUTABLE={sys.executable}"),
            *("-DGENIE_ENV_PYTHON=OFF", *arguments),
        ],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    return done.returncode, " ".join((done.stdout + done.stderr).split())


def test_insisting_on_cuda_without_a_toolkit(tmp_path: Path) -> None:
    code, output = configure(tmp_path, "-DGENIE_ENV_CUDA=ON", CUDACXX="/nowhere/nvcc")
    assert code != 0
    assert "GENIE_ENV_CUDA is ON, but" in output
    assert "install" in output
    assert "Or set GENIE_ENV_CUDA to AUTO or OFF to build without CUDA kernels" in output


def test_going_without_cuda_where_there_is_no_toolkit(tmp_path: Path) -> None:
    _, output = configure(tmp_path, CUDACXX="/nowhere/nvcc")
    assert "CUDA kernels: no" in output
    assert "GENIE_ENV_CUDA is ON" not in output


def test_an_unknown_choice_of_cuda(tmp_path: Path) -> None:
    code, output = configure(tmp_path, "-DGENIE_ENV_CUDA=MAYBE")
    assert code != 0
    assert "GENIE_ENV_CUDA is 'MAYBE'; it must be AUTO, ON or OFF" in output


def test_building_without_torch(tmp_path: Path) -> None:
    code, output = configure(tmp_path, f"-DLibTorch_ROOT={tmp_path}")
    assert code != 0
    assert f"looked in '{tmp_path}'" in output
    assert "install torch==2.11.* for" in output


def test_build_info() -> None:
    info = genie_env.build_info()
    version = (ROOT / "CMakeLists.txt").read_text().split("project(genie_env VERSION ")[1].split()[0]
    assert info["version"] == version
    assert info["torch"].startswith("2.11.")
    assert info["openmp"] is True
    assert info["cuda_kernels"] is None or float(info["cuda_kernels"]) >= 12
    assert all(gpu["name"] and gpu["runs_kernels"] in (True, False) for gpu in info["gpus"])
