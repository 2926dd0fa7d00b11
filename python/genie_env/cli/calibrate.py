"""`genie-env calibrate`: at which temperature a dream is like its real game."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genie_env.cli.options import (
    ActionMapOption,
    DeviceOption,
    FamilyOption,
    RealEpisodesOption,
    RewardFnOption,
    SeedOption,
    TemperaturesOption,
    TerminationFnOption,
    WorkersOption,
    WorldOption,
    family_options,
)
from genie_env.envs.registry import find_world
from genie_env.envs.step_functions import named_function
from genie_env.evaluation import calibrate as calibration


def calibrate(
    world: WorldOption,
    out: Annotated[
        Path,
        typer.Option(
            help="directory for calibration.json and calibration.png",
            file_okay=False,
            writable=True,
        ),
    ],
    temperature: TemperaturesOption = list(calibration.TEMPERATURES),
    dreams: Annotated[
        int,
        typer.Option(
            help="dreams per policy, temperature and value of the family's option",
            min=1,
            max=1_000_000,
        ),
    ] = 512,
    real_scores: Annotated[
        Path | None,
        typer.Option(
            "--real",
            help="directory of scores in the real game, played where missing [default: OUT/real]",
            file_okay=False,
            writable=True,
        ),
    ] = None,
    episodes: RealEpisodesOption = 300,
    workers: WorkersOption = 2,
    game: Annotated[
        str | None,
        typer.Option(
            help="game that is played, named as in `genie-env record` [default: the one that the world "
            "names]"
        ),
    ] = None,
    action_map: ActionMapOption = None,
    option: FamilyOption = None,
    reward_fn: RewardFnOption = None,
    termination_fn: TerminationFnOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = "cpu",
) -> None:
    """Find the temperature at which blind policies score as high in the dream as in the real game.

    Blind policies are played in the dream over a range of temperatures, and in the real game; where
    the world's family has an option that decides how dreams end, with each of its values unless
    --option gives one. Names the setting that is closest to the real
    game, and warns of constant policies that score much better in the dream: a learned controller
    will find them. In a world of latent actions each action of the policies is the latent one that
    came with it most often among the labels of the dictionary (--action-map).
    """
    calibration.calibrate(
        find_world(world),
        out,
        temperatures=temperature,
        dreams=dreams,
        game=game,
        action_map=action_map,
        options=family_options(option),
        reward_fn=named_function("reward_fn", reward_fn),
        termination_fn=named_function("termination_fn", termination_fn),
        real_scores=real_scores,
        episodes=episodes,
        workers=workers,
        seed=seed,
        device=device,
    )
