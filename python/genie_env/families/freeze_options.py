"""Options that the `genie-env freeze` commands of several families have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

OutOption = Annotated[
    Path, typer.Option(help="world directory to write", file_okay=False, writable=True)
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
