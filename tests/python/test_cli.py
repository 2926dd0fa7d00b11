"""The command line: fast help, lazy commands, errors of one line."""

from __future__ import annotations

import os
import subprocess
import sys

import gymnasium
import pytest
from typer.core import TyperGroup

from genie_env import cli
from genie_env.cli import APP, LazyCommand


def commands(group: TyperGroup = APP, prefix: str = "") -> list[tuple[str, LazyCommand]]:
    found = []
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            found += commands(command, f"{prefix}{name} ")
        else:
            assert isinstance(command, LazyCommand)
            found.append((prefix + name, command))
    return found


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "genie_env.cli", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        timeout=120,
    )


def test_help_lists_every_command() -> None:
    result = run("--help")
    assert result.returncode == 0
    for name, _ in commands():
        assert name.split()[0] in result.stdout


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from genie_env.cli import APP\n"
        "try: APP.main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'matplotlib', 'cv2', 'vizdoom'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=120
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(("name", "command"), commands(), ids=[name for name, _ in commands()])
def test_every_command_is_there_and_its_help_is_its_functions(
    name: str, command: LazyCommand
) -> None:
    docstring = command.load().__doc__
    assert docstring.strip().splitlines()[0] == command.help
    with pytest.raises(SystemExit) as exit:
        APP.main([*name.split(), "--help"], prog_name="genie-env")
    assert exit.value.code == 0


def test_a_mistyped_command_is_answered_with_the_likely_one() -> None:
    result = run("recrod")
    assert result.returncode == 2
    assert "No such command 'recrod'. Did you mean 'record'?" in result.stderr


@pytest.mark.parametrize(
    "kind", [ValueError, RuntimeError, OSError, ImportError, gymnasium.error.DependencyNotInstalled]
)
def test_errors_are_one_line(
    kind: type[Exception], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(**_: object) -> None:
        raise kind("this was given; expected that")

    monkeypatch.setattr(APP, "main", fail)
    with pytest.raises(SystemExit) as exit:
        cli.main()
    assert exit.value.code == 1
    assert capsys.readouterr().err == "genie-env: this was given; expected that\n"


def test_an_error_of_a_real_command_is_one_line() -> None:
    result = run("record", "no-such-game", "--out", "nowhere")
    assert result.returncode == 1
    assert result.stderr.startswith("genie-env: unknown game 'no-such-game'")
    assert result.stderr.count("\n") == 1
