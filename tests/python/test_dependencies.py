"""Rooms depend one way, and only games and families know a game or a family by name."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "python" / "genie_env"

ONE_GAME = re.compile("doom|takecover|car[-_ ]?racing|car_(driver|pictures)", re.IGNORECASE)
EXAMPLES = re.compile(
    r"doom-take-cover|doom-genie|DoomTakeCover-v0|data/doom[-\w]*|car-racing|CarRacing(Real)?-v\d"
)
"""Names of worlds and directories, as examples in docstrings and help texts give them."""

KNOW_THE_GAME = [
    PACKAGE / "games" / "car_driver.py",
    PACKAGE / "games" / "car_pictures.py",
    PACKAGE / "games" / "car_racing.py",
    PACKAGE / "games" / "doom.py",
    PACKAGE / "games" / "doom_map.py",
    PACKAGE / "games" / "registry.py",  # the list of games
    PACKAGE / "cli" / "demo.py",
]


def test_imports_point_one_way() -> None:
    command = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run(
        [sys.executable, "-c", command, "--no-cache", "--no-logo"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def python_mentions(file: Path) -> Iterator[str]:
    """Where a module names the game other than in an example within a text."""
    with file.open() as lines:
        for token in tokenize.generate_tokens(lines.readline):
            text = token.string
            if token.type == tokenize.STRING and not is_an_example_alone(text):
                text = EXAMPLES.sub("", text)
            if ONE_GAME.search(text):
                yield f"{file.relative_to(ROOT)}:{token.start[0]}: {text}"


def is_an_example_alone(literal: str) -> bool:
    """Whether a string is such a name and nothing else: a value, not an example."""
    try:
        value = ast.literal_eval(literal)
    except (SyntaxError, ValueError):  # an f-string
        return False
    return isinstance(value, str) and EXAMPLES.fullmatch(value) is not None


def test_python_knows_the_game_in_its_own_file_only() -> None:
    modules = [file for file in sorted(PACKAGE.rglob("*.py")) if file not in KNOW_THE_GAME]
    assert len(modules) > 50
    assert [mention for file in modules for mention in python_mentions(file)] == []


def test_cpp_knows_the_game_in_examples_of_comments_only() -> None:
    mentions = []
    for room in ("genie_env", "bindings"):
        for file in sorted((ROOT / room).rglob("*")):
            if not file.is_file():
                continue
            for number, line in enumerate(file.read_text().splitlines(), 1):
                code, _, _ = line.partition("//")
                if ONE_GAME.search(code):
                    mentions.append(f"{file.relative_to(ROOT)}:{number}: {line}")
    assert mentions == []
