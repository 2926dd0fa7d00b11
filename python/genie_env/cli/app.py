"""The `genie-env` command.

Every command is a function in a module of its own, which is imported when the command runs: help
that first imports torch takes seconds.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from typing import Annotated, Any

import gymnasium
import typer
from typer.core import TyperCommand, TyperGroup

import genie_env
from genie_env.cli.multi_value import SeveralValues
from genie_env.families.commands import family_commands

_MEANT_FOR_USERS = (
    ValueError,
    RuntimeError,
    OSError,
    ImportError,
    EOFError,  # a game's: typer would take it for the end of what a user types
    gymnasium.error.Error,
)
_RESUMES = "the same command goes on from here"
_WHEN_STOPPED = "genie_env.when_stopped"
"""Where a command leaves it for whoever meets the Ctrl-C."""


class LazyCommand(TyperCommand):
    """A command known by its name and one line of help until it runs, or its own help is asked for.

    `where` is "module:function", within this package or by its full name; `help` repeats the first line of the
    function's docstring; `when_stopped` is what to do after Ctrl-C, if anything.
    """

    def __init__(self, name: str, where: str, help: str, when_stopped: str = "") -> None:
        super().__init__(name=name, help=help)
        self.where = where
        self.when_stopped = when_stopped

    def load(self) -> Any:
        """The function behind the command."""
        name, _, function = self.where.partition(":")
        genie_env.check_torch()
        full = name if name.startswith("genie_env.") else f"genie_env.{name}"
        return getattr(importlib.import_module(full), function)

    def make_context(
        self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any
    ) -> Any:
        if parent is not None:
            parent.meta[_WHEN_STOPPED] = self.when_stopped
        app = typer.Typer(add_completion=False, rich_markup_mode="markdown")
        app.command(self.name, cls=SeveralValues)(self.load())
        return typer.main.get_command(app).make_context(info_name, args, parent, **extra)


class App(TyperGroup):
    """The whole command line. However a command ends, its last words are said here: typer would
    leave after Ctrl-C without any."""

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
                raise  # whoever reads what is printed has enough
            if os.environ.get("GENIE_ENV_TRACEBACK") == "1":
                traceback.print_exc()
                raise typer.Exit(1) from None
            print(f"genie-env: {error}", file=sys.stderr)
            # What a worker process adds: which episode, and where in the user's own environment.
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
            "--version", is_eager=True, callback=_show_version, help="Print the version and leave."
        ),
    ] = False,
) -> None:
    """What `genie-env` takes before a command; typer makes options of functions only."""


def _family_commands(group: str) -> list[LazyCommand]:
    """What the world families add to `genie-env train` or `genie-env freeze`."""
    stopped = _RESUMES if group == "train" else ""
    return [LazyCommand(c.name, c.where, c.help, stopped) for c in family_commands(group)]


TRAIN = TyperGroup(
    name="train",
    help="Train the parts of a world, or an agent inside one.",
    no_args_is_help=True,
    commands=[
        *_family_commands("train"),
        LazyCommand(
            "controller",
            "agents.train_controller:train_controller_command",
            "Train a linear controller by CMA-ES, entirely inside the dream.",
            _RESUMES,
        ),
    ],
)

FREEZE = TyperGroup(
    name="freeze",
    help="Freeze trained networks into a world directory.",
    no_args_is_help=True,
    commands=[*_family_commands("freeze")],
)

APP = App(
    name="genie-env",
    help="Record a game, learn a world from it, train an agent inside it, let it play the game.",
    no_args_is_help=True,
    params=typer.main.get_command(OPTIONS).params,
    commands=[
        LazyCommand(
            "demo",
            "cli.demo:demo",
            "Train a controller inside a dream for three minutes, then let it play the real game.",
        ),
        LazyCommand(
            "record",
            "data.recording:record",
            "Play a real game and record every frame, action, reward and end.",
            _RESUMES,
        ),
        LazyCommand(
            "inspect",
            "data.inspection:inspect",
            "Print what recorded episodes hold, and write a contact sheet of their frames.",
        ),
        TRAIN,
        LazyCommand(
            "map-actions",
            "cli.map_actions:map_actions",
            "Map latent actions to real ones with a few labels; compare with a supervised "
            "classifier.",
            "the inferred codes and a finished classifier are kept",
        ),
        FREEZE,
        LazyCommand(
            "dream",
            "cli.dream:dream",
            "Dream on from a picture: a clip for every action, held from beginning to end.",
        ),
        LazyCommand(
            "calibrate",
            "evaluation.calibrate:calibrate",
            "Find the temperature at which blind policies live as long in the dream as in reality.",
            _RESUMES,
        ),
        LazyCommand(
            "fidelity",
            "cli.fidelity:fidelity",
            "Measure how well a world predicts recorded episodes, and what its actions control.",
        ),
        LazyCommand(
            "dream-score",
            "evaluation.dream_score:dream_score",
            "Play fresh dreams with an agent: the score that chooses among agents.",
        ),
        LazyCommand(
            "evaluate",
            "evaluation.evaluate:evaluate",
            "Play the real game, with an agent or a policy that never looks.",
            f"with --json, {_RESUMES}",
        ),
        LazyCommand(
            "table",
            "evaluation.table:table",
            "Train at several temperatures with equal budgets; compare dream and reality.",
            _RESUMES,
        ),
        LazyCommand(
            "bench",
            "cli.bench:bench",
            "Measure steps/s against batch size: features only, with decoding, and as NumPy "
            "arrays.",
        ),
    ],
)


def main() -> None:
    """Runs the command line; the errors that a user meets are one line, without a traceback."""
    # OpenMP's threads spin while they wait for each other, which on a machine that does other work
    # too makes every step many times slower. Read when torch is loaded, so it is set before.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    APP.main(prog_name="genie-env")


if __name__ == "__main__":
    main()
