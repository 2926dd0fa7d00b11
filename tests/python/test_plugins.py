"""What a user's module registers is there in every command: by an entry point, or by --import."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import genie_env

HERE = Path(__file__).parent
PACKAGE = Path(genie_env.__path__[0]).parent


def run(
    *arguments: object, cwd: Path = HERE, path: tuple[Path, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """A command as the installed script runs it: the current folder is not on sys.path."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "genie_env.cli.app", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (PACKAGE, *path)))},
        timeout=120,
    )


@pytest.mark.parametrize(
    "words",
    [("--import", "second_game", "record", "gold-rush"), ("record", "second_game:gold-rush")],
    ids=" ".join,
)
def test_a_game_of_the_current_folder_is_recorded(words: tuple[str, ...], tmp_path: Path) -> None:
    out = tmp_path / "gold"
    done = run(*words, "--out", out, "--episodes", 2, "--workers", 1)
    assert done.returncode == 0, done.stderr
    assert json.loads((out / "meta.json").read_text())["game"] == "gold-rush"


def test_the_game_of_a_world_is_played_once_its_module_is_imported(tmp_path: Path) -> None:
    config = {"real_game": "gold-rush", "frame_skip": 1, "frame": {"height": 48, "width": 80}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    blind = ("--world", tmp_path, "--policy", "eastwards", "--episodes", 1, "--workers", 1)
    done = run("--import", "second_game", "evaluate", *blind)
    assert done.returncode == 0 and "gold in the real game, coins" in done.stdout, done.stderr
    refused = run("evaluate", *blind)
    assert refused.returncode == 1 and refused.stderr.count("\n") == 1
    assert "\"real_game\" is 'gold-rush'" in refused.stderr
    assert "begin with `genie-env --import MODULE`" in refused.stderr
    (tmp_path / "config.json").write_text(json.dumps({**config, "real_game": "mine:Mine-v0"}))
    assert "begin with `genie-env --import mine`" in run("evaluate", *blind).stderr


def test_a_module_that_is_nowhere_is_said_in_one_line(tmp_path: Path) -> None:
    words = "no module 'nowhere' is in this folder or installed: change to its folder, install it"
    for line in (("--import", "nowhere", "worlds"), ("record", "nowhere:x", "--out", tmp_path)):
        done = run(*line)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
        assert words in done.stderr
    assert "unknown game 'nowhere:x'" in done.stderr
    (tmp_path / "needy.py").write_text("import nothing_like_it")
    done = run("--import", "needy", "worlds", cwd=tmp_path)
    assert done.stderr == "genie-env: No module named 'nothing_like_it'\n"


PLUGIN = """
from genie_env.families import Command, Family, register_family
register_family(
    Family("dice", commands=[Command("train", "dice", "dice:train", "Throw.", "train dice")])
)
"""


def install(folder: Path, module: str, text: str) -> None:
    """A package with an entry point, as pip leaves it."""
    (folder / f"{module}.py").write_text(text)
    info = folder / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}-worlds\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[genie_env.plugins]\n{module} = {module}\n")


def test_installed_plugins_are_imported_by_themselves(tmp_path: Path) -> None:
    install(tmp_path, "dice", PLUGIN)
    shown = run("train", "--help", path=(tmp_path,))
    assert shown.returncode == 0 and "Throw." in shown.stdout, shown.stderr
    code = "import sys, genie_env; genie_env.World; sys.exit('dice' not in sys.modules)"
    used = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": f"{PACKAGE}{os.pathsep}{tmp_path}"},
        timeout=120,
    )
    assert used.returncode == 0


def test_a_broken_plugin_is_named(tmp_path: Path) -> None:
    install(tmp_path, "dice", "import nothing_like_it")
    done = run("worlds", path=(tmp_path,))
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    words = (
        "the plugin 'dice' of dice-worlds cannot be imported (No module named 'nothing_like_it')"
    )
    assert words in done.stderr
