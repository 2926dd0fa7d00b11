"""The command line: fast help, lazy commands, errors of one line."""

from __future__ import annotations

import errno
import importlib.metadata
import os
import re
import resource
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from typer.core import TyperGroup

import genie_env
from genie_env._core import Memory
from genie_env.cli import app as cli
from genie_env.cli.app import APP, LazyCommand


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
        [sys.executable, "-m", "genie_env.cli.app", *arguments],
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


def test_version() -> None:
    installed = importlib.metadata.version("genie-env")
    assert genie_env.__version__ == installed
    assert run("--version").stdout == f"genie-env {installed}\n"


def test_waiting_threads_do_not_spin_unless_their_user_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "argv", ["genie-env", "--version"])
    for given, used in (("active", "active"), (None, "passive")):
        monkeypatch.setenv("OMP_WAIT_POLICY", "active")
        if given is None:
            monkeypatch.delenv("OMP_WAIT_POLICY")
        with pytest.raises(SystemExit):
            cli.main()
        assert os.environ["OMP_WAIT_POLICY"] == used


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from genie_env.cli.app import APP\n"
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
    name: str, command: LazyCommand, capsys: pytest.CaptureFixture[str]
) -> None:
    docstring = command.load().__doc__
    assert docstring.strip().splitlines()[0] == command.help
    shown = []
    for help_option in ("--help", "-h"):
        with pytest.raises(SystemExit) as exit:
            APP.main([*name.split(), help_option], prog_name="genie-env")
        assert exit.value.code == 0
        shown.append(" ".join(capsys.readouterr().out.split()))
    assert shown[0] == shown[1]
    assert shown[0].endswith(f"Example: genie-env {command.entry.example}")


@pytest.mark.parametrize(("name", "command"), commands(), ids=[name for name, _ in commands()])
def test_the_example_of_a_command_is_understood(name: str, command: LazyCommand) -> None:
    words = shlex.split(command.entry.example)
    assert words[: len(name.split())] == name.split()
    command.make_context(name, words[len(name.split()) :])


@pytest.mark.parametrize(("name", "command"), commands(), ids=[name for name, _ in commands()])
def test_options_have_one_word_for_one_thing(name: str, command: LazyCommand) -> None:
    parameters = command.make_context(name, [], resilient_parsing=True).command.params
    words = {word for parameter in parameters for word in parameter.opts}
    assert ("--temperature" in words) == ("--tau" in words)
    # It loads a world, whose family has options of its own. Heads are learned from frames that are
    # given, and so from none of the choices that a world's options are about.
    if "--world" in words and name != "train heads":
        assert not words & {"--termination", "--passes", "--order"}
        assert "--option" in words
    if name not in ("worlds", "check", "play"):  # which are of a world, and nothing else
        assert "world" not in words, "a world is named by --world"
    helps = [getattr(parameter, "help", None) or "" for parameter in parameters]
    assert [help for help in helps if help.startswith("of ")] == []


@pytest.mark.parametrize(
    ("command", "option", "least"),
    [
        (command, option, 1)
        for command in ("vision", "memory", "tokenizer", "latent-actions", "dynamics", "heads")
        for option in ("steps", "batch")
    ]
    + [
        ("memory", "window", 2),
        ("tokenizer", "clip", 1),
        ("latent-actions", "clip", 2),
        ("dynamics", "clip", 2),
        ("vision", "seed", 0),
    ],
)
def test_training_with_too_little_is_refused_before_anything_is_read_or_written(
    command: str, option: str, least: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = {
        "memory": ["--vision", "nowhere"],
        "dynamics": ["--tokenizer", "nowhere", "--latent-actions", "nowhere"],
        "heads": ["--world", "nowhere"],
    }
    out = tmp_path / "run"
    told = ["--data", "nowhere", "--out", str(out), *runs.get(command, [])]
    with pytest.raises(SystemExit) as exit:
        APP.main(["train", command, *told, f"--{option}", str(least - 1)], prog_name="genie-env")
    assert exit.value.code == 2
    said = " ".join(capsys.readouterr().err.replace("│", " ").split())
    # The versions of typer say what is expected in words of their own.
    expected = rf"Invalid value for '--{option}': .*(equal to |>=){least}\b"
    assert re.search(expected, said), said
    assert not out.exists()


def test_a_mistyped_command_is_answered_with_the_likely_one() -> None:
    result = run("recrod")
    assert result.returncode == 2
    assert "No such command 'recrod'. Did you mean 'record'?" in result.stderr


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("bench --genie T=16", "--genie is now --random genie:SIZES: give that instead"),
        ("bench --world x --passes=4", "--passes is now --option passes=NUMBER: give that instead"),
        (
            "train latent-actions --momentum 0.5",
            "--momentum is now --action-decay: give that instead",
        ),
    ],
)
def test_an_option_that_was_renamed_says_so(
    line: str, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["genie-env", *line.split()])
    with pytest.raises(SystemExit) as exit:
        cli.main()
    assert exit.value.code == 1
    assert capsys.readouterr().err == f"genie-env: {words}\n"


