"""The `genie-env` command.

Every command is a function in a module of its own, which is imported when the command runs: help
that first imports torch takes seconds.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import re
import resource
import signal
import sys
import traceback
from collections.abc import Iterator, MutableMapping
from typing import Annotated, Any

import gymnasium
import typer
from typer.core import TyperCommand, TyperGroup

import genie_env
from genie_env.cli import commands as table
from genie_env.cli.multi_value import MultiValue
from genie_env.data.paths import shown
from genie_env.envs.plugins import import_modules, import_plugins
from genie_env.families import Command
from genie_env.families.option_checks import check_options, refuse_empty

_MEANT_FOR_USERS = (
    MemoryError,
    ValueError,
    RuntimeError,
    OSError,
    ImportError,
    EOFError,  # raised by a game: typer would take it for the end of the user's input
    gymnasium.error.Error,
)
_WHEN_STOPPED = "genie_env.when_stopped"
"""Key of typer's context under which a command leaves its hint for Ctrl-C."""

_HELP_NAMES = {"help_option_names": ["-h", "--help"]}


class LazyCommand(TyperCommand):
    """A command known by its entry in the table until it runs, or its own help is asked for."""

    def __init__(self, entry: Command) -> None:
        super().__init__(name=entry.name, help=entry.help)
        self.entry = entry

    def load(self) -> Any:
        """The command's function."""
        module, _, function = self.entry.where.partition(":")
        genie_env.check_torch()
        return getattr(genie_env.import_checked(module), function)

    def make_context(
        self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any
    ) -> Any:
        if parent is not None:
            parent.meta[_WHEN_STOPPED] = self.entry.when_stopped
        app = typer.Typer(add_completion=False, rich_markup_mode="markdown")
        example = f"Example: `genie-env {self.entry.example}`"
        function = self.load()
        app.command(self.entry.name, cls=MultiValue, epilog=example, context_settings=_HELP_NAMES)(
            function
        )
        command = typer.main.get_command(app)
        _refuse_old_options(args, {word for each in command.params for word in each.opts})
        refuse_empty(args)
        context = command.make_context(info_name, args, parent, **extra)
        check_options(function, context.params)
        return context


def _refuse_old_options(args: list[str], options: set[str]) -> None:
    """Raises ValueError for an option that has another name now, where the command has that."""
    for arg in args:
        old, _, _ = arg.partition("=")
        new = table.OLD_OPTIONS.get(old, "")
        if new and old not in options and new.split()[0] in options:
            raise ValueError(f"{old} is now {new}: give that instead")


@contextlib.contextmanager
def _errors_are_one_line() -> Iterator[None]:
    try:
        yield
    except (typer.Exit, typer.Abort):  # RuntimeErrors, of typer's own
        raise
    except _MEANT_FOR_USERS as error:
        notes = getattr(error, "__notes__", [])
        if isinstance(error, BrokenPipeError) and not notes:
            raise  # the reader of the output closed the pipe
        if os.environ.get("GENIE_ENV_TRACEBACK") == "1":
            traceback.print_exc()
            raise typer.Exit(1) from None
        print(f"genie-env: {_out_of_memory(error) or error}", file=sys.stderr)
        # A worker process adds which episode it played, and where the user's own code failed.
        for note in notes:
            print(note, file=sys.stderr)
        raise typer.Exit(1) from None


def _out_of_memory(error: BaseException) -> str:
    """One sentence with the figures, for NumPy's and torch's errors of memory that ran out; empty for
    other errors. Those of the compiled part say it themselves."""
    words = str(error)
    if words.startswith("out of memory:") or not (
        isinstance(error, MemoryError)
        or "can't allocate memory" in words  # of torch, in RuntimeErrors
        or "out of memory" in words
    ):
        return ""
    asked = re.search(r"allocate ([\d.]+ \w+)", words)
    figure = f"{asked[1]} could not be allocated, with " if asked else ""
    return (
        f"out of memory: {figure}{_memory_left(words)}; ask for less at a time: fewer episodes, "
        "dreams or frames, a smaller batch or network"
    )


