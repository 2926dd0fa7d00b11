"""With another torch than the one it was built against, or with a compiled part of other sources, the
package refuses in plain words."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import genie_env
from genie_env import build_info

REFUSAL = (
    "genie_env was built against torch 2.11, but the torch here is {}. Torch's C++ interface "
    "changes with every minor version: pip install 'torch==2.11.*'"
)


def run(code: str, torch: str, tmp_path: Path) -> tuple[int, str]:
    """Runs Python where another version of torch is installed: exit code, last line of errors."""
    traces = tmp_path / f"torch-{torch}.dist-info"
    traces.mkdir()
    (traces / "METADATA").write_text(f"Metadata-Version: 2.1\nName: torch\nVersion: {torch}\n")
    package = str(Path(genie_env.__path__[0]).parent)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), package])},
        capture_output=True,
        text=True,
    )
    return done.returncode, (done.stderr.splitlines() or [""])[-1]


@pytest.mark.parametrize(
    "code",
    [
        "import genie_env; genie_env.make_vec",
        "from genie_env import build_info",
        "import genie_env, gymnasium; gymnasium.make('genie_env/DoomTakeCover-v0')",
    ],
)
def test_another_minor_version_is_refused(code: str, tmp_path: Path) -> None:
    status, said = run(code, "2.12.1+cpu", tmp_path)
    assert (status, said) == (1, "ImportError: " + REFUSAL.format("2.12.1+cpu"))


def test_the_command_line_refuses_in_one_line(tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv = ['genie-env', 'bench', '--help'];"
        "from genie_env.cli.app import main; main()"
    )
    status, said = run(code, "2.10.0", tmp_path)
    assert (status, said) == (1, "genie-env: " + REFUSAL.format("2.10.0"))


@pytest.mark.parametrize("names", [[], ["Option", "World", "limits"]])
@pytest.mark.parametrize("code", ["genie_env.World", "genie_env.cli.app.main()"])
def test_a_compiled_part_of_other_sources_is_refused(
    names: list[str], code: str, tmp_path: Path
) -> None:
    stale = (
        "import sys, types, torch, genie_env, genie_env.cli.app\n"
        "core = sys.modules['genie_env._core'] = types.ModuleType('genie_env._core')\n"
        f"for name in {names}: setattr(core, name, type(name, (), {{}}))\n"
        "sys.argv = ['genie-env', 'worlds', 'doom-genie']\n"
    )
    status, said = run(stale + code, "2.11.0", tmp_path)
    assert status == 1
    assert "compiled part of genie_env was built from other sources" in said
    assert said.endswith("run `pip install .` again, in the folder of the sources")


def test_another_patch_is_welcome(tmp_path: Path) -> None:
    assert run("import genie_env; genie_env.build_info()", "2.11.9", tmp_path)[0] == 0


def test_the_version_is_the_one_built_against() -> None:
    assert build_info()["torch"].startswith(genie_env.TORCH + ".")
