"""`genie-env continuity`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genie_env.cli.options import (
    DeviceOption,
    EveryEpisodeOption,
    FamilyOption,
    JsonOption,
    LatentActionsOption,
    SeedOption,
    WorldOption,
    family_options,
)
from genie_env.envs.registry import find_world
from genie_env.evaluation.continuity.command import continuity as measure
from genie_env.evaluation.continuity.parts import Chosen
from genie_env.training.clip_training import FramesPerSecond, SkipBad

AGES = (1, 2, 3, 5, 8, 12, 20)


def continuity(
    world: WorldOption,
    data: Annotated[
        list[Path],
        typer.Option(
            help="directories of recorded episodes, or, for a world of latent actions, video files "
            "or folders of them; the held-out episodes are used, every 20th, unless --every-episode is "
            "given"
        ),
    ],
    labels: Annotated[
        bool,
        typer.Option(
            "--labels",
            help="find out too what dreams keep of labelled objects; the recordings have labels "
            "(`genie-env record --labels`)",
        ),
    ] = False,
    object: Annotated[
        str | None,
        typer.Option("--object", help="class of labelled objects [default: the recordings' first]"),
    ] = None,
    drift: Annotated[
        list[int] | None,
        typer.Option(
            "--drift",
            help="ages at which to measure too how easily dreamed frames are told from real ones, such "
            "as 1 30 100 300",
            min=1,
            max=100_000,
        ),
    ] = None,
    ages: Annotated[
        list[int] | None,
        typer.Option(
            help=f"ages of errors and labelled objects, in frames dreamed [default: {' '.join(map(str, AGES))}]",
            min=1,
            max=100_000,
        ),
    ] = None,
    latent_actions: LatentActionsOption = None,
    burn_in: Annotated[
        int,
        typer.Option(
            help="recorded frames that the world has followed before it dreams, at least",
            min=0,
            max=100_000,
        ),
    ] = 16,
    episodes: Annotated[
        int,
        typer.Option(
            help="episodes that are measured, or half of those that there are: a slow world takes "
            "hours for many",
            min=10,
            max=1_000_000,
        ),
    ] = 100,
    temperature: Annotated[
        float,
        typer.Option(
            "--temperature", "--tau", help="sampling temperature of the dreams", min=1e-6, max=1e6
        ),
    ] = 1.0,
    every_episode: EveryEpisodeOption = False,
    frames_per_second: FramesPerSecond = None,
    skip_bad: SkipBad = False,
    seed: SeedOption = 0,
    device: DeviceOption = "cpu",
    option: FamilyOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="directory for continuity.png and continuity-dreams.png; what is found is kept "
            "there, so that the same command goes on",
            file_okay=False,
            writable=True,
        ),
    ] = None,
    json_file: JsonOption = None,
    card: Annotated[
        bool, typer.Option(help="write pictures and figures into the world's model card")
    ] = False,
) -> None:
    """Measure what a world keeps of what it was shown, by the age of its dreams.

    Dreams go on from recorded frames under the actions that followed. How far they are from what
    really followed; with --labels, whether they keep the nearest labelled object, where, and how
    large; with --drift, how easily their frames are told from real ones.
    """
    chosen = Chosen(
        ages=tuple(ages or AGES),
        drift=tuple(drift or ()),
        labels=labels,
        object=object,
        burn_in=burn_in,
        episodes=episodes,
        temperature=temperature,
        seed=seed,
    )
    measure(
        find_world(world),
        data,
        latent_actions,
        chosen,
        options=family_options(option),
        every=every_episode,
        frames_per_second=frames_per_second,
        skip_bad=skip_bad,
        device=device,
        out=out,
        json_file=json_file,
        card=card,
    )
