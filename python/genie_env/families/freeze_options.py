"""Options that the `genie-env freeze` commands of several families have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

OutOption = Annotated[
    Path, typer.Option(help="world directory to write", file_okay=False, writable=True)
]
RealGameOption = Annotated[
    str | None,
    typer.Option(
        help="the game that agents of the world play, as `genie-env record` names it [default: the "
        "recorded one]"
    ),
]
MaxEpisodeStepsOption = Annotated[
    int | None,
    typer.Option(
        help="steps of the world after which an episode is truncated [default: as in the game, or "
        "the longest recorded episode]",
        min=1,
        max=2**31 - 1,
    ),
]
NameOption = Annotated[
    str | None, typer.Option(help="name of the world; that of its directory unless given")
]
TemperatureOption = Annotated[
    float,
    typer.Option(
        "--temperature",
        "--tau",
        help="default sampling temperature of the world",
        min=1e-6,
        max=1e6,
    ),
]
TerminationOption = Annotated[
    str,
    typer.Option(help="sampled: drawn from its probability; thresholded: where that is above 0.5"),
]
