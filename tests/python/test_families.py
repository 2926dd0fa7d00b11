"""What Python knows of world families: their registry, their commands, settings as options."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from genie_env.families import Family, families, find_family, register_family, registry
from genie_env.families.commands import family_commands
from genie_env.families.training_command import training_command


def test_families_are_registered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_FAMILIES", dict(registry._FAMILIES))
    register_family(Family("dice", default_batches=(1, 2)))
    assert find_family("dice").default_batches == (1, 2)
    words = (
        r"a world family 'genie' is registered already \(registered: dice, exported, genie, .*vision-memory\): "
        "give yours another name"
    )
    with pytest.raises(ValueError, match=words):
        register_family(Family("genie"))
    assert find_family("genie").costs is not None
    with pytest.raises(
        ValueError, match="unknown world family 'cards': give one of dice, exported, genie, .*vision-memory"
    ):
        find_family("cards")


@pytest.mark.parametrize("group", ["train", "import", "freeze"])
def test_a_familys_commands_say_what_their_functions_say(group: str) -> None:
    commands = family_commands(group)
    assert {command.group for command in commands} == {group}
    for command in commands:
        module, _, name = command.where.partition(":")
        function = getattr(importlib.import_module(module), name)
        assert function.__doc__.splitlines()[0] == command.help
        assert command.example.startswith(f"{group} {command.name} ")


def test_listing_families_and_their_commands_needs_no_torch() -> None:
    code = (
        "import sys, genie_env.families.commands as c; c.family_commands('train'); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_family_says_whether_it_makes_random_worlds() -> None:
    able = [family for family in families() if family.random_world is not None]
    assert able and all(family.random_sizes for family in able)


@dataclass(frozen=True, kw_only=True)
class Sizes:
    width: Annotated[int, typer.Option(help="features", min=1)] = 8


@dataclass(frozen=True, kw_only=True)
class Settings:
    out: Annotated[str, typer.Option(help="directory")]
    data: Annotated[list[int], typer.Option(help="numbers")]
    steps: Annotated[int, typer.Option(help="updates", min=1)] = 3
    sizes: Sizes = Sizes()


def test_the_fields_of_settings_are_the_options_of_a_command() -> None:
    given: list[Settings] = []

    def train(settings: Settings) -> None:
        """Train."""
        given.append(settings)

    command: Any = training_command(train, Settings)
    assert list(inspect.signature(command).parameters) == ["data", "out", "steps", "width"]
    command([1], "there", width=2)
    assert given.pop() == Settings(data=[1], out="there", sizes=Sizes(width=2))
    with pytest.raises(TypeError, match="unexpected keyword argument 'depth'"):
        command([1], "there", depth=2)
    with pytest.raises(TypeError, match="missing a required argument: 'out'"):
        command([1])

    app = typer.Typer()
    app.command()(command)
    line = ["--data", "1", "--data", "2", "--out", "there", "--steps", "5"]
    assert CliRunner().invoke(app, line).exit_code == 0
    assert given.pop() == Settings(data=[1, 2], out="there", steps=5)
    refused = CliRunner().invoke(app, [*line, "--width", "0"])
    assert refused.exit_code == 2 and not given