def test_no_option_is_named_that_the_command_lacks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["genie-env", "inspect", "--passes", "4", "nowhere"])
    with pytest.raises(SystemExit) as exit:
        cli.main()
    assert exit.value.code == 2
    said = capsys.readouterr().err
    assert "No such option" in said and "--option passes" not in said


@pytest.mark.parametrize(
    "kind", [ValueError, RuntimeError, OSError, ImportError, gymnasium.error.DependencyNotInstalled]
)
def test_errors_are_one_line(
    kind: type[Exception], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_failing("bench", kind("this was given; expected that"), monkeypatch) == 1
    assert capsys.readouterr().err == "genie-env: this was given; expected that\n"


def of_cuda() -> None:
    raise torch.OutOfMemoryError(
        "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 79.10 GiB of "
        "which 3.00 GiB is free. Of the allocated memory 70.00 GiB is allocated by PyTorch."
    )


def of_cuda_alone() -> None:
    raise RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously")


def of_nobody() -> None:
    raise MemoryError


@pytest.mark.parametrize(
    ("ask", "figures"),
    [
        (
            lambda: np.empty(10**17),
            "711. PiB could not be allocated, with [\\d.]+ GiB held by this process",
        ),
        (
            lambda: torch.empty(10**17),
            "400000000000000000 bytes could not be allocated, with [\\d.]+ GiB held by this process",
        ),
        (of_cuda, "20.00 GiB could not be allocated, with 3.00 GiB free on the GPU"),
        (of_cuda_alone, "nothing free on the GPU"),
        (of_nobody, "[\\d.]+ GiB held by this process"),
    ],
)
def test_memory_that_runs_out_is_one_sentence_with_the_figures(
    ask: Callable[[], object],
    figures: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises((MemoryError, RuntimeError)) as raised:
        ask()
    assert run_failing("bench", raised.value, monkeypatch) == 1
    said = capsys.readouterr().err
    assert re.fullmatch(
        rf"genie-env: out of memory: {figures}; ask for less at a time: .*\n", said
    ), said


def test_the_compiled_parts_errors_of_memory_are_shown_as_they_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """LibTorch's own has a stack trace of C++ and no word of what to do."""
    with open("/proc/self/statm") as pages:
        used = int(pages.read().split()[0]) * resource.getpagesize()
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**30, limits[1]))
    try:
        with pytest.raises(MemoryError, match="could not be allocated, .* are free") as raised:
            Memory(latents=4096, hidden=65536, components=32)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
    assert run_failing("bench", raised.value, monkeypatch) == 1
    assert capsys.readouterr().err == f"genie-env: {raised.value}\n"


def run_failing(command: str, error: BaseException, monkeypatch: pytest.MonkeyPatch) -> object:
    """The exit code of a command that raises `error`."""

    def fail() -> None:
        raise error

    monkeypatch.setattr(LazyCommand, "load", lambda self: fail)
    monkeypatch.setattr(sys, "argv", ["genie-env", *command.split()])
    with pytest.raises(SystemExit) as exit:
        cli.main()
    return exit.value.code


@pytest.mark.parametrize("kind", [EOFError, BrokenPipeError])
def test_what_typer_would_swallow_is_said(
    kind: type[Exception], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    error = kind(errno.EPIPE, "the game's own server is gone")
    error.add_note("in a worker process, while playing episode 3")
    assert run_failing("bench", error, monkeypatch) == 1
    said, note = capsys.readouterr().err.splitlines()
    assert said.startswith("genie-env: ") and "the game's own server is gone" in said
    assert note == "in a worker process, while playing episode 3"


def test_a_traceback_is_shown_to_who_asks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GENIE_ENV_TRACEBACK", "1")
    assert run_failing("bench", ValueError("this was given"), monkeypatch) == 1
    said = capsys.readouterr().err
    assert said.startswith("Traceback (most recent call last)") and "in fail" in said
    assert said.endswith("ValueError: this was given\n")


RESUMED = "stopped; the same command goes on from here\n"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("record", RESUMED),
        ("train vision", RESUMED),
        ("train memory", RESUMED),
        ("train controller", RESUMED),
        ("calibrate", RESUMED),
        ("table", RESUMED),
        ("evaluate", "stopped; with --json, the same command goes on from here\n"),
        ("demo", "stopped\n"),
        ("bench", "stopped\n"),
    ],
)
def test_ctrl_c_is_answered_with_what_to_do(
    command: str,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_failing(command, KeyboardInterrupt(), monkeypatch) == 130
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == (words, "")


def test_an_error_of_a_real_command_is_one_line() -> None:
    result = run("record", "no-such-game", "--out", "nowhere")
    assert result.returncode == 1
    assert result.stderr.startswith("genie-env: unknown game 'no-such-game'")
    assert result.stderr.count("\n") == 1