def _memory_left(words: str) -> str:
    """Of the device that an error's words are about: what the GPU has free, or this process holds."""
    if "CUDA" in words:
        free = re.search(r"of which ([\d.]+ \w+) is free", words)
        return f"{free[1] if free else 'nothing'} free on the GPU"
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return f"{held:.1f} GiB held by this process"


class Group(TyperGroup):
    """A group of commands of the table, which has those of families that are registered by now."""

    def __init__(self, group: str = "", **options: Any) -> None:
        self.group = group
        super().__init__(
            no_args_is_help=True,
            rich_markup_mode="markdown",
            context_settings=_HELP_NAMES,
            **options,
        )

    @property
    def commands(self) -> MutableMapping[str, Any]:
        """By name; a group of its own stands where its first command does."""
        found: dict[str, LazyCommand | Group] = {}
        for entry in table.commands():
            if entry.group == self.group:
                found[entry.name] = LazyCommand(entry)
            elif self.group == "" and entry.group not in found:
                found[entry.group] = Group(
                    entry.group,
                    name=entry.group,
                    help=table.GROUPS[entry.group],
                    epilog=f"Example: `genie-env {entry.example}`",
                )
        return found

    @commands.setter
    def commands(self, given: Any) -> None:
        """The base class would keep what it is given, which is nothing."""


class Terminated(KeyboardInterrupt):
    """SIGTERM, which schedulers send before they kill: every command does what it does at Ctrl-C."""


def _terminate(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one would break off the saving
    raise Terminated


def _replaced(error: UnicodeError) -> tuple[str, int]:
    """Escapes for what an output cannot hold, such as paths that are not UTF-8: see codecs."""
    assert isinstance(error, UnicodeEncodeError)
    text = shown(error.object[error.start : error.end])
    return text.encode("ascii", "backslashreplace").decode(), error.end


codecs.register_error("genie_env.shown", _replaced)


class App(Group):
    """The whole command line. Prints one line for an error, and one for Ctrl-C."""

    def main(self, *args: Any, **extra: Any) -> Any:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="genie_env.shown")
        return super().main(*args, **extra)

    def make_context(self, *args: Any, **extra: Any) -> Any:
        with _errors_are_one_line():
            import_plugins()
            return super().make_context(*args, **extra)

    def invoke(self, ctx: Any) -> Any:
        try:
            with _errors_are_one_line():
                return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            what_to_do = ctx.meta.get(_WHEN_STOPPED)
            print(f"stopped; {what_to_do}" if what_to_do else "stopped", flush=True)
            raise typer.Exit(143 if isinstance(stop, Terminated) else 130) from None


def _show_version(asked: bool) -> None:
    if asked:
        print(f"genie-env {genie_env.__version__}")
        raise typer.Exit


def _import(modules: list[str] | None) -> None:
    import_modules(modules or [])


OPTIONS = typer.Typer(add_completion=False)


@OPTIONS.command()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_show_version, help="Print the version and exit."
        ),
    ] = False,
    modules: Annotated[
        list[str] | None,
        typer.Option(
            "--import",
            is_eager=True,
            callback=_import,
            metavar="MODULE",
            help="Import a module of this folder, or an installed one, before the command: it may "
            "register a world family, a game or a Gymnasium environment. May be repeated.",
        ),
    ] = None,
) -> None:
    """Options of `genie-env` before a command; typer makes options of functions only."""


APP = App(
    name="genie-env",
    help="Record a game, learn a world from it, train an agent inside it, let it play the game.",
    epilog=f"Example: `genie-env {table.commands()[0].example}`",
    params=typer.main.get_command(OPTIONS).params,
)


def main() -> None:
    """Runs the command line; the errors that a user meets are one line, without a traceback."""
    # OpenMP's threads spin while they wait for each other, which on a machine that does other work
    # too makes every step many times slower. Read when torch is loaded, so it is set before.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _terminate)
    APP.main(prog_name="genie-env")


if __name__ == "__main__":
    main()
