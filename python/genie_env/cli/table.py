"""`genie-env table`: scores in dream and real game side by side, by temperature and seed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genie_env.cli.options import (
    DeviceOption,
    FamilyOption,
    RealEpisodesOption,
    RewardFnOption,
    StepsOption,
    TemperaturesOption,
    TerminationFnOption,
    WorkersOption,
    WorldOption,
    family_options,
)
from genie_env.envs.registry import find_world
from genie_env.envs.step_functions import named_function
from genie_env.evaluation import table as tables


def table(
    world: WorldOption,
    out: Annotated[
        Path,
        typer.Option(
            help="directory for table.md, table.json and every run", file_okay=False, writable=True
        ),
    ],
    temperature: TemperaturesOption = list(tables.TEMPERATURES),
    seeds: Annotated[
        int, typer.Option(help="training runs per temperature: seeds 0, 1, ...", min=1, max=10_000)
    ] = 3,
    steps: StepsOption = 40_000_000,
    option: FamilyOption = None,
    reward_fn: RewardFnOption = None,
    termination_fn: TerminationFnOption = None,
    episodes: RealEpisodesOption = 100,
    workers: WorkersOption = 2,
    device: DeviceOption = "cpu",
) -> None:
    """Train at several temperatures with equal budgets; compare dream and real game.

    Leaves table.md and table.json. The same command goes on where it was stopped, and plays more
    real episodes where more are asked for.
    """
    tables.table(
        find_world(world),
        out,
        temperatures=temperature,
        seeds=seeds,
        steps=steps,
        options=family_options(option),
        reward_fn=named_function("reward_fn", reward_fn),
        termination_fn=named_function("termination_fn", termination_fn),
        episodes=episodes,
        workers=workers,
        device=device,
    )
