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

    `where` is "module:function" within this package; `help` repeats the first line of the
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
        return getattr(importlib.import_module(f"genie_env.{name}"), function)

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


TRAIN = TyperGroup(
    name="train",
    help="Train the parts of a world, or an agent inside one.",
    no_args_is_help=True,
    commands=[
        LazyCommand(
            "vision",
            "training.vision:train_vision",
            "Train V, a variational autoencoder, on recorded frames.",
            _RESUMES,
        ),
        LazyCommand(
            "memory",
            "training.memory:train_memory",
            "Train M, an LSTM with a mixture density output, on what V makes of recorded episodes.",
            _RESUMES,
        ),
        LazyCommand(
            "tokenizer",
            "training.tokenizer:train_tokenizer",
            "Train a video tokenizer, a VQ-VAE, on recorded frames.",
            _RESUMES,
        ),
        LazyCommand(
            "latent-actions",
            "training.latent_actions:train_latent_actions",
            "Train a latent action model on recorded frames, without their actions.",
            _RESUMES,
        ),
        LazyCommand(
            "dynamics",
            "training.dynamics:train_dynamics",
            "Train MaskGIT dynamics on the tokens and latent actions of recorded frames.",
            _RESUMES,
        ),
        LazyCommand(
            "controller",
            "cli.train_controller:train_controller_command",
            "Train a linear controller by CMA-ES, entirely inside the dream.",
            _RESUMES,
        ),
    ],
)

FREEZE = TyperGroup(
    name="freeze",
    help="Freeze trained networks into a world directory.",
    no_args_is_help=True,
    commands=[
        LazyCommand(
            "vision-memory",
            "families.vision_memory.freeze:freeze_vision_memory",
            "Freeze V and M into a world directory.",
        ),
        LazyCommand(
            "genie",
            "families.genie.freeze:freeze_genie",
            "Freeze a tokenizer, the codebook of latent actions and dynamics into a world directory.",
        ),
    ],
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
            "cli.record:record",
            "Play a real game and record every frame, action, reward and end.",
            _RESUMES,
        ),
        LazyCommand(
            "inspect",
            "cli.inspect:inspect",
            "Print what recorded episodes hold, and write a contact sheet of their frames.",
        ),
        TRAIN,
        LazyCommand(
            "map-actions",
            "evaluation.action_mapping:map_actions",
            "Map latent actions to real ones with a few labels; compare with a supervised "
            "classifier.",
            "the codes and a classifier that is finished are kept",
        ),
        FREEZE,
        LazyCommand(
            "dream",
            "cli.dream:dream",
            "Dream on from a picture: a clip for every action, held from beginning to end.",
        ),
        LazyCommand(
            "calibrate",
            "cli.calibrate:calibrate",
            "Find the temperature at which blind policies score as high in the dream as in the real "
            "game.",
            _RESUMES,
        ),
        LazyCommand(
            "fidelity",
            "evaluation.fidelity:fidelity",
            "Measure how well a world foretells recorded episodes, and what its actions control.",
        ),
        LazyCommand(
            "dream-score",
            "cli.dream_score:dream_score",
            "Play fresh dreams with an agent: the score that chooses among agents.",
        ),
        LazyCommand(
            "evaluate",
            "cli.evaluate:evaluate",
            "Play the real game, with an agent or a blind policy.",
            f"with --json, {_RESUMES}",
        ),
        LazyCommand(
            "table",
            "cli.table:table",
            "Train at several temperatures with equal budgets; compare dream and real game.",
            _RESUMES,
        ),
        LazyCommand(
            "bench",
            "bench.bench:bench",
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
