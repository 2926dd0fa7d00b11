"""What the documentation shows runs, and what it names is there."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
import shlex
import textwrap
from pathlib import Path
from typing import Any

import pytest

import genie_env
from genie_env.cli.app import APP
from genie_env.envs.registry import installed_worlds

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
MODULES = [m.name for m in pkgutil.walk_packages(genie_env.__path__, "genie_env.")]


def blocks(page: Path, language: str) -> list[str]:
    """The page's fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    """Every genie-env command line of every page."""
    lines = []
    for page in PAGES:
        for block in blocks(page, "bash"):
            whole = re.sub(r"\\\n\s*", "", block)
            lines += [f"genie-env {rest}" for rest in re.findall(r"genie-env (.*)", whole)]
    return lines


@pytest.mark.parametrize("module", MODULES)
def test_docstring_examples(module: str) -> None:
    failed, _ = doctest.testmod(importlib.import_module(module))
    assert failed == 0


@pytest.mark.parametrize("page", ["README.md", "docs/environment.md"])
def test_examples_of_a_page(page: str) -> None:
    if "doom-take-cover" not in installed_worlds():
        pytest.skip("this tree ships no doom-take-cover")
    failed, tried = doctest.testfile(str(ROOT / page), module_relative=False)
    assert (failed, tried > 0) == (0, True)


def test_cpp_in_the_readme_is_lifted_from_an_example() -> None:
    examples = [file.read_text() for file in (ROOT / "examples" / "cpp").glob("*.cc")]
    lifted = blocks(ROOT / "README.md", "cpp")
    assert lifted
    for block in lifted:
        assert any(textwrap.indent(block, "  ") in example for example in examples)


@pytest.mark.parametrize("header", ["worlds/world.h", "env/vec_env.h"])
def test_examples_in_headers_are_lifted_from_a_test(header: str) -> None:
    compiled = (ROOT / "tests" / "cpp" / "header_examples_test.cc").read_text()
    lifted = re.findall(
        r"(?:^///     .*\n)+", (ROOT / "genie_env" / header).read_text(), re.MULTILINE
    )
    assert lifted
    for example in lifted:
        assert example.replace("///   ", "") in compiled


@pytest.mark.parametrize("line", commands())
def test_command_lines_are_understood(line: str) -> None:
    command: Any = APP
    words = shlex.split(line, comments=True)[1:]
    if words[0] == "--import":  # a module of the reader's own
        del words[:2]
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    command.make_context(line, words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target
