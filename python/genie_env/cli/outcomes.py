"""`genie-env outcomes`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genie_env.cli.options import (
    DeviceOption,
    EveryEpisodeOption,
    FamilyOption,
    JsonOption,
    SeedOption,
    WorldOption,
    family_options,
)
from genie_env.envs.registry import find_world
from genie_env.evaluation import outcome_report as measuring


def outcomes(
    world: WorldOption,
    data: Annotated[
        list[Path],
        typer.Option(
            help="directory of recorded episodes, of which the held-out ones are used, unless "
            "--every-episode is given; may be repeated"
        ),
    ],
    windows: Annotated[
        int,
        typer.Option(
            help="windows to compare, or as many as the held-out episodes have",
            min=1,
            max=1_000_000,
        ),
    ] = 2000,
    horizon: Annotated[
        int, typer.Option(help="steps of a window, unless its episode ends", min=1, max=100_000)
    ] = 50,
    temperature: Annotated[
        float | None,
        typer.Option(
            "--temperature",
            "--tau",
            help="sampling temperature of the dreams [default: the world's]",
            min=1e-6,
            max=1e6,
        ),
    ] = None,
    seed: SeedOption = 0,
    device: DeviceOption = "cpu",
    option: FamilyOption = None,
    out: Annotated[
        Path | None,
        typer.Option(help="directory for outcomes.png", file_okay=False, writable=True),
    ] = None,
    json_file: JsonOption = None,
    every_episode: EveryEpisodeOption = False,
    card: Annotated[
        bool, typer.Option(help="write picture and figures into the world's model card")
    ] = False,
) -> None:
    """Measure how well a world knows reward and termination.

    It follows held-out episodes frame by frame. Sums of rewards over windows are compared with the
    recorded ones (R2), beside dreams of the same windows; termination probabilities with how often
    the steps really ended an episode.
    """
    measuring.outcomes(
        find_world(world),
        data,
        options=family_options(option),
        windows=windows,
        horizon=horizon,
        temperature=temperature,
        seed=seed,
        device=device,
        out=out,
        json_file=json_file,
        card=card,
        every_episode=every_episode,
    )
