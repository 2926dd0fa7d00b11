"""Options that take several values after one name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from genie_env.cli.multi_value import MultiValue

APP = typer.Typer()


@APP.command(cls=MultiValue)
def command(
    where: str,
    batch: Annotated[list[int], typer.Option()] = [7],
    tau: Annotated[list[float], typer.Option()] = [],
    policy: Annotated[list[str], typer.Option()] = [],
    seconds: float = 2,
) -> None:
    typer.echo([where, batch, tau, policy, seconds])


NAMED_ONLY = typer.Typer()


@NAMED_ONLY.command(cls=MultiValue)
def named_only(
    out: Annotated[Path, typer.Option()],
    data: Annotated[list[Path], typer.Option()],
    tau: Annotated[list[float], typer.Option()] = [],
    stop: Annotated[bool, typer.Option("--stop")] = False,
) -> None:
    typer.echo([[str(d) for d in data], str(out), tau, stop])


def given(line: str, app: typer.Typer = APP) -> str:
    result = CliRunner().invoke(app, line.split())
    assert result.exit_code == 0, result.output
    return result.output.strip()


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("W", "['W', [7], [], [], 2.0]"),
        ("W --batch 1 16 64", "['W', [1, 16, 64], [], [], 2.0]"),
        ("--batch 1 16 64 W", "['W', [1, 16, 64], [], [], 2.0]"),
        ("W --batch 1 --batch 16", "['W', [1, 16], [], [], 2.0]"),
        ("W --batch 1 16 --seconds 3", "['W', [1, 16], [], [], 3.0]"),
        ("W --tau 0.1 1 --batch 5 --tau 1.3", "['W', [5], [0.1, 1.0, 1.3], [], 2.0]"),
        ("W --policy held --policy left", "['W', [7], [], ['held', 'left'], 2.0]"),
    ],
)
def test_values(line: str, values: str) -> None:
    assert given(line) == values


def test_what_is_no_number_is_refused() -> None:
    result = CliRunner().invoke(APP, ["W", "--batch", "x"])
    assert result.exit_code == 2 and "Invalid value for '--batch'" in result.output


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("--data a b.mp4 3 --out o", "[['a', 'b.mp4', '3'], 'o', [], False]"),
        ("--out o --data a --data b c", "[['a', 'b', 'c'], 'o', [], False]"),
        ("--data a b --stop --out o", "[['a', 'b'], 'o', [], True]"),
        ("--data a --tau -1 2 --out o", "[['a'], 'o', [-1.0, 2.0], False]"),
    ],
)
def test_words_are_values_where_every_word_belongs_to_an_option(line: str, values: str) -> None:
    assert given(line, NAMED_ONLY) == values


def test_a_word_behind_an_option_of_one_value_is_refused() -> None:
    result = CliRunner().invoke(NAMED_ONLY, ["--data", "a", "--out", "o", "p"])
    assert result.exit_code == 2 and "unexpected extra argument" in result.output


@pytest.mark.parametrize("line", ["--world W --batch 1 2", "W --batch 1 2"])
def test_a_first_word_is_the_world(line: str) -> None:
    app = typer.Typer()

    @app.command(cls=MultiValue)
    def command(
        world: Annotated[str, typer.Option()],
        batch: Annotated[list[int], typer.Option()] = [],
    ) -> None:
        typer.echo([world, batch])

    assert given(line, app) == "['W', [1, 2]]"
