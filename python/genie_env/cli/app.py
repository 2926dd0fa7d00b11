"""The `genie-env` command.

Every command is a function in a module of its own, which is imported when the command runs: help
that first imports torch takes seconds.
"""

from __future__ import annotations

import os
import sys
import traceback
from typing import Annotated, Any

import gymnasium
import typer
from typer.core import TyperCommand, TyperGroup

import genie_env
from genie_env.cli.commands import COMMANDS, GROUPS, OLD_OPTIONS
from genie_env.cli.multi_value import MultiValue
from genie_env.families import Command

_MEANT_FOR_USERS = (
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
        app.command(self.entry.name, cls=MultiValue, epilog=example, context_settings=_HELP_NAMES)(
            self.load()
        )
        command = typer.main.get_command(app)
        _refuse_old_options(args, {word for each in command.params for word in each.opts})
        return command.make_context(info_name, args, parent, **extra)


def _refuse_old_options(args: list[str], options: set[str]) -> None:
    """Raises ValueError for an option that has another name now."""
    for arg in args:
        old, _, _ = arg.partition("=")
        if old in OLD_OPTIONS and old not in options:
            raise ValueError(f"{old} is now {OLD_OPTIONS[old]}: give that instead")


class App(TyperGroup):
    """The whole command line. Prints one line for an error, and one for Ctrl-C."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            what_to_do = ctx.meta.get(_WHEN_STOPPED)
            print(f"stopped; {what_to_do}" if what_to_do else "stopped", flush=True)
            raise typer.Exit(130) from None
        except (typer.Exit, typer.Abort):  # RuntimeErrors, of typer's own
            raise
        except _MEANT_FOR_USERS as error:
            notes = getattr(error, "__notes__", [])
            if isinstance(error, BrokenPipeError) and not notes:
                raise  # the reader of the output closed the pipe
            if os.environ.get("GENIE_ENV_TRACEBACK") == "1":
                traceback.print_exc()
                raise typer.Exit(1) from None
            print(f"genie-env: {error}", file=sys.stderr)
            # A worker process adds which episode it played, and where the user's own code failed.
            for note in notes:
                print(note, file=sys.stderr)
            raise typer.Exit(1) from None


def _show_version(asked: bool) -> None:
    if asked:
        print(f"genie-env {genie_env.__version__}")
        raise typer.Exit


OPTIONS = typer.Typer(add_completion=False)


@OPTIONS.command()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_show_version, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Options of `genie-env` before a command; typer makes options of functions only."""


def _commands(group: str = "") -> list[LazyCommand | TyperGroup]:
    """The commands of a group; a group of its own stands where its first command does."""
    found: dict[str, LazyCommand | TyperGroup] = {}
    for entry in COMMANDS:
        if entry.group == group:
            found[entry.name] = LazyCommand(entry)
        elif group == "" and entry.group not in found:
            found[entry.group] = TyperGroup(
                name=entry.group,
                help=GROUPS[entry.group],
                epilog=f"Example: `genie-env {entry.example}`",
                no_args_is_help=True,
                rich_markup_mode="markdown",
                context_settings=_HELP_NAMES,
                commands=_commands(entry.group),
            )
    return list(found.values())


APP = App(
    name="genie-env",
    help="Record a game, learn a world from it, train an agent inside it, let it play the game.",
    epilog=f"Example: `genie-env {COMMANDS[0].example}`",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    context_settings=_HELP_NAMES,
    params=typer.main.get_command(OPTIONS).params,
    commands=_commands(),
)


def main() -> None:
    """Runs the command line; the errors that a user meets are one line, without a traceback."""
    # OpenMP's threads spin while they wait for each other, which on a machine that does other work
    # too makes every step many times slower. Read when torch is loaded, so it is set before.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    APP.main(prog_name="genie-env")


if __name__ == "__main__":
    main()
