"""The stub of the compiled part is what the bindings say, and mypy agrees with the package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("command", [["cmake/stubs.py", "--check"], ["-m", "mypy"]])
def test_types(command: list[str]) -> None:
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


USES = """
import genie_env
genie_env.make_vec("x", 4, temperature=1.15, output="torch", autoreset_mode="SAME_STEP")
genie_env.make_vec("x", 4, passes=4)
genie_env.DreamEnv("x", render_mode="rgb_array", family_options={"passes": 4})
genie_env.DreamVectorEnv("x", 4, output="jax")
genie_env.EnvOptions(output="jax")
genie_env.DreamEnv("x", dtype=3)
genie_env.make_vec("x", output="jax")
genie_env.make_vec("x", passes=[4])
genie_env.DreamVectorEnv("x", 4, passes=4)
genie_env.DreamEnv(world="x", passes=4)
genie_env.make_vec(world="x", num_envs=2, seed=3, order="random")
genie_env.make_vec("x", reward_fn=3)
"""


def test_options_are_typed(tmp_path: Path) -> None:
    (tmp_path / "uses.py").write_text(USES)
    command = [sys.executable, "-m", "mypy", str(tmp_path / "uses.py")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    wrong = {line.split(":")[1] for line in done.stdout.splitlines() if ": error:" in line}
    assert wrong == {"6", "7", "8", "9", "10", "14"}, done.stdout + done.stderr
