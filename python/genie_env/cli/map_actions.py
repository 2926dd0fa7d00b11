"""`genie-env map-actions`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genie_env.cli.options import SeedOption
from genie_env.evaluation import action_mapping
from genie_env.evaluation.action_mapping import COMPARED


def map_actions(
    latent_actions: Annotated[Path, typer.Option(help="run directory of `train latent-actions`")],
    data: Annotated[
        list[Path], typer.Option(help="directory of recorded episodes; may be repeated")
    ],
    out: Annotated[
        Path,
        typer.Option(
            help="directory for mapping.json and mapping.png", file_okay=False, writable=True
        ),
    ],
    labelled: Annotated[
        int,
        typer.Option(help="number of transitions whose recorded action is used", min=1, max=10**9),
    ] = COMPARED,
    steps: Annotated[
        int,
        typer.Option(help="number of updates of the supervised classifier", min=1, max=10**9),
    ] = 3000,
    seed: SeedOption = 0,
) -> None:
    """Map latent actions to real ones with a few labels; compare with a supervised classifier.

    The labelled transitions are of training episodes; everything is measured on held-out ones.
    """
    action_mapping.map_actions(latent_actions, data, out, labelled, steps, seed)
