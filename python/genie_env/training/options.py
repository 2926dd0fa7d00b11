"""Options that the trainings of several networks have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DataOption = Annotated[
    list[Path], typer.Option(help="directories of recorded episodes, video files, or both")
]
FramesPerSecondOption = Annotated[
    float | None, typer.Option(help="what video files are brought to; their own unless given")
]
OutOption = Annotated[Path, typer.Option(help="run directory; an unfinished run there goes on")]
StepsOption = Annotated[int, typer.Option(help="updates to make", min=1)]
ClipsOption = Annotated[int, typer.Option(help="clips a batch", min=1)]
LearningRateOption = Annotated[float, typer.Option(help="of Adam; decays by a cosine")]
Bf16Option = Annotated[bool, typer.Option(help="bfloat16 autocast")]
DeviceOption = Annotated[str, typer.Option(help="cpu or cuda")]
StopOnCollapseOption = Annotated[
    bool, typer.Option(help="end the run when its codes collapse, instead of only saying so")
]
